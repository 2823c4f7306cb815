/*
 * config_decode: from nodes to struct config, driven by the table of rows; then what rows cannot say alone.
 *
 * Decoding never stops at an error: it tells it, leaves the value zero and goes on, so that one reading finds all. The
 * result is used only when nothing was told but warnings.
 */
#ifndef WEIR_CONFIG_DECODE_H
#define WEIR_CONFIG_DECODE_H

#include "engine/config_memory.h"
#include "engine/config_problem.h"
#include "engine/config_rows.h"

struct decoder {
    struct config *config;
    struct config_memory *memory; /* the configuration's */
    struct reporter *reporter;
    const struct node *root;
};

/* Decodes the file's root and checks the whole. Out of memory is one of the problems. */
void config_decode(struct decoder *decoder);

/* Decoders of values: row's value from node into target, the section's struct; or a problem told. Scalars: config_decode_value.c. */
void decode_number(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_flag(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_word(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_text(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_name(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_prefix(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_forwarded(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_status_range(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_statuses(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_hash_key(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_address(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_words(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_texts(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_texts_or_none(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_lower_texts(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_networks(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_name_servers(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_pool(struct decoder *decoder, const struct row *row, const struct node *node, void *target);

/* Of routes, more than a scalar: config_decode_route.c. */
void decode_hosts(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_paths(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_methods(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_fields(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_location(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_edits(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_remove(struct decoder *decoder, const struct row *row, const struct node *node, void *target);

/* Of a route's cache: config_decode_cache.c. */
void decode_cache_key(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
void decode_ttls(struct decoder *decoder, const struct row *row, const struct node *node, void *target);

/* Where a key of a map stands, else the map. */
struct place key_place(const struct node *map, const char *key);

/* The text of a scalar. False, and told, when it is none or says nothing. subject: the row's word. */
bool decode_scalar(struct decoder *decoder, const char *subject, const struct node *node, struct slice *text);
/* Memory for count things; NULL: out of memory, which config_decode tells in the end. */
void *decode_take(struct decoder *decoder, size_t count, size_t bytes);
struct slice decode_copy(struct decoder *decoder, struct slice text);

/* What a section's rows say together (config_check.c). */
void finish_listener(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_listener_tls(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_pool_tls(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_retry(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_server(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_passive(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_dns(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_pool(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_check(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_pool_check(struct decoder *decoder, const struct node *node, const struct config_pool *pool); /* of finish_pool */
void finish_route(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_respond(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_redirect(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_rewrite(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_compress(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_route_cache(struct decoder *decoder, const struct node *node, void *target, uint64_t given); /* config_decode_cache.c */
void finish_forward(struct decoder *decoder, const struct node *node, void *target, uint64_t given); /* config_decode_forward.c */
void finish_match(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_edits(struct decoder *decoder, const struct node *node, void *target, uint64_t given);

/* Of TCP listeners: config_decode_tcp.c. */
void finish_passthrough(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_tcp(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
void finish_listener_tcp(struct decoder *decoder, const struct node *node, const struct config_listener *listener); /* of finish_listener */
/* Their pools have nothing that goes by requests; which pools they lead to; what does nothing, where no route leads. */
void config_check_tcp(struct decoder *decoder);
void config_mark_tcp_pools(const struct config *config, bool *used);
void config_warn_of_tcp(struct decoder *decoder, const bool *routed);

/* config_decode_forward.c: of the forward proxy and the listeners that serve it. */
void check_forward(struct decoder *decoder);
/* Where the i-th item of a list or map stands, or the value of one of its keys if it is a map that has it. */
struct place item_place(const struct node *node, uint32_t i, const char *key);

/* What sections say together: names, references, what is never reached (config_check.c). */
void config_check(struct decoder *decoder);

#endif

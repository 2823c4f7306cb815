/*
 * key: what a stored response is found by.
 *
 * The primary key is text: scheme, authority, path and keyed query (together the URL part: what purge names), then the pool, the path
 * that is forwarded where a rewrite makes another of it, and what the rule adds; each part ends in LF, which cannot stand in any. Nothing that
 * a client may send freely is in it unless the rule says so; and what is not in it must not change the answer: see cache_field_is_poisonous.
 *
 * The secondary key is what Vary makes of the request (RFC 9111 4.1): the values of the fields that it names, normalised.
 */
#ifndef WEIR_CACHE_KEY_H
#define WEIR_CACHE_KEY_H

#include "cache/rule.h"
#include "proto/message.h"

#define CACHE_KEY_BYTES_MAX 4096u /* a request with a longer one is not cached */
#define CACHE_VARY_BYTES_MAX 1024u

struct cache_key {
    struct slice text;
    uint32_t url_length; /* of it, the URL part */
    uint64_t url_hash;   /* of the URL part: picks home and bucket */
};

struct cache_key_context {
    struct slice scheme;  /* "http", "https" */
    struct slice pool;    /* its name */
    struct slice forward_path; /* as rewritten; empty: as received */
    uint64_t seed[2];     /* of the hash (map.h, siphash13) */
};

/*
 * The key of the request in `room`. The authority is in lower case, without a port that is the scheme's own and without the host's last dot.
 * A HEAD has the key of its GET. ERR_CAP: it does not fit; ERR_SYNTAX: no authority.
 */
enum err must_use cache_key_make(const struct cache_rule *rule, const struct request *request, const struct cache_key_context *context,
                                 char *room, size_t cap, struct cache_key *key);

/*
 * Request fields that frameworks take for the method, host or path of the request though they are not in the key (X-HTTP-Method-Override,
 * X-Original-URL, X-Rewrite-URL, X-Forwarded-Host of an unknown sender and their like): they are not forwarded where the answer may be stored.
 */
bool cache_field_is_poisonous(const struct cache_rule *rule, const struct field *field);

/*
 * The secondary key of a response to this request, in `room`: for each name in its Vary (lower case, sorted, each once) "name:value LF".
 * Empty when there is no Vary, or only names that the rule ignores. Accept-Encoding is normalised to what could be chosen from it, by q-value order of
 * the codings we know (br, gzip, zstd) and identity's exclusion; other values: lines combined, runs of white space made one, around commas none.
 * ERR_NONE: Vary has "*": never matches. ERR_CAP: too long, not to be stored.
 */
enum err must_use cache_vary_make(const struct cache_rule *rule, const struct request *request, const struct response *response, char *room,
                                  size_t cap, struct slice *vary);
/* Does the request select a stored response with that secondary key? */
bool cache_vary_matches(struct slice vary, const struct request *request);

/*
 * Tags of a response: Surrogate-Key (by spaces) and Cache-Tag (by commas), and the rule's. Calls `each` once for each tag, at most
 * CACHE_TAGS_MAX of them (further ones: false, and the response is not to be stored, since it could not be purged by them).
 */
#define CACHE_TAGS_MAX 512u
bool cache_tags_each(const struct cache_rule *rule, const struct response *response, void (*each)(void *argument, struct slice tag), void *argument);

#endif

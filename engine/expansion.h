/*
 * expansion: from the servers that a file has to those that are asked: changes of commands laid over them, names replaced by what they
 * stand for.
 *
 * Pure: what names stand for is asked of a struct name_lookup, which resolver.c is in the engine. The order is the file's, then that of
 * the commands; of a name, the order of its addresses' bytes, so that all that differs between two expansions is what has changed.
 *
 *   address            one server, as it stands
 *   name, each         a server for each address: "app/10.0.0.1:80", called "app.example.com:80"
 *   name, any          one server, "app/app.example.com:80", with up to SERVER_ADDRESSES_MAX addresses, families in turn (RFC 8305 4)
 *   srv:name           as the targets of its records, port and weight from the record, and its priority as group
 *   name, no answer    one server without an address, which is shown and never asked
 */
#ifndef WEIR_EXPANSION_H
#define WEIR_EXPANSION_H

#include "engine/overlay.h"

#define NAME_ADDRESSES_MAX 64u /* of one name; the first by their bytes */
#define NAME_TARGETS_MAX 64u   /* of one SRV record set */
#define POOLS_SERVERS_MAX 16384u

struct name_address {
    uint8_t family;    /* 4 or 6 */
    uint8_t bytes[16]; /* 4 of them for IPv4 */
};

/* RFC 2782. */
struct name_target {
    char host[256]; /* in small letters, without the last dot */
    uint16_t port, priority, weight;
};

/* Sorted, nothing twice. */
struct name_answer {
    struct name_address *addresses;
    struct name_target *targets;
    uint32_t address_count, target_count;
};

struct name_lookup {
    /* name: "app.example.com" or "srv:_http._tcp.example.com". NULL: nothing is known of it. */
    const struct name_answer *(*find)(const struct name_lookup *lookup, struct slice name);
    void *owner;
};

/* Sets every pool's `servers`. False: out of memory. *left_out counts servers above the caps. */
bool must_use expand_servers(struct config *config, const struct overlay *overlay, const struct name_lookup *lookup, uint32_t *left_out);

/* True when all pools have the same servers with the same addresses, weights, limits, groups, zones and sources. */
bool expansion_equal(const struct config *a, const struct config *b);

/* Calls `want` for each name that the configuration's and the overlay's servers have (of a service, its own only). */
void expansion_names(const struct config *config, const struct overlay *overlay, void (*want)(void *context, struct slice name), void *context);

/* The host of "host:port", without brackets; of "srv:NAME" all of it; of "unix:/path" nothing. */
struct slice address_host(struct slice address);
bool address_is_name(const struct address *address);

#endif

/*
 * hash_key: what consistent-hash goes by. A pure function of request, client and pool, so that an exchange and `weir explain` agree.
 */
#ifndef WEIR_HASH_KEY_H
#define WEIR_HASH_KEY_H

#include "engine/config.h"

/* The key that pool->hash_key names, a view into the request or client_address; empty: the request has none. */
struct slice hash_key_of(const struct config_pool *pool, const struct request *request, struct slice client_address);

/* The same on every worker and over restarts. False: the pool hashes nothing, or the request has no key, and is to be spread. request NULL: of a pool that goes by the client's address. */
bool hash_key_hash(const struct config_pool *pool, const struct request *request, struct slice client_address, uint64_t *hash);

/* The value of a cookie of that name in the request's first Cookie; empty: there is none. */
struct slice hash_key_cookie(const struct request *request, struct slice name);

#endif

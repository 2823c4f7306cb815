#include "engine/hash_key.h"

#include "engine/base/map.h"

#define HASH_SEED_0 0x77656972u /* the same everywhere and for ever, so that a key keeps its server */
#define HASH_SEED_1 0x68617368u

/* The value of name in "a=1; b=2" of a cookie (RFC 6265 4.2.1), "a=1&b=2" of a query: the first, as it stands. */
static struct slice pair_value(struct slice pairs, char separator, struct slice name)
{
    while (pairs.length) {
        const char *end = memchr(pairs.at, separator, pairs.length);
        size_t length = end ? (size_t)(end - pairs.at) : pairs.length;
        struct slice pair = slice_trim(slice_of(pairs.at, length));
        if (pair.length > name.length && pair.at[name.length] == '=' && slice_starts(pair, name))
            return slice_of(pair.at + name.length + 1, pair.length - name.length - 1);
        size_t used = end ? length + 1 : length;
        pairs = slice_of(pairs.at + used, pairs.length - used);
    }
    return SLICE_NONE;
}

static struct slice field_of(const struct request *request, struct slice name)
{
    const struct field *field = fields_find_name(&request->fields, name);
    return field ? field_value(field) : SLICE_NONE;
}

struct slice hash_key_cookie(const struct request *request, struct slice name)
{
    return pair_value(field_of(request, SLICE("cookie")), ';', name);
}

struct slice hash_key_of(const struct config_pool *pool, const struct request *request, struct slice client_address)
{
    switch (pool->hash_key) {
    case HASH_PATH: return request->path;
    case HASH_HOST: return request->host;
    case HASH_CLIENT_ADDRESS: return client_address;
    case HASH_HEADER: return field_of(request, pool->hash_name);
    case HASH_COOKIE: return hash_key_cookie(request, pool->hash_name);
    case HASH_QUERY: return pair_value(request->query, '&', pool->hash_name);
    case HASH_URI: break;
    }
    return request->path;
}

bool hash_key_hash(const struct config_pool *pool, const struct request *request, struct slice client_address, uint64_t *hash)
{
    *hash = 0;
    if (pool->balance != BALANCE_CONSISTENT_HASH)
        return false;
    struct slice key = hash_key_of(pool, request, client_address);
    if (key.length == 0)
        return false;
    *hash = siphash13(key.at, key.length, HASH_SEED_0, HASH_SEED_1);
    if (pool->hash_key == HASH_URI && request->query.at)
        *hash ^= siphash13(request->query.at, request->query.length, HASH_SEED_1, HASH_SEED_0);
    return true;
}

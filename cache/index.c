#include "cache/index.h"

#include "engine/base/check.h"
#include "engine/base/map.h"

#define BYTES_PER_BUCKET 2048u /* of the region: one object in it, or two of the smallest */

static uint32_t buckets_of(uint64_t region_bytes)
{
    uint32_t buckets = 64;
    while (buckets < region_bytes / BYTES_PER_BUCKET)
        buckets *= 2;
    return buckets;
}

size_t index_bytes(uint64_t region_bytes)
{
    return 2 * sizeof(uint32_t) * (size_t)buckets_of(region_bytes);
}

void index_init(struct index *index, void *tables, uint64_t region_bytes, const struct pages *pages,
                const uint64_t seed[2])
{
    uint32_t buckets = buckets_of(region_bytes);
    *index = (struct index){ .pages = pages,
                             .by_key = tables,
                             .by_url = (uint32_t *)tables + buckets,
                             .mask = buckets - 1,
                             .seed = { seed[0], seed[1] } };
    memset(tables, 0, index_bytes(region_bytes));
}

/* The URL part is hashed already. What stands behind it (pool, cookies, fields) may be a client's choice too: it is hashed as carefully. */
uint64_t index_hash(const struct index *index, const struct cache_key *key)
{
    return mix64(key->url_hash ^ siphash13(key->text.at + key->url_length, key->text.length - key->url_length,
                                           index->seed[1], index->seed[0]));
}

/* Homes are picked by the same hash, so its bits are mixed once more. */
static inline uint32_t *url_bucket(const struct index *index, uint64_t url_hash)
{
    return &index->by_url[mix64(url_hash) & index->mask];
}

void index_add(struct index *index, struct object *object)
{
    uint32_t *bucket = &index->by_key[object->key_hash & index->mask];
    object->next_in_bucket = pages_at(index->pages, *bucket);
    *bucket = pages_reference(index->pages, object);
    bucket = url_bucket(index, object->url_hash);
    object->previous_of_url = NULL;
    object->next_of_url = pages_at(index->pages, *bucket);
    if (object->next_of_url)
        object->next_of_url->previous_of_url = object;
    *bucket = pages_reference(index->pages, object);
    index->objects++;
    object->indexed = true;
}

static void remove_by_key(struct index *index, struct object *object)
{
    uint32_t *bucket = &index->by_key[object->key_hash & index->mask];
    struct object *at = pages_at(index->pages, *bucket);
    if (at == object) {
        *bucket = pages_reference(index->pages, object->next_in_bucket);
        return;
    }
    while (at->next_in_bucket != object)
        at = at->next_in_bucket;
    at->next_in_bucket = object->next_in_bucket;
}

void index_remove(struct index *index, struct object *object)
{
    MUST(object->indexed);
    remove_by_key(index, object);
    if (object->previous_of_url)
        object->previous_of_url->next_of_url = object->next_of_url;
    else
        *url_bucket(index, object->url_hash) = pages_reference(index->pages, object->next_of_url);
    if (object->next_of_url)
        object->next_of_url->previous_of_url = object->previous_of_url;
    object->next_in_bucket = object->next_of_url = object->previous_of_url = NULL;
    object->indexed = false;
    index->objects--;
}

static struct object *same_key(struct object *object, struct slice key, uint64_t hash)
{
    while (object && !(object->key_hash == hash && slice_equal(object->key, key)))
        object = object->next_in_bucket;
    return object;
}

struct object *index_first(const struct index *index, const struct slice key, uint64_t hash)
{
    return same_key(pages_at(index->pages, index->by_key[hash & index->mask]), key, hash);
}

struct object *index_next(const struct object *object)
{
    return same_key(object->next_in_bucket, object->key, object->key_hash);
}

static struct object *same_url(struct object *object, struct slice url, uint64_t url_hash)
{
    while (object && !(object->url_hash == url_hash && slice_equal(slice_of(object->key.at, object->url_length), url)))
        object = object->next_of_url;
    return object;
}

struct object *index_first_of_url(const struct index *index, struct slice url, uint64_t url_hash)
{
    return same_url(pages_at(index->pages, *url_bucket(index, url_hash)), url, url_hash);
}

struct object *index_next_of_url(const struct object *object)
{
    return same_url(object->next_of_url, slice_of(object->key.at, object->url_length), object->url_hash);
}

struct object *index_bucket(const struct index *index, uint32_t number)
{
    return pages_at(index->pages, index->by_key[number]);
}

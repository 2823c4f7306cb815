/*
 * index: where an object is found: by the hash of its whole key, and with all others of its URL by the hash of the URL part.
 *
 * Both tables have a fixed number of buckets in the home's region. Chains are short: the hashes are keyed. A URL's own chain is as long as it has
 * keys and variants, so it is walked only to purge and to list, and an object leaves it in one step.
 */
#ifndef WEIR_CACHE_INDEX_H
#define WEIR_CACHE_INDEX_H

#include "cache/key.h"
#include "cache/object.h"
#include "cache/pages.h"

struct index {
    const struct pages *pages; /* whose short references the buckets hold */
    uint32_t *by_key, *by_url;
    uint32_t mask; /* buckets - 1 of each */
    uint64_t seed[2];
    uint64_t objects;
};

/* Bytes of the tables of a home with so many bytes. */
size_t index_bytes(uint64_t region_bytes);
void index_init(struct index *index, void *tables, uint64_t region_bytes, const struct pages *pages, const uint64_t seed[2]);

/* Of the whole key. */
uint64_t index_hash(const struct index *index, const struct cache_key *key);
void index_add(struct index *index, struct object *object);
void index_remove(struct index *index, struct object *object);
/* The object stored last under that key, and the one before `object`; NULL: none. */
struct object *index_first(const struct index *index, const struct slice key, uint64_t hash);
struct object *index_next(const struct object *object);
/* Likewise of a URL part. */
struct object *index_first_of_url(const struct index *index, struct slice url, uint64_t url_hash);
struct object *index_next_of_url(const struct object *object);
/* The chain of a bucket, to walk all; the next is next_in_bucket. */
static inline uint32_t index_buckets(const struct index *index) { return index->mask + 1; }
struct object *index_bucket(const struct index *index, uint32_t number);

#endif

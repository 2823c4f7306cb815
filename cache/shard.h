/*
 * shard: struct cache from inside, for the files that make up cache.h: cache.c (finding, seeing), store.c (filling, storing), purge.c, flight.c.
 */
#ifndef WEIR_CACHE_SHARD_H
#define WEIR_CACHE_SHARD_H

#include "cache/cache.h"
#include "cache/eviction.h"
#include "cache/flight.h"
#include "cache/index.h"
#include "cache/pages.h"
#include "cache/purge.h"
#include "cache/tags.h"

#define CACHE_MAGIC 0x68656172u
#define VARIANTS_MAX 64u

struct cache {
    uint32_t magic;
    uint64_t region_bytes;
    struct pages pages;
    struct index index;
    struct eviction eviction;
    struct tags tags;
    struct purges purges;
    struct flights flights;
    struct cache_numbers numbers; /* those that only grow */
};

/* Content of one object at most. */
static inline uint64_t cache_content_most(const struct cache *cache) { return cache->region_bytes / 4; }
/* What an object takes, with its body. */
static inline uint64_t object_bytes(const struct object *object) { return object->bytes + (object->body ? object->body->bytes : 0); }

/* Out of the index and all records: `gone`. The index's reference is given back. */
void cache_take_out(struct cache *cache, struct object *object);
/* Applies the purges that the object was not yet judged by. False: it was taken out. */
bool cache_settle(struct cache *cache, struct object *object);
/* Takes one object out for room. False: *tries are used up, or nobody may go. needed: else nobody who is held must go. */
bool cache_evict_one(struct cache *cache, uint32_t *tries, bool needed);
/* The body's own run and all pieces'. */
void cache_free_body(struct cache *cache, struct body *body);
/* A run, if need be by evicting. */
void *cache_take_run(struct cache *cache, size_t bytes, uint32_t *tries);

#endif

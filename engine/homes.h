/*
 * homes: the process's cache memory: homes (cache.h), each under its lock, and the number of purges.
 *
 * Made once at the start (a reload that changes its size is refused); any thread may enter a home. A lock is held for the length of one or a few
 * calls of cache.h, some hundred nanoseconds, and never across anything that waits or takes another home's.
 */
#ifndef WEIR_HOMES_H
#define WEIR_HOMES_H

#include <pthread.h>

#include "cache/cache.h"

struct home {
    pthread_mutex_t lock;
    struct cache *cache;
    uint32_t number;
} __attribute__((aligned(CACHE_LINE)));

struct homes {
    struct home *list;
    uint32_t count;
    size_t home_bytes;
    char *memory;
    uint64_t seed[2]; /* of key hashes */
    /* Grows after each purge is in force in all homes, but of URLs with few variants, which are gone at once: what a worker keeps from before is looked
     * up again. */
    _Atomic uint64_t purges;
};

/* bytes are split among at least `workers` homes. seed: of a disk that hashes have to be the same as on; NULL: random. NULL: no memory. */
struct homes *homes_new(uint64_t bytes, uint32_t workers, const uint64_t *seed);
void homes_free(struct homes *homes);

struct home *homes_of(struct homes *homes, uint64_t url_hash);
static inline struct cache *home_enter(struct home *home)
{
    pthread_mutex_lock(&home->lock);
    return home->cache;
}
static inline void home_leave(struct home *home)
{
    pthread_mutex_unlock(&home->lock);
}

/* In force everywhere when it returns; counts are sums. Any thread. */
void homes_purge(struct homes *homes, const struct purge *purge, struct purge_count *count);
/* The same for PURGE_URL alone, which concerns one home. */
void homes_purge_url(struct homes *homes, const struct purge *purge, struct purge_count *count);
struct cache_numbers homes_numbers(struct homes *homes);

#endif

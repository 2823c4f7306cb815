#include "engine/homes.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "engine/base/check.h"
#include "engine/base/map.h"

#define REGION_STEP 65536u

static bool make_home(struct homes *homes, uint32_t i)
{
    struct home *home = &homes->list[i];
    home->number = i;
    home->cache = cache_new(homes->memory + i * homes->home_bytes, homes->home_bytes, homes->seed);
    return home->cache && pthread_mutex_init(&home->lock, NULL) == 0;
}

/* At least one home for each worker, and none above what a home can have. */
static uint32_t count_for(uint64_t bytes, uint32_t workers)
{
    uint32_t count = workers;
    while (bytes / count > CACHE_REGION_MOST - REGION_STEP)
        count += workers;
    return count;
}

struct homes *homes_new(uint64_t bytes, uint32_t workers, const uint64_t *seed)
{
    uint32_t count = count_for(bytes, workers);
    struct homes *homes = FAULT("homes") ? NULL : calloc(1, sizeof *homes);
    if (!homes)
        return NULL;
    homes->count = count;
    homes->home_bytes = bytes / count / REGION_STEP * REGION_STEP;
    if (homes->home_bytes < CACHE_REGION_LEAST)
        homes->home_bytes = CACHE_REGION_LEAST;
    if (seed)
        memcpy(homes->seed, seed, sizeof homes->seed);
    else if (getrandom(homes->seed, sizeof homes->seed, 0) != sizeof homes->seed)
        homes->seed[0] = (uint64_t)(uintptr_t)homes;
    homes->list = aligned_alloc(CACHE_LINE, count * sizeof *homes->list);
    if (homes->list)
        memset(homes->list, 0, count * sizeof *homes->list);
    void *memory = mmap(NULL, homes->home_bytes * count, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    homes->memory = memory == MAP_FAILED ? NULL : memory;
    bool made = homes->list && homes->memory;
    for (uint32_t i = 0; made && i < count; i++)
        made = make_home(homes, i);
    if (made)
        return homes;
    homes_free(homes);
    return NULL;
}

void homes_free(struct homes *homes)
{
    if (!homes)
        return;
    for (uint32_t i = 0; homes->list && i < homes->count && homes->list[i].cache; i++)
        cache_release(homes->list[i].cache);
    if (homes->memory)
        munmap(homes->memory, homes->home_bytes * homes->count);
    free(homes->list);
    free(homes);
}

/* The low bits pick a home's bucket. */
struct home *homes_of(struct homes *homes, uint64_t url_hash)
{
    return &homes->list[(url_hash >> 32) * homes->count >> 32];
}

void homes_purge(struct homes *homes, const struct purge *purge, struct purge_count *count)
{
    *count = (struct purge_count){ 0 };
    for (uint32_t i = 0; i < homes->count; i++) {
        struct purge_count here = { 0 };
        struct cache *cache = home_enter(&homes->list[i]);
        cache_purge(cache, purge, &here);
        home_leave(&homes->list[i]);
        count->objects += here.objects;
        count->bytes += here.bytes;
    }
    if (purge->kind != PURGE_URL)
        atomic_fetch_add(&homes->purges, 1);
}

void homes_purge_url(struct homes *homes, const struct purge *purge, struct purge_count *count)
{
    struct home *home = homes_of(homes, siphash13(purge->text.at, purge->text.length, homes->seed[0], homes->seed[1]));
    *count = (struct purge_count){ 0 };
    struct cache *cache = home_enter(home);
    cache_purge(cache, purge, count);
    bool late = cache_purges_late(cache);
    home_leave(home);
    if (late)
        atomic_fetch_add(&homes->purges, 1);
}

struct cache_numbers homes_numbers(struct homes *homes)
{
    struct cache_numbers sum = { 0 };
    for (uint32_t i = 0; i < homes->count; i++) {
        struct cache *cache = home_enter(&homes->list[i]);
        struct cache_numbers here = cache_numbers(cache);
        home_leave(&homes->list[i]);
        sum.bytes_max += here.bytes_max;
        sum.bytes += here.bytes;
        sum.objects += here.objects;
        sum.flights += here.flights;
        sum.inserted += here.inserted;
        sum.evicted += here.evicted;
        sum.evicted_bytes += here.evicted_bytes;
        sum.refused += here.refused;
        sum.purged += here.purged;
    }
    return sum;
}

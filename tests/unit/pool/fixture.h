/*
 * fixture: a pool of servers with everything the engine would give it, for the unit tests of pool/.
 *
 * Two worlds may share `records` (health), as two workers do.
 */
#ifndef WEIR_TESTS_UNIT_POOL_FIXTURE_H
#define WEIR_TESTS_UNIT_POOL_FIXTURE_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pool/upstream.h"

struct world {
    struct upstream upstream;
    struct member *members;
    struct server *servers;
    struct health *records;
    bool records_shared;
    struct server_counters *counters;
    char (*names)[32];
    uint32_t count;
};

static const struct health_limits usual_limits = { .fail_after = 3, .backoff_ms_min = 1000, .backoff_ms_max = 60000 };

static inline void *must_have(void *memory)
{
    cr_assert_not_null(memory);
    return memory;
}

/* Servers "web/<first>", "web/<first + 1>", ... weights NULL: all 1. records NULL: its own. */
static inline void world_init(struct world *world, enum balance_kind kind, uint32_t first, uint32_t count,
                              const uint32_t *weights, struct health *records)
{
    *world = (struct world){ .count = count, .records_shared = records != NULL };
    world->members = must_have(calloc(count + 1, sizeof *world->members));
    world->servers = must_have(calloc(count + 1, sizeof *world->servers));
    world->counters = must_have(calloc(count + 1, sizeof *world->counters));
    world->names = must_have(calloc(count + 1, sizeof *world->names));
    world->records = records ? records : must_have(aligned_alloc(CACHE_LINE, (count + 1) * sizeof *world->records));
    if (!records)
        memset(world->records, 0, (count + 1) * sizeof *world->records);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(world->names[i], sizeof world->names[i], "web/%" PRIu32, first + i);
        world->servers[i] = (struct server){ .name = slice_of_text(world->names[i]),
                                             .health = &world->records[i],
                                             .counters = &world->counters[i] };
        world->members[i] = (struct member){ .server = &world->servers[i], .weight = weights ? weights[i] : 1 };
    }
    cr_assert_eq(upstream_init(&world->upstream, SLICE("web"), world->members, count, kind), ERR_OK);
    world->upstream.health_limits = usual_limits;
}

/* The same pool in tiers: server i is of groups[i], and far where far[i] says so (NULL: none is). */
static inline void world_regroup(struct world *world, enum balance_kind kind, const uint8_t *groups, const bool *far)
{
    upstream_release(&world->upstream);
    for (uint32_t i = 0; i < world->count; i++) {
        world->members[i].group = groups ? groups[i] : 0;
        world->members[i].far = far && far[i];
    }
    cr_assert_eq(upstream_init(&world->upstream, SLICE("web"), world->members, world->count, kind), ERR_OK);
    world->upstream.health_limits = usual_limits;
}

static inline void world_release(struct world *world)
{
    upstream_release(&world->upstream);
    if (!world->records_shared)
        free(world->records);
    free(world->members);
    free(world->servers);
    free(world->counters);
    free(world->names);
}

/* xorshift64*: the tests' random numbers. */
static inline uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull;
}

/* A new seed each run, printed; WEIR_SEED repeats one. */
static inline uint64_t test_seed(const char *test)
{
    const char *given = getenv("WEIR_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given ? strtoull(given, NULL, 0) : mix64((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30) | 1;
    fprintf(stderr, "%s: WEIR_SEED=%" PRIu64 "\n", test, seed);
    return seed ? seed : 1;
}

static inline struct pick_request request_at(uint64_t now_ms, uint64_t *seed)
{
    return (struct pick_request){ .hash = next_random(seed), .random = next_random(seed), .now_ms = now_ms };
}

/* Of its server: members may stand in another order. */
static inline int index_of(const struct world *world, const struct member *member)
{
    return (int)(member->server - world->servers);
}

static inline struct member *member_of(struct world *world, uint32_t server)
{
    for (uint32_t i = 0; i < world->count; i++)
        if (world->members[i].server == &world->servers[server])
            return &world->members[i];
    return NULL;
}

/* One pick at time 1, which must succeed; the lease is kept. */
static inline int pick_one(struct world *world, uint64_t *seed)
{
    struct pick_request request = request_at(1, seed);
    struct member *member = NULL;
    cr_assert_eq(upstream_pick(&world->upstream, &request, &member), PICK_OK);
    return index_of(world, member);
}

/* The same, given back at once. */
static inline int pick_and_return(struct world *world, uint64_t *seed)
{
    int index = pick_one(world, seed);
    cr_assert(!upstream_done(&world->upstream, member_of(world, (uint32_t)index), SERVER_OK, 1, 0));
    return index;
}

static inline void mark(struct health *health, uint64_t until_ms)
{
    atomic_store(&health->marks, 1u);
    atomic_store(&health->marked_until_ms, until_ms);
}

#endif

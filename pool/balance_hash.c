/*
 * balance_hash: consistent hashing by a Maglev table (Eisenbud et al., NSDI 2016, section 3.4), weighted.
 *
 * Each server walks the table in an order of its own, which its name gives, and the servers take free entries in turn
 * until none is left; a server of half the weight has every second turn. A key's hash names an entry, an entry a
 * server. When a server leaves the configuration its keys are shared out, and few others move. When it is unusable
 * the table stays as it is and the pick hops on to other entries, which the key's hash gives: so its keys are spread
 * over all the others by weight, and come back to it when it does. (The next entry in line would not do: servers walk
 * with even steps, so who stands next to whom is far from random. Of five servers one got 14 % of another's keys, not
 * 25 %.)
 *
 * With load_cap a server that has more than its part in flight is hopped over likewise (Mirrokni, Thorup and
 * Zadimoghaddam, Consistent Hashing with Bounded Loads, 2016): see tier_has_room.
 *
 * The table depends on the servers' names, their weights and the pool's name only, not on their order in the file:
 * every worker, every reload and every machine with the same file gives a key the same server.
 *
 * Its size depends on the number of servers in one step only, because keys do not keep their servers when it changes:
 * 16381 entries (32 KiB, 127 a server at least, so that shares are even within 1 %) up to SMALL_COUNT_MAX servers,
 * beyond that 65537.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "pool/tier.h"

#define SMALL_COUNT_MAX 128u
#define SMALL_ENTRIES 16381u /* primes, so that every step walks over the whole table */
#define LARGE_ENTRIES 65537u
#define HOPS_MAX 64u /* entries looked at for a usable server, then servers are looked at instead */
#define FREE_ENTRY UINT16_MAX

#define NAME_SEED_0 0x7365727665722e31ull /* any, but the same for ever: another one moves every key */
#define NAME_SEED_1 0x6d61676c65762e31ull

struct maglev {
    uint32_t entries;
    uint16_t server[]; /* index into tier->members */
};
_Static_assert(UPSTREAM_SERVERS_MAX < FREE_ENTRY, "an entry holds an index");

/* A server's walk over the table while that is filled. */
struct walker {
    uint64_t name_hash;
    uint32_t at, step;
    uint32_t weight;
    uint64_t paid; /* entries taken, times the largest weight */
    uint16_t server;
};

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const struct walker *)a)->name_hash, y = ((const struct walker *)b)->name_hash;
    return (x > y) - (x < y);
}

static void set_out(struct walker *walkers, const struct tier *tier, uint32_t entries)
{
    for (uint32_t i = 0; i < tier->count; i++) {
        struct slice name = tier->members[i].server->name;
        uint64_t hash = siphash13(name.at, name.length, NAME_SEED_0 ^ tier->hash_seed, NAME_SEED_1);
        walkers[i] = (struct walker){ .name_hash = hash,
                                      .at = (uint32_t)(hash % entries),
                                      .step = (uint32_t)(mix64(hash) % (entries - 1)) + 1,
                                      .weight = tier->members[i].weight,
                                      .server = (uint16_t)i };
    }
    qsort(walkers, tier->count, sizeof *walkers, by_hash);
}

static void take_entry(struct maglev *table, struct walker *walker)
{
    for (;;) { /* ends: the step and the prime have no common divisor, and an entry is free */
        uint32_t here = walker->at;
        walker->at += walker->step;
        if (walker->at >= table->entries)
            walker->at -= table->entries;
        if (table->server[here] == FREE_ENTRY) {
            table->server[here] = walker->server;
            return;
        }
    }
}

static void fill(struct maglev *table, struct walker *walkers, uint32_t count)
{
    uint32_t heaviest = 1;
    for (uint32_t i = 0; i < count; i++)
        heaviest = walkers[i].weight > heaviest ? walkers[i].weight : heaviest;
    uint32_t left = table->entries;
    for (uint64_t round = 1;; round++) { /* the heaviest takes one in each, the lightest at least one in all */
        for (uint32_t i = 0; i < count; i++) {
            struct walker *walker = &walkers[i];
            if (round * walker->weight <= walker->paid)
                continue;
            walker->paid += heaviest;
            take_entry(table, walker);
            if (--left == 0)
                return;
        }
    }
}

static enum err build(struct tier *tier)
{
    uint32_t entries = tier->count <= SMALL_COUNT_MAX ? SMALL_ENTRIES : LARGE_ENTRIES;
    if (tier->count == 0)
        return ERR_OK;
    struct maglev *table = FAULT("balance") ? NULL : malloc(sizeof *table + entries * sizeof table->server[0]);
    struct walker *walkers = calloc(tier->count, sizeof *walkers);
    if (!table || !walkers) {
        free(table);
        free(walkers);
        return ERR_MEMORY;
    }
    table->entries = entries;
    memset(table->server, 0xff, entries * sizeof table->server[0]);
    set_out(walkers, tier, entries);
    fill(table, walkers, tier->count);
    free(walkers);
    tier->balance_state = table;
    return ERR_OK;
}

static void destroy(struct tier *tier)
{
    free(tier->balance_state);
    tier->balance_state = NULL;
}

/* Inlined twice: without a cap it is not to be asked for in vain. */
static inline int hop(struct tier *tier, const struct pick_request *request, bool capped)
{
    const struct maglev *table = tier->balance_state;
    uint64_t hash = request->hash;
    for (unsigned i = 0; i < HOPS_MAX; i++) {
        uint16_t server = table->server[((hash >> 32) * table->entries) >> 32];
        const struct member *member = &tier->members[server];
        if (likely(upstream_usable(tier->upstream, member, request)) && (!capped || tier_has_room(tier, member)))
            return server;
        hash = mix64(hash + 0x9e3779b97f4a7c15ull); /* splitmix64 */
    }
    return tier_look_round(tier, request);
}

static int pick(struct tier *tier, const struct pick_request *request)
{
    return unlikely(tier->upstream->load_cap) ? hop(tier, request, true) : hop(tier, request, false);
}

const struct balance balance_consistent_hash = {
    .word = "consistent-hash", .keyed = true, .build = build, .destroy = destroy, .pick = pick
};

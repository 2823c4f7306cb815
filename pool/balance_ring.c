/*
 * balance_ring: consistent hashing on a circle of points (Karger et al., STOC 1997; ketama), weighted.
 *
 * Each server stands at many places of a circle of 2^32, which its name gives; a key belongs to the first place at or
 * behind its own hash. A server that leaves gives each stretch to the next server on the circle, and no other key moves;
 * one whose weight changes gains or loses places, and only the keys there move. A key whose server is unusable, or has as much
 * as load_cap allows, goes on clockwise. Against Maglev's table (balance_hash.c) that is less even, since the lengths of
 * stretches vary: with 160 points a server's share is within about 8 % of itself two times out of three.
 *
 * 160 points for each unit of weight, whatever the others weigh, so that points do not move when somebody leaves. If that makes
 * more than POINTS_MAX (the weights' sum is above 409), all servers have half as many, or a quarter, and so on: keys do
 * move when a change of the configuration crosses such a step.
 *
 * The points are sorted, and an index by a hash's upper bits says where to begin: a lookup reads the index and a point or two
 * behind it.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "pool/tier.h"

#define POINTS_PER_WEIGHT 160u
#define POINTS_MAX 65536u
#define STEPS_EXTRA 64u /* over four times the servers: then servers are looked at instead */

#define NAME_SEED_0 0x72696e672e7631ull /* any, but the same for ever: another one moves every key */
#define NAME_SEED_1 0x706f696e74732e31ull

struct ring {
    uint32_t count;    /* of points */
    unsigned shift;    /* from a hash to its place in the index */
    uint32_t *begin;   /* by upper bits: the first point that is not before them */
    uint32_t *hash;    /* sorted */
    uint16_t server[]; /* index into tier->members, by point */
};

/* A server, and its place in the order of names, which the file's order does not change. */
struct holder {
    uint64_t name_hash;
    uint32_t points;
    uint16_t server;
};

static int by_name_hash(const void *a, const void *b)
{
    uint64_t x = ((const struct holder *)a)->name_hash, y = ((const struct holder *)b)->name_hash;
    return (x > y) - (x < y);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Points in all; holders are left in the order of their names. */
static uint32_t set_out(struct holder *holders, const struct tier *tier)
{
    unsigned halvings = 0;
    uint32_t total = 0;
    while ((uint64_t)POINTS_PER_WEIGHT * tier->weight >> halvings > POINTS_MAX)
        halvings++;
    for (uint32_t i = 0; i < tier->count; i++) {
        struct slice name = tier->members[i].server->name;
        uint32_t points = POINTS_PER_WEIGHT * tier->members[i].weight >> halvings;
        holders[i] =
            (struct holder){ .name_hash = siphash13(name.at, name.length, NAME_SEED_0 ^ tier->hash_seed, NAME_SEED_1),
                             .points = points ? points : 1,
                             .server = (uint16_t)i };
        total += holders[i].points;
    }
    qsort(holders, tier->count, sizeof *holders, by_name_hash);
    return total;
}

/* A point's hash above, its holder's place below: where two hashes are equal the names decide. */
static void fill(struct ring *ring, uint64_t *points, const struct holder *holders, uint32_t servers)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < servers; i++)
        for (uint32_t k = 0; k < holders[i].points; k++)
            points[made++] = mix64(holders[i].name_hash + k * 0x9e3779b97f4a7c15ull) >> 32 << 32 | i;
    qsort(points, made, sizeof *points, by_number);
    for (uint32_t i = 0; i < made; i++) {
        ring->hash[i] = (uint32_t)(points[i] >> 32);
        ring->server[i] = holders[(uint32_t)points[i]].server;
    }
    uint32_t next = 0;
    for (uint64_t cell = 0; cell < 1ull << (32 - ring->shift); cell++) {
        while (next < made && ring->hash[next] < cell << ring->shift)
            next++;
        ring->begin[cell] = next;
    }
}

/* In one piece: the index, the hashes, the servers. */
static struct ring *ring_new(uint32_t points)
{
    unsigned bits = 1;
    while (1u << bits < points)
        bits++;
    size_t cells = (size_t)1 << bits;
    size_t head = (sizeof(struct ring) + points * sizeof(uint16_t) + 7) / 8 * 8;
    char *memory = FAULT("balance") ? NULL : malloc(head + (cells + points) * sizeof(uint32_t));
    if (!memory)
        return NULL;
    struct ring *ring = (struct ring *)(void *)memory;
    *ring = (struct ring){ .count = points, .shift = 32 - bits, .begin = (uint32_t *)(void *)(memory + head) };
    ring->hash = ring->begin + cells;
    return ring;
}

static enum err build(struct tier *tier)
{
    struct holder *holders = calloc(tier->count, sizeof *holders);
    uint32_t count = holders ? set_out(holders, tier) : 0;
    uint64_t *points = count ? calloc(count, sizeof *points) : NULL;
    struct ring *ring = points ? ring_new(count) : NULL;
    if (ring)
        fill(ring, points, holders, tier->count);
    tier->balance_state = ring;
    free(points);
    free(holders);
    return ring ? ERR_OK : ERR_MEMORY;
}

static void destroy(struct tier *tier)
{
    free(tier->balance_state);
    tier->balance_state = NULL;
}

static uint32_t first_behind(const struct ring *ring, uint32_t hash)
{
    uint32_t i = ring->begin[hash >> ring->shift];
    while (i < ring->count && ring->hash[i] < hash)
        i++;
    return i == ring->count ? 0 : i;
}

static int pick(struct tier *tier, const struct pick_request *request)
{
    const struct ring *ring = tier->balance_state;
    uint32_t at = first_behind(ring, (uint32_t)(request->hash >> 32));
    for (uint32_t left = 4 * tier->count + STEPS_EXTRA; left > 0; left--) {
        const struct member *member = &tier->members[ring->server[at]];
        if (likely(upstream_usable(tier->upstream, member, request)) && likely(tier_has_room(tier, member)))
            return ring->server[at];
        at = at + 1 == ring->count ? 0 : at + 1;
    }
    return tier_look_round(tier, request);
}

const struct balance balance_ring = { .word = "ring", .keyed = true, .build = build, .destroy = destroy, .pick = pick };

/*
 * balance_least: the server with the least to do, by this worker's count.
 *
 * Load is (exchanges in flight + 1) / weight (member_less_loaded), so that a heavier server is preferred also when all
 * are idle. Each worker counts its own exchanges only: that needs no shared line in the cache, and workers see like
 * mixtures of requests.
 *
 * least-load looks at all servers and begins behind the one it picked last: equal servers take turns, O(servers).
 * two-choices draws two servers by weight and takes the less loaded, O(1): nearly as even (Mitzenmacher 2001), and
 * workers do not all run to the same server that has just become idle. Drawing by weight, not evenly, because a
 * server can get no larger share than that of the draws that name it.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "pool/upstream.h"

/* least-load --------------------------------------------------------------------------------------------------- */

struct least {
    uint32_t next; /* where the next look begins */
    bool begun;
};

static enum err least_build(struct tier *tier)
{
    tier->balance_state = FAULT("balance") ? NULL : calloc(1, sizeof(struct least));
    return tier->balance_state ? ERR_OK : ERR_MEMORY;
}

static void free_state(struct tier *tier)
{
    free(tier->balance_state);
    tier->balance_state = NULL;
}

static int least_pick(struct tier *tier, const struct pick_request *request)
{
    struct least *state = tier->balance_state;
    if (unlikely(!state->begun)) { /* elsewhere on each worker, see balance_round_robin.c */
        state->begun = true;
        state->next = (uint32_t)(request->random % tier->count);
    }
    const struct member *best = NULL;
    uint32_t at = state->next;
    for (uint32_t left = tier->count; left > 0; left--) {
        const struct member *member = &tier->members[at];
        if ((!best || member_less_loaded(member, best)) && upstream_usable(tier->upstream, member, request))
            best = member;
        at = at + 1 == tier->count ? 0 : at + 1;
    }
    if (!best)
        return -1;
    uint32_t index = (uint32_t)(best - tier->members);
    state->next = index + 1 == tier->count ? 0 : index + 1;
    return (int)index;
}

const struct balance balance_least_load = { "least-load", false, least_build, free_state, least_pick };

/* two-choices -------------------------------------------------------------------------------------------------- */

#define DRAWS_MAX 8u

/*
 * Vose's alias table, which draws by weight in O(1): column i is drawn evenly; its server is i itself for the lower
 * `own` / 2^32 of it and `other` for the rest.
 */
struct column {
    uint32_t own;
    uint16_t other;
};
_Static_assert(UPSTREAM_SERVERS_MAX <= UINT16_MAX, "struct column's other holds an index");

struct columns {
    bool equal; /* weights: every column is its own */
    struct column column[];
};

/* share[i] is weight[i] * count, and a column holds `total` of it. Two stacks share one array, from its two ends. */
static void fill_columns(struct columns *columns, uint64_t *share, uint16_t *stack, uint32_t count, uint64_t total)
{
    uint32_t small = 0, large = count;
    for (uint32_t i = 0; i < count; i++) {
        columns->column[i] = (struct column){ UINT32_MAX, (uint16_t)i };
        if (share[i] < total)
            stack[small++] = (uint16_t)i;
        else
            stack[--large] = (uint16_t)i;
    }
    while (small > 0 && large < count) {
        uint16_t poor = stack[--small], rich = stack[large];
        columns->column[poor] = (struct column){ (uint32_t)((share[poor] << 32) / total), rich };
        share[rich] -= total - share[poor];
        if (share[rich] < total) {
            large++;
            stack[small++] = rich;
        }
    }
}

static enum err two_build(struct tier *tier)
{
    uint32_t count = tier->count;
    struct columns *columns = FAULT("balance") ? NULL : calloc(1, sizeof *columns + count * sizeof columns->column[0]);
    uint64_t *share = calloc(count + 1, sizeof *share);
    uint16_t *stack = calloc(count + 1, sizeof *stack);
    if (columns && share && stack) {
        uint64_t total = 0;
        columns->equal = true;
        for (uint32_t i = 0; i < count; i++) {
            share[i] = (uint64_t)tier->members[i].weight * count;
            total += tier->members[i].weight;
            columns->equal &= tier->members[i].weight == tier->members[0].weight;
        }
        fill_columns(columns, share, stack, count, total);
        tier->balance_state = columns;
    } else {
        free(columns);
    }
    free(share);
    free(stack);
    return tier->balance_state ? ERR_OK : ERR_MEMORY;
}

static uint32_t draw(const struct tier *tier, uint64_t random)
{
    const struct columns *columns = tier->balance_state;
    uint32_t i = (uint32_t)(((random >> 32) * tier->count) >> 32);
    if (columns->equal || (uint32_t)random < columns->column[i].own)
        return i;
    return columns->column[i].other;
}

/* The first usable one from a random place on, not `except`; -1. For when most are unusable and draws fail. */
static int look_round(const struct tier *tier, const struct pick_request *request, int except)
{
    uint32_t at = (uint32_t)(mix64(request->random) % tier->count);
    for (uint32_t left = tier->count; left > 0; left--) {
        if ((int)at != except && upstream_usable(tier->upstream, &tier->members[at], request))
            return (int)at;
        at = at + 1 == tier->count ? 0 : at + 1;
    }
    return -1;
}

static int two_pick(struct tier *tier, const struct pick_request *request)
{
    int first = -1;
    uint64_t random = request->random;
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        int drawn = (int)draw(tier, random);
        random = mix64(random + 0x9e3779b97f4a7c15ull); /* splitmix64 */
        if (drawn == first || !upstream_usable(tier->upstream, &tier->members[drawn], request))
            continue;
        if (first >= 0)
            return member_less_loaded(&tier->members[drawn], &tier->members[first]) ? drawn : first;
        first = drawn;
    }
    int second = look_round(tier, request, first);
    if (first < 0 || second < 0)
        return first < 0 ? second : first;
    return member_less_loaded(&tier->members[second], &tier->members[first]) ? second : first;
}

const struct balance balance_two_choices = { "two-choices", false, two_build, free_state, two_pick };

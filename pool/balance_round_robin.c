/*
 * balance_round_robin: servers in turn, by weight, and smoothly.
 *
 * Smooth weighted round-robin: each server's current weight grows by its weight, the largest is picked and pays the
 * sum of all. {5,1,1} gives a a b a c a a and not a a a a a b c (nginx, ngx_http_upstream_get_peer). That is
 * O(servers) for each pick, but it comes round again after as many picks as the weights' sum. So one round is written
 * down when the pool is built, and a pick is the next line of it. A line whose server is unusable is passed over:
 * what is left is a sequence with the others' weights, and a server that comes back has saved up no turns.
 *
 * Where the round is too long to be written down, or many lines in a row are unusable, a pick is made the first way,
 * among the usable.
 *
 * Each worker begins at a random place: with many workers and few requests the first server would otherwise get every
 * worker's first request.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "pool/upstream.h"

#define ROUND_COST_MAX (1u << 18) /* lines times servers: under a millisecond */
#define SKIPS_MAX 64u
#define STEPS_AT_START 64u /* without a round */

struct round_robin {
    uint32_t next;
    uint32_t length; /* of the round; 0: not written down */
    bool begun;
    uint16_t line[];
};
_Static_assert(UPSTREAM_SERVERS_MAX <= UINT16_MAX, "a line holds an index");

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint32_t round_length(const struct tier *tier)
{
    uint32_t sum = 0, divisor = 0;
    for (uint32_t i = 0; i < tier->count; i++) {
        sum += tier->members[i].weight;
        divisor = common_divisor(tier->members[i].weight, divisor);
    }
    uint32_t length = divisor ? sum / divisor : 0;
    bool equal = length == tier->count; /* the file's order is the round */
    return equal || length <= ROUND_COST_MAX / tier->count ? length : 0;
}

/* One step of the smooth kind, among the members that are usable; request NULL: among all. */
static int step(struct tier *tier, const struct pick_request *request)
{
    int best = -1;
    int32_t total = 0; /* at most UPSTREAM_SERVERS_MAX * SERVER_WEIGHT_MAX = 2^18 */
    for (uint32_t i = 0; i < tier->count; i++) {
        struct member *member = &tier->members[i];
        if (request && !upstream_usable(tier->upstream, member, request))
            continue;
        member->round_robin += (int32_t)member->weight;
        total += (int32_t)member->weight;
        if (best < 0 || member->round_robin > tier->members[best].round_robin)
            best = (int)i;
    }
    if (best >= 0)
        tier->members[best].round_robin -= total;
    return best;
}

static enum err build(struct tier *tier)
{
    uint32_t length = round_length(tier);
    struct round_robin *state = FAULT("balance") ? NULL : calloc(1, sizeof *state + length * sizeof state->line[0]);
    if (!state)
        return ERR_MEMORY;
    state->length = length;
    for (uint32_t i = 0; i < tier->count; i++)
        tier->members[i].round_robin = 0;
    for (uint32_t i = 0; i < length; i++) /* ends with all current weights at 0 again */
        state->line[i] = length == tier->count ? (uint16_t)i : (uint16_t)step(tier, NULL);
    tier->balance_state = state;
    return ERR_OK;
}

static void destroy(struct tier *tier)
{
    free(tier->balance_state);
    tier->balance_state = NULL;
}

static void begin(struct tier *tier, struct round_robin *state, const struct pick_request *request)
{
    state->begun = true;
    if (state->length)
        state->next = (uint32_t)(request->random % state->length);
    else
        for (uint64_t left = request->random % STEPS_AT_START; left > 0; left--)
            (void)step(tier, NULL);
}

static int pick(struct tier *tier, const struct pick_request *request)
{
    struct round_robin *state = tier->balance_state;
    if (unlikely(!state->begun))
        begin(tier, state, request);
    for (unsigned skips = 0; skips < SKIPS_MAX && state->length > 0; skips++) {
        uint16_t server = state->line[state->next];
        state->next = state->next + 1 == state->length ? 0 : state->next + 1;
        if (likely(upstream_usable(tier->upstream, &tier->members[server], request)))
            return server;
    }
    return step(tier, request);
}

const struct balance balance_round_robin = { .word = "round-robin", .build = build, .destroy = destroy, .pick = pick };

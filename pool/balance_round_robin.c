/*
 * balance_round_robin: servers in turn, by weight.
 *
 * Equal weights: a place in the list that moves on by one, O(1). Unequal ones: smooth weighted round-robin, O(servers):
 * each server's current weight grows by its weight, the largest is picked and pays the sum of all. {5,1,1} gives
 * a a b a c a a and not a a a a a b c (nginx, ngx_http_upstream_get_peer). Only usable servers take part, so one that
 * comes back has saved up no turns.
 *
 * Each worker begins at a random place: with many workers and few requests the first server would otherwise get every
 * worker's first request.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "pool/upstream.h"

#define STEPS_AT_START 64u /* at most, of the smooth kind, O(servers) each */

struct round_robin {
    uint32_t next; /* equal weights: the server whose turn it is */
    bool equal;
    bool begun;
};

static bool weights_equal(const struct upstream *upstream)
{
    for (uint32_t i = 1; i < upstream->count; i++)
        if (upstream->members[i].weight != upstream->members[0].weight)
            return false;
    return true;
}

static enum err build(struct upstream *upstream)
{
    struct round_robin *state = FAULT("balance") ? NULL : calloc(1, sizeof *state);
    if (!state)
        return ERR_MEMORY;
    state->equal = weights_equal(upstream);
    upstream->balance_state = state;
    return ERR_OK;
}

static void destroy(struct upstream *upstream)
{
    free(upstream->balance_state);
    upstream->balance_state = NULL;
}

static int pick_in_turn(struct upstream *upstream, struct round_robin *state, const struct pick_request *request)
{
    uint32_t at = state->next;
    for (uint32_t left = upstream->count; left > 0; left--) {
        uint32_t here = at;
        at = at + 1 == upstream->count ? 0 : at + 1;
        if (likely(upstream_usable(upstream, &upstream->members[here], request))) {
            state->next = at;
            return (int)here;
        }
    }
    return -1;
}

static int pick_smooth(struct upstream *upstream, const struct pick_request *request)
{
    int best = -1;
    int32_t total = 0; /* at most UPSTREAM_SERVERS_MAX * SERVER_WEIGHT_MAX = 2^18 */
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct member *member = &upstream->members[i];
        if (!upstream_usable(upstream, member, request))
            continue;
        member->round_robin += (int32_t)member->weight;
        total += (int32_t)member->weight;
        if (best < 0 || member->round_robin > upstream->members[best].round_robin)
            best = (int)i;
    }
    if (best >= 0)
        upstream->members[best].round_robin -= total;
    return best;
}

static void begin(struct upstream *upstream, struct round_robin *state, const struct pick_request *request)
{
    state->begun = true;
    uint32_t start = (uint32_t)(request->random % upstream->count);
    state->next = start;
    for (uint32_t i = 0; !state->equal && i < start && i < STEPS_AT_START; i++)
        (void)pick_smooth(upstream, request);
}

static int pick(struct upstream *upstream, const struct pick_request *request)
{
    struct round_robin *state = upstream->balance_state;
    if (unlikely(!state->begun))
        begin(upstream, state, request);
    return state->equal ? pick_in_turn(upstream, state, request) : pick_smooth(upstream, request);
}

const struct balance balance_round_robin = { "round-robin", build, destroy, pick };

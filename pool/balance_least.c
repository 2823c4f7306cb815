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
#include "pool/draw.h"

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

const struct balance balance_least_load = {
    .word = "least-load", .all_of = true, .build = least_build, .destroy = free_state, .pick = least_pick
};

/* two-choices -------------------------------------------------------------------------------------------------- */

static inline bool less_loaded(const struct member *a, const struct member *b, const struct pick_request *request)
{
    (void)request;
    return member_less_loaded(a, b);
}

static int two_pick(struct tier *tier, const struct pick_request *request)
{
    return draw_two(tier, request, less_loaded);
}

const struct balance balance_two_choices = {
    .word = "two-choices", .build = draw_build, .destroy = draw_destroy, .pick = two_pick
};

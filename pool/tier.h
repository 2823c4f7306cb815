/*
 * tier: who is asked first. A pool's members stand in tiers: by group, and inside a group those near this engine before
 * those in other zones. Requests go to the first tier while enough of its weight is well; what it cannot take goes to
 * the next (`spill-over`). A pool without groups and zones has one tier, and nothing here costs it anything.
 *
 * How much is well is looked at every TIER_LOOK_MS per worker and not for each request: between two looks a server
 * that fails is simply not picked.
 */
#ifndef WEIR_TIER_H
#define WEIR_TIER_H

#include "pool/upstream.h"

#define TIER_LOOK_MS 100u

/* Sorts upstream->members into tiers and builds the policy's state for each. ERR_MEMORY: nothing to release. */
enum err must_use tiers_build(struct upstream *upstream, const struct balance *balance);
void tiers_release(struct upstream *upstream);

/* Counts who is well and shares requests out anew; sets look_due_ms. */
void tiers_look(struct upstream *upstream, uint64_t now_ms);

/* Where this request is to begin. */
uint32_t tier_for(struct upstream *upstream, const struct pick_request *request);

/*
 * For policies by key. Bounded loads: another request would still be within load_cap of the mean over what is well,
 * rounded up. Of this worker's requests; as all workers keep to it, all together exceed it by less than one a worker.
 */
static inline bool tier_has_room(const struct tier *tier, const struct member *member)
{
    uint64_t cap = tier->upstream->load_cap;
    if (likely(cap == 0))
        return true;
    return (uint64_t)member->server->in_flight * 100 * tier->well_weight <
           cap * (tier->in_flight + 1ull) * member->weight;
}

/* The first usable one with room, from a place on that the key gives; else the least loaded of the usable; or -1. */
int tier_look_round(const struct tier *tier, const struct pick_request *request);

#endif

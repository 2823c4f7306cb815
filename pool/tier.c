/*
 * tier: see tier.h. How requests are shared out:
 *
 * A tier is in full health while the well part of its weight is at least `spill-over` percent, below that in proportion;
 * with spill-over 0 it is while anybody in it is well. The first tier takes as much of all requests as its health says, the
 * next as much of the rest as its own says, and so on; if all together cannot take everything, what they take is scaled
 * up (Envoy's priority levels do the same with an over-provisioning factor: 140 % there is 71 % here). A drained server
 * counts as weight that is not well: what it leaves behind must fit on fewer.
 *
 * So up_to of a tier is the sum of its part and the parts before it, of 2^32; a request draws 32 bits. With
 * consistent-hash it draws them from its key, so that always the same keys spill over.
 *
 * A tier that gets no request could not get a trial either, and its marks would stand for ever. When a trial is due
 * there, the next request goes there first.
 */
#include "pool/tier.h"

#include <stdlib.h>

#include "engine/base/map.h"

#define ALL (1ull << 32)

/* Building ----------------------------------------------------------------------------------------------------- */

static unsigned rank_of(const struct member *member)
{
    return 2u * member->group + member->far;
}

static int by_tier(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    unsigned left = rank_of(x), right = rank_of(y);
    return left == right ? (x->place > y->place) - (x->place < y->place) : (left > right) - (left < right);
}

static void sort_out(struct upstream *upstream)
{
    bool sorted = true;
    for (uint32_t i = 0; i < upstream->count; i++) {
        upstream->members[i].place = (uint16_t)i;
        sorted &= i == 0 || rank_of(&upstream->members[i - 1]) <= rank_of(&upstream->members[i]);
    }
    if (!sorted)
        qsort(upstream->members, upstream->count, sizeof *upstream->members, by_tier);
    /* Of the name alone, for tables must be the same everywhere; pools with the same servers differ. */
    uint64_t seed = siphash13(upstream->name.at, upstream->name.length, 0, 0);
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct member *member = &upstream->members[i];
        if (i == 0 || rank_of(member) != rank_of(member - 1))
            upstream->tiers[upstream->tier_count++] =
                (struct tier){ .members = member, .upstream = upstream, .hash_seed = seed, .up_to = ALL };
        struct tier *tier = &upstream->tiers[upstream->tier_count - 1];
        member->tier = (uint8_t)(upstream->tier_count - 1);
        tier->count++;
        tier->weight += member->weight;
    }
}

enum err tiers_build(struct upstream *upstream, const struct balance *balance)
{
    sort_out(upstream);
    upstream->balance = balance;
    for (uint32_t i = 0; i < upstream->tier_count; i++) {
        enum err e = balance->build ? balance->build(&upstream->tiers[i]) : ERR_OK;
        if (e == ERR_OK)
            continue;
        upstream->tier_count = i;
        tiers_release(upstream);
        return e;
    }
    return ERR_OK;
}

void tiers_release(struct upstream *upstream)
{
    for (uint32_t i = 0; i < upstream->tier_count && upstream->balance->destroy; i++)
        upstream->balance->destroy(&upstream->tiers[i]);
    upstream->tier_count = 0;
    upstream->balance = NULL;
}

/* Sharing out -------------------------------------------------------------------------------------------------- */

static uint64_t health_of(const struct tier *tier, uint32_t spill_over)
{
    uint64_t wanted = (uint64_t)tier->weight * spill_over; /* times 100 */
    if (tier->well_weight == 0)
        return 0;
    if (100ull * tier->well_weight >= wanted)
        return ALL;
    return 100 * ALL / wanted * tier->well_weight;
}

static void share_out(struct upstream *upstream)
{
    uint64_t taken = 0;
    for (uint32_t i = 0; i < upstream->tier_count; i++) {
        taken += u64_min(health_of(&upstream->tiers[i], upstream->spill_over), ALL - taken);
        upstream->tiers[i].up_to = taken;
    }
    for (uint32_t i = 0; taken < ALL && i < upstream->tier_count; i++)
        upstream->tiers[i].up_to = taken ? (upstream->tiers[i].up_to << 31) / taken * 2 : ALL;
    if (upstream->tier_count) /* what rounding has left over */
        upstream->tiers[upstream->tier_count - 1].up_to = ALL;
}

/*
 * Of all members but those that an operator took out: are too few well? One whose back-off has run out counts as well: in a tier that nobody is sent
 * to, as in a panic the later ones are, no request would ever be its trial, and the panic would never end.
 */
static bool is_panic(const struct upstream *upstream, uint64_t now_ms)
{
    uint32_t well = 0, present = 0;
    for (uint32_t i = 0; i < upstream->count && upstream->panic_below; i++) {
        const struct health *health = upstream->members[i].server->health;
        enum health_state state = health_state(health, now_ms);
        bool taken_out = state == HEALTH_DRAINED || atomic_load_explicit(&health->forced, memory_order_relaxed) == HEALTH_FORCED_DOWN;
        present += !taken_out;
        well += state == HEALTH_UP || state == HEALTH_TRIAL_DUE;
    }
    return well * 100 < present * upstream->panic_below;
}

static void look_at(struct tier *tier, uint64_t now_ms)
{
    bool due = false;
    tier->well_weight = 0;
    tier->in_flight = 0;
    for (uint32_t i = 0; i < tier->count; i++) {
        enum health_state state = health_state(tier->members[i].server->health, now_ms);
        tier->in_flight += tier->members[i].server->in_flight; /* with those of other views of this pool */
        due |= state == HEALTH_TRIAL_DUE;
        if (state == HEALTH_UP || (tier->upstream->panic && !health_is_out(tier->members[i].server->health)))
            tier->well_weight += tier->members[i].weight;
    }
    tier->trial_due = due && tier->well_weight == 0;
}

void tiers_look(struct upstream *upstream, uint64_t now_ms)
{
    upstream->plain = upstream->tier_count == 1 && upstream->load_cap == 0 && upstream->panic_below == 0;
    if (upstream->plain)
        return;
    upstream->panic = is_panic(upstream, now_ms);
    for (uint32_t i = 0; i < upstream->tier_count; i++)
        look_at(&upstream->tiers[i], now_ms);
    share_out(upstream);
    upstream->look_due_ms = now_ms + TIER_LOOK_MS;
}

uint32_t tier_for(struct upstream *upstream, const struct pick_request *request)
{
    if (upstream->tier_count == 1)
        return 0;
    uint64_t drawn = mix64((upstream->balance->keyed ? request->hash : request->random) ^ 0x7469657273ull) >> 32;
    uint32_t i = 0;
    for (; drawn >= upstream->tiers[i].up_to; i++) { /* ends: the last one's is 2^32 */
        if (unlikely(upstream->tiers[i].trial_due) && request->tried_count == 0) {
            upstream->tiers[i].trial_due = false;
            break;
        }
    }
    return i;
}

int tier_look_round(const struct tier *tier, const struct pick_request *request)
{
    uint32_t at = (uint32_t)(mix64(request->hash) % tier->count);
    int least = -1;
    for (uint32_t left = tier->count; left > 0; left--) {
        const struct member *member = &tier->members[at];
        if (upstream_usable(tier->upstream, member, request)) {
            if (tier_has_room(tier, member))
                return (int)at;
            if (least < 0 || member_less_loaded(member, &tier->members[least]))
                least = (int)at;
        }
        at = at + 1 == tier->count ? 0 : at + 1;
    }
    return least;
}

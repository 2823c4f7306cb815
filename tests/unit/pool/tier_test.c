#include "pool/tier.h"
#include "tests/unit/pool/fixture.h"

static void mark_first(struct world *world, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        mark(&world->records[i], 1ull << 40);
}

/* Picks without holding; how many went to each server. At a time of its own, so that tiers are looked at anew. */
static void count_picks(struct world *world, uint64_t now_ms, int picks, int *counts)
{
    uint64_t seed = test_seed("count_picks");
    for (uint32_t i = 0; i < world->count; i++)
        counts[i] = 0;
    for (int i = 0; i < picks; i++) {
        struct pick_request request = request_at(now_ms, &seed);
        struct member *member = NULL;
        cr_assert(pick_has_lease(upstream_pick(&world->upstream, &request, &member)));
        counts[index_of(world, member)]++;
        (void)upstream_done(&world->upstream, member, SERVER_UNTOLD, now_ms, 0);
    }
}

Test(tier, groups_come_in_order_and_near_before_far)
{
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 6, NULL, NULL);
    world_regroup(&world, BALANCE_ROUND_ROBIN, (uint8_t[]){ 2, 0, 0, 1, 0, 2 },
                  (bool[]){ true, true, false, false, false, false });
    static const int order[] = { 2, 4, 1, 3, 5, 0 };
    static const uint32_t counts[] = { 2, 1, 1, 1, 1 };
    cr_assert_eq(world.upstream.tier_count, 5);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(index_of(&world, &world.members[i]), order[i], "place %d", i);
        cr_assert_eq(world.members[i].place, order[i]);
    }
    for (int i = 0; i < 5; i++)
        cr_assert_eq(world.upstream.tiers[i].count, counts[i]);
    world_release(&world);
}

Test(tier, one_tier_keeps_the_order_and_is_never_looked_at)
{
    struct world world;
    uint64_t seed = 1;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, NULL, NULL);
    (void)pick_and_return(&world, &seed);
    cr_assert_eq(world.upstream.tier_count, 1);
    cr_assert(world.upstream.plain);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(index_of(&world, &world.members[i]), i);
    world_release(&world);
}

Test(tier, backups_are_asked_only_when_nobody_else_is_well)
{
    int counts[4];
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        struct world world;
        world_init(&world, kind, 0, 4, NULL, NULL);
        world_regroup(&world, kind, (uint8_t[]){ 0, 0, 1, 1 }, NULL);
        count_picks(&world, 1000, 500, counts);
        cr_assert_eq(counts[2] + counts[3], 0);
        mark_first(&world, 1);
        count_picks(&world, 2000, 500, counts);
        cr_assert_eq(counts[1], 500);
        mark_first(&world, 2);
        count_picks(&world, 3000, 500, counts);
        cr_assert(counts[2] > 100 && counts[3] > 100, "%s: %d and %d", world.upstream.balance->word, counts[2],
                  counts[3]);
        world_release(&world);
    }
}

/* Ten servers near, ten far; of the near ones `marked` are. What goes far, in percent of all. */
static int spilled(enum balance_kind kind, uint32_t spill_over, uint32_t marked)
{
    enum { PICKS = 20000 };
    bool far[20];
    int counts[20], gone = 0;
    struct world world;
    for (int i = 0; i < 20; i++)
        far[i] = i >= 10;
    world_init(&world, kind, 0, 20, NULL, NULL);
    world_regroup(&world, kind, NULL, far);
    world.upstream.spill_over = spill_over;
    mark_first(&world, marked);
    count_picks(&world, 1000, PICKS, counts);
    for (int i = 10; i < 20; i++)
        gone += counts[i];
    world_release(&world);
    return (gone * 100 + PICKS / 2) / PICKS;
}

Test(tier, spills_in_proportion_below_the_share)
{
    static const struct {
        uint32_t spill_over, marked;
        int wanted;
    } cases[] = { { 0, 9, 0 },   { 0, 10, 100 }, { 70, 0, 0 },   { 70, 3, 0 },   { 70, 4, 14 },
                  { 50, 8, 60 }, { 100, 1, 10 }, { 100, 5, 50 }, { 70, 10, 100 } };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        int found =
            spilled(i % 2 ? BALANCE_TWO_CHOICES : BALANCE_CONSISTENT_HASH, cases[i].spill_over, cases[i].marked);
        cr_assert(abs(found - cases[i].wanted) <= 2, "%u%%, %u of 10 marked: %d%% gone, not %d%%", cases[i].spill_over,
                  cases[i].marked, found, cases[i].wanted);
    }
}

Test(tier, what_no_tier_is_well_enough_for_is_shared_by_what_they_are)
{
    int counts[20], first = 0;
    uint8_t groups[20];
    struct world world;
    for (int i = 0; i < 20; i++)
        groups[i] = i >= 10;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 20, NULL, NULL);
    world_regroup(&world, BALANCE_ROUND_ROBIN, groups, NULL);
    world.upstream.spill_over = 100;
    for (uint32_t i = 0; i < 20; i++) /* 30 % of the first are well, 10 % of the second */
        if (i >= 3 && i != 10)
            mark(&world.records[i], 1ull << 40);
    count_picks(&world, 1000, 20000, counts);
    for (int i = 0; i < 10; i++)
        first += counts[i];
    cr_assert(abs(first - 15000) < 500, "3/4 of all, not %d", first);
    world_release(&world);
}

Test(tier, weights_count_and_not_heads)
{
    int counts[3];
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, (uint32_t[]){ 9, 1, 1 }, NULL);
    world_regroup(&world, BALANCE_ROUND_ROBIN, (uint8_t[]){ 0, 0, 1 }, NULL);
    world.upstream.spill_over = 100;
    mark(&world.records[1], 1ull << 40);
    count_picks(&world, 1000, 10000, counts);
    cr_assert(abs(counts[2] - 1000) < 150, "%d", counts[2]);
    world_release(&world);
}

Test(tier, full_or_tried_tier_hands_on_before_anyone_waits)
{
    struct world world;
    struct member *member = NULL;
    uint64_t seed = 1;
    world_init(&world, BALANCE_LEAST_LOAD, 0, 3, NULL, NULL);
    world_regroup(&world, BALANCE_LEAST_LOAD, (uint8_t[]){ 0, 0, 1 }, NULL);
    for (int i = 0; i < 3; i++)
        world.members[i].max_connections = 1;
    struct pick_request request = request_at(1000, &seed);
    request.tried[request.tried_count++] = &world.servers[0];
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
    cr_assert_eq(index_of(&world, member), 1);
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
    cr_assert_eq(index_of(&world, member), 2);
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_FULL);
    world_release(&world);
}

Test(tier, one_that_gets_no_requests_gets_its_trials)
{
    struct world world;
    struct member *member = NULL;
    uint64_t seed = 1;
    int trials = 0;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, NULL, NULL);
    world_regroup(&world, BALANCE_ROUND_ROBIN, (uint8_t[]){ 0, 0, 1 }, NULL);
    mark(&world.records[0], 2000);
    mark(&world.records[1], 1ull << 40);
    for (uint64_t now = 1000; now < 4000; now += 10) {
        struct pick_request request = request_at(now, &seed);
        cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
        int index = index_of(&world, member);
        trials += index == 0 && health_state(&world.records[0], now) != HEALTH_UP;
        cr_assert(index == 2 || now >= 2000);
        (void)upstream_done(&world.upstream, member, SERVER_OK, now, 0);
        if (now > 2100)
            cr_assert_eq(index, 0, "it answered its trial: the tier is well again");
    }
    cr_assert_eq(trials, 1);
    world_release(&world);
}

Test(tier, same_keys_spill_over)
{
    enum { KEYS = 2000 };
    struct world world;
    struct member *member = NULL;
    static int owners[KEYS];
    int moved = 0;
    uint64_t keys = test_seed("same_keys_spill_over"), random = 7;
    world_init(&world, BALANCE_CONSISTENT_HASH, 0, 20, NULL, NULL);
    uint8_t groups[20] = { 0 };
    memset(groups + 10, 1, 10);
    world_regroup(&world, BALANCE_CONSISTENT_HASH, groups, NULL);
    world.upstream.spill_over = 100;
    mark_first(&world, 5);
    for (int round = 0; round < 2; round++) {
        uint64_t seed = keys;
        for (int i = 0; i < KEYS; i++) {
            struct pick_request request = { .hash = next_random(&seed),
                                            .random = next_random(&random),
                                            .now_ms = 1000 };
            cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
            moved += round && owners[i] != index_of(&world, member);
            owners[i] = index_of(&world, member);
            (void)upstream_done(&world.upstream, member, SERVER_OK, 1000, 0);
        }
    }
    cr_assert_eq(moved, 0);
    world_release(&world);
}

#ifdef WEIR_FAULTS
#include "engine/base/check.h"

Test(tier, memory_short_for_the_second_tier_frees_the_first)
{
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        struct world world;
        world_init(&world, kind, 0, 4, NULL, NULL);
        upstream_release(&world.upstream);
        for (int i = 0; i < 4; i++)
            world.members[i].group = (uint8_t)(i / 2);
        fault_arm(2);
        cr_assert_eq(upstream_init(&world.upstream, SLICE("web"), world.members, 4, kind), ERR_MEMORY);
        fault_arm(0);
        cr_assert_null(world.upstream.balance);
        world_release(&world);
    }
}
#endif

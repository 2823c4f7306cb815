/* Slow start: what a server gets that has come up, under every policy. */
#include "tests/unit/pool/fixture.h"

enum { SERVERS = 5, RAMP_MS = 10000, PICKS = 40000, HELD = 200 };

/* Of PICKS at one moment, with HELD in flight: how many went to server 0, in percent of its fair share. */
static int share_of_first(struct world *world, uint64_t now_ms, uint64_t *seed)
{
    static struct member *held[HELD];
    memset(held, 0, sizeof held);
    int got = 0;
    for (int i = 0; i < PICKS; i++) {
        struct member **place = &held[next_random(seed) % HELD];
        if (*place)
            (void)upstream_done(&world->upstream, *place, SERVER_UNTOLD, now_ms, 0);
        struct pick_request request = request_at(now_ms, seed);
        cr_assert_eq(upstream_pick(&world->upstream, &request, place), PICK_OK);
        got += index_of(world, *place) == 0;
    }
    for (int i = 0; i < HELD; i++)
        if (held[i])
            (void)upstream_done(&world->upstream, held[i], SERVER_UNTOLD, now_ms, 0);
    return got * 100 / (PICKS / SERVERS);
}

Test(slow_start, share_grows_from_a_tenth_to_all_under_every_policy)
{
    uint64_t seed = test_seed("share_grows");
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        struct world world;
        world_init(&world, kind, 0, SERVERS, NULL, NULL);
        world.upstream.slow_start_ms = RAMP_MS;
        for (int i = 0; i < SERVERS; i++)
            upstream_answered(&world.upstream, &world.members[i], 1000, 1000);
        atomic_store(&world.records[0].up_since_ms, 1000u);
        int first = share_of_first(&world, 1000, &seed), half = share_of_first(&world, 1000 + RAMP_MS / 2, &seed);
        int last = share_of_first(&world, 1000 + RAMP_MS, &seed);
        fprintf(stderr, "%s: %d %% %d %% %d %%\n", world.upstream.balance->word, first, half, last);
        cr_assert(first >= 4 && first <= 25, "%s: %d", world.upstream.balance->word, first);
        cr_assert(half >= 40 && half <= 95, "%s: %d", world.upstream.balance->word, half);
        cr_assert(last >= 65 && last <= 135, "%s: %d", world.upstream.balance->word, last);
        world_release(&world);
    }
}

Test(slow_start, servers_of_the_start_get_their_share_at_once)
{
    uint64_t seed = test_seed("of_the_start");
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, SERVERS, NULL, NULL);
    world.upstream.slow_start_ms = RAMP_MS;
    cr_assert_eq(share_of_first(&world, 10, &seed), 100);
    world_release(&world);
}

Test(slow_start, nobody_waits_for_a_server_that_only_begins)
{
    uint64_t seed = test_seed("nobody_waits");
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        struct world world;
        world_init(&world, kind, 0, 3, NULL, NULL);
        world.upstream.slow_start_ms = RAMP_MS;
        for (int i = 0; i < 3; i++)
            atomic_store(&world.records[i].up_since_ms, 1u);
        for (int i = 0; i < 200; i++)
            (void)pick_and_return(&world, &seed);
        world_release(&world);
    }
}

Test(slow_start, begins_when_a_mark_ends_a_check_rises_or_a_drain_is_over)
{
    struct health health = { 0 };
    for (int i = 0; i < 3; i++)
        (void)health_report(&health, &usual_limits, SERVER_CONNECT, 100, 0);
    cr_assert_eq(atomic_load(&health.up_since_ms), 0);
    (void)health_report(&health, &usual_limits, SERVER_OK, 5000, 0);
    cr_assert_eq(atomic_load(&health.up_since_ms), 5000);
    cr_assert(health_check_result(&health, false, 1, 1, 6000));
    cr_assert_eq(atomic_load(&health.up_since_ms), 5000);
    cr_assert(health_check_result(&health, true, 1, 1, 7000));
    cr_assert_eq(atomic_load(&health.up_since_ms), 7000);
    health_drain(&health, true, 8000);
    health_drain(&health, false, 9000);
    cr_assert_eq(atomic_load(&health.up_since_ms), 9000);
    health_drain(&health, false, 9500);
    cr_assert_eq(atomic_load(&health.up_since_ms), 9000, "it was not drained");
    (void)health_report(&health, &usual_limits, SERVER_OK, 9999, 0);
    cr_assert_eq(atomic_load(&health.up_since_ms), 9000);
}

Test(slow_start, first_check_of_a_server_is_no_coming_up)
{
    struct health health = { 0 };
    cr_assert(health_check_result(&health, true, 1, 1, 500));
    cr_assert_eq(atomic_load(&health.up_since_ms), 0);
}

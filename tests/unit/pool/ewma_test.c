/* peak-ewma: what it learns, and what it makes of it. Time is the tests' own. */
#include "tests/unit/pool/fixture.h"

/* Answers that take as long as latency_us says, in milliseconds of a clock that runs; returns picks per server. */
struct day {
    struct world world;
    uint64_t now_ms, seed;
    struct {
        struct member *member;
        uint64_t due_ms, us;
    } out[64];
    uint32_t out_count;
    int picks[16];
};

static void answer_due(struct day *day)
{
    for (uint32_t i = 0; i < day->out_count;) {
        if (day->out[i].due_ms > day->now_ms) {
            i++;
            continue;
        }
        upstream_answered(&day->world.upstream, day->out[i].member, day->out[i].us, day->now_ms);
        (void)upstream_done(&day->world.upstream, day->out[i].member, SERVER_OK, day->now_ms, 0);
        day->out[i] = day->out[--day->out_count];
    }
}

static void run_for(struct day *day, uint64_t ms, const uint64_t *latency_ms)
{
    memset(day->picks, 0, sizeof day->picks);
    for (uint64_t end = day->now_ms + ms; day->now_ms < end; day->now_ms++) {
        answer_due(day);
        if (day->out_count == ARRAY_LENGTH(day->out))
            continue;
        struct pick_request request = request_at(day->now_ms, &day->seed);
        struct member *member = NULL;
        cr_assert_eq(upstream_pick(&day->world.upstream, &request, &member), PICK_OK);
        int index = index_of(&day->world, member);
        day->picks[index]++;
        day->out[day->out_count].member = member;
        day->out[day->out_count].us = latency_ms[index] * 1000;
        day->out[day->out_count++].due_ms = day->now_ms + latency_ms[index];
    }
}

static void begin(struct day *day, const char *test, uint32_t count, const uint32_t *weights)
{
    *day = (struct day){ .now_ms = 1000, .seed = test_seed(test) };
    world_init(&day->world, BALANCE_PEAK_EWMA, 0, count, weights, NULL);
}

static void end(struct day *day)
{
    for (uint32_t i = 0; i < day->out_count; i++)
        (void)upstream_done(&day->world.upstream, day->out[i].member, SERVER_OK, day->now_ms, 0);
    world_release(&day->world);
}

Test(ewma, slow_server_gets_little)
{
    static struct day day;
    begin(&day, "slow_server", 4, NULL);
    run_for(&day, 10000, (uint64_t[]){ 2, 2, 40, 2 });
    fprintf(stderr, "picks %d %d %d %d\n", day.picks[0], day.picks[1], day.picks[2], day.picks[3]);
    cr_assert_lt(day.picks[2], 10000 / 4 / 5);
    cr_assert_gt(day.picks[2], 0, "it is asked now and then");
    end(&day);
}

Test(ewma, equal_servers_share_by_weight)
{
    static struct day day;
    begin(&day, "equal_servers", 3, (uint32_t[]){ 2, 1, 1 });
    run_for(&day, 20000, (uint64_t[]){ 20, 20, 20 });
    cr_assert(day.picks[0] > 9000 && day.picks[0] < 13000, "%d of 20000 to the one of half the weight", day.picks[0]);
    end(&day);
}

Test(ewma, one_that_becomes_slow_is_left_at_once_and_tried_again_when_it_is_quick)
{
    static struct day day;
    begin(&day, "becomes_slow", 3, NULL);
    run_for(&day, 5000, (uint64_t[]){ 3, 3, 3 });
    cr_assert_gt(day.picks[0], 1000);
    run_for(&day, 5000, (uint64_t[]){ 300, 3, 3 });
    cr_assert_lt(day.picks[0], 300);
    run_for(&day, 60000, (uint64_t[]){ 3, 3, 3 });
    run_for(&day, 5000, (uint64_t[]){ 3, 3, 3 });
    cr_assert_gt(day.picks[0], 1000);
    end(&day);
}

Test(ewma, new_server_gets_a_request_soon_and_not_all_of_them)
{
    static struct day day;
    begin(&day, "new_server", 8, NULL);
    uint64_t latency[8] = { 5, 5, 5, 5, 5, 5, 5, 500 };
    run_for(&day, 100, latency);
    cr_assert_geq(day.picks[7], 1);
    cr_assert_leq(day.picks[7], 2, "until it has answered it gets no more");
    end(&day);
}

Test(ewma, quick_failures_do_not_look_quick)
{
    struct world world;
    struct member *member = NULL;
    uint64_t seed = test_seed("quick_failures");
    int picks[2] = { 0 };
    world_init(&world, BALANCE_PEAK_EWMA, 0, 2, NULL, NULL);
    world.upstream.health_limits.fail_after = 0;
    for (uint64_t now = 1000; now < 6000; now++) {
        struct pick_request request = request_at(now, &seed);
        cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
        int index = index_of(&world, member);
        picks[index]++;
        if (index == 1)
            upstream_answered(&world.upstream, member, 5000, now);
        (void)upstream_done(&world.upstream, member, index ? SERVER_OK : SERVER_CONNECT, now, 0);
    }
    cr_assert_lt(picks[0], 100, "%d of 5000 to the one that fails", picks[0]);
    world_release(&world);
}

/* Up by command, or in a panic, a server is asked in spite of its mark: as one among others. */
Test(ewma, a_mark_that_does_not_count_is_no_trial)
{
    for (int panic = 0; panic < 2; panic++) {
        struct day day;
        begin(&day, "mark_that_does_not_count", 2, NULL);
        struct health *health = day.world.members[0].server->health;
        cr_assert(health_judge(health, SERVER_LATENCY, 60000, day.now_ms));
        if (panic)
            day.world.upstream.panic_below = 60;
        else
            atomic_store(&health->forced, HEALTH_FORCED_UP);
        int picks[2] = { 0 };
        for (uint64_t end_ms = day.now_ms + 5000; day.now_ms < end_ms; day.now_ms++) {
            struct pick_request request = request_at(day.now_ms, &day.seed);
            struct member *member = NULL;
            cr_assert(pick_has_lease(upstream_pick(&day.world.upstream, &request, &member)));
            picks[index_of(&day.world, member)]++;
            upstream_answered(&day.world.upstream, member, 5000, day.now_ms);
            (void)upstream_done(&day.world.upstream, member, SERVER_OK, day.now_ms, 0);
        }
        cr_assert(picks[1] > 1000, "%d of 5000 to the one without a mark", picks[1]);
        end(&day);
    }
}

Test(ewma, forgets_by_a_time_constant_of_ten_seconds)
{
    struct world world;
    world_init(&world, BALANCE_PEAK_EWMA, 0, 2, NULL, NULL);
    upstream_answered(&world.upstream, &world.members[0], 100000, 1000);
    for (uint64_t now = 1001; now <= 11000; now++)
        upstream_answered(&world.upstream, &world.members[0], 0, now);
    float left = world.servers[0].peak_us;
    cr_assert(left > 34000 && left < 40000, "%f of 100000, not 1/e of it", (double)left);
    upstream_answered(&world.upstream, &world.members[0], 90000, 11001);
    cr_assert_eq((int)world.servers[0].peak_us, 90000, "a peak counts at once");
    world_release(&world);
}

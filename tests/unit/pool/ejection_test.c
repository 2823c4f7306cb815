/* How many servers may be marked at once, over all workers; and panic, when too many are. */
#include <pthread.h>

#include "pool/tier.h"
#include "tests/unit/pool/fixture.h"

static uint32_t marked_in(const struct world *world)
{
    uint32_t marked = 0;
    for (uint32_t i = 0; i < world->count; i++)
        marked += health_has_mark(&world->records[i]);
    return marked;
}

static void limit(struct world *world, struct health_pool *shared, uint32_t percent)
{
    world->upstream.max_ejected = percent;
    world->upstream.shared = shared;
}

/* Every request fails, wherever it goes. */
static void fail_all(struct world *world, int requests, uint64_t now_ms, uint64_t *seed)
{
    for (int i = 0; i < requests; i++) {
        struct pick_request request = request_at(now_ms, seed);
        struct member *member = NULL;
        if (pick_has_lease(upstream_pick(&world->upstream, &request, &member)))
            (void)upstream_done(&world->upstream, member, SERVER_CONNECT, now_ms, next_random(seed));
    }
}

Test(ejection, allows_a_share_but_one_at_least)
{
    cr_assert_eq(health_marks_allowed(10, 100), 10);
    cr_assert_eq(health_marks_allowed(10, 25), 2);
    cr_assert_eq(health_marks_allowed(3, 10), 1);
    cr_assert_eq(health_marks_allowed(3, 0), 0);
    cr_assert_eq(health_marks_allowed(1024, 99), 1013);
}

Test(ejection, stops_at_max_ejected)
{
    uint64_t seed = test_seed("stops_at_max_ejected");
    static const uint32_t percents[] = { 0, 10, 34, 50, 99, 100 }, wanted[] = { 0, 1, 3, 5, 9, 10 };
    for (size_t i = 0; i < ARRAY_LENGTH(percents); i++) {
        struct health_pool shared = { 0 };
        struct world world;
        world_init(&world, BALANCE_ROUND_ROBIN, 0, 10, NULL, NULL);
        limit(&world, &shared, percents[i]);
        fail_all(&world, 500, 1000, &seed);
        cr_assert_eq(marked_in(&world), wanted[i], "%u%%: %u", percents[i], marked_in(&world));
        uint64_t spared = 0;
        for (int k = 0; k < 10; k++)
            spared += counter_get(&world.counters[k].marks_spared);
        cr_assert((spared > 0) == (percents[i] < 100));
        cr_assert_eq(atomic_load(&shared.marking), 0);
        world_release(&world);
    }
}

Test(ejection, one_that_was_spared_is_marked_when_another_comes_back)
{
    uint64_t seed = 3;
    struct health_pool shared = { 0 };
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    limit(&world, &shared, 50);
    fail_all(&world, 50, 1000, &seed);
    cr_assert_eq(marked_in(&world), 1);
    uint32_t first = health_has_mark(&world.records[1]);
    (void)health_report(&world.records[first], &usual_limits, SERVER_OK, 1001, 0);
    cr_assert_eq(marked_in(&world), 0);
    struct member *other = member_of(&world, 1 - first);
    struct pick_request request = request_at(1002, &seed);
    request.tried[request.tried_count++] = &world.servers[first];
    struct member *member = NULL;
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
    cr_assert_eq(member, other);
    cr_assert(upstream_done(&world.upstream, member, SERVER_CONNECT, 1002, 0));
    world_release(&world);
}

Test(ejection, nobody_waits_for_who_is_counting)
{
    struct health_pool shared = { .marking = 1 };
    struct world world;
    uint64_t seed = 1;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    limit(&world, &shared, 50);
    fail_all(&world, 50, 1000, &seed);
    cr_assert_eq(marked_in(&world), 0);
    health_pool_leave(&shared);
    fail_all(&world, 2, 1000, &seed);
    cr_assert_eq(marked_in(&world), 1);
    world_release(&world);
}

/* Workers whose requests fail and succeed, marks that run out, trials: a watcher counts marks all the while. */
enum { WORKERS = 3, SERVERS = 12, ROUNDS = 60000 };

struct runner {
    struct world world;
    uint64_t seed;
    pthread_barrier_t *start;
    uint32_t over;
};
static struct health_pool shared_by_all;
static _Atomic uint64_t clock_ms;

static void *run(void *argument)
{
    struct runner *runner = argument;
    struct world *world = &runner->world;
    pthread_barrier_wait(runner->start);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t now_ms = atomic_fetch_add(&clock_ms, 1);
        struct pick_request request = request_at(now_ms, &runner->seed);
        struct member *member = NULL;
        enum server_outcome outcome = next_random(&runner->seed) % 8 ? SERVER_CONNECT : SERVER_OK;
        if (pick_has_lease(upstream_pick(&world->upstream, &request, &member)))
            (void)upstream_done(&world->upstream, member, outcome, now_ms, next_random(&runner->seed));
        /* Read one after the other the marks may seem more than there ever were; not while nobody else may set one. */
        if (!health_pool_enter(&shared_by_all))
            continue;
        runner->over += marked_in(world) > health_marks_allowed(SERVERS, 40);
        health_pool_leave(&shared_by_all);
    }
    return NULL;
}

Test(ejection, share_is_exact_under_racing_workers)
{
    static struct runner runners[WORKERS];
    uint64_t seed = test_seed("share_is_exact");
    pthread_barrier_t start;
    pthread_t threads[WORKERS];
    pthread_barrier_init(&start, NULL, WORKERS);
    atomic_store(&clock_ms, 1000);
    for (int i = 0; i < WORKERS; i++) {
        struct runner *runner = &runners[i];
        world_init(&runner->world, i % 2 ? BALANCE_TWO_CHOICES : BALANCE_ROUND_ROBIN, 0, SERVERS, NULL,
                   i ? runners[0].world.records : NULL);
        limit(&runner->world, &shared_by_all, 40);
        runner->world.upstream.health_limits =
            (struct health_limits){ .fail_after = 2, .backoff_ms_min = 20, .backoff_ms_max = 100 };
        runner->seed = next_random(&seed);
        runner->start = &start;
    }
    for (int i = 0; i < WORKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
    uint64_t marks = 0, spared = 0;
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(runners[i].over, 0);
        for (int k = 0; k < SERVERS; k++) {
            marks += counter_get(&runners[i].world.counters[k].marks);
            spared += counter_get(&runners[i].world.counters[k].marks_spared);
        }
    }
    cr_assert(marks > 100 && spared > 100, "%" PRIu64 " marks, %" PRIu64 " spared", marks, spared);
    for (int i = WORKERS; i-- > 0;)
        world_release(&runners[i].world);
}

/* Panic -------------------------------------------------------------------------------------------------------- */

static void mark_some(struct world *world, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        mark(&world->records[i], 1ull << 40);
}

static enum pick_verdict pick_once(struct world *world, uint64_t now_ms, uint64_t *seed, int *index)
{
    struct pick_request request = request_at(now_ms, seed);
    struct member *member = NULL;
    enum pick_verdict verdict = upstream_pick(&world->upstream, &request, &member);
    if (pick_has_lease(verdict)) {
        *index = index_of(world, member);
        (void)upstream_done(&world->upstream, member, SERVER_UNTOLD, now_ms, 0);
    }
    return verdict;
}

Test(ejection, below_the_threshold_marks_and_checks_are_ignored_and_above_they_count_again)
{
    uint64_t seed = test_seed("panic");
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        struct world world;
        int picks[10] = { 0 }, panics = 0, index = 0;
        world_init(&world, kind, 0, 10, NULL, NULL);
        world.upstream.panic_below = 50;
        mark_some(&world, 4);
        atomic_store(&world.records[4].checked, (uint8_t)HEALTH_CHECK_DOWN);
        for (int i = 0; i < 500; i++) {
            cr_assert_eq(pick_once(&world, 1000, &seed, &index), PICK_OK);
            cr_assert_geq(index, 5, "five of ten are not below half");
        }
        atomic_store(&world.records[5].checked, (uint8_t)HEALTH_CHECK_DOWN);
        for (int i = 0; i < 3000; i++) {
            panics += pick_once(&world, 2000, &seed, &index) == PICK_PANIC;
            picks[index]++;
        }
        cr_assert(world.upstream.panic);
        for (int i = 0; i < 10; i++)
            cr_assert_gt(picks[i], 50, "%s: server %d got %d", world.upstream.balance->word, i, picks[i]);
        cr_assert(panics > 1000 && panics < 2600, "%d", panics);
        atomic_store(&world.records[5].checked, (uint8_t)HEALTH_CHECK_UP);
        for (int i = 0; i < 500; i++) {
            cr_assert_eq(pick_once(&world, 3000, &seed, &index), PICK_OK);
            cr_assert_geq(index, 5);
        }
        world_release(&world);
    }
}

Test(ejection, drained_servers_stay_drained_in_a_panic_and_do_not_count)
{
    uint64_t seed = 1;
    int index = 0;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 10, NULL, NULL);
    world.upstream.panic_below = 60;
    for (int i = 0; i < 5; i++)
        atomic_store(&world.records[i].drained, (uint8_t)1);
    mark(&world.records[5], 1ull << 40);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(pick_once(&world, 1000, &seed, &index), PICK_OK, "four of five are well");
    mark(&world.records[6], 1ull << 40);
    mark(&world.records[7], 1ull << 40);
    for (int i = 0; i < 100; i++) {
        cr_assert(pick_has_lease(pick_once(&world, 2000, &seed, &index)));
        cr_assert_geq(index, 5);
    }
    cr_assert(world.upstream.panic);
    world_release(&world);
}

/* A server without an address cannot be asked, and one that is down by command is to be left alone. */
Test(ejection, servers_without_address_and_those_down_by_command_are_not_asked_in_a_panic)
{
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        uint64_t seed = 1;
        int index = 0;
        struct world world;
        world_init(&world, kind, 0, 10, NULL, NULL);
        world.upstream.panic_below = 60;
        for (int i = 0; i < 3; i++)
            atomic_store(&world.records[i].unresolved, (uint8_t)1);
        for (int i = 3; i < 6; i++)
            atomic_store(&world.records[i].forced, (uint8_t)HEALTH_FORCED_DOWN);
        for (int i = 6; i < 9; i++)
            mark(&world.records[i], 1ull << 40);
        for (int i = 0; i < 300; i++) {
            cr_assert(pick_has_lease(pick_once(&world, 2000, &seed, &index)));
            cr_assert_geq(index, 6, "%s asked %d", world.upstream.balance->word, index);
        }
        cr_assert(world.upstream.panic);
        world_release(&world);
    }
}

Test(ejection, what_is_down_by_command_does_not_count_for_a_panic)
{
    uint64_t seed = 1;
    int index = 0;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 10, NULL, NULL);
    world.upstream.panic_below = 60;
    for (int i = 0; i < 5; i++)
        atomic_store(&world.records[i].forced, (uint8_t)HEALTH_FORCED_DOWN);
    mark(&world.records[5], 1ull << 40);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(pick_once(&world, 1000, &seed, &index), PICK_OK, "four of five are well");
        cr_assert_geq(index, 6);
    }
    cr_assert_not(world.upstream.panic);
    world_release(&world);
}

Test(ejection, when_the_last_one_goes_panic_begins_with_that_pick)
{
    uint64_t seed = 1;
    int index = 0;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 4, NULL, NULL);
    world.upstream.panic_below = 10;
    cr_assert_eq(pick_once(&world, 1000, &seed, &index), PICK_OK);
    for (int i = 0; i < 4; i++)
        atomic_store(&world.records[i].checked, (uint8_t)HEALTH_CHECK_DOWN);
    cr_assert_eq(pick_once(&world, 1001, &seed, &index), PICK_PANIC, "the next look is not due before 1100");
    world_release(&world);
}

Test(ejection, success_in_a_panic_clears_the_mark)
{
    uint64_t seed = 1;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 4, NULL, NULL);
    world.upstream.panic_below = 100;
    mark_some(&world, 4);
    for (int i = 0; i < 8; i++) {
        struct pick_request request = request_at(1000, &seed);
        struct member *member = NULL;
        cr_assert(pick_has_lease(upstream_pick(&world.upstream, &request, &member)));
        (void)upstream_done(&world.upstream, member, SERVER_OK, 1000, 0);
    }
    cr_assert_eq(marked_in(&world), 0);
    world_release(&world);
}

Test(ejection, panic_ends_with_back_offs_that_nobody_is_sent_to_try)
{
    uint64_t seed = 1;
    int index = 0;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 10, NULL, NULL);
    world_regroup(&world, BALANCE_ROUND_ROBIN, (uint8_t[]){ 0, 0, 0, 0, 1, 1, 1, 1, 1, 1 }, NULL);
    world.upstream.panic_below = 60;
    for (int i = 4; i < 10; i++)
        mark(&world.records[i], 2000);
    (void)pick_once(&world, 1000, &seed, &index);
    cr_assert(world.upstream.panic);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(pick_once(&world, 2000, &seed, &index), PICK_OK);
    cr_assert(!world.upstream.panic);
    world_release(&world);
}

#include <pthread.h>

#include "tests/unit/pool/fixture.h"

static enum pick_verdict pick_at(struct world *world, uint64_t now_ms, struct member **member)
{
    struct pick_request request = { .random = 1, .now_ms = now_ms };
    return upstream_pick(&world->upstream, &request, member);
}

static void give_back(struct world *world, struct member *member, enum server_outcome outcome)
{
    (void)upstream_done(&world->upstream, member, outcome, 1, 0);
}

static void drain(struct world *world, uint32_t i)
{
    atomic_store(&world->records[i].drained, (uint8_t)1);
}

static void take_down(struct world *world, uint32_t i)
{
    atomic_store(&world->records[i].checked, (uint8_t)HEALTH_CHECK_DOWN);
}

/* Leases ------------------------------------------------------------------------------------------------------- */

Test(upstream, pick_takes_a_lease_and_done_gives_it_back)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 1, NULL, NULL);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
    cr_assert_eq(world.servers[0].in_flight, 1);
    cr_assert_eq(counter_get(&world.counters[0].busy), 1);
    give_back(&world, member, SERVER_OK);
    cr_assert_eq(world.servers[0].in_flight, 0);
    cr_assert_eq(counter_get(&world.counters[0].busy), 0);
    world_release(&world);
}

Test(upstream, no_more_leases_than_max_connections)
{
    struct world world;
    struct member *member = NULL, *none = NULL;
    world_init(&world, BALANCE_LEAST_LOAD, 0, 2, NULL, NULL);
    world.members[0].max_connections = 2;
    world.members[1].max_connections = 1;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
    cr_assert_eq(atomic_load(&world.records[0].leases), 2);
    cr_assert_eq(atomic_load(&world.records[1].leases), 1);
    cr_assert_eq(pick_at(&world, 1, &none), PICK_FULL);
    cr_assert_null(none);
    give_back(&world, member, SERVER_UNTOLD);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
    world_release(&world);
}

Test(upstream, limit_counts_the_leases_of_all_workers)
{
    struct world one, other;
    struct member *member = NULL;
    world_init(&one, BALANCE_ROUND_ROBIN, 0, 1, NULL, NULL);
    world_init(&other, BALANCE_ROUND_ROBIN, 0, 1, NULL, one.records);
    one.members[0].max_connections = other.members[0].max_connections = 1;
    cr_assert_eq(pick_at(&one, 1, &member), PICK_OK);
    cr_assert_eq(pick_at(&other, 1, &member), PICK_FULL);
    give_back(&one, &one.members[0], SERVER_OK);
    cr_assert_eq(pick_at(&other, 1, &member), PICK_OK);
    world_release(&other);
    world_release(&one);
}

/* Two workers, each with its own upstream, race for the places of two servers. */
enum { PICKS = 200000, HELD_MAX = 8 };
static const uint32_t places[2] = { 3, 2 };

struct contender {
    struct world world;
    uint64_t seed;
    pthread_barrier_t *start;
    uint32_t over, picked, full;
};

static _Atomic int32_t
    held_now[2]; /* kept beside the leases, to check them: raised after a pick, lowered before a return */

static void contend_once(struct contender *contender, struct member **held)
{
    if (*held) {
        int index = index_of(&contender->world, *held);
        atomic_fetch_sub(&held_now[index], 1);
        (void)upstream_done(&contender->world.upstream, *held, SERVER_OK, 1, 0);
        *held = NULL;
        return;
    }
    struct pick_request request = request_at(1, &contender->seed);
    if (upstream_pick(&contender->world.upstream, &request, held) != PICK_OK) {
        contender->full++;
        return;
    }
    int index = index_of(&contender->world, *held);
    contender->picked++;
    contender->over += atomic_fetch_add(&held_now[index], 1) >= (int32_t)places[index];
    contender->over += atomic_load(&contender->world.records[index].leases) > places[index];
}

static void *contend(void *argument)
{
    struct contender *contender = argument;
    struct member *held[HELD_MAX] = { 0 };
    pthread_barrier_wait(contender->start);
    for (int i = 0; i < PICKS; i++)
        contend_once(contender, &held[next_random(&contender->seed) % HELD_MAX]);
    for (int i = 0; i < HELD_MAX; i++)
        if (held[i])
            contend_once(contender, &held[i]);
    return NULL;
}

Test(upstream, limit_is_exact_under_two_racing_threads, .timeout = 120)
{
    uint64_t seed = test_seed("limit_is_exact");
    static struct contender contenders[2];
    pthread_barrier_t start;
    pthread_t threads[2];
    pthread_barrier_init(&start, NULL, 2);
    for (int i = 0; i < 2; i++) {
        struct contender *contender = &contenders[i];
        world_init(&contender->world, BALANCE_TWO_CHOICES, 0, 2, NULL, i ? contenders[0].world.records : NULL);
        contender->seed = next_random(&seed);
        contender->start = &start;
        for (int k = 0; k < 2; k++)
            contender->world.members[k].max_connections = places[k];
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, contend, &contenders[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(contenders[0].over + contenders[1].over, 0);
    cr_assert_gt(contenders[0].picked + contenders[1].picked, 1000);
    cr_assert_gt(contenders[0].full + contenders[1].full, 1000);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(atomic_load(&contenders[0].world.records[i].leases), 0);
    world_release(&contenders[1].world);
    world_release(&contenders[0].world);
}

/* Why there is none -------------------------------------------------------------------------------------------- */

Test(upstream, empty_pool)
{
    struct world world;
    struct member *member = NULL;
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        world_init(&world, kind, 0, 0, NULL, NULL);
        cr_assert_eq(pick_at(&world, 1, &member), PICK_EMPTY);
        world_release(&world);
    }
}

Test(upstream, all_down)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    take_down(&world, 0);
    take_down(&world, 1);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_DOWN);
    world_release(&world);
}

Test(upstream, rest_drained)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    take_down(&world, 0);
    drain(&world, 1);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_DRAINED);
    cr_assert_str_eq(pick_text(PICK_DRAINED), "every server that is not down is drained");
    world_release(&world);
}

Test(upstream, all_tried)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_LEAST_LOAD, 0, 2, NULL, NULL);
    struct pick_request request = { .now_ms = 1 };
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
        request.tried[request.tried_count++] = member->server;
        give_back(&world, member, SERVER_CONNECT);
    }
    cr_assert_neq(request.tried[0], request.tried[1]);
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_TRIED);
    world_release(&world);
}

Test(upstream, well_but_full_server_is_waited_for_rather_than_a_marked_one_tried)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    world.members[0].max_connections = 1;
    mark(&world.records[1], 1000);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_FULL);
    world_release(&world);
}

/* Marks -------------------------------------------------------------------------------------------------------- */

Test(upstream, marked_server_is_passed_over)
{
    struct world world;
    uint64_t seed = 1;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, NULL, NULL);
    mark(&world.records[1], 1000);
    for (int i = 0; i < 20; i++)
        cr_assert_neq(pick_and_return(&world, &seed), 1);
    world_release(&world);
}

Test(upstream, a_sticky_request_gets_its_server_as_long_as_that_is_usable)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, NULL, NULL);
    for (uint32_t i = 0; i < 3; i++)
        world.members[i].sticky_id = 100 + i;
    struct pick_request request = { .now_ms = 1, .sticky = 102 };
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
        cr_assert_eq(member->sticky_id, 102);
        give_back(&world, member, SERVER_OK);
    }
    drain(&world, 2);
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
    cr_assert_neq(member->sticky_id, 102);
    give_back(&world, member, SERVER_OK);
    request.sticky = 7;
    cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK, "an id that nobody has");
    give_back(&world, member, SERVER_OK);
    world_release(&world);
}

Test(upstream, up_by_command_is_used_whatever_was_found)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    drain(&world, 0);
    mark(&world.records[1], 5000);
    take_down(&world, 1);
    atomic_store(&world.records[1].forced, HEALTH_FORCED_UP);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
    cr_assert_eq(index_of(&world, member), 1);
    give_back(&world, member, SERVER_UNTOLD);
    world_release(&world);
}

Test(upstream, last_resort_is_the_mark_that_runs_out_first)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 5, NULL, NULL);
    static const uint64_t ends[5] = { 4000, 3000, 2000, 1000, 500 };
    for (uint32_t i = 0; i < 5; i++)
        mark(&world.records[i], ends[i]);
    drain(&world, 4);
    take_down(&world, 3);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_LAST_RESORT);
    cr_assert_eq(index_of(&world, member), 2);
    give_back(&world, member, SERVER_OK);
    cr_assert_eq(health_state(&world.records[2], 1), HEALTH_UP, "it answered");
    world_release(&world);
}

Test(upstream, last_resort_keeps_to_max_connections)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    drain(&world, 0);
    mark(&world.records[1], 1000);
    world.members[1].max_connections = 1;
    cr_assert_eq(pick_at(&world, 1, &member), PICK_LAST_RESORT);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_FULL);
    world_release(&world);
}

Test(upstream, one_request_is_the_trial)
{
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    mark(&world.records[1], 1000);
    int trials = 0;
    for (int i = 0; i < 20; i++) {
        struct member *member = NULL;
        cr_assert_eq(pick_at(&world, 1000, &member), PICK_OK);
        trials += index_of(&world, member) == 1;
    }
    cr_assert_eq(trials, 1);
    world_release(&world);
}

Test(upstream, full_server_gets_no_trial_and_loses_none)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, NULL, NULL);
    world.members[1].max_connections = 1;
    atomic_store(&world.records[1].leases, 1u);
    mark(&world.records[1], 1000);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pick_at(&world, 1000, &member), PICK_OK);
        cr_assert_eq(index_of(&world, member), 0);
    }
    cr_assert_eq(health_state(&world.records[1], 1000), HEALTH_TRIAL_DUE);
    world_release(&world);
}

Test(upstream, third_failure_marks_and_is_told_and_counted)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 1, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
        cr_assert_eq(upstream_done(&world.upstream, member, SERVER_CLOSED, 1, 0), i == 2);
    }
    cr_assert_eq(counter_get(&world.counters[0].marks), 1);
    cr_assert_eq(counter_get(&world.counters[0].closed_early), 3);
    cr_assert_eq(pick_at(&world, 1, &member), PICK_LAST_RESORT);
    world_release(&world);
}

Test(upstream, each_failure_has_its_counter)
{
    struct world world;
    struct member *member = NULL;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 1, NULL, NULL);
    world.upstream.health_limits.fail_after = 0;
    for (enum server_outcome outcome = 0; outcome <= SERVER_UNTOLD; outcome++) {
        cr_assert_eq(pick_at(&world, 1, &member), PICK_OK);
        give_back(&world, member, outcome);
    }
    struct server_counters *counters = &world.counters[0];
    cr_assert_eq(counter_get(&counters->connect_failures), 1);
    cr_assert_eq(counter_get(&counters->closed_early), 1);
    cr_assert_eq(counter_get(&counters->timeouts), 1);
    cr_assert_eq(counter_get(&counters->malformed), 1);
    world_release(&world);
}

/* Life --------------------------------------------------------------------------------------------------------- */

Test(upstream, too_many_servers_are_refused)
{
    struct upstream upstream;
    struct member member = { 0 };
    cr_assert_eq(upstream_init(&upstream, SLICE("web"), &member, UPSTREAM_SERVERS_MAX + 1, BALANCE_ROUND_ROBIN),
                 ERR_CAP);
    cr_assert_null(upstream.balance);
    upstream_release(&upstream);
}

#ifdef WEIR_FAULTS
#include "engine/base/check.h"

Test(upstream, init_says_when_memory_is_short)
{
    for (enum balance_kind kind = 0; kind < BALANCES; kind++) {
        struct world world;
        world_init(&world, kind, 0, 3, NULL, NULL);
        upstream_release(&world.upstream);
        fault_arm(1);
        cr_assert_eq(upstream_init(&world.upstream, SLICE("web"), world.members, 3, kind), ERR_MEMORY);
        fault_arm(0);
        cr_assert_null(world.upstream.balance);
        world_release(&world);
    }
}
#endif

/* Latency ------------------------------------------------------------------------------------------------------ */

Test(upstream, latency_buckets_double_from_64_us)
{
    _Atomic uint64_t buckets[LATENCY_BUCKETS] = { 0 }, sum = 0;
    static const struct {
        uint64_t us;
        unsigned bucket;
    } cases[] = {
        { 0, 0 }, { 63, 0 }, { 64, 1 }, { 127, 1 }, { 128, 2 }, { 1000, 4 }, { 1ull << 40, LATENCY_BUCKETS - 1 }
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        uint64_t before = counter_get(&buckets[cases[i].bucket]), sum_before = counter_get(&sum);
        latency_record(buckets, &sum, cases[i].us);
        cr_assert_eq(counter_get(&buckets[cases[i].bucket]), before + 1, "%" PRIu64 " us", cases[i].us);
        cr_assert_eq(counter_get(&sum), sum_before + cases[i].us);
    }
}

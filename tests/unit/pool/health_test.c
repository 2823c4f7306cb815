#include <pthread.h>

#include "tests/unit/pool/fixture.h"

static const struct health_limits limits = { .fail_after = 3, .backoff_ms_min = 1000, .backoff_ms_max = 60000 };

/* As much jitter as makes the back-off exactly what the limits say: 12 % are taken off first. */
static uint64_t no_jitter(uint64_t backoff_ms)
{
    return backoff_ms * 12 / 100;
}

static uint64_t until(const struct health *health)
{
    return atomic_load(&health->marked_until_ms);
}

static bool fail_at(struct health *health, uint64_t now_ms)
{
    return health_report(health, &limits, SERVER_CONNECT, now_ms, no_jitter(1000));
}

static void mark_at(struct health *health, uint64_t now_ms)
{
    cr_assert(!fail_at(health, now_ms));
    cr_assert(!fail_at(health, now_ms));
    cr_assert(fail_at(health, now_ms));
}

Test(health, is_up_when_nothing_is_known)
{
    struct health health = { 0 };
    cr_assert_eq(health_state(&health, 5), HEALTH_UP);
}

Test(health, is_marked_after_fail_after_consecutive_failures)
{
    struct health health = { 0 };
    mark_at(&health, 100);
    cr_assert_eq(until(&health), 1100);
    cr_assert_eq(health_state(&health, 100), HEALTH_MARKED);
    cr_assert_eq(health_state(&health, 1099), HEALTH_MARKED);
    cr_assert_eq(health_state(&health, 1100), HEALTH_TRIAL_DUE);
}

Test(health, success_in_between_starts_the_count_anew)
{
    struct health health = { 0 };
    cr_assert(!fail_at(&health, 1));
    cr_assert(!fail_at(&health, 1));
    cr_assert(!health_report(&health, &limits, SERVER_OK, 1, 0));
    mark_at(&health, 1);
}

Test(health, untold_outcome_changes_nothing)
{
    struct health health = { 0 };
    cr_assert(!fail_at(&health, 1));
    cr_assert(!fail_at(&health, 1));
    cr_assert(!health_report(&health, &limits, SERVER_UNTOLD, 1, 0));
    cr_assert(fail_at(&health, 1));
}

Test(health, keeps_the_outcome_that_set_the_mark)
{
    struct health health = { 0 };
    for (int i = 0; i < 3; i++)
        (void)health_report(&health, &limits, SERVER_TIMEOUT, 1, 0);
    cr_assert_eq(atomic_load(&health.last_outcome), SERVER_TIMEOUT);
    cr_assert_str_eq(server_outcome_word(SERVER_TIMEOUT), "timeout");
}

Test(health, fail_after_zero_never_marks)
{
    struct health health = { 0 };
    struct health_limits never = { .fail_after = 0, .backoff_ms_min = 1000, .backoff_ms_max = 2000 };
    for (int i = 0; i < 1000; i++)
        cr_assert(!health_report(&health, &never, SERVER_CONNECT, 1, 0));
    cr_assert_eq(health_state(&health, 1), HEALTH_UP);
}

Test(health, failures_in_flight_when_the_mark_was_set_do_not_renew_it)
{
    struct health health = { 0 };
    mark_at(&health, 100);
    for (int i = 0; i < 64; i++)
        cr_assert(!fail_at(&health, 101));
    cr_assert_eq(until(&health), 1100);
    cr_assert_eq(atomic_load(&health.marks), 1);
}

Test(health, no_trial_before_the_mark_has_run_out_and_none_when_up)
{
    struct health health = { 0 };
    cr_assert(!health_claim_trial(&health, &limits, 1));
    mark_at(&health, 100);
    cr_assert(!health_claim_trial(&health, &limits, 1099));
    cr_assert(health_claim_trial(&health, &limits, 1100));
}

Test(health, claim_moves_the_mark_on_by_a_backoff)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    cr_assert(health_claim_trial(&health, &limits, 1500));
    cr_assert_eq(until(&health), 2500);
    cr_assert(!health_claim_trial(&health, &limits, 1500));
    cr_assert(!health_claim_trial(&health, &limits, 2499));
    cr_assert(health_claim_trial(&health, &limits, 2500), "a trial that told nothing is followed by another");
}

Test(health, success_of_the_trial_clears_the_mark_and_the_backoff)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    cr_assert(health_claim_trial(&health, &limits, 1000));
    cr_assert(!health_report(&health, &limits, SERVER_OK, 1001, 0));
    cr_assert_eq(health_state(&health, 1001), HEALTH_UP);
    mark_at(&health, 5000);
    cr_assert_eq(until(&health), 6000);
}

Test(health, each_failed_trial_doubles_the_backoff_up_to_its_cap)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    uint64_t now = until(&health), expected = 1000;
    for (int i = 0; i < 40; i++) {
        cr_assert(health_claim_trial(&health, &limits, now));
        expected = expected * 2 > 60000 ? 60000 : expected * 2;
        cr_assert(health_report(&health, &limits, SERVER_CONNECT, now, no_jitter(expected)));
        cr_assert_eq(until(&health), now + expected, "renewal %d", i);
        now = until(&health);
    }
}

Test(health, one_claim_renews_once)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    cr_assert(health_claim_trial(&health, &limits, 1000));
    cr_assert(fail_at(&health, 1001));
    uint64_t before = until(&health);
    cr_assert(!fail_at(&health, 1002));
    cr_assert_eq(until(&health), before);
}

Test(health, backoff_is_spread_by_at_most_12_percent_both_ways)
{
    uint64_t seed = test_seed("backoff_is_spread");
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 20000; i++) {
        struct health health = { 0 };
        for (int k = 0; k < 3; k++)
            (void)health_report(&health, &limits, SERVER_CONNECT, 10000, next_random(&seed));
        least = u64_min(least, until(&health) - 10000);
        most = u64_max(most, until(&health) - 10000);
    }
    cr_assert_geq(least, 880);
    cr_assert_leq(least, 885);
    cr_assert_leq(most, 1120);
    cr_assert_geq(most, 1115);
}

Test(health, switching_marking_off_frees_a_marked_server)
{
    struct health health = { 0 };
    struct health_limits never = { .fail_after = 0, .backoff_ms_min = 1000, .backoff_ms_max = 2000 };
    mark_at(&health, 0);
    cr_assert(health_claim_trial(&health, &never, 1000));
    (void)health_report(&health, &never, SERVER_CONNECT, 1001, 0);
    cr_assert_eq(health_state(&health, 1001), HEALTH_UP);
}

Test(health, drained_and_down_are_told_before_a_mark)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    atomic_store(&health.checked, (uint8_t)HEALTH_CHECK_DOWN);
    cr_assert_eq(health_state(&health, 1), HEALTH_DOWN);
    atomic_store(&health.drained, (uint8_t)1);
    cr_assert_eq(health_state(&health, 1), HEALTH_DRAINED);
    cr_assert_str_eq(health_state_word(HEALTH_DRAINED), "drained");
}

Test(health, what_is_forced_comes_before_checks_and_marks)
{
    struct health health = { 0 };
    mark_at(&health, 100);
    health.checked = HEALTH_CHECK_DOWN;
    health.forced = HEALTH_FORCED_UP;
    cr_expect_eq(health_state(&health, 200), HEALTH_UP);
    health.drained = 1;
    cr_expect_eq(health_state(&health, 200), HEALTH_DRAINED);
    health.drained = 0;
    health.checked = HEALTH_CHECK_UP;
    health.forced = HEALTH_FORCED_DOWN;
    cr_expect_eq(health_state(&health, 5000), HEALTH_DOWN);
    health.forced = HEALTH_AUTO;
    cr_expect_eq(health_state(&health, 200), HEALTH_MARKED);
}

Test(health, without_an_address_it_is_down_whatever_is_said)
{
    struct health health = { .unresolved = 1, .checked = HEALTH_CHECK_UP, .forced = HEALTH_FORCED_UP };
    cr_expect_eq(health_state(&health, 5), HEALTH_DOWN);
}

Test(health, checks_need_fall_failures_in_a_row_and_rise_successes)
{
    struct health health = { 0 };
    cr_assert(!health_check_result(&health, false, 2, 3, 1));
    cr_assert(!health_check_result(&health, false, 2, 3, 1));
    cr_assert(!health_check_result(&health, true, 2, 3, 1));
    cr_assert(!health_check_result(&health, false, 2, 3, 1));
    cr_assert(!health_check_result(&health, false, 2, 3, 1));
    cr_assert(health_check_result(&health, false, 2, 3, 1));
    cr_assert_eq(health_state(&health, 1), HEALTH_DOWN);
    cr_assert(!health_check_result(&health, false, 2, 3, 1));
    cr_assert(!health_check_result(&health, true, 2, 3, 1));
    cr_assert(health_check_result(&health, true, 2, 3, 1));
    cr_assert_eq(health_state(&health, 1), HEALTH_UP);
}

Test(health, coming_up_by_checks_clears_the_mark)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    cr_assert(health_check_result(&health, false, 1, 1, 1));
    cr_assert(health_check_result(&health, true, 1, 1, 1));
    cr_assert_eq(health_state(&health, 1), HEALTH_UP);
}

Test(health, first_good_check_leaves_the_mark_of_requests)
{
    struct health health = { 0 };
    mark_at(&health, 0);
    cr_assert(health_check_result(&health, true, 1, 1, 1));
    cr_assert_eq(health_state(&health, 1), HEALTH_MARKED);
}

/* Races -------------------------------------------------------------------------------------------------------- */

#define RACERS 4
#define RACES 2000

struct race {
    struct health health;
    pthread_barrier_t start, end;
    _Atomic uint32_t winners;
    uint64_t now_ms;
    bool reporting;
};

static void *race(void *argument)
{
    struct race *race = argument;
    for (int i = 0; i < RACES; i++) {
        pthread_barrier_wait(&race->start);
        bool won = race->reporting ? health_report(&race->health, &limits, SERVER_CONNECT, 1, 0)
                                   : health_claim_trial(&race->health, &limits, race->now_ms);
        if (won)
            atomic_fetch_add(&race->winners, 1);
        pthread_barrier_wait(&race->end);
    }
    return NULL;
}

static void run_race(struct race *the, void (*before)(struct race *race))
{
    pthread_t threads[RACERS];
    pthread_barrier_init(&the->start, NULL, RACERS + 1);
    pthread_barrier_init(&the->end, NULL, RACERS + 1);
    for (int i = 0; i < RACERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, race, the), 0);
    uint32_t wrong = 0;
    for (int i = 0; i < RACES; i++) {
        before(the);
        atomic_store(&the->winners, 0);
        pthread_barrier_wait(&the->start);
        pthread_barrier_wait(&the->end);
        wrong += atomic_load(&the->winners) != 1;
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&the->start);
    pthread_barrier_destroy(&the->end);
    cr_assert_eq(wrong, 0, "%u of %d races had no or several winners", wrong, RACES);
}

static void trial_is_due(struct race *race)
{
    mark(&race->health, 1000);
    race->now_ms = 1000;
}

Test(health, one_of_racing_threads_gets_the_trial, .timeout = 120)
{
    struct race the = { .reporting = false };
    run_race(&the, trial_is_due);
}

static void one_failure_is_missing(struct race *race)
{
    race->health = (struct health){ .failures = 2 };
}

Test(health, one_of_racing_failures_sets_the_mark, .timeout = 120)
{
    struct race the = { .reporting = true };
    run_race(&the, one_failure_is_missing);
}

/* Every member, or what is explained is not what happens: a record of all ones. */
Test(health, a_copy_is_the_same_and_apart)
{
    struct health from, to;
    memset(&from, 1, sizeof from);
    memset(&to, 0, sizeof to);
    health_copy(&to, &from);
    cr_expect_eq(atomic_load(&to.marked_until_ms), atomic_load(&from.marked_until_ms));
    size_t used = offsetof(struct health, trial) + sizeof from.trial; /* the last, and no holes before it */
    cr_expect_eq(memcmp(&from, &to, used), 0, "a member was left out");
    atomic_store(&to.drained, 0);
    cr_expect_eq(atomic_load(&from.drained), 1);
}

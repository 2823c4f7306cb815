/* Servers that do worse than the others: the judge, and what a judgement does to a server's health. */
#include "tests/unit/pool/fixture.h"

static const struct outlier_limits both = { .interval_ms = 10000,
                                            .requests_min = 100,
                                            .servers_min = 5,
                                            .rate = { .below = 190, .gap = 5 },
                                            .latency = { .above = 300, .least_ms = 10 } };

static struct outlier_judgement judgements[64];

static void judge(const struct outlier_limits *limits, const struct outlier_sample *samples, uint32_t count)
{
    double scratch[64];
    memset(judgements, 0xa5, sizeof judgements);
    outlier_judge(limits, samples, count, judgements, scratch);
}

static struct outlier_sample did(uint64_t requests, uint64_t failures, uint64_t latency_us)
{
    return (struct outlier_sample){ requests, failures, requests, requests * latency_us };
}

static void fill(struct outlier_sample *samples, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        samples[i] = did(1000, i % 3, 5000 + 100 * i);
}

Test(outlier, alike_servers_are_left_alone)
{
    struct outlier_sample samples[10];
    fill(samples, 10);
    judge(&both, samples, 10);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(judgements[i].verdict, OUTLIER_NONE);
        cr_assert(judgements[i].counted);
    }
}

Test(outlier, one_that_fails_a_fifth_stands_out)
{
    struct outlier_sample samples[10];
    fill(samples, 10);
    samples[7] = did(1000, 200, 5000);
    judge(&both, samples, 10);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(judgements[i].verdict, i == 7 ? OUTLIER_RATE : OUTLIER_NONE, "%d", i);
    cr_assert(judgements[7].value > 0.799 && judgements[7].value < 0.801);
    cr_assert(judgements[7].bound > 0.83 && judgements[7].bound < 0.88, "%f", judgements[7].bound);
}

Test(outlier, small_gap_is_none_however_many_deviations_it_is)
{
    struct outlier_sample samples[20];
    for (int i = 0; i < 20; i++)
        samples[i] = did(1000, i == 3 ? 40 : 0, 5000);
    judge(&both, samples, 20);
    cr_assert_eq(judgements[3].verdict, OUTLIER_NONE);
    struct outlier_limits narrow = both;
    narrow.rate.gap = 1;
    judge(&narrow, samples, 20);
    cr_assert_eq(judgements[3].verdict, OUTLIER_RATE);
}

Test(outlier, when_all_fail_alike_nobody_stands_out)
{
    struct outlier_sample samples[10];
    for (int i = 0; i < 10; i++)
        samples[i] = did(1000, 1000, 5000);
    judge(&both, samples, 10);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(judgements[i].verdict, OUTLIER_NONE);
}

Test(outlier, slow_server_stands_out_by_the_median)
{
    struct outlier_sample samples[6];
    fill(samples, 6);
    samples[0] = did(1000, 0, 16000);
    samples[5] = did(1000, 0, 900000);
    judge(&both, samples, 6);
    cr_assert_eq(judgements[0].verdict, OUTLIER_LATENCY, "16 ms, above three times 5.2");
    cr_assert_eq(judgements[5].verdict, OUTLIER_LATENCY);
    cr_assert_gt(judgements[5].badness, judgements[0].badness);
    cr_assert_eq(judgements[1].verdict, OUTLIER_NONE);
    samples[0] = did(1000, 0, 15000);
    judge(&both, samples, 6);
    cr_assert_eq(judgements[0].verdict, OUTLIER_NONE);
}

Test(outlier, quick_enough_is_never_slow)
{
    struct outlier_sample samples[6];
    for (int i = 0; i < 6; i++)
        samples[i] = did(1000, 0, i ? 100 : 9999);
    judge(&both, samples, 6);
    cr_assert_eq(judgements[0].verdict, OUTLIER_NONE, "a hundred times the median, but below 10 ms");
}

Test(outlier, too_few_requests_or_servers_are_no_ground)
{
    struct outlier_sample samples[6];
    fill(samples, 6);
    samples[2] = did(99, 99, 5000);
    judge(&both, samples, 6);
    cr_assert_eq(judgements[2].verdict, OUTLIER_NONE);
    cr_assert(!judgements[2].counted);
    samples[2] = did(100, 99, 5000);
    judge(&both, samples, 6);
    cr_assert_eq(judgements[2].verdict, OUTLIER_RATE);
    samples[0] = samples[1] = did(10, 0, 5000);
    judge(&both, samples, 6);
    cr_assert_eq(judgements[2].verdict, OUTLIER_NONE, "four are left");
}

Test(outlier, only_what_is_configured_is_judged)
{
    struct outlier_sample samples[6];
    fill(samples, 6);
    samples[1] = did(1000, 900, 5000);
    samples[4] = did(1000, 0, 500000);
    struct outlier_limits one = both;
    one.rate.below = 0;
    judge(&one, samples, 6);
    cr_assert_eq(judgements[1].verdict, OUTLIER_NONE);
    cr_assert_eq(judgements[4].verdict, OUTLIER_LATENCY);
    one = both;
    one.latency.above = 0;
    judge(&one, samples, 6);
    cr_assert_eq(judgements[1].verdict, OUTLIER_RATE);
    cr_assert_eq(judgements[4].verdict, OUTLIER_NONE);
}

/* Anything at all: no division by nothing, and a verdict only where there is ground for one. */
Test(outlier, any_samples)
{
    uint64_t seed = test_seed("any_samples");
    for (int round = 0; round < 20000; round++) {
        struct outlier_sample samples[64];
        struct outlier_limits limits = both;
        uint32_t count = (uint32_t)(next_random(&seed) % 65);
        limits.requests_min = (uint32_t)(next_random(&seed) % 3);
        limits.servers_min = (uint32_t)(next_random(&seed) % 4);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t most = 1ull << next_random(&seed) % 40;
            samples[i] = (struct outlier_sample){ next_random(&seed) % most, next_random(&seed) % most,
                                                  next_random(&seed) % most, next_random(&seed) % most };
        }
        judge(&limits, samples, count);
        for (uint32_t i = 0; i < count; i++) {
            cr_assert(judgements[i].verdict == OUTLIER_NONE || judgements[i].counted);
            cr_assert(judgements[i].verdict == OUTLIER_NONE || judgements[i].badness > 0);
            cr_assert(judgements[i].verdict != OUTLIER_LATENCY || samples[i].responses > 0);
        }
    }
}

Test(outlier, marks_grow_from_an_interval_to_the_longest_back_off)
{
    cr_assert_eq(outlier_mark_ms(&both, 1000, 60000, 0), 10000);
    cr_assert_eq(outlier_mark_ms(&both, 1000, 60000, 2), 40000);
    cr_assert_eq(outlier_mark_ms(&both, 1000, 60000, 3), 60000);
    cr_assert_eq(outlier_mark_ms(&both, 1000, 60000, 4000000000u), 60000);
    cr_assert_eq(outlier_mark_ms(&both, 30000, 5000, 0), 10000, "a longest one shorter than the interval");
}

/* Health ------------------------------------------------------------------------------------------------------- */

Test(outlier, success_does_not_clear_a_judgement_before_its_trial)
{
    struct health health = { 0 };
    cr_assert(health_judge(&health, SERVER_SUCCESS_RATE, 5000, 1000));
    cr_assert_eq(atomic_load(&health.last_outcome), SERVER_SUCCESS_RATE);
    cr_assert_str_eq(server_outcome_word(SERVER_SUCCESS_RATE), "success-rate");
    cr_assert(!health_report(&health, &usual_limits, SERVER_OK, 1001, 0));
    cr_assert_eq(health_state(&health, 1001), HEALTH_MARKED);
    cr_assert_eq(health_state(&health, 6000), HEALTH_TRIAL_DUE);
    cr_assert(!health_report(&health, &usual_limits, SERVER_OK, 6000, 0), "of a request that began before the mark");
    cr_assert_eq(health_state(&health, 6000), HEALTH_TRIAL_DUE);
    cr_assert(health_claim_trial(&health, &usual_limits, 6000));
    cr_assert(!health_report(&health, &usual_limits, SERVER_OK, 6001, 0));
    cr_assert_eq(health_state(&health, 6001), HEALTH_UP);
    cr_assert_eq(atomic_load(&health.up_since_ms), 6001);
}

Test(outlier, failed_trial_of_a_judgement_makes_a_mark_like_any_other)
{
    struct health health = { 0 };
    cr_assert(health_judge(&health, SERVER_LATENCY, 5000, 1000));
    cr_assert(health_claim_trial(&health, &usual_limits, 6000));
    cr_assert(health_report(&health, &usual_limits, SERVER_TIMEOUT, 6500, 0));
    cr_assert_eq(atomic_load(&health.last_outcome), SERVER_TIMEOUT);
    (void)health_report(&health, &usual_limits, SERVER_OK, 6600, 0);
    cr_assert_eq(health_state(&health, 6600), HEALTH_UP);
}

Test(outlier, marked_server_is_not_judged_and_keeps_its_reason)
{
    struct health health = { 0 };
    for (int i = 0; i < 3; i++)
        (void)health_report(&health, &usual_limits, SERVER_CLOSED, 100, 0);
    cr_assert(!health_judge(&health, SERVER_SUCCESS_RATE, 5000, 101));
    cr_assert_eq(atomic_load(&health.last_outcome), SERVER_CLOSED);
}

Test(outlier, judgement_outlives_failures_where_those_never_mark)
{
    struct health health = { 0 };
    struct health_limits never = usual_limits;
    never.fail_after = 0;
    cr_assert(health_judge(&health, SERVER_SUCCESS_RATE, 5000, 1000));
    (void)health_report(&health, &never, SERVER_CONNECT, 1001, 0);
    cr_assert_eq(health_state(&health, 1001), HEALTH_MARKED);
}

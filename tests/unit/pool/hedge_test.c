/* pool/hedge: when an answer is late. */
#include <criterion/criterion.h>

#include "pool/hedge.h"
#include "tests/unit/seed.h"

Test(hedge, knows_nothing_at_first)
{
    struct hedge_clock clock = { 0 };
    for (unsigned i = 0; i < HEDGE_SAMPLES_MIN - 1; i++)
        hedge_record(&clock, 1000);
    cr_assert_eq(hedge_late_us(&clock, 95), HEDGE_UNKNOWN);
    hedge_record(&clock, 1000);
    cr_assert_neq(hedge_late_us(&clock, 95), HEDGE_UNKNOWN);
}

Test(hedge, finds_the_percentile_within_an_eighth)
{
    seed_take("finds_the_percentile_within_an_eighth");
    struct hedge_clock clock = { 0 };
    for (unsigned i = 0; i < 4000; i++)
        hedge_record(&clock, random_below(100) < 90 ? 1000 : 50000);
    uint64_t p50 = hedge_late_us(&clock, 50);
    cr_assert(p50 >= 1000 && p50 <= 1000 * 9 / 8 + 1, "p50 is %llu", (unsigned long long)p50);
    clock.late_us = 0;
    uint64_t p95 = hedge_late_us(&clock, 95);
    cr_assert(p95 >= 50000 && p95 <= 50000 * 9 / 8 + 1, "p95 is %llu", (unsigned long long)p95);
}

Test(hedge, follows_a_pool_that_becomes_slow)
{
    struct hedge_clock clock = { 0 };
    for (unsigned i = 0; i < 100000; i++)
        hedge_record(&clock, 500);
    cr_assert_lt(hedge_late_us(&clock, 95), 600);
    for (unsigned i = 0; i < 4 * HEDGE_SAMPLES_MAX; i++)
        hedge_record(&clock, 20000);
    cr_assert_geq(hedge_late_us(&clock, 50), 20000);
}

Test(hedge, takes_any_time)
{
    struct hedge_clock clock = { 0 };
    for (unsigned shift = 0; shift < 64; shift++)
        for (unsigned i = 0; i < 10; i++)
            hedge_record(&clock, (1ull << shift) + i);
    cr_assert_leq(clock.total, HEDGE_SAMPLES_MAX);
    cr_assert_gt(hedge_late_us(&clock, 99), 1000000);
}

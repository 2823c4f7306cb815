/* pool/budget: further attempts are a share of the requests. */
#include <criterion/criterion.h>

#include "pool/budget.h"
#include "tests/unit/seed.h"

static const struct budget_limits fifth = { .percent = 20, .per_second = 0 };

static unsigned take_all(struct budget *budget, const struct budget_limits *limits, unsigned wanted, uint64_t now_ms)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < wanted; i++)
        taken += budget_take(budget, limits, 0, 1, now_ms);
    return taken;
}

Test(budget, allows_a_share_of_the_requests)
{
    struct budget budget = { 0 };
    for (unsigned i = 0; i < 100; i++)
        budget_request(&budget, 1000);
    cr_assert_eq(take_all(&budget, &fifth, 100, 1000), 20);
}

Test(budget, forgets_what_is_two_windows_old)
{
    struct budget budget = { 0 };
    for (unsigned i = 0; i < 100; i++)
        budget_request(&budget, 1000);
    cr_assert_eq(take_all(&budget, &fifth, 100, 1000 + BUDGET_WINDOW_MS), 20);
    cr_assert_eq(take_all(&budget, &fifth, 100, 1000 + 3 * BUDGET_WINDOW_MS), 0);
}

Test(budget, allows_a_few_where_there_is_little_to_do)
{
    struct budget budget = { 0 };
    struct budget_limits limits = { .percent = 1, .per_second = 3 };
    cr_assert_eq(take_all(&budget, &limits, 100, 1000), 30);
    cr_assert_eq(take_all(&budget, &limits, 100, 1000 + BUDGET_WINDOW_MS), 0);
    cr_assert_eq(take_all(&budget, &limits, 100, 1000 + 2 * BUDGET_WINDOW_MS), 30);
}

Test(budget, is_no_limit_when_there_is_none)
{
    struct budget budget = { 0 };
    struct budget_limits limits = { .percent = 0 };
    cr_assert_eq(take_all(&budget, &limits, 1000, 0), 1000);
}

Test(budget, parts_of_the_workers_make_the_whole)
{
    for (uint32_t workers = 1; workers <= 64; workers++) {
        struct budget_limits limits = { .percent = 1, .per_second = 3 };
        unsigned taken = 0;
        for (uint32_t worker = 0; worker < workers; worker++) {
            struct budget budget = { 0 };
            for (unsigned i = 0; i < 100; i++)
                taken += budget_take(&budget, &limits, worker, workers, 1000);
        }
        cr_assert_eq(taken, 30, "%u workers took %u", workers, taken);
    }
}

/* Whatever comes when: a window that has attempts, and the one before, are within the share and the few; and so is the whole. */
Test(budget, never_exceeds_its_share)
{
    seed_take("never_exceeds_its_share");
    for (unsigned round = 0; round < 200; round++) {
        struct budget budget = { 0 };
        struct budget_limits limits = { .percent = (uint32_t)random_below(100) + 1, .per_second = (uint32_t)(random_below(5)) };
        uint64_t now_ms = BUDGET_WINDOW_MS, requests[64] = { 0 }, attempts[64] = { 0 };
        while (now_ms < 60 * BUDGET_WINDOW_MS) {
            now_ms += random_below(97);
            if (random_below(2)) {
                budget_request(&budget, now_ms);
                requests[now_ms / BUDGET_WINDOW_MS]++;
            } else
                attempts[now_ms / BUDGET_WINDOW_MS] += budget_take(&budget, &limits, 0, 1, now_ms);
        }
        uint64_t few = (uint64_t)limits.per_second * 2 * BUDGET_WINDOW_MS / 1000, all_requests = 0, all_attempts = 0;
        for (unsigned w = 1; w < 61; w++) {
            uint64_t both = attempts[w - 1] + attempts[w];
            cr_assert(attempts[w] == 0 || both <= (requests[w - 1] + requests[w]) * limits.percent / 100 + few, "window %u", w);
            all_requests += requests[w];
            all_attempts += attempts[w];
        }
        cr_assert_leq(all_attempts, all_requests * limits.percent / 100 + few * 31);
    }
}

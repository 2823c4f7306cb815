#include "cache/pages.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/seed.h"

#define UNITS 5000u
#define RUNS 600u

static uint8_t map[UNITS];
static _Alignas(PAGES_UNIT) char memory[UNITS * PAGES_UNIT];
static struct pages pages;

struct run {
    char *at;
    size_t bytes;
};
static struct run runs[RUNS];

static void start(uint32_t units)
{
    pages_init(&pages, memory, (size_t)units * PAGES_UNIT, map);
}

Test(pages, a_run_wastes_less_than_a_unit)
{
    start(UNITS);
    void *a = pages_take(&pages, 5 * PAGES_UNIT + 1);
    cr_assert_not_null(a);
    cr_assert_eq(pages_used(&pages), 6 * PAGES_UNIT);
    pages_give(&pages, a, 5 * PAGES_UNIT + 1);
    cr_assert_eq(pages_used(&pages), 0);
}

Test(pages, all_of_it_can_be_taken_and_is_whole_again)
{
    start(UNITS);
    static void *units[UNITS];
    for (uint32_t i = 0; i < UNITS; i++)
        cr_assert_not_null(units[i] = pages_take(&pages, PAGES_UNIT));
    cr_assert_null(pages_take(&pages, 1));
    for (uint32_t i = 0; i < UNITS; i++)
        pages_give(&pages, units[(i * 7919) % UNITS], PAGES_UNIT);
    cr_assert_eq(pages_free(&pages), (uint64_t)UNITS * PAGES_UNIT);
    cr_assert_not_null(pages_take(&pages, PAGES_RUN_MOST), "neighbours became one again");
}

Test(pages, what_is_free_can_be_had_however_fragmented)
{
    start(64);
    void *units[64];
    size_t got;
    for (uint32_t i = 0; i < 64; i++)
        units[i] = pages_take(&pages, PAGES_UNIT);
    for (uint32_t i = 0; i < 64; i += 2)
        pages_give(&pages, units[i], PAGES_UNIT);
    cr_assert_null(pages_take(&pages, 2 * PAGES_UNIT));
    cr_assert_null(pages_take_some(&pages, 8192, 512, &got));
    for (uint32_t i = 0; i < 32; i++) {
        cr_assert_not_null(pages_take_some(&pages, 8192, 1, &got));
        cr_assert_eq(got, PAGES_UNIT);
    }
    cr_assert_eq(pages_free(&pages), 0);
}

Test(pages, no_run_is_longer_than_the_longest)
{
    start(UNITS);
    size_t got;
    cr_assert_null(pages_take(&pages, PAGES_RUN_MOST + 1));
    cr_assert_null(pages_take(&pages, 0));
    cr_assert_not_null(pages_take_some(&pages, 1u << 30, 1, &got));
    cr_assert_eq(got, PAGES_RUN_MOST);
}

static void check_bytes(const struct run *run)
{
    for (size_t i = 0; i < run->bytes; i += PAGES_UNIT / 4)
        cr_assert_eq(run->at[i], (char)(run - runs));
}

static uint64_t taken(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < RUNS; i++)
        sum += runs[i].at ? pages_rounded(runs[i].bytes) : 0;
    return sum;
}

Test(pages, runs_never_overlap_and_the_sum_is_exact)
{
    seed_take("pages.runs_never_overlap_and_the_sum_is_exact");
    start(UNITS - 13);
    for (unsigned step = 0; step < 60000; step++) {
        struct run *run = &runs[random_below(RUNS)];
        if (!run->at) {
            run->bytes = 1 + random_below(1u << random_below(16));
            run->at =
                random_below(2) ? pages_take(&pages, run->bytes) : pages_take_some(&pages, run->bytes, 1, &run->bytes);
            if (run->at)
                memset(run->at, (int)(unsigned char)(run - runs), run->bytes);
        } else if (random_below(3) == 0 && run->bytes > PAGES_UNIT) { /* its end goes back */
            size_t kept = (size_t)pages_rounded(1 + random_below(run->bytes - PAGES_UNIT));
            check_bytes(run);
            pages_give(&pages, run->at + kept, (size_t)pages_rounded(run->bytes) - kept);
            run->bytes = kept;
        } else {
            check_bytes(run);
            pages_give(&pages, run->at, run->bytes);
            run->at = NULL;
        }
        if (step % 100 == 0)
            cr_assert_eq(pages_used(&pages), taken());
    }
    for (unsigned i = 0; i < RUNS; i++)
        if (runs[i].at)
            pages_give(&pages, runs[i].at, runs[i].bytes);
    cr_assert_eq(pages_used(&pages), 0);
    cr_assert_not_null(pages_take(&pages, PAGES_RUN_MOST), "and whole again");
}

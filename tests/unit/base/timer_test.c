#include "engine/base/timer.h"

#include <criterion/criterion.h>

#include "tests/unit/seed.h"

static struct timer_wheel wheel;
static uint64_t fired_at[512];
static unsigned fired;

struct owned {
    struct timer timer;
    unsigned number;
};
static struct owned timers[512];

static void note(struct timer *timer, uint64_t now_ms)
{
    fired_at[CONTAINER_OF(timer, struct owned, timer)->number] = now_ms;
    fired++;
}

static void setup(void)
{
    timer_wheel_init(&wheel, 1000);
    for (unsigned i = 0; i < 512; i++)
        timers[i] = (struct owned){ .timer.fire = note, .number = i };
}

TestSuite(timer, .init = setup);

Test(timer, fires_at_its_deadline_and_not_before)
{
    timer_set(&wheel, &timers[0].timer, 1010);
    cr_assert_eq(timer_wheel_advance(&wheel, 1009), 0);
    cr_assert_eq(timer_wheel_advance(&wheel, 1010), 1);
    cr_assert_not(timer_armed(&timers[0].timer));
}

Test(timer, a_deadline_in_the_past_fires_at_the_next_advance)
{
    timer_set(&wheel, &timers[0].timer, 5);
    cr_assert_eq(timer_wheel_advance(&wheel, 1001), 1);
}

Test(timer, a_later_deadline_is_only_noted)
{
    timer_set(&wheel, &timers[0].timer, 1010);
    uint64_t placed = timers[0].timer.placed_ms;
    timer_set(&wheel, &timers[0].timer, 9000);
    cr_assert_eq(timers[0].timer.placed_ms, placed);
    cr_assert_eq(timer_wheel_advance(&wheel, 8999), 0);
    cr_assert_eq(timer_wheel_advance(&wheel, 9000), 1);
}

Test(timer, an_earlier_deadline_moves_it)
{
    timer_set(&wheel, &timers[0].timer, 900000);
    timer_set(&wheel, &timers[0].timer, 1005);
    cr_assert_eq(timer_wheel_advance(&wheel, 1005), 1);
}

Test(timer, cancelled_never_fires)
{
    timer_set(&wheel, &timers[0].timer, 1005);
    timer_cancel(&wheel, &timers[0].timer);
    cr_assert_eq(timer_wheel_advance(&wheel, 100000), 0);
    cr_assert_eq(timer_wheel_next(&wheel), TIMER_NEVER);
}

Test(timer, beyond_the_wheels_reach_waits_its_time)
{
    timer_set(&wheel, &timers[0].timer, 1000 + (1ull << 26));
    cr_assert_eq(timer_wheel_advance(&wheel, 999 + (1ull << 26)), 0);
    cr_assert_eq(timer_wheel_advance(&wheel, 1000 + (1ull << 26)), 1);
}

static void again(struct timer *timer, uint64_t now_ms)
{
    fired++;
    if (fired < 5)
        timer_set(&wheel, timer, now_ms + 1);
}

Test(timer, may_be_set_again_while_it_fires)
{
    timers[0].timer.fire = again;
    timer_set(&wheel, &timers[0].timer, 1001);
    timer_wheel_advance(&wheel, 1100);
    cr_assert_eq(fired, 5);
}

/* Against what a list would do: each timer fires in the first advance that reaches its deadline; the next wake-up is never late. */
Test(timer, agrees_with_a_list)
{
    uint64_t want[512], now = 1000;
    seed_take("timer.agrees_with_a_list");
    memset(want, 0xff, sizeof want);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)random_below(512);
        if (random_below(4) == 0) {
            timer_cancel(&wheel, &timers[i].timer);
            want[i] = TIMER_NEVER;
        } else {
            want[i] = now + 1 + random_below(1ull << random_below(22));
            timer_set(&wheel, &timers[i].timer, want[i]);
        }
        uint64_t first = TIMER_NEVER;
        for (unsigned k = 0; k < 512; k++)
            first = u64_min(first, want[k]);
        cr_assert_leq(timer_wheel_next(&wheel), first);
        if (random_below(3))
            continue;
        now += random_below(1ull << random_below(18));
        memset(fired_at, 0, sizeof fired_at);
        timer_wheel_advance(&wheel, now);
        for (unsigned k = 0; k < 512; k++) {
            bool due = want[k] <= now;
            cr_assert_eq(due, fired_at[k] != 0, "timer %u wanted %llu at %llu", k, (unsigned long long)want[k], (unsigned long long)now);
            if (due) {
                cr_assert_geq(fired_at[k], want[k]);
                want[k] = TIMER_NEVER;
            }
        }
    }
}

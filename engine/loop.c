#include "engine/loop.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define NS_PER_MS 1000000u
#define SPIN_GIVE_UP 8 /* fruitless spins in a row after which the loop sleeps at once for a while */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void read_clock(struct loop *loop)
{
    loop->now_ns = clock_ns(CLOCK_MONOTONIC);
    loop->now_ms = loop->now_ns / NS_PER_MS;
    if (loop->now_ns >= loop->unix_next_ns) {
        loop->unix_offset_ns = (int64_t)clock_ns(CLOCK_REALTIME) - (int64_t)loop->now_ns;
        loop->unix_next_ns = loop->now_ns + 1000000000u;
    }
}

enum err loop_init(struct loop *loop, uint32_t number, unsigned ring_entries, char why[256])
{
    *loop = (struct loop){ .number = number };
    enum err e = ring_init(&loop->ring, &(struct ring_options){ .entries = ring_entries }, why);
    if (e != ERR_OK)
        return e;
    loop->trace = calloc(1, sizeof *loop->trace);
    if (!loop->trace) {
        ring_release(&loop->ring);
        return ERR_MEMORY;
    }
    if (getrandom(&loop->random_state, sizeof loop->random_state, 0) != sizeof loop->random_state)
        loop->random_state = (uint64_t)(uintptr_t)loop ^ clock_ns(CLOCK_MONOTONIC);
    read_clock(loop);
    timer_wheel_init(&loop->wheel, loop->now_ms);
    return ERR_OK;
}

void loop_release(struct loop *loop)
{
    ring_release(&loop->ring);
    free(loop->trace);
    loop->trace = NULL;
}

static void deliver(void *letter, void *loop)
{
    mailbox_deliver(letter, loop);
}

/*
 * Spinning: only while recent spins were worth it. Each fruitful spin earns trust, each fruitless one costs it, and
 * without trust only every 64th turn tries again, so that a trickle of requests does not burn a core.
 */
static bool spin(struct loop *loop)
{
    if (loop->spin_us == 0)
        return false;
    if (loop->spin_trust <= -SPIN_GIVE_UP && loop->turns % 64 != 0)
        return false;
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + loop->spin_us * 1000ull;
    loop->spins++;
    do {
        ring_enter(&loop->ring, 0);
        if (ring_ready(&loop->ring)) {
            loop->spin_trust = loop->spin_trust < SPIN_GIVE_UP ? loop->spin_trust + 1 : SPIN_GIVE_UP;
            return true;
        }
    } while (clock_ns(CLOCK_MONOTONIC) < until);
    if (loop->spin_trust > -SPIN_GIVE_UP)
        loop->spin_trust--;
    return false;
}

static uint64_t wait_ns(const struct loop *loop)
{
    uint64_t next_ms = timer_wheel_next(&loop->wheel);
    if (next_ms == TIMER_NEVER)
        return UINT64_MAX;
    uint64_t next_ns = next_ms * NS_PER_MS;
    return next_ns > loop->now_ns ? next_ns - loop->now_ns : 0;
}

static void enter(struct loop *loop)
{
    if (loop->again || loop->stop) {
        loop->again = false;
        ring_enter(&loop->ring, 0);
        return;
    }
    uint64_t wait = wait_ns(loop);
    if (wait != 0 && spin(loop))
        return;
    ring_enter(&loop->ring, wait);
}

void loop_turn(struct loop *loop)
{
    loop->turns++;
    ring_dispatch(&loop->ring, deliver, loop);
    timer_wheel_advance(&loop->wheel, loop->now_ms);
    if (loop->end_of_turn)
        loop->end_of_turn(loop);
    if (loop->ring.pool)
        ring_refill(&loop->ring);
    enter(loop);
    read_clock(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stop)
        loop_turn(loop);
}

int64_t loop_unix_seconds(const struct loop *loop)
{
    return ((int64_t)loop->now_ns + loop->unix_offset_ns) / 1000000000;
}

uint64_t loop_unix_us(const struct loop *loop)
{
    return (uint64_t)(((int64_t)loop->now_ns + loop->unix_offset_ns) / 1000);
}

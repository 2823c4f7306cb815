/*
 * timer: a hierarchical wheel of deadlines, one per worker. Time is an argument: milliseconds of a monotonic clock.
 *
 * Resolution 1 ms, 4 levels of 64 slots (2^24 ms, about 4.6 hours; later deadlines wait in the last level and are
 * sorted in again). Insert, remove: O(1). A timer is embedded in its owner and calls `fire` from timer_wheel_advance,
 * at or after its deadline, never before; a fired timer is idle again and may be re-armed or freed in `fire`.
 *
 * Owners that move their deadline with every request must not pay for it: timer_set with a later deadline than the one
 * in the wheel only stores it; when the old place comes up the wheel sorts the timer in again (lazy). An earlier
 * deadline moves it at once.
 */
#ifndef WEIR_TIMER_H
#define WEIR_TIMER_H

#include "engine/base/base.h"

#define TIMER_LEVELS 4u
#define TIMER_SLOTS 64u
#define TIMER_NEVER UINT64_MAX

struct timer {
    struct timer *next, *previous; /* NULL: idle */
    uint64_t deadline_ms;          /* what the owner wants */
    uint64_t placed_ms;            /* what its slot stands for; <= deadline_ms */
    void (*fire)(struct timer *timer, uint64_t now_ms);
};

struct timer_wheel {
    struct timer slots[TIMER_LEVELS][TIMER_SLOTS]; /* list heads */
    uint64_t occupied[TIMER_LEVELS];               /* a bit per slot that is not empty */
    uint64_t now_ms;
    uint32_t count;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* fire must be set before. Deadlines in the past fire at the next advance. */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms);
void timer_cancel(struct timer_wheel *wheel, struct timer *timer); /* no-op when idle */
static inline bool timer_armed(const struct timer *timer) { return timer->next != NULL; }

/* Fires everything due. now_ms below an earlier call's is taken as that one. Returns how many fired. */
unsigned timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

/* When the loop must wake up: a time <= the first deadline (an early wake-up is harmless), TIMER_NEVER when empty. */
uint64_t timer_wheel_next(const struct timer_wheel *wheel);

#endif

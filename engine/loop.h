/*
 * loop: one thread's ring, timers and clock, and the turn that drives them.
 *
 * Every thread of the engine has one: each worker, and the control thread (server.h), which does what must never take
 * time from requests: signals, the control socket, configuration, active checks. A turn: dispatch completions, fire
 * timers, run `end_of_turn` (a worker flushes the connections that have something to send), refill buffers, enter the
 * ring once until the next deadline. The clock is read once a turn.
 */
#ifndef WEIR_LOOP_H
#define WEIR_LOOP_H

#include "engine/base/timer.h"
#include "engine/base/trace.h"
#include "engine/mailbox.h"
#include "engine/ring.h"

struct loop {
    struct ring ring;
    struct timer_wheel wheel;
    struct trace *trace;
    uint64_t now_ns;       /* monotonic, of this turn */
    uint64_t now_ms;       /* the same in milliseconds */
    uint64_t random_state; /* loop_random */
    uint32_t number;       /* worker number; LOOP_CONTROL for the control thread */
    uint32_t spin_us;      /* bounded spin before sleeping, 0: none */
    bool stop;             /* set to leave loop_run after this turn */
    bool again;            /* set by whoever left work for the next turn: do not sleep */
    void (*end_of_turn)(struct loop *loop);
    uint64_t turns, spins;
    int spin_trust;
    int64_t unix_offset_ns; /* CLOCK_REALTIME minus CLOCK_MONOTONIC, read once a second */
    uint64_t unix_next_ns;
};
#define LOOP_CONTROL UINT32_MAX

enum err must_use loop_init(struct loop *loop, uint32_t number, unsigned ring_entries, char why[256]);
void loop_release(struct loop *loop);
void loop_run(struct loop *loop); /* turns until stop */
void loop_turn(struct loop *loop);

/* Seconds and microseconds since 1970 of this turn (steps of the system's clock are followed within a second). */
int64_t loop_unix_seconds(const struct loop *loop);
uint64_t loop_unix_us(const struct loop *loop);

/* Random bits, quick, not for secrets: picks, jitter. */
static inline uint64_t loop_random(struct loop *loop)
{
    loop->random_state += 0x9e3779b97f4a7c15ull;
    return mix64(loop->random_state);
}

#endif

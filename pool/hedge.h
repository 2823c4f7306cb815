/*
 * hedge: after how long a second server is asked beside the first (Dean and Barroso, "The Tail at Scale", CACM 2013).
 *
 * The times to the first byte of one pool on one worker are kept in a histogram that forgets: it is halved whenever it has filled, so that
 * it speaks of the last few thousand answers. When enough are known the configured percentile of them says when an answer is late.
 * Times are microseconds.
 */
#ifndef WEIR_HEDGE_H
#define WEIR_HEDGE_H

#include "engine/base/base.h"

#define HEDGE_BUCKETS 160u    /* eight for each doubling, from 16 us up to 17 s */
#define HEDGE_SAMPLES_MIN 64u /* below, nothing is known */
#define HEDGE_SAMPLES_MAX 8192u
#define HEDGE_UNKNOWN UINT64_MAX

struct hedge_clock {
    uint16_t count[HEDGE_BUCKETS];
    uint32_t total;
    uint32_t fresh;     /* recorded since `late_us` was worked out */
    uint64_t late_us;   /* HEDGE_UNKNOWN, or 0 before the first time */
};

void hedge_record(struct hedge_clock *clock, uint64_t us);

/* The percentile (1..99) of what was recorded, rounded up to its bucket's end; HEDGE_UNKNOWN. Worked out again now and then. */
uint64_t hedge_late_us(struct hedge_clock *clock, unsigned percentile);

#endif

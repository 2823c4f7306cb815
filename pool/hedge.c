/* hedge: see hedge.h. */
#include "pool/hedge.h"

#define FLOOR_US 16u
#define STEPS 8u /* buckets for each doubling */
#define REFRESH 128u

/* Bucket b ends below edge(b); the first below FLOOR_US + FLOOR_US / STEPS. */
static unsigned bucket_of(uint64_t us)
{
    if (us < FLOOR_US)
        return 0;
    unsigned doubling = 63 - (unsigned)__builtin_clzll(us / FLOOR_US);
    uint64_t low = (uint64_t)FLOOR_US << doubling;
    unsigned bucket = doubling * STEPS + (unsigned)((us - low) * STEPS / low);
    return bucket < HEDGE_BUCKETS ? bucket : HEDGE_BUCKETS - 1;
}

static uint64_t edge(unsigned bucket)
{
    uint64_t low = (uint64_t)FLOOR_US << (bucket / STEPS);
    return low + low * (bucket % STEPS + 1) / STEPS;
}

static void halve(struct hedge_clock *clock)
{
    clock->total = 0;
    for (unsigned b = 0; b < HEDGE_BUCKETS; b++) {
        clock->count[b] /= 2;
        clock->total += clock->count[b];
    }
}

void hedge_record(struct hedge_clock *clock, uint64_t us)
{
    clock->count[bucket_of(us)]++;
    clock->fresh++;
    if (++clock->total >= HEDGE_SAMPLES_MAX)
        halve(clock);
}

static uint64_t work_out(const struct hedge_clock *clock, unsigned percentile)
{
    if (clock->total < HEDGE_SAMPLES_MIN)
        return HEDGE_UNKNOWN;
    uint32_t below = 0, wanted = (uint32_t)((uint64_t)clock->total * percentile / 100);
    for (unsigned b = 0; b < HEDGE_BUCKETS; b++) {
        below += clock->count[b];
        if (below > wanted)
            return edge(b);
    }
    return edge(HEDGE_BUCKETS - 1);
}

uint64_t hedge_late_us(struct hedge_clock *clock, unsigned percentile)
{
    if (clock->late_us == 0 || clock->fresh >= REFRESH || clock->late_us == HEDGE_UNKNOWN) {
        clock->late_us = work_out(clock, percentile);
        clock->fresh = 0;
    }
    return clock->late_us;
}

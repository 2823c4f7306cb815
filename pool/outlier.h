/*
 * outlier: which servers of a pool do worse than the others, by what all of them did in the last interval.
 *
 * fail_after (health.h) sees a server that fails every request; one that fails one in five, or answers in a second where the
 * others take ten milliseconds, never has enough failures in a row. Compared with its neighbours it stands out. Two
 * judgements, each only where it is configured:
 *
 *   success-rate   below the mean of the servers' rates by `below` standard deviations, and by `gap` at least
 *   latency        a mean time to the first byte above `above` times the median of the servers' means, and above `least`
 *
 * A server with fewer than `requests_min` in the interval is neither judged nor counted, and with fewer than `servers_min`
 * that are counted nobody is judged. Without `gap` a server with one failure among flawless ones would stand out: a
 * deviation says nothing where there is none.
 *
 * Pure arithmetic: who calls it, how often, and what becomes of a verdict is engine/outliers.c's.
 */
#ifndef WEIR_OUTLIER_H
#define WEIR_OUTLIER_H

#include "engine/base/base.h"

struct outlier_limits {
    uint32_t max_ejected; /* percent of a pool's servers that may be marked at once; for upstream->max_ejected */
    uint32_t interval_ms;
    uint32_t requests_min, servers_min;
    struct outlier_rate {
        uint32_t below; /* hundredths of a standard deviation; 0: not judged */
        uint32_t gap;   /* percent of all requests */
    } rate;
    struct outlier_latency {
        uint32_t above;    /* hundredths of the median; 0: not judged */
        uint32_t least_ms; /* means up to that are never too much */
    } latency;
};

/* What one server did in the interval. */
struct outlier_sample {
    uint64_t requests, failures; /* well-formed responses with a 5xx status are failures too */
    uint64_t responses, latency_us_sum;
};

enum outlier_verdict { OUTLIER_NONE, OUTLIER_RATE, OUTLIER_LATENCY };

struct outlier_judgement {
    enum outlier_verdict verdict;
    bool counted;        /* it had enough requests */
    double value, bound; /* rate: shares of 1; latency: microseconds. What it had, and what would have been enough */
    double badness;      /* value and bound compared, above 1: to take the worst first */
};

/* judgements: count of them, are filled. scratch: count doubles, any content. */
void outlier_judge(const struct outlier_limits *limits, const struct outlier_sample *samples, uint32_t count,
                   struct outlier_judgement *judgements, double *scratch);

static inline bool outlier_is_judged(const struct outlier_limits *limits)
{
    return limits->rate.below != 0 || limits->latency.above != 0;
}

/* For how long to mark for the nth time in a row, n from 0: twice as long each time, one interval at least. */
uint64_t outlier_mark_ms(const struct outlier_limits *limits, uint32_t backoff_ms_min, uint32_t backoff_ms_max,
                         uint32_t times);

#endif

/* outlier: see outlier.h. */
#include "pool/outlier.h"

#include <stdlib.h>

#define DOUBLINGS_MAX 32u

static bool is_counted(const struct outlier_limits *limits, const struct outlier_sample *sample)
{
    return sample->requests > 0 && sample->requests >= limits->requests_min;
}

static double rate_of(const struct outlier_sample *sample)
{
    uint64_t failures = u64_min(sample->failures, sample->requests);
    return (double)(sample->requests - failures) / (double)sample->requests;
}

/* Newton's, to a double's precision for values of 0 to 1: pure rooms have no libm. */
static double root(double square)
{
    double x = square > 1 ? square : 1;
    if (square <= 0)
        return 0;
    for (int i = 0; i < 64; i++)
        x = (x + square / x) / 2;
    return x;
}

static void judge_rates(const struct outlier_limits *limits, const struct outlier_sample *samples, uint32_t count,
                        uint32_t counted, struct outlier_judgement *judgements)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += judgements[i].counted ? rate_of(&samples[i]) : 0;
    double mean = sum / counted;
    for (uint32_t i = 0; i < count; i++) {
        double apart = judgements[i].counted ? rate_of(&samples[i]) - mean : 0;
        squares += apart * apart;
    }
    double deviations = root(squares / counted) * limits->rate.below / 100, gap = limits->rate.gap / 100.0;
    double bound = mean - (deviations > gap ? deviations : gap);
    for (uint32_t i = 0; i < count; i++) {
        double rate = judgements[i].counted ? rate_of(&samples[i]) : 1;
        if (rate >= bound)
            continue;
        judgements[i].verdict = OUTLIER_RATE;
        judgements[i].value = rate;
        judgements[i].bound = bound;
        judgements[i].badness = (1 - rate) / (1 - bound);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double latency_of(const struct outlier_sample *sample)
{
    return (double)sample->latency_us_sum / (double)sample->responses;
}

/* A server that only fails has no latency: it is counted among those with too few requests. */
static bool has_latency(const struct outlier_limits *limits, const struct outlier_judgement *judgement,
                        const struct outlier_sample *sample)
{
    return judgement->counted && sample->responses > 0 && sample->responses >= limits->requests_min;
}

static void judge_latencies(const struct outlier_limits *limits, const struct outlier_sample *samples, uint32_t count,
                            struct outlier_judgement *judgements, double *scratch)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++)
        if (has_latency(limits, &judgements[i], &samples[i]))
            scratch[known++] = latency_of(&samples[i]);
    if (known == 0 || known < limits->servers_min)
        return;
    qsort(scratch, known, sizeof *scratch, by_size);
    double bound = scratch[(known - 1) / 2] * limits->latency.above / 100, least = limits->latency.least_ms * 1000.0;
    bound = bound > least ? bound : least;
    for (uint32_t i = 0; i < count; i++) {
        if (!has_latency(limits, &judgements[i], &samples[i]) || judgements[i].verdict != OUTLIER_NONE)
            continue;
        double latency = latency_of(&samples[i]);
        if (latency <= bound)
            continue;
        judgements[i].verdict = OUTLIER_LATENCY;
        judgements[i].value = latency;
        judgements[i].bound = bound;
        judgements[i].badness = bound > 0 ? latency / bound : latency;
    }
}

void outlier_judge(const struct outlier_limits *limits, const struct outlier_sample *samples, uint32_t count,
                   struct outlier_judgement *judgements, double *scratch)
{
    uint32_t counted = 0;
    for (uint32_t i = 0; i < count; i++) {
        judgements[i] = (struct outlier_judgement){ .counted = is_counted(limits, &samples[i]) };
        counted += judgements[i].counted;
    }
    if (counted == 0 || counted < limits->servers_min)
        return;
    if (limits->rate.below)
        judge_rates(limits, samples, count, counted, judgements);
    if (limits->latency.above)
        judge_latencies(limits, samples, count, judgements, scratch);
}

uint64_t outlier_mark_ms(const struct outlier_limits *limits, uint32_t backoff_ms_min, uint32_t backoff_ms_max,
                         uint32_t times)
{
    uint64_t longest = u64_max(backoff_ms_max, limits->interval_ms);
    uint64_t first = u64_max(backoff_ms_min, limits->interval_ms);
    return times >= DOUBLINGS_MAX ? longest : u64_min(first << times, longest);
}

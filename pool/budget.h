/*
 * budget: how many further attempts (retries and hedges) a pool may make, so that trouble is not multiplied.
 *
 * When a pool fails as a whole every request fails, and retrying them all doubles or triples the load on what is left of it. So
 * attempts beyond the first are allowed only as a share of the requests of the last 5 to 10 seconds, and a few a second beside
 * that for pools with little to do. One budget belongs to one pool on one worker and outlives reloads. The parts of the
 * workers add up to what is configured, so it holds for the process without a line in the cache that they share.
 *
 * Time is an argument (milliseconds, monotonic).
 */
#ifndef WEIR_BUDGET_H
#define WEIR_BUDGET_H

#include "engine/base/base.h"

#define BUDGET_WINDOW_MS 5000u

struct budget_limits {
    uint32_t percent;    /* of the requests; 0: no budget, every attempt is allowed */
    uint32_t per_second; /* beside that, for the whole process */
};

struct budget {
    uint64_t window;        /* number of the window that is counted now: now_ms / BUDGET_WINDOW_MS */
    uint32_t requests[2];   /* in the window before, and in this one */
    uint32_t attempts[2];   /* further ones, likewise */
};

/* A request begins. */
void budget_request(struct budget *budget, uint64_t now_ms);

/*
 * A further attempt is wanted: true, and counted, if the budget allows it. worker of workers: whose part of per_second this is.
 * With the one that is counted, this window and the one before hold no more attempts than percent of their requests + per_second x
 * 10 s; so over any longer time too.
 */
bool must_use budget_take(struct budget *budget, const struct budget_limits *limits, uint32_t worker, uint32_t workers, uint64_t now_ms);

#endif

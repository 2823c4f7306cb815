/* A seed for property tests: WEIR_SEED repeats a run, otherwise it is fresh; always printed. */
#ifndef WEIR_TESTS_SEED_H
#define WEIR_TESTS_SEED_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/base.h"

static uint64_t random_state;

static inline void seed_take(const char *test)
{
    struct timespec now;
    const char *given = getenv("WEIR_SEED");
    clock_gettime(CLOCK_MONOTONIC, &now);
    random_state = given ? strtoull(given, NULL, 10) : mix64((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30);
    fprintf(stderr, "%s: WEIR_SEED=%llu\n", test, (unsigned long long)random_state);
}

static inline uint64_t random_below(uint64_t limit)
{
    random_state += 0x9e3779b97f4a7c15ull;
    return limit ? mix64(random_state) % limit : 0;
}

#endif

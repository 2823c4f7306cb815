/*
 * micro: what the small benchmarks share. Header only; each benchmark has its own main.
 *
 * A benchmark is a function that does its operation `count` times. micro_run finds a count that takes a few
 * milliseconds, repeats that MICRO_REPEATS times and prints the median and the smallest ns per operation: the median is
 * what to compare, the smallest shows how noisy the machine was.
 *
 * What a benchmark computes goes into micro_keep, or the compiler removes the work.
 */
#ifndef WEIR_MICRO_H
#define WEIR_MICRO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MICRO_REPEATS 31u
#define MICRO_REPEAT_NS 4000000ull
#define MICRO_COUNT_MAX (1ull << 40)

static inline uint64_t micro_clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* The compiler must believe that the value is used and that memory was looked at. */
#define micro_keep(value) __asm__ volatile("" : : "g"(value) : "memory")

/* Numbers for keys and deadlines; the same in every run. */
static inline uint64_t micro_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline int micro_compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

typedef void micro_body(void *context, uint64_t count);

static inline uint64_t micro_time(micro_body *body, void *context, uint64_t count)
{
    uint64_t begin = micro_clock_ns();

    body(context, count);
    return micro_clock_ns() - begin;
}

static inline void micro_title(void)
{
    printf("%-44s %12s %12s\n", "", "median ns/op", "min");
}

static inline void micro_run(const char *name, micro_body *body, void *context)
{
    double per_operation[MICRO_REPEATS];
    uint64_t count = 1;

    while (count < MICRO_COUNT_MAX && micro_time(body, context, count) < MICRO_REPEAT_NS)
        count *= 2;
    for (unsigned i = 0; i < MICRO_REPEATS; i++)
        per_operation[i] = (double)micro_time(body, context, count) / (double)count;
    qsort(per_operation, MICRO_REPEATS, sizeof per_operation[0], micro_compare);
    printf("%-44s %12.2f %12.2f\n", name, per_operation[MICRO_REPEATS / 2], per_operation[0]);
    fflush(stdout);
}

#endif

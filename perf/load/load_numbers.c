/* load_numbers: see load.h. */
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static unsigned histogram_slot(uint64_t value)
{
    unsigned power;

    if (value < STEPS)
        return (unsigned)value;
    power = 63u - (unsigned)__builtin_clzll(value);
    return (power - STEP_BITS + 1u) * STEPS + (unsigned)((value >> (power - STEP_BITS)) & (STEPS - 1u));
}

/* The middle of a slot. */
static double histogram_value(unsigned slot)
{
    unsigned power = slot / STEPS;

    if (power == 0)
        return (double)slot;
    return ((double)(STEPS + slot % STEPS) + 0.5) * (double)(1ull << (power - 1u));
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->slots[histogram_slot(value)]++;
    h->count++;
    if (value > h->largest)
        h->largest = value;
}

double histogram_quantile(const struct histogram *h, double q)
{
    uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += h->slots[i];
        if (seen > rank)
            return histogram_value(i) < (double)h->largest ? histogram_value(i) : (double)h->largest;
    }
    return (double)h->largest;
}

static uint64_t sched_us_of(pid_t pid)
{
    char path[320], line[128];
    uint64_t sum_ns = 0;
    struct dirent *entry;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (!tasks)
        return 0;
    while ((entry = readdir(tasks))) {
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(line, sizeof line, file))
            sum_ns += strtoull(line, NULL, 10);
        fclose(file);
    }
    closedir(tasks);
    return sum_ns / 1000u;
}

struct cpu cpu_of(pid_t pid)
{
    struct cpu cpu = { 0 };
    uint64_t user, system, hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    char path[64], line[1024];
    const char *after_name;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        die("the CPU time of process %d cannot be read: %s", (int)pid, strerror(errno));
    fclose(file);
    after_name = strrchr(line, ')');
    if (!after_name || sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                              &user, &system) != 2)
        die("%s has an unknown form", path);
    cpu.user_us = user * 1000000u / hertz;
    cpu.system_us = system * 1000000u / hertz;
    cpu.sched_us = sched_us_of(pid);
    return cpu;
}

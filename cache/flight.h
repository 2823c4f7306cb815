/*
 * flight: the table of requests that are under way for what is not stored (struct flight in cache.h).
 *
 * A flight's memory is a run of the home's pages with the key behind it. Their number has a cap, so has the share of the region that they may take.
 */
#ifndef WEIR_CACHE_FLIGHT_H
#define WEIR_CACHE_FLIGHT_H

#include "cache/cache.h"

#define FLIGHTS_MOST 65536u

struct flights {
    struct flight **buckets;
    uint32_t mask;
    uint64_t count, most;
};

size_t flights_bytes(uint64_t region_bytes);
void flights_init(struct flights *flights, void *buckets, uint64_t region_bytes);

#endif

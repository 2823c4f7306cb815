/*
 * pages: the memory of a home, given out in runs.
 *
 * A run is a whole number of units that stand one after the other. What is free is in runs as well, as long as can be: a run that is given back becomes
 * one with its free neighbours. Free runs hang in classes by their length, eight to each power of two and exact below sixteen units (TLSF: Masmano,
 * Ripoll, Crespo, Real, 2004); a take looks for the shortest class that has one. Both cost a fixed number of steps.
 *
 * What is free is known exactly. Fragmentation shows only in how long the longest run is: who can do with several takes what pages_take_some has.
 */
#ifndef WEIR_CACHE_PAGES_H
#define WEIR_CACHE_PAGES_H

#include "engine/base/base.h"

#define PAGES_UNIT 256u
#define PAGES_RUN_MOST (1024u * 1024u) /* bytes that are taken at once */
#define PAGES_GRAIN 64u                /* what a short reference counts in */
#define PAGES_CLASSES 192u             /* for 2^24 units and more */

struct free_run;
struct pages {
    char *base;   /* of the first unit */
    uint8_t *map; /* a byte per unit: does a free run begin, or end, there? */
    uint32_t units, free_units;
    uint64_t filled[PAGES_CLASSES / 64]; /* a bit per class that has runs */
    struct free_run *free[PAGES_CLASSES];
};

/* How many bytes of map so many bytes of memory need. */
size_t pages_map_bytes(size_t bytes);
/* memory: aligned to PAGES_UNIT. Whole units of it are used. */
void pages_init(struct pages *pages, void *memory, size_t bytes, uint8_t *map);
/* The memory may be used for something else: only AddressSanitizer has to know. */
void pages_release(struct pages *pages);

/* What a run of so many bytes takes. */
static inline uint64_t pages_rounded(uint64_t bytes) { return (bytes + PAGES_UNIT - 1) / PAGES_UNIT * PAGES_UNIT; }
/* A run of at least `bytes` (at most PAGES_RUN_MOST) bytes, its content undefined; NULL: no run is long enough. */
void *pages_take(struct pages *pages, size_t bytes);
/* A run of `bytes` if there is one, else about the longest there is, if it has `least` bytes. *got is a multiple of the unit. NULL: none. */
void *pages_take_some(struct pages *pages, size_t bytes, size_t least, size_t *got);
/* Gives back a run, or the end of one: `at` stands at a unit's start. `bytes` as when it was taken. */
void pages_give(struct pages *pages, void *at, size_t bytes);

static inline uint64_t pages_free(const struct pages *pages) { return (uint64_t)pages->free_units * PAGES_UNIT; }
static inline uint64_t pages_used(const struct pages *pages) { return (uint64_t)(pages->units - pages->free_units) * PAGES_UNIT; }

/* Short references, for tables: 0 is NULL. */
static inline uint32_t pages_reference(const struct pages *pages, const void *at)
{
    return at ? (uint32_t)((size_t)((const char *)at - pages->base) / PAGES_GRAIN) + 1 : 0;
}
static inline void *pages_at(const struct pages *pages, uint32_t reference)
{
    return reference ? pages->base + (size_t)(reference - 1) * PAGES_GRAIN : NULL;
}

#endif

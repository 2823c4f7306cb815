/*
 * A free run holds its links and its length itself, the length also at its end. `map` says where free runs begin and end, so that looking at a neighbour
 * touches one byte of a table and not cold memory, unless it is free.
 *
 * A buddy allocator was tried first. A store's runs are of all lengths, those of one site are alike, and the blocks of powers of two that a freed run
 * falls into are not what the next one of its length needs: a quarter of the memory stood empty. Here it fits again as it is.
 *
 * Under AddressSanitizer what is free is poisoned but for the links and lengths.
 */
#include "cache/pages.h"

#include <string.h>

#include "engine/base/check.h"

#define EXACT 8u     /* classes in a power of two */
#define OWN_CLASS 8u /* runs of the wanted length's own class that are looked at when no longer class has one */

enum { BEGINS = 1, ENDS = 2 };

struct free_run {
    struct free_run *next, *previous;
    uint32_t units;
};

#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(void const volatile *at, size_t bytes);
void __asan_unpoison_memory_region(void const volatile *at, size_t bytes);
#define POISON(at, bytes) __asan_poison_memory_region(at, bytes)
#define UNPOISON(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define POISON(at, bytes) ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#endif

static inline uint32_t unit_of(const struct pages *pages, const void *at)
{
    return (uint32_t)((size_t)((const char *)at - pages->base) / PAGES_UNIT);
}

static inline void *unit_at(const struct pages *pages, uint32_t unit)
{
    return pages->base + (size_t)unit * PAGES_UNIT;
}

/* The length that a free run says at its end. */
static inline uint32_t *length_before(const struct pages *pages, uint32_t unit)
{
    return (uint32_t *)(void *)((char *)unit_at(pages, unit) - 8);
}

/* Classes ------------------------------------------------------------------------------------------------------- */

static inline unsigned class_of(uint32_t units)
{
    if (units < EXACT)
        return units;
    unsigned power = 31u - (unsigned)__builtin_clz(units);
    return (power - 2) * EXACT + (units >> (power - 3) & (EXACT - 1));
}

/* The first class all of whose runs are long enough. */
static inline unsigned class_above(uint32_t units)
{
    if (units < 2 * EXACT)
        return class_of(units);
    unsigned power = 31u - (unsigned)__builtin_clz(units);
    return class_of(units + (1u << (power - 3)) - 1);
}

/* The next that has runs; PAGES_CLASSES: none. */
static unsigned filled_from(const struct pages *pages, unsigned class)
{
    for (unsigned word = class / 64; word < PAGES_CLASSES / 64; word++) {
        uint64_t bits = pages->filled[word];
        if (word == class / 64)
            bits &= ~0ull << class % 64;
        if (bits)
            return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return PAGES_CLASSES;
}

static unsigned longest_filled(const struct pages *pages)
{
    for (unsigned word = PAGES_CLASSES / 64; word--;)
        if (pages->filled[word])
            return word * 64 + 63 - (unsigned)__builtin_clzll(pages->filled[word]);
    return PAGES_CLASSES;
}

/* Free runs ----------------------------------------------------------------------------------------------------- */

static void hang(struct pages *pages, uint32_t unit, uint32_t units)
{
    struct free_run *run = unit_at(pages, unit);
    unsigned class = class_of(units);
    UNPOISON(run, sizeof *run);
    UNPOISON(length_before(pages, unit + units), 8);
    *run = (struct free_run){ .next = pages->free[class], .units = units };
    *length_before(pages, unit + units) = units;
    if (run->next)
        run->next->previous = run;
    pages->free[class] = run;
    pages->filled[class / 64] |= 1ull << class % 64;
    pages->map[unit] |= BEGINS;
    pages->map[unit + units - 1] |= ENDS;
}

static void take_off(struct pages *pages, struct free_run *run)
{
    uint32_t unit = unit_of(pages, run);
    unsigned class = class_of(run->units);
    *(run->previous ? &run->previous->next : &pages->free[class]) = run->next;
    if (run->next)
        run->next->previous = run->previous;
    if (!pages->free[class])
        pages->filled[class / 64] &= ~(1ull << class % 64);
    pages->map[unit] &= (uint8_t)~BEGINS;
    pages->map[unit + run->units - 1] &= (uint8_t)~ENDS;
}

/* Becomes one with its free neighbours. */
static void hang_joined(struct pages *pages, uint32_t unit, uint32_t units)
{
    if (unit + units < pages->units && pages->map[unit + units] & BEGINS) {
        struct free_run *behind = unit_at(pages, unit + units);
        uint32_t more = behind->units;
        take_off(pages, behind);
        POISON(behind, sizeof *behind);
        units += more;
    }
    if (unit > 0 && pages->map[unit - 1] & ENDS) {
        uint32_t more = *length_before(pages, unit);
        take_off(pages, unit_at(pages, unit - more));
        POISON(length_before(pages, unit), 8);
        unit -= more;
        units += more;
    }
    hang(pages, unit, units);
}

/* Taking -------------------------------------------------------------------------------------------------------- */

static struct free_run *search(const struct pages *pages, uint32_t units)
{
    unsigned own = class_of(units), class = filled_from(pages, class_above(units));
    struct free_run *run = pages->free[own];
    if (class < PAGES_CLASSES && !(run && run->units >= units))
        return pages->free[class];
    for (unsigned looked = 0; run && run->units < units; run = run->next)
        if (++looked == OWN_CLASS)
            return NULL;
    return run;
}

/* The run's beginning; the rest stays free. */
static void *take_from(struct pages *pages, struct free_run *run, uint32_t units)
{
    uint32_t unit = unit_of(pages, run), left = run->units - units;
    take_off(pages, run);
    pages->free_units -= units;
    if (left)
        hang(pages, unit + units, left);
    UNPOISON(run, (size_t)units * PAGES_UNIT);
    return run;
}

void *pages_take(struct pages *pages, size_t bytes)
{
    if (bytes == 0 || bytes > PAGES_RUN_MOST || FAULT("pages"))
        return NULL;
    uint32_t units = (uint32_t)(pages_rounded(bytes) / PAGES_UNIT);
    struct free_run *run = search(pages, units);
    return run ? take_from(pages, run, units) : NULL;
}

void *pages_take_some(struct pages *pages, size_t bytes, size_t least, size_t *got)
{
    bytes = size_min(bytes, PAGES_RUN_MOST);
    void *taken = pages_take(pages, bytes);
    *got = (size_t)pages_rounded(bytes);
    if (taken)
        return taken;
    unsigned class = longest_filled(pages);
    if (class == PAGES_CLASSES)
        return NULL;
    struct free_run *run = pages->free[class];
    *got = size_min((size_t)run->units * PAGES_UNIT, *got);
    return *got < least ? NULL : take_from(pages, run, (uint32_t)(*got / PAGES_UNIT));
}

/* Giving -------------------------------------------------------------------------------------------------------- */

void pages_give(struct pages *pages, void *at, size_t bytes)
{
    uint32_t unit = unit_of(pages, at), units = (uint32_t)(pages_rounded(bytes) / PAGES_UNIT);
    MUST(units > 0 && unit_at(pages, unit) == at && unit + units <= pages->units &&
         units <= pages->units - pages->free_units);
    POISON(at, (size_t)units * PAGES_UNIT);
    pages->free_units += units;
    hang_joined(pages, unit, units);
}

size_t pages_map_bytes(size_t bytes)
{
    return bytes / PAGES_UNIT;
}

void pages_init(struct pages *pages, void *memory, size_t bytes, uint8_t *map)
{
    MUST((uintptr_t)memory % PAGES_UNIT == 0 && bytes >= PAGES_UNIT);
    memset(pages, 0, sizeof *pages);
    pages->base = memory;
    pages->map = map;
    pages->units = pages->free_units = (uint32_t)(bytes / PAGES_UNIT);
    memset(map, 0, pages->units);
    hang(pages, 0, pages->units);
}

void pages_release(struct pages *pages)
{
    UNPOISON(pages->base, (size_t)pages->units * PAGES_UNIT);
}

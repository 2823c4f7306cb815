/*
 * A free block holds its links itself; `map` says where free blocks begin and how long they are, so that looking at a neighbour touches one byte
 * of a table and not cold memory. Taking removes one block that is long enough and gives back its end, which splits it on the way.
 *
 * Under AddressSanitizer what is free is poisoned but for the links.
 */
#include "cache/pages.h"

#include <string.h>

#include "engine/base/check.h"

struct free_block {
    struct free_block *next, *previous;
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

/* The smallest order with so many units. */
static inline unsigned order_up(uint32_t units)
{
    return units <= 1 ? 0 : 32u - (unsigned)__builtin_clz(units - 1);
}

static void put(struct pages *pages, uint32_t unit, unsigned order)
{
    struct free_block *block = unit_at(pages, unit);
    block->previous = NULL;
    block->next = pages->free[order];
    if (block->next)
        block->next->previous = block;
    pages->free[order] = block;
    pages->filled_orders |= 1u << order;
    pages->map[unit] = (uint8_t)(order + 1);
}

static void take_off(struct pages *pages, uint32_t unit, unsigned order)
{
    struct free_block *block = unit_at(pages, unit);
    if (block->previous)
        block->previous->next = block->next;
    else
        pages->free[order] = block->next;
    if (block->next)
        block->next->previous = block->previous;
    if (!pages->free[order])
        pages->filled_orders &= ~(1u << order);
    pages->map[unit] = 0;
}

/* A block becomes free: one with its neighbours as long as they are. */
static void put_joined(struct pages *pages, uint32_t unit, unsigned order)
{
    while (order + 1 < PAGES_ORDERS) {
        uint32_t neighbour = unit ^ (1u << order);
        if (neighbour >= pages->units || pages->map[neighbour] != order + 1)
            break;
        take_off(pages, neighbour, order);
        POISON(unit_at(pages, neighbour), sizeof(struct free_block));
        unit &= ~(1u << order);
        order++;
    }
    UNPOISON(unit_at(pages, unit), sizeof(struct free_block));
    put(pages, unit, order);
}

/* Any run of units is a few blocks. */
static void put_run(struct pages *pages, uint32_t unit, uint32_t count)
{
    pages->free_units += count;
    while (count) {
        unsigned order = 31u - (unsigned)__builtin_clz(count);
        unsigned aligned = unit ? (unsigned)__builtin_ctz(unit) : PAGES_ORDERS - 1;
        if (order > aligned)
            order = aligned;
        if (order > PAGES_ORDERS - 1)
            order = PAGES_ORDERS - 1;
        put_joined(pages, unit, order);
        unit += 1u << order;
        count -= 1u << order;
    }
}

size_t pages_map_bytes(size_t bytes)
{
    return bytes / PAGES_UNIT;
}

void pages_init(struct pages *pages, void *memory, size_t bytes, uint8_t *map)
{
    MUST((uintptr_t)memory % PAGES_UNIT == 0);
    *pages = (struct pages){ .base = memory, .map = map, .units = (uint32_t)(bytes / PAGES_UNIT) };
    memset(map, 0, pages->units);
    put_run(pages, 0, pages->units);
}

void pages_release(struct pages *pages)
{
    UNPOISON(pages->base, (size_t)pages->units * PAGES_UNIT);
}

/* The block of that order or a longer one, `units` of it; the rest stays free. */
static void *take_from(struct pages *pages, unsigned order, uint32_t units)
{
    struct free_block *block = pages->free[order];
    uint32_t unit = unit_of(pages, block);
    take_off(pages, unit, order);
    pages->free_units -= 1u << order;
    put_run(pages, unit + units, (1u << order) - units);
    UNPOISON(block, (size_t)units * PAGES_UNIT);
    return block;
}

void *pages_take(struct pages *pages, size_t bytes)
{
    uint32_t units = (uint32_t)(pages_rounded(bytes) / PAGES_UNIT);
    if (bytes == 0 || bytes > PAGES_RUN_MOST || FAULT("pages"))
        return NULL;
    uint32_t orders = pages->filled_orders >> order_up(units) << order_up(units);
    return orders ? take_from(pages, (unsigned)__builtin_ctz(orders), units) : NULL;
}

void *pages_take_some(struct pages *pages, size_t bytes, size_t least, size_t *got)
{
    bytes = size_min(bytes, PAGES_RUN_MOST);
    void *run = pages_take(pages, bytes);
    if (run) {
        *got = (size_t)pages_rounded(bytes);
        return run;
    }
    if (!pages->filled_orders)
        return NULL;
    unsigned order = 31u - (unsigned)__builtin_clz(pages->filled_orders);
    *got = size_min((size_t)PAGES_UNIT << order, (size_t)pages_rounded(bytes));
    return *got < least ? NULL : take_from(pages, order, (uint32_t)(*got / PAGES_UNIT));
}

void pages_give(struct pages *pages, void *at, size_t bytes)
{
    uint32_t unit = unit_of(pages, at), count = (uint32_t)(pages_rounded(bytes) / PAGES_UNIT);
    MUST(unit + count <= pages->units && unit_at(pages, unit) == at && count <= pages->units - pages->free_units);
    POISON(at, (size_t)count * PAGES_UNIT);
    put_run(pages, unit, count);
}

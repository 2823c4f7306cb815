/*
 * idle: see idle.h.
 *
 * The shelf is a list in the order of putting, so the idle limit runs out from the oldest end inwards and looking at
 * that one entry is enough. A lifetime runs from connecting and may end anywhere in the list. Walking it for that
 * would make a sweep of a long shelf quadratic; instead idle_take, which must not hand such an entry out, moves those
 * it meets to the oldest end, where idle_expire finds them at once. One that nobody meets stays until its idle limit:
 * a descriptor held a little longer, and never used.
 */
#include "pool/idle.h"

#include "engine/base/check.h"

#define LEND_LOOKS 4u

static void unlink_entry(struct idle_shelf *shelf, struct idle_entry *entry)
{
    MUST(shelf->count > 0);
    MUST(entry->newer ? entry->newer->older == entry : shelf->newest == entry);
    MUST(entry->older ? entry->older->newer == entry : shelf->oldest == entry);
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        shelf->newest = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        shelf->oldest = entry->newer;
    entry->newer = entry->older = NULL;
    shelf->count--;
}

static void link_newest(struct idle_shelf *shelf, struct idle_entry *entry)
{
    entry->newer = NULL;
    entry->older = shelf->newest;
    if (shelf->newest)
        shelf->newest->newer = entry;
    else
        shelf->oldest = entry;
    shelf->newest = entry;
    shelf->count++;
}

static void link_oldest(struct idle_shelf *shelf, struct idle_entry *entry)
{
    entry->older = NULL;
    entry->newer = shelf->oldest;
    if (shelf->oldest)
        shelf->oldest->older = entry;
    else
        shelf->newest = entry;
    shelf->oldest = entry;
    shelf->count++;
}

/* When an entry on the shelf is to be closed. */
static uint64_t due_ms(const struct idle_entry *entry, const struct idle_limits *limits)
{
    uint64_t due = entry->since_ms + limits->idle_ms_max;
    if (limits->lifetime_ms_max)
        due = u64_min(due, entry->connected_ms + limits->lifetime_ms_max);
    return due;
}

struct idle_entry *idle_take(struct idle_shelf *shelf, const struct idle_limits *limits, uint64_t now_ms)
{
    for (uint32_t left = shelf->count; left > 0; left--) {
        struct idle_entry *entry = shelf->newest;
        if (now_ms >= entry->since_ms + limits->idle_ms_max)
            return NULL; /* and the rest have waited longer still */
        unlink_entry(shelf, entry);
        if (likely(now_ms < due_ms(entry, limits)))
            return entry;
        link_oldest(shelf, entry);
    }
    return NULL;
}

bool idle_take_one(struct idle_shelf *shelf, struct idle_entry *entry, const struct idle_limits *limits, uint64_t now_ms)
{
    unlink_entry(shelf, entry);
    return now_ms < due_ms(entry, limits);
}

static bool worn_out(const struct idle_entry *entry, const struct idle_limits *limits, uint64_t now_ms)
{
    return (limits->lifetime_ms_max && now_ms >= entry->connected_ms + limits->lifetime_ms_max) ||
           (limits->requests_max && entry->requests >= limits->requests_max);
}

struct idle_entry *idle_put(struct idle_shelf *shelf, struct idle_entry *entry, const struct idle_limits *limits,
                            uint64_t now_ms)
{
    MUST(!entry->newer && !entry->older && shelf->newest != entry);
    if (limits->count_max == 0 || limits->idle_ms_max == 0 || worn_out(entry, limits, now_ms))
        return entry;
    struct idle_entry *out = NULL;
    if (shelf->count >= limits->count_max) {
        out = shelf->oldest;
        unlink_entry(shelf, out);
    }
    entry->since_ms = now_ms;
    link_newest(shelf, entry);
    return out;
}

/* Overdue ones at the old end are left to idle_expire; a shelf with several of them has nothing to lend just now. */
struct idle_entry *idle_lend(struct idle_shelf *shelf, const struct idle_limits *limits, uint64_t now_ms)
{
    struct idle_entry *entry = shelf->oldest;
    for (unsigned i = 0; i < LEND_LOOKS && entry && now_ms >= due_ms(entry, limits); i++)
        entry = entry->newer;
    if (!entry || entry == shelf->newest || now_ms >= due_ms(entry, limits))
        return NULL;
    unlink_entry(shelf, entry);
    return entry;
}

void idle_remove(struct idle_shelf *shelf, struct idle_entry *entry)
{
    unlink_entry(shelf, entry);
}

/* A reload may have lowered count_max below what waits here. */
static bool overfull(const struct idle_shelf *shelf, const struct idle_limits *limits)
{
    return shelf->count > limits->count_max;
}

struct idle_entry *idle_expire(struct idle_shelf *shelf, const struct idle_limits *limits, uint64_t now_ms)
{
    struct idle_entry *entry = shelf->oldest;
    if (!entry || (!overfull(shelf, limits) && now_ms < due_ms(entry, limits)))
        return NULL;
    unlink_entry(shelf, entry);
    return entry;
}

uint64_t idle_next_expiry(const struct idle_shelf *shelf, const struct idle_limits *limits)
{
    if (!shelf->oldest)
        return UINT64_MAX;
    return overfull(shelf, limits) ? 0 : due_ms(shelf->oldest, limits);
}

uint32_t idle_share(uint32_t warm, uint32_t workers, uint32_t number)
{
    MUST(workers > 0);
    return warm / workers + (number % workers < warm % workers);
}

uint32_t idle_missing(const struct idle_shelf *shelf, const struct idle_limits *limits, uint32_t share, uint32_t opening)
{
    uint32_t wanted = share < limits->count_max ? share : limits->count_max;
    uint32_t present = shelf->count + opening;
    return wanted > present ? wanted - present : 0;
}

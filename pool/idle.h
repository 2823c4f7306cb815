/*
 * idle: connections to one server that wait for their next request, on one worker.
 *
 * Last in, first out: the warmest is used and the rest grow old. An entry is embedded in its connection. The shelf
 * decides how many may wait and for how long; it closes nothing itself: whoever puts or sweeps gets entries back to close.
 * An entry older than its lifetime (since it was connected) or its idle limit is never handed out.
 */
#ifndef WEIR_IDLE_H
#define WEIR_IDLE_H

#include "engine/base/base.h"

struct idle_entry {
    struct idle_entry *newer, *older; /* both NULL and not on a shelf: in use */
    uint64_t connected_ms;
    uint64_t since_ms; /* on the shelf since */
    uint32_t requests; /* served by this connection */
};

struct idle_limits {
    uint32_t count_max; /* 0: no keep-alive */
    uint32_t idle_ms_max;
    uint32_t lifetime_ms_max; /* 0: no limit */
    uint32_t requests_max;    /* 0: no limit */
    uint32_t warm;            /* opened ahead of requests, all workers together; 0: none */
    bool borrow;              /* workers lend each other what waits on their shelves */
};

struct idle_shelf {
    struct idle_entry *newest, *oldest;
    uint32_t count;
};

/* The newest entry that is still young enough, off the shelf; NULL when there is none. */
struct idle_entry *idle_take(struct idle_shelf *shelf, const struct idle_limits *limits, uint64_t now_ms);

/* This one, off the shelf whatever its age. False: it is too old to be used. */
bool must_use idle_take_one(struct idle_shelf *shelf, struct idle_entry *entry, const struct idle_limits *limits, uint64_t now_ms);

/*
 * Puts entry on the shelf. Answers the entry that must be closed for it: NULL, the oldest when the shelf was full, or
 * `entry` itself when it is too old or there is no keep-alive.
 */
struct idle_entry *idle_put(struct idle_shelf *shelf, struct idle_entry *entry, const struct idle_limits *limits,
                            uint64_t now_ms);

/* One that another worker may have, off the shelf: the oldest that is still young enough, but never the only one. NULL: none. */
struct idle_entry *idle_lend(struct idle_shelf *shelf, const struct idle_limits *limits, uint64_t now_ms);

/* Takes off an entry that died on the shelf. */
void idle_remove(struct idle_shelf *shelf, struct idle_entry *entry);

/* The oldest entry if it is overdue, off the shelf, to be closed; NULL when none is. Call until NULL. */
struct idle_entry *idle_expire(struct idle_shelf *shelf, const struct idle_limits *limits, uint64_t now_ms);

/* How many of `warm` connections the number-th of so many workers keeps ready: the shares' sum is `warm`. */
uint32_t idle_share(uint32_t warm, uint32_t workers, uint32_t number);

/* How many are to be opened so that `share` wait here, when `opening` are under way: never more than the shelf may hold. */
uint32_t idle_missing(const struct idle_shelf *shelf, const struct idle_limits *limits, uint32_t share, uint32_t opening);

/* When idle_expire next has something to do; UINT64_MAX for never. */
uint64_t idle_next_expiry(const struct idle_shelf *shelf, const struct idle_limits *limits);

#endif

/*
 * wake: tells another worker that something of its own can go on: an exchange that waited for a flight, a stored object that has grown.
 *
 * A wake is embedded in what it is about. Whoever sends it holds the lock (a home's) under which its owner can be found; from then on it stands
 * on the owner's list until the owner's thread runs `woken`, once, at the end of a turn, or takes it off with wake_cancel. A wake
 * that stands on the list already is not sent again: `woken` has to look at everything.
 *
 * One bell (a letter) per pair of workers says that the list is not empty any more; it is counted in struct process_shared's `letters`, so that
 * no loop ends while one is out.
 */
#ifndef WEIR_WAKE_H
#define WEIR_WAKE_H

#include <stdatomic.h>

#include "engine/mailbox.h"

struct worker;

struct wake {
    struct wake *next;
    void (*woken)(struct wake *wake); /* on the owner's thread */
    _Atomic bool queued;
};

struct bell {
    struct letter letter;
};

/* A worker's. */
struct wakes {
    _Atomic(struct wake *) pushed; /* by others, the last one first */
    _Atomic bool rung;             /* a bell is on its way here */
    struct wake *first, **tail;    /* the owner's, in order */
    struct bell *bells;            /* to ring others, by their number */
} __attribute__((aligned(64)));

bool must_use wakes_init(struct wakes *wakes, uint32_t workers); /* false: no memory */
void wakes_release(struct wakes *wakes);

void wake_send(struct worker *from, struct worker *to, struct wake *wake);
/* Owner's thread: it will not run, unless it is sent again. Nobody may be able to send it meanwhile. */
void wake_cancel(struct worker *worker, struct wake *wake);
void wakes_run(struct worker *worker); /* at the end of a turn */

#endif

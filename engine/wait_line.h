/*
 * wait_line: the line before a full pool: who waits for a place there, first in, first out on each worker, with a deadline.
 *
 * Exchanges and streams stand in it alike, each by a struct waiter of its own; what the line has to ask of them goes through their kind. Deadlines
 * are theirs: they set a timer when they join and take it away when they leave. The line itself is in generation.h, since it belongs to
 * the pool's name and outlives views.
 */
#ifndef WEIR_WAIT_LINE_H
#define WEIR_WAIT_LINE_H

#include "engine/generation.h"

struct waiter;
struct waiter_kind {
    void (*run)(struct waiter *waiter);              /* there may be a place: it takes it, or goes on standing */
    bool (*is_running)(const struct waiter *waiter); /* its code is on the stack */
    void (*shed)(struct waiter *waiter);             /* its place goes to another client's: it leaves and is over */
};

struct waiter {
    struct waiter *next;
    const struct waiter_kind *kind;
    struct view_pool *pool; /* where it stands, or stood last */
    uint64_t due_ms;        /* until when it may wait in line; 0: it never did */
    uint8_t client;
    bool waiting;
};

/*
 * A place in the pool's line. first: before all others; who stood in it before is there anyway. False: the line is full. The caller sets its timer,
 * for due_ms at the latest.
 */
bool must_use wait_line_join(struct waiter *waiter, struct view_pool *pool, struct slice client_address, bool first);
void wait_line_leave(struct waiter *waiter); /* it must be waiting */

/* A place has become free: as many as find one go on. */
void wait_line_wake(struct wait_line *line);

/* Another of the same view does, or would, stand in line before it. */
bool wait_line_stands_behind(const struct waiter *waiter, const struct view_pool *pool);

#endif

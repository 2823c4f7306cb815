/*
 * waits: those who wait for one thing, in no order that counts. A wait is embedded in its owner, stands in one line at most, and leaves by itself
 * without the line being named; zeroed before the first use.
 *
 * To tell all of a line: waits_take it to one of your own first, then the first, again and again, since whoever is told may leave, and take others
 * with him, or free what the line belonged to.
 */
#ifndef WEIR_WAITS_H
#define WEIR_WAITS_H

#include <stdbool.h>
#include <stddef.h>

struct wait {
    struct wait *next, **previous; /* previous: NULL: it does not wait */
};

static inline bool wait_stands(const struct wait *wait)
{
    return wait->previous != NULL;
}

static inline void wait_join(struct wait **line, struct wait *wait)
{
    wait->next = *line;
    wait->previous = line;
    if (wait->next)
        wait->next->previous = &wait->next;
    *line = wait;
}

/* One that does not wait: nothing. */
static inline void wait_leave(struct wait *wait)
{
    if (!wait->previous)
        return;
    *wait->previous = wait->next;
    if (wait->next)
        wait->next->previous = wait->previous;
    wait->next = NULL;
    wait->previous = NULL;
}

static inline void waits_take(struct wait **from, struct wait **to)
{
    *to = *from;
    *from = NULL;
    if (*to)
        (*to)->previous = to;
}

#endif

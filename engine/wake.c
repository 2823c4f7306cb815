#include "engine/wake.h"

#include <stdlib.h>

#include "engine/worker.h"

bool wakes_init(struct wakes *wakes, uint32_t workers)
{
    wakes->tail = &wakes->first;
    wakes->bells = FAULT("wakes") ? NULL : calloc(workers, sizeof *wakes->bells);
    return wakes->bells != NULL;
}

void wakes_release(struct wakes *wakes)
{
    free(wakes->bells);
}

static void append(struct wakes *wakes, struct wake *wake)
{
    wake->next = NULL;
    *wakes->tail = wake;
    wakes->tail = &wake->next;
}

/* What others have pushed, behind what stands there, in the order in which it was sent. */
static void collect(struct wakes *wakes)
{
    struct wake *list = atomic_exchange_explicit(&wakes->pushed, NULL, memory_order_acquire), *in_order = NULL;
    while (list) {
        struct wake *next = list->next;
        list->next = in_order;
        in_order = list;
        list = next;
    }
    while (in_order) {
        struct wake *next = in_order->next;
        append(wakes, in_order);
        in_order = next;
    }
}

static void rang(struct letter *letter, struct loop *here)
{
    (void)letter;
    struct worker *worker = worker_of(here);
    atomic_store(&worker->wakes.rung, false);
    atomic_fetch_sub(&worker->shared->letters, 1);
    collect(&worker->wakes); /* and they run when this turn ends */
}

/* The receiver has given its bell back when `rung` is false again, so the one for it is free. */
static void ring(struct worker *from, struct worker *to)
{
    if (atomic_exchange(&to->wakes.rung, true))
        return;
    struct letter *letter = &from->wakes.bells[to->loop.number].letter;
    letter->deliver = rang;
    atomic_fetch_add(&to->shared->letters, 1);
    mailbox_send(&from->loop, &to->loop, letter);
}

void wake_send(struct worker *from, struct worker *to, struct wake *wake)
{
    if (atomic_exchange(&wake->queued, true))
        return;
    if (from == to) {
        append(&to->wakes, wake);
        from->loop.again = true;
        return;
    }
    atomic_fetch_add(&to->shared->letters,
                     1); /* before it can be seen: its owner must not end its loop until the bell is out */
    wake->next = atomic_load_explicit(&to->wakes.pushed, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&to->wakes.pushed, &wake->next, wake, memory_order_release,
                                                  memory_order_relaxed))
        continue;
    ring(from, to);
    atomic_fetch_sub(&to->shared->letters, 1);
}

void wake_cancel(struct worker *worker, struct wake *wake)
{
    struct wakes *wakes = &worker->wakes;
    if (!atomic_load(&wake->queued))
        return;
    collect(wakes);
    for (struct wake **at = &wakes->first; *at; at = &(*at)->next) {
        if (*at != wake)
            continue;
        *at = wake->next;
        if (wakes->tail == &wake->next)
            wakes->tail = at;
        break;
    }
    atomic_store(&wake->queued, false);
}

/* Those that are sent meanwhile by what runs here wait for the next turn. */
void wakes_run(struct worker *worker)
{
    struct wakes *wakes = &worker->wakes;
    struct wake *last = wakes->first ? CONTAINER_OF(wakes->tail, struct wake, next) : NULL;
    bool more = last != NULL;
    while (more && wakes->first) {
        struct wake *wake = wakes->first;
        more = wake != last;
        wakes->first = wake->next;
        if (!wakes->first)
            wakes->tail = &wakes->first;
        atomic_store(&wake->queued, false);
        wake->woken(wake);
    }
    if (wakes->first)
        worker->loop.again = true;
}

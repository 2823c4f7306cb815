/*
 * queue.max holds for the process. When it is reached somebody must go, and that is not always the last to come: if one client
 * has more waiting here than the newcomer's has, the newest of that client's gives up its place. So one that sends without
 * measure crowds out itself and not the others. Clients are told apart by a hash of their address into LINE_CLIENTS counters: two may share
 * one, which costs them fairness between each other and nothing else.
 */
#include "engine/wait_line.h"

#include "engine/worker.h"

_Static_assert(LINE_CLIENTS <= 256, "a waiter keeps its client's number in a byte");

/* at: where in the line. The time that one may wait counts from the first time. */
static void join(struct waiter *waiter, struct waiter **at)
{
    struct wait_line *line = waiter->pool->line;
    waiter->waiting = true;
    waiter->next = *at;
    *at = waiter;
    if (line->tail == at)
        line->tail = &waiter->next;
    line->count++;
    line->of_client[waiter->client]++;
    counter_add(&line->worker->stats->queued, 1);
    waiter->due_ms = waiter->due_ms ? waiter->due_ms : line->worker->loop.now_ms + waiter->pool->config->queue_ms;
    wait_line_poll(line);
}

void wait_line_leave(struct waiter *waiter)
{
    struct wait_line *line = waiter->pool->line;
    struct waiter **at = &line->first;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (line->tail == &waiter->next)
        line->tail = at;
    line->count--;
    line->of_client[waiter->client]--;
    waiter->waiting = false;
    place_return(&waiter->pool->record->waiting);
    counter_sub(&line->worker->stats->queued, 1);
}

static struct waiter *first_of(const struct wait_line *line, const struct view_pool *pool)
{
    struct waiter *waiter = line->first;
    while (waiter && waiter->pool != pool)
        waiter = waiter->next;
    return waiter;
}

/* Those of one view: as many as find a place. One that fails at once gives its place to the next in this loop, not in one call inside the
 * other. */
static void wake(struct wait_line *line, const struct view_pool *pool)
{
    struct waiter *waiter = first_of(line, pool);
    while (waiter) {
        waiter->kind->run(waiter);
        struct waiter *next = first_of(line, pool);
        if (next == waiter)
            break; /* it goes on standing there */
        waiter = next;
    }
}

static struct waiter *last_in(const struct wait_line *line)
{
    return line->first ? CONTAINER_OF(line->tail, struct waiter, next) : NULL;
}

/* Who came before a reload may wait for servers that only the old configuration has: those who came after it, and so stand behind, are
 * woken by themselves. */
void wait_line_wake(struct wait_line *line)
{
    if (line->waking || !line->first)
        return;
    line->waking = true;
    const struct view_pool *first = line->first->pool;
    wake(line, first);
    struct waiter *last = last_in(line);
    if (unlikely(last && last->pool != first))
        wake(line, last->pool);
    line->waking = false;
}

bool wait_line_stands_behind(const struct waiter *waiter, const struct view_pool *pool)
{
    const struct waiter *each = pool->line->first;
    while (each && each != waiter && each->pool != pool)
        each = each->next;
    return each && each != waiter;
}

/* Who goes ----------------------------------------------------------------------------------------------------- */

static unsigned busiest_client(const struct wait_line *line)
{
    unsigned most = 0;
    for (unsigned i = 1; i < LINE_CLIENTS; i++)
        if (line->of_client[i] > line->of_client[most])
            most = i;
    return most;
}

/* Makes room for this one at the cost of a client that has more waiting than its own has with it. False: it is the one to go. */
static bool shed_for(const struct waiter *waiter)
{
    struct wait_line *line = waiter->pool->line;
    unsigned client = busiest_client(line);
    struct waiter *newest = NULL;
    if (line->of_client[client] <= line->of_client[waiter->client] + 1u)
        return false;
    for (struct waiter *each = line->first; each; each = each->next)
        if (each->client == client && !each->kind->is_running(each))
            newest = each;
    if (!newest)
        return false;
    COUNT(line->worker, queue_sheds);
    newest->kind->shed(newest);
    return true;
}

/*
 * Who stood in the line before has his place again. He is the first then, and so is who holds one of limits.requests: those before him could
 * not go on anyway as long as he does.
 */
bool wait_line_join(struct waiter *waiter, struct view_pool *pool, struct slice client_address, bool first)
{
    struct wait_line *line = pool->line;
    _Atomic uint64_t *taken = &pool->record->waiting;
    uint32_t most = pool->config->queue_max;
    bool again = waiter->due_ms != 0;
    waiter->pool = pool;
    waiter->client = (uint8_t)(siphash13(client_address.at, client_address.length, line->seed, 0) % LINE_CLIENTS);
    if (!most || (!place_take(taken, again ? 0 : most) && !(shed_for(waiter) && place_take(taken, most))))
        return false;
    join(waiter, again || first ? &line->first : line->tail);
    return true;
}

/*
 * The line before a full pool: exchanges that wait for a place, first in, first out on each worker, with a deadline.
 *
 * queue.max holds for the process. When it is reached somebody must go, and that is not always the last to come: if one client
 * has more requests waiting here than the newcomer's has, the newest of that client's gives up its place. So one that sends without
 * measure crowds out itself and not the others. Clients are told apart by a hash of their address into LINE_CLIENTS counters: two may share
 * one, which costs them fairness between each other and nothing else.
 */
#include "engine/exchange.h"

_Static_assert(LINE_CLIENTS <= 256, "an exchange keeps its client's number in a byte");

static uint64_t total_due_ms(const struct exchange *x)
{
    uint32_t total_ms = x->pool->config->total_ms;
    return total_ms ? x->begun_ns / 1000000 + total_ms : TIMER_NEVER;
}

/* at: where in the line. The time that one may wait counts from the first time. */
static void join(struct exchange *x, struct exchange **at)
{
    struct wait_line *line = x->pool->line;
    x->waiting = true;
    x->next = *at;
    *at = x;
    if (line->tail == at)
        line->tail = &x->next;
    line->count++;
    line->of_client[x->line_client]++;
    counter_add(&x->worker->stats->queued, 1);
    x->line_due_ms = x->line_due_ms ? x->line_due_ms : x->worker->loop.now_ms + x->pool->config->queue_ms;
    timer_set(&x->worker->loop.wheel, &x->timer, u64_min(x->line_due_ms, total_due_ms(x)));
    wait_line_poll(line);
}

void exchange_leave_line(struct exchange *x)
{
    if (!x->waiting)
        return;
    struct wait_line *line = x->pool->line;
    struct exchange **at = &line->first;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    if (line->tail == &x->next)
        line->tail = at;
    line->count--;
    line->of_client[x->line_client]--;
    x->waiting = false;
    place_return(&x->pool->record->waiting);
    counter_sub(&x->worker->stats->queued, 1);
    timer_cancel(&x->worker->loop.wheel, &x->timer);
    if (x->pool->config->total_ms)
        timer_set(&x->worker->loop.wheel, &x->timer, total_due_ms(x));
}

static struct exchange *first_of(const struct wait_line *line, const struct view_pool *pool)
{
    struct exchange *x = line->first;
    while (x && x->pool != pool)
        x = x->next;
    return x;
}

/* Those of one view: as many as find a place. One that fails at once gives its place to the next in this loop, not in one call inside the
 * other. */
static void wake(struct wait_line *line, const struct view_pool *pool)
{
    struct exchange *x = first_of(line, pool);
    while (x) {
        exchange_run(x);
        struct exchange *next = first_of(line, pool);
        if (next == x)
            break; /* it goes on standing there */
        x = next;
    }
}

static struct exchange *last_in(const struct wait_line *line)
{
    return line->first ? CONTAINER_OF(line->tail, struct exchange, next) : NULL;
}

/* Who came before a reload may wait for servers that only the old configuration has: those who came after it, and so stand behind, are
 * woken by themselves. */
void exchange_wake_line(struct wait_line *line)
{
    if (line->waking || !line->first)
        return;
    line->waking = true;
    const struct view_pool *first = line->first->pool;
    wake(line, first);
    struct exchange *last = last_in(line);
    if (unlikely(last && last->pool != first))
        wake(line, last->pool);
    line->waking = false;
}

bool exchange_stands_behind(const struct exchange *x)
{
    const struct exchange *each = x->pool->line->first;
    while (each && each != x && each->pool != x->pool)
        each = each->next;
    return each && each != x;
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

/* Makes room for x at the cost of a client that has more waiting than x's has with it. False: x is the one to go. */
static bool shed_for(struct exchange *x)
{
    struct wait_line *line = x->pool->line;
    unsigned client = busiest_client(line);
    struct exchange *newest = NULL;
    if (line->of_client[client] <= line->of_client[x->line_client] + 1u)
        return false;
    for (struct exchange *each = line->first; each; each = each->next)
        if (each->line_client == client && !each->running)
            newest = each;
    if (!newest)
        return false;
    COUNT(x->worker, queue_sheds);
    exchange_answer(newest, 503, "queue_sheds", SLICE("The pool is full, and others have fewer requests waiting\n"));
    exchange_run_later(newest);
    return true;
}

static uint8_t client_number(const struct exchange *x)
{
    struct slice address = x->forwarding.client_address;
    return (uint8_t)(siphash13(address.at, address.length, x->pool->line->seed, 0) % LINE_CLIENTS);
}

/*
 * Who stood in the line before has his place again. He is the first then, and so is who holds one of limits.requests: those before him could
 * not go on anyway as long as he does.
 */
enum step_verdict exchange_wait_in_line(struct exchange *x)
{
    if (x->waiting)
        return STEP_WAIT;
    struct wait_line *line = x->pool->line;
    _Atomic uint64_t *waiting = &x->pool->record->waiting;
    uint32_t most = x->pool->config->queue_max;
    bool again = x->line_due_ms != 0;
    x->line_client = client_number(x);
    if (most && (place_take(waiting, again ? 0 : most) || (shed_for(x) && place_take(waiting, most)))) {
        join(x, again || x->placed ? &line->first : line->tail);
        return STEP_WAIT;
    }
    COUNT(x->worker, pool_full);
    return exchange_answer(x, 503, "pool_full", SLICE("The pool and its queue are full\n"));
}

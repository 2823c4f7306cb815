/* An exchange in the line before a full pool (wait_line.h). */
#include "engine/exchange.h"

static struct exchange *owner_of(const struct waiter *waiter)
{
    return CONTAINER_OF((struct waiter *)(uintptr_t)waiter, struct exchange, waiter);
}

static void run(struct waiter *waiter)
{
    exchange_run(owner_of(waiter));
}

static bool is_running(const struct waiter *waiter)
{
    return owner_of(waiter)->running;
}

static void shed(struct waiter *waiter)
{
    struct exchange *x = owner_of(waiter);
    exchange_answer(x, 503, "queue_sheds", SLICE("The pool is full, and others have fewer requests waiting\n"));
    exchange_run_later(x);
}

static const struct waiter_kind exchange_kind = { .run = run, .is_running = is_running, .shed = shed };

static uint64_t total_due_ms(const struct exchange *x)
{
    uint32_t total_ms = x->pool->config->total_ms;
    return total_ms ? x->begun_ns / 1000000 + total_ms : TIMER_NEVER;
}

void exchange_leave_line(struct exchange *x)
{
    if (!x->waiter.waiting)
        return;
    wait_line_leave(&x->waiter);
    timer_cancel(&x->worker->loop.wheel, &x->timer);
    if (x->pool->config->total_ms)
        timer_set(&x->worker->loop.wheel, &x->timer, total_due_ms(x));
}

enum step_verdict exchange_wait_in_line(struct exchange *x)
{
    if (x->waiter.waiting)
        return STEP_WAIT;
    x->waiter.kind = &exchange_kind;
    if (wait_line_join(&x->waiter, x->pool, x->forwarding.client_address, x->placed)) {
        timer_set(&x->worker->loop.wheel, &x->timer, u64_min(x->waiter.due_ms, total_due_ms(x)));
        return STEP_WAIT;
    }
    COUNT(x->worker, pool_full);
    return exchange_answer(x, 503, "pool_full", SLICE("The pool and its queue are full\n"));
}

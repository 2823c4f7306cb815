/*
 * Hedging: a second server beside a late first one, and the answer of whichever speaks first.
 *
 * Only for idempotent requests without content, once per exchange, paid from the pool's retry budget. The exchange goes on to stand in
 * AWAIT with `origin`; the second one is `hedge`. With the first byte of either the other is given up: its connection is closed, for HTTP/1.1
 * has no other way to take a request back, and nothing is said of its server's health. If the first fails before that, the second takes
 * its place; if the second fails, the first goes on.
 */
#include "engine/back.h"
#include "engine/exchange.h"

/* When ---------------------------------------------------------------------------------------------------------- */

static bool may_hedge(const struct exchange *x)
{
    return !x->hedged && !x->upgrading && x->first_byte_ns == 0 && x->attempts <= x->pool->config->retries && x->request.framing == FRAMING_NONE &&
           method_is_idempotent(x->request.method);
}

uint64_t exchange_hedge_plan(struct exchange *x)
{
    const struct config_hedge *config = &x->pool->config->hedge;
    x->hedge_due_ms = 0;
    if (!may_hedge(x))
        return TIMER_NEVER;
    uint64_t late_us = hedge_late_us(&x->pool->share->hedge, config->percentile);
    if (late_us == HEDGE_UNKNOWN)
        return TIMER_NEVER;
    x->hedge_due_ms = x->worker->loop.now_ms + u64_max(config->after_ms, (late_us + 999) / 1000);
    return x->hedge_due_ms;
}

/* Life --------------------------------------------------------------------------------------------------------- */

static void end(struct exchange *x, enum server_outcome outcome)
{
    struct hedge ended = x->hedge;
    x->hedge = (struct hedge){ 0 };
    if (outcome != SERVER_UNTOLD)
        exchange_mark_tried(x, ended.member);
    back_close(ended.origin);
    exchange_member_done(x, ended.member, outcome);
}

void exchange_hedge_drop(struct exchange *x)
{
    if (unlikely(x->hedge.origin != NULL))
        end(x, SERVER_UNTOLD);
}

/* The request goes out on the second connection. */
static void send_request(struct exchange *x)
{
    struct hedge *hedge = &x->hedge;
    bool overflow;
    if (!exchange_write_request(x, hedge->origin, hedge->member, &overflow)) {
        end(x, SERVER_UNTOLD);
        return;
    }
    hedge->forwarded = true;
    hedge->forwarded_ns = x->worker->loop.now_ns;
    hedge->forwarded_turn = x->worker->loop.turns;
    conn_deadline(hedge->origin, x->worker->loop.now_ms + x->pool->config->first_byte_ms);
}

/* The two change places. */
static void swap(struct exchange *x)
{
    struct hedge first = { x->origin, x->member, x->forwarded_ns, x->forwarded_turn, true };
    x->origin = x->hedge.origin;
    x->member = x->hedge.member;
    x->forwarded_ns = x->hedge.forwarded_ns;
    x->forwarded_turn = x->hedge.forwarded_turn;
    x->forwarding.server = x->member->server->name;
    x->hedge = first;
}

/* Not the first's again; that one has not failed, so it is not tried for good. */
static enum pick_verdict pick_second(struct exchange *x, struct member **member)
{
    unsigned tried_before = x->pick.tried_count;
    exchange_mark_tried(x, x->member);
    x->pick.random = loop_random(&x->worker->loop);
    enum pick_verdict verdict = upstream_pick(&x->pool->upstream, &x->pick, member);
    x->pick.tried_count = tried_before;
    return verdict;
}

/* What is left of the time that the request went out with. */
static void await_first(struct exchange *x)
{
    conn_deadline(x->origin, u64_min(x->forwarded_ns / 1000000 + x->pool->config->first_byte_ms, exchange_try_due_ms(x)));
}

void exchange_hedge_begin(struct exchange *x)
{
    struct worker *worker = x->worker;
    struct hedge *hedge = &x->hedge;
    x->hedge_due_ms = 0;
    x->hedged = true;
    if (!exchange_another_is_usable(x) || !exchange_pay_attempt(x)) {
        await_first(x);
        return;
    }
    struct member *member = NULL;
    enum pick_verdict verdict = pick_second(x, &member);
    struct conn *conn = verdict == PICK_OK ? back_take(member->server->owner, x->client, false) : NULL;
    if (conn)
        counter_add(&member->server->counters->reused, 1);
    else if (verdict == PICK_OK)
        conn = back_connect(member->server->owner, x->client, x->view->config);
    if (conn) {
        x->attempts++;
        COUNT(worker, hedges);
        counter_add(&member->server->counters->hedges, 1);
        conn->exchange = x;
        *hedge = (struct hedge){ .origin = conn, .member = member };
        if (conn_is_ready(conn))
            send_request(x);
        else
            conn_deadline(conn, worker->loop.now_ms + x->pool->config->connect_ms);
    } else if (pick_has_lease(verdict))
        exchange_member_done(x, member, SERVER_UNTOLD);
    await_first(x);
}

void exchange_hedge_look(struct exchange *x)
{
    struct hedge *hedge = &x->hedge;
    if (!queue_empty(&x->origin->in))
        exchange_hedge_drop(x);
    else if (!queue_empty(&hedge->origin->in) && hedge->forwarded) {
        if (unlikely(exchange_came_unasked(x, hedge->origin, hedge->forwarded_turn))) {
            end(x, SERVER_UNTOLD);
            return;
        }
        COUNT(x->worker, hedges_won);
        swap(x);
        exchange_hedge_drop(x);
    } else if (hedge->origin->ended)
        end(x, hedge->origin->origin.reused ? SERVER_UNTOLD : SERVER_CLOSED);
    else if (!hedge->forwarded && conn_is_ready(hedge->origin))
        send_request(x);
}

enum step_verdict exchange_hedge_takes_over(struct exchange *x)
{
    bool forwarded = x->hedge.forwarded;
    swap(x);
    x->hedge = (struct hedge){ 0 };
    x->leased = true;
    x->attempt_ms = x->worker->loop.now_ms;
    if (forwarded)
        await_first(x);
    return exchange_go(x, forwarded ? STEP_AWAIT : STEP_ATTACH);
}

/* Events of connections, which know their exchange but not which of its two they are ------------------------------ */

static bool is_hedge(const struct conn *conn)
{
    return unlikely(conn->exchange->hedge.origin == conn);
}

void exchange_conn_failed(struct conn *conn, enum server_outcome outcome, int os_error)
{
    struct exchange *x = conn->exchange;
    if (is_hedge(conn))
        end(x, conn->origin.reused && outcome == SERVER_CLOSED ? SERVER_UNTOLD : outcome);
    else
        exchange_origin_failed(x, outcome, os_error);
    exchange_run(x);
}

void exchange_conn_timeout(struct conn *conn)
{
    struct exchange *x = conn->exchange;
    if (is_hedge(conn))
        end(x, conn_is_ready(conn) ? SERVER_TIMEOUT : SERVER_CONNECT);
    else
        exchange_origin_timeout(x);
}

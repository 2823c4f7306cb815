/*
 * SELECT, ATTACH and FORWARD: finding a server, a connection to it, and sending the request there. What happens when that fails stands in
 * exchange_failure.c.
 */
#include <errno.h>

#include "engine/attempt.h"
#include "engine/back.h"
#include "engine/borrow.h"
#include "engine/content.h"
#include "engine/exchange.h"
#include "engine/forward.h"
#include "engine/hash_key.h"
#include "engine/sticky.h"

/* SELECT ------------------------------------------------------------------------------------------------------- */

static enum step_verdict none_to_pick(struct exchange *x, enum pick_verdict verdict)
{
    if (verdict == PICK_FULL)
        return exchange_wait_in_line(x);
    exchange_leave_line(x);
    if (x->failure != SERVER_OK)
        return exchange_give_up(x, x->failure); /* what happened says more than that nobody is left */
    COUNT(x->worker, pool_down);
    log_line(LOG_WARN, "pool \"%.*s\": %s", (int)x->pool->upstream.name.length, x->pool->upstream.name.at, pick_text(verdict));
    return exchange_answer(x, 503, "pool_down", SLICE("No server of the pool is available\n"));
}

/* Requests without a key are spread. */
static uint64_t hash_of(struct exchange *x)
{
    const struct config_pool *pool = x->pool->config;
    uint64_t hash;
    if (!hash_key_hash(pool, &x->request, x->forwarding.client_address, &hash) && pool->balance == BALANCE_CONSISTENT_HASH)
        hash = loop_random(&x->worker->loop);
    return hash;
}

/* What does not change from one attempt to the next. */
static void begin_selecting(struct exchange *x)
{
    x->selecting = true;
    x->pick.hash = hash_of(x);
    budget_request(&x->pool->share->budget, x->worker->loop.now_ms);
    if (unlikely(x->pool->config->sticky.cookie.length))
        x->pick.sticky = sticky_read(x->pool->config, &x->request);
}

/* One of the pool's limits.requests, kept until the exchange has done with the pool. */
static bool request_is_placed(struct exchange *x)
{
    uint32_t most = x->pool->config->breakers.requests_max;
    if (likely(most == 0) || x->placed)
        return true;
    x->placed = place_take(&x->pool->record->requests, most);
    return x->placed;
}

void exchange_release_places(struct exchange *x)
{
    if (likely(!x->placed && !x->retrying))
        return;
    if (x->retrying)
        place_return(&x->pool->record->retrying);
    if (x->placed)
        place_return(&x->pool->record->requests);
    x->placed = x->retrying = false;
    wait_line_wake(x->pool->line);
}

enum step_verdict exchange_select(struct exchange *x)
{
    if (unlikely(x->pool->forward))
        return exchange_destine(x);
    if (likely(!x->selecting))
        begin_selecting(x);
    struct wait_line *line = x->pool->line;
    if (unlikely(line->first && line->first != &x->waiter && !x->placed && wait_line_stands_behind(&x->waiter, x->pool)))
        return exchange_wait_in_line(x); /* who came first is served first */
    if (unlikely(!request_is_placed(x)))
        return exchange_wait_in_line(x);
    enum pick_verdict verdict = attempt_pick(x->pool, &x->pick, &x->member);
    if (unlikely(!pick_has_lease(verdict)))
        return none_to_pick(x, verdict);
    exchange_leave_line(x);
    x->leased = true;
    x->attempt_ms = x->worker->loop.now_ms;
    return exchange_go(x, STEP_ATTACH);
}

void exchange_release_member(struct exchange *x, enum server_outcome outcome)
{
    if (!x->leased)
        return;
    x->leased = false;
    if (unlikely(x->borrow != NULL))
        borrow_forget(x);
    exchange_member_done(x, x->member, outcome);
}

void exchange_member_done(struct exchange *x, struct member *member, enum server_outcome outcome)
{
    attempt_done(x->pool, member, outcome);
    if (unlikely(x->pool->forward))
        destination_return(member);
}

/* ATTACH ------------------------------------------------------------------------------------------------------- */

static struct origin *origin_of(const struct exchange *x)
{
    return x->member->server->owner;
}

/* Back to the line: a connection that is closed makes a place, or one that is kept is free again. */
static enum step_verdict wait_for_connection(struct exchange *x)
{
    x->attempts--;
    exchange_release_member(x, SERVER_UNTOLD);
    exchange_go(x, STEP_SELECT);
    return exchange_wait_in_line(x);
}

/* asked: another worker has been, in this attempt. */
static enum step_verdict connect_to(struct exchange *x, bool asked)
{
    x->origin = back_connect(origin_of(x), x->client, x->view->config);
    if (!x->origin && errno == EUSERS && back_make_room(x->pool))
        x->origin = back_connect(origin_of(x), x->client, x->view->config);
    if (!x->origin) {
        if (errno == EUSERS)
            return !asked && borrow_room(x, origin_of(x)) ? STEP_WAIT : wait_for_connection(x);
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            COUNT(x->worker, no_memory);
            return exchange_answer(x, 503, "no_memory", SLICE("The proxy is short of descriptors or memory\n"));
        }
        return exchange_origin_failed(x, SERVER_CONNECT, errno);
    }
    x->origin->exchange = x;
    conn_deadline(x->origin, u64_min(x->worker->loop.now_ms + x->pool->config->connect_ms, exchange_try_due_ms(x)));
    return STEP_WAIT;
}

enum step_verdict exchange_attach(struct exchange *x)
{
    if (x->origin)
        return conn_is_ready(x->origin) ? exchange_go(x, STEP_FORWARD) : STEP_WAIT;
    if (unlikely(x->borrow != NULL))
        return STEP_WAIT; /* the answer or its time runs this again */
    bool asked = x->borrow_asked;
    x->borrow_asked = false;
    if (likely(!asked))
        x->attempts++;
    x->origin = x->fresh_only ? NULL : back_take(origin_of(x), x->client, !method_is_idempotent(x->request.method));
    if (unlikely(!x->origin))
        return !asked && !x->fresh_only && borrow_ask(x, origin_of(x)) ? STEP_WAIT : connect_to(x, asked);
    x->origin->exchange = x;
    counter_add(&x->member->server->counters->reused, 1);
    return exchange_go(x, STEP_FORWARD);
}

/* FORWARD ------------------------------------------------------------------------------------------------------ */

/* With what is to be added it does not fit into a block. */
static enum step_verdict head_is_too_large(struct exchange *x)
{
    counter_add(&x->worker->stats->faults[FAULT_HEAD_LARGE], 1);
    return exchange_answer(x, codec_fault_status(FAULT_HEAD_LARGE), codec_fault_word(FAULT_HEAD_LARGE),
                           SLICE("The request's head has no room for what is to be added\n"));
}

bool exchange_write_request(struct exchange *x, struct conn *origin, struct member *member, bool *overflow)
{
    struct h1_writer w;
    struct conn_room room;
    struct slice server_before = x->forwarding.server;
    uint32_t need = (uint32_t)size_min(BLOCK_BYTES, x->request.head_bytes + 1024u);
    if (unlikely(!conn_write_begin(origin, need, &w, &room)))
        return false;
    x->forwarding.server = member->server->name;
    h1_write_request(&w, &x->request, &x->forwarding);
    x->forwarding.server = server_before;
    if (unlikely(!conn_write_end(origin, &w, &room))) {
        *overflow = w.overflow;
        return false;
    }
    counter_add(&member->server->counters->requests, 1);
    conn_flush(origin);
    return true;
}

enum step_verdict exchange_forward(struct exchange *x)
{
    bool overflow = false;
    if (unlikely(x->request.method == METHOD_CONNECT))
        return exchange_connect(x);
    x->forwarding.server = x->member->server->name;
    if (unlikely(!exchange_write_request(x, x->origin, x->member, &overflow)))
        return overflow ? head_is_too_large(x) : exchange_short_of_memory(x);
    x->forwarded_ns = x->worker->loop.now_ns;
    x->forwarded_turn = x->worker->loop.turns;
    exchange_await_answer(x);
    return exchange_go(x, STEP_AWAIT);
}

void exchange_release_origin(struct exchange *x, bool keep)
{
    struct conn *origin = x->origin;
    exchange_drop_splices(x);
    keep = keep && likely(!origin->receive_due || exchange_nothing_follows(origin));
    x->origin = NULL;
    if (unlikely(x->forward != NULL) && x->forward->alone)
        keep = false;
    if (keep && origin->state == CONN_OPEN && queue_empty(&origin->in) && !origin->ended && !origin->held && !conn_unsent(origin))
        back_keep(origin);
    else if (unlikely(x->upgrading) && !x->response_done)
        back_reset(origin); /* it may have agreed by now, and an end would be an orderly one in what it speaks then */
    else
        back_close(origin);
}

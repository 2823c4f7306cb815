/*
 * SELECT, ATTACH and FORWARD: finding a server, a connection to it, and sending the request there; and what happens when that fails.
 *
 * A retry is safe when the origin cannot have acted on the request: no connection was made; or the method is idempotent
 * (RFC 9110 9.2.2), none of the request's content was sent, and the connection closed before any byte of a response. A
 * kept connection that turns out stale says nothing of its server: a server is picked again, that one too, and asked on a new connection.
 */
#include <errno.h>
#include <stdio.h>

#include "engine/back.h"
#include "engine/content.h"
#include "engine/exchange.h"
#include "engine/hash_key.h"
#include "engine/splice.h"

/* The line before a full pool ---------------------------------------------------------------------------------- */

static uint64_t total_due_ms(const struct exchange *x)
{
    uint32_t total_ms = x->pool->config->total_ms;
    return total_ms ? x->begun_ns / 1000000 + total_ms : TIMER_NEVER;
}

static void join_line(struct exchange *x)
{
    struct wait_line *line = x->pool->line;
    x->waiting = true;
    x->next = NULL;
    *line->tail = x;
    line->tail = &x->next;
    line->count++;
    counter_add(&x->worker->stats->queued, 1);
    timer_set(&x->worker->loop.wheel, &x->timer, u64_min(x->worker->loop.now_ms + x->pool->config->queue_ms, total_due_ms(x)));
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
    x->waiting = false;
    atomic_fetch_sub_explicit(&x->pool->record->waiting, 1, memory_order_relaxed);
    counter_sub(&x->worker->stats->queued, 1);
    timer_cancel(&x->worker->loop.wheel, &x->timer);
    if (x->pool->config->total_ms)
        timer_set(&x->worker->loop.wheel, &x->timer, total_due_ms(x));
}

/* As many as find a place; the first that does not goes on standing there. One that fails at once gives its place to the next in this
 * loop, not in one call inside the other. */
void exchange_wake_line(struct wait_line *line)
{
    if (line->waking)
        return;
    line->waking = true;
    for (struct exchange *x = line->first; x; x = line->first) {
        exchange_run(x);
        if (line->first == x)
            break;
    }
    line->waking = false;
}

static enum step_verdict wait_in_line(struct exchange *x)
{
    if (x->waiting)
        return STEP_WAIT;
    uint32_t before = atomic_fetch_add_explicit(&x->pool->record->waiting, 1, memory_order_relaxed);
    if (before < x->pool->config->queue_max) {
        join_line(x);
        wait_line_poll(x->pool->line);
        return STEP_WAIT;
    }
    atomic_fetch_sub_explicit(&x->pool->record->waiting, 1, memory_order_relaxed);
    COUNT(x->worker, pool_full);
    return exchange_answer(x, 503, "pool_full", SLICE("The pool and its queue are full\n"));
}

/* Answers for failures ----------------------------------------------------------------------------------------- */

struct failure {
    enum server_outcome outcome;
    unsigned status;
    const char *why; /* the counter's row */
    struct slice text;
};

static const struct failure failures[] = {
    { SERVER_CONNECT, 502, "origin_connect", { "No connection to the origin could be made\n", 42 } },
    { SERVER_CLOSED, 502, "origin_closed", { "The origin closed before its response\n", 38 } },
    { SERVER_BAD, 502, "origin_malformed", { "The origin's response was malformed\n", 36 } },
    { SERVER_TIMEOUT, 504, "origin_timeout", { "The origin took too long\n", 25 } },
};

static const struct failure *failure_of(enum server_outcome outcome)
{
    for (size_t i = 0; i < ARRAY_LENGTH(failures); i++)
        if (failures[i].outcome == outcome)
            return &failures[i];
    return &failures[1];
}

static void count_failure(struct exchange *x, enum server_outcome outcome)
{
    struct worker_stats *stats = x->worker->stats;
    switch (outcome) {
    case SERVER_CONNECT: counter_add(&stats->origin_connect, 1); break;
    case SERVER_BAD: counter_add(&stats->origin_malformed, 1); break;
    case SERVER_TIMEOUT: counter_add(&stats->origin_timeout, 1); break;
    default: counter_add(&stats->origin_closed, 1); break;
    }
}

/* No further attempt: the client is told, or cut off when it has part of a response already. */
static enum step_verdict give_up(struct exchange *x, enum server_outcome outcome)
{
    const struct failure *failure = failure_of(outcome);
    count_failure(x, outcome);
    if (x->response_begun) {
        COUNT(x->worker, response_cuts);
        return exchange_abort(x, failure->why, true);
    }
    return exchange_answer(x, failure->status, failure->why, failure->text);
}

/* SELECT ------------------------------------------------------------------------------------------------------- */

static enum step_verdict none_to_pick(struct exchange *x, enum pick_verdict verdict)
{
    if (verdict == PICK_FULL)
        return wait_in_line(x);
    exchange_leave_line(x);
    if (x->failure != SERVER_OK)
        return give_up(x, x->failure); /* what happened says more than that nobody is left */
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

enum step_verdict exchange_select(struct exchange *x)
{
    if (x->attempts == 0 && !x->waiting)
        x->pick.hash = hash_of(x);
    else if (!x->waiting)
        COUNT(x->worker, retries);
    x->pick.random = loop_random(&x->worker->loop);
    x->pick.now_ms = x->worker->loop.now_ms;
    struct wait_line *line = x->pool->line;
    if (unlikely(line->first && line->first != x))
        return wait_in_line(x); /* who came first is served first */
    uint32_t waiting = atomic_load_explicit(&x->pool->record->waiting, memory_order_relaxed);
    x->pick.others_wait = waiting > line->count;
    enum pick_verdict verdict = upstream_pick(&x->pool->upstream, &x->pick, &x->member);
    if (unlikely(verdict != PICK_OK && verdict != PICK_LAST_RESORT))
        return none_to_pick(x, verdict);
    exchange_leave_line(x);
    x->leased = true;
    return exchange_go(x, STEP_ATTACH);
}

void exchange_release_member(struct exchange *x, enum server_outcome outcome)
{
    if (!x->leased)
        return;
    x->leased = false;
    struct loop *loop = &x->worker->loop;
    if (unlikely(upstream_done(&x->pool->upstream, x->member, outcome, loop->now_ms, loop_random(loop)))) {
        struct slice name = x->member->server->name;
        log_line(LOG_WARN, "server \"%.*s\" is marked as dead: %s", (int)name.length, name.at, server_outcome_word(outcome));
    }
    if (unlikely(x->pool->line->first != NULL))
        exchange_wake_line(x->pool->line);
}

/* ATTACH ------------------------------------------------------------------------------------------------------- */

static struct origin *origin_of(const struct exchange *x)
{
    return x->member->server->owner;
}

static enum step_verdict connect_to(struct exchange *x)
{
    x->origin = back_connect(origin_of(x), x->view->config);
    if (!x->origin) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            COUNT(x->worker, no_memory);
            return exchange_answer(x, 503, "no_memory", SLICE("The proxy is short of descriptors or memory\n"));
        }
        return exchange_origin_failed(x, SERVER_CONNECT, errno);
    }
    x->origin->exchange = x;
    conn_deadline(x->origin, x->worker->loop.now_ms + x->pool->config->connect_ms);
    return STEP_WAIT;
}

enum step_verdict exchange_attach(struct exchange *x)
{
    if (x->origin)
        return conn_is_ready(x->origin) ? exchange_go(x, STEP_FORWARD) : STEP_WAIT;
    x->attempts++;
    x->origin = x->fresh_only ? NULL : back_take(origin_of(x));
    if (unlikely(!x->origin))
        return connect_to(x);
    x->origin->exchange = x;
    counter_add(&x->member->server->counters->reused, 1);
    return exchange_go(x, STEP_FORWARD);
}

/* FORWARD ------------------------------------------------------------------------------------------------------ */

static enum step_verdict short_of_memory(struct exchange *x)
{
    COUNT(x->worker, no_memory);
    return exchange_answer(x, 503, "no_memory", SLICE("The proxy is short of memory\n"));
}

/* With what is to be added it does not fit into a block. */
static enum step_verdict head_is_too_large(struct exchange *x)
{
    counter_add(&x->worker->stats->faults[FAULT_HEAD_LARGE], 1);
    return exchange_answer(x, codec_fault_status(FAULT_HEAD_LARGE), codec_fault_word(FAULT_HEAD_LARGE),
                           SLICE("The request's head has no room for what is to be added\n"));
}

enum step_verdict exchange_forward(struct exchange *x)
{
    struct h1_writer w;
    struct conn_room room;
    uint32_t need = (uint32_t)size_min(BLOCK_BYTES, x->request.head_bytes + 1024u);
    x->forwarding.server = x->member->server->name;
    if (unlikely(!conn_write_begin(x->origin, need, &w, &room)))
        return short_of_memory(x);
    h1_write_request(&w, &x->request, &x->forwarding);
    if (unlikely(!conn_write_end(x->origin, &w, &room)))
        return w.overflow ? head_is_too_large(x) : short_of_memory(x);
    counter_add(&x->member->server->counters->requests, 1);
    x->forwarded_ns = x->worker->loop.now_ns;
    x->forwarded_turn = x->worker->loop.turns;
    conn_flush(x->origin);
    conn_deadline(x->origin, x->worker->loop.now_ms + x->pool->config->first_byte_ms);
    return exchange_go(x, STEP_AWAIT);
}

void exchange_release_origin(struct exchange *x, bool keep)
{
    struct conn *origin = x->origin;
    x->origin = NULL;
    if (keep && origin->state == CONN_OPEN && queue_empty(&origin->in) && !origin->ended && !origin->held && !conn_unsent(origin))
        back_keep(origin);
    else
        back_close(origin);
}

/* Failing ------------------------------------------------------------------------------------------------------ */

/* Content, or the last chunk of none: it has left the client's queue, so another origin would wait for it for ever. */
static bool content_is_gone(const struct exchange *x)
{
    return x->request_content > 0 || (x->request_done && x->request.framing == FRAMING_CHUNKED);
}

static bool retry_is_safe(const struct exchange *x, enum server_outcome outcome)
{
    if (x->attempts > x->pool->config->retries || x->response_begun || content_is_gone(x))
        return false;
    if (outcome == SERVER_CONNECT)
        return true;
    return outcome == SERVER_CLOSED && x->first_byte_ns == 0 && method_is_idempotent(x->request.method);
}

static void log_failure(struct exchange *x, enum server_outcome outcome, int os_error)
{
    struct slice name = x->member->server->name;
    char target[128];
    log_line(LOG_WARN, "server \"%.*s\": %s%s%s, attempt %u of %u, target \"%s\"", (int)name.length, name.at,
             server_outcome_word(outcome), os_error ? ": " : "", os_error ? strerror(os_error) : "", x->attempts,
             x->pool->config->retries + 1, log_quote(x->request.target, target, sizeof target));
}

static void close_origin(struct exchange *x)
{
    if (x->origin)
        exchange_release_origin(x, false);
}

static enum step_verdict retry(struct exchange *x, bool stale)
{
    x->fresh_only = stale;
    x->response_progress = (struct h1_progress){ 0 };
    if (!stale) {
        counter_add(&x->member->server->counters->retries, 1);
        if (x->pick.tried_count < UPSTREAM_TRIES_MAX)
            x->pick.tried[x->pick.tried_count++] = x->member->server;
    } else
        x->attempts--; /* nobody was asked */
    return exchange_go(x, STEP_SELECT);
}

enum step_verdict exchange_origin_failed(struct exchange *x, enum server_outcome outcome, int os_error)
{
    MUST(x->leased);
    bool stale = outcome == SERVER_CLOSED && x->origin && x->origin->origin.reused && x->first_byte_ns == 0;
    bool safe = retry_is_safe(x, outcome);
    if (!stale) {
        x->failure = (uint8_t)outcome;
        log_failure(x, outcome, os_error);
    }
    close_origin(x);
    exchange_release_member(x, stale ? SERVER_UNTOLD : outcome);
    if (safe)
        return retry(x, stale);
    return give_up(x, outcome);
}

void exchange_origin_timeout(struct exchange *x)
{
    uint64_t now_ms = x->worker->loop.now_ms;
    bool client_is_slow = conn_unsent(x->client) || splice_waits_for_client(x) || (!x->request_done && queue_empty(&x->client->in));
    if (conn_is_ready(x->origin) && (client_is_slow || exchange_origin_takes(x))) {
        conn_deadline(x->origin, now_ms + x->pool->config->between_ms);
        return;
    }
    bool connecting = !conn_is_ready(x->origin);
    exchange_origin_failed(x, connecting ? SERVER_CONNECT : SERVER_TIMEOUT, connecting ? ETIMEDOUT : 0);
    exchange_run(x);
}

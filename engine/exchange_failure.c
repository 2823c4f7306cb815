/*
 * When a server fails: whether another is asked, and what the client is told if none is.
 *
 * Asking again is safe when the origin cannot have acted on the request: no connection was made; or the method is idempotent
 * (RFC 9110 9.2.2) and nothing of a response has reached the client. It must also be possible: content that has left the client's queue
 * is gone. Within that the pool's retry.causes say what is worth another attempt, and its budget and limits.retries how many there may be.
 * A kept connection that turns out stale says nothing of its server and costs nothing of all this: a server is picked again, that one
 * too, and asked on a new connection.
 *
 * Two failures are only failures if somebody else can do better: an answer with one of the statuses among the causes, and an attempt that
 * has used up per-try. Both look for another server and pay for the attempt first, and go on as they are if they cannot.
 */
#include <errno.h>
#include <stdio.h>

#include "engine/attempt.h"
#include "engine/back.h"
#include "engine/exchange.h"
#include "engine/splice.h"

/* Answers ------------------------------------------------------------------------------------------------------ */

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

enum step_verdict exchange_give_up(struct exchange *x, enum server_outcome outcome)
{
    const struct failure *failure = failure_of(outcome);
    count_failure(x, outcome);
    if (x->response_begun) {
        COUNT(x->worker, response_cuts);
        return exchange_abort(x, failure->why, true);
    }
    return exchange_answer(x, failure->status, failure->why, failure->text);
}

/* May another be asked? ---------------------------------------------------------------------------------------- */

/* Content, or the last chunk of none: it has left the client's queue, so another origin would wait for it for ever. */
static bool content_is_gone(const struct exchange *x)
{
    return x->request_content > 0 || splice_has_taken(x->request_splice) ||
           (x->request_done && x->request.framing == FRAMING_CHUNKED);
}

/* cause: enum server_outcome, or a status. */
static bool retry_is_safe(const struct exchange *x, unsigned cause)
{
    if (x->attempts > x->pool->config->retries || x->response_begun || content_is_gone(x) || !attempt_is_cause(x->pool->config, cause))
        return false;
    if (cause == SERVER_CONNECT)
        return true;
    if ((cause == SERVER_CLOSED || cause == SERVER_TIMEOUT) && x->first_byte_ns)
        return false;
    return method_is_idempotent(x->request.method);
}

/* One that slow start holds back is: if there are no others it is picked. */
bool exchange_another_is_usable(struct exchange *x)
{
    struct upstream *upstream = &x->pool->upstream;
    bool found = false;
    x->pick.now_ms = x->worker->loop.now_ms;
    upstream->full_speed = true;
    for (uint32_t i = 0; i < upstream->count && !found; i++)
        found = upstream->members[i].server != x->member->server && upstream_usable(upstream, &upstream->members[i], &x->pick);
    upstream->full_speed = false;
    return found;
}

bool exchange_pay_attempt(struct exchange *x)
{
    return attempt_pay(x->pool, &x->retrying);
}

void exchange_mark_tried(struct exchange *x, const struct member *member)
{
    attempt_mark_tried(&x->pick, member);
}

/* Failing ------------------------------------------------------------------------------------------------------ */

static void log_failure(struct exchange *x, enum server_outcome outcome, int os_error)
{
    struct slice name = x->member->server->name;
    char target[128];
    log_line(x->pool->forward ? LOG_INFO : LOG_WARN, "server \"%.*s\": %s%s%s, attempt %u of %u, target \"%s\"", (int)name.length, name.at,
             server_outcome_word(outcome), os_error ? ": " : "", os_error ? strerror(os_error) : "", x->attempts,
             x->pool->config->retries + 1, log_quote(x->request.target, target, sizeof target));
}

static void let_go(struct exchange *x, enum server_outcome outcome)
{
    if (x->origin)
        exchange_release_origin(x, false);
    exchange_release_member(x, outcome);
}

/* What the attempt left behind. */
static void begin_anew(struct exchange *x)
{
    x->response_progress = (struct h1_progress){ 0 };
    x->first_byte_ns = 0;
    x->hedge_due_ms = 0;
    x->continued = x->last_try = false;
}

static enum step_verdict ask_another(struct exchange *x, enum server_outcome outcome)
{
    COUNT(x->worker, retries);
    counter_add(&x->member->server->counters->retries, 1);
    exchange_mark_tried(x, x->member);
    x->fresh_only = false;
    let_go(x, outcome);
    begin_anew(x);
    return exchange_go(x, STEP_SELECT);
}

/* It is sent again to whoever is picked, and nobody counts it: no server has seen it. */
static enum step_verdict ask_afresh(struct exchange *x)
{
    x->attempts--;
    x->fresh_only = true;
    let_go(x, SERVER_UNTOLD);
    begin_anew(x);
    return exchange_go(x, STEP_SELECT);
}

static bool is_stale(const struct exchange *x, enum server_outcome outcome)
{
    return outcome == SERVER_CLOSED && x->origin && x->origin->origin.reused && x->first_byte_ns == 0;
}

enum step_verdict exchange_origin_failed(struct exchange *x, enum server_outcome outcome, int os_error)
{
    MUST(x->leased);
    bool stale = is_stale(x, outcome);
    if (stale && !x->response_begun && !content_is_gone(x) && method_is_idempotent(x->request.method) && !x->hedge.origin)
        return ask_afresh(x);
    if (!stale) {
        x->failure = (uint8_t)outcome;
        log_failure(x, outcome, os_error);
    }
    if (unlikely(x->hedge.origin != NULL)) {
        if (!stale)
            exchange_mark_tried(x, x->member);
        let_go(x, stale ? SERVER_UNTOLD : outcome);
        begin_anew(x);
        return exchange_hedge_takes_over(x);
    }
    if (retry_is_safe(x, outcome) && exchange_pay_attempt(x))
        return ask_another(x, stale ? SERVER_UNTOLD : outcome);
    let_go(x, stale ? SERVER_UNTOLD : outcome);
    return exchange_give_up(x, outcome);
}

void exchange_out_of_time(struct exchange *x)
{
    x->failure = SERVER_TIMEOUT;
    log_failure(x, SERVER_TIMEOUT, 0);
    exchange_hedge_drop(x);
    let_go(x, SERVER_TIMEOUT);
    exchange_give_up(x, SERVER_TIMEOUT);
}

bool exchange_retries_status(struct exchange *x, unsigned status)
{
    if (!retry_is_safe(x, status) || !exchange_another_is_usable(x) || !exchange_pay_attempt(x))
        return false;
    ask_another(x, exchange_status_outcome(x, status));
    return true;
}

enum server_outcome exchange_status_outcome(const struct exchange *x, unsigned status)
{
    const struct health_limits *health = &x->pool->config->health;
    return unlikely(health->status_first && status >= health->status_first && status <= health->status_last) ? SERVER_STATUS : SERVER_OK;
}

/* Deadlines ---------------------------------------------------------------------------------------------------- */

uint64_t exchange_try_due_ms(const struct exchange *x)
{
    uint32_t per_try_ms = x->pool->config->retry.per_try_ms;
    return likely(per_try_ms == 0) || x->last_try || !x->request_done || x->first_byte_ns ? TIMER_NEVER : x->attempt_ms + per_try_ms;
}

void exchange_await_answer(struct exchange *x)
{
    uint64_t due_ms = x->worker->loop.now_ms + x->pool->config->first_byte_ms;
    if (unlikely(x->pool->config->hedge.percentile))
        due_ms = u64_min(due_ms, exchange_hedge_plan(x));
    conn_deadline(x->origin, u64_min(due_ms, exchange_try_due_ms(x)));
}

void exchange_first_byte(struct exchange *x)
{
    const struct config_pool *pool = x->pool->config;
    x->first_byte_ns = x->worker->loop.now_ns;
    if (likely(pool->retry.per_try_ms == 0 && pool->hedge.percentile == 0))
        return;
    x->hedge_due_ms = 0;
    conn_deadline(x->origin, x->worker->loop.now_ms + pool->first_byte_ms);
}

/* This attempt has had its time: another is made if it can be, else it gets all the time that there is. */
static void try_is_over(struct exchange *x)
{
    bool connecting = !conn_is_ready(x->origin);
    enum server_outcome outcome = connecting ? SERVER_CONNECT : SERVER_TIMEOUT;
    if (x->hedge.origin) {
        exchange_origin_failed(x, outcome, ETIMEDOUT);
        exchange_run(x);
        return;
    }
    if (retry_is_safe(x, SERVER_TIMEOUT) && exchange_another_is_usable(x) && exchange_pay_attempt(x)) {
        x->failure = (uint8_t)outcome;
        log_failure(x, outcome, ETIMEDOUT);
        ask_another(x, outcome);
        exchange_run(x);
        return;
    }
    x->last_try = true;
    if (connecting)
        conn_deadline(x->origin, u64_max(x->attempt_ms + x->pool->config->connect_ms, x->worker->loop.now_ms));
    else
        exchange_await_answer(x);
}

void exchange_origin_timeout(struct exchange *x)
{
    uint64_t now_ms = x->worker->loop.now_ms;
    if (unlikely(x->hedge_due_ms && now_ms >= x->hedge_due_ms)) {
        exchange_hedge_begin(x);
        return;
    }
    if (unlikely(x->first_byte_ns == 0 && now_ms >= exchange_try_due_ms(x))) {
        try_is_over(x);
        return;
    }
    bool content_is_late = !x->request_done && queue_empty(&x->client->in) && !splice_waits_for_sink(x->request_splice);
    bool client_is_slow = conn_unsent(x->client) || splice_waits_for_sink(x->response_splice) || content_is_late;
    if (conn_is_ready(x->origin) && (client_is_slow || exchange_origin_takes(x))) {
        conn_deadline(x->origin, now_ms + x->pool->config->between_ms);
        return;
    }
    bool connecting = !conn_is_ready(x->origin);
    exchange_origin_failed(x, connecting ? SERVER_CONNECT : SERVER_TIMEOUT, connecting ? ETIMEDOUT : 0);
    exchange_run(x);
}

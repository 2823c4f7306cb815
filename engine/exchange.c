/*
 * The driver and an exchange's life; the steps are in exchange_request.c, exchange_origin.c, exchange_response.c and
 * exchange_reply.c.
 *
 * Events may arrive while a step runs (closing a connection, a pool's line being woken): `running` makes exchange_run
 * refuse to nest, since the step on the stack will look at everything again before it waits.
 */
#include "engine/exchange.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/back.h"
#include "engine/caching.h"
#include "engine/forward.h"
#include "engine/front.h"
#include "engine/metrics.h"
#include "engine/socket.h"
#include "engine/splice.h"
#include "engine/tunnel.h"

/* The driver --------------------------------------------------------------------------------------------------- */

struct step_row {
    enum step_verdict (*run)(struct exchange *x);
    const char *word;
};
#define STEP_AS_ROW(id, function) [id] = { function, #id },
static const struct step_row steps[STEPS] = { EXCHANGE_STEPS(STEP_AS_ROW) };

static void set_step(struct exchange *x, enum exchange_step step)
{
    MUST(step < STEPS);
    trace_add(x->worker->loop.trace, x->worker->loop.now_ns, steps[step].word, x->client->number, x->step, x->attempts);
    x->step = (uint8_t)step;
}

enum step_verdict exchange_go(struct exchange *x, enum exchange_step step)
{
    set_step(x, step);
    return STEP_NEXT;
}

void exchange_run(struct exchange *x)
{
    MUST_BE(x, EXCHANGE_MAGIC);
    if (x->running)
        return;
    x->running = true;
    enum step_verdict verdict;
    do
        verdict = steps[x->step].run(x);
    while (verdict == STEP_NEXT);
    if (verdict == STEP_WAIT)
        x->running = false;
}

void exchange_run_later(struct exchange *x)
{
    if (x->runnable)
        return;
    x->runnable = true;
    x->next_runnable = x->worker->runnable;
    x->worker->runnable = x;
    x->worker->loop.again = true;
}

/* Life --------------------------------------------------------------------------------------------------------- */

/* An answer that stands already, and only waits for its client, is nothing that a server could be late with. */
static void total_timeout(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct exchange *x = CONTAINER_OF(timer, struct exchange, timer);
    MUST_BE(x, EXCHANGE_MAGIC);
    if (x->waiter.waiting) {
        COUNT(x->worker, queue_timeouts);
        exchange_answer(x, 503, "queue_timeouts", SLICE("No server of the pool became free in time\n"));
    } else if (x->leased)
        exchange_out_of_time(x);
    else if (likely(!x->caching) || !caching_out_of_time(x))
        return;
    exchange_run(x);
}

struct exchange *exchange_new(struct conn *client)
{
    struct worker *worker = client->worker;
    struct exchange *x = slab_take(&worker->exchanges);
    if (!x)
        return NULL;
    memset(x, 0, offsetof(struct exchange, request));
    x->request.fields.count = 0;
    x->magic = EXCHANGE_MAGIC;
    x->worker = worker;
    x->client = client;
    x->view = view_pin(worker->view);
    x->timer.fire = total_timeout;
    x->begun_ns = worker->loop.now_ns;
    x->client_moved_ms = worker->loop.now_ms;
    arena_init(&x->arena, &worker->blocks);
    client->exchange = x;
    return x;
}

void exchange_drop(struct exchange *x)
{
    struct worker *worker = x->worker;
    if (unlikely(x->caching != NULL))
        caching_end(x);
    if (timer_armed(&x->timer))
        timer_cancel(&worker->loop.wheel, &x->timer);
    if (x->head_block)
        block_unref(x->head_block);
    arena_release(&x->arena);
    if (unlikely(x->job != NULL))
        metrics_forget(x);
    if (unlikely(x->coder != NULL))
        exchange_drop_coder(x);
    if (unlikely(x->tunnel != NULL))
        tunnel_free(x->tunnel);
    if (unlikely(x->forward != NULL))
        forward_free(x->forward);
    if (x->answer_owned)
        free(x->answer_memory);
    view_unpin(x->view);
    x->magic = 0;
    slab_return(&worker->exchanges, x);
}

static void refuse(struct conn *client)
{
    COUNT(client->worker, no_memory);
    front_close(client, true);
}

bool exchange_begin(struct conn *client)
{
    struct exchange *x = exchange_new(client);
    if (!x) {
        refuse(client);
        return false;
    }
    enum step_verdict verdict = exchange_receive(x);
    if (verdict == STEP_WAIT) {
        client->exchange = NULL;
        exchange_drop(x);
        return false;
    }
    if (verdict == STEP_NEXT)
        exchange_run(x);
    return true;
}

/* The end ------------------------------------------------------------------------------------------------------ */

static void count_status(struct worker *worker, unsigned status)
{
    switch (status / 100) {
    case 2: COUNT(worker, responses_2xx); break;
    case 3: COUNT(worker, responses_3xx); break;
    case 4: COUNT(worker, responses_4xx); break;
    case 5: COUNT(worker, responses_5xx); break;
    default: break;
    }
}

static uint64_t us_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

static struct slice field_text(const struct request *request, enum field_id id)
{
    const struct field *field = fields_find(&request->fields, id);
    return field ? field_value(field) : SLICE_NONE;
}

static void write_log(struct exchange *x)
{
    struct worker *worker = x->worker;
    uint64_t ago_us = us_between(x->begun_ns, worker->loop.now_ns);
    front_name(x->client);
    char port[8];
    int port_length = snprintf(port, sizeof port, "%u", x->client->client.port);
    struct log_entry entry = {
        .unix_us = loop_unix_us(&worker->loop) - ago_us,
        .client_address = slice_of(x->client->client.address, x->client->client.address_length),
        .client_port = slice_of(port, (size_t)port_length),
        .method = x->request.method_token,
        .target = x->request.target,
        .host = x->request.host,
        .version_minor = x->request.version_minor,
        .status = x->status,
        .sent_bytes = x->response_content,
        .received_bytes = x->request_content,
        .total_us = ago_us,
        .first_byte_us = x->first_byte_ns ? us_between(x->begun_ns, x->first_byte_ns) : 0,
        .referer = field_text(&x->request, FIELD_REFERER),
        .user_agent = field_text(&x->request, FIELD_USER_AGENT),
        .route = x->route ? x->route->name : SLICE_NONE,
        .user = x->forward && x->forward->verified == VERIFIED_YES ? slice_of(x->forward->user, x->forward->user_length) : SLICE_NONE,
        .pool = x->pool ? x->pool->upstream.name : SLICE_NONE,
        .server = x->forwarding.server, /* the last one asked; its name lives with the view */
        .attempts = x->attempts,
        .cache = x->caching ? caching_word(x->caching) : NULL,
        .why = x->why,
        .complete = x->response_done,
    };
    access_log_add(worker->log, &entry);
}

void exchange_count(struct exchange *x)
{
    struct worker *worker = x->worker;
    counter_sub(&worker->stats->in_flight, 1);
    count_status(worker, x->status);
    COUNT_BYTES(worker, client_sent_bytes, x->response_content);
    COUNT_BYTES(worker, client_received_bytes, x->request_content);
    latency_record(worker->stats->latency, &worker->stats->latency_us_sum, us_between(x->begun_ns, worker->loop.now_ns));
}

/* A tunnel was counted when its request was answered; its log line comes now. */
static void account(struct exchange *x)
{
    if (likely(!x->tunnel))
        exchange_count(x);
    if (access_log_on(x->worker->log))
        write_log(x);
}

/* The client may go on only if both messages are complete and both sides want to. */
static bool client_goes_on(const struct exchange *x)
{
    return x->client_keep && x->response_done && x->request_done && !x->reset_client && !x->worker->draining;
}

/* Everything that it had of its pool. */
static void leave_pool(struct exchange *x)
{
    exchange_leave_line(x);
    exchange_hedge_drop(x);
    if (x->origin)
        exchange_release_origin(x, x->origin_keep && x->response_done && x->request_done);
    exchange_release_member(x, SERVER_UNTOLD);
    exchange_release_places(x);
}

static bool off_list(struct exchange **at, const struct exchange *x)
{
    while (*at && *at != x)
        at = &(*at)->next_runnable;
    if (!*at)
        return false;
    *at = x->next_runnable;
    return true;
}

enum step_verdict exchange_finish(struct exchange *x)
{
    struct conn *client = x->client;
    if (unlikely(x->early) && x->response_done && !conn_is_ready(client)) {
        leave_pool(x);
        return STEP_WAIT; /* the answer goes out with the handshake's end (front_tls.c) */
    }
    bool keep = client_goes_on(x);
    bool reset = x->reset_client;
    bool complete = x->response_done;
    bool more_may_come = !x->request_done || x->request.keep_alive;
    bool sink = conn_is_sink(client);
    bool over = !complete || reset || x->tunnel; /* a tunnel has sent all there was */
    if (likely(!sink))
        account(x);
    leave_pool(x);
    client->exchange = NULL;
    if (unlikely(x->runnable) && !off_list(&x->worker->runnable, x))
        off_list(&x->worker->running, x);
    exchange_drop(x);
    if (unlikely(sink))
        sink_close(client);
    else if (unlikely(over))
        front_close(client, reset);
    else
        front_next(client, keep, more_may_come);
    return STEP_DONE;
}

enum step_verdict exchange_abort(struct exchange *x, const char *why, bool reset)
{
    if (!x->why)
        x->why = why;
    x->response_done = false;
    x->reset_client = reset;
    return exchange_go(x, STEP_FINISH);
}

/* Events of the client ----------------------------------------------------------------------------------------- */

void exchange_cut(struct exchange *x)
{
    COUNT(x->worker, client_aborts);
    exchange_abort(x, "client_aborts", true);
    exchange_run(x);
}

void exchange_client_broken(struct exchange *x)
{
    if (unlikely(x->caching != NULL) && x->caching->role == CACHE_FILLING && !conn_is_sink(x->client))
        caching_split(x); /* the fetch goes on */
    exchange_cut(x);
}

/* True while it goes on taking what was sent, however slowly. */
static bool still_takes(struct conn *conn, uint64_t *taken_before)
{
    uint64_t taken = socket_taken(conn->fd), before = *taken_before;
    *taken_before = taken;
    return taken != 0 && taken != before;
}

bool exchange_origin_takes(struct exchange *x)
{
    return still_takes(x->origin, &x->origin_taken);
}

void exchange_await_client(struct exchange *x)
{
    conn_deadline(x->client, x->worker->loop.now_ms + x->view->config->timeouts.send_ms / 4);
}

static bool content_awaited(const struct exchange *x)
{
    return !x->request_done && queue_empty(&x->client->in) && !splice_waits_for_sink(x->request_splice) && x->step != STEP_SELECT && x->step != STEP_ATTACH;
}

/*
 * The client's timer is left where the idle time put it and only looked at when it fires: it may have moved since, or nothing
 * may be awaited of it.
 */
void exchange_client_timeout(struct exchange *x)
{
    const struct config_timeouts *timeouts = &x->view->config->timeouts;
    uint64_t now_ms = x->worker->loop.now_ms;
    uint64_t due_ms = TIMER_NEVER;
    if (conn_unsent(x->client) || splice_waits_for_sink(x->response_splice)) {
        if (still_takes(x->client, &x->client_taken))
            x->client_moved_ms = now_ms;
        due_ms = now_ms + timeouts->send_ms / 4 + 1;
        if (x->client_moved_ms + timeouts->send_ms <= now_ms) {
            COUNT(x->worker, send_timeouts);
            exchange_abort(x, "send_timeouts", true);
            exchange_run(x);
            return;
        }
    }
    if (content_awaited(x)) {
        uint64_t body_due_ms = x->client_moved_ms + timeouts->body_ms;
        if (body_due_ms <= now_ms) {
            COUNT(x->worker, body_timeouts);
            if (x->response_begun)
                exchange_abort(x, "body_timeouts", true);
            else
                exchange_answer(x, 408, "body_timeouts", SLICE("The request's content did not come in time\n"));
            exchange_run(x);
            return;
        }
        due_ms = u64_min(due_ms, body_due_ms);
    }
    conn_deadline(x->client, due_ms == TIMER_NEVER ? now_ms + timeouts->idle_ms : due_ms);
}

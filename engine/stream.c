/*
 * A stream's life: SELECT, CONNECT and TUNNEL, and its end.
 *
 * Events may arrive while it runs (a connection is closed, the pool's line is woken): `running` makes stream_run refuse to nest, as for exchanges.
 * Only stream_end frees a stream, and whoever calls it has nothing more to do with it.
 */
#include "engine/stream.h"

#include <errno.h>

#include "engine/attempt.h"
#include "engine/back.h"
#include "engine/front.h"
#include "engine/hash_key.h"
#include "engine/tunnel.h"

static const struct config_tcp *tcp_of(const struct stream *s)
{
    return &s->listener->tcp;
}

static void set_state(struct stream *s, enum stream_state state)
{
    static const char *const words[STREAM_STATES] = { "STREAM_PEEK", "STREAM_SELECT", "STREAM_CONNECT", "STREAM_TUNNEL" };
    trace_add(s->worker->loop.trace, s->worker->loop.now_ns, words[state], s->client->number, s->state, s->attempts);
    s->state = (uint8_t)state;
}

static struct slice client_address(const struct stream *s)
{
    return slice_of(s->client->client.address, s->client->client.address_length);
}

struct slice stream_asked_name(const struct stream *s)
{
    const struct tls *tls = s->client->tls;
    return tls ? slice_of_text(tls->asked_name) : slice_of(s->name, s->name_length);
}

/* Deadlines ------------------------------------------------------------------------------------------------------ */

static uint64_t total_due_ms(const struct stream *s)
{
    uint32_t total_ms = tcp_of(s)->total_ms;
    return total_ms ? s->begun_ns / 1000000 + total_ms : TIMER_NEVER;
}

static void set_timer(struct stream *s)
{
    uint64_t due_ms = s->waiter.waiting ? u64_min(s->waiter.due_ms, total_due_ms(s)) : total_due_ms(s);
    if (due_ms != TIMER_NEVER)
        timer_set(&s->worker->loop.wheel, &s->timer, due_ms);
    else if (timer_armed(&s->timer))
        timer_cancel(&s->worker->loop.wheel, &s->timer);
}

static void timer_fired(struct timer *timer, uint64_t now_ms)
{
    struct stream *s = CONTAINER_OF(timer, struct stream, timer);
    MUST_BE(s, STREAM_MAGIC);
    if (now_ms >= total_due_ms(s)) {
        COUNT(s->worker, tcp_total);
        (void)!stream_end(s, "tcp_total", true);
    } else if (s->waiter.waiting) {
        COUNT(s->worker, queue_timeouts);
        (void)!stream_end(s, "queue_timeouts", false);
    } else
        set_timer(s);
}

/* The line ------------------------------------------------------------------------------------------------------- */

static struct stream *owner_of(const struct waiter *waiter)
{
    return CONTAINER_OF((struct waiter *)(uintptr_t)waiter, struct stream, waiter);
}

static void run_waiter(struct waiter *waiter)
{
    stream_run(owner_of(waiter));
}

static bool waiter_is_running(const struct waiter *waiter)
{
    return owner_of(waiter)->running;
}

static void shed_waiter(struct waiter *waiter)
{
    (void)!stream_end(owner_of(waiter), "queue_sheds", false);
}

static const struct waiter_kind stream_kind = { .run = run_waiter, .is_running = waiter_is_running, .shed = shed_waiter };

static enum stream_verdict wait_in_line(struct stream *s)
{
    if (s->waiter.waiting)
        return STREAM_WAITS;
    s->waiter.kind = &stream_kind;
    if (!wait_line_join(&s->waiter, s->pool, client_address(s), s->placed)) {
        COUNT(s->worker, pool_full);
        return stream_end(s, "pool_full", false);
    }
    set_timer(s);
    return STREAM_WAITS;
}

static void leave_line(struct stream *s)
{
    if (likely(!s->waiter.waiting))
        return;
    wait_line_leave(&s->waiter);
    set_timer(s);
}

/* What it holds of its pool -------------------------------------------------------------------------------------- */

static void release_member(struct stream *s, enum server_outcome outcome)
{
    if (!s->leased)
        return;
    s->leased = false;
    attempt_done(s->pool, s->member, outcome);
}

static void release_retry(struct stream *s)
{
    if (unlikely(s->retrying))
        place_return(&s->pool->record->retrying);
    s->retrying = false;
}

static void release_places(struct stream *s)
{
    bool placed = s->placed;
    release_retry(s);
    if (likely(!placed))
        return;
    s->placed = false;
    place_return(&s->pool->record->requests);
    wait_line_wake(s->pool->line);
}

static void close_origin(struct stream *s, bool reset)
{
    struct conn *origin = s->origin;
    s->origin = NULL;
    if (!origin)
        return;
    if (reset)
        back_reset(origin);
    else
        back_close(origin);
}

/* SELECT --------------------------------------------------------------------------------------------------------- */

static enum stream_verdict none_to_pick(struct stream *s, enum pick_verdict verdict)
{
    if (verdict == PICK_FULL)
        return wait_in_line(s);
    if (s->failure != SERVER_OK) {
        COUNT(s->worker, origin_connect);
        return stream_end(s, "origin_connect", false); /* what happened says more than that nobody is left */
    }
    COUNT(s->worker, pool_down);
    log_line(LOG_WARN, "pool \"%.*s\": %s", (int)s->pool->upstream.name.length, s->pool->upstream.name.at, pick_text(verdict));
    return stream_end(s, "pool_down", false);
}

/* One of the pool's limits.requests, kept to the end. */
static bool is_placed(struct stream *s)
{
    uint32_t most = s->pool->config->breakers.requests_max;
    if (likely(most == 0) || s->placed)
        return true;
    s->placed = place_take(&s->pool->record->requests, most);
    return s->placed;
}

static void begin_selecting(struct stream *s)
{
    const struct config_pool *pool = s->pool->config;
    budget_request(&s->pool->share->budget, s->worker->loop.now_ms);
    if (likely(pool->balance != BALANCE_CONSISTENT_HASH))
        return;
    if (!hash_key_hash(pool, NULL, client_address(s), &s->pick.hash))
        s->pick.hash = loop_random(&s->worker->loop); /* of a unix socket: it is spread */
}

static enum stream_verdict select_server(struct stream *s)
{
    if (s->attempts == 0 && s->waiter.due_ms == 0)
        begin_selecting(s);
    struct wait_line *line = s->pool->line;
    if (unlikely(line->first && line->first != &s->waiter && !s->placed && wait_line_stands_behind(&s->waiter, s->pool)))
        return wait_in_line(s);
    if (unlikely(!is_placed(s)))
        return wait_in_line(s);
    enum pick_verdict verdict = attempt_pick(s->pool, &s->pick, &s->member);
    if (unlikely(!pick_has_lease(verdict)))
        return none_to_pick(s, verdict);
    leave_line(s);
    s->leased = true;
    s->attempt_ns = s->worker->loop.now_ns;
    s->attempts++;
    set_state(s, STREAM_CONNECT);
    return STREAM_GOES_ON;
}

/* CONNECT -------------------------------------------------------------------------------------------------------- */

static void log_failure(const struct stream *s, enum server_outcome outcome, int os_error)
{
    struct slice name = s->member->server->name;
    log_line(LOG_WARN, "server \"%.*s\": %s%s%s, attempt %u of %u, listener \"%.*s\"", (int)name.length, name.at, server_outcome_word(outcome),
             os_error ? ": " : "", os_error ? strerror(os_error) : "", s->attempts, s->pool->config->retries + 1, (int)s->listener->name.length,
             s->listener->name.at);
}

/* The next server, while there are tries: none has got a byte of the client's. */
static enum stream_verdict server_failed(struct stream *s, enum server_outcome outcome, int os_error)
{
    s->failure = (uint8_t)outcome;
    log_failure(s, outcome, os_error);
    close_origin(s, false);
    release_member(s, outcome);
    if (s->attempts > s->pool->config->retries || !attempt_is_cause(s->pool->config, outcome) || !attempt_pay(s->pool, &s->retrying)) {
        COUNT(s->worker, origin_connect);
        return stream_end(s, "origin_connect", false);
    }
    COUNT(s->worker, retries);
    counter_add(&s->member->server->counters->retries, 1);
    attempt_mark_tried(&s->pick, s->member);
    set_state(s, STREAM_SELECT);
    return STREAM_GOES_ON;
}

/* The pool has as many connections as it may: in the line, which is looked at now and then. */
static enum stream_verdict wait_for_connection(struct stream *s)
{
    s->attempts--;
    release_member(s, SERVER_UNTOLD);
    set_state(s, STREAM_SELECT);
    return wait_in_line(s);
}

static enum stream_verdict short_of_memory(struct stream *s)
{
    COUNT(s->worker, no_memory);
    return stream_end(s, "no_memory", true);
}

static enum stream_verdict connect_to(struct stream *s)
{
    struct origin *origin = s->member->server->owner;
    s->origin = back_connect(origin, s->client, s->view->config);
    if (!s->origin && errno == EUSERS && back_make_room(s->pool))
        s->origin = back_connect(origin, s->client, s->view->config);
    if (!s->origin && errno == EUSERS)
        return wait_for_connection(s);
    if (!s->origin && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
        return short_of_memory(s);
    if (!s->origin)
        return server_failed(s, SERVER_CONNECT, errno);
    s->origin->stream = s;
    conn_deadline(s->origin, s->worker->loop.now_ms + s->pool->config->connect_ms);
    return STREAM_WAITS;
}

static void tunnel_event(struct tunnel *tunnel)
{
    stream_run(tunnel->owner);
}

/* The server is well, which is not to be learnt only when the stream ends. For those that are compared the time to connect is what tells. */
static void credit_server(struct stream *s)
{
    struct loop *loop = &s->worker->loop;
    struct server_counters *counters = s->member->server->counters;
    uint64_t us = (loop->now_ns - s->attempt_ns) / 1000;
    s->connected_ns = loop->now_ns;
    counter_add(&counters->requests, 1);
    counter_add(&counters->responses, 1);
    latency_record(counters->latency, &counters->latency_us_sum, us);
    upstream_answered(&s->pool->upstream, s->member, us, loop->now_ms);
    health_report(s->member->server->health, &s->pool->upstream.health_limits, SERVER_OK, loop->now_ms, loop_random(loop));
}

static enum stream_verdict connect_server(struct stream *s)
{
    if (!s->origin)
        return connect_to(s);
    if (!conn_is_ready(s->origin))
        return STREAM_WAITS;
    s->tunnel = tunnel_new(s->worker);
    if (unlikely(!s->tunnel))
        return short_of_memory(s);
    release_retry(s);
    credit_server(s);
    s->tunnel->event = tunnel_event;
    s->tunnel->owner = s;
    tunnel_begin(s->tunnel, s->client, s->origin, tcp_of(s)->idle_ms);
    conn_flush(s->origin); /* its PROXY header */
    set_state(s, STREAM_TUNNEL);
    return STREAM_GOES_ON;
}

/* TUNNEL --------------------------------------------------------------------------------------------------------- */

static enum stream_verdict pass_bytes(struct stream *s)
{
    if (likely(!tunnel_run(s->tunnel)))
        return STREAM_WAITS;
    bool reset = tunnel_resets(s->tunnel, s->client);
    close_origin(s, tunnel_resets(s->tunnel, s->origin));
    return stream_end(s, tunnel_end_word((enum tunnel_end)s->tunnel->end), reset);
}

/* The driver ----------------------------------------------------------------------------------------------------- */

static enum stream_verdict (*const states[STREAM_STATES])(struct stream *s) = {
    [STREAM_PEEK] = stream_peek,
    [STREAM_SELECT] = select_server,
    [STREAM_CONNECT] = connect_server,
    [STREAM_TUNNEL] = pass_bytes,
};

static void go_on(struct stream *s, enum stream_verdict verdict)
{
    s->running = true;
    while (verdict == STREAM_GOES_ON)
        verdict = states[s->state](s);
    if (likely(verdict == STREAM_WAITS))
        s->running = false;
}

void stream_run(struct stream *s)
{
    MUST_BE(s, STREAM_MAGIC);
    if (likely(!s->running))
        go_on(s, STREAM_GOES_ON);
}

void stream_origin_failed(struct stream *s, enum server_outcome outcome, int os_error)
{
    MUST_BE(s, STREAM_MAGIC);
    MUST(!s->running && s->state == STREAM_CONNECT);
    s->running = true;
    go_on(s, server_failed(s, outcome, os_error));
}

void stream_cut(struct stream *s)
{
    COUNT(s->worker, client_aborts);
    (void)!stream_end(s, "client_aborts", true);
}

/* The client's events, until the tunnel has them ------------------------------------------------------------------ */

/* Who ends without a byte while it waits in the line wants nothing more: its place goes to the next. Elsewhere that is a half-close, and a server may
 * still have something to say. */
static void input(struct conn *client)
{
    struct stream *s = client->stream;
    if (s->state == STREAM_PEEK)
        stream_run(s);
    else if (unlikely(client->ended && s->waiter.waiting && queue_empty(&client->in)))
        stream_cut(s);
}

static void broken(struct conn *client, int error)
{
    (void)error;
    stream_cut(client->stream);
}

static void timeout(struct conn *client)
{
    struct stream *s = client->stream;
    if (s->state == STREAM_PEEK)
        (void)!stream_peek_timeout(s);
}

static void nothing(struct conn *client)
{
    (void)client;
}

static const struct conn_events client_events = {
    .input = input, .drained = nothing, .broken = broken, .timeout = timeout, .ready = nothing, .shake = nothing,
};

/* Life ----------------------------------------------------------------------------------------------------------- */

static struct stream *stream_new(struct conn *client, const struct config_listener *listener)
{
    struct worker *worker = client->worker;
    struct stream *s = slab_take(&worker->streams);
    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct stream, name));
    s->magic = STREAM_MAGIC;
    s->worker = worker;
    s->client = client;
    s->view = view_pin(worker->view);
    s->listener = listener;
    s->timer.fire = timer_fired;
    s->begun_ns = worker->loop.now_ns;
    front_name(client); /* now: once it has gone nobody knows whose it was */
    client->stream = s;
    client->events = &client_events;
    COUNT(worker, tcp_connections);
    counter_add(&worker->stats->tcp_open, 1);
    return s;
}

void stream_begin(struct conn *client, const struct config_listener *listener)
{
    struct stream *s = stream_new(client, listener);
    if (!s) {
        COUNT(client->worker, no_memory);
        front_close(client, true);
        return;
    }
    set_timer(s);
    conn_deadline(client, TIMER_NEVER);
    if (listener->tcp.passthrough_count == 0) {
        s->pool = &s->view->pools[listener->tcp.pool];
        set_state(s, STREAM_SELECT);
    } else if (!stream_peek_begin(s)) {
        (void)!stream_end(s, "handshakes_refused", true);
        return;
    }
    stream_run(s);
}

static void write_log(struct stream *s, const char *why)
{
    uint64_t now_ns = s->worker->loop.now_ns, total_us = (now_ns - s->begun_ns) / 1000;
    struct log_stream entry = {
        .unix_us = loop_unix_us(&s->worker->loop) - total_us,
        .client_address = client_address(s),
        .listener = s->listener->name,
        .name = stream_asked_name(s),
        .pool = s->pool ? s->pool->upstream.name : SLICE_NONE,
        .server = s->member ? s->member->server->name : SLICE_NONE,
        .received_bytes = s->tunnel ? s->tunnel->near.bytes : 0,
        .sent_bytes = s->tunnel ? s->tunnel->far.bytes : 0,
        .total_us = total_us,
        .connect_us = s->connected_ns ? (s->connected_ns - s->begun_ns) / 1000 : 0,
        .attempts = s->attempts,
        .why = why,
        .connected = s->connected_ns != 0,
    };
    access_log_add_stream(s->worker->log, &entry);
}

enum stream_verdict stream_end(struct stream *s, const char *why, bool reset)
{
    struct worker *worker = s->worker;
    struct conn *client = s->client;
    s->running = true; /* what is woken below must not find it */
    if (access_log_on(worker->log))
        write_log(s, why);
    counter_sub(&worker->stats->tcp_open, 1);
    if (s->waiter.waiting)
        wait_line_leave(&s->waiter);
    if (timer_armed(&s->timer))
        timer_cancel(&worker->loop.wheel, &s->timer);
    if (s->tunnel)
        tunnel_abandon(s->tunnel);
    close_origin(s, reset && s->tunnel);
    release_member(s, SERVER_UNTOLD);
    if (s->pool)
        release_places(s);
    if (s->tunnel)
        tunnel_free(s->tunnel);
    view_unpin(s->view);
    client->stream = NULL;
    s->magic = 0;
    slab_return(&worker->streams, s);
    front_close(client, reset);
    return STREAM_IS_OVER;
}

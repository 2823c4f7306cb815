#include "engine/back.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/back_header.h"
#include "engine/borrow.h"
#include "engine/conn_tls.h"
#include "engine/exchange.h"
#include "engine/race.h"
#include "engine/socket.h"
#include "engine/stream.h"

/* One of its pool's limits.connections. */
static bool take_place(struct origin *origin)
{
    return likely(origin->place == NULL) || place_take(origin->place, origin->connections_max);
}

static void return_place(_Atomic uint64_t *place)
{
    if (unlikely(place != NULL))
        place_return(place);
}

static void count_out(struct conn *conn)
{
    struct origin *origin = conn->origin.origin;
    counter_sub(&origin->server.counters->open, 1);
    return_place(conn->origin.place);
    conn->exchange = NULL;
    conn->stream = NULL;
    if (conn->origin.use == ORIGIN_OPENING)
        origin->opening--;
}

/*
 * Tickets come after the handshake (RFC 8446 4.6.1), so this looks when an answer has come. Before, a resumed session has the old ticket
 * with a new secret, which nobody would take.
 */
static void keep_session(struct conn *conn)
{
    struct origin *origin = conn->origin.origin;
    if (conn->origin.session_kept || conn->tls->context != origin->tls)
        return;
    conn->origin.session_kept = true;
    struct tls_session *session = tls_session_take(conn->tls);
    if (!session)
        return;
    tls_session_free(origin->session);
    origin->session = session;
}

static void untie(struct conn *conn)
{
    if (likely(!conn->origin.client))
        return;
    conn->origin.client->client.kept = NULL;
    conn->origin.client = NULL;
}

static void close_now(struct conn *conn, bool reset)
{
    struct origin *origin = conn->origin.origin;
    untie(conn);
    if (conn->tls && conn->tls->open && (!conn->tls->resumed || conn->tunnel))
        keep_session(conn);
    if (unlikely(conn->origin.use == ORIGIN_LENT))
        borrow_lost(conn);
    count_out(conn);
    conn_close(conn, reset);
    origin_unref(origin);
}

void back_close(struct conn *conn)
{
    close_now(conn, false);
}

void back_reset(struct conn *conn)
{
    close_now(conn, true);
}

/* What waits for it goes on: an exchange, or a stream until its tunnel has the connection. */
static void run_user(struct conn *conn)
{
    if (likely(conn->exchange != NULL))
        exchange_run(conn->exchange);
    else
        stream_run(conn->stream);
}

static void fail_user(struct conn *conn, enum server_outcome outcome, int os_error)
{
    if (likely(conn->exchange != NULL))
        exchange_conn_failed(conn, outcome, os_error);
    else
        stream_origin_failed(conn->stream, outcome, os_error);
}

/* Events ------------------------------------------------------------------------------------------------------- */

static bool on_shelf(const struct conn *conn)
{
    return conn->origin.use == ORIGIN_IDLE;
}

/* What comes now, or its end, came for nobody. */
static bool lent(const struct conn *conn)
{
    return conn->origin.use == ORIGIN_LENT;
}

static bool opening(const struct conn *conn)
{
    return conn->origin.use == ORIGIN_OPENING;
}

static void drop_kept(struct conn *conn)
{
    struct origin *origin = conn->origin.origin;
    idle_remove(&origin->server.idle, &conn->origin.idle);
    counter_sub(&origin->server.counters->idle, 1);
    back_close(conn);
}

void back_client_left(struct conn *client)
{
    if (unlikely(client->client.kept != NULL))
        drop_kept(client->client.kept);
}

/* The one that it had is given up for it. */
static void tie(struct conn *conn, struct conn *client)
{
    back_client_left(client);
    client->client.kept = conn;
    conn->origin.client = client;
}

/* Each is counted, the first of a row is told. */
static void warming_failed(struct conn *conn, int error)
{
    struct origin *origin = conn->origin.origin;
    counter_add(&origin->server.counters->connect_failures, 1);
    if (!origin->warming_failed)
        log_line(LOG_WARN, "server \"%.*s\": no connection ahead of requests%s%s", (int)origin->key.length, origin->key.at,
                 error ? ": " : "", error ? strerror(error) : "");
    origin->warming_failed = true;
    back_close(conn);
}

/* The server may have left the configuration meanwhile, or stand elsewhere, or is to be spoken to in another way. */
static bool outdated(const struct conn *conn)
{
    const struct origin *origin = conn->origin.origin;
    return origin->seen != origin->worker->view->generation->number || conn->origin.addresses != origin->addresses ||
           (conn->tls ? conn->tls->context : NULL) != origin->tls;
}

void back_shelve(struct conn *conn)
{
    struct origin *origin = conn->origin.origin;
    uint64_t now_ms = origin->worker->loop.now_ms;
    struct idle_entry *out = idle_put(&origin->server.idle, &conn->origin.idle, &origin->idle_limits, now_ms);
    if (out == &conn->origin.idle) {
        back_close(conn);
        return;
    }
    conn->exchange = NULL;
    conn->origin.use = ORIGIN_IDLE;
    conn_deadline(conn, now_ms + origin->idle_limits.idle_ms_max + 1);
    if (out)
        back_close(CONTAINER_OF(out, struct conn, origin.idle));
    else
        counter_add(&origin->server.counters->idle, 1);
}

static void warmed(struct conn *conn)
{
    struct origin *origin = conn->origin.origin;
    origin->opening--;
    origin->warming_failed = false;
    conn->origin.use = ORIGIN_SERVING; /* until it is on the shelf */
    counter_add(&origin->server.counters->warmed, 1);
    if (outdated(conn))
        back_close(conn);
    else
        back_shelve(conn);
}

static void connected(struct conn *conn, int error)
{
    if (unlikely(opening(conn))) {
        if (error) {
            warming_failed(conn, error);
            return;
        }
        conn_receive(conn);
        warmed(conn);
        return;
    }
    if (error) {
        fail_user(conn, SERVER_CONNECT, error);
        return;
    }
    conn_receive(conn);
    run_user(conn);
}

static void input(struct conn *conn)
{
    if (unlikely(on_shelf(conn))) {
        drop_kept(conn);
        return;
    }
    if (unlikely(lent(conn))) {
        back_close(conn);
        return;
    }
    run_user(conn);
}

/* TLS ------------------------------------------------------------------------------------------------------------ */

static void handshake_failed(struct conn *conn, const char *why)
{
    struct slice name = conn->origin.origin->key;
    COUNT(conn->worker, origin_tls);
    tls_session_free(conn->origin.origin->session); /* it may be why */
    conn->origin.origin->session = NULL;
    log_line(LOG_WARN, "server \"%.*s\": TLS: %s", (int)name.length, name.at, why);
    if (opening(conn)) {
        warming_failed(conn, 0);
        return;
    }
    fail_user(conn, SERVER_CONNECT, 0);
}

static void shaken(struct conn *conn)
{
    bool more = conn_tls_received(conn);
    if (!opening(conn))
        run_user(conn);
    else if (more)
        warming_failed(conn, 0); /* it speaks unasked, or has closed */
    else
        warmed(conn);
}

static void shake(struct conn *conn)
{
    char why[160];
    if (conn->tls->open || (!conn->exchange && !conn->stream && !opening(conn)))
        return;
    switch (conn_tls_shake(conn, why)) {
    case TLS_DONE: shaken(conn); break;
    case TLS_WANTS_INPUT:
        if (conn->ended)
            handshake_failed(conn, "it closed during the handshake");
        break;
    case TLS_WANTS_ROOM: break; /* again when something was sent, or there is a block */
    case TLS_CLOSED:
    case TLS_REFUSED: handshake_failed(conn, why); break;
    }
}

static bool begin_tls(struct conn *conn, struct origin *origin)
{
    return conn_tls_new(conn) && tls_start_client(conn->tls, origin->tls, origin->tls_name, origin->session) == ERR_OK;
}

/* Events, continued ---------------------------------------------------------------------------------------------- */

static void drained(struct conn *conn)
{
    struct exchange *x = conn->exchange;
    if (unlikely(!conn_is_ready(conn))) {
        conn_tls_shake_later(conn);
        return;
    }
    if (x && unlikely(!x->request_done))
        exchange_run(x);
}

/*
 * An origin may answer before it has read the request and close: our send fails then, while its answer waits to be
 * received. So a failed send is only the end when nothing can come any more.
 */
static void broken(struct conn *conn, int error)
{
    if (on_shelf(conn)) {
        drop_kept(conn);
        return;
    }
    if (opening(conn)) {
        warming_failed(conn, error);
        return;
    }
    if (lent(conn)) {
        back_close(conn);
        return;
    }
    if (conn->deaf && conn_may_bring(conn)) {
        conn->cut |= conn->paused; /* it may be a receive that has failed, and is tried again */
        return;
    }
    if (queue_empty(&conn->in) || conn->ended) {
        fail_user(conn, conn_is_ready(conn) ? SERVER_CLOSED : SERVER_CONNECT, error);
        return;
    }
    conn->ended = conn->cut = true; /* what came before the reset is read first */
    run_user(conn);
}

static void expire(struct origin *origin)
{
    struct idle_entry *entry;
    uint64_t now_ms = origin->worker->loop.now_ms;
    while ((entry = idle_expire(&origin->server.idle, &origin->idle_limits, now_ms))) {
        counter_sub(&origin->server.counters->idle, 1);
        back_close(CONTAINER_OF(entry, struct conn, origin.idle));
    }
}

static void timeout(struct conn *conn)
{
    if (opening(conn)) {
        warming_failed(conn, ETIMEDOUT);
        return;
    }
    if (unlikely(conn->stream != NULL)) {
        stream_origin_failed(conn->stream, SERVER_CONNECT, ETIMEDOUT);
        return;
    }
    if (!on_shelf(conn)) {
        exchange_conn_timeout(conn);
        return;
    }
    struct origin *origin = conn->origin.origin;
    uint64_t now_ms = conn->worker->loop.now_ms;
    conn_deadline(conn, u64_max(conn->origin.idle.since_ms + origin->idle_limits.idle_ms_max, now_ms) + 1); /* a reload may have lengthened it */
    origin->server.references++;
    expire(origin); /* perhaps this one too, and its deadline with it */
    origin_unref(origin);
}

static void ready(struct conn *conn)
{
    if (conn->exchange)
        exchange_run(conn->exchange);
    else if (lent(conn))
        borrow_settled(conn);
}

static const struct conn_events back_events = {
    .connected = connected, .input = input, .drained = drained, .broken = broken, .timeout = timeout, .ready = ready, .shake = shake,
};

/* Connections -------------------------------------------------------------------------------------------------- */

/* Something can be read: its end, or what nobody asked for. */
static bool is_stale(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* The one that begins with this client's header. */
static struct conn *take_own(struct origin *origin, struct conn *client, bool careful)
{
    struct conn *conn = client->client.kept;
    if (!conn || conn->origin.origin != origin)
        return NULL;
    bool young = idle_take_one(&origin->server.idle, &conn->origin.idle, &origin->idle_limits, origin->worker->loop.now_ms);
    counter_sub(&origin->server.counters->idle, 1);
    untie(conn);
    conn->origin.use = ORIGIN_SERVING;
    conn->origin.reused = true;
    if (young && (!careful || !is_stale(conn->fd)))
        return conn;
    back_close(conn);
    return NULL;
}

struct conn *back_take(struct origin *origin, struct conn *client, bool careful)
{
    struct idle_entry *entry;
    if (unlikely(origin->proxy_protocol))
        return take_own(origin, client, careful);
    while ((entry = idle_take(&origin->server.idle, &origin->idle_limits, origin->worker->loop.now_ms))) {
        struct conn *conn = CONTAINER_OF(entry, struct conn, origin.idle);
        counter_sub(&origin->server.counters->idle, 1);
        conn->origin.use = ORIGIN_SERVING;
        conn->origin.reused = true;
        if (likely(!careful) || !is_stale(conn->fd))
            return conn;
        back_close(conn);
    }
    return NULL;
}

bool back_make_room(struct view_pool *pool)
{
    for (uint32_t i = 0; i < pool->upstream.count; i++) {
        struct idle_entry *oldest = pool->members[i].server->idle.oldest;
        if (!oldest)
            continue;
        drop_kept(CONTAINER_OF(oldest, struct conn, origin.idle));
        return true;
    }
    return false;
}

/* Before TLS, of which nothing has been queued yet. */
static bool begin_header(struct conn *conn, const struct origin *origin, struct conn *client)
{
    char header[PROXY_HEADER_BYTES_MAX];
    size_t length = back_header_write(client, origin->proxy_protocol, header);
    return chain_append_copy(conn->tls ? &conn->tls->out : &conn->out, &conn->worker->blocks, slice_of(header, length)) == ERR_OK;
}

/* What is sent before any request. False: no memory. */
static bool begin(struct conn *conn, struct origin *origin, struct conn *client)
{
    if (origin->tls && !begin_tls(conn, origin))
        return false;
    return likely(!origin->proxy_protocol) || begin_header(conn, origin, client);
}

struct conn *back_connect(struct origin *origin, struct conn *client, const struct config *config)
{
    struct worker *worker = origin->worker;
    if (origin->address.socket_bytes == 0) {
        errno = EHOSTUNREACH; /* its name did not resolve */
        return NULL;
    }
    if (!take_place(origin)) {
        errno = EUSERS;
        return NULL;
    }
    bool several = origin->more_count > 0 || unlikely(origin->set_anew); /* race.c opens the sockets */
    int fd = several ? -1 : socket_for_origin(&origin->address, config->congestion_control);
    struct conn *conn = fd < 0 && !several ? NULL : conn_new(worker, fd, false, &back_events);
    if (!conn && (fd >= 0 || several)) {
        if (fd >= 0)
            close(fd);
        errno = ENOMEM;
    }
    if (conn && !begin(conn, origin, client)) {
        conn_close(conn, false);
        conn = NULL;
        errno = ENOMEM;
    }
    if (!conn) {
        return_place(origin->place);
        return NULL;
    }
    conn->origin.place = origin->place;
    conn->origin.origin = origin;
    conn->origin.addresses = origin->addresses;
    if (several && !race_begin(conn, origin, config->congestion_control)) {
        int error = errno;
        conn_close(conn, false);
        return_place(origin->place);
        errno = error;
        return NULL;
    }
    conn->origin.idle.connected_ms = worker->loop.now_ms;
    origin->server.references++;
    counter_add(&origin->server.counters->open, 1);
    counter_add(&origin->server.counters->connects, 1);
    if (!several)
        conn_connect(conn, &origin->address.socket.any, origin->address.socket_bytes);
    return conn;
}

void back_keep(struct conn *conn)
{
    if (conn->tls)
        keep_session(conn);
    if (unlikely(outdated(conn))) {
        back_close(conn);
        return;
    }
    conn->origin.idle.requests++;
    if (unlikely(conn->origin.origin->proxy_protocol))
        tie(conn, conn->exchange->client);
    back_shelve(conn);
}

void back_forget(struct origin *origin)
{
    struct idle_entry *entry;
    origin->server.references++;
    while ((entry = origin->server.idle.oldest)) {
        idle_remove(&origin->server.idle, entry);
        counter_sub(&origin->server.counters->idle, 1);
        back_close(CONTAINER_OF(entry, struct conn, origin.idle));
    }
    origin_unref(origin);
}

/* Between workers ---------------------------------------------------------------------------------------------- */

struct conn *back_lend(struct origin *origin, struct borrow *borrow)
{
    if (origin->tls || origin->proxy_protocol)
        return NULL;
    struct idle_entry *entry = idle_lend(&origin->server.idle, &origin->idle_limits, origin->worker->loop.now_ms);
    if (!entry)
        return NULL;
    struct conn *conn = CONTAINER_OF(entry, struct conn, origin.idle);
    counter_sub(&origin->server.counters->idle, 1);
    conn->origin.use = ORIGIN_LENT;
    conn->origin.borrow = borrow;
    conn_deadline(conn, TIMER_NEVER);
    conn_hold(conn);
    return conn;
}

int back_let_go(struct conn *conn)
{
    struct origin *origin = conn->origin.origin;
    count_out(conn);
    int fd = conn_detach(conn);
    origin_unref(origin);
    return fd;
}

struct conn *back_adopt(struct origin *origin, const struct borrow *borrow)
{
    struct worker *worker = origin->worker;
    int fd = borrow->fd;
    bool wanted = worker->end_ms == 0 && !origin->tls && origin->seen == worker->view->generation->number &&
                  origin->addresses == borrow->addresses && !is_stale(fd);
    struct conn *conn = wanted && !FAULT("borrow") ? conn_new(worker, fd, false, &back_events) : NULL;
    if (!conn) {
        close(fd);
        return_place(borrow->place);
        return NULL;
    }
    conn->origin.place = borrow->place;
    conn->origin.origin = origin;
    conn->origin.addresses = borrow->addresses;
    conn->origin.idle.connected_ms = borrow->past.connected_ms;
    conn->origin.idle.requests = borrow->past.requests;
    conn->origin.reused = true;
    origin->server.references++;
    counter_add(&origin->server.counters->open, 1);
    counter_add(&origin->server.counters->borrowed, 1);
    conn_receive(conn);
    return conn;
}

/* Ahead of requests -------------------------------------------------------------------------------------------- */

/* False: no memory or descriptor, which others need more. */
static bool warm_one(struct view_pool *pool, struct origin *origin)
{
    struct conn *conn = FAULT("warm") ? (errno = EMFILE, NULL) : back_connect(origin, NULL, pool->worker->view->config);
    if (!conn) {
        origin->warming_failed = true;
        return false;
    }
    conn->origin.use = ORIGIN_OPENING;
    origin->opening++;
    conn_deadline(conn, pool->worker->loop.now_ms + pool->config->connect_ms);
    return true;
}

/* The shares are turned from server to server, so that one connection to each of many does not fall on the first worker alone. */
static uint32_t missing_at(const struct view_pool *pool, uint32_t index)
{
    const struct origin *origin = pool->members[index].server->owner;
    const struct worker *worker = pool->worker;
    if (health_state(&origin->record->health, worker->loop.now_ms) != HEALTH_UP || origin->address.socket_bytes == 0)
        return 0;
    uint32_t share = idle_share(origin->idle_limits.warm, worker->view->generation->worker_count, worker->loop.number + index);
    uint32_t missing = idle_missing(&origin->server.idle, &origin->idle_limits, share, origin->opening);
    return origin->warming_failed && missing > 0 ? origin->opening == 0 : missing;
}

static unsigned warm_pool(struct view_pool *pool, unsigned most)
{
    unsigned opened = 0;
    for (uint32_t i = 0; i < pool->config->server_count && opened < most; i++)
        for (uint32_t missing = missing_at(pool, i); missing > 0 && opened < most; missing--, opened++)
            if (!warm_one(pool, pool->members[i].server->owner))
                return most;
    return opened;
}

void back_warm(struct worker *worker)
{
    uint32_t count = worker->view->config->pool_count;
    unsigned opened = 0;
    if (worker->draining)
        return;
    worker->warm_turn++;
    for (uint32_t i = 0; i < count && opened < WARM_PER_TICK; i++) {
        struct view_pool *pool = &worker->view->pools[(worker->warm_turn + i) % count];
        if (unlikely(pool->config->idle.warm > 0))
            opened += warm_pool(pool, WARM_PER_TICK - opened);
    }
}

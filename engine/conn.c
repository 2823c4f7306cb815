/*
 * Receiving is one multishot operation per connection, armed when the connection opens and again only after it ended
 * (a cancel for back-pressure, or the kernel ran out of blocks). Sending is decided at the end of a turn, so that all
 * that a turn's completions produced leaves in one send per connection.
 *
 * A multishot reads on within the kernel as long as there is something, half a MiB at a time, before we see the first byte of it: of content that is
 * to be spliced that would be a good part. So the first receive of a plain connection, and the first after a splice, is a single one of one block. What
 * it brought is looked at, and at the turn's end the multishot takes over, unless receiving is held by then.
 *
 * Closing: close(2) neither ends pending operations nor sends FIN while one is armed (kernel 6.18; axboe/liburing#932, #1048), so
 * what is armed is cancelled first. A receive that waits is cancelled within the submission that also closes the descriptor; while a
 * send or another operation is under way the descriptor is closed with the last completion.
 */
#include "engine/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/conn_tls.h"
#include "engine/generation.h"
#include "engine/race.h"
#include "engine/socket.h"
#include "engine/worker.h"

#define FINISH_MS 2000u                  /* how long a peer may go on sending after our FIN */
#define FINISH_BYTES_MAX (1024u * 1024u) /* and how much */

static const char *const state_words[] = {
    [CONN_FREE] = "free", [CONN_CONNECTING] = "connecting", [CONN_OPEN] = "open",
    [CONN_FINISHING] = "finishing", [CONN_CLOSING] = "closing",
};

static void set_state(struct conn *conn, enum conn_state state)
{
    trace_add(conn->worker->loop.trace, conn->worker->loop.now_ns, state_words[state], conn->number, (uint32_t)conn->fd, conn->state);
    conn->state = (uint8_t)state;
}

static struct ring *ring_of(struct conn *conn)
{
    return &conn->worker->loop.ring;
}

static struct timer_wheel *wheel_of(struct conn *conn)
{
    return &conn->worker->loop.wheel;
}

static bool quiet(const struct conn *conn)
{
    return !op_armed(&conn->receive) && !op_armed(&conn->send) && !op_armed(&conn->other) && conn->pins == 0;
}

/* Memory back, once nothing is in flight. True when the conn is gone. */
static bool settle(struct conn *conn)
{
    if (conn->state != CONN_CLOSING || !quiet(conn))
        return false;
    struct worker *worker = conn->worker;
    if (conn->flushing)
        return false; /* on the list of this turn; conn_send settles it */
    conn_tls_free(conn);
    chain_clear(&conn->out);
    if (!conn->fd_closed && conn->fd >= 0)
        ring_close(&worker->loop.ring, conn->fd);
    conn->magic = 0;
    conn->state = CONN_FREE;
    slab_return(&worker->conns, conn);
    return true;
}

/* Bytes to and from origins; those of clients are counted by their exchanges. */
void conn_count(struct conn *conn, uint64_t bytes, bool received)
{
    if (conn->client_side)
        return;
    struct server_counters *counters = conn->origin.origin->server.counters;
    counter_add(received ? &counters->received_bytes : &counters->sent_bytes, bytes);
}

void conn_unpin(struct conn *conn)
{
    MUST_BE(conn, CONN_MAGIC);
    MUST(conn->pins > 0);
    conn->pins--;
    settle(conn);
}

/* Receiving ---------------------------------------------------------------------------------------------------- */

static void receive_arm(struct conn *conn)
{
    if (op_armed(&conn->receive) || conn->ended || conn->paused || conn->held || conn->waiter.waiting)
        return;
    if (conn->single)
        op_recv_block(ring_of(conn), &conn->receive, conn->fd);
    else
        op_recv_multishot(ring_of(conn), &conn->receive, conn->fd);
}

static void waiter_ready(struct ring_waiter *waiter)
{
    struct conn *conn = CONTAINER_OF(waiter, struct conn, waiter);
    MUST_BE(conn, CONN_MAGIC);
    if (conn->state != CONN_OPEN && conn->state != CONN_FINISHING)
        return;
    receive_arm(conn);
    if (!conn->tls)
        return;
    conn->worker->loop.again = true;
    conn_flush(conn);
    if (conn->state == CONN_OPEN && conn_tls_received(conn))
        conn->events->input(conn);
}

static void finishing_input(struct conn *conn)
{
    struct queue *from = conn->tls ? &conn->tls->raw : &conn->in;
    conn->discarded += (uint32_t)from->bytes;
    queue_clear(from);
    if (conn->discarded > FINISH_BYTES_MAX || (conn->ended && conn->shut))
        conn_close(conn, false);
}

static void accept_bytes(struct conn *conn, int32_t result, uint32_t flags)
{
    struct block *block = ring_block(ring_of(conn), result, flags);
    if (conn->state == CONN_CLOSING) {
        block_unref(block);
        return;
    }
    struct queue *to = conn->tls ? &conn->tls->raw : &conn->in;
    queue_append(to, block);
    conn_count(conn, (uint32_t)result, true);
    if (unlikely(to->bytes >= QUEUE_BYTES_STOP || to->blocks >= QUEUE_BYTES_STOP / BLOCK_BYTES) && !conn->paused) {
        conn->paused = true;
        op_cancel(ring_of(conn), &conn->receive);
    }
}

static void receive_error(struct conn *conn, int error)
{
    if (error == ENOBUFS && !conn->held) {
        ring_wait_buffer(ring_of(conn), &conn->waiter);
        return;
    }
    if (error == ENOBUFS || error == ECANCELED || error == EINTR || error == EAGAIN) {
        receive_arm(conn); /* paused and held say whether */
        if (conn->held)
            conn->events->ready(conn);
        return;
    }
    if (conn->state == CONN_FINISHING)
        conn_close(conn, false);
    else
        conn->events->broken(conn, error);
}

void conn_ended(struct conn *conn)
{
    conn->ended = true;
    conn->cut |= !conn->tls && !conn->shut && socket_was_reset(conn->fd);
}

static void receive_done(struct op *op, int32_t result, uint32_t flags)
{
    struct conn *conn = CONTAINER_OF(op, struct conn, receive);
    MUST_BE(conn, CONN_MAGIC);
    if (likely(result > 0))
        accept_bytes(conn, result, flags);
    else if (flags & RING_BUFFER)
        block_unref(ring_block(ring_of(conn), 0, flags));
    if (unlikely(conn->state == CONN_CLOSING)) {
        settle(conn);
        return;
    }
    if (unlikely(result < 0)) {
        receive_error(conn, -result);
        return;
    }
    if (result == 0)
        conn_ended(conn);
    else if (conn->single) {
        conn->single = false;
        conn->receive_due = true;
        worker_flush_later(conn->worker, conn);
    } else if (unlikely(!(flags & RING_MORE)))
        receive_arm(conn);
    if (unlikely(conn->state == CONN_FINISHING))
        finishing_input(conn);
    else if (!conn->tls || conn_tls_received(conn))
        conn->events->input(conn);
}

void conn_receive(struct conn *conn)
{
    conn->single = !conn->tls;
    receive_arm(conn);
}

void conn_consume(struct conn *conn, uint64_t bytes)
{
    queue_consume(&conn->in, bytes);
    if (unlikely(conn->paused) && !conn->tls && conn->in.bytes <= QUEUE_BYTES_RESUME) {
        conn->paused = false;
        receive_arm(conn);
    }
    if (conn->tls && conn->in.bytes <= QUEUE_BYTES_RESUME && (conn->paused || conn->ended || !queue_empty(&conn->tls->raw)))
        conn_tls_open(conn); /* which takes receiving up again when that is not enough */
}

void conn_need_more(struct conn *conn)
{
    if (likely(!conn->paused))
        return;
    conn->paused = false;
    receive_arm(conn);
}

void conn_hold(struct conn *conn)
{
    conn->held = true;
    op_cancel(ring_of(conn), &conn->receive);
}

void conn_release_hold(struct conn *conn)
{
    conn->held = false;
    conn->single = !conn->tls;
    receive_arm(conn);
}

/* Sending ------------------------------------------------------------------------------------------------------ */

/* Everything has been sent. */
static void finish_sending(struct conn *conn)
{
    if (!conn->linger) {
        conn_close(conn, false);
        return;
    }
    conn->shut = true;
    shutdown(conn->fd, SHUT_WR);
    if (conn->ended)
        conn_close(conn, false);
}

/* What the kernel is given: content, or what was sealed of it. */
static struct chain *sent_from(struct conn *conn)
{
    return conn->tls ? &conn->tls->out : &conn->out;
}

bool conn_unsent(const struct conn *conn)
{
    return !chain_empty(&conn->out) || (conn->tls && !chain_empty(&conn->tls->out));
}

/* The half-close: everything that was to be sent has been. */
static void shut_down(struct conn *conn)
{
    if (conn->shut || conn->deaf)
        return;
    if (conn->tls && conn_tls_owes_farewell(conn)) {
        worker_flush_later(conn->worker, conn);
        return;
    }
    conn->shut = true;
    shutdown(conn->fd, SHUT_WR);
}

static void ended_sending(struct conn *conn)
{
    shut_down(conn);
    if (conn->shut)
        conn->events->drained(conn);
}

void conn_end_sending(struct conn *conn)
{
    MUST(conn->state == CONN_OPEN);
    if (conn->shutting)
        return;
    conn->shutting = true;
    if (!conn_unsent(conn) && !op_armed(&conn->send))
        shut_down(conn);
    else
        conn_flush(conn);
}

bool conn_is_spent(const struct conn *conn)
{
    bool sealed_waits = conn->tls && conn->waiter.waiting; /* for a block to be opened into */
    return conn->ended && queue_empty(&conn->in) && !sealed_waits;
}

static void send_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct conn *conn = CONTAINER_OF(op, struct conn, send);
    MUST_BE(conn, CONN_MAGIC);
    if (unlikely(conn->state == CONN_CLOSING)) {
        settle(conn);
        return;
    }
    if (unlikely(result < 0 && result != -EINTR && result != -EAGAIN)) {
        conn->deaf = true;
        chain_clear(&conn->out);
        if (conn->tls)
            chain_clear(&conn->tls->out);
        if (conn->state == CONN_FINISHING)
            conn_close(conn, false);
        else
            conn->events->broken(conn, -result);
        return;
    }
    if (result > 0) {
        chain_consume(sent_from(conn), (uint32_t)result);
        conn_count(conn, (uint32_t)result, false);
    }
    conn->sending = 0;
    if (unlikely(conn_unsent(conn)))
        worker_flush_later(conn->worker, conn);
    else if (unlikely(conn->shutting) && conn->state == CONN_OPEN)
        shut_down(conn);
    else if (unlikely(conn->state == CONN_FINISHING)) {
        if (conn->tls && conn_tls_owes_farewell(conn))
            worker_flush_later(conn->worker, conn);
        else
            finish_sending(conn);
        return;
    }
    if (conn->state == CONN_OPEN)
        conn->events->drained(conn);
}

void conn_flush(struct conn *conn)
{
    if (!conn->flushing && conn_unsent(conn) && !op_armed(&conn->send))
        worker_flush_later(conn->worker, conn);
}

static void send_several(struct conn *conn, struct chain *out, struct send_vector *vector)
{
    unsigned count = out->count;
    for (unsigned i = 0; i < count; i++) {
        struct span *span = chain_span(out, i);
        vector->runs[i] = (struct iovec){ span_at(span), span->length };
    }
    vector->message = (struct msghdr){ .msg_iov = vector->runs, .msg_iovlen = count };
    op_send_message(ring_of(conn), &conn->send, conn->fd, &vector->message);
}

bool conn_send(struct conn *conn, struct send_vectors *vectors)
{
    MUST_BE(conn, CONN_MAGIC);
    struct chain *out = sent_from(conn);
    if (conn->tls && conn->state != CONN_CLOSING && !op_armed(&conn->send))
        conn_tls_seal(conn);
    bool several = out->count > 1;
    if (unlikely(conn->receive_due)) {
        conn->receive_due = false;
        if (conn->state != CONN_CLOSING)
            receive_arm(conn);
    }
    if (several && vectors->used == SEND_VECTORS)
        return false;
    conn->flushing = false;
    if (conn->state == CONN_CLOSING) {
        settle(conn);
        return true;
    }
    if (unlikely(conn->sink)) {
        chain_clear(out);
        conn->events->drained(conn);
        return true;
    }
    if (op_armed(&conn->send) || chain_empty(out)) {
        if (conn->state == CONN_FINISHING && !op_armed(&conn->send) && !conn_unsent(conn) && !conn->shut)
            finish_sending(conn);
        else if (unlikely(conn->shutting) && conn->state == CONN_OPEN && !op_armed(&conn->send) && !conn_unsent(conn))
            ended_sending(conn);
        return true;
    }
    conn->sending = out->bytes;
    if (several)
        send_several(conn, out, &vectors->list[vectors->used++]);
    else {
        struct span *span = chain_span(out, 0);
        op_send(ring_of(conn), &conn->send, conn->fd, span_at(span), span->length);
    }
    return true;
}

bool conn_is_ready(const struct conn *conn)
{
    return conn->state == CONN_OPEN && (!conn->tls || conn->tls->open);
}

/* Connecting, deadlines ---------------------------------------------------------------------------------------- */

static void connect_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct conn *conn = CONTAINER_OF(op, struct conn, other);
    MUST_BE(conn, CONN_MAGIC);
    if (settle(conn) || conn->state != CONN_CONNECTING)
        return;
    conn_connected(conn, -result);
}

void conn_connected(struct conn *conn, int error)
{
    if (error == 0)
        set_state(conn, CONN_OPEN);
    if (error == 0 && conn->tls) {
        conn_receive(conn);
        conn_tls_shake_later(conn);
    } else
        conn->events->connected(conn, error);
}

void conn_connecting(struct conn *conn)
{
    MUST(conn->state == CONN_OPEN);
    set_state(conn, CONN_CONNECTING);
}

void conn_connect(struct conn *conn, const struct sockaddr *address, socklen_t bytes)
{
    conn_connecting(conn);
    conn->other.done = connect_done;
    op_connect(ring_of(conn), &conn->other, conn->fd, address, bytes);
}

static void timer_fired(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    MUST_BE(conn, CONN_MAGIC);
    if (conn->state == CONN_FINISHING)
        conn_close(conn, false);
    else if (conn->state != CONN_CLOSING)
        conn->events->timeout(conn);
}

void conn_deadline(struct conn *conn, uint64_t at_ms)
{
    if (at_ms == TIMER_NEVER)
        timer_cancel(wheel_of(conn), &conn->timer);
    else
        timer_set(wheel_of(conn), &conn->timer, at_ms);
}

/* Life --------------------------------------------------------------------------------------------------------- */

struct conn *conn_new(struct worker *worker, int fd, bool client_side, const struct conn_events *events)
{
    struct conn *conn = slab_take(&worker->conns);
    if (!conn)
        return NULL;
    uint16_t generations[] = { conn->receive.generation, conn->send.generation, conn->other.generation };
    memset(conn, 0, sizeof *conn);
    conn->magic = CONN_MAGIC;
    conn->fd = fd;
    conn->state = CONN_OPEN;
    conn->client_side = client_side;
    conn->events = events;
    conn->worker = worker;
    conn->receive = (struct op){ .done = receive_done, .generation = generations[0] };
    conn->send = (struct op){ .done = send_done, .generation = generations[1] };
    conn->other.generation = generations[2];
    conn->timer.fire = timer_fired;
    conn->waiter.ready = waiter_ready;
    conn->number = ++worker->next_number;
    return conn;
}

static void send_reset(struct conn *conn)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void conn_close(struct conn *conn, bool reset)
{
    MUST_BE(conn, CONN_MAGIC);
    if (conn->state == CONN_CLOSING)
        return;
    if (conn->tls && !reset)
        conn_tls_goodbye(conn);
    if (unlikely(!conn->client_side && conn->origin.race))
        race_abandon(conn->origin.race);
    set_state(conn, CONN_CLOSING);
    if (reset && conn->fd >= 0)
        send_reset(conn);
    timer_cancel(wheel_of(conn), &conn->timer);
    ring_wait_buffer_cancel(ring_of(conn), &conn->waiter);
    op_cancel(ring_of(conn), &conn->receive);
    op_cancel(ring_of(conn), &conn->send);
    op_cancel(ring_of(conn), &conn->other);
    queue_clear(&conn->in);
    if (op_armed(&conn->receive) && !op_armed(&conn->send) && !op_armed(&conn->other) && conn->pins == 0) {
        ring_close(ring_of(conn), conn->fd);
        conn->fd_closed = true;
    }
    settle(conn);
}

int conn_detach(struct conn *conn)
{
    MUST(conn->state == CONN_OPEN && !conn->tls && quiet(conn) && !conn_unsent(conn));
    int fd = conn->fd;
    set_state(conn, CONN_CLOSING);
    timer_cancel(wheel_of(conn), &conn->timer);
    ring_wait_buffer_cancel(ring_of(conn), &conn->waiter);
    conn->fd_closed = true; /* as far as this conn goes */
    settle(conn);
    return fd;
}

void conn_finish(struct conn *conn, bool linger)
{
    MUST(conn->state == CONN_OPEN);
    set_state(conn, CONN_FINISHING);
    conn->exchange = NULL;
    conn->held = false;
    conn->paused = false;
    conn->discarded = 0;
    conn->linger = linger;
    queue_clear(&conn->in);
    conn_deadline(conn, conn->worker->loop.now_ms + FINISH_MS);
    receive_arm(conn);
    if (conn->tls) {
        queue_clear(&conn->tls->raw);
        worker_flush_later(conn->worker, conn); /* for close_notify, at least */
    } else if (chain_empty(&conn->out) && !op_armed(&conn->send))
        finish_sending(conn);
    else
        conn_flush(conn);
}

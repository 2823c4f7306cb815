#include "engine/conn_tls.h"

#include <sys/socket.h>

#include "engine/worker.h"

/* Life --------------------------------------------------------------------------------------------------------- */

bool conn_tls_new(struct conn *conn)
{
    struct tls *tls = slab_take(&conn->worker->sessions);
    if (!tls)
        return false;
    tls_init(tls);
    conn->tls = tls;
    return true;
}

static void forget_shake(struct conn *conn)
{
    struct conn **at = &conn->worker->shake_first;
    if (!conn->shaking)
        return;
    while (*at != conn)
        at = &(*at)->next_shake;
    *at = conn->next_shake;
    if (conn->worker->shake_tail == &conn->next_shake)
        conn->worker->shake_tail = at;
    conn->shaking = false;
}

void conn_tls_free(struct conn *conn)
{
    if (!conn->tls)
        return;
    forget_shake(conn);
    tls_release(conn->tls);
    slab_return(&conn->worker->sessions, conn->tls);
    conn->tls = NULL;
}

void conn_tls_wait_for_block(struct conn *conn)
{
    if (op_armed(&conn->send) || !chain_empty(&conn->tls->out))
        return; /* what is sent gives a block back */
    ring_wait_block(&conn->worker->loop.ring, &conn->waiter);
}

/* Handshakes --------------------------------------------------------------------------------------------------- */

void conn_tls_shake_later(struct conn *conn)
{
    if (conn->shaking)
        return;
    conn->shaking = true;
    conn->next_shake = NULL;
    *conn->worker->shake_tail = conn;
    conn->worker->shake_tail = &conn->next_shake;
}

void conn_tls_shake_queued(struct worker *worker)
{
    for (unsigned i = 0; i < SHAKES_PER_TURN && worker->shake_first; i++) {
        struct conn *conn = worker->shake_first;
        forget_shake(conn);
        if (conn->state == CONN_OPEN || conn->state == CONN_CONNECTING)
            conn->events->shake(conn);
    }
    if (worker->shake_first)
        worker->loop.again = true;
}

enum tls_verdict conn_tls_shake(struct conn *conn, char why[160])
{
    enum tls_verdict verdict = tls_handshake(conn->tls, &conn->worker->tls_room, why);
    if (verdict == TLS_WANTS_INPUT)
        conn_need_more(conn);
    else if (verdict == TLS_WANTS_ROOM)
        conn_tls_wait_for_block(conn);
    conn_flush(conn);
    return verdict;
}

/* Receiving ---------------------------------------------------------------------------------------------------- */

/* Without waiting for the ring, where nothing is under way that it could get into the middle of: the last words of a session. */
static void send_now(struct conn *conn)
{
    struct chain *out = &conn->tls->out;
    while (!chain_empty(out) && !op_armed(&conn->send) && !conn->deaf) {
        struct span *span = chain_span(out, 0);
        ssize_t sent = send(conn->fd, span_at(span), span->length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        chain_consume(out, (uint32_t)sent);
    }
}

/* The peer broke the rules: it is told, and nothing that it sent from there on counts. */
static void lose(struct conn *conn, const char *why)
{
    COUNT(conn->worker, tls_broken);
    log_line(LOG_INFO, "TLS connection %llu: %s", (unsigned long long)conn->number, why);
    send_now(conn);
    conn->ended = conn->cut = true;
    queue_clear(&conn->tls->raw);
}

void conn_tls_open(struct conn *conn)
{
    char why[160];
    struct tls *tls = conn->tls;
    if (conn->ended && queue_empty(&tls->raw)) {
        conn->cut |= !tls->peer_closed;
        return;
    }
    switch (tls_read(tls, &conn->in, QUEUE_BYTES_STOP, &conn->worker->tls_room, why)) {
    case TLS_WANTS_INPUT:
        conn->cut |= conn->ended;
        conn_need_more(conn);
        break;
    case TLS_CLOSED:
        conn->ended = true;
        queue_clear(&tls->raw);
        break;
    case TLS_REFUSED:
        lose(conn, why);
        break;
    case TLS_WANTS_ROOM:
        conn->cut |= conn->ended; /* what waits may never be seen */
        ring_wait_block(&conn->worker->loop.ring, &conn->waiter);
        break;
    case TLS_DONE:
        break;
    }
    if (unlikely(!chain_empty(&tls->out)) && conn->shut)
        chain_clear(&tls->out);
    else if (unlikely(!chain_empty(&tls->out)))
        conn_flush(conn); /* the answer to a key update */
}

bool conn_tls_received(struct conn *conn)
{
    struct tls *tls = conn->tls;
    if (unlikely(!tls->open)) {
        conn_tls_shake_later(conn);
        return false;
    }
    uint64_t before = conn->in.bytes;
    bool ended = conn->ended;
    conn_tls_open(conn);
    return conn->in.bytes != before || conn->ended != ended || ended;
}

/* Sending ------------------------------------------------------------------------------------------------------ */

void conn_tls_seal(struct conn *conn)
{
    struct tls *tls = conn->tls;
    if (!tls->open)
        return;
    enum tls_verdict verdict = tls_write(tls, &conn->out, &conn->worker->tls_room);
    if (verdict == TLS_REFUSED)
        chain_clear(&conn->out); /* what came before it is still sent, and the end follows */
    else if (verdict == TLS_WANTS_ROOM)
        conn_tls_wait_for_block(conn);
    else if (verdict == TLS_DONE && (conn->state == CONN_FINISHING || conn->shutting))
        (void)tls_close(tls, &conn->worker->tls_room);
}

bool conn_tls_owes_farewell(const struct conn *conn)
{
    return conn->tls->open && !conn->tls->failed && !conn->tls->close_sent;
}

void conn_tls_goodbye(struct conn *conn)
{
    struct tls *tls = conn->tls;
    if (!tls->open || tls->failed || conn->deaf || op_armed(&conn->send) || !chain_empty(&tls->out) || !chain_empty(&conn->out))
        return;
    if (tls_close(tls, &conn->worker->tls_room))
        send_now(conn);
}

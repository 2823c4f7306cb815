/*
 * PEEK: where a TLS connection goes that is not ended here. The ClientHello is read where it lies and stays there, so the server gets every byte of it.
 *
 * As a client's handshake it is under limits.handshakes and timeouts.handshake until it is whole; proto/tls_hello.h bounds its length and its pieces.
 * An old version of TLS is the server's affair.
 */
#include "engine/front_tls.h"
#include "engine/stream.h"

bool stream_peek_begin(struct stream *s)
{
    struct worker *worker = s->worker;
    if (!place_take(&worker->shared->handshakes, s->view->config->limits.handshakes_max)) {
        COUNT(worker, handshakes_refused);
        return false;
    }
    s->client->client.handshaking = true;
    conn_deadline(s->client, worker->loop.now_ms + s->view->config->timeouts.handshake_ms);
    return true;
}

/* All of it that is here, in one run. */
static enum tls_hello_verdict read_hello(struct stream *s, struct tls_hello *hello)
{
    struct queue *in = &s->client->in;
    for (;;) {
        enum tls_hello_verdict verdict = tls_hello_read(queue_front(in), s->worker->tls_room.scratch, hello);
        if (verdict != TLS_HELLO_MORE)
            return verdict;
        enum err e = queue_gather(in, &s->worker->blocks);
        if (e == ERR_CUT)
            return TLS_HELLO_MORE;
        if (e != ERR_OK)
            return TLS_HELLO_LARGE;
    }
}

static enum stream_verdict goes_to(struct stream *s, const uint32_t *pool)
{
    if (!pool) {
        COUNT(s->worker, tcp_no_match);
        return stream_end(s, "tcp_no_match", false);
    }
    front_tls_leave(s->client);
    conn_deadline(s->client, TIMER_NEVER);
    s->pool = &s->view->pools[*pool];
    s->state = STREAM_SELECT;
    return STREAM_GOES_ON;
}

static const uint32_t *pool_of_rest(const struct stream *s)
{
    return s->listener->tcp.has_pool ? &s->listener->tcp.pool : NULL;
}

static enum stream_verdict routed(struct stream *s, const struct tls_hello *hello)
{
    const struct config_tcp *tcp = &s->listener->tcp;
    s->name_length = hello->name_length;
    memcpy(s->name, hello->name, hello->name_length);
    const struct passthrough_row *row =
        passthrough_find(tcp->passthrough, tcp->passthrough_count, slice_of(hello->name, hello->name_length), hello->protocols);
    return goes_to(s, row ? &row->pool : pool_of_rest(s));
}

static enum stream_verdict refuse(struct stream *s)
{
    COUNT(s->worker, tcp_malformed);
    return stream_end(s, "tcp_malformed", true);
}

enum stream_verdict stream_peek(struct stream *s)
{
    struct tls_hello hello;
    switch (read_hello(s, &hello)) {
    case TLS_HELLO_MORE:
        if (s->client->ended)
            return queue_empty(&s->client->in) ? stream_end(s, NULL, false) : refuse(s);
        conn_need_more(s->client);
        return STREAM_WAITS;
    case TLS_HELLO_DONE:
    case TLS_HELLO_OLD: return routed(s, &hello);
    case TLS_HELLO_PLAIN:
    case TLS_HELLO_FOREIGN: return goes_to(s, pool_of_rest(s));
    case TLS_HELLO_BAD:
    case TLS_HELLO_LARGE: break;
    }
    return refuse(s);
}

enum stream_verdict stream_peek_timeout(struct stream *s)
{
    COUNT(s->worker, handshake_timeouts);
    return stream_end(s, "handshake_timeouts", true);
}

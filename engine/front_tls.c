#include "engine/front_tls.h"

#include "engine/certificates.h"
#include "engine/conn_tls.h"
#include "engine/exchange.h"
#include "engine/front.h"
#include "engine/front_header.h"
#include "engine/worker.h"
#include "proto/tls_hello.h"

/* Places ------------------------------------------------------------------------------------------------------- */

void front_tls_leave(struct conn *client)
{
    if (!client->client.handshaking)
        return;
    client->client.handshaking = false;
    place_return(&client->worker->shared->handshakes);
}

bool front_tls_accept(struct conn *client)
{
    struct worker *worker = client->worker;
    if (!place_take(&worker->shared->handshakes, worker->view->config->limits.handshakes_max)) {
        COUNT(worker, handshakes_refused);
        return false;
    }
    client->client.handshaking = true;
    if (!conn_tls_new(client)) {
        COUNT(worker, no_memory);
        return false;
    }
    conn_deadline(client, worker->loop.now_ms + worker->view->config->timeouts.handshake_ms);
    return true;
}

/* Ends --------------------------------------------------------------------------------------------------------- */

static void fail(struct conn *client, const char *why)
{
    COUNT(client->worker, handshake_failures);
    if (client->exchange) { /* of early data */
        exchange_client_broken(client->exchange);
        return;
    }
    front_name(client);
    log_line(LOG_INFO, "TLS with %.*s: %s", (int)client->client.address_length, client->client.address, why);
    front_finish(client, true);
}

static void fail_with_alert(struct conn *client, enum tls_alert alert, const char *why)
{
    char record[7];
    (void)!chain_append_copy(&client->tls->out, &client->worker->blocks, tls_plain_alert(alert, record));
    fail(client, why);
}

void front_tls_timeout(struct conn *client)
{
    COUNT(client->worker, handshake_timeouts);
    front_close(client, true);
}

static void cut(struct conn *client)
{
    COUNT(client->worker, handshake_failures);
    if (client->exchange)
        exchange_client_broken(client->exchange);
    else
        front_close(client, false);
}

void front_tls_refuse_record(struct conn *client)
{
    char record[7];
    COUNT(client->worker, tls_on_plain);
    (void)!chain_append_copy(&client->out, &client->worker->blocks, tls_plain_alert(TLS_UNEXPECTED_MESSAGE, record));
    front_finish(client, true);
}

/* The hello ---------------------------------------------------------------------------------------------------- */

static void answer_plain(struct conn *client)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 52\r\nConnection: close\r\n\r\n"
                               "Plain HTTP was sent to a port that speaks TLS only.\n";
    COUNT(client->worker, plain_on_tls);
    COUNT(client->worker, responses_4xx);
    (void)!chain_append_copy(&client->tls->out, &client->worker->blocks, SLICE(text));
    front_finish(client, true);
}

static void start(struct conn *client, const struct tls_hello *hello)
{
    const struct listener_tls *tls = client->client.listener->tls;
    struct tls_context *context = tls ? listener_tls_choose(tls, hello) : NULL;
    if (!tls)
        fail_with_alert(client, TLS_INTERNAL_ERROR, "its listener left the configuration");
    else if (!context)
        fail_with_alert(client, TLS_UNRECOGNIZED_NAME, "no certificate has the name it asks for");
    else if (tls_start_server(client->tls, context, hello->alpn && !client->client.tcp) != ERR_OK) {
        COUNT(client->worker, no_memory);
        fail_with_alert(client, TLS_INTERNAL_ERROR, "out of memory");
    } else {
        if ((client->worker->view->config->tells_names || client->client.tcp) && hello->name_length)
            tls_keep_name(client->tls, hello->name);
        client->client.early = hello->early_data && hello->tls13 && !client->client.tcp && tls_context_early_data(context) > 0;
    }
}

/* All of it that is here, in one run. */
static enum tls_hello_verdict peek(struct conn *client, struct tls_hello *hello)
{
    struct queue *raw = &client->tls->raw;
    for (;;) {
        enum tls_hello_verdict verdict = tls_hello_read(queue_front(raw), client->worker->tls_room.scratch, hello);
        if (verdict != TLS_HELLO_MORE)
            return verdict;
        enum err e = queue_gather(raw, &client->worker->blocks);
        if (e == ERR_CUT)
            return TLS_HELLO_MORE;
        if (e != ERR_OK)
            return TLS_HELLO_LARGE;
    }
}

/* True: a session was started, or the connection is over. */
static bool read_hello(struct conn *client)
{
    struct tls_hello hello;
    switch (peek(client, &hello)) {
    case TLS_HELLO_MORE:
        if (client->ended)
            cut(client);
        else
            conn_need_more(client);
        return false;
    case TLS_HELLO_DONE: start(client, &hello); break;
    case TLS_HELLO_PLAIN:
        if (client->client.tcp)
            fail_with_alert(client, TLS_UNEXPECTED_MESSAGE, "this is not TLS");
        else
            answer_plain(client);
        break;
    case TLS_HELLO_OLD: fail_with_alert(client, TLS_PROTOCOL_VERSION, "an old version of the protocol"); break;
    case TLS_HELLO_BAD: fail_with_alert(client, TLS_DECODE_ERROR, "a malformed hello"); break;
    case TLS_HELLO_LARGE: fail_with_alert(client, TLS_DECODE_ERROR, "a hello that is too large"); break;
    case TLS_HELLO_FOREIGN: fail_with_alert(client, TLS_UNEXPECTED_MESSAGE, "this is not TLS"); break;
    }
    return client->state == CONN_OPEN;
}

/* The handshake ------------------------------------------------------------------------------------------------ */

static void opened(struct conn *client)
{
    struct worker *worker = client->worker;
    COUNT(worker, handshakes);
    if (client->tls->resumed)
        COUNT(worker, handshakes_resumed);
    front_tls_leave(client);
    client->client.head_since_ms = worker->loop.now_ms;
    conn_deadline(client, worker->loop.now_ms + worker->view->config->timeouts.idle_ms);
    conn_flush(client); /* answers to early requests */
    bool more = conn_tls_received(client);
    if (unlikely(client->client.tcp)) {
        front_begin_stream(client);
        return;
    }
    if (more)
        client->events->input(client);
    if (client->exchange)
        exchange_run(client->exchange);
}

/* Requests that came before the handshake's end begin at once. False: nothing else is to be done now. */
static bool read_early(struct conn *client)
{
    char why[160];
    uint64_t before = client->in.bytes;
    enum tls_verdict verdict = tls_read_early(client->tls, &client->in, &client->worker->tls_room, why);
    conn_flush(client);
    client->client.early = verdict != TLS_DONE;
    if (verdict == TLS_REFUSED || verdict == TLS_CLOSED || (verdict == TLS_WANTS_INPUT && client->ended)) {
        fail(client, verdict == TLS_REFUSED ? why : "it closed during the handshake");
        return false;
    }
    if (verdict == TLS_WANTS_INPUT)
        conn_need_more(client);
    else if (verdict == TLS_WANTS_ROOM)
        conn_tls_wait_for_block(client);
    if (client->in.bytes != before)
        client->events->input(client);
    return !client->client.early && client->state == CONN_OPEN;
}

void front_tls_shake(struct conn *client)
{
    char why[160];
    if (client->tls->open)
        return;
    if (unlikely(client->client.header_due) && !front_header_read(client, &client->tls->raw))
        return;
    if (!tls_started(client->tls) && !read_hello(client))
        return;
    if (unlikely(client->client.early) && !read_early(client))
        return;
    switch (conn_tls_shake(client, why)) {
    case TLS_DONE: opened(client); break;
    case TLS_WANTS_INPUT:
        if (client->ended)
            cut(client);
        break;
    case TLS_WANTS_ROOM: break; /* again when something was sent, or there is a block */
    case TLS_CLOSED:
    case TLS_REFUSED: fail(client, why); break;
    }
}

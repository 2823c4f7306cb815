#include "engine/front.h"

#include <arpa/inet.h>

#include "engine/back.h"
#include "engine/conn_tls.h"
#include "engine/exchange.h"
#include "engine/front_header.h"
#include "engine/front_tls.h"
#include "engine/socket.h"
#include "engine/stream.h"
#include "engine/worker.h"

static const struct config *config_of(struct conn *client)
{
    return client->worker->view->config;
}

static void set_idle(struct conn *client, bool idle)
{
    if (client->client.idle == idle)
        return;
    client->client.idle = idle;
    if (idle)
        counter_add(&client->worker->stats->clients_idle, 1);
    else
        counter_sub(&client->worker->stats->clients_idle, 1);
}

static void count_out(struct conn *client)
{
    struct worker *worker = client->worker;
    struct listener *listener = client->client.listener;
    counter_sub(&worker->stats->clients, 1);
    worker->client_count--;
    back_client_left(client);
    front_tls_leave(client);
    place_return(&worker->shared->clients);
    client->client.listener = NULL;
    listener_unref(listener);
    if (unlikely(worker->draining))
        worker_drained(worker);
}

void front_close(struct conn *client, bool reset)
{
    if (!client->exchange)
        counter_sub(&client->worker->stats->clients_idle, client->client.idle);
    count_out(client);
    conn_close(client, reset);
}

void front_finish(struct conn *client, bool linger)
{
    set_idle(client, false);
    count_out(client);
    conn_finish(client, linger);
}

/* Between requests --------------------------------------------------------------------------------------------- */

/* FIN between requests: whatever is queued still goes out; half a head is an abort. */
static void ended_between(struct conn *client)
{
    if (client->in.bytes > 0)
        COUNT(client->worker, client_aborts);
    set_idle(client, false);
    if (!conn_unsent(client) && !op_armed(&client->send) && !client->tls)
        front_close(client, false);
    else
        front_finish(client, true);
}

static void await_rest_of_head(struct conn *client)
{
    if (client->ended) {
        ended_between(client);
        return;
    }
    conn_need_more(client);
    conn_deadline(client, client->client.head_since_ms + config_of(client)->timeouts.head_ms);
}

/* The first byte of a record of a handshake (RFC 8446 5.1); no method begins with it. */
static bool begins_as_tls(const struct conn *client)
{
    struct slice run = client->tls || client->client.requests ? SLICE_NONE : queue_front(&client->in);
    return run.length > 0 && run.at[0] == TLS_HANDSHAKE;
}

/* Begins as many pipelined requests as can be: each must have ended, and have left room for an answer. */
static void serve_input(struct conn *client)
{
    if (unlikely(client->client.header_due)) {
        if (!front_header_read(client, &client->in))
            return;
        if (client->client.tcp) {
            front_begin_stream(client);
            return;
        }
    }
    if (unlikely(begins_as_tls(client))) {
        set_idle(client, false);
        front_tls_refuse_record(client);
        return;
    }
    while (client->state == CONN_OPEN && !client->exchange && !queue_empty(&client->in) && conn_room(client) >= 4) {
        if (client->client.idle) {
            set_idle(client, false);
            client->client.head_since_ms = client->worker->loop.now_ms;
        }
        client->client.serving = true;
        bool begun = exchange_begin(client);
        client->client.serving = false;
        if (!begun) {
            if (client->state == CONN_OPEN)
                await_rest_of_head(client);
            return;
        }
    }
    if (client->state == CONN_OPEN && !client->exchange && client->ended && queue_empty(&client->in))
        ended_between(client);
}

void front_next(struct conn *client, bool keep, bool more_may_come)
{
    const struct config *config = config_of(client);
    client->client.requests++;
    conn_flush(client);
    if (!keep) {
        front_finish(client, more_may_come || !queue_empty(&client->in));
        return;
    }
    client->client.progress = (struct h1_progress){ 0 };
    client->client.head_since_ms = client->worker->loop.now_ms;
    set_idle(client, true);
    conn_deadline(client, client->worker->loop.now_ms + config->timeouts.idle_ms);
    if (unlikely(client->held))
        conn_release_hold(client);
    if (!client->client.serving && (!queue_empty(&client->in) || client->ended))
        serve_input(client);
}

/* A TCP listener's: what comes is passed on. A listener that left, or serves HTTP by now, leads it nowhere. */
void front_begin_stream(struct conn *client)
{
    const struct config_listener *listener = client->client.listener->tcp;
    if (!listener) {
        front_close(client, true);
        return;
    }
    set_idle(client, false);
    stream_begin(client, listener);
}

/* Events ------------------------------------------------------------------------------------------------------- */

static void input(struct conn *client)
{
    struct exchange *x = client->exchange;
    if (!x) {
        serve_input(client);
        return;
    }
    x->client_moved_ms = client->worker->loop.now_ms;
    if (unlikely(client->ended && x->waiter.waiting))
        exchange_client_broken(x); /* it gave up before anybody was asked: its place goes to the next */
    else if (!x->request_done || unlikely(client->ended && x->forward))
        exchange_run(x);
}

static void drained(struct conn *client)
{
    struct exchange *x = client->exchange;
    if (unlikely(!conn_is_ready(client))) {
        conn_tls_shake_later(client);
        return;
    }
    if (x) {
        x->client_moved_ms = client->worker->loop.now_ms;
        exchange_run(x);
    } else if (unlikely(!queue_empty(&client->in)))
        serve_input(client);
}

static void broken(struct conn *client, int error)
{
    (void)error;
    if (client->exchange)
        exchange_client_broken(client->exchange);
    else
        front_close(client, false);
}

static void answer_timeout(struct conn *client)
{
    static const char text[] = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    COUNT(client->worker, head_timeouts);
    COUNT(client->worker, responses_4xx);
    if (chain_append_copy(&client->out, &client->worker->blocks, SLICE(text)) == ERR_OK)
        front_finish(client, true);
    else
        front_close(client, true);
}

static void timeout(struct conn *client)
{
    if (client->exchange) {
        exchange_client_timeout(client->exchange);
        return;
    }
    if (unlikely(client->client.header_due)) {
        front_header_timeout(client);
        return;
    }
    if (unlikely(!conn_is_ready(client))) {
        front_tls_timeout(client);
        return;
    }
    const struct config_timeouts *timeouts = &config_of(client)->timeouts;
    uint64_t now_ms = client->worker->loop.now_ms;
    uint64_t due_ms = client->client.head_since_ms + (client->client.idle ? timeouts->idle_ms : timeouts->head_ms);
    if (due_ms > now_ms)
        conn_deadline(client, due_ms);
    else if (client->client.idle) {
        set_idle(client, false);
        front_finish(client, true);
    } else
        answer_timeout(client);
}

static void ready(struct conn *client)
{
    if (client->exchange)
        exchange_run(client->exchange);
}

static const struct conn_events front_events = {
    .input = input, .drained = drained, .broken = broken, .timeout = timeout, .ready = ready, .shake = front_tls_shake,
};

/* Accepting ---------------------------------------------------------------------------------------------------- */

void front_accept(struct listener *listener, int fd)
{
    struct worker *worker = listener->worker;
    if (!place_take(&worker->shared->clients, worker->view->config->limits.connections_max)) {
        COUNT(worker, refused_connections);
        ring_close(&worker->loop.ring, fd);
        return;
    }
    struct conn *client = conn_new(worker, fd, true, &front_events);
    if (!client) {
        COUNT(worker, no_memory);
        place_return(&worker->shared->clients);
        ring_close(&worker->loop.ring, fd);
        return;
    }
    client->client.listener = listener;
    client->client.head_since_ms = worker->loop.now_ms;
    client->client.tcp = listener->tcp != NULL;
    listener->clients++;
    worker->client_count++;
    counter_add(&worker->stats->clients, 1);
    set_idle(client, true);
    if (unlikely(listener->proxied != NULL))
        front_header_expect(client);
    const struct config_timeouts *timeouts = &worker->view->config->timeouts;
    conn_deadline(client, worker->loop.now_ms + (client->client.header_due ? timeouts->head_ms : timeouts->idle_ms));
    if (listener->tls && !front_tls_accept(client)) {
        front_close(client, true);
        return;
    }
    conn_receive(client);
    if (unlikely(client->client.tcp) && !client->tls && !client->client.header_due)
        front_begin_stream(client);
}

void front_drain(struct conn *client)
{
    if (client->state != CONN_OPEN || client->exchange || client->stream || !client->client.listener)
        return;
    set_idle(client, false);
    front_finish(client, true);
}

/* Who it is ---------------------------------------------------------------------------------------------------- */

bool front_trusts(const struct config *config, const uint8_t address[16])
{
    return network_is_among(address, config->trusted_proxies, config->trusted_proxy_count);
}

bool front_may_purge(const struct config *config, const uint8_t address[16])
{
    return network_is_among(address, config->cache.purge_from, config->cache.purge_from_count);
}

void front_name(struct conn *client)
{
    struct conn_client *who = &client->client;
    if (who->named)
        return;
    uint8_t address[16];
    who->named = true;
    who->address_length = (uint8_t)socket_peer(client->fd, who->address, &who->port, address);
    who->trusted = who->trusted || front_trusts(config_of(client), address);
}

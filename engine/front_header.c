#include "engine/front_header.h"

#include "engine/front.h"
#include "engine/socket.h"
#include "engine/worker.h"
#include "proto/address_text.h"
#include "proto/proxy_header.h"

#define TELL_MS 1000u

static const struct config *config_of(const struct conn *client)
{
    return client->worker->view->config;
}

void front_header_expect(struct conn *client)
{
    struct conn_client *who = &client->client;
    const struct config_proxied *proxied = who->listener->proxied;
    uint8_t address[16];
    who->address_length = (uint8_t)socket_peer(client->fd, who->address, &who->port, address);
    who->trusted = front_trusts(config_of(client), address);
    who->named = true;
    who->header_due = network_is_among(address, proxied->from, proxied->from_count);
}

static void adopt(struct conn *client, const struct proxy_header *header)
{
    struct conn_client *who = &client->client;
    who->header_due = false;
    who->header_tls = header->has_tls && (header->tls.client & PROXY_TLS_CLIENT);
    if (header->family != PROXY_V4 && header->family != PROXY_V6)
        return; /* a path is no address */
    who->address_length = (uint8_t)address_text_write(header->source, false, who->address);
    who->port = header->source_port;
    who->trusted = front_trusts(config_of(client), header->source);
    who->header_named = true;
    memcpy(who->destination, header->destination, sizeof who->destination);
    who->destination_port = header->destination_port;
}

static void refuse(struct conn *client, const char *why)
{
    struct worker *worker = client->worker;
    COUNT(worker, proxy_refused);
    if (worker->loop.now_ms >= worker->header_told_ms + TELL_MS || worker->header_told_ms == 0) {
        worker->header_told_ms = worker->loop.now_ms;
        log_line(LOG_WARN, "connection from %.*s to \"%.*s\" closed, PROXY header: %s",
                 (int)client->client.address_length, client->client.address,
                 (int)client->client.listener->address.length, client->client.listener->address.at, why);
    }
    front_close(client, true);
}

/* All that is here, in one run. */
static enum proxy_verdict peek(struct conn *client, struct queue *from, struct proxy_header *header, const char **why)
{
    for (;;) {
        enum proxy_verdict verdict = proxy_header_read(queue_front(from), header, why);
        if (verdict != PROXY_MORE)
            return verdict;
        enum err e = queue_gather(from, &client->worker->blocks);
        if (e == ERR_CUT)
            return PROXY_MORE;
        if (e != ERR_OK) {
            *why = "out of memory";
            return PROXY_BAD;
        }
    }
}

/* Who only looks whether somebody listens is not told of. */
static void ended_early(struct conn *client, const struct queue *from)
{
    if (queue_empty(from))
        front_close(client, false);
    else
        refuse(client, "it ended inside of it");
}

static void take(struct conn *client, struct queue *from, uint32_t bytes)
{
    struct worker *worker = client->worker;
    COUNT(worker, proxy_headers);
    if (from != &client->in) {
        queue_consume(from, bytes); /* the handshake goes on under the deadline that it has */
        return;
    }
    conn_consume(client, bytes);
    client->client.head_since_ms = worker->loop.now_ms;
    conn_deadline(client, worker->loop.now_ms + config_of(client)->timeouts.idle_ms);
}

bool front_header_read(struct conn *client, struct queue *from)
{
    struct proxy_header header;
    const char *why;
    enum proxy_verdict verdict = peek(client, from, &header, &why);
    if (verdict == PROXY_BAD)
        refuse(client, why);
    else if (verdict == PROXY_DONE) {
        adopt(client, &header);
        take(client, from, header.bytes);
    } else if (client->ended)
        ended_early(client, from);
    else
        conn_need_more(client);
    return verdict == PROXY_DONE;
}

void front_header_timeout(struct conn *client)
{
    COUNT(client->worker, proxy_timeouts);
    front_close(client, true);
}

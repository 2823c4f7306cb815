/*
 * SELECT of the forward proxy: the host's name is looked up, each address it stands for is judged, and what is left becomes a destination that the
 * exchange leases. Nothing is looked up again behind that: ATTACH connects to these addresses.
 *
 * And CONNECT's FORWARD: the connection stands, the client is told so, and bytes pass both ways from there on.
 */
#include <stdio.h>

#include "engine/content.h"
#include "engine/forward.h"
#include "engine/tunnel.h"
#include "proto/address_text.h"

/* Addresses ---------------------------------------------------------------------------------------------------- */

/* What the policy has let pass, in the order to try it. */
struct candidates {
    struct peer_address list[SERVER_ADDRESSES_MAX];
    uint32_t count;
    enum forward_verdict refusal; /* of the last one that was not */
};

static void add_peer(struct candidates *to, const uint8_t address[16], bool v4, uint16_t port)
{
    if (to->count == SERVER_ADDRESSES_MAX)
        return;
    struct peer_address *peer = &to->list[to->count++];
    memset(peer, 0, sizeof *peer);
    if (v4) {
        peer->socket.v4.sin_family = AF_INET;
        peer->socket.v4.sin_port = htons(port);
        memcpy(&peer->socket.v4.sin_addr, address + 12, 4);
        peer->socket_bytes = sizeof peer->socket.v4;
        return;
    }
    peer->socket.v6.sin6_family = AF_INET6;
    peer->socket.v6.sin6_port = htons(port);
    memcpy(&peer->socket.v6.sin6_addr, address, 16);
    peer->socket_bytes = sizeof peer->socket.v6;
}

static bool is_mapped(const uint8_t address[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    return memcmp(address, mapped, sizeof mapped) == 0;
}

static void judge(struct exchange *x, const uint8_t address[16], struct candidates *to)
{
    struct forward *forward = x->forward;
    enum forward_verdict verdict =
        forward_admits(&x->view->config->forward.policy, x->request.host, address, forward->port);
    if (verdict == FORWARD_ALLOWED)
        add_peer(to, address, is_mapped(address), forward->port);
    else
        to->refusal = verdict;
}

static void judge_found(struct exchange *x, const struct name_address *from, struct candidates *to)
{
    uint8_t address[16] = { [10] = 0xff, [11] = 0xff };
    memcpy(from->family == 4 ? address + 12 : address, from->bytes, from->family == 4 ? 4 : 16);
    judge(x, address, to);
}

/* Families in turn, IPv6 first (RFC 8305 4). */
static void judge_all(struct exchange *x, const struct name_address *addresses, uint32_t count, struct candidates *to)
{
    uint32_t next[2] = { 0, 0 };
    for (bool more = true; more && to->count < SERVER_ADDRESSES_MAX;) {
        more = false;
        for (unsigned side = 0; side < 2; side++) {
            uint8_t family = side == 0 ? 6 : 4;
            while (next[side] < count && addresses[next[side]].family != family)
                next[side]++;
            if (next[side] == count)
                continue;
            judge_found(x, &addresses[next[side]++], to);
            more = true;
        }
    }
}

/* The destination ---------------------------------------------------------------------------------------------- */

static struct slice key_of(const struct forward *forward, char room[DESTINATION_KEY_BYTES])
{
    char text[ADDRESS_TEXT_BYTES];
    int length;
    if (forward->host.is_address) {
        bool v4 = is_mapped(forward->host.address);
        address_text_write(forward->host.address, !v4, text);
        length = snprintf(room, DESTINATION_KEY_BYTES, v4 ? "%s:%u" : "[%s]:%u", text, forward->port);
    } else {
        length = snprintf(room, DESTINATION_KEY_BYTES, "%.*s:%u", (int)forward->host.length, forward->host.name,
                          forward->port);
    }
    return slice_of(room, (size_t)length);
}

static enum step_verdict lease(struct exchange *x, const struct candidates *found)
{
    struct forward *forward = x->forward;
    char key[DESTINATION_KEY_BYTES];
    if (found->count == 0)
        return forward_forbid(x, found->refusal);
    struct destination *destination =
        destination_for(x->worker->forward->destinations, key_of(forward, key), found->list, found->count, x->view);
    if (!destination)
        return exchange_short_of_memory(x);
    if (forward->destination)
        destination_unref(forward->destination); /* of an attempt before */
    forward->destination = destination;
    x->member = destination_lease(destination);
    x->leased = true;
    x->attempt_ms = x->worker->loop.now_ms;
    return exchange_go(x, STEP_ATTACH);
}

/* The name ----------------------------------------------------------------------------------------------------- */

static void told(struct name_wait *wait)
{
    exchange_run(CONTAINER_OF(wait, struct forward, name)->exchange);
}

static void patience_ended(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct forward *forward = CONTAINER_OF(timer, struct forward, patience);
    names_leave(&forward->name);
    forward->late = true;
    exchange_run(forward->exchange);
}

static enum step_verdict not_found(struct exchange *x, enum name_state state)
{
    const struct forward *forward = x->forward;
    int length = (int)forward->host.length;
    if (state == NAME_WAIT) {
        COUNT(x->worker, forward_lookup_timeouts);
        return forward_refuse(x, 504, "forward_lookup_timeouts", "The look-up of %.*s took too long\n", length,
                              forward->host.name);
    }
    if (state == NAME_BUSY) {
        COUNT(x->worker, forward_busy);
        return forward_refuse(x, 503, "forward_busy", "Too many names are being looked up\n");
    }
    COUNT(x->worker, forward_lookup_failures);
    return forward_refuse(x, 502, "forward_lookup_failures",
                          state == NAME_NONE ? "There is no host %.*s\n" : "The name %.*s could not be looked up\n",
                          length, forward->host.name);
}

static enum step_verdict look_up(struct exchange *x)
{
    struct forward *forward = x->forward;
    const struct config *config = x->view->config;
    const struct name_address *addresses = NULL;
    struct candidates found = { .refusal = FORWARD_PRIVATE };
    uint32_t count = 0;
    if (forward->late)
        return not_found(x, NAME_WAIT);
    if (name_waits(&forward->name))
        return forward_wait(x);
    forward->name.told = told;
    enum name_state state = names_find(x->worker->forward->names, slice_of(forward->host.name, forward->host.length),
                                       &config->dns, config->forward.lookup_ms, &forward->name, &addresses, &count);
    if (state == NAME_WAIT) {
        if (!forward->resolving) {
            forward->resolving = true;
            forward->patience.fire = patience_ended;
            timer_set(&x->worker->loop.wheel, &forward->patience, x->worker->loop.now_ms + config->forward.lookup_ms);
        }
        return forward_wait(x);
    }
    timer_cancel(&x->worker->loop.wheel, &forward->patience);
    forward->resolving = false;
    if (state != NAME_FOUND)
        return not_found(x, state);
    judge_all(x, addresses, count, &found);
    return lease(x, &found);
}

/* The cache's own requests have no client who would be asked. */
static bool begin_fetch(struct exchange *x)
{
    x->forward = forward_new(x);
    if (!x->forward || !forward_read_target(x->forward, &x->request))
        return false;
    x->fresh_only = x->forward->alone = forward_speaks_for_connection(&x->request);
    return true;
}

enum step_verdict exchange_destine(struct exchange *x)
{
    struct candidates found = { 0 };
    if (x->failure != SERVER_OK)
        return exchange_give_up(x, x->failure);
    if (!x->forward && !begin_fetch(x))
        return exchange_short_of_memory(x);
    if (!x->forward->host.is_address)
        return look_up(x);
    judge(x, x->forward->host.address, &found); /* ADMIT has, but not for the cache's own requests */
    return lease(x, &found);
}

/* CONNECT ------------------------------------------------------------------------------------------------------ */

enum step_verdict exchange_connect(struct exchange *x)
{
    static const struct slice established = { "HTTP/1.1 200 Connection established\r\n\r\n", 39 };
    x->forwarding.server = x->member->server->name;
    x->tunnel = tunnel_new(x->worker);
    if (!x->tunnel || chain_append_copy(&x->client->out, &x->worker->blocks, established) != ERR_OK) {
        if (x->tunnel)
            tunnel_free(x->tunnel);
        x->tunnel = NULL;
        return exchange_short_of_memory(x);
    }
    conn_flush(x->client);
    exchange_open_tunnel(x, 200);
    return exchange_go(x, STEP_TUNNEL);
}

/*
 * RECEIVE and ROUTE: what does the client want, and who decides.
 */
#include "engine/caching.h"
#include "engine/exchange.h"
#include "engine/front.h"
#include "engine/listener.h"
#include "engine/metrics.h"
#include "engine/refusal.h"
#include "proto/tls.h"

/* RECEIVE ------------------------------------------------------------------------------------------------------ */

/* Parses what waits; gathers a head that block borders cut. */
static enum h1_verdict parse_head(struct exchange *x, enum codec_fault *fault)
{
    struct conn *client = x->client;
    const struct config_limits *limits = &x->view->config->limits;
    struct h1_limits h1_limits = { limits->head_bytes_max, limits->target_bytes_max, limits->fields_max };
    for (;;) {
        struct slice run = queue_front(&client->in);
        enum h1_verdict verdict = h1_parse_request(&x->request, run.at, run.length, &client->client.progress, &h1_limits, &x->arena, fault);
        if (likely(verdict != H1_MORE))
            return verdict;
        enum err e = queue_gather(&client->in, &x->worker->blocks);
        if (e == ERR_CUT)
            return H1_MORE;
        if (e != ERR_OK) {
            *fault = FAULT_HEAD_LARGE;
            return H1_BAD;
        }
    }
}

/* The certificate's texts live as long as the connection. */
static void set_certificate(struct exchange *x)
{
    const struct tls *tls = x->client->tls;
    if (tls_context_client_mode(tls->context) == TLS_CLIENT_ANY)
        return;
    x->forwarding.client_verify = tls->peer ? SLICE("SUCCESS") : SLICE("NONE");
    if (!tls->peer)
        return;
    x->forwarding.client_subject = slice_of_text(tls->peer->subject);
    x->forwarding.client_fingerprint = slice_of_text(tls->peer->fingerprint);
}

static void set_forwarding(struct exchange *x)
{
    const struct config *config = x->view->config;
    struct conn_client *who = &x->client->client;
    front_name(x->client);
    x->forwarding = (struct forwarding){
        .via = config->via,
        .client_address = slice_of(who->address, who->address_length),
        .scheme = front_is_secure(x->client) ? SLICE("https") : SLICE("http"),
        .hsts = slice_of_text(who->listener->hsts),
        .client_trusted = who->trusted,
        .forwarded_x = config->forwarded_x,
        .forwarded_rfc7239 = config->forwarded_rfc7239,
        .upstream_keep_alive = true,
    };
    if (x->client->tls)
        set_certificate(x);
}

/* A malformed head: what was parsed so far is not to be relied on, so nothing of it is shown. */
static enum step_verdict refuse_head(struct exchange *x, enum codec_fault fault)
{
    counter_add(&x->worker->stats->faults[fault], 1);
    x->request.method = METHOD_GET;
    x->request.method_token = x->request.target = x->request.host = SLICE_NONE;
    x->request.fields.count = 0;
    x->request.fields.present = 0;
    x->request.framing = FRAMING_NONE;
    x->request_done = false; /* so the connection is not used again */
    x->client_keep = false;
    x->forwarding.hsts = slice_of_text(x->client->client.listener->hsts);
    return exchange_answer(x, codec_fault_status(fault), codec_fault_word(fault), slice_of_text(codec_fault_sentence(fault)));
}

/* Requests that are refused whatever the routes say; false: x->step says what happens instead. */
static bool accept_kind(struct exchange *x)
{
    enum refusal refusal = refusal_of(&x->request, x->view->config->limits.body_bytes_max);
    if (unlikely(x->request.upgrade) && upgrade_wants_websocket(&x->request))
        x->client_keep = false; /* as below, should there be no tunnel */
    if (likely(refusal == REFUSAL_NONE) || (refusal == REFUSAL_CONNECT && x->client->client.listener->serve == SERVE_FORWARD))
        return true;
    if (refusal == REFUSAL_CONTENT)
        COUNT(x->worker, body_too_large);
    else if (refusal != REFUSAL_TRACE)
        COUNT(x->worker, upgrade_refused);
    exchange_answer(x, refusal_rows[refusal].status, refusal_rows[refusal].why, refusal_rows[refusal].body);
    x->client_keep = false; /* what follows was meant for a tunnel, or is content: it must not be read as a request */
    return false;
}

enum step_verdict exchange_receive(struct exchange *x)
{
    struct conn *client = x->client;
    enum codec_fault fault = FAULT_NONE;
    enum h1_verdict verdict = parse_head(x, &fault);
    if (verdict == H1_MORE)
        return STEP_WAIT;
    COUNT(x->worker, requests);
    counter_add(&x->worker->stats->in_flight, 1);
    client->client.progress = (struct h1_progress){ 0 };
    if (unlikely(verdict == H1_BAD))
        return refuse_head(x, fault);
    x->head_block = block_ref(client->in.first);
    conn_consume(client, x->request.head_bytes);
    h1_body_init(&x->request_body, x->request.framing, x->request.content_length);
    x->request_done = x->request.framing == FRAMING_NONE || (x->request.framing == FRAMING_LENGTH && x->request.content_length == 0);
    uint32_t most = x->view->config->limits.requests_per_connection_max;
    x->client_keep = x->request.keep_alive && (most == 0 || client->client.requests + 1 < most);
    set_forwarding(x);
    x->early = x->forwarding.early_data = !conn_is_ready(client);
    if (unlikely(!accept_kind(x)))
        return STEP_NEXT;
    return exchange_go(x, STEP_ROUTE);
}

/* ROUTE -------------------------------------------------------------------------------------------------------- */

static bool rewrite_path(struct exchange *x)
{
    const struct route *route = x->route;
    if (likely(route->strip_prefix.length == 0 && route->add_prefix.length == 0 && route->replace_path.length == 0))
        return true;
    size_t cap = x->request.path.length + route->add_prefix.length + route->replace_path.length + 2;
    char *room = cap <= BLOCK_BYTES ? arena_take(&x->arena, cap) : NULL;
    return room && route_rewrite(route, x->request.path, room, cap, &x->forwarding.path) == ERR_OK;
}

/* What placeholders may ask for and nobody else does. */
static void fill_placeholders(struct exchange *x)
{
    struct h1_writer port = h1_writer_of(x->port_text, sizeof x->port_text);
    h1_put_number(&port, x->client->client.port);
    x->forwarding.client_port = slice_of(x->port_text, (size_t)(port.at - x->port_text));
    uint64_t id = loop_random(&x->worker->loop);
    for (unsigned i = 0; i < 16; i++)
        x->id_text[i] = "0123456789abcdef"[id >> (4 * i) & 15];
    x->forwarding.request_id = slice_of(x->id_text, 16);
}

static enum step_verdict to_pool(struct exchange *x)
{
    x->pool = &x->view->pools[x->route->pool];
    x->forwarding.host = x->pool->config->host;
    if (x->route->request_edits.count)
        x->forwarding.edits = &x->route->request_edits;
    if (unlikely(!rewrite_path(x)))
        return exchange_short_of_memory(x);
    if (unlikely(!codec_count_forwards(&x->request)))
        return exchange_answer(x, 204, NULL, SLICE_NONE);
    if (unlikely(x->request.upgrade) && !exchange_plan_upgrade(x))
        return STEP_NEXT;
    if (x->pool->config->total_ms)
        timer_set(&x->worker->loop.wheel, &x->timer, x->worker->loop.now_ms + x->pool->config->total_ms);
    return exchange_go(x, unlikely(caching_is_on(x)) ? STEP_LOOKUP : STEP_SELECT);
}

/* The same place, asked for by TLS on its usual port. */
static enum step_verdict to_https(struct exchange *x)
{
    const struct request *request = &x->request;
    struct slice host = request->host;
    size_t cap = host.length + request->path.length + request->query.length + 16;
    char *room = cap <= BLOCK_BYTES ? arena_take(&x->arena, cap) : NULL;
    if (host.length == 0)
        return exchange_answer(x, 400, codec_fault_word(FAULT_HOST_MISSING), SLICE("No host was named\n"));
    if (!room)
        return exchange_short_of_memory(x);
    struct h1_writer w = h1_writer_of(room, cap);
    h1_put_literal(&w, "https://");
    h1_put(&w, host);
    h1_put(&w, request->form == TARGET_ASTERISK ? SLICE("/") : request->path);
    if (request->query.at) {
        h1_put_literal(&w, "?");
        h1_put(&w, request->query);
    }
    x->answer_location = slice_of(room, (size_t)(w.at - room));
    return exchange_answer(x, 308, NULL, SLICE_NONE);
}

/* What must not happen twice waits until the client has shown that it is no replay (RFC 8470 3). */
static bool must_wait(struct exchange *x)
{
    if (conn_is_ready(x->client))
        x->early = x->forwarding.early_data = false;
    return x->early && (!method_is_idempotent(x->request.method) || x->request.framing != FRAMING_NONE || x->request.upgrade);
}

enum step_verdict exchange_route(struct exchange *x)
{
    const struct config *config = x->view->config;
    if (unlikely(x->early) && must_wait(x))
        return STEP_WAIT;
    if (unlikely(x->client->client.listener->serve != SERVE_PROXY))
        return x->client->client.listener->serve == SERVE_ADMIN ? metrics_serve(x) : exchange_go(x, STEP_ADMIT);
    if (unlikely(x->client->client.listener->to_https) && !x->client->client.header_tls)
        return to_https(x);
    x->route = route_find(config->routes, config->route_count, &x->request);
    if (unlikely(!x->route)) {
        COUNT(x->worker, no_route);
        return exchange_answer(x, 404, "no_route", SLICE("No route takes this request\n"));
    }
    if (x->route->request_edits.count || x->route->response_edits.count || x->route->location_part_count)
        fill_placeholders(x);
    if (likely(x->route->action == ROUTE_POOL))
        return to_pool(x);
    return exchange_go(x, STEP_REPLY);
}

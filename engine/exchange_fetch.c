/*
 * Requests of ours: an exchange whose client is a sink, a connection without a socket that takes everything and says nothing.
 *
 * They fetch for the store: what several wait for when the first one's request is too much its own to be sent for all, what is served stale meanwhile, and
 * what a client was too slow for. Nobody logs or counts them as requests.
 */
#include "engine/back.h"
#include "engine/caching.h"
#include "engine/exchange.h"
#include "engine/forward.h"

/* Sinks -------------------------------------------------------------------------------------------------------- */

static void sink_drained(struct conn *sink)
{
    if (sink->exchange)
        exchange_run_later(sink->exchange);
}

static void sink_timeout(struct conn *sink)
{
    conn_deadline(sink, TIMER_NEVER);
}

static void sink_event(struct conn *sink)
{
    (void)sink;
}

static void sink_error(struct conn *sink, int error)
{
    (void)sink;
    (void)error;
}

static const struct conn_events sink_events = {
    .connected = sink_error,
    .input = sink_event,
    .drained = sink_drained,
    .broken = sink_error,
    .timeout = sink_timeout,
    .ready = sink_event,
};

bool conn_is_sink(const struct conn *client)
{
    return client->sink;
}

/* What clients began and left goes on, but not without bound. */
#define FETCHES_MAX 1024u /* per worker */

static struct conn *sink_new(struct worker *worker)
{
    struct conn *sink = worker->fetch_count == FETCHES_MAX ? NULL : conn_new(worker, -1, true, &sink_events);
    if (!sink)
        return NULL;
    sink->sink = true;
    worker->fetch_count++;
    return sink;
}

void sink_close(struct conn *sink)
{
    sink->worker->fetch_count--;
    back_client_left(sink);
    sink->exchange = NULL;
    conn_close(sink, false);
}

/* Nobody can ask its socket. */
static void name_as(struct conn *sink, const struct conn *client)
{
    struct conn_client *to = &sink->client;
    const struct conn_client *from = &client->client;
    to->named = true;
    to->trusted = from->trusted;
    to->port = from->port;
    to->address_length = from->address_length;
    memcpy(to->address, from->address, sizeof to->address);
    to->header_named = from->header_named;
    to->header_tls = from->header_tls;
    to->destination_port = from->destination_port;
    memcpy(to->destination, from->destination, sizeof to->destination);
}

/* An exchange with a sink, for the same route and pool as x. */
static struct exchange *sink_exchange(struct exchange *x)
{
    struct conn *sink = sink_new(x->worker);
    struct exchange *f = sink ? exchange_new(sink) : NULL;
    if (!f) {
        if (sink)
            sink_close(sink);
        return NULL;
    }
    view_unpin(f->view);
    f->view = view_pin(x->view);
    f->route = x->route;
    f->pool = x->pool;
    f->forwarding = x->forwarding;
    f->forwarding.hsts = SLICE_NONE; /* its text is the listener's, which may go before this does */
    name_as(f->client, x->client);
    f->forwarding.edits = f->route->request_edits.count ? &f->route->request_edits : NULL; /* x may be at its response */
    f->request_done = true;
    f->client_keep = true;
    return f;
}

static bool copy_text(struct exchange *f, struct slice *text)
{
    struct slice copy = *text;
    if (text->length && arena_copy(&f->arena, *text, &copy) != ERR_OK)
        return false;
    *text = copy;
    return true;
}

static bool copy_caching(struct exchange *f, const struct caching *of)
{
    struct caching *c = caching_new(f);
    if (!c)
        return false;
    c->key = of->key;
    c->home = of->home;
    c->purges = of->purges;
    c->forward = of->forward;
    c->fetch = true;
    if (!copy_text(f, &c->key.text))
        return false;
    c->key.authority.at = c->key.text.at + (of->key.authority.at - of->key.text.at);
    return true;
}

/* Fetching ----------------------------------------------------------------------------------------------------- */

/* What speaks of one client's copy, or of a part. */
static bool is_own(const struct field *field)
{
    switch (field->id) {
    case FIELD_RANGE:
    case FIELD_IF_NONE_MATCH:
    case FIELD_IF_MODIFIED_SINCE:
    case FIELD_IF_MATCH:
    case FIELD_IF_UNMODIFIED_SINCE:
    case FIELD_IF_RANGE:
    case FIELD_CACHE_CONTROL:
    case FIELD_PRAGMA: return true;
    default: return false;
    }
}

/* The request's texts stand in x's head block, but for those that were normalised into its arena, and the client's address. */
static bool copy_request(struct exchange *f, const struct exchange *x)
{
    const struct request *from = &x->request;
    struct request *to = &f->request;
    memcpy(to, from, offsetof(struct request, fields));
    f->head_block = block_ref(x->head_block);
    to->fields.count = 0;
    to->fields.present = 0;
    to->fields.end = NULL;
    for (unsigned i = 0; i < from->fields.count; i++) {
        if (is_own(&from->fields.list[i]))
            continue;
        to->fields.list[to->fields.count++] = from->fields.list[i];
        to->fields.present |= 1ull << from->fields.list[i].id;
    }
    to->method = METHOD_GET;
    to->method_token = SLICE("GET");
    to->framing = FRAMING_NONE;
    to->version_minor = 1;
    f->forwarding.client_address.at = f->client->client.address;
    f->forwarding.client_verify = f->forwarding.client_subject = f->forwarding.client_fingerprint = SLICE_NONE;
    f->forwarding.early_data = false;
    memcpy(f->port_text, x->port_text, sizeof f->port_text);
    memcpy(f->id_text, x->id_text, sizeof f->id_text);
    f->forwarding.client_port.at = f->port_text;
    f->forwarding.request_id.at = f->id_text;
    return copy_text(f, &to->path) && copy_text(f, &to->query) && copy_text(f, &f->forwarding.path);
}

static void give_up(struct exchange *f)
{
    struct conn *sink = f->client;
    f->caching = NULL;
    exchange_drop(f);
    sink_close(sink);
}

bool caching_fetch(struct exchange *x, struct flight *flight, uint64_t sequence, struct hot *stale)
{
    struct exchange *f = sink_exchange(x);
    if (!f)
        return false;
    if (!copy_request(f, x) || !copy_caching(f, x->caching) ||
        (x->caching->slices && !caching_ask_slice(f, x->caching))) {
        give_up(f);
        return false;
    }
    struct caching *c = f->caching;
    c->role = CACHE_LEADING;
    c->flight = flight;
    c->sequence = sequence;
    c->hot = stale ? hot_ref(stale) : NULL;
    caching_shape(f);
    COUNT(x->worker, cache_background);
    if (f->pool->config->total_ms)
        timer_set(&f->worker->loop.wheel, &f->timer, f->worker->loop.now_ms + f->pool->config->total_ms);
    exchange_go(f, STEP_SELECT);
    exchange_run_later(f);
    return true;
}

/* Splitting ---------------------------------------------------------------------------------------------------- */

/* What belongs to the origin's side goes over to f. */
static void hand_over(struct exchange *x, struct exchange *f)
{
    f->step = STEP_RELAY;
    f->status = x->status;
    f->attempts = x->attempts;
    f->response_begun = true;
    f->origin_keep = x->origin_keep && (likely(!x->forward) || !x->forward->alone);
    f->chunked_out = x->chunked_out;
    f->begun_ns = x->begun_ns;
    f->forwarded_ns = x->forwarded_ns;
    f->first_byte_ns = x->first_byte_ns;
    f->response_content = x->response_content;
    f->response_progress = x->response_progress;
    f->response_body = x->response_body;
    f->coder = x->coder;
    f->origin = x->origin;
    f->origin->exchange = f;
    f->member = x->member;
    f->leased = x->leased;
    f->placed = x->placed;
    f->retrying = x->retrying;
    f->head_block = block_ref(x->head_block);
    f->request.target = x->request.target; /* for the log */
    f->request.method = x->request.method;
    f->request.version_minor = 1;
    f->request.te_trailers = x->request.te_trailers;
    x->coder = NULL;
    x->origin = NULL;
    x->leased = x->placed = x->retrying = false;
    if (x->pool->config->total_ms)
        timer_set(&f->worker->loop.wheel, &f->timer, f->worker->loop.now_ms + f->pool->config->total_ms);
}

bool caching_split(struct exchange *x)
{
    struct caching *c = x->caching;
    MUST(c->role == CACHE_FILLING && !x->response_splice);
    if (!c->filling->body)
        return false;
    struct exchange *f = sink_exchange(x);
    if (!f)
        return false;
    f->forwarding.edits = NULL;
    f->forwarding.client_address = f->forwarding.client_port = f->forwarding.request_id = f->forwarding.path =
        SLICE_NONE;
    f->forwarding.client_verify = f->forwarding.client_subject = f->forwarding.client_fingerprint = SLICE_NONE;
    if (!copy_caching(f, c)) {
        give_up(f);
        return false;
    }
    home_enter(c->home);
    cache_ref(c->filling);
    home_leave(c->home);
    struct hot *hot = hot_take(x->worker, c->home, c->filling, c->purges);
    if (!hot) {
        give_up(f);
        return false;
    }
    home_enter(c->home);
    c->filling->body->filler = f->caching;
    home_leave(c->home);
    f->caching->role = CACHE_FILLING;
    f->caching->flight = c->flight;
    f->caching->filling = c->filling;
    f->caching->sequence = c->sequence;
    f->caching->forward_status = c->forward_status;
    c->flight = NULL;
    c->filling = NULL;
    hand_over(x, f);
    caching_go_on(x, hot, x->response_content);
    exchange_run_later(f);
    return true;
}

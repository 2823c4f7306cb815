/*
 * REPLY: answers of the engine's own: what a route orders, refusals, failures, and metrics.
 *
 * An answer ends an exchange whatever became of its request. If the request's content is all here already it is thrown away and
 * the connection goes on; else the connection is finished after the answer (RFC 9112 9.6), so that content still under way is never
 * taken for a request.
 */
#include "engine/back.h"
#include "engine/caching.h"
#include "engine/content.h"
#include "engine/exchange.h"
#include "engine/policy/transform.h"

#define ANSWER_FIELDS_MAX 72u

enum step_verdict exchange_answer(struct exchange *x, unsigned status, const char *why, struct slice body)
{
    exchange_leave_line(x);
    exchange_hedge_drop(x);
    if (x->origin)
        exchange_release_origin(x, false);
    exchange_release_member(x, SERVER_UNTOLD);
    exchange_release_places(x);
    if (x->response_begun)
        return exchange_abort(x, why, true);
    if (unlikely(x->caching != NULL)) {
        if (caching_saves(x, status))
            return STEP_NEXT;
        caching_end_flight(x, status == 504 ? NEWS_ALONE : NEWS_AGAIN); /* they would wait as long again, one after the other */
        if (x->caching->fetch)
            return exchange_abort(x, why, false);
    }
    x->answer_status = status;
    x->answer_body = body;
    x->answer_type = body.length ? SLICE("text/plain; charset=utf-8") : SLICE_NONE;
    x->why = why;
    return exchange_go(x, STEP_REPLY);
}

enum step_verdict exchange_short_of_memory(struct exchange *x)
{
    COUNT(x->worker, no_memory);
    return exchange_answer(x, 503, "no_memory", SLICE("The proxy is short of memory\n"));
}

/* Content that came with the request is read to its end if that end is here. */
static void discard_content(struct exchange *x)
{
    uint64_t moved = 0;
    while (!x->request_done && !queue_empty(&x->client->in)) {
        struct slice run = queue_front(&x->client->in), data;
        size_t used = 0;
        enum codec_fault fault;
        enum h1_body_step step = h1_body_next(&x->request_body, run.at, run.length, &used, &data, &fault);
        if (step == H1_BODY_BAD || step == H1_BODY_TRAILERS)
            return; /* not worth it: the connection is finished */
        conn_consume(x->client, used);
        moved += used;
        x->request_done = step == H1_BODY_END || x->request_body.ended;
        if (moved > QUEUE_BYTES_STOP)
            return;
    }
}

static enum err redirect_location(struct exchange *x)
{
    const struct route *route = x->route;
    if (route->location_part_count == 0) {
        x->answer_location = route->location;
        return ERR_OK;
    }
    size_t cap = BLOCK_BYTES / 2;
    char *room = arena_take(&x->arena, cap);
    if (!room)
        return ERR_MEMORY;
    return transform_compose(route->location_parts, route->location_part_count, &x->request, &x->forwarding, room, cap, &x->answer_location);
}

/* The route's own answer, when no failure has chosen one. */
static void take_from_route(struct exchange *x)
{
    const struct route *route = x->route;
    x->answer_status = route->status;
    x->answer_body = route->body;
    x->answer_type = route->body.length ? route->type : SLICE_NONE;
    if (route->action != ROUTE_REDIRECT)
        return;
    enum err e = redirect_location(x);
    if (e == ERR_NONE) {
        counter_add(&x->worker->stats->faults[FAULT_HOST_MISSING], 1);
        x->answer_status = codec_fault_status(FAULT_HOST_MISSING);
        x->why = codec_fault_word(FAULT_HOST_MISSING);
    } else if (e != ERR_OK) {
        COUNT(x->worker, no_memory);
        x->answer_status = 503;
    }
}

static void add_field(struct field_edit *fields, unsigned *count, enum field_id id, struct slice name, struct slice value)
{
    if (value.length && *count < ANSWER_FIELDS_MAX)
        fields[(*count)++] = (struct field_edit){ .kind = FIELD_EDIT_SET, .id = id, .name = name, .value = value };
}

static struct slice challenge_of(struct exchange *x)
{
    struct slice realm = x->view->config->forward.realm;
    size_t cap = realm.length + 40;
    char *room = arena_take(&x->arena, cap);
    struct h1_writer w = h1_writer_of(room, room ? cap : 0);
    h1_put_literal(&w, "Basic realm=\"");
    h1_put(&w, realm);
    h1_put_literal(&w, "\", charset=\"UTF-8\""); /* RFC 7617 2.1 */
    return room ? slice_of(room, (size_t)(w.at - room)) : SLICE("Basic realm=\"proxy\"");
}

static unsigned answer_fields(struct exchange *x, struct field_edit fields[ANSWER_FIELDS_MAX])
{
    unsigned count = 0;
    add_field(fields, &count, FIELD_SERVER, SLICE("Server"), x->view->config->server_header);
    add_field(fields, &count, FIELD_LOCATION, SLICE("Location"), x->answer_location);
    add_field(fields, &count, FIELD_STRICT_TRANSPORT_SECURITY, SLICE("Strict-Transport-Security"), x->forwarding.hsts);
    if (unlikely(x->caching != NULL))
        add_field(fields, &count, FIELD_OTHER, SLICE("Cache-Status"), caching_status(x));
    if (x->answer_status == 405)
        add_field(fields, &count, FIELD_OTHER, SLICE("Allow"), SLICE("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
    if (x->answer_status == 426 && x->why) { /* of WebSocket's version (RFC 6455 4.4, RFC 9110 15.5.22) */
        add_field(fields, &count, FIELD_CONNECTION, SLICE("Connection"), SLICE("Upgrade"));
        add_field(fields, &count, FIELD_UPGRADE, SLICE("Upgrade"), SLICE("websocket"));
        add_field(fields, &count, FIELD_OTHER, SLICE("Sec-WebSocket-Version"), SLICE("13"));
    }
    if (x->answer_status == 407 && x->forward)
        add_field(fields, &count, FIELD_PROXY_AUTHENTICATE, SLICE("Proxy-Authenticate"), challenge_of(x));
    if (x->answer_status == 503)
        add_field(fields, &count, FIELD_RETRY_AFTER, SLICE("Retry-After"), SLICE("1"));
    if (!x->why && x->route)
        for (unsigned i = 0; i < x->route->response_edits.count && count < ANSWER_FIELDS_MAX; i++)
            fields[count++] = x->route->response_edits.list[i];
    return count;
}

/* The head, and as much of the body as stands behind it in one block. */
static bool begin_answer(struct exchange *x)
{
    struct field_edit fields[ANSWER_FIELDS_MAX];
    struct h1_writer w;
    struct conn_room room;
    bool head_only = x->request.method == METHOD_HEAD;
    bool small = x->answer_body.length <= BLOCK_BYTES / 2;
    struct h1_answer answer = {
        .status = x->answer_status, .type = x->answer_type, .body = x->answer_body,
        .fields = fields, .field_count = answer_fields(x, fields), .head_only = head_only || !small,
    };
    struct h1_response_plan plan = {
        .framing = FRAMING_LENGTH, .content_length = x->answer_body.length, .keep_alive = x->client_keep,
        .client_minor = x->request.version_minor, .date = worker_date(x->worker),
    };
    if (!conn_write_begin(x->client, BLOCK_BYTES - 1024, &w, &room))
        return false;
    h1_write_answer(&w, &answer, &x->request, &x->forwarding, &plan);
    if (!conn_write_end(x->client, &w, &room))
        return false;
    if (head_only || small)
        x->answer_sent = x->answer_body.length;
    if (!head_only && small)
        x->response_content = x->answer_body.length;
    return true;
}

static enum step_verdict send_rest(struct exchange *x)
{
    while (x->answer_sent < x->answer_body.length) {
        size_t left = x->answer_body.length - x->answer_sent;
        struct slice run = slice_of(x->answer_body.at + x->answer_sent, size_min(left, BLOCK_BYTES));
        if (conn_room(x->client) < 2 || chain_append_copy(&x->client->out, &x->worker->blocks, run) != ERR_OK) {
            conn_flush(x->client);
            if (!conn_unsent(x->client))
                return exchange_abort(x, "no_memory", true);
            exchange_await_client(x);
            return STEP_WAIT;
        }
        x->answer_sent += run.length;
        x->response_content += run.length;
    }
    x->response_done = true;
    conn_flush(x->client);
    return exchange_go(x, STEP_FINISH);
}

enum step_verdict exchange_reply(struct exchange *x)
{
    if (!x->answer_begun) {
        if (conn_room(x->client) < 2)
            return STEP_WAIT;
        if (x->answer_status == 0)
            take_from_route(x);
        discard_content(x);
        x->client_keep = x->client_keep && x->request_done && !x->worker->draining;
        x->status = (uint16_t)x->answer_status;
        x->response_begun = true;
        x->answer_begun = true;
        if (!begin_answer(x)) {
            COUNT(x->worker, no_memory);
            return exchange_abort(x, "no_memory", true);
        }
    }
    return send_rest(x);
}

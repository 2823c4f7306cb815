/*
 * TUNNEL: a request that leaves HTTP. The route says which protocols may pass (upgrade.h), the origin agrees with a 101, and from then on tunnel.c moves
 * bytes; the exchange stands here, holds its place in the pool and its view, and tells at the end what became of it.
 *
 * An upgrade is asked of one origin at a time, over the same steps as any request: queues, limits and attempts are the same, until the 101 is on its way to
 * the client. Any other answer is an ordinary response, but neither connection is used again after it, since what either side sends
 * next may have been meant for the tunnel.
 *
 * A tunnel may stand for days, and thousands of them idle: what the request's head is still needed for, the line of the log, is copied
 * into the room where its fields were, and the head's block is given back.
 */
#include "engine/back.h"
#include "engine/caching.h"
#include "engine/exchange.h"
#include "engine/tunnel.h"

/* The request --------------------------------------------------------------------------------------------------- */

static const struct slice forbidden = { "This route lets no upgrade to websocket pass\n", 45 };

static bool refuse(struct exchange *x, unsigned status, const char *why)
{
    size_t length = strlen(why);
    char *room = arena_take(&x->arena, length + 1);
    struct slice body = room ? slice_of(room, length + 1) : SLICE("The WebSocket handshake is malformed\n");
    if (room) {
        memcpy(room, why, length);
        room[length] = '\n';
    }
    COUNT(x->worker, upgrade_malformed);
    exchange_answer(x, status, "upgrade_malformed", body);
    return false;
}

bool exchange_plan_upgrade(struct exchange *x)
{
    struct upgrade upgrade;
    switch (upgrade_of(&x->route->upgrade, &x->request, &upgrade)) {
    case UPGRADE_NONE: break;
    case UPGRADE_ASKED:
        x->upgrading = true;
        x->forwarding.upgrade = upgrade.protocol;
        x->client_keep = false; /* should there be no tunnel, what follows is no request */
        break;
    case UPGRADE_FORBIDDEN:
        COUNT(x->worker, upgrade_refused);
        exchange_answer(x, 403, "upgrade_refused", forbidden);
        return false;
    case UPGRADE_BAD: return refuse(x, 400, upgrade.why);
    case UPGRADE_VERSION: return refuse(x, 426, upgrade.why);
    }
    return true;
}

/* The 101 ------------------------------------------------------------------------------------------------------- */

/* Nobody asked; or for something else; or the request is not through (RFC 9110 7.8). */
static bool is_granted(struct exchange *x, const struct response *response)
{
    struct upgrade upgrade;
    if (!x->upgrading || upgrade_of(&x->route->upgrade, &x->request, &upgrade) != UPGRADE_ASKED)
        return false;
    bool granted = x->request_done && upgrade_is_granted(&upgrade, &x->request, response);
    if (!granted) {
        struct slice name = x->member->server->name;
        log_line(LOG_WARN, "server \"%.*s\": a 101 that is none: %s", (int)name.length, name.at,
                 upgrade.why ? upgrade.why : "it came before the request's content was through");
    }
    return granted;
}

static struct slice keep_text(struct slice text, char **at, const char *end)
{
    size_t length = size_min(text.length, (size_t)(end - *at));
    char *from = *at;
    if (length)
        memcpy(from, text.at, length);
    *at += length;
    return slice_of(from, length);
}

static void keep_field(struct field *field, char **at, const char *end)
{
    struct slice value = keep_text(field_value(field), at, end);
    field->value = value.at;
    field->value_length = (uint32_t)value.length;
    field->name_length = 0;
}

/* For the log; whatever is too long for its line is cut there anyway. */
static void keep_head(struct exchange *x)
{
    enum { KEPT = 2, SHARE = 480 };
    struct request *request = &x->request;
    struct fields *fields = &request->fields;
    static const enum field_id ids[KEPT] = { FIELD_REFERER, FIELD_USER_AGENT };
    struct field kept[KEPT];
    uint16_t count = 0;
    uint64_t present = 0;
    for (unsigned i = 0; i < KEPT; i++) {
        const struct field *field = fields_find(fields, ids[i]);
        if (!field)
            continue;
        kept[count++] = *field;
        present |= 1ull << ids[i];
    }
    char *at = (char *)&fields->list[KEPT], *end = (char *)(fields->list + FIELDS_CAP);
    _Static_assert(sizeof fields->list > KEPT * sizeof kept[0] + 4 * SHARE + 64, "room for a share of each text");
    request->method_token = keep_text(request->method_token, &at, at + 64);
    request->host = keep_text(request->host, &at, at + SHARE);
    request->target = keep_text(request->target, &at, at + SHARE);
    for (unsigned i = 0; i < count; i++)
        keep_field(&kept[i], &at, size_min((size_t)(end - at), SHARE) + at);
    memcpy(fields->list, kept, sizeof kept[0] * count);
    fields->count = count;
    fields->present = present;
    request->authority = request->path = request->query = SLICE_NONE;
}

static void shed_head(struct exchange *x)
{
    keep_head(x);
    x->forwarding.path = SLICE_NONE;
    block_unref(x->head_block);
    x->head_block = NULL;
    arena_release(&x->arena);
}

static void tunnel_event(struct tunnel *tunnel)
{
    exchange_run(tunnel->owner);
}

/* The origin is well, which is not to be learnt only when the tunnel ends. */
static void credit_server(struct exchange *x, unsigned status)
{
    struct loop *loop = &x->worker->loop;
    exchange_count_response(x, status);
    health_report(x->member->server->health, &x->pool->upstream.health_limits, SERVER_OK, loop->now_ms, loop_random(loop));
}

void exchange_open_tunnel(struct exchange *x, unsigned status)
{
    x->status = (uint16_t)status;
    x->response_begun = true;
    if (timer_armed(&x->timer))
        timer_cancel(&x->worker->loop.wheel, &x->timer);
    if (unlikely(x->caching != NULL))
        caching_end(x);
    credit_server(x, status);
    if (status == 101)
        COUNT(x->worker, responses_1xx);
    exchange_count(x);
    shed_head(x);
    x->response_content = x->request_content = 0;
    x->tunnel->event = tunnel_event;
    x->tunnel->owner = x;
    tunnel_begin(x->tunnel, x->client, x->origin, x->view->config->timeouts.tunnel_ms);
}

static enum step_verdict short_of_memory(struct exchange *x)
{
    if (x->tunnel)
        tunnel_free(x->tunnel);
    x->tunnel = NULL;
    return exchange_short_of_memory(x);
}

enum step_verdict exchange_upgrade(struct exchange *x, struct response *response)
{
    struct h1_response_plan plan = {
        .framing = FRAMING_NONE, .keep_alive = true, .client_minor = x->request.version_minor, .date = worker_date(x->worker),
        .upgrade = x->forwarding.upgrade,
    };
    if (!is_granted(x, response))
        return exchange_origin_failed(x, SERVER_BAD, 0);
    x->tunnel = tunnel_new(x->worker);
    response->interim = false; /* the last that HTTP has to say: the route's fields, cookies and all */
    if (!x->tunnel || !exchange_write_response(x, response, &plan))
        return short_of_memory(x);
    conn_consume(x->origin, response->head_bytes);
    conn_flush(x->client);
    exchange_open_tunnel(x, 101);
    return exchange_go(x, STEP_TUNNEL);
}

/* TUNNEL -------------------------------------------------------------------------------------------------------- */

static void close_origin(struct exchange *x)
{
    struct conn *origin = x->origin;
    x->origin = NULL;
    if (tunnel_resets(x->tunnel, origin))
        back_reset(origin);
    else
        back_close(origin);
}

enum step_verdict exchange_tunnel(struct exchange *x)
{
    struct tunnel *tunnel = x->tunnel;
    if (likely(!tunnel_run(tunnel)))
        return STEP_WAIT;
    enum tunnel_end end = tunnel->end;
    x->request_content = tunnel->near.bytes;
    x->response_content = tunnel->far.bytes;
    x->response_done = end == TUNNEL_CLOSED;
    x->reset_client = tunnel_resets(tunnel, x->client);
    x->why = tunnel_end_word(end);
    close_origin(x);
    return exchange_go(x, STEP_FINISH);
}

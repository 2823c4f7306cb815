#include "engine/explain.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/explain_report.h"
#include "engine/front.h"
#include "engine/hash_key.h"
#include "engine/refusal.h"
#include "engine/sticky.h"
#include "engine/policy/transform.h"
#include "proto/h1_parse.h"
#include "proto/h1_write.h"
#include "proto/uri.h"

#define BLOCKS 16u /* canonical forms and a location; more than an arena takes */

/* The question -------------------------------------------------------------------------------------------------- */

static bool take_prefix(struct slice *text, struct slice prefix)
{
    if (text->length < prefix.length || !slice_equal_nocase(slice_of(text->at, prefix.length), prefix))
        return false;
    *text = slice_of(text->at + prefix.length, text->length - prefix.length);
    return true;
}

static enum err read_url(struct explanation *e, struct slice url, char why[128])
{
    struct slice host;
    e->https = take_prefix(&url, SLICE("https://"));
    if (!e->https && !take_prefix(&url, SLICE("http://"))) {
        snprintf(why, 128, "a URL begins with http:// or https://");
        return ERR_SYNTAX;
    }
    const char *fragment = memchr(url.at, '#', url.length);
    if (fragment)
        url.length = (size_t)(fragment - url.at);
    size_t length = 0;
    while (length < url.length && url.at[length] != '/' && url.at[length] != '?')
        length++;
    e->authority = slice_of(url.at, length);
    e->target = slice_of(url.at + length, url.length - length);
    if (uri_authority_split(e->authority, &host, &e->port) != ERR_OK || e->port == 0)
        e->port = e->https ? 443 : 80; /* a malformed authority is the parser's to refuse */
    return ERR_OK;
}

static enum err read_client(struct explanation *e, struct slice from, char why[128])
{
    static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };
    char text[64];
    int length = snprintf(text, sizeof text, "%.*s", (int)size_min(from.length, sizeof text),
                          from.length ? from.at : "127.0.0.1");
    uint8_t *address = e->client_address;
    if (from.length == 0)
        length = snprintf(text, sizeof text, "127.0.0.1");
    bool v4 = inet_pton(AF_INET, text, address + 12) == 1;
    if (v4)
        memcpy(address, v4_mapped, sizeof v4_mapped);
    if (length >= (int)sizeof text || (!v4 && inet_pton(AF_INET6, text, address) != 1)) {
        snprintf(why, 128, "\"%.60s\" is no IP address", text);
        return ERR_SYNTAX;
    }
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + 12 : address, e->client, sizeof e->client);
    return ERR_OK;
}

static bool names_host(struct slice field)
{
    return take_prefix(&field, SLICE("host:"));
}

static void write_request(struct explanation *e, const struct explain_question *question)
{
    struct text *bytes = &e->bytes;
    bool has_host = false;
    text_add(bytes, question->method);
    text_add(bytes, e->target.length && e->target.at[0] == '/' ? SLICE(" ") : SLICE(" /"));
    text_add(bytes, e->target);
    text_add(bytes, SLICE(" HTTP/1.1\r\n"));
    for (unsigned i = 0; i < question->field_count; i++)
        has_host |= names_host(question->fields[i]);
    if (!has_host) {
        text_add(bytes, SLICE("Host: "));
        text_add(bytes, e->authority);
        text_add(bytes, SLICE("\r\n"));
    }
    for (unsigned i = 0; i < question->field_count; i++) {
        text_add(bytes, question->fields[i]);
        text_add(bytes, SLICE("\r\n"));
    }
    text_add(bytes, SLICE("\r\n"));
}

/* The client's side --------------------------------------------------------------------------------------------- */

/* The one whose port it is, else the first that would do. */
static void find_listener(struct explanation *e)
{
    for (uint32_t i = 0; i < e->config->listener_count; i++) {
        const struct config_listener *listener = &e->config->listeners[i];
        if ((listener->tls.certificate_count > 0) != e->https)
            continue;
        e->listener_exact = listener->address.port == e->port;
        if (e->listener_exact || (!e->listener && listener->serve == SERVE_PROXY))
            e->listener = listener;
        if (e->listener_exact)
            return;
    }
}

static void set_forwarding(struct explanation *e)
{
    const struct config *config = e->config;
    e->forwarding = (struct forwarding){
        .via = config->via,
        .client_address = slice_of_text(e->client),
        .client_port = SLICE("0"),
        .scheme = e->https ? SLICE("https") : SLICE("http"),
        .request_id = SLICE("0000000000000000"),
        .client_trusted = front_trusts(config, e->client_address),
        .forwarded_x = config->forwarded_x,
        .forwarded_rfc7239 = config->forwarded_rfc7239,
        .upstream_keep_alive = true,
    };
    if (e->listener && e->listener->tls.client.mode != TLS_CLIENT_ANY)
        e->forwarding.client_verify = SLICE("NONE");
}

static void end_with(struct explanation *e, enum explain_end end, unsigned status, const char *why,
                     const char *sentence)
{
    e->end = end;
    e->status = status;
    e->why = why;
    e->sentence = sentence;
}

static bool refuse_fault(struct explanation *e, enum codec_fault fault)
{
    end_with(e, EXPLAIN_REFUSED, codec_fault_status(fault), codec_fault_word(fault), codec_fault_sentence(fault));
    return false;
}

static bool parse(struct explanation *e)
{
    const struct config_limits *limits = &e->config->limits;
    struct h1_limits h1_limits = { limits->head_bytes_max, limits->target_bytes_max, limits->fields_max };
    struct h1_progress progress = { 0 };
    enum codec_fault fault = FAULT_NONE;
    enum h1_verdict verdict =
        h1_parse_request(&e->request, e->bytes.at, e->bytes.length, &progress, &h1_limits, &e->arena, &fault);
    if (verdict == H1_DONE)
        return true;
    e->request.method_token = e->request.path = SLICE_NONE; /* nothing of it is to be relied on */
    return refuse_fault(e, verdict == H1_BAD ? fault : FAULT_CUT);
}

/* Whatever the routes say. */
static bool accept_kind(struct explanation *e)
{
    enum refusal refusal = refusal_of(&e->request, e->config->limits.body_bytes_max);
    const struct refusal_row *row = &refusal_rows[refusal];
    if (refusal != REFUSAL_NONE)
        end_with(e, EXPLAIN_REFUSED, row->status, row->why, row->sentence);
    return refusal == REFUSAL_NONE;
}

/* Of a listener that does not ask the routes; false then. */
static bool ask_listener(struct explanation *e)
{
    const struct request *request = &e->request;
    struct text to = { 0 };
    enum err copied = ERR_OK;
    bool admin = e->listener && e->listener->serve == SERVE_ADMIN;
    if (e->listener && e->listener->serve == SERVE_FORWARD) {
        end_with(e, EXPLAIN_FORWARD, 0, NULL, NULL);
        return false;
    }
    if (!e->listener || (!admin && !e->listener->redirect_to_https))
        return true;
    end_with(e, admin ? EXPLAIN_ADMIN : EXPLAIN_TO_HTTPS, admin ? 0 : 308, NULL, NULL);
    if (admin)
        return false;
    if (request->host.length == 0)
        return refuse_fault(e, FAULT_HOST_MISSING);
    text_format(&to, "https://%.*s%.*s", (int)request->host.length, request->host.at, (int)request->path.length,
                request->form == TARGET_ASTERISK ? "/" : request->path.at);
    if (request->query.at)
        text_format(&to, "?%.*s", (int)request->query.length, request->query.at);
    copied = arena_copy(&e->arena, text_slice(&to), &e->location);
    if (to.failed || copied != ERR_OK)
        end_with(e, EXPLAIN_REFUSED, 503, "no_memory", "the proxy is short of memory");
    text_release(&to);
    return false;
}

static bool find_route(struct explanation *e)
{
    const struct config *config = e->config;
    e->route = route_find(config->routes, config->route_count, &e->request);
    uint32_t end = e->route ? (uint32_t)(e->route - config->routes) : config->route_count;
    for (e->passed_over_count = 0; e->passed_over_count < end; e->passed_over_count++) {
        if (e->passed_over_count == EXPLAIN_ROUTES_MAX) {
            e->passed_over_count = end;
            break;
        }
        struct explained_route *passed = &e->passed_over[e->passed_over_count];
        passed->route = &config->routes[e->passed_over_count];
        passed->verdict = route_verdict_of(passed->route, &e->request, &passed->condition);
    }
    if (!e->route)
        end_with(e, EXPLAIN_REFUSED, 404, "no_route", "no route takes this request");
    return e->route != NULL;
}

static void answer_by_route(struct explanation *e)
{
    const struct route *route = e->route;
    end_with(e, route->action == ROUTE_RESPOND ? EXPLAIN_RESPOND : EXPLAIN_REDIRECT, route->status, NULL, NULL);
    e->location = route->location;
    if (route->action == ROUTE_RESPOND || route->location_part_count == 0)
        return;
    char *room = arena_take(&e->arena, BLOCK_BYTES / 2);
    enum err result = room ? transform_compose(route->location_parts, route->location_part_count, &e->request,
                                               &e->forwarding, room, BLOCK_BYTES / 2, &e->location)
                           : ERR_MEMORY;
    if (result == ERR_NONE)
        (void)refuse_fault(e, FAULT_HOST_MISSING);
    else if (result != ERR_OK)
        end_with(e, EXPLAIN_REFUSED, 503, "no_memory", "the place to redirect to does not fit");
}

/* The pool ------------------------------------------------------------------------------------------------------ */

static void look_at_server(struct explanation *e, uint32_t i)
{
    struct explained_server *server = &e->servers[i];
    server->config = &e->pool->servers[i];
    server->record = e->generation->records[e->route->pool][i];
    health_copy(&server->health, &server->record->health);
    uint64_t until = atomic_load_explicit(&server->health.marked_until_ms, memory_order_relaxed);
    server->state = health_state(&server->health, e->now_ms);
    uint32_t leases = atomic_load_explicit(&server->health.leases, memory_order_relaxed);
    server->full = server->config->max_connections && leases >= server->config->max_connections;
    server->marked_for_ms = until > e->now_ms ? until - e->now_ms : 0;
    for (uint32_t w = 0; w < e->generation->worker_count; w++)
        server->busy += counter_get(&server->record->counters[w].busy);
    server->server = (struct server){ .name = server->config->key,
                                      .health = &server->health,
                                      .in_flight = (uint32_t)server->busy,
                                      .counters = server->counters };
    e->members[i] = member_for(e->config, server->config, &server->server, 1);
    e->members[i].sticky_id = sticky_id_of(e->generation, e->route->pool, i);
}

/* As if nothing had ever happened to the servers: whom the policy names then. */
static void find_first_choice(struct explanation *e, struct upstream *upstream, struct pick_request request)
{
    struct member *member = NULL;
    const struct health well = { 0 };
    for (uint32_t i = 0; i < upstream->count; i++)
        health_copy(&e->servers[i].health, &well);
    e->first_choice = upstream_pick(upstream, &request, &member) == PICK_OK ? member->place : e->picked;
}

static enum err pick(struct explanation *e)
{
    struct upstream upstream;
    struct pick_request request = { .hash = e->hash, .random = e->random, .now_ms = e->now_ms };
    struct member *member = NULL;
    enum err result = upstream_for(&upstream, e->pool, e->members, NULL);
    if (result != ERR_OK)
        return result;
    if (e->pool->sticky.cookie.length)
        request.sticky = sticky_read(e->pool, &e->request);
    for (uint32_t i = 0; i < upstream.count; i++)
        e->servers[e->members[i].place].usable = upstream_usable(&upstream, &e->members[i], &request);
    e->verdict = upstream_pick(&upstream, &request, &member);
    e->picked = member ? member->place : 0;
    for (uint32_t i = 0; i < upstream.count; i++) {
        struct explained_server *server = &e->servers[e->members[i].place];
        server->candidate = server->usable && member && e->members[i].tier == member->tier;
        e->candidate_count += server->candidate;
    }
    e->returns = member && request.sticky && member->sticky_id == request.sticky;
    e->certain = e->returns || e->hashed || e->candidate_count == 1 || e->verdict == PICK_LAST_RESORT;
    find_first_choice(e, &upstream, request);
    upstream_release(&upstream);
    return ERR_OK;
}

static enum err ask_pool(struct explanation *e)
{
    uint32_t count = e->pool->server_count;
    size_t bytes = count * sizeof *e->servers;
    struct server_counters *counters =
        FAULT("explain") ? NULL : calloc(1, sizeof *counters); /* one for all: nobody reads it */
    e->servers = aligned_alloc(CACHE_LINE, bytes ? bytes : CACHE_LINE);
    e->members = calloc(count + 1, sizeof *e->members);
    enum err result = counters && e->servers && e->members ? ERR_OK : ERR_MEMORY;
    if (result == ERR_OK) {
        memset(e->servers, 0, bytes);
        e->waiting = (uint32_t)atomic_load_explicit(&e->generation->pool_records[e->route->pool]->waiting, memory_order_relaxed);
        e->key = hash_key_of(e->pool, &e->request, e->forwarding.client_address);
        e->hashed = hash_key_hash(e->pool, &e->request, e->forwarding.client_address, &e->hash);
        if (!e->hashed)
            e->hash = e->random;
        for (uint32_t i = 0; i < count; i++) {
            e->servers[i].counters = counters;
            look_at_server(e, i);
        }
        result = pick(e);
    }
    free(counters);
    return result;
}
_Static_assert(sizeof(struct explained_server) % CACHE_LINE == 0,
               "aligned_alloc wants that, and so does the record in it");

/* The head ------------------------------------------------------------------------------------------------------ */

static bool rewrite_path(struct explanation *e)
{
    const struct route *route = e->route;
    if (route->strip_prefix.length == 0 && route->add_prefix.length == 0 && route->replace_path.length == 0)
        return true;
    size_t cap = e->request.path.length + route->add_prefix.length + route->replace_path.length + 2;
    char *room = cap <= BLOCK_BYTES ? arena_take(&e->arena, cap) : NULL;
    return room && route_rewrite(route, e->request.path, room, cap, &e->forwarding.path) == ERR_OK;
}

static void write_head(struct explanation *e)
{
    struct h1_writer w = h1_writer_of(e->head_room, sizeof e->head_room);
    e->forwarding.server = e->pool->server_count ? e->servers[e->picked].server.name : SLICE_NONE;
    h1_write_request(&w, &e->request, &e->forwarding);
    if (!w.overflow)
        e->head = slice_of(e->head_room, (size_t)(w.at - e->head_room));
}

/* As exchange_plan_upgrade does. False: refused. */
static bool plan_upgrade(struct explanation *e)
{
    struct upgrade upgrade;
    enum upgrade_verdict verdict = upgrade_of(&e->route->upgrade, &e->request, &upgrade);
    if (verdict == UPGRADE_ASKED)
        e->forwarding.upgrade = upgrade.protocol;
    else if (verdict == UPGRADE_FORBIDDEN)
        end_with(e, EXPLAIN_REFUSED, 403, "upgrade_refused", "the route lets no upgrade to websocket pass");
    else if (verdict != UPGRADE_NONE)
        end_with(e, EXPLAIN_REFUSED, verdict == UPGRADE_BAD ? 400 : 426, "upgrade_malformed", upgrade.why);
    return verdict == UPGRADE_NONE || verdict == UPGRADE_ASKED;
}

static enum err go_to_pool(struct explanation *e)
{
    end_with(e, EXPLAIN_POOL, 0, NULL, NULL);
    e->pool = &e->config->pools[e->route->pool];
    e->forwarding.host = e->pool->host;
    if (e->route->request_edits.count)
        e->forwarding.edits = &e->route->request_edits;
    if (!rewrite_path(e)) {
        end_with(e, EXPLAIN_REFUSED, 503, "no_memory", "the proxy is short of memory");
        return ERR_OK;
    }
    if (!codec_count_forwards(&e->request)) {
        end_with(e, EXPLAIN_REFUSED, 204, NULL, "Max-Forwards is 0: the proxy is the one asked");
        return ERR_OK;
    }
    if (!plan_upgrade(e))
        return ERR_OK;
    if (e->route->cache.on && e->homes)
        explain_ask_cache(e);
    enum err result = ask_pool(e);
    if (result == ERR_OK)
        write_head(e);
    return result;
}

/* The whole ----------------------------------------------------------------------------------------------------- */

static enum err follow(struct explanation *e)
{
    find_listener(e);
    set_forwarding(e);
    if (!parse(e) || !accept_kind(e) || !ask_listener(e) || !find_route(e))
        return ERR_OK;
    if (e->route->action == ROUTE_POOL)
        return go_to_pool(e);
    answer_by_route(e);
    return ERR_OK;
}

void explanation_free(struct explanation *e)
{
    explain_leave_cache(e);
    arena_release(&e->arena);
    block_pool_release(&e->blocks, 0);
    text_release(&e->bytes);
    free(e->servers);
    free(e->members);
    free(e);
}

static enum err find_out(struct explanation *e, const struct explain_question *question, char why[128])
{
    enum err result = read_url(e, question->url, why);
    if (result == ERR_OK)
        result = read_client(e, question->from, why);
    if (result != ERR_OK)
        return result;
    write_request(e, question);
    return e->bytes.failed ? ERR_MEMORY : follow(e);
}

struct explanation *explanation_new(const struct generation *generation, const struct explain_question *question, uint64_t now_ms,
                                    uint64_t random, enum err *result, char why[128])
{
    struct explanation *e = FAULT("explain") ? NULL : calloc(1, sizeof *e);
    snprintf(why, 128, "out of memory");
    *result = ERR_MEMORY;
    if (!e || block_pool_init(&e->blocks, BLOCKS) != ERR_OK) {
        free(e);
        return NULL;
    }
    e->generation = generation;
    e->config = generation->config;
    e->homes = question->homes;
    e->disk = question->disk;
    e->now_s = question->now_s;
    e->now_ms = now_ms;
    e->random = random;
    arena_init(&e->arena, &e->blocks);
    *result = find_out(e, question, why);
    if (*result == ERR_OK)
        return e;
    explanation_free(e);
    return NULL;
}

enum err explain(const struct generation *generation, const struct explain_question *question, uint64_t now_ms,
                 uint64_t random, struct text *text, struct text *json, char why[128])
{
    enum err result;
    struct explanation *e = explanation_new(generation, question, now_ms, random, &result, why);
    if (!e)
        return result;
    explain_put_text(e, text);
    explain_put_json(e, json);
    explanation_free(e);
    return ERR_OK;
}

#include "engine/explain_report.h"

#include <stdio.h>

/* What is said in either form ------------------------------------------------------------------------------------ */

static unsigned long long seconds_ago(const struct explanation *e, uint64_t at_ms)
{
    return (unsigned long long)(e->now_ms > at_ms ? (e->now_ms - at_ms) / 1000 : 0);
}

static bool is_full(const struct explained_server *server)
{
    return server->state == HEALTH_UP && server->full;
}

/* "marked for another 3.2 s: connect" */
static void put_state(const struct explanation *e, const struct explained_server *server, struct text *out)
{
    const struct check_result *check = &server->record->check;
    const struct health *health = &server->record->health; /* the copy may have been tried out */
    unsigned forced = atomic_load_explicit(&health->forced, memory_order_relaxed);
    bool unresolved = atomic_load_explicit(&health->unresolved, memory_order_relaxed);
    const char *outcome = server_outcome_word(
        (enum server_outcome)atomic_load_explicit(&health->last_outcome, memory_order_relaxed));
    bool checked = server->state == HEALTH_DOWN && !unresolved && forced == HEALTH_AUTO;
    const char *reason = unresolved ? "its name has no address" : checked ? "down by checks" : "down by command";
    switch (server->state) {
    case HEALTH_DRAINED: text_add(out, SLICE("drained")); return;
    case HEALTH_MARKED:
        text_format(out, "marked for another %.1f s: %s", (double)server->marked_for_ms / 1000, outcome);
        return;
    case HEALTH_TRIAL_DUE: text_format(out, "marked (%s), and due for one request that tries it", outcome); break;
    case HEALTH_DOWN: text_add(out, slice_of_text(reason)); break;
    case HEALTH_UP:
        text_format(out, "%s%s, %llu in flight", is_full(server) ? "full" : "up", forced == HEALTH_AUTO ? "" : " by command",
                    (unsigned long long)server->busy);
        break;
    }
    if (server->state == HEALTH_UP && server->config->max_connections)
        text_format(out, " of %u at most", server->config->max_connections);
    if (server->state == HEALTH_UP && !server->usable && !server->full)
        text_add(out, SLICE(", not to be used now"));
    if (check->what[0])
        text_format(out, "%s %s, %llu s ago", checked ? ":" : "; last check:", check->what,
                    seconds_ago(e, check->at_ms));
}

static void put_because(const struct explained_route *passed, struct text *out)
{
    switch (passed->verdict) {
    case ROUTE_METHOD: text_add(out, SLICE("method")); break;
    case ROUTE_HOST: text_add(out, SLICE("host")); break;
    case ROUTE_PATH: text_add(out, SLICE("path")); break;
    case ROUTE_FIELD:
        text_format(out, "header %.*s", (int)passed->condition->name.length, passed->condition->name.at);
        break;
    case ROUTE_TAKES: break;
    }
}

static bool is_picked(const struct explanation *e)
{
    return pick_has_lease(e->verdict);
}

static struct slice address_of(const struct explanation *e, uint32_t server)
{
    return e->pool->servers[server].address.text;
}

/* Why that server, or none. */
static void put_why(const struct explanation *e, struct text *out)
{
    if (e->verdict == PICK_FULL && e->pool->queue_max)
        text_format(out, "%s: it waits in the pool's queue, %u of %u there, for %.1f s at most", pick_text(e->verdict),
                    e->waiting, e->pool->queue_max, e->pool->queue_ms / 1000.0);
    else if (!is_picked(e))
        text_format(out, "%s: 503", pick_text(e->verdict));
    else if (e->verdict == PICK_LAST_RESORT)
        text_add(out, SLICE("every server is marked as dead, and its mark ends first"));
    else if (e->returns)
        text_format(out, "the cookie %.*s brings the client back to it", (int)e->pool->sticky.cookie.length, e->pool->sticky.cookie.at);
    else if (e->verdict == PICK_PANIC)
        text_add(out, SLICE("too few servers are well, so marks and checks are ignored"));
    else if (e->hashed && e->picked == e->first_choice)
        text_add(out, SLICE("the hash names it"));
    else if (e->hashed)
        text_format(out, "it stands in for %.*s, which the hash names", (int)address_of(e, e->first_choice).length,
                    address_of(e, e->first_choice).at);
    else if (e->certain)
        text_add(out, SLICE("no other can be used"));
    else
        text_format(out, "%s: it depends on the worker that has the request%s", balance_of(e->pool->balance)->word,
                    e->pool->balance == BALANCE_CONSISTENT_HASH ? ", for the request has no key" : "");
}

static const char *const key_words[] = {
    [HASH_URI] = "uri",        [HASH_PATH] = "path",
    [HASH_HOST] = "host",      [HASH_CLIENT_ADDRESS] = "client-address",
    [HASH_HEADER] = "header:", [HASH_COOKIE] = "cookie:",
    [HASH_QUERY] = "query:",
};

static void put_key_name(const struct config_pool *pool, struct text *out)
{
    text_format(out, "%s%.*s", key_words[pool->hash_key], (int)pool->hash_name.length,
                pool->hash_name.length ? pool->hash_name.at : "");
}

/* The path, and what the query adds to it where the whole URI is the key. */
static void put_key(const struct explanation *e, struct text *out)
{
    text_add(out, e->key);
    if (e->pool->hash_key == HASH_URI && e->request.query.at) {
        text_add(out, SLICE("?"));
        text_add(out, e->request.query);
    }
}

/* Text ----------------------------------------------------------------------------------------------------------- */

static void put_request(const struct explanation *e, struct text *text)
{
    const struct request *request = &e->request;
    if (request->method_token.length && request->path.length)
        text_format(text, "request   %.*s %.*s%s%.*s for \"%.*s\", from %s%s\n", (int)request->method_token.length,
                    request->method_token.at, (int)request->path.length, request->path.at, request->query.at ? "?" : "",
                    (int)request->query.length, request->query.at ? request->query.at : "", (int)request->host.length,
                    request->host.at ? request->host.at : "", e->client,
                    e->forwarding.client_trusted ? ", a trusted proxy" : "");
}

static void put_listener(const struct explanation *e, struct text *text)
{
    struct slice address = e->listener ? e->listener->address.text : SLICE_NONE;
    if (!e->listener)
        text_format(text, "listener  none speaks %s; as if there were one:\n", e->https ? "https" : "http");
    else if (e->listener_exact)
        text_format(text, "listener  %.*s", (int)address.length, address.at);
    else
        text_format(text, "listener  none for %s on port %u; as if it came by %.*s", e->https ? "https" : "http",
                    e->port, (int)address.length, address.at);
    if (e->listener)
        text_add(text, e->listener->proxied.from_count ? SLICE(", where a PROXY header may name the client\n") : SLICE("\n"));
}

static void put_routes(const struct explanation *e, struct text *text)
{
    for (uint32_t i = 0; i < e->passed_over_count && i < EXPLAIN_ROUTES_MAX; i++) {
        const struct explained_route *passed = &e->passed_over[i];
        text_format(text, "%s%.*s does not match: ", i ? "          " : "routes    ", (int)passed->route->name.length,
                    passed->route->name.at);
        put_because(passed, text);
        text_add(text, SLICE("\n"));
    }
    if (e->passed_over_count > EXPLAIN_ROUTES_MAX)
        text_format(text, "          ... and %u more do not\n", e->passed_over_count - EXPLAIN_ROUTES_MAX);
    if (e->route)
        text_format(text, "route     %.*s\n", (int)e->route->name.length, e->route->name.at);
}

static void put_pool(const struct explanation *e, struct text *text)
{
    text_format(text, "pool      %.*s, %s", (int)e->pool->name.length, e->pool->name.at,
                balance_of(e->pool->balance)->word);
    if (e->pool->balance == BALANCE_CONSISTENT_HASH) {
        text_add(text, SLICE(" by "));
        put_key_name(e->pool, text);
        if (e->hashed) {
            text_add(text, SLICE(" \""));
            put_key(e, text);
            text_format(text, "\", hash %016llx", (unsigned long long)e->hash);
        } else
            text_add(text, SLICE(", which the request does not have"));
    }
    if (e->pool->proxy_protocol)
        text_format(text, "; servers are told of the client by the PROXY protocol, version %u", e->pool->proxy_protocol);
    text_add(text, SLICE("\n"));
    for (uint32_t i = 0; i < e->pool->server_count; i++) {
        struct slice address = address_of(e, i);
        text_format(text, "%s%-24.*s ", i ? "          " : "servers   ", (int)address.length, address.at);
        put_state(e, &e->servers[i], text);
        text_add(text, SLICE("\n"));
    }
}

static void put_picked(const struct explanation *e, struct text *text)
{
    unsigned put = 0;
    text_add(text, SLICE("picked    "));
    if (e->verdict == PICK_OK && !e->certain) {
        for (uint32_t i = 0; i < e->pool->server_count; i++)
            if (e->servers[i].candidate)
                text_format(text, "%s%.*s", put++ ? " or " : "", (int)address_of(e, i).length, address_of(e, i).at);
    } else if (is_picked(e))
        text_add(text, address_of(e, e->picked));
    else
        text_add(text, SLICE("none"));
    text_add(text, SLICE("; "));
    put_why(e, text);
    text_add(text, SLICE("\n"));
}

static void put_causes(const struct explanation *e, struct text *text)
{
    bool idempotent = method_is_idempotent(e->request.method);
    unsigned put = 0;
    for (uint32_t i = 0; i < e->pool->retry.causes.count; i++) {
        unsigned cause = e->pool->retry.causes.list[i];
        if (cause != SERVER_CONNECT && !idempotent)
            continue;
        text_add(text, put++ ? SLICE(", ") : SLICE(""));
        if (cause >= 100)
            text_format(text, "%u", cause);
        else
            text_add(text, slice_of_text(server_outcome_word((enum server_outcome)cause)));
    }
    text_add(text, put ? SLICE("") : SLICE("nothing"));
}

static void put_retries(const struct explanation *e, struct text *text)
{
    struct slice method = e->request.method_token;
    if (e->pool->retries == 0) {
        text_add(text, SLICE("retries   none\n"));
        return;
    }
    text_format(text, "retries   up to %u, for ", e->pool->retries);
    put_causes(e, text);
    text_format(text, "; %.*s is %sidempotent\n", (int)method.length, method.at, method_is_idempotent(e->request.method) ? "" : "not ");
}

static void put_head(const struct explanation *e, struct text *text)
{
    struct slice rest = e->head;
    if (!rest.at) {
        text_add(text, SLICE("answer    431 head_too_large: the request's head has no room for what is to be added\n"));
        return;
    }
    text_format(text, "head      %s\n", is_picked(e) && e->certain ? "as it is sent" : "as it would be sent");
    while (rest.length > 2) {
        const char *end = memchr(rest.at, '\r', rest.length);
        size_t length = end ? (size_t)(end - rest.at) : rest.length;
        text_format(text, "          %.*s\n", (int)length, rest.at);
        length = size_min(rest.length, length + 2);
        rest = slice_of(rest.at + length, rest.length - length);
    }
}

static void put_answer(const struct explanation *e, struct text *text)
{
    if (e->end == EXPLAIN_ADMIN) {
        text_add(text, SLICE("answer    by the listener itself, which serves metrics and no routes\n"));
        return;
    }
    if (e->end == EXPLAIN_FORWARD) {
        text_add(text, SLICE("answer    by the forward proxy, which asks no routes\n"));
        return;
    }
    text_format(text, "answer    %u", e->status);
    if (e->why)
        text_format(text, " %s", e->why);
    if (e->sentence)
        text_format(text, ": %s", e->sentence);
    if (e->end == EXPLAIN_RESPOND)
        text_format(text, ", with %zu bytes of content", e->route->body.length);
    if (e->end == EXPLAIN_TO_HTTPS || e->end == EXPLAIN_REDIRECT)
        text_format(text, " to %.*s", (int)e->location.length, e->location.at ? e->location.at : "");
    text_add(text, SLICE("\n"));
}

void explain_put_text(const struct explanation *e, struct text *text)
{
    put_request(e, text);
    put_listener(e, text);
    put_routes(e, text);
    if (e->end != EXPLAIN_POOL) {
        put_answer(e, text);
        return;
    }
    explain_cache_text(e, text);
    put_pool(e, text);
    put_picked(e, text);
    put_retries(e, text);
    put_head(e, text);
}

/* JSON ----------------------------------------------------------------------------------------------------------- */

static void string(struct text *json, const char *key, struct slice value)
{
    text_format(json, "\"%s\":", key);
    text_json_string(json, value);
}

/* What a function writes, as a string. */
typedef void put_function(const struct explanation *e, struct text *out);

static void string_of(const struct explanation *e, struct text *json, const char *key, put_function *put)
{
    struct text value = { 0 };
    put(e, &value);
    json->failed |= value.failed;
    string(json, key, text_slice(&value));
    text_release(&value);
}

static void request_json(const struct explanation *e, struct text *json)
{
    const struct request *request = &e->request;
    bool well = request->method_token.length && request->path.length;
    text_add(json, SLICE("{\"request\":{"));
    string(json, "method", well ? request->method_token : SLICE_NONE);
    text_add(json, SLICE(","));
    string(json, "host", well ? request->host : SLICE_NONE);
    text_add(json, SLICE(","));
    string(json, "path", well ? request->path : SLICE_NONE);
    text_add(json, SLICE(",\"query\":"));
    if (well && request->query.at)
        text_json_string(json, request->query);
    else
        text_add(json, SLICE("null"));
    text_add(json, SLICE(","));
    string(json, "client", slice_of_text(e->client));
    text_format(json, ",\"trusted\":%s},\"listener\":", e->forwarding.client_trusted ? "true" : "false");
    if (e->listener) {
        text_add(json, SLICE("{"));
        string(json, "name", e->listener->name);
        text_add(json, SLICE(","));
        string(json, "address", e->listener->address.text);
        text_format(json, ",\"exact\":%s,\"proxy_protocol\":%s}", e->listener_exact ? "true" : "false",
                    e->listener->proxied.from_count ? "true" : "false");
    } else
        text_add(json, SLICE("null"));
}

static void routes_json(const struct explanation *e, struct text *json)
{
    text_add(json, SLICE(",\"passed_over\":["));
    for (uint32_t i = 0; i < e->passed_over_count && i < EXPLAIN_ROUTES_MAX; i++) {
        struct text because = { 0 };
        put_because(&e->passed_over[i], &because);
        text_add(json, i ? SLICE(",{") : SLICE("{"));
        string(json, "route", e->passed_over[i].route->name);
        text_add(json, SLICE(","));
        string(json, "because", text_slice(&because));
        text_add(json, SLICE("}"));
        json->failed |= because.failed;
        text_release(&because);
    }
    text_format(json, "],\"passed_over_count\":%u,\"route\":", e->passed_over_count);
    if (e->route)
        text_json_string(json, e->route->name);
    else
        text_add(json, SLICE("null"));
}

static void server_json(const struct explanation *e, const struct explained_server *server, struct text *json)
{
    struct text state = { 0 };
    put_state(e, server, &state);
    text_add(json, SLICE("{"));
    string(json, "address", server->config->address.text);
    text_add(json, SLICE(","));
    string(json, "state", slice_of_text(is_full(server) ? "full" : health_state_word(server->state)));
    text_add(json, SLICE(","));
    string(json, "why", text_slice(&state));
    text_format(json, ",\"usable\":%s,\"weight\":%u,\"busy\":%llu,\"max_connections\":%u,\"marked_for_ms\":%llu}",
                server->usable ? "true" : "false", server->config->weight, (unsigned long long)server->busy,
                server->config->max_connections, (unsigned long long)server->marked_for_ms);
    json->failed |= state.failed;
    text_release(&state);
}

static void key_name(const struct explanation *e, struct text *out)
{
    put_key_name(e->pool, out);
}

static void pool_json(const struct explanation *e, struct text *json)
{
    text_add(json, SLICE(",\"pool\":{"));
    string(json, "name", e->pool->name);
    text_add(json, SLICE(","));
    string(json, "balance", slice_of_text(balance_of(e->pool->balance)->word));
    if (e->pool->balance == BALANCE_CONSISTENT_HASH) {
        text_add(json, SLICE(","));
        string_of(e, json, "hash_key", key_name);
    }
    if (e->hashed) {
        text_add(json, SLICE(","));
        string_of(e, json, "key", put_key);
        text_format(json, ",\"hash\":\"%016llx\"", (unsigned long long)e->hash);
    }
    text_format(json, ",\"proxy_protocol\":%u,\"waiting\":%u,\"servers\":[", e->pool->proxy_protocol, e->waiting);
    for (uint32_t i = 0; i < e->pool->server_count; i++) {
        text_add(json, i ? SLICE(",") : SLICE(""));
        server_json(e, &e->servers[i], json);
    }
    text_add(json, SLICE("]}"));
}

static void picked_json(const struct explanation *e, struct text *json)
{
    unsigned put = 0;
    text_add(json, SLICE(",\"picked\":"));
    if (is_picked(e) && e->certain)
        text_json_string(json, address_of(e, e->picked));
    else
        text_add(json, SLICE("null"));
    text_add(json, SLICE(","));
    string_of(e, json, "picked_why", put_why);
    text_add(json, SLICE(",\"candidates\":["));
    for (uint32_t i = 0; i < e->pool->server_count; i++) {
        if (!(e->certain && is_picked(e) ? i == e->picked : e->servers[i].candidate))
            continue;
        text_add(json, put++ ? SLICE(",") : SLICE(""));
        text_json_string(json, address_of(e, i));
    }
    text_format(json, "],\"retries\":%u,\"idempotent\":%s,\"head\":", e->pool->retries,
                method_is_idempotent(e->request.method) ? "true" : "false");
    if (e->head.at)
        text_json_string(json, e->head);
    else
        text_add(json, SLICE("null"));
}

void explain_put_json(const struct explanation *e, struct text *json)
{
    static const char *const ends[] = {
        [EXPLAIN_REFUSED] = "refuse",  [EXPLAIN_ADMIN] = "admin",       [EXPLAIN_TO_HTTPS] = "redirect-to-https",
        [EXPLAIN_FORWARD] = "forward-proxy",
        [EXPLAIN_RESPOND] = "respond", [EXPLAIN_REDIRECT] = "redirect", [EXPLAIN_POOL] = "pool",
    };
    request_json(e, json);
    routes_json(e, json);
    text_format(json, ",\"action\":\"%s\"", ends[e->end]);
    if (e->status) {
        text_format(json, ",\"status\":%u,", e->status);
        string(json, "why", slice_of_text(e->why ? e->why : ""));
    }
    if (e->location.length && e->end != EXPLAIN_RESPOND) {
        text_add(json, SLICE(","));
        string(json, "location", e->location);
    }
    if (e->end == EXPLAIN_POOL) {
        text_add(json, SLICE(",\"cache\":"));
        explain_cache_json(e, json);
        pool_json(e, json);
        picked_json(e, json);
    }
    text_add(json, SLICE("}"));
}

/*
 * What rows cannot say alone: keys that exclude or need each other, names that stand twice, what is never reached or
 * does nothing. The finish functions look at one section, config_check at the whole.
 *
 * What does nothing is an error where the author must have meant something else (a rewrite beside a redirect), and a
 * warning where the file works without it (a pool that no route names). Warnings are left for files without errors,
 * whose own consequences they would often be.
 */
#include <stdio.h>

#include "engine/base/map.h"
#include "engine/config_decode.h"
#include "engine/config_value.h"

#define SERVERS_MAX 16384u /* of all pools: the engine keeps a record of each (RECORDS_MAX) */
#define EDIT_BYTES_MAX 4096u /* of one message: a head with them still fits where heads are written */
#define ANSWER_EDITS_MAX 64u /* of an answer of our own, beside the fields it has anyway */

struct place key_place(const struct node *map, const char *key)
{
    for (const struct node_child *child = map->kind == NODE_MAP ? map->first : NULL; child; child = child->next) {
        if (slice_equal(child->key->text, slice_of_text(key)))
            return child->key->place;
    }
    return map->place;
}

struct place item_place(const struct node *node, uint32_t i, const char *key)
{
    const struct node_child *child = NULL;
    for (const struct node *item; node && (item = node_next(node, &child)); i--) {
        const struct node *value = key ? node_find(item, key) : NULL;
        if (i == 0)
            return value ? value->place : child->key ? child->key->place : item->place;
    }
    return (struct place){ 0 };
}

/* Listeners ------------------------------------------------------------------------------------------------------- */

/* Nobody would ever come from there. */
static void check_proxied(struct decoder *decoder, const struct node *node, const struct config_listener *listener, bool local)
{
    const struct config_proxied *proxied = &listener->proxied;
    for (uint32_t i = 0; i < proxied->from_count; i++) {
        if (listener->address.text.length == 0 || value_network_is_unix(&proxied->from[i]) == local)
            continue;
        problem_help(problem_error(decoder->reporter, key_place(node, "proxy-protocol"), local ? "whoever connects to a unix socket has no address"
                                                                                               : "'unix:' is for listeners on a unix socket"),
                     local ? "write proxy-protocol: [ \"unix:\" ]" : "write the addresses of the proxies in front");
        return;
    }
}

void finish_listener(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct config_listener *listener = target;
    bool local = listener->address.text.length && listener->address.port == 0;
    if (!listener->name.length)
        listener->name = listener->address.text;
    if (section_given(&section_listener, given, "mode") && !local) {
        struct config_problem *problem =
            problem_error(decoder->reporter, key_place(node, "mode"), "'mode' is for unix: addresses only");
        problem_help(problem, "leave the key out");
    }
    check_proxied(decoder, node, listener, local);
    finish_listener_tcp(decoder, node, listener);
    if (listener->redirect_to_https && section_given(&section_listener, given, "tls"))
        problem_help(problem_error(decoder->reporter, key_place(node, "redirect-to-https"), "'redirect-to-https' is for listeners without 'tls'"),
                     "leave one of them out");
    else if (listener->redirect_to_https && listener->serve != SERVE_PROXY)
        problem_help(problem_error(decoder->reporter, key_place(node, "redirect-to-https"), "a listener with 'serve: %s' redirects nobody",
                                   listener->serve == SERVE_ADMIN ? "admin" : "forward-proxy"),
                     "leave one of them out");
}

static void check_repeated_chains(struct decoder *decoder, const struct node *node, const struct config_listener_tls *tls)
{
    struct map seen;
    map_init(&seen, tls->certificate_count + 1, 1, 2);
    for (uint32_t i = 0; i < tls->certificate_count; i++) {
        struct config_certificate *certificate = &tls->certificates[i];
        enum err e = certificate->chain.length ? map_add(&seen, certificate->chain, certificate) : ERR_OK;
        if (e == ERR_MEMORY)
            decoder->memory->failed = true;
        if (e != ERR_EXISTS)
            continue;
        const struct config_certificate *first = map_find(&seen, certificate->chain);
        const struct node *nodes = node_find(node, "certificates");
        struct config_problem *problem = problem_error(decoder->reporter, item_place(nodes, i, "chain"), "certificate '%s' stands twice",
                                                       quoted(certificate->chain).text);
        problem_note(problem, item_place(nodes, (uint32_t)(first - tls->certificates), "chain"), "the first is here");
        problem_help(problem, "one may have several 'names'");
    }
    map_release(&seen);
}

/* 0x13.. are TLS 1.3's (RFC 8446 B.4), and only those. */
static bool has_ciphers(const struct config_words *ciphers, bool tls13)
{
    for (uint32_t i = 0; i < ciphers->count; i++) {
        if ((ciphers->list[i] >> 8 == 0x13) == tls13)
            return true;
    }
    return ciphers->count == 0; /* told already */
}

static void check_ciphers(struct decoder *decoder, const struct node *node, const struct config_listener_tls *tls)
{
    struct place place = key_place(node, "ciphers");
    if (!has_ciphers(&tls->ciphers, true) && !tls->tls12)
        problem_help(problem_error(decoder->reporter, place, "'ciphers' has none of TLS 1.3, and 'min-version' is 1.3"),
                     "add TLS_AES_128_GCM_SHA256");
    else if (!has_ciphers(&tls->ciphers, true) && tls->early_data_bytes_max)
        problem_help(problem_error(decoder->reporter, place, "'ciphers' has none of TLS 1.3, and 'early-data' is a part of it"),
                     "add TLS_AES_128_GCM_SHA256");
    else if (node_find(node, "ciphers") && tls->tls12 && !has_ciphers(&tls->ciphers, false))
        problem_help(problem_warning(decoder->reporter, place, "'ciphers' has none of TLS 1.2, and 'min-version' is 1.2"),
                     "write 'min-version: 1.3'");
}

void finish_listener_tls(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    const struct config_listener_tls *tls = target;
    (void)given;
    check_repeated_chains(decoder, node, tls);
    check_ciphers(decoder, node, tls);
    if (tls->early_data_bytes_max && !tls->tickets)
        problem_help(problem_error(decoder->reporter, key_place(node, "early-data"), "'early-data' comes with resumed sessions, and 'tickets' is off"),
                     "leave one of them out");
    else if (tls->early_data_bytes_max && tls->client.mode != TLS_CLIENT_ANY)
        problem_help(problem_error(decoder->reporter, key_place(node, "early-data"),
                                   "'early-data' comes with resumed sessions; with 'client-certificate' there are none"),
                     "leave one of them out");
}

void finish_pool_tls(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct config_pool_tls *tls = target;
    (void)given;
    tls->on = true;
    if (!tls->verify && tls->ca.length)
        problem_help(problem_error(decoder->reporter, key_place(node, "ca"), "'ca' does nothing while 'verify' is off"),
                     "leave one of them out");
}

/* 0.0.0.0 and [::], which takes IPv4 too, would share a port by chance. */
static bool is_any(const struct address *address)
{
    return (address->socket.any.sa_family == AF_INET && address->socket.v4.sin_addr.s_addr == INADDR_ANY) ||
           (address->socket.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->socket.v6.sin6_addr));
}

static bool collide(const struct address *a, const struct address *b)
{
    return slice_equal(a->text, b->text) || (a->port && a->port == b->port && is_any(a) && is_any(b));
}

static void check_listener_pair(struct decoder *decoder, const struct node *nodes, uint32_t first, uint32_t second)
{
    const struct config_listener *a = &decoder->config->listeners[first], *b = &decoder->config->listeners[second];
    bool collision = collide(&a->address, &b->address);
    const char *key = collision ? "address" : "name";
    if (!a->address.text.length || !b->address.text.length || (!collision && !slice_equal(a->name, b->name)))
        return;
    struct config_problem *problem = problem_error(decoder->reporter, item_place(nodes, second, key), "two listeners %s '%s'",
                                                   collision ? "on" : "are called", quoted(collision ? b->address.text : b->name).text);
    problem_note(problem, item_place(nodes, first, key), "the first is here");
}

static void check_listeners(struct decoder *decoder)
{
    const struct node *nodes = node_find(decoder->root, "listeners");
    const struct config *config = decoder->config;
    bool serves = config->listener_count == 0, passes = false, forwards = false;
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        serves |= listener->serve == SERVE_PROXY && !listener->tcp.on;
        passes |= listener->tcp.on;
        forwards |= listener->serve == SERVE_FORWARD;
        for (uint32_t j = 0; j < i; j++)
            check_listener_pair(decoder, nodes, j, i);
    }
    bool routes = node_find(decoder->root, "routes") != NULL;
    if (serves && !routes)
        problem_help(problem_error(decoder->reporter, (struct place){ 0 }, "the configuration has no 'routes'"), "for example: routes: [ { pool: app } ]");
    else if (!serves && (routes || (!passes && !forwards)))
        problem_help(problem_error(decoder->reporter, item_place(nodes, 0, NULL), "no listener serves the routes"), "add one without '%s'%s",
                     forwards ? "serve" : "serve: admin", passes ? " and 'tcp'" : "");
}

/* Pools ----------------------------------------------------------------------------------------------------------- */

static void name_servers(struct decoder *decoder, struct config_pool *pool)
{
    char key[ADDRESS_TEXT_BYTES + 80];
    for (uint32_t i = 0; i < pool->configured_count; i++) {
        struct slice address = pool->configured[i].address.text;
        int length = snprintf(key, sizeof key, "%.*s/%.*s", (int)pool->name.length, pool->name.at, (int)address.length, address.at);
        pool->configured[i].key = decode_copy(decoder, slice_of(key, (size_t)length));
    }
}

void finish_server(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct config_server *server = target;
    if (address_is_service(server->address.text) && section_given(&section_server, given, "weight"))
        problem_help(problem_error(decoder->reporter, key_place(node, "weight"), "'weight' is for addresses; an SRV record has its own"),
                     "leave the key out");
    if (server->backup && section_given(&section_server, given, "group"))
        problem_help(problem_error(decoder->reporter, key_place(node, "backup"), "'backup' stands beside 'group'"),
                     "backup is group 1: leave one of them out");
    if (server->backup)
        server->group = 1;
}

/* Up to 1024 servers of 4096 pools: a map, not pairs. */
static void check_repeated_servers(struct decoder *decoder, const struct node *node, const struct config_pool *pool)
{
    struct map seen;
    map_init(&seen, UPSTREAM_SERVERS_MAX, 1, 2);
    for (uint32_t i = 0; i < pool->configured_count; i++) {
        struct config_server *server = &pool->configured[i];
        enum err e = server->address.text.length ? map_add(&seen, server->address.text, server) : ERR_OK;
        if (e == ERR_MEMORY)
            decoder->memory->failed = true;
        if (e != ERR_EXISTS)
            continue;
        struct config_server *first = map_find(&seen, server->address.text);
        const struct node *nodes = node_find(node, "servers");
        struct config_problem *problem = problem_error(decoder->reporter, item_place(nodes, i, "address"), "server '%s' stands twice in the pool",
                                                       quoted(server->address.text).text);
        problem_note(problem, item_place(nodes, (uint32_t)(first - pool->configured), "address"), "the first is here");
        problem_help(problem, "give it a weight to send it more");
    }
    map_release(&seen);
}

static void check_back_off(struct decoder *decoder, const struct node *node, const struct config_pool *pool)
{
    const struct node *passive = node_find(node, "passive-health");
    if (passive && pool->health.backoff_ms_min > pool->health.backoff_ms_max) {
        struct config_problem *problem =
            problem_error(decoder->reporter, passive->place, "'back-off' is longer than 'back-off-max'");
        char longest[VALUE_TEXT_BYTES];
        value_write_milliseconds(pool->health.backoff_ms_max, longest);
        problem_help(problem, "back-off-max is %s here", longest);
    }
}

void finish_retry(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    const struct config_retry *retry = target;
    bool timeouts = false;
    (void)given;
    for (uint32_t i = 0; i < retry->causes.count; i++)
        timeouts |= retry->causes.list[i] == SERVER_TIMEOUT;
    if (retry->per_try_ms && !timeouts)
        problem_help(problem_error(decoder->reporter, key_place(node, "per-try"), "'per-try' does nothing while 'timeout' is not among the causes"),
                     "add it: causes: [ connect, closed, timeout ]");
}

void finish_passive(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    static const char *const for_judging[] = { "interval", "min-requests", "min-servers" };
    const struct health_limits *limits = target;
    (void)given;
    for (size_t i = 0; i < ARRAY_LENGTH(for_judging) && !outlier_is_judged(&limits->outlier); i++) {
        if (node_find(node, for_judging[i]))
            problem_help(problem_error(decoder->reporter, key_place(node, for_judging[i]), "'%s' is for 'success-rate' and 'latency'", for_judging[i]),
                         "add one of them, {} takes every default; or leave the key out");
    }
}

static void check_keep_alive(struct decoder *decoder, const struct node *node, const struct config_pool *pool)
{
    const struct node *kept = node_find(node, "keep-alive");
    if (kept && pool->idle.warm > 0 && pool->idle.count_max == 0)
        problem_help(problem_error(decoder->reporter, key_place(kept, "warm"), "'warm' does nothing while 'connections' is 0"),
                     "leave one of them out");
    if (kept && pool->idle.borrow && (pool->idle.count_max == 0 || pool->tls.on))
        problem_help(problem_error(decoder->reporter, key_place(kept, "borrow"), "'borrow' does nothing %s",
                                   pool->tls.on ? "in a pool with tls: sessions stay on their worker" : "while 'connections' is 0"),
                     "leave it out");
    for (unsigned i = 0; i < 2 && kept && pool->proxy_protocol; i++)
        if (i ? pool->idle.borrow : pool->idle.warm > 0)
            problem_help(problem_error(decoder->reporter, key_place(kept, i ? "borrow" : "warm"), "'%s' does nothing in a pool with 'proxy-protocol': each connection is one client's",
                                       i ? "borrow" : "warm"),
                         "leave one of them out");
}

void finish_pool(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct config_pool *pool = target;
    name_servers(decoder, pool);
    check_repeated_servers(decoder, node, pool);
    pool->servers = pool->configured;
    pool->server_count = pool->configured_count;
    check_back_off(decoder, node, pool);
    check_keep_alive(decoder, node, pool);
    finish_pool_check(decoder, node, pool);
    decoder->config->tells_names |= pool->proxy_protocol == 2;
    static const char *const for_hashing[] = { "hash-key", "hash-balance", "load-cap" };
    for (size_t i = 0; i < ARRAY_LENGTH(for_hashing) && pool->balance != BALANCE_CONSISTENT_HASH; i++) {
        if (section_given(&section_pool, given, for_hashing[i]))
            problem_help(problem_error(decoder->reporter, key_place(node, for_hashing[i]), "'%s' is for consistent-hash only", for_hashing[i]),
                         "add 'balance: consistent-hash', or leave the key out");
    }
}

void finish_dns(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    const struct config_dns *dns = target;
    (void)given;
    if (dns->ttl_min_ms > dns->ttl_max_ms)
        problem_error(decoder->reporter, key_place(node, "ttl-min"), "'ttl-min' is longer than 'ttl-max'");
}

static void check_server_total(struct decoder *decoder)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < decoder->config->pool_count; i++)
        total += decoder->config->pools[i].configured_count;
    if (total > SERVERS_MAX)
        problem_error(decoder->reporter, (struct place){ 0 }, "the pools have %u servers; %u are allowed", (unsigned)total, SERVERS_MAX);
}

/* Routes ---------------------------------------------------------------------------------------------------------- */

void finish_match(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    (void)target;
    if (given == 0 && node->count == 0) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'match' has no condition");
        problem_help(problem, "leave the key out to match every request");
    }
}

void finish_rewrite(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    const struct route *route = target;
    (void)given;
    if (route->replace_path.length && (route->strip_prefix.length || route->add_prefix.length)) {
        struct config_problem *problem =
            problem_error(decoder->reporter, node->place, "'path' replaces the whole path; the prefixes beside it do nothing");
        problem_help(problem, "keep one of them");
    } else if (node->count == 0) {
        problem_error(decoder->reporter, node->place, "'rewrite' says nothing");
    }
}

void finish_compress(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct compress_rule *rule = target;
    (void)decoder;
    (void)node;
    (void)given;
    if (rule->type_count)
        return;
    rule->types = compress_types_usual;
    rule->type_count = COMPRESS_TYPES_USUAL;
}

static void check_repeated_sets(struct decoder *decoder, const struct node *node, const struct field_edits *edits)
{
    for (unsigned i = 0; i < edits->count; i++) {
        for (unsigned j = 0; j < i && edits->list[i].kind == FIELD_EDIT_SET; j++) {
            if (edits->list[j].kind == FIELD_EDIT_SET && slice_equal_nocase(edits->list[i].name, edits->list[j].name))
                problem_error(decoder->reporter, key_place(node, "response-headers"), "'%s' is set in 'respond' and in 'response-headers'",
                              quoted(edits->list[i].name).text);
        }
    }
}

/* set replaces what is there: remove beside it does nothing. */
static void check_edit_pairs(struct decoder *decoder, const struct node *node, const struct field_edits *edits)
{
    for (unsigned i = 0; i < edits->count; i++) {
        for (unsigned j = 0; edits->list[i].kind == FIELD_EDIT_REMOVE && j < edits->count; j++) {
            if (edits->list[j].kind == FIELD_EDIT_SET && slice_equal_nocase(edits->list[i].name, edits->list[j].name))
                problem_error(decoder->reporter, key_place(node, "remove"), "'%s' is removed and set; setting it suffices",
                              quoted(edits->list[i].name).text);
        }
    }
}

/* Into the order in which they are documented to act, whatever order the file has; otherwise as they stood. */
static void sort_edits(struct decoder *decoder, struct field_edits *edits)
{
    static const enum field_edit_kind order[] = { FIELD_EDIT_REMOVE, FIELD_EDIT_SET, FIELD_EDIT_ADD };
    struct field_edit *sorted = decode_take(decoder, edits->count, sizeof *sorted);
    unsigned count = 0;
    for (size_t o = 0; sorted && o < ARRAY_LENGTH(order); o++) {
        for (unsigned i = 0; i < edits->count; i++) {
            if (edits->list[i].kind == order[o])
                sorted[count++] = edits->list[i];
        }
    }
    edits->list = sorted;
    edits->count = count;
    edits->touched = 0;
    for (unsigned i = 0; i < count; i++) {
        if (sorted[i].kind != FIELD_EDIT_ADD)
            edits->touched |= 1ull << sorted[i].id;
    }
}

static void check_edit_bytes(struct decoder *decoder, const struct node *node, const struct field_edits *edits)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < edits->count; i++)
        bytes += edits->list[i].name.length + edits->list[i].value.length + 4;
    if (bytes > EDIT_BYTES_MAX)
        problem_error(decoder->reporter, node->place, "the edits take %zu bytes; %u are allowed", bytes, EDIT_BYTES_MAX);
}

void finish_edits(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct field_edits *edits = target;
    (void)given;
    check_edit_pairs(decoder, node, edits);
    check_edit_bytes(decoder, node, edits);
    sort_edits(decoder, edits);
    if (node->count == 0)
        problem_help(problem_error(decoder->reporter, node->place, "no edit is given"), "add set, add or remove");
}

void finish_respond(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct route *route = target;
    (void)given;
    bool bodiless = route->status == 204 || route->status == 205 || route->status == 304;
    if (bodiless && route->body.length)
        problem_error(decoder->reporter, key_place(node, "body"), "an answer with status %u has no body", route->status);
    if (!route->body.length)
        route->type = SLICE_NONE;
    if (!route->body.length && node_find(node, "type"))
        problem_error(decoder->reporter, key_place(node, "type"), "'type' is the type of a body, and there is none");
}

void finish_redirect(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    const struct route *route = target;
    (void)given;
    switch (route->status) {
    case 0: /* told already */
    case 301:
    case 302:
    case 303:
    case 307:
    case 308: return;
    default:
        problem_help(problem_error(decoder->reporter, key_place(node, "status"), "%u is no status for a redirect", route->status),
                     "one of: 301, 302, 303, 307, 308");
    }
}

/* Of an answer of our own there is nothing to remove, and its type, length and date are written by its maker. */
static void check_own_answer(struct decoder *decoder, const struct node *node, const struct route *route)
{
    struct place place = key_place(node, node_find(node, "response-headers") ? "response-headers" : "respond");
    static const char *const for_origins[] = { "rewrite", "request-headers", "compress", "cache", "upgrade" };
    for (size_t i = 0; i < ARRAY_LENGTH(for_origins); i++) {
        if (node_find(node, for_origins[i]))
            problem_help(problem_error(decoder->reporter, key_place(node, for_origins[i]), "'%s' does nothing without 'pool'",
                                       for_origins[i]),
                         "it is about requests that are forwarded");
    }
    if (route->response_edits.count > ANSWER_EDITS_MAX)
        problem_error(decoder->reporter, place, "the answer has more than %u further fields", ANSWER_EDITS_MAX);
    check_edit_bytes(decoder, node, &route->response_edits);
    for (unsigned i = 0; i < route->response_edits.count; i++) {
        const struct field_edit *edit = &route->response_edits.list[i];
        const char *why = edit->kind == FIELD_EDIT_REMOVE          ? "an answer of the proxy's own has nothing to remove"
                          : edit->id == FIELD_CONTENT_TYPE         ? "use the key 'type' of 'respond'"
                          : edit->id == FIELD_LOCATION && route->action == ROUTE_REDIRECT ? "use the key 'to' of 'redirect'"
                          : edit->id == FIELD_SERVER ? "Server is set with the key 'server-header' at the top"
                                                                   : NULL;
        if (why)
            problem_help(problem_error(decoder->reporter, place, "'%s' cannot be edited here", quoted(edit->name).text), "%s", why);
    }
}

void finish_route(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct route *route = target;
    static const char *const actions[] = { "pool", "respond", "redirect" }; /* as enum route_action */
    unsigned count = 0;
    char name[32];
    for (unsigned i = 0; i < ARRAY_LENGTH(actions); i++) {
        if (section_given(&section_route, given, actions[i])) {
            route->action = (enum route_action)i;
            count++;
        }
    }
    if (count != 1) {
        struct config_problem *problem =
            problem_error(decoder->reporter, node->place, count ? "the route has more than one action" : "the route has no action");
        problem_help(problem, "exactly one of: pool, respond, redirect");
    }
    if (count == 1 && route->action != ROUTE_POOL) {
        sort_edits(decoder, &route->response_edits); /* respond: headers may have added to them */
        check_own_answer(decoder, node, route);
        check_repeated_sets(decoder, node, &route->response_edits);
    }
    if (!route->name.length) {
        int length = snprintf(name, sizeof name, "routes[%u]", (unsigned)(route - decoder->config->routes));
        route->name = decode_copy(decoder, slice_of(name, (size_t)length));
    }
}

static void check_route_names(struct decoder *decoder)
{
    const struct config *config = decoder->config;
    const struct node *nodes = node_find(decoder->root, "routes");
    struct map seen;
    map_init(&seen, config->route_count + 1, 1, 2);
    for (uint32_t i = 0; i < config->route_count; i++) {
        struct route *route = &config->routes[i];
        if (config->forward.on && slice_equal(route->name, config->forward.route.name))
            problem_help(problem_error(decoder->reporter, item_place(nodes, i, "name"), "the log and the counters call the forward proxy '%s'",
                                       quoted(route->name).text),
                         "give the route another name");
        enum err e = route->name.length ? map_add(&seen, route->name, route) : ERR_OK;
        if (e == ERR_MEMORY)
            decoder->memory->failed = true;
        if (e != ERR_EXISTS)
            continue;
        const struct route *first = map_find(&seen, route->name);
        struct config_problem *problem =
            problem_error(decoder->reporter, item_place(nodes, i, "name"), "two routes are called '%s'", quoted(route->name).text);
        problem_note(problem, item_place(nodes, (uint32_t)(first - config->routes), "name"), "the first is here");
    }
    map_release(&seen);
}

/* Warnings -------------------------------------------------------------------------------------------------------- */

static bool passes_tcp(const struct config *config)
{
    bool has = false;
    for (uint32_t i = 0; i < config->listener_count; i++)
        has |= config->listeners[i].tcp.on;
    return has;
}

static void warn_of_unused_pools(struct decoder *decoder)
{
    const struct config *config = decoder->config;
    bool *used = decode_take(decoder, config->pool_count + 1, sizeof *used);
    for (uint32_t i = 0; used && i < config->route_count; i++) {
        if (config->routes[i].action == ROUTE_POOL)
            used[config->routes[i].pool] = true;
    }
    if (used) {
        config_warn_of_tcp(decoder, used);
        config_mark_tcp_pools(config, used);
    }
    for (uint32_t i = 0; used && i < config->pool_count; i++) {
        if (!used[i])
            problem_warning(decoder->reporter, item_place(node_find(decoder->root, "pools"), i, NULL), "%s leads to pool '%s'",
                            passes_tcp(config) ? "no route and no TCP listener" : "no route", quoted(config->pools[i].name).text);
    }
}

static void warn_of_idle_queues(struct decoder *decoder)
{
    const struct node *nodes = node_find(decoder->root, "pools");
    const struct node_child *child = nodes ? nodes->first : NULL;
    for (uint32_t i = 0; child && i < decoder->config->pool_count; i++, child = child->next) {
        const struct config_pool *pool = &decoder->config->pools[i];
        if (!config_pool_queues(pool) && node_find(child->value, "queue"))
            problem_help(problem_warning(decoder->reporter, key_place(child->value, "queue"), "the queue of pool '%s' is never used",
                                         quoted(pool->name).text),
                         "requests wait only where servers have 'max-connections', or the pool 'limits'");
    }
}

static bool has_tiers(const struct config *config, const struct config_pool *pool)
{
    bool groups = false, near = false, far = false;
    for (uint32_t i = 0; i < pool->server_count; i++) {
        groups |= pool->servers[i].group != pool->servers[0].group;
        bool is_far = config_server_is_far(config, &pool->servers[i]);
        far |= is_far;
        near |= !is_far;
    }
    return groups || (near && far);
}

static void warn_of_idle_spilling(struct decoder *decoder)
{
    const struct node *nodes = node_find(decoder->root, "pools");
    const struct node_child *child = nodes ? nodes->first : NULL;
    for (uint32_t i = 0; child && i < decoder->config->pool_count; i++, child = child->next) {
        if (node_find(child->value, "spill-over") && !has_tiers(decoder->config, &decoder->config->pools[i]))
            problem_help(problem_warning(decoder->reporter, key_place(child->value, "spill-over"), "nothing spills over in pool '%s'",
                                         quoted(decoder->config->pools[i].name).text),
                         "its servers are of one group, and none is in another zone");
    }
}

/* Pairs of conditions that are compared before we stop looking: a file of many long lists is not to hold up a reload. */
#define COVER_WORK_MAX 20000000ull

static uint64_t cover_work(const struct route *a, const struct route *b)
{
    return 1 + (uint64_t)a->host_count * b->host_count + (uint64_t)a->path_count * b->path_count +
           (uint64_t)a->field_count * b->field_count;
}

static void warn_of_unreachable_routes(struct decoder *decoder)
{
    const struct config *config = decoder->config;
    const struct node *nodes = node_find(decoder->root, "routes");
    uint64_t work = 0;
    for (uint32_t later = 1; later < config->route_count; later++) {
        for (uint32_t earlier = 0; earlier < later; earlier++) {
            const struct route *a = &config->routes[earlier], *b = &config->routes[later];
            work += cover_work(a, b);
            if (work > COVER_WORK_MAX)
                return;
            if (!route_covers(a, b))
                continue;
            struct config_problem *problem =
                problem_warning(decoder->reporter, item_place(nodes, later, NULL), "route '%s' is never reached", quoted(b->name).text);
            problem_note(problem, item_place(nodes, earlier, NULL), "'%s' takes every request that it matches", quoted(a->name).text);
            problem_help(problem, "put it before the other, or take it out");
            break;
        }
    }
}

/* Where some route has a cache there is memory for it, whether the top says how much or not. */
static void settle_cache(struct config *config)
{
    bool cached = config->forward.route.cache.on;
    for (uint32_t i = 0; i < config->route_count && !cached; i++)
        cached = config->routes[i].cache.on;
    if (cached && config->cache.memory_bytes == 0)
        config->cache.memory_bytes = CACHE_MEMORY_USUAL;
}

static void check_cache_memory(struct decoder *decoder)
{
    const struct config *config = decoder->config;
    const struct node *cache = node_find(decoder->root, "cache");
    if (config->cache.memory_bytes && config->workers > config->cache.memory_bytes / CACHE_HOME_LEAST)
        problem_help(problem_error(decoder->reporter, cache ? key_place(cache, "memory") : (struct place){ 0 },
                                   "the cache's memory is too small for %u workers", config->workers),
                     "each has a part of its own, of at least 1 MiB");
}

void config_check(struct decoder *decoder)
{
    settle_cache(decoder->config);
    check_cache_memory(decoder);
    check_listeners(decoder);
    check_forward(decoder);
    check_server_total(decoder);
    check_route_names(decoder);
    if (!decoder->reporter->problems->errors)
        config_check_tcp(decoder); /* of a pool that is not there nothing can be said */
    if (decoder->reporter->problems->errors || decoder->memory->failed)
        return;
    warn_of_unused_pools(decoder);
    warn_of_idle_queues(decoder);
    warn_of_idle_spilling(decoder);
    warn_of_unreachable_routes(decoder);
}

#include "tests/unit/engine/config_fixture.h"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

/* Defaults -------------------------------------------------------------------------------------------------------- */

static struct config *smallest(void)
{
    return must_parse(SLICE(LISTENERS POOL_ROUTE POOL));
}

Test(config, top_has_its_defaults)
{
    struct config *config = smallest();
    cr_assert_eq(config->workers, 0);
    cr_assert(config->pin);
    cr_assert_eq(config->trusted_proxy_count, 0);
    cr_assert(slice_equal(config->via, SLICE("weir")));
    cr_assert(config->forwarded_x && !config->forwarded_rfc7239);
    cr_assert(slice_equal(config->server_header, SLICE("weir")));
    cr_assert(slice_equal(config->control_socket, SLICE("/run/weir.sock")));
    cr_assert_eq(config->control_mode, 0600);
    cr_assert_eq(config->busy_poll_us, 0);
    cr_assert(slice_equal(config->congestion_control, SLICE("auto")));
    cr_assert(slice_equal(config->file, SLICE("weir.yaml")));
    config_free(config);
}

Test(config, limits_timeouts_and_log_have_their_defaults)
{
    struct config *config = smallest();
    cr_assert_eq(config->limits.head_bytes_max, 16384);
    cr_assert_eq(config->limits.target_bytes_max, 8192);
    cr_assert_eq(config->limits.fields_max, 100);
    cr_assert_eq(config->limits.body_bytes_max, 0);
    cr_assert_eq(config->limits.connections_max, 0);
    cr_assert_eq(config->limits.requests_per_connection_max, 0);
    cr_assert_eq(config->timeouts.head_ms, 10000);
    cr_assert_eq(config->timeouts.idle_ms, 60000);
    cr_assert_eq(config->timeouts.body_ms, 30000);
    cr_assert_eq(config->timeouts.send_ms, 30000);
    cr_assert_eq(config->timeouts.drain_ms, 30000);
    cr_assert_eq(config->timeouts.handshake_ms, 10000);
    cr_assert_eq(config->limits.handshakes_max, 4096);
    cr_assert(slice_equal(config->log.access, SLICE("off")));
    cr_assert_eq(config->log.format, LOG_JSON);
    cr_assert(slice_equal(config->log.error, SLICE("stderr")));
    cr_assert_eq(config->log.level, LOG_NOTICE);
    config_free(config);
}

Test(config, listener_has_its_defaults)
{
    struct config *config = smallest();
    const struct config_listener *listener = &config->listeners[0];
    cr_assert_eq(config->listener_count, 1);
    cr_assert(slice_equal(listener->name, SLICE("127.0.0.1:8080")));
    cr_assert_eq(listener->backlog, 4096);
    cr_assert_eq(listener->unix_mode, 0660);
    cr_assert_eq(listener->serve, SERVE_PROXY);
    cr_assert_not(listener->redirect_to_https);
    cr_assert_eq(listener->tls.certificate_count, 0);
    cr_assert_eq(listener->tls.client.mode, TLS_CLIENT_ANY);
    config_free(config);
}

#define CERTIFICATE "{ chain: /etc/weir/a.crt, key: /etc/weir/a.key }"

Test(config, tls_has_its_defaults_where_it_is)
{
    static const uint16_t ciphers[] = { 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8 }, groups[] = { 29, 23, 24 };
    struct config *config = must_parse(SLICE("listeners: [ { address: 127.0.0.1:8443, tls: { certificates: [ " CERTIFICATE " ] } } ]\n" POOL_ROUTE
                                             "pools: { app: { servers: 127.0.0.1:9001, tls: {} }, other: { servers: 127.0.0.1:9001 } }\n"));
    const struct config_listener_tls *tls = &config->listeners[0].tls;
    cr_assert_eq(tls->certificate_count, 1);
    cr_assert(slice_equal(tls->certificates[0].chain, SLICE("/etc/weir/a.crt")));
    cr_assert_eq(tls->certificates[0].name_count, 0);
    cr_assert(tls->tls12 && tls->tickets && !tls->strict_names);
    cr_assert_eq(tls->ciphers.count, 9);
    cr_assert_arr_eq(tls->ciphers.list, ciphers, sizeof ciphers);
    cr_assert_eq(tls->groups.count, 3);
    cr_assert_arr_eq(tls->groups.list, groups, sizeof groups);
    cr_assert_eq(tls->client.mode, TLS_CLIENT_ANY);
    cr_assert_eq(tls->early_data_bytes_max, 0);
    cr_assert_eq(tls->hsts_ms, 0);
    cr_assert(config->pools[0].tls.on && config->pools[0].tls.verify && config->pools[0].tls.tls12);
    cr_assert_eq(config->pools[0].tls.ca.length, 0);
    cr_assert_not(config->pools[1].tls.on);
    cr_assert_eq(config->tls.ticket_keys.length, 0);
    cr_assert_eq(config->tls.ticket_lifetime_ms, 24 * 3600 * 1000);
    config_free(config);
}

Test(config, tls_takes_what_is_said)
{
    struct config *config = must_parse(SLICE("listeners:\n  - address: 127.0.0.1:8443\n    tls:\n"
                                             "      certificates: [ { chain: /a.crt, key: /a.key, names: [ WWW.Example.com, '*.Example.COM' ] } ]\n"
                                             "      min-version: 1.3\n      ciphers: [ TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256 ]\n"
                                             "      groups: P-384\n      client-certificate: { ca: /clients.crt }\n      hsts: 365d\n" RESPOND));
    const struct config_listener_tls *tls = &config->listeners[0].tls;
    cr_assert_eq(tls->certificates[0].name_count, 2);
    cr_assert(slice_equal(tls->certificates[0].names[0], SLICE("www.example.com")));
    cr_assert(slice_equal(tls->certificates[0].names[1], SLICE("*.example.com")));
    cr_assert_not(tls->tls12);
    cr_assert_eq(tls->ciphers.count, 2);
    cr_assert_eq(tls->ciphers.list[0], 0x1303);
    cr_assert_eq(tls->groups.count, 1);
    cr_assert_eq(tls->groups.list[0], 24);
    cr_assert_eq(tls->client.mode, TLS_CLIENT_REQUIRED);
    cr_assert(slice_equal(tls->client.ca, SLICE("/clients.crt")));
    cr_assert_eq(tls->hsts_ms, 365ull * 24 * 3600 * 1000);
    config_free(config);
}

Test(config, pool_has_its_defaults)
{
    struct config *config = smallest();
    const struct config_pool *pool = &config->pools[0];
    cr_assert_eq(pool->balance, BALANCE_ROUND_ROBIN);
    cr_assert_eq(pool->hash_key, HASH_URI);
    cr_assert_eq(pool->host.length, 0);
    cr_assert_eq(pool->check.interval_ms, 0);
    cr_assert_eq(pool->health.fail_after, 3);
    cr_assert_eq(pool->health.backoff_ms_min, 1000);
    cr_assert_eq(pool->health.backoff_ms_max, 60000);
    cr_assert_eq(pool->idle.count_max, 64);
    cr_assert_eq(pool->idle.idle_ms_max, 55000);
    cr_assert_eq(pool->idle.lifetime_ms_max, 3600000);
    cr_assert_eq(pool->idle.requests_max, 0);
    cr_assert_eq(pool->idle.warm, 0);
    cr_assert_not(pool->idle.borrow);
    cr_assert_eq(pool->connect_ms, 3000);
    cr_assert_eq(pool->first_byte_ms, 60000);
    cr_assert_eq(pool->between_ms, 30000);
    cr_assert_eq(pool->total_ms, 0);
    cr_assert_eq(pool->retries, 2);
    cr_assert_eq(pool->queue_max, 1024);
    cr_assert_eq(pool->queue_ms, 5000);
    cr_assert_eq(pool->servers[0].weight, 1);
    cr_assert_eq(pool->servers[0].max_connections, 0);
    cr_assert(slice_equal(pool->servers[0].key, SLICE("app/127.0.0.1:9001")));
    config_free(config);
}

Test(config, health_check_has_its_defaults_when_it_is_there)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE "pools: { app: { servers: 127.0.0.1:9001, health: {} } }\n"));
    const struct config_check *check = &config->pools[0].check;
    cr_assert(slice_equal(check->path, SLICE("/")));
    cr_assert_eq(check->host.length, 0);
    cr_assert_eq(check->interval_ms, 5000);
    cr_assert_eq(check->timeout_ms, 2000);
    cr_assert_eq(check->statuses[0].first, 200);
    cr_assert_eq(check->statuses[0].last, 399);
    cr_assert_eq(check->rise, 2);
    cr_assert_eq(check->fall, 3);
    config_free(config);
}

/* Values ---------------------------------------------------------------------------------------------------------- */

Test(config, the_file_of_the_design_is_taken_as_it_stands)
{
    struct slice file = read_whole("tests/cases/design.yaml");
    struct config_problems problems;
    struct config *config = config_parse(file, "design.yaml", &problems);
    cr_assert(config);
    cr_assert_eq(problems.count, 0);
    cr_assert_eq(config->listener_count, 2);
    cr_assert_eq(config->listeners[1].tls.certificate_count, 1);
    cr_assert(slice_equal(config->listeners[1].tls.certificates[0].key, SLICE("/etc/weir/site.key")));
    cr_assert_eq(config->route_count, 2);
    const struct route *first = &config->routes[0];
    cr_assert_eq(first->action, ROUTE_POOL);
    cr_assert(slice_equal(config->pools[first->pool].name, SLICE("assets")));
    cr_assert(slice_equal(first->strip_prefix, SLICE("/assets")));
    cr_assert(first->cache.on);
    cr_assert_not(config->routes[1].cache.on);
    cr_assert_eq(first->paths[0].kind, PATH_PREFIX);
    cr_assert(slice_equal(config->pools[config->routes[1].pool].name, SLICE("app")));
    cr_assert(slice_equal(config->pools[0].servers[2].address.text, SLICE("unix:/run/app.sock")));
    cr_assert_eq(config->pools[0].check.interval_ms, 2000);
    cr_assert_eq(config->pools[1].balance, BALANCE_CONSISTENT_HASH);
    cr_assert_eq(config->pools[1].servers[0].weight, 2);
    config_free(config);
    whole_release(file);
}

Test(config, what_an_empty_cache_says)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL "routes: [ { pool: app, cache: {} } ]\n"));
    const struct cache_rule *rule = &config->routes[0].cache;
    cr_assert(rule->on && rule->heuristic && rule->status_field && rule->client_no_cache && rule->collapse);
    cr_assert_not(rule->store_set_cookie);
    cr_assert_eq(rule->key_count, 1);
    cr_assert_eq(rule->key[0].kind, CACHE_KEY_QUERY);
    cr_assert_eq(rule->ttl_count + rule->tag_count + rule->ignore_query_count + rule->bypass_cookie_count + rule->bypass_field_count, 0);
    cr_assert_eq(rule->stale_while_revalidate_s + rule->stale_if_error_s + rule->default_ttl_s, 0);
    cr_assert_eq(rule->object_bytes_max, 64u << 20);
    cr_assert_eq(rule->slice_bytes, 0);
    cr_assert_eq(config->cache.memory_bytes, 256u << 20);
    cr_assert_eq(config->cache.purge_from_count, 0);
    config_free(config);
    config = must_parse(SLICE(LISTENERS RESPOND));
    cr_assert_not(config->routes[0].cache.on);
    cr_assert_eq(config->cache.memory_bytes, 0);
    config_free(config);
}

Test(config, the_cache_of_the_full_file)
{
    struct slice file = read_whole("tests/cases/full.yaml");
    struct config *config = must_parse(file);
    const struct cache_rule *rule = &config->routes[0].cache;
    cr_assert_eq(rule->key_count, 3);
    cr_assert_eq(rule->key[0].kind, CACHE_KEY_QUERY);
    cr_assert_eq(rule->key[1].kind, CACHE_KEY_HEADER);
    cr_assert(slice_equal(rule->key[1].name, SLICE("X-Country")));
    cr_assert_eq(rule->key[2].kind, CACHE_KEY_COOKIE);
    cr_assert(slice_equal(rule->key[2].name, SLICE("Variant")));
    cr_assert_eq(rule->ignore_query_count, 2);
    cr_assert(slice_equal(rule->ignore_query[1], SLICE("fbclid")));
    cr_assert_eq(rule->ttl_count, 4);
    cr_assert_eq(rule->ttls[0].low, 200);
    cr_assert_eq(rule->ttls[0].seconds, 600);
    cr_assert_eq(rule->ttls[1].low, 301);
    cr_assert_eq(rule->ttls[1].high, 308);
    cr_assert_eq(rule->ttls[3].seconds, 0);
    cr_assert_eq(rule->default_ttl_s, 90);
    cr_assert_eq(rule->stale_while_revalidate_s, 30);
    cr_assert_eq(rule->stale_if_error_s, 86400);
    cr_assert(slice_equal(rule->bypass_cookies[1], SLICE("wp_*")));
    cr_assert(slice_equal(rule->bypass_fields[0], SLICE("x-preview")));
    cr_assert(slice_equal(rule->ignore_vary[0], SLICE("user-agent")));
    cr_assert(slice_equal(rule->tags[1], SLICE("site:1")));
    cr_assert(rule->store_set_cookie);
    cr_assert_not(rule->heuristic || rule->client_no_cache || rule->collapse || rule->status_field);
    cr_assert_eq(config->cache.memory_bytes, 64u << 20);
    cr_assert_eq(config->cache.purge_from_count, 2);
    cr_assert(slice_equal(config->cache.disk.path, SLICE("/var/cache/weir")));
    cr_assert_eq(config->cache.disk.bytes, 10ull << 30);
    uint32_t sliced = 0;
    for (uint32_t i = 0; i < config->route_count; i++)
        sliced += config->routes[i].cache.slice_bytes == 1u << 20;
    cr_assert_eq(sliced, 1);
    config_free(config);
    whole_release(file);
}

Test(config, the_example_is_taken_without_a_word)
{
    struct slice file = read_whole("cli/example.yaml");
    struct config_problems problems;
    struct config *config = config_parse(file, "example.yaml", &problems);
    struct text text = problems_text(&problems);
    cr_assert_eq(problems.count, 0, "%s", text_slice(&text).at);
    text_release(&text);
    config_free(config);
    whole_release(file);
}

static void check_listener(const char *address, int family, uint16_t port, const char *text)
{
    char file[256];
    int length = snprintf(file, sizeof file, "listeners: [ { address: \"%s\" } ]\n" RESPOND, address);
    struct config *config = must_parse(slice_of(file, (size_t)length));
    const struct address *got = &config->listeners[0].address;
    cr_assert_eq(got->socket.any.sa_family, family, "%s", address);
    cr_assert_eq(got->port, port);
    cr_assert(slice_equal(got->text, slice_of_text(text)), "%.*s", (int)got->text.length, got->text.at);
    cr_assert_eq(got->text.at[got->text.length], '\0');
    if (family == AF_INET)
        cr_assert_eq(got->socket.v4.sin_port, htons(port));
    if (family == AF_INET6)
        cr_assert_eq(got->socket.v6.sin6_port, htons(port));
    config_free(config);
}

Test(config, addresses_of_listeners)
{
    check_listener("0.0.0.0:80", AF_INET, 80, "0.0.0.0:80");
    check_listener("127.0.0.1:65535", AF_INET, 65535, "127.0.0.1:65535");
    check_listener(":8080", AF_INET6, 8080, "[::]:8080");
    check_listener("[::1]:8080", AF_INET6, 8080, "[::1]:8080");
    check_listener("[2001:DB8:0:0::1]:80", AF_INET6, 80, "[2001:db8::1]:80");
    check_listener("unix:/run/a.sock", AF_UNIX, 0, "unix:/run/a.sock");
}

Test(config, names_of_servers_wait_for_being_looked_up)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE "pools: { app: { servers: [ App.Example:80 ] } }\n"));
    const struct address *address = &config->pools[0].servers[0].address;
    cr_assert(slice_equal(address->text, SLICE("app.example:80")));
    cr_assert_eq(address->socket_bytes, 0);
    cr_assert_eq(address->port, 80);
    config_free(config);
}

Test(config, names_of_services)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE "pools: { app: { servers: [ srv:_http._tcp.App.Example ] } }\n"));
    const struct config_server *server = &config->pools[0].servers[0];
    cr_assert(slice_equal(server->address.text, SLICE("srv:_http._tcp.app.example")));
    cr_assert_eq(server->address.socket_bytes, 0);
    config_free(config);
}

Test(config, parses_its_text_again)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE "pools: { app: { servers: [ one:80, 127.0.0.1:81 ] } }\n"));
    struct config *again = config_again(config);
    cr_assert_not_null(again);
    config_free(config);
    cr_assert_eq(again->pools[0].server_count, 2);
    cr_assert_eq(again->pools[0].configured_count, 2);
    cr_assert(slice_equal(again->pools[0].servers[0].key, SLICE("app/one:80")));
    config_free(again);
}

Test(config, networks)
{
    struct config *config = must_parse(SLICE(LISTENERS RESPOND "trusted-proxies: [ 10.0.0.0/8, 192.0.2.1, fd00::/8, 0.0.0.0/0 ]\n"));
    static const uint8_t ten[16] = { [10] = 0xff, [11] = 0xff, [12] = 10 };
    cr_assert_eq(config->trusted_proxy_count, 4);
    cr_assert_arr_eq(config->trusted_proxies[0].address, ten, 16);
    cr_assert_eq(config->trusted_proxies[0].bits, 104);
    cr_assert_eq(config->trusted_proxies[1].bits, 128);
    cr_assert_eq(config->trusted_proxies[2].bits, 8);
    cr_assert_eq(config->trusted_proxies[2].address[0], 0xfd);
    cr_assert_eq(config->trusted_proxies[3].bits, 96);
    config_free(config);
}

Test(config, proxy_protocol)
{
    struct config *config = must_parse(SLICE("listeners:\n  - { address: 127.0.0.1:80, proxy-protocol: [ 10.0.0.0/8, fd00::/8 ] }\n  - { address: 127.0.0.1:81 }\n"
                                             "  - { address: \"unix:/run/a\", proxy-protocol: { from: \"unix:\" } }\n" RESPOND
                                             "pools: { a: { servers: a:1, proxy-protocol: v1 }, b: { servers: a:1 } }\n"));
    static const uint8_t nowhere[16];
    cr_assert_eq(config->listeners[0].proxied.from_count, 2);
    cr_assert_eq(config->listeners[0].proxied.from[1].address[0], 0xfd);
    cr_assert_eq(config->listeners[1].proxied.from_count, 0);
    cr_assert_eq(config->listeners[2].proxied.from_count, 1);
    cr_assert_arr_eq(config->listeners[2].proxied.from[0].address, nowhere, 16);
    cr_assert_eq(config->listeners[2].proxied.from[0].bits, 128);
    cr_assert_eq(config->pools[0].proxy_protocol, 1);
    cr_assert_eq(config->pools[1].proxy_protocol, 0);
    cr_assert_not(config->tells_names);
    config_free(config);
}

Test(config, words_for_nothing)
{
    struct config *config = must_parse(SLICE(LISTENERS RESPOND "via: off\nserver-header: off\nforwarded: off\nbusy-poll: off\n"
                                             "limits: { body: none, connections: auto, requests-per-connection: none }\n"));
    cr_assert_eq(config->via.length, 0);
    cr_assert_eq(config->server_header.length, 0);
    cr_assert(!config->forwarded_x && !config->forwarded_rfc7239);
    cr_assert_eq(config->limits.body_bytes_max, 0);
    config_free(config);
}

Test(config, units)
{
    struct config *config =
        must_parse(SLICE(LISTENERS RESPOND "limits: { head: 4096B, target: 2KiB, body: 10 GB }\nbusy-poll: 20us\n"
                                           "timeouts: { head: 250ms, idle: 1m, body: 1h, send: 1d, drain: 0s }\n"));
    cr_assert_eq(config->limits.head_bytes_max, 4096);
    cr_assert_eq(config->limits.target_bytes_max, 2048);
    cr_assert_eq(config->limits.body_bytes_max, 10000000000u);
    cr_assert_eq(config->busy_poll_us, 20);
    cr_assert_eq(config->timeouts.head_ms, 250);
    cr_assert_eq(config->timeouts.idle_ms, 60000);
    cr_assert_eq(config->timeouts.body_ms, 3600000);
    cr_assert_eq(config->timeouts.send_ms, 86400000);
    cr_assert_eq(config->timeouts.drain_ms, 0);
    config_free(config);
}

/* Routes ---------------------------------------------------------------------------------------------------------- */

static struct config *route_config(const char *route)
{
    char file[1024];
    int length = snprintf(file, sizeof file, LISTENERS "routes:\n%s" POOL, route);
    return must_parse(slice_of(file, (size_t)length));
}

Test(config, conditions)
{
    struct config *config = route_config("  - match:\n"
                                         "      host: [ Example.com, \"*.Example.com\" ]\n"
                                         "      path: [ /a, /b/*, /c/*.png ]\n"
                                         "      method: [ GET, PURGE ]\n"
                                         "      header: { Cookie: \"*a=1*\", X-A: [ one, two ], X-B: \"*\", X-C: { present: no } }\n"
                                         "    pool: app\n");
    const struct route *route = &config->routes[0];
    cr_assert_eq(route->host_count, 2);
    cr_assert(slice_equal(route->hosts[0].text, SLICE("example.com")));
    cr_assert_eq(route->hosts[1].kind, HOST_SUFFIX);
    cr_assert_eq(route->path_count, 3);
    cr_assert_eq(route->paths[2].kind, PATH_GLOB);
    cr_assert_eq(route->method_bits, 1ull << METHOD_GET);
    cr_assert_eq(route->method_count, 2);
    cr_assert_eq(route->field_count, 4);
    cr_assert_eq(route->fields[0].id, FIELD_COOKIE);
    cr_assert_eq(route->fields[1].pattern_count, 2);
    cr_assert_eq(route->fields[2].pattern_count, 0);
    cr_assert(!route->fields[2].absent && route->fields[3].absent);
    cr_assert(slice_equal(route->name, SLICE("routes[0]")));
    config_free(config);
}

Test(config, edits_act_in_the_order_that_is_documented)
{
    struct config *config = route_config("  - pool: app\n"
                                         "    request-headers:\n"
                                         "      add: { X-A: [ 1, 2 ] }\n"
                                         "      set: { Cookie: \"{host}\" }\n"
                                         "      remove: [ Referer, X-B ]\n");
    const struct field_edits *edits = &config->routes[0].request_edits;
    cr_assert_eq(edits->count, 5);
    cr_assert_eq(edits->list[0].kind, FIELD_EDIT_REMOVE);
    cr_assert_eq(edits->list[0].id, FIELD_REFERER);
    cr_assert_eq(edits->list[2].kind, FIELD_EDIT_SET);
    cr_assert_eq(edits->list[2].part_count, 1);
    cr_assert_eq(edits->list[2].parts[0].placeholder, PLACEHOLDER_HOST);
    cr_assert_eq(edits->list[3].kind, FIELD_EDIT_ADD);
    cr_assert_null(edits->list[3].parts);
    cr_assert(slice_equal(edits->list[4].value, SLICE("2")));
    cr_assert_eq(edits->touched, 1ull << FIELD_REFERER | 1ull << FIELD_OTHER | 1ull << FIELD_COOKIE);
    config_free(config);
}

Test(config, answers)
{
    struct config *config = route_config("  - match: { path: /a }\n"
                                         "    respond: { status: 503, body: \"later\\n\", type: text/html, headers: { Retry-After: 60 } }\n"
                                         "  - match: { path: /b }\n"
                                         "    respond: { status: 204 }\n"
                                         "  - match: { path: /c }\n"
                                         "    redirect: { to: \"https://{host}{path}?{query}\", status: 308 }\n"
                                         "  - pool: app\n");
    const struct route *respond = &config->routes[0], *empty = &config->routes[1], *redirect = &config->routes[2];
    cr_assert_eq(respond->action, ROUTE_RESPOND);
    cr_assert_eq(respond->status, 503);
    cr_assert(slice_equal(respond->body, SLICE("later\n")));
    cr_assert(slice_equal(respond->type, SLICE("text/html")));
    cr_assert_eq(respond->response_edits.list[0].id, FIELD_RETRY_AFTER);
    cr_assert_eq(empty->type.length, 0);
    cr_assert_eq(redirect->action, ROUTE_REDIRECT);
    cr_assert_eq(redirect->status, 308);
    cr_assert_eq(redirect->location_part_count, 5);
    config_free(config);
}

Test(config, usual_type_and_statuses_of_answers)
{
    struct config *config = route_config("  - match: { path: /a }\n    respond: { body: hello }\n  - redirect: { to: /a }\n");
    cr_assert_eq(config->routes[0].status, 200);
    cr_assert(slice_equal(config->routes[0].type, SLICE("text/plain; charset=utf-8")));
    cr_assert_eq(config->routes[1].status, 302);
    cr_assert_eq(config->routes[1].location_part_count, 0);
    config_free(config);
}

/* Problems -------------------------------------------------------------------------------------------------------- */

Test(config, says_what_the_page_of_cases_says)
{
    struct slice page = read_whole("tests/cases/config.md"), rest = page;
    struct page_case found;
    unsigned cases = 0;
    for (; next_case(&rest, &found); cases++) {
        struct config_problems problems;
        struct config *config = config_parse(found.file, "weir.yaml", &problems);
        struct text output = problems_text(&problems);
        cr_assert_eq(config == NULL, problems.errors != 0, "%.*s", (int)found.title.length, found.title.at);
        if (config)
            text_add(&output, SLICE("ok\n"));
        cr_expect(slice_equal(text_slice(&output), found.output), "case \"%.*s\": got\n%s\nwanted\n%.*s", (int)found.title.length,
                  found.title.at, text_slice(&output).at, (int)found.output.length, found.output.at);
        text_release(&output);
        config_free(config);
    }
    cr_assert_gt(cases, 60);
    whole_release(page);
}

static struct config_problem first_problem(struct slice file)
{
    struct config_problems problems;
    struct config *config = config_parse(file, "weir.yaml", &problems);
    cr_assert_null(config);
    cr_assert_gt(problems.count, 0);
    return problems.list[0];
}

Test(config, refuses_bytes_that_are_no_text)
{
    struct config_problem problem = first_problem(SLICE("workers: 2\nvia: \xff\n"));
    cr_assert_str_eq(problem.message, "the byte 0xff is not UTF-8");
    cr_assert_eq(problem.line, 2);
    cr_assert_eq(problem.column, 6);
    cr_assert_str_eq(problem.source, "via: ?");
    problem = first_problem(slice_of("a\0b", 3));
    cr_assert_str_eq(problem.message, "a control character (U+0000) in the file");
    problem = first_problem(SLICE("workers: 2\r\n\r\nvia: \xc2\x9b\n"));
    cr_assert_eq(problem.line, 3);
}

Test(config, a_byte_order_mark_and_crlf_do_no_harm)
{
    config_free(must_parse(SLICE("\xef\xbb\xbflisteners: [ { address: 127.0.0.1:8080 } ]\r\nroutes: [ { respond: { body: hello } } ]\r\n")));
}

Test(config, refuses_laughs_by_the_billion)
{
    struct text file = { 0 };
    text_add(&file, SLICE("a: &a [ 1, 2, 3, 4, 5, 6, 7, 8, 9 ]\n"));
    for (char c = 'b'; c < 'z'; c++)
        text_format(&file, "%c: &%c [ *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c ]\n", c, c, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1,
                    c - 1, c - 1);
    struct config_problem problem = first_problem(text_slice(&file));
    cr_assert_str_eq(problem.message, "the file has more than 200000 values, aliases followed");
    text_release(&file);
}

Test(config, refuses_deep_nesting)
{
    struct text file = { 0 };
    text_add(&file, SLICE("routes: "));
    for (unsigned i = 0; i < 100000; i++)
        text_add(&file, SLICE("["));
    cr_assert_str_eq(first_problem(text_slice(&file)).message, "lists and maps are nested more than 32 deep");
    text_release(&file);
}

Test(config, refuses_nesting_by_alias)
{
    struct text file = { 0 };
    text_add(&file, SLICE("a0: &a0 [ 1 ]\n"));
    for (unsigned i = 1; i < 100; i++)
        text_format(&file, "a%u: &a%u [ *a%u ]\n", i, i, i - 1);
    cr_assert_str_eq(first_problem(text_slice(&file)).message, "alias 'a30': lists and maps would be nested too deep");
    text_release(&file);
}

Test(config, a_forward_proxys_lists_become_its_policy)
{
    struct config *config = must_parse(SLICE("listeners: [ { address: 127.0.0.1:3128, serve: forward-proxy } ]\n"
                                             "forward-proxy: { connect-ports: [ 443, 8000-8999 ], deny: [ \"*.Ads.Example\", \"example.com:25\" ], private: 10.1.0.0/16 }\n"));
    const struct config_forward *forward = &config->forward;
    const struct forward_policy *policy = &forward->policy;
    cr_assert(forward->on && !forward->forwarded && !forward->route.cache.on);
    cr_assert_eq(config->listeners[0].serve, SERVE_FORWARD);
    cr_assert_eq(forward->per_user, 1000);
    cr_assert_eq(forward->client_count, 9);
    cr_assert_eq(forward_decide(policy, SLICE("a.ads.example"), 80, false), FORWARD_DENIED_HOST);
    cr_assert_eq(forward_decide(policy, SLICE("example.com"), 25, false), FORWARD_DENIED_HOST);
    cr_assert_eq(forward_decide(policy, SLICE("example.com"), 80, false), FORWARD_ALLOWED);
    cr_assert_eq(forward_decide(policy, SLICE("example.com"), 8500, true), FORWARD_ALLOWED);
    cr_assert_eq(forward_decide(policy, SLICE("example.com"), 9000, true), FORWARD_PORT);
    cr_assert_eq(forward_decide(policy, SLICE("10.1.2.3"), 80, false), FORWARD_ALLOWED);
    cr_assert_eq(forward_decide(policy, SLICE("10.2.2.3"), 80, false), FORWARD_PRIVATE);
    config_free(config);
}

Test(config, refuses_many_anchors)
{
    struct text file = { 0 };
    text_add(&file, SLICE("routes:\n"));
    for (unsigned i = 0; i < 1001; i++)
        text_format(&file, "  - &a%u x\n", i);
    cr_assert_str_eq(first_problem(text_slice(&file)).message, "the file has more than 1000 anchors");
    text_release(&file);
}

Test(config, refuses_huge_texts_and_files)
{
    struct text file = { 0 };
    text_add(&file, SLICE(LISTENERS "routes: [ { respond: { body: \""));
    while (file.length <= 70000)
        text_add(&file, SLICE("0123456789"));
    text_add(&file, SLICE("\" } } ]\n"));
    cr_assert_str_eq(first_problem(text_slice(&file)).message, "a text of more than 65536 bytes");
    while (file.length <= CONFIG_BYTES_MAX)
        text_add(&file, SLICE("# a comment that goes on and on and on and on and on and on and on and on\n"));
    cr_assert_str_eq(first_problem(text_slice(&file)).message, "the file has more than 4 MiB");
    text_release(&file);
}

Test(config, many_errors_far_down_a_large_file_are_told_quickly)
{
    struct text file = { 0 };
    text_add(&file, SLICE(LISTENERS "routes:\n"));
    for (unsigned i = 0; i < 9000; i++)
        text_add(&file, SLICE("  - { pool: none, match: { path: no } }\n"));
    struct config_problems problems;
    cr_assert_null(config_parse(text_slice(&file), "weir.yaml", &problems));
    cr_assert_eq(problems.count, CONFIG_PROBLEMS_MAX);
    cr_assert_eq(problems.errors, 18000);
    cr_assert_eq(problems.more, 18000 - CONFIG_PROBLEMS_MAX);
    text_release(&file);
}

/* Files ----------------------------------------------------------------------------------------------------------- */

Test(config, reads_a_file)
{
    struct config_problems problems;
    struct config *config = config_read("tests/cases/design.yaml", &problems);
    cr_assert(config);
    cr_assert(slice_equal(config->file, SLICE("tests/cases/design.yaml")));
    config_free(config);
}

Test(config, a_file_that_cannot_be_read_is_one_problem)
{
    struct config_problems problems;
    cr_assert_null(config_read("/nowhere/weir.yaml", &problems));
    cr_assert_eq(problems.count, 1);
    cr_assert_eq(problems.errors, 1);
    cr_assert_str_eq(problems.list[0].message, "cannot read '/nowhere/weir.yaml': No such file or directory");
    cr_assert_null(config_read("/", &problems));
    cr_assert_str_eq(problems.list[0].message, "cannot read '/': Is a directory");
}

Test(config, reads_from_a_pipe)
{
    int ends[2];
    char path[32];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], LISTENERS RESPOND, sizeof LISTENERS RESPOND - 1), (ssize_t)sizeof LISTENERS RESPOND - 1);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    struct config_problems problems;
    struct config *config = config_read(path, &problems);
    cr_assert(config);
    config_free(config);
    close(ends[0]);
}

Test(config, freeing_nothing_is_fine)
{
    config_free(NULL);
}

/* Out of memory --------------------------------------------------------------------------------------------------- */

#ifdef WEIR_FAULTS
/* Does everything there is to do; true when nothing failed. */
static bool live_a_life(struct slice first, struct slice second)
{
    struct config_problems problems;
    struct config *one = config_parse(first, "weir.yaml", &problems);
    cr_assert_eq(one == NULL, problems.errors != 0);
    struct config *two = config_parse(second, "weir.yaml", &problems);
    cr_assert_eq(two == NULL, problems.errors != 0);
    struct text text = { 0 }, changes = { 0 };
    bool well = one && two;
    if (well) {
        config_show(one, false, &text);
        config_show(two, true, &text);
        well = config_diff(one, two, &changes) != ERR_MEMORY && problems.count == 0;
    }
    config_schema(&text);
    config_manual(&text);
    well = well && !text.failed;
    text_release(&text);
    text_release(&changes);
    config_free(one);
    config_free(two);
    return well;
}

Test(config, survives_every_failure_to_get_memory)
{
    struct slice first = read_whole("tests/cases/full.yaml"), second = read_whole("tests/cases/design.yaml");
    FILE *quiet = freopen("/dev/null", "w", stderr); /* each fault says so */
    cr_assert(quiet);
    uint64_t points = 0, nth = 1;
    bool well = false;
    for (; !well && nth < 100000; nth++) {
        fault_arm(nth);
        well = live_a_life(first, second);
        points = fault_count();
        fault_arm(0);
        cr_assert(!well || points < nth, "fault point %llu was met and nothing said so", (unsigned long long)nth);
    }
    cr_assert(well);
    cr_assert_gt(points, 50);
    whole_release(first);
    whole_release(second);
}
#endif

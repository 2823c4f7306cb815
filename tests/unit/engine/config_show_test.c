#include "tests/unit/engine/config_fixture.h"

/* config_show, what it shows read again, and config_diff. */

/* The same when read back, in both forms; config is freed. */
static void comes_back(struct config *config, const char *what)
{
    struct text yaml = shown(config, false), json = shown(config, true);
    struct config *from_yaml = must_parse(text_slice(&yaml)), *from_json = must_parse(text_slice(&json));
    struct text yaml_again = shown(from_yaml, false), yaml_of_json = shown(from_json, false), changes = { 0 };
    cr_expect_str_eq(yaml_again.at, yaml.at, "%s", what);
    cr_expect_str_eq(yaml_of_json.at, yaml.at, "%s", what);
    cr_expect_eq(config_diff(config, from_yaml, &changes), ERR_OK);
    cr_expect_eq(config_diff(config, from_json, &changes), ERR_OK);
    cr_expect_eq(changes.length, 0, "%s: %s", what, text_slice(&changes).at);
    text_release(&yaml);
    text_release(&json);
    text_release(&yaml_again);
    text_release(&yaml_of_json);
    text_release(&changes);
    config_free(from_yaml);
    config_free(from_json);
    config_free(config);
}

static void file_comes_back(const char *path)
{
    struct slice file = read_whole(path);
    comes_back(must_parse(file), path);
    whole_release(file);
}

Test(config_show, files_come_back_the_same)
{
    file_comes_back("tests/cases/design.yaml");
    file_comes_back("tests/cases/full.yaml");
    file_comes_back("cli/example.yaml");
}

Test(config_show, good_cases_come_back_the_same)
{
    struct slice page = read_whole("tests/cases/config.md"), rest = page;
    struct page_case found;
    while (next_case(&rest, &found)) {
        struct config_problems problems;
        struct config *config = config_parse(found.file, "weir.yaml", &problems);
        if (config)
            comes_back(config, "case");
    }
    whole_release(page);
}

Test(config_show, hostile_texts_come_back_the_same)
{
    comes_back(must_parse(SLICE(LISTENERS "routes:\n"
                                          "  - match: { path: /a, header: { \"off\": \"off\", \"12\": \"12\", \"1e5\": \": #\", \"null\": \"~\" } }\n"
                                          "    respond: { body: \"\\x01\\t\\u0085\\u2028\\ufeff\\ufffe\\U0001f30a\\x7f\\\"\\\\ '%@`{}[],&*#?|-<>=!\\n\\n\" }\n"
                                          "  - match: { path: /b }\n"
                                          "    respond: { body: \"null\" }\n"
                                          "  - match: { path: /c }\n"
                                          "    respond: { body: \" \" }\n"
                                          "  - respond: { body: \"- a: b\" }\n"
                                          "server-header: \"12:30:45\"\n"
                                          "via: \"true\"\n")),
               "hostile texts");
}

Test(config_show, shows_what_was_left_out)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE POOL));
    struct text yaml = shown(config, false);
    cr_assert(strstr(yaml.at, "\nworkers: auto\n") || strncmp(yaml.at, "workers: auto\n", 14) == 0);
    cr_assert(strstr(yaml.at, "      first-byte: 1m\n"));
    cr_assert(strstr(yaml.at, "  body: none\n"));
    cr_assert(strstr(yaml.at, "  mode: 0600\n"));
    cr_assert_null(strstr(yaml.at, "health:\n      path"));
    text_release(&yaml);
    config_free(config);
}

/* Changes --------------------------------------------------------------------------------------------------------- */

static void changes(const char *from, const char *to, enum err wanted, const char *wanted_text)
{
    struct config *old = must_parse(slice_of_text(from)), *new = must_parse(slice_of_text(to));
    struct text text = { 0 };
    cr_expect_eq(config_diff(old, new, &text), wanted);
    cr_expect_str_eq(text_slice(&text).at, wanted_text);
    text_release(&text);
    config_free(old);
    config_free(new);
}

#define BASE LISTENERS POOL_ROUTE POOL

Test(config_diff, nothing)
{
    changes(BASE, BASE, ERR_OK, "");
    changes(BASE, BASE "via: weir\ntimeouts: { idle: 1m }\n", ERR_OK, "");
}

Test(config_diff, values)
{
    changes(BASE, BASE "via: off\nlimits: { body: 1MiB }\ntrusted-proxies: 10.0.0.1\n", ERR_OK,
            "limits.body: none -> 1MiB\ntrusted-proxies: changed\nvia: weir -> off\n");
}

Test(config_diff, what_needs_a_restart_is_refused)
{
    changes(BASE, BASE "workers: 2\ncontrol: { socket: /run/w.sock }\ntimeouts: { idle: 5s }\n", ERR_REFUSED,
            "workers: auto -> 2 needs a restart\ntimeouts.idle: 1m -> 5s\n"
            "control.socket: /run/weir.sock -> /run/w.sock needs a restart\n");
}

Test(config_diff, what_a_socket_was_opened_with_needs_a_restart)
{
    changes(BASE, POOL_ROUTE POOL "listeners: [ { address: 127.0.0.1:8080, backlog: 5 } ]\n", ERR_REFUSED,
            "listener 127.0.0.1:8080: backlog: 4096 -> 5 needs a restart\n");
}

Test(config_diff, listeners)
{
    changes(POOL_ROUTE POOL "listeners: [ { address: 127.0.0.1:80 }, { address: 127.0.0.1:81 } ]\n",
            POOL_ROUTE POOL "listeners: [ { address: 127.0.0.1:82 }, { address: 127.0.0.1:81, serve: admin } ]\n", ERR_OK,
            "listener 127.0.0.1:80 removed\nlistener 127.0.0.1:82 added\nlistener 127.0.0.1:81: serve: proxy -> admin\n");
}

#define TLS(certificates, more) \
    POOL_ROUTE POOL "listeners: [ { address: 127.0.0.1:443, tls: { certificates: [ " certificates " ]" more " } } ]\n"
#define A "{ chain: /a.crt, key: /a.key }"
#define B "{ chain: /b.crt, key: /b.key }"

#define FORWARD(keys) "listeners: [ { address: 127.0.0.1:3128, serve: forward-proxy } ]\nforward-proxy: " keys "\n"

Test(config_diff, the_forward_proxy)
{
    changes(FORWARD("{}"), FORWARD("{ connect-ports: 443, cache: {}, limits: { per-user: none }, timeouts: { lookup: 1s }, deny: [ Example.COM, 10.0.0.0/8 ] }"), ERR_OK,
            "cache: added\nforward-proxy.deny: changed\nforward-proxy.cache: added\nforward-proxy.limits.per-user: 1000 -> none\nforward-proxy.timeouts.lookup: 5s -> 1s\n");
    changes(BASE, FORWARD("{}"), ERR_OK,
            "forward-proxy: added\nlistener 127.0.0.1:8080 removed\nlistener 127.0.0.1:3128 added\nroute routes[0] removed\npool app removed\n");
}

Test(config_diff, certificates_and_rules_of_tls)
{
    changes(TLS(A, ""), TLS(A, ", min-version: 1.3, hsts: 1d"), ERR_OK,
            "listener 127.0.0.1:443: tls.min-version: 1.2 -> 1.3\nlistener 127.0.0.1:443: tls.hsts: off -> 1d\n");
    changes(TLS(A, ""), TLS(B "," A, ""), ERR_OK,
            "listener 127.0.0.1:443: certificate /b.crt added\nlistener 127.0.0.1:443: default certificate: /a.crt -> /b.crt\n");
    changes(TLS(A "," B, ""), TLS(A, ""), ERR_OK, "listener 127.0.0.1:443: certificate /b.crt removed\n");
    changes(TLS(A, ""), TLS("{ chain: /a.crt, key: /c.key, names: x.example.com }", ""), ERR_OK,
            "listener 127.0.0.1:443: certificate /a.crt: key: /a.key -> /c.key\n"
            "listener 127.0.0.1:443: certificate /a.crt: names: nothing -> x.example.com\n");
    changes(TLS(A, ""), POOL_ROUTE POOL "listeners: [ { address: 127.0.0.1:443 } ]\n", ERR_OK, "listener 127.0.0.1:443: tls: removed\n");
    changes(BASE, BASE "tls: { ticket-lifetime: 1h }\n", ERR_OK, "tls.ticket-lifetime: 1d -> 1h\n");
    changes(BASE, LISTENERS POOL_ROUTE "pools: { app: { servers: 127.0.0.1:9001, tls: {} } }\n", ERR_OK, "pool app: tls: added\n");
}

Test(config_diff, pools_and_servers)
{
    changes(LISTENERS "routes: [ { pool: a, match: { path: /a } }, { pool: b } ]\n"
                      "pools: { a: { servers: [ 127.0.0.1:1, 127.0.0.1:2 ] }, b: { servers: 127.0.0.1:1 } }\n",
            LISTENERS "routes: [ { pool: a, match: { path: /a } }, { pool: c } ]\n"
                      "pools: { a: { servers: [ 127.0.0.1:3, { address: 127.0.0.1:2, weight: 7 } ], health: {}, retries: 0 }, c: { servers: 127.0.0.1:1 } }\n",
            ERR_OK,
            "route routes[1] changed\n"
            "pool b removed\n"
            "pool a: retries: 2 -> 0\n"
            "pool a: health: added\n"
            "pool a: server 127.0.0.1:1 removed\n"
            "pool a: server 127.0.0.1:3 added\n"
            "pool a: server 127.0.0.1:2: weight: 1 -> 7\n"
            "pool c added\n");
}

Test(config_diff, a_pool_that_moves_in_the_file_changes_nothing)
{
    changes(LISTENERS "routes: [ { pool: a, match: { path: /a } }, { pool: b } ]\n"
                      "pools: { a: { servers: 127.0.0.1:1 }, b: { servers: 127.0.0.1:2 } }\n",
            LISTENERS "routes: [ { pool: a, match: { path: /a } }, { pool: b } ]\n"
                      "pools: { b: { servers: 127.0.0.1:2 }, a: { servers: 127.0.0.1:1 } }\n",
            ERR_OK, "");
}

#define CACHED(cache) LISTENERS POOL "routes: [ { name: a, pool: app" cache " } ]\n"

Test(config_diff, the_cache)
{
    changes(BASE, BASE "cache: {}\n", ERR_OK, "cache: added\n");
    changes(CACHED(""), CACHED(", cache: {}"), ERR_OK, "cache: added\nroute a changed\n");
    changes(CACHED(", cache: {}"), CACHED(""), ERR_OK, "cache: removed\nroute a changed\n");
    changes(CACHED(", cache: {}"), CACHED(", cache: { key: [] }"), ERR_OK, "route a changed\n");
    changes(CACHED(", cache: {}"), CACHED(", cache: {}") "cache: { memory: 256MiB }\n", ERR_OK, "");
    changes(BASE "cache: {}\n", BASE "cache: { memory: 1GiB, purge-from: \"::1\" }\n", ERR_REFUSED,
            "cache.memory: 256MiB -> 1GiB needs a restart\ncache.purge-from: changed\n");
}

#define ROUTES(list) LISTENERS POOL "routes: [ " list ", { pool: app } ]\n"
#define ROUTE_A "{ name: a, match: { path: /a }, pool: app }"
#define ROUTE_B "{ name: b, match: { path: /b }, pool: app }"
#define ROUTE_X "{ match: { path: /x }, pool: app }"

Test(config_diff, routes_are_added_and_removed)
{
    changes(ROUTES(ROUTE_A), ROUTES(ROUTE_A ", " ROUTE_B), ERR_OK, "route b added\n");
    changes(ROUTES(ROUTE_A ", " ROUTE_B), ROUTES(ROUTE_B), ERR_OK, "route a removed\n");
    changes(ROUTES(ROUTE_A), ROUTES(ROUTE_X ", " ROUTE_A), ERR_OK, "route routes[0] added\n");
}

Test(config_diff, routes_change_and_move)
{
    changes(ROUTES(ROUTE_A ", " ROUTE_B), ROUTES("{ name: a, match: { path: /c }, pool: app }, " ROUTE_B), ERR_OK, "route a changed\n");
    changes(ROUTES(ROUTE_A ", " ROUTE_B), ROUTES(ROUTE_B ", " ROUTE_A), ERR_OK, "routes: in a new order\n");
}

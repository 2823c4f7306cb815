#include "tests/unit/engine/config_fixture.h"

#include "engine/base/check.h"
#include "engine/explain.h"
#include "engine/homes.h"

/* What scenes cannot: every call that can fail fails once, and servers in states that are hard to bring about. */

#define SERVERS 3u

static struct {
    struct config *config;
    struct server_record records[SERVERS];
    struct server_record *of_pool[SERVERS], **by_pool[1];
    struct server_counters counters[SERVERS];
    struct pool_record pool, *pools[1];
    struct generation generation;
    struct homes *homes;
    struct text text, json;
    char why[128];
} world;

static void set_up(void)
{
    world.config = must_parse(SLICE("listeners: [ { address: 127.0.0.1:8080 } ]\n"
                                    "routes:\n"
                                    "  - { name: away, match: { path: /away }, redirect: { to: \"https://{host}{path}?{query}\" } }\n"
                                    "  - { name: kept, match: { path: /kept/* }, pool: app, cache: { bypass: { cookies: session } } }\n"
                                    "  - { name: app, pool: app, rewrite: { add-prefix: /v1 }, request-headers: { set: { X-A: \"{server}\" } } }\n"
                                    "pools:\n"
                                    "  app:\n"
                                    "    balance: consistent-hash\n"
                                    "    servers: [ { address: 127.0.0.1:1, max-connections: 5 }, 127.0.0.1:2, 127.0.0.1:3 ]\n"));
    for (unsigned i = 0; i < SERVERS; i++) {
        world.records[i].counters = &world.counters[i];
        world.of_pool[i] = &world.records[i];
    }
    world.by_pool[0] = world.of_pool;
    world.pools[0] = &world.pool;
    world.generation = (struct generation){ .config = world.config, .worker_count = 1, .records = world.by_pool, .pool_records = world.pools };
}

static void forget(void)
{
    text_release(&world.text);
    text_release(&world.json);
    world.text = world.json = (struct text){ 0 };
}

static void take_down(void)
{
    forget();
    if (world.homes)
        homes_free(world.homes);
    config_free(world.config);
}

TestSuite(explain, .init = set_up, .fini = take_down);

static enum err ask(const char *method, const char *url, const char *field)
{
    struct explain_question question = { .method = slice_of_text(method), .url = slice_of_text(url), .homes = world.homes, .now_s = 1800000000 };
    if (field)
        question.fields[question.field_count++] = slice_of_text(field);
    forget();
    return explain(&world.generation, &question, 10000, 7, &world.text, &world.json, world.why);
}

static void expect_json(const char *part)
{
    cr_expect(strstr(text_slice(&world.json).at, part), "%s is not in:\n%s", part, text_slice(&world.json).at);
}

/* No other test wants memory for a cache. */
Test(explain, says_what_the_cache_would_do)
{
    world.homes = homes_new(2 * CACHE_REGION_LEAST, 2, NULL);
    cr_assert(world.homes);
    cr_assert_eq(ask("GET", "http://A.example:80/kept/none?b=1", NULL), ERR_OK);
    expect_json("\"cache\":{\"now\":\"miss\"");
    expect_json("\"stored\":0,\"variants\":[]");
    cr_expect(strstr(world.text.at, "cache     miss: nothing that is stored fits it"), "%s", world.text.at);
    cr_expect(strstr(world.text.at, "          key http | a.example | /kept/none | ?b=1 | "), "%s", world.text.at);
    cr_assert_eq(ask("POST", "http://a.example/kept/none", NULL), ERR_OK);
    expect_json("\"cache\":{\"now\":\"pass\",\"why\":\"it goes past the cache: method\"");
    cr_assert_eq(ask("GET", "http://a.example/kept/none", "Cookie: session=1"), ERR_OK);
    expect_json("\"why\":\"it goes past the cache: bypass\"");
    cr_assert_eq(ask("GET", "http://a.example/kept/none", "Cache-Control: only-if-cached"), ERR_OK);
    expect_json("\"cache\":{\"now\":\"refuse\"");
    cr_assert_eq(ask("GET", "http://a.example/other", NULL), ERR_OK);
    expect_json("\"cache\":null");
}

/* As long as a key may be, and longer. */
Test(explain, says_that_a_key_is_too_long)
{
    char url[CACHE_KEY_BYTES_MAX + 100] = "http://a.example/kept/none?";
    size_t length = strlen(url);
    memset(url + length, 'q', sizeof url - 1 - length);
    url[sizeof url - 1] = 0;
    world.homes = homes_new(2 * CACHE_REGION_LEAST, 2, NULL);
    cr_assert(world.homes);
    cr_assert_eq(ask("GET", url, NULL), ERR_OK);
    expect_json("\"now\":\"pass\",\"why\":\"it goes past the cache: its key would have more than 4096 bytes\",\"key\":null");
}

Test(explain, names_states_with_their_figures)
{
    atomic_store(&world.records[0].health.leases, 5u);
    atomic_store(&world.counters[0].busy, 5u);
    atomic_store(&world.records[1].health.marked_until_ms, 12500u);
    atomic_store(&world.records[1].health.last_outcome, SERVER_TIMEOUT);
    atomic_store(&world.records[2].health.checked, HEALTH_CHECK_DOWN);
    cr_assert_eq(ask("GET", "http://a/x", NULL), ERR_OK);
    expect_json("\"state\":\"full\",\"why\":\"full, 5 in flight of 5 at most\",\"usable\":false");
    expect_json("\"why\":\"marked for another 2.5 s: timeout\"");
    expect_json("\"why\":\"down by checks\"");
    expect_json("\"picked\":null");
}

Test(explain, tells_what_a_server_is_down_for)
{
    atomic_store(&world.records[0].health.unresolved, 1);
    atomic_store(&world.records[1].health.forced, HEALTH_FORCED_DOWN);
    atomic_store(&world.records[2].health.forced, HEALTH_FORCED_UP);
    atomic_store(&world.records[2].health.checked, HEALTH_CHECK_DOWN);
    strcpy(world.records[0].check.what, "it answered 200");
    strcpy(world.records[1].check.what, "it answered 200");
    cr_assert_eq(ask("GET", "http://a/x", NULL), ERR_OK);
    expect_json("\"state\":\"down\",\"why\":\"its name has no address; last check: it answered 200");
    expect_json("\"state\":\"down\",\"why\":\"down by command; last check: it answered 200");
    expect_json("\"state\":\"up\",\"why\":\"up by command, 0 in flight\"");
    expect_json("\"picked\":\"127.0.0.1:3\"");
}

Test(explain, takes_nothing_and_claims_nothing)
{
    struct health before[SERVERS];
    atomic_store(&world.records[1].health.marked_until_ms, 9000u);
    atomic_store(&world.records[0].health.drained, 1);
    atomic_store(&world.records[2].health.drained, 1);
    for (unsigned i = 0; i < SERVERS; i++)
        health_copy(&before[i], &world.records[i].health);
    cr_assert_eq(ask("GET", "http://a/x", NULL), ERR_OK);
    expect_json("\"picked\":\"127.0.0.1:2\"");
    for (unsigned i = 0; i < SERVERS; i++) {
        cr_expect_eq(memcmp(&before[i], &world.records[i].health, offsetof(struct health, check_successes)), 0, "%u", i);
        cr_expect_eq(atomic_load(&world.counters[i].busy), 0u);
    }
}

Test(explain, the_last_resort_is_certain)
{
    for (unsigned i = 0; i < SERVERS; i++)
        atomic_store(&world.records[i].health.marked_until_ms, 20000u - i * 1000);
    cr_assert_eq(ask("GET", "http://a/x", NULL), ERR_OK);
    expect_json("\"picked\":\"127.0.0.1:3\",\"picked_why\":\"every server is marked as dead, and its mark ends first\",\"candidates\":[\"127.0.0.1:3\"]");
}

Test(explain, what_is_no_question_is_told)
{
    cr_expect_eq(ask("GET", "gopher://a", NULL), ERR_SYNTAX);
    cr_expect_str_eq(world.why, "a URL begins with http:// or https://");
    cr_expect_eq(ask("GET", "", NULL), ERR_SYNTAX);
    cr_expect_eq(world.text.length, 0u);
}

Test(explain, a_url_may_be_as_short_as_it_can)
{
    cr_assert_eq(ask("GET", "HTTP://A?x#y", NULL), ERR_OK);
    expect_json("\"host\":\"A\",\"path\":\"/\",\"query\":\"x\"");
    cr_assert_eq(ask("GET", "http://", NULL), ERR_OK);
    expect_json("\"action\":\"refuse\",\"status\":400");
    cr_assert_eq(ask("", "http://a", "\r\n"), ERR_OK);
    expect_json("\"action\":\"refuse\",\"status\":400");
}

#ifdef WEIR_FAULTS
Test(explain, each_call_that_can_fail_fails_once)
{
    static const char *const urls[] = { "http://a/b%7e?c", "http://a/away?x" };
    for (size_t i = 0; i < ARRAY_LENGTH(urls); i++) {
        fault_arm(0);
        cr_assert_eq(ask("GET", urls[i], NULL), ERR_OK);
        uint64_t count = 200;
        for (uint64_t nth = 1; nth <= count; nth++) {
            fault_arm(nth);
            enum err e = ask("GET", urls[i], NULL);
            if (fault_count() < nth)
                count = 0; /* none was left to fail */
            cr_expect(e == ERR_OK || e == ERR_MEMORY, "%s: %s", urls[i], err_text(e));
        }
        cr_expect_eq(count, 0u, "more than 200 calls");
        fault_arm(0);
    }
}
#endif

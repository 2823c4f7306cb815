#include "engine/policy/upgrade.h"

#include <criterion/criterion.h>

#include "engine/base/check.h"
#include "proto/h1_parse.h"

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" /* RFC 6455 1.3 */
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define BEGIN "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
#define WEBSOCKET "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" KEY
#define SWITCH "HTTP/1.1 101 x\r\n"

static const struct slice both[] = { SLICE("WebSocket"), SLICE("SPDY/3.1") }, tcp[] = { SLICE("tcp") };
static const struct upgrade_rule rule = { both, 2 }, only_tcp = { tcp, 1 }, none = { NULL, 0 };
static const struct h1_limits limits = { 16384, 8192, 100 };
static struct arena arena;
static struct block_pool pool;
static struct request request;
static struct response response;
static struct upgrade upgrade;

static void set_up(void)
{
    cr_assert_eq(block_pool_init(&pool, 8), ERR_OK);
    arena_init(&arena, &pool);
}

static void take_down(void)
{
    arena_release(&arena);
    block_pool_release(&pool, 0);
}

TestSuite(upgrade, .init = set_up, .fini = take_down);

static enum upgrade_verdict ask(const struct upgrade_rule *by, const char *head)
{
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    cr_assert_eq(h1_parse_request(&request, head, strlen(head), &progress, &limits, &arena, &fault), H1_DONE, "%s", head);
    return upgrade_of(by, &request, &upgrade);
}

static bool grants(const char *head)
{
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    cr_assert_eq(h1_parse_response(&response, METHOD_GET, head, strlen(head), &progress, &limits, &fault), H1_DONE, "%s", head);
    return upgrade_is_granted(&upgrade, &request, &response);
}

Test(upgrade, the_clients_first_protocol_that_may_pass_is_asked_for)
{
    cr_assert_eq(ask(&rule, BEGIN WEBSOCKET "\r\n"), UPGRADE_ASKED);
    cr_assert(upgrade.websocket && slice_equal(upgrade.protocol, SLICE("WebSocket")));
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: h2c, spdy/3.1, websocket\r\n\r\n"), UPGRADE_ASKED);
    cr_assert(!upgrade.websocket && slice_equal(upgrade.protocol, SLICE("SPDY/3.1")));
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: h2c\r\nUpgrade: SPDY/3.1\r\n\r\n"), UPGRADE_ASKED);
    cr_assert_eq(ask(&only_tcp, BEGIN "Upgrade: websocket, tcp\r\n\r\n"), UPGRADE_ASKED);
    cr_assert_not(upgrade.websocket);
}

Test(upgrade, what_may_not_pass_is_left_out_but_for_websocket)
{
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: h2c\r\n\r\n"), UPGRADE_NONE);
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: SPDY\r\n\r\n"), UPGRADE_NONE); /* another version of it */
    cr_assert_eq(ask(&only_tcp, BEGIN WEBSOCKET "\r\n"), UPGRADE_FORBIDDEN);
    cr_assert_eq(ask(&none, BEGIN "Upgrade: h2c, websocket\r\n\r\n"), UPGRADE_FORBIDDEN);
    cr_assert_eq(ask(&none, BEGIN "Upgrade: tcp\r\n\r\n"), UPGRADE_NONE);
}

Test(upgrade, who_does_not_name_it_in_connection_or_speaks_http10_asks_for_nothing)
{
    cr_assert_eq(ask(&rule, "GET / HTTP/1.1\r\nHost: a\r\n" WEBSOCKET "\r\n"), UPGRADE_NONE);
    cr_assert_eq(ask(&rule, "GET / HTTP/1.0\r\nConnection: Upgrade\r\n" WEBSOCKET "\r\n"), UPGRADE_NONE);
    cr_assert_not(upgrade_wants_websocket(&request));
    cr_assert_eq(ask(&none, BEGIN "Upgrade: a, WEBSOCKET\r\n\r\n"), UPGRADE_FORBIDDEN);
    cr_assert(upgrade_wants_websocket(&request));
}

Test(upgrade, websockets_handshake_is_checked)
{
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n" KEY "\r\n"), UPGRADE_VERSION);
    cr_assert_not_null(upgrade.why);
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"), UPGRADE_BAD);
    cr_assert_not_null(upgrade.why);
}

Test(upgrade, a_101_grants_exactly_what_was_asked)
{
    cr_assert_eq(ask(&rule, BEGIN WEBSOCKET "\r\n"), UPGRADE_ASKED);
    cr_assert(grants(SWITCH "Connection: upgrade\r\nUpgrade: WebSocket\r\n" ACCEPT "\r\n"));
    cr_assert_not(grants(SWITCH "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
    cr_assert_not(grants(SWITCH "Connection: upgrade\r\nUpgrade: SPDY/3.1\r\n" ACCEPT "\r\n"));
    cr_assert_eq(ask(&rule, BEGIN "Upgrade: SPDY/3.1\r\n\r\n"), UPGRADE_ASKED);
    cr_assert(grants(SWITCH "Connection: a, upgrade\r\nUpgrade: spdy/3.1\r\n\r\n"));
    static const char *const others[] = {
        SWITCH "Connection: upgrade\r\n\r\n", SWITCH "Upgrade: SPDY/3.1\r\n\r\n", SWITCH "Connection: close\r\nUpgrade: SPDY/3.1\r\n\r\n",
        SWITCH "Connection: upgrade\r\nUpgrade: SPDY/3.1, h2c\r\n\r\n", SWITCH "Connection: upgrade\r\nUpgrade: SPDY/3.1\r\nUpgrade: SPDY/3.1\r\n\r\n",
        SWITCH "Connection: upgrade\r\nUpgrade: SPDY/3\r\n\r\n", "HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        cr_expect_not(grants(others[i]), "%s", others[i]);
        cr_expect_not_null(upgrade.why);
    }
}

#include "proto/websocket.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "engine/base/check.h"
#include "proto/h1_parse.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define BEGIN "GET /chat HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"

static const struct h1_limits limits = { 16384, 8192, 100 };
static struct arena arena;
static struct block_pool pool;
static struct request request;
static struct response response;

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

TestSuite(websocket, .init = set_up, .fini = take_down);

static const char *why;

static enum websocket_verdict ask(const char *head)
{
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    cr_assert_eq(h1_parse_request(&request, head, strlen(head), &progress, &limits, &arena, &fault), H1_DONE, "%s", head);
    return websocket_check_request(&request, &why);
}

static enum websocket_verdict answer(const char *head)
{
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    cr_assert_eq(h1_parse_response(&response, METHOD_GET, head, strlen(head), &progress, &limits, &fault), H1_DONE, "%s", head);
    return websocket_check_response(&response, SLICE(KEY), &why);
}

Test(websocket, a_handshake_as_it_should_be)
{
    cr_assert_eq(ask(BEGIN UPGRADE VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n"), WEBSOCKET_WELL);
    cr_assert(slice_equal(websocket_key(&request), SLICE(KEY)));
    cr_assert_eq(ask(BEGIN "upgrade: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" VERSION "sec-websocket-key:  " KEY " \r\nOrigin: http://a\r\n\r\n"),
                 WEBSOCKET_WELL);
    cr_assert_null(why);
}

Test(websocket, a_request_that_does_not_ask)
{
    cr_assert_eq(ask(BEGIN "\r\n"), WEBSOCKET_NONE);
    cr_assert_eq(ask(BEGIN "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"), WEBSOCKET_NONE);
    cr_assert_eq(ask(BEGIN "Upgrade: websocket2\r\nConnection: Upgrade\r\n\r\n"), WEBSOCKET_NONE);
    cr_assert_eq(ask(BEGIN VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n"), WEBSOCKET_NONE);
}

Test(websocket, what_is_wrong_with_a_request_is_said)
{
    static const struct {
        const char *head, *why;
    } cases[] = {
        { "POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n", "the method of a WebSocket handshake is GET" },
        { "GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n", "a WebSocket handshake is HTTP/1.1" },
        { BEGIN UPGRADE VERSION "Content-Length: 3\r\nSec-WebSocket-Key: " KEY "\r\n\r\n", "a WebSocket handshake has no content" },
        { BEGIN "Upgrade: websocket\r\n" VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n", "Connection does not name Upgrade" },
        { BEGIN "Upgrade: websocket\r\nConnection: close\r\n" VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n", "Connection does not name Upgrade" },
        { BEGIN UPGRADE "Sec-WebSocket-Key: " KEY "\r\n\r\n", "there is not one Sec-WebSocket-Version" },
        { BEGIN UPGRADE VERSION VERSION "Sec-WebSocket-Key: " KEY "\r\n\r\n", "there is not one Sec-WebSocket-Version" },
        { BEGIN UPGRADE VERSION "\r\n", "there is not one Sec-WebSocket-Key of 16 bytes in base64" },
        { BEGIN UPGRADE VERSION "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Key: " KEY "\r\n\r\n", "there is not one Sec-WebSocket-Key of 16 bytes in base64" },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        cr_expect_eq(ask(cases[i].head), WEBSOCKET_BAD, "%zu", i);
        cr_expect_str_eq(why ? why : "", cases[i].why, "%zu", i);
    }
}

Test(websocket, another_version_is_told_apart)
{
    cr_assert_eq(ask(BEGIN UPGRADE "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n\r\n"), WEBSOCKET_VERSION);
    cr_assert_eq(ask(BEGIN UPGRADE "Sec-WebSocket-Version: 13, 8\r\nSec-WebSocket-Key: " KEY "\r\n\r\n"), WEBSOCKET_VERSION);
}

Test(websocket, keys_that_are_none)
{
    static const char *const keys[] = { "", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZR==",
                                        "dGhlIHNhbXBsZSBub25j-Q==", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZSE=", "dGhl IHNhbXBsZSBub25jQ==" };
    char head[512];
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        snprintf(head, sizeof head, BEGIN UPGRADE VERSION "Sec-WebSocket-Key: %s\r\n\r\n", keys[i]);
        cr_expect_eq(ask(head), WEBSOCKET_BAD, "%s", keys[i]);
    }
}

Test(websocket, the_answer_that_a_key_wants)
{
    char out[WEBSOCKET_ACCEPT_BYTES];
    cr_assert_eq(websocket_accept(SLICE(KEY), out), ERR_OK);
    cr_assert(slice_equal(slice_of(out, sizeof out), SLICE(ACCEPT)));
    cr_assert_eq(websocket_accept(SLICE("x"), out), ERR_SYNTAX);
}

Test(websocket, an_answer_that_switches_and_one_that_does_not)
{
    cr_assert_eq(answer(SWITCH UPGRADE "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n"), WEBSOCKET_WELL);
    cr_assert_eq(answer(SWITCH "upgrade: WEBSOCKET\r\nconnection: foo, upgrade\r\nSec-WebSocket-Protocol: chat\r\nsec-websocket-accept: " ACCEPT "\r\n\r\n"), WEBSOCKET_WELL);
    cr_assert_eq(answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), WEBSOCKET_NONE);
    cr_assert_eq(answer("HTTP/1.1 100 Continue\r\n\r\n"), WEBSOCKET_NONE);
}

Test(websocket, what_is_wrong_with_an_answer_is_said)
{
    static const struct {
        const char *head, *why;
    } cases[] = {
        { SWITCH "Connection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", "Upgrade is not websocket" },
        { SWITCH "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", "Upgrade is not websocket" },
        { SWITCH "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", "Upgrade is not websocket" },
        { SWITCH "Upgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", "Connection does not name Upgrade" },
        { SWITCH UPGRADE "\r\n", "there is not one Sec-WebSocket-Accept for the key that was sent" },
        { SWITCH UPGRADE "Sec-WebSocket-Accept: " KEY "\r\n\r\n", "there is not one Sec-WebSocket-Accept for the key that was sent" },
        { SWITCH UPGRADE "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "there is not one Sec-WebSocket-Accept for the key that was sent" },
        { SWITCH UPGRADE "Sec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
          "there is not one Sec-WebSocket-Accept for the key that was sent" },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        cr_expect_eq(answer(cases[i].head), WEBSOCKET_BAD, "%zu", i);
        cr_expect_str_eq(why ? why : "", cases[i].why, "%zu", i);
    }
}

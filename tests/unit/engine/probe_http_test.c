#include <criterion/criterion.h>
#include <stdio.h>

#include "engine/probe_http.h"

static struct probe_http http;
static char what[PROBE_WHAT_BYTES];

static struct config_check check_for(const char *text)
{
    return (struct config_check){ .method = METHOD_GET,
                                  .path = SLICE("/"),
                                  .statuses = { { 200, 299 }, { 404, 404 } },
                                  .status_count = 2,
                                  .body = text ? slice_of_text(text) : SLICE_NONE };
}

/* In pieces of `step` bytes. */
static enum probe_http_verdict judge_in_pieces(const struct config_check *check, struct slice bytes, size_t step)
{
    enum probe_http_verdict verdict = PROBE_HTTP_MORE;
    probe_http_init(&http, check);
    for (size_t at = 0; at < bytes.length && verdict == PROBE_HTTP_MORE; at += step)
        verdict = probe_http_input(&http, slice_of(bytes.at + at, size_min(step, bytes.length - at)), what);
    return verdict;
}

static enum probe_http_verdict judge(const struct config_check *check, const char *bytes)
{
    struct slice all = slice_of_text(bytes);
    enum probe_http_verdict whole = judge_in_pieces(check, all, all.length);
    char said[PROBE_WHAT_BYTES];
    memcpy(said, what, sizeof said);
    for (size_t step = 1; step < 7; step++)
        cr_expect_eq(judge_in_pieces(check, all, step), whole, "pieces of %zu: %s", step, bytes);
    memcpy(what, said, sizeof said);
    return whole;
}

Test(probe_http, a_status_is_judged_as_soon_as_the_head_is_there)
{
    struct config_check check = check_for(NULL);
    cr_expect_eq(judge(&check, "HTTP/1.1 204 No\r\n\r"), PROBE_HTTP_MORE);
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), PROBE_HTTP_WELL);
    cr_expect_str_eq(what, "it answered 200");
    cr_expect_eq(judge(&check, "HTTP/1.1 404 No\r\n\r\n"), PROBE_HTTP_WELL);
    cr_expect_eq(judge(&check, "HTTP/1.1 500 No\r\n\r\n"), PROBE_HTTP_ILL);
    cr_expect_str_eq(what, "it answered 500");
    cr_expect_eq(judge(&check, "SSH-2.0-x\r\n\r\n"), PROBE_HTTP_ILL);
    cr_expect_str_eq(what, "its response is malformed");
}

Test(probe_http, interim_responses_are_passed_over)
{
    struct config_check check = check_for(NULL);
    cr_expect_eq(judge(&check, "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
                 PROBE_HTTP_WELL);
    cr_expect_eq(judge(&check, "HTTP/1.1 100 Go on\r\n\r\n"), PROBE_HTTP_MORE);
}

Test(probe_http, the_text_is_found_in_any_framing)
{
    struct config_check check = check_for("all: well");
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{ all: well }"), PROBE_HTTP_WELL);
    cr_expect_str_eq(what, "it answered 200 with the text");
    cr_expect_eq(
        judge(
            &check,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{ all\r\n1\r\n:\r\n3\r\n we\r\n2;x=y\r\nll\r\n"),
        PROBE_HTTP_WELL);
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\n\r\nand all: well"), PROBE_HTTP_WELL);
    cr_expect_eq(judge(&check, "HTTP/1.1 500 OK\r\n\r\nand all: well"), PROBE_HTTP_ILL, "the status counts too");
}

Test(probe_http, the_text_is_missed_where_it_is_not)
{
    struct config_check check = check_for("all: well");
    cr_expect_eq(judge(&check, "HTTP/1.1 200 all: well\r\nX: all: well\r\nContent-Length: 9\r\n\r\nall: bad all: well"),
                 PROBE_HTTP_ILL);
    cr_expect_str_eq(what, "it answered 200 without the text");
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall:\r\n0\r\n\r\n well"),
                 PROBE_HTTP_ILL);
    cr_expect_eq(judge(&check, "HTTP/1.1 204 OK\r\n\r\nall: well"), PROBE_HTTP_ILL, "204 has no content");
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+4\r\nall:"), PROBE_HTTP_ILL);
    cr_expect_str_eq(what, "its content is malformed");
}

/* The one place where a search that forgets what it has seen goes wrong. */
Test(probe_http, a_text_that_overlaps_itself_is_found)
{
    struct config_check check = check_for("aabaaab");
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\n\r\naabaabaaab"), PROBE_HTTP_WELL);
    check = check_for("aaab");
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\n\r\naaaaaaab"), PROBE_HTTP_WELL);
    cr_expect_eq(judge(&check, "HTTP/1.1 200 OK\r\n\r\naabaab"), PROBE_HTTP_MORE);
    probe_http_closed(&http, what);
    cr_expect_str_eq(what, "it answered 200 without the text");
}

Test(probe_http, heads_and_content_have_their_caps)
{
    static char bytes[PROBE_CONTENT_BYTES + PROBE_HEAD_BYTES];
    struct config_check check = check_for("end");
    int head = snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\n\r\n");
    memset(bytes + head, 'x', PROBE_CONTENT_BYTES + 1);
    memcpy(bytes + head + PROBE_CONTENT_BYTES - 3, "end", 3);
    cr_expect_eq(judge_in_pieces(&check, slice_of(bytes, (size_t)head + PROBE_CONTENT_BYTES + 1), 1000),
                 PROBE_HTTP_WELL);
    memcpy(bytes + head + PROBE_CONTENT_BYTES - 3, "xend", 4);
    cr_expect_eq(judge_in_pieces(&check, slice_of(bytes, (size_t)head + PROBE_CONTENT_BYTES + 1), 1000),
                 PROBE_HTTP_ILL);
    cr_expect_str_eq(what, "it answered 200 without the text in its first 64 KiB");
    for (size_t at = (size_t)head; at + 6 < sizeof bytes; at += 6)
        memcpy(bytes + at - 2, "A: b\r\n", 6);
    cr_expect_eq(judge_in_pieces(&check, slice_of(bytes, sizeof bytes), 1000), PROBE_HTTP_ILL);
}

Test(probe_http, the_request_is_what_the_configuration_says)
{
    char out[PROBE_REQUEST_BYTES];
    struct config_check check = check_for(NULL);
    size_t length = probe_http_request(&check, SLICE("127.0.0.1:80"), out);
    cr_expect_eq(
        slice_equal(
            slice_of(out, length),
            SLICE("GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUser-Agent: weir-check\r\nConnection: close\r\n\r\n")),
        1);
    struct field_edit fields[] = { { .name = SLICE("user-agent"), .id = FIELD_USER_AGENT, .value = SLICE("me") } };
    check.method = METHOD_HEAD;
    check.port = 81;
    check.headers = (struct field_edits){ .list = fields, .count = 1 };
    length = probe_http_request(&check, SLICE("[::1]:80"), out);
    cr_expect_eq(slice_equal(slice_of(out, length),
                             SLICE("HEAD / HTTP/1.1\r\nHost: [::1]:81\r\nuser-agent: me\r\nConnection: close\r\n\r\n")),
                 1);
    length = probe_http_request(&check, SLICE("unix:/run/x.sock"), out);
    cr_expect_eq(memcmp(out, "HEAD / HTTP/1.1\r\nHost: localhost\r\n", 34), 0);
    check.host = SLICE("app.internal");
    length = probe_http_request(&check, SLICE("unix:/run/x.sock"), out);
    cr_expect_eq(memcmp(out, "HEAD / HTTP/1.1\r\nHost: app.internal\r\n", 36), 0);
}

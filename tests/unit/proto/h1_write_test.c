#include "proto/h1_write.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/h1_parse.h"

static const struct h1_limits limits = { 16384, 8192, 100 };
static struct block_pool pool;
static struct arena arena;
static struct request request;
static struct response response;
static struct forwarding forwarding;
static char out[4096];

static void setup(void)
{
    cr_assert_eq(block_pool_init(&pool, 16), ERR_OK);
    arena_init(&arena, &pool);
    forwarding = (struct forwarding){ .client_address = SLICE("192.0.2.1"), .scheme = SLICE("http"), .upstream_keep_alive = true };
}

TestSuite(h1_write, .init = setup);

static void read_request(const char *head)
{
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    enum h1_verdict verdict = h1_parse_request(&request, head, strlen(head), &progress, &limits, &arena, &fault);
    cr_assert_eq(verdict, H1_DONE, "%s: %s", head, codec_fault_word(fault));
}

static void read_response(const char *head)
{
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    enum h1_verdict verdict = h1_parse_response(&response, METHOD_GET, head, strlen(head), &progress, &limits, &fault);
    cr_assert_eq(verdict, H1_DONE, "%s: %s", head, codec_fault_word(fault));
}

static void wrote(struct h1_writer *w, const char *wanted)
{
    cr_assert_not(w->overflow);
    cr_assert(slice_equal(slice_of(out, (size_t)(w->at - out)), slice_of_text(wanted)), "%.*s", (int)(w->at - out), out);
}

/* The head that an origin gets for this one. */
static void forwards(const char *head, const char *wanted)
{
    struct h1_writer w = h1_writer_of(out, sizeof out);
    read_request(head);
    h1_write_request(&w, &request, &forwarding);
    wrote(&w, wanted);
}

static void answers(const char *head, struct h1_response_plan plan, const char *wanted)
{
    struct h1_writer w = h1_writer_of(out, sizeof out);
    read_response(head);
    h1_write_response(&w, &response, &request, &forwarding, &plan);
    wrote(&w, wanted);
}

/* Requests -------------------------------------------------------------------------------------------------------- */

Test(h1_write, framing_is_in_our_spelling)
{
    forwards("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t5 \t\r\nX:y\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nX:y\r\nContent-Length: 5\r\n\r\n");
    forwards("POST / HTTP/1.1\r\nTRANSFER-encoding:\tCHUNKED\t\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    forwards("POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
}

Test(h1_write, an_absolute_target_leaves_as_path_and_host)
{
    forwards("GET HTTP://B:80/x?y HTTP/1.1\r\nHost: b\r\n\r\n", "GET /x?y HTTP/1.1\r\nHost: B:80\r\n\r\n");
    forwards("OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n");
}

Test(h1_write, what_is_of_one_connection_stays_here)
{
    forwards("GET / HTTP/1.1\r\nA: 1\r\nConnection: X-Hop, Upgrade\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Hop: 2\r\nKeep-Alive: 3\r\nProxy: p\r\n"
             "Proxy-Connection: 4\r\nTE: gzip\r\nProxy-Authorization: 5\r\nX_Forwarded_For: 6\r\nB: 7\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 7\r\n\r\n");
}

Test(h1_write, trailers_are_asked_for_anew)
{
    forwards("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nConnection: te\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    forwarding.upstream_keep_alive = false;
    forwards("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n");
}

Test(h1_write, an_upgrade_is_asked_for_and_granted_in_our_spelling)
{
    forwarding.upgrade = SLICE("websocket");
    forwards("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade, X\r\nX: 1\r\nSec-WebSocket-Key: k\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    forwards("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, Upgrade\r\nUpgrade: websocket\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, Upgrade\r\nUpgrade: websocket\r\n\r\n");
    struct h1_writer w = h1_writer_of(out, sizeof out);
    struct h1_response_plan plan = { .upgrade = SLICE("websocket"), .client_minor = 1 };
    read_response("HTTP/1.1 101 x\r\nUPGRADE: websocket\r\nConnection: upgrade, Y\r\nY: 1\r\nSec-WebSocket-Accept: a\r\n\r\n");
    response.interim = false; /* the last that HTTP says */
    h1_write_response(&w, &response, &request, &forwarding, &plan);
    wrote(&w, "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

#define CLAIMS "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\n"

Test(h1_write, claims_of_a_client_that_is_not_trusted_are_replaced)
{
    forwarding.forwarded_x = forwarding.forwarded_rfc7239 = true;
    forwards("GET / HTTP/1.1\r\nHost: [::1]:80\r\n" CLAIMS "\r\n",
             "GET / HTTP/1.1\r\nHost: [::1]:80\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: [::1]:80\r\n"
             "Forwarded: for=192.0.2.1;host=\"[::1]:80\";proto=http\r\n\r\n");
    forwarding.forwarded_x = forwarding.forwarded_rfc7239 = false;
    forwards("GET / HTTP/1.1\r\nHost: a\r\n" CLAIMS "\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

Test(h1_write, a_trusted_proxy_is_appended_to)
{
    forwarding.forwarded_x = forwarding.forwarded_rfc7239 = forwarding.client_trusted = true;
    forwarding.client_address = SLICE("2001:db8::1");
    forwards("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nForwarded: for=\"[::2]\"\r\nX-Forwarded-For: 2\r\nX-Forwarded-Proto: https\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1, 2, 2001:db8::1\r\nX-Forwarded-Host: a\r\n"
             "Forwarded: for=\"[::2]\", for=\"[2001:db8::1]\";host=\"a\";proto=http\r\n\r\n");
}

Test(h1_write, an_open_quote_of_others_swallows_nothing_of_ours)
{
    static const char *const open[] = { "for=\"x", "for=\"x\\\"", "for=a, for=\"b\\\\\\" };
    forwarding.forwarded_rfc7239 = forwarding.client_trusted = true;
    for (size_t i = 0; i < ARRAY_LENGTH(open); i++) {
        char head[256];
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nForwarded: %s\r\nForwarded: for=\"y\\\"\"\r\n\r\n", open[i]);
        forwards(head, "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=\"y\\\"\", for=192.0.2.1;host=\"a\";proto=http\r\n\r\n");
    }
}

/* Edits ----------------------------------------------------------------------------------------------------------- */

static const struct field_edit edit_list[] = {
    { .kind = FIELD_EDIT_REMOVE, .id = FIELD_REFERER, .name = SLICE("Referer") },
    { .kind = FIELD_EDIT_SET, .id = FIELD_OTHER, .name = SLICE("X-User"), .value = SLICE("nobody") },
    { .kind = FIELD_EDIT_ADD, .id = FIELD_OTHER, .name = SLICE("X-Tag"), .value = SLICE("t") },
};
static const struct field_edits edits = { edit_list, ARRAY_LENGTH(edit_list), 1ull << FIELD_REFERER | 1ull << FIELD_OTHER };

Test(h1_write, edits_hold_in_either_spelling)
{
    forwarding.edits = &edits;
    forwards("GET / HTTP/1.1\r\nHost: a\r\nx-user: root\r\nA: 1\r\nX_User: root\r\nReferer: r\r\nX-Tag: s\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nX-Tag: s\r\nX-User: nobody\r\nX-Tag: t\r\n\r\n");
}

Test(h1_write, edits_hold_for_trailers)
{
    static const char section[] = "X-Sum: 1\r\nX-User: root\r\nReferer: r\r\nX-Tag: s\r\nSet-Cookie: c\r\nVia: v\r\n\r\n";
    static struct fields trailers;
    struct h1_writer w = h1_writer_of(out, sizeof out);
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    size_t used;
    cr_assert_eq(h1_parse_trailers(&trailers, section, sizeof section - 1, &progress, &limits, &used, &fault), H1_DONE);
    h1_write_last_chunk(&w, &trailers, &edits);
    wrote(&w, "0\r\nX-Sum: 1\r\nX-Tag: s\r\n\r\n");
}

/* Responses ------------------------------------------------------------------------------------------------------- */

Test(h1_write, the_plan_frames_the_response)
{
    static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nA: 2\r\n\r\n";
    answers(chunked, (struct h1_response_plan){ .framing = FRAMING_CHUNKED, .keep_alive = true, .client_minor = 1 },
            "HTTP/1.1 200 OK\r\nA: 2\r\nTransfer-Encoding: chunked\r\n\r\n");
    answers(chunked, (struct h1_response_plan){ .framing = FRAMING_UNTIL_CLOSE }, "HTTP/1.1 200 OK\r\nA: 2\r\nConnection: close\r\n\r\n");
    answers("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n",
            (struct h1_response_plan){ .framing = FRAMING_LENGTH, .content_length = 3, .keep_alive = true, .client_minor = 0 },
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n");
}

Test(h1_write, a_length_without_content_passes_only_when_planned)
{
    static const char head[] = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    struct h1_response_plan plan = { .framing = FRAMING_NONE, .send_content_length = true, .keep_alive = true, .client_minor = 1 };
    answers(head, plan, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    plan.send_content_length = false;
    answers(head, plan, "HTTP/1.1 304 Not Modified\r\n\r\n");
}

Test(h1_write, coded_content_has_a_weak_etag_and_a_304_names_no_coding)
{
    struct h1_response_plan plan = { .framing = FRAMING_CHUNKED, .keep_alive = true, .client_minor = 1, .coding = CODING_BROTLI, .varies = true };
    answers("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nDigest: x\r\nContent-Length: 9\r\n\r\n", plan,
            "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nETag: W/\"a\"\r\nVary: Accept-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n");
    plan.framing = FRAMING_NONE;
    answers("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nVary: Cookie\r\n\r\n", plan,
            "HTTP/1.1 304 Not Modified\r\nVary: Cookie\r\nETag: W/\"a\"\r\nVary: Accept-Encoding\r\n\r\n");
}

Test(h1_write, an_interim_response_has_neither_framing_nor_edits)
{
    struct h1_response_plan plan = { .client_minor = 1, .date = SLICE("now") };
    forwarding.edits = &edits;
    answers("HTTP/1.1 103 Early Hints\r\nConnection: close\r\nLink: </a>\r\nReferer: r\r\nContent-Length: 0\r\n\r\n", plan,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nReferer: r\r\n\r\n");
}

Test(h1_write, never_passes_its_end)
{
    read_request("GET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
    for (size_t cap = 0; cap < 120; cap++) {
        char *exact = malloc(cap ? cap : 1);
        cr_assert_not_null(exact);
        struct h1_writer w = h1_writer_of(exact, cap);
        h1_write_request(&w, &request, &forwarding);
        cr_expect_eq(w.overflow, cap < strlen("GET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"));
        free(exact);
    }
}

#include "proto/h1_parse.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/h1_body.h"
#include "proto/h1_write.h"
#include "tests/unit/cases.h"

#define REQUESTS "tests/cases/requests.md"
#define RESPONSES "tests/cases/responses.md"

static const struct h1_limits limits = { 16384, 8192, 100 };
static struct block_pool pool;
static struct request request;
static struct response response;

static void setup(void)
{
    cr_assert_eq(block_pool_init(&pool, 64), ERR_OK);
}

TestSuite(h1_parse, .init = setup);

/* Fed to `cut` bytes first, then whole; cut == 0: byte by byte. */
static enum h1_verdict parse_in_pieces(struct slice bytes, size_t cut, bool is_request, struct arena *arena, enum codec_fault *fault)
{
    struct h1_progress progress = { 0 };
    enum h1_verdict verdict = H1_MORE;
    for (size_t given = cut ? cut : 1; verdict == H1_MORE; given = cut ? bytes.length : given + 1) {
        verdict = is_request ? h1_parse_request(&request, bytes.at, given, &progress, &limits, arena, fault)
                             : h1_parse_response(&response, METHOD_GET, bytes.at, given, &progress, &limits, fault);
        if (given >= bytes.length)
            break;
    }
    return verdict;
}

static const char *framing_word(enum framing framing)
{
    static const char *const words[] = { "none", "length", "chunked", "close" };
    return words[framing];
}

static void expect(const struct test_case *one, enum h1_verdict verdict, enum codec_fault fault, const char *found, size_t cut)
{
    char word[64];
    if (verdict == H1_BAD) {
        cr_expect(strncmp(one->verdict, "refused ", 8) == 0, "%s (cut %zu): refused as %s", one->name, cut, codec_fault_word(fault));
        snprintf(word, sizeof word, " %s ", codec_fault_word(fault));
        char padded[256];
        snprintf(padded, sizeof padded, "%s ", one->verdict);
        cr_expect(strstr(padded, word) != NULL, "%s (cut %zu): %s, not %s", one->name, cut, codec_fault_word(fault), one->verdict);
        return;
    }
    cr_expect_eq(verdict, H1_DONE, "%s (cut %zu): not finished", one->name, cut);
    cr_expect_str_eq(found, one->verdict, "%s (cut %zu)", one->name, cut);
}

static void one_request(const struct test_case *one)
{
    for (size_t cut = 0; cut <= one->bytes.length; cut++) {
        struct arena arena;
        enum codec_fault fault = FAULT_NONE;
        char found[512] = "";
        arena_init(&arena, &pool);
        enum h1_verdict verdict = parse_in_pieces(one->bytes, cut, true, &arena, &fault);
        if (verdict == H1_DONE && request.framing == FRAMING_LENGTH)
            snprintf(found, sizeof found, "accepted length %llu %.*s", (unsigned long long)request.content_length, (int)request.path.length, request.path.at);
        else if (verdict == H1_DONE)
            snprintf(found, sizeof found, "accepted %s %.*s", framing_word(request.framing), (int)request.path.length, request.path.at);
        expect(one, verdict, fault, found, cut);
        arena_release(&arena);
    }
}

Test(h1_parse, requests_are_judged_as_the_page_says)
{
    cr_assert_gt(cases_run(REQUESTS, "request", one_request), 80u);
}

static void one_response(const struct test_case *one)
{
    for (size_t cut = 0; cut <= one->bytes.length; cut++) {
        enum codec_fault fault = FAULT_NONE;
        char found[64] = "";
        enum h1_verdict verdict = parse_in_pieces(one->bytes, cut, false, NULL, &fault);
        if (verdict == H1_DONE && response.framing == FRAMING_LENGTH)
            snprintf(found, sizeof found, "accepted length %llu", (unsigned long long)response.content_length);
        else if (verdict == H1_DONE)
            snprintf(found, sizeof found, "accepted %s", framing_word(response.framing));
        expect(one, verdict, fault, found, cut);
    }
}

Test(h1_parse, responses_are_judged_as_the_page_says)
{
    cr_assert_gt(cases_run(RESPONSES, "response", one_response), 15u);
}

/* Reads a chunked body in pieces of `step` bytes, the trailer section with it. */
static enum h1_verdict read_chunked(struct slice bytes, size_t step, char *content, enum codec_fault *fault)
{
    struct h1_body body;
    struct h1_progress progress = { 0 };
    static struct fields trailers;
    size_t at = 0, length = 0;
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    for (size_t given = step;; given += step) {
        size_t end = size_min(given, bytes.length), used;
        struct slice data;
        enum h1_body_step taken;
        do {
            taken = h1_body_next(&body, bytes.at + at, end - at, &used, &data, fault);
            if (taken == H1_BODY_BAD)
                return H1_BAD;
            memcpy(content + length, data.length ? data.at : "", data.length);
            length += data.length;
            content[length] = 0;
            at += used;
        } while (taken == H1_BODY_DATA && at < end);
        if (taken == H1_BODY_TRAILERS) {
            enum h1_verdict verdict = h1_parse_trailers(&trailers, bytes.at + at, end - at, &progress, &limits, &used, fault);
            if (verdict != H1_MORE)
                return verdict;
        }
        if (end == bytes.length)
            return H1_MORE;
    }
}

static void one_chunked(const struct test_case *one)
{
    for (size_t step = 1; step <= one->bytes.length; step++) {
        char content[1024] = "", found[1100];
        enum codec_fault fault = FAULT_NONE;
        enum h1_verdict verdict = read_chunked(one->bytes, step, content, &fault);
        snprintf(found, sizeof found, "accepted %s", content);
        expect(one, verdict, fault, found, step);
    }
}

Test(h1_parse, chunked_content_is_judged_as_the_page_says)
{
    cr_assert_gt(cases_run(RESPONSES, "chunked", one_chunked), 20u);
}

/* What we write for an accepted request reads back the same way. */
static void written_again(const struct test_case *one)
{
    struct arena arena;
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    static char out[65536];
    static struct request again;
    if (strncmp(one->verdict, "accepted", 8) != 0)
        return;
    arena_init(&arena, &pool);
    cr_assert_eq(h1_parse_request(&request, one->bytes.at, one->bytes.length, &progress, &limits, &arena, &fault), H1_DONE);
    struct forwarding forwarding = { .via = SLICE("weir"), .client_address = SLICE("192.0.2.1"), .scheme = SLICE("http"),
                                     .forwarded_x = true, .forwarded_rfc7239 = true, .upstream_keep_alive = true, .server = SLICE("p/o:1") };
    struct h1_writer w = h1_writer_of(out, sizeof out);
    h1_write_request(&w, &request, &forwarding);
    cr_assert_not(w.overflow);
    progress = (struct h1_progress){ 0 };
    enum h1_verdict verdict = h1_parse_request(&again, out, (size_t)(w.at - out), &progress, &limits, &arena, &fault);
    cr_expect_eq(verdict, H1_DONE, "%s: what was written is refused: %s", one->name, codec_fault_word(fault));
    cr_expect_eq(again.framing, request.framing, "%s", one->name);
    cr_expect_eq(again.content_length, request.content_length, "%s", one->name);
    cr_expect(slice_equal(again.path, request.path), "%s", one->name);
    cr_expect_eq(again.head_bytes, (uint32_t)(w.at - out), "%s", one->name);
    arena_release(&arena);
}

Test(h1_parse, what_is_forwarded_reads_back_the_same)
{
    cases_run(REQUESTS, "request", written_again);
}

Test(h1_parse, a_head_in_single_bytes_is_linear_work)
{
    static char head[16384];
    struct h1_progress progress = { 0 };
    struct arena arena;
    enum codec_fault fault;
    memset(head, 'a', sizeof head);
    memcpy(head, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    arena_init(&arena, &pool);
    for (size_t given = 1; given < sizeof head; given++)
        cr_assert_eq(h1_parse_request(&request, head, given, &progress, &limits, &arena, &fault), H1_MORE);
    cr_assert_eq(h1_parse_request(&request, head, sizeof head, &progress, &limits, &arena, &fault), H1_BAD);
    cr_assert_eq(fault, FAULT_HEAD_LARGE);
}

static size_t head_with_fields(char *head, size_t cap, unsigned fields)
{
    size_t length = (size_t)snprintf(head, cap, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 1; i < fields; i++)
        length += (size_t)snprintf(head + length, cap - length, "X-%u: y\r\n", i);
    return length + (size_t)snprintf(head + length, cap - length, "\r\n");
}

Test(h1_parse, a_field_too_many_is_refused)
{
    static char head[8192];
    size_t length = head_with_fields(head, sizeof head, 101);
    struct h1_progress progress = { 0 };
    struct arena arena;
    enum codec_fault fault;
    arena_init(&arena, &pool);
    cr_assert_eq(h1_parse_request(&request, head, length, &progress, &limits, &arena, &fault), H1_BAD);
    cr_assert_eq(fault, FAULT_FIELDS_MANY);
}

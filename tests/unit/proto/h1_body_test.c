#include "proto/h1_body.h"

#include <criterion/criterion.h>

static struct h1_body body;
static struct slice data;
static size_t used;
static enum codec_fault fault;

static enum h1_body_step next(const char *bytes)
{
    return h1_body_next(&body, bytes, strlen(bytes), &used, &data, &fault);
}

Test(h1_body, without_content_ends_at_once_and_uses_nothing)
{
    h1_body_init(&body, FRAMING_NONE, 0);
    cr_assert_eq(next("GET /next"), H1_BODY_END);
    cr_assert_eq(used, 0);
    h1_body_init(&body, FRAMING_LENGTH, 0);
    cr_assert_eq(next("GET /next"), H1_BODY_END);
    cr_assert_eq(used, 0);
}

Test(h1_body, a_length_takes_exactly_its_bytes)
{
    h1_body_init(&body, FRAMING_LENGTH, 5);
    cr_assert_eq(next("hel"), H1_BODY_DATA);
    cr_assert_eq(h1_body_plain_left(&body), 2);
    cr_assert_not(h1_body_close(&body));
    cr_assert_eq(next("loGET /next"), H1_BODY_DATA);
    cr_assert(slice_equal(data, SLICE("lo")));
    cr_assert_eq(used, 2);
    cr_assert_eq(next("GET /next"), H1_BODY_END);
    cr_assert_eq(used, 0);
    cr_assert(h1_body_close(&body));
}

Test(h1_body, the_largest_length_does_not_overflow)
{
    h1_body_init(&body, FRAMING_LENGTH, INT64_MAX);
    cr_assert_eq(next("hello"), H1_BODY_DATA);
    cr_assert_eq(h1_body_plain_left(&body), (uint64_t)INT64_MAX - 5);
    h1_body_skip(&body, INT64_MAX - 5);
    cr_assert_eq(body.content, (uint64_t)INT64_MAX);
    cr_assert_eq(next(""), H1_BODY_END);
}

Test(h1_body, skipping_takes_no_more_than_is_left)
{
    h1_body_init(&body, FRAMING_LENGTH, 10);
    h1_body_skip(&body, 4);
    cr_assert_eq(h1_body_plain_left(&body), 6);
    h1_body_skip(&body, 100);
    cr_assert_eq(h1_body_plain_left(&body), 0);
    cr_assert(body.ended);
}

Test(h1_body, only_content_until_close_ends_by_close)
{
    h1_body_init(&body, FRAMING_UNTIL_CLOSE, 0);
    cr_assert_eq(next("all of it"), H1_BODY_DATA);
    cr_assert_eq(h1_body_plain_left(&body), UINT64_MAX);
    cr_assert(h1_body_close(&body));
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("5\r\n"), H1_BODY_MORE);
    cr_assert_not(h1_body_close(&body));
}

Test(h1_body, the_last_chunk_leaves_its_trailers_alone)
{
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("0;x\r\nX: y\r\n\r\nGET"), H1_BODY_TRAILERS);
    cr_assert_eq(used, 5);
    cr_assert_eq(next("X: y\r\n\r\nGET"), H1_BODY_TRAILERS);
    cr_assert_eq(used, 0);
    cr_assert_not(h1_body_close(&body));
    h1_body_trailers_done(&body);
    cr_assert_eq(next("GET"), H1_BODY_END);
    cr_assert(h1_body_close(&body));
}

Test(h1_body, chunk_sizes_end_below_two_to_the_62nd)
{
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("3fffffffffffffff\r\n"), H1_BODY_MORE);
    cr_assert_eq(body.left, (1ull << 62) - 1);
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("4000000000000000\r\n"), H1_BODY_BAD);
    cr_assert_eq(fault, FAULT_CHUNK_SIZE);
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("00000000000000001\r\n"), H1_BODY_BAD);
}

static void extension_of(char *out, size_t bytes)
{
    memcpy(out, "1;", 2);
    memset(out + 2, 'a', bytes - 1); /* the CR counts too */
    memcpy(out + 1 + bytes, "\r\n", 3);
}

Test(h1_body, an_extension_has_a_cap)
{
    char line[H1_EXTENSION_BYTES + 16];
    extension_of(line, H1_EXTENSION_BYTES);
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next(line), H1_BODY_MORE);
    extension_of(line, H1_EXTENSION_BYTES + 1);
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next(line), H1_BODY_BAD);
    cr_assert_eq(fault, FAULT_CHUNK_EXTENSION);
}

Test(h1_body, extensions_of_all_chunks_have_a_cap_too)
{
    char line[H1_EXTENSION_BYTES + 16];
    unsigned chunks = 0;
    extension_of(line, H1_EXTENSION_BYTES);
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    while (next(line) == H1_BODY_MORE) {
        cr_assert_eq(next("x"), H1_BODY_DATA);
        cr_assert_eq(next("\r\n"), H1_BODY_MORE);
        chunks++;
    }
    cr_assert_eq(fault, FAULT_CHUNK_EXTENSION);
    cr_assert_eq(chunks, H1_EXTENSION_TOTAL / H1_EXTENSION_BYTES);
}

Test(h1_body, a_quoted_extension_may_hold_what_would_end_it)
{
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("1;a=\"b;c\\\"d\\\\\"\r\nx"), H1_BODY_DATA);
    cr_assert(slice_equal(data, SLICE("x")));
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    cr_assert_eq(next("1;a=\"b\\\r\nx"), H1_BODY_BAD);
}

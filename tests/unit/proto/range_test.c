#include "proto/range.h"

#include <criterion/criterion.h>

#include "tests/unit/seed.h"

static struct request request;
static struct ranges ranges;

static enum range_verdict asked(const char *value, uint64_t length)
{
    request = (struct request){ .method = METHOD_GET };
    if (value)
        cr_assert_eq(fields_add(&request.fields, SLICE("Range"), slice_of_text(value)), ERR_OK);
    return ranges_of(&request, length, &ranges);
}

/* What comes out, as "first-last first-last", "whole" or "416". */
static void gives(const char *value, uint64_t length, const char *wanted)
{
    char text[RANGES_MAX * 44] = "";
    enum range_verdict verdict = asked(value, length);
    if (verdict == RANGE_NONE)
        strcpy(text, "whole");
    if (verdict == RANGE_UNSATISFIABLE)
        strcpy(text, "416");
    for (unsigned i = 0; verdict == RANGE_PARTIAL && i < ranges.count; i++)
        sprintf(text + strlen(text), "%s%llu-%llu", i ? " " : "", (unsigned long long)ranges.list[i].first, (unsigned long long)ranges.list[i].last);
    cr_expect_str_eq(text, wanted, "%s of %llu: %s, wanted %s", value, (unsigned long long)length, text, wanted);
}

/* RFC 9110 14.1.2: its own examples, of 10000 bytes. */
Test(range, the_examples_of_the_rfc)
{
    gives("bytes=0-499", 10000, "0-499");
    gives("bytes=500-999", 10000, "500-999");
    gives("bytes=-500", 10000, "9500-9999");
    gives("bytes=9500-", 10000, "9500-9999");
    gives("bytes=0-0,-1", 10000, "0-0 9999-9999");
    gives("bytes= 0-999, 4500-5499, -1000", 10000, "0-999 4500-5499 9000-9999");
    gives("bytes=500-700,601-999", 10000, "500-999");
}

Test(range, the_end_is_where_the_content_ends)
{
    gives("bytes=0-", 1, "0-0");
    gives("bytes=5-100", 10, "5-9");
    gives("bytes=-100", 10, "0-9");
    gives("bytes=9-9", 10, "9-9");
    gives("bytes=0-99999999999999999999999999", 10, "0-9");
    gives("bytes=-99999999999999999999999999", 10, "0-9");
}

/* RFC 9110 15.5.17 */
Test(range, none_that_is_there_is_416)
{
    gives("bytes=10-", 10, "416");
    gives("bytes=10-20,30-40", 10, "416");
    gives("bytes=-0", 10, "416");
    gives("bytes=99999999999999999999999999-", 10, "416");
    gives("bytes=10-20,5-6", 10, "5-6");
}

/* RFC 9110 14.2: as if there were no Range. */
Test(range, malformed_is_the_whole)
{
    static const char *const bad[] = {
        "", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=1", "bytes=1-2-3", "bytes=--1", "bytes=1 -2", "bytes=1- 2",
        "bytes=0-1,x", "bytes=0-1,5-2", "bytes =0-1", "byte=0-1", "items=0-1", "bytes=+1-2", "bytes=0x1-2", "bytes=99999999999999999999999x-", "bytes=\"0-1\"",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        gives(bad[i], 100, "whole");
    gives(NULL, 100, "whole");
    gives("bytes=0-1", 0, "whole");
}

Test(range, the_unit_is_without_case)
{
    gives("BYTES=0-1", 10, "0-1");
}

Test(range, counts_in_one_line_of_a_get_only)
{
    cr_assert_eq(asked("bytes=0-1", 10), RANGE_PARTIAL);
    request.method = METHOD_HEAD;
    cr_expect_eq(ranges_of(&request, 10, &ranges), RANGE_NONE);
    request.method = METHOD_GET;
    cr_assert_eq(fields_add(&request.fields, SLICE("range"), SLICE("bytes=2-3")), ERR_OK);
    cr_expect_eq(ranges_of(&request, 10, &ranges), RANGE_NONE);
}

/* RFC 9110 15.3.7.2 */
Test(range, what_overlaps_touches_or_lies_near_is_one_at_the_first_place)
{
    gives("bytes=0-10,5-20", 1000, "0-20");
    gives("bytes=5-20,0-10", 1000, "0-20");
    gives("bytes=0-10,11-20", 1000, "0-20");
    gives("bytes=0-10,91-100", 1000, "0-100");
    gives("bytes=0-10,92-100", 1000, "0-10 92-100");
    gives("bytes=500-600,0-10,550-700", 1000, "500-700 0-10");
    gives("bytes=0-10,200-210,100-110", 1000, "0-10 200-210 100-110");
    gives("bytes=0-10,200-210,5-150", 1000, "0-210");
    gives("bytes=0-,0-,0-,0-", 1000, "0-999");
}

/* RFC 9110 17.15 */
Test(range, too_many_are_the_whole)
{
    char value[512] = "bytes=";
    for (unsigned i = 0; i < RANGES_MAX; i++)
        sprintf(value + strlen(value), "%u-%u,", i * 1000, i * 1000);
    cr_assert_eq(asked(value, 1000000), RANGE_PARTIAL);
    cr_assert_eq(ranges.count, RANGES_MAX);
    strcat(value, "999999-");
    gives(value, 1000000, "whole");
}

Test(range, numbers_at_their_end)
{
    gives("bytes=18446744073709551613-", UINT64_MAX, "18446744073709551613-18446744073709551614");
    gives("bytes=0-0,18446744073709551614-18446744073709551615", UINT64_MAX, "0-0 18446744073709551614-18446744073709551614");
    gives("bytes=-1,0-18446744073709551615", UINT64_MAX, "0-18446744073709551614");
}

/* Each byte that was asked for is there once; of others, only those of small gaps. */
Test(range, property_ranges_cover_what_was_asked_once)
{
    seed_take("range");
    for (unsigned round = 0; round < 20000; round++) {
        char value[512] = "bytes=";
        uint8_t wanted[600] = { 0 }, given[600] = { 0 };
        unsigned length = 1 + (unsigned)random_below(600);
        for (unsigned i = 0, count = 1 + (unsigned)random_below(6); i < count; i++) {
            unsigned first = (unsigned)random_below(650), last = first + (unsigned)random_below(30);
            sprintf(value + strlen(value), "%u-%u,", first, last);
            for (unsigned b = first; b <= last && b < length; b++)
                wanted[b] = 1;
        }
        enum range_verdict verdict = asked(value, length);
        cr_assert_eq(verdict == RANGE_UNSATISFIABLE, memchr(wanted, 1, sizeof wanted) == NULL, "%s of %u", value, length);
        for (unsigned i = 0; i < ranges.count; i++)
            for (uint64_t b = ranges.list[i].first; b <= ranges.list[i].last; b++) {
                cr_assert(b < length && !given[b], "%s of %u", value, length);
                given[b] = 1;
            }
        for (unsigned b = 0; b < length; b++)
            cr_assert(given[b] || !wanted[b], "%s of %u", value, length);
    }
}

/* RFC 9110 14.4 */
Test(range, content_range_says_place_and_length)
{
    char out[CONTENT_RANGE_BYTES];
    struct range range = { 42, 1233 }, largest = { UINT64_MAX - 1, UINT64_MAX - 1 };
    cr_expect(slice_equal(slice_of(out, content_range_write(out, &range, 1234)), SLICE("bytes 42-1233/1234")));
    cr_expect(slice_equal(slice_of(out, content_range_write_unsatisfied(out, 1234)), SLICE("bytes */1234")));
    cr_expect(slice_equal(slice_of(out, content_range_write(out, &largest, UINT64_MAX)),
                          SLICE("bytes 18446744073709551614-18446744073709551614/18446744073709551615")));
}

/* The whole answer, with dots for content. */
static size_t compose(const struct multipart *multipart, char *out, size_t cap)
{
    struct h1_writer w = h1_writer_of(out, cap);
    for (unsigned i = 0; i <= multipart->ranges->count; i++) {
        const char *before = w.at;
        multipart_put_head(multipart, i, &w);
        cr_expect_eq((size_t)(w.at - before), multipart_head_bytes(multipart, i), "part %u", i);
        for (uint64_t b = 0; i < multipart->ranges->count && b < range_bytes(&multipart->ranges->list[i]); b++)
            h1_put_literal(&w, ".");
    }
    cr_assert_not(w.overflow);
    return (size_t)(w.at - out);
}

/* RFC 9110 14.6, RFC 2046 5.1.1 */
Test(range, parts_stand_between_boundaries)
{
    static const uint64_t random[2] = { 0xfedcba9876543210ull, 0x0123456789abcdefull };
    static const char wanted[] = "--0123456789abcdeffedcba9876543210\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/1000\r\n\r\n..\r\n"
                                 "--0123456789abcdeffedcba9876543210\r\nContent-Type: text/plain\r\nContent-Range: bytes 997-999/1000\r\n\r\n...\r\n"
                                 "--0123456789abcdeffedcba9876543210--\r\n";
    char out[1024], type[MULTIPART_TYPE_BYTES];
    struct multipart multipart;
    cr_assert_eq(asked("bytes=0-1,-3", 1000), RANGE_PARTIAL);
    multipart_init(&multipart, &ranges, 1000, SLICE("text/plain"), random);
    cr_expect(slice_equal(slice_of(out, compose(&multipart, out, sizeof out)), SLICE(wanted)));
    cr_expect_eq(multipart_bytes(&multipart), sizeof wanted - 1);
    cr_expect(slice_equal(slice_of(type, multipart_type_write(&multipart, type)),
                          SLICE("multipart/byteranges; boundary=0123456789abcdeffedcba9876543210")));
}

Test(range, the_length_is_known_before_whatever_the_numbers)
{
    static const uint64_t random[2] = { 1, 2 };
    static char out[65536];
    seed_take("multipart");
    for (unsigned round = 0; round < 500; round++) {
        char value[512] = "bytes=";
        for (unsigned i = 0, count = 2 + (unsigned)random_below(14); i < count; i++) {
            unsigned first = (unsigned)random_below(20000);
            sprintf(value + strlen(value), "%u-%u,", first, first + (unsigned)random_below(50));
        }
        struct multipart multipart;
        if (asked(value, 20000) != RANGE_PARTIAL)
            continue;
        multipart_init(&multipart, &ranges, 20000, random_below(2) ? SLICE("a/b") : SLICE(""), random);
        cr_assert_eq(compose(&multipart, out, sizeof out), multipart_bytes(&multipart), "%s", value);
    }
}

/* Content-Range that came (RFC 9110 14.4). */
static void read_as(const char *value, enum err wanted, uint64_t first, uint64_t last, uint64_t length)
{
    struct range range = { 7, 7 };
    uint64_t whole = 7;
    cr_expect_eq(content_range_read(slice_of_text(value), &range, &whole), wanted, "%s", value);
    if (wanted == ERR_OK)
        cr_expect(range.first == first && range.last == last && whole == length, "%s", value);
    if (wanted == ERR_NONE)
        cr_expect_eq(whole, length, "%s", value);
}

Test(range, content_range_says_part_and_whole)
{
    read_as("bytes 0-499/1234", ERR_OK, 0, 499, 1234);
    read_as("bytes 734-1233/1234", ERR_OK, 734, 1233, 1234);
    read_as("BYTES 5-5/6", ERR_OK, 5, 5, 6);
    read_as("bytes 42-1233/*", ERR_OK, 42, 1233, RANGE_LENGTH_UNKNOWN);
    read_as("bytes */1234", ERR_NONE, 0, 0, 1234);
    read_as("bytes */0", ERR_NONE, 0, 0, 0);
    read_as("bytes 0-18446744073709551614/18446744073709551615", ERR_OK, 0, UINT64_MAX - 1, UINT64_MAX);
}

Test(range, content_range_that_is_none)
{
    static const char *const bad[] = {
        "", "bytes", "bytes ", "bytes 0-1", "bytes 0-1/", "bytes 0-9/9", "bytes 5-4/9", "bytes 0-9/5", "bytes */*", "bytes -5/9", "bytes 5-/9", "bytes  0-1/2",
        "bytes 0 - 1/2", "bytes 0-1 /2", "bytes 0-1/ 2", "bytes 0-1/2 ", "bytes=0-1/2", "items 0-1/2", "bytes +0-1/2", "bytes 0-1/2/3", "bytes 0-1-2/3", "bytes 0x0-1/2",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        read_as(bad[i], ERR_SYNTAX, 0, 0, 0);
    read_as("bytes 0-1/18446744073709551616", ERR_RANGE, 0, 0, 0);
    read_as("bytes 0-99999999999999999999/*", ERR_RANGE, 0, 0, 0);
}

Test(range, content_range_is_read_as_it_was_written)
{
    static const struct range parts[] = { { 0, 0 }, { 0, 1048575 }, { 1048576, 10737418239 }, { UINT64_MAX - 3, UINT64_MAX - 2 } };
    char text[CONTENT_RANGE_BYTES];
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        struct range range;
        uint64_t length;
        struct slice value = slice_of(text, content_range_write(text, &parts[i], parts[i].last + 1));
        cr_assert_eq(content_range_read(value, &range, &length), ERR_OK);
        cr_expect(range.first == parts[i].first && range.last == parts[i].last && length == parts[i].last + 1);
    }
}

#include "cache/rules.h"

#include <criterion/criterion.h>
#include <stdio.h>

static char out[CACHE_STATUS_BYTES + 1];

static const char *written(const struct cache_status *status)
{
    memset(out, '#', sizeof out);
    size_t length = cache_status_write(status, out);
    cr_assert(length <= CACHE_STATUS_BYTES);
    cr_assert_eq(out[CACHE_STATUS_BYTES], '#');
    out[length] = '\0';
    return out;
}

#define WRITES(expected, ...) cr_expect_str_eq(written(&(struct cache_status){ __VA_ARGS__ }), expected)

Test(status_9211_2, a_hit_is_not_forwarded)
{
    WRITES("weir; hit; ttl=376", .name = SLICE("weir"), .hit = true, .has_ttl = true, .ttl_s = 376);
    WRITES("weir; hit; ttl=-412", .name = SLICE("weir"), .hit = true, .has_ttl = true, .ttl_s = -412);
    WRITES("weir; hit", .name = SLICE("weir"), .hit = true, .forward = "stale", .stored = true, .collapsed = true,
           .forward_status = 200);
}

Test(status_9211_2, a_forwarded_request_says_why_and_what_became_of_it)
{
    WRITES("weir; fwd=uri-miss; stored", .name = SLICE("weir"), .forward = "uri-miss", .stored = true);
    WRITES("weir; fwd=uri-miss; collapsed", .name = SLICE("weir"), .forward = "uri-miss", .collapsed = true);
    WRITES("weir; fwd=stale; fwd-status=304; stored; ttl=60", .name = SLICE("weir"), .forward = "stale",
           .forward_status = 304, .stored = true, .has_ttl = true, .ttl_s = 60);
    WRITES("weir; fwd=bypass; detail=set-cookie", .name = SLICE("weir"), .forward = "bypass", .detail = "set-cookie");
    WRITES("weir", .name = SLICE("weir"), .stored = true);
}

Test(status_8941_3_3, a_name_is_a_token_or_else_a_string)
{
    WRITES("edge-1.example.com:8080/x; hit", .name = SLICE("edge-1.example.com:8080/x"), .hit = true);
    WRITES("*; hit", .name = SLICE("*"), .hit = true);
    WRITES("\"10.0.0.1\"; hit", .name = SLICE("10.0.0.1"), .hit = true);
    WRITES("\"\"; hit", .name = SLICE_NONE, .hit = true);
    WRITES("\"my cache\"; hit", .name = SLICE("my cache"), .hit = true);
    WRITES("\"a;b=\\\"c\\\\\"; hit", .name = SLICE("a;b=\"c\\"), .hit = true);
    WRITES("\"a??b?\"; hit",
           .name = SLICE("a\xc3\xa9"
                         "b\r"),
           .hit = true);
}

Test(status_8941_3_3_1, integers_have_fifteen_digits)
{
    WRITES("w; hit; ttl=999999999999999", .name = SLICE("w"), .hit = true, .has_ttl = true, .ttl_s = INT64_MAX);
    WRITES("w; hit; ttl=-999999999999999", .name = SLICE("w"), .hit = true, .has_ttl = true, .ttl_s = INT64_MIN);
    WRITES("w; hit; ttl=0", .name = SLICE("w"), .hit = true, .has_ttl = true);
}

Test(status, the_longest_fits)
{
    char name[1000];
    memset(name, '"', sizeof name);
    const char *text = written(&(struct cache_status){ .name = slice_of(name, sizeof name),
                                                       .forward = "123456789012345678901234567890",
                                                       .forward_status = UINT32_MAX,
                                                       .has_ttl = true,
                                                       .ttl_s = INT64_MIN,
                                                       .stored = true,
                                                       .collapsed = true,
                                                       .detail = "123456789012345678901234567890" });
    static const char tail[] =
        "\"; fwd=123456789012345678901234; fwd-status=4294967295; stored; collapsed; ttl=-999999999999999; detail=123456789012345678901234";
    cr_expect_eq(strlen(text), 121 + strlen(tail));
    cr_expect_str_eq(text + 121, tail);
}

Test(status, every_reason_can_be_its_detail)
{
    for (unsigned i = 1; i < CACHE_REASONS; i++) {
        char expected[CACHE_STATUS_BYTES];
        const char *word = cache_reason_word((enum cache_reason)i);
        snprintf(expected, sizeof expected, "w; fwd=request; detail=%s", word);
        WRITES(expected, .name = SLICE("w"), .forward = "request", .detail = word);
    }
}

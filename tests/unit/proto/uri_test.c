#include "proto/uri.h"

#include <criterion/criterion.h>

#include "tests/unit/seed.h"

static char room[8192];

static enum err canonical(const char *path, struct slice *out)
{
    return uri_path_canonicalise(slice_of_text(path), room, sizeof room, out);
}

static void becomes(const char *path, const char *wanted)
{
    struct slice out;
    cr_assert_eq(canonical(path, &out), ERR_OK, "%s", path);
    cr_expect(slice_equal(out, slice_of_text(wanted)), "%s -> %.*s, wanted %s", path, (int)out.length, out.at, wanted);
    cr_expect(uri_path_is_canonical(slice_of_text(wanted)), "%s", wanted);
    cr_expect_eq(uri_path_is_canonical(slice_of_text(path)), strcmp(path, wanted) == 0, "%s", path);
}

static void is_refused(const char *path)
{
    struct slice out;
    cr_expect_eq(canonical(path, &out), ERR_SYNTAX, "%s", path);
    cr_expect_not(uri_path_is_canonical(slice_of_text(path)), "%s", path);
}

Test(uri, dots_that_only_some_would_see_are_refused)
{
    static const char *const bad[] = {
        "/a/..;/b", "/a/.;/b", "/..;", "/a/..;x=y", "/a/..%2Fb", "/a/..%2f", "/a%2F..", "/a%2f../b", "/a%5C..%5Cb", "/a/.%2Fb",
        "/%2E%2E%2Fa", "/a/%2e%2e;b", "/a;b%2F..;c", "/x/..%5c..%5cb", "/a%2F.", "/%2F..", "/.%2F",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        is_refused(bad[i]);
}

Test(uri, dots_in_names_and_parameters_stay)
{
    static const char *const good[] = {
        "/.well-known/x", "/...", "/..a", "/a..", "/a.;b", "/a;..", "/a;../b", "/.a;b", "/a%2F.b", "/a%2Fb..", "/...;a", "/a%2F...%2Fb", "/.a%2F..b",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        becomes(good[i], good[i]);
}

Test(uri, escapes_have_one_spelling)
{
    becomes("/%41%7a%2D%2e%5F%7e", "/Az-._~");
    becomes("/a%2fb%3f%23%25", "/a%2Fb%3F%23%25");
    becomes("/%252e%252e", "/%252e%252e");
    becomes("/a|b", "/a%7Cb");
    becomes("/%e2%80%a8", "/%E2%80%A8");
}

Test(uri, dot_segments_go)
{
    becomes("/a/./b", "/a/b");
    becomes("/a/b/..", "/a/");
    becomes("/a/../..a", "/..a");
    becomes("/a//../b", "/a/b");
    becomes("/%2e/a", "/a");
    is_refused("/..");
    is_refused("/a/../..");
    is_refused("/%2e%2e/a");
}

Test(uri, what_is_canonical_is_its_own_canonical_form)
{
    static const char *const pieces[] = { "/", ".", "..", "%2F", "%2f", "%5C", "%2e", "%2E", ";", "a", "%41", "%20", "%", "4", "|", "//", "=", "%00", "?" };
    struct slice out;
    char path[256], again[8192];
    seed_take("uri");
    for (unsigned turn = 0; turn < 200000; turn++) {
        size_t length = 1;
        path[0] = '/';
        for (unsigned count = (unsigned)random_below(8); count; count--) {
            const char *piece = pieces[random_below(ARRAY_LENGTH(pieces))];
            memcpy(path + length, piece, strlen(piece));
            length += strlen(piece);
        }
        struct slice given = slice_of(path, length);
        enum err e = uri_path_canonicalise(given, room, sizeof room, &out);
        cr_assert_eq(uri_path_is_canonical(given), e == ERR_OK && slice_equal(out, given), "%.*s", (int)length, path);
        if (e != ERR_OK)
            continue;
        struct slice twice;
        cr_assert_eq(uri_path_canonicalise(out, again, sizeof again, &twice), ERR_OK, "%.*s", (int)length, path);
        cr_assert(slice_equal(out, twice), "%.*s", (int)length, path);
    }
}

Test(uri, a_segment_is_looked_at_once)
{
    static char path[3000000];
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = "%2F"[i % 3];
    memcpy(path, "/ab", 3);
    cr_assert(uri_path_is_canonical(slice_of(path, sizeof path))); /* ends; looking for each escape it would not */
    memcpy(path + sizeof path - 3, "..;", 3);
    cr_assert_not(uri_path_is_canonical(slice_of(path, sizeof path)));
}

Test(uri, room_that_is_too_small_is_said)
{
    struct slice out;
    cr_assert_eq(uri_path_canonicalise(SLICE("/a|"), room, 4, &out), ERR_CAP);
    cr_assert_eq(uri_path_canonicalise(SLICE("/a|"), room, 5, &out), ERR_OK);
    cr_assert_eq(uri_query_canonicalise(SLICE("a=|"), room, 4, &out), ERR_CAP);
    cr_assert_eq(uri_query_canonicalise(SLICE("a=|"), room, 5, &out), ERR_OK);
}

Test(uri, a_query_keeps_its_escapes)
{
    struct slice out;
    cr_assert(uri_query_is_canonical(SLICE("a=%2e%2E&b=/?")));
    cr_assert_not(uri_query_is_canonical(SLICE("a=%0")));
    cr_assert_not(uri_query_is_canonical(SLICE("a=%00")));
    cr_assert_not(uri_query_is_canonical(SLICE("a={b}")));
    cr_assert_eq(uri_query_canonicalise(SLICE("a=%2e{b}"), room, sizeof room, &out), ERR_OK);
    cr_assert(slice_equal(out, SLICE("a=%2e%7Bb%7D")));
}

static void splits(const char *authority, const char *host, uint16_t port)
{
    struct slice got;
    uint16_t got_port;
    cr_assert_eq(uri_authority_split(slice_of_text(authority), &got, &got_port), ERR_OK, "%s", authority);
    cr_expect(slice_equal(got, slice_of_text(host)), "%s: %.*s", authority, (int)got.length, got.at);
    cr_expect_eq(got_port, port, "%s: %u", authority, got_port);
}

Test(uri, authorities_are_split)
{
    splits("a", "a", 0);
    splits("a:80", "a", 80);
    splits("a:", "a", 0);
    splits("[::1]", "[::1]", 0);
    splits("[2001:db8::1]:65535", "[2001:db8::1]", 65535);
    splits("192.0.2.1:1", "192.0.2.1", 1);
}

Test(uri, what_is_no_authority_is_refused)
{
    static const char *const bad[] = { "", ":", ":80", "a:0", "a:65536", "a:123456", "a:8x", "a:80:80", "u@a", "a,b", "a/b", "a b", "a%41", "[", "[]", "[::1",
                                       "[::1]a", "[a]", "[g::1]", "[::1%25a]", "::1", "a\"", "a\\b", "a?b", "a#b", "\xc3\xa9" };
    struct slice host;
    uint16_t port;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_eq(uri_authority_split(slice_of_text(bad[i]), &host, &port), ERR_SYNTAX, "%s", bad[i]);
}

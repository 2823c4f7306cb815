#include <criterion/criterion.h>

#include <stdio.h>

#include "engine/policy/transform.h"

static struct field_value_part parts[8];
static unsigned count;

static enum err parse(const char *text)
{
    return transform_parse(slice_of_text(text), parts, ARRAY_LENGTH(parts), &count);
}

/* As composed for: GET /a/b?c=1 of host h, from 192.0.2.7. */
static void composes(const char *text, const char *query, const char *wanted)
{
    struct request request = { .method_token = SLICE("GET"), .host = SLICE("h"), .path = SLICE("/a/b"), .query = slice_of_text(query) };
    struct forwarding forwarding = { .client_address = SLICE("192.0.2.7"), .scheme = SLICE("http") };
    char room[128];
    struct slice composed;
    cr_assert_eq(parse(text), ERR_OK, "%s", text);
    cr_assert_eq(transform_compose(parts, count, &request, &forwarding, room, sizeof room, &composed), ERR_OK);
    cr_assert(slice_equal(composed, slice_of_text(wanted)), "%.*s, wanted %s", (int)composed.length, composed.at, wanted);
}

Test(transform, literal_text_has_no_parts)
{
    cr_assert_eq(parse("plain"), ERR_OK);
    cr_assert_eq(count, 0);
    cr_assert_eq(parse(""), ERR_OK);
    cr_assert_eq(count, 0);
}

Test(transform, knows_every_placeholder)
{
    for (enum field_placeholder p = PLACEHOLDER_NONE + 1; p < PLACEHOLDERS; p++) {
        struct slice word = transform_word(p);
        char text[64];
        cr_assert_gt(word.length, 0);
        snprintf(text, sizeof text, "{%.*s}", (int)word.length, word.at);
        cr_assert_eq(parse(text), ERR_OK);
        cr_assert_eq(count, 1);
        cr_assert_eq(parts[0].placeholder, p);
    }
    cr_assert_eq(transform_word(PLACEHOLDER_NONE).length, 0);
}

Test(transform, refuses_unknown_words_and_lone_braces)
{
    static const char *const bad[] = { "{hots}", "{}", "{", "}", "a{b", "a}b", "{host", "{host}}", "{{host}", "{ host }", "{Host}" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_eq(parse(bad[i]), ERR_SYNTAX, "%s", bad[i]);
}

Test(transform, says_when_there_are_too_many_parts)
{
    cr_assert_eq(parse("{host}{host}{host}{host}{host}{host}{host}{host}"), ERR_OK);
    cr_assert_eq(parse("{host}{host}{host}{host}{host}{host}{host}{host}x"), ERR_CAP);
}

Test(transform, composes)
{
    composes("https://{host}{path}", "c=1", "https://h/a/b");
    composes("{client-address} {method}", "c=1", "192.0.2.7 GET");
    composes("x{host}y", "", "xhy");
}

Test(transform, doubled_braces_are_braces)
{
    composes("{{", "", "{");
    composes("}}", "", "}");
    composes("{{host}}", "", "{host}");
    composes("a{{{host}}}b", "", "a{h}b");
}

Test(transform, question_mark_goes_with_the_query)
{
    composes("{path}?{query}", "c=1", "/a/b?c=1");
    composes("{path}?{query}", "", "/a/b?");
    composes("{path}?{query}", NULL, "/a/b");
    composes("{path}?x&{query}", NULL, "/a/b?x&");
    composes("{query}", NULL, "");
}

Test(transform, says_when_there_is_no_room)
{
    struct request request = { .host = SLICE("example.com") };
    struct forwarding forwarding = { 0 };
    char room[11];
    struct slice composed;
    cr_assert_eq(parse("{host}"), ERR_OK);
    cr_assert_eq(transform_compose(parts, count, &request, &forwarding, room, 10, &composed), ERR_CAP);
    cr_assert_eq(transform_compose(parts, count, &request, &forwarding, room, 11, &composed), ERR_OK);
}

Test(transform, without_a_host_nothing_is_composed_of_it)
{
    struct request request = { .path = SLICE("/evil.example/") };
    struct forwarding forwarding = { 0 };
    char room[64];
    struct slice composed;
    cr_assert_eq(parse("https://{host}{path}"), ERR_OK);
    cr_assert_eq(transform_compose(parts, count, &request, &forwarding, room, sizeof room, &composed), ERR_NONE);
}

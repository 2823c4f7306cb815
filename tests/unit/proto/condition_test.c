#include "proto/condition.h"

#include <criterion/criterion.h>

#include "proto/http_date.h"

#define SUNDAY "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER "Sun, 06 Nov 1994 08:49:38 GMT"
#define SUNDAY_S 784111777

static struct request request;
static const struct validators strong = { SLICE("\"one\""), SUNDAY_S, SUNDAY_S + 3600 };
static const struct validators weak = { SLICE("W/\"one\""), SUNDAY_S, SUNDAY_S + 3600 };
static const struct validators dated = { SLICE(""), SUNDAY_S, SUNDAY_S + 3600 };
static const struct validators bare = { SLICE(""), -1, SUNDAY_S };

/* Up to three fields, name and value by turns, of a GET. */
static void asks(const char *const *words)
{
    request = (struct request){ .method = METHOD_GET };
    for (; words[0]; words += 2)
        cr_assert_eq(fields_add(&request.fields, slice_of_text(words[0]), slice_of_text(words[1])), ERR_OK);
}
#define ASKS(...) asks((const char *const[]){ __VA_ARGS__, NULL })

static void is(const struct validators *stored, enum condition wanted, const char *value)
{
    cr_expect_eq(condition_of(&request, stored, 200), wanted, "%s", value);
}

static void none_match(const struct validators *stored, const char *value, enum condition wanted)
{
    ASKS("If-None-Match", value);
    is(stored, wanted, value);
}

static void must_match(const struct validators *stored, const char *value, enum condition wanted)
{
    ASKS("If-Match", value);
    is(stored, wanted, value);
}

Test(condition, without_conditions_the_answer_is_full)
{
    ASKS("Accept", "*/*");
    is(&strong, CONDITION_NONE, "");
    cr_assert(condition_if_range(&request, &strong));
}

/* RFC 9110 13.1.2 */
Test(condition, if_none_match_compares_weakly)
{
    none_match(&strong, "\"one\"", CONDITION_NOT_MODIFIED);
    none_match(&strong, "W/\"one\"", CONDITION_NOT_MODIFIED);
    none_match(&weak, "\"one\"", CONDITION_NOT_MODIFIED);
    none_match(&weak, "W/\"one\"", CONDITION_NOT_MODIFIED);
    none_match(&strong, "\"One\"", CONDITION_NONE);
    none_match(&strong, "w/\"one\"", CONDITION_NONE);
    none_match(&dated, "\"one\"", CONDITION_NONE);
}

Test(condition, if_none_match_is_a_list)
{
    none_match(&strong, "\"two\", \"one\"", CONDITION_NOT_MODIFIED);
    none_match(&strong, " ,, \"two\",W/\"one\" ,", CONDITION_NOT_MODIFIED);
    none_match(&strong, "\"two\", \"three\"", CONDITION_NONE);
    none_match(&strong, "", CONDITION_NONE);
    ASKS("If-None-Match", "\"two\"", "if-none-match", "\"one\"");
    is(&strong, CONDITION_NOT_MODIFIED, "lines");
}

/* RFC 9110 8.8.3: commas and backslashes are plain characters of an entity tag. */
Test(condition, an_entity_tag_ends_at_its_quote_only)
{
    static const struct validators comma = { SLICE("\"a,b\""), -1, -1 }, backslash = { SLICE("\"a\\\""), -1, -1 };
    none_match(&comma, "\"x\", \"a,b\"", CONDITION_NOT_MODIFIED);
    none_match(&comma, "\"a\",\"b\"", CONDITION_NONE);
    none_match(&backslash, "\"a\\\", \"x\"", CONDITION_NOT_MODIFIED);
    none_match(&backslash, "\"x\\\", \"a\\\"", CONDITION_NOT_MODIFIED);
    none_match(&strong, "\"x, \"one\"", CONDITION_NONE);
    none_match(&strong, "\"one", CONDITION_NONE);
    none_match(&strong, "\"one\"x, \"two\"", CONDITION_NONE);
}

Test(condition, a_star_alone_names_whatever_is_there)
{
    none_match(&bare, "*", CONDITION_NOT_MODIFIED);
    none_match(&strong, "*, \"two\"", CONDITION_NONE);
    none_match(&strong, "\"*\"", CONDITION_NONE);
    must_match(&bare, "*", CONDITION_NONE);
}

Test(condition, a_tag_without_quotes_is_put_up_with_in_weak_comparison)
{
    static const struct validators unquoted = { SLICE("one"), -1, -1 };
    none_match(&unquoted, "two, one", CONDITION_NOT_MODIFIED);
    none_match(&unquoted, "\"one\"", CONDITION_NONE);
    must_match(&unquoted, "one", CONDITION_FAILED);
}

/* RFC 9110 13.1.1 */
Test(condition, if_match_compares_strongly)
{
    must_match(&strong, "\"one\"", CONDITION_NONE);
    must_match(&strong, "\"two\", \"one\"", CONDITION_NONE);
    must_match(&strong, "\"two\"", CONDITION_FAILED);
    must_match(&strong, "W/\"one\"", CONDITION_FAILED);
    must_match(&weak, "W/\"one\"", CONDITION_FAILED);
    must_match(&dated, "\"one\"", CONDITION_FAILED);
}

/* RFC 9110 13.1.3, RFC 9111 4.3.2 */
Test(condition, if_modified_since_holds_the_date_against_last_modified)
{
    static const struct { const char *value; enum condition wanted; } rows[] = {
        { SUNDAY, CONDITION_NOT_MODIFIED }, { LATER, CONDITION_NOT_MODIFIED }, { EARLIER, CONDITION_NONE }, { "yesterday", CONDITION_NONE },
        { "Sunday, 06-Nov-94 08:49:37 GMT", CONDITION_NOT_MODIFIED }, { "Sun Nov  6 08:49:37 1994", CONDITION_NOT_MODIFIED }, { "", CONDITION_NONE },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        ASKS("If-Modified-Since", rows[i].value);
        is(&strong, rows[i].wanted, rows[i].value);
        is(&bare, rows[i].wanted, rows[i].value); /* its Date stands in */
    }
    ASKS("If-Modified-Since", SUNDAY, "If-Modified-Since", SUNDAY);
    is(&strong, CONDITION_NONE, "more than one line");
}

Test(condition, if_modified_since_is_for_get_and_head)
{
    ASKS("If-Modified-Since", SUNDAY);
    request.method = METHOD_HEAD;
    is(&strong, CONDITION_NOT_MODIFIED, "HEAD");
    request.method = METHOD_POST;
    is(&strong, CONDITION_NONE, "POST");
}

/* RFC 9110 13.1.4 */
Test(condition, if_unmodified_since_fails_when_it_was_modified)
{
    ASKS("If-Unmodified-Since", EARLIER);
    is(&strong, CONDITION_FAILED, EARLIER);
    is(&bare, CONDITION_NONE, "no modification date");
    ASKS("If-Unmodified-Since", SUNDAY);
    is(&strong, CONDITION_NONE, SUNDAY);
    ASKS("If-Unmodified-Since", "never");
    is(&strong, CONDITION_NONE, "never");
}

/* RFC 9110 13.2.2 */
Test(condition, if_match_goes_before_if_unmodified_since)
{
    ASKS("If-Match", "\"one\"", "If-Unmodified-Since", EARLIER);
    is(&strong, CONDITION_NONE, "");
}

Test(condition, if_none_match_goes_before_if_modified_since)
{
    ASKS("If-None-Match", "\"two\"", "If-Modified-Since", LATER);
    is(&strong, CONDITION_NONE, "");
    ASKS("If-None-Match", "\"one\"", "If-Modified-Since", EARLIER);
    is(&strong, CONDITION_NOT_MODIFIED, "");
}

Test(condition, failing_goes_before_not_modified)
{
    ASKS("If-Match", "\"two\"", "If-None-Match", "\"one\"");
    is(&strong, CONDITION_FAILED, "");
    ASKS("If-Match", "\"one\"", "If-None-Match", "\"one\"");
    is(&strong, CONDITION_NOT_MODIFIED, "");
}

Test(condition, a_method_that_changes_something_fails_where_a_get_is_not_modified)
{
    ASKS("If-None-Match", "*");
    request.method = METHOD_PUT;
    is(&strong, CONDITION_FAILED, "");
}

/* RFC 9110 13.2.1 */
Test(condition, another_status_than_200_is_answered_in_full)
{
    ASKS("If-None-Match", "\"one\"", "If-Match", "\"two\"");
    cr_assert_eq(condition_of(&request, &strong, 404), CONDITION_NONE);
    cr_assert_eq(condition_of(&request, &strong, 301), CONDITION_NONE);
}

Test(condition, conditions_that_are_meant_for_an_origin_are_seen)
{
    ASKS("If-None-Match", "\"one\"");
    cr_assert_not(condition_is_for_origin(&request));
    ASKS("if-match", "*");
    cr_assert(condition_is_for_origin(&request));
    ASKS("If-Unmodified-Since", "x");
    cr_assert(condition_is_for_origin(&request));
}

/* RFC 9110 13.1.5 */
Test(condition, if_range_wants_the_same_strong_tag)
{
    static const struct { const char *value; bool holds; } rows[] = {
        { "\"one\"", true }, { "W/\"one\"", false }, { "\"two\"", false }, { "\"one\", \"two\"", false }, { "*", false }, { "", false }, { "one", false },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        ASKS("If-Range", rows[i].value);
        cr_expect_eq(condition_if_range(&request, &strong), rows[i].holds, "%s", rows[i].value);
        cr_expect_not(condition_if_range(&request, &weak), "%s", rows[i].value);
        cr_expect_not(condition_if_range(&request, &dated), "%s", rows[i].value);
    }
}

Test(condition, if_range_wants_exactly_that_date)
{
    ASKS("If-Range", SUNDAY);
    cr_expect(condition_if_range(&request, &dated));
    cr_expect_not(condition_if_range(&request, &bare));
    ASKS("If-Range", LATER);
    cr_expect_not(condition_if_range(&request, &dated));
    ASKS("If-Range", EARLIER);
    cr_expect_not(condition_if_range(&request, &dated));
    ASKS("If-Range", SUNDAY, "If-Range", SUNDAY);
    cr_expect_not(condition_if_range(&request, &dated));
}

/* RFC 9110 8.8.2.2: what was sent in the minute of its change may have changed again in it. */
Test(condition, a_date_is_strong_only_when_it_was_old_already)
{
    struct validators young = dated;
    ASKS("If-Range", SUNDAY);
    young.date_s = SUNDAY_S + CONDITION_STRONG_S - 1;
    cr_expect_not(condition_if_range(&request, &young));
    young.date_s++;
    cr_expect(condition_if_range(&request, &young));
    young.date_s = -1;
    cr_expect_not(condition_if_range(&request, &young));
}

static bool carries(enum stored_answer answer, const char *name, bool has_etag)
{
    static struct fields fields;
    fields = (struct fields){ 0 };
    cr_assert_eq(fields_add(&fields, slice_of_text(name), SLICE("x")), ERR_OK);
    return condition_carries(answer, &fields.list[0], has_etag);
}

/* RFC 9110 15.4.5 */
Test(condition, a_304_carries_what_tells_the_representation_and_no_more_metadata)
{
    static const char *const stay[] = { "Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary", "Set-Cookie", "Access-Control-Allow-Origin",
                                        "Content-Security-Policy", "CDN-Cache-Control", "Server", "X-Any" };
    static const char *const go[] = { "Content-Length", "content-type", "Content-Encoding", "CONTENT-LANGUAGE", "Content-Range", "Content-MD5", "Digest",
                                      "Repr-Digest", "Accept-Ranges", "Last-Modified", "Content-Disposition" };
    for (size_t i = 0; i < ARRAY_LENGTH(stay); i++)
        cr_expect(carries(STORED_NOT_MODIFIED, stay[i], true), "%s", stay[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(go); i++)
        cr_expect_not(carries(STORED_NOT_MODIFIED, go[i], true), "%s", go[i]);
    cr_expect(carries(STORED_NOT_MODIFIED, "Last-Modified", false));
}

/* RFC 9110 15.3.7 */
Test(condition, a_206_carries_all_but_its_own_framing_and_digests_of_the_whole)
{
    static const char *const stay[] = { "Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary", "Last-Modified", "Content-Encoding", "Repr-Digest" };
    for (size_t i = 0; i < ARRAY_LENGTH(stay); i++) {
        cr_expect(carries(STORED_PART, stay[i], true), "%s", stay[i]);
        cr_expect(carries(STORED_PARTS, stay[i], true), "%s", stay[i]);
    }
    cr_expect_not(carries(STORED_PART, "Content-Length", true));
    cr_expect_not(carries(STORED_PART, "Content-Digest", true));
    cr_expect(carries(STORED_PART, "Content-Type", true));
    cr_expect_not(carries(STORED_PARTS, "Content-Type", true));
    cr_expect(carries(STORED_FULL, "Content-Digest", true));
}

#include <criterion/criterion.h>

#include "engine/policy/compress.h"

static const struct slice types[] = { SLICE("text/*"), SLICE("application/*+json") };
static const struct compress_rule rule = { { { CODING_GZIP }, 1 }, types, 2, 1024 };
static struct request request;
static struct response response;

static void begin(void)
{
    request = (struct request){ .version_minor = 1 };
    response = (struct response){ .status = 200, .framing = FRAMING_CHUNKED };
    cr_assert_eq(fields_add(&request.fields, SLICE("Accept-Encoding"), SLICE("gzip")), ERR_OK);
}

static void says(const char *name, const char *value)
{
    cr_assert_eq(fields_add(&response.fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
}

static bool is_coded(void)
{
    return compress_choose(&rule, &request, &response, NULL).coding == CODING_GZIP;
}

Test(compress, by_type)
{
    static const struct { const char *type; bool coded; } rows[] = {
        { "text/html", true }, { "TEXT/Plain ; charset=utf-8", true }, { "application/ld+json", true }, { "application/json", false },
        { "image/png", false }, { ";", false }, { "", false },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        begin();
        says("Content-Type", rows[i].type);
        cr_expect_eq(is_coded(), rows[i].coded, "%s", rows[i].type);
    }
    begin();
    cr_assert_not(is_coded());
}

Test(compress, by_length_and_version)
{
    begin();
    says("Content-Type", "text/html");
    response.has_content_length = true;
    response.framing = FRAMING_LENGTH;
    for (response.content_length = 1022; response.content_length < 1027; response.content_length++)
        cr_expect_eq(is_coded(), response.content_length >= 1024);
    cr_assert(compress_choose(&rule, &request, &response, NULL).varies);
    request.version_minor = 0;
    cr_assert_not(is_coded());
    cr_assert(compress_choose(&rule, &request, &response, NULL).varies);
}

Test(compress, not_where_the_response_forbids_it)
{
    static const char *const rows[][2] = { { "Cache-Control", "a, no-transform" }, { "Content-Encoding", "br" }, { "Content-Range", "bytes 0-1/2" } };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        begin();
        says("Content-Type", "text/html");
        cr_assert(is_coded());
        says(rows[i][0], rows[i][1]);
        cr_expect_not(is_coded(), "%s", rows[i][0]);
        cr_expect_not(compress_choose(&rule, &request, &response, NULL).varies);
    }
}

/* What a 304 says is written down row by row: type (NULL: none), ETag, the client's If-None-Match; and what comes of it. */
Test(compress, of_a_304_by_its_type_or_by_what_the_client_has)
{
    static const struct { const char *type, *etag, *had; bool coded, varies; } rows[] = {
        { "text/css", "\"a\"", "\"a\"", true, true },       { "image/png", "\"a\"", "W/\"a\"", false, false },
        { NULL, "\"a\"", "W/\"a\"", true, true },           { NULL, "\"a\"", "\"b\", W/\"a\"", true, true },
        { NULL, "W/\"a\"", "W/\"a\"", true, true },         { NULL, "\"a\"", "\"a\"", false, true },
        { NULL, "\"a\"", "W/\"b\"", false, true },          { NULL, "\"a\"", "*", false, true },
        { NULL, "\"a\"", NULL, false, true },               { NULL, NULL, "W/\"a\"", false, true },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        begin();
        response.status = 304;
        response.framing = FRAMING_NONE;
        if (rows[i].type)
            says("Content-Type", rows[i].type);
        if (rows[i].etag)
            says("ETag", rows[i].etag);
        if (rows[i].had)
            cr_assert_eq(fields_add(&request.fields, SLICE("If-None-Match"), slice_of_text(rows[i].had)), ERR_OK);
        cr_expect_eq(is_coded(), rows[i].coded, "row %zu", i);
        cr_expect_eq(compress_choose(&rule, &request, &response, NULL).varies, rows[i].varies, "row %zu", i);
    }
}

#include "proto/structured.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct fields fields;

static void add(const char *value)
{
    cr_assert_eq(fields_add(&fields, SLICE("CDN-Cache-Control"), slice_of_text(value)), ERR_OK);
}

static char shown[1024];

static void show(void *argument, struct slice key, const struct structured_item *item)
{
    static const char *const kinds[] = { "integer", "decimal", "string", "token", "bytes", "boolean", "list" };
    size_t *length = argument;
    const char *truth = item->boolean ? "1" : "0";
    bool boolean = item->kind == STRUCTURED_BOOLEAN;
    int added = snprintf(shown + *length, sizeof shown - *length, "%.*s=%s:%.*s ", (int)key.length, key.at,
                         kinds[item->kind], boolean ? 1 : (int)item->text.length, boolean ? truth : item->text.at);
    cr_assert(added > 0);
    *length += (size_t)added;
}

/* What was shown of the value; NULL: a fault. The value is on the heap so that the sanitizer sees a byte too far. */
static const char *members(const char *value)
{
    size_t length = strlen(value), used = 0;
    char *copy = malloc(length + 1);
    cr_assert_not_null(copy);
    memcpy(copy, value, length);
    char *exact = realloc(copy, length ? length : 1);
    cr_assert_not_null(exact);
    shown[0] = '\0';
    enum err e = structured_dictionary_line(slice_of(exact, length), show, &used);
    free(exact);
    cr_assert(e == ERR_OK || e == ERR_SYNTAX || e == ERR_NONE);
    return e == ERR_SYNTAX ? NULL : shown;
}

#define SHOWS(value, expected) cr_expect_str_eq(members(value) ? members(value) : "a fault", expected, "%s", value)

Test(structured_4_2_2, members_and_their_kinds)
{
    SHOWS("", "");
    SHOWS("  ", "");
    SHOWS("a", "a=boolean:1 ");
    SHOWS("a=?0", "a=boolean:0 ");
    SHOWS("max-age=600", "max-age=integer:600 ");
    SHOWS("a=-0", "a=integer:-0 ");
    SHOWS("a=-42", "a=integer:-42 ");
    SHOWS("a=999999999999999", "a=integer:999999999999999 ");
    SHOWS("a=4.5", "a=decimal:4.5 ");
    SHOWS("a=\"x, y\"", "a=string:x, y ");
    SHOWS("a=\"\\\"\\\\\"", "a=string:\\\"\\\\ ");
    SHOWS("a=to*/ken:1", "a=token:to*/ken:1 ");
    SHOWS("a=*", "a=token:* ");
    SHOWS("a=:aGVsbG8=:", "a=bytes:aGVsbG8= ");
    SHOWS("a=:aGVsbG8:", "a=bytes:aGVsbG8 ");
    SHOWS("a=::", "a=bytes: ");
    SHOWS("a=(1 b \"c\";d)", "a=list:(1 b \"c\";d) ");
    SHOWS("a=()", "a=list:() ");
    SHOWS("*a_.-9=1", "*a_.-9=integer:1 ");
    SHOWS("  a  ", "a=boolean:1 ");
    SHOWS("a=1\t ,\t b", "a=integer:1 b=boolean:1 ");
}

Test(structured_4_2_2, members_with_one_key_are_shown_in_order)
{
    SHOWS("a=1, b, a=2", "a=integer:1 b=boolean:1 a=integer:2 ");
}

Test(structured_4_2_3, parameters_are_skipped)
{
    SHOWS("a;x, b=1;y=2;  z=\"q;,\"", "a=boolean:1 b=integer:1 ");
    SHOWS("a=(1;p 2);q=?1", "a=list:(1;p 2) ");
}

Test(structured_4_2, a_fault_anywhere_is_a_fault)
{
    static const char *const rows[] = {
        ",",
        "a,",
        "a,,b",
        ", a",
        "a b",
        "A",
        "Max-Age=1",
        "1a",
        "-a",
        "_a",
        "a=",
        "a= 1",
        "a =1",
        "a=1 b",
        "a;",
        "a;X",
        "a ;x",
        "a;x=",
        "a;x =1",
        "a=--1",
        "a=-",
        "a=1.",
        "a=.5",
        "a=1.2345",
        "a=1234567890123.1",
        "a=1000000000000000",
        "a=+1",
        "a=1x",
        "a=\"",
        "a=\"x",
        "a=\"\\x\"",
        "a=\"\\",
        "a=\"\x7f\"",
        "a=\"\t\"",
        "a=\"\xc3\xa9\"",
        "a=?2",
        "a=?",
        "a=?true",
        "a=:a:",
        "a=:a=b=:",
        "a=:ab===:",
        "a=:abc",
        "a=:a b:",
        "a=:abc==:",
        "a=(",
        "a=(1",
        "a=(1,2)",
        "a=(1 2",
        "a=(1)x",
        "a=(\"a\"b)",
        "a=((1))",
        "a=(1\t2)",
        "a=@1659578233",
        "a=%\"x\"",
        "a=1;;b",
        "\ta",
        "a\t",
        "a=!",
        "a=\x80",
        "a\xff",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        cr_expect_null(members(rows[i]), "%s", rows[i]);
}

Test(structured_4_2, lines_are_one_dictionary)
{
    size_t used = 0;
    cr_expect_eq(structured_dictionary(&fields, FIELD_CDN_CACHE_CONTROL, show, &used), ERR_NONE);
    add("a=1");
    add("b, a=2");
    cr_expect_eq(structured_dictionary(&fields, FIELD_CDN_CACHE_CONTROL, show, &used), ERR_OK);
    cr_expect_str_eq(shown, "a=integer:1 b=boolean:1 a=integer:2 ");
    add("c=");
    cr_expect_eq(structured_dictionary(&fields, FIELD_CDN_CACHE_CONTROL, show, &used), ERR_SYNTAX);
}

Test(structured_4_2, an_empty_line_is_empty_alone_and_a_fault_between_others)
{
    size_t used = 0;
    add("");
    cr_expect_eq(structured_dictionary(&fields, FIELD_CDN_CACHE_CONTROL, show, &used), ERR_NONE);
    add("a");
    cr_expect_eq(structured_dictionary(&fields, FIELD_CDN_CACHE_CONTROL, show, &used), ERR_SYNTAX);
}

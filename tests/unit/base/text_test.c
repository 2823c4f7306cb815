#include <criterion/criterion.h>

#include "engine/base/check.h"
#include "engine/base/text.h"

static void expect(struct text *text, const char *wanted)
{
    cr_assert_str_eq(text_slice(text).at, wanted);
    cr_assert_eq(text->length, strlen(wanted));
    text_release(text);
}

static void expect_json(struct slice bytes, const char *wanted)
{
    struct text text = { 0 };
    text_json_string(&text, bytes);
    expect(&text, wanted);
}

Test(text, is_an_empty_string_before_anything_is_added)
{
    struct text text = { 0 };
    cr_assert_str_eq(text_slice(&text).at, "");
    text_release(&text);
}

Test(text, adds_and_always_ends_in_nul)
{
    struct text text = { 0 };
    text_add(&text, SLICE("a weir"));
    text_add(&text, SLICE_NONE);
    cr_assert_eq(text.at[6], '\0');
    text_add(&text, SLICE(" stands"));
    expect(&text, "a weir stands");
}

Test(text, adding_nothing_to_nothing_makes_a_string)
{
    struct text text = { 0 };
    text_add(&text, SLICE_NONE);
    cr_assert_not_null(text.at);
    expect(&text, "");
}

Test(text, formats_behind_what_is_there)
{
    struct text text = { 0 };
    text_format(&text, "%s:%d", "line", 7);
    text_format(&text, ", %5.2f", 1.5);
    expect(&text, "line:7,  1.50");
}

Test(text, grows_where_a_format_does_not_fit)
{
    struct text text = { 0 };
    char long_word[1001];
    memset(long_word, 'x', 1000);
    long_word[1000] = '\0';
    text_add(&text, SLICE("<"));
    text_format(&text, "%s>", long_word);
    cr_assert_eq(text.length, 1002);
    cr_assert_eq(text.at[1001], '>');
    text_release(&text);
}

/* Every length around the first allocation, so that an off-by-one would meet the sanitizer. */
Test(text, fits_at_every_border)
{
    for (size_t length = 250; length < 260; length++) {
        char word[300] = { 0 };
        struct text added = { 0 }, formatted = { 0 };
        memset(word, 'w', length);
        text_add(&added, SLICE("12"));
        text_add(&added, slice_of(word, length));
        text_format(&formatted, "12%s", word);
        cr_assert_str_eq(added.at, formatted.at);
        cr_assert_eq(added.length, length + 2);
        text_release(&added);
        text_release(&formatted);
    }
}

Test(text, fails_above_its_cap_and_keeps_what_it_has)
{
    struct text text = { 0 };
    text_add(&text, SLICE("kept"));
    text_format(&text, "%*s", (int)TEXT_BYTES_MAX, "");
    cr_assert(text.failed);
    text_add(&text, SLICE("more"));
    cr_assert_str_eq(text.at, "kept");
    cr_assert_eq(text.length, 4);
    text_release(&text);
    cr_assert_not(text.failed);
}

#ifdef WEIR_FAULTS
Test(text, out_of_memory_is_remembered)
{
    struct text text = { 0 };
    fault_arm(1);
    text_add(&text, SLICE("lost"));
    fault_arm(0);
    text_add(&text, SLICE("lost too"));
    cr_assert(text.failed);
    cr_assert_null(text.at);
    cr_assert_str_eq(text_slice(&text).at, "");
    text_release(&text);
}

Test(text, out_of_memory_leaves_no_piece_of_a_format)
{
    struct text text = { 0 };
    text_add(&text, SLICE("whole"));
    fault_arm(1);
    text_format(&text, "%500s", "cut");
    fault_arm(0);
    cr_assert(text.failed);
    cr_assert_str_eq(text.at, "whole");
    text_release(&text);
}
#endif

Test(text_json, quotes)
{
    expect_json(SLICE(""), "\"\"");
    expect_json(SLICE_NONE, "\"\"");
    expect_json(SLICE("plain / text"), "\"plain / text\"");
}

Test(text_json, escapes_quotes_backslashes_and_controls)
{
    expect_json(SLICE("a\"b\\c\n\r\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\"");
    expect_json(slice_of("\0", 1), "\"\\u0000\"");
}

Test(text_json, leaves_utf8_alone)
{
    expect_json(SLICE("Wehr: H\xc3\xa4user \xe2\x82\xac \xf0\x9f\x8c\x8a"), "\"Wehr: H\xc3\xa4user \xe2\x82\xac \xf0\x9f\x8c\x8a\"");
}

Test(text_json, escapes_what_yaml_would_not_print)
{
    expect_json(SLICE("\xc2\x85|\xe2\x80\xa8|\xef\xbb\xbf|\xef\xbf\xbe"), "\"\\u0085|\\u2028|\\ufeff|\\ufffe\"");
}

Test(text_json, replaces_what_is_not_utf8_byte_by_byte)
{
    expect_json(SLICE("\xff"), "\"\xef\xbf\xbd\"");
    expect_json(SLICE("a\xc3"), "\"a\xef\xbf\xbd\"");                             /* cut */
    expect_json(SLICE("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");               /* overlong */
    expect_json(SLICE("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* surrogate */
    expect_json(SLICE("\xe2\x82x"), "\"\xef\xbf\xbd\xef\xbf\xbdx\"");
}

Test(text_utf8, tells_characters_from_bytes)
{
    uint32_t character = 0;
    cr_assert_eq(text_utf8_next(SLICE("a"), &character), 1);
    cr_assert_eq(character, 'a');
    cr_assert_eq(text_utf8_next(SLICE("\xe2\x82\xac..."), &character), 3);
    cr_assert_eq(character, 0x20ac);
    cr_assert_eq(text_utf8_next(SLICE("\xf4\x8f\xbf\xbf"), &character), 4);
    cr_assert_eq(character, 0x10ffff);
    cr_assert_eq(text_utf8_next(SLICE("\xf4\x90\x80\x80"), &character), 0);
    cr_assert_eq(text_utf8_next(SLICE("\x80"), &character), 0);
    cr_assert_eq(text_utf8_next(SLICE("\xf8\x88\x80\x80\x80"), &character), 0);
}

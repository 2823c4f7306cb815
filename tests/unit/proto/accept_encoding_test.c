#include <criterion/criterion.h>

#include "proto/accept_encoding.h"

static const uint16_t ours[] = { CODING_ZSTD, CODING_BROTLI, CODING_GZIP };

static enum coding chosen(const char *first, const char *second)
{
    static struct fields fields;
    fields = (struct fields){ 0 };
    cr_assert_eq(fields_add(&fields, SLICE("Accept"), SLICE("gzip")), ERR_OK);
    if (first)
        cr_assert_eq(fields_add(&fields, SLICE("accept-encoding"), slice_of_text(first)), ERR_OK);
    if (second)
        cr_assert_eq(fields_add(&fields, SLICE("Accept-Encoding"), slice_of_text(second)), ERR_OK);
    return accept_encoding_choose(&fields, ours, ARRAY_LENGTH(ours));
}

struct wanted {
    const char *value;
    enum coding coding;
};

static void check(const struct wanted *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(chosen(rows[i].value, NULL), rows[i].coding, "%s: %d", rows[i].value, chosen(rows[i].value, NULL));
}

Test(accept_encoding, no_field_means_identity)
{
    cr_assert_eq(chosen(NULL, NULL), CODING_IDENTITY);
}

Test(accept_encoding, a_field_that_connection_names_is_none)
{
    static struct fields fields;
    fields = (struct fields){ 0 };
    cr_assert_eq(fields_add(&fields, SLICE("Accept-Encoding"), SLICE("gzip")), ERR_OK);
    cr_expect_eq(accept_encoding_choose(&fields, ours, ARRAY_LENGTH(ours)), CODING_GZIP);
    cr_expect(accept_encoding_explains(&fields, SLICE("gzip")));
    fields.list[0].flags = FIELD_HOP_BY_HOP;
    cr_expect_eq(accept_encoding_choose(&fields, ours, ARRAY_LENGTH(ours)), CODING_IDENTITY);
    cr_expect_not(accept_encoding_explains(&fields, SLICE("gzip")));
}

Test(accept_encoding, the_highest_weight_wins_then_our_order)
{
    static const struct wanted rows[] = {
        { "gzip", CODING_GZIP }, { "GZIP", CODING_GZIP }, { "x-gzip", CODING_GZIP }, { "br", CODING_BROTLI }, { "zstd", CODING_ZSTD },
        { "gzip, deflate, br, zstd", CODING_ZSTD }, { "gzip, deflate, br", CODING_BROTLI }, { "gzip;q=1.0, zstd;q=0.9", CODING_GZIP },
        { "gzip ; q=0.5 ,\tzstd;Q=0.501", CODING_ZSTD }, { "*", CODING_ZSTD }, { "*, zstd;q=0", CODING_BROTLI }, { "*, zstd;q=0, br;q=0", CODING_GZIP }, { "*;q=0.1, gzip", CODING_GZIP },
        { "gzip;q=0.001", CODING_GZIP }, { ", ,gzip,", CODING_GZIP }, { "identity;q=0, gzip", CODING_GZIP }, { "zstd;q=0., gzip", CODING_GZIP },
        { "identity;q=0.5, gzip;q=0.5", CODING_GZIP }, { "foo;q=1, gzip;q=0.2", CODING_GZIP },
    };
    check(rows, ARRAY_LENGTH(rows));
}

Test(accept_encoding, identity_where_nothing_of_ours_is_liked_better)
{
    static const struct wanted rows[] = {
        { "", CODING_IDENTITY }, { "identity", CODING_IDENTITY }, { "deflate", CODING_IDENTITY }, { "gzip;q=0", CODING_IDENTITY },
        { "gzip;q=0.000, *;q=0", CODING_IDENTITY }, { "identity, gzip;q=0.5", CODING_IDENTITY }, { "*;q=0", CODING_IDENTITY },
        { "identity;q=0", CODING_IDENTITY },
    };
    check(rows, ARRAY_LENGTH(rows));
}

Test(accept_encoding, malformed_is_not_accepting)
{
    static const char *const rows[] = { "gzip;", "gzip;q", "gzip;q=", "gzip;q=2", "gzip;q=1.001", "gzip;q=0.1234", "gzip;q=.5", "gzip;q=-1",
                                        "gzip;q=0,5", ";q=1", "gzip, br;x=1", "gzip;q=1;q=1", "gzip;q=1.0000", "gzip;q=0a" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        /* "0,5" is an element q=0 and one called 5 */
        cr_expect_eq(chosen(rows[i], NULL), CODING_IDENTITY, "%s", rows[i]);
    }
}

Test(accept_encoding, several_fields_are_one_list)
{
    cr_assert_eq(chosen("gzip;q=0.5", "zstd;q=0.6"), CODING_ZSTD);
    cr_assert_eq(chosen("gzip", "br;q=x"), CODING_IDENTITY);
}

/* The normal form ---------------------------------------------------------------------------------------------- */

static const char *normal(const char *first, const char *second)
{
    static char out[ACCEPT_ENCODING_NORMAL_BYTES + 1];
    static struct fields fields;
    struct slice form;
    fields = (struct fields){ 0 };
    if (first)
        cr_assert_eq(fields_add(&fields, SLICE("Accept-Encoding"), slice_of_text(first)), ERR_OK);
    if (second)
        cr_assert_eq(fields_add(&fields, SLICE("Accept-Encoding"), slice_of_text(second)), ERR_OK);
    enum err e = accept_encoding_normalise(&fields, out, &form);
    if (e != ERR_OK)
        return e == ERR_NONE ? "none" : "malformed";
    out[form.length] = '\0';
    return out;
}

static void becomes(const char *value, const char *form)
{
    cr_expect_str_eq(normal(value, NULL), form, "%s: %s", value, normal(value, NULL));
}

Test(accept_encoding_normal, what_browsers_send_is_one_form_each)
{
    becomes("gzip, deflate, br, zstd", "br,gzip,zstd");
    becomes("zstd,br;q=1.0, GZIP ,deflate", "br,gzip,zstd");
    becomes("gzip, deflate", "gzip");
    becomes("x-gzip", "gzip");
    cr_assert_str_eq(normal("gzip", "br"), "br,gzip");
}

Test(accept_encoding_normal, order_of_liking_stays_and_weights_go)
{
    becomes("gzip;q=0.5, br;q=0.9", "br>gzip");
    becomes("gzip;q=0.1, br;q=0.2, zstd;q=0.2", "br,zstd>gzip");
    becomes("br;q=0.5, gzip", "gzip>br");
    becomes("*", "*");
    becomes("gzip, *;q=0.3", "gzip>*");
}

Test(accept_encoding_normal, identity_counts_where_it_is_not_liked_least)
{
    becomes("identity", "");
    becomes("", "");
    becomes("gzip, identity;q=0.5", "gzip");
    becomes("gzip, identity;q=0.5, *;q=0", "gzip");
    becomes("gzip;q=0.5, identity", "identity>gzip");
    becomes("gzip, identity", "gzip,identity");
    becomes("*;q=0.5, identity;q=0.1", "*>identity");
}

Test(accept_encoding_normal, what_is_refused_counts_where_its_absence_would_not_say_it)
{
    becomes("gzip, identity;q=0", "gzip,!identity");
    becomes("gzip, *;q=0", "gzip,!identity");
    becomes("*;q=0", "!identity");
    becomes("br;q=0, gzip", "gzip");
    becomes("br;q=0, *", "*,!br");
    becomes("*;q=0.1, br;q=0.9, gzip;q=0.8, identity;q=0.7, zstd;q=0.6", "br>gzip>identity>zstd>*");
    becomes("*, br;q=0, gzip;q=0, identity;q=0, zstd;q=0", "*,!br,!gzip,!identity,!zstd");
}

Test(accept_encoding_normal, nothing_is_guessed)
{
    cr_assert_str_eq(normal(NULL, NULL), "none");
    becomes("gzip;q=2", "malformed");
    becomes("gzip;q=0, gzip", "malformed");
    becomes("gzip, x-gzip;q=0", "malformed");
    becomes("gzip, gzip", "gzip");
}

Test(accept_encoding_normal, a_coding_that_was_not_asked_for_is_not_explained)
{
    static const struct { const char *value, *coding; bool explained; } rows[] = {
        { "gzip", "gzip", true }, { "gzip", "X-GZIP", true }, { "gzip", "", true }, { "gzip", "identity", true }, { "gzip", "br", false },
        { "gzip;q=0", "gzip", false }, { "*", "zstd", true }, { "*", "*", false }, { "deflate", "deflate", false }, { "gzip, br", "gzip, br", false },
        { "gzip;q=9", "gzip", false },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct fields fields;
        fields = (struct fields){ 0 };
        cr_assert_eq(fields_add(&fields, SLICE("Accept-Encoding"), slice_of_text(rows[i].value)), ERR_OK);
        cr_expect_eq(accept_encoding_explains(&fields, slice_of_text(rows[i].coding)), rows[i].explained, "%s: %s", rows[i].value, rows[i].coding);
    }
}

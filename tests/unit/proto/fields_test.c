#include "proto/fields.h"

#include <criterion/criterion.h>
#include <ctype.h>

#include "proto/codec.h"

/* A copy on the heap, exactly as long as it is, so that the sanitizer sees a byte too far. */
static struct slice exact(const char *text, char *(*turn)(char *))
{
    size_t length = strlen(text);
    char *copy = malloc(length ? length : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, length);
    for (size_t i = 0; turn && i < length; i++)
        turn(copy + i);
    return slice_of(copy, length);
}

static char *capital(char *c)
{
    *c = (char)toupper((unsigned char)*c);
    return c;
}

Test(fields, every_row_is_known_in_any_case)
{
    for (unsigned id = 1; id < FIELD_IDS; id++) {
        struct slice name = exact(field_id_name((enum field_id)id), NULL), loud = exact(field_id_name((enum field_id)id), capital);
        cr_expect_eq(field_id_of(name), id, "%s", field_id_name((enum field_id)id));
        cr_expect_eq(field_id_of(loud), id, "%s", field_id_name((enum field_id)id));
        free((char *)(uintptr_t)name.at);
        free((char *)(uintptr_t)loud.at);
    }
}

Test(fields, near_misses_are_other_fields)
{
    static const char *const names[] = { "", "h", "hos", "hosts", "hast", "xost", "content-lengt", "content-lengthx", "content-lenght", "transfer.encoding",
                                         "x-forwarded-fox", "connectiom", "\x08ost", "te:", "tf" };
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct slice name = exact(names[i], NULL);
        cr_expect_eq(field_id_of(name), FIELD_OTHER, "%s", names[i]);
        free((char *)(uintptr_t)name.at);
    }
}

Test(fields, an_underscore_passes_for_no_hyphen)
{
    static const char *const mistakable[] = { "content_length", "Transfer_Encoding", "X_Forwarded_For", "x-forwarded_for", "X_FORWARDED-PROTO",
                                              "x_forwarded_host", "x_forwarded_port", "X_Real_Ip", "Proxy_Authorization" };
    static const char *const harmless[] = { "x_y", "x-forwarded-fo_", "xxforwardedxfor", "access_token", "user_agent", "_-_" };
    uint8_t flags;
    for (size_t i = 0; i < ARRAY_LENGTH(mistakable); i++) {
        cr_expect_eq(field_id_received(slice_of_text(mistakable[i]), &flags), FIELD_OTHER, "%s", mistakable[i]);
        cr_expect_eq(flags, FIELD_HOP_BY_HOP, "%s", mistakable[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(harmless); i++) {
        cr_expect_eq(field_id_received(slice_of_text(harmless[i]), &flags), FIELD_OTHER, "%s", harmless[i]);
        cr_expect_eq(flags, 0, "%s", harmless[i]);
    }
    cr_expect_eq(field_id_received(SLICE("X-Forwarded-For"), &flags), FIELD_X_FORWARDED_FOR);
    cr_expect_eq(flags, 0);
}

Test(fields, are_found_by_id_and_by_name)
{
    static struct fields fields;
    cr_assert_eq(fields_add(&fields, SLICE("X-One"), SLICE("1")), ERR_OK);
    cr_assert_eq(fields_add(&fields, SLICE("COOKIE"), SLICE("a")), ERR_OK);
    cr_assert_eq(fields_add(&fields, SLICE("cookie"), SLICE("b")), ERR_OK);
    cr_assert(slice_equal(field_value(fields_find(&fields, FIELD_COOKIE)), SLICE("a")));
    cr_assert(slice_equal(field_value(fields_find_name(&fields, SLICE("x-one"))), SLICE("1")));
    cr_assert(slice_equal(field_value(fields_find_name(&fields, SLICE("Cookie"))), SLICE("a")));
    cr_assert_null(fields_find(&fields, FIELD_HOST));
    cr_assert_null(fields_find_name(&fields, SLICE("x-on")));
}

Test(fields, are_added_up_to_their_cap)
{
    static struct fields fields;
    for (unsigned i = 0; i < FIELDS_CAP; i++)
        cr_assert_eq(fields_add(&fields, SLICE("X"), SLICE("y")), ERR_OK);
    cr_assert_eq(fields_add(&fields, SLICE("X"), SLICE("y")), ERR_CAP);
    cr_assert_eq(fields.count, FIELDS_CAP);
}

/* Fields of one connection ---------------------------------------------------------------------------------------- */

static struct fields marked;

static enum codec_fault mark(const char *connection)
{
    marked.count = 0;
    marked.present = 0;
    cr_assert_eq(fields_add(&marked, SLICE("X-Hop"), SLICE("1")), ERR_OK);
    cr_assert_eq(fields_add(&marked, SLICE("x-hop"), SLICE("2")), ERR_OK);
    cr_assert_eq(fields_add(&marked, SLICE("X-Hops"), SLICE("3")), ERR_OK);
    cr_assert_eq(fields_add(&marked, SLICE("Range"), SLICE("4")), ERR_OK);
    cr_assert_eq(fields_add(&marked, SLICE("Keep-Alive"), SLICE("5")), ERR_OK);
    cr_assert_eq(fields_add(&marked, SLICE("Proxy"), SLICE("6")), ERR_OK);
    cr_assert_eq(fields_add(&marked, SLICE("Connection"), slice_of_text(connection)), ERR_OK);
    return codec_mark_hop_by_hop(&marked);
}

static bool stays(unsigned i)
{
    return marked.list[i].flags & FIELD_HOP_BY_HOP;
}

Test(codec, connection_names_what_stays_here)
{
    cr_assert_eq(mark("close, X-HOP , ,range"), FAULT_NONE);
    cr_assert(stays(0) && stays(1) && stays(3));
    cr_assert_not(stays(2));
}

Test(codec, some_fields_stay_here_whatever_connection_says)
{
    cr_assert_eq(mark("close"), FAULT_NONE);
    cr_assert(stays(4) && stays(5) && stays(6));
    cr_assert_not(stays(0) || stays(2) || stays(3));
}

Test(codec, connection_may_not_take_meaning_or_sender_away)
{
    static const char *const bad[] = { "host", "Content-Length", "close,transfer-encoding", "connection", "trailer", "cookie", "set-cookie", "authorization",
                                       "cache-control", "expect", "via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip",
                                       "a b", "a:b", "\"a\"", "\"a, host\"", "a\xff" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_eq(mark(bad[i]), FAULT_CONNECTION, "%s", bad[i]);
}

Test(codec, connection_has_few_options)
{
    cr_assert_eq(mark("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"), FAULT_NONE);
    cr_assert_eq(mark("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"), FAULT_CONNECTION);
}

#include "proto/basic_auth.h"

#include <criterion/criterion.h>
#include <stdio.h>

static char room[BASIC_AUTH_BYTES];
static struct slice user, password;

static enum err ask(const char *value)
{
    user = password = SLICE_NONE;
    return basic_auth_read(slice_of_text(value), room, &user, &password);
}

Test(basic_auth, reads_rfc_7617_2)
{
    cr_assert_eq(ask("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ERR_OK);
    cr_expect(slice_equal(user, SLICE("Aladdin")) && slice_equal(password, SLICE("open sesame")));
    cr_assert_eq(ask("Basic dGVzdDoxMjPCow=="), ERR_OK); /* 2.1: UTF-8 */
    cr_expect(slice_equal(user, SLICE("test")) && slice_equal(password, SLICE("123\xc2\xa3")));
}

Test(basic_auth, the_scheme_has_no_case_and_some_spaces)
{
    cr_expect_eq(ask("basic YTpi"), ERR_OK);
    cr_expect_eq(ask("BASIC   YTpi"), ERR_OK);
    cr_expect_eq(ask(" Basic YTpi "), ERR_OK);
    cr_expect(slice_equal(user, SLICE("a")) && slice_equal(password, SLICE("b")));
}

Test(basic_auth, other_schemes_are_none)
{
    static const char *const rows[] = { "", "Basic", "Basic\tYTpi", "BasicYTpi", "Bearer YTpi", "Digest username=\"a\"", "Basi YTpi", "Basics YTpi" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        cr_expect_eq(ask(rows[i]), ERR_NONE, "%s", rows[i]);
}

Test(basic_auth, the_first_colon_splits)
{
    cr_assert_eq(ask("Basic YTpiOmM="), ERR_OK); /* a:b:c */
    cr_expect(slice_equal(user, SLICE("a")) && slice_equal(password, SLICE("b:c")));
    cr_assert_eq(ask("Basic Og=="), ERR_OK); /* : */
    cr_expect(user.length == 0 && password.length == 0);
    cr_assert_eq(ask("Basic OmI="), ERR_OK); /* :b */
    cr_expect(user.length == 0 && slice_equal(password, SLICE("b")));
}

Test(basic_auth, what_is_malformed)
{
    static const char *const rows[] = {
        "Basic YQ==",          /* a */
        "Basic YTpi=", "Basic YTp", "Basic YTpj====", "Basic YTo_", "Basic YT pi", "Basic YTpi, Basic YTpi", "Basic YTpi,", "Basic =", "Basic \"YTpi\"",
        "Basic YQo6Yg==",      /* a\n:b */
        "Basic YTpiDQo=",      /* a:b\r\n */
        "Basic YTpiAA==",      /* a:b\0 */
        "Basic YTp/",          /* a:\x7f */
        "Basic YQk6Yg==",      /* a\t:b */
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        memset(room, 'x', sizeof room);
        cr_expect_eq(ask(rows[i]), ERR_SYNTAX, "%s", rows[i]);
        cr_expect(user.at == NULL && password.at == NULL);
        cr_expect(room[0] == 0 && memcmp(room, room + 1, sizeof room - 1) == 0, "nothing stays: %s", rows[i]);
    }
}

/* "aaa...:" and so on: groups of three bytes, so that no padding is wanted. */
static enum err ask_lengths(size_t name, size_t secret)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char plain[1024], value[2048] = "Basic ";
    size_t length = name + 1 + secret, at = 6;
    cr_assert(length < sizeof plain - 3);
    memset(plain, 'a', sizeof plain);
    plain[name] = ':';
    for (size_t i = 0; i < length; i += 3) {
        unsigned bits = (unsigned)plain[i] << 16 | (i + 1 < length ? (unsigned)plain[i + 1] << 8 : 0) | (i + 2 < length ? (unsigned)plain[i + 2] : 0);
        for (unsigned j = 0; j < 4; j++)
            value[at++] = i + j > length ? '=' : letters[bits >> (18 - 6 * j) & 63];
    }
    value[at] = '\0';
    return ask(value);
}

Test(basic_auth, has_bounds)
{
    cr_expect_eq(ask_lengths(BASIC_AUTH_USER_MAX, BASIC_AUTH_PASSWORD_MAX), ERR_OK);
    cr_expect(user.length == BASIC_AUTH_USER_MAX && password.length == BASIC_AUTH_PASSWORD_MAX);
    cr_expect_eq(ask_lengths(BASIC_AUTH_USER_MAX + 1, 1), ERR_CAP);
    cr_expect_eq(ask_lengths(1, BASIC_AUTH_PASSWORD_MAX + 1), ERR_CAP);
    cr_expect_eq(ask_lengths(300, 600), ERR_CAP);
}

#include "proto/http_date.h"

#include <criterion/criterion.h>

#include "tests/unit/seed.h"

#define NOW 1735689600 /* 2025-01-01 */
#define UNREAD INT64_MIN

static int64_t read_at(const char *text, int64_t now_s)
{
    int64_t seconds = UNREAD;
    return http_date_parse(slice_of_text(text), now_s, &seconds) == ERR_OK ? seconds : UNREAD;
}

static int64_t read_date(const char *text)
{
    return read_at(text, NOW);
}

Test(http_date, all_three_forms_are_read)
{
    cr_expect_eq(read_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    cr_expect_eq(read_date("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
    cr_expect_eq(read_date("Sun Nov  6 08:49:37 1994"), 784111777);
    cr_expect_eq(read_date("Sun Nov 16 08:49:37 1994"), 784111777 + 10 * 86400);
    cr_expect_eq(read_date("Wednesday, 06-Nov-94 08:49:37 GMT"), 784111777);
}

Test(http_date, letters_have_no_case)
{
    cr_expect_eq(read_date("sUN, 06 nOV 1994 08:49:37 gmt"), 784111777);
    cr_expect_eq(read_date("SUNDAY, 06-NOV-94 08:49:37 GMT"), 784111777);
}

Test(http_date, ends_of_months_and_centuries)
{
    cr_expect_eq(read_date("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    cr_expect_eq(read_date("Wed, 31 Dec 1969 23:59:59 GMT"), -1);
    cr_expect_eq(read_date("Tue, 29 Feb 2000 00:00:00 GMT"), 951782400);
    cr_expect_eq(read_date("Thu, 29 Feb 2024 23:59:59 GMT"), 1709251199);
    cr_expect_eq(read_date("Fri, 31 Dec 9999 23:59:59 GMT"), 253402300799);
    cr_expect_eq(read_date("Mon, 01 Jan 0001 00:00:00 GMT"), -62135596800);
}

Test(http_date, a_leap_second_is_never_later_than_it_was)
{
    cr_expect_eq(read_date("Sat, 31 Dec 2016 23:59:60 GMT"), read_date("Sat, 31 Dec 2016 23:59:59 GMT"));
}

Test(http_date, two_digits_are_at_most_fifty_years_ahead)
{
    cr_expect_eq(read_date("Sunday, 01-Jan-75 00:00:00 GMT"), read_date("Sun, 01 Jan 2075 00:00:00 GMT"));
    cr_expect_eq(read_date("Sunday, 01-Jan-76 00:00:00 GMT"), read_date("Sun, 01 Jan 1976 00:00:00 GMT"));
    cr_expect_eq(read_at("Sunday, 01-Jan-05 00:00:00 GMT", 3124224000 /* 2069 */),
                 read_date("Sun, 01 Jan 2105 00:00:00 GMT"));
    cr_expect_eq(read_at("Sunday, 01-Jan-05 00:00:00 GMT", -5), read_date("Sun, 01 Jan 2005 00:00:00 GMT"));
}

Test(http_date, what_is_no_date_is_refused)
{
    static const char *const rows[] = {
        "",
        "0",
        "-1",
        "now",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994  08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunda, 06-Nov-94 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov   08:49:37 1994",
        "Sunday",
        "Sun, 0x Nov 1994 08:49:37 GMT",
        "784111777",
        "1994-11-06T08:49:37Z",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "Thu, 29 Feb 1900 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "JanFebMarAprMayJun",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        cr_expect_eq(read_date(rows[i]), UNREAD, "%s", rows[i]);
}

Test(http_date, what_is_written_reads_back)
{
    seed_take("http_date");
    for (unsigned i = 0; i < 20000; i++) {
        char text[HTTP_DATE_BYTES];
        int64_t seconds = (int64_t)random_below(253402300800), again = UNREAD;
        http_date(text, seconds);
        cr_assert_eq(http_date_parse(slice_of(text, sizeof text), NOW, &again), ERR_OK);
        cr_assert_eq(again, seconds, "%.29s", text);
    }
}

/*
 * Between days and civil dates by Howard Hinnant's public-domain algorithms: years begin in March, so that a leap day is a year's last.
 * Reading goes by a pattern for each form, in which a letter stands for what is expected there: so the forms can be seen, and nothing is
 * skipped or guessed.
 */
#include "proto/http_date.h"

#define DAY_SECONDS 86400

static const char weekdays[] = "ThuFriSatSunMonTueWed", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct civil {
    int64_t year, month, day;
};

static struct civil civil_of_days(int64_t days)
{
    int64_t z = days + 719468, era = z / 146097, day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t mp = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * mp + 2) / 5 + 1;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    return (struct civil){ year_of_era + era * 400 + (month <= 2), month, day };
}

/* Of years from 1 on. */
static int64_t days_of_civil(struct civil date)
{
    int64_t year = date.year - (date.month <= 2), era = year / 400, year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void put_two(char *at, int64_t value)
{
    at[0] = (char)('0' + value / 10 % 10);
    at[1] = (char)('0' + value % 10);
}

void http_date(char out[HTTP_DATE_BYTES], int64_t unix_seconds)
{
    int64_t seconds = unix_seconds < 0 ? 0 : unix_seconds, days = seconds / DAY_SECONDS, left = seconds % DAY_SECONDS;
    struct civil date = civil_of_days(days);
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_BYTES);
    memcpy(out, weekdays + 3 * (days % 7), 3);
    put_two(out + 5, date.day);
    memcpy(out + 8, months + 3 * (date.month - 1), 3);
    put_two(out + 12, date.year / 100);
    put_two(out + 14, date.year % 100);
    put_two(out + 17, left / 3600);
    put_two(out + 20, left / 60 % 60);
    put_two(out + 23, left % 60);
}

/* Reading ------------------------------------------------------------------------------------------------------ */

struct parts {
    int64_t year, month, day, hour, minute, second;
};

static char lower(char c)
{
    return (unsigned char)(c - 'A') < 26 ? (char)(c | 0x20) : c;
}

/* Which of the words of three letters begins there, from 0; -1: none. */
static int word_at(const char *words, const char *at)
{
    for (int i = 0; words[3 * i]; i++)
        if (slice_equal_nocase(slice_of(words + 3 * i, 3), slice_of(at, 3)))
            return i;
    return -1;
}

static int64_t *part_of(struct parts *parts, char letter)
{
    switch (letter) {
    case 'Y': return &parts->year;
    case 'D': return &parts->day;
    case 'h': return &parts->hour;
    case 'm': return &parts->minute;
    case 's': return &parts->second;
    default: return NULL;
    }
}

/* www: a weekday's first three letters. nnn: a month's. Y D h m s: a digit of that part. _: a blank, or a digit of the day. Others: themselves. */
static bool matches(const char *pattern, struct slice text, struct parts *parts)
{
    if (text.length != strlen(pattern))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        char expected = pattern[i], c = text.at[i];
        int64_t *part = part_of(parts, expected == '_' && c != ' ' ? 'D' : expected);
        if (part) {
            if (c < '0' || c > '9')
                return false;
            *part = *part * 10 + (c - '0');
        } else if (expected == 'w' || expected == 'n') {
            int word = word_at(expected == 'w' ? weekdays : months, text.at + i);
            if (word < 0)
                return false;
            if (expected == 'n')
                parts->month = word + 1;
            i += 2;
        } else if (expected != '_' && lower(c) != lower(expected))
            return false;
    }
    return true;
}

/* A year of two digits is the one at most 50 years ahead, and else the last one that ended so. */
static int64_t near_year(int64_t two_digits, int64_t now_s)
{
    int64_t now = civil_of_days((now_s < 0 ? 0 : now_s) / DAY_SECONDS).year;
    int64_t year = now - now % 100 + two_digits;
    if (year > now + 50)
        return year - 100;
    return year + 100 <= now + 50 ? year + 100 : year;
}

/* rfc850-date: the whole weekday stands before the comma. */
static bool matches_rfc850(struct slice text, int64_t now_s, struct parts *parts)
{
    static const struct slice names[] = { SLICE("Monday"), SLICE("Tuesday"),  SLICE("Wednesday"), SLICE("Thursday"),
                                          SLICE("Friday"), SLICE("Saturday"), SLICE("Sunday") };
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        size_t length = names[i].length;
        if (text.length <= length || !slice_equal_nocase(slice_of(text.at, length), names[i]))
            continue;
        if (!matches(", DD-nnn-YY hh:mm:ss GMT", slice_of(text.at + length, text.length - length), parts))
            return false;
        parts->year = near_year(parts->year, now_s);
        return true;
    }
    return false;
}

static bool exists(const struct parts *parts)
{
    static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = parts->year % 4 == 0 && (parts->year % 100 != 0 || parts->year % 400 == 0);
    int64_t days = month_days[parts->month - 1] + (parts->month == 2 && leap);
    return parts->year >= 1 && parts->day >= 1 && parts->day <= days && parts->hour < 24 && parts->minute < 60 &&
           parts->second <= 60;
}

enum err http_date_parse(struct slice text, int64_t now_s, int64_t *seconds)
{
    struct parts imf = { 0 }, rfc850 = { 0 }, asctime = { 0 }, *parts = NULL;
    if (matches("www, DD nnn YYYY hh:mm:ss GMT", text, &imf))
        parts = &imf;
    else if (matches_rfc850(text, now_s, &rfc850))
        parts = &rfc850;
    else if (matches("www nnn _D hh:mm:ss YYYY", text, &asctime))
        parts = &asctime;
    if (!parts)
        return ERR_SYNTAX;
    if (!exists(parts))
        return ERR_RANGE;
    int64_t days = days_of_civil((struct civil){ parts->year, parts->month, parts->day });
    int64_t second = parts->second == 60 ? 59 : parts->second;
    *seconds = days * DAY_SECONDS + parts->hour * 3600 + parts->minute * 60 + second;
    return ERR_OK;
}

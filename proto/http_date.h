/*
 * http_date: dates as HTTP writes and reads them (RFC 9110 5.6.7), as seconds since 1970, UTC.
 */
#ifndef WEIR_HTTP_DATE_H
#define WEIR_HTTP_DATE_H

#include "engine/base/slice.h"

/* Writes the 29 bytes of an IMF-fixdate. What is before 1970 is written as 1970. */
#define HTTP_DATE_BYTES 29u
void http_date(char out[HTTP_DATE_BYTES], int64_t unix_seconds);

/*
 * Reads one of the three forms: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" and "Sun Nov  6 08:49:37 1994". Letters
 * compare without case and no other zone than GMT is taken (RFC 9111 4.2); all else is to the letter: ERR_SYNTAX, and ERR_RANGE for a day or an
 * hour that there is none of; *seconds is untouched then. The day of the week must be one, but need not be the right one: nobody checks it, so
 * there are origins that never noticed. A leap second is the second before it. now_s: what two digits of a year are near to, at most 50 years ahead.
 */
enum err must_use http_date_parse(struct slice text, int64_t now_s, int64_t *seconds);

#endif

#include "proto/tls_der.h"

#include "engine/base/check.h"

#define STATUS_REQUEST 5 /* the number of the TLS extension */

/* Elements ------------------------------------------------------------------------------------------------------ */

/* Lengths of up to three bytes; DER has one way to write each (X.690 10.1). */
static bool length_of(const unsigned char *at, size_t room, size_t *length, size_t *head)
{
    size_t bytes = at[1] & 0x7fu, value = 0;
    *head = 2;
    *length = at[1];
    if (at[1] < 0x80)
        return true;
    if (bytes == 0 || bytes > 3 || room < 2 + bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[2 + i];
    *head = 2 + bytes;
    *length = value;
    return value >= 0x80 && at[2] != 0;
}

bool tls_der_any(struct slice *rest, unsigned char *tag, struct slice *content)
{
    const unsigned char *at = (const unsigned char *)rest->at;
    size_t length, head;
    if (rest->length < 2 || (at[0] & 0x1f) == 0x1f || !length_of(at, rest->length, &length, &head) || length > rest->length - head)
        return false;
    *tag = at[0];
    *content = slice_of(rest->at + head, length);
    *rest = slice_of(rest->at + head + length, rest->length - head - length);
    return true;
}

bool tls_der_has(struct slice rest, unsigned char tag)
{
    return rest.length && (unsigned char)rest.at[0] == tag;
}

bool tls_der_next(struct slice *rest, unsigned char tag, struct slice *content)
{
    unsigned char found;
    return tls_der_has(*rest, tag) && tls_der_any(rest, &found, content);
}

bool tls_der_whole(struct slice *rest, unsigned char tag, struct slice *element)
{
    const char *from = rest->at;
    struct slice content;
    if (!tls_der_next(rest, tag, &content))
        return false;
    *element = slice_of(from, (size_t)(content.at + content.length - from));
    return true;
}

/* Dates --------------------------------------------------------------------------------------------------------- */

static bool two_digits(const char *at, unsigned *value)
{
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
        return false;
    *value = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
    return true;
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar; years count from March, so that the leap day comes last. */
static int64_t days_of(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (int64_t)(month + (month > 2 ? -3u : 9u)) + 2) / 5 + (int64_t)day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* YYMMDDHHMMSSZ, or YYYYMMDDHHMMSSZ. */
bool tls_der_date(struct slice *rest, int64_t *seconds)
{
    unsigned char tag;
    struct slice text;
    unsigned century = 0, part[6];
    if (!tls_der_any(rest, &tag, &text) || (tag != DER_UTC_TIME && tag != DER_GENERALIZED_TIME))
        return false;
    bool general = tag == DER_GENERALIZED_TIME;
    if (text.length < (general ? 15 : 13) || (general && !two_digits(text.at, &century)))
        return false;
    const char *at = text.at + (general ? 2 : 0);
    for (size_t i = 0; i < ARRAY_LENGTH(part); i++)
        if (!two_digits(at + 2 * i, &part[i]))
            return false;
    unsigned year = part[0] + (general ? century * 100 : part[0] >= 50 ? 1900 : 2000);
    if (part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31)
        return false;
    *seconds = days_of(year, part[1], part[2]) * 86400 + part[3] * 3600 + part[4] * 60 + part[5];
    return true;
}

/* Certificates (RFC 5280 4.1) ----------------------------------------------------------------------------------- */

bool tls_certificate_take_apart(struct slice der, struct tls_certificate_parts *parts)
{
    struct slice certificate, body, skipped, key, bits;
    *parts = (struct tls_certificate_parts){ 0 };
    if (!tls_der_next(&der, DER_SEQUENCE, &certificate) || !tls_der_next(&certificate, DER_SEQUENCE, &body))
        return false;
    (void)tls_der_next(&body, DER_CONTEXT(0), &skipped); /* version */
    if (!tls_der_next(&body, DER_INTEGER, &parts->serial) || !tls_der_next(&body, DER_SEQUENCE, &skipped) /* signature */ ||
        !tls_der_whole(&body, DER_SEQUENCE, &parts->issuer) || !tls_der_next(&body, DER_SEQUENCE, &skipped) /* validity */ ||
        !tls_der_whole(&body, DER_SEQUENCE, &parts->subject) || !tls_der_whole(&body, DER_SEQUENCE, &parts->key_info))
        return false;
    struct slice info = parts->key_info;
    if (!tls_der_next(&info, DER_SEQUENCE, &key) || !tls_der_next(&key, DER_SEQUENCE, &skipped) || !tls_der_next(&key, DER_BIT_STRING, &bits) ||
        bits.length == 0)
        return false;
    parts->key_bits = slice_of(bits.at + 1, bits.length - 1); /* the first byte counts unused bits */
    unsigned char tag = 0;
    while (tag != DER_CONTEXT(3) && tls_der_any(&body, &tag, &skipped))
        ;
    if (tag == DER_CONTEXT(3))
        (void)tls_der_next(&skipped, DER_SEQUENCE, &parts->extensions);
    return true;
}

/* TLSFeature ::= SEQUENCE OF INTEGER */
static bool asks_for_status(struct slice value)
{
    struct slice features, number;
    if (!tls_der_next(&value, DER_SEQUENCE, &features))
        return false;
    while (tls_der_next(&features, DER_INTEGER, &number))
        if (number.length == 1 && number.at[0] == STATUS_REQUEST)
            return true;
    return false;
}

bool tls_certificate_must_staple(const struct tls_certificate_parts *parts)
{
    static const char tls_feature[] = "\x2b\x06\x01\x05\x05\x07\x01\x18"; /* 1.3.6.1.5.5.7.1.24 */
    struct slice rest = parts->extensions, extension, name, value;
    while (tls_der_next(&rest, DER_SEQUENCE, &extension)) {
        if (!tls_der_next(&extension, DER_OID, &name) || !slice_equal(name, slice_of(tls_feature, sizeof tls_feature - 1)))
            continue;
        (void)tls_der_next(&extension, DER_BOOLEAN, &value); /* critical */
        return tls_der_next(&extension, DER_OCTET_STRING, &value) && asks_for_status(value);
    }
    return false;
}

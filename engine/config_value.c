#include "engine/config_value.h"

#include <stdio.h>

#include "proto/uri.h"

#define NAME_BYTES_MAX 64u
#define FIELD_VALUE_BYTES_MAX 4096u
#define BODY_BYTES_MAX (64u * 1024u)
#define SOCKET_PATH_BYTES_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

/* Numbers with units ---------------------------------------------------------------------------------------------- */

struct unit {
    struct slice word;
    uint64_t factor;
    bool canonical; /* written as well as read; from large to small */
};

static const struct unit millisecond_units[] = {
    { SLICE("d"), 86400000, true }, { SLICE("h"), 3600000, true }, { SLICE("m"), 60000, true },
    { SLICE("s"), 1000, true },     { SLICE("ms"), 1, true },
};
static const struct unit second_units[] = {
    { SLICE("d"), 86400, true }, { SLICE("h"), 3600, true }, { SLICE("m"), 60, true }, { SLICE("s"), 1, true },
};
static const struct unit microsecond_units[] = { { SLICE("us"), 1, true } };
static const struct unit percent_units[] = { { SLICE("%"), 1, true } };
static const struct unit size_units[] = {
    { SLICE("TiB"), 1ull << 40, true },      { SLICE("GiB"), 1ull << 30, true }, { SLICE("MiB"), 1ull << 20, true },
    { SLICE("KiB"), 1ull << 10, true },      { SLICE("TB"), 1000000000000, true }, { SLICE("GB"), 1000000000, true },
    { SLICE("MB"), 1000000, true },          { SLICE("kB"), 1000, true },        { SLICE("KB"), 1000, false },
    { SLICE("B"), 1, true },
};

static size_t digits_at(struct slice text)
{
    size_t count = 0;
    while (count < text.length && text.at[count] >= '0' && text.at[count] <= '9')
        count++;
    return count;
}

struct unit_complaints {
    const char *shape, *unit_missing, *large;
};

static const char *read_units(struct slice text, const struct unit *units, size_t count, const struct unit_complaints *complaints,
                              uint64_t *value)
{
    size_t digits = digits_at(text);
    uint64_t number;
    if (digits == 0)
        return complaints->shape;
    if (slice_to_u64(slice_of(text.at, digits), &number) != ERR_OK)
        return complaints->large;
    struct slice word = slice_of(text.at + digits, text.length - digits);
    while (word.length && word.at[0] == ' ')
        word = slice_of(word.at + 1, word.length - 1);
    if (word.length == 0)
        return complaints->unit_missing;
    for (size_t i = 0; i < count; i++) {
        if (!slice_equal(word, units[i].word))
            continue;
        if (number > UINT64_MAX / units[i].factor)
            return complaints->large;
        *value = number * units[i].factor;
        return NULL;
    }
    return complaints->shape;
}

static void write_units(uint64_t value, const struct unit *units, size_t count, char out[VALUE_TEXT_BYTES])
{
    size_t i = value ? 0 : count - 1;
    while (i < count - 1 && (!units[i].canonical || value % units[i].factor))
        i++;
    if (value == 0 && units == millisecond_units)
        i = count - 2; /* "0s" */
    snprintf(out, VALUE_TEXT_BYTES, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].word.at);
}

static const struct unit_complaints duration_complaints = {
    "a duration is a whole number and a unit: 250ms, 5s, 1m, 1h, 2d",
    "the unit is missing: ms, s, m, h or d",
    "the number is too large",
};

const char *value_read_milliseconds(struct slice text, uint64_t *value)
{
    return read_units(text, millisecond_units, ARRAY_LENGTH(millisecond_units), &duration_complaints, value);
}

void value_write_milliseconds(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    write_units(value, millisecond_units, ARRAY_LENGTH(millisecond_units), out);
}

const char *value_read_seconds(struct slice text, uint64_t *value)
{
    static const struct unit_complaints complaints = {
        "this duration is a whole number of seconds, minutes, hours or days: 5s, 1m, 1h, 2d",
        "the unit is missing: s, m, h or d",
        "the number is too large",
    };
    return read_units(text, second_units, ARRAY_LENGTH(second_units), &complaints, value);
}

void value_write_seconds(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    write_units(value, second_units, ARRAY_LENGTH(second_units), out);
}

const char *value_read_microseconds(struct slice text, uint64_t *value)
{
    static const struct unit_complaints complaints = {
        "this duration is a whole number of microseconds: 20us", "the unit is missing: us", "the number is too large"
    };
    return read_units(text, microsecond_units, ARRAY_LENGTH(microsecond_units), &complaints, value);
}

void value_write_microseconds(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    write_units(value, microsecond_units, ARRAY_LENGTH(microsecond_units), out);
}

const char *value_read_size(struct slice text, uint64_t *value)
{
    static const struct unit_complaints complaints = {
        "a size is a whole number and a unit: 512B, 64KiB, 1MiB, 10MB",
        "the unit is missing: B, KiB, MiB, GiB, kB, MB or GB",
        "the number is too large",
    };
    return read_units(text, size_units, ARRAY_LENGTH(size_units), &complaints, value);
}

void value_write_size(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    write_units(value, size_units, ARRAY_LENGTH(size_units), out);
}

const char *value_read_percent(struct slice text, uint64_t *value)
{
    static const struct unit_complaints complaints = {
        "a share is a whole number and '%': 20%", "the '%' is missing: 20%", "the number is too large"
    };
    return read_units(text, percent_units, ARRAY_LENGTH(percent_units), &complaints, value);
}

void value_write_percent(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    write_units(value, percent_units, ARRAY_LENGTH(percent_units), out);
}

/* Plain numbers and flags ----------------------------------------------------------------------------------------- */

const char *value_read_count(struct slice text, uint64_t *value)
{
    switch (slice_to_u64(text, value)) {
    case ERR_OK: return NULL;
    case ERR_RANGE: return "the number is too large";
    default: return "this is a whole number, without a unit";
    }
}

void value_write_count(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    snprintf(out, VALUE_TEXT_BYTES, "%llu", (unsigned long long)value);
}

const char *value_read_hundredths(struct slice text, uint64_t *value)
{
    static const char *const complaint = "this is a number with at most two decimals: 2, 1.9, 0.25";
    size_t digits = digits_at(text), decimals = 0;
    uint64_t whole = 0, part = 0;
    if (digits == 0 || digits > 9 || slice_to_u64(slice_of(text.at, digits), &whole) != ERR_OK)
        return digits > 9 ? "the number is too large" : complaint;
    if (digits < text.length) {
        struct slice rest = slice_of(text.at + digits + 1, text.length - digits - 1);
        decimals = digits_at(rest);
        if (text.at[digits] != '.' || decimals == 0 || decimals > 2 || decimals != rest.length || slice_to_u64(rest, &part) != ERR_OK)
            return complaint;
    }
    *value = whole * 100 + (decimals == 1 ? part * 10 : part);
    return NULL;
}

void value_write_hundredths(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    if (value % 10)
        snprintf(out, VALUE_TEXT_BYTES, "%llu.%02llu", (unsigned long long)(value / 100), (unsigned long long)(value % 100));
    else
        snprintf(out, VALUE_TEXT_BYTES, "%llu.%llu", (unsigned long long)(value / 100), (unsigned long long)(value % 100 / 10));
}

const char *value_read_mode(struct slice text, uint64_t *value)
{
    static const char *const complaint = "a mode is three octal digits with a zero before them: 0660";
    uint64_t mode = 0;
    if (text.length != 4 || text.at[0] != '0')
        return complaint;
    for (size_t i = 1; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '7')
            return complaint;
        mode = mode << 3 | (uint64_t)(text.at[i] - '0');
    }
    *value = mode;
    return NULL;
}

void value_write_mode(uint64_t value, char out[VALUE_TEXT_BYTES])
{
    snprintf(out, VALUE_TEXT_BYTES, "%04llo", (unsigned long long)value);
}

const char *value_read_flag(struct slice text, bool *value)
{
    static const char *const yes[] = { "true", "yes", "on" };
    static const char *const no[] = { "false", "no", "off" };
    for (size_t i = 0; i < ARRAY_LENGTH(yes); i++) {
        if (slice_equal(text, slice_of_text(yes[i])) || slice_equal(text, slice_of_text(no[i]))) {
            *value = slice_equal(text, slice_of_text(yes[i]));
            return NULL;
        }
    }
    return "this is true or false";
}

const char *value_read_status_range(struct slice text, uint16_t *first, uint16_t *last)
{
    static const char *const complaint = "this is a status from 200 to 599, or two with a hyphen: 200-399";
    uint64_t low, high;
    bool range = text.length == 7 && text.at[3] == '-';
    if (text.length != 3 && !range)
        return complaint;
    if (slice_to_u64(slice_of(text.at, 3), &low) != ERR_OK ||
        slice_to_u64(slice_of(text.at + (range ? 4 : 0), 3), &high) != ERR_OK)
        return complaint;
    if (low < 200 || high > 599)
        return complaint;
    if (low > high)
        return "the first status is above the last";
    *first = (uint16_t)low;
    *last = (uint16_t)high;
    return NULL;
}

void value_write_status_range(uint16_t first, uint16_t last, char out[VALUE_TEXT_BYTES])
{
    if (first == last)
        snprintf(out, VALUE_TEXT_BYTES, "%u", first);
    else
        snprintf(out, VALUE_TEXT_BYTES, "%u-%u", first, last);
}

/* Texts ----------------------------------------------------------------------------------------------------------- */

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_in(struct slice text, const char *others)
{
    for (size_t i = 0; i < text.length; i++) {
        if (!is_alphanumeric(text.at[i]) && (text.at[i] == '\0' || !strchr(others, text.at[i])))
            return false;
    }
    return true;
}

/* RFC 9110 5.6.2. */
static bool is_token(struct slice text)
{
    return text.length > 0 && all_in(text, "!#$%&'*+-.^_`|~");
}

static bool is_printable_ascii(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
            return false;
    }
    return true;
}

const char *value_check_name(struct slice text)
{
    if (text.length == 0 || text.length > NAME_BYTES_MAX || !is_alphanumeric(text.at[0]) || !all_in(text, "-_."))
        return "a name is made of letters, digits, '-', '_' and '.', begins with a letter or digit and has at most 64";
    return NULL;
}

const char *value_check_field_name(struct slice text)
{
    if (!is_token(text) || text.length > 256)
        return "a field name is made of letters, digits and '-' (RFC 9110, token)";
    return NULL;
}

/* obs-text (bytes from 0x80) is let through: RFC 9110 5.5 discourages it, and people's names have it. */
const char *value_check_field_value(struct slice text)
{
    if (text.length > FIELD_VALUE_BYTES_MAX)
        return "a field value may have at most 4096 bytes";
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return "a field value may not have control characters or line breaks";
    }
    if (slice_trim(text).length != text.length)
        return "a field value may not begin or end with a space";
    return NULL;
}

const char *value_check_method(struct slice text)
{
    if (!is_token(text) || text.length > 32)
        return "a method is a word such as GET or POST (RFC 9110, token)";
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] >= 'a' && text.at[i] <= 'z')
            return "methods are told apart by case: write it in capitals";
    }
    return NULL;
}

const char *value_check_pseudonym(struct slice text)
{
    if (text.length > 255 || !is_token(text))
        return "a name for Via is made of letters, digits, '-', '_' and '.' (RFC 9110, token)";
    return NULL;
}

const char *value_check_authority(struct slice text)
{
    struct slice host;
    uint16_t port;
    if (text.length == 0 || text.length > 255 || !is_printable_ascii(text) || uri_authority_split(text, &host, &port) != ERR_OK)
        return "this is a host or host:port, as in a Host field";
    return NULL;
}

const char *value_check_media_type(struct slice text)
{
    if (value_check_field_value(text) || !memchr(text.at, '/', text.length) || text.at[0] == '/')
        return "a media type looks like text/plain or application/json";
    return NULL;
}

const char *value_check_media_pattern(struct slice text)
{
    if (value_check_media_type(text) || text.length > 127 || memchr(text.at, ';', text.length) || memchr(text.at, ' ', text.length))
        return "it looks like text/*, application/json or application/*+xml, without parameters";
    return NULL;
}

const char *value_check_name_pattern(struct slice text)
{
    if (text.length == 0 || text.length > 128 || !is_printable_ascii(text) || memchr(text.at, '=', text.length) ||
        memchr(text.at, '&', text.length) || memchr(text.at, ';', text.length) || memchr(text.at, ',', text.length))
        return "it is a name, * being any run and ? any one character: utm_*; without spaces, '=', '&', ';' and ','";
    return NULL;
}

const char *value_check_tag(struct slice text)
{
    if (text.length == 0 || text.length > 128 || !is_printable_ascii(text) || memchr(text.at, ',', text.length))
        return "a tag has at most 128 characters, none of them a space or a comma";
    return NULL;
}

/* RFC 9110 7.8: protocol-name ["/" protocol-version]. */
const char *value_check_protocol(struct slice text)
{
    const char *slash = text.length ? memchr(text.at, '/', text.length) : NULL;
    struct slice name = slash ? slice_of(text.at, (size_t)(slash - text.at)) : text;
    struct slice version = slash ? slice_of(slash + 1, text.length - name.length - 1) : name;
    if (text.length > 64 || !field_is_token(name) || !field_is_token(version))
        return "a protocol is written as in Upgrade: websocket, SPDY/3.1";
    if (slice_equal_nocase(name, SLICE("h2c")) || slice_equal_nocase(name, SLICE("h2")) || slice_equal_nocase(name, SLICE("http")))
        return "requests inside a tunnel would pass every route unseen: HTTP is for listeners";
    return NULL;
}

const char *value_check_path(struct slice text)
{
    if (text.length == 0 || text.at[0] != '/')
        return "a path begins with '/'";
    if (memchr(text.at, '?', text.length) || memchr(text.at, '#', text.length))
        return "a path has no query and no fragment";
    if (text.length > FIELD_VALUE_BYTES_MAX)
        return "a path may have at most 4096 bytes";
    if (!uri_path_is_canonical(text))
        return "requests never have this path: theirs is brought into canonical form first ('.' and '..' resolved, "
               "escapes in capitals and only where needed)";
    return NULL;
}

const char *value_check_target(struct slice text)
{
    if (text.length == 0 || text.at[0] != '/')
        return "a path begins with '/'";
    if (text.length > 1024 || !is_printable_ascii(text) || memchr(text.at, '#', text.length))
        return "a path is at most 1024 visible ASCII characters, without '#'";
    return NULL;
}

static bool is_file_path(struct slice text)
{
    if (text.length < 2 || text.at[0] != '/' || text.length > 1024 || text.at[text.length - 1] == '/')
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
            return false;
    }
    return true;
}

const char *value_check_socket_path(struct slice text)
{
    if (!is_file_path(text))
        return "the path of a socket begins with '/'";
    if (text.length > SOCKET_PATH_BYTES_MAX)
        return "the path of a socket may have at most 107 bytes";
    return NULL;
}

const char *value_check_file(struct slice text)
{
    return is_file_path(text) ? NULL : "the path of a file begins with '/'";
}

/* Labels of letters, digits, '-' and '_' (RFC 1123 2.1; '_' as found in container networks), not all of them digits. */
static bool is_dns_name(struct slice text)
{
    bool letter = false;
    if (text.length == 0 || text.length > 253)
        return false;
    for (size_t i = 0, label = 0; i <= text.length; i++, label++) {
        char c = i < text.length ? text.at[i] : '.';
        char low = (char)(c | 0x20);
        letter |= low >= 'a' && low <= 'z';
        if (c == '.' && (label == 0 || label > 63 || text.at[i - 1] == '-' || text.at[i - label] == '-'))
            return false;
        if (c == '.')
            label = (size_t)-1;
        else if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return letter;
}

const char *value_check_server_name(struct slice text)
{
    return is_dns_name(text) ? NULL : "this is a host name, such as app.example.com; an address is no name";
}

const char *value_check_certificate_name(struct slice text)
{
    if (slice_starts(text, SLICE("*.")))
        text = slice_of(text.at + 2, text.length - 2);
    return is_dns_name(text) ? NULL : "a name looks like www.example.com or *.example.com; an address is no name";
}

const char *value_check_access_log(struct slice text)
{
    if (slice_equal(text, SLICE("off")) || slice_equal(text, SLICE("stdout")) || slice_equal(text, SLICE("stderr")))
        return NULL;
    return is_file_path(text) ? NULL : "this is off, stdout, stderr or a path that begins with '/'";
}

const char *value_check_error_log(struct slice text)
{
    if (slice_equal(text, SLICE("stdout")) || slice_equal(text, SLICE("stderr")))
        return NULL;
    return is_file_path(text) ? NULL : "this is stderr, stdout or a path that begins with '/'";
}

const char *value_check_congestion(struct slice text)
{
    if (text.length == 0 || text.length > 15 || !all_in(text, "-_")) /* TCP_CA_NAME_MAX is 16, with NUL */
        return "this is auto, system or the kernel's name of an algorithm, such as cubic";
    return NULL;
}

const char *value_check_body(struct slice text)
{
    return text.length > BODY_BYTES_MAX ? "a body written in the configuration may have at most 64 KiB" : NULL;
}

/*
 * Cache-Status is a List of structured fields (RFC 9211 2, RFC 8941): one member for each cache on the way, of which this writes ours. What comes
 * from outside is the name only, and it is made to fit whatever it is.
 */
#include "cache/rules.h"

#define NAME_BYTES_MAX 60u
#define WORD_BYTES_MAX 24u
#define INTEGER_MAX 999999999999999 /* 15 digits (RFC 8941 3.3.1) */

/* Name with each byte escaped and in quotes, fwd, fwd-status, ttl, stored, collapsed, detail. */
_Static_assert(2 * NAME_BYTES_MAX + 2 + 6 + WORD_BYTES_MAX + 13 + 10 + 6 + 16 + 8 + 11 + 9 + WORD_BYTES_MAX <=
                   CACHE_STATUS_BYTES,
               "the longest fits");

struct line {
    char *at, *end;
};

static void put(struct line *line, struct slice text)
{
    size_t length = size_min(text.length, (size_t)(line->end - line->at));
    memcpy(line->at, text.at, length);
    line->at += length;
}

static void put_integer(struct line *line, int64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    int64_t within = value > INTEGER_MAX ? INTEGER_MAX : value < -INTEGER_MAX ? -INTEGER_MAX : value;
    int64_t left = within < 0 ? -within : within;
    do
        digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (within < 0)
        digits[--at] = '-';
    put(line, slice_of(digits + at, sizeof digits - at));
}

static void put_word(struct line *line, struct slice parameter, const char *word)
{
    put(line, parameter);
    put(line, slice_of(word, size_min(strlen(word), WORD_BYTES_MAX)));
}

/* sf-token (RFC 8941 3.3.4): it begins with a letter or "*", and may hold ":" and "/". */
static bool is_sf_token(struct slice name)
{
    if (name.length == 0)
        return false;
    char first = (char)(name.at[0] | 0x20);
    if (name.at[0] != '*' && !(first >= 'a' && first <= 'z'))
        return false;
    for (size_t i = 0; i < name.length; i++)
        if (name.at[i] != ':' && name.at[i] != '/' && !field_is_token(slice_of(name.at + i, 1)))
            return false;
    return true;
}

/* sf-string (RFC 8941 3.3.3) */
static void put_string(struct line *line, struct slice text)
{
    put(line, SLICE("\""));
    for (size_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        if (c == '"' || c == '\\')
            put(line, SLICE("\\"));
        put(line, c >= ' ' && c <= '~' ? slice_of(&c, 1) : SLICE("?"));
    }
    put(line, SLICE("\""));
}

/* RFC 9211 2.2 to 2.6: only of a request that went forward. */
static void put_forward(struct line *line, const struct cache_status *status)
{
    put_word(line, SLICE("; fwd="), status->forward);
    if (status->forward_status) {
        put(line, SLICE("; fwd-status="));
        put_integer(line, status->forward_status);
    }
    if (status->stored)
        put(line, SLICE("; stored"));
    if (status->collapsed)
        put(line, SLICE("; collapsed"));
}

size_t cache_status_write(const struct cache_status *status, char out[CACHE_STATUS_BYTES])
{
    struct line line = { out, out + CACHE_STATUS_BYTES };
    struct slice name = slice_of(status->name.at, size_min(status->name.length, NAME_BYTES_MAX));
    if (is_sf_token(name))
        put(&line, name);
    else
        put_string(&line, name);
    if (status->hit)
        put(&line, SLICE("; hit"));
    else if (status->forward)
        put_forward(&line, status);
    if (status->has_ttl) {
        put(&line, SLICE("; ttl="));
        put_integer(&line, status->ttl_s);
    }
    if (status->detail)
        put_word(&line, SLICE("; detail="), status->detail);
    return (size_t)(line.at - out);
}

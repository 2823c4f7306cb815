#include "proto/uri.h"

/* What a byte of a path or query may be. */
enum {
    URI_PLAIN = 1,  /* stands as it is: unreserved, sub-delims, ':' '@' '/' */
    URI_QUERY = 2,  /* '?' : only in a query */
    URI_ENCODE = 4, /* sent raw by browsers, escaped by us */
    URI_UNRESERVED = 8,
    URI_HOST = 16   /* reg-name without escapes and comma */
};

static uint8_t kinds[256];

__attribute__((constructor)) static void fill_kinds(void)
{
    for (unsigned c = 'a'; c <= 'z'; c++)
        kinds[c] = kinds[c - 32] = URI_PLAIN | URI_UNRESERVED | URI_HOST;
    for (unsigned c = '0'; c <= '9'; c++)
        kinds[c] = URI_PLAIN | URI_UNRESERVED | URI_HOST;
    for (const char *p = "-._~"; *p; p++)
        kinds[(unsigned char)*p] = URI_PLAIN | URI_UNRESERVED | URI_HOST;
    for (const char *p = "!$&'()*+;="; *p; p++)
        kinds[(unsigned char)*p] = URI_PLAIN | URI_HOST;
    for (const char *p = ",:@/"; *p; p++)
        kinds[(unsigned char)*p] = URI_PLAIN;
    kinds['?'] = URI_QUERY;
    for (const char *p = "|^{}`\"<>"; *p; p++)
        kinds[(unsigned char)*p] = URI_ENCODE;
    kinds['['] = kinds[']'] = URI_ENCODE;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char low = (char)(c | 0x20);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

struct out {
    char *at, *end;
};

static bool put(struct out *out, char c)
{
    if (out->at == out->end)
        return false;
    *out->at++ = c;
    return true;
}

static bool put_escape(struct out *out, unsigned byte)
{
    static const char digits[] = "0123456789ABCDEF";
    return put(out, '%') && put(out, digits[byte >> 4]) && put(out, digits[byte & 15]);
}

/* An escape at s.at[i]: its byte, or -1. */
static int escaped_byte(struct slice s, size_t i)
{
    if (i + 2 >= s.length)
        return -1;
    int high = hex_value(s.at[i + 1]), low = hex_value(s.at[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The end of the segment that begins at from. */
static size_t segment_end(struct slice path, size_t from)
{
    const char *slash = memchr(path.at + from, '/', path.length - from);
    return slash ? (size_t)(slash - path.at) : path.length;
}

static bool is_dots(struct slice s)
{
    return s.length > 0 && s.length <= 2 && s.at[0] == '.' && s.at[s.length - 1] == '.';
}

/* "%2F" ends a segment for who decodes before splitting, "%5C" where a backslash is a slash. */
static bool encoded_slash(struct slice s, size_t i)
{
    return s.at[i] == '%' && s.length - i >= 3 && (memcmp(s.at + i, "%2F", 3) == 0 || memcmp(s.at + i, "%5C", 3) == 0);
}

/*
 * A dot segment that some see and others do not: "..%2Fa" for who decodes early, "..;a" for who takes parameters off first. It
 * is no dot segment by RFC 3986, so it would be forwarded, and reach there what a route guards here.
 */
static bool hides_dots(struct slice segment)
{
    struct slice rest = segment;
    for (;;) {
        size_t length = 0;
        while (length < rest.length && rest.at[length] != ';' && !encoded_slash(rest, length))
            length++;
        if (length < segment.length && is_dots(slice_of(rest.at, length)))
            return true;
        while (length < rest.length && !encoded_slash(rest, length)) /* parameters */
            length++;
        if (length == rest.length)
            return false;
        rest = slice_of(rest.at + length + 3, rest.length - length - 3);
    }
}

/* Two digits, capital ones, of a byte that may not stand unescaped. */
static bool escape_is_canonical(struct slice s, size_t i)
{
    int byte = escaped_byte(s, i);
    return byte > 0 && !(kinds[byte] & URI_UNRESERVED) && s.at[i + 1] < 'a' && s.at[i + 2] < 'a';
}

/* Dot segments begin behind a slash, or take an encoded one: only such segments are looked at, each once (`looked`: to where). */
bool uri_path_is_canonical(struct slice path)
{
    size_t looked = 0;
    if (path.length == 0 || path.at[0] != '/')
        return false;
    for (size_t i = 0; i < path.length; i++) {
        bool suspicious = path.at[i] == '.' && path.at[i - 1] == '/';
        if (unlikely(!(kinds[(unsigned char)path.at[i]] & URI_PLAIN))) {
            if (path.at[i] != '%' || !escape_is_canonical(path, i))
                return false;
            suspicious = encoded_slash(path, i);
        }
        if (unlikely(suspicious && i >= looked)) {
            const char *slash = memrchr(path.at, '/', i);
            size_t begin = (size_t)(slash - path.at) + 1;
            looked = segment_end(path, begin);
            struct slice segment = slice_of(path.at + begin, looked - begin);
            if (is_dots(segment) || hides_dots(segment))
                return false;
        }
    }
    return true;
}

bool uri_query_is_canonical(struct slice query)
{
    for (size_t i = 0; i < query.length; i++) {
        if (kinds[(unsigned char)query.at[i]] & (URI_PLAIN | URI_QUERY))
            continue;
        if (query.at[i] != '%' || escaped_byte(query, i) <= 0)
            return false;
        i += 2;
    }
    return true;
}

/* One character of input, canonical. *used: bytes of input. */
static enum err put_canonical(struct out *out, struct slice s, size_t i, bool query, size_t *used)
{
    unsigned char c = (unsigned char)s.at[i];
    bool fits;
    *used = 1;
    if (c == '%') {
        int byte = escaped_byte(s, i);
        if (byte <= 0)
            return ERR_SYNTAX;
        *used = 3;
        if (query) /* nothing is matched against it: escapes stay as they came */
            fits = put(out, '%') && put(out, s.at[i + 1]) && put(out, s.at[i + 2]);
        else
            fits = kinds[byte] & URI_UNRESERVED ? put(out, (char)byte) : put_escape(out, (unsigned)byte);
    } else if (kinds[c] & URI_PLAIN || (query && kinds[c] & URI_QUERY))
        fits = put(out, (char)c);
    else if (kinds[c] & URI_ENCODE)
        fits = put_escape(out, c);
    else
        return ERR_SYNTAX;
    return fits ? ERR_OK : ERR_CAP;
}

static enum err canonicalise(struct slice s, bool query, char *out, size_t cap, struct slice *canonical)
{
    struct out w = { out, out + cap };
    size_t used;
    for (size_t i = 0; i < s.length; i += used) {
        enum err e = put_canonical(&w, s, i, query, &used);
        if (e != ERR_OK)
            return e;
    }
    *canonical = slice_of(out, (size_t)(w.at - out));
    return ERR_OK;
}

/* RFC 3986 5.2.4, in place; path[0] == '/'. Climbing above the root is refused rather than ignored. */
static enum err remove_dots(char *at, size_t *length)
{
    struct slice path = slice_of(at, *length);
    size_t to = 0, from = 0;
    while (from < path.length) {
        size_t end = segment_end(path, from + 1);
        struct slice segment = slice_of(at + from + 1, end - from - 1);
        bool last = end == path.length;
        if (slice_equal(segment, SLICE("."))) {
            if (last)
                at[to++] = '/';
        } else if (slice_equal(segment, SLICE(".."))) {
            if (to == 0)
                return ERR_SYNTAX;
            while (at[--to] != '/')
                continue;
            if (last)
                at[to++] = '/';
        } else if (hides_dots(segment)) {
            return ERR_SYNTAX;
        } else {
            memmove(at + to, at + from, end - from);
            to += end - from;
        }
        from = end;
    }
    *length = to;
    return ERR_OK;
}

enum err uri_path_canonicalise(struct slice path, char *out, size_t cap, struct slice *canonical)
{
    if (path.length == 0 || path.at[0] != '/')
        return ERR_SYNTAX;
    enum err e = canonicalise(path, false, out, cap, canonical);
    if (e != ERR_OK)
        return e;
    return remove_dots(out, &canonical->length);
}

enum err uri_query_canonicalise(struct slice query, char *out, size_t cap, struct slice *canonical)
{
    return canonicalise(query, true, out, cap, canonical);
}

static enum err port_of(struct slice digits, uint16_t *port)
{
    uint64_t value;
    *port = 0;
    if (digits.length == 0)
        return ERR_OK;
    if (digits.length > 5 || slice_to_u64(digits, &value) != ERR_OK || value == 0 || value > UINT16_MAX)
        return ERR_SYNTAX;
    *port = (uint16_t)value;
    return ERR_OK;
}

static bool is_literal(struct slice inside)
{
    size_t colons = 0;
    if (inside.length < 2 || inside.length > 45)
        return false;
    for (size_t i = 0; i < inside.length; i++) {
        char c = inside.at[i];
        if (c == ':')
            colons++;
        else if (c != '.' && hex_value(c) < 0)
            return false;
    }
    return colons >= 2 && colons <= 8;
}

enum err uri_authority_split(struct slice authority, struct slice *host, uint16_t *port)
{
    size_t length = 0;
    if (authority.length && authority.at[0] == '[') {
        const char *close = memchr(authority.at, ']', authority.length);
        if (!close || !is_literal(slice_of(authority.at + 1, (size_t)(close - authority.at) - 1)))
            return ERR_SYNTAX;
        length = (size_t)(close - authority.at) + 1;
    } else {
        while (length < authority.length && kinds[(unsigned char)authority.at[length]] & URI_HOST)
            length++;
    }
    if (length == 0 || length > 255)
        return ERR_SYNTAX;
    *host = slice_of(authority.at, length);
    *port = 0;
    if (length == authority.length)
        return ERR_OK;
    if (authority.at[length] != ':')
        return ERR_SYNTAX;
    return port_of(slice_of(authority.at + length + 1, authority.length - length - 1), port);
}

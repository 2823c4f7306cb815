/*
 * One pass over the head: request or status line, then a line per field. Long runs (targets, values) are searched 16 bytes at
 * a time where the CPU has SSE2; names and methods are short and go through a table.
 *
 * A head that is all there at the first call, which is nearly always, is parsed straight away. Otherwise the next attempt waits
 * until a new line has ended, so that a head sent in pieces costs one search of its bytes and at most one
 * attempt per line.
 */
#include "proto/h1_parse.h"

#include "proto/uri.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define METHOD_BYTES_MAX 32u
#define EMPTY_LINES_MAX 2u

/* Characters --------------------------------------------------------------------------------------------------- */

static uint8_t token_chars[256];

__attribute__((constructor)) static void fill_tokens(void)
{
    for (unsigned c = '0'; c <= '9'; c++)
        token_chars[c] = 1;
    for (unsigned c = 'a'; c <= 'z'; c++)
        token_chars[c] = token_chars[c - 32] = 1;
    for (const char *p = "!#$%&'*+-.^_`|~"; *p; p++)
        token_chars[(unsigned char)*p] = 1;
}

static inline bool is_token_char(char c)
{
    return token_chars[(unsigned char)c];
}

/* Where the first control character (HTAB is none) stands in [at, end), or end. */
static inline const char *find_control(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i highest = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, highest), bytes);
        __m128i found = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del));
        int mask = _mm_movemask_epi8(found);
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
        at += 16;
    }
#endif
    for (; at < end; at++)
        if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f)
            return at;
    return end;
}

/* Where the first byte that is not a visible ASCII character stands, or end. */
static inline const char *find_not_visible(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(' '), del = _mm_set1_epi8(0x7f);
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i visible = _mm_and_si128(_mm_cmpgt_epi8(bytes, space), _mm_cmplt_epi8(bytes, del)); /* signed: >= 0x80 is below space */
        int mask = _mm_movemask_epi8(visible) ^ 0xffff;
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
        at += 16;
    }
#endif
    while (at < end && *at > ' ' && *at < 0x7f)
        at++;
    return at;
}

static enum codec_fault control_fault(char c)
{
    if (c == 0)
        return FAULT_NUL;
    if (c == '\n')
        return FAULT_BARE_LF;
    return c == '\r' ? FAULT_BARE_CR : FAULT_CONTROL;
}

/* A position in the head, and why it went no further. */
struct cursor {
    const char *at, *end;
    enum codec_fault fault; /* FAULT_NONE with a false answer: more bytes are needed */
};

static inline bool bad(struct cursor *c, enum codec_fault fault)
{
    c->fault = fault;
    return false;
}

static inline bool line_end(struct cursor *c)
{
    if (c->at == c->end)
        return false;
    if (*c->at != '\r')
        return bad(c, *c->at == '\n' ? FAULT_BARE_LF : control_fault(*c->at));
    if (c->end - c->at < 2)
        return false;
    if (c->at[1] != '\n')
        return bad(c, FAULT_BARE_CR);
    c->at += 2;
    return true;
}

/* HTTP-version: "HTTP/1.x" */
static bool parse_version(struct cursor *c, uint8_t *minor)
{
    static const char name[] = "HTTP/";
    for (size_t i = 0; i < 5; i++) {
        if ((size_t)(c->end - c->at) <= i)
            return false;
        if (c->at[i] != name[i])
            return bad(c, FAULT_VERSION);
    }
    if (c->end - c->at < 8)
        return false;
    unsigned major_digit = (unsigned)(c->at[5] - '0'), minor_digit = (unsigned)(c->at[7] - '0');
    if (major_digit > 9 || c->at[6] != '.' || minor_digit > 9)
        return bad(c, FAULT_VERSION);
    if (major_digit != 1)
        return bad(c, FAULT_VERSION_UNSUPPORTED);
    *minor = minor_digit ? 1 : 0; /* RFC 9110 2.5: a higher minor version is read as the highest known */
    c->at += 8;
    return true;
}

/* Fields ------------------------------------------------------------------------------------------------------- */

static bool name_fault(struct cursor *c, const char *name, const char *at)
{
    if (*at == ' ' || *at == '\t')
        return bad(c, at == name ? FAULT_FOLD : FAULT_SPACE_BEFORE_COLON);
    if (*at == ':')
        return bad(c, FAULT_FIELD_NAME);
    bool control = (unsigned char)*at < ' ' && *at != '\r';
    return bad(c, control ? control_fault(*at) : FAULT_FIELD_NAME);
}

/* One field line, from its first byte to behind its CR LF. */
static inline bool parse_field(struct cursor *c, struct field *field)
{
    const char *name = c->at, *at = c->at, *end = c->end;
    while (at < end && is_token_char(*at))
        at++;
    if (unlikely(at == end))
        return false;
    if (unlikely(*at != ':' || at == name))
        return name_fault(c, name, at);
    if (unlikely(at - name > UINT16_MAX))
        return bad(c, FAULT_HEAD_LARGE);
    field->name = name;
    field->name_length = (uint16_t)(at - name);
    field->id = (uint8_t)field_id_received(slice_of(name, (size_t)(at - name)), &field->flags);
    at++;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    const char *value = at;
    c->at = find_control(at, end);
    const char *last = c->at;
    if (unlikely(!line_end(c)))
        return false;
    while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    field->value = value;
    field->value_length = (uint32_t)(last - value);
    return true;
}

static bool parse_fields(struct cursor *c, struct fields *fields, uint32_t fields_max)
{
    fields->count = 0;
    fields->present = 0;
    for (;;) {
        if (unlikely(c->at == c->end))
            return false;
        if (*c->at == '\r' || *c->at == '\n') {
            fields->end = c->at;
            return line_end(c);
        }
        if (unlikely(fields->count >= fields_max || fields->count == FIELDS_CAP))
            return bad(c, FAULT_FIELDS_MANY);
        struct field *field = &fields->list[fields->count];
        if (!parse_field(c, field))
            return false;
        fields->present |= 1ull << field->id;
        fields->count++;
    }
}

/* Framing ------------------------------------------------------------------------------------------------------ */

struct framing_fields {
    unsigned lengths, encodings;
    uint64_t length;
    bool close, keep_alive, names_upgrade, names_te;
};

static enum codec_fault read_length(struct framing_fields *f, struct slice value)
{
    if (++f->lengths > 1)
        return FAULT_LENGTH_REPEATED;
    if (memchr(value.at ? value.at : "", ',', value.length))
        return FAULT_LENGTH_REPEATED;
    if (slice_to_u64(value, &f->length) != ERR_OK || f->length > INT64_MAX)
        return FAULT_LENGTH;
    if (value.length > 1 && value.at[0] == '0')
        return FAULT_LENGTH; /* the grammar lets it pass, but some read it as octal */
    return FAULT_NONE;
}

static enum codec_fault read_encoding(struct framing_fields *f, struct slice value)
{
    if (++f->encodings > 1)
        return FAULT_ENCODING;
    if (slice_equal_nocase(value, SLICE("chunked")))
        return FAULT_NONE;
    bool known = slice_ends_nocase(value, SLICE("chunked")) || slice_equal_nocase(value, SLICE("gzip")) ||
                 slice_equal_nocase(value, SLICE("deflate")) || slice_equal_nocase(value, SLICE("compress"));
    bool list_of_codings = slice_starts(value, SLICE("gzip")) || slice_starts(value, SLICE("deflate")) || slice_starts(value, SLICE("compress"));
    return known && list_of_codings ? FAULT_ENCODING_UNSUPPORTED : FAULT_ENCODING;
}

static void read_connection(struct framing_fields *f, struct slice value)
{
    struct slice option;
    while (slice_next_element(&value, &option)) {
        if (slice_equal_nocase(option, SLICE("close")))
            f->close = true;
        else if (slice_equal_nocase(option, SLICE("keep-alive")))
            f->keep_alive = true;
        else if (slice_equal_nocase(option, SLICE("upgrade")))
            f->names_upgrade = true;
        else if (slice_equal_nocase(option, SLICE("te")))
            f->names_te = true;
    }
}

#define FRAMING_BITS ((1ull << FIELD_CONTENT_LENGTH) | (1ull << FIELD_TRANSFER_ENCODING) | (1ull << FIELD_CONNECTION))

static enum codec_fault read_framing(const struct fields *fields, struct framing_fields *f)
{
    *f = (struct framing_fields){ 0 };
    if (!(fields->present & FRAMING_BITS))
        return FAULT_NONE;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *field = &fields->list[i];
        enum codec_fault fault = FAULT_NONE;
        if (field->id == FIELD_CONTENT_LENGTH)
            fault = read_length(f, field_value(field));
        else if (field->id == FIELD_TRANSFER_ENCODING)
            fault = read_encoding(f, field_value(field));
        else if (field->id == FIELD_CONNECTION)
            read_connection(f, field_value(field));
        if (fault != FAULT_NONE)
            return fault;
    }
    return f->lengths && f->encodings ? FAULT_LENGTH_AND_ENCODING : FAULT_NONE;
}

static bool persists(const struct framing_fields *f, unsigned minor)
{
    return !f->close && (minor > 0 || f->keep_alive);
}

/* Requests ----------------------------------------------------------------------------------------------------- */

static bool first_byte(struct cursor *c)
{
    if (is_token_char(*c->at) || *c->at == '\r')
        return true;
    if (*c->at == 0x16 || (unsigned char)*c->at >= 0x80)
        return bad(c, FAULT_NOT_HTTP);
    bool control = (unsigned char)*c->at < ' ';
    return bad(c, control ? control_fault(*c->at) : FAULT_METHOD);
}

static bool skip_empty_lines(struct cursor *c)
{
    for (unsigned i = 0; i < EMPTY_LINES_MAX && c->at < c->end && *c->at == '\r'; i++)
        if (!line_end(c))
            return false;
    return c->at < c->end && (first_byte(c) && (*c->at != '\r' || bad(c, FAULT_METHOD)));
}

static bool parse_method(struct cursor *c, struct request *request)
{
    const char *at = c->at;
    while (at < c->end && is_token_char(*at))
        at++;
    if ((size_t)(at - c->at) > METHOD_BYTES_MAX)
        return bad(c, FAULT_METHOD);
    if (at == c->end)
        return false;
    if (*at != ' ' || at == c->at) {
        bool control = (unsigned char)*at < ' ' && *at != '\t' && *at != '\r';
        return bad(c, control ? control_fault(*at) : FAULT_METHOD);
    }
    request->method_token = slice_of(c->at, (size_t)(at - c->at));
    request->method = method_of(request->method_token);
    c->at = at + 1;
    return true;
}

static bool parse_target(struct cursor *c, struct request *request, uint32_t most)
{
    const char *at = find_not_visible(c->at, c->end);
    if ((size_t)(at - c->at) > most)
        return bad(c, FAULT_TARGET_LONG);
    if (at == c->end)
        return false;
    if (*at == '\r' && at > c->at)
        return bad(c, FAULT_VERSION); /* HTTP/0.9 */
    if (*at != ' ' || at == c->at) {
        bool control = (unsigned char)*at < ' ' && *at != '\t' && *at != '\r';
        return bad(c, control ? control_fault(*at) : FAULT_TARGET);
    }
    request->target = slice_of(c->at, (size_t)(at - c->at));
    c->at = at + 1;
    return true;
}

static bool parse_request_line(struct cursor *c, struct request *request, const struct h1_limits *limits)
{
    return parse_method(c, request) && parse_target(c, request, limits->target_bytes_max) &&
           parse_version(c, &request->version_minor) && line_end(c);
}

typedef enum err canonicaliser(struct slice from, char *out, size_t cap, struct slice *canonical);

static enum codec_fault canonical_copy(struct slice from, canonicaliser *canonicalise, struct arena *arena, struct slice *canonical)
{
    size_t cap = size_min(3 * from.length + 1, BLOCK_BYTES);
    char *room = arena_take(arena, cap);
    enum err e = room ? canonicalise(from, room, cap, canonical) : ERR_CAP;
    return e == ERR_OK ? FAULT_NONE : e == ERR_CAP ? FAULT_TARGET_LONG : FAULT_TARGET;
}

/* The canonical form of path and query: as received when it is canonical already, else written into the arena. */
static enum codec_fault set_path(struct request *request, struct slice path_and_query, struct arena *arena)
{
    const char *mark = memchr(path_and_query.at, '?', path_and_query.length);
    size_t path_length = mark ? (size_t)(mark - path_and_query.at) : path_and_query.length;
    struct slice path = slice_of(path_and_query.at, path_length);
    struct slice query = mark ? slice_of(mark + 1, path_and_query.length - path_length - 1) : SLICE_NONE;
    request->path = path;
    request->query = query;
    enum codec_fault fault = FAULT_NONE;
    if (unlikely(!uri_path_is_canonical(path)))
        fault = canonical_copy(path, uri_path_canonicalise, arena, &request->path);
    if (unlikely(mark && fault == FAULT_NONE && !uri_query_is_canonical(query)))
        fault = canonical_copy(query, uri_query_canonicalise, arena, &request->query);
    return fault;
}

static enum codec_fault absolute_target(struct request *request, struct slice rest, struct arena *arena)
{
    size_t length = 0;
    while (length < rest.length && rest.at[length] != '/' && rest.at[length] != '?')
        length++;
    request->form = TARGET_ABSOLUTE;
    request->authority = slice_of(rest.at, length);
    struct slice path = slice_of(rest.at + length, rest.length - length);
    if (path.length == 0 && request->method == METHOD_OPTIONS) {
        request->path = SLICE("*"); /* RFC 9112 3.2.4 */
        request->query = SLICE_NONE;
        return FAULT_NONE;
    }
    if (path.length && path.at[0] == '/')
        return set_path(request, path, arena);
    request->path = SLICE("/");
    request->query = path.length ? slice_of(path.at + 1, path.length - 1) : SLICE_NONE;
    return path.length && !uri_query_is_canonical(request->query) ? FAULT_TARGET : FAULT_NONE;
}

/* Of another scheme (RFC 3986 3.1), with the slashes that an authority needs. */
static bool names_scheme(struct slice target)
{
    size_t length = 0;
    while (length < target.length && ((target.at[length] | 0x20) >= 'a' && (target.at[length] | 0x20) <= 'z'))
        length++;
    bool http = length >= 4 && length <= 5 && slice_equal_nocase(slice_of(target.at, length), slice_of("https", length));
    return length > 0 && !http && target.length - length >= 3 && memcmp(target.at + length, "://", 3) == 0;
}

static enum codec_fault read_target(struct request *request, struct arena *arena)
{
    struct slice target = request->target;
    request->authority = SLICE_NONE;
    request->query = SLICE_NONE;
    if (request->method == METHOD_CONNECT) {
        request->form = TARGET_AUTHORITY;
        request->authority = target;
        request->path = SLICE("");
        return FAULT_NONE;
    }
    if (likely(target.at[0] == '/')) {
        request->form = TARGET_ORIGIN;
        return set_path(request, target, arena);
    }
    if (slice_equal(target, SLICE("*"))) {
        request->form = TARGET_ASTERISK;
        request->path = target;
        return request->method == METHOD_OPTIONS ? FAULT_NONE : FAULT_TARGET;
    }
    if (target.length > 7 && slice_equal_nocase(slice_of(target.at, 7), SLICE("http://")))
        return absolute_target(request, slice_of(target.at + 7, target.length - 7), arena);
    if (target.length > 8 && slice_equal_nocase(slice_of(target.at, 8), SLICE("https://")))
        return absolute_target(request, slice_of(target.at + 8, target.length - 8), arena);
    return names_scheme(target) ? FAULT_SCHEME : FAULT_TARGET;
}

/* The same host and port, a default port left out or not. */
static bool same_authority(struct slice a_host, uint16_t a_port, struct slice b_host, uint16_t b_port)
{
    uint16_t a = a_port ? a_port : 80, b = b_port ? b_port : 80;
    return slice_equal_nocase(a_host, b_host) && (a == b || (a_port == 0 && b == 443) || (b_port == 0 && a == 443));
}

static enum codec_fault read_host(struct request *request)
{
    const struct field *host_field = NULL;
    uint16_t port, target_port;
    struct slice target_host = SLICE_NONE, host = SLICE_NONE;
    for (unsigned i = 0; i < request->fields.count; i++) {
        if (request->fields.list[i].id != FIELD_HOST)
            continue;
        if (host_field)
            return FAULT_HOST_REPEATED;
        host_field = &request->fields.list[i];
    }
    if (!host_field && request->version_minor > 0)
        return FAULT_HOST_MISSING;
    bool named = host_field && host_field->value_length > 0;
    if (named && uri_authority_split(field_value(host_field), &host, &port) != ERR_OK)
        return FAULT_HOST;
    if (likely(request->authority.length == 0 && request->form != TARGET_ABSOLUTE)) {
        if (host_field && !named)
            return FAULT_HOST; /* an empty Host is for targets without authority, which http has not (RFC 9110 4.2.1) */
        request->authority = named ? field_value(host_field) : SLICE_NONE;
        request->host = host;
        return FAULT_NONE;
    }
    if (uri_authority_split(request->authority, &target_host, &target_port) != ERR_OK)
        return FAULT_TARGET;
    if (named && !same_authority(host, port, target_host, target_port))
        return FAULT_HOST_MISMATCH;
    request->host = target_host;
    return FAULT_NONE;
}

static enum codec_fault read_expect(struct request *request)
{
    request->expects_continue = false;
    if (likely(!fields_have(&request->fields, FIELD_EXPECT)))
        return FAULT_NONE;
    for (unsigned i = 0; i < request->fields.count; i++) {
        const struct field *field = &request->fields.list[i];
        if (field->id == FIELD_EXPECT && !slice_equal_nocase(field_value(field), SLICE("100-continue")))
            return FAULT_EXPECT;
    }
    request->expects_continue = request->version_minor > 0; /* RFC 9110 10.1.1: ignored from HTTP/1.0 */
    return FAULT_NONE;
}

static bool accepts_trailers(const struct fields *fields)
{
    const struct field *te = fields_find(fields, FIELD_TE);
    struct slice rest = te ? field_value(te) : SLICE_NONE, element;
    while (slice_next_element(&rest, &element))
        if (slice_equal_nocase(element, SLICE("trailers")))
            return true;
    return false;
}

static enum codec_fault judge_request(struct request *request, struct arena *arena)
{
    struct framing_fields f;
    enum codec_fault fault = read_framing(&request->fields, &f);
    if (fault == FAULT_NONE && f.encodings && request->version_minor == 0)
        fault = FAULT_ENCODING_VERSION;
    if (fault == FAULT_NONE)
        fault = read_target(request, arena);
    if (fault == FAULT_NONE)
        fault = read_host(request);
    if (fault == FAULT_NONE)
        fault = read_expect(request);
    if (fault == FAULT_NONE)
        fault = codec_mark_hop_by_hop(&request->fields);
    if (fault != FAULT_NONE)
        return fault;
    request->framing = f.encodings ? FRAMING_CHUNKED : f.lengths ? FRAMING_LENGTH : FRAMING_NONE;
    request->content_length = f.length;
    request->keep_alive = persists(&f, request->version_minor);
    request->upgrade = f.names_upgrade && fields_have(&request->fields, FIELD_UPGRADE);
    request->te_trailers = f.names_te && accepts_trailers(&request->fields);
    return FAULT_NONE;
}

/* Progress ----------------------------------------------------------------------------------------------------- */

/* Another attempt is worth it when a line has ended since the last one. */
static bool worth_trying(const char *at, size_t length, struct h1_progress *progress)
{
    size_t from = progress->scanned;
    progress->scanned = (uint32_t)size_min(length, UINT32_MAX);
    if (from == 0 || length >= 2 * (size_t)progress->parsed)
        return true;
    return from < length && memchr(at + from, '\n', length - from) != NULL;
}

/* What a prefix answers: too large already, or more is to come. */
static enum h1_verdict incomplete(size_t length, const struct h1_limits *limits, struct h1_progress *progress, enum codec_fault *fault)
{
    progress->parsed = (uint32_t)size_min(length, UINT32_MAX);
    if (length < limits->head_bytes_max)
        return H1_MORE;
    *fault = FAULT_HEAD_LARGE;
    return H1_BAD;
}

enum h1_verdict h1_parse_request(struct request *request, const char *at, size_t length, struct h1_progress *progress,
                                 const struct h1_limits *limits, struct arena *arena, enum codec_fault *fault)
{
    struct cursor c = { at, at + length, FAULT_NONE };
    *fault = FAULT_NONE;
    if (length == 0)
        return H1_MORE;
    if (!worth_trying(at, length, progress))
        return incomplete(length, limits, progress, fault);
    request->version_minor = 1;
    request->framing = FRAMING_NONE;
    bool whole = skip_empty_lines(&c) && parse_request_line(&c, request, limits) && parse_fields(&c, &request->fields, limits->fields_max);
    if (!whole && c.fault == FAULT_NONE)
        return incomplete(length, limits, progress, fault);
    size_t head_bytes = (size_t)(c.at - at);
    if (whole && head_bytes > limits->head_bytes_max)
        c.fault = FAULT_HEAD_LARGE;
    if (c.fault == FAULT_NONE)
        c.fault = judge_request(request, arena);
    *fault = c.fault;
    request->head_bytes = (uint32_t)head_bytes;
    return c.fault == FAULT_NONE ? H1_DONE : H1_BAD;
}

/* Responses ---------------------------------------------------------------------------------------------------- */

static bool parse_status(struct cursor *c, struct response *response)
{
    if (c->at < c->end && *c->at != ' ')
        return bad(c, FAULT_STATUS_LINE);
    if (c->end - c->at < 5)
        return false;
    unsigned value = 0;
    for (size_t i = 1; i <= 3; i++) {
        unsigned digit = (unsigned)(c->at[i] - '0');
        if (digit > 9)
            return bad(c, FAULT_STATUS_LINE);
        value = value * 10 + digit;
    }
    if (value < 100 || value > 599)
        return bad(c, FAULT_STATUS_LINE);
    response->status = (uint16_t)value;
    c->at += 4;
    response->reason = SLICE_NONE;
    if (*c->at == '\r')
        return line_end(c); /* many leave the space before an empty reason out */
    if (*c->at != ' ')
        return bad(c, FAULT_STATUS_LINE);
    const char *reason = c->at + 1;
    c->at = find_control(reason, c->end);
    response->reason = slice_of(reason, (size_t)(c->at - reason));
    return line_end(c);
}

/* RFC 9112 6.3. */
static enum codec_fault judge_response(struct response *response, enum method request_method)
{
    struct framing_fields f;
    enum codec_fault fault = read_framing(&response->fields, &f);
    if (fault == FAULT_NONE && f.encodings && response->version_minor == 0)
        fault = FAULT_ENCODING_VERSION;
    if (fault == FAULT_NONE)
        fault = codec_mark_hop_by_hop(&response->fields);
    if (fault != FAULT_NONE)
        return fault;
    response->interim = response->status < 200;
    bool never = response->interim || response->status == 204;
    if (never && ((f.lengths && f.length > 0) || f.encodings))
        return f.lengths ? FAULT_LENGTH : FAULT_ENCODING; /* RFC 9110 8.6, RFC 9112 6.1: MUST NOT be sent */
    bool none = never || response->status == 304 || request_method == METHOD_HEAD;
    response->content_length = f.length;
    response->has_content_length = f.lengths && !never;
    response->keep_alive = persists(&f, response->version_minor);
    if (none)
        response->framing = FRAMING_NONE;
    else if (f.encodings)
        response->framing = FRAMING_CHUNKED;
    else
        response->framing = f.lengths ? FRAMING_LENGTH : FRAMING_UNTIL_CLOSE;
    return FAULT_NONE;
}

enum h1_verdict h1_parse_response(struct response *response, enum method request_method, const char *at, size_t length,
                                  struct h1_progress *progress, const struct h1_limits *limits, enum codec_fault *fault)
{
    struct cursor c = { at, at + length, FAULT_NONE };
    *fault = FAULT_NONE;
    if (length == 0)
        return H1_MORE;
    if (!worth_trying(at, length, progress))
        return incomplete(length, limits, progress, fault);
    bool whole = parse_version(&c, &response->version_minor) && parse_status(&c, response) &&
                 parse_fields(&c, &response->fields, limits->fields_max);
    if (!whole && c.fault == FAULT_NONE)
        return incomplete(length, limits, progress, fault);
    size_t head_bytes = (size_t)(c.at - at);
    if (whole && head_bytes > limits->head_bytes_max)
        c.fault = FAULT_HEAD_LARGE;
    if (c.fault == FAULT_NONE)
        c.fault = judge_response(response, request_method);
    *fault = c.fault == FAULT_VERSION ? FAULT_STATUS_LINE : c.fault;
    response->head_bytes = (uint32_t)head_bytes;
    return c.fault == FAULT_NONE ? H1_DONE : H1_BAD;
}

/* Trailers ----------------------------------------------------------------------------------------------------- */

enum h1_verdict h1_parse_trailers(struct fields *fields, const char *at, size_t length, struct h1_progress *progress,
                                  const struct h1_limits *limits, size_t *used, enum codec_fault *fault)
{
    struct cursor c = { at, at + length, FAULT_NONE };
    *fault = FAULT_NONE;
    if (length == 0)
        return H1_MORE;
    if (!worth_trying(at, length, progress) || (!parse_fields(&c, fields, limits->fields_max) && c.fault == FAULT_NONE)) {
        enum h1_verdict verdict = incomplete(length, limits, progress, fault);
        *fault = verdict == H1_BAD ? FAULT_TRAILER_LARGE : FAULT_NONE;
        return verdict;
    }
    if (c.fault == FAULT_NONE && fields->present & ((1ull << FIELD_CONTENT_LENGTH) | (1ull << FIELD_TRANSFER_ENCODING) | (1ull << FIELD_HOST)))
        c.fault = FAULT_TRAILER;
    *fault = c.fault;
    if (c.fault != FAULT_NONE)
        return H1_BAD;
    for (unsigned i = 0; i < fields->count; i++)
        if (codec_forbidden_in_trailer((enum field_id)fields->list[i].id))
            fields->list[i].flags |= FIELD_HOP_BY_HOP;
    *used = (size_t)(c.at - at);
    return H1_DONE;
}

/*
 * Made for each request of a route with a cache, so the common key (no parameters ignored, no fields, no cookies) is eight copies and a hash. The rest is
 * paid by rules that ask for it.
 */
#include "cache/key.h"

#include "cache/key_text.h"
#include "engine/base/map.h"

/* Authority ---------------------------------------------------------------------------------------------------- */

/* Without zeros in front, and empty for the scheme's own (RFC 9110 4.2.1, 4.2.2). */
static struct slice port_of(const struct request *request, struct slice scheme)
{
    size_t from = request->host.length + 1;
    if (likely(request->authority.length <= from))
        return SLICE_NONE;
    while (from < request->authority.length && request->authority.at[from] == '0')
        from++;
    struct slice port = slice_of(request->authority.at + from, request->authority.length - from);
    return slice_equal(port, slice_equal(scheme, SLICE("https")) ? SLICE("443") : SLICE("80")) ? SLICE_NONE : port;
}

static void put_authority(struct key_out *out, const struct request *request, struct slice scheme)
{
    struct slice host = request->host, port = port_of(request, scheme);
    if (host.length > 1 && host.at[host.length - 1] == '.')
        host.length--;
    key_put_lower(out, host);
    if (unlikely(port.length)) {
        key_put_char(out, ':');
        key_put(out, port);
    }
}

/* Query -------------------------------------------------------------------------------------------------------- */

static struct slice name_of(struct slice piece)
{
    const char *equals = piece.length ? memchr(piece.at, '=', piece.length) : NULL;
    return equals ? slice_of(piece.at, (size_t)(equals - piece.at)) : piece;
}

/* Some read another parameter in it than we do: ';' separates for them, or the name is one that they decode. */
static bool is_disguised(struct slice piece)
{
    struct slice name = name_of(piece);
    return key_has_char(piece, ';') || key_has_char(name, '%') || key_has_char(name, '+');
}

/* PHP makes '_' of '.', and others look at no case: what may be the same parameter is. */
static bool parameters_alike(struct slice a, struct slice b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++) {
        char one = a.at[i] == '.' ? '_' : key_lower(a.at[i]), other = b.at[i] == '.' ? '_' : key_lower(b.at[i]);
        if (one != other)
            return false;
    }
    return true;
}

static bool is_keyed(const struct cache_rule *rule, struct slice name)
{
    for (uint32_t i = 0; i < rule->key_count; i++)
        if (rule->key[i].kind == CACHE_KEY_PARAM && parameters_alike(rule->key[i].name, name))
            return true;
    return false;
}

static bool is_ignored(const struct cache_rule *rule, struct slice piece)
{
    struct slice name = name_of(piece);
    for (uint32_t i = 0; i < rule->ignore_query_count; i++)
        if (slice_glob(rule->ignore_query[i], name))
            return !is_disguised(piece) && !is_keyed(rule, name);
    return false;
}

static void put_whole(struct key_out *out, struct slice query)
{
    key_put_char(out, '?');
    key_put(out, query);
}

static void put_not_ignored(struct key_out *out, const struct cache_rule *rule, struct slice query)
{
    struct slice rest = query, piece;
    char *begin = out->at, mark = '?';
    bool dropped = false;
    while (key_next_piece(&rest, '&', &piece)) {
        if (is_ignored(rule, piece)) {
            dropped = true;
            continue;
        }
        key_put_char(out, mark);
        key_put(out, piece);
        mark = '&';
    }
    if (dropped && out->at == begin + 1) /* nothing but "?" */
        out->at = begin;
}

static void put_parameters(struct key_out *out, const struct cache_rule *rule, struct slice query)
{
    struct slice rest = query, piece;
    char mark = '?';
    while (key_next_piece(&rest, '&', &piece)) {
        if (is_disguised(piece)) {
            put_whole(out, query);
            return;
        }
    }
    for (uint32_t i = 0; i < rule->key_count; i++) {
        if (rule->key[i].kind != CACHE_KEY_PARAM)
            continue;
        for (rest = query; key_next_piece(&rest, '&', &piece);) {
            if (parameters_alike(name_of(piece), rule->key[i].name)) {
                key_put_char(out, mark);
                key_put(out, piece);
                mark = '&';
            }
        }
    }
}

static void put_query(struct key_out *out, const struct cache_rule *rule, struct slice query)
{
    bool whole = false, some = false;
    for (uint32_t i = 0; i < rule->key_count; i++) {
        whole |= rule->key[i].kind == CACHE_KEY_QUERY;
        some |= rule->key[i].kind == CACHE_KEY_PARAM;
    }
    if (whole && rule->ignore_query_count)
        put_not_ignored(out, rule, query);
    else if (whole)
        put_whole(out, query);
    else if (some)
        put_parameters(out, rule, query);
}

/* Parts that the rule adds ------------------------------------------------------------------------------------- */

static void put_header(struct key_out *out, const struct request *request, enum field_id id, struct slice name)
{
    char mark = key_mark_of(&request->fields, id, name);
    key_put(out, name);
    if (mark) {
        key_put_char(out, mark);
        key_put_lines(out, &request->fields, id, name, false);
    }
}

/* Quotes and commas that some split at and others not. */
static bool cookies_are_disguised(const struct fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++) {
        struct slice value = field_value(&fields->list[i]);
        if (key_is_line(&fields->list[i], FIELD_COOKIE, SLICE("cookie")) &&
            (key_has_char(value, '"') || key_has_char(value, ',')))
            return true;
    }
    return false;
}

/* RFC 6265 4.2.1: pairs between semicolons. Each that passes for the name is written as it came, after ':' first and ';' then. */
static void put_pairs(struct key_out *out, struct slice value, struct slice name, char *mark)
{
    struct slice pair;
    while (key_next_piece(&value, ';', &pair)) {
        pair = slice_trim(pair);
        if (!parameters_alike(slice_trim(name_of(pair)), name))
            continue;
        key_put_char(out, *mark);
        key_put(out, pair);
        *mark = ';';
    }
}

static void put_cookie(struct key_out *out, const struct request *request, struct slice name)
{
    const struct fields *fields = &request->fields;
    char mark = ':';
    key_put(out, name);
    if (!fields_have(fields, FIELD_COOKIE))
        return;
    if (cookies_are_disguised(fields)) {
        key_put_char(out, '=');
        key_put_lines(out, fields, FIELD_COOKIE, SLICE("cookie"), false);
        return;
    }
    for (unsigned i = 0; i < fields->count; i++)
        if (key_is_line(&fields->list[i], FIELD_COOKIE, SLICE("cookie")))
            put_pairs(out, field_value(&fields->list[i]), name, &mark);
}

/* Each names its kind, so that a rule that was changed does not find what another has stored. */
static void put_rule_part(struct key_out *out, const struct request *request, const struct cache_key_part *part)
{
    switch (part->kind) {
    case CACHE_KEY_QUERY: key_put_char(out, 'q'); break;
    case CACHE_KEY_PARAM:
        key_put_char(out, 'p');
        key_put(out, part->name);
        break;
    case CACHE_KEY_HEADER:
        key_put_char(out, 'h');
        put_header(out, request, part->id, part->name);
        break;
    case CACHE_KEY_COOKIE:
        key_put_char(out, 'c');
        put_cookie(out, request, part->name);
        break;
    }
    key_put_char(out, '\n');
}

/* What a trusted client says about its client's request --------------------------------------------------------- */

/* RFC 7239: without for= and by=, which differ from client to client. A value with quotes that do not end is kept whole. */
static void put_forwarded(struct key_out *out, struct slice value)
{
    size_t from = 0;
    bool quoted = false;
    for (size_t i = 0; i <= value.length; i++) {
        bool end = i == value.length;
        if (!end && quoted && value.at[i] == '\\' && i + 1 < value.length)
            i++;
        else if (!end && value.at[i] == '"')
            quoted = !quoted;
        if (!end && (quoted || (value.at[i] != ';' && value.at[i] != ',')))
            continue;
        struct slice pair = slice_trim(slice_of(value.at + from, i - from)), name = name_of(pair);
        if (quoted || !(slice_equal_nocase(name, SLICE("for")) || slice_equal_nocase(name, SLICE("by"))))
            key_put(out, pair);
        if (!end)
            key_put_char(out, value.at[i]);
        from = i + 1;
    }
}

static void put_what_is_trusted(struct key_out *out, const struct fields *fields)
{
    static const enum field_id ids[] = { FIELD_X_FORWARDED_PROTO, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PORT,
                                         FIELD_FORWARDED };
    for (unsigned i = 0; i < ARRAY_LENGTH(ids); i++) {
        if (!fields_have(fields, ids[i]))
            continue;
        key_put_char(out, 'f');
        key_put(out, slice_of_text(field_id_name(ids[i])));
        for (unsigned f = 0; f < fields->count; f++) {
            if (fields->list[f].id != ids[i])
                continue;
            key_put_char(out, ':');
            if (ids[i] == FIELD_FORWARDED)
                put_forwarded(out, field_value(&fields->list[f]));
            else
                key_put(out, field_value(&fields->list[f]));
        }
        key_put_char(out, '\n');
    }
}

/* The primary key ---------------------------------------------------------------------------------------------- */

hot_function enum err cache_key_make(const struct cache_rule *rule, const struct request *request,
                                     const struct cache_key_context *context, char *room, size_t cap,
                                     struct cache_key *key)
{
    struct key_out out = { room, room + cap, false };
    if (request->host.length == 0)
        return ERR_SYNTAX;
    key_put_part(&out, context->scheme);
    char *authority = out.at;
    put_authority(&out, request, context->scheme);
    key->authority = slice_of(authority, (size_t)(out.at - authority));
    key_put_char(&out, '\n');
    key_put_part(&out, request->path);
    if (request->query.at)
        put_query(&out, rule, request->query);
    key_put_char(&out, '\n');
    key->url_length = (uint32_t)(out.at - room);
    key_put_part(&out, context->pool);
    key_put_part(&out, context->forward_path);
    for (uint32_t i = 0; i < rule->key_count; i++)
        put_rule_part(&out, request, &rule->key[i]);
    if (unlikely(context->client_trusted))
        put_what_is_trusted(&out, &request->fields);
    if (unlikely(out.full))
        return ERR_CAP;
    key->text = slice_of(room, (size_t)(out.at - room));
    key->url_hash = siphash13(room, key->url_length, context->seed[0], context->seed[1]);
    return ERR_OK;
}

static void put_number(struct key_out *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    key_put(out, slice_of(digits + at, sizeof digits - at));
}

/* No part of a rule begins with 's'. */
void cache_key_slice(struct cache_key *key, char *room, size_t whole_length, uint64_t slice_bytes, uint64_t number)
{
    struct key_out out = { room + whole_length, room + whole_length + CACHE_SLICE_LINE_BYTES, false };
    key_put_char(&out, 's');
    put_number(&out, slice_bytes);
    key_put_char(&out, ':');
    put_number(&out, number);
    key_put_char(&out, '\n');
    key->text = slice_of(room, (size_t)(out.at - room));
}

/* Fields that must not reach an origin -------------------------------------------------------------------------- */

/* clang-format off */
static const struct slice poisonous[] = {
    /* for the method */
    SLICE("x-http-method-override"), SLICE("x-http-method"), SLICE("x-method-override"), SLICE("x-original-method"), SLICE("x-forwarded-method"),
    /* for the path */
    SLICE("x-original-url"), SLICE("x-rewrite-url"), SLICE("x-original-uri"), SLICE("x-forwarded-uri"), SLICE("x-forwarded-path"),
    SLICE("x-forwarded-prefix"), SLICE("x-envoy-original-path"), SLICE("x-replaced-path"), SLICE("x-script-name"), SLICE("x-http-destinationurl"),
    /* for the host */
    SLICE("x-host"), SLICE("x-original-host"), SLICE("x-forwarded-server"), SLICE("x-http-host-override"),
    /* for the scheme */
    SLICE("x-forwarded-scheme"), SLICE("x-forwarded-ssl"), SLICE("x-forwarded-protocol"), SLICE("x-url-scheme"), SLICE("x-scheme"),
    SLICE("front-end-https"),
    /* for conditions, which these are with '_' for '-' only: with ours they would make another */
    SLICE("if-match"), SLICE("if-none-match"), SLICE("if-modified-since"), SLICE("if-unmodified-since"), SLICE("if-range"),
};
/* clang-format on */

static bool rule_keys(const struct cache_rule *rule, struct slice name)
{
    for (uint32_t i = 0; i < rule->key_count; i++)
        if (rule->key[i].kind == CACHE_KEY_HEADER && field_names_alike(rule->key[i].name, name))
            return true;
    return false;
}

bool cache_field_is_poisonous(const struct cache_rule *rule, const struct field *field)
{
    struct slice name = field_name(field);
    if (field->id != FIELD_OTHER)
        return false;
    for (unsigned i = 0; i < ARRAY_LENGTH(poisonous); i++)
        if (name.length == poisonous[i].length && field_names_alike(name, poisonous[i]))
            return !rule_keys(rule, name);
    return false;
}

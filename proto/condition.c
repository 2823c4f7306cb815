#include "proto/condition.h"

#include "proto/http_date.h"

/* Lines of a field -------------------------------------------------------------------------------------------- */

/* The first line after `from` (NULL: of all). */
static const struct field *next_line(const struct fields *fields, enum field_id id, const struct field *from)
{
    for (const struct field *field = from ? from + 1 : fields->list; field < fields->list + fields->count; field++)
        if (field->id == id)
            return field;
    return NULL;
}

/* The value of a field that has one line only; false also when it has several. */
static bool only_value(const struct fields *fields, enum field_id id, struct slice *value)
{
    const struct field *field = next_line(fields, id, NULL);
    if (!field || next_line(fields, id, field))
        return false;
    *value = field_value(field);
    return true;
}

/* A date that counts: one line, an HTTP-date. */
static bool date_of(const struct fields *fields, enum field_id id, int64_t now_s, int64_t *seconds)
{
    struct slice value;
    return only_value(fields, id, &value) && http_date_parse(value, now_s, seconds) == ERR_OK;
}

/* Entity tags -------------------------------------------------------------------------------------------------- */

static bool is_weak(struct slice tag)
{
    return tag.length >= 2 && tag.at[0] == 'W' && tag.at[1] == '/'; /* with case: RFC 9110 8.8.3 */
}

static struct slice opaque(struct slice tag)
{
    return is_weak(tag) ? slice_of(tag.at + 2, tag.length - 2) : tag;
}

static bool is_quoted(struct slice tag)
{
    return tag.length >= 2 && tag.at[0] == '"' && tag.at[tag.length - 1] == '"';
}

bool etags_match_strong(struct slice a, struct slice b)
{
    return is_quoted(a) && slice_equal(a, b);
}

bool etags_match_weak(struct slice a, struct slice b)
{
    return a.length && slice_equal(opaque(a), opaque(b));
}

static bool between(char c)
{
    return c == ' ' || c == '\t' || c == ',';
}

/*
 * The next entity tag of a list, off the front of *rest; false at the end. A backslash is no escape in it, so this is not slice_next_element. What is
 * no entity tag reaches to the next comma and is given as it is: an origin that sends such an ETag gets it back so.
 */
static bool next_tag(struct slice *rest, struct slice *tag)
{
    size_t from = 0;
    while (from < rest->length && between(rest->at[from]))
        from++;
    if (from == rest->length)
        return false;
    struct slice left = slice_of(rest->at + from, rest->length - from);
    size_t quote = is_weak(left) ? 2 : 0, end = quote;
    if (quote < left.length && left.at[quote] == '"') {
        const char *closing = memchr(left.at + quote + 1, '"', left.length - quote - 1);
        end = closing ? (size_t)(closing - left.at) + 1 : end;
    }
    while (end < left.length && left.at[end] != ',')
        end++;
    *tag = slice_trim(slice_of(left.at, end));
    *rest = slice_of(left.at + end, left.length - end);
    return true;
}

/* Is the stored tag among those of the field? "*" alone names whatever there is (13.1.1, 13.1.2). */
static bool names_stored(const struct fields *fields, enum field_id id, struct slice etag, bool (*match)(struct slice, struct slice))
{
    struct slice value, tag;
    if (only_value(fields, id, &value) && slice_equal(value, SLICE("*")))
        return true;
    for (const struct field *line = NULL; (line = next_line(fields, id, line));) {
        struct slice rest = field_value(line);
        while (next_tag(&rest, &tag))
            if (match(etag, tag))
                return true;
    }
    return false;
}

/* Verdicts ----------------------------------------------------------------------------------------------------- */

/* Steps 1 and 2 of RFC 9110 13.2.2. */
static bool is_failed(const struct fields *fields, const struct validators *stored)
{
    int64_t since;
    if (fields_have(fields, FIELD_IF_MATCH))
        return !names_stored(fields, FIELD_IF_MATCH, stored->etag, etags_match_strong);
    return stored->modified_s >= 0 && date_of(fields, FIELD_IF_UNMODIFIED_SINCE, stored->date_s, &since) && stored->modified_s > since;
}

/* RFC 9111 4.3.2: the date stands in for a Last-Modified that there is not. */
static bool is_older(const struct fields *fields, const struct validators *stored)
{
    int64_t since, modified = stored->modified_s >= 0 ? stored->modified_s : stored->date_s;
    return modified >= 0 && date_of(fields, FIELD_IF_MODIFIED_SINCE, stored->date_s, &since) && modified <= since;
}

enum condition condition_of(const struct request *request, const struct validators *stored, unsigned status)
{
    const struct fields *fields = &request->fields;
    bool safe_read = request->method == METHOD_GET || request->method == METHOD_HEAD;
    if (status != 200)
        return CONDITION_NONE;
    if (is_failed(fields, stored))
        return CONDITION_FAILED;
    if (fields_have(fields, FIELD_IF_NONE_MATCH)) { /* then If-Modified-Since does not count (13.1.3) */
        if (!names_stored(fields, FIELD_IF_NONE_MATCH, stored->etag, etags_match_weak))
            return CONDITION_NONE;
        return safe_read ? CONDITION_NOT_MODIFIED : CONDITION_FAILED;
    }
    return safe_read && is_older(fields, stored) ? CONDITION_NOT_MODIFIED : CONDITION_NONE;
}

bool condition_is_for_origin(const struct request *request)
{
    return fields_have(&request->fields, FIELD_IF_MATCH) || fields_have(&request->fields, FIELD_IF_UNMODIFIED_SINCE);
}

bool condition_if_range(const struct request *request, const struct validators *stored)
{
    struct slice value;
    int64_t seconds;
    if (!fields_have(&request->fields, FIELD_IF_RANGE))
        return true;
    if (!only_value(&request->fields, FIELD_IF_RANGE, &value))
        return false;
    if (http_date_parse(value, stored->date_s, &seconds) != ERR_OK)
        return etags_match_strong(value, stored->etag);
    return stored->modified_s >= 0 && seconds == stored->modified_s && stored->date_s - stored->modified_s >= CONDITION_STRONG_S;
}

/* Fields of the answer ----------------------------------------------------------------------------------------- */

#define BIT(id) (1ull << (id))

static const uint64_t framing = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_CONTENT_RANGE);
/* Of the content that is sent, not of the representation (RFC 9530 2): a part's would be another. Content-MD5: RFC 2616 14.15. */
static const uint64_t of_whole_content = BIT(FIELD_CONTENT_MD5) | BIT(FIELD_CONTENT_DIGEST);
/* What 304 leaves out. Digest and Repr-Digest are of the representation, which the client has. */
static const uint64_t metadata = BIT(FIELD_CONTENT_TYPE) | BIT(FIELD_CONTENT_ENCODING) | BIT(FIELD_DIGEST) | BIT(FIELD_REPR_DIGEST) | BIT(FIELD_ACCEPT_RANGES);

/* Names without an id. Not all of "Content-": Content-Location and Content-Security-Policy stay. */
static bool is_other_metadata(const struct field *field)
{
    return slice_equal_nocase(field_name(field), SLICE("content-language")) || slice_equal_nocase(field_name(field), SLICE("content-disposition"));
}

bool condition_carries(enum stored_answer answer, const struct field *field, bool has_etag)
{
    if (answer == STORED_FULL)
        return true;
    if ((framing | of_whole_content) >> field->id & 1)
        return false;
    switch (answer) {
    case STORED_NOT_MODIFIED:
        if (field->id == FIELD_LAST_MODIFIED)
            return !has_etag;
        return !(metadata >> field->id & 1) && !(field->id == FIELD_OTHER && is_other_metadata(field));
    case STORED_PARTS: return field->id != FIELD_CONTENT_TYPE;
    default: return true;
    }
}

/*
 * The secondary key and the tags: made when a response is stored; the former is held against each request that finds its primary key.
 */
#include "cache/key.h"

#include "cache/key_text.h"
#include "proto/accept_encoding.h"

/* The line of a name ------------------------------------------------------------------------------------------- */

/*
 * The normal form of Accept-Encoding, or else its value. exact: the value in any case. A field that passes for it, or lines that are not forwarded, are
 * nothing that accept_encoding.h knows of: marks other than ':' come here only to be written.
 */
static void put_accept_encoding(struct key_out *out, const struct fields *fields, struct slice name, char mark,
                                bool exact)
{
    char room[ACCEPT_ENCODING_NORMAL_BYTES];
    struct slice normal;
    if (mark == ':' && !exact && accept_encoding_normalise(fields, room, &normal) == ERR_OK) {
        key_put_char(out, ':');
        key_put(out, normal);
        return;
    }
    key_put_char(out, mark == ':' ? '=' : mark);
    key_put_lines(out, fields, FIELD_ACCEPT_ENCODING, name, true);
}

/* name: in any case, written in lower. */
static void put_line(struct key_out *out, const struct fields *fields, struct slice name, bool exact)
{
    enum field_id id = field_id_of(name);
    char mark = key_mark_of(fields, id, name);
    key_put_lower(out, name);
    if (mark && id == FIELD_ACCEPT_ENCODING)
        put_accept_encoding(out, fields, name, mark, exact);
    else if (mark) {
        key_put_char(out, mark);
        key_put_lines(out, fields, id, name, true);
    }
    key_put_char(out, '\n');
}

/* Vary --------------------------------------------------------------------------------------------------------- */

#define BIT(id) (1ull << (id))

/* What the primary key decides: untrusted clients' are replaced by what it says, and it has those of the others. */
static const uint64_t decided =
    BIT(FIELD_HOST) | BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_FORWARDED_PORT);
/* What an origin sees of these is our own word on the client, which is not in the request as it was received. */
static const uint64_t ours = BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_FORWARDED) | BIT(FIELD_X_REAL_IP) |
                             BIT(FIELD_X_CLIENT_VERIFY) | BIT(FIELD_X_CLIENT_SUBJECT) |
                             BIT(FIELD_X_CLIENT_FINGERPRINT) | BIT(FIELD_VIA);

struct names {
    struct slice list[CACHE_VARY_NAMES_MAX]; /* sorted */
    unsigned count;
};

static int compare(struct slice a, struct slice b)
{
    for (size_t i = 0; i < a.length && i < b.length; i++) {
        int difference = (unsigned char)key_lower(a.at[i]) - (unsigned char)key_lower(b.at[i]);
        if (difference)
            return difference;
    }
    return (a.length > b.length) - (a.length < b.length);
}

static bool add_name(struct names *names, struct slice name)
{
    unsigned at = names->count;
    while (at > 0 && compare(names->list[at - 1], name) >= 0)
        at--;
    if (at < names->count && compare(names->list[at], name) == 0)
        return true;
    if (names->count == CACHE_VARY_NAMES_MAX)
        return false;
    memmove(&names->list[at + 1], &names->list[at], (names->count - at) * sizeof names->list[0]);
    names->list[at] = name;
    names->count++;
    return true;
}

static bool ignores(const struct cache_rule *rule, struct slice name)
{
    for (uint32_t i = 0; i < rule->ignore_vary_count; i++)
        if (slice_equal_nocase(rule->ignore_vary[i], name))
            return true;
    return false;
}

/* RFC 9110 5.6.2. What separates name and value in the key is no part of a token. */
static bool is_token(struct slice name)
{
    for (size_t i = 0; i < name.length; i++) {
        unsigned char c = (unsigned char)name.at[i];
        if (c <= ' ' || c >= 0x7f || memchr("\"(),/:;<=>?@[\\]{}", c, 17))
            return false;
    }
    return name.length > 0;
}

static enum err take_name(const struct cache_rule *rule, struct names *names, struct slice name)
{
    if (slice_equal(name, SLICE("*")) || !is_token(name))
        return ERR_NONE;
    enum field_id id = field_id_of(name);
    if (ignores(rule, name) || (decided >> id & 1))
        return ERR_OK;
    if (ours >> id & 1)
        return ERR_NONE;
    return add_name(names, name) ? ERR_OK : ERR_CAP;
}

static enum err take_names(const struct cache_rule *rule, const struct response *response, struct names *names)
{
    for (unsigned i = 0; i < response->fields.count; i++) {
        const struct field *field = &response->fields.list[i];
        struct slice rest = field_value(field), name;
        if (field->id != FIELD_VARY)
            continue;
        while (slice_next_element(&rest, &name)) {
            enum err e = take_name(rule, names, name);
            if (e != ERR_OK)
                return e;
        }
    }
    return ERR_OK;
}

/* May clients with the same normal form of Accept-Encoding have this response? Not if it is coded in a way that the form does not speak of. */
static bool is_explained(const struct request *request, const struct response *response)
{
    const struct field *coding = fields_find(&response->fields, FIELD_CONTENT_ENCODING);
    for (unsigned i = 0; coding && i < response->fields.count; i++)
        if (response->fields.list[i].id == FIELD_CONTENT_ENCODING && &response->fields.list[i] != coding)
            return false;
    return accept_encoding_explains(&request->fields, coding ? field_value(coding) : SLICE_NONE);
}

enum err cache_vary_make(const struct cache_rule *rule, const struct request *request, const struct response *response,
                         char *room, size_t cap, struct slice *vary)
{
    struct key_out out = { room, room + cap, false };
    struct names names;
    names.count = 0;
    *vary = slice_of(room, 0);
    if (!fields_have(&response->fields, FIELD_VARY))
        return ERR_OK;
    enum err e = take_names(rule, response, &names);
    if (e != ERR_OK)
        return e;
    bool exact = !is_explained(request, response);
    for (unsigned i = 0; i < names.count; i++)
        put_line(&out, &request->fields, names.list[i], exact);
    vary->length = (size_t)(out.at - room);
    return out.full ? ERR_CAP : ERR_OK;
}

/* Up to what stands behind a name in its line. */
static struct slice name_in(struct slice line)
{
    size_t length = 0;
    while (length < line.length && line.at[length] != ':' && line.at[length] != '=' && line.at[length] != ';')
        length++;
    return slice_of(line.at, length);
}

/* With the room of one byte more than the line has, one that is longer does not fit or is not equal. */
static bool line_matches(struct slice line, const struct request *request)
{
    char room[CACHE_VARY_BYTES_MAX + 1];
    struct slice name = name_in(line);
    struct key_out out = { room, room + size_min(line.length + 1, sizeof room), false };
    bool exact = name.length < line.length && line.at[name.length] == '=';
    put_line(&out, &request->fields, name, exact);
    size_t length = (size_t)(out.at - room);
    return !out.full && length == line.length + 1 && memcmp(room, line.at, line.length) == 0;
}

bool cache_vary_matches(struct slice vary, const struct request *request)
{
    struct slice line;
    while (vary.length && key_next_piece(&vary, '\n', &line))
        if (!line_matches(line, request))
            return false;
    return true;
}

/* Tags --------------------------------------------------------------------------------------------------------- */

struct tags {
    struct slice list[CACHE_TAGS_MAX];
    unsigned count;
    void (*each)(void *argument, struct slice tag);
    void *argument;
};

static bool take_tag(struct tags *tags, struct slice tag)
{
    if (tag.length == 0)
        return true;
    for (unsigned i = 0; i < tags->count; i++)
        if (slice_equal(tags->list[i], tag))
            return true;
    if (tags->count == CACHE_TAGS_MAX)
        return false;
    tags->list[tags->count++] = tag;
    tags->each(tags->argument, tag);
    return true;
}

static bool take_by_commas(struct tags *tags, struct slice value)
{
    struct slice tag;
    while (key_next_piece(&value, ',', &tag))
        if (!take_tag(tags, slice_trim(tag)))
            return false;
    return true;
}

static bool take_by_spaces(struct tags *tags, struct slice value)
{
    size_t from = 0;
    for (size_t i = 0; i <= value.length; i++) {
        if (i < value.length && value.at[i] != ' ' && value.at[i] != '\t')
            continue;
        if (!take_tag(tags, slice_of(value.at + from, i - from)))
            return false;
        from = i + 1;
    }
    return true;
}

bool cache_tags_each(const struct cache_rule *rule, const struct response *response,
                     void (*each)(void *argument, struct slice tag), void *argument)
{
    struct tags tags;
    tags.count = 0;
    tags.each = each;
    tags.argument = argument;
    for (uint32_t i = 0; i < rule->tag_count; i++)
        if (!take_tag(&tags, rule->tags[i]))
            return false;
    for (unsigned i = 0; i < response->fields.count; i++) {
        const struct field *field = &response->fields.list[i];
        if (field->id == FIELD_SURROGATE_KEY && !take_by_spaces(&tags, field_value(field)))
            return false;
        if (field->id == FIELD_CACHE_TAG && !take_by_commas(&tags, field_value(field)))
            return false;
    }
    return true;
}

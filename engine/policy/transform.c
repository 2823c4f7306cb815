#include "engine/policy/transform.h"

#include "engine/base/map.h"

/* Parsing --------------------------------------------------------------------------------------------------------- */

struct placeholder_word {
    struct slice word;
    enum field_placeholder placeholder;
};

static const struct placeholder_word placeholder_words[] = {
    { SLICE("client-address"), PLACEHOLDER_CLIENT_ADDRESS },
    { SLICE("client-port"), PLACEHOLDER_CLIENT_PORT },
    { SLICE("host"), PLACEHOLDER_HOST },
    { SLICE("method"), PLACEHOLDER_METHOD },
    { SLICE("path"), PLACEHOLDER_PATH },
    { SLICE("query"), PLACEHOLDER_QUERY },
    { SLICE("scheme"), PLACEHOLDER_SCHEME },
    { SLICE("server"), PLACEHOLDER_SERVER },
    { SLICE("request-id"), PLACEHOLDER_REQUEST_ID },
};
_Static_assert(ARRAY_LENGTH(placeholder_words) == PLACEHOLDERS - 1, "a word for each placeholder");

struct slice transform_word(enum field_placeholder placeholder)
{
    for (size_t i = 0; i < ARRAY_LENGTH(placeholder_words); i++) {
        if (placeholder_words[i].placeholder == placeholder)
            return placeholder_words[i].word;
    }
    return SLICE_NONE;
}

static enum field_placeholder placeholder_of(struct slice word)
{
    for (size_t i = 0; i < ARRAY_LENGTH(placeholder_words); i++) {
        if (slice_equal(placeholder_words[i].word, word))
            return placeholder_words[i].placeholder;
    }
    return PLACEHOLDER_NONE;
}

/*
 * Takes the next part off the front of *rest: a placeholder, or a literal run up to the next brace. A doubled brace ends a
 * literal run after its first brace, and its second is skipped, so that literals stay views into the text.
 */
static enum err next_part(struct slice *rest, struct field_value_part *part)
{
    size_t length = 0;
    while (length < rest->length && rest->at[length] != '{' && rest->at[length] != '}')
        length++;
    size_t used = length;
    *part = (struct field_value_part){ 0 };
    if (length < rest->length) {
        bool doubled = length + 1 < rest->length && rest->at[length + 1] == rest->at[length];
        if (doubled) {
            length += 1;
            used += 2;
        } else if (rest->at[length] == '}') {
            return ERR_SYNTAX;
        } else if (length == 0) {
            const char *end = memchr(rest->at, '}', rest->length);
            if (!end)
                return ERR_SYNTAX;
            part->placeholder = placeholder_of(slice_of(rest->at + 1, (size_t)(end - rest->at) - 1));
            if (part->placeholder == PLACEHOLDER_NONE)
                return ERR_SYNTAX;
            used = (size_t)(end - rest->at) + 1;
        }
    }
    if (part->placeholder == PLACEHOLDER_NONE)
        part->literal = slice_of(rest->at, length);
    *rest = slice_of(rest->at + used, rest->length - used);
    return ERR_OK;
}

enum err transform_parse(struct slice text, struct field_value_part *parts, unsigned cap, unsigned *count)
{
    *count = 0;
    if (!memchr(text.at ? text.at : "", '{', text.length) && !memchr(text.at ? text.at : "", '}', text.length))
        return ERR_OK;
    unsigned made = 0;
    while (text.length) {
        struct field_value_part part;
        enum err e = next_part(&text, &part);
        if (e != ERR_OK)
            return e;
        if (made == cap)
            return ERR_CAP;
        parts[made++] = part;
    }
    *count = made;
    return ERR_OK;
}

/* Composing ------------------------------------------------------------------------------------------------------- */

enum err transform_compose(const struct field_value_part *parts, unsigned count, const struct request *request,
                           const struct forwarding *forwarding, char *out, size_t cap, struct slice *composed)
{
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        struct slice value = parts[i].placeholder == PLACEHOLDER_NONE
                                 ? parts[i].literal
                                 : codec_placeholder(parts[i].placeholder, request, forwarding);
        if (value.length == 0 && parts[i].placeholder == PLACEHOLDER_HOST)
            return ERR_NONE;
        if (value.length > cap - length)
            return ERR_CAP;
        if (value.length)
            memcpy(out + length, value.at, value.length);
        else if (parts[i].placeholder == PLACEHOLDER_QUERY && !request->query.at && length && out[length - 1] == '?')
            length--;
        length += value.length;
    }
    *composed = slice_of(out, length);
    return ERR_OK;
}

static uint64_t mixed(uint64_t hash, struct slice text, const uint64_t seed[2])
{
    return mix64(hash ^ siphash13(text.at, text.length, seed[0], seed[1])) + text.length;
}

uint64_t transform_hash(const struct field_edits *edits, const uint64_t seed[2])
{
    uint64_t hash = edits->count;
    for (unsigned i = 0; i < edits->count; i++) {
        const struct field_edit *edit = &edits->list[i];
        hash = mixed(hash + edit->kind, edit->name, seed);
        hash = mixed(hash + edit->part_count, edit->parts ? SLICE_NONE : edit->value, seed);
        for (unsigned p = 0; edit->parts && p < edit->part_count; p++)
            hash = mixed(hash + edit->parts[p].placeholder, edit->parts[p].literal, seed);
    }
    return hash;
}

struct slice transform_name(struct slice pool, const struct field_edits *edits, const uint64_t seed[2], char *room)
{
    if (likely(edits->count == 0))
        return pool;
    uint64_t hash = transform_hash(edits, seed);
    if (pool.length)
        memcpy(room, pool.at, pool.length);
    room[pool.length] = '/';
    for (unsigned i = 0; i < 16; i++)
        room[pool.length + 1 + i] = "0123456789abcdef"[hash >> (4 * i) & 15];
    return slice_of(room, pool.length + TRANSFORM_NAME_MORE);
}

bool transform_is_for_one(const struct field_edits *edits, struct slice name)
{
    const unsigned of_one = 1u << PLACEHOLDER_CLIENT_ADDRESS | 1u << PLACEHOLDER_CLIENT_PORT | 1u << PLACEHOLDER_QUERY |
                            1u << PLACEHOLDER_SERVER | 1u << PLACEHOLDER_REQUEST_ID;
    for (unsigned i = 0; i < edits->count; i++) {
        const struct field_edit *edit = &edits->list[i];
        if (!field_names_alike(edit->name, name))
            continue;
        for (unsigned p = 0; edit->parts && p < edit->part_count; p++)
            if (of_one >> edit->parts[p].placeholder & 1)
                return true;
    }
    return false;
}

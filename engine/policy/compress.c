#include "engine/policy/compress.h"

#include "proto/accept_encoding.h"
#include "proto/condition.h"

#define TYPE_BYTES_MAX 256u

const struct slice compress_types_usual[COMPRESS_TYPES_USUAL] = {
    SLICE("text/*"),             SLICE("application/json"),   SLICE("application/javascript"), SLICE("application/xml"),
    SLICE("application/*+json"), SLICE("application/*+xml"), SLICE("image/svg+xml"),          SLICE("application/wasm"),
};

/* The type without its parameters, in lower case; empty: none, two of them, or one too long to be any. */
static struct slice type_of(const struct fields *fields, char room[TYPE_BYTES_MAX])
{
    const struct field *found = NULL;
    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != FIELD_CONTENT_TYPE)
            continue;
        if (found)
            return SLICE_NONE;
        found = &fields->list[i];
    }
    struct slice value = found ? field_value(found) : SLICE_NONE;
    const char *semicolon = value.length ? memchr(value.at, ';', value.length) : NULL;
    if (semicolon)
        value = slice_trim(slice_of(value.at, (size_t)(semicolon - value.at)));
    if (value.length == 0 || value.length > TYPE_BYTES_MAX)
        return SLICE_NONE;
    for (size_t i = 0; i < value.length; i++)
        room[i] = (char)(value.at[i] >= 'A' && value.at[i] <= 'Z' ? value.at[i] | 0x20 : value.at[i]);
    return slice_of(room, value.length);
}

static bool type_is_listed(const struct compress_rule *rule, const struct fields *fields)
{
    char room[TYPE_BYTES_MAX];
    struct slice type = type_of(fields, room);
    for (uint32_t i = 0; type.length && i < rule->type_count; i++) {
        if (slice_glob(rule->types[i], type))
            return true;
    }
    return false;
}

/* "identity" has no place in the field, but says nothing wrong. */
static bool is_coded(const struct fields *fields)
{
    for (unsigned i = 0; fields_have(fields, FIELD_CONTENT_ENCODING) && i < fields->count; i++) {
        if (fields->list[i].id == FIELD_CONTENT_ENCODING && !slice_equal_nocase(field_value(&fields->list[i]), SLICE("identity")))
            return true;
    }
    return false;
}

static bool is_large(const struct compress_rule *rule, const struct response *response)
{
    if (!response->has_content_length && response->framing != FRAMING_LENGTH)
        return true;
    if (response->status == 304 && response->content_length == 0)
        return true; /* its own content's, which it should not say */
    return response->content_length > 0 && response->content_length >= rule->bytes_min;
}

static bool edits_speak_of_coding(const struct field_edits *edits)
{
    for (unsigned i = 0; edits && i < edits->count; i++) {
        if (edits->list[i].id == FIELD_CONTENT_ENCODING)
            return true;
    }
    return false;
}

/* Its copy has the weak ETag that coding makes of the origin's strong one. */
static bool client_has_it_coded(const struct request *request, const struct fields *fields)
{
    const struct field *etag = fields_find(fields, FIELD_ETAG);
    for (unsigned i = 0; etag && fields_have(&request->fields, FIELD_IF_NONE_MATCH) && i < request->fields.count; i++) {
        if (request->fields.list[i].id != FIELD_IF_NONE_MATCH)
            continue;
        struct slice rest = field_value(&request->fields.list[i]), element;
        while (slice_next_element(&rest, &element)) {
            if (slice_starts(element, SLICE("W/")) && etags_match_weak(element, field_value(etag)))
                return true;
        }
    }
    return false;
}

/* A 304 seldom says the type. Then Vary is said in any case, which does no harm, and what the client has tells of the rest. */
static bool is_of_a_type(const struct compress_rule *rule, const struct request *request, const struct response *response, bool *coded)
{
    if (response->status == 304 && !fields_have(&response->fields, FIELD_CONTENT_TYPE)) {
        *coded = client_has_it_coded(request, &response->fields);
        return true;
    }
    return *coded = type_is_listed(rule, &response->fields);
}

struct compress_choice compress_choose(const struct compress_rule *rule, const struct request *request, const struct response *response,
                                       const struct field_edits *edits)
{
    struct compress_choice choice = { CODING_IDENTITY, false };
    const struct fields *fields = &response->fields;
    bool coded;
    if (rule->codings.count == 0 || (response->status != 200 && response->status != 304) || fields_have(fields, FIELD_CONTENT_RANGE) || !is_large(rule, response) ||
        is_coded(fields) || edits_speak_of_coding(edits) || !is_of_a_type(rule, request, response, &coded) ||
        fields_list_has(fields, FIELD_CACHE_CONTROL, SLICE("no-transform")))
        return choice;
    choice.varies = true;
    if (coded && request->version_minor > 0)
        choice.coding = accept_encoding_choose(&request->fields, rule->codings.list, rule->codings.count);
    return choice;
}

#include "proto/codec.h"

struct fault_row {
    const char *word;
    unsigned status;
    const char *sentence;
};
#define FAULT_AS_ROW(id, word, status, sentence) [id] = { word, status, sentence },
static const struct fault_row rows[CODEC_FAULTS] = { FAULT_ROWS(FAULT_AS_ROW) };

const char *codec_fault_word(enum codec_fault fault)
{
    return rows[fault].word;
}

unsigned codec_fault_status(enum codec_fault fault)
{
    return rows[fault].status;
}

const char *codec_fault_sentence(enum codec_fault fault)
{
    return rows[fault].sentence;
}

#define BIT(id) (1ull << (id))

/* RFC 9110 7.6.1 and 11.7: for this hop only, whatever Connection says. And Proxy, which no HTTP knows: CGI programs take it for HTTP_PROXY. */
static const uint64_t hop_by_hop = BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE) |
                                   BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_UPGRADE) | BIT(FIELD_HTTP2_SETTINGS) |
                                   BIT(FIELD_PROXY_AUTHORIZATION) | BIT(FIELD_PROXY_AUTHENTICATE) | BIT(FIELD_PROXY);

/* Naming one of these in Connection would take from the next hop what the message means, who it is for or who sent it. */
static const uint64_t not_nameable = BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_CONNECTION) |
                                     BIT(FIELD_TRAILER) | BIT(FIELD_AUTHORIZATION) | BIT(FIELD_COOKIE) | BIT(FIELD_SET_COOKIE) |
                                     BIT(FIELD_CACHE_CONTROL) | BIT(FIELD_EXPECT) | BIT(FIELD_VIA) | BIT(FIELD_FORWARDED) |
                                     BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) |
                                     BIT(FIELD_X_FORWARDED_PORT) | BIT(FIELD_X_REAL_IP);

/* Each option is looked for among all fields: thousands of them would cost more than all the rest of a request. */
#define CONNECTION_OPTIONS_MAX 32u

static void mark_named(struct fields *fields, struct slice name, enum field_id id)
{
    for (unsigned i = 0; i < fields->count; i++) {
        struct field *field = &fields->list[i];
        if (id != FIELD_OTHER ? field->id == id : field->id == FIELD_OTHER && slice_equal_nocase(field_name(field), name))
            field->flags |= FIELD_HOP_BY_HOP;
    }
}

static enum codec_fault mark_listed(struct fields *fields, struct slice value, unsigned *options)
{
    struct slice name;
    while (slice_next_element(&value, &name)) {
        enum field_id id = field_id_of(name);
        if (++*options > CONNECTION_OPTIONS_MAX || !field_is_token(name) || (not_nameable >> id & 1))
            return FAULT_CONNECTION;
        if (!(hop_by_hop >> id & 1) && !slice_equal_nocase(name, SLICE("close")))
            mark_named(fields, name, id);
    }
    return FAULT_NONE;
}

enum codec_fault codec_mark_hop_by_hop(struct fields *fields)
{
    if (likely(!(fields->present & hop_by_hop)))
        return FAULT_NONE;
    for (unsigned i = 0; i < fields->count; i++)
        if (hop_by_hop >> fields->list[i].id & 1)
            fields->list[i].flags |= FIELD_HOP_BY_HOP;
    unsigned options = 0;
    if (!fields_have(fields, FIELD_CONNECTION))
        return FAULT_NONE;
    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != FIELD_CONNECTION)
            continue;
        enum codec_fault fault = mark_listed(fields, field_value(&fields->list[i]), &options);
        if (fault != FAULT_NONE)
            return fault;
    }
    return FAULT_NONE;
}

bool codec_forbidden_in_trailer(enum field_id id)
{
    static const uint64_t forbidden =
        BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TE) | BIT(FIELD_TRAILER) | BIT(FIELD_EXPECT) | BIT(FIELD_AUTHORIZATION) |
        BIT(FIELD_COOKIE) | BIT(FIELD_SET_COOKIE) | BIT(FIELD_CACHE_CONTROL) | BIT(FIELD_CONTENT_TYPE) | BIT(FIELD_CONTENT_ENCODING) |
        BIT(FIELD_CONTENT_RANGE) | BIT(FIELD_RANGE) | BIT(FIELD_AGE) | BIT(FIELD_EXPIRES) | BIT(FIELD_DATE) | BIT(FIELD_LOCATION) |
        BIT(FIELD_RETRY_AFTER) | BIT(FIELD_VARY) | BIT(FIELD_PRAGMA) | BIT(FIELD_MAX_FORWARDS) | BIT(FIELD_FORWARDED) |
        BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_FORWARDED_PORT) |
        BIT(FIELD_X_REAL_IP) | BIT(FIELD_VIA) | BIT(FIELD_IF_MATCH) | BIT(FIELD_IF_NONE_MATCH) | BIT(FIELD_IF_MODIFIED_SINCE) |
        BIT(FIELD_IF_UNMODIFIED_SINCE) | BIT(FIELD_IF_RANGE) | BIT(FIELD_CDN_CACHE_CONTROL) | BIT(FIELD_SURROGATE_CONTROL);
    return (forbidden | hop_by_hop) >> id & 1;
}

struct slice codec_placeholder(enum field_placeholder placeholder, const struct request *request, const struct forwarding *forwarding)
{
    switch (placeholder) {
    case PLACEHOLDER_CLIENT_ADDRESS: return forwarding->client_address;
    case PLACEHOLDER_CLIENT_PORT: return forwarding->client_port;
    case PLACEHOLDER_HOST: return request->host;
    case PLACEHOLDER_METHOD: return request->method_token;
    case PLACEHOLDER_PATH: return request->path;
    case PLACEHOLDER_QUERY: return request->query;
    case PLACEHOLDER_SCHEME: return forwarding->scheme;
    case PLACEHOLDER_SERVER: return forwarding->server;
    case PLACEHOLDER_REQUEST_ID: return forwarding->request_id;
    case PLACEHOLDER_NONE:
    case PLACEHOLDERS: break;
    }
    return SLICE_NONE;
}

bool codec_count_forwards(const struct request *request)
{
    const struct field *found = fields_find(&request->fields, FIELD_MAX_FORWARDS);
    uint64_t left;
    if (request->method != METHOD_OPTIONS || !found || slice_to_u64(field_value(found), &left) != ERR_OK)
        return true;
    if (left == 0)
        return false;
    char *digit = (char *)(uintptr_t)found->value + found->value_length - 1;
    while (*digit == '0')
        *digit-- = '9';
    *digit = (char)(*digit - 1);
    return true;
}

/*
 * fields: header and trailer fields as views into the bytes that were received (RFC 9110 section 5).
 *
 * A field owns nothing: name and value point into the block that holds the head, which whoever keeps the message keeps.
 * Names that the engine acts on are recognised once, while parsing, and carry their row of FIELD_ROWS as `id`; later
 * code switches on the id and never compares names. `present` has a bit per id, so that an absent field costs one test.
 */
#ifndef WEIR_FIELDS_H
#define WEIR_FIELDS_H

#include "engine/base/slice.h"

#define FIELDS_CAP 100u /* fields in one section; more is 431 from a client, 502 from an origin */

/* id, lower-case name. At most 64 rows (a bit each in `present`). FIELD_OTHER first. */
/* clang-format off */
#define FIELD_ROWS(X)                                       \
    X(FIELD_OTHER,               "")                        \
    X(FIELD_HOST,                "host")                    \
    X(FIELD_CONNECTION,          "connection")              \
    X(FIELD_CONTENT_LENGTH,      "content-length")          \
    X(FIELD_TRANSFER_ENCODING,   "transfer-encoding")       \
    X(FIELD_TE,                  "te")                      \
    X(FIELD_TRAILER,             "trailer")                 \
    X(FIELD_UPGRADE,             "upgrade")                 \
    X(FIELD_KEEP_ALIVE,          "keep-alive")              \
    X(FIELD_PROXY_CONNECTION,    "proxy-connection")        \
    X(FIELD_PROXY_AUTHENTICATE,  "proxy-authenticate")      \
    X(FIELD_PROXY_AUTHORIZATION, "proxy-authorization")     \
    X(FIELD_PROXY,               "proxy")                   \
    X(FIELD_HTTP2_SETTINGS,      "http2-settings")          \
    X(FIELD_EXPECT,              "expect")                  \
    X(FIELD_VIA,                 "via")                     \
    X(FIELD_FORWARDED,           "forwarded")               \
    X(FIELD_X_FORWARDED_FOR,     "x-forwarded-for")         \
    X(FIELD_X_FORWARDED_PROTO,   "x-forwarded-proto")       \
    X(FIELD_X_FORWARDED_HOST,    "x-forwarded-host")        \
    X(FIELD_X_FORWARDED_PORT,    "x-forwarded-port")        \
    X(FIELD_X_REAL_IP,           "x-real-ip")               \
    X(FIELD_X_CLIENT_VERIFY,     "x-client-verify")         \
    X(FIELD_X_CLIENT_SUBJECT,    "x-client-subject")        \
    X(FIELD_X_CLIENT_FINGERPRINT, "x-client-fingerprint")   \
    X(FIELD_STRICT_TRANSPORT_SECURITY, "strict-transport-security") \
    X(FIELD_DATE,                "date")                    \
    X(FIELD_SERVER,              "server")                  \
    X(FIELD_USER_AGENT,          "user-agent")              \
    X(FIELD_REFERER,             "referer")                 \
    X(FIELD_ACCEPT,              "accept")                  \
    X(FIELD_ACCEPT_ENCODING,     "accept-encoding")         \
    X(FIELD_AUTHORIZATION,       "authorization")           \
    X(FIELD_COOKIE,              "cookie")                  \
    X(FIELD_SET_COOKIE,          "set-cookie")              \
    X(FIELD_CACHE_CONTROL,       "cache-control")           \
    X(FIELD_CONTENT_TYPE,        "content-type")            \
    X(FIELD_CONTENT_ENCODING,    "content-encoding")        \
    X(FIELD_CONTENT_RANGE,       "content-range")           \
    X(FIELD_LOCATION,            "location")                \
    X(FIELD_RANGE,               "range")                   \
    X(FIELD_ETAG,                "etag")                    \
    X(FIELD_AGE,                 "age")                     \
    X(FIELD_VARY,                "vary")                    \
    X(FIELD_EXPIRES,             "expires")                 \
    X(FIELD_LAST_MODIFIED,       "last-modified")           \
    X(FIELD_PRAGMA,              "pragma")                  \
    X(FIELD_MAX_FORWARDS,        "max-forwards")            \
    X(FIELD_RETRY_AFTER,         "retry-after")             \
    X(FIELD_ACCEPT_RANGES,       "accept-ranges")           \
    X(FIELD_CONTENT_MD5,         "content-md5")             \
    X(FIELD_DIGEST,              "digest")                  \
    X(FIELD_CONTENT_DIGEST,      "content-digest")          \
    X(FIELD_REPR_DIGEST,         "repr-digest")             \
    X(FIELD_CONTENT_LOCATION,    "content-location")        \
    X(FIELD_IF_MATCH,            "if-match")                \
    X(FIELD_IF_NONE_MATCH,       "if-none-match")           \
    X(FIELD_IF_MODIFIED_SINCE,   "if-modified-since")       \
    X(FIELD_IF_UNMODIFIED_SINCE, "if-unmodified-since")     \
    X(FIELD_IF_RANGE,            "if-range")                \
    X(FIELD_CDN_CACHE_CONTROL,   "cdn-cache-control")       \
    X(FIELD_SURROGATE_CONTROL,   "surrogate-control")       \
    X(FIELD_SURROGATE_KEY,       "surrogate-key")           \
    X(FIELD_CACHE_TAG,           "cache-tag")
/* clang-format on */

#define FIELD_AS_ENUM(id, name) id,
enum field_id { FIELD_ROWS(FIELD_AS_ENUM) FIELD_IDS };

/* Field flags. */
#define FIELD_HOP_BY_HOP 1u /* not to be forwarded: RFC 9110 7.6.1, or named by Connection */

struct field {
    const char *name;
    const char *value; /* without surrounding OWS */
    uint32_t value_length;
    uint16_t name_length;
    uint8_t id;    /* enum field_id */
    uint8_t flags; /* FIELD_... */
};

struct fields {
    uint64_t present; /* bit per field_id */
    const char *end;  /* behind the last line, where the lines stand one after the other as received; NULL otherwise */
    uint16_t count;
    struct field list[FIELDS_CAP];
};

static inline struct slice field_name(const struct field *f) { return slice_of(f->name, f->name_length); }
static inline struct slice field_value(const struct field *f) { return slice_of(f->value, f->value_length); }
static inline bool fields_have(const struct fields *fields, enum field_id id)
{
    return (fields->present >> id) & 1u;
}

/* FIELD_OTHER when the name (any case) is not in the table. */
enum field_id field_id_of(struct slice name);
const char *field_id_name(enum field_id id);

/*
 * As field_id_of, for a field that was received. *flags becomes 0; or FIELD_HOP_BY_HOP for a name that passes for that of a field
 * about framing or about who the client is, with '_' for a '-' (X_Forwarded_For): CGI and what descends from it (WSGI, Rack, PHP)
 * make one variable of both (RFC 3875 4.1.18), so a client could speak for us.
 */
enum field_id field_id_received(struct slice name, uint8_t *flags);

/* A token (RFC 9110 5.6.2), as every name is. */
bool field_is_token(struct slice text);

/* The same name, without case, '_' and '-' being one. */
bool field_names_alike(struct slice a, struct slice b);

/* The first field with this id, or with this name (any case; ids are looked up first); NULL when there is none. */
const struct field *fields_find(const struct fields *fields, enum field_id id);
const struct field *fields_find_name(const struct fields *fields, struct slice name);

/* Is this word, in any case, an element of the list that the fields with this id make together (RFC 9110 5.3, 5.6.1)? */
bool fields_list_has(const struct fields *fields, enum field_id id, struct slice word);

/* Appends; ERR_CAP at FIELDS_CAP. The bytes stay the caller's. */
enum err must_use fields_add(struct fields *fields, struct slice name, struct slice value);

/*
 * Edits that a route orders, applied while a head is written (h1_write.h), in the order of the list.
 * SET replaces every field of that name, ADD appends another, REMOVE drops every field of that name.
 * A value may hold placeholders: `value_parts` says how it is composed; with parts == NULL it is literal.
 */
enum field_edit_kind { FIELD_EDIT_SET, FIELD_EDIT_ADD, FIELD_EDIT_REMOVE };

/* Placeholders: {client-address} {client-port} {host} {method} {path} {query} {scheme} {server} {request-id}. */
enum field_placeholder {
    PLACEHOLDER_NONE, /* literal text */
    PLACEHOLDER_CLIENT_ADDRESS,
    PLACEHOLDER_CLIENT_PORT,
    PLACEHOLDER_HOST,
    PLACEHOLDER_METHOD,
    PLACEHOLDER_PATH,
    PLACEHOLDER_QUERY,
    PLACEHOLDER_SCHEME,
    PLACEHOLDER_SERVER,
    PLACEHOLDER_REQUEST_ID,
    PLACEHOLDERS
};
struct field_value_part {
    enum field_placeholder placeholder;
    struct slice literal;
};

struct field_edit {
    enum field_edit_kind kind;
    enum field_id id; /* of name */
    struct slice name;
    struct slice value; /* literal, when parts == NULL */
    const struct field_value_part *parts;
    unsigned part_count;
};

struct field_edits {
    const struct field_edit *list;
    unsigned count;
    uint64_t touched; /* ids named by SET or REMOVE; bit FIELD_OTHER: some name outside the table */
};

#endif

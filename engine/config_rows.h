/*
 * config_rows: THE table of the configuration's keys. A key is a row; decoding, defaults, hints, `weir config show`, the
 * JSON Schema and the manual walk these rows and know no key by themselves.
 *
 * A section is a map in the file and a struct in memory, described by its rows; offsets count from the section's struct.
 * A new key is a member of struct config, a row here, and nothing else, unless its value is of a new type: then that type
 * needs a row in the tables of config_decode.c, config_show.c and config_schema.c.
 */
#ifndef WEIR_CONFIG_ROWS_H
#define WEIR_CONFIG_ROWS_H

#include "engine/config.h"
#include "engine/config_node.h"

/* id, what the manual calls such a value */
#define ROW_TYPE_ROWS(X)                              \
    X(TYPE_FLAG, "true or false")                     \
    X(TYPE_COUNT, "number")                           \
    X(TYPE_DURATION, "duration")                      \
    X(TYPE_SECONDS, "duration of whole seconds")      \
    X(TYPE_MICROSECONDS, "duration in us")            \
    X(TYPE_SIZE, "size")                              \
    X(TYPE_PERCENT, "percentage")                     \
    X(TYPE_HUNDREDTHS, "number with decimals")        \
    X(TYPE_MODE, "octal mode")                        \
    X(TYPE_WORD, "word")                              \
    X(TYPE_TEXT, "text")                              \
    X(TYPE_NAME, "name")                              \
    X(TYPE_PREFIX, "path")                            \
    X(TYPE_LISTEN_ADDRESS, "address")                 \
    X(TYPE_SERVER_ADDRESS, "address")                 \
    X(TYPE_NETWORKS, "networks")                      \
    X(TYPE_NAME_SERVERS, "addresses")                 \
    X(TYPE_FORWARDED, "word")                         \
    X(TYPE_STATUS_RANGE, "status or range")           \
    X(TYPE_STATUSES, "statuses or ranges")            \
    X(TYPE_HASH_KEY, "word")                          \
    X(TYPE_POOL, "name of a pool")                    \
    X(TYPE_HOSTS, "host patterns")                    \
    X(TYPE_PATHS, "path patterns")                    \
    X(TYPE_METHODS, "methods")                        \
    X(TYPE_FIELDS, "field names with patterns")       \
    X(TYPE_LOCATION, "URL or path")                   \
    X(TYPE_EDIT_SET, "field names with values")       \
    X(TYPE_EDIT_ADD, "field names with values")       \
    X(TYPE_EDIT_REMOVE, "field names")                \
    X(TYPE_WORDS, "words")                            \
    X(TYPE_SERVER_NAMES, "host names")                \
    X(TYPE_MEDIA_TYPES, "media types")                \
    X(TYPE_FIELD_NAMES, "field names")                \
    X(TYPE_GLOBS, "names or patterns")                \
    X(TYPE_TAGS, "tags")                              \
    X(TYPE_PROTOCOLS, "names of protocols")           \
    X(TYPE_CACHE_KEY, "parts of the key")             \
    X(TYPE_TTLS, "statuses with durations")           \
    X(TYPE_DESTINATIONS, "hosts, addresses or networks") \
    X(TYPE_PORTS, "ports or ranges")                  \
    X(TYPE_SECTION, "keys")                           \
    X(TYPE_LIST, "list")                              \
    X(TYPE_NAMED, "names with keys")                  \
    X(TYPE_LATER, "")
#define ROW_TYPE_AS_ENUM(id, noun) id,
enum row_type { ROW_TYPE_ROWS(ROW_TYPE_AS_ENUM) ROW_TYPES };
const char *row_type_noun(enum row_type type);

enum row_reload {
    RELOAD_LIVE,   /* a reload puts it in force for what begins afterwards */
    RELOAD_RESTART /* a reload that changes it is refused */
};

struct row_word {
    const char *word;
    unsigned value;
};

struct section;
struct row {
    const char *word;
    enum row_type type;
    uint32_t offset;       /* of the member */
    uint32_t member_bytes; /* of a number: 1, 2, 4 or 8 */
    uint64_t least, most;  /* of a number; of a list or map, items at most */
    const char *usual;     /* what holds when the key is missing, as one would write it; NULL: nothing */
    const char *zero;      /* the word for 0, or for an empty text; a number is at least 1 then, unless least says 0 */
    const struct row_word *words;
    const struct section *section;
    const char *(*check)(struct slice text); /* of a text: a complaint or NULL */
    uint32_t count_offset;                   /* of a list: where its length goes */
    bool (*applies)(const void *target);     /* NULL: always. False: the key has no place beside the others */
    bool required;
    bool shorthand; /* another way to write what a later key says; never shown */
    enum row_reload reload;
    const char *example; /* what to write, where a missing key is an error */
    const char *doc; /* sentences for the manual and the schema; of TYPE_LATER: what is missing */
};

struct decoder;
struct section {
    const char *noun; /* "listener", "health check" */
    const struct row *rows;
    uint32_t row_count; /* at most 64: a bit each */
    uint32_t bytes;     /* of the struct, where it is the item of a list */
    bool always;        /* its defaults hold even when the file does not have it */
    const char *scalar_key; /* an item may be just a text, which is then the value of this key; what is no list's item, a list too */
    /* Is an optional section there? NULL for one that is always there. */
    bool (*is_present)(const void *target);
    /* After the rows: what they say together. given: a bit per row that the file has. */
    void (*finish)(struct decoder *decoder, const struct node *node, void *target, uint64_t given);
    const char *doc;
};

extern const struct section section_top;
extern const struct section section_listener, section_route;
extern const struct section section_pool, section_server; /* config_rows_pool.c */
extern const struct section section_retry, section_hedge, section_breakers, section_sticky; /* config_rows_failure.c */
extern const struct section section_listener_tls, section_certificate, section_pool_tls, section_tls; /* config_rows_tls.c */
extern const struct section section_tcp; /* config_rows_tcp.c */
extern const struct section section_check; /* config_rows_health.c */
extern const struct section section_cache, section_route_cache; /* config_rows_cache.c */
extern const struct section section_forward; /* config_rows_forward.c */

/* The row of a section with this word, NULL when there is none; its bit in `given`. */
const struct row *section_row(const struct section *section, struct slice word);
static inline uint64_t row_bit(const struct section *section, const struct row *row) { return 1ull << (row - section->rows); }
/* True when the file has that key. MUST not be asked for a key that is no row. */
bool section_given(const struct section *section, uint64_t given, const char *word);

/* A number's member as 64 bits. */
uint64_t row_load(const struct row *row, const void *target);
void row_store(const struct row *row, void *target, uint64_t value);
static inline void *row_member(const struct row *row, void *target) { return (char *)target + row->offset; }
static inline const void *row_member_const(const struct row *row, const void *target) { return (const char *)target + row->offset; }

/* A key with its value as `weir config show` writes it, as YAML; nothing when it has none. See config_show.c. */
struct text;
void config_show_row(const struct config *config, const struct row *row, const void *target, struct text *out);

/* Items of a list or named map. */
static inline uint32_t row_items(const struct row *row, const void *target)
{
    uint32_t count;
    memcpy(&count, (const char *)target + row->count_offset, sizeof count);
    return count;
}
static inline const char *row_item(const struct row *row, const void *target, uint32_t i)
{
    const char *first;
    memcpy(&first, (const char *)target + row->offset, sizeof first);
    return first + (size_t)i * row->section->bytes;
}

#endif

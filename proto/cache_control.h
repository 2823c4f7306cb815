/*
 * cache_control: what Cache-Control and its kin order (RFC 9111 5.2, 5.4; RFC 5861; RFC 8246; RFC 9213).
 *
 * One reading for all of them, which leans to the careful side: of two values of a directive that differ, and of a value that is malformed, comes the
 * one that caches least (RFC 9111 4.2.1); what forbids holds with any argument, what permits holds with none only. Directives that are not in the
 * table are ignored (5.2.3).
 */
#ifndef WEIR_CACHE_CONTROL_H
#define WEIR_CACHE_CONTROL_H

#include "proto/fields.h"

#define CACHE_SECONDS_MAX 2147483648u /* 2^31: what is longer, or does not fit (RFC 9111 1.2.2) */
#define CACHE_SECONDS_ANY UINT32_MAX  /* max-stale without a value: however stale */

/*
 * id, name, kind of argument, value of one that is malformed. Those with seconds come first: they have a place in `seconds`.
 * SECONDS: delta-seconds, quoted or not. FORBIDS, PERMITS: none. NAMES: none, or a list of field names.
 */
/* clang-format off */
#define DIRECTIVE_ROWS(X)                                                              \
    X(DIRECTIVE_MAX_AGE,                "max-age",                SECONDS, 0)          \
    X(DIRECTIVE_S_MAXAGE,               "s-maxage",               SECONDS, 0)          \
    X(DIRECTIVE_STALE_WHILE_REVALIDATE, "stale-while-revalidate", SECONDS, 0)          \
    X(DIRECTIVE_STALE_IF_ERROR,         "stale-if-error",         SECONDS, 0)          \
    X(DIRECTIVE_MAX_STALE,              "max-stale",              SECONDS, 0)          \
    X(DIRECTIVE_MIN_FRESH,              "min-fresh",              SECONDS, CACHE_SECONDS_MAX) \
    X(DIRECTIVE_NO_CACHE,               "no-cache",               NAMES,   0)          \
    X(DIRECTIVE_PRIVATE,                "private",                NAMES,   0)          \
    X(DIRECTIVE_NO_STORE,               "no-store",               FORBIDS, 0)          \
    X(DIRECTIVE_MUST_REVALIDATE,        "must-revalidate",        FORBIDS, 0)          \
    X(DIRECTIVE_PROXY_REVALIDATE,       "proxy-revalidate",       FORBIDS, 0)          \
    X(DIRECTIVE_NO_TRANSFORM,           "no-transform",           FORBIDS, 0)          \
    X(DIRECTIVE_ONLY_IF_CACHED,         "only-if-cached",         FORBIDS, 0)          \
    X(DIRECTIVE_PUBLIC,                 "public",                 PERMITS, 0)          \
    X(DIRECTIVE_IMMUTABLE,              "immutable",              PERMITS, 0)          \
    X(DIRECTIVE_MUST_UNDERSTAND,        "must-understand",        PERMITS, 0)
/* clang-format on */
#define DIRECTIVE_AS_ENUM(id, name, kind, malformed) id,
enum cache_directive { DIRECTIVE_ROWS(DIRECTIVE_AS_ENUM) DIRECTIVES };
#define DIRECTIVE_SECONDS DIRECTIVE_NO_CACHE /* how many have seconds */

struct cache_control {
    uint32_t has;    /* bit per directive. NO_CACHE, PRIVATE: without names, so that all of the response is meant */
    uint32_t named;  /* NO_CACHE, PRIVATE: with names of fields (cache_control_names). May be set beside `has`, which is stronger */
    uint32_t seconds[DIRECTIVE_SECONDS]; /* of those that it has; at most CACHE_SECONDS_MAX, but for CACHE_SECONDS_ANY */
};

static inline bool cache_control_has(const struct cache_control *control, enum cache_directive directive)
{
    return control->has >> directive & 1u;
}

/* Cache-Control of a message; nothing of it: all zero. */
void cache_control_read(struct cache_control *control, const struct fields *fields);
/* Of a request: Pragma: no-cache is no-cache where there is no Cache-Control (RFC 9111 5.4). */
void cache_control_read_request(struct cache_control *control, const struct fields *fields);

/*
 * What governs a response: the first of CDN-Cache-Control, Surrogate-Control and Cache-Control that says something. Answers which: then the others do not count, and
 * neither does Expires unless it is FIELD_CACHE_CONTROL (RFC 9213 2.2). That is answered too when there is none at all.
 *
 * CDN-Cache-Control is a Dictionary (structured.h): with a fault, or empty, it is as if it was not there. A member with a value of another kind than the
 * directive's is malformed as above; false (?0) is not having it.
 * Surrogate-Control (W3C note, Edge Architecture Specification 1.0) reads as Cache-Control; max-age=60+600 is stale-while-revalidate=600 too, and a directive with a
 * parameter (;name) is for somebody else. Without any directive of the table (as with content="ESI/1.0" only) it does not govern.
 */
enum field_id cache_control_select(struct cache_control *control, const struct fields *response);

/* Does DIRECTIVE_NO_CACHE or DIRECTIVE_PRIVATE of that field (one that cache_control_select answers) name this field? Reads it again: ask only if it is in `named`. */
bool cache_control_names(const struct fields *response, enum field_id id, enum cache_directive directive, struct slice name);

/* Delta-seconds (RFC 9111 1.2.2): digits, CACHE_SECONDS_MAX at most. False: malformed, and *seconds is untouched. */
bool cache_control_seconds(struct slice text, uint32_t *seconds);

#endif

/*
 * rules: RFC 9111 as pure functions: may this response be stored, how long is it fresh, may it answer this request.
 *
 * Times are seconds since 1970 (UTC) where a field speaks of them and where ages are counted. Nothing here holds state: what a
 * stored response needs later is in struct cache_policy, which the object keeps (object.h).
 */
#ifndef WEIR_CACHE_RULES_H
#define WEIR_CACHE_RULES_H

#include "cache/rule.h"
#include "proto/cache_control.h"
#include "proto/message.h"

/* What a stored response's own words come to. Plain values: it is copied and written to disk as it is. */
struct cache_policy {
    int64_t date_s;        /* of its Date, or when it was received */
    int64_t received_s;    /* response_time of RFC 9111 4.2.3 */
    uint32_t age_s;        /* corrected_initial_age at received_s */
    uint32_t lifetime_s;   /* freshness_lifetime */
    uint32_t stale_while_revalidate_s, stale_if_error_s; /* RFC 5861 */
    int64_t modified_s;    /* Last-Modified; -1: none, or no date */
    bool heuristic;        /* the lifetime was guessed (4.2.2) */
    bool must_revalidate;  /* must-revalidate, proxy-revalidate or s-maxage: never stale (5.2.2.2, 5.2.2.8, 5.2.2.10) */
    bool validate_always;  /* no-cache without names (5.2.2.4): never used without asking the origin */
    bool immutable;        /* RFC 8246 */
};

/* Why something was not stored, or not used: words for Cache-Status details, `weir cache show` and explain. X(id, word) */
/* clang-format off */
#define CACHE_REASON_ROWS(X)                     \
    X(CACHE_REASON_NONE,        "")              \
    X(CACHE_REASON_METHOD,      "method")        \
    X(CACHE_REASON_STATUS,      "status")        \
    X(CACHE_REASON_CONTENT,     "request-content") \
    X(CACHE_REASON_NO_STORE,    "no-store")      \
    X(CACHE_REASON_PRIVATE,     "private")       \
    X(CACHE_REASON_AUTHORIZATION, "authorization") \
    X(CACHE_REASON_SET_COOKIE,  "set-cookie")    \
    X(CACHE_REASON_VARY,        "vary")          \
    X(CACHE_REASON_LIFETIME,    "no-lifetime")   \
    X(CACHE_REASON_RANGE,       "range")         \
    X(CACHE_REASON_LARGE,       "large")         \
    X(CACHE_REASON_BYPASS,      "bypass")        \
    X(CACHE_REASON_FULL,        "full")          \
    X(CACHE_REASON_INCOMPLETE,  "incomplete")    \
    X(CACHE_REASON_UNDERSTAND,  "must-understand") \
    X(CACHE_REASON_TTL,         "ttl")
/* clang-format on */
#define CACHE_REASON_AS_ENUM(id, word) id,
enum cache_reason { CACHE_REASON_ROWS(CACHE_REASON_AS_ENUM) CACHE_REASONS };
const char *cache_reason_word(enum cache_reason reason);

/*
 * Before anything is looked up: may this request be answered from the store, and may its answer be stored? Only GET and HEAD without
 * content, of a route whose rule is on, that no bypass condition names. CACHE_REASON_NONE: yes.
 */
enum cache_reason cache_request_reason(const struct cache_rule *rule, const struct request *request);

/*
 * May this final response to that request be stored (RFC 9111 3)? CACHE_REASON_NONE: yes, and *policy is filled in. sent_s, received_s: when the
 * request was sent and the head came. Takes the targeted fields into account: CDN-Cache-Control (RFC 9213), then Surrogate-Control, else
 * Cache-Control and Expires. The edits of the route on the response do not count: what the origin says does.
 */
enum cache_reason cache_store_reason(const struct cache_rule *rule, const struct request *request, const struct response *response,
                                     int64_t sent_s, int64_t received_s, struct cache_policy *policy);

/* True for a field of the response that is not to be stored with it: hop-by-hop, those that private="" and no-cache="" name, Set-Cookie, and Age. */
bool cache_field_is_dropped(const struct cache_rule *rule, const struct response *response, const struct field *field);

uint32_t cache_age(const struct cache_policy *policy, int64_t now_s); /* current_age, RFC 9111 4.2.3 */

enum cache_use {
    CACHE_USE_FRESH,      /* as it is */
    CACHE_USE_STALE,      /* as it is, stale: the client allows it (max-stale) */
    CACHE_USE_REVALIDATE, /* as it is, and the origin is asked in the background (stale-while-revalidate) */
    CACHE_USE_VALIDATE    /* only after the origin was asked */
};
/* The stored response was selected for this request: how may it be used now? Counts the request's directives if the rule says so. */
enum cache_use cache_use_of(const struct cache_rule *rule, const struct cache_policy *policy, const struct request *request, int64_t now_s);
/* The origin failed, or answered 500, 502, 503 or 504: may it be used all the same (stale-if-error, or nothing forbids a stale one: RFC 9111 4.2.4)? */
bool cache_use_on_error(const struct cache_rule *rule, const struct cache_policy *policy, const struct request *request, int64_t now_s);

/* Cache-Control: only-if-cached in the request, and it counts (RFC 9111 5.2.1.7): 504 when nothing stored will do. */
bool cache_only_if_cached(const struct cache_rule *rule, const struct request *request);

/*
 * 304 (RFC 9111 4.3.4, 3.2): is `field` of the 304 to replace the stored ones of its name? Not hop-by-hop, not Content-Length, Content-Encoding,
 * Content-Type, Content-Range, and not what describes the stored content.
 */
bool cache_field_updates(const struct cache_rule *rule, const struct response *response, const struct field *field);

/* An unsafe method was answered without error: what the URI and the answer's Location and Content-Location of the same origin name is invalid (RFC 9111 4.4). */
bool cache_invalidates(const struct request *request, unsigned status);

/*
 * The value of Cache-Status (RFC 9211) that this cache adds. All slices are plain tokens of ours but `key`, which is not said. out: at least
 * CACHE_STATUS_BYTES. Answers its length.
 */
struct cache_status {
    struct slice name;   /* of this cache: a token, or it is written as a string */
    bool hit;
    const char *forward; /* fwd=: "uri-miss", "vary-miss", "stale", "bypass", "method", "request", "partial"; NULL: none */
    unsigned forward_status; /* fwd-status=; 0: not said */
    bool has_ttl;
    int64_t ttl_s;       /* remaining freshness, negative when stale */
    bool stored;
    bool collapsed;
    const char *detail;  /* a token; NULL: none */
};
#define CACHE_STATUS_BYTES 256u
size_t cache_status_write(const struct cache_status *status, char out[CACHE_STATUS_BYTES]);

#endif

/*
 * rules: RFC 9111 as pure functions: may this response be stored, how long is it fresh, may it answer this request.
 *
 * Times are seconds since 1970 (UTC) where a field speaks of them and where ages are counted. Nothing here holds state: what a
 * stored response needs later is in struct cache_policy, which the object keeps (object.h).
 *
 * Where the RFC leaves a choice, or this cache departs from it:
 * - Requests: unless rule->client_no_cache, no client can make this cache ask the origin: no-cache, no-store, max-age, min-fresh and Pragma of a request
 *   are not looked at. max-stale, stale-if-error and only-if-cached ask for less, not more, and always count.
 * - Statuses understood (5.2.2.3): 200 203 204 300 301 302 303 307 308 403 404 405 410 414 451 500 501 502 503 504. Of others the answer is stored too when it
 *   says how long it is fresh, but not with must-understand. Some speak of one message, its sender or its condition, not of the resource, and are never stored,
 *   whatever they or the rule say: 1xx 206 304 400 401 406 407 408 411 412 413 415 416 417 421 422 425 426 428 429 431 505 511 (RFC 6585 forbids four of them).
 * - Heuristic freshness (4.2.2) is for 200 203 204 300 301 308 404 405 410 414 451 501, and what says public.
 */
#ifndef WEIR_CACHE_RULES_H
#define WEIR_CACHE_RULES_H

#include "cache/rule.h"
#include "proto/cache_control.h"
#include "proto/message.h"

/* What a stored response's own words come to. Plain values: it is copied and written to disk as it is. Seconds are at most CACHE_SECONDS_MAX. */
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
    bool coded;            /* its content was coded here, and its ETag made weak for that; whoever stores it says so */
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
    X(CACHE_REASON_TTL,         "ttl")           \
    X(CACHE_REASON_ONLY,        "only-if-cached")
/* clang-format on */
#define CACHE_REASON_AS_ENUM(id, word) id,
enum cache_reason { CACHE_REASON_ROWS(CACHE_REASON_AS_ENUM) CACHE_REASONS };
const char *cache_reason_word(enum cache_reason reason);

/*
 * Before anything is looked up: may this request be answered from the store, and may its answer be stored? Only GET and HEAD without
 * content, of a route whose rule is on, that no bypass condition names and that wants no other protocol (Upgrade). Its Cache-Control: no-store counts
 * with rule->client_no_cache. CACHE_REASON_NONE: yes.
 */
enum cache_reason cache_request_reason(const struct cache_rule *rule, const struct request *request);

/*
 * May this final response to that request be stored (RFC 9111 3)? CACHE_REASON_NONE: yes, and *policy is filled in. sent_s, received_s: when the
 * request was sent and the head came. Takes the targeted fields into account: CDN-Cache-Control (RFC 9213), then Surrogate-Control, else
 * Cache-Control and Expires. The edits of the route on the response do not count: what the origin says does.
 *
 * Of a response that a 304 freshened, give the stored head with the fields of the 304 put in (cache_field_updates): then *policy is the new one.
 * A lifetime of the rule (ttls, default_ttl_s) begins when the response came, whatever its Age. One of ttls stands before all that the response says of
 * freshness, no-cache without names included; it does not overrule no-store, private, Vary: *, and the need to ask for stale ones (must-revalidate).
 * Set-Cookie is no reason where private or no-cache names it: then the origin has thought of it, and it is not stored.
 * With lifetime 0 a response is stored if it can be validated (ETag, Last-Modified) or used stale for a while, else CACHE_REASON_LIFETIME.
 */
enum cache_reason cache_store_reason(const struct cache_rule *rule, const struct request *request, const struct response *response,
                                     int64_t sent_s, int64_t received_s, struct cache_policy *policy);

/*
 * The same of a 206 that came for a request of the cache's own for a part (rule->slice_bytes): it is judged as the 200 that it is a part of. Whether it is the part that was
 * asked for is the caller's to see.
 */
enum cache_reason cache_store_reason_of_part(const struct cache_rule *rule, const struct request *request, const struct response *response,
                                             int64_t sent_s, int64_t received_s, struct cache_policy *policy);

/*
 * True for a field of the response that is not to be stored with it (RFC 9111 3.1): hop-by-hop, those that private="" and no-cache="" name, Set-Cookie, Trailer,
 * Proxy-Authentication-Info, and Age. Surrogate-Control is stored, since a 304 may leave it out and then it still governs; it is not to be sent to clients.
 */
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
/* The same when the object was purged softly: FRESH and STALE become REVALIDATE where stale-while-revalidate allows it, else VALIDATE. */
enum cache_use cache_use_purged(const struct cache_policy *policy, enum cache_use use);
/*
 * The origin failed, or answered 500, 502, 503 or 504: may it be used all the same? Not if the request says no-cache and that counts. If it is fresh; if it is stale within stale-if-error (RFC 5861 4: of the response, else
 * the rule's; or of the request), or within the request's max-stale. Never against must-revalidate and its like or no-cache (RFC 9111 4.2.4). That RFC would allow any
 * stale one to a cache that is cut off from the origin; here the rule says how long, and 0 means no.
 */
bool cache_use_on_error(const struct cache_rule *rule, const struct cache_policy *policy, const struct request *request, int64_t now_s);

/* Cache-Control: only-if-cached in the request (RFC 9111 5.2.1.7; it always counts): 504 when nothing stored will do. */
bool cache_only_if_cached(const struct cache_rule *rule, const struct request *request);

/*
 * 304 (RFC 9111 4.3.4, 3.2), or a HEAD's answer (4.3.5): is `field` of `response` to replace the stored ones of its name? Not what is not stored, not Content-Length,
 * Content-Encoding, Content-Type, Content-Range, Content-MD5, Digest, Content-Digest and Repr-Digest, which describe the stored content.
 */
bool cache_field_updates(const struct cache_rule *rule, const struct response *response, const struct field *field);

/*
 * The 304 came for the stored response with that policy and ETag (its value, empty: none): is it this one that it says is still good (RFC 9111 4.3.4)? By its ETag if
 * it has one, strong to strong or weak to either (of one coded here, whatever they are: the origin speaks of its own bytes); else by its Last-Modified. A 304 without either speaks of the one that was asked about: it was asked
 * about one only, and origins that leave them out are many. False: its fields are not to be put in, and the origin is to be asked without condition.
 */
bool cache_freshens(const struct cache_policy *policy, struct slice etag, const struct response *response);
/*
 * A HEAD was answered 200: does it agree with what is stored (RFC 9111 4.3.5)? Then its fields may be put in; else the stored one is to be taken as stale. Content of
 * content_length bytes is stored (not looked at of one coded here). What the answer leaves out agrees, but for an ETag that the stored one has.
 */
bool cache_head_agrees(const struct cache_policy *policy, struct slice etag, uint64_t content_length, const struct response *response);

/* An unsafe method, or one that is not known, was answered without error (2xx, 3xx): what the URI and the answer's Location and Content-Location of the same origin name is invalid (RFC 9111 4.4). */
bool cache_invalidates(const struct request *request, unsigned status);

/*
 * The value of Cache-Status (RFC 9211) that this cache adds: to be sent as a further field line behind those that came. `forward` and `detail` are words
 * of ours, tokens of at most 24 bytes. Of `name` 60 bytes are said. With `hit`, fwd and what belongs to it are not said (2.1, 2.2); collapsed and stored
 * are said only with fwd. Answers the length.
 */
struct cache_status {
    struct slice name;   /* of this cache: a token, or it is written as a string, with ? for what cannot stand in one */
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

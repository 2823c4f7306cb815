/*
 * rule: what a route orders about caching (a route's `cache`): configuration as the pure functions of this room read it.
 *
 * Everything is owned by the configuration and lives as long as it does.
 */
#ifndef WEIR_CACHE_RULE_H
#define WEIR_CACHE_RULE_H

#include "engine/base/slice.h"
#include "proto/fields.h"

/* What the key is made of besides scheme, authority, path and pool, which are always in it. */
enum cache_key_part_kind {
    CACHE_KEY_QUERY,  /* the whole query as received, but for parameters that `ignore_query` names */
    CACHE_KEY_PARAM,  /* one parameter of the query: its first value; absent is not the same as empty */
    CACHE_KEY_HEADER, /* a field of the request: its lines combined with ", " (RFC 9110 5.3) */
    CACHE_KEY_COOKIE  /* a cookie of the request */
};
struct cache_key_part {
    enum cache_key_part_kind kind;
    enum field_id id;  /* CACHE_KEY_HEADER */
    struct slice name; /* empty for CACHE_KEY_QUERY */
};

/* How long a response with such a status is fresh, whatever it says itself. */
struct cache_ttl {
    uint16_t low, high; /* statuses, both included */
    uint32_t seconds;   /* 0: it is not stored */
};

struct cache_rule {
    bool on;
    const struct cache_key_part *key; /* in the order of the configuration */
    uint32_t key_count;
    const struct slice *ignore_query; /* globs of parameter names */
    uint32_t ignore_query_count;
    const struct cache_ttl *ttls; /* first match wins */
    uint32_t ttl_count;
    const struct slice *bypass_cookies; /* globs of cookie names: a request with one of them neither gets nor makes stored responses */
    uint32_t bypass_cookie_count;
    const struct slice *bypass_fields; /* names of request fields, likewise */
    uint32_t bypass_field_count;
    const struct slice *ignore_vary; /* field names in Vary that are no reason to keep responses apart; lower case */
    uint32_t ignore_vary_count;
    const struct slice *tags; /* that each stored response gets besides its own */
    uint32_t tag_count;
    uint64_t object_bytes_max;      /* content above is not stored */
    uint64_t slice_bytes;           /* content is asked for and stored in slices of so many; 0: as a whole */
    uint32_t stale_while_revalidate_s; /* where the response does not say; 0: none */
    uint32_t stale_if_error_s;
    uint32_t default_ttl_s;  /* of a response that says nothing and for which no heuristic is to be had; 0: not stored */
    bool heuristic;          /* 10 % of the time since Last-Modified (RFC 9111 4.2.2), a day at most */
    bool status_field;       /* say Cache-Status (RFC 9211) */
    bool client_no_cache;    /* a client's Cache-Control: no-cache, max-age, min-fresh and Pragma count (RFC 9111 5.2.1) */
    bool store_set_cookie;   /* store responses with Set-Cookie, without that field */
    bool collapse;           /* one request to the origin at a time for what is not stored */
};

#endif

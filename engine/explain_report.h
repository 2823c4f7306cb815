/*
 * explain_report: what was found out about a request (explain.c), and how it is said.
 */
#ifndef WEIR_EXPLAIN_REPORT_H
#define WEIR_EXPLAIN_REPORT_H

#include "engine/base/arena.h"
#include "engine/explain.h"
#include "engine/homes.h"
#include "proto/codec.h"

#define EXPLAIN_ROUTES_MAX 32u /* that are passed over and told; the rest are counted */

/* How the request ends. */
enum explain_end {
    EXPLAIN_REFUSED,  /* by us, with status and why */
    EXPLAIN_ADMIN,    /* the listener answers itself: metrics */
    EXPLAIN_FORWARD,  /* the listener is a forward proxy's, and asks no routes */
    EXPLAIN_TO_HTTPS, /* the listener redirects */
    EXPLAIN_RESPOND,
    EXPLAIN_REDIRECT,
    EXPLAIN_POOL
};

struct explained_server {
    struct health health; /* a copy: what happens to it is tried out only */
    struct server server;
    struct server_counters *counters; /* of the trial */
    const struct config_server *config;
    const struct server_record *record;
    enum health_state state;
    uint64_t marked_for_ms;
    uint64_t busy; /* all workers */
    bool usable, full;
    bool candidate; /* usable, and in the tier that is asked */
};

struct explained_route {
    const struct route *route;
    enum route_verdict verdict;
    const struct field_condition *condition;
};

#define EXPLAIN_OBJECTS_MAX 16u /* stored under one URL that are told; the rest are counted */

/* What the cache would do with the request now. X(id, word, sentence) */
/* clang-format off */
#define EXPLAIN_CACHE_ROWS(X)                                                                                       \
    X(CACHE_PASSES,     "pass",       "it goes past the cache")                                                     \
    X(CACHE_MISSES,     "miss",       "nothing that is stored fits it: an origin is asked")                         \
    X(CACHE_READS,      "disk",       "it is answered from the disk, if what is there fits it; otherwise an origin is asked") \
    X(CACHE_WAITS,      "wait",       "another request for it is under way, and it gets the same response")         \
    X(CACHE_HITS,       "hit",        "it is answered from the cache")                                              \
    X(CACHE_STALE,      "stale",      "it is answered from the cache with a stale response, which the client allows") \
    X(CACHE_REVALIDATES, "revalidate", "it is answered from the cache with a stale response, and an origin is asked beside it") \
    X(CACHE_VALIDATES,  "validate",   "an origin is asked whether what is stored still holds")                      \
    X(CACHE_SLICES,     "slices",     "it is answered in slices: each from the cache, or fetched for it")                \
    X(CACHE_REFUSES,    "refuse",     "504: the client wants it from the cache or not at all")
/* clang-format on */
#define EXPLAIN_CACHE_AS_ENUM(id, word, sentence) id,
enum explained_use { EXPLAIN_CACHE_ROWS(EXPLAIN_CACHE_AS_ENUM) };

struct explained_cache {
    bool asked;               /* the route has a cache, and there are homes */
    enum cache_reason reason; /* for which the request goes past it */
    bool keyed;               /* it has a key: false when that would be too long */
    struct cache_key key;
    struct home *home;
    struct object *objects[EXPLAIN_OBJECTS_MAX]; /* under its URL, newest first; a reference each */
    uint32_t count, total;
    bool on_disk; /* something of its key, probably */
    const struct object *selected; /* the one that would answer; NULL: none */
    enum explained_use use;
    char room[CACHE_KEY_BYTES_MAX];
};

struct explanation {
    struct homes *homes;
    struct disk *disk;
    int64_t now_s;
    const struct generation *generation;
    const struct config *config;
    uint64_t now_ms, random;

    bool https;
    struct slice authority, target; /* of the URL */
    uint16_t port;
    char client[48];
    uint8_t client_address[16];
    struct text bytes; /* the request */
    struct block_pool blocks;
    struct arena arena;
    struct forwarding forwarding;

    const struct config_listener *listener; /* NULL: there is none for this scheme */
    bool listener_exact;                    /* the port is its own */

    struct explained_route passed_over[EXPLAIN_ROUTES_MAX];
    uint32_t passed_over_count; /* all */
    const struct route *route;

    enum explain_end end;
    unsigned status; /* of an answer of our own */
    const char *why; /* its word, or NULL */
    const char *sentence;
    struct slice location;

    const struct config_pool *pool;
    uint32_t waiting; /* in its line */
    struct slice key;
    bool hashed;
    uint64_t hash;
    struct explained_server *servers;
    struct member *members;
    enum pick_verdict verdict;
    uint32_t picked;       /* where verdict has a lease */
    uint32_t first_choice; /* if every server were well */
    uint32_t candidate_count;
    bool returns;      /* its cookie brings it back there */
    bool certain;      /* every worker would pick that one */
    struct slice head; /* as it goes to the origin; at == NULL: it does not fit */

    struct explained_cache cache;

    char head_room[BLOCK_BYTES];
    struct request request; /* last: large */
};

/* explain_cache.c: what the cache would do, for a request whose route has one; its objects given back; and how all that is said. */
void explain_ask_cache(struct explanation *e);
void explain_leave_cache(struct explanation *e);
void explain_cache_text(const struct explanation *e, struct text *text);
void explain_cache_json(const struct explanation *e, struct text *json); /* an object */
void explain_put_use(const struct explanation *e, struct text *out);      /* what it would do now, and why */
void explain_put_key(struct slice key, struct text *out);                 /* its parts, with bars between */
void explain_object_text(const struct explanation *e, const struct object *object, const char *indent, struct text *text);

void explain_put_text(const struct explanation *e, struct text *text);
void explain_put_json(const struct explanation *e, struct text *json);

#endif

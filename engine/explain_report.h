/*
 * explain_report: what was found out about a request (explain.c), and how it is said.
 */
#ifndef WEIR_EXPLAIN_REPORT_H
#define WEIR_EXPLAIN_REPORT_H

#include "engine/base/arena.h"
#include "engine/explain.h"
#include "proto/codec.h"

#define EXPLAIN_ROUTES_MAX 32u /* that are passed over and told; the rest are counted */

/* How the request ends. */
enum explain_end {
    EXPLAIN_REFUSED,  /* by us, with status and why */
    EXPLAIN_ADMIN,    /* the listener answers itself: metrics */
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

struct explanation {
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

    char head_room[BLOCK_BYTES];
    struct request request; /* last: large */
};

void explain_put_text(const struct explanation *e, struct text *text);
void explain_put_json(const struct explanation *e, struct text *json);

#endif

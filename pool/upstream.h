/*
 * upstream: one pool of origin servers as one worker sees it, and who is asked next.
 *
 * Three lifetimes meet here:
 * - struct health (health.h) is one per server for the process and outlives reloads.
 * - struct server is one per server and worker: its idle connections, its load, its counters. It outlives reloads too;
 *   `references` counts the upstreams, exchanges and connections that hold it.
 * - struct upstream belongs to one configuration generation on one worker: the members with this configuration's
 *   weights and limits, and the balancing state.
 *
 * Members stand in tiers: those of the first are asked as long as enough of them are well, see tier.h.
 *
 * The state machine here knows no socket and reads no clock. Who connects is engine/back.
 */
#ifndef WEIR_UPSTREAM_H
#define WEIR_UPSTREAM_H

#include "pool/balance.h"
#include "pool/health.h"
#include "pool/idle.h"

#define UPSTREAM_SERVERS_MAX 1024u
#define SERVER_WEIGHT_MAX 256u
#define SERVER_GROUP_MAX 7u
#define UPSTREAM_TIERS_MAX (2u * (SERVER_GROUP_MAX + 1u)) /* near and far of each group */
/* Latency histogram of a server: bucket i counts first-byte times below 2^i * 64 us; the last one all above. */
#define LATENCY_BUCKETS 20u

/* Counters of one server on one worker: written by that worker only, read by worker 0 (relaxed atomics, no lock). */
#define SERVER_COUNTER_ROWS(X) \
    X(requests, "requests sent") \
    X(responses, "well-formed responses") \
    X(status_1xx, "responses with a 1xx status") \
    X(status_2xx, "responses with a 2xx status") \
    X(status_3xx, "responses with a 3xx status") \
    X(status_4xx, "responses with a 4xx status") \
    X(status_5xx, "responses with a 5xx status") \
    X(connects, "connections opened") \
    X(reused, "requests on a kept-alive connection") \
    X(warmed, "connections opened ahead of requests") \
    X(borrowed, "kept connections taken over from another worker") \
    X(connect_failures, "connections that could not be opened") \
    X(closed_early, "connections closed before a response") \
    X(timeouts, "responses that took too long") \
    X(malformed, "responses refused as malformed") \
    X(retries, "requests taken elsewhere after a failure here") \
    X(hedges, "second requests sent here because another server was late") \
    X(status_failures, "responses whose status counts as a failure") \
    X(marks, "times marked as dead, or as worse than the others") \
    X(marks_success_rate, "of these, for its success rate") \
    X(marks_latency, "of these, for its latency") \
    X(marks_spared, "times not marked because max-ejected of the pool were") \
    X(sent_bytes, "bytes sent to the server") \
    X(received_bytes, "bytes received from the server")
#define SERVER_COUNTER_AS_MEMBER(name, text) _Atomic uint64_t name;
struct server_counters {
    SERVER_COUNTER_ROWS(SERVER_COUNTER_AS_MEMBER)
    _Atomic uint64_t latency[LATENCY_BUCKETS];
    _Atomic uint64_t latency_us_sum;
    _Atomic uint64_t open; /* gauge: connections open now, idle ones included */
    _Atomic uint64_t idle; /* gauge */
    _Atomic uint64_t busy; /* gauge: exchanges in flight */
};
/* Single-writer add: no lock prefix. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void counter_sub(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) - n, memory_order_relaxed);
}
static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
void latency_record(_Atomic uint64_t buckets[LATENCY_BUCKETS], _Atomic uint64_t *sum_us, uint64_t us);

struct server {
    struct slice name;      /* "pool/address", as commands say it; owned by whoever made the server */
    struct health *health;  /* the process's */
    struct idle_shelf idle; /* this worker's kept connections */
    uint32_t in_flight;     /* exchanges of this worker at this server */
    float peak_us;          /* balance_ewma.c: as of peak_ms; 0 there: nothing known */
    uint64_t peak_ms;
    uint32_t references;
    struct server_counters *counters;
    void *owner; /* the engine's: address to connect to, links */
};

/* A server as one configuration knows it. */
struct member {
    struct server *server;
    uint32_t weight;          /* 1..SERVER_WEIGHT_MAX */
    uint32_t max_connections; /* exchanges at once, whole process; 0: no limit */
    uint32_t fair_share;      /* of max_connections for one worker, kept to while others wait; 0: all of it */
    uint64_t sticky_id;       /* what brings a client back here; 0: nothing does */
    int32_t round_robin;      /* smooth weighted round-robin's current weight */
    uint16_t place;           /* in the caller's list; upstream_init sets it */
    uint8_t group;            /* 0..SERVER_GROUP_MAX: 0 is asked first */
    bool far;                 /* in another zone than this engine: after the near ones of its group */
    uint8_t tier;             /* upstream_init sets it */
};

/* Members of one group and nearness: what a policy works on. */
struct tier {
    struct member *members; /* a run of upstream->members */
    uint32_t count;
    void *balance_state;
    const struct upstream *upstream;
    /* Of the pool's name: the same on every worker and over reloads, so that a key keeps its server. */
    uint64_t hash_seed;
    uint64_t up_to;               /* requests whose 32 bits are below go here, or to a tier before; see tier.c */
    uint32_t weight, well_weight; /* sums, the second as of the last look */
    uint32_t in_flight;           /* of this worker, where load_cap is set; exact as of the last look */
    bool trial_due;               /* of a server, and no request would come by */
};

struct upstream {
    struct slice name;
    struct member *members; /* by tier, else in the caller's order */
    uint32_t count;
    uint32_t tier_count;
    const struct balance *balance;
    bool panic;      /* as of the last look: fewer than panic_below are well */
    bool full_speed; /* inside a pick for which slow start does not count */
    bool plain;      /* one tier, and nothing to look at now and then; known since the first look */
    /* The caller's to set, before the first pick. Slow start: the time in which one that comes up gets from a tenth of its share
     * to all of it; 0: at once. Load cap: percent of the mean load, by weight, that policies by key keep to; 0: no cap. */
    uint32_t slow_start_ms;
    uint32_t load_cap;
    /* Percent. Of a tier's weight that is well, below which requests go on to the next; of those that no command took out that are well,
     * below which marks and checks are ignored (0: never); of the members, that may be marked at once (100 until set; below it
     * `shared` must be set). */
    uint32_t spill_over, panic_below, max_ejected;
    struct health_pool *shared;
    struct health_limits health_limits;
    struct idle_limits idle_limits;
    uint64_t look_due_ms; /* tier.h */
    struct tier tiers[UPSTREAM_TIERS_MAX];
};

/*
 * ERR_MEMORY, ERR_CAP: nothing to release. Members' servers, weights and groups must be set; takes no references, and
 * sorts them by tier (member->place tells where one stood). The limits are the caller's to set afterwards.
 * upstream_release undoes it. An upstream must stay where it is in memory.
 */
enum err must_use upstream_init(struct upstream *upstream, struct slice name, struct member *members, uint32_t count,
                                enum balance_kind kind);
void upstream_release(struct upstream *upstream);

/* Why a pick ended as it did; each is a counter and a word in the log. */
#define PICK_ROWS(X) \
    X(PICK_OK, "picked") \
    X(PICK_LAST_RESORT, "picked though every server is marked as dead") \
    X(PICK_PANIC, "picked though not well, since too few servers are") \
    X(PICK_FULL, "every usable server is at its max-connections") \
    X(PICK_DOWN, "every server is down") \
    X(PICK_DRAINED, "every server that is not down is drained") \
    X(PICK_TRIED, "every usable server was tried") \
    X(PICK_EMPTY, "the pool has no server")
#define PICK_AS_ENUM(id, text) id,
enum pick_verdict { PICK_ROWS(PICK_AS_ENUM) PICK_VERDICTS };
const char *pick_text(enum pick_verdict verdict);

/*
 * Picks a member for one attempt and takes a lease of it (in_flight, and health->leases where max_connections is set:
 * exact for the whole process, by compare-and-swap). On PICK_OK, PICK_LAST_RESORT and PICK_PANIC *member is set and
 * upstream_done must follow exactly once. PICK_LAST_RESORT: no server is well, so of those that are not down by an active
 * check, drained, tried or full, the one whose mark runs out first is tried (what nginx does; a whole pool marked by one
 * bad minute still serves). PICK_PANIC: marks and checks are ignored for the moment, and this one would not have been
 * picked otherwise. On all others *member is left as it was.
 */
enum pick_verdict must_use upstream_pick(struct upstream *upstream, const struct pick_request *request,
                                         struct member **member);

/*
 * Gives the lease back and tells health and counters (busy, connect_failures, closed_early, timeouts, malformed, marks).
 * True when this marked the server as dead (for the log); never above max_ejected of the pool.
 */
bool upstream_done(struct upstream *upstream, struct member *member, enum server_outcome outcome, uint64_t now_ms,
                   uint64_t random);

/* The response's first byte came after `us` microseconds: for policies that go by it. */
static inline void upstream_answered(const struct upstream *upstream, struct member *member, uint64_t us,
                                     uint64_t now_ms)
{
    if (unlikely(upstream->balance->answered != NULL))
        upstream->balance->answered(member, us, now_ms);
}

/* Whether a verdict is one of a lease. */
static inline bool pick_has_lease(enum pick_verdict verdict)
{
    return verdict == PICK_OK || verdict == PICK_LAST_RESORT || verdict == PICK_PANIC;
}

/*
 * For policies: not drained, not down, not marked (or a trial is due), below max_connections, not tried; and of one in slow
 * start only for a part of the requests, always the same answer for one request.
 */
bool upstream_usable_else(const struct upstream *upstream, const struct member *member,
                          const struct pick_request *request);
static inline bool upstream_usable(const struct upstream *upstream, const struct member *member,
                                   const struct pick_request *request)
{
    if (likely(health_is_up(member->server->health)) && likely(upstream->slow_start_ms == 0) &&
        likely(request->tried_count == 0) && likely(member->max_connections == 0))
        return true;
    return upstream_usable_else(upstream, member, request);
}

/* Load of a member as least-load and two-choices compare it: (in_flight + 1) / weight, compared by cross product. */
static inline bool member_less_loaded(const struct member *a, const struct member *b)
{
    return (uint64_t)(a->server->in_flight + 1) * b->weight < (uint64_t)(b->server->in_flight + 1) * a->weight;
}

#endif

/*
 * health: is a server well? One record per server for the whole process, read by every worker without a lock.
 *
 * Three things are kept, each told apart in `weir pools`: what the operator said (drained), what active checks found
 * (checked), and what requests met (the passive mark). A mark is set after `fail_after` consecutive failures and lasts
 * for a back-off that doubles with each renewed mark from backoff_ms_min to backoff_ms_max. When it has run out, exactly
 * one request of all workers is let through as a trial (the claim moves the end of the mark on by another back-off);
 * its success clears the mark, its failure renews it. Other failures while a mark stands (all that was in flight when
 * the server died) leave it as it is. A server that active checks see coming up from down loses its mark too.
 *
 * A mark may also be a judgement on many requests (outlier.h): its server answers, only worse than the others do. So a
 * success says nothing before its back-off has run out.
 *
 * How many of a pool's servers may be marked at once can be limited (health_pool): then a mark is set only by who holds the
 * pool's `marking` and has counted. Nobody waits for it: a failure that does not get it sets no mark, the next one may.
 * Whatever else changes a mark never makes an unmarked server marked, so the count holds at every moment.
 *
 * All members are atomics with relaxed order: each stands for itself. Time is an argument (milliseconds, monotonic).
 */
#ifndef WEIR_HEALTH_H
#define WEIR_HEALTH_H

#include <stdatomic.h>

#include "pool/outlier.h"

/* What the operator says of a server instead of checks and marks. */
enum health_force { HEALTH_AUTO, HEALTH_FORCED_UP, HEALTH_FORCED_DOWN };

enum health_check { HEALTH_UNCHECKED, HEALTH_CHECK_UP, HEALTH_CHECK_DOWN };

/* What an exchange says of a server when it is through with it. */
enum server_outcome {
    SERVER_OK,          /* a well-formed response arrived */
    SERVER_CONNECT,     /* could not connect: refused, unreachable, timed out */
    SERVER_CLOSED,      /* a fresh connection closed or was reset before a response */
    SERVER_TIMEOUT,     /* no first byte, or silence in between, for too long */
    SERVER_BAD,         /* a malformed response */
    SERVER_STATUS,      /* a response whose status says that the server is not well */
    SERVER_UNTOLD,      /* nothing learnt: client left, reused connection was stale */
    /* No outcomes of an exchange, but what a mark may be set for as well: */
    SERVER_SUCCESS_RATE, /* fewer successes than the other servers' */
    SERVER_LATENCY,      /* slower than the others */
    SERVER_OUTCOMES
};
const char *server_outcome_word(enum server_outcome outcome); /* counter labels: "ok", "connect", ... */

struct health_limits {
    uint32_t fail_after;     /* consecutive failures until marked; 0: never */
    uint32_t backoff_ms_min;
    uint32_t backoff_ms_max;
    uint16_t status_first, status_last; /* responses that are failures; 0: none */
    struct outlier_limits outlier;
};

/* Process-wide, one per pool. */
struct health_pool {
    _Atomic uint32_t marking; /* somebody counts, and may set a mark */
};
/* False: somebody else is at it. */
bool health_pool_enter(struct health_pool *pool);
void health_pool_leave(struct health_pool *pool);
/* How many of `servers` may be marked at once: the share of them, but one at least unless it is 0. */
uint32_t health_marks_allowed(uint32_t servers, uint32_t percent);


struct health {
    _Atomic uint64_t marked_until_ms; /* 0: not marked */
    _Atomic uint64_t up_since_ms;     /* it came up, or was added, then; 0: it was there from the start */
    _Atomic uint32_t failures;        /* consecutive */
    _Atomic uint32_t marks;           /* renewed marks in a row: the back-off's exponent */
    _Atomic uint32_t leases;          /* exchanges holding this server, all workers; counted where max_connections is set */
    _Atomic uint32_t check_failures, check_successes; /* consecutive, written by the prober only */
    _Atomic uint8_t checked;          /* enum health_check */
    _Atomic uint8_t drained;
    _Atomic uint8_t forced;           /* enum health_force */
    _Atomic uint8_t unresolved;       /* there is no address to ask it at */
    _Atomic uint8_t last_outcome;     /* enum server_outcome that set the mark */
    _Atomic uint8_t trial;            /* a trial was claimed; the first failure after it renews the mark and clears this */
} __attribute__((aligned(CACHE_LINE)));

static inline bool health_has_mark(const struct health *health)
{
    return atomic_load_explicit(&health->marked_until_ms, memory_order_relaxed) != 0;
}

enum health_state { HEALTH_UP, HEALTH_MARKED, HEALTH_TRIAL_DUE, HEALTH_DOWN, HEALTH_DRAINED };
const char *health_state_word(enum health_state state);
enum health_state health_state(const struct health *health, uint64_t now_ms);
/* HEALTH_UP, without a call: what nearly every pick asks. */
static inline bool health_is_up(const struct health *health)
{
    return (atomic_load_explicit(&health->drained, memory_order_relaxed) | atomic_load_explicit(&health->forced, memory_order_relaxed) |
            atomic_load_explicit(&health->unresolved, memory_order_relaxed)) == 0 &&
           atomic_load_explicit(&health->checked, memory_order_relaxed) != HEALTH_CHECK_DOWN && !health_has_mark(health);
}

/* Not even in a panic, when marks and checks are ignored: drained or down by command, or there is nowhere to ask. */
static inline bool health_is_out(const struct health *health)
{
    return atomic_load_explicit(&health->drained, memory_order_relaxed) || atomic_load_explicit(&health->unresolved, memory_order_relaxed) ||
           atomic_load_explicit(&health->forced, memory_order_relaxed) == HEALTH_FORCED_DOWN;
}

/* What it is now, for a copy that may be tried out: nothing that happens to the one is seen in the other. */
void health_copy(struct health *to, const struct health *from);

/* TRIAL_DUE only: true for the one caller that may try. */
bool health_claim_trial(struct health *health, const struct health_limits *limits, uint64_t now_ms);

/* True when this outcome set or renewed the mark (log it). jitter: random bits, spreads the back-off by +-12 %. */
bool health_report(struct health *health, const struct health_limits *limits, enum server_outcome outcome,
                   uint64_t now_ms, uint64_t jitter);
/* The same, but without `may_mark` an unmarked server stays so: the next failure tries again. */
bool health_report_if(struct health *health, const struct health_limits *limits, enum server_outcome outcome,
                      uint64_t now_ms, uint64_t jitter, bool may_mark);
/* Another failure might set a mark. */
bool health_is_near_mark(const struct health *health, const struct health_limits *limits);
/* Marks it for a judgement (SERVER_SUCCESS_RATE, SERVER_LATENCY); false: it has a mark already. */
bool health_judge(struct health *health, enum server_outcome reason, uint64_t for_ms, uint64_t now_ms);

/* An active check's result; true when `checked` changed. rise/fall: consecutive results needed. */
bool health_check_result(struct health *health, bool well, unsigned rise, unsigned fall, uint64_t now_ms);

/* The operator's word. A server that comes back begins as one that was down. */
void health_drain(struct health *health, bool drained, uint64_t now_ms);

#endif

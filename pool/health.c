/*
 * health: see health.h. How the passive mark goes round:
 *
 *   unmarked --fail_after failures--> marked --back-off runs out--> trial due --one claim--> marked, a trial is out
 *      ^                                                                                        |          |
 *      +-------------------------------- any success -------------------------------------------+          |
 *                                        marked, back-off doubled <---------- the trial's failure ---------+
 *
 * When a server dies, everything in flight there fails at once. Those failures must not each double the back-off, so
 * a failure renews the mark only if it finds `trial` set, and takes it down: one renewal per claim. That the failure
 * of an older request may be taken for the trial's does no harm; it says the same.
 *
 * A trial that ends without telling anything (the client left) leaves the mark where the claim moved it: the next
 * trial is due one back-off later. Nobody has to give a claim back, so none can be lost.
 *
 * A success at any time clears the mark, also that of a last resort (upstream.h): the server has answered. Only a mark that
 * is a judgement waits for its trial: successes are what such a server has too, just not enough or not soon enough.
 */
#include "pool/health.h"

#define MARKS_MAX 32u /* doubling further than 2^31 ms (25 days) means nothing */

static const char *const outcome_words[SERVER_OUTCOMES] = {
    [SERVER_OK] = "ok",
    [SERVER_CONNECT] = "connect",
    [SERVER_CLOSED] = "closed",
    [SERVER_TIMEOUT] = "timeout",
    [SERVER_BAD] = "bad",
    [SERVER_STATUS] = "status",
    [SERVER_UNTOLD] = "untold",
    [SERVER_SUCCESS_RATE] = "success-rate",
    [SERVER_LATENCY] = "latency",
};

const char *server_outcome_word(enum server_outcome outcome)
{
    return (unsigned)outcome < SERVER_OUTCOMES ? outcome_words[outcome] : "unknown";
}

static const char *const state_words[] = {
    [HEALTH_UP] = "up",     [HEALTH_MARKED] = "marked",   [HEALTH_TRIAL_DUE] = "trial",
    [HEALTH_DOWN] = "down", [HEALTH_DRAINED] = "drained",
};

const char *health_state_word(enum health_state state)
{
    return (unsigned)state < ARRAY_LENGTH(state_words) ? state_words[state] : "unknown";
}

#define GET(member) atomic_load_explicit(&(member), memory_order_relaxed)
#define SET(member, value) atomic_store_explicit(&(member), (value), memory_order_relaxed)

enum health_state health_state(const struct health *health, uint64_t now_ms)
{
    if (GET(health->drained))
        return HEALTH_DRAINED;
    uint8_t forced = GET(health->forced);
    if (unlikely(GET(health->unresolved) || forced != HEALTH_AUTO))
        return GET(health->unresolved) || forced == HEALTH_FORCED_DOWN ? HEALTH_DOWN : HEALTH_UP;
    if (GET(health->checked) == HEALTH_CHECK_DOWN)
        return HEALTH_DOWN;
    uint64_t until = GET(health->marked_until_ms);
    if (likely(until == 0))
        return HEALTH_UP;
    return now_ms < until ? HEALTH_MARKED : HEALTH_TRIAL_DUE;
}

/* The back-off of the nth mark in a row, n from 1. */
static uint64_t backoff_ms(const struct health_limits *limits, uint32_t marks)
{
    uint32_t doublings = marks > 0 ? marks - 1 : 0;
    if (doublings >= MARKS_MAX)
        return limits->backoff_ms_max;
    return u64_min((uint64_t)limits->backoff_ms_min << doublings, limits->backoff_ms_max);
}

/* From 88 % to 112 %. */
static uint64_t spread(uint64_t ms, uint64_t jitter)
{
    return ms - ms * 12 / 100 + jitter % (ms * 24 / 100 + 1);
}

bool health_claim_trial(struct health *health, const struct health_limits *limits, uint64_t now_ms)
{
    uint64_t until = GET(health->marked_until_ms);
    if (until == 0 || now_ms < until)
        return false;
    uint64_t next = now_ms + u64_max(backoff_ms(limits, GET(health->marks)), 1);
    if (!atomic_compare_exchange_strong_explicit(&health->marked_until_ms, &until, next, memory_order_relaxed,
                                                 memory_order_relaxed))
        return false;
    SET(health->trial, 1);
    return true;
}

static void clear_mark(struct health *health, uint64_t now_ms)
{
    if (GET(health->marked_until_ms) != 0)
        SET(health->up_since_ms, now_ms);
    SET(health->marked_until_ms, 0);
    SET(health->marks, 0);
    SET(health->trial, 0);
}

static bool is_judgement(const struct health *health)
{
    uint8_t reason = GET(health->last_outcome);
    return reason == SERVER_SUCCESS_RATE || reason == SERVER_LATENCY;
}

/* Every request passes here: reads only, unless there is something to forget. */
static void forget_failures(struct health *health, uint64_t now_ms)
{
    if (unlikely(GET(health->failures) != 0))
        SET(health->failures, 0);
    if (unlikely(health_has_mark(health)) && (!is_judgement(health) || GET(health->trial) != 0))
        clear_mark(health, now_ms);
}

static bool set_mark(struct health *health, const struct health_limits *limits, enum server_outcome outcome,
                     uint64_t now_ms, uint64_t jitter)
{
    uint64_t unmarked = 0;
    uint64_t until = now_ms + u64_max(spread(backoff_ms(limits, 1), jitter), 1);
    if (!atomic_compare_exchange_strong_explicit(&health->marked_until_ms, &unmarked, until, memory_order_relaxed,
                                                 memory_order_relaxed))
        return false; /* another worker was first */
    SET(health->marks, 1);
    SET(health->last_outcome, (uint8_t)outcome);
    return true;
}

static bool renew_mark(struct health *health, const struct health_limits *limits, enum server_outcome outcome,
                       uint64_t now_ms, uint64_t jitter)
{
    if (GET(health->trial) == 0 || atomic_exchange_explicit(&health->trial, 0, memory_order_relaxed) == 0)
        return false;
    uint32_t marks = GET(health->marks);
    if (marks < MARKS_MAX)
        marks++;
    uint64_t next = now_ms + u64_max(spread(backoff_ms(limits, marks), jitter), 1);
    uint64_t until = GET(health->marked_until_ms);
    do {
        if (until == 0) /* a success has just cleared it: that stands */
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&health->marked_until_ms, &until, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    SET(health->marks, marks);
    SET(health->last_outcome, (uint8_t)outcome);
    return true;
}

bool health_report(struct health *health, const struct health_limits *limits, enum server_outcome outcome,
                   uint64_t now_ms, uint64_t jitter)
{
    return health_report_if(health, limits, outcome, now_ms, jitter, true);
}

bool health_is_near_mark(const struct health *health, const struct health_limits *limits)
{
    return limits->fail_after != 0 && !health_has_mark(health) && GET(health->failures) + 1 >= limits->fail_after;
}

bool health_report_if(struct health *health, const struct health_limits *limits, enum server_outcome outcome,
                      uint64_t now_ms, uint64_t jitter, bool may_mark)
{
    if (likely(outcome == SERVER_OK)) {
        forget_failures(health, now_ms);
        return false;
    }
    if (outcome == SERVER_UNTOLD)
        return false;
    uint32_t failures = atomic_fetch_add_explicit(&health->failures, 1, memory_order_relaxed) + 1;
    if (limits->fail_after == 0 &&
        !is_judgement(health)) { /* a reload may have switched marking off while a mark stood */
        clear_mark(health, now_ms);
        return false;
    }
    if (GET(health->marked_until_ms) != 0)
        return renew_mark(health, limits, outcome, now_ms, jitter);
    bool enough = limits->fail_after != 0 && failures >= limits->fail_after;
    return enough && may_mark && set_mark(health, limits, outcome, now_ms, jitter);
}

bool health_judge(struct health *health, enum server_outcome reason, uint64_t for_ms, uint64_t now_ms)
{
    uint64_t unmarked = 0;
    uint8_t before = GET(health->last_outcome);
    SET(health->last_outcome, (uint8_t)reason); /* first: a success must find it a judgement */
    if (!atomic_compare_exchange_strong_explicit(&health->marked_until_ms, &unmarked, now_ms + u64_max(for_ms, 1),
                                                 memory_order_relaxed, memory_order_relaxed)) {
        SET(health->last_outcome, before);
        return false;
    }
    SET(health->marks, 1);
    return true;
}

/* The pool ----------------------------------------------------------------------------------------------------- */

bool health_pool_enter(struct health_pool *pool)
{
    uint32_t free = 0;
    return atomic_compare_exchange_strong_explicit(&pool->marking, &free, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

void health_pool_leave(struct health_pool *pool)
{
    atomic_store_explicit(&pool->marking, 0, memory_order_release);
}

uint32_t health_marks_allowed(uint32_t servers, uint32_t percent)
{
    uint32_t share = (uint32_t)((uint64_t)servers * percent / 100);
    return share || percent == 0 ? share : 1;
}

static uint32_t one_more(uint32_t count)
{
    return count == UINT32_MAX ? count : count + 1;
}

bool health_check_result(struct health *health, bool well, unsigned rise, unsigned fall, uint64_t now_ms)
{
    uint32_t successes = well ? one_more(GET(health->check_successes)) : 0;
    uint32_t failures = well ? 0 : one_more(GET(health->check_failures));
    SET(health->check_successes, successes);
    SET(health->check_failures, failures);
    uint8_t before = GET(health->checked);
    uint8_t after = before;
    if (well && successes >= rise)
        after = HEALTH_CHECK_UP;
    if (!well && failures >= fall)
        after = HEALTH_CHECK_DOWN;
    if (after == before)
        return false;
    /* It was seen to come back: a mark from before, with up to backoff_ms_max to run, says nothing any more. */
    if (before == HEALTH_CHECK_DOWN) {
        clear_mark(health, now_ms);
        SET(health->up_since_ms, now_ms);
    }
    SET(health->checked, after);
    return true;
}

void health_drain(struct health *health, bool drained, uint64_t now_ms)
{
    if (!drained && GET(health->drained))
        SET(health->up_since_ms, now_ms);
    SET(health->drained, drained);
}

void health_copy(struct health *to, const struct health *from)
{
    SET(to->marked_until_ms, GET(from->marked_until_ms));
    SET(to->failures, GET(from->failures));
    SET(to->marks, GET(from->marks));
    SET(to->leases, GET(from->leases));
    SET(to->checked, GET(from->checked));
    SET(to->drained, GET(from->drained));
    SET(to->last_outcome, GET(from->last_outcome));
    SET(to->trial, GET(from->trial));
    SET(to->check_failures, GET(from->check_failures));
    SET(to->check_successes, GET(from->check_successes));
    SET(to->up_since_ms, GET(from->up_since_ms));
    SET(to->forced, GET(from->forced));
    SET(to->unresolved, GET(from->unresolved));
}

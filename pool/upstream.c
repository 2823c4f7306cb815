/*
 * upstream: see upstream.h. A pick goes in two steps: the tier's policy names a server that looks usable, and the lease
 * makes sure of it, because other workers pick at the same time. What they may take away in between is the last place
 * below max_connections and the one trial; then the policy is asked again and sees why.
 *
 * Policies are not asked in two cases: one server, and none usable. In the second the servers are gone through once
 * more to tell the reason, and with it what to do: wait (PICK_FULL), try one that is marked (PICK_LAST_RESORT), or
 * give up.
 */
#include "pool/upstream.h"

#include "engine/base/check.h"
#include "pool/tier.h"

#define ROUNDS_MAX 8u /* that other workers may spoil; then the state of things is told as it is found */

#define PICK_AS_TEXT(id, text) [id] = (text),
static const char *const pick_texts[PICK_VERDICTS] = { PICK_ROWS(PICK_AS_TEXT) };

const char *pick_text(enum pick_verdict verdict)
{
    return (unsigned)verdict < PICK_VERDICTS ? pick_texts[verdict] : "unknown";
}

void latency_record(_Atomic uint64_t buckets[LATENCY_BUCKETS], _Atomic uint64_t *sum_us, uint64_t us)
{
    uint64_t quotient = us / 64;
    unsigned bucket = quotient == 0 ? 0 : 64 - (unsigned)__builtin_clzll(quotient);
    counter_add(&buckets[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1], 1);
    counter_add(sum_us, us);
}

/* Life --------------------------------------------------------------------------------------------------------- */

enum err upstream_init(struct upstream *upstream, struct slice name, struct member *members, uint32_t count,
                       enum balance_kind kind)
{
    *upstream = (struct upstream){ .name = name, .members = members, .count = count, .max_ejected = 100 };
    if (count > UPSTREAM_SERVERS_MAX)
        return ERR_CAP;
    for (uint32_t i = 0; i < count; i++) {
        MUST(members[i].server && members[i].weight >= 1 && members[i].weight <= SERVER_WEIGHT_MAX);
        MUST(members[i].group <= SERVER_GROUP_MAX);
    }
    return tiers_build(upstream, balance_of(kind));
}

void upstream_release(struct upstream *upstream)
{
    tiers_release(upstream);
    *upstream = (struct upstream){ 0 };
}

/* What a server is good for ------------------------------------------------------------------------------------ */

static bool was_tried(const struct member *member, const struct pick_request *request)
{
    for (unsigned i = 0; i < request->tried_count; i++)
        if (request->tried[i] == member->server)
            return true;
    return false;
}

/* While others wait nobody takes more than its share, or a worker that once had most of the places would keep them. */
static bool is_full(const struct member *member, const struct pick_request *request)
{
    if (likely(member->max_connections == 0))
        return false;
    if (request->others_wait && member->fair_share && member->server->in_flight >= member->fair_share)
        return true;
    return atomic_load_explicit(&member->server->health->leases, memory_order_relaxed) >= member->max_connections;
}

/*
 * Slow start: the first tenth at once, the rest in proportion to time, by a coin per request and server. A policy that compares
 * all servers would send one that has just come up, and is idle, everything it is shown: there the part is of its share.
 */
static cold_function bool is_held_back(const struct upstream *upstream, const struct member *member,
                                       const struct pick_request *request)
{
    uint64_t since = atomic_load_explicit(&member->server->health->up_since_ms, memory_order_relaxed);
    uint64_t age = request->now_ms > since ? request->now_ms - since : 0;
    if (since == 0 || age >= upstream->slow_start_ms || upstream->full_speed)
        return false;
    uint64_t part = (1ull << 32) / 10 + (9 * age << 32) / 10 / upstream->slow_start_ms;
    if (upstream->balance->all_of)
        part = part * member->weight / upstream->tiers[member->tier].weight;
    return mix64(request->random ^ (member->place + 1) * 0x9e3779b97f4a7c15ull) >> 32 >= part;
}

bool upstream_usable_else(const struct upstream *upstream, const struct member *member,
                          const struct pick_request *request)
{
    enum health_state state = health_state(member->server->health, request->now_ms);
    if (unlikely(state != HEALTH_UP && state != HEALTH_TRIAL_DUE))
        return upstream->panic && !health_is_out(member->server->health) && !was_tried(member, request) && !is_full(member, request);
    if (unlikely(upstream->slow_start_ms) && is_held_back(upstream, member, request))
        return false;
    return likely(request->tried_count == 0 || !was_tried(member, request)) && likely(!is_full(member, request));
}

/* Leases ------------------------------------------------------------------------------------------------------- */

/* Never above the limit, not even for a moment: compare-and-swap and not add-then-look. */
static inline bool lease_take(struct upstream *upstream, struct member *member)
{
    if (member->max_connections) {
        _Atomic uint32_t *leases = &member->server->health->leases;
        uint32_t held = atomic_load_explicit(leases, memory_order_relaxed);
        do {
            if (held >= member->max_connections)
                return false;
        } while (!atomic_compare_exchange_weak_explicit(leases, &held, held + 1, memory_order_relaxed,
                                                        memory_order_relaxed));
    }
    member->server->in_flight++;
    if (unlikely(upstream->load_cap))
        upstream->tiers[member->tier].in_flight++;
    counter_add(&member->server->counters->busy, 1);
    return true;
}

static void lease_return(struct upstream *upstream, struct member *member)
{
    struct server *server = member->server;
    MUST(server->in_flight > 0);
    server->in_flight--;
    if (unlikely(upstream->load_cap))
        upstream->tiers[member->tier].in_flight--;
    counter_sub(&server->counters->busy, 1);
    if (member->max_connections) {
        uint32_t held = atomic_fetch_sub_explicit(&server->health->leases, 1, memory_order_relaxed);
        MUST(held > 0);
    }
}

/* Takes what the policy has picked; false when another worker was first. */
static inline bool secure(struct upstream *upstream, struct member *member, const struct pick_request *request)
{
    if (unlikely(!lease_take(upstream, member)))
        return false;
    struct health *health = member->server->health;
    if (likely(atomic_load_explicit(&health->marked_until_ms, memory_order_relaxed) == 0))
        return true;
    if (health_claim_trial(health, &upstream->health_limits, request->now_ms) || upstream->panic ||
        health_state(health, request->now_ms) == HEALTH_UP) /* by command */
        return true;
    lease_return(upstream, member);
    return false;
}

/* Picking ------------------------------------------------------------------------------------------------------ */

static inline struct member *ask_tier(const struct upstream *upstream, struct tier *tier,
                                      const struct pick_request *request)
{
    if (tier->count == 1)
        return upstream_usable(upstream, &tier->members[0], request) ? &tier->members[0] : NULL;
    int index = upstream->balance->pick(tier, request);
    if (unlikely(index < 0))
        return NULL;
    MUST((uint32_t)index < tier->count);
    return &tier->members[index];
}

/* The tier whose turn it is, those behind it, then those before it: a request waits only when all are full. */
static struct member *ask_tiers(struct upstream *upstream, const struct pick_request *request)
{
    uint32_t first = tier_for(upstream, request);
    struct member *found = NULL;
    for (uint32_t i = first; !found && i < upstream->tier_count; i++)
        found = ask_tier(upstream, &upstream->tiers[i], request);
    for (uint32_t i = 0; !found && i < first; i++)
        found = ask_tier(upstream, &upstream->tiers[i], request);
    return found;
}

static struct member *ask(struct upstream *upstream, const struct pick_request *request)
{
    if (request->now_ms >= upstream->look_due_ms)
        tiers_look(upstream, request->now_ms);
    return upstream->tier_count ? ask_tiers(upstream, request) : NULL;
}

/* Why there is none, and the marked one to fall back on. */
struct shortage {
    uint32_t down, drained, tried, full, marked_full;
    struct member *last_resort;
};

static bool sooner(const struct member *a, const struct member *b)
{
    return atomic_load_explicit(&a->server->health->marked_until_ms, memory_order_relaxed) <
           atomic_load_explicit(&b->server->health->marked_until_ms, memory_order_relaxed);
}

static void look_into(struct shortage *shortage, struct member *member, const struct pick_request *request)
{
    enum health_state state = health_state(member->server->health, request->now_ms);
    if (state == HEALTH_DRAINED)
        shortage->drained++;
    else if (state == HEALTH_DOWN)
        shortage->down++;
    else if (was_tried(member, request))
        shortage->tried++;
    else if (state == HEALTH_UP)
        shortage->full++; /* or was a moment ago: the caller waits, and not for long */
    else if (is_full(member, request))
        shortage->marked_full++;
    else if (!shortage->last_resort || sooner(member, shortage->last_resort))
        shortage->last_resort = member;
}

static cold_function enum pick_verdict settle_for(struct upstream *upstream, const struct pick_request *request,
                                                  struct member **member)
{
    if (upstream->count == 0)
        return PICK_EMPTY;
    struct shortage shortage = { 0 };
    for (uint32_t i = 0; i < upstream->count; i++)
        look_into(&shortage, &upstream->members[i], request);
    if (shortage.full > 0)
        return PICK_FULL;
    if (shortage.last_resort) {
        if (!lease_take(upstream, shortage.last_resort))
            return PICK_FULL;
        *member = shortage.last_resort;
        return PICK_LAST_RESORT;
    }
    if (shortage.marked_full > 0)
        return PICK_FULL;
    if (shortage.tried > 0)
        return PICK_TRIED;
    return shortage.drained > 0 ? PICK_DRAINED : PICK_DOWN;
}

/* The member that the client was with before, if it can be had. */
static struct member *take_sticky(struct upstream *upstream, const struct pick_request *request)
{
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct member *member = &upstream->members[i];
        if (member->sticky_id == request->sticky)
            return upstream_usable(upstream, member, request) && secure(upstream, member, request) ? member : NULL;
    }
    return NULL;
}

/* The marks of this very moment may be the ones that make it a panic. */
static cold_function bool begin_panic(struct upstream *upstream, const struct pick_request *request)
{
    if (upstream->panic_below == 0 || upstream->panic)
        return false;
    tiers_look(upstream, request->now_ms);
    return upstream->panic;
}

/* Nobody is left but those that slow start holds back, or nobody. */
static cold_function enum pick_verdict pick_slow(struct upstream *upstream, const struct pick_request *request,
                                                 struct member **member)
{
    if (upstream->slow_start_ms == 0 || upstream->full_speed)
        return settle_for(upstream, request, member);
    upstream->full_speed = true;
    enum pick_verdict verdict = upstream_pick(upstream, request, member);
    upstream->full_speed = false;
    return verdict;
}

static bool is_well(const struct member *member, const struct pick_request *request)
{
    enum health_state state = health_state(member->server->health, request->now_ms);
    return state == HEALTH_UP || state == HEALTH_TRIAL_DUE;
}

/* With everything there is: tiers, caps, panic, and rounds that others spoil. */
static enum pick_verdict pick_carefully(struct upstream *upstream, const struct pick_request *request,
                                        struct member **member)
{
    struct member *sticky = unlikely(request->sticky != 0) ? take_sticky(upstream, request) : NULL;
    if (unlikely(sticky != NULL)) {
        *member = sticky;
        return PICK_OK;
    }
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        struct member *found = ask(upstream, request);
        if (unlikely(!found))
            break;
        bool well = likely(!upstream->panic) || is_well(found, request);
        if (likely(secure(upstream, found, request))) {
            *member = found;
            return likely(well) ? PICK_OK : PICK_PANIC;
        }
    }
    return begin_panic(upstream, request) ? upstream_pick(upstream, request, member)
                                          : pick_slow(upstream, request, member);
}

enum pick_verdict upstream_pick(struct upstream *upstream, const struct pick_request *request, struct member **member)
{
    if (likely(upstream->plain) && likely(request->sticky == 0)) {
        struct member *found = ask_tier(upstream, &upstream->tiers[0], request);
        if (likely(found != NULL) && likely(secure(upstream, found, request))) {
            *member = found;
            return PICK_OK;
        }
    }
    return pick_carefully(upstream, request, member);
}

/* The end of an attempt ---------------------------------------------------------------------------------------- */

static cold_function void count_outcome(const struct upstream *upstream, struct member *member,
                                        enum server_outcome outcome, uint64_t now_ms)
{
    struct server_counters *counters = member->server->counters;
    if (upstream->balance->failed && outcome != SERVER_UNTOLD)
        upstream->balance->failed(member, now_ms);
    switch (outcome) {
    case SERVER_CONNECT: counter_add(&counters->connect_failures, 1); break;
    case SERVER_CLOSED: counter_add(&counters->closed_early, 1); break;
    case SERVER_TIMEOUT: counter_add(&counters->timeouts, 1); break;
    case SERVER_BAD: counter_add(&counters->malformed, 1); break;
    case SERVER_STATUS: counter_add(&counters->status_failures, 1); break;
    default: break;
    }
}

static uint32_t marked_members(const struct upstream *upstream)
{
    uint32_t marked = 0;
    for (uint32_t i = 0; i < upstream->count; i++)
        marked += health_has_mark(upstream->members[i].server->health);
    return marked;
}

/* A failure where not all servers may be marked at once: who might mark counts first, and nobody else marks meanwhile. */
static cold_function bool report_within_share(struct upstream *upstream, struct member *member,
                                              enum server_outcome outcome, uint64_t now_ms, uint64_t random)
{
    struct health *health = member->server->health;
    const struct health_limits *limits = &upstream->health_limits;
    if (!health_is_near_mark(health, limits) || !health_pool_enter(upstream->shared))
        return health_report_if(health, limits, outcome, now_ms, random, false);
    bool may_mark = marked_members(upstream) < health_marks_allowed(upstream->count, upstream->max_ejected);
    bool marked = health_report_if(health, limits, outcome, now_ms, random, may_mark);
    health_pool_leave(upstream->shared);
    if (!may_mark)
        counter_add(&member->server->counters->marks_spared, 1);
    return marked;
}

static cold_function bool end_badly(struct upstream *upstream, struct member *member, enum server_outcome outcome,
                                    uint64_t now_ms, uint64_t random)
{
    struct server *server = member->server;
    count_outcome(upstream, member, outcome, now_ms);
    bool within_share = upstream->max_ejected < 100 && outcome != SERVER_UNTOLD;
    bool marked = within_share ? report_within_share(upstream, member, outcome, now_ms, random)
                               : health_report(server->health, &upstream->health_limits, outcome, now_ms, random);
    counter_add(&server->counters->marks, marked);
    return marked;
}

bool upstream_done(struct upstream *upstream, struct member *member, enum server_outcome outcome, uint64_t now_ms,
                   uint64_t random)
{
    lease_return(upstream, member);
    if (unlikely(outcome != SERVER_OK))
        return end_badly(upstream, member, outcome, now_ms, random);
    return health_report(member->server->health, &upstream->health_limits, SERVER_OK, now_ms, random); /* false */
}

/*
 * A storm over fifty origins, simulated: three workers with views of their own and one clock, servers that die, flap, fail a
 * part of their requests, become slow or answer 500, active checks and the comparing of servers as the control thread does them.
 * Half a minute of that, then a calm. Everything is drawn from WEIR_SEED: the weather, the requests, and the pool's settings.
 *
 * What must hold at every moment, whatever the settings:
 *   - a request goes without a server only when no well one is left that it has not tried and that has a place
 *   - never more marks at once than max-ejected allows, never more leases than max-connections
 *   - with a load cap nobody gets a request beyond it while another could take that
 *   - what was drained gets nothing
 *   - retries stay within the budget, over the whole and over any two of its windows that lie next to each other
 * and in the calm: every server of the first tier gets requests again, and nobody is marked or in panic any more.
 *
 * To add a kind of weather, add a row to `weathers`.
 */
#include "pool/budget.h"
#include "pool/tier.h"
#include "tests/unit/pool/fixture.h"

enum {
    SERVERS = 50,
    WORKERS = 3,
    RETRIES = 3,
    STORM_MS = 30000,
    CALM_MS = 60000, /* what a peak of latency needs to be forgotten, and more than all back-offs */
    LAST_MS = 1000,
    LAST_RATE = 16, /* a millisecond: so many that least-load gets to the light servers too */
    STORMS = 3,     /* of each policy in a run */
    JUDGE_MS = 1000,
    CHECK_MS = 500,
    WAITS_MAX = 40,
    WAIT_MS = 5,
    BUCKETS = 4096, /* of milliseconds: nothing takes longer */
    WINDOWS = 64,
};

/* The weather -------------------------------------------------------------------------------------------------- */

struct weather {
    const char *name;
    uint32_t refused, cut, status_500; /* percent of requests */
    uint32_t slowness;                 /* times the usual latency */
    uint32_t flap_ms;                  /* bad and good in turns; 0: bad all the time */
};

static const struct weather weathers[] = {
    { "fair", 0, 0, 0, 1, 0 },           { "dead", 100, 0, 0, 1, 0 }, { "flapping", 100, 0, 0, 1, 300 },
    { "failing", 0, 40, 0, 1, 0 },       { "500", 0, 0, 60, 1, 0 },   { "slow", 0, 0, 0, 40, 0 },
    { "slow flaps", 10, 0, 0, 20, 700 },
};

struct origin {
    const struct weather *weather;
    uint64_t until_ms;
    uint32_t latency_ms;
    int picks; /* in the last part of the calm */
};

/* The storm ---------------------------------------------------------------------------------------------------- */

struct exchange {
    struct exchange *next; /* in its bucket, or free */
    struct world *world;
    struct pick_request pick;
    struct member *member; /* NULL: it waits for a place */
    enum server_outcome outcome;
    bool status_500;
    uint32_t attempts, waits, took_ms;
};

struct settings {
    enum balance_kind kind;
    uint32_t max_ejected, panic_below, slow_start_ms, load_cap, spill_over;
    struct budget_limits budget;
    uint32_t rate; /* requests in a millisecond of the storm */
    bool checks, judges;
};

struct storm {
    struct settings settings;
    uint64_t seed, now_ms, end_of_storm_ms;
    struct world worlds[WORKERS];
    struct health_pool shared;
    struct budget budgets[WORKERS];
    uint64_t retries[WINDOWS], asked[WINDOWS]; /* in each of the budget's windows: further attempts, requests */
    struct origin origins[SERVERS];
    struct outlier_sample seen[SERVERS];
    uint32_t strikes[SERVERS];
    struct exchange *buckets[BUCKETS], *free, pool[4096];
    uint64_t requests, answered, lost, gave_up_waiting, over_budget, panics, last_resorts, marks_most;
};

static uint32_t below(struct storm *storm, uint32_t n)
{
    return (uint32_t)(next_random(&storm->seed) % n);
}

static uint32_t one_of(struct storm *storm, const uint32_t *list, uint32_t count)
{
    return list[below(storm, count)];
}

static bool is_bad(const struct storm *storm, const struct origin *origin)
{
    uint32_t flap_ms = origin->weather->flap_ms;
    return flap_ms == 0 || storm->now_ms / flap_ms % 2 == 0;
}

static void change_weather(struct storm *storm)
{
    bool calm = storm->now_ms >= storm->end_of_storm_ms;
    for (uint32_t i = 0; i < SERVERS; i++) {
        struct origin *origin = &storm->origins[i];
        if (calm || storm->now_ms >= origin->until_ms)
            origin->weather = &weathers[0];
    }
    if (calm)
        return;
    bool squall = below(storm, 40) == 0; /* all at once, and all alike */
    const struct weather *weather = &weathers[below(storm, ARRAY_LENGTH(weathers))];
    for (uint32_t i = squall ? SERVERS : 1 + below(storm, 3); i-- > 0;) {
        struct origin *origin = &storm->origins[squall ? i : below(storm, SERVERS)];
        origin->weather = squall ? weather : &weathers[below(storm, ARRAY_LENGTH(weathers))];
        origin->until_ms = storm->now_ms + 500 + below(storm, squall ? 1500 : 5000);
    }
}

/* Invariants --------------------------------------------------------------------------------------------------- */

static bool was_tried_by(const struct exchange *x, const struct member *member)
{
    for (unsigned i = 0; i < x->pick.tried_count; i++)
        if (x->pick.tried[i] == member->server)
            return true;
    return false;
}

static bool has_place(const struct member *member)
{
    return member->max_connections == 0 || atomic_load(&member->server->health->leases) < member->max_connections;
}

/* Well, untried, with a place: it could have saved this request. */
static const struct member *saviour(const struct storm *storm, const struct exchange *x)
{
    for (uint32_t i = 0; i < SERVERS; i++) {
        const struct member *member = &x->world->members[i];
        if (health_state(member->server->health, storm->now_ms) == HEALTH_UP && !was_tried_by(x, member) &&
            has_place(member))
            return member;
    }
    return NULL;
}

static void check_marks(struct storm *storm)
{
    uint32_t marked = 0;
    for (uint32_t i = 0; i < SERVERS; i++)
        marked += health_has_mark(&storm->worlds[0].records[i]);
    cr_assert_leq(marked, health_marks_allowed(SERVERS, storm->settings.max_ejected));
    storm->marks_most = u64_max(storm->marks_most, marked);
}

/* For slow start the cap yields: what a server that begins is spared goes to others. */
static bool is_beginning(const struct storm *storm, const struct member *member)
{
    uint64_t since = atomic_load(&member->server->health->up_since_ms);
    return since && storm->now_ms < since + storm->settings.slow_start_ms;
}

/* Servers of a tier that were beyond the cap before the pick, by a bit each. */
static uint64_t without_room(const struct world *world)
{
    uint64_t found = 0;
    for (uint32_t i = 0; i < SERVERS; i++)
        if (!tier_has_room(&world->upstream.tiers[world->members[i].tier], &world->members[i]))
            found |= 1ull << i;
    return found;
}

static void check_cap(const struct storm *storm, const struct exchange *x, uint64_t full)
{
    const struct world *world = x->world;
    uint64_t picked = (uint64_t)(x->member - world->members);
    if (!(full >> picked & 1))
        return;
    for (uint32_t i = 0; i < SERVERS; i++) {
        const struct member *other = &world->members[i];
        if (is_beginning(storm, other) || other == x->member || other->tier != x->member->tier || full >> i & 1 ||
            was_tried_by(x, other) || !has_place(other))
            continue;
        cr_assert_neq(health_state(other->server->health, storm->now_ms), HEALTH_UP,
                      "%s: beyond the cap beside one with room", world->upstream.balance->word);
    }
}

static void check_pick(struct storm *storm, struct exchange *x, enum pick_verdict verdict)
{
    const char *word = x->world->upstream.balance->word;
    if (!pick_has_lease(verdict) || verdict == PICK_LAST_RESORT) {
        const struct member *member = saviour(storm, x);
        cr_assert(member == NULL, "%s: %s, but server %d was well and untried", word, pick_text(verdict),
                  member ? index_of(x->world, member) : 0);
    }
    if (!pick_has_lease(verdict))
        return;
    cr_assert(!was_tried_by(x, x->member), "%s: tried twice", word);
    cr_assert_neq(health_state(x->member->server->health, storm->now_ms), HEALTH_DRAINED);
    cr_assert(verdict != PICK_PANIC || storm->settings.panic_below > 0);
    cr_assert(x->member->max_connections == 0 ||
              atomic_load(&x->member->server->health->leases) <= x->member->max_connections);
}

/* Requests ----------------------------------------------------------------------------------------------------- */

static void put_off(struct storm *storm, struct exchange *x, uint32_t ms)
{
    struct exchange **bucket = &storm->buckets[(storm->now_ms + ms) % BUCKETS];
    cr_assert(ms > 0 && ms < BUCKETS);
    x->next = *bucket;
    *bucket = x;
}

static void forget(struct storm *storm, struct exchange *x)
{
    x->next = storm->free;
    storm->free = x;
}

/* What the origin makes of it is settled when it is asked. */
static void ask_origin(struct storm *storm, struct exchange *x)
{
    struct origin *origin = &storm->origins[index_of(x->world, x->member)];
    const struct weather *weather = is_bad(storm, origin) ? origin->weather : &weathers[0];
    uint32_t drawn = below(storm, 100);
    x->took_ms = 1 + origin->latency_ms * weather->slowness * (50 + below(storm, 100)) / 100;
    x->outcome = SERVER_OK;
    x->status_500 = below(storm, 100) < weather->status_500;
    if (drawn < weather->refused) {
        x->outcome = SERVER_CONNECT;
        x->took_ms = 1;
    } else if (drawn < weather->refused + weather->cut) {
        x->outcome = SERVER_CLOSED;
    }
    x->attempts++;
    origin->picks += storm->now_ms >= storm->end_of_storm_ms + CALM_MS;
    put_off(storm, x, x->took_ms);
}

static void attempt(struct storm *storm, struct exchange *x)
{
    x->pick.random = next_random(&storm->seed);
    x->pick.now_ms = storm->now_ms;
    struct upstream *upstream = &x->world->upstream;
    if (upstream->look_due_ms <= storm->now_ms && !upstream->plain)
        tiers_look(upstream, storm->now_ms); /* as the pick would, so that the caps are known */
    uint64_t full = upstream->load_cap ? without_room(x->world) : 0;
    x->member = NULL;
    enum pick_verdict verdict = upstream_pick(upstream, &x->pick, &x->member);
    check_pick(storm, x, verdict);
    storm->panics += verdict == PICK_PANIC;
    storm->last_resorts += verdict == PICK_LAST_RESORT;
    if (pick_has_lease(verdict)) {
        if (verdict == PICK_OK && upstream->load_cap)
            check_cap(storm, x, full);
        ask_origin(storm, x);
    } else if (verdict == PICK_FULL && x->waits++ < WAITS_MAX) {
        put_off(storm, x, WAIT_MS);
    } else {
        storm->gave_up_waiting += verdict == PICK_FULL;
        storm->lost += verdict != PICK_FULL;
        forget(storm, x);
    }
}

static uint64_t window_of(const struct storm *storm)
{
    uint64_t window = storm->now_ms / BUDGET_WINDOW_MS;
    cr_assert_lt(window, WINDOWS);
    return window;
}

/* False ends the exchange with the failure it has. */
static bool may_retry(struct storm *storm, const struct exchange *x)
{
    uint32_t worker = (uint32_t)(x->world - storm->worlds);
    if (x->attempts > RETRIES || !budget_take(&storm->budgets[worker], &storm->settings.budget, worker, WORKERS, storm->now_ms)) {
        storm->over_budget += x->attempts <= RETRIES;
        return false;
    }
    storm->retries[window_of(storm)]++;
    return true;
}

static void check_budget(const struct storm *storm)
{
    const struct budget_limits *limits = &storm->settings.budget;
    uint64_t few = (uint64_t)limits->per_second * 2 * BUDGET_WINDOW_MS / 1000, retries = 0, asked = 0;
    if (limits->percent == 0)
        return;
    for (int w = 1; w < WINDOWS; w++) {
        retries += storm->retries[w];
        asked += storm->asked[w];
        cr_assert_leq(storm->retries[w - 1] + storm->retries[w],
                      (storm->asked[w > 1 ? w - 2 : 0] + storm->asked[w - 1] + storm->asked[w]) * limits->percent / 100 + few, "window %d", w);
    }
    cr_assert_leq(retries, (asked + storm->asked[0]) * limits->percent / 100 + few * (WINDOWS / 2 + 1));
}

static void count_answer(const struct exchange *x, uint64_t us)
{
    struct server_counters *counters = x->member->server->counters;
    counter_add(&counters->responses, 1);
    counter_add(&counters->status_5xx, x->status_500);
    counter_add(&counters->latency_us_sum, us);
}

static void end_attempt(struct storm *storm, struct exchange *x)
{
    struct upstream *upstream = &x->world->upstream;
    if (x->outcome == SERVER_OK) {
        count_answer(x, x->took_ms * 1000ull);
        upstream_answered(upstream, x->member, x->took_ms * 1000ull, storm->now_ms);
    }
    (void)upstream_done(upstream, x->member, x->outcome, storm->now_ms, next_random(&storm->seed));
    check_marks(storm);
    if (x->outcome != SERVER_OK && may_retry(storm, x)) {
        x->pick.tried[x->pick.tried_count++] = x->member->server;
        attempt(storm, x);
        return;
    }
    storm->answered += x->outcome == SERVER_OK;
    storm->lost += x->outcome != SERVER_OK;
    forget(storm, x);
}

static void begin_request(struct storm *storm)
{
    struct exchange *x = storm->free;
    if (!x) /* all of them wait somewhere: the clients would, too */
        return;
    storm->free = x->next;
    *x = (struct exchange){ .world = &storm->worlds[below(storm, WORKERS)] };
    x->pick.hash = below(storm, 3) ? next_random(&storm->seed) : mix64(below(storm, 5)); /* some keys are hot */
    storm->requests++;
    storm->asked[window_of(storm)]++;
    budget_request(&storm->budgets[x->world - storm->worlds], storm->now_ms);
    attempt(storm, x);
}

/* The control thread's part ------------------------------------------------------------------------------------ */

static void check_servers(struct storm *storm)
{
    for (uint32_t i = 0; i < SERVERS; i++) {
        const struct origin *origin = &storm->origins[i];
        bool well = !is_bad(storm, origin) || below(storm, 100) >= origin->weather->refused;
        (void)health_check_result(&storm->worlds[0].records[i], well, 2, 2, storm->now_ms);
    }
}

static struct outlier_sample gain_of(struct storm *storm, uint32_t server)
{
    struct outlier_sample now = { 0 }, before = storm->seen[server];
    for (int w = 0; w < WORKERS; w++) {
        const struct server_counters *counters = &storm->worlds[w].counters[server];
        uint64_t without = counter_get(&counters->connect_failures) + counter_get(&counters->closed_early);
        now.responses += counter_get(&counters->responses);
        now.requests += counter_get(&counters->responses) + without;
        now.failures += counter_get(&counters->status_5xx) + without;
        now.latency_us_sum += counter_get(&counters->latency_us_sum);
    }
    storm->seen[server] = now;
    return (struct outlier_sample){ now.requests - before.requests, now.failures - before.failures,
                                    now.responses - before.responses, now.latency_us_sum - before.latency_us_sum };
}

static void judge_servers(struct storm *storm)
{
    static const struct outlier_limits limits = {
        .interval_ms = JUDGE_MS, .requests_min = 5, .servers_min = 5, .rate = { 190, 5 }, .latency = { 300, 10 }
    };
    struct outlier_sample samples[SERVERS];
    struct outlier_judgement judgements[SERVERS];
    double scratch[SERVERS];
    struct health *records = storm->worlds[0].records;
    for (uint32_t i = 0; i < SERVERS; i++)
        samples[i] = gain_of(storm, i);
    outlier_judge(&limits, samples, SERVERS, judgements, scratch);
    for (uint32_t i = 0; i < SERVERS; i++) {
        uint32_t marked = 0;
        for (uint32_t k = 0; k < SERVERS; k++)
            marked += health_has_mark(&records[k]);
        if (judgements[i].verdict == OUTLIER_NONE) {
            storm->strikes[i] -= judgements[i].counted && storm->strikes[i] > 0;
            continue;
        }
        enum server_outcome why = judgements[i].verdict == OUTLIER_RATE ? SERVER_SUCCESS_RATE : SERVER_LATENCY;
        cr_assert(health_pool_enter(&storm->shared));
        if (marked < health_marks_allowed(SERVERS, storm->settings.max_ejected))
            storm->strikes[i] +=
                health_judge(&records[i], why, outlier_mark_ms(&limits, 200, 3000, storm->strikes[i]), storm->now_ms);
        health_pool_leave(&storm->shared);
    }
    check_marks(storm);
}

/* The run ------------------------------------------------------------------------------------------------------ */

static void draw_settings(struct storm *storm, enum balance_kind kind)
{
    static const uint32_t ejected[] = { 10, 30, 60, 100 }, panic[] = { 0, 0, 30, 60 }, ramp[] = { 0, 2000 };
    static const uint32_t caps[] = { 0, 110, 150 }, spill[] = { 0, 70 }, shares[] = { 0, 5, 20, 100 }, few[] = { 0, 10 };
    storm->settings = (struct settings){ .kind = kind,
                                         .max_ejected = one_of(storm, ejected, 4),
                                         .panic_below = one_of(storm, panic, 4),
                                         .slow_start_ms = one_of(storm, ramp, 2),
                                         .load_cap = balance_of(kind)->keyed ? one_of(storm, caps, 3) : 0,
                                         .spill_over = one_of(storm, spill, 2),
                                         .budget = { one_of(storm, shares, 4), one_of(storm, few, 2) },
                                         .rate = 1 + below(storm, 8),
                                         .checks = below(storm, 2),
                                         .judges = below(storm, 3) > 0 };
}

static void set_up(struct storm *storm)
{
    const struct settings *settings = &storm->settings;
    uint32_t weights[SERVERS], most[SERVERS], tiers = 1 + below(storm, 3);
    uint8_t groups[SERVERS];
    bool far[SERVERS], tight = below(storm, 3) == 0;
    for (uint32_t i = 0; i < SERVERS; i++) {
        weights[i] = 1 + below(storm, 2);
        groups[i] = (uint8_t)(tiers == 3 && below(storm, 4) == 0);
        far[i] = tiers == 2 && below(storm, 2);
        most[i] = tight || below(storm, 4) == 0 ? 1 + below(storm, 4) : 0;
        storm->origins[i] = (struct origin){ .weather = &weathers[0], .latency_ms = 4 + below(storm, 8) };
    }
    for (int w = 0; w < WORKERS; w++) {
        struct world *world = &storm->worlds[w];
        world_init(world, settings->kind, 0, SERVERS, weights, w ? storm->worlds[0].records : NULL);
        world_regroup(world, settings->kind, groups, far);
        for (uint32_t i = 0; i < SERVERS; i++)
            member_of(world, i)->max_connections = most[i];
        struct upstream *upstream = &world->upstream;
        upstream->health_limits =
            (struct health_limits){ .fail_after = 3, .backoff_ms_min = 200, .backoff_ms_max = 3000 };
        upstream->max_ejected = settings->max_ejected;
        upstream->shared = &storm->shared;
        upstream->panic_below = settings->panic_below;
        upstream->slow_start_ms = settings->slow_start_ms;
        upstream->load_cap = settings->load_cap;
        upstream->spill_over = settings->spill_over;
    }
    atomic_store(&storm->worlds[0].records[below(storm, SERVERS)].drained, (uint8_t)1);
    for (size_t i = 0; i < ARRAY_LENGTH(storm->pool); i++)
        forget(storm, &storm->pool[i]);
}

static void run_millisecond(struct storm *storm)
{
    struct exchange *due = storm->buckets[storm->now_ms % BUCKETS];
    storm->buckets[storm->now_ms % BUCKETS] = NULL;
    while (due) {
        struct exchange *x = due;
        due = x->next;
        if (x->member)
            end_attempt(storm, x);
        else
            attempt(storm, x);
    }
}

static void check_calm(const struct storm *storm)
{
    const struct world *world = &storm->worlds[0];
    for (uint32_t i = 0; i < SERVERS; i++) {
        const struct health *health = &world->records[i];
        int picks = storm->origins[i].picks;
        bool first_tier = false;
        for (uint32_t k = 0; k < world->upstream.tiers[0].count; k++)
            first_tier |= index_of(world, &world->upstream.tiers[0].members[k]) == (int)i;
        if (atomic_load(&health->drained)) {
            cr_assert_eq(picks, 0);
            continue;
        }
        if (!first_tier)
            continue;
        cr_assert_gt(picks, 0, "%s: server %u got nothing in the calm, it is %s", world->upstream.balance->word, i,
                     health_state_word(health_state(health, storm->now_ms)));
        cr_assert_eq(health_state(health, storm->now_ms), HEALTH_UP);
    }
    for (uint32_t i = 0; i < SERVERS; i++)
        cr_assert_eq(atomic_load(&world->records[i].leases), 0);
    for (int w = 0; w < WORKERS; w++)
        cr_assert(!storm->worlds[w].upstream.panic);
}

static uint32_t rate_at(const struct storm *storm, uint64_t end_ms)
{
    if (storm->now_ms < storm->end_of_storm_ms)
        return storm->settings.rate;
    if (storm->now_ms < end_ms - LAST_MS)
        return storm->now_ms % 2;
    return storm->now_ms < end_ms ? LAST_RATE : 0;
}

static void weather_the_storm(enum balance_kind kind, const char *name)
{
    static struct storm the;
    the = (struct storm){ .seed = test_seed(name), .now_ms = 1000, .end_of_storm_ms = 1000 + STORM_MS };
    draw_settings(&the, kind);
    set_up(&the);
    uint64_t end_ms = the.end_of_storm_ms + CALM_MS + LAST_MS;
    for (; the.now_ms < end_ms + BUCKETS; the.now_ms++) {
        if (the.now_ms % 250 == 0)
            change_weather(&the);
        if (the.settings.checks && the.now_ms % CHECK_MS == 0)
            check_servers(&the);
        if (the.settings.judges && the.now_ms % JUDGE_MS == 0)
            judge_servers(&the);
        run_millisecond(&the);
        for (uint32_t i = rate_at(&the, end_ms); i > 0; i--)
            begin_request(&the);
    }
    const struct settings *settings = &the.settings;
    fprintf(stderr,
            "%s: max-ejected %u, panic %u, slow-start %u, load-cap %u, spill-over %u, rate %u, %u tiers: %" PRIu64
            " requests, %" PRIu64 " answered, %" PRIu64 " lost, %" PRIu64 " over the budget of %u%%, %" PRIu64 " waited in vain, %" PRIu64
            " in panic, %" PRIu64 " last resorts, %" PRIu64 " marks at most\n",
            name, settings->max_ejected, settings->panic_below, settings->slow_start_ms, settings->load_cap,
            settings->spill_over, settings->rate, the.worlds[0].upstream.tier_count, the.requests, the.answered,
            the.lost, the.over_budget, settings->budget.percent, the.gave_up_waiting, the.panics, the.last_resorts, the.marks_most);
    cr_assert_eq(the.answered + the.lost + the.gave_up_waiting, the.requests);
    check_calm(&the);
    check_budget(&the);
    for (int w = WORKERS; w-- > 0;)
        world_release(&the.worlds[w]);
}

#define STORM(name, kind)                   \
    Test(storm, name)                       \
    {                                       \
        for (int i = 0; i < STORMS; i++)    \
            weather_the_storm(kind, #name); \
    }
STORM(round_robin, BALANCE_ROUND_ROBIN)
STORM(least_load, BALANCE_LEAST_LOAD)
STORM(two_choices, BALANCE_TWO_CHOICES)
STORM(peak_ewma, BALANCE_PEAK_EWMA)
STORM(consistent_hash, BALANCE_CONSISTENT_HASH)
STORM(ring, BALANCE_RING)
_Static_assert(BALANCES == 6, "a storm for each policy");

/*
 * LOOKUP: the store is asked, then the disk behind it, and what is in neither is fetched by one exchange for all who want it at the same time.
 *
 * A request for a part must not shape what is stored: a fetch of ours goes to the origin in its place, for the whole, and the client's
 * exchange waits for it like any other. A client's own conditions go to the origin with it where nothing is stored; where something is, the
 * cache's stand in their place, and the client's are judged by what comes of that.
 */
#include "engine/caching.h"
#include "engine/exchange.h"
#include "engine/policy/transform.h"
#include "proto/condition.h"

#define ROUNDS_MAX 4u  /* so often it waits for others before it goes alone */
#define REFUSALS_MAX 2u /* and so often for an answer that was another's alone */
#define PASS_MS 10000u /* so long nobody waits for a response that was not to be stored */

/* Beginnings and ends ------------------------------------------------------------------------------------------ */

bool caching_is_on(const struct exchange *x)
{
    return x->route->cache.on && x->worker->shared->homes != NULL;
}

static void news_came(struct wake *wake)
{
    struct caching *c = CONTAINER_OF(wake, struct caching, wake);
    exchange_run(c->exchange);
}

static void patience_ended(struct timer *timer, uint64_t now_ms);

static void grew(struct hot_reader *reader)
{
    struct caching *c = CONTAINER_OF(reader, struct caching, reader);
    exchange_run(c->exchange);
}

struct caching *caching_new(struct exchange *x)
{
    struct caching *c = arena_take(&x->arena, sizeof *c);
    if (!c)
        return NULL;
    memset(c, 0, offsetof(struct caching, status_text));
    c->exchange = x;
    c->rule = &x->route->cache;
    c->wake.woken = news_came;
    c->patience.fire = patience_ended;
    c->reader.grew = grew;
    c->end = BODY_LENGTH_UNKNOWN;
    x->caching = c;
    return c;
}

static bool make_key(struct exchange *x, struct caching *c)
{
    struct homes *homes = x->worker->shared->homes;
    const struct field_edits *edits = &x->route->request_edits;
    struct slice pool = x->pool->record->name;
    size_t cap = CACHE_KEY_BYTES_MAX - (c->rule->slice_bytes ? CACHE_SLICE_LINE_BYTES : 0);
    char *room = c->key_room = arena_take(&x->arena, CACHE_KEY_BYTES_MAX);
    char *name = edits->count ? arena_take(&x->arena, pool.length + TRANSFORM_NAME_MORE) : NULL;
    if (edits->count && !name)
        return false;
    struct cache_key_context context = {
        .scheme = x->forwarding.scheme,
        .pool = transform_name(pool, edits, homes->seed, name), /* another route's answer is not this one's */
        .forward_path = x->forwarding.path,
        .client_trusted = x->forwarding.client_trusted,
        .seed = { homes->seed[0], homes->seed[1] },
    };
    if (!room || context.pool.length == 0 || cache_key_make(c->rule, &x->request, &context, room, cap, &c->key) != ERR_OK)
        return false;
    c->home = homes_of(homes, c->key.url_hash);
    return true;
}

void caching_count_pass(struct exchange *x)
{
    x->caching->passed = true;
    COUNT(x->worker, cache_passed);
    COUNT_ROUTE(x, passed);
}

enum step_verdict caching_pass(struct exchange *x, enum cache_reason reason)
{
    struct caching *c = x->caching;
    if (unlikely(c->slices != NULL))
        return caching_slice_pass(x, reason);
    if (unlikely(c->broke))
        return caching_resume(x);
    c->role = CACHE_PASS;
    c->reason = (uint8_t)reason;
    if (!c->forward)
        c->forward = reason == CACHE_REASON_METHOD ? "method" : reason == CACHE_REASON_NONE ? "uri-miss" : "bypass";
    caching_count_pass(x);
    return exchange_go(x, STEP_SELECT);
}

/* Waiting ------------------------------------------------------------------------------------------------------ */

/* Off the flight, if it still waits there. False: there is news. */
static bool leave_flight(struct caching *c)
{
    struct worker *worker = c->exchange->worker;
    home_enter(c->home);
    bool waits = c->news == NEWS_NONE;
    if (waits)
        flight_leave(c->flight, &c->waiter);
    home_leave(c->home);
    c->flight = NULL;
    timer_cancel(&worker->loop.wheel, &c->patience);
    wake_cancel(worker, &c->wake);
    return waits;
}

static void drop_object(struct caching *c)
{
    if (!c->news_object)
        return;
    struct cache *cache = home_enter(c->home);
    cache_unref(cache, c->news_object);
    home_leave(c->home);
    c->news_object = NULL;
}

static void patience_ended(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct caching *c = CONTAINER_OF(timer, struct caching, patience);
    if (leave_flight(c))
        c->news = NEWS_ALONE;
    exchange_run(c->exchange);
}

/* An answer that came at the last moment is taken. */
bool caching_out_of_time(struct exchange *x)
{
    struct caching *c = x->caching;
    if (c->role != CACHE_WAITING)
        return false;
    if (leave_flight(c) || c->news != NEWS_OBJECT) {
        c->role = CACHE_PASS;
        exchange_give_up(x, SERVER_TIMEOUT);
    }
    return true;
}

/* Under the home's lock. */
static void wait_for(struct exchange *x, struct flight *flight)
{
    struct caching *c = x->caching;
    c->role = CACHE_WAITING;
    c->flight = flight;
    c->news = NEWS_NONE;
    c->waiter = (struct flight_waiter){ 0 };
    c->collapsed = true;
    c->rounds++;
    flight_wait(flight, &c->waiter);
}

void caching_tell(struct worker *worker, struct flight_waiter *first, enum flight_news news, struct object *object)
{
    while (first) {
        struct caching *c = CONTAINER_OF(first, struct caching, waiter);
        first = first->next;
        c->news = (uint8_t)news;
        if (object) {
            cache_ref(object);
            c->news_object = object;
        }
        wake_send(worker, c->exchange->worker, &c->wake);
    }
}

void caching_end_flight(struct exchange *x, enum flight_news news)
{
    struct caching *c = x->caching;
    if (!c->flight)
        return;
    struct cache *cache = home_enter(c->home);
    caching_tell(x->worker, flight_end(cache, c->flight), news, NULL);
    home_leave(c->home);
    c->flight = NULL;
}

void caching_end(struct exchange *x)
{
    struct caching *c = x->caching;
    if (c->role == CACHE_WAITING) {
        leave_flight(c);
        drop_object(c);
    }
    if (unlikely(c->role == CACHE_READING || c->role == CACHE_PURGING))
        caching_leave_disk(x);
    caching_end_flight(x, NEWS_AGAIN);
    if (c->filling)
        caching_break(x);
    wake_cancel(x->worker, &c->wake);
    hot_forget(&c->reader);
    if (c->hot)
        hot_unref(c->hot);
    x->caching = NULL;
}

/* Looking ------------------------------------------------------------------------------------------------------ */

enum cache_use caching_use(const struct caching *c, const struct object *object)
{
    const struct exchange *x = c->exchange;
    enum cache_use use = cache_use_of(c->rule, &object->policy, &x->request, loop_unix_seconds(&x->worker->loop));
    if (likely(!atomic_load_explicit(&object->stale, memory_order_relaxed)))
        return use;
    return cache_use_purged(&object->policy, use);
}

enum step_verdict caching_serve(struct exchange *x, struct hot *hot)
{
    struct caching *c = x->caching;
    if (unlikely(c->broke))
        return caching_serve_rest(x, hot);
    if (c->hot)
        hot_unref(c->hot);
    c->hot = hot;
    c->role = CACHE_SERVING;
    return unlikely(c->slices != NULL) ? caching_slice_serve(x) : exchange_go(x, STEP_SERVE);
}

/* An answer is counted once: by its first slice, and not for its rest. */
static bool is_counted(const struct exchange *x)
{
    const struct slices *slices = x->caching->slices;
    return unlikely(x->response_begun) || (unlikely(slices != NULL) && slices->turns);
}

void caching_count_hit(struct exchange *x)
{
    if (is_counted(x))
        return;
    x->caching->hit = true;
    COUNT(x->worker, cache_hits);
    COUNT_ROUTE(x, hits);
}

void caching_count_stale(struct exchange *x)
{
    x->caching->stale = true;
    COUNT(x->worker, cache_stale);
    COUNT_ROUTE(x, stale);
}

/* A part of it is wanted: what is stored is the whole. */
static bool is_for_part(const struct request *request)
{
    return fields_have(&request->fields, FIELD_RANGE) || fields_have(&request->fields, FIELD_IF_RANGE);
}

bool caching_is_authorized(const struct exchange *x)
{
    return fields_have(&x->request.fields, FIELD_AUTHORIZATION);
}

bool caching_says_who(const struct exchange *x)
{
    return caching_is_authorized(x) || fields_have(&x->request.fields, FIELD_COOKIE);
}

/* What is told to one who says who asks is nothing that others could not share. */
static uint64_t pass_hash(const struct exchange *x)
{
    return x->caching->key.url_hash ^ (caching_says_who(x) ? 0x417574686f72ull : 0);
}

static struct hot_pass *pass_at(const struct exchange *x, uint64_t hash)
{
    return &x->worker->hot->passes[(hash >> 8) % HOT_PASSES];
}

static bool passes_lately(const struct exchange *x)
{
    uint64_t hash = pass_hash(x);
    const struct hot_pass *pass = pass_at(x, hash);
    return unlikely(pass->url_hash == hash && pass->until_ms > x->worker->loop.now_ms);
}

void caching_remember_pass(struct exchange *x)
{
    uint64_t hash = pass_hash(x);
    *pass_at(x, hash) = (struct hot_pass){ hash, x->worker->loop.now_ms + PASS_MS };
}

static enum step_verdict only_if_cached(struct exchange *x)
{
    struct caching *c = x->caching;
    c->role = CACHE_PASS;
    c->forward = NULL;
    c->reason = CACHE_REASON_ONLY;
    return exchange_answer(x, 504, "only_if_cached", SLICE("Nothing stored answers this request\n"));
}

/* What the home says, with what was taken there under its lock. */
enum plan { PLAN_SERVE, PLAN_STALE, PLAN_REFRESH, PLAN_JOIN, PLAN_WAIT, PLAN_READ, PLAN_FETCH, PLAN_LEAD, PLAN_ALONE, PLAN_ONLY };

struct found {
    struct object *object; /* a reference */
    struct flight *flight; /* READ, FETCH, REFRESH, LEAD: begun for this exchange; NULL: none could be, or shall */
};

static enum plan plan_miss(struct exchange *x, struct cache *cache, struct found *found)
{
    struct caching *c = x->caching;
    bool alone = !c->rule->collapse || c->rounds >= ROUNDS_MAX || c->refusals >= REFUSALS_MAX || passes_lately(x);
    struct flight *flight = alone || found->flight ? NULL : flight_find(cache, &c->key, &x->request);
    c->sequence = cache_sequence(cache);
    if (flight && flight->object) {
        if (found->object)
            cache_unref(cache, found->object);
        found->object = flight->object;
        cache_ref(found->object);
        return PLAN_JOIN;
    }
    if (flight) {
        wait_for(x, flight);
        return PLAN_WAIT;
    }
    if (!alone && !found->flight)
        found->flight = flight_begin(cache, &c->key);
    if (!found->object && !c->slices && caching_may_read(x))
        return PLAN_READ;
    if (!is_for_part(&x->request) && !c->slices && !c->broke)
        return PLAN_LEAD;
    if (!found->flight)
        return PLAN_ALONE;
    wait_for(x, found->flight);
    c->collapsed = false;
    return PLAN_FETCH;
}

bool caching_is_fresh(const struct exchange *x, const struct object *object)
{
    const struct cache_policy *policy = &object->policy;
    return !atomic_load_explicit(&object->stale, memory_order_relaxed) && !policy->validate_always &&
           policy->lifetime_s > cache_age(policy, loop_unix_seconds(&x->worker->loop));
}

static enum plan plan_in_home(struct exchange *x, struct cache *cache, struct found *found)
{
    struct caching *c = x->caching;
    bool others = false;
    found->object = cache_find(cache, &c->key, &x->request, &others);
    enum cache_use use = found->object ? caching_use(c, found->object) : CACHE_USE_VALIDATE;
    if (unlikely(c->slices != NULL) && found->object)
        use = caching_slice_use(c, found->object, use);
    else if (unlikely(c->broke) && found->object && caching_is_fresh(x, found->object))
        use = CACHE_USE_FRESH; /* whatever the request says: its answer has begun */
    else if (unlikely(x->worker->disk != NULL) && use == CACHE_USE_FRESH)
        caching_admit(x, found->object);
    if (use == CACHE_USE_FRESH || use == CACHE_USE_STALE)
        return use == CACHE_USE_FRESH ? PLAN_SERVE : PLAN_STALE;
    c->forward = !found->object                       ? (others ? "vary-miss" : "uri-miss")
                 : caching_is_fresh(x, found->object) ? "request"
                                                      : "stale";
    if (!x->response_begun && cache_only_if_cached(c->rule, &x->request))
        return !found->object && !c->slices && caching_may_read(x) ? PLAN_READ : PLAN_ONLY;
    if (use == CACHE_USE_REVALIDATE) {
        bool asked = found->flight || flight_find(cache, &c->key, &x->request) != NULL;
        if (!asked)
            found->flight = flight_begin(cache, &c->key);
        c->sequence = cache_sequence(cache);
        return found->flight ? PLAN_REFRESH : PLAN_SERVE;
    }
    if (!c->slices && (x->request.method != METHOD_GET || condition_is_for_origin(&x->request)))
        return !found->object && caching_may_read(x) ? PLAN_READ : PLAN_ALONE;
    return plan_miss(x, cache, found);
}

static void count_miss(struct exchange *x)
{
    if (is_counted(x))
        return;
    COUNT(x->worker, cache_misses);
    COUNT_ROUTE(x, misses);
}

static void add_stored(struct exchange *x, enum field_id id, struct slice name)
{
    struct caching *c = x->caching;
    const struct object *object = c->hot->object;
    for (unsigned i = 0; i < object->field_count; i++)
        if (object->fields[i].id == id)
            c->validating |= fields_add(&x->request.fields, name, field_value(&object->fields[i])) == ERR_OK;
}

static bool is_condition(const struct field *field)
{
    return field->id == FIELD_IF_NONE_MATCH || field->id == FIELD_IF_MODIFIED_SINCE;
}

void caching_restore(struct exchange *x)
{
    struct caching *c = x->caching;
    struct fields *fields = &x->request.fields;
    if (!c->validating)
        return;
    fields->count = c->own_fields;
    fields->present &= ~(1ull << FIELD_IF_NONE_MATCH | 1ull << FIELD_IF_MODIFIED_SINCE);
    for (unsigned i = 0; i < fields->count; i++) {
        if (!is_condition(&fields->list[i]))
            continue;
        fields->list[i].flags &= (uint8_t)~FIELD_HOP_BY_HOP;
        fields->present |= 1ull << fields->list[i].id;
    }
    c->validating = false;
}

/*
 * Fields that a framework may take for another request are not what everybody's response is made of; and the host is named as the key says it, whatever
 * this client's spelling: in Host, in X-Forwarded-Host and Forwarded, and where edits say {host}.
 */
static void speak_for_all(struct exchange *x)
{
    struct caching *c = x->caching;
    struct request *request = &x->request;
    for (unsigned i = 0; i < request->fields.count; i++)
        if (cache_field_is_poisonous(c->rule, &request->fields.list[i]))
            request->fields.list[i].flags |= FIELD_HOP_BY_HOP;
    size_t dot = request->host.length > 1 && request->host.at[request->host.length - 1] == '.';
    request->authority = c->key.authority;
    request->host = slice_of(c->key.authority.at, request->host.length - dot);
    c->sent_s = loop_unix_seconds(&x->worker->loop);
}

/* RFC 9111 4.3.1 */
void caching_shape(struct exchange *x)
{
    struct caching *c = x->caching;
    struct fields *fields = &x->request.fields;
    speak_for_all(x);
    c->own_fields = fields->count;
    if (!c->hot)
        return;
    for (unsigned i = 0; i < fields->count; i++)
        if (is_condition(&fields->list[i]))
            fields->list[i].flags |= FIELD_HOP_BY_HOP;
    add_stored(x, FIELD_ETAG, SLICE("If-None-Match"));
    add_stored(x, FIELD_LAST_MODIFIED, SLICE("If-Modified-Since"));
}

/* The leader itself: without what would make the response another's than the key says. */
static enum step_verdict lead(struct exchange *x, struct flight *flight)
{
    struct caching *c = x->caching;
    c->role = CACHE_LEADING;
    c->flight = flight;
    caching_shape(x);
    count_miss(x);
    return exchange_go(x, STEP_SELECT);
}

static enum step_verdict fetch_and_wait(struct exchange *x, struct flight *flight, struct hot *stale)
{
    struct caching *c = x->caching;
    if (caching_fetch(x, flight, c->sequence, stale))
        return STEP_WAIT;
    leave_flight(c);
    c->flight = flight;
    caching_end_flight(x, NEWS_AGAIN);
    return caching_pass(x, CACHE_REASON_FULL);
}

static enum step_verdict refresh(struct exchange *x, struct flight *flight, struct hot *hot)
{
    struct caching *c = x->caching;
    if (flight && !caching_fetch(x, flight, c->sequence, hot)) {
        c->flight = flight;
        caching_end_flight(x, NEWS_AGAIN);
    }
    caching_count_stale(x);
    c->forward = NULL;
    caching_count_hit(x);
    return caching_serve(x, hot);
}

/* Others wait for what comes of this look: they are to look themselves. */
static void end_unused(struct exchange *x, enum plan plan, struct found *found)
{
    if (likely(!found->flight) || (plan != PLAN_SERVE && plan != PLAN_ALONE && plan != PLAN_ONLY))
        return;
    x->caching->flight = found->flight;
    caching_end_flight(x, NEWS_AGAIN);
    found->flight = NULL;
}

/* own: a flight that this exchange leads since it asked the disk; taken over. NULL: none. */
static enum step_verdict look_in_home(struct exchange *x, struct flight *own)
{
    struct caching *c = x->caching;
    struct found found = { .flight = own };
    struct cache *cache = home_enter(c->home);
    enum plan plan = plan_in_home(x, cache, &found);
    home_leave(c->home);
    struct hot *hot = found.object ? hot_take(x->worker, c->home, found.object, c->purges) : NULL;
    if (plan == PLAN_WAIT || plan == PLAN_FETCH)
        timer_set(&x->worker->loop.wheel, &c->patience, x->worker->loop.now_ms + x->pool->config->first_byte_ms);
    if (unlikely(found.object && !hot)) {
        COUNT(x->worker, no_memory);
        if (plan == PLAN_WAIT || plan == PLAN_FETCH) {
            leave_flight(c);
            drop_object(c);
        }
        c->flight = found.flight;
        caching_end_flight(x, NEWS_AGAIN);
        return caching_pass(x, CACHE_REASON_FULL);
    }
    end_unused(x, plan, &found);
    switch (plan) {
    case PLAN_READ: return caching_read(x, found.flight) ? STEP_WAIT : look_in_home(x, found.flight);
    case PLAN_SERVE:
    case PLAN_REFRESH:
        if (plan == PLAN_REFRESH || c->forward)
            return refresh(x, found.flight, hot);
        caching_count_hit(x);
        return caching_serve(x, hot);
    case PLAN_STALE:
        caching_count_stale(x);
        caching_count_hit(x);
        return caching_serve(x, hot);
    case PLAN_JOIN:
        c->collapsed = true;
        COUNT(x->worker, cache_collapsed);
        return caching_serve(x, hot);
    case PLAN_WAIT:
    case PLAN_FETCH: {
        enum step_verdict verdict = plan == PLAN_FETCH ? fetch_and_wait(x, found.flight, hot) : STEP_WAIT;
        if (hot)
            hot_unref(hot);
        if (plan == PLAN_FETCH)
            count_miss(x);
        else
            COUNT(x->worker, cache_collapsed);
        return verdict;
    }
    case PLAN_LEAD: c->hot = hot; return lead(x, found.flight);
    case PLAN_ONLY:
        if (hot)
            hot_unref(hot);
        return only_if_cached(x);
    case PLAN_ALONE: break;
    }
    if (hot)
        hot_unref(hot);
    if (x->request.method == METHOD_HEAD)
        speak_for_all(x); /* its answer may renew what is stored for GET (RFC 9111 4.3.5) */
    return caching_pass(x, CACHE_REASON_NONE);
}

enum step_verdict caching_look(struct exchange *x)
{
    struct caching *c = x->caching;
    c->role = CACHE_LOOKING;
    c->forward = NULL;
    c->collapsed = false; /* what it waited for before came to nothing */
    c->purges = atomic_load_explicit(&x->worker->shared->homes->purges, memory_order_acquire);
    struct hot *hot = unlikely(c->slices != NULL) ? NULL : hot_find(x->worker, &c->key, &x->request);
    if (likely(hot != NULL)) {
        enum cache_use use = caching_use(c, hot->object);
        if (likely(use == CACHE_USE_FRESH || use == CACHE_USE_STALE)) {
            if (unlikely(use == CACHE_USE_STALE))
                caching_count_stale(x);
            caching_count_hit(x);
            return caching_serve(x, hot);
        }
        hot_unref(hot);
    }
    return look_in_home(x, NULL);
}

/* The disk has answered. What it had is in memory now, for those who waited as well. */
static enum step_verdict take_read(struct exchange *x)
{
    struct caching *c = x->caching;
    c->role = CACHE_LOOKING;
    c->forward = NULL;
    c->purges = atomic_load_explicit(&x->worker->shared->homes->purges, memory_order_acquire);
    if (c->disk_found)
        caching_end_flight(x, NEWS_AGAIN);
    struct flight *own = c->flight;
    c->flight = NULL;
    return look_in_home(x, own);
}

/* What the leader found is what the waiting request selects, too? (RFC 9111 4.1) */
static enum step_verdict take_object(struct exchange *x)
{
    struct caching *c = x->caching;
    struct object *object = c->news_object;
    if (object->vary.length && !cache_vary_matches(object->vary, &x->request)) {
        drop_object(c);
        return caching_look(x);
    }
    c->news_object = NULL;
    struct hot *hot = hot_take(x->worker, c->home, object, c->purges);
    return hot ? caching_serve(x, hot) : caching_pass(x, CACHE_REASON_FULL);
}

static enum step_verdict take_news(struct exchange *x)
{
    struct caching *c = x->caching;
    timer_cancel(&x->worker->loop.wheel, &c->patience);
    c->flight = NULL;
    c->role = CACHE_LOOKING;
    switch (c->news) {
    case NEWS_OBJECT: return take_object(x);
    case NEWS_STALE:
        if (c->slices)
            c->slices->failed = true;
        return caching_look(x);
    case NEWS_AGAIN: return caching_look(x);
    case NEWS_PERSONAL:
        if (caching_says_who(x))
            break;
        /* fallthrough */
    case NEWS_REFUSED: c->refusals++; return caching_look(x);
    case NEWS_PAST: return caching_slice_past(x);
    case NEWS_WHOLE: return caching_slice_whole(x);
    default: break;
    }
    c->forward = "uri-miss";
    c->collapsed = false;
    return caching_pass(x, CACHE_REASON_NONE);
}

/* The news is written by the leader under the lock. */
static bool has_news(struct caching *c)
{
    home_enter(c->home);
    bool has = c->news != NEWS_NONE;
    home_leave(c->home);
    return has;
}

static struct caching *begin(struct exchange *x)
{
    struct worker *worker = x->worker;
    if (unlikely(!worker->hot))
        worker->hot = hot_table_new(worker->shared->homes, worker->view->generation->worker_count);
    return worker->hot ? caching_new(x) : NULL;
}

enum step_verdict exchange_lookup(struct exchange *x)
{
    struct caching *c = x->caching;
    if (c && c->role == CACHE_WAITING)
        return has_news(c) ? take_news(x) : STEP_WAIT;
    if (unlikely(c && c->role == CACHE_READING))
        return c->disk.load ? STEP_WAIT : take_read(x);
    if (unlikely(c && c->role == CACHE_PURGING))
        return caching_forgotten(x);
    if (c && (c->slices || c->broke))
        return caching_look(x);
    if (!c) {
        c = begin(x);
        if (!c) {
            COUNT(x->worker, no_memory);
            return exchange_go(x, STEP_SELECT);
        }
    }
    enum cache_reason reason = cache_request_reason(c->rule, &x->request);
    if (unlikely(reason != CACHE_REASON_NONE)) {
        if (unlikely(caching_may_purge(x)) && make_key(x, c)) {
            c->role = CACHE_PASS;
            return caching_purge(x);
        }
        return caching_pass(x, reason);
    }
    if (unlikely(!make_key(x, c)))
        return caching_pass(x, CACHE_REASON_LARGE);
    return unlikely(c->rule->slice_bytes) ? caching_look_for_slices(x) : caching_look(x);
}

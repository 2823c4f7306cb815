/*
 * What comes of a request that went to the origin for the store: its response is judged, and stored as it is relayed; a 304 makes the stored one
 * fresh again; an error may be answered with what is stored.
 *
 * Stored is what the client of this route gets but for the route's edits: where content is coded on its way (compress), the coded
 * content, as the variant for those who accept that coding.
 */
#include "engine/caching.h"
#include "engine/policy/transform.h"
#include "proto/h1_write.h"

/* Heads as they are stored ------------------------------------------------------------------------------------- */

static void begin_scratch(struct response *scratch, const struct response *response)
{
    memcpy(scratch, response, offsetof(struct response, fields));
    scratch->fields.count = 0;
    scratch->fields.present = 0;
    scratch->fields.end = NULL;
}

/* False: there is no room. A head that lacks a line may say the opposite of what it said, and is not to be stored. */
static bool put(struct response *scratch, const struct field *field)
{
    if (scratch->fields.count == FIELDS_CAP)
        return false;
    scratch->fields.list[scratch->fields.count++] = *field;
    scratch->fields.present |= 1ull << field->id;
    return true;
}

static bool put_text(struct response *scratch, enum field_id id, struct slice name, struct slice value)
{
    return put(scratch, &(struct field){ .name = name.at,
                                         .name_length = (uint16_t)name.length,
                                         .value = value.at,
                                         .value_length = (uint32_t)value.length,
                                         .id = (uint8_t)id });
}

/* The coded content's ETag is a weak one. */
static struct slice weak(struct exchange *x, struct slice etag)
{
    char *room = slice_starts(etag, SLICE("W/")) ? NULL : arena_take(&x->arena, etag.length + 2);
    if (!room)
        return slice_starts(etag, SLICE("W/")) ? etag : SLICE_NONE;
    memcpy(room, "W/", 2);
    memcpy(room + 2, etag.at, etag.length);
    return slice_of(room, etag.length + 2);
}

/* A field of the origin's head, as it goes with content that was coded here or was not. */
static bool put_coded(struct exchange *x, struct response *scratch, const struct field *field, bool coded)
{
    if (!coded || !(H1_CODED_AWAY >> field->id & 1))
        return put(scratch, field);
    return field->id != FIELD_ETAG || put_text(scratch, FIELD_ETAG, SLICE("ETag"), weak(x, field_value(field)));
}

/* The response as compress makes it: see h1_write.h's plan. NULL: it has too many fields. */
static const struct response *as_sent(struct exchange *x, const struct response *response,
                                      const struct h1_response_plan *plan)
{
    struct response *scratch = x->worker->hot->scratch;
    bool coded = plan->coding != CODING_IDENTITY, fits = true;
    if (likely(!plan->varies && !coded))
        return response;
    begin_scratch(scratch, response);
    for (unsigned i = 0; i < response->fields.count; i++)
        fits &= put_coded(x, scratch, &response->fields.list[i], coded);
    if (coded)
        fits &= put_text(scratch, FIELD_CONTENT_ENCODING, SLICE("Content-Encoding"), coding_word(plan->coding));
    fits &= put_text(scratch, FIELD_VARY, SLICE("Vary"), SLICE("Accept-Encoding"));
    return fits ? scratch : NULL;
}

/*
 * RFC 9111 4.3.4: the stored fields, those that the 304 has replaced. Its Vary is the origin's: what compress added to the stored one stays. Without a
 * Date it is of now (RFC 9110 6.6.1): the stored one's would make it old at once. NULL: too many fields.
 */
static const struct response *freshened(struct exchange *x, const struct object *object,
                                        const struct response *response)
{
    const struct cache_rule *rule = x->caching->rule;
    struct response *scratch = x->worker->hot->scratch;
    struct response update;
    bool fits = true;
    begin_scratch(&update, response);
    for (unsigned i = 0; i < response->fields.count; i++)
        if (cache_field_updates(rule, response, &response->fields.list[i]))
            fits &= put_coded(x, &update, &response->fields.list[i], object->policy.coded);
    object_response(object, scratch);
    if (fields_have(&update.fields, FIELD_VARY) && fields_list_has(&scratch->fields, FIELD_VARY, SLICE("accept-encoding")) &&
        !fields_list_has(&update.fields, FIELD_VARY, SLICE("accept-encoding")))
        fits &= put_text(&update, FIELD_VARY, SLICE("Vary"), SLICE("Accept-Encoding"));
    unsigned kept = 0;
    for (unsigned i = 0; i < scratch->fields.count; i++) {
        struct field *field = &scratch->fields.list[i];
        bool replaced = field->id == FIELD_DATE;
        for (unsigned k = 0; k < update.fields.count && !replaced; k++)
            replaced = slice_equal_nocase(field_name(&update.fields.list[k]), field_name(field));
        if (!replaced)
            scratch->fields.list[kept++] = *field;
    }
    scratch->fields.count = (uint16_t)kept;
    for (unsigned k = 0; k < update.fields.count; k++)
        fits &= put(scratch, &update.fields.list[k]);
    scratch->fields.present = 0;
    for (unsigned i = 0; i < scratch->fields.count; i++)
        scratch->fields.present |= 1ull << scratch->fields.list[i].id;
    scratch->fields.end = NULL;
    return fits ? scratch : NULL;
}

/* Judging ------------------------------------------------------------------------------------------------------ */

static bool vary_is_ignored(const struct cache_rule *rule, struct slice name)
{
    for (uint32_t i = 0; i < rule->ignore_vary_count; i++)
        if (slice_equal_nocase(rule->ignore_vary[i], name))
            return true;
    return false;
}

/* The route writes one of these fields itself, for each client another. */
static bool varies_by_our_word(const struct exchange *x, const struct response *response)
{
    const struct field_edits *edits = &x->route->request_edits;
    for (unsigned i = 0; unlikely(edits->count) && i < response->fields.count; i++) {
        struct slice rest = field_value(&response->fields.list[i]), name;
        while (response->fields.list[i].id == FIELD_VARY && slice_next_element(&rest, &name))
            if (transform_is_for_one(edits, name) && !vary_is_ignored(x->caching->rule, name))
                return true;
    }
    return false;
}

static bool make_vary(struct exchange *x, const struct response *response, struct slice *vary)
{
    if (varies_by_our_word(x, response))
        return false;
    char *room = arena_take(&x->arena, CACHE_VARY_BYTES_MAX);
    return room && cache_vary_make(x->caching->rule, &x->request, response, room, CACHE_VARY_BYTES_MAX, vary) == ERR_OK;
}

static struct cache_new what_is_new(struct exchange *x, const struct response *response)
{
    struct caching *c = x->caching;
    return (struct cache_new){
        .key = c->key,
        .rule = c->rule,
        .response = response,
        .length = BODY_LENGTH_UNKNOWN,
        .sequence = c->sequence,
        .now_s = loop_unix_seconds(&x->worker->loop),
    };
}

/* It goes to those who wait as well: only what they may use without asking for themselves (RFC 9111 4). */
static bool may_be_shared(const struct cache_policy *policy)
{
    return !policy->validate_always && policy->lifetime_s > policy->age_s;
}

static void tell_object(struct exchange *x, struct cache *cache)
{
    struct caching *c = x->caching;
    struct flight *flight = c->flight;
    struct flight_waiter *first = flight->first;
    flight->first = NULL;
    flight->tail = &flight->first;
    flight_take_off(cache, flight, c->filling);
    caching_tell(x->worker, first, NEWS_OBJECT, c->filling);
}

/* A slice is judged as what it is a part of. A HEAD was not sent for the store: it has no time. */
static enum cache_reason judge(struct exchange *x, const struct response *response, struct cache_policy *policy)
{
    const struct caching *c = x->caching;
    int64_t now_s = loop_unix_seconds(&x->worker->loop), sent_s = c->sent_s ? c->sent_s : now_s;
    if (unlikely(c->of_slice))
        return cache_store_reason_of_part(c->rule, &x->request, response, sent_s, now_s, policy);
    return cache_store_reason(c->rule, &x->request, response, sent_s, now_s, policy);
}

/*
 * A response that says something of the URL holds for all who wait, and for a while: but what one with Authorization or cookies gets says nothing of what others would. One that
 * speaks of the request alone (400, 429, 431 and their like; 403 may) is no reason for others not to ask together; an error of the origin's is no reason for long.
 * Otherwise a client could see to it that everybody goes alone.
 */
static enum flight_news news_of_refusal(struct exchange *x, enum cache_reason reason)
{
    unsigned status = x->caching->forward_status;
    if (reason == CACHE_REASON_STATUS || status == 403)
        return NEWS_REFUSED;
    if (status < 500)
        caching_remember_pass(x);
    return caching_says_who(x) ? NEWS_PERSONAL : NEWS_ALONE;
}

void caching_not_stored(struct exchange *x, enum cache_reason reason)
{
    struct caching *c = x->caching;
    c->role = CACHE_PASS;
    c->reason = (uint8_t)reason;
    if (c->flight)
        caching_end_flight(x, news_of_refusal(x, reason));
    caching_count_pass(x);
}

void caching_begin(struct exchange *x, const struct response *response, const struct h1_response_plan *plan)
{
    struct caching *c = x->caching;
    if (c->role != CACHE_LEADING)
        return;
    c->forward_status = response->status;
    if (response->status == 304) { /* to the client's own condition: it has the response, and nobody else */
        c->role = CACHE_PASS;
        caching_end_flight(x, NEWS_AGAIN);
        return;
    }
    uint64_t slice_bytes = BODY_LENGTH_UNKNOWN;
    if (unlikely(c->of_slice) && !caching_slice_came(x, response, &slice_bytes))
        return;
    const struct response *sent = as_sent(x, response, plan);
    if (unlikely(!sent)) {
        caching_not_stored(x, CACHE_REASON_LARGE);
        return;
    }
    struct cache_new what = what_is_new(x, sent);
    enum cache_reason reason = judge(x, sent, &what.policy);
    if (reason == CACHE_REASON_NONE && !make_vary(x, sent, &what.vary))
        reason = CACHE_REASON_VARY;
    if (unlikely(c->of_slice) && reason == CACHE_REASON_NONE && !may_be_shared(&what.policy)) {
        caching_refuse_slices(x, CACHE_REASON_LIFETIME); /* asked for each time, slice by slice: that is no gain */
        return;
    }
    if (reason != CACHE_REASON_NONE) {
        caching_not_stored(x, reason);
        return;
    }
    what.policy.coded = plan->coding != CODING_IDENTITY;
    if (c->of_slice)
        what.length = slice_bytes;
    else if (plan->coding == CODING_IDENTITY && response->framing == FRAMING_LENGTH)
        what.length = response->content_length;
    else if (response->framing == FRAMING_NONE)
        what.length = 0;
    enum err e = ERR_OK;
    struct cache *cache = home_enter(c->home);
    c->filling = cache_begin(cache, &what, &e);
    if (c->filling && c->filling->body)
        c->filling->body->filler = c;
    if (c->filling && c->flight && may_be_shared(&what.policy))
        tell_object(x, cache);
    home_leave(c->home);
    if (!c->filling) {
        COUNT(x->worker, cache_refused);
        caching_not_stored(x, e == ERR_CAP ? CACHE_REASON_LARGE : CACHE_REASON_FULL);
        return;
    }
    if (c->flight && !may_be_shared(&what.policy))
        caching_end_flight(x, caching_says_who(x) ? NEWS_PERSONAL : NEWS_ALONE);
    c->role = CACHE_FILLING;
    c->stored = true;
    caching_restore(x); /* its conditions stand in what c->hot holds */
    if (c->hot)
        hot_unref(c->hot);
    c->hot = NULL;
}

/* Filling ------------------------------------------------------------------------------------------------------ */

static void end_filling(struct exchange *x, bool complete)
{
    struct caching *c = x->caching;
    struct object *object = c->filling;
    struct cache *cache = home_enter(c->home);
    if (object->body)
        object->body->filler = NULL;
    if (!complete)
        cache_break(cache, object);
    else if (cache_complete(cache, object)) {
        COUNT(x->worker, cache_stored);
        caching_replaced(x, object);
    }
    home_leave(c->home);
    caching_end_flight(x, NEWS_AGAIN);
    if (object->body)
        hot_grew(x->worker, c->home, object);
    c->filling = NULL;
    c->role = CACHE_PASS;
    cache = home_enter(c->home);
    cache_unref(cache, object);
    home_leave(c->home);
}

void caching_break(struct exchange *x)
{
    end_filling(x, false);
}

void caching_complete(struct exchange *x)
{
    if (x->caching->filling)
        end_filling(x, true);
}

void caching_grew(struct exchange *x)
{
    struct caching *c = x->caching;
    if (c->filling && c->filling->body)
        hot_grew(x->worker, c->home, c->filling);
}

void caching_nudge(struct worker *worker, struct body *body)
{
    struct caching *filler = body->filler;
    if (filler)
        wake_send(worker, filler->exchange->worker, &filler->wake);
}

bool caching_is_held_up(const struct exchange *x)
{
    const struct body *body = x->caching->filling ? x->caching->filling->body : NULL;
    return body && !conn_is_sink(x->client) && (body->length != BODY_LENGTH_UNKNOWN || atomic_load(&body->watchers));
}

static char *room_for(struct caching *c, uint32_t *room)
{
    if (c->filling->body->preallocated)
        return cache_room(c->home->cache, c->filling, c->rule->object_bytes_max, room);
    struct cache *cache = home_enter(c->home);
    char *at = cache_room(cache, c->filling, c->rule->object_bytes_max, room);
    home_leave(c->home);
    return at;
}

void caching_content(void *exchange, struct slice data)
{
    struct exchange *x = exchange;
    struct caching *c = x->caching;
    while (c->filling && data.length) {
        uint32_t room = 0;
        char *at = c->filling->body ? room_for(c, &room) : NULL;
        if (!at) {
            COUNT(x->worker, cache_refused);
            caching_remember_pass(x); /* those who read it are cut: not the next ones, too */
            caching_break(x);
            c->reason = CACHE_REASON_FULL;
            return;
        }
        uint32_t bytes = (uint32_t)size_min(room, data.length);
        memcpy(at, data.at, bytes);
        cache_filled(c->filling, bytes);
        data = slice_of(data.at + bytes, data.length - bytes);
    }
}

/* Validation --------------------------------------------------------------------------------------------------- */

/* The origin's connection has nothing more to say. */
static void done_with_origin(struct exchange *x, const struct response *response)
{
    bool keep = response->keep_alive && response->framing == FRAMING_NONE;
    conn_consume(x->origin, response->head_bytes);
    x->response_progress = (struct h1_progress){ 0 };
    exchange_release_origin(x, keep);
    exchange_release_member(x, exchange_status_outcome(x, response->status));
    exchange_release_places(x);
}

static enum step_verdict serve_or_end(struct exchange *x, struct hot *hot)
{
    caching_restore(x);
    if (!x->caching->fetch)
        return caching_serve(x, hot);
    hot_unref(hot);
    x->response_done = true;
    return exchange_go(x, STEP_FINISH);
}

/* Without conditions, since what is stored cannot be what they were met by. */
static void ask_again(struct exchange *x, const struct response *response)
{
    struct caching *c = x->caching;
    done_with_origin(x, response);
    caching_restore(x);
    hot_unref(c->hot);
    c->hot = NULL;
    for (unsigned i = 0; i < x->request.fields.count; i++)
        if (x->request.fields.list[i].id == FIELD_IF_NONE_MATCH ||
            x->request.fields.list[i].id == FIELD_IF_MODIFIED_SINCE)
            x->request.fields.list[i].flags |= FIELD_HOP_BY_HOP;
    x->first_byte_ns = 0;
    exchange_go(x, STEP_SELECT);
}

/* The stored response with the fields of a 304, or of an answer to HEAD: may it be kept so, and for which requests? */
static enum cache_reason judge_again(struct exchange *x, const struct object *object, const struct response *response,
                                     struct cache_new *what)
{
    const struct response *merged = freshened(x, object, response);
    *what = what_is_new(x, merged);
    what->vary = object->vary;
    if (!merged)
        return CACHE_REASON_LARGE;
    enum cache_reason reason = judge(x, merged, &what->policy);
    what->policy.coded = object->policy.coded;
    if (reason == CACHE_REASON_NONE && fields_have(&response->fields, FIELD_VARY) && !make_vary(x, merged, &what->vary))
        return CACHE_REASON_VARY;
    return reason;
}

static void not_modified(struct exchange *x, const struct response *response)
{
    struct caching *c = x->caching;
    if (!cache_freshens(&c->hot->object->policy, c->hot->object->etag, response)) {
        ask_again(x, response);
        return;
    }
    struct hot *hot = hot_ref(c->hot);
    struct cache_new what;
    struct object *object = NULL;
    enum cache_reason reason = judge_again(x, hot->object, response, &what);
    uint64_t purges = atomic_load(&x->worker->shared->homes->purges);
    if (reason == CACHE_REASON_NONE) {
        struct cache *cache = home_enter(c->home);
        object = cache_freshen(cache, hot->object, &what);
        if (object)
            caching_freshened(x, hot->object, object);
        home_leave(c->home);
    }
    struct hot *fresh = object ? hot_take(x->worker, c->home, object, purges) : NULL;
    if (fresh) {
        hot_unref(hot);
        hot = fresh;
        c->stored = true;
    }
    c->validated = true;
    c->forward_status = 304;
    COUNT(x->worker, cache_validated);
    done_with_origin(x, response);
    caching_end_flight(x, may_be_shared(&what.policy) ? NEWS_AGAIN : NEWS_ALONE);
    serve_or_end(x, hot);
}

static bool is_failure(unsigned status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

bool caching_saves(struct exchange *x, unsigned status)
{
    struct caching *c = x->caching;
    if (!is_failure(status) || c->role != CACHE_LEADING || !c->hot || x->response_begun ||
        !cache_use_on_error(c->rule, &c->hot->object->policy, &x->request, loop_unix_seconds(&x->worker->loop)))
        return false;
    caching_count_stale(x);
    c->forward_status = (uint16_t)status;
    x->why = NULL;
    caching_end_flight(x, c->of_slice ? NEWS_STALE : NEWS_AGAIN);
    serve_or_end(x, hot_ref(c->hot));
    return true;
}

/* The head ----------------------------------------------------------------------------------------------------- */

/* What is sent already is not sent again, if it is the same. */
static bool goes_on_with(const struct exchange *x, const struct response *response)
{
    const struct field *etag = fields_find(&response->fields, FIELD_ETAG);
    bool counted = response->framing == FRAMING_LENGTH;
    return etag && (counted || response->framing == FRAMING_CHUNKED) &&
           caching_is_same(x->caching->hot->object, response->status, field_value(etag),
                           counted ? response->content_length : BODY_LENGTH_UNKNOWN);
}

static void resume(struct exchange *x, const struct response *response)
{
    struct caching *c = x->caching;
    if (!(c->slices ? caching_slice_goes_on(x, response) : goes_on_with(x, response))) {
        COUNT(x->worker, response_cuts);
        exchange_abort(x, "response_cuts", true);
        return;
    }
    c->skip = c->slices ? 0 : c->position;
    x->origin_keep = response->keep_alive;
    conn_consume(x->origin, response->head_bytes);
    x->response_progress = (struct h1_progress){ 0 };
    h1_body_init(&x->response_body, response->framing, response->content_length);
    exchange_go(x, STEP_RELAY);
}

/* RFC 9111 4.3.5: the answer to HEAD says what GET's would say. The stored fields are renewed by it, or what is stored is stale. */
static uint64_t length_of(const struct object *object)
{
    return object->body ? atomic_load_explicit(&object->body->length, memory_order_relaxed) : object->content_length;
}

static void head_came(struct exchange *x, const struct response *response)
{
    struct caching *c = x->caching;
    bool others;
    struct cache *cache = home_enter(c->home);
    struct object *object = cache_find(cache, &c->key, &x->request, &others), *fresh = NULL;
    home_leave(c->home);
    if (!object)
        return;
    bool same = cache_head_agrees(&object->policy, object->etag, length_of(object), response);
    struct cache_new what;
    if (!same)
        atomic_store(&object->stale, true);
    else
        same = judge_again(x, object, response, &what) == CACHE_REASON_NONE;
    cache = home_enter(c->home);
    if (same)
        fresh = cache_freshen(cache, object, &what);
    if (fresh || !same)
        caching_replaced(x, object);
    if (fresh && !slice_equal(fresh->vary, object->vary))
        caching_replaced(x, fresh);
    if (fresh)
        cache_unref(cache, fresh);
    cache_unref(cache, object);
    home_leave(c->home);
}

/* Not what went past the cache, as the client wrote it; nor what only one who is authorised gets. */
static bool speaks_of_stored(const struct exchange *x)
{
    const struct caching *c = x->caching;
    return c->key.text.length && c->reason == CACHE_REASON_NONE && !caching_is_authorized(x);
}

bool caching_head(struct exchange *x, const struct response *response)
{
    struct caching *c = x->caching;
    if (c->role == CACHE_RESUMING) {
        resume(x, response);
        return true;
    }
    if (c->role == CACHE_LEADING && c->validating && response->status == 304) {
        not_modified(x, response);
        return true;
    }
    if (c->role == CACHE_LEADING && is_failure(response->status) && caching_saves(x, response->status)) {
        exchange_release_origin(x, false); /* what it goes on to say is not read */
        exchange_release_member(x, exchange_status_outcome(x, response->status));
        exchange_release_places(x);
        return true;
    }
    if (x->request.method == METHOD_HEAD && response->status == 200 && speaks_of_stored(x))
        head_came(x, response);
    return false;
}

const char *caching_word(const struct caching *c)
{
    if (c->passed)
        return "pass";
    if (c->stale)
        return "stale";
    if (c->hit)
        return "hit";
    if (c->validated)
        return "validated";
    if (c->collapsed)
        return "collapsed";
    return c->purged ? "purge" : "miss";
}

struct slice caching_status(struct exchange *x)
{
    struct caching *c = x->caching;
    if (!c->rule->status_field)
        return SLICE_NONE;
    const struct object *object = c->role == CACHE_SERVING ? c->hot->object : c->filling;
    struct cache_status status = {
        .name = x->view->config->via.length ? x->view->config->via : SLICE("weir"),
        .hit = c->hit,
        .forward = c->hit && !c->forward ? NULL : c->forward,
        .forward_status = c->forward_status,
        .has_ttl = object != NULL,
        .stored = c->stored,
        .collapsed = c->collapsed,
        .detail = c->reason ? cache_reason_word((enum cache_reason)c->reason) : NULL,
    };
    if (object)
        status.ttl_s =
            (int64_t)object->policy.lifetime_s - cache_age(&object->policy, loop_unix_seconds(&x->worker->loop));
    return slice_of(c->status_text, cache_status_write(&status, c->status_text));
}

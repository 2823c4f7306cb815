/*
 * Slices: on a route with `cache.slice` content is asked for and stored in parts of one size, each an object of its own, so that a part of a large file fetches
 * and keeps what it needs and no more.
 *
 * A slice is stored as the 206 that it came as, under the key of the whole with one more line. Fetches of ours alone ask for slices (exchange_fetch.c), one for all
 * who want that slice at the time; nobody leads for himself. The client's exchange goes from LOOKUP, where it gets a hold of a slice or waits for it, to SERVE, which
 * sends it, and back for the next one. When half of a slice was sent the next one is asked for.
 *
 * The first slice that is needed says how long the whole is, and what the head says. Where a part is asked for by its distance from the end, slice 0 is asked first.
 * Once the head was written all slices must be of the same version: the same strong ETag, or without one the same Last-Modified; and the same length. Otherwise the client
 * is cut, and all that is stored for the URL goes; if that happens again soon, the whole is asked for. Before the head the newest slice counts, and the answer is planned anew from it.
 *
 * An origin that answers the whole, or anything but a 206, is taken at its word: that is stored as the whole (the flight goes over to the whole's key), and who waits
 * is served from it. What cannot be in slices (no strong validator, other parts than were asked for, no lifetime) is remembered for a while, and goes the way it would without them.
 */
#include "engine/caching.h"
#include "engine/exchange.h"
#include "proto/condition.h"

#define TURNS_MAX 4u     /* so often the answer is planned anew, or another slice is wanted for it, before its head */
#define FAR (1ull << 60) /* no content is so long: a distance from an end that is not known yet */
#define WHOLE_MS 60000u
#define RANGE_TEXT_BYTES 48u
#define QUEUED_MOST (256u * 1024u) /* of earlier slices, when the next one is taken */

/* Which slice ------------------------------------------------------------------------------------------------- */

static void aim(struct caching *c, uint64_t number)
{
    c->slice = number;
    cache_key_slice(&c->key, c->key_room, c->whole_length, c->rule->slice_bytes, number);
}

/* It goes on as if there were no slices. */
static void aim_at_whole(struct caching *c)
{
    c->key.text.length = c->whole_length;
    c->slices = NULL;
    c->from = 0;
}

static void let_go(struct caching *c)
{
    if (c->hot)
        hot_unref(c->hot);
    c->hot = NULL;
    c->piece = NULL;
}

static struct hot_pass *whole_of(const struct exchange *x)
{
    return &x->worker->hot->wholes[(x->caching->key.url_hash >> 8) % HOT_WHOLES];
}

static void remember_whole(struct exchange *x)
{
    *whole_of(x) = (struct hot_pass){ x->caching->key.url_hash, x->worker->loop.now_ms + WHOLE_MS };
}

static bool whole_lately(const struct exchange *x)
{
    const struct hot_pass *whole = whole_of(x);
    return whole->url_hash == x->caching->key.url_hash && whole->until_ms > x->worker->loop.now_ms;
}

/* It is stored, or on its way, as a whole. What is no 200 and stale does not count: there may be a file by now. */
static bool is_whole(struct exchange *x)
{
    struct caching *c = x->caching;
    bool others;
    if (whole_lately(x))
        return true;
    struct cache *cache = home_enter(c->home);
    struct object *object = cache_find(cache, &c->key, &x->request, &others);
    bool whole = object && (object->status == 200 || caching_use(c, object) != CACHE_USE_VALIDATE);
    if (object) {
        object_unused(object);
        cache_unref(cache, object);
    }
    whole = whole || flight_find(cache, &c->key, &x->request);
    home_leave(c->home);
    return whole;
}

/* Under the home's lock: what is stored under the key, with a reference, and whether it may be used now; looking is no use of it. */
static struct object *glance(struct exchange *x, struct cache *cache, bool *usable)
{
    struct caching *c = x->caching;
    bool others;
    struct object *object = cache_find(cache, &c->key, &x->request, &others);
    if (object)
        object_unused(object);
    *usable = object && caching_use(c, object) != CACHE_USE_VALIDATE;
    return object;
}

/* What is there and may be used: a reference. */
static struct object *peek(struct exchange *x)
{
    bool usable;
    struct cache *cache = home_enter(x->caching->home);
    struct object *object = glance(x, cache, &usable);
    if (object && !usable)
        cache_unref(cache, object);
    home_leave(x->caching->home);
    return usable ? object : NULL;
}

static bool read_content_range(const struct object *object, struct range *range, uint64_t *length)
{
    for (unsigned i = 0; i < object->field_count; i++)
        if (object->fields[i].id == FIELD_CONTENT_RANGE)
            return content_range_read(field_value(&object->fields[i]), range, length) == ERR_OK;
    return false;
}

/* As slice 0 has it, if it is stored. */
static uint64_t stored_length(struct exchange *x)
{
    struct caching *c = x->caching;
    struct range range;
    uint64_t length = RANGE_LENGTH_UNKNOWN;
    aim(c, 0);
    struct object *object = peek(x);
    if (!object)
        return length;
    if (!read_content_range(object, &range, &length))
        length = RANGE_LENGTH_UNKNOWN;
    struct cache *cache = home_enter(c->home);
    cache_unref(cache, object);
    home_leave(c->home);
    return length;
}

static uint64_t first_needed(struct exchange *x)
{
    struct ranges ranges;
    if (!fields_have(&x->request.fields, FIELD_RANGE))
        return 0;
    if (ranges_of(&x->request, stored_length(x), &ranges) != RANGE_PARTIAL || ranges.list[0].first >= FAR)
        return 0;
    return ranges.list[0].first / x->caching->rule->slice_bytes;
}

/* Looking ----------------------------------------------------------------------------------------------------- */

/* Any slice knows what the answer to HEAD says; the first is the one that is there, if any. */
static enum step_verdict look_for_head(struct exchange *x)
{
    struct caching *c = x->caching;
    uint64_t purges = atomic_load_explicit(&x->worker->shared->homes->purges, memory_order_acquire);
    aim(c, 0);
    struct object *object = peek(x);
    struct hot *hot = object ? hot_take(x->worker, c->home, object, purges) : NULL;
    if (hot) {
        caching_count_hit(x);
        return caching_serve(x, hot);
    }
    aim_at_whole(c);
    return caching_look(x);
}

enum step_verdict caching_look_for_slices(struct exchange *x)
{
    struct caching *c = x->caching;
    struct slices *slices = is_whole(x) ? NULL : arena_take(&x->arena, sizeof *slices);
    if (!slices)
        return caching_look(x);
    *slices = (struct slices){ 0 };
    c->slices = slices;
    c->whole_length = (uint32_t)c->key.text.length;
    if (x->request.method == METHOD_HEAD)
        return look_for_head(x);
    aim(c, first_needed(x));
    return caching_look(x);
}

enum cache_use caching_slice_use(const struct caching *c, struct object *object, enum cache_use use)
{
    struct slices *slices = c->slices;
    if (slices->ours == c->slice + 1) {
        slices->ours = 0;
        object_unused(object);
    }
    if (use != CACHE_USE_VALIDATE || c->rounds == 0)
        return use;
    int64_t now_s = loop_unix_seconds(&c->exchange->worker->loop);
    if (caching_is_fresh(c->exchange, object)) /* it was asked for, or confirmed, while this request waited */
        return CACHE_USE_FRESH;
    bool stands_in = slices->failed && cache_use_on_error(c->rule, &object->policy, &c->exchange->request, now_s);
    return stands_in ? CACHE_USE_STALE : use;
}

/* A second time within a while: servers that do not agree on their validators, say. Then one answer must come from one of them. */
static void remember_change(struct exchange *x)
{
    struct hot_pass *whole = whole_of(x);
    uint64_t now_ms = x->worker->loop.now_ms;
    if (whole->url_hash == x->caching->key.url_hash && whole->until_ms + WHOLE_MS > now_ms)
        remember_whole(x);
    else
        *whole = (struct hot_pass){ x->caching->key.url_hash, now_ms };
}

/* It does not fit to what was sent: whoever asks next gets all of the new version. */
static enum step_verdict changed(struct exchange *x)
{
    const struct caching *c = x->caching;
    remember_change(x);
    struct purge purge = { .kind = PURGE_URL, .text = slice_of(c->key.text.at, c->key.url_length) };
    struct purge_count count;
    homes_purge_url(x->worker->shared->homes, &purge, &count);
    COUNT(x->worker, response_cuts);
    return exchange_abort(x, "response_cuts", true);
}

static bool same_version(const struct slices *slices, struct slice etag, int64_t modified_s, uint64_t length)
{
    if (length != slices->length)
        return false;
    if (slices->etag.length || etag.length)
        return etags_match_strong(etag, slices->etag);
    return modified_s == slices->modified_s;
}

enum step_verdict caching_slice_serve(struct exchange *x)
{
    struct caching *c = x->caching;
    const struct object *object = c->hot->object;
    struct range range;
    uint64_t length = 0;
    if (object->status != 206 || !read_content_range(object, &range, &length)) {
        if (x->response_begun)
            return changed(x);
        aim_at_whole(c);
        return exchange_go(x, STEP_SERVE);
    }
    if (x->response_begun && !same_version(c->slices, object->etag, object->policy.modified_s, length))
        return changed(x);
    c->from = range.first;
    c->piece = NULL;
    c->slices->failed = false;
    return exchange_go(x, STEP_SERVE);
}

/* The slice lies behind the end. */
enum step_verdict caching_slice_past(struct exchange *x)
{
    struct caching *c = x->caching;
    if (!c->slices) /* it was not asked for */
        return caching_pass(x, CACHE_REASON_RANGE);
    if (x->response_begun)
        return changed(x);
    if (c->slice == 0 || ++c->slices->turns > TURNS_MAX)
        return caching_pass(x, CACHE_REASON_RANGE);
    c->rounds = 0;
    aim(c, 0);
    return caching_look(x);
}

enum step_verdict caching_slice_whole(struct exchange *x)
{
    struct caching *c = x->caching;
    remember_whole(x); /* also where its fetch was another worker's */
    if (!c->slices || x->response_begun)
        return caching_pass(x, CACHE_REASON_RANGE);
    aim_at_whole(c);
    c->rounds = 0;
    return caching_look(x);
}

/* Planning and walking ---------------------------------------------------------------------------------------- */

bool caching_slice_plan(struct exchange *x)
{
    struct caching *c = x->caching;
    struct slices *slices = c->slices;
    const struct object *object = c->hot->object;
    struct range range;
    slices->modified_s = object->policy.modified_s;
    slices->etag = SLICE_NONE;
    if (slices->forward && !c->forward)
        c->forward = slices->forward;
    c->hit = c->hit && !c->forward;
    c->stored = c->forward != NULL;
    return read_content_range(object, &range, &slices->length) &&
           (!object->etag.length || arena_copy(&x->arena, object->etag, &slices->etag) == ERR_OK);
}

bool caching_slice_has(const struct caching *c, uint64_t position)
{
    return position >= c->from && position - c->from < c->hot->object->body->length;
}

static enum step_verdict look_at(struct exchange *x, uint64_t position)
{
    struct caching *c = x->caching;
    if (x->response_begun)
        conn_flush(x->client);
    else
        c->slices->forward = c->forward ? c->forward : c->slices->forward;
    let_go(c);
    aim(c, position / c->rule->slice_bytes);
    return exchange_go(x, STEP_LOOKUP);
}

enum step_verdict caching_slice_first(struct exchange *x, uint64_t position)
{
    if (++x->caching->slices->turns > TURNS_MAX)
        return caching_pass(x, CACHE_REASON_RANGE);
    x->caching->rounds = 0;
    return look_at(x, position);
}

/* What is queued is held: a slow client must not hold slice after slice in a full home. */
enum step_verdict caching_slice_next(struct exchange *x)
{
    if (x->client->out.bytes > QUEUED_MOST) {
        conn_flush(x->client);
        exchange_await_client(x);
        return STEP_WAIT;
    }
    x->caching->rounds = 0;
    return look_at(x, x->caching->position);
}

enum step_verdict caching_slice_again(struct exchange *x)
{
    x->caching->rounds++; /* not for ever */
    return look_at(x, x->caching->position);
}

/* Asks for the slice that c aims at, if nobody did. */
static void ask_ahead(struct exchange *x)
{
    struct caching *c = x->caching;
    bool there;
    struct cache *cache = home_enter(c->home);
    struct object *object = glance(x, cache, &there);
    uint64_t sequence = cache_sequence(cache);
    struct flight *flight = there || flight_find(cache, &c->key, &x->request) ? NULL : flight_begin(cache, &c->key);
    if (object && !flight)
        cache_unref(cache, object);
    home_leave(c->home);
    if (!flight)
        return;
    struct hot *stale = object ? hot_take(x->worker, c->home, object, c->purges) : NULL;
    c->slices->ours = c->slice + 1;
    if (!caching_fetch(x, flight, sequence, stale)) {
        c->flight = flight;
        caching_end_flight(x, NEWS_AGAIN);
    }
    if (stale)
        hot_unref(stale);
}

void caching_slice_ahead(struct exchange *x)
{
    struct caching *c = x->caching;
    uint64_t number = c->slice, bytes = c->rule->slice_bytes;
    if (c->slices->ahead > number || c->position - c->from < bytes / 2 || (number + 1) * bytes >= c->end)
        return;
    c->slices->ahead = number + 1;
    aim(c, number + 1);
    ask_ahead(x);
    aim(c, number);
}

/* Fetching ---------------------------------------------------------------------------------------------------- */

static bool ask_for(struct exchange *x, uint64_t first, uint64_t last)
{
    char *room = arena_take(&x->arena, RANGE_TEXT_BYTES);
    struct h1_writer w = h1_writer_of(room, room ? RANGE_TEXT_BYTES : 0);
    h1_put_literal(&w, "bytes=");
    h1_put_number(&w, first);
    h1_put_literal(&w, "-");
    h1_put_number(&w, last);
    return room && fields_add(&x->request.fields, SLICE("Range"), slice_of(room, (size_t)(w.at - room))) == ERR_OK;
}

bool caching_ask_slice(struct exchange *f, const struct caching *of)
{
    struct caching *c = f->caching;
    uint64_t first = of->slice * of->rule->slice_bytes;
    c->of_slice = true;
    c->slice = of->slice;
    c->whole_length = of->whole_length;
    return ask_for(f, first, first + of->rule->slice_bytes - 1);
}

/* Something says for certain which version it is of. */
static bool is_certain(const struct response *response)
{
    const struct field *etag = fields_find(&response->fields, FIELD_ETAG);
    return etag ? etags_match_strong(field_value(etag), field_value(etag))
                : fields_have(&response->fields, FIELD_LAST_MODIFIED);
}

static bool is_what_was_asked(const struct caching *c, const struct response *response, uint64_t *bytes)
{
    const struct field *field = fields_find(&response->fields, FIELD_CONTENT_RANGE);
    uint64_t first = c->slice * c->rule->slice_bytes, length;
    struct range range;
    if (!field || content_range_read(field_value(field), &range, &length) != ERR_OK || length == RANGE_LENGTH_UNKNOWN)
        return false;
    *bytes = range_bytes(&range);
    return range.first == first && range.last == u64_min(first + c->rule->slice_bytes, length) - 1 &&
           (response->framing != FRAMING_LENGTH || response->content_length == *bytes);
}

/* The flight goes over to the key of the whole, with all who wait. */
static void turn_whole(struct exchange *x)
{
    struct caching *c = x->caching;
    struct cache *cache = home_enter(c->home);
    c->key.text.length = c->whole_length;
    c->of_slice = false;
    struct flight *flight = c->flight ? flight_begin(cache, &c->key) : NULL;
    if (flight) {
        flight->sequence = c->flight->sequence;
        struct flight_waiter *waiter = flight_end(cache, c->flight), *next;
        for (; waiter; waiter = next) {
            next = waiter->next;
            CONTAINER_OF(waiter, struct caching, waiter)->flight = flight;
            flight_wait(flight, waiter);
        }
        c->flight = flight;
    }
    home_leave(c->home);
}

void caching_refuse_slices(struct exchange *x, enum cache_reason reason)
{
    struct caching *c = x->caching;
    c->role = CACHE_PASS;
    c->reason = (uint8_t)reason;
    remember_whole(x);
    caching_end_flight(x, NEWS_WHOLE);
}

bool caching_slice_came(struct exchange *x, const struct response *response, uint64_t *bytes)
{
    struct caching *c = x->caching;
    if (response->status == 206) {
        if (is_what_was_asked(c, response, bytes) && is_certain(response))
            return true;
        caching_refuse_slices(x, CACHE_REASON_RANGE);
        return false;
    }
    if (response->status == 416 && c->slice == 0) { /* nothing is in it */
        caching_refuse_slices(x, CACHE_REASON_RANGE);
        return false;
    }
    if (response->status == 416) {
        c->role = CACHE_PASS;
        caching_end_flight(x, NEWS_PAST);
        return false;
    }
    if (response->status == 200)
        remember_whole(x);
    turn_whole(x);
    return true;
}

/* Without the store ------------------------------------------------------------------------------------------- */

static bool is_of_part(const struct field *field)
{
    const uint64_t ids = 1ull << FIELD_RANGE | 1ull << FIELD_IF_RANGE | 1ull << FIELD_IF_MATCH |
                         1ull << FIELD_IF_NONE_MATCH | 1ull << FIELD_IF_MODIFIED_SINCE |
                         1ull << FIELD_IF_UNMODIFIED_SINCE;
    return ids >> field->id & 1;
}

/* The rest of a part that was begun comes from the origin for this client alone. */
static enum step_verdict rest_from_origin(struct exchange *x)
{
    struct caching *c = x->caching;
    bool several = c->parts && c->parts->ranges.count > 1;
    for (unsigned i = 0; i < x->request.fields.count; i++)
        if (is_of_part(&x->request.fields.list[i]))
            x->request.fields.list[i].flags |= FIELD_HOP_BY_HOP;
    if (several || !ask_for(x, c->position, c->end - 1)) {
        COUNT(x->worker, response_cuts);
        return exchange_abort(x, "response_cuts", true);
    }
    let_go(c);
    return caching_resume(x);
}

enum step_verdict caching_slice_pass(struct exchange *x, enum cache_reason reason)
{
    struct caching *c = x->caching;
    if (x->response_begun)
        return rest_from_origin(x);
    let_go(c);
    aim_at_whole(c);
    return caching_pass(x, reason);
}

bool caching_slice_goes_on(const struct exchange *x, const struct response *response)
{
    const struct caching *c = x->caching;
    const struct field *field = fields_find(&response->fields, FIELD_CONTENT_RANGE);
    const struct field *etag = fields_find(&response->fields, FIELD_ETAG);
    struct range range;
    uint64_t length;
    if (response->status != 206 || response->framing != FRAMING_LENGTH || !field ||
        content_range_read(field_value(field), &range, &length) != ERR_OK)
        return false;
    return range.first == c->position && range.last + 1 == c->end && response->content_length == range_bytes(&range) &&
           c->slices->etag.length && etag && length == c->slices->length &&
           etags_match_strong(field_value(etag), c->slices->etag);
}

/*
 * store: objects come in: room for the head and the content, publishing it to readers as it grows, and the moment when it can be found.
 *
 * Content whose length was said has all its pieces from the beginning, linked: cache_room then only walks on, without the lock. Else pieces are as long as
 * what came before, so there are few of them, and the last one's end goes back when the body is complete.
 */
#include "cache/shard.h"
#include "engine/base/check.h"

#define GROW_LEAST 4096u
#define GROW_MOST (256u * 1024u)
#define PIECE_LIKED 4096u /* shorter pieces cost whoever sends them */
#define PIECE_PATIENCE 8u /* objects that go so that no shorter one must do */
#define BODY_RUN_LEAST (sizeof(struct body) + sizeof(struct piece))

/* Room for content ---------------------------------------------------------------------------------------------- */

/* A run of `bytes` or less: as long as can be had without many others going for it. */
static void *take_some(struct cache *cache, size_t bytes, uint32_t *tries, size_t *got)
{
    for (uint32_t patience = 0;; patience++) {
        size_t least = patience < PIECE_PATIENCE ? size_min(bytes, PIECE_LIKED) : PAGES_UNIT;
        void *run = pages_take_some(&cache->pages, bytes, least, got);
        if (run)
            return run;
        if (!cache_evict_one(cache, tries, true))
            return pages_take_some(&cache->pages, bytes, PAGES_UNIT, got);
    }
}

/* `bytes` of content at most. */
static struct piece *take_piece(struct cache *cache, struct body *body, uint64_t bytes, uint32_t *tries)
{
    size_t got;
    struct piece *piece = take_some(
        cache, sizeof(struct piece) + (size_t)u64_min(bytes, PAGES_RUN_MOST - sizeof(struct piece)), tries, &got);
    if (!piece)
        return NULL;
    *piece = (struct piece){ .bytes = (uint32_t)got, .cap = (uint32_t)u64_min(got - sizeof *piece, bytes) };
    body->bytes += got;
    return piece;
}

void cache_free_body(struct cache *cache, struct body *body)
{
    for (struct piece *piece = body->first, *next; piece; piece = next) {
        next = piece->next;
        if (piece->bytes)
            pages_give(&cache->pages, piece, piece->bytes);
    }
    pages_give(&cache->pages, body, body->run_bytes);
}

/* The body's own run, with the first piece in it. */
static struct body *take_body(struct cache *cache, uint64_t length, uint64_t wanted, uint32_t *tries)
{
    size_t got;
    struct body *body =
        take_some(cache, BODY_RUN_LEAST + (size_t)u64_min(wanted, PAGES_RUN_MOST - BODY_RUN_LEAST), tries, &got);
    if (!body)
        return NULL;
    memset(body, 0, sizeof *body);
    body->references = 1;
    body->run_bytes = (uint32_t)got;
    body->bytes = got;
    body->preallocated = length != BODY_LENGTH_UNKNOWN;
    atomic_store_explicit(&body->length, length, memory_order_relaxed);
    if (length == 0)
        return body;
    struct piece *piece = (struct piece *)(void *)(body + 1);
    *piece = (struct piece){ .cap = (uint32_t)u64_min(got - BODY_RUN_LEAST, wanted) };
    body->last = piece;
    atomic_store_explicit(&body->first, piece, memory_order_release);
    return body;
}

static struct body *body_new(struct cache *cache, uint64_t length, uint32_t *tries)
{
    uint64_t wanted = length == BODY_LENGTH_UNKNOWN ? GROW_LEAST - BODY_RUN_LEAST : length;
    struct body *body = take_body(cache, length, wanted, tries);
    if (!body || !body->preallocated || length == 0)
        return body;
    struct piece *last = body->last;
    for (uint64_t left = length - last->cap; left; left -= last->cap) {
        struct piece *piece = take_piece(cache, body, left, tries);
        if (!piece) {
            cache_free_body(cache, body);
            return NULL;
        }
        last->next = piece;
        last = piece;
    }
    return body;
}

/* Beginning ----------------------------------------------------------------------------------------------------- */

struct tag_collector {
    struct object_plan *plan;
    const struct purges *purges;
};

/* Each once, sorted. */
static void add_hash(struct object_plan *plan, uint64_t hash)
{
    uint32_t low = 0, high = plan->tag_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (plan->tags[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    if (plan->tag_count == OBJECT_TAGS_MAX || (low < plan->tag_count && plan->tags[low] == hash))
        return;
    memmove(plan->tags + low + 1, plan->tags + low, (plan->tag_count - low) * sizeof(uint64_t));
    plan->tags[low] = hash;
    plan->tag_count++;
}

static void add_tag(void *argument, struct slice tag)
{
    struct tag_collector *collector = argument;
    add_hash(collector->plan, purge_hash_of_tag(collector->purges, tag));
}

/* An object without body and with one reference. `old`: whose tags it has too. */
static struct object *make(struct cache *cache, const struct cache_new *what, const struct object *old, uint32_t *tries,
                           enum err *e)
{
    struct object_plan plan;
    struct tag_collector collector = { &plan, &cache->purges };
    plan.what = what;
    plan.freshened = old != NULL;
    plan.tag_count = 0;
    *e = cache_tags_each(what->rule, what->response, add_tag, &collector) ? ERR_OK : ERR_CAP;
    for (uint32_t i = 0; old && i < old->tag_count; i++)
        add_hash(&plan, old->tags[i]);
    if (*e == ERR_OK)
        *e = object_plan(&plan);
    if (*e != ERR_OK)
        return NULL;
    void *run = FAULT("object") ? NULL : cache_take_run(cache, plan.bytes, tries);
    if (!run) {
        *e = ERR_MEMORY;
        return NULL;
    }
    struct object *object = object_lay_out(&plan, run, index_hash(&cache->index, &what->key));
    object->host_hash = purge_hash_of_host(&cache->purges, purge_authority(object->key));
    object->references = 1;
    return object;
}

/* What is said of the length in the head: nothing for 204 and 304 (RFC 9110 8.6). */
static void say_length(struct object *object, const struct response *response)
{
    object->says_length = object->status != 204 && object->status != 304;
    if (!object->body && response->has_content_length) {
        object->content_length = response->content_length;
        object_write_length(object, object->content_length);
    } else if (!object->body) {
        object->says_length = false;
    } else if (object->body->preallocated || atomic_load(&object->body->state) == BODY_COMPLETE) {
        object_write_length(object, atomic_load(&object->body->length));
    }
}

/*
 * What there is beside it is so small that all tries together would not make the room: then nobody goes for nothing.
 */
static bool hopeless(const struct cache *cache, uint64_t length)
{
    const struct queue *small = &cache->eviction.queues[QUEUE_SMALL], *main = &cache->eviction.queues[QUEUE_MAIN];
    uint64_t free = pages_free(&cache->pages), objects = small->objects + main->objects;
    return length > free && length - free > (small->bytes + main->bytes) / u64_max(objects, 1) * EVICTION_TRIES;
}

static bool too_large(const struct cache *cache, const struct cache_new *what)
{
    return !what->no_body && what->length != BODY_LENGTH_UNKNOWN &&
           (what->length > what->rule->object_bytes_max || what->length > cache_content_most(cache));
}

struct object *cache_begin(struct cache *cache, const struct cache_new *what, enum err *e)
{
    uint32_t tries = EVICTION_TRIES;
    MUST_BE(cache, CACHE_MAGIC);
    *e = ERR_CAP;
    struct object *object = too_large(cache, what) ? NULL : make(cache, what, NULL, &tries, e);
    if (object && !what->no_body) {
        bool none = what->length != BODY_LENGTH_UNKNOWN && hopeless(cache, what->length);
        object->body = none ? NULL : body_new(cache, what->length, &tries);
        if (!object->body) {
            cache_unref(cache, object);
            object = NULL;
            *e = ERR_MEMORY;
        }
    }
    if (!object) {
        cache->numbers.refused++;
        return NULL;
    }
    say_length(object, what->response);
    return object;
}

/* Filling ------------------------------------------------------------------------------------------------------- */

/* One more piece for content of unknown length: as long as what there is. */
static struct piece *grow(struct cache *cache, struct body *body, uint64_t filled, uint64_t most)
{
    uint32_t tries = EVICTION_TRIES;
    uint64_t run = u64_max(GROW_LEAST, u64_min(filled, GROW_MOST));
    if (filled >= most || FAULT("piece"))
        return NULL;
    struct piece *piece = take_piece(cache, body, u64_min(run - sizeof *piece, most - filled), &tries);
    if (piece)
        body->last->next = piece;
    return piece;
}

char *cache_room(struct cache *cache, struct object *object, uint64_t bytes_max, uint32_t *room)
{
    struct body *body = object->body;
    *room = 0;
    if (!body || !body->last)
        return NULL;
    uint64_t filled = atomic_load_explicit(&body->filled, memory_order_relaxed);
    uint64_t most = body->preallocated ? UINT64_MAX : u64_min(bytes_max, cache_content_most(cache));
    if (body->in_last == body->last->cap) {
        struct piece *next = body->preallocated ? body->last->next : grow(cache, body, filled, most);
        if (!next)
            return NULL;
        body->last = next;
        body->in_last = 0;
    }
    *room = (uint32_t)u64_min(body->last->cap - body->in_last, most > filled ? most - filled : 0);
    return *room ? body->last->data + body->in_last : NULL;
}

void cache_filled(struct object *object, uint32_t bytes)
{
    struct body *body = object->body;
    MUST(bytes <= body->last->cap - body->in_last);
    body->in_last += bytes;
    atomic_store_explicit(&body->filled, atomic_load_explicit(&body->filled, memory_order_relaxed) + bytes,
                          memory_order_release);
}

/* Gives back what the last piece did not need. `cap` stays: readers may be looking at it. */
static void trim(struct cache *cache, struct body *body)
{
    struct piece *piece = body->last;
    if (!piece)
        return;
    char *run = piece->bytes ? (char *)piece : (char *)body;
    uint32_t *bytes = piece->bytes ? &piece->bytes : &body->run_bytes;
    uint32_t kept = (uint32_t)pages_rounded((uint64_t)(piece->data - run) + body->in_last);
    if (kept >= *bytes)
        return;
    pages_give(&cache->pages, run + kept, *bytes - kept);
    body->bytes -= *bytes - kept;
    *bytes = kept;
}

/* Completing ---------------------------------------------------------------------------------------------------- */

static bool end_body(struct cache *cache, struct object *object)
{
    struct body *body = object->body;
    if (!body)
        return true;
    uint64_t filled = atomic_load_explicit(&body->filled, memory_order_relaxed);
    if (body->preallocated && filled != atomic_load_explicit(&body->length, memory_order_relaxed)) {
        atomic_store_explicit(&body->state, BODY_BROKEN, memory_order_release);
        return false;
    }
    trim(cache, body);
    atomic_store_explicit(&body->length, filled, memory_order_relaxed);
    object_write_length(object, filled);
    atomic_store_explicit(&body->state, BODY_COMPLETE, memory_order_release);
    return true;
}

static struct tag *get_record(struct cache *cache, uint64_t hash, uint32_t *tries)
{
    struct tag *tag;
    while (!(tag = FAULT("tag") ? NULL : tags_get(&cache->tags, hash)) &&
           cache->tags.records < cache->tags.records_most && cache_evict_one(cache, tries, true))
        ;
    return tag;
}

static bool enter_record(struct cache *cache, const struct object *object, uint64_t hash, uint32_t *tries)
{
    struct tag *tag = get_record(cache, hash, tries);
    if (!tag)
        return false;
    tag_enter(tag, object->queued_bytes);
    return true;
}

static void leave_records(struct cache *cache, const struct object *object, uint32_t entered)
{
    for (uint32_t i = 0; i < entered; i++) {
        struct tag *tag = tags_find(&cache->tags, i ? object->tags[i - 1] : object->host_hash);
        tag_leave(tag, object->queued_bytes, object->sequence);
        if (tag->objects == 0)
            tags_drop(&cache->tags, tag);
    }
}

/* Its host's and its tags'; all or none. */
static bool enter_records(struct cache *cache, const struct object *object)
{
    uint32_t tries = EVICTION_TRIES;
    for (uint32_t i = 0; i <= object->tag_count; i++) {
        if (enter_record(cache, object, i ? object->tags[i - 1] : object->host_hash, &tries))
            continue;
        leave_records(cache, object, i);
        return false;
    }
    return true;
}

/* A whole answer replaces whatever has its key and secondary key; one to HEAD only its like. */
static bool replaces(const struct object *object, const struct object *old)
{
    return slice_equal(object->vary, old->vary) && (object->body || !old->body);
}

static void take_place(struct cache *cache, struct object *object)
{
    struct object *inherits = NULL, *oldest = NULL, *next;
    uint32_t variants = 1;
    for (struct object *old = index_first(&cache->index, object->key, object->key_hash); old; old = next) {
        next = index_next(old);
        if (!cache_settle(cache, old))
            continue;
        if (!replaces(object, old)) {
            oldest = old;
            variants++;
        } else if (!inherits) {
            inherits = old;
        } else {
            cache_take_out(cache, old);
        }
    }
    eviction_add(&cache->eviction, object);
    if (inherits) {
        eviction_inherit(&cache->eviction, inherits, object);
        cache_take_out(cache, inherits);
    }
    if (variants > VARIANTS_MAX)
        cache_take_out(cache, oldest);
}

/* It can be found from now on, unless a purge that came after its number concerns it. */
static bool insert(struct cache *cache, struct object *object)
{
    struct purge_subject subject = purge_subject_of(object);
    enum purge_verdict verdict = purge_judge_fill(&cache->purges, &cache->tags, &subject);
    if (verdict == PURGE_DEAD)
        return false;
    object->sequence = cache->purges.sequence;
    object->queued_bytes = object_bytes(object);
    if (!enter_records(cache, object)) {
        cache->numbers.refused++;
        return false;
    }
    if (verdict == PURGE_STALE)
        atomic_store_explicit(&object->stale, true, memory_order_release);
    tag_enter(&cache->purges.all, object->queued_bytes);
    take_place(cache, object);
    index_add(&cache->index, object);
    cache_ref(object);
    cache->numbers.inserted++;
    return true;
}

bool cache_complete(struct cache *cache, struct object *object)
{
    MUST_BE(object, OBJECT_MAGIC);
    MUST(!object->indexed);
    if (end_body(cache, object) && insert(cache, object))
        return true;
    atomic_store_explicit(&object->gone, true, memory_order_release);
    return false;
}

void cache_break(struct cache *cache, struct object *object)
{
    (void)cache;
    MUST_BE(object, OBJECT_MAGIC);
    MUST(!object->indexed);
    atomic_store_explicit(&object->gone, true, memory_order_release);
    if (object->body && atomic_load_explicit(&object->body->state, memory_order_relaxed) == BODY_FILLING)
        atomic_store_explicit(&object->body->state, BODY_BROKEN, memory_order_release);
}

struct object *cache_freshen(struct cache *cache, struct object *old, const struct cache_new *what)
{
    uint32_t tries = EVICTION_TRIES;
    enum err e;
    MUST_BE(old, OBJECT_MAGIC);
    if (old->body && atomic_load_explicit(&old->body->state, memory_order_acquire) != BODY_COMPLETE)
        return NULL;
    struct object *object = make(cache, what, old, &tries, &e);
    if (!object)
        return NULL;
    if (old->body) {
        object->body = old->body;
        object->body->references++;
    }
    say_length(object, what->response);
    if (!insert(cache, object)) {
        cache_unref(cache, object);
        return NULL;
    }
    if (old->indexed &&
        !slice_equal(old->vary, object->vary)) /* it would go on answering those whom it is not for any more */
        cache_take_out(cache, old);
    return object;
}

#include "engine/hot.h"

#include <stdlib.h>

#include "engine/caching.h"
#include "engine/worker.h"

#define HOTS_MAX 131072u
#define HOT_KEEP_MS 10000u
#define HOT_LOOK_MS 60000u /* what is used is looked up again after that, so that the disk keeps what it has of it */
#define HOT_SHARE 8u       /* the tables of all workers hold this part of the memory at most */

struct hot_table *hot_table_new(const struct homes *homes, uint32_t workers)
{
    struct hot_table *table = FAULT("hot_table") ? NULL : calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->scratch = calloc(1, sizeof *table->scratch);
    if (!table->scratch) {
        free(table);
        return NULL;
    }
    slab_init(&table->hots, sizeof(struct hot), HOTS_MAX);
    table->bytes_max = homes->home_bytes * homes->count / HOT_SHARE / workers;
    return table;
}

void hot_table_free(struct hot_table *table)
{
    if (!table)
        return;
    slab_release(&table->hots);
    free(table->scratch);
    free(table);
}

/* Holds -------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct object *object)
{
    uint64_t length = object->body ? object->body->length : 0;
    return object->bytes + (length == BODY_LENGTH_UNKNOWN ? 0 : length);
}

static struct hot **growing_of(struct worker *worker, const struct object *object)
{
    return &worker->hot->growing[mix64((uintptr_t)object) % HOT_GROWING];
}

static void stop_watching(struct hot *hot)
{
    struct body *body = hot->object->body;
    struct hot *before = atomic_load_explicit(&body->watchers, memory_order_relaxed);
    if (before == hot)
        atomic_store(&body->watchers, hot->next_watcher);
    else {
        while (before->next_watcher != hot)
            before = before->next_watcher;
        before->next_watcher = hot->next_watcher;
    }
    struct hot **at = growing_of(hot->worker, hot->object);
    while (*at != hot)
        at = &(*at)->next_growing;
    *at = hot->next_growing;
    hot->watching = false;
}

static void gone(struct lent_block *lent)
{
    struct hot *hot = CONTAINER_OF(lent, struct hot, memory);
    struct worker *worker = hot->worker;
    MUST(!hot->readers && !hot->tabled);
    atomic_fetch_add_explicit(&hot->object->hits, hot->hits, memory_order_relaxed);
    struct cache *cache = home_enter(hot->home);
    if (hot->watching)
        stop_watching(hot);
    cache_unref(cache, hot->object);
    home_leave(hot->home);
    wake_cancel(worker, &hot->wake);
    hot->object = NULL;
    slab_return(&worker->hot->hots, hot);
}

static void run_readers(struct wake *wake)
{
    struct hot *hot = CONTAINER_OF(wake, struct hot, wake);
    struct hot_reader *list = hot->readers;
    hot_ref(hot);
    atomic_thread_fence(
        memory_order_seq_cst); /* what was published before the wake was found queued is looked at now */
    hot->readers = NULL;
    if (list)
        list->link = &list;
    while (list) {
        struct hot_reader *reader = list;
        hot_forget(reader);
        reader->grew(reader);
    }
    hot_unref(hot);
}

static struct hot *make(struct worker *worker, struct home *home, struct object *object, uint64_t purges)
{
    struct hot *hot = slab_take(&worker->hot->hots);
    if (!hot) {
        struct cache *cache = home_enter(home);
        cache_unref(cache, object);
        home_leave(home);
        return NULL;
    }
    *hot = (struct hot){ .object = object,
                         .home = home,
                         .worker = worker,
                         .purges = purges,
                         .used_ms = worker->loop.now_ms,
                         .taken_ms = worker->loop.now_ms };
    lent_block_init(&hot->memory, cache_base(home->cache), gone);
    hot->wake.woken = run_readers;
    return hot;
}

/* The table ---------------------------------------------------------------------------------------------------- */

static struct hot **slot_of(struct worker *worker, uint64_t url_hash)
{
    return &worker->hot->slots[(url_hash >> 16) % HOT_SLOTS];
}

static void empty_slot(struct worker *worker, struct hot **slot)
{
    struct hot *hot = *slot;
    *slot = NULL;
    hot->tabled = false;
    worker->hot->bytes -= bytes_of(hot->object);
    hot_unref(hot);
}

static bool is_good(const struct worker *worker, const struct hot *hot)
{
    return !atomic_load_explicit(&hot->object->gone, memory_order_relaxed) &&
           atomic_load_explicit(&worker->shared->homes->purges, memory_order_acquire) == hot->purges;
}

static void count_use(struct worker *worker, struct hot *hot)
{
    struct object *object = hot->object;
    hot->hits++;
    hot->used_ms = worker->loop.now_ms;
    object_used(object);
}

struct hot *hot_find(struct worker *worker, const struct cache_key *key, const struct request *request)
{
    struct hot **slot = slot_of(worker, key->url_hash), *hot = *slot;
    if (!hot || hot->object->url_hash != key->url_hash || !slice_equal(hot->object->key, key->text))
        return NULL;
    if (unlikely(!is_good(worker, hot))) {
        empty_slot(worker, slot);
        return NULL;
    }
    if (hot->object->vary.length && !cache_vary_matches(hot->object->vary, request))
        return NULL;
    count_use(worker, hot);
    return hot_ref(hot);
}

/* Only what is complete and was used before; and not at once in the place of what is in use. Slices share their URL's slot: they are looked up in the home. */
static void put_in_table(struct worker *worker, struct hot *hot)
{
    struct object *object = hot->object;
    struct hot **slot = slot_of(worker, object->url_hash), *before = *slot;
    if (object->body && atomic_load(&object->body->state) != BODY_COMPLETE)
        return;
    if (atomic_load_explicit(&object->uses, memory_order_relaxed) == 0 || object->status == 206)
        return;
    if (before && is_good(worker, before) && !before->missed && worker->loop.now_ms - before->used_ms < HOT_KEEP_MS) {
        before->missed = true;
        return;
    }
    if (before)
        empty_slot(worker, slot);
    if (worker->hot->bytes + bytes_of(object) > worker->hot->bytes_max)
        return;
    worker->hot->bytes += bytes_of(object);
    *slot = hot_ref(hot);
    hot->tabled = true;
}

struct hot *hot_take(struct worker *worker, struct home *home, struct object *object, uint64_t purges)
{
    for (struct hot *hot = *growing_of(worker, object); hot; hot = hot->next_growing) {
        if (hot->object != object)
            continue;
        struct cache *cache = home_enter(home);
        cache_unref(cache, object);
        home_leave(home);
        return hot_ref(hot);
    }
    struct hot *hot = make(worker, home, object, purges);
    if (hot) {
        hot->hits++;
        put_in_table(worker, hot);
    }
    return hot;
}

void hot_tick(struct worker *worker)
{
    for (unsigned i = 0; i < HOT_SLOTS; i++) {
        struct hot **slot = &worker->hot->slots[i];
        if (!*slot)
            continue;
        struct hot *hot = *slot;
        hot->missed = false;
        if (hot->hits) {
            atomic_fetch_add_explicit(&hot->object->hits, hot->hits, memory_order_relaxed);
            hot->hits = 0;
        }
        bool look = worker->disk && worker->loop.now_ms - hot->taken_ms >= HOT_LOOK_MS;
        if (look || !is_good(worker, hot) || worker->loop.now_ms - hot->used_ms >= HOT_KEEP_MS)
            empty_slot(worker, slot);
    }
}

void hot_clear(struct worker *worker)
{
    for (unsigned i = 0; i < HOT_SLOTS; i++)
        if (worker->hot->slots[i])
            empty_slot(worker, &worker->hot->slots[i]);
}

/* Growing ------------------------------------------------------------------------------------------------------ */

static void watch(struct hot *hot)
{
    struct body *body = hot->object->body;
    struct hot **growing = growing_of(hot->worker, hot->object);
    home_enter(hot->home);
    hot->next_watcher = atomic_load_explicit(&body->watchers, memory_order_relaxed);
    atomic_store(&body->watchers, hot);
    caching_nudge(hot->worker, body);
    home_leave(hot->home);
    hot->next_growing = *growing;
    *growing = hot;
    hot->watching = true;
}

bool hot_await(struct hot *hot, struct hot_reader *reader, uint64_t have)
{
    struct body *body = hot->object->body;
    if (!hot->watching)
        watch(hot);
    atomic_thread_fence(memory_order_seq_cst); /* with that of hot_grew: one of the two sees the other */
    if (atomic_load(&body->state) != BODY_FILLING || atomic_load(&body->filled) > have)
        return false;
    reader->next = hot->readers;
    reader->link = &hot->readers;
    if (reader->next)
        reader->next->link = &reader->next;
    hot->readers = reader;
    return true;
}

void hot_forget(struct hot_reader *reader)
{
    if (!reader->link)
        return;
    *reader->link = reader->next;
    if (reader->next)
        reader->next->link = reader->link;
    reader->link = NULL;
}

void hot_grew(struct worker *worker, struct home *home, struct object *object)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (likely(!atomic_load_explicit(&object->body->watchers, memory_order_relaxed)))
        return;
    home_enter(home);
    for (struct hot *hot = atomic_load_explicit(&object->body->watchers, memory_order_relaxed); hot;
         hot = hot->next_watcher)
        wake_send(worker, hot->worker, &hot->wake);
    home_leave(home);
}

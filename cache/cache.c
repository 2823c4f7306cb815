/*
 * cache: making a home, finding in it, and seeing what is there. The region holds, one after the other: struct cache, the tables of the index, of
 * ghosts, tags, echoes and flights, the map of the pages, and the pages.
 */
#include "cache/cache.h"

#include "cache/shard.h"
#include "engine/base/check.h"

#define TAGS_PER_TRY 8u /* leaving so many records takes as long as leaving the rest */

/* Making -------------------------------------------------------------------------------------------------------- */

/* Takes the next table's place. */
static void *place(char **at, size_t bytes)
{
    void *table = *at;
    *at += (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return table;
}

struct cache *cache_new(void *memory, size_t bytes, const uint64_t seed[2])
{
    struct cache *cache = memory;
    if (bytes < CACHE_REGION_LEAST || bytes > CACHE_REGION_MOST || bytes % 65536 != 0)
        return NULL;
    char *at = memory, *end = at + bytes;
    place(&at, sizeof *cache);
    memset(cache, 0, sizeof *cache);
    cache->magic = CACHE_MAGIC;
    cache->region_bytes = bytes;
    index_init(&cache->index, place(&at, index_bytes(bytes)), bytes, &cache->pages, seed);
    eviction_init(&cache->eviction, place(&at, eviction_bytes(bytes)), bytes);
    tags_init(&cache->tags, place(&at, tags_bytes(bytes)), bytes, &cache->pages);
    purges_init(&cache->purges, place(&at, purges_bytes(bytes)), bytes, seed);
    flights_init(&cache->flights, place(&at, flights_bytes(bytes)), bytes);
    uint8_t *map = place(&at, pages_map_bytes(bytes));
    at += (PAGES_UNIT - (uintptr_t)at % PAGES_UNIT) % PAGES_UNIT;
    pages_init(&cache->pages, at, (size_t)(end - at), map);
    return cache;
}

void cache_release(struct cache *cache)
{
    MUST_BE(cache, CACHE_MAGIC);
    pages_release(&cache->pages);
    cache->magic = 0;
}

/* References ---------------------------------------------------------------------------------------------------- */

void cache_ref(struct object *object)
{
    MUST_BE(object, OBJECT_MAGIC);
    object->references++;
}

void cache_unref(struct cache *cache, struct object *object)
{
    MUST_BE(object, OBJECT_MAGIC);
    MUST(object->references > 0);
    if (--object->references > 0)
        return;
    MUST(!object->indexed);
    object->magic = 0;
    if (object->body && --object->body->references == 0)
        cache_free_body(cache, object->body);
    pages_give(&cache->pages, object, object->bytes);
}

/* Leaving ------------------------------------------------------------------------------------------------------- */

static void leave_record(struct cache *cache, const struct object *object, uint64_t hash)
{
    struct tag *tag = tags_find(&cache->tags, hash);
    MUST(tag && tag->objects > 0);
    tag_leave(tag, object->queued_bytes, object->sequence);
    if (tag->objects == 0)
        tags_drop(&cache->tags, tag);
}

void cache_take_out(struct cache *cache, struct object *object)
{
    index_remove(&cache->index, object);
    eviction_remove(&cache->eviction, object);
    tag_leave(&cache->purges.all, object->queued_bytes, object->sequence);
    leave_record(cache, object, object->host_hash);
    for (uint32_t i = 0; i < object->tag_count; i++)
        leave_record(cache, object, object->tags[i]);
    atomic_store_explicit(&object->gone, true, memory_order_release);
    cache_unref(cache, object);
}

bool cache_settle(struct cache *cache, struct object *object)
{
    if (likely(object->sequence == cache->purges.sequence))
        return true;
    struct purge_subject subject = purge_subject_of(object);
    enum purge_verdict verdict = purge_judge(&cache->purges, &cache->tags, &subject);
    purge_meet(&cache->purges, object);
    if (verdict == PURGE_DEAD) {
        cache->numbers.purged++;
        cache_take_out(cache, object);
        return false;
    }
    if (verdict == PURGE_STALE)
        atomic_store_explicit(&object->stale, true, memory_order_release);
    object->sequence = cache->purges.sequence;
    return true;
}

static void evict(struct cache *cache, struct object *object)
{
    if (!cache_settle(cache, object)) /* a purge was waiting for it */
        return;
    eviction_remember(&cache->eviction, object);
    cache->numbers.evicted++;
    cache->numbers.evicted_bytes += object->queued_bytes;
    cache_take_out(cache, object);
}

/* Where all is held, one that nobody used lately is let go by the index if room is needed, so that its holders see that it is gone. */
bool cache_evict_one(struct cache *cache, uint32_t *tries, bool needed)
{
    struct object *held, *object = eviction_pick(&cache->eviction, tries, &held);
    if (!object) {
        if (held && needed)
            evict(cache, held);
        return false;
    }
    *tries -= (uint32_t)u64_min(*tries, object->tag_count / TAGS_PER_TRY);
    evict(cache, object);
    return true;
}

void *cache_take_run(struct cache *cache, size_t bytes, uint32_t *tries)
{
    void *run;
    while (!(run = pages_take(&cache->pages, bytes)) && cache_evict_one(cache, tries, true))
        ;
    return run;
}

/* Finding ------------------------------------------------------------------------------------------------------- */

/* RFC 9111 4: an answer to HEAD has no content that would do for a GET. */
static bool may_answer(const struct object *object, const struct request *request)
{
    return object->body || request->method == METHOD_HEAD;
}

struct object *cache_find(struct cache *cache, const struct cache_key *key, const struct request *request,
                          bool *other_variants)
{
    struct object *best = NULL, *next;
    *other_variants = false;
    uint64_t hash = index_hash(&cache->index, key);
    for (struct object *object = index_first(&cache->index, key->text, hash); object; object = next) {
        next = index_next(object);
        if (!cache_settle(cache, object) || !may_answer(object, request))
            continue;
        if (object->vary.length && !cache_vary_matches(object->vary, request))
            *other_variants = true;
        else if (!best || object->policy.date_s > best->policy.date_s)
            best = object;
    }
    if (best) {
        cache_ref(best);
        object_used(best);
    }
    return best;
}

/* Seeing -------------------------------------------------------------------------------------------------------- */

struct cache_numbers cache_numbers(const struct cache *cache)
{
    struct cache_numbers numbers = cache->numbers;
    numbers.bytes_max = cache->region_bytes;
    numbers.bytes = cache->region_bytes - pages_free(&cache->pages);
    numbers.objects = cache->index.objects;
    numbers.flights = cache->flights.count;
    return numbers;
}

uint32_t cache_list(struct cache *cache, const struct cache_key *key, struct object **objects, uint32_t cap)
{
    struct slice url = slice_of(key->text.at, key->url_length);
    uint32_t count = 0;
    struct object *next;
    for (struct object *object = index_first_of_url(&cache->index, url, key->url_hash); object; object = next) {
        next = index_next_of_url(object);
        if (!cache_settle(cache, object))
            continue;
        if (count < cap) {
            cache_ref(object);
            objects[count] = object;
        }
        count++;
    }
    return count;
}

char *cache_base(struct cache *cache)
{
    return (char *)cache;
}

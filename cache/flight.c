#include "cache/flight.h"

#include "cache/shard.h"
#include "engine/base/check.h"

#define BYTES_PER_BUCKET 16384u
#define BUCKETS_MOST 65536u
#define BYTES_PER_FLIGHT 4096u /* of the region: a run with a short key takes a sixteenth of it */

static uint32_t buckets_of(uint64_t region_bytes)
{
    uint32_t buckets = 64;
    while (buckets < BUCKETS_MOST && buckets < region_bytes / BYTES_PER_BUCKET)
        buckets *= 2;
    return buckets;
}

size_t flights_bytes(uint64_t region_bytes)
{
    return buckets_of(region_bytes) * sizeof(struct flight *);
}

void flights_init(struct flights *flights, void *buckets, uint64_t region_bytes)
{
    *flights = (struct flights){ .buckets = buckets,
                                 .mask = buckets_of(region_bytes) - 1,
                                 .most = u64_min(FLIGHTS_MOST, region_bytes / BYTES_PER_FLIGHT) };
    memset(buckets, 0, flights_bytes(region_bytes));
}

static struct flight **bucket_of(struct cache *cache, uint64_t key_hash)
{
    return &cache->flights.buckets[key_hash & cache->flights.mask];
}

/*
 * A purge since it began that may concern what it brings closes it: who came after the purge must not get what was asked for before. As long as the
 * head is not known, any tag may come.
 */
static bool is_closed(struct cache *cache, struct flight *flight)
{
    if (flight->closed || flight->sequence == cache->purges.sequence)
        return flight->closed;
    const struct object *object = flight->object;
    struct purge_subject subject = { .key = flight->key,
                                     .url_length = flight->url_length,
                                     .url_hash = flight->url_hash,
                                     .host_hash = purge_hash_of_host(&cache->purges, purge_authority(flight->key)),
                                     .tags = object ? object->tags : NULL,
                                     .tag_count = object ? object->tag_count : 0,
                                     .tags_known = object != NULL,
                                     .sequence = flight->sequence };
    flight->closed = purge_judge_fill(&cache->purges, &cache->tags, &subject) != PURGE_OUTLIVED;
    return flight->closed;
}

static bool may_join(struct cache *cache, struct flight *flight, const struct request *request)
{
    if (is_closed(cache, flight))
        return false;
    const struct object *object = flight->object;
    if (!object)
        return true;
    if (object->body && atomic_load_explicit(&object->body->state, memory_order_acquire) == BODY_BROKEN)
        return false;
    return (object->body || request->method == METHOD_HEAD) && cache_vary_matches(object->vary, request);
}

struct flight *flight_find(struct cache *cache, const struct cache_key *key, const struct request *request)
{
    uint64_t hash = index_hash(&cache->index, key);
    for (struct flight *flight = *bucket_of(cache, hash); flight; flight = flight->next)
        if (flight->key_hash == hash && slice_equal(flight->key, key->text) && may_join(cache, flight, request))
            return flight;
    return NULL;
}

/* Each request of a key may want another variant: they are not to make a chain that all have to walk. */
static bool too_many(struct cache *cache, const struct cache_key *key, uint64_t hash)
{
    uint32_t count = 0;
    for (const struct flight *flight = *bucket_of(cache, hash); flight; flight = flight->next)
        count += flight->key_hash == hash && slice_equal(flight->key, key->text);
    return count >= VARIANTS_MAX || cache->flights.count >= cache->flights.most;
}

struct flight *flight_begin(struct cache *cache, const struct cache_key *key)
{
    uint32_t tries = EVICTION_TRIES;
    uint64_t bytes = sizeof(struct flight) + key->text.length, hash = index_hash(&cache->index, key);
    if (too_many(cache, key, hash) || key->text.length > CACHE_KEY_BYTES_MAX || FAULT("flight"))
        return NULL;
    struct flight *flight = cache_take_run(cache, bytes, &tries);
    if (!flight)
        return NULL;
    char *text = (char *)(flight + 1);
    memcpy(text, key->text.at, key->text.length);
    *flight = (struct flight){ .key = slice_of(text, key->text.length),
                               .url_length = key->url_length,
                               .url_hash = key->url_hash,
                               .key_hash = hash,
                               .sequence = cache->purges.sequence };
    flight->tail = &flight->first;
    struct flight **bucket = bucket_of(cache, hash);
    flight->next = *bucket;
    *bucket = flight;
    cache->flights.count++;
    return flight;
}

void flight_wait(struct flight *flight, struct flight_waiter *waiter)
{
    waiter->next = NULL;
    waiter->link = flight->tail;
    *flight->tail = waiter;
    flight->tail = &waiter->next;
}

bool flight_leave(struct flight *flight, struct flight_waiter *waiter)
{
    if (!waiter->link)
        return false;
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    else
        flight->tail = waiter->link;
    waiter->next = NULL;
    waiter->link = NULL;
    return true;
}

void flight_take_off(struct cache *cache, struct flight *flight, struct object *object)
{
    (void)cache;
    MUST(!flight->object);
    cache_ref(object);
    flight->object = object;
}

struct flight_waiter *flight_end(struct cache *cache, struct flight *flight)
{
    struct flight_waiter *first = flight->first;
    for (struct flight_waiter *waiter = first; waiter; waiter = waiter->next)
        waiter->link = NULL;
    struct flight **link = bucket_of(cache, flight->key_hash);
    while (*link != flight)
        link = &(*link)->next;
    *link = flight->next;
    if (flight->object)
        cache_unref(cache, flight->object);
    cache->flights.count--;
    pages_give(&cache->pages, flight, sizeof(struct flight) + flight->key.length);
    return first;
}

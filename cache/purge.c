#include "cache/purge.h"

#include "cache/shard.h"
#include "engine/base/check.h"
#include "engine/base/map.h"

#define BYTES_PER_ECHO 8192u /* of the region */
#define ECHOES_LEAST 256u
#define HOST_SEED 0x686f7374u
#define BUCKETS_PER_OBJECT 4u /* an empty one costs little, but not nothing */
#define RESERVE_SHARE 64u
#define VARIANTS_AT_ONCE 512u

/* The table ----------------------------------------------------------------------------------------------------- */

static uint32_t echoes_of(uint64_t region_bytes)
{
    uint32_t echoes = ECHOES_LEAST;
    while (echoes < region_bytes / BYTES_PER_ECHO)
        echoes *= 2;
    return echoes;
}

size_t purges_bytes(uint64_t region_bytes)
{
    return echoes_of(region_bytes) * sizeof(struct purged);
}

void purges_init(struct purges *purges, void *echoes, uint64_t region_bytes, const uint64_t seed[2])
{
    memset(purges, 0, sizeof *purges);
    purges->sequence = purges->pass_sequence = purges->swept_sequence = 1;
    purges->echoes = echoes;
    purges->echo_mask = echoes_of(region_bytes) - 1;
    purges->seed[0] = seed[0];
    purges->seed[1] = seed[1];
    memset(echoes, 0, purges_bytes(region_bytes));
}

uint64_t purge_hash_of_tag(const struct purges *purges, struct slice tag)
{
    return siphash13(tag.at, tag.length, purges->seed[0], purges->seed[1]);
}

uint64_t purge_hash_of_host(const struct purges *purges, struct slice authority)
{
    return siphash13(authority.at, authority.length, purges->seed[0], purges->seed[1] ^ HOST_SEED);
}

struct slice purge_authority(struct slice key)
{
    const char *end = key.at + key.length;
    const char *scheme = key.length ? memchr(key.at, '\n', key.length) : NULL;
    if (!scheme)
        return SLICE_NONE;
    const char *authority = scheme + 1, *behind = memchr(authority, '\n', (size_t)(end - authority));
    return slice_of(authority, (size_t)((behind ? behind : end) - authority));
}

struct purge_subject purge_subject_of(const struct object *object)
{
    return (struct purge_subject){ .key = object->key,
                                   .url_length = object->url_length,
                                   .url_hash = object->url_hash,
                                   .host_hash = object->host_hash,
                                   .tags = object->tags,
                                   .tag_count = object->tag_count,
                                   .tags_known = true,
                                   .sequence = object->sequence };
}

/* Judging ------------------------------------------------------------------------------------------------------- */

static inline enum purge_verdict worse(enum purge_verdict verdict, struct purged purged, uint64_t sequence)
{
    if (purged.hard > sequence)
        return PURGE_DEAD;
    return purged.soft > sequence && verdict == PURGE_OUTLIVED ? PURGE_STALE : verdict;
}

static enum purge_verdict worse_by_record(enum purge_verdict verdict, const struct tags *tags, uint64_t hash,
                                          uint64_t sequence)
{
    const struct tag *tag = tags_find(tags, hash);
    return tag ? worse(verdict, tag->purged, sequence) : verdict;
}

static bool prefix_matches(const struct prefix *prefix, struct slice key, uint32_t url_length)
{
    return slice_starts(slice_of(key.at, url_length),
                        slice_of(prefix->run ? prefix->run : prefix->here, prefix->length));
}

static enum purge_verdict by_prefixes(const struct purges *purges, const struct purge_subject *subject,
                                      enum purge_verdict verdict)
{
    for (uint32_t i = purges->prefix_count; i-- && purges->prefixes[i].sequence > subject->sequence;) {
        const struct prefix *prefix = &purges->prefixes[i];
        struct purged purged = { prefix->soft ? 0 : prefix->sequence, prefix->soft ? prefix->sequence : 0 };
        if (prefix_matches(prefix, subject->key, subject->url_length))
            verdict = worse(verdict, purged, subject->sequence);
    }
    return verdict;
}

enum purge_verdict purge_judge(const struct purges *purges, const struct tags *tags,
                               const struct purge_subject *subject)
{
    uint64_t sequence = subject->sequence;
    enum purge_verdict verdict = worse(PURGE_OUTLIVED, purges->all.purged, sequence);
    if (purges->host_latest > sequence)
        verdict = worse_by_record(verdict, tags, subject->host_hash, sequence);
    if (purges->tag_latest > sequence)
        for (uint32_t i = 0; i < subject->tag_count; i++)
            verdict = worse_by_record(verdict, tags, subject->tags[i], sequence);
    return by_prefixes(purges, subject, verdict);
}

static struct purged *echo_of(const struct purges *purges, uint64_t hash)
{
    return &purges->echoes[mix64(hash) & purges->echo_mask];
}

enum purge_verdict purge_judge_fill(const struct purges *purges, const struct tags *tags,
                                    const struct purge_subject *subject)
{
    uint64_t sequence = subject->sequence;
    if (sequence == purges->sequence)
        return PURGE_OUTLIVED;
    enum purge_verdict verdict = purge_judge(purges, tags, subject);
    verdict = worse(verdict, *echo_of(purges, subject->url_hash), sequence);
    verdict = worse(verdict, *echo_of(purges, subject->host_hash), sequence);
    for (uint32_t i = 0; i < subject->tag_count; i++)
        verdict = worse(verdict, *echo_of(purges, subject->tags[i]), sequence);
    if (!subject->tags_known && purges->tag_latest > sequence)
        verdict = PURGE_DEAD;
    return worse(verdict, purges->dropped, sequence);
}

static void remember(struct purged *purged, struct purged to)
{
    purged->hard = u64_max(purged->hard, to.hard);
    purged->soft = u64_max(purged->soft, to.soft);
}

void purge_echo(struct purges *purges, uint64_t hash, struct purged purged)
{
    remember(echo_of(purges, hash), purged);
}

void purge_meet(struct purges *purges, const struct object *object)
{
    for (uint32_t i = 0; i < purges->prefix_count; i++) {
        struct prefix *prefix = &purges->prefixes[i];
        if (prefix->sequence <= object->sequence || !prefix_matches(prefix, object->key, object->url_length))
            continue;
        prefix->met.objects++;
        prefix->met.bytes += object_bytes(object);
        if (!prefix->soft)
            return;
    }
}

/* Sweeping ------------------------------------------------------------------------------------------------------ */

static uint32_t sweep_bucket(struct cache *cache, uint32_t number)
{
    uint32_t objects = 0;
    struct object *next;
    for (struct object *object = index_bucket(&cache->index, number); object; object = next, objects++) {
        next = object->next_in_bucket;
        (void)cache_settle(cache, object);
    }
    return objects;
}

/* True: the pass is not over, or another must follow. */
static bool sweep_purged(struct cache *cache, uint32_t objects)
{
    struct purges *purges = &cache->purges;
    uint64_t steps = (uint64_t)objects * BUCKETS_PER_OBJECT;
    uint32_t met = 0;
    if (purges->cursor == 0) {
        if (purges->swept_sequence >= purges->met_late)
            return false;
        purges->pass_sequence = purges->sequence;
    }
    while (purges->cursor < index_buckets(&cache->index) && met < objects && steps--)
        met += sweep_bucket(cache, purges->cursor++);
    if (purges->cursor < index_buckets(&cache->index))
        return true;
    purges->cursor = 0;
    purges->swept_sequence = purges->pass_sequence;
    return purges->swept_sequence < purges->met_late;
}

/* Only a home that was full once keeps a reserve: then a large object finds room at once, which it could not make within its tries among small ones. */
static bool keep_reserve(struct cache *cache, uint32_t objects)
{
    uint64_t reserve = cache->region_bytes / RESERVE_SHARE, before = pages_free(&cache->pages);
    uint32_t tries = objects;
    if (cache->numbers.evicted == 0)
        return false;
    while (pages_free(&cache->pages) < reserve && cache_evict_one(cache, &tries, false))
        ;
    return pages_free(&cache->pages) < reserve && pages_free(&cache->pages) > before;
}

bool cache_sweep(struct cache *cache, uint32_t objects)
{
    bool more = sweep_purged(cache, objects);
    return keep_reserve(cache, objects) || more;
}

bool cache_swept(const struct cache *cache, uint64_t sequence, struct purge_count *count)
{
    const struct purges *purges = &cache->purges;
    *count = (struct purge_count){ 0 };
    for (uint32_t i = 0; i < purges->prefix_count; i++)
        if (purges->prefixes[i].sequence == sequence)
            *count = purges->prefixes[i].met;
    return purges->swept_sequence >= sequence;
}

/* Purging ------------------------------------------------------------------------------------------------------- */

static struct purged numbered(const struct cache *cache, bool soft)
{
    uint64_t sequence = cache->purges.sequence;
    return (struct purged){ soft ? 0 : sequence, soft ? sequence : 0 };
}

/*
 * At once, before the purge has its number: variants under a URL are few. Where a rule keys by cookies they need not be: true when there are more, which go
 * as they are met. A whole URL part ends in LF, so as a prefix it is that of no other URL.
 */
static bool purge_variants(struct cache *cache, const struct purge *purge, uint64_t hash, struct purge_count *count)
{
    struct object *next, *object = index_first_of_url(&cache->index, purge->text, hash);
    for (uint32_t walked = 0; object && walked < VARIANTS_AT_ONCE; object = next, walked++) {
        next = index_next_of_url(object);
        if (!cache_settle(cache, object))
            continue;
        count->objects++;
        count->bytes += object_bytes(object);
        if (purge->soft) {
            atomic_store_explicit(&object->stale, true, memory_order_release);
        } else {
            cache->numbers.purged++;
            cache_take_out(cache, object);
        }
    }
    return object != NULL;
}

static void purge_record(struct cache *cache, struct tag *tag, bool soft, struct purge_count *count)
{
    remember(&tag->purged, numbered(cache, soft));
    *count = (struct purge_count){ tag->live, tag->bytes };
    if (!soft)
        tag->live = tag->bytes = 0;
}

/* A tag's or a host's: its objects have a record, fills an echo. */
static void purge_hash(struct cache *cache, uint64_t hash, bool soft, struct purge_count *count)
{
    struct tag *tag = tags_find(&cache->tags, hash);
    purge_echo(&cache->purges, hash, numbered(cache, soft));
    if (tag)
        purge_record(cache, tag, soft, count);
}

static void drop_prefix(struct cache *cache)
{
    struct purges *purges = &cache->purges;
    struct prefix *oldest = &purges->prefixes[0];
    struct purged purged = { oldest->soft ? 0 : oldest->sequence, oldest->soft ? oldest->sequence : 0 };
    if (oldest->run)
        pages_give(&cache->pages, oldest->run, oldest->length);
    remember(&purges->dropped, purged);
    memmove(oldest, oldest + 1, --purges->prefix_count * sizeof *oldest);
}

/*
 * The list has an end. Its oldest line goes when the sweep has met all that it concerns; should prefixes be purged faster than the sweep passes,
 * one whole sweep is made here: purging too much would be wrong, and refusing worse. Before the purge has its number: what is
 * judged meanwhile has not outlived it.
 */
static void prepare_prefix(struct cache *cache, const struct purge *purge, struct prefix *prefix)
{
    struct purges *purges = &cache->purges;
    uint32_t tries = EVICTION_TRIES;
    if (purges->prefix_count == PREFIXES_MOST) {
        while (purges->prefixes[0].sequence > purges->swept_sequence && sweep_purged(cache, UINT32_MAX))
            ;
        drop_prefix(cache);
    }
    *prefix =
        (struct prefix){ .soft = purge->soft, .length = (uint32_t)size_min(purge->text.length, CACHE_KEY_BYTES_MAX) };
    if (prefix->length > PREFIX_BYTES_HERE)
        prefix->run = cache_take_run(cache, prefix->length, &tries);
    if (!prefix->run) /* all memory is held: a shorter prefix purges more, and never less */
        prefix->length = (uint32_t)size_min(prefix->length, PREFIX_BYTES_HERE);
    if (prefix->length)
        memcpy(prefix->run ? prefix->run : prefix->here, purge->text.at, prefix->length);
}

static void purge_prefix(struct cache *cache, struct prefix *prefix)
{
    prefix->sequence = cache->purges.sequence;
    cache->purges.prefixes[cache->purges.prefix_count++] = *prefix;
}

/* What takes time or memory comes before the purge has its number, for what is judged meanwhile has not outlived it. */
void cache_purge(struct cache *cache, const struct purge *purge, struct purge_count *count)
{
    struct purges *purges = &cache->purges;
    struct prefix prefix;
    uint64_t hash = 0;
    bool by_prefix = purge->kind == PURGE_PREFIX;
    MUST_BE(cache, CACHE_MAGIC);
    *count = (struct purge_count){ 0 };
    if (purge->kind == PURGE_URL) {
        hash = siphash13(purge->text.at, purge->text.length, purges->seed[0], purges->seed[1]);
        by_prefix = purge_variants(cache, purge, hash, count);
    }
    if (by_prefix)
        prepare_prefix(cache, purge, &prefix);
    purges->sequence++;
    if (purge->kind != PURGE_URL || by_prefix)
        purges->met_late = purges->sequence;
    if (by_prefix)
        purge_prefix(cache, &prefix);
    switch (purge->kind) {
    case PURGE_URL: purge_echo(purges, hash, numbered(cache, purge->soft)); break;
    case PURGE_PREFIX: break;
    case PURGE_HOST:
        purges->host_latest = purges->sequence;
        purge_hash(cache, purge_hash_of_host(purges, purge->text), purge->soft, count);
        break;
    case PURGE_TAG:
        purges->tag_latest = purges->sequence;
        purge_hash(cache, purge_hash_of_tag(purges, purge->text), purge->soft, count);
        break;
    case PURGE_ALL: purge_record(cache, &purges->all, purge->soft, count); break;
    }
}

bool cache_purges_late(const struct cache *cache)
{
    return cache->purges.met_late == cache->purges.sequence;
}

uint64_t cache_sequence(const struct cache *cache)
{
    return cache->purges.sequence;
}

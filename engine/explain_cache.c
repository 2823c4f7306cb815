/*
 * What the cache would do with a request, found out without counting a use and without asking anybody, and how it is said; for
 * `weir explain` and `weir cache show`.
 *
 * What is stored is looked at under its home's lock and held by references, then read without it.
 */
#include "engine/caching.h"
#include "engine/disk.h"
#include "engine/explain_report.h"
#include "engine/policy/transform.h"

/* Finding out ---------------------------------------------------------------------------------------------------- */

static const struct object *select_object(const struct explained_cache *cache, const struct request *request)
{
    for (uint32_t i = 0; i < cache->count; i++) {
        const struct object *object = cache->objects[i];
        if (slice_equal(object->key, cache->key.text) && cache_vary_matches(object->vary, request))
            return object;
    }
    return NULL;
}

/* As exchange_lookup.c has it: one that was purged softly is stale from now on at the latest. */
static enum explained_use use_of(const struct explanation *e, const struct object *object)
{
    struct cache_policy policy = object->policy;
    if (atomic_load_explicit(&object->stale, memory_order_relaxed))
        policy.lifetime_s = (uint32_t)size_min(policy.lifetime_s, cache_age(&policy, e->now_s));
    switch (cache_use_of(&e->route->cache, &policy, &e->request, e->now_s)) {
    case CACHE_USE_FRESH: return CACHE_HITS;
    case CACHE_USE_STALE: return CACHE_STALE;
    case CACHE_USE_REVALIDATE: return CACHE_REVALIDATES;
    default: return CACHE_VALIDATES;
    }
}

static bool answers_at_once(enum explained_use use)
{
    return use == CACHE_HITS || use == CACHE_STALE || use == CACHE_REVALIDATES;
}

static enum explained_use decide(const struct explanation *e, bool under_way)
{
    const struct explained_cache *cache = &e->cache;
    const struct cache_rule *rule = &e->route->cache;
    enum explained_use use = cache->selected ? use_of(e, cache->selected) : CACHE_MISSES;
    if (cache->reason != CACHE_REASON_NONE)
        return CACHE_PASSES;
    if (rule->slice_bytes && e->request.method == METHOD_GET && !answers_at_once(use) &&
        !(cache->selected && cache->selected->status == 200) && !under_way) /* as exchange_slice.c has it */
        return CACHE_SLICES;
    if (use == CACHE_MISSES && cache->on_disk && !under_way)
        return CACHE_READS;
    if (!answers_at_once(use) && cache_only_if_cached(rule, &e->request))
        return CACHE_REFUSES;
    return !answers_at_once(use) && under_way && rule->collapse ? CACHE_WAITS : use;
}

void explain_ask_cache(struct explanation *e)
{
    struct explained_cache *cache = &e->cache;
    const struct cache_rule *rule = &e->route->cache;
    const struct field_edits *edits = &e->route->request_edits;
    char *name = edits->count ? arena_take(&e->arena, e->pool->name.length + TRANSFORM_NAME_MORE) : NULL;
    struct slice pool = edits->count && !name ? e->pool->name : transform_name(e->pool->name, edits, e->homes->seed, name);
    struct cache_key_context context = { .scheme = e->forwarding.scheme, .pool = pool, .forward_path = e->forwarding.path,
                                         .client_trusted = e->forwarding.client_trusted,
                                         .seed = { e->homes->seed[0], e->homes->seed[1] } };
    cache->asked = true;
    cache->reason = cache_request_reason(rule, &e->request);
    cache->keyed = cache_key_make(rule, &e->request, &context, cache->room, sizeof cache->room, &cache->key) == ERR_OK;
    cache->use = CACHE_PASSES;
    if (!cache->keyed)
        return;
    cache->home = homes_of(e->homes, cache->key.url_hash);
    struct cache *home = home_enter(cache->home);
    cache->total = cache_list(home, &cache->key, cache->objects, EXPLAIN_OBJECTS_MAX);
    bool under_way = flight_find(home, &cache->key, &e->request) != NULL;
    home_leave(cache->home);
    cache->count = cache->total < EXPLAIN_OBJECTS_MAX ? cache->total : EXPLAIN_OBJECTS_MAX;
    cache->selected = select_object(cache, &e->request);
    cache->on_disk = e->disk && disk_has(e->disk, &cache->key);
    cache->use = decide(e, under_way);
}

void explain_leave_cache(struct explanation *e)
{
    struct explained_cache *cache = &e->cache;
    if (cache->count == 0)
        return;
    struct cache *home = home_enter(cache->home);
    for (uint32_t i = 0; i < cache->count; i++)
        cache_unref(home, cache->objects[i]);
    home_leave(cache->home);
    cache->count = 0;
}

/* What is said in either form ------------------------------------------------------------------------------------ */

static const struct {
    const char *word, *sentence;
} uses[] = {
#define EXPLAIN_CACHE_AS_WORDS(id, word_, sentence_) [id] = { word_, sentence_ },
    EXPLAIN_CACHE_ROWS(EXPLAIN_CACHE_AS_WORDS)
};

static void put_why(const struct explanation *e, struct text *out)
{
    const struct explained_cache *cache = &e->cache;
    text_add(out, slice_of_text(uses[cache->use].sentence));
    if (cache->use != CACHE_PASSES)
        return;
    if (cache->reason != CACHE_REASON_NONE)
        text_format(out, ": %s", cache_reason_word(cache->reason));
    else
        text_format(out, ": its key would have more than %u bytes", CACHE_KEY_BYTES_MAX);
}

void explain_put_use(const struct explanation *e, struct text *out)
{
    text_format(out, "%s: ", uses[e->cache.use].word);
    put_why(e, out);
}

void explain_put_key(struct slice key, struct text *out)
{
    while (key.length) {
        const char *end = memchr(key.at, '\n', key.length);
        size_t length = end ? (size_t)(end - key.at) : key.length, used = end ? length + 1 : length;
        text_add(out, slice_of(key.at, length));
        key = slice_of(key.at + used, key.length - used);
        if (key.length)
            text_add(out, SLICE(" | "));
    }
}

static uint64_t content_bytes(const struct object *object)
{
    return object->body ? atomic_load_explicit(&object->body->filled, memory_order_acquire) : 0;
}

/* Seconds for which it is still fresh; negative: since when it is stale. */
static int64_t fresh_for(const struct explanation *e, const struct object *object)
{
    return (int64_t)object->policy.lifetime_s - (int64_t)cache_age(&object->policy, e->now_s);
}

static unsigned long long hits_of(const struct object *object)
{
    return (unsigned long long)atomic_load_explicit(&object->hits, memory_order_relaxed);
}

/* Words for what an object's policy says, each with the text before it. */
typedef void flag_function(struct text *out, const char *word);
static void each_flag(const struct object *object, struct text *out, flag_function *put)
{
    const struct cache_policy *policy = &object->policy;
    if (atomic_load_explicit(&object->stale, memory_order_relaxed))
        put(out, "purged-softly");
    if (policy->heuristic)
        put(out, "heuristic");
    if (policy->must_revalidate)
        put(out, "must-revalidate");
    if (policy->validate_always)
        put(out, "no-cache");
    if (policy->immutable)
        put(out, "immutable");
    if (!object->body)
        put(out, "no-content");
}

/* Text ----------------------------------------------------------------------------------------------------------- */

static void flag_text(struct text *out, const char *word)
{
    text_format(out, ", %s", word);
}

static void put_freshness(const struct explanation *e, const struct object *object, struct text *text)
{
    int64_t left = fresh_for(e, object);
    text_format(text, "age %u s of %u s, %s %lld s", cache_age(&object->policy, e->now_s), object->policy.lifetime_s,
                left >= 0 ? "fresh for another" : "stale since", (long long)(left >= 0 ? left : -left));
}

void explain_object_text(const struct explanation *e, const struct object *object, const char *indent, struct text *text)
{
    const struct cache_policy *policy = &object->policy;
    text_format(text, "%u, %llu bytes, ", object->status, (unsigned long long)content_bytes(object));
    put_freshness(e, object, text);
    each_flag(object, text, flag_text);
    text_format(text, "\n%s%llu hits, %u tags, %llu bytes of its own", indent, hits_of(object), object->tag_count,
                (unsigned long long)object->bytes);
    if (policy->stale_while_revalidate_s)
        text_format(text, ", stale while revalidated for %u s", policy->stale_while_revalidate_s);
    if (policy->stale_if_error_s)
        text_format(text, ", stale if an origin fails for %u s", policy->stale_if_error_s);
    if (object->etag.length)
        text_format(text, ", ETag %.*s", (int)object->etag.length, object->etag.at);
    text_add(text, SLICE("\n"));
    if (object->vary.length) {
        text_format(text, "%sfor requests with ", indent);
        explain_put_key(object->vary, text);
        text_add(text, SLICE("\n"));
    }
}

void explain_cache_text(const struct explanation *e, struct text *text)
{
    const struct explained_cache *cache = &e->cache;
    if (!cache->asked)
        return;
    text_add(text, SLICE("cache     "));
    explain_put_use(e, text);
    text_add(text, SLICE("\n"));
    if (!cache->keyed)
        return;
    text_add(text, SLICE("          key "));
    explain_put_key(cache->key.text, text);
    text_add(text, SLICE("\n"));
    if (cache->selected) {
        text_add(text, SLICE("          stored: "));
        explain_object_text(e, cache->selected, "            ", text);
    } else if (cache->total)
        text_format(text, "          %u responses are stored for its URL, none of them for this request\n", cache->total);
}

/* JSON ----------------------------------------------------------------------------------------------------------- */

static void string(struct text *json, const char *key, struct slice value)
{
    text_format(json, "\"%s\":", key);
    text_json_string(json, value);
}

static void flag_json(struct text *out, const char *word)
{
    text_format(out, "%s\"%s\"", out->at[out->length - 1] == '[' ? "" : ",", word);
}

static void object_json(const struct explanation *e, const struct object *object, struct text *json)
{
    const struct cache_policy *policy = &object->policy;
    text_format(json, "{\"status\":%u,\"content_bytes\":%llu,\"bytes\":%llu,\"age_s\":%u,\"lifetime_s\":%u,\"fresh_for_s\":%lld,", object->status,
                (unsigned long long)content_bytes(object), (unsigned long long)object->bytes, cache_age(policy, e->now_s), policy->lifetime_s,
                (long long)fresh_for(e, object));
    text_format(json, "\"stale_while_revalidate_s\":%u,\"stale_if_error_s\":%u,\"stored_s\":%lld,\"hits\":%llu,\"tags\":%u,\"selected\":%s,",
                policy->stale_while_revalidate_s, policy->stale_if_error_s, (long long)object->stored_s, hits_of(object), object->tag_count,
                object == e->cache.selected ? "true" : "false");
    string(json, "key", object->key);
    text_add(json, SLICE(","));
    string(json, "vary", object->vary);
    text_add(json, SLICE(","));
    string(json, "etag", object->etag);
    text_add(json, SLICE(",\"flags\":["));
    if (json->at)
        each_flag(object, json, flag_json);
    text_add(json, SLICE("]}"));
}

void explain_cache_json(const struct explanation *e, struct text *json)
{
    const struct explained_cache *cache = &e->cache;
    struct text why = { 0 };
    if (!cache->asked) {
        text_add(json, SLICE("null"));
        return;
    }
    put_why(e, &why);
    json->failed |= why.failed;
    text_add(json, SLICE("{"));
    string(json, "now", slice_of_text(uses[cache->use].word));
    text_add(json, SLICE(","));
    string(json, "why", text_slice(&why));
    text_release(&why);
    text_add(json, SLICE(",\"key\":"));
    if (cache->keyed) {
        text_json_string(json, cache->key.text);
        text_format(json, ",\"home\":%u", cache->home->number);
    } else
        text_add(json, SLICE("null"));
    text_format(json, ",\"on_disk\":%s,\"stored\":%u,\"variants\":[", cache->on_disk ? "true" : "false", cache->total);
    for (uint32_t i = 0; i < cache->count; i++) {
        text_add(json, i ? SLICE(",") : SLICE(""));
        object_json(e, cache->objects[i], json);
    }
    text_add(json, SLICE("]}"));
}

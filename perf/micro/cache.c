/*
 * What a home costs and what its eviction is worth: hit ratios of LRU, SIEVE, S3-FIFO and cache/eviction.c itself on traces, then ns per operation.
 *
 * Traces: requests for numbers that stand for objects of one size. Zipf's law with several exponents over 100,000 objects; the same with scans (each
 * number once) or a third of requests for what is never asked for again; popularity that moves on; a loop somewhat longer than the cache. The cache
 * holds a tenth or a hundredth of the objects.
 */
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/shard.h"
#include "engine/base/check.h"
#include "engine/base/map.h"
#include "perf/micro/micro.h"

#define CATALOGUE 100000u
#define REQUESTS 1000000u
#define NUMBERS (CATALOGUE + REQUESTS) /* those beyond the catalogue are asked for once */

static uint32_t trace[REQUESTS];

/* Traces -------------------------------------------------------------------------------------------------------- */

static double chances[CATALOGUE];

static void zipf_prepare(double exponent)
{
    double sum = 0;
    for (unsigned i = 0; i < CATALOGUE; i++)
        chances[i] = sum += 1.0 / pow(i + 1.0, exponent);
    for (unsigned i = 0; i < CATALOGUE; i++)
        chances[i] /= sum;
}

static uint32_t zipf_next(uint64_t *state)
{
    double wanted = (double)(micro_random(state) >> 11) / (double)(1ull << 53);
    uint32_t low = 0, high = CATALOGUE - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chances[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct kind {
    const char *name;
    double exponent;
    uint32_t once_percent; /* requests for what is never asked for again */
    uint32_t scan_every;   /* requests between scans of scan_length numbers */
    uint32_t scan_length;
    uint32_t shift_every; /* requests after which popularity moves on */
    uint32_t loop;        /* numbers in turn instead */
};
static const struct kind kinds[] = {
    { .name = "Zipf 0.7", .exponent = 0.7 },
    { .name = "Zipf 0.9", .exponent = 0.9 },
    { .name = "Zipf 1.1", .exponent = 1.1 },
    { .name = "Zipf 0.9, a third asked once", .exponent = 0.9, .once_percent = 33 },
    { .name = "Zipf 0.9, scans", .exponent = 0.9, .scan_every = 20000, .scan_length = 10000 },
    { .name = "Zipf 0.9, moving", .exponent = 0.9, .shift_every = 50000 },
    { .name = "loop of 1.2 caches", .loop = 12 },
};

static void make_trace(const struct kind *kind, uint32_t capacity)
{
    uint64_t state = 88172645463325252ull;
    uint32_t once = CATALOGUE, shift = 0;
    if (!kind->loop)
        zipf_prepare(kind->exponent);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        bool scanning = kind->scan_every && i % (kind->scan_every + kind->scan_length) >= kind->scan_every;
        if (kind->shift_every && i % kind->shift_every == 0)
            shift += 5000;
        if (kind->loop)
            trace[i] = i % (capacity * kind->loop / 10);
        else if (scanning || micro_random(&state) % 100 < kind->once_percent)
            trace[i] = once++;
        else
            trace[i] = (zipf_next(&state) + shift) % CATALOGUE;
    }
}

/* Candidates: each is asked for a number, and answers whether it had it -------------------------------------------- */

static struct node {
    uint32_t newer, older; /* 0: none; numbers are counted from 1 here */
    uint8_t uses;
    bool there;
} nodes[NUMBERS + 1];
static uint32_t newest, oldest, hand, count, capacity_now;

static void unlink_node(uint32_t number)
{
    struct node *node = &nodes[number];
    *(node->newer ? &nodes[node->newer].older : &newest) = node->older;
    *(node->older ? &nodes[node->older].newer : &oldest) = node->newer;
}

static void push(uint32_t number)
{
    nodes[number].newer = 0;
    nodes[number].older = newest;
    *(newest ? &nodes[newest].newer : &oldest) = number;
    newest = number;
}

static void reset(uint32_t capacity)
{
    memset(nodes, 0, sizeof nodes);
    newest = oldest = hand = count = 0;
    capacity_now = capacity;
}

static bool lru(uint32_t number)
{
    bool hit = nodes[number].there;
    if (hit) {
        unlink_node(number);
    } else if (count == capacity_now) {
        uint32_t victim = oldest;
        unlink_node(victim);
        nodes[victim].there = false;
    } else {
        count++;
    }
    nodes[number].there = true;
    push(number);
    return hit;
}

/* Zhang, Yang, Yue, Vigfusson, Rashmi: SIEVE is simpler than LRU, NSDI 2024. */
static bool sieve(uint32_t number)
{
    if (nodes[number].there) {
        nodes[number].uses = 1;
        return true;
    }
    if (count == capacity_now) {
        uint32_t victim = hand ? hand : oldest;
        while (nodes[victim].uses) {
            nodes[victim].uses = 0;
            victim = nodes[victim].newer ? nodes[victim].newer : oldest;
        }
        hand = nodes[victim].newer;
        unlink_node(victim);
        nodes[victim].there = false;
    } else {
        count++;
    }
    nodes[number].there = true;
    nodes[number].uses = 0;
    push(number);
    return false;
}

/* cache/eviction.c with objects of one byte. */
static struct eviction eviction;
static struct object *objects;
static void *ghosts;

static void ours_reset(uint32_t capacity)
{
    uint64_t region_bytes = (uint64_t)capacity * 8192; /* what so many objects of the common size would have */
    memset((void *)objects, 0, (NUMBERS + 1) * sizeof *objects);
    free(ghosts);
    ghosts = malloc(eviction_bytes(region_bytes));
    MUST(ghosts);
    eviction_init(&eviction, ghosts, region_bytes);
    count = 0;
    capacity_now = capacity;
}

static bool ours(uint32_t number)
{
    struct object *object = &objects[number];
    if (object->queue != QUEUE_NONE) {
        object_used(object);
        return true;
    }
    if (count == capacity_now) {
        uint32_t tries = EVICTION_TRIES;
        struct object *held, *victim = eviction_pick(&eviction, &tries, &held);
        MUST(victim);
        eviction_remember(&eviction, victim);
        eviction_remove(&eviction, victim);
        atomic_store(&victim->uses, 0);
    } else {
        count++;
    }
    object->queued_bytes = 1;
    object->references = 1;
    object->key_hash = mix64(number + 1);
    eviction_add(&eviction, object);
    return false;
}

static double ratio(bool (*ask)(uint32_t number))
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < REQUESTS; i++)
        hits += ask(trace[i] + 1);
    return 100.0 * hits / REQUESTS;
}

static void compare(const struct kind *kind, uint32_t capacity)
{
    double results[3];
    make_trace(kind, capacity);
    reset(capacity);
    results[0] = ratio(lru);
    reset(capacity);
    results[1] = ratio(sieve);
    ours_reset(capacity);
    results[2] = ratio(ours);
    printf("%-32s %8u %9.2f %9.2f %9.2f\n", kind->name, capacity, results[0], results[1], results[2]);
}

/* Costs --------------------------------------------------------------------------------------------------------- */

#define REGION (256u * 1024u * 1024u)
#define STORED 100000u

struct scene {
    struct cache *cache;
    uint64_t seed[2];
    uint64_t next, state;
};
static const struct request get = { .method = METHOD_GET };
static const struct cache_rule rule = { .on = true, .object_bytes_max = UINT64_MAX };

static struct cache_key key_of(struct scene *scene, char room[128], uint64_t number)
{
    int url = snprintf(room, 128, "https\nwww.example.com\n/articles/%llu/index.html\n\n", (unsigned long long)number);
    int all = url + snprintf(room + url, 128 - (size_t)url, "app\n");
    return (struct cache_key){ .text = slice_of(room, (size_t)all),
                               .url_length = (uint32_t)url,
                               .url_hash = siphash13(room, (size_t)url, scene->seed[0], scene->seed[1]) };
}

static void store_one(struct scene *scene, uint64_t number, uint64_t length)
{
    static struct response response;
    char room[128];
    uint32_t bytes;
    enum err e;
    if (!response.status) {
        response = (struct response){ .status = 200, .reason = SLICE("OK") };
        MUST(fields_add(&response.fields, SLICE("Content-Type"), SLICE("text/html; charset=utf-8")) == ERR_OK);
        MUST(fields_add(&response.fields, SLICE("Date"), SLICE("Thu, 01 Jan 1970 00:16:40 GMT")) == ERR_OK);
        MUST(fields_add(&response.fields, SLICE("Cache-Control"), SLICE("max-age=600")) == ERR_OK);
        MUST(fields_add(&response.fields, SLICE("ETag"), SLICE("\"0123456789abcdef\"")) == ERR_OK);
        MUST(fields_add(&response.fields, SLICE("Surrogate-Key"), SLICE("articles")) == ERR_OK);
    }
    struct cache_new what = { .key = key_of(scene, room, number),
                              .rule = &rule,
                              .response = &response,
                              .length = length,
                              .sequence = cache_sequence(scene->cache) };
    struct object *object = cache_begin(scene->cache, &what, &e);
    MUST(object);
    for (uint64_t filled = 0; filled < length; filled += bytes) {
        char *at = cache_room(scene->cache, object, UINT64_MAX, &bytes);
        MUST(at);
        bytes = (uint32_t)u64_min(bytes, length - filled);
        memset(at, 'x', bytes);
        cache_filled(object, bytes);
    }
    MUST(cache_complete(scene->cache, object));
    cache_unref(scene->cache, object);
}

static void find_some(struct scene *scene, uint64_t times, uint64_t from, uint64_t numbers)
{
    static char rooms[4096][128];
    static struct cache_key keys[4096]; /* made before: only finding counts */
    for (unsigned i = 0; i < 4096; i++)
        keys[i] = key_of(scene, rooms[i], from + micro_random(&scene->state) % numbers);
    while (times--) {
        bool others;
        struct object *object = cache_find(scene->cache, &keys[times % 4096], &get, &others);
        micro_keep(object);
        if (object)
            cache_unref(scene->cache, object);
    }
}

static void find_hot(void *context, uint64_t times)
{
    find_some(context, times, 0, 64);
}

static void find_any(void *context, uint64_t times)
{
    find_some(context, times, 0, STORED);
}

static void find_none(void *context, uint64_t times)
{
    find_some(context, times, 1ull << 40, STORED);
}

static void store_1k(void *context, uint64_t times)
{
    struct scene *scene = context;
    while (times--)
        store_one(scene, scene->next++, 1024);
}

static void store_64k(void *context, uint64_t times)
{
    struct scene *scene = context;
    while (times--)
        store_one(scene, scene->next++, 65536);
}

static void purge_tag(void *context, uint64_t times)
{
    struct scene *scene = context;
    struct purge_count purged;
    while (times--)
        cache_purge(scene->cache, &(struct purge){ .kind = PURGE_TAG, .text = SLICE("articles") }, &purged);
}

static void costs(void)
{
    static struct scene scene = { .seed = { 1, 2 }, .state = 88172645463325252ull };
    void *memory = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    MUST(memory != MAP_FAILED);
    scene.cache = cache_new(memory, REGION, scene.seed);
    for (uint64_t i = 0; i < STORED; i++)
        store_one(&scene, i, 1024);
    scene.next = 1ull << 20;
    micro_title();
    micro_run("find, one of 64", find_hot, &scene);
    micro_run("find, one of 100,000", find_any, &scene);
    micro_run("find, not stored", find_none, &scene);
    micro_run("store 1 KiB in a full home", store_1k, &scene);
    struct cache_numbers numbers = cache_numbers(scene.cache);
    printf("(%llu objects of 1 KiB in 256 MiB, %.1f %% of it in use)\n", (unsigned long long)numbers.objects,
           100.0 * (double)numbers.bytes / (double)numbers.bytes_max);
    micro_run("store 64 KiB in a full home", store_64k, &scene);
    micro_run("purge a tag", purge_tag, &scene);
    munmap(memory, REGION);
}

int main(void)
{
    objects = malloc((NUMBERS + 1) * sizeof *objects);
    MUST(objects);
    printf("%-32s %8s %9s %9s %9s\n", "hit ratio, %", "cache", "LRU", "SIEVE", "ours");
    for (unsigned i = 0; i < ARRAY_LENGTH(kinds); i++)
        for (uint32_t capacity = CATALOGUE / 100; capacity <= CATALOGUE / 10; capacity *= 10)
            compare(&kinds[i], capacity);
    free(objects);
    free(ghosts);
    costs();
    return 0;
}

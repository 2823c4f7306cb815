#include "tests/unit/cache/fixture.h"

#include "cache/shard.h"
#include "engine/base/check.h"

static bool store_number(const struct world *world, unsigned number, uint64_t length)
{
    char path[32];
    snprintf(path, sizeof path, "/%u", number);
    return stored(world, &(struct how){ .path = path, .length = length, .salt = number });
}

static bool found_number(const struct world *world, unsigned number)
{
    char path[32];
    snprintf(path, sizeof path, "/%u", number);
    return found(world, path);
}

Test(eviction, makes_room_for_what_comes)
{
    struct world world = world_new(MIB);
    for (unsigned i = 0; i < 5000; i++)
        cr_assert(store_number(&world, i, 2000));
    struct cache_numbers numbers = cache_numbers(world.cache);
    cr_assert_gt(numbers.objects, 250);
    cr_assert_eq(numbers.objects + numbers.evicted, 5000);
    cr_assert_leq(numbers.bytes, numbers.bytes_max);
    cr_assert(found_number(&world, 4999));
    world_free(&world);
}

Test(eviction, a_scan_leaves_what_is_used)
{
    struct world world = world_new(MIB);
    for (unsigned i = 0; i < 100; i++)
        cr_assert(store_number(&world, i, 2000));
    for (unsigned i = 0; i < 100; i++)
        cr_assert(found_number(&world, i));
    for (unsigned i = 1000; i < 20000; i++)
        cr_assert(store_number(&world, i, 2000));
    unsigned left = 0;
    for (unsigned i = 0; i < 100; i++)
        left += found_number(&world, i);
    cr_assert_geq(left, 95, "%u of 100 are left", left);
    world_free(&world);
}

Test(eviction, who_comes_back_soon_is_no_newcomer)
{
    struct world world = world_new(MIB);
    unsigned next = 1000;
    for (unsigned i = 0; i < 600; i++)
        cr_assert(store_number(&world, next++, 2000));
    cr_assert(store_number(&world, 1, 2000));
    while (found_number(&world, 1) == false)
        cr_assert(store_number(&world, 1, 2000));
    world_free(&world);
}

Test(eviction, passes_over_what_is_held)
{
    struct world world = world_new(MIB);
    struct object *held[50];
    char path[32];
    for (unsigned i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "/%u", i);
        held[i] = store(&world, &(struct how){ .path = path, .length = 5000, .salt = i });
    }
    for (unsigned i = 1000; i < 3000; i++)
        cr_assert(store_number(&world, i, 3000));
    for (unsigned i = 0; i < 50; i++) {
        cr_assert(!atomic_load(&held[i]->gone));
        check_content(held[i], i);
        cache_unref(world.cache, held[i]);
    }
    world_free(&world);
}

Test(eviction, a_large_object_takes_many_small_ones_places)
{
    struct world world = world_new(4 * MIB);
    for (unsigned i = 0; i < 4000; i++)
        cr_assert(store_number(&world, i, 1500));
    cr_assert(stored(&world, &(struct how){ .path = "/large", .length = 200000, .salt = 1 }));
    struct object *object = find_of(&world, "a.example", "/large", &get_request);
    check_content(object, 1);
    cache_unref(world.cache, object);
    world_free(&world);
}

/* Any order of operations, with room for a part of it only ------------------------------------------------------- */

#define PATHS 400u
#define HELD 24u

struct hold {
    struct object *object;
    uint64_t salt;
    bool filling, unknown;
    uint64_t length;
};
static struct hold holds[HELD];
static uint64_t newest_salt[PATHS]; /* of the path's last complete response; 0: none, or purged */

static uint64_t any_length(void)
{
    return random_below(1u << random_below(19));
}

static void start_fill(const struct world *world, struct hold *hold, unsigned path)
{
    static uint64_t salt;
    char text[32];
    enum err e;
    snprintf(text, sizeof text, "/%u", path);
    *hold = (struct hold){
        .salt = ++salt * PATHS + path, .unknown = random_below(2), .length = any_length(), .filling = true
    };
    hold->object = begin(
        world, &(struct how){ .path = text, .length = hold->length, .unknown_length = hold->unknown, .tags = "x" }, &e);
    cr_assert(hold->object || e == ERR_MEMORY || (e == ERR_CAP && hold->length > MIB / 4));
}

static void finish(const struct world *world, struct hold *hold)
{
    hold->filling = false;
    if (atomic_load(&hold->object->body->filled) == hold->length && cache_complete(world->cache, hold->object))
        newest_salt[hold->salt % PATHS] = hold->salt;
    else
        cache_break(world->cache, hold->object);
}

static void step_hold(const struct world *world, struct hold *hold)
{
    if (!hold->object) {
        start_fill(world, hold, (unsigned)random_below(PATHS));
    } else if (hold->filling) {
        uint64_t filled = atomic_load(&hold->object->body->filled);
        uint64_t until = random_below(4) ? hold->length : filled + random_below(hold->length - filled + 1);
        if (!fill(world, hold->object, hold->salt, until, 1 + (uint32_t)random_below(100000)) || until == hold->length)
            finish(world, hold);
    } else {
        check_content(hold->object, hold->salt);
        cache_unref(world->cache, hold->object);
        hold->object = NULL;
    }
}

/* What is found is the newest there was; with luck it is still there. */
static bool look(const struct world *world, unsigned path, struct hold *hold)
{
    char text[32];
    snprintf(text, sizeof text, "/%u", path);
    struct object *object = find_of(world, "a.example", text, &get_request);
    if (!object)
        return false;
    cr_assert_neq(newest_salt[path], 0);
    check_content(object, newest_salt[path]);
    if (hold->object)
        cache_unref(world->cache, object);
    else
        *hold =
            (struct hold){ .object = object, .salt = newest_salt[path], .length = atomic_load(&object->body->length) };
    return true;
}

Test(eviction, content_is_never_wrong_and_memory_never_lost)
{
    struct world world = world_new(MIB);
    unsigned hits = 0;
    seed_take("eviction.content_is_never_wrong_and_memory_never_lost");
    for (unsigned step = 0; step < 20000; step++) {
        struct hold *hold = &holds[random_below(HELD)];
        unsigned what = (unsigned)random_below(1000);
        if (what < 600) {
            step_hold(&world, hold);
        } else if (what < 990) {
            hits += look(&world, (unsigned)(random_below(PATHS) * random_below(PATHS) / PATHS), hold);
        } else if (what < 998) {
            char url[64];
            unsigned path = (unsigned)random_below(PATHS);
            snprintf(url, sizeof url, "http\na.example\n/%u\n\n", path);
            purge(&world, PURGE_URL, url, false);
            newest_salt[path] = 0;
        } else {
            purge(&world, random_below(2) ? PURGE_ALL : PURGE_TAG, "x", false);
            memset(newest_salt, 0, sizeof newest_salt);
        }
        if (random_below(10) == 0)
            cache_sweep(world.cache, 100);
        struct cache_numbers numbers = cache_numbers(world.cache);
        cr_assert(numbers.bytes >= world.empty_bytes && numbers.bytes <= numbers.bytes_max);
    }
    cr_assert_gt(hits, 100);
    cr_assert_gt(cache_numbers(world.cache).evicted, 100);
    for (unsigned i = 0; i < HELD; i++)
        if (holds[i].object)
            cache_unref(world.cache, holds[i].object);
    purge(&world, PURGE_ALL, "", false);
    while (cache_sweep(world.cache, 100))
        ;
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

Test(eviction, a_full_home_gets_a_reserve_by_sweeping)
{
    struct world world = world_new(4 * MIB);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert(store_number(&world, i, 1500));
    cr_assert(!cache_sweep(world.cache, 10), "not full yet");
    for (unsigned i = 1000; i < 4000; i++)
        cr_assert(store_number(&world, i, 1500));
    while (cache_sweep(world.cache, 10))
        ;
    struct cache_numbers numbers = cache_numbers(world.cache);
    cr_assert_geq(numbers.bytes_max - numbers.bytes, 4 * MIB / 64);
    cr_assert_leq(numbers.bytes_max - numbers.bytes, 4 * MIB / 64 + 4096);
    world_free(&world);
}

Test(eviction, where_all_is_held_holders_are_told)
{
    struct world world = world_new(MIB);
    static struct object *held[1000];
    unsigned count = 0, gone = 0;
    char path[32];
    do
        snprintf(path, sizeof path, "/%u", count);
    while (count < 1000 && (held[count] = store(&world, &(struct how){ .path = path, .length = 3000 })) && ++count);
    for (unsigned i = 0; i < 10; i++)
        cr_assert(!store_number(&world, 5000, 3000));
    for (unsigned i = 0; i < count; i++) {
        gone += atomic_load(&held[i]->gone);
        cache_unref(world.cache, held[i]);
    }
    cr_assert(gone >= 10 && gone < 40, "%u of %u", gone, count);
    cr_assert(store_number(&world, 5000, 3000));
    world_free(&world);
}

Test(eviction, nobody_goes_for_what_does_not_fit_anyway)
{
    struct world world = world_new(16 * MIB);
    for (unsigned i = 0; i < 30000; i++)
        cr_assert(store_number(&world, i, 300));
    uint64_t objects = cache_numbers(world.cache).objects;
    cr_assert(!stored(&world, &(struct how){ .path = "/large", .length = 3 * MIB }));
    cr_assert_geq(cache_numbers(world.cache).objects, objects - 10);
    world_free(&world);
}

#ifdef WEIR_FAULTS
static void everything_once(struct world *world)
{
    struct key_room room;
    struct flight *flight = flight_begin(world->cache, key_of(world, &room, "a.example", "/f"));
    stored(world, &(struct how){ .path = "/1", .length = 5000, .tags = "a b" });
    stored(world, &(struct how){ .path = "/2", .length = 20000, .unknown_length = true, .tags = "c" });
    stored(world, &(struct how){ .path = "/3", .no_body = true });
    struct how how = { .path = "/1", .length = 5000, .tags = "d" };
    struct object *old = find_of(world, "a.example", "/1", &get_request), *fresh = NULL;
    if (old) {
        struct response response = response_of(&how);
        struct cache_new what = new_of(world, &how, &response, &room);
        fresh = cache_freshen(world->cache, old, &what);
        cache_unref(world->cache, old);
    }
    if (fresh)
        cache_unref(world->cache, fresh);
    char prefix[400] = "http\na.example\n/";
    memset(prefix + strlen(prefix), 'x', sizeof prefix - strlen(prefix) - 1);
    purge(world, PURGE_PREFIX, prefix, false);
    if (flight)
        flight_end(world->cache, flight);
}

Test(eviction, each_call_that_may_fail_does_once_and_nothing_is_lost)
{
    uint64_t nth = 0, passed;
    do {
        struct world world = world_new(MIB);
        fault_arm(++nth);
        everything_once(&world);
        passed = fault_count();
        fault_arm(0);
        purge(&world, PURGE_ALL, "", false);
        while (cache_sweep(world.cache, 100))
            ;
        uint64_t prefix_bytes = 512; /* the prefix that is remembered, if it found a run */
        cr_assert_leq(cache_numbers(world.cache).bytes, world.empty_bytes + prefix_bytes, "%llu",
                      (unsigned long long)nth);
        world_free(&world);
    } while (nth <= passed);
    cr_assert_gt(nth, 15);
}
#endif

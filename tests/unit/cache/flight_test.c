#include "tests/unit/cache/fixture.h"

static struct flight *find(const struct world *world, const char *path)
{
    struct key_room room;
    return flight_find(world->cache, key_of(world, &room, "a.example", path), &get_request);
}

static struct flight *take(const struct world *world, const char *path)
{
    struct key_room room;
    return flight_begin(world->cache, key_of(world, &room, "a.example", path));
}

Test(flight, is_found_until_it_ends)
{
    struct world world = world_new(MIB);
    struct flight *flight = take(&world, "/a");
    cr_assert_eq(find(&world, "/a"), flight);
    cr_assert_null(find(&world, "/b"));
    cr_assert_eq(cache_numbers(world.cache).flights, 1);
    cr_assert_null(flight_end(world.cache, flight));
    cr_assert_null(find(&world, "/a"));
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

Test(flight, waiters_are_woken_in_their_order)
{
    struct world world = world_new(MIB);
    struct flight_waiter a = { 0 }, b = { 0 }, c = { 0 };
    cr_assert(!flight_leave(NULL, &a));
    struct flight *flight = take(&world, "/a");
    flight_wait(flight, &a);
    flight_wait(flight, &b);
    flight_wait(flight, &c);
    cr_assert(flight_leave(flight, &c));
    cr_assert(!flight_leave(flight, &c));
    flight_wait(flight, &c);
    cr_assert(flight_leave(flight, &a));
    struct flight_waiter *first = flight_end(world.cache, flight);
    cr_assert(first == &b && b.next == &c && c.next == NULL);
    cr_assert(!flight_leave(flight, &b), "it is over");
    world_free(&world);
}

Test(flight, with_an_object_takes_whom_it_would_answer)
{
    struct world world = world_new(MIB);
    enum err e;
    struct request br = { .method = METHOD_GET };
    cr_assert_eq(fields_add(&br.fields, SLICE("Accept-Encoding"), SLICE("br")), ERR_OK);
    struct flight *flight = take(&world, "/a");
    struct object *object =
        begin(&world, &(struct how){ .path = "/a", .length = 10, .vary = "accept-encoding:br\n" }, &e);
    flight_take_off(world.cache, flight, object);
    struct key_room room;
    cr_assert_null(find(&world, "/a"));
    cr_assert_eq(flight_find(world.cache, key_of(&world, &room, "a.example", "/a"), &br), flight);
    cache_break(world.cache, object);
    cr_assert_null(flight_find(world.cache, &room.key, &br), "nobody joins what broke");
    cache_unref(world.cache, object);
    cr_assert_null(flight_end(world.cache, flight));
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

struct closing {
    enum purge_kind kind;
    const char *text;
    bool closes, closes_with_object; /* which has the tag "t" */
};

Test(flight, a_purge_that_may_concern_it_closes_it)
{
    static const struct closing closings[] = {
        { PURGE_URL, "http\na.example\n/a\n\n", true, true },
        { PURGE_URL, "http\na.example\n/b\n\n", false, false },
        { PURGE_PREFIX, "http\na.example\n/", true, true },
        { PURGE_PREFIX, "http\na.example\n/b", false, false },
        { PURGE_HOST, "a.example", true, true },
        { PURGE_HOST, "b.example", false, false },
        { PURGE_TAG, "t", true, true },
        { PURGE_TAG, "u", true, false },
        { PURGE_ALL, "", true, true },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(closings) * 4; i++) {
        const struct closing *closing = &closings[i / 4];
        bool with_object = i & 1, soft = i & 2;
        struct world world = world_new(MIB);
        enum err e;
        struct flight *flight = take(&world, "/a");
        if (with_object) {
            struct object *object = begin(&world, &(struct how){ .path = "/a", .length = 10, .tags = "t" }, &e);
            flight_take_off(world.cache, flight, object);
            cache_unref(world.cache, object);
        }
        purge(&world, closing->kind, closing->text, soft);
        cr_assert_eq(find(&world, "/a") == NULL, with_object ? closing->closes_with_object : closing->closes, "case %u",
                     i);
        struct flight *other = take(&world, "/a");
        cr_assert_eq(find(&world, "/a"), other, "a new one is open");
        flight_end(world.cache, other);
        flight_end(world.cache, flight);
        world_free(&world);
    }
}

Test(flight, a_key_has_so_many_and_no_more)
{
    struct world world = world_new(MIB);
    struct flight *flights[64];
    for (unsigned i = 0; i < 64; i++)
        cr_assert_not_null(flights[i] = take(&world, "/a"));
    cr_assert_null(take(&world, "/a"));
    flight_end(world.cache, flights[33]);
    cr_assert_not_null(flights[33] = take(&world, "/a"));
    for (unsigned i = 0; i < 64; i++)
        flight_end(world.cache, flights[i]);
    world_free(&world);
}

Test(flight, there_are_so_many_and_no_more)
{
    struct world world = world_new(MIB);
    static struct flight *flights[1000];
    unsigned count = 0;
    char path[32];
    do
        snprintf(path, sizeof path, "/%u", count);
    while (count < 1000 && (flights[count] = take(&world, path)) && ++count);
    cr_assert_eq(count, MIB / 4096);
    for (unsigned i = 0; i < count; i++)
        flight_end(world.cache, flights[i]);
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

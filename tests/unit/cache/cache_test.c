#include "tests/unit/cache/fixture.h"

#include "proto/h1_write.h"

Test(cache, what_is_stored_is_found_with_its_content)
{
    struct world world = world_new(MIB);
    struct object *object = store(&world, &(struct how){ .path = "/a", .length = 10000, .salt = 7 });
    cr_assert_not_null(object);
    cache_unref(world.cache, object);
    object = find_of(&world, "a.example", "/a", &get_request);
    cr_assert_not_null(object);
    check_content(object, 7);
    cr_assert_eq(atomic_load(&object->body->filled), 10000);
    cache_unref(world.cache, object);
    cr_assert(!found(&world, "/b"));
    world_free(&world);
}

Test(cache, a_stored_head_is_written_in_one_piece_with_its_length)
{
    struct world world = world_new(MIB);
    static struct response response;
    char out[1024];
    for (int unknown = 0; unknown < 2; unknown++) {
        struct object *object =
            store(&world, &(struct how){ .path = "/a", .length = 4711, .unknown_length = unknown, .etag = "W/\"x\"" });
        cr_assert(slice_equal(object->etag, SLICE("W/\"x\"")));
        object_response(object, &response);
        struct h1_writer w = h1_writer_of(out, sizeof out);
        h1_write_response(
            &w, &response, &get_request, &(struct forwarding){ 0 },
            &(struct h1_response_plan){
                .framing = FRAMING_LENGTH, .content_length = 4711, .keep_alive = true, .client_minor = 1 });
        cr_assert(!w.overflow);
        struct slice expected = SLICE("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: W/\"x\"\r\n"
                                      "Date: Thu, 01 Jan 1970 00:16:40 GMT\r\nContent-Length: 4711\r\n\r\n");
        cr_assert(slice_equal(slice_of(out, (size_t)(w.at - out)), expected), "%.*s", (int)(w.at - out), out);
        cache_unref(world.cache, object);
    }
    world_free(&world);
}

Test(cache, everything_comes_back)
{
    struct world world = world_new(MIB);
    for (unsigned i = 0; i < 20; i++) {
        char path[32];
        snprintf(path, sizeof path, "/%u", i);
        cr_assert(stored(&world,
                         &(struct how){ .path = path, .length = i * 1000, .tags = "x y z", .unknown_length = i & 1 }));
    }
    purge(&world, PURGE_ALL, NULL, false);
    while (cache_sweep(world.cache, 7))
        ;
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    cr_assert_eq(cache_numbers(world.cache).purged, 20);
    world_free(&world);
}

#include "tests/unit/cache/fixture.h"

#include <pthread.h>

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

/* A request with Accept-Language. */
static struct request wants(const char *language)
{
    struct request request = { .method = METHOD_GET };
    cr_assert_eq(fields_add(&request.fields, SLICE("Accept-Language"), slice_of_text(language)), ERR_OK);
    return request;
}

static uint64_t salt_found(const struct world *world, const char *path, const struct request *request, uint64_t most)
{
    struct object *object = find_of(world, "a.example", path, request);
    if (!object)
        return UINT64_MAX;
    uint64_t salt = 0;
    while (salt < most && object->body->first->data[0] != content_byte(salt, 0))
        salt++;
    cache_unref(world->cache, object);
    return salt;
}

Test(cache, variants_are_kept_apart_and_replaced_by_their_like)
{
    struct world world = world_new(MIB);
    struct request de = wants("de"), fr = wants("fr");
    cr_assert(stored(&world, &(struct how){ .path = "/a", .vary = "accept-language:de\n", .length = 100, .salt = 1 }));
    cr_assert_eq(salt_found(&world, "/a", &de, 9), 1);
    cr_assert_eq(salt_found(&world, "/a", &fr, 9), UINT64_MAX);
    struct key_room room;
    bool others = false;
    cr_assert_null(cache_find(world.cache, key_of(&world, &room, "a.example", "/a"), &fr, &others));
    cr_assert(others);
    cr_assert(stored(&world, &(struct how){ .path = "/a", .vary = "accept-language:fr\n", .length = 100, .salt = 2 }));
    cr_assert(stored(&world, &(struct how){ .path = "/a", .vary = "accept-language:de\n", .length = 100, .salt = 3 }));
    cr_assert_eq(salt_found(&world, "/a", &de, 9), 3);
    cr_assert_eq(salt_found(&world, "/a", &fr, 9), 2);
    cr_assert_eq(cache_numbers(world.cache).objects, 2);
    world_free(&world);
}

Test(cache, of_several_that_match_the_most_recent_date_counts)
{
    struct world world = world_new(MIB);
    struct request de = wants("de");
    cr_assert(stored(&world, &(struct how){ .path = "/a", .length = 100, .salt = 1, .date_s = 2000 }));
    cr_assert(stored(
        &world,
        &(struct how){ .path = "/a", .vary = "accept-language:de\n", .length = 100, .salt = 2, .date_s = 1500 }));
    cr_assert_eq(salt_found(&world, "/a", &de, 9), 1);
    cr_assert(stored(
        &world,
        &(struct how){ .path = "/a", .vary = "accept-language:de\n", .length = 100, .salt = 3, .date_s = 2000 }));
    cr_assert_eq(salt_found(&world, "/a", &de, 9), 3, "of the same date what came last");
    world_free(&world);
}

Test(cache, a_key_has_so_many_variants_and_no_more)
{
    struct world world = world_new(MIB);
    char vary[64];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(vary, sizeof vary, "accept-language:%u\n", i);
        cr_assert(stored(&world, &(struct how){ .path = "/a", .vary = vary, .length = 10, .salt = i }));
    }
    cr_assert_eq(cache_numbers(world.cache).objects, 64);
    struct request first = wants("35"), last = wants("36");
    cr_assert_eq(salt_found(&world, "/a", &first, 99), UINT64_MAX, "the oldest went");
    cr_assert_eq(salt_found(&world, "/a", &last, 99), 36);
    world_free(&world);
}

Test(cache, an_answer_to_head_answers_head_only)
{
    struct world world = world_new(MIB);
    static struct response response;
    struct request head = { .method = METHOD_HEAD };
    cr_assert(stored(&world, &(struct how){ .path = "/a", .no_body = true, .length = 500 }));
    cr_assert(!found(&world, "/a"));
    struct object *object = find_of(&world, "a.example", "/a", &head);
    cr_assert_not_null(object);
    object_response(object, &response);
    cr_assert(response.has_content_length && response.content_length == 500 && response.framing == FRAMING_NONE);
    cache_unref(world.cache, object);
    cr_assert(stored(&world, &(struct how){ .path = "/a", .length = 500 }));
    cr_assert_eq(cache_numbers(world.cache).objects, 1, "the whole answer takes the other's place");
    world_free(&world);
}

Test(cache, readers_see_content_grow)
{
    struct world world = world_new(4 * MIB);
    enum err e;
    for (int unknown = 0; unknown < 2; unknown++) {
        struct object *object =
            begin(&world, &(struct how){ .path = "/a", .length = 300000, .unknown_length = unknown }, &e);
        for (uint64_t until = 1; until < 300000; until += 9999) {
            cr_assert(fill(&world, object, 5, until, 1000));
            check_content(object, 5);
        }
        cr_assert(!found(&world, unknown ? "/b" : "/a"), "not before it is complete");
        cr_assert(fill(&world, object, 5, 300000, UINT32_MAX));
        cr_assert(cache_complete(world.cache, object));
        check_content(object, 5);
        cr_assert_eq(atomic_load(&object->body->length), 300000);
        cr_assert_leq(object->body->bytes, 310000, "what was too much went back");
        cache_unref(world.cache, object);
    }
    world_free(&world);
}

Test(cache, a_length_that_was_said_is_kept_to)
{
    struct world world = world_new(MIB);
    enum err e;
    uint32_t room;
    struct object *object = begin(&world, &(struct how){ .path = "/a", .length = 1000 }, &e);
    cr_assert(fill(&world, object, 5, 1000, UINT32_MAX));
    cr_assert_null(cache_room(world.cache, object, UINT64_MAX, &room), "no byte more");
    cache_break(world.cache, object);
    cache_unref(world.cache, object);
    object = begin(&world, &(struct how){ .path = "/a", .length = 1000 }, &e);
    cr_assert(fill(&world, object, 5, 999, UINT32_MAX));
    cr_assert(!cache_complete(world.cache, object), "no byte less");
    cr_assert_eq(atomic_load(&object->body->state), BODY_BROKEN);
    cache_unref(world.cache, object);
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

Test(cache, what_is_too_large_is_refused)
{
    struct world world = world_new(MIB);
    enum err e;
    cr_assert_null(begin(&world, &(struct how){ .path = "/a", .length = MIB / 4 + 1 }, &e));
    cr_assert_eq(e, ERR_CAP);
    world.rule.object_bytes_max = 5000;
    cr_assert_null(begin(&world, &(struct how){ .path = "/a", .length = 5001 }, &e));
    cr_assert_eq(e, ERR_CAP);
    struct object *object = begin(&world, &(struct how){ .path = "/a", .unknown_length = true }, &e);
    cr_assert(fill(&world, object, 1, 5000, 999));
    cr_assert(!fill(&world, object, 1, 5001, 999));
    cache_unref(world.cache, object);
    cr_assert_eq(cache_numbers(world.cache).refused, 2);
    world_free(&world);
}

Test(cache, more_fields_or_tags_than_there_is_room_for_are_refused)
{
    struct world world = world_new(MIB);
    struct how how = { .path = "/a", .length = 10 };
    struct response response = response_of(&how);
    struct key_room room;
    enum err e;
    while (response.fields.count < FIELDS_CAP)
        cr_assert_eq(fields_add(&response.fields, SLICE("X"), SLICE("y")), ERR_OK);
    struct cache_new what = new_of(&world, &how, &response, &room);
    cr_assert_null(cache_begin(world.cache, &what, &e), "Date would be one more");
    cr_assert_eq(e, ERR_CAP);
    char tags[8192];
    size_t at = 0;
    for (unsigned i = 0; i <= CACHE_TAGS_MAX; i++)
        at += (size_t)snprintf(tags + at, sizeof tags - at, "t%u ", i);
    cr_assert_null(begin(&world, &(struct how){ .path = "/a", .length = 10, .tags = tags }, &e));
    cr_assert_eq(e, ERR_CAP);
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

Test(cache, held_memory_is_not_given_away)
{
    struct world world = world_new(MIB);
    struct object *held[1000];
    unsigned count = 0;
    char path[32];
    for (; count < 1000; count++) {
        snprintf(path, sizeof path, "/%u", count);
        held[count] = store(&world, &(struct how){ .path = path, .length = 3000, .salt = count });
        if (!held[count])
            break;
    }
    cr_assert(count > 200 && count < 1000, "%u", count);
    enum err e;
    cr_assert_null(begin(&world, &(struct how){ .path = "/x", .length = 3000 }, &e));
    cr_assert_eq(e, ERR_MEMORY);
    purge(&world, PURGE_ALL, NULL, false);
    while (cache_sweep(world.cache, 1000))
        ;
    cr_assert_eq(cache_numbers(world.cache).objects, 0);
    cr_assert_null(begin(&world, &(struct how){ .path = "/x", .length = 200000 }, &e), "gone, but held");
    for (unsigned i = 0; i < count; i++) {
        cr_assert(atomic_load(&held[i]->gone));
        check_content(held[i], i);
        cache_unref(world.cache, held[i]);
    }
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

Test(cache, a_validated_response_shares_the_content)
{
    struct world world = world_new(MIB);
    struct how how = { .path = "/a", .length = 50000, .salt = 3, .tags = "x" };
    cr_assert(stored(&world, &how));
    struct object *old = find_of(&world, "a.example", "/a", &get_request);
    uint64_t bytes = cache_numbers(world.cache).bytes;
    struct key_room room;
    struct response response = response_of(&(struct how){ .path = "/a", .unknown_length = true, .etag = "\"new\"" });
    struct cache_new what = new_of(&world, &how, &response, &room);
    struct object *fresh = cache_freshen(world.cache, old, &what);
    cr_assert_not_null(fresh);
    cr_assert_eq(fresh->body, old->body);
    cr_assert_lt(cache_numbers(world.cache).bytes - bytes, 2048);
    cr_assert(atomic_load(&old->gone));
    cache_unref(world.cache, old);
    check_content(fresh, 3);
    cr_assert(slice_equal(fresh->etag, SLICE("\"new\"")));
    cr_assert_eq(purge(&world, PURGE_TAG, "x", false).objects, 1, "tags that the 304 does not repeat are kept");
    cr_assert(!found(&world, "/a"));
    cache_unref(world.cache, fresh);
    cr_assert_eq(cache_numbers(world.cache).bytes, world.empty_bytes);
    world_free(&world);
}

Test(cache, lists_all_variants_of_a_url_newest_first)
{
    struct world world = world_new(MIB);
    struct object *objects[2];
    struct key_room room;
    cr_assert(stored(&world, &(struct how){ .path = "/a", .vary = "accept-language:de\n", .length = 1 }));
    cr_assert(stored(&world, &(struct how){ .path = "/a", .vary = "accept-language:fr\n", .length = 2 }));
    cr_assert(stored(&world, &(struct how){ .path = "/a", .length = 3 }));
    cr_assert(stored(&world, &(struct how){ .path = "/b", .length = 4 }));
    cr_assert_eq(cache_list(world.cache, key_of(&world, &room, "a.example", "/a"), objects, 2), 3);
    cr_assert_eq(atomic_load(&objects[0]->body->length), 3);
    cr_assert_eq(atomic_load(&objects[1]->body->length), 2);
    for (unsigned i = 0; i < 2; i++)
        cache_unref(world.cache, objects[i]);
    world_free(&world);
}

/* Reads what grows as another thread fills it, without a lock. */
static void *read_all(void *argument)
{
    const struct object *object = argument;
    const struct piece *piece = NULL;
    uint64_t at = 0, in_piece = 0;
    for (bool complete = false; !complete;) {
        complete = atomic_load_explicit(&object->body->state, memory_order_acquire) == BODY_COMPLETE;
        uint64_t filled = atomic_load_explicit(&object->body->filled, memory_order_acquire);
        for (; at < filled; at++, in_piece++) {
            if (!piece || in_piece == piece->cap) {
                piece = piece ? piece->next : object->body->first;
                in_piece = 0;
            }
            cr_assert_eq(piece->data[in_piece], content_byte(9, at));
        }
    }
    static _Thread_local struct response response;
    object_response(object, &response);
    cr_assert_eq(response.content_length, at);
    cr_assert(slice_equal(field_value(fields_find(&response.fields, FIELD_CONTENT_LENGTH)), SLICE("250000")));
    return NULL;
}

Test(cache, readers_on_other_threads_need_no_lock)
{
    for (unsigned i = 0; i < 20; i++) {
        struct world world = world_new(MIB);
        pthread_t readers[2];
        enum err e;
        struct object *object =
            begin(&world, &(struct how){ .path = "/a", .length = 250000, .unknown_length = i & 1 }, &e);
        for (unsigned r = 0; r < 2; r++)
            pthread_create(&readers[r], NULL, read_all, object);
        cr_assert(fill(&world, object, 9, 250000, 1500));
        cr_assert(cache_complete(world.cache, object));
        for (unsigned r = 0; r < 2; r++)
            pthread_join(readers[r], NULL);
        cache_unref(world.cache, object);
        world_free(&world);
    }
}

/*
 * A home of any size in one line, and objects in it: `store` begins, fills and completes one.
 */
#ifndef WEIR_TESTS_CACHE_FIXTURE_H
#define WEIR_TESTS_CACHE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/cache.h"
#include "engine/base/map.h"
#include "tests/unit/seed.h"

#define MIB (1024u * 1024u)

struct world {
    struct cache *cache;
    void *memory;
    uint64_t empty_bytes; /* used by a home with nothing in it */
    uint64_t seed[2];
    struct cache_rule rule;
};

static inline struct world world_new(size_t bytes)
{
    struct world world = { .seed = { 1, 2 }, .rule = { .on = true, .object_bytes_max = UINT64_MAX } };
    world.memory = aligned_alloc(65536, bytes);
    cr_assert_not_null(world.memory);
    world.cache = cache_new(world.memory, bytes, world.seed);
    cr_assert_not_null(world.cache);
    world.empty_bytes = cache_numbers(world.cache).bytes;
    return world;
}

static inline void world_free(struct world *world)
{
    cache_release(world->cache);
    free(world->memory);
}

struct key_room {
    struct cache_key key;
    char text[CACHE_KEY_BYTES_MAX];
};

/* The key of a path of a host: its URL part ends behind the query's line, then comes the pool. */
static inline const struct cache_key *key_of(const struct world *world, struct key_room *room, const char *host,
                                             const char *path)
{
    int url = snprintf(room->text, sizeof room->text, "http\n%s\n%s\n\n", host, path);
    int all = url + snprintf(room->text + url, sizeof room->text - (size_t)url, "app\n");
    cr_assert(all < (int)sizeof room->text);
    room->key = (struct cache_key){ .text = slice_of(room->text, (size_t)all), .url_length = (uint32_t)url };
    room->key.url_hash = siphash13(room->text, (size_t)url, world->seed[0], world->seed[1]);
    return &room->key;
}

/* A byte of the content that belongs to `salt`. */
static inline char content_byte(uint64_t salt, uint64_t at)
{
    return (char)mix64(salt * 0x9e3779b97f4a7c15ull + at / 8 + 1) + (char)at;
}

struct how {
    const char *host, *path, *tags, *vary, *etag;
    const struct cache_key *key; /* instead of host and path */
    uint64_t length, salt;
    bool unknown_length, no_body;
    uint64_t sequence; /* 0: now */
    int64_t date_s;
};

static inline struct response response_of(const struct how *how)
{
    static char length[32];
    struct response response = { .status = 200,
                                 .reason = SLICE("OK"),
                                 .framing = FRAMING_LENGTH,
                                 .content_length = how->length,
                                 .has_content_length = !how->unknown_length,
                                 .version_minor = 1 };
    cr_assert_eq(fields_add(&response.fields, SLICE("Content-Type"), SLICE("text/plain")), ERR_OK);
    if (how->etag)
        cr_assert_eq(fields_add(&response.fields, SLICE("ETag"), slice_of_text(how->etag)), ERR_OK);
    if (!how->unknown_length) {
        snprintf(length, sizeof length, "%llu", (unsigned long long)how->length);
        cr_assert_eq(fields_add(&response.fields, SLICE("Content-Length"), slice_of_text(length)), ERR_OK);
    }
    if (how->tags)
        cr_assert_eq(fields_add(&response.fields, SLICE("Surrogate-Key"), slice_of_text(how->tags)), ERR_OK);
    return response;
}

static inline struct cache_new new_of(const struct world *world, const struct how *how, const struct response *response,
                                      struct key_room *room)
{
    return (struct cache_new){
        .key = how->key ? *how->key : *key_of(world, room, how->host ? how->host : "a.example", how->path),
        .vary = slice_of_text(how->vary),
        .rule = &world->rule,
        .response = response,
        .policy = { .date_s = how->date_s ? how->date_s : 1000, .received_s = 1000, .lifetime_s = 60 },
        .length = how->unknown_length ? BODY_LENGTH_UNKNOWN : how->length,
        .no_body = how->no_body,
        .sequence = how->sequence ? how->sequence : cache_sequence(world->cache),
        .now_s = 1000
    };
}

static inline struct object *begin(const struct world *world, const struct how *how, enum err *e)
{
    struct key_room room;
    struct response response = response_of(how);
    struct cache_new what = new_of(world, how, &response, &room);
    return cache_begin(world->cache, &what, e);
}

/* Fills up to `until` bytes, in steps of at most `step`. False: no room. */
static inline bool fill(const struct world *world, struct object *object, uint64_t salt, uint64_t until, uint32_t step)
{
    uint64_t at = atomic_load(&object->body->filled);
    while (at < until) {
        uint32_t room;
        char *to = cache_room(world->cache, object, world->rule.object_bytes_max, &room);
        if (!to)
            return false;
        uint32_t bytes = (uint32_t)u64_min(u64_min(room, step), until - at);
        for (uint32_t i = 0; i < bytes; i++)
            to[i] = content_byte(salt, at + i);
        cache_filled(object, bytes);
        at += bytes;
    }
    return true;
}

/* With a reference if it was stored; else NULL, and nothing is left of it. */
static inline struct object *store(const struct world *world, const struct how *how)
{
    enum err e;
    struct object *object = begin(world, how, &e);
    if (!object)
        return NULL;
    if (!(how->no_body || fill(world, object, how->salt, how->length, UINT32_MAX))) {
        cache_break(world->cache, object);
        cache_unref(world->cache, object);
        return NULL;
    }
    if (cache_complete(world->cache, object))
        return object;
    cache_unref(world->cache, object);
    return NULL;
}

static inline bool stored(const struct world *world, const struct how *how)
{
    struct object *object = store(world, how);
    if (object)
        cache_unref(world->cache, object);
    return object != NULL;
}

/* All that is published is right. */
static inline void check_content(const struct object *object, uint64_t salt)
{
    uint64_t filled = atomic_load(&object->body->filled), at = 0;
    for (const struct piece *piece = object->body->first; at < filled; piece = piece->next) {
        uint64_t here = u64_min(piece->cap, filled - at);
        for (uint64_t i = 0; i < here; i++)
            cr_assert_eq(piece->data[i], content_byte(salt, at + i), "byte %llu", (unsigned long long)(at + i));
        at += here;
    }
}

static const struct request get_request = { .method = METHOD_GET };

static inline struct object *find_of(const struct world *world, const char *host, const char *path,
                                     const struct request *request)
{
    struct key_room room;
    bool others;
    return cache_find(world->cache, key_of(world, &room, host, path), request, &others);
}

static inline bool found(const struct world *world, const char *path)
{
    struct object *object = find_of(world, "a.example", path, &get_request);
    if (object)
        cache_unref(world->cache, object);
    return object != NULL;
}

static inline struct purge_count purge(const struct world *world, enum purge_kind kind, const char *text, bool soft)
{
    struct purge_count count;
    cache_purge(world->cache, &(struct purge){ .kind = kind, .soft = soft, .text = slice_of_text(text) }, &count);
    return count;
}

#endif

/*
 * A disk of the cache's on a real ring and real files, without an engine around it. Two homes stand for the memory before and after: what is found in the second
 * came from the disk.
 */
#ifndef WEIR_DISK_FIXTURE_H
#define WEIR_DISK_FIXTURE_H

#include "engine/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cache/fixture.h"

#define SIZE (24ull << 20)
#define OBJECTS 120u

struct stand {
    char path[64];
    uint64_t size;
    struct disk *disk;
    struct disk_side *side;
    struct loop loop;
    struct home home;
    struct homes homes;
    struct world world; /* of the home */
    bool looping;
};

static inline void new_memory(struct stand *stand)
{
    if (stand->world.cache)
        world_free(&stand->world);
    size_t bytes = 32 * MIB;
    stand->world = (struct world){ .rule = { .on = true, .object_bytes_max = UINT64_MAX } };
    if (stand->disk) {
        stand->world.seed[0] = stand->disk->seed[0];
        stand->world.seed[1] = stand->disk->seed[1];
    }
    stand->world.memory = aligned_alloc(65536, bytes);
    stand->world.cache = cache_new(stand->world.memory, bytes, stand->world.seed);
    cr_assert_not_null(stand->world.cache);
    stand->home.cache = stand->world.cache;
}

static inline bool stand_open(struct stand *stand)
{
    char why[256];
    stand->disk = disk_open(&(struct disk_options){ .path = stand->path, .bytes = stand->size, .workers = 1 }, why);
    new_memory(stand);
    stand->side = stand->disk ? disk_side_new(stand->disk, &stand->loop, &stand->homes, 0) : NULL;
    return stand->side != NULL;
}

static inline void stand_begin(struct stand *stand)
{
    char why[256];
    *stand = (struct stand){ .size = SIZE };
    snprintf(stand->path, sizeof stand->path, "/tmp/weir-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(stand->path));
    pthread_mutex_init(&stand->home.lock, NULL);
    stand->homes = (struct homes){ .list = &stand->home, .count = 1 };
    cr_assert_eq(loop_init(&stand->loop, 0, 256, why), ERR_OK, "%s", why);
}

/* Without sleep: what was waited for comes before the turn's end. */
static inline void turn(struct stand *stand)
{
    stand->loop.again = true;
    loop_turn(&stand->loop);
}

/* seal: as an engine that ends; else as one that is killed. */
static inline void stand_close(struct stand *stand, bool seal)
{
    if (stand->side) {
        disk_side_stop(stand->side);
        while (!disk_side_quiet(stand->side) || atomic_load(&stand->disk->purges_out)) {
            turn(stand);
        }
        disk_side_free(stand->side);
    }
    if (stand->disk && !seal)
        atomic_store(&stand->disk->off, true);
    disk_close(stand->disk);
    stand->disk = NULL;
    stand->side = NULL;
}

static inline void stand_end(struct stand *stand)
{
    char path[512];
    stand_close(stand, true);
    world_free(&stand->world);
    loop_release(&stand->loop);
    DIR *folder = opendir(stand->path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", stand->path, entry->d_name);
        unlink(path);
    }
    if (folder)
        closedir(folder);
    rmdir(stand->path);
}

static inline const char *name_of(uint32_t number)
{
    static char path[64];
    snprintf(path, sizeof path, "/object/%u", number);
    return path;
}

static inline uint64_t size_of(uint32_t number)
{
    return number % 40 == 7 ? 450000 + number : number % 9 == 0 ? 0 : mix64(number) % 20000;
}

static inline struct object *put_in_memory(struct stand *stand, uint32_t number)
{
    return store(&stand->world, &(struct how){ .path = name_of(number),
                                               .tags = number % 2 ? "odd" : "even",
                                               .length = size_of(number),
                                               .salt = number });
}

static inline uint64_t settled(const struct stand *stand)
{
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < stand->disk->volume_count; i++)
        waiting += stand->disk->volumes[i].queue_count + (stand->disk->volumes[i].held.object != NULL) +
                   op_armed(&stand->disk->volumes[i].op);
    return waiting == 0;
}

static inline void write_all(struct stand *stand)
{
    for (unsigned turns = 0; !settled(stand) && turns < 20000000; turns++) {
        for (uint32_t i = 0; i < stand->disk->volume_count; i++)
            disk_write_some(&stand->disk->volumes[i]); /* as the timer does */
        turn(stand);
    }
    cr_assert(settled(stand));
}

static inline void admit(struct stand *stand, uint32_t first, uint32_t behind)
{
    for (uint32_t i = first; i < behind; i++) {
        struct object *object = put_in_memory(stand, i);
        if (!object)
            continue;
        disk_admit(stand->disk, &stand->home, object);
        cache_unref(stand->world.cache, object);
        if (i % 50 == 49)
            write_all(stand);
    }
    write_all(stand);
}

/* check_content of the fixture asserts each byte, which takes its time. */
static inline uint64_t wrong_bytes(const struct object *object, uint64_t salt)
{
    uint64_t filled = atomic_load(&object->body->filled), at = 0, wrong = 0;
    for (const struct piece *piece = object->body->first; at < filled; piece = piece->next)
        for (uint64_t i = 0; i < piece->cap && at < filled; i++, at++)
            wrong += piece->data[i] != content_byte(salt, at);
    return wrong;
}

struct waiter {
    struct disk_wait wait;
    struct key_room room;
    bool told, found;
};

static inline void told(struct disk_wait *wait, bool found)
{
    struct waiter *waiter = CONTAINER_OF(wait, struct waiter, wait);
    cr_assert_not(waiter->told);
    waiter->told = true;
    waiter->found = found;
}

static inline bool begin_load(struct stand *stand, struct waiter *waiter, uint32_t number)
{
    *waiter = (struct waiter){ .wait = { .request = &get_request, .rule = &stand->world.rule, .done = told } };
    waiter->wait.key = key_of(&stand->world, &waiter->room, "a.example", name_of(number));
    return disk_load(stand->side, &waiter->wait);
}

/* True: it came from the disk, and every byte is right. */
static inline bool load(struct stand *stand, uint32_t number)
{
    struct waiter waiter;
    if (!begin_load(stand, &waiter, number))
        return false;
    while (!waiter.told)
        turn(stand);
    struct object *object = find_of(&stand->world, "a.example", name_of(number), &get_request);
    cr_assert_eq(waiter.found, object != NULL);
    if (!object)
        return false;
    cr_assert_eq(atomic_load(&object->body->filled), size_of(number));
    cr_assert_eq(wrong_bytes(object, number), 0);
    cr_assert_eq(object->tag_count, 1);
    cr_assert_eq(object->policy.lifetime_s, 60);
    cache_unref(stand->world.cache, object);
    return true;
}

static inline uint32_t load_all(struct stand *stand)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < OBJECTS; i++)
        count += load(stand, i);
    return count;
}

static inline void purge_done(void *argument, bool kept)
{
    *(int *)argument = kept ? 1 : 2;
}

static inline int purge_disk(struct stand *stand, enum purge_kind kind, const char *text, bool soft)
{
    struct purge what = { .kind = kind, .soft = soft, .text = slice_of_text(text) };
    struct purge_count count = { 0 };
    int done = 0;
    disk_purge_begin(stand->disk, &what, &count);
    cache_purge(stand->world.cache, &what, &count);
    disk_purge_finish(stand->disk, &stand->loop, &what, &count, purge_done, &done);
    while (!done)
        turn(stand);
    return done;
}

#endif

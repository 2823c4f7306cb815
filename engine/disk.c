#include "engine/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/map.h"
#include "engine/log.h"

/* Life --------------------------------------------------------------------------------------------------------- */

void *disk_block_memory(size_t bytes)
{
    return FAULT("disk_memory") ? NULL : aligned_alloc(SEGMENT_BLOCK, bytes);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000;
}

static bool make_volume(struct disk *disk, uint32_t number)
{
    struct disk_volume *volume = &disk->volumes[number];
    uint64_t seed[2] = { disk->seed[0] ^ mix64(number + 1), disk->seed[1] };
    volume->volume = volume_new(disk->volume_bytes, disk->segment_bytes, seed);
    char *batch = disk_block_memory(WRITER_BATCH_BYTES);
    writer_init(&volume->writer, volume->volume, batch);
    return volume->volume && batch;
}

static bool make_volumes(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->volume_count; i++)
        if (!make_volume(disk, i))
            return false;
    return disk_purges_init(disk);
}

struct disk *disk_open(const struct disk_options *options, char why[256])
{
    uint64_t began = now_us();
    struct disk *disk = FAULT("disk_memory") ? NULL : calloc(1, sizeof *disk);
    snprintf(why, 256, "no memory");
    if (!disk)
        return NULL;
    disk->log_fd = -1;
    disk->queue_bytes_max = DISK_QUEUE_BYTES;
    disk->workers = options->workers;
    pthread_mutex_init(&disk->purge_lock, NULL);
    bool opened = disk_files_open(disk, options, why);
    bool made = opened && make_volumes(disk);
    if (!made) {
        if (opened)
            snprintf(why, 256, "no memory for the index of \"%.180s\"", options->path);
        if (disk->locked)
            disk_files_forget(disk);
        disk_close(disk);
        return NULL;
    }
    disk_files_restore(disk);
    for (uint32_t i = 0; i < disk->volume_count; i++)
        disk->restored += disk->volumes[i].volume->objects;
    disk->restore_us = now_us() - began;
    return disk;
}

void disk_set_memory(struct disk *disk, uint64_t bytes)
{
    disk->queue_bytes_max = u64_min(DISK_QUEUE_BYTES, bytes / 16 / disk->volume_count);
}

void disk_close(struct disk *disk)
{
    if (!disk)
        return;
    for (uint32_t i = 0; i < disk->volume_count && disk->volumes; i++) {
        struct disk_volume *volume = &disk->volumes[i];
        if (volume->volume && volume->writer.batch && !atomic_load(&volume->off) && !atomic_load(&disk->off))
            disk_files_seal(volume);
        writer_release(&volume->writer);
        free(volume->writer.batch);
        volume_free(volume->volume);
        pthread_mutex_destroy(&volume->lock);
    }
    disk_files_close(disk);
    disk_purges_release(disk);
    pthread_mutex_destroy(&disk->purge_lock);
    free(disk->volumes);
    free(disk);
}

static void *close_it(void *disk)
{
    disk_close(disk);
    return NULL;
}

bool disk_close_until(struct disk *disk, const struct timespec *until)
{
    pthread_t thread;
    if (disk && !FAULT("disk_thread") && pthread_create(&thread, NULL, close_it, disk) == 0)
        return pthread_timedjoin_np(thread, NULL, until) == 0;
    disk_close(disk);
    return true;
}

struct disk_side *disk_side_new(struct disk *disk, struct loop *loop, struct homes *homes, uint32_t worker)
{
    struct disk_side *side = FAULT("disk_memory") ? NULL : calloc(1, sizeof *side);
    if (!side)
        return NULL;
    side->disk = disk;
    side->loop = loop;
    side->homes = homes;
    side->worker = worker;
    side->timer.fire = disk_write_tick;
    for (uint32_t i = worker; i < disk->volume_count; i += disk->workers)
        disk->volumes[i].owner = side;
    if (worker < disk->volume_count)
        timer_set(&loop->wheel, &side->timer, loop->now_ms + DISK_WRITE_MS);
    return side;
}

void disk_side_stop(struct disk_side *side)
{
    side->stopped = true;
    timer_cancel(&side->loop->wheel, &side->timer);
    for (uint32_t i = 0; i < side->loads_made; i++) {
        if (side->loads[i].wait)
            disk_leave(side->loads[i].wait);
        op_cancel(&side->loop->ring, &side->loads[i].op);
    }
}

bool disk_side_quiet(const struct disk_side *side)
{
    for (uint32_t i = 0; i < side->loads_made; i++)
        if (op_armed(&side->loads[i].op))
            return false;
    for (uint32_t i = side->worker; i < side->disk->volume_count; i += side->disk->workers)
        if (op_armed(&side->disk->volumes[i].op))
            return false;
    return true;
}

void disk_side_free(struct disk_side *side)
{
    if (!side)
        return;
    for (uint32_t i = 0; i < side->loads_made; i++) {
        timer_cancel(&side->loop->wheel, &side->loads[i].timer);
        free(side->loads[i].buffer);
    }
    free(side);
}

struct disk_volume *disk_volume_of(struct disk *disk, uint64_t hash)
{
    return &disk->volumes[(hash & UINT32_MAX) * disk->volume_count >> 32]; /* the index goes by the upper half */
}

/* Not a request's matter: it is told of a miss. */
void disk_volume_failed(struct disk_volume *volume, const char *what, int error)
{
    DISK_COUNT(volume->disk, failed, 1);
    uint32_t errors = atomic_fetch_add(&volume->errors, 1) + 1;
    if (errors == 1)
        log_line(LOG_WARN, "cache disk \"%s\": volume %u cannot %s: %s", volume->disk->path, volume->number, what,
                 strerror(error));
    if (errors == DISK_ERRORS_MAX && !atomic_exchange(&volume->off, true))
        log_line(LOG_ERROR, "cache disk \"%s\": volume %u is given up after %u errors in a row", volume->disk->path,
                 volume->number, errors);
}

/* Seeing ------------------------------------------------------------------------------------------------------- */

bool disk_has(struct disk *disk, const struct cache_key *key)
{
    struct disk_volume *volume = disk_volume_of(disk, key->url_hash);
    struct volume_place places[VOLUME_VARIANTS];
    if (atomic_load_explicit(&volume->off, memory_order_relaxed) ||
        atomic_load_explicit(&disk->off, memory_order_relaxed))
        return false;
    uint32_t tags = record_tags(volume->volume->seed, key->text, SLICE_NONE);
    pthread_mutex_lock(&volume->lock);
    bool has = volume_find(volume->volume, key->url_hash, tags, places) > 0;
    pthread_mutex_unlock(&volume->lock);
    return has;
}

struct disk_numbers disk_numbers(struct disk *disk)
{
    struct disk_numbers numbers = { .bytes_max = disk->bytes, .volumes = disk->volume_count };
    for (uint32_t i = 0; i < disk->volume_count; i++) {
        struct disk_volume *volume = &disk->volumes[i];
        pthread_mutex_lock(&volume->lock);
        numbers.objects += volume->volume->objects;
        numbers.bytes += volume->volume->object_bytes;
        for (uint32_t k = 0; k < volume->volume->segment_count; k++)
            numbers.segments_off += volume->volume->segments[k].sequence == UINT64_MAX;
        pthread_mutex_unlock(&volume->lock);
        numbers.volumes_off += atomic_load(&volume->off) || atomic_load(&disk->off);
    }
    return numbers;
}

/*
 * Writing to the disk tier: what was admitted goes into the batches of its volume's owner, one batch at a time, on the owner's ring.
 *
 * Nobody waits for any of this. What does not fit the queue is dropped: an object that is used goes on being used, and is admitted another time.
 */
#include <errno.h>

#include "engine/disk.h"

#define EMPTY_STEPS 16u /* of writer_begin, in one turn */

/* The queue ---------------------------------------------------------------------------------------------------- */

static uint64_t content_of(const struct object *object)
{
    return object->body ? atomic_load(&object->body->length) : 0;
}

static bool is_queued(const struct disk_volume *volume, const struct object *object)
{
    if (!volume_is_pending(volume->volume, object->url_hash))
        return false;
    for (uint32_t i = 0; i < volume->queue_count; i++)
        if (volume->queue[(volume->queue_first + i) % DISK_QUEUE].object == object)
            return true;
    return false;
}

static bool has_room(const struct disk_volume *volume, const struct object *object)
{
    return volume->queue_count < DISK_QUEUE &&
           (volume->queue_count == 0 || volume->queue_bytes + content_of(object) <= volume->disk->queue_bytes_max);
}

/* With the volume's lock. */
static bool enqueue(struct disk_volume *volume, struct home *home, struct object *object)
{
    struct disk_item item = { .object = object, .home = home };
    uint32_t tags = record_tags(volume->volume->seed, object->key, object->vary);
    if (is_queued(volume, object) || !volume_admit(volume->volume, object->url_hash, tags,
                                                   record_edition(&object->policy, content_of(object)), &item.stamp))
        return false;
    cache_ref(object);
    volume->queue[(volume->queue_first + volume->queue_count++) % DISK_QUEUE] = item;
    volume->queue_bytes += content_of(object);
    return true;
}

void disk_admit(struct disk *disk, struct home *home, struct object *object)
{
    uint32_t head, bytes;
    struct disk_volume *volume = disk_volume_of(disk, object->url_hash);
    if (atomic_load_explicit(&volume->off, memory_order_relaxed) ||
        atomic_load_explicit(&disk->off, memory_order_relaxed) ||
        !record_measure(object, volume_record_bytes_max(volume->volume), &head, &bytes))
        return;
    pthread_mutex_lock(&volume->lock);
    if (!has_room(volume, object))
        DISK_COUNT(disk, dropped, 1);
    else if (enqueue(volume, home, object))
        DISK_COUNT(disk, admitted, 1);
    pthread_mutex_unlock(&volume->lock);
}

static void unref(const struct disk_item *item)
{
    struct cache *cache = home_enter(item->home);
    cache_unref(cache, item->object);
    home_leave(item->home);
}

/* An item that becomes no record after all. */
static void drop_item(struct disk_volume *volume, struct disk_item *item)
{
    if (!item->object)
        return;
    pthread_mutex_lock(&volume->lock);
    volume_settle(volume->volume, item->object->url_hash);
    pthread_mutex_unlock(&volume->lock);
    unref(item);
    item->object = NULL;
}

/* The next that is still worth it. False: none. */
static bool next_item(struct disk_volume *volume, struct disk_item *item)
{
    if (volume->held.object) {
        *item = volume->held;
        volume->held.object = NULL;
        return true;
    }
    for (;;) {
        pthread_mutex_lock(&volume->lock);
        bool any = volume->queue_count > 0;
        if (any) {
            *item = volume->queue[volume->queue_first];
            volume->queue_first = (volume->queue_first + 1) % DISK_QUEUE;
            volume->queue_count--;
            volume->queue_bytes -= content_of(item->object);
        }
        pthread_mutex_unlock(&volume->lock);
        if (!any || !atomic_load_explicit(&item->object->gone, memory_order_relaxed))
            return any;
        drop_item(volume, item);
    }
}

/* Batches ------------------------------------------------------------------------------------------------------ */

/* A segment to write into. False: none yet, or nothing to write. */
static bool have_segment(struct disk_volume *volume)
{
    bool well = volume->writer.open, over = false, wanted = true;
    for (unsigned i = 0; wanted && !well && !over && i < EMPTY_STEPS; i++) {
        pthread_mutex_lock(&volume->lock); /* for one step: others wait for it */
        wanted = volume->queue_count > 0 || volume->held.object;
        well = wanted && writer_begin(&volume->writer);
        over = volume_oldest(volume->volume) == UINT32_MAX;
        pthread_mutex_unlock(&volume->lock);
    }
    if (over)
        atomic_store(&volume->off, true);
    return well;
}

static void fill_batch(struct disk_volume *volume)
{
    struct writer *writer = &volume->writer;
    struct disk_item item;
    while (!writer->sealing && !writer_busy(writer) && next_item(volume, &item)) {
        enum writer_put put = writer_put(writer, item.object, item.stamp);
        if (put == WRITER_NEVER) {
            drop_item(volume, &item);
            continue;
        }
        if (put == WRITER_PUT && writer_busy(writer)) {
            volume->current = item;
            return;
        }
        if (put == WRITER_PUT) {
            unref(&item);
            continue;
        }
        volume->held = item;
        if (put == WRITER_SEGMENT_FULL)
            writer_seal(writer);
        return;
    }
}

static void written(struct op *op, int32_t result, uint32_t flags);

void disk_write_some(struct disk_volume *volume)
{
    struct writer_batch batch;
    if (op_armed(&volume->op) || volume->owner->stopped || atomic_load(&volume->off) ||
        atomic_load(&volume->disk->off) || !have_segment(volume))
        return;
    fill_batch(volume);
    if (!writer_batch(&volume->writer, &batch))
        return;
    volume->op.done = written;
    volume->sent = batch.length;
    disk_write_at(volume->owner->loop, &volume->op, volume->fd, batch.bytes, batch.length, batch.at);
}

static void batch_stands(struct disk_volume *volume)
{
    uint32_t before = volume->writer.added;
    pthread_mutex_lock(&volume->lock);
    writer_written(&volume->writer);
    pthread_mutex_unlock(&volume->lock);
    atomic_store_explicit(&volume->errors, 0, memory_order_relaxed);
    DISK_COUNT(volume->disk, written, volume->writer.added - before);
    DISK_COUNT(volume->disk, write_bytes, volume->sent);
    if (volume->current.object && !writer_busy(&volume->writer)) {
        unref(&volume->current);
        volume->current.object = NULL;
    }
}

static void batch_failed(struct disk_volume *volume, int error)
{
    pthread_mutex_lock(&volume->lock);
    writer_failed(&volume->writer);
    pthread_mutex_unlock(&volume->lock);
    if (volume->current.object) {
        unref(&volume->current); /* settled with the writer's others */
        volume->current.object = NULL;
    }
    disk_volume_failed(volume, "be written", error);
}

/* What is not written whole is not written. Another try is the next tick's, in another segment. */
static void written(struct op *op, int32_t result, uint32_t flags)
{
    struct disk_volume *volume = CONTAINER_OF(op, struct disk_volume, op);
    (void)flags;
    if (FAULT("disk_write"))
        result = -ENOSPC;
    if (FAULT("disk_write_short"))
        result = result > 0 ? result / 2 : result;
    if (result != (int32_t)volume->sent) {
        batch_failed(volume, result < 0 ? -result : ENOSPC);
        return;
    }
    batch_stands(volume);
    disk_write_some(volume);
}

/* What waits in a volume that was given up goes back. */
static void drop_all(struct disk_volume *volume)
{
    struct disk_item item;
    if (op_armed(&volume->op))
        return;
    while (next_item(volume, &item))
        drop_item(volume, &item);
}

/* Before the next usual turn there would be no room for what comes. */
static bool is_filling(struct disk_volume *volume)
{
    pthread_mutex_lock(&volume->lock);
    bool filling = volume->queue_count >= DISK_QUEUE / 8 || volume->queue_bytes >= volume->disk->queue_bytes_max / 8;
    pthread_mutex_unlock(&volume->lock);
    return filling;
}

void disk_write_tick(struct timer *timer, uint64_t now_ms)
{
    struct disk_side *side = CONTAINER_OF(timer, struct disk_side, timer);
    bool hurry = false;
    for (uint32_t i = side->worker; i < side->disk->volume_count; i += side->disk->workers) {
        struct disk_volume *volume = &side->disk->volumes[i];
        hurry |= is_filling(volume);
        disk_write_some(volume);
        if (atomic_load(&volume->off) || atomic_load(&side->disk->off))
            drop_all(volume);
    }
    timer_set(&side->loop->wheel, timer, now_ms + (hurry ? DISK_HURRY_MS : DISK_WRITE_MS));
}

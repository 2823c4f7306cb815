/*
 * Purging on the disk: applied to the index at once, and written to the log (cache/purge_log.h) before they are acknowledged.
 *
 * One write to the log is under way at most. What comes meanwhile is gathered and is the next write, whichever worker it came from: so a disk that
 * takes its time gets fewer and larger writes, not more of them. What has no room among those gathered is not kept by name: one entry that purges
 * everything stands for all of these, and goes on doing so until its write begins. That is felt only after a restart, which then finds
 * less than it might; until then the index knows better. So what waits is bounded, and no purge is lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/map.h"
#include "engine/disk.h"
#include "engine/log.h"

bool disk_purges_init(struct disk *disk)
{
    bool memory = true;
    for (uint32_t i = 0; i < ARRAY_LENGTH(disk->batches); i++) {
        disk->batches[i].bytes = FAULT("disk_memory") ? NULL : malloc(DISK_PURGE_BYTES);
        memory &= disk->batches[i].bytes != NULL;
    }
    return memory && volume_purges_init(&disk->purges, disk->seed);
}

void disk_purges_release(struct disk *disk)
{
    for (uint32_t i = 0; i < ARRAY_LENGTH(disk->batches); i++)
        free(disk->batches[i].bytes);
    volume_purges_release(&disk->purges);
}

/* In the index ------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct disk *disk, const struct purge *purge)
{
    bool hashed = purge->kind == PURGE_URL || purge->kind == PURGE_TAG;
    return hashed ? siphash13(purge->text.at, purge->text.length, disk->seed[0], disk->seed[1]) : 0;
}

static void purge_volume(struct disk_volume *volume, const struct purge *purge, uint64_t hash, uint64_t sequence,
                         struct purge_count *count)
{
    pthread_mutex_lock(&volume->lock);
    volume_purge(volume->volume, purge, hash, sequence, count);
    pthread_mutex_unlock(&volume->lock);
}

/* With the purges' lock. The numbers of volumes follow: what has the new number as a stamp was admitted after this. */
static uint64_t apply(struct disk *disk, const struct purge *purge, uint64_t hash, struct purge_count *count)
{
    uint64_t sequence = atomic_fetch_add(&disk->sequence, 1) + 1;
    if (purge->kind == PURGE_URL) {
        purge_volume(disk_volume_of(disk, hash), purge, hash, sequence, count);
        return sequence;
    }
    volume_purges_add(&disk->purges, purge, hash, sequence);
    for (uint32_t i = 0; i < disk->volume_count; i++)
        purge_volume(&disk->volumes[i], purge, hash, sequence, count);
    return sequence;
}

void disk_purge_begin(struct disk *disk, const struct purge *purge, struct purge_count *count)
{
    uint64_t hash = hash_of(disk, purge);
    pthread_mutex_lock(&disk->purge_lock);
    apply(disk, purge, hash, count);
    pthread_mutex_unlock(&disk->purge_lock);
}

void disk_replaced(struct disk *disk, const struct object *object)
{
    struct disk_volume *volume = disk_volume_of(disk, object->url_hash);
    uint32_t tags = record_tags(volume->volume->seed, object->key, object->vary);
    pthread_mutex_lock(&volume->lock);
    volume_replaced(volume->volume, object->url_hash, tags, atomic_fetch_add(&disk->sequence, 1) + 1);
    pthread_mutex_unlock(&volume->lock);
}

/* What is gathered --------------------------------------------------------------------------------------------- */

/* Who wants to be told of a purge. */
struct disk_purging {
    struct letter letter;
    struct disk_purging *next;
    struct disk *disk;
    struct loop *loop;
    void (*done)(void *argument, bool kept);
    void *argument;
    bool kept;
};

/* Where they go in the log, which is a ring: what is gathered goes round once at most. */
static char *place(struct disk_purge_batch *batch, uint64_t at, uint32_t bytes)
{
    struct disk_purge_part *part = &batch->parts[batch->part_count ? batch->part_count - 1 : 0];
    char *entry = batch->bytes + batch->length;
    if (batch->part_count == 0 || part->at + part->length != at) {
        MUST(batch->part_count < ARRAY_LENGTH(batch->parts));
        part = &batch->parts[batch->part_count++];
        *part = (struct disk_purge_part){ .at = at, .from = batch->length };
    }
    part->length += bytes;
    batch->length += bytes;
    return entry;
}

static char *put_entry(struct disk *disk, struct disk_purge_batch *batch, const struct purge *purge, uint64_t hash,
                       uint64_t sequence, uint64_t *at)
{
    uint32_t bytes = purge_log_write(&disk->log, purge, hash, sequence, batch->bytes + batch->length, at);
    return bytes ? place(batch, *at, bytes) : NULL;
}

/* With the purges' lock. */
static void gather(struct disk *disk, const struct purge *purge, uint64_t hash, uint64_t sequence)
{
    static const struct purge everything = { .kind = PURGE_ALL };
    struct disk_purge_batch *batch = &disk->batches[disk->gathering];
    bool room = batch->length + PURGE_LOG_ENTRY_MAX + PURGE_LOG_UNIT <= DISK_PURGE_BYTES;
    uint64_t at;
    DISK_COUNT(disk, purges, 1);
    if (!batch->widened && room && put_entry(disk, batch, purge, hash, sequence, &at))
        return;
    DISK_COUNT(disk, purges_widened, 1);
    if (batch->widened)
        purge_log_renumber(&disk->log, batch->widened, batch->widened_at, sequence);
    else if (room) /* its text is too long to be kept: rather more than less */
        put_entry(disk, batch, &everything, 0, sequence, &at);
    else
        batch->widened = put_entry(disk, batch, &everything, 0, sequence, &batch->widened_at);
}

/* Its writing ---------------------------------------------------------------------------------------------------- */

static void written(struct op *op, int32_t result, uint32_t flags);

/* The loop is the one that found nobody writing, and goes on as long as there is something. */
static void write_part(struct disk *disk)
{
    const struct disk_purge_batch *batch = &disk->batches[1 - disk->gathering];
    const struct disk_purge_part *part = &batch->parts[disk->part];
    disk->purge_op.done = written;
    DISK_COUNT(disk, purge_writes, 1);
    disk_write_at(disk->purge_loop, &disk->purge_op, disk->log_fd, batch->bytes + part->from, part->length,
                  SEGMENT_BLOCK + part->at);
}

/* With the lock. What was gathered is to be written, and others can be gathered. False: it is nothing. */
static bool take_gathered(struct disk *disk)
{
    if (disk->batches[disk->gathering].length == 0)
        return false;
    disk->gathering = 1 - disk->gathering;
    disk->part = 0;
    return true;
}

static struct disk_purging *empty(struct disk_purge_batch *batch)
{
    struct disk_purging *first = batch->first;
    *batch = (struct disk_purge_batch){ .bytes = batch->bytes };
    return first;
}

/* A purge that is not written must not be undone by a restart: so nothing of the store may survive one. */
static bool forget_store(struct disk *disk, const char *why)
{
    if (!atomic_exchange(&disk->off, true))
        log_line(LOG_ERROR, "cache disk \"%s\": a purge cannot be written (%s): the store is given up", disk->path,
                 why);
    return disk_files_forget(disk);
}

static void hear(struct letter *letter, struct loop *here)
{
    struct disk_purging *purging = CONTAINER_OF(letter, struct disk_purging, letter);
    (void)here;
    purging->done(purging->argument, purging->kept);
    atomic_fetch_sub(&purging->disk->purges_out, 1); /* its loop runs until then */
    free(purging);
}

static void tell(struct loop *here, struct disk_purging *first, bool kept)
{
    while (first) {
        struct disk_purging *purging = first;
        first = first->next;
        purging->kept = kept;
        purging->letter.deliver = hear;
        if (purging->loop == here)
            hear(&purging->letter, here);
        else
            mailbox_send(here, purging->loop, &purging->letter);
    }
}

/* One write is over. True: another has begun. */
static bool goes_on(struct disk *disk, bool kept)
{
    struct loop *here = disk->purge_loop;
    pthread_mutex_lock(&disk->purge_lock);
    struct disk_purging *first = empty(&disk->batches[1 - disk->gathering]), *lost = NULL;
    if (atomic_load(&disk->off))
        lost = empty(&disk->batches[disk->gathering]);
    bool more = disk->writing = take_gathered(disk);
    pthread_mutex_unlock(&disk->purge_lock);
    if (more)
        write_part(disk);
    tell(here, first, kept);
    tell(here, lost, kept);
    return more;
}

static void written(struct op *op, int32_t result, uint32_t flags)
{
    struct disk *disk = CONTAINER_OF(op, struct disk, purge_op);
    const struct disk_purge_batch *batch = &disk->batches[1 - disk->gathering];
    (void)flags;
    if (FAULT("disk_purge"))
        result = -EIO;
    bool kept = result == (int32_t)batch->parts[disk->part].length;
    if (kept && !atomic_load(&disk->off) && ++disk->part < batch->part_count) {
        write_part(disk);
        return;
    }
    if (!kept || atomic_load(&disk->off))
        kept = forget_store(disk, result < 0 ? strerror(-result) : "cut short");
    if (!goes_on(disk, kept))
        atomic_fetch_sub(&disk->purges_out, 1);
}

/* With the lock. False: it is to be told at once, not knowing. */
static bool will_be_told(struct disk *disk, struct loop *loop, void (*done)(void *argument, bool kept), void *argument)
{
    struct disk_purge_batch *batch = &disk->batches[disk->gathering];
    struct disk_purging *purging = NULL;
    if (batch->waiting < DISK_PURGE_WAITERS)
        purging = FAULT("disk_memory") ? NULL : malloc(sizeof *purging);
    if (!purging)
        return false;
    *purging =
        (struct disk_purging){ .disk = disk, .loop = loop, .done = done, .argument = argument, .next = batch->first };
    batch->first = purging;
    batch->waiting++;
    atomic_fetch_add(&disk->purges_out, 1);
    return true;
}

void disk_purge_finish(struct disk *disk, struct loop *loop, const struct purge *purge, struct purge_count *count,
                       void (*done)(void *argument, bool kept), void *argument)
{
    uint64_t hash = hash_of(disk, purge);
    bool begins = false, told = done == NULL;
    pthread_mutex_lock(&disk->purge_lock);
    uint64_t sequence = apply(disk, purge, hash, count);
    bool off = atomic_load(&disk->off);
    if (!off) {
        gather(disk, purge, hash, sequence);
        told = told || will_be_told(disk, loop, done, argument);
        begins = !disk->writing && take_gathered(disk);
    }
    if (begins) {
        atomic_fetch_add(&disk->purges_out, 1);
        disk->writing = true;
        disk->purge_loop = loop;
    }
    pthread_mutex_unlock(&disk->purge_lock);
    if (begins)
        write_part(disk);
    if (!told)
        done(argument, off && disk_files_forget(disk));
}

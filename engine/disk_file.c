/*
 * The files of the disk tier: opened and reserved before anything is served, read at the start, sealed at the end. All of it blocks; none of it is
 * for a worker that serves.
 *
 * "weir-cache" is a block that says what the store is, and the log of purges. It is written only when everything else stands, with
 * new random seeds: whatever lies in the volumes then passes no checksum any more. So "begin anew" is one write, and needs nothing erased.
 */
#include "engine/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/bytes.h"
#include "cache/volume_restore.h"
#include "engine/base/map.h"
#include "engine/log.h"

#define STORE_MAGIC 0x7265697763616368ull
#define STORE_VERSION 1u
#define STORE_SUMMED 56u
#define VOLUME_BYTES_WANTED (1ull << 30)
#define SEGMENTS_WANTED 32u
#define LOG_SHARE 256u /* of the size */
#define LOG_BYTES_MOST (32u << 20)
#define SCAN_STEP (4u << 20)

/* Plan --------------------------------------------------------------------------------------------------------- */

/* From the size alone, so that the same configuration finds its files again. */
static void plan_sizes(struct disk *disk, uint64_t bytes)
{
    uint64_t log_bytes =
        u64_min(u64_max(bytes / LOG_SHARE, PURGE_LOG_BYTES_LEAST), LOG_BYTES_MOST) & ~(uint64_t)(SEGMENT_BLOCK - 1);
    uint64_t rest = bytes - log_bytes - SEGMENT_BLOCK;
    disk->volume_count = (uint32_t)u64_min(u64_max(rest / VOLUME_BYTES_WANTED, 1), DISK_VOLUMES_MAX);
    uint64_t each = rest / disk->volume_count;
    disk->segment_bytes = SEGMENT_BYTES_LEAST;
    while (disk->segment_bytes < SEGMENT_BYTES_MOST && disk->segment_bytes * 2ull * SEGMENTS_WANTED <= each)
        disk->segment_bytes *= 2;
    disk->volume_bytes = u64_min(each / disk->segment_bytes, VOLUME_SEGMENTS_MOST) * disk->segment_bytes;
    disk->bytes = SEGMENT_BLOCK + log_bytes + disk->volume_bytes * disk->volume_count;
    disk->log.bytes = log_bytes;
}

/* Opening ------------------------------------------------------------------------------------------------------ */

static bool complain(char why[256], const char *what, const char *path, int error)
{
    snprintf(why, 256, "cannot %s \"%.160s\": %s", what, path, strerror(error));
    return false;
}

static int open_file(const char *path, int flags)
{
    if (FAULT("disk_open")) {
        errno = EIO;
        return -1;
    }
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

/* Exactly so long, and all of it reserved. */
static bool reserve(int fd, uint64_t bytes, const char *path, char why[256])
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return complain(why, "look at", path, errno);
    if (!S_ISREG(stat.st_mode))
        return complain(why, "use", path, EINVAL);
    if ((uint64_t)stat.st_size > bytes && ftruncate(fd, (off_t)bytes) != 0)
        return complain(why, "shorten", path, errno);
    if (FAULT("disk_reserve"))
        return complain(why, "reserve the space of", path, ENOSPC);
    int result;
    do
        result = fallocate(fd, 0, 0, (off_t)bytes);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return true;
    if (errno == EOPNOTSUPP)
        snprintf(why, 256, "cannot reserve the space of \"%.120s\": its file system has no fallocate", path);
    else
        complain(why, "reserve the space of", path, errno);
    return false;
}

static bool open_volume(struct disk *disk, uint32_t number, char why[256])
{
    char path[4200];
    struct disk_volume *volume = &disk->volumes[number];
    snprintf(path, sizeof path, "%s/weir-cache.%u", disk->path, number);
    volume->fd = open_file(path, O_DIRECT);
    if (volume->fd < 0 &&
        errno == EINVAL) { /* a file system without O_DIRECT: the page cache then has what is read, twice */
        volume->fd = open_file(path, 0);
        disk->direct = false;
    }
    if (volume->fd < 0)
        return complain(why, "open", path, errno);
    return reserve(volume->fd, disk->volume_bytes, path, why);
}

static bool open_volumes(struct disk *disk, char why[256])
{
    size_t bytes = disk->volume_count * sizeof *disk->volumes;
    disk->volumes = FAULT("disk_memory") ? NULL : aligned_alloc(CACHE_LINE, bytes);
    if (!disk->volumes)
        return false;
    memset(disk->volumes, 0, bytes);
    for (uint32_t i = 0; i < disk->volume_count; i++) {
        disk->volumes[i].fd = -1;
        disk->volumes[i].disk = disk;
        disk->volumes[i].number = i;
        pthread_mutex_init(&disk->volumes[i].lock, NULL);
    }
    for (uint32_t i = 0; i < disk->volume_count; i++)
        if (!open_volume(disk, i, why))
            return false;
    return true;
}

/* The store's block -------------------------------------------------------------------------------------------- */

static void write_block(const struct disk *disk, char block[SEGMENT_BLOCK])
{
    memset(block, 0, SEGMENT_BLOCK);
    put_u64(block, STORE_MAGIC);
    put_u32(block + 8, STORE_VERSION);
    put_u32(block + 12, disk->volume_count);
    put_u64(block + 16, disk->volume_bytes);
    put_u32(block + 24, disk->segment_bytes);
    put_u32(block + 28, (uint32_t)disk->log.bytes);
    put_u64(block + 32, disk->seed[0]);
    put_u64(block + 40, disk->seed[1]);
    put_u64(block + STORE_SUMMED, siphash13(block, STORE_SUMMED, STORE_MAGIC, STORE_VERSION));
}

/* The same store as is configured: takes its seeds. */
static bool read_block(struct disk *disk, const char block[SEGMENT_BLOCK])
{
    char ours[SEGMENT_BLOCK];
    uint64_t seed[2] = { disk->seed[0], disk->seed[1] };
    disk->seed[0] = get_u64(block + 32);
    disk->seed[1] = get_u64(block + 40);
    write_block(disk, ours);
    if (memcmp(ours, block, SEGMENT_BLOCK) == 0)
        return true;
    disk->seed[0] = seed[0];
    disk->seed[1] = seed[1];
    return false;
}

static bool read_exactly(int fd, void *at, size_t bytes, uint64_t offset)
{
    char *to = at;
    while (bytes > 0) {
        ssize_t got = FAULT("disk_start") ? (errno = EIO, -1) : pread(fd, to, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

static bool write_exactly(int fd, const void *at, size_t bytes, uint64_t offset)
{
    const char *from = at;
    while (bytes > 0) {
        ssize_t put = FAULT("disk_start") ? (errno = ENOSPC, -1) : pwrite(fd, from, bytes, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        from += put;
        bytes -= (size_t)put;
        offset += (uint64_t)put;
    }
    return true;
}

static bool open_store(struct disk *disk, char why[256])
{
    char path[4200], block[SEGMENT_BLOCK];
    snprintf(path, sizeof path, "%s/weir-cache", disk->path);
    disk->log_fd = open_file(path, O_DSYNC);
    if (disk->log_fd < 0)
        return complain(why, "open", path, errno);
    if (flock(disk->log_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(why, 256, "\"%.160s\" belongs to another engine", disk->path);
        return false;
    }
    disk->locked = true;
    uint64_t log_bytes = disk->log.bytes;
    disk->found = read_exactly(disk->log_fd, block, sizeof block, 0) && read_block(disk, block);
    purge_log_init(&disk->log, log_bytes, disk->seed);
    return reserve(disk->log_fd, SEGMENT_BLOCK + log_bytes, path, why);
}

static bool begin_anew(struct disk *disk, char why[256])
{
    char block[SEGMENT_BLOCK];
    write_block(disk, block);
    if (write_exactly(disk->log_fd, block, sizeof block, 0))
        return true;
    return complain(why, "write", disk->path, errno);
}

bool disk_files_open(struct disk *disk, const struct disk_options *options, char why[256])
{
    snprintf(disk->path, sizeof disk->path, "%s", options->path);
    disk->direct = true;
    if (options->bytes < DISK_BYTES_LEAST || options->bytes > DISK_BYTES_MOST || options->workers == 0 ||
        strlen(options->path) >= sizeof disk->path) {
        snprintf(why, 256, "the size of \"%.160s\" is out of range", options->path);
        return false;
    }
    if (mkdir(options->path, 0700) != 0 && errno != EEXIST)
        return complain(why, "make", options->path, errno);
    if (getrandom(disk->seed, sizeof disk->seed, 0) != sizeof disk->seed)
        return complain(why, "make a seed for", options->path, errno);
    plan_sizes(disk, options->bytes);
    return open_store(disk, why) && open_volumes(disk, why) && (disk->found || begin_anew(disk, why));
}

void disk_files_close(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->volume_count && disk->volumes; i++)
        if (disk->volumes[i].fd >= 0)
            close(disk->volumes[i].fd);
    if (disk->log_fd >= 0)
        close(disk->log_fd);
    disk->log_fd = -1;
}

bool disk_files_forget(struct disk *disk)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/weir-cache", disk->path);
    return !FAULT("disk_forget") && (unlink(path) == 0 || errno == ENOENT);
}

/* Restart ------------------------------------------------------------------------------------------------------ */

struct restore {
    struct disk *disk;
    struct past past;
    char *block; /* one block */
    char *bytes; /* a segment */
};

static bool take_purge(void *argument, const struct purge *purge, uint64_t hash, uint64_t sequence)
{
    struct restore *restore = argument;
    struct purge_count ignored = { 0 };
    if (purge->kind == PURGE_URL)
        return past_add(&restore->past,
                        &(struct past_purge){ .hash = hash, .sequence = sequence, .soft = purge->soft });
    volume_purges_add(&restore->disk->purges, purge, hash, sequence);
    for (uint32_t i = 0; purge->kind == PURGE_ALL && i < restore->disk->volume_count; i++)
        volume_purge(restore->disk->volumes[i].volume, purge, hash, sequence, &ignored);
    return true;
}

/* False: what was purged is not known, so nothing is to be used. */
static bool restore_purges(struct restore *restore)
{
    struct disk *disk = restore->disk;
    char *bytes = disk_block_memory(disk->log.bytes);
    bool well = bytes && read_exactly(disk->log_fd, bytes, disk->log.bytes, SEGMENT_BLOCK) &&
                purge_log_read(&disk->log, bytes, take_purge, restore);
    free(bytes);
    past_sort(&restore->past);
    volume_purges_raise_floor(&disk->purges, disk->log.floor);
    for (uint32_t i = 0; i < disk->volume_count; i++)
        volume_raise_floor(disk->volumes[i].volume, disk->log.floor);
    return well;
}

struct found_segment {
    uint64_t sequence;
    uint32_t number;
};

static int by_sequence(const void *a, const void *b)
{
    const struct found_segment *one = a, *other = b;
    return (one->sequence > other->sequence) - (one->sequence < other->sequence);
}

static uint32_t find_segments(struct restore *restore, const struct disk_volume *volume, struct found_segment *found)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < volume->volume->segment_count; i++) {
        struct segment_id id = volume_segment_id(volume->volume, i);
        if (read_exactly(volume->fd, restore->block, SEGMENT_BLOCK, id.base) &&
            segment_read_header(&id, restore->block))
            found[count++] = (struct found_segment){ .sequence = id.sequence, .number = i };
    }
    qsort(found, count, sizeof *found, by_sequence);
    return count;
}

static bool restore_sealed(struct restore *restore, struct disk_volume *volume, uint32_t segment)
{
    uint32_t count, whole = volume->volume->segment_bytes;
    struct segment_id id = volume_segment_id(volume->volume, segment);
    if (!read_exactly(volume->fd, restore->block, SEGMENT_BLOCK, id.base + whole - SEGMENT_BLOCK) ||
        !segment_read_tail(&id, whole, restore->block, &count))
        return false;
    uint32_t bytes = segment_footer_bytes(count);
    return read_exactly(volume->fd, restore->bytes, bytes, id.base + whole - bytes) &&
           volume_restore_footer(volume->volume, segment, restore->bytes, count, &restore->past);
}

/* So that the next restart finds it sealed. */
static void seal_found(struct disk_volume *volume, uint32_t segment, const struct scan *scan)
{
    struct writer *writer = &volume->writer;
    if (writer_adopt(writer, segment, scan->entries, scan->count) && writer_can_seal(writer, scan->end))
        disk_files_seal(volume);
    writer->open = false;
}

static void restore_open(struct restore *restore, struct disk_volume *volume, uint32_t segment)
{
    struct scan scan;
    uint32_t length = 0, whole = volume->volume->segment_bytes;
    scan_begin(&scan, volume->volume, segment, &restore->past);
    do {
        uint32_t step = (uint32_t)u64_min(SCAN_STEP, whole - length);
        if (step == 0 || !read_exactly(volume->fd, restore->bytes + length, step, scan.id.base + length))
            break;
        length += step;
    } while (scan_continue(&scan, restore->bytes, length));
    seal_found(volume, segment, &scan);
    scan_release(&scan);
}

static bool restore_volume(struct restore *restore, struct disk_volume *volume)
{
    uint32_t segments = volume->volume->segment_count;
    struct found_segment *found = FAULT("disk_memory") ? NULL : calloc(segments, sizeof *found);
    uint32_t count = found ? find_segments(restore, volume, found) : 0;
    for (uint32_t i = 0; i < count; i++) {
        volume_found(volume->volume, found[i].number, found[i].sequence);
        if (!restore_sealed(restore, volume, found[i].number))
            restore_open(restore, volume, found[i].number);
    }
    free(found);
    return found != NULL;
}

/* All volumes go on from the highest number that any of them or the log knows. */
static void settle_sequence(struct disk *disk)
{
    uint64_t most = disk->log.last;
    for (uint32_t i = 0; i < disk->volume_count; i++)
        most = u64_max(most, disk->volumes[i].volume->purged);
    atomic_store(&disk->sequence, most);
    for (uint32_t i = 0; i < disk->volume_count; i++)
        disk->volumes[i].volume->purged = most;
}

void disk_files_restore(struct disk *disk)
{
    struct restore restore = { .disk = disk };
    if (!disk->found)
        return;
    restore.block = disk_block_memory(SEGMENT_BLOCK);
    restore.bytes = disk_block_memory(disk->segment_bytes);
    bool well = restore.block && restore.bytes && restore_purges(&restore);
    for (uint32_t i = 0; well && i < disk->volume_count; i++)
        well = restore_volume(&restore, &disk->volumes[i]);
    if (!well) { /* what was purged is not known: nothing is used, now or after another start */
        log_line(LOG_ERROR, "cache disk \"%s\": it cannot be read at the start, and is not used", disk->path);
        atomic_store(&disk->off, true);
        disk_files_forget(disk);
    }
    settle_sequence(disk);
    past_release(&restore.past);
    free(restore.block);
    free(restore.bytes);
}

/* What is staged is whole when no record is under way. */
void disk_files_seal(struct disk_volume *volume)
{
    struct writer *writer = &volume->writer;
    struct writer_batch batch;
    if (!writer->open || writer_busy(writer) || writer->sent)
        return;
    if (!writer->sealing)
        writer_seal(writer);
    while (writer->open && writer_batch(writer, &batch)) {
        disk_late_block();
        if (!write_exactly(volume->fd, batch.bytes, batch.length, batch.at))
            return;
        writer_written(writer);
    }
}

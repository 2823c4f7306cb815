/*
 * disk: the cache's second tier: stored responses that were used more than once, in files, and what a restart finds there.
 *
 * The store is a folder: "weir-cache" (what it is, its seeds, the log of purges) and "weir-cache.0" and on, its volumes (cache/volume.h), whose number and
 * size follow from the size that was configured and nothing else. All of it is reserved (fallocate) before the first byte is written, so it never
 * grows. A folder belongs to one engine at a time (flock). Files of another size or version are begun anew.
 *
 * Who does what. Any worker looks into the index and reads, each on its own ring: what lies there proves itself by its checksums, so nobody has to
 * be asked, and a segment that is overwritten meanwhile reads as a miss. One worker writes a volume (number % workers). Locks are the volume's
 * and the purges', held for the length of an operation in memory; the order is home, purges, volume.
 *
 * Nothing waits for a disk longer than DISK_WAIT_MS, and not at all while it was slow in the last DISK_SLOW_MS or too much is under way. Whatever fails
 * is a miss, and counted. A segment with errors is given up, a volume after DISK_ERRORS_MAX in a row, with a line in the log.
 *
 * Purges. Those who purge call disk_purge_begin, then homes_purge, then disk_purge_finish, and acknowledge when that says so: what was read before
 * the beginning does not get into memory any more (cache_complete sees the purge), what was admitted before the end does not get into the index.
 * The log is written by one at a time; what comes meanwhile waits for the next write, and that is bounded (disk_purge.c).
 *
 * The end. A disk that hangs keeps reads and writes, and the memory for them, with the kernel: the process waits for the deadline of draining and a little
 * more, says so, and ends without giving anything back (server.c). A disk that the kernel itself waits for when a process ends is beyond this.
 */
#ifndef WEIR_DISK_H
#define WEIR_DISK_H

#include "cache/purge_log.h"
#include "cache/volume_purges.h"
#include "cache/volume_write.h"
#include "engine/homes.h"
#include "engine/loop.h"

#define DISK_BYTES_LEAST (16ull << 20)
#define DISK_BYTES_MOST (2ull << 40)
#define DISK_VOLUMES_MAX 16u
#define DISK_WAIT_MS 200u   /* a request waits no longer */
#define DISK_SLOW_MS 1000u  /* after that nobody reads there for so long */
#define DISK_WRITE_MS 100u  /* how long admitted objects lie at most before they are written, when nothing is in the way */
#define DISK_HURRY_MS 10u   /* the same while many come */
#define DISK_QUEUE 1024u    /* objects of a volume that wait to be written */
#define DISK_QUEUE_BYTES (4u << 20) /* and their bytes at most (disk_set_memory), which cannot be evicted meanwhile; one may be larger */
#define DISK_LOADS 32u      /* reads under way, of a worker */
#define DISK_READ_BYTES (256u * 1024u) /* of one; a worker's buffers are 8 MiB at most, taken when first needed */
#define DISK_ERRORS_MAX 8u
#define DISK_PURGE_BYTES (64u * 1024u) /* of the log's entries that wait while others are written: a thousand URLs */
#define DISK_PURGE_WAITERS 4096u       /* who want to be told of them */

struct disk_item {
    struct object *object; /* with a reference */
    struct home *home;
    uint64_t stamp;
};

struct disk_volume {
    pthread_mutex_t lock;
    struct disk *disk;
    struct volume *volume;
    uint32_t number;
    int fd;
    _Atomic bool off;               /* given up: neither read nor written */
    _Atomic uint64_t slow_until_ms; /* not read before */
    _Atomic uint32_t errors;        /* in a row */
    struct disk_item queue[DISK_QUEUE]; /* ring, under the lock */
    uint32_t queue_first, queue_count;
    uint64_t queue_bytes;
    /* The owner's. */
    struct disk_side *owner;
    struct writer writer;
    struct op op;
    struct disk_item current, held; /* under way; the next, for which there was no room */
    uint32_t sent;
} __attribute__((aligned(CACHE_LINE)));

/* Purges on their way into the log, all in one write, or two where the log begins anew. */
struct disk_purge_batch {
    char *bytes;     /* DISK_PURGE_BYTES */
    uint32_t length;
    uint32_t part_count;
    struct disk_purge_part {
        uint64_t at;           /* in the log */
        uint32_t from, length; /* in bytes */
    } parts[2];
    char *widened;   /* the entry that stands for what had no room; NULL: everything had */
    uint64_t widened_at;
    struct disk_purging *first; /* who want to be told */
    uint32_t waiting;
};

/* Since the start, for the process; relaxed. */
/* clang-format off */
#define DISK_COUNT_ROWS(X)                                                                        \
    X(loads,       "reads that a request waited for")                                             \
    X(loaded,      "of them, objects found and put into memory")                                  \
    X(slow,        "of them, not waited for any longer")                                          \
    X(busy,        "reads not begun: too many under way, or the disk was slow a moment ago")      \
    X(read_bytes,  "bytes read")                                                                  \
    X(admitted,    "objects taken for writing")                                                   \
    X(dropped,     "objects not taken: too much waits to be written")                             \
    X(written,     "objects written")                                                             \
    X(write_bytes, "bytes written")                                                               \
    X(purges,      "purges for the log")                                                          \
    X(purge_writes, "writes that they took")                                                      \
    X(purges_widened, "of them, kept as a purge of everything: too much waited to be written")   \
    X(corrupt,     "records that did not pass their checksum, those overwritten meanwhile too")   \
    X(failed,      "reads and writes that failed")
/* clang-format on */
struct disk_counts {
#define DISK_COUNT_AS_MEMBER(name, text) _Atomic uint64_t name;
    DISK_COUNT_ROWS(DISK_COUNT_AS_MEMBER)
};

struct disk {
    char path[4096];
    uint64_t bytes;   /* of all files */
    uint64_t seed[2]; /* of hashes and checksums; the homes' seed has to be the same, since objects carry hashes */
    uint32_t volume_count, workers;
    struct disk_volume *volumes;
    uint32_t segment_bytes;
    uint64_t queue_bytes_max; /* of a volume */
    uint64_t volume_bytes;
    int log_fd;
    bool direct;   /* O_DIRECT was had */
    bool locked;   /* the folder is ours */
    bool found;    /* the files were there, and are gone on with */
    uint64_t restored, restore_us; /* objects in the index after the start, and how long it took */
    pthread_mutex_t purge_lock;
    struct volume_purges purges;
    struct purge_log log;
    struct disk_purge_batch batches[2]; /* one is gathered, the other written; these, under the lock: */
    uint32_t gathering;           /* which; moved on by who begins a write */
    bool writing;
    struct op purge_op;           /* these three are the writing loop's */
    struct loop *purge_loop;
    uint32_t part;
    _Atomic uint64_t sequence;    /* of purges */
    _Atomic uint32_t purges_out;  /* the write, if one is under way, and who has not been told */
    _Atomic bool off;
    struct disk_counts counts;
};

struct disk_options {
    const char *path; /* a folder; it is made if its parent is there */
    uint64_t bytes;
    uint32_t workers;
};
/*
 * At the start, before workers: blocks while it reads. NULL: why says what is wrong; the engine is to go on without, and say so. What is purged until the
 * next start is then not known here, so what is in the folder is given up, if it is this engine's.
 */
struct disk *disk_open(const struct disk_options *options, char why[256]);
/* Before workers, too: how large the cache's memory is, of which what waits to be written takes a 16th at most. */
void disk_set_memory(struct disk *disk, uint64_t bytes);
/* When no loop that used it runs any more: open segments are sealed. */
void disk_close(struct disk *disk);
/* The same, but not for longer than that (CLOCK_REALTIME). False: it is still at it, on a thread of its own, and the process is to end without it. */
bool disk_close_until(struct disk *disk, const struct timespec *until);

/* A worker's part; on its thread. NULL: no memory. */
struct disk_side;
struct disk_side *disk_side_new(struct disk *disk, struct loop *loop, struct homes *homes, uint32_t worker);
/* No more reads and writes begin; those who wait are not told. */
void disk_side_stop(struct disk_side *side);
bool disk_side_quiet(const struct disk_side *side); /* nothing of it is with the kernel: its loop may end */
void disk_side_free(struct disk_side *side);

/* Reading ------------------------------------------------------------------------------------------------------ */

/* Is something of that key probably there? For a miss in memory; any thread; a lock for a look into the index. */
bool disk_has(struct disk *disk, const struct cache_key *key);

struct disk_wait {
    const struct cache_key *key;      /* these three stay until done or disk_leave */
    const struct request *request;
    const struct cache_rule *rule;
    /* In a later turn. found: cache_find finds it now (unless it was purged or evicted since). */
    void (*done)(struct disk_wait *wait, bool found);
    struct disk_load *load;           /* NULL: nothing is under way */
};
/* Brings the object that the request selects into its home. False: it is not there, or the disk has no time: done is not called. */
bool disk_load(struct disk_side *side, struct disk_wait *wait);
void disk_leave(struct disk_wait *wait); /* done is not called any more. No-op when nothing is under way */

/* Writing ------------------------------------------------------------------------------------------------------ */

/*
 * For an object used a second time, found by cache_find under this hold of the home's lock: it is written if it is not there already and nothing is in the
 * way. Takes a reference until then. Any thread.
 */
void disk_admit(struct disk *disk, struct home *home, struct object *object);
/* Under the home's lock, after cache_complete or cache_freshen stored it: what the disk has of this variant is older, and not to come back. */
void disk_replaced(struct disk *disk, const struct object *object);

/* Purging ------------------------------------------------------------------------------------------------------ */

/* See above. Any thread. Counts what shows at once: by URL, and everything. */
void disk_purge_begin(struct disk *disk, const struct purge *purge, struct purge_count *count);
/*
 * done (may be NULL) is called on the loop once the purge would outlive a restart; kept false: it may not, since the disk failed and its files
 * cannot be removed, or since more wait than can be told. Called before this returns where the store is off already. No loop may end while disk->purges_out.
 */
void disk_purge_finish(struct disk *disk, struct loop *loop, const struct purge *purge, struct purge_count *count, void (*done)(void *argument, bool kept),
                       void *argument);

/* Seeing ------------------------------------------------------------------------------------------------------- */

struct disk_numbers {
    uint64_t bytes_max;         /* of the files */
    uint64_t objects, bytes;    /* that can be found */
    uint32_t volumes, volumes_off, segments_off;
};
struct disk_numbers disk_numbers(struct disk *disk);

/* Between the files of disk ------------------------------------------------------------------------------------- */

struct disk_load {
    struct op op;
    struct timer timer;
    struct disk_side *side;
    struct disk_wait *wait;  /* NULL: nobody waits any more */
    struct disk_load *next;  /* free */
    char *buffer;            /* DISK_READ_BYTES */
    struct disk_volume *volume;
    uint64_t hash;
    struct volume_place places[VOLUME_VARIANTS];
    uint32_t place_count, place; /* the one that is read */
    uint32_t window_at, window;  /* in the segment: what the buffer holds */
    struct home *home;
    uint64_t sequence;       /* of the home's purges when it began */
    struct object *object;   /* being filled */
    uint64_t content_length, done;
    uint32_t chunk_at;       /* in the segment */
};

struct disk_side {
    struct disk *disk;
    struct loop *loop;
    struct homes *homes;
    uint32_t worker;
    struct timer timer; /* writes what waits */
    struct disk_load loads[DISK_LOADS], *loads_free;
    uint32_t loads_made;
    bool stopped;
};
#define DISK_COUNT(disk, name, n) atomic_fetch_add_explicit(&(disk)->counts.name, (n), memory_order_relaxed)

struct disk_volume *disk_volume_of(struct disk *disk, uint64_t hash);
void disk_volume_failed(struct disk_volume *volume, const char *what, int error); /* counts, and may switch it off */
void *disk_block_memory(size_t bytes); /* aligned; free() */

/* disk_purge.c */
bool disk_purges_init(struct disk *disk);
void disk_purges_release(struct disk *disk);

/* disk_late.c: op_read and op_write; what blocks. In builds with fault points so much later, or never, as WEIR_DISK_LATE_MS says (0: never);
 * WEIR_DISK_LATE_WHAT=end: only what blocks. */
#ifdef WEIR_FAULTS
void disk_read_at(struct loop *loop, struct op *op, int fd, void *at, size_t length, uint64_t offset);
void disk_write_at(struct loop *loop, struct op *op, int fd, const void *at, size_t length, uint64_t offset);
void disk_late_block(void);
#else
static inline void disk_read_at(struct loop *loop, struct op *op, int fd, void *at, size_t length, uint64_t offset)
{
    op_read(&loop->ring, op, fd, at, length, offset);
}
static inline void disk_write_at(struct loop *loop, struct op *op, int fd, const void *at, size_t length, uint64_t offset)
{
    op_write(&loop->ring, op, fd, at, length, offset);
}
static inline void disk_late_block(void)
{
}
#endif

/* disk_file.c: everything that blocks. */
bool disk_files_open(struct disk *disk, const struct disk_options *options, char why[256]);
void disk_files_restore(struct disk *disk);
void disk_files_seal(struct disk_volume *volume);
bool disk_files_forget(struct disk *disk); /* a restart will begin anew; false: cannot be done */
void disk_files_close(struct disk *disk);

/* disk_write.c */
void disk_write_some(struct disk_volume *volume);
void disk_write_tick(struct timer *timer, uint64_t now_ms);

#endif

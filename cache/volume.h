/*
 * volume: what is on one file of segments: the index, the order in which segments are overwritten, and the purges that concern it.
 *
 * Segments are a log: the one that was begun first is overwritten first. An entry of the index is 24 bytes (and 4 in its bucket), found by 32 bits of the
 * URL's hash and 20 of the key's; it says "probably there", and what is read there proves it or not (segment.h). What is not true any more is
 * forgotten by whoever finds out.
 *
 * Purges. Each has a number of the whole store that grows; a record carries the highest one that was known not to concern it (`stamp`). One that names a
 * URL is applied to the index at once; others when a record is read (volume_purges.h). What is being written meanwhile is looked at when it is added.
 *
 * The owner holds the volume's lock around every call. Memory is taken in volume_new only.
 */
#ifndef WEIR_CACHE_VOLUME_H
#define WEIR_CACHE_VOLUME_H

#include "cache/cache.h"
#include "cache/segment.h"
#include "engine/base/check.h"

#define VOLUME_SEGMENTS_LEAST 8u
#define VOLUME_SEGMENTS_MOST 4096u /* so that a place in the file, in units, has 32 bits */
#define VOLUME_VARIANTS 4u     /* of one key that are kept and tried */
#define VOLUME_BYTES_PER_ENTRY 4096u /* as many entries are there; where objects are smaller, the oldest segments are given up early */
#define VOLUME_RECENT 512u     /* purges by URL that may concern what is being written */
#define VOLUME_PENDING 4096u   /* counters of what is being written, by hash */

struct volume_segment {
    uint64_t sequence;    /* 0: empty; UINT64_MAX: not to be used any more */
    uint32_t first;       /* chain of entries; 0: none */
    uint32_t errors;
};

struct volume_entry {
    uint32_t hash; /* upper half of the URL's */
    uint32_t tags;
    uint32_t at;   /* in the file, in SEGMENT_UNITs; 0: taken out of its bucket */
    uint32_t facts; /* units 20, edition 11, soft 1 */
    uint32_t next; /* in the bucket, newest first; or in the free list */
    uint32_t next_in_segment;
};

/* A variant of a URL that is not to be found where its stamp is below `sequence`. */
struct volume_recent {
    uint64_t hash, sequence;
    uint32_t tags; /* which variant; 0 and all: every one */
    bool all, soft;
};

struct volume {
    uint64_t bytes;
    uint32_t segment_bytes, segment_count;
    uint64_t seed[2];
    uint32_t *buckets; /* numbers of entries; 0: none */
    uint32_t bucket_count, entry_cap, entry_made, entry_free, entry_count /* taken */;
    struct volume_entry *entries; /* from 1 */
    struct volume_segment *segments;
    uint64_t sequence_next; /* of segments */
    uint32_t open;          /* the segment that is being written; UINT32_MAX: none */

    uint64_t purged; /* number of the last purge that came here */
    uint64_t floor;  /* records with a lower stamp are not added */
    struct volume_recent *recent; /* ring */
    uint32_t recent_count;
    uint64_t recent_lost; /* the highest number that fell out of it */
    uint16_t *pending;    /* records admitted and not settled, by the low bits of their hash */

    uint64_t objects, object_bytes; /* that can be found */
    uint64_t dropped;               /* not to be found any more since the start: overwritten, purged, replaced */
};

/* bytes: a multiple of segment_bytes. NULL: no memory, or out of range. */
struct volume *volume_new(uint64_t bytes, uint32_t segment_bytes, const uint64_t seed[2]);
void volume_free(struct volume *volume);
static inline uint32_t volume_record_bytes_max(const struct volume *volume) { return volume->segment_bytes / 2; }
static inline struct segment_id volume_segment_id(const struct volume *volume, uint32_t segment)
{
    return (struct segment_id){ .seed = { volume->seed[0], volume->seed[1] },
                                .base = (uint64_t)segment * volume->segment_bytes,
                                .sequence = volume->segments[segment].sequence };
}

/* Finding ------------------------------------------------------------------------------------------------------ */

struct volume_place {
    struct segment_id id;
    uint32_t segment;
    uint32_t at, bytes; /* in the segment */
    uint32_t tags;
    bool soft;          /* its URL was purged softly */
};
/* Where records of the key probably are, newest first; answers how many. */
uint32_t volume_find(const struct volume *volume, uint64_t hash, uint32_t tags, struct volume_place places[VOLUME_VARIANTS]);
/* It is not what it should be, or not to be read: no longer found. No-op when it is gone already. */
void volume_forget(struct volume *volume, uint64_t hash, const struct volume_place *place);
/* The segment could not be read. After VOLUME_SEGMENT_ERRORS it is given up. */
#define VOLUME_SEGMENT_ERRORS 3u
void volume_unreadable(struct volume *volume, const struct volume_place *place);

/* Writing ------------------------------------------------------------------------------------------------------ */

/*
 * Is it worth writing: not there in this edition, or there but soon to be overwritten? Then *stamp is its stamp: its owner knows at this moment that no purge
 * concerns it; and volume_settle is called once, after volume_add or instead of it.
 */
bool must_use volume_admit(struct volume *volume, uint64_t hash, uint32_t tags, uint16_t edition, uint64_t *stamp);
void volume_settle(struct volume *volume, uint64_t hash);
static inline bool volume_is_pending(const struct volume *volume, uint64_t hash) { return volume->pending[hash % VOLUME_PENDING] > 0; }
/* The next segment to write: the oldest. UINT32_MAX: all are given up. What is in it is to be taken out first, then it is begun. */
uint32_t volume_oldest(const struct volume *volume);
/* Takes out up to `limit` entries. True: it is empty. */
bool volume_empty(struct volume *volume, uint32_t segment, uint32_t limit);
struct segment_id volume_begin(struct volume *volume, uint32_t segment);
/* It could not be written: what is in it is not used, nor it. */
void volume_give_up(struct volume *volume, uint32_t segment);
/* The record stands there now. It takes the place of others of its variant. False: a purge concerns it, or there is no room in the index. */
bool volume_add(struct volume *volume, uint32_t segment, const struct segment_entry *entry, bool soft);

/* Purging ------------------------------------------------------------------------------------------------------ */

/*
 * By URL (hash: of it), or everything: in force when it returns, and counted. Others only leave their number here. sequence: of the store, higher than
 * any before.
 */
void volume_purge(struct volume *volume, const struct purge *purge, uint64_t hash, uint64_t sequence, struct purge_count *count);
/* A newer response of this variant was stored: the one here is not to come back. */
void volume_replaced(struct volume *volume, uint64_t hash, uint32_t tags, uint64_t sequence);
void volume_raise_floor(struct volume *volume, uint64_t floor);
/* What a restart found of a segment; its entries are added after that. */
void volume_found(struct volume *volume, uint32_t segment, uint64_t sequence);

#endif

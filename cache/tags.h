/*
 * tags: what is known of each tag and each host that stored objects have: how many they are, how large, and when it was last purged.
 *
 * A record is found by a keyed hash of 64 bits, which counts as the tag itself. It exists while objects refer to it. An object that is met later
 * compares its own sequence with the record's: so a purge is one number written, however many objects it concerns. Records stand in small slabs of
 * the home's pages; there is a cap on them, and an object that needs one more is not stored.
 */
#ifndef WEIR_CACHE_TAGS_H
#define WEIR_CACHE_TAGS_H

#include "cache/pages.h"

/* When something was purged, as sequence numbers; 0: never. */
struct purged {
    uint64_t hard, soft;
};

struct tag {
    uint64_t hash;
    uint32_t next; /* short reference, in its bucket or among the free */
    uint32_t objects; /* that refer to it, those too that a purge concerns and that were not met yet */
    uint64_t live, bytes; /* of those that its last hard purge does not concern */
    struct purged purged;
    uint32_t number; /* in its slab */
};

/* An object of so many bytes comes; one that is known to have outlived the purges up to sequence goes. */
static inline void tag_enter(struct tag *tag, uint64_t bytes)
{
    tag->objects++;
    tag->live++;
    tag->bytes += bytes;
}
static inline void tag_leave(struct tag *tag, uint64_t bytes, uint64_t sequence)
{
    tag->objects--;
    if (tag->purged.hard > sequence)
        return; /* the purge has counted it */
    tag->live--;
    tag->bytes -= bytes;
}

struct tag_slab;
struct tags {
    struct pages *pages;
    uint32_t *buckets;
    uint32_t mask;
    uint32_t records, records_most;
    struct tag_slab *free; /* slabs with room */
};

size_t tags_bytes(uint64_t region_bytes);
void tags_init(struct tags *tags, void *buckets, uint64_t region_bytes, struct pages *pages);
struct tag *tags_find(const struct tags *tags, uint64_t hash);
/* The record, made if need be. NULL: at the cap, or no memory. */
struct tag *tags_get(struct tags *tags, uint64_t hash);
/* Without objects: its memory goes back. */
void tags_drop(struct tags *tags, struct tag *tag);

#endif

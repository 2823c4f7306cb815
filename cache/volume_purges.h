/*
 * volume_purges: those by tag, host, prefix and for everything that are in force for what lies on a disk, where nobody can look at all of it at once: a record
 * is judged when it is read, by its stamp (segment.h) and what its head says.
 *
 * One for the whole store, under its owner's lock. What there is no room to keep becomes the floor: records with a lower stamp are not
 * used. So a purge is never forgotten; at worst more goes than was asked for.
 */
#ifndef WEIR_CACHE_VOLUME_PURGES_H
#define WEIR_CACHE_VOLUME_PURGES_H

#include "cache/cache.h"
#include "cache/segment.h"

#define VOLUME_PURGES_NAMES 65536u   /* tags and hosts; 24 bytes each */
#define VOLUME_PURGES_PREFIXES 512u

struct volume_purges_name {
    uint64_t key; /* of tag or host; 0: free */
    uint64_t hard, soft; /* numbers of the last such purges */
};
struct volume_purges_prefix {
    struct slice text; /* owned */
    uint64_t hard, soft;
};
struct volume_purges {
    uint64_t seed[2];
    struct volume_purges_name *names; /* VOLUME_PURGES_NAMES * 2 places */
    uint32_t name_count;
    struct volume_purges_prefix *prefixes;
    uint32_t prefix_count;
    uint64_t floor, floor_soft;
};

bool must_use volume_purges_init(struct volume_purges *purges, const uint64_t seed[2]); /* false: no memory */
void volume_purges_release(struct volume_purges *purges);

/* In force when it returns. hash: of a tag, as objects have it. Not for PURGE_URL. */
void volume_purges_add(struct volume_purges *purges, const struct purge *purge, uint64_t hash, uint64_t sequence);
void volume_purges_raise_floor(struct volume_purges *purges, uint64_t floor);

enum volume_purges_verdict { VOLUME_PURGES_KEEP, VOLUME_PURGES_STALE, VOLUME_PURGES_GONE };
enum volume_purges_verdict volume_purges_judge(const struct volume_purges *purges, const struct record *record);

#endif

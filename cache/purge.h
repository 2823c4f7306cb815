/*
 * purge: what was purged, as sequence numbers that objects are compared with.
 *
 * Each purge has the next number. An object remembers the number of the last purge that it is known to have outlived; one that remembers the newest is
 * sound at the cost of a compare, any other is judged first. So a purge writes one number (of all, of a host's record, of a tag's) or one line of
 * the prefixes' list, and what it concerns goes when it is met: asked for, evicted, or swept.
 *
 * What was asked for before a purge and comes after it (a fill) is not in any record yet. For these there are echoes: tables of numbers by hash of the
 * URL, the host or the tag, in which a later purge may cover an earlier one. A fill is stored only if the numbers at all of its places are no
 * newer than itself. So an echo errs to one side only: a response is not stored though it might have been, one time in some thousand.
 */
#ifndef WEIR_CACHE_PURGE_H
#define WEIR_CACHE_PURGE_H

#include "cache/cache.h"
#include "cache/tags.h"

#define PREFIXES_MOST 64u
#define PREFIX_BYTES_HERE 256u

enum purge_verdict { PURGE_OUTLIVED, PURGE_STALE, PURGE_DEAD };

struct prefix {
    uint64_t sequence;
    struct purge_count met;
    bool soft;
    uint32_t length;
    char *run; /* of the pages, with its text; NULL: it stands here */
    char here[PREFIX_BYTES_HERE];
};

struct purges {
    uint64_t sequence;     /* of the newest; begins at 1 */
    uint64_t met_late;     /* of the newest whose objects go as they are met: all kinds but URL */
    uint64_t host_latest, tag_latest;
    struct tag all; /* the record that all objects have */
    struct purged dropped; /* of prefixes that are no longer in the list: for fills */
    struct prefix prefixes[PREFIXES_MOST]; /* oldest first */
    uint32_t prefix_count;
    struct purged *echoes;
    uint32_t echo_mask;
    uint64_t seed[2];

    /* The sweep: a walk over the buckets that began at that number. */
    uint64_t pass_sequence, swept_sequence; /* all in the index has been judged by the latter */
    uint32_t cursor;
};

/* Who is judged. */
struct purge_subject {
    struct slice key;
    uint32_t url_length;
    uint64_t url_hash, host_hash;
    const uint64_t *tags; /* NULL with tag_count 0 and tags_known false: any may come */
    uint32_t tag_count;
    bool tags_known;
    uint64_t sequence;
};

size_t purges_bytes(uint64_t region_bytes);
void purges_init(struct purges *purges, void *echoes, uint64_t region_bytes, const uint64_t seed[2]);

uint64_t purge_hash_of_tag(const struct purges *purges, struct slice tag);
uint64_t purge_hash_of_host(const struct purges *purges, struct slice authority);
struct slice purge_authority(struct slice key); /* the second line of a key's text */
struct purge_subject purge_subject_of(const struct object *object);

/* What is in the index. */
enum purge_verdict purge_judge(const struct purges *purges, const struct tags *tags, const struct purge_subject *subject);
/* What was asked for at subject->sequence, and is not in the index. */
enum purge_verdict purge_judge_fill(const struct purges *purges, const struct tags *tags, const struct purge_subject *subject);
/* A record of tags goes: fills are to be judged by what it knew. */
void purge_echo(struct purges *purges, uint64_t hash, struct purged purged);
/* Counts an object for the prefix purges that concern it and that it was not yet judged by. */
void purge_meet(struct purges *purges, const struct object *object);

#endif

/*
 * volume_restore: the index after a restart, from footers, and from the records of segments that were not sealed.
 *
 * Segments are given in the order in which they were begun, so that later records of a variant replace earlier ones. The purges of the log
 * (purge_log.h) come first: those by tag, host and prefix into the volume, those by URL into `past`.
 */
#ifndef WEIR_CACHE_VOLUME_RESTORE_H
#define WEIR_CACHE_VOLUME_RESTORE_H

#include "cache/volume.h"

struct past_purge {
    uint64_t hash, sequence;
    bool soft;
};
struct past {
    struct past_purge *list;
    uint32_t count, room;
};
bool must_use past_add(struct past *past, const struct past_purge *purge); /* false: no memory */
void past_sort(struct past *past); /* before it is used */
void past_release(struct past *past);

/* bytes: the footer, segment_footer_bytes(count). volume_found came before. False: it is not what was written, and the segment is to be searched. */
bool volume_restore_footer(struct volume *volume, uint32_t segment, const char *bytes, uint32_t count, const struct past *past);

/* A search from the segment's start, as its bytes are read. */
struct scan {
    struct volume *volume;
    const struct past *past;
    uint32_t segment;
    struct segment_id id;
    uint32_t at;  /* looked at up to here */
    uint32_t end; /* of the last record that stands */
    struct segment_entry *entries; /* what was found, for a footer */
    uint32_t count, room;
};
void scan_begin(struct scan *scan, struct volume *volume, uint32_t segment, const struct past *past);
/* bytes: of the segment from its start. True: call again with more; false: nothing more is to be found. */
bool scan_continue(struct scan *scan, const char *bytes, uint32_t length);
void scan_release(struct scan *scan);

#endif

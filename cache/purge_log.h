/*
 * purge_log: purges on a disk, so that a restart knows them: a ring of entries with checksums (SipHash-1-3, as segment.h).
 *
 * An entry is at its place before its purge is acknowledged. The ring is never read while the engine runs, and never tidied: when it is full the
 * oldest entries are overwritten, and a restart then uses no record that is older than the oldest purge it finds (`floor`), since one that concerned
 * it may be gone. Places are given in order; entries may reach the disk in any order, or not at all where the process ended before.
 */
#ifndef WEIR_CACHE_PURGE_LOG_H
#define WEIR_CACHE_PURGE_LOG_H

#include "cache/cache.h"

#define PURGE_LOG_UNIT 64u
#define PURGE_LOG_TEXT_MAX 4096u
#define PURGE_LOG_ENTRY_MAX (PURGE_LOG_UNIT + PURGE_LOG_TEXT_MAX)
#define PURGE_LOG_BYTES_LEAST (256u * 1024u)

struct purge_log {
    uint64_t seed[2];
    uint64_t bytes; /* of the ring; multiple of the unit */
    uint64_t at;    /* the next entry's */
    uint32_t lap;   /* how often it went round */
    uint64_t floor, last; /* found by purge_log_read: as above; the highest number */
};
void purge_log_init(struct purge_log *log, uint64_t bytes, const uint64_t seed[2]);
/* Gives the purge its place. hash: of the URL or tag. Answers bytes in `out`, to be written at *at; 0: its text is too long. */
uint32_t purge_log_write(struct purge_log *log, const struct purge *purge, uint64_t hash, uint64_t sequence, char out[PURGE_LOG_ENTRY_MAX], uint64_t *at);
/* The entry that was last written, and is not on the disk yet, counts for a later purge, too. */
void purge_log_renumber(const struct purge_log *log, char *entry, uint64_t at, uint64_t sequence);
/* Calls `each` for all that count among log->bytes bytes, in no order; false of it ends this with false. */
bool purge_log_read(struct purge_log *log, const char *bytes, bool (*each)(void *argument, const struct purge *purge, uint64_t hash, uint64_t sequence),
                    void *argument);

#endif

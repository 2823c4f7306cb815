/*
 * volume_write: what is written to a volume next: records into batches, batches into a segment, and its footer when it is full.
 *
 * One batch at a time is on its way; the owner says when it has arrived (writer_written) or has not (writer_failed). The writer touches the volume only in
 * calls that say so; all others need no lock. A record that is larger than a batch goes on in the next ones.
 */
#ifndef WEIR_CACHE_VOLUME_WRITE_H
#define WEIR_CACHE_VOLUME_WRITE_H

#include "cache/volume.h"

#define WRITER_BATCH_BYTES (256u * 1024u) /* copied and summed in one turn: some 100 us */

struct writer {
    struct volume *volume;
    char *batch;           /* WRITER_BATCH_BYTES, aligned to a block; the owner's */
    uint32_t batch_at;     /* in the segment */
    uint32_t staged;       /* bytes of the batch */
    uint32_t sent;         /* of them, on their way */
    bool open;
    uint32_t segment;
    struct segment_id id;
    char *entries;         /* of the footer, as it is written */
    uint32_t entry_count, entry_room;
    uint32_t added;        /* of them, in the index */
    const struct object *object; /* whose record is under way */
    struct record_content content;
    uint32_t record_end;
    bool sealing;
    uint64_t footer_sum;
    uint32_t footer_done;
};

void writer_init(struct writer *writer, struct volume *volume, char *batch);
void writer_release(struct writer *writer);

/* With the volume's lock: begins the oldest segment, once it is empty (a few entries a call). False: call again; or all are given up (volume_oldest). */
bool writer_begin(struct writer *writer);
enum writer_put { WRITER_PUT, WRITER_BATCH_FULL, WRITER_SEGMENT_FULL, WRITER_NEVER /* too large for any */ };
/* The object's record, all or its beginning. While writer_busy, the object must stay and nothing else be put. */
enum writer_put writer_put(struct writer *writer, const struct object *object, uint64_t stamp);
static inline bool writer_busy(const struct writer *writer) { return writer->object != NULL; }
/* No more goes into this segment: what follows is its footer. */
void writer_seal(struct writer *writer);

struct writer_batch {
    const char *bytes;
    uint32_t length;
    uint64_t at; /* in the file */
};
/* What is to be written now. False: nothing. */
bool writer_batch(struct writer *writer, struct writer_batch *batch);
/* With the lock: it stands there. Its records can be found from now on. */
void writer_written(struct writer *writer);
/* With the lock: it does not, and the segment is given up. Records that were not written are settled. */
void writer_failed(struct writer *writer);

/* Restart: takes a segment that was not sealed, with the entries that were found in it, so that it can be sealed. False: no memory. */
bool writer_adopt(struct writer *writer, uint32_t segment, const struct segment_entry *entries, uint32_t count);
/* Its footer has room behind `end`. */
bool writer_can_seal(const struct writer *writer, uint32_t end);

#endif

#include "cache/volume_restore.h"

#include <stdlib.h>

#include "cache/bytes.h"
#include "cache/volume_write.h"

/* Behind the last whole record lies one batch at most whose records may be there in parts. */
#define SCAN_GAP_MAX (WRITER_BATCH_BYTES + RECORD_HEAD_MAX)

/* The list with room for one more; NULL: there is no memory, and it stays as it is. */
static void *with_room(void *list, uint32_t count, uint32_t *room, size_t bytes)
{
    if (count < *room)
        return list;
    uint32_t more = *room ? *room * 2 : 64;
    void *larger = FAULT("disk_list") ? NULL : realloc(list, more * bytes);
    if (larger)
        *room = more;
    return larger;
}

/* Purges by URL ------------------------------------------------------------------------------------------------ */

bool past_add(struct past *past, const struct past_purge *purge)
{
    struct past_purge *list = with_room(past->list, past->count, &past->room, sizeof *list);
    if (!list)
        return false;
    past->list = list;
    past->list[past->count++] = *purge;
    return true;
}

static int by_hash(const void *a, const void *b)
{
    const struct past_purge *one = a, *other = b;
    return (one->hash > other->hash) - (one->hash < other->hash);
}

void past_sort(struct past *past)
{
    if (past->count)
        qsort(past->list, past->count, sizeof *past->list, by_hash);
}

void past_release(struct past *past)
{
    free(past->list);
    *past = (struct past){ 0 };
}

static uint32_t first_of(const struct past *past, uint64_t hash)
{
    uint32_t low = 0, high = past->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (past->list[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum verdict { KEEP, STALE, GONE };
static enum verdict judge_past(const struct past *past, const struct segment_entry *entry)
{
    enum verdict verdict = KEEP;
    for (uint32_t i = first_of(past, entry->hash); i < past->count && past->list[i].hash == entry->hash; i++) {
        if (past->list[i].sequence <= entry->stamp)
            continue;
        if (!past->list[i].soft)
            return GONE;
        verdict = STALE;
    }
    return verdict;
}

static void restore_entry(struct volume *volume, uint32_t segment, const struct segment_entry *entry,
                          const struct past *past)
{
    enum verdict verdict = judge_past(past, entry);
    if (verdict != GONE)
        volume_add(volume, segment, entry, verdict == STALE);
    volume->purged =
        u64_max(volume->purged,
                entry->stamp); /* a purge that nobody was told of may have been lost, its number must not come again */
}

/* Segments ----------------------------------------------------------------------------------------------------- */

bool volume_restore_footer(struct volume *volume, uint32_t segment, const char *bytes, uint32_t count,
                           const struct past *past)
{
    struct segment_id id = volume_segment_id(volume, segment);
    const char *entries = segment_read_footer(&id, bytes, count);
    struct segment_entry entry;
    for (uint32_t i = 0; entries && i < count; i++)
        if (segment_read_entry(entries, i, volume->segment_bytes, &entry))
            restore_entry(volume, segment, &entry, past);
    return entries != NULL;
}

void scan_begin(struct scan *scan, struct volume *volume, uint32_t segment, const struct past *past)
{
    *scan = (struct scan){ .volume = volume,
                           .past = past,
                           .segment = segment,
                           .id = volume_segment_id(volume, segment),
                           .at = SEGMENT_BLOCK,
                           .end = SEGMENT_BLOCK };
}

void scan_release(struct scan *scan)
{
    free(scan->entries);
    scan->entries = NULL;
}

static bool content_holds(const struct scan *scan, const struct record *record, const char *bytes)
{
    uint32_t at = scan->at + record->head_bytes, chunk;
    for (uint64_t done = 0; (chunk = record_chunk_bytes(record->content_length, done)) > 0;
         done += chunk - 8, at += chunk)
        if (!record_chunk_holds(&scan->id, at, bytes + at, chunk))
            return false;
    return true;
}

static bool keep(struct scan *scan, const struct record *record)
{
    struct segment_entry *entries = with_room(scan->entries, scan->count, &scan->room, sizeof *entries);
    if (!entries)
        return false;
    scan->entries = entries;
    struct segment_entry *entry = &scan->entries[scan->count++];
    *entry = (struct segment_entry){
        .hash = record->hash,
        .stamp = record->stamp,
        .at = scan->at,
        .bytes = record->bytes,
        .tags = record_tags(scan->volume->seed, record->key, record->vary),
        .edition = record_edition(&record->policy, record->content_length),
    };
    restore_entry(scan->volume, scan->segment, entry, scan->past);
    return true;
}

/* No record begins here: the next batch may. */
static void skip(struct scan *scan)
{
    scan->at = (uint32_t)bytes_align((uint64_t)scan->at + 1, SEGMENT_BLOCK);
}

bool scan_continue(struct scan *scan, const char *bytes, uint32_t length)
{
    uint32_t limit = scan->volume->segment_bytes, needed;
    struct record record;
    while (scan->at < limit && scan->at - scan->end <= SCAN_GAP_MAX) {
        if (scan->at >= length)
            return true;
        enum err e = record_read_head(&scan->id, scan->at, bytes + scan->at, length - scan->at, &record, &needed);
        if (e == ERR_OK && (uint64_t)scan->at + record.bytes > length) {
            needed = record.bytes;
            e = ERR_AGAIN;
        }
        if (e == ERR_AGAIN && (uint64_t)scan->at + needed <= limit)
            return true;
        if (e != ERR_OK) {
            skip(scan);
            continue;
        }
        if (content_holds(scan, &record, bytes)) {
            if (!keep(scan, &record))
                return false;
            scan->end = scan->at + record.bytes;
        }
        scan->at += record.bytes;
    }
    return false;
}

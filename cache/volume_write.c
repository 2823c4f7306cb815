#include "cache/volume_write.h"

#include <stdlib.h>

#include "cache/bytes.h"

#define EVICT_AT_ONCE 2048u /* entries taken out under one hold of the lock */

void writer_init(struct writer *writer, struct volume *volume, char *batch)
{
    *writer = (struct writer){ .volume = volume, .batch = batch };
}

void writer_release(struct writer *writer)
{
    free(writer->entries);
    writer->entries = NULL;
}

static void start_segment(struct writer *writer, uint32_t segment)
{
    writer->segment = segment;
    writer->id = volume_segment_id(writer->volume, segment);
    writer->open = true;
    writer->sealing = false;
    writer->batch_at = writer->staged = writer->sent = 0;
    writer->entry_count = writer->added = 0;
}

bool writer_begin(struct writer *writer)
{
    uint32_t segment = volume_oldest(writer->volume);
    if (segment == UINT32_MAX || !volume_empty(writer->volume, segment, EVICT_AT_ONCE))
        return false;
    volume_begin(writer->volume, segment);
    start_segment(writer, segment);
    segment_write_header(&writer->id, writer->batch);
    writer->staged = SEGMENT_BLOCK;
    return true;
}

/* Records ------------------------------------------------------------------------------------------------------ */

static bool room_for_entry(struct writer *writer)
{
    if (writer->entry_count < writer->entry_room)
        return true;
    uint32_t room = writer->entry_room ? writer->entry_room * 2 : 256;
    char *entries = FAULT("disk_entries") ? NULL : realloc(writer->entries, (size_t)room * FOOTER_ENTRY_BYTES);
    if (!entries)
        return false;
    writer->entries = entries;
    writer->entry_room = room;
    return true;
}

static bool fits_segment(const struct writer *writer, uint32_t at, uint32_t bytes)
{
    uint64_t end = bytes_align((uint64_t)at + bytes, SEGMENT_BLOCK);
    return end + segment_footer_bytes(writer->entry_count + 1) <= writer->volume->segment_bytes;
}

/* Chunks until the batch is full or the record whole. */
static void stage_content(struct writer *writer)
{
    while (writer->content.left && writer->staged + CHUNK_BYTES <= WRITER_BATCH_BYTES)
        writer->staged += record_write_chunk(&writer->id, writer->batch_at + writer->staged, &writer->content,
                                             writer->batch + writer->staged);
    if (writer->content.left)
        return;
    uint32_t end = writer->record_end - writer->batch_at;
    memset(writer->batch + writer->staged, 0, end - writer->staged);
    writer->staged = end;
    writer->object = NULL;
}

enum writer_put writer_put(struct writer *writer, const struct object *object, uint64_t stamp)
{
    uint32_t head, bytes, at = writer->batch_at + writer->staged;
    MUST(writer->open && !writer->object && !writer->sent);
    if (!record_measure(object, volume_record_bytes_max(writer->volume), &head, &bytes))
        return WRITER_NEVER;
    if (writer->staged + head > WRITER_BATCH_BYTES)
        return WRITER_BATCH_FULL;
    if (!fits_segment(writer, at, bytes) || !room_for_entry(writer))
        return WRITER_SEGMENT_FULL;
    struct segment_entry entry = {
        .hash = object->url_hash,
        .stamp = stamp,
        .at = at,
        .bytes = bytes,
        .tags = record_tags(writer->volume->seed, object->key, object->vary),
        .edition = record_edition(&object->policy, object->body ? atomic_load(&object->body->length) : 0),
    };
    segment_write_entry(&entry, writer->entries + (size_t)writer->entry_count++ * FOOTER_ENTRY_BYTES);
    record_write_head(&writer->id, at, object, stamp, writer->batch + writer->staged);
    writer->staged += head;
    writer->record_end = at + bytes;
    writer->object = object;
    record_content_begin(object, &writer->content);
    stage_content(writer);
    return WRITER_PUT;
}

/* The footer --------------------------------------------------------------------------------------------------- */

void writer_seal(struct writer *writer)
{
    MUST(writer->open && !writer->object);
    writer->sealing = true;
    writer->footer_done = 0;
    writer->footer_sum = segment_footer_sum(&writer->id, writer->entries, writer->entry_count);
}

static uint32_t footer_at(const struct writer *writer)
{
    return writer->volume->segment_bytes - segment_footer_bytes(writer->entry_count);
}

static void stage_footer(struct writer *writer)
{
    uint32_t all = segment_footer_bytes(writer->entry_count),
             part = (uint32_t)size_min(all - writer->footer_done, WRITER_BATCH_BYTES);
    writer->batch_at = footer_at(writer) + writer->footer_done;
    segment_write_footer(&writer->id, writer->entries, writer->entry_count, writer->footer_sum, writer->footer_done,
                         part, writer->batch);
    writer->staged = part;
    writer->footer_done += part;
}

/* Batches ------------------------------------------------------------------------------------------------------ */

/* A record under way ends somewhere inside a block: the batch ends before that block, which begins the next batch. */
bool writer_batch(struct writer *writer, struct writer_batch *batch)
{
    MUST(!writer->sent);
    if (!writer->open)
        return false;
    if (writer->staged == 0 && writer->sealing)
        stage_footer(writer);
    uint32_t padded = (uint32_t)bytes_align(writer->staged, SEGMENT_BLOCK);
    if (writer->object)
        padded = writer->staged & ~(SEGMENT_BLOCK - 1);
    else
        memset(writer->batch + writer->staged, 0, padded - writer->staged);
    writer->sent = padded;
    *batch =
        (struct writer_batch){ .bytes = writer->batch, .length = padded, .at = writer->id.base + writer->batch_at };
    return padded > 0;
}

static void settle(struct writer *writer, uint32_t number, bool stands)
{
    struct segment_entry entry;
    MUST(segment_read_entry(writer->entries, number, writer->volume->segment_bytes, &entry));
    if (stands)
        volume_add(writer->volume, writer->segment, &entry, false);
    volume_settle(writer->volume, entry.hash);
}

static bool stands_whole(const struct writer *writer, uint32_t number)
{
    struct segment_entry entry;
    return segment_read_entry(writer->entries, number, writer->volume->segment_bytes, &entry) &&
           entry.at + entry.bytes <= writer->batch_at;
}

void writer_written(struct writer *writer)
{
    uint32_t rest = writer->staged > writer->sent ? writer->staged - writer->sent : 0;
    bool footer = writer->sealing && writer->footer_done;
    memmove(writer->batch, writer->batch + writer->sent, rest);
    writer->batch_at += writer->sent;
    writer->staged = rest;
    writer->sent = 0;
    while (!footer && writer->added < writer->entry_count && stands_whole(writer, writer->added))
        settle(writer, writer->added++, true);
    if (writer->object)
        stage_content(writer);
    if (!footer || writer->footer_done < segment_footer_bytes(writer->entry_count))
        return;
    writer->open = false;
    writer->volume->open = UINT32_MAX;
}

void writer_failed(struct writer *writer)
{
    for (; writer->added < writer->entry_count; writer->added++)
        settle(writer, writer->added, false);
    writer->object = NULL;
    writer->open = writer->sealing = false;
    writer->staged = writer->sent = 0;
    volume_give_up(writer->volume, writer->segment);
}

/* Restart ------------------------------------------------------------------------------------------------------ */

bool writer_adopt(struct writer *writer, uint32_t segment, const struct segment_entry *entries, uint32_t count)
{
    start_segment(writer, segment);
    for (uint32_t i = 0; i < count; i++) {
        if (!room_for_entry(writer))
            return false;
        segment_write_entry(&entries[i], writer->entries + (size_t)writer->entry_count++ * FOOTER_ENTRY_BYTES);
    }
    writer->added = count;
    return true;
}

bool writer_can_seal(const struct writer *writer, uint32_t end)
{
    return bytes_align(end, SEGMENT_BLOCK) <= footer_at(writer);
}

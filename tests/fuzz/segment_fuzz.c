/*
 * What a disk may say: any bytes as a segment, its footer, and a log of purges. The checksums are made right in one run out of two, so that what is behind
 * them is reached: every length that a record or an entry names has to lie inside, and the index must stay sound.
 */
#include <stdlib.h>

#include "cache/bytes.h"
#include "cache/purge_log.h"
#include "cache/volume_purges.h"
#include "cache/volume_restore.h"
#include "engine/base/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t seed[2] = { 11, 12 };
static uint64_t seen;

static void touch(struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        seen += (unsigned char)bytes.at[i];
}

/* As segment.c sums: the place where it begins is part of it. */
static uint64_t sum(const struct segment_id *id, uint64_t at, const char *bytes, size_t length)
{
    return siphash13(bytes, length, id->seed[0] ^ mix64(id->sequence), id->seed[1] ^ (id->base + at));
}

static void mend_record(const struct segment_id *id, char *bytes, size_t length)
{
    uint32_t head = length >= RECORD_FIXED_BYTES ? get_u32(bytes + 4) : 0;
    if (head < RECORD_FIXED_BYTES || head > length)
        return;
    put_u64(bytes + 8, sum(id, SEGMENT_BLOCK, bytes + 16, head - 16));
    for (size_t at = head, left = length - head; left > 8;
         at += size_min(left, CHUNK_BYTES), left -= size_min(left, CHUNK_BYTES))
        put_u64(bytes + at, sum(id, SEGMENT_BLOCK + at, bytes + at + 8, size_min(left, CHUNK_BYTES) - 8));
}

static void look_at_record(const struct segment_id *id, const struct volume_purges *purges, const char *bytes,
                           size_t length)
{
    struct record record;
    struct response response;
    uint32_t needed;
    if (record_read_head(id, SEGMENT_BLOCK, bytes, length, &record, &needed) != ERR_OK)
        return;
    MUST(record.head_bytes <= length);
    touch(record.key);
    touch(record.vary);
    touch(record.reason);
    for (uint32_t i = 0; i < record.tag_count; i++)
        seen += record_tag(&record, i);
    seen += volume_purges_judge(purges, &record);
    if (!record_response(&record, &response))
        return;
    for (unsigned i = 0; i < response.fields.count; i++) {
        touch(field_name(&response.fields.list[i]));
        touch(field_value(&response.fields.list[i]));
    }
}

/* The bytes as the beginning of a segment, and as the footer of another. */
static void look_at_segments(const struct volume_purges *purges, char *bytes, size_t length, bool mended)
{
    struct volume *volume = volume_new(VOLUME_SEGMENTS_LEAST * SEGMENT_BYTES_LEAST, SEGMENT_BYTES_LEAST, seed);
    struct past past = { 0 };
    struct scan scan;
    MUST(volume);
    volume_found(volume, 0, 1);
    volume_found(volume, 1, 2);
    struct segment_id id = volume_segment_id(volume, 0);
    char *segment = calloc(1, SEGMENT_BYTES_LEAST);
    MUST(segment);
    if (mended)
        mend_record(&id, bytes, length);
    look_at_record(&id, purges, bytes, length);
    memcpy(segment + SEGMENT_BLOCK, bytes, size_min(length, SEGMENT_BYTES_LEAST - SEGMENT_BLOCK));
    scan_begin(&scan, volume, 0, &past);
    while (scan_continue(&scan, segment, SEGMENT_BYTES_LEAST))
        abort();
    scan_release(&scan);

    uint32_t count = (uint32_t)(length / FOOTER_ENTRY_BYTES), footer = segment_footer_bytes(count), found;
    struct segment_id other = volume_segment_id(volume, 1);
    if (footer < SEGMENT_BYTES_LEAST) {
        segment_write_footer(&other, bytes, count, mended ? segment_footer_sum(&other, bytes, count) : 1, 0, footer,
                             segment);
        if (segment_read_tail(&other, SEGMENT_BYTES_LEAST, segment + footer - SEGMENT_BLOCK, &found) && found == count)
            MUST(volume_restore_footer(volume, 1, segment, count, &past) == mended);
    }
    for (uint32_t i = 0; i < volume->segment_count; i++)
        MUST(volume_empty(volume, i, UINT32_MAX));
    MUST(volume->objects == 0 && volume->object_bytes == 0 && volume->entry_count == 0);
    volume_free(volume);
    free(segment);
}

static bool see_purge(void *argument, const struct purge *purge, uint64_t hash, uint64_t sequence)
{
    (void)hash;
    touch(purge->text);
    MUST(purge->kind <= PURGE_ALL && argument);
    seen += sequence;
    return true;
}

static void look_at_log(const char *bytes, size_t length, bool mended)
{
    static char ring[PURGE_LOG_BYTES_LEAST];
    struct purge_log log;
    size_t at =
        sizeof ring - size_min(bytes_align(length, PURGE_LOG_UNIT), sizeof ring); /* at the end, where too much shows */
    memset(ring, 0, sizeof ring);
    memcpy(ring + at, bytes, size_min(length, sizeof ring - at));
    purge_log_init(&log, sizeof ring, seed);
    uint64_t entry = length >= PURGE_LOG_UNIT ? bytes_align(48ull + get_u32(ring + at + 32), PURGE_LOG_UNIT) : 0;
    if (mended && entry && at + entry <= sizeof ring)
        put_u64(ring + at, siphash13(ring + at + 8, entry - 8, log.seed[0], log.seed[1] ^ at));
    purge_log_read(&log, ring, see_purge, &log);
    MUST(log.at <= log.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct volume_purges purges;
    if (!purges.names) {
        MUST(volume_purges_init(&purges, seed));
        volume_purges_add(&purges, &(struct purge){ .kind = PURGE_HOST, .text = SLICE("a.example") }, 0, 5);
        volume_purges_add(&purges, &(struct purge){ .kind = PURGE_PREFIX, .text = SLICE("http\na.example\n/") }, 0, 6);
        volume_purges_add(&purges, &(struct purge){ .kind = PURGE_TAG }, 7, 7);
    }
    if (size < 1)
        return 0;
    char *bytes = malloc(size);
    MUST(bytes);
    memcpy(bytes, data + 1, size - 1);
    look_at_segments(&purges, bytes, size - 1, data[0] & 1);
    look_at_log(bytes, size - 1, data[0] & 1);
    free(bytes);
    return 0;
}

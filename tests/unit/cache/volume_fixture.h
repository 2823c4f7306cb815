/*
 * A volume whose file is memory: objects are made in a home, written, and read back; a restart reads what is in the file as the engine does. The content
 * of an object follows from its number, so whatever is read can be judged.
 */
#ifndef WEIR_TESTS_CACHE_VOLUME_FIXTURE_H
#define WEIR_TESTS_CACHE_VOLUME_FIXTURE_H

#include "cache/volume_purges.h"
#include "cache/volume_restore.h"
#include "cache/volume_write.h"
#include "tests/unit/cache/fixture.h"

struct platter {
    struct world world;
    struct volume *volume;
    struct volume_purges purges;
    struct writer writer;
    char *bytes, *batch;
    uint64_t length;
    struct past past;
    uint32_t writes_left; /* then they fail; UINT32_MAX: never */
    uint64_t scanned;     /* segments that were not sealed, at the last restart */
};

static const uint64_t platter_seed[2] = { 0x1122334455667788, 0x99aabbccddeeff00 };

static inline struct platter platter_new(uint32_t segments)
{
    struct platter platter = { .world = world_new(16 * MIB),
                               .length = (uint64_t)segments * SEGMENT_BYTES_LEAST,
                               .writes_left = UINT32_MAX };
    platter.volume = volume_new(platter.length, SEGMENT_BYTES_LEAST, platter_seed);
    cr_assert_not_null(platter.volume);
    cr_assert(volume_purges_init(&platter.purges, platter.world.seed));
    platter.bytes = calloc(1, platter.length);
    platter.batch = aligned_alloc(SEGMENT_BLOCK, WRITER_BATCH_BYTES);
    cr_assert(platter.bytes && platter.batch);
    writer_init(&platter.writer, platter.volume, platter.batch);
    return platter;
}

static inline void platter_free(struct platter *platter)
{
    writer_release(&platter->writer);
    volume_free(platter->volume);
    volume_purges_release(&platter->purges);
    past_release(&platter->past);
    free(platter->bytes);
    free(platter->batch);
    world_free(&platter->world);
}

static inline const char *path_of(uint32_t number)
{
    static char path[64];
    snprintf(path, sizeof path, "/object/%u", number);
    return path;
}

/* Everything from nothing to several batches. */
static inline uint64_t length_of(uint32_t number)
{
    uint64_t drawn = mix64(number + 1), most = drawn % 16 == 0 ? 400000 : drawn % 4 == 0 ? 70000 : 3000;
    return drawn >> 20 & 15 ? (drawn >> 8) % most : 0;
}

static inline struct object *make_object(struct platter *platter, uint32_t number, const char *tags)
{
    struct object *object =
        store(&platter->world,
              &(struct how){ .path = path_of(number), .tags = tags, .length = length_of(number), .salt = number });
    cr_assert_not_null(object);
    object->policy.coded = number % 2;
    return object;
}

/* Writes what is staged. False: it failed. */
static inline bool platter_flush(struct platter *platter)
{
    struct writer_batch batch;
    while (writer_batch(&platter->writer, &batch)) {
        cr_assert(batch.at % SEGMENT_BLOCK == 0 && batch.length % SEGMENT_BLOCK == 0 &&
                  batch.at + batch.length <= platter->length);
        if (platter->writes_left == 0) {
            writer_failed(&platter->writer);
            return false;
        }
        if (platter->writes_left != UINT32_MAX)
            platter->writes_left--;
        memcpy(platter->bytes + batch.at, batch.bytes, batch.length);
        writer_written(&platter->writer);
        if (!writer_busy(&platter->writer) && !platter->writer.sealing)
            break;
    }
    return true;
}

static inline void platter_write_object(struct platter *platter, struct object *object, uint64_t stamp, bool flush)
{
    for (;;) {
        while (!platter->writer.open && !writer_begin(&platter->writer))
            cr_assert_neq(volume_oldest(platter->volume), UINT32_MAX);
        enum writer_put put = writer_put(&platter->writer, object, stamp);
        cr_assert_neq(put, WRITER_NEVER);
        if (put == WRITER_SEGMENT_FULL)
            writer_seal(&platter->writer);
        if ((put != WRITER_PUT || flush || writer_busy(&platter->writer)) && !platter_flush(platter))
            return;
        if (put == WRITER_PUT)
            return;
    }
}

/* A newer response of that path is in memory. */
static inline void platter_replaced(struct platter *platter, uint32_t number)
{
    struct key_room room;
    const struct cache_key *key = key_of(&platter->world, &room, "a.example", path_of(number));
    volume_replaced(platter->volume, key->url_hash, record_tags(platter_seed, key->text, SLICE_NONE),
                    platter->volume->purged + 1);
}

/* False: it was not wanted. */
static inline bool platter_put(struct platter *platter, uint32_t number, const char *tags, bool flush)
{
    struct object *object = make_object(platter, number, tags);
    uint64_t stamp;
    bool wanted = volume_admit(platter->volume, object->url_hash, record_tags(platter_seed, object->key, object->vary),
                               record_edition(&object->policy, object->body->length), &stamp);
    if (wanted)
        platter_write_object(platter, object, stamp, flush);
    cache_unref(platter->world.cache, object);
    return wanted;
}

enum read { READ_NONE, READ_WRONG /* refused */, READ_PURGED, READ_STALE, READ_WELL };

/* Proves the record and compares every byte with what it has to be. */
static inline enum read read_place(struct platter *platter, const struct volume_place *place,
                                   const struct cache_key *key, uint32_t number)
{
    struct record record;
    uint32_t needed, bytes;
    const char *segment = platter->bytes + place->id.base;
    if (record_read_head(&place->id, place->at, segment + place->at, place->bytes, &record, &needed) != ERR_OK ||
        record.bytes != place->bytes)
        return READ_WRONG;
    if (!slice_equal(record.key, key->text))
        return READ_NONE;
    cr_assert_eq(record.content_length, length_of(number));
    uint32_t at = place->at + record.head_bytes;
    for (uint64_t done = 0; (bytes = record_chunk_bytes(record.content_length, done)) > 0;
         at += bytes, done += bytes - 8) {
        if (!record_chunk_holds(&place->id, at, segment + at, bytes))
            return READ_WRONG;
        uint32_t wrong = 0;
        for (uint32_t i = 0; i < bytes - 8; i++)
            wrong += segment[at + 8 + i] != content_byte(number, done + i);
        cr_assert_eq(wrong, 0, "wrong bytes of object %u were believed", number);
    }
    struct response response;
    cr_assert(record_response(&record, &response));
    cr_assert(fields_have(&response.fields, FIELD_CONTENT_TYPE));
    cr_assert_eq(record.policy.lifetime_s, 60);
    cr_assert_eq(record.policy.coded, number % 2);
    enum volume_purges_verdict verdict = volume_purges_judge(&platter->purges, &record);
    return verdict == VOLUME_PURGES_GONE                   ? READ_PURGED
           : verdict == VOLUME_PURGES_STALE || place->soft ? READ_STALE
                                                           : READ_WELL;
}

static inline enum read platter_read(struct platter *platter, uint32_t number)
{
    struct key_room room;
    struct volume_place places[VOLUME_VARIANTS];
    const struct cache_key *key = key_of(&platter->world, &room, "a.example", path_of(number));
    uint32_t count =
        volume_find(platter->volume, key->url_hash, record_tags(platter_seed, key->text, SLICE_NONE), places);
    enum read best = READ_NONE;
    for (uint32_t i = 0; i < count; i++) {
        enum read one = read_place(platter, &places[i], key, number);
        best = one > best ? one : best;
    }
    return best;
}

static int compare_sequences(const void *a, const void *b)
{
    const uint64_t *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

static inline void restart_segment(struct platter *platter, uint32_t segment)
{
    struct segment_id id = volume_segment_id(platter->volume, segment);
    const char *bytes = platter->bytes + id.base;
    uint32_t count, whole = SEGMENT_BYTES_LEAST;
    if (segment_read_tail(&id, whole, bytes + whole - SEGMENT_BLOCK, &count) &&
        volume_restore_footer(platter->volume, segment, bytes + whole - segment_footer_bytes(count), count,
                              &platter->past))
        return;
    struct scan scan;
    platter->scanned++;
    scan_begin(&scan, platter->volume, segment, &platter->past);
    for (uint32_t length = 4096; scan_continue(&scan, bytes, length); length += 65536)
        cr_assert_leq(length, whole + 65536);
    scan_release(&scan);
}

/* A new index from what is in the file. The purges stay, as the engine reads them from its log. */
static inline void platter_restart(struct platter *platter)
{
    uint64_t found[VOLUME_SEGMENTS_MOST][2];
    uint32_t count = 0, segments = platter->volume->segment_count;
    uint64_t purged = platter->volume->purged;
    writer_release(&platter->writer);
    volume_free(platter->volume);
    platter->volume = volume_new(platter->length, SEGMENT_BYTES_LEAST, platter_seed);
    writer_init(&platter->writer, platter->volume, platter->batch);
    volume_raise_floor(platter->volume, platter->purges.floor);
    platter->scanned = 0;
    for (uint32_t i = 0; i < segments; i++) {
        struct segment_id id = volume_segment_id(platter->volume, i);
        if (segment_read_header(&id, platter->bytes + id.base)) {
            found[count][0] = id.sequence;
            found[count++][1] = i;
        }
    }
    qsort(found, count, sizeof found[0], compare_sequences);
    for (uint32_t i = 0; i < count; i++) {
        volume_found(platter->volume, (uint32_t)found[i][1], found[i][0]);
        restart_segment(platter, (uint32_t)found[i][1]);
    }
    platter->volume->purged = u64_max(purged, platter->volume->purged);
}

#endif

/* What a coder makes is read back by the library's own decoder, however it was cut, and every allocation may fail. */
#include <brotli/decode.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "engine/base/check.h"
#include "proto/coding.h"
#include "tests/unit/seed.h"

#define CONTENT_BYTES (200u * 1024u)
#define MADE_BYTES (8u * CONTENT_BYTES) /* a flush costs some bytes */

static char content[CONTENT_BYTES], made[MADE_BYTES], back[CONTENT_BYTES + 1];
static size_t made_bytes;

/* Half text, half noise. */
static void fill_content(void)
{
    uint32_t x = 2463534242u;
    for (size_t i = 0; i < CONTENT_BYTES; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        content[i] = i / 4096 % 2 ? (char)x : "the quick brown fox "[x % 7 + i % 13];
    }
}

/* Bytes that can be read from what was made so far. */
static size_t read_back(enum coding coding, size_t length)
{
    if (coding == CODING_GZIP) {
        z_stream stream = { .next_in = (Bytef *)made, .avail_in = (uInt)length, .next_out = (Bytef *)back, .avail_out = sizeof back };
        cr_assert_eq(inflateInit2(&stream, 15 + 16), Z_OK);
        int result = inflate(&stream, Z_SYNC_FLUSH);
        cr_assert(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
        inflateEnd(&stream);
        return sizeof back - stream.avail_out;
    }
    if (coding == CODING_BROTLI) {
        BrotliDecoderState *state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
        const uint8_t *next_in = (const uint8_t *)made;
        uint8_t *next_out = (uint8_t *)back;
        size_t left = length, room = sizeof back;
        cr_assert_neq(BrotliDecoderDecompressStream(state, &left, &next_in, &room, &next_out, NULL), BROTLI_DECODER_RESULT_ERROR);
        BrotliDecoderDestroyInstance(state);
        return sizeof back - room;
    }
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer in = { made, length, 0 };
    ZSTD_outBuffer out = { back, sizeof back, 0 };
    while (in.pos < in.size)
        cr_assert_not(ZSTD_isError(ZSTD_decompressStream(context, &out, &in)));
    ZSTD_freeDCtx(context);
    return out.pos;
}

/* Asks until it is done; true unless it failed. */
static bool drive(struct coder *coder, enum coder_ask ask, struct slice in, size_t room)
{
    for (;;) {
        size_t step = 0;
        cr_assert_leq(made_bytes + room, MADE_BYTES);
        enum coder_verdict verdict = coder_step(coder, ask, &in, made + made_bytes, room, &step);
        cr_assert_leq(step, room);
        made_bytes += step;
        if (verdict == CODER_DONE)
            cr_assert_eq(in.length, 0);
        if (verdict != CODER_FULL)
            return verdict == CODER_DONE;
    }
}

static void round_trip(enum coding coding, size_t length, size_t piece, size_t room)
{
    struct coder *coder = coder_new(coding);
    made_bytes = 0;
    for (size_t at = 0; at < length; at += piece)
        cr_assert(drive(coder, CODER_MORE, slice_of(content + at, size_min(piece, length - at)), room));
    cr_assert(drive(coder, CODER_END, SLICE(""), room));
    cr_assert_eq(read_back(coding, made_bytes), length, "coding %d, %zu bytes by %zu into %zu", coding, length, piece, room);
    cr_assert_arr_eq(back, content, length);
    coder_free(coder);
}

Test(coding, reads_back_however_it_is_cut)
{
    static const size_t lengths[] = { 0, 1, 100, 4096, 70000, CONTENT_BYTES }, pieces[] = { 1, 7, 1000, 16384, CONTENT_BYTES }, rooms[] = { 16, 17, 1016, 16376 };
    fill_content();
    for (enum coding c = CODING_GZIP; c < CODINGS; c++)
        for (size_t l = 0; l < ARRAY_LENGTH(lengths); l++)
            for (size_t p = 0; p < ARRAY_LENGTH(pieces); p++)
                for (size_t r = 0; r < ARRAY_LENGTH(rooms); r++)
                    if (lengths[l] <= 4096 || (pieces[p] > 7 && rooms[r] > 17))
                        round_trip(c, lengths[l], pieces[p], rooms[r]);
}

Test(coding, what_was_flushed_can_be_read)
{
    fill_content();
    for (enum coding c = CODING_GZIP; c < CODINGS; c++) {
        for (size_t room = 16; room <= 16376; room = room * 3 + 1) {
            struct coder *coder = coder_new(c);
            made_bytes = 0;
            for (size_t at = 0; at < 3000; at += 300) {
                cr_assert(drive(coder, CODER_MORE, slice_of(content + at, 300), room));
                cr_assert(drive(coder, CODER_FLUSH, SLICE(""), room));
                cr_assert_eq(read_back(c, made_bytes), at + 300, "coding %d, room %zu", c, room);
                size_t before = made_bytes;
                cr_assert(drive(coder, CODER_FLUSH, SLICE(""), room));
                cr_assert_eq(made_bytes, before, "a second flush made %zu bytes", made_bytes - before);
            }
            cr_assert(drive(coder, CODER_END, SLICE(""), room));
            cr_assert_eq(read_back(c, made_bytes), 3000);
            coder_free(coder);
        }
    }
}

Test(coding, shrinks_what_repeats)
{
    memset(content, 'a', sizeof content);
    for (enum coding c = CODING_GZIP; c < CODINGS; c++) {
        round_trip(c, CONTENT_BYTES, 16384, 16376);
        cr_assert_lt(made_bytes, 2000);
    }
}

Test(coding, may_be_dropped_at_any_point)
{
    fill_content();
    for (enum coding c = CODING_GZIP; c < CODINGS; c++) {
        coder_free(coder_new(c));
        cr_assert_geq(coder_bytes(c), 128u << 10);
        struct coder *coder = coder_new(c);
        made_bytes = 0;
        cr_assert(drive(coder, CODER_MORE, slice_of(content, 50000), 1000));
        coder_free(coder);
    }
    coder_free(NULL);
}

/* Runs of all kinds: noise, few letters, copies from near and far, many short copies. */
static void fill_at_random(size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t run = 1 + random_below(random_below(2) ? 300 : 40000), back_by = 1 + random_below(random_below(2) ? 20 : 65000);
        uint64_t kind = random_below(4), letters = 4 + random_below(12), copy = 2 + random_below(10);
        for (size_t i = 0; i < run && at < length; i++, at++) {
            if (kind == 3 && i % copy == 0)
                back_by = 1 + random_below(at);
            if (kind < 2 || at < back_by)
                content[at] = (char)random_below(kind == 0 ? 256 : letters);
            else
                content[at] = content[at - back_by];
        }
    }
}

/* Whatever comes and whenever it is flushed, no coder is short of memory: br has all it will get before it begins. */
Test(coding, random_content_and_flushes)
{
    seed_take("coding");
    for (unsigned round = 0; round < 60; round++) {
        size_t length = random_below(random_below(2) ? CONTENT_BYTES : 40000), most = 1 + random_below(random_below(2) ? 70000 : 3000);
        uint64_t flushes = random_below(4), room = CODER_ROOM_LEAST + random_below(16361);
        fill_at_random(length);
        for (enum coding c = CODING_GZIP; c < CODINGS; c++) {
            struct coder *coder = coder_new(c);
            made_bytes = 0;
            for (size_t at = 0, piece; at < length; at += piece) {
                piece = size_min(1 + random_below(most), length - at);
                bool flush = random_below(4) < flushes;
                cr_assert(drive(coder, flush ? CODER_FLUSH : CODER_MORE, slice_of(content + at, piece), room));
                if (flush && random_below(20) == 0)
                    cr_assert_eq(read_back(c, made_bytes), at + piece);
            }
            cr_assert(drive(coder, CODER_END, SLICE(""), room));
            cr_assert_eq(read_back(c, made_bytes), length, "coding %d, %zu bytes", c, length);
            cr_assert_arr_eq(back, content, length);
            coder_free(coder);
        }
    }
}

#ifdef WEIR_FAULTS
/* Its encoder was left in the middle of an allocation: nothing calls it again. */
Test(coding, br_that_was_short_of_memory_stays_so)
{
    fill_content();
    for (uint64_t nth = 2; nth < 12; nth++) {
        struct coder *coder = coder_new(CODING_BROTLI);
        made_bytes = 0;
        fault_arm(nth);
        cr_assert_not(drive(coder, CODER_MORE, slice_of(content, 20000), 5000));
        fault_arm(0);
        cr_assert_not(drive(coder, CODER_FLUSH, SLICE(""), 5000));
        cr_assert_not(drive(coder, CODER_END, SLICE(""), 5000));
        coder_free(coder);
    }
}

Test(coding, each_allocation_may_fail)
{
    fill_content();
    for (enum coding c = CODING_GZIP; c < CODINGS; c++) {
        bool failed = true;
        for (uint64_t nth = 1; failed; nth++) {
            cr_assert_lt(nth, 1000);
            fault_arm(nth);
            struct coder *coder = coder_new(c);
            made_bytes = 0;
            failed = !coder || !drive(coder, CODER_MORE, slice_of(content, 20000), 5000) || !drive(coder, CODER_FLUSH, SLICE(""), 5000) ||
                     !drive(coder, CODER_END, SLICE(""), 5000);
            fault_arm(0);
            coder_free(coder);
        }
        cr_assert_eq(read_back(c, made_bytes), 20000);
    }
}
#endif

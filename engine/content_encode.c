/*
 * Content that is coded on its way: runs go through a coder, and what it makes goes out as chunks.
 *
 * A coder may have more to give than there is room for. Then the run it was fed with stays at the front of the source's input, with how much
 * of it is left, and the next call goes on there: so what waits is bounded by the queues of both connections and the coder's own memory. A call takes no
 * more than those queues hold (QUEUE_BYTES_STOP and what one receive adds), which bounds the time it takes from others.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/content.h"
#include "engine/worker.h"
#include "proto/h1_write.h"

#define CHUNK_ROOM_LEAST 1024u /* smaller chunks are not worth their framing */
#define CHUNK_SIZE_DIGITS 4u   /* of a chunk within a block */
#define CHUNK_FRAMING (CHUNK_SIZE_DIGITS + 4u)
#define SPANS_PER_CHUNK 2u
_Static_assert(BLOCK_BYTES <= 0xffff, "a chunk's size has four digits");

struct content_coder {
    struct coder *coder;
    enum coding coding;
    size_t offset, left; /* of the run being coded, in the first run of from->in */
    size_t used;         /* to be consumed with it */
    uint64_t taken;
    uint8_t ask;         /* enum coder_ask */
    uint8_t step;        /* enum h1_body_step that the run came with */
    bool owed;           /* the coder has not done what it was asked for */
    bool unflushed;      /* it took content since the last flush */
    bool over;           /* its stream is ended */
};

struct content_coder *content_coder_new(enum coding coding)
{
    struct content_coder *coder = FAULT("coding") ? NULL : calloc(1, sizeof *coder);
    if (coder) {
        coder->coding = coding;
        coder->coder = coder_new(coding);
    }
    if (coder && coder->coder)
        return coder;
    free(coder);
    return NULL;
}

void content_coder_free(struct content_coder *coder)
{
    coder_free(coder->coder);
    free(coder);
}

size_t content_coder_bytes(const struct content_coder *coder)
{
    return coder_bytes(coder->coding);
}

uint64_t content_coder_taken(const struct content_coder *coder)
{
    return coder->taken;
}

/* Framing is written around what was made: size with leading zeros, since its place was kept. */
static void frame_chunk(struct h1_writer *w, size_t made)
{
    for (unsigned i = 0; i < CHUNK_SIZE_DIGITS; i++)
        w->at[i] = "0123456789abcdef"[made >> 4 * (CHUNK_SIZE_DIGITS - 1 - i) & 15];
    memcpy(w->at + CHUNK_SIZE_DIGITS, "\r\n", 2);
    w->at += CHUNK_SIZE_DIGITS + 2 + made;
    h1_put_literal(w, "\r\n");
}

/* One step of the coder into the client's queue. CONTENT_END: what was asked for is done; CONTENT_MORE: not yet. */
static enum content_verdict code_once(struct content_move *move)
{
    struct content_coder *coder = move->coder;
    struct h1_writer w;
    struct conn_room room;
    if (conn_room(move->to) < SPANS_PER_CHUNK)
        return CONTENT_FULL;
    if (!conn_write_begin(move->to, CHUNK_ROOM_LEAST, &w, &room))
        return CONTENT_MEMORY;
    struct slice in = slice_of(coder->left ? queue_front(&move->from->in).at + coder->offset : "", coder->left);
    size_t before = in.length, made = 0;
    enum coder_verdict verdict =
        coder_step(coder->coder, (enum coder_ask)coder->ask, &in, w.at + CHUNK_SIZE_DIGITS + 2, (size_t)(w.end - w.at) - CHUNK_FRAMING, &made);
    coder->offset += before - in.length;
    coder->left = in.length;
    coder->taken += before - in.length;
    *move->moved += made;
    if (made == 0)
        block_unref(room.block);
    else {
        if (unlikely(move->tee != NULL))
            move->tee(move->tee_argument, slice_of(w.at + CHUNK_SIZE_DIGITS + 2, made));
        frame_chunk(&w, made);
        if (!conn_write_end(move->to, &w, &room))
            return CONTENT_MEMORY;
    }
    if (verdict == CODER_FAILED)
        return CONTENT_MEMORY;
    return verdict == CODER_DONE ? CONTENT_END : CONTENT_MORE;
}

static void consume_used(struct content_move *move)
{
    if (move->coder->used)
        conn_consume(move->from, move->coder->used);
    move->coder->used = 0;
}

/* Until what is owed is done. */
static enum content_verdict code_owed(struct content_move *move)
{
    struct content_coder *coder = move->coder;
    while (coder->owed) {
        enum content_verdict verdict = code_once(move);
        if (verdict == CONTENT_END)
            coder->owed = false;
        else if (verdict != CONTENT_MORE)
            return verdict;
    }
    coder->unflushed = coder->ask == CODER_MORE;
    coder->over = coder->ask == CODER_END;
    consume_used(move);
    return CONTENT_END;
}

static void owe(struct content_coder *coder, enum coder_ask ask)
{
    coder->ask = (uint8_t)ask;
    coder->owed = true;
}

static bool source_ended_well(const struct content_move *move)
{
    return move->body->ended || (move->from->ended && !move->from->cut && h1_body_close(move->body));
}

/* What the coder is to do next. CONTENT_END: something is owed now; CONTENT_MORE: nothing, the source has no more. */
static enum content_verdict look_at_source(struct content_move *move)
{
    struct content_coder *coder = move->coder;
    struct slice run = queue_front(&move->from->in), data = SLICE_NONE;
    coder->step = (uint8_t)h1_body_next(move->body, run.at, run.length, &coder->used, &data, &move->fault);
    if (coder->step == H1_BODY_BAD)
        return CONTENT_BAD;
    coder->left = data.length;
    coder->offset = data.length ? (size_t)(data.at - run.at) : 0;
    if (coder->step == H1_BODY_TRAILERS || coder->step == H1_BODY_END)
        owe(coder, CODER_END);
    else if (data.length)
        owe(coder, CODER_MORE);
    else if (coder->used)
        consume_used(move);
    else if (source_ended_well(move))
        owe(coder, CODER_END);
    else if (coder->unflushed && move->body->framing != FRAMING_LENGTH)
        owe(coder, CODER_FLUSH);
    else
        return CONTENT_MORE;
    return CONTENT_END;
}

static enum content_verdict end(struct content_move *move)
{
    if (move->coder->step == H1_BODY_TRAILERS)
        return content_trailers(move);
    return content_last_chunk(move) ? CONTENT_END : CONTENT_MEMORY;
}

enum content_verdict content_encode(struct content_move *move)
{
    struct content_coder *coder = move->coder;
    while (!coder->over) {
        if (!coder->owed) {
            enum content_verdict looked = look_at_source(move);
            if (looked != CONTENT_END)
                return looked;
        }
        enum content_verdict coded = coder->owed ? code_owed(move) : CONTENT_END;
        if (coded != CONTENT_END)
            return coded;
    }
    if (conn_room(move->to) < SPANS_PER_CHUNK)
        return CONTENT_FULL;
    return end(move);
}

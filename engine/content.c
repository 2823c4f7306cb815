#include "engine/content.h"

#include "engine/worker.h"
#include "proto/h1_write.h"

#define CHUNK_HEAD_BYTES 24u
#define SPANS_PER_RUN 3u /* chunk size, content, line end */

static struct block_pool *pool_of(struct conn *conn)
{
    return &conn->worker->blocks;
}

/* Writing heads ------------------------------------------------------------------------------------------------ */

/* The last block queued, when it is ours alone, ends where its used bytes end, and has room. */
static struct block *tail_with_room(struct conn *conn, uint32_t need)
{
    if (chain_empty(&conn->out))
        return NULL;
    struct span *last = chain_span(&conn->out, conn->out.count - 1u);
    struct block *block = last->block;
    if (block->references != 1 || last->offset + last->length != block->used || BLOCK_BYTES - block->used < need)
        return NULL;
    return block;
}

bool conn_write_begin(struct conn *conn, uint32_t need, struct h1_writer *w, struct conn_room *room)
{
    struct block *block = tail_with_room(conn, need);
    if (block)
        block_ref(block);
    else {
        if (chain_full(&conn->out))
            return false;
        block = block_take(pool_of(conn));
        if (!block)
            return false;
    }
    room->block = block;
    room->offset = block->used;
    *w = h1_writer_of(block->data + block->used, BLOCK_BYTES - block->used);
    return true;
}

/* Lengthens the last span when the bytes stand right behind it; a new span otherwise. */
static bool queue_written(struct conn *conn, struct block *block, uint32_t offset, uint32_t length)
{
    if (!chain_empty(&conn->out)) {
        struct span *last = chain_span(&conn->out, conn->out.count - 1u);
        if (last->block == block && last->offset + last->length == offset) {
            last->length += length;
            conn->out.bytes += length;
            return true;
        }
    }
    return chain_append(&conn->out, block, offset, length) == ERR_OK;
}

bool conn_write_end(struct conn *conn, struct h1_writer *w, struct conn_room *room)
{
    struct block *block = room->block;
    uint32_t length = (uint32_t)(w->at - (block->data + room->offset));
    bool fits = !w->overflow;
    if (fits) {
        block->used = room->offset + length;
        fits = queue_written(conn, block, room->offset, length);
    }
    block_unref(block);
    return fits;
}

/* Runs --------------------------------------------------------------------------------------------------------- */

static enum err put_chunk_head(struct content_move *move, size_t length)
{
    char head[CHUNK_HEAD_BYTES];
    struct h1_writer w = h1_writer_of(head, sizeof head);
    h1_put_hex(&w, length);
    h1_put_literal(&w, "\r\n");
    return chain_append_copy(&move->to->out, pool_of(move->to), slice_of(head, (size_t)(w.at - head)));
}

/* Room for the three spans was looked at before, so only memory can fail; then the message is cut. */
static enum err put_run(struct content_move *move, struct block *block, struct slice data)
{
    struct chain *out = &move->to->out;
    uint32_t offset = (uint32_t)(data.at - block->data);
    if (likely(!move->chunked))
        return chain_append(out, block, offset, (uint32_t)data.length);
    enum err e = put_chunk_head(move, data.length);
    if (e == ERR_OK)
        e = chain_append(out, block, offset, (uint32_t)data.length);
    if (e == ERR_OK)
        e = chain_append_copy(out, pool_of(move->to), SLICE("\r\n"));
    return e;
}

static bool put_last_chunk(struct content_move *move, const struct fields *trailers)
{
    struct h1_writer w;
    struct conn_room room;
    if (!conn_write_begin(move->to, trailers ? BLOCK_BYTES : 16, &w, &room))
        return false;
    h1_write_last_chunk(&w, trailers, move->edits);
    return conn_write_end(move->to, &w, &room);
}

bool content_last_chunk(struct content_move *move)
{
    return put_last_chunk(move, NULL);
}

/* Trailers ----------------------------------------------------------------------------------------------------- */

static enum content_verdict bad(struct content_move *move, enum codec_fault fault)
{
    move->fault = fault;
    return CONTENT_BAD;
}

/* Reads the section at the front of the input; gathers it where block borders cut it. */
static enum content_verdict read_trailers(struct content_move *move, struct fields *trailers, size_t *used)
{
    for (;;) {
        struct slice run = queue_front(&move->from->in);
        switch (h1_parse_trailers(trailers, run.at, run.length, move->progress, move->limits, used, &move->fault)) {
        case H1_BAD: return CONTENT_BAD;
        case H1_DONE: return CONTENT_END;
        case H1_MORE: break;
        }
        enum err e = queue_gather(&move->from->in, pool_of(move->from));
        if (e == ERR_CUT) {
            conn_need_more(move->from);
            return CONTENT_MORE;
        }
        if (e != ERR_OK)
            return bad(move, FAULT_TRAILER_LARGE);
    }
}

static void drop_coded_away(struct fields *trailers)
{
    for (unsigned i = 0; i < trailers->count; i++) {
        if (H1_CODED_AWAY >> trailers->list[i].id & 1)
            trailers->list[i].flags |= FIELD_HOP_BY_HOP;
    }
}

enum content_verdict content_trailers(struct content_move *move)
{
    size_t used = 0;
    struct fields *trailers = &move->from->worker->response->fields; /* scratch: no head is being read now */
    enum content_verdict verdict = read_trailers(move, trailers, &used);
    if (verdict != CONTENT_END)
        return verdict;
    if (unlikely(move->coder != NULL))
        drop_coded_away(trailers);
    if (move->chunked && !put_last_chunk(move, move->trailers && trailers->count ? trailers : NULL))
        return CONTENT_MEMORY;
    conn_consume(move->from, used);
    h1_body_trailers_done(move->body);
    return CONTENT_END;
}

/* The pump ----------------------------------------------------------------------------------------------------- */

static bool has_room(const struct content_move *move)
{
    return conn_room(move->to) >= SPANS_PER_RUN;
}

static void skip(struct content_move *move, struct slice *data)
{
    size_t bytes = (size_t)u64_min(*move->skip, data->length);
    *move->skip -= bytes;
    *data = slice_of(data->at + bytes, data->length - bytes);
}

enum content_verdict content_move(struct content_move *move)
{
    struct conn *from = move->from;
    if (unlikely(move->coder != NULL))
        return content_encode(move);
    for (;;) {
        size_t used = 0;
        struct slice data = SLICE_NONE;
        if (unlikely(!has_room(move)))
            return CONTENT_FULL;
        struct slice run = queue_front(&from->in);
        struct block *block = from->in.first;
        enum h1_body_step step = h1_body_next(move->body, run.at, run.length, &used, &data, &move->fault);
        if (step == H1_BODY_BAD)
            return CONTENT_BAD;
        if (unlikely(move->skip != NULL))
            skip(move, &data);
        if (data.length) {
            *move->moved += data.length;
            if (unlikely(move->bytes_max && *move->moved > move->bytes_max))
                return CONTENT_LARGE;
            if (unlikely(put_run(move, block, data) != ERR_OK))
                return CONTENT_MEMORY;
            if (unlikely(move->tee != NULL))
                move->tee(move->tee_argument, data);
        }
        if (used)
            conn_consume(from, used);
        if (step == H1_BODY_TRAILERS)
            return content_trailers(move);
        if (step == H1_BODY_END)
            return CONTENT_END;
        if (queue_empty(&from->in))
            return move->body->ended ? CONTENT_END : CONTENT_MORE;
    }
}

bool content_end_by_close(struct content_move *move)
{
    if (move->coder || !h1_body_close(move->body))
        return false; /* a coder's end was seen to in content_encode */
    return !move->chunked || put_last_chunk(move, NULL);
}

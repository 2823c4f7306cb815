/*
 * content: moves a message's content from one connection's input to another's output, checking and re-framing it.
 *
 * The same in both directions. Runs of content pass by reference (short ones are copied behind what is queued, chain_append);
 * only framing is written anew, so a chunk's extension never gets through and every chunk out is one we made.
 */
#ifndef WEIR_CONTENT_H
#define WEIR_CONTENT_H

#include "engine/conn.h"
#include "proto/coding.h"
#include "proto/h1_body.h"

struct content_coder;
struct content_move {
    struct conn *from, *to;
    struct h1_body *body;
    const struct h1_limits *limits; /* of a trailer section */
    struct h1_progress *progress;   /* of a trailer section, zeroed before the content's first byte */
    const struct field_edits *edits; /* the route's, which hold for trailers too */
    bool chunked;                   /* frame in chunks towards `to` */
    bool trailers;                  /* forward trailer fields */
    uint64_t *moved;                /* content bytes are added */
    uint64_t bytes_max;             /* 0: none; more is CONTENT_LARGE */
    enum codec_fault fault;         /* why CONTENT_BAD */
    void (*tee)(void *argument, struct slice data); /* gets a copy of the content as it goes out, without its framing; NULL: nobody */
    void *tee_argument;
    uint64_t *skip;                 /* so much of the content is thrown away first, and counted down; NULL: none */
    struct content_coder *coder;    /* content goes coded, in chunks, and `moved` counts what is made; NULL: as it is */
};

enum content_verdict {
    CONTENT_MORE,  /* the source has nothing more now; from->ended tells whether it ever will */
    CONTENT_FULL,  /* the sink has no room */
    CONTENT_END,   /* all content is queued */
    CONTENT_BAD,   /* malformed */
    CONTENT_LARGE, /* above bytes_max */
    CONTENT_MEMORY /* no block to be had */
};

/* Moves what can be moved. The caller flushes `to`. */
enum content_verdict must_use content_move(struct content_move *move);

/*
 * content_encode.c: the same where move->coder is. What ends by the source's close is ended here too. Each time the source has nothing
 * more for the moment, what it gave is made readable for the client, unless the content's length is known: such content ends soon.
 */
enum content_verdict must_use content_encode(struct content_move *move);
struct content_coder *content_coder_new(enum coding coding); /* NULL: out of memory */
void content_coder_free(struct content_coder *coder);
size_t content_coder_bytes(const struct content_coder *coder); /* of memory, at most */
uint64_t content_coder_taken(const struct content_coder *coder); /* bytes of content so far */

/* For content_encode.c: reads a trailer section and queues the last chunk with it; queues a last chunk alone (false: no memory). */
enum content_verdict must_use content_trailers(struct content_move *move);
bool content_last_chunk(struct content_move *move);

/* After the source's end: true when that properly ends the content (h1_body_close), whose last chunk is queued then if due. */
bool content_end_by_close(struct content_move *move);

/* A writer over room of at least `need` bytes (<= BLOCK_BYTES) behind what is queued for conn; false: no block or span. */
struct h1_writer;
struct conn_room {
    struct block *block;
    uint32_t offset;
};
bool conn_write_begin(struct conn *conn, uint32_t need, struct h1_writer *w, struct conn_room *room);
/* Queues what was written; false (and nothing queued) when the writer overflowed. */
bool conn_write_end(struct conn *conn, struct h1_writer *w, struct conn_room *room);

#endif

/*
 * mover: how a splice moves what it can (splice.h). Two of them, behind one function.
 *
 *   poll  the ring's POLL says when a socket is ready, and splice(2), non-blocking, moves there and then    mover_poll.c
 *   ring  IORING_OP_SPLICE: a kernel thread of the ring's moves, POLL where a socket was not ready          mover_ring.c
 */
#ifndef WEIR_MOVER_H
#define WEIR_MOVER_H

#include "engine/splice.h"

struct mover {
    const char *word;
    /* Moves about `budget` bytes at most. True: it could go on at once. False: a poll or an operation is armed, or `state` is an end. */
    bool (*move)(struct splice *splice, uint64_t budget);
};
extern const struct mover mover_poll, mover_ring;

/* For movers. A pipe in hand; false: there is none, and the splice is SPLICE_STARVED. */
bool splice_needs_pipe(struct splice *splice);
void splice_took(struct splice *splice, uint64_t bytes);
void splice_gave(struct splice *splice, uint64_t bytes);
void splice_source_over(struct splice *splice, int error);
void splice_refused(struct splice *splice, int error);
/* The pipe is empty: true when nothing more comes, state says why; else the pipe goes back and the source is polled. */
bool splice_is_over(struct splice *splice);
void splice_await_source(struct splice *splice);
void splice_await_sink(struct splice *splice);
void splice_queue(struct splice *splice); /* in the line */
/* A completion came after splice_free; true when the splice is not to be touched any more. */
bool splice_settles(struct splice *splice);
uint64_t splice_room(const struct splice *splice); /* bytes that may be taken now */

#endif

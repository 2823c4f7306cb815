/*
 * queue: received blocks that wait to be read, in order.
 *
 * The input side of a connection: the kernel fills whole blocks (buf.h), which are linked here until a parser or a pump
 * has used their bytes. Unlike a chain its length has no hard cap, because completions that were on their way when a receive
 * was cancelled must not be lost; whoever receives stops at QUEUE_BYTES_STOP, and the kernel receives in rounds of at most 32 blocks
 * (MULTISHOT_MAX_RETRY, io_uring/net.c, 6.18) until it sees the cancel: one round usually, two or three at times.
 *
 * A short run is copied behind the last block's bytes when the queue is its only owner, so that a peer who sends
 * single bytes holds one block and not thousands.
 */
#ifndef WEIR_QUEUE_H
#define WEIR_QUEUE_H

#include "engine/base/buf.h"

#define QUEUE_BYTES_STOP (4u * BLOCK_BYTES)
#define QUEUE_BYTES_RESUME BLOCK_BYTES

struct queue {
    struct block *first, *last; /* linked by next_free, which is theirs while they are out */
    uint32_t offset;            /* used bytes of the first block */
    uint32_t blocks;
    uint64_t bytes;             /* waiting */
};

static inline bool queue_empty(const struct queue *queue) { return queue->bytes == 0; }

/* What can be read without a gap; empty when nothing waits. */
static inline struct slice queue_front(const struct queue *queue)
{
    if (!queue->first)
        return SLICE_NONE;
    return slice_of(queue->first->data + queue->offset, queue->first->used - queue->offset);
}

/* Takes over the caller's reference to block, whose bytes [0, used) are new. used > 0. */
void queue_append(struct queue *queue, struct block *block);

/* bytes <= queue->bytes. */
void queue_consume(struct queue *queue, uint64_t bytes);
void queue_clear(struct queue *queue);

/*
 * Brings more of the waiting bytes into the front run, so that a head cut by block borders can be parsed. ERR_CAP: the
 * front run is a whole block already (the head is too large). ERR_CUT: nothing more waits. ERR_MEMORY: no block.
 * Views into the front run are void afterwards.
 */
enum err must_use queue_gather(struct queue *queue, struct block_pool *pool);

#endif

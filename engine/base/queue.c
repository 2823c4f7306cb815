#include "engine/base/queue.h"

#include "engine/base/check.h"

#define COPY_MAX (BLOCK_BYTES / 8)

static struct block *next_of(const struct block *block)
{
    return block->next_free ? block_at(block->pool, block->next_free - 1) : NULL;
}

static bool fits_behind(const struct block *last, uint32_t bytes)
{
    return bytes <= COPY_MAX && last->references == 1 && BLOCK_BYTES - last->used >= bytes;
}

void queue_append(struct queue *queue, struct block *block)
{
    MUST(block->used > 0 && block->used <= BLOCK_BYTES);
    queue->bytes += block->used;
    if (queue->last && fits_behind(queue->last, block->used)) {
        memcpy(queue->last->data + queue->last->used, block->data, block->used);
        queue->last->used += block->used;
        block_unref(block);
        return;
    }
    block->next_free = 0;
    if (queue->last)
        queue->last->next_free = block->index + 1;
    else
        queue->first = block;
    queue->last = block;
    queue->blocks++;
}

static void drop_first(struct queue *queue)
{
    struct block *first = queue->first;
    queue->first = next_of(first);
    if (!queue->first)
        queue->last = NULL;
    queue->blocks--;
    queue->offset = 0;
    block_unref(first);
}

void queue_consume(struct queue *queue, uint64_t bytes)
{
    MUST(bytes <= queue->bytes);
    queue->bytes -= bytes;
    while (bytes > 0) {
        uint32_t here = queue->first->used - queue->offset;
        if (bytes < here) {
            queue->offset += (uint32_t)bytes;
            return;
        }
        bytes -= here;
        drop_first(queue);
    }
}

void queue_clear(struct queue *queue)
{
    while (queue->first)
        drop_first(queue);
    queue->bytes = 0;
}

/* The front run moved to the start of a block of its own, in place of the first block. */
static enum err move_front(struct queue *queue, struct block_pool *pool)
{
    struct block *fresh = block_take(pool);
    if (!fresh)
        return ERR_MEMORY;
    struct slice run = queue_front(queue);
    memcpy(fresh->data, run.at, run.length);
    fresh->used = (uint32_t)run.length;
    fresh->next_free = queue->first->next_free;
    if (queue->last == queue->first)
        queue->last = fresh;
    block_unref(queue->first);
    queue->first = fresh;
    queue->offset = 0;
    return ERR_OK;
}

enum err queue_gather(struct queue *queue, struct block_pool *pool)
{
    if (!queue->first)
        return ERR_CUT;
    if (queue_front(queue).length == BLOCK_BYTES)
        return ERR_CAP;
    struct block *second = next_of(queue->first);
    if (!second)
        return ERR_CUT;
    bool full = queue->first->used == BLOCK_BYTES;
    if (queue->first->references > 1 || (full && queue->offset > 0)) {
        enum err e = move_front(queue, pool);
        if (e != ERR_OK)
            return e;
    }
    struct block *first = queue->first;
    uint32_t moved = (uint32_t)size_min(BLOCK_BYTES - first->used, second->used);
    memcpy(first->data + first->used, second->data, moved);
    first->used += moved;
    MUST(second->references == 1); /* nobody else has seen a block that was not read yet */
    memmove(second->data, second->data + moved, second->used - moved);
    second->used -= moved;
    if (second->used == 0) {
        first->next_free = second->next_free;
        if (queue->last == second)
            queue->last = first;
        queue->blocks--;
        block_unref(second);
    }
    return ERR_OK;
}

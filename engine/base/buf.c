#include "engine/base/buf.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "engine/base/check.h"

#define BLOCKS_CAP_MAX 32768u
#define COPY_MAX (BLOCK_BYTES / 8)

/* The pool ----------------------------------------------------------------------------------------------------- */

enum err block_pool_init(struct block_pool *pool, uint32_t cap)
{
    MUST(cap > 0 && cap <= BLOCKS_CAP_MAX);
    *pool = (struct block_pool){ .cap = cap };
    if (FAULT("block_pool"))
        return ERR_MEMORY;
    void *memory = mmap(NULL, (size_t)cap * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return ERR_MEMORY;
    pool->memory = memory;
    pool->blocks = calloc(cap, sizeof *pool->blocks);
    if (!pool->blocks) {
        munmap(memory, (size_t)cap * BLOCK_BYTES);
        pool->memory = NULL;
        return ERR_MEMORY;
    }
    return ERR_OK;
}

void block_pool_release(struct block_pool *pool, uint32_t lent)
{
    if (!pool->memory)
        return;
    MUST(pool->taken == lent);
    munmap(pool->memory, (size_t)pool->cap * BLOCK_BYTES);
    free(pool->blocks);
    *pool = (struct block_pool){ 0 };
}

static struct block *make(struct block_pool *pool)
{
    struct block *block = &pool->blocks[pool->made];
    block->pool = pool;
    block->index = pool->made;
    block->data = pool->memory + (size_t)pool->made * BLOCK_BYTES;
    pool->made++;
    return block;
}

static struct block *take_cold(struct block_pool *pool)
{
    if (!pool->cold_head)
        return pool->made < pool->cap ? make(pool) : NULL;
    struct block *block = &pool->blocks[pool->cold_head - 1];
    pool->cold_head = block->next_free;
    return block;
}

struct block *block_take(struct block_pool *pool)
{
    struct block *block;
    if (unlikely(FAULT("block")))
        block = NULL;
    else if (likely(pool->free_head)) {
        block = &pool->blocks[pool->free_head - 1];
        pool->free_head = block->next_free;
        if (--pool->free_count < pool->free_least)
            pool->free_least = pool->free_count;
    } else
        block = take_cold(pool);
    if (unlikely(!block)) {
        pool->failures++;
        return NULL;
    }
    block->references = 1;
    block->used = 0;
    block->next_free = 0;
    if (++pool->taken > pool->taken_max)
        pool->taken_max = pool->taken;
    return block;
}

struct block *block_at(struct block_pool *pool, uint32_t index)
{
    MUST(index < pool->made);
    return &pool->blocks[index];
}

void block_free(struct block *block)
{
    struct block_pool *pool = block->pool;
    if (unlikely(!pool)) {
        struct lent_block *lent = CONTAINER_OF(block, struct lent_block, block);
        lent->gone(lent);
        return;
    }
    MUST(pool->taken > 0);
    block->next_free = pool->free_head;
    pool->free_head = block->index + 1;
    pool->free_count++;
    pool->taken--;
}

/* The list is walked past the blocks that were in use; behind them stand those that were not. */
void block_pool_trim(struct block_pool *pool, uint32_t keep, uint32_t most)
{
    uint32_t idle = pool->free_least > keep ? pool->free_least - keep : 0;
    uint32_t *link = &pool->free_head;
    pool->free_least = pool->free_count;
    if (idle == 0)
        return;
    for (uint32_t i = pool->free_count - idle; i > 0; i--)
        link = &pool->blocks[*link - 1].next_free;
    for (uint32_t i = 0; i < idle && i < most; i++) {
        struct block *block = &pool->blocks[*link - 1];
        madvise(block->data, BLOCK_BYTES, MADV_DONTNEED);
        *link = block->next_free;
        block->next_free = pool->cold_head;
        pool->cold_head = block->index + 1;
        pool->free_count--;
    }
    pool->free_least = pool->free_count;
}

/* Chains ------------------------------------------------------------------------------------------------------- */

static struct span *last_span(struct chain *chain)
{
    return chain->count ? chain_span(chain, chain->count - 1u) : NULL;
}

/* Room behind the last span, if nobody else could be looking there. */
static uint32_t tail_room(const struct span *last)
{
    if (!last || last->block->references != 1 || last->offset + last->length != last->block->used)
        return 0;
    return BLOCK_BYTES - last->block->used;
}

static void copy_behind(struct chain *chain, struct span *last, const char *bytes, uint32_t length)
{
    memcpy(last->block->data + last->block->used, bytes, length);
    last->block->used += length;
    last->length += length;
    chain->bytes += length;
}

static void push(struct chain *chain, struct block *block, uint32_t offset, uint32_t length)
{
    *chain_span(chain, chain->count) = (struct span){ block, offset, length };
    chain->count++;
    chain->bytes += length;
}

enum err chain_append(struct chain *chain, struct block *block, uint32_t offset, uint32_t length)
{
    struct span *last = last_span(chain);
    if (length == 0)
        return ERR_OK;
    if (length <= COPY_MAX && last && last->block != block && tail_room(last) >= length) {
        copy_behind(chain, last, block->data + offset, length);
        return ERR_OK;
    }
    if (chain_full(chain))
        return ERR_CAP;
    push(chain, block_ref(block), offset, length);
    return ERR_OK;
}

enum err chain_append_copy(struct chain *chain, struct block_pool *pool, struct slice bytes)
{
    struct span *last = last_span(chain);
    uint32_t room = tail_room(last);
    size_t behind = size_min(room, bytes.length);
    size_t rest = bytes.length - behind;
    struct block *fresh[CHAIN_SPANS];
    unsigned needed = (unsigned)((rest + BLOCK_BYTES - 1) / BLOCK_BYTES);
    if (rest > CHAIN_BYTES_MAX || needed > chain_room(chain))
        return ERR_CAP;
    for (unsigned i = 0; i < needed; i++) {
        fresh[i] = block_take(pool);
        if (fresh[i])
            continue;
        while (i > 0)
            block_unref(fresh[--i]);
        return ERR_MEMORY;
    }
    if (behind)
        copy_behind(chain, last, bytes.at, (uint32_t)behind);
    for (unsigned i = 0; i < needed; i++) {
        size_t length = size_min(rest, BLOCK_BYTES);
        memcpy(fresh[i]->data, bytes.at + (bytes.length - rest), length);
        fresh[i]->used = (uint32_t)length;
        push(chain, fresh[i], 0, (uint32_t)length);
        rest -= length;
    }
    return ERR_OK;
}

static void drop_first(struct chain *chain)
{
    struct span *first = chain_span(chain, 0);
    chain->bytes -= first->length;
    block_unref(first->block);
    first->block = NULL;
    chain->first = (uint8_t)((chain->first + 1) % CHAIN_SPANS);
    chain->count--;
}

void chain_consume(struct chain *chain, uint32_t bytes)
{
    MUST(bytes <= chain->bytes);
    while (bytes > 0) {
        struct span *first = chain_span(chain, 0);
        if (bytes < first->length) {
            first->offset += bytes;
            first->length -= bytes;
            chain->bytes -= bytes;
            return;
        }
        bytes -= first->length;
        drop_first(chain);
    }
}

void chain_clear(struct chain *chain)
{
    while (chain->count)
        drop_first(chain);
}

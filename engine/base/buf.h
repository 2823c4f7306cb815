/*
 * buf: reference-counted blocks, the pool they come from, and chains of spans into them.
 *
 * A block is BLOCK_BYTES of memory with a reference count. One block_pool per worker owns them all: it reserves address
 * space for `cap` blocks once and touches a block's pages only when it is first taken, and hands out the block given
 * back last (warm in the cache). The kernel receives into blocks (the provided-buffer ring holds references), heads are
 * written into blocks, and the client's side, the origin's side and later the cache hold the same received block by
 * reference, uncopied.
 *
 * A span is a run of bytes in one block and holds one reference. A chain is a queue of at most CHAIN_SPANS spans: the
 * cap of what may wait in one direction of one connection. When a chain is full its producer must stop: that is
 * back-pressure, never a reason to grow. Appending few bytes copies them behind the last span when this chain is the
 * sole owner of that block and there is room, so a peer that dribbles cannot fill a chain with nearly empty blocks.
 *
 * A lent block stands for memory that no pool has: content of the cache, which several workers send from.
 *
 * Nothing here is thread safe: a pool, its blocks and chains belong to one worker. Cost: no allocation after
 * block_pool_init. Failure: block_take answers NULL when `cap` blocks are out.
 */
#ifndef WEIR_BUF_H
#define WEIR_BUF_H

#include "engine/base/slice.h"

#define BLOCK_BYTES 16384u
#define CHAIN_SPANS 8u
#define CHAIN_BYTES_MAX (CHAIN_SPANS * BLOCK_BYTES)

struct block_pool;

struct block {
    struct block_pool *pool; /* NULL: a lent block */
    char *data;          /* BLOCK_BYTES, page aligned */
    uint32_t references; /* 0: on the free list */
    uint32_t used;       /* bytes written by whoever appends; appending behind `used` is safe only at references == 1 */
    uint32_t index;      /* place in the pool, also the kernel's buffer id */
    uint32_t next_free;
    bool lent;           /* in the kernel's provided-buffer ring: nobody's bytes are in it (ring.c) */
    bool cold;           /* its memory was given back and not touched since (ring.c) */
};

struct block_pool {
    char *memory;
    struct block *blocks;
    uint32_t cap;       /* blocks at most */
    uint32_t made;      /* blocks ever touched */
    uint32_t free_head; /* index + 1, 0 for none: given back last, first out */
    uint32_t free_count;
    uint32_t free_least; /* the fewest that lay free since the last trim: so many at the list's end were not needed */
    uint32_t cold_head;  /* free, and their memory given back to the system */
    uint32_t taken;     /* blocks out now */
    uint32_t taken_max; /* high-water mark */
    uint64_t failures;  /* block_take calls that answered NULL */
};

/* Reserves cap * BLOCK_BYTES of address space (cap 1..32768). ERR_MEMORY when the system refuses. */
enum err must_use block_pool_init(struct block_pool *pool, uint32_t cap);
/* Every block must have come back, but for `lent` ones that a ring that is gone by now had. */
void block_pool_release(struct block_pool *pool, uint32_t lent);

/* A block with one reference and used == 0, or NULL when the cap is reached (fault point "block"). */
struct block *block_take(struct block_pool *pool);
/*
 * Gives the memory of up to `most` blocks back to the system: those that lay free all the time since the last call, but for `keep`.
 * Called now and then (worker.c), so that a burst does not stay resident for ever.
 */
void block_pool_trim(struct block_pool *pool, uint32_t keep, uint32_t most);

struct block *block_at(struct block_pool *pool, uint32_t index);
void block_free(struct block *block); /* the last reference went; use block_unref */

/*
 * Somebody else's memory as a block: spans may point anywhere into it (offsets count from `data`, up to 4 GiB), nothing is ever appended to it
 * (`used` stays 0). `gone` runs when the last reference went.
 */
struct lent_block {
    struct block block;
    void (*gone)(struct lent_block *lent);
};
static inline void lent_block_init(struct lent_block *lent, char *data, void (*gone)(struct lent_block *lent))
{
    *lent = (struct lent_block){ .block = { .data = data, .references = 1 }, .gone = gone };
}

static inline struct block *block_ref(struct block *block)
{
    block->references++;
    return block;
}
static inline void block_unref(struct block *block)
{
    if (--block->references == 0)
        block_free(block);
}

struct span {
    struct block *block;
    uint32_t offset;
    uint32_t length;
};

static inline char *span_at(const struct span *span) { return span->block->data + span->offset; }

struct chain {
    struct span spans[CHAIN_SPANS]; /* ring */
    uint8_t first;
    uint8_t count;
    uint32_t bytes;
};

/* A zeroed chain is a valid empty chain. */
static inline bool chain_empty(const struct chain *chain) { return chain->count == 0; }
static inline bool chain_full(const struct chain *chain) { return chain->count == CHAIN_SPANS; }
static inline unsigned chain_room(const struct chain *chain) { return CHAIN_SPANS - chain->count; }
static inline struct span *chain_span(struct chain *chain, unsigned i)
{
    return &chain->spans[(chain->first + i) % CHAIN_SPANS];
}

/*
 * Appends length bytes at offset of block. The chain takes its own reference; the caller keeps its own. Small runs are
 * copied behind the last span if possible (then no reference is taken). ERR_CAP when the chain is full: nothing changed.
 */
enum err must_use chain_append(struct chain *chain, struct block *block, uint32_t offset, uint32_t length);

/* Copies bytes in, into the tail of the last span or into new blocks of `pool`. All or nothing: ERR_CAP, ERR_MEMORY. */
enum err must_use chain_append_copy(struct chain *chain, struct block_pool *pool, struct slice bytes);

/* Drops `bytes` from the front, giving blocks back as they empty. bytes <= chain->bytes. */
void chain_consume(struct chain *chain, uint32_t bytes);

/* Gives everything back. */
void chain_clear(struct chain *chain);

#endif

/*
 * arena: memory that lives exactly as long as one exchange.
 *
 * Bump allocation from one block at a time (buf.h), so that a worker's warm blocks serve it and nothing is malloc'd per
 * request. Everything is given back at once by arena_release. Capped at ARENA_BLOCKS blocks: arena_take answers NULL
 * beyond that, or when the pool is empty, and the request is refused with 503 or 431. An arena that was never used
 * holds no block.
 */
#ifndef WEIR_ARENA_H
#define WEIR_ARENA_H

#include "engine/base/buf.h"

#define ARENA_BLOCKS 4u

struct arena {
    struct block_pool *pool;
    struct block *blocks[ARENA_BLOCKS];
    uint32_t count;
    uint32_t used; /* of the last block */
};

void arena_init(struct arena *arena, struct block_pool *pool);
void arena_release(struct arena *arena);

/* size bytes, aligned to 8, not zeroed; size <= BLOCK_BYTES. NULL at the cap. */
void *arena_take(struct arena *arena, size_t size);
/* A copy of bytes, or at == NULL with length != 0 never happens: *ok tells failure apart from emptiness. */
enum err must_use arena_copy(struct arena *arena, struct slice bytes, struct slice *copy);

#endif

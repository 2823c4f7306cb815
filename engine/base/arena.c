#include "engine/base/arena.h"

#define ALIGNMENT 8u

void arena_init(struct arena *arena, struct block_pool *pool)
{
    arena->pool = pool;
    arena->count = 0;
    arena->used = 0;
}

void arena_release(struct arena *arena)
{
    while (arena->count)
        block_unref(arena->blocks[--arena->count]);
    arena->used = 0;
}

static bool next_block(struct arena *arena)
{
    if (arena->count == ARENA_BLOCKS)
        return false;
    struct block *block = block_take(arena->pool);
    if (!block)
        return false;
    arena->blocks[arena->count++] = block;
    arena->used = 0;
    return true;
}

void *arena_take(struct arena *arena, size_t size)
{
    if (size > BLOCK_BYTES)
        return NULL;
    uint32_t rounded = (uint32_t)((size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (arena->count == 0 || BLOCK_BYTES - arena->used < rounded)
        if (!next_block(arena))
            return NULL;
    char *at = arena->blocks[arena->count - 1]->data + arena->used;
    arena->used += rounded;
    return at;
}

enum err arena_copy(struct arena *arena, struct slice bytes, struct slice *copy)
{
    char *at = arena_take(arena, bytes.length);
    if (!at)
        return ERR_MEMORY;
    if (bytes.length)
        memcpy(at, bytes.at, bytes.length);
    *copy = slice_of(at, bytes.length);
    return ERR_OK;
}

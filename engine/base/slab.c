#include "engine/base/slab.h"

#include <sys/mman.h>

#include "engine/base/check.h"

struct chunk {
    struct chunk *next;
    size_t bytes;
    char *end; /* of the objects made in it */
};
#define CHUNK_HEAD 64u

struct free_link {
    struct free_link *next;
};

void slab_init(struct slab *slab, size_t object_bytes, uint32_t cap)
{
    size_t rounded = (object_bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    *slab = (struct slab){ .object_bytes = rounded, .cap = cap };
}

void slab_release(struct slab *slab)
{
    struct chunk *chunk = slab->chunks;
    while (chunk) {
        struct chunk *next = chunk->next;
        munmap(chunk, chunk->bytes);
        chunk = next;
    }
    *slab = (struct slab){ 0 };
}

static bool grow(struct slab *slab)
{
    size_t bytes = size_max(SLAB_CHUNK_BYTES, slab->object_bytes + CHUNK_HEAD);
    bytes = (bytes + 4095) / 4096 * 4096;
    void *memory = FAULT("slab") ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    struct chunk *chunk = memory;
    chunk->next = slab->chunks;
    chunk->bytes = bytes;
    slab->chunks = chunk;
    slab->chunk_at = (char *)memory + CHUNK_HEAD;
    slab->chunk_end = (char *)memory + bytes;
    slab->grown++;
    return true;
}

static void *make(struct slab *slab)
{
    if (slab->made >= slab->cap)
        return NULL;
    if ((size_t)(slab->chunk_end - slab->chunk_at) < slab->object_bytes && !grow(slab))
        return NULL;
    void *object = slab->chunk_at;
    slab->chunk_at += slab->object_bytes;
    ((struct chunk *)slab->chunks)->end = slab->chunk_at;
    slab->made++;
    return object;
}

void *slab_take(struct slab *slab)
{
    struct free_link *object = slab->free_head;
    if (likely(object != NULL))
        slab->free_head = object->next;
    else
        object = make(slab);
    if (unlikely(!object)) {
        slab->failures++;
        return NULL;
    }
    if (++slab->taken > slab->taken_max)
        slab->taken_max = slab->taken;
    return object;
}

void slab_return(struct slab *slab, void *object)
{
    MUST(slab->taken > 0);
    struct free_link *link = object;
    link->next = slab->free_head;
    slab->free_head = link;
    slab->taken--;
}

void slab_trim(struct slab *slab)
{
    struct chunk *kept = slab->chunks;
    if (slab->taken > 0 || !kept || !kept->next)
        return;
    for (struct chunk *chunk = kept->next, *next; chunk; chunk = next) {
        next = chunk->next;
        munmap(chunk, chunk->bytes);
    }
    kept->next = NULL;
    kept->end = NULL;
    slab->free_head = NULL;
    slab->made = 0;
    slab->chunk_at = (char *)kept + CHUNK_HEAD;
    slab->chunk_end = (char *)kept + kept->bytes;
    madvise(slab->chunk_at - CHUNK_HEAD + 4096, kept->bytes - 4096, MADV_DONTNEED);
}

void slab_each(struct slab *slab, void (*visit)(void *object, void *argument), void *argument)
{
    for (struct chunk *chunk = slab->chunks; chunk; chunk = chunk->next)
        for (char *at = (char *)chunk + CHUNK_HEAD; chunk->end && at < chunk->end; at += slab->object_bytes)
            visit(at, argument);
}

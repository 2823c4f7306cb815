/*
 * slab: objects of one size, taken and returned, never unmapped while the slab lives.
 *
 * A completion may arrive for an object that was given back: because slab memory stays mapped until slab_release, the
 * generation kept in the object may still be read and compared (op.h). Objects come LIFO, so the warm one is next.
 * Grows by SLAB_CHUNK objects (one mmap each) up to `cap`, then slab_take answers NULL. Memory of a fresh object is
 * zero; a returned object's bytes are left as they are, but for its first 8 bytes, which link the free list: an
 * object's first member must be something that may be overwritten while it is free.
 */
#ifndef WEIR_SLAB_H
#define WEIR_SLAB_H

#include "engine/base/base.h"

#define SLAB_CHUNK_BYTES (256u * 1024u)

struct slab {
    size_t object_bytes; /* rounded up to 64 */
    uint32_t cap;
    uint32_t made;
    uint32_t taken;
    uint32_t taken_max;
    uint64_t failures;
    uint64_t grown; /* chunks mapped: must stand still after warm-up */
    void *free_head;
    char *chunk_at; /* next never-used object of the newest chunk */
    char *chunk_end;
    void *chunks; /* list, for slab_release */
};

void slab_init(struct slab *slab, size_t object_bytes, uint32_t cap);
void slab_release(struct slab *slab);
void *slab_take(struct slab *slab); /* NULL at the cap or when mmap fails (fault point "slab") */
void slab_return(struct slab *slab, void *object);

/* Gives all chunks but one back when no object is out: only for objects that no completion can name afterwards. */
void slab_trim(struct slab *slab);

/* Calls visit for every object ever made, free or taken (the visitor tells them apart by their own state). */
void slab_each(struct slab *slab, void (*visit)(void *object, void *argument), void *argument);

#endif

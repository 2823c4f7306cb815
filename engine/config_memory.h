/*
 * config_memory: memory that is taken piece by piece and given back at once. A configuration lives in one, and so do,
 * for the time of reading, the nodes of its file.
 */
#ifndef WEIR_CONFIG_MEMORY_H
#define WEIR_CONFIG_MEMORY_H

#include "engine/base/slice.h"

struct config_chunk;
struct config_memory {
    struct config_chunk *chunks; /* newest first */
    bool failed;                 /* some piece was refused */
};

/* Zeroed, aligned to 16, also for size 0. NULL when out of memory (fault point "config"). */
void *config_memory_take(struct config_memory *memory, size_t size);
/* Ends in NUL, which the slice does not count. at == NULL: out of memory. */
struct slice config_memory_copy(struct config_memory *memory, struct slice bytes);
void config_memory_release(struct config_memory *memory);

/* The memory of a configuration that is being made. */
struct config;
struct config *config_new(void); /* NULL: out of memory */
struct config_memory *config_memory_of(struct config *config);

#endif

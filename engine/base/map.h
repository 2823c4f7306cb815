/*
 * map: text keys to pointers, seeded so that hostile keys cannot be made to collide (SipHash-1-3).
 *
 * Open addressing with linear probing, power-of-two size, at most 3/4 full, capped. Keys are not copied: they must
 * outlive their entry. For configuration, registries and caches' indexes, not the per-request path.
 */
#ifndef WEIR_MAP_H
#define WEIR_MAP_H

#include "engine/base/slice.h"

struct map_entry {
    struct slice key; /* at == NULL: empty; at == map_gone: deleted */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries;
    uint32_t size; /* power of two or 0 */
    uint32_t count;
    uint32_t gone;
    uint32_t cap; /* entries at most */
    uint64_t seed[2];
};

/* The seed comes from the caller (random in the engine, fixed in tests). */
void map_init(struct map *map, uint32_t cap, uint64_t seed0, uint64_t seed1);
void map_release(struct map *map);
void *map_find(const struct map *map, struct slice key);
/* ERR_EXISTS, ERR_CAP, ERR_MEMORY. */
enum err must_use map_add(struct map *map, struct slice key, void *value);
/* The value that stood there, or NULL. */
void *map_remove(struct map *map, struct slice key);
/* Entries in no order: start with *cursor = 0; NULL at the end. The map must not change meanwhile. */
struct map_entry *map_next(const struct map *map, uint32_t *cursor);

uint64_t siphash13(const void *bytes, size_t length, uint64_t seed0, uint64_t seed1);

#endif

#include "engine/base/map.h"

#include <stdlib.h>

#include "engine/base/check.h"

#define SIZE_FIRST 16u
static const char map_gone[1];

/* SipHash-1-3 (Aumasson and Bernstein, 2012; one compression and three finalisation rounds). */
static inline uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = rotate(v[1], 13); v[1] ^= v[0]; v[0] = rotate(v[0], 32);
    v[2] += v[3]; v[3] = rotate(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = rotate(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = rotate(v[1], 17); v[1] ^= v[2]; v[2] = rotate(v[2], 32);
}

uint64_t siphash13(const void *bytes, size_t length, uint64_t seed0, uint64_t seed1)
{
    const unsigned char *at = bytes;
    uint64_t v[4] = { seed0 ^ 0x736f6d6570736575ull, seed1 ^ 0x646f72616e646f6dull, seed0 ^ 0x6c7967656e657261ull,
                      seed1 ^ 0x7465646279746573ull };
    uint64_t last = (uint64_t)length << 56;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < length; i++)
        last |= (uint64_t)at[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *map, uint32_t cap, uint64_t seed0, uint64_t seed1)
{
    *map = (struct map){ .cap = cap, .seed = { seed0, seed1 } };
}

void map_release(struct map *map)
{
    free(map->entries);
    map->entries = NULL;
    map->size = map->count = map->gone = 0;
}

static bool in_use(const struct map_entry *entry)
{
    return entry->key.at && entry->key.at != map_gone;
}

static struct map_entry *find(const struct map *map, struct slice key, uint64_t hash)
{
    for (uint32_t i = (uint32_t)hash;; i++) {
        struct map_entry *entry = &map->entries[i & (map->size - 1)];
        if (!entry->key.at)
            return NULL;
        if (entry->hash == hash && entry->key.at != map_gone && slice_equal(entry->key, key))
            return entry;
    }
}

static uint64_t hash_of(const struct map *map, struct slice key)
{
    return siphash13(key.at, key.length, map->seed[0], map->seed[1]);
}

void *map_find(const struct map *map, struct slice key)
{
    if (map->count == 0)
        return NULL;
    struct map_entry *entry = find(map, key, hash_of(map, key));
    return entry ? entry->value : NULL;
}

static void place(struct map_entry *entries, uint32_t size, struct map_entry entry)
{
    uint32_t i = (uint32_t)entry.hash;
    while (entries[i & (size - 1)].key.at)
        i++;
    entries[i & (size - 1)] = entry;
}

static bool resize(struct map *map, uint32_t size)
{
    struct map_entry *entries = FAULT("map") ? NULL : calloc(size, sizeof *entries);
    if (!entries)
        return false;
    for (uint32_t i = 0; i < map->size; i++)
        if (in_use(&map->entries[i]))
            place(entries, size, map->entries[i]);
    free(map->entries);
    map->entries = entries;
    map->size = size;
    map->gone = 0;
    return true;
}

enum err map_add(struct map *map, struct slice key, void *value)
{
    uint64_t hash = hash_of(map, key);
    MUST(key.at != NULL);
    if (map->count && find(map, key, hash))
        return ERR_EXISTS;
    if (map->count >= map->cap)
        return ERR_CAP;
    if ((map->count + map->gone + 1) * 4ull > map->size * 3ull) {
        uint32_t size = map->size ? map->size : SIZE_FIRST;
        while ((map->count + 1) * 2ull > size)
            size *= 2;
        if (!resize(map, size))
            return ERR_MEMORY;
    }
    place(map->entries, map->size, (struct map_entry){ key, value, hash });
    map->count++;
    return ERR_OK;
}

void *map_remove(struct map *map, struct slice key)
{
    struct map_entry *entry = map->count ? find(map, key, hash_of(map, key)) : NULL;
    if (!entry)
        return NULL;
    void *value = entry->value;
    *entry = (struct map_entry){ .key = { map_gone, 0 } };
    map->count--;
    map->gone++;
    return value;
}

struct map_entry *map_next(const struct map *map, uint32_t *cursor)
{
    while (*cursor < map->size) {
        struct map_entry *entry = &map->entries[(*cursor)++];
        if (in_use(entry))
            return entry;
    }
    return NULL;
}

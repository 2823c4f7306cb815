#include "cache/tags.h"

#include <string.h>

#include "engine/base/check.h"

#define SLAB_BYTES 1024u
#define SLAB_TAGS ((SLAB_BYTES - PAGES_GRAIN) / PAGES_GRAIN)
#define BYTES_PER_BUCKET 4096u
#define SHARE_MOST 16u /* records take at most so much of the region: one part in ... */

struct tag_slab {
    struct tag_slab *next, *previous; /* of those with room */
    uint32_t free;                    /* a bit per record */
};
_Static_assert(sizeof(struct tag) <= PAGES_GRAIN, "a record has a short reference");

static uint32_t buckets_of(uint64_t region_bytes)
{
    uint32_t buckets = 64;
    while (buckets < region_bytes / BYTES_PER_BUCKET)
        buckets *= 2;
    return buckets;
}

size_t tags_bytes(uint64_t region_bytes)
{
    return buckets_of(region_bytes) * sizeof(uint32_t);
}

void tags_init(struct tags *tags, void *buckets, uint64_t region_bytes, struct pages *pages)
{
    *tags = (struct tags){ .pages = pages,
                           .buckets = buckets,
                           .mask = buckets_of(region_bytes) - 1,
                           .records_most = (uint32_t)(region_bytes / SHARE_MOST / PAGES_GRAIN) };
    memset(buckets, 0, tags_bytes(region_bytes));
}

struct tag *tags_find(const struct tags *tags, uint64_t hash)
{
    struct tag *tag = pages_at(tags->pages, tags->buckets[hash & tags->mask]);
    while (tag && tag->hash != hash)
        tag = pages_at(tags->pages, tag->next);
    return tag;
}

/* Slabs -------------------------------------------------------------------------------------------------------- */

static struct tag_slab *slab_of(struct tag *tag)
{
    return (struct tag_slab *)(void *)((char *)tag - (size_t)(tag->number + 1) * PAGES_GRAIN);
}

static void link_slab(struct tags *tags, struct tag_slab *slab)
{
    slab->previous = NULL;
    slab->next = tags->free;
    if (slab->next)
        slab->next->previous = slab;
    tags->free = slab;
}

static void unlink_slab(struct tags *tags, struct tag_slab *slab)
{
    *(slab->previous ? &slab->previous->next : &tags->free) = slab->next;
    if (slab->next)
        slab->next->previous = slab->previous;
}

static struct tag_slab *slab_with_room(struct tags *tags)
{
    if (tags->free)
        return tags->free;
    struct tag_slab *slab = pages_take(tags->pages, SLAB_BYTES);
    if (!slab)
        return NULL;
    slab->free = (1u << SLAB_TAGS) - 1;
    link_slab(tags, slab);
    return slab;
}

static struct tag *take(struct tags *tags)
{
    struct tag_slab *slab = slab_with_room(tags);
    if (!slab)
        return NULL;
    unsigned number = (unsigned)__builtin_ctz(slab->free);
    slab->free &= slab->free - 1;
    if (!slab->free)
        unlink_slab(tags, slab);
    struct tag *tag = (struct tag *)(void *)((char *)slab + (size_t)(number + 1) * PAGES_GRAIN);
    tag->number = number;
    return tag;
}

static void give(struct tags *tags, struct tag *tag)
{
    struct tag_slab *slab = slab_of(tag);
    if (!slab->free)
        link_slab(tags, slab);
    slab->free |= 1u << tag->number;
    if (slab->free != (1u << SLAB_TAGS) - 1)
        return;
    unlink_slab(tags, slab);
    pages_give(tags->pages, slab, SLAB_BYTES);
}

/* Records ------------------------------------------------------------------------------------------------------ */

struct tag *tags_get(struct tags *tags, uint64_t hash)
{
    struct tag *tag = tags_find(tags, hash);
    if (tag || tags->records >= tags->records_most)
        return tag;
    tag = take(tags);
    if (!tag)
        return NULL;
    uint32_t *bucket = &tags->buckets[hash & tags->mask];
    *tag = (struct tag){ .hash = hash, .next = *bucket, .number = tag->number };
    *bucket = pages_reference(tags->pages, tag);
    tags->records++;
    return tag;
}

void tags_drop(struct tags *tags, struct tag *tag)
{
    MUST(tag->objects == 0);
    uint32_t *link = &tags->buckets[tag->hash & tags->mask];
    uint32_t own = pages_reference(tags->pages, tag);
    while (*link != own)
        link = &((struct tag *)pages_at(tags->pages, *link))->next;
    *link = tag->next;
    tags->records--;
    give(tags, tag);
}

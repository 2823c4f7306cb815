#include "engine/overlay.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/text.h"

static void entry_release(struct overlay_entry *entry)
{
    free((char *)(uintptr_t)entry->key.at);
}

void overlay_release(struct overlay *overlay)
{
    for (uint32_t i = 0; i < overlay->count; i++)
        entry_release(&overlay->entries[i]);
    free(overlay->entries);
    *overlay = (struct overlay){ 0 };
}

/* The name of a pool has no slash. */
static bool name_entry(struct overlay_entry *entry, struct slice pool, struct slice address)
{
    size_t length = pool.length + 1 + address.length;
    char *key = FAULT("overlay") ? NULL : malloc(length + 1);
    if (!key)
        return false;
    memcpy(key, pool.at, pool.length);
    key[pool.length] = '/';
    memcpy(key + pool.length + 1, address.at, address.length);
    key[length] = 0;
    entry->key = slice_of(key, length);
    entry->pool = slice_of(key, pool.length);
    entry->address = slice_of(key + pool.length + 1, address.length);
    return true;
}

bool overlay_copy(const struct overlay *from, struct overlay *to)
{
    *to = (struct overlay){ 0 };
    if (from->count == 0)
        return true;
    to->entries = FAULT("overlay") ? NULL : calloc(from->count, sizeof *to->entries);
    to->room = to->entries ? from->count : 0;
    for (uint32_t i = 0; to->entries && i < from->count; i++) {
        to->entries[i] = from->entries[i];
        if (!name_entry(&to->entries[i], from->entries[i].pool, from->entries[i].address))
            break;
        to->count++;
    }
    if (to->count == from->count)
        return true;
    overlay_release(to);
    return false;
}

static struct overlay_entry *find(const struct overlay *overlay, struct slice pool, struct slice address)
{
    for (uint32_t i = 0; i < overlay->count; i++)
        if (slice_equal(overlay->entries[i].address, address) && slice_equal(overlay->entries[i].pool, pool))
            return &overlay->entries[i];
    return NULL;
}

const struct overlay_entry *overlay_find(const struct overlay *overlay, struct slice pool, struct slice address)
{
    return find(overlay, pool, address);
}

static bool make_room(struct overlay *overlay)
{
    if (overlay->count < overlay->room)
        return true;
    uint32_t room = overlay->room ? overlay->room * 2 : 16;
    struct overlay_entry *grown = FAULT("overlay") || overlay->count >= OVERLAY_ENTRIES_MAX ? NULL : realloc(overlay->entries, room * sizeof *grown);
    if (!grown)
        return false;
    overlay->entries = grown;
    overlay->room = room;
    return true;
}

struct overlay_entry *overlay_entry(struct overlay *overlay, struct slice pool, struct slice address)
{
    struct overlay_entry *entry = find(overlay, pool, address);
    if (entry)
        return entry;
    if (!make_room(overlay))
        return NULL;
    entry = &overlay->entries[overlay->count];
    *entry = (struct overlay_entry){ .weight = OVERLAY_UNCHANGED, .max_connections = OVERLAY_UNCHANGED };
    if (!name_entry(entry, pool, address))
        return NULL;
    overlay->count++;
    return entry;
}

static void drop(struct overlay *overlay, struct overlay_entry *entry)
{
    size_t i = (size_t)(entry - overlay->entries);
    entry_release(entry);
    overlay->count--;
    memmove(entry, entry + 1, (overlay->count - i) * sizeof *entry);
}

void overlay_tidy(struct overlay *overlay, struct overlay_entry *entry)
{
    if (!entry->added && !entry->removed && entry->weight == OVERLAY_UNCHANGED && entry->max_connections == OVERLAY_UNCHANGED &&
        entry->group == 0)
        drop(overlay, entry);
}

/* A new file --------------------------------------------------------------------------------------------------- */

static const struct config_pool *pool_named(const struct config *config, struct slice name)
{
    for (uint32_t p = 0; p < config->pool_count; p++)
        if (slice_equal(config->pools[p].name, name))
            return &config->pools[p];
    return NULL;
}

static bool configures(const struct config_pool *pool, struct slice address)
{
    for (uint32_t s = 0; s < pool->configured_count; s++)
        if (slice_equal(pool->configured[s].address.text, address))
            return true;
    return false;
}

void overlay_describe(const struct overlay_entry *entry, struct text *out)
{
    text_format(out, "%.*s: %s", (int)entry->key.length, entry->key.at, entry->added ? "added" : entry->removed ? "removed" : "changed");
    if (entry->weight != OVERLAY_UNCHANGED)
        text_format(out, ", weight %u", entry->weight);
    if (entry->max_connections != OVERLAY_UNCHANGED)
        text_format(out, ", max-connections %u", entry->max_connections);
    if (entry->group)
        text_format(out, ", group %u", entry->group);
    text_add(out, SLICE("\n"));
}

/* False: nothing of it is left. */
static bool absorb(struct overlay_entry *entry, const struct config *config, struct text *out)
{
    const struct config_pool *pool = pool_named(config, entry->pool);
    if (!pool) {
        text_format(out, "by command: %.*s is dropped: there is no such pool any more\n", (int)entry->key.length, entry->key.at);
        return false;
    }
    if (entry->added && configures(pool, entry->address)) {
        text_format(out, "by command: %.*s is the file's own now\n", (int)entry->key.length, entry->key.at);
        return false;
    }
    text_add(out, SLICE("by command, still: "));
    overlay_describe(entry, out);
    return true;
}

void overlay_absorb(struct overlay *overlay, const struct config *config, struct text *out)
{
    for (uint32_t i = 0; i < overlay->count;) {
        if (absorb(&overlay->entries[i], config, out))
            i++;
        else
            drop(overlay, &overlay->entries[i]);
    }
}

#include "cache/volume_purges.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"

#define PLACES (VOLUME_PURGES_NAMES * 2u)

bool volume_purges_init(struct volume_purges *purges, const uint64_t seed[2])
{
    *purges = (struct volume_purges){ .seed = { seed[0], seed[1] } };
    purges->names = FAULT("purges") ? NULL : calloc(PLACES, sizeof *purges->names);
    purges->prefixes = FAULT("purges") ? NULL : calloc(VOLUME_PURGES_PREFIXES, sizeof *purges->prefixes);
    if (purges->names && purges->prefixes)
        return true;
    volume_purges_release(purges);
    return false;
}

static void drop_prefix(struct volume_purges *purges, uint32_t number)
{
    free((void *)(uintptr_t)purges->prefixes[number].text.at);
    purges->prefixes[number] = purges->prefixes[--purges->prefix_count];
}

void volume_purges_release(struct volume_purges *purges)
{
    while (purges->prefix_count)
        drop_prefix(purges, 0);
    free(purges->names);
    free(purges->prefixes);
    *purges = (struct volume_purges){ 0 };
}

void volume_purges_raise_floor(struct volume_purges *purges, uint64_t floor)
{
    purges->floor = u64_max(purges->floor, floor);
}

static void set(uint64_t *hard, uint64_t *soft, bool is_soft, uint64_t sequence)
{
    uint64_t *which = is_soft ? soft : hard;
    *which = u64_max(*which, sequence);
}

/* Tags and hosts ----------------------------------------------------------------------------------------------- */

static uint64_t key_of_tag(uint64_t hash)
{
    return mix64(hash ^ PURGE_TAG) | 1;
}

static uint64_t key_of_host(const struct volume_purges *purges, struct slice host)
{
    return mix64(siphash13(host.at, host.length, purges->seed[0], purges->seed[1]) ^ PURGE_HOST) | 1;
}

static struct volume_purges_name *name_at(const struct volume_purges *purges, uint64_t key)
{
    uint32_t i = (uint32_t)(key >> 32);
    while (purges->names[i % PLACES].key && purges->names[i % PLACES].key != key)
        i++;
    return &purges->names[i % PLACES];
}

static uint64_t last_of(const struct volume_purges_name *name)
{
    return u64_max(name->hard, name->soft);
}

/* The older half becomes the floor. A table of open addressing is built anew when something leaves it. */
static void thin_out(struct volume_purges *purges)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < PLACES; i++)
        if (purges->names[i].key) {
            least = u64_min(least, last_of(&purges->names[i]));
            most = u64_max(most, last_of(&purges->names[i]));
        }
    uint64_t floor = least + (most - least) / 2;
    volume_purges_raise_floor(purges, floor);
    struct volume_purges_name *old = purges->names, *names = FAULT("purges") ? NULL : calloc(PLACES, sizeof *names);
    if (!names) { /* then all goes */
        volume_purges_raise_floor(purges, most);
        memset(old, 0, PLACES * sizeof *old);
        purges->name_count = 0;
        return;
    }
    purges->names = names;
    purges->name_count = 0;
    for (uint32_t i = 0; i < PLACES; i++)
        if (old[i].key && last_of(&old[i]) > floor) {
            *name_at(purges, old[i].key) = old[i];
            purges->name_count++;
        }
    free(old);
}

static void add_name(struct volume_purges *purges, uint64_t key, bool soft, uint64_t sequence)
{
    struct volume_purges_name *name = name_at(purges, key);
    if (!name->key && purges->name_count == VOLUME_PURGES_NAMES) {
        thin_out(purges);
        name = name_at(purges, key);
    }
    purges->name_count += name->key == 0;
    name->key = key;
    set(&name->hard, &name->soft, soft, sequence);
}

/* Prefixes ----------------------------------------------------------------------------------------------------- */

static uint32_t find_prefix(const struct volume_purges *purges, struct slice text)
{
    uint32_t i = 0;
    while (i < purges->prefix_count && !slice_equal(purges->prefixes[i].text, text))
        i++;
    return i;
}

static void drop_oldest_prefix(struct volume_purges *purges)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < purges->prefix_count; i++)
        if (u64_max(purges->prefixes[i].hard, purges->prefixes[i].soft) <
            u64_max(purges->prefixes[oldest].hard, purges->prefixes[oldest].soft))
            oldest = i;
    volume_purges_raise_floor(purges, u64_max(purges->prefixes[oldest].hard, purges->prefixes[oldest].soft));
    drop_prefix(purges, oldest);
}

static void add_prefix(struct volume_purges *purges, const struct purge *purge, uint64_t sequence)
{
    uint32_t number = find_prefix(purges, purge->text);
    if (number == VOLUME_PURGES_PREFIXES) {
        drop_oldest_prefix(purges);
        number = purges->prefix_count;
    }
    struct volume_purges_prefix *prefix = &purges->prefixes[number];
    if (number == purges->prefix_count) {
        char *text = FAULT("purges") ? NULL : malloc(purge->text.length + 1);
        if (!text) {
            volume_purges_raise_floor(purges, sequence);
            return;
        }
        if (purge->text.length)
            memcpy(text, purge->text.at, purge->text.length);
        *prefix = (struct volume_purges_prefix){ .text = slice_of(text, purge->text.length) };
        purges->prefix_count++;
    }
    set(&prefix->hard, &prefix->soft, purge->soft, sequence);
}

/* All ---------------------------------------------------------------------------------------------------------- */

void volume_purges_add(struct volume_purges *purges, const struct purge *purge, uint64_t hash, uint64_t sequence)
{
    if (purge->kind == PURGE_TAG)
        add_name(purges, key_of_tag(hash), purge->soft, sequence);
    else if (purge->kind == PURGE_HOST)
        add_name(purges, key_of_host(purges, purge->text), purge->soft, sequence);
    else if (purge->kind == PURGE_PREFIX)
        add_prefix(purges, purge, sequence);
    else if (purge->kind == PURGE_ALL)
        set(&purges->floor, &purges->floor_soft, purge->soft, sequence);
}

/* The authority: a key's second line. */
static struct slice host_of(const struct record *record)
{
    const char *first = memchr(record->key.at, '\n', record->url_length);
    if (!first)
        return SLICE_NONE;
    size_t left = (size_t)(record->key.at + record->url_length - first - 1);
    const char *end = memchr(first + 1, '\n', left);
    return slice_of(first + 1, end ? (size_t)(end - first - 1) : left);
}

static enum volume_purges_verdict worse(enum volume_purges_verdict verdict, uint64_t hard, uint64_t soft,
                                        uint64_t stamp)
{
    if (hard > stamp)
        return VOLUME_PURGES_GONE;
    return soft > stamp && verdict == VOLUME_PURGES_KEEP ? VOLUME_PURGES_STALE : verdict;
}

static enum volume_purges_verdict judge_name(const struct volume_purges *purges, enum volume_purges_verdict verdict,
                                             uint64_t key, uint64_t stamp)
{
    const struct volume_purges_name *name = name_at(purges, key);
    return name->key ? worse(verdict, name->hard, name->soft, stamp) : verdict;
}

enum volume_purges_verdict volume_purges_judge(const struct volume_purges *purges, const struct record *record)
{
    uint64_t stamp = record->stamp;
    enum volume_purges_verdict verdict =
        worse(record->stale ? VOLUME_PURGES_STALE : VOLUME_PURGES_KEEP, purges->floor, purges->floor_soft, stamp);
    for (uint32_t i = 0; i < record->tag_count && verdict != VOLUME_PURGES_GONE && purges->name_count; i++)
        verdict = judge_name(purges, verdict, key_of_tag(record_tag(record, i)), stamp);
    if (verdict != VOLUME_PURGES_GONE && purges->name_count)
        verdict = judge_name(purges, verdict, key_of_host(purges, host_of(record)), stamp);
    for (uint32_t i = 0; i < purges->prefix_count && verdict != VOLUME_PURGES_GONE; i++)
        if (slice_starts(slice_of(record->key.at, record->url_length), purges->prefixes[i].text))
            verdict = worse(verdict, purges->prefixes[i].hard, purges->prefixes[i].soft, stamp);
    return verdict;
}

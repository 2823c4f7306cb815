/*
 * Entries are in two chains: their bucket's, and their segment's, by which they are taken out when it is overwritten. An entry that goes for
 * another reason leaves its bucket at once and its segment when that is emptied, since that chain has one direction only.
 */
#include "cache/volume.h"

#include <stdlib.h>

#define UNITS_BITS 20u
#define EDITION_BITS 11u
#define FACT_SOFT (1u << 31)
#define NO_SEGMENT UINT32_MAX
#define GIVEN_UP UINT64_MAX

/* Life --------------------------------------------------------------------------------------------------------- */

static uint32_t power_of_two(uint64_t least)
{
    uint32_t power = 1;
    while (power < least && power < 1u << 31)
        power *= 2;
    return power;
}

static bool take_memory(struct volume *volume)
{
    if (FAULT("volume"))
        return false;
    volume->entries = calloc(volume->entry_cap + 1u, sizeof *volume->entries);
    volume->buckets = calloc(volume->bucket_count, sizeof *volume->buckets);
    volume->segments = calloc(volume->segment_count, sizeof *volume->segments);
    volume->recent = calloc(VOLUME_RECENT, sizeof *volume->recent);
    volume->pending = calloc(VOLUME_PENDING, sizeof *volume->pending);
    return volume->entries && volume->buckets && volume->segments && volume->recent && volume->pending;
}

struct volume *volume_new(uint64_t bytes, uint32_t segment_bytes, const uint64_t seed[2])
{
    if (segment_bytes < SEGMENT_BYTES_LEAST || segment_bytes > SEGMENT_BYTES_MOST || bytes % segment_bytes ||
        bytes / segment_bytes < VOLUME_SEGMENTS_LEAST || bytes / segment_bytes > VOLUME_SEGMENTS_MOST)
        return NULL;
    struct volume *volume = calloc(1, sizeof *volume);
    if (!volume)
        return NULL;
    volume->bytes = bytes;
    volume->segment_bytes = segment_bytes;
    volume->segment_count = (uint32_t)(bytes / segment_bytes);
    volume->entry_cap = (uint32_t)(bytes / VOLUME_BYTES_PER_ENTRY);
    volume->bucket_count = power_of_two(volume->entry_cap);
    volume->seed[0] = seed[0];
    volume->seed[1] = seed[1];
    volume->sequence_next = 1;
    volume->open = NO_SEGMENT;
    if (take_memory(volume))
        return volume;
    volume_free(volume);
    return NULL;
}

void volume_free(struct volume *volume)
{
    if (!volume)
        return;
    free(volume->entries);
    free(volume->buckets);
    free(volume->segments);
    free(volume->recent);
    free(volume->pending);
    free(volume);
}

/* Entries ------------------------------------------------------------------------------------------------------ */

static uint32_t hash_kept(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}
static uint32_t *bucket_of(const struct volume *volume, uint32_t hash)
{
    return &volume->buckets[hash & (volume->bucket_count - 1)];
}
static uint32_t entry_bytes(const struct volume_entry *entry)
{
    return (entry->facts & ((1u << UNITS_BITS) - 1)) * SEGMENT_UNIT;
}
static uint16_t entry_edition(const struct volume_entry *entry)
{
    return (uint16_t)(entry->facts >> UNITS_BITS & ((1u << EDITION_BITS) - 1));
}
static uint32_t entry_segment(const struct volume *volume, const struct volume_entry *entry)
{
    return (uint32_t)((uint64_t)entry->at * SEGMENT_UNIT / volume->segment_bytes);
}
static bool same_key(uint32_t a, uint32_t b)
{
    return a >> RECORD_KEY_TAG_SHIFT == b >> RECORD_KEY_TAG_SHIFT;
}

/* *link is the entry's number, in its bucket's chain. */
static void unlink_entry(struct volume *volume, uint32_t *link)
{
    struct volume_entry *entry = &volume->entries[*link];
    volume->objects--;
    volume->object_bytes -= entry_bytes(entry);
    volume->dropped++;
    *link = entry->next;
    entry->at = 0;
}

static uint32_t *find_link(struct volume *volume, uint32_t number)
{
    uint32_t *link = bucket_of(volume, volume->entries[number].hash);
    while (*link != number)
        link = &volume->entries[*link].next;
    return link;
}

bool volume_empty(struct volume *volume, uint32_t segment, uint32_t limit)
{
    struct volume_segment *one = &volume->segments[segment];
    for (; one->first && limit > 0; limit--) {
        uint32_t number = one->first;
        struct volume_entry *entry = &volume->entries[number];
        one->first = entry->next_in_segment;
        if (entry->at)
            unlink_entry(volume, find_link(volume, number));
        entry->next = volume->entry_free;
        volume->entry_free = number;
        volume->entry_count--;
    }
    return one->first == 0;
}

/* The one of lowest sequence that may be written, or has entries. */
static uint32_t find_oldest(const struct volume *volume, bool with_entries)
{
    uint32_t oldest = NO_SEGMENT;
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        const struct volume_segment *one = &volume->segments[i];
        if (i == volume->open || one->sequence == GIVEN_UP || (with_entries && !one->first))
            continue;
        if (oldest == NO_SEGMENT || one->sequence < volume->segments[oldest].sequence)
            oldest = i;
    }
    return oldest;
}

uint32_t volume_oldest(const struct volume *volume)
{
    return find_oldest(volume, false);
}

/* Where all entries are taken the oldest segment gives its own. */
static uint32_t take_entry(struct volume *volume)
{
    if (volume->entry_count == volume->entry_cap) {
        uint32_t oldest = find_oldest(volume, true);
        if (oldest == NO_SEGMENT)
            return 0;
        volume_empty(volume, oldest, 64);
    }
    volume->entry_count++;
    if (!volume->entry_free)
        return ++volume->entry_made;
    uint32_t number = volume->entry_free;
    volume->entry_free = volume->entries[number].next;
    return number;
}

/* Finding ------------------------------------------------------------------------------------------------------ */

uint32_t volume_find(const struct volume *volume, uint64_t hash, uint32_t tags,
                     struct volume_place places[VOLUME_VARIANTS])
{
    uint32_t count = 0, kept = hash_kept(hash);
    for (uint32_t number = *bucket_of(volume, kept); number && count < VOLUME_VARIANTS;
         number = volume->entries[number].next) {
        const struct volume_entry *entry = &volume->entries[number];
        if (entry->hash != kept || !same_key(entry->tags, tags))
            continue;
        uint32_t segment = entry_segment(volume, entry);
        places[count++] = (struct volume_place){
            .id = volume_segment_id(volume, segment),
            .segment = segment,
            .at = (uint32_t)((uint64_t)entry->at * SEGMENT_UNIT % volume->segment_bytes),
            .bytes = entry_bytes(entry),
            .tags = entry->tags,
            .soft = entry->facts & FACT_SOFT,
        };
    }
    return count;
}

static bool is_place(const struct volume *volume, const struct volume_entry *entry, const struct volume_place *place)
{
    return (uint64_t)entry->at * SEGMENT_UNIT == place->id.base + place->at &&
           volume->segments[place->segment].sequence == place->id.sequence;
}

void volume_forget(struct volume *volume, uint64_t hash, const struct volume_place *place)
{
    for (uint32_t *link = bucket_of(volume, hash_kept(hash)); *link; link = &volume->entries[*link].next)
        if (is_place(volume, &volume->entries[*link], place)) {
            unlink_entry(volume, link);
            return;
        }
}

void volume_unreadable(struct volume *volume, const struct volume_place *place)
{
    struct volume_segment *segment = &volume->segments[place->segment];
    if (segment->sequence == place->id.sequence && ++segment->errors >= VOLUME_SEGMENT_ERRORS &&
        place->segment != volume->open)
        volume_give_up(volume, place->segment);
}

/* Segments ----------------------------------------------------------------------------------------------------- */

/* An entry whose segment comes up within the next quarter is as good as gone: so what is in use is written again. */
static bool leaves_soon(const struct volume *volume, uint32_t segment)
{
    uint64_t age = volume->sequence_next - volume->segments[segment].sequence;
    return age > volume->segment_count - volume->segment_count / 4;
}

static bool is_wanted(const struct volume *volume, uint64_t hash, uint32_t tags, uint16_t edition)
{
    uint32_t kept = hash_kept(hash);
    for (uint32_t number = *bucket_of(volume, kept); number; number = volume->entries[number].next) {
        const struct volume_entry *entry = &volume->entries[number];
        if (entry->hash == kept && entry->tags == tags)
            return entry_edition(entry) != edition || (entry->facts & FACT_SOFT) ||
                   leaves_soon(volume, entry_segment(volume, entry));
    }
    return true;
}

bool volume_admit(struct volume *volume, uint64_t hash, uint32_t tags, uint16_t edition, uint64_t *stamp)
{
    uint16_t *pending = &volume->pending[hash % VOLUME_PENDING];
    if (*pending == UINT16_MAX || !is_wanted(volume, hash, tags, edition))
        return false;
    ++*pending;
    *stamp = volume->purged;
    return true;
}

void volume_settle(struct volume *volume, uint64_t hash)
{
    MUST(volume_is_pending(volume, hash));
    volume->pending[hash % VOLUME_PENDING]--;
}

void volume_found(struct volume *volume, uint32_t segment, uint64_t sequence)
{
    volume->segments[segment] = (struct volume_segment){ .sequence = sequence };
    volume->sequence_next = u64_max(volume->sequence_next, sequence + 1);
}

struct segment_id volume_begin(struct volume *volume, uint32_t segment)
{
    MUST(volume->segments[segment].first == 0);
    volume->segments[segment] = (struct volume_segment){ .sequence = volume->sequence_next++ };
    volume->open = segment;
    return volume_segment_id(volume, segment);
}

void volume_give_up(struct volume *volume, uint32_t segment)
{
    volume_empty(volume, segment, UINT32_MAX);
    volume->segments[segment].sequence = GIVEN_UP;
    if (volume->open == segment)
        volume->open = NO_SEGMENT;
}

/* Adding ------------------------------------------------------------------------------------------------------- */

/* Between the stamp and now: did a purge by URL come, or another version of it? */
enum verdict { KEEP, STALE, GONE };
static enum verdict judge_recent(const struct volume *volume, const struct segment_entry *entry)
{
    enum verdict verdict = KEEP;
    if (entry->stamp < volume->recent_lost)
        return GONE;
    for (uint32_t i = 0; i < volume->recent_count && i < VOLUME_RECENT; i++) {
        const struct volume_recent *recent = &volume->recent[i];
        if (recent->hash != entry->hash || recent->sequence <= entry->stamp ||
            !(recent->all || recent->tags == entry->tags))
            continue;
        if (!recent->soft)
            return GONE;
        verdict = STALE;
    }
    return verdict;
}

/* Others of this variant make place, and the last of too many variants. */
static void make_place(struct volume *volume, uint32_t kept, uint32_t tags)
{
    uint32_t variants = 0;
    for (uint32_t *link = bucket_of(volume, kept); *link;) {
        struct volume_entry *entry = &volume->entries[*link];
        bool related = entry->hash == kept && same_key(entry->tags, tags);
        if (related && (entry->tags == tags || ++variants >= VOLUME_VARIANTS))
            unlink_entry(volume, link);
        else
            link = &entry->next;
    }
}

static bool put_entry(struct volume *volume, uint32_t segment, const struct segment_entry *entry, bool soft)
{
    uint32_t kept = hash_kept(entry->hash), number = take_entry(volume);
    if (!number)
        return false;
    uint32_t *bucket = bucket_of(volume, kept);
    volume->entries[number] = (struct volume_entry){
        .hash = kept,
        .tags = entry->tags,
        .at = (uint32_t)(((uint64_t)segment * volume->segment_bytes + entry->at) / SEGMENT_UNIT),
        .facts = entry->bytes / SEGMENT_UNIT | (uint32_t)entry->edition << UNITS_BITS | (soft ? FACT_SOFT : 0),
        .next = *bucket,
        .next_in_segment = volume->segments[segment].first,
    };
    *bucket = volume->segments[segment].first = number;
    volume->objects++;
    volume->object_bytes += entry->bytes;
    return true;
}

bool volume_add(struct volume *volume, uint32_t segment, const struct segment_entry *entry, bool soft)
{
    struct volume_segment *one = &volume->segments[segment];
    enum verdict verdict = judge_recent(volume, entry);
    if (verdict == GONE || entry->stamp < volume->floor || one->sequence == GIVEN_UP)
        return false;
    make_place(volume, hash_kept(entry->hash), entry->tags);
    return put_entry(volume, segment, entry, soft || verdict == STALE);
}

/* Purging ------------------------------------------------------------------------------------------------------ */

static void remember(struct volume *volume, const struct volume_recent *recent)
{
    if (!volume_is_pending(volume, recent->hash))
        return;
    struct volume_recent *at = &volume->recent[volume->recent_count++ % VOLUME_RECENT];
    volume->recent_lost = u64_max(volume->recent_lost, at->sequence);
    *at = *recent;
}

static void purge_url(struct volume *volume, const struct purge *purge, uint64_t hash, uint64_t sequence,
                      struct purge_count *count)
{
    uint32_t kept = hash_kept(hash);
    remember(volume, &(struct volume_recent){ .hash = hash, .sequence = sequence, .all = true, .soft = purge->soft });
    for (uint32_t *link = bucket_of(volume, kept); *link;) {
        struct volume_entry *entry = &volume->entries[*link];
        if (entry->hash == kept) {
            count->objects++;
            count->bytes += entry_bytes(entry);
        }
        if (entry->hash == kept && !purge->soft) {
            unlink_entry(volume, link);
            continue;
        }
        entry->facts |= entry->hash == kept ? FACT_SOFT : 0;
        link = &entry->next;
    }
}

void volume_replaced(struct volume *volume, uint64_t hash, uint32_t tags, uint64_t sequence)
{
    uint32_t kept = hash_kept(hash);
    volume->purged = u64_max(volume->purged, sequence);
    remember(volume, &(struct volume_recent){ .hash = hash, .sequence = sequence, .tags = tags });
    for (uint32_t *link = bucket_of(volume, kept); *link;)
        if (volume->entries[*link].hash == kept && volume->entries[*link].tags == tags)
            unlink_entry(volume, link);
        else
            link = &volume->entries[*link].next;
}

static void purge_all(struct volume *volume, bool soft, uint64_t sequence, struct purge_count *count)
{
    count->objects += volume->objects;
    count->bytes += volume->object_bytes;
    if (soft)
        return;
    volume_raise_floor(volume, sequence);
    volume->dropped += volume->objects;
    volume->objects = volume->object_bytes = 0;
    volume->entry_count = volume->entry_made = volume->entry_free = 0;
    memset(volume->buckets, 0, volume->bucket_count * sizeof *volume->buckets);
    for (uint32_t i = 0; i < volume->segment_count; i++)
        volume->segments[i].first = 0;
}

void volume_raise_floor(struct volume *volume, uint64_t floor)
{
    volume->floor = u64_max(volume->floor, floor);
    volume->purged = u64_max(volume->purged, floor);
}

void volume_purge(struct volume *volume, const struct purge *purge, uint64_t hash, uint64_t sequence,
                  struct purge_count *count)
{
    volume->purged = u64_max(volume->purged, sequence);
    if (purge->kind == PURGE_URL)
        purge_url(volume, purge, hash, sequence, count);
    if (purge->kind == PURGE_ALL)
        purge_all(volume, purge->soft, sequence, count);
}

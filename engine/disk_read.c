/*
 * Reading from the disk tier, on the ring of the worker that wants it.
 *
 * A load reads a window around the record's place, proves the head, asks the purges, and copies chunk after chunk, each proved, into an object of
 * the home that is not to be found before it is whole. While more is to come the next window is read. Of several variants the newest that the
 * request selects is taken. A load whose waiter has gone, or has waited long enough, ends by itself; its buffer stays with it until the kernel is done.
 */
#include <errno.h>
#include <stdlib.h>

#include "cache/bytes.h"
#include "engine/disk.h"

/* Life of a load ----------------------------------------------------------------------------------------------- */

static void read_done(struct op *op, int32_t result, uint32_t flags);
static void waited_enough(struct timer *timer, uint64_t now_ms);

static struct disk_load *take_load(struct disk_side *side)
{
    struct disk_load *load = side->loads_free;
    if (load) {
        side->loads_free = load->next;
        return load;
    }
    if (side->loads_made == DISK_LOADS)
        return NULL;
    load = &side->loads[side->loads_made];
    load->buffer = disk_block_memory(DISK_READ_BYTES);
    if (!load->buffer)
        return NULL;
    load->side = side;
    load->op.done = read_done;
    load->timer.fire = waited_enough;
    side->loads_made++;
    return load;
}

/* The waiter is told, if it still waits; it may begin another load at once. */
static void tell(struct disk_load *load, bool found)
{
    struct disk_wait *wait = load->wait;
    load->wait = NULL;
    timer_cancel(&load->side->loop->wheel, &load->timer);
    if (!wait)
        return;
    wait->load = NULL;
    if (found)
        DISK_COUNT(load->side->disk, loaded, 1);
    wait->done(wait, found);
}

static void end_load(struct disk_load *load, bool found)
{
    struct disk_side *side = load->side;
    if (load->object) {
        struct cache *cache = home_enter(load->home);
        if (!found)
            cache_break(cache, load->object);
        cache_unref(cache, load->object);
        home_leave(load->home);
        load->object = NULL;
    }
    tell(load, found);
    load->next = side->loads_free;
    side->loads_free = load;
}

/* From here on this volume is asked nothing for a while. What has begun to fill an object goes on without a waiter. */
static void waited_enough(struct timer *timer, uint64_t now_ms)
{
    struct disk_load *load = CONTAINER_OF(timer, struct disk_load, timer);
    DISK_COUNT(load->side->disk, slow, 1);
    atomic_store_explicit(&load->volume->slow_until_ms, now_ms + DISK_SLOW_MS, memory_order_relaxed);
    tell(load, false);
}

void disk_leave(struct disk_wait *wait)
{
    struct disk_load *load = wait->load;
    if (!load)
        return;
    wait->load = NULL;
    load->wait = NULL;
    timer_cancel(&load->side->loop->wheel, &load->timer);
}

/* Windows ------------------------------------------------------------------------------------------------------ */

static const struct volume_place *place_of(const struct disk_load *load)
{
    return &load->places[load->place];
}

static void read_window(struct disk_load *load, uint32_t from)
{
    const struct volume_place *place = place_of(load);
    uint32_t end = (uint32_t)bytes_align(place->at + place->bytes, SEGMENT_BLOCK);
    load->window_at = from & ~(SEGMENT_BLOCK - 1);
    load->window = (uint32_t)u64_min(end - load->window_at, DISK_READ_BYTES);
    disk_read_at(load->side->loop, &load->op, load->volume->fd, load->buffer, load->window,
                 place->id.base + load->window_at);
}

static void begin_place(struct disk_load *load)
{
    read_window(load, place_of(load)->at);
}

static void forget_place(struct disk_load *load)
{
    pthread_mutex_lock(&load->volume->lock);
    volume_forget(load->volume->volume, load->hash, place_of(load));
    pthread_mutex_unlock(&load->volume->lock);
}

static void corrupt(struct disk_load *load)
{
    DISK_COUNT(load->side->disk, corrupt, 1);
    forget_place(load);
}

/* Not this one: another variant may be. Without a waiter nobody can say which. */
static void next_place(struct disk_load *load)
{
    if (load->wait && !load->side->stopped && ++load->place < load->place_count)
        begin_place(load);
    else
        end_load(load, false);
}

/* Records ------------------------------------------------------------------------------------------------------ */

static enum volume_purges_verdict judge(struct disk *disk, const struct record *record)
{
    pthread_mutex_lock(&disk->purge_lock);
    enum volume_purges_verdict verdict = volume_purges_judge(&disk->purges, record);
    pthread_mutex_unlock(&disk->purge_lock);
    return verdict;
}

static bool selected(const struct disk_load *load, const struct record *record)
{
    const struct disk_wait *wait = load->wait;
    return record->url_length == wait->key->url_length && slice_equal(record->key, wait->key->text) &&
           cache_vary_matches(record->vary, wait->request);
}

static struct object *begin_object(struct disk_load *load, const struct record *record, bool stale)
{
    struct response response;
    enum err e;
    if (!record_response(record, &response))
        return NULL;
    struct cache_new what = {
        .key = *load->wait->key,
        .vary = record->vary,
        .rule = load->wait->rule,
        .response = &response,
        .policy = record->policy,
        .length = record->content_length,
        .no_body = !record->has_body,
        .sequence = load->sequence,
        .now_s = record->stored_s,
    };
    struct cache *cache = home_enter(load->home);
    struct object *object = cache_begin(cache, &what, &e);
    home_leave(load->home);
    if (object && stale)
        atomic_store_explicit(&object->stale, true, memory_order_relaxed);
    return object;
}

/* The head is in the window. True: an object is begun. */
static bool take_head(struct disk_load *load)
{
    struct record record;
    uint32_t needed, inside = place_of(load)->at - load->window_at;
    enum err e = record_read_head(&place_of(load)->id, place_of(load)->at, load->buffer + inside, load->window - inside,
                                  &record, &needed);
    if (e != ERR_OK || record.bytes != place_of(load)->bytes) {
        corrupt(load);
        return false;
    }
    if (!selected(load, &record))
        return false;
    enum volume_purges_verdict verdict = judge(load->side->disk, &record);
    if (verdict == VOLUME_PURGES_GONE) {
        forget_place(load);
        return false;
    }
    load->content_length = record.content_length;
    load->done = 0;
    load->chunk_at = place_of(load)->at + record.head_bytes;
    load->object = begin_object(load, &record, verdict == VOLUME_PURGES_STALE || place_of(load)->soft);
    return load->object != NULL;
}

static bool copy_content(struct disk_load *load, const char *from, uint32_t length)
{
    while (length > 0) {
        uint32_t room;
        char *to = cache_room(load->home->cache, load->object, length, &room); /* of a known length: needs no lock */
        if (!to)
            return false;
        room = (uint32_t)u64_min(room, length);
        memcpy(to, from, room);
        cache_filled(load->object, room);
        from += room;
        length -= room;
    }
    return true;
}

enum progress { WHOLE, MORE, WRONG };
static enum progress take_chunks(struct disk_load *load)
{
    uint32_t bytes;
    while ((bytes = record_chunk_bytes(load->content_length, load->done)) > 0) {
        if (load->chunk_at + bytes > load->window_at + load->window)
            return MORE;
        const char *chunk = load->buffer + (load->chunk_at - load->window_at);
        if (!record_chunk_holds(&place_of(load)->id, load->chunk_at, chunk, bytes)) {
            corrupt(load);
            return WRONG;
        }
        if (!copy_content(load, chunk + 8, bytes - 8))
            return WRONG;
        load->chunk_at += bytes;
        load->done += bytes - 8;
    }
    return WHOLE;
}

/* Between its beginning and now it may have been purged here, or a newer response stored in memory (disk_replaced): then the index has it no more. */
static bool still_there(struct disk_load *load)
{
    struct volume_place places[VOLUME_VARIANTS];
    bool there = false;
    pthread_mutex_lock(&load->volume->lock);
    uint32_t count = volume_find(load->volume->volume, load->hash, place_of(load)->tags, places);
    for (uint32_t i = 0; i < count; i++)
        there |= places[i].id.sequence == place_of(load)->id.sequence && places[i].id.base == place_of(load)->id.base &&
                 places[i].at == place_of(load)->at;
    pthread_mutex_unlock(&load->volume->lock);
    return there;
}

static bool complete(struct disk_load *load)
{
    struct cache *cache = home_enter(load->home);
    bool well = still_there(load) && cache_complete(cache, load->object);
    home_leave(load->home);
    return well;
}

static bool read_well(struct disk_load *load, int32_t result)
{
    struct disk_volume *volume = load->volume;
    if (FAULT("disk_read"))
        result = -EIO;
    if (FAULT("disk_read_short"))
        result = result > 0 ? result / 2 : result;
    if (result == (int32_t)load->window) {
        atomic_store_explicit(&volume->errors, 0, memory_order_relaxed);
        DISK_COUNT(volume->disk, read_bytes, load->window);
        return true;
    }
    if (result == -ECANCELED || load->side->stopped)
        return false;
    pthread_mutex_lock(&volume->lock);
    volume_unreadable(volume->volume, place_of(load));
    volume_forget(volume->volume, load->hash, place_of(load));
    pthread_mutex_unlock(&volume->lock);
    disk_volume_failed(volume, "be read", result < 0 ? -result : EIO);
    return false;
}

static void read_done(struct op *op, int32_t result, uint32_t flags)
{
    struct disk_load *load = CONTAINER_OF(op, struct disk_load, op);
    (void)flags;
    if (!load->object && !load->wait) { /* nobody waits, and nothing was begun */
        end_load(load, false);
        return;
    }
    if (!read_well(load, result)) {
        end_load(load, false);
        return;
    }
    if (!load->object && !take_head(load)) {
        next_place(load);
        return;
    }
    enum progress progress = take_chunks(load);
    if (progress == MORE && !load->side->stopped)
        read_window(load, load->chunk_at);
    else
        end_load(load, progress == WHOLE && complete(load));
}

/* Beginning ---------------------------------------------------------------------------------------------------- */

static bool may_read(const struct disk_side *side, const struct disk_volume *volume)
{
    return !side->stopped && !atomic_load_explicit(&volume->off, memory_order_relaxed) &&
           !atomic_load_explicit(&side->disk->off, memory_order_relaxed);
}

static bool find_places(struct disk_load *load, const struct cache_key *key)
{
    uint32_t tags = record_tags(load->volume->volume->seed, key->text, SLICE_NONE);
    load->hash = key->url_hash;
    load->place = 0;
    pthread_mutex_lock(&load->volume->lock);
    load->place_count = volume_find(load->volume->volume, key->url_hash, tags, load->places);
    pthread_mutex_unlock(&load->volume->lock);
    return load->place_count > 0;
}

bool disk_load(struct disk_side *side, struct disk_wait *wait)
{
    struct disk_volume *volume = disk_volume_of(side->disk, wait->key->url_hash);
    wait->load = NULL;
    if (!may_read(side, volume))
        return false;
    bool slow = side->loop->now_ms < atomic_load_explicit(&volume->slow_until_ms, memory_order_relaxed);
    struct disk_load *load = slow ? NULL : take_load(side);
    if (!load) {
        DISK_COUNT(side->disk, busy, 1);
        return false;
    }
    load->volume = volume;
    load->home = homes_of(side->homes, wait->key->url_hash);
    load->sequence = cache_sequence(home_enter(
        load->home)); /* before the place is looked up: what is purged after this is seen by cache_complete */
    home_leave(load->home);
    if (!find_places(load, wait->key)) {
        load->next = side->loads_free;
        side->loads_free = load;
        return false;
    }
    DISK_COUNT(side->disk, loads, 1);
    load->wait = wait;
    wait->load = load;
    timer_set(&side->loop->wheel, &load->timer, side->loop->now_ms + DISK_WAIT_MS);
    begin_place(load);
    return true;
}

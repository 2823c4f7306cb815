/*
 * What an exchange has to do with the disk behind the store: before it goes to the origin for what memory has not, it looks there; what is used a
 * second time is written there; and what it purges is purged there too.
 *
 * Who reads from the disk may lead a flight meanwhile: those who want the same wait for it as for an origin, and look again when it is in memory. The disk
 * answers within a time of its own (DISK_WAIT_MS), so no timer is needed here.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/caching.h"

/* Reading ------------------------------------------------------------------------------------------------------ */

static void answered(struct disk_wait *wait, bool found)
{
    struct caching *c = CONTAINER_OF(wait, struct caching, disk);
    c->disk_found = found;
    exchange_run(c->exchange);
}

bool caching_read(struct exchange *x, struct flight *flight)
{
    struct caching *c = x->caching;
    c->disk_asked = true;
    c->disk = (struct disk_wait){ .key = &c->key, .request = &x->request, .rule = c->rule, .done = answered };
    if (!disk_load(x->worker->disk, &c->disk))
        return false;
    c->role = CACHE_READING;
    c->flight = flight;
    return true;
}

/* Writing ------------------------------------------------------------------------------------------------------ */

void caching_admit(const struct exchange *x, struct object *object)
{
    struct disk *disk = caching_disk(x);
    if (disk && !x->caching->of_slice) /* slices are kept in memory only */
        disk_admit(disk, x->caching->home, object);
}

void caching_replaced(const struct exchange *x, const struct object *object)
{
    struct disk *disk = caching_disk(x);
    if (unlikely(disk != NULL))
        disk_replaced(disk, object);
}

/* What is validated is used, and may go on from a front table without coming by again. */
void caching_freshened(const struct exchange *x, const struct object *old, struct object *object)
{
    caching_replaced(x, old);
    if (!slice_equal(old->vary, object->vary))
        caching_replaced(x, object); /* what was for others too */
    caching_admit(x, object);
}

/* Purging ------------------------------------------------------------------------------------------------------ */

/* A PURGE on its way to the disk; it outlives an exchange that leaves. */
struct disk_purge {
    struct exchange *exchange; /* NULL: it has left */
    uint64_t objects;
    bool waited_for, over, kept;
};

/* In memory at once, on the disk with `done` (disk.h); without a disk done is not called. */
static uint64_t purge_url(struct exchange *x, struct slice url, void (*done)(void *argument, bool kept), void *argument)
{
    struct purge purge = { .kind = PURGE_URL, .text = url };
    struct purge_count in_memory, on_disk = { 0 }, again = { 0 };
    struct disk *disk = caching_disk(x);
    if (unlikely(disk != NULL))
        disk_purge_begin(disk, &purge, &on_disk);
    homes_purge_url(x->worker->shared->homes, &purge, &in_memory);
    if (unlikely(disk != NULL))
        disk_purge_finish(disk, &x->worker->loop, &purge, &again, done, argument);
    return u64_max(in_memory.objects,
                   on_disk.objects); /* most of what is in memory is on the disk, too, or the other way round */
}

uint64_t caching_forget(struct exchange *x, struct slice url)
{
    return purge_url(x, url, NULL, NULL);
}

static enum step_verdict answer(struct exchange *x, uint64_t objects, bool kept)
{
    size_t cap = 64;
    char *room = arena_take(&x->arena, cap);
    x->caching->role = CACHE_PASS;
    if (!kept)
        return exchange_answer(
            x, 500, "purge",
            SLICE("It is purged, but a restart may undo that: the disk failed, or too much waits for it\n"));
    if (!room)
        return exchange_short_of_memory(x);
    int length = snprintf(room, cap, "purged %llu objects\n", (unsigned long long)objects);
    return exchange_answer(x, 200, NULL, slice_of(room, (size_t)length));
}

static void is_kept(void *argument, bool kept)
{
    struct disk_purge *purge = argument;
    purge->over = true;
    purge->kept = kept;
    if (!purge->waited_for)
        return;
    if (purge->exchange)
        exchange_run(purge->exchange);
    else
        free(purge);
}

enum step_verdict caching_forgotten(struct exchange *x)
{
    struct caching *c = x->caching;
    struct disk_purge *purge = c->purging;
    if (!purge->over) {
        purge->waited_for = true;
        return STEP_WAIT;
    }
    uint64_t objects = purge->objects;
    bool kept = purge->kept;
    c->purging = NULL;
    free(purge);
    return answer(x, objects, kept);
}

enum step_verdict caching_forget_and_answer(struct exchange *x, struct slice url)
{
    struct caching *c = x->caching;
    if (likely(!caching_disk(x)))
        return answer(x, caching_forget(x, url), true);
    struct disk_purge *purge = FAULT("purge") ? NULL : calloc(1, sizeof *purge);
    if (!purge)
        return exchange_short_of_memory(x);
    purge->exchange = x;
    c->purging = purge;
    c->role = CACHE_PURGING;
    purge->objects = purge_url(x, url, is_kept, purge);
    return caching_forgotten(x);
}

void caching_leave_disk(struct exchange *x)
{
    struct caching *c = x->caching;
    if (c->role == CACHE_READING)
        disk_leave(&c->disk);
    if (c->role != CACHE_PURGING || !c->purging)
        return;
    c->purging->exchange = NULL;
    if (c->purging->over)
        free(c->purging);
    c->purging = NULL;
}

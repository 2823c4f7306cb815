/*
 * The numbers are the paper's: a tenth of the bytes for newcomers, counters up to three, as many ghosts as the main queue may have objects (not as it
 * has now: a loop longer than the memory would never fill it). One use in the small queue is enough to stay, which is better where popularity moves.
 * perf/micro/cache.c measures it beside LRU and SIEVE: it is ahead of both on Zipf's law with and without scans, and holds a part of a loop.
 */
#include "cache/eviction.h"

#include "engine/base/check.h"

#define SMALL_SHARE 10u                    /* a tenth */
#define USES_TO_STAY 1u                    /* in the small queue, for the main one */
#define BYTES_PER_GHOST 4096u              /* of the region */
#define WAYS 4u                            /* ghosts in a set */
#define PATIENT_TRIES (EVICTION_TRIES / 2) /* then uses count no more: somebody has to go */

static uint32_t ghost_sets(uint64_t region_bytes)
{
    uint32_t sets = 16;
    while ((uint64_t)sets * WAYS < region_bytes / BYTES_PER_GHOST)
        sets *= 2;
    return sets;
}

size_t eviction_bytes(uint64_t region_bytes)
{
    return (size_t)ghost_sets(region_bytes) * WAYS * sizeof(struct ghost);
}

void eviction_init(struct eviction *eviction, void *tables, uint64_t region_bytes)
{
    *eviction = (struct eviction){ .ghosts = tables, .ghost_mask = ghost_sets(region_bytes) - 1 };
    memset(tables, 0, eviction_bytes(region_bytes));
}

/* Ghosts ------------------------------------------------------------------------------------------------------- */

static struct ghost *ghost_set(const struct eviction *eviction, uint64_t key_hash)
{
    return &eviction->ghosts[(size_t)(mix64(key_hash) & eviction->ghost_mask) * WAYS];
}

/* Older ones than the main queue may have objects are forgotten. */
static bool ghost_counts(const struct eviction *eviction, const struct ghost *ghost)
{
    uint64_t objects = eviction->queues[QUEUE_SMALL].objects + eviction->queues[QUEUE_MAIN].objects;
    return ghost->stamp && eviction->clock - ghost->stamp <= objects - objects / SMALL_SHARE;
}

void eviction_remember(struct eviction *eviction, const struct object *object)
{
    struct ghost *set = ghost_set(eviction, object->key_hash), *oldest = set;
    if (object->queue != QUEUE_SMALL)
        return;
    if (++eviction->clock == 0)
        eviction->clock = 1;
    for (unsigned i = 1; i < WAYS; i++)
        if (!set[i].stamp || (oldest->stamp && eviction->clock - set[i].stamp > eviction->clock - oldest->stamp))
            oldest = &set[i];
    *oldest = (struct ghost){ .print = (uint32_t)object->key_hash, .stamp = eviction->clock };
}

static bool comes_back(struct eviction *eviction, uint64_t key_hash)
{
    struct ghost *set = ghost_set(eviction, key_hash);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].print == (uint32_t)key_hash && ghost_counts(eviction, &set[i])) {
            set[i].stamp = 0;
            return true;
        }
    return false;
}

/* Queues ------------------------------------------------------------------------------------------------------- */

static void enqueue(struct eviction *eviction, struct object *object, unsigned number)
{
    struct queue *queue = &eviction->queues[number];
    object->queue = (uint8_t)number;
    object->newer = NULL;
    object->older = queue->newest;
    if (queue->newest)
        queue->newest->newer = object;
    else
        queue->oldest = object;
    queue->newest = object;
    queue->bytes += object->queued_bytes;
    queue->objects++;
}

void eviction_add(struct eviction *eviction, struct object *object)
{
    enqueue(eviction, object, comes_back(eviction, object->key_hash) ? QUEUE_MAIN : QUEUE_SMALL);
}

void eviction_remove(struct eviction *eviction, struct object *object)
{
    struct queue *queue = &eviction->queues[object->queue];
    MUST(object->queue != QUEUE_NONE);
    *(object->newer ? &object->newer->older : &queue->newest) = object->older;
    *(object->older ? &object->older->newer : &queue->oldest) = object->newer;
    queue->bytes -= object->queued_bytes;
    queue->objects--;
    object->newer = object->older = NULL;
    object->queue = QUEUE_NONE;
}

static void move(struct eviction *eviction, struct object *object, unsigned queue, uint8_t uses)
{
    eviction_remove(eviction, object);
    atomic_store_explicit(&object->uses, uses, memory_order_relaxed);
    enqueue(eviction, object, queue);
}

void eviction_inherit(struct eviction *eviction, const struct object *old, struct object *object)
{
    move(eviction, object, old->queue, atomic_load_explicit(&old->uses, memory_order_relaxed));
}

/* From the small queue while it has more than its share; from the other one when that queue's oldest was just passed over. */
static struct object *oldest(const struct eviction *eviction, bool other)
{
    const struct queue *small = &eviction->queues[QUEUE_SMALL], *main = &eviction->queues[QUEUE_MAIN];
    bool from_small = (small->bytes > (small->bytes + main->bytes) / SMALL_SHARE) != other;
    if (!small->oldest || !main->oldest)
        from_small = small->oldest != NULL;
    return from_small ? small->oldest : main->oldest;
}

struct object *eviction_pick(struct eviction *eviction, uint32_t *tries, struct object **unused)
{
    bool held = false;
    *unused = NULL;
    for (uint32_t looked = 0; *tries; looked++) {
        struct object *object = oldest(eviction, held);
        if (!object)
            return NULL;
        --*tries;
        uint8_t uses = atomic_load_explicit(&object->uses, memory_order_relaxed);
        held = object->references > 1;
        if (!held && (uses == 0 || looked >= PATIENT_TRIES))
            return object;
        if (!*unused && uses == 0)
            *unused = object;
        if (object->queue == QUEUE_SMALL && uses >= USES_TO_STAY)
            move(eviction, object, QUEUE_MAIN, 0);
        else
            move(eviction, object, object->queue, uses ? (uint8_t)(uses - 1) : 0);
    }
    return NULL;
}

/*
 * eviction: which object goes when room is needed: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need for cache eviction, SOSP 2023).
 *
 * What comes for the first time stands in the small queue, a tenth of the bytes: asked for again while there, it moves to the main queue; else it goes,
 * and its key's fingerprint stays in the ghost table for a while: who comes back then goes to the main queue at once. So what is
 * asked for once, a scan above all, passes through a tenth of the memory. In the main queue a use buys another round. A hit writes a counter and
 * moves nothing. Sizes count: queues are measured in bytes.
 *
 * Held objects (with references besides the index's) are passed over as long as there are others: to take them out would free nothing now.
 */
#ifndef WEIR_CACHE_EVICTION_H
#define WEIR_CACHE_EVICTION_H

#include "cache/object.h"

enum { QUEUE_NONE, QUEUE_SMALL, QUEUE_MAIN, QUEUES };

struct queue {
    struct object *newest, *oldest;
    uint64_t bytes, objects;
};
struct ghost {
    uint32_t print; /* of a key's hash */
    uint32_t stamp; /* of the ghosts' clock; 0: empty */
};
struct eviction {
    struct queue queues[QUEUES];
    struct ghost *ghosts;
    uint32_t ghost_mask; /* sets - 1 */
    uint32_t clock;      /* ghosts made */
};

#define EVICTION_TRIES 256u /* objects looked at for one request for room: some ten microseconds */

size_t eviction_bytes(uint64_t region_bytes);
void eviction_init(struct eviction *eviction, void *tables, uint64_t region_bytes);
/* object->queued_bytes are what counts for it. */
void eviction_add(struct eviction *eviction, struct object *object);
/* It comes in another's stead: in its queue, with its uses. A response that was asked for again is no newcomer. */
void eviction_inherit(struct eviction *eviction, const struct object *old, struct object *object);
void eviction_remove(struct eviction *eviction, struct object *object);
/*
 * The next to go; it still stands in its queue. Each object looked at takes one of *tries. NULL: no tries left, or none stored; then *held is one that is held
 * but was not used lately, or NULL: taken out, it gives back its memory later.
 */
struct object *eviction_pick(struct eviction *eviction, uint32_t *tries, struct object **held);
/* It was evicted: should it come back soon, it is no newcomer. */
void eviction_remember(struct eviction *eviction, const struct object *object);

#endif

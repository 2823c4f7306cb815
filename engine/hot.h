/*
 * hot: one worker's hold of a stored object, and its table of those that it serves often.
 *
 * A hold has the object's reference and one lent block (buf.h) that stands for the memory of the object's home, so that what is queued for clients
 * points into the stored content. It is counted like a block, on its worker only: the table, exchanges and queued spans have references; with the
 * last one the object's is given back, under the home's lock.
 *
 * What the table has is served without any lock and without a write that other workers would feel. An entry is good while the object is
 * not gone and no purge has come into force since it was looked up (homes->purges). The table holds a bounded share of the cache's memory, since what is
 * held cannot be evicted; entries that were not used for a while go.
 *
 * Readers are exchanges that have sent all there is of an object that still grows: hot_grew of the one that fills it wakes them, on any worker.
 */
#ifndef WEIR_HOT_H
#define WEIR_HOT_H

#include "engine/base/buf.h"
#include "engine/base/slab.h"
#include "engine/homes.h"
#include "engine/wake.h"

struct exchange;

struct hot_reader {
    struct hot_reader *next, **link; /* link NULL: does not wait */
    void (*grew)(struct hot_reader *reader);
};

struct hot {
    struct lent_block memory; /* first: overwritten in part while free */
    struct object *object;
    struct home *home;
    struct worker *worker;
    uint64_t purges; /* when it was looked up */
    uint64_t hits;   /* not yet added to the object's */
    uint64_t used_ms, taken_ms;
    struct hot_reader *readers;
    struct wake wake;         /* guarded by the home's lock while `watching` */
    struct hot *next_watcher; /* of the object's body, under the home's lock */
    struct hot *next_growing; /* of the worker's that watch */
    bool watching;
    bool tabled;
    bool missed; /* another wanted its slot */
};

#define HOT_SLOTS 4096u
#define HOT_GROWING 64u
#define HOT_PASSES 1024u
#define HOT_WHOLES 256u
struct hot_table {
    struct hot *slots[HOT_SLOTS];
    struct hot *growing[HOT_GROWING];
    struct slab hots;
    struct hot_pass {
        uint64_t url_hash, until_ms;
    } passes[HOT_PASSES];      /* keys whose responses were not to be stored lately */
    struct hot_pass wholes[HOT_WHOLES]; /* URLs that are not asked for in slices, though their route would */
    struct response *scratch;  /* a head as it is to be stored or served; in use only within one call */
    uint64_t bytes, bytes_max; /* of objects in slots */
};

struct hot_table *hot_table_new(const struct homes *homes, uint32_t workers); /* NULL: no memory */
void hot_table_free(struct hot_table *table);                                 /* every hold was given back */

/* A hold of what the table has for this request; NULL: look it up in its home. */
struct hot *hot_find(struct worker *worker, const struct cache_key *key, const struct request *request);

/*
 * A hold of an object with its reference, which is taken over (also on failure: NULL, out of memory). purges: homes->purges before the object was looked up.
 * Not to be called with the home's lock held.
 */
struct hot *hot_take(struct worker *worker, struct home *home, struct object *object, uint64_t purges);
static inline struct hot *hot_ref(struct hot *hot)
{
    block_ref(&hot->memory.block);
    return hot;
}
static inline void hot_unref(struct hot *hot)
{
    block_unref(&hot->memory.block);
}

/* False: there is more (or an end) by now, look again. True: reader->grew runs when there is; hot_forget before the reader goes. */
bool hot_await(struct hot *hot, struct hot_reader *reader, uint64_t have);
void hot_forget(struct hot_reader *reader);

/* The object has more content, or its body's state has changed: whoever fills it says so, on its own worker, without the lock. */
void hot_grew(struct worker *worker, struct home *home, struct object *object);

void hot_tick(struct worker *worker);  /* now and then: lets go of what is not used */
void hot_clear(struct worker *worker); /* of everything in the table */

#endif

/*
 * cache: one home: a share of the process's cache memory with the objects whose keys belong there, found, stored, evicted and purged.
 *
 * A home is single-threaded code: its owner (engine/) holds the home's lock around each call that takes the cache, and never across
 * anything that waits. Time is an argument. Memory is a region given at the start: nothing else is ever allocated, so that the budget is
 * exact; what does not fit evicts others, and when nothing can be evicted (all is held) storing fails and serving goes on.
 *
 * All functions want the lock but those that say otherwise. Each is bounded: the longest are storing in a full home, which looks at 256 objects
 * at most to make room (some ten microseconds, 100 at worst), and a purge of the 65th prefix while the sweep has not met the first.
 *
 * Objects: object.h. Flights: one request to the origin for a key, which others wait for.
 */
#ifndef WEIR_CACHE_CACHE_H
#define WEIR_CACHE_CACHE_H

#include "cache/key.h"
#include "cache/object.h"

#define CACHE_REGION_LEAST (1024u * 1024u)
#define CACHE_REGION_MOST (1ull << 32) /* offsets in it have 32 bits */

struct cache;

/*
 * Makes a home out of `memory`, page aligned, bytes a multiple of 64 KiB within the limits above. Everything, struct cache and its
 * tables too, is inside. seed: the one that keys are hashed with (struct cache_key_context). NULL: bytes out of range.
 */
struct cache *cache_new(void *memory, size_t bytes, const uint64_t seed[2]);

/* The memory may be used for something else. Whoever still holds an object of it has made a mistake. */
void cache_release(struct cache *cache);

/* Finding ------------------------------------------------------------------------------------------------------ */

/*
 * The object that the request selects (the newest of several, RFC 9111 4.1), with a reference; NULL: none. *other_variants: some are stored under
 * the same key that it does not select. A use is counted for eviction; object->hits is the caller's to count. Purges that concern it were applied.
 * A stored answer to HEAD is for HEAD only; a HEAD gets any.
 */
struct object *cache_find(struct cache *cache, const struct cache_key *key, const struct request *request, bool *other_variants);
void cache_ref(struct object *object); /* a further one */
/* The last reference of what is gone gives its memory back. Who keeps references to what is gone keeps memory from others. */
void cache_unref(struct cache *cache, struct object *object);

/* Storing ------------------------------------------------------------------------------------------------------ */

struct cache_new {
    struct cache_key key;
    struct slice vary;
    const struct cache_rule *rule;   /* which fields are dropped, and its tags */
    const struct response *response; /* head; for freshening: fields are as to be stored */
    struct cache_policy policy;
    uint64_t length;                 /* of the content; BODY_LENGTH_UNKNOWN */
    bool no_body;                    /* an answer to HEAD */
    uint64_t sequence;               /* cache_sequence() when the origin was asked */
    int64_t now_s;
};
/*
 * An object that is not yet to be found, being filled, with one reference for the caller. With a known length all room is taken at once.
 * NULL and *e: ERR_CAP (content larger than the rule or a quarter of the home allows, more tags or fields than there may be, a head above 64 KiB),
 * ERR_MEMORY (no room can be made).
 */
struct object *cache_begin(struct cache *cache, const struct cache_new *what, enum err *e);
/*
 * Where the next content goes: at least one byte, *room of them. NULL: all that was said is there, or no room can be made, or it is above bytes_max (the
 * rule's object_bytes_max) or a quarter of the home. The filler alone calls it. Where the length was said (object->body->preallocated) no lock is needed and
 * cache may be NULL: it walks on in pieces that nobody else touches. Otherwise it takes memory, so the lock is needed.
 */
char *cache_room(struct cache *cache, struct object *object, uint64_t bytes_max, uint32_t *room);
/* bytes were written there, no more than *room: readers may see them. The filler's; needs no lock. */
void cache_filled(struct object *object, uint32_t bytes);
/*
 * All content is there: it can be found from now on. It replaces those of the same key with the same secondary key; of one key there are at most 64. False:
 * a purge that came after `sequence` concerns it, or no record for its tags can be had (refused; those who read it may go on, its body is complete), or
 * its length is not what was said (its body is broken). The caller keeps its reference either way.
 */
bool cache_complete(struct cache *cache, struct object *object);
/* No more comes. The caller still gives its reference back. Not for one that can be found. */
void cache_break(struct cache *cache, struct object *object);

/*
 * RFC 9111 4.3.4: a 304 came for the object: a new one with its content and the fields of `what` takes its place; NULL (and the old stays): no room, or a
 * purge concerns it, or its body is not complete. With a reference for the caller, who keeps that to the old one, too. Its tags are the old one's and
 * those that `what` names. Fields go in as they are, but for Content-Length and what is hop-by-hop. RFC 9111 4.3.5 (HEAD) too.
 */
struct object *cache_freshen(struct cache *cache, struct object *old, const struct cache_new *what);

struct purge_count {
    uint64_t objects, bytes;
};

/* Purging ------------------------------------------------------------------------------------------------------ */

enum purge_kind { PURGE_URL, PURGE_PREFIX, PURGE_HOST, PURGE_TAG, PURGE_ALL };
struct purge {
    enum purge_kind kind;
    bool soft;         /* mark stale, do not remove */
    struct slice text; /* URL: the URL part of a key; PREFIX: scheme LF authority LF path's beginning; HOST: authority, as keys have it; TAG: the tag */
};
/*
 * In force when it returns: nothing stored or asked for before can be found any more. In constant time but for URL (variants under it, up to 512; further
 * ones as by PREFIX): objects are taken out as they are met and by cache_sweep. Counts what is concerned: what was purged before by another name and was not
 * met yet may be counted again; for PREFIX the count is only complete when the sweep has passed (cache_swept, with cache_sequence() right after this call).
 * RFC 9111 4.4 (invalidation) is PURGE_URL.
 */
void cache_purge(struct cache *cache, const struct purge *purge, struct purge_count *count);
/* Some of what the last purge concerns goes as it is met: who keeps references without the lock has to look again. False only by URL, with few variants. */
bool cache_purges_late(const struct cache *cache);
/* The number of the last purge. What is asked of the origin is asked with it (cache_new.sequence, flight.sequence). Homes count each for itself. */
uint64_t cache_sequence(const struct cache *cache);
/*
 * Upkeep: looks at up to `objects` objects for purges that are in force, and where the home was full once evicts up to as many until a
 * 64th of it is free, so that what is large finds room at once. True: more is to be done.
 */
bool cache_sweep(struct cache *cache, uint32_t objects);
/* The prefix purge with that sequence has met all: *count is complete (remembered for the last 64 of them). */
bool cache_swept(const struct cache *cache, uint64_t sequence, struct purge_count *count);

/* Flights ------------------------------------------------------------------------------------------------------ */

struct flight_waiter {
    struct flight_waiter *next;
    struct flight_waiter **link; /* the home's; NULL: it does not wait. Zero before the first flight_wait */
};
struct flight {
    struct slice key;
    uint32_t url_length;   /* of it, the URL part */
    uint64_t url_hash, key_hash;
    uint64_t sequence;     /* of purges when it began: struct cache_new wants it */
    struct object *object; /* once the response's head is known and may be stored: a reference */
    bool closed;           /* a purge concerns it: nobody joins any more */
    struct flight_waiter *first, **tail; /* who wait for the head; the owner's to walk */
    struct flight *next;
};
/*
 * One under way that the request may join: its head is not known, or its object would be selected and did not break. None that a purge since its beginning
 * may concern: those stay closed. NULL: none. Whether it was begun for a HEAD is the caller's to know while its head is not known.
 */
struct flight *flight_find(struct cache *cache, const struct cache_key *key, const struct request *request);
struct flight *flight_begin(struct cache *cache, const struct cache_key *key); /* NULL: no room, or too many, of all or of that key (64) */
void flight_wait(struct flight *flight, struct flight_waiter *waiter);
bool flight_leave(struct flight *flight, struct flight_waiter *waiter); /* false: it does not wait; then flight may have ended */
void flight_take_off(struct cache *cache, struct flight *flight, struct object *object); /* the head is known: takes a reference */
/* Over: it cannot be found any more, its memory and its reference are given back. The waiters that are left are the caller's to wake: answers the first. */
struct flight_waiter *flight_end(struct cache *cache, struct flight *flight);

/* Seeing ------------------------------------------------------------------------------------------------------- */

struct cache_numbers {
    uint64_t bytes_max, bytes;  /* of the region; used, with all tables */
    uint64_t objects, flights;
    uint64_t inserted, evicted, evicted_bytes, refused; /* since the start; refused: no object could be made, or no record of its tags */
    uint64_t purged; /* objects that were met */
};
struct cache_numbers cache_numbers(const struct cache *cache);
/* Purges that concern them were applied. All variants under the URL part of a key, newest first, with a reference each; at most `cap`; answers how many there are. */
uint32_t cache_list(struct cache *cache, const struct cache_key *key, struct object **objects, uint32_t cap);
char *cache_base(struct cache *cache);

#endif

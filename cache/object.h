/*
 * object: one stored response.
 *
 * An object is written once and then only read: its key, head and policy never change. Validation makes a new object that shares the content
 * of the old one (struct body). All of its memory comes from the pages of its home (pages.h) and is counted there.
 *
 * Whoever uses an object holds a reference, taken and given back by the home's functions (cache.h) under the home's lock. What it
 * points to may be read without the lock as long as the reference is held. Only the members marked "any time" change then.
 */
#ifndef WEIR_CACHE_OBJECT_H
#define WEIR_CACHE_OBJECT_H

#include <stdatomic.h>

#include "cache/rules.h"

#define OBJECT_MAGIC 0x6f626a65u
#define BODY_LENGTH_UNKNOWN UINT64_MAX

/* A run of content. `next` is set before `filled` passes the end of this one. */
struct piece {
    struct piece *next;
    uint32_t cap;  /* bytes of data */
    uint32_t order; /* of its pages */
    char data[];
};

enum body_state { BODY_FILLING, BODY_COMPLETE, BODY_BROKEN /* no more comes, and what is there is not all */ };

struct body {
    uint32_t references; /* objects */
    _Atomic uint8_t state;   /* any time; enum body_state. Read before `filled`: what is complete is all there */
    _Atomic uint64_t filled; /* any time; bytes that may be read (release, acquire) */
    uint64_t length;         /* BODY_LENGTH_UNKNOWN until it is complete, where the origin did not say */
    struct piece *_Atomic first;
    struct piece *last;      /* the filler's */
};

struct object {
    uint32_t magic;
    uint32_t references;      /* under the home's lock; the index counts as one */
    _Atomic uint8_t uses;     /* any time: of the eviction's count; whoever serves it from elsewhere adds, up to OBJECT_USES_MAX */
    _Atomic bool gone;        /* any time: not in the index any more: purged, replaced, evicted */
    _Atomic bool stale;       /* any time: purged softly: to be validated before use; stale-while-revalidate and stale-if-error hold */
    uint16_t status;
    uint16_t field_count;
    uint16_t tag_count;
    uint64_t url_hash;
    struct slice key;         /* own memory, as everything below */
    uint32_t url_length;
    struct slice vary;        /* secondary key */
    struct slice reason;
    struct field *fields;     /* end-to-end fields in their order; names and values point into own memory. With Date, without Age */
    uint64_t fields_present;  /* as struct fields has it */
    uint32_t head_bytes;      /* room that these fields need when written as lines */
    struct slice etag;        /* value of ETag with its W/, empty: none */
    uint64_t *tags;           /* hashes */
    struct cache_policy policy;
    struct body *body;        /* NULL: none (a stored answer to HEAD, or nothing to store) */
    uint64_t bytes;           /* of pages that it alone has; its body's are counted in cache_bytes too */
    uint64_t sequence;        /* of the purges that it is known to have outlived */
    _Atomic uint64_t hits;    /* any time */
    int64_t stored_s;

    /* The home's own: index chain, eviction queue, disk. */
    struct object *next_in_bucket;
    struct object *newer, *older;
    uint8_t queue;
};
#define OBJECT_USES_MAX 3u

/* The stored head as a response that h1_write_response takes; *response is overwritten up to its used fields. */
void object_response(const struct object *object, struct response *response);

#endif

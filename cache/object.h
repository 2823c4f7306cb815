/*
 * object: one stored response.
 *
 * An object is written once and then only read: its key, head and policy never change. Validation makes a new object that shares the content
 * of the old one (struct body). All of its memory comes from the pages of its home (pages.h) and is counted there: one run for the object
 * with its head, one for the body with the beginning of the content, and a run for each further piece.
 *
 * Whoever uses an object holds a reference, taken and given back by the home's functions (cache.h) under the home's lock. What it
 * points to may be read without the lock as long as the reference is held. Only the members marked "any time" change then; those marked
 * "locked" may be looked at under the home's lock only.
 */
#ifndef WEIR_CACHE_OBJECT_H
#define WEIR_CACHE_OBJECT_H

#include <stdatomic.h>

#include "cache/rules.h"

#define OBJECT_MAGIC 0x6f626a65u
#define BODY_LENGTH_UNKNOWN UINT64_MAX

/*
 * A run of content. `next` is set before `filled` passes the end of this one: look at it only when `filled` says that there is more. The last
 * piece may be shorter than cap says once the body is complete: `filled` bounds what may be read, never cap alone.
 */
struct piece {
    struct piece *next;
    uint32_t cap;   /* bytes of data */
    uint32_t bytes; /* locked: of its run; 0: it is part of the body's */
    char data[];
};

enum body_state { BODY_FILLING, BODY_COMPLETE, BODY_BROKEN /* no more comes, and what is there is not all */ };

/*
 * For readers, in this order: `state` (acquire), then `filled` (acquire), then the pieces: what is complete when `state` was read has its end in
 * `filled`. For the filler: bytes, then `next`, then `filled` (release), then `state` (release).
 */
struct body {
    uint32_t references;     /* locked: objects */
    _Atomic uint8_t state;   /* any time; enum body_state. Read before `filled`: what is complete is all there */
    _Atomic uint64_t filled; /* any time; bytes that may be read (release, acquire) */
    _Atomic uint64_t length; /* any time; BODY_LENGTH_UNKNOWN until it is complete, where the origin did not say */
    struct piece *_Atomic first; /* any time; NULL until there is room for a byte */
    struct piece *last;      /* the filler's: where it writes */
    uint32_t in_last;        /* the filler's: bytes in it */
    bool preallocated;       /* the length was said: all pieces are there */
    _Atomic(void *) watchers; /* locked to write: the engine's, who wait for more of it */
    void *filler;            /* locked: the engine's, who fills it; NULL: nobody any more */
    uint64_t bytes;          /* locked: of its runs */
    uint32_t run_bytes;      /* of the run that it stands in itself */
};

struct object {
    uint32_t magic;
    uint32_t references;      /* locked; the index counts as one */
    _Atomic uint8_t uses;     /* any time: of the eviction's count; whoever serves it from elsewhere adds (object_used) */
    _Atomic bool gone;        /* any time: not in the index any more (purged, replaced, evicted), or it never will be */
    _Atomic bool stale;       /* any time: purged softly: to be validated before use; stale-while-revalidate and stale-if-error hold */
    uint8_t queue;            /* locked: the eviction's */
    uint16_t status;
    uint16_t field_count;
    uint16_t tag_count;
    bool indexed;             /* locked: it can be found */
    uint32_t url_length;
    uint64_t key_hash;        /* of key.text, all of it */
    struct slice key;         /* own memory, as everything below */
    struct object *next_in_bucket; /* locked: the index's, newest first */
    uint64_t url_hash, host_hash;
    uint64_t sequence;        /* locked: of the purges that it is known to have outlived */
    struct slice vary;        /* secondary key */
    struct body *body;        /* NULL: none (a stored answer to HEAD) */
    struct field *fields;     /* end-to-end fields in their order; names and values point into own memory. With Date, without Age and Content-Length */
    uint64_t fields_present;  /* as struct fields has it */
    char *fields_end;         /* the lines stand one after the other; here the last one's ends, and Content-Length's begins */
    struct slice reason;
    struct slice etag;        /* value of ETag with its W/, empty: none */
    uint64_t *tags;           /* hashes, by the home's seed */
    uint64_t content_length;  /* said where there is no body: of an answer to HEAD; BODY_LENGTH_UNKNOWN: not */
    uint32_t head_bytes;      /* room that these fields need when written as lines, with Content-Length's */
    uint8_t length_line;      /* bytes of the Content-Length line behind them; final once the body is complete */
    bool says_length;         /* that line is to be written once it is known */
    struct cache_policy policy;
    uint64_t bytes;           /* of the run that it alone has; its body's (body->bytes) are counted in cache_numbers too */
    _Atomic uint64_t hits;    /* any time */
    int64_t stored_s;

    /* Locked, the home's own: other objects of the URL, the eviction's queue. */
    struct object *next_of_url, *previous_of_url;
    struct object *newer, *older;
    uint64_t queued_bytes;    /* what the queue and the tags count for it */
};
#define OBJECT_TAGS_MAX 512u /* CACHE_TAGS_MAX */
#define OBJECT_USES_MAX 3u
#define OBJECT_HEAD_MOST (64u * 1024u) /* bytes of one with its head: a longer one is not stored */

/* A use that cache_find did not see: any thread, no lock. Only the first ones after each round of the eviction write. */
static inline void object_used(struct object *object)
{
    uint8_t uses = atomic_load_explicit(&object->uses, memory_order_relaxed);
    if (uses < OBJECT_USES_MAX)
        atomic_store_explicit(&object->uses, (uint8_t)(uses + 1), memory_order_relaxed);
}

/* The use that cache_find counted was none: it was only looked at, or asked for ahead for the one who comes for it now. */
static inline void object_unused(struct object *object)
{
    uint8_t uses = atomic_load_explicit(&object->uses, memory_order_relaxed);
    if (uses > 0)
        atomic_store_explicit(&object->uses, (uint8_t)(uses - 1), memory_order_relaxed);
}

/*
 * The stored head as a response that h1_write_response takes; *response is overwritten up to its used fields. No lock is needed. The fields stand
 * as lines one after the other (fields.end), with Content-Length last where it is known: of a body that is complete or whose length was said, or of
 * an answer to HEAD. framing: NONE without a body, else LENGTH or, not known yet, CHUNKED.
 */
void object_response(const struct object *object, struct response *response);

/* The home's own -------------------------------------------------------------------------------------------------- */

struct cache_new;

/* How an object is to be laid out: which fields are kept, and how long it becomes. Large: on the stack of cache_begin, once. */
struct object_plan {
    const struct cache_new *what;
    bool kept[FIELDS_CAP];
    uint32_t kept_count;
    size_t lines_bytes;
    bool add_date;
    bool freshened; /* the fields are as to be stored: the rule is not asked again */
    uint16_t tag_count;
    size_t bytes; /* of the run */
    uint64_t tags[OBJECT_TAGS_MAX];
};
/* ERR_CAP: too many fields, or longer than a run can be. The caller has filled in what, freshened and the tags. */
enum err must_use object_plan(struct object_plan *plan);
/* Writes it into its run of plan->bytes; no body, no references. */
struct object *object_lay_out(const struct object_plan *plan, void *run, uint64_t key_hash);
/* Before the body becomes complete: its Content-Length line, where it was not known before. */
void object_write_length(struct object *object, uint64_t length);

#endif

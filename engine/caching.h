/*
 * caching: what an exchange of a route with a cache has to do with the store.
 *
 *   exchange_lookup.c  LOOKUP: is it stored, is somebody fetching it, or does this exchange go to the origin for it
 *   exchange_store.c   what comes of that: the response's head is judged, its content copied into the store, a 304 freshens
 *   exchange_serve.c   SERVE: answers from the store, also from an object that still grows
 *   exchange_disk.c    what it has to do with the disk behind the store
 *   exchange_fetch.c   requests of ours, without a client: a sink stands in its place
 *   exchange_slice.c   content that is asked for and stored in slices
 *
 * Flights (cache.h) are shared between workers, under the lock of their home: who leads one tells those who wait for its head by writing their `news`
 * under the lock and waking them (wake.h).
 *
 * A leader whose client is slow or leaves is split: the fetch goes on with a sink for a client, and the client's exchange reads what is stored,
 * as those that wait do. So one slow client holds nobody up.
 */
#ifndef WEIR_CACHING_H
#define WEIR_CACHING_H

#include "engine/disk.h"
#include "engine/exchange.h"
#include "engine/hot.h"
#include "proto/h1_write.h"
#include "proto/range.h"

enum cache_role {
    CACHE_LOOKING, /* nothing is known yet */
    CACHE_PASS,    /* neither from the store nor into it */
    CACHE_READING, /* the disk is asked; `flight`, if others may wait for what comes of it */
    CACHE_PURGING, /* a PURGE waits until the disk has it */
    CACHE_WAITING, /* for the head of another's response */
    CACHE_LEADING, /* goes to the origin for the store; `flight`, if others may wait for it */
    CACHE_FILLING, /* its response goes into the store */
    CACHE_SERVING, /* is answered from the store */
    CACHE_RESUMING /* was, until the object broke: the rest comes from the origin */
};

/* What the leader has for those who wait. */
enum flight_news {
    NEWS_NONE,
    NEWS_OBJECT, /* it is being stored */
    NEWS_AGAIN,  /* nobody leads any more: look again */
    NEWS_ALONE,  /* it is not to be shared: each goes to the origin */
    NEWS_REFUSED,    /* it was for the leader's request alone: look again, but not often */
    NEWS_PERSONAL, /* the leader's request said who asks: as ALONE for those that do, as REFUSED for those that do not */
    NEWS_PAST,   /* the slice lies behind the end of the content */
    NEWS_WHOLE,  /* there are no slices to be had: look for the whole */
    NEWS_STALE   /* of a slice: the origin failed, what is stored may stand in: look again */
};

/* The parts of a stored response that were asked for. */
struct parts {
    struct ranges ranges;
    struct multipart multipart;
    unsigned next;
};

/* An answer that is made of slices: which version, and what was done for it. */
struct slices {
    uint64_t length;     /* of the whole; this and the next two as the slice had it that the answer was planned from */
    struct slice etag;   /* in the arena; empty: none, then Last-Modified counts */
    int64_t modified_s;
    uint64_t ahead;      /* up to here the next slice was asked for in time */
    uint64_t ours;       /* the one that was asked for ahead by this exchange, + 1; 0: none */
    const char *forward; /* Cache-Status' fwd, of a slice that was needed before the one that the head is made from */
    uint8_t turns;       /* how often another slice was wanted before the head */
    bool failed;         /* the origin did: what is stale may stand in */
};

struct caching {
    struct exchange *exchange;
    const struct cache_rule *rule;
    struct cache_key key; /* in the exchange's arena */
    char *key_room;       /* where its text stands, with room for a slice's line; NULL: of a fetch */
    struct home *home;
    uint8_t role;        /* enum cache_role */
    uint8_t reason;      /* enum cache_reason: why it is not stored, or passes */
    uint16_t own_fields; /* of the request: behind them stand the cache's conditions */
    uint8_t rounds;      /* how often it waited */
    uint8_t refusals;    /* of these, for what was another's alone */
    bool validating;     /* the origin is asked whether `hot` still holds */
    bool validated;      /* and it said so */
    bool collapsed;      /* waited for another's request */
    bool stored;         /* what is sent is stored, or being stored */
    bool hit;            /* served without asking the origin */
    bool stale;          /* what is served was stale, or purged softly */
    bool passed;         /* it, or its response, went past the store */
    bool purged;         /* PURGE: what is stored for its URL is gone */
    bool fetch;          /* of ours: nobody is answered */
    bool disk_asked;     /* whether it has what memory has not: once is enough */
    bool disk_found;     /* and it had, and put it into memory */
    bool of_slice;       /* of ours, for one slice */
    bool broke;          /* what it was served from, `hot`, broke off: the rest may be had from another's fetch */
    uint8_t breaks;      /* and how often */
    uint32_t whole_length;  /* of the key's text, without the slice's line; 0: there are no slices */
    struct slices *slices;  /* what the client gets is made of slices; in the arena; NULL: it is not */
    uint64_t slice;         /* the number of the one that is wanted, served, or (of_slice) fetched */
    uint64_t from;          /* where in the content that of `hot` begins: 0 but for slices */
    const char *forward; /* Cache-Status' fwd */
    uint16_t forward_status;
    uint64_t sequence; /* of purges when the origin was asked */
    uint64_t purges;   /* homes->purges when it was looked up */
    int64_t sent_s;

    struct flight *flight;  /* LEADING, FILLING; while WAITING and no news */
    struct object *filling; /* FILLING: a reference */
    struct hot *hot;        /* what is served; LEADING: the stored one that needs validation; NULL: none */

    struct flight_waiter waiter; /* WAITING; these four under the home's lock */
    struct wake wake;
    uint8_t news;               /* enum flight_news */
    struct object *news_object; /* a reference */
    struct timer patience;

    struct disk_wait disk;      /* READING */
    struct disk_purge *purging; /* PURGING */

    struct hot_reader reader;
    struct piece *piece; /* SERVING: where it stands */
    uint32_t piece_at;
    uint64_t position, end; /* in the content; end BODY_LENGTH_UNKNOWN: as far as it goes */
    struct parts *parts;    /* SERVING: only these; in the arena. NULL: everything */
    uint64_t skip;          /* RESUMING: of the origin's content, sent already */
    char status_text[CACHE_STATUS_BYTES];
};

/* exchange_lookup.c ------------------------------------------------------------------------------------------- */

/* True for a route with a cache, while there is one: LOOKUP is the next step. */
bool caching_is_on(const struct exchange *x);
/* Of the memory of x's arena, without a key; NULL: none is left. */
struct caching *caching_new(struct exchange *x);
/* The exchange has done with the store: gives everything back, and tells those who wait for it. */
void caching_end(struct exchange *x);
/* The time for all attempts is over. True: it waited for another's, and does not any more. */
bool caching_out_of_time(struct exchange *x);
/* Ends the flight, if there is one, with that news for those who wait. */
void caching_end_flight(struct exchange *x, enum flight_news news);
/* To those who waited, a list that nobody else has any more; under the home's lock. object: a reference for each is taken; may be NULL. */
void caching_tell(struct worker *worker, struct flight_waiter *first, enum flight_news news, struct object *object);
/* It is not to be stored: for a while nobody waits for what has this key, of those who say who they are, or do not, as x (caching_says_who). */
void caching_remember_pass(struct exchange *x);
bool caching_is_authorized(const struct exchange *x);
bool caching_says_who(const struct exchange *x); /* the request says who asks: Authorization, or cookies */
/* The store is asked by c->key. */
enum step_verdict caching_look(struct exchange *x);
/* By its own words, whatever the request asks for. */
bool caching_is_fresh(const struct exchange *x, const struct object *object);
/* How the stored object may be used for this request now; counts soft purges. */
enum cache_use caching_use(const struct caching *c, const struct object *object);
/* It goes on without the store. */
enum step_verdict caching_pass(struct exchange *x, enum cache_reason reason);
/* LEADING: makes the request one for the store: asks for what all who share it may get, and validates c->hot. */
void caching_shape(struct exchange *x);
void caching_count_pass(struct exchange *x);
void caching_count_hit(struct exchange *x);
void caching_count_stale(struct exchange *x);
/* The request is the client's own again. */
void caching_restore(struct exchange *x);
/* From the store: takes the hold over. */
enum step_verdict caching_serve(struct exchange *x, struct hot *hot);

/* exchange_store.c -------------------------------------------------------------------------------------------- */

/* The final response's head, before anything of it is planned. True: it is not to be relayed, x->step says what happens. */
bool caching_head(struct exchange *x, const struct response *response);
/* It is going to be relayed as planned: begins to store it, or not. */
void caching_begin(struct exchange *x, const struct response *response, const struct h1_response_plan *plan);
/* It is not going to be: those who wait go to the origin themselves, and for a while nobody waits. */
void caching_not_stored(struct exchange *x, enum cache_reason reason);
/* Content on its way; all of it is there. */
void caching_content(void *exchange, struct slice data);
void caching_complete(struct exchange *x);
/* No more comes: who reads it is told. */
void caching_break(struct exchange *x);
/* Others may read it while it comes: they are told of what came in this turn. */
void caching_grew(struct exchange *x);
/* Under the home's lock: somebody has begun to wait for more of what is filled. It may have to be taken from a client that is slow. */
void caching_nudge(struct worker *worker, struct body *body);
/* Its client takes less than comes, and there is room in the store for all of it, or somebody else wants it. */
bool caching_is_held_up(const struct exchange *x);
/* The origin failed, or an error of ours is to be sent: true when the stale object is served in its place (x->step). */
bool caching_saves(struct exchange *x, unsigned status);
/* What Cache-Status says of this exchange. */
struct slice caching_status(struct exchange *x);
/*
 * The same in one word, for the access log. hit: from the store, fresh. stale: from the store all the same. validated: from the store, after the origin
 * confirmed it. collapsed: the response that another was waiting for. miss: the origin was asked for the store. pass: past the store, because
 * the request may not be answered from it or the response not be stored. purge: a PURGE that was obeyed.
 */
const char *caching_word(const struct caching *c);

/* exchange_invalidate.c: an unsafe request was answered so. */
bool caching_may_purge(const struct exchange *x); /* PURGE, from an address that may */
enum step_verdict caching_purge(struct exchange *x); /* what is stored for its URL */
void caching_invalidate(struct exchange *x, const struct response *response);

/* exchange_disk.c --------------------------------------------------------------------------------------------- */

static inline struct disk *caching_disk(const struct exchange *x) /* NULL: there is none */
{
    return atomic_load_explicit(&x->worker->shared->disk, memory_order_relaxed);
}
/* Could the disk have what memory has not? */
static inline bool caching_may_read(const struct exchange *x)
{
    return unlikely(x->worker->disk != NULL) && !x->caching->disk_asked;
}
/* READING, with the flight. False: the disk has it not, or no time. */
bool caching_read(struct exchange *x, struct flight *flight);
/* These three under the home's lock. Found for a second use: it is worth a place on the disk, if it has none. */
void caching_admit(const struct exchange *x, struct object *object);
/* Stored, or known not to hold: what the disk has of it is not to come back. */
void caching_replaced(const struct exchange *x, const struct object *object);
/* Stored with what a 304 said: both, since it is used, and may go on from a front table without being found again. */
void caching_freshened(const struct exchange *x, const struct object *old, struct object *object);
/* All that is stored for a URL part of a key, in memory and on the disk; answers how many objects that were, of the two the larger number. */
uint64_t caching_forget(struct exchange *x, struct slice url);
/* The same for a PURGE, which is answered once the disk has it. */
enum step_verdict caching_forget_and_answer(struct exchange *x, struct slice url);
enum step_verdict caching_forgotten(struct exchange *x); /* PURGING */
/* READING, PURGING: the exchange ends. */
void caching_leave_disk(struct exchange *x);

/* exchange_serve.c -------------------------------------------------------------------------------------------- */

/* The response was begun from the origin; the rest comes from what is stored of it, from `position` on. */
void caching_go_on(struct exchange *x, struct hot *hot, uint64_t position);
/* The rest of what was begun is asked of the origin for this client alone. */
enum step_verdict caching_resume(struct exchange *x);
/* c->broke, and this was found, or is being fetched: the rest comes from there, if it is the same. Takes the hold over. */
enum step_verdict caching_serve_rest(struct exchange *x, struct hot *hot);
/* RFC 9110 8.8.1: strong validators name exactly these bytes. length: of the other's content; BODY_LENGTH_UNKNOWN. */
bool caching_is_same(const struct object *object, unsigned status, struct slice etag, uint64_t length);

/* exchange_fetch.c -------------------------------------------------------------------------------------------- */

/* A request of ours for what x asked for, which leads the flight of `c` (handed over) and validates `stale` (may be NULL; not taken over). False: no memory. */
bool caching_fetch(struct exchange *x, struct flight *flight, uint64_t sequence, struct hot *stale);
/* x goes on as a reader of what it fills, and another exchange fetches. False: no memory, nothing changed. */
bool caching_split(struct exchange *x);
/* exchange_slice.c -------------------------------------------------------------------------------------------- */

/* LOOKUP on a route with slices: of the first slice that is needed, or of the whole where slices are not to be had. */
enum step_verdict caching_look_for_slices(struct exchange *x);
/* c->slices: how the object that was found may be used, given how any could be (caching_use). */
enum cache_use caching_slice_use(const struct caching *c, struct object *object, enum cache_use use);
/* c->slices, and c->hot is what was found for it: goes to SERVE, unless it is another version than was begun. */
enum step_verdict caching_slice_serve(struct exchange *x);
/* NEWS_PAST, NEWS_WHOLE. */
enum step_verdict caching_slice_past(struct exchange *x);
enum step_verdict caching_slice_whole(struct exchange *x);
/* The answer is planned from c->hot: c->slices says of what. False: no memory. */
bool caching_slice_plan(struct exchange *x);
/* c->hot has the content at that position. */
bool caching_slice_has(const struct caching *c, uint64_t position);
/* To LOOKUP: for the slice at that position before the head was written; for the next one, once the client has taken most of what there was; for the same once more, since its fetch broke off. */
enum step_verdict caching_slice_first(struct exchange *x, uint64_t position);
enum step_verdict caching_slice_next(struct exchange *x);
enum step_verdict caching_slice_again(struct exchange *x);
/* Content of a slice was queued: when that was half of it the next one is asked for. */
void caching_slice_ahead(struct exchange *x);
/* A fetch for the slice that `of` aims at asks so. False: no memory. */
bool caching_ask_slice(struct exchange *f, const struct caching *of);
/* It cannot be in slices: all who wait look for the whole, and for a while nobody asks for slices. */
void caching_refuse_slices(struct exchange *x, enum cache_reason reason);
/* What came for it. False: it is not to be stored, and all have been told. Else it is the slice, of *bytes; or, of_slice is false now, the whole. */
bool caching_slice_came(struct exchange *x, const struct response *response, uint64_t *bytes);
/* caching_pass of an exchange with slices: what was begun is gone on with from the origin. */
enum step_verdict caching_slice_pass(struct exchange *x, enum cache_reason reason);
/* RESUMING: the response is the rest of what was begun. */
bool caching_slice_goes_on(const struct exchange *x, const struct response *response);

/* A client that is not there. */
bool conn_is_sink(const struct conn *client);
void sink_close(struct conn *sink);

#endif

/*
 * splice: moves plain bytes from one connection to another inside the kernel, socket -> pipe -> socket, uncopied: one direction. Content of responses
 * (exchange_response.c) and of requests (exchange_request_content.c), and tunnels' bytes (tunnel.c) use it. It knows no HTTP.
 *
 * Taking over (SPLICE_SETTLING): the ring's receive on `from` is told to end (conn_hold), and until its last completion has come bytes may still
 * come by it. The owner goes on copying all that comes. Only when it has ended, nothing waits in from->in, and the last copied byte has left
 * to->out (splice_settled), does the owner say splice_start: nothing is overtaken. The owner writes nothing to `to` until the end.
 *
 * Moving (SPLICE_MOVING): by one of two movers, the choice of `zero-copy` when it began. Turns are shared: whoever can move waits in
 * the worker's line, and gets SPLICE_BUDGET_FLOW bytes when it is first, until SPLICE_BUDGET_TURN have been moved in a turn (splices_run); so bulk holds up
 * a small request by that at most. A pipe is held while bytes are there and no longer.
 *
 * Each time that bytes moved, or it ended, from->events->ready is called: the owner looks at `state`, at `took` and `gave` since it last looked
 * (it sets them to 0), and calls splice_free when the state is one of the ends, or any time before. Bytes left in the pipe are lost with that, unless
 * the end is one that says that there are none. Receiving on `from` stays held; who goes on with it calls conn_release_hold.
 *
 * While IORING_OP_SPLICE is under way (mover_ring.c) its descriptors are looked up by another thread of the kernel at a moment of its choice:
 * neither connection's descriptor (conn_pin) nor the pipe may be closed or handed on before its completion. splice_free cancels, and what is left
 * settles by itself. So a splice lives in its worker's slab, not in its owner.
 */
#ifndef WEIR_SPLICE_H
#define WEIR_SPLICE_H

#include "engine/conn.h"
#include "engine/pipes.h"

#define SPLICE_MAGIC 0x73706c69u
#define SPLICE_BYTES_MIN (64u * 1024u) /* less to go is copied: it costs the same */
#define SPLICE_BUDGET_TURN (256u * 1024u)
#define SPLICE_BUDGET_FLOW (256u * 1024u)
#define SPLICE_THREADS_MAX 4u /* of a ring, for mover_ring.c */
#define SPLICE_SMALL_BYTES (16u * 1024u) /* a wake-up that brings less speaks for copying */
#define SPLICE_QUIET_WAKES 4u            /* and so many in a row say it */

enum splice_state {
    SPLICE_SETTLING, /* the owner copies what still comes */
    SPLICE_MOVING,
    SPLICE_WHOLE,   /* all that was to be moved has been */
    SPLICE_ENDED,   /* the source ended; what came before has been moved */
    SPLICE_CUT,     /* the source was reset (`error`); what came before has been moved */
    SPLICE_REFUSED, /* the sink takes nothing more (`error`) */
    SPLICE_STARVED, /* no pipe is to be had: copying goes on, nothing is lost */
    SPLICE_GONE     /* freed, and waits for its last completions */
};

struct config;
struct mover;
struct splices;
struct splice {
    void *slab_link; /* overwritten while free */
    uint32_t magic;
    uint8_t state; /* enum splice_state */
    bool queued;     /* in the worker's line */
    bool source_over; /* nothing more comes from the source; `error`: 0, or why */
    bool dry;        /* the source had nothing when it was last asked */
    bool changed;    /* the owner is to be told */
    uint8_t small_wakes;
    uint8_t working; /* IORING_OP_SPLICEs under way */
    int error;
    const struct mover *mover;
    struct splices *all;
    struct conn *from, *to;
    struct pipe *pipe; /* NULL: nothing is there to be moved */
    uint64_t left;     /* to be taken yet; UINT64_MAX: until the source ends */
    uint64_t took, gave; /* since the owner last looked */
    uint32_t woken_bytes; /* taken since the source last woke us */
    struct op take, give; /* polls of the source and the sink, or the moving itself */
    struct splice *next, *previous; /* the line */
};

/* For the start-up line: what the configuration's choice comes to. */
const char *splice_choice(const struct config *config);

struct splices *splices_new(struct worker *worker, _Atomic uint64_t *pipes_made); /* NULL: out of memory */
void splices_free(struct splices *all);
void splices_tick(struct splices *all);
/* At the end of a turn, when what was queued has been sent. */
bool splices_wait(const struct splices *all);
void splices_run(struct splices *all);

/*
 * Begins taking over: `from` is held. Both are plain, open, and no sink. NULL: `zero-copy: off`, or no pipe is to be had (counted) or no memory: copy.
 */
struct splice *splice_new(struct conn *from, struct conn *to);
bool splice_settled(const struct splice *splice);
void splice_start(struct splice *splice, uint64_t left); /* left > 0 */
/* From any state. Neither connection may have been closed yet. */
void splice_free(struct splice *splice);

static inline bool splice_is_moving(const struct splice *splice) { return splice && splice->state != SPLICE_SETTLING; }
/* Bytes wait for a sink that takes none. */
static inline bool splice_waits_for_sink(const struct splice *splice) { return splice && splice->pipe && splice->pipe->bytes > 0; }
/* Bytes have left the source that the owner does not know of, or may be leaving it this moment. */
static inline bool splice_has_taken(const struct splice *splice)
{
    return splice && (splice->took > 0 || splice->working > 0);
}
/* All that was to be moved was given to the kernel, or is being given this moment: the end is about to be told. */
static inline bool splice_is_ending(const struct splice *splice)
{
    return splice && splice->state == SPLICE_MOVING && splice->left == 0 && (splice->working > 0 || !splice_waits_for_sink(splice));
}
/* Little comes at a time, and now nothing: copying would do as well, and wakes up sooner. */
static inline bool splice_is_quiet(const struct splice *splice)
{
    return splice->state == SPLICE_MOVING && splice->small_wakes >= SPLICE_QUIET_WAKES && !splice->pipe && splice->working == 0;
}

#endif

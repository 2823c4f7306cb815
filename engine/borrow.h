/*
 * borrow: a kept connection passes from one worker to another (`keep-alive: { borrow: on }`).
 *
 * A worker whose shelf for a server is empty asks the worker that has the most idle connections to it, before it opens one. A letter
 * goes there; the lender takes its oldest off the shelf, never its last, stops receiving on it and waits for the receive's last completion,
 * so that no byte of it can come to the wrong thread; then the descriptor goes back with the same letter. The exchange waits
 * BORROW_MS at most and then connects by itself; a descriptor that comes later goes to the shelf. Plain connections only: a
 * TLS session lives in its worker's memory.
 *
 * Where limits.connections is set the same letter, whatever keep-alive says, asks for a place: connections that wait on one worker's shelf
 * would keep all others' requests in the queue.
 *
 * A struct borrow belongs to the worker that asks, which has BORROWS_MAX of them; while the letter is at the lender it is the lender's, but for the
 * members that say so. Each letter is answered exactly once, and no worker's loop ends before that: `letters` of struct process_shared
 * counts those that are out, and none is sent once `draining` is set. See borrow.c.
 */
#ifndef WEIR_BORROW_H
#define WEIR_BORROW_H

#include "engine/base/timer.h"
#include "engine/mailbox.h"
#include "pool/idle.h"

#define BORROWS_MAX 64u
#define BORROW_MS 5u

struct conn;
struct exchange;
struct origin;
struct pool_record;
struct worker;

struct borrow {
    struct letter letter;
    struct borrow *next;       /* asker: those that are free */
    struct worker *asker;
    struct origin *origin;     /* asker's, a reference */
    struct pool_record *pool;  /* a place in it is wanted */
    struct exchange *exchange; /* asker: waits for it; NULL: went on without */
    struct timer timer;        /* asker: its patience */
    int fd;                    /* lender: the answer; -1: none */
    struct idle_entry past;    /* lender: of the connection */
    uint32_t addresses;        /* lender: the connection's mark of where it leads (generation.h) */
    _Atomic uint64_t *place;   /* lender: of limits.connections, which goes with it; NULL: none */
};

void borrow_init(struct worker *worker);

/* True: x->borrow is set, and the exchange is run again when the answer is there or its time is up. False: nobody to ask. */
bool borrow_ask(struct exchange *x, struct origin *origin);
/*
 * The pool is at its limits.connections, and none to any of its servers waits here: the worker that keeps the most of them is asked to close
 * one. The answer is the same, without a descriptor. True, as above: it may be that there is a place now.
 */
bool borrow_room(struct exchange *x, struct origin *origin);
/* The exchange goes another way. */
void borrow_forget(struct exchange *x);

/* For back.c, of a connection that is ORIGIN_LENT: it may have stopped receiving; it is being closed. */
void borrow_settled(struct conn *conn);
void borrow_lost(struct conn *conn);

#endif

/*
 * mailbox: the only way one thread speaks to another: letters posted on the other's ring (MSG_RING).
 *
 * A letter is embedded in what it carries; the sender gives it up with mailbox_send and the receiver's thread runs
 * `deliver` exactly once, in its next turn. A reply is a letter sent back. Letters from one sender to one receiver arrive in
 * order. Sending from a thread without a loop is not possible.
 *
 * A post that the kernel refuses (the target's completion queue overflows: -EOVERFLOW, or no memory) is sent again by the sender's loop, in
 * order is then not promised; a target that is gone (-EBADFD) is a programming error, since loops end after their senders.
 */
#ifndef WEIR_MAILBOX_H
#define WEIR_MAILBOX_H

#include <stdatomic.h>

#include "engine/op.h"

struct loop;

struct letter {
    struct op op;          /* the sender's post */
    void (*deliver)(struct letter *letter, struct loop *here); /* on the receiver's thread */
    struct loop *from, *to;
    _Atomic uint32_t posted; /* orders the memory of the letter for the reader */
};

/* The letter must not be under way. */
void mailbox_send(struct loop *from, struct loop *to, struct letter *letter);
/* For loop.c: runs a letter that came out of the ring. */
void mailbox_deliver(void *letter, void *here);

#endif

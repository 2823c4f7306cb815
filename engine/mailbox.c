/* How letters travel: see mailbox.h. The release and acquire on `posted` order the letter's memory between the two
 * threads; the ring does so too, but the language (and the thread sanitizer) cannot know. */
#include "engine/mailbox.h"

#include <errno.h>

#include "engine/loop.h"

static void post(struct letter *letter)
{
    ring_post(&letter->from->ring, &letter->op, letter->to->ring.fd, letter);
    atomic_store_explicit(&letter->posted, 1, memory_order_release); /* it leaves with the next enter: all that was written comes first */
}

/*
 * The post's own completion only matters when it failed: -EOVERFLOW or -ENOMEM at the target. The letter was not delivered then, and
 * is sent again. On success the receiver may own (and may have freed) the letter already, which is why a letter is posted
 * with its completion skipped on success; see ring_post.
 */
static void post_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct letter *letter = CONTAINER_OF(op, struct letter, op);
    MUST(result == -EOVERFLOW || result == -ENOMEM || result == -EAGAIN || result == -EINTR);
    letter->from->again = true;
    post(letter);
}

void mailbox_send(struct loop *from, struct loop *to, struct letter *letter)
{
    letter->from = from;
    letter->to = to;
    letter->op = (struct op){ .done = post_done };
    post(letter);
}

void mailbox_deliver(void *pointer, void *here)
{
    struct letter *letter = pointer;
    MUST(atomic_load_explicit(&letter->posted, memory_order_acquire) == 1);
    atomic_store_explicit(&letter->posted, 0, memory_order_relaxed);
    letter->op.state = OP_IDLE;
    letter->deliver(letter, here);
}

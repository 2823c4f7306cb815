/*
 * The mover `ring`: IORING_OP_SPLICE for both halves. The kernel does each in a thread of the ring's pool (io-wq), of which there are
 * SPLICE_THREADS_MAX a ring at most; on a non-blocking socket it fails with EAGAIN instead of waiting, and a POLL on the same op takes its place.
 *
 * Such a thread looks up descriptors when it gets to it: conn_pin keeps the connection's open, and the splice keeps the pipe, until the completion
 * has come. Both halves may be under way at once. A dry source is polled only when the pipe is empty, see mover_poll.c.
 */
#include <errno.h>

#include "engine/mover.h"
#include "engine/worker.h"

static struct ring *ring_of(const struct splice *splice)
{
    return &splice->from->worker->loop.ring;
}

static void begin(struct splice *splice, struct conn *conn)
{
    splice->working++;
    conn_pin(conn);
}

static bool is_passing(int32_t result)
{
    return result == -EINTR || result == -ECANCELED;
}

static void taken(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct splice *splice = CONTAINER_OF(op, struct splice, take);
    struct conn *from = splice->from;
    MUST_BE(splice, SPLICE_MAGIC);
    if (result > 0)
        splice_took(splice, (uint64_t)result);
    else if (result == 0)
        splice_source_over(splice, 0);
    else if (result == -EAGAIN)
        splice->dry = true;
    else if (!is_passing(result))
        splice_source_over(splice, -result);
    splice->working--;
    if (!splice_settles(splice))
        splice_queue(splice);
    conn_unpin(from);
}

static void given(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct splice *splice = CONTAINER_OF(op, struct splice, give);
    struct conn *to = splice->to;
    MUST_BE(splice, SPLICE_MAGIC);
    if (result > 0)
        splice_gave(splice, (uint64_t)result);
    splice->dry = splice->dry && result <= 0; /* it may have been the pipe that was full */
    splice->working--;
    if (!splice_settles(splice)) {
        if (result == -EAGAIN) {
            splice->changed |=
                splice->left == 0; /* it is not ending any more, for whoever waits for that (splice_is_ending) */
            splice_await_sink(splice);
        } else if (result <= 0 && !is_passing(result) && splice->state == SPLICE_MOVING)
            splice_refused(splice, result ? -result : EPIPE);
        splice_queue(splice);
    }
    conn_unpin(to);
}

static void take(struct splice *splice)
{
    uint64_t room = op_armed(&splice->take) || splice->dry ? 0 : splice_room(splice);
    if (room == 0)
        return;
    if (FAULT("ring_take")) {
        splice_source_over(splice, ECONNRESET);
        return;
    }
    begin(splice, splice->from);
    splice->take.done = taken;
    op_splice(ring_of(splice), &splice->take, splice->from->fd, splice->pipe->in, (uint32_t)room);
}

static void give(struct splice *splice)
{
    if (op_armed(&splice->give) || splice->pipe->bytes == 0)
        return;
    if (FAULT("ring_give")) {
        splice_refused(splice, EPIPE);
        return;
    }
    begin(splice, splice->to);
    splice->give.done = given;
    op_splice(ring_of(splice), &splice->give, splice->pipe->out, splice->to->fd, splice->pipe->bytes);
}

/* The budget is for work in our own thread, of which there is none here. */
static bool move(struct splice *splice, uint64_t budget)
{
    (void)budget;
    if (!splice_needs_pipe(splice))
        return false;
    take(splice);
    give(splice);
    if (splice->working == 0 && splice->pipe->bytes == 0 && !splice_is_over(splice))
        splice_await_source(splice);
    return false;
}

const struct mover mover_ring = { "ring", move };

/*
 * The mover `poll`: splice(2) by ourselves, whenever the ring's POLL says that it can do something. The cheaper one (perf/README.md).
 *
 * Sockets and pipes are non-blocking. "Would block" of the first half means that the source is dry, or that the pipe has no slot left, which small segments
 * fill before its bytes are all there; so it is believed of the source only when the pipe is empty.
 */
#include <errno.h>
#include <fcntl.h>

#include "engine/mover.h"

static ssize_t move_bytes(int from, int to, uint64_t bytes)
{
    ssize_t moved;
    do
        moved = splice(from, NULL, to, NULL, (size_t)bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (moved < 0 && errno == EINTR);
    return moved;
}

static void take(struct splice *splice)
{
    uint64_t room = splice_room(splice);
    if (room == 0)
        return;
    if (FAULT("splice_take")) {
        splice_source_over(splice, ECONNRESET);
        return;
    }
    ssize_t moved = move_bytes(splice->from->fd, splice->pipe->in, room);
    if (moved > 0)
        splice_took(splice, (uint64_t)moved);
    else if (moved == 0)
        splice_source_over(splice, 0);
    else if (errno != EAGAIN)
        splice_source_over(splice, errno);
}

/* False: it goes on when the sink has room, or never. */
static bool give(struct splice *splice)
{
    ssize_t moved = FAULT("splice_give") ? 0 : move_bytes(splice->pipe->out, splice->to->fd, splice->pipe->bytes);
    if (moved > 0) {
        splice_gave(splice, (uint64_t)moved);
        return true;
    }
    if (moved < 0 && errno == EAGAIN)
        splice_await_sink(splice);
    else
        splice_refused(splice, moved < 0 ? errno : EPIPE);
    return false;
}

static bool move(struct splice *splice, uint64_t budget)
{
    uint64_t until = splice->gave + budget;
    while (splice->gave < until) {
        if (!splice_needs_pipe(splice))
            return false;
        take(splice);
        if (splice->pipe->bytes == 0) {
            if (!splice_is_over(splice))
                splice_await_source(splice);
            return false;
        }
        if (!give(splice))
            return false;
    }
    return true;
}

const struct mover mover_poll = { "poll", move };

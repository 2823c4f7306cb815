#include "engine/splice.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "engine/mover.h"
#include "engine/worker.h"

struct splices {
    struct worker *worker;
    struct pipe_pool *pipes;
    struct slab slab;
    struct splice *first, *last; /* the line */
    bool bounded; /* the ring knows how many threads it may have */
};

static struct ring *ring_of(const struct splice *splice)
{
    return &splice->all->worker->loop.ring;
}

/* The line ------------------------------------------------------------------------------------------------------- */

void splice_queue(struct splice *splice)
{
    struct splices *all = splice->all;
    if (splice->queued)
        return;
    splice->queued = true;
    splice->next = NULL;
    splice->previous = all->last;
    if (all->last)
        all->last->next = splice;
    else
        all->first = splice;
    all->last = splice;
}

static void leave_line(struct splice *splice)
{
    struct splices *all = splice->all;
    if (!splice->queued)
        return;
    splice->queued = false;
    if (splice->previous)
        splice->previous->next = splice->next;
    else
        all->first = splice->next;
    if (splice->next)
        splice->next->previous = splice->previous;
    else
        all->last = splice->previous;
}

/* The owner may free it. */
static uint64_t run_first(struct splices *all, uint64_t budget)
{
    struct splice *splice = all->first;
    uint64_t before = splice->gave;
    leave_line(splice);
    if (splice->state == SPLICE_MOVING && splice->mover->move(splice, u64_min(budget, SPLICE_BUDGET_FLOW)))
        splice_queue(splice);
    uint64_t moved = splice->gave - before;
    if (splice->changed) {
        splice->changed = false;
        splice->from->events->ready(splice->from);
    }
    return moved;
}

bool splices_wait(const struct splices *all)
{
    return all->first != NULL;
}

void splices_run(struct splices *all)
{
    uint64_t left = SPLICE_BUDGET_TURN;
    while (all->first && left > 0) {
        uint64_t moved = run_first(all, left);
        left -= u64_min(moved, left);
    }
    if (all->first)
        all->worker->loop.again = true;
}

/* What movers share ------------------------------------------------------------------------------------------------ */

bool splice_needs_pipe(struct splice *splice)
{
    if (!splice->pipe)
        splice->pipe = pipe_take(splice->all->pipes);
    if (splice->pipe)
        return true;
    COUNT(splice->all->worker, no_pipe);
    splice->state = SPLICE_STARVED;
    splice->changed = true;
    return false;
}

static void give_pipe_back(struct splice *splice)
{
    if (!splice->pipe)
        return;
    pipe_return(splice->all->pipes, splice->pipe);
    splice->pipe = NULL;
}

uint64_t splice_room(const struct splice *splice)
{
    if (splice->source_over || splice->pipe->bytes >= PIPE_BYTES)
        return 0;
    return u64_min(splice->left, PIPE_BYTES - splice->pipe->bytes);
}

void splice_took(struct splice *splice, uint64_t bytes)
{
    splice->pipe->bytes += (uint32_t)bytes;
    if (unlikely(splice->state == SPLICE_GONE))
        return; /* lost, and its connections are nobody's */
    splice->took += bytes;
    splice->woken_bytes = (uint32_t)u64_min(splice->woken_bytes + bytes, UINT32_MAX);
    if (splice->left != UINT64_MAX)
        splice->left -= bytes;
    splice->changed = true;
    conn_count(splice->from, bytes, true);
}

void splice_gave(struct splice *splice, uint64_t bytes)
{
    splice->pipe->bytes -= (uint32_t)bytes;
    if (unlikely(splice->state == SPLICE_GONE))
        return;
    splice->gave += bytes;
    splice->changed = true;
    conn_count(splice->to, bytes, false);
    COUNT_BYTES(splice->all->worker, splice_bytes, bytes);
}

static void end(struct splice *splice, enum splice_state state)
{
    splice->state = (uint8_t)state;
    splice->changed = true;
}

void splice_source_over(struct splice *splice, int error)
{
    splice->source_over = true;
    splice->error = error;
}

void splice_refused(struct splice *splice, int error)
{
    splice->error = error;
    end(splice, SPLICE_REFUSED);
}

bool splice_is_over(struct splice *splice)
{
    MUST(splice->pipe->bytes == 0);
    if (splice->left == 0)
        end(splice, SPLICE_WHOLE);
    else if (splice->source_over)
        end(splice, splice->error ? SPLICE_CUT : SPLICE_ENDED);
    return splice->state != SPLICE_MOVING;
}

/* Whatever the poll says: the next try finds out. A poll that cannot be made would be tried for ever. */
static void source_polled(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct splice *splice = CONTAINER_OF(op, struct splice, take);
    MUST_BE(splice, SPLICE_MAGIC);
    if (splice_settles(splice))
        return;
    if (result < 0 && result != -ECANCELED && result != -EINTR)
        splice_source_over(splice, -result);
    splice->dry = false;
    splice->woken_bytes = 0;
    splice_queue(splice);
}

static void sink_polled(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct splice *splice = CONTAINER_OF(op, struct splice, give);
    MUST_BE(splice, SPLICE_MAGIC);
    if (splice_settles(splice))
        return;
    if (result < 0 && result != -ECANCELED && result != -EINTR && splice->state == SPLICE_MOVING)
        splice_refused(splice, -result);
    splice_queue(splice);
}

void splice_await_source(struct splice *splice)
{
    bool small = splice->woken_bytes < SPLICE_SMALL_BYTES;
    splice->small_wakes = small ? (uint8_t)u64_min(splice->small_wakes + 1u, SPLICE_QUIET_WAKES) : 0;
    splice->changed |= small;
    give_pipe_back(splice);
    if (op_armed(&splice->take))
        return;
    splice->take.done = source_polled;
    op_poll(ring_of(splice), &splice->take, splice->from->fd, POLLIN | POLLRDHUP);
}

void splice_await_sink(struct splice *splice)
{
    if (op_armed(&splice->give))
        return;
    splice->give.done = sink_polled;
    op_poll(ring_of(splice), &splice->give, splice->to->fd, POLLOUT);
}

/* Life ----------------------------------------------------------------------------------------------------------- */

const char *splice_choice(const struct config *config)
{
    static const char *const words[] = {
        [ZERO_COPY_AUTO] = "auto (poll)", [ZERO_COPY_RING] = "ring", [ZERO_COPY_POLL] = "poll", [ZERO_COPY_OFF] = "off",
    };
    return words[config->zero_copy];
}

/* Threads without a bound are worse than the other mover. */
static const struct mover *ring_if_bounded(struct splices *all)
{
    if (!all->bounded)
        all->bounded = ring_limit_threads(&all->worker->loop.ring, SPLICE_THREADS_MAX);
    return all->bounded ? &mover_ring : &mover_poll;
}

static const struct mover *chosen(struct splices *all)
{
    switch ((enum zero_copy)all->worker->view->config->zero_copy) {
    case ZERO_COPY_AUTO:
    case ZERO_COPY_POLL: return &mover_poll;
    case ZERO_COPY_RING: return ring_if_bounded(all);
    case ZERO_COPY_OFF: break;
    }
    return NULL;
}

/* A look whether there is one: it is taken when bytes are there. */
static bool pipe_is_to_be_had(struct splices *all)
{
    struct pipe *pipe = pipe_take(all->pipes);
    if (pipe)
        pipe_return(all->pipes, pipe);
    else
        COUNT(all->worker, no_pipe);
    return pipe != NULL;
}

struct splice *splice_new(struct conn *from, struct conn *to)
{
    struct splices *all = from->worker->splices;
    const struct mover *mover = chosen(all);
    MUST(!from->tls && !to->tls && !from->held);
    if (!mover || !pipe_is_to_be_had(all))
        return NULL;
    struct splice *splice = slab_take(&all->slab);
    if (!splice)
        return NULL;
    uint16_t generations[] = { splice->take.generation, splice->give.generation };
    *splice = (struct splice){
        .magic = SPLICE_MAGIC, .mover = mover, .all = all, .from = from, .to = to,
        .take = { .generation = generations[0] }, .give = { .generation = generations[1] },
    };
    conn_hold(from);
    return splice;
}

bool splice_settled(const struct splice *splice)
{
    const struct conn *from = splice->from, *to = splice->to;
    return splice->state == SPLICE_SETTLING && conn_is_held(from) && queue_empty(&from->in) && !from->ended && !conn_unsent(to) && !op_armed(&to->send) &&
           !to->shutting && !to->deaf;
}

void splice_start(struct splice *splice, uint64_t left)
{
    MUST(splice_settled(splice) && left > 0);
    splice->state = SPLICE_MOVING;
    splice->left = left;
    splice_queue(splice);
    splice->all->worker->loop.again = true; /* should the line have been served in this turn */
}

/* Moving under way keeps the pipe, a poll does not; the memory waits for both. */
bool splice_settles(struct splice *splice)
{
    if (splice->state != SPLICE_GONE)
        return false;
    if (splice->working == 0)
        give_pipe_back(splice);
    if (op_armed(&splice->take) || op_armed(&splice->give))
        return true;
    splice->magic = 0;
    slab_return(&splice->all->slab, splice);
    return true;
}

void splice_free(struct splice *splice)
{
    MUST_BE(splice, SPLICE_MAGIC);
    MUST(splice->state != SPLICE_GONE);
    leave_line(splice);
    splice->state = SPLICE_GONE;
    op_cancel(ring_of(splice), &splice->take);
    op_cancel(ring_of(splice), &splice->give);
    splice_settles(splice);
}

struct splices *splices_new(struct worker *worker, _Atomic uint64_t *pipes_made)
{
    struct splices *all = FAULT("splices") ? NULL : calloc(1, sizeof *all);
    if (!all)
        return NULL;
    all->worker = worker;
    all->pipes = pipe_pool_new(pipes_made, pipes_allowed());
    slab_init(&all->slab, sizeof(struct splice), 2 * WORKER_EXCHANGES);
    if (all->pipes)
        return all;
    splices_free(all);
    return NULL;
}

void splices_tick(struct splices *all)
{
    pipe_pool_trim(all->pipes);
}

void splices_free(struct splices *all)
{
    if (!all)
        return;
    pipe_pool_free(all->pipes);
    slab_release(&all->slab);
    free(all);
}

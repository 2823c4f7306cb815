/*
 * Why these flags and no others, and what they cost, is measured in perf/README.md: DEFER_TASKRUN runs completions only
 * inside our own enter (no interrupts between processors, better batches) and needs SINGLE_ISSUER; SUBMIT_ALL keeps one bad
 * submission from holding up the rest; NO_SQARRAY saves an indirection. SQPOLL costs a second core and is not used.
 *
 * Blocks lent to the kernel: the provided-buffer ring is first in, first out, so every lent block is visited in
 * turn and a large ring means receiving into cold memory. The target therefore starts small, doubles when the
 * kernel ran dry, and the pool's last-in-first-out free list refills it with warm blocks.
 */
#include "engine/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFER_GROUP 0
#define BUFFER_ENTRIES 4096u
#define COMPLETIONS_PER_SUBMISSION 8u
#define DISPATCH_MAX 4096u /* completions per dispatch: timers and sends get their turn even in a flood */

struct ring_private {
    struct io_uring uring;
    struct io_uring_buf_ring *buffers;
    int buffer_mask;
};

_Static_assert(RING_MORE == IORING_CQE_F_MORE, "as the kernel has it");
_Static_assert(RING_BUFFER == IORING_CQE_F_BUFFER, "as the kernel has it");
_Static_assert(RING_DATA_LEFT == IORING_CQE_F_SOCK_NONEMPTY, "as the kernel has it");

/* Set-up ------------------------------------------------------------------------------------------------------- */

struct flag_set {
    unsigned flags;
    const char *words;
};

static const struct flag_set flag_sets[] = {
    { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_NO_SQARRAY,
      "SINGLE_ISSUER DEFER_TASKRUN SUBMIT_ALL NO_SQARRAY" },
    { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
      "SINGLE_ISSUER DEFER_TASKRUN SUBMIT_ALL" },
    { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
      "SINGLE_ISSUER COOP_TASKRUN SUBMIT_ALL" },
    { IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN" },
    { 0, "no flags" },
};

static int denied_by_sysctl(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (!file)
        return 0;
    int value = 0;
    if (fscanf(file, "%d", &value) != 1)
        value = 0;
    fclose(file);
    return value;
}

static enum err ring_denied(int error, char why[256])
{
    if (error == EPERM) {
        int disabled = denied_by_sysctl();
        if (disabled)
            snprintf(why, 256, "io_uring is switched off by kernel.io_uring_disabled = %d; allow it with 'sysctl -w kernel.io_uring_disabled=0'", disabled);
        else
            snprintf(why, 256, "io_uring is denied (EPERM), most likely by a container's seccomp profile; allow io_uring_setup, io_uring_enter and io_uring_register in it");
        return ERR_PERMISSION;
    }
    if (error == ENOSYS) {
        snprintf(why, 256, "this kernel has no io_uring (ENOSYS); 6.1 or later is needed");
        return ERR_SYSTEM;
    }
    if (error == ENOMEM) {
        snprintf(why, 256, "no memory for an io_uring (ENOMEM); raise RLIMIT_MEMLOCK");
        return ERR_MEMORY;
    }
    snprintf(why, 256, "io_uring_setup failed: %s", strerror(error));
    return ERR_SYSTEM;
}

static int try_flags(struct io_uring *uring, unsigned entries, unsigned flags)
{
    struct io_uring_params params = { .flags = flags | IORING_SETUP_CQSIZE, .cq_entries = entries * COMPLETIONS_PER_SUBMISSION };
    return io_uring_queue_init_params(entries, uring, &params);
}

/* Highest set first, smaller rings before fewer flags only where memory is short. */
static int try_all(struct ring *ring, unsigned entries)
{
    int result = -EINVAL;
    for (size_t i = 0; i < ARRAY_LENGTH(flag_sets); i++) {
        for (unsigned n = entries; n >= 256; n /= 2) {
            result = try_flags(&ring->private->uring, n, flag_sets[i].flags);
            if (result == 0) {
                ring->deferred = (flag_sets[i].flags & IORING_SETUP_DEFER_TASKRUN) != 0;
                snprintf(ring->obtained, sizeof ring->obtained, "%s, sq %u, cq %u", flag_sets[i].words, n, n * COMPLETIONS_PER_SUBMISSION);
                return 0;
            }
            if (result != -ENOMEM)
                break;
        }
        if (result != -EINVAL)
            return result;
    }
    return result;
}

enum err ring_init(struct ring *ring, const struct ring_options *options, char why[256])
{
    *ring = (struct ring){ .fd = -1, .lent_target = RING_LENT_MIN };
    why[0] = 0;
    ring->starved_tail = &ring->starved;
    ring->private = calloc(1, sizeof *ring->private);
    if (!ring->private)
        return ERR_MEMORY;
    int result = FAULT("ring") ? -ENOMEM : try_all(ring, options->entries);
    if (result < 0) {
        free(ring->private);
        ring->private = NULL;
        return ring_denied(-result, why);
    }
    ring->fd = ring->private->uring.ring_fd;
    if (io_uring_register_ring_fd(&ring->private->uring) != 1)
        strncat(ring->obtained, ", ring fd not registered", sizeof ring->obtained - strlen(ring->obtained) - 1);
    return ERR_OK;
}

enum err ring_buffers_init(struct ring *ring, struct block_pool *pool)
{
    int error = 0;
    struct ring_private *p = ring->private;
    p->buffers = io_uring_setup_buf_ring(&p->uring, BUFFER_ENTRIES, BUFFER_GROUP, 0, &error);
    if (!p->buffers)
        return ERR_MEMORY;
    p->buffer_mask = io_uring_buf_ring_mask(BUFFER_ENTRIES);
    ring->pool = pool;
    ring_refill(ring);
    return ring->lent ? ERR_OK : ERR_MEMORY;
}

void ring_detach(struct ring *ring)
{
    if (ring->private)
        io_uring_unregister_ring_fd(&ring->private->uring);
}

void ring_release(struct ring *ring)
{
    if (!ring->private)
        return;
    if (ring->private->buffers)
        io_uring_free_buf_ring(&ring->private->uring, ring->private->buffers, BUFFER_ENTRIES, BUFFER_GROUP);
    io_uring_queue_exit(&ring->private->uring);
    free(ring->private);
    ring->private = NULL;
}

/* Submissions -------------------------------------------------------------------------------------------------- */

static void op_set_state(struct op *op, enum op_state state)
{
    MUST(state == OP_IDLE || (state == OP_ARMED && op->state == OP_IDLE) ||
         (state == OP_CANCELLING && op->state == OP_ARMED));
    op->state = (uint8_t)state;
}

static uint64_t op_user_data(const struct op *op)
{
    return (uint64_t)(uintptr_t)op << 16 | (uint64_t)op->generation << OP_TAG_BITS | OP_TAG_OP;
}

static uint64_t tagged(const void *pointer, enum op_tag tag)
{
    return (uint64_t)(uintptr_t)pointer << 16 | tag;
}

static struct io_uring_sqe *next_sqe(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->private->uring);
    while (unlikely(!sqe)) {
        ring->early_submits++;
        io_uring_submit(&ring->private->uring);
        sqe = io_uring_get_sqe(&ring->private->uring);
    }
    return sqe;
}

static struct io_uring_sqe *arm(struct ring *ring, struct op *op)
{
    op_set_state(op, OP_ARMED);
    op->generation = (op->generation + 1) & ((1u << OP_GENERATION_BITS) - 1);
    return next_sqe(ring);
}

static void armed(struct io_uring_sqe *sqe, const struct op *op)
{
    io_uring_sqe_set_data64(sqe, op_user_data(op));
}

void op_accept_multishot(struct ring *ring, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    armed(sqe, op);
}

void op_recv_multishot(struct ring *ring, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    armed(sqe, op);
}

void op_recv_block(struct ring *ring, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    armed(sqe, op);
}

void op_recv(struct ring *ring, struct op *op, int fd, void *at, size_t length, int flags)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_recv(sqe, fd, at, length, flags);
    armed(sqe, op);
}

void op_send(struct ring *ring, struct op *op, int fd, const void *at, size_t length)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_send(sqe, fd, at, length, MSG_WAITALL | MSG_NOSIGNAL);
    armed(sqe, op);
}

void op_send_message(struct ring *ring, struct op *op, int fd, const struct msghdr *message)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_sendmsg(sqe, fd, message, MSG_WAITALL | MSG_NOSIGNAL);
    armed(sqe, op);
}

void op_connect(struct ring *ring, struct op *op, int fd, const struct sockaddr *address, socklen_t bytes)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_connect(sqe, fd, address, bytes);
    armed(sqe, op);
}

/* SPLICE_F_NONBLOCK speaks of the pipe; sockets are non-blocking by themselves. */
void op_splice(struct ring *ring, struct op *op, int from, int to, uint32_t bytes)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_splice(sqe, from, -1, to, -1, bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    armed(sqe, op);
}

bool ring_limit_threads(struct ring *ring, unsigned most)
{
    unsigned values[2] = { 0, most }; /* for regular files: as it is; for all else */
    return !FAULT("ring_threads") && io_uring_register_iowq_max_workers(&ring->private->uring, values) == 0;
}

void op_poll(struct ring *ring, struct op *op, int fd, uint32_t events)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_poll_add(sqe, fd, events);
    armed(sqe, op);
}

void op_read(struct ring *ring, struct op *op, int fd, void *at, size_t length, uint64_t offset)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_read(sqe, fd, at, (unsigned)length, offset);
    armed(sqe, op);
}

void op_write(struct ring *ring, struct op *op, int fd, const void *at, size_t length, uint64_t offset)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_write(sqe, fd, at, (unsigned)length, offset);
    armed(sqe, op);
}

void op_cancel(struct ring *ring, struct op *op)
{
    if (op->state != OP_ARMED)
        return;
    op_set_state(op, OP_CANCELLING);
    struct io_uring_sqe *sqe = next_sqe(ring);
    io_uring_prep_cancel64(sqe, op_user_data(op), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, tagged(NULL, OP_TAG_IGNORED));
}

void ring_close(struct ring *ring, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(ring);
    io_uring_prep_close(sqe, fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, tagged(NULL, OP_TAG_IGNORED));
}

void ring_post(struct ring *ring, struct op *op, int target_ring_fd, void *letter)
{
    struct io_uring_sqe *sqe = arm(ring, op);
    io_uring_prep_msg_ring(sqe, target_ring_fd, 0, tagged(letter, OP_TAG_LETTER), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS; /* then the letter is the receiver's already */
    armed(sqe, op);
}

/* Completions -------------------------------------------------------------------------------------------------- */

void ring_enter(struct ring *ring, uint64_t wait_ns)
{
    struct io_uring_cqe *cqe;
    ring->enters++;
    if (wait_ns == 0) {
        io_uring_submit_and_get_events(&ring->private->uring);
        return;
    }
    struct __kernel_timespec wait = { .tv_sec = (int64_t)(wait_ns / 1000000000u), .tv_nsec = (long long)(wait_ns % 1000000000u) };
    io_uring_submit_and_wait_timeout(&ring->private->uring, &cqe, 1, wait_ns == UINT64_MAX ? NULL : &wait, NULL);
}

static void dispatch_op(struct ring *ring, const struct io_uring_cqe *cqe)
{
    struct op *op = (struct op *)(uintptr_t)(cqe->user_data >> 16);
    unsigned generation = (unsigned)(cqe->user_data >> OP_TAG_BITS) & ((1u << OP_GENERATION_BITS) - 1);
    if (unlikely(op->state == OP_IDLE || op->generation != generation)) {
        ring->stale++;
        if (cqe->flags & RING_BUFFER)
            block_unref(ring_block(ring, 0, cqe->flags));
        return;
    }
    if (!(cqe->flags & RING_MORE))
        op_set_state(op, OP_IDLE);
    op->done(op, cqe->res, cqe->flags);
}

unsigned ring_dispatch(struct ring *ring, void (*deliver)(void *letter, void *argument), void *argument)
{
    struct io_uring *uring = &ring->private->uring;
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(uring, head, cqe) {
        if (seen == DISPATCH_MAX)
            break;
        seen++;
        unsigned tag = cqe->user_data & ((1u << OP_TAG_BITS) - 1);
        if (likely(tag == OP_TAG_OP))
            dispatch_op(ring, cqe);
        else if (tag == OP_TAG_LETTER)
            deliver((void *)(uintptr_t)(cqe->user_data >> 16), argument);
    }
    io_uring_cq_advance(uring, seen);
    ring->completions += seen;
    return seen;
}

bool ring_ready(const struct ring *ring)
{
    return io_uring_cq_ready(&ring->private->uring) > 0;
}

/* Blocks ------------------------------------------------------------------------------------------------------- */

struct block *ring_block(struct ring *ring, int32_t result, uint32_t flags)
{
    struct block *block = block_at(ring->pool, flags >> IORING_CQE_BUFFER_SHIFT);
    ring->lent--;
    block->lent = block->cold = false;
    block->used = (uint32_t)result;
    return block;
}

static void wake_starved(struct ring *ring)
{
    struct ring_waiter *waiter = ring->starved;
    ring->starved = NULL;
    ring->starved_tail = &ring->starved;
    while (waiter) {
        struct ring_waiter *next = waiter->next;
        waiter->waiting = false;
        waiter->ready(waiter);
        waiter = next;
    }
}

void ring_refill(struct ring *ring)
{
    struct ring_private *p = ring->private;
    int added = 0;
    while (ring->lent < ring->lent_target) {
        struct block *block = block_take(ring->pool);
        if (!block)
            break;
        block->lent = true;
        io_uring_buf_ring_add(p->buffers, block->data, BLOCK_BYTES, (unsigned short)block->index, p->buffer_mask, added++);
        ring->lent++;
    }
    if (added)
        io_uring_buf_ring_advance(p->buffers, added);
    if (unlikely(ring->starved) && ring->lent > 0)
        wake_starved(ring);
}

/* Only with DEFER_TASKRUN: else the kernel may fill a block while we give its memory back. */
static void cool_lent(struct ring *ring)
{
    struct block_pool *pool = ring->pool;
    for (uint32_t i = 0; i < pool->made; i++) {
        struct block *block = &pool->blocks[i];
        if (!block->lent || block->cold)
            continue;
        madvise(block->data, BLOCK_BYTES, MADV_DONTNEED);
        block->cold = true;
    }
}

void ring_trim(struct ring *ring)
{
    bool dry = ring->no_buffers != ring->trimmed_no_buffers;
    uint64_t completions = ring->completions - ring->trimmed_completions;
    ring->trimmed_no_buffers = ring->no_buffers;
    ring->trimmed_completions = ring->completions;
    if (dry)
        return;
    if (ring->lent_target > RING_LENT_MIN)
        ring->lent_target /= 2;
    if (ring->deferred && completions < ring->lent)
        cool_lent(ring);
}

void ring_wait_buffer(struct ring *ring, struct ring_waiter *waiter)
{
    if (waiter->waiting)
        return;
    ring->no_buffers++;
    if (ring->lent_target < RING_LENT_MAX)
        ring->lent_target *= 2;
    ring_wait_block(ring, waiter);
}

void ring_wait_block(struct ring *ring, struct ring_waiter *waiter)
{
    if (waiter->waiting)
        return;
    waiter->waiting = true;
    waiter->next = NULL;
    *ring->starved_tail = waiter;
    ring->starved_tail = &waiter->next;
}

void ring_wait_buffer_cancel(struct ring *ring, struct ring_waiter *waiter)
{
    if (!waiter->waiting)
        return;
    waiter->waiting = false;
    struct ring_waiter **at = &ring->starved;
    while (*at && *at != waiter)
        at = &(*at)->next;
    if (!*at)
        return; /* being woken this moment: `ready` must look at its owner's state */
    *at = waiter->next;
    if (ring->starved_tail == &waiter->next)
        ring->starved_tail = at;
}

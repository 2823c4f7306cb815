/*
 * A kernel that is as awkward as it may be, in place of engine/ring.c: the same operations on real descriptors, but every
 * decision that the kernel is free to take is drawn from a seed. Completions come late and in any order, receives bring single bytes,
 * sends are cut short or interrupted, multishot operations end for no reason, blocks run out, a cancelled receive
 * brings data first. The clock runs SIM_SPEED times as fast and jumps. WEIR_SEED repeats a run's decisions.
 */
#include "engine/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIM_SPEED 20
#define PENDING_MAX 4096
#define RINGS_MAX 16
#define RECV_ONCE 1 /* flags of a RECV_MULTI that is none */

enum kind { ACCEPT, RECV_MULTI, RECV, SEND, MESSAGE, CONNECT, POLL, READ, WRITE, SPLICE, POST };

struct pending {
    struct op *op; /* NULL: a slot that is free */
    enum kind kind;
    int fd, to; /* to: of a splice, else -1 */
    void *at;
    size_t length;
    uint64_t offset; /* RING_AT_END: the file's own */
    struct msghdr message;
    struct iovec runs[CHAIN_SPANS];
    int flags;
    bool begun; /* connect */
};

struct completion {
    struct op *op;
    void *letter;
    int32_t result;
    uint32_t flags;
};

struct ring_private {
    struct pending pending[PENDING_MAX];
    struct completion done[PENDING_MAX * 2];
    unsigned pending_count, done_count;
    uint64_t random;
    pthread_mutex_t lock; /* letters come from other threads */
    void *letters[PENDING_MAX];
    unsigned letter_count;
    uint32_t lent_list[RING_LENT_MAX];
    unsigned lent_count;
    int closing[PENDING_MAX];
    unsigned closing_count;
};

static struct ring *rings[RINGS_MAX];
static _Atomic int ring_count;
uint64_t sim_seed; /* set by the test before the engine starts */
uint64_t sim_oddities;

static uint64_t below(struct ring *ring, uint64_t limit)
{
    ring->private->random += 0x9e3779b97f4a7c15ull;
    return mix64(ring->private->random) % limit;
}

static bool odd(struct ring *ring, unsigned one_in)
{
    bool yes = below(ring, one_in) == 0;
    sim_oddities += yes;
    return yes;
}

/* The clock: faster, and with jumps, but never backwards. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    static _Atomic uint64_t first, jumped;
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result != 0 || clock != CLOCK_MONOTONIC)
        return (int)result;
    uint64_t ns = (uint64_t)now->tv_sec * 1000000000u + (uint64_t)now->tv_nsec, zero = 0;
    atomic_compare_exchange_strong(&first, &zero, ns);
    if (mix64(ns) % 4096 == 0)
        atomic_fetch_add(&jumped, 20000000u);
    uint64_t made = first + (ns - first) * SIM_SPEED + jumped;
    *now = (struct timespec){ .tv_sec = (time_t)(made / 1000000000u), .tv_nsec = (long)(made % 1000000000u) };
    return 0;
}

/* Life --------------------------------------------------------------------------------------------------------- */

enum err ring_init(struct ring *ring, const struct ring_options *options, char why[256])
{
    (void)options;
    why[0] = 0;
    *ring = (struct ring){ .lent_target = RING_LENT_MIN, .private = calloc(1, sizeof *ring->private) };
    ring->starved_tail = &ring->starved;
    if (!ring->private)
        return ERR_MEMORY;
    ring->fd = atomic_fetch_add(&ring_count, 1) % RINGS_MAX;
    rings[ring->fd] = ring;
    ring->private->random = mix64(sim_seed + (uint64_t)ring->fd);
    pthread_mutex_init(&ring->private->lock, NULL);
    snprintf(ring->obtained, sizeof ring->obtained, "simulated, seed %llu", (unsigned long long)sim_seed);
    return ERR_OK;
}

enum err ring_buffers_init(struct ring *ring, struct block_pool *pool)
{
    ring->pool = pool;
    ring_refill(ring);
    return ERR_OK;
}

void ring_detach(struct ring *ring) { (void)ring; }

void ring_release(struct ring *ring)
{
    if (!ring->private)
        return;
    for (unsigned i = 0; i < ring->private->closing_count; i++)
        close(ring->private->closing[i]);
    free(ring->private);
    ring->private = NULL;
}

/* Preparing ---------------------------------------------------------------------------------------------------- */

static struct pending *prepare(struct ring *ring, struct op *op, enum kind kind, int fd)
{
    struct ring_private *p = ring->private;
    MUST(op->state == OP_IDLE);
    op->state = OP_ARMED;
    for (unsigned i = 0; i < PENDING_MAX; i++) {
        if (p->pending[i].op)
            continue;
        p->pending[i] = (struct pending){ .op = op, .kind = kind, .fd = fd, .to = -1 };
        p->pending_count++;
        return &p->pending[i];
    }
    MUST(!"room for the operation");
    return NULL;
}

void op_accept_multishot(struct ring *ring, struct op *op, int fd) { prepare(ring, op, ACCEPT, fd); }
void op_recv_block(struct ring *ring, struct op *op, int fd)
{
    prepare(ring, op, RECV_MULTI, fd)->flags = RECV_ONCE;
}
void op_recv_multishot(struct ring *ring, struct op *op, int fd) { prepare(ring, op, RECV_MULTI, fd); }

static void with_memory(struct pending *one, const void *at, size_t length, int flags)
{
    one->at = (void *)(uintptr_t)at;
    one->length = length;
    one->flags = flags;
}

void op_recv(struct ring *ring, struct op *op, int fd, void *at, size_t length, int flags)
{
    with_memory(prepare(ring, op, RECV, fd), at, length, flags);
}

void op_send(struct ring *ring, struct op *op, int fd, const void *at, size_t length)
{
    with_memory(prepare(ring, op, SEND, fd), at, length, 0);
}

void op_send_message(struct ring *ring, struct op *op, int fd, const struct msghdr *message)
{
    struct pending *one = prepare(ring, op, MESSAGE, fd);
    MUST(message->msg_iovlen <= CHAIN_SPANS);
    memcpy(one->runs, message->msg_iov, message->msg_iovlen * sizeof one->runs[0]); /* as the kernel does: taken over at once */
    one->message = (struct msghdr){ .msg_iov = one->runs, .msg_iovlen = message->msg_iovlen };
}

void op_connect(struct ring *ring, struct op *op, int fd, const struct sockaddr *address, socklen_t bytes)
{
    with_memory(prepare(ring, op, CONNECT, fd), address, bytes, 0);
}

void op_poll(struct ring *ring, struct op *op, int fd, uint32_t events)
{
    prepare(ring, op, POLL, fd)->flags = (int)events;
}

void op_splice(struct ring *ring, struct op *op, int from, int to, uint32_t bytes)
{
    struct pending *one = prepare(ring, op, SPLICE, from);
    one->to = to;
    one->length = bytes;
}

bool ring_limit_threads(struct ring *ring, unsigned most)
{
    (void)ring;
    return most > 0;
}

void op_read(struct ring *ring, struct op *op, int fd, void *at, size_t length, uint64_t offset)
{
    struct pending *one = prepare(ring, op, READ, fd);
    with_memory(one, at, length, 0);
    one->offset = offset;
}

void op_write(struct ring *ring, struct op *op, int fd, const void *at, size_t length, uint64_t offset)
{
    struct pending *one = prepare(ring, op, WRITE, fd);
    with_memory(one, at, length, 0);
    one->offset = offset;
}

void op_cancel(struct ring *ring, struct op *op)
{
    (void)ring;
    if (op->state == OP_ARMED)
        op->state = OP_CANCELLING; /* noticed in some later turn, perhaps after data */
}

void ring_close(struct ring *ring, int fd)
{
    ring->private->closing[ring->private->closing_count++] = fd;
}

void ring_post(struct ring *ring, struct op *op, int target_ring_fd, void *letter)
{
    (void)ring;
    op->state = OP_ARMED;
    struct ring_private *target = rings[target_ring_fd]->private;
    pthread_mutex_lock(&target->lock);
    target->letters[target->letter_count++] = letter;
    pthread_mutex_unlock(&target->lock);
}

/* The kernel's side -------------------------------------------------------------------------------------------- */

static void complete(struct ring *ring, struct pending *one, int32_t result, uint32_t flags)
{
    struct ring_private *p = ring->private;
    p->done[p->done_count++] = (struct completion){ .op = one->op, .result = result, .flags = flags };
    if (flags & RING_MORE)
        return;
    one->op = NULL;
    p->pending_count--;
}

static bool ready(int fd, short events)
{
    struct pollfd one = { .fd = fd, .events = events };
    return poll(&one, 1, 0) > 0;
}

static int32_t result_of(ssize_t result)
{
    return result < 0 ? -errno : (int32_t)result;
}

static void receive_into_block(struct ring *ring, struct pending *one)
{
    struct ring_private *p = ring->private;
    if (p->lent_count == 0 || odd(ring, 300)) {
        complete(ring, one, -ENOBUFS, 0);
        return;
    }
    uint32_t index = p->lent_list[p->lent_count - 1];
    size_t most = odd(ring, 3) ? 1 + below(ring, 40) : BLOCK_BYTES;
    ssize_t got = recv(one->fd, block_at(ring->pool, index)->data, most, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        complete(ring, one, result_of(got), 0);
        return;
    }
    p->lent_count--;
    bool more = one->flags != RECV_ONCE && !odd(ring, 50); /* a multishot may end at any time */
    complete(ring, one, (int32_t)got, RING_BUFFER | index << 16 | (more ? RING_MORE : 0));
}

static void send_some(struct ring *ring, struct pending *one)
{
    if (odd(ring, 40)) {
        complete(ring, one, odd(ring, 2) ? -EINTR : -EAGAIN, 0);
        return;
    }
    ssize_t sent;
    if (one->kind == SEND) {
        size_t most = odd(ring, 6) ? 1 + below(ring, one->length) : one->length;
        sent = send(one->fd, one->at, most, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else
        sent = sendmsg(one->fd, &one->message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != EAGAIN)
        complete(ring, one, result_of(sent), 0);
}

static void connect_some(struct ring *ring, struct pending *one)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    if (!one->begun) {
        one->begun = true;
        if (connect(one->fd, one->at, (socklen_t)one->length) == 0 || (errno != EINPROGRESS && errno != EAGAIN)) {
            complete(ring, one, errno && errno != EINPROGRESS ? -errno : 0, 0);
            return;
        }
    }
    if (!ready(one->fd, POLLOUT))
        return;
    getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    complete(ring, one, -error, 0);
}

static void accept_some(struct ring *ring, struct pending *one)
{
    int fd = accept4(one->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        complete(ring, one, fd, odd(ring, 10) ? 0 : RING_MORE);
}

static void cancelled(struct ring *ring, struct pending *one)
{
    if (one->kind == RECV_MULTI && odd(ring, 2))
        receive_into_block(ring, one); /* data may still follow a cancel */
    if (one->op && odd(ring, 2))
        complete(ring, one, -ECANCELED, 0);
}

static ssize_t read_some(const struct pending *one)
{
    if (one->kind == READ && one->offset != RING_AT_END)
        return pread(one->fd, one->at, one->length, (off_t)one->offset);
    return read(one->fd, one->at, one->length);
}

static ssize_t write_some(const struct pending *one)
{
    if (one->offset != RING_AT_END)
        return pwrite(one->fd, one->at, one->length, (off_t)one->offset);
    return write(one->fd, one->at, one->length);
}

/* In a kernel thread: it may do a part, find nothing, or be interrupted. */
static void splice_some(struct ring *ring, struct pending *one)
{
    if (odd(ring, 20)) {
        complete(ring, one, odd(ring, 2) ? -EINTR : -EAGAIN, 0);
        return;
    }
    size_t most = odd(ring, 4) ? 1 + below(ring, one->length) : one->length;
    ssize_t moved = splice(one->fd, NULL, one->to, NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    complete(ring, one, result_of(moved), 0);
}

static void work_on(struct ring *ring, struct pending *one)
{
    errno = 0;
    if (one->op->state == OP_CANCELLING) {
        cancelled(ring, one);
        return;
    }
    switch (one->kind) {
    case ACCEPT: accept_some(ring, one); break;
    case RECV_MULTI: receive_into_block(ring, one); break;
    case SEND:
    case MESSAGE: send_some(ring, one); break;
    case CONNECT: connect_some(ring, one); break;
    case POLL:
        if (ready(one->fd, (short)one->flags) || odd(ring, 50)) /* for nothing, now and then */
            complete(ring, one, one->flags, 0);
        break;
    case RECV:
    case READ:
        if (ready(one->fd, POLLIN))
            complete(ring, one, result_of(read_some(one)), 0);
        break;
    case SPLICE: splice_some(ring, one); break;
    case WRITE: complete(ring, one, result_of(write_some(one)), 0); break;
    case POST: break;
    }
}

static const struct op *armed_on(const struct ring_private *p, int fd)
{
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (p->pending[i].op && (p->pending[i].fd == fd || p->pending[i].to == fd))
            return p->pending[i].op;
    return NULL;
}

/* Its thread looks descriptors up when it gets to it: one that was closed may be another's by then. */
static bool splices_on(const struct ring_private *p, int fd)
{
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (p->pending[i].op && p->pending[i].kind == SPLICE && (p->pending[i].fd == fd || p->pending[i].to == fd))
            return true;
    return false;
}

static void close_some(struct ring *ring)
{
    struct ring_private *p = ring->private;
    for (unsigned i = 0; i < p->closing_count;) {
        const struct op *op = armed_on(p, p->closing[i]);
        MUST(!op || (op->state == OP_CANCELLING && !splices_on(p, p->closing[i]))); /* what is closed under an operation is gone when that is */
        if (!op && odd(ring, 2)) {
            close(p->closing[i]);
            p->closing[i] = p->closing[--p->closing_count];
        } else
            i++;
    }
}

/* The only completion of its operation in this turn: its place among the others is nobody's business. */
static bool alone(const struct ring_private *p, unsigned index)
{
    unsigned same = 0;
    for (unsigned i = 0; i < p->done_count; i++)
        same += p->done[i].op == p->done[index].op;
    return same == 1;
}

void ring_enter(struct ring *ring, uint64_t wait_ns)
{
    struct ring_private *p = ring->private;
    struct timespec pause = { .tv_nsec = 100000 };
    ring->enters++;
    close_some(ring);
    unsigned start = (unsigned)below(ring, PENDING_MAX), seen = 0;
    for (unsigned n = 0, left = p->pending_count; n < PENDING_MAX && seen < left; n++) {
        struct pending *one = &p->pending[(start + n) % PENDING_MAX];
        if (!one->op)
            continue;
        seen++;
        if (!odd(ring, 3))
            work_on(ring, one);
    }
    for (unsigned i = p->done_count; i > 1; i--) { /* in any order, but each operation's own in theirs */
        unsigned k = i - 1, j = (unsigned)below(ring, i);
        if (alone(p, k) && alone(p, j)) {
            struct completion swapped = p->done[k];
            p->done[k] = p->done[j];
            p->done[j] = swapped;
        }
    }
    if (p->done_count == 0 && wait_ns > 0)
        nanosleep(&pause, NULL);
}

bool ring_ready(const struct ring *ring)
{
    return ring->private->done_count > 0;
}

static void run_letters(struct ring *ring, void (*deliver)(void *letter, void *argument), void *argument)
{
    struct ring_private *p = ring->private;
    void *letters[PENDING_MAX];
    pthread_mutex_lock(&p->lock);
    unsigned count = p->letter_count;
    memcpy(letters, p->letters, count * sizeof letters[0]);
    p->letter_count = 0;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < count; i++)
        deliver(letters[i], argument);
}

unsigned ring_dispatch(struct ring *ring, void (*deliver)(void *letter, void *argument), void *argument)
{
    struct ring_private *p = ring->private;
    unsigned count = p->done_count;
    run_letters(ring, deliver, argument);
    for (unsigned i = 0; i < count; i++) {
        struct completion one = p->done[i];
        if (!(one.flags & RING_MORE))
            one.op->state = OP_IDLE;
        one.op->done(one.op, one.result, one.flags);
    }
    p->done_count = 0;
    ring->completions += count;
    return count;
}

/* Blocks ------------------------------------------------------------------------------------------------------- */

void ring_refill(struct ring *ring)
{
    struct block *block;
    while (ring->lent < 16 && (block = block_take(ring->pool))) {
        ring->private->lent_list[ring->private->lent_count++] = block->index;
        ring->lent++;
    }
    struct ring_waiter *waiter = ring->lent && !odd(ring, 3) ? ring->starved : NULL;
    if (!waiter)
        return;
    ring->starved = NULL;
    ring->starved_tail = &ring->starved;
    while (waiter) {
        struct ring_waiter *next = waiter->next;
        waiter->waiting = false;
        waiter->ready(waiter);
        waiter = next;
    }
}

struct block *ring_block(struct ring *ring, int32_t result, uint32_t flags)
{
    struct block *block = block_at(ring->pool, flags >> 16);
    ring->lent--;
    block->used = (uint32_t)result;
    return block;
}

void ring_trim(struct ring *ring)
{
    (void)ring;
}

void ring_wait_buffer(struct ring *ring, struct ring_waiter *waiter)
{
    ring->no_buffers += !waiter->waiting;
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
    struct ring_waiter **at = &ring->starved;
    if (!waiter->waiting)
        return;
    waiter->waiting = false;
    while (*at && *at != waiter)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = waiter->next;
    if (ring->starved_tail == &waiter->next)
        ring->starved_tail = at;
}

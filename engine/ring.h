/*
 * ring: one io_uring, and the only file that speaks to liburing.
 *
 * Set-up probes by trying: SINGLE_ISSUER | DEFER_TASKRUN | SUBMIT_ALL | NO_SQARRAY | CQSIZE, then fewer (kernel 6.1 for
 * DEFER_TASKRUN, 6.0 for SINGLE_ISSUER, 5.18 SUBMIT_ALL), ring fd registered (5.18); `obtained` says what was had. Where io_uring is denied
 * ring_init fills `why` with who denied it and how to allow it.
 *
 * Every call must come from the thread that called ring_init (but see ring_detach). Preparing never fails: a full submission queue is submitted on the
 * spot (counted in `early_submits`), without running completions.
 *
 * Received bytes come in blocks of the pool given to ring_buffers_init: a completion with RING_BUFFER in its flags
 * passes one reference to the block ring_block(ring, flags), whose `used` is set to the result. The number of blocks lent to the kernel adapts between
 * RING_LENT_MIN and RING_LENT_MAX: few blocks stay warm in the cache; running dry (-ENOBUFS) doubles it. ENOBUFS ends a
 * multishot receive: re-arm it through ring_wait_buffer, never at once.
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <sys/socket.h>
#include <time.h>

#include "engine/base/buf.h"
#include "engine/op.h"

#define RING_MORE (1u << 1)   /* IORING_CQE_F_MORE */
#define RING_BUFFER (1u << 0) /* IORING_CQE_F_BUFFER */
#define RING_DATA_LEFT (1u << 2) /* IORING_CQE_F_SOCK_NONEMPTY: the socket had more after this receive */

#define RING_LENT_MIN 64u
#define RING_LENT_MAX 4096u

struct io_uring_buf_ring;
struct io_uring_sqe;

/* Waits for a block to receive into (after -ENOBUFS): a link in ring->starved. */
struct ring_waiter {
    struct ring_waiter *next;
    void (*ready)(struct ring_waiter *waiter);
    bool waiting;
};

struct ring {
    struct ring_private *private; /* liburing's struct io_uring */
    int fd;
    char obtained[160]; /* "SINGLE_ISSUER DEFER_TASKRUN ..., sq 4096, cq 32768" */
    struct io_uring_buf_ring *buffers;
    struct block_pool *pool;
    uint32_t lent;        /* blocks now with the kernel */
    uint32_t lent_target;
    struct ring_waiter *starved; /* FIFO */
    struct ring_waiter **starved_tail;
    uint64_t trimmed_completions, trimmed_no_buffers; /* as they were at the last ring_trim */
    bool deferred;               /* completions run in our enter only (DEFER_TASKRUN) */
    uint64_t early_submits, enters, completions, stale, no_buffers;
};

struct ring_options {
    unsigned entries; /* submission queue; the completion queue is 8 times that */
};

/* ERR_PERMISSION, ERR_MEMORY, ERR_SYSTEM; why: a sentence for the log, always ended by NUL. */
enum err must_use ring_init(struct ring *ring, const struct ring_options *options, char why[256]);
enum err must_use ring_buffers_init(struct ring *ring, struct block_pool *pool);
/*
 * A thread that made a ring and ends before it is released calls ring_detach last. The kernel keeps registered ring descriptors per
 * thread, so a release by another thread would take away that thread's own (index 0 is everybody's first).
 */
void ring_detach(struct ring *ring);
void ring_release(struct ring *ring); /* by the thread that made it, or after ring_detach */

/* Submits what was prepared and waits for a completion until wait_ns have passed (0: does not wait; UINT64_MAX: for ever). */
void ring_enter(struct ring *ring, uint64_t wait_ns);

/* Runs `done` of all completions that are there; letters go to `deliver`. Returns how many. */
unsigned ring_dispatch(struct ring *ring, void (*deliver)(void *letter, void *argument), void *argument);

/* True when a completion waits to be dispatched. */
bool ring_ready(const struct ring *ring);

/* Gives blocks back to the kernel up to the target and wakes who waits for one. Once a turn, after dispatch. */
void ring_refill(struct ring *ring);
/*
 * Now and then (worker.c): when the kernel never ran dry since the last call the target is halved; and when hardly anything was received,
 * the memory of blocks that lie with the kernel unused is given back to the system.
 */
void ring_trim(struct ring *ring);
void ring_wait_buffer(struct ring *ring, struct ring_waiter *waiter); /* the kernel ran dry */
void ring_wait_block(struct ring *ring, struct ring_waiter *waiter);  /* we did: the pool has none for us; asked again at the turn's end */
void ring_wait_buffer_cancel(struct ring *ring, struct ring_waiter *waiter);
struct block *ring_block(struct ring *ring, int32_t result, uint32_t flags);

/* Operations. The op must be idle; memory given must stay until `done` (addresses and vectors: until the next ring_enter). */
void op_accept_multishot(struct ring *ring, struct op *op, int fd);        /* result: descriptor, non-blocking, cloexec */
void op_recv_multishot(struct ring *ring, struct op *op, int fd);          /* into blocks */
void op_recv_block(struct ring *ring, struct op *op, int fd);              /* into one block, once */
void op_recv(struct ring *ring, struct op *op, int fd, void *at, size_t length, int flags);
void op_send(struct ring *ring, struct op *op, int fd, const void *at, size_t length);  /* MSG_WAITALL | MSG_NOSIGNAL */
void op_send_message(struct ring *ring, struct op *op, int fd, const struct msghdr *message);
void op_connect(struct ring *ring, struct op *op, int fd, const struct sockaddr *address, socklen_t bytes);
void op_splice(struct ring *ring, struct op *op, int from, int to, uint32_t bytes); /* one of them a pipe; in a kernel thread, which looks up both when it gets to it */
void op_poll(struct ring *ring, struct op *op, int fd, uint32_t events);   /* one shot */
void op_read(struct ring *ring, struct op *op, int fd, void *at, size_t length, uint64_t offset);
void op_write(struct ring *ring, struct op *op, int fd, const void *at, size_t length, uint64_t offset);
#define RING_AT_END UINT64_MAX /* offset: the file's own position (O_APPEND files, pipes, sockets) */

/* Asks for the cancellation of an armed op; its completion(s) still come. No-op when idle or already asked. */
void op_cancel(struct ring *ring, struct op *op);

/* How many kernel threads the ring has at most for what cannot be done at once: op_splice. False: the kernel cannot be told (before 5.15). */
bool ring_limit_threads(struct ring *ring, unsigned most);

/* No completion of their own. */
void ring_close(struct ring *ring, int fd);

/* Posts a letter on another ring (IORING_OP_MSG_RING, 5.18); `done` runs only when that failed. For mailbox.c. */
void ring_post(struct ring *ring, struct op *op, int target_ring_fd, void *letter);

#endif

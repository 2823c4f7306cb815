/*
 * splice: moves large plain content from origin to client inside the kernel: socket -> pipe -> socket, uncopied.
 *
 * For content framed by length, to a client that gets it framed the same, with SPLICE_BYTES_MIN or more to go. Receiving on the origin's
 * socket is stopped first (conn_hold), what had come is sent, and only then splice(2) takes over, non-blocking, driven by the ring's
 * POLL; at most SPLICE_BUDGET bytes a turn, so that one large flow leaves room for small ones. Pipes come from
 * a bounded pool per worker and are held only while they move bytes; with none free content is copied (counted: no_pipe).
 *
 * IORING_OP_SPLICE is not used: every such operation goes to a kernel thread, about twice the cost (perf/README.md).
 */
#ifndef WEIR_SPLICE_H
#define WEIR_SPLICE_H

#include "engine/exchange.h"

#define SPLICE_BYTES_MIN (64u * 1024u)
#define SPLICE_BUDGET (1024u * 1024u)
#define PIPE_BYTES (256u * 1024u)
#define PIPES_MAX 128u

struct pipe_pool;
struct pipe_pool *pipe_pool_new(void); /* NULL: out of memory */
void pipe_pool_free(struct pipe_pool *pool);

/* True when the response's content from here on is to be spliced: relay_mode becomes RELAY_QUIESCE. */
bool splice_begin(struct exchange *x);

/*
 * RELAY_QUIESCE: everything that had been received is queued. Waits until the kernel has let go of the origin's socket and the client has
 * got what was queued, since only then may the pipe follow; RELAY_SPLICE from then on.
 */
enum step_verdict splice_quiesce(struct exchange *x);

/* RELAY_SPLICE: moves what can be moved. NEXT: the content is complete (or failed), relay_mode is RELAY_COPY again. */
enum step_verdict splice_run(struct exchange *x);

/* Bytes wait in the pipe for a client that takes none. */
bool splice_waits_for_client(const struct exchange *x);

/* Back to copying: the pipe is returned and receiving taken up again. */
void splice_end(struct exchange *x);

/* The exchange ends with a pipe in hand. */
void splice_abandon(struct exchange *x);

#endif

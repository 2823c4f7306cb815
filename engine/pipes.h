/*
 * pipes: what zero copy moves bytes through, from a bounded pool of each worker.
 *
 * The kernel allows a user so many pages in pipes (fs.pipe-user-pages-soft, 64 MiB usually, for all of his processes); beyond it new pipes are
 * tiny. So all workers together have pipes for half of that at most, of PIPE_BYTES each, and one that came out smaller is of no use and
 * closed. A pipe is taken when bytes are there to be moved and returned when it is empty: the last one returned is the next to be taken, still warm.
 * Those that nobody took for a tick or two are closed.
 *
 * One with bytes inside is never used again, they are another's: pipe_return closes it.
 */
#ifndef WEIR_PIPES_H
#define WEIR_PIPES_H

#include "engine/base/base.h"

#define PIPE_BYTES (256u * 1024u)
#define PIPES_MAX 256u /* of a process */

struct pipe {
    int out, in;    /* read end, write end; both non-blocking */
    uint32_t bytes; /* inside; kept by who moves them */
    struct pipe *next;
};

struct pipe_pool;

/* made: of all workers that share a bound. NULL: out of memory. */
struct pipe_pool *pipe_pool_new(_Atomic uint64_t *made, uint32_t most);
void pipe_pool_free(struct pipe_pool *pool);

/* How many the process may have. */
uint32_t pipes_allowed(void);

/* NULL: none is to be had. */
struct pipe *pipe_take(struct pipe_pool *pool);
void pipe_return(struct pipe_pool *pool, struct pipe *pipe);

/* Now and then: closes those that were not needed since the last call. */
void pipe_pool_trim(struct pipe_pool *pool);

#endif

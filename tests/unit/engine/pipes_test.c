#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/pipes.h"

static _Atomic uint64_t made;

Test(pipes, are_of_the_size_that_was_asked_and_do_not_block)
{
    struct pipe_pool *pool = pipe_pool_new(&made, 2);
    struct pipe *pipe = pipe_take(pool);
    cr_assert_not_null(pipe);
    cr_assert_eq(fcntl(pipe->in, F_GETPIPE_SZ), (int)PIPE_BYTES);
    cr_assert(fcntl(pipe->in, F_GETFL) & O_NONBLOCK);
    cr_assert(fcntl(pipe->out, F_GETFD) & FD_CLOEXEC);
    pipe_return(pool, pipe);
    pipe_pool_free(pool);
    cr_assert_eq(made, 0);
}

Test(pipes, the_last_returned_is_the_next_taken)
{
    struct pipe_pool *pool = pipe_pool_new(&made, 4);
    struct pipe *first = pipe_take(pool), *second = pipe_take(pool);
    cr_assert_neq(first, second);
    pipe_return(pool, first);
    pipe_return(pool, second);
    cr_assert_eq(pipe_take(pool), second);
    pipe_return(pool, second);
    cr_assert_eq(made, 2);
    pipe_pool_free(pool);
}

Test(pipes, two_pools_share_a_bound)
{
    struct pipe_pool *one = pipe_pool_new(&made, 2), *other = pipe_pool_new(&made, 2);
    struct pipe *a = pipe_take(one), *b = pipe_take(other);
    cr_assert(a && b);
    cr_assert_null(pipe_take(one));
    cr_assert_null(pipe_take(other));
    pipe_return(one, a);
    cr_assert_null(pipe_take(other), "it is idle in the other pool, and counts");
    cr_assert_not_null(pipe_take(one));
    pipe_pool_free(one);
    cr_assert_not_null(pipe_take(other));
    pipe_pool_free(other);
    cr_assert_eq(made, 0);
}

Test(pipes, none_with_bytes_inside_is_used_again)
{
    struct pipe_pool *pool = pipe_pool_new(&made, 1);
    struct pipe *pipe = pipe_take(pool);
    cr_assert_eq(write(pipe->in, "left", 4), 4);
    pipe->bytes = 4;
    pipe_return(pool, pipe);
    cr_assert_eq(made, 0);
    char byte;
    pipe = pipe_take(pool);
    cr_assert_not_null(pipe);
    cr_assert_eq(pipe->bytes, 0);
    cr_assert_lt(read(pipe->out, &byte, 1), 0, "another's byte");
    pipe_return(pool, pipe);
    pipe_pool_free(pool);
}

Test(pipes, what_nobody_needed_for_a_while_is_closed)
{
    struct pipe_pool *pool = pipe_pool_new(&made, 3);
    struct pipe *pipes[3];
    for (unsigned i = 0; i < 3; i++)
        pipes[i] = pipe_take(pool);
    for (unsigned i = 0; i < 3; i++)
        pipe_return(pool, pipes[i]);
    pipe_pool_trim(pool); /* all were out since the last */
    cr_assert_eq(made, 3);
    pipe_return(pool, pipe_take(pool));
    pipe_pool_trim(pool); /* one of them was needed */
    cr_assert_eq(made, 1);
    pipe_pool_trim(pool);
    cr_assert_eq(made, 0);
    pipe_pool_trim(pool);
    pipe_pool_free(pool);
}

Test(pipes, none_are_allowed_none_are_made)
{
    struct pipe_pool *pool = pipe_pool_new(&made, 0);
    cr_assert_null(pipe_take(pool));
    pipe_pool_free(pool);
    cr_assert_leq(pipes_allowed(), PIPES_MAX);
}

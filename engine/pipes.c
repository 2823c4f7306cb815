#include "engine/pipes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/worker.h"

struct pipe_pool {
    _Atomic uint64_t *made;
    uint32_t most;
    struct pipe *idle, *blank; /* open and empty; not open */
    uint32_t idle_count, idle_least; /* now; since the last trim */
    struct pipe pipes[PIPES_MAX];
};

uint32_t pipes_allowed(void)
{
    unsigned long pages = 0;
    FILE *file = FAULT("pipes_allowed") ? NULL : fopen("/proc/sys/fs/pipe-user-pages-soft", "re");
    bool known = file && fscanf(file, "%lu", &pages) == 1;
    if (file)
        fclose(file);
    if (!known)
        pages = 16384; /* as kernels have it */
    if (pages == 0)
        return PIPES_MAX; /* no limit */
    uint64_t bytes = (uint64_t)pages / 2 * (uint64_t)sysconf(_SC_PAGESIZE);
    return (uint32_t)u64_min(bytes / PIPE_BYTES, PIPES_MAX);
}

struct pipe_pool *pipe_pool_new(_Atomic uint64_t *made, uint32_t most)
{
    struct pipe_pool *pool = FAULT("pipe_pool") ? NULL : calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->made = made;
    pool->most = most;
    for (uint32_t i = 0; i < PIPES_MAX; i++) {
        pool->pipes[i] = (struct pipe){ .out = -1, .in = -1, .next = pool->blank };
        pool->blank = &pool->pipes[i];
    }
    return pool;
}

static void pipe_close(struct pipe_pool *pool, struct pipe *pipe)
{
    close(pipe->out);
    close(pipe->in);
    *pipe = (struct pipe){ .out = -1, .in = -1, .next = pool->blank };
    pool->blank = pipe;
    place_return(pool->made);
}

void pipe_pool_free(struct pipe_pool *pool)
{
    for (uint32_t i = 0; pool && i < PIPES_MAX; i++)
        if (pool->pipes[i].out >= 0)
            pipe_close(pool, &pool->pipes[i]);
    free(pool);
}

/* Over the user's soft limit the kernel makes it smaller than was asked, or refuses to make it larger. */
static bool pipe_open(struct pipe *pipe)
{
    int ends[2];
    if (FAULT("pipe") || pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return false;
    if (FAULT("pipe_size") || fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) < (int)PIPE_BYTES) {
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    *pipe = (struct pipe){ .out = ends[0], .in = ends[1] };
    return true;
}

static struct pipe *pipe_make(struct pipe_pool *pool)
{
    struct pipe *pipe = pool->blank;
    if (!pipe || pool->most == 0 || !place_take(pool->made, pool->most))
        return NULL;
    struct pipe *rest = pipe->next;
    if (!pipe_open(pipe)) {
        place_return(pool->made);
        return NULL;
    }
    pool->blank = rest;
    return pipe;
}

struct pipe *pipe_take(struct pipe_pool *pool)
{
    struct pipe *pipe = pool->idle;
    if (!pipe) {
        pool->idle_least = 0;
        return pipe_make(pool);
    }
    pool->idle = pipe->next;
    pool->idle_count--;
    if (pool->idle_count < pool->idle_least)
        pool->idle_least = pool->idle_count;
    return pipe;
}

void pipe_return(struct pipe_pool *pool, struct pipe *pipe)
{
    if (pipe->bytes) {
        pipe_close(pool, pipe);
        return;
    }
    pipe->next = pool->idle;
    pool->idle = pipe;
    pool->idle_count++;
}

void pipe_pool_trim(struct pipe_pool *pool)
{
    uint32_t unused = pool->idle_least;
    while (unused-- > 0) {
        struct pipe *pipe = pool->idle;
        pool->idle = pipe->next;
        pool->idle_count--;
        pipe_close(pool, pipe);
    }
    pool->idle_least = pool->idle_count;
}

#include "engine/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/back.h"
#include "engine/caching.h"

struct pipe {
    int out, in; /* read end, write end */
    uint32_t bytes; /* inside */
    uint32_t cap;
    struct pipe *next;
};

struct pipe_pool {
    struct pipe pipes[PIPES_MAX];
    struct pipe *free;
    uint32_t made;
};

/* Pipes -------------------------------------------------------------------------------------------------------- */

struct pipe_pool *pipe_pool_new(void)
{
    return FAULT("pipe_pool") ? NULL : calloc(1, sizeof(struct pipe_pool));
}

void pipe_pool_free(struct pipe_pool *pool)
{
    for (uint32_t i = 0; pool && i < pool->made; i++) {
        if (pool->pipes[i].out < 0)
            continue;
        close(pool->pipes[i].out);
        close(pool->pipes[i].in);
    }
    free(pool);
}

static bool pipe_open(struct pipe *pipe)
{
    int ends[2];
    if (FAULT("pipe") || pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return false;
    int bytes = fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    if (bytes < 0)
        bytes = fcntl(ends[1], F_GETPIPE_SZ); /* over the user's soft limit: what it has */
    *pipe = (struct pipe){ .out = ends[0], .in = ends[1], .cap = bytes > 0 ? (uint32_t)bytes : 4096 };
    return true;
}

static struct pipe *pipe_take(struct pipe_pool *pool)
{
    struct pipe *pipe = pool->free;
    if (pipe) {
        pool->free = pipe->next;
        return pipe->out >= 0 || pipe_open(pipe) ? pipe : (pipe->next = pool->free, pool->free = pipe, NULL);
    }
    if (pool->made == PIPES_MAX || !pipe_open(&pool->pipes[pool->made]))
        return NULL;
    return &pool->pipes[pool->made++];
}

/* One with bytes inside is never used again: they are another exchange's. */
static void pipe_return(struct pipe_pool *pool, struct pipe *pipe)
{
    if (pipe->bytes) {
        close(pipe->out);
        close(pipe->in);
        pipe->out = pipe->in = -1;
        pipe->bytes = 0;
    }
    pipe->next = pool->free;
    pool->free = pipe;
}

/* Beginning and ending ----------------------------------------------------------------------------------------- */

bool splice_begin(struct exchange *x)
{
    uint64_t left = h1_body_plain_left(&x->response_body);
    if (left < SPLICE_BYTES_MIN || left == UINT64_MAX || x->chunked_out || x->origin->ended || !x->request_done || x->client->tls || x->origin->tls ||
        (x->caching && (x->caching->filling || x->caching->skip || conn_is_sink(x->client))))
        return false;
    x->pipe = pipe_take(x->worker->pipes);
    if (!x->pipe) {
        COUNT(x->worker, no_pipe);
        return false;
    }
    x->relay_mode = RELAY_QUIESCE;
    conn_hold(x->origin);
    return true;
}

void splice_abandon(struct exchange *x)
{
    pipe_return(x->worker->pipes, x->pipe);
    x->pipe = NULL;
    x->relay_mode = RELAY_COPY;
}

bool splice_waits_for_client(const struct exchange *x)
{
    return x->pipe && x->pipe->bytes > 0;
}

void splice_end(struct exchange *x)
{
    splice_abandon(x);
    conn_release_hold(x->origin);
}

/* The mover ---------------------------------------------------------------------------------------------------- */

enum move { MOVED, BLOCKED, ENDED, FAILED };

static enum move move_bytes(int from, int to, size_t bytes, ssize_t *moved)
{
    do
        *moved = splice(from, NULL, to, NULL, bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (*moved < 0 && errno == EINTR);
    if (*moved > 0)
        return MOVED;
    if (*moved == 0)
        return ENDED;
    return errno == EAGAIN ? BLOCKED : FAILED;
}

static enum move fill(struct exchange *x)
{
    struct pipe *pipe = x->pipe;
    uint64_t left = h1_body_plain_left(&x->response_body) - pipe->bytes;
    ssize_t moved;
    if (left == 0)
        return ENDED;
    enum move result = move_bytes(x->origin->fd, pipe->in, u64_min(left, pipe->cap - pipe->bytes), &moved);
    if (result == MOVED) {
        pipe->bytes += (uint32_t)moved;
        counter_add(&x->member->server->counters->received_bytes, (uint64_t)moved);
    }
    return result;
}

static enum move empty(struct exchange *x)
{
    struct pipe *pipe = x->pipe;
    ssize_t moved;
    enum move result = move_bytes(pipe->out, x->client->fd, pipe->bytes, &moved);
    if (result == MOVED) {
        pipe->bytes -= (uint32_t)moved;
        h1_body_skip(&x->response_body, (uint64_t)moved);
        x->response_content += (uint64_t)moved;
        COUNT_BYTES(x->worker, splice_bytes, (uint64_t)moved);
        x->client_moved_ms = x->worker->loop.now_ms;
    }
    return result;
}

static enum step_verdict client_is_full(struct exchange *x)
{
    exchange_await_client(x);
    conn_poll(x->client, POLLOUT);
    return STEP_WAIT;
}

static enum step_verdict origin_is_empty(struct exchange *x)
{
    conn_deadline(x->origin, x->worker->loop.now_ms + x->pool->config->between_ms);
    conn_poll(x->origin, POLLIN | POLLRDHUP);
    return STEP_WAIT;
}

static enum step_verdict client_lost(struct exchange *x)
{
    COUNT(x->worker, client_aborts);
    return exchange_abort(x, "client_aborts", true);
}

/* While receiving was held nobody has seen whether more came than the response: such a connection has no next request. */
static bool nothing_follows(struct conn *origin)
{
    char byte;
    return recv(origin->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

enum step_verdict splice_run(struct exchange *x)
{
    struct pipe *pipe = x->pipe;
    uint64_t before = x->response_content;
    for (;;) {
        enum move filled = pipe->bytes == pipe->cap ? MOVED : fill(x);
        if (pipe->bytes == 0) {
            if (h1_body_plain_left(&x->response_body) == 0) {
                x->origin_keep = x->origin_keep && nothing_follows(x->origin);
                splice_end(x);
                return STEP_NEXT; /* RELAY finds the end of the content */
            }
            if (filled == BLOCKED)
                return origin_is_empty(x);
            splice_abandon(x);
            return exchange_origin_failed(x, SERVER_CLOSED, filled == FAILED ? errno : 0);
        }
        enum move emptied = empty(x);
        if (emptied == BLOCKED)
            return client_is_full(x);
        if (emptied != MOVED)
            return client_lost(x);
        if (x->response_content - before >= SPLICE_BUDGET) {
            exchange_run_later(x);
            return STEP_WAIT;
        }
    }
}

enum step_verdict splice_quiesce(struct exchange *x)
{
    if (!conn_is_held(x->origin) || !chain_empty(&x->client->out) || op_armed(&x->client->send))
        return STEP_WAIT;
    x->relay_mode = RELAY_SPLICE;
    return splice_run(x);
}

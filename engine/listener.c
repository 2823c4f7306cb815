#include "engine/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/front.h"
#include "engine/socket.h"
#include "engine/worker.h"

/* Opening ------------------------------------------------------------------------------------------------------ */

static int fail(int fd, const struct config_listener *listener, const char *what, char why[256])
{
    int error = errno;
    snprintf(why, 256, "cannot listen on \"%.*s\": %s: %s", (int)listener->address.text.length, listener->address.text.at, what,
             strerror(error));
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* A socket file nobody answers on is left over from a process that died; one that answers is in use. */
static bool remove_stale(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool dead = connect(fd, &address->socket.any, address->socket_bytes) < 0 && errno == ECONNREFUSED;
    close(fd);
    return dead && unlink(address->socket.local.sun_path) == 0;
}

static int bind_unix(int fd, const struct config_listener *listener)
{
    const struct address *address = &listener->address;
    int result = bind(fd, &address->socket.any, address->socket_bytes);
    if (result < 0 && errno == EADDRINUSE && remove_stale(address))
        result = bind(fd, &address->socket.any, address->socket_bytes);
    if (result == 0)
        result = chmod(address->socket.local.sun_path, (mode_t)listener->unix_mode);
    return result;
}

static void set_options(int fd, const struct config *config, const struct address *address)
{
    const int on = 1, off = 0;
    if (address->socket.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* ":port" is both families whatever the system's default */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    socket_congestion(fd, config->congestion_control, address);
}

int listener_open(const struct config *config, const struct config_listener *listener, char why[256])
{
    const struct address *address = &listener->address;
    int family = address->socket.any.sa_family;
    int fd = FAULT("listener") ? (errno = EMFILE, -1) : socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(fd, listener, "socket", why);
    if (family != AF_UNIX)
        set_options(fd, config, address);
    int bound = family == AF_UNIX ? bind_unix(fd, listener) : bind(fd, &address->socket.any, address->socket_bytes);
    if (bound < 0)
        return fail(fd, listener, "bind", why);
    if (listen(fd, (int)listener->backlog) < 0)
        return fail(fd, listener, "listen", why);
    return fd;
}

/* Accepting ---------------------------------------------------------------------------------------------------- */

static void settle(struct listener *listener)
{
    if (!listener->leaving || op_armed(&listener->accept) || listener->clients > 0)
        return;
    listener->worker->listener_count--;
    free((char *)(uintptr_t)listener->address.at);
    free(listener);
}

static void accepted(struct listener *listener, int fd)
{
    struct worker *worker = listener->worker;
    if (listener->leaving || worker->draining) {
        ring_close(&worker->loop.ring, fd);
        return;
    }
    COUNT(worker, accepted);
    if (unlikely(listener->congestion_by_peer))
        socket_congestion_of_peer(fd);
    front_accept(listener, fd);
}

static bool out_of_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void backoff_over(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct listener *listener = CONTAINER_OF(timer, struct listener, backoff);
    if (!op_armed(&listener->accept))
        op_accept_multishot(&listener->worker->loop.ring, &listener->accept, listener->fd);
}

static void accept_done(struct op *op, int32_t result, uint32_t flags)
{
    struct listener *listener = CONTAINER_OF(op, struct listener, accept);
    struct loop *loop = &listener->worker->loop;
    if (likely(result >= 0))
        accepted(listener, result);
    else if (result != -ECANCELED)
        COUNT(listener->worker, accept_failures);
    if (flags & RING_MORE)
        return;
    if (listener->leaving) {
        if (!listener->shared)
            ring_close(&loop->ring, listener->fd);
        settle(listener);
        return;
    }
    if (result < 0 && out_of_resources(-result))
        timer_set(&loop->wheel, &listener->backoff, loop->now_ms + LISTENER_BACKOFF_MS);
    else
        op_accept_multishot(&loop->ring, op, listener->fd);
}

struct listener *listener_start(struct worker *worker, int fd, const struct config *config, const struct config_listener *from)
{
    struct listener *listener = calloc(1, sizeof *listener);
    char *name = listener ? strndup(from->address.text.at, from->address.text.length) : NULL;
    if (!name) {
        free(listener);
        return NULL;
    }
    listener->worker = worker;
    listener->fd = fd;
    listener->shared = from->address.socket.any.sa_family == AF_UNIX;
    listener->congestion_by_peer = socket_congestion_by_peer(fd, config->congestion_control, &from->address);
    listener->address = slice_of(name, from->address.text.length);
    listener->accept.done = accept_done;
    listener->backoff.fire = backoff_over;
    listener->next = worker->listeners;
    worker->listeners = listener;
    worker->listener_count++;
    op_accept_multishot(&worker->loop.ring, &listener->accept, fd);
    return listener;
}

void listener_take(struct listener *listener, const struct config_listener *from, const struct listener_tls *tls)
{
    listener->serve = from->serve;
    listener->tcp = from->tcp.on ? from : NULL;
    listener->to_https = from->redirect_to_https;
    listener->tls = tls;
    listener->proxied = from->proxied.from_count ? &from->proxied : NULL;
    listener->hsts[0] = '\0';
    if (from->tls.hsts_ms)
        snprintf(listener->hsts, sizeof listener->hsts, "max-age=%llu", (unsigned long long)(from->tls.hsts_ms / 1000));
}

void listener_stop(struct listener *listener)
{
    struct loop *loop = &listener->worker->loop;
    struct listener **at = &listener->worker->listeners;
    while (*at && *at != listener)
        at = &(*at)->next;
    if (*at)
        *at = listener->next;
    listener->leaving = true;
    listener->tls = NULL; /* its generation's, which goes; handshakes that have not begun fail */
    listener->proxied = NULL;
    listener->tcp = NULL;
    timer_cancel(&loop->wheel, &listener->backoff);
    if (op_armed(&listener->accept)) {
        op_cancel(&loop->ring, &listener->accept);
        return;
    }
    if (!listener->shared)
        ring_close(&loop->ring, listener->fd);
    settle(listener);
}

void listener_unref(struct listener *listener)
{
    listener->clients--;
    settle(listener);
}

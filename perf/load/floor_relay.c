/*
 * floor_relay: what no relay of large content can undercut. What a client sends is copied to the origin, what comes back is spliced, socket to pipe to
 * socket, with pipes of 1 MiB, and nothing is read. Each client has an origin's connection and a pipe of its own.
 *
 *     floor_relay PORT ORIGIN-PORT
 *
 * perf/load/run starts it as the proxy `floor` of the cases with large answers. What Weir takes beyond this is HTTP and fairness.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE_BYTES (1024u * 1024u)
#define EVENTS 512

struct pair {
    int client, origin;
    int in, out;   /* the pipe's ends: to write to, to read from */
    size_t inside; /* the pipe */
    bool over;
};

static int epoll;

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int socket_of_ours(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5); /* as Weir does on loopback */
    return fd;
}

/* Its memory stays: an event of the same epoll_wait may still name it. */
static void end(struct pair *pair)
{
    pair->over = true;
    close(pair->client);
    close(pair->origin);
    close(pair->in);
    close(pair->out);
}

static void to_origin(struct pair *pair)
{
    static char bytes[64 * 1024];
    ssize_t came = recv(pair->client, bytes, sizeof bytes, MSG_DONTWAIT);
    if (came > 0 ? send(pair->origin, bytes, (size_t)came, MSG_NOSIGNAL) != came : came == 0 || errno != EAGAIN)
        end(pair);
}

/* Until the origin has nothing more, or the client takes nothing. */
static void to_client(struct pair *pair)
{
    for (;;) {
        ssize_t came = -1, went;
        errno = EAGAIN;
        if (pair->inside < PIPE_BYTES)
            came = splice(pair->origin, NULL, pair->in, NULL, PIPE_BYTES - pair->inside, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (came > 0)
            pair->inside += (size_t)came;
        else if (came == 0 || errno != EAGAIN) {
            end(pair);
            return;
        }
        if (pair->inside == 0)
            return;
        went = splice(pair->out, NULL, pair->client, NULL, pair->inside, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (went > 0)
            pair->inside -= (size_t)went;
        else {
            if (errno != EAGAIN)
                end(pair);
            return;
        }
    }
}

static void watch(int fd, uint32_t events, uintptr_t what)
{
    struct epoll_event event = { .events = events, .data.u64 = what };
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void accept_one(int listener, const struct sockaddr_in *origin)
{
    struct pair *pair = calloc(1, sizeof *pair);
    int ends[2], fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (!pair || fd < 0) {
        free(pair);
        return;
    }
    *pair = (struct pair){ .client = fd, .origin = socket_of_ours() };
    if (connect(pair->origin, (const struct sockaddr *)origin, sizeof *origin) != 0 || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        close(pair->origin);
        close(fd);
        free(pair);
        return;
    }
    fcntl(pair->origin, F_SETFL, O_NONBLOCK);
    if (fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) < 0)
        perror("floor_relay: a smaller pipe");
    pair->out = ends[0];
    pair->in = ends[1];
    watch(pair->client, EPOLLIN | EPOLLOUT | EPOLLET, (uintptr_t)pair);
    watch(pair->origin, EPOLLIN | EPOLLET, (uintptr_t)pair | 1);
}

static void serve(struct pair *pair, bool of_origin, uint32_t events)
{
    if (!of_origin && (events & EPOLLIN) && !pair->over)
        to_origin(pair);
    if ((of_origin || (events & EPOLLOUT)) && !pair->over)
        to_client(pair);
}

int main(int count, char **words)
{
    if (count != 3) {
        fputs("usage: floor_relay PORT ORIGIN-PORT\n", stderr);
        return 2;
    }
    struct sockaddr_in here = loopback(words[1]), origin = loopback(words[2]);
    struct epoll_event events[EVENTS];
    int listener = socket_of_ours();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 4096) != 0) {
        perror("floor_relay: listen");
        return 1;
    }
    watch(listener, EPOLLIN, 0);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            uintptr_t what = (uintptr_t)events[i].data.u64;
            if (what)
                serve((struct pair *)(what & ~(uintptr_t)1), what & 1, events[i].events);
            else
                accept_one(listener, &origin);
        }
    }
}

/*
 * floor: what no server can undercut. It receives whatever comes, reads nothing of it, and sends the same answer each time: one receive, one send
 * and a share of an epoll_wait, as few instructions as there can be around them.
 *
 *     floor PORT BYTES        BYTES of content, as load expects it
 *
 * perf/load/run starts it as the proxy `floor` of the cache- cases. What a hit costs beyond this is the HTTP of whoever answered it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTENT_MAX (64u * 1024u)
#define EVENTS 512

static char answer[CONTENT_MAX + 512], request[64 * 1024];
static size_t answer_bytes;

static void make_answer(unsigned long bytes)
{
    /* About as long as the heads that caches send. */
    int head = snprintf(
        answer, 512,
        "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\nDate: Tue, 24 Nov 2026 18:00:00 GMT\r\n"
        "Content-Type: application/octet-stream\r\nCache-Control: max-age=3600\r\nAge: 3\r\nCache-Status: floor; hit\r\n\r\n",
        bytes);
    for (unsigned long i = 0; i < bytes; i++)
        answer[(size_t)head + i] = (char)('a' + (i * 7u + i / 251u) % 26u);
    answer_bytes = (size_t)head + bytes;
}

static int listen_on(unsigned long port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5); /* as Weir does on loopback */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        perror("floor: listen");
        exit(1);
    }
    return fd;
}

static void watch(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.fd = fd };
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void serve(int fd)
{
    ssize_t came = recv(fd, request, sizeof request, 0);
    if (came > 0)
        came = send(fd, answer, answer_bytes, MSG_NOSIGNAL) == (ssize_t)answer_bytes ? came : 0;
    if (came == 0 || (came < 0 && errno != EAGAIN))
        close(fd);
}

int main(int count, char **words)
{
    unsigned long bytes = count == 3 ? strtoul(words[2], NULL, 10) : CONTENT_MAX + 1;
    if (bytes > CONTENT_MAX) {
        fputs("usage: floor PORT BYTES (64 KiB at most)\n", stderr);
        return 2;
    }
    make_answer(bytes);
    int listener = listen_on(strtoul(words[1], NULL, 10)), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS];
    watch(epoll, listener, EPOLLIN);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener)
                serve(fd);
            else if ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                watch(epoll, fd, EPOLLIN | EPOLLET);
        }
    }
}

/*
 * load_origin: the origin behind the proxy; see load.h.
 *
 * A *back* is a connection that the proxy opened to us. Every request gets the same answer: a head, and the content. Short ones
 * leave in one send, long ones by sendfile from memory, and content of requests is dropped inside the kernel (MSG_TRUNC) when its
 * length has been checked: the load's core should not be the one that is full. With --tcp there is no HTTP, and what comes goes back.
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX 8192u

struct back {
    enum kind kind;
    int fd;
    bool blocked;          /* the socket's buffer is full */
    unsigned owed;         /* requests not yet answered, among them the one in progress */
    uint64_t answered;     /* bytes of the answer in progress already sent */
    uint64_t content_left; /* of the request that is coming */
    size_t request_bytes;
    char request[REQUEST_BYTES_MAX];
};

static char *answer;
static size_t head_bytes, answer_bytes; /* answer_bytes: what lies in `answer`, the head or all of it */

static void answer_build(void)
{
    char date[64], head[512];
    time_t now = time(NULL);
    struct tm parts;
    uint64_t whole;
    int length;

    gmtime_r(&now, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    length = snprintf(head, sizeof head,
                      "HTTP/1.1 200 OK\r\nServer: origin/1.0\r\nDate: %s\r\nContent-Type: text/html; charset=utf-8\r\n"
                      "Content-Length: %" PRIu64 "\r\nETag: \"5f3c2a-%" PRIx64 "\"\r\n"
                      "Cache-Control: %s\r\n\r\n",
                      date, options.body_bytes, options.body_bytes,
                      options.cached ? "public, max-age=3600" : "private, max-age=0, must-revalidate");
    head_bytes = (size_t)length;
    whole = head_bytes + options.body_bytes;
    answer_bytes = whole <= ANSWER_BYTES_MAX ? (size_t)whole : head_bytes;
    answer = malloc(answer_bytes);
    if (!answer)
        die("out of memory");
    memcpy(answer, head, head_bytes);
    memcpy(answer + head_bytes, run.content, answer_bytes - head_bytes);
}

void origin_init(void)
{
    static enum kind listener_kind = KIND_LISTENER;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)options.origin_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;

    answer_build();
    run.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(run.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    no_delay(run.listener); /* accepted sockets inherit it */
    if (bind(run.listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(run.listener, 4096) != 0)
        die("origin port %u: %s", options.origin_port, strerror(errno));
    watch(run.listener, &listener_kind, EPOLLIN);
}

void origin_accept(void)
{
    for (;;) {
        int fd = accept4(run.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct back *back;

        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
                return;
            die("accept: %s", strerror(errno));
        }
        back = calloc(1, sizeof *back);
        if (!back)
            die("out of memory");
        back->kind = KIND_BACK;
        back->fd = fd;
        run.back_connections++;
        watch(fd, back, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
}

static void back_close(struct back *back)
{
    close(back->fd);
    free(back);
}

/* False: the connection is broken. */
static bool back_send(struct back *back)
{
    uint64_t whole = head_bytes + options.body_bytes;

    while (back->owed > 0 && !back->blocked) {
        ssize_t n;

        if (back->answered < answer_bytes) {
            n = send(back->fd, answer + back->answered, answer_bytes - (size_t)back->answered,
                     MSG_NOSIGNAL | (answer_bytes < whole ? MSG_MORE : 0));
        } else {
            off_t at = (off_t)(back->answered - head_bytes);

            n = sendfile(back->fd, run.content_file, &at, (size_t)(whole - back->answered));
        }
        if (n < 0 && errno == EAGAIN)
            back->blocked = true;
        else if (n <= 0)
            return false;
        else
            back->answered += (uint64_t)n;
        if (back->answered == whole) {
            back->answered = 0;
            back->owed--;
            run.back_requests++;
        }
    }
    return true;
}

/* `bytes` of a request's content have come. */
static void back_content(struct back *back, uint64_t bytes)
{
    back->content_left -= bytes;
    if (run.counting)
        run.bytes += bytes;
    if (back->content_left == 0)
        back->owed++;
}

/* What a head says of it; UINT64_MAX: nothing. */
static uint64_t content_length(const char *line, const char *end)
{
    for (; line < end; line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1)
        if (strncasecmp(line, "content-length:", 15) == 0)
            return strtoull(line + 15, NULL, 10);
    return UINT64_MAX;
}

/* Complete heads in what has come, and content behind them; the rest is kept. */
static void back_parse(struct back *back)
{
    char *from = back->request, *end = back->request + back->request_bytes, *found;

    while ((found = memmem(from, (size_t)(end - from), "\r\n\r\n", 4))) {
        run.back_window += run.counting;
        if (options.upload_bytes) {
            size_t here = (size_t)(end - found - 4);

            if (memcmp(from, "POST ", 5) != 0 || content_length(from, found + 2) != options.upload_bytes)
                die("a request came that no client sent:\n%.*s", (int)(found - from), from);
            here = here < options.upload_bytes ? here : (size_t)options.upload_bytes;
            back->content_left = options.upload_bytes;
            back_content(back, here);
            from = found + 4 + here;
        } else {
            back->owed++;
            from = found + 4;
        }
    }
    back->request_bytes = (size_t)(end - from);
    if (back->request_bytes && from != back->request)
        memmove(back->request, from, back->request_bytes);
}

/* One read. Returns what recv gave, with *asked. */
static ssize_t back_receive(struct back *back, size_t *asked)
{
    ssize_t n;

    if (back->content_left) {
        *asked = (size_t)back->content_left;
        n = recv(back->fd, NULL, *asked, MSG_TRUNC);
        if (n > 0)
            back_content(back, (uint64_t)n);
        return n;
    }
    *asked = sizeof back->request - back->request_bytes;
    n = recv(back->fd, back->request + back->request_bytes, *asked, 0);
    if (n <= 0)
        return n;
    if (options.tcp) {
        /* Each connection has one message under way, which any socket buffer takes whole. */
        return send(back->fd, back->request, (size_t)n, MSG_NOSIGNAL) == n ? n : 0;
    }
    back->request_bytes += (size_t)n;
    back_parse(back);
    if (back->request_bytes == sizeof back->request)
        die("the proxy sent a request of more than %u bytes", REQUEST_BYTES_MAX);
    return n;
}

void back_event(void *owner, uint32_t events)
{
    struct back *back = owner;
    bool open = true, more = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (events & EPOLLOUT)
        back->blocked = false;
    while (more && open) {
        size_t asked;
        ssize_t n = back_receive(back, &asked);

        open = n > 0 || (n < 0 && errno == EAGAIN);
        more = n > 0 && ((size_t)n == asked || back->content_left || (events & EPOLLRDHUP));
    }
    if (!open || !back_send(back))
        back_close(back);
}

/*
 * soak_origin: the origin. It answers each request with the version that its object has at that moment, by length or in chunks, with 304 where the
 * request knows it already, or fails as it was told: a 503, half of the content, no answer, or one that waits until the failure is over.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

#define PIECE_BYTES 16384u /* of content that is made at a time; also a chunk */

struct back {
    enum kind kind;
    int fd;
    bool owed, stalled, blocked, closes;
    char request[HEAD_BYTES];
    uint32_t request_bytes;
    char out[PIECE_BYTES + 1024];
    uint32_t out_bytes, out_sent;
    uint64_t at, end, seed; /* of the content; end below the size: it is cut there */
    bool chunked, cut, last_chunk_due;
    struct back *next, **before;
};

static struct back *backs;
static int listener;

static void back_close(struct back *back)
{
    close(back->fd);
    *back->before = back->next;
    if (back->next)
        back->next->before = back->before;
    free(back);
}

static void back_say(struct back *back, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void back_say(struct back *back, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(back->out + back->out_bytes, sizeof back->out - back->out_bytes, format, arguments);
    va_end(arguments);
    back->out_bytes += (uint32_t)length;
}

static uint32_t variant_asked(const char *head, uint32_t object)
{
    const char *language = object_varies(object) ? field_find(head, "accept-language") : NULL;

    return language && language[0] == 'l' ? (uint32_t)(language[1] - '0') % VARIANTS : 0;
}

static void say_storing(struct back *back, uint32_t object)
{
    if (object % 41 == 7) {
        back_say(back, "Cache-Control: private, no-store\r\n");
        return;
    }
    back_say(back, "Cache-Control: public, max-age=%u", object % 4 == 0 ? 1 + object % 5 : 60);
    if (object % 3 == 0)
        back_say(back, ", stale-while-revalidate=2");
    if (object % 5 == 0)
        back_say(back, ", stale-if-error=30");
    back_say(back, "\r\n");
}

static void back_answer_well(struct back *back, uint32_t object, const char *head)
{
    uint32_t version = greatest(run.bumps, object), variant = variant_asked(head, object), known = 0;
    const char *condition = field_find(head, "if-none-match");
    bool same = condition && sscanf(condition, "\"v%u-", &known) == 1 && known == version;
    bool bare = same || strncmp(head, "HEAD ", 5) == 0;
    char date[64];
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    back_say(
        back,
        "HTTP/1.1 %s\r\nDate: %s\r\nETag: \"v%u-%u-%u\"\r\nX-Object: %u\r\nX-Version: %u\r\nSurrogate-Key: t%u some-more\r\n",
        same ? "304 Not Modified" : "200 OK", date, version, object, variant, object, version,
        object_place(object, TAG));
    say_storing(back, object);
    if (object_varies(object))
        back_say(back, "Vary: Accept-Language\r\n");
    back->chunked = object % 13 == 3 && !same;
    if (back->chunked)
        back_say(back, "Transfer-Encoding: chunked\r\n\r\n");
    else if (same)
        back_say(back, "\r\n");
    else
        back_say(back, "Content-Length: %u\r\n\r\n", run.sizes[object]);
    run.origin_304 += same;
    back->at = 0;
    back->seed = content_seed(object, version, variant);
    back->end = bare ? 0 : back->cut ? run.sizes[object] / 2 : run.sizes[object];
    back->last_chunk_due = back->chunked && !bare && !back->cut;
}

/* The request's head is whole. False: the connection is to be closed at once. */
static bool back_answer(struct back *back)
{
    enum fate fate = dice() % 100 < run.fate_percent ? run.fate : WELL;
    uint32_t prefix, object;
    const char *path = strchr(back->request, ' ');

    if (!path || sscanf(path, " /p%u/%u", &prefix, &object) != 2 || object >= run.object_count)
        die("the proxy asks for what nobody asked it for: %.80s", back->request);
    if (fate == STALL) {
        back->stalled = true;
        return true;
    }
    run.origin_requests++;
    run.origin_failed += fate != WELL;
    back->owed = true;
    back->stalled = false;
    back->out_bytes = back->out_sent = 0;
    back->cut = fate == CUT;
    back->at = back->end = 0;
    back->last_chunk_due = false;
    back->closes = back->cut;
    if (fate == RESET)
        return false;
    if (fate == STATUS)
        back_say(back, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\n\r\nfailed");
    else
        back_answer_well(back, object, back->request);
    back->request_bytes = 0;
    return true;
}

/* The next piece of content into `out`. False: there is none. */
static bool back_piece(struct back *back)
{
    uint32_t bytes = back->end - back->at < PIECE_BYTES ? (uint32_t)(back->end - back->at) : PIECE_BYTES;

    back->out_bytes = back->out_sent = 0;
    if (bytes == 0) {
        if (!back->last_chunk_due)
            return false;
        back->last_chunk_due = false;
        back_say(back, "0\r\n\r\n");
        return true;
    }
    if (back->chunked)
        back_say(back, "%x\r\n", bytes);
    content_fill(back->seed, back->at, back->out + back->out_bytes, bytes);
    back->out_bytes += bytes;
    back->at += bytes;
    if (back->chunked)
        back_say(back, "\r\n");
    return true;
}

/* False: the connection is at its end. */
static bool back_send(struct back *back)
{
    while (back->owed) {
        ssize_t n;

        if (back->out_sent == back->out_bytes && !back_piece(back)) {
            back->owed = false;
            return !back->closes;
        }
        n = send(back->fd, back->out + back->out_sent, back->out_bytes - back->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!back->blocked)
                watch(back->fd, back, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            back->blocked = true;
            return true;
        }
        if (n <= 0)
            return false;
        back->out_sent += (uint32_t)n;
    }
    return true;
}

void back_event(struct back *back, uint32_t events)
{
    bool open = true;

    if (back->blocked && (events & EPOLLOUT)) {
        back->blocked = false;
        watch(back->fd, back, EPOLLIN, EPOLL_CTL_MOD);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n =
            recv(back->fd, back->request + back->request_bytes, sizeof back->request - 1 - back->request_bytes, 0);

        if (n > 0) {
            back->request_bytes += (uint32_t)n;
            back->request[back->request_bytes] = 0;
            if (back->request_bytes == sizeof back->request - 1)
                die("the proxy sent a request without an end");
            if (!back->owed && !back->stalled && strstr(back->request, "\r\n\r\n"))
                open = back_answer(back);
        } else if (n == 0 || errno != EAGAIN) {
            open = false;
        }
    }
    if (!open || !back_send(back))
        back_close(back);
}

void backs_go_on(void)
{
    for (struct back *back = backs, *next; back; back = next) {
        next = back->next;
        if (back->stalled && (!back_answer(back) || !back_send(back)))
            back_close(back);
    }
}

void origin_accept(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct back *back;

    if (fd < 0)
        return;
    back = make(1, sizeof *back);
    back->kind = KIND_BACK;
    back->fd = fd;
    back->next = backs;
    back->before = &backs;
    if (backs)
        backs->before = &back->next;
    backs = back;
    watch(fd, back, EPOLLIN, EPOLL_CTL_ADD);
}

void origin_listen(void)
{
    static enum kind kind = KIND_LISTENER;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)run.origin_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0)
        die("origin port %" PRIu64 ": %s", run.origin_port, strerror(errno));
    watch(listener, &kind, EPOLLIN, EPOLL_CTL_ADD);
}

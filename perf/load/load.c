/*
 * load: a closed-loop HTTP/1.1 client and the origin behind the proxy, in one epoll thread.
 *
 * One thread is both ends on purpose. It takes half the wake-ups that a client and an origin of their own would need, so
 * on two cores the proxy's core is the one that saturates, and CPU per request is measured where the proxy is busy. The
 * run script pins this program to one core and the proxy to another.
 *
 *     load --proxy HOST:PORT --origin-port N --connections N --body BYTES --seconds S --warmup S [--close] [--pid PID]
 *     load --proxy HOST:PORT --origin-port N --idle N
 *     ... [--tls | --resume]              TLS towards the proxy (load_tls.h); --resume: with tickets
 *     ... [--cached]                      answers that the proxy may store for an hour
 *     ... [--path PATH]                   what is asked for
 *
 * Nouns: a *client* is one connection slot towards the proxy: it sends a request, checks the answer, sends the next one.
 * A *back* is a connection that the proxy opened to our origin. The *window* is the measured time: it opens when every
 * client has had its first answer and the warm-up is over. Requests, latencies and the proxy's CPU are those of the
 * window; errors are those of the whole run. When the window closes no new requests are sent, those under way finish,
 * and clients close before the origin does: the next run finds a proxy that saw no failure. Requests that the origin gets within
 * the window are counted: with --cached there must be none, or it was not the cache that answered.
 *
 * Every answer is checked: status 200, Content-Length as asked, exactly that many bytes, and the bytes themselves where
 * they fit into one read. Longer bodies are dropped inside the kernel (MSG_TRUNC), so that checking costs no copy; over TLS they
 * had to be decrypted anyway and are compared whole. With --close a latency over TLS begins with the connection.
 *
 * Sockets are edge-triggered: a read shorter than asked ends the turn (no second recv for EAGAIN) unless the event said
 * that the peer has closed. Output: one line of JSON. Linux only; libraries: OpenSSL, for TLS.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load_tls.h"

#define EVENTS_MAX 512
#define INBOX_BYTES (48u * 1024) /* one read takes a head and a 32 KiB body */
#define HEAD_BYTES_MAX (16u * 1024)
#define REQUEST_BYTES_MAX 8192u
#define ANSWER_BYTES_MAX (64u * 1024) /* head and body up to this leave in one send; longer bodies by sendfile */
#define RAMP_MAX 128u                 /* clients that wait for their first answer at the same time: below any backlog */
#define RAMP_NS_MAX 10000000000ull    /* a proxy that has not answered every client once by then has failed */
#define STUCK_NS 5000000000ull        /* no byte for so long is an error */
#define DRAIN_NS 1000000000ull
#define SECOND_NS 1000000000ull

enum kind { KIND_CLIENT, KIND_BACK, KIND_LISTENER, KIND_STDIN };

enum client_state {
    CLIENT_CLOSED,     /* no socket; to be opened */
    CLIENT_CONNECTING, /* the request could not be sent yet: TCP's or TLS's handshake is under way */
    CLIENT_HEAD,       /* request sent, the answer's head is not complete */
    CLIENT_BODY,       /* `left` bytes of the body to come */
    CLIENT_CLOSING,    /* answer complete, the proxy has still to close */
    CLIENT_IDLE,       /* answer complete, no request to send: before the warm-up, after the window, --idle */
    CLIENT_GONE        /* never to be opened again */
};

struct client {
    enum kind kind; /* first: epoll gives us a pointer to it */
    enum client_state state;
    int fd;
    bool answered; /* has ever had a complete answer */
    bool last;     /* the answer said Connection: close */
    uint64_t sent_ns, progress_ns;
    uint64_t left;
    struct tls *tls; /* NULL: plain */
    char *partial;   /* the beginning of a head that came in pieces */
    size_t partial_bytes;
};

struct back {
    enum kind kind;
    int fd;
    bool blocked;      /* the socket's buffer is full */
    unsigned owed;     /* requests not yet answered, among them the one in progress */
    uint64_t answered; /* bytes of the answer in progress already sent */
    size_t request_bytes;
    char request[REQUEST_BYTES_MAX];
};

/* Log-linear: 32 steps per power of two, so at most 3 % wide. */
#define STEP_BITS 5u
#define STEPS (1u << STEP_BITS)
#define HISTOGRAM_SLOTS ((64u - STEP_BITS + 1u) * STEPS)

struct histogram {
    uint64_t slots[HISTOGRAM_SLOTS];
    uint64_t count, largest;
};

struct cpu {
    uint64_t user_us, system_us; /* utime and stime of the process, all threads: whole ticks */
    uint64_t sched_us;           /* the same from the scheduler, in nanoseconds; excludes threads that have ended */
};

struct options {
    const char *proxy, *host, *path;
    unsigned origin_port, connections, idle;
    uint64_t body_bytes;
    double seconds, warmup_seconds;
    bool close, tls, resume, cached;
    pid_t pid;
};

static struct options options = { .host = "www.example.com",
                                  .path = "/articles/2026/weir.html",
                                  .connections = 64,
                                  .body_bytes = 1024,
                                  .seconds = 1.0,
                                  .warmup_seconds = 0.3 };

static struct run {
    int epoll, listener, body_file;
    struct sockaddr_storage proxy;
    socklen_t proxy_bytes;
    struct client *clients;
    unsigned client_count, opened, answered; /* opened, answered: clients, ever */
    uint64_t now_ns;
    bool sending, ramping, counting, stdin_closed;
    char request[1024], *answer;
    size_t request_bytes, answer_head_bytes, answer_bytes; /* answer_bytes: what lies in `answer` */
    uint64_t requests, bytes, wrong, shortened, failed, stuck, reopened, closed_idle;
    uint64_t back_connections, back_requests, back_window; /* back_window: requests that came within the window */
    struct histogram latency;
} run;

static char inbox[INBOX_BYTES];

/* ---- small things ---------------------------------------------------------------------------------------------------- */

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;

    fputs("load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static unsigned histogram_slot(uint64_t value)
{
    unsigned power;

    if (value < STEPS)
        return (unsigned)value;
    power = 63u - (unsigned)__builtin_clzll(value);
    return (power - STEP_BITS + 1u) * STEPS + (unsigned)((value >> (power - STEP_BITS)) & (STEPS - 1u));
}

/* The middle of a slot. */
static double histogram_value(unsigned slot)
{
    unsigned power = slot / STEPS;

    if (power == 0)
        return (double)slot;
    return ((double)(STEPS + slot % STEPS) + 0.5) * (double)(1ull << (power - 1u));
}

static void histogram_add(struct histogram *h, uint64_t value)
{
    h->slots[histogram_slot(value)]++;
    h->count++;
    if (value > h->largest)
        h->largest = value;
}

static double histogram_quantile(const struct histogram *h, double q)
{
    uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += h->slots[i];
        if (seen > rank)
            return histogram_value(i) < (double)h->largest ? histogram_value(i) : (double)h->largest;
    }
    return (double)h->largest;
}

/* ---- the CPU time of another process --------------------------------------------------------------------------------- */

static uint64_t sched_us_of(pid_t pid)
{
    char path[320], line[128];
    uint64_t sum_ns = 0;
    struct dirent *entry;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (!tasks)
        return 0;
    while ((entry = readdir(tasks))) {
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(line, sizeof line, file))
            sum_ns += strtoull(line, NULL, 10);
        fclose(file);
    }
    closedir(tasks);
    return sum_ns / 1000u;
}

static struct cpu cpu_of(pid_t pid)
{
    struct cpu cpu = { 0 };
    uint64_t user, system, hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    char path[64], line[1024];
    const char *after_name;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        die("the CPU time of process %d cannot be read: %s", (int)pid, strerror(errno));
    fclose(file);
    after_name = strrchr(line, ')');
    if (!after_name || sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                              &user, &system) != 2)
        die("%s has an unknown form", path);
    cpu.user_us = user * 1000000u / hertz;
    cpu.system_us = system * 1000000u / hertz;
    cpu.sched_us = sched_us_of(pid);
    return cpu;
}

/* ---- sockets --------------------------------------------------------------------------------------------------------- */

static void watch(int fd, void *owner, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };

    if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void proxy_resolve(const char *text)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    const char *colon = strrchr(text, ':');
    char host[256];
    int error;

    if (!colon || (size_t)(colon - text) >= sizeof host)
        die("--proxy '%s' is not HOST:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    error = getaddrinfo(host, colon + 1, &hints, &found);
    if (error)
        die("--proxy '%s': %s", text, gai_strerror(error));
    memcpy(&run.proxy, found->ai_addr, found->ai_addrlen);
    run.proxy_bytes = found->ai_addrlen;
    freeaddrinfo(found);
}

static void raise_files(rlim_t wanted)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        fprintf(stderr, "load: at most %ju open files, fewer than the %ju that may be needed\n",
                (uintmax_t)limit.rlim_cur, (uintmax_t)wanted);
}

/* ---- the origin ------------------------------------------------------------------------------------------------------ */

static void origin_answer_build(void)
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
    run.answer_head_bytes = (size_t)length;
    whole = run.answer_head_bytes + options.body_bytes;
    run.answer_bytes = whole <= ANSWER_BYTES_MAX ? (size_t)whole : run.answer_head_bytes;
    run.answer = malloc(run.answer_head_bytes + options.body_bytes);
    if (!run.answer)
        die("out of memory");
    memcpy(run.answer, head, run.answer_head_bytes);
    for (uint64_t i = 0; i < options.body_bytes; i++)
        run.answer[run.answer_head_bytes + i] = (char)('a' + (i * 7u + i / 251u) % 26u);
    if (run.answer_bytes == whole)
        return;
    run.body_file = memfd_create("body", MFD_CLOEXEC);
    for (uint64_t at = 0; at < options.body_bytes;) {
        ssize_t n = pwrite(run.body_file, run.answer + run.answer_head_bytes + at, options.body_bytes - at, (off_t)at);

        if (n <= 0)
            die("memfd: %s", strerror(errno));
        at += (uint64_t)n;
    }
}

static void origin_listen(void)
{
    static enum kind listener_kind = KIND_LISTENER;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)options.origin_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;

    run.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(run.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    no_delay(run.listener); /* accepted sockets inherit it */
    if (bind(run.listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(run.listener, 4096) != 0)
        die("origin port %u: %s", options.origin_port, strerror(errno));
    watch(run.listener, &listener_kind, EPOLLIN);
}

static void origin_accept(void)
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
    uint64_t whole = run.answer_head_bytes + options.body_bytes;

    while (back->owed > 0 && !back->blocked) {
        ssize_t n;

        if (back->answered < run.answer_bytes) {
            n = send(back->fd, run.answer + back->answered, run.answer_bytes - (size_t)back->answered,
                     MSG_NOSIGNAL | (run.answer_bytes < whole ? MSG_MORE : 0));
        } else {
            off_t at = (off_t)(back->answered - run.answer_head_bytes);

            n = sendfile(back->fd, run.body_file, &at, (size_t)(whole - back->answered));
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

/* Counts the requests in what has come and keeps the rest. */
static void back_parse(struct back *back)
{
    char *from = back->request, *end = back->request + back->request_bytes, *found;

    while ((found = memmem(from, (size_t)(end - from), "\r\n\r\n", 4))) {
        back->owed++;
        run.back_window += run.counting;
        from = found + 4;
    }
    back->request_bytes = (size_t)(end - from);
    if (back->request_bytes && from != back->request)
        memmove(back->request, from, back->request_bytes);
}

static void back_event(struct back *back, uint32_t events)
{
    bool open = true, more = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (events & EPOLLOUT)
        back->blocked = false;
    while (more) {
        size_t room = sizeof back->request - back->request_bytes;
        ssize_t n = recv(back->fd, back->request + back->request_bytes, room, 0);

        if (n > 0) {
            back->request_bytes += (size_t)n;
            back_parse(back);
            if (back->request_bytes == sizeof back->request)
                die("the proxy sent a request of more than %u bytes", REQUEST_BYTES_MAX);
        } else if (n == 0 || errno != EAGAIN) {
            open = false;
        }
        more = n > 0 && ((size_t)n == room || (events & EPOLLRDHUP));
    }
    if (!open || !back_send(back))
        back_close(back);
}

/* ---- clients --------------------------------------------------------------------------------------------------------- */

static void client_close(struct client *client, enum client_state after)
{
    if (client->tls)
        tls_close(client->tls);
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->partial_bytes = 0;
    client->state = run.sending ? after : CLIENT_GONE;
}

static void client_fail(struct client *client, uint64_t *counter)
{
    (*counter)++;
    client_close(client, CLIENT_CLOSED);
}

static void client_send(struct client *client)
{
    ssize_t n = client->tls ? tls_send(client->tls, run.request, run.request_bytes)
                            : send(client->fd, run.request, run.request_bytes, MSG_NOSIGNAL);

    client->progress_ns = run.now_ns;
    if (!client->tls || client->state != CLIENT_CONNECTING)
        client->sent_ns = run.now_ns;
    if (n == (ssize_t)run.request_bytes)
        client->state = CLIENT_HEAD;
    else if (n < 0 && errno == EAGAIN)
        client->state = CLIENT_CONNECTING; /* an event will come */
    else
        client_fail(client, &run.failed);
}

static void client_open(struct client *client)
{
    client->last = options.close;
    client->partial_bytes = 0;
    client->sent_ns = client->progress_ns = run.now_ns = clock_ns();
    client->fd = socket(run.proxy.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket: %s", strerror(errno));
    no_delay(client->fd);
    client->state = CLIENT_CONNECTING;
    if (connect(client->fd, (struct sockaddr *)&run.proxy, run.proxy_bytes) != 0 && errno != EINPROGRESS) {
        client_fail(client, &run.failed);
        return;
    }
    watch(client->fd, client, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    if (client->tls)
        tls_open(client->tls, client->fd);
    client_send(client); /* over loopback the handshake is mostly done by now */
}

static void client_complain(const char *what, size_t bytes)
{
    static unsigned complaints;
    size_t shown = bytes < 400 ? bytes : 400;

    if (complaints++ < 3)
        fprintf(stderr, "load: %s:\n%.*s\n", what, (int)shown, inbox);
}

/* The answer is complete. False: the client has closed. */
static bool client_complete(struct client *client)
{
    run.now_ns = clock_ns();
    if (!client->answered) {
        client->answered = true;
        run.answered++;
    }
    if (run.counting) {
        run.requests++;
        run.bytes += options.body_bytes;
        histogram_add(&run.latency, run.now_ns - client->sent_ns);
    }
    client->progress_ns = run.now_ns;
    if (client->last) {
        client->state = CLIENT_CLOSING;
        return true;
    }
    if (!run.sending || run.ramping || options.idle) {
        client->state = CLIENT_IDLE;
        return true;
    }
    client_send(client);
    return client->fd >= 0;
}

/* Reads the head's lines. False: not the answer that the origin gave. */
static bool client_head(struct client *client, const char *at, const char *end)
{
    uint64_t length = UINT64_MAX;

    if (end - at < 16 || memcmp(at, "HTTP/1.1 200", 12) != 0)
        return false;
    for (const char *line = at, *next; line < end; line = next) {
        next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        if ((line[0] | 32) == 'c' && next - line > 16 && strncasecmp(line, "content-length:", 15) == 0)
            length = strtoull(line + 15, NULL, 10);
        else if ((line[0] | 32) == 'c' && next - line > 16 && strncasecmp(line, "connection: close", 17) == 0)
            client->last = true;
        else if ((line[0] | 32) == 't' && next - line > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0)
            return false;
    }
    return length == options.body_bytes;
}

/* inbox holds `bytes` from the head's beginning. False: the client has closed. */
static bool client_head_received(struct client *client, size_t bytes)
{
    const char *end = memmem(inbox, bytes, "\r\n\r\n", 4);
    size_t head, body;

    if (!end) {
        if (bytes > HEAD_BYTES_MAX) {
            client_complain("a head without an end", bytes);
            client_fail(client, &run.wrong);
            return false;
        }
        if (!client->partial && !(client->partial = malloc(HEAD_BYTES_MAX)))
            die("out of memory");
        memcpy(client->partial, inbox, bytes);
        client->partial_bytes = bytes;
        return true;
    }
    client->partial_bytes = 0;
    head = (size_t)(end - inbox) + 4;
    body = bytes - head;
    if (!client_head(client, inbox, end + 2) || body > options.body_bytes ||
        memcmp(inbox + head, run.answer + run.answer_head_bytes, body) != 0) {
        client_complain("an unexpected answer", bytes);
        client_fail(client, &run.wrong);
        return false;
    }
    client->left = options.body_bytes - body;
    client->state = CLIENT_BODY;
    return client->left > 0 || client_complete(client);
}

/* The peer has closed, or the connection broke. */
static void client_ended(struct client *client)
{
    switch (client->state) {
    case CLIENT_CLOSING:
        if (!options.close)
            run.reopened++;
        client_close(client, CLIENT_CLOSED);
        if (client->state == CLIENT_CLOSED)
            client_open(client);
        break;
    case CLIENT_IDLE:
        run.closed_idle++;
        client_close(client, options.idle ? CLIENT_GONE : CLIENT_CLOSED);
        break;
    case CLIENT_BODY: client_fail(client, &run.shortened); break;
    default: client_fail(client, client->partial_bytes ? &run.shortened : &run.failed);
    }
}

/* The next of a body's bytes: dropped unseen, or decrypted and compared. */
static ssize_t client_receive_body(struct client *client, size_t asked)
{
    ssize_t n;

    if (!client->tls) {
        n = recv(client->fd, NULL, asked, MSG_TRUNC);
    } else {
        const char *expected = run.answer + run.answer_head_bytes + options.body_bytes - client->left;

        n = tls_receive(client->tls, inbox, asked < sizeof inbox ? asked : sizeof inbox);
        if (n > 0 && memcmp(inbox, expected, (size_t)n) != 0) {
            client_complain("a body that the origin did not send", (size_t)n);
            client_fail(client, &run.wrong);
            return n;
        }
    }
    if (n <= 0)
        return n;
    client->progress_ns = run.now_ns;
    client->left -= (uint64_t)n;
    if (client->left == 0)
        client_complete(client);
    return n;
}

/* One read. Returns what recv gave, with *asked; bytes have been dealt with, an end has not. */
static ssize_t client_receive(struct client *client, size_t *asked)
{
    ssize_t n;

    if (client->state == CLIENT_BODY) {
        *asked = (size_t)client->left;
        return client_receive_body(client, *asked);
    }
    if (client->partial_bytes)
        memcpy(inbox, client->partial, client->partial_bytes);
    *asked = sizeof inbox - client->partial_bytes;
    n = client->tls ? tls_receive(client->tls, inbox + client->partial_bytes, *asked)
                    : recv(client->fd, inbox + client->partial_bytes, *asked, 0);
    if (n <= 0)
        return n;
    client->progress_ns = run.now_ns;
    if (client->state == CLIENT_HEAD) {
        client_head_received(client, client->partial_bytes + (size_t)n);
    } else {
        client_complain("bytes that nobody asked for", (size_t)n);
        client_fail(client, &run.wrong);
    }
    return n;
}

static void client_event(struct client *client, uint32_t events)
{
    bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (client->tls)
        tls_event(client->tls, ending);
    if (client->state == CLIENT_CONNECTING && (client->tls || ((events & EPOLLOUT) && !ending)))
        client_send(client);
    if (client->tls && client->state == CLIENT_CONNECTING)
        return; /* what came was the handshake's */
    if (!(events & EPOLLIN) && !ending)
        return;
    while (client->fd >= 0) {
        size_t asked;
        ssize_t n = client_receive(client, &asked);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            client_ended(client);
            return;
        }
        /* More can wait in the socket only behind a full inbox, and an end behind anything; TLS has to be asked. */
        if (!ending && !client->tls && !(client->state == CLIENT_BODY && (size_t)n == asked))
            return;
    }
}

static void clients_open(void)
{
    while (run.opened < run.client_count && run.opened - run.answered < RAMP_MAX)
        client_open(&run.clients[run.opened++]);
}

/* Once a second: clients without progress are given up, closed ones opened again (not at once: the proxy may be down). */
static void clients_sweep(void)
{
    for (unsigned i = 0; i < run.opened; i++) {
        struct client *client = &run.clients[i];

        if (client->state == CLIENT_CLOSED) {
            client_open(client);
        } else if (client->state != CLIENT_IDLE && client->state != CLIENT_GONE &&
                   run.now_ns > client->progress_ns + STUCK_NS) {
            client_fail(client, &run.stuck);
        }
    }
}

static unsigned clients_busy(void)
{
    unsigned busy = 0;

    for (unsigned i = 0; i < run.opened; i++)
        busy += run.clients[i].state == CLIENT_CONNECTING || run.clients[i].state == CLIENT_HEAD ||
                run.clients[i].state == CLIENT_BODY;
    return busy;
}

/* ---- the loop -------------------------------------------------------------------------------------------------------- */

static void turn(int timeout_ms)
{
    static uint64_t swept_ns;
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(run.epoll, events, EVENTS_MAX, timeout_ms);

    run.now_ns = clock_ns();
    for (int i = 0; i < count; i++) {
        void *owner = events[i].data.ptr;

        switch (*(enum kind *)owner) {
        case KIND_CLIENT: client_event(owner, events[i].events); break;
        case KIND_BACK: back_event(owner, events[i].events); break;
        case KIND_LISTENER: origin_accept(); break;
        case KIND_STDIN: run.stdin_closed = read(STDIN_FILENO, inbox, sizeof inbox) <= 0; break;
        }
    }
    if (run.opened < run.client_count)
        clients_open();
    if (run.now_ns > swept_ns + SECOND_NS) {
        swept_ns = run.now_ns;
        clients_sweep();
    }
}

static void turn_until(uint64_t end_ns)
{
    while ((run.now_ns = clock_ns()) < end_ns)
        turn((int)((end_ns - run.now_ns) / 1000000u + 1u));
}

/*
 * Every client has one answer before any has a second. A proxy that accepts one connection a turn (nginx) would else need
 * half a minute to let 2,000 in, because those already in keep it busy.
 */
static void ramp(void)
{
    uint64_t given_up_ns = clock_ns() + RAMP_NS_MAX;

    run.ramping = true;
    clients_open();
    while (run.answered < run.client_count) {
        if (clock_ns() > given_up_ns)
            die("%u of %u clients had no answer; failed %" PRIu64 ", wrong %" PRIu64 ", short %" PRIu64,
                run.client_count - run.answered, run.client_count, run.failed, run.wrong, run.shortened);
        turn(100);
    }
    run.ramping = false;
    run.now_ns = clock_ns();
    for (unsigned i = 0; i < run.client_count && !options.idle; i++)
        if (run.clients[i].state == CLIENT_IDLE)
            client_send(&run.clients[i]);
}

static void drain(void)
{
    uint64_t end_ns = clock_ns() + DRAIN_NS;

    run.sending = false;
    while (clients_busy() > 0 && clock_ns() < end_ns)
        turn(10);
    for (unsigned i = 0; i < run.client_count; i++)
        if (run.clients[i].fd >= 0)
            close(run.clients[i].fd);
    turn_until(clock_ns() + 20000000ull); /* the proxy sees its clients go before its origin */
}

static void print_errors(void)
{
    printf("\"errors\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"short\": %" PRIu64 ", \"failed\": %" PRIu64
           ", \"stuck\": %" PRIu64 ", \"reopened\": %" PRIu64,
           run.wrong + run.shortened + run.failed + run.stuck, run.wrong, run.shortened, run.failed, run.stuck,
           run.reopened);
}

static void print_tls(const struct tls_counts *before)
{
    printf(", \"handshakes\": %" PRIu64 ", \"resumed\": %" PRIu64 ", \"unannounced\": %" PRIu64,
           tls_counts.handshakes - before->handshakes, tls_counts.resumed - before->resumed,
           tls_counts.unannounced - before->unannounced);
}

static void measure(void)
{
    struct tls_counts tls_before;
    struct cpu before = { 0 }, after = { 0 }, own_before, own_after;
    uint64_t begin_ns;
    double seconds;

    ramp();
    turn_until(clock_ns() + (uint64_t)(options.warmup_seconds * 1e9));
    own_before = cpu_of(getpid());
    if (options.pid)
        before = cpu_of(options.pid);
    tls_before = tls_counts;
    begin_ns = clock_ns();
    run.counting = true;
    turn_until(begin_ns + (uint64_t)(options.seconds * 1e9));
    run.counting = false;
    seconds = (double)(clock_ns() - begin_ns) / 1e9;
    if (options.pid)
        after = cpu_of(options.pid);
    own_after = cpu_of(getpid());
    printf("{\"requests\": %" PRIu64, run.requests);
    if (options.tls)
        print_tls(&tls_before);
    drain();
    printf(", ");
    print_errors();
    printf(", \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"bytes\": %" PRIu64 ", \"origin_connections\": %" PRIu64
           ", \"origin_requests\": %" PRIu64 ", \"origin_window\": %" PRIu64,
           seconds, (double)run.requests / seconds, histogram_quantile(&run.latency, 0.5) / 1e3,
           histogram_quantile(&run.latency, 0.99) / 1e3, histogram_quantile(&run.latency, 0.999) / 1e3,
           (double)run.latency.largest / 1e3, run.bytes, run.back_connections, run.back_requests, run.back_window);
    if (options.pid)
        printf(", \"proxy_user_us\": %" PRIu64 ", \"proxy_system_us\": %" PRIu64 ", \"proxy_sched_us\": %" PRIu64,
               after.user_us - before.user_us, after.system_us - before.system_us, after.sched_us - before.sched_us);
    printf(", \"load_us\": %" PRIu64 "}\n", own_after.sched_us - own_before.sched_us);
}

/* "idle" is printed when every connection has had its answer; then they are held until stdin closes. */
static void hold(void)
{
    static enum kind stdin_kind = KIND_STDIN;

    ramp();
    printf("idle\n");
    fflush(stdout);
    watch(STDIN_FILENO, &stdin_kind, EPOLLIN);
    while (!run.stdin_closed)
        turn(200);
    printf("{\"idle\": %u, \"closed\": %" PRIu64 ", \"origin_connections\": %" PRIu64 ", ", options.idle,
           run.closed_idle, run.back_connections);
    print_errors();
    printf("}\n");
    drain();
}

static void request_build(void)
{
    char page[32] =
        "1"; /* a proxy that keeps answers from one run to the next finds each length under a URL of its own */
    int length;

    if (options.cached)
        snprintf(page, sizeof page, "%" PRIu64, options.body_bytes);
    length = snprintf(run.request, sizeof run.request,
                      "GET %s?page=%s HTTP/1.1\r\nHost: %s\r\n"
                      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) load/1.0\r\n"
                      "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n%s\r\n",
                      options.path, page, options.host, options.close ? "Connection: close\r\n" : "");

    if (length < 0 || (size_t)length >= sizeof run.request)
        die("the request is too long");
    run.request_bytes = (size_t)length;
}

static void options_read(int count, char **words)
{
    static const struct option known[] = {
        { "proxy", required_argument, NULL, 'p' },
        { "origin-port", required_argument, NULL, 'o' },
        { "connections", required_argument, NULL, 'c' },
        { "body", required_argument, NULL, 'b' },
        { "seconds", required_argument, NULL, 's' },
        { "warmup", required_argument, NULL, 'w' },
        { "close", no_argument, NULL, 'x' },
        { "tls", no_argument, NULL, 't' },
        { "resume", no_argument, NULL, 'r' },
        { "cached", no_argument, NULL, 'C' },
        { "path", required_argument, NULL, 'a' },
        { "idle", required_argument, NULL, 'i' },
        { "host", required_argument, NULL, 'h' },
        { "pid", required_argument, NULL, 'P' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
        switch (option) {
        case 'p': options.proxy = optarg; break;
        case 'o': options.origin_port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'b': options.body_bytes = strtoull(optarg, NULL, 10); break;
        case 's': options.seconds = strtod(optarg, NULL); break;
        case 'w': options.warmup_seconds = strtod(optarg, NULL); break;
        case 'x': options.close = true; break;
        case 't': options.tls = true; break;
        case 'r': options.tls = options.resume = true; break;
        case 'a': options.path = optarg; break;
        case 'C': options.cached = true; break;
        case 'i': options.idle = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'h': options.host = optarg; break;
        case 'P': options.pid = (pid_t)strtol(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (!options.proxy || !options.origin_port || options.origin_port > 65535 || optind != count) {
        fputs(
            "usage: load --proxy HOST:PORT --origin-port N [--connections N] [--body BYTES] [--seconds S] [--warmup S]\n"
            "            [--close] [--tls | --resume] [--cached] [--pid PID] [--idle N] [--host NAME] [--path PATH]\n",
            stderr);
        exit(2);
    }
}

int main(int count, char **words)
{
    options_read(count, words);
    signal(SIGPIPE, SIG_IGN);
    run.client_count = options.idle ? options.idle : options.connections;
    raise_files(2 * (rlim_t)run.client_count + 1024);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.clients = calloc(run.client_count, sizeof *run.clients);
    if (!run.clients)
        die("out of memory");
    if (options.tls)
        tls_init(options.host, options.resume, options.body_bytes > ANSWER_BYTES_MAX);
    for (unsigned i = 0; i < run.client_count; i++)
        run.clients[i] = (struct client){ .kind = KIND_CLIENT, .fd = -1, .tls = options.tls ? tls_new() : NULL };
    run.sending = true;
    proxy_resolve(options.proxy);
    request_build();
    origin_answer_build();
    origin_listen();
    if (options.idle)
        hold();
    else
        measure();
    return 0;
}

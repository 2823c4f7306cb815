/*
 * load_clients: what is asked of the proxy, and whether its answers are right; see load.h.
 *
 * A *client* is one connection slot towards the proxy. In a closed loop it sends the next request when it was answered; with a rate
 * requests are due at fixed times and whoever is free sends them. Where nobody was free latency counts from when they were due: a
 * proxy that stalls is charged for the requests that waited behind the stall. Where it was us who woke late it counts from the
 * sending, and the lateness is told apart.
 *
 * Sockets are edge-triggered: a read shorter than asked ends the turn (no second recv for EAGAIN) unless the event said
 * that the peer has closed.
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "load_tls.h"

#define HEAD_BYTES_MAX (16u * 1024)
#define RAMP_MAX 128u          /* clients that wait for their first answer at the same time: below any backlog */
#define STUCK_NS 5000000000ull /* no byte for so long is an error */

enum client_state {
    CLIENT_CLOSED,     /* no socket; to be opened */
    CLIENT_CONNECTING, /* the request could not be sent yet: TCP's or TLS's handshake is under way */
    CLIENT_SENDING,    /* `left` bytes of the request's content to go */
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

static char head_of_request[1024];
static const char *request; /* what is sent in one piece: a head; with --tcp the message */
static size_t request_bytes;

static void request_build(void)
{
    char page[32] = "1", more[64] = ""; /* a proxy that keeps answers finds each length under a URL of its own */
    int length;

    if (options.tcp) {
        request = run.content;
        request_bytes = (size_t)options.body_bytes;
        return;
    }
    if (options.cached)
        snprintf(page, sizeof page, "%" PRIu64, options.body_bytes);
    if (options.upload_bytes)
        snprintf(more, sizeof more, "Content-Length: %" PRIu64 "\r\n", options.upload_bytes);
    length = snprintf(head_of_request, sizeof head_of_request,
                      "%s %s?page=%s HTTP/1.1\r\nHost: %s\r\n"
                      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) load/1.0\r\n"
                      "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n%s%s\r\n",
                      options.upload_bytes ? "POST" : "GET", options.path, page, options.host, more,
                      options.close ? "Connection: close\r\n" : "");
    if (length < 0 || (size_t)length >= sizeof head_of_request)
        die("the request is too long");
    request = head_of_request;
    request_bytes = (size_t)length;
}

void clients_init(void)
{
    request_build();
    run.clients = calloc(run.client_count, sizeof *run.clients);
    if (!run.clients)
        die("out of memory");
    for (unsigned i = 0; i < run.client_count; i++)
        run.clients[i] = (struct client){ .kind = KIND_CLIENT, .fd = -1, .tls = options.tls ? tls_new() : NULL };
}

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

/* The content of a request, as far as it goes. */
static void client_upload(struct client *client)
{
    while (client->left > 0) {
        off_t at = (off_t)(options.upload_bytes - client->left);
        ssize_t n = sendfile(client->fd, run.content_file, &at, (size_t)client->left);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            client_fail(client, &run.failed);
            return;
        }
        client->progress_ns = run.now_ns;
        client->left -= (uint64_t)n;
    }
    client->state = CLIENT_HEAD;
}

static void client_request(struct client *client)
{
    ssize_t n = client->tls
                    ? tls_send(client->tls, request, request_bytes)
                    : send(client->fd, request, request_bytes, MSG_NOSIGNAL | (options.upload_bytes ? MSG_MORE : 0));

    client->progress_ns = run.now_ns;
    if (!client->tls || client->state != CLIENT_CONNECTING)
        client->sent_ns = run.now_ns;
    if (n == (ssize_t)request_bytes && options.upload_bytes) {
        client->state = CLIENT_SENDING;
        client->left = options.upload_bytes;
        client_upload(client);
    } else if (n == (ssize_t)request_bytes) {
        client->state = options.tcp ? CLIENT_BODY : CLIENT_HEAD;
        client->left = options.body_bytes;
    } else if (n < 0 && errno == EAGAIN) {
        client->state = CLIENT_CONNECTING; /* an event will come */
    } else {
        client_fail(client, &run.failed);
    }
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
    client_request(client); /* over loopback the handshake is mostly done by now */
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
        histogram_add(&run.latency, run.now_ns - client->sent_ns);
    }
    client->progress_ns = run.now_ns;
    if (client->last) {
        client->state = CLIENT_CLOSING;
        return true;
    }
    if (!run.sending || run.ramping || options.idle || options.rate > 0) {
        client->state = CLIENT_IDLE;
        return true;
    }
    client_request(client);
    return client->fd >= 0;
}

/* `bytes` of the answer's content have come, and are right. False: it was the last, and the client has closed. */
static bool client_progress(struct client *client, size_t bytes)
{
    if (run.counting && !options.upload_bytes)
        run.bytes += bytes;
    client->left -= bytes;
    return client->left > 0 || client_complete(client);
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
        memcmp(inbox + head, run.content, body) != 0) {
        client_complain("an unexpected answer", bytes);
        client_fail(client, &run.wrong);
        return false;
    }
    client->left = options.body_bytes;
    client->state = CLIENT_BODY;
    return client_progress(client, body);
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

/* The next of a body's bytes: dropped unseen, or received and compared. */
static ssize_t client_receive_body(struct client *client, size_t asked)
{
    const char *expected = run.content + options.body_bytes - client->left;
    size_t room = asked < sizeof inbox ? asked : sizeof inbox;
    bool seen = client->tls || options.tcp;
    ssize_t n;

    if (client->tls)
        n = tls_receive(client->tls, inbox, room);
    else if (options.tcp)
        n = recv(client->fd, inbox, room, 0);
    else
        n = recv(client->fd, NULL, asked, MSG_TRUNC);
    if (n <= 0)
        return n;
    client->progress_ns = run.now_ns;
    if (seen && memcmp(inbox, expected, (size_t)n) != 0) {
        client_complain("a body that the origin did not send", (size_t)n);
        client_fail(client, &run.wrong);
    } else {
        client_progress(client, (size_t)n);
    }
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

void client_event(void *owner, uint32_t events)
{
    struct client *client = owner;
    bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (client->tls)
        tls_event(client->tls, ending);
    if (client->state == CLIENT_CONNECTING && (client->tls || ((events & EPOLLOUT) && !ending)))
        client_request(client);
    else if (client->state == CLIENT_SENDING && (events & EPOLLOUT))
        client_upload(client);
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

void clients_open(void)
{
    while (run.opened < run.client_count && run.opened - run.answered < RAMP_MAX)
        client_open(&run.clients[run.opened++]);
}

void clients_sweep(void)
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

unsigned clients_busy(void)
{
    unsigned busy = 0;

    for (unsigned i = 0; i < run.opened; i++)
        busy += run.clients[i].state >= CLIENT_CONNECTING && run.clients[i].state <= CLIENT_BODY;
    return busy;
}

void clients_send(void)
{
    run.now_ns = clock_ns();
    for (unsigned i = 0; i < run.client_count; i++)
        if (run.clients[i].state == CLIENT_IDLE)
            client_request(&run.clients[i]);
}

void clients_pace(void)
{
    static unsigned turn;
    static bool starved; /* the last time somebody was missing, not time */
    uint64_t step_ns = (uint64_t)(1e9 / options.rate);

    for (unsigned tries = 0; run.due_ns <= run.now_ns && tries < run.client_count; tries++) {
        struct client *client = &run.clients[turn++ % run.client_count];

        if (client->state != CLIENT_IDLE)
            continue;
        client_request(client);
        if (starved)
            client->sent_ns = run.due_ns;
        else if (run.counting)
            histogram_add(&run.late, run.now_ns - run.due_ns);
        run.due_ns += step_ns;
        tries = 0;
    }
    starved = run.due_ns <= run.now_ns;
}

void clients_close(void)
{
    for (unsigned i = 0; i < run.client_count; i++)
        if (run.clients[i].fd >= 0)
            close(run.clients[i].fd);
}

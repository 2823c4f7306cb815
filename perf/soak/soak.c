/*
 * soak: clients and origin of a cache under test, in one epoll thread, who know what every answer must be.
 *
 *     soak --proxy PORT --origin PORT --total BYTES [--connections N] [--skew S] [--seed N]
 *
 * There are as many *objects* as make up --total bytes; an object's number says its size, path, host, tag, how it may be stored and how it is framed.
 * Clients ask for objects by Zipf's law. Each object has a *version*, which grows when a *bump* concerns it; the content follows from number,
 * version and variant, and the answer says the version in a field, so that a client can compute each byte. A *floor* is the least version that a request
 * sent from now on may be answered with: whoever purges says `bump`, purges, and when the purge is acknowledged says `floor`. So an answer from before
 * an acknowledged purge shows, however it came about; one that was asked for before the acknowledgement may be either.
 *
 * Orders come by standard input, a line each, and each is answered by a line:
 *
 *     bump KIND N             all objects concerned have a new version from now on; answers it
 *     floor KIND N VERSION    no answer asked for from now on is older. KIND: url tag prefix host all
 *     origin WORD PERCENT     how so many of the origin's answers fail from now on: well 503 cut reset stall
 *     calm                    nothing is disturbed any more: failures asked for two seconds from now and later are counted as such
 *     counts                  the counters, as JSON
 *     end                     no new requests; answers the counters when all is answered, and the program ends
 *
 * What counts: `wrong` are bytes, lengths, framing or objects that are not what was asked for; `older` are answers below their floor; `cut` answers
 * end early and say so, which is all that can be done when the origin fails. Linux only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TAGS 64u
#define PREFIXES 32u
#define HOSTS 4u
#define VARIANTS 3u /* of the objects that have several: by Accept-Language */
#define OBJECT_BYTES_MAX (1024u * 1024u)
#define HEAD_BYTES 8192u
#define PIECE_BYTES 16384u /* of content that the origin makes at a time; also a chunk */
#define STUCK_MS 30000u
#define CALM_AFTER_MS 2000u
#define SHOWN 20u

enum kind { KIND_CLIENT, KIND_BACK, KIND_LISTENER, KIND_STDIN };
enum dimension { URL, TAG, PREFIX, HOST, ALL, DIMENSIONS };
static const char *const dimension_words[DIMENSIONS] = { "url", "tag", "prefix", "host", "all" };
enum fate { WELL, STATUS, CUT, RESET, STALL, FATES };
static const char *const fate_words[FATES] = { "well", "503", "cut", "reset", "stall" };

/* A request as a client means it. */
enum ask { ASK_GET, ASK_RANGE, ASK_HEAD, ASK_IF_NONE, ASK_LEAVE };

enum client_state {
    CLIENT_CLOSED,     /* to be opened by the sweep */
    CLIENT_CONNECTING, /* the request is not sent yet */
    CLIENT_HEAD,
    CLIENT_LENGTH, /* content, `left` bytes to come */
    CLIENT_CHUNK_LINE,
    CLIENT_CHUNK,     /* `left` bytes of it */
    CLIENT_CHUNK_END, /* its CR LF */
    CLIENT_TRAILER,
    CLIENT_GONE /* the run is over */
};

struct client {
    enum kind kind; /* first: epoll gives a pointer to it */
    enum client_state state;
    int fd;
    enum ask ask;
    uint32_t object, variant;
    uint32_t floor;       /* when the request was sent */
    uint64_t first, last; /* ASK_RANGE: of the content */
    uint64_t leave_at;    /* ASK_LEAVE: content after which it hangs up */
    uint64_t sent_ms, progress_ms;
    bool calm, check, close_said; /* check: content is the object's and no message of failure */
    char head[HEAD_BYTES];
    uint32_t head_bytes;
    uint64_t left, at, end; /* at: offset in the object of the next byte; end: where it must end */
    uint64_t seed;
    uint32_t line_bytes;
    unsigned turns; /* requests on this connection */
};

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

static struct {
    int epoll, listener;
    struct sockaddr_in proxy;
    struct client *clients;
    struct back *backs;
    uint32_t client_count, object_count;
    uint32_t *sizes;
    double *weights; /* sums of Zipf's weights by rank */
    uint32_t version;
    uint32_t *bumps[DIMENSIONS], *floors[DIMENSIONS];
    enum fate fate;
    uint32_t fate_percent;
    uint64_t random, now_ms, calm_ms, proxy_port, origin_port, total_bytes;
    double skew;
    bool ending;
    uint64_t requests, answers, bytes, hits, partial, not_modified, left, origin_requests, origin_304, origin_failed;
    uint64_t wrong, older, errors, errors_calm, cut, cut_calm, closed, closed_calm, stuck;
    char shown[SHOWN][200];
    uint32_t shown_count;
} run = { .client_count = 64, .skew = 0.9, .random = 1 };

/* ---- small things ---------------------------------------------------------------------------------------------------- */

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;

    fputs("soak: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* splitmix64's finish: well mixed, and cheap enough for each word of all content. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static uint64_t dice(void)
{
    return mix(run.random += 0x9e3779b97f4a7c15ull);
}

static bool chance(unsigned in)
{
    return dice() % in == 0;
}

static void *make(size_t count, size_t bytes)
{
    void *made = calloc(count, bytes);

    if (!made)
        die("out of memory");
    return made;
}

static void watch(int fd, void *owner, uint32_t events, int how)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };

    if (epoll_ctl(run.epoll, how, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* ---- objects --------------------------------------------------------------------------------------------------------- */

static uint32_t object_size(uint32_t object)
{
    uint64_t h = mix(object + 77u), in = mix(h);

    if (h % 20 < 14)
        return (uint32_t)(200 + in % 16000);
    if (h % 20 < 19)
        return (uint32_t)(16384 + in % (112 * 1024));
    return (uint32_t)(128 * 1024 + in % (OBJECT_BYTES_MAX - 128 * 1024));
}

/* Where an object stands in a dimension. */
static uint32_t object_place(uint32_t object, enum dimension dimension)
{
    switch (dimension) {
    case URL: return object;
    case TAG: return object % TAGS;
    case PREFIX: return object / TAGS % PREFIXES;
    case HOST: return object / TAGS % PREFIXES % HOSTS; /* each prefix has one host: a prefix is purged with its host's name */
    default: return 0;
    }
}

static uint32_t dimension_places(enum dimension dimension)
{
    switch (dimension) {
    case URL: return run.object_count;
    case TAG: return TAGS;
    case PREFIX: return PREFIXES;
    case HOST: return HOSTS;
    default: return 1;
    }
}

static uint32_t greatest(uint32_t *const of[DIMENSIONS], uint32_t object)
{
    uint32_t found = 0;

    for (enum dimension d = URL; d < DIMENSIONS; d++) {
        uint32_t value = of[d][object_place(object, d)];

        found = value > found ? value : found;
    }
    return found;
}

static bool object_varies(uint32_t object)
{
    return object % 17 == 2;
}

static uint64_t content_seed(uint32_t object, uint32_t version, uint32_t variant)
{
    return mix(((uint64_t)object << 32) ^ ((uint64_t)version << 3) ^ variant);
}

static void content_fill(uint64_t seed, uint64_t at, char *to, uint32_t bytes)
{
    while (bytes > 0) {
        uint64_t word = mix(seed + (at / 8) * 0x9e3779b97f4a7c15ull);
        uint32_t skip = (uint32_t)(at % 8), part = 8 - skip < bytes ? 8 - skip : bytes;

        memcpy(to, (char *)&word + skip, part);
        to += part;
        at += part;
        bytes -= part;
    }
}

static uint32_t object_pick(void)
{
    double wanted = (double)(dice() >> 11) / 9007199254740992.0 * run.weights[run.object_count - 1];
    uint32_t low = 0, high = run.object_count - 1;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (run.weights[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)((uint64_t)low * 2654435761u %
                      run.object_count); /* popularity has nothing to do with an object's other properties */
}

static void objects_make(void)
{
    uint64_t total = 0;
    double sum = 0;

    while (total < run.total_bytes)
        total += object_size(run.object_count++);
    run.sizes = make(run.object_count, sizeof *run.sizes);
    run.weights = make(run.object_count, sizeof *run.weights);
    for (uint32_t i = 0; i < run.object_count; i++) {
        run.sizes[i] = object_size(i);
        sum += 1.0 / pow(i + 1.0, run.skew);
        run.weights[i] = sum;
    }
    for (enum dimension d = URL; d < DIMENSIONS; d++) {
        run.bumps[d] = make(dimension_places(d), sizeof(uint32_t));
        run.floors[d] = make(dimension_places(d), sizeof(uint32_t));
    }
    run.bumps[ALL][0] = run.version = 1;
}

/* ---- the origin ------------------------------------------------------------------------------------------------------ */

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

static const char *field_find(const char *head, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = head; (line = strstr(line, "\r\n"));) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
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

static void back_event(struct back *back, uint32_t events)
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

/* What was stalled is answered, well or otherwise. */
static void backs_go_on(void)
{
    for (struct back *back = run.backs, *next; back; back = next) {
        next = back->next;
        if (back->stalled && (!back_answer(back) || !back_send(back)))
            back_close(back);
    }
}

static void origin_accept(void)
{
    int fd = accept4(run.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct back *back;

    if (fd < 0)
        return;
    back = make(1, sizeof *back);
    back->kind = KIND_BACK;
    back->fd = fd;
    back->next = run.backs;
    back->before = &run.backs;
    if (run.backs)
        run.backs->before = &back->next;
    run.backs = back;
    watch(fd, back, EPOLLIN, EPOLL_CTL_ADD);
}

static void origin_listen(void)
{
    static enum kind kind = KIND_LISTENER;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)run.origin_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;

    run.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(run.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(run.listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(run.listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(run.listener, 4096) != 0)
        die("origin port %" PRIu64 ": %s", run.origin_port, strerror(errno));
    watch(run.listener, &kind, EPOLLIN, EPOLL_CTL_ADD);
}

/* ---- clients --------------------------------------------------------------------------------------------------------- */

static void show(const struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void show(const struct client *client, const char *format, ...)
{
    static const char *const asks[] = { "GET", "range", "HEAD", "if-none-match", "leaving GET" };
    va_list arguments;
    char *line = run.shown[run.shown_count];
    int length;

    if (run.shown_count == SHOWN)
        return;
    run.shown_count++;
    length = snprintf(line, sizeof run.shown[0], "object %u, %s, floor %u, byte %" PRIu64 ": ", client->object,
                      asks[client->ask], client->floor, client->at);
    va_start(arguments, format);
    vsnprintf(line + length, sizeof run.shown[0] - (size_t)length, format, arguments);
    va_end(arguments);
    for (char *p = line; *p; p++)
        if (*p < ' ' || *p == '"' || *p == '\\')
            *p = '\'';
}

static void client_close(struct client *client, bool reset)
{
    struct linger linger = { .l_onoff = 1 };

    if (client->fd >= 0 && reset)
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->state = run.ending ? CLIENT_GONE : CLIENT_CLOSED;
}

static void client_wrong(struct client *client, const char *why)
{
    run.wrong++;
    show(client, "%s; head: %.100s", why, client->head);
    client_close(client, false);
}

static void client_send(struct client *client)
{
    char request[512], more[128] = "";
    int length;
    ssize_t n;

    if (client->state != CLIENT_CONNECTING || client->sent_ms == 0) {
        unsigned what = (unsigned)(dice() % 100);

        client->object = object_pick();
        client->variant = object_varies(client->object) ? (uint32_t)(dice() % VARIANTS) : 0;
        client->ask = what < 4   ? ASK_RANGE
                      : what < 6 ? ASK_HEAD
                      : what < 8 ? ASK_IF_NONE
                      : what < 9 ? ASK_LEAVE
                                 : ASK_GET;
        client->first = dice() % run.sizes[client->object];
        client->last = client->first + dice() % (run.sizes[client->object] - client->first);
        client->leave_at = dice() % run.sizes[client->object];
    }
    if (client->ask == ASK_RANGE)
        snprintf(more, sizeof more, "Range: bytes=%" PRIu64 "-%" PRIu64 "\r\n", client->first, client->last);
    else if (client->ask == ASK_IF_NONE)
        snprintf(more, sizeof more, "If-None-Match: \"v%u-%u-%u\"\r\n", greatest(run.bumps, client->object),
                 client->object, client->variant);
    length = snprintf(request, sizeof request,
                      "%s /p%u/%u HTTP/1.1\r\nHost: h%u.example\r\nUser-Agent: soak\r\nAccept-Language: l%u\r\n%s\r\n",
                      client->ask == ASK_HEAD ? "HEAD" : "GET", object_place(client->object, PREFIX), client->object,
                      object_place(client->object, HOST), client->variant, more);
    client->floor = greatest(run.floors, client->object);
    client->calm = run.calm_ms && run.now_ms > run.calm_ms + CALM_AFTER_MS;
    client->sent_ms = client->progress_ms = run.now_ms;
    client->head_bytes = 0;
    client->at = client->end = 0;
    client->head[0] = 0;
    n = send(client->fd, request, (size_t)length, MSG_NOSIGNAL);
    if (n == length) {
        run.requests++;
        client->turns++;
        if (client->state == CLIENT_CONNECTING)
            watch(client->fd, client, EPOLLIN, EPOLL_CTL_MOD);
        client->state = CLIENT_HEAD;
    } else if (n < 0 && errno == EAGAIN && client->state == CLIENT_CONNECTING) {
        return;
    } else {
        run.closed++; /* a kept connection that the proxy closes just now */
        client_close(client, false);
    }
}

static void client_open(struct client *client)
{
    int on = 1;

    client->turns = 0;
    client->sent_ms = 0;
    client->progress_ms = run.now_ms;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    client->state = CLIENT_CONNECTING;
    if (connect(client->fd, (struct sockaddr *)&run.proxy, sizeof run.proxy) != 0 && errno != EINPROGRESS) {
        client_close(client, false);
        return;
    }
    watch(client->fd, client, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

/* All of the answer is there. */
static void client_answered(struct client *client)
{
    run.answers++;
    if (client->check && client->ask != ASK_HEAD && client->at != client->end) {
        client_wrong(client, "it ends too early and says that it is complete");
        return;
    }
    if (run.ending || client->close_said || chance(300)) {
        client_close(client, false);
        return;
    }
    client->state = CLIENT_HEAD;
    client_send(client);
}

/* The version that a head names is one that this request may be answered with. False: the client is closed. */
static bool client_version(struct client *client, uint32_t *version)
{
    const char *object = field_find(client->head, "x-object"), *said = field_find(client->head, "x-version");

    if (!object || !said || strtoul(object, NULL, 10) != client->object) {
        client_wrong(client, "another object");
        return false;
    }
    *version = (uint32_t)strtoul(said, NULL, 10);
    if (*version > greatest(run.bumps, client->object)) {
        client_wrong(client, "a version that never was");
        return false;
    }
    if (*version < client->floor) {
        run.older++;
        show(client, "version %u; head: %.120s", *version, client->head);
    }
    return true;
}

/* What a status promises of the content. False: the client is closed. */
static bool client_promise(struct client *client, int status)
{
    const char *range = field_find(client->head, "content-range");
    uint64_t first, last, size;

    client->at = 0;
    client->end = run.sizes[client->object];
    if (status != 206)
        return true;
    run.partial++;
    if (client->ask != ASK_RANGE || !range ||
        sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &first, &last, &size) != 3 || first != client->first ||
        last != client->last || size != run.sizes[client->object]) {
        client_wrong(client, "another range");
        return false;
    }
    client->at = first;
    client->end = last + 1;
    return true;
}

static void client_framing(struct client *client, int status)
{
    const char *length = field_find(client->head, "content-length");

    if (status == 304 || client->ask == ASK_HEAD) {
        client->check = false;
        client_answered(client);
    } else if (field_find(client->head, "transfer-encoding")) {
        client->state = CLIENT_CHUNK_LINE;
        client->line_bytes = 0;
        client->left = 0;
    } else if (length) {
        client->left = strtoull(length, NULL, 10);
        client->state = CLIENT_LENGTH;
        if (client->check && client->left != client->end - client->at)
            client_wrong(client, "another length");
        else if (client->left == 0)
            client_answered(client);
    } else {
        client_wrong(client, "no framing");
    }
}

static void client_head_read(struct client *client)
{
    const char *connection = field_find(client->head, "connection"), *cache = field_find(client->head, "cache-status");
    int status = strncmp(client->head, "HTTP/1.1 ", 9) == 0 ? atoi(client->head + 9) : 0;
    uint32_t version;

    client->close_said = connection && strncasecmp(connection, "close", 5) == 0;
    client->check = status == 200 || status == 206 || status == 304;
    if (cache && memmem(cache, strcspn(cache, "\r"), "; hit", 5))
        run.hits++;
    if (status == 0 || (status == 304 && client->ask != ASK_IF_NONE) ||
        (!client->check && status != 502 && status != 503 && status != 504)) {
        client_wrong(client, "an unexpected status");
        return;
    }
    run.not_modified += status == 304;
    if (!client->check) {
        run.errors++;
        run.errors_calm += client->calm;
        if (client->calm)
            show(client, "failed while calm; head: %.120s", client->head);
    } else {
        if (!client_version(client, &version) || !client_promise(client, status))
            return;
        client->seed = content_seed(client->object, version, client->variant);
    }
    client_framing(client, status);
}

/* Answers whether the content is what it must be and the client stays. */
static bool client_content(struct client *client, const char *from, uint32_t bytes)
{
    static char expected[65536];

    run.bytes += bytes;
    if (!client->check)
        return true;
    if (client->at + bytes > client->end) {
        client_wrong(client, "too long");
        return false;
    }
    content_fill(client->seed, client->at, expected, bytes);
    if (memcmp(expected, from, bytes) != 0) {
        client_wrong(client, "other bytes");
        return false;
    }
    client->at += bytes;
    if (client->ask == ASK_LEAVE && client->at > client->leave_at) {
        run.left++;
        client_close(client, chance(2));
        return false;
    }
    return true;
}

/* Chunk lines and trailers, a byte at a time: answers nothing, moves on at each LF. */
static void client_line_byte(struct client *client, char byte)
{
    char low = (char)(byte | 0x20);

    if (byte == '\r')
        return;
    if (byte != '\n') {
        if (client->state == CLIENT_CHUNK_LINE && ((byte >= '0' && byte <= '9') || (low >= 'a' && low <= 'f')))
            client->left = client->left * 16 + (uint64_t)(byte <= '9' ? byte - '0' : low - 'a' + 10);
        client->line_bytes++;
        return;
    }
    if (client->state == CLIENT_CHUNK_LINE)
        client->state = client->left ? CLIENT_CHUNK : CLIENT_TRAILER;
    else if (client->state == CLIENT_CHUNK_END)
        client->state = CLIENT_CHUNK_LINE;
    else if (client->line_bytes == 0)
        client_answered(client);
    client->line_bytes = 0;
}

/* Bytes of a head: answers how many were its own. */
static uint32_t client_head_bytes(struct client *client, const char *from, uint32_t bytes)
{
    uint32_t i = 0;

    while (i < bytes) {
        if (client->head_bytes == HEAD_BYTES - 1) {
            client_wrong(client, "a head without an end");
            return bytes;
        }
        client->head[client->head_bytes++] = from[i++];
        client->head[client->head_bytes] = 0;
        if (client->head_bytes >= 4 && memcmp(client->head + client->head_bytes - 4, "\r\n\r\n", 4) == 0) {
            client_head_read(client);
            return i;
        }
    }
    return i;
}

static void client_take(struct client *client, const char *from, uint32_t bytes)
{
    unsigned turns = client->turns;

    while (bytes > 0 && client->fd >= 0) {
        uint32_t used = 1;

        if (client->turns != turns) {
            client_wrong(client, "bytes that nobody asked for");
            return;
        }
        if (client->state == CLIENT_HEAD) {
            used = client_head_bytes(client, from, bytes);
        } else if (client->state == CLIENT_LENGTH || client->state == CLIENT_CHUNK) {
            used = bytes < client->left ? bytes : (uint32_t)client->left;
            if (!client_content(client, from, used))
                return;
            client->left -= used;
            if (client->left == 0 && client->state == CLIENT_LENGTH)
                client_answered(client);
            else if (client->left == 0)
                client->state = CLIENT_CHUNK_END;
        } else {
            client_line_byte(client, *from);
        }
        from += used;
        bytes -= used;
    }
}

/* The proxy has closed. Before an answer's first byte that may be a kept connection's end; later it is a cut. */
static void client_ended(struct client *client)
{
    bool begun = client->state != CLIENT_HEAD || client->head_bytes > 0;

    if (client->state != CLIENT_CONNECTING) {
        run.cut += begun;
        run.closed += !begun;
        run.cut_calm += begun && client->calm;
        run.closed_calm += !begun && client->calm;
        if (client->calm)
            show(client, "%s while calm; head: %.100s", begun ? "cut" : "closed", client->head);
    }
    client_close(client, false);
}

static void client_event(struct client *client, uint32_t events)
{
    static char inbox[65536];
    ssize_t n;

    if (client->state == CLIENT_CONNECTING && (events & EPOLLOUT))
        client_send(client);
    if (client->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    n = recv(client->fd, inbox, sizeof inbox, 0);
    if (n > 0) {
        client->progress_ms = run.now_ms;
        client_take(client, inbox, (uint32_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        client_ended(client);
    }
}

static void clients_sweep(void)
{
    for (uint32_t i = 0; i < run.client_count; i++) {
        struct client *client = &run.clients[i];

        if (client->state == CLIENT_CLOSED && run.ending)
            client->state = CLIENT_GONE;
        else if (client->state == CLIENT_CLOSED)
            client_open(client);
        else if (client->state != CLIENT_GONE && run.now_ms > client->progress_ms + STUCK_MS) {
            run.stuck++;
            show(client, "no byte for %u s in state %d", STUCK_MS / 1000, (int)client->state);
            client_close(client, false);
        }
    }
}

static bool clients_gone(void)
{
    for (uint32_t i = 0; i < run.client_count; i++)
        if (run.clients[i].state != CLIENT_GONE)
            return false;
    return true;
}

/* ---- orders ---------------------------------------------------------------------------------------------------------- */

static void counts_print(void)
{
    const struct {
        const char *word;
        uint64_t value;
    } rows[] = { { "requests", run.requests },
                 { "answers", run.answers },
                 { "bytes", run.bytes },
                 { "hits", run.hits },
                 { "partial", run.partial },
                 { "not_modified", run.not_modified },
                 { "left", run.left },
                 { "origin_requests", run.origin_requests },
                 { "origin_304", run.origin_304 },
                 { "origin_failed", run.origin_failed },
                 { "wrong", run.wrong },
                 { "older", run.older },
                 { "errors", run.errors },
                 { "errors_calm", run.errors_calm },
                 { "cut", run.cut },
                 { "cut_calm", run.cut_calm },
                 { "closed", run.closed },
                 { "closed_calm", run.closed_calm },
                 { "stuck", run.stuck },
                 { "objects", run.object_count },
                 { "versions", run.version } };

    printf("{");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("\"%s\": %" PRIu64 ", ", rows[i].word, rows[i].value);
    printf("\"shown\": [");
    for (uint32_t i = 0; i < run.shown_count; i++)
        printf("%s\"%s\"", i ? ", " : "", run.shown[i]);
    printf("]}\n");
    fflush(stdout);
}

static int word_find(const char *word, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

static void order(const char *line)
{
    char verb[16] = "", word[16] = "";
    unsigned number = 0, version = 0;
    int count = sscanf(line, "%15s %15s %u %u", verb, word, &number, &version),
        dimension = word_find(word, dimension_words, DIMENSIONS);
    int fate = word_find(word, fate_words, FATES);

    if (strcmp(verb, "bump") == 0 && dimension >= 0 && number < dimension_places((enum dimension)dimension)) {
        run.bumps[dimension][number] = ++run.version;
        printf("%u\n", run.version);
    } else if (strcmp(verb, "floor") == 0 && count == 4 && dimension >= 0 &&
               number < dimension_places((enum dimension)dimension)) {
        if (version > run.floors[dimension][number])
            run.floors[dimension][number] = version;
        printf("ok\n");
    } else if (strcmp(verb, "origin") == 0 && fate >= 0) {
        run.fate = (enum fate)fate;
        run.fate_percent = number;
        backs_go_on();
        printf("ok\n");
    } else if (strcmp(verb, "calm") == 0) {
        run.calm_ms = run.now_ms;
        printf("ok\n");
    } else if (strcmp(verb, "end") == 0) {
        run.ending = true;
    } else if (strcmp(verb, "counts") == 0) {
        counts_print();
    } else {
        die("a bad order: %s", line);
    }
    fflush(stdout);
}

static void orders_read(void)
{
    static char lines[4096];
    static size_t bytes;
    ssize_t n = read(STDIN_FILENO, lines + bytes, sizeof lines - 1 - bytes);
    char *from = lines, *end;

    if (n <= 0)
        exit(1); /* whoever gave the orders has gone */
    bytes += (size_t)n;
    lines[bytes] = 0;
    while ((end = strchr(from, '\n'))) {
        *end = 0;
        order(from);
        from = end + 1;
    }
    bytes = strlen(from);
    memmove(lines, from, bytes + 1);
}

/* ---- the loop -------------------------------------------------------------------------------------------------------- */

static void turn(void)
{
    static uint64_t swept_ms;
    struct epoll_event events[256];
    int count = epoll_wait(run.epoll, events, 256, 20);

    run.now_ms = clock_ms();
    for (int i = 0; i < count; i++) {
        void *owner = events[i].data.ptr;

        switch (*(enum kind *)owner) {
        case KIND_CLIENT: client_event(owner, events[i].events); break;
        case KIND_BACK: back_event(owner, events[i].events); break;
        case KIND_LISTENER: origin_accept(); break;
        case KIND_STDIN: orders_read(); return; /* an order may have closed whom a later event names */
        }
    }
    if (run.now_ms >= swept_ms + 20) {
        swept_ms = run.now_ms;
        clients_sweep();
    }
}

static void options_read(int count, char **words)
{
    static const struct option known[] = { { "proxy", required_argument, NULL, 'p' },
                                           { "origin", required_argument, NULL, 'o' },
                                           { "total", required_argument, NULL, 't' },
                                           { "connections", required_argument, NULL, 'c' },
                                           { "skew", required_argument, NULL, 's' },
                                           { "seed", required_argument, NULL, 'r' },
                                           { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
        switch (option) {
        case 'p': run.proxy_port = strtoull(optarg, NULL, 10); break;
        case 'o': run.origin_port = strtoull(optarg, NULL, 10); break;
        case 't': run.total_bytes = strtoull(optarg, NULL, 10); break;
        case 'c': run.client_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 's': run.skew = strtod(optarg, NULL); break;
        case 'r': run.random = strtoull(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (!run.proxy_port || !run.origin_port || !run.total_bytes || optind != count) {
        fputs("usage: soak --proxy PORT --origin PORT --total BYTES [--connections N] [--skew S] [--seed N]\n", stderr);
        exit(2);
    }
}

int main(int count, char **words)
{
    static enum kind stdin_kind = KIND_STDIN;
    struct rlimit files;

    options_read(count, words);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.proxy = (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)run.proxy_port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    run.now_ms = clock_ms();
    objects_make();
    origin_listen();
    run.clients = make(run.client_count, sizeof *run.clients);
    for (uint32_t i = 0; i < run.client_count; i++) {
        run.clients[i].kind = KIND_CLIENT;
        run.clients[i].fd = -1;
    }
    watch(STDIN_FILENO, &stdin_kind, EPOLLIN, EPOLL_CTL_ADD);
    printf("%u objects\n",
           run.object_count); /* the origin listens: the proxy may come, and then the clients by their first sweep */
    fflush(stdout);
    while (!(run.ending && clients_gone()))
        turn();
    counts_print();
    return 0;
}

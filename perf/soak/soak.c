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
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "soak.h"

#define STUCK_MS 30000u
#define CALM_AFTER_MS 2000u

static const char *const dimension_words[DIMENSIONS] = { "url", "tag", "prefix", "host", "all" };
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

static struct client *clients;
struct run run = { .client_count = 64, .skew = 0.9, .random = 1 };

/* ---- clients ------------------------------------------------------------------------------------------------------------- */

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
        if (run.shown_count < SHOWN / 2) /* what is worse finds its place too */
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
        struct client *client = &clients[i];

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
        if (clients[i].state != CLIENT_GONE)
            return false;
    return true;
}

/* ---- orders -------------------------------------------------------------------------------------------------------------- */

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

/* ---- the loop ------------------------------------------------------------------------------------------------------------ */

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
    clients = make(run.client_count, sizeof *clients);
    for (uint32_t i = 0; i < run.client_count; i++) {
        clients[i].kind = KIND_CLIENT;
        clients[i].fd = -1;
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

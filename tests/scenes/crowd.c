/*
 * crowd: many keep-alive clients in one thread, who believe nothing.
 *
 *     crowd PORT CLIENTS SECONDS PAUSE_MS REQUEST...
 *
 * Each client takes the requests in turn (each begins at another one), waits PAUSE_MS between answer and next request, and reads every
 * byte of every answer: its status must be 200, its length the expected one and its content the alphabet over and over from 'a' (where the
 * request says so). A connection that ends without "Connection: close" in the answer before is a failure, and so is an answer that
 * is cut or does not come within 30 s. When the time is up no new request is begun and those under way are awaited. One
 * line of JSON is printed.
 *
 *     get=/path,LENGTH            GET; LENGTH of the alphabet must come back
 *     any=/path                   GET; any content
 *     head=/path                  HEAD
 *     post=/path,LENGTH           POST of LENGTH letters with Content-Length
 *     chunked=/path,LENGTH        the same in chunks
 *     two=/path,LENGTH            two pipelined GETs
 *     close=/path,LENGTH          GET with Connection: close, then a new connection
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 4096
#define FAILURES_SHOWN 100
#define PATIENCE_MS 30000

enum state { CONNECTING, SENDING, HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, PAUSING, DONE };

struct plan {
    char *bytes;
    size_t length;
    long content; /* expected; -1: any */
    bool head_only, closes;
    int answers;
};

struct client {
    int fd;
    enum state state;
    unsigned turn;
    size_t sent;
    int answers; /* still to come */
    char head[HEAD_BYTES];
    size_t head_length;
    uint64_t left, content; /* bytes of this length or chunk to come; content so far */
    bool close_said, bad, line_begun;
    uint64_t since_ms;
    unsigned next; /* of the pause list */
};

static struct plan plans[64];
static unsigned plan_count;
static struct client *clients;
static unsigned client_count;
static int epoll_fd;
static struct sockaddr_in address;
static uint64_t started_ms, end_ms, pause_ms;
static uint64_t requests, connected, failures, slowest_ms, content_bytes, alive;
static char shown[FAILURES_SHOWN][96];

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void begin(struct client *c);

static void failed(struct client *c, const char *why)
{
    if (failures < FAILURES_SHOWN)
        snprintf(shown[failures], sizeof shown[0], "[%llu, \"%s\", %u]", (unsigned long long)(now_ms() - started_ms), why,
                 (unsigned)(c->turn % plan_count));
    failures++;
    c->bad = true;
}

static void finish(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    if (c->state != DONE)
        alive--;
    c->state = DONE;
}

static void watch(struct client *c, uint32_t events, bool first)
{
    struct epoll_event event = { .events = events, .data.ptr = c };
    epoll_ctl(epoll_fd, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event);
}

static void reconnect(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->close_said = c->bad = false;
    c->since_ms = now_ms();
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)) {
        failed(c, "connect");
        finish(c);
        return;
    }
    watch(c, EPOLLOUT, true);
}

static void send_more(struct client *c)
{
    const struct plan *plan = &plans[c->turn % plan_count];
    while (c->sent < plan->length) {
        ssize_t sent = send(c->fd, plan->bytes + c->sent, plan->length - c->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(c, EPOLLOUT | EPOLLIN, false);
            return;
        }
        if (sent < 0)
            return; /* what was answered is read; if nothing, that is the failure */
        c->sent += (size_t)sent;
    }
    watch(c, EPOLLIN, false);
}

static void begin(struct client *c)
{
    if (now_ms() >= end_ms) {
        finish(c);
        return;
    }
    c->answers = plans[c->turn % plan_count].answers;
    c->sent = c->head_length = 0;
    c->since_ms = now_ms();
    c->state = HEAD;
    send_more(c);
}

/* One answer is whole. */
static void answered(struct client *c)
{
    const struct plan *plan = &plans[c->turn % plan_count];
    requests++;
    content_bytes += c->content;
    if (plan->content >= 0 && !plan->head_only && c->content != (uint64_t)plan->content)
        failed(c, "length");
    c->head_length = 0;
    c->state = HEAD;
    if (--c->answers > 0)
        return;
    uint64_t took = now_ms() - c->since_ms;
    slowest_ms = took > slowest_ms ? took : slowest_ms;
    c->turn++;
    if (c->bad || c->close_said) {
        if (now_ms() >= end_ms)
            finish(c);
        else
            reconnect(c);
    } else if (pause_ms) {
        c->state = PAUSING;
        c->since_ms = now_ms();
        watch(c, EPOLLIN, false);
    } else
        begin(c);
}

static void head_read(struct client *c)
{
    const struct plan *plan = &plans[c->turn % plan_count];
    c->head[c->head_length] = 0;
    c->content = c->left = 0;
    if (strncmp(c->head, "HTTP/1.1 200 ", 13) != 0) {
        char why[24];
        snprintf(why, sizeof why, "%.15s", c->head);
        for (char *p = why; *p; p++)
            if (*p < ' ' || *p == '"' || *p == '\\')
                *p = '?';
        failed(c, why);
    }
    if (strcasestr(c->head, "\r\nconnection: close\r\n"))
        c->close_said = true;
    const char *length = strcasestr(c->head, "\r\ncontent-length: ");
    if (plan->head_only)
        answered(c);
    else if (strcasestr(c->head, "\r\ntransfer-encoding: chunked\r\n")) {
        c->state = CHUNK_SIZE;
        c->line_begun = false;
    } else if (length) {
        c->left = strtoull(length + 18, NULL, 10);
        c->state = LENGTH;
        if (c->left == 0)
            answered(c);
    } else {
        failed(c, "framing");
        reconnect(c);
    }
}

static void check_content(struct client *c, const char *at, size_t length)
{
    const struct plan *plan = &plans[c->turn % plan_count];
    for (size_t i = 0; plan->content >= 0 && !c->bad && i < length; i++)
        if (at[i] != (char)('a' + (c->content + i) % 26))
            failed(c, "content");
    c->content += length;
}

/* Answers how many bytes were used. */
static size_t read_head(struct client *c, const char *at, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (c->head_length == HEAD_BYTES - 1) {
            failed(c, "head");
            reconnect(c);
            return length;
        }
        c->head[c->head_length++] = at[i];
        if (at[i] == '\n' && c->head_length >= 4 && memcmp(c->head + c->head_length - 4, "\r\n\r\n", 4) == 0) {
            head_read(c);
            return i + 1;
        }
    }
    return length;
}

static size_t read_chunk_line(struct client *c, const char *at, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char low = (char)(at[i] | 0x20);
        if (at[i] == '\n') {
            if (c->state == CHUNK_SIZE) {
                c->state = c->left ? CHUNK : TRAILER;
                c->line_begun = false;
            } else if (c->state == CHUNK_END) {
                c->state = CHUNK_SIZE;
            } else if (!c->line_begun) {
                answered(c);
            } else
                c->line_begun = false;
            return i + 1;
        }
        if (at[i] != '\r')
            c->line_begun = true;
        if (c->state == CHUNK_SIZE && ((at[i] >= '0' && at[i] <= '9') || (low >= 'a' && low <= 'f')))
            c->left = c->left * 16 + (uint64_t)(at[i] <= '9' ? at[i] - '0' : low - 'a' + 10);
    }
    return length;
}

static void take(struct client *c, const char *at, size_t length)
{
    while (length && c->state != DONE && c->state != CONNECTING) {
        size_t used;
        if (c->state == HEAD)
            used = read_head(c, at, length);
        else if (c->state == LENGTH || c->state == CHUNK) {
            used = length < c->left ? length : (size_t)c->left;
            check_content(c, at, used);
            c->left -= used;
            if (c->left == 0 && c->state == LENGTH)
                answered(c);
            else if (c->left == 0)
                c->state = CHUNK_END;
        } else if (c->state == PAUSING) {
            failed(c, "bytes nobody asked for");
            reconnect(c);
            return;
        } else
            used = read_chunk_line(c, at, length);
        at += used;
        length -= used;
    }
}

static void event(struct client *c, uint32_t events)
{
    static char buffer[65536];
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t bytes = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
        if (error) {
            failed(c, "connect");
            finish(c);
            return;
        }
        connected++;
        begin(c);
        return;
    }
    if (events & EPOLLOUT)
        send_more(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || c->state == DONE)
        return;
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got > 0)
        take(c, buffer, (size_t)got);
    else if (got == 0 || errno != EAGAIN) {
        failed(c, got < 0 ? "reset" : c->state == PAUSING ? "kept connection closed" : c->head_length || c->state != HEAD ? "cut" : "no answer");
        reconnect(c);
    }
}

static void look_at_clocks(void)
{
    uint64_t now = now_ms();
    for (unsigned i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (c->state == PAUSING && (now - c->since_ms >= pause_ms || now >= end_ms))
            begin(c);
        else if (c->state != DONE && c->state != PAUSING && now - c->since_ms > PATIENCE_MS) {
            failed(c, c->state == CONNECTING ? "connect took too long" : "took too long");
            finish(c);
        }
    }
}

/* Making requests ---------------------------------------------------------------------------------------------- */

static void put(struct plan *plan, const char *text, size_t length)
{
    plan->bytes = realloc(plan->bytes, plan->length + length + 1);
    memcpy(plan->bytes + plan->length, text, length);
    plan->length += length;
}

static void put_letters(struct plan *plan, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char letter = (char)('a' + i % 26);
        put(plan, &letter, 1);
    }
}

static void add_plan(const char *word)
{
    struct plan *plan = &plans[plan_count++];
    char kind[16], path[200], head[600];
    long number = -1;
    if (plan_count == 64 || sscanf(word, "%15[a-z]=%199[^,],%ld", kind, path, &number) < 2) {
        fprintf(stderr, "crowd: bad request \"%s\"\n", word);
        exit(2);
    }
    bool post = strcmp(kind, "post") == 0, chunked = strcmp(kind, "chunked") == 0, two = strcmp(kind, "two") == 0;
    plan->head_only = strcmp(kind, "head") == 0;
    plan->closes = strcmp(kind, "close") == 0;
    plan->answers = two ? 2 : 1;
    plan->content = post || chunked || strcmp(kind, "any") == 0 ? -1 : number;
    int length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: crowd\r\nUser-Agent: crowd\r\n%s", plan->head_only ? "HEAD" : post || chunked ? "POST" : "GET",
                          path, plan->closes ? "Connection: close\r\n" : "");
    put(plan, head, (size_t)length);
    if (post)
        length = snprintf(head, sizeof head, "Content-Length: %ld\r\n\r\n", number);
    else
        length = snprintf(head, sizeof head, "%s\r\n", chunked ? "Transfer-Encoding: chunked\r\n" : "");
    put(plan, head, (size_t)length);
    if (post)
        put_letters(plan, (size_t)number);
    for (long left = number; chunked && left > 0; left -= 1000) {
        length = snprintf(head, sizeof head, "%lx\r\n", left < 1000 ? left : 1000);
        put(plan, head, (size_t)length);
        put_letters(plan, left < 1000 ? (size_t)left : 1000);
        put(plan, "\r\n", 2);
    }
    if (chunked)
        put(plan, "0\r\n\r\n", 5);
    if (two) {
        char *copy = malloc(plan->length);
        size_t once = plan->length;
        memcpy(copy, plan->bytes, once);
        put(plan, copy, once);
        free(copy);
    }
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    client_count = (unsigned)strtoul(argv[2], NULL, 10);
    pause_ms = strtoull(argv[4], NULL, 10);
    for (int i = 5; i < argc; i++)
        add_plan(argv[i]);
    clients = calloc(client_count, sizeof *clients);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    started_ms = now_ms();
    end_ms = started_ms + strtoull(argv[3], NULL, 10) * 1000;
    alive = client_count;
    uint64_t looked = started_ms;
    unsigned made = 0;
    while (alive) {
        struct epoll_event events[256];
        for (unsigned i = 0; i < 200 && made < client_count; i++, made++) { /* not all in one instant: that would test the backlog */
            clients[made].fd = -1;
            clients[made].turn = made;
            reconnect(&clients[made]);
        }
        int count = epoll_wait(epoll_fd, events, 256, made < client_count ? 1 : 20);
        for (int i = 0; i < count; i++)
            event(events[i].data.ptr, events[i].events);
        if (made == client_count && now_ms() - looked >= 20) {
            looked = now_ms();
            look_at_clocks();
        }
    }
    printf("{\"requests\": %llu, \"connected\": %llu, \"content\": %llu, \"slowest_ms\": %llu, \"failures\": %llu, \"first\": [", (unsigned long long)requests,
           (unsigned long long)connected, (unsigned long long)content_bytes, (unsigned long long)slowest_ms, (unsigned long long)failures);
    for (uint64_t i = 0; i < failures && i < FAILURES_SHOWN; i++)
        printf("%s%s", i ? ", " : "", shown[i]);
    printf("]}\n");
    return 0;
}

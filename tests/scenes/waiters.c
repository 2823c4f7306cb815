/*
 * waiters: many clients who ask once for the same thing, at the same time, and say how far they have come.
 *
 *     waiters PORT COUNT LENGTH PATH
 *
 * All connect first; "ready" is printed. What must come back is LENGTH bytes of numbered words of eight ("0000000\n0000001\n..."), so that each piece shows
 * where it belongs. Orders come by standard input, a line each, and each is answered by a line:
 *
 *     go FIRST LAST      these clients send their requests
 *     kill NUMBER        this one resets its connection
 *     hold NUMBER        this one reads nothing from now on
 *     read NUMBER        and again
 *     counts             JSON: asked, begun (have the answer's head), least (content of the one who has least, of those who asked and neither were killed nor
 *                        hold), complete, cut (an end that says that it is one), short (an end that does not), failed (another status), wrong (other bytes)
 *     statuses           JSON: how often which status came
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 4096

enum state { WAITING, HEAD, CONTENT, CHUNK_LINE, CHUNK, CHUNK_END, TRAILER, COMPLETE, CUT, SHORT, FAILED, WRONG, KILLED, STATES };

struct client {
    int fd;
    enum state state;
    bool held;
    int status;
    char head[HEAD_BYTES];
    size_t head_bytes, line_bytes;
    uint64_t left, content; /* to come of this length or chunk; so far */
};

static struct client *clients;
static unsigned count;
static uint64_t length;
static char *expected;
static const char *path;
static int epoll_fd;

static void watch(struct client *c, uint32_t events, int how)
{
    struct epoll_event event = { .events = events, .data.ptr = c };
    epoll_ctl(epoll_fd, how, c->fd, &event);
}

static void finish(struct client *c, enum state state)
{
    c->state = state;
    close(c->fd);
    c->fd = -1;
}

static void end_said(struct client *c)
{
    finish(c, c->status != 200 ? FAILED : c->content == length ? COMPLETE : SHORT);
}

static void head_read(struct client *c)
{
    const char *field = strcasestr(c->head, "\r\ncontent-length:");
    c->status = strncmp(c->head, "HTTP/1.1 ", 9) == 0 ? atoi(c->head + 9) : 0;
    if (strcasestr(c->head, "\r\ntransfer-encoding: chunked\r\n")) {
        c->state = CHUNK_LINE;
        c->left = c->line_bytes = 0;
    } else {
        c->left = field ? strtoull(field + 17, NULL, 10) : 0;
        c->state = CONTENT;
        if (c->status == 200 && c->left != length)
            finish(c, SHORT);
        else if (c->left == 0)
            end_said(c);
    }
}

static size_t take_head(struct client *c, const char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (c->head_bytes == HEAD_BYTES - 1) {
            finish(c, WRONG);
            return bytes;
        }
        c->head[c->head_bytes++] = at[i];
        c->head[c->head_bytes] = 0;
        if (c->head_bytes >= 4 && memcmp(c->head + c->head_bytes - 4, "\r\n\r\n", 4) == 0) {
            head_read(c);
            return i + 1;
        }
    }
    return bytes;
}

static size_t take_content(struct client *c, const char *at, size_t bytes)
{
    size_t used = bytes < c->left ? bytes : (size_t)c->left;
    if (c->status == 200 && (c->content + used > length || memcmp(at, expected + c->content, used) != 0)) {
        finish(c, WRONG);
        return bytes;
    }
    c->content += used;
    c->left -= used;
    if (c->left == 0 && c->state == CONTENT)
        end_said(c);
    else if (c->left == 0)
        c->state = CHUNK_END;
    return used;
}

static void take_line_byte(struct client *c, char byte)
{
    char low = (char)(byte | 0x20);
    if (byte == '\r')
        return;
    if (byte != '\n') {
        if (c->state == CHUNK_LINE && ((byte >= '0' && byte <= '9') || (low >= 'a' && low <= 'f')))
            c->left = c->left * 16 + (uint64_t)(byte <= '9' ? byte - '0' : low - 'a' + 10);
        c->line_bytes++;
        return;
    }
    if (c->state == CHUNK_LINE)
        c->state = c->left ? CHUNK : TRAILER;
    else if (c->state == CHUNK_END)
        c->state = CHUNK_LINE;
    else if (c->line_bytes == 0) {
        end_said(c);
        return;
    }
    c->line_bytes = 0;
}

static void take(struct client *c, const char *at, size_t bytes)
{
    while (bytes && c->fd >= 0) {
        size_t used = 1;
        if (c->state == HEAD)
            used = take_head(c, at, bytes);
        else if (c->state == CONTENT || c->state == CHUNK)
            used = take_content(c, at, bytes);
        else
            take_line_byte(c, *at);
        at += used;
        bytes -= used;
    }
}

static void receive(struct client *c)
{
    static char inbox[256 * 1024];
    ssize_t got = recv(c->fd, inbox, sizeof inbox, MSG_DONTWAIT);
    if (got > 0)
        take(c, inbox, (size_t)got);
    else if (got == 0 || errno != EAGAIN)
        finish(c, c->state == WAITING ? FAILED : CUT);
}

/* Orders ------------------------------------------------------------------------------------------------------- */

static void go(unsigned from, unsigned to)
{
    char request[512];
    int bytes = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: waiters\r\n\r\n", path);
    for (unsigned i = from; i <= to && i < count; i++) {
        clients[i].state = HEAD;
        if (send(clients[i].fd, request, (size_t)bytes, MSG_NOSIGNAL) != bytes)
            finish(&clients[i], FAILED);
    }
}

static void print_counts(void)
{
    static const char *const words[STATES] = { [COMPLETE] = "complete", [CUT] = "cut", [SHORT] = "short", [FAILED] = "failed", [WRONG] = "wrong", [KILLED] = "killed" };
    unsigned counts[STATES] = { 0 }, asked = 0, begun = 0;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < count; i++) {
        const struct client *c = &clients[i];
        counts[c->state]++;
        asked += c->state != WAITING;
        begun += c->status != 0;
        if (c->state != WAITING && c->state != KILLED && !c->held && c->content < least)
            least = c->content;
    }
    printf("{\"asked\": %u, \"begun\": %u, \"least\": %llu", asked, begun, (unsigned long long)(least == UINT64_MAX ? 0 : least));
    for (int i = COMPLETE; i < STATES; i++)
        printf(", \"%s\": %u", words[i], counts[i]);
    printf("}\n");
}

static void print_statuses(void)
{
    unsigned seen[600] = { 0 };
    const char *between = "";
    for (unsigned i = 0; i < count; i++)
        seen[clients[i].status >= 0 && clients[i].status < 600 ? clients[i].status : 0]++;
    printf("{");
    for (unsigned i = 0; i < 600; i++)
        if (seen[i]) {
            printf("%s\"%u\": %u", between, i, seen[i]);
            between = ", ";
        }
    printf("}\n");
}

static void order(const char *line)
{
    char verb[16] = "";
    unsigned first = 0, last = 0;
    sscanf(line, "%15s %u %u", verb, &first, &last);
    struct client *c = first < count ? &clients[first] : NULL;
    struct linger linger = { .l_onoff = 1 };
    if (strcmp(verb, "counts") == 0)
        print_counts();
    else if (strcmp(verb, "statuses") == 0)
        print_statuses();
    else {
        if (strcmp(verb, "go") == 0)
            go(first, last);
        else if (strcmp(verb, "kill") == 0 && c && c->fd >= 0) {
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
            finish(c, KILLED);
        } else if ((strcmp(verb, "hold") == 0 || strcmp(verb, "read") == 0) && c && c->fd >= 0) {
            c->held = verb[0] == 'h';
            watch(c, c->held ? 0 : EPOLLIN, EPOLL_CTL_MOD);
        }
        printf("ok\n");
    }
    fflush(stdout);
}

static void orders_read(void)
{
    static char lines[4096];
    static size_t bytes;
    ssize_t got = read(STDIN_FILENO, lines + bytes, sizeof lines - 1 - bytes);
    char *from = lines, *end;
    if (got <= 0)
        exit(0);
    bytes += (size_t)got;
    lines[bytes] = 0;
    while ((end = strchr(from, '\n'))) {
        *end = 0;
        order(from);
        from = end + 1;
    }
    bytes = strlen(from);
    memmove(lines, from, bytes + 1);
}

static void connect_all(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (unsigned i = 0; i < count; i++) {
        int one = 1;
        clients[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (clients[i].fd < 0 || connect(clients[i].fd, (struct sockaddr *)&address, sizeof address) < 0) {
            perror("waiters: connect");
            exit(1);
        }
        setsockopt(clients[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(&clients[i], EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int words, char **word)
{
    struct rlimit files;
    struct epoll_event order_event = { .events = EPOLLIN };
    if (words != 5)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    count = (unsigned)strtoul(word[2], NULL, 10);
    length = strtoull(word[3], NULL, 10);
    path = word[4];
    clients = calloc(count, sizeof *clients);
    expected = malloc(length + 16);
    for (uint64_t i = 0; i * 8 < length; i++)
        snprintf(expected + i * 8, 9, "%07u\n", (unsigned)(i % 10000000));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connect_all((unsigned)strtoul(word[1], NULL, 10));
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &order_event);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int got = epoll_wait(epoll_fd, events, 256, -1);
        bool orders = false;
        for (int i = 0; i < got; i++) {
            struct client *c = events[i].data.ptr;
            if (!c)
                orders = true;
            else if (c->fd >= 0 && !c->held)
                receive(c);
        }
        if (orders)
            orders_read();
    }
}

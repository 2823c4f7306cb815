/*
 * bytes: clients and an origin round a proxy, in one thread, who send each other bytes that both know, and cut each other off.
 *
 *     bytes --proxy PORT --origin PORT [--tcp PORT] [--forward PORT] [--seed N] [--slots N] [--bytes N] [--tunnels N] [--seconds S]
 *
 * An *exchange* has a number, and from it and the seed follows all of it (bytes_plan.c): GET, POST or a tunnel (by upgrade; with --forward by CONNECT, with --tcp by a
 * TCP listener); how many bytes go which way and how they are framed; how each side sends, reads and pauses; and, for one in three, who cuts it where and how.
 * A *slot* is a client that has one exchange after the other. The origin finds an exchange by the number in its head. It ends when so many bytes have arrived and so
 * many tunnels been begun, the last ones with few bytes each, or when the time is over; exchanges under way are ended as planned.
 *
 * Output: "ready" when the origin listens, then one line of JSON, whose counts of broken promises (bytes_end.c says which) have examples in `shown`.
 */
#define _GNU_SOURCE
#include "bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define LOOK_MS 5u
#define LEAVING_MS 40000u /* more than an end's patience */

struct run run;

static struct {
    unsigned ports[KINDS]; /* where clients connect to; 0: that kind is left out */
    uint64_t bytes, tunnels, seconds;
} options = { .bytes = 300u << 20, .tunnels = 2000, .seconds = 60 };
static struct end clients[SLOTS_MAX];
static uint64_t end_ms;

void die(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "bytes: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    exit(1);
}

void broken(uint64_t *counter, const struct plan *plan, const char *format, ...)
{
    static const char *const kinds[] = { "GET", "POST", "upgrade", "CONNECT", "TCP" };
    static const char *const sides[] = { "client", "origin", "nobody" }, *const hows[] = { "RST", "close", "FIN" };
    va_list arguments;
    char *at;

    (*counter)++;
    if (run.shown_count == SHOWN)
        return;
    at = run.shown[run.shown_count++];
    at += snprintf(at, 140, "%" PRIu64 " %s up %" PRIu64 "%s down %" PRIu64 "%s, cut by %s with %s at %" PRIu64 " %s: ",
                   plan->number, kinds[plan->kind], plan->bytes[UP], plan->chunked[UP] ? "c" : "", plan->bytes[DOWN],
                   plan->chunked[DOWN] ? "c"
                   : plan->until_close ? "e"
                                       : "",
                   sides[plan->cutter], hows[plan->cut], plan->cut_at, plan->cut_by_received ? "received" : "sent");
    va_start(arguments, format);
    vsnprintf(at, 100, format, arguments);
    va_end(arguments);
    for (at = run.shown[run.shown_count - 1]; *at; at++)
        *at = *at == '"' || *at < ' ' ? '?' : *at;
}

static uint64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static void watch(struct end *end)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = end };

    end->interest = EPOLLIN;
    if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, end->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- exchanges and slots ------------------------------------------------------------------------------------------------ */

struct exchange *exchange_find(uint64_t number)
{
    struct exchange *exchange = &run.history[number % run.slots][number / run.slots % HISTORY];

    return exchange->plan.number == number ? exchange : NULL;
}

static uint64_t tunnels_begun(void)
{
    return run.begun[UPGRADE] + run.begun[CONNECT] + run.begun[TCP];
}

static bool bytes_are_enough(void)
{
    return run.bytes[UP] + run.bytes[DOWN] >= options.bytes;
}

/* The kinds that there is a port for; when there are bytes enough, tunnels only. */
static enum kind kind_pick(uint64_t number)
{
    uint64_t state = run.seed + number * 31u;
    enum kind kind;

    do
        kind = (enum kind)(dice(&state) % KINDS);
    while (!options.ports[kind] || (bytes_are_enough() && !is_tunnel(kind)));
    return kind;
}

static struct exchange *exchange_new(unsigned slot)
{
    uint64_t number = run.next[slot]++ * run.slots + slot;
    struct exchange *exchange = &run.history[slot][number / run.slots % HISTORY];

    memset(exchange, 0, sizeof *exchange);
    plan_make(&exchange->plan, number, kind_pick(number), bytes_are_enough());
    memcpy(exchange->total, exchange->plan.bytes, sizeof exchange->total);
    run.begun[exchange->plan.kind]++;
    return exchange;
}

static bool is_over(void)
{
    return (bytes_are_enough() && tunnels_begun() >= options.tunnels) || run.now_ms >= end_ms;
}

static void client_open(struct end *client)
{
    struct exchange *exchange = exchange_new(client->slot);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)options.ports[exchange->plan.kind]),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    no_delay(client->fd);
    if (client->fd < 0 ||
        (connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS))
        die("connect: %s", strerror(errno));
    watch(client);
    end_begin(client, exchange);
}

void end_over(struct end *end)
{
    struct end **at = &run.origin_ends;

    if (end->side == CLIENT)
        return; /* opened again by the loop */
    while (*at != end)
        at = &(*at)->next;
    *at = end->next;
    end->exchange = NULL;
    free(end);
}

void client_whole(struct end *end)
{
    struct exchange *exchange;

    if (is_over() || bytes_are_enough() || end->plan.number % 4 == 0) {
        close(end->fd);
        end->fd = -1;
        return;
    }
    exchange = exchange_new(end->slot);
    if (options.ports[exchange->plan.kind] != options.ports[GET]) { /* another listener's */
        close(end->fd);
        end->fd = -1;
        return;
    }
    end_begin(end, exchange);
}

/* ---- the origin ------------------------------------------------------------------------------------------------------------ */

static struct end listener = { .side = ORIGIN, .is_listener = true };

static void origin_listen(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)run.origin_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;

    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener.fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener.fd, 1024) != 0)
        die("origin port %u: %s", run.origin_port, strerror(errno));
    watch(&listener);
}

static void origin_accept(void)
{
    int fd;

    while ((fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct end *end = calloc(1, sizeof *end);

        if (!end)
            die("out of memory");
        no_delay(fd);
        *end = (struct end){ .side = ORIGIN, .fd = fd, .next = run.origin_ends };
        run.origin_ends = end;
        watch(end);
    }
}

/* ---- the loop -------------------------------------------------------------------------------------------------------------- */

/* Ends that were freed in this turn may still have an event in it: those are looked for by address. */
static bool is_there(const struct end *end)
{
    if (end == &listener)
        return true;
    if (end >= clients && end < clients + SLOTS_MAX)
        return end->fd >= 0;
    for (const struct end *at = run.origin_ends; at; at = at->next)
        if (at == end)
            return true;
    return false;
}

static void turn(void)
{
    static uint64_t looked_ms;
    struct epoll_event events[EVENTS];
    int count = epoll_wait(run.epoll, events, EVENTS, LOOK_MS);

    run.now_ms = clock_ms();
    for (int i = 0; i < count; i++) {
        struct end *end = events[i].data.ptr;

        if (!is_there(end))
            continue;
        if (end->is_listener)
            origin_accept();
        else
            end_event(end, events[i].events);
    }
    if (run.now_ms < looked_ms + LOOK_MS)
        return;
    looked_ms = run.now_ms;
    for (struct end *end = run.origin_ends, *next; end; end = next) {
        next = end->next;
        end_look(end);
    }
    for (unsigned i = 0; i < run.slots; i++)
        if (clients[i].fd >= 0)
            end_look(&clients[i]);
}

/* How many ends are within an exchange. */
static unsigned busy(void)
{
    unsigned count = 0;

    for (const struct end *end = run.origin_ends; end; end = end->next)
        count += end->exchange != NULL;
    for (unsigned i = 0; i < run.slots; i++)
        count += clients[i].fd >= 0;
    return count;
}

static void play(void)
{
    uint64_t given_up_ms;

    run.now_ms = clock_ms();
    end_ms = run.now_ms + options.seconds * 1000u;
    while (!is_over()) {
        for (unsigned i = 0; i < run.slots; i++)
            if (clients[i].fd < 0)
                client_open(&clients[i]);
        turn();
    }
    given_up_ms = run.now_ms + LEAVING_MS;
    while (busy() && run.now_ms < given_up_ms)
        turn();
}

static void report(uint64_t began_ms)
{
    printf("{\"seed\": %" PRIu64 ", \"seconds\": %.1f, \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64
           ", \"get\": %" PRIu64 ", \"post\": %" PRIu64 ", \"upgrade\": %" PRIu64 ", \"connect\": %" PRIu64
           ", \"tcp\": %" PRIu64 ", \"tunnels\": %" PRIu64,
           run.seed, (double)(clock_ms() - began_ms) / 1e3, run.bytes[UP], run.bytes[DOWN], run.begun[GET],
           run.begun[POST], run.begun[UPGRADE], run.begun[CONNECT], run.begun[TCP], tunnels_begun());
    printf(", \"complete\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"cut_reset\": %" PRIu64 ", \"cut_close\": %" PRIu64
           ", \"cut_half\": %" PRIu64 ", \"late\": %" PRIu64 ", \"reached\": %s",
           run.complete, run.refused, run.cuts[RESET], run.cuts[CLOSE], run.cuts[HALF], run.late,
           bytes_are_enough() && tunnels_begun() >= options.tunnels ? "true" : "false");
    printf(", \"wrong\": %" PRIu64 ", \"false_whole\": %" PRIu64 ", \"unasked\": %" PRIu64 ", \"repeated\": %" PRIu64
           ", \"lost_reset\": %" PRIu64 ", \"stuck\": %" PRIu64 ", \"left\": %u, \"shown\": [",
           run.wrong, run.false_whole, run.unasked, run.repeated, run.lost_reset, run.stuck, busy());
    for (unsigned i = 0; i < run.shown_count; i++)
        printf("%s\"%s\"", i ? ", " : "", run.shown[i]);
    printf("]}\n");
}

/* 300M, 10G or a plain number. */
static uint64_t number_read(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    return *end == 'G' ? number << 30 : *end == 'M' ? number << 20 : *end == 'K' ? number << 10 : number;
}

static void options_read(int count, char **words)
{
    static const struct option known[] = {
        { "proxy", required_argument, NULL, 'p' },   { "origin", required_argument, NULL, 'o' },
        { "tcp", required_argument, NULL, 't' },     { "forward", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 's' },    { "slots", required_argument, NULL, 'n' },
        { "bytes", required_argument, NULL, 'b' },   { "tunnels", required_argument, NULL, 'u' },
        { "seconds", required_argument, NULL, 'S' }, { NULL, 0, NULL, 0 }
    };
    int option;

    run.slots = 48;
    while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
        uint64_t number = option == '?' ? 0 : number_read(optarg);

        switch (option) {
        case 'p': options.ports[GET] = options.ports[POST] = options.ports[UPGRADE] = (unsigned)number; break;
        case 'o': run.origin_port = (unsigned)number; break;
        case 't': options.ports[TCP] = (unsigned)number; break;
        case 'f': options.ports[CONNECT] = (unsigned)number; break;
        case 's': run.seed = number; break;
        case 'n': run.slots = (unsigned)number; break;
        case 'b': options.bytes = number; break;
        case 'u': options.tunnels = number; break;
        case 'S': options.seconds = number; break;
        default: exit(2);
        }
    }
    if (!options.ports[GET] || !run.origin_port || run.slots < 1 || run.slots > SLOTS_MAX)
        die("--proxy and --origin are ports, --slots is 1 to %u", SLOTS_MAX);
}

int main(int count, char **words)
{
    struct rlimit files;
    uint64_t began_ms;

    options_read(count, words);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    content_make();
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        clients[i] = (struct end){ .side = CLIENT, .fd = -1, .slot = i };
        for (unsigned k = 0; k < HISTORY; k++)
            run.history[i][k].plan.number = UINT64_MAX;
    }
    origin_listen();
    printf("ready\n");
    fflush(stdout);
    began_ms = clock_ms();
    play();
    report(began_ms);
    return 0;
}

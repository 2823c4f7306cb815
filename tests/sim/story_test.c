/*
 * The engine on the awkward kernel of ring.c: clients and an origin on threads of their own exchange seeded content of all sizes, in
 * lengths and chunks, pipelined, cut off; every byte is compared. WEIR_SEED repeats the decisions.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/server.h"
#include "tests/unit/seed.h"

#define CLIENTS 6
#define REQUESTS 25

extern uint64_t sim_seed, sim_oddities;

static int origin_listener;
static uint16_t origin_port, weir_port, tcp_port;
static uint16_t port_of_tunnels; /* 0: weir_port */
static pthread_t engine, origin;
static const char *zero_copy = "poll";
static size_t size_least; /* of content */

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t bytes = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &bytes);
    return ntohs(address.sin_port);
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 64), 0);
    return fd;
}

static char byte_at(size_t i, unsigned salt)
{
    return (char)('!' + (i * 7 + salt * 13 + i / 251) % 90);
}

static bool send_all(int fd, const char *at, size_t length)
{
    while (length) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Reads up to and with the end of a head; the bytes behind it stay in the buffer. */
struct reader {
    int fd;
    size_t length;
    char bytes[600000];
};

static ssize_t find_end(const struct reader *r)
{
    for (size_t i = 0; i + 4 <= r->length; i++)
        if (memcmp(r->bytes + i, "\r\n\r\n", 4) == 0)
            return (ssize_t)i + 4;
    return -1;
}

static bool fill(struct reader *r)
{
    ssize_t got = recv(r->fd, r->bytes + r->length, sizeof r->bytes - r->length - 1, 0);
    if (got <= 0)
        return false;
    r->length += (size_t)got;
    r->bytes[r->length] = 0;
    return true;
}

static void drop(struct reader *r, size_t n)
{
    memmove(r->bytes, r->bytes + n, r->length - n);
    r->length -= n;
    r->bytes[r->length] = 0;
}

/* The origin: answers each request with as much content as its path says, in chunks when that is odd; checks what it is sent. */
static bool answer(struct reader *r, size_t head)
{
    unsigned size = 0, salt = 0, sent_size = 0;
    char head_text[256];
    bool is_post = r->bytes[0] == 'P';
    if (sscanf(strchr(r->bytes, '/'), "/%u/%u/%u", &size, &salt, &sent_size) != 3)
        return false;
    drop(r, head);
    while (is_post && r->length < sent_size)
        if (!fill(r))
            return false;
    for (size_t i = 0; is_post && i < sent_size; i++)
        cr_assert_eq(r->bytes[i], byte_at(i, salt), "request content differs at %zu of %u", i, sent_size);
    drop(r, is_post ? sent_size : 0);
    bool chunked = size % 2;
    int length = chunked ? snprintf(head_text, sizeof head_text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                         : snprintf(head_text, sizeof head_text, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", size);
    if (!send_all(r->fd, head_text, (size_t)length))
        return false;
    for (size_t at = 0; at < size;) {
        char run[3000];
        size_t n = size_min(size - at, 1 + (at * 31 + salt) % sizeof run);
        for (size_t i = 0; i < n; i++)
            run[i] = byte_at(at + i, salt);
        length = snprintf(head_text, sizeof head_text, "%zx\r\n", n);
        if ((chunked && !send_all(r->fd, head_text, (size_t)length)) || !send_all(r->fd, run, n) || (chunked && !send_all(r->fd, "\r\n", 2)))
            return false;
        at += n;
    }
    return !chunked || send_all(r->fd, "0\r\n\r\n", 5);
}

static _Atomic int echoes; /* under way */

/* Whatever comes goes back, until its end. */
static void echo(struct reader *r, size_t head)
{
    echoes++;
    drop(r, head);
    bool well = send_all(r->fd, "HTTP/1.1 101 Echo\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", 57);
    do {
        well = well && send_all(r->fd, r->bytes, r->length);
        drop(r, r->length);
    } while (well && fill(r));
    echoes--;
}

static void *serve(void *argument)
{
    struct reader *r = calloc(1, sizeof *r);
    unsigned served = 0;
    r->fd = (int)(intptr_t)argument;
    for (;;) {
        ssize_t end;
        while ((end = find_end(r)) < 0)
            if (!fill(r))
                goto out;
        if (strstr(r->bytes, "\r\nUpgrade: echo\r\n")) {
            echo(r, (size_t)end);
            break;
        }
        if (served++ && strncmp(r->bytes, "PUT ", 4) == 0)
            break; /* as one that has grown tired of the connection: it may be asked again on another */
        if (!answer(r, (size_t)end))
            break;
    }
out:
    close(r->fd);
    free(r);
    return NULL;
}

static void *run_origin(void *argument)
{
    (void)argument;
    int fd;
    while ((fd = accept(origin_listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
    return NULL;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
    struct timeval limit = { .tv_sec = 60 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (unsigned tries = 0; connect(fd, (struct sockaddr *)&address, sizeof address) < 0; tries++) {
        cr_assert_lt(tries, 200);
        usleep(20000);
    }
    return fd;
}

static int connect_to_weir(void)
{
    return connect_to(weir_port);
}

static void *run_engine(void *argument)
{
    server_run(argument, NULL);
    return NULL;
}

static void begin(void)
{
    char yaml[800];
    static struct config_problems problems;
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ending, NULL); /* for the engine's own descriptor */
    seed_take("sim");
    sim_seed = random_state;
    origin_listener = listen_anywhere();
    origin_port = port_of(origin_listener);
    int probe = listen_anywhere();
    weir_port = port_of(probe);
    close(probe);
    probe = listen_anywhere();
    tcp_port = port_of(probe);
    close(probe);
    snprintf(yaml, sizeof yaml,
             "workers: 1\npin: false\nlisteners: [ { address: 127.0.0.1:%u }, { address: 127.0.0.1:%u, tcp: { pool: app, idle: 7d } } ]\nroutes: [ { pool: app, upgrade: echo } ]\nlog: { level: error }\n"
             "pools: { app: { servers: [ 127.0.0.1:%u ], timeouts: { first-byte: 20m, between: 20m, connect: 5m } } }\n"
             "timeouts: { body: 20m, send: 20m, head: 10s, idle: 20m, tunnel: 7d }\ncontrol: { socket: off }\nzero-copy: %s\n",
             weir_port, tcp_port, origin_port, zero_copy);
    struct config *config = config_parse(slice_of_text(yaml), "sim", &problems);
    cr_assert_not_null(config, "%s", problems.list[0].message);
    pthread_create(&origin, NULL, run_origin, NULL);
    pthread_create(&engine, NULL, run_engine, config);
    close(connect_to_weir());
}

static void teardown(void)
{
    kill(getpid(), SIGTERM);
    pthread_join(engine, NULL);
}

static void setup(void)
{
    begin();
}

/* Everything is spliced, by one mover or the other. */
static void setup_ring(void)
{
    zero_copy = "ring";
    size_least = 100000;
    begin();
}

static void setup_poll(void)
{
    size_least = 100000;
    begin();
}

TestSuite(sim, .init = setup, .fini = teardown, .timeout = 120);
TestSuite(sim_ring, .init = setup_ring, .fini = teardown, .timeout = 120);
TestSuite(sim_poll, .init = setup_poll, .fini = teardown, .timeout = 120);

static bool read_chunked(struct reader *r, size_t size, unsigned salt)
{
    for (size_t at = 0;;) {
        char *end;
        while (!strstr(r->bytes, "\r\n"))
            if (!fill(r))
                return false;
        size_t n = strtoul(r->bytes, &end, 16);
        drop(r, (size_t)(strstr(r->bytes, "\r\n") - r->bytes) + 2);
        while (r->length < n + 2)
            if (!fill(r))
                return false;
        for (size_t i = 0; i < n; i++, at++)
            cr_assert_eq(r->bytes[i], byte_at(at, salt), "chunked content differs at %zu", at);
        drop(r, n + 2);
        if (n == 0)
            return at == size;
    }
}

static bool read_response(struct reader *r, size_t size, unsigned salt)
{
    ssize_t end;
    while ((end = find_end(r)) < 0)
        if (!fill(r))
            return false;
    cr_assert_eq(strncmp(r->bytes, "HTTP/1.1 200 OK\r\n", 17), 0, "%.60s", r->bytes);
    char saved = r->bytes[end];
    r->bytes[end] = 0;
    bool chunked = strstr(r->bytes, "Transfer-Encoding: chunked") != NULL;
    r->bytes[end] = saved;
    drop(r, (size_t)end);
    if (chunked)
        return read_chunked(r, size, salt);
    while (r->length < size)
        if (!fill(r))
            return false;
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(r->bytes[i], byte_at(i, salt), "content differs at %zu of %zu", i, size);
    drop(r, size);
    return true;
}

static size_t some_size(unsigned i)
{
    return size_least + mix64(sim_seed + i * 77u) % (1u << (4 + mix64(sim_seed ^ i) % 14));
}

static bool send_request(int fd, unsigned i)
{
    char head[300], body[240000];
    size_t size = some_size(i), sent_size = i % 3 ? 0 : some_size(i + 1000);
    int length = snprintf(head, sizeof head, "%s /%zu/%u/%zu HTTP/1.1\r\nHost: sim\r\nContent-Length: %zu\r\n\r\n", sent_size ? "POST" : "GET", size, i, sent_size, sent_size);
    for (size_t k = 0; k < sent_size; k++)
        body[k] = byte_at(k, i);
    return send_all(fd, head, (size_t)length) && send_all(fd, body, sent_size);
}

static void *run_client(void *argument)
{
    unsigned number = (unsigned)(intptr_t)argument;
    struct reader *r = calloc(1, sizeof *r);
    r->fd = connect_to_weir();
    for (unsigned n = 0; n < REQUESTS; n++) {
        unsigned i = number * 1000 + n * 2;
        bool pipelined = n % 4 == 0;
        cr_assert(send_request(r->fd, i), "request %u", i);
        if (pipelined)
            cr_assert(send_request(r->fd, i + 1));
        cr_assert(read_response(r, some_size(i), i), "response %u of %zu bytes is cut", i, some_size(i));
        if (pipelined)
            cr_assert(read_response(r, some_size(i + 1), i + 1), "pipelined response %u is cut", i + 1);
    }
    close(r->fd);
    free(r);
    return NULL;
}

static void pass_every_byte(void)
{
    pthread_t clients[CLIENTS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, run_client, (void *)i);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    cr_assert_gt(sim_oddities, 1000);
}

Test(sim, every_byte_arrives_through_an_awkward_kernel) { pass_every_byte(); }
Test(sim_ring, every_byte_arrives_spliced_by_the_ring) { pass_every_byte(); }
Test(sim_poll, every_byte_arrives_spliced) { pass_every_byte(); }

/* Content behind its head, on a kept connection of which the origin wants no more: it goes whole to another, or is refused. */
static void *run_putter(void *argument)
{
    unsigned number = (unsigned)(intptr_t)argument;
    static _Thread_local char body[200000];
    for (unsigned n = 0; n < 10; n++) {
        struct reader *r = calloc(1, sizeof *r);
        unsigned i = number * 3000 + n * 3 + 1;
        char head[200];
        r->fd = connect_to_weir();
        cr_assert(send_request(r->fd, i) && read_response(r, some_size(i), i));
        int length = snprintf(head, sizeof head, "PUT /10/%u/%zu HTTP/1.1\r\nHost: sim\r\nContent-Length: %zu\r\n\r\n", i, sizeof body, sizeof body);
        for (size_t k = 0; k < sizeof body; k++)
            body[k] = byte_at(k, i);
        cr_assert(send_all(r->fd, head, (size_t)length));
        usleep((useconds_t)(mix64(sim_seed + i) % 3000));
        send_all(r->fd, body, sizeof body);
        while (find_end(r) < 0 && fill(r))
            continue;
        bool refused = strncmp(r->bytes, "HTTP/1.1 502 ", 13) == 0 || r->length == 0; /* or reset before it could be read */
        cr_assert(refused || read_response(r, 10, i), "%.60s", r->bytes);
        close(r->fd);
        free(r);
    }
    return NULL;
}

static void put_once_or_not_at_all(void)
{
    pthread_t putters[CLIENTS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        pthread_create(&putters[i], NULL, run_putter, (void *)i);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(putters[i], NULL);
}

Test(sim, content_goes_whole_to_another_connection_or_to_none) { put_once_or_not_at_all(); }
Test(sim_ring, content_goes_whole_to_another_connection_or_to_none) { put_once_or_not_at_all(); }
Test(sim_poll, content_goes_whole_to_another_connection_or_to_none) { put_once_or_not_at_all(); }

static void *run_deserter(void *argument)
{
    unsigned number = (unsigned)(intptr_t)argument;
    struct linger now = { .l_onoff = 1 };
    for (unsigned n = 0; n < 12; n++) {
        int fd = connect_to_weir();
        send_request(fd, number * 100 + n * 3);
        usleep((useconds_t)(mix64(sim_seed + n) % 20000));
        if (n % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(fd);
    }
    return NULL;
}

static void leave_at_any_moment(void)
{
    pthread_t deserters[4], client;
    for (intptr_t i = 0; i < 4; i++)
        pthread_create(&deserters[i], NULL, run_deserter, (void *)i);
    pthread_create(&client, NULL, run_client, (void *)(intptr_t)9);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(deserters[i], NULL);
    pthread_join(client, NULL);
}

Test(sim, clients_that_leave_at_any_moment_hurt_nobody) { leave_at_any_moment(); }
Test(sim_ring, clients_that_leave_at_any_moment_hurt_nobody) { leave_at_any_moment(); }
Test(sim_poll, clients_that_leave_at_any_moment_hurt_nobody) { leave_at_any_moment(); }

struct speaker {
    int fd;
    size_t bytes;
    unsigned salt;
};

/* Says all that it has to say, in runs of any size, and that this was all. */
static void *speak(void *argument)
{
    const struct speaker *speaker = argument;
    char run[5000];
    for (size_t at = 0; at < speaker->bytes;) {
        size_t n = size_min(speaker->bytes - at, 1 + mix64(sim_seed + at) % sizeof run);
        for (size_t i = 0; i < n; i++)
            run[i] = byte_at(at + i, speaker->salt);
        cr_assert(send_all(speaker->fd, run, n));
        at += n;
    }
    shutdown(speaker->fd, SHUT_WR);
    return NULL;
}

static void read_echo(struct reader *r, const struct speaker *speaker)
{
    ssize_t end;
    while ((end = find_end(r)) < 0)
        cr_assert(fill(r));
    cr_assert_eq(strncmp(r->bytes, "HTTP/1.1 101 ", 13), 0, "%.60s", r->bytes);
    drop(r, (size_t)end);
    size_t at = 0;
    do {
        for (size_t i = 0; i < r->length; i++, at++)
            cr_assert_eq(r->bytes[i], byte_at(at, speaker->salt), "the tunnel differs at %zu", at);
        drop(r, r->length);
    } while (fill(r));
    cr_assert_eq(at, speaker->bytes);
}

static const char upgrade[] = "GET / HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

static void *run_tunnel(void *argument)
{
    unsigned number = (unsigned)(intptr_t)argument;
    struct reader *r = calloc(1, sizeof *r);
    for (unsigned n = 0; n < 4; n++) {
        pthread_t thread;
        r->fd = connect_to(port_of_tunnels ? port_of_tunnels : weir_port);
        struct speaker speaker = { r->fd, some_size(number * 10 + n) * (size_least ? 16 : 2), number + n };
        cr_assert(send_all(r->fd, upgrade, sizeof upgrade - 1));
        pthread_create(&thread, NULL, speak, &speaker);
        read_echo(r, &speaker);
        pthread_join(thread, NULL);
        close(r->fd);
    }
    free(r);
    return NULL;
}

static void pass_tunnels(void)
{
    pthread_t tunnels[CLIENTS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        pthread_create(&tunnels[i], NULL, run_tunnel, (void *)i);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(tunnels[i], NULL);
}

Test(sim, tunnels_pass_every_byte_and_both_ends) { pass_tunnels(); }
Test(sim_ring, tunnels_pass_every_byte_and_both_ends) { pass_tunnels(); }
Test(sim_poll, tunnels_pass_every_byte_and_both_ends) { pass_tunnels(); }

static void *run_tunnel_deserter(void *argument)
{
    unsigned number = (unsigned)(intptr_t)argument;
    struct linger now = { .l_onoff = 1 };
    static char bytes[1000000];
    for (unsigned n = 0; n < 12; n++) {
        int fd = connect_to(port_of_tunnels ? port_of_tunnels : weir_port);
        send_all(fd, upgrade, sizeof upgrade - 1);
        usleep((useconds_t)(mix64(sim_seed + number) % 20000));
        send_all(fd, bytes, mix64(sim_seed ^ n) % (size_least ? sizeof bytes : 60000));
        usleep((useconds_t)(mix64(sim_seed + n) % 20000));
        if (n % 3)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(fd);
    }
    return NULL;
}

static void leave_tunnels(void)
{
    pthread_t deserters[CLIENTS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        pthread_create(&deserters[i], NULL, run_tunnel_deserter, (void *)i);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(deserters[i], NULL);
    for (unsigned i = 0; echoes > 0 && i < 3000; i++)
        usleep(10000);
    cr_assert_eq(echoes, 0);
}

Test(sim, the_other_side_is_told_of_clients_that_leave_tunnels) { leave_tunnels(); }
Test(sim_ring, the_other_side_is_told_of_clients_that_leave_tunnels) { leave_tunnels(); }
Test(sim_poll, the_other_side_is_told_of_clients_that_leave_tunnels) { leave_tunnels(); }

/* The same conversations over a TCP listener, which knows of no upgrade. */
Test(sim, connections_are_passed_with_every_byte_and_both_ends)
{
    pthread_t streams[CLIENTS], deserters[CLIENTS];
    port_of_tunnels = tcp_port;
    for (intptr_t i = 0; i < CLIENTS; i++) {
        pthread_create(&streams[i], NULL, run_tunnel, (void *)i);
        pthread_create(&deserters[i], NULL, run_tunnel_deserter, (void *)i);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(streams[i], NULL);
        pthread_join(deserters[i], NULL);
    }
    for (unsigned i = 0; echoes > 0 && i < 3000; i++)
        usleep(10000);
    cr_assert_eq(echoes, 0);
}

Test(sim, time_passes_for_a_slow_head)
{
    struct reader *r = calloc(1, sizeof *r);
    r->fd = connect_to_weir();
    cr_assert(send_all(r->fd, "GET / HT", 8));
    while (fill(r)) /* ten seconds of the engine's clock */
        continue;
    cr_assert_eq(strncmp(r->bytes, "HTTP/1.1 408 ", 13), 0, "%.40s", r->bytes);
    close(r->fd);
    free(r);
}

/*
 * load: a closed-loop HTTP/1.1 client and the origin behind the proxy, in one epoll thread.
 *
 * One thread is both ends on purpose. It takes half the wake-ups that a client and an origin of their own would need, so
 * on two cores the proxy's core is the one that saturates, and CPU per request is measured where the proxy is busy. The
 * run script pins this program to one core and the proxy to another.
 *
 *     load --proxy HOST:PORT --origin-port N --connections N --body BYTES --seconds S --warmup S [--close] [--pid PID]
 *     load --proxy HOST:PORT --origin-port N --idle N
 *     ... [--upload BYTES]                requests have content; BODY is that of the answers
 *     ... [--tcp]                         no HTTP: each connection sends BODY bytes and gets them back, again and again
 *     ... [--rate N]                      an open loop: N requests a second, sent when they are due
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
 * had to be decrypted anyway and are compared whole, and so are messages of --tcp. Content of requests is counted by the origin. `bytes`
 * are those that came within the window, also of answers that began before it or end after it: what CPU per byte is taken of.
 * With --close a latency over TLS begins with the connection.
 *
 * Output: one line of JSON. Linux only; libraries: OpenSSL, for TLS.
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load_tls.h"

#define EVENTS_MAX 512
#define RAMP_NS_MAX 10000000000ull /* a proxy that has not answered every client once by then has failed */
#define TCP_BYTES_MAX 8192u        /* a message that one read takes and no socket buffer refuses */
#define DRAIN_NS 1000000000ull

struct options options = { .host = "www.example.com",
                           .path = "/articles/2026/weir.html",
                           .connections = 64,
                           .body_bytes = 1024,
                           .seconds = 1.0,
                           .warmup_seconds = 0.3 };
struct run run;
char inbox[INBOX_BYTES];

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;

    fputs("load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void watch(int fd, void *owner, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };

    if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

void no_delay(int fd)
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

/* The bytes of the longest body, in memory and as a file that sendfile takes. */
static void content_build(void)
{
    uint64_t bytes = options.body_bytes > options.upload_bytes ? options.body_bytes : options.upload_bytes;
    char *content;

    run.content = "";
    if (!bytes)
        return;
    run.content_file = memfd_create("content", MFD_CLOEXEC);
    if (run.content_file < 0 || ftruncate(run.content_file, (off_t)bytes) != 0)
        die("memfd: %s", strerror(errno));
    content = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, run.content_file, 0);
    if (content == MAP_FAILED)
        die("memfd: %s", strerror(errno));
    for (uint64_t i = 0; i < bytes; i++)
        content[i] = (char)('a' + (i * 7u + i / 251u) % 26u);
    run.content = content;
}

/* ---- the loop -------------------------------------------------------------------------------------------------------- */

/* Until something happens, a request is due or the time is over. */
static int wait_for(struct epoll_event *events, uint64_t timeout_ns)
{
    uint64_t now_ns = clock_ns(), due_ns = run.due_ns > now_ns ? run.due_ns - now_ns : 0;
    struct timespec timeout;

    if (run.due_ns && due_ns < timeout_ns)
        timeout_ns = due_ns;
    timeout =
        (struct timespec){ .tv_sec = (time_t)(timeout_ns / SECOND_NS), .tv_nsec = (long)(timeout_ns % SECOND_NS) };
    return epoll_pwait2(run.epoll, events, EVENTS_MAX, &timeout, NULL);
}

static void turn(uint64_t timeout_ns)
{
    static uint64_t swept_ns;
    struct epoll_event events[EVENTS_MAX];
    int count = wait_for(events, timeout_ns);

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
    if (run.due_ns)
        clients_pace();
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
        turn(end_ns - run.now_ns);
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
        turn(SECOND_NS / 10);
    }
    run.ramping = false;
    if (options.rate > 0)
        run.due_ns = clock_ns();
    else if (!options.idle)
        clients_send();
}

static void drain(void)
{
    uint64_t end_ns = clock_ns() + DRAIN_NS;

    run.sending = false;
    run.due_ns = 0;
    while (clients_busy() > 0 && clock_ns() < end_ns)
        turn(SECOND_NS / 100);
    clients_close();
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
    printf("{\"requests\": %" PRIu64 ", \"bytes\": %" PRIu64, run.requests, run.bytes);
    if (options.tls)
        print_tls(&tls_before);
    if (options.rate > 0)
        printf(", \"late_p99_us\": %.1f", histogram_quantile(&run.late, 0.99) / 1e3);
    drain();
    printf(", ");
    print_errors();
    printf(", \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"origin_connections\": %" PRIu64 ", \"origin_requests\": %" PRIu64
           ", \"origin_window\": %" PRIu64,
           seconds, (double)run.requests / seconds, histogram_quantile(&run.latency, 0.5) / 1e3,
           histogram_quantile(&run.latency, 0.99) / 1e3, histogram_quantile(&run.latency, 0.999) / 1e3,
           (double)run.latency.largest / 1e3, run.back_connections, run.back_requests, run.back_window);
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
        turn(SECOND_NS / 5);
    printf("{\"idle\": %u, \"closed\": %" PRIu64 ", \"origin_connections\": %" PRIu64 ", ", options.idle,
           run.closed_idle, run.back_connections);
    print_errors();
    printf("}\n");
    drain();
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
        { "upload", required_argument, NULL, 'u' },
        { "tcp", no_argument, NULL, 'T' },
        { "rate", required_argument, NULL, 'R' },
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
        case 'u': options.upload_bytes = strtoull(optarg, NULL, 10); break;
        case 'T': options.tcp = true; break;
        case 'R': options.rate = strtod(optarg, NULL); break;
        case 'i': options.idle = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'h': options.host = optarg; break;
        case 'P': options.pid = (pid_t)strtol(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (!options.proxy || !options.origin_port || options.origin_port > 65535 || optind != count) {
        fputs(
            "usage: load --proxy HOST:PORT --origin-port N [--connections N] [--body BYTES] [--seconds S] [--warmup S]\n"
            "            [--close] [--tls | --resume] [--cached] [--pid PID] [--idle N] [--host NAME] [--path PATH]\n"
            "            [--upload BYTES] [--tcp] [--rate N]\n",
            stderr);
        exit(2);
    }
    if (options.tcp && (options.tls || options.close || options.upload_bytes || !options.body_bytes ||
                        options.body_bytes > TCP_BYTES_MAX))
        die("--tcp goes with neither TLS nor --close nor --upload, and with messages of 1 to %u bytes", TCP_BYTES_MAX);
    if (options.upload_bytes && options.tls)
        die("--upload is by plain connections only");
}

int main(int count, char **words)
{
    options_read(count, words);
    signal(SIGPIPE, SIG_IGN);
    run.client_count = options.idle ? options.idle : options.connections;
    raise_files(2 * (rlim_t)run.client_count + 1024);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (options.tls)
        tls_init(options.host, options.resume, options.body_bytes > ANSWER_BYTES_MAX);
    run.sending = true;
    proxy_resolve(options.proxy);
    content_build();
    clients_init();
    origin_init();
    if (options.idle)
        hold();
    else
        measure();
    return 0;
}

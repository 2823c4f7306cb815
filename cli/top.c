/*
 * weir top: asks for a sample of counters each second and shows the difference to the one before. The engine sends cumulative
 * counters, so several can watch at once and none of them costs a request anything.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"

#define WORKERS_SHOWN 256
#define SERVERS_SHOWN 1024
#define REFRESH_MS 1000

struct worker_sample {
    unsigned long long requests, clients, in_flight, cpu_us, sent_bytes, errors;
};

struct server_sample {
    char pool[64], address[128];
    unsigned state;
    unsigned long long requests, busy, p50_us, p99_us;
};

struct sample {
    double at; /* seconds */
    unsigned long long uptime_ms, generation;
    unsigned worker_count, server_count;
    struct worker_sample workers[WORKERS_SHOWN];
    struct server_sample servers[SERVERS_SHOWN];
};

static const char *const states[] = { "up", "marked", "trial due", "down", "drained" };
static volatile sig_atomic_t stopped;
static struct termios terminal_before;

/* Samples ------------------------------------------------------------------------------------------------------ */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void read_line(struct sample *sample, const char *line)
{
    unsigned number;
    struct worker_sample w;
    struct server_sample s;
    if (sscanf(line, "engine %llu %llu", &sample->uptime_ms, &sample->generation) == 2)
        return;
    if (sscanf(line, "worker %u %llu %llu %llu %llu %llu %llu", &number, &w.requests, &w.clients, &w.in_flight, &w.cpu_us, &w.sent_bytes, &w.errors) == 7 &&
        sample->worker_count < WORKERS_SHOWN)
        sample->workers[sample->worker_count++] = w;
    else if (sscanf(line, "server %63s %127s %u %llu %llu %llu %llu", s.pool, s.address, &s.state, &s.requests, &s.busy, &s.p50_us, &s.p99_us) == 7 &&
             sample->server_count < SERVERS_SHOWN)
        sample->servers[sample->server_count++] = s;
}

static int take_sample(const struct options *options, struct sample *sample, struct wire_answer *answer)
{
    struct wire_request request = { .command = "top", .deadline_ms = UINT64_MAX };
    int code = client_ask(options, &request, answer);
    if (code != EXIT_OK)
        return code;
    sample->worker_count = sample->server_count = 0;
    sample->at = seconds_now();
    for (char *line = answer->text, *end; line && *line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        if (end)
            *end = 0;
        read_line(sample, line);
    }
    return EXIT_OK;
}

/* The view ----------------------------------------------------------------------------------------------------- */

static double rate(unsigned long long now, unsigned long long before, double seconds)
{
    return seconds > 0 && now >= before ? (double)(now - before) / seconds : 0;
}

static const struct server_sample *same_server(const struct sample *sample, const struct server_sample *server)
{
    for (unsigned i = 0; i < sample->server_count; i++)
        if (strcmp(sample->servers[i].pool, server->pool) == 0 && strcmp(sample->servers[i].address, server->address) == 0)
            return &sample->servers[i];
    return NULL;
}

/* Ends each line so that what stood there before is gone; stops at the screen's last row. */
static void end_line(bool live, int *rows)
{
    fputs(live ? "\033[K\r\n" : "\n", stdout);
    (*rows)--;
}

static void show_workers(const struct sample *now, const struct sample *before, double seconds, bool live, int *rows)
{
    printf("%-8s %10s %10s %10s %8s %10s %8s", "core", "req/s", "clients", "in flight", "busy %", "MB/s out", "5xx/s");
    end_line(live, rows);
    for (unsigned i = 0; i < now->worker_count && *rows > 4; i++) {
        const struct worker_sample *w = &now->workers[i], *b = i < before->worker_count ? &before->workers[i] : w;
        printf("%-8u %10.0f %10llu %10llu %8.1f %10.2f %8.1f", i, rate(w->requests, b->requests, seconds), w->clients, w->in_flight,
               rate(w->cpu_us, b->cpu_us, seconds) / 1e4, rate(w->sent_bytes, b->sent_bytes, seconds) / 1e6, rate(w->errors, b->errors, seconds));
        end_line(live, rows);
    }
}

static void show_servers(const struct sample *now, const struct sample *before, double seconds, bool live, int *rows)
{
    printf("%-14s %-24s %-10s %9s %7s %9s %9s", "pool", "server", "state", "req/s", "busy", "p50 us", "p99 us");
    end_line(live, rows);
    for (unsigned i = 0; i < now->server_count && *rows > 1; i++) {
        const struct server_sample *s = &now->servers[i], *b = same_server(before, s);
        printf("%-14.14s %-24.24s %-10s %9.0f %7llu %9llu %9llu", s->pool, s->address, s->state < ARRAY_LENGTH(states) ? states[s->state] : "?",
               rate(s->requests, b ? b->requests : s->requests, seconds), s->busy, s->p50_us, s->p99_us);
        end_line(live, rows);
    }
}

static void show(const struct sample *now, const struct sample *before, bool live)
{
    struct winsize size = { .ws_row = 24 };
    double seconds = now->at - before->at;
    if (live && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row == 0)
        size.ws_row = 24;
    int rows = live ? size.ws_row : 1 << 20;
    if (live)
        fputs("\033[H", stdout);
    printf("weir: up %llu s, configuration %llu%s", now->uptime_ms / 1000, now->generation, live ? "; q leaves" : "");
    end_line(live, &rows);
    end_line(live, &rows);
    show_workers(now, before, seconds, live, &rows);
    end_line(live, &rows);
    show_servers(now, before, seconds, live, &rows);
    if (live)
        fputs("\033[J", stdout);
    fflush(stdout);
}

/* The terminal ------------------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static void enter_screen(void)
{
    struct termios raw;
    tcgetattr(STDIN_FILENO, &terminal_before);
    raw = terminal_before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
}

static void leave_screen(void)
{
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

/* False when somebody wants to leave. */
static bool wait_for_key(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    char key = 0;
    if (poll(&input, 1, REFRESH_MS) > 0 && read(STDIN_FILENO, &key, 1) == 1)
        return key != 'q' && key != 'Q' && key != 3;
    return !stopped;
}

static int watch(const struct options *options, struct sample samples[2])
{
    struct wire_answer answer;
    int code = EXIT_OK;
    enter_screen();
    for (unsigned turn = 1; !stopped; turn++) {
        struct sample *now = &samples[turn % 2];
        code = take_sample(options, now, &answer);
        if (code != EXIT_OK)
            break;
        wire_answer_release(&answer);
        show(now, &samples[(turn + 1) % 2], true);
        if (!wait_for_key())
            break;
    }
    leave_screen();
    return code;
}

/* Two samples a second apart, so that rates are there. */
static int once(const struct options *options, struct sample samples[2])
{
    struct wire_answer answer;
    struct timespec second = { .tv_sec = 1 };
    nanosleep(&second, NULL);
    int code = take_sample(options, &samples[1], &answer);
    if (code != EXIT_OK)
        return code;
    wire_answer_release(&answer);
    show(&samples[1], &samples[0], false);
    return EXIT_OK;
}

int verb_top(const struct options *options)
{
    struct wire_answer answer;
    struct sample *samples = calloc(2, sizeof *samples);
    if (!samples)
        return EXIT_FAILED;
    int code = take_sample(options, &samples[0], &answer);
    if (code == EXIT_OK && options->json)
        puts(answer.json);
    if (code == EXIT_OK) {
        wire_answer_release(&answer);
        if (!options->json)
            code = options->once || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ? once(options, samples) : watch(options, samples);
    }
    free(samples);
    return code;
}

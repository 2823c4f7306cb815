/*
 * weir top: asks for a sample of counters each second and shows the difference to the one before. The engine sends cumulative
 * counters and histograms, so several can watch at once, none of them costs a request anything, and a percentile is of the last second,
 * not of all time.
 *
 * A sample is lines of words (engine/report.c):
 *   engine UPTIME_MS GENERATION WORKERS SERVERS
 *   worker NUMBER REQUESTS CLIENTS IN_FLIGHT CPU_US SENT_BYTES RESPONSES_5XX
 *   server STATE REQUESTS BUSY AGAIN MARKS BUCKET,BUCKET,... POOL ADDRESS
 * AGAIN: requests taken elsewhere after a failure there, and second requests sent there because another was late.
 */
#include "cli/top.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/print.h"
#include "engine/base/text.h"

#define FIRST_MS 250 /* to the first picture: rates over less say nothing */
#define REFRESH_MS 1000
#define ROWS_USUAL 24
#define COLUMNS_USUAL 80
#define LINE_BYTES 1024 /* the longest names and the largest numbers stay below */

static struct termios terminal_before;

/* Samples ------------------------------------------------------------------------------------------------------ */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* "1,0,5": how many fell into each bucket. What follows them, or NULL. */
static const char *read_buckets(const char *at, unsigned long long buckets[TOP_BUCKETS])
{
    char *end;
    for (unsigned i = 0; i < TOP_BUCKETS; i++) {
        buckets[i] = strtoull(at, &end, 10);
        if (end == at || *end != (i + 1 < TOP_BUCKETS ? ',' : ' '))
            return NULL;
        at = end + 1;
    }
    return at;
}

static bool read_server(struct server_sample *s, const char *line)
{
    int at = 0;
    if (sscanf(line, "server %15s %llu %llu %llu %llu %n", s->state, &s->requests, &s->busy, &s->again, &s->marks, &at) != 5)
        return false;
    const char *names = read_buckets(line + at, s->buckets);
    return names && sscanf(names, "%64s %259[^\n]", s->pool, s->address) == 2;
}

static bool read_cache(struct cache_sample *c, const char *line)
{
    return sscanf(line, "cache %llu %llu %llu %llu %llu %llu %llu %llu", &c->hits, &c->misses, &c->passed, &c->stale, &c->objects, &c->bytes,
                  &c->bytes_max, &c->evicted) == 8;
}

void top_read_line(struct sample *sample, const char *line)
{
    unsigned number;
    struct worker_sample w;
    struct server_sample s;
    struct cache_sample c;
    if (read_cache(&c, line))
        sample->cache = c;
    if (sscanf(line, "engine %llu %llu", &sample->uptime_ms, &sample->generation) == 2)
        return;
    if (sscanf(line, "worker %u %llu %llu %llu %llu %llu %llu", &number, &w.requests, &w.clients, &w.in_flight, &w.cpu_us, &w.sent_bytes, &w.errors) == 7 &&
        sample->worker_count < TOP_WORKERS)
        sample->workers[sample->worker_count++] = w;
    else if (read_server(&s, line) && sample->server_count < TOP_SERVERS)
        sample->servers[sample->server_count++] = s;
}

static int take_sample(const struct options *options, struct sample *sample, char why[256])
{
    struct wire_request request = client_request("top", NULL);
    struct wire_answer answer;
    int code = client_ask(options, &request, &answer, why);
    if (code != EXIT_OK)
        return code;
    if (answer.code) {
        snprintf(why, 256, "%.*s", (int)strcspn(answer.text, "\n"), answer.text);
        code = (int)answer.code;
        wire_answer_release(&answer);
        return code;
    }
    sample->worker_count = sample->server_count = 0;
    sample->cache = (struct cache_sample){ 0 };
    sample->at = seconds_now();
    for (char *line = answer.text, *end; line && *line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        if (end)
            *end = 0;
        top_read_line(sample, line);
    }
    wire_answer_release(&answer);
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

/* In milliseconds: below which a share of what came between two samples stayed. Negative: nothing came. */
double top_quantile(const struct server_sample *now, const struct server_sample *before, double share)
{
    unsigned long long count[TOP_BUCKETS], total = 0, seen = 0;
    for (unsigned i = 0; i < TOP_BUCKETS; i++) {
        unsigned long long old = before ? before->buckets[i] : 0;
        count[i] = now->buckets[i] >= old ? now->buckets[i] - old : 0;
        total += count[i];
    }
    double wanted = (double)total * share;
    for (unsigned i = 0; i < TOP_BUCKETS; i++) {
        if (count[i] && (double)(seen + count[i]) > wanted) {
            double low = i ? TOP_BUCKET_US * (double)(1ull << (i - 1)) : 0, high = TOP_BUCKET_US * (double)(1ull << i);
            return (low + (high - low) * (wanted - (double)seen) / (double)count[i]) / 1e3; /* as if spread evenly inside */
        }
        seen += count[i];
    }
    return -1;
}

/* At most so many characters of a text without line ends; what is no character counts as one. */
static size_t bytes_of_characters(const char *text, int most)
{
    size_t bytes = 0;
    for (int i = 0; i < most && text[bytes]; i++) {
        uint32_t character;
        unsigned next = text_utf8_next(slice_of_text(text + bytes), &character);
        bytes += next ? next : 1;
    }
    return bytes;
}

/*
 * A line of the screen, unless it is full. The line is cleared before it is written: behind its last column a terminal would take the
 * last character with it. Nothing follows the last line, or the screen would scroll.
 */
static void put_line(struct screen *screen, const char *format, ...) printf_like(2, 3);
static void put_line(struct screen *screen, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    if (screen->live && screen->used == screen->rows)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    for (char *c = line; (c = strchr(c, '\t'));)
        *c = '?'; /* is wider than a character */
    bool terminal = screen->live || isatty(fileno(screen->out));
    if (screen->live)
        fputs(screen->used ? "\r\n\033[K" : "\033[H\033[K", screen->out);
    print_text(slice_of(line, screen->live ? bytes_of_characters(line, screen->columns) : strlen(line)), terminal, screen->out);
    if (!screen->live)
        fputs("\n", screen->out);
    screen->used++;
}

static void show_worker(const char *name, const struct worker_sample *w, const struct worker_sample *b, double seconds, struct screen *screen)
{
    put_line(screen, "%-8s %10.0f %10llu %10llu %8.1f %10.2f %8.1f", name, rate(w->requests, b->requests, seconds), w->clients, w->in_flight,
             rate(w->cpu_us, b->cpu_us, seconds) / 1e4, rate(w->sent_bytes, b->sent_bytes, seconds) / 1e6, rate(w->errors, b->errors, seconds));
}

static struct worker_sample sum_of(const struct sample *sample)
{
    struct worker_sample sum = { 0 };
    for (unsigned i = 0; i < sample->worker_count; i++) {
        const struct worker_sample *w = &sample->workers[i];
        sum.requests += w->requests;
        sum.clients += w->clients;
        sum.in_flight += w->in_flight;
        sum.cpu_us += w->cpu_us;
        sum.sent_bytes += w->sent_bytes;
        sum.errors += w->errors;
    }
    return sum;
}

/* Cores get what servers leave, and at least a third of the screen; what does not fit is in the sum. */
static unsigned room_for_workers(const struct sample *now, const struct screen *screen)
{
    int left = screen->rows - screen->used, spare = left - 4 - (now->cache.bytes_max ? 3 : 0) - (int)now->server_count, third = left / 3;
    if (!screen->live)
        return now->worker_count;
    return (unsigned)(spare > third ? spare : third > 1 ? third : 1);
}

static void show_workers(const struct sample *now, const struct sample *before, double seconds, struct screen *screen)
{
    char name[24];
    unsigned room = room_for_workers(now, screen);
    struct worker_sample sum = sum_of(now), sum_before = sum_of(before);
    put_line(screen, "%-8s %10s %10s %10s %8s %10s %8s", "core", "req/s", "clients", "in flight", "busy %", "MB/s out", "5xx/s");
    for (unsigned i = 0; i < now->worker_count && i < room; i++) {
        snprintf(name, sizeof name, "%u", i);
        show_worker(name, &now->workers[i], i < before->worker_count ? &before->workers[i] : &now->workers[i], seconds, screen);
    }
    snprintf(name, sizeof name, "all %u", now->worker_count);
    show_worker(name, &sum, now->worker_count == before->worker_count ? &sum_before : &sum, seconds, screen);
}

/* Pools' names get a third of what the numbers leave, unless servers' need less than the rest. */
struct widths {
    int pool, server;
};

#define NUMBERS_WIDTH 45 /* of a server's line behind its names, with the blank between those */
#define MORE_WIDTH 15    /* of the two last numbers, for those who have the room */
#define WIDE_COLUMNS 120

static bool is_wide(const struct screen *screen)
{
    return !screen->live || screen->columns >= WIDE_COLUMNS;
}

static int int_max(int a, int b)
{
    return a > b ? a : b;
}

static struct widths widths_of(const struct sample *sample, const struct screen *screen)
{
    struct widths w = { 10, 22 };
    for (unsigned i = 0; i < sample->server_count; i++) {
        w.pool = int_max(w.pool, (int)strlen(sample->servers[i].pool));
        w.server = int_max(w.server, (int)strlen(sample->servers[i].address));
    }
    int room = int_max(screen->columns - NUMBERS_WIDTH - (is_wide(screen) ? MORE_WIDTH : 0), 32);
    if (!screen->live || w.pool + w.server <= room)
        return w;
    if (w.pool > room / 3)
        w.pool = int_max(room / 3, room - w.server);
    w.server = room - w.pool;
    return w;
}

static const char *latency_text(double ms, char out[32])
{
    if (ms < 0)
        return "-";
    snprintf(out, 32, "%.2f", ms);
    return out;
}

static void show_servers(const struct sample *now, const struct sample *before, double seconds, struct screen *screen)
{
    struct widths w = widths_of(now, screen);
    char p50[32], p99[32], more[64] = "";
    bool wide = is_wide(screen);
    put_line(screen, "%-*s %-*s %-8s %9s %6s %8s %8s%s", w.pool, "pool", w.server, "server", "state", "req/s", "busy", "p50 ms", "p99 ms",
             wide ? "  again/s marks" : "");
    for (unsigned i = 0; i < now->server_count; i++) {
        const struct server_sample *s = &now->servers[i], *b = same_server(before, s);
        if (wide)
            snprintf(more, sizeof more, " %8.0f %5llu", rate(s->again, b ? b->again : s->again, seconds), s->marks);
        put_line(screen, "%-*.*s %-*.*s %-8.8s %9.0f %6llu %8s %8s%s", w.pool, w.pool, s->pool, w.server, w.server, s->address, s->state,
                 rate(s->requests, b ? b->requests : s->requests, seconds), s->busy, latency_text(top_quantile(s, b, 0.5), p50),
                 latency_text(top_quantile(s, b, 0.99), p99), more);
    }
}

static void show_cache(const struct cache_sample *now, const struct cache_sample *before, double seconds, struct screen *screen)
{
    double hits = rate(now->hits, before->hits, seconds);
    double all = hits + rate(now->misses, before->misses, seconds) + rate(now->passed, before->passed, seconds);
    char share[32] = "-";
    if (now->bytes_max == 0)
        return;
    if (all > 0)
        snprintf(share, sizeof share, "%.1f", 100 * hits / all);
    put_line(screen, "%s", "");
    put_line(screen, "%-8s %10s %10s %10s %10s %10s %10s %10s", "cache", "hit/s", "hit %", "miss/s", "pass/s", "stale/s", "objects", "MiB");
    put_line(screen, "%-8s %10.0f %10s %10.0f %10.0f %10.0f %10llu %10.1f of %.0f, %.0f evicted/s", "", hits, share,
             rate(now->misses, before->misses, seconds), rate(now->passed, before->passed, seconds), rate(now->stale, before->stale, seconds),
             now->objects, (double)now->bytes / (1 << 20), (double)now->bytes_max / (1 << 20), rate(now->evicted, before->evicted, seconds));
}

void top_show(const struct sample *now, const struct sample *before, struct screen screen)
{
    double seconds = now->at - before->at;
    screen.used = 0;
    put_line(&screen, "weir: up %llu s, configuration %llu%s", now->uptime_ms / 1000, now->generation, screen.live ? "; q leaves" : "");
    put_line(&screen, "%s", "");
    show_workers(now, before, seconds, &screen);
    show_cache(&now->cache, &before->cache, seconds, &screen);
    put_line(&screen, "%s", "");
    show_servers(now, before, seconds, &screen);
    if (screen.live && screen.used < screen.rows)
        fputs("\r\n\033[J", screen.out);
    fflush(screen.out);
}

static struct screen screen_now(bool live)
{
    struct winsize size = { 0 };
    if (!live || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        return (struct screen){ .out = stdout, .live = live, .rows = ROWS_USUAL, .columns = COLUMNS_USUAL };
    return (struct screen){ .out = stdout, .live = true, .rows = size.ws_row, .columns = size.ws_col };
}

/* The terminal ------------------------------------------------------------------------------------------------- */

/* The screen is left as it was found on every way out: keys, signals, an engine that went away. Safe in a signal's handler. */
static void leave_screen(void)
{
    static const char back[] = "\033[?25h\033[?1049l";
    (void)!write(STDOUT_FILENO, back, sizeof back - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

/* Whatever top is doing, waiting for an engine that does not answer too. */
static void on_signal(int number)
{
    (void)number;
    leave_screen();
    _exit(EXIT_OK);
}

static void enter_screen(void)
{
    struct sigaction leave = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
    struct termios raw;
    tcgetattr(STDIN_FILENO, &terminal_before);
    sigaction(SIGINT, &leave, NULL);
    sigaction(SIGTERM, &leave, NULL);
    sigaction(SIGHUP, &leave, NULL);
    sigaction(SIGQUIT, &leave, NULL);
    raw = terminal_before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped top would leave its screen behind */
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    sigaction(SIGTTOU, &ignore, NULL); /* from here the terminal is put right even from the background */
    fputs("\033[?1049h\033[?25l", stdout);
    fflush(stdout);
}

/* False when somebody wants to leave, or the terminal has gone. Other keys change nothing. */
static bool wait_for_key(double seconds)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    double end = seconds_now() + seconds, left;
    char keys[64];
    while ((left = end - seconds_now()) > 0) {
        if (poll(&input, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        ssize_t count = read(STDIN_FILENO, keys, sizeof keys);
        if (count <= 0 || memchr(keys, 'q', (size_t)count) || memchr(keys, 'Q', (size_t)count))
            return false;
    }
    return true;
}

static int watch(const struct options *options, struct sample samples[2], char why[256])
{
    int code = EXIT_OK;
    enter_screen();
    bool on = wait_for_key(FIRST_MS / 1e3);
    for (unsigned turn = 1; on; turn++) {
        struct sample *now = &samples[turn % 2];
        code = take_sample(options, now, why);
        if (code != EXIT_OK)
            break;
        top_show(now, &samples[(turn + 1) % 2], screen_now(true));
        on = wait_for_key(REFRESH_MS / 1e3);
    }
    leave_screen();
    return code;
}

/* Two samples a second apart, so that rates are there. */
static int once(const struct options *options, struct sample samples[2], char why[256])
{
    struct timespec second = { .tv_sec = 1 };
    nanosleep(&second, NULL);
    int code = take_sample(options, &samples[1], why);
    if (code == EXIT_OK)
        top_show(&samples[1], &samples[0], screen_now(false));
    return code;
}

static bool can_watch(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static int show(const struct options *options, char why[256])
{
    struct sample *samples = calloc(2, sizeof *samples);
    snprintf(why, 256, "out of memory");
    if (!samples)
        return EXIT_FAILED;
    int code = take_sample(options, &samples[0], why);
    if (code == EXIT_OK)
        code = options->once || !can_watch() ? once(options, samples, why) : watch(options, samples, why);
    free(samples);
    return code;
}

int verb_top(const struct options *options)
{
    char why[256];
    struct wire_request request = client_request("top", NULL);
    if (options->json)
        return client_ask_and_print(options, &request);
    int code = show(options, why);
    return code == EXIT_OK ? code : print_failure(options, code, why);
}

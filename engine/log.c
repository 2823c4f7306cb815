/*
 * The access log's buffers belong to one worker and are handed to the ring whole: one write in append mode per buffer, so lines of
 * several workers cannot interleave. The error log is rare and goes straight to its descriptor.
 */
#include "engine/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Formatting --------------------------------------------------------------------------------------------------- */

struct line {
    char *at, *end;
};

static void put(struct line *line, struct slice s)
{
    size_t length = size_min(s.length, (size_t)(line->end - line->at));
    if (length)
        memcpy(line->at, s.at, length);
    line->at += length;
}

static void put_number(struct line *line, uint64_t value)
{
    char digits[20];
    unsigned at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    put(line, slice_of(digits + at, sizeof digits - at));
}

/* Microseconds as milliseconds with three decimals. */
static void put_ms(struct line *line, uint64_t us)
{
    char decimals[4] = { '.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10) };
    put_number(line, us / 1000);
    put(line, slice_of(decimals, 4));
}

static bool plain_for_json(unsigned char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Any bytes as the inside of a JSON string: what is not printable ASCII as \u00NN, so the line is JSON whatever a client sends. */
static void put_json_text(struct line *line, struct slice s)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < s.length;) {
        size_t run = i;
        while (run < s.length && plain_for_json((unsigned char)s.at[run]))
            run++;
        if ((size_t)(line->end - line->at) < run - i + 6)
            return;
        put(line, slice_of(s.at + i, run - i));
        i = run;
        if (i == s.length)
            return;
        unsigned char c = (unsigned char)s.at[i++];
        if (c == '"' || c == '\\')
            put(line, slice_of((char[2]){ '\\', (char)c }, 2));
        else
            put(line, slice_of((char[6]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6));
    }
}

/* As Apache does: \xNN for what is not printable, quotes and backslashes escaped. */
static void put_quoted_text(struct line *line, struct slice s)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < s.length && line->end - line->at >= 4; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (plain_for_json(c))
            *line->at++ = (char)c;
        else if (c == '"' || c == '\\')
            put(line, slice_of((char[2]){ '\\', (char)c }, 2));
        else
            put(line, slice_of((char[4]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4));
    }
}

/* Dates are made once a second and thread. */
static _Thread_local struct {
    uint64_t second;
    char json[20];     /* 2026-11-23T20:00:00 */
    char combined[27]; /* 23/Nov/2026:20:00:00 +0000 */
} dates;

static void make_dates(uint64_t second)
{
    time_t when = (time_t)second;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(dates.json, sizeof dates.json, "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(dates.combined, sizeof dates.combined, "%d/%b/%Y:%H:%M:%S +0000", &tm);
    dates.second = second;
}

static void put_json(struct line *line, const char *key, struct slice value)
{
    put(line, SLICE(",\""));
    put(line, slice_of_text(key));
    put(line, SLICE("\":\""));
    put_json_text(line, value);
    put(line, SLICE("\""));
}

static void put_json_number(struct line *line, const char *key, uint64_t value)
{
    put(line, SLICE(",\""));
    put(line, slice_of_text(key));
    put(line, SLICE("\":"));
    put_number(line, value);
}

/* The fixed parts fit beside any one shortened text: each text gets at most a share of what is left. */
static struct slice share(struct slice s, size_t most)
{
    return slice_of(s.at, size_min(s.length, most));
}

#define TEXT_MAX 600u /* bytes of target, referer, user agent; each byte may become six */

size_t log_format_json(const struct log_entry *entry, char *out, size_t cap)
{
    struct line line = { out, out + cap - 2 };
    uint64_t second = entry->unix_us / 1000000u, ms = entry->unix_us / 1000u % 1000u;
    if (dates.second != second)
        make_dates(second);
    put(&line, SLICE("{\"time\":\""));
    put(&line, slice_of(dates.json, 19));
    put(&line, slice_of((char[5]){ '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z' }, 5));
    put(&line, SLICE("\""));
    put_json(&line, "client", entry->client_address);
    put_json_number(&line, "status", entry->status);
    put_json(&line, "method", share(entry->method, 32));
    put_json_number(&line, "sent", entry->sent_bytes);
    put_json_number(&line, "received", entry->received_bytes);
    put(&line, SLICE(",\"duration_ms\":"));
    put_ms(&line, entry->total_us);
    put(&line, SLICE(",\"first_byte_ms\":"));
    put_ms(&line, entry->first_byte_us);
    put_json_number(&line, "attempts", entry->attempts);
    put(&line, entry->complete ? SLICE(",\"complete\":true") : SLICE(",\"complete\":false"));
    put(&line, entry->version_minor ? SLICE(",\"version\":\"1.1\"") : SLICE(",\"version\":\"1.0\""));
    if (entry->cache)
        put_json(&line, "cache", slice_of_text(entry->cache));
    put_json(&line, "why", slice_of_text(entry->why));
    put_json(&line, "route", share(entry->route, 64));
    put_json(&line, "pool", share(entry->pool, 64));
    put_json(&line, "server", share(entry->server, 64));
    put_json(&line, "host", share(entry->host, 100));
    line.end -= 64; /* for the keys and quotes still to come */
    struct slice texts[3] = { entry->target, entry->referer, entry->user_agent };
    static const char *const keys[3] = { "target", "referer", "user_agent" };
    for (unsigned i = 0; i < 3; i++) {
        size_t room = (size_t)(line.end - line.at) / (3 - i);
        struct line part = { line.at, line.at + room };
        put(&part, SLICE(",\""));
        put(&part, slice_of_text(keys[i]));
        put(&part, SLICE("\":\""));
        part.end -= 2;
        put_json_text(&part, share(texts[i], TEXT_MAX));
        part.end += 2;
        put(&part, SLICE("\""));
        line.at = part.at;
    }
    line.end += 64;
    put(&line, SLICE("}\n"));
    return (size_t)(line.at - out);
}

static void put_dash(struct line *line, struct slice s, size_t most)
{
    put(line, SLICE("\""));
    if (s.length == 0)
        put(line, SLICE("-"));
    else
        put_quoted_text(line, share(s, most));
    put(line, SLICE("\""));
}

size_t log_format_combined(const struct log_entry *entry, char *out, size_t cap)
{
    struct line line = { out, out + cap - 1 };
    uint64_t second = entry->unix_us / 1000000u;
    if (dates.second != second)
        make_dates(second);
    put(&line, entry->client_address);
    put(&line, SLICE(" - - ["));
    put(&line, slice_of(dates.combined, 26));
    put(&line, SLICE("] \""));
    put_quoted_text(&line, share(entry->method, 32));
    put(&line, SLICE(" "));
    put_quoted_text(&line, share(entry->target, 400));
    put(&line, entry->version_minor ? SLICE(" HTTP/1.1\" ") : SLICE(" HTTP/1.0\" "));
    put_number(&line, entry->status);
    put(&line, SLICE(" "));
    put_number(&line, entry->sent_bytes);
    put(&line, SLICE(" "));
    put_dash(&line, entry->referer, 250);
    put(&line, SLICE(" "));
    put_dash(&line, entry->user_agent, 250);
    put(&line, SLICE("\n"));
    return (size_t)(line.at - out);
}

/* The access log ----------------------------------------------------------------------------------------------- */

struct buffer {
    struct op op; /* its write */
    struct access_log *log;
    uint32_t used, written;
    int fd;
    char bytes[LOG_BUFFER_BYTES];
};

struct access_log {
    struct access_log_head head; /* first: access_log_on reads it */
    enum log_format format;
    struct loop *loop;
    _Atomic uint64_t *drops;
    struct buffer *buffers[2];
    unsigned filling;
    uint64_t first_ms; /* of the oldest line in the filling buffer */
};

static void write_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct buffer *buffer = CONTAINER_OF(op, struct buffer, op);
    if (result > 0)
        buffer->written += (uint32_t)result;
    bool again = result > 0 || result == -EINTR || result == -EAGAIN;
    if (again && buffer->written < buffer->used) {
        op_write(&buffer->log->loop->ring, op, buffer->fd, buffer->bytes + buffer->written, buffer->used - buffer->written, RING_AT_END);
        return;
    }
    uint64_t lost = 0;
    for (uint32_t i = buffer->written; i < buffer->used; i++)
        lost += buffer->bytes[i] == '\n';
    if (lost)
        atomic_store_explicit(buffer->log->drops, atomic_load_explicit(buffer->log->drops, memory_order_relaxed) + lost, memory_order_relaxed);
    close(buffer->fd);
    buffer->fd = -1;
    buffer->used = buffer->written = 0;
}

struct access_log *access_log_new(struct loop *loop, _Atomic uint64_t *drops)
{
    struct access_log *log = FAULT("access_log") ? NULL : calloc(1, sizeof *log);
    if (!log)
        return NULL;
    log->head.fd = -1;
    log->loop = loop;
    log->drops = drops;
    return log;
}

void access_log_free(struct access_log *log)
{
    for (unsigned i = 0; i < 2; i++) {
        if (log->buffers[i] && log->buffers[i]->fd >= 0)
            close(log->buffers[i]->fd);
        free(log->buffers[i]);
    }
    free(log);
}

bool access_log_quiet(const struct access_log *log)
{
    for (unsigned i = 0; i < 2; i++)
        if (log->buffers[i] && op_armed(&log->buffers[i]->op))
            return false;
    return true;
}

/* Buffers are made when the log is first used: an engine without one does not pay for it. */
static bool have_buffers(struct access_log *log)
{
    for (unsigned i = 0; i < 2; i++) {
        if (log->buffers[i])
            continue;
        log->buffers[i] = FAULT("access_log_buffer") ? NULL : malloc(sizeof *log->buffers[i]);
        if (!log->buffers[i])
            return false;
        memset(log->buffers[i], 0, offsetof(struct buffer, bytes));
        log->buffers[i]->log = log;
        log->buffers[i]->fd = -1;
        log->buffers[i]->op.done = write_done;
    }
    return true;
}

/* A write keeps a descriptor of its own, since a reload may close the log's while it is under way. */
static bool hand_over(struct access_log *log)
{
    struct buffer *buffer = log->buffers[log->filling];
    if (!buffer || buffer->used == 0)
        return true;
    if (op_armed(&log->buffers[!log->filling]->op))
        return false;
    buffer->fd = fcntl(log->head.fd, F_DUPFD_CLOEXEC, 0);
    if (buffer->fd < 0)
        return false;
    op_write(&log->loop->ring, &buffer->op, buffer->fd, buffer->bytes, buffer->used, RING_AT_END);
    log->filling = !log->filling;
    return true;
}

static void drop(struct access_log *log)
{
    atomic_store_explicit(log->drops, atomic_load_explicit(log->drops, memory_order_relaxed) + 1, memory_order_relaxed);
}

void access_log_flush(struct access_log *log)
{
    if (log->head.fd >= 0)
        (void)hand_over(log);
}

void access_log_use(struct access_log *log, int fd, enum log_format format)
{
    access_log_flush(log);
    log->format = format;
    log->head.fd = fd >= 0 && have_buffers(log) ? fd : -1;
}

void access_log_add(struct access_log *log, const struct log_entry *entry)
{
    struct buffer *buffer = log->buffers[log->filling];
    if (LOG_BUFFER_BYTES - buffer->used < LOG_LINE_BYTES_MAX) {
        if (!hand_over(log)) {
            drop(log);
            return;
        }
        buffer = log->buffers[log->filling];
    }
    if (buffer->used == 0)
        log->first_ms = log->loop->now_ms;
    char *at = buffer->bytes + buffer->used;
    size_t length = log->format == LOG_JSON ? log_format_json(entry, at, LOG_LINE_BYTES_MAX) : log_format_combined(entry, at, LOG_LINE_BYTES_MAX);
    buffer->used += (uint32_t)length;
}

void access_log_end_of_turn(struct access_log *log)
{
    if (log->head.fd < 0)
        return;
    const struct buffer *buffer = log->buffers[log->filling];
    if (buffer->used && log->loop->now_ms - log->first_ms >= LOG_FLUSH_MS)
        (void)hand_over(log);
}

/* The error log ------------------------------------------------------------------------------------------------ */

static _Atomic int error_fd = STDERR_FILENO;
static _Atomic int error_level = LOG_NOTICE;

static _Thread_local struct {
    time_t second;
    unsigned lines, suppressed;
} budget;

void log_open(int fd, enum log_level level)
{
    if (fd >= 0)
        atomic_store(&error_fd, fd);
    atomic_store(&error_level, (int)level);
}

bool log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&error_level, memory_order_relaxed);
}

static void write_line(enum log_level level, const char *text)
{
    static const char *const words[] = { "error", "warn", "notice", "info", "debug" };
    char line[1400], date[24];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    int length = snprintf(line, sizeof line, "%s.%03ldZ %s %s\n", date, now.tv_nsec / 1000000, words[level], text);
    if (length > 0)
        (void)!write(atomic_load(&error_fd), line, size_min((size_t)length, sizeof line - 1));
}

/* False when this second has had its share. */
static bool within_budget(void)
{
    struct timespec now;
    char text[64];
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != budget.second) {
        unsigned suppressed = budget.suppressed;
        budget.second = now.tv_sec;
        budget.lines = budget.suppressed = 0;
        if (suppressed) {
            snprintf(text, sizeof text, "%u lines were suppressed", suppressed);
            write_line(LOG_WARN, text);
        }
    }
    if (budget.lines < LOG_ERRORS_PER_SECOND) {
        budget.lines++;
        return true;
    }
    budget.suppressed++;
    return false;
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[1280];
    va_list arguments;
    if (!log_wants(level) || !within_budget())
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    write_line(level, text);
}

const char *log_quote(struct slice bytes, char *out, size_t cap)
{
    struct line line = { out, out + cap - 1 };
    put_quoted_text(&line, bytes);
    *line.at = 0;
    return out;
}

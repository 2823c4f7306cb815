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

/* With room for a line; NULL: it is dropped. */
static struct buffer *buffer_for_line(struct access_log *log)
{
    struct buffer *buffer = log->buffers[log->filling];
    if (LOG_BUFFER_BYTES - buffer->used < LOG_LINE_BYTES_MAX) {
        if (!hand_over(log)) {
            drop(log);
            return NULL;
        }
        buffer = log->buffers[log->filling];
    }
    if (buffer->used == 0)
        log->first_ms = log->loop->now_ms;
    return buffer;
}

void access_log_add(struct access_log *log, const struct log_entry *entry)
{
    struct buffer *buffer = buffer_for_line(log);
    if (!buffer)
        return;
    char *at = buffer->bytes + buffer->used;
    size_t length = log->format == LOG_JSON ? log_format_json(entry, at, LOG_LINE_BYTES_MAX) : log_format_combined(entry, at, LOG_LINE_BYTES_MAX);
    buffer->used += (uint32_t)length;
}

void access_log_add_stream(struct access_log *log, const struct log_stream *entry)
{
    struct buffer *buffer = buffer_for_line(log);
    if (!buffer)
        return;
    char *at = buffer->bytes + buffer->used;
    size_t length = log->format == LOG_JSON ? log_format_stream_json(entry, at, LOG_LINE_BYTES_MAX) : log_format_stream_combined(entry, at, LOG_LINE_BYTES_MAX);
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

/*
 * log: the error log and the access log. The access log never blocks a worker; the error log is few lines and may, where it goes to a slow pipe.
 *
 * Access log: a worker formats a line per request into its own buffer (LOG_BUFFER_BYTES, two of them) and hands a full
 * or LOG_FLUSH_MS old buffer to the ring as one write in append mode, so lines of different workers never mix. While both buffers wait for the disk, lines
 * are dropped and counted (log_drops). Files are opened by the control thread and are passed with each generation, so a reload opens them anew (log
 * rotation).
 *
 * Error log: one line per event: time, level, message; written with one write(2), at most LOG_ERRORS_PER_SECOND lines a second and thread;
 * how many were suppressed is told before the next line of a later second.
 */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include "engine/config.h"
#include "engine/loop.h"

#define LOG_BUFFER_BYTES (64u * 1024u)
#define LOG_FLUSH_MS 500u
#define LOG_LINE_BYTES_MAX 4096u
#define LOG_ERRORS_PER_SECOND 100u

/* What the access log says of one exchange. Slices live until the call returns. */
struct log_entry {
    uint64_t unix_us;         /* when the request's head was complete; times count from here */
    struct slice client_address, client_port;
    struct slice method, target, host;
    unsigned version_minor;
    unsigned status;          /* 0: none was sent */
    uint64_t sent_bytes;      /* of the response's content */
    uint64_t received_bytes;  /* of the request's content */
    uint64_t total_us;
    uint64_t first_byte_us;   /* until the origin's first byte; 0: no origin */
    struct slice referer, user_agent;
    struct slice user;        /* of the forward proxy; empty: none */
    struct slice route, pool, server;
    unsigned attempts;
    const char *cache;        /* what the cache did (caching_word); NULL: the route has none */
    const char *why;          /* short word when something went wrong ("origin_connect"), NULL otherwise */
    bool complete;            /* the whole response was handed to the client */
};

/* And of one TCP connection. */
struct log_stream {
    uint64_t unix_us; /* when it was there */
    struct slice client_address, listener;
    struct slice name; /* asked for by TLS; empty: none, or it was not looked at */
    struct slice pool, server;
    uint64_t sent_bytes;     /* by the server, to the client */
    uint64_t received_bytes; /* from the client */
    uint64_t total_us;
    uint64_t connect_us; /* until the server was there; 0: none was */
    unsigned attempts;
    const char *why; /* as of an exchange */
    bool connected;
};

struct access_log;
struct access_log *access_log_new(struct loop *loop, _Atomic uint64_t *drops); /* NULL: out of memory */
void access_log_free(struct access_log *log); /* waits for nothing: call when its writes are done (access_log_quiet) */
bool access_log_quiet(const struct access_log *log);
/* Descriptor (stays the caller's; -1: off) and format from now on; what is buffered goes to the old one. */
void access_log_use(struct access_log *log, int fd, enum log_format format);
static inline bool access_log_on(const struct access_log *log);
void access_log_add(struct access_log *log, const struct log_entry *entry);
void access_log_add_stream(struct access_log *log, const struct log_stream *entry);
void access_log_end_of_turn(struct access_log *log);
void access_log_flush(struct access_log *log); /* stop: hands over whatever is buffered */

/* Formats one line into out; its length. Never more than cap; what is too long is shortened, the line stays well formed. */
size_t log_format_json(const struct log_entry *entry, char *out, size_t cap);
size_t log_format_combined(const struct log_entry *entry, char *out, size_t cap);
size_t log_format_stream_json(const struct log_stream *entry, char *out, size_t cap);
size_t log_format_stream_combined(const struct log_stream *entry, char *out, size_t cap);

/* Error log, any thread. Set up by the control thread before workers start; level may change at reload. */
void log_open(int fd, enum log_level level);
void log_line(enum log_level level, const char *format, ...) printf_like(2, 3);
bool log_wants(enum log_level level);
/* Quotes hostile bytes for a message: printable ASCII as is, others \xNN, at most cap - 1. Returns out. */
const char *log_quote(struct slice bytes, char *out, size_t cap);

/* For access_log_on. */
struct access_log_head {
    int fd;
};
static inline bool access_log_on(const struct access_log *log)
{
    return ((const struct access_log_head *)(const void *)log)->fd >= 0;
}

#endif

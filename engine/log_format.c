/*
 * Lines of the access log: of a request and of a TCP connection, as JSON and in the form that web servers have always written. Whatever a client sends, a
 * line stays one line, and well-formed.
 */
#include "engine/log.h"

#include <time.h>

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

const char *log_quote(struct slice bytes, char *out, size_t cap)
{
    struct line line = { out, out + cap - 1 };
    put_quoted_text(&line, bytes);
    *line.at = 0;
    return out;
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

static void put_json_time(struct line *line, uint64_t unix_us)
{
    uint64_t second = unix_us / 1000000u, ms = unix_us / 1000u % 1000u;
    if (dates.second != second)
        make_dates(second);
    put(line, SLICE("{\"time\":\""));
    put(line, slice_of(dates.json, 19));
    put(line, slice_of((char[5]){ '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z' }, 5));
    put(line, SLICE("\""));
}

static void put_combined_time(struct line *line, uint64_t unix_us)
{
    uint64_t second = unix_us / 1000000u;
    if (dates.second != second)
        make_dates(second);
    put(line, slice_of(dates.combined, 26));
}

size_t log_format_json(const struct log_entry *entry, char *out, size_t cap)
{
    struct line line = { out, out + cap - 2 };
    put_json_time(&line, entry->unix_us);
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
    if (entry->user.length)
        put_json(&line, "user", share(entry->user, 64));
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

/* A field of its own between blanks, so nothing that would end it may stand in there. */
static void put_name(struct line *line, struct slice name)
{
    char text[64];
    size_t length = size_min(name.length, sizeof text);
    for (size_t i = 0; i < length; i++)
        text[i] = name.at[i] > ' ' && name.at[i] <= '~' && name.at[i] != '"' && name.at[i] != '\\' ? name.at[i] : '_';
    put(line, length ? slice_of(text, length) : SLICE("-"));
}

size_t log_format_combined(const struct log_entry *entry, char *out, size_t cap)
{
    struct line line = { out, out + cap - 1 };
    put(&line, entry->client_address);
    put(&line, SLICE(" - "));
    put_name(&line, entry->user);
    put(&line, SLICE(" ["));
    put_combined_time(&line, entry->unix_us);
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

/* TCP connections ------------------------------------------------------------------------------------------------ */

size_t log_format_stream_json(const struct log_stream *entry, char *out, size_t cap)
{
    struct line line = { out, out + cap - 2 };
    put_json_time(&line, entry->unix_us);
    put_json(&line, "client", entry->client_address);
    put_json(&line, "listener", share(entry->listener, 64));
    put_json(&line, "sni", share(entry->name, 255));
    put_json(&line, "pool", share(entry->pool, 64));
    put_json(&line, "server", share(entry->server, 64));
    put_json_number(&line, "sent", entry->sent_bytes);
    put_json_number(&line, "received", entry->received_bytes);
    put(&line, SLICE(",\"duration_ms\":"));
    put_ms(&line, entry->total_us);
    put(&line, SLICE(",\"connect_ms\":"));
    put_ms(&line, entry->connect_us);
    put_json_number(&line, "attempts", entry->attempts);
    put(&line, entry->connected ? SLICE(",\"connected\":true") : SLICE(",\"connected\":false"));
    put_json(&line, "why", slice_of_text(entry->why));
    put(&line, SLICE("}\n"));
    return (size_t)(line.at - out);
}

/* In the place of the request stand TCP and the name that was asked for, else the listener; in the status's, what HTTP would say of it. */
size_t log_format_stream_combined(const struct log_stream *entry, char *out, size_t cap)
{
    struct line line = { out, out + cap - 1 };
    put(&line, entry->client_address);
    put(&line, SLICE(" - - ["));
    put_combined_time(&line, entry->unix_us);
    put(&line, SLICE("] \"TCP "));
    put_quoted_text(&line, share(entry->name.length ? entry->name : entry->listener, 255));
    put(&line, SLICE("\" "));
    put_number(&line, entry->connected ? 200 : 502);
    put(&line, SLICE(" "));
    put_number(&line, entry->sent_bytes);
    put(&line, SLICE(" \"-\" "));
    put_dash(&line, slice_of_text(entry->why), 64);
    put(&line, SLICE("\n"));
    return (size_t)(line.at - out);
}

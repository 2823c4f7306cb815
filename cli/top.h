/*
 * top: what `weir top` is made of, for its tests.
 */
#ifndef WEIR_CLI_TOP_H
#define WEIR_CLI_TOP_H

#include <stdbool.h>
#include <stdio.h>

#define TOP_WORKERS 256
#define TOP_SERVERS 1024
#define TOP_BUCKETS 20     /* of a histogram: bucket i counts what took less than 2^i * TOP_BUCKET_US */
#define TOP_BUCKET_US 64.0

struct worker_sample {
    unsigned long long requests, clients, in_flight, cpu_us, sent_bytes, errors;
};

/* Names are as long as a configuration may make them. */
struct server_sample {
    char pool[65], address[260], state[16];
    unsigned long long requests, busy, again, marks;
    unsigned long long buckets[TOP_BUCKETS];
};

/* All zero where there is no cache: it has some memory otherwise. */
struct cache_sample {
    unsigned long long hits, misses, passed, stale, objects, bytes, bytes_max, evicted;
};

struct sample {
    double at; /* seconds */
    unsigned long long uptime_ms, generation;
    struct cache_sample cache;
    unsigned worker_count, server_count;
    struct worker_sample workers[TOP_WORKERS];
    struct server_sample servers[TOP_SERVERS];
};

/* Where to: live is a terminal, whose rows and columns are all there is; otherwise lines follow each other, as long as they are. */
struct screen {
    FILE *out;
    bool live;
    int rows, columns;
    int used; /* rows so far; private */
};

/* Adds what one line of a sample says; a line that is not understood says nothing. */
void top_read_line(struct sample *sample, const char *line);

/* Milliseconds below which a share (0..1) of the responses between two samples of a server came; negative: none came. before may be NULL. */
double top_quantile(const struct server_sample *now, const struct server_sample *before, double share);

/* Shows rates between two samples, over what was there. What a live screen has no room for is left out. */
void top_show(const struct sample *now, const struct sample *before, struct screen screen);

#endif

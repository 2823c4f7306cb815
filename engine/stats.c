#include "engine/stats.h"

struct row {
    const char *name, *kind, *help;
    size_t offset;
};

#define STATS_AS_ROW(name, kind, help) { #name, #kind, help, offsetof(struct worker_stats, name) },
static const struct row rows[] = { STATS_ROWS(STATS_AS_ROW) };

#define SERVER_AS_ROW(name, text) { #name, "counter", text, offsetof(struct server_counters, name) },
static const struct row server_rows[] = { SERVER_COUNTER_ROWS(SERVER_AS_ROW) };

#define ROUTE_AS_ROW(name, text) { #name, "counter", text, offsetof(struct route_counters, name) },
static const struct row route_rows[] = { ROUTE_COUNTER_ROWS(ROUTE_AS_ROW) };

#define CACHE_AS_ROW(name, kind, help) { #name, #kind, help, offsetof(struct cache_view, name) },
static const struct row cache_rows[] = { CACHE_ROWS(CACHE_AS_ROW) };

#define DISK_GAUGE_AS_ROW(name, text) { #name, "gauge", text, offsetof(struct disk_view, name) },
#define DISK_COUNT_AS_ROW(name, text) { #name, "counter", text, offsetof(struct disk_view, name) },
static const struct row disk_rows[] = { DISK_GAUGE_ROWS(DISK_GAUGE_AS_ROW) DISK_COUNT_ROWS(DISK_COUNT_AS_ROW) };

static const struct row server_gauges[] = {
    { "open", "gauge", "connections open, kept ones included", offsetof(struct server_counters, open) },
    { "idle", "gauge", "connections kept for the next request", offsetof(struct server_counters, idle) },
    { "busy", "gauge", "requests in progress", offsetof(struct server_counters, busy) },
};

static uint64_t value_at(const void *base, size_t offset)
{
    return counter_get((const _Atomic uint64_t *)(const void *)((const char *)base + offset));
}

static void head(struct text *out, const char *prefix, const struct row *row)
{
    const char *suffix = row->kind[0] == 'c' ? "_total" : "";
    text_format(out, "# HELP %s%s%s %s\n# TYPE %s%s%s %s\n", prefix, row->name, suffix, row->help, prefix, row->name, suffix, row->kind);
}

/* A label's value: backslash, quote and line end escaped (Prometheus text format 0.0.4). */
static void put_label(struct text *out, struct slice value)
{
    for (size_t i = 0; i < value.length; i++) {
        char c = value.at[i];
        if (c == '\n')
            text_add(out, SLICE("\\n"));
        else {
            if (c == '"' || c == '\\')
                text_add(out, SLICE("\\"));
            text_add(out, slice_of(&c, 1));
        }
    }
}

static void worker_rows(const struct stats_view *view, struct text *out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const char *suffix = rows[i].kind[0] == 'c' ? "_total" : "";
        head(out, "weir_", &rows[i]);
        for (uint32_t w = 0; w < view->worker_count; w++)
            text_format(out, "weir_%s%s{worker=\"%u\"} %llu\n", rows[i].name, suffix, w,
                        (unsigned long long)value_at(&view->workers[w], rows[i].offset));
    }
}

static void fault_rows(const struct stats_view *view, struct text *out)
{
    text_add(out, SLICE("# HELP weir_requests_refused_total requests refused as malformed, by reason\n# TYPE weir_requests_refused_total counter\n"));
    for (unsigned i = 1; i < CODEC_FAULTS; i++)
        text_format(out, "weir_requests_refused_total{reason=\"%s\"} %llu\n", codec_fault_word((enum codec_fault)i),
                    (unsigned long long)counter_get(&view->total.faults[i]));
    text_add(out, SLICE("# HELP weir_responses_refused_total responses of origins refused as malformed, by reason\n# TYPE weir_responses_refused_total counter\n"));
    for (unsigned i = 1; i < CODEC_FAULTS; i++)
        text_format(out, "weir_responses_refused_total{reason=\"%s\"} %llu\n", codec_fault_word((enum codec_fault)i),
                    (unsigned long long)counter_get(&view->total.origin_faults[i]));
}

static void put_server_labels(struct text *out, const struct server_view *server)
{
    text_add(out, SLICE("pool=\""));
    put_label(out, server->pool);
    text_add(out, SLICE("\",server=\""));
    put_label(out, server->address);
    text_add(out, SLICE("\""));
}

static void server_row(const struct stats_view *view, const struct row *row, struct text *out)
{
    const char *suffix = row->kind[0] == 'c' ? "_total" : "";
    head(out, "weir_server_", row);
    for (uint32_t i = 0; i < view->server_count; i++) {
        text_format(out, "weir_server_%s%s{", row->name, suffix);
        put_server_labels(out, &view->servers[i]);
        text_format(out, "} %llu\n", (unsigned long long)value_at(&view->servers[i].counters, row->offset));
    }
}

/* Pools are sums over their servers, which stand together in the view. */
static void pool_row(const struct stats_view *view, const struct row *row, struct text *out)
{
    const char *suffix = row->kind[0] == 'c' ? "_total" : "";
    head(out, "weir_pool_", row);
    for (uint32_t i = 0; i < view->server_count;) {
        uint64_t sum = 0;
        uint32_t first = i;
        for (; i < view->server_count && slice_equal(view->servers[i].pool, view->servers[first].pool); i++)
            sum += value_at(&view->servers[i].counters, row->offset);
        text_format(out, "weir_pool_%s%s{pool=\"", row->name, suffix);
        put_label(out, view->servers[first].pool);
        text_format(out, "\"} %llu\n", (unsigned long long)sum);
    }
}

static void route_row(const struct stats_view *view, const struct row *row, struct text *out)
{
    head(out, "weir_route_cache_", row);
    for (uint32_t i = 0; i < view->route_count; i++) {
        text_format(out, "weir_route_cache_%s_total{route=\"", row->name);
        put_label(out, view->routes[i].name);
        text_format(out, "\"} %llu\n", (unsigned long long)value_at(&view->routes[i].counters, row->offset));
    }
}

static void plain_row(const char *prefix, const struct row *row, const void *view, struct text *out)
{
    uint64_t value;
    memcpy(&value, (const char *)view + row->offset, sizeof value);
    head(out, prefix, row);
    text_format(out, "%s%s%s %llu\n", prefix, row->name, row->kind[0] == 'c' ? "_total" : "", (unsigned long long)value);
}

/* Where there is a cache. */
static void cache(const struct stats_view *view, struct text *out)
{
    for (size_t i = 0; view->cache.homes && i < ARRAY_LENGTH(cache_rows); i++)
        plain_row("weir_cache_", &cache_rows[i], &view->cache, out);
    for (size_t i = 0; view->disk.there && i < ARRAY_LENGTH(disk_rows); i++)
        plain_row("weir_cache_disk_", &disk_rows[i], &view->disk, out);
    for (size_t i = 0; view->route_count && i < ARRAY_LENGTH(route_rows); i++)
        route_row(view, &route_rows[i], out);
}

static void server_states(const struct stats_view *view, struct text *out)
{
    text_add(out, SLICE("# HELP weir_server_up 1 when requests may go there\n# TYPE weir_server_up gauge\n"));
    for (uint32_t i = 0; i < view->server_count; i++) {
        text_add(out, SLICE("weir_server_up{"));
        put_server_labels(out, &view->servers[i]);
        text_format(out, "} %d\n", view->servers[i].state == HEALTH_UP);
    }
}

/* Buckets as seconds; bucket i holds what took less than 64 us << i. */
static void put_histogram(struct text *out, const char *name, struct text *labels, const _Atomic uint64_t buckets[LATENCY_BUCKETS], const _Atomic uint64_t *sum_us)
{
    uint64_t count = 0;
    const char *comma = labels->length ? "," : "";
    const char *text = labels->length ? labels->at : "";
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        count += counter_get(&buckets[i]);
        if (i + 1 == LATENCY_BUCKETS)
            text_format(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, text, comma, (unsigned long long)count);
        else
            text_format(out, "%s_bucket{%s%sle=\"%.6f\"} %llu\n", name, text, comma, (double)(64ull << i) / 1e6, (unsigned long long)count);
    }
    text_format(out, "%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, text, (double)counter_get(sum_us) / 1e6, name, text, (unsigned long long)count);
}

static void histograms(const struct stats_view *view, struct text *out)
{
    struct text none = { 0 };
    text_add(out, SLICE("# HELP weir_request_seconds whole exchanges\n# TYPE weir_request_seconds histogram\n"));
    put_histogram(out, "weir_request_seconds", &none, view->total.latency, &view->total.latency_us_sum);
    text_add(out, SLICE("# HELP weir_server_first_byte_seconds from the request to the first byte of its response\n"
                        "# TYPE weir_server_first_byte_seconds histogram\n"));
    for (uint32_t i = 0; i < view->server_count; i++) {
        struct text labels = { 0 };
        put_server_labels(&labels, &view->servers[i]);
        put_histogram(out, "weir_server_first_byte_seconds", &labels, view->servers[i].counters.latency, &view->servers[i].counters.latency_us_sum);
        text_release(&labels);
    }
}

void stats_prometheus(const struct stats_view *view, struct text *out)
{
    text_format(out, "# HELP weir_info about this process\n# TYPE weir_info gauge\nweir_info{version=\"%s\"} 1\n", view->version);
    text_format(out, "# HELP weir_uptime_seconds since the start\n# TYPE weir_uptime_seconds gauge\nweir_uptime_seconds %.3f\n", (double)view->uptime_ms / 1e3);
    text_format(out, "# HELP weir_generation of the configuration in use\n# TYPE weir_generation gauge\nweir_generation %llu\n", (unsigned long long)view->generation);
    worker_rows(view, out);
    fault_rows(view, out);
    for (size_t i = 0; i < ARRAY_LENGTH(server_rows); i++)
        server_row(view, &server_rows[i], out);
    for (size_t i = 0; i < ARRAY_LENGTH(server_gauges); i++)
        server_row(view, &server_gauges[i], out);
    for (size_t i = 0; i < ARRAY_LENGTH(server_rows); i++)
        pool_row(view, &server_rows[i], out);
    server_states(view, out);
    cache(view, out);
    histograms(view, out);
}

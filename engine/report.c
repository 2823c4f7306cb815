#include "engine/report.h"

#include <stdio.h>

static unsigned long long get(const _Atomic uint64_t *counter)
{
    return (unsigned long long)counter_get(counter);
}

uint64_t latency_quantile(const _Atomic uint64_t buckets[LATENCY_BUCKETS], double share)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        total += counter_get(&buckets[i]);
    if (total == 0)
        return 0;
    uint64_t wanted = (uint64_t)((double)total * share);
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t here = counter_get(&buckets[i]);
        if (seen + here > wanted) {
            uint64_t low = i ? 64ull << (i - 1) : 0, high = 64ull << i;
            return low + (high - low) * (wanted - seen) / here; /* as if spread evenly inside */
        }
        seen += here;
    }
    return 64ull << (LATENCY_BUCKETS - 1);
}

static void put_string(struct text *json, const char *key, struct slice value)
{
    text_format(json, "\"%s\":", key);
    text_json_string(json, value);
    text_add(json, SLICE(","));
}

void report_version(const struct stats_view *view, struct text *text, struct text *json)
{
    text_format(text, "weir %s (engine)\n", view->version);
    text_add(json, SLICE("{\"version\":"));
    text_json_string(json, slice_of_text(view->version));
    text_add(json, SLICE("}"));
}

void report_metrics(const struct stats_view *view, struct text *text, struct text *json)
{
    stats_prometheus(view, text);
    text_add(json, SLICE("{\"prometheus\":"));
    text_json_string(json, text_slice(text));
    text_add(json, SLICE("}"));
}

double report_hit_ratio(uint64_t hits, uint64_t misses, uint64_t passed)
{
    uint64_t all = hits + misses + passed;
    return all ? 100 * (double)hits / (double)all : 0;
}

void report_bytes(uint64_t bytes, char out[32])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t unit = 0;
    double value = (double)bytes;
    for (; value >= 1024 && unit + 1 < ARRAY_LENGTH(units); unit++)
        value /= 1024;
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void cache_line(const struct stats_view *view, struct text *text)
{
    const struct worker_stats *total = &view->total;
    char used[32], most[32], disk_used[32], disk_most[32];
    if (view->cache.homes == 0)
        return;
    report_bytes(view->cache.bytes, used);
    report_bytes(view->cache.bytes_max, most);
    report_bytes(view->disk.bytes, disk_used);
    report_bytes(view->disk.bytes_max, disk_most);
    text_format(text, "cache           %llu hits (%.1f %%), %llu misses, %llu passed; %llu objects, %s of %s\n", get(&total->cache_hits),
                report_hit_ratio(counter_get(&total->cache_hits), counter_get(&total->cache_misses), counter_get(&total->cache_passed)),
                get(&total->cache_misses), get(&total->cache_passed), (unsigned long long)view->cache.objects, used, most);
    if (view->disk.there)
        text_format(text, "cache disk      %llu objects, %s of %s\n", (unsigned long long)view->disk.objects, disk_used, disk_most);
}

static void tunnels_line(const struct worker_stats *total, struct text *text)
{
    if (counter_get(&total->tunnels_opened))
        text_format(text, "tunnels         %llu open, %llu opened\n", get(&total->tunnels), get(&total->tunnels_opened));
}

static void tcp_line(const struct worker_stats *total, struct text *text)
{
    if (counter_get(&total->tcp_connections))
        text_format(text, "tcp             %llu open, %llu taken up\n", get(&total->tcp_open), get(&total->tcp_connections));
}

void report_status(const struct stats_view *view, struct text *text, struct text *json)
{
    const struct worker_stats *total = &view->total;
    unsigned up = 0;
    for (uint32_t i = 0; i < view->server_count; i++)
        up += view->servers[i].state == HEALTH_UP;
    text_format(text,
                "weir %s, pid %llu, up %llu s, %s\nconfiguration   generation %llu of \"%.*s\"\nworkers         %u\n"
                "clients         %llu open, %llu idle, %llu accepted\nrequests        %llu, %llu in flight, %llu waiting\n"
                "responses       2xx %llu  3xx %llu  4xx %llu  5xx %llu\nlatency         p50 %llu us, p99 %llu us\n"
                "servers         %u of %u up\nretries         %llu\nblocks          %llu in use\nallocations     %llu\n",
                view->version, (unsigned long long)view->pid, (unsigned long long)(view->uptime_ms / 1000), view->draining ? "stopping" : "running",
                (unsigned long long)view->generation, (int)view->config_file.length, view->config_file.at ? view->config_file.at : "", view->worker_count,
                get(&total->clients), get(&total->clients_idle), get(&total->accepted), get(&total->requests), get(&total->in_flight), get(&total->queued),
                get(&total->responses_2xx), get(&total->responses_3xx), get(&total->responses_4xx), get(&total->responses_5xx),
                (unsigned long long)latency_quantile(total->latency, 0.5), (unsigned long long)latency_quantile(total->latency, 0.99),
                up, view->server_count, get(&total->retries), get(&total->blocks), get(&total->allocations));
    cache_line(view, text);
    tcp_line(total, text);
    tunnels_line(total, text);
    text_add(json, SLICE("{"));
    put_string(json, "version", slice_of_text(view->version));
    put_string(json, "config", view->config_file);
    text_format(json, "\"pid\":%llu,\"uptime_ms\":%llu,\"generation\":%llu,\"workers\":%u,\"draining\":%s,\"servers\":%u,\"servers_up\":%u", (unsigned long long)view->pid,
                (unsigned long long)view->uptime_ms, (unsigned long long)view->generation, view->worker_count, view->draining ? "true" : "false",
                view->server_count, up);
#define STATS_AS_JSON(name, kind, help) text_format(json, ",\"" #name "\":%llu", get(&total->name));
    STATS_ROWS(STATS_AS_JSON)
#define CACHE_AS_JSON(name, kind, help) text_format(json, ",\"cache_" #name "\":%llu", (unsigned long long)view->cache.name);
    CACHE_ROWS(CACHE_AS_JSON)
#define DISK_AS_JSON(name, help) text_format(json, ",\"cache_disk_" #name "\":%llu", (unsigned long long)view->disk.name);
    DISK_GAUGE_ROWS(DISK_AS_JSON)
    DISK_COUNT_ROWS(DISK_AS_JSON)
    text_add(json, SLICE("}"));
}

/* What most servers have nothing of: where it stands among the pool's tiers, and how often it was marked. */
static void server_remarks(const struct server_view *server, struct text *text)
{
    const char *comma = "  ";
    if (server->group) {
        text_format(text, "%sgroup %u", comma, server->group);
        comma = ", ";
    }
    if (server->zone.length) {
        text_format(text, "%szone %.*s%s", comma, (int)server->zone.length, server->zone.at, server->far ? " (far)" : "");
        comma = ", ";
    }
    if (counter_get(&server->counters.marks))
        text_format(text, "%smarked %llu times", comma, get(&server->counters.marks));
}

static void server_text(const struct server_view *server, struct text *text)
{
    const struct server_counters *counters = &server->counters;
    char state[64];
    const char *why = "";
    if (server->state == HEALTH_MARKED || server->state == HEALTH_TRIAL_DUE)
        why = server_outcome_word(server->last_outcome);
    if (server->unresolved && server->state == HEALTH_DOWN)
        why = "no address";
    snprintf(state, sizeof state, "%s%s%s", health_state_word(server->state), why[0] ? ": " : "", why);
    text_format(text, "  %-28.*s %-18s %6u %8llu %6llu %10llu %8llu %8llu %8llu %8llu", (int)server->address.length, server->address.at, state, server->weight,
                get(&counters->busy), get(&counters->idle), get(&counters->requests), get(&counters->retries), get(&counters->hedges),
                (unsigned long long)latency_quantile(counters->latency, 0.5), (unsigned long long)latency_quantile(counters->latency, 0.99));
    if (server->name.length)
        text_format(text, "  %.*s", (int)server->name.length, server->name.at);
    server_remarks(server, text);
    if (server->check_what[0])
        text_format(text, "  %s (%.1f ms), %llu s ago", server->check_what, server->check_took_us / 1000.0, (unsigned long long)(server->check_age_ms / 1000));
    text_add(text, SLICE("\n"));
}

static void server_json(const struct server_view *server, struct text *json)
{
    const struct server_counters *counters = &server->counters;
    text_add(json, SLICE("{"));
    put_string(json, "pool", server->pool);
    put_string(json, "address", server->address);
    put_string(json, "name", server->name);
    put_string(json, "state", slice_of_text(health_state_word(server->state)));
    put_string(json, "zone", server->zone);
    bool failed = server->failures || server->state == HEALTH_MARKED || server->state == HEALTH_TRIAL_DUE;
    put_string(json, "last_failure", slice_of_text(failed ? server_outcome_word(server->last_outcome) : ""));
    text_format(json, "\"group\":%u,", server->group);
    text_format(json, "\"weight\":%u,\"max_connections\":%u,\"marked_for_ms\":%llu,\"failures\":%u,\"drained\":%s,\"checked\":\"%s\"", server->weight,
                server->max_connections, (unsigned long long)server->marked_for_ms, server->failures, server->drained ? "true" : "false",
                server->checked == HEALTH_CHECK_UP ? "up" : server->checked == HEALTH_CHECK_DOWN ? "down" : "unchecked");
    text_add(json, SLICE(",\"last_check\":"));
    text_json_string(json, slice_of_text(server->check_what));
    if (server->check_what[0]) {
        text_format(json, ",\"last_check_age_ms\":%llu,\"last_check_us\":%u", (unsigned long long)server->check_age_ms, server->check_took_us);
    }
    text_format(json, ",\"open\":%llu,\"idle\":%llu,\"busy\":%llu,\"first_byte_p50_us\":%llu,\"first_byte_p99_us\":%llu", get(&counters->open), get(&counters->idle),
                get(&counters->busy), (unsigned long long)latency_quantile(counters->latency, 0.5), (unsigned long long)latency_quantile(counters->latency, 0.99));
#define SERVER_AS_JSON(name, help) text_format(json, ",\"" #name "\":%llu", get(&counters->name));
    SERVER_COUNTER_ROWS(SERVER_AS_JSON)
    text_add(json, SLICE("}"));
}

void report_pools(const struct stats_view *view, struct text *text, struct text *json)
{
    text_add(json, SLICE("{\"servers\":["));
    for (uint32_t i = 0; i < view->server_count; i++) {
        const struct server_view *server = &view->servers[i];
        if (i == 0 || !slice_equal(server->pool, view->servers[i - 1].pool))
            text_format(text, "%s%.*s\n  %-28s %-18s %6s %8s %6s %10s %8s %8s %8s %8s  %s\n", i ? "\n" : "", (int)server->pool.length, server->pool.at, "server",
                        "state", "weight", "busy", "idle", "requests", "retries", "hedges", "p50 us", "p99 us", "last check");
        server_text(server, text);
        if (i)
            text_add(json, SLICE(","));
        server_json(server, json);
    }
    text_add(json, SLICE("]}"));
}

/* The texts are for `weir top` (cli/top.c): a line per worker and server, words separated by spaces, cumulative counters. */
static void server_sample(const struct server_view *server, struct text *text)
{
    const struct server_counters *counters = &server->counters;
    text_format(text, "server %s %llu %llu %llu %llu ", health_state_word(server->state), get(&counters->requests), get(&counters->busy),
                get(&counters->retries) + get(&counters->hedges), get(&counters->marks));
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        text_format(text, "%s%llu", i ? "," : "", get(&counters->latency[i]));
    text_format(text, " %.*s %.*s\n", (int)server->pool.length, server->pool.at, (int)server->address.length, server->address.at);
}

/* Nothing as text where there is no cache. */
static void cache_sample(const struct stats_view *view, struct text *text, struct text *json)
{
    const struct worker_stats *total = &view->total;
    const struct cache_view *cache = &view->cache;
    if (cache->homes)
        text_format(text, "cache %llu %llu %llu %llu %llu %llu %llu %llu\n", get(&total->cache_hits), get(&total->cache_misses), get(&total->cache_passed),
                    get(&total->cache_stale), (unsigned long long)cache->objects, (unsigned long long)cache->bytes, (unsigned long long)cache->bytes_max,
                    (unsigned long long)cache->evicted);
    text_format(json, "],\"cache\":{\"homes\":%u,\"hits\":%llu,\"misses\":%llu,\"passed\":%llu,\"stale\":%llu", cache->homes, get(&total->cache_hits),
                get(&total->cache_misses), get(&total->cache_passed), get(&total->cache_stale));
#define CACHE_AS_SAMPLE(name, kind, help) text_format(json, ",\"" #name "\":%llu", (unsigned long long)cache->name);
    CACHE_ROWS(CACHE_AS_SAMPLE)
    text_add(json, SLICE("}"));
}

void report_top(const struct stats_view *view, struct text *text, struct text *json)
{
    text_format(text, "engine %llu %llu %u %u\n", (unsigned long long)view->uptime_ms, (unsigned long long)view->generation, view->worker_count, view->server_count);
    text_format(json, "{\"uptime_ms\":%llu,\"generation\":%llu,\"workers\":[", (unsigned long long)view->uptime_ms, (unsigned long long)view->generation);
    for (uint32_t i = 0; i < view->worker_count; i++) {
        const struct worker_stats *worker = &view->workers[i];
        text_format(text, "worker %u %llu %llu %llu %llu %llu %llu\n", i, get(&worker->requests), get(&worker->clients), get(&worker->in_flight),
                    get(&worker->cpu_us), get(&worker->client_sent_bytes), get(&worker->responses_5xx));
        text_format(json, "%s{\"requests\":%llu,\"clients\":%llu,\"in_flight\":%llu,\"cpu_us\":%llu,\"sent_bytes\":%llu,\"responses_5xx\":%llu}", i ? "," : "",
                    get(&worker->requests), get(&worker->clients), get(&worker->in_flight), get(&worker->cpu_us), get(&worker->client_sent_bytes), get(&worker->responses_5xx));
    }
    cache_sample(view, text, json);
    text_add(json, SLICE(",\"servers\":["));
    for (uint32_t i = 0; i < view->server_count; i++) {
        server_sample(&view->servers[i], text);
        if (i)
            text_add(json, SLICE(","));
        server_json(&view->servers[i], json);
    }
    text_add(json, SLICE("]}"));
}

/* The keys of a pool and its servers. What becomes of requests when those fail stands in config_rows_failure.c, active checks in config_rows_health.c. */
#include "engine/config_decode.h"
#include "engine/config_rows.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"
#include "engine/expansion.h"

#define BALANCE_AS_WORD(id, word, policy) { word, id },
static const struct row_word balance_words[] = { BALANCE_ROWS(BALANCE_AS_WORD){ NULL, 0 } };
static const struct row_word hash_balance_words[] = { HASH_BALANCE_ROWS(BALANCE_AS_WORD){ NULL, 0 } };

static bool server_has_group(const void *target)
{
    return !((const struct config_server *)target)->backup;
}

static const struct row_word addresses_words[] = { { "auto", ADDRESSES_AUTO }, { "each", ADDRESSES_EACH }, { "any", ADDRESSES_ANY }, { NULL, 0 } };

static bool server_has_weight(const void *target)
{
    return !address_is_service(((const struct config_server *)target)->address.text);
}
static const struct row server_rows[] = {
    { .word = "address", .type = TYPE_SERVER_ADDRESS, MEMBER(config_server, address), .required = true,
      .example = "address: 127.0.0.1:9001",
      .doc = "host:port, [IPv6]:port, unix:/path, or srv:NAME for an SRV record. Names are looked up by DNS (see dns) and followed while the "
             "engine runs; one that does not resolve stops nothing." },
    { .word = "weight", .type = TYPE_COUNT, MEMBER(config_server, weight), .least = 1, .most = SERVER_WEIGHT_MAX, .usual = "1",
      .applies = server_has_weight,
      .doc = "Share of the requests, against the other servers' weights." },
    { .word = "max-connections", .type = TYPE_COUNT, MEMBER(config_server, max_connections), .most = 1000000, .usual = "none",
      .zero = "none", .doc = "Requests at once, for the whole process. Further ones wait in the pool's queue." },
    { .word = "backup", .type = TYPE_FLAG, MEMBER(config_server, backup), .usual = "false",
      .doc = "Asked only when the others cannot take a request; the same as group 1." },
    { .word = "group", .type = TYPE_COUNT, MEMBER(config_server, group), .most = SERVER_GROUP_MAX, .usual = "0",
      .applies = server_has_group,
      .doc = "Group 0 is asked first; the next when the groups before it cannot take a request, see spill-over." },
    { .word = "zone", .type = TYPE_NAME, MEMBER(config_server, zone),
      .doc = "Where it stands. Servers of another zone than the engine's own (zone at the top) come after the others of their group." },
};
const struct section section_server = {
    .noun = "server", SECTION(config_server, server_rows), .scalar_key = "address", .finish = finish_server,
    .doc = "An origin server; its address alone suffices.",
};

static bool rate_present(const void *target)
{
    return ((const struct outlier_rate *)target)->below != 0;
}
static const struct row rate_rows[] = {
    { .word = "below", .type = TYPE_HUNDREDTHS, MEMBER(outlier_rate, below), .least = 10, .most = 1000, .usual = "1.9",
      .doc = "How many standard deviations below the mean of the servers' success rates is too low." },
    { .word = "gap", .type = TYPE_PERCENT, MEMBER(outlier_rate, gap), .most = 100, .usual = "5%",
      .doc = "Of all requests; a rate that is less than this below the mean is never too low." },
};
static const struct section section_rate = {
    .noun = "success-rate", SECTION(outlier_rate, rate_rows), .is_present = rate_present,
    .doc = "Marks servers that fail more requests than the others: no connection, no response in time, a malformed one, or a status of 5xx.",
};

static bool latency_present(const void *target)
{
    return ((const struct outlier_latency *)target)->above != 0;
}
static const struct row latency_rows[] = {
    { .word = "above", .type = TYPE_HUNDREDTHS, MEMBER(outlier_latency, above), .least = 101, .most = 100000, .usual = "3.0",
      .doc = "How many times the median of the servers' mean times to the first byte is too slow." },
    { .word = "least", .type = TYPE_DURATION, MEMBER(outlier_latency, least_ms), .most = HOUR_MS, .usual = "10ms",
      .doc = "A mean up to this is never too slow." },
};
static const struct section section_latency = {
    .noun = "latency", SECTION(outlier_latency, latency_rows), .is_present = latency_present,
    .doc = "Marks servers that answer later than the others.",
};

static bool passive_judges(const void *target)
{
    return outlier_is_judged(&((const struct health_limits *)target)->outlier);
}
static const struct row passive_rows[] = {
    { .word = "fail-after", .type = TYPE_COUNT, MEMBER(health_limits, fail_after), .most = 1000, .usual = "3", .zero = "never",
      .doc = "Failures in a row until a server is passed over." },
    { .word = "back-off", .type = TYPE_DURATION, MEMBER(health_limits, backoff_ms_min), .least = 10, .most = HOUR_MS, .usual = "1s",
      .doc = "For how long at first. Then one request tries it; each further failure doubles the time." },
    { .word = "back-off-max", .type = TYPE_DURATION, MEMBER(health_limits, backoff_ms_max), .least = 10, .most = DAY_MS, .usual = "1m",
      .doc = "The longest time." },
    { .word = "status", .type = TYPE_STATUS_RANGE, MEMBER(health_limits, status_first), .usual = "none", .zero = "none",
      .doc = "Statuses of responses that are failures too: 500-599." },
    { .word = "max-ejected", .type = TYPE_PERCENT, MEMBER(health_limits, outlier.max_ejected), .most = 100, .usual = "100%",
      .doc = "Share of the pool's servers that may be passed over at once for what requests met; one may always be, unless it is 0%." },
    { .word = "success-rate", .type = TYPE_SECTION, MEMBER(health_limits, outlier.rate), .section = &section_rate },
    { .word = "latency", .type = TYPE_SECTION, MEMBER(health_limits, outlier.latency), .section = &section_latency },
    { .word = "interval", .type = TYPE_DURATION, MEMBER(health_limits, outlier.interval_ms), .least = 100, .most = HOUR_MS, .usual = "10s",
      .applies = passive_judges, .doc = "How often servers are compared for success-rate and latency, and for how long one is passed over at least." },
    { .word = "min-requests", .type = TYPE_COUNT, MEMBER(health_limits, outlier.requests_min), .least = 1, .most = 1000000, .usual = "100",
      .applies = passive_judges, .doc = "Requests in the interval without which a server is not compared." },
    { .word = "min-servers", .type = TYPE_COUNT, MEMBER(health_limits, outlier.servers_min), .least = 2, .most = UPSTREAM_SERVERS_MAX, .usual = "5",
      .applies = passive_judges, .doc = "Servers with so many requests without which none is judged." },
};
static const struct section section_passive = {
    .noun = "passive-health", SECTION(health_limits, passive_rows), .always = true, .finish = finish_passive,
    .doc = "What failing requests mean for a server.",
};

static const struct row keep_alive_rows[] = {
    { .word = "connections", .type = TYPE_COUNT, MEMBER(idle_limits, count_max), .most = 65535, .usual = "64",
      .doc = "Idle connections kept per worker and server; 0 closes each after its request." },
    { .word = "idle", .type = TYPE_DURATION, MEMBER(idle_limits, idle_ms_max), .least = 10, .most = DAY_MS, .usual = "55s",
      .doc = "How long one may be idle. Keep it below the origins' own limit (often 60s)." },
    { .word = "lifetime", .type = TYPE_DURATION, MEMBER(idle_limits, lifetime_ms_max), .most = 7 * DAY_MS, .usual = "1h",
      .zero = "none", .doc = "How old one may become." },
    { .word = "requests", .type = TYPE_COUNT, MEMBER(idle_limits, requests_max), .most = UINT32_MAX, .usual = "none",
      .zero = "none", .doc = "How many requests one may serve." },
    { .word = "warm", .type = TYPE_COUNT, MEMBER(idle_limits, warm), .most = 65535, .usual = "none", .zero = "none",
      .doc = "Idle connections that are kept ready to each server that is up, for the whole process: opened ahead of requests, TLS handshake "
             "included, a few each second, no more than 'connections' on a worker. One that cannot be opened is counted and logged and marks no "
             "server." },
    { .word = "borrow", .type = TYPE_FLAG, MEMBER(idle_limits, borrow), .usual = "false",
      .doc = "A worker that has no idle connection to a server takes one over from the worker that has most, before it opens one. For origins that "
             "bear few connections: a third fewer where clients come and go (two workers), none fewer where they stay. It saves no CPU, so it is "
             "off unless asked for. Plain connections only." },
};
static const struct section section_keep_alive = {
    .noun = "keep-alive", SECTION(idle_limits, keep_alive_rows), .always = true,
    .doc = "Connections to origins that are kept for the next request.",
};

static const struct row pool_timeout_rows[] = {
    { .word = "connect", .type = TYPE_DURATION, MEMBER(config_pool, connect_ms), .least = 1, .most = HOUR_MS, .usual = "3s",
      .doc = "Until a connection stands." },
    { .word = "first-byte", .type = TYPE_DURATION, MEMBER(config_pool, first_byte_ms), .least = 1, .most = DAY_MS, .usual = "60s",
      .doc = "From the end of the request to the first byte of the response (504)." },
    { .word = "between", .type = TYPE_DURATION, MEMBER(config_pool, between_ms), .least = 1, .most = DAY_MS, .usual = "30s",
      .doc = "Silence inside a response, or an origin that takes no more of the request." },
    { .word = "total", .type = TYPE_DURATION, MEMBER(config_pool, total_ms), .most = 7 * DAY_MS, .usual = "none", .zero = "none",
      .doc = "The whole exchange, retries and body included." },
};
static const struct section section_pool_timeouts = {
    .noun = "timeouts", SECTION(config_pool, pool_timeout_rows), .always = true, .doc = "How long origins may take.",
};

static const struct row queue_rows[] = {
    { .word = "max", .type = TYPE_COUNT, MEMBER(config_pool, queue_max), .most = 1000000, .usual = "1024",
      .doc = "Requests that may wait, for the whole process; 0 answers 503 at once." },
    { .word = "wait", .type = TYPE_DURATION, MEMBER(config_pool, queue_ms), .least = 1, .most = HOUR_MS, .usual = "5s",
      .doc = "How long one may wait (503)." },
};
static const struct section section_queue = {
    .noun = "queue", SECTION(config_pool, queue_rows), .always = true,
    .doc = "Where requests wait while every server is at its max-connections.",
};

static bool pool_hashes(const void *target)
{
    return ((const struct config_pool *)target)->balance == BALANCE_CONSISTENT_HASH;
}
static bool pool_queues(const void *target)
{
    return config_pool_queues(target);
}
static const struct row_word proxy_words[] = { { "off", 0 }, { "v1", 1 }, { "v2", 2 }, { NULL, 0 } };
static const struct row pool_rows[] = {
    { .word = "servers", .type = TYPE_LIST, MEMBER(config_pool, configured), LENGTH_AT(config_pool, configured_count), .required = true,
      .section = &section_server, .least = 1, .most = UPSTREAM_SERVERS_MAX, .example = "servers: [ 127.0.0.1:9001 ]" },
    { .word = "addresses", .type = TYPE_WORD, MEMBER(config_pool, addresses), .words = addresses_words, .usual = "auto",
      .doc = "What becomes of a name with several addresses. each: every address is a server of its own. any: they are ways to one server, "
             "tried in turn when a connection is made. auto: any where a name has at most one address of each family, else each." },
    { .word = "balance", .type = TYPE_WORD, MEMBER(config_pool, balance), .words = balance_words, .usual = "round-robin",
      .doc = "round-robin: in turn, by weight. least-load: the one with the fewest requests in flight. two-choices: the less loaded of "
             "two at random. peak-ewma: of two at random the one with the lower latency of late, times its load. consistent-hash: by hash-key, so that a key stays with its server." },
    { .word = "hash-key", .type = TYPE_HASH_KEY, .usual = "uri", .applies = pool_hashes,
      .doc = "What consistent-hash goes by: uri (path and query), path, host, client-address, header:NAME, cookie:NAME, or query:NAME "
             "(a parameter's value as it stands, not decoded)." },
    { .word = "hash-balance", .type = TYPE_WORD, MEMBER(config_pool, hash_balance), .words = hash_balance_words, .usual = "maglev",
      .applies = pool_hashes,
      .doc = "How consistent-hash finds a key's server. maglev: in a table, even within 2 %. ring: on a circle of points, as ketama does; "
             "less even, and the fewest keys move when servers or weights change." },
    { .word = "load-cap", .type = TYPE_PERCENT, MEMBER(config_pool, load_cap), .least = 101, .most = 10000, .usual = "none",
      .zero = "none", .applies = pool_hashes,
      .doc = "The most that a server may have in flight, of the mean by weight: 125% is a quarter above. What is more goes to the "
             "key's next server." },
    { .word = "spill-over", .type = TYPE_PERCENT, MEMBER(config_pool, spill_over), .most = 100, .usual = "0%",
      .doc = "When less than this share of a group (in the zone) is well, by weight, a part of its requests goes on to the next: at half "
             "of the share half of them. 0%: only when nobody in it is well." },
    { .word = "slow-start", .type = TYPE_DURATION, MEMBER(config_pool, slow_start_ms), .most = HOUR_MS, .usual = "none", .zero = "none",
      .doc = "For how long a server that comes up, or is new, gets less than its share: a tenth of it at first, all of it at the end. "
             "Not at the engine's own start." },
    { .word = "host", .type = TYPE_TEXT, MEMBER(config_pool, host), .check = value_check_authority,
      .doc = "Host that origins see. Otherwise the one the client sent." },
    { .word = "retries", .type = TYPE_COUNT, MEMBER(config_pool, retries), .most = UPSTREAM_TRIES_MAX - 1, .usual = "2",
      .doc = "Further servers to try when one has failed for one of retry's causes." },
    { .word = "retry", .type = TYPE_SECTION, MEMBER(config_pool, retry), .section = &section_retry },
    { .word = "hedge", .type = TYPE_SECTION, MEMBER(config_pool, hedge), .section = &section_hedge },
    { .word = "limits", .type = TYPE_SECTION, MEMBER(config_pool, breakers), .section = &section_breakers },
    { .word = "sticky", .type = TYPE_SECTION, MEMBER(config_pool, sticky), .section = &section_sticky },
    { .word = "timeouts", .type = TYPE_SECTION, .section = &section_pool_timeouts },
    { .word = "keep-alive", .type = TYPE_SECTION, MEMBER(config_pool, idle), .section = &section_keep_alive },
    { .word = "queue", .type = TYPE_SECTION, .section = &section_queue, .applies = pool_queues },
    { .word = "passive-health", .type = TYPE_SECTION, MEMBER(config_pool, health), .section = &section_passive },
    { .word = "panic-threshold", .type = TYPE_PERCENT, MEMBER(config_pool, panic_below), .most = 100, .usual = "0%",
      .doc = "When less than this share of the servers that no command took out (drained, down) is well, marks and checks are ignored: rather some errors than "
             "all requests on the few that are left. 0%: never." },
    { .word = "health", .type = TYPE_SECTION, MEMBER(config_pool, check), .section = &section_check },
    { .word = "tls", .type = TYPE_SECTION, MEMBER(config_pool, tls), .section = &section_pool_tls },
    { .word = "proxy-protocol", .type = TYPE_WORD, MEMBER(config_pool, proxy_protocol), .words = proxy_words, .usual = "off",
      .doc = "v1, v2: each connection to a server begins with a header of the PROXY protocol that names the client, before TLS. It then serves that client's "
             "connection only and ends with it, so servers see more connections. v2 also tells of the client's TLS. Health checks name nobody "
             "(LOCAL, UNKNOWN); none goes to a check's own port." },
};
const struct section section_pool = {
    .noun = "pool", SECTION(config_pool, pool_rows), .finish = finish_pool,
    .doc = "Origin servers that can stand in for each other, by name.",
};

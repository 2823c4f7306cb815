/*
 * stats: what is counted, one table of rows, and how it is shown.
 *
 * Each worker counts in its own struct worker_stats: written by that worker only (plain additions through relaxed atomics, no lock prefix), read by
 * the control thread whenever somebody asks. Totals are sums at reading time. Servers' counters are in pool/upstream.h.
 */
#ifndef WEIR_STATS_H
#define WEIR_STATS_H

#include "engine/base/text.h"
#include "engine/disk.h"
#include "pool/upstream.h"
#include "proto/codec.h"

/* name, kind (counter or gauge), help */
/* clang-format off */
#define STATS_ROWS(X)                                                                                  \
    X(accepted,            counter, "client connections accepted")                                     \
    X(accept_failures,     counter, "accepts that failed (descriptors, memory)")                       \
    X(refused_connections, counter, "client connections closed at once: limits.connections reached")   \
    X(clients,             gauge,   "client connections open")                                         \
    X(clients_idle,        gauge,   "client connections between requests")                             \
    X(requests,            counter, "requests received")                                               \
    X(responses_1xx,       counter, "interim responses sent")                                          \
    X(responses_2xx,       counter, "responses sent with a 2xx status")                                \
    X(responses_3xx,       counter, "responses sent with a 3xx status")                                \
    X(responses_4xx,       counter, "responses sent with a 4xx status")                                \
    X(responses_5xx,       counter, "responses sent with a 5xx status")                                \
    X(in_flight,           gauge,   "requests in progress")                                            \
    X(client_received_bytes, counter, "bytes of content received from clients")                        \
    X(client_sent_bytes,   counter, "bytes of content sent to clients")                                \
    X(client_aborts,       counter, "clients that left before their response was complete")            \
    X(response_cuts,       counter, "responses cut because the origin failed in their middle")         \
    X(head_timeouts,       counter, "clients too slow with a request head")                            \
    X(body_timeouts,       counter, "clients too slow with a request's content")                       \
    X(send_timeouts,       counter, "clients too slow in taking a response")                           \
    X(proxy_headers,       counter, "PROXY headers read")                                              \
    X(proxy_refused,       counter, "connections closed for want of a PROXY header, or for a malformed one") \
    X(proxy_timeouts,      counter, "connections closed for being too slow with a PROXY header")       \
    X(handshakes,          counter, "TLS handshakes completed with clients")                           \
    X(handshakes_resumed,  counter, "of these, those that resumed a session")                          \
    X(handshake_failures,  counter, "TLS handshakes with clients that failed or were cut")             \
    X(handshake_timeouts,  counter, "clients too slow with a TLS handshake")                           \
    X(handshakes_refused,  counter, "TLS connections closed at once: limits.handshakes reached")       \
    X(tls_broken,          counter, "TLS connections ended by a record that breaks the rules")         \
    X(plain_on_tls,        counter, "plain requests sent to a TLS listener (400)")                     \
    X(tls_on_plain,        counter, "TLS sent to a plain listener")                                    \
    X(origin_tls,          counter, "TLS handshakes with origins that failed")                         \
    X(no_route,            counter, "requests that no route takes (404)")                              \
    X(upgrade_refused,     counter, "requests refused for asking CONNECT (501), or an upgrade that their route does not let pass (403)") \
    X(upgrade_malformed,   counter, "WebSocket handshakes refused as malformed (400) or for their version (426)") \
    X(tunnels,             gauge,   "tunnels open: connections that went on in another protocol, WebSocket for one, and those of TCP listeners") \
    X(tunnels_opened,      counter, "tunnels opened")                                                  \
    X(tunnels_closed,      counter, "tunnels that both sides ended")                                   \
    X(tunnels_reset,       counter, "tunnels that one side cut")                                       \
    X(tunnels_idle,        counter, "tunnels closed for silence (timeouts.tunnel, tcp.idle)")                    \
    X(tunnels_stopped,     counter, "tunnels closed by a stop at its deadline")                        \
    X(tunnels_abandoned,   counter, "tunnels closed by what they belonged to: TCP connections as old as tcp.total says")  \
    X(tunnel_received_bytes, counter, "bytes from clients in tunnels")                                 \
    X(tunnel_sent_bytes,   counter, "bytes to clients in tunnels")                                     \
    X(tcp_connections,     counter, "connections of TCP listeners that were taken up")                 \
    X(tcp_open,            gauge,   "of these, those that are open")                                   \
    X(tcp_no_match,        counter, "TCP connections closed: no row of passthrough takes them, and no pool stands beside")  \
    X(tcp_malformed,       counter, "TCP connections closed for a malformed or too large ClientHello") \
    X(tcp_total,           counter, "TCP connections closed since they were as old as tcp.total says") \
    X(forward_requests,    counter, "requests to the forward proxy")                                   \
    X(forward_connects,    counter, "of these, those with CONNECT")                                    \
    X(forward_client,      counter, "requests to the forward proxy from networks that may not use it (403)") \
    X(forward_unknown,     counter, "requests to the forward proxy without a user, or with a wrong password (407)") \
    X(forward_wrong,       counter, "of these, those with a user or password that is not right")       \
    X(forward_busy,        counter, "requests to the forward proxy when too many passwords or names were being looked at (503)") \
    X(forward_limited,     counter, "requests to the forward proxy above forward-proxy.limits.per-user (429)") \
    X(forward_target,      counter, "requests that a forward proxy does not take: of another form, with https://, or CONNECT with content") \
    X(forward_bad_host,    counter, "requests to the forward proxy for what is no host (400)")         \
    X(forward_port,        counter, "CONNECT to a port that is not in forward-proxy.connect-ports (403)") \
    X(forward_denied,      counter, "requests to the forward proxy for hosts that are denied (403)")   \
    X(forward_not_allowed, counter, "requests to the forward proxy for hosts that are not allowed (403)") \
    X(forward_private,     counter, "requests to the forward proxy for addresses inside, or names that stand for them (403)") \
    X(forward_lookups,     counter, "names asked of name servers for the forward proxy")               \
    X(forward_lookup_failures, counter, "requests to the forward proxy for names that do not resolve (502)") \
    X(forward_lookup_timeouts, counter, "requests to the forward proxy whose name was not answered in time (504)") \
    X(body_too_large,      counter, "requests refused for their content's length (413)")               \
    X(origin_connect,      counter, "502, or a TCP connection closed: no connection to an origin could be made")                   \
    X(origin_closed,       counter, "502: the origin closed before a response")                        \
    X(origin_malformed,    counter, "502: the origin's response was malformed")                        \
    X(origin_timeout,      counter, "504: the origin took too long")                                   \
    X(pool_down,           counter, "503, or a TCP connection closed: no server of the pool is well")                              \
    X(pool_full,           counter, "503, or a TCP connection closed: the pool and its queue are full")                            \
    X(panic_picks,         counter, "requests sent to servers that are not well since too few of their pool are") \
    X(queue_timeouts,      counter, "503, or a TCP connection closed: waited too long for a place in the pool")                    \
    X(queue_sheds,         counter, "503, or a TCP connection closed: gave up its place in a full queue to a client with fewer waiting") \
    X(queued,              gauge,   "requests and TCP connections waiting for a place in their pool")                      \
    X(no_memory,           counter, "503, or a connection closed: blocks, exchanges, streams or connections used up")                   \
    X(retries,             counter, "requests sent again after a safe failure")                        \
    X(retries_over_budget, counter, "retries and hedges not made: the pool's budget was used up")      \
    X(retries_limited,     counter, "retries and hedges not made: the pool's limits.retries")          \
    X(hedges,              counter, "second requests sent beside a late first one")                    \
    X(hedges_won,          counter, "of these, those that were answered first")                        \
    X(splice_bytes,        counter, "bytes moved by splice, never copied")                             \
    X(no_pipe,             counter, "bodies copied because no pipe was free")                          \
    X(compressed,          counter, "responses compressed on their way")                               \
    X(compress_taken_bytes, counter, "bytes of content that were compressed")                          \
    X(compress_made_bytes, counter, "bytes that became of them")                                       \
    X(coders_refused,      counter, "responses left as they are: too many were being compressed, or no memory") \
    X(cache_hits,          counter, "requests answered from the cache")                                \
    X(cache_misses,        counter, "requests on routes with a cache that went to an origin, to store its answer if it may be") \
    X(cache_stale,         counter, "of the hits, those answered with a stale response")               \
    X(cache_validated,     counter, "stored responses that an origin confirmed (304)")                 \
    X(cache_collapsed,     counter, "requests that waited for the response to another one")            \
    X(cache_passed,        counter, "requests on routes with a cache that went past it")               \
    X(cache_stored,        counter, "responses stored")                                                \
    X(cache_refused,       counter, "responses not stored for want of room")                           \
    X(cache_hit_bytes,     counter, "bytes of content sent from the cache")                            \
    X(cache_background,    counter, "requests to origins of the cache's own: renewals, slices, wholes")  \
    X(log_drops,           counter, "access log lines dropped")                                        \
    X(blocks,              gauge,   "receive and send blocks in use")                                  \
    X(allocations,         counter, "chunks of memory mapped or allocated since the start: stands still after warm-up") \
    X(ring_enters,         counter, "times the ring was entered")                                      \
    X(ring_completions,    counter, "completions handled")                                             \
    X(ring_no_buffers,     counter, "receives that found no block and waited")                         \
    X(loop_turns,          counter, "turns of the loop")                                               \
    X(cpu_us,              counter, "microseconds of CPU used by the worker's thread")
/* clang-format on */

#define STATS_AS_MEMBER(name, kind, help) _Atomic uint64_t name;
struct worker_stats {
    STATS_ROWS(STATS_AS_MEMBER)
    _Atomic uint64_t faults[CODEC_FAULTS];        /* requests refused, by reason */
    _Atomic uint64_t origin_faults[CODEC_FAULTS]; /* responses refused, by reason */
    _Atomic uint64_t latency[LATENCY_BUCKETS];    /* whole exchange; buckets as in upstream.h */
    _Atomic uint64_t latency_us_sum;
} __attribute__((aligned(CACHE_LINE)));

/* Of a route with a cache, by one worker. name, help. */
/* clang-format off */
#define ROUTE_COUNTER_ROWS(X)                                            \
    X(hits,   "requests answered from the cache, stale ones too")        \
    X(misses, "requests that went to an origin, to store its answer if it may be") \
    X(passed, "requests that went past the cache")                       \
    X(stale,  "requests answered with a stale response")
/* clang-format on */
#define ROUTE_COUNTER_AS_MEMBER(name, help) _Atomic uint64_t name;
struct route_counters {
    ROUTE_COUNTER_ROWS(ROUTE_COUNTER_AS_MEMBER)
} __attribute__((aligned(CACHE_LINE)));

/* A route with a cache over all workers. */
struct route_view {
    struct slice name;
    struct route_counters counters; /* sums */
};

/* The cache's memory at one moment: sums over the homes (cache/cache.h: struct cache_numbers). name, kind, help */
/* clang-format off */
#define CACHE_ROWS(X)                                                                   \
    X(bytes,         gauge,   "memory that stored responses take, with all tables")     \
    X(bytes_max,     gauge,   "memory that they may take")                              \
    X(objects,       gauge,   "responses stored")                                       \
    X(flights,       gauge,   "requests to origins that others may wait for")           \
    X(evicted,       counter, "stored responses that made room for others")             \
    X(evicted_bytes, counter, "bytes of these")                                         \
    X(purged,        counter, "stored responses that were purged")
/* clang-format on */
#define CACHE_AS_MEMBER(name, kind, help) uint64_t name;
struct cache_view {
    uint32_t homes; /* 0: there is no cache */
    CACHE_ROWS(CACHE_AS_MEMBER)
};

/* The cache's disk at one moment (disk.h): these, and what it counted since the start. name, help */
/* clang-format off */
#define DISK_GAUGE_ROWS(X)                                                              \
    X(bytes_max,    "bytes of the disk's files")                                        \
    X(bytes,        "bytes of responses on the disk")                                   \
    X(objects,      "responses on the disk")                                            \
    X(restored,     "of them, those found at the start")                                \
    X(volumes,      "files that responses are in")                                      \
    X(volumes_off,  "of them, those given up after errors")                             \
    X(segments_off, "parts of them that are given up after errors")
/* clang-format on */
struct disk_view {
    bool there;
#define DISK_AS_NUMBER(name, help) uint64_t name;
    DISK_GAUGE_ROWS(DISK_AS_NUMBER)
    DISK_COUNT_ROWS(DISK_AS_NUMBER)
};

/* One server over all workers, gathered by the control thread (server.h fills it). */
struct server_view {
    struct slice pool, address;
    struct slice name; /* that the address comes from; may be empty */
    bool unresolved;   /* a name without an address */
    uint32_t weight, max_connections;
    uint32_t group;
    struct slice zone; /* empty: none */
    bool far;          /* another zone than the engine's */
    enum health_state state;
    enum health_check checked;
    bool drained;
    uint64_t marked_for_ms; /* still */
    uint32_t failures;
    enum server_outcome last_outcome;
    const char *check_what; /* of the last active check; "": none was made. Lives as long as the process */
    uint64_t check_age_ms;
    uint32_t check_took_us;
    struct server_counters counters; /* sums */
};

/* The whole engine at one moment. Arrays are owned by whoever gathered them. */
struct stats_view {
    const char *version;
    uint64_t pid, uptime_ms, generation;
    int64_t started_unix, loaded_unix;
    uint32_t worker_count;
    struct worker_stats *workers; /* copies */
    struct worker_stats total;
    struct server_view *servers;
    uint32_t server_count;
    struct route_view *routes; /* with a cache */
    uint32_t route_count;
    struct cache_view cache;
    struct disk_view disk;
    struct slice config_file;
    bool draining;
};

/* Prometheus text format 0.0.4: all of it; names weir_<row>_total or weir_<row>, labels worker, pool, server, route, reason, le. */
void stats_prometheus(const struct stats_view *view, struct text *out);

#endif

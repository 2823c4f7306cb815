/*
 * config: one configuration, read, checked and immutable.
 *
 * A configuration is a tree made by config_parse.c from a YAML file by one table of rows (config_rows.c: word, type,
 * unit, default, bounds, documentation, reload rule), which also drives defaults, error hints, `weir config show`, the JSON
 * Schema and the manual page. It is built beside the running one; when anything is wrong it is not built at all and every error is
 * told at once. Nothing changes in it afterwards: workers share it without a lock, and it is freed when the last
 * generation that uses it ends (server.h).
 *
 * All strings live in the configuration's own memory. Durations are milliseconds, sizes bytes; 0 means "no limit" only where
 * said.
 */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include <netinet/in.h>
#include <sys/un.h>

#include "engine/base/slice.h"
#include "engine/policy/forward.h"
#include "engine/policy/passthrough.h"
#include "engine/policy/route.h"
#include "pool/budget.h"
#include "pool/upstream.h"
#include "proto/network.h"
#include "proto/tls_context.h"

/* A socket address with its text. */
struct address {
    struct slice text; /* as configured, canonical: "127.0.0.1:80", "[::1]:80", "unix:/path", "example.com:80" */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } socket;
    uint32_t socket_bytes;
    uint16_t port; /* 0 for unix: */
};

struct config_limits {
    uint32_t head_bytes_max;       /* request head; default and most 16 KiB (431) */
    uint32_t target_bytes_max;     /* 414; default 8 KiB */
    uint32_t fields_max;           /* 431; default and most 100 */
    uint64_t body_bytes_max;       /* 413; default 0, no limit */
    uint32_t connections_max;      /* client connections, whole process; default 0: as many as descriptors allow */
    uint32_t requests_per_connection_max; /* default 0: no limit */
    uint32_t handshakes_max;       /* of TLS, begun and not ended, whole process; more are closed; default 4096; 0: no limit */
};

struct config_timeouts {
    uint32_t head_ms;       /* the whole request head, from its first byte (408); default 10 s */
    uint32_t idle_ms;       /* kept-alive client without a request; default 60 s */
    uint32_t body_ms;       /* silence while a request's content is awaited (408); default 30 s */
    uint32_t send_ms;       /* client that takes nothing; default 30 s */
    uint32_t drain_ms;      /* graceful stop: deadline for what is in flight; default 30 s */
    uint32_t handshake_ms;  /* a whole TLS handshake, from the connection's begin; default 10 s */
    uint32_t tunnel_ms;     /* after an upgrade: silence of both sides; default 1 h */
};

/* How large plain content and tunnels' bytes move (splice.h). */
enum zero_copy {
    ZERO_COPY_AUTO, /* what was measured to be cheaper: poll */
    ZERO_COPY_RING,
    ZERO_COPY_POLL,
    ZERO_COPY_OFF
};

/* A certificate with its chain and key, as files; certificates.c reads them. */
struct config_certificate {
    struct slice chain, key;
    struct slice ocsp;   /* a response to staple; empty: none; a listener's only */
    struct slice *names; /* in small letters, "*." in front allowed; none: the certificate's own */
    uint32_t name_count;
};

struct config_client_certificate {
    enum tls_client_mode mode; /* TLS_CLIENT_ANY: none is asked for, the section is not there */
    struct slice ca;
};

/* A listener's `tls`; certificate_count == 0: it speaks plain text. */
struct config_listener_tls {
    struct config_certificate *certificates; /* the first is for names that none has */
    uint32_t certificate_count;
    bool tls12;                   /* `min-version: 1.2`, the default; else 1.3 */
    struct config_words ciphers;  /* IANA's numbers; default: all of config_rows_tls.c */
    struct config_words groups;   /* IANA's numbers (RFC 8446 4.2.7) */
    struct config_client_certificate client;
    bool tickets;                 /* default true */
    bool strict_names;            /* a name that no certificate has is refused; default false */
    uint32_t early_data_bytes_max; /* default 0: none */
    uint64_t hsts_ms;             /* Strict-Transport-Security; default 0: none */
};

/* A pool's `tls`. */
struct config_pool_tls {
    bool on;
    bool verify;              /* default true */
    struct slice ca;          /* empty: the system's */
    struct slice server_name; /* empty: the host part of the server's address */
    struct config_certificate certificate; /* chain empty: none */
    bool tls12;
};

/* `tls` at the top: of the whole process. */
struct config_tls {
    struct slice ticket_keys; /* file; empty: random keys that are turned */
    uint32_t ticket_lifetime_ms; /* default 24 h */
};

/* A listener's `proxy-protocol`: connections from these must say whose they are; from_count == 0: nobody's may. */
struct config_proxied {
    struct network *from;
    uint32_t from_count;
};

/* A listener's `tcp`: bytes are passed to a pool, and no request is looked for. */
struct config_tcp {
    bool on;
    bool has_pool;
    uint32_t pool;  /* index; where all goes, or what no row takes */
    struct passthrough_row *passthrough;
    uint32_t passthrough_count;
    uint32_t idle_ms;  /* default 1 h */
    uint32_t total_ms; /* default 0: no limit */
};

enum listener_serve {
    SERVE_PROXY,  /* the routes */
    SERVE_ADMIN,  /* Prometheus text at /metrics, nothing else */
    SERVE_FORWARD /* `forward-proxy` at the top */
};

struct config_listener {
    struct slice name;     /* "address" text, or the name given; key over reloads */
    struct address address;
    uint32_t backlog;      /* default 4096 */
    uint32_t unix_mode;    /* for unix:, default 0660 */
    uint8_t serve;         /* enum listener_serve; default proxy */
    bool redirect_to_https; /* every request is answered 308; not beside tls */
    struct config_listener_tls tls;
    struct config_proxied proxied;
    struct config_tcp tcp;
};

/* One of several addresses of a server, none of them unix:. */
struct peer_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket;
    uint32_t socket_bytes;
};
#define SERVER_ADDRESSES_MAX 8u /* of a server that stands for a whole name */

struct config_server {
    struct address address;
    uint32_t weight;
    uint32_t max_connections;
    bool backup;       /* the same as group 1 */
    uint32_t group;    /* 0..SERVER_GROUP_MAX, lower ones are asked first; default 0; of an SRV record its priority */
    struct slice zone; /* where it stands; empty: anywhere */
    bool added;       /* by a command, the file has it not */
    bool unresolved;  /* its name has no address so far: address.socket_bytes is 0 */
    struct slice key; /* "pool/address" */
    struct slice name; /* where the address is one that a name stands for, "app.example.com:80"; else empty */
    struct peer_address *more; /* further addresses, in the order to try them after `address`; the configuration's memory */
    uint32_t more_count; /* less than SERVER_ADDRESSES_MAX */
};

/* What becomes of a name with several addresses. */
enum config_addresses {
    ADDRESSES_AUTO, /* any, if it has at most one of each family, else each */
    ADDRESSES_EACH, /* every address is a server of its own */
    ADDRESSES_ANY   /* they are ways to one server */
};

/* Active check: `health: { path: /healthz, interval: 2s }`. interval_ms == 0: none. */
#define CHECK_STATUSES_MAX 8u
#define CHECK_BODY_BYTES_MAX 256u
#define CHECK_FIELDS_BYTES_MAX 2048u /* of `headers`, as written */
enum check_kind { CHECK_HTTP, CHECK_TCP, CHECK_TLS };
struct status_range {
    uint16_t first, last;
};
struct config_check {
    enum check_kind kind;
    enum method method;     /* GET, HEAD or OPTIONS */
    struct slice path;
    struct slice host;      /* Host field to send; default: the server's address */
    struct field_edits headers; /* FIELD_EDIT_SET; without placeholders */
    struct status_range statuses[CHECK_STATUSES_MAX]; /* default 200-399 */
    uint32_t status_count;
    struct slice body;      /* must stand in the content; empty: nobody looks */
    uint32_t port;          /* default 0: the server's */
    uint32_t interval_ms;
    uint32_t interval_down_ms; /* while the server is down; default 0: interval_ms */
    uint32_t timeout_ms;    /* default: 2 s */
    uint32_t rise, fall;    /* default 2, 3 */
};

enum hash_key { HASH_URI, HASH_PATH, HASH_HOST, HASH_CLIENT_ADDRESS, HASH_HEADER, HASH_COOKIE, HASH_QUERY };

/* When another server is asked after one has failed, and how often. */
struct config_retry {
    struct config_words causes;  /* enum server_outcome below 100, statuses from there; default connect, closed */
    uint32_t per_try_ms;         /* to the first byte, while another attempt could follow; default 0: none */
    struct budget_limits budget; /* of retries and hedges; default 20 %, 10 a second */
};

/* A second server beside one that is late; percentile 0: no hedging. */
struct config_hedge {
    uint32_t percentile; /* of the pool's times to the first byte */
    uint32_t after_ms;   /* at the earliest */
};

/* What the pool may have at once, for the whole process; 0: no limit. */
struct config_breakers {
    uint32_t requests_max, connections_max, retries_max;
};

enum same_site { SAME_SITE_LAX, SAME_SITE_STRICT, SAME_SITE_NONE };

/* The cookie that brings a client back to its server; name empty: none. */
struct config_sticky {
    struct slice cookie;
    struct slice secret; /* file; empty: random for each start */
    uint64_t max_age_ms; /* default 0: as long as the browser runs */
    enum same_site same_site;
};

struct config_pool {
    struct slice name;
    struct config_server *servers; /* in force: what names stand for, with the changes of commands (expansion.h) */
    uint32_t server_count;
    struct config_server *configured; /* as the file has them; config_parse leaves `servers` at these */
    uint32_t configured_count;
    enum config_addresses addresses;
    enum balance_kind balance;
    uint32_t spill_over;    /* percent of a tier that is well, below which requests go on to the next; default 0 */
    enum balance_kind hash_balance; /* BALANCE_CONSISTENT_HASH (maglev, the default) or BALANCE_RING */
    uint32_t panic_below;   /* percent; default 0: never */
    uint32_t slow_start_ms; /* of a server that comes up; default 0: none */
    uint32_t load_cap;      /* percent of the mean load that consistent-hash keeps to; default 0: no cap */
    enum hash_key hash_key;
    struct slice hash_name; /* of the header, cookie or query parameter */
    struct slice host;      /* Host to send to origins; empty: the client's */
    struct config_check check;
    struct health_limits health; /* passive: fail-after, back-off */
    struct idle_limits idle;     /* keep-alive: { connections: 64 per worker and server, idle: 55s, lifetime: 1h, requests: 0, warm: 0, borrow: off } */
    uint32_t connect_ms;    /* default 3 s */
    uint32_t first_byte_ms; /* default 60 s; 504 */
    uint32_t between_ms;    /* silence inside a response; default 30 s */
    uint32_t total_ms;      /* whole exchange; default 0: no limit */
    struct config_retry retry;
    struct config_hedge hedge;
    struct config_breakers breakers;
    struct config_sticky sticky;
    uint32_t retries;       /* further attempts after the first; default 2, most UPSTREAM_TRIES_MAX - 1 */
    uint32_t queue_max;     /* exchanges that may wait for a full pool, whole process; default 1024; 0: none, 503 at once */
    uint32_t queue_ms;      /* how long; default 5 s; 503 */
    struct config_pool_tls tls;
    uint32_t proxy_protocol; /* version of the header that each connection to a server begins with; default 0: none */
};

enum dns_family { DNS_ANY, DNS_IPV4, DNS_IPV6 };

/* How names of servers are looked up: resolver.h. */
struct config_dns {
    struct address *servers; /* none: those of resolv.conf */
    uint32_t server_count;
    enum dns_family family;
    uint32_t timeout_ms;    /* of one question to one server, the first time; default 2 s */
    uint32_t tries;         /* default 3 */
    uint32_t ttl_min_ms, ttl_max_ms; /* an answer's lifetime is kept within these; default 5 s, 1 h */
    uint32_t keep_stale_ms; /* addresses of a name that is gone; default 0: for ever */
};

/* Requests may have to wait there: it or one of its servers has a limit. */
static inline bool config_pool_queues(const struct config_pool *pool)
{
    bool limited = pool->breakers.requests_max || pool->breakers.connections_max;
    for (uint32_t i = 0; i < pool->configured_count && !limited; i++)
        limited = pool->configured[i].max_connections != 0;
    return limited;
}

/* `forward-proxy` at the top. */
struct config_forward {
    bool on;
    struct slice users;             /* file; empty: nobody is asked who he is */
    struct slice realm;             /* default "Weir" */
    struct network *clients;        /* who may use it; default loopback, private and link-local ranges, and unix sockets */
    uint32_t client_count;
    struct slice *connect_ports, *deny, *allow; /* as written, in small letters; `policy` has them as they are used */
    uint32_t connect_port_count, deny_count, allow_count;
    struct network *open;           /* `private`; none by default */
    uint32_t open_count;
    bool forwarded;                 /* Via, X-Forwarded-* and the like to the outside, as `via` and `forwarded` say; default false */
    uint32_t per_user;              /* requests and tunnels at once, whole process; default 1000; 0: no limit */
    uint32_t lookup_ms;             /* of a name; default 5 s; 504 */
    struct forward_policy policy;
    struct route route;             /* of all its requests: name, cache, upgrade */
    struct config_pool pool;        /* of all its destinations: timeouts, keep-alive. It has no servers */
};

/* `disk` of the cache at the top; path empty: none. */
struct config_cache_disk {
    struct slice path; /* a folder */
    uint64_t bytes;    /* of all its files; default 1 GiB */
};
/* `cache` at the top; memory_bytes == 0: no route has a cache and the section is not there. */
struct config_cache {
    uint64_t memory_bytes;       /* for all stored responses with everything about them; default 256 MiB where a route has a cache */
    struct network *purge_from;  /* whose PURGE requests are honoured, on routes with a cache; none: nobody's */
    uint32_t purge_from_count;
    struct config_cache_disk disk;
};
#define CACHE_MEMORY_USUAL (256ull << 20)
#define CACHE_HOME_LEAST (1ull << 20) /* of each worker */

enum log_format { LOG_JSON, LOG_COMBINED };
enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

struct config_log {
    struct slice access;    /* path, "stdout", "stderr" or "off" (default off) */
    enum log_format format; /* default json */
    struct slice error;     /* path, "stderr" (default) or "stdout" */
    enum log_level level;   /* default notice */
};

struct config {
    uint32_t workers;       /* 0: auto, one per core of the process's affinity mask */
    struct slice zone;      /* where this engine stands; servers of other zones come after its own */
    bool pin;               /* workers pinned to cores; default true */
    struct config_listener *listeners;
    uint32_t listener_count;
    struct route *routes;
    uint32_t route_count;
    struct config_pool *pools;
    uint32_t pool_count;
    bool tells_names;       /* a pool's servers are told of the names that clients ask for by TLS: `proxy-protocol: v2` */
    struct config_limits limits;
    struct config_timeouts timeouts;
    struct config_log log;
    struct config_tls tls;
    struct config_dns dns;
    struct config_cache cache;
    struct config_forward forward;
    struct slice state_file;      /* empty: none */
    struct network *trusted_proxies;
    uint32_t trusted_proxy_count;
    struct slice via;             /* pseudonym in Via; default "weir"; "off" for none */
    bool forwarded_x, forwarded_rfc7239; /* `forwarded: x | rfc7239 | both | off`; default x */
    struct slice server_header;   /* Server of the engine's own answers; default "weir" */
    struct slice control_socket;  /* default /run/weir.sock */
    uint32_t control_mode;        /* default 0600 */
    uint32_t busy_poll_us;        /* `busy-poll`: bounded spin before sleeping; default 0 (off), most 30 */
    uint8_t zero_copy; /* enum zero_copy; default auto */
    struct slice congestion_control; /* auto (default), system, or a name */
    struct slice file;            /* where it came from; empty for `weir proxy` and `weir demo` */
    struct slice text;            /* what it was parsed from: config_again */
    uint32_t references;          /* config_ref; control thread only */
    void *memory;                 /* private to config.c */
};

/* One thing wrong with a configuration. line and column count from 1; 0: not about a place. */
struct config_problem {
    uint32_t line, column, width; /* width of the caret run; in characters, as column is */
    bool warning;
    char message[256]; /* "unknown key 'adress'" */
    char help[256];    /* "did you mean 'address'?" or "" */
    char note[160];    /* about another place: "'app' stands here already"; or "" */
    uint32_t note_line, note_column;
    char source[256];  /* the line itself or, of a long one, the part around the place; printable, without its end; "" if none */
    uint32_t caret;    /* characters of source before the caret run */
};
#define CONFIG_PROBLEMS_MAX 20u
struct config_problems {
    struct config_problem list[CONFIG_PROBLEMS_MAX];
    uint32_t count;
    uint32_t more; /* that did not fit */
    uint32_t errors;
};

/*
 * Reads text (of the file called file_name, for messages; at most CONFIG_BYTES_MAX). NULL when problems->errors != 0.
 * Warnings may accompany a configuration. Reads no other file and looks no name up: resolver.h does while the engine runs.
 */
#define CONFIG_BYTES_MAX (4u * 1024u * 1024u)
struct config *config_parse(struct slice text, const char *file_name, struct config_problems *problems);

/* Reads the file itself; a file that cannot be read is one problem. Blocking: start-up, `weir check` and the control thread only. */
struct config *config_read(const char *path, struct config_problems *problems);

/* The same text parsed once more, for a generation whose servers are others; what stands in the file by now plays no part. NULL: out of memory. */
struct config *config_again(const struct config *config);

/* Reads the files of TLS that it names (certificates.c): what would refuse a start is an error, what will soon hurt a warning. now: seconds since
 * 1970. Blocking, as the others. */
void config_check_files(const struct config *config, int64_t now, struct config_problems *problems);

/* It has a zone, the engine has one too, and they differ. */
static inline bool config_server_is_far(const struct config *config, const struct config_server *server)
{
    return config->zone.length && server->zone.length && !slice_equal(config->zone, server->zone);
}

/* Gives back a reference; what config_parse and its like return is the first. */
void config_free(struct config *config);
static inline struct config *config_ref(struct config *config)
{
    config->references++;
    return config;
}

/* "file:line:col: error: message", the source line, a caret run, "help: ...". Appends to a growing text; see config_print.c. */
struct text;
void config_problems_print(const struct config_problems *problems, const char *file_name, bool colour, struct text *out);
void config_problems_json(const struct config_problems *problems, const char *file_name, struct text *out);

/* The whole configuration with every default, as YAML that parses to the same again; or as JSON. */
void config_show(const struct config *config, bool json, struct text *out);
void config_schema(struct text *out); /* JSON Schema 2020-12 of the file */
void config_manual(struct text *out); /* troff: the table of keys for weir.yaml(5) */

/*
 * What a reload from `from` to `to` changes, a line each ("pool app: server 127.0.0.1:9003 added"); and what cannot change
 * without a restart (workers, control socket), which refuses the reload: ERR_REFUSED with lines that say why.
 */
enum err must_use config_diff(const struct config *from, const struct config *to, struct text *out);

#endif

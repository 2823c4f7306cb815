/*
 * generation: one configuration at work, and each worker's view of it.
 *
 * The control thread builds a generation: the checked configuration with everything opened that it names (listening
 * sockets, log files) and the process's records of its servers. It goes to the workers by letter twice: first each builds a view of its
 * own (upstreams with their members), and when all could, each makes it current between two turns. An exchange pins the view it began with; a view
 * that is neither current nor pinned is taken down and the control thread told, which frees the generation when all
 * workers have said so.
 *
 * Records of servers (struct server_record: health, counters) are kept by "pool/address", so that they survive reloads and a server that
 * comes back; RECORDS_MAX caps them. So are those of routes with a cache (struct route_record), by name.
 *
 * A generation may be derived from the one before: the same text with other servers, because a name has other addresses or a command said so
 * (changes.c). It takes certificates, keys and the access log over as they are open, and reads nothing.
 */
#ifndef WEIR_GENERATION_H
#define WEIR_GENERATION_H

#include "engine/base/map.h"
#include "engine/base/timer.h"
#include "engine/config.h"
#include "engine/mailbox.h"
#include "pool/hedge.h"

#define RECORDS_MAX 32768u
#define RECORDS_KEPT 8192u

struct worker;
struct passwords;
struct conn;
struct registry;
struct waiter;
struct listener_tls;
struct sticky_pool;
struct probe;
struct route_counters;
struct ticket_keys_file;
struct tls_context;
struct tls_session;
struct tls_tickets;

/* What the last active check found; control thread only. */
struct check_result {
    char what[160];  /* "it answered 200"; empty: none was made */
    uint64_t at_ms;
    uint32_t took_us;
    bool well;
};

/*
 * Process-wide. One that no generation has any more is kept while there is room (its server may come back); beyond RECORDS_KEPT the
 * memory of those goes back, once every worker has taken letters sent after the last of its generations was gone.
 */
struct server_record {
    struct slice key; /* own memory */
    uint32_t generations; /* that have it */
    uint64_t left_at;     /* registry->rounds when it became 0 */
    struct health health;
    struct outlier_history {   /* outliers.c's */
        struct outlier_sample seen; /* up to the last judgement */
        uint32_t times;             /* judged in a row */
        bool begun;
    } history;
    uint64_t generation;   /* number of the last one that has it */
    uint64_t check_due_ms; /* prober.c: when it is asked again, also over reloads */
    struct check_result check;
    struct probe *probe; /* prober.c; NULL: it is not checked */
    struct server_counters *counters; /* one per worker, and one behind them for the control thread */
};

/* What one worker keeps of a pool over reloads. */
struct pool_share {
    struct budget budget;
    struct hedge_clock hedge;
} __attribute__((aligned(CACHE_LINE)));

/* Process-wide per pool, by name. Counted where the configuration has a limit; places are taken with place_take (worker.h). */
struct pool_record {
    struct slice name;
    _Atomic uint64_t waiting;     /* exchanges and streams in its queue */
    _Atomic uint64_t requests;    /* of limits.requests */
    _Atomic uint64_t connections; /* of limits.connections */
    _Atomic uint64_t retrying;    /* of limits.retries */
    struct pool_share *shares;    /* one per worker */
    struct health_pool health;
    _Atomic bool panic;    /* told in the log */
    uint64_t judge_due_ms; /* outliers.c; 0: its servers are not compared */
};

/* Process-wide per route with a cache, by name. */
struct route_record {
    struct slice name;                /* own memory */
    struct route_counters *counters; /* one per worker */
};

struct generation {
    struct config *config;
    struct registry *registry; /* whose records it has */
    uint64_t number;
    uint32_t worker_count;
    int **listen_fds;                /* [worker][listener]; unix: one shared. -1: it was open already */
    int *shared_fds;                 /* [listener]: unix sockets opened for this generation, -1 otherwise */
    struct server_record ***records; /* [pool][server] */
    struct pool_record **pool_records;
    struct route_record **route_records; /* [route], and behind them the forward proxy's; NULL: it has no cache */
    struct pool_record *forward_record;    /* NULL: there is no forward proxy */
    struct server_record *forward_servers; /* likewise; stands for all its destinations */
    struct passwords *users;               /* its users, a reference; NULL: nobody is asked */
    struct listener_tls **listener_tls; /* [listener], certificates.h; NULL: plain text */
    bool has_tls;                       /* any of the two */
    struct tls_context **pool_tls;      /* [pool], a reference each; NULL: plain text */
    struct sticky_pool *sticky; /* [pool], sticky.c */
    struct ticket_keys_file *ticket_keys; /* from the file that the configuration names; NULL: none. Wiped when they are in force */
    int access_fd;
    bool derived;
    uint32_t views;           /* workers that still have a view of it; control thread only */
    struct generation_letter { /* one per worker: "prepare this", "adopt it" or "forget it", at its end "my view of it is gone" */
        struct letter letter;
        struct generation *generation;
        struct worker *worker;
        bool prepared;
    } *letters;
    struct generation *next; /* the process's list */
};

/* One origin server on one worker: see pool/upstream.h's struct server, whose `owner` this is. */
struct origin {
    struct server server; /* references: worker->origins, views, conns */
    struct slice key;     /* own memory */
    struct address address;
    struct peer_address more[SERVER_ADDRESSES_MAX - 1]; /* further ones of the same server, to try after it */
    uint32_t more_count;
    uint32_t addresses; /* stands for all of them, and tls_name: connections that were made under another one are not kept */
    uint32_t best;      /* the one that connected last: 0 for address, else an index of more + 1 */
    struct worker *worker;
    struct server_record *record;
    struct idle_limits idle_limits; /* of the newest view that has it */
    struct tls_context *tls;        /* likewise, a reference; NULL: plain */
    struct tls_session *session;    /* to resume the next connection's; made under `tls` */
    char tls_name[256];             /* SNI, and the name that its certificate must have */
    uint32_t proxy_protocol;        /* of the newest view, 0: none; `addresses` stands for it too */
    _Atomic uint64_t *place;        /* of its pool's limits.connections; NULL: no limit */
    uint32_t connections_max;       /* that limit */
    uint64_t seen;                  /* number of the newest generation that has it */
    uint32_t borrowing;             /* asked of other workers and not answered yet */
    uint32_t opening;               /* connections under way to the shelf (back_warm) */
    bool set_anew; /* a destination's: another request may set its addresses before the kernel has read them, so race.c copies them */
    bool warming_failed;            /* the last of these could not be opened: one at a time until one can */
};

/*
 * Exchanges and streams that wait for a place in a full pool, on one worker; first in, first out. It belongs to the pool's name and not to a
 * view, so that a place that becomes free is offered to who came before a reload first.
 */
#define LINE_CLIENTS 256u
struct wait_line {
    struct waiter *first, **tail; /* wait_line.h */
    uint32_t count;
    uint32_t of_client[LINE_CLIENTS]; /* wait_line.c */
    uint64_t seed;
    bool waking; /* wait_line_wake is on the stack */
    struct timer poll; /* places may become free on other workers */
    struct worker *worker;
};
#define LINE_POLL_MS 5u

struct view_pool {
    struct upstream upstream;
    struct member *members;
    const struct config_pool *config;
    struct pool_record *record;
    struct pool_share *share; /* record->shares' */
    struct wait_line *line; /* worker->lines' */
    struct worker *worker;
    bool panic_seen; /* of the upstream */
    bool forward;    /* the forward proxy's: has no members, destination.h has */
};

struct view {
    struct generation *generation;
    const struct config *config;
    struct worker *worker;
    struct view_pool *pools;
    struct view_pool forward; /* forward.config NULL: there is no forward proxy */
    uint32_t pins; /* exchanges */
    bool current;
};

/* Control thread (generation.c) ------------------------------------------------------------------------------- */

/* What generations are built from and what outlives them. */
struct registry {
    struct map servers; /* key -> struct server_record */
    struct map pools;   /* name -> struct pool_record */
    struct map routes;  /* name -> struct route_record */
    uint8_t sticky_secret[32]; /* for pools whose configuration names none */
    struct tls_tickets *tickets; /* not owned; NULL: sessions are not resumed */
    uint32_t worker_count;
    uint64_t now_ms; /* when what is new was added; 0: at the start */
    uint64_t rounds; /* generations that all workers were told of and have answered */
};
void registry_init(struct registry *registry, uint32_t worker_count, uint64_t seed0, uint64_t seed1);
void registry_release(struct registry *registry);
/* The record of a server that may come, of one of the configuration's pools. NULL: no such pool, no memory, or too many. */
struct server_record *registry_record(struct registry *registry, const struct config *config, struct slice key);

/*
 * Opens everything config names that `previous` (may be NULL) has not open already. Takes config over on success. NULL: why says what failed
 * and nothing stays open. generation_derive: config is config_again of `previous`'s.
 */
struct generation *generation_derive(struct registry *registry, struct config *config, const struct generation *previous, char why[256]);
struct generation *generation_new(struct registry *registry, struct config *config, const struct generation *previous, char why[256]);

/* Frees it with its configuration; closes the log file. Listening sockets are the workers'. */
void generation_free(struct generation *generation);
/* It will not be used after all: closes the sockets too. */
void generation_discard(struct generation *generation);

/* Closes and unlinks the unix listeners of `old` that `current` has not; current NULL: all. */
void generation_close_unix(const struct generation *old, const struct generation *current);

/* The letter that tells the control thread that the worker's view is gone; reload.c's. */
struct letter *server_view_released(struct generation *generation, uint32_t worker);

/* On a worker's thread. NULL: out of memory, nothing changed. Servers take their new addresses and limits from it with view_settle. */
struct view *view_new(struct worker *worker, struct generation *generation);
void view_settle(struct view *view); /* it is about to become current */
static inline struct view *view_pin(struct view *view)
{
    view->pins++;
    return view;
}
void view_unpin(struct view *view); /* may take it down */
void view_retire(struct view *view); /* no longer current */
void view_drop(struct view *view);   /* never was current, or the worker ends and nothing is in flight; tells nobody */

/* upstream.panic has changed: logged once for all workers. */
void view_pool_panic(struct view_pool *pool);

/* Looks at the line every LINE_POLL_MS while somebody stands in it. */
void wait_line_poll(struct wait_line *line);

/* A server and a pool as the configuration has them, for whoever makes an upstream of them. Any thread. */
struct member member_for(const struct config *config, const struct config_server *from, struct server *server, uint32_t worker_count);
enum err must_use upstream_for(struct upstream *upstream, const struct config_pool *config, struct member *members, struct health_pool *shared);

void origin_unref(struct origin *origin);

/* The name that a server of this pool is asked for by TLS: the pool's, else the name it was configured by. Any thread. */
void origin_tls_name(const struct config_pool *pool, const struct config_server *server, char out[256]);

#endif

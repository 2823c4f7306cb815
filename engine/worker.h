/*
 * worker: one core's share of the engine: a loop, its blocks, connections and exchanges, and its view of the configuration.
 *
 * Workers share nothing while they serve: each has its own listening sockets (SO_REUSEPORT), kept connections to
 * origins, counters and log buffer. What holds for the whole process is atomic and kept by the control thread's side (struct process_shared,
 * struct health). A worker learns of everything else by letter.
 */
#ifndef WEIR_WORKER_H
#define WEIR_WORKER_H

#include <pthread.h>
#include <sys/uio.h>

#include "engine/base/slab.h"
#include "engine/borrow.h"
#include "engine/conn.h"
#include "engine/forward_places.h"
#include "engine/generation.h"
#include "engine/log.h"
#include "engine/loop.h"
#include "engine/stats.h"
#include "engine/wake.h"
#include "proto/tls.h"

/* Message headers for sends of several spans, used anew each turn. */
#define SEND_VECTORS 512u
struct send_vector {
    struct msghdr message;
    struct iovec runs[CHAIN_SPANS];
};
struct send_vectors {
    struct send_vector list[SEND_VECTORS];
    unsigned used;
};

/* Shared by all workers; relaxed atomics. */
struct disk;
struct disk_side;
struct homes;
struct hot_table;
struct forward_side;
struct worker;
struct verifier;
struct process_shared {
    _Atomic uint64_t clients;    /* for limits.connections */
    _Atomic uint64_t handshakes; /* for limits.handshakes */
    _Atomic uint64_t pipes;      /* open, of all workers (pipes.h) */
    _Atomic bool draining;
    _Atomic uint64_t letters;          /* between workers, that are out (borrow.h, wake.h): no loop ends before they are taken or answered */
    _Atomic(struct worker **) workers; /* once all have started; NULL before */
    _Atomic(struct disk *) disk;       /* disk.h; there before homes are, if at all, and until the end */
    _Atomic(struct homes *) homes;     /* homes.h; there before any route with a cache is, and until the end. NULL: no such route was ever there */
    _Atomic(struct verifier *) verifier; /* verifier.h; there before a generation with users is. NULL: none ever was */
    struct forward_places places __attribute__((aligned(CACHE_LINE))); /* of the forward proxy's users */
} __attribute__((aligned(CACHE_LINE)));

/* A place under a cap that holds for the process, exactly and at every moment; cap 0: none. The caller gives it back with place_return. */
static inline bool place_take(_Atomic uint64_t *taken, uint64_t cap)
{
    uint64_t before = atomic_load_explicit(taken, memory_order_relaxed);
    do {
        if (cap && before >= cap)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(taken, &before, before + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}
static inline void place_return(_Atomic uint64_t *taken) { atomic_fetch_sub_explicit(taken, 1, memory_order_relaxed); }

#define WORKER_BLOCKS 16384u    /* 256 MiB of address space; memory as it is touched */
#define WORKER_EXCHANGES 65536u
#define WORKER_STREAMS 65536u
#define WORKER_ORIGINS 32768u
#define WORKER_PUBLISH_MS 100u /* how old gauges that others read may be, busy */
#define WORKER_TICK_MS 1000u   /* and idle */
#define WORKER_UPKEEP_MS 2u   /* while homes are being swept */
#define WORKER_END_MS 1000u

struct worker {
    struct loop loop; /* first: a loop's owner is found from it */
    struct block_pool blocks;
    struct slab conns, exchanges, sessions, races, tunnels, streams;
    struct tls_room tls_room;
    struct conn *shake_first, **shake_tail; /* handshakes that can go on (conn_tls.h) */
    struct splices *splices;
    struct view *view;      /* the one in force */
    struct view *next_view; /* of a reload that is not yet sure to happen */
    struct access_log *log;
    struct worker_stats *stats; /* in the process's array */
    struct process_shared *shared;
    struct server_process *process; /* for letters to the control thread only */
    struct loop *control;
    struct conn *flush_first, **flush_tail;
    struct exchange *runnable; /* to be run next turn */
    struct exchange *running;  /* what is left of those that are being run */
    struct wakes wakes;
    struct disk_side *disk;     /* NULL: the cache has no disk */
    struct forward_side *forward; /* NULL until the first request to a forward proxy */
    struct hot_table *hot;     /* NULL until the first request of a route with a cache */
    struct listener *listeners; /* list */
    uint32_t listener_count;    /* with those that are leaving */
    struct map origins;         /* key -> struct origin */
    struct map lines;           /* name of a pool -> struct wait_line */
    struct response *response;  /* scratch for the response head being read */
    struct send_vectors *vectors;
    char date[32]; /* IMF-fixdate of date_seconds */
    int64_t date_seconds;
    uint64_t next_number;
    uint64_t client_count;
    uint32_t fetch_count; /* exchanges without a client (exchange_fetch.c) */
    size_t coders_bytes; /* of exchanges with a coder: CODERS_BYTES_MAX at most */
    uint64_t published_ms;
    struct borrow borrows[BORROWS_MAX], *borrows_free;
    uint64_t header_told_ms; /* when the log was last told of a connection without its PROXY header */
    uint32_t warm_turn; /* which pool is looked at first (back_warm) */
    struct timer ticker, upkeep;
    uint64_t end_ms; /* ending: the loop ends by then whatever is left */
    bool draining;
    int core; /* pinned to; -1: not */
    pthread_t thread;
    _Atomic bool over;      /* its loop has ended */
    struct letter drained_letter; /* to the control thread: draining, and the last client left; prepared by server.c */
    bool drained_told;
    struct worker_setup *setup; /* while starting */
};

static inline struct worker *worker_of(struct loop *loop) { return (struct worker *)loop; }

/* Makes and starts the thread; the ring is made in it. ERR_*: why says what failed. */
struct worker_plan {
    uint32_t number;
    int core; /* -1: not pinned */
    struct worker_stats *stats;
    struct process_shared *shared;
    struct server_process *process;
    struct loop *control;
    struct generation *generation; /* the first */
    uint32_t conns_max;            /* descriptors to be had */
    uint32_t spin_us;
};
enum err must_use worker_start(struct worker **worker, const struct worker_plan *plan, char why[256]);
void worker_join(struct worker *worker); /* after its loop was told to stop; frees it */

/* From here on worker's thread only. */
bool worker_prepare(struct worker *worker, struct generation *generation); /* builds the next view; false: no memory, or draining */
void worker_adopt(struct worker *worker);                    /* the next view becomes the one in force */
void worker_abandon(struct worker *worker);                  /* or it does not */
void worker_drain(struct worker *worker);                    /* no new connection; idle clients are closed */
void worker_drained(struct worker *worker);                  /* tells the control thread, if so */
void worker_cut(struct worker *worker);                      /* closes all clients, their requests with them */
void worker_end(struct worker *worker);                      /* closes everything and ends the loop */
void worker_flush_later(struct worker *worker, struct conn *conn);
struct slice worker_date(struct worker *worker);
#define COUNT(worker, row) counter_add(&(worker)->stats->row, 1)
/* Of the exchange's route, which has a cache: a row of ROUTE_COUNTER_ROWS. */
#define COUNT_ROUTE(x, row)                                                                                            \
    counter_add(&(x)->view->generation->route_records[(x)->pool->forward ? (x)->view->config->route_count : (x)->route - (x)->view->config->routes]     \
                     ->counters[(x)->worker->loop.number]                                                                                          \
                     .row, 1)
#define COUNT_BYTES(worker, row, n) counter_add(&(worker)->stats->row, (n))

#endif

/*
 * tunnel: bytes between two connections, both ways, with nobody reading them: after an upgrade (exchange_upgrade.c).
 *
 * It knows no HTTP. Its two sides are conns that were serving something else until now, plain or with TLS: what stands in their `in` goes first, what was
 * queued in their `out` stays in front. tunnel_begin takes their events over and keeps them until the owner closes both.
 *
 * Bytes pass by reference, from the queue of one side to the chain of the other; a side that takes nothing stops the other one's receiving, so
 * a tunnel holds some hundred KiB each way at most, and nothing while it is idle. A direction between plain sides that carries TUNNEL_BULK_BYTES within
 * TUNNEL_BULK_MS is spliced from then on (splice.h), until it brings little at a time again: small messages are copied, which wakes up sooner.
 *
 * Ends: a side's FIN (close_notify in TLS) is passed on behind what came before it, and the other direction goes on until it has ended too. A
 * reset, and TLS that ends without close_notify, is passed on as a reset, behind what came before it. A side that takes nothing more makes
 * the other's bytes void: what it had sent itself is still delivered, then the other is reset.
 *
 * Whatever happens, `event` is called and the owner calls tunnel_run, which looks at everything anew.
 */
#ifndef WEIR_TUNNEL_H
#define WEIR_TUNNEL_H

#include "engine/worker.h"

#define TUNNEL_MAGIC 0x74756e6eu
#define TUNNEL_BULK_BYTES (256u * 1024u)
#define TUNNEL_BULK_MS 50u

/* id, row of stats that counts it */
#define TUNNEL_END_ROWS(X)               \
    X(TUNNEL_CLOSED, tunnels_closed)     \
    X(TUNNEL_RESET, tunnels_reset)       \
    X(TUNNEL_IDLE, tunnels_idle)         \
    X(TUNNEL_STOPPED, tunnels_stopped)   \
    X(TUNNEL_ABANDONED, tunnels_abandoned)
#define TUNNEL_END_AS_ENUM(id, row) id,
enum tunnel_end { TUNNEL_OPEN, TUNNEL_END_ROWS(TUNNEL_END_AS_ENUM) TUNNEL_ENDS };

/* The counter's row; NULL for TUNNEL_OPEN and TUNNEL_CLOSED, of which there is nothing to say. */
const char *tunnel_end_word(enum tunnel_end end);

struct tunnel_side {
    struct conn *conn;
    uint64_t bytes; /* that came from it */
    struct splice *splice; /* of what comes from it; NULL: that is copied */
    uint64_t burst_ms;     /* since when `burst` bytes were copied */
    uint32_t burst;
    bool lost;             /* something that it was to get is lost */
};

struct tunnel {
    void *slab_link; /* overwritten while free */
    uint32_t magic;
    uint8_t end; /* enum tunnel_end */
    struct worker *worker;
    struct tunnel_side near, far; /* near: who came to us */
    uint64_t moved_ms; /* when a byte last came or went */
    uint64_t idle_ms;
    void (*event)(struct tunnel *tunnel);
    void *owner;
};

/* NULL: no memory. */
struct tunnel *tunnel_new(struct worker *worker);
/* Both must be ready (conn_is_ready), with receiving neither held nor polled for. event and owner are set. The owner runs it next. */
void tunnel_begin(struct tunnel *tunnel, struct conn *near, struct conn *far, uint64_t idle_ms);
/* Moves what can be moved. True: it is over, `end` says how; the owner closes both sides, with RST where tunnel_resets says so. */
bool tunnel_run(struct tunnel *tunnel);
/* That side's end must look like none: by a reset, or since bytes are left that it will not get. */
bool tunnel_resets(const struct tunnel *tunnel, const struct conn *side);
/* Ends it as it stands. */
void tunnel_stop(struct tunnel *tunnel);
/* The owner ends it by itself, and says so before it closes either side: what is being spliced is let go. */
void tunnel_abandon(struct tunnel *tunnel);
/* Before or after tunnel_begin; counted out. */
void tunnel_free(struct tunnel *tunnel);

#endif

/*
 * conn: one socket with its operations, what was received and what is to be sent; a client's or an origin's.
 *
 * It knows no protocol. Whoever uses it (front.c for clients, back.c for origins) hangs a table of events on it and
 * reads `in`, writes `out`, and calls conn_flush. One receive (multishot) and at most one send are in flight; what is
 * queued goes out with the next turn's end in one send, so a head and its small body make one packet.
 *
 * Back-pressure: receiving stops while `in` holds QUEUE_BYTES_STOP or more and is taken up again by conn_consume, or by conn_need_more
 * when what waits is one thing that is not complete; sending is limited by the chain: a producer looks at conn_room.
 *
 * Life: conn_new takes over a descriptor; conn_close ends it from any state: no event comes any more, operations are
 * cancelled, and memory goes back when the last completion has come. A conn belongs to one worker.
 */
#ifndef WEIR_CONN_H
#define WEIR_CONN_H

#include "engine/base/queue.h"
#include "engine/base/timer.h"
#include "engine/ring.h"
#include "pool/idle.h"
#include "proto/h1_parse.h"

#define CONN_MAGIC 0x636f6e6eu
#define CONN_BYTES_MAX 512u /* an idle connection costs this and nothing else */

struct conn;
struct worker;
struct exchange;
struct borrow;
struct origin;
struct listener;
struct tls;
struct race;
struct stream;
struct tunnel;

enum conn_state {
    CONN_FREE,
    CONN_CONNECTING, /* an origin's: connect is under way */
    CONN_OPEN,
    CONN_FINISHING,  /* what is queued goes out, then FIN, then the rest of what the peer sends is thrown away for a while */
    CONN_CLOSING     /* waits for its last completions */
};

/* All run on the worker's thread, never from within a conn_ call that the owner made, except where said. */
struct conn_events {
    void (*connected)(struct conn *conn, int error); /* error: 0 or errno; then the owner closes */
    void (*input)(struct conn *conn);                /* `in` grew, or `ended` was set */
    void (*drained)(struct conn *conn);              /* a send was completed: there is room in `out` */
    void (*broken)(struct conn *conn, int error);    /* reset, or a send failed (then `deaf` is set); the owner closes, now or later */
    void (*timeout)(struct conn *conn);              /* the deadline passed */
    void (*ready)(struct conn *conn);                /* conn_hold took effect; or a splice from here has moved, or ended */
    void (*shake)(struct conn *conn);                /* TLS: the handshake can go on (conn_tls.h) */
};

/* What only a client's connection has. */
struct conn_client {
    struct listener *listener;
    struct h1_progress progress; /* of a head that is not complete yet */
    uint32_t requests;
    uint16_t port;
    uint8_t address_length;
    uint64_t head_since_ms; /* idle since, or the head's first byte */
    bool idle;        /* between requests, nothing of the next has come */
    bool serving;     /* front.c is beginning exchanges: do not nest */
    bool trusted;     /* a listed proxy */
    bool early;       /* TLS: early data may come before the handshake goes on */
    bool handshaking; /* holds one of the places of limits.handshakes */
    bool named;       /* address, port and trusted are filled in */
    bool header_due;  /* it must begin with a PROXY header (front_header.h), which has not come yet */
    bool header_named; /* that named the client: address and port are its, destination too */
    bool tcp;         /* of a TCP listener (stream.h): no request is looked for */
    bool header_tls;  /* and said that it spoke TLS with the proxy in front */
    char address[46]; /* text */
    uint16_t destination_port;
    uint8_t destination[16]; /* where the client connected to, IPv4 as v4-mapped IPv6; only if header_named */
    struct conn *kept; /* an origin's on its shelf, that begins with this client's PROXY header (back.h) */
};

/* What an origin's connection is doing. */
enum origin_use {
    ORIGIN_SERVING, /* has an exchange */
    ORIGIN_OPENING, /* is being opened ahead of requests, for the shelf */
    ORIGIN_IDLE,    /* on its server's shelf */
    ORIGIN_LENT     /* off the shelf, for another worker, when it has stopped receiving (borrow.h) */
};

/* What only an origin's has. */
struct conn_origin {
    struct origin *origin;
    struct idle_entry idle;
    struct race *race;  /* connecting to one of several addresses; fd is -1 until that is over */
    _Atomic uint64_t *place; /* that it gives back; NULL: none is counted */
    struct borrow *borrow; /* ORIGIN_LENT: for whom */
    struct conn *client; /* ORIGIN_IDLE: whose client.kept it is; NULL: nobody's */
    uint8_t use; /* enum origin_use; back.c's */
    uint32_t addresses; /* origin->addresses when it was made */
    bool reused; /* served a request before this one */
    bool session_kept; /* TLS: its session was looked at */
};

struct conn {
    union {
        void *slab_link;       /* while free */
        struct stream *stream; /* the connection of a TCP listener that it is a side of (stream.h); then it has no exchange */
    };
    uint32_t magic;
    int fd;
    uint8_t state;        /* enum conn_state */
    bool ended;           /* the peer sent FIN: nothing more comes */
    bool paused;          /* not receiving: `in` is full */
    bool held;            /* not receiving: the owner takes the bytes by itself (splice.h) */
    bool flushing;        /* on the worker's list */
    bool shut;            /* FIN was sent */
    bool shutting;        /* it will be, after what is queued (conn_end_sending) */
    bool cut;             /* it did not end but was reset: what came before may be less than was sent */
    bool deaf;            /* a send failed: the peer takes nothing more, but what it sent before may still come */
    bool client_side;     /* which member of the union */
    bool truncated;       /* the peer ended without TLS's close_notify */
    bool shaking;         /* on the worker's list of handshakes */
    bool linger;          /* CONN_FINISHING: after what is queued, FIN and the peer's rest, not just the end */
    bool sink;            /* a client that is not there: takes everything, and has no socket (exchange_fetch.c) */
    bool single;          /* the next receive brings one block and ends, so that content to be spliced is not read by it (conn.c) */
    bool receive_due;     /* one has ended so: receiving goes on at the turn's end, unless it was held by then */
    uint8_t pins;         /* operations that name its descriptor and are not its own (mover_ring.c): it is not closed before */
    bool fd_closed;       /* CONN_CLOSING: the descriptor's number was given back ahead of the last completion */
    const struct conn_events *events;
    struct worker *worker;
    struct exchange *exchange; /* the one this conn serves now */
    struct tunnel *tunnel;     /* it is one side of (tunnel.h), whose events its are; NULL: none */
    struct op receive, send, other;
    struct timer timer;
    struct tls *tls; /* NULL: plain */
    struct queue in;
    struct chain out;
    struct ring_waiter waiter;
    struct conn *next_flush, *next_shake;
    uint64_t number; /* for traces */
    uint32_t sending; /* bytes given to the kernel and not yet completed */
    uint32_t discarded; /* CONN_FINISHING */
    union {
        struct conn_client client;
        struct conn_origin origin;
    };
};
_Static_assert(sizeof(struct conn) <= CONN_BYTES_MAX, "an idle connection's memory is a promise");

/* NULL when the cap is reached; fd stays the caller's then. */
struct conn *conn_new(struct worker *worker, int fd, bool client_side, const struct conn_events *events);

void conn_connect(struct conn *conn, const struct sockaddr *address, socklen_t bytes); /* events->connected tells */
/* The same in two halves, for race.c, which connects by itself: error: 0 or errno. */
void conn_connecting(struct conn *conn);
void conn_connected(struct conn *conn, int error);
void conn_receive(struct conn *conn); /* starts receiving */

/* Queues what stands in `out`; conn_flush with nothing queued is harmless. */
void conn_flush(struct conn *conn);

/* True while something is queued that the kernel has not got; what it has got and not sent is conn->sending. */
bool conn_unsent(const struct conn *conn);

/* bytes of `in` were used; takes receiving up again. */
void conn_consume(struct conn *conn, uint64_t bytes);

/* The owner has looked at all of `in` and needs more of it: taken up again even if much waits. */
void conn_need_more(struct conn *conn);

/*
 * FIN after what is queued (TLS: close_notify before it), and receiving goes on: a half-close (RFC 9293 3.6). Nothing may be queued from then on. conn->shut
 * says when it was sent, events->drained has come by then.
 */
void conn_end_sending(struct conn *conn);

/* Nothing more comes, and all that came was consumed. */
bool conn_is_spent(const struct conn *conn);

/* Content can be sent and received: connected, and TLS's handshake over. */
bool conn_is_ready(const struct conn *conn);

/* Room in `out` for another head or run of content. */
static inline unsigned conn_room(const struct conn *conn) { return chain_room(&conn->out); }

void conn_deadline(struct conn *conn, uint64_t at_ms); /* events->timeout; TIMER_NEVER: none */

/* Stops receiving; conn->held, and conn_held says when the kernel has truly let go. conn_release_hold takes it up again, with a single block first. */
void conn_hold(struct conn *conn);
static inline bool conn_is_held(const struct conn *conn) { return conn->held && !op_armed(&conn->receive); }
void conn_release_hold(struct conn *conn);

/* More may come of what the peer has sent, though it takes nothing any more: receiving is under way, or will be, or is its owner's. */
static inline bool conn_may_bring(const struct conn *conn)
{
    return !conn->ended &&
           (op_armed(&conn->receive) || conn->receive_due || conn->held || conn->paused || conn->waiter.waiting);
}

/* Its descriptor is named by an operation under way: it stays open, and the conn's memory with it, until all pins are out. */
static inline void conn_pin(struct conn *conn) { conn->pins++; }
void conn_unpin(struct conn *conn); /* the conn may be gone then */

/* Nothing more comes, says the kernel to who has looked: `ended`, and `cut` if that was a reset. */
void conn_ended(struct conn *conn);

/* Bytes came from it, or went to it, past `in` and `out`. */
void conn_count(struct conn *conn, uint64_t bytes, bool received);

/* Ends it now. `reset`: with RST, so that a cut response cannot look complete. */
void conn_close(struct conn *conn, bool reset);

/* Gives the descriptor up, which goes on elsewhere: of a plain connection that is held (conn_is_held) and has nothing to send. The conn is gone. */
int must_use conn_detach(struct conn *conn);

/*
 * Sends what is queued, then ends. linger: first FIN, and it reads on for a while before closing, so that a client still sending gets
 * to read its answer (RFC 9112 9.6); without, only where the peer is known to send nothing more. No events come any more.
 */
void conn_finish(struct conn *conn, bool linger);

/* For worker.c: at the end of a turn. False: no vector is left, try again next turn. */
struct send_vectors;
bool conn_send(struct conn *conn, struct send_vectors *vectors);

#endif

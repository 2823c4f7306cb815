/*
 * stream: one client's connection on a TCP listener, and the server that it goes to.
 *
 * What an exchange is for a request, without the request: where the listener has `passthrough` the ClientHello is looked at, a server of the pool is picked,
 * connected to, and a tunnel (tunnel.h) passes bytes both ways until both sides have ended. PROXY header and TLS are over when a stream begins
 * (front.c), and it ends with the client's connection. It pins the view that it began with: a reload moves or closes none.
 *
 *   PEEK     the ClientHello is being waited for                    stream_hello.c
 *   SELECT   a server of the pool, or a place in its line           stream.c
 *   CONNECT  a connection to it, and its handshake
 *   TUNNEL   bytes both ways
 *
 * What the client sends before a server is there waits in its `in`, where receiving stops by itself (conn.h). An end that it sends then is
 * passed on as a half-close; a reset ends the stream. A server that takes no connection is failed as by a request, and the next is tried; nothing
 * is tried again once bytes may have passed.
 *
 * Streams may be thousands and idle: they come from a slab of their own, and have no arena and no block.
 */
#ifndef WEIR_STREAM_H
#define WEIR_STREAM_H

#include "engine/wait_line.h"
#include "engine/worker.h"
#include "proto/tls_hello.h"

#define STREAM_MAGIC 0x7374726du

struct tunnel;

enum stream_state { STREAM_PEEK, STREAM_SELECT, STREAM_CONNECT, STREAM_TUNNEL, STREAM_STATES };
enum stream_verdict { STREAM_GOES_ON, STREAM_WAITS, STREAM_IS_OVER /* and its memory gone */ };

struct stream {
    void *slab_link; /* overwritten while free */
    uint32_t magic;
    uint8_t state;    /* enum stream_state */
    uint8_t attempts; /* servers asked */
    uint8_t failure;  /* enum server_outcome of the last one that failed */
    bool running;     /* stream_run is on the stack */
    bool leased;      /* holds `member`: attempt_done is due */
    bool placed;      /* holds one of the pool's limits.requests */
    bool retrying;    /* holds one of its limits.retries */
    struct worker *worker;
    struct view *view;
    const struct config_listener *listener; /* the view's */
    struct conn *client;                    /* never NULL */
    struct conn *origin;                    /* NULL: none */
    struct view_pool *pool;                 /* NULL: not known yet */
    struct member *member;                  /* the last one picked */
    struct tunnel *tunnel;                  /* TUNNEL; NULL before */
    struct waiter waiter;
    struct timer timer; /* its place in the line, and tcp.total */
    uint64_t begun_ns, connected_ns;
    uint64_t attempt_ns; /* when this server was picked */
    struct pick_request pick;
    uint8_t name_length;
    char name[TLS_NAME_BYTES_MAX + 1]; /* last, and mostly untouched: what a hello that was looked at asks for */
};

/* The client's connection is ready: its PROXY header and handshake are over. listener: of the worker's view. The connection may be closed by then. */
void stream_begin(struct conn *client, const struct config_listener *listener);

void stream_run(struct stream *s);
/* The engine stops, and nothing goes on for it. */
void stream_cut(struct stream *s);

/* For back.c, of its origin's connection before it is ready. */
void stream_origin_failed(struct stream *s, enum server_outcome outcome, int os_error);

/* The whole stream ends: why: a word for the log, a row of stats; NULL: as it should. */
enum stream_verdict must_use stream_end(struct stream *s, const char *why, bool reset);

/* stream_hello.c: PEEK. */
bool must_use stream_peek_begin(struct stream *s); /* false: too many handshakes; the caller ends it */
enum stream_verdict must_use stream_peek(struct stream *s);
enum stream_verdict must_use stream_peek_timeout(struct stream *s);

/* What it asked for by TLS, if that is known; empty: not. */
struct slice stream_asked_name(const struct stream *s);

#endif

/*
 * tls: one TLS session between two byte queues.
 *
 * A session owns what is sealed: `raw`, received records that wait to be opened, and `out`, records that wait to be sent. Whoever drives it
 * (engine/conn_tls.c) appends received blocks to `raw`, sends what stands in `out`, and moves content with tls_read and tls_write. It knows no
 * descriptor and no clock.
 *
 * wolfSSL makes the handshake. After it a server's session lets wolfSSL go and seals and opens records by itself (tls_record.h): an idle
 * connection then costs this struct and nothing else, and content is sealed straight from the blocks that hold it into the block that is sent.
 * Towards origins wolfSSL stays, since tickets come after the handshake and connections there are few.
 *
 * The end: close_notify in both directions (RFC 8446 6.1). A peer's end without it is for the driver to judge: tls->peer_closed tells.
 *
 * A session belongs to one worker. Errors are fatal for it: then an alert stands in `out` where the peer may learn why, and `why` says it.
 */
#ifndef WEIR_TLS_H
#define WEIR_TLS_H

#include "engine/base/queue.h"
#include "proto/tls_context.h"
#include "proto/tls_record.h"

#define TLS_MAGIC 0x746c7300u
#define TLS_SECRET_BYTES_MAX 48u
#define TLS_ROOM_BYTES (2u * TLS_SEALED_BYTES_MAX)

enum tls_alert {
    TLS_CLOSE_NOTIFY = 0, TLS_UNEXPECTED_MESSAGE = 10, TLS_BAD_RECORD_MAC = 20, TLS_RECORD_OVERFLOW = 22, TLS_DECODE_ERROR = 50,
    TLS_PROTOCOL_VERSION = 70, TLS_INTERNAL_ERROR = 80, TLS_NO_RENEGOTIATION = 100, TLS_UNRECOGNIZED_NAME = 112
};

/* What a worker lends for the time of a call. */
struct tls_room {
    struct block_pool *pool;
    char *scratch; /* TLS_ROOM_BYTES, for records that block borders cut */
};

/* A client's certificate. */
struct tls_peer {
    char common_name[129]; /* the subject's; empty: it has none, or a longer one */
    char subject[256];
    char fingerprint[65];
};

struct tls_session; /* an origin's, to resume later */

struct tls {
    void *slab_link; /* overwritten while free */
    uint32_t magic;
    bool open;         /* the handshake is over */
    bool failed;
    bool server;
    bool own_records;  /* wolfSSL is gone */
    bool tls13;
    bool resumed;
    bool peer_closed;  /* close_notify came: nothing more does */
    bool close_sent;
    uint8_t secret_bytes;
    uint8_t empty_records; /* in a row: a peer may not keep us busy with nothing */
    uint32_t burst_bytes;  /* sealed since the peer last sent something: the first records of an answer are small */
    struct tls_context *context; /* a reference */
    void *library;               /* WOLFSSL, NULL once own_records */
    struct tls_room *room;       /* during a call */
    struct queue raw;
    struct chain out;
    struct tls_peer *peer; /* NULL: no certificate */
    const char *cipher, *alpn; /* the suite as OpenSSL calls it, and the protocol agreed on; NULL: none, or the handshake is not over */
    char *asked_name; /* server_name, where tls_keep_name was asked to; else NULL */
    unsigned char read_secret[TLS_SECRET_BYTES_MAX], write_secret[TLS_SECRET_BYTES_MAX]; /* TLS 1.3: for key updates */
    struct tls_keys read, write;
};

static inline bool tls_started(const struct tls *tls) { return tls->context != NULL; }

enum tls_verdict {
    TLS_DONE,        /* the handshake is over; all that could be moved was */
    TLS_WANTS_INPUT, /* `raw` holds no whole record */
    TLS_WANTS_ROOM,  /* `out` is full, or no block is to be had: again when something was sent */
    TLS_CLOSED,      /* the peer said that nothing more comes */
    TLS_REFUSED      /* the session has failed */
};

/* Empty queues and no session yet: received records may be put into `raw`, where a hello is peeked at. */
void tls_init(struct tls *tls);

/* A server's session, or a client's that asks for server_name (verified if the context verifies; an IP address is no SNI); session: to be resumed,
 * may be NULL. ERR_MEMORY. context is referenced. alpn: the client has offered protocols, and http/1.1 is to be agreed on. */
enum err must_use tls_start_server(struct tls *tls, struct tls_context *context, bool alpn);
enum err must_use tls_start_client(struct tls *tls, struct tls_context *context, const char *server_name, struct tls_session *session);
/* A copy of the name that the client asks for, for who wants it later. Without memory there is none. */
void tls_keep_name(struct tls *tls, const char *name);
void tls_release(struct tls *tls); /* from any state; keys are wiped */

/* Goes on with the handshake as far as `raw` allows. DONE once; WANTS_INPUT, WANTS_ROOM, REFUSED. */
enum tls_verdict must_use tls_handshake(struct tls *tls, struct tls_room *room, char why[160]);

/*
 * A server's, before tls_handshake, where the client sends early data (RFC 8446 2.3) and the context takes it: goes on with the handshake and
 * appends what came early to `in`. DONE: nothing more comes early, tls_handshake is next. Whoever replays a hello replays that content: it may
 * stand for nothing that must not happen twice.
 */
enum tls_verdict must_use tls_read_early(struct tls *tls, struct queue *in, struct tls_room *room, char why[160]);

/* Opens records and appends their content to `in` until that holds `stop` bytes (then DONE) or no whole record waits. */
enum tls_verdict must_use tls_read(struct tls *tls, struct queue *in, uint64_t stop, struct tls_room *room, char why[160]);

/* Seals what stands in `from` as far as `out` has room. DONE: from is empty; WANTS_ROOM; REFUSED. */
enum tls_verdict must_use tls_write(struct tls *tls, struct chain *from, struct tls_room *room);

/* Queues close_notify, once; false: no room now. */
bool tls_close(struct tls *tls, struct tls_room *room);

/* An alert in plain text, before there is a session or after one could not be made; for a chain that is sent as it stands. */
struct slice tls_plain_alert(enum tls_alert alert, char record[7]);

/* Of a client's session: what allows to resume it, or NULL. The caller's; NULL is fine to free. */
struct tls_session *tls_session_take(struct tls *tls);
void tls_session_free(struct tls_session *session);

#endif

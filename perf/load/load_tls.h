/*
 * load_tls: the client's half of TLS for load.c, by OpenSSL.
 *
 * A struct tls belongs to one client of load and outlives its connections: it carries the ticket from one to the next. The
 * socket stays load's: it opens, watches and closes it. tls_send and tls_receive stand in for send and recv and fail as these
 * do: -1 and EAGAIN until an event has come, 0 when the peer has closed, -1 with another errno when the connection is lost.
 *
 * All connections speak TLS 1.3 with TLS_AES_128_GCM_SHA256 over X25519, offer the ALPN http/1.1 and resume with psk_dhe_ke; a
 * peer that wants anything else fails, so that rivals cannot be compared at different work. Nobody's certificate is verified;
 * that it signed the handshake is.
 */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;

struct tls_counts {
    uint64_t handshakes;  /* done, whole or resumed */
    uint64_t resumed;     /* of these: the server took our ticket (SSL_session_reused) */
    uint64_t unannounced; /* connections that ended without close_notify */
};

extern struct tls_counts tls_counts;

/*
 * Once, before all else. `host` goes out as SNI and must live on. `resume`: each connection offers the newest ticket that its
 * client was given. `bulk`: answers are long, so read much at once.
 */
void tls_init(const char *host, bool resume, bool bulk);

/* Never NULL. Not freed: a client lives as long as the program. */
struct tls *tls_new(void);

/* A socket that connects begins; the handshake is done by the first tls_send. tls_close before the socket is closed. */
void tls_open(struct tls *tls, int fd);
void tls_close(struct tls *tls);

/* An event came for the socket. `ending`: it says that the peer has closed, so read until that is seen. */
void tls_event(struct tls *tls, bool ending);

/*
 * All or nothing: 0 is an error too, the peer has closed. EAGAIN before the handshake is done: call again after the next event,
 * with the same bytes.
 */
ssize_t tls_send(struct tls *tls, const void *bytes, size_t count);

/* Call until it says EAGAIN: bytes may wait here that no event will announce. */
ssize_t tls_receive(struct tls *tls, void *bytes, size_t room);

#endif

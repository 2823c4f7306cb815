/*
 * front_tls: a client's TLS, from its first byte to the end of the handshake. Then the connection is like any other (front.h).
 *
 * The hello is peeked at, the listener's certificates are asked for the one that fits, and the handshake runs under its own deadline and
 * under a cap on how many may be unfinished. What is no TLS is answered in words its sender understands, and counted.
 */
#ifndef WEIR_FRONT_TLS_H
#define WEIR_FRONT_TLS_H

#include "engine/conn.h"

/* A new connection of a listener with TLS. False: too many handshakes or no memory; the caller closes it. */
bool must_use front_tls_accept(struct conn *client);

/* events->shake */
void front_tls_shake(struct conn *client);

/* Its deadline passed with the handshake unfinished. */
void front_tls_timeout(struct conn *client);

/* The connection is counted out: the handshake's place, if it still has one, is given back. */
void front_tls_leave(struct conn *client);

/* A record of TLS where plain text is spoken: the alert that says so goes out and the connection ends. */
void front_tls_refuse_record(struct conn *client);

#endif

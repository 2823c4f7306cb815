/*
 * conn_tls: the layer between a connection's socket and its content when TLS lies between.
 *
 * With conn->tls set, received blocks go to the session's `raw` and what is opened appears in conn->in; what a producer queues in conn->out is
 * sealed at the end of a turn into the session's `out`, which is what is sent. Nobody above conn.c sees a difference, but that:
 *
 *  - before the handshake is over, events->shake is called instead of input: at the end of a turn and for SHAKES_PER_TURN connections at most, since
 *    a signature takes as long as dozens of requests;
 *  - conn->cut is set when the peer ended without saying so (close_notify): what only its end would complete is not complete.
 */
#ifndef WEIR_CONN_TLS_H
#define WEIR_CONN_TLS_H

#include "engine/conn.h"
#include "proto/tls.h"

#define SHAKES_PER_TURN 8u

/* No block was to be had, and nothing is under way that would bring this connection back: it comes back in the next turn. */
void conn_tls_wait_for_block(struct conn *conn);

/* Gives a new connection a session that is not started. False: no memory. */
bool must_use conn_tls_new(struct conn *conn);
void conn_tls_free(struct conn *conn);

/* For conn.c: `raw` grew, or the peer ended. True: events->input is due. */
bool conn_tls_received(struct conn *conn);
/* Opens as much of `raw` as `in` has room for. */
void conn_tls_open(struct conn *conn);
/* Seals what is queued, and close_notify when that was the last. */
void conn_tls_seal(struct conn *conn);
/* close_notify has not been queued yet, and could be. */
bool conn_tls_owes_farewell(const struct conn *conn);
/* Ends well if nothing is under way: close_notify, at once. */
void conn_tls_goodbye(struct conn *conn);

/* From events->shake: the handshake went on. Queues what it has to say. */
enum tls_verdict must_use conn_tls_shake(struct conn *conn, char why[160]);

/* At the end of a turn: those that wait to be shaken. */
void conn_tls_shake_queued(struct worker *worker);
void conn_tls_shake_later(struct conn *conn);

#endif

/*
 * back: the origin side: connections to servers, kept between requests on their server's shelf.
 *
 * A kept connection goes on receiving: bytes or FIN on it mean that it is of no use any more, and it is closed before
 * anybody sends on it. Which of them may wait and how long is pool/idle's decision; back carries it out.
 *
 * In a pool with `proxy-protocol` a connection begins with a header that names a client, so it serves that client's connection only: of those
 * it has used the last one is kept, on the shelf as any other, and it ends when the client's connection does. Tied to it rather than closed, since a
 * page takes many requests, and rather than found by address and port, since those are the connection's alone anyway.
 *
 * Where `keep-alive: warm` is set some are opened ahead of requests, each worker's share of them. Those that fail say nothing of
 * the server's health, which is about requests: they are counted and logged, and tried one at a time until one succeeds.
 */
#ifndef WEIR_BACK_H
#define WEIR_BACK_H

#include "engine/conn.h"
#include "engine/generation.h"

/*
 * A kept connection to the server, ready to send on; NULL when there is none. `careful`, for requests that cannot be sent again: asks the
 * kernel once more whether the server has closed it, which completions tell only with the next turn.
 */
struct conn *back_take(struct origin *origin, struct conn *client, bool careful);

/*
 * A new connection, for this client's request; NULL: for nobody's. `connected` comes later as exchange_run on conn->exchange, which the caller sets. NULL and errno: no
 * descriptor or memory; EUSERS: the pool is at its limits.connections.
 */
struct conn *back_connect(struct origin *origin, struct conn *client, const struct config *config);

/* Closes the oldest kept connection to some server of the pool, on this worker, so that its place can be taken. False: there is none. */
bool back_make_room(struct view_pool *pool);

/* The request is over: onto the shelf, or closed if the shelf says so. */
void back_keep(struct conn *conn);
void back_close(struct conn *conn);
void back_reset(struct conn *conn); /* with RST */
/* The client's connection ends, and with it the one that is kept for it. */
void back_client_left(struct conn *client);

/* Closes all kept connections of a server (it left the configuration, or is drained). */
void back_forget(struct origin *origin);

/* From one worker to another: borrow.c. */
struct borrow;
struct conn *back_lend(struct origin *origin, struct borrow *borrow); /* NULL: none; borrow_settled when it has stopped receiving */
int must_use back_let_go(struct conn *conn);                          /* its descriptor; the conn is gone */
/* Takes its descriptor over, and the place that it has in its pool's limits.connections. NULL: closed, of no use here. */
struct conn *back_adopt(struct origin *origin, const struct borrow *borrow);
void back_shelve(struct conn *conn);

/*
 * Opens what is missing of each server's `warm` connections, WARM_PER_TICK at most, to servers that are up only. Called now and then
 * (worker.c).
 */
#define WARM_PER_TICK 64u
void back_warm(struct worker *worker);

#endif

/*
 * race: one connection to a server that has several addresses (RFC 8305 5, "happy eyeballs").
 *
 * Addresses are tried in order, beginning with the one that connected last. Another is begun as soon as one has failed, and when one has
 * been under way for RACE_DELAY_MS, with RACE_ATTEMPTS at once. The first that stands becomes the conn's socket, the others are closed.
 * The conn has no descriptor until then; whoever uses it sees one connecting that succeeds or fails, as with one address.
 *
 * A race belongs to its worker (a slab) and outlives its conn until its last operation is over.
 */
#ifndef WEIR_RACE_H
#define WEIR_RACE_H

#include "engine/generation.h"

#define RACE_DELAY_MS 250u
#define RACE_ATTEMPTS 2u

struct race;
size_t race_bytes(void); /* of the slab's objects */

/*
 * Begins to connect conn, an origin's that was made with descriptor -1. conn_connected tells. False, with errno: not even a first attempt could be
 * made, and conn is as it was.
 */
bool must_use race_begin(struct conn *conn, struct origin *origin, struct slice congestion);

/* The conn ends. */
void race_abandon(struct race *race);

#endif

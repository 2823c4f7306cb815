/*
 * destination: a host and port that the forward proxy goes to: an origin that no configuration names, made when a request wants it.
 *
 * It has what the steps of an exchange need of a server (struct member, struct server, struct origin), so that connecting, keeping and re-using
 * connections is what it is for any pool. All destinations of a worker share one view_pool (view->forward), one record and its counters.
 *
 * Its addresses are those that the policy has admitted for the request that comes, and set anew for each: when they differ from those before, kept
 * connections are closed. So no connection is used whose address was not judged for this host under the rules of this request.
 *
 * One that nobody uses stays for its kept connections, DESTINATIONS_KEPT of them on a worker; the one that was used longest ago goes first.
 */
#ifndef WEIR_DESTINATION_H
#define WEIR_DESTINATION_H

#include "engine/generation.h"

#define DESTINATIONS_KEPT 1024u
#define DESTINATION_KEY_BYTES 272u /* "host:port" */

struct destination;
struct destinations;

struct destinations *must_use destinations_new(struct worker *worker); /* NULL: no memory */
/* A generation came into force. Unless it says the same (derived), kept connections are closed. */
void destinations_adopt(struct destinations *destinations);
void destinations_close(struct destinations *destinations); /* all kept connections */
void destinations_free(struct destinations *destinations);  /* the loop has ended; NULL: nothing */

/* A reference. addresses: 1..SERVER_ADDRESSES_MAX, in the order to try them. NULL: no memory. */
struct destination *must_use destination_for(struct destinations *destinations, struct slice key,
                                             const struct peer_address *addresses, uint32_t count,
                                             const struct view *view);
void destination_unref(struct destination *destination);

/* Like upstream_pick: the caller has it until upstream_done, and gives it back then. A reference. */
struct member *destination_lease(struct destination *destination);
void destination_return(struct member *member);

#endif

/*
 * front: the client side: connections of clients between their requests.
 *
 * front_accept makes a conn for an accepted descriptor; when bytes come an exchange is begun (exchange.h), one at a time; pipelined
 * requests wait in `in`. When the exchange is over it says so with front_next, and the connection waits for its next
 * request, finishes, or closes. Deadlines while no exchange is under way are kept here: idle, and the head's.
 */
#ifndef WEIR_FRONT_H
#define WEIR_FRONT_H

#include "engine/conn.h"
#include "engine/listener.h"

void front_accept(struct listener *listener, int fd);

/* The exchange is over and gone. keep: the connection may carry another request; if not, more_may_come: the client did not say that
 * this request was its last. */
void front_next(struct conn *client, bool keep, bool more_may_come);

/* Of a TCP listener, PROXY header and handshake being over: from here on it is a stream's (stream.h). */
void front_begin_stream(struct conn *client);

/* Fills in client->client's address, port and trusted from the socket, once. */
void front_name(struct conn *client);

/* The client spoke TLS, with us or with a proxy in front that says so. */
static inline bool front_is_secure(const struct conn *client)
{
    return client->tls || client->client.header_tls;
}

/* True for the address (IPv4 as v4-mapped IPv6) of a listed proxy. */
bool front_trusts(const struct config *config, const uint8_t address[16]);
/* Likewise, of one whose PURGE requests are honoured (cache.purge-from). */
bool front_may_purge(const struct config *config, const uint8_t address[16]);

/* Sends what is queued and ends the connection (conn_finish), and counts it out. */
void front_finish(struct conn *client, bool linger);

/* Ends the connection now (reset or not) and counts it out. */
void front_close(struct conn *client, bool reset);

/* Draining: closes it if it is between requests. */
void front_drain(struct conn *client);

#endif

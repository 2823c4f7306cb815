/*
 * front_header: the PROXY header of a client's connection, before its TLS and its first request (proto/proxy_header.h).
 *
 * Only connections from the addresses that a listener's `proxy-protocol` names begin with one, and those must: else whoever reaches the port
 * could name any address, or a proxy that forgot its header would pass its clients off as itself. The address that a header names takes the
 * peer's place wherever a client's is asked for: for trusted-proxies too, since it is that client who wrote the request; the proxy in front passed bytes
 * on. A header that names nobody (LOCAL, UNKNOWN) leaves the peer's.
 */
#ifndef WEIR_FRONT_HEADER_H
#define WEIR_FRONT_HEADER_H

#include "engine/conn.h"

/* A new connection: says who connects, and sets client->client.header_due if it must begin with a header. */
void front_header_expect(struct conn *client);

/* Takes the header from the front of what was received. True: the rest is content. False: more is needed, or the connection is over. */
bool must_use front_header_read(struct conn *client, struct queue *from);

/* Its deadline passed without one. */
void front_header_timeout(struct conn *client);

#endif

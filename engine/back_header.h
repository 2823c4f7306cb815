/*
 * back_header: what a server is told of a client by the PROXY protocol (proto/proxy_header.h), at the begin of each connection to it.
 */
#ifndef WEIR_BACK_HEADER_H
#define WEIR_BACK_HEADER_H

#include "engine/conn.h"
#include "proto/proxy_header.h"

/*
 * The header of this version that names the client: as its own proxy in front has named it, if it came by one; with what is known of its TLS in
 * version 2. client NULL: one that names nobody, for connections of our own. Answers its length.
 */
size_t back_header_write(struct conn *client, uint32_t version, char out[PROXY_HEADER_BYTES_MAX]);

#endif

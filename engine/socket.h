/*
 * socket: options of sockets that listener, back and prober share.
 */
#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H

#include "engine/config.h"

/*
 * Sets the congestion control that the configuration asks for: "system" leaves the system's default; "auto" takes cubic (else reno)
 * where the address is loopback, since a pacing default such as BBR costs up to twice the CPU per byte there, and leaves the default
 * elsewhere; else the named one. Failure leaves the default. No effect on unix sockets.
 */
void socket_congestion(int fd, struct slice wanted, const struct address *address);
bool address_is_loopback(const struct address *address);

/* A stream socket to connect to address with, non-blocking; -1 and errno. */
int socket_for_origin(const struct address *address, struct slice congestion);

/* Text of a socket's peer without port (IPv4 also when it came v4-mapped) and its port; a unix peer is "unix", port 0. */
size_t socket_peer(int fd, char out[46], uint16_t *port, uint8_t address16[16]);

/*
 * For deadlines. The kernel says nothing while a peer takes what lies in the socket's buffer (a send waits until a third of it is
 * free: megabytes on a fast path), so a peer that is slow looks like one that is dead. socket_taken is a number that changes with
 * every byte that the peer takes, and 0 when it has all that was sent. Two system calls: for when a deadline has passed only.
 */
uint64_t socket_taken(int fd);

#endif

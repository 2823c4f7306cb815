/*
 * socket: options of sockets that listener, back and prober share.
 */
#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H

#include "engine/config.h"

/*
 * Sets the congestion control that the configuration asks for: "system" leaves the system's default; "auto" takes cubic (else reno)
 * where the address is loopback, since a pacing default such as BBR costs up to twice the CPU per byte there, and leaves the default
 * elsewhere; else the named one. Failure leaves the default. No effect on unix sockets, which have none.
 */
void socket_congestion(int fd, struct slice wanted, const struct address *address);
/* 127.0.0.0/8, also as v4-mapped IPv6, or ::1. */
bool address_is_loopback(const struct address *address);

/*
 * Whether "auto" has to look at each peer of a listening socket: it listens on every address, so that some come by loopback, and the default
 * is neither cubic nor reno, which cost nothing there. Then socket_congestion_of_peer does, with two system calls for those that do.
 */
bool socket_congestion_by_peer(int fd, struct slice wanted, const struct address *address);
void socket_congestion_of_peer(int fd);

/* What the configuration's word comes to here, for the log: "auto (cubic for loopback, bbr for others)". */
void socket_congestion_text(struct slice wanted, char text[96]);

/* A stream socket to connect to address with, non-blocking; -1 and errno. */
int socket_for_origin(const struct address *address, struct slice congestion);

/* Text of a socket's peer without port (IPv4 also when it came v4-mapped) and its port; a unix peer is "unix", port 0. */
size_t socket_peer(int fd, char out[46], uint16_t *port, uint8_t address16[16]);

/* The socket's own address, IPv4 as v4-mapped IPv6, and port. False: it is a unix socket. */
bool socket_own_address(int fd, uint8_t address16[16], uint16_t *port);

/*
 * Of a connection whose end has just been received, and towards which no FIN was sent: it was a reset all the same. The kernel tells of one only once, and
 * a send that was half done takes that and answers with what it has sent. One system call. False of a unix socket, which has no such state.
 */
bool socket_was_reset(int fd);

/*
 * For deadlines. The kernel says nothing while a peer takes what lies in the socket's buffer (a send waits until a third of it is
 * free: megabytes on a fast path), so a peer that is slow looks like one that is dead. socket_taken is a number that changes with
 * every byte that the peer takes, and 0 when it has all that was sent. Two system calls: for when a deadline has passed only.
 */
uint64_t socket_taken(int fd);

#endif

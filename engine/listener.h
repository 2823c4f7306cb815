/*
 * listener: a listening socket on one worker: accepts, caps, hands connections to front.
 *
 * TCP listeners have a socket per worker (SO_REUSEPORT); a unix listener is one socket that all workers accept from.
 * Accepting is one multishot operation. Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM) it pauses for LISTENER_BACKOFF_MS
 * and is counted; connections wait in the kernel's backlog meanwhile.
 */
#ifndef WEIR_LISTENER_H
#define WEIR_LISTENER_H

#include "engine/base/timer.h"
#include "engine/config.h"
#include "engine/op.h"

#define LISTENER_BACKOFF_MS 100u

struct worker;
struct listener_tls;

struct listener {
    struct op accept;
    struct timer backoff;
    struct worker *worker;
    struct listener *next; /* worker->listeners */
    struct slice address;  /* text, by which reloads find it; own memory */
    int fd;
    uint8_t serve;         /* enum listener_serve; of the newest configuration, as are the next five */
    const struct config_listener *tcp; /* the newest configuration's, of a TCP listener (stream.h); NULL: HTTP is spoken */
    bool to_https;         /* every request is redirected */
    const struct listener_tls *tls; /* NULL: plain */
    const struct config_proxied *proxied; /* the newest configuration's; NULL: no connection begins with a PROXY header */
    char hsts[40];         /* the value of Strict-Transport-Security; empty: none */
    bool congestion_by_peer; /* socket.h */
    bool shared;           /* unix: the process's one descriptor, closed by it */
    bool leaving;          /* gone from the configuration: freed when its last completion came and no conn names it */
    uint32_t clients;      /* conns that name it */
};

/* Opens a listening socket (bind, options, listen); -1 and why. Control thread. */
int listener_open(const struct config *config, const struct config_listener *listener, char why[256]);

/* Worker thread. NULL: out of memory; fd stays the caller's. */
struct listener *listener_start(struct worker *worker, int fd, const struct config *config, const struct config_listener *from);
/* What the newest configuration says of it; tls is that generation's and NULL for a plain one. */
void listener_take(struct listener *listener, const struct config_listener *from, const struct listener_tls *tls);
void listener_stop(struct listener *listener); /* no more accepts; connections stay */
void listener_unref(struct listener *listener);

#endif

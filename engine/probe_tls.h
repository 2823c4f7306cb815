/*
 * probe_tls: the TLS of one active check (prober.c): a session, the request that goes through it and what comes back. Control thread only.
 */
#ifndef WEIR_PROBE_TLS_H
#define WEIR_PROBE_TLS_H

#include "proto/tls.h"

/* What all checks of a process share; made with the first that needs it. */
struct probe_tls_shared {
    struct block_pool blocks;
    struct tls_room room;
    bool made;
};
void probe_tls_shared_release(struct probe_tls_shared *shared);

struct probe_tls {
    struct tls tls;
    struct chain plain;
    struct queue content;
    struct block *receiving; /* lent to the kernel */
    struct probe_tls_shared *shared;
    bool asks; /* there was a request */
};

/* A session that will send request; empty: one that is open and nothing more. NULL: no memory. */
struct probe_tls *probe_tls_new(struct probe_tls_shared *shared, struct tls_context *context, const char *server_name, struct slice request);
void probe_tls_free(struct probe_tls *probe);

enum probe_tls_next {
    PROBE_TLS_SEND,    /* *at is to be sent; probe_tls_sent tells how much was */
    PROBE_TLS_RECEIVE, /* into *at, whose length is the room; probe_tls_received tells how much came */
    PROBE_TLS_OPEN,    /* the handshake is over, and there is nothing to send */
    PROBE_TLS_CONTENT, /* probe->content has some */
    PROBE_TLS_CLOSED,  /* by close_notify */
    PROBE_TLS_FAILED   /* why */
};
enum probe_tls_next probe_tls_step(struct probe_tls *probe, struct slice *at, char why[160]);
void probe_tls_sent(struct probe_tls *probe, uint32_t bytes);
void probe_tls_received(struct probe_tls *probe, uint32_t bytes);

#endif

/*
 * resolver_channel: a c-ares channel on a loop: its sockets are polled by the ring, its time-outs by the wheel.
 *
 * Opened with the first question (dns_channel_open), so that who asks nothing has none of this; closed and opened anew where the way to ask changes.
 * Whoever has it asks c-ares by `ares`, and calls dns_channel_wait afterwards.
 */
#ifndef WEIR_RESOLVER_CHANNEL_H
#define WEIR_RESOLVER_CHANNEL_H

/* Debian 13's c-ares calls old what Debian 12's has only. */
#ifndef CARES_NO_DEPRECATED
#define CARES_NO_DEPRECATED
#endif
#include <ares.h>

#include "engine/base/timer.h"
#include "engine/config.h"
#include "engine/loop.h"

#define WATCHES_MAX 64u
#define SERVER_LIST_BYTES 512u

struct dns_channel;

/* A socket of c-ares, and the poll that is out for it. */
struct watch {
    struct dns_channel *channel;
    struct op op;
    int fd; /* -1: free, once op is idle */
    short wanted, armed;
};

struct dns_channel {
    struct loop *loop;
    ares_channel ares; /* while open */
    bool open, library, ending;
    bool search; /* by the search list of resolv.conf */
    uint32_t timeout_ms, tries;
    char servers[SERVER_LIST_BYTES]; /* "127.0.0.1:5353,[::1]:53"; empty: those of resolv.conf */
    struct watch watches[WATCHES_MAX];
    struct timer patience;                      /* c-ares': the next question that is to be asked again */
    void (*moved)(struct dns_channel *channel); /* c-ares was given something, and may have answered */
};

/* The channel stays where it is from here on. */
void dns_channel_init(struct dns_channel *channel, struct loop *loop, bool search,
                      void (*moved)(struct dns_channel *channel));
/* From now on asked so; what is open is closed (questions that are out end with ARES_EDESTRUCTION). True: it was. */
bool dns_channel_configure(struct dns_channel *channel, const struct config_dns *dns);
bool must_use dns_channel_open(struct dns_channel *channel); /* false: no memory */
void dns_channel_wait(struct dns_channel *channel);          /* after asking: when c-ares wants to be woken */
void dns_channel_close(struct dns_channel *channel);
void dns_channel_end(struct dns_channel *channel); /* the loop does not run any more, or nothing is asked any more */

#endif

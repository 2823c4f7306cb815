/*
 * forward: what an exchange of a forward-proxy listener has beside what any has, and what a worker has for them.
 *
 *   RECEIVE -> ADMIT -> (LOOKUP) -> SELECT: names, destination -> ATTACH -> FORWARD ... or, for CONNECT, TUNNEL
 *
 * ADMIT (exchange_forward.c) says who may (client networks, user and password), what may (the policy, by the host's name), and takes a place of the
 * user's. In SELECT's place the name is looked up, each address is judged, and a destination of what is left is leased (exchange_destination.c). All
 * else is as for any request: the route is forward-proxy's own, the pool view->forward.
 */
#ifndef WEIR_ENGINE_FORWARD_H
#define WEIR_ENGINE_FORWARD_H

#include "engine/destination.h"
#include "engine/exchange.h"
#include "engine/forward_places.h"
#include "engine/names.h"
#include "engine/verifier.h"
#include "proto/basic_auth.h"

/* A worker's; made with the first request to a forward proxy. */
struct forward_side {
    struct slab requests; /* struct forward */
    struct names *names;
    struct destinations *destinations;
    struct verifier_side *verifier; /* NULL until a password is asked */
};

struct forward {
    void *slab_link; /* overwritten while free */
    struct exchange *exchange;
    struct destination *destination; /* a reference; NULL: none yet */
    struct user_place *place;        /* NULL: none is held */
    struct name_wait name;
    struct verifier_wait verifier;
    struct timer patience; /* for the name */
    enum verified verified;
    bool asked;     /* the verifier was */
    bool resolving; /* patience counts */
    bool late;      /* it has ended */
    bool alone;     /* the connection to the site is nobody else's, before and after */
    uint16_t port;
    struct forward_host host;
    uint32_t user_length;
    char user[BASIC_AUTH_USER_MAX];
};

/* NULL: no memory. Freed by exchange_drop. */
struct forward *must_use forward_new(struct exchange *x);
void forward_free(struct forward *forward);

/* NTLM and Negotiate speak for a whole connection: whoever had it next would be that user to the site. Of unknown schemes the same is feared. */
bool forward_speaks_for_connection(const struct request *request);

/* Host and port of the request's target. False: it is no host. */
bool must_use forward_read_target(struct forward *forward, const struct request *request);

/* Answers of the forward proxy's own, a sentence each. */
enum step_verdict forward_refuse(struct exchange *x, unsigned status, const char *why, const char *format, ...)
    printf_like(4, 5);
enum step_verdict forward_forbid(struct exchange *x, enum forward_verdict verdict); /* counted */

/* WAIT, for a name or a password; or the end, when the client has left. */
enum step_verdict forward_wait(struct exchange *x);

/* SELECT of a request of the forward proxy. */
enum step_verdict exchange_destine(struct exchange *x);
/* FORWARD of CONNECT: the tunnel is opened. */
enum step_verdict exchange_connect(struct exchange *x);

/* Worker's thread. */
void forward_side_adopt(struct forward_side *side); /* a generation came into force. NULL: nothing */
void forward_side_close(struct forward_side *side); /* the worker ends */
bool forward_side_quiet(const struct forward_side *side);
void forward_side_free(struct forward_side *side); /* the loop has ended */

#endif

/*
 * upgrade: whether a request may leave HTTP for another protocol, and whether the origin's 101 is one (RFC 9110 7.8, a route's `upgrade`).
 *
 * What follows a 101 is a tunnel that nobody here reads, so both messages are judged before it is opened: of WebSocket by the whole of its
 * handshake (proto/websocket.h), of others by what HTTP says of them all. Other protocols that a client offers are left out of what the
 * origin is asked, as RFC 9110 allows; a websocket would wait for ever, so that one is refused.
 */
#ifndef WEIR_UPGRADE_H
#define WEIR_UPGRADE_H

#include "proto/message.h"

/* The protocols that pass, as they are spelled to origins: "websocket", "SPDY/3.1". */
struct upgrade_rule {
    const struct slice *protocols;
    uint32_t count;
};

enum upgrade_verdict {
    UPGRADE_NONE,      /* an ordinary request */
    UPGRADE_ASKED,     /* the origin is asked for `protocol` */
    UPGRADE_FORBIDDEN, /* the route lets no websocket pass: 403 */
    UPGRADE_BAD,       /* no proper handshake: 400 */
    UPGRADE_VERSION    /* of WebSocket, another than 13: 426 */
};

struct upgrade {
    struct slice protocol; /* of the rule; ASKED */
    bool websocket;
    const char *why; /* words that live for ever; BAD, VERSION and what upgrade_is_granted refuses */
};

/* The client would go on in WebSocket: whatever becomes of the request, what follows it was not meant as another one. */
bool upgrade_wants_websocket(const struct request *request);

/* The first protocol of the client's that the rule has. *upgrade is filled in. */
enum upgrade_verdict must_use upgrade_of(const struct upgrade_rule *rule, const struct request *request, struct upgrade *upgrade);

/* Whether this 101 grants what was asked; upgrade->why says why not. */
bool must_use upgrade_is_granted(struct upgrade *upgrade, const struct request *request, const struct response *response);

#endif

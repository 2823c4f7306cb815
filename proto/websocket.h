/*
 * websocket: the opening handshake of the WebSocket protocol (RFC 6455 4) as an intermediary sees it: does a request really ask for it, and does the
 * answer really grant it? What follows is a tunnel, so both are judged strictly: a server that does not speak it must not be sent a client's bytes
 * as if it did, and what is no handshake must not end the framing of messages. Frames are no affair of this file, nor are
 * subprotocols and extensions, which client and server settle between them.
 *
 * Requests are those of HTTP/1.1. Nothing is allocated; the parser has judged the messages already.
 */
#ifndef WEIR_WEBSOCKET_H
#define WEIR_WEBSOCKET_H

#include "proto/message.h"

#define WEBSOCKET_ACCEPT_BYTES 28u /* 20 bytes in base64 */

enum websocket_verdict {
    WEBSOCKET_NONE,    /* it does not ask for WebSocket */
    WEBSOCKET_WELL,
    WEBSOCKET_BAD,     /* 400 */
    WEBSOCKET_VERSION  /* another version than 13: 426 with Sec-WebSocket-Version: 13 (RFC 6455 4.4) */
};

/* *why: what is wrong, in words that live for ever; NULL if nothing is. */
enum websocket_verdict must_use websocket_check_request(const struct request *request, const char **why);

/* Sec-WebSocket-Key of a request that is WELL. */
struct slice websocket_key(const struct request *request);

/* What Sec-WebSocket-Accept must be for this key. ERR_MEMORY: the library could not. */
enum err must_use websocket_accept(struct slice key, char out[WEBSOCKET_ACCEPT_BYTES]);

/*
 * Whether a response switches to WebSocket for that key (RFC 6455 4.1). NONE: it is no 101, and a response like any other. BAD: a 101 that nobody
 * asked for (502).
 */
enum websocket_verdict must_use websocket_check_response(const struct response *response, struct slice key, const char **why);

#endif

/*
 * refusal: requests that are refused for what they are, whatever the routes say. Pure; an exchange and `weir explain` both ask here.
 */
#ifndef WEIR_REFUSAL_H
#define WEIR_REFUSAL_H

#include "proto/message.h"

/* id, status, row of stats, what the client is told */
#define REFUSAL_ROWS(X)                                                                      \
    X(REFUSAL_CONNECT, 501, "upgrade_refused", "CONNECT is not supported")                   \
    X(REFUSAL_TRACE, 405, "trace_refused", "TRACE is not supported")                         \
    X(REFUSAL_CONTENT, 413, "body_too_large", "The request's content is too large")
#define REFUSAL_AS_ENUM(id, status, why, sentence) id,
enum refusal { REFUSAL_NONE, REFUSAL_ROWS(REFUSAL_AS_ENUM) REFUSALS };

struct refusal_row {
    unsigned status;
    const char *why;
    const char *sentence;
    struct slice body; /* the sentence as a line */
};
extern const struct refusal_row refusal_rows[REFUSALS];

/* content_bytes_max: limits.body; 0: none. */
enum refusal refusal_of(const struct request *request, uint64_t content_bytes_max);

#endif

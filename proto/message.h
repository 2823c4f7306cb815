/*
 * message: one HTTP request and one response, whatever version carried them (RFC 9110 section 6).
 *
 * Both are views: every slice points into the block that holds the received head (or into the exchange's arena where
 * normalisation had to write). The codec that parsed a message has judged its framing: when a message exists, there is
 * exactly one way to read where its content ends (RFC 9112 section 6.3), and `framing` says which.
 */
#ifndef WEIR_MESSAGE_H
#define WEIR_MESSAGE_H

#include "proto/fields.h"

/* id, name, safe (RFC 9110 9.2.1), idempotent (9.2.2; QUERY by RFC 10008) */
/* clang-format off */
#define METHOD_ROWS(X)                             \
    X(METHOD_OTHER,   "",        false, false)     \
    X(METHOD_GET,     "GET",     true,  true)      \
    X(METHOD_HEAD,    "HEAD",    true,  true)      \
    X(METHOD_POST,    "POST",    false, false)     \
    X(METHOD_PUT,     "PUT",     false, true)      \
    X(METHOD_DELETE,  "DELETE",  false, true)      \
    X(METHOD_CONNECT, "CONNECT", false, false)     \
    X(METHOD_OPTIONS, "OPTIONS", true,  true)      \
    X(METHOD_TRACE,   "TRACE",   true,  true)      \
    X(METHOD_PATCH,   "PATCH",   false, false)     \
    X(METHOD_QUERY,   "QUERY",   true,  true)
/* clang-format on */
#define METHOD_AS_ENUM(id, name, safe, idempotent) id,
enum method { METHOD_ROWS(METHOD_AS_ENUM) METHODS };

/* METHOD_OTHER for a token not in the table. Methods are case-sensitive (RFC 9110 9.1). */
enum method method_of(struct slice token);
const char *method_name(enum method method);
bool method_is_safe(enum method method); /* of METHOD_OTHER nothing is known: false */
bool method_is_idempotent(enum method method);

/* How the end of the content is found (RFC 9112 6.3). */
enum framing {
    FRAMING_NONE,       /* no content */
    FRAMING_LENGTH,     /* content_length bytes */
    FRAMING_CHUNKED,    /* Transfer-Encoding: chunked */
    FRAMING_UNTIL_CLOSE /* responses only */
};

/* The forms of a request target (RFC 9112 3.2). */
enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };

struct request {
    struct slice method_token;
    struct slice target;    /* as received */
    struct slice authority; /* host[:port] that the request is for: of an absolute target, else of Host; may be empty (HTTP/1.0) */
    struct slice host;      /* authority without port, as received (compare without case) */
    struct slice path;      /* normalised (uri.h): what routes match and what is forwarded; "*" for TARGET_ASTERISK */
    struct slice query;     /* without '?'; at == NULL when there is no '?' */
    uint64_t content_length;
    enum method method;
    enum target_form form;
    enum framing framing;
    uint8_t version_minor;  /* HTTP/1.x */
    bool keep_alive;        /* the client lets the connection persist (RFC 9112 9.3) */
    bool expects_continue;  /* Expect: 100-continue, from an HTTP/1.1 client */
    bool upgrade;           /* Upgrade present and named by Connection */
    bool te_trailers;       /* TE: trailers */
    uint32_t head_bytes;    /* including the empty line */
    struct fields fields;
};

struct response {
    struct slice reason;
    uint64_t content_length;
    enum framing framing; /* judged with the request's method (RFC 9112 6.3: HEAD, 204, 304 have none) */
    uint16_t status;
    uint8_t version_minor;
    bool keep_alive;
    bool interim; /* 1xx: another response follows */
    bool has_content_length; /* also where framing is NONE (HEAD, 304): to be forwarded */
    uint32_t head_bytes;
    struct fields fields;
};

/* The reason phrase of RFC 9110 section 15 for a status, "" if it has none. */
struct slice status_reason(unsigned status);

#endif

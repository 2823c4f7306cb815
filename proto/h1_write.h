/*
 * h1_write: heads of HTTP/1.1 messages, written into memory the caller owns.
 *
 * A writer never passes its end: when something does not fit it sets `overflow` and writes nothing more; the caller
 * looks once, at the end. Field values that come from configuration were checked when it was read; everything else came
 * through h1_parse, so no CR, LF or NUL can get out here.
 */
#ifndef WEIR_H1_WRITE_H
#define WEIR_H1_WRITE_H

#include "proto/codec.h"
#include "proto/coding.h"
#include "proto/http_date.h"

struct h1_writer {
    char *at;
    char *end;
    bool overflow;
};

static inline struct h1_writer h1_writer_of(char *at, size_t cap) { return (struct h1_writer){ at, at + cap, false }; }
static inline void h1_put(struct h1_writer *w, struct slice s)
{
    if (unlikely((size_t)(w->end - w->at) < s.length)) {
        w->overflow = true;
        w->end = w->at;
        return;
    }
    if (s.length)
        memcpy(w->at, s.at, s.length);
    w->at += s.length;
}
#define h1_put_literal(w, text) h1_put(w, SLICE(text))
void h1_put_number(struct h1_writer *w, uint64_t value);
void h1_put_hex(struct h1_writer *w, uint64_t value);
void h1_put_field(struct h1_writer *w, struct slice name, struct slice value); /* name: value CRLF */

/*
 * A request head as this intermediary forwards it, origin-form (or asterisk-form), HTTP/1.1: request line, Host first,
 * end-to-end fields in their order, the route's edits, Via, X-Forwarded-* / Forwarded, framing exactly once and in our own
 * spelling (Content-Length, or Transfer-Encoding: chunked), Expect when expects_continue, TE: trailers when te_trailers (with Connection: TE),
 * Connection: close only when !upstream_keep_alive; Connection: Upgrade and Upgrade where forwarding->upgrade names a protocol. A request with FRAMING_LENGTH carries its Content-Length, also 0.
 * Untrusted clients' X-Forwarded-*, Forwarded, X-Real-IP and X-Client-Verify, -Subject, -Fingerprint are dropped and replaced.
 */
void h1_write_request(struct h1_writer *w, const struct request *request, const struct forwarding *forwarding);

/* How the response is framed towards this client. */
struct h1_response_plan {
    enum framing framing;     /* what the content will be framed as; NONE for HEAD, 204, 304 */
    uint64_t content_length;  /* FRAMING_LENGTH */
    bool send_content_length; /* HEAD and 304: forward the origin's Content-Length though no content follows */
    bool keep_alive;          /* false: Connection: close */
    uint8_t client_minor;     /* 0: an HTTP/1.0 client: keep-alive is said explicitly, no Transfer-Encoding */
    struct slice date;        /* IMF-fixdate, added when the origin sent no Date (RFC 9110 6.6.1); empty: not */
    enum coding coding;       /* else than identity: fields that are about the origin's bytes (H1_CODED_AWAY) go, a strong ETag becomes weak. A 304 is without Content-Encoding */
    bool cached;              /* a cache stands here: what Surrogate-Control said to it goes no further */
    bool stored;              /* the response comes from a store: Age and, with FRAMING_LENGTH, Content-Length are written */
    uint32_t age_s;
    struct slice cache_status; /* a further Cache-Status (RFC 9211); empty: none */
    struct slice upgrade;     /* 101: the protocol that follows, with Connection: Upgrade; empty: none */
    bool varies;              /* Vary names Accept-Encoding, also where the origin's does not */
};

/* Fields that do not hold any more once content is coded on its way, in a head or in trailers. */
#define H1_CODED_AWAY                                                                                                                   \
    (1ull << FIELD_CONTENT_ENCODING | 1ull << FIELD_ACCEPT_RANGES | 1ull << FIELD_CONTENT_MD5 | 1ull << FIELD_DIGEST |                  \
     1ull << FIELD_CONTENT_DIGEST | 1ull << FIELD_REPR_DIGEST | 1ull << FIELD_ETAG)

/* A response head as this intermediary forwards it. Interim (1xx) responses carry no framing and no Connection. */
void h1_write_response(struct h1_writer *w, const struct response *response, const struct request *request,
                       const struct forwarding *forwarding, const struct h1_response_plan *plan);

/*
 * The end-to-end fields of a trailer section with its closing empty line, preceded by the last chunk ("0\r\n"). What the edits
 * replace or remove in the head may not come in by this door either.
 */
void h1_write_last_chunk(struct h1_writer *w, const struct fields *trailers /* NULL: none */, const struct field_edits *edits /* NULL: none */);

/*
 * An answer of the engine's own: status line, the given fields, Content-Type (if type is not empty), Content-Length,
 * Date, Connection as planned, and body unless head_only.
 */
struct h1_answer {
    unsigned status;
    struct slice reason; /* empty: status_reason */
    struct slice type;
    struct slice body;
    const struct field_edit *fields; /* SET and ADD rows are written */
    unsigned field_count;
    bool head_only;
};
void h1_write_answer(struct h1_writer *w, const struct h1_answer *answer, const struct request *request,
                     const struct forwarding *forwarding, const struct h1_response_plan *plan);

#endif

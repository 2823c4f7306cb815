/*
 * h1_body: where the content of a message is in the bytes that follow its head (RFC 9112 sections 6 and 7).
 *
 * A small state machine, 40 bytes or less, fed with whatever arrived. It copies nothing: each step says how many bytes
 * it used and which of them are content. Chunk sizes are at most 16 hex digits and below 2^62; chunk extensions are
 * checked, dropped, and limited to H1_EXTENSION_BYTES per chunk and H1_EXTENSION_TOTAL per body, so a sender cannot make
 * framing outweigh content without end. A bare LF or CR anywhere in the framing is refused.
 */
#ifndef WEIR_H1_BODY_H
#define WEIR_H1_BODY_H

#include "proto/codec.h"

#define H1_EXTENSION_BYTES 256u
#define H1_EXTENSION_TOTAL 16384u

enum h1_body_step {
    H1_BODY_MORE,     /* all bytes used, no content among them, more needed */
    H1_BODY_DATA,     /* *data is content; call again with what follows *used */
    H1_BODY_TRAILERS, /* the last chunk is read: h1_parse_trailers takes over at *used, then h1_body_trailers_done */
    H1_BODY_END,      /* the content is complete; what follows *used belongs to the next message */
    H1_BODY_BAD
};

struct h1_body {
    uint64_t left;      /* LENGTH: content bytes to come; CHUNKED: bytes to come of this chunk */
    uint64_t content;   /* content bytes so far */
    uint32_t extension; /* extension bytes of this chunk */
    uint32_t extension_total;
    uint8_t framing;    /* enum framing */
    uint8_t state;      /* private to h1_body.c */
    uint8_t digits;
    bool ended;
};

void h1_body_init(struct h1_body *body, enum framing framing, uint64_t content_length);

/* length may be 0: a body that needs no more bytes answers H1_BODY_END. */
enum h1_body_step must_use h1_body_next(struct h1_body *body, const char *at, size_t length, size_t *used,
                                        struct slice *data, enum codec_fault *fault);
void h1_body_trailers_done(struct h1_body *body);

/* The peer closed: true when that is a proper end (UNTIL_CLOSE, or the end was seen before). */
bool h1_body_close(struct h1_body *body);

/* Content bytes known to come as plain bytes from here on (LENGTH); UINT64_MAX for UNTIL_CLOSE; 0 otherwise. */
uint64_t h1_body_plain_left(const struct h1_body *body);

/* `bytes` of plain content went past the parser (spliced). bytes <= h1_body_plain_left. */
void h1_body_skip(struct h1_body *body, uint64_t bytes);

#endif

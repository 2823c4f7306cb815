/*
 * h1_parse: heads of HTTP/1.0 and HTTP/1.1 messages (RFC 9112), strictly.
 *
 * Zero copy: what comes out are views into the bytes given, which must be contiguous and stay where they are as long as
 * the message is used. Whatever could be read in two ways is refused with a reason, never repaired: see FAULT_ROWS.
 *
 * Incremental: given a prefix of a head the answer is H1_MORE, and the next call gets the same bytes and more. The
 * total work over all calls is linear in the head's length whatever the sizes of the pieces (h1_progress remembers how
 * far the search for the end went); a prefix that can no longer become a valid head is refused as early as its
 * line is complete, a first byte that no method or "HTTP/" begins with at once.
 *
 * Leading empty lines before a request line are skipped, at most two CRLF (RFC 9112 2.2), and count as head bytes.
 */
#ifndef WEIR_H1_PARSE_H
#define WEIR_H1_PARSE_H

#include "engine/base/arena.h"
#include "proto/codec.h"

enum h1_verdict { H1_DONE, H1_MORE, H1_BAD };

/* Zeroed before the first call for a message. */
struct h1_progress {
    uint32_t scanned; /* bytes already seen not to hold the end of the head */
    uint32_t parsed;  /* length at the last full attempt */
};

struct h1_limits {
    uint32_t head_bytes_max;   /* <= BLOCK_BYTES */
    uint32_t target_bytes_max;
    uint32_t fields_max;       /* <= FIELDS_CAP */
};

/*
 * H1_DONE: *request is filled, request->head_bytes were used (content may follow). H1_BAD: *fault says why and
 * request->version_minor is 1 or what was read. The arena takes canonical forms of targets that needed it; a full arena is
 * FAULT_HEAD_LARGE. Fills only `fields.list[0..count)`; never clears the whole struct.
 */
enum h1_verdict must_use h1_parse_request(struct request *request, const char *at, size_t length,
                                          struct h1_progress *progress, const struct h1_limits *limits,
                                          struct arena *arena, enum codec_fault *fault);

/* request_method decides the framing (RFC 9112 6.3). */
enum h1_verdict must_use h1_parse_response(struct response *response, enum method request_method, const char *at,
                                           size_t length, struct h1_progress *progress,
                                           const struct h1_limits *limits, enum codec_fault *fault);

/*
 * A trailer section after the last chunk, up to and including its empty line. *used is set on H1_DONE.
 * Forbidden fields (codec_forbidden_in_trailer) are marked FIELD_HOP_BY_HOP, not refused; framing fields
 * (Content-Length, Transfer-Encoding, Host) are FAULT_TRAILER.
 */
enum h1_verdict must_use h1_parse_trailers(struct fields *fields, const char *at, size_t length,
                                           struct h1_progress *progress, const struct h1_limits *limits, size_t *used,
                                           enum codec_fault *fault);

#endif

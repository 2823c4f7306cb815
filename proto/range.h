/*
 * range: parts of a stored representation (RFC 9110 14): Range and Content-Range read, Content-Range and multipart/byteranges written.
 *
 * A multipart answer is never composed in memory: its heads are written one by one, with content from the store between, and its length is
 * known before.
 */
#ifndef WEIR_RANGE_H
#define WEIR_RANGE_H

#include "proto/h1_write.h"
#include "proto/message.h"

#define RANGES_MAX 16u         /* ranges in a request; with more the whole is answered (RFC 9110 14.2, 17.15) */
#define RANGE_GAP_BYTES_MAX 80u /* ranges that lie so near are sent as one: a part's head is about that long (15.3.7.2) */

struct range {
    uint64_t first, last; /* both included */
};
struct ranges {
    struct range list[RANGES_MAX];
    unsigned count;
};

enum range_verdict {
    RANGE_NONE,         /* no Range, malformed, another unit, or abuse: 200 with everything */
    RANGE_PARTIAL,      /* 206: list has at least one range, none overlaps or touches another */
    RANGE_UNSATISFIABLE /* 416 */
};

/*
 * What a GET asks for of a representation of `length` bytes. Of other methods Range does not count (RFC 9110 14.2), nor does one of several lines. Order
 * is kept; ranges that overlap or lie near are made one, at the place of the first, so no byte is sent twice. If-Range: condition.h.
 */
enum range_verdict ranges_of(const struct request *request, uint64_t length, struct ranges *ranges);

static inline uint64_t range_bytes(const struct range *range) { return range->last - range->first + 1; }

/* The value of Content-Range: "bytes 0-9/100"; for a 416 "bytes STAR/100" with '*' (RFC 9110 14.4). Answers its length. */
#define CONTENT_RANGE_BYTES 72u
size_t content_range_write(char out[CONTENT_RANGE_BYTES], const struct range *range, uint64_t length);
size_t content_range_write_unsatisfied(char out[CONTENT_RANGE_BYTES], uint64_t length);

/*
 * The value of a Content-Range that came: the part, and the length of the whole; RANGE_LENGTH_UNKNOWN: it was not said ("*"). RFC 9110 14.4: a part that ends before it
 * begins, or behind the whole, is none. ERR_NONE: unsatisfied ("bytes STAR/100" with '*'), only *length is set. ERR_SYNTAX: malformed, or another unit;
 * ERR_RANGE: a number that is none for us.
 */
#define RANGE_LENGTH_UNKNOWN UINT64_MAX
enum err must_use content_range_read(struct slice value, struct range *range, uint64_t *length);

/* A multipart/byteranges answer (RFC 9110 14.6) of a few ranges. */
#define BOUNDARY_BYTES 32u
struct multipart {
    const struct ranges *ranges;
    uint64_t length;   /* of the whole representation */
    struct slice type; /* its Content-Type; empty: parts have none */
    char boundary[BOUNDARY_BYTES];
};
/* The boundary is made of random bits, so that content cannot have it but by a chance of 2^-128. */
void multipart_init(struct multipart *multipart, const struct ranges *ranges, uint64_t length, struct slice type, const uint64_t random[2]);
/* The value of Content-Type of the answer. */
#define MULTIPART_TYPE_BYTES (31u + BOUNDARY_BYTES)
size_t multipart_type_write(const struct multipart *multipart, char out[MULTIPART_TYPE_BYTES]);
/* Content-Length of the answer. */
uint64_t multipart_bytes(const struct multipart *multipart);
/* What stands before the content of range `part`; and for part == ranges->count, what ends it all. At most multipart_head_bytes. */
void multipart_put_head(const struct multipart *multipart, unsigned part, struct h1_writer *w);
size_t multipart_head_bytes(const struct multipart *multipart, unsigned part);

#endif

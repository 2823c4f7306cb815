/*
 * accept_encoding: which content coding a client wants most (RFC 9110 12.5.3).
 */
#ifndef WEIR_ACCEPT_ENCODING_H
#define WEIR_ACCEPT_ENCODING_H

#include "proto/coding.h"
#include "proto/fields.h"

/*
 * Of the codings in ours (enum coding, what we like best first) the one with the highest weight. CODING_IDENTITY when the field is missing,
 * is malformed, accepts none of them, or wants identity more than any. "x-gzip" is gzip. A coding named twice has its last weight.
 */
enum coding accept_encoding_choose(const struct fields *fields, const uint16_t *ours, uint32_t count);

#endif

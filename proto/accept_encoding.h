/*
 * accept_encoding: which content coding a client wants most (RFC 9110 12.5.3).
 *
 * A field that Connection names was for us alone and counts as absent, as it does in keys (key.h): else what was coded for the one who sent it would be
 * stored for those who sent none.
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

/*
 * The field in its normal form, for keys: two requests with the same one accept the same of br, gzip, zstd and identity, and like them in the same
 * order. By falling weight, ',' between those that are liked alike and '>' where the next is liked less; '*' counts as a coding. Then those that are
 * refused though they would not be by their absence, behind '!': "gzip,zstd>br,!identity". Weights, other codings, and an identity that
 * is liked least are left out, so the usual "gzip, deflate, br" is "br,gzip", and "identity" is "".
 *
 * ERR_NONE: there is no field, which is not the same as an empty one. ERR_SYNTAX: malformed, or a coding has two weights: nobody knows what an origin
 * makes of it.
 */
#define ACCEPT_ENCODING_NORMAL_BYTES 40u
enum err must_use accept_encoding_normalise(const struct fields *fields, char out[ACCEPT_ENCODING_NORMAL_BYTES], struct slice *normal);
/*
 * Was a response with this Content-Encoding (empty: none) chosen from what the normal form speaks of: identity, or br, gzip, x-gzip or zstd that the
 * field accepts? False for others: deflate, two codings in turn, one that was sent unasked.
 */
bool accept_encoding_explains(const struct fields *fields, struct slice coding);

#endif

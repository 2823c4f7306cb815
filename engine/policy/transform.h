/*
 * transform: placeholders in values that a route orders ({host}, {client-address}, ...; fields.h lists them).
 *
 * Parsing happens when the configuration is read; composing while a head is written (proto/h1_write.h uses the same
 * parts, codec_placeholder) or a redirect is answered.
 */
#ifndef WEIR_TRANSFORM_H
#define WEIR_TRANSFORM_H

#include "proto/codec.h"

/*
 * Splits text at its placeholders into at most `cap` parts. *count 0: text is literal. "{{" stands for "{" and
 * "}}" for "}". Literal parts are views into text. ERR_SYNTAX: an unknown placeholder or a lone brace, ERR_CAP: too many parts.
 */
enum err must_use transform_parse(struct slice text, struct field_value_part *parts, unsigned cap, unsigned *count);

/* The word between a placeholder's braces; empty for PLACEHOLDER_NONE. */
struct slice transform_word(enum field_placeholder placeholder);

/*
 * A "?" right before {query} is left out when the request has no query, so that "https://{host}{path}?{query}" is the same
 * place under another scheme. ERR_CAP when out is too small; ERR_NONE when {host} is asked for and the request names none (HTTP/1.0):
 * "https://{host}{path}" would let its path name the host. Bytes that may not stand in a field value cannot come from a parsed request.
 */
enum err must_use transform_compose(const struct field_value_part *parts, unsigned count, const struct request *request,
                                    const struct forwarding *forwarding, char *out, size_t cap, struct slice *composed);

/* Of what the edits say, for telling two lists apart; seed: of siphash13. */
uint64_t transform_hash(const struct field_edits *edits, const uint64_t seed[2]);

/*
 * The pool's name as keys of the cache have it: with a hash of the edits, where there are any, since an origin is sent what they make of a request.
 * room: of pool.length + TRANSFORM_NAME_MORE bytes; not touched without edits.
 */
#define TRANSFORM_NAME_MORE 17u
struct slice transform_name(struct slice pool, const struct field_edits *edits, const uint64_t seed[2], char *room);

/* Some edit gives the field of that name (any case, '_' for '-') a value that is made for one client: of its address or port, the query, the server or a number. */
bool transform_is_for_one(const struct field_edits *edits, struct slice name);

#endif

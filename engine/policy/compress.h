/*
 * compress: whether a response's content is to be coded on its way to the client, and how (a route's `compress`).
 */
#ifndef WEIR_COMPRESS_H
#define WEIR_COMPRESS_H

#include "proto/coding.h"
#include "proto/message.h"

/* Numbers of words from a table, in order of preference; without any word twice. */
#define CONFIG_WORDS_MAX 16u
struct config_words {
    uint16_t list[CONFIG_WORDS_MAX];
    uint32_t count;
};

struct compress_rule {
    struct config_words codings; /* enum coding, what is liked best first; none: the route does not compress */
    const struct slice *types;   /* globs, lower case */
    uint32_t type_count;
    uint64_t bytes_min;
};

/* What stands for `types` where none are given. */
#define COMPRESS_TYPES_USUAL 8u
extern const struct slice compress_types_usual[COMPRESS_TYPES_USUAL];

struct compress_choice {
    enum coding coding; /* CODING_IDENTITY: as it is */
    bool varies;        /* another client would get, or this one gets, another coding: Vary has to say so */
};

/*
 * Only responses of status 200 with a type of the rule and at least bytes_min of content (an unknown length is large), that have
 * no coding yet, are no range, and do not forbid it (no-transform, RFC 9110 7.7). HTTP/1.0 clients get identity. edits: the route's, whose word on
 * Content-Encoding counts; may be NULL.
 *
 * For a 304, what the 200 would have had (RFC 9110 15.4.5), for the sake of its ETag and Vary. If it does not say its type, then coding is else than
 * CODING_IDENTITY only where the client has the response coded: If-None-Match names weakly what ETag says.
 */
struct compress_choice compress_choose(const struct compress_rule *rule, const struct request *request, const struct response *response,
                                       const struct field_edits *edits);

#endif

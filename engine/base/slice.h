/*
 * slice: bytes somebody else owns.
 *
 * A pointer and a length, passed by value. A slice owns nothing and need not end in NUL; whoever makes one says how
 * long the bytes stay. An empty slice may have a NULL pointer.
 */
#ifndef WEIR_SLICE_H
#define WEIR_SLICE_H

#include <string.h>

#include "engine/base/base.h"

struct slice {
    const char *at;
    size_t length;
};

#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })
#define SLICE_NONE ((struct slice){ NULL, 0 })

static inline struct slice slice_of(const char *at, size_t length) { return (struct slice){ at, length }; }
static inline struct slice slice_of_text(const char *text) { return (struct slice){ text, text ? strlen(text) : 0 }; }
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}
static inline bool slice_starts(struct slice whole, struct slice prefix)
{
    return whole.length >= prefix.length && (prefix.length == 0 || memcmp(whole.at, prefix.at, prefix.length) == 0);
}

/* ASCII letters compare without case (RFC 9110 5.1: field names; RFC 3986 3.2.2: hosts). */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_ends_nocase(struct slice whole, struct slice suffix);

/* Without leading and trailing SP and HTAB (RFC 9110 5.6.3, OWS). */
struct slice slice_trim(struct slice s);

/* Decimal digits only, at least one, no sign, no overflow: ERR_SYNTAX or ERR_RANGE otherwise, and *value untouched. */
enum err must_use slice_to_u64(struct slice s, uint64_t *value);

/*
 * Takes the next element of a comma-separated list (RFC 9110 5.6.1) off the front of *rest into *element, trimmed,
 * skipping empty elements; commas inside quoted strings do not separate. False at the end.
 */
bool slice_next_element(struct slice *rest, struct slice *element);

/* Glob match: '*' any run of bytes (also '/'), '?' any one byte, everything else itself. Linear-time backtracking on
 * the last star only, so that no pattern and text make it slow beyond pattern x text. */
bool slice_glob(struct slice pattern, struct slice text);

/* Edit distance (Damerau, capped): for nearest-word hints. Lengths over 64 answer `cap`. */
unsigned slice_distance(struct slice a, struct slice b, unsigned cap);

#endif

/*
 * text: a growing string for cold paths (messages, listings, metrics). Never on the path of a request.
 *
 * Grows with realloc up to TEXT_BYTES_MAX; beyond that, or out of memory, `failed` is set and appending does nothing.
 * Always ends in NUL.
 */
#ifndef WEIR_TEXT_H
#define WEIR_TEXT_H

#include <stdarg.h>

#include "engine/base/slice.h"

#define TEXT_BYTES_MAX (64u * 1024u * 1024u)

struct text {
    char *at; /* NULL while empty */
    size_t length;
    size_t cap;
    bool failed;
};

void text_release(struct text *text);
void text_add(struct text *text, struct slice bytes);
void text_format(struct text *text, const char *format, ...) printf_like(2, 3);
void text_json_string(struct text *text, struct slice bytes); /* with quotes; bytes that are not UTF-8 as U+FFFD */
/*
 * The character at the front of s, and how many bytes it takes; 0 when that is not UTF-8 (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). s is not empty.
 */
unsigned text_utf8_next(struct slice s, uint32_t *character);
/* True for what YAML (1.1, 5.1) leaves out of its printable characters, which a JSON text must then escape too. */
bool text_unprintable(uint32_t character);
static inline struct slice text_slice(const struct text *text) { return slice_of(text->at ? text->at : "", text->length); }

#endif

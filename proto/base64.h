/*
 * base64: RFC 4648 4, for the few places that have it.
 */
#ifndef WEIR_BASE64_H
#define WEIR_BASE64_H

#include "engine/base/slice.h"

/* The six bits of a letter, or -1. */
int base64_value(char c);

/*
 * Strictly: whole groups of four, padding where it belongs, no bits left over, nothing else. *length of out's cap bytes. ERR_SYNTAX; ERR_CAP: out is
 * too small for it (then bytes may have been written).
 */
enum err must_use base64_read(struct slice text, uint8_t *out, size_t cap, size_t *length);

#endif

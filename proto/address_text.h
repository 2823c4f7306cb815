/*
 * address_text: IP addresses as text, to bytes and back, without the system's help.
 *
 * Addresses are 16 bytes, an IPv4 one as v4-mapped IPv6 (RFC 4291 2.5.5.2). Reading is strict: no leading zeros in IPv4, no zone, nothing
 * before or behind. Writing gives the one form of RFC 5952.
 */
#ifndef WEIR_ADDRESS_TEXT_H
#define WEIR_ADDRESS_TEXT_H

#include "engine/base/slice.h"

#define ADDRESS_TEXT_BYTES 46u /* the longest text and a NUL */

/* False: it is no such address, and out is not to be used. */
bool must_use address_text_read_v4(struct slice text, uint8_t out[16]);
bool must_use address_text_read_v6(struct slice text, uint8_t out[16]);

/* Of a v4-mapped one. */
bool address_is_v4(const uint8_t address[16]);

/* Its length; ended by NUL. as_v6: a v4-mapped one is ::ffff:192.0.2.1, otherwise 192.0.2.1. */
size_t address_text_write(const uint8_t address[16], bool as_v6, char out[ADDRESS_TEXT_BYTES]);

#endif

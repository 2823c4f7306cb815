/*
 * tls_mac: HMAC-SHA-256 (RFC 2104, FIPS 180-4), by wolfCrypt, for what has to be signed and is no TLS; and SHA-1, where a protocol wants it and nothing
 * depends on its strength (RFC 6455).
 */
#ifndef WEIR_TLS_MAC_H
#define WEIR_TLS_MAC_H

#include "engine/base/slice.h"

#define TLS_MAC_BYTES 32u

/* ERR_MEMORY: the library could not. */
enum err must_use tls_mac(struct slice key, struct slice message, uint8_t out[TLS_MAC_BYTES]);

#define TLS_SHA1_BYTES 20u
enum err must_use tls_sha1(struct slice message, uint8_t out[TLS_SHA1_BYTES]); /* likewise */

#endif

/*
 * network: ranges of IP addresses, in CIDR notation. Addresses are 16 bytes, IPv4 as v4-mapped IPv6 (address_text.h), so 10.0.0.0/8 has 104 bits.
 */
#ifndef WEIR_NETWORK_H
#define WEIR_NETWORK_H

#include "engine/base/slice.h"

#define NETWORK_TEXT_BYTES 50u /* the longest text and a NUL */

/* `unix:`, whoever connects to a unix socket, is ::/128, which nobody else has. */
struct network {
    uint8_t address[16];
    uint8_t bits; /* 0..128 */
};

/* An address, or address/bits. NULL, or a complaint that fits behind "'10.0.0.0/33': "; *network is then untouched. */
const char *network_read(struct slice text, struct network *network);
/* Always with its bits. Its length; ended by NUL. */
size_t network_write(const struct network *network, char out[NETWORK_TEXT_BYTES]);

/* Without the bits beyond its length, and whether it has none anyway: a slip is to be seen. */
struct network network_cleaned(const struct network *network);
bool network_is_clean(const struct network *network);

bool network_has(const struct network *network, const uint8_t address[16]);
bool network_is_among(const uint8_t address[16], const struct network *networks, uint32_t count); /* one of them has it */

#endif

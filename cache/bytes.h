/* bytes: numbers as they stand on a disk: little-endian, at any place. */
#ifndef WEIR_CACHE_BYTES_H
#define WEIR_CACHE_BYTES_H

#include <string.h>

#include "engine/base/base.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES_SWAP(bits, value) (value)
#else
#define BYTES_SWAP(bits, value) __builtin_bswap##bits(value)
#endif

#define BYTES_PAIR(bits)                                                        \
    static inline void put_u##bits(char *at, uint##bits##_t value)              \
    {                                                                           \
        value = BYTES_SWAP(bits, value);                                        \
        memcpy(at, &value, sizeof value);                                       \
    }                                                                           \
    static inline uint##bits##_t get_u##bits(const char *at)                    \
    {                                                                           \
        uint##bits##_t value;                                                   \
        memcpy(&value, at, sizeof value);                                       \
        return BYTES_SWAP(bits, value);                                         \
    }
BYTES_PAIR(16)
BYTES_PAIR(32)
BYTES_PAIR(64)

static inline uint64_t bytes_align(uint64_t value, uint64_t unit) { return (value + unit - 1) & ~(unit - 1); }

#endif

/*
 * base: what every file of the house may lean on.
 *
 * The table of errors and compiler attributes. Nothing here allocates, locks or makes a
 * system call. A peer, an origin, a disk or a file that misbehaves is told by an `enum err`, which the compiler makes
 * callers look at; a mistake of our own is told by MUST (check.h).
 */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define must_use __attribute__((warn_unused_result))
#define printf_like(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define hot_function __attribute__((hot))
#define cold_function __attribute__((cold, noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))
#define CACHE_LINE 64

/* clang-format off */
#define ERR_ROWS(X)                                                  \
    X(ERR_OK,        "ok")                                           \
    X(ERR_AGAIN,     "not now, try again")                           \
    X(ERR_CAP,       "a limit was reached")                          \
    X(ERR_MEMORY,    "out of memory")                                \
    X(ERR_CLOSED,    "closed by the peer")                           \
    X(ERR_CUT,       "cut short")                                    \
    X(ERR_SYNTAX,    "malformed")                                    \
    X(ERR_VERSION,   "unknown version")                              \
    X(ERR_RANGE,     "out of range")                                 \
    X(ERR_NONE,      "not found")                                    \
    X(ERR_EXISTS,    "exists already")                               \
    X(ERR_STATE,     "not possible in this state")                   \
    X(ERR_TIMEOUT,   "took too long")                                \
    X(ERR_REFUSED,   "refused")                                      \
    X(ERR_PERMISSION,"permission denied")                            \
    X(ERR_SYSTEM,    "a system call failed")
/* clang-format on */

#define ERR_AS_ENUM(name, text) name,
enum err { ERR_ROWS(ERR_AS_ENUM) ERR_COUNT };

/* The text of an error, in English, without a full stop. Never NULL. */
const char *err_text(enum err e);

static inline size_t size_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t size_max(size_t a, size_t b) { return a > b ? a : b; }
static inline uint64_t u64_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t u64_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* 64-bit mix (splitmix64's finaliser): spreads seeds and pointers; not for hostile keys, see map.h. */
static inline uint64_t mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* Banned everywhere, by tests/tidy: strcpy strcat sprintf vsprintf gets strtok atoi. */

#endif

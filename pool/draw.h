/*
 * draw: two usable servers at random, by weight, and the better of them (Mitzenmacher 2001). What is better is the
 * policy's own; two-choices and peak-ewma are made of this.
 *
 * By weight and not evenly, because a server can get no larger share than that of the draws that name it. Vose's alias
 * table draws so in O(1): column i is drawn evenly; its server is i itself for the lower `own` / 2^32 of it and `other` for
 * the rest.
 */
#ifndef WEIR_DRAW_H
#define WEIR_DRAW_H

#include "pool/upstream.h"

#define DRAWS_MAX 8u

struct column {
    uint32_t own;
    uint16_t other;
};
_Static_assert(UPSTREAM_SERVERS_MAX <= UINT16_MAX, "struct column's other holds an index");

struct columns {
    bool equal; /* weights: every column is its own */
    struct column column[];
};

/* A policy's build and destroy: tier->balance_state is a struct columns. */
enum err draw_build(struct tier *tier);
void draw_destroy(struct tier *tier);

/* The first usable one from a random place on, not `except`; -1. For when most are unusable and draws fail. */
int draw_look_round(const struct tier *tier, const struct pick_request *request, int except);

static inline uint32_t draw_one(const struct tier *tier, uint64_t random)
{
    const struct columns *columns = tier->balance_state;
    uint32_t i = (uint32_t)(((random >> 32) * tier->count) >> 32);
    if (columns->equal || (uint32_t)random < columns->column[i].own)
        return i;
    return columns->column[i].other;
}

/* Index, or -1 when none is usable. Inlined with `better`, which a pick cannot afford to call. */
static inline int draw_two(const struct tier *tier, const struct pick_request *request,
                           bool (*better)(const struct member *a, const struct member *b,
                                          const struct pick_request *request))
{
    int first = -1;
    uint64_t random = request->random;
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        int drawn = (int)draw_one(tier, random);
        random = mix64(random + 0x9e3779b97f4a7c15ull); /* splitmix64 */
        if (drawn == first || !upstream_usable(tier->upstream, &tier->members[drawn], request))
            continue;
        if (first >= 0)
            return better(&tier->members[drawn], &tier->members[first], request) ? drawn : first;
        first = drawn;
    }
    int second = draw_look_round(tier, request, first);
    if (first < 0 || second < 0)
        return first < 0 ? second : first;
    return better(&tier->members[second], &tier->members[first], request) ? second : first;
}

#endif

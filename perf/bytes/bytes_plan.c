/*
 * bytes_plan: what the exchange with a number is to be, and which bytes it has. Everything follows from the seed and the number.
 *
 * Content is a stretch of a table of random bytes whose length is a prime, beginning where seed, number and way say. A byte of another exchange, of the other
 * way or of another place is taken for right only if its place in the table is the same, one in a million: blocks that were lost, repeated or mixed up are not.
 */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_BYTES 1048583u
#define SEEN_BYTES (1u << 20)
#define KIB 1024u
#define MIB (1024u * 1024u)

static char *table; /* and its first MiB again, so that a stretch is in one piece */

uint64_t dice(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t bound)
{
    return bound ? dice(state) % bound : 0;
}

static bool chance(uint64_t *state, unsigned in)
{
    return below(state, in) == 0;
}

void content_make(void)
{
    uint64_t state = run.seed;

    table = malloc(TABLE_BYTES + SEEN_BYTES);
    if (!table)
        die("out of memory");
    for (uint32_t i = 0; i < TABLE_BYTES; i++)
        table[i] = (char)(dice(&state) >> 32);
    memcpy(table + TABLE_BYTES, table, SEEN_BYTES);
}

const char *content_at(uint64_t number, enum way way, uint64_t at, size_t *contiguous)
{
    uint64_t state = run.seed ^ (number * 2u + (uint64_t)way);
    uint64_t place = (dice(&state) % TABLE_BYTES + at) % TABLE_BYTES;

    *contiguous = SEEN_BYTES;
    return table + place;
}

/* From nothing to 64 MiB, the small ones oftener; within a class all powers alike. */
static uint64_t size_pick(uint64_t *state, bool small)
{
    static const uint64_t ends[] = { 0, KIB, 64 * KIB, MIB, 8 * MIB, 64 * MIB };
    static const unsigned shares[] = { 5, 25, 30, 25, 12, 3 };
    uint64_t roll = below(state, 100), from, to;
    unsigned class = 0;

    if (small)
        return below(state, chance(state, 16) ? 128 * KIB : 2 * KIB);
    while (roll >= shares[class])
        roll -= shares[class ++];
    if (class == 0)
        return 0;
    from = ends[class - 1] ? ends[class - 1] : 1;
    to = ends[class];
    while (to > 2 * from && chance(state, 2))
        to /= 2;
    /* Edges of buffers and pipes are where mistakes are. */
    return chance(state, 8) ? to - 1 + below(state, 3) : from + below(state, to - from);
}

static void manner_make(struct manner *manner, uint64_t *state, uint64_t to_send, uint64_t to_receive)
{
    static const uint32_t steps[] = { 1 << 20, 256 * KIB, 65536, 16384, 4096, 1000 };

    manner->send_bytes = to_send < 256 && chance(state, 4) ? 1 : steps[below(state, to_send > MIB ? 3 : 6)];
    manner->receive_bytes = to_receive < 256 && chance(state, 4) ? 1 : steps[below(state, to_receive > MIB ? 3 : 6)];
    if (chance(state, 6)) {
        manner->pause_at = below(state, to_receive + 1);
        manner->pause_ms = 1 + (uint32_t)below(state, 60);
    }
}

/* A cut where a close would look like the end of the response must be a reset. */
static void cut_make(struct plan *plan, uint64_t *state)
{
    uint64_t whole;

    plan->cutter = chance(state, 2) ? CLIENT : ORIGIN;
    plan->cut = (enum how)below(state, HOWS);
    plan->cut_by_received = chance(state, 3);
    whole = plan->cut_by_received ? plan->bytes[1 - plan->cutter] : plan->bytes[plan->cutter] + 200;
    plan->cut_at = chance(state, 3) ? below(state, whole < 70000 ? whole + 1 : 70000) : below(state, whole + 1);
    if (plan->cutter == ORIGIN && plan->until_close)
        plan->cut = RESET;
}

void plan_make(struct plan *plan, uint64_t number, enum kind kind, bool small)
{
    uint64_t state = run.seed * 0x2545f4914f6cdd1dull ^ number;

    memset(plan, 0, sizeof *plan);
    plan->number = number;
    plan->kind = kind;
    plan->bytes[UP] = kind == GET ? 0 : size_pick(&state, small);
    plan->bytes[DOWN] = kind == POST && chance(&state, 2) ? below(&state, 2000) : size_pick(&state, small);
    if (!is_tunnel(kind)) {
        plan->chunked[UP] = kind == POST && chance(&state, 5);
        plan->chunked[DOWN] = chance(&state, 5);
        plan->until_close = !plan->chunked[DOWN] && chance(&state, 8);
        plan->leaves[CLIENT] = chance(&state, 8);
        plan->leaves[ORIGIN] = plan->until_close || chance(&state, 8);
    }
    manner_make(&plan->manner[CLIENT], &state, plan->bytes[UP], plan->bytes[DOWN]);
    manner_make(&plan->manner[ORIGIN], &state, plan->bytes[DOWN], plan->bytes[UP]);
    plan->cutter = NOBODY;
    if (chance(&state, 3))
        cut_make(plan, &state);
}

/*
 * balance: the table of policies. See README.md for how to add one.
 */
#include "pool/balance.h"

#include "engine/base/check.h"

#define BALANCE_AS_POINTER(id, word, policy) [id] = &(policy),
static const struct balance *const policies[BALANCES] = { BALANCE_ROWS(BALANCE_AS_POINTER)[BALANCE_RING] =
                                                              &balance_ring };

const struct balance *balance_of(enum balance_kind kind)
{
    MUST((unsigned)kind < BALANCES);
    return policies[kind];
}

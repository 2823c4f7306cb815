/*
 * resolver_answer: from what c-ares brings to a struct name_answer, as expansion.h has it: checked, sorted, nothing twice, capped.
 *
 * Whatever a name server sends may stand in there. Nothing here asks, waits or remembers.
 */
#ifndef WEIR_RESOLVER_ANSWER_H
#define WEIR_RESOLVER_ANSWER_H

/* Debian 13's c-ares calls old what Debian 12's has only. */
#ifndef CARES_NO_DEPRECATED
#define CARES_NO_DEPRECATED
#endif
#include <ares.h>

#include "engine/expansion.h"

void answer_release(struct name_answer *answer);
bool answer_equal(const struct name_answer *a, const struct name_answer *b);

/* Addresses of the family; there may be none. False: out of memory. */
bool must_use answer_of_addresses(const struct ares_addrinfo *info, enum dns_family family, struct name_answer *answer, uint32_t *ttl_s);

/* An answer with SRV records, as it came. ARES_SUCCESS: there is at least one target. Else c-ares' status. */
int must_use answer_of_service(const unsigned char *message, int length, struct name_answer *answer, uint32_t *ttl_s);

#endif

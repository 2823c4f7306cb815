/*
 * names: what hosts that clients of the forward proxy name stand for, as one worker knows it.
 *
 * The first who wants a name has it asked for by letter on the control thread (resolver_ask.h); others who want it meanwhile wait for the same answer. An
 * answer is used for its TTL within dns.ttl-min and dns.ttl-max, that there is no such name for NAMES_NONE_MS, that name servers say nothing for
 * NAMES_FAILED_MS, and that memory or a place was missing for the turn, in which those who waited see it. NAMES_KEPT are remembered, those that were used last; NAMES_ASKED are asked for at once.
 *
 * Whether an address may be connected to is none of its business: who asks judges each anew.
 */
#ifndef WEIR_NAMES_H
#define WEIR_NAMES_H

#include "engine/base/waits.h"
#include "engine/expansion.h"

#define NAMES_KEPT 8192u
#define NAMES_ASKED 4096u
#define NAMES_NONE_MS 5000u
#define NAMES_FAILED_MS 1000u

struct worker;
struct names;
struct known_name;

enum name_state {
    NAME_WAIT, /* `told` will be called */
    NAME_FOUND,
    NAME_NONE,   /* there is no such name, or it has no address */
    NAME_FAILED, /* no name server says anything of it */
    NAME_BUSY    /* too many are asked for, or no memory */
};

/* Whoever waits for an answer embeds one; zeroed before the first use. */
struct name_wait {
    struct wait wait;
    void (*told)(struct name_wait *wait); /* ask again: there is an answer now. Never from names_find */
};
static inline bool name_waits(const struct name_wait *wait)
{
    return wait_stands(&wait->wait);
}

struct names *must_use names_new(struct worker *worker); /* NULL: no memory */
void names_free(struct names *names);                    /* no question is out, nobody waits; NULL: nothing */

/*
 * name: in small letters, without a dot at its end, 253 bytes at most. WAIT: *wait stands in line. FOUND: *addresses are valid until the caller returns to
 * the loop. patience_ms: how long it is worth asking.
 */
enum name_state must_use names_find(struct names *names, struct slice name, const struct config_dns *dns,
                                    uint32_t patience_ms, struct name_wait *wait, const struct name_address **addresses,
                                    uint32_t *count);
static inline void names_leave(struct name_wait *wait) /* one that does not wait: nothing */
{
    wait_leave(&wait->wait);
}

#endif

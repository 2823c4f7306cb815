/*
 * resolver_ask: names that are asked for once, for a request that waits (the forward proxy's). On the control thread, where c-ares lives.
 *
 * Beside resolver.c and by a channel of its own, so that a flood of names that never resolve holds up no name of a server, and without the search list of
 * resolv.conf: a name is what it says. ASKED_AT_ONCE are asked, others wait in line (ASKED_MAX in all, more are answered ASKED_BUSY), and who is
 * still in line when nobody waits any more is answered without being asked.
 */
#ifndef WEIR_RESOLVER_ASK_H
#define WEIR_RESOLVER_ASK_H

#include "engine/expansion.h"
#include "engine/loop.h"

#define ASKED_AT_ONCE 4096u /* by c-ares in memory; a name that nobody answers stands there for some seconds */
#define ASKED_MAX 16384u

enum asked {
    ASKED_FOUND,
    ASKED_NONE,   /* there is no such name, or it has no address */
    ASKED_FAILED, /* no name server has answered */
    ASKED_BUSY    /* no place or no memory */
};

struct question {
    struct question *next;
    struct asker *asker;
    char name[256];  /* in small letters, without a dot at its end */
    uint64_t due_ms; /* nobody waits for it from then on */
    void (*answered)(
        struct question *question); /* from here it is the caller's again; may come from within asker_ask */
    enum asked verdict;
    uint32_t ttl_s;
    uint32_t address_count;
    struct name_address addresses[NAME_ADDRESSES_MAX]; /* sorted, nothing twice */
};

struct asker;
/* NULL: no memory. */
struct asker *must_use asker_new(struct loop *loop, const struct config_dns *dns);
void asker_configure(struct asker *asker, const struct config_dns *dns);
void asker_ask(struct asker *asker, struct question *question);
/* All that are under way are answered ASKED_FAILED, and so are others from now on. */
void asker_stop(struct asker *asker);
void asker_free(struct asker *asker); /* stopped; the loop does not run any more. NULL: nothing */

#endif

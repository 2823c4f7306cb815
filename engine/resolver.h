/*
 * resolver: what names of servers stand for, looked up by DNS and followed for as long as they are wanted.
 *
 * It lives on the control thread's ring and, with resolver_answer.c, is all that speaks to c-ares, which asks (UDP, TCP when an answer is cut, random ids
 * and ports), follows CNAMEs, reads /etc/hosts first and knows the search list of resolv.conf. Each name keeps its last good answer. It is looked
 * up again before that has run out (between 70 and 90 % of its lifetime, which is the TTL within dns.ttl-min and dns.ttl-max); after a failure
 * sooner, with a back-off. When no name server answers, the last good answer stands for as long as it takes; when one says that the name is
 * gone, for dns.keep-stale.
 *
 * Answers come from outside: names are checked, at most NAME_ADDRESSES_MAX addresses and NAME_TARGETS_MAX targets of a name are taken, sorted,
 * and NAMES_MAX names are followed. A change is told once per turn at most (`changed`); who is told builds a generation when it suits.
 */
#ifndef WEIR_RESOLVER_H
#define WEIR_RESOLVER_H

#include "engine/expansion.h"
#include "engine/loop.h"

#define NAMES_MAX 8192u
#define RESOLVER_FIRST_MS 2000u /* that a start or a reload waits for first answers */

struct resolver;

struct resolver_events {
    void (*changed)(void *owner); /* some name has another answer */
    void (*settled)(void *owner); /* every wanted name has been answered, or was found not to be, once */
    void *owner;
};

/* ERR_MEMORY. */
enum err must_use resolver_new(struct resolver **made, struct loop *loop, const struct resolver_events *events);
/* The loop does not run any more. */
void resolver_free(struct resolver *resolver);

/* From now on asked so. Answers stay. */
void resolver_configure(struct resolver *resolver, const struct config_dns *dns);

/*
 * These names are wanted, and those of `candidate` (may be NULL), a configuration that is to be in force soon; others are forgotten.
 * New ones are looked up at once.
 */
void resolver_want(struct resolver *resolver, const struct config *config, const struct config *candidate, const struct overlay *overlay);
bool resolver_settled(const struct resolver *resolver);

/* For expand_servers; valid until the resolver's next turn. */
struct name_lookup resolver_lookup(struct resolver *resolver);

#endif

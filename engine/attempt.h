/*
 * attempt: one server of a pool is asked: the picking, what a further attempt costs, and the giving back; the same for exchanges and for streams.
 */
#ifndef WEIR_ATTEMPT_H
#define WEIR_ATTEMPT_H

#include "engine/generation.h"

/* Picks as upstream_pick does, with time, random bits and who else waits. A lease is given back with attempt_done. */
enum pick_verdict must_use attempt_pick(struct view_pool *pool, struct pick_request *pick, struct member **member);

/* The lease goes back, with what became of it; a mark is logged, and who waits for the place is woken. */
void attempt_done(struct view_pool *pool, struct member *member, enum server_outcome outcome);

/* A further one: a part of the pool's budget, and one of its limits.retries, which *placed says is held. False: there is none, counted. */
bool must_use attempt_pay(struct view_pool *pool, bool *placed);

/* cause: enum server_outcome, or a status: is it among the pool's retry.causes. */
bool attempt_is_cause(const struct config_pool *pool, unsigned cause);

/* Nobody picks it again for this one. */
static inline void attempt_mark_tried(struct pick_request *pick, const struct member *member)
{
    if (pick->tried_count < UPSTREAM_TRIES_MAX)
        pick->tried[pick->tried_count++] = member->server;
}

#endif

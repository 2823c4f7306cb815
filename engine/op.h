/*
 * op: one operation that the kernel works on, embedded in its owner, never allocated.
 *
 * user_data of a submission is 48 bits of the op's address, 13 bits of its generation and 3 bits of tag. The generation
 * moves on with every arming, so a completion that outlived its op's purpose is recognised and dropped (counted in
 * ring->stale). Owners live in slabs (slab.h), whose memory stays mapped, so reading the generation is always safe; and an
 * owner gives its memory back only when none of its ops is in flight.
 *
 * An op has one completion (OP_ARMED -> done -> OP_IDLE), or many when multishot: `done` is called with RING_MORE in
 * flags while more will come, and the op is idle again with the first completion that lacks it. After op_cancel
 * completions may still carry data; only the last one (result usually -ECANCELED) ends it.
 *
 * `done` runs in ring_dispatch, in CQ order, on the thread that owns the ring; it may prepare operations but never
 * waits. The op is already idle (or still armed, with RING_MORE) when `done` runs, so it may arm it again or free its owner.
 */
#ifndef WEIR_OP_H
#define WEIR_OP_H

#include "engine/base/check.h"

enum op_state {
    OP_IDLE,      /* not with the kernel */
    OP_ARMED,     /* submitted or about to be */
    OP_CANCELLING /* armed, and its cancellation was asked for */
};

struct op {
    void (*done)(struct op *op, int32_t result, uint32_t flags);
    uint16_t generation; /* 13 bits */
    uint8_t state;       /* enum op_state; op_set_state is the only writer */
};

#define OP_GENERATION_BITS 13u
#define OP_TAG_BITS 3u
enum op_tag { OP_TAG_OP, OP_TAG_LETTER, OP_TAG_IGNORED };

static inline bool op_armed(const struct op *op) { return op->state != OP_IDLE; }

#endif

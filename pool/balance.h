/*
 * balance: the interface of a balancing policy and the table of them. A policy is a file, a row and a test.
 *
 * A policy works on one tier (upstream.h): servers that stand in for each other. It sees them only through upstream.h's
 * view and must pick in O(1) or O(servers) without allocating. It is asked for one server that is `usable`
 * (upstream_usable) and was not tried by this exchange; -1 when there is none.
 */
#ifndef WEIR_BALANCE_H
#define WEIR_BALANCE_H

#include "engine/base/slice.h"

struct tier;
struct member;
struct server;

#define UPSTREAM_TRIES_MAX 8u

struct pick_request {
    uint64_t hash;   /* of the key that the pool's hash-key names; consistent-hash only */
    uint64_t random; /* fresh random bits */
    uint64_t sticky; /* sticky_id of the member that is taken if it is usable; 0: the policy chooses */
    uint64_t now_ms;
    bool others_wait; /* on other workers, for a place in this pool: nobody takes more than a fair share then */
    const struct server *tried[UPSTREAM_TRIES_MAX];
    unsigned tried_count;
};

/* id, word in the configuration, the policy */
#define BALANCE_ROWS(X) \
    X(BALANCE_ROUND_ROBIN, "round-robin", balance_round_robin) \
    X(BALANCE_LEAST_LOAD, "least-load", balance_least_load) \
    X(BALANCE_TWO_CHOICES, "two-choices", balance_two_choices) \
    X(BALANCE_PEAK_EWMA, "peak-ewma", balance_peak_ewma) \
    X(BALANCE_CONSISTENT_HASH, "consistent-hash", balance_consistent_hash)
/* The same of the ways of consistent-hash, which have a word of their own. */
#define HASH_BALANCE_ROWS(X) \
    X(BALANCE_CONSISTENT_HASH, "maglev", balance_consistent_hash) \
    X(BALANCE_RING, "ring", balance_ring)
#define BALANCE_AS_ENUM(id, word, policy) id,
enum balance_kind { BALANCE_ROWS(BALANCE_AS_ENUM) BALANCE_RING, BALANCES };

struct balance {
    const char *word;
    bool keyed;  /* goes by request->hash */
    bool all_of; /* compares all servers for each pick: one that is better than the others gets everything */
    /* Builds what the policy keeps in tier->balance_state (NULL is fine). ERR_MEMORY. */
    enum err (*build)(struct tier *tier);
    void (*destroy)(struct tier *tier);
    /* Index into tier->members, or -1. */
    int (*pick)(struct tier *tier, const struct pick_request *request);
    /* What became of it, for policies that want to know (NULL: not): the first byte came after `us`, or it failed. */
    void (*answered)(struct member *member, uint64_t us, uint64_t now_ms);
    void (*failed)(struct member *member, uint64_t now_ms);
};

extern const struct balance balance_round_robin;
extern const struct balance balance_least_load;
extern const struct balance balance_two_choices;
extern const struct balance balance_peak_ewma;
extern const struct balance balance_consistent_hash;
extern const struct balance balance_ring;

const struct balance *balance_of(enum balance_kind kind);

#endif

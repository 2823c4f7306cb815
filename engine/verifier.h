/*
 * verifier: whether a user's password is right, without a worker ever waiting for crypt(3).
 *
 * One thread for the process hashes, one password after the other. A worker asks by letter and is answered by letter. What was proven is remembered on that
 * worker for VERIFIER_PROVEN_MS, and what was wrong for VERIFIER_WRONG_MS, as an HMAC under a key that the process drew at random:
 * a request with known credentials costs a hash of some bytes, and memory holds no password for longer than a question takes. Another users file
 * (passwords_serial) is another key, so nothing outlives it.
 *
 * Guessing must not occupy the thread for everybody. The line is served in turns of clients (an IPv6 one: its /64), so that who asks much waits behind
 * himself. It holds VERIFIER_LINE_MAX questions, VERIFIER_CLIENT_MAX of one client; when it is full, who has the most in it loses the last one to
 * a client that has fewer. What finds no place is answered VERIFIED_BUSY (503). The same credentials asked for again while they are in line make no
 * second question: on a worker they share it, and what the thread finds out answers all that ask the same.
 *
 * Life: verifier_new on the control thread, before the workers, when a configuration has users; a side for each worker; verifier_stop before the workers
 * are told to end (questions are answered VERIFIED_BUSY from then on, without hashing); a worker's loop ends when verifier_side_quiet; verifier_free after
 * all workers.
 */
#ifndef WEIR_VERIFIER_H
#define WEIR_VERIFIER_H

#include "engine/base/waits.h"
#include "engine/loop.h"
#include "engine/passwords.h"

#define VERIFIER_PROVEN_MS (5u * 60u * 1000u)
#define VERIFIER_WRONG_MS (10u * 1000u)
#define VERIFIER_LINE_MAX 64u
#define VERIFIER_CLIENT_MAX 16u
#define VERIFIER_QUESTIONS_MAX 64u /* of one worker, under way */
#define VERIFIER_PROVEN_MAX 4096u  /* remembered on one worker */
#define VERIFIER_WRONG_MAX 512u

struct verifier;
struct verifier_side;
struct verifier_question;

enum verified {
    VERIFIED_WAIT, /* `answered` will be called */
    VERIFIED_YES,
    VERIFIED_NO,
    VERIFIED_BUSY  /* too many wait already, or something could not be had: 503 */
};

/* Whoever waits for an answer embeds one; zeroed before the first use. */
struct verifier_wait {
    struct wait wait;
    void (*answered)(struct verifier_wait *wait, enum verified verdict); /* on the worker's thread, from a letter; never from verifier_ask */
};
static inline bool verifier_waits(const struct verifier_wait *wait) { return wait_stands(&wait->wait); }

/* Makes the thread. NULL: why. */
struct verifier *must_use verifier_new(char why[256]);
void verifier_stop(struct verifier *verifier); /* at once; any thread, NULL: nothing */
void verifier_free(struct verifier *verifier); /* no question is under way: all sides are quiet or gone. Joins the thread. NULL: nothing */

/* A worker's thread. NULL: no memory. */
struct verifier_side *must_use verifier_side_new(struct verifier *verifier, struct loop *loop);
bool verifier_side_quiet(const struct verifier_side *side); /* NULL: true */
void verifier_side_free(struct verifier_side *side);        /* quiet. NULL: nothing */

/*
 * user and password as basic_auth_read has them; copied. client: the address that asks, IPv4 as v4-mapped. WAIT: *wait must stay until it was
 * answered or has left.
 */
enum verified must_use verifier_ask(struct verifier_side *side, struct passwords *passwords, struct slice user, struct slice password,
                                    const uint8_t client[16], struct verifier_wait *wait);
/* It will not be answered; the question goes on, and what comes of it is remembered. One that does not wait: nothing. */
static inline void verifier_leave(struct verifier_wait *wait) { wait_leave(&wait->wait); }

/* What the thread has done; any thread. */
struct verifier_counts {
    uint64_t hashed, busy;
};
struct verifier_counts verifier_counts(const struct verifier *verifier);

#endif

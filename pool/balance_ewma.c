/*
 * balance_ewma: by latency, of two drawn by weight the cheaper (Finagle's and Linkerd's "peak EWMA").
 *
 * A server's cost is its latency of late times what it has to do, (in flight + 1), over its weight. Latency is the time to the
 * first byte, as a mean that forgets with a time constant of TAU_MS, except that a higher value is taken over at once: one
 * slow response counts from that moment, many quick ones are needed to make up for it. What is not asked forgets too: after some
 * time a slow server costs little and is tried again, by one request, whose latency then counts in full.
 *
 * A server of which nothing is known costs nothing as long as it is idle, so it gets a request soon; until that is answered
 * it costs so much that it gets a second one only beside others of its kind.
 *
 * A failure counts as twice the latency known, FAILED_US_LEAST at least: a server that fails quickly must not look quick. No
 * more than FAILED_US_MAX, for what is worse than that is marked. A trial that is due costs nothing, and what is known from
 * before a mark counts no more after it: otherwise a server that was very bad would stay away for minutes after it is well.
 *
 * Per worker: each sees its own requests, and none writes to a line that others read.
 */
#include "pool/draw.h"

#define TAU_MS 10000.0f
#define FAILED_US_LEAST 20000.0f
#define FAILED_US_MAX 1e6f
#define PEAK_US_MAX 60e6f
#define UNKNOWN_US 1e9f /* and a request is out */

/* e^-x by the first terms of e^x: within 1 % up to 2, falling everywhere, which is what matters. */
static inline float left_of(uint64_t ms)
{
    float x = (float)ms / TAU_MS;
    return 1.0f / (1.0f + x * (1.0f + x * (0.5f + x * (1.0f / 6 + x * (1.0f / 24)))));
}

static inline uint64_t since(const struct server *server, uint64_t now_ms)
{
    return now_ms > server->peak_ms ? now_ms - server->peak_ms : 0;
}

static inline bool is_known(const struct server *server)
{
    return likely(server->peak_ms != 0) &&
           likely(server->peak_ms >= atomic_load_explicit(&server->health->up_since_ms, memory_order_relaxed));
}

static inline float cost_of(const struct server *server, uint64_t now_ms)
{
    float load = (float)server->in_flight + 1;
    if (unlikely(health_has_mark(server->health)) && health_state(server->health, now_ms) == HEALTH_TRIAL_DUE)
        return 0; /* with any other mark it is asked as one among others: by command, or in a panic */
    if (unlikely(!is_known(server)))
        return server->in_flight ? UNKNOWN_US * load : 0;
    return (server->peak_us * left_of(since(server, now_ms)) + 1) *
           load; /* + 1 us: where all is forgotten load decides */
}

static inline bool cheaper(const struct member *a, const struct member *b, const struct pick_request *request)
{
    return cost_of(a->server, request->now_ms) * (float)b->weight <
           cost_of(b->server, request->now_ms) * (float)a->weight;
}

static int pick(struct tier *tier, const struct pick_request *request)
{
    return draw_two(tier, request, cheaper);
}

static void take(struct server *server, float us, uint64_t now_ms)
{
    bool counts = is_known(server) && !health_has_mark(server->health);
    float left = counts ? left_of(since(server, now_ms)) : 0;
    float kept = server->peak_us * left;
    float now = us > kept ? us : kept + us * (1 - left);
    server->peak_us = now < PEAK_US_MAX ? now : PEAK_US_MAX;
    server->peak_ms = now_ms ? now_ms : 1;
}

static void answered(struct member *member, uint64_t us, uint64_t now_ms)
{
    take(member->server, (float)us, now_ms);
}

static void failed(struct member *member, uint64_t now_ms)
{
    float twice = 2 * member->server->peak_us;
    float most = twice < FAILED_US_MAX ? twice : FAILED_US_MAX;
    take(member->server, most > FAILED_US_LEAST ? most : FAILED_US_LEAST, now_ms);
}

const struct balance balance_peak_ewma = { .word = "peak-ewma",
                                           .build = draw_build,
                                           .destroy = draw_destroy,
                                           .pick = pick,
                                           .answered = answered,
                                           .failed = failed };

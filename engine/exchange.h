/*
 * exchange: one request and its answer. Read this first.
 *
 * An exchange goes through the steps of EXCHANGE_STEPS, in order unless a step names another. A step answers NEXT (go on),
 * WAIT (something must happen first: bytes, room, a connection, time) or DONE (the exchange is over and its memory
 * gone). exchange_run drives them; every event of either connection just calls it again, and the step in which the exchange
 * stands looks at what there is. So steps must be able to run when nothing has changed.
 *
 *   RECEIVE  the request's head is there and well-formed          exchange_request.c
 *   ROUTE    the first matching route decides                     exchange_request.c
 *   ADMIT    in ROUTE's place on a forward-proxy listener         exchange_forward.c
 *   LOOKUP   is it in the store                                   exchange_lookup.c
 *   SELECT   a server of the pool, or a place in its queue        exchange_origin.c, exchange_line.c, wait_line.c
 *            on a forward proxy: where the name leads             exchange_destination.c
 *   ATTACH   a kept connection to it, or a new one                exchange_origin.c
 *   FORWARD  the head goes to the origin                          exchange_origin.c
 *   AWAIT    content goes on to the origin; the response's head   exchange_response.c, exchange_hedge.c
 *   RELAY    content both ways                                    exchange_response.c
 *   SERVE    the answer comes from the store                      exchange_serve.c
 *   TUNNEL   after a 101: bytes both ways, in another protocol    exchange_upgrade.c, tunnel.c
 *   REPLY    an answer of the engine's own                        exchange_reply.c
 *   FINISH   counted, logged, both connections handed on          exchange.c
 *
 * A failure of the origin goes through exchange_origin_failed (exchange_failure.c): back to SELECT when a retry is safe, to REPLY
 * when the client has seen nothing yet, else the client's connection is cut so that nothing incomplete looks complete.
 *
 * Memory: an exchange comes from the worker's slab; `head_block` keeps the bytes that `request` points into; everything else it needs
 * comes from its arena. It pins the view (configuration) it began with. Nothing is allocated once slabs and blocks are warm.
 */
#ifndef WEIR_EXCHANGE_H
#define WEIR_EXCHANGE_H

#include "engine/base/arena.h"
#include "engine/wait_line.h"
#include "engine/worker.h"
#include "proto/h1_body.h"
#include "proto/h1_write.h"

#define EXCHANGE_MAGIC 0x65786368u

/* clang-format off */
#define EXCHANGE_STEPS(X)             \
    X(STEP_RECEIVE, exchange_receive) \
    X(STEP_ROUTE,   exchange_route)   \
    X(STEP_ADMIT,   exchange_admit)   \
    X(STEP_LOOKUP,  exchange_lookup)  \
    X(STEP_SELECT,  exchange_select)  \
    X(STEP_ATTACH,  exchange_attach)  \
    X(STEP_FORWARD, exchange_forward) \
    X(STEP_AWAIT,   exchange_await)   \
    X(STEP_RELAY,   exchange_relay)   \
    X(STEP_FINISH,  exchange_finish)  \
    X(STEP_REPLY,   exchange_reply)   \
    X(STEP_SERVE,   exchange_serve)   \
    X(STEP_TUNNEL,  exchange_tunnel)
/* clang-format on */
#define STEP_AS_ENUM(id, function) id,
enum exchange_step { EXCHANGE_STEPS(STEP_AS_ENUM) STEPS };

enum step_verdict { STEP_NEXT, STEP_WAIT, STEP_DONE };

struct splice;
struct metrics_job;
struct content_coder;
struct caching;
struct tunnel;
struct forward;

/* A second server beside a late first one: exchange_hedge.c. */
struct hedge {
    struct conn *origin; /* NULL: none */
    struct member *member;
    uint64_t forwarded_ns, forwarded_turn;
    bool forwarded;
};

struct exchange {
    void *slab_link; /* overwritten while free */
    uint32_t magic;
    uint8_t step;          /* enum exchange_step */
    uint8_t attempts;      /* servers asked */
    uint8_t failure;       /* enum server_outcome of the last one that failed */
    bool running;          /* exchange_run is on the stack */
    bool runnable;         /* on the worker's list for the next turn */
    bool selecting;        /* SELECT has looked at the request */
    bool leased;           /* holds `member`: upstream_done is due */
    bool borrow_asked;     /* in this attempt, another worker was */
    bool fresh_only;       /* a kept connection was stale: take a new one */
    bool placed;           /* holds one of the pool's limits.requests */
    bool retrying;         /* holds one of its limits.retries */
    bool hedged;           /* once is enough */
    bool last_try;         /* per-try has passed, and nobody else can be asked */
    bool request_done;     /* the request's content was put into the origin's queue */
    bool response_begun;   /* the final head was queued for the client */
    bool response_done;    /* all of the response was */
    bool origin_keep;      /* the origin lets its connection persist */
    bool continued;        /* the origin said 100: it reads the request's content */
    bool client_keep;      /* ours to the client shall */
    bool chunked_out;      /* the response's content is framed in chunks for the client */
    bool early;            /* came in early data, and the handshake is not over: it may be a replay (RFC 8470) */
    bool reset_client;     /* close the client's connection with RST */
    bool answer_begun;     /* REPLY: the head was queued */
    bool answer_owned;     /* REPLY: answer_memory is to be freed */
    bool request_copied;   /* its content is not to be spliced (again), but copied to the end */
    bool response_copied;  /* the same of the response's */
    bool upgrading;        /* the origin is asked to go on in forwarding.upgrade */
    uint16_t status;       /* sent to the client; 0: none yet */
    struct worker *worker;
    struct view *view;
    struct conn *client; /* never NULL until FINISH */
    struct conn *origin; /* NULL: none attached */
    struct waiter waiter; /* in its pool's wait line */
    struct exchange *next_runnable;
    struct borrow *borrow; /* ATTACH waits for another worker's connection (borrow.h) */
    struct timer timer; /* the pool's total timeout, or the place in the queue */
    const struct route *route;
    struct view_pool *pool;
    struct member *member;
    struct splice *request_splice, *response_splice; /* content is being spliced, or will be (splice.h); NULL: copied */
    struct caching *caching; /* the route has a cache (caching.h), and LOOKUP was there; NULL otherwise */
    struct forward *forward; /* of a forward-proxy listener (forward.h); NULL otherwise */
    struct tunnel *tunnel; /* TUNNEL; NULL before */
    struct content_coder *coder; /* the response's content is coded on its way; NULL: as it is */
    const char *why; /* of an answer that is our own, for the log: a row of stats */

    uint64_t begun_ns, forwarded_ns, first_byte_ns;
    uint64_t forwarded_turn;  /* the loop's turn in which the head was queued: it leaves at that turn's end */
    uint64_t attempt_ms;      /* when this server was picked */
    uint64_t hedge_due_ms;    /* 0: no hedge is planned */
    uint64_t client_moved_ms; /* when the client last sent or took something */
    uint64_t client_taken, origin_taken; /* socket_taken when a deadline last passed */
    uint64_t request_content, response_content; /* bytes moved */

    struct h1_progress response_progress;
    struct h1_body request_body, response_body;
    struct pick_request pick;
    struct hedge hedge;
    struct forwarding forwarding;

    unsigned answer_status;
    struct slice answer_body, answer_type, answer_location;
    size_t answer_sent;
    char *answer_memory;
    struct metrics_job *job; /* asked of the control thread */

    struct arena arena;
    struct block *head_block;
    char port_text[8], id_text[17]; /* for placeholders */
    struct request request; /* last: large, mostly untouched */
};

/* Begins (or goes on with) the request whose bytes are in client->in. False: more bytes are needed, or it was refused a place. */
bool exchange_begin(struct conn *client);

/* For exchange_fetch.c: one for this client, which is at RECEIVE; and the end of one that nothing has been done with. */
struct exchange *exchange_new(struct conn *client);
void exchange_drop(struct exchange *x);

/* Runs steps until one waits or the exchange is over. */
void exchange_run(struct exchange *x);

/* For the next turn: the step gave way so that others get theirs. */
void exchange_run_later(struct exchange *x);

/* Events that front.c passes on, and back.c of either of an exchange's origin connections; all but the timeouts of healthy ones run it. */
void exchange_client_broken(struct exchange *x);
void exchange_cut(struct exchange *x); /* the engine stops: nothing goes on for it */
void exchange_client_timeout(struct exchange *x);
void exchange_conn_failed(struct conn *conn, enum server_outcome outcome, int os_error);
void exchange_conn_timeout(struct conn *conn);

/* The client has to take something first: sets its deadline. It is looked at each quarter of its time. */
void exchange_await_client(struct exchange *x);
/* Asked when the origin's deadline has passed: true while it goes on taking what was sent to it. */
bool exchange_origin_takes(struct exchange *x);

/* Steps, and what they share. */
#define STEP_AS_PROTOTYPE(id, function) enum step_verdict function(struct exchange *x);
EXCHANGE_STEPS(STEP_AS_PROTOTYPE)

enum step_verdict exchange_go(struct exchange *x, enum exchange_step step); /* NEXT, to that step */

/* An answer of our own instead of whatever was under way; an attached origin is closed. why: counter row's name. */
enum step_verdict exchange_answer(struct exchange *x, unsigned status, const char *why, struct slice body);
enum step_verdict exchange_short_of_memory(struct exchange *x); /* 503, counted */

/* The origin failed in this way; os_error: errno or 0. */
enum step_verdict exchange_origin_failed(struct exchange *x, enum server_outcome outcome, int os_error);
void exchange_origin_timeout(struct exchange *x);
/* The time for all attempts together is over: nobody else is asked. */
void exchange_out_of_time(struct exchange *x);
/* No further attempt: the client is told, or cut off when it has part of a response already. */
enum step_verdict exchange_give_up(struct exchange *x, enum server_outcome outcome);
/* True: an answer with this status is thrown away and the exchange went to SELECT. */
bool exchange_retries_status(struct exchange *x, unsigned status);
/* What a complete response with this status says of its server. */
enum server_outcome exchange_status_outcome(const struct exchange *x, unsigned status);

/* A further attempt: is there a server that was not tried; a place and a part of the budget for it, taken; who shall not be picked again. */
bool exchange_another_is_usable(struct exchange *x);
bool exchange_pay_attempt(struct exchange *x);
void exchange_mark_tried(struct exchange *x, const struct member *member);

/* The request has left: sets the deadline for the answer, with what may happen before it. TIMER_NEVER: this attempt has no deadline of its own. */
void exchange_await_answer(struct exchange *x);
void exchange_first_byte(struct exchange *x); /* it begins to come: what was to happen before does not any more */
uint64_t exchange_try_due_ms(const struct exchange *x);
/* What came on this origin's connection came before the request, which was queued in that turn, has left. */
bool exchange_came_unasked(const struct exchange *x, const struct conn *origin, uint64_t forwarded_turn);

/* exchange_hedge.c. When the hedge is due, or TIMER_NEVER; begin it; look at both in AWAIT; it takes the failed first one's place; give it up. */
uint64_t exchange_hedge_plan(struct exchange *x);
void exchange_hedge_begin(struct exchange *x);
void exchange_hedge_look(struct exchange *x);
enum step_verdict exchange_hedge_takes_over(struct exchange *x);
void exchange_hedge_drop(struct exchange *x);

/* The request's head into an origin's queue. False: no memory, or, with *overflow, it does not fit into a block. */
bool exchange_write_request(struct exchange *x, struct conn *origin, struct member *member, bool *overflow);

/* Gives the server's lease back, once; and that of any member, with what became of it. */
void exchange_release_member(struct exchange *x, enum server_outcome outcome);
void exchange_member_done(struct exchange *x, struct member *member, enum server_outcome outcome);
/* The places that it holds of the pool's limits. */
void exchange_release_places(struct exchange *x);
/* The origin's connection is done with: kept for the next request, or closed. */
void exchange_release_origin(struct exchange *x, bool keep);

/* Moves request content towards the origin. False: the exchange went to another step (look at x->step). */
bool exchange_pump_request(struct exchange *x);

/* exchange_splice.c. May content be spliced from here on, and if so: begin. Both for when the source has nothing more for now. */
void exchange_splice_request(struct exchange *x);
void exchange_splice_response(struct exchange *x);
/* What a splice that moves has done since the last look; as exchange_pump_request and as a step. */
bool exchange_request_spliced(struct exchange *x);
enum step_verdict exchange_response_spliced(struct exchange *x);
/* Copying goes on, or the content is complete: receiving is taken up again. No-op without a splice. */
void exchange_end_request_splice(struct exchange *x);
void exchange_end_response_splice(struct exchange *x);
/* While receiving was held, or has not gone on yet, nobody has seen whether more came than the response: such a connection has no next request. */
bool exchange_nothing_follows(const struct conn *origin);
/* The origin's connection is about to go: whatever is in a pipe is lost. */
void exchange_drop_splices(struct exchange *x);

/* The client closed with content still due. */
enum step_verdict exchange_request_cut(struct exchange *x);

/* What the request asks of Upgrade, by its route (exchange_upgrade.c). False: it is refused, look at x->step. */
bool exchange_plan_upgrade(struct exchange *x);
/* The origin answered 101: a tunnel is opened, or the origin has failed. */
enum step_verdict exchange_upgrade(struct exchange *x, struct response *response);

/* The client was answered with this status, and both connections go on as a tunnel's. x->tunnel is there. */
void exchange_open_tunnel(struct exchange *x, unsigned status);

/* A head goes into the client's queue, with what the route says of it. False: no memory. */
struct h1_response_plan;
bool exchange_write_response(struct exchange *x, const struct response *response, const struct h1_response_plan *plan);
/* Its server is credited with an answer of this status, before it is known whether the client gets it. */
void exchange_count_response(struct exchange *x, unsigned status);
/* The request is answered: counted, with the time that it took. */
void exchange_count(struct exchange *x);

/* Gives the coder back, counted. */
void exchange_drop_coder(struct exchange *x);

/* Ends without an answer: the client left, or was cut. */
enum step_verdict exchange_abort(struct exchange *x, const char *why, bool reset);

/* A place in its pool's wait line, or the answer that there is none; and leaves it. */
enum step_verdict exchange_wait_in_line(struct exchange *x);
void exchange_leave_line(struct exchange *x);

#endif

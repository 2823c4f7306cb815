/*
 * bytes: what the files of this program share; bytes.c says what it is.
 *
 *     bytes.c        options, slots, the loop, the report
 *     bytes_plan.c   what exchange number n is to be, and its bytes
 *     bytes_end.c    one end of a connection: what it sends, what it makes of what comes, how it cuts
 */
#ifndef WEIR_BYTES_H
#define WEIR_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SLOTS_MAX 512u
#define HISTORY 64u /* exchanges of a slot that the origin may still hear of */
#define HEAD_BYTES_MAX 4096u
#define SHOWN 20u

enum side { CLIENT, ORIGIN, NOBODY };
enum way { UP, DOWN }; /* a side sends its own number: the client UP, the origin DOWN */
enum kind { GET, POST, UPGRADE, CONNECT, TCP, KINDS };
enum how { RESET, CLOSE, HALF, HOWS }; /* RST; close(2), which is a FIN or a RST; FIN, and reading goes on */

/* How one side deals with its socket. */
struct manner {
    uint32_t send_bytes, receive_bytes; /* at a time */
    uint64_t pause_at;                  /* bytes received after which it reads nothing for pause_ms */
    uint32_t pause_ms;
};

struct plan {
    uint64_t number;
    enum kind kind;
    uint64_t bytes[2]; /* by way */
    bool chunked[2];
    bool until_close; /* the response's content has neither length nor chunks */
    bool leaves[2];   /* that side says Connection: close */
    struct manner manner[2];
    enum side cutter;
    enum how cut;
    bool cut_by_received; /* cut_at counts bytes received, else bytes sent with the head */
    uint64_t cut_at;
};

/* What both ends know of one exchange: what was really done. */
struct exchange {
    struct plan plan;
    bool answered;     /* the origin has sent the head that makes it a tunnel */
    uint32_t heads;    /* that came to the origin */
    uint64_t total[2]; /* the plan's bytes; fewer where a tunnel's side half-closed before */
    bool sent_all[2];  /* the side has sent its head and all its bytes */
    bool cut;          /* something was left undone */
};

enum in_state { IN_HEAD, IN_LENGTH, IN_CHUNK_LINE, IN_CHUNK, IN_CHUNK_END, IN_TRAILER, IN_STREAM, IN_DONE };

/* One end of a connection. Without an exchange it is idle: at the origin, waiting for a head. */
struct end {
    enum side side;
    bool is_listener;
    int fd;
    uint32_t interest; /* what epoll was told */
    struct exchange *exchange;
    struct plan plan; /* of its own: a slot may have gone on */
    uint64_t progress_ms, paused_until_ms;
    unsigned slot; /* of a client */

    bool sending; /* its turn to send has come */
    bool sent_all, shut, cut, wrote_last_chunk,
        lost; /* shut: FIN sent; cut: the plan's has been done; lost: nothing can be sent */
    char head[HEAD_BYTES_MAX], frame[32];
    size_t head_bytes, head_sent, frame_bytes, frame_sent;
    uint64_t sent, chunk_left;

    enum in_state in;
    bool unchecked, closes; /* unchecked: the proxy's own page; closes: the response said so */
    int status;
    char line[HEAD_BYTES_MAX];
    size_t line_bytes;
    uint64_t received, left;
    struct end *next; /* of all origin's ends */
};

struct run {
    int epoll;
    uint64_t seed, now_ms;
    unsigned slots;
    unsigned origin_port;
    uint64_t next[SLOTS_MAX]; /* how many exchanges a slot has begun */
    struct exchange history[SLOTS_MAX][HISTORY];
    struct end *origin_ends;
    uint64_t begun[KINDS], complete, refused, bytes[2], cuts[HOWS], late;
    uint64_t wrong, false_whole, unasked, repeated, lost_reset, stuck;
    char shown[SHOWN][240];
    unsigned shown_count;
};
extern struct run run;

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...);

/* Counts a broken promise, and remembers the first ones. */
__attribute__((format(printf, 3, 4))) void broken(uint64_t *counter, const struct plan *plan, const char *format, ...);

/* Plans. `small`: of few bytes each. */
void content_make(void);
const char *content_at(uint64_t number, enum way way, uint64_t at, size_t *contiguous); /* contiguous: at least 1 MiB */
void plan_make(struct plan *plan, uint64_t number, enum kind kind, bool small);
uint64_t dice(uint64_t *state);
static inline bool is_tunnel(enum kind kind)
{
    return kind >= UPGRADE;
}

/* Ends. What they need of the program is below. */
void end_begin(struct end *end, struct exchange *exchange); /* a client's next exchange, on an open socket */
void end_event(struct end *end, uint32_t events);
void end_look(struct end *end); /* the time: pauses end, and patience */
void end_watch(struct end *end);

/* bytes.c */
struct exchange *exchange_find(uint64_t number); /* NULL: so long ago that it is forgotten */
void end_over(struct end *end);                  /* its socket is closed; an origin's end is freed */
void client_whole(struct end *end);              /* its exchange is complete, its connection open */

#endif

/*
 * load: what the files of this folder's program share. load.c's opening comment says what it is.
 *
 *     load.c           options, the loop, the measured window, what is printed
 *     load_clients.c   clients: what is asked, and whether the answer is right
 *     load_origin.c    the origin: what the proxy's connections get
 *     load_numbers.c   histogram of latencies, CPU time of a process
 *     load_tls.c       the clients' half of TLS
 *
 * One thread; `run` is its state. Functions that cannot go on end the program with a word (die).
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define INBOX_BYTES (48u * 1024)      /* one read takes a head and a 32 KiB body */
#define ANSWER_BYTES_MAX (64u * 1024) /* head and body up to this leave in one send; longer bodies by sendfile */
#define SECOND_NS 1000000000ull

enum kind { KIND_CLIENT, KIND_BACK, KIND_LISTENER, KIND_STDIN };

/* ---- numbers ---------------------------------------------------------------------------------------------------------- */

/* Log-linear: 32 steps per power of two, so at most 3 % wide. */
#define STEP_BITS 5u
#define STEPS (1u << STEP_BITS)
#define HISTOGRAM_SLOTS ((64u - STEP_BITS + 1u) * STEPS)

struct histogram {
    uint64_t slots[HISTOGRAM_SLOTS];
    uint64_t count, largest;
};

struct cpu {
    uint64_t user_us, system_us; /* utime and stime of the process, all threads: whole ticks */
    uint64_t sched_us;           /* the same from the scheduler, in nanoseconds; excludes threads that have ended */
};

void histogram_add(struct histogram *h, uint64_t value);

/* The value that the part `q` of all lies below; 0 of none. */
double histogram_quantile(const struct histogram *h, double q);

/* Of all threads of the process. */
struct cpu cpu_of(pid_t pid);

uint64_t clock_ns(void);

/* ---- the run ---------------------------------------------------------------------------------------------------------- */

struct options {
    const char *proxy, *host, *path;
    unsigned origin_port, connections, idle;
    uint64_t body_bytes, upload_bytes; /* of an answer; of a request, 0: GET */
    double seconds, warmup_seconds;
    double rate; /* requests per second, sent when they are due; 0: each client sends when it was answered */
    bool close, tls, resume, cached;
    bool tcp; /* no HTTP: body_bytes go to and fro */
    pid_t pid;
};

struct client;

struct run {
    int epoll, listener;
    struct sockaddr_storage proxy;
    socklen_t proxy_bytes;
    struct client *clients;
    unsigned client_count, opened, answered; /* opened, answered: clients, ever */
    uint64_t now_ns;
    uint64_t due_ns; /* with a rate: when the next request is due */
    bool sending, ramping, counting, stdin_closed;
    const char *content; /* of the largest body, either way; `content_file` holds the same */
    int content_file;
    uint64_t requests, bytes, wrong, shortened, failed, stuck, reopened, closed_idle;
    uint64_t back_connections, back_requests, back_window; /* back_window: requests that came within the window */
    struct histogram latency,
        late; /* late: with a rate, how much after its time a request was sent, but for want of clients */
};

extern struct options options;
extern struct run run;
extern char inbox[INBOX_BYTES];

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...);

/* `owner` begins with its enum kind. */
void watch(int fd, void *owner, uint32_t events);
void no_delay(int fd);

/* ---- the origin ------------------------------------------------------------------------------------------------------- */

/* `run.content` is there. Listens on 127.0.0.1. */
void origin_init(void);
void origin_accept(void);
void back_event(void *back, uint32_t events);

/* ---- clients ---------------------------------------------------------------------------------------------------------- */

/* None is opened yet. */
void clients_init(void);

/* Opens those that are still to be opened, but few at a time. */
void clients_open(void);

/* Those that wait send their first request, or the next. */
void clients_send(void);

/* With a rate: sends what is due, as far as clients are free. */
void clients_pace(void);

/* Once a second: clients without progress are given up, closed ones opened again (not at once: the proxy may be down). */
void clients_sweep(void);

/* How many wait for an answer. */
unsigned clients_busy(void);
void clients_close(void);
void client_event(void *client, uint32_t events);

#endif

/*
 * process: what server.c, reload.c, tickets.c and prober.c share of the process; control thread only.
 */
#ifndef WEIR_PROCESS_H
#define WEIR_PROCESS_H

#include "engine/generation.h"
#include "engine/server.h"
#include "engine/worker.h"

struct control;
struct prober;

enum process_state {
    PROCESS_STARTING,
    PROCESS_RUNNING,
    PROCESS_DRAINING, /* no new connections; requests in flight end */
    PROCESS_CUTTING,  /* the deadline passed, or everything ended: workers are told to end */
};

struct stop_letter {
    struct letter letter;
    struct worker *worker;
};

struct server_process {
    struct loop loop;
    struct process_shared shared;
    const char *path; /* NULL: no file */
    struct worker **workers;
    struct worker_stats *stats; /* one per worker */
    struct stop_letter *drain_letters, *end_letters;
    uint32_t worker_count, started, drained;
    struct registry registry;
    struct generation *generation; /* the current one */
    struct generation *old;        /* list: superseded, still in use by some worker */
    struct control *control;
    struct prober *prober;
    struct timer judging; /* outliers.c */
    enum process_state state;

    /* Reload under way: reload.c. */
    struct server_answer *reload_answer;
    struct generation *reload_from, *reload_to;
    uint32_t reload_acks, reload_failures;

    /* Signals. */
    int signal_fd;
    struct op signal_op;
    char signal_buffer[128];
    struct server_answer hup_answer;
    bool hup_busy, hup_again;

    /* Keys of TLS tickets: tickets.c. */
    struct tls_tickets *tickets;
    struct timer ticket_turn; /* while they are random */
    uint32_t ticket_turn_ms;  /* how often; 0: they come from a file */

    struct timer deadline; /* of draining */
    uint64_t started_ms;
    int64_t started_unix, loaded_unix;
};

/* reload.c: SIGHUP; and when the workers have ended, a reload that they had not all prepared is answered and forgotten. */
void reload_on_signal(struct server_process *process);
void reload_at_end(struct server_process *process);

/* tickets.c: with a random key, before the first generation; then what each generation that is in force says. */
enum err must_use tickets_start(struct server_process *process);
void tickets_adopt(struct server_process *process);
void tickets_end(struct server_process *process); /* after all generations */

/* systemd (sd_notify(3)): one datagram to $NOTIFY_SOCKET, if there is one. */
void notify(const char *state);

#endif

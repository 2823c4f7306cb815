/*
 * process: what server.c, reload.c, tickets.c and prober.c share of the process; control thread only.
 */
#ifndef WEIR_PROCESS_H
#define WEIR_PROCESS_H

#include "engine/generation.h"
#include "engine/overlay.h"
#include "engine/resolver.h"
#include "engine/server.h"
#include "engine/state_file.h"
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

    /* Change under way: reload.c. One at a time; the others wait in line. */
    struct server_answer *reload_answer;
    struct generation *reload_from, *reload_to;
    uint32_t reload_acks, reload_failures;
    struct server_answer *line_first, **line_tail;
    bool line_moving;

    /* Reload of the file: waits for names before it becomes a generation. */
    bool file_busy;
    struct config *file_config;
    struct timer file_patience;

    /* Servers that change without the file: changes.c. */
    struct resolver *resolver;
    struct asker *asker; /* for the forward proxy; NULL until the first question */
    struct overlay overlay;      /* in force */
    struct overlay overlay_next; /* of the change under way */
    struct timer names_timer;    /* other answers have come: they are taken up when it fires */
    struct server_answer names_answer;
    bool names_busy, names_changed;

    /* What the state file said, until it is applied: servers.c. */
    struct state saved;
    char *state_bytes;
    size_t state_length;

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

    uint64_t homes_bytes; /* that shared.homes were made with */
    struct text disk_path; /* and the disk that was wanted then, even if it could not be had; empty: none */
    uint64_t disk_bytes;
    char disk_says[320];   /* what became of it, until the log is open; "": nothing to say */
    struct purge_job *purges; /* list; cache_commands.c: those that are still counted */

    struct timer deadline; /* of draining */
    uint64_t deadline_ms;  /* when it is */
    struct timer patience; /* with the cache's disk, at the end */
    uint64_t disk_until_ms;
    bool disk_hangs;       /* it was not waited for any longer */
    uint64_t started_ms;
    int64_t started_unix, loaded_unix;
};

/*
 * reload.c: the line of changes. change_enqueue runs answer->begin when it is its turn, now or later; begin ends in change_begin, which
 * takes the generation over and answers when all workers have adopted it, or in change_refuse or change_conclude.
 */
void change_enqueue(struct server_process *process, struct server_answer *answer, void (*begin)(struct server_process *process, struct server_answer *answer));
void change_begin(struct server_process *process, struct server_answer *answer, struct generation *generation);
void change_refuse(struct server_process *process, struct server_answer *answer, enum err result, const char *why);
void change_conclude(struct server_process *process, struct server_answer *answer, enum err result);

/* changes.c. */
enum err must_use changes_start(struct server_process *process, struct config *config); /* waits for first answers; then expands */
void changes_begun(const struct generation *generation); /* it goes to the workers */
void changes_adopted(struct server_process *process);                                  /* a generation is in force */
void changes_left(const struct generation *before, const struct generation *now);      /* likewise, before that */
void changes_abandoned(struct server_process *process);
void changes_end(struct server_process *process);
bool must_use changes_expand(struct server_process *process, struct config *config, const struct overlay *overlay);
void changes_running(struct server_process *process); /* before the first worker starts */

/* servers.c: before names are looked up; with the first generation; at a graceful end. */
void servers_read_state(struct server_process *process, const struct config *config);
void servers_apply_state(struct server_process *process);
void servers_forget_state(struct server_process *process);
void servers_save_at_end(struct server_process *process);

/* reload.c: names that the new file waits for are there, or it is not to wait any longer. */
void reload_names_settled(struct server_process *process);

/* reload.c: SIGHUP; and when the workers have ended, a reload that they had not all prepared is answered and forgotten. */
void reload_on_signal(struct server_process *process);
void reload_at_end(struct server_process *process);

/* server_cache.c: before a worker has a generation of that configuration, the cache's memory if it wants some and there is none yet. False: why. */
bool must_use server_prepare_homes(struct server_process *process, const struct config *config, char why[256]);
/* server_cache.c: likewise, whoever looks at passwords if there are users. */
bool must_use server_prepare_verifier(struct server_process *process, const struct config *config, char why[256]);
void server_say_disk(struct server_process *process); /* what became of the disk; once the log is open */

/* tickets.c: with a random key, before the first generation; then what each generation that is in force says. */
enum err must_use tickets_start(struct server_process *process);
void tickets_adopt(struct server_process *process);
void tickets_end(struct server_process *process); /* after all generations */

/* systemd (sd_notify(3)): one datagram to $NOTIFY_SOCKET, if there is one. */
void notify(const char *state);

#endif

/*
 * server: the process. Signals, workers, configuration generations, and what outlives them.
 *
 * The main thread runs the control loop (loop.h): it reads signals, serves the control socket (control.c), reads and
 * checks configurations, opens sockets and files, runs active checks (prober.c) and gathers counters. It never touches
 * a request. Workers are told of a new generation by letter, swap one pointer between two turns and acknowledge;
 * an exchange keeps the generation it began with. Listening sockets, servers' health, kept connections and counters belong to the
 * process, are found by name, and survive a reload. No connection is closed or moved by one.
 *
 * All functions here are for the control thread only.
 */
#ifndef WEIR_SERVER_H
#define WEIR_SERVER_H

#include "engine/config.h"
#include "engine/loop.h"
#include "engine/stats.h"

struct server_process; /* "the process": one per program, see server.c */

/* Answer of a reload or stop, called once on the control thread when every worker has acknowledged, or at once on refusal. */
/* What a command changes about servers (changes.c). */
enum server_change_kind { CHANGE_ADD, CHANGE_REMOVE, CHANGE_WEIGHT, CHANGE_RESET };
struct server_change {
    enum server_change_kind kind;
    char name[640];           /* "pool/address" */
    uint32_t weight;          /* of add: 0 for 1 */
    uint32_t max_connections; /* of add: 0: none */
    uint8_t group;            /* of add */
};

struct server_answer {
    void (*done)(struct server_answer *answer);
    enum err result;   /* ERR_OK, ERR_SYNTAX: bad configuration, ERR_REFUSED: cannot change while running, ERR_AGAIN: one is under way */
    struct text text;  /* what changed, a line each; or the problems, as config_problems_print prints them */
    struct text json;  /* the same for machines: {"changed":[...]} or {"problems":[...]} */
    struct server_change change;
    struct server_answer *next; /* private, as is all below */
    void (*begin)(struct server_process *process, struct server_answer *answer);
    bool of_file;
};

/* Runs the engine until it is stopped. Answers the exit code of the command (0, 1, 3, 5). Takes ownership of config.
 * path: the file to read again at reload; NULL for `weir proxy` and `weir demo` (reload is refused). */
int server_run(struct config *config, const char *path);

/* What `weir version` and the counters say; set once, before server_run. */
void server_set_version(const char *version);

/* Called on the control thread once everything listens (for `weir demo` and `weir proxy`). */
void server_on_ready(void (*ready)(const struct config *config));

struct loop *server_loop(struct server_process *process);
const struct config *server_config(const struct server_process *process);

/* Reads the file again. answer must stay until its `done`. */
void server_reload(struct server_process *process, struct server_answer *answer);

/*
 * Changes servers, without the file: answer->change says how. As for server_reload, answer stays until its `done`, which comes when every
 * worker has the new servers. Holds until the file has the server itself, or `reset`; see overlay.h.
 */
void server_change(struct server_process *process, struct server_answer *answer);

/* force: enum health_force. As server_drain. */
enum err must_use server_force(struct server_process *process, struct slice name, unsigned force);

/* The servers of a pool, or of all when it is empty: where each comes from, and its state. ERR_NONE: there is no such pool. */
enum err must_use server_list(struct server_process *process, struct slice pool, struct text *text, struct text *json);

/* Writes the state file (state_file.h). ERR_NONE: the configuration names none. why: what went wrong. */
enum err must_use server_save(struct server_process *process, char why[256]);

/* Graceful stop: no new connection, requests in flight end until deadline_ms from now, then all is closed. 0: at once. */
void server_stop(struct server_process *process, uint64_t deadline_ms);

/*
 * name: "pool/address", or "address" alone when it stands in one pool only. A name stands for all servers that come from it.
 * ERR_NONE, ERR_EXISTS: stood in more than one pool.
 */
enum err must_use server_drain(struct server_process *process, struct slice name, bool drained);

/* Copies all counters. ERR_MEMORY. stats_view_release frees what it holds. */
enum err must_use server_stats(struct server_process *process, struct stats_view *view);
void server_stats_release(struct stats_view *view);

#endif

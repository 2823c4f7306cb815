/*
 * A client is read frame by frame into a buffer that grows with what has really come, is answered, and may go on. Commands are rows;
 * each fills two texts. A reload answers later: it belongs to the process meanwhile, and a client that leaves does not
 * stop it.
 */
#include "engine/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/cache_commands.h"
#include "engine/certificates.h"
#include "engine/control_wire.h"
#include "engine/explain.h"
#include "engine/process.h"
#include "engine/report.h"

#define CLIENT_BYTES 1024u /* room for a client's first frame; grows with what comes */
#define ACCEPT_BACKOFF_MS 100u

enum client_state { CLIENT_READING, CLIENT_WORKING, CLIENT_WRITING };

struct client {
    struct client *next;
    struct control *control;
    struct op op;
    struct timer timer;
    int fd;
    enum client_state state;
    bool closing; /* gone with its last completion */
    char *in;     /* the frame so far */
    size_t in_length, in_wanted, in_room;
    char *out;
    size_t out_length, out_sent;
    struct reload_job *job;
};

struct control {
    struct server_process *process;
    int fd;
    struct op accept;
    struct timer backoff; /* descriptors have run out: accepting waits */
    struct client *clients;
    unsigned count;
    uint32_t mode; /* of the file */
    char path[108];
};

/* A reload, a change of servers or a purge that a client asked for. */
struct reload_job {
    struct server_answer answer;
    struct client *client; /* NULL: left meanwhile */
};

struct reply {
    uint32_t code;
    struct text text, json;
};

static struct loop *loop_of(struct client *client)
{
    return server_loop(client->control->process);
}

/* Clients ------------------------------------------------------------------------------------------------------ */

static void client_free(struct client *client)
{
    struct control *control = client->control;
    struct client **at = &control->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    control->count--;
    if (client->job)
        client->job->client = NULL;
    timer_cancel(&loop_of(client)->wheel, &client->timer);
    close(client->fd);
    free(client->in);
    free(client->out);
    free(client);
}

static void client_close(struct client *client)
{
    if (!op_armed(&client->op)) {
        client_free(client);
        return;
    }
    client->closing = true;
    op_cancel(&loop_of(client)->ring, &client->op);
}

static void timed_out(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct client *client = CONTAINER_OF(timer, struct client, timer);
    if (client->state != CLIENT_WORKING)
        client_close(client);
}

/* From here a client has CONTROL_IDLE_MS for a whole frame or to take a whole answer, not for each piece. */
static void allow_time(struct client *client)
{
    timer_set(&loop_of(client)->wheel, &client->timer, loop_of(client)->now_ms + CONTROL_IDLE_MS);
}

static void read_more(struct client *client)
{
    client->state = CLIENT_READING;
    op_recv(&loop_of(client)->ring, &client->op, client->fd, client->in + client->in_length, client->in_room - client->in_length, 0);
}

static void write_more(struct client *client)
{
    client->state = CLIENT_WRITING;
    op_send(&loop_of(client)->ring, &client->op, client->fd, client->out + client->out_sent,
            size_min(client->out_length - client->out_sent, 256u * 1024u));
}

/* Answers ------------------------------------------------------------------------------------------------------ */

static void send_reply(struct client *client, struct reply *reply)
{
    bool whole = !reply->text.failed && !reply->json.failed;
    struct slice json = reply->json.at ? text_slice(&reply->json) : SLICE("{}");
    client->out = whole ? wire_encode_answer(reply->code, text_slice(&reply->text), json, &client->out_length) : NULL;
    client->out_sent = 0;
    text_release(&reply->text);
    text_release(&reply->json);
    allow_time(client);
    if (client->out)
        write_more(client);
    else
        client_close(client);
}

static uint32_t code_of(enum err e)
{
    switch (e) {
    case ERR_OK: return 0;
    case ERR_SYNTAX: return 3;
    case ERR_RANGE: return 2; /* what was asked for is no such thing */
    case ERR_PERMISSION: return 5;
    case ERR_AGAIN: return 75;
    default: return 1;
    }
}

static void reload_done(struct server_answer *answer)
{
    struct reload_job *job = CONTAINER_OF(answer, struct reload_job, answer);
    struct client *client = job->client;
    struct reply reply = { .code = code_of(answer->result), .text = answer->text, .json = answer->json };
    if (client) {
        client->job = NULL;
        if (answer->result == ERR_OK && reply.text.length == 0)
            text_add(&reply.text, SLICE("nothing changed\n"));
        send_reply(client, &reply);
    } else {
        text_release(&reply.text);
        text_release(&reply.json);
    }
    free(job);
}

/* Commands ----------------------------------------------------------------------------------------------------- */

static void say(struct reply *reply, uint32_t code, const char *text)
{
    reply->code = code;
    text_format(&reply->text, "%s\n", text);
    text_add(&reply->json, code ? SLICE("{\"error\":") : SLICE("{\"message\":"));
    text_json_string(&reply->json, slice_of_text(text));
    text_add(&reply->json, SLICE("}"));
}

typedef void report_function(const struct stats_view *view, struct text *text, struct text *json);

static void with_stats(struct client *client, struct reply *reply, report_function *report)
{
    struct stats_view view;
    if (server_stats(client->control->process, &view) != ERR_OK) {
        say(reply, 1, "out of memory");
        return;
    }
    report(&view, &reply->text, &reply->json);
    server_stats_release(&view);
}

static void do_status(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    with_stats(client, reply, report_status);
}

static void do_pools(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    with_stats(client, reply, report_pools);
}

static void do_top(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    with_stats(client, reply, report_top);
}

static void do_metrics(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    with_stats(client, reply, report_metrics);
}

static void do_config(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    const struct config *config = server_config(client->control->process);
    config_show(config, false, &reply->text);
    config_show(config, true, &reply->json);
}

static void set_drained(struct client *client, const struct wire_request *request, struct reply *reply, bool drained)
{
    switch (server_drain(client->control->process, slice_of_text(request->argument), drained)) {
    case ERR_OK: say(reply, 0, drained ? "drained: it gets no new requests" : "in use again"); break;
    case ERR_EXISTS: say(reply, 1, "that server stands in more than one pool; say POOL/ADDRESS"); break;
    default: say(reply, 1, "no such server"); break;
    }
}

static void do_force(struct client *client, const struct wire_request *request, struct reply *reply)
{
    static const char *const words[] = { [HEALTH_AUTO] = "auto", [HEALTH_FORCED_UP] = "up", [HEALTH_FORCED_DOWN] = "down" };
    static const char *const told[] = { [HEALTH_AUTO] = "as checks and requests find it", [HEALTH_FORCED_UP] = "up, whatever checks and requests find",
                                        [HEALTH_FORCED_DOWN] = "down, until it is told otherwise" };
    unsigned force = 0;
    while (force < ARRAY_LENGTH(words) && strcmp(words[force], request->value) != 0)
        force++;
    if (force == ARRAY_LENGTH(words)) {
        say(reply, 2, "a state is up, down or auto");
        return;
    }
    switch (server_force(client->control->process, slice_of_text(request->argument), force)) {
    case ERR_OK: say(reply, 0, told[force]); break;
    case ERR_EXISTS: say(reply, 1, "that server stands in more than one pool; say POOL/ADDRESS"); break;
    default: say(reply, 1, "no such server"); break;
    }
}

static void do_list(struct client *client, const struct wire_request *request, struct reply *reply)
{
    if (server_list(client->control->process, slice_of_text(request->argument), &reply->text, &reply->json) == ERR_OK)
        return;
    text_release(&reply->text);
    text_release(&reply->json);
    say(reply, 1, "no such pool");
}

static void do_save(struct client *client, const struct wire_request *request, struct reply *reply)
{
    char why[256];
    (void)request;
    if (server_save(client->control->process, why) == ERR_OK)
        say(reply, 0, "saved");
    else
        say(reply, 1, why);
}

static void do_drain(struct client *client, const struct wire_request *request, struct reply *reply)
{
    set_drained(client, request, reply, true);
}

static void do_undrain(struct client *client, const struct wire_request *request, struct reply *reply)
{
    set_drained(client, request, reply, false);
}

static void do_stop(struct client *client, const struct wire_request *request, struct reply *reply)
{
    struct server_process *process = client->control->process;
    uint64_t deadline_ms = request->deadline_ms == UINT64_MAX ? server_config(process)->timeouts.drain_ms : request->deadline_ms;
    say(reply, 0, "stopping");
    server_stop(process, deadline_ms);
}

/* The deadline says which: those that end within it. Without one that does, the text is empty. */
static void do_certs(struct client *client, const struct wire_request *request, struct reply *reply)
{
    struct server_process *process = client->control->process;
    uint32_t count = certificates_report(process->generation, loop_unix_seconds(&process->loop), request->deadline_ms, &reply->text, &reply->json);
    if (count == 0 && request->deadline_ms == UINT64_MAX)
        text_add(&reply->text, SLICE("no listener speaks TLS\n"));
}

/* Arguments: method, URL, the client's address or nothing, then fields. False: told. */
static bool read_question(const struct wire_request *request, struct reply *reply, struct explain_question *question)
{
    *question = (struct explain_question){ .field_count = request->argument_count - 3 };
    if (request->argument_count < 3 || question->field_count > EXPLAIN_FIELDS_MAX) {
        say(reply, 2, "the question has a method, a URL, an address and at most 32 fields");
        return false;
    }
    question->method = slice_of_text(request->arguments[0]);
    question->url = slice_of_text(request->arguments[1]);
    question->from = slice_of_text(request->arguments[2]);
    for (unsigned i = 0; i < question->field_count; i++)
        question->fields[i] = slice_of_text(request->arguments[3 + i]);
    return true;
}

static void do_explain(struct client *client, const struct wire_request *request, struct reply *reply)
{
    struct server_process *process = client->control->process;
    struct explain_question question;
    char why[128];
    if (!read_question(request, reply, &question))
        return;
    question.homes = process->shared.homes;
    question.disk = process->shared.disk;
    question.now_s = loop_unix_seconds(&process->loop);
    enum err e = explain(process->generation, &question, process->loop.now_ms, loop_random(&process->loop), &reply->text, &reply->json, why);
    if (e != ERR_OK)
        say(reply, e == ERR_SYNTAX ? 2 : 1, why);
}

static void do_cache_show(struct client *client, const struct wire_request *request, struct reply *reply)
{
    struct explain_question question;
    char why[256];
    if (!read_question(request, reply, &question))
        return;
    enum err e = cache_show(client->control->process, &question, &reply->text, &reply->json, why);
    if (e != ERR_OK)
        say(reply, e == ERR_SYNTAX ? 2 : 1, why);
}

static void do_cache_status(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    if (client->control->process->shared.homes)
        with_stats(client, reply, cache_status);
    else
        say(reply, 1, "no route has a cache");
}

static void do_version(struct client *client, const struct wire_request *request, struct reply *reply)
{
    (void)request;
    with_stats(client, reply, report_version);
}

struct command {
    const char *word;
    void (*run)(struct client *client, const struct wire_request *request, struct reply *reply);
};

static const struct command commands[] = {
    { "status", do_status }, { "pools", do_pools }, { "top", do_top }, { "metrics", do_metrics }, { "config", do_config },
    { "drain", do_drain }, { "undrain", do_undrain }, { "stop", do_stop }, { "version", do_version },
    { "certs", do_certs }, { "explain", do_explain }, { "cache-status", do_cache_status }, { "cache-show", do_cache_show },
    { "server-drain", do_drain }, { "server-undrain", do_undrain }, { "server-state", do_force },
    { "server-list", do_list }, { "server-save", do_save },
};

/* Those that are answered later. */
static const struct {
    const char *word;
    enum server_change_kind kind;
} changes[] = {
    { "server-add", CHANGE_ADD }, { "server-remove", CHANGE_REMOVE }, { "server-weight", CHANGE_WEIGHT }, { "server-reset", CHANGE_RESET },
};

static struct reload_job *new_job(struct client *client)
{
    struct reload_job *job = FAULT("control") ? NULL : calloc(1, sizeof *job);
    if (!job) {
        struct reply reply = { 0 };
        say(&reply, 1, "out of memory");
        send_reply(client, &reply);
        return NULL;
    }
    job->client = client;
    job->answer.done = reload_done;
    client->job = job;
    client->state = CLIENT_WORKING;
    timer_cancel(&loop_of(client)->wheel, &client->timer);
    return job;
}

static void start_reload(struct client *client)
{
    struct reload_job *job = new_job(client);
    if (job)
        server_reload(client->control->process, &job->answer);
}

static void start_change(struct client *client, enum server_change_kind kind, const struct wire_request *request)
{
    struct reply reply = { 0 };
    bool weight_fits = request->weight <= SERVER_WEIGHT_MAX && (request->weight || kind != CHANGE_WEIGHT);
    if (!weight_fits || request->max_connections > 1000000 || request->group > SERVER_GROUP_MAX) {
        say(&reply, 2, "a weight is 1 to 256, a limit at most 1000000, a group at most 7");
        send_reply(client, &reply);
        return;
    }
    struct reload_job *job = new_job(client);
    if (!job)
        return;
    job->answer.change = (struct server_change){ .kind = kind, .weight = (uint32_t)request->weight, .group = (uint8_t)request->group,
                                                 .max_connections = (uint32_t)request->max_connections };
    _Static_assert(WIRE_WEIGHT_MAX == SERVER_WEIGHT_MAX && WIRE_GROUP_MAX == SERVER_GROUP_MAX, "the tool refuses what would be refused here");
    _Static_assert(sizeof job->answer.change.name == sizeof request->argument, "the one goes into the other");
    memcpy(job->answer.change.name, request->argument, sizeof request->argument);
    server_change(client->control->process, &job->answer);
}

/* The argument says what kind, the value "soft" or nothing; arguments are as struct purge_question has them. */
static void start_purge(struct client *client, const struct wire_request *request)
{
    struct purge_question question = { .soft = strcmp(request->value, "soft") == 0, .text_count = request->argument_count };
    struct reply reply = { 0 };
    bool known = purge_kind_of(request->argument, &question.kind);
    bool one = question.kind == PURGE_PREFIX || question.kind == PURGE_HOST;
    if (!known || question.text_count > ARRAY_LENGTH(question.texts) || (question.text_count == 0) != (question.kind == PURGE_ALL) ||
        (one && question.text_count != 1) || (request->value[0] && !question.soft)) {
        say(&reply, 2, "a purge is of a URL, a prefix, a host, tags, or all");
        send_reply(client, &reply);
        return;
    }
    for (unsigned i = 0; i < question.text_count; i++)
        question.texts[i] = slice_of_text(request->arguments[i]);
    struct reload_job *job = new_job(client);
    if (job)
        purge_begin(client->control->process, &question, &job->answer);
}

static void run_command(struct client *client, const struct wire_request *request)
{
    struct reply reply = { 0 };
    if (strcmp(request->command, "reload") == 0) {
        start_reload(client);
        return;
    }
    if (strcmp(request->command, "purge") == 0) {
        start_purge(client, request);
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(changes); i++) {
        if (strcmp(changes[i].word, request->command) == 0) {
            start_change(client, changes[i].kind, request);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        if (strcmp(commands[i].word, request->command) == 0) {
            commands[i].run(client, request, &reply);
            send_reply(client, &reply);
            return;
        }
    }
    say(&reply, 2, "unknown command");
    send_reply(client, &reply);
}

static void refuse_frame(struct client *client, enum err e)
{
    struct reply reply = { 0 };
    char why[96];
    bool ours = e == ERR_MEMORY; /* nothing is wrong with it */
    snprintf(why, sizeof why, "%s%s", ours ? "" : "bad frame: ", err_text(e));
    say(&reply, ours ? 1 : 2, why);
    client->in_wanted = SIZE_MAX; /* closed after the answer */
    send_reply(client, &reply);
}

/* Input -------------------------------------------------------------------------------------------------------- */

static bool make_room(struct client *client, size_t room)
{
    if (room <= client->in_room)
        return true;
    char *grown = FAULT("control") ? NULL : realloc(client->in, room);
    if (!grown)
        return false;
    client->in = grown;
    client->in_room = room;
    return true;
}

static void frame_complete(struct client *client)
{
    struct wire_request request;
    enum err e = wire_decode_request(slice_of(client->in + WIRE_HEAD_BYTES, client->in_wanted - WIRE_HEAD_BYTES), &request);
    client->in_length -= client->in_wanted; /* the next frame may have come already; it waits for this one's answer */
    memmove(client->in, client->in + client->in_wanted, client->in_length);
    client->in_wanted = 0;
    if (e != ERR_OK) {
        refuse_frame(client, e);
        return;
    }
    run_command(client, &request);
    wire_request_release(&request);
}

static void look_at_input(struct client *client)
{
    if (client->in_wanted == 0 && client->in_length >= WIRE_HEAD_BYTES) {
        size_t length = 0;
        enum err e = wire_decode_head(client->in, CONTROL_FRAME_BYTES, &length);
        if (e != ERR_OK) {
            refuse_frame(client, e);
            return;
        }
        client->in_wanted = length + WIRE_HEAD_BYTES;
    }
    if (client->in_wanted && client->in_length >= client->in_wanted)
        frame_complete(client);
    else if (client->in_length == client->in_room && !make_room(client, client->in_room * 4))
        client_close(client);
    else
        read_more(client);
}

static void sent(struct client *client, size_t bytes)
{
    client->out_sent += bytes;
    if (client->out_sent < client->out_length) {
        write_more(client);
        return;
    }
    free(client->out);
    client->out = NULL;
    allow_time(client);
    if (client->in_wanted == SIZE_MAX)
        client_close(client);
    else
        look_at_input(client);
}

static void received(struct client *client, size_t bytes)
{
    client->in_length += bytes;
    look_at_input(client);
}

static void op_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct client *client = CONTAINER_OF(op, struct client, op);
    if (client->closing || result <= 0)
        client_free(client);
    else if (client->state == CLIENT_READING)
        received(client, (size_t)result);
    else
        sent(client, (size_t)result);
}

/* Accepting ---------------------------------------------------------------------------------------------------- */

/* A mode that lets others in means them; with 0600 a descriptor that was passed on is still no key. */
static bool may_command(const struct control *control, int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    if (control->mode & 0077)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

/* Says why in a frame, without waiting: a client that is not reading loses the words. */
static void refuse_client(int fd, uint32_t code, struct slice text, struct slice json)
{
    size_t length;
    char *frame = wire_encode_answer(code, text, json, &length);
    if (frame)
        (void)!send(fd, frame, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    free(frame);
    close(fd);
}

static struct client *client_new(struct control *control, int fd)
{
    struct client *client = FAULT("control") ? NULL : calloc(1, sizeof *client);
    if (!client || !make_room(client, CLIENT_BYTES)) {
        free(client);
        return NULL;
    }
    client->control = control;
    client->fd = fd;
    client->op.done = op_done;
    client->timer.fire = timed_out;
    client->next = control->clients;
    control->clients = client;
    control->count++;
    return client;
}

static void take_client(struct control *control, int fd)
{
    if (!may_command(control, fd)) {
        refuse_client(fd, 5, SLICE("only the engine's own user and root may command it\n"),
                      SLICE("{\"error\":\"only the engine's own user and root may command it\"}"));
        return;
    }
    struct client *client = control->count < CONTROL_CLIENTS ? client_new(control, fd) : NULL;
    if (!client) {
        refuse_client(fd, 75, SLICE("too many commands at once\n"), SLICE("{\"error\":\"too many commands at once\"}"));
        return;
    }
    allow_time(client);
    read_more(client);
}

static void accept_more(struct control *control)
{
    op_accept_multishot(&server_loop(control->process)->ring, &control->accept, control->fd);
}

static void backoff_over(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    accept_more(CONTAINER_OF(timer, struct control, backoff));
}

/* An accept that failed would fail again at once as long as descriptors or memory are short. */
static void accept_done(struct op *op, int32_t result, uint32_t flags)
{
    struct control *control = CONTAINER_OF(op, struct control, accept);
    struct loop *loop = server_loop(control->process);
    if (result >= 0)
        take_client(control, result);
    if (flags & RING_MORE || result == -ECANCELED || result == -EBADF)
        return;
    if (result >= 0)
        accept_more(control);
    else
        timer_set(&loop->wheel, &control->backoff, loop->now_ms + ACCEPT_BACKOFF_MS);
}

/* Life --------------------------------------------------------------------------------------------------------- */

static enum err fail(struct control *control, const char *what, char why[256])
{
    enum err e = errno == EACCES || errno == EPERM ? ERR_PERMISSION : errno == EADDRINUSE ? ERR_EXISTS : ERR_SYSTEM;
    snprintf(why, 256, "control socket \"%s\": %s: %s", control->path, what, strerror(errno));
    if (control->fd >= 0)
        close(control->fd);
    free(control);
    return e;
}

/* What stands in the way may be removed only if it is a socket that nobody listens on: connecting to any other file is refused too. */
static const char *remove_stale(const struct sockaddr_un *address)
{
    struct stat file;
    if (lstat(address->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
        return "something that is no socket stands there";
    int fd = FAULT("control") ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return "cannot ask who is there";
    bool dead = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!dead)
        return "another engine answers there";
    return unlink(address->sun_path) == 0 ? NULL : "a socket left over there cannot be removed";
}

/* The mode holds from the first moment: the umask is narrowed around bind. NULL, or what went wrong, with errno. */
static const char *bind_with_mode(int fd, const struct sockaddr_un *address, uint32_t mode)
{
    const struct sockaddr *any = (const struct sockaddr *)address;
    const char *trouble = NULL;
    mode_t before = umask(0777 & ~(mode_t)mode);
    bool bound = bind(fd, any, sizeof *address) == 0;
    if (!bound && errno == EADDRINUSE) {
        trouble = remove_stale(address);
        errno = EADDRINUSE;
        bound = !trouble && bind(fd, any, sizeof *address) == 0;
    }
    int error = errno;
    umask(before);
    errno = error;
    if (!bound)
        return trouble ? trouble : "bind";
    return chmod(address->sun_path, (mode_t)mode) == 0 ? NULL : "chmod";
}

enum err control_open(struct control **made, struct server_process *process, struct slice path, uint32_t mode, char why[256])
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct control *control = FAULT("control") ? NULL : calloc(1, sizeof *control);
    const char *trouble;
    *made = NULL;
    snprintf(why, 256, "control socket: %s", err_text(ERR_MEMORY));
    if (!control)
        return ERR_MEMORY;
    control->process = process;
    control->mode = mode;
    control->accept.done = accept_done;
    control->backoff.fire = backoff_over;
    snprintf(control->path, sizeof control->path, "%.*s", (int)path.length, path.at);
    memcpy(address.sun_path, control->path, sizeof address.sun_path);
    control->fd = FAULT("control") ? (errno = EMFILE, -1) : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->fd < 0)
        return fail(control, "socket", why);
    if ((trouble = bind_with_mode(control->fd, &address, mode)))
        return fail(control, trouble, why);
    if (listen(control->fd, (int)CONTROL_CLIENTS) < 0)
        return fail(control, "listen", why);
    accept_more(control);
    *made = control;
    return ERR_OK;
}

void control_close(struct control *control)
{
    while (control->clients)
        client_free(control->clients);
    timer_cancel(&server_loop(control->process)->wheel, &control->backoff);
    close(control->fd);
    unlink(control->path);
    free(control);
}

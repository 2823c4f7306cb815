/*
 * Reload: a new generation beside the old one, prepared by every worker, then adopted by every worker, then answered. One at a time:
 * what is asked meanwhile, a reload or a change of servers (changes.c), stands in line.
 *
 * Anything wrong before the last worker has prepared it leaves everything as it was: a worker that lacks the memory for its view says so
 * and the others drop theirs. Adopting cannot fail.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/certificates.h"
#include "engine/outliers.h"
#include "engine/prober.h"
#include "engine/process.h"
#include "engine/resolver_ask.h"

void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, bytes);
    close(fd);
}

/* Generations that nobody uses any more ------------------------------------------------------------------------- */

static void forget_generation(struct server_process *process, struct generation *generation)
{
    struct generation **at = &process->old;
    while (*at && *at != generation)
        at = &(*at)->next;
    MUST(*at);
    *at = generation->next;
    generation_free(generation);
}

static void view_released(struct letter *letter, struct loop *here)
{
    struct server_process *process = (struct server_process *)here;
    struct generation *generation = CONTAINER_OF(letter, struct generation_letter, letter)->generation;
    MUST(generation->views > 0);
    if (--generation->views == 0 && generation != process->generation)
        forget_generation(process, generation);
}

struct letter *server_view_released(struct generation *generation, uint32_t worker)
{
    struct generation_letter *mine = &generation->letters[worker];
    mine->generation = generation;
    mine->letter.deliver = view_released;
    return &mine->letter;
}

static void signalled_again(struct server_process *process);

/* Answers ------------------------------------------------------------------------------------------------------ */

static void lines_to_json(const char *key, const struct text *lines, struct text *json)
{
    struct slice rest = text_slice(lines);
    text_format(json, "{\"%s\":[", key);
    for (bool first = true; rest.length; first = false) {
        const char *end = memchr(rest.at, '\n', rest.length);
        size_t length = end ? (size_t)(end - rest.at) : rest.length;
        if (!first)
            text_add(json, SLICE(","));
        text_json_string(json, slice_of(rest.at, length));
        size_t used = end ? length + 1 : length;
        rest = slice_of(rest.at + used, rest.length - used);
    }
    text_add(json, SLICE("]}"));
}

/* The line ----------------------------------------------------------------------------------------------------- */

/* Begins what waits. Beginning may end at once, so it goes on in this loop and not in calls inside each other. */
static void move_line(struct server_process *process)
{
    if (process->line_moving)
        return;
    process->line_moving = true;
    while (!process->reload_answer && process->line_first) {
        struct server_answer *answer = process->line_first;
        process->line_first = answer->next;
        if (!process->line_first)
            process->line_tail = &process->line_first;
        process->reload_answer = answer;
        answer->begin(process, answer);
    }
    process->line_moving = false;
}

void change_enqueue(struct server_process *process, struct server_answer *answer, void (*begin)(struct server_process *process, struct server_answer *answer))
{
    answer->begin = begin;
    answer->next = NULL;
    *process->line_tail = answer;
    process->line_tail = &answer->next;
    move_line(process);
}

static void finish_answer(struct server_answer *answer, enum err result)
{
    answer->result = result;
    if (!answer->json.at)
        lines_to_json(result == ERR_OK ? "changed" : "refused", &answer->text, &answer->json);
    answer->done(answer);
}

static void refuse(struct server_answer *answer, enum err result, const char *why)
{
    text_format(&answer->text, "%s\n", why);
    finish_answer(answer, result);
}

void change_conclude(struct server_process *process, struct server_answer *answer, enum err result)
{
    process->reload_answer = NULL;
    if (answer->of_file)
        process->file_busy = false;
    finish_answer(answer, result);
    signalled_again(process);
    move_line(process);
}

void change_refuse(struct server_process *process, struct server_answer *answer, enum err result, const char *why)
{
    text_release(&answer->text);
    text_format(&answer->text, "%s\n", why);
    change_conclude(process, answer, result);
}

static void file_adopted(struct server_process *process)
{
    process->loaded_unix = loop_unix_seconds(&process->loop);
    log_open(-1, process->generation->config->log.level);
    tickets_adopt(process);
    notify("READY=1");
}

static void all_acknowledged(struct server_process *process)
{
    struct server_answer *answer = process->reload_answer;
    struct generation *from = process->reload_from, *now = process->generation;
    process->reload_from = process->reload_to = NULL;
    process->registry.rounds++;
    generation_close_unix(from, now);
    if (!now->derived)
        file_adopted(process);
    changes_left(from, now);
    changes_adopted(process);
    prober_adopt(process->prober);
    outliers_adopt(process);
    if (from->views == 0)
        forget_generation(process, from);
    log_line(now->derived ? LOG_INFO : LOG_NOTICE, "configuration %llu is in use", (unsigned long long)now->number);
    change_conclude(process, answer, ERR_OK);
}

/* It will not be: no worker has a view of it any more. */
static void give_up(struct server_process *process)
{
    struct server_answer *answer = process->reload_answer;
    struct config *config = process->reload_to->config;
    bool stopping = process->state != PROCESS_RUNNING;
    generation_discard(process->reload_to);
    config_free(config);
    process->reload_to = NULL;
    changes_abandoned(process);
    if (stopping)
        change_refuse(process, answer, ERR_AGAIN, "the engine is stopping");
    else
        change_refuse(process, answer, ERR_MEMORY, "out of memory on at least one worker; the running configuration stays");
}

/* Workers ------------------------------------------------------------------------------------------------------ */

/* One step on every worker; each sends its letter back, and the last is known by reload_acks. */
static void tell_workers(struct server_process *process, void (*deliver)(struct letter *letter, struct loop *here))
{
    process->reload_acks = 0;
    for (uint32_t i = 0; i < process->worker_count; i++) {
        struct generation_letter *mine = &process->reload_to->letters[i];
        mine->letter.deliver = deliver;
        mailbox_send(&process->loop, &process->workers[i]->loop, &mine->letter);
    }
}

static void answer_letter(struct letter *letter, struct loop *here, void (*deliver)(struct letter *letter, struct loop *here))
{
    struct loop *control = letter->from;
    letter->deliver = deliver;
    mailbox_send(here, control, letter);
}

static void adopted(struct letter *letter, struct loop *here)
{
    struct server_process *process = (struct server_process *)here;
    CONTAINER_OF(letter, struct generation_letter, letter)->generation->views++;
    if (++process->reload_acks == process->worker_count)
        all_acknowledged(process);
}

static void adopt(struct letter *letter, struct loop *here)
{
    answer_letter(letter, here, adopted); /* before the old view's letter, so that it is not counted down too early */
    worker_adopt(worker_of(here));
}

static void abandoned(struct letter *letter, struct loop *here)
{
    (void)letter;
    struct server_process *process = (struct server_process *)here;
    if (++process->reload_acks == process->worker_count)
        give_up(process);
}

static void abandon(struct letter *letter, struct loop *here)
{
    worker_abandon(worker_of(here));
    answer_letter(letter, here, abandoned);
}

static void put_in_force(struct server_process *process)
{
    process->reload_from = process->generation;
    process->generation->next = process->old;
    process->old = process->generation;
    process->generation = process->reload_to;
    if (!process->generation->derived)
        notify("RELOADING=1");
    tell_workers(process, adopt);
}

/* When all have answered: workers that are told to end take no more letters, and drop what they prepared by themselves. */
static void prepared(struct letter *letter, struct loop *here)
{
    struct server_process *process = (struct server_process *)here;
    if (!CONTAINER_OF(letter, struct generation_letter, letter)->prepared)
        process->reload_failures++;
    if (++process->reload_acks < process->worker_count || process->state == PROCESS_CUTTING)
        return;
    if (process->reload_failures == 0 && process->state == PROCESS_RUNNING)
        put_in_force(process);
    else
        tell_workers(process, abandon);
}

static void prepare(struct letter *letter, struct loop *here)
{
    struct generation_letter *mine = CONTAINER_OF(letter, struct generation_letter, letter);
    mine->prepared = worker_prepare(worker_of(here), mine->generation);
    answer_letter(letter, here, prepared);
}

void change_begin(struct server_process *process, struct server_answer *answer, struct generation *generation)
{
    process->reload_answer = answer;
    process->reload_to = generation;
    process->reload_failures = 0;
    for (uint32_t i = 0; i < process->worker_count; i++)
        generation->letters[i] = (struct generation_letter){ .generation = generation, .worker = process->workers[i] };
    tell_workers(process, prepare);
}

static void drop_file(struct server_process *process)
{
    timer_cancel(&process->loop.wheel, &process->file_patience);
    config_free(process->file_config);
    process->file_config = NULL;
}

void reload_at_end(struct server_process *process)
{
    if (process->reload_to && process->reload_to != process->generation) {
        give_up(process);
    } else if (process->file_config) {
        drop_file(process);
        change_refuse(process, process->reload_answer, ERR_AGAIN, "the engine is stopping");
    } else if (process->reload_answer) {
        change_refuse(process, process->reload_answer, ERR_AGAIN, "the engine is stopping");
    }
}

/* The request -------------------------------------------------------------------------------------------------- */

static struct config *read_again(struct server_process *process, struct server_answer *answer)
{
    struct config_problems *problems = calloc(1, sizeof *problems);
    if (!problems) {
        change_refuse(process, answer, ERR_MEMORY, "out of memory");
        return NULL;
    }
    struct config *config = config_read(process->path, problems);
    if (config) {
        for (uint32_t i = 0; i < problems->count; i++)
            log_line(LOG_WARN, "\"%s\": %s", process->path, problems->list[i].message);
    } else {
        config_problems_print(problems, process->path, false, &answer->text);
        config_problems_json(problems, process->path, &answer->json);
        log_line(LOG_ERROR, "reload refused: \"%s\" has %u errors; the running configuration stays", process->path, problems->errors);
        change_conclude(process, answer, ERR_SYNTAX);
    }
    free(problems);
    return config;
}

/* It is not to be: names that only it has are not followed. */
static void keep_what_runs(struct server_process *process)
{
    const struct config *config = server_config(process);
    resolver_configure(process->resolver, &config->dns);
    if (process->asker)
        asker_configure(process->asker, &config->dns);
    resolver_want(process->resolver, config, NULL, &process->overlay);
    changes_abandoned(process);
}

static struct generation *make_generation(struct server_process *process, struct config *config, struct text *changes, char why[256])
{
    snprintf(why, 256, "out of memory");
    if (!overlay_copy(&process->overlay, &process->overlay_next))
        return NULL;
    overlay_absorb(&process->overlay_next, config, changes);
    if (!changes_expand(process, config, &process->overlay_next))
        return NULL;
    process->registry.now_ms = process->loop.now_ms;
    struct generation *generation = generation_new(&process->registry, config, process->generation, why);
    if (!generation || (server_prepare_verifier(process, config, why) && server_prepare_homes(process, config, why))) /* last: homes stay, whatever becomes of the file */
        return generation;
    generation_discard(generation);
    return NULL;
}

/* Its names are there, or took too long. */
static void go_on(struct server_process *process)
{
    struct server_answer *answer = process->reload_answer;
    struct config *config = process->file_config;
    char why[256];
    process->file_config = NULL;
    timer_cancel(&process->loop.wheel, &process->file_patience);
    if (process->state != PROCESS_RUNNING) {
        config_free(config);
        change_refuse(process, answer, ERR_AGAIN, "the engine is stopping");
        return;
    }
    struct text changes = { 0 };
    enum err e = config_diff(server_config(process), config, &answer->text);
    struct generation *generation = e == ERR_OK ? make_generation(process, config, &changes, why) : NULL;
    if (generation) {
        certificates_changes(process->generation, generation, &answer->text);
        text_add(&answer->text, text_slice(&changes));
        changes_begun(generation);
        change_begin(process, answer, generation);
    } else {
        config_free(config);
        keep_what_runs(process);
        if (e != ERR_OK)
            change_conclude(process, answer, e);
        else
            change_refuse(process, answer, ERR_SYSTEM, why);
    }
    text_release(&changes);
}

static void waited_enough(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    go_on(CONTAINER_OF(timer, struct server_process, file_patience));
}

void reload_names_settled(struct server_process *process)
{
    if (process->file_config)
        go_on(process);
}

static void begin_file(struct server_process *process, struct server_answer *answer)
{
    if (process->state != PROCESS_RUNNING) {
        change_refuse(process, answer, ERR_AGAIN, "the engine is stopping");
        return;
    }
    struct config *config = read_again(process, answer);
    if (!config)
        return;
    process->file_config = config;
    process->file_patience.fire = waited_enough;
    timer_set(&process->loop.wheel, &process->file_patience, process->loop.now_ms + RESOLVER_FIRST_MS);
    resolver_configure(process->resolver, &config->dns);
    if (process->asker)
        asker_configure(process->asker, &config->dns);
    resolver_want(process->resolver, server_config(process), config, &process->overlay);
    if (resolver_settled(process->resolver))
        go_on(process);
}

void server_reload(struct server_process *process, struct server_answer *answer)
{
    if (process->file_busy || process->state != PROCESS_RUNNING) {
        refuse(answer, ERR_AGAIN, process->file_busy ? "a reload is under way" : "the engine is stopping");
        return;
    }
    if (!process->path) {
        refuse(answer, ERR_REFUSED, "this engine was started without a file");
        return;
    }
    answer->of_file = true;
    process->file_busy = true;
    change_enqueue(process, answer, begin_file);
}

/* SIGHUP ------------------------------------------------------------------------------------------------------- */

static void hup_done(struct server_answer *answer)
{
    struct server_process *process = CONTAINER_OF(answer, struct server_process, hup_answer);
    if (answer->result != ERR_OK)
        log_line(LOG_ERROR, "reload: %s\n%.*s", err_text(answer->result), (int)answer->text.length, answer->text.at ? answer->text.at : "");
    text_release(&answer->text);
    text_release(&answer->json);
    process->hup_busy = false;
    process->hup_again |= answer->result == ERR_AGAIN; /* a command's reload is under way: after it */
}

static void signalled_again(struct server_process *process)
{
    if (!process->hup_again || process->hup_busy || process->state != PROCESS_RUNNING)
        return;
    process->hup_again = false;
    reload_on_signal(process);
}

void reload_on_signal(struct server_process *process)
{
    if (process->hup_busy) {
        process->hup_again = true; /* the file may have changed since it was read */
        return;
    }
    process->hup_busy = true;
    process->hup_answer = (struct server_answer){ .done = hup_done };
    server_reload(process, &process->hup_answer);
}

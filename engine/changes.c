/*
 * Servers that change without the file: names that have other addresses, and commands.
 *
 * Both end in a derived generation (generation.h): the text of the configuration in force is parsed again, so that what stands in the file
 * by now plays no part, the overlay is laid over it, names are replaced by their answers, and the workers take it as they take a reload.
 * It stands in reload.c's line. Other answers are taken up NAMES_PAUSE_MS after the first of them, all at once, so that however many
 * names move there are no more than five such generations a second.
 *
 * A server without an address stays among the servers, where it is seen, but is down (health.unresolved). That is set before workers have it
 * and taken away when all have its address.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/config_value.h"
#include "engine/expansion.h"
#include "engine/process.h"
#include "engine/resolver_ask.h"

#define NAMES_PAUSE_MS 200u
#define NAMES_AGAIN_MS 5000u /* when there was no memory for it */

/* Expanding ---------------------------------------------------------------------------------------------------- */

bool changes_expand(struct server_process *process, struct config *config, const struct overlay *overlay)
{
    struct name_lookup lookup = resolver_lookup(process->resolver);
    uint32_t left_out = 0;
    bool expanded = expand_servers(config, overlay, &lookup, &left_out);
    if (left_out)
        log_line(LOG_ERROR, "%u servers are left out: a pool has at most %u, all together %u", left_out, UPSTREAM_SERVERS_MAX, POOLS_SERVERS_MAX);
    process->names_changed = false;
    return expanded;
}

/* What is true of a generation: of all its servers, or only of those that have no address. */
static void note_unresolved(const struct generation *generation, bool only_those)
{
    const struct config *config = generation->config;
    for (uint32_t p = 0; p < config->pool_count; p++)
        for (uint32_t s = 0; s < config->pools[p].server_count; s++)
            if (!only_those || config->pools[p].servers[s].unresolved)
                atomic_store_explicit(&generation->records[p][s]->health.unresolved, config->pools[p].servers[s].unresolved, memory_order_relaxed);
}

void changes_begun(const struct generation *generation)
{
    note_unresolved(generation, true);
}

/*
 * A server that only the generation before had, and that had no address, is not to come back with that: workers would have its new
 * address before it is taken away, and if it is the only server then there would be none.
 */
void changes_left(const struct generation *before, const struct generation *now)
{
    const struct config *config = before->config;
    for (uint32_t p = 0; p < config->pool_count; p++)
        for (uint32_t s = 0; s < config->pools[p].server_count; s++)
            if (before->records[p][s]->generation != now->number)
                atomic_store_explicit(&before->records[p][s]->health.unresolved, 0, memory_order_relaxed);
}

/* Takes process->overlay_next over when it comes to that. Concludes. */
static void derive(struct server_process *process, struct server_answer *answer)
{
    const struct generation *now = process->generation;
    char why[256] = "out of memory";
    struct config *config = config_again(now->config);
    bool well = config && changes_expand(process, config, &process->overlay_next);
    if (well && expansion_equal(config, now->config)) {
        config_free(config);
        changes_adopted(process);
        change_conclude(process, answer, ERR_OK);
        return;
    }
    process->registry.now_ms = process->loop.now_ms;
    struct generation *generation = well ? generation_derive(&process->registry, config, now, why) : NULL;
    if (generation) {
        changes_begun(generation);
        change_begin(process, answer, generation);
        return;
    }
    config_free(config);
    changes_abandoned(process);
    change_refuse(process, answer, ERR_SYSTEM, why);
}

void changes_adopted(struct server_process *process)
{
    overlay_release(&process->overlay);
    process->overlay = process->overlay_next;
    process->overlay_next = (struct overlay){ 0 };
    note_unresolved(process->generation, false);
    resolver_want(process->resolver, server_config(process), NULL, &process->overlay);
}

/* Names --------------------------------------------------------------------------------------------------------- */

static void plan_names(struct server_process *process, uint32_t pause_ms)
{
    process->names_changed = true;
    if (process->state == PROCESS_RUNNING && !timer_armed(&process->names_timer))
        timer_set(&process->loop.wheel, &process->names_timer, process->loop.now_ms + pause_ms);
}

void changes_abandoned(struct server_process *process)
{
    overlay_release(&process->overlay_next);
    note_unresolved(process->generation, false);
    plan_names(process, NAMES_AGAIN_MS); /* what it would have brought of other answers */
}

static void names_done(struct server_answer *answer)
{
    struct server_process *process = CONTAINER_OF(answer, struct server_process, names_answer);
    if (answer->result != ERR_OK && process->state == PROCESS_RUNNING)
        log_line(LOG_ERROR, "new addresses are not taken up: %.*s", (int)answer->text.length, answer->text.at ? answer->text.at : "");
    text_release(&answer->text);
    text_release(&answer->json);
    process->names_busy = false;
    if (process->names_changed)
        plan_names(process, NAMES_PAUSE_MS);
}

static void begin_names(struct server_process *process, struct server_answer *answer)
{
    if (process->state != PROCESS_RUNNING)
        change_refuse(process, answer, ERR_AGAIN, "the engine is stopping");
    else if (overlay_copy(&process->overlay, &process->overlay_next))
        derive(process, answer);
    else {
        changes_abandoned(process);
        change_refuse(process, answer, ERR_MEMORY, "out of memory");
    }
}

static void names_due(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct server_process *process = CONTAINER_OF(timer, struct server_process, names_timer);
    if (process->state != PROCESS_RUNNING || process->names_busy || !process->names_changed)
        return;
    process->names_busy = true;
    process->names_answer = (struct server_answer){ .done = names_done };
    change_enqueue(process, &process->names_answer, begin_names);
}

static void names_changed(void *owner)
{
    plan_names(owner, NAMES_PAUSE_MS);
}

static void names_settled(void *owner)
{
    struct server_process *process = owner;
    if (process->state == PROCESS_STARTING)
        process->loop.again = true; /* it is wait_for_names that turns it, which is to see this now */
    else
        reload_names_settled(process);
}

/* Commands ----------------------------------------------------------------------------------------------------- */

/* What a command speaks of, found in the configuration in force. */
struct subject {
    const struct config_pool *pool;
    struct slice address; /* canonical */
    bool configured;      /* the file has it */
    bool in_use;          /* it is a server now, or a name that servers come from */
    bool named;           /* a name that the file, or another command, has brings it */
};

static enum err say(struct server_answer *answer, enum err e, const char *before, struct slice subject, const char *after)
{
    text_format(&answer->text, "%s%.*s%s\n", before, (int)subject.length, subject.at, after);
    return e;
}

static void look_for(struct subject *subject)
{
    for (uint32_t s = 0; s < subject->pool->configured_count; s++)
        subject->configured |= slice_equal(subject->pool->configured[s].address.text, subject->address);
    for (uint32_t s = 0; s < subject->pool->server_count; s++) {
        const struct config_server *server = &subject->pool->servers[s];
        bool same = slice_equal(server->address.text, subject->address);
        subject->in_use |= same;
        subject->named |= same && (!server->added || server->name.length);
    }
}

static enum err read_subject(struct server_process *process, struct server_answer *answer, struct config_memory *memory, struct subject *subject)
{
    const struct config *config = server_config(process);
    struct slice name = slice_of_text(answer->change.name);
    const char *slash = name.length ? memchr(name.at, '/', name.length) : NULL;
    if (!slash)
        return say(answer, ERR_NONE, "\"", name, "\" is not POOL/ADDRESS");
    struct slice pool = slice_of(name.at, (size_t)(slash - name.at)), text = slice_of(slash + 1, name.length - pool.length - 1);
    *subject = (struct subject){ 0 };
    for (uint32_t p = 0; p < config->pool_count; p++)
        if (slice_equal(config->pools[p].name, pool))
            subject->pool = &config->pools[p];
    if (!subject->pool)
        return say(answer, ERR_NONE, "there is no pool \"", pool, "\"");
    struct address address;
    const char *complaint = value_read_address(memory, text, ADDRESS_OF_SERVER, &address);
    if (complaint || !address.text.at) {
        say(answer, ERR_NONE, "\"", text, "\" is no address:");
        return say(answer, ERR_NONE, "", slice_of_text(complaint ? complaint : "out of memory"), "");
    }
    subject->address = address.text;
    look_for(subject);
    return ERR_OK;
}

static enum err no_such_server(struct server_answer *answer, const struct subject *subject)
{
    return say(answer, ERR_NONE, "the pool has no server \"", subject->address, "\"");
}

/* A server that would be left out again is not "added"; NULL: there is room. */
static const char *why_no_room(const struct config *config, const struct config_pool *pool)
{
    uint32_t total = 0;
    for (uint32_t p = 0; p < config->pool_count; p++)
        total += config->pools[p].server_count;
    if (pool->server_count >= UPSTREAM_SERVERS_MAX)
        return "\": the pool has 1024 servers, and no more are allowed";
    return total >= POOLS_SERVERS_MAX ? "\": the pools have 16384 servers, and no more are allowed" : NULL;
}
_Static_assert(UPSTREAM_SERVERS_MAX == 1024 && POOLS_SERVERS_MAX == 16384, "said so");

static enum err apply_add(const struct config *config, struct server_answer *answer, struct overlay *overlay, const struct subject *subject)
{
    const char *no_room = why_no_room(config, subject->pool);
    const struct overlay_entry *before = overlay_find(overlay, subject->pool->name, subject->address);
    if (subject->in_use || (before && before->added) || (subject->configured && !(before && before->removed)))
        return say(answer, ERR_EXISTS, "the pool has \"", subject->address, "\" already");
    if (no_room)
        return say(answer, ERR_CAP, "\"", subject->address, no_room);
    struct overlay_entry *entry = overlay_entry(overlay, subject->pool->name, subject->address);
    if (!entry)
        return say(answer, ERR_CAP, "\"", subject->address, "\": out of memory, or too many changes by command");
    const struct server_change *change = &answer->change;
    entry->removed = false;
    entry->added = !subject->configured;
    entry->weight = change->weight ? change->weight : OVERLAY_UNCHANGED;
    entry->max_connections = change->max_connections ? change->max_connections : OVERLAY_UNCHANGED;
    entry->group = change->group;
    overlay_tidy(overlay, entry);
    return say(answer, ERR_OK, "", slice_of_text(change->name), ": added");
}

static enum err apply_remove(struct server_answer *answer, struct overlay *overlay, const struct subject *subject)
{
    const struct overlay_entry *before = overlay_find(overlay, subject->pool->name, subject->address);
    bool there = subject->in_use || subject->configured || (before && before->added);
    if (!there || (before && before->removed))
        return no_such_server(answer, subject);
    struct overlay_entry *entry = overlay_entry(overlay, subject->pool->name, subject->address);
    if (!entry)
        return say(answer, ERR_CAP, "\"", subject->address, "\": out of memory, or too many changes by command");
    entry->removed = !entry->added || subject->named;
    entry->added = false;
    entry->weight = entry->max_connections = OVERLAY_UNCHANGED;
    entry->group = 0;
    overlay_tidy(overlay, entry);
    return say(answer, ERR_OK, "", slice_of_text(answer->change.name), ": removed");
}

static enum err apply_weight(struct server_answer *answer, struct overlay *overlay, const struct subject *subject)
{
    const struct overlay_entry *before = overlay_find(overlay, subject->pool->name, subject->address);
    bool there = subject->in_use || subject->configured || (before && before->added);
    if (!there || (before && before->removed))
        return no_such_server(answer, subject);
    if (address_is_service(subject->address))
        return say(answer, ERR_REFUSED, "\"", subject->address, "\" has its weights from DNS");
    struct overlay_entry *entry = overlay_entry(overlay, subject->pool->name, subject->address);
    if (!entry)
        return say(answer, ERR_CAP, "\"", subject->address, "\": out of memory, or too many changes by command");
    entry->weight = answer->change.weight;
    return say(answer, ERR_OK, "", slice_of_text(answer->change.name), ": has its new weight");
}

static enum err apply_reset(struct server_answer *answer, struct overlay *overlay)
{
    for (uint32_t i = 0; i < overlay->count; i++) {
        text_add(&answer->text, SLICE("no longer: "));
        overlay_describe(&overlay->entries[i], &answer->text);
    }
    if (overlay->count == 0)
        text_add(&answer->text, SLICE("no command has changed a server\n"));
    overlay_release(overlay);
    return ERR_OK;
}

static enum err apply(struct server_process *process, struct server_answer *answer)
{
    struct overlay *overlay = &process->overlay_next;
    struct config_memory memory = { 0 };
    struct subject subject;
    if (!overlay_copy(&process->overlay, overlay))
        return say(answer, ERR_MEMORY, "", SLICE("out of memory"), "");
    if (answer->change.kind == CHANGE_RESET)
        return apply_reset(answer, overlay);
    enum err e = read_subject(process, answer, &memory, &subject);
    if (e == ERR_OK && answer->change.kind == CHANGE_ADD)
        e = apply_add(server_config(process), answer, overlay, &subject);
    else if (e == ERR_OK && answer->change.kind == CHANGE_REMOVE)
        e = apply_remove(answer, overlay, &subject);
    else if (e == ERR_OK)
        e = apply_weight(answer, overlay, &subject);
    config_memory_release(&memory);
    return e;
}

static void log_lines(const struct text *text)
{
    struct slice rest = text_slice(text);
    while (rest.length) {
        const char *end = memchr(rest.at, '\n', rest.length);
        size_t length = end ? (size_t)(end - rest.at) : rest.length, used = length + (end != NULL);
        log_line(LOG_NOTICE, "by command: %.*s", (int)length, rest.at);
        rest = slice_of(rest.at + used, rest.length - used);
    }
}

static void begin_command(struct server_process *process, struct server_answer *answer)
{
    if (process->state != PROCESS_RUNNING) {
        change_refuse(process, answer, ERR_AGAIN, "the engine is stopping");
        return;
    }
    enum err e = apply(process, answer);
    if (e != ERR_OK) {
        overlay_release(&process->overlay_next);
        change_conclude(process, answer, e);
        return;
    }
    log_lines(&answer->text);
    derive(process, answer);
}

void server_change(struct server_process *process, struct server_answer *answer)
{
    change_enqueue(process, answer, begin_command);
}

/* Life ----------------------------------------------------------------------------------------------------------- */

/* The loop does not run yet: it is turned until the names are there, or it took too long. */
static void wait_for_names(struct server_process *process)
{
    struct loop *loop = &process->loop;
    uint64_t until_ms = loop->now_ms + RESOLVER_FIRST_MS;
    timer_set(&loop->wheel, &process->names_timer, until_ms);
    while (!resolver_settled(process->resolver) && loop->now_ms < until_ms)
        loop_turn(loop);
    timer_cancel(&loop->wheel, &process->names_timer);
}

enum err changes_start(struct server_process *process, struct config *config)
{
    const struct resolver_events events = { names_changed, names_settled, process };
    process->line_tail = &process->line_first;
    process->names_timer.fire = names_due;
    enum err e = resolver_new(&process->resolver, &process->loop, &events);
    if (e != ERR_OK)
        return e;
    resolver_configure(process->resolver, &config->dns);
    resolver_want(process->resolver, config, NULL, &process->overlay);
    wait_for_names(process);
    return changes_expand(process, config, &process->overlay) ? ERR_OK : ERR_MEMORY;
}

void changes_running(struct server_process *process)
{
    note_unresolved(process->generation, false);
    if (process->names_changed)
        plan_names(process, NAMES_PAUSE_MS);
}

void changes_end(struct server_process *process)
{
    asker_free(process->asker);
    if (process->resolver)
        resolver_free(process->resolver);
    overlay_release(&process->overlay);
    overlay_release(&process->overlay_next);
}

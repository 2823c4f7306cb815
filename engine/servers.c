/*
 * What an operator says of single servers, and what is kept of them over a restart: drained, forced up or down, their listing, and the
 * state file. Records (generation.h) hold the flags, which workers read as they pick; nobody else is told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/process.h"
#include "engine/state_file.h"

/* Finding ------------------------------------------------------------------------------------------------------ */

/* How a server may be called; the first that fits any server is what was meant. */
static bool is_key(const struct config_server *server, struct slice pool, struct slice name)
{
    (void)pool;
    return slice_equal(server->key, name);
}

/* "pool/app.example.com:80": each of the servers that come from that name. */
static bool is_name_in_pool(const struct config_server *server, struct slice pool, struct slice name)
{
    return server->name.length && name.length == pool.length + 1 + server->name.length && slice_starts(name, pool) && name.at[pool.length] == '/' &&
           memcmp(name.at + pool.length + 1, server->name.at, server->name.length) == 0;
}

static bool is_address(const struct config_server *server, struct slice pool, struct slice name)
{
    (void)pool;
    return slice_equal(server->address.text, name) || slice_equal(server->name, name);
}

typedef bool fits_function(const struct config_server *server, struct slice pool, struct slice name);
typedef void act_function(struct server_record *record, unsigned value, uint64_t now_ms);

/* In how many pools there is one; NULL: nothing is done. */
static uint32_t each(struct server_process *process, struct slice name, fits_function *fits, act_function *act, unsigned value)
{
    const struct config *config = server_config(process);
    uint32_t pools = 0;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        bool here = false;
        for (uint32_t s = 0; s < config->pools[p].server_count; s++) {
            if (!fits(&config->pools[p].servers[s], config->pools[p].name, name))
                continue;
            here = true;
            if (act)
                act(process->generation->records[p][s], value, process->loop.now_ms);
        }
        pools += here;
    }
    return pools;
}

static enum err act_on(struct server_process *process, struct slice name, act_function *act, unsigned value)
{
    static fits_function *const ways[] = { is_key, is_name_in_pool, is_address };
    for (size_t i = 0; name.length && i < ARRAY_LENGTH(ways); i++) {
        uint32_t pools = each(process, name, ways[i], NULL, 0);
        if (pools > 1)
            return ERR_EXISTS;
        if (pools == 1) {
            each(process, name, ways[i], act, value);
            return ERR_OK;
        }
    }
    return ERR_NONE;
}

static void set_drained(struct server_record *record, unsigned drained, uint64_t now_ms)
{
    health_drain(&record->health, drained, now_ms);
    log_line(LOG_NOTICE, "server \"%.*s\" %s", (int)record->key.length, record->key.at, drained ? "is drained" : "is in use again");
}

enum err server_drain(struct server_process *process, struct slice name, bool drained)
{
    return act_on(process, name, set_drained, drained);
}

static void set_forced(struct server_record *record, unsigned force, uint64_t now_ms)
{
    (void)now_ms;
    static const char *const words[] = { [HEALTH_AUTO] = "is as checks and requests find it", [HEALTH_FORCED_UP] = "is up by command",
                                         [HEALTH_FORCED_DOWN] = "is down by command" };
    atomic_store_explicit(&record->health.forced, (uint8_t)force, memory_order_relaxed);
    log_line(LOG_NOTICE, "server \"%.*s\" %s", (int)record->key.length, record->key.at, words[force]);
}

enum err server_force(struct server_process *process, struct slice name, unsigned force)
{
    return act_on(process, name, set_forced, force);
}

/* The list ----------------------------------------------------------------------------------------------------- */

static const char *source_of(const struct config_server *server)
{
    return server->added ? "command" : server->name.length || server->more_count || server->unresolved ? "dns" : "file";
}

static const char *forced_word(const struct server_record *record)
{
    switch (atomic_load_explicit(&record->health.forced, memory_order_relaxed)) {
    case HEALTH_FORCED_UP: return "up";
    case HEALTH_FORCED_DOWN: return "down";
    default: return "auto";
    }
}

static void list_server(struct server_process *process, uint32_t p, uint32_t s, struct text *text, struct text *json)
{
    const struct config_pool *pool = &server_config(process)->pools[p];
    const struct config_server *server = &pool->servers[s];
    const struct server_record *record = process->generation->records[p][s];
    const char *state = server->unresolved ? "no-address" : health_state_word(health_state(&record->health, process->loop.now_ms));
    text_format(text, "  %-32.*s %-10s %-8s %-6s %6u %6u %5u  %.*s\n", (int)server->address.text.length, server->address.text.at, state, source_of(server),
                forced_word(record), server->weight, server->max_connections, server->group, (int)server->name.length, server->name.at ? server->name.at : "");
    text_add(json, json->length > 12 ? SLICE(",{\"pool\":") : SLICE("{\"pool\":"));
    text_json_string(json, pool->name);
    text_add(json, SLICE(",\"address\":"));
    text_json_string(json, server->address.text);
    text_add(json, SLICE(",\"name\":"));
    text_json_string(json, server->name);
    text_format(json, ",\"state\":\"%s\",\"source\":\"%s\",\"forced\":\"%s\",\"weight\":%u,\"max_connections\":%u,\"group\":%u,\"addresses\":%u}", state,
                source_of(server), forced_word(record), server->weight, server->max_connections, server->group,
                server->unresolved ? 0 : server->more_count + 1);
}

static void list_removed(const struct overlay *overlay, struct slice pool, struct text *text, struct text *json)
{
    for (uint32_t i = 0; i < overlay->count; i++) {
        const struct overlay_entry *entry = &overlay->entries[i];
        if (!entry->removed || !slice_equal(entry->pool, pool))
            continue;
        text_format(text, "  %-32.*s %-10s %s\n", (int)entry->address.length, entry->address.at, "removed", "command");
        text_add(json, json->length > 12 ? SLICE(",{\"pool\":") : SLICE("{\"pool\":"));
        text_json_string(json, pool);
        text_add(json, SLICE(",\"address\":"));
        text_json_string(json, entry->address);
        text_add(json, SLICE(",\"state\":\"removed\",\"source\":\"command\"}"));
    }
}

enum err server_list(struct server_process *process, struct slice pool, struct text *text, struct text *json)
{
    const struct config *config = server_config(process);
    bool found = pool.length == 0;
    text_add(json, SLICE("{\"servers\":[")); /* 12 bytes: with more there is one to be separated from */
    for (uint32_t p = 0; p < config->pool_count; p++) {
        struct slice name = config->pools[p].name;
        if (pool.length && !slice_equal(name, pool))
            continue;
        found = true;
        text_format(text, "%s%.*s\n  %-32s %-10s %-8s %-6s %6s %6s %5s  %s\n", text->length ? "\n" : "", (int)name.length, name.at, "server", "state", "source",
                    "forced", "weight", "most", "group", "name");
        for (uint32_t s = 0; s < config->pools[p].server_count; s++)
            list_server(process, p, s, text, json);
        list_removed(&process->overlay, name, text, json);
    }
    text_add(json, SLICE("]}"));
    return found ? ERR_OK : ERR_NONE;
}

/* Writing the state -------------------------------------------------------------------------------------------- */

static void write_health(const struct server_record *record, uint64_t now_ms, struct text *out)
{
    const struct health *health = &record->health;
    uint8_t checked = atomic_load_explicit(&health->checked, memory_order_relaxed);
    uint64_t until_ms = atomic_load_explicit(&health->marked_until_ms, memory_order_relaxed);
    struct state_server server = { .key = record->key, .word = STATE_CHECKED, .up = checked == HEALTH_CHECK_UP };
    if (checked != HEALTH_UNCHECKED)
        state_write_server(&server, out);
    if (until_ms <= now_ms)
        return;
    server.word = STATE_MARKED;
    server.marked_ms = until_ms - now_ms;
    server.marks = atomic_load_explicit(&health->marks, memory_order_relaxed);
    server.failures = atomic_load_explicit(&health->failures, memory_order_relaxed);
    state_write_server(&server, out);
}

/* Of servers that are gone for now, what an operator said stays. */
static void write_record(const struct server_record *record, uint64_t now_ms, struct text *out)
{
    struct state_server server = { .key = record->key, .word = STATE_DRAINED };
    uint8_t forced = atomic_load_explicit(&record->health.forced, memory_order_relaxed);
    if (atomic_load_explicit(&record->health.drained, memory_order_relaxed))
        state_write_server(&server, out);
    server.word = STATE_FORCED;
    server.up = forced == HEALTH_FORCED_UP;
    if (forced != HEALTH_AUTO)
        state_write_server(&server, out);
    if (record->generations)
        write_health(record, now_ms, out);
}

enum err server_save(struct server_process *process, char why[256])
{
    struct slice path = server_config(process)->state_file;
    struct text out = { 0 };
    struct map_entry *entry;
    uint32_t cursor = 0;
    char name[4096];
    if (path.length == 0) {
        snprintf(why, 256, "the configuration has no state-file");
        return ERR_NONE;
    }
    state_write_head(loop_unix_seconds(&process->loop), &out);
    for (uint32_t i = 0; i < process->overlay.count; i++)
        state_write_entry(&process->overlay.entries[i], &out);
    while ((entry = map_next(&process->registry.servers, &cursor)))
        write_record(entry->value, process->loop.now_ms, &out);
    snprintf(name, sizeof name, "%.*s", (int)path.length, path.at);
    snprintf(why, 256, "out of memory, or more than fits into a state file");
    bool whole = !out.failed && out.length <= STATE_BYTES_MAX;
    bool written = whole && state_write_file(name, text_slice(&out), why);
    text_release(&out);
    return written ? ERR_OK : ERR_SYSTEM;
}

void servers_save_at_end(struct server_process *process)
{
    char why[256];
    if (server_config(process)->state_file.length && server_save(process, why) != ERR_OK)
        log_line(LOG_ERROR, "state file: %s", why);
}

/* Reading it --------------------------------------------------------------------------------------------------- */

static void say_warnings(const struct state *state, const char *path)
{
    struct slice rest = text_slice(&state->warnings);
    while (rest.length) {
        const char *end = memchr(rest.at, '\n', rest.length);
        size_t length = end ? (size_t)(end - rest.at) : rest.length;
        log_line(LOG_WARN, "state file \"%s\": %.*s", path, (int)length, rest.at);
        size_t used = length + (end != NULL);
        rest = slice_of(rest.at + used, rest.length - used);
    }
    if (state->skipped > STATE_WARNINGS_MAX)
        log_line(LOG_WARN, "state file \"%s\": %u more lines are skipped", path, state->skipped - STATE_WARNINGS_MAX);
}

void servers_read_state(struct server_process *process, const struct config *config)
{
    char path[4096];
    if (config->state_file.length == 0)
        return;
    snprintf(path, sizeof path, "%.*s", (int)config->state_file.length, config->state_file.at);
    enum err e = state_read_file(path, &process->state_bytes, &process->state_length);
    if (e == ERR_NONE)
        return;
    if (e == ERR_OK)
        e = state_parse(slice_of(process->state_bytes, process->state_length), &process->saved);
    if (e != ERR_OK) {
        log_line(LOG_WARN, "state file \"%s\" is left aside: %s", path, e == ERR_SYSTEM ? strerror(errno) : err_text(e));
        return;
    }
    say_warnings(&process->saved, path);
    struct text gone = { 0 };
    overlay_absorb(&process->saved.overlay, config, &gone);
    text_release(&gone);
    process->overlay = process->saved.overlay;
    process->saved.overlay = (struct overlay){ 0 };
}

/* until is at least 1 ms away, so that a mark that has run out meanwhile is tried first. */
static void apply_health(struct server_process *process, struct server_record *record, const struct state_server *saved, uint64_t age_ms)
{
    struct health *health = &record->health;
    if (saved->word == STATE_CHECKED) {
        atomic_store_explicit(&health->checked, saved->up ? HEALTH_CHECK_UP : HEALTH_CHECK_DOWN, memory_order_relaxed);
        return;
    }
    uint64_t left_ms = saved->marked_ms > age_ms ? saved->marked_ms - age_ms : 1;
    atomic_store_explicit(&health->failures, saved->failures, memory_order_relaxed);
    atomic_store_explicit(&health->marks, saved->marks ? saved->marks : 1, memory_order_relaxed);
    atomic_store_explicit(&health->last_outcome, SERVER_CONNECT, memory_order_relaxed);
    atomic_store_explicit(&health->marked_until_ms, process->loop.now_ms + left_ms, memory_order_relaxed);
}

static void apply_saved(struct server_process *process, const struct state_server *saved, int64_t age_s)
{
    bool said = saved->word == STATE_DRAINED || saved->word == STATE_FORCED;
    struct server_record *record = said ? registry_record(&process->registry, server_config(process), saved->key) : map_find(&process->registry.servers, saved->key);
    if (!record)
        return;
    if (saved->word == STATE_DRAINED)
        atomic_store_explicit(&record->health.drained, 1, memory_order_relaxed);
    else if (saved->word == STATE_FORCED)
        atomic_store_explicit(&record->health.forced, saved->up ? HEALTH_FORCED_UP : HEALTH_FORCED_DOWN, memory_order_relaxed);
    else if (age_s <= STATE_HEALTH_AGE_S)
        apply_health(process, record, saved, (uint64_t)age_s * 1000);
}

void servers_apply_state(struct server_process *process)
{
    struct state *saved = &process->saved;
    int64_t age_s = loop_unix_seconds(&process->loop) - saved->written;
    for (uint32_t i = 0; i < saved->server_count; i++)
        apply_saved(process, &saved->servers[i], age_s > 0 ? age_s : 0);
    servers_forget_state(process);
}

void servers_forget_state(struct server_process *process)
{
    state_release(&process->saved);
    free(process->state_bytes);
    process->state_bytes = NULL;
}

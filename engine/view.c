/* A worker's side of a generation: see generation.h. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/back.h"
#include "engine/exchange.h"
#include "engine/expansion.h"
#include "engine/server.h"
#include "engine/sticky.h"
#include "engine/worker.h"
#include "proto/tls.h"

/* Origins ------------------------------------------------------------------------------------------------------ */

static void origin_free(struct origin *origin)
{
    if (origin->tls)
        tls_context_unref(origin->tls);
    tls_session_free(origin->session);
    free((char *)(uintptr_t)origin->key.at);
    free((char *)(uintptr_t)origin->address.text.at);
    free(origin);
}

void origin_unref(struct origin *origin)
{
    MUST(origin->server.references > 0);
    if (--origin->server.references == 0)
        origin_free(origin);
}

static bool copy_text(struct slice from, struct slice *to)
{
    char *copy = FAULT("origin") ? NULL : strndup(from.at, from.length);
    *to = slice_of(copy, copy ? from.length : 0);
    return copy != NULL;
}

static struct origin *origin_new(struct worker *worker, const struct config_server *from, struct server_record *record)
{
    struct origin *origin = calloc(1, sizeof *origin);
    if (!origin)
        return NULL;
    origin->address = from->address;
    origin->address.text = SLICE_NONE;
    bool copied = copy_text(from->key, &origin->key) && copy_text(from->address.text, &origin->address.text);
    origin->worker = worker;
    origin->record = record;
    origin->server = (struct server){ .name = origin->key, .health = &record->health, .references = 1,
                                      .counters = &record->counters[worker->loop.number], .owner = origin };
    if (!copied || map_add(&worker->origins, origin->key, origin) != ERR_OK) {
        origin_free(origin);
        return NULL;
    }
    return origin;
}

static struct origin *origin_for(struct worker *worker, const struct config_server *from, struct server_record *record)
{
    struct origin *origin = map_find(&worker->origins, from->key);
    return origin ? origin : origin_new(worker, from, record);
}

/* Pools -------------------------------------------------------------------------------------------------------- */

struct member member_for(const struct config *config, const struct config_server *from, struct server *server, uint32_t worker_count)
{
    return (struct member){ .server = server, .weight = from->weight, .max_connections = from->max_connections,
                            .fair_share = (from->max_connections + worker_count - 1) / worker_count,
                            .group = (uint8_t)from->group, .far = config_server_is_far(config, from) };
}

enum err upstream_for(struct upstream *upstream, const struct config_pool *config, struct member *members, struct health_pool *shared)
{
    enum balance_kind kind = config->balance == BALANCE_CONSISTENT_HASH ? config->hash_balance : config->balance;
    enum err e = upstream_init(upstream, config->name, members, config->server_count, kind);
    if (e != ERR_OK)
        return e;
    upstream->health_limits = config->health;
    upstream->idle_limits = config->idle;
    upstream->spill_over = config->spill_over;
    upstream->load_cap = config->load_cap;
    upstream->slow_start_ms = config->slow_start_ms;
    upstream->panic_below = config->panic_below;
    upstream->max_ejected = config->health.outlier.max_ejected;
    upstream->shared = shared;
    return ERR_OK;
}

static bool fill_members(struct worker *worker, struct view_pool *pool, struct generation *generation, uint32_t index)
{
    const struct config_pool *config = pool->config;
    for (uint32_t i = 0; i < config->server_count; i++) {
        struct origin *origin = origin_for(worker, &config->servers[i], generation->records[index][i]);
        if (!origin)
            return false;
        origin->server.references++;
        pool->members[i] = member_for(generation->config, &config->servers[i], &origin->server, generation->worker_count);
        pool->members[i].sticky_id = sticky_id_of(generation, index, i);
    }
    return true;
}

void origin_tls_name(const struct config_pool *pool, const struct config_server *server, char out[256])
{
    struct slice address = server->name.length ? server->name : server->address.text;
    struct slice name = pool->tls.server_name.length ? pool->tls.server_name : address_host(address);
    if (name.length == 0)
        name = SLICE("localhost"); /* of unix: */
    snprintf(out, 256, "%.*s", (int)name.length, name.at);
}

/* What was trusted under the old rules is not under new ones: neither kept connections nor sessions outlive their context, or their name. */
static void settle_tls(struct origin *origin, const struct config_pool *pool, const struct config_server *server, struct tls_context *context)
{
    char name[sizeof origin->tls_name];
    origin_tls_name(pool, server, name);
    if (origin->tls == context && (!context || strcmp(name, origin->tls_name) == 0))
        return;
    back_forget(origin);
    tls_session_free(origin->session);
    origin->session = NULL;
    if (origin->tls)
        tls_context_unref(origin->tls);
    origin->tls = context ? tls_context_ref(context) : NULL;
    memcpy(origin->tls_name, name, sizeof name);
}

static bool same_addresses(const struct origin *origin, const struct config_server *server)
{
    const struct address *a = &origin->address, *b = &server->address;
    return a->socket_bytes == b->socket_bytes && memcmp(&a->socket, &b->socket, a->socket_bytes) == 0 && origin->more_count == server->more_count &&
           (origin->more_count == 0 || memcmp(origin->more, server->more, origin->more_count * sizeof *origin->more) == 0);
}

/* The same on every worker, for connections go from one to another; never 0. */
static uint32_t mark_of(const struct origin *origin, const struct config_server *server)
{
    const void *socket = &server->address.socket;
    uint64_t mark = siphash13(socket, server->address.socket_bytes, server->more_count, 0);
    for (uint32_t i = 0; i < server->more_count; i++)
        mark = siphash13((const void *)&server->more[i].socket, server->more[i].socket_bytes, mark, i);
    if (origin->proxy_protocol)
        mark = siphash13((const void *)&origin->proxy_protocol, sizeof origin->proxy_protocol, mark, 1);
    if (origin->tls)
        mark = siphash13(origin->tls_name, strlen(origin->tls_name), mark, 0);
    return (uint32_t)mark | 1;
}

/*
 * What a name stands for may have changed. Connections to where it stood are not used again, nor those that were asked for another name or begin
 * in another way.
 */
static void settle_addresses(struct origin *origin, const struct config_server *server)
{
    uint32_t mark = mark_of(origin, server);
    if (origin->addresses == mark && same_addresses(origin, server))
        return;
    struct slice text = origin->address.text; /* its own memory */
    origin->address = server->address;
    origin->address.text = text;
    origin->more_count = server->more_count;
    if (server->more_count)
        memcpy(origin->more, server->more, server->more_count * sizeof *server->more);
    origin->best = 0;
    origin->addresses = mark;
    back_forget(origin);
}

static void settle_origins(struct view_pool *pool, uint64_t number, struct tls_context *context)
{
    for (uint32_t i = 0; i < pool->config->server_count; i++) {
        struct origin *origin = pool->members[i].server->owner;
        settle_tls(origin, pool->config, &pool->config->servers[pool->members[i].place], context);
        origin->proxy_protocol = pool->config->proxy_protocol;
        settle_addresses(origin, &pool->config->servers[pool->members[i].place]);
        origin->seen = number;
        origin->idle_limits = pool->config->idle;
        origin->connections_max = pool->config->breakers.connections_max;
        origin->place = origin->connections_max ? &pool->record->connections : NULL;
    }
}

static void poll_fired(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct wait_line *line = CONTAINER_OF(timer, struct wait_line, poll);
    wait_line_wake(line);
    wait_line_poll(line);
}

void wait_line_poll(struct wait_line *line)
{
    if (line->first)
        timer_set(&line->worker->loop.wheel, &line->poll, line->worker->loop.now_ms + LINE_POLL_MS);
}

/* The line of this pool's name; made with the first pool of that name, kept until the worker ends. */
static struct wait_line *line_for(struct worker *worker, struct slice name)
{
    struct wait_line *line = map_find(&worker->lines, name);
    if (line)
        return line;
    line = FAULT("line") ? NULL : calloc(1, sizeof *line);
    if (!line)
        return NULL;
    line->tail = &line->first;
    line->poll.fire = poll_fired;
    line->worker = worker;
    line->seed = loop_random(&worker->loop);
    if (map_add(&worker->lines, name, line) == ERR_OK)
        return line;
    free(line);
    return NULL;
}

void view_pool_panic(struct view_pool *pool)
{
    struct slice name = pool->upstream.name;
    bool panic = pool->upstream.panic, before = !panic;
    pool->panic_seen = panic;
    if (!atomic_compare_exchange_strong_explicit(&pool->record->panic, &before, panic, memory_order_relaxed, memory_order_relaxed))
        return; /* another worker was first */
    if (panic)
        log_line(LOG_ERROR, "pool \"%.*s\": less than %u%% of its servers are well: marks and checks are ignored", (int)name.length, name.at,
                 pool->config->panic_below);
    else
        log_line(LOG_NOTICE, "pool \"%.*s\": enough servers are well again", (int)name.length, name.at);
}

/* Of all destinations together. */
static bool forward_init(struct worker *worker, struct view *view)
{
    struct view_pool *pool = &view->forward;
    struct generation *generation = view->generation;
    if (!view->config->forward.on)
        return true;
    pool->config = &view->config->forward.pool;
    pool->record = generation->forward_record;
    pool->worker = worker;
    pool->share = &pool->record->shares[worker->loop.number];
    pool->line = line_for(worker, pool->record->name);
    pool->forward = true;
    pool->members = FAULT("view") ? NULL : calloc(1, sizeof *pool->members);
    return pool->line && pool->members && upstream_for(&pool->upstream, pool->config, pool->members, &pool->record->health) == ERR_OK;
}

static bool pool_init(struct worker *worker, struct view_pool *pool, struct generation *generation, uint32_t index)
{
    const struct config_pool *config = &generation->config->pools[index];
    pool->config = config;
    pool->record = generation->pool_records[index];
    pool->panic_seen = atomic_load_explicit(&pool->record->panic, memory_order_relaxed);
    pool->worker = worker;
    pool->share = &pool->record->shares[worker->loop.number];
    pool->line = line_for(worker, pool->record->name);
    pool->members = FAULT("view") ? NULL : calloc(config->server_count ? config->server_count : 1, sizeof *pool->members);
    if (!pool->line || !pool->members || !fill_members(worker, pool, generation, index))
        return false;
    return upstream_for(&pool->upstream, config, pool->members, &pool->record->health) == ERR_OK;
}

static void pool_release(struct view_pool *pool)
{
    if (pool->upstream.balance)
        upstream_release(&pool->upstream);
    for (uint32_t i = 0; pool->members && i < pool->config->server_count; i++)
        if (pool->members[i].server)
            origin_unref(pool->members[i].server->owner);
    free(pool->members);
}

/* Views -------------------------------------------------------------------------------------------------------- */

static void view_free(struct view *view)
{
    for (uint32_t i = 0; view->pools && i < view->config->pool_count && view->pools[i].worker; i++)
        pool_release(&view->pools[i]);
    pool_release(&view->forward);
    free(view->pools);
    free(view);
}

struct view *view_new(struct worker *worker, struct generation *generation)
{
    const struct config *config = generation->config;
    struct view *view = calloc(1, sizeof *view);
    if (!view)
        return NULL;
    *view = (struct view){ .generation = generation, .config = config, .worker = worker };
    view->pools = calloc(config->pool_count ? config->pool_count : 1, sizeof *view->pools);
    for (uint32_t i = 0; view->pools && i < config->pool_count; i++) {
        if (!pool_init(worker, &view->pools[i], generation, i)) {
            view_free(view);
            return NULL;
        }
    }
    if (!view->pools || !forward_init(worker, view)) {
        view_free(view);
        return NULL;
    }
    return view;
}

void view_settle(struct view *view)
{
    for (uint32_t i = 0; i < view->config->pool_count; i++)
        settle_origins(&view->pools[i], view->generation->number, view->generation->pool_tls[i]);
}

static void take_down(struct view *view)
{
    struct worker *worker = view->worker;
    struct generation *generation = view->generation;
    struct letter *letter = server_view_released(generation, worker->loop.number);
    view_free(view);
    mailbox_send(&worker->loop, worker->control, letter);
}

void view_unpin(struct view *view)
{
    MUST(view->pins > 0);
    if (--view->pins == 0 && unlikely(!view->current))
        take_down(view);
}

void view_retire(struct view *view)
{
    view->current = false;
    if (view->pins == 0)
        take_down(view);
}

void view_drop(struct view *view)
{
    view_free(view);
}

/* The control thread's side of generations: records that outlive them, and opening what a configuration names. */
#include "engine/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/certificates.h"
#include "engine/listener.h"
#include "engine/passwords.h"
#include "engine/stats.h"
#include "engine/sticky.h"

/* Records ------------------------------------------------------------------------------------------------------ */

void registry_init(struct registry *registry, uint32_t worker_count, uint64_t seed0, uint64_t seed1)
{
    registry->worker_count = worker_count;
    map_init(&registry->servers, RECORDS_MAX, seed0, seed1);
    map_init(&registry->pools, RECORDS_MAX, seed1, seed0);
    map_init(&registry->routes, RECORDS_MAX, seed0 ^ seed1, seed1);
}

static void record_free(struct server_record *record)
{
    free((char *)(uintptr_t)record->key.at);
    free(record->counters);
    free(record);
}

static void pool_record_free(struct pool_record *record)
{
    free((char *)(uintptr_t)record->name.at);
    free(record->shares);
    free(record);
}

static void route_record_free(struct route_record *record)
{
    free((char *)(uintptr_t)record->name.at);
    free(record->counters);
    free(record);
}

void registry_release(struct registry *registry)
{
    struct map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = map_next(&registry->servers, &cursor)))
        record_free(entry->value);
    cursor = 0;
    while ((entry = map_next(&registry->pools, &cursor)))
        pool_record_free(entry->value);
    cursor = 0;
    while ((entry = map_next(&registry->routes, &cursor)))
        route_record_free(entry->value);
    map_release(&registry->servers);
    map_release(&registry->pools);
    map_release(&registry->routes);
}

static struct slice copy_of(struct slice text)
{
    char *copy = FAULT("record") ? NULL : strndup(text.at, text.length);
    return slice_of(copy, copy ? text.length : 0);
}

static void *zeroed_lines(size_t bytes)
{
    size_t rounded = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    void *memory = aligned_alloc(CACHE_LINE, rounded);
    if (memory)
        memset(memory, 0, rounded);
    return memory;
}

static struct server_record *record_for(struct registry *registry, struct slice key)
{
    struct server_record *record = map_find(&registry->servers, key);
    if (record)
        return record;
    record = zeroed_lines(sizeof *record);
    if (!record)
        return NULL;
    record->key = copy_of(key);
    record->counters = zeroed_lines((registry->worker_count + 1) * sizeof *record->counters);
    if (!record->key.at || !record->counters || map_add(&registry->servers, record->key, record) != ERR_OK) {
        record_free(record);
        return NULL;
    }
    return record;
}

struct server_record *registry_record(struct registry *registry, const struct config *config, struct slice key)
{
    for (uint32_t p = 0; p < config->pool_count; p++) {
        struct slice name = config->pools[p].name;
        if (slice_starts(key, name) && key.length > name.length && key.at[name.length] == '/')
            return registry->servers.count < RECORDS_MAX / 2 ? record_for(registry, key) : map_find(&registry->servers, key);
    }
    return NULL;
}

static struct pool_record *pool_record_for(struct registry *registry, struct slice name)
{
    struct pool_record *record = map_find(&registry->pools, name);
    if (record)
        return record;
    record = calloc(1, sizeof *record);
    if (!record)
        return NULL;
    record->name = copy_of(name);
    record->shares = zeroed_lines(registry->worker_count * sizeof *record->shares);
    if (!record->name.at || !record->shares || map_add(&registry->pools, record->name, record) != ERR_OK) {
        pool_record_free(record);
        return NULL;
    }
    return record;
}

static struct route_record *route_record_for(struct registry *registry, struct slice name)
{
    struct route_record *record = map_find(&registry->routes, name);
    if (record)
        return record;
    record = calloc(1, sizeof *record);
    if (!record)
        return NULL;
    record->name = copy_of(name);
    record->counters = zeroed_lines(registry->worker_count * sizeof *record->counters);
    if (!record->name.at || !record->counters || map_add(&registry->routes, record->name, record) != ERR_OK) {
        route_record_free(record);
        return NULL;
    }
    return record;
}

static bool find_route_records(struct registry *registry, struct generation *generation)
{
    const struct config *config = generation->config;
    for (uint32_t i = 0; i < config->route_count; i++) {
        if (!config->routes[i].cache.on)
            continue;
        generation->route_records[i] = route_record_for(registry, config->routes[i].name);
        if (!generation->route_records[i])
            return false;
    }
    if (!config->forward.route.cache.on)
        return true;
    generation->route_records[config->route_count] = route_record_for(registry, config->forward.route.name);
    return generation->route_records[config->route_count] != NULL;
}

/* No name of a pool has a colon. */
static bool find_forward_records(struct registry *registry, struct generation *generation)
{
    if (!generation->config->forward.on)
        return true;
    generation->forward_record = pool_record_for(registry, SLICE(":forward-proxy"));
    generation->forward_servers = record_for(registry, SLICE(":forward-proxy/"));
    if (!generation->forward_record || !generation->forward_servers)
        return false;
    generation->forward_servers->generations++;
    return true;
}

/* See RECORDS_KEPT. What an operator said of a server is not forgotten. */
static bool may_be_forgotten(const struct registry *registry, const struct server_record *record)
{
    const struct health *health = &record->health;
    return record->generations == 0 && registry->rounds > record->left_at && !atomic_load_explicit(&health->drained, memory_order_relaxed) &&
           !atomic_load_explicit(&health->forced, memory_order_relaxed);
}

static struct server_record *one_to_forget(struct registry *registry)
{
    struct map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = map_next(&registry->servers, &cursor)))
        if (may_be_forgotten(registry, entry->value))
            return entry->value;
    return NULL;
}

/* Half of what is kept at once, since each search begins anew. */
static void forget_records(struct registry *registry)
{
    struct server_record *record;
    uint32_t forgotten = 0;
    while (registry->servers.count > RECORDS_KEPT && forgotten++ < 256 && (record = one_to_forget(registry))) {
        map_remove(&registry->servers, record->key);
        record_free(record);
    }
}

/* A server that the generation before did not have is as one that comes up; those of the start are not. */
static void note_arrival(const struct registry *registry, const struct generation *generation, struct server_record *record)
{
    if (registry->now_ms && record->generation + 1 < generation->number)
        atomic_store_explicit(&record->health.up_since_ms, registry->now_ms, memory_order_relaxed);
    record->generation = generation->number;
}

static bool find_records(struct registry *registry, struct generation *generation)
{
    const struct config *config = generation->config;
    forget_records(registry);
    for (uint32_t p = 0; p < config->pool_count; p++) {
        const struct config_pool *pool = &config->pools[p];
        generation->pool_records[p] = pool_record_for(registry, pool->name);
        generation->records[p] = calloc(pool->server_count + 1u, sizeof **generation->records);
        if (!generation->pool_records[p] || !generation->records[p])
            return false;
        for (uint32_t s = 0; s < pool->server_count; s++) {
            generation->records[p][s] = record_for(registry, pool->servers[s].key);
            if (!generation->records[p][s])
                return false;
            generation->records[p][s]->generations++;
            note_arrival(registry, generation, generation->records[p][s]);
        }
    }
    return find_forward_records(registry, generation) && find_route_records(registry, generation);
}

static void leave_record(struct generation *generation, struct server_record *record)
{
    if (record && --record->generations == 0)
        record->left_at = generation->registry->rounds + 1; /* a round may be under way */
}

static void leave_records(struct generation *generation)
{
    leave_record(generation, generation->forward_servers);
    for (uint32_t p = 0; generation->records && p < generation->config->pool_count; p++) {
        for (uint32_t s = 0; generation->records[p] && s < generation->config->pools[p].server_count; s++)
            leave_record(generation, generation->records[p][s]);
        free(generation->records[p]);
    }
}

/* Opening ------------------------------------------------------------------------------------------------------ */

static bool is_open(const struct generation *generation, struct slice address)
{
    if (!generation)
        return false;
    for (uint32_t i = 0; i < generation->config->listener_count; i++)
        if (slice_equal(generation->config->listeners[i].address.text, address))
            return true;
    return false;
}

static int shared_fd_of(const struct generation *generation, struct slice address)
{
    for (uint32_t i = 0; generation && i < generation->config->listener_count; i++)
        if (slice_equal(generation->config->listeners[i].address.text, address))
            return generation->shared_fds[i];
    return -1;
}

static bool open_listener(struct generation *generation, uint32_t index, const struct generation *previous, char why[256])
{
    const struct config *config = generation->config;
    const struct config_listener *listener = &config->listeners[index];
    bool local = listener->address.socket.any.sa_family == AF_UNIX;
    if (is_open(previous, listener->address.text)) {
        generation->shared_fds[index] = shared_fd_of(previous, listener->address.text);
        return true;
    }
    for (uint32_t w = 0; w < generation->worker_count; w++) {
        int fd = local && w > 0 ? generation->shared_fds[index] : listener_open(config, listener, why);
        if (fd < 0)
            return false;
        if (local)
            generation->shared_fds[index] = fd;
        generation->listen_fds[w][index] = fd;
    }
    return true;
}

static int open_access_log(const struct config *config, char why[256])
{
    struct slice path = config->log.access;
    char name[4096];
    if (path.length == 0 || slice_equal(path, SLICE("off")))
        return -1;
    if (slice_equal(path, SLICE("stdout")))
        return dup(STDOUT_FILENO);
    if (slice_equal(path, SLICE("stderr")))
        return dup(STDERR_FILENO);
    snprintf(name, sizeof name, "%.*s", (int)path.length, path.at);
    int fd = FAULT("access_log") ? (errno = EMFILE, -1) : open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    if (fd < 0)
        snprintf(why, 256, "cannot open the access log \"%.200s\": %s", name, strerror(errno));
    return fd;
}

static bool open_all(struct generation *generation, const struct generation *previous, char why[256])
{
    for (uint32_t i = 0; i < generation->config->listener_count; i++)
        if (!open_listener(generation, i, previous, why))
            return false;
    generation->access_fd = open_access_log(generation->config, why);
    return generation->access_fd >= 0 || why[0] == 0;
}

/* The listeners are the same; the log goes on in the file that is open, wherever its name leads by now. */
static bool take_over_all(struct generation *generation, const struct generation *previous, char why[256])
{
    for (uint32_t i = 0; i < generation->config->listener_count; i++)
        generation->shared_fds[i] = previous->shared_fds[i];
    if (previous->access_fd < 0)
        return true;
    generation->access_fd = FAULT("access_log") ? (errno = EMFILE, -1) : fcntl(previous->access_fd, F_DUPFD_CLOEXEC, 0);
    if (generation->access_fd < 0)
        snprintf(why, 256, "cannot keep the access log: %s", strerror(errno));
    return generation->access_fd >= 0;
}

/* Keys are in memory from here: no core of it. 1 and not 0, since that alone holds back a core that goes to a program (core(5)). */
static void note_tls(struct generation *generation)
{
    struct rlimit limit = { .rlim_cur = 1, .rlim_max = 1 };
    for (uint32_t i = 0; i < generation->config->listener_count; i++)
        generation->has_tls |= generation->listener_tls[i] != NULL;
    for (uint32_t p = 0; p < generation->config->pool_count; p++)
        generation->has_tls |= generation->pool_tls[p] != NULL;
    if (generation->has_tls)
        (void)setrlimit(RLIMIT_CORE, &limit);
}

/* Life --------------------------------------------------------------------------------------------------------- */

static int *descriptors(uint32_t count)
{
    int *list = calloc(count + 1u, sizeof *list);
    for (uint32_t i = 0; list && i < count; i++)
        list[i] = -1;
    return list;
}

static bool allocate(struct generation *generation, uint32_t worker_count)
{
    const struct config *config = generation->config;
    generation->worker_count = worker_count;
    generation->listen_fds = calloc(worker_count, sizeof *generation->listen_fds);
    generation->shared_fds = descriptors(config->listener_count);
    generation->records = calloc(config->pool_count + 1u, sizeof *generation->records);
    generation->pool_records = calloc(config->pool_count + 1u, sizeof *generation->pool_records);
    generation->route_records = calloc(config->route_count + 2u, sizeof *generation->route_records);
    generation->letters = calloc(worker_count, sizeof *generation->letters);
    if (!generation->listen_fds || !generation->shared_fds || !generation->records || !generation->pool_records || !generation->route_records ||
        !generation->letters)
        return false;
    for (uint32_t w = 0; w < worker_count; w++)
        if (!(generation->listen_fds[w] = descriptors(config->listener_count)))
            return false;
    return true;
}

/* All but the configuration. */
static void free_parts(struct generation *generation)
{
    for (uint32_t w = 0; generation->listen_fds && w < generation->worker_count; w++)
        free(generation->listen_fds[w]);
    leave_records(generation);
    if (generation->access_fd >= 0)
        close(generation->access_fd);
    certificates_release(generation);
    sticky_release(generation);
    passwords_unref(generation->users);
    free(generation->listen_fds);
    free(generation->shared_fds);
    free(generation->records);
    free(generation->pool_records);
    free(generation->route_records);
    free(generation->letters);
    free(generation);
}

static void close_sockets(struct generation *generation)
{
    if (!generation->listen_fds || !generation->shared_fds)
        return;
    for (uint32_t i = 0; i < generation->config->listener_count; i++) {
        bool local = generation->config->listeners[i].address.socket.any.sa_family == AF_UNIX;
        for (uint32_t w = 0; w < generation->worker_count; w++)
            if (generation->listen_fds[w] && generation->listen_fds[w][i] >= 0 && !(local && w > 0))
                close(generation->listen_fds[w][i]);
    }
}

static bool load_users(struct generation *generation, const struct generation *previous, char why[256])
{
    struct slice path = generation->config->forward.users;
    struct passwords *before = previous ? previous->users : NULL;
    if (path.length == 0)
        return true;
    generation->users = generation->derived && before ? passwords_ref(before) : passwords_read(path, before, why);
    return generation->users != NULL;
}

static bool load_all(struct registry *registry, struct generation *generation, const struct generation *previous, char why[256])
{
    if (!load_users(generation, previous, why))
        return false;
    if (!generation->derived)
        return certificates_load(generation, previous, registry->tickets, why) && sticky_prepare(generation, registry->sticky_secret, why) &&
               open_all(generation, previous, why);
    return certificates_take_over(generation, previous) && sticky_derive(generation, previous) && take_over_all(generation, previous, why);
}

static struct generation *make(struct registry *registry, struct config *config, const struct generation *previous, bool derived, char why[256])
{
    why[0] = 0;
    struct generation *generation = FAULT("generation") ? NULL : calloc(1, sizeof *generation);
    if (!generation) {
        snprintf(why, 256, "out of memory");
        return NULL;
    }
    generation->config = config;
    generation->registry = registry;
    generation->derived = derived;
    generation->access_fd = -1;
    generation->number = previous ? previous->number + 1 : 1;
    if (allocate(generation, registry->worker_count) && find_records(registry, generation) && load_all(registry, generation, previous, why)) {
        note_tls(generation);
        return generation;
    }
    if (!why[0])
        snprintf(why, 256, "out of memory, or more than %u servers at once", RECORDS_MAX);
    generation_discard(generation);
    return NULL;
}

struct generation *generation_new(struct registry *registry, struct config *config, const struct generation *previous, char why[256])
{
    return make(registry, config, previous, false, why);
}

struct generation *generation_derive(struct registry *registry, struct config *config, const struct generation *previous, char why[256])
{
    return make(registry, config, previous, true, why);
}

void generation_free(struct generation *generation)
{
    struct config *config = generation->config;
    free_parts(generation);
    config_free(config);
}

void generation_discard(struct generation *generation)
{
    close_sockets(generation);
    free_parts(generation);
}

void generation_close_unix(const struct generation *old, const struct generation *current)
{
    for (uint32_t i = 0; i < old->config->listener_count; i++) {
        const struct address *address = &old->config->listeners[i].address;
        if (address->socket.any.sa_family != AF_UNIX || is_open(current, address->text))
            continue;
        close(old->shared_fds[i]);
        unlink(address->socket.local.sun_path);
    }
}

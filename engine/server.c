#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "engine/base/random.h"
#include "engine/cache_commands.h"
#include "engine/control.h"
#include "engine/disk.h"
#include "engine/homes.h"
#include "engine/outliers.h"
#include "engine/process.h"
#include "engine/prober.h"
#include "engine/resolver_ask.h"
#include "engine/socket.h"
#include "engine/splice.h"
#include "engine/verifier.h"
#include "proto/tls_record.h"

#define CONTROL_RING_ENTRIES 256u
#define DESCRIPTORS_SPARE 64u
#define WORKERS_MAX 1024u
#define DISK_END_MS 500u /* what the cache's disk has at least at the end */

static const char *version = "unknown";
static void (*on_ready)(const struct config *config);

void server_set_version(const char *text)
{
    version = text;
}

void server_on_ready(void (*ready)(const struct config *config))
{
    on_ready = ready;
}

struct loop *server_loop(struct server_process *process)
{
    return &process->loop;
}

const struct config *server_config(const struct server_process *process)
{
    return process->generation->config;
}

/* Stopping ----------------------------------------------------------------------------------------------------- */

static void look_for_rest(struct timer *timer, uint64_t now_ms);

/* Workers wait for what they have begun on the disk, and this thread for its purges. */
static bool disk_rests(const struct server_process *process)
{
    struct disk *disk = process->shared.disk;
    bool rests = !disk || atomic_load(&disk->purges_out) == 0;
    for (uint32_t i = 0; disk && i < process->worker_count; i++)
        rests &= atomic_load(&process->workers[i]->over);
    return rests;
}

static void all_ended(struct server_process *process)
{
    if (disk_rests(process)) {
        process->loop.stop = true;
        return;
    }
    process->deadline.fire = look_for_rest;
    timer_set(&process->loop.wheel, &process->deadline, process->loop.now_ms + 2);
}

static void look_for_rest(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    all_ended(CONTAINER_OF(timer, struct server_process, deadline));
}

static void ended(struct letter *letter, struct loop *here)
{
    (void)letter;
    struct server_process *process = (struct server_process *)here;
    if (--process->started == 0)
        all_ended(process);
}

/* The disk has as long as clients had, and at least the time that a worker may take for its end. */
static uint64_t patience_with_disk(const struct server_process *process, uint64_t now_ms)
{
    return u64_max(process->deadline_ms, now_ms + WORKER_END_MS + DISK_END_MS);
}

/* What the kernel has of our memory for the disk cannot be taken back: so the process ends with all that it has. */
static void give_disk_up(struct server_process *process, const char *what)
{
    log_line(LOG_WARN, "stopping: the cache's disk is not waited for any longer: %s", what);
    process->disk_hangs = true;
    process->loop.stop = true;
}

static void disk_hangs(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct server_process *process = CONTAINER_OF(timer, struct server_process, patience);
    bool purges = atomic_load(&((struct disk *)process->shared.disk)->purges_out) > 0;
    give_disk_up(process, purges ? "purges are not written" : "reads or writes are under way");
}

static void be_patient_with_disk(struct server_process *process)
{
    if (!process->shared.disk)
        return;
    process->disk_until_ms = patience_with_disk(process, process->loop.now_ms);
    process->patience.fire = disk_hangs;
    timer_set(&process->loop.wheel, &process->patience, process->disk_until_ms);
}

/* For what blocks: the rest of that time, and half a second at least. */
static struct timespec disk_until(const struct server_process *process)
{
    struct timespec now, real;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_REALTIME, &real);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t left_ms = u64_max(process->disk_until_ms, now_ms + DISK_END_MS) - now_ms;
    real.tv_sec += (time_t)(left_ms / 1000);
    real.tv_nsec += (long)(left_ms % 1000) * 1000000;
    real.tv_sec += real.tv_nsec / 1000000000;
    real.tv_nsec %= 1000000000;
    return real;
}

/* On a worker. Its loop runs on until everything is closed; the answer says that it needs no more letters. */
static void end_worker(struct letter *letter, struct loop *here)
{
    struct loop *control = letter->from;
    worker_end(worker_of(here));
    letter->deliver = ended;
    mailbox_send(here, control, letter);
}

static void end_workers(struct server_process *process)
{
    if (process->state == PROCESS_CUTTING)
        return;
    process->state = PROCESS_CUTTING;
    atomic_store(&process->shared.draining, true); /* before any worker ends: borrow.c counts on it */
    timer_cancel(&process->loop.wheel, &process->deadline);
    be_patient_with_disk(process);
    if (process->asker)
        asker_stop(process->asker); /* its questions go back before their loops end */
    verifier_stop(process->shared.verifier);
    for (uint32_t i = 0; i < process->worker_count; i++) {
        process->end_letters[i].letter.deliver = end_worker;
        mailbox_send(&process->loop, &process->workers[i]->loop, &process->end_letters[i].letter);
    }
}

static void deadline_passed(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct server_process *process = CONTAINER_OF(timer, struct server_process, deadline);
    log_line(LOG_WARN, "stopping: the deadline passed with %llu clients left",
             (unsigned long long)atomic_load_explicit(&process->shared.clients, memory_order_relaxed));
    end_workers(process);
}

/* A worker's last client left. */
static void worker_is_drained(struct letter *letter, struct loop *here)
{
    (void)letter;
    struct server_process *process = (struct server_process *)here;
    if (++process->drained == process->worker_count)
        end_workers(process);
}

static void drain_worker(struct letter *letter, struct loop *here)
{
    (void)letter;
    struct worker *worker = worker_of(here);
    worker->drained_letter.deliver = worker_is_drained;
    worker_drain(worker);
}

void server_stop(struct server_process *process, uint64_t deadline_ms)
{
    if (process->state != PROCESS_RUNNING && deadline_ms == 0 && process->deadline_ms > process->loop.now_ms) {
        process->deadline_ms = process->loop.now_ms;
        be_patient_with_disk(process);
        end_workers(process);
    }
    if (process->state != PROCESS_RUNNING)
        return;
    process->state = PROCESS_DRAINING;
    notify("STOPPING=1");
    log_line(LOG_NOTICE, "stopping: %llu clients, %llu ms to end their requests",
             (unsigned long long)atomic_load_explicit(&process->shared.clients, memory_order_relaxed), (unsigned long long)deadline_ms);
    atomic_store_explicit(&process->shared.draining, true, memory_order_relaxed);
    reload_names_settled(process); /* whoever waits for names is refused while there is somebody to tell */
    for (uint32_t i = 0; i < process->worker_count; i++) {
        process->drain_letters[i].letter.deliver = drain_worker;
        mailbox_send(&process->loop, &process->workers[i]->loop, &process->drain_letters[i].letter);
    }
    process->deadline.fire = deadline_passed;
    process->deadline_ms = process->loop.now_ms + deadline_ms;
    timer_set(&process->loop.wheel, &process->deadline, process->deadline_ms);
}

/* Signals ------------------------------------------------------------------------------------------------------ */

static void take_signal(struct server_process *process, int number)
{
    switch (number) {
    case SIGHUP:
        reload_on_signal(process);
        break;
    case SIGTERM:
    case SIGINT:
        server_stop(process, process->state == PROCESS_RUNNING ? server_config(process)->timeouts.drain_ms : 0);
        break;
    default:
        break;
    }
}

static void signal_read(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct server_process *process = CONTAINER_OF(op, struct server_process, signal_op);
    struct signalfd_siginfo info;
    if (result == (int32_t)sizeof info) {
        memcpy(&info, process->signal_buffer, sizeof info);
        take_signal(process, (int)info.ssi_signo);
    }
    if (result > 0 || result == -EINTR || result == -EAGAIN)
        op_read(&process->loop.ring, op, process->signal_fd, process->signal_buffer, sizeof info, RING_AT_END);
}

/* Blocked before any thread starts, so that they all come here. */
static bool open_signals(struct server_process *process)
{
    sigset_t set;
    _Static_assert(sizeof process->signal_buffer >= sizeof(struct signalfd_siginfo), "one signal fits");
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    process->signal_fd = FAULT("signalfd") ? -1 : signalfd(-1, &set, SFD_CLOEXEC);
    if (process->signal_fd < 0)
        return false;
    process->signal_op.done = signal_read;
    op_read(&process->loop.ring, &process->signal_op, process->signal_fd, process->signal_buffer, sizeof(struct signalfd_siginfo), RING_AT_END);
    return true;
}

/* Counters ------------------------------------------------------------------------------------------------------ */

static void add_counters(struct server_counters *sum, const struct server_counters *one)
{
    _Static_assert(sizeof(struct server_counters) % sizeof(uint64_t) == 0, "nothing but counters");
    _Atomic uint64_t *to = (_Atomic uint64_t *)(void *)sum;
    const _Atomic uint64_t *from = (const _Atomic uint64_t *)(const void *)one;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        counter_add(&to[i], counter_get(&from[i]));
}

static void add_stats(struct worker_stats *sum, const struct worker_stats *one)
{
    _Atomic uint64_t *to = (_Atomic uint64_t *)(void *)sum;
    const _Atomic uint64_t *from = (const _Atomic uint64_t *)(const void *)one;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        counter_add(&to[i], counter_get(&from[i]));
}

static void view_server(struct server_process *process, uint32_t p, uint32_t s, struct server_view *out)
{
    const struct config_pool *pool = &server_config(process)->pools[p];
    struct server_record *record = process->generation->records[p][s];
    uint64_t now_ms = process->loop.now_ms;
    uint64_t until = atomic_load_explicit(&record->health.marked_until_ms, memory_order_relaxed);
    *out = (struct server_view){
        .pool = pool->name, .address = pool->servers[s].address.text, .weight = pool->servers[s].weight,
        .group = pool->servers[s].group, .zone = pool->servers[s].zone, .far = config_server_is_far(server_config(process), &pool->servers[s]),
        .max_connections = pool->servers[s].max_connections, .state = health_state(&record->health, now_ms),
        .checked = atomic_load_explicit(&record->health.checked, memory_order_relaxed),
        .drained = atomic_load_explicit(&record->health.drained, memory_order_relaxed),
        .name = pool->servers[s].name, .unresolved = pool->servers[s].unresolved,
        .marked_for_ms = until > now_ms ? until - now_ms : 0,
        .failures = atomic_load_explicit(&record->health.failures, memory_order_relaxed),
        .last_outcome = atomic_load_explicit(&record->health.last_outcome, memory_order_relaxed),
        .check_what = record->check.what,
        .check_age_ms = process->loop.now_ms - record->check.at_ms,
        .check_took_us = record->check.took_us,
    };
    for (uint32_t w = 0; w <= process->worker_count; w++)
        add_counters(&out->counters, &record->counters[w]);
}

static void view_routes(struct server_process *process, struct stats_view *view)
{
    const struct config *config = server_config(process);
    for (uint32_t i = 0; i <= config->route_count; i++) { /* the last is the forward proxy's */
        const struct route_record *record = process->generation->route_records[i];
        if (!record)
            continue;
        struct route_view *out = &view->routes[view->route_count++];
        *out = (struct route_view){ .name = record->name };
        for (uint32_t w = 0; w < process->worker_count; w++) {
#define ROUTE_COUNTER_AS_SUM(name, help) counter_add(&out->counters.name, counter_get(&record->counters[w].name));
            ROUTE_COUNTER_ROWS(ROUTE_COUNTER_AS_SUM)
        }
    }
}

static void view_cache(struct server_process *process, struct cache_view *out)
{
    struct homes *homes = process->shared.homes;
    if (!homes)
        return;
    struct cache_numbers numbers = homes_numbers(homes);
    out->homes = homes->count;
#define CACHE_AS_COPY(name, kind, help) out->name = numbers.name;
    CACHE_ROWS(CACHE_AS_COPY)
}

static void view_disk(struct server_process *process, struct disk_view *out)
{
    struct disk *disk = process->shared.disk;
    if (!disk)
        return;
    struct disk_numbers numbers = disk_numbers(disk);
    *out = (struct disk_view){ .there = true, .bytes_max = numbers.bytes_max, .bytes = numbers.bytes, .objects = numbers.objects,
                               .restored = disk->restored, .volumes = numbers.volumes, .volumes_off = numbers.volumes_off,
                               .segments_off = numbers.segments_off };
#define DISK_COUNT_AS_COPY(name, help) out->name = atomic_load_explicit(&disk->counts.name, memory_order_relaxed);
    DISK_COUNT_ROWS(DISK_COUNT_AS_COPY)
}

static void *lines_of_memory(size_t bytes)
{
    return aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE) / CACHE_LINE * CACHE_LINE);
}

enum err server_stats(struct server_process *process, struct stats_view *view)
{
    const struct config *config = server_config(process);
    uint32_t servers = 0;
    for (uint32_t p = 0; p < config->pool_count; p++)
        servers += config->pools[p].server_count;
    *view = (struct stats_view){
        .version = version, .pid = (uint64_t)getpid(), .uptime_ms = process->loop.now_ms - process->started_ms,
        .generation = process->generation->number, .started_unix = process->started_unix, .loaded_unix = process->loaded_unix,
        .worker_count = process->worker_count, .config_file = config->file, .draining = process->state != PROCESS_RUNNING,
    };
    size_t bytes = process->worker_count * sizeof *view->workers;
    view->workers = FAULT("stats") ? NULL : aligned_alloc(CACHE_LINE, bytes);
    view->servers = lines_of_memory(servers * sizeof *view->servers);
    view->routes = lines_of_memory((config->route_count + 1u) * sizeof *view->routes);
    if (!view->workers || !view->servers || !view->routes) {
        server_stats_release(view);
        return ERR_MEMORY;
    }
    memset(view->workers, 0, bytes);
    for (uint32_t w = 0; w < process->worker_count; w++) {
        add_stats(&view->workers[w], &process->stats[w]);
        add_stats(&view->total, &process->stats[w]);
    }
    for (uint32_t p = 0; p < config->pool_count; p++)
        for (uint32_t s = 0; s < config->pools[p].server_count; s++)
            view_server(process, p, s, &view->servers[view->server_count++]);
    view_routes(process, view);
    view_cache(process, &view->cache);
    view_disk(process, &view->disk);
    return ERR_OK;
}

void server_stats_release(struct stats_view *view)
{
    free(view->workers);
    free(view->servers);
    free(view->routes);
    *view = (struct stats_view){ 0 };
}

/* Starting ----------------------------------------------------------------------------------------------------- */

static uint32_t raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = u64_min(limit.rlim_cur, 4u * 1024u * 1024u);
    return (uint32_t)u64_max(most, 2 * DESCRIPTORS_SPARE);
}

static uint32_t cores(int list[WORKERS_MAX])
{
    cpu_set_t set;
    uint32_t count = 0;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 0;
    for (int i = 0; i < CPU_SETSIZE && count < WORKERS_MAX; i++)
        if (CPU_ISSET((size_t)i, &set))
            list[count++] = i;
    return count;
}

static enum err start_workers(struct server_process *process, const struct config *config, char why[256])
{
    int core_list[WORKERS_MAX];
    uint32_t core_count = cores(core_list);
    uint32_t descriptors = raise_descriptors();
    for (uint32_t i = 0; i < process->worker_count; i++) {
        struct worker_plan plan = {
            .number = i, .core = config->pin && i < core_count && process->worker_count <= core_count ? core_list[i] : -1,
            .stats = &process->stats[i], .shared = &process->shared, .process = process, .control = &process->loop,
            .generation = process->generation, .conns_max = descriptors, .spin_us = config->busy_poll_us,
        };
        enum err e = worker_start(&process->workers[i], &plan, why);
        if (e != ERR_OK)
            return e;
        process->started++;
        process->generation->views++;
    }
    atomic_store_explicit(&process->shared.workers, process->workers, memory_order_release);
    return ERR_OK;
}

static enum err prepare(struct server_process *process, struct config *config, char why[256])
{
    int core_list[WORKERS_MAX];
    uint64_t seeds[2] = { 1, 2 };
    process->worker_count = config->workers ? config->workers : cores(core_list);
    if (process->worker_count == 0)
        process->worker_count = 1;
    uint32_t n = process->worker_count;
    enum err e = loop_init(&process->loop, LOOP_CONTROL, CONTROL_RING_ENTRIES, why);
    if (e != ERR_OK)
        return e;
    if (getrandom(seeds, sizeof seeds, 0) < 0)
        seeds[0] = loop_random(&process->loop);
    registry_init(&process->registry, n, seeds[0], seeds[1]);
    if (tickets_start(process) != ERR_OK || random_block(process->registry.sticky_secret, sizeof process->registry.sticky_secret) != 0)
        return ERR_MEMORY;
    process->workers = calloc(n, sizeof(struct worker *));
    process->stats = aligned_alloc(CACHE_LINE, n * sizeof *process->stats);
    process->drain_letters = calloc(n, sizeof *process->drain_letters);
    process->end_letters = calloc(n, sizeof *process->end_letters);
    if (!process->workers || !process->stats || !process->drain_letters || !process->end_letters)
        return ERR_MEMORY;
    memset(process->stats, 0, n * sizeof *process->stats);
    process->started_ms = process->loop.now_ms;
    process->started_unix = process->loaded_unix = loop_unix_seconds(&process->loop);
    servers_read_state(process, config);
    e = changes_start(process, config); /* before signals are taken: they end the waiting for names as they always do */
    if (e != ERR_OK)
        return e;
    if (!open_signals(process))
        return ERR_SYSTEM;
    forward_places_init(&process->shared.places, loop_random(&process->loop));
    if (!server_prepare_verifier(process, config, why) || !server_prepare_homes(process, config, why))
        return ERR_MEMORY;
    process->generation = generation_new(&process->registry, config, NULL, why);
    if (process->generation) {
        servers_apply_state(process);
        changes_running(process);
        tickets_adopt(process);
        return ERR_OK;
    }
    return errno == EACCES || errno == EPERM ? ERR_PERMISSION : ERR_SYSTEM; /* of what could not be opened */
}

static int open_error_log(const struct config *config)
{
    char path[4096];
    struct slice to = config->log.error;
    if (to.length == 0 || slice_equal(to, SLICE("stderr")))
        return STDERR_FILENO;
    if (slice_equal(to, SLICE("stdout")))
        return STDOUT_FILENO;
    snprintf(path, sizeof path, "%.*s", (int)to.length, to.at);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    return fd < 0 ? STDERR_FILENO : fd;
}

static void say_started(struct server_process *process)
{
    const struct config *config = server_config(process);
    log_line(LOG_NOTICE, "weir %s, %u workers%s; io_uring: %s", version, process->worker_count, config->pin ? ", pinned" : "",
             process->workers[0]->loop.ring.obtained);
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        static const char *const serves[] = { [SERVE_PROXY] = "", [SERVE_ADMIN] = " (admin)", [SERVE_FORWARD] = " (forward proxy)" };
        log_line(LOG_NOTICE, "listening on %.*s%s%s", (int)listener->address.text.length, listener->address.text.at,
                 listener->tls.certificate_count ? " (TLS)" : "", serves[listener->serve]);
    }
    if (process->generation->has_tls)
        log_line(LOG_NOTICE, "TLS records: %s", tls_record_backend());
    log_line(LOG_NOTICE, "zero copy: %s; %u pipes at most", splice_choice(config), pipes_allowed());
    char congestion[96];
    socket_congestion_text(config->congestion_control, congestion);
    log_line(LOG_NOTICE, "congestion control: %s; control socket: %.*s", congestion, (int)config->control_socket.length, config->control_socket.at);
}

static enum err start(struct server_process *process, struct config *config, char why[256])
{
    enum err e = prepare(process, config, why);
    if (e != ERR_OK)
        return e;
    log_open(open_error_log(config), config->log.level);
    if (config->control_socket.length)
        e = control_open(&process->control, process, config->control_socket, config->control_mode, why);
    if (e == ERR_OK)
        e = start_workers(process, config, why);
    if (e == ERR_OK)
        e = prober_new(&process->prober, process);
    if (e == ERR_OK)
        outliers_adopt(process);
    if (e != ERR_OK)
        return e;
    process->state = PROCESS_RUNNING;
    changes_running(process);
    say_started(process);
    server_say_disk(process);
    notify("READY=1");
    if (on_ready)
        on_ready(config);
    return ERR_OK;
}

/* The end ------------------------------------------------------------------------------------------------------ */

static void free_generations(struct server_process *process)
{
    if (process->generation)
        generation_close_unix(process->generation, NULL);
    while (process->old) {
        struct generation *next = process->old->next;
        generation_free(process->old);
        process->old = next;
    }
    if (process->generation)
        generation_free(process->generation);
}

/* Threads and the kernel may still use what they have: nothing is given back, but for what others see. */
static _Noreturn void leave_as_it_is(struct server_process *process)
{
    purges_end(process);
    if (process->control)
        control_close(process->control);
    _exit(0);
}

/* Workers that did start, when a later one did not. */
static void stop_started(struct server_process *process)
{
    if (process->state != PROCESS_STARTING || process->started == 0)
        return;
    process->worker_count = process->started;
    end_workers(process);
    loop_run(&process->loop);
}

static int exit_code(enum err e)
{
    if (e == ERR_OK)
        return 0;
    return e == ERR_PERMISSION ? 5 : 1;
}

/* With the exit code, in case that it ends here. */
static void release(struct server_process *process, int code)
{
    if (process->prober)
        prober_free(process->prober);
    for (uint32_t i = 0; process->workers && i < process->worker_count; i++)
        if (process->workers[i])
            worker_join(process->workers[i]);
    reload_at_end(process);
    purges_end(process);
    if (process->control)
        control_close(process->control);
    free_generations(process);
    verifier_free(process->shared.verifier);
    forward_places_release(&process->shared.places);
    changes_end(process);
    servers_forget_state(process);
    tickets_end(process);
    registry_release(&process->registry);
    struct timespec until = disk_until(process);
    if (!disk_close_until(process->shared.disk, &until)) {
        give_disk_up(process, "its last segments are not finished");
        _exit(code);
    }
    text_release(&process->disk_path);
    if (process->shared.homes)
        homes_free(process->shared.homes);
    loop_release(&process->loop);
    if (process->signal_fd > 0)
        close(process->signal_fd);
    text_release(&process->hup_answer.text);
    text_release(&process->hup_answer.json);
    free(process->workers);
    free(process->stats);
    free(process->drain_letters);
    free(process->end_letters);
    free(process);
}

int server_run(struct config *config, const char *path)
{
    char why[256] = "";
    struct server_process *process = aligned_alloc(CACHE_LINE, sizeof *process);
    if (!process) {
        config_free(config);
        return 1;
    }
    memset(process, 0, sizeof *process);
    process->path = path;
    enum err e = start(process, config, why);
    if (e == ERR_OK) {
        loop_run(&process->loop);
        servers_save_at_end(process);
        log_line(LOG_NOTICE, "stopped");
        if (process->disk_hangs)
            leave_as_it_is(process);
    } else {
        log_line(LOG_ERROR, "cannot start: %s", why[0] ? why : err_text(e));
        stop_started(process);
        if (process->disk_hangs)
            _exit(exit_code(e));
        if (!process->generation)
            config_free(config);
    }
    release(process, exit_code(e));
    return exit_code(e);
}

#include "engine/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/back.h"
#include "engine/conn_tls.h"
#include "engine/disk.h"
#include "engine/exchange.h"
#include "engine/forward.h"
#include "engine/front.h"
#include "engine/hot.h"
#include "engine/listener.h"
#include "engine/race.h"
#include "engine/splice.h"
#include "engine/stream.h"
#include "engine/tunnel.h"

#define WORKER_RING_ENTRIES 4096u
#define TRIM_BLOCKS_KEPT 256u
#define UPKEEP_OBJECTS 500u /* looked at in one go, under the lock of a home */
#define TRIM_BLOCKS_MAX 2048u /* a tick: about a millisecond */

/* While it starts: the starter waits until the thread has its ring, or knows why not. */
struct worker_setup {
    const struct worker_plan *plan;
    sem_t done;
    enum err result;
    char *why;
};

/* The end of a turn -------------------------------------------------------------------------------------------- */

void worker_flush_later(struct worker *worker, struct conn *conn)
{
    if (conn->flushing)
        return;
    conn->flushing = true;
    conn->next_flush = NULL;
    *worker->flush_tail = conn;
    worker->flush_tail = &conn->next_flush;
}

static void run_runnable(struct worker *worker)
{
    worker->running = worker->runnable;
    worker->runnable = NULL;
    while (worker->running) {
        struct exchange *x = worker->running;
        worker->running = x->next_runnable;
        x->runnable = false;
        exchange_run(x);
    }
}

/* Every queued connection sends once; those that found no vector stay for the next turn, in order. */
static void send_queued(struct worker *worker)
{
    struct conn *list = worker->flush_first;
    worker->flush_first = NULL;
    worker->flush_tail = &worker->flush_first;
    worker->vectors->used = 0;
    while (list) {
        struct conn *conn = list;
        struct conn *next = conn->next_flush;
        if (unlikely(!conn_send(conn, worker->vectors))) {
            worker->flush_first = conn;
            while (conn->next_flush)
                conn = conn->next_flush;
            worker->flush_tail = &conn->next_flush;
            worker->loop.again = true;
            return;
        }
        list = next;
    }
}

/* Copies of what the loop, the slabs and the ring count by themselves, for readers on other threads. */
static void publish(struct worker *worker)
{
    struct worker_stats *stats = worker->stats;
    struct ring *ring = &worker->loop.ring;
    struct timespec used;
    atomic_store_explicit(&stats->blocks, worker->blocks.taken - ring->lent, memory_order_relaxed);
    atomic_store_explicit(&stats->allocations, worker->conns.grown + worker->exchanges.grown + worker->blocks.made, memory_order_relaxed);
    atomic_store_explicit(&stats->ring_enters, ring->enters, memory_order_relaxed);
    atomic_store_explicit(&stats->ring_completions, ring->completions, memory_order_relaxed);
    atomic_store_explicit(&stats->ring_no_buffers, ring->no_buffers, memory_order_relaxed);
    atomic_store_explicit(&stats->loop_turns, worker->loop.turns, memory_order_relaxed);
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0)
        atomic_store_explicit(&stats->cpu_us, (uint64_t)used.tv_sec * 1000000u + (uint64_t)used.tv_nsec / 1000u, memory_order_relaxed);
    worker->published_ms = worker->loop.now_ms;
}

static void end_of_turn(struct loop *loop)
{
    struct worker *worker = worker_of(loop);
    if (unlikely(worker->wakes.first != NULL))
        wakes_run(worker);
    if (unlikely(worker->runnable != NULL))
        run_runnable(worker);
    if (unlikely(worker->shake_first != NULL))
        conn_tls_shake_queued(worker);
    send_queued(worker);
    if (unlikely(splices_wait(worker->splices))) {
        ring_enter(&loop->ring, 0); /* what is queued does not wait for them */
        splices_run(worker->splices);
        send_queued(worker);
    }
    access_log_end_of_turn(worker->log);
    if (unlikely(loop->now_ms - worker->published_ms >= WORKER_PUBLISH_MS))
        publish(worker);
}

struct slice worker_date(struct worker *worker)
{
    int64_t seconds = loop_unix_seconds(&worker->loop);
    if (unlikely(seconds != worker->date_seconds)) {
        http_date(worker->date, seconds);
        worker->date_seconds = seconds;
    }
    return slice_of(worker->date, HTTP_DATE_BYTES);
}

/* Of the cache, what is this worker's: its holds, and homes in which purged objects are taken out and a little is kept free. */
static void upkeep(struct timer *timer, uint64_t now_ms)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, upkeep);
    struct homes *homes = worker->shared->homes;
    bool more = false;
    if (worker->hot)
        hot_tick(worker);
    for (uint32_t i = worker->loop.number; homes && i < homes->count; i += worker->view->generation->worker_count) {
        struct cache *cache = home_enter(&homes->list[i]);
        more |= cache_sweep(cache, UPKEEP_OBJECTS);
        home_leave(&homes->list[i]);
    }
    timer_set(&worker->loop.wheel, timer, now_ms + (more ? WORKER_UPKEEP_MS : WORKER_TICK_MS));
}

/*
 * Sleeping workers publish too: an idle minute must not show the counters of the last busy moment as current. And what a
 * burst has touched is given back once it has not been needed for a while. Connections are opened ahead of requests where they are wanted.
 */
static void tick(struct timer *timer, uint64_t now_ms)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, ticker);
    publish(worker);
    ring_trim(&worker->loop.ring);
    splices_tick(worker->splices);
    block_pool_trim(&worker->blocks, TRIM_BLOCKS_KEPT, TRIM_BLOCKS_MAX);
    if (worker->exchanges.taken == 0 && worker->exchanges.taken_max == 0)
        slab_trim(&worker->exchanges);
    worker->exchanges.taken_max = worker->exchanges.taken;
    back_warm(worker);
    timer_set(&worker->loop.wheel, timer, now_ms + WORKER_TICK_MS);
}

/* Starting ----------------------------------------------------------------------------------------------------- */

static void dump(void *argument)
{
    trace_dump(argument, 2, 64);
}

static void pin(int core)
{
    if (core < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static enum err take_memory(struct worker *worker, const struct worker_plan *plan)
{
    enum err e = block_pool_init(&worker->blocks, WORKER_BLOCKS);
    if (e != ERR_OK)
        return e;
    slab_init(&worker->conns, sizeof(struct conn), plan->conns_max);
    slab_init(&worker->exchanges, sizeof(struct exchange), WORKER_EXCHANGES);
    slab_init(&worker->sessions, sizeof(struct tls), plan->conns_max);
    slab_init(&worker->races, race_bytes(), plan->conns_max);
    slab_init(&worker->tunnels, sizeof(struct tunnel), WORKER_EXCHANGES + WORKER_STREAMS);
    slab_init(&worker->streams, sizeof(struct stream), WORKER_STREAMS);
    worker->tls_room = (struct tls_room){ &worker->blocks, malloc(TLS_ROOM_BYTES) };
    map_init(&worker->origins, WORKER_ORIGINS, loop_random(&worker->loop), loop_random(&worker->loop));
    map_init(&worker->lines, RECORDS_MAX, loop_random(&worker->loop), loop_random(&worker->loop));
    worker->response = calloc(1, sizeof *worker->response);
    worker->vectors = calloc(1, sizeof *worker->vectors);
    bool can_wake = wakes_init(&worker->wakes, plan->generation->worker_count);
    worker->splices = splices_new(worker, &worker->shared->pipes);
    worker->log = access_log_new(&worker->loop, &worker->stats->log_drops);
    if (!worker->response || !worker->vectors || !worker->tls_room.scratch || !worker->splices || !worker->log || !can_wake)
        return ERR_MEMORY;
    return ring_buffers_init(&worker->loop.ring, &worker->blocks);
}

static enum err start_work(struct worker *worker, const struct worker_plan *plan)
{
    enum err e = take_memory(worker, plan);
    if (e != ERR_OK)
        return e;
    if (!worker_prepare(worker, plan->generation))
        return ERR_MEMORY;
    worker_adopt(worker);
    worker->ticker.fire = tick;
    worker->upkeep.fire = upkeep;
    timer_set(&worker->loop.wheel, &worker->upkeep, worker->loop.now_ms + WORKER_TICK_MS);
    timer_set(&worker->loop.wheel, &worker->ticker, worker->loop.now_ms);
    return ERR_OK;
}

static void release_memory(struct worker *worker)
{
    splices_free(worker->splices);
    wakes_release(&worker->wakes);
    if (worker->log)
        access_log_free(worker->log);
    free(worker->vectors);
    free(worker->response);
    free(worker->tls_room.scratch);
    map_release(&worker->origins);
    disk_side_free(worker->disk);
    uint32_t lent = worker->loop.ring.lent;
    loop_release(&worker->loop);
    block_pool_release(&worker->blocks, lent);
    slab_release(&worker->exchanges);
    slab_release(&worker->sessions);
    slab_release(&worker->races);
    slab_release(&worker->tunnels);
    slab_release(&worker->streams);
    slab_release(&worker->conns);
    hot_table_free(worker->hot);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct worker_setup *setup = worker->setup;
    const struct worker_plan *plan = setup->plan;
    pin(plan->core);
    setup->result = loop_init(&worker->loop, plan->number, WORKER_RING_ENTRIES, setup->why);
    if (setup->result == ERR_OK) {
        worker->loop.end_of_turn = end_of_turn;
        worker->loop.spin_us = plan->spin_us;
        check_set_dump(dump, worker->loop.trace);
        setup->result = start_work(worker, plan);
    }
    bool well = setup->result == ERR_OK;
    worker->setup = NULL;
    sem_post(&setup->done);
    if (well)
        loop_run(&worker->loop);
    atomic_store(&worker->over, true);
    ring_detach(&worker->loop.ring); /* worker_join releases it, from another thread */
    return NULL;
}

enum err worker_start(struct worker **made, const struct worker_plan *plan, char why[256])
{
    struct worker *worker = FAULT("worker") ? NULL : calloc(1, sizeof *worker);
    *made = NULL;
    if (!worker)
        return ERR_MEMORY;
    struct worker_setup setup = { .plan = plan, .why = why };
    worker->stats = plan->stats;
    worker->shared = plan->shared;
    worker->process = plan->process;
    worker->control = plan->control;
    worker->core = plan->core;
    worker->flush_tail = &worker->flush_first;
    worker->shake_tail = &worker->shake_first;
    worker->setup = &setup;
    borrow_init(worker);
    sem_init(&setup.done, 0, 0);
    int error = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (error) {
        snprintf(why, 256, "no thread for worker %u: %s", plan->number, strerror(error));
        free(worker);
        return ERR_SYSTEM;
    }
    while (sem_wait(&setup.done) < 0 && errno == EINTR)
        continue;
    sem_destroy(&setup.done);
    if (setup.result != ERR_OK) {
        if (!why[0])
            snprintf(why, 256, "worker %u could not start: %s", plan->number, err_text(setup.result));
        worker_join(worker);
        return setup.result;
    }
    *made = worker;
    return ERR_OK;
}

/* Configuration ------------------------------------------------------------------------------------------------ */

static struct listener *listener_at(struct worker *worker, struct slice address)
{
    for (struct listener *l = worker->listeners; l; l = l->next)
        if (slice_equal(l->address, address))
            return l;
    return NULL;
}

static const struct config_listener *configured(const struct config *config, struct slice address)
{
    for (uint32_t i = 0; i < config->listener_count; i++)
        if (slice_equal(config->listeners[i].address.text, address))
            return &config->listeners[i];
    return NULL;
}

static void adopt_listeners(struct worker *worker, struct generation *generation)
{
    const struct config *config = generation->config;
    struct listener *next;
    for (struct listener *l = worker->listeners; l; l = next) {
        next = l->next;
        if (!configured(config, l->address))
            listener_stop(l);
    }
    for (uint32_t i = 0; i < config->listener_count; i++) {
        struct listener *present = listener_at(worker, config->listeners[i].address.text);
        int fd = generation->listen_fds[worker->loop.number][i];
        if (!present && fd >= 0)
            present = listener_start(worker, fd, config, &config->listeners[i]);
        if (present)
            listener_take(present, &config->listeners[i], generation->listener_tls[i]);
        else if (fd >= 0) {
            COUNT(worker, no_memory);
            if (config->listeners[i].address.socket.any.sa_family != AF_UNIX)
                ring_close(&worker->loop.ring, fd); /* the kernel gives its share of connections to the other workers */
        }
    }
}

static struct origin *origin_left_behind(struct worker *worker)
{
    uint32_t cursor = 0;
    struct map_entry *entry;
    while ((entry = map_next(&worker->origins, &cursor))) {
        struct origin *origin = entry->value;
        if (origin->seen != worker->view->generation->number)
            return origin;
    }
    return NULL;
}

/* Servers that only the old configuration had keep no idle connection. */
static void forget_origins(struct worker *worker)
{
    struct origin *origin;
    while ((origin = origin_left_behind(worker))) {
        map_remove(&worker->origins, origin->key);
        back_forget(origin);
        origin_unref(origin);
    }
}

/* The disk comes with the first generation that has a cache. A worker without memory for it goes on without. */
static void take_disk(struct worker *worker)
{
    struct disk *disk = atomic_load_explicit(&worker->shared->disk, memory_order_acquire);
    if (worker->disk || !disk || worker->draining)
        return;
    worker->disk = disk_side_new(disk, &worker->loop, worker->shared->homes, worker->loop.number);
    if (!worker->disk)
        log_line(LOG_WARN, "cache disk \"%s\": worker %u has no memory for it and does without", disk->path, worker->loop.number);
}

bool worker_prepare(struct worker *worker, struct generation *generation)
{
    take_disk(worker);
    worker->next_view = worker->draining ? NULL : view_new(worker, generation);
    return worker->next_view != NULL;
}

void worker_abandon(struct worker *worker)
{
    if (!worker->next_view)
        return;
    view_drop(worker->next_view);
    worker->next_view = NULL;
    forget_origins(worker);
}

void worker_adopt(struct worker *worker)
{
    struct view *old = worker->view, *view = worker->next_view;
    worker->view = view;
    worker->next_view = NULL;
    view->current = true;
    view_settle(view);
    access_log_use(worker->log, view->generation->access_fd, view->config->log.format);
    adopt_listeners(worker, view->generation);
    if (!old)
        return;
    forget_origins(worker);
    forward_side_adopt(worker->forward);
    view_retire(old);
    if (!worker->draining)
        timer_set(&worker->loop.wheel, &worker->ticker, worker->loop.now_ms); /* what it wants opened ahead */
}

/* Stopping ----------------------------------------------------------------------------------------------------- */

static void drain_client(void *object, void *argument)
{
    (void)argument;
    struct conn *conn = object;
    if (conn->magic == CONN_MAGIC && conn->client_side)
        front_drain(conn);
}

static void close_client(void *object, void *argument)
{
    (void)argument;
    struct conn *conn = object;
    if (conn->magic != CONN_MAGIC || !conn->client_side || (!conn->client.listener && !conn->sink))
        return;
    if (conn->tunnel)
        tunnel_stop(conn->tunnel);
    else if (conn->exchange)
        exchange_cut(conn->exchange);
    else if (conn->stream)
        stream_cut(conn->stream);
    else
        front_close(conn, true);
}

void worker_drained(struct worker *worker)
{
    if (worker->client_count > 0 || worker->drained_told || !worker->drained_letter.deliver)
        return;
    worker->drained_told = true;
    mailbox_send(&worker->loop, worker->control, &worker->drained_letter);
}

void worker_drain(struct worker *worker)
{
    worker->draining = true;
    while (worker->listeners)
        listener_stop(worker->listeners);
    slab_each(&worker->conns, drain_client, NULL);
    worker_drained(worker);
}

void worker_cut(struct worker *worker)
{
    slab_each(&worker->conns, close_client, NULL);
}

/* What the kernel still reads and writes for the disk has its memory from here: this is waited for, however long it takes. */
static bool disk_rests(const struct worker *worker)
{
    struct disk *disk = atomic_load_explicit(&worker->shared->disk, memory_order_relaxed);
    return (!worker->disk || disk_side_quiet(worker->disk)) && (!disk || atomic_load(&disk->purges_out) == 0);
}

/* Looks whether everything has come to rest; then, or after WORKER_END_MS, the loop ends. */
static void ending(struct timer *timer, uint64_t now_ms)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, ticker);
    bool quiet = worker->conns.taken == 0 && worker->races.taken == 0 && worker->listener_count == 0 && access_log_quiet(worker->log);
    bool awaited = atomic_load(&worker->shared->letters) > 0; /* here or elsewhere: it takes a turn or two */
    if (!awaited && disk_rests(worker) && forward_side_quiet(worker->forward) && (quiet || now_ms >= worker->end_ms)) {
        publish(worker);
        worker->loop.stop = true;
    } else
        timer_set(&worker->loop.wheel, timer, now_ms + 2);
}

static void close_any(void *object, void *argument)
{
    (void)argument;
    struct conn *conn = object;
    if (conn->magic != CONN_MAGIC)
        return;
    if (!conn->client_side && !conn->exchange && !conn->stream && conn->state != CONN_CLOSING)
        back_close(conn);
    else
        conn_close(conn, false);
}

void worker_end(struct worker *worker)
{
    struct map_entry *entry;
    uint32_t cursor = 0;
    worker_drain(worker);
    worker_cut(worker);
    while ((entry = map_next(&worker->origins, &cursor)))
        back_forget(entry->value);
    forward_side_close(worker->forward);
    if (worker->hot)
        hot_clear(worker);
    slab_each(&worker->conns, close_any, NULL); /* those that were finishing, or being opened for a shelf */
    if (worker->disk)
        disk_side_stop(worker->disk);
    access_log_flush(worker->log);
    worker->end_ms = worker->loop.now_ms + WORKER_END_MS;
    timer_cancel(&worker->loop.wheel, &worker->upkeep);
    timer_cancel(&worker->loop.wheel, &worker->ticker);
    worker->ticker.fire = ending;
    timer_set(&worker->loop.wheel, &worker->ticker, worker->loop.now_ms);
}

/* After the loop: the view and the origins, whose memory outlives the loop's. */
static void release_view(struct worker *worker)
{
    uint32_t cursor = 0;
    struct map_entry *entry;
    if (worker->next_view)
        view_drop(worker->next_view);
    if (worker->view)
        view_drop(worker->view);
    while ((entry = map_next(&worker->origins, &cursor)))
        origin_unref(entry->value);
    forward_side_free(worker->forward);
    cursor = 0;
    while ((entry = map_next(&worker->lines, &cursor)))
        free(entry->value);
    map_release(&worker->lines);
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    release_view(worker);
    release_memory(worker);
    free(worker);
}

#include "engine/prober.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/probe_tls.h"
#include "engine/process.h"
#include "engine/socket.h"
#include "proto/h1_parse.h"

#define RESPONSE_BYTES 4096u
#define REQUEST_BYTES 1024u

enum probe_state { PROBE_WAITING, PROBE_CONNECTING, PROBE_SENDING, PROBE_RECEIVING, PROBE_ENDING };

/* One server's check. */
struct probe {
    struct probe *next;
    struct prober *prober;
    struct generation *generation; /* whose configuration it reads; it is stopped before that ends */
    const struct config_pool *pool;
    const struct config_server *server;
    struct server_record *record;
    struct tls_context *context; /* the generation's; NULL: plain text */
    struct probe_tls *tls;       /* only while it runs */
    enum probe_state state;
    int fd;
    struct op op;
    struct timer timer;
    uint32_t received;
    bool leaving; /* freed with its last completion */
    char *buffer; /* request, then response; only while it runs */
};

struct prober {
    struct server_process *process;
    struct probe *probes;
    struct probe_tls_shared tls;
};

static struct loop *loop_of(struct probe *probe)
{
    return &probe->prober->process->loop;
}

static void probe_free(struct probe *probe)
{
    probe_tls_free(probe->tls);
    free(probe->buffer);
    free(probe);
}

static void schedule(struct probe *probe, uint64_t at_ms)
{
    probe->state = PROBE_WAITING;
    probe->record->check_due_ms = at_ms;
    timer_set(&loop_of(probe)->wheel, &probe->timer, at_ms);
}

/* The result --------------------------------------------------------------------------------------------------- */

static void conclude(struct probe *probe, bool well, const char *what)
{
    const struct config_check *check = &probe->pool->check;
    if (probe->fd >= 0)
        close(probe->fd);
    probe->fd = -1;
    free(probe->buffer);
    probe->buffer = NULL;
    probe_tls_free(probe->tls);
    probe->tls = NULL;
    if (health_check_result(&probe->record->health, well, check->rise, check->fall, loop_of(probe)->now_ms))
        log_line(LOG_WARN, "server \"%.*s\" is %s: %s", (int)probe->record->key.length, probe->record->key.at, well ? "up" : "down", what);
    uint64_t jitter = loop_random(loop_of(probe)) % (check->interval_ms / 10 + 1);
    schedule(probe, loop_of(probe)->now_ms + check->interval_ms - check->interval_ms / 20 + jitter);
}

/* An operation is still armed: its completion concludes. */
static void give_up(struct probe *probe)
{
    probe->state = PROBE_ENDING;
    op_cancel(&loop_of(probe)->ring, &probe->op);
}

static void tls_go_on(struct probe *probe);

static void receive_more(struct probe *probe)
{
    if (probe->tls)
        tls_go_on(probe);
    else
        op_recv(&loop_of(probe)->ring, &probe->op, probe->fd, probe->buffer + probe->received, RESPONSE_BYTES - probe->received, 0);
}

static void judge(struct probe *probe)
{
    struct response response;
    struct h1_progress progress = { 0 };
    struct h1_limits limits = { RESPONSE_BYTES, RESPONSE_BYTES, FIELDS_CAP };
    enum codec_fault fault = FAULT_NONE;
    response.fields.count = 0;
    enum h1_verdict verdict = h1_parse_response(&response, METHOD_GET, probe->buffer, probe->received, &progress, &limits, &fault);
    if (verdict == H1_MORE && probe->received < RESPONSE_BYTES) {
        receive_more(probe);
        return;
    }
    const struct config_check *check = &probe->pool->check;
    char what[64];
    if (verdict != H1_DONE)
        snprintf(what, sizeof what, "its response is malformed");
    else
        snprintf(what, sizeof what, "it answered %u", response.status);
    bool well = verdict == H1_DONE && response.status >= check->status_first && response.status <= check->status_last;
    conclude(probe, well, what);
}

/* The steps ---------------------------------------------------------------------------------------------------- */

static size_t write_request(struct probe *probe)
{
    const struct config_check *check = &probe->pool->check;
    struct slice host = check->host.length ? check->host : probe->server->address.text;
    if (slice_starts(host, SLICE("unix:")))
        host = SLICE("localhost");
    int length = snprintf(probe->buffer, REQUEST_BYTES, "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: weir-check\r\nConnection: close\r\n\r\n",
                          (int)check->path.length, check->path.at, (int)host.length, host.at);
    return length > 0 && (size_t)length < REQUEST_BYTES ? (size_t)length : 0;
}

/* SENDING and RECEIVING take turns until there is content to be judged. */
static void tls_go_on(struct probe *probe)
{
    struct ring *ring = &loop_of(probe)->ring;
    struct slice at;
    char why[160];
    switch (probe_tls_step(probe->tls, &at, why)) {
    case PROBE_TLS_SEND:
        probe->state = PROBE_SENDING;
        op_send(ring, &probe->op, probe->fd, at.at, at.length);
        break;
    case PROBE_TLS_RECEIVE:
        probe->state = PROBE_RECEIVING;
        op_recv(ring, &probe->op, probe->fd, (char *)(uintptr_t)at.at, at.length, 0);
        break;
    case PROBE_TLS_CONTENT: {
        struct slice run = queue_front(&probe->tls->content);
        size_t n = size_min(run.length, RESPONSE_BYTES - probe->received);
        memcpy(probe->buffer + probe->received, run.at, n);
        probe->received += (uint32_t)n;
        queue_consume(&probe->tls->content, run.length);
        judge(probe);
        break;
    }
    case PROBE_TLS_FAILED: conclude(probe, false, why); break;
    }
}

static void tls_done(struct probe *probe, uint32_t bytes)
{
    if (probe->state == PROBE_SENDING)
        probe_tls_sent(probe->tls, bytes);
    else if (probe->state == PROBE_RECEIVING)
        probe_tls_received(probe->tls, bytes);
    tls_go_on(probe);
}

static void step_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    struct ring *ring = &loop_of(probe)->ring;
    if (probe->leaving) {
        if (probe->fd >= 0)
            close(probe->fd);
        probe_free(probe);
        return;
    }
    if (probe->state == PROBE_ENDING) {
        conclude(probe, false, "it took too long");
        return;
    }
    if (result < 0 || (result == 0 && probe->state == PROBE_RECEIVING)) {
        conclude(probe, false, result < 0 ? strerror(-result) : "it closed before its response");
        return;
    }
    if (probe->tls) {
        tls_done(probe, (uint32_t)result);
        return;
    }
    switch (probe->state) {
    case PROBE_CONNECTING:
        probe->state = PROBE_SENDING;
        op_send(ring, op, probe->fd, probe->buffer, write_request(probe));
        break;
    case PROBE_SENDING:
        probe->state = PROBE_RECEIVING;
        op_recv(ring, op, probe->fd, probe->buffer, RESPONSE_BYTES, 0);
        break;
    case PROBE_RECEIVING:
        probe->received += (uint32_t)result;
        judge(probe);
        break;
    case PROBE_WAITING:
    case PROBE_ENDING:
        break;
    }
}

static bool begin_tls(struct probe *probe)
{
    char name[256];
    origin_tls_name(probe->pool, probe->server->address.text, name);
    probe->tls = probe_tls_new(&probe->prober->tls, probe->context, name, slice_of(probe->buffer, write_request(probe)));
    return probe->tls != NULL;
}

static void begin(struct probe *probe)
{
    const struct address *address = &probe->server->address;
    probe->received = 0;
    probe->buffer = FAULT("probe") ? NULL : calloc(1, RESPONSE_BYTES);
    bool able = probe->buffer && (!probe->context || begin_tls(probe));
    probe->fd = able && address->socket_bytes ? socket_for_origin(address, SLICE("system")) : -1;
    if (!able || (probe->fd < 0 && address->socket_bytes)) {
        free(probe->buffer); /* our shortage, not the server's */
        probe->buffer = NULL;
        probe_tls_free(probe->tls);
        probe->tls = NULL;
        schedule(probe, loop_of(probe)->now_ms + probe->pool->check.interval_ms);
        return;
    }
    if (probe->fd < 0) {
        conclude(probe, false, "its name does not resolve");
        return;
    }
    probe->state = PROBE_CONNECTING;
    op_connect(&loop_of(probe)->ring, &probe->op, probe->fd, &address->socket.any, address->socket_bytes);
    timer_set(&loop_of(probe)->wheel, &probe->timer, loop_of(probe)->now_ms + probe->pool->check.timeout_ms);
}

static void timer_fired(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    if (probe->state == PROBE_WAITING)
        begin(probe);
    else if (probe->state != PROBE_ENDING)
        give_up(probe);
}

/* The set of them ---------------------------------------------------------------------------------------------- */

static void stop_all(struct prober *prober)
{
    while (prober->probes) {
        struct probe *probe = prober->probes;
        prober->probes = probe->next;
        timer_cancel(&loop_of(probe)->wheel, &probe->timer);
        probe->leaving = true;
        if (op_armed(&probe->op))
            op_cancel(&loop_of(probe)->ring, &probe->op);
        else
            probe_free(probe);
    }
}

static bool add_probe(struct prober *prober, uint32_t p, uint32_t s)
{
    struct generation *generation = prober->process->generation;
    struct probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        return false;
    *probe = (struct probe){ .next = prober->probes, .prober = prober, .generation = generation, .pool = &generation->config->pools[p],
                             .server = &generation->config->pools[p].servers[s], .record = generation->records[p][s], .context = generation->pool_tls[p],
                             .fd = -1, .op.done = step_done, .timer.fire = timer_fired };
    prober->probes = probe;
    uint64_t now_ms = loop_of(probe)->now_ms;
    uint64_t due_ms = probe->record->check_due_ms;
    if (due_ms == 0)
        due_ms = now_ms + loop_random(loop_of(probe)) % (probe->pool->check.interval_ms / 4 + 1);
    due_ms = u64_min(due_ms, now_ms + probe->pool->check.interval_ms);
    schedule(probe, due_ms);
    return true;
}

void prober_adopt(struct prober *prober)
{
    struct generation *generation = prober->process->generation;
    const struct config *config = generation->config;
    stop_all(prober);
    for (uint32_t p = 0; p < config->pool_count; p++) {
        for (uint32_t s = 0; s < config->pools[p].server_count; s++) {
            if (config->pools[p].check.interval_ms == 0)
                atomic_store_explicit(&generation->records[p][s]->health.checked, HEALTH_UNCHECKED, memory_order_relaxed);
            else if (!add_probe(prober, p, s))
                log_line(LOG_ERROR, "out of memory: server \"%.*s\" is not checked", (int)generation->records[p][s]->key.length,
                         generation->records[p][s]->key.at);
        }
    }
}

enum err prober_new(struct prober **made, struct server_process *process)
{
    struct prober *prober = FAULT("prober") ? NULL : calloc(1, sizeof *prober);
    *made = prober;
    if (!prober)
        return ERR_MEMORY;
    prober->process = process;
    prober_adopt(prober);
    return ERR_OK;
}

/* The ring no longer runs: what is armed dies with it. */
void prober_free(struct prober *prober)
{
    while (prober->probes) {
        struct probe *probe = prober->probes;
        prober->probes = probe->next;
        if (probe->fd >= 0)
            close(probe->fd);
        probe_free(probe);
    }
    probe_tls_shared_release(&prober->tls);
    free(prober);
}

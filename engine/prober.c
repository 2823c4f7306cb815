#include "engine/prober.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/back_header.h"
#include "engine/base/check.h"
#include "engine/probe_http.h"
#include "engine/probe_tls.h"
#include "engine/process.h"
#include "engine/socket.h"

#define RECEIVE_BYTES 4096u /* at a time, of plain text */

enum probe_state { PROBE_WAITING, PROBE_IN_LINE, PROBE_CONNECTING, PROBE_NAMING, PROBE_SENDING, PROBE_RECEIVING, PROBE_ENDING };

/* What one check needs while it runs. */
struct probe_work {
    struct address address;
    struct probe_http http;
    size_t header_bytes; /* of the PROXY header in front of the request; where there is TLS it is all that is sent from here (NAMING) */
    size_t request_bytes, sent_bytes; /* with the header */
    char request[PROXY_NOBODY_BYTES_MAX + PROBE_REQUEST_BYTES];
    char received[RECEIVE_BYTES];
};

/* One server's check. */
struct probe {
    struct probe *next; /* in prober->probes or ->leaving */
    struct probe *next_in_line;
    struct prober *prober;
    struct generation *generation; /* whose configuration it reads; it is stopped before that ends */
    const struct config_pool *pool;
    const struct config_server *server;
    struct server_record *record;
    struct tls_context *context; /* the generation's; NULL: plain text */
    struct probe_tls *tls;       /* only while it runs */
    struct probe_work *work;     /* likewise; NULL: it does not run */
    enum probe_state state;
    enum probe_state late_in; /* ENDING: where its time ran out */
    int fd;
    struct op op;
    struct timer timer;
    uint64_t begun_ns;
    uint32_t place;   /* of a server with several addresses: the one to ask at; it moves on when that one refuses */
    uint32_t refused; /* addresses in a row, in this check */
    bool leaving; /* freed with its last completion */
};

struct prober {
    struct server_process *process;
    struct probe *probes;
    struct probe *leaving;           /* of a generation that was; an operation of each is armed still */
    struct probe *line, **line_tail; /* due, and waiting for their turn */
    uint32_t running;
    bool serving; /* serve_line is on the stack */
    struct probe_tls_shared tls;
};

static struct loop *loop_of(struct probe *probe)
{
    return &probe->prober->process->loop;
}

/* Ends what runs: whatever it holds is given back. */
static void stop_running(struct probe *probe)
{
    if (!probe->work)
        return;
    if (probe->fd >= 0)
        close(probe->fd);
    probe->fd = -1;
    free(probe->work);
    probe->work = NULL;
    probe_tls_free(probe->tls);
    probe->tls = NULL;
    probe->prober->running--;
}

static void probe_free(struct probe *probe)
{
    stop_running(probe);
    timer_cancel(&loop_of(probe)->wheel, &probe->timer); /* at the end others cancel theirs after it */
    free(probe);
}

static void schedule(struct probe *probe, uint64_t at_ms)
{
    probe->state = PROBE_WAITING;
    probe->record->check_due_ms = at_ms;
    timer_set(&loop_of(probe)->wheel, &probe->timer, at_ms);
}

/* The next time, a tenth sooner or later. */
static void schedule_next(struct probe *probe)
{
    const struct config_check *check = &probe->pool->check;
    bool down = atomic_load_explicit(&probe->record->health.checked, memory_order_relaxed) == HEALTH_CHECK_DOWN;
    uint64_t interval_ms = down && check->interval_down_ms ? check->interval_down_ms : check->interval_ms;
    uint64_t jitter = loop_random(loop_of(probe)) % (interval_ms / 5 + 1);
    schedule(probe, loop_of(probe)->now_ms + interval_ms - interval_ms / 10 + jitter);
}

/* The result --------------------------------------------------------------------------------------------------- */

static void begin(struct probe *probe);

/* As many as there is room for now. One that is over at once gives its place to the next in this loop, not in one call inside the other. */
static void serve_line(struct prober *prober)
{
    if (prober->serving)
        return;
    prober->serving = true;
    while (prober->line && prober->running < PROBES_MAX) {
        struct probe *probe = prober->line;
        prober->line = probe->next_in_line;
        if (!prober->line)
            prober->line_tail = &prober->line;
        begin(probe);
    }
    prober->serving = false;
}

static void note(struct probe *probe, bool well, const char *what)
{
    struct check_result *check = &probe->record->check;
    snprintf(check->what, sizeof check->what, "%s", what);
    check->at_ms = loop_of(probe)->now_ms;
    check->took_us = (uint32_t)u64_min((loop_of(probe)->now_ns - probe->begun_ns) / 1000, UINT32_MAX);
    check->well = well;
}

static void conclude(struct probe *probe, bool well, const char *what)
{
    const struct config_check *check = &probe->pool->check;
    struct server_record *record = probe->record;
    note(probe, well, what);
    stop_running(probe);
    if (health_check_result(&record->health, well, check->rise, check->fall, loop_of(probe)->now_ms))
        log_line(LOG_WARN, "server \"%.*s\" is %s: %s, after %.1f ms", (int)record->key.length, record->key.at,
                 well ? "up" : "down", record->check.what, record->check.took_us / 1000.0);
    schedule_next(probe);
    serve_line(probe->prober);
}

/* An operation is still armed: its completion concludes. */
static void give_up(struct probe *probe)
{
    probe->late_in = probe->state;
    probe->state = PROBE_ENDING;
    op_cancel(&loop_of(probe)->ring, &probe->op);
}

/* The steps ---------------------------------------------------------------------------------------------------- */

static void receive_more(struct probe *probe)
{
    probe->state = PROBE_RECEIVING;
    op_recv(&loop_of(probe)->ring, &probe->op, probe->fd, probe->work->received, RECEIVE_BYTES, 0);
}

static void send_more(struct probe *probe)
{
    struct probe_work *work = probe->work;
    probe->state = PROBE_SENDING;
    op_send(&loop_of(probe)->ring, &probe->op, probe->fd, work->request + work->sent_bytes,
            work->request_bytes - work->sent_bytes);
}

/* True when that was the end of it. */
static bool judge(struct probe *probe, struct slice bytes)
{
    char what[PROBE_WHAT_BYTES];
    enum probe_http_verdict verdict = probe_http_input(&probe->work->http, bytes, what);
    if (verdict == PROBE_HTTP_MORE)
        return false;
    conclude(probe, verdict == PROBE_HTTP_WELL, what);
    return true;
}

static void it_closed(struct probe *probe)
{
    char what[PROBE_WHAT_BYTES];
    if (probe->tls && !probe->tls->tls.open)
        snprintf(what, sizeof what, "it closed inside the TLS handshake");
    else
        probe_http_closed(&probe->work->http, what);
    conclude(probe, false, what);
}

/* False: it is over, and the probe waits again. */
static bool judge_tls_content(struct probe *probe)
{
    struct queue *content = &probe->tls->content;
    while (!queue_empty(content)) {
        struct slice run = queue_front(content);
        if (judge(probe, run))
            return false;
        queue_consume(content, run.length);
    }
    return true;
}

/* SENDING and RECEIVING take turns until there is content to be judged. */
static void tls_go_on(struct probe *probe)
{
    struct ring *ring = &loop_of(probe)->ring;
    struct slice at;
    char why[160];
    enum probe_tls_next next;
    while ((next = probe_tls_step(probe->tls, &at, why)) == PROBE_TLS_CONTENT)
        if (!judge_tls_content(probe))
            return;
    switch (next) {
    case PROBE_TLS_SEND:
        probe->state = PROBE_SENDING;
        op_send(ring, &probe->op, probe->fd, at.at, at.length);
        break;
    case PROBE_TLS_RECEIVE:
        probe->state = PROBE_RECEIVING;
        op_recv(ring, &probe->op, probe->fd, (char *)(uintptr_t)at.at, at.length, 0);
        break;
    case PROBE_TLS_CONTENT: break;
    case PROBE_TLS_OPEN: conclude(probe, true, "its TLS handshake is complete"); break;
    case PROBE_TLS_CLOSED: it_closed(probe); break;
    case PROBE_TLS_FAILED: conclude(probe, false, why); break;
    }
}

/* The PROXY header goes before the handshake. True: it is being sent. */
static bool send_header(struct probe *probe, uint32_t bytes)
{
    struct probe_work *work = probe->work;
    if (probe->state != PROBE_CONNECTING && probe->state != PROBE_NAMING)
        return false;
    work->sent_bytes += bytes;
    if (work->sent_bytes >= work->header_bytes)
        return false;
    probe->state = PROBE_NAMING;
    op_send(&loop_of(probe)->ring, &probe->op, probe->fd, work->request + work->sent_bytes, work->header_bytes - work->sent_bytes);
    return true;
}

static void tls_done(struct probe *probe, uint32_t bytes)
{
    if (unlikely(probe->work->header_bytes > 0) && send_header(probe, bytes))
        return;
    if (probe->state == PROBE_SENDING)
        probe_tls_sent(probe->tls, bytes);
    else if (probe->state == PROBE_RECEIVING)
        probe_tls_received(probe->tls, bytes);
    tls_go_on(probe);
}

static void plain_done(struct probe *probe, uint32_t bytes)
{
    struct probe_work *work = probe->work;
    switch (probe->state) {
    case PROBE_CONNECTING:
        if (probe->pool->check.kind == CHECK_TCP)
            conclude(probe, true, "it accepts connections");
        else
            send_more(probe);
        break;
    case PROBE_SENDING:
        work->sent_bytes += bytes;
        if (work->sent_bytes < work->request_bytes)
            send_more(probe);
        else
            receive_more(probe);
        break;
    default:
        if (!judge(probe, slice_of(work->received, bytes)))
            receive_more(probe);
        break;
    }
}

static void leave(struct probe *probe)
{
    struct prober *prober = probe->prober;
    struct probe **at = &prober->leaving;
    while (*at != probe)
        at = &(*at)->next;
    *at = probe->next;
    probe_free(probe);
    serve_line(prober);
}

static const char *too_slow(const struct probe *probe)
{
    if (probe->late_in == PROBE_CONNECTING)
        return "no connection in time";
    if (probe->tls && !probe->tls->tls.open)
        return "no TLS handshake in time";
    return probe->work->http.status ? "its content took too long" : "no answer in time";
}

/* To the address whose turn it is, and perhaps at a port of its own. */
static void take_address(struct probe *probe)
{
    struct address *address = &probe->work->address;
    uint32_t port = probe->pool->check.port;
    *address = probe->server->address;
    if (probe->place) {
        const struct peer_address *peer = &probe->server->more[probe->place - 1];
        memcpy(&address->socket, &peer->socket, sizeof peer->socket);
        address->socket_bytes = peer->socket_bytes;
    }
    if (port && address->socket.any.sa_family == AF_INET)
        address->socket.v4.sin_port = htons((uint16_t)port);
    else if (port && address->socket.any.sa_family == AF_INET6)
        address->socket.v6.sin6_port = htons((uint16_t)port);
}

static void connect_to_address(struct probe *probe)
{
    const struct address *address = &probe->work->address;
    probe->state = PROBE_CONNECTING;
    op_connect(&loop_of(probe)->ring, &probe->op, probe->fd, &address->socket.any, address->socket_bytes);
}

/* A server is well at whichever of its addresses it answers. False: all have refused. */
static bool connect_elsewhere(struct probe *probe)
{
    if (++probe->refused > probe->server->more_count)
        return false;
    probe->place = probe->place == probe->server->more_count ? 0 : probe->place + 1;
    take_address(probe);
    int fd = socket_for_origin(&probe->work->address, SLICE("system"));
    if (fd < 0)
        return false;
    close(probe->fd);
    probe->fd = fd;
    connect_to_address(probe);
    return true;
}

static void step_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct probe *probe = CONTAINER_OF(op, struct probe, op);
    if (probe->leaving)
        leave(probe);
    else if (probe->state == PROBE_ENDING)
        conclude(probe, false, too_slow(probe));
    else if (result < 0 && (probe->state != PROBE_CONNECTING || !connect_elsewhere(probe)))
        conclude(probe, false, strerror(-result));
    else if (result < 0)
        return; /* at another address */
    else if (result == 0 && probe->state == PROBE_RECEIVING)
        it_closed(probe);
    else if (probe->tls)
        tls_done(probe, (uint32_t)result);
    else
        plain_done(probe, (uint32_t)result);
}

/* Beginning ---------------------------------------------------------------------------------------------------- */

static bool begin_tls(struct probe *probe)
{
    char name[256];
    origin_tls_name(probe->pool, probe->server, name);
    const struct probe_work *work = probe->work;
    struct slice request = slice_of(work->request + work->header_bytes, work->request_bytes - work->header_bytes);
    probe->tls = probe_tls_new(&probe->prober->tls, probe->context, name, request);
    return probe->tls != NULL;
}

/* What listens at a port of the check's own is another thing than what requests go to. */
static void write_request(struct probe *probe, struct slice host)
{
    const struct config_check *check = &probe->pool->check;
    struct probe_work *work = probe->work;
    uint32_t version = check->port ? 0 : probe->pool->proxy_protocol;
    work->header_bytes = version ? back_header_write(NULL, version, work->request) : 0;
    work->request_bytes = work->header_bytes;
    if (check->kind == CHECK_HTTP)
        work->request_bytes += probe_http_request(check, host, work->request + work->header_bytes);
}

/* Memory and a socket; false: our shortage, not the server's. */
static bool prepare(struct probe *probe)
{
    const struct config_check *check = &probe->pool->check;
    struct probe_work *work = FAULT("probe") ? NULL : malloc(sizeof *work);
    if (!work)
        return false;
    probe->work = work;
    probe->prober->running++;
    struct slice host = probe->server->name.length ? probe->server->name : probe->server->address.text;
    work->sent_bytes = 0;
    write_request(probe, host);
    probe_http_init(&work->http, check);
    probe->refused = 0;
    take_address(probe);
    if (probe->context && check->kind != CHECK_TCP && !begin_tls(probe))
        return false;
    probe->fd = socket_for_origin(&work->address, SLICE("system"));
    return probe->fd >= 0;
}

static void begin(struct probe *probe)
{
    struct loop *loop = loop_of(probe);
    if (probe->server->address.socket_bytes == 0) { /* its name does not resolve: that is no result, and it is down anyway (health.unresolved) */
        schedule_next(probe);
        return;
    }
    probe->begun_ns = loop->now_ns;
    if (!prepare(probe)) {
        stop_running(probe);
        schedule_next(probe);
        return;
    }
    connect_to_address(probe);
    timer_set(&loop->wheel, &probe->timer, loop->now_ms + probe->pool->check.timeout_ms);
}

static void stand_in_line(struct probe *probe)
{
    struct prober *prober = probe->prober;
    probe->state = PROBE_IN_LINE;
    probe->next_in_line = NULL;
    *prober->line_tail = probe;
    prober->line_tail = &probe->next_in_line;
    serve_line(prober);
}

static void timer_fired(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    if (probe->state == PROBE_WAITING)
        stand_in_line(probe);
    else if (probe->state != PROBE_ENDING && probe->state != PROBE_IN_LINE)
        give_up(probe);
}

/* The set of them ---------------------------------------------------------------------------------------------- */

/* Frees it, now or with its last completion. It is on no list. */
static void stop(struct probe *probe)
{
    struct prober *prober = probe->prober;
    struct probe **at = &prober->line;
    while (*at && *at != probe)
        at = &(*at)->next_in_line;
    if (*at) {
        *at = probe->next_in_line;
        if (prober->line_tail == &probe->next_in_line)
            prober->line_tail = at;
    }
    timer_cancel(&loop_of(probe)->wheel, &probe->timer);
    probe->leaving = true;
    if (!op_armed(&probe->op)) {
        probe_free(probe);
        return;
    }
    probe->next = prober->leaving;
    prober->leaving = probe;
    op_cancel(&loop_of(probe)->ring, &probe->op);
}

/* The same socket addresses, reached under the same name. */
static bool asked_alike(const struct config_server *a, const struct config_server *b)
{
    if (a->address.socket_bytes != b->address.socket_bytes || a->more_count != b->more_count || !slice_equal(a->name, b->name) ||
        memcmp(&a->address.socket, &b->address.socket, a->address.socket_bytes) != 0)
        return false;
    for (uint32_t i = 0; i < a->more_count; i++)
        if (a->more[i].socket_bytes != b->more[i].socket_bytes || memcmp(&a->more[i].socket, &b->more[i].socket, a->more[i].socket_bytes) != 0)
            return false;
    return true;
}

/* What a command or DNS has changed leaves the other servers' checks under way: where changes come often none would ever end. */
static bool keep(struct probe *probe, uint32_t p, uint32_t s)
{
    struct generation *generation = probe->prober->process->generation;
    const struct config_server *server = &generation->config->pools[p].servers[s];
    if (!generation->derived || probe->context != generation->pool_tls[p] || !asked_alike(probe->server, server))
        return false;
    probe->generation = generation;
    probe->pool = &generation->config->pools[p];
    probe->server = server;
    if (probe->work)
        probe->work->http.check = &probe->pool->check;
    return true;
}

static bool add_probe(struct prober *prober, uint32_t p, uint32_t s)
{
    struct generation *generation = prober->process->generation;
    struct probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        return false;
    *probe = (struct probe){ .next = prober->probes,
                             .prober = prober,
                             .generation = generation,
                             .pool = &generation->config->pools[p],
                             .server = &generation->config->pools[p].servers[s],
                             .record = generation->records[p][s],
                             .context = generation->pool_tls[p],
                             .fd = -1,
                             .op.done = step_done,
                             .timer.fire = timer_fired };
    prober->probes = probe;
    probe->record->probe = probe;
    uint64_t now_ms = loop_of(probe)->now_ms;
    uint64_t due_ms = probe->record->check_due_ms;
    if (due_ms == 0)
        due_ms = now_ms + loop_random(loop_of(probe)) % (probe->pool->check.interval_ms / 4 + 1);
    due_ms = u64_min(due_ms, now_ms + probe->pool->check.interval_ms);
    schedule(probe, due_ms);
    return true;
}

static void forget(struct server_record *record)
{
    atomic_store_explicit(&record->health.checked, HEALTH_UNCHECKED, memory_order_relaxed);
    record->check = (struct check_result){ 0 };
}

static void adopt_server(struct prober *prober, uint32_t p, uint32_t s)
{
    struct server_record *record = prober->process->generation->records[p][s];
    if (record->probe && keep(record->probe, p, s))
        return;
    if (prober->process->generation->config->pools[p].check.interval_ms == 0)
        forget(record);
    else if (!add_probe(prober, p, s))
        log_line(LOG_ERROR, "out of memory: server \"%.*s\" is not checked", (int)record->key.length, record->key.at);
}

void prober_adopt(struct prober *prober)
{
    struct generation *generation = prober->process->generation;
    const struct config *config = generation->config;
    struct probe *before = prober->probes;
    prober->probes = NULL;
    for (uint32_t p = 0; p < config->pool_count; p++)
        for (uint32_t s = 0; s < config->pools[p].server_count; s++)
            adopt_server(prober, p, s);
    while (before) {
        struct probe *probe = before;
        before = probe->next;
        if (probe->generation == generation) {
            probe->next = prober->probes;
            prober->probes = probe;
            continue;
        }
        if (probe->record->probe == probe)
            probe->record->probe = NULL;
        stop(probe);
    }
}

enum err prober_new(struct prober **made, struct server_process *process)
{
    struct prober *prober = FAULT("prober") ? NULL : calloc(1, sizeof *prober);
    *made = prober;
    if (!prober)
        return ERR_MEMORY;
    prober->process = process;
    prober->line_tail = &prober->line;
    prober_adopt(prober);
    return ERR_OK;
}

static void free_all(struct probe *probe)
{
    for (struct probe *next; probe; probe = next) {
        next = probe->next;
        probe_free(probe);
    }
}

/* The ring no longer runs: what is armed dies with it. */
void prober_free(struct prober *prober)
{
    free_all(prober->probes);
    free_all(prober->leaving);
    probe_tls_shared_release(&prober->tls);
    free(prober);
}

#include "engine/tunnel.h"

#include "engine/splice.h"

const char *tunnel_end_word(enum tunnel_end end)
{
#define TUNNEL_END_AS_WORD(id, row) [id] = #row,
    static const char *const words[TUNNEL_ENDS] = { TUNNEL_END_ROWS(TUNNEL_END_AS_WORD) };
    return end == TUNNEL_CLOSED ? NULL : words[end];
}

/* Moving -------------------------------------------------------------------------------------------------------- */

static void moved(struct tunnel *tunnel)
{
    tunnel->moved_ms = tunnel->worker->loop.now_ms;
}

static void count(struct tunnel *tunnel, const struct tunnel_side *from, uint64_t bytes)
{
    if (from == &tunnel->near)
        COUNT_BYTES(tunnel->worker, tunnel_received_bytes, bytes);
    else
        COUNT_BYTES(tunnel->worker, tunnel_sent_bytes, bytes);
}

static void passed(struct tunnel *tunnel, struct tunnel_side *from, uint64_t bytes)
{
    from->bytes += bytes;
    moved(tunnel);
    count(tunnel, from, bytes);
}

static void copy(struct tunnel *tunnel, struct tunnel_side *from, struct tunnel_side *to)
{
    struct conn *source = from->conn, *sink = to->conn;
    uint64_t taken = 0;
    while (!queue_empty(&source->in) && conn_room(sink) > 0) {
        struct slice run = queue_front(&source->in);
        struct block *block = source->in.first;
        if (chain_append(&sink->out, block, (uint32_t)(run.at - block->data), (uint32_t)run.length) != ERR_OK)
            break;
        taken += run.length;
        conn_consume(source, run.length);
    }
    if (taken == 0)
        return;
    passed(tunnel, from, taken);
    conn_flush(sink);
    if (tunnel->moved_ms - from->burst_ms > TUNNEL_BULK_MS) {
        from->burst_ms = tunnel->moved_ms;
        from->burst = 0;
    }
    from->burst += (uint32_t)taken;
}

/* Splicing ------------------------------------------------------------------------------------------------------- */

static bool is_bulk(const struct tunnel_side *from, const struct tunnel_side *to)
{
    return from->burst >= TUNNEL_BULK_BYTES && !from->conn->tls && !to->conn->tls && !from->conn->ended;
}

static void end_splice(struct tunnel_side *from)
{
    splice_free(from->splice);
    from->splice = NULL;
    from->burst = 0;
    conn_release_hold(from->conn);
}

/* What came from there has arrived at the other side, or what is left never will. */
static void look_at_splice(struct tunnel *tunnel, struct tunnel_side *from, struct tunnel_side *to)
{
    struct splice *splice = from->splice;
    if (splice->took)
        passed(tunnel, from, splice->took);
    else if (splice->gave)
        moved(tunnel);
    splice->took = splice->gave = 0;
    switch ((enum splice_state)splice->state) {
    case SPLICE_CUT: from->conn->cut = true; /* fall through */
    case SPLICE_ENDED: conn_ended(from->conn); break;
    case SPLICE_REFUSED: to->conn->deaf = true; break;
    case SPLICE_STARVED: break;
    default:
        if (!splice_is_quiet(splice))
            return;
    }
    end_splice(from);
}

static void pump(struct tunnel *tunnel, struct tunnel_side *from, struct tunnel_side *to)
{
    struct conn *source = from->conn, *sink = to->conn;
    if (splice_is_moving(from->splice)) {
        look_at_splice(tunnel, from, to);
        return;
    }
    if (sink->deaf || sink->shutting) {
        if (from->splice)
            end_splice(from);
        return;
    }
    copy(tunnel, from, to);
    if (unlikely(is_bulk(from, to)) && !from->splice) {
        from->burst = 0;
        from->splice = splice_new(source, sink);
    }
    if (!from->splice)
        return;
    if (source->ended)
        end_splice(from);
    else if (splice_settled(from->splice))
        splice_start(from->splice, UINT64_MAX);
}

/* Ends ---------------------------------------------------------------------------------------------------------- */

/* Before the sides are closed. What is in a pipe then is lost. */
static void let_go(struct tunnel_side *from, struct tunnel_side *to)
{
    if (!from->splice)
        return;
    to->lost = splice_waits_for_sink(from->splice);
    splice_free(from->splice);
    from->splice = NULL;
}

void tunnel_abandon(struct tunnel *tunnel)
{
    if (tunnel->end == TUNNEL_OPEN)
        tunnel->end = TUNNEL_ABANDONED;
    let_go(&tunnel->near, &tunnel->far);
    let_go(&tunnel->far, &tunnel->near);
}

static void over(struct tunnel *tunnel, enum tunnel_end end)
{
    tunnel->end = (uint8_t)end;
    tunnel_abandon(tunnel);
}

static bool has_sent(const struct conn *conn)
{
    return conn->deaf || (!conn_unsent(conn) && !op_armed(&conn->send));
}

/* An end of that side which is to be passed on as a reset, once the other has what came before. */
static bool broke(const struct conn *side, const struct conn *other)
{
    return conn_is_spent(side) && (side->cut || side->deaf) && has_sent(other);
}

static bool ended_well(const struct conn *side)
{
    return conn_is_spent(side) && !side->cut && !side->deaf;
}

static enum tunnel_end look_for_end(const struct tunnel *tunnel)
{
    const struct conn *near = tunnel->near.conn, *far = tunnel->far.conn;
    if (broke(near, far) || broke(far, near))
        return TUNNEL_RESET;
    bool both = ended_well(near) && ended_well(far) && near->shut && far->shut;
    return both ? TUNNEL_CLOSED : TUNNEL_OPEN;
}

bool tunnel_run(struct tunnel *tunnel)
{
    MUST_BE(tunnel, TUNNEL_MAGIC);
    if (tunnel->end != TUNNEL_OPEN)
        return true;
    pump(tunnel, &tunnel->near, &tunnel->far);
    pump(tunnel, &tunnel->far, &tunnel->near);
    if (unlikely(ended_well(tunnel->near.conn)))
        conn_end_sending(tunnel->far.conn);
    if (unlikely(ended_well(tunnel->far.conn)))
        conn_end_sending(tunnel->near.conn);
    enum tunnel_end end = look_for_end(tunnel);
    if (end == TUNNEL_OPEN)
        return false;
    over(tunnel, end);
    return true;
}

bool tunnel_resets(const struct tunnel *tunnel, const struct conn *side)
{
    bool lost = side == tunnel->near.conn ? tunnel->near.lost : tunnel->far.lost;
    return tunnel->end == TUNNEL_RESET || lost || !has_sent(side) || side->deaf;
}

static void finish(struct tunnel *tunnel, enum tunnel_end end)
{
    if (tunnel->end == TUNNEL_OPEN)
        over(tunnel, end);
    tunnel->event(tunnel);
}

void tunnel_stop(struct tunnel *tunnel)
{
    finish(tunnel, TUNNEL_STOPPED);
}

/* Events -------------------------------------------------------------------------------------------------------- */

static void input(struct conn *conn)
{
    conn->tunnel->event(conn->tunnel);
}

static void drained(struct conn *conn)
{
    moved(conn->tunnel);
    conn->tunnel->event(conn->tunnel);
}

/* What it sent before it broke may still be on its way to us, or wait. */
static void broken(struct conn *conn, int error)
{
    (void)error;
    if (!conn->deaf || !conn_may_bring(conn))
        conn->ended = conn->cut = true;
    conn->tunnel->event(conn->tunnel);
}

/* The near side's deadline is left where it was set and looked at when it passes. */
static void timeout(struct conn *conn)
{
    struct tunnel *tunnel = conn->tunnel;
    uint64_t now_ms = tunnel->worker->loop.now_ms, due_ms = tunnel->moved_ms + tunnel->idle_ms;
    if (due_ms > now_ms)
        conn_deadline(conn, due_ms);
    else
        finish(tunnel, TUNNEL_IDLE);
}

static void shake(struct conn *conn)
{
    (void)conn; /* it was queued before the handshake was over */
}

static const struct conn_events tunnel_events = {
    .input = input, .drained = drained, .broken = broken, .timeout = timeout, .ready = input, .shake = shake,
};

/* Life ---------------------------------------------------------------------------------------------------------- */

struct tunnel *tunnel_new(struct worker *worker)
{
    struct tunnel *tunnel = slab_take(&worker->tunnels);
    if (!tunnel)
        return NULL;
    *tunnel = (struct tunnel){ .magic = TUNNEL_MAGIC, .worker = worker };
    return tunnel;
}

static void take_over(struct tunnel *tunnel, struct conn *conn)
{
    MUST(conn_is_ready(conn) && !conn->held);
    conn->tunnel = tunnel;
    conn->events = &tunnel_events;
    conn_deadline(conn, TIMER_NEVER);
}

void tunnel_begin(struct tunnel *tunnel, struct conn *near, struct conn *far, uint64_t idle_ms)
{
    tunnel->near.conn = near;
    tunnel->far.conn = far;
    tunnel->idle_ms = idle_ms;
    take_over(tunnel, near);
    take_over(tunnel, far);
    moved(tunnel);
    conn_deadline(near, tunnel->moved_ms + idle_ms);
    COUNT(tunnel->worker, tunnels_opened);
    counter_add(&tunnel->worker->stats->tunnels, 1);
}

static void count_end(struct tunnel *tunnel)
{
    struct worker_stats *stats = tunnel->worker->stats;
    counter_sub(&stats->tunnels, 1);
    switch ((enum tunnel_end)tunnel->end) {
#define TUNNEL_END_AS_CASE(id, row) case id: counter_add(&stats->row, 1); break;
        TUNNEL_END_ROWS(TUNNEL_END_AS_CASE)
    default: break;
    }
}

void tunnel_free(struct tunnel *tunnel)
{
    MUST_BE(tunnel, TUNNEL_MAGIC);
    MUST(!tunnel->near.splice && !tunnel->far.splice);
    struct worker *worker = tunnel->worker;
    if (tunnel->near.conn)
        count_end(tunnel);
    tunnel->magic = 0;
    slab_return(&worker->tunnels, tunnel);
}

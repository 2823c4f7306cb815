/*
 * The end of workers: a letter to a loop that has ended would be lost with its descriptor. So who asks first counts itself in
 * `letters` and then looks whether the process is draining; a worker that is told to end, which is after `draining` was
 * set, stops its loop only when it finds `letters` at 0. Both are sequentially consistent, so one of the two sees the other.
 */
#include "engine/borrow.h"

#include "engine/back.h"
#include "engine/exchange.h"

void borrow_init(struct worker *worker)
{
    for (unsigned i = 0; i < BORROWS_MAX; i++) {
        worker->borrows[i].next = worker->borrows_free;
        worker->borrows_free = &worker->borrows[i];
    }
}

static void put_back(struct borrow *borrow)
{
    struct worker *worker = borrow->asker;
    borrow->next = worker->borrows_free;
    worker->borrows_free = borrow;
}

/* The lender --------------------------------------------------------------------------------------------------- */

static void returned(struct letter *letter, struct loop *here);

static void answer(struct borrow *borrow, struct worker *lender, int fd)
{
    borrow->fd = fd;
    borrow->letter.deliver = returned;
    mailbox_send(&lender->loop, &borrow->asker->loop, &borrow->letter);
}

static void asked(struct letter *letter, struct loop *here)
{
    struct borrow *borrow = CONTAINER_OF(letter, struct borrow, letter);
    struct worker *lender = worker_of(here);
    struct origin *origin = map_find(&lender->origins, borrow->origin->record->key);
    struct conn *conn = origin ? back_lend(origin, borrow) : NULL;
    if (conn)
        borrow_settled(conn);
    else
        answer(borrow, lender, -1);
}

static void asked_for_room(struct letter *letter, struct loop *here)
{
    struct borrow *borrow = CONTAINER_OF(letter, struct borrow, letter);
    struct worker *lender = worker_of(here);
    struct view *view = lender->view;
    for (uint32_t i = 0; i < view->config->pool_count; i++)
        if (view->pools[i].record == borrow->pool)
            back_make_room(&view->pools[i]);
    answer(borrow, lender, -1);
}

void borrow_settled(struct conn *conn)
{
    struct worker *lender = conn->worker;
    struct borrow *borrow = conn->origin.borrow;
    if (!conn_is_held(conn))
        return;
    if (op_armed(&conn->send) || op_armed(&conn->other)) {
        back_close(conn);
        return;
    }
    borrow->past = conn->origin.idle;
    borrow->place = conn->origin.place;
    borrow->addresses = conn->origin.addresses;
    conn->origin.place = NULL;
    answer(borrow, lender, back_let_go(conn));
}

void borrow_lost(struct conn *conn)
{
    answer(conn->origin.borrow, conn->worker, -1);
}

/* The asker ---------------------------------------------------------------------------------------------------- */

/* More than one, and more than have been asked for already. */
static struct worker *lender_for(const struct origin *origin)
{
    const struct worker *worker = origin->worker;
    struct worker **workers = atomic_load_explicit(&worker->shared->workers, memory_order_acquire);
    uint32_t count = worker->view->generation->worker_count;
    uint64_t most = 1 + origin->borrowing;
    struct worker *lender = NULL;
    for (uint32_t i = 0; workers && i < count; i++) {
        uint64_t idle = counter_get(&origin->record->counters[i].idle);
        if (i == worker->loop.number || idle <= most)
            continue;
        most = idle;
        lender = workers[i];
    }
    return lender;
}

static uint64_t idle_of(const struct view_pool *pool, uint32_t worker)
{
    uint64_t idle = 0;
    for (uint32_t i = 0; i < pool->upstream.count; i++) {
        const struct origin *origin = pool->members[i].server->owner;
        idle += counter_get(&origin->record->counters[worker].idle);
    }
    return idle;
}

static struct worker *keeper_for(const struct view_pool *pool)
{
    struct worker **workers = atomic_load_explicit(&pool->worker->shared->workers, memory_order_acquire);
    uint32_t count = pool->worker->view->generation->worker_count;
    uint64_t most = 0;
    struct worker *keeper = NULL;
    for (uint32_t i = 0; workers && i < count; i++) {
        uint64_t idle = i == pool->worker->loop.number ? 0 : idle_of(pool, i);
        if (idle <= most)
            continue;
        most = idle;
        keeper = workers[i];
    }
    return keeper;
}

static void patience_ended(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct borrow *borrow = CONTAINER_OF(timer, struct borrow, timer);
    struct exchange *x = borrow->exchange;
    borrow->exchange = NULL;
    x->borrow = NULL;
    exchange_run(x);
}

/* Before anything is sent: see above. */
static bool may_ask(struct process_shared *shared)
{
    atomic_fetch_add(&shared->letters, 1);
    if (!atomic_load(&shared->draining))
        return true;
    atomic_fetch_sub(&shared->letters, 1);
    return false;
}

static bool ask(struct exchange *x, struct origin *origin, struct worker *lender, void (*deliver)(struct letter *letter, struct loop *here))
{
    struct worker *worker = x->worker;
    struct borrow *borrow = worker->borrows_free;
    if (!lender || !borrow || !may_ask(worker->shared))
        return false;
    worker->borrows_free = borrow->next;
    *borrow = (struct borrow){ .asker = worker, .origin = origin, .pool = x->pool->record, .exchange = x, .fd = -1,
                               .timer.fire = patience_ended, .letter.deliver = deliver };
    origin->server.references++;
    origin->borrowing++;
    x->borrow = borrow;
    x->borrow_asked = true;
    timer_set(&worker->loop.wheel, &borrow->timer, worker->loop.now_ms + BORROW_MS);
    mailbox_send(&worker->loop, &lender->loop, &borrow->letter);
    return true;
}

bool borrow_ask(struct exchange *x, struct origin *origin)
{
    if (!origin->idle_limits.borrow || origin->tls)
        return false;
    return ask(x, origin, lender_for(origin), asked);
}

bool borrow_room(struct exchange *x, struct origin *origin)
{
    return ask(x, origin, keeper_for(x->pool), asked_for_room);
}

void borrow_forget(struct exchange *x)
{
    timer_cancel(&x->worker->loop.wheel, &x->borrow->timer);
    x->borrow->exchange = NULL;
    x->borrow = NULL;
    x->borrow_asked = false;
}

/* Its connection is there, or none is. */
static void go_on(struct exchange *x, struct conn *conn)
{
    x->borrow = NULL;
    if (conn) {
        x->borrow_asked = false;
        x->origin = conn;
        conn->exchange = x;
        counter_add(&x->member->server->counters->reused, 1);
    }
    exchange_run(x);
}

static void returned(struct letter *letter, struct loop *here)
{
    struct borrow *borrow = CONTAINER_OF(letter, struct borrow, letter);
    struct worker *worker = worker_of(here);
    struct origin *origin = borrow->origin;
    struct exchange *x = borrow->exchange;
    struct conn *conn = borrow->fd < 0 ? NULL : back_adopt(origin, borrow);
    if (x)
        timer_cancel(&here->wheel, &borrow->timer);
    origin->borrowing--;
    put_back(borrow);
    atomic_fetch_sub(&worker->shared->letters, 1);
    if (x)
        go_on(x, conn);
    else if (conn)
        back_shelve(conn);
    origin_unref(origin);
}

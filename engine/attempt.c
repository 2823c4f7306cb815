#include "engine/attempt.h"

#include "engine/wait_line.h"
#include "engine/worker.h"

enum pick_verdict attempt_pick(struct view_pool *pool, struct pick_request *pick, struct member **member)
{
    struct loop *loop = &pool->worker->loop;
    pick->random = loop_random(loop);
    pick->now_ms = loop->now_ms;
    uint64_t waiting = atomic_load_explicit(&pool->record->waiting, memory_order_relaxed);
    pick->others_wait = waiting > pool->line->count;
    enum pick_verdict verdict = upstream_pick(&pool->upstream, pick, member);
    if (unlikely(pool->upstream.panic != pool->panic_seen))
        view_pool_panic(pool);
    if (unlikely(verdict == PICK_PANIC))
        COUNT(pool->worker, panic_picks);
    return verdict;
}

void attempt_done(struct view_pool *pool, struct member *member, enum server_outcome outcome)
{
    struct loop *loop = &pool->worker->loop;
    if (unlikely(upstream_done(&pool->upstream, member, outcome, loop->now_ms, loop_random(loop)))) {
        struct slice name = member->server->name;
        log_line(LOG_WARN, "server \"%.*s\" is marked as dead: %s", (int)name.length, name.at, server_outcome_word(outcome));
    }
    if (unlikely(pool->line->first != NULL))
        wait_line_wake(pool->line);
}

bool attempt_pay(struct view_pool *pool, bool *placed)
{
    struct worker *worker = pool->worker;
    uint32_t most = pool->config->breakers.retries_max;
    bool takes = most && !*placed;
    if (takes && !place_take(&pool->record->retrying, most)) {
        COUNT(worker, retries_limited);
        return false;
    }
    if (!budget_take(&pool->share->budget, &pool->config->retry.budget, worker->loop.number, worker->view->generation->worker_count, worker->loop.now_ms)) {
        COUNT(worker, retries_over_budget);
        if (takes)
            place_return(&pool->record->retrying);
        return false;
    }
    *placed |= takes;
    return true;
}

bool attempt_is_cause(const struct config_pool *pool, unsigned cause)
{
    for (uint32_t i = 0; i < pool->retry.causes.count; i++)
        if (pool->retry.causes.list[i] == cause)
            return true;
    return false;
}

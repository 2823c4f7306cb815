#include "engine/outliers.h"

#include <stdlib.h>

#include "engine/process.h"

#define ENTER_TRIES 1000u /* a worker counts a pool's marks in less time than that many tries take */

/* What a server has done --------------------------------------------------------------------------------------- */

/* Since the start of the process. A response that is cut later counts twice, as one that came and one that failed. */
static struct outlier_sample sum_up(const struct server_process *process, const struct server_record *record)
{
    struct outlier_sample sum = { 0 };
    for (uint32_t w = 0; w < process->worker_count; w++) {
        const struct server_counters *counters = &record->counters[w];
        uint64_t responses = counter_get(&counters->responses);
        uint64_t without = counter_get(&counters->connect_failures) + counter_get(&counters->closed_early) +
                           counter_get(&counters->timeouts) + counter_get(&counters->malformed);
        sum.responses += responses;
        sum.requests += responses + without;
        sum.failures += without + counter_get(&counters->status_5xx);
        sum.latency_us_sum += counter_get(&counters->latency_us_sum);
    }
    return sum;
}

/* Since the last time; now is the last time. */
static struct outlier_sample take_gain(const struct server_process *process, struct server_record *record)
{
    struct outlier_sample now = sum_up(process, record), before = record->history.seen;
    record->history.seen = now;
    if (!record->history.begun) { /* its counters may be older than the judging */
        record->history.begun = true;
        return (struct outlier_sample){ 0 };
    }
    return (struct outlier_sample){ now.requests - before.requests, now.failures - before.failures, now.responses - before.responses,
                                    now.latency_us_sum - before.latency_us_sum };
}

/* Marking ------------------------------------------------------------------------------------------------------ */

static void tell(const struct server_record *record, const struct outlier_judgement *judgement, uint64_t for_ms)
{
    int length = (int)record->key.length;
    const char *name = record->key.at;
    unsigned long long ms = for_ms;
    if (judgement->verdict == OUTLIER_RATE)
        log_line(LOG_WARN, "server \"%.*s\" is marked for %llu ms: %.1f%% of its requests succeeded, %.1f%% would do beside the others",
                 length, name, ms, judgement->value * 100, judgement->bound * 100);
    else
        log_line(LOG_WARN, "server \"%.*s\" is marked for %llu ms: its first byte took %.1f ms, %.1f ms would do beside the others", length,
                 name, ms, judgement->value / 1000, judgement->bound / 1000);
}

static bool enter(struct health_pool *pool)
{
    for (unsigned i = 0; i < ENTER_TRIES; i++)
        if (health_pool_enter(pool))
            return true;
    return false;
}

/* The control thread has counters of its own: workers' are written by their workers only. */
static void mark(struct server_process *process, uint32_t p, uint32_t s, const struct outlier_judgement *judgement)
{
    struct generation *generation = process->generation;
    const struct config_pool *pool = &generation->config->pools[p];
    struct server_record *record = generation->records[p][s];
    struct server_counters *counters = &record->counters[process->worker_count];
    struct health_pool *shared = &generation->pool_records[p]->health;
    bool by_rate = judgement->verdict == OUTLIER_RATE;
    uint64_t for_ms = outlier_mark_ms(&pool->health.outlier, pool->health.backoff_ms_min, pool->health.backoff_ms_max, record->history.times);
    uint32_t marked = 0;
    if (!enter(shared))
        return; /* the next interval judges again */
    for (uint32_t i = 0; i < pool->server_count; i++)
        marked += health_has_mark(&generation->records[p][i]->health);
    bool may_mark = marked < health_marks_allowed(pool->server_count, pool->health.outlier.max_ejected);
    bool done = may_mark && health_judge(&record->health, by_rate ? SERVER_SUCCESS_RATE : SERVER_LATENCY, for_ms, process->loop.now_ms);
    health_pool_leave(shared);
    counter_add(&counters->marks_spared, !may_mark);
    if (!done)
        return;
    record->history.times++;
    counter_add(&counters->marks, 1);
    counter_add(by_rate ? &counters->marks_success_rate : &counters->marks_latency, 1);
    tell(record, judgement, for_ms);
}

/* Judging ------------------------------------------------------------------------------------------------------ */

static struct outlier_judgement *worst_of(struct outlier_judgement *judgements, uint32_t count)
{
    struct outlier_judgement *worst = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (judgements[i].verdict != OUTLIER_NONE && (!worst || judgements[i].badness > worst->badness))
            worst = &judgements[i];
    return worst;
}

struct bench {
    struct outlier_sample samples[UPSTREAM_SERVERS_MAX];
    struct outlier_judgement judgements[UPSTREAM_SERVERS_MAX];
    double scratch[UPSTREAM_SERVERS_MAX];
};

static void judge_pool(struct server_process *process, uint32_t p)
{
    const struct config_pool *pool = &process->generation->config->pools[p];
    struct server_record **records = process->generation->records[p];
    struct bench *bench = FAULT("outliers") ? NULL : malloc(sizeof *bench);
    if (!bench) {
        log_line(LOG_ERROR, "out of memory: the servers of pool \"%.*s\" are not compared", (int)pool->name.length, pool->name.at);
        return;
    }
    for (uint32_t s = 0; s < pool->server_count; s++)
        bench->samples[s] = take_gain(process, records[s]);
    outlier_judge(&pool->health.outlier, bench->samples, pool->server_count, bench->judgements, bench->scratch);
    for (uint32_t s = 0; s < pool->server_count; s++)
        if (bench->judgements[s].counted && bench->judgements[s].verdict == OUTLIER_NONE && records[s]->history.times > 0)
            records[s]->history.times--;
    for (struct outlier_judgement *worst; (worst = worst_of(bench->judgements, pool->server_count));) {
        mark(process, p, (uint32_t)(worst - bench->judgements), worst);
        worst->verdict = OUTLIER_NONE;
    }
    free(bench);
}

static void judging_fired(struct timer *timer, uint64_t now_ms);

static void schedule(struct server_process *process)
{
    const struct config *config = process->generation->config;
    uint64_t due_ms = UINT64_MAX;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        uint64_t own_ms = process->generation->pool_records[p]->judge_due_ms;
        due_ms = own_ms ? u64_min(due_ms, own_ms) : due_ms;
    }
    process->judging.fire = judging_fired;
    if (due_ms == UINT64_MAX)
        timer_cancel(&process->loop.wheel, &process->judging);
    else
        timer_set(&process->loop.wheel, &process->judging, due_ms);
}

static void judging_fired(struct timer *timer, uint64_t now_ms)
{
    struct server_process *process = CONTAINER_OF(timer, struct server_process, judging);
    const struct config *config = process->generation->config;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        struct pool_record *record = process->generation->pool_records[p];
        if (record->judge_due_ms == 0 || record->judge_due_ms > now_ms)
            continue;
        judge_pool(process, p);
        record->judge_due_ms = now_ms + config->pools[p].health.outlier.interval_ms;
    }
    schedule(process);
}

/* A pool that was compared before goes on; one that was not begins now. */
void outliers_adopt(struct server_process *process)
{
    const struct config *config = process->generation->config;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        const struct config_pool *pool = &config->pools[p];
        struct pool_record *record = process->generation->pool_records[p];
        bool judged = outlier_is_judged(&pool->health.outlier);
        uint64_t latest_ms = process->loop.now_ms + pool->health.outlier.interval_ms;
        for (uint32_t s = 0; s < pool->server_count; s++) {
            struct server_record *server = process->generation->records[p][s];
            server->history.begun &= judged;
            if (judged && !server->history.begun)
                (void)take_gain(process, server);
        }
        record->judge_due_ms = !judged ? 0 : record->judge_due_ms ? u64_min(record->judge_due_ms, latest_ms) : latest_ms;
    }
    schedule(process);
}

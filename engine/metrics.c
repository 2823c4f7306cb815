#include "engine/metrics.h"

#include <stdlib.h>

#include "engine/server.h"

struct metrics_job {
    struct letter letter;
    struct worker *worker;
    struct exchange *exchange; /* NULL: gone meanwhile */
    struct text text;
};

static void job_free(struct metrics_job *job)
{
    text_release(&job->text);
    free(job);
}

/* On the worker again. */
static void answer(struct letter *letter, struct loop *here)
{
    (void)here;
    struct metrics_job *job = CONTAINER_OF(letter, struct metrics_job, letter);
    struct exchange *x = job->exchange;
    if (!x) {
        job_free(job);
        return;
    }
    x->job = NULL;
    if (job->text.failed || job->text.length == 0)
        exchange_answer(x, 503, "no_memory", SLICE("The counters could not be gathered\n"));
    else {
        x->answer_memory = job->text.at;
        x->answer_owned = true;
        exchange_answer(x, 200, NULL, text_slice(&job->text));
        x->answer_type = SLICE("text/plain; version=0.0.4; charset=utf-8");
        job->text = (struct text){ 0 };
    }
    job_free(job);
    exchange_run(x);
}

/* On the control thread. */
static void gather(struct letter *letter, struct loop *here)
{
    struct metrics_job *job = CONTAINER_OF(letter, struct metrics_job, letter);
    struct stats_view view;
    if (server_stats(job->worker->process, &view) == ERR_OK) {
        stats_prometheus(&view, &job->text);
        server_stats_release(&view);
    }
    letter->deliver = answer;
    mailbox_send(here, &job->worker->loop, letter);
}

enum step_verdict metrics_serve(struct exchange *x)
{
    if (x->job)
        return STEP_WAIT;
    if (!slice_equal(x->request.path, SLICE("/metrics")))
        return exchange_answer(x, 404, "no_route", SLICE("Only /metrics is served here\n"));
    if (x->request.method != METHOD_GET && x->request.method != METHOD_HEAD)
        return exchange_answer(x, 405, "no_route", SLICE("Only GET and HEAD are served here\n"));
    x->job = FAULT("metrics") ? NULL : calloc(1, sizeof *x->job);
    if (!x->job)
        return exchange_short_of_memory(x);
    *x->job = (struct metrics_job){ .letter.deliver = gather, .worker = x->worker, .exchange = x };
    mailbox_send(&x->worker->loop, x->worker->control, &x->job->letter);
    return STEP_WAIT;
}

void metrics_forget(struct exchange *x)
{
    x->job->exchange = NULL;
    x->job = NULL;
}

/*
 * AWAIT and RELAY: the response comes back while the request's content still goes out.
 *
 * Both steps pump both directions each time they run: a client may go on sending while it already gets its answer, and an origin
 * may answer before it has read everything. A response that is complete before its request is ends the connections
 * of both sides (RFC 9112 9.3 and 9.6).
 */
#include "engine/back.h"
#include "engine/caching.h"
#include "engine/content.h"
#include "engine/exchange.h"
#include "engine/front.h"
#include "engine/splice.h"
#include "engine/sticky.h"

#define ROOM_FOR_HEAD 4u /* spans: a head, and content behind it */

static struct h1_limits request_limits(const struct exchange *x)
{
    const struct config_limits *limits = &x->view->config->limits;
    return (struct h1_limits){ limits->head_bytes_max, limits->target_bytes_max, limits->fields_max };
}

/* Origins may send larger heads than clients may: as large as a block. */
static const struct h1_limits response_limits = { BLOCK_BYTES, BLOCK_BYTES, FIELDS_CAP };

/* The request's content ---------------------------------------------------------------------------------------- */

static enum step_verdict request_refused(struct exchange *x, const struct content_move *move, enum content_verdict verdict)
{
    unsigned status = 503;
    const char *why = "no_memory", *text = "The proxy is short of memory\n";
    x->client_keep = false;
    if (verdict == CONTENT_BAD) {
        counter_add(&x->worker->stats->faults[move->fault], 1);
        status = codec_fault_status(move->fault);
        why = codec_fault_word(move->fault);
        text = codec_fault_sentence(move->fault);
    } else if (verdict == CONTENT_LARGE) {
        COUNT(x->worker, body_too_large);
        status = 413;
        why = "body_too_large";
        text = "The request's content is too large\n";
    } else
        COUNT(x->worker, no_memory);
    if (x->response_begun)
        return exchange_abort(x, why, true);
    exchange_release_origin(x, false);
    exchange_release_member(x, SERVER_UNTOLD);
    return exchange_answer(x, status, why, slice_of_text(text));
}

/* The client closed with content still due: the origin must see a cut request, not a short one. */
enum step_verdict exchange_request_cut(struct exchange *x)
{
    COUNT(x->worker, client_aborts);
    return exchange_abort(x, "client_aborts", true);
}

bool exchange_pump_request(struct exchange *x)
{
    if (unlikely(x->origin->deaf)) {
        exchange_end_request_splice(x);
        return true; /* its answer is awaited, or its end */
    }
    if (unlikely(splice_is_moving(x->request_splice)))
        return exchange_request_spliced(x);
    struct h1_limits limits = request_limits(x);
    struct content_move move = {
        .from = x->client, .to = x->origin, .body = &x->request_body, .limits = &limits,
        .progress = &x->client->client.progress, .edits = &x->route->request_edits,
        .chunked = x->request.framing == FRAMING_CHUNKED, .trailers = true, .moved = &x->request_content,
        .bytes_max = x->view->config->limits.body_bytes_max,
    };
    enum content_verdict verdict = content_move(&move);
    conn_flush(x->origin);
    switch (verdict) {
    case CONTENT_END:
        exchange_end_request_splice(x);
        x->request_done = true;
        exchange_await_answer(x);
        return true;
    case CONTENT_FULL:
        return true;
    case CONTENT_MORE:
        if (!x->client->ended) {
            conn_deadline(x->client, x->client_moved_ms + x->view->config->timeouts.body_ms);
            exchange_splice_request(x);
            return true;
        }
        exchange_request_cut(x);
        return false;
    default:
        request_refused(x, &move, verdict);
        return false;
    }
}

/* The response's head ------------------------------------------------------------------------------------------ */

static enum h1_verdict parse_head(struct exchange *x, struct response *response, enum codec_fault *fault)
{
    struct conn *origin = x->origin;
    for (;;) {
        struct slice run = queue_front(&origin->in);
        if (run.length == 0)
            return H1_MORE;
        enum h1_verdict verdict = h1_parse_response(response, x->request.method, run.at, run.length, &x->response_progress, &response_limits, fault);
        if (likely(verdict != H1_MORE))
            return verdict;
        enum err e = queue_gather(&origin->in, &x->worker->blocks);
        if (e == ERR_CUT)
            return H1_MORE;
        if (e != ERR_OK) {
            *fault = FAULT_HEAD_LARGE;
            return H1_BAD;
        }
    }
}

static void plan_response(struct exchange *x, const struct response *response, struct h1_response_plan *plan)
{
    bool old_client = x->request.version_minor == 0;
    *plan = (struct h1_response_plan){
        .framing = response->framing,
        .content_length = response->content_length,
        .send_content_length = response->framing == FRAMING_NONE && response->has_content_length,
        .client_minor = x->request.version_minor,
        .date = worker_date(x->worker),
    };
    if (response->framing == FRAMING_UNTIL_CLOSE || response->framing == FRAMING_CHUNKED)
        plan->framing = old_client ? FRAMING_UNTIL_CLOSE : FRAMING_CHUNKED;
    if (plan->framing == FRAMING_UNTIL_CLOSE || x->worker->draining)
        x->client_keep = false;
    plan->keep_alive = x->client_keep && x->request_done; /* an early answer: who knows whether the rest ever comes */
    x->client_keep = plan->keep_alive;
    x->chunked_out = plan->framing == FRAMING_CHUNKED;
}

/* Coders ------------------------------------------------------------------------------------------------------- */

/* Per worker, of memory: all of one coding, they are 900 of gzip, 680 of zstd or 220 of br. */
#define CODERS_BYTES_MAX (256u << 20)

void exchange_drop_coder(struct exchange *x)
{
    COUNT_BYTES(x->worker, compress_taken_bytes, content_coder_taken(x->coder));
    COUNT_BYTES(x->worker, compress_made_bytes, x->response_content);
    x->worker->coders_bytes -= content_coder_bytes(x->coder);
    content_coder_free(x->coder);
    x->coder = NULL;
}

static bool take_coder(struct exchange *x, enum coding coding)
{
    if (x->worker->coders_bytes + coder_bytes(coding) <= CODERS_BYTES_MAX)
        x->coder = content_coder_new(coding);
    if (!x->coder) {
        COUNT(x->worker, coders_refused);
        return false;
    }
    x->worker->coders_bytes += content_coder_bytes(x->coder);
    COUNT(x->worker, compressed);
    return true;
}

/* The answer to HEAD has no content, and says what GET's would say; a 304 says so in part. */
static void plan_coding(struct exchange *x, const struct response *response, struct h1_response_plan *plan)
{
    struct compress_choice choice = compress_choose(&x->route->compress, &x->request, response, &x->route->response_edits);
    plan->varies = choice.varies;
    if (choice.coding == CODING_IDENTITY)
        return;
    if (response->framing != FRAMING_NONE) {
        if (!take_coder(x, choice.coding))
            return;
        plan->framing = FRAMING_CHUNKED;
        x->chunked_out = true; /* nothing of it is spliced, too */
    }
    plan->send_content_length = false;
    plan->coding = choice.coding;
}

bool exchange_write_response(struct exchange *x, const struct response *response, const struct h1_response_plan *plan)
{
    struct h1_writer w;
    struct conn_room room;
    uint32_t need = (uint32_t)size_min(BLOCK_BYTES, response->head_bytes + 1280u);
    x->forwarding.edits = x->route->response_edits.count ? &x->route->response_edits : NULL;
    char cookie[STICKY_COOKIE_BYTES];
    x->forwarding.set_cookie = SLICE_NONE;
    if (unlikely(x->pool->config->sticky.cookie.length) && !response->interim && x->member->sticky_id != x->pick.sticky)
        x->forwarding.set_cookie = sticky_write(x->pool->config, x->member->sticky_id, front_is_secure(x->client), cookie);
    if (!conn_write_begin(x->client, need, &w, &room))
        return false;
    h1_write_response(&w, response, &x->request, &x->forwarding, plan);
    return conn_write_end(x->client, &w, &room);
}

void exchange_count_response(struct exchange *x, unsigned status)
{
    struct server_counters *counters = x->member->server->counters;
    counter_add(&counters->responses, 1);
    switch (status / 100) {
    case 2: counter_add(&counters->status_2xx, 1); break;
    case 3: counter_add(&counters->status_3xx, 1); break;
    case 4: counter_add(&counters->status_4xx, 1); break;
    case 5: counter_add(&counters->status_5xx, 1); break;
    default: counter_add(&counters->status_1xx, 1); break;
    }
    bool resumes = x->first_byte_ns < x->forwarded_ns; /* then its first byte was another's */
    uint64_t us = ((resumes ? x->worker->loop.now_ns : x->first_byte_ns) - x->forwarded_ns) / 1000;
    latency_record(counters->latency, &counters->latency_us_sum, us);
    if (unlikely(x->pool->config->hedge.percentile))
        hedge_record(&x->pool->share->hedge, us);
    upstream_answered(&x->pool->upstream, x->member, us, x->worker->loop.now_ms);
}

/* 1xx: passed on to clients that know them (RFC 9110 15.2); the real one follows. */
static enum step_verdict relay_interim(struct exchange *x, struct response *response)
{
    struct h1_response_plan plan = { .client_minor = x->request.version_minor };
    if (response->status == 101)
        return exchange_upgrade(x, response);
    if (x->request.version_minor > 0 && likely(!x->response_begun)) { /* nor between what is stored and the rest */
        if (!exchange_write_response(x, response, &plan))
            return exchange_short_of_memory(x);
        COUNT(x->worker, responses_1xx);
        conn_flush(x->client);
    }
    x->continued = x->continued || response->status == 100;
    counter_add(&x->member->server->counters->status_1xx, 1);
    conn_consume(x->origin, response->head_bytes);
    x->response_progress = (struct h1_progress){ 0 };
    return STEP_NEXT; /* AWAIT again */
}

/*
 * An origin that was asked whether it wants the content, and answers without saying so, may throw it away or take it for the next request
 * (RFC 9110 10.1.1): nobody's request shall come behind it.
 */
static bool content_was_read(const struct exchange *x)
{
    return likely(!x->request.expects_continue) || x->continued || x->request_content == 0;
}

static enum step_verdict begin_response(struct exchange *x, const struct response *response)
{
    struct h1_response_plan plan;
    exchange_count_response(x, response->status);
    if (unlikely(response->status >= 400) && exchange_retries_status(x, response->status))
        return STEP_NEXT;
    if (unlikely(x->caching != NULL) && caching_head(x, response))
        return STEP_NEXT;
    if (unlikely(!method_is_safe(x->request.method)) && cache_invalidates(&x->request, response->status))
        caching_invalidate(x, response);
    plan_response(x, response, &plan);
    if (unlikely(x->route->compress.codings.count))
        plan_coding(x, response, &plan);
    if (unlikely(x->caching != NULL)) {
        caching_begin(x, response, &plan);
        plan.cached = true;
        plan.cache_status = caching_status(x);
        if (x->caching->fetch && !x->caching->filling)
            return exchange_abort(x, NULL, false); /* it was only for the store */
    }
    if (unlikely(!exchange_write_response(x, response, &plan)))
        return exchange_short_of_memory(x);
    x->status = response->status;
    x->response_begun = true;
    x->origin_keep = response->keep_alive && response->framing != FRAMING_UNTIL_CLOSE && content_was_read(x) && !x->upgrading;
    conn_consume(x->origin, response->head_bytes);
    x->response_progress = (struct h1_progress){ 0 };
    h1_body_init(&x->response_body, response->framing, response->content_length);
    return exchange_go(x, STEP_RELAY);
}

static enum step_verdict origin_is_silent(struct exchange *x)
{
    if (x->origin->ended)
        return exchange_origin_failed(x, queue_empty(&x->origin->in) ? SERVER_CLOSED : SERVER_BAD, 0);
    conn_need_more(x->origin);
    return STEP_WAIT;
}

/*
 * On a kept connection, before the request has left: the rest of an earlier answer, or a server's farewell to an idle connection. Not to be
 * taken for the answer (RFC 9112 9.2).
 */
bool exchange_came_unasked(const struct exchange *x, const struct conn *origin, uint64_t forwarded_turn)
{
    return origin->origin.reused && forwarded_turn == x->worker->loop.turns;
}

enum step_verdict exchange_await(struct exchange *x)
{
    if (unlikely(!x->request_done) && !exchange_pump_request(x))
        return STEP_NEXT;
    if (unlikely(x->hedge.origin != NULL))
        exchange_hedge_look(x);
    if (x->first_byte_ns == 0 && !queue_empty(&x->origin->in)) {
        if (unlikely(exchange_came_unasked(x, x->origin, x->forwarded_turn)))
            return exchange_origin_failed(x, SERVER_CLOSED, 0);
        exchange_first_byte(x);
    }
    if (unlikely(conn_room(x->client) < ROOM_FOR_HEAD))
        return STEP_WAIT;
    if (queue_empty(&x->origin->in))
        return origin_is_silent(x);
    if (unlikely(splice_is_ending(x->request_splice)))
        return STEP_WAIT; /* the answer has overtaken the news that its request is through: it is no early one */
    enum codec_fault fault = FAULT_NONE;
    struct response *response = x->worker->response;
    enum h1_verdict verdict = parse_head(x, response, &fault);
    if (unlikely(verdict == H1_MORE))
        return origin_is_silent(x);
    if (unlikely(verdict == H1_BAD)) {
        counter_add(&x->worker->stats->origin_faults[fault], 1);
        return exchange_origin_failed(x, SERVER_BAD, 0);
    }
    if (unlikely(response->interim))
        return relay_interim(x, response);
    return begin_response(x, response);
}

/* RELAY -------------------------------------------------------------------------------------------------------- */

static enum step_verdict response_complete(struct exchange *x)
{
    exchange_end_response_splice(x); /* all of it came while that was being prepared */
    if (unlikely(x->caching != NULL && x->caching->skip)) { /* it was sent more than there is */
        COUNT(x->worker, response_cuts);
        return exchange_abort(x, "response_cuts", true);
    }
    x->response_done = true;
    if (unlikely(x->caching != NULL))
        caching_complete(x);
    conn_flush(x->client);
    exchange_release_member(x, exchange_status_outcome(x, x->status));
    return exchange_go(x, STEP_FINISH);
}

static enum step_verdict response_waits(struct exchange *x, struct content_move *move)
{
    uint64_t now_ms = x->worker->loop.now_ms;
    if (x->origin->ended) { /* what waits, if anything, is half a line of framing */
        if (!x->origin->cut && content_end_by_close(move))
            return response_complete(x);
        return exchange_origin_failed(x, SERVER_CLOSED, 0);
    }
    conn_deadline(x->origin, now_ms + x->pool->config->between_ms);
    exchange_splice_response(x);
    return STEP_WAIT;
}

/* What of it goes into the store, or was sent from it already. */
static void use_store(struct exchange *x, struct content_move *move)
{
    struct caching *c = x->caching;
    if (c->filling) {
        move->tee = caching_content;
        move->tee_argument = x;
    }
    if (c->skip)
        move->skip = &c->skip;
}

enum step_verdict exchange_relay(struct exchange *x)
{
    if (unlikely(!x->request_done) && !exchange_pump_request(x))
        return STEP_NEXT;
    if (unlikely(splice_is_moving(x->response_splice)))
        return exchange_response_spliced(x);
    struct content_move move = {
        .from = x->origin, .to = x->client, .body = &x->response_body, .limits = &response_limits,
        .progress = &x->response_progress, .edits = &x->route->response_edits,
        .chunked = x->chunked_out, .trailers = x->request.te_trailers || x->request.version_minor > 0,
        .moved = &x->response_content, .coder = x->coder,
    };
    if (unlikely(x->caching != NULL))
        use_store(x, &move);
    enum content_verdict verdict = content_move(&move);
    conn_flush(x->client);
    if (unlikely(x->caching != NULL))
        caching_grew(x);
    switch (verdict) {
    case CONTENT_END:
        return response_complete(x);
    case CONTENT_MORE:
        return response_waits(x, &move);
    case CONTENT_FULL:
        if (unlikely(x->caching != NULL) && caching_is_held_up(x) && caching_split(x))
            return STEP_NEXT;
        exchange_await_client(x);
        return STEP_WAIT;
    case CONTENT_BAD:
        counter_add(&x->worker->stats->origin_faults[move.fault], 1);
        return exchange_origin_failed(x, SERVER_BAD, 0);
    case CONTENT_LARGE:
    case CONTENT_MEMORY:
        break;
    }
    COUNT(x->worker, no_memory);
    return exchange_abort(x, "no_memory", true);
}

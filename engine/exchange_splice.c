/*
 * Content that is spliced, in both directions (splice.h): which may be, and what becomes of it.
 *
 * May be: content with a length and SPLICE_BYTES_MIN or more of it to go, framed the same on both sides, plain on both, and of no interest to anybody: not
 * stored, not coded. It begins when its source has nothing more for the moment, since then little is left to be copied first. What came
 * by copying and by the pipe is counted together: a request's content when it is taken from the client, for from then on it cannot be sent to another
 * server; a response's when it is given to the client.
 *
 * Receiving is held meanwhile at the source. So a client that leaves while its content waits for a slow origin is noticed later than otherwise, and what an origin
 * sends behind its content not at all: one look at the end stands for it (exchange_nothing_follows).
 */
#include <errno.h>
#include <sys/socket.h>

#include "engine/caching.h"
#include "engine/exchange.h"
#include "engine/splice.h"

/* May it be? ------------------------------------------------------------------------------------------------------ */

static bool is_worth_it(const struct h1_body *body)
{
    uint64_t left = h1_body_plain_left(body);
    return left >= SPLICE_BYTES_MIN && left != UINT64_MAX;
}

static bool are_plain(const struct exchange *x)
{
    return !x->client->tls && !x->origin->tls && !conn_is_sink(x->client);
}

static bool is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->ended && !conn->deaf && !conn->held;
}

static bool is_stored(const struct exchange *x)
{
    return x->caching && (x->caching->filling || x->caching->skip);
}

/* Goes on with what is begun: the kernel has let go of the source, and nothing waits to be sent. */
static void go_on(struct splice *splice, const struct h1_body *body)
{
    if (splice_settled(splice) && h1_body_plain_left(body) > 0)
        splice_start(splice, h1_body_plain_left(body));
}

void exchange_splice_request(struct exchange *x)
{
    if (x->request_copied)
        return;
    if (!x->request_splice) {
        if (!is_worth_it(&x->request_body) || !are_plain(x) || !is_open(x->client) || !conn_is_ready(x->origin))
            return;
        x->request_splice = splice_new(x->client, x->origin);
        x->request_copied = !x->request_splice;
    }
    if (x->request_splice)
        go_on(x->request_splice, &x->request_body);
}

void exchange_splice_response(struct exchange *x)
{
    if (x->response_copied)
        return;
    if (!x->response_splice) {
        if (!is_worth_it(&x->response_body) || x->chunked_out || !are_plain(x) || !is_open(x->origin) || x->client->deaf || is_stored(x))
            return;
        x->response_splice = splice_new(x->origin, x->client);
        x->response_copied = !x->response_splice;
    }
    if (x->response_splice)
        go_on(x->response_splice, &x->response_body);
}

/* Ends ------------------------------------------------------------------------------------------------------------ */

static void end(struct splice **at)
{
    struct splice *splice = *at;
    if (likely(!splice))
        return;
    struct conn *from = splice->from;
    *at = NULL;
    splice_free(splice);
    conn_release_hold(from);
}

void exchange_end_request_splice(struct exchange *x)
{
    end(&x->request_splice);
}

void exchange_end_response_splice(struct exchange *x)
{
    end(&x->response_splice);
}

void exchange_drop_splices(struct exchange *x)
{
    if (unlikely(x->request_splice != NULL))
        end(&x->request_splice);
    if (unlikely(x->response_splice != NULL)) {
        splice_free(x->response_splice);
        x->response_splice = NULL;
    }
}

/* A request's ----------------------------------------------------------------------------------------------------- */

/* The origin takes nothing more: it may have answered, though, and the answer be on its way. */
static bool origin_refuses(struct exchange *x, int error)
{
    exchange_end_request_splice(x);
    x->origin->deaf = true;
    if (conn_may_bring(x->origin) || !queue_empty(&x->origin->in))
        return true;
    exchange_origin_failed(x, SERVER_CLOSED, error);
    return false;
}

static bool request_through(struct exchange *x)
{
    exchange_end_request_splice(x);
    x->request_done = true;
    exchange_await_answer(x);
    return true;
}

bool exchange_request_spliced(struct exchange *x)
{
    struct splice *splice = x->request_splice;
    if (splice->took) {
        h1_body_skip(&x->request_body, splice->took);
        x->request_content += splice->took;
        x->client_moved_ms = x->worker->loop.now_ms;
    }
    splice->took = splice->gave = 0;
    switch ((enum splice_state)splice->state) {
    case SPLICE_WHOLE: return request_through(x);
    case SPLICE_REFUSED: return origin_refuses(x, splice->error);
    case SPLICE_ENDED:
    case SPLICE_CUT: exchange_request_cut(x); return false;
    case SPLICE_STARVED:
        x->request_copied = true;
        exchange_end_request_splice(x);
        return true;
    default: break;
    }
    if (!splice_waits_for_sink(splice))
        conn_deadline(x->client, x->client_moved_ms + x->view->config->timeouts.body_ms);
    return true;
}

/* A response's ---------------------------------------------------------------------------------------------------- */

bool exchange_nothing_follows(const struct conn *origin)
{
    char byte;
    return recv(origin->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static enum step_verdict client_lost(struct exchange *x)
{
    COUNT(x->worker, client_aborts);
    return exchange_abort(x, "client_aborts", true);
}

static enum step_verdict response_waits(struct exchange *x)
{
    if (splice_waits_for_sink(x->response_splice))
        exchange_await_client(x);
    else
        conn_deadline(x->origin, x->worker->loop.now_ms + x->pool->config->between_ms);
    return STEP_WAIT;
}

enum step_verdict exchange_response_spliced(struct exchange *x)
{
    struct splice *splice = x->response_splice;
    if (splice->gave) {
        h1_body_skip(&x->response_body, splice->gave);
        x->response_content += splice->gave;
        x->client_moved_ms = x->worker->loop.now_ms;
    }
    splice->took = splice->gave = 0;
    switch ((enum splice_state)splice->state) {
    case SPLICE_WHOLE:
        x->origin_keep = x->origin_keep && exchange_nothing_follows(x->origin);
        exchange_end_response_splice(x);
        return STEP_NEXT; /* RELAY finds the end of the content */
    case SPLICE_REFUSED: return client_lost(x);
    case SPLICE_ENDED: return exchange_origin_failed(x, SERVER_CLOSED, 0);
    case SPLICE_CUT: return exchange_origin_failed(x, SERVER_CLOSED, splice->error);
    case SPLICE_STARVED:
        x->response_copied = true;
        exchange_end_response_splice(x);
        return STEP_NEXT;
    default: return response_waits(x);
    }
}

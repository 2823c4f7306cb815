/*
 * ADMIT: a request on a forward-proxy listener. Who may use it is said before what may be reached, so that nobody learns of rules who has no business here.
 *
 * A CONNECT that is refused ends the connection: what follows it was meant for a tunnel and must not be read as a request.
 */
#include "engine/forward.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/caching.h"
#include "engine/front.h"
#include "proto/address_text.h"
#include "proto/uri.h"

#define PAGE_BYTES 700u

/* Answers ------------------------------------------------------------------------------------------------------ */

enum step_verdict forward_refuse(struct exchange *x, unsigned status, const char *why, const char *format, ...)
{
    char *room = arena_take(&x->arena, PAGE_BYTES);
    va_list list;
    va_start(list, format);
    int length = room ? vsnprintf(room, PAGE_BYTES, format, list) : 0;
    va_end(list);
    return exchange_answer(x, status, why,
                           length > 0 ? slice_of(room, size_min((size_t)length, PAGE_BYTES - 1)) : SLICE("Refused\n"));
}

enum step_verdict forward_forbid(struct exchange *x, enum forward_verdict verdict)
{
    struct slice host = x->request.host;
    struct worker_stats *stats = x->worker->stats;
    const char *sentence = forward_verdict_sentence(verdict);
    const char *why = "forward_denied";
    switch (verdict) {
    case FORWARD_NOT_ALLOWED: why = "forward_not_allowed", counter_add(&stats->forward_not_allowed, 1); break;
    case FORWARD_PORT: why = "forward_port", counter_add(&stats->forward_port, 1); break;
    case FORWARD_PRIVATE: why = "forward_private", counter_add(&stats->forward_private, 1); break;
    case FORWARD_BAD_HOST: why = "forward_bad_host", counter_add(&stats->forward_bad_host, 1); break;
    default: counter_add(&stats->forward_denied, 1); break;
    }
    return forward_refuse(x, verdict == FORWARD_BAD_HOST ? 400 : 403, why, "%.*s, port %u: %s\n",
                          (int)size_min(host.length, 255), host.at, x->forward ? x->forward->port : 0u, sentence);
}

/* Whoever has ended, and has sent nothing for a tunnel, has no use for one; a plain request still gets its answer. */
enum step_verdict forward_wait(struct exchange *x)
{
    if (!x->client->ended || !queue_empty(&x->client->in) || x->request.method != METHOD_CONNECT)
        return STEP_WAIT;
    names_leave(&x->forward->name);
    verifier_leave(&x->forward->verifier);
    COUNT(x->worker, client_aborts);
    return exchange_abort(x, "client_aborts", false);
}

/* The target --------------------------------------------------------------------------------------------------- */

static enum step_verdict refuse_target(struct exchange *x, unsigned status, const char *sentence)
{
    COUNT(x->worker, forward_target);
    return forward_refuse(x, status, "forward_target", "%s\n", sentence);
}

/* What no forward proxy takes. True: it is refused. */
static bool refuses_form(struct exchange *x)
{
    const struct request *request = &x->request;
    if (request->method == METHOD_CONNECT) {
        x->client_keep = false; /* whatever comes of it */
        if (request->framing == FRAMING_NONE || (request->framing == FRAMING_LENGTH && request->content_length == 0))
            return false;
        refuse_target(x, 400, "CONNECT has no content"); /* RFC 9110 9.3.6 */
        return true;
    }
    if (request->form != TARGET_ABSOLUTE)
        refuse_target(
            x, 400,
            "This is a forward proxy: the request line must name the site, as in GET http://example.com/ HTTP/1.1");
    else if (request->target.length > 5 && slice_equal_nocase(slice_of(request->target.at, 6), SLICE("https:")))
        refuse_target(x, 501, "https:// is asked for with CONNECT, so that nobody on the way can read it");
    else
        return false;
    return true;
}

bool forward_read_target(struct forward *forward, const struct request *request)
{
    struct slice host;
    bool connect = request->method == METHOD_CONNECT;
    if (uri_authority_split(request->authority, &host, &forward->port) != ERR_OK || (connect && forward->port == 0))
        return false;
    if (forward->port == 0)
        forward->port = 80;
    return forward_host_read(host, &forward->host);
}

/* Who ---------------------------------------------------------------------------------------------------------- */

/* Whoever comes by a unix socket is ::. */
static void address_of(const struct exchange *x, uint8_t address[16])
{
    struct slice text = x->forwarding.client_address;
    memset(address, 0, 16);
    if (!address_text_read_v4(text, address) && !address_text_read_v6(text, address))
        memset(address, 0, 16);
}

static bool is_client(const struct exchange *x)
{
    const struct config_forward *forward = &x->view->config->forward;
    uint8_t address[16];
    address_of(x, address);
    return network_is_among(address, forward->clients, forward->client_count);
}

static void verified(struct verifier_wait *wait, enum verified verdict)
{
    struct forward *forward = CONTAINER_OF(wait, struct forward, verifier);
    forward->verified = verdict;
    exchange_run(forward->exchange);
}

static struct verifier_side *verifier_of(struct worker *worker)
{
    struct forward_side *side = worker->forward;
    struct verifier *verifier = atomic_load_explicit(&worker->shared->verifier, memory_order_acquire);
    if (!side->verifier && verifier)
        side->verifier = verifier_side_new(verifier, &worker->loop);
    return side->verifier;
}

/* VERIFIED_NO also for no credentials at all, and for what is none. */
static enum verified verify(struct exchange *x)
{
    struct forward *forward = x->forward;
    const struct field *field = fields_find(&x->request.fields, FIELD_PROXY_AUTHORIZATION);
    char room[BASIC_AUTH_BYTES];
    struct slice user, password;
    uint8_t address[16];
    if (!field || basic_auth_read(field_value(field), room, &user, &password) != ERR_OK)
        return VERIFIED_NO;
    forward->user_length = (uint32_t)user.length;
    memcpy(forward->user, user.at, user.length);
    address_of(x, address);
    struct verifier_side *side = verifier_of(x->worker);
    forward->verifier.answered = verified;
    enum verified verdict =
        side ? verifier_ask(side, x->view->generation->users, user, password, address, &forward->verifier)
             : VERIFIED_BUSY;
    explicit_bzero(room, sizeof room);
    return verdict;
}

static enum step_verdict challenge(struct exchange *x)
{
    COUNT(x->worker, forward_unknown);
    if (fields_have(&x->request.fields, FIELD_PROXY_AUTHORIZATION))
        COUNT(x->worker, forward_wrong);
    x->forward->user_length = 0; /* whoever said so has not shown it */
    return forward_refuse(x, 407, "forward_unknown", "This proxy asks for a user name and a password\n");
}

/* True: he is known, or nobody is asked. Else the verdict is *verdict. */
static bool is_known(struct exchange *x, enum step_verdict *verdict)
{
    struct forward *forward = x->forward;
    if (!x->view->generation->users)
        return true;
    if (!forward->asked) {
        forward->asked = true;
        forward->verified = verify(x);
    }
    switch (forward->verified) {
    case VERIFIED_YES: return true;
    case VERIFIED_WAIT: *verdict = forward_wait(x); return false;
    case VERIFIED_NO: *verdict = challenge(x); return false;
    default:
        COUNT(x->worker, forward_busy);
        *verdict = exchange_answer(x, 503, "forward_busy", SLICE("Too many passwords are being looked at\n"));
        return false;
    }
}

static bool takes_place(struct exchange *x)
{
    struct forward *forward = x->forward;
    uint32_t most = x->view->config->forward.per_user;
    char key[PLACES_KEY_BYTES];
    if (most == 0 || forward->place)
        return true;
    struct slice who =
        x->view->generation->users ? slice_of(forward->user, forward->user_length) : x->forwarding.client_address;
    key[0] = x->view->generation->users ? 'u' : 'a'; /* a user may be called like an address */
    memcpy(key + 1, who.at, who.length);
    forward->place = forward_place_take(&x->worker->shared->places, slice_of(key, who.length + 1), most);
    return forward->place != NULL;
}
_Static_assert(BASIC_AUTH_USER_MAX + 1 <= PLACES_KEY_BYTES, "a user is counted by his whole name");

/* ADMIT -------------------------------------------------------------------------------------------------------- */

/* Sites learn nothing of the client, unless they are to. */
static void hide_client(struct exchange *x)
{
    x->route = &x->view->config->forward.route;
    x->pool = &x->view->forward;
    if (x->view->config->forward.forwarded)
        return;
    struct fields *fields = &x->request.fields;
    for (unsigned i = 0; fields_have(fields, FIELD_VIA) && i < fields->count; i++)
        if (fields->list[i].id == FIELD_VIA)
            fields->list[i].flags |= FIELD_HOP_BY_HOP; /* of proxies inside (RFC 9110 7.6.3) */
    x->forwarding.via = SLICE_NONE;
    x->forwarding.forwarded_x = x->forwarding.forwarded_rfc7239 = x->forwarding.client_trusted = false;
    x->forwarding.client_verify = SLICE_NONE;
}

bool forward_speaks_for_connection(const struct request *request)
{
    static const char *const others[] = { "Basic ", "Bearer ", "Digest " };
    const struct field *field = fields_find(&request->fields, FIELD_AUTHORIZATION);
    for (size_t i = 0; field && i < ARRAY_LENGTH(others); i++) {
        struct slice value = field_value(field), scheme = slice_of_text(others[i]);
        if (value.length >= scheme.length && slice_equal_nocase(slice_of(value.at, scheme.length), scheme))
            return false;
    }
    return field != NULL;
}

/* False: x->step says what happens instead. */
static bool begin(struct exchange *x)
{
    const struct config_forward *config = &x->view->config->forward;
    if (!config->on) { /* a reload took it out, and this client's connection is still there */
        refuse_target(x, 404, "There is no forward proxy here any more");
        return false;
    }
    COUNT(x->worker, forward_requests);
    if (x->request.method == METHOD_CONNECT)
        COUNT(x->worker, forward_connects);
    x->forward = forward_new(x);
    if (!x->forward) {
        exchange_short_of_memory(x);
        return false;
    }
    x->forwarding.hsts = SLICE_NONE;
    x->forwarding.scheme = SLICE("http"); /* of the target, however the client has come */
    x->fresh_only = x->forward->alone = forward_speaks_for_connection(&x->request);
    hide_client(x);
    if (refuses_form(x))
        return false;
    if (!is_client(x)) {
        COUNT(x->worker, forward_client);
        forward_refuse(x, 403, "forward_client", "Clients of this network may not use this proxy\n");
        return false;
    }
    return true;
}

static enum step_verdict go_on(struct exchange *x)
{
    if (x->request.method == METHOD_CONNECT) {
        x->fresh_only = true;
        return exchange_go(x, STEP_SELECT);
    }
    if (!codec_count_forwards(&x->request))
        return exchange_answer(x, 204, NULL, SLICE_NONE);
    if (x->request.upgrade && !exchange_plan_upgrade(x))
        return STEP_NEXT;
    return exchange_go(x, caching_is_on(x) ? STEP_LOOKUP : STEP_SELECT);
}

enum step_verdict exchange_admit(struct exchange *x)
{
    const struct config_forward *config = &x->view->config->forward;
    enum step_verdict verdict = STEP_NEXT;
    bool connect = x->request.method == METHOD_CONNECT;
    if (!x->forward && !begin(x))
        return STEP_NEXT;
    if (!is_known(x, &verdict))
        return verdict;
    if (!forward_read_target(x->forward, &x->request))
        return forward_forbid(x, FORWARD_BAD_HOST);
    enum forward_verdict forward = forward_decide(&config->policy, x->request.host, x->forward->port, connect);
    if (forward != FORWARD_ALLOWED)
        return forward_forbid(x, forward);
    if (!takes_place(x)) {
        COUNT(x->worker, forward_limited);
        return forward_refuse(x, 429, "forward_limited", "More than %u requests and tunnels at once are not allowed\n",
                              config->per_user);
    }
    return go_on(x);
}

/* Life --------------------------------------------------------------------------------------------------------- */

static struct forward_side *side_new(struct worker *worker)
{
    struct forward_side *side = FAULT("forward") ? NULL : calloc(1, sizeof *side);
    if (!side)
        return NULL;
    slab_init(&side->requests, sizeof(struct forward), WORKER_EXCHANGES);
    side->names = names_new(worker);
    side->destinations = destinations_new(worker);
    if (side->names && side->destinations)
        return side;
    forward_side_free(side);
    return NULL;
}

struct forward *forward_new(struct exchange *x)
{
    struct worker *worker = x->worker;
    if (!worker->forward)
        worker->forward = side_new(worker);
    struct forward *forward = worker->forward ? slab_take(&worker->forward->requests) : NULL;
    if (!forward)
        return NULL;
    memset(forward, 0, sizeof *forward);
    forward->exchange = x;
    return forward;
}

void forward_free(struct forward *forward)
{
    struct worker *worker = forward->exchange->worker;
    names_leave(&forward->name);
    verifier_leave(&forward->verifier);
    timer_cancel(&worker->loop.wheel, &forward->patience);
    if (forward->place)
        forward_place_return(&worker->shared->places, forward->place);
    if (forward->destination)
        destination_unref(forward->destination);
    slab_return(&worker->forward->requests, forward);
}

void forward_side_adopt(struct forward_side *side)
{
    if (side)
        destinations_adopt(side->destinations);
}

void forward_side_close(struct forward_side *side)
{
    if (side)
        destinations_close(side->destinations);
}

bool forward_side_quiet(const struct forward_side *side)
{
    return !side || verifier_side_quiet(side->verifier);
}

void forward_side_free(struct forward_side *side)
{
    if (!side)
        return;
    names_free(side->names);
    destinations_free(side->destinations);
    verifier_side_free(side->verifier);
    slab_release(&side->requests);
    free(side);
}

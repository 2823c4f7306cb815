/*
 * What a request changes is taken out of the store (RFC 9111 4.4): when an unsafe method was answered without error, all that is stored for its
 * URI, and for what Location and Content-Location name, if that is of the same origin; also where the request's own route has no cache, but another's
 * GET has. And PURGE, from addresses that may: the engine answers it, and no origin sees it.
 */
#include <stdlib.h>

#include "engine/caching.h"
#include "engine/front.h"
#include "proto/address_text.h"
#include "proto/uri.h"

/* PURGE -------------------------------------------------------------------------------------------------------- */

/* By the address that stands for the client: also the one that a PROXY header named. */
bool caching_may_purge(const struct exchange *x)
{
    const struct config *config = x->view->config;
    uint8_t address[16];
    struct slice text = x->forwarding.client_address;
    if (config->cache.purge_from_count == 0 || !slice_equal(x->request.method_token, SLICE("PURGE")))
        return false;
    return (address_text_read_v4(text, address) || address_text_read_v6(text, address)) &&
           front_may_purge(config, address);
}

enum step_verdict caching_purge(struct exchange *x)
{
    struct caching *c = x->caching;
    c->purged = true;
    return caching_forget_and_answer(x, slice_of(c->key.text.at, c->key.url_length));
}

/* Unsafe methods ------------------------------------------------------------------------------------------------ */

/* "scheme://authority" off the front of *rest; false: another origin's, or not to be understood. What has none is the request's own. */
static bool take_origin(const struct exchange *x, struct slice *rest, struct request *named)
{
    bool http = rest->length >= 7 && slice_equal_nocase(slice_of(rest->at, 7), SLICE("http://"));
    bool https = rest->length >= 8 && slice_equal_nocase(slice_of(rest->at, 8), SLICE("https://"));
    size_t from = http ? 7 : https ? 8 : slice_starts(*rest, SLICE("//")) ? 2 : 0;
    uint16_t port;
    if ((http || https) && slice_equal(x->forwarding.scheme, SLICE("https")) != https)
        return false;
    if (from == 0)
        return true;
    size_t end = from;
    while (end < rest->length && rest->at[end] != '/' && rest->at[end] != '?')
        end++;
    named->authority = slice_of(rest->at + from, end - from);
    *rest = slice_of(rest->at + end, rest->length - end);
    return uri_authority_split(named->authority, &named->host, &port) == ERR_OK;
}

/* RFC 3986 5.2: against the path of the request. */
static bool join_path(const struct exchange *x, struct slice path, struct h1_writer *w)
{
    struct slice base = x->request.path;
    size_t keep = base.length;
    if (path.length == 0)
        h1_put(w, base);
    else {
        while (path.at[0] != '/' && keep > 0 && base.at[keep - 1] != '/')
            keep--;
        if (path.at[0] != '/')
            h1_put(w, slice_of(base.at, keep));
        h1_put(w, path);
    }
    return !w->overflow;
}

#define ROOM_BYTES (CACHE_KEY_BYTES_MAX * 4u)
#define URLS_KNOWN 8u

/* Where the texts of a reference are put together. */
struct reference {
    struct request named;
    char joined[ROOM_BYTES], path[ROOM_BYTES], query[ROOM_BYTES];
};

static bool name_target(const struct exchange *x, struct slice value, struct reference *reference)
{
    struct request *named = &reference->named;
    const char *hash = value.length ? memchr(value.at, '#', value.length) : NULL;
    struct slice rest = hash ? slice_of(value.at, (size_t)(hash - value.at)) : value;
    memcpy(named, &x->request, offsetof(struct request, fields));
    named->fields.count = 0;
    named->fields.present = 0;
    if (rest.length == 0 || !take_origin(x, &rest, named))
        return false;
    const char *mark = rest.length ? memchr(rest.at, '?', rest.length) : NULL;
    struct slice path = mark ? slice_of(rest.at, (size_t)(mark - rest.at)) : rest;
    struct slice query = mark ? slice_of(mark + 1, rest.length - path.length - 1) : SLICE_NONE;
    struct h1_writer w = h1_writer_of(reference->joined, ROOM_BYTES);
    if (path.length == 0 && named->authority.at != x->request.authority.at)
        path = SLICE("/");
    if (!join_path(x, path, &w))
        return false;
    struct slice joined = slice_of(reference->joined, (size_t)(w.at - reference->joined));
    if (uri_path_canonicalise(joined, reference->path, ROOM_BYTES, &named->path) != ERR_OK)
        return false;
    named->query = query;
    return !query.at || uri_query_canonicalise(query, reference->query, ROOM_BYTES, &named->query) == ERR_OK;
}

static bool is_known(const uint64_t hashes[URLS_KNOWN], uint32_t count, uint64_t hash)
{
    for (uint32_t i = 0; i < count && i < URLS_KNOWN; i++)
        if (hashes[i] == hash)
            return true;
    return false;
}

/* A GET for that, with whatever fields, may come to this route and be stored there. */
static bool may_store(const struct route *route, const struct request *request)
{
    const struct field_condition *condition;
    if (!route->cache.on)
        return false;
    enum route_verdict verdict = route_verdict_of(route, request, &condition);
    return verdict == ROUTE_TAKES || verdict == ROUTE_FIELD;
}

/*
 * The URL of a request whose method is GET, as the keys of all routes, and of the forward proxy, have it that may have stored something for it: they differ in what they make of the query.
 * origin: only if it is that one's; none: any.
 */
static void forget_url(struct exchange *x, const struct request *request, struct slice origin,
                       char room[CACHE_KEY_BYTES_MAX])
{
    const struct config *config = x->view->config;
    const struct homes *homes = x->worker->shared->homes;
    struct cache_key_context context = { .scheme = x->forwarding.scheme, .seed = { homes->seed[0], homes->seed[1] } };
    struct cache_key key;
    uint64_t hashes[URLS_KNOWN];
    uint32_t count = 0;
    for (uint32_t i = 0; i <= config->route_count; i++) {
        const struct route *route = i < config->route_count ? &config->routes[i] : &config->forward.route;
        if (!may_store(route, request) ||
            cache_key_make(&route->cache, request, &context, room, CACHE_KEY_BYTES_MAX, &key) != ERR_OK ||
            (origin.length && !slice_equal(key.authority, origin)) || is_known(hashes, count, key.url_hash))
            continue;
        hashes[count++ % URLS_KNOWN] = key.url_hash;
        caching_forget(x, slice_of(key.text.at, key.url_length));
    }
}

/* What the key of the request says of its origin. */
static bool own_origin(struct exchange *x, char room[CACHE_KEY_BYTES_MAX], struct slice *origin)
{
    static const struct cache_rule any = { .on = true };
    struct cache_key_context context = { .scheme = x->forwarding.scheme };
    struct cache_key key;
    if (cache_key_make(&any, &x->request, &context, room, CACHE_KEY_BYTES_MAX, &key) != ERR_OK)
        return false;
    *origin = key.authority;
    return true;
}

static void forget_references(struct exchange *x, const struct response *response, char room[CACHE_KEY_BYTES_MAX])
{
    char own[CACHE_KEY_BYTES_MAX];
    struct slice origin;
    struct reference *reference = FAULT("reference") ? NULL : malloc(sizeof *reference);
    bool known = reference && own_origin(x, own, &origin);
    for (unsigned i = 0; known && i < response->fields.count; i++) {
        const struct field *field = &response->fields.list[i];
        if ((field->id == FIELD_LOCATION || field->id == FIELD_CONTENT_LOCATION) &&
            name_target(x, field_value(field), reference))
            forget_url(x, &reference->named, origin, room);
    }
    free(reference);
}

/* Routes are looked at as a GET would find them: the request is one meanwhile. */
void caching_invalidate(struct exchange *x, const struct response *response)
{
    struct request *request = &x->request;
    enum method method = request->method;
    struct slice token = request->method_token;
    char room[CACHE_KEY_BYTES_MAX];
    if (!x->worker->shared->homes)
        return;
    request->method = METHOD_GET;
    request->method_token = SLICE("GET");
    forget_url(x, request, SLICE_NONE, room);
    if (fields_have(&response->fields, FIELD_LOCATION) || fields_have(&response->fields, FIELD_CONTENT_LOCATION))
        forget_references(x, response, room);
    request->method = method;
    request->method_token = token;
}

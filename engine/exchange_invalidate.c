/*
 * What a request changes is taken out of the store (RFC 9111 4.4): when an unsafe method was answered without error, all that is stored for its
 * URI, and for what Location and Content-Location name, if that is of the same origin. And PURGE, from addresses that may: the engine answers
 * it, and no origin sees it.
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

/* Where the texts of a reference are put together. */
struct reference {
    struct request named;
    char joined[ROOM_BYTES], path[ROOM_BYTES], query[ROOM_BYTES], key[CACHE_KEY_BYTES_MAX];
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

static void forget_reference(struct exchange *x, struct slice value, struct reference *reference)
{
    const struct caching *c = x->caching;
    const struct homes *homes = x->worker->shared->homes;
    struct cache_key_context context = { .scheme = x->forwarding.scheme,
                                         .pool = x->pool->record->name,
                                         .seed = { homes->seed[0], homes->seed[1] } };
    struct cache_key key;
    if (!name_target(x, value, reference) ||
        cache_key_make(c->rule, &reference->named, &context, reference->key, sizeof reference->key, &key) != ERR_OK ||
        !slice_equal(key.authority, c->key.authority))
        return;
    caching_forget(x, slice_of(key.text.at, key.url_length));
}

void caching_invalidate(struct exchange *x, const struct response *response)
{
    const struct caching *c = x->caching;
    if (c->key.text.length == 0)
        return;
    caching_forget(x, slice_of(c->key.text.at, c->key.url_length));
    if (!fields_have(&response->fields, FIELD_LOCATION) && !fields_have(&response->fields, FIELD_CONTENT_LOCATION))
        return;
    struct reference *reference = FAULT("reference") ? NULL : malloc(sizeof *reference);
    for (unsigned i = 0; reference && i < response->fields.count; i++) {
        const struct field *field = &response->fields.list[i];
        if (field->id == FIELD_LOCATION || field->id == FIELD_CONTENT_LOCATION)
            forget_reference(x, field_value(field), reference);
    }
    free(reference);
}

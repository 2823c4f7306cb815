/*
 * Keys: a byte for the rule, a request head, then a line for Vary and one for Content-Encoding of its response. A key has as many lines as the rule has parts,
 * is the same when asked again with what it says, fits in exactly its length, and a request selects what was stored for it.
 */
#include <stdlib.h>

#include "cache/key.h"
#include "engine/base/check.h"
#include "proto/h1_parse.h"
#include "proto/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cache_key_part parts[] = {
    { .kind = CACHE_KEY_QUERY },
    { .kind = CACHE_KEY_HEADER, .id = FIELD_OTHER, .name = SLICE("x-tenant") },
    { .kind = CACHE_KEY_COOKIE, .name = SLICE("lang") },
    { .kind = CACHE_KEY_PARAM, .name = SLICE("id") },
    { .kind = CACHE_KEY_PARAM, .name = SLICE("page_no") },
    { .kind = CACHE_KEY_HEADER, .id = FIELD_ACCEPT, .name = SLICE("accept") },
};
static const struct slice ignored[] = { SLICE("utm_*"), SLICE("*id") }, unvaried[] = { SLICE("user-agent") };
static const struct cache_rule rules[] = {
    { .key = parts, .key_count = 1 },
    { .key = parts, .key_count = 3, .ignore_query = ignored, .ignore_query_count = 2 },
    { .key = parts + 1, .key_count = 5, .ignore_vary = unvaried, .ignore_vary_count = 1 },
    { .key = parts, .key_count = 6, .ignore_query = ignored, .ignore_query_count = 2 },
};
static const struct h1_limits limits = { 16384, 8192, 100 };
static struct request request;
static struct response response;
static struct block_pool pool;

static unsigned lines_in(struct slice text)
{
    unsigned count = 0;
    for (size_t i = 0; i < text.length; i++)
        count += text.at[i] == '\n';
    return count;
}

static unsigned trusted_lines(const struct cache_key_context *context)
{
    static const enum field_id ids[] = { FIELD_X_FORWARDED_PROTO, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PORT, FIELD_FORWARDED };
    unsigned count = 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(ids) && context->client_trusted; i++)
        count += fields_have(&request.fields, ids[i]);
    return count;
}

/* What goes to an origin by the key's word has the same key. */
static void is_the_same_again(const struct cache_rule *rule, const struct cache_key_context *context, const struct cache_key *key)
{
    static char room[CACHE_KEY_BYTES_MAX];
    static struct request forwarded;
    struct cache_key again;
    uint16_t port;
    forwarded = request;
    forwarded.method = METHOD_HEAD;
    forwarded.authority = key->authority;
    if (uri_authority_split(forwarded.authority, &forwarded.host, &port) != ERR_OK || forwarded.host.at[forwarded.host.length - 1] == '.')
        return;
    MUST(cache_key_make(rule, &forwarded, context, room, key->text.length, &again) == ERR_OK);
    MUST(slice_equal(again.text, key->text) && again.url_hash == key->url_hash && again.url_length == key->url_length);
    MUST(cache_key_make(rule, &forwarded, context, room, key->text.length - 1, &again) == ERR_CAP);
}

static void look_at_key(const struct cache_rule *rule, const struct cache_key_context *context)
{
    static char room[CACHE_KEY_BYTES_MAX];
    struct cache_key key;
    enum err e = cache_key_make(rule, &request, context, room, sizeof room, &key);
    MUST(e == ERR_OK || e == ERR_CAP || (e == ERR_SYNTAX && request.host.length == 0));
    if (e != ERR_OK)
        return;
    MUST(lines_in(slice_of(key.text.at, key.url_length)) == 4);
    MUST(lines_in(key.text) == 6 + rule->key_count + trusted_lines(context));
    for (size_t i = 0; i < key.authority.length; i++)
        MUST(key.authority.at[i] < 'A' || key.authority.at[i] > 'Z');
    is_the_same_again(rule, context, &key);
}

static struct slice next_line(struct slice *rest)
{
    const char *end = rest->length ? memchr(rest->at, '\n', rest->length) : NULL;
    struct slice line = end ? slice_of(rest->at, (size_t)(end - rest->at)) : *rest;
    size_t used = end ? line.length + 1 : line.length;
    *rest = slice_of(rest->at + used, rest->length - used);
    return line;
}

static void look_at_vary(const struct cache_rule *rule, struct slice rest)
{
    static char room[CACHE_VARY_BYTES_MAX];
    static struct request other;
    struct slice vary, names = next_line(&rest), coding = next_line(&rest);
    response.fields.count = 0;
    response.fields.present = 0;
    MUST(fields_add(&response.fields, SLICE("Vary"), names) == ERR_OK);
    if (coding.length)
        MUST(fields_add(&response.fields, SLICE("Content-Encoding"), coding) == ERR_OK);
    enum err e = cache_vary_make(rule, &request, &response, room, sizeof room, &vary);
    MUST(e == ERR_OK || e == ERR_CAP || e == ERR_NONE);
    if (e != ERR_OK)
        return;
    MUST(cache_vary_matches(vary, &request));
    other.fields.count = 0; /* has none of the fields: matches only if this one has none of those that count */
    MUST(!cache_vary_matches(vary, &other) || (!memchr(room, ':', vary.length) && !memchr(room, '=', vary.length) && !memchr(room, ';', vary.length)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct h1_progress progress = { 0 };
    enum codec_fault fault = FAULT_NONE;
    if (!pool.memory && block_pool_init(&pool, 64) != ERR_OK)
        return 0;
    if (size < 2 || size > BLOCK_BYTES)
        return 0;
    const struct cache_rule *rule = &rules[data[0] % ARRAY_LENGTH(rules)];
    struct cache_key_context context = { data[0] & 16 ? SLICE("https") : SLICE("http"), SLICE("app"), data[0] & 32 ? SLICE("/x") : SLICE(""),
                                         (data[0] & 64) != 0, { 1, 2 } };
    char *copy = malloc(size - 1);
    MUST(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    arena_init(&arena, &pool);
    if (h1_parse_request(&request, copy, size - 1, &progress, &limits, &arena, &fault) == H1_DONE && request.method != METHOD_CONNECT) {
        look_at_key(rule, &context);
        look_at_vary(rule, slice_of(copy + request.head_bytes, size - 1 - request.head_bytes));
        for (unsigned i = 0; i < request.fields.count; i++)
            MUST(!cache_field_is_poisonous(rule, &request.fields.list[i]) || request.fields.list[i].id == FIELD_OTHER);
    }
    arena_release(&arena);
    free(copy);
    return 0;
}

/* Requests to be explained: lines of method, URL, address and fields. There is an answer or a reason; asked again, it is the same. */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char file[] =
    "listeners: [ { address: 127.0.0.1:8080 }, { address: 127.0.0.1:81, redirect-to-https: on } ]\n"
    "trusted-proxies: [ 10.0.0.0/8 ]\nforwarded: both\n"
    "routes:\n"
    "  - { match: { path: /away/* }, redirect: { to: \"https://{host}{path}?{query}\" } }\n"
    "  - { match: { path: /own, header: { X-Key: \"a*\" } }, respond: { body: x } }\n"
    "  - { match: { path: /app/* }, pool: app, rewrite: { strip-prefix: /app, add-prefix: /v1 }, request-headers: { set: { X-A: \"{host}{path}{query}\" } } }\n"
    "  - { match: { method: [ GET, POST, OPTIONS ] }, pool: app }\n"
    "pools: { app: { balance: consistent-hash, hash-key: \"query:id\", servers: [ 127.0.0.1:1, 127.0.0.1:2 ] } }\n";

static struct server_counters counters[2];
static struct server_record records[2] = { { .counters = &counters[0] }, { .counters = &counters[1] } };
static struct server_record *of_pool[] = { &records[0], &records[1] }, **by_pool[] = { of_pool };
static struct pool_record pool, *pools[] = { &pool };

static const struct generation *generation_of(void)
{
    static struct generation generation;
    struct config_problems problems;
    if (!generation.config) {
        struct config *config = config_parse(SLICE(file), "weir.yaml", &problems);
        MUST(config != NULL);
        generation = (struct generation){ .config = config, .worker_count = 1, .records = by_pool, .pool_records = pools };
    }
    return &generation;
}

static struct slice next_line(struct slice *rest)
{
    const char *end = rest->length ? memchr(rest->at, '\n', rest->length) : NULL;
    size_t length = end ? (size_t)(end - rest->at) : rest->length;
    struct slice line = slice_of(rest->at, length);
    size_t used = end ? length + 1 : length;
    *rest = slice_of(rest->at + used, rest->length - used);
    return line;
}

static enum err ask(const struct explain_question *question, struct text *text, struct text *json)
{
    char why[128] = "";
    enum err e = explain(generation_of(), question, 1000, 7, text, json, why);
    MUST(e == ERR_OK || (e == ERR_SYNTAX && why[0] && text->length == 0));
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text text = { 0 }, again = { 0 }, json = { 0 };
    struct slice rest = slice_of((const char *)data, size);
    struct explain_question question = { .method = next_line(&rest), .url = next_line(&rest), .from = next_line(&rest) };
    if (size > 64u * 1024u)
        return 0;
    while (rest.length && question.field_count < EXPLAIN_FIELDS_MAX)
        question.fields[question.field_count++] = next_line(&rest);
    if (ask(&question, &text, &json) == ERR_OK) {
        MUST(text.length > 0 && json.at[0] == '{' && json.at[json.length - 1] == '}');
        MUST(ask(&question, &again, &json) == ERR_OK && slice_equal(text_slice(&text), text_slice(&again)));
    }
    text_release(&text);
    text_release(&again);
    text_release(&json);
    return 0;
}

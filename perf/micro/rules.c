/*
 * What the rules of caching cost: a use of a stored response by a request that wishes nothing (each hit pays this), by one with Cache-Control;
 * and what a response pays once that may be stored: the verdict, and the question for each of its fields.
 */
#include "perf/micro/micro.h"

#include "cache/rules.h"
#include "engine/base/check.h"

#define NOW 1735689600

struct scene {
    struct cache_rule rule;
    struct cache_policy policy;
    struct request plain, wishing;
    struct response response;
};

static void add(struct fields *fields, const char *name, const char *value)
{
    MUST(fields_add(fields, slice_of_text(name), slice_of_text(value)) == ERR_OK);
}

static void use_plain(void *context, uint64_t count)
{
    struct scene *scene = context;
    for (uint64_t i = 0; i < count; i++)
        micro_keep(cache_use_of(&scene->rule, &scene->policy, &scene->plain, NOW + (int64_t)(i & 127)));
}

static void use_wishing(void *context, uint64_t count)
{
    struct scene *scene = context;
    for (uint64_t i = 0; i < count; i++)
        micro_keep(cache_use_of(&scene->rule, &scene->policy, &scene->wishing, NOW + (int64_t)(i & 127)));
}

static void store(void *context, uint64_t count)
{
    struct scene *scene = context;
    for (uint64_t i = 0; i < count; i++)
        MUST(cache_store_reason(&scene->rule, &scene->plain, &scene->response, NOW - 1, NOW + (int64_t)(i & 1),
                                &scene->policy) == CACHE_REASON_NONE);
}

static void drop(void *context, uint64_t count)
{
    struct scene *scene = context;
    const struct fields *fields = &scene->response.fields;
    for (uint64_t i = 0; i < count; i++)
        MUST(!cache_field_is_dropped(&scene->rule, &scene->response, &fields->list[i % fields->count]));
}

int main(void)
{
    static struct scene scene = { .rule = { .on = true, .heuristic = true, .object_bytes_max = 1u << 20 } };
    static const char *const asked[] = { "Host",    "User-Agent", "Accept", "Accept-Encoding", "Accept-Language",
                                         "Referer", "Cookie" };
    for (size_t i = 0; i < ARRAY_LENGTH(asked); i++) {
        add(&scene.plain.fields, asked[i], "value");
        add(&scene.wishing.fields, asked[i], "value");
    }
    scene.plain.method = scene.wishing.method = METHOD_GET;
    add(&scene.wishing.fields, "Cache-Control", "max-age=0");
    scene.response.status = 200;
    add(&scene.response.fields, "Date", "Wed, 01 Jan 2025 00:00:00 GMT");
    add(&scene.response.fields, "Content-Type", "text/css");
    add(&scene.response.fields, "Last-Modified", "Sun, 22 Dec 2024 00:00:00 GMT");
    add(&scene.response.fields, "ETag", "\"5f0a-6290c4\"");
    add(&scene.response.fields, "Cache-Control", "public, max-age=3600, stale-while-revalidate=60");
    add(&scene.response.fields, "Vary", "Accept-Encoding");
    micro_title();
    micro_run("cache_store_reason", store, &scene);
    micro_run("cache_field_is_dropped", drop, &scene);
    micro_run("cache_use_of, plain request", use_plain, &scene);
    micro_run("cache_use_of, max-age=0", use_wishing, &scene);
    return 0;
}

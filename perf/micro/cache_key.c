/*
 * The key of a request, as each request of a route with a cache makes it: the usual one (host, path and query, 40 bytes of URL), one with
 * parameters to look through, and a request held against a stored secondary key.
 */
#include "perf/micro/micro.h"

#include "cache/key.h"
#include "engine/base/check.h"

struct scene {
    struct request request;
    const struct cache_rule *rule;
    struct cache_key_context context;
    struct slice vary;
};

static void make(void *context, uint64_t count)
{
    struct scene *scene = context;
    char room[CACHE_KEY_BYTES_MAX];
    while (count--) {
        struct cache_key key;
        MUST(cache_key_make(scene->rule, &scene->request, &scene->context, room, sizeof room, &key) == ERR_OK);
        micro_keep(key.url_hash);
    }
}

static void match(void *context, uint64_t count)
{
    struct scene *scene = context;
    while (count--) {
        bool matches = cache_vary_matches(scene->vary, &scene->request);
        MUST(matches);
        micro_keep(matches);
    }
}

static void scene_init(struct scene *scene, const struct cache_rule *rule, struct slice query)
{
    static const char *const fields[][2] = {
        { "Host", "www.example.com" }, { "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0" }, { "Accept", "*/*" },
        { "Accept-Language", "en-US,en;q=0.5" }, { "Accept-Encoding", "gzip, deflate, br, zstd" }, { "Referer", "https://www.example.com/" },
        { "Sec-Fetch-Dest", "script" }, { "Sec-Fetch-Mode", "no-cors" }, { "Connection", "keep-alive" },
    };
    *scene = (struct scene){ .rule = rule, .context = { SLICE("https"), SLICE("app"), SLICE(""), false, { 1, 2 } } };
    scene->request = (struct request){ .method = METHOD_GET, .authority = SLICE("www.example.com"), .host = SLICE("www.example.com"),
                                       .path = SLICE("/assets/app.js"), .query = query };
    for (unsigned i = 0; i < ARRAY_LENGTH(fields); i++)
        MUST(fields_add(&scene->request.fields, slice_of_text(fields[i][0]), slice_of_text(fields[i][1])) == ERR_OK);
}

int main(void)
{
    static const struct cache_key_part query = { .kind = CACHE_KEY_QUERY }, parameter = { .kind = CACHE_KEY_PARAM, .name = SLICE("v") };
    static const struct slice tracking[] = { SLICE("utm_*"), SLICE("gclid") };
    static const struct cache_rule usual = { .key = &query, .key_count = 1 },
                                   ignoring = { .key = &query, .key_count = 1, .ignore_query = tracking, .ignore_query_count = 2 },
                                   chosen = { .key = &parameter, .key_count = 1 };
    static struct scene scene;
    micro_title();
    scene_init(&scene, &usual, SLICE("v=12345678"));
    micro_run("key, 40 bytes of URL", make, &scene);
    scene_init(&scene, &ignoring, SLICE("v=12345678&utm_source=mail&gclid=abc"));
    micro_run("key, three parameters, two ignored", make, &scene);
    scene_init(&scene, &chosen, SLICE("v=12345678&utm_source=mail&gclid=abc"));
    micro_run("key, one of three parameters", make, &scene);
    scene.vary = SLICE("accept-encoding:br,gzip,zstd\n");
    micro_run("secondary key, Accept-Encoding", match, &scene);
    scene.vary = SLICE("accept-language:en-US,en;q=0.5\n");
    micro_run("secondary key, Accept-Language", match, &scene);
    scene.vary = SLICE("x-tenant\n");
    micro_run("secondary key, an absent field", match, &scene);
    return 0;
}

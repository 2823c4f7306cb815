/*
 * Whom to ask: upstream_pick and the upstream_done that gives its lease back, for every policy of balance.h, with 1, 3
 * and 16 servers, all of them well. LEASES exchanges are always in flight and the oldest ends when a new one begins, so that
 * the policies that compare loads have loads to compare. The request's key and random bits are fresh each time; drawing
 * them is part of what is measured, about 2 ns.
 *
 * Then the same with what costs something extra when it is configured: a cap of the load, two tiers (of which the first takes
 * all), slow start that is over, max-ejected.
 *
 * With max-connections a lease is counted by compare-and-swap on a line that all workers share; here there is one
 * worker and nobody to contend with: the last rows are what that costs at least.
 */
#include "perf/micro/micro.h"

#include <string.h>

#include "engine/base/check.h"
#include "pool/upstream.h"

#define SERVERS_MAX 16u
#define LEASES 64u /* a power of two */
#define NOW_MS 1000u

struct scene {
    struct upstream upstream;
    struct health_pool shared;
    struct member members[SERVERS_MAX];
    struct server servers[SERVERS_MAX];
    struct health records[SERVERS_MAX];
    struct server_counters counters[SERVERS_MAX];
    char names[SERVERS_MAX][32];
    struct member *leases[LEASES]; /* oldest at `next` */
    uint32_t next;
    uint64_t random;
};

static struct member *pick_one(struct scene *scene)
{
    struct pick_request request;
    struct member *member = NULL;

    request.hash = micro_random(&scene->random);
    request.random = mix64(request.hash);
    request.now_ms = NOW_MS;
    request.others_wait = false;
    request.tried_count = 0; /* `tried` itself is left as it is: 64 bytes that nobody reads */
    MUST(upstream_pick(&scene->upstream, &request, &member) == PICK_OK);
    return member;
}

static void give_back(struct scene *scene, struct member *member)
{
    upstream_answered(&scene->upstream, member, 900 + (scene->random & 127), NOW_MS);
    MUST(!upstream_done(&scene->upstream, member, SERVER_OK, NOW_MS, 0));
}

struct extra {
    const char *name; /* NULL: none */
    uint32_t connections_max, load_cap, slow_start_ms, max_ejected;
    bool tiers;
};

static void scene_init(struct scene *scene, enum balance_kind kind, uint32_t count, const struct extra *extra)
{
    memset(scene, 0, sizeof *scene);
    scene->random = 0x9e3779b97f4a7c15ull;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(scene->names[i], sizeof scene->names[i], "app/10.0.0.%u:8080", (unsigned)i + 1);
        scene->servers[i] = (struct server){ .name = slice_of_text(scene->names[i]),
                                             .health = &scene->records[i],
                                             .counters = &scene->counters[i] };
        scene->members[i] = (struct member){ .server = &scene->servers[i],
                                             .weight = 1,
                                             .max_connections = extra->connections_max,
                                             .group = extra->tiers && i >= count / 2 };
    }
    MUST(upstream_init(&scene->upstream, SLICE("app"), scene->members, count, kind) == ERR_OK);
    scene->upstream.health_limits =
        (struct health_limits){ .fail_after = 3, .backoff_ms_min = 1000, .backoff_ms_max = 60000 };
    scene->upstream.load_cap = extra->load_cap;
    scene->upstream.slow_start_ms = extra->slow_start_ms;
    scene->upstream.max_ejected = extra->max_ejected ? extra->max_ejected : 100;
    scene->upstream.shared = &scene->shared;
    for (uint32_t i = 0; i < LEASES; i++)
        scene->leases[i] = pick_one(scene);
}

static void scene_release(struct scene *scene)
{
    for (uint32_t i = 0; i < LEASES; i++)
        give_back(scene, scene->leases[i]);
    upstream_release(&scene->upstream);
}

static void pick_and_done(void *context, uint64_t count)
{
    struct scene *scene = context;

    while (count--) {
        struct member **oldest = &scene->leases[scene->next++ % LEASES];

        give_back(scene, *oldest);
        *oldest = pick_one(scene);
        micro_keep(*oldest);
    }
}

static void run(enum balance_kind kind, uint32_t servers, const struct extra *extra)
{
    static struct scene scene;
    char name[64];

    snprintf(name, sizeof name, "%s, %u server%s%s", balance_of(kind)->word, (unsigned)servers, servers == 1 ? "" : "s",
             extra->name ? extra->name : "");
    scene_init(&scene, kind, servers, extra);
    micro_run(name, pick_and_done, &scene);
    scene_release(&scene);
}

int main(void)
{
    static const uint32_t servers[] = { 1, 3, 16 };

    micro_title();
    for (unsigned kind = 0; kind < BALANCES; kind++)
        for (unsigned i = 0; i < ARRAY_LENGTH(servers); i++)
            run((enum balance_kind)kind, servers[i], &(struct extra){ 0 });
    run(BALANCE_ROUND_ROBIN, 3, &(struct extra){ ", max-connections", .connections_max = 1024 });
    run(BALANCE_LEAST_LOAD, 3, &(struct extra){ ", max-connections", .connections_max = 1024 });
    run(BALANCE_CONSISTENT_HASH, 16, &(struct extra){ ", load-cap 125%", .load_cap = 125 });
    run(BALANCE_RING, 16, &(struct extra){ ", load-cap 125%", .load_cap = 125 });
    run(BALANCE_ROUND_ROBIN, 16, &(struct extra){ ", two tiers", .tiers = true });
    run(BALANCE_TWO_CHOICES, 16, &(struct extra){ ", two tiers", .tiers = true });
    run(BALANCE_ROUND_ROBIN, 16, &(struct extra){ ", slow-start", .slow_start_ms = 30000 });
    run(BALANCE_ROUND_ROBIN, 16, &(struct extra){ ", max-ejected", .max_ejected = 30 });
    return 0;
}

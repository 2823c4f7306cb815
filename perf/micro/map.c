/*
 * The map of text keys, at the sizes it has: a configuration's names (16), a registry of servers (1k), a cache's index
 * (16k). Keys are host names in their shortest usual form; the order of look-ups is random, so at 16k the entries and the keys
 * come from farther than the first cache, as they would.
 *
 * "add and remove" is the churn of an index that is full: one comes, one goes. It pays for the places that deleted entries
 * hold until the table is laid out again.
 */
#include "perf/micro/micro.h"

#include "engine/base/check.h"
#include "engine/base/map.h"

#define KEY_BYTES 32u
#define KEY_LENGTH 22u
#define LOOKUPS 32768u /* a power of two */

struct scene {
    struct map map;
    char (*keys)[KEY_BYTES]; /* `count` that are in the map, then as many that are not */
    uint32_t count;
    uint32_t next;
    uint32_t order[LOOKUPS]; /* drawn beforehand: the draw is not what is measured */
};

static struct slice key_of(const struct scene *scene, uint32_t i)
{
    return slice_of(scene->keys[i], KEY_LENGTH);
}

static void draw_order(struct scene *scene)
{
    uint64_t random = 0x9e3779b97f4a7c15ull;

    for (unsigned i = 0; i < LOOKUPS; i++)
        scene->order[i] = (uint32_t)(((micro_random(&random) >> 32) * scene->count) >> 32);
}

static void scene_init(struct scene *scene, uint32_t count)
{
    *scene = (struct scene){ .count = count };
    scene->keys = calloc(2 * (size_t)count, sizeof *scene->keys);
    MUST(scene->keys != NULL);
    map_init(&scene->map, 2 * count, 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull);
    for (uint32_t i = 0; i < 2 * count; i++)
        MUST(snprintf(scene->keys[i], KEY_BYTES, "host-%05u.example.com", (unsigned)i) == (int)KEY_LENGTH);
    for (uint32_t i = 0; i < count; i++)
        MUST(map_add(&scene->map, key_of(scene, i), scene->keys[i]) == ERR_OK);
    draw_order(scene);
}

static void scene_release(struct scene *scene)
{
    map_release(&scene->map);
    free(scene->keys);
    scene->keys = NULL;
}

static void find_hit(void *context, uint64_t count)
{
    struct scene *scene = context;

    while (count--) {
        void *found = map_find(&scene->map, key_of(scene, scene->order[scene->next++ % LOOKUPS]));

        MUST(found != NULL);
        micro_keep(found);
    }
}

static void find_miss(void *context, uint64_t count)
{
    struct scene *scene = context;

    while (count--) {
        void *found = map_find(&scene->map, key_of(scene, scene->count + scene->order[scene->next++ % LOOKUPS]));

        MUST(found == NULL);
        micro_keep(found);
    }
}

static void add_and_remove(void *context, uint64_t count)
{
    struct scene *scene = context;

    while (count--) {
        struct slice key = key_of(scene, scene->count + scene->order[scene->next++ % LOOKUPS]);

        MUST(map_add(&scene->map, key, scene) == ERR_OK);
        MUST(map_remove(&scene->map, key) == scene);
        micro_keep(&scene->map);
    }
}

static void run_at(uint32_t count)
{
    static const struct {
        const char *name;
        micro_body *body;
    } rows[] = { { "find, hit", find_hit }, { "find, miss", find_miss }, { "add and remove", add_and_remove } };
    static struct scene scene;
    char name[64];

    for (unsigned i = 0; i < ARRAY_LENGTH(rows); i++) {
        scene_init(&scene, count);
        snprintf(name, sizeof name, "%s, %u entries", rows[i].name, (unsigned)count);
        micro_run(name, rows[i].body, &scene);
        scene_release(&scene);
    }
}

int main(void)
{
    micro_title();
    run_at(16);
    run_at(1024);
    run_at(16384);
    return 0;
}

#include "engine/base/map.h"

#include <criterion/criterion.h>

#include "engine/base/slab.h"
#include "tests/unit/seed.h"

#define KEYS 500u

static struct map map;
static char keys[KEYS][16];

Test(map, siphash_is_keyed_and_stable)
{
    cr_assert_eq(siphash13("abc", 3, 1, 2), siphash13("abc", 3, 1, 2));
    cr_assert_neq(siphash13("abc", 3, 1, 2), siphash13("abc", 3, 1, 3));
    cr_assert_neq(siphash13("abc", 3, 1, 2), siphash13("abd", 3, 1, 2));
}

Test(map, a_key_stands_once_and_the_cap_holds)
{
    map_init(&map, 2, 1, 2);
    cr_assert_eq(map_add(&map, SLICE("a"), &map), ERR_OK);
    cr_assert_eq(map_add(&map, SLICE("a"), &map), ERR_EXISTS);
    cr_assert_eq(map_add(&map, SLICE("b"), &map), ERR_OK);
    cr_assert_eq(map_add(&map, SLICE("c"), &map), ERR_CAP);
    map_release(&map);
}

Test(map, agrees_with_a_table)
{
    void *model[KEYS] = { 0 };
    uint32_t count = 0;
    seed_take("map.agrees_with_a_table");
    map_init(&map, 10000, random_below(UINT64_MAX), random_below(UINT64_MAX));
    for (unsigned i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key-%u", i);
    for (unsigned round = 0; round < 50000; round++) {
        unsigned i = (unsigned)random_below(KEYS);
        struct slice key = slice_of_text(keys[i]);
        if (random_below(2)) {
            enum err e = map_add(&map, key, &keys[i]);
            cr_assert_eq(e, model[i] ? ERR_EXISTS : ERR_OK);
            count += model[i] == NULL;
            model[i] = &keys[i];
        } else {
            cr_assert_eq(map_remove(&map, key), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        unsigned other = (unsigned)random_below(KEYS);
        cr_assert_eq(map_find(&map, slice_of_text(keys[other])), model[other]);
        cr_assert_eq(map.count, count);
    }
    uint32_t cursor = 0, seen = 0;
    while (map_next(&map, &cursor))
        seen++;
    cr_assert_eq(seen, count);
    map_release(&map);
}

Test(slab, objects_come_back_warm_and_the_cap_holds)
{
    struct slab slab;
    slab_init(&slab, 100, 10);
    void *objects[10];
    for (unsigned i = 0; i < 10; i++)
        cr_assert_not_null(objects[i] = slab_take(&slab));
    cr_assert_null(slab_take(&slab));
    slab_return(&slab, objects[3]);
    cr_assert_eq(slab_take(&slab), objects[3]);
    slab_release(&slab);
}

static void count_object(void *object, void *argument)
{
    (void)object;
    ++*(unsigned *)argument;
}

Test(slab, trimming_gives_back_and_serves_again)
{
    struct slab slab;
    unsigned seen = 0;
    static void *objects[1000];
    slab_init(&slab, 4000, 1000);
    for (unsigned i = 0; i < 1000; i++)
        objects[i] = slab_take(&slab);
    slab_trim(&slab);
    slab_each(&slab, count_object, &seen);
    cr_assert_eq(seen, 1000, "nothing is trimmed while objects are out");
    for (unsigned i = 0; i < 1000; i++)
        slab_return(&slab, objects[i]);
    slab_trim(&slab);
    cr_assert_eq(slab.made, 0);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_not_null(memset(slab_take(&slab), 1, 4000));
    slab_release(&slab);
}

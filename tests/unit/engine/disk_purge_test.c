/*
 * Purges on the disk: kept over a restart, however many come at once.
 */
#include "tests/unit/engine/disk_fixture.h"

Test(disk, purges_hold_over_a_kill)
{
    struct stand stand;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 20);
    cr_expect_eq(purge_disk(&stand, PURGE_TAG, "odd", false), 1);
    cr_expect_eq(purge_disk(&stand, PURGE_URL, "http\na.example\n/object/4\n\n", false), 1);
    cr_expect_eq(purge_disk(&stand, PURGE_URL, "http\na.example\n/object/6\n\n", true), 1);
    for (int again = 0; again < 3; again++) {
        new_memory(&stand);
        for (uint32_t i = 0; i < 20; i++)
            cr_expect_eq(load(&stand, i), i % 2 == 0 && i != 4, "object %u, time %d", i, again);
        struct object *object = find_of(&stand.world, "a.example", name_of(6), &get_request);
        cr_assert_not_null(object);
        cr_expect(atomic_load(&object->stale));
        cache_unref(stand.world.cache, object);
        stand_close(&stand, again == 1);
        cr_assert(stand_open(&stand));
    }
    stand_end(&stand);
}

/* By URL, without waiting: as requests that change something do. */
static void begin_purges(struct stand *stand, uint32_t first, uint32_t behind, void (*done)(void *argument, bool kept),
                         void *argument)
{
    char url[128];
    for (uint32_t i = first; i < behind; i++) {
        struct purge_count count = { 0 };
        snprintf(url, sizeof url, "http\na.example\n%s\n\n", name_of(i));
        struct purge what = { .kind = PURGE_URL, .text = slice_of_text(url) };
        disk_purge_begin(stand->disk, &what, &count);
        disk_purge_finish(stand->disk, &stand->loop, &what, &count, done, argument);
    }
}

static void count_kept(void *argument, bool kept)
{
    ((uint32_t *)argument)[kept]++;
}

Test(disk, purges_that_come_while_others_are_written_are_one_write)
{
    struct stand stand;
    uint32_t told[2] = { 0, 0 };
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 40);
    begin_purges(&stand, 0, 1, NULL, NULL);
    begin_purges(&stand, 10, 20, count_kept, told);
    begin_purges(&stand, 20, 30, NULL, NULL);
    cr_expect_eq(told[true], 0);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    cr_expect(told[true] == 10 && told[false] == 0);
    cr_expect_eq(atomic_load(&stand.disk->counts.purges), 21);
    cr_expect_eq(atomic_load(&stand.disk->counts.purge_writes), 2);
    cr_expect_eq(atomic_load(&stand.disk->counts.purges_widened), 0);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 0; i < 40; i++)
        cr_expect_eq(load(&stand, i), i != 0 && (i < 10 || i >= 30), "object %u", i);
    stand_end(&stand);
}

/* More than waits by name: until the restart the index knows which, then all that is older is gone, and nothing else. */
Test(disk, more_purges_than_may_wait_lose_nothing)
{
    struct stand stand;
    uint32_t many = DISK_PURGE_BYTES / PURGE_LOG_UNIT + 1000;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 20);
    begin_purges(&stand, 5000, 5000 + many, NULL, NULL);
    begin_purges(&stand, 4, 5, NULL, NULL); /* known by the entry for all only */
    cr_expect_gt(atomic_load(&stand.disk->counts.purges_widened), 900);
    admit(&stand, 20, 30); /* while they are under way; younger than the most of them */
    begin_purges(&stand, 24, 25, NULL, NULL);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    cr_expect_leq(atomic_load(&stand.disk->counts.purge_writes), 4);
    admit(&stand, 30, 40);
    begin_purges(&stand, 33, 34, NULL, NULL);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    new_memory(&stand);
    for (uint32_t i = 0; i < 40; i++)
        cr_expect_eq(load(&stand, i), i != 4 && i != 24 && i != 33, "object %u before the restart", i);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 0; i < 20; i++)
        cr_expect_not(load(&stand, i), "object %u, older than what was kept for all", i);
    cr_expect_not(load(&stand, 24));
    for (uint32_t i = 30; i < 40; i++)
        cr_expect_eq(load(&stand, i), i != 33, "object %u, younger", i);
    stand_end(&stand);
}

/* Who cannot be told later is told at once that it is not known; it is kept all the same. */
Test(disk, more_may_ask_to_be_told_than_can_be)
{
    struct stand stand;
    uint32_t told[2] = { 0, 0 };
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 10);
    begin_purges(&stand, 1000, 1001 + DISK_PURGE_WAITERS, count_kept, told);
    cr_expect_eq(told[false], 0);
    begin_purges(&stand, 3, 6, count_kept, told);
    cr_expect_eq(told[false], 3);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    cr_expect(told[true] == 1 + DISK_PURGE_WAITERS && told[false] == 3);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 3; i < 6; i++)
        cr_expect_not(load(&stand, i));
    stand_end(&stand);
}

/* Round and round the log, in batches that its end divides. */
Test(disk, purges_are_kept_where_the_log_begins_anew)
{
    struct stand stand;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    uint32_t entries = (uint32_t)(stand.disk->log.bytes / PURGE_LOG_UNIT);
    for (uint32_t done = 0; done < entries * 2; done += 700) {
        begin_purges(&stand, 1000 + done, 1000 + done + 700, NULL, NULL);
        while (atomic_load(&stand.disk->purges_out))
            turn(&stand);
    }
    cr_expect_eq(atomic_load(&stand.disk->counts.purges_widened), 0);
    admit(&stand, 0, 20);
    begin_purges(&stand, 3, 8, NULL, NULL);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 0; i < 20; i++)
        cr_expect_eq(load(&stand, i), i < 3 || i >= 8, "object %u", i);
    stand_end(&stand);
}

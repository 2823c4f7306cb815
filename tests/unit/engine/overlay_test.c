#include "tests/unit/engine/config_fixture.h"

#include "engine/overlay.h"

static struct overlay_entry *change(struct overlay *overlay, const char *pool, const char *address)
{
    struct overlay_entry *entry = overlay_entry(overlay, slice_of_text(pool), slice_of_text(address));
    cr_assert(entry);
    return entry;
}

Test(overlay, has_one_entry_for_an_address_of_a_pool)
{
    struct overlay overlay = { 0 };
    change(&overlay, "app", "10.0.0.1:80")->removed = true;
    change(&overlay, "other", "10.0.0.1:80");
    cr_expect(change(&overlay, "app", "10.0.0.1:80")->removed);
    cr_expect_eq(overlay.count, 2);
    cr_expect(slice_equal(overlay.entries[0].key, SLICE("app/10.0.0.1:80")));
    cr_expect_null(overlay_find(&overlay, SLICE("app"), SLICE("10.0.0.2:80")));
    overlay_release(&overlay);
}

Test(overlay, copies_are_independent)
{
    struct overlay overlay = { 0 }, copy;
    for (int i = 0; i < 40; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.0.0.%d:80", i);
        change(&overlay, "app", address)->weight = 2;
    }
    cr_assert(overlay_copy(&overlay, &copy));
    change(&copy, "app", "10.0.0.7:80")->weight = 5;
    cr_expect_eq(overlay_find(&overlay, SLICE("app"), SLICE("10.0.0.7:80"))->weight, 2);
    overlay_release(&overlay);
    cr_expect_eq(copy.count, 40);
    cr_expect_eq(overlay_find(&copy, SLICE("app"), SLICE("10.0.0.39:80"))->weight, 2);
    overlay_release(&copy);
}

Test(overlay, is_capped)
{
    struct overlay overlay = { 0 };
    char address[32];
    for (unsigned i = 0; i < OVERLAY_ENTRIES_MAX; i++) {
        snprintf(address, sizeof address, "10.0.%u.%u:80", i / 256, i % 256);
        change(&overlay, "app", address);
    }
    cr_expect_null(overlay_entry(&overlay, SLICE("app"), SLICE("one:80")));
    cr_expect_not_null(overlay_entry(&overlay, SLICE("app"), SLICE("10.0.0.0:80")));
    overlay_release(&overlay);
}

Test(overlay, an_entry_that_changes_nothing_goes)
{
    struct overlay overlay = { 0 };
    change(&overlay, "app", "a:1")->added = true;
    change(&overlay, "app", "b:1")->weight = 2;
    overlay_tidy(&overlay, change(&overlay, "app", "c:1"));
    cr_expect_eq(overlay.count, 2);
    overlay_tidy(&overlay, change(&overlay, "app", "a:1"));
    cr_expect_eq(overlay.count, 2);
    change(&overlay, "app", "a:1")->added = false;
    overlay_tidy(&overlay, change(&overlay, "app", "a:1"));
    cr_expect_eq(overlay.count, 1);
    cr_expect(slice_equal(overlay.entries[0].address, SLICE("b:1")));
    overlay_release(&overlay);
}

Test(overlay, a_new_file_takes_its_own_back)
{
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE "pools: { app: { servers: [ 127.0.0.1:1, 127.0.0.1:2 ] } }\n"));
    struct overlay overlay = { 0 };
    struct text out = { 0 };
    change(&overlay, "app", "127.0.0.1:1")->added = true;
    change(&overlay, "app", "127.0.0.1:2")->removed = true;
    change(&overlay, "app", "127.0.0.1:3")->added = true;
    change(&overlay, "gone", "127.0.0.1:4")->removed = true;
    change(&overlay, "app", "127.0.0.1:3")->weight = 7;
    overlay_absorb(&overlay, config, &out);
    cr_expect_str_eq(text_slice(&out).at, "by command: app/127.0.0.1:1 is the file's own now\n"
                                          "by command, still: app/127.0.0.1:2: removed\n"
                                          "by command, still: app/127.0.0.1:3: added, weight 7\n"
                                          "by command: gone/127.0.0.1:4 is dropped: there is no such pool any more\n");
    cr_expect_eq(overlay.count, 2);
    text_release(&out);
    overlay_release(&overlay);
    config_free(config);
}

#ifdef WEIR_FAULTS
Test(overlay, survives_the_want_of_memory)
{
    for (uint64_t nth = 1, points = 1; nth <= points; nth++) {
        struct overlay overlay = { 0 }, copy = { 0 };
        fault_arm(nth);
        struct overlay_entry *one = overlay_entry(&overlay, SLICE("app"), SLICE("a:1")), *two = overlay_entry(&overlay, SLICE("app"), SLICE("b:1"));
        bool copied = overlay_copy(&overlay, &copy);
        points = fault_count();
        fault_arm(0);
        cr_expect(nth > points || !one || !two || !copied);
        cr_expect_eq(copy.count, copied ? overlay.count : 0);
        overlay_release(&overlay);
        overlay_release(&copy);
    }
}
#endif

Test(overlay, a_group_is_a_change_too)
{
    struct overlay overlay = { 0 };
    change(&overlay, "app", "a:1")->group = 3;
    overlay_tidy(&overlay, change(&overlay, "app", "a:1"));
    cr_expect_eq(overlay.count, 1);
    overlay_release(&overlay);
}

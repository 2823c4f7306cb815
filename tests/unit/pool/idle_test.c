#include "tests/unit/pool/fixture.h"

static const struct idle_limits limits = {
    .count_max = 3, .idle_ms_max = 100, .lifetime_ms_max = 1000, .requests_max = 10
};

static struct idle_entry *put(struct idle_shelf *shelf, struct idle_entry *entry, uint64_t now_ms)
{
    return idle_put(shelf, entry, &limits, now_ms);
}

Test(idle, empty_shelf_has_nothing_to_give_or_to_wait_for)
{
    struct idle_shelf shelf = { 0 };
    cr_assert_null(idle_take(&shelf, &limits, 1));
    cr_assert_null(idle_expire(&shelf, &limits, 1));
    cr_assert_eq(idle_next_expiry(&shelf, &limits), UINT64_MAX);
}

Test(idle, newest_is_taken_first)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 }, b = { 0 };
    cr_assert_null(put(&shelf, &a, 1));
    cr_assert_null(put(&shelf, &b, 2));
    cr_assert_eq(idle_take(&shelf, &limits, 3), &b);
    cr_assert_eq(idle_take(&shelf, &limits, 3), &a);
    cr_assert_eq(shelf.count, 0);
    cr_assert(!a.newer && !a.older && !b.newer && !b.older);
}

Test(idle, one_is_taken_from_among_the_others)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 }, b = { 0 }, c = { 0 };
    cr_assert_null(put(&shelf, &a, 1));
    cr_assert_null(put(&shelf, &b, 2));
    cr_assert_null(put(&shelf, &c, 3));
    cr_assert(idle_take_one(&shelf, &b, &limits, 4));
    cr_assert(!b.newer && !b.older && shelf.count == 2);
    cr_assert(!idle_take_one(&shelf, &a, &limits, 101), "it has waited too long");
    cr_assert_eq(idle_take(&shelf, &limits, 4), &c);
    cr_assert_eq(shelf.count, 0);
}

Test(idle, full_shelf_gives_up_its_oldest)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry entries[4] = { 0 };
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_null(put(&shelf, &entries[i], i));
    cr_assert_eq(put(&shelf, &entries[3], 3), &entries[0]);
    cr_assert_eq(shelf.count, 3);
}

Test(idle, nothing_is_kept_without_keep_alive)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 };
    struct idle_limits none = limits;
    none.count_max = 0;
    cr_assert_eq(idle_put(&shelf, &a, &none, 1), &a);
    cr_assert_eq(shelf.count, 0);
}

Test(idle, worn_out_connections_are_not_kept)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry old = { .connected_ms = 0 }, busy = { .connected_ms = 1000, .requests = 10 };
    cr_assert_eq(put(&shelf, &old, 1000), &old);
    cr_assert_eq(put(&shelf, &busy, 1001), &busy);
    cr_assert_null(put(&shelf, &old, 999));
}

Test(idle, limits_of_zero_are_no_limits)
{
    struct idle_shelf shelf = { 0 };
    struct idle_limits open = { .count_max = 1, .idle_ms_max = 100 };
    struct idle_entry a = { .connected_ms = 0, .requests = UINT32_MAX };
    cr_assert_null(idle_put(&shelf, &a, &open, 1u << 30));
    cr_assert_eq(idle_take(&shelf, &open, (1u << 30) + 99), &a);
}

Test(idle, nothing_is_handed_out_past_its_idle_limit)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 };
    cr_assert_null(put(&shelf, &a, 50));
    cr_assert_null(idle_take(&shelf, &limits, 150));
    cr_assert_eq(idle_expire(&shelf, &limits, 150), &a);
}

Test(idle, newest_past_its_lifetime_is_passed_over_and_expires_first)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry young = { .connected_ms = 900 }, old = { .connected_ms = 0 };
    cr_assert_null(put(&shelf, &young, 980));
    cr_assert_null(put(&shelf, &old, 990));
    cr_assert_eq(idle_take(&shelf, &limits, 1001), &young);
    cr_assert_eq(shelf.count, 1);
    cr_assert_eq(idle_next_expiry(&shelf, &limits), 1000);
    cr_assert_eq(idle_expire(&shelf, &limits, 1001), &old);
}

Test(idle, take_ends_when_all_are_past_their_lifetime)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry entries[3] = { 0 };
    for (int i = 0; i < 3; i++)
        cr_assert_null(put(&shelf, &entries[i], 950));
    cr_assert_null(idle_take(&shelf, &limits, 1000));
    for (int i = 0; i < 3; i++)
        cr_assert_not_null(idle_expire(&shelf, &limits, 1000));
    cr_assert_null(idle_expire(&shelf, &limits, 1000));
}

Test(idle, expires_at_the_time_that_was_told_and_not_before)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 }, b = { 0 };
    cr_assert_null(put(&shelf, &a, 10));
    cr_assert_null(put(&shelf, &b, 20));
    cr_assert_eq(idle_next_expiry(&shelf, &limits), 110);
    cr_assert_null(idle_expire(&shelf, &limits, 109));
    cr_assert_eq(idle_expire(&shelf, &limits, 110), &a);
    cr_assert_null(idle_expire(&shelf, &limits, 110));
    cr_assert_eq(idle_next_expiry(&shelf, &limits), 120);
}

Test(idle, died_entry_leaves_from_the_middle)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry entries[3] = { 0 };
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_null(put(&shelf, &entries[i], i));
    idle_remove(&shelf, &entries[1]);
    cr_assert_eq(idle_take(&shelf, &limits, 5), &entries[2]);
    cr_assert_eq(idle_take(&shelf, &limits, 5), &entries[0]);
}

Test(idle, lowered_count_expires_what_is_too_much)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry entries[3] = { 0 };
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_null(put(&shelf, &entries[i], i));
    struct idle_limits lower = limits;
    lower.count_max = 1;
    cr_assert_eq(idle_next_expiry(&shelf, &lower), 0);
    cr_assert_eq(idle_expire(&shelf, &lower, 3), &entries[0]);
    cr_assert_eq(idle_expire(&shelf, &lower, 3), &entries[1]);
    cr_assert_null(idle_expire(&shelf, &lower, 3));
}

/* Against a shelf kept in the simplest way: an array in the order of putting. */
Test(idle, agrees_with_a_simple_model)
{
    uint64_t seed = test_seed("idle_model"), now = 1000;
    struct idle_limits some = { .count_max = 5, .idle_ms_max = 50, .lifetime_ms_max = 0 };
    struct idle_entry entries[8] = { 0 };
    struct idle_entry *model[8] = { 0 };
    struct idle_shelf shelf = { 0 };
    uint32_t count = 0;
    for (int step = 0; step < 20000; step++) {
        now += next_random(&seed) % 12;
        struct idle_entry *entry = &entries[next_random(&seed) % 8];
        uint32_t at = 0;
        while (at < count && model[at] != entry)
            at++;
        if (next_random(&seed) % 4 == 0) {
            struct idle_entry *taken = idle_take(&shelf, &some, now);
            bool fresh = count > 0 && now < model[count - 1]->since_ms + 50;
            cr_assert_eq(taken, fresh ? model[count - 1] : NULL, "step %d", step);
            count -= fresh;
        } else if (at < count) {
            idle_remove(&shelf, entry);
            memmove(&model[at], &model[at + 1], (--count - at) * sizeof model[0]);
        } else {
            struct idle_entry *out = idle_put(&shelf, entry, &some, now);
            cr_assert_eq(out, count == 5 ? model[0] : NULL, "step %d", step);
            if (out)
                memmove(&model[0], &model[1], --count * sizeof model[0]);
            model[count++] = entry;
        }
        for (struct idle_entry *due; (due = idle_expire(&shelf, &some, now));) {
            cr_assert_eq(due, model[0], "step %d", step);
            cr_assert_leq(due->since_ms + 50, now);
            memmove(&model[0], &model[1], --count * sizeof model[0]);
        }
        cr_assert_eq(shelf.count, count);
        cr_assert_eq(idle_next_expiry(&shelf, &some), count ? model[0]->since_ms + 50 : UINT64_MAX);
    }
}

Test(idle, shares_of_all_workers_make_the_whole)
{
    for (uint32_t warm = 0; warm < 20; warm++)
        for (uint32_t workers = 1; workers < 7; workers++) {
            uint32_t sum = 0, least = UINT32_MAX, most = 0;
            for (uint32_t i = 0; i < workers; i++) {
                uint32_t share = idle_share(warm, workers, i + 3); /* whichever comes first */
                sum += share;
                least = share < least ? share : least;
                most = share > most ? share : most;
            }
            cr_assert_eq(sum, warm);
            cr_assert_leq(most - least, 1);
        }
}

Test(idle, what_is_missing_counts_what_is_under_way_and_never_passes_the_shelf)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 };
    cr_assert_eq(idle_missing(&shelf, &limits, 0, 0), 0);
    cr_assert_eq(idle_missing(&shelf, &limits, 2, 0), 2);
    cr_assert_eq(idle_missing(&shelf, &limits, 2, 1), 1);
    cr_assert_eq(idle_missing(&shelf, &limits, 9, 0), limits.count_max);
    put(&shelf, &a, 1);
    cr_assert_eq(idle_missing(&shelf, &limits, 2, 1), 0);
    cr_assert_eq(idle_missing(&shelf, &limits, 1, 4), 0);
}

Test(idle, the_oldest_is_lent_and_never_the_only_one)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 }, b = { 0 }, c = { 0 };
    cr_assert_null(idle_lend(&shelf, &limits, 1));
    put(&shelf, &a, 1);
    cr_assert_null(idle_lend(&shelf, &limits, 2));
    put(&shelf, &b, 2);
    put(&shelf, &c, 3);
    cr_assert_eq(idle_lend(&shelf, &limits, 4), &a);
    cr_assert_eq(idle_lend(&shelf, &limits, 4), &b);
    cr_assert_null(idle_lend(&shelf, &limits, 4));
    cr_assert_eq(shelf.count, 1);
    cr_assert_eq(idle_take(&shelf, &limits, 4), &c);
}

Test(idle, overdue_entries_are_not_lent)
{
    struct idle_shelf shelf = { 0 };
    struct idle_entry a = { 0 }, b = { 0 }, c = { 0 };
    put(&shelf, &a, 1);
    put(&shelf, &b, 50);
    put(&shelf, &c, 60);
    cr_assert_eq(idle_lend(&shelf, &limits, 1 + limits.idle_ms_max), &b);
    cr_assert_null(idle_lend(&shelf, &limits, 60 + limits.idle_ms_max));
    cr_assert_eq(shelf.count, 2);
    cr_assert_eq(idle_expire(&shelf, &limits, 60 + limits.idle_ms_max), &a);
}

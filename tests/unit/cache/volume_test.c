#include "tests/unit/cache/volume_fixture.h"

#define PURGES_BEYOND (VOLUME_PURGES_NAMES * 2 + 1000)

/* Writing and finding --------------------------------------------------------------------------------------------- */

Test(volume, gives_back_what_was_written)
{
    struct platter platter = platter_new(8);
    for (uint32_t i = 0; i < 60; i++)
        cr_assert(platter_put(&platter, i, NULL, i % 3 == 0));
    platter_flush(&platter);
    for (uint32_t i = 0; i < 60; i++)
        cr_expect_eq(platter_read(&platter, i), READ_WELL, "object %u", i);
    cr_expect_eq(platter_read(&platter, 60), READ_NONE);
    cr_expect_eq(platter.volume->objects, 60);
    platter_free(&platter);
}

Test(volume, finds_nothing_before_its_batch_stands)
{
    struct platter platter = platter_new(8);
    platter_put(&platter, 1, NULL, false);
    cr_expect_eq(platter_read(&platter, 1), READ_NONE);
    platter_flush(&platter);
    cr_expect_eq(platter_read(&platter, 1), READ_WELL);
    platter_free(&platter);
}

Test(volume, writes_nothing_twice)
{
    struct platter platter = platter_new(8);
    cr_expect(platter_put(&platter, 1, NULL, true));
    cr_expect_not(platter_put(&platter, 1, NULL, true));
    platter_free(&platter);
}

Test(volume, overwrites_its_oldest_segments_and_keeps_within_its_file)
{
    struct platter platter = platter_new(8);
    uint32_t last = 3000, well = 0;
    for (uint32_t i = 0; i < last; i++)
        cr_assert(platter_put(&platter, i, NULL, i % 5 == 0));
    platter_flush(&platter);
    cr_expect_gt(platter.volume->sequence_next, 2 * platter.volume->segment_count);
    for (uint32_t i = 0; i < last; i++) {
        enum read read = platter_read(&platter, i);
        cr_expect(read == READ_WELL || read == READ_NONE);
        well += read == READ_WELL;
    }
    cr_expect_eq(platter_read(&platter, last - 1), READ_WELL);
    cr_expect_eq(platter_read(&platter, 0), READ_NONE);
    cr_expect_eq(well, platter.volume->objects);
    platter_free(&platter);
}

Test(volume, writes_again_what_is_about_to_be_overwritten)
{
    struct platter platter = platter_new(8);
    uint32_t again = 0;
    for (uint32_t i = 10; i < 3000; i++) {
        platter_put(&platter, i, NULL, true);
        again += platter_put(&platter, 1, NULL, true); /* used all the time */
        cr_assert_eq(platter_read(&platter, 1), READ_WELL);
    }
    cr_expect(again > 1 && again < 60, "%u times", again);
    platter_free(&platter);
}

Test(volume, gives_up_a_segment_that_cannot_be_written_and_goes_on)
{
    struct platter platter = platter_new(8);
    platter_put(&platter, 1, NULL, true);
    platter.writes_left = 0;
    platter_put(&platter, 2, NULL, true);
    cr_expect_eq(platter_read(&platter, 1), READ_NONE);
    cr_expect_eq(platter_read(&platter, 2), READ_NONE);
    platter.writes_left = UINT32_MAX;
    platter_put(&platter, 3, NULL, true);
    cr_expect_eq(platter_read(&platter, 3), READ_WELL);
    platter_free(&platter);
}

Test(volume, holds_no_more_entries_than_it_has)
{
    struct volume *volume = volume_new(8 * SEGMENT_BYTES_LEAST, SEGMENT_BYTES_LEAST, platter_seed);
    struct segment_entry entry = { .bytes = 128, .at = SEGMENT_BLOCK };
    for (uint32_t segment = 0; segment < 8; segment++) {
        volume_begin(volume, segment);
        for (uint32_t i = 0; i < 1000; i++) {
            entry.hash = mix64(segment * 1000 + i);
            entry.at = SEGMENT_BLOCK + i * 128;
            entry.tags = (uint32_t)entry.hash;
            cr_assert(volume_add(volume, segment, &entry, false));
        }
    }
    cr_expect_leq(volume->objects, volume->entry_cap);
    cr_expect_gt(volume->objects, volume->entry_cap - 100);
    struct volume_place places[VOLUME_VARIANTS];
    cr_expect_eq(volume_find(volume, entry.hash, entry.tags, places), 1);
    volume_free(volume);
}

/* Purging --------------------------------------------------------------------------------------------------------- */

static void purge_platter(struct platter *platter, enum purge_kind kind, const char *text, bool soft,
                          struct purge_count *count)
{
    struct purge what = { .kind = kind, .soft = soft, .text = slice_of_text(text) };
    uint64_t hash = siphash13(text, strlen(text), platter->world.seed[0], platter->world.seed[1]),
             sequence = platter->volume->purged + 1;
    *count = (struct purge_count){ 0 };
    volume_purge(platter->volume, &what, hash, sequence, count);
    if (kind == PURGE_URL)
        cr_assert(past_add(&platter->past, &(struct past_purge){ .hash = hash, .sequence = sequence, .soft = soft }));
    else
        volume_purges_add(&platter->purges, &what, hash, sequence);
    past_sort(&platter->past);
}

static const char *url_of(uint32_t number)
{
    static char url[128];
    snprintf(url, sizeof url, "http\na.example\n%s\n\n", path_of(number));
    return url;
}

Test(volume, purges_of_every_kind_hold_and_outlive_a_restart)
{
    static const struct {
        enum purge_kind kind;
        const char *text;
        bool soft;
    } rows[] = {
        { PURGE_URL, NULL, false },
        { PURGE_URL, NULL, true },
        { PURGE_TAG, "red", false },
        { PURGE_TAG, "red", true },
        { PURGE_HOST, "a.example", false },
        { PURGE_HOST, "a.example", true },
        { PURGE_PREFIX, "http\na.example\n/object/", false },
        { PURGE_PREFIX, "http\na.example\n/object/", true },
        { PURGE_ALL, "", false },
        { PURGE_ALL, "", true },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct platter platter = platter_new(8);
        struct purge_count count;
        platter_put(&platter, 1, "red blue", true);
        purge_platter(&platter, rows[i].kind, rows[i].text ? rows[i].text : url_of(1), rows[i].soft, &count);
        enum read wanted = platter_read(&platter, 1);
        cr_expect(rows[i].soft ? wanted == READ_STALE : wanted < READ_STALE, "row %u", i);
        if (rows[i].kind == PURGE_URL || rows[i].kind == PURGE_ALL)
            cr_expect_eq(count.objects, 1, "row %u", i);
        platter_restart(&platter);
        wanted = platter_read(&platter, 1);
        cr_expect(rows[i].soft ? wanted == READ_STALE : wanted < READ_STALE, "row %u, restarted", i);
        platter_replaced(&platter, 1);
        platter_put(&platter, 1, "red", true); /* what comes after is not concerned */
        cr_expect_eq(platter_read(&platter, 1), READ_WELL, "row %u, stored anew", i);
        platter_restart(&platter);
        cr_expect_eq(platter_read(&platter, 1), READ_WELL, "row %u, stored anew, restarted", i);
        platter_free(&platter);
    }
}

Test(volume, other_purges_concern_nobody)
{
    struct platter platter = platter_new(8);
    struct purge_count count;
    platter_put(&platter, 1, "red blue", true);
    purge_platter(&platter, PURGE_URL, url_of(2), false, &count);
    purge_platter(&platter, PURGE_TAG, "re", false, &count);
    purge_platter(&platter, PURGE_HOST, "a.exampl", false, &count);
    purge_platter(&platter, PURGE_PREFIX, "http\na.example\n/objects", false, &count);
    cr_expect_eq(platter_read(&platter, 1), READ_WELL);
    platter_free(&platter);
}

Test(volume, a_purge_by_url_meets_what_is_being_written)
{
    struct platter platter = platter_new(8);
    struct purge_count count;
    platter_put(&platter, 1, NULL, false);
    purge_platter(&platter, PURGE_URL, url_of(1), false, &count);
    platter_flush(&platter);
    cr_expect_eq(platter_read(&platter, 1), READ_NONE);
    platter_free(&platter);
}

Test(volume, what_was_replaced_does_not_come_back)
{
    struct platter platter = platter_new(8);
    platter_put(&platter, 1, NULL, true);
    platter_put(&platter, 2, NULL, true);
    platter_replaced(&platter, 1);
    cr_expect_eq(platter_read(&platter, 1), READ_NONE);
    cr_expect_eq(platter_read(&platter, 2), READ_WELL);
    platter_put(&platter, 1, NULL, false);
    platter_replaced(&platter, 1);
    platter_flush(&platter);
    cr_expect_eq(platter_read(&platter, 1), READ_NONE);
    platter_free(&platter);
}

Test(volume, purges_that_find_no_room_take_more_than_they_name)
{
    struct volume_purges purges;
    cr_assert(volume_purges_init(&purges, platter_seed));
    for (uint32_t i = 0; i < PURGES_BEYOND; i++)
        volume_purges_add(&purges, &(struct purge){ .kind = PURGE_TAG }, mix64(i), i + 1);
    cr_expect_leq(purges.name_count, VOLUME_PURGES_NAMES);
    cr_expect_gt(purges.floor, 1);
    char tag[8];
    struct record record = { .key = SLICE("http\na\n/\n\n"), .url_length = 10, .tags = tag, .tag_count = 1 };
    for (uint32_t i = 0; i < PURGES_BEYOND; i += 997) { /* each of them holds for what is older */
        uint64_t hash = mix64(i);
        memcpy(tag, &hash, sizeof tag);
        record.stamp = i;
        cr_assert_eq(volume_purges_judge(&purges, &record), VOLUME_PURGES_GONE);
        record.stamp = PURGES_BEYOND;
        cr_assert_eq(volume_purges_judge(&purges, &record), VOLUME_PURGES_KEEP);
    }
    volume_purges_release(&purges);
}

/* Restart --------------------------------------------------------------------------------------------------------- */

Test(volume, a_restart_finds_all_that_was_written)
{
    struct platter platter = platter_new(8);
    for (uint32_t i = 0; i < 3000; i++)
        platter_put(&platter, i, NULL, i % 7 == 0);
    platter_flush(&platter);
    uint64_t objects = platter.volume->objects;
    platter_restart(&platter);
    cr_expect_eq(platter.scanned, 1);
    cr_expect_eq(platter.volume->objects, objects);
    for (uint32_t i = 2990; i < 3000; i++)
        cr_expect_eq(platter_read(&platter, i), READ_WELL);
    for (uint32_t i = 3000; i < 3300; i++) /* and goes on */
        platter_put(&platter, i, NULL, i % 7 == 0);
    platter_flush(&platter);
    platter_restart(&platter);
    cr_expect_eq(platter_read(&platter, 3299), READ_WELL);
    cr_expect_eq(platter_read(&platter, 3000), READ_WELL);
    platter_free(&platter);
}

Test(volume, an_unsealed_segment_can_be_sealed_at_the_restart)
{
    struct platter platter = platter_new(8);
    for (uint32_t i = 0; i < 20; i++)
        platter_put(&platter, i, NULL, true);
    struct scan scan;
    uint32_t segment = platter.writer.segment;
    scan_begin(&scan, platter.volume, segment, &platter.past);
    cr_assert_not(scan_continue(&scan, platter.bytes + scan.id.base, SEGMENT_BYTES_LEAST));
    cr_assert_eq(scan.count, 20);
    cr_assert(writer_adopt(&platter.writer, segment, scan.entries, scan.count) &&
              writer_can_seal(&platter.writer, scan.end));
    writer_seal(&platter.writer);
    cr_assert(platter_flush(&platter));
    scan_release(&scan);
    platter_restart(&platter);
    cr_expect_eq(platter.scanned, 0);
    for (uint32_t i = 0; i < 20; i++)
        cr_expect_eq(platter_read(&platter, i), READ_WELL);
    platter_free(&platter);
}

/* Every prefix, in steps: what is whole before the cut is found, and nothing is wrong. */
Test(volume, whatever_was_cut_off_nothing_wrong_is_read)
{
    struct platter platter = platter_new(8);
    char *whole = malloc(SEGMENT_BYTES_LEAST);
    uint32_t last = 0;
    seed_take("volume, cut");
    for (; platter.writer.batch_at < SEGMENT_BYTES_LEAST * 3 / 4; last++)
        platter_put(&platter, last, NULL, last % 3 == 0);
    platter_flush(&platter);
    memcpy(whole, platter.bytes, SEGMENT_BYTES_LEAST);
    for (uint32_t cut = 0, most = 0; cut < platter.writer.batch_at; cut += 1 + (uint32_t)random_below(20000)) {
        memcpy(platter.bytes, whole, cut);
        for (uint32_t i = cut; i < SEGMENT_BYTES_LEAST; i++)
            platter.bytes[i] = random_below(2) ? 0 : (char)random_below(256);
        platter_restart(&platter);
        uint32_t well = 0;
        for (uint32_t i = 0; i < last; i++)
            well += platter_read(&platter, i) == READ_WELL;
        cr_assert_eq(well, platter.volume->objects);
        cr_assert_geq(well, most, "a longer beginning has fewer records");
        most = well;
    }
    free(whole);
    platter_free(&platter);
}

Test(volume, whatever_was_flipped_nothing_wrong_is_read)
{
    struct platter platter = platter_new(8);
    char *whole = malloc(platter.length);
    uint32_t last = 1500, refused = 0, missing = 0;
    seed_take("volume, flipped");
    for (uint32_t i = 0; i < last; i++)
        platter_put(&platter, i, NULL, i % 3 == 0);
    platter_flush(&platter);
    memcpy(whole, platter.bytes, platter.length);
    for (unsigned round = 0; round < 40; round++) {
        memcpy(platter.bytes, whole, platter.length);
        platter_restart(&platter);
        for (uint64_t flips = 1 + random_below(2000); flips > 0; flips--)
            platter.bytes[random_below(platter.length)] ^= (char)(1u << random_below(8));
        for (uint64_t moved = random_below(8); moved > 0; moved--) /* blocks at other places, or of another time */
            memcpy(platter.bytes + random_below(platter.length / SEGMENT_BLOCK) * SEGMENT_BLOCK,
                   whole + random_below(platter.length / SEGMENT_BLOCK) * SEGMENT_BLOCK, SEGMENT_BLOCK);
        for (uint32_t i = last - 300; i < last; i++)
            refused += platter_read(&platter, i) == READ_WRONG;
        platter_restart(&platter);
        for (uint32_t i = last - 300; i < last; i++)
            missing += platter_read(&platter, i) < READ_STALE;
    }
    cr_expect(refused > 0 && missing > 0);
    free(whole);
    platter_free(&platter);
}

/* A response whose content is a segment of another time is content and nothing else. */
Test(volume, content_that_looks_like_a_record_is_none)
{
    struct platter platter = platter_new(8);
    enum err e;
    platter_put(&platter, 1, NULL, true);
    struct object *object = begin(&platter.world, &(struct how){ .path = "/evil", .length = 60000 }, &e);
    uint32_t room, done = 0;
    while (done < 60000) {
        char *to = cache_room(platter.world.cache, object, 60000, &room);
        for (uint32_t i = 0; i < room; i++)
            to[i] = platter.bytes[(done + i) % 8192];
        cache_filled(object, room);
        done += room;
    }
    cr_assert(cache_complete(platter.world.cache, object));
    uint64_t stamp;
    cr_assert(volume_admit(platter.volume, object->url_hash, 1, 1, &stamp));
    platter_write_object(&platter, object, stamp, true);
    struct volume_place places[VOLUME_VARIANTS];
    cr_assert_eq(
        volume_find(platter.volume, object->url_hash, record_tags(platter_seed, object->key, SLICE_NONE), places), 1);
    memset(platter.bytes + places[0].at, 0, 64); /* so that the search comes into the middle of it */
    cache_unref(platter.world.cache, object);
    platter_restart(&platter);
    cr_expect_eq(platter.volume->objects, 1);
    cr_expect_eq(platter_read(&platter, 1), READ_WELL);
    platter_free(&platter);
}

/* Warm: 100,000 records, by footers alone. No time is asserted: the printed one is for whoever looks. */
Test(volume, a_hundred_thousand_records_are_found_after_a_restart)
{
    uint32_t segments = 1024, wanted = 100000, made = 0;
    struct volume *volume = volume_new((uint64_t)segments * SEGMENT_BYTES_LEAST, SEGMENT_BYTES_LEAST, platter_seed);
    char *footer = malloc(SEGMENT_BYTES_LEAST), *entries = malloc(100 * FOOTER_ENTRY_BYTES);
    struct past past = { 0 };
    struct timespec began, ended;
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert(past_add(&past, &(struct past_purge){ .hash = mix64(i * 100 + 1), .sequence = 9 }));
    past_sort(&past);
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (uint32_t segment = 0; made < wanted; segment++) {
        volume_found(volume, segment, segment + 1);
        struct segment_id id = volume_segment_id(volume, segment);
        for (uint32_t i = 0; i < 100; i++, made++) {
            uint64_t hash = mix64(made + 1);
            segment_write_entry(
                &(struct segment_entry){
                    .hash = hash, .stamp = 5, .at = SEGMENT_BLOCK + i * 8192, .bytes = 8192, .tags = (uint32_t)hash },
                entries + i * FOOTER_ENTRY_BYTES);
        }
        segment_write_footer(&id, entries, 100, segment_footer_sum(&id, entries, 100), 0, segment_footer_bytes(100),
                             footer);
        uint32_t count;
        cr_assert(
            segment_read_tail(&id, SEGMENT_BYTES_LEAST, footer + segment_footer_bytes(100) - SEGMENT_BLOCK, &count));
        cr_assert(volume_restore_footer(volume, segment, footer, count, &past));
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    fprintf(stderr, "100,000 records in %.1f ms\n",
            (double)(ended.tv_sec - began.tv_sec) * 1e3 + (double)(ended.tv_nsec - began.tv_nsec) / 1e6);
    cr_expect_eq(volume->objects, wanted - 1000);
    struct volume_place places[VOLUME_VARIANTS];
    for (uint32_t i = 0; i < wanted; i++)
        cr_assert_eq(volume_find(volume, mix64(i + 1), (uint32_t)mix64(i + 1), places), i % 100 ? 1 : 0);
    past_release(&past);
    free(footer);
    free(entries);
    volume_free(volume);
}

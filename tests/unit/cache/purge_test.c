#include "tests/unit/cache/fixture.h"

#include "cache/shard.h"

static void sweep(const struct world *world)
{
    while (cache_sweep(world->cache, 50))
        ;
}

static void check_empty(struct world *world)
{
    sweep(world);
    cr_assert_eq(cache_numbers(world->cache).objects, 0);
    cr_assert_eq(cache_numbers(world->cache).bytes, world->empty_bytes);
    world_free(world);
}

/* Four objects of two hosts, with tags. */
static struct world four(void)
{
    struct world world = world_new(MIB);
    cr_assert(stored(&world, &(struct how){ .path = "/a/1", .length = 10, .tags = "red blue" }));
    cr_assert(stored(&world, &(struct how){ .path = "/a/2", .length = 20, .tags = "red" }));
    cr_assert(stored(&world, &(struct how){ .path = "/b", .length = 30, .tags = "blue" }));
    cr_assert(stored(&world, &(struct how){ .path = "/b", .host = "b.example", .length = 40, .tags = "red" }));
    return world;
}

/* Which of the four are found, a digit each; with + when stale. */
static const char *left(const struct world *world)
{
    static char text[9];
    static const char *const hosts[] = { "a.example", "a.example", "a.example", "b.example" };
    static const char *const paths[] = { "/a/1", "/a/2", "/b", "/b" };
    size_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct object *object = find_of(world, hosts[i], paths[i], &get_request);
        if (!object)
            continue;
        text[at++] = (char)('1' + i);
        if (atomic_load(&object->stale))
            text[at++] = '+';
        cache_unref(world->cache, object);
    }
    text[at] = '\0';
    return text;
}

struct one {
    enum purge_kind kind;
    const char *text, *left, *left_softly;
    uint64_t objects;
};
static const struct one ones[] = {
    { PURGE_URL, "http\na.example\n/a/1\n\n", "234", "1+234", 1 },
    { PURGE_URL, "http\na.example\n/a/\n\n", "1234", "1234", 0 },
    { PURGE_HOST, "a.example", "4", "1+2+3+4", 3 },
    { PURGE_HOST, "c.example", "1234", "1234", 0 },
    { PURGE_TAG, "red", "3", "1+2+34+", 3 },
    { PURGE_TAG, "blue", "24", "1+23+4", 2 },
    { PURGE_TAG, "a.example", "1234", "1234", 0 }, /* a host is no tag */
    { PURGE_TAG, "green", "1234", "1234", 0 },
    { PURGE_ALL, "", "", "1+2+3+4+", 4 },
};

Test(purge, takes_what_it_names_and_nothing_else)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(ones); i++) {
        struct world world = four();
        struct purge_count count = purge(&world, ones[i].kind, ones[i].text, false);
        cr_assert_eq(count.objects, ones[i].objects, "row %u", i);
        cr_assert_eq(count.bytes > 0, ones[i].objects > 0);
        cr_assert_str_eq(left(&world), ones[i].left, "row %u", i);
        cr_assert_eq(cache_numbers(world.cache).purged, ones[i].objects);
        purge(&world, PURGE_ALL, "", false);
        check_empty(&world);
    }
}

Test(purge, softly_leaves_them_stale)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(ones); i++) {
        struct world world = four();
        cr_assert_eq(purge(&world, ones[i].kind, ones[i].text, true).objects, ones[i].objects, "row %u", i);
        cr_assert_str_eq(left(&world), ones[i].left_softly, "row %u", i);
        purge(&world, PURGE_ALL, "", false);
        check_empty(&world);
    }
}

Test(purge, by_prefix_counts_when_the_sweep_has_passed)
{
    struct world world = four();
    struct purge_count count;
    purge(&world, PURGE_PREFIX, "http\na.example\n/a/", false);
    uint64_t sequence = cache_sequence(world.cache);
    cr_assert(!cache_swept(world.cache, sequence, &count));
    cr_assert_str_eq(left(&world), "34");
    sweep(&world);
    cr_assert(cache_swept(world.cache, sequence, &count));
    cr_assert_eq(count.objects, 2);
    purge(&world, PURGE_ALL, "", false);
    check_empty(&world);
}

Test(purge, of_more_prefixes_than_there_are_lines_stays_exact)
{
    struct world world = world_new(MIB);
    char path[512];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(
            path, sizeof path, "/%03u%s", i,
            i % 3
                ? ""
                : "long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/"
                  "long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/");
        cr_assert(stored(&world, &(struct how){ .path = path, .length = 10 }));
    }
    for (unsigned i = 0; i < 200; i += 2) {
        snprintf(
            path, sizeof path, "http\na.example\n/%03u%s", i,
            i % 3
                ? ""
                : "long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/"
                  "long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/long/");
        purge(&world, PURGE_PREFIX, path, false);
    }
    sweep(&world);
    cr_assert_eq(cache_numbers(world.cache).objects, 100);
    purge(&world, PURGE_ALL, "", false);
    sweep(&world);
    for (unsigned i = 0; i < PREFIXES_MOST; i++)
        purge(&world, PURGE_PREFIX, "x", false);
    check_empty(&world);
}

/* A response that was asked for before the purge comes after it. */
Test(purge, what_was_asked_for_before_it_is_not_stored)
{
    static const struct one races[] = {
        { PURGE_URL, "http\na.example\n/a\n\n", "", "", 0 },
        { PURGE_HOST, "a.example", "", "", 0 },
        { PURGE_TAG, "red", "", "", 0 },
        { PURGE_PREFIX, "http\na.example\n/a", "", "", 0 },
        { PURGE_ALL, "", "", "", 0 },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(races) * 8; i++) {
        const struct one *race = &races[i / 8];
        bool soft = i & 1, begun = i & 2, swept = i & 4;
        struct world world = world_new(MIB);
        struct how how = { .path = "/a", .length = 10, .tags = "red", .sequence = cache_sequence(world.cache) };
        enum err e;
        struct object *object = begun ? begin(&world, &how, &e) : NULL;
        purge(&world, race->kind, race->text, soft);
        if (swept)
            sweep(&world);
        if (!begun)
            object = begin(&world, &how, &e);
        cr_assert(fill(&world, object, 1, 10, UINT32_MAX));
        cr_assert_eq(cache_complete(world.cache, object), soft, "case %u", i);
        cr_assert_eq(atomic_load(&object->stale), soft);
        cr_assert_eq(atomic_load(&object->body->state), BODY_COMPLETE, "those who read it go on");
        check_content(object, 1);
        cache_unref(world.cache, object);
        how.sequence = 0;
        cr_assert(stored(&world, &how), "what is asked for afterwards is stored");
        cr_assert_str_eq(left(&world), "");
        cr_assert(found(&world, "/a"));
        purge(&world, PURGE_ALL, "", false);
        check_empty(&world);
    }
}

Test(purge, what_it_does_not_concern_is_stored_whenever_it_was_asked_for)
{
    struct world world = world_new(MIB);
    struct how how = { .path = "/a", .length = 10, .tags = "red", .sequence = cache_sequence(world.cache) };
    purge(&world, PURGE_URL, "http\na.example\n/b\n\n", false);
    purge(&world, PURGE_HOST, "b.example", false);
    purge(&world, PURGE_TAG, "blue", false);
    purge(&world, PURGE_PREFIX, "http\na.example\n/b", false);
    sweep(&world);
    cr_assert(stored(&world, &how));
    cr_assert(found(&world, "/a"));
    world_free(&world);
}

Test(purge, a_validation_that_was_asked_for_before_it_brings_nothing_back)
{
    struct world world = world_new(MIB);
    struct how how = { .path = "/a", .length = 10, .tags = "red", .sequence = cache_sequence(world.cache) };
    struct object *old = store(&world, &how);
    struct key_room room;
    struct response response = response_of(&how);
    purge(&world, PURGE_TAG, "red", false);
    struct cache_new what = new_of(&world, &how, &response, &room);
    cr_assert_null(cache_freshen(world.cache, old, &what));
    cr_assert(!found(&world, "/a"));
    what.sequence = cache_sequence(world.cache);
    struct object *fresh = cache_freshen(world.cache, old, &what);
    cr_assert_not_null(fresh, "the origin was asked after the purge: its word counts");
    cache_unref(world.cache, old);
    cache_unref(world.cache, fresh);
    cr_assert(found(&world, "/a"));
    world_free(&world);
}

Test(purge, of_a_tag_over_a_hundred_thousand_objects_is_one_number)
{
    struct world world = world_new(256 * MIB);
    char path[32];
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(path, sizeof path, "/%u", i);
        cr_assert(stored(&world, &(struct how){ .path = path, .length = 100, .tags = i % 10 ? "most all" : "all" }));
    }
    struct purge_count count = purge(&world, PURGE_TAG, "most", false);
    cr_assert_eq(count.objects, 90000);
    cr_assert_eq(cache_numbers(world.cache).objects, 100000, "nothing was walked");
    for (unsigned i = 0; i < 100000; i += 7) {
        snprintf(path, sizeof path, "/%u", i);
        cr_assert_eq(found(&world, path), i % 10 == 0);
    }
    sweep(&world);
    cr_assert_eq(cache_numbers(world.cache).objects, 10000);
    cr_assert_eq(purge(&world, PURGE_TAG, "most", false).objects, 0);
    cr_assert_eq(purge(&world, PURGE_TAG, "all", false).objects, 10000);
    check_empty(&world);
}

Test(purge, a_sweep_takes_as_many_steps_as_it_is_told)
{
    struct world world = world_new(MIB);
    char path[32];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "/%u", i);
        cr_assert(stored(&world, &(struct how){ .path = path, .length = 10 }));
    }
    cr_assert(!cache_sweep(world.cache, 10), "nothing to do");
    purge(&world, PURGE_ALL, "", false);
    cr_assert(cache_sweep(world.cache, 10));
    cr_assert_geq(cache_numbers(world.cache).objects, 85);
    check_empty(&world);
}

/* One URL under many keys, as a rule makes them that keys by cookies. */
Test(purge, of_a_url_with_very_many_keys_goes_on_as_they_are_met)
{
    for (int soft = 0; soft < 2; soft++) {
        struct world world = world_new(4 * MIB);
        char text[64];
        for (unsigned i = 0; i < 1500; i++) {
            snprintf(text, sizeof text, "http\na.example\n/%s\n\napp\n%u\n", i % 3 ? "a" : "ab", i);
            struct cache_key key = { .text = slice_of_text(text),
                                     .url_length = (uint32_t)(strstr(text, "app") - text) };
            key.url_hash = siphash13(text, key.url_length, world.seed[0], world.seed[1]);
            cr_assert(stored(&world, &(struct how){ .key = &key, .length = 10 }));
        }
        cr_assert_eq(purge(&world, PURGE_URL, "http\na.example\n/a\n\n", soft).objects, 512);
        unsigned left = 0;
        for (unsigned i = 0; i < 1500; i++) {
            snprintf(text, sizeof text, "http\na.example\n/%s\n\napp\n%u\n", i % 3 ? "a" : "ab", i);
            struct cache_key key = { .text = slice_of_text(text),
                                     .url_length = (uint32_t)(strstr(text, "app") - text) };
            key.url_hash = siphash13(text, key.url_length, world.seed[0], world.seed[1]);
            bool others;
            struct object *object = cache_find(world.cache, &key, &get_request, &others);
            cr_assert_eq(object != NULL && !atomic_load(&object->stale), i % 3 == 0);
            left += object != NULL;
            if (object)
                cache_unref(world.cache, object);
        }
        cr_assert_eq(left, soft ? 1500 : 500);
        purge(&world, PURGE_ALL, "", false);
        check_empty(&world);
    }
}

Test(purge, a_prefix_is_remembered_for_fills_beyond_the_list)
{
    struct world world = world_new(MIB);
    struct how how = { .path = "/a", .length = 10, .sequence = cache_sequence(world.cache) };
    purge(&world, PURGE_PREFIX, "http\na.example\n/a", false);
    for (unsigned i = 0; i < 2 * PREFIXES_MOST; i++)
        purge(&world, PURGE_PREFIX, "http\na.example\n/b", false);
    cr_assert(!stored(&world, &how));
    how.sequence = 0;
    cr_assert(stored(&world, &how));
    world_free(&world);
}

Test(purge, counts_what_came_after_the_last_one)
{
    struct world world = world_new(MIB);
    char path[32];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 10; i++) {
            snprintf(path, sizeof path, "/%u",
                     i + 7 * round); /* some take the place of those that were purged and not met */
            cr_assert(stored(&world, &(struct how){ .path = path, .length = 1000, .tags = "red" }));
        }
        cr_assert_eq(purge(&world, PURGE_TAG, "red", true).objects, 10, "softly: they stay");
        struct purge_count count = purge(&world, PURGE_TAG, "red", false);
        cr_assert_eq(count.objects, 10);
        cr_assert(count.bytes >= 10000 && count.bytes < 30000 && count.bytes % 256 == 0);
    }
    cr_assert_gt(purge(&world, PURGE_ALL, "", false).objects, 0, "not met yet: counted again");
    cr_assert_eq(purge(&world, PURGE_ALL, "", false).objects, 0);
    cr_assert(stored(&world, &(struct how){ .path = "/", .length = 1000 }));
    cr_assert_eq(purge(&world, PURGE_ALL, "", true).objects, 1);
    cr_assert_eq(purge(&world, PURGE_ALL, "", false).objects, 1);
    sweep(&world);
    cr_assert_eq(purge(&world, PURGE_HOST, "a.example", false).objects, 0);
    check_empty(&world);
}

/* Against a model ----------------------------------------------------------------------------------------------- */

#define PATHS 60u
#define HOSTS 3u
#define TAGS 5u
#define FILLS 12u

/* What the model knows of a stored or asked for response. */
struct entry {
    bool there, stale;
    unsigned host, path, tags; /* a bit each */
    uint64_t salt;
};
static struct entry entries[HOSTS][PATHS];
static struct {
    struct object *object; /* NULL: not begun yet */
    struct entry entry;
    uint64_t sequence;
    bool used;
} fills[FILLS];
static const char *const hosts[HOSTS] = { "a.example", "b.example", "c.example:81" };

static const char *path_of(unsigned path)
{
    static char text[32];
    snprintf(text, sizeof text, "/%u/%u", path % 4, path);
    return text;
}

static struct how how_of(const struct entry *entry)
{
    static char tags[64];
    size_t at = 0;
    tags[0] = '\0';
    for (unsigned i = 0; i < TAGS; i++)
        if (entry->tags >> i & 1)
            at += (size_t)snprintf(tags + at, sizeof tags - at, "tag%u ", i);
    return (struct how){ .host = hosts[entry->host],
                         .path = path_of(entry->path),
                         .tags = tags,
                         .length = entry->salt % 700,
                         .salt = entry->salt };
}

static struct entry any_entry(void)
{
    static uint64_t salt;
    return (struct entry){ .there = true,
                           .host = (unsigned)random_below(HOSTS),
                           .path = (unsigned)random_below(PATHS),
                           .tags = (unsigned)random_below(1u << TAGS),
                           .salt = ++salt };
}

static bool concerns(const struct entry *entry, enum purge_kind kind, unsigned host, unsigned number)
{
    switch (kind) {
    case PURGE_URL: return entry->host == host && entry->path == number;
    case PURGE_PREFIX: return entry->host == host && entry->path % 4 == number % 4;
    case PURGE_HOST: return entry->host == host;
    case PURGE_TAG: return entry->tags >> (number % TAGS) & 1;
    case PURGE_ALL: return true;
    }
    return false;
}

static void model_purge(struct entry *entry, bool soft)
{
    entry->stale |= soft;
    entry->there &= soft;
}

static void purge_both(const struct world *world)
{
    enum purge_kind kind = random_below(20) == 0 ? PURGE_ALL : (enum purge_kind)random_below(4);
    unsigned host = (unsigned)random_below(HOSTS), number = (unsigned)random_below(PATHS);
    bool soft = random_below(3) == 0;
    char text[64];
    if (kind == PURGE_URL)
        snprintf(text, sizeof text, "http\n%s\n%s\n\n", hosts[host], path_of(number));
    else if (kind == PURGE_PREFIX)
        snprintf(text, sizeof text, "http\n%s\n/%u/", hosts[host], number % 4);
    else if (kind == PURGE_HOST)
        snprintf(text, sizeof text, "%s", hosts[host]);
    else
        snprintf(text, sizeof text, "tag%u", number % TAGS);
    purge(world, kind, text, soft);
    for (unsigned i = 0; i < HOSTS * PATHS; i++) {
        struct entry *entry = &entries[i / PATHS][i % PATHS];
        if (concerns(entry, kind, host, number))
            model_purge(entry, soft);
    }
    for (unsigned i = 0; i < FILLS; i++)
        if (fills[i].used && concerns(&fills[i].entry, kind, host, number))
            model_purge(&fills[i].entry, soft);
}

/* Asked for now; begun and completed later. What echoes forget errs to one side: then it is not stored, or stale. */
static void step_fill(const struct world *world, unsigned i)
{
    enum err e;
    if (!fills[i].used) {
        fills[i].entry = any_entry();
        fills[i].sequence = cache_sequence(world->cache);
        fills[i].object = NULL;
        fills[i].used = true;
        return;
    }
    struct how how = how_of(&fills[i].entry);
    how.sequence = fills[i].sequence;
    if (!fills[i].object) {
        fills[i].object = begin(world, &how, &e);
        cr_assert_not_null(fills[i].object);
        return;
    }
    struct entry *entry = &entries[fills[i].entry.host][fills[i].entry.path];
    cr_assert(fill(world, fills[i].object, how.salt, how.length, 100));
    bool done = cache_complete(world->cache, fills[i].object);
    cr_assert(fills[i].entry.there || !done, "stored though a purge concerns it");
    if (done) {
        cr_assert(atomic_load(&fills[i].object->stale) || !fills[i].entry.stale);
        *entry = fills[i].entry;
        entry->stale = atomic_load(&fills[i].object->stale);
    }
    cache_unref(world->cache, fills[i].object);
    fills[i].used = false;
}

static void check_entry(const struct world *world, unsigned host, unsigned path)
{
    const struct entry *entry = &entries[host][path];
    struct object *object = find_of(world, hosts[host], path_of(path), &get_request);
    cr_assert_eq(object != NULL, entry->there, "%s %s", hosts[host], path_of(path));
    if (!object)
        return;
    cr_assert_eq(atomic_load(&object->stale), entry->stale);
    check_content(object, entry->salt);
    cache_unref(world->cache, object);
}

Test(purge, agrees_with_a_model_whatever_races)
{
    struct world world = world_new(2 * MIB); /* roomy: nothing is evicted */
    seed_take("purge.agrees_with_a_model_whatever_races");
    for (unsigned step = 0; step < 30000; step++) {
        unsigned what = (unsigned)random_below(100);
        if (what < 30) {
            struct entry entry = any_entry();
            struct how how = how_of(&entry);
            cr_assert(stored(&world, &how));
            entries[entry.host][entry.path] = entry;
        } else if (what < 60) {
            step_fill(&world, (unsigned)random_below(FILLS));
        } else if (what < 63) {
            purge_both(&world);
        } else if (what < 66) {
            cache_sweep(world.cache, (uint32_t)random_below(100));
        } else {
            check_entry(&world, (unsigned)random_below(HOSTS), (unsigned)random_below(PATHS));
        }
    }
    for (unsigned i = 0; i < HOSTS * PATHS; i++)
        check_entry(&world, i / PATHS, i % PATHS);
    cr_assert_eq(cache_numbers(world.cache).evicted, 0);
    for (unsigned i = 0; i < FILLS; i++)
        if (fills[i].used && fills[i].object)
            cache_unref(world.cache, fills[i].object);
    purge(&world, PURGE_ALL, "", false);
    check_empty(&world);
}

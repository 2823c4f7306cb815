#include "proto/cache_control.h"

#include <criterion/criterion.h>

static struct fields fields;
static struct cache_control control;

static void add(const char *name, const char *value)
{
    cr_assert_eq(fields_add(&fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
}

static void forget(void)
{
    fields.count = 0;
    fields.present = 0;
}

static void read_one(const char *value)
{
    forget();
    add("Cache-Control", value);
    cache_control_read(&control, &fields);
}

static bool has(enum cache_directive directive)
{
    return cache_control_has(&control, directive);
}

static bool named(enum cache_directive directive, const char *name)
{
    return control.named >> directive & 1 &&
           cache_control_names(&fields, FIELD_CACHE_CONTROL, directive, slice_of_text(name));
}

/* The value, or -1 when the directive is not there. */
static int64_t seconds(const char *value, enum cache_directive directive)
{
    read_one(value);
    return has(directive) ? (int64_t)control.seconds[directive] : -1;
}

static int64_t max_age(const char *value)
{
    return seconds(value, DIRECTIVE_MAX_AGE);
}

Test(cache_control_5_2, every_directive_is_known_in_any_case)
{
    read_one(
        "MAX-AGE=1, S-MaxAge=2,stale-while-revalidate=3, stale-if-error=4 ,max-stale=5,\tmin-fresh=6, No-Cache, PRIVATE, no-store, must-revalidate, "
        "proxy-revalidate, no-transform, only-if-cached, public, immutable, must-understand");
    cr_expect_eq(control.has, (1u << DIRECTIVES) - 1);
    for (uint32_t i = 0; i < DIRECTIVE_SECONDS; i++)
        cr_expect_eq(control.seconds[i], i + 1);
}

Test(cache_control_5_2_3, unknown_directives_are_ignored)
{
    read_one("community=\"UCI, no-store\", max-age=5, x=, , =5, \"no-store\", no-stor, no-storeX, max-ages=7, ext");
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 5);
    read_one("");
    cr_expect_eq(control.has | control.named, 0);
}

Test(cache_control_5_2, lines_are_one_list)
{
    forget();
    add("Cache-Control", "max-age=5");
    add("X", "no-store");
    add("cache-control", "must-revalidate");
    cache_control_read(&control, &fields);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE | 1u << DIRECTIVE_MUST_REVALIDATE);
}

Test(cache_control_5_2, arguments_are_taken_in_both_forms)
{
    cr_expect_eq(max_age("max-age=\"600\""), 600);
    cr_expect_eq(max_age("max-age=600"), 600);
    read_one("private=set-cookie, no-cache=\"X-A , x-b\"");
    cr_expect_eq(control.has, 0);
    cr_expect(named(DIRECTIVE_PRIVATE, "Set-Cookie"));
    cr_expect(named(DIRECTIVE_NO_CACHE, "x-a") && named(DIRECTIVE_NO_CACHE, "X-B"));
    cr_expect_not(named(DIRECTIVE_NO_CACHE, "x") || named(DIRECTIVE_NO_CACHE, "Set-Cookie") ||
                  named(DIRECTIVE_PRIVATE, "x-a"));
}

Test(cache_control_1_2_2, seconds_that_do_not_fit_are_two_to_the_31)
{
    cr_expect_eq(max_age("max-age=2147483647"), 2147483647);
    cr_expect_eq(max_age("max-age=2147483648"), 2147483648);
    cr_expect_eq(max_age("max-age=2147483649"), 2147483648);
    cr_expect_eq(max_age("max-age=4294967297"), 2147483648);
    cr_expect_eq(max_age("max-age=99999999999999999999999999"), 2147483648);
    cr_expect_eq(max_age("max-age=000000000000000000000000005"), 5);
}

Test(cache_control_4_2_1, malformed_seconds_count_as_stale)
{
    static const char *const rows[] = { "max-age",
                                        "max-age=",
                                        "max-age=\"\"",
                                        "max-age=a",
                                        "max-age=-5",
                                        "max-age=+5",
                                        "max-age=5.5",
                                        "max-age=5s",
                                        "max-age=0x5",
                                        "max-age =5",
                                        "max-age= 5",
                                        "max-age=5 5",
                                        "max-age 5",
                                        "max-age=\"5",
                                        "max-age=5\"",
                                        "max-age='5'",
                                        "max-age=99999999999999999999999999x",
                                        "max-age=\"\\5\"",
                                        "max-age;5",
                                        "max-age=5;x",
                                        "max-age:5" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        cr_expect_eq(max_age(rows[i]), 0, "%s", rows[i]);
    cr_expect_eq(seconds("min-fresh=x", DIRECTIVE_MIN_FRESH), CACHE_SECONDS_MAX);
    cr_expect_eq(seconds("max-stale=x", DIRECTIVE_MAX_STALE), 0);
    cr_expect_eq(seconds("max-stale", DIRECTIVE_MAX_STALE), CACHE_SECONDS_ANY);
    cr_expect_eq(seconds("stale-if-error", DIRECTIVE_STALE_IF_ERROR), 0);
}

Test(cache_control_4_2_1, two_values_that_differ_count_as_stale)
{
    cr_expect_eq(max_age("max-age=5, max-age=6"), 0);
    cr_expect_eq(max_age("max-age=5, max-age=6, max-age=6, max-age=5"), 0);
    cr_expect_eq(max_age("max-age=x, max-age=6"), 0);
    cr_expect_eq(max_age("max-age=5, max-age=\"5\", max-age=05"), 5);
    cr_expect_eq(seconds("min-fresh=5, min-fresh=6", DIRECTIVE_MIN_FRESH), CACHE_SECONDS_MAX);
    forget();
    add("Cache-Control", "max-age=5");
    add("Cache-Control", "max-age=50");
    cache_control_read(&control, &fields);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 0);
}

Test(cache_control, what_forbids_holds_with_any_argument_and_what_permits_without_only)
{
    static const char *const rows[] = { "no-store=1, private=, no-cache=\"\"",
                                        "no-store; private, private \t foo, no-cache;x",
                                        "no-store=\"x\", private=\"a b\", no-cache=\"set\\-cookie\"",
                                        "private=\",\", no-cache=(, no-store=\"" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        read_one(rows[i]);
        cr_expect(has(DIRECTIVE_NO_STORE) && has(DIRECTIVE_PRIVATE) && has(DIRECTIVE_NO_CACHE), "%s: %x", rows[i],
                  control.has);
    }
    read_one("public=1, immutable; must-understand, must-understand=, public \"x\"");
    cr_expect_eq(control.has, 0);
}

Test(cache_control_5_2_2_7, names_beside_the_whole_are_the_whole)
{
    read_one("private=\"x-a\", private");
    cr_expect(has(DIRECTIVE_PRIVATE));
    cr_expect(named(DIRECTIVE_PRIVATE, "x-a"));
    read_one("private=\"x-a\", private=x-b, no-cache=x-c");
    cr_expect_eq(control.has, 0);
    cr_expect(named(DIRECTIVE_PRIVATE, "x-a") && named(DIRECTIVE_PRIVATE, "x-b") && !named(DIRECTIVE_PRIVATE, "x-c"));
}

Test(cache_control, quotes_that_do_not_end_hide_nothing)
{
    read_one("ext=\"a, no-store, private=\"x\", max-age=5");
    cr_expect(has(DIRECTIVE_NO_STORE));
    read_one("ex\"t, no-store");
    cr_expect(has(DIRECTIVE_NO_STORE));
    read_one("a=\"\\\",\\\",\\\", no-store");
    cr_expect(has(DIRECTIVE_NO_STORE));
    read_one("ext=\"a, no-store\", max-age=5");
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
}

Test(cache_control_5_4, pragma_counts_in_requests_without_cache_control)
{
    forget();
    add("Pragma", "x, No-Cache");
    cache_control_read_request(&control, &fields);
    cr_expect_eq(control.has, 1u << DIRECTIVE_NO_CACHE);
    cache_control_read(&control, &fields);
    cr_expect_eq(control.has, 0);
    add("Cache-Control", "max-stale=3");
    cache_control_read_request(&control, &fields);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_STALE);
    forget();
    add("Pragma", "no-cache=1, no-cach");
    cache_control_read_request(&control, &fields);
    cr_expect_eq(control.has, 0);
}

/* Which field governs ---------------------------------------------------------------------------------------------- */

static enum field_id select_of(const char *cdn, const char *surrogate, const char *plain)
{
    forget();
    if (plain)
        add("Cache-Control", plain);
    if (surrogate)
        add("Surrogate-Control", surrogate);
    if (cdn)
        add("CDN-Cache-Control", cdn);
    return cache_control_select(&control, &fields);
}

Test(targeted_2_2, the_first_field_that_says_something_governs_alone)
{
    cr_expect_eq(select_of("max-age=60", "max-age=70", "no-store"), FIELD_CDN_CACHE_CONTROL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 60);
    cr_expect_eq(select_of(NULL, "max-age=70", "no-store"), FIELD_SURROGATE_CONTROL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
    cr_expect_eq(select_of(NULL, NULL, "no-store"), FIELD_CACHE_CONTROL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_NO_STORE);
    cr_expect_eq(select_of(NULL, NULL, NULL), FIELD_CACHE_CONTROL);
    cr_expect_eq(control.has, 0);
    cr_expect_eq(select_of("none", NULL, "max-age=5"), FIELD_CDN_CACHE_CONTROL,
                 "RFC 9213 3.1: a directive nobody knows is not an empty field");
    cr_expect_eq(control.has, 0);
}

Test(targeted_2_1, a_field_that_is_empty_or_malformed_is_as_if_it_was_not_there)
{
    static const char *const rows[] = { "",
                                        " ",
                                        "max-age=60,",
                                        "Max-Age=60",
                                        "max-age=60; public=",
                                        "max-age = 60",
                                        "no-store, =",
                                        "max-age=60 no-store",
                                        "private=\"x",
                                        "max-age=\"60\", \"" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        cr_expect_eq(select_of(rows[i], NULL, "max-age=5"), FIELD_CACHE_CONTROL, "%s", rows[i]);
        cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
        cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 5);
    }
}

Test(targeted_2_1, values_have_the_kind_of_their_directive)
{
    static const char *const stale[] = { "max-age=1.5", "max-age=\"60\"", "max-age=sixty", "max-age",
                                         "max-age=-1",  "max-age=(60)",   "max-age=:YQ==:" };
    for (size_t i = 0; i < ARRAY_LENGTH(stale); i++) {
        cr_expect_eq(select_of(stale[i], NULL, "max-age=5"), FIELD_CDN_CACHE_CONTROL, "%s", stale[i]);
        cr_expect(has(DIRECTIVE_MAX_AGE) && control.seconds[DIRECTIVE_MAX_AGE] == 0, "%s", stale[i]);
    }
    select_of("no-store=?0, private=?0, max-age=999999999999999", NULL, NULL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], CACHE_SECONDS_MAX);
    select_of("no-store=1, public=1", NULL, NULL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_NO_STORE);
}

Test(targeted_2_1, parameters_are_ignored_and_the_last_of_a_key_wins)
{
    select_of("max-age=60;x=1, max-age=70, no-store, no-store=?0, private, private=\"a\"", NULL, NULL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 70);
    cr_expect_eq(control.named, 1u << DIRECTIVE_PRIVATE);
    select_of("private=\"a\", private=?0", NULL, NULL);
    cr_expect_eq(control.has | control.named, 0);
}

Test(targeted_2_1, names_are_a_string)
{
    select_of("private=\"Set-Cookie, x-a\", no-cache=x-b, private=\"x-c\"", NULL, "private=x-d");
    cr_expect_eq(control.has, 0);
    cr_expect(cache_control_names(&fields, FIELD_CDN_CACHE_CONTROL, DIRECTIVE_PRIVATE, SLICE("X-C")));
    cr_expect(cache_control_names(&fields, FIELD_CDN_CACHE_CONTROL, DIRECTIVE_NO_CACHE, SLICE("x-b")));
    cr_expect_not(cache_control_names(&fields, FIELD_CDN_CACHE_CONTROL, DIRECTIVE_PRIVATE, SLICE("x-a")),
                  "the last of a key");
    cr_expect_not(cache_control_names(&fields, FIELD_CDN_CACHE_CONTROL, DIRECTIVE_PRIVATE, SLICE("x-d")));
}

Test(surrogate, reads_as_cache_control_with_a_time_when_it_may_be_stale)
{
    select_of(NULL, "max-age=60+600, content=\"ESI/1.0\"", "max-age=5");
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE | 1u << DIRECTIVE_STALE_WHILE_REVALIDATE);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 60);
    cr_expect_eq(control.seconds[DIRECTIVE_STALE_WHILE_REVALIDATE], 600);
    select_of(NULL, "max-age=60+x", NULL);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 60);
    cr_expect_eq(control.seconds[DIRECTIVE_STALE_WHILE_REVALIDATE], 0);
    select_of(NULL, "max-age=+600, no-store", NULL);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 0);
    cr_expect(has(DIRECTIVE_NO_STORE));
}

Test(surrogate, what_is_for_others_or_says_nothing_of_storing_does_not_govern)
{
    cr_expect_eq(select_of(NULL, "max-age=60;abc, no-store;abc", "max-age=5"), FIELD_CACHE_CONTROL);
    cr_expect_eq(control.seconds[DIRECTIVE_MAX_AGE], 5);
    cr_expect_eq(select_of(NULL, "content=\"ESI/1.0\", no-store-remote", "max-age=5"), FIELD_CACHE_CONTROL);
    cr_expect_eq(select_of(NULL, "no-store;abc, max-age=7", "max-age=5"), FIELD_SURROGATE_CONTROL);
    cr_expect_eq(control.has, 1u << DIRECTIVE_MAX_AGE);
}

#include "engine/policy/passthrough.h"

#include <criterion/criterion.h>

static struct host_pattern patterns[4][4];

/* names, protocols: words between spaces; "*": any. */
static unsigned words(const char *text, struct slice *list)
{
    unsigned count = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        list[count++] = slice_of(text, length);
        text += length + (text[length] == ' ');
    }
    return count;
}

static struct passthrough_row row(unsigned number, const char *names, const char *protocols)
{
    static struct slice texts[4][8];
    struct passthrough_row made = { .pool = number, .patterns = patterns[number], .names = texts[number], .protocols = texts[number] + 4 };
    made.name_count = words(names, made.names);
    made.protocol_count = words(protocols, made.protocols);
    made.any = slice_equal(made.names[0], SLICE("*"));
    for (unsigned i = 0; !made.any && i < made.name_count; i++)
        cr_assert_eq(host_pattern_of(made.names[i], &patterns[number][i]), ERR_OK);
    return made;
}

static int found(const struct passthrough_row *rows, unsigned count, const char *name, struct slice offered)
{
    const struct passthrough_row *one = passthrough_find(rows, count, slice_of_text(name), offered);
    return one ? (int)one->pool : -1;
}

Test(passthrough, names_are_matched_as_hosts_of_routes_are)
{
    const struct passthrough_row rows[] = { row(0, "a.example b.example", ""), row(1, "*.example", "") };
    cr_expect_eq(found(rows, 2, "b.example", SLICE_NONE), 0);
    cr_expect_eq(found(rows, 2, "c.example", SLICE_NONE), 1);
    cr_expect_eq(found(rows, 2, "c.a.example", SLICE_NONE), 1);
    cr_expect_eq(found(rows, 2, "example", SLICE_NONE), -1);
    cr_expect_eq(found(rows, 2, "xa.examples", SLICE_NONE), -1);
    cr_expect_eq(found(rows, 2, "", SLICE_NONE), -1);
}

Test(passthrough, a_star_takes_those_without_a_name)
{
    const struct passthrough_row rows[] = { row(0, "a.example", ""), row(1, "*", "") };
    cr_expect_eq(found(rows, 2, "", SLICE_NONE), 1);
    cr_expect_eq(found(rows, 2, "b", SLICE_NONE), 1);
    cr_expect_eq(found(rows, 2, "a.example", SLICE_NONE), 0);
}

Test(passthrough, one_of_the_protocols_must_be_offered)
{
    const struct passthrough_row rows[] = { row(0, "*", "h2 postgresql"), row(1, "*", "http/1.1") };
    cr_expect_eq(found(rows, 2, "", SLICE("\x08http/1.1\x02h2")), 0);
    cr_expect_eq(found(rows, 2, "", SLICE("\x08http/1.1")), 1);
    cr_expect_eq(found(rows, 2, "", SLICE("\x02H2")), -1);
    cr_expect_eq(found(rows, 2, "", SLICE("\x03h2c")), -1);
    cr_expect_eq(found(rows, 2, "", SLICE_NONE), -1);
}

Test(passthrough, a_list_that_lies_is_not_read_beyond_its_end)
{
    const struct passthrough_row rows[] = { row(0, "*", "h2") };
    cr_expect_eq(found(rows, 1, "", slice_of("\xffh2", 2)), -1);
    cr_expect_eq(found(rows, 1, "", slice_of("\x02h2", 2)), -1);
    cr_expect_eq(found(rows, 1, "", slice_of("\x02", 1)), -1);
}

Test(passthrough, covering)
{
    struct passthrough_row any = row(0, "*", ""), below = row(1, "*.example", ""), one = row(2, "a.example", "h2"), two = row(3, "a.example b.test", "h2 x");
    cr_expect(passthrough_covers(&any, &below));
    cr_expect(passthrough_covers(&below, &one));
    cr_expect_not(passthrough_covers(&one, &below));
    cr_expect_not(passthrough_covers(&below, &any));
    cr_expect_not(passthrough_covers(&below, &two), "it has a name that the other does not take");
    cr_expect_not(passthrough_covers(&one, &two));
    cr_expect(passthrough_covers(&two, &one));
    below.protocol_count = words("h2", below.protocols);
    cr_expect_not(passthrough_covers(&below, &any));
    cr_expect(passthrough_covers(&below, &one));
    one.protocol_count = 0;
    cr_expect_not(passthrough_covers(&below, &one));
}

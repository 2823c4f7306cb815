#include "engine/policy/passthrough.h"

#include <criterion/criterion.h>

#include "proto/tls_hello.h"

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

/* A hello of TLS 1.2 for name and these protocols, its message in records of `piece` bytes; its length. */
static size_t make_hello(char *out, struct slice name, struct slice protocols, size_t piece)
{
    char message[300] = { 1, 0, 0, 0, 3, 3 };
    size_t at = 6 + 32 + 1;
    memcpy(message + at, "\0\x02\xc0\x2f\x01\0", 6);
    at += 6;
    size_t extensions = at;
    at += 2;
    memcpy(message + at, (char[9]){ 0, 0, 0, (char)(name.length + 5), 0, (char)(name.length + 3), 0, 0, (char)name.length }, 9);
    memcpy(message + at + 9, name.at, name.length);
    at += 9 + name.length;
    memcpy(message + at, (char[6]){ 0, 16, 0, (char)(protocols.length + 2), 0, (char)protocols.length }, 6);
    memcpy(message + at + 6, protocols.at, protocols.length);
    at += 6 + protocols.length;
    message[extensions + 1] = (char)(at - extensions - 2);
    message[3] = (char)(at - 4);
    size_t length = 0;
    for (size_t from = 0; from < at; from += piece) {
        size_t part = size_min(piece, at - from);
        memcpy(out + length, (char[5]){ 22, 3, 1, 0, (char)part }, 5);
        memcpy(out + length + 5, message + from, part);
        length += 5 + part;
    }
    return length;
}

Test(passthrough, protocols_of_a_hello_in_any_records_are_found)
{
    static char bytes[2000], scratch[TLS_HELLO_BYTES_MAX];
    const struct passthrough_row rows[] = { row(0, "a.example", "x"), row(1, "a.example", "postgresql") };
    for (size_t piece = 3; piece < 120; piece++) {
        struct tls_hello hello;
        size_t length = make_hello(bytes, SLICE("A.example"), SLICE("\x02h2\x0apostgresql"), piece);
        cr_assert_eq(tls_hello_read(slice_of(bytes, length), scratch, &hello), TLS_HELLO_DONE, "pieces of %zu", piece);
        cr_expect(slice_equal(hello.protocols, SLICE("\x02h2\x0apostgresql")));
        cr_expect_eq(found(rows, 2, hello.name, hello.protocols), 1);
    }
}

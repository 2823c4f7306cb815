#include "proto/proxy_header.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/address_text.h"
#include "tests/unit/cases.h"

#define PAGE "tests/cases/proxy_headers.md"
#define FOUND_BYTES 1024

static void put_slice(char found[FOUND_BYTES], const char *name, struct slice value)
{
    size_t length = strlen(found);
    if (value.at)
        snprintf(found + length, FOUND_BYTES - length, " %s%.*s", name, (int)value.length, value.at);
}

static void put_addresses(char found[FOUND_BYTES], const struct proxy_header *header)
{
    char source[ADDRESS_TEXT_BYTES], destination[ADDRESS_TEXT_BYTES];
    size_t length = strlen(found);
    bool v6 = header->family == PROXY_V6;
    address_text_write(header->source, v6, source);
    address_text_write(header->destination, v6, destination);
    if (header->family == PROXY_V4 || v6)
        snprintf(found + length, FOUND_BYTES - length, "%s %s %u %s %u", v6 ? "v6" : "v4", source, header->source_port, destination,
                 header->destination_port);
    else
        snprintf(found + length, FOUND_BYTES - length, "%s", header->family == PROXY_UNIX ? "unix" : header->local ? "local" : "unnamed");
}

/* As the page says it. */
static void describe(const struct proxy_header *header, char found[FOUND_BYTES])
{
    snprintf(found, FOUND_BYTES, "accepted %u ", header->bytes);
    put_addresses(found, header);
    put_slice(found, "", header->source_path);
    put_slice(found, "", header->destination_path);
    put_slice(found, "alpn=", header->alpn);
    put_slice(found, "authority=", header->authority);
    put_slice(found, "id=", header->unique_id);
    size_t length = strlen(found);
    if (header->has_tls)
        snprintf(found + length, FOUND_BYTES - length, " tls=%u/%u", header->tls.client, header->tls.verify);
    put_slice(found, "version=", header->tls.version);
    put_slice(found, "cn=", header->tls.common_name);
    put_slice(found, "cipher=", header->tls.cipher);
    put_slice(found, "signature=", header->tls.signature);
    put_slice(found, "key=", header->tls.key);
    put_slice(found, "netns=", header->netns);
    put_slice(found, "", header->checksum ? SLICE("checksum") : SLICE_NONE);
}

static void one_header(const struct test_case *one)
{
    struct proxy_header header;
    char found[FOUND_BYTES] = "more";
    const char *why;
    enum proxy_verdict whole = proxy_header_read(one->bytes, &header, &why);
    if (whole == PROXY_DONE)
        describe(&header, found);
    else if (whole == PROXY_BAD)
        snprintf(found, sizeof found, "refused %s", why);
    cr_expect_str_eq(found, one->verdict, "%s: %s, not %s", one->name, found, one->verdict);
}

Test(proxy_header, is_judged_as_the_page_says)
{
    cr_assert_gt(cases_run(PAGE, "proxy", one_header), 70u);
}

/* With some of the bytes the verdict is "more" until it is that of all, and stays. */
static void one_in_pieces(const struct test_case *one)
{
    struct proxy_header whole, header;
    const char *why;
    enum proxy_verdict verdict = proxy_header_read(one->bytes, &whole, &why), now = PROXY_MORE;
    for (size_t given = 0; given <= one->bytes.length; given++) {
        enum proxy_verdict before = now;
        char *copy = malloc(given ? given : 1); /* exactly as long, so that the sanitizer sees a byte too far */
        memcpy(copy, one->bytes.at, given);
        now = proxy_header_read(slice_of(copy, given), &header, &why);
        cr_expect(now == verdict || (now == PROXY_MORE && before == PROXY_MORE), "%s after %zu", one->name, given);
        if (now == PROXY_DONE)
            cr_expect(given >= whole.bytes && header.bytes == whole.bytes, "%s after %zu", one->name, given);
        free(copy);
    }
}

Test(proxy_header, pieces_do_not_matter)
{
    cases_run(PAGE, "proxy", one_in_pieces);
}

static void one_again(const struct test_case *one)
{
    struct proxy_header header, again;
    char out[PROXY_HEADER_BYTES_MAX], first[FOUND_BYTES], second[FOUND_BYTES];
    const char *why;
    if (proxy_header_read(one->bytes, &header, &why) != PROXY_DONE)
        return;
    size_t length = proxy_header_write(&header, out);
    cr_assert_gt(length, 0, "%s", one->name);
    cr_assert_eq(proxy_header_read(slice_of(out, length), &again, &why), PROXY_DONE, "%s: %s", one->name, why);
    cr_expect_eq(again.bytes, length);
    header.bytes = again.bytes; /* what is passed over is not written */
    describe(&header, first);
    describe(&again, second);
    cr_expect_str_eq(first, second, "%s", one->name);
}

Test(proxy_header, what_is_written_reads_back)
{
    cases_run(PAGE, "proxy", one_again);
}

Test(proxy_header, a_bit_that_flips_is_seen_by_the_checksum)
{
    struct proxy_header header = { .version = 2, .family = PROXY_V6, .checksum = true, .authority = SLICE("www.example.com"), .source_port = 7 }, again;
    char out[PROXY_HEADER_BYTES_MAX];
    const char *why;
    size_t length = proxy_header_write(&header, out);
    for (size_t bit = 16 * 8; bit < (length - 7) * 8; bit++) { /* the addresses and the field; not the sum's own frame */
        out[bit / 8] ^= (char)(1 << bit % 8);
        cr_expect_eq(proxy_header_read(slice_of(out, length), &again, &why), PROXY_BAD, "bit %zu", bit);
        out[bit / 8] ^= (char)(1 << bit % 8);
    }
    cr_assert_eq(proxy_header_read(slice_of(out, length), &again, &why), PROXY_DONE);
}

Test(proxy_header, what_does_not_fit_is_not_written)
{
    static char long_name[PROXY_HEADER_BYTES_MAX];
    struct proxy_header header = { .version = 2, .family = PROXY_V4, .authority = slice_of(long_name, sizeof long_name) };
    char out[PROXY_HEADER_BYTES_MAX];
    cr_assert_eq(proxy_header_write(&header, out), 0);
    header.authority.length = PROXY_HEADER_BYTES_MAX - 16 - 12 - 3;
    cr_assert_eq(proxy_header_write(&header, out), PROXY_HEADER_BYTES_MAX);
}

Test(proxy_header, version_1_says_unknown_of_what_it_has_no_word_for)
{
    struct proxy_header header = { .version = 1, .family = PROXY_UNIX, .has_tls = true };
    char out[PROXY_HEADER_BYTES_MAX];
    size_t length = proxy_header_write(&header, out);
    cr_assert(slice_equal(slice_of(out, length), SLICE("PROXY UNKNOWN\r\n")));
}

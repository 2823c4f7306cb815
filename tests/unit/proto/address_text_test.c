#include "proto/address_text.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/seed.h"

static void both_ways(const char *text, bool v6, const char *written)
{
    uint8_t address[16];
    char out[ADDRESS_TEXT_BYTES];
    cr_assert(v6 ? address_text_read_v6(slice_of_text(text), address) : address_text_read_v4(slice_of_text(text), address), "%s", text);
    size_t length = address_text_write(address, v6, out);
    cr_assert_str_eq(out, written);
    cr_assert_eq(length, strlen(written));
}

Test(address_text, reads_and_writes_the_one_form)
{
    both_ways("0.0.0.0", false, "0.0.0.0");
    both_ways("255.10.200.9", false, "255.10.200.9");
    both_ways("::", true, "::");
    both_ways("::1", true, "::1");
    both_ways("1::", true, "1::");
    both_ways("2001:DB8:0:0:0:0:0:1", true, "2001:db8::1");
    both_ways("2001:db8:0:1:1:1:1:1", true, "2001:db8:0:1:1:1:1:1");
    both_ways("2001:0db8::1:0:0:1", true, "2001:db8::1:0:0:1");
    both_ways("1:0:0:2:0:0:0:3", true, "1:0:0:2::3");
    both_ways("0:0:1:2:3:4:5:6", true, "::1:2:3:4:5:6");
    both_ways("1:2:3:4:5:6:0:0", true, "1:2:3:4:5:6::");
    both_ways("::ffff:192.0.2.1", true, "::ffff:192.0.2.1");
    both_ways("::ffff:c000:201", true, "::ffff:192.0.2.1");
    both_ways("1:2:3:4:5:6:7.8.9.10", true, "1:2:3:4:5:6:708:90a");
}

Test(address_text, a_mapped_address_is_written_as_ipv4)
{
    uint8_t address[16];
    char out[ADDRESS_TEXT_BYTES];
    cr_assert(address_text_read_v6(SLICE("::ffff:192.0.2.1"), address));
    cr_assert(address_is_v4(address));
    address_text_write(address, false, out);
    cr_assert_str_eq(out, "192.0.2.1");
}

Test(address_text, refuses_what_is_none)
{
    static const char *const v4[] = { "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "01.2.3.4", "1.2.3.00", "1.2.3.4 ", "a.b.c.d",
                                      "1.2.3.0004", "0x1.2.3.4", "-1.2.3.4" };
    static const char *const v6[] = { "", ":", ":::", "1", "1:2", "::1::", "1::2::3", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:", "1:2:3:4:5:6:7:8:9", "12345::", "g::",
                                      "1:2:3:4:5:6:7", "::1.2.3", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "fe80::1%eth0", "::1/128", " ::1", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8" };
    uint8_t address[16];
    for (size_t i = 0; i < ARRAY_LENGTH(v4); i++)
        cr_expect_not(address_text_read_v4(slice_of_text(v4[i]), address), "%s", v4[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(v6); i++)
        cr_expect_not(address_text_read_v6(slice_of_text(v6[i]), address), "%s", v6[i]);
}

/* The system's functions know it independently. */
Test(address_text, agrees_with_the_system)
{
    seed_take(__func__);
    for (unsigned i = 0; i < 200000; i++) {
        static const char letters[] = "0123456789abcdefF::::....";
        char text[48];
        uint8_t ours[16], theirs[16];
        size_t length = random_below(24);
        for (size_t j = 0; j < length; j++)
            text[j] = letters[random_below(sizeof letters - 1)];
        text[length] = 0;
        bool well = address_text_read_v6(slice_of_text(text), ours);
        cr_assert_eq(well, inet_pton(AF_INET6, text, theirs) == 1, "%s", text);
        cr_assert(!well || memcmp(ours, theirs, 16) == 0, "%s", text);
    }
}

Test(address_text, what_is_written_reads_back)
{
    seed_take(__func__);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t address[16], again[16];
        char text[ADDRESS_TEXT_BYTES], theirs[64];
        for (unsigned j = 0; j < 16; j++)
            address[j] = random_below(3) ? 0 : (uint8_t)random_below(256);
        size_t length = address_text_write(address, true, text);
        cr_assert(address_text_read_v6(slice_of(text, length), again), "%s", text);
        cr_assert_arr_eq(address, again, 16);
        if (memcmp(address, (uint8_t[12]){ 0 }, 12) != 0) /* the system writes ::1.2.3.4 for addresses that RFC 4291 gave up */
            cr_assert_str_eq(text, inet_ntop(AF_INET6, address, theirs, sizeof theirs));
    }
}

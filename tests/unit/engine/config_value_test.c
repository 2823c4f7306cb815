#include "tests/unit/engine/config_fixture.h"

#include "engine/config_value.h"

/* Units ----------------------------------------------------------------------------------------------------------- */

static void duration(const char *text, uint64_t wanted, const char *canonical)
{
    char written[VALUE_TEXT_BYTES];
    uint64_t value = 1, again = 2;
    cr_expect_null(value_read_milliseconds(slice_of_text(text), &value), "%s", text);
    cr_expect_eq(value, wanted, "%s", text);
    value_write_milliseconds(value, written);
    cr_expect_str_eq(written, canonical);
    cr_expect_null(value_read_milliseconds(slice_of_text(written), &again));
    cr_expect_eq(again, value);
}

Test(config_value, durations)
{
    duration("0s", 0, "0s");
    duration("0ms", 0, "0s");
    duration("1ms", 1, "1ms");
    duration("1500ms", 1500, "1500ms");
    duration("90s", 90000, "90s");
    duration("60s", 60000, "1m");
    duration("24h", 86400000, "1d");
    duration("5 s", 5000, "5s");
}

Test(config_value, refuses_what_is_no_duration)
{
    static const char *const bad[] = { "", "s", "5", "5S", "5sec", "1.5s", "-5s", "+5s", "5s5s", "1h30m", " 5s", "5s ", "5\ts", "0x5s",
                                       "18446744073709551616s", "18446744073709551615d" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        uint64_t value = 77;
        cr_expect_not_null(value_read_milliseconds(slice_of_text(bad[i]), &value), "%s", bad[i]);
        cr_expect_eq(value, 77);
    }
}

static void size(const char *text, uint64_t wanted, const char *canonical)
{
    char written[VALUE_TEXT_BYTES];
    uint64_t value = 1;
    cr_expect_null(value_read_size(slice_of_text(text), &value), "%s", text);
    cr_expect_eq(value, wanted, "%s", text);
    value_write_size(value, written);
    cr_expect_str_eq(written, canonical);
}

Test(config_value, sizes)
{
    size("0B", 0, "0B");
    size("512B", 512, "512B");
    size("1024B", 1024, "1KiB");
    size("64KiB", 65536, "64KiB");
    size("1000B", 1000, "1kB");
    size("1KB", 1000, "1kB");
    size("10MB", 10000000, "10MB");
    size("3GiB", 3221225472, "3GiB");
    size("2TiB", 2199023255552, "2TiB");
}

Test(config_value, shares)
{
    static const char *const bad[] = { "", "%", "20", "20 percent", "-1%", "1.5%", "20%%", "99999999999999999999%" };
    char written[VALUE_TEXT_BYTES];
    uint64_t value = 7;
    cr_expect_null(value_read_percent(SLICE("20%"), &value));
    cr_expect_eq(value, 20);
    cr_expect_null(value_read_percent(SLICE("5 %"), &value));
    cr_expect_eq(value, 5);
    value_write_percent(value, written);
    cr_expect_str_eq(written, "5%");
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(value_read_percent(slice_of_text(bad[i]), &value), "%s", bad[i]);
}

Test(config_value, refuses_what_is_no_size)
{
    static const char *const bad[] = { "", "5", "5K", "5k", "5M", "5Kb", "5 bytes", "1.5MiB", "99999999TiB" };
    uint64_t value;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(value_read_size(slice_of_text(bad[i]), &value), "%s", bad[i]);
}

Test(config_value, modes)
{
    uint64_t value;
    char written[VALUE_TEXT_BYTES];
    cr_assert_null(value_read_mode(SLICE("0640"), &value));
    cr_assert_eq(value, 0640);
    value_write_mode(value, written);
    cr_assert_str_eq(written, "0640");
    static const char *const bad[] = { "", "640", "0o640", "0680", "00640", "1640", "rw-r-----" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(value_read_mode(slice_of_text(bad[i]), &value), "%s", bad[i]);
}

/* Addresses ------------------------------------------------------------------------------------------------------- */

static const char *server(const char *text)
{
    struct config_memory memory = { 0 };
    struct address address;
    const char *complaint = value_read_address(&memory, slice_of_text(text), ADDRESS_OF_SERVER, &address);
    config_memory_release(&memory);
    return complaint;
}

Test(config_value, refuses_what_is_no_address)
{
    static const char *const bad[] = {
        "", ":", ":80", "a", "a:", "a:0", "a:65536", "a:-1", "a:8o", "a:80:80", "::1:80", "[::1]", "[::1]:", "[::1]x:80", "[::1", "[]:80",
        "[127.0.0.1]:80", "[fe80::1%eth0]:80", "1.2.3:80", "1.2.3.4.5:80", "256.1.1.1:80", "-a:80", "a..b:80", ".a:80", "a b:80",
        "a/b:80", "http://a:80", "unix:", "unix:a", "unix:/", "unix:/a/", "\xc3\xa4:80", "user@host:80", "*:80",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(server(bad[i]), "%s", bad[i]);
}

Test(config_value, takes_names_and_addresses)
{
    static const char *const good[] = { "a:1", "example.com:80", "example.com.:80", "my_app:3000", "3com.com:80", "127.0.0.1:65535",
                                        "[::]:80", "[::ffff:10.0.0.1]:80", "unix:/a" };
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        cr_expect_null(server(good[i]), "%s: %s", good[i], server(good[i]));
}

Test(config_value, socket_paths_fit_their_struct)
{
    struct config_memory memory = { 0 };
    struct address address;
    char text[128];
    memset(text, 'x', sizeof text);
    memcpy(text, "unix:/", 6);
    cr_assert_null(value_read_address(&memory, slice_of(text, 5 + 107), ADDRESS_OF_LISTENER, &address));
    cr_assert_eq(address.socket_bytes, sizeof(struct sockaddr_un));
    cr_assert_eq(address.socket.local.sun_path[107], '\0');
    cr_assert_not_null(value_read_address(&memory, slice_of(text, 5 + 108), ADDRESS_OF_LISTENER, &address));
    config_memory_release(&memory);
}

static void network(const char *text, const char *wanted, bool clean)
{
    struct network made, cleaned;
    char written[VALUE_TEXT_BYTES];
    cr_expect_null(value_read_network(slice_of_text(text), &made), "%s", text);
    cr_expect_eq(network_is_clean(&made), clean, "%s", text);
    cleaned = network_cleaned(&made);
    value_write_network(&cleaned, written);
    cr_expect_str_eq(written, wanted);
}

Test(config_value, networks)
{
    network("10.0.0.0/8", "10.0.0.0/8", true);
    network("10.1.2.3", "10.1.2.3/32", true);
    network("10.1.2.3/20", "10.1.0.0/20", false);
    network("0.0.0.0/0", "0.0.0.0/0", true);
    network("::/0", "::/0", true);
    network("2001:db8::1", "2001:db8::1/128", true);
    network("2001:db8::1/32", "2001:db8::/32", false);
    network("::ffff:10.0.0.0/104", "10.0.0.0/8", true);
}

Test(config_value, refuses_what_is_no_network)
{
    static const char *const bad[] = { "", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "[::1]", "a", "10.0.0.0/-1", "10.0.0.0/8/8" };
    struct network made;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(value_read_network(slice_of_text(bad[i]), &made), "%s", bad[i]);
}

/* Texts ----------------------------------------------------------------------------------------------------------- */

Test(config_value, nothing_that_could_break_a_head)
{
    static const char *const bad[] = { "a\rb", "a\nb", "a\r\nb", "a\x01", "a\x7f", " a", "a ", "\ta" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(value_check_field_value(slice_of_text(bad[i])), "%zu", i);
    cr_assert_not_null(value_check_field_value(slice_of("a\0b", 3)));
    cr_assert_null(value_check_field_value(SLICE("a b\tc \xc3\xa4")));
    cr_assert_null(value_check_field_value(SLICE("")));
    cr_assert_not_null(value_check_field_name(SLICE("")));
    cr_assert_not_null(value_check_field_name(SLICE("a:")));
    cr_assert_not_null(value_check_field_name(SLICE("a b")));
    cr_assert_not_null(value_check_target(SLICE("/a b")));
    cr_assert_not_null(value_check_target(SLICE("/a\r\nX: y")));
    cr_assert_not_null(value_check_authority(SLICE("a\r\nX: y")));
    cr_assert_not_null(value_check_media_type(SLICE("text/plain\r\nX: y")));
    cr_assert_not_null(value_check_pseudonym(SLICE("a b")));
    cr_assert_not_null(value_check_path(SLICE("/a b")));
}

Test(config_value, names)
{
    cr_assert_null(value_check_name(SLICE("web-1_a.b")));
    static const char *const bad[] = { "", "-a", ".", "a/b", "a b", "routes[0]", "a:80", "\xc3\xa4" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(value_check_name(slice_of_text(bad[i])), "%s", bad[i]);
}

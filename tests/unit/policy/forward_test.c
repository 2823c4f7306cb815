#include "engine/policy/forward.h"

#include <criterion/criterion.h>

#include "proto/address_text.h"
#include "tests/unit/seed.h"

#define MANY 8u

static struct forward_entry deny[MANY], allow[MANY];
static struct network opened[MANY];
static struct forward_ports ports[] = { { 443, 443 }, { 8000, 8999 } };
static struct forward_policy policy;

static void set_up(void)
{
    policy = (struct forward_policy){ .deny = deny, .allow = allow, .connect_ports = ports, .connect_port_count = 2, .open = opened };
}

TestSuite(forward, .init = set_up);

static void denies(const char *text)
{
    cr_assert_null(forward_entry_read(slice_of_text(text), &deny[policy.deny_count++]), "%s", text);
}

static void allows(const char *text)
{
    cr_assert_null(forward_entry_read(slice_of_text(text), &allow[policy.allow_count++]), "%s", text);
}

static void opens(const char *text)
{
    cr_assert_null(network_read(slice_of_text(text), &opened[policy.open_count++]), "%s", text);
}

static void address_of(const char *text, uint8_t address[16])
{
    cr_assert(address_text_read_v4(slice_of_text(text), address) || address_text_read_v6(slice_of_text(text), address), "%s", text);
}

static enum forward_verdict decide(const char *host, uint16_t port)
{
    return forward_decide(&policy, slice_of_text(host), port, false);
}

static enum forward_verdict admits(const char *host, const char *text, uint16_t port)
{
    uint8_t address[16];
    address_of(text, address);
    return forward_admits(&policy, slice_of_text(host), address, port);
}

/* Hosts ---------------------------------------------------------------------------------------------------------- */

Test(forward, a_name_has_one_form)
{
    static const char *const rows[][2] = {
        { "Example.COM", "example.com" }, { "example.com.", "example.com" }, { "a_b-c.x", "a_b-c.x" }, { "xn--bcher-kva.example", "xn--bcher-kva.example" },
        { "1e100.net", "1e100.net" }, { "127.0.0.1.example", "127.0.0.1.example" }, { "0x7f.example.", "0x7f.example" }, { "123.456.a", "123.456.a" },
        { "0xg", "0xg" }, { "-a", "-a" },
    };
    struct forward_host host;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        cr_expect(forward_host_read(slice_of_text(rows[i][0]), &host) && !host.is_address, "%s", rows[i][0]);
        cr_expect_str_eq(host.name, rows[i][1]);
        cr_expect_eq(host.length, strlen(rows[i][1]));
    }
}

Test(forward, an_address_has_many)
{
    static const char *const rows[][2] = {
        { "127.0.0.1", "127.0.0.1" },     { "127.0.0.1.", "127.0.0.1" },      { "127.1", "127.0.0.1" },          { "127.0.1", "127.0.0.1" },
        { "0177.0.0.1", "127.0.0.1" },    { "0x7f000001", "127.0.0.1" },      { "0X7F000001", "127.0.0.1" },     { "0x7f.1", "127.0.0.1" },
        { "2130706433", "127.0.0.1" },    { "017700000001", "127.0.0.1" },    { "0", "0.0.0.0" },                { "0x0", "0.0.0.0" },
        { "0.0.0.0", "0.0.0.0" },         { "00", "0.0.0.0" },                { "4294967295", "255.255.255.255" }, { "127.16777215", "127.255.255.255" },
        { "[::ffff:127.0.0.1]", "127.0.0.1" }, { "[::FFFF:7f00:1]", "127.0.0.1" }, { "[::1]", "::1" },          { "[0:0:0:0:0:0:0:1]", "::1" },
        { "0xa9fea9fe", "169.254.169.254" }, { "2852039166", "169.254.169.254" }, { "169.254.43518", "169.254.169.254" }, { "0251.0376.0251.0376", "169.254.169.254" },
        { "192.0.65535", "192.0.255.255" }, { "0000000000000000000000000177.1", "127.0.0.1" },
    };
    struct forward_host host;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char text[ADDRESS_TEXT_BYTES];
        cr_assert(forward_host_read(slice_of_text(rows[i][0]), &host) && host.is_address, "%s", rows[i][0]);
        address_text_write(host.address, false, text);
        cr_expect_str_eq(text, rows[i][1], "%s: %s", rows[i][0], text);
    }
}

Test(forward, what_is_no_host)
{
    static const char *const rows[] = {
        "", ".", "..", "a..b", ".a", "a..", "%6cocalhost", "127.0.0.1%00", "a%2eb", "b\xc3\xbc" "cher.example", "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.1", "a b", "a,b",
        "a/b", "a@b", "a:80", "::1", "[", "]", "[]", "[::1", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[127.0.0.1]", "[::1].", "256.1", "1.256.1", "1.2.3.256", "1.2.65536",
        "1.16777216", "4294967296", "1.2.3.4.5", "08", "0x", "1.0x", "0x100000000", "99999999999999999999999999", "example.08", "example.1", "1..2", "a.0x1f",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg.example", "a\r\n", "a\t", "*.example", "*",
    };
    struct forward_host host;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        cr_expect(!forward_host_read(slice_of_text(rows[i]), &host), "%s", rows[i]);
        cr_expect_eq(decide(rows[i], 80), FORWARD_BAD_HOST, "%s", rows[i]);
    }
    cr_expect(!forward_host_read(slice_of("a\0b", 3), &host));
}

Test(forward, the_longest_name)
{
    char name[300];
    struct forward_host host;
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 ? '.' : 'a';
    cr_assert(forward_host_read(slice_of(name, 253), &host));
    cr_assert(forward_host_read(slice_of(name, 254), &host) && host.length == 253); /* with its last dot */
    cr_assert(!forward_host_read(slice_of(name, 255), &host));
}

/* Addresses ------------------------------------------------------------------------------------------------------ */

Test(forward, every_special_purpose_space_has_its_word)
{
    static const char *const rows[][2] = {
        { "0.0.0.0", "unspecified" },      { "0.255.255.255", "unspecified" }, { "10.0.0.0", "private" },         { "10.255.255.255", "private" },
        { "100.64.0.0", "shared" },        { "100.100.100.200", "shared" },    { "100.127.255.255", "shared" },   { "127.0.0.1", "loopback" },
        { "127.255.255.254", "loopback" }, { "168.63.129.16", "platform" },    { "169.254.169.254", "link-local" }, { "172.16.0.1", "private" },
        { "172.31.255.255", "private" },   { "192.0.0.192", "special" },       { "192.0.2.1", "documentation" },  { "192.88.99.1", "special" },
        { "192.168.0.0", "private" },      { "198.18.0.0", "benchmarking" },   { "198.19.255.255", "benchmarking" }, { "198.51.100.7", "documentation" },
        { "203.0.113.255", "documentation" }, { "224.0.0.1", "multicast" },    { "239.255.255.255", "multicast" }, { "240.0.0.1", "reserved" },
        { "255.255.255.254", "reserved" }, { "255.255.255.255", "broadcast" },
        { "::", "unspecified" },           { "::1", "loopback" },              { "::127.0.0.1", "translated" },   { "::8.8.8.8", "translated" },
        { "::ffff:0:127.0.0.1", "translated" }, { "64:ff9b::127.0.0.1", "loopback" }, { "64:ff9b::169.254.169.254", "link-local" }, { "64:ff9b:1::8.8.8.8", "translated" },
        { "64:ff9b::1:808:808", "reserved" }, { "100::1", "special" },         { "100:0:0:1::1", "special" },     { "2001::1", "translated" },
        { "2001:0:4136:e378:8000:63bf:3fff:fdd2", "translated" }, { "2001:2::1", "benchmarking" }, { "2001:10::1", "special" }, { "2001:20::1", "special" },
        { "2001:1ff:ffff::1", "special" }, { "2001:db8::1", "documentation" }, { "2002:7f00:1::1", "translated" }, { "2002:808:808::1", "translated" },
        { "3fff:fff::1", "documentation" }, { "5f00::1", "special" },          { "fc00::1", "private" },          { "fd00:ec2::254", "private" },
        { "fe80::1", "link-local" },       { "febf::1", "link-local" },        { "fec0::1", "private" },          { "ff02::1", "multicast" },
        { "1::1", "reserved" },            { "4000::1", "reserved" },          { "fe00::1", "reserved" },         { "::1:0:0", "reserved" },
    };
    uint8_t address[16];
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        address_of(rows[i][0], address);
        const char *word = address_class(address);
        cr_expect(word && strcmp(word, rows[i][1]) == 0, "%s is %s", rows[i][0], word ? word : "global");
        cr_expect_eq(admits("example.com", rows[i][0], 443), FORWARD_PRIVATE, "%s", rows[i][0]);
    }
}

Test(forward, what_lies_beside_them_is_global)
{
    static const char *const rows[] = {
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255",
        "203.0.114.0", "223.255.255.255", "8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1",
        "2620:4f:8000::1", "3ffe::1", "3fff:1000::1", "2a00::1",
    };
    uint8_t address[16];
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        address_of(rows[i], address);
        cr_expect_null(address_class(address), "%s is %s", rows[i], address_class(address));
        cr_expect_eq(admits("example.com", rows[i], 443), FORWARD_ALLOWED, "%s", rows[i]);
    }
}

/* Entries -------------------------------------------------------------------------------------------------------- */

Test(forward, entries_read_and_write)
{
    static const char *const rows[][2] = {
        { "example.com", NULL }, { "example.com:25", NULL }, { "*.ads.example", NULL }, { "*.ads.example:8080", NULL }, { "*", NULL }, { "*:25", NULL }, { "intranet", NULL },
        { "203.0.113.0/24", NULL }, { "203.0.113.0/24:25", NULL }, { "203.0.113.7", NULL }, { "203.0.113.7:65535", NULL }, { "2001:db8::/32", NULL }, { "2001:db8::1", NULL },
        { "[2001:db8::1]:443", NULL }, { "[2001:db8::]/32:443", NULL }, { "[2001:db8::1]", "2001:db8::1" }, { "[2001:db8::]/32", "2001:db8::/32" },
        { "::ffff:203.0.113.7", "203.0.113.7" }, { "203.0.113.7/32", "203.0.113.7" }, { "0.0.0.0/0", NULL }, { "::/0", NULL }, { "[::]/0:80", NULL },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char written[FORWARD_ENTRY_TEXT_BYTES];
        struct forward_entry entry;
        const char *complaint = forward_entry_read(slice_of_text(rows[i][0]), &entry);
        cr_assert_null(complaint, "%s: %s", rows[i][0], complaint);
        forward_entry_write(&entry, written);
        cr_expect_str_eq(written, rows[i][1] ? rows[i][1] : rows[i][0], "%s: %s", rows[i][0], written);
    }
}

Test(forward, entries_that_are_none)
{
    static const char *const rows[][2] = {
        { "", "this is a host" }, { ":80", "the host is missing" }, { "example.com:", "a port" }, { "example.com:0", "a port" }, { "example.com:65536", "a port" },
        { "example.com:http", "a port" }, { "*.", "this is a host" }, { "*example.com", "this is a host" }, { "a.*.b", "this is a host" }, { "example.com.", "without a dot" },
        { "*.example.com.", "without a dot" }, { "127.1", "four decimal" }, { "0x7f000001", "four decimal" }, { "2130706433", "four decimal" }, { "010.0.0.1", "four decimal" },
        { "10.0.0.0/33", "more bits" }, { "10.0.0.1/8", "bits beyond" }, { "2001:db8::1/32", "bits beyond" }, { "10.0.0/8", "an address, or a network" },
        { "[10.0.0.1]:80:90", "an address, or a network" }, { "[::1", "an address, or a network" }, { "fe80::1%eth0", "an address, or a network" }, { "http://example.com", "no scheme" },
        { "example.com/x", "an address, or a network" }, { "b\xc3\xbc" "cher.example", "this is a host" }, { "a%2e", "this is a host" }, { "256.1.1.1", "this is a host" },
    };
    struct forward_entry entry;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const char *complaint = forward_entry_read(slice_of_text(rows[i][0]), &entry);
        cr_expect(complaint && strstr(complaint, rows[i][1]), "%s: %s", rows[i][0], complaint ? complaint : "taken");
    }
}

Test(forward, any_bytes_are_an_entry_or_none)
{
    static const char letters[] = "a0.:*[]/-xf1";
    seed_take("forward entries");
    for (unsigned i = 0; i < 200000; i++) {
        char text[24], written[FORWARD_ENTRY_TEXT_BYTES], again[FORWARD_ENTRY_TEXT_BYTES];
        size_t length = random_below(sizeof text);
        struct forward_entry entry, same;
        for (size_t j = 0; j < length; j++)
            text[j] = letters[random_below(sizeof letters - 1)];
        if (forward_entry_read(slice_of(text, length), &entry))
            continue;
        forward_entry_write(&entry, written);
        cr_assert_null(forward_entry_read(slice_of_text(written), &same), "%s", written);
        forward_entry_write(&same, again);
        cr_assert_str_eq(written, again);
        cr_assert(entry.kind == same.kind && entry.port == same.port && memcmp(&entry.network, &same.network, sizeof same.network) == 0);
    }
}

Test(forward, ports_of_tunnels)
{
    static const char *const well[] = { "443", "8000-8999", "*", "1-65534" };
    static const char *const bad[] = { "", "0", "65536", "-", "1-", "-1", "9-8", "a", "1-2-3", "**" };
    struct forward_ports made;
    char written[16];
    for (size_t i = 0; i < ARRAY_LENGTH(well); i++) {
        cr_assert_null(forward_ports_read(slice_of_text(well[i]), &made), "%s", well[i]);
        forward_ports_write(&made, written);
        cr_expect_str_eq(written, well[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not_null(forward_ports_read(slice_of_text(bad[i]), &made), "%s", bad[i]);
    cr_assert_null(forward_ports_read(SLICE("1-65535"), &made));
    forward_ports_write(&made, written);
    cr_expect_str_eq(written, "*");
}

/* Verdicts ------------------------------------------------------------------------------------------------------- */

/* What people write to reach what lies behind a proxy, as a target and as what a name stands for. */
static const char *const inside[] = {
    "127.0.0.1", "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::]", "0", "0.0.0.0", "0x0",
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[::ffff:0:127.0.0.1]",
    "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "10.0.0.1", "10.1", "172.16.0.1", "192.168.1.1", "192.168.257", "255.255.255.255", "224.0.0.1", "[ff02::1]", "[fc00::1]",
};

Test(forward, what_lies_inside_is_not_reached)
{
    for (size_t i = 0; i < ARRAY_LENGTH(inside); i++) {
        cr_expect_eq(forward_decide(&policy, slice_of_text(inside[i]), 443, true), FORWARD_PRIVATE, "CONNECT %s", inside[i]);
        cr_expect_eq(decide(inside[i], 80), FORWARD_PRIVATE, "GET %s", inside[i]);
    }
}

Test(forward, allow_opens_nothing_inside)
{
    allows("*");
    allows("127.0.0.1");
    allows("localhost");
    allows("0.0.0.0/0");
    for (size_t i = 0; i < ARRAY_LENGTH(inside); i++)
        cr_expect_eq(decide(inside[i], 80), FORWARD_PRIVATE, "GET %s", inside[i]);
    cr_expect_eq(admits("example.com", "127.0.0.1", 80), FORWARD_PRIVATE);
}

Test(forward, private_opens_what_it_names_and_no_more)
{
    opens("127.0.0.0/8");
    opens("fd00::/8");
    cr_expect_eq(decide("127.1", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("[::ffff:127.0.0.1]", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("localhost", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("localhost", "127.0.0.1", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("localhost", "::1", 80), FORWARD_PRIVATE);
    cr_expect_eq(decide("[::1]", 80), FORWARD_PRIVATE);
    cr_expect_eq(decide("[64:ff9b::127.0.0.1]", 80), FORWARD_PRIVATE, "another host's loopback");
    cr_expect_eq(decide("[2002:7f00:1::]", 80), FORWARD_PRIVATE);
    cr_expect_eq(decide("10.0.0.1", 80), FORWARD_PRIVATE);
    cr_expect_eq(decide("[fd00:ec2::254]", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("example.com", "8.8.8.8", 80), FORWARD_ALLOWED);
}

Test(forward, deny_wins_over_all)
{
    denies("bad.example");
    denies("*.ads.example");
    denies("198.41.0.0/24");
    denies("odd.example:25");
    denies("10.1.2.3");
    allows("bad.example");
    allows("*");
    opens("10.0.0.0/8");
    cr_expect_eq(decide("BAD.example.", 80), FORWARD_DENIED_HOST);
    cr_expect_eq(decide("x.bad.example", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("ads.example", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("a.b.ADS.example", 80), FORWARD_DENIED_HOST);
    cr_expect_eq(decide("xads.example", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("odd.example", 25), FORWARD_DENIED_HOST);
    cr_expect_eq(decide("odd.example", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("0xc6290004", 80), FORWARD_DENIED_HOST);
    cr_expect_eq(decide("[64:ff9b::198.41.0.4]", 80), FORWARD_DENIED_HOST);
    cr_expect_eq(admits("good.example", "198.41.0.4", 80), FORWARD_DENIED_HOST);
    cr_expect_eq(admits("good.example", "10.1.2.3", 80), FORWARD_DENIED_HOST);
    cr_expect_eq(admits("good.example", "10.1.2.4", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("bad.example", "8.8.8.8", 80), FORWARD_DENIED_HOST);
}

Test(forward, with_allow_nothing_else_passes)
{
    allows("*.example.com");
    allows("other.example:8443");
    allows("9.9.9.0/24");
    cr_expect_eq(decide("www.example.com", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("www.example.com", "8.8.8.8", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("www.example.com", "10.0.0.1", 80), FORWARD_PRIVATE, "a name on the list that points inside");
    cr_expect_eq(decide("8.8.8.8", 80), FORWARD_NOT_ALLOWED);
    cr_expect_eq(decide("9.9.9.9", 80), FORWARD_ALLOWED);
    cr_expect_eq(decide("else.example", 80), FORWARD_ALLOWED, "its address may be on the list");
    cr_expect_eq(admits("else.example", "9.9.9.9", 80), FORWARD_ALLOWED);
    cr_expect_eq(admits("else.example", "8.8.8.8", 80), FORWARD_NOT_ALLOWED);
    cr_expect_eq(admits("other.example", "8.8.8.8", 8443), FORWARD_ALLOWED);
    cr_expect_eq(admits("other.example", "8.8.8.8", 80), FORWARD_NOT_ALLOWED);
}

Test(forward, without_networks_on_it_allow_spares_the_look_up)
{
    allows("*.example.com");
    allows("9.9.9.0/24:443");
    cr_expect_eq(decide("else.example", 80), FORWARD_NOT_ALLOWED);
    cr_expect_eq(decide("else.example", 443), FORWARD_ALLOWED);
    cr_expect_eq(decide("example.com", 80), FORWARD_NOT_ALLOWED);
    cr_expect_eq(decide("example.com.evil.example", 80), FORWARD_NOT_ALLOWED);
}

Test(forward, connect_has_its_ports)
{
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 443, true), FORWARD_ALLOWED);
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 8000, true), FORWARD_ALLOWED);
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 8999, true), FORWARD_ALLOWED);
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 9000, true), FORWARD_PORT);
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 25, true), FORWARD_PORT);
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 25, false), FORWARD_ALLOWED);
    policy.connect_port_count = 0;
    cr_expect_eq(forward_decide(&policy, SLICE("example.com"), 443, true), FORWARD_PORT);
}

Test(forward, a_port_can_be_denied_for_everybody)
{
    denies("*:25");
    cr_expect_eq(decide("example.com", 25), FORWARD_DENIED_HOST);
    cr_expect_eq(decide("8.8.8.8", 25), FORWARD_DENIED_HOST);
    cr_expect_eq(decide("example.com", 80), FORWARD_ALLOWED);
}

Test(forward, verdicts_have_words)
{
    for (unsigned i = 0; i < FORWARD_VERDICTS; i++)
        cr_expect(forward_verdict_word(i) && strlen(forward_verdict_sentence(i)) > 10);
    cr_expect_str_eq(forward_verdict_word(FORWARD_PRIVATE), "private");
}

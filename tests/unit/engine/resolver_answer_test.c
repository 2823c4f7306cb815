#include "tests/unit/engine/config_fixture.h"

#include <arpa/inet.h>

#include "engine/resolver_answer.h"

/* Of what DNS may answer: nodes as c-ares hands them over. */
struct nodes {
    struct ares_addrinfo info;
    struct ares_addrinfo_node list[16];
    struct sockaddr_storage addresses[16];
    unsigned count;
};

static void add(struct nodes *nodes, const char *text, int ttl)
{
    struct ares_addrinfo_node *node = &nodes->list[nodes->count];
    struct sockaddr_in *v4 = (struct sockaddr_in *)&nodes->addresses[nodes->count];
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&nodes->addresses[nodes->count];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    nodes->addresses[nodes->count].ss_family = (sa_family_t)family;
    cr_assert_eq(inet_pton(family, text, family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr), 1);
    *node = (struct ares_addrinfo_node){ .ai_addr = (struct sockaddr *)v4, .ai_family = family, .ai_ttl = ttl, .ai_next = nodes->info.nodes };
    nodes->info.nodes = node;
    nodes->count++;
}

Test(resolver_answer, addresses_that_no_server_has_are_left_out)
{
    static const char *const none[] = { "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255", "::", "ff02::1", "::ffff:0.0.0.0",
                                        "::ffff:224.0.0.1", "::ffff:255.255.255.255" };
    struct nodes nodes = { 0 };
    struct name_answer answer = { 0 };
    uint32_t ttl_s;
    for (size_t i = 0; i < ARRAY_LENGTH(none); i++)
        add(&nodes, none[i], 60);
    cr_assert(answer_of_addresses(&nodes.info, DNS_ANY, &answer, &ttl_s));
    cr_expect_eq(answer.address_count, 0);
    answer_release(&answer);
    add(&nodes, "127.0.0.1", 60);
    add(&nodes, "::1", 60);
    add(&nodes, "::ffff:10.0.0.1", 60);
    add(&nodes, "fe80::1", 60);
    cr_assert(answer_of_addresses(&nodes.info, DNS_ANY, &answer, &ttl_s));
    cr_expect_eq(answer.address_count, 4);
    answer_release(&answer);
}

Test(resolver_answer, lifetimes_are_numbers_whatever_was_sent)
{
    struct nodes nodes = { 0 };
    struct name_answer answer = { 0 };
    uint32_t ttl_s;
    add(&nodes, "10.0.0.1", 0x7fffffff);
    cr_assert(answer_of_addresses(&nodes.info, DNS_ANY, &answer, &ttl_s));
    cr_expect_eq(ttl_s, 0x7fffffffu);
    answer_release(&answer);
    add(&nodes, "10.0.0.1", (int)0x80000000u);
    cr_assert(answer_of_addresses(&nodes.info, DNS_ANY, &answer, &ttl_s));
    cr_expect_eq(ttl_s, 0u);
    cr_expect_eq(answer.address_count, 1u, "the same twice");
    answer_release(&answer);
}

/* An SRV answer of `count` targets; their host is label bytes as they are. */
static size_t service(unsigned char *out, unsigned count, const char *label, size_t label_length, uint32_t ttl, bool numbered)
{
    static const unsigned char head[] = { 0, 1, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 's', 4, 't', 'e', 's', 't', 0, 0, 33, 0, 1 };
    size_t length = sizeof head;
    memcpy(out, head, sizeof head);
    out[6] = (unsigned char)(count >> 8);
    out[7] = (unsigned char)count;
    for (unsigned i = 0; i < count; i++) {
        char host[64];
        int extra = numbered ? snprintf(host, sizeof host, "h%u", i) : 0;
        unsigned char record[] = { 0xc0, 12, 0, 33, 0, 1, (unsigned char)(ttl >> 24), (unsigned char)(ttl >> 16), (unsigned char)(ttl >> 8), (unsigned char)ttl,
                                   0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
        size_t name = (numbered ? 1 + (size_t)extra : 0) + 1 + label_length + 1;
        record[11] = (unsigned char)(6 + name);
        memcpy(out + length, record, sizeof record);
        length += sizeof record;
        if (numbered) {
            out[length++] = (unsigned char)extra;
            memcpy(out + length, host, (size_t)extra);
            length += (size_t)extra;
        }
        out[length++] = (unsigned char)label_length;
        memcpy(out + length, label, label_length);
        length += label_length;
        out[length++] = 0;
    }
    return length;
}

Test(resolver_answer, of_a_thousand_targets_64_are_taken)
{
    static unsigned char message[65536];
    struct name_answer answer = { 0 };
    uint32_t ttl_s = 0;
    size_t length = service(message, 1000, "test", 4, 77, true);
    cr_assert_eq(answer_of_service(message, (int)length, &answer, &ttl_s), ARES_SUCCESS);
    cr_expect_eq(answer.target_count, NAME_TARGETS_MAX);
    cr_expect_eq(ttl_s, 77u);
    cr_expect_eq(answer.targets[0].port, 65535);
    answer_release(&answer);
}

Test(resolver_answer, names_that_are_none_are_left_out)
{
    static const struct {
        const char *label;
        size_t length;
    } bad[] = { { "a\0b", 3 }, { "a/b", 3 }, { "a b", 3 }, { "a.b", 3 }, { "a:1", 3 }, { "a\nb", 3 }, { "10", 2 }, { "-a", 2 }, { "a\xff", 2 }, { "srv:a", 5 } };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        unsigned char message[512];
        struct name_answer answer = { 0 };
        uint32_t ttl_s = 0;
        size_t length = service(message, 1, bad[i].label, bad[i].length, 60, false);
        cr_expect_neq(answer_of_service(message, (int)length, &answer, &ttl_s), ARES_SUCCESS, "%zu", i);
        cr_expect_eq(answer.target_count, 0, "%zu", i);
        answer_release(&answer);
    }
}

/* Cut anywhere, and with every byte another. */
Test(resolver_answer, any_bytes_are_read_safely)
{
    unsigned char message[512];
    struct name_answer answer = { 0 };
    uint32_t ttl_s = 0;
    size_t length = service(message, 3, "test", 4, 60, true);
    for (size_t cut = 0; cut <= length; cut++) {
        unsigned char *copy = malloc(cut + 1);
        memcpy(copy, message, cut);
        cr_assert(answer_of_service(copy, (int)cut, &answer, &ttl_s) != ARES_SUCCESS || answer.target_count > 0);
        answer_release(&answer);
        free(copy);
    }
    for (size_t i = 0; i < length; i++) {
        for (unsigned other = 0; other < 256; other++) {
            unsigned char *copy = malloc(length);
            memcpy(copy, message, length);
            copy[i] = (unsigned char)other;
            cr_assert(answer_of_service(copy, (int)length, &answer, &ttl_s) != ARES_SUCCESS || answer.target_count > 0);
            answer_release(&answer);
            free(copy);
        }
    }
}

#include <arpa/inet.h>
#include <inttypes.h>

#include "tests/unit/engine/config_fixture.h"

#include "engine/base/check.h"
#include "engine/config_memory.h"
#include "engine/expansion.h"

/* What names stand for here: rows that a test sets. */
struct known {
    const char *name;
    struct name_answer answer;
};
static struct known known[8];
static uint32_t known_count;

static const struct name_answer *find(const struct name_lookup *lookup, struct slice name)
{
    (void)lookup;
    for (uint32_t i = 0; i < known_count; i++)
        if (slice_equal(name, slice_of_text(known[i].name)))
            return &known[i].answer;
    return NULL;
}
static const struct name_lookup lookup = { .find = find };

static struct name_address address(const char *text)
{
    struct name_address made = { .family = strchr(text, ':') ? 6 : 4 };
    cr_assert_eq(inet_pton(made.family == 6 ? AF_INET6 : AF_INET, text, made.bytes), 1);
    return made;
}

/* list must stay. */
static void know(const char *name, struct name_address *list, uint32_t count)
{
    known[known_count++] = (struct known){ name, { .addresses = list, .address_count = count } };
}

static void know_service(const char *name, struct name_target *list, uint32_t count)
{
    known[known_count++] = (struct known){ name, { .targets = list, .target_count = count } };
}

static struct config *expanded(const char *pool, const struct overlay *overlay)
{
    static const struct overlay none;
    char file[1024];
    uint32_t left_out;
    snprintf(file, sizeof file, LISTENERS POOL_ROUTE "pools: { app: %s }\n", pool);
    struct config *config = must_parse(slice_of_text(file));
    cr_assert(expand_servers(config, overlay ? overlay : &none, &lookup, &left_out));
    cr_assert_eq(left_out, 0);
    return config;
}

/* "key*weight@group=addresses ..." */
static void expect_servers(struct config *config, const char *wanted)
{
    struct text text = { 0 };
    for (uint32_t s = 0; s < config->pools[0].server_count; s++) {
        const struct config_server *server = &config->pools[0].servers[s];
        text_format(&text, "%s%.*s*%u@%u=%u", s ? " " : "", (int)server->key.length, server->key.at, server->weight, server->group,
                    server->unresolved ? 0 : server->more_count + 1);
    }
    cr_expect_str_eq(text_slice(&text).at, wanted);
    text_release(&text);
    config_free(config);
}

Test(expansion, addresses_stand_for_themselves)
{
    expect_servers(expanded("{ servers: [ 10.0.0.1:80, { address: unix:/a/b, weight: 3 } ] }", NULL), "app/10.0.0.1:80*1@0=1 app/unix:/a/b*3@0=1");
}

Test(expansion, what_is_not_known_has_no_address)
{
    expect_servers(expanded("{ servers: [ app.test:80, srv:_http._tcp.app.test ] }", NULL), "app/app.test:80*1@0=0 app/srv:_http._tcp.app.test*1@0=0");
}

Test(expansion, auto_takes_each_of_several_and_any_of_one_per_family)
{
    struct name_address two[] = { address("10.0.0.1"), address("10.0.0.2") }, mixed[] = { address("10.0.0.1"), address("fd00::1") };
    know("two.test", two, 2);
    know("mixed.test", mixed, 2);
    expect_servers(expanded("{ servers: [ two.test:80 ] }", NULL), "app/10.0.0.1:80*1@0=1 app/10.0.0.2:80*1@0=1");
    expect_servers(expanded("{ servers: [ mixed.test:80 ] }", NULL), "app/mixed.test:80*1@0=2");
    expect_servers(expanded("{ servers: [ two.test:80 ], addresses: any }", NULL), "app/two.test:80*1@0=2");
    expect_servers(expanded("{ servers: [ mixed.test:80 ], addresses: each }", NULL), "app/10.0.0.1:80*1@0=1 app/[fd00::1]:80*1@0=1");
}

Test(expansion, families_come_in_turn)
{
    struct name_address list[12];
    for (int i = 0; i < 10; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.0.0.%d", i + 1);
        list[i] = address(text);
    }
    list[10] = address("fd00::1");
    list[11] = address("fd00::2");
    know("app.test", list, 12);
    struct config *config = expanded("{ servers: [ app.test:80 ], addresses: any }", NULL);
    const struct config_server *server = &config->pools[0].servers[0];
    static const int families[] = { AF_INET, AF_INET6, AF_INET, AF_INET, AF_INET, AF_INET, AF_INET };
    cr_expect_eq(server->address.socket.any.sa_family, AF_INET6);
    cr_assert_eq(server->more_count, SERVER_ADDRESSES_MAX - 1);
    for (uint32_t i = 0; i < server->more_count; i++)
        cr_expect_eq(server->more[i].socket.any.sa_family, families[i], "%u", i);
    cr_expect_eq(server->address.socket.v6.sin6_port, htons(80));
    config_free(config);
}

Test(expansion, each_keeps_its_name)
{
    struct name_address two[] = { address("10.0.0.1"), address("10.0.0.2") };
    know("app.test", two, 2);
    struct config *config = expanded("{ servers: [ { address: app.test:80, weight: 4, max-connections: 9 } ] }", NULL);
    const struct config_server *server = &config->pools[0].servers[1];
    cr_expect(slice_equal(server->name, SLICE("app.test:80")));
    cr_expect(slice_equal(server->address.text, SLICE("10.0.0.2:80")));
    cr_expect_eq(server->max_connections, 9);
    cr_expect_eq(config->pools[0].configured_count, 1);
    config_free(config);
}

Test(expansion, duplicates_are_merged)
{
    struct name_address one[] = { address("10.0.0.1"), address("10.0.0.2") }, two[] = { address("10.0.0.2"), address("10.0.0.3") };
    know("one.test", one, 2);
    know("two.test", two, 2);
    expect_servers(expanded("{ servers: [ { address: 10.0.0.1:80, weight: 2 }, one.test:80, two.test:80, two.test:81 ] }", NULL),
                   "app/10.0.0.1:80*2@0=1 app/10.0.0.2:80*1@0=1 app/10.0.0.3:80*1@0=1 app/10.0.0.2:81*1@0=1 app/10.0.0.3:81*1@0=1");
}

Test(expansion, services_have_ports_weights_and_groups)
{
    struct name_address a[] = { address("10.0.0.1") };
    struct name_target list[] = { { "a.test", 8080, 5, 0 }, { "a.test", 8081, 5, 65535 }, { "b.test", 8080, 5, 6553 }, { "a.test", 9090, 7, 12 } };
    know("a.test", a, 1);
    know_service("srv:_http._tcp.app.test", list, 4);
    expect_servers(expanded("{ servers: [ srv:_http._tcp.app.test ] }", NULL),
                   "app/a.test:8080*1@0=1 app/a.test:8081*256@0=1 app/b.test:8080*25@0=0 app/a.test:9090*12@1=1");
}

Test(expansion, commands_lie_over_the_file)
{
    struct name_address two[] = { address("10.0.0.1"), address("10.0.0.2") };
    struct overlay overlay = { 0 };
    know("app.test", two, 2);
    overlay_entry(&overlay, SLICE("app"), SLICE("10.0.0.2:80"))->removed = true;
    overlay_entry(&overlay, SLICE("app"), SLICE("app.test:80"))->weight = 3;
    overlay_entry(&overlay, SLICE("app"), SLICE("10.0.0.1:80"))->weight = 9;
    overlay_entry(&overlay, SLICE("app"), SLICE("10.0.0.7:80"))->removed = true;
    struct overlay_entry *added = overlay_entry(&overlay, SLICE("app"), SLICE("app.test:81"));
    added->added = true;
    added->group = 2;
    overlay_entry(&overlay, SLICE("other"), SLICE("10.0.0.9:80"))->added = true;
    expect_servers(expanded("{ servers: [ app.test:80, 10.0.0.7:80 ] }", &overlay), "app/10.0.0.1:80*9@0=1 app/10.0.0.1:81*1@2=1 app/10.0.0.2:81*1@2=1");
    overlay_release(&overlay);
}

Test(expansion, is_compared_by_what_is_asked)
{
    struct name_address one[] = { address("10.0.0.1") }, other[] = { address("10.0.0.2") };
    know("app.test", one, 1);
    struct config *a = expanded("{ servers: [ app.test:80 ] }", NULL), *b = expanded("{ servers: [ app.test:80 ], retries: 1 }", NULL);
    cr_expect(expansion_equal(a, b));
    known[0].answer.addresses = other;
    struct config *c = expanded("{ servers: [ app.test:80 ] }", NULL), *d = expanded("{ servers: [ { address: app.test:80, weight: 2 } ] }", NULL);
    cr_expect_not(expansion_equal(a, c));
    cr_expect_not(expansion_equal(c, d));
    config_free(a);
    config_free(b);
    config_free(c);
    config_free(d);
}

Test(expansion, is_capped)
{
    static struct name_address list[64];
    char file[16384];
    uint32_t left_out;
    static const struct overlay none;
    for (unsigned i = 0; i < 64; i++) {
        char text[16];
        snprintf(text, sizeof text, "10.0.0.%u", i + 1);
        list[i] = address(text);
    }
    know("app.test", list, 64);
    int length = snprintf(file, sizeof file, LISTENERS POOL_ROUTE "pools: { app: { servers: [ ");
    for (int i = 0; i < 20; i++)
        length += snprintf(file + length, sizeof file - (size_t)length, "app.test:%d, ", 80 + i);
    snprintf(file + length, sizeof file - (size_t)length, "10.0.0.1:1 ] } }\n");
    struct config *config = must_parse(slice_of_text(file));
    cr_assert(expand_servers(config, &none, &lookup, &left_out));
    cr_expect_eq(config->pools[0].server_count, UPSTREAM_SERVERS_MAX);
    cr_expect_eq(left_out, 20 * 64 + 1 - UPSTREAM_SERVERS_MAX);
    config_free(config);
}

static void remember(void *context, struct slice name)
{
    text_format(context, "%.*s ", (int)name.length, name.at);
}

Test(expansion, knows_the_names)
{
    struct overlay overlay = { 0 };
    struct text names = { 0 };
    struct config *config = must_parse(SLICE(LISTENERS POOL_ROUTE "pools: { app: { servers: [ one.test:80, 10.0.0.1:80, unix:/a, srv:_x._tcp.two.test ] } }\n"));
    overlay_entry(&overlay, SLICE("app"), SLICE("three.test:80"))->added = true;
    overlay_entry(&overlay, SLICE("app"), SLICE("four.test:80"))->removed = true;
    expansion_names(config, &overlay, remember, &names);
    cr_expect_str_eq(text_slice(&names).at, "one.test srv:_x._tcp.two.test three.test ");
    text_release(&names);
    overlay_release(&overlay);
    config_free(config);
}

Test(expansion, hosts_of_addresses)
{
    cr_expect(slice_equal(address_host(SLICE("app.test:80")), SLICE("app.test")));
    cr_expect(slice_equal(address_host(SLICE("[::1]:80")), SLICE("::1")));
    cr_expect_eq(address_host(SLICE("unix:/run/a:b")).length, 0);
    cr_expect(slice_equal(address_host(SLICE("srv:_x._tcp.a")), SLICE("srv:_x._tcp.a")));
}

Test(expansion, the_cap_of_all_together_counts_pools_without_names)
{
    struct name_address list[2] = { address("10.0.0.1"), address("10.0.0.2") };
    struct text file = { 0 };
    static const struct overlay none;
    uint32_t left_out;
    know("app.test", list, 2);
    text_add(&file, SLICE(LISTENERS "routes: [ { pool: first } ]\npools:\n  first: { servers: [ app.test:80, app.test:81 ] }\n"));
    for (unsigned p = 0; p < 16; p++) {
        text_format(&file, "  p%u: { servers: [ 10.1.0.1:1", p);
        for (unsigned s = 2; s <= (p ? 1024u : 1021u); s++)
            text_format(&file, ", 10.1.0.1:%u", s);
        text_add(&file, SLICE(" ] }\n"));
    }
    text_add(&file, SLICE("  last: { servers: [ app.test:80 ] }\n"));
    struct config *config = must_parse(text_slice(&file));
    cr_assert(expand_servers(config, &none, &lookup, &left_out));
    cr_expect_eq(left_out, 2);
    cr_expect_eq(config->pools[17].server_count, 0);
    config_free(config);
    text_release(&file);
}

Test(expansion, limits_and_groups_of_commands_hold_for_addresses_of_names)
{
    struct name_address two[] = { address("10.0.0.1"), address("10.0.0.2") };
    struct overlay overlay = { 0 };
    know("app.test", two, 2);
    struct overlay_entry *entry = overlay_entry(&overlay, SLICE("app"), SLICE("10.0.0.2:80"));
    entry->added = true;
    entry->max_connections = 5;
    entry->group = 2;
    struct config *config = expanded("{ servers: [ app.test:80 ] }", &overlay);
    cr_assert_eq(config->pools[0].server_count, 2);
    cr_expect_eq(config->pools[0].servers[1].max_connections, 5);
    cr_expect_eq(config->pools[0].servers[1].group, 2);
    config_free(config);
    overlay_release(&overlay);
}

/* A zone decides who is asked; who added a server is what `weir server list` says. */
Test(expansion, another_zone_or_another_source_is_a_difference)
{
    struct name_target list[] = { { "a.test", 80, 1, 5 } };
    struct name_address a[] = { address("10.0.0.1") };
    struct overlay overlay = { 0 };
    know("a.test", a, 1);
    know_service("srv:_x._tcp.a.test", list, 1);
    struct config *one = expanded("{ servers: [ srv:_x._tcp.a.test ] }", NULL);
    struct config *other = expanded("{ servers: [ { address: srv:_x._tcp.a.test, zone: here } ] }", NULL);
    cr_expect_not(expansion_equal(one, other));
    overlay_entry(&overlay, SLICE("app"), SLICE("10.0.0.9:80"))->added = true;
    struct config *added = expanded("{ servers: [ srv:_x._tcp.a.test ] }", &overlay);
    struct config *own = expanded("{ servers: [ srv:_x._tcp.a.test, 10.0.0.9:80 ] }", NULL);
    cr_expect_not(expansion_equal(added, own));
    config_free(one);
    config_free(other);
    config_free(added);
    config_free(own);
    overlay_release(&overlay);
}

#ifdef WEIR_FAULTS
/* Either it is told, or the servers are those of a day with memory. */
Test(expansion, each_call_that_can_fail_fails_once)
{
    struct name_address two[] = { address("10.0.0.1"), address("fd00::1") };
    struct name_target list[] = { { "app.test", 80, 1, 5 } };
    struct overlay overlay = { 0 };
    uint32_t left_out;
    know("app.test", two, 2);
    know_service("srv:_x._tcp.app.test", list, 1);
    overlay_entry(&overlay, SLICE("app"), SLICE("app.test:81"))->added = true;
    struct config *well = expanded("{ servers: [ app.test:82, srv:_x._tcp.app.test, 10.0.0.1:80, none.test:80 ] }", &overlay);
    uint64_t count = 200;
    for (uint64_t nth = 1; nth <= count; nth++) {
        struct config *config = config_again(well);
        cr_assert(config);
        fault_arm(nth);
        bool expanded = expand_servers(config, &overlay, &lookup, &left_out);
        if (fault_count() < nth)
            count = 0; /* none was left to fail */
        fault_arm(0);
        cr_expect(!expanded || expansion_equal(config, well), "%" PRIu64, nth);
        cr_expect(expanded || count);
        config_free(config);
    }
    cr_expect_eq(count, 0u);
    config_free(well);
    overlay_release(&overlay);
}
#endif

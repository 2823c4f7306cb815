#include "engine/certificates.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/generation.h"
#include "tests/unit/engine/config_fixture.h"
#include "tests/unit/tls_pems.h"
#include "tests/unit/tls_responses.h"

/* Files of TLS in a folder of their own, and generations with nothing but them. */

static char folder[64];
static char why[256];

static void path_of(const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", folder, name);
}

static void put_bytes(const char *name, struct slice bytes)
{
    char path[256];
    path_of(name, path);
    FILE *file = fopen(path, "w");
    cr_assert(file);
    cr_assert_eq(fwrite(bytes.at, 1, bytes.length, file), bytes.length);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0600), 0);
}

static void put(const char *name, const char *first, const char *second)
{
    char text[16384];
    int length = snprintf(text, sizeof text, "%s%s", first, second);
    put_bytes(name, slice_of(text, (size_t)length));
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/weir-certificates-XXXXXX");
    cr_assert(mkdtemp(folder));
    cr_assert_eq(tls_library_start(), ERR_OK);
    put("ecdsa.crt", ecdsa_pem, intermediate_pem);
    put("ecdsa.key", ecdsa_key_pem, "");
    put("rsa.crt", rsa_pem, intermediate_pem);
    put("rsa.key", rsa_key_pem, "");
    put("p384.crt", p384_pem, "");
    put("p384.key", p384_key_pem, "");
    put("client.crt", client_pem, "");
    put("client.key", client_key_pem, "");
    put("root.crt", root_pem, "");
}

static void teardown(void)
{
    char command[128];
    tls_library_end();
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(certificates, .init = setup, .fini = teardown);

/* '@' stands for the folder. */
static struct config *config_of(const char *text)
{
    struct text file = { 0 };
    for (; *text; text++)
        text_add(&file, *text == '@' ? slice_of_text(folder) : slice_of(text, 1));
    struct config *config = must_parse(text_slice(&file));
    text_release(&file);
    return config;
}

#define PAIR(name) "{ chain: @/" name ".crt, key: @/" name ".key }"
#define LISTENER(certificates, more) "{ address: 127.0.0.1:443, name: web, tls: { certificates: [ " certificates " ] " more " } }"
#define ONE(certificates, more) "listeners: [ " LISTENER(certificates, more) " ]\n" RESPOND

static bool load(struct generation *generation, const char *text, const struct generation *previous)
{
    *generation = (struct generation){ .config = config_of(text) };
    return certificates_load(generation, previous, NULL, why);
}

static void unload(struct generation *generation)
{
    certificates_release(generation);
    config_free(generation->config);
}

static void must_load(struct generation *generation, const char *text, const struct generation *previous)
{
    cr_assert(load(generation, text, previous), "%s", why);
}

static void refuses(const char *text, const char *file, const char *reason)
{
    struct generation generation;
    cr_expect_not(load(&generation, text, NULL), "%s", reason);
    cr_expect(strstr(why, file), "\"%s\" does not name \"%s\"", why, file);
    cr_expect(strstr(why, reason), "\"%s\" does not say \"%s\"", why, reason);
    unload(&generation);
}

/* Choosing ------------------------------------------------------------------------------------------------------ */

static struct tls_context *choose(const struct generation *generation, const char *name, bool ecdsa, bool rsa)
{
    struct tls_hello hello = { .ecdsa = ecdsa, .rsa = rsa, .name_length = (uint8_t)strlen(name) };
    memcpy(hello.name, name, strlen(name) + 1);
    return listener_tls_choose(generation->listener_tls[0], &hello);
}

Test(certificates, exact_names_come_before_wildcards_and_those_before_the_first)
{
    struct generation g;
    must_load(&g, ONE(PAIR("p384") ", " PAIR("ecdsa") ", { chain: @/rsa.crt, key: @/rsa.key, names: [ special.example.com, '*.other.test' ] }", ""), NULL);
    struct tls_context *first = choose(&g, "384.example.com", true, true), *ecdsa = choose(&g, "www.example.com", true, true),
                       *rsa = choose(&g, "special.example.com", true, true);
    cr_assert(first && ecdsa && rsa);
    cr_assert(first != ecdsa && ecdsa != rsa && first != rsa);
    cr_expect_eq(choose(&g, "example.com", true, true), ecdsa);
    cr_expect_eq(choose(&g, "any.example.com", true, true), ecdsa);
    cr_expect_eq(choose(&g, "a.b.example.com", true, true), first, "a wildcard is for one label");
    cr_expect_eq(choose(&g, "aexample.com", true, true), first);
    cr_expect_eq(choose(&g, "x.other.test", true, true), rsa);
    cr_expect_eq(choose(&g, "other.test", true, true), first);
    cr_expect_eq(choose(&g, ".other.test", true, true), first);
    cr_expect_eq(choose(&g, "nobody.test", true, true), first);
    cr_expect_eq(choose(&g, "test", true, true), first);
    cr_expect_eq(choose(&g, "", true, true), first);
    unload(&g);
}

Test(certificates, names_in_the_configuration_stand_instead_of_the_certificates_own)
{
    struct generation g;
    must_load(&g, ONE(PAIR("p384") ", { chain: @/ecdsa.crt, key: @/ecdsa.key, names: [ Extra.Test ] }", ""), NULL);
    cr_expect_neq(choose(&g, "extra.test", true, true), choose(&g, "384.example.com", true, true));
    cr_expect_eq(choose(&g, "www.example.com", true, true), choose(&g, "384.example.com", true, true));
    unload(&g);
}

Test(certificates, of_two_kinds_the_client_gets_ecdsa_if_it_can)
{
    struct generation g;
    must_load(&g, ONE(PAIR("rsa") ", " PAIR("ecdsa"), ""), NULL);
    struct tls_context *ecdsa = choose(&g, "www.example.com", true, true), *rsa = choose(&g, "www.example.com", false, true);
    cr_assert(ecdsa && rsa && ecdsa != rsa);
    cr_expect_eq(choose(&g, "www.example.com", true, false), ecdsa);
    cr_expect_eq(choose(&g, "any.example.com", false, true), rsa);
    cr_expect_eq(choose(&g, "nobody.test", true, true), ecdsa, "beside the first stands its other kind");
    cr_expect_eq(choose(&g, "nobody.test", false, true), rsa);
    cr_expect_neq(choose(&g, "www.example.com", false, false), NULL);
    unload(&g);
}

Test(certificates, of_one_kind_all_clients_get_it)
{
    struct generation g;
    must_load(&g, ONE(PAIR("rsa"), ""), NULL);
    cr_expect_neq(choose(&g, "www.example.com", true, false), NULL);
    cr_expect_eq(choose(&g, "www.example.com", true, false), choose(&g, "www.example.com", false, true));
    unload(&g);
}

Test(certificates, strict_names_show_nobody_elses)
{
    struct generation g;
    must_load(&g, ONE(PAIR("ecdsa"), ", strict-names: on"), NULL);
    cr_expect_neq(choose(&g, "www.example.com", true, true), NULL);
    cr_expect_neq(choose(&g, "any.example.com", true, true), NULL);
    cr_expect_eq(choose(&g, "nobody.test", true, true), NULL);
    cr_expect_eq(choose(&g, "", true, true), NULL);
    unload(&g);
}

Test(certificates, the_longest_name_fits)
{
    struct generation g;
    char name[TLS_NAME_BYTES_MAX + 1];
    must_load(&g, ONE(PAIR("ecdsa"), ""), NULL);
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_expect_neq(choose(&g, name, true, true), NULL);
    name[1] = '.';
    cr_expect_neq(choose(&g, name, true, true), NULL);
    unload(&g);
}

/* Loading ------------------------------------------------------------------------------------------------------- */

Test(certificates, plain_listeners_and_pools_have_none)
{
    struct generation g;
    must_load(&g, LISTENERS POOL_ROUTE POOL, NULL);
    cr_expect_eq(g.listener_tls[0], NULL);
    cr_expect_eq(g.pool_tls[0], NULL);
    unload(&g);
}

Test(certificates, what_is_wrong_is_said_with_its_file)
{
    refuses(ONE(PAIR("none"), ""), "none.crt", "No such file");
    refuses(ONE("{ chain: @/ecdsa.crt, key: @/none.key }", ""), "none.key", "No such file");
    refuses(ONE("{ chain: @/ecdsa.crt, key: @/rsa.key }", ""), "key \"", "another certificate");
    refuses(ONE("{ chain: @/ecdsa.key, key: @/ecdsa.key }", ""), "certificate \"", "no certificate");
    refuses(ONE("{ chain: @/ecdsa.crt, key: @/ecdsa.crt }", ""), "key \"", "no private key");
    put("empty.crt", "", "");
    refuses(ONE("{ chain: @/empty.crt, key: @/ecdsa.key }", ""), "empty.crt", "empty");
    put("order.crt", intermediate_pem, ecdsa_pem);
    refuses(ONE("{ chain: @/order.crt, key: @/ecdsa.key }", ""), "order.crt", "issuer");
    refuses(ONE("{ chain: /dev/null, key: @/ecdsa.key }", ""), "/dev/null", "regular file");
    refuses(ONE("{ chain: /tmp, key: @/ecdsa.key }", ""), "/tmp", "directory");
}

Test(certificates, a_file_that_is_far_too_large_is_not_read)
{
    char path[256];
    put("large.crt", ecdsa_pem, intermediate_pem);
    path_of("large.crt", path);
    cr_assert_eq(truncate(path, CERTIFICATE_BYTES_MAX + 1), 0);
    refuses(ONE("{ chain: @/large.crt, key: @/ecdsa.key }", ""), "large.crt", "too large");
}

Test(certificates, a_long_path_is_told_by_its_end)
{
    char text[1024], name[201];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    snprintf(text, sizeof text, ONE("{ chain: /%s/site.crt, key: /a.key }", ""), name);
    refuses(text, "xxx/site.crt\": ", "No such file");
}

Test(certificates, authorities_are_read_too)
{
    struct generation g;
    must_load(&g, ONE(PAIR("ecdsa"), ", client-certificate: { ca: @/root.crt }"), NULL);
    cr_expect_eq(tls_context_client_mode(choose(&g, "", true, true)), TLS_CLIENT_REQUIRED);
    unload(&g);
    refuses(ONE(PAIR("ecdsa"), ", client-certificate: { ca: @/none.crt }"), "none.crt", "No such file");
    refuses(ONE(PAIR("ecdsa"), ", client-certificate: { ca: @/ecdsa.key }"), "ecdsa.key", "uthorit");
    refuses(LISTENERS POOL_ROUTE "pools: { app: { servers: 127.0.0.1:9001, tls: { ca: @/none.crt } } }\n", "none.crt", "No such file");
    refuses(LISTENERS POOL_ROUTE "pools: { app: { servers: 127.0.0.1:9001, tls: { ca: @/ecdsa.key } } }\n", "ecdsa.key", "uthorit");
    refuses(LISTENERS POOL_ROUTE "pools: { app: { servers: 127.0.0.1:9001, tls: { ca: @/root.crt, certificate: { chain: @/client.crt, key: @/ecdsa.key } } } }\n",
            "ecdsa.key", "another certificate");
}

Test(certificates, pools_that_are_asked_alike_share_a_context)
{
    struct generation g;
    must_load(&g, LISTENERS "routes: [ { pool: a } ]\npools:\n"
                            "  a: { servers: 127.0.0.1:1, tls: { ca: @/root.crt, server-name: a.test } }\n"
                            "  b: { servers: 127.0.0.1:2, tls: { ca: @/root.crt, server-name: b.test } }\n"
                            "  c: { servers: 127.0.0.1:3, tls: { verify: off } }\n"
                            "  d: { servers: 127.0.0.1:4 }\n"
                            "  e: { servers: 127.0.0.1:5, tls: { ca: @/root.crt, certificate: { chain: @/client.crt, key: @/client.key } } }\n", NULL);
    cr_expect(g.pool_tls[0] && tls_context_verifies(g.pool_tls[0]));
    cr_expect_eq(g.pool_tls[1], g.pool_tls[0]);
    cr_expect(g.pool_tls[2] && !tls_context_verifies(g.pool_tls[2]));
    cr_expect_eq(g.pool_tls[3], NULL);
    cr_expect(g.pool_tls[4] && g.pool_tls[4] != g.pool_tls[0]);
    unload(&g);
}

/* Reloads ------------------------------------------------------------------------------------------------------- */

#define BOTH                                                                                                             \
    "listeners: [ " LISTENER(PAIR("ecdsa") ", " PAIR("rsa"), "") " ]\nroutes: [ { pool: app } ]\n"                        \
    "pools: { app: { servers: 127.0.0.1:1, tls: { ca: @/root.crt } } }\n"

static void changes(const struct generation *from, const struct generation *to, const char *wanted)
{
    struct text text = { 0 }, expected = { 0 };
    certificates_changes(from, to, &text);
    for (; *wanted; wanted++)
        text_add(&expected, *wanted == '@' ? slice_of_text(folder) : slice_of(wanted, 1));
    cr_expect_str_eq(text_slice(&text).at, text_slice(&expected).at);
    text_release(&text);
    text_release(&expected);
}

Test(certificates, what_stays_the_same_keeps_its_context)
{
    struct generation a, b;
    must_load(&a, BOTH, NULL);
    must_load(&b, BOTH, &a);
    cr_expect_eq(choose(&a, "", true, true), choose(&b, "", true, true));
    cr_expect_eq(choose(&a, "", false, true), choose(&b, "", false, true));
    cr_expect_eq(a.pool_tls[0], b.pool_tls[0]);
    changes(&a, &b, "");
    unload(&a);
    cr_expect_neq(choose(&b, "", true, true), NULL);
    unload(&b);
}

Test(certificates, new_contents_of_a_file_are_taken_and_told)
{
    struct generation a, b;
    must_load(&a, BOTH, NULL);
    put("ecdsa.crt", expired_pem, intermediate_pem);
    put("root.crt", root_pem, p384_pem);
    must_load(&b, BOTH, &a);
    cr_expect_neq(choose(&a, "", true, true), choose(&b, "", true, true));
    cr_expect_eq(choose(&a, "", false, true), choose(&b, "", false, true));
    cr_expect_neq(a.pool_tls[0], b.pool_tls[0]);
    changes(&a, &b, "listener web: certificate @/ecdsa.crt: new contents\n");
    unload(&a);
    unload(&b);
}

Test(certificates, new_rules_make_new_contexts)
{
    struct generation a, b;
    must_load(&a, ONE(PAIR("ecdsa"), ""), NULL);
    must_load(&b, ONE(PAIR("ecdsa"), ", min-version: 1.3"), &a);
    cr_expect_neq(choose(&a, "", true, true), choose(&b, "", true, true));
    changes(&a, &b, "");
    unload(&a);
    unload(&b);
}

Test(certificates, certificates_may_come_and_go_and_change_places)
{
    struct generation a, b;
    must_load(&a, ONE(PAIR("ecdsa") ", " PAIR("p384"), ""), NULL);
    must_load(&b, ONE(PAIR("p384") ", " PAIR("rsa") ", " PAIR("ecdsa"), ""), &a);
    cr_expect_eq(choose(&a, "www.example.com", true, true), choose(&b, "www.example.com", true, true));
    cr_expect_eq(choose(&a, "384.example.com", true, true), choose(&b, "384.example.com", true, true));
    unload(&a);
    unload(&b);
}

/* weir check ---------------------------------------------------------------------------------------------------- */

static struct config_problems check(const char *text, int64_t now)
{
    struct config_problems problems = { 0 };
    struct config *config = config_of(text);
    config_check_files(config, now, &problems);
    config_free(config);
    return problems;
}

#define NOW 1750000000
#define DAY 86400

/* A certificate of ours from a week before NOW until then. */
static void put_until(const char *name, int64_t until)
{
    char *chain, *key, file[32];
    cr_assert_eq(tls_make_self_signed("soon.test", NOW - 7 * DAY, until, &chain, &key), ERR_OK);
    snprintf(file, sizeof file, "%s.crt", name);
    put(file, chain, "");
    snprintf(file, sizeof file, "%s.key", name);
    put(file, key, "");
    free(chain);
    free(key);
}

static void check_says(int64_t until, bool warning, const char *words)
{
    put_until("soon", until);
    struct config_problems problems = check(ONE(PAIR("soon"), ""), NOW);
    cr_expect_eq(problems.count, words ? 1 : 0, "%s", words);
    cr_expect_eq(problems.errors, words && !warning ? 1 : 0, "%s", words);
    if (words)
        cr_expect(strstr(problems.list[0].message, words) && strstr(problems.list[0].message, "/soon.crt"), "%s", problems.list[0].message);
}

Test(certificates, check_looks_at_the_dates)
{
    check_says(NOW + 14 * DAY, false, NULL);
    check_says(NOW + 14 * DAY - 1, true, "expires in 13 days");
    check_says(NOW + 9 * DAY + DAY / 2, true, "expires in 9 days");
    check_says(NOW + DAY, true, "expires in 1 day");
    check_says(NOW + 5, true, "expires in 0 days");
    check_says(NOW - 1, false, "has expired, 0 days ago");
    check_says(NOW - 3 * DAY, false, "has expired, 3 days ago");
    put_until("soon", NOW + 100 * DAY);
    struct config_problems problems = check(ONE(PAIR("soon"), ""), NOW - 10 * DAY);
    cr_expect_eq(problems.errors, 1);
    cr_expect(strstr(problems.list[0].message, "not valid yet, but in 3 days"), "%s", problems.list[0].message);
}

Test(certificates, check_looks_at_who_can_read_keys)
{
    char path[256];
    path_of("ecdsa.key", path);
    cr_expect_eq(check(ONE(PAIR("ecdsa"), ""), NOW).count, 0);
    cr_assert_eq(chmod(path, 0640), 0);
    struct config_problems problems = check(ONE(PAIR("ecdsa"), ""), NOW);
    cr_assert_eq(problems.count, 1);
    cr_expect(problems.list[0].warning);
    cr_expect(strstr(problems.list[0].message, "/ecdsa.key") && strstr(problems.list[0].message, "0640"), "%s", problems.list[0].message);
}

Test(certificates, check_tells_everything_at_once)
{
    struct config_problems problems = check("listeners:\n  - " LISTENER(PAIR("none") ", { chain: @/ecdsa.crt, key: @/rsa.key }", ", client-certificate: { ca: @/ecdsa.key }")
                                            "\nroutes: [ { pool: app } ]\npools: { app: { servers: 127.0.0.1:1, tls: { ca: @/none.ca } } }\n"
                                            "tls: { ticket-keys: @/none.keys }\n", NOW);
    cr_assert_eq(problems.errors, 5);
    cr_expect(strstr(problems.list[0].message, "none.crt"));
    cr_expect(strstr(problems.list[1].message, "rsa.key"));
    cr_expect(strstr(problems.list[2].message, "ecdsa.key"));
    cr_expect(strstr(problems.list[3].message, "none.ca"));
    cr_expect(strstr(problems.list[4].message, "none.keys"));
}

/* weir certs ---------------------------------------------------------------------------------------------------- */

static uint32_t report(const struct generation *generation, uint64_t within_ms, struct text *text, struct text *json)
{
    *text = *json = (struct text){ 0 };
    return certificates_report(generation, NOW, within_ms, text, json);
}

Test(certificates, the_list_has_a_line_for_each)
{
    struct generation g;
    struct text text, json;
    put_until("soon", NOW + 9 * DAY + DAY / 2);
    must_load(&g, ONE(PAIR("ecdsa") ", " PAIR("rsa") ", " PAIR("soon"), ""), NULL);
    cr_assert_eq(report(&g, UINT64_MAX, &text, &json), 3);
    cr_expect(strstr(text.at, "www.example.com"));
    cr_expect(strstr(text.at, "ECDSA-256 2120-01-01"));
    cr_expect(strstr(text.at, "RSA-2048"));
    cr_expect(strstr(text.at, "soon.test"));
    cr_expect(strstr(text.at, "    9  /tmp/"), "%s", text.at);
    cr_expect(strstr(json.at, "\"listener\":\"web\""));
    cr_expect(strstr(json.at, "\"days_left\":9,"));
    cr_expect(strstr(json.at, "\"ocsp\":null,"));
    cr_expect(strstr(json.at, "\"not_after\":\"2120-01-01T00:00:00Z\""));
    cr_expect(strstr(json.at, "\"subject\":\"C=DE,O=Example/Sons,CN=www.example.com\""));
    text_release(&text);
    text_release(&json);
    unload(&g);
}

Test(certificates, the_list_of_what_expires_has_only_that)
{
    struct generation g;
    struct text text, json;
    put_until("soon", NOW + 9 * DAY + DAY / 2);
    must_load(&g, ONE(PAIR("ecdsa") ", " PAIR("soon"), ""), NULL);
    cr_expect_eq(report(&g, 14ull * DAY * 1000, &text, &json), 1);
    cr_expect(strstr(text.at, "soon.test") && !strstr(text.at, "www.example.com"));
    text_release(&text);
    text_release(&json);
    cr_expect_eq(report(&g, 9ull * DAY * 1000, &text, &json), 0);
    cr_expect_str_eq(text_slice(&text).at, "");
    cr_expect_str_eq(text_slice(&json).at, "{\"certificates\":[]}");
    text_release(&text);
    text_release(&json);
    unload(&g);
}

/* OCSP responses ------------------------------------------------------------------------------------------------ */

#define STAPLED ONE("{ chain: @/staple.crt, key: @/staple.key, ocsp: @/response }", "")

static void put_response(struct slice response)
{
    put("staple.crt", staple_pem, staple_issuer_pem);
    put("staple.key", staple_key_pem, "");
    put_bytes("response", response);
}

Test(certificates, an_ocsp_response_comes_with_its_certificate)
{
    struct generation a, b;
    put_response(DER(good_response));
    must_load(&a, STAPLED, NULL);
    must_load(&b, STAPLED, &a);
    cr_expect_eq(choose(&a, "", true, true), choose(&b, "", true, true));
    changes(&a, &b, "");
    unload(&a);
    unload(&b);
}

Test(certificates, a_new_ocsp_response_is_taken_and_told)
{
    struct generation a, b;
    put_response(DER(brief_response)); /* long stale */
    must_load(&a, STAPLED, NULL);
    put_response(DER(good_response));
    must_load(&b, STAPLED, &a);
    cr_expect_neq(choose(&a, "", true, true), choose(&b, "", true, true));
    changes(&a, &b, "listener web: OCSP response @/response: new contents\n");
    unload(&a);
    unload(&b);
}

Test(certificates, a_stale_ocsp_response_is_as_none)
{
    struct generation a, b;
    put_response(DER(brief_response));
    must_load(&a, STAPLED, NULL);
    must_load(&b, ONE(PAIR("staple"), ""), &a);
    cr_expect_eq(choose(&a, "", true, true), choose(&b, "", true, true));
    unload(&a);
    unload(&b);
    put_response(DER(revoked_response));
    must_load(&a, STAPLED, NULL);
    must_load(&b, ONE(PAIR("staple"), ""), &a);
    cr_expect_eq(choose(&a, "", true, true), choose(&b, "", true, true));
    unload(&a);
    unload(&b);
}

Test(certificates, wrong_ocsp_responses_are_refused_by_file_and_reason)
{
    char *large = calloc(1, OCSP_BYTES_MAX + 1);
    refuses(ONE("{ chain: @/ecdsa.crt, key: @/ecdsa.key, ocsp: @/none }", ""), "OCSP response \"", "No such file");
    put_response(DER(other_response));
    refuses(STAPLED, "/response", "it is for another certificate");
    refuses(ONE("{ chain: @/ecdsa.crt, key: @/ecdsa.key, ocsp: @/response }", ""), "/response", "it is for another certificate");
    put_response(slice_of(good_response, 200));
    refuses(STAPLED, "/response", "no OCSP response");
    put_response(SLICE("hello"));
    refuses(STAPLED, "/response", "no OCSP response");
    put_response(SLICE("\x30\x03\x0a\x01\x03"));
    refuses(STAPLED, "/response", "try later");
    put_response(DER(forged_response));
    refuses(STAPLED, "/response", "has signed it");
    put_response(slice_of(large, OCSP_BYTES_MAX + 1));
    refuses(STAPLED, "/response", "too large");
    put_response(SLICE(""));
    refuses(STAPLED, "/response", "empty");
    free(large);
}

static void check_of_response(struct slice response, int64_t now, const char *words)
{
    put_response(response);
    struct config_problems problems = check(STAPLED, now);
    cr_expect_eq(problems.errors, 0);
    cr_expect_eq(problems.count, words ? 1 : 0, "%s", words);
    if (words && problems.count)
        cr_expect(strstr(problems.list[0].message, words) && strstr(problems.list[0].message, "/response"), "%s", problems.list[0].message);
}

Test(certificates, check_looks_at_ocsp_responses)
{
    check_of_response(DER(good_response), NOW, NULL);
    check_of_response(DER(brief_response), NOW - 1, NULL);
    check_of_response(DER(brief_response), NOW, "is stale in 24 hours");
    check_of_response(DER(brief_response), NOW + DAY - 5, "is stale in less than an hour");
    check_of_response(DER(brief_response), NOW + DAY, "has been stale for less than an hour, and is not sent");
    check_of_response(DER(brief_response), NOW + 4 * DAY, "has been stale for 3 days, and is not sent");
    check_of_response(DER(brief_response), NOW - 3 * DAY - 30, NULL);
    check_of_response(DER(brief_response), NOW - 4 * DAY, "is not valid yet, but in 24 hours");
    check_of_response(DER(revoked_response), NOW, "says that the certificate is revoked, and is not sent");
    check_of_response(DER(unknown_response), NOW, "is unknown to the responder, and is not sent");
    put_response(DER(other_response));
    struct config_problems problems = check(STAPLED, NOW);
    cr_assert_eq(problems.errors, 1);
    cr_expect(strstr(problems.list[0].message, "/response"), "%s", problems.list[0].message);
}

Test(certificates, check_tells_of_a_certificate_that_lacks_its_response)
{
    put_response(DER(good_response));
    struct config_problems problems = check(ONE(PAIR("staple"), ""), NOW);
    cr_assert_eq(problems.count, 1);
    cr_expect(problems.list[0].warning);
    cr_expect(strstr(problems.list[0].message, "/staple.crt") && strstr(problems.list[0].message, "must-staple"), "%s", problems.list[0].message);
}

static void lists_response(struct slice response, const char *line, const char *object)
{
    struct generation g;
    struct text text, json;
    put_response(response);
    must_load(&g, STAPLED, NULL);
    cr_assert_eq(report(&g, UINT64_MAX, &text, &json), 1);
    cr_expect(strstr(text.at, line), "%s", text.at);
    cr_expect(strstr(json.at, object), "%s", json.at);
    text_release(&text);
    text_release(&json);
    unload(&g);
}

Test(certificates, the_list_has_the_end_of_ocsp_responses)
{
    lists_response(DER(good_response), "\n    OCSP response until 2120-01-01T00:00:00Z  /tmp/",
                   "\"status\":\"good\",\"this_update\":\"2020-01-01T00:00:00Z\",\"next_update\":\"2120-01-01T00:00:00Z\",\"sent\":true}");
    lists_response(DER(revoked_response), "\n    OCSP response until 2120-01-01T00:00:00Z, not sent  /tmp/", "\"status\":\"revoked\"");
}

/* Ticket keys --------------------------------------------------------------------------------------------------- */

static const char key_line[] = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2";
static const char key_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv";

static bool keys_of(struct slice bytes, struct ticket_keys_file *keys)
{
    char path[256];
    put_bytes("ticket.keys", bytes);
    path_of("ticket.keys", path);
    return ticket_keys_read(slice_of_text(path), keys, why);
}

Test(certificates, ticket_keys_are_raw_or_base64)
{
    struct ticket_keys_file keys;
    char text[512], raw[4 * 48];
    cr_assert(keys_of(slice_of_text(key_bytes), &keys), "%s", why);
    cr_expect_eq(keys.count, 1);
    cr_expect_arr_eq(keys.list[0], key_bytes, 48);
    for (int i = 0; i < 4; i++)
        memset(memcpy(raw + 48 * i, key_bytes, 48), 'a' + i, 1);
    cr_assert(keys_of(slice_of(raw, sizeof raw), &keys));
    cr_expect_eq(keys.count, 4);
    cr_expect_eq(keys.list[3][0], 'd');
    static const char *const forms[] = { "%s", "%s\n", "%s\r\n", "\n%s\n\n" };
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
        _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"")
        int length = snprintf(text, sizeof text, forms[i], key_line);
        _Pragma("GCC diagnostic pop")
        cr_assert(keys_of(slice_of(text, (size_t)length), &keys), "%s", why);
        cr_expect_eq(keys.count, 1);
        cr_expect_arr_eq(keys.list[0], key_bytes, 48);
    }
    int length = snprintf(text, sizeof text, "%s\n%s\n", key_line, key_line);
    cr_assert(keys_of(slice_of(text, (size_t)length), &keys));
    cr_expect_eq(keys.count, 2);
}

Test(certificates, ticket_keys_that_are_none_are_refused)
{
    struct ticket_keys_file keys;
    char lines[512];
    snprintf(lines, sizeof lines, "%s\n%s\n%s\n%s\n%s\n", key_line, key_line, key_line, key_line, key_line);
    const char *const wrong[] = { "", "\n\n", "1234567", "QUJD\n", lines, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHU=\n" };
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        cr_expect_not(keys_of(slice_of_text(wrong[i]), &keys), "%zu", i);
        cr_expect(strstr(why, "ticket.keys"), "%s", why);
    }
}

Test(certificates, ticket_keys_come_with_the_generation_until_they_are_in_force)
{
    struct generation g;
    put("ticket.keys", key_line, "");
    must_load(&g, ONE(PAIR("ecdsa"), "") "tls: { ticket-keys: @/ticket.keys }\n", NULL);
    cr_assert(g.ticket_keys);
    cr_expect_eq(g.ticket_keys->count, 1);
    certificates_forget_ticket_keys(&g);
    cr_expect_null(g.ticket_keys);
    unload(&g);
    refuses(ONE(PAIR("ecdsa"), "") "tls: { ticket-keys: @/ecdsa.key }\n", "ecdsa.key", "48 bytes");
}

/* Faults -------------------------------------------------------------------------------------------------------- */

#ifdef WEIR_FAULTS
#define EVERYTHING                                                                                                        \
    "listeners: [ " LISTENER(PAIR("ecdsa") ", " PAIR("rsa") ", { chain: @/staple.crt, key: @/staple.key, ocsp: @/response }", \
                             ", client-certificate: { ca: @/root.crt }") " ]\n"                                          \
    "routes: [ { pool: app } ]\n"                                                                                         \
    "pools: { app: { servers: 127.0.0.1:1, tls: { ca: @/root.crt, certificate: { chain: @/client.crt, key: @/client.key } } } }\n" \
    "tls: { ticket-keys: @/ticket.keys }\n"

Test(certificates, survive_every_failure)
{
    struct generation before, g;
    uint64_t nth = 1;
    put("ticket.keys", key_line, "");
    put_response(DER(good_response));
    must_load(&before, EVERYTHING, NULL);
    FILE *quiet = freopen("/dev/null", "w", stderr); /* each fault says so */
    cr_assert(quiet);
    for (bool well = false; !well; nth++) {
        g = (struct generation){ .config = config_of(EVERYTHING) };
        fault_arm(nth);
        well = certificates_load(&g, nth % 2 ? &before : NULL, NULL, why);
        uint64_t points = fault_count();
        fault_arm(0);
        cr_assert(well == (points < nth), "fault point %llu was met and nothing said so", (unsigned long long)nth);
        cr_assert(well || why[0], "fault point %llu", (unsigned long long)nth);
        unload(&g);
    }
    unload(&before);
    cr_assert_gt(nth, 20);
}
#endif

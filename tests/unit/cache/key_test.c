#include "cache/key.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/codec.h"
#include "proto/uri.h"
#include "tests/unit/seed.h"

/* Given -------------------------------------------------------------------------------------------------------- */

static const struct cache_key_part whole_query[] = { { .kind = CACHE_KEY_QUERY } };
static const struct cache_rule rule = { .on = true, .key = whole_query, .key_count = 1 };
static const struct cache_rule no_query = { .on = true };
static const struct cache_key_context context = { SLICE("http"), SLICE("app"), SLICE(""), false, { 1, 2 } };
static struct request request;
static struct response response;

/* A GET of "host[:port]/path[?query]", as the parser leaves it. */
static void get(const char *url)
{
    static uint16_t port;
    const char *slash = strchr(url, '/'), *mark = strchr(url, '?');
    request = (struct request){ .method = METHOD_GET, .authority = slice_of(url, (size_t)(slash - url)) };
    cr_assert_eq(uri_authority_split(request.authority, &request.host, &port), ERR_OK, "%s", url);
    request.path = mark ? slice_of(slash, (size_t)(mark - slash)) : slice_of_text(slash);
    request.query = mark ? slice_of_text(mark + 1) : SLICE_NONE;
}

static void with(const char *name, const char *value)
{
    cr_assert_eq(fields_add(&request.fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
    cr_assert_eq(codec_mark_hop_by_hop(&request.fields), FAULT_NONE);
}

static void answers(const char *name, const char *value)
{
    cr_assert_eq(fields_add(&response.fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
}

/* Then --------------------------------------------------------------------------------------------------------- */

/* The key with '|' for LF. */
static const char *key_in(const struct cache_rule *of, const struct cache_key_context *in)
{
    static char room[CACHE_KEY_BYTES_MAX + 1];
    struct cache_key key;
    cr_assert_eq(cache_key_make(of, &request, in, room, CACHE_KEY_BYTES_MAX, &key), ERR_OK);
    cr_assert_eq(key.text.at[key.url_length - 1], '\n');
    room[key.text.length] = '\0';
    for (char *c = room; *c; c++)
        if (*c == '\n')
            *c = '|';
    return room;
}

static void is(const char *wanted)
{
    const char *found = key_in(&rule, &context);
    cr_expect_str_eq(found, wanted, "%s, wanted %s", found, wanted);
}

/* Only what the rule adds behind the pool and the path. */
static void adds(const struct cache_rule *of, const char *wanted)
{
    const char *found = strstr(key_in(of, &context), "|app||") + 6;
    cr_expect_str_eq(found, wanted, "%s, wanted %s", found, wanted);
}

static void has_query(const struct cache_rule *of, const char *query, const char *wanted)
{
    static char url[512], part[512];
    snprintf(url, sizeof url, "a/%s", query);
    snprintf(part, sizeof part, "http|a|/|%s|app|", wanted);
    get(url);
    const char *found = key_in(of, &context);
    cr_expect_eq(strncmp(found, part, strlen(part)), 0, "%s: %s, wanted %s", query, found, part);
}

/* The primary key ---------------------------------------------------------------------------------------------- */

Test(cache_key, is_scheme_authority_path_query_then_pool_and_forwarded_path)
{
    struct cache_key_context rewritten = context;
    get("example.com/a/b?c=d");
    is("http|example.com|/a/b|?c=d|app||q|");
    rewritten.forward_path = SLICE("/b");
    cr_expect_str_eq(key_in(&rule, &rewritten), "http|example.com|/a/b|?c=d|app|/b|q|");
    rewritten.scheme = SLICE("https");
    cr_expect_str_eq(key_in(&rule, &rewritten), "https|example.com|/a/b|?c=d|app|/b|q|");
}

Test(cache_key, its_hash_is_of_the_url_alone_and_seeded)
{
    char room[2][256];
    struct cache_key a, b;
    struct cache_key_context other = context;
    get("example.com/a?b");
    other.pool = SLICE("other");
    cr_assert_eq(cache_key_make(&rule, &request, &context, room[0], 256, &a), ERR_OK);
    cr_assert_eq(cache_key_make(&rule, &request, &other, room[1], 256, &b), ERR_OK);
    cr_assert_eq(a.url_hash, b.url_hash);
    cr_assert(slice_equal(slice_of(a.text.at, a.url_length), SLICE("http\nexample.com\n/a\n?b\n")));
    cr_assert_not(slice_equal(a.text, b.text));
    other.seed[1]++;
    cr_assert_eq(cache_key_make(&rule, &request, &other, room[1], 256, &b), ERR_OK);
    cr_assert_neq(a.url_hash, b.url_hash);
}

Test(cache_key, a_head_has_the_key_of_its_get)
{
    get("a/b");
    request.method = METHOD_HEAD;
    is("http|a|/b||app||q|");
}

/* RFC 3986 3.2.2 */
Test(cache_key, host_is_in_lower_case)
{
    get("EXAMPLE.com/A");
    is("http|example.com|/A||app||q|");
    get("WWW.AZaz-09_~.EXAMPLE/A");
    is("http|www.azaz-09_~.example|/A||app||q|");
    get("[2001:DB8::A]:8080/");
    is("http|[2001:db8::a]:8080|/||app||q|");
}

/* RFC 9110 4.2.3 */
Test(cache_key, the_port_of_the_scheme_is_none)
{
    struct cache_key_context tls = context;
    tls.scheme = SLICE("https");
    static const struct { const char *url, *http, *https; } rows[] = {
        { "a:80/", "a", "a:80" },        { "a:443/", "a:443", "a" },         { "a:/", "a", "a" },
        { "a:0080/", "a", "a:80" },      { "a:8080/", "a:8080", "a:8080" }, { "a:08080/", "a:8080", "a:8080" },
        { "[::1]:80/", "[::1]", "[::1]:80" },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char wanted[64];
        get(rows[i].url);
        snprintf(wanted, sizeof wanted, "http|%s|/||app||q|", rows[i].http);
        is(wanted);
        snprintf(wanted, sizeof wanted, "https|%s|/||app||q|", rows[i].https);
        cr_expect_str_eq(key_in(&rule, &tls), wanted);
    }
}

Test(cache_key, another_port_is_another_key)
{
    get("a:1337/");
    is("http|a:1337|/||app||q|");
}

Test(cache_key, a_dot_at_the_end_of_the_host_goes_once)
{
    get("a.b./");
    is("http|a.b|/||app||q|");
    get("a.b.:80/");
    is("http|a.b|/||app||q|");
    get("a.b../");
    is("http|a.b.|/||app||q|");
    get("./");
    is("http|.|/||app||q|");
}

Test(cache_key, says_what_to_send_as_host)
{
    char room[256];
    struct cache_key key;
    get("Example.COM.:080/");
    cr_assert_eq(cache_key_make(&rule, &request, &context, room, sizeof room, &key), ERR_OK);
    cr_assert(slice_equal(key.authority, SLICE("example.com")));
}

Test(cache_key, paths_that_an_origin_may_tell_apart_are_apart)
{
    static const char *const paths[] = { "/a/b", "/a%2Fb", "/a//b", "//a/b", "/a/b/", "/a/b;x", "/A/b", "/a/b%3B", "/a/b%3Fx", "/a/b%20", "/a/b%00" };
    char seen[ARRAY_LENGTH(paths)][128];
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        char url[64];
        snprintf(url, sizeof url, "a%s", paths[i]);
        get(url);
        snprintf(seen[i], sizeof seen[i], "%s", key_in(&rule, &context));
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(seen[i], seen[j], "%s %s", paths[i], paths[j]);
    }
}

Test(cache_key, what_does_not_fit_has_none)
{
    char room[CACHE_KEY_BYTES_MAX];
    struct cache_key key;
    get("example.com/a?b");
    size_t length = strlen("http|example.com|/a|?b|app||q|");
    for (size_t cap = 0; cap < length; cap++)
        cr_expect_eq(cache_key_make(&rule, &request, &context, room, cap, &key), ERR_CAP);
    cr_expect_eq(cache_key_make(&rule, &request, &context, room, length, &key), ERR_OK);
}

Test(cache_key, without_authority_there_is_none)
{
    char room[256];
    struct cache_key key;
    get("a/b");
    request.authority = request.host = SLICE_NONE;
    cr_assert_eq(cache_key_make(&rule, &request, &context, room, sizeof room, &key), ERR_SYNTAX);
}

/* Query -------------------------------------------------------------------------------------------------------- */

Test(cache_key, an_empty_query_is_not_none)
{
    has_query(&rule, "", "");
    has_query(&rule, "?", "?");
    has_query(&rule, "?a", "?a");
    has_query(&rule, "?a=", "?a=");
    has_query(&rule, "?a&", "?a&");
}

Test(cache_key, a_rule_without_query_leaves_it_out)
{
    has_query(&no_query, "?a=1", "");
    has_query(&no_query, "?a;b", "");
}

static const struct slice tracking[] = { SLICE("utm_*"), SLICE("gclid") };
static const struct cache_rule ignoring = { .key = whole_query, .key_count = 1, .ignore_query = tracking, .ignore_query_count = 2 };

Test(cache_key, ignored_parameters_go_and_the_others_keep_their_order)
{
    has_query(&ignoring, "?b=1&utm_source=x&a=2&gclid&c", "?b=1&a=2&c");
    has_query(&ignoring, "?utm_a=1&b&&c&", "?b&&c&");
    has_query(&ignoring, "?b=utm_a&gclidx=1", "?b=utm_a&gclidx=1");
    has_query(&ignoring, "?a&&b", "?a&&b");
    has_query(&ignoring, "?=1&utm_=2", "?=1");
}

Test(cache_key, a_query_of_which_nothing_is_left_is_none)
{
    has_query(&ignoring, "?utm_source=x", "");
    has_query(&ignoring, "?utm_source=x&gclid=2", "");
    has_query(&ignoring, "?utm_source=x&", "");
    has_query(&ignoring, "?", "?");
    has_query(&ignoring, "?&", "?&");
}

Test(cache_key, poisoning_a_parameter_does_not_hide_in_an_ignored_one)
{
    has_query(&ignoring, "?a=1&utm_x=1;a=2", "?a=1&utm_x=1;a=2");
    has_query(&ignoring, "?utm_x;a=2&gclid=1", "?utm_x;a=2");
    has_query(&ignoring, "?utm_%26a=1", "?utm_%26a=1");
    has_query(&ignoring, "?utm_+=1", "?utm_+=1");
    has_query(&ignoring, "?utm_a=%26b=2+3", "");
    has_query(&ignoring, "?UTM_a=1", "?UTM_a=1");
}

static const struct cache_key_part id_and_page[] = { { .kind = CACHE_KEY_PARAM, .name = SLICE("id") }, { .kind = CACHE_KEY_PARAM, .name = SLICE("page_no") } };
static const struct cache_rule parameters = { .key = id_and_page, .key_count = 2 };

Test(cache_key, chosen_parameters_are_in_it_in_the_order_of_the_rule)
{
    has_query(&parameters, "?page_no=2&x=y&id=1", "?id=1&page_no=2");
    has_query(&parameters, "?id=1&page_no=2&z", "?id=1&page_no=2");
    has_query(&parameters, "?x=id&y=page_no", "");
    has_query(&parameters, "?idx=1&xid=2", "");
    adds(&parameters, "pid|ppage_no|");
}

Test(cache_key, a_parameter_that_is_absent_is_not_an_empty_one)
{
    has_query(&parameters, "?", "");
    has_query(&parameters, "?id", "?id");
    has_query(&parameters, "?id=", "?id=");
}

Test(cache_key, poisoning_by_a_second_value_or_another_spelling_is_seen)
{
    has_query(&parameters, "?id=1&x&id=2", "?id=1&id=2");
    has_query(&parameters, "?ID=2&id=1", "?ID=2&id=1");
    has_query(&parameters, "?page.no=2", "?page.no=2");
}

Test(cache_key, poisoning_by_a_disguised_parameter_makes_the_whole_query_count)
{
    has_query(&parameters, "?x=1;id=2&id=1", "?x=1;id=2&id=1");
    has_query(&parameters, "?id=1&x=1;id=2", "?id=1&x=1;id=2");
    has_query(&parameters, "?%69d=2&x=3", "?%69d=2&x=3");
    has_query(&parameters, "?page+no=2", "?page+no=2");
    has_query(&parameters, "?x=%3B;", "?x=%3B;");
    has_query(&parameters, "?x=%3B", "");
}

static const struct slice everything[] = { SLICE("*") };
static const struct cache_key_part query_and_id[] = { { .kind = CACHE_KEY_QUERY }, { .kind = CACHE_KEY_PARAM, .name = SLICE("id") } };
static const struct cache_rule all_but_id = { .key = query_and_id, .key_count = 2, .ignore_query = everything, .ignore_query_count = 1 };

Test(cache_key, a_parameter_that_the_rule_names_is_not_ignored)
{
    has_query(&all_but_id, "?x=1&id=2&y", "?id=2");
    has_query(&all_but_id, "?x=1&y", "");
}

/* Fields and cookies ------------------------------------------------------------------------------------------- */

static const struct cache_key_part by_field[] = { { .kind = CACHE_KEY_HEADER, .id = FIELD_OTHER, .name = SLICE("x-tenant") },
                                                  { .kind = CACHE_KEY_HEADER, .id = FIELD_ACCEPT, .name = SLICE("accept") } };
static const struct cache_rule fields = { .key = by_field, .key_count = 2 };

Test(cache_key, a_field_counts_with_all_its_lines)
{
    get("a/b");
    adds(&fields, "hx-tenant|haccept|");
    with("X-Tenant", "one");
    with("Accept", "text/html,  */*");
    with("x-tenant", "two");
    adds(&fields, "hx-tenant:one, two|haccept:text/html,  */*|");
}

Test(cache_key, a_field_that_is_empty_is_not_absent)
{
    get("a/b");
    with("X-Tenant", "");
    adds(&fields, "hx-tenant:|haccept|");
}

/* RFC 3875 4.1.18: CGI makes one variable of both. */
Test(cache_key, poisoning_by_underscores_is_kept_apart)
{
    get("a/b");
    with("X_Tenant", "evil");
    adds(&fields, "hx-tenant;evil|haccept|");
    with("X-Tenant", "good");
    adds(&fields, "hx-tenant;evil, good|haccept|");
}

/* RFC 9110 7.6.1: the origin would answer as if there were none. */
Test(cache_key, poisoning_by_a_field_that_is_not_forwarded_fails)
{
    get("a/b");
    with("X-Tenant", "victim");
    with("Connection", "x-tenant");
    adds(&fields, "hx-tenant|haccept|");
}

static const struct cache_key_part by_cookie[] = { { .kind = CACHE_KEY_COOKIE, .name = SLICE("lang") } };
static const struct cache_rule cookies = { .key = by_cookie, .key_count = 1 };

Test(cache_key, a_cookie_counts_and_the_others_do_not)
{
    get("a/b");
    adds(&cookies, "clang|");
    with("Cookie", "sid=1; lang=de; x=lang");
    adds(&cookies, "clang:lang=de|");
    get("a/b");
    with("Cookie", "sid=2;lang=de");
    adds(&cookies, "clang:lang=de|");
    get("a/b");
    with("Cookie", "xlang=de; Lang2=1");
    adds(&cookies, "clang|");
}

Test(cache_key, an_empty_cookie_is_not_an_absent_one)
{
    get("a/b");
    with("Cookie", "lang=");
    adds(&cookies, "clang:lang=|");
}

Test(cache_key, poisoning_by_several_cookies_is_seen)
{
    get("a/b");
    with("Cookie", "lang=de; LANG=fr");
    with("Cookie", "lang=en");
    adds(&cookies, "clang:lang=de;LANG=fr;lang=en|");
}

Test(cache_key, poisoning_by_quotes_and_commas_makes_all_cookies_count)
{
    get("a/b");
    with("Cookie", "a=\"; lang=de; b=\"");
    adds(&cookies, "clang=a=\"; lang=de; b=\"|");
    get("a/b");
    with("Cookie", "a=1, lang=de");
    adds(&cookies, "clang=a=1, lang=de|");
}

/* Unkeyed fields ----------------------------------------------------------------------------------------------- */

static bool is_poisonous(const struct cache_rule *of, const char *name)
{
    static struct fields one;
    one = (struct fields){ 0 };
    cr_assert_eq(fields_add(&one, slice_of_text(name), SLICE("x")), ERR_OK);
    return cache_field_is_poisonous(of, &one.list[0]);
}

Test(cache_key, fields_that_override_what_is_keyed_are_poisonous)
{
    static const char *const bad[] = { "X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "x-host", "X-Forwarded-Server", "X-Forwarded-Scheme",
                                       "X_Original_URL", "X-HTTP_Method-Override", "Front-End-Https" };
    static const char *const good[] = { "X-Tenant", "Accept", "Host", "User-Agent", "X-Forwarded-Host", "X-Requested-With", "X-Original-URLs" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect(is_poisonous(&rule, bad[i]), "%s", bad[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        cr_expect_not(is_poisonous(&rule, good[i]), "%s", good[i]);
}

Test(cache_key, a_field_that_the_rule_keys_is_not_poisonous)
{
    static const struct cache_key_part part = { .kind = CACHE_KEY_HEADER, .id = FIELD_OTHER, .name = SLICE("x-original-url") };
    static const struct cache_rule keyed = { .key = &part, .key_count = 1 };
    cr_expect_not(is_poisonous(&keyed, "X-Original-URL"));
    cr_expect(is_poisonous(&keyed, "X-Rewrite-URL"));
}

Test(cache_key, what_a_trusted_client_says_of_its_client_is_in_it)
{
    struct cache_key_context trusted = context;
    trusted.client_trusted = true;
    get("a/b");
    with("X-Forwarded-For", "192.0.2.1");
    with("X-Forwarded-Proto", "https");
    with("X-Forwarded-Host", "b");
    is("http|a|/b||app||q|");
    cr_expect_str_eq(key_in(&rule, &trusted), "http|a|/b||app||q|fx-forwarded-proto:https|fx-forwarded-host:b|");
}

/* RFC 7239 */
Test(cache_key, of_forwarded_the_addresses_are_left_out)
{
    struct cache_key_context trusted = context;
    trusted.client_trusted = true;
    get("a/b");
    with("Forwarded", "for=192.0.2.1;proto=https; host=\"b:1;for\", For=\"[2001:db8::1]\"; BY=_x");
    cr_expect_str_eq(key_in(&rule, &trusted), "http|a|/b||app||q|fforwarded:;proto=https;host=\"b:1;for\",;|");
    get("a/b");
    with("Forwarded", "for=\";host=evil");
    cr_expect_str_eq(key_in(&rule, &trusted), "http|a|/b||app||q|fforwarded:for=\";host=evil|");
}

/* The secondary key (RFC 9111 4.1) ------------------------------------------------------------------------------ */

static char stored[CACHE_VARY_BYTES_MAX + 1];
static struct slice vary;

static enum err vary_of(const struct cache_rule *of)
{
    return cache_vary_make(of, &request, &response, stored, CACHE_VARY_BYTES_MAX, &vary);
}

static void varies(const char *by, const char *wanted)
{
    response = (struct response){ .status = 200 };
    answers("Vary", by);
    cr_assert_eq(vary_of(&rule), ERR_OK, "%s", by);
    cr_assert(cache_vary_matches(vary, &request));
    char shown[CACHE_VARY_BYTES_MAX + 1];
    snprintf(shown, sizeof shown, "%.*s", (int)vary.length, vary.at);
    for (char *c = shown; *c; c++)
        if (*c == '\n')
            *c = '|';
    cr_expect_str_eq(shown, wanted, "%s: %s, wanted %s", by, shown, wanted);
}

static bool selected_by(const char *name, const char *value)
{
    get("a/b");
    if (name)
        with(name, value);
    return cache_vary_matches(vary, &request);
}

Test(cache_vary, names_are_sorted_each_once_in_lower_case)
{
    get("a/b");
    with("Accept-Language", "de");
    with("X-A", "1");
    varies("X-B, accept-language,X-A, x-b", "accept-language:de|x-a:1|x-b|");
    varies("", "");
}

Test(cache_vary, lines_are_combined_and_white_space_is_one)
{
    get("a/b");
    with("X-A", "one  two\t three ,four");
    with("X-A", "five");
    varies("X-A", "x-a:one two three,four,five|");
    get("a/b");
    with("X-A", "\"a,  b\" , \"\\\"  ,\"  c");
    varies("X-A", "x-a:\"a,  b\",\"\\\"  ,\" c|");
}

Test(cache_vary, selects_requests_with_the_same_values_only)
{
    get("a/b");
    with("Accept-Language", "de, en");
    varies("Accept-Language", "accept-language:de,en|");
    cr_expect(selected_by("accept-language", "de , en"));
    cr_expect_not(selected_by("Accept-Language", "en"));
    cr_expect_not(selected_by("Accept-Language", "de, en, fr"));
    cr_expect_not(selected_by("Accept-Language", ""));
    cr_expect_not(selected_by(NULL, NULL));
}

/* RFC 9111 4.1: an absent field matches an absent one only. */
Test(cache_vary, an_absent_field_is_not_an_empty_one)
{
    get("a/b");
    varies("X-A", "x-a|");
    cr_expect(selected_by(NULL, NULL));
    cr_expect_not(selected_by("X-A", ""));
    get("a/b");
    with("X-A", "");
    varies("X-A", "x-a:|");
}

Test(cache_vary, a_star_never_matches)
{
    get("a/b");
    response = (struct response){ 0 };
    answers("Vary", "Accept");
    answers("Vary", "X, *");
    cr_assert_eq(vary_of(&rule), ERR_NONE);
}

Test(cache_vary, what_is_no_field_name_never_matches)
{
    static const char *const bad[] = { "a b", "x:y", "\"x\"", "x=1", "x;y" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        get("a/b");
        response = (struct response){ 0 };
        answers("Vary", bad[i]);
        cr_expect_eq(vary_of(&rule), ERR_NONE, "%s", bad[i]);
    }
}

Test(cache_vary, what_we_tell_the_origin_of_each_client_never_matches)
{
    static const char *const bad[] = { "X-Forwarded-For", "Forwarded", "x-real-ip", "X-Client-Subject" };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        get("a/b");
        response = (struct response){ 0 };
        answers("Vary", bad[i]);
        cr_expect_eq(vary_of(&rule), ERR_NONE, "%s", bad[i]);
    }
}

Test(cache_vary, what_the_primary_key_decides_is_left_out)
{
    get("a/b");
    with("Host", "a");
    varies("Host, X-Forwarded-Proto, X-Forwarded-Host", "");
}

Test(cache_vary, names_that_the_rule_ignores_are_left_out_but_for_a_star)
{
    static const struct slice names[] = { SLICE("user-agent"), SLICE("x-real-ip"), SLICE("*") };
    static const struct cache_rule ignores = { .ignore_vary = names, .ignore_vary_count = 3 };
    get("a/b");
    response = (struct response){ 0 };
    answers("Vary", "User-Agent, X-Real-IP");
    cr_assert_eq(vary_of(&ignores), ERR_OK);
    cr_assert_eq(vary.length, 0);
    answers("Vary", "*");
    cr_assert_eq(vary_of(&ignores), ERR_NONE);
}

Test(cache_vary, too_long_is_not_to_be_stored)
{
    static char value[CACHE_VARY_BYTES_MAX];
    memset(value, 'x', CACHE_VARY_BYTES_MAX - 5); /* "x-a:" and LF */
    get("a/b");
    with("X-A", value);
    response = (struct response){ 0 };
    answers("Vary", "X-A");
    cr_assert_eq(vary_of(&rule), ERR_OK);
    cr_assert_eq(vary.length, CACHE_VARY_BYTES_MAX);
    cr_assert(cache_vary_matches(vary, &request));
    value[CACHE_VARY_BYTES_MAX - 5] = 'x';
    get("a/b");
    with("X-A", value);
    cr_expect_not(cache_vary_matches(vary, &request));
    cr_assert_eq(vary_of(&rule), ERR_CAP);
}

Test(cache_vary, too_many_names_are_not_to_be_stored)
{
    char names[512] = "";
    get("a/b");
    for (unsigned i = 0; i <= CACHE_VARY_NAMES_MAX; i++) {
        response = (struct response){ 0 };
        snprintf(names + strlen(names), sizeof names - strlen(names), "x%u, ", i);
        answers("Vary", names);
        cr_expect_eq(vary_of(&rule), i < CACHE_VARY_NAMES_MAX ? ERR_OK : ERR_CAP);
    }
}

Test(cache_vary, accept_encoding_has_its_normal_form)
{
    get("a/b");
    with("Accept-Encoding", "gzip, deflate, br");
    varies("Accept-Encoding", "accept-encoding:br,gzip|");
    cr_expect(selected_by("Accept-Encoding", "br;q=1.0, gzip"));
    cr_expect_not(selected_by("Accept-Encoding", "gzip"));
    cr_expect_not(selected_by(NULL, NULL));
    cr_expect_not(selected_by("Accept-Encoding", "br;q=2, gzip"));
}

static void stores_coded(const char *accepted, const char *coding)
{
    get("a/b");
    with("Accept-Encoding", accepted);
    response = (struct response){ .status = 200 };
    answers("Vary", "Accept-Encoding");
    answers("Content-Encoding", coding);
    cr_assert_eq(vary_of(&rule), ERR_OK);
    cr_assert(cache_vary_matches(vary, &request));
}

Test(cache_vary, a_coding_that_the_normal_form_does_not_know_is_for_those_who_ask_the_same)
{
    stores_coded("gzip, deflate", "gzip");
    cr_expect(selected_by("Accept-Encoding", "gzip"));
    stores_coded("gzip, deflate", "deflate");
    cr_expect_not(selected_by("Accept-Encoding", "gzip"));
    cr_expect(selected_by("Accept-Encoding", "gzip,deflate"));
}

Test(cache_vary, poisoning_by_a_coding_that_was_not_accepted_fails)
{
    stores_coded("identity", "gzip");
    cr_expect_not(selected_by("Accept-Encoding", ""));
    stores_coded("gzip;q=1, gzip;q=0", "gzip");
    cr_expect_not(selected_by("Accept-Encoding", ""));
    cr_expect_not(selected_by("Accept-Encoding", "gzip"));
}

Test(cache_vary, poisoning_by_a_field_that_is_not_forwarded_fails)
{
    get("a/b");
    with("X-Tenant", "victim");
    with("Connection", "x-tenant");
    varies("X-Tenant", "x-tenant|");
    get("a/b");
    with("Accept-Encoding", "gzip");
    with("Connection", "accept-encoding");
    varies("Accept-Encoding", "accept-encoding|");
}

Test(cache_vary, poisoning_by_underscores_is_kept_apart)
{
    get("a/b");
    with("X_Tenant", "evil");
    varies("X-Tenant", "x-tenant;evil|");
    cr_expect_not(selected_by("X-Tenant", "evil"));
    cr_expect_not(selected_by(NULL, NULL));
    get("a/b");
    with("Accept_Encoding", "gzip");
    varies("Accept-Encoding", "accept-encoding;gzip|");
    get("a/b");
    with("X-Tenant", "evil");
    varies("X_Tenant", "x_tenant;evil|");
}

/* Two requests that are found by one secondary key have the same values by a simple reading: split, sort nothing, compare. */
Test(cache_vary, property_only_equal_values_match)
{
    static const char *const values[] = { NULL, "", "a", "a,b", "a, b", "b,a", "a b", "a  b", "ab", "\"a  b\"", "\"a b\"", "A", "a,,b" };
    static const char *const normal[] = { "-", ":", ":a", ":a,b", ":a,b", ":b,a", ":a b", ":a b", ":ab", ":\"a  b\"", ":\"a b\"", ":A", ":a,,b" };
    seed_take("cache_vary");
    for (unsigned round = 0; round < 2000; round++) {
        size_t one[2], other[2];
        for (unsigned i = 0; i < 2; i++) {
            one[i] = random_below(ARRAY_LENGTH(values));
            other[i] = random_below(2) ? one[i] : random_below(ARRAY_LENGTH(values));
        }
        get("a/b");
        response = (struct response){ 0 };
        answers("Vary", "X-B, X-A");
        if (values[one[0]])
            with("X-A", values[one[0]]);
        if (values[one[1]])
            with("X-B", values[one[1]]);
        cr_assert_eq(vary_of(&rule), ERR_OK);
        get("a/b");
        if (values[other[1]])
            with("X-B", values[other[1]]);
        if (values[other[0]])
            with("X-A", values[other[0]]);
        bool same = strcmp(normal[one[0]], normal[other[0]]) == 0 && strcmp(normal[one[1]], normal[other[1]]) == 0;
        cr_assert_eq(cache_vary_matches(vary, &request), same);
    }
}

/* Tags --------------------------------------------------------------------------------------------------------- */

static char found[8192];
static unsigned found_count;

static void find(void *argument, struct slice tag)
{
    size_t length = strlen(found);
    cr_assert_eq(argument, found);
    found_count++;
    snprintf(found + length, sizeof found - length, "[%.*s]", (int)tag.length, tag.at);
}

static bool tags(const struct cache_rule *of)
{
    found[0] = '\0';
    found_count = 0;
    return cache_tags_each(of, &response, find, found);
}

Test(cache_tags, come_from_the_rule_and_from_both_fields_each_once)
{
    static const struct slice own[] = { SLICE("site") };
    static const struct cache_rule tagged = { .tags = own, .tag_count = 1 };
    response = (struct response){ 0 };
    cr_assert(tags(&tagged));
    cr_expect_str_eq(found, "[site]");
    answers("Surrogate-Key", " a  b\tsite a,c");
    answers("cache-tag", "b, d e ,,\"f,g\",");
    answers("Surrogate-Key", "h");
    cr_assert(tags(&tagged));
    cr_expect_str_eq(found, "[site][a][b][a,c][d e][\"f][g\"][h]");
}

Test(cache_tags, too_many_are_not_to_be_stored)
{
    static char value[8192];
    response = (struct response){ 0 };
    for (unsigned i = 0; i < CACHE_TAGS_MAX; i++)
        snprintf(value + strlen(value), sizeof value - strlen(value), "t%u ", i);
    answers("Surrogate-Key", value);
    cr_assert(tags(&rule));
    cr_assert_eq(found_count, CACHE_TAGS_MAX);
    answers("Cache-Tag", "t1");
    cr_assert(tags(&rule));
    answers("Cache-Tag", "more");
    cr_assert_not(tags(&rule));
}

/* Slices ------------------------------------------------------------------------------------------------------- */

static void slice_is(struct cache_key *key, char *room, size_t whole, uint64_t bytes, uint64_t number, const char *line)
{
    cache_key_slice(key, room, whole, bytes, number);
    struct slice has = slice_of(key->text.at + whole, key->text.length - whole);
    cr_expect(slice_equal(has, slice_of_text(line)), "%.*s, wanted %s", (int)has.length, has.at, line);
}

Test(key, a_slice_has_a_line_behind_all_others_and_the_url_of_the_whole)
{
    char room[CACHE_KEY_BYTES_MAX], before[CACHE_KEY_BYTES_MAX];
    struct cache_key key;
    get("example.com/film?x=1");
    cr_assert_eq(cache_key_make(&rule, &request, &context, room, sizeof room - CACHE_SLICE_LINE_BYTES, &key), ERR_OK);
    size_t whole = key.text.length;
    uint64_t hash = key.url_hash;
    memcpy(before, room, whole);
    slice_is(&key, room, whole, 1048576, 0, "s1048576:0\n");
    slice_is(&key, room, whole, 65536, 10239, "s65536:10239\n");
    slice_is(&key, room, whole, UINT64_MAX, UINT64_MAX, "s18446744073709551615:18446744073709551615\n");
    cr_expect(key.url_hash == hash && key.url_length < whole);
    cr_expect_arr_eq(room, before, whole);
}

#include <criterion/criterion.h>

#include "engine/policy/route.h"

/* Patterns -------------------------------------------------------------------------------------------------------- */

static bool host(const char *pattern_text, const char *name)
{
    struct host_pattern pattern;
    cr_assert_eq(host_pattern_of(slice_of_text(pattern_text), &pattern), ERR_OK, "%s", pattern_text);
    return host_pattern_matches(&pattern, slice_of_text(name));
}

static bool path(const char *pattern_text, const char *name)
{
    struct path_pattern pattern;
    cr_assert_eq(path_pattern_of(slice_of_text(pattern_text), &pattern), ERR_OK, "%s", pattern_text);
    return path_pattern_matches(&pattern, slice_of_text(name));
}

Test(route_host, exact_compares_without_case)
{
    cr_assert(host("example.com", "example.com"));
    cr_assert(host("example.com", "Example.COM"));
    cr_assert_not(host("example.com", "example.co"));
    cr_assert_not(host("example.com", "www.example.com"));
    cr_assert_not(host("example.com", ""));
}

Test(route_host, wildcard_is_any_depth_below_and_not_the_domain)
{
    cr_assert(host("*.example.com", "www.example.com"));
    cr_assert(host("*.example.com", "a.b.EXAMPLE.com"));
    cr_assert_not(host("*.example.com", "example.com"));
    cr_assert_not(host("*.example.com", ".example.com"));
    cr_assert_not(host("*.example.com", "badexample.com"));
}

Test(route_host, dot_at_the_end_is_the_same_host)
{
    cr_assert(host("example.com", "example.com."));
    cr_assert(host("example.com.", "example.com"));
    cr_assert(host("*.example.com", "www.example.com."));
    cr_assert_not(host("example.com", "example.com.."));
}

Test(route_host, addresses)
{
    cr_assert(host("192.0.2.1", "192.0.2.1"));
    cr_assert(host("[2001:db8::1]", "[2001:DB8::1]"));
}

Test(route_host, refuses_what_is_no_pattern)
{
    static const char *const bad[] = { "", ".", "*", "*.", "a.*.com", "**.com", "example.com:80", ".example.com", "a..b", "Example.com",
                                       "[::1", "*.[::1]", "a/b", "http://a", "a b", "[]" };
    struct host_pattern pattern;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_eq(host_pattern_of(slice_of_text(bad[i]), &pattern), ERR_SYNTAX, "%s", bad[i]);
}

Test(route_path, exact)
{
    cr_assert(path("/a", "/a"));
    cr_assert_not(path("/a", "/a/"));
    cr_assert_not(path("/a", "/A"));
    cr_assert_not(path("/a", "/ab"));
}

Test(route_path, prefix_takes_whole_segments)
{
    cr_assert(path("/a/*", "/a"));
    cr_assert(path("/a/*", "/a/"));
    cr_assert(path("/a/*", "/a/b/c"));
    cr_assert_not(path("/a/*", "/ab"));
    cr_assert_not(path("/a/*", "/"));
    cr_assert(path("/*", "/"));
    cr_assert(path("/*", "/x"));
    cr_assert_not(path("/*", "*")); /* OPTIONS *, RFC 9112 3.2.4 */
}

Test(route_path, one_star_stays_within_a_segment)
{
    cr_assert(path("/a/*/c", "/a/b/c"));
    cr_assert(path("/a/*/c", "/a//c"));
    cr_assert_not(path("/a/*/c", "/a/b/b/c"));
    cr_assert(path("/*.php", "/index.php"));
    cr_assert_not(path("/*.php", "/a/index.php"));
    cr_assert(path("/a*", "/abc"));
    cr_assert_not(path("/a*", "/a/b"));
    cr_assert(path("/*a*b*", "/xaybz"));
    cr_assert_not(path("/*a*b*", "/xbya"));
}

Test(route_path, two_stars_cross_segments)
{
    cr_assert(path("/**.php", "/a/b/index.php"));
    cr_assert(path("/a/**/c", "/a/b/b/c"));
    cr_assert(path("/a/**/c", "/a//c"));
    cr_assert_not(path("/a/**/c", "/a/c"));
    cr_assert(path("/**/x*/y", "/a/b/xx/y"));
    cr_assert_not(path("/**/x*/y", "/a/xx/z/y"));
    cr_assert(path("/a**", "/a"));
    cr_assert(path("/a***", "/a/b"));
}

Test(route_path, glob_is_quick_on_hostile_input)
{
    char pattern[PATH_GLOB_MAX + 1], text[8001];
    memset(text, 'a', sizeof text - 1);
    text[0] = '/';
    text[sizeof text - 1] = '\0';
    pattern[0] = '/';
    for (size_t i = 1; i < PATH_GLOB_MAX - 3; i++)
        pattern[i] = i % 3 == 0 ? 'a' : '*';
    memcpy(pattern + PATH_GLOB_MAX - 3, "/b", 3);
    cr_assert_not(path(pattern, text)); /* ends; with backtracking it would not */
}

Test(route_path, glob_up_to_its_cap)
{
    char text[PATH_GLOB_MAX + 2];
    struct path_pattern pattern;
    memset(text, 'x', sizeof text);
    text[0] = '/';
    text[1] = '*';
    cr_assert_eq(path_pattern_of(slice_of(text, PATH_GLOB_MAX), &pattern), ERR_OK);
    cr_assert(path_pattern_matches(&pattern, slice_of(text, PATH_GLOB_MAX)));
    cr_assert_eq(path_pattern_of(slice_of(text, PATH_GLOB_MAX + 1), &pattern), ERR_CAP);
}

Test(route_path, refuses_what_no_path_can_be)
{
    static const char *const bad[] = { "", "a", "*", "*/a", "/a?b", "/a#b", "/a b", "/\xc3\xa4", "/a\n" };
    struct path_pattern pattern;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_eq(path_pattern_of(slice_of_text(bad[i]), &pattern), ERR_SYNTAX, "%s", bad[i]);
}

/* Finding --------------------------------------------------------------------------------------------------------- */

static struct request request_of(const char *method, const char *host_name, const char *path_text)
{
    struct request request = { 0 };
    request.method_token = slice_of_text(method);
    request.method = method_of(request.method_token);
    request.host = slice_of_text(host_name);
    request.path = slice_of_text(path_text);
    return request;
}

static void add(struct request *request, const char *name, const char *value)
{
    cr_assert_eq(fields_add(&request->fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
}

Test(route_find, takes_the_first_that_matches)
{
    struct host_pattern hosts[] = { { HOST_EXACT, SLICE("a.com") }, { HOST_EXACT, SLICE("b.com") } };
    struct path_pattern paths[] = { { PATH_PREFIX, SLICE("/x") } };
    struct route routes[] = {
        { .hosts = hosts, .host_count = 2, .paths = paths, .path_count = 1 },
        { .hosts = hosts + 1, .host_count = 1 },
        { .status = 0 },
    };
    struct request request = request_of("GET", "b.com", "/x/y");
    cr_assert_eq(route_find(routes, 3, &request), &routes[0]);
    request = request_of("GET", "b.com", "/");
    cr_assert_eq(route_find(routes, 3, &request), &routes[1]);
    request = request_of("GET", "c.com", "/x");
    cr_assert_eq(route_find(routes, 3, &request), &routes[2]);
    cr_assert_null(route_find(routes, 2, &request));
    cr_assert_null(route_find(NULL, 0, &request));
}

Test(route_find, methods_known_and_unknown)
{
    struct slice methods[] = { SLICE("GET"), SLICE("PURGE") };
    struct route route = { .methods = methods, .method_count = 2, .method_bits = 1ull << METHOD_GET };
    struct request request = request_of("GET", "", "/");
    cr_assert(route_find(&route, 1, &request));
    request = request_of("PURGE", "", "/");
    cr_assert(route_find(&route, 1, &request));
    request = request_of("purge", "", "/");
    cr_assert_not(route_find(&route, 1, &request));
    request = request_of("HEAD", "", "/");
    cr_assert_not(route_find(&route, 1, &request));
}

static bool field_finds(const struct field_condition *condition, const struct request *request)
{
    struct route route = { .fields = (struct field_condition *)(uintptr_t)condition, .field_count = 1 };
    return route_find(&route, 1, request) != NULL;
}

Test(route_find, field_is_present)
{
    struct field_condition known = { .id = FIELD_COOKIE, .name = SLICE("cookie") };
    struct field_condition other = { .id = FIELD_OTHER, .name = SLICE("X-Debug") };
    struct request request = request_of("GET", "", "/");
    cr_assert_not(field_finds(&known, &request));
    cr_assert_not(field_finds(&other, &request));
    add(&request, "Cookie", "a=1");
    add(&request, "x-debug", "");
    cr_assert(field_finds(&known, &request));
    cr_assert(field_finds(&other, &request));
}

Test(route_find, field_is_absent)
{
    struct field_condition known = { .id = FIELD_COOKIE, .name = SLICE("cookie"), .absent = true };
    struct field_condition other = { .id = FIELD_OTHER, .name = SLICE("X-Debug"), .absent = true };
    struct request request = request_of("GET", "", "/");
    cr_assert(field_finds(&known, &request));
    cr_assert(field_finds(&other, &request));
    add(&request, "Cookie", "a=1");
    add(&request, "x-debug", "");
    cr_assert_not(field_finds(&known, &request));
    cr_assert_not(field_finds(&other, &request));
}

Test(route_find, field_is_absent_in_either_spelling)
{
    struct field_condition absent = { .id = FIELD_OTHER, .name = SLICE("X-Debug-Mode"), .absent = true };
    struct field_condition present = { .id = FIELD_OTHER, .name = SLICE("X-Debug-Mode") };
    struct request request = request_of("GET", "", "/");
    add(&request, "x_debug-mode", "1");
    cr_assert_not(field_finds(&absent, &request)); /* CGI would take it for the one that must not be there */
    cr_assert_not(field_finds(&present, &request));
}

Test(route_find, field_value_matches_one_of_its_patterns)
{
    struct slice patterns[] = { SLICE("beta"), SLICE("v?.*") };
    struct field_condition condition = { .id = FIELD_OTHER, .name = SLICE("X-Version"), .patterns = patterns, .pattern_count = 2 };
    struct request request = request_of("GET", "", "/");
    add(&request, "X-Version", "stable");
    cr_assert_not(field_finds(&condition, &request));
    add(&request, "x-version", "v2.1");
    cr_assert(field_finds(&condition, &request)); /* any of several lines */
}

Test(route_verdict, names_the_first_condition_that_fails_and_agrees_with_finding)
{
    struct host_pattern hosts[] = { { HOST_EXACT, SLICE("a.com") } };
    struct path_pattern paths[] = { { PATH_PREFIX, SLICE("/x") } };
    struct slice methods[] = { SLICE("GET") };
    struct field_condition fields[] = { { .id = FIELD_COOKIE, .name = SLICE("Cookie") }, { .name = SLICE("X-A"), .absent = true } };
    struct route route = { .hosts = hosts, .host_count = 1, .paths = paths, .path_count = 1, .methods = methods, .method_count = 1,
                           .method_bits = 1ull << METHOD_GET, .fields = fields, .field_count = 2 };
    static const struct {
        const char *method, *host, *path, *cookie, *other;
        enum route_verdict verdict;
    } cases[] = {
        { "GET", "a.com", "/x", "1", NULL, ROUTE_TAKES },   { "PUT", "b.com", "/", NULL, NULL, ROUTE_METHOD },
        { "GET", "b.com", "/", NULL, NULL, ROUTE_HOST },    { "GET", "a.com", "/", NULL, NULL, ROUTE_PATH },
        { "GET", "a.com", "/x/y", NULL, "1", ROUTE_FIELD }, { "GET", "a.com", "/x", "1", "1", ROUTE_FIELD },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct field_condition *condition = NULL;
        struct request request = request_of(cases[i].method, cases[i].host, cases[i].path);
        if (cases[i].cookie)
            add(&request, "Cookie", cases[i].cookie);
        if (cases[i].other)
            add(&request, "X-A", cases[i].other);
        cr_expect_eq(route_verdict_of(&route, &request, &condition), cases[i].verdict, "%zu", i);
        cr_expect_eq(route_find(&route, 1, &request) != NULL, cases[i].verdict == ROUTE_TAKES, "%zu", i);
        cr_expect(cases[i].verdict != ROUTE_FIELD || condition == &fields[cases[i].cookie ? 1 : 0], "%zu", i);
    }
}

/* Covering -------------------------------------------------------------------------------------------------------- */

struct sketch {
    const char *host, *path, *method;
};

static struct route draw(const struct sketch *sketch, struct host_pattern *host_room, struct path_pattern *path_room, struct slice *method)
{
    struct route route = { 0 };
    if (sketch->host) {
        cr_assert_eq(host_pattern_of(slice_of_text(sketch->host), host_room), ERR_OK);
        route.hosts = host_room;
        route.host_count = 1;
    }
    if (sketch->path) {
        cr_assert_eq(path_pattern_of(slice_of_text(sketch->path), path_room), ERR_OK);
        route.paths = path_room;
        route.path_count = 1;
    }
    if (sketch->method) {
        *method = slice_of_text(sketch->method);
        route.methods = method;
        route.method_count = 1;
    }
    return route;
}

static bool covers(struct sketch earlier, struct sketch later)
{
    struct host_pattern hosts[2];
    struct path_pattern paths[2];
    struct slice methods[2];
    struct route a = draw(&earlier, &hosts[0], &paths[0], &methods[0]), b = draw(&later, &hosts[1], &paths[1], &methods[1]);
    return route_covers(&a, &b);
}

Test(route_covers, one_without_conditions_covers_all)
{
    cr_assert(covers((struct sketch){ 0 }, (struct sketch){ "a.com", "/x", "GET" }));
    cr_assert(covers((struct sketch){ 0 }, (struct sketch){ 0 }));
    cr_assert_not(covers((struct sketch){ .host = "a.com" }, (struct sketch){ 0 }));
    cr_assert_not(covers((struct sketch){ .path = "/*" }, (struct sketch){ 0 }));
    cr_assert_not(covers((struct sketch){ .method = "GET" }, (struct sketch){ 0 }));
}

Test(route_covers, hosts)
{
    cr_assert(covers((struct sketch){ .host = "*.com" }, (struct sketch){ .host = "a.com" }));
    cr_assert(covers((struct sketch){ .host = "*.com" }, (struct sketch){ .host = "*.a.com" }));
    cr_assert_not(covers((struct sketch){ .host = "*.a.com" }, (struct sketch){ .host = "*.com" }));
    cr_assert_not(covers((struct sketch){ .host = "a.com" }, (struct sketch){ .host = "*.com" }));
    cr_assert_not(covers((struct sketch){ .host = "a.com" }, (struct sketch){ .host = "b.com" }));
}

Test(route_covers, paths)
{
    cr_assert(covers((struct sketch){ .path = "/a/*" }, (struct sketch){ .path = "/a" }));
    cr_assert(covers((struct sketch){ .path = "/a/*" }, (struct sketch){ .path = "/a/b/*" }));
    cr_assert(covers((struct sketch){ .path = "/a/*" }, (struct sketch){ .path = "/a/*/c" }));
    cr_assert(covers((struct sketch){ .path = "/a*" }, (struct sketch){ .path = "/ab" }));
    cr_assert(covers((struct sketch){ .path = "/a*b" }, (struct sketch){ .path = "/a*b" }));
    cr_assert_not(covers((struct sketch){ .path = "/a/*" }, (struct sketch){ .path = "/a*" }));
    cr_assert_not(covers((struct sketch){ .path = "/a/b/*" }, (struct sketch){ .path = "/a/*" }));
    cr_assert_not(covers((struct sketch){ .path = "/a/*" }, (struct sketch){ .path = "/ab/*" }));
}

Test(route_covers, methods)
{
    cr_assert(covers((struct sketch){ .method = "GET" }, (struct sketch){ .path = "/x", .method = "GET" }));
    cr_assert_not(covers((struct sketch){ .method = "GET" }, (struct sketch){ .method = "POST" }));
}

Test(route_covers, fields)
{
    struct slice one[] = { SLICE("1") }, both[] = { SLICE("2"), SLICE("1") };
    struct field_condition is_one = { .name = SLICE("X"), .patterns = one, .pattern_count = 1 };
    struct field_condition is_any_of = { .name = SLICE("x"), .patterns = both, .pattern_count = 2 };
    struct field_condition is_there = { .name = SLICE("X") }, is_absent = { .name = SLICE("X"), .absent = true };
    struct route narrow = { .fields = &is_one, .field_count = 1 }, wide = { .fields = &is_any_of, .field_count = 1 };
    struct route there = { .fields = &is_there, .field_count = 1 }, absent = { .fields = &is_absent, .field_count = 1 };
    cr_assert(route_covers(&wide, &narrow));
    cr_assert_not(route_covers(&narrow, &wide));
    cr_assert(route_covers(&there, &narrow));
    cr_assert_not(route_covers(&narrow, &there));
    cr_assert_not(route_covers(&absent, &there));
    cr_assert(route_covers(&absent, &absent));
}

/* Rewriting ------------------------------------------------------------------------------------------------------- */

static void rewrites(const struct route *route, const char *from, const char *to)
{
    char room[64];
    struct slice rewritten;
    cr_assert_eq(route_rewrite(route, slice_of_text(from), room, sizeof room, &rewritten), ERR_OK);
    cr_assert(slice_equal(rewritten, slice_of_text(to)), "%s -> %.*s, wanted %s", from, (int)rewritten.length, rewritten.at, to);
}

Test(route_rewrite, without_orders_the_path_itself_comes_back)
{
    struct route route = { 0 };
    struct slice path_given = SLICE("/a"), rewritten;
    cr_assert_eq(route_rewrite(&route, path_given, NULL, 0, &rewritten), ERR_OK);
    cr_assert_eq(rewritten.at, path_given.at);
}

Test(route_rewrite, strips_whole_segments)
{
    struct route route = { .strip_prefix = SLICE("/assets") };
    rewrites(&route, "/assets/x.css", "/x.css");
    rewrites(&route, "/assets/", "/");
    rewrites(&route, "/assets", "/");
    rewrites(&route, "/assetsx", "/assetsx");
    rewrites(&route, "/other", "/other");
}

Test(route_rewrite, adds)
{
    struct route route = { .add_prefix = SLICE("/v1") };
    rewrites(&route, "/", "/v1/");
    rewrites(&route, "/a", "/v1/a");
}

Test(route_rewrite, strips_then_adds)
{
    struct route route = { .strip_prefix = SLICE("/old"), .add_prefix = SLICE("/new") };
    rewrites(&route, "/old/a", "/new/a");
    rewrites(&route, "/old", "/new");
    rewrites(&route, "/a", "/new/a");
}

Test(route_rewrite, replaces)
{
    struct route route = { .replace_path = SLICE("/index.html") };
    rewrites(&route, "/any/thing", "/index.html");
}

Test(route_rewrite, leaves_the_asterisk_alone)
{
    struct route route = { .add_prefix = SLICE("/v1") };
    rewrites(&route, "*", "*");
    route = (struct route){ .replace_path = SLICE("/x") };
    rewrites(&route, "*", "*");
}

Test(route_rewrite, says_when_there_is_no_room)
{
    struct route route = { .add_prefix = SLICE("/v1") };
    char room[6];
    struct slice rewritten;
    cr_assert_eq(route_rewrite(&route, SLICE("/abc"), room, 6, &rewritten), ERR_CAP);
    cr_assert_eq(route_rewrite(&route, SLICE("/ab"), room, 6, &rewritten), ERR_OK);
}

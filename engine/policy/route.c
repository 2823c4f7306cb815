/*
 * Conditions are tried cheapest first: the method is a bit test, most hosts differ in length, paths in their first
 * bytes; fields are looked for last. Routes stay a list, walked in file order: what an operator reads is what happens,
 * and a walk over a hundred hosts that differ in length costs less than seeding a hash would.
 */
#include "engine/policy/route.h"

/* Hosts ----------------------------------------------------------------------------------------------------------- */

/* "example.com." and "example.com" are one host (RFC 1034 3.1: the root's empty label). */
static inline struct slice without_root(struct slice host)
{
    if (host.length > 1 && host.at[host.length - 1] == '.')
        host.length--;
    return host;
}

static inline bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/* Labels that are not empty; the characters that host names have in practice (RFC 1123 2.1, and '_'). */
static bool is_host_name(struct slice text)
{
    if (text.length == 0 || text.length > 253 || text.at[0] == '.')
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (!is_host_byte(text.at[i]) || (text.at[i] == '.' && i > 0 && text.at[i - 1] == '.'))
            return false;
    }
    return true;
}

static bool is_bracketed(struct slice text)
{
    if (text.length < 4 || text.at[0] != '[' || text.at[text.length - 1] != ']')
        return false;
    for (size_t i = 1; i < text.length - 1; i++) {
        char c = text.at[i];
        if (!((c >= 'a' && c <= 'f') || (c >= '0' && c <= '9') || c == ':' || c == '.'))
            return false;
    }
    return true;
}

enum err host_pattern_of(struct slice text, struct host_pattern *pattern)
{
    text = without_root(text);
    bool suffix = slice_starts(text, SLICE("*."));
    struct slice name = suffix ? slice_of(text.at + 2, text.length - 2) : text;
    if (!is_host_name(name) && (suffix || !is_bracketed(name)))
        return ERR_SYNTAX;
    pattern->kind = suffix ? HOST_SUFFIX : HOST_EXACT;
    pattern->text = suffix ? slice_of(text.at + 1, text.length - 1) : text;
    return ERR_OK;
}

bool host_pattern_matches(const struct host_pattern *pattern, struct slice host)
{
    host = without_root(host);
    if (pattern->kind == HOST_EXACT)
        return host.length == pattern->text.length && slice_equal_nocase(host, pattern->text);
    return host.length > pattern->text.length && slice_ends_nocase(host, pattern->text);
}

/* Paths ----------------------------------------------------------------------------------------------------------- */

static size_t stars_at(struct slice pattern, size_t i)
{
    if (i >= pattern.length || pattern.at[i] != '*')
        return 0;
    return i + 1 < pattern.length && pattern.at[i + 1] == '*' ? 2 : 1;
}

/*
 * A glob with two kinds of star, matched as an automaton: a bit says that the pattern up to there has matched so far.
 * Backtracking would be quicker on friendly input, but with two kinds of star it costs path x path x pattern on a
 * hostile one; this never costs more than path x pattern.
 */
#define GLOB_WORDS ((PATH_GLOB_MAX + 1) / 64)
struct glob_states {
    uint64_t words[GLOB_WORDS];
};

/* Also what is reached from there without a byte: a star may stand for nothing. */
static void glob_reach(struct glob_states *states, struct slice pattern, size_t i)
{
    for (;;) {
        states->words[i / 64] |= 1ull << (i % 64);
        size_t stars = stars_at(pattern, i);
        if (stars == 0)
            return;
        i += stars;
    }
}

static void glob_step(struct glob_states *next, struct slice pattern, size_t i, char c)
{
    size_t stars = stars_at(pattern, i);
    if (stars == 2 || (stars == 1 && c != '/'))
        glob_reach(next, pattern, i);
    else if (stars == 0 && i < pattern.length && pattern.at[i] == c)
        glob_reach(next, pattern, i + 1);
}

static bool glob_matches(struct slice pattern, struct slice path)
{
    struct glob_states now = { 0 };
    glob_reach(&now, pattern, 0);
    for (size_t at = 0; at < path.length; at++) {
        struct glob_states next = { 0 };
        uint64_t any = 0;
        for (size_t w = 0; w < GLOB_WORDS; w++) {
            any |= now.words[w];
            for (uint64_t bits = now.words[w]; bits; bits &= bits - 1)
                glob_step(&next, pattern, w * 64 + (size_t)__builtin_ctzll(bits), path.at[at]);
        }
        if (any == 0)
            return false;
        now = next;
    }
    return (now.words[pattern.length / 64] >> (pattern.length % 64)) & 1;
}

enum err path_pattern_of(struct slice text, struct path_pattern *pattern)
{
    if (text.length == 0 || text.at[0] != '/')
        return ERR_SYNTAX;
    const char *star = memchr(text.at, '*', text.length);
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c <= ' ' || c >= 0x7f || c == '?' || c == '#')
            return ERR_SYNTAX;
    }
    pattern->text = text;
    if (!star) {
        pattern->kind = PATH_EXACT;
    } else if (star == text.at + text.length - 1 && star[-1] == '/') {
        pattern->kind = PATH_PREFIX;
        pattern->text.length -= 2;
    } else {
        pattern->kind = PATH_GLOB;
        if (text.length > PATH_GLOB_MAX)
            return ERR_CAP;
    }
    return ERR_OK;
}

/* "/a" and what is below "/a/", but not "/ab". */
static inline bool path_is_below(struct slice path, struct slice prefix)
{
    return slice_starts(path, prefix) && (path.length == prefix.length || path.at[prefix.length] == '/');
}

bool path_pattern_matches(const struct path_pattern *pattern, struct slice path)
{
    switch (pattern->kind) {
    case PATH_EXACT: return slice_equal(path, pattern->text);
    case PATH_PREFIX: return path_is_below(path, pattern->text);
    case PATH_GLOB: return glob_matches(pattern->text, path);
    }
    return false;
}

/* Routes ---------------------------------------------------------------------------------------------------------- */

static inline bool method_holds(const struct route *route, const struct request *request)
{
    if (likely(request->method != METHOD_OTHER))
        return (route->method_bits >> request->method) & 1;
    for (unsigned i = 0; i < route->method_count; i++) {
        if (slice_equal(route->methods[i], request->method_token))
            return true;
    }
    return false;
}

static inline bool host_holds(const struct route *route, struct slice host)
{
    for (unsigned i = 0; i < route->host_count; i++) {
        if (host_pattern_matches(&route->hosts[i], host))
            return true;
    }
    return false;
}

static inline bool path_holds(const struct route *route, struct slice path)
{
    for (unsigned i = 0; i < route->path_count; i++) {
        if (path_pattern_matches(&route->paths[i], path))
            return true;
    }
    return false;
}

static bool value_holds(const struct field_condition *condition, struct slice value)
{
    for (unsigned i = 0; i < condition->pattern_count; i++) {
        if (slice_glob(condition->patterns[i], value))
            return true;
    }
    return condition->pattern_count == 0;
}

/* What must be absent must be so in the other spelling too, which many an origin takes for the same (fields.h). */
static bool is_named(const struct field *field, const struct field_condition *condition)
{
    if (condition->id != FIELD_OTHER)
        return field->id == condition->id;
    if (field->id != FIELD_OTHER)
        return false;
    return condition->absent ? field_names_alike(field_name(field), condition->name) : slice_equal_nocase(field_name(field), condition->name);
}

static bool field_holds(const struct field_condition *condition, const struct fields *fields)
{
    if (condition->id != FIELD_OTHER && !fields_have(fields, condition->id))
        return condition->absent;
    for (unsigned i = 0; i < fields->count; i++) {
        if (is_named(&fields->list[i], condition)) {
            if (condition->absent)
                return false;
            if (value_holds(condition, field_value(&fields->list[i])))
                return true;
        }
    }
    return condition->absent;
}

/* The first condition that does not hold, or NULL. */
static const struct field_condition *field_that_fails(const struct route *route, const struct fields *fields)
{
    for (unsigned i = 0; i < route->field_count; i++) {
        if (!field_holds(&route->fields[i], fields))
            return &route->fields[i];
    }
    return NULL;
}

hot_function const struct route *route_find(const struct route *routes, uint32_t count, const struct request *request)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct route *route = &routes[i];
        if (route->method_count && !method_holds(route, request))
            continue;
        if (route->host_count && !host_holds(route, request->host))
            continue;
        if (route->path_count && !path_holds(route, request->path))
            continue;
        if (route->field_count && field_that_fails(route, &request->fields))
            continue;
        return route;
    }
    return NULL;
}

enum route_verdict route_verdict_of(const struct route *route, const struct request *request, const struct field_condition **condition)
{
    if (route->method_count && !method_holds(route, request))
        return ROUTE_METHOD;
    if (route->host_count && !host_holds(route, request->host))
        return ROUTE_HOST;
    if (route->path_count && !path_holds(route, request->path))
        return ROUTE_PATH;
    *condition = field_that_fails(route, &request->fields);
    return *condition ? ROUTE_FIELD : ROUTE_TAKES;
}

/* Covering -------------------------------------------------------------------------------------------------------- */

bool host_pattern_covers(const struct host_pattern *earlier, const struct host_pattern *later)
{
    if (later->kind == HOST_EXACT)
        return host_pattern_matches(earlier, later->text);
    return earlier->kind == HOST_SUFFIX && slice_ends_nocase(later->text, earlier->text);
}

static bool path_covers(const struct path_pattern *earlier, const struct path_pattern *later)
{
    if (later->kind == PATH_EXACT)
        return path_pattern_matches(earlier, later->text);
    if (earlier->kind == PATH_PREFIX && later->kind == PATH_PREFIX)
        return path_is_below(later->text, earlier->text);
    if (earlier->kind == PATH_PREFIX) {
        const char *star = memchr(later->text.at, '*', later->text.length);
        struct slice head = slice_of(later->text.at, star ? (size_t)(star - later->text.at) : later->text.length);
        return head.length > earlier->text.length && path_is_below(head, earlier->text);
    }
    return earlier->kind == later->kind && slice_equal(earlier->text, later->text);
}

static bool hosts_cover(const struct route *earlier, const struct route *later)
{
    for (unsigned l = 0; l < later->host_count; l++) {
        unsigned e = 0;
        while (e < earlier->host_count && !host_pattern_covers(&earlier->hosts[e], &later->hosts[l]))
            e++;
        if (e == earlier->host_count)
            return false;
    }
    return later->host_count > 0;
}

static bool paths_cover(const struct route *earlier, const struct route *later)
{
    for (unsigned l = 0; l < later->path_count; l++) {
        unsigned e = 0;
        while (e < earlier->path_count && !path_covers(&earlier->paths[e], &later->paths[l]))
            e++;
        if (e == earlier->path_count)
            return false;
    }
    return later->path_count > 0;
}

static bool has_slice(const struct slice *list, unsigned count, struct slice wanted)
{
    for (unsigned i = 0; i < count; i++) {
        if (slice_equal(list[i], wanted))
            return true;
    }
    return false;
}

static bool methods_cover(const struct route *earlier, const struct route *later)
{
    for (unsigned i = 0; i < later->method_count; i++) {
        if (!has_slice(earlier->methods, earlier->method_count, later->methods[i]))
            return false;
    }
    return later->method_count > 0;
}

static bool field_covers(const struct field_condition *earlier, const struct field_condition *later)
{
    if (earlier->absent != later->absent || !slice_equal_nocase(earlier->name, later->name))
        return false;
    if (earlier->pattern_count == 0)
        return true;
    for (unsigned i = 0; i < later->pattern_count; i++) {
        if (!has_slice(earlier->patterns, earlier->pattern_count, later->patterns[i]))
            return false;
    }
    return later->pattern_count > 0;
}

static bool fields_cover(const struct route *earlier, const struct route *later)
{
    for (unsigned e = 0; e < earlier->field_count; e++) {
        unsigned l = 0;
        while (l < later->field_count && !field_covers(&earlier->fields[e], &later->fields[l]))
            l++;
        if (l == later->field_count)
            return false;
    }
    return true;
}

bool route_covers(const struct route *earlier, const struct route *later)
{
    return (earlier->method_count == 0 || methods_cover(earlier, later)) &&
           (earlier->host_count == 0 || hosts_cover(earlier, later)) &&
           (earlier->path_count == 0 || paths_cover(earlier, later)) && fields_cover(earlier, later);
}

/* Rewriting ------------------------------------------------------------------------------------------------------- */

static struct slice strip(struct slice path, struct slice prefix)
{
    if (prefix.length == 0 || !path_is_below(path, prefix))
        return path;
    return slice_of(path.at + prefix.length, path.length - prefix.length);
}

enum err route_rewrite(const struct route *route, struct slice path, char *out, size_t cap, struct slice *rewritten)
{
    *rewritten = path;
    if (path.length == 0 || path.at[0] != '/') /* "*" of OPTIONS has no segments */
        return ERR_OK;
    if (route->replace_path.length) {
        *rewritten = route->replace_path;
        return ERR_OK;
    }
    struct slice rest = strip(path, route->strip_prefix);
    if (route->add_prefix.length == 0) {
        *rewritten = rest.length ? rest : SLICE("/");
        return ERR_OK;
    }
    if (rest.length > cap || route->add_prefix.length > cap - rest.length)
        return ERR_CAP;
    memcpy(out, route->add_prefix.at, route->add_prefix.length);
    if (rest.length)
        memcpy(out + route->add_prefix.length, rest.at, rest.length);
    *rewritten = slice_of(out, route->add_prefix.length + rest.length);
    return ERR_OK;
}

/*
 * route: which rule takes a request, and what it orders. First match wins, file order is execution order.
 *
 * Pure: request in, route out. A route's conditions are all to hold; one condition with several values holds if one of
 * them does. Hosts compare without case, exactly or by a leading "*." (any depth of subdomain, not the domain itself); a port in
 * Host is not looked at, nor is a dot at its end. Paths compare the canonical path (uri.h), exactly, by prefix (a pattern "/a/" + "*":
 * "/a" and everything below "/a/"), or as a glob ('*' any run without '/', "**" any run).
 */
#ifndef WEIR_ROUTE_H
#define WEIR_ROUTE_H

#include "cache/rule.h"
#include "engine/policy/compress.h"
#include "engine/policy/upgrade.h"
#include "proto/message.h"

enum host_pattern_kind { HOST_EXACT, HOST_SUFFIX };
struct host_pattern {
    enum host_pattern_kind kind;
    struct slice text; /* lower case; HOST_SUFFIX: with its leading dot */
};

#define PATH_GLOB_MAX 255u /* bytes of a glob: its matcher keeps a bit for each */

enum path_pattern_kind { PATH_EXACT, PATH_PREFIX, PATH_GLOB };
struct path_pattern {
    enum path_pattern_kind kind;
    struct slice text; /* PATH_PREFIX: without its last "/" and "*" */
};

/*
 * A field of the request: present, absent, or with a value that one of the patterns (globs, slice.h) matches. Of a field
 * that stands several times any one may match.
 */
struct field_condition {
    enum field_id id;
    struct slice name;
    const struct slice *patterns; /* none: presence suffices */
    uint16_t pattern_count;
    bool absent; /* must not be there */
};

enum route_action { ROUTE_POOL, ROUTE_RESPOND, ROUTE_REDIRECT };

struct route {
    struct slice name; /* given, or "routes[3]" */
    struct host_pattern *hosts;
    struct path_pattern *paths;
    struct slice *methods; /* tokens */
    uint64_t method_bits;  /* of enum method, for the known ones */
    struct field_condition *fields;
    uint16_t host_count, path_count, method_count, field_count;

    enum route_action action;
    uint32_t pool;             /* index into config->pools, ROUTE_POOL */
    uint32_t status;           /* ROUTE_RESPOND, ROUTE_REDIRECT */
    struct slice body;         /* ROUTE_RESPOND */
    struct slice type;         /* Content-Type of body; default text/plain; charset=utf-8 */
    struct slice location;     /* ROUTE_REDIRECT: with placeholders in location_parts if any */
    const struct field_value_part *location_parts;
    unsigned location_part_count;

    struct slice strip_prefix; /* rewrite: { strip-prefix: /assets } */
    struct slice add_prefix;
    struct slice replace_path; /* rewrite: { path: /x } */
    struct field_edits request_edits;
    struct field_edits response_edits;
    struct compress_rule compress;
    struct cache_rule cache;
    struct upgrade_rule upgrade;
};

/* The first of routes that matches, or NULL. */
const struct route *route_find(const struct route *routes, uint32_t count, const struct request *request);

/*
 * For explaining: which condition keeps the route from taking the request, the first in the order in which route_find looks;
 * ROUTE_TAKES exactly when it would. *condition is set for ROUTE_FIELD.
 */
enum route_verdict { ROUTE_TAKES, ROUTE_METHOD, ROUTE_HOST, ROUTE_PATH, ROUTE_FIELD };
enum route_verdict route_verdict_of(const struct route *route, const struct request *request, const struct field_condition **condition);

/*
 * True when every request that `later` would take is taken by `earlier`: then later is never reached behind it. False also
 * where it is not seen (globs are compared by their text only). For checking a configuration; costs up to hosts x hosts + paths x paths.
 */
bool route_covers(const struct route *earlier, const struct route *later);

/*
 * The path to forward: request->path if the route rewrites nothing, else composed in out (cap bytes; path length + both prefixes
 * suffices). strip-prefix takes whole segments only, leaves at least "/". ERR_CAP.
 */
enum err must_use route_rewrite(const struct route *route, struct slice path, char *out, size_t cap, struct slice *rewritten);

/*
 * Patterns as written in a file, checked: ERR_SYNTAX; ERR_CAP for a glob above PATH_GLOB_MAX. Text is not copied (hosts must
 * be lower case already).
 */
enum err must_use host_pattern_of(struct slice text, struct host_pattern *pattern);
enum err must_use path_pattern_of(struct slice text, struct path_pattern *pattern);
bool host_pattern_matches(const struct host_pattern *pattern, struct slice host);
/* Every host that `later` matches, `earlier` does. */
bool host_pattern_covers(const struct host_pattern *earlier, const struct host_pattern *later);
bool path_pattern_matches(const struct path_pattern *pattern, struct slice path);

#endif

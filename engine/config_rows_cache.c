/* Rows of the cache: a route's `cache`, and `cache` at the top. */
#include "engine/config_decode.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

#define YEAR_S (365u * 24 * 3600)

static bool bypass_present(const void *target)
{
    const struct cache_rule *rule = target;
    return rule->bypass_cookie_count || rule->bypass_field_count;
}
static const struct row bypass_rows[] = {
    { .word = "cookies", .type = TYPE_GLOBS, MEMBER(cache_rule, bypass_cookies), LENGTH_AT(cache_rule, bypass_cookie_count),
      .check = value_check_name_pattern, .least = 1, .most = 64, .doc = "Names of cookies, * being any run: session, wp_*." },
    { .word = "headers", .type = TYPE_FIELD_NAMES, MEMBER(cache_rule, bypass_fields), LENGTH_AT(cache_rule, bypass_field_count),
      .check = value_check_field_name, .least = 1, .most = 64, .doc = "Names of request fields." },
};
static const struct section section_bypass = {
    .noun = "section 'bypass'", SECTION(cache_rule, bypass_rows), .is_present = bypass_present,
    .doc = "Requests with one of these go past the cache: they neither get a stored response nor make one.",
};

static const struct row_word set_cookie_words[] = { { "refuse", 0 }, { "strip", 1 }, { NULL, 0 } };

static bool cache_is_on(const void *target)
{
    return ((const struct cache_rule *)target)->on;
}
static const struct row rule_rows[] = {
    { .word = "key", .type = TYPE_CACHE_KEY, MEMBER(cache_rule, key), LENGTH_AT(cache_rule, key_count), .most = 32, .usual = "query",
      .doc = "What keeps responses apart besides scheme, host, path and pool: query, param:NAME (one parameter of the query), header:NAME, "
             "cookie:NAME. [] for the path alone. What is left out must not change the answer: fields that frameworks take for another method, path, "
             "host or scheme (X-HTTP-Method-Override, X-Original-URL, X-Host, X-Forwarded-Scheme and their like) go no further where an answer may be stored, "
             "unless header:NAME has them here." },
    { .word = "ignore-query", .type = TYPE_GLOBS, MEMBER(cache_rule, ignore_query), LENGTH_AT(cache_rule, ignore_query_count),
      .check = value_check_name_pattern, .least = 1, .most = 256,
      .doc = "Parameters of the query that are not part of the key, * being any run: utm_*, fbclid. Origins get them all the same." },
    { .word = "ttl", .type = TYPE_TTLS, MEMBER(cache_rule, ttls), LENGTH_AT(cache_rule, ttl_count), .least = 1, .most = 64,
      .doc = "How long responses of a status are fresh, whatever they say themselves: { 200: 10m, 301-308: 1h, 404: 10s, 500-599: 0s }. The first "
             "that fits counts, 0s is not stored. What is private or forbids storing (no-store) is not stored for that." },
    { .word = "default-ttl", .type = TYPE_SECONDS, MEMBER(cache_rule, default_ttl_s), .most = YEAR_S, .usual = "none", .zero = "none",
      .doc = "How long a response is fresh that says nothing and has no date to guess from. none: it is not stored." },
    { .word = "heuristic", .type = TYPE_FLAG, MEMBER(cache_rule, heuristic), .usual = "true",
      .doc = "A response that says nothing is fresh for a tenth of the time since its Last-Modified, a day at most (RFC 9111 4.2.2)." },
    { .word = "stale-while-revalidate", .type = TYPE_SECONDS, MEMBER(cache_rule, stale_while_revalidate_s), .most = YEAR_S, .usual = "none",
      .zero = "none",
      .doc = "For so long after it went stale a response still answers, while the origin is asked beside it (RFC 5861). Holds where the "
             "response does not say, and not where it has s-maxage (RFC 9111 5.2.2.10)." },
    { .word = "stale-if-error", .type = TYPE_SECONDS, MEMBER(cache_rule, stale_if_error_s), .most = YEAR_S, .usual = "none", .zero = "none",
      .doc = "For so long after it went stale a response still answers if the origin fails, or answers 500, 502, 503 or 504 (RFC 5861). Holds where "
             "the response does not say, and not where it has s-maxage." },
    { .word = "bypass", .type = TYPE_SECTION, .section = &section_bypass },
    { .word = "ignore-vary", .type = TYPE_FIELD_NAMES, MEMBER(cache_rule, ignore_vary), LENGTH_AT(cache_rule, ignore_vary_count),
      .check = value_check_field_name, .least = 1, .most = 64,
      .doc = "Field names in Vary that are no reason to keep responses apart, such as User-Agent." },
    { .word = "tags", .type = TYPE_TAGS, MEMBER(cache_rule, tags), LENGTH_AT(cache_rule, tag_count), .check = value_check_tag, .least = 1,
      .most = 64,
      .doc = "Tags that each stored response gets for weir purge --tag, beside those of its Surrogate-Key and Cache-Tag." },
    { .word = "max-object", .type = TYPE_SIZE, MEMBER(cache_rule, object_bytes_max), .least = 1, .most = 1ull << 40, .usual = "64MiB",
      .doc = "Larger content is not stored; nor is what would take more than a quarter of a home, which is cache.memory divided by the "
             "number of workers." },
    { .word = "slice", .type = TYPE_SIZE, MEMBER(cache_rule, slice_bytes), .least = 64u << 10, .most = 64u << 20, .usual = "none", .zero = "none",
      .doc = "Content is asked for in slices of this size (Range), each stored by itself, so that of a large file only what clients want is fetched and "
             "kept: 1MiB. An origin that does not do ranges, or has neither a strong ETag nor Last-Modified, is asked for the whole as without it. The file "
             "may be larger than max-object; a slice may not." },
    { .word = "set-cookie", .type = TYPE_WORD, MEMBER(cache_rule, store_set_cookie), .words = set_cookie_words, .usual = "refuse",
      .doc = "Responses with Set-Cookie: refuse does not store them, strip stores them without that field (whoever made the response gets it)." },
    { .word = "client-no-cache", .type = TYPE_FLAG, MEMBER(cache_rule, client_no_cache), .usual = "true",
      .doc = "A client's Cache-Control (no-cache, max-age, min-fresh) and Pragma count, as RFC 9111 5.2.1 has it. Switch it off where clients "
             "are not to be able to make the origin work: then only the response's word counts." },
    { .word = "collapse", .type = TYPE_FLAG, MEMBER(cache_rule, collapse), .usual = "true",
      .doc = "Of several requests at once for what is not stored one goes to the origin, and the others get its response as it comes." },
    { .word = "cache-status", .type = TYPE_FLAG, MEMBER(cache_rule, status_field), .usual = "true",
      .doc = "Says in Cache-Status (RFC 9211) what the cache did." },
};
const struct section section_route_cache = {
    .noun = "section 'cache'", SECTION(cache_rule, rule_rows), .is_present = cache_is_on, .finish = finish_route_cache,
    .doc = "Stores responses and answers from them, as RFC 9111 has it for shared caches; {} suffices. A range of what is not stored makes the cache ask for "
           "the whole first.",
};

static bool disk_present(const void *target)
{
    return ((const struct config_cache_disk *)target)->path.length > 0;
}
static const struct row disk_rows[] = {
    { .word = "path", .type = TYPE_TEXT, MEMBER(config_cache_disk, path), .check = value_check_file, .required = true,
      .example = "path: /var/cache/weir", .reload = RELOAD_RESTART,
      .doc = "A folder of this engine's own; it is made if the one above is there. What it holds is found again after a restart." },
    { .word = "size", .type = TYPE_SIZE, MEMBER(config_cache_disk, bytes), .least = 16ull << 20, .most = 2ull << 40, .usual = "1GiB",
      .reload = RELOAD_RESTART,
      .doc = "Of all files together, reserved at the start. With another size than before it begins empty. The index takes up to 0.8 % of it beside "
             "cache.memory." },
};
static const struct section section_cache_disk = {
    .noun = "section 'disk'", SECTION(config_cache_disk, disk_rows), .is_present = disk_present,
    .doc = "Responses that are used a second time are also kept on a disk. Where it is full, slow or broken the engine goes on without it.",
};

static bool cache_present(const void *target)
{
    return ((const struct config_cache *)target)->memory_bytes > 0;
}
static const struct row cache_rows[] = {
    { .word = "memory", .type = TYPE_SIZE, MEMBER(config_cache, memory_bytes), .least = 2u << 20, .most = 1ull << 44, .usual = "256MiB",
      .reload = RELOAD_RESTART,
      .doc = "For all stored responses with everything about them, at least 1 MiB for each worker. What is used least makes room." },
    { .word = "purge-from", .type = TYPE_NETWORKS, MEMBER(config_cache, purge_from), LENGTH_AT(config_cache, purge_from_count), .least = 1,
      .most = 1024,
      .doc = "Clients whose PURGE requests take what is stored for their URL out of the cache, on routes with a cache. Without it, and from "
             "others, PURGE is a method like any. A route that matches by method takes PURGE only if it names it." },
    { .word = "disk", .type = TYPE_SECTION, MEMBER(config_cache, disk), .section = &section_cache_disk, .reload = RELOAD_RESTART },
};
const struct section section_cache = {
    .noun = "section 'cache'", SECTION(config_cache, cache_rows), .is_present = cache_present,
    .doc = "The memory of the cache. It is there whenever a route has a cache. Nothing of it outlives the process.",
};

/*
 * A route's cache, what is more than a scalar: the parts of the key, lifetimes by status; and what the keys say together.
 */
#include "engine/config_decode.h"
#include "engine/config_value.h"

#define TTL_S_MAX (365u * 24 * 3600)

static struct config_problem *refuse(struct decoder *decoder, const char *noun, const struct node *node)
{
    return problem_error(decoder->reporter, node->place, "'%s' is no %s", quoted(node->text).text, noun);
}

/* The key --------------------------------------------------------------------------------------------------------- */

static const char *complain_of_field(struct slice name)
{
    const char *complaint = value_check_field_name(name);
    if (complaint)
        return complaint;
    if (name.length > 3 && slice_equal_nocase(slice_of(name.at, 3), SLICE("if-")))
        return "the cache answers conditions itself";
    switch (field_id_of(name)) {
    case FIELD_COOKIE: return "no two clients have the same cookies: name those that matter, cookie:NAME";
    case FIELD_HOST: return "the host is always part of the key";
    case FIELD_RANGE: return "the cache answers ranges itself";
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS: return "this field is about one connection (RFC 9110 7.6.1)";
    case FIELD_CONTENT_LENGTH:
    case FIELD_EXPECT: return "only requests without content are answered from the cache";
    default: return NULL;
    }
}

static const char *complain_of_param(struct slice name)
{
    return value_check_name_pattern(name) ? "a parameter's name has no spaces, '=', '&', ';' and ','" : NULL;
}

static const struct key_kind {
    struct slice prefix;
    enum cache_key_part_kind kind;
    const char *(*complain)(struct slice name);
} key_kinds[] = {
    { SLICE("param:"), CACHE_KEY_PARAM, complain_of_param },
    { SLICE("header:"), CACHE_KEY_HEADER, complain_of_field },
    { SLICE("cookie:"), CACHE_KEY_COOKIE, value_check_field_name },
};

/* False, and told, when it is none. */
static bool read_part(struct decoder *decoder, const struct node *node, struct slice text, struct cache_key_part *part)
{
    if (slice_equal(text, SLICE("query")))
        return true;
    for (size_t i = 0; i < ARRAY_LENGTH(key_kinds); i++) {
        const struct key_kind *kind = &key_kinds[i];
        if (!slice_starts(text, kind->prefix))
            continue;
        struct slice name = slice_of(text.at + kind->prefix.length, text.length - kind->prefix.length);
        const char *complaint = kind->complain(name);
        if (complaint) {
            problem_help(refuse(decoder, "part of a cache's key", node), "%s", complaint);
            return false;
        }
        part->kind = kind->kind;
        part->name = decode_copy(decoder, name);
        part->id = kind->kind == CACHE_KEY_HEADER ? field_id_of(name) : FIELD_OTHER;
        return true;
    }
    problem_help(refuse(decoder, "part of a cache's key", node), "one of: query, param:NAME, header:NAME, cookie:NAME");
    return false;
}

static bool same_part(const struct cache_key_part *a, const struct cache_key_part *b)
{
    return a->kind == b->kind &&
           (a->kind == CACHE_KEY_HEADER ? slice_equal_nocase(a->name, b->name) : slice_equal(a->name, b->name));
}

static void take_part(struct decoder *decoder, const struct row *row, const struct node *node, struct cache_key_part *parts, uint32_t *count)
{
    struct slice text;
    struct cache_key_part *part = &parts[*count];
    if (!decode_scalar(decoder, row->word, node, &text) || !read_part(decoder, node, text, part))
        return;
    for (uint32_t i = 0; i < *count; i++) {
        if (same_part(&parts[i], part)) {
            problem_error(decoder->reporter, node->place, "'%s' stands twice in '%s'", quoted(text).text, row->word);
            return;
        }
    }
    ++*count;
}

void decode_cache_key(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct cache_rule *rule = target;
    uint32_t items = node_items(node), count = 0;
    if (node->kind == NODE_MAP || items > row->most) {
        problem_error(decoder->reporter, node->place, "'%s' is a list of at most %u parts", row->word, (unsigned)row->most);
        return;
    }
    struct cache_key_part *parts = items ? decode_take(decoder, items, sizeof *parts) : NULL;
    const struct node_child *child = NULL;
    for (const struct node *item; parts && (item = node_next(node, &child));)
        take_part(decoder, row, item, parts, &count);
    rule->key = parts;
    rule->key_count = count;
}

/* Lifetimes ------------------------------------------------------------------------------------------------------- */

static const char *read_lifetime(struct slice text, uint32_t *seconds)
{
    uint64_t value = 0;
    const char *complaint = value_read_seconds(text, &value);
    if (!complaint && value > TTL_S_MAX)
        complaint = "it is at most 365d";
    *seconds = (uint32_t)size_min(value, TTL_S_MAX);
    return complaint;
}

/* Parts and answers to conditions are made from what is stored; nothing is stored of them. */
static bool is_never_stored(const struct cache_ttl *ttl)
{
    return ttl->low == ttl->high && (ttl->low == 206 || ttl->low == 304);
}

/* One before it has every status of this one. */
static bool is_covered(const struct cache_ttl *ttls, uint32_t count, const struct cache_ttl *ttl)
{
    bool covered = false;
    for (uint32_t i = 0; i < count; i++)
        covered |= ttls[i].low <= ttl->low && ttl->high <= ttls[i].high;
    return covered;
}

static bool take_status(struct decoder *decoder, const struct node *key, const struct cache_ttl *ttls, uint32_t count, struct cache_ttl *ttl)
{
    const char *complaint = value_read_status_range(key->text, &ttl->low, &ttl->high);
    if (complaint)
        problem_help(refuse(decoder, "status", key), "%s", complaint);
    else if (is_never_stored(ttl))
        problem_help(problem_error(decoder->reporter, key->place, "a response with status %u is not stored", ttl->low),
                     "it is made from what is stored of the whole");
    else if (is_covered(ttls, count, ttl))
        problem_help(problem_error(decoder->reporter, key->place, "'%s' is never reached: the first that fits counts", quoted(key->text).text),
                     "put it before the range that has it");
    else
        return true;
    return false;
}

static bool take_lifetime(struct decoder *decoder, const struct row *row, const struct node *value, struct cache_ttl *ttl)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, value, &text))
        return false;
    const char *complaint = read_lifetime(text, &ttl->seconds);
    if (complaint)
        problem_help(refuse(decoder, "lifetime", value), "%s", complaint);
    return !complaint;
}

void decode_ttls(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct cache_rule *rule = target;
    uint32_t count = 0;
    if (node->kind != NODE_MAP || node->count < row->least || node->count > row->most) {
        problem_help(problem_error(decoder->reporter, node->place, "'%s' is a map of 1 to %u statuses", row->word, (unsigned)row->most),
                     "for example: { 200: 10m, 404: 10s }");
        return;
    }
    struct cache_ttl *ttls = decode_take(decoder, node->count, sizeof *ttls);
    for (const struct node_child *child = node->first; ttls && child; child = child->next) {
        bool known = take_status(decoder, child->key, ttls, count, &ttls[count]);
        if (take_lifetime(decoder, row, child->value, &ttls[count]) && known)
            count++;
    }
    rule->ttls = ttls;
    rule->ttl_count = count;
}

/* Together -------------------------------------------------------------------------------------------------------- */

static bool keys_query(const struct cache_rule *rule)
{
    bool found = false;
    for (uint32_t i = 0; i < rule->key_count; i++)
        found |= rule->key[i].kind == CACHE_KEY_QUERY;
    return found;
}

static void check_params(struct decoder *decoder, const struct node *node, const struct cache_rule *rule)
{
    for (uint32_t i = 0; i < rule->key_count; i++) {
        if (rule->key[i].kind == CACHE_KEY_PARAM)
            problem_help(problem_error(decoder->reporter, key_place(node, "key"), "'param:%s' does nothing beside 'query', which has it already",
                                       quoted(rule->key[i].name).text),
                         "keep one of them");
    }
}

static void check_ignored(struct decoder *decoder, const struct node *node, const struct cache_rule *rule)
{
    for (uint32_t i = 0; i < rule->ignore_query_count; i++) {
        if (slice_equal(rule->ignore_query[i], SLICE("*")))
            problem_help(problem_error(decoder->reporter, key_place(node, "ignore-query"), "'ignore-query' leaves nothing of the query"),
                         "write 'key: []'");
    }
    for (uint32_t i = 0; i < rule->ignore_vary_count; i++) {
        if (slice_equal(rule->ignore_vary[i], SLICE("*")))
            problem_help(problem_error(decoder->reporter, key_place(node, "ignore-vary"), "'*' in Vary cannot be ignored"),
                         "a response that says so fits no other request (RFC 9111 4.1); name the fields that do not matter");
    }
}

static void check_slice(struct decoder *decoder, const struct node *node, const struct cache_rule *rule)
{
    if (rule->slice_bytes > rule->object_bytes_max)
        problem_help(problem_error(decoder->reporter, key_place(node, "slice"), "'slice' is larger than 'max-object'"),
                     "no slice would be stored");
    if (rule->slice_bytes && !rule->collapse)
        problem_help(problem_error(decoder->reporter, key_place(node, "slice"), "'slice' needs 'collapse'"),
                     "a slice is fetched for all who want it");
}

void finish_route_cache(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct cache_rule *rule = target;
    rule->on = true;
    if (keys_query(rule))
        check_params(decoder, node, rule);
    else if (section_given(&section_route_cache, given, "ignore-query"))
        problem_help(problem_error(decoder->reporter, key_place(node, "ignore-query"), "'ignore-query' does nothing without 'query' in 'key'"),
                     "leave it out: only what 'key' names is looked at");
    check_ignored(decoder, node, rule);
    check_slice(decoder, node, rule);
}

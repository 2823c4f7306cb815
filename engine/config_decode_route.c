/*
 * The values of routes that are more than one scalar: patterns, methods, fields, edits, a redirect's target. Each is
 * checked here as strictly as a request is by the parser, so that nothing a configuration says can break the framing
 * of a message.
 */
#include "engine/config_decode.h"

#include <stdio.h>

#include "engine/config_value.h"
#include "engine/policy/transform.h"
#include "proto/uri.h"

#define PARTS_MAX 32u

static struct config_problem *refuse(struct decoder *decoder, const char *noun, const struct node *node)
{
    return problem_error(decoder->reporter, node->place, "'%s' is no %s", quoted(node->text).text, noun);
}

/* Room for a list of values; NULL when the node is none, too long, or memory is short. */
static void *take_list(struct decoder *decoder, const struct row *row, const struct node *node, size_t bytes)
{
    uint32_t count = node_items(node);
    if (node->kind == NODE_MAP || count == 0 || count > row->most) {
        problem_error(decoder->reporter, node->place, "'%s' is a text or a list of 1 to %u texts", row->word, (unsigned)row->most);
        return NULL;
    }
    return decode_take(decoder, count, bytes);
}

/* Conditions ------------------------------------------------------------------------------------------------------ */

static struct slice lower_copy(struct decoder *decoder, struct slice text)
{
    struct slice copy = decode_copy(decoder, text);
    for (size_t i = 0; i < copy.length; i++) {
        char *c = (char *)(uintptr_t)copy.at + i;
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    }
    return copy;
}

static const char *host_help(struct slice text)
{
    if (slice_equal(text, SLICE("*")) || slice_equal(text, SLICE("*.")))
        return "leave 'host' out to match every host";
    if (memchr(text.at, '*', text.length))
        return "a '*' stands for whole labels at the front only: *.example.com";
    if (text.at[0] != '[' && memchr(text.at, ':', text.length))
        return "a host is written without scheme and port; IPv6 in brackets: [::1]";
    return "a host looks like example.com, *.example.com, 192.0.2.1 or [2001:db8::1]";
}

static void decode_host(struct decoder *decoder, const struct row *row, const struct node *node, struct host_pattern *pattern)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    struct slice lower = lower_copy(decoder, text);
    if (lower.at && host_pattern_of(lower, pattern) != ERR_OK)
        problem_help(refuse(decoder, "host pattern", node), "%s", host_help(text.length ? text : SLICE("-")));
}

void decode_hosts(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct route *route = target;
    struct host_pattern *hosts = take_list(decoder, row, node, sizeof *hosts);
    const struct node_child *child = NULL;
    for (const struct node *item; hosts && (item = node_next(node, &child)); route->host_count++)
        decode_host(decoder, row, item, &hosts[route->host_count]);
    route->hosts = hosts;
}

/* What would match instead of a path that never can: its canonical form, if it has one. */
static void suggest_path(struct config_problem *problem, struct slice text)
{
    char room[3 * 256];
    struct slice canonical;
    if (text.length <= 256 && uri_path_canonicalise(text, room, sizeof room, &canonical) == ERR_OK)
        problem_help(problem, "requests are matched in canonical form: write '%s'", quoted(canonical).text);
    else
        problem_help(problem, "requests never have such a path; bytes beyond ASCII are written as %%XX");
}

static void decode_path(struct decoder *decoder, const struct row *row, const struct node *node, struct path_pattern *pattern)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    if (text.length == 0 || text.at[0] != '/')
        problem_help(refuse(decoder, "path pattern", node), "a path begins with '/'");
    else if (memchr(text.at, '?', text.length) || memchr(text.at, '#', text.length))
        problem_help(refuse(decoder, "path pattern", node), "a query is not looked at; '?' is no wildcard");
    else if (text.length > 4096)
        problem_help(refuse(decoder, "path pattern", node), "a path pattern may have at most 4096 bytes");
    else if (!uri_path_is_canonical(text))
        suggest_path(refuse(decoder, "path pattern", node), text);
    else if (path_pattern_of(decode_copy(decoder, text), pattern) == ERR_CAP)
        problem_help(refuse(decoder, "path pattern", node), "a pattern with '*' inside may have at most %u bytes", PATH_GLOB_MAX);
}

void decode_paths(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct route *route = target;
    struct path_pattern *paths = take_list(decoder, row, node, sizeof *paths);
    const struct node_child *child = NULL;
    for (const struct node *item; paths && (item = node_next(node, &child)); route->path_count++)
        decode_path(decoder, row, item, &paths[route->path_count]);
    route->paths = paths;
}

static void decode_method(struct decoder *decoder, const struct row *row, const struct node *node, struct route *route,
                          struct slice *method)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_check_method(text);
    if (!complaint && (slice_equal(text, SLICE("CONNECT")) || slice_equal(text, SLICE("TRACE"))))
        complaint = "the proxy answers this method itself, before it looks at routes";
    if (complaint) {
        problem_help(refuse(decoder, "method", node), "%s", complaint);
        return;
    }
    *method = decode_copy(decoder, text);
    if (method_of(text) != METHOD_OTHER)
        route->method_bits |= 1ull << method_of(text);
}

void decode_methods(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct route *route = target;
    struct slice *methods = take_list(decoder, row, node, sizeof *methods);
    const struct node_child *child = NULL;
    for (const struct node *item; methods && (item = node_next(node, &child)); route->method_count++)
        decode_method(decoder, row, item, route, &methods[route->method_count]);
    route->methods = methods;
}

/* Fields: conditions ---------------------------------------------------------------------------------------------- */

/* { present: false }; a lone "*" says { present: true }. */
static bool decode_presence(struct decoder *decoder, const struct node *node, struct field_condition *condition)
{
    const struct node *present = node_find(node, "present");
    bool value = true;
    if (!present || node->count != 1 || present->kind != NODE_SCALAR || value_read_flag(present->text, &value)) {
        problem_error(decoder->reporter, node->place, "a header's condition is a pattern, a list of patterns, or { present: false }");
        return false;
    }
    condition->absent = !value;
    return true;
}

static void decode_patterns(struct decoder *decoder, const struct row *row, const struct node *node,
                            struct field_condition *condition)
{
    uint32_t count = node_items(node);
    if (count == 0 || count > 64) {
        problem_error(decoder->reporter, node->place, "a header's condition has 1 to 64 patterns");
        return;
    }
    struct slice *patterns = decode_take(decoder, count, sizeof *patterns);
    bool any = false;
    const struct node_child *child = NULL;
    for (const struct node *item; patterns && (item = node_next(node, &child));) {
        struct slice text;
        if (!decode_scalar(decoder, row->word, item, &text))
            continue;
        const char *complaint = value_check_field_value(text);
        if (complaint)
            problem_help(refuse(decoder, "pattern for a header", item), "%s", complaint);
        any |= slice_equal(text, SLICE("*"));
        patterns[condition->pattern_count++] = decode_copy(decoder, text);
    }
    condition->patterns = patterns;
    if (any) { /* whatever else is allowed, presence suffices */
        condition->patterns = NULL;
        condition->pattern_count = 0;
    }
}

/* Field names of a map compare without case: X-A and x-a are one. */
static bool name_is_new(struct decoder *decoder, const struct node *map, const struct node_child *child)
{
    const struct node_child *first = map->first;
    while (first != child && !slice_equal_nocase(first->key->text, child->key->text))
        first = first->next;
    if (first == child)
        return true;
    struct config_problem *problem =
        problem_error(decoder->reporter, child->key->place, "the field '%s' stands twice", quoted(child->key->text).text);
    problem_note(problem, first->key->place, "'%s' stands here first", quoted(first->key->text).text);
    return false;
}

static bool is_field_map(struct decoder *decoder, const struct row *row, const struct node *node)
{
    if (node->kind == NODE_MAP && node->count > 0 && node->count <= row->most)
        return true;
    problem_error(decoder->reporter, node->place, "'%s' is a map of 1 to %u field names", row->word, (unsigned)row->most);
    return false;
}

void decode_fields(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct route *route = target;
    if (!is_field_map(decoder, row, node))
        return;
    struct field_condition *fields = decode_take(decoder, node->count, sizeof *fields);
    if (!fields)
        return;
    route->fields = fields;
    for (const struct node_child *child = node->first; child; child = child->next) {
        struct field_condition *condition = &fields[route->field_count++];
        const char *complaint = value_check_field_name(child->key->text);
        if (complaint)
            problem_help(refuse(decoder, "field name", child->key), "%s", complaint);
        if (complaint || !name_is_new(decoder, node, child))
            continue;
        condition->name = decode_copy(decoder, child->key->text);
        condition->id = field_id_of(condition->name);
        if (child->value->kind == NODE_MAP)
            decode_presence(decoder, child->value, condition);
        else
            decode_patterns(decoder, row, child->value, condition);
    }
}

/* Values with placeholders ---------------------------------------------------------------------------------------- */

static void complain_of_template(struct decoder *decoder, const struct node *node, enum err e)
{
    struct config_problem *problem = refuse(decoder, "value with placeholders", node);
    if (e == ERR_CAP) {
        problem_help(problem, "it has more than %u parts", PARTS_MAX);
        return;
    }
    char list[160] = "";
    size_t length = 0;
    for (enum field_placeholder p = PLACEHOLDER_NONE + 1; p < PLACEHOLDERS; p++) {
        struct slice word = transform_word(p);
        int added = snprintf(list + length, sizeof list - length, "{%.*s} ", (int)word.length, word.at);
        length = size_min(length + (size_t)added, sizeof list - 1);
    }
    problem_help(problem, "known: %sand '{{' for '{'", list);
}

/* text is the configuration's copy. False: told. No parts: the text is literal. */
static bool decode_template(struct decoder *decoder, const struct node *node, struct slice text,
                            const struct field_value_part **parts, unsigned *count)
{
    struct field_value_part found[PARTS_MAX];
    enum err e = transform_parse(text, found, PARTS_MAX, count);
    if (e != ERR_OK) {
        complain_of_template(decoder, node, e);
        return false;
    }
    struct field_value_part *copy = *count ? decode_take(decoder, *count, sizeof *copy) : NULL;
    if (copy)
        memcpy(copy, found, *count * sizeof *copy);
    else
        *count = 0;
    *parts = copy;
    return true;
}

/*
 * A target that begins with a placeholder, or with a slash and one that may begin with a slash, would let whoever writes the
 * request choose the host ("//evil.example").
 */
static const char *check_location(struct slice text)
{
    if (slice_starts(text, SLICE("http://")) || slice_starts(text, SLICE("https://"))) {
        const char *host = memchr(text.at, '/', text.length);
        size_t used = (size_t)(host - text.at) + 2;
        if (used == text.length || text.at[used] == '/' || slice_starts(slice_of(text.at + used, text.length - used), SLICE("{path}")))
            return "the host is missing behind '//'";
        return NULL;
    }
    if (text.length == 0 || text.at[0] != '/')
        return "it begins with http://, https:// or '/'";
    if (slice_starts(text, SLICE("//")) || slice_starts(text, SLICE("/{path}")) || slice_starts(text, SLICE("/{query}")))
        return "behind a '/' at the front it would let the request name another host";
    return NULL;
}

void decode_location(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct route *route = target;
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = check_location(text);
    if (!complaint)
        complaint = value_check_field_value(text);
    if (!complaint && memchr(text.at, ' ', text.length))
        complaint = "a URL has no spaces";
    if (!complaint && memmem(text.at, text.length, "{server}", 8))
        complaint = "no server is asked when a client is redirected: {server} would be empty";
    if (complaint) {
        problem_help(refuse(decoder, "place to redirect to", node), "%s", complaint);
        return;
    }
    route->location = decode_copy(decoder, text);
    if (route->location.at)
        (void)decode_template(decoder, node, route->location, &route->location_parts, &route->location_part_count);
}

/* Edits ----------------------------------------------------------------------------------------------------------- */

/* The edits there are, with room for `more` behind them. */
static struct field_edit *extend(struct decoder *decoder, struct field_edits *edits, size_t more)
{
    struct field_edit *list = decode_take(decoder, edits->count + more, sizeof *list);
    if (!list)
        return NULL;
    if (edits->count)
        memcpy(list, edits->list, edits->count * sizeof *list);
    edits->list = list;
    return list + edits->count;
}

static bool check_edit_name(struct decoder *decoder, const struct row *row, const struct node *name)
{
    const char *complaint = row->check(name->text);
    if (complaint) {
        struct config_problem *problem =
            problem_error(decoder->reporter, name->place, "'%s' is no field for '%s'", quoted(name->text).text, row->word);
        problem_help(problem, "%s", complaint);
    }
    return !complaint;
}

static void decode_edit(struct decoder *decoder, const struct row *row, const struct node *name, const struct node *value,
                        struct field_edit *edit)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, value, &text))
        return;
    const char *complaint = value_check_field_value(text);
    if (complaint) {
        problem_help(refuse(decoder, "field value", value), "%s", complaint);
        return;
    }
    edit->kind = row->type == TYPE_EDIT_SET ? FIELD_EDIT_SET : FIELD_EDIT_ADD;
    edit->name = decode_copy(decoder, name->text);
    edit->id = field_id_of(name->text);
    edit->value = decode_copy(decoder, text);
    if (edit->value.at)
        (void)decode_template(decoder, value, edit->value, &edit->parts, &edit->part_count);
}

/* One field, or with add: several, one for each value of a list. */
static void decode_field_edits(struct decoder *decoder, const struct row *row, const struct node_child *field,
                               struct field_edits *edits)
{
    const struct node *value = field->value;
    bool list = value->kind == NODE_LIST && row->type == TYPE_EDIT_ADD && value->count > 0;
    uint32_t count = list ? value->count : 1;
    if (count > FIELDS_CAP - size_min(edits->count, FIELDS_CAP)) {
        problem_error(decoder->reporter, field->key->place, "more than %u edits in one route", FIELDS_CAP);
        return;
    }
    struct field_edit *edit = extend(decoder, edits, count);
    if (!edit)
        return;
    edits->count += count;
    const struct node_child *child = NULL;
    if (!list)
        decode_edit(decoder, row, field->key, value, edit);
    for (const struct node *item; list && (item = node_next(value, &child)); edit++)
        decode_edit(decoder, row, field->key, item, edit);
}

void decode_edits(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    if (!is_field_map(decoder, row, node))
        return;
    for (const struct node_child *child = node->first; child; child = child->next) {
        if (check_edit_name(decoder, row, child->key) && name_is_new(decoder, node, child))
            decode_field_edits(decoder, row, child, row_member(row, target));
    }
}

void decode_remove(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct field_edits *edits = row_member(row, target);
    uint32_t count = node_items(node);
    if (node->kind == NODE_MAP || count == 0 || count > FIELDS_CAP - size_min(edits->count, FIELDS_CAP)) {
        problem_error(decoder->reporter, node->place, "'%s' is a field name or a list of 1 to %u", row->word, FIELDS_CAP);
        return;
    }
    struct field_edit *edit = extend(decoder, edits, count);
    const struct node_child *child = NULL;
    for (const struct node *item; edit && (item = node_next(node, &child));) {
        struct slice text;
        if (!decode_scalar(decoder, row->word, item, &text) || !check_edit_name(decoder, row, item))
            continue;
        *edit++ = (struct field_edit){ .kind = FIELD_EDIT_REMOVE, .id = field_id_of(text), .name = decode_copy(decoder, text) };
        edits->count++;
    }
}

/*
 * A configuration in full, defaults and all, as YAML or as JSON; both read back as the same configuration.
 *
 * The rows are walked in their order, a type's writer is a row of the table below. What cannot be written back (a key
 * that has no place beside the others, an optional section that is not there) is left out. JSON is the same tree with the same texts;
 * only plain numbers and flags lose their quotes.
 */
#include <stdio.h>

#include "engine/base/text.h"
#include "engine/config_rows.h"
#include "engine/config_value.h"
#include "engine/policy/route.h"

/* Writing YAML and JSON ------------------------------------------------------------------------------------------- */

enum emitter_after { AFTER_NOTHING, AFTER_KEY, AFTER_ITEM };

struct emitter {
    struct text *out;
    const struct config *config; /* for what refers to other parts */
    bool json;
    bool first; /* JSON: no comma yet in this list or map */
    unsigned depth;
    enum emitter_after after; /* YAML: where the value that comes is written */
};

static void indent(struct emitter *e)
{
    text_format(e->out, "%*s", (int)(2 * e->depth), "");
}

/*
 * Text that YAML takes for a text without quotes, also where a tool believes in yes, no, numbers and sexagesimals: it begins
 * with a letter or a slash, or is an IPv4 address.
 */
static bool is_plain(struct slice text)
{
    static const char *const words[] = { "true", "false", "yes", "no", "on", "off", "null", "y", "n" };
    unsigned dots = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (slice_equal_nocase(text, slice_of_text(words[i])))
            return false;
    }
    for (size_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/';
        bool inner = i > 0 && (c == '-' || c == '_' || c == '.' || (c == ':' && i + 1 < text.length));
        if (!word && !inner)
            return false;
        dots += c == '.';
    }
    return text.length && ((text.at[0] < '0' || text.at[0] > '9') || dots >= 3);
}

static void value_begins(struct emitter *e)
{
    if (!e->json && e->after == AFTER_KEY)
        text_add(e->out, SLICE(" "));
}

static void value_ends(struct emitter *e)
{
    if (!e->json)
        text_add(e->out, SLICE("\n"));
    e->after = AFTER_NOTHING;
}

static void emit_text(struct emitter *e, struct slice text)
{
    value_begins(e);
    if (!e->json && is_plain(text))
        text_add(e->out, text);
    else
        text_json_string(e->out, text);
    value_ends(e);
}

/* Numbers, flags, and words of the configuration's own. */
static void emit_bare(struct emitter *e, const char *text, bool bare_in_json)
{
    value_begins(e);
    if (e->json && !bare_in_json)
        text_json_string(e->out, slice_of_text(text));
    else
        text_add(e->out, slice_of_text(text));
    value_ends(e);
}

static void next_in_json(struct emitter *e)
{
    text_add(e->out, e->first ? SLICE("\n") : SLICE(",\n"));
    e->first = false;
    indent(e);
}

static void emit_key(struct emitter *e, struct slice key)
{
    if (e->json) {
        next_in_json(e);
        text_json_string(e->out, key);
        text_add(e->out, SLICE(": "));
        return;
    }
    if (e->after != AFTER_ITEM)
        indent(e);
    if (is_plain(key))
        text_add(e->out, key);
    else
        text_json_string(e->out, key);
    text_add(e->out, SLICE(":"));
    e->after = AFTER_KEY;
}

static void emit_item(struct emitter *e)
{
    if (e->json) {
        next_in_json(e);
        return;
    }
    indent(e);
    text_add(e->out, SLICE("- "));
    e->after = AFTER_ITEM;
}

static void emit_open(struct emitter *e, char json_bracket)
{
    if (e->json)
        text_add(e->out, slice_of(&json_bracket, 1));
    else if (e->after == AFTER_KEY)
        text_add(e->out, SLICE("\n"));
    e->first = true;
    e->depth++;
    if (e->after == AFTER_KEY)
        e->after = AFTER_NOTHING;
}

static void emit_close(struct emitter *e, char json_bracket)
{
    e->depth--;
    e->first = false;
    if (!e->json)
        return;
    text_add(e->out, SLICE("\n"));
    indent(e);
    text_add(e->out, slice_of(&json_bracket, 1));
}

/* One value stands as it is, several as a list: opens or closes it, and begins an item, if there is one. */
static void emit_several(struct emitter *e, uint32_t count, char json_bracket)
{
    if (count > 1 && json_bracket == '[')
        emit_open(e, json_bracket);
    else if (count > 1)
        emit_close(e, json_bracket);
}

static void emit_one_of(struct emitter *e, uint32_t count)
{
    if (count > 1)
        emit_item(e);
}

static void emit_texts(struct emitter *e, const struct slice *texts, uint32_t count)
{
    emit_several(e, count, '[');
    for (uint32_t i = 0; i < count; i++) {
        emit_one_of(e, count);
        emit_text(e, texts[i]);
    }
    emit_several(e, count, ']');
}

/* Values ---------------------------------------------------------------------------------------------------------- */

/* Writes key and value, or nothing when there is no value. */
typedef void show_function(struct emitter *e, const struct row *row, const void *target);
static void show_section(struct emitter *e, const struct section *section, const void *target);

static void show_key(struct emitter *e, const struct row *row)
{
    emit_key(e, slice_of_text(row->word));
}

static void (*const number_writers[ROW_TYPES])(uint64_t value, char out[VALUE_TEXT_BYTES]) = {
    [TYPE_COUNT] = value_write_count,
    [TYPE_DURATION] = value_write_milliseconds,
    [TYPE_SECONDS] = value_write_seconds,
    [TYPE_MICROSECONDS] = value_write_microseconds,
    [TYPE_SIZE] = value_write_size,
    [TYPE_PERCENT] = value_write_percent,
    [TYPE_HUNDREDTHS] = value_write_hundredths,
    [TYPE_MODE] = value_write_mode,
};

static void show_number(struct emitter *e, const struct row *row, const void *target)
{
    char text[VALUE_TEXT_BYTES];
    uint64_t value = row_load(row, target);
    show_key(e, row);
    if (value == 0 && row->zero) {
        emit_bare(e, row->zero, false);
        return;
    }
    number_writers[row->type](value, text);
    emit_bare(e, text, row->type == TYPE_COUNT || row->type == TYPE_HUNDREDTHS);
}

static void show_flag(struct emitter *e, const struct row *row, const void *target)
{
    show_key(e, row);
    emit_bare(e, *(const bool *)row_member_const(row, target) ? "true" : "false", true);
}

static void show_word(struct emitter *e, const struct row *row, const void *target)
{
    const struct row_word *word = row->words;
    while (word->word && word->value != row_load(row, target))
        word++;
    show_key(e, row);
    emit_bare(e, word->word ? word->word : "?", false);
}

static void show_words(struct emitter *e, const struct row *row, const void *target)
{
    const struct config_words *words = row_member_const(row, target);
    show_key(e, row);
    emit_open(e, '[');
    for (uint32_t i = 0; i < words->count; i++) {
        const struct row_word *word = row->words;
        while (word->word && word->value != words->list[i])
            word++;
        emit_item(e);
        emit_text(e, slice_of_text(word->word ? word->word : "?"));
    }
    emit_close(e, ']');
}

static void show_texts(struct emitter *e, const struct row *row, const void *target)
{
    const struct slice *names;
    uint32_t count = row_items(row, target);
    memcpy(&names, row_member_const(row, target), sizeof names);
    if (count == 0 && !row->zero)
        return;
    show_key(e, row);
    if (count == 0)
        emit_bare(e, row->zero, false);
    else
        emit_texts(e, names, count);
}

static void show_text(struct emitter *e, const struct row *row, const void *target)
{
    const struct slice *text = row_member_const(row, target);
    if (text->length == 0 && !row->zero)
        return;
    show_key(e, row);
    if (text->length == 0 || (row->usual && slice_equal(*text, slice_of_text(row->usual))))
        emit_bare(e, text->length ? row->usual : row->zero, false);
    else
        emit_text(e, *text);
}

static void show_address(struct emitter *e, const struct row *row, const void *target)
{
    const struct address *address = row_member_const(row, target);
    show_key(e, row);
    emit_text(e, address->text);
}

static void show_networks(struct emitter *e, const struct row *row, const void *target)
{
    const struct network *networks;
    uint32_t count = row_items(row, target);
    char text[VALUE_TEXT_BYTES];
    memcpy(&networks, row_member_const(row, target), sizeof networks);
    if (count == 0)
        return;
    show_key(e, row);
    emit_open(e, '[');
    for (uint32_t i = 0; i < count; i++) {
        value_write_network(&networks[i], text);
        emit_item(e);
        emit_text(e, slice_of_text(text));
    }
    emit_close(e, ']');
}

static void show_name_servers(struct emitter *e, const struct row *row, const void *target)
{
    const struct config_dns *dns = target;
    if (dns->server_count == 0)
        return;
    show_key(e, row);
    emit_open(e, '[');
    for (uint32_t i = 0; i < dns->server_count; i++) {
        emit_item(e);
        emit_text(e, dns->servers[i].text);
    }
    emit_close(e, ']');
}

static void show_forwarded(struct emitter *e, const struct row *row, const void *target)
{
    static const char *const words[] = { "off", "x", "rfc7239", "both" };
    const struct config *config = target;
    show_key(e, row);
    emit_bare(e, words[config->forwarded_x + 2 * config->forwarded_rfc7239], false);
}

static void show_status_range(struct emitter *e, const struct row *row, const void *target)
{
    const uint16_t *range = row_member_const(row, target);
    char text[VALUE_TEXT_BYTES];
    value_write_status_range(range[0], range[1], text);
    show_key(e, row);
    emit_bare(e, range[0] ? text : row->zero, false);
}

static void show_statuses(struct emitter *e, const struct row *row, const void *target)
{
    const struct config_check *check = target;
    char text[VALUE_TEXT_BYTES];
    show_key(e, row);
    emit_several(e, check->status_count, '[');
    for (uint32_t i = 0; i < check->status_count; i++) {
        value_write_status_range(check->statuses[i].first, check->statuses[i].last, text);
        emit_one_of(e, check->status_count);
        emit_bare(e, text, false);
    }
    emit_several(e, check->status_count, ']');
}

static void show_hash_key(struct emitter *e, const struct row *row, const void *target)
{
    static const char *const words[] = { "uri", "path", "host", "client-address", "header:", "cookie:", "query:" };
    const struct config_pool *pool = target;
    char text[300];
    snprintf(text, sizeof text, "%s%.*s", words[pool->hash_key], (int)pool->hash_name.length,
             pool->hash_name.length ? pool->hash_name.at : "");
    show_key(e, row);
    emit_text(e, slice_of_text(text));
}

/* An empty list is not the default: it is written. */
static void show_cache_key(struct emitter *e, const struct row *row, const void *target)
{
    static const char *const words[] = { "query", "param:", "header:", "cookie:" };
    const struct cache_rule *rule = target;
    show_key(e, row);
    if (rule->key_count == 0) {
        emit_bare(e, "[]", true);
        return;
    }
    emit_open(e, '[');
    for (uint32_t i = 0; i < rule->key_count; i++) {
        char text[300];
        const struct cache_key_part *part = &rule->key[i];
        snprintf(text, sizeof text, "%s%.*s", words[part->kind], (int)part->name.length, part->name.length ? part->name.at : "");
        emit_item(e);
        emit_text(e, slice_of_text(text));
    }
    emit_close(e, ']');
}

static void show_ttls(struct emitter *e, const struct row *row, const void *target)
{
    const struct cache_rule *rule = target;
    char status[VALUE_TEXT_BYTES], duration[VALUE_TEXT_BYTES];
    if (rule->ttl_count == 0)
        return;
    show_key(e, row);
    emit_open(e, '{');
    for (uint32_t i = 0; i < rule->ttl_count; i++) {
        value_write_status_range(rule->ttls[i].low, rule->ttls[i].high, status);
        value_write_seconds(rule->ttls[i].seconds, duration);
        emit_key(e, slice_of_text(status));
        emit_bare(e, duration, false);
    }
    emit_close(e, '}');
}

static void show_pool(struct emitter *e, const struct row *row, const void *target)
{
    show_key(e, row);
    emit_text(e, e->config->pools[row_load(row, target)].name);
}

/* Conditions and edits -------------------------------------------------------------------------------------------- */

/* Patterns are kept without their stars. */
static void emit_joined(struct emitter *e, struct slice front, struct slice back)
{
    struct text joined = { 0 };
    text_add(&joined, front);
    text_add(&joined, back);
    e->out->failed |= joined.failed;
    emit_text(e, text_slice(&joined));
    text_release(&joined);
}

static void emit_host(struct emitter *e, const struct host_pattern *pattern)
{
    emit_joined(e, pattern->kind == HOST_SUFFIX ? SLICE("*") : SLICE(""), pattern->text);
}

static void emit_path(struct emitter *e, const struct path_pattern *pattern)
{
    emit_joined(e, pattern->text, pattern->kind == PATH_PREFIX ? SLICE("/*") : SLICE(""));
}

static void show_hosts(struct emitter *e, const struct row *row, const void *target)
{
    const struct route *route = target;
    if (route->host_count == 0)
        return;
    show_key(e, row);
    emit_several(e, route->host_count, '[');
    for (unsigned i = 0; i < route->host_count; i++) {
        emit_one_of(e, route->host_count);
        emit_host(e, &route->hosts[i]);
    }
    emit_several(e, route->host_count, ']');
}

static void show_paths(struct emitter *e, const struct row *row, const void *target)
{
    const struct route *route = target;
    if (route->path_count == 0)
        return;
    show_key(e, row);
    emit_several(e, route->path_count, '[');
    for (unsigned i = 0; i < route->path_count; i++) {
        emit_one_of(e, route->path_count);
        emit_path(e, &route->paths[i]);
    }
    emit_several(e, route->path_count, ']');
}

static void show_methods(struct emitter *e, const struct row *row, const void *target)
{
    const struct route *route = target;
    if (route->method_count == 0)
        return;
    show_key(e, row);
    emit_texts(e, route->methods, route->method_count);
}

static void emit_condition(struct emitter *e, const struct field_condition *condition)
{
    if (!condition->absent) {
        if (condition->pattern_count)
            emit_texts(e, condition->patterns, condition->pattern_count);
        else
            emit_text(e, SLICE("*"));
        return;
    }
    emit_open(e, '{');
    emit_key(e, SLICE("present"));
    emit_bare(e, "false", true);
    emit_close(e, '}');
}

static void show_fields(struct emitter *e, const struct row *row, const void *target)
{
    const struct route *route = target;
    if (route->field_count == 0)
        return;
    show_key(e, row);
    emit_open(e, '{');
    for (unsigned i = 0; i < route->field_count; i++) {
        emit_key(e, route->fields[i].name);
        emit_condition(e, &route->fields[i]);
    }
    emit_close(e, '}');
}

/* Edits of one kind stand together, those of one name too: decoding has seen to that. */
static unsigned first_of_kind(const struct field_edits *edits, enum field_edit_kind kind)
{
    unsigned i = 0;
    while (i < edits->count && edits->list[i].kind != kind)
        i++;
    return i;
}

static unsigned end_of_name(const struct field_edits *edits, unsigned i)
{
    unsigned end = i + 1;
    while (end < edits->count && edits->list[end].kind == edits->list[i].kind &&
           slice_equal_nocase(edits->list[end].name, edits->list[i].name))
        end++;
    return end;
}

static void emit_edit_values(struct emitter *e, const struct field_edits *edits, unsigned from, unsigned end)
{
    unsigned count = end - from;
    emit_several(e, count, '[');
    for (; from < end; from++) {
        emit_one_of(e, count);
        emit_text(e, edits->list[from].value);
    }
    emit_several(e, count, ']');
}

static void show_edits(struct emitter *e, const struct row *row, const void *target)
{
    const struct field_edits *edits = row_member_const(row, target);
    enum field_edit_kind kind = row->type == TYPE_EDIT_SET ? FIELD_EDIT_SET : FIELD_EDIT_ADD;
    unsigned i = first_of_kind(edits, kind);
    if (i == edits->count)
        return;
    show_key(e, row);
    emit_open(e, '{');
    while (i < edits->count && edits->list[i].kind == kind) {
        unsigned end = end_of_name(edits, i);
        emit_key(e, edits->list[i].name);
        emit_edit_values(e, edits, i, end);
        i = end;
    }
    emit_close(e, '}');
}

static void show_remove(struct emitter *e, const struct row *row, const void *target)
{
    const struct field_edits *edits = row_member_const(row, target);
    unsigned i = first_of_kind(edits, FIELD_EDIT_REMOVE);
    if (i == edits->count)
        return;
    show_key(e, row);
    emit_open(e, '[');
    for (; i < edits->count && edits->list[i].kind == FIELD_EDIT_REMOVE; i++) {
        emit_item(e);
        emit_text(e, edits->list[i].name);
    }
    emit_close(e, ']');
}

/* Sections -------------------------------------------------------------------------------------------------------- */

static void show_nested(struct emitter *e, const struct row *row, const void *target)
{
    const void *member = row_member_const(row, target);
    if (row->section->is_present && !row->section->is_present(member))
        return;
    show_key(e, row);
    show_section(e, row->section, member);
}

static void show_list(struct emitter *e, const struct row *row, const void *target)
{
    uint32_t count = row_items(row, target);
    if (count == 0)
        return;
    show_key(e, row);
    emit_open(e, '[');
    for (uint32_t i = 0; i < count; i++) {
        emit_item(e);
        show_section(e, row->section, row_item(row, target, i));
    }
    emit_close(e, ']');
}

static void show_named(struct emitter *e, const struct row *row, const void *target)
{
    uint32_t count = row_items(row, target);
    if (count == 0)
        return;
    show_key(e, row);
    emit_open(e, '{');
    for (uint32_t i = 0; i < count; i++) {
        const void *item = row_item(row, target, i);
        emit_key(e, *(const struct slice *)item); /* the name is the first member */
        show_section(e, row->section, item);
    }
    emit_close(e, '}');
}

static show_function *const show_functions[ROW_TYPES] = {
    [TYPE_FLAG] = show_flag,
    [TYPE_COUNT] = show_number,
    [TYPE_DURATION] = show_number,
    [TYPE_SECONDS] = show_number,
    [TYPE_MICROSECONDS] = show_number,
    [TYPE_SIZE] = show_number,
    [TYPE_PERCENT] = show_number,
    [TYPE_HUNDREDTHS] = show_number,
    [TYPE_MODE] = show_number,
    [TYPE_WORD] = show_word,
    [TYPE_TEXT] = show_text,
    [TYPE_NAME] = show_text,
    [TYPE_PREFIX] = show_text,
    [TYPE_LISTEN_ADDRESS] = show_address,
    [TYPE_SERVER_ADDRESS] = show_address,
    [TYPE_NETWORKS] = show_networks,
    [TYPE_NAME_SERVERS] = show_name_servers,
    [TYPE_FORWARDED] = show_forwarded,
    [TYPE_STATUS_RANGE] = show_status_range,
    [TYPE_STATUSES] = show_statuses,
    [TYPE_HASH_KEY] = show_hash_key,
    [TYPE_POOL] = show_pool,
    [TYPE_HOSTS] = show_hosts,
    [TYPE_PATHS] = show_paths,
    [TYPE_METHODS] = show_methods,
    [TYPE_FIELDS] = show_fields,
    [TYPE_LOCATION] = show_text,
    [TYPE_EDIT_SET] = show_edits,
    [TYPE_EDIT_ADD] = show_edits,
    [TYPE_EDIT_REMOVE] = show_remove,
    [TYPE_WORDS] = show_words,
    [TYPE_SERVER_NAMES] = show_texts,
    [TYPE_MEDIA_TYPES] = show_texts,
    [TYPE_FIELD_NAMES] = show_texts,
    [TYPE_GLOBS] = show_texts,
    [TYPE_TAGS] = show_texts,
    [TYPE_PROTOCOLS] = show_texts,
    [TYPE_CACHE_KEY] = show_cache_key,
    [TYPE_TTLS] = show_ttls,
    [TYPE_DESTINATIONS] = show_texts,
    [TYPE_PORTS] = show_texts,
    [TYPE_SECTION] = show_nested,
    [TYPE_LIST] = show_list,
    [TYPE_NAMED] = show_named,
};

static void show_section(struct emitter *e, const struct section *section, const void *target)
{
    emit_open(e, '{');
    for (uint32_t i = 0; i < section->row_count; i++) {
        const struct row *row = &section->rows[i];
        if (row->type != TYPE_LATER && !row->shorthand && (!row->applies || row->applies(target)))
            show_functions[row->type](e, row, target);
    }
    emit_close(e, '}');
}

void config_show_row(const struct config *config, const struct row *row, const void *target, struct text *out)
{
    struct emitter e = { .out = out, .config = config };
    if (row->type != TYPE_LATER && (!row->applies || row->applies(target)))
        show_functions[row->type](&e, row, target);
}

void config_show(const struct config *config, bool json, struct text *out)
{
    struct emitter e = { .out = out, .config = config, .json = json };
    if (json) {
        show_section(&e, &section_top, config);
        text_add(out, SLICE("\n"));
        return;
    }
    for (uint32_t i = 0; i < section_top.row_count; i++)
        config_show_row(config, &section_top.rows[i], config, out);
}

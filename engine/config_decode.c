/*
 * Rows against nodes. A map is walked in the order of the file: each key finds its row, each row's type has a decoder in
 * the table below; then come the defaults of rows that the file does not have, read from their text by the same
 * decoders; then what the section's rows say together.
 */
#include "engine/config_decode.h"

#include <stdio.h>

#include "engine/config_value.h"

/* Keys of one map at most, for maps whose rows do not say: far above what any section has. */
#define KEYS_MAX 1000u

typedef void decode_function(struct decoder *decoder, const struct row *row, const struct node *node, void *target);
static decode_function *const decode_functions[ROW_TYPES];
static void decode_map(struct decoder *decoder, const struct section *section, const char *subject, const struct node *node,
                       void *target);

/* Helpers --------------------------------------------------------------------------------------------------------- */

void *decode_take(struct decoder *decoder, size_t count, size_t bytes)
{
    return config_memory_take(decoder->memory, count * bytes);
}

struct slice decode_copy(struct decoder *decoder, struct slice text)
{
    return config_memory_copy(decoder->memory, text);
}

bool decode_scalar(struct decoder *decoder, const char *subject, const struct node *node, struct slice *text)
{
    if (node->kind != NODE_SCALAR) {
        problem_error(decoder->reporter, node->place, "'%s' takes one value, not a %s", subject,
                      node->kind == NODE_LIST ? "list" : "map");
        return false;
    }
    if (node_is_null(node)) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' has no value", subject);
        problem_help(problem, "give it one, or leave the key out");
        return false;
    }
    *text = node->text;
    return true;
}

/* Sections, lists, names ------------------------------------------------------------------------------------------ */

/* A value that stands alone is that of the section's scalar_key. */
static void decode_alone(struct decoder *decoder, const struct section *section, const struct node *node, void *target)
{
    struct node key = { .kind = NODE_SCALAR, .text = slice_of_text(section->scalar_key), .place = node->place };
    struct node value = *node;
    struct node_child child = { &key, &value, NULL };
    struct node map = { .kind = NODE_MAP, .count = 1, .place = node->place, .first = &child };
    decode_map(decoder, section, section->noun, &map, target);
}

static void decode_section(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    if (row->section->scalar_key && node->kind != NODE_MAP && !node_is_null(node))
        decode_alone(decoder, row->section, node, row_member(row, target));
    else
        decode_map(decoder, row->section, row->word, node, row_member(row, target));
}

static void set_items(const struct row *row, void *target, void *items, uint32_t count)
{
    memcpy(row_member(row, target), &items, sizeof items);
    memcpy((char *)target + row->count_offset, &count, sizeof count);
}

/* Memory for the items; NULL when there are none, too many of them, or no memory. */
static char *take_items(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    uint32_t count = node_items(node);
    if (count == 0) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' is empty", row->word);
        problem_help(problem, "for example: %s", row->example);
        return NULL;
    }
    if (count > row->most) {
        problem_error(decoder->reporter, node->place, "'%s' has %u items; %u are allowed", row->word, count, (unsigned)row->most);
        return NULL;
    }
    char *items = decode_take(decoder, count, row->section->bytes);
    if (items)
        set_items(row, target, items, count);
    return items;
}

/* An item may be a bare text where the section says which key that is. */
static void decode_item(struct decoder *decoder, const struct section *section, const struct node *node, void *target)
{
    if (node->kind != NODE_SCALAR || !section->scalar_key || node_is_null(node))
        decode_map(decoder, section, section->noun, node, target);
    else
        decode_alone(decoder, section, node, target);
}

static void decode_list(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    bool scalar_does = node->kind == NODE_SCALAR && row->section->scalar_key && !node_is_null(node);
    if (node->kind != NODE_LIST && !scalar_does) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' is a list", row->word);
        problem_help(problem, "for example: %s", row->example);
        return;
    }
    char *items = take_items(decoder, row, node, target);
    if (!items)
        return;
    const struct node_child *child = NULL;
    for (const struct node *item; (item = node_next(node, &child)); items += row->section->bytes)
        decode_item(decoder, row->section, item, items);
}

/* Tells a key that stands twice; the first of them is found again, since that is rare. */
static bool is_repeated(struct decoder *decoder, const struct node *map, const struct node_child *child)
{
    const struct node_child *first = map->first;
    while (first != child && !slice_equal(first->key->text, child->key->text))
        first = first->next;
    if (first == child)
        return false;
    struct config_problem *problem =
        problem_error(decoder->reporter, child->key->place, "the key '%s' stands twice", quoted(child->key->text).text);
    problem_note(problem, first->key->place, "'%s' stands here first", quoted(child->key->text).text);
    return true;
}

static void decode_named(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    if (node->kind != NODE_MAP) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' is a map of names", row->word);
        problem_help(problem, "for example: %s", row->example);
        return;
    }
    char *items = take_items(decoder, row, node, target);
    if (!items)
        return;
    for (const struct node_child *child = node->first; child; child = child->next, items += row->section->bytes) {
        const char *complaint = value_check_name(child->key->text);
        if (complaint) {
            struct config_problem *problem = problem_error(decoder->reporter, child->key->place, "'%s' is no name for a %s",
                                                           quoted(child->key->text).text, row->section->noun);
            problem_help(problem, "%s", complaint);
        }
        if (is_repeated(decoder, node, child))
            continue;
        struct slice *name = (struct slice *)(void *)items; /* the first member of what has a name */
        *name = decode_copy(decoder, child->key->text);
        decode_map(decoder, row->section, name->at ? name->at : "", child->value, items);
    }
}
_Static_assert(offsetof(struct config_pool, name) == 0, "decode_named writes the name there");

/* Maps ------------------------------------------------------------------------------------------------------------ */

static void apply_defaults(struct decoder *decoder, const struct section *section, uint64_t given, void *target);

/* A default is decoded from its text, as if it stood in the file. */
static void apply_default(struct decoder *decoder, const struct row *row, void *target)
{
    if (row->type == TYPE_SECTION) {
        if (row->section->always)
            apply_defaults(decoder, row->section, 0, row_member(row, target));
    } else if (row->usual) {
        struct node node = { .kind = NODE_SCALAR, .text = slice_of_text(row->usual) };
        decode_functions[row->type](decoder, row, &node, target);
    }
}

static void apply_defaults(struct decoder *decoder, const struct section *section, uint64_t given, void *target)
{
    for (uint32_t i = 0; i < section->row_count; i++) {
        if (!(given >> i & 1))
            apply_default(decoder, &section->rows[i], target);
    }
}

/* The row that was meant, if one is near: it is not missed on top of that. */
static const struct row *refuse_key(struct decoder *decoder, const struct section *section, const char *subject,
                                    const struct node *key)
{
    struct nearest nearest = nearest_to(key->text);
    char list[236] = ""; /* a help has 256 */
    size_t length = 0;
    for (uint32_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].type == TYPE_LATER)
            continue;
        nearest_offer(&nearest, slice_of_text(section->rows[i].word));
        int added = snprintf(list + length, sizeof list - length, "%s%s", length ? ", " : "", section->rows[i].word);
        length = size_min(length + (size_t)added, sizeof list - 1);
    }
    struct config_problem *problem =
        section == &section_top
            ? problem_error(decoder->reporter, key->place, "unknown key '%s'", quoted(key->text).text)
            : problem_error(decoder->reporter, key->place, "unknown key '%s' in '%s'", quoted(key->text).text, subject);
    if (nearest.best.at)
        problem_help(problem, "did you mean '%s'?", nearest.best.at);
    else
        problem_help(problem, "known are: %s%s", list, length == sizeof list - 1 ? "..." : "");
    return nearest.best.at ? section_row(section, nearest.best) : NULL;
}

static uint64_t decode_key(struct decoder *decoder, const struct section *section, const char *subject, const struct node *map,
                           const struct node_child *child, void *target)
{
    const struct row *row = section_row(section, child->key->text);
    if (!row) {
        row = refuse_key(decoder, section, subject, child->key);
        return row && row->required ? row_bit(section, row) : 0;
    }
    if (row->type == TYPE_LATER) {
        struct config_problem *problem =
            problem_error(decoder->reporter, child->key->place, "'%s': %s is not in this build yet", row->word, row->doc);
        problem_help(problem, "leave the key out");
        return 0;
    }
    if (!is_repeated(decoder, map, child))
        decode_functions[row->type](decoder, row, child->value, target);
    return row_bit(section, row);
}

static void demand_rows(struct decoder *decoder, const struct section *section, const struct node *node, uint64_t given)
{
    for (uint32_t i = 0; i < section->row_count; i++) {
        const struct row *row = &section->rows[i];
        if (!row->required || (given >> i & 1))
            continue;
        struct config_problem *problem = problem_error(decoder->reporter, section == &section_top ? (struct place){ 0 } : node->place,
                                                       "the %s has no '%s'", section->noun, row->word);
        problem_help(problem, "for example: %s", row->example);
    }
}

static bool is_readable_map(struct decoder *decoder, const char *subject, const struct node *node)
{
    if (node->kind != NODE_MAP) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' takes keys with values", subject);
        if (node_is_null(node))
            problem_help(problem, "{} takes every default");
        return false;
    }
    if (node->count > KEYS_MAX)
        problem_error(decoder->reporter, node->place, "'%s' has %u keys", subject, node->count);
    return node->count <= KEYS_MAX;
}

static void decode_map(struct decoder *decoder, const struct section *section, const char *subject, const struct node *node,
                       void *target)
{
    uint64_t given = 0;
    if (!is_readable_map(decoder, subject, node))
        return;
    for (const struct node_child *child = node->first; child; child = child->next)
        given |= decode_key(decoder, section, subject, node, child, target);
    demand_rows(decoder, section, node, given);
    apply_defaults(decoder, section, given, target);
    if (section->finish)
        section->finish(decoder, node, target, given);
}

/* The table and the whole ----------------------------------------------------------------------------------------- */

static decode_function *const decode_functions[ROW_TYPES] = {
    [TYPE_FLAG] = decode_flag,
    [TYPE_COUNT] = decode_number,
    [TYPE_DURATION] = decode_number,
    [TYPE_SECONDS] = decode_number,
    [TYPE_MICROSECONDS] = decode_number,
    [TYPE_SIZE] = decode_number,
    [TYPE_PERCENT] = decode_number,
    [TYPE_HUNDREDTHS] = decode_number,
    [TYPE_MODE] = decode_number,
    [TYPE_WORD] = decode_word,
    [TYPE_TEXT] = decode_text,
    [TYPE_NAME] = decode_name,
    [TYPE_PREFIX] = decode_prefix,
    [TYPE_LISTEN_ADDRESS] = decode_address,
    [TYPE_SERVER_ADDRESS] = decode_address,
    [TYPE_NETWORKS] = decode_networks,
    [TYPE_NAME_SERVERS] = decode_name_servers,
    [TYPE_FORWARDED] = decode_forwarded,
    [TYPE_STATUS_RANGE] = decode_status_range,
    [TYPE_STATUSES] = decode_statuses,
    [TYPE_HASH_KEY] = decode_hash_key,
    [TYPE_POOL] = decode_pool,
    [TYPE_HOSTS] = decode_hosts,
    [TYPE_PATHS] = decode_paths,
    [TYPE_METHODS] = decode_methods,
    [TYPE_FIELDS] = decode_fields,
    [TYPE_LOCATION] = decode_location,
    [TYPE_EDIT_SET] = decode_edits,
    [TYPE_EDIT_ADD] = decode_edits,
    [TYPE_EDIT_REMOVE] = decode_remove,
    [TYPE_WORDS] = decode_words,
    [TYPE_SERVER_NAMES] = decode_lower_texts,
    [TYPE_MEDIA_TYPES] = decode_lower_texts,
    [TYPE_FIELD_NAMES] = decode_lower_texts,
    [TYPE_GLOBS] = decode_texts,
    [TYPE_TAGS] = decode_texts,
    [TYPE_PROTOCOLS] = decode_texts_or_none,
    [TYPE_CACHE_KEY] = decode_cache_key,
    [TYPE_TTLS] = decode_ttls,
    [TYPE_DESTINATIONS] = decode_lower_texts,
    [TYPE_PORTS] = decode_lower_texts,
    [TYPE_SECTION] = decode_section,
    [TYPE_LIST] = decode_list,
    [TYPE_NAMED] = decode_named,
};

static bool has_root(struct decoder *decoder)
{
    if (decoder->root && decoder->root->kind == NODE_MAP)
        return true;
    bool empty = !decoder->root || node_is_null(decoder->root);
    struct config_problem *problem = empty ? problem_error(decoder->reporter, (struct place){ 0 }, "the file is empty")
                                           : problem_error(decoder->reporter, decoder->root->place,
                                                           "a configuration is keys with values");
    problem_help(problem, "it begins with: listeners: [ { address: 127.0.0.1:8080 } ]");
    return false;
}

void config_decode(struct decoder *decoder)
{
    if (!has_root(decoder))
        return;
    decode_map(decoder, &section_top, section_top.noun, decoder->root, decoder->config);
    if (!decoder->memory->failed)
        config_check(decoder);
    if (decoder->memory->failed)
        problem_error(decoder->reporter, (struct place){ 0 }, "out of memory");
}

/*
 * From the bytes of a YAML file to nodes, and from there to a configuration. The only file that knows libyaml.
 *
 * libyaml's events are read, not its documents: so nodes keep their places, and a file that means harm is met while it is
 * read. What it could do and what stands against it: endless or deep nesting (DEPTH_MAX), aliases of aliases of
 * aliases ("billion laughs": nodes are counted with aliases followed, NODES_MAX), an alias inside its own anchor, many
 * anchors (ANCHORS_MAX), huge texts (SCALAR_BYTES_MAX), bytes that are not text. Tags and merge keys are refused: they
 * would say something in a second language.
 */
#include <yaml.h>

#include "engine/base/check.h"
#include "engine/base/text.h"
#include "engine/config_decode.h"

#define DEPTH_MAX 32u
#define NODES_MAX 200000u
#define ANCHORS_MAX 1000u
#define SCALAR_BYTES_MAX (64u * 1024u)

struct anchor {
    struct slice name;
    struct node *node;
};

/* A list or map whose end has not come. */
struct frame {
    struct node *node;
    struct node *key; /* of a map, when its value comes next */
};

struct reader {
    yaml_parser_t parser;
    struct config_memory memory;
    struct reporter *reporter;
    struct node *root;
    struct frame frames[DEPTH_MAX];
    uint32_t depth;
    uint32_t nodes; /* with aliases followed */
    struct anchor anchors[ANCHORS_MAX];
    uint32_t anchor_count;
    uint32_t documents;
};

/* Bytes ----------------------------------------------------------------------------------------------------------- */

static void complain_of_bytes(struct reporter *reporter, struct place place, unsigned char byte, uint32_t character, bool utf8)
{
    if (!utf8) {
        struct config_problem *problem = problem_error(reporter, place, "the byte 0x%02x is not UTF-8", byte);
        problem_help(problem, "save the file as UTF-8");
    } else {
        problem_error(reporter, place, "a control character (U+%04X) in the file", (unsigned)character);
    }
}

/* The whole file is UTF-8 and printable, or its first bad place is told. */
static bool check_bytes(struct reporter *reporter)
{
    struct slice rest = reporter->text;
    struct place place = { 1, 1, 1 };
    while (rest.length) {
        uint32_t character = 0;
        unsigned broken = source_line_break(rest);
        unsigned bytes = broken ? broken : text_utf8_next(rest, &character);
        if (bytes == 0 || (!broken && text_unprintable(character))) {
            complain_of_bytes(reporter, place, (unsigned char)rest.at[0], character, bytes != 0);
            return false;
        }
        place.column = broken ? 1 : place.column + 1;
        place.line += broken != 0;
        rest = slice_of(rest.at + bytes, rest.length - bytes);
    }
    return true;
}

/* Nodes ----------------------------------------------------------------------------------------------------------- */

static struct place place_of(const yaml_mark_t *start, const yaml_mark_t *end)
{
    size_t width = end->line == start->line && end->column > start->column ? end->column - start->column : 1;
    return (struct place){ (uint32_t)start->line + 1, (uint32_t)start->column + 1, (uint32_t)width };
}

static bool out_of_memory(struct reader *reader)
{
    problem_error(reader->reporter, (struct place){ 0 }, "out of memory");
    return false;
}

/* Counts nodes, aliases followed. */
static bool count_nodes(struct reader *reader, struct place place, uint32_t nodes)
{
    if (nodes > NODES_MAX - reader->nodes) {
        problem_error(reader->reporter, place, "the file has more than %u values, aliases followed", NODES_MAX);
        return false;
    }
    reader->nodes += nodes;
    return true;
}

/* A complete child is counted in its parent. */
static void grow(struct node *parent, const struct node *child)
{
    parent->total += child->total;
    if (parent->height <= child->height)
        parent->height = child->height + 1;
}

static bool append(struct reader *reader, struct node *parent, struct node *key, struct node *value)
{
    struct node_child *child = config_memory_take(&reader->memory, sizeof *child);
    if (!child)
        return out_of_memory(reader);
    *child = (struct node_child){ key, value, NULL };
    *parent->tail = child;
    parent->tail = &child->next;
    parent->count++;
    if (key)
        grow(parent, key);
    if (!value->open)
        grow(parent, value);
    return true;
}

static bool check_key(struct reader *reader, const struct node *key, struct place place)
{
    if (key->kind != NODE_SCALAR) {
        problem_error(reader->reporter, place, "a key is a word, not a list or a map");
        return false;
    }
    if (key->plain && slice_equal(key->text, SLICE("<<"))) {
        problem_help(problem_error(reader->reporter, place, "merge keys (<<) are not read"), "write the keys out");
        return false;
    }
    return true;
}

/* Puts a node where it belongs: as the root, an item, a key, or a key's value. */
static bool place_node(struct reader *reader, struct node *node, struct place place)
{
    if (reader->depth == 0) {
        reader->root = node;
        return true;
    }
    struct frame *frame = &reader->frames[reader->depth - 1];
    if (frame->node->kind == NODE_LIST)
        return append(reader, frame->node, NULL, node);
    if (!frame->key) {
        frame->key = node;
        return check_key(reader, node, place);
    }
    struct node *key = frame->key;
    frame->key = NULL;
    return append(reader, frame->node, key, node);
}

static bool remember_anchor(struct reader *reader, const yaml_char_t *name, struct node *node)
{
    if (!name)
        return true;
    if (reader->anchor_count == ANCHORS_MAX) {
        problem_error(reader->reporter, node->place, "the file has more than %u anchors", ANCHORS_MAX);
        return false;
    }
    struct slice copy = config_memory_copy(&reader->memory, slice_of_text((const char *)name));
    if (!copy.at)
        return out_of_memory(reader);
    reader->anchors[reader->anchor_count++] = (struct anchor){ copy, node };
    return true;
}

static struct node *new_node(struct reader *reader, enum node_kind kind, const yaml_event_t *event, const yaml_char_t *tag)
{
    struct place place = place_of(&event->start_mark, &event->end_mark);
    if (tag) {
        problem_error(reader->reporter, place, "tags are not read: '%s'", quoted(slice_of_text((const char *)tag)).text);
        return NULL;
    }
    if (!count_nodes(reader, place, 1))
        return NULL;
    struct node *node = config_memory_take(&reader->memory, sizeof *node);
    if (!node) {
        out_of_memory(reader);
        return NULL;
    }
    node->kind = kind;
    node->place = place;
    node->total = 1;
    node->tail = &node->first;
    return node;
}

static bool read_scalar(struct reader *reader, const yaml_event_t *event)
{
    struct slice text = slice_of((const char *)event->data.scalar.value, event->data.scalar.length);
    struct node *node = new_node(reader, NODE_SCALAR, event, event->data.scalar.tag);
    if (!node)
        return false;
    if (text.length > SCALAR_BYTES_MAX) {
        problem_error(reader->reporter, node->place, "a text of more than %u bytes", SCALAR_BYTES_MAX);
        return false;
    }
    if (text.length && memchr(text.at, '\0', text.length)) {
        problem_error(reader->reporter, node->place, "a text with a NUL character");
        return false;
    }
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = config_memory_copy(&reader->memory, text);
    if (!node->text.at)
        return out_of_memory(reader);
    return remember_anchor(reader, event->data.scalar.anchor, node) && place_node(reader, node, node->place);
}

static bool begin(struct reader *reader, const yaml_event_t *event, enum node_kind kind, const yaml_char_t *tag,
                  const yaml_char_t *anchor)
{
    struct node *node = new_node(reader, kind, event, tag);
    if (!node)
        return false;
    if (reader->depth == DEPTH_MAX) {
        problem_error(reader->reporter, node->place, "lists and maps are nested more than %u deep", DEPTH_MAX);
        return false;
    }
    node->open = true;
    if (!remember_anchor(reader, anchor, node) || !place_node(reader, node, node->place))
        return false;
    reader->frames[reader->depth++] = (struct frame){ node, NULL };
    return true;
}

static bool end(struct reader *reader)
{
    struct node *node = reader->frames[--reader->depth].node;
    node->open = false;
    if (reader->depth)
        grow(reader->frames[reader->depth - 1].node, node);
    return true;
}

static bool follow_alias(struct reader *reader, const yaml_event_t *event)
{
    struct place place = place_of(&event->start_mark, &event->end_mark);
    struct slice name = slice_of_text((const char *)event->data.alias.anchor);
    struct node *node = NULL;
    for (uint32_t i = reader->anchor_count; i > 0 && !node; i--) {
        if (slice_equal(reader->anchors[i - 1].name, name))
            node = reader->anchors[i - 1].node;
    }
    const char *why = !node ? "there is no anchor of that name before it"
                      : node->open ? "it stands inside its own anchor"
                      : reader->depth + node->height > DEPTH_MAX ? "lists and maps would be nested too deep"
                                                                 : NULL;
    if (why) {
        problem_error(reader->reporter, place, "alias '%s': %s", quoted(name).text, why);
        return false;
    }
    return count_nodes(reader, place, node->total) && place_node(reader, node, place);
}

static bool begin_document(struct reader *reader, const yaml_event_t *event)
{
    if (reader->documents++ == 0)
        return true;
    struct place place = place_of(&event->start_mark, &event->end_mark);
    problem_error(reader->reporter, place, "a second document; a configuration is one");
    return false;
}

static bool read_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT: return begin_document(reader, event);
    case YAML_SCALAR_EVENT: return read_scalar(reader, event);
    case YAML_ALIAS_EVENT: return follow_alias(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        return begin(reader, event, NODE_LIST, event->data.sequence_start.tag, event->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        return begin(reader, event, NODE_MAP, event->data.mapping_start.tag, event->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return end(reader);
    default: return true;
    }
}

/* Reading --------------------------------------------------------------------------------------------------------- */

/* libyaml's words for it, with a hint for the slip that everyone makes. */
static void complain_of_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        out_of_memory(reader);
        return;
    }
    struct place place = place_of(&parser->problem_mark, &parser->problem_mark);
    struct config_problem *problem = problem_error(reader->reporter, place, "this is not YAML: %s", parser->problem);
    if (strcmp(parser->problem, "found character that cannot start any token") == 0)
        problem_help(problem, "YAML is indented with spaces, not tabs; texts that begin with @, ` or %% stand in quotes");
    else if (strcmp(parser->problem, "mapping values are not allowed in this context") == 0)
        problem_help(problem, "look at the indentation, and for a text with ': ' that should stand in quotes");
    bool elsewhere = parser->context_mark.index != parser->problem_mark.index;
    if (parser->context && elsewhere)
        problem_note(problem, place_of(&parser->context_mark, &parser->context_mark), "%s", parser->context);
}

static bool read_events(struct reader *reader)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) {
            complain_of_syntax(reader);
            return false;
        }
        bool at_end = event.type == YAML_STREAM_END_EVENT;
        bool well = read_event(reader, &event);
        yaml_event_delete(&event);
        if (!well || at_end)
            return well;
    }
}

static bool read_nodes(struct reader *reader)
{
    if (FAULT("config") || !yaml_parser_initialize(&reader->parser))
        return out_of_memory(reader);
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)reader->reporter->text.at, reader->reporter->text.length);
    bool well = read_events(reader);
    yaml_parser_delete(&reader->parser);
    return well;
}

static struct config *decode(struct reader *reader, const char *file_name)
{
    struct config *config = config_new();
    if (!config) {
        out_of_memory(reader);
        return NULL;
    }
    struct decoder decoder = {
        .config = config, .memory = config_memory_of(config), .reporter = reader->reporter, .root = reader->root,
    };
    config->file = config_memory_copy(decoder.memory, slice_of_text(file_name));
    config->text = config_memory_copy(decoder.memory, reader->reporter->text);
    config_decode(&decoder);
    if (reader->reporter->problems->errors) {
        config_free(config);
        return NULL;
    }
    return config;
}

static struct config *parse(struct reporter *reporter, const char *file_name)
{
    if (reporter->text.length > CONFIG_BYTES_MAX) {
        problem_error(reporter, (struct place){ 0 }, "the file has more than %u MiB", CONFIG_BYTES_MAX >> 20);
        return NULL;
    }
    if (!check_bytes(reporter))
        return NULL;
    struct reader *reader = FAULT("config") ? NULL : calloc(1, sizeof *reader);
    if (!reader) {
        problem_error(reporter, (struct place){ 0 }, "out of memory");
        return NULL;
    }
    reader->reporter = reporter;
    struct config *config = read_nodes(reader) ? decode(reader, file_name) : NULL;
    config_memory_release(&reader->memory);
    free(reader);
    return config;
}

struct config *config_parse(struct slice text, const char *file_name, struct config_problems *problems)
{
    *problems = (struct config_problems){ 0 };
    if (slice_starts(text, SLICE("\xef\xbb\xbf"))) /* a byte order mark says UTF-8, and nothing else */
        text = slice_of(text.at + 3, text.length - 3);
    struct reporter reporter = { .text = text, .problems = problems };
    struct config *config = parse(&reporter, file_name);
    problems_sort(problems);
    return config;
}

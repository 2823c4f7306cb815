/*
 * Two syntaxes, one table: the list of Cache-Control and the Dictionary of CDN-Cache-Control are both taken apart into a directive and an
 * argument, and take_directive is the only place that knows what these mean.
 *
 * A quoted string that does not end hides what stands behind it, and a no-store may be there. So behind its quote the rest of the
 * line is read once more, with every comma separating: once only, so that no line costs more than twice its length.
 */
#include "proto/cache_control.h"

#include "proto/structured.h"

#define BIT(directive) (1u << (directive))

enum argument_kind { SECONDS, NAMES, FORBIDS, PERMITS };

struct directive_row {
    struct slice name;
    enum argument_kind kind;
    uint32_t malformed;
};
#define DIRECTIVE_AS_ROW(id, name, kind, malformed) [id] = { { name, sizeof(name) - 1 }, kind, malformed },
static const struct directive_row rows[DIRECTIVES] = { DIRECTIVE_ROWS(DIRECTIVE_AS_ROW) };
_Static_assert(DIRECTIVES <= 32, "a bit each in `has`");

enum argument_form { ARGUMENT_NONE, ARGUMENT_TEXT, ARGUMENT_MALFORMED };

struct argument {
    enum argument_form form;
    struct slice text; /* without quotes */
};

/* What an argument means ------------------------------------------------------------------------------------------ */

static enum cache_directive directive_of(struct slice name)
{
    for (unsigned i = 0; i < DIRECTIVES; i++)
        if (rows[i].name.length == name.length && slice_equal_nocase(rows[i].name, name))
            return (enum cache_directive)i;
    return DIRECTIVES;
}

bool cache_control_seconds(struct slice text, uint32_t *seconds)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        value = u64_min(value * 10 + (uint64_t)(text.at[i] - '0'), CACHE_SECONDS_MAX);
    }
    if (text.length)
        *seconds = (uint32_t)value;
    return text.length > 0;
}

static uint32_t seconds_of(enum cache_directive directive, struct argument argument)
{
    uint32_t seconds = rows[directive].malformed;
    if (argument.form == ARGUMENT_NONE && directive == DIRECTIVE_MAX_STALE)
        return CACHE_SECONDS_ANY;
    if (argument.form == ARGUMENT_TEXT && !cache_control_seconds(argument.text, &seconds))
        return rows[directive].malformed;
    return seconds;
}

/* 1#field-name */
static bool is_name_list(struct argument argument)
{
    struct slice rest = argument.text, name;
    unsigned count = 0;
    while (slice_next_element(&rest, &name)) {
        if (!field_is_token(name))
            return false;
        count++;
    }
    return argument.form == ARGUMENT_TEXT && count > 0;
}

static bool list_names(struct slice list, struct slice wanted)
{
    struct slice name;
    while (slice_next_element(&list, &name))
        if (slice_equal_nocase(name, wanted))
            return true;
    return false;
}

static void take_directive(struct cache_control *control, enum cache_directive directive, struct argument argument)
{
    bool again = cache_control_has(control, directive);
    switch (rows[directive].kind) {
    case SECONDS: {
        uint32_t seconds = seconds_of(directive, argument);
        if (again && control->seconds[directive] != seconds)
            seconds = rows[directive].malformed;
        control->seconds[directive] = seconds;
        break;
    }
    case NAMES:
        if (is_name_list(argument)) {
            control->named |= BIT(directive);
            return;
        }
        break;
    case PERMITS:
        if (argument.form != ARGUMENT_NONE)
            return;
        break;
    case FORBIDS: break;
    }
    control->has |= BIT(directive);
}

/* Cache-Control: a list of token [ "=" ( token / quoted-string ) ] -------------------------------------------------- */

struct directive_text {
    struct slice name;
    struct argument argument;
};

static bool quotes_end(struct slice text, const char **first)
{
    bool quoted = false;
    *first = NULL;
    for (size_t i = 0; i < text.length; i++) {
        if (quoted && text.at[i] == '\\')
            i++;
        else if (text.at[i] == '"') {
            *first = *first ? *first : text.at + i;
            quoted = !quoted;
        }
    }
    return !quoted;
}

/* Between the quotes. One with a backslash is left as it is: nothing that an argument may be has need of it, and so it is malformed. */
static struct argument unquoted(struct slice text)
{
    bool quoted = text.length >= 2 && text.at[0] == '"' && text.at[text.length - 1] == '"';
    struct slice inner = quoted ? slice_of(text.at + 1, text.length - 2) : text;
    if (text.length == 0 || memchr(inner.at, '"', inner.length))
        return (struct argument){ ARGUMENT_MALFORMED, SLICE_NONE };
    if (!quoted && !field_is_token(text))
        return (struct argument){ ARGUMENT_MALFORMED, SLICE_NONE };
    return (struct argument){ ARGUMENT_TEXT, inner };
}

/* The name ends where a token does, so that "no-store; max-age=5" is heard as a no-store with something wrong behind it. */
static struct directive_text directive_text_of(struct slice element)
{
    size_t length = 0;
    while (length < element.length && field_is_token(slice_of(element.at + length, 1)))
        length++;
    struct directive_text directive = { .name = slice_of(element.at, length) };
    if (length == element.length)
        return directive;
    if (element.at[length] == '=')
        directive.argument = unquoted(slice_of(element.at + length + 1, element.length - length - 1));
    else
        directive.argument.form = ARGUMENT_MALFORMED;
    return directive;
}

/* The parts of a line. Once `plain`, commas separate wherever they stand. */
struct line {
    struct slice rest;
    bool plain;
};

static bool next_element(struct line *line, struct slice *element)
{
    if (line->plain) {
        const char *comma = line->rest.length ? memchr(line->rest.at, ',', line->rest.length) : NULL;
        size_t length = comma ? (size_t)(comma - line->rest.at) : line->rest.length, used = comma ? length + 1 : length;
        *element = slice_trim(slice_of(line->rest.at, length));
        bool more = line->rest.length > 0;
        line->rest = slice_of(line->rest.at + used, line->rest.length - used);
        return more;
    }
    const char *quote;
    if (!slice_next_element(&line->rest, element))
        return false;
    if (line->rest.length == 0 && !quotes_end(*element, &quote)) {
        size_t behind = (size_t)(quote + 1 - element->at);
        *line = (struct line){ slice_of(quote + 1, element->length - behind), true };
    }
    return true;
}

static void read_line(struct cache_control *control, struct slice value)
{
    struct line line = { value, false };
    struct slice element;
    while (next_element(&line, &element)) {
        struct directive_text text = directive_text_of(element);
        enum cache_directive directive = directive_of(text.name);
        if (directive != DIRECTIVES)
            take_directive(control, directive, text.argument);
    }
}

void cache_control_read(struct cache_control *control, const struct fields *fields)
{
    *control = (struct cache_control){ 0 };
    if (!fields_have(fields, FIELD_CACHE_CONTROL))
        return;
    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == FIELD_CACHE_CONTROL)
            read_line(control, field_value(&fields->list[i]));
}

void cache_control_read_request(struct cache_control *control, const struct fields *fields)
{
    cache_control_read(control, fields);
    if (fields_have(fields, FIELD_CACHE_CONTROL) || !fields_have(fields, FIELD_PRAGMA))
        return;
    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == FIELD_PRAGMA && list_names(field_value(&fields->list[i]), SLICE("no-cache")))
            control->has |= BIT(DIRECTIVE_NO_CACHE);
}

/* Surrogate-Control ------------------------------------------------------------------------------------------------- */

/* "60+600": the second number is how long it may be used when it is stale, while it is asked for anew. */
static void take_surrogate_age(struct cache_control *control, struct slice text)
{
    const char *plus = text.length ? memchr(text.at, '+', text.length) : NULL;
    if (!plus) {
        take_directive(control, DIRECTIVE_MAX_AGE, unquoted(text));
        return;
    }
    size_t length = (size_t)(plus - text.at);
    take_directive(control, DIRECTIVE_MAX_AGE, (struct argument){ ARGUMENT_TEXT, slice_of(text.at, length) });
    take_directive(control, DIRECTIVE_STALE_WHILE_REVALIDATE,
                   (struct argument){ ARGUMENT_TEXT, slice_of(plus + 1, text.length - length - 1) });
}

static void take_surrogate(struct cache_control *control, struct slice element)
{
    struct directive_text text = directive_text_of(element);
    enum cache_directive directive = directive_of(text.name);
    bool value = text.name.length < element.length && element.at[text.name.length] == '=';
    if (directive == DIRECTIVE_MAX_AGE && value)
        take_surrogate_age(control, slice_of(element.at + text.name.length + 1, element.length - text.name.length - 1));
    else if (directive != DIRECTIVES)
        take_directive(control, directive, text.argument);
}

static void read_surrogate(struct cache_control *control, const struct fields *fields)
{
    *control = (struct cache_control){ 0 };
    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != FIELD_SURROGATE_CONTROL)
            continue;
        struct line line = { field_value(&fields->list[i]), false };
        struct slice element;
        while (next_element(&line, &element))
            if (element.length && !memchr(element.at, ';', element.length))
                take_surrogate(control, element);
    }
}

/* CDN-Cache-Control (RFC 9213 2.1) -------------------------------------------------------------------------------------- */

static struct argument argument_of_item(enum cache_directive directive, const struct structured_item *item)
{
    struct argument malformed = { ARGUMENT_MALFORMED, SLICE_NONE };
    if (item->kind == STRUCTURED_BOOLEAN)
        return (struct argument){ ARGUMENT_NONE, SLICE_NONE };
    if (rows[directive].kind == SECONDS)
        return item->kind == STRUCTURED_INTEGER ? (struct argument){ ARGUMENT_TEXT, item->text } : malformed;
    return item->kind == STRUCTURED_STRING || item->kind == STRUCTURED_TOKEN
               ? (struct argument){ ARGUMENT_TEXT, item->text }
               : malformed;
}

static void visit_targeted(void *argument, struct slice key, const struct structured_item *item)
{
    struct cache_control *control = argument;
    enum cache_directive directive = directive_of(key);
    if (directive == DIRECTIVES)
        return;
    control->has &= ~BIT(directive); /* the last of several counts */
    control->named &= ~BIT(directive);
    if (item->kind != STRUCTURED_BOOLEAN || item->boolean)
        take_directive(control, directive, argument_of_item(directive, item));
}

enum field_id cache_control_select(struct cache_control *control, const struct fields *response)
{
    *control = (struct cache_control){ 0 };
    if (structured_dictionary(response, FIELD_CDN_CACHE_CONTROL, visit_targeted, control) == ERR_OK)
        return FIELD_CDN_CACHE_CONTROL;
    if (fields_have(response, FIELD_SURROGATE_CONTROL)) {
        read_surrogate(control, response);
        if (control->has | control->named)
            return FIELD_SURROGATE_CONTROL;
    }
    cache_control_read(control, response);
    return FIELD_CACHE_CONTROL;
}

/* Names --------------------------------------------------------------------------------------------------------- */

struct naming {
    enum cache_directive directive;
    struct slice name;
    bool found;
};

static void visit_names(void *argument, struct slice key, const struct structured_item *item)
{
    struct naming *naming = argument;
    if (directive_of(key) != naming->directive)
        return;
    struct argument names = argument_of_item(naming->directive, item);
    naming->found = is_name_list(names) && list_names(names.text, naming->name);
}

static bool line_names(struct slice value, const struct naming *naming)
{
    struct line line = { value, false };
    struct slice element;
    while (next_element(&line, &element)) {
        struct directive_text text = directive_text_of(element);
        if (directive_of(text.name) == naming->directive && is_name_list(text.argument) &&
            list_names(text.argument.text, naming->name))
            return true;
    }
    return false;
}

bool cache_control_names(const struct fields *response, enum field_id id, enum cache_directive directive,
                         struct slice name)
{
    struct naming naming = { directive, name, false };
    if (id == FIELD_CDN_CACHE_CONTROL)
        return structured_dictionary(response, id, visit_names, &naming) == ERR_OK && naming.found;
    for (unsigned i = 0; i < response->count; i++)
        if (response->list[i].id == id && line_names(field_value(&response->list[i]), &naming))
            return true;
    return false;
}

/*
 * The table of rows for other readers: as a JSON Schema (2020-12), with which editors complete and check a file while it is
 * written, and as the list of keys in the manual page.
 *
 * The schema is for the file as people write it. It cannot say all that `weir check` says; it never refuses what weir
 * takes.
 */
#include <stdio.h>

#include "engine/base/text.h"
#include "engine/config_rows.h"
#include "engine/config_value.h"

/* JSON Schema ----------------------------------------------------------------------------------------------------- */

typedef void schema_function(const struct row *row, struct text *out);
static schema_function *const schema_functions[ROW_TYPES];
static void schema_section(const struct section *section, struct text *out);

static void add_text(const char *key, const char *value, struct text *out)
{
    text_format(out, ",\"%s\":", key);
    text_json_string(out, slice_of_text(value));
}

/* An editor's YAML may take unquoted words and numbers for booleans and numbers: texts allow them. */
static void schema_text(const struct row *row, struct text *out)
{
    (void)row;
    text_add(out, SLICE("\"type\":[\"string\",\"number\",\"boolean\"]"));
}

static void schema_flag(const struct row *row, struct text *out)
{
    (void)row;
    text_add(out, SLICE("\"enum\":[true,false,\"true\",\"false\",\"yes\",\"no\",\"on\",\"off\"]"));
}

/* "off" is false to some YAML readers, "on" true. */
static void add_zero(const char *zero, struct text *out)
{
    text_add(out, SLICE(",{\"const\":"));
    text_json_string(out, slice_of_text(zero));
    text_add(out, strcmp(zero, "off") == 0 ? SLICE("},{\"const\":false}") : SLICE("}"));
}

static void schema_count(const struct row *row, struct text *out)
{
    uint64_t least = row->zero && row->least == 0 ? 1 : row->least;
    text_format(out, "\"anyOf\":[{\"type\":\"integer\",\"minimum\":%llu,\"maximum\":%llu}", (unsigned long long)least,
                (unsigned long long)row->most);
    text_add(out, SLICE(",{\"type\":\"string\",\"pattern\":\"^[0-9]+$\"}"));
    if (row->zero)
        add_zero(row->zero, out);
    text_add(out, SLICE("]"));
}

static void schema_pattern(const struct row *row, const char *pattern, struct text *out)
{
    text_format(out, "\"anyOf\":[{\"type\":\"string\",\"pattern\":\"%s\"}", pattern);
    if (row->zero)
        add_zero(row->zero, out);
    text_add(out, SLICE("]"));
}

static void schema_duration(const struct row *row, struct text *out)
{
    schema_pattern(row, "^[0-9]+ *(ms|s|m|h|d)$", out);
}

static void schema_seconds(const struct row *row, struct text *out)
{
    schema_pattern(row, "^[0-9]+ *(s|m|h|d)$", out);
}

static void schema_microseconds(const struct row *row, struct text *out)
{
    schema_pattern(row, "^[0-9]+ *us$", out);
}

static void schema_size(const struct row *row, struct text *out)
{
    schema_pattern(row, "^[0-9]+ *(B|[KMGT]iB|[kKMGT]B)$", out);
}

static void schema_percent(const struct row *row, struct text *out)
{
    schema_pattern(row, "^[0-9]+ *%$", out);
}

static void schema_hundredths(const struct row *row, struct text *out)
{
    text_format(out, "\"anyOf\":[{\"type\":\"number\",\"minimum\":%llu.%02llu,\"maximum\":%llu.%02llu}", (unsigned long long)(row->least / 100),
                (unsigned long long)(row->least % 100), (unsigned long long)(row->most / 100), (unsigned long long)(row->most % 100));
    text_add(out, SLICE(",{\"type\":\"string\",\"pattern\":\"^[0-9]+([.][0-9]{1,2})?$\"}]"));
}

static void schema_mode(const struct row *row, struct text *out)
{
    (void)row;
    text_add(out, SLICE("\"anyOf\":[{\"type\":\"string\",\"pattern\":\"^0[0-7]{3}$\"},{\"type\":\"integer\"}]"));
}

/* A word that looks like a number is one to most YAML readers. */
static void schema_word(const struct row *row, struct text *out)
{
    text_add(out, SLICE("\"enum\":["));
    for (size_t i = 0; row->words[i].word; i++) {
        const char *word = row->words[i].word;
        if (i)
            text_add(out, SLICE(","));
        text_json_string(out, slice_of_text(word));
        if (word[0] >= '0' && word[0] <= '9')
            text_format(out, ",%s", word);
    }
    text_add(out, SLICE("]"));
}

/* One, a list, or the word for all. */
static void schema_words(const struct row *row, struct text *out)
{
    text_add(out, SLICE("\"anyOf\":[{"));
    schema_word(row, out);
    text_add(out, SLICE("},{\"const\":\"all\"},{\"type\":\"array\",\"minItems\":1,\"uniqueItems\":true,\"items\":{"));
    schema_word(row, out);
    text_add(out, SLICE("}}]"));
}

static void schema_forwarded(const struct row *row, struct text *out)
{
    (void)row;
    text_add(out, SLICE("\"enum\":[\"x\",\"rfc7239\",\"both\",\"off\",false]"));
}

#define ONE_STATUS                                                                                                     \
    "{\"type\":\"string\",\"pattern\":\"^[2-5][0-9]{2}(-[2-5][0-9]{2})?$\"},{\"type\":\"integer\",\"minimum\":200,\"maximum\":599}"

static void schema_status_range(const struct row *row, struct text *out)
{
    text_format(out, "\"anyOf\":[%s", ONE_STATUS);
    if (row->zero)
        text_format(out, ",{\"const\":\"%s\"}", row->zero);
    text_add(out, SLICE("]"));
}

static void schema_statuses(const struct row *row, struct text *out)
{
    text_format(out, "\"anyOf\":[%s,{\"type\":\"array\",\"minItems\":1,\"maxItems\":%llu,\"items\":{\"anyOf\":[%s]}}]", ONE_STATUS,
                (unsigned long long)row->most, ONE_STATUS);
}

/* May be empty: the path alone is the key then. */
static void schema_cache_key(const struct row *row, struct text *out)
{
    static const char *const part = "{\"type\":\"string\",\"pattern\":\"^(query|(param|header|cookie):.+)$\"}";
    text_format(out, "\"anyOf\":[%s,{\"type\":\"array\",\"maxItems\":%llu,\"items\":%s}]", part, (unsigned long long)row->most, part);
}

static void schema_ttls(const struct row *row, struct text *out)
{
    text_format(out, "\"type\":\"object\",\"minProperties\":1,\"maxProperties\":%llu,\"additionalProperties\":false,"
                     "\"patternProperties\":{\"^[2-5][0-9]{2}(-[2-5][0-9]{2})?$\":{\"type\":\"string\",\"pattern\":\"^[0-9]+ *(s|m|h|d)$\"}}",
                (unsigned long long)row->most);
}

static void schema_hash_key(const struct row *row, struct text *out)
{
    (void)row;
    text_add(out, SLICE("\"type\":\"string\",\"pattern\":\"^(uri|path|host|client-address|(header|cookie|query):.+)$\""));
}

static void schema_texts(const struct row *row, struct text *out)
{
    text_format(out, "\"anyOf\":[{\"$ref\":\"#/$defs/text\"},{\"type\":\"array\",\"minItems\":1,\"maxItems\":%llu,"
                     "\"items\":{\"$ref\":\"#/$defs/text\"}}]", (unsigned long long)row->most);
}

static void schema_fields(const struct row *row, struct text *out)
{
    (void)row;
    text_add(out, SLICE("\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":{\"anyOf\":[{\"$ref\":\"#/$defs/text\"},"
                        "{\"type\":\"array\",\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/text\"}},"
                        "{\"type\":\"object\",\"properties\":{\"present\":{}},\"required\":[\"present\"],"
                        "\"additionalProperties\":false}]}"));
}

static void schema_edits(const struct row *row, struct text *out)
{
    text_add(out, SLICE("\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":"));
    if (row->type == TYPE_EDIT_ADD)
        text_add(out, SLICE("{\"anyOf\":[{\"$ref\":\"#/$defs/text\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/text\"}}]}"));
    else
        text_add(out, SLICE("{\"$ref\":\"#/$defs/text\"}"));
}

static void schema_nested(const struct row *row, struct text *out)
{
    const char *alone = row->section->scalar_key;
    const struct row *inner = alone ? section_row(row->section, slice_of_text(alone)) : NULL;
    if (!inner) {
        schema_section(row->section, out);
        return;
    }
    text_add(out, SLICE("\"anyOf\":[{"));
    schema_functions[inner->type](inner, out);
    text_add(out, SLICE("},{"));
    schema_section(row->section, out);
    text_add(out, SLICE("}]"));
}

static void schema_item(const struct section *section, struct text *out)
{
    if (!section->scalar_key) {
        schema_section(section, out);
        return;
    }
    text_add(out, SLICE("\"anyOf\":[{\"type\":\"string\"},{"));
    schema_section(section, out);
    text_add(out, SLICE("}]"));
}

static void schema_list(const struct row *row, struct text *out)
{
    if (row->section->scalar_key) /* one of them may stand alone */
        text_add(out, SLICE("\"anyOf\":[{\"type\":\"string\"},{"));
    text_format(out, "\"type\":\"array\",\"minItems\":%llu,\"maxItems\":%llu,\"items\":{", (unsigned long long)row->least,
                (unsigned long long)row->most);
    schema_item(row->section, out);
    text_add(out, row->section->scalar_key ? SLICE("}}]") : SLICE("}"));
}

static void schema_named(const struct row *row, struct text *out)
{
    text_format(out, "\"type\":\"object\",\"minProperties\":%llu,\"maxProperties\":%llu,\"additionalProperties\":{",
                (unsigned long long)row->least, (unsigned long long)row->most);
    schema_section(row->section, out);
    text_add(out, SLICE("}"));
}

static schema_function *const schema_functions[ROW_TYPES] = {
    [TYPE_FLAG] = schema_flag,
    [TYPE_COUNT] = schema_count,
    [TYPE_DURATION] = schema_duration,
    [TYPE_SECONDS] = schema_seconds,
    [TYPE_MICROSECONDS] = schema_microseconds,
    [TYPE_SIZE] = schema_size,
    [TYPE_PERCENT] = schema_percent,
    [TYPE_HUNDREDTHS] = schema_hundredths,
    [TYPE_MODE] = schema_mode,
    [TYPE_WORD] = schema_word,
    [TYPE_TEXT] = schema_text,
    [TYPE_NAME] = schema_text,
    [TYPE_PREFIX] = schema_text,
    [TYPE_LISTEN_ADDRESS] = schema_text,
    [TYPE_SERVER_ADDRESS] = schema_text,
    [TYPE_NETWORKS] = schema_texts,
    [TYPE_NAME_SERVERS] = schema_texts,
    [TYPE_FORWARDED] = schema_forwarded,
    [TYPE_STATUS_RANGE] = schema_status_range,
    [TYPE_STATUSES] = schema_statuses,
    [TYPE_HASH_KEY] = schema_hash_key,
    [TYPE_POOL] = schema_text,
    [TYPE_HOSTS] = schema_texts,
    [TYPE_PATHS] = schema_texts,
    [TYPE_METHODS] = schema_texts,
    [TYPE_FIELDS] = schema_fields,
    [TYPE_LOCATION] = schema_text,
    [TYPE_EDIT_SET] = schema_edits,
    [TYPE_EDIT_ADD] = schema_edits,
    [TYPE_EDIT_REMOVE] = schema_texts,
    [TYPE_WORDS] = schema_words,
    [TYPE_SERVER_NAMES] = schema_texts,
    [TYPE_MEDIA_TYPES] = schema_texts,
    [TYPE_FIELD_NAMES] = schema_texts,
    [TYPE_GLOBS] = schema_texts,
    [TYPE_TAGS] = schema_texts,
    [TYPE_PROTOCOLS] = schema_texts,
    [TYPE_CACHE_KEY] = schema_cache_key,
    [TYPE_TTLS] = schema_ttls,
    [TYPE_DESTINATIONS] = schema_texts,
    [TYPE_PORTS] = schema_texts,
    [TYPE_SECTION] = schema_nested,
    [TYPE_LIST] = schema_list,
    [TYPE_NAMED] = schema_named,
};

/* What belongs to one row, without braces. The default is said in words: its type in JSON is the file's own affair. */
static void schema_row(const struct row *row, struct text *out)
{
    char doc[512];
    const char *sentence = row->doc ? row->doc : row->section->doc;
    schema_functions[row->type](row, out);
    snprintf(doc, sizeof doc, row->usual ? "%s Default: %s." : "%s", sentence, row->usual);
    add_text("description", doc, out);
}

static void schema_properties(const struct section *section, struct text *out)
{
    text_add(out, SLICE("\"properties\":{"));
    for (uint32_t i = 0, written = 0; i < section->row_count; i++) {
        const struct row *row = &section->rows[i];
        if (row->type == TYPE_LATER)
            continue;
        text_format(out, "%s\n\"%s\":{", written++ ? "," : "", row->word);
        schema_row(row, out);
        text_add(out, SLICE("}"));
    }
    text_add(out, SLICE("}"));
}

static void schema_required(const struct section *section, struct text *out)
{
    unsigned written = 0;
    for (uint32_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].required)
            text_format(out, "%s\"%s\"", written++ ? "," : ",\"required\":[", section->rows[i].word);
    }
    if (written)
        text_add(out, SLICE("]"));
}

static void schema_section(const struct section *section, struct text *out)
{
    text_add(out, SLICE("\"type\":\"object\",\"additionalProperties\":false,"));
    schema_properties(section, out);
    schema_required(section, out);
    if (section == &section_route)
        text_add(out, SLICE(",\"oneOf\":[{\"required\":[\"pool\"]},{\"required\":[\"respond\"]},{\"required\":[\"redirect\"]}]"));
}

void config_schema(struct text *out)
{
    text_add(out, SLICE("{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"weir.yaml\""));
    add_text("description", section_top.doc, out);
    text_add(out, SLICE(",\"$defs\":{\"text\":{"));
    schema_text(NULL, out);
    text_add(out, SLICE("}},\n"));
    schema_section(&section_top, out);
    text_add(out, SLICE("}\n"));
}

/* Manual ---------------------------------------------------------------------------------------------------------- */

static void manual_section(const struct section *section, const char *path, struct text *out);

/* Text for troff: a backslash and a hyphen are escaped, and no line begins with a dot or quote. */
static void add_troff(const char *text, struct text *out)
{
    for (const char *c = text; *c; c++) {
        if (c == text && (*c == '.' || *c == '\''))
            text_add(out, SLICE("\\&"));
        if (*c == '\\')
            text_add(out, SLICE("\\e"));
        else if (*c == '-')
            text_add(out, SLICE("\\-"));
        else
            text_add(out, slice_of(c, 1));
    }
}

static void manual_bounds(const struct row *row, struct text *out)
{
    static void (*const writers[ROW_TYPES])(uint64_t value, char text[VALUE_TEXT_BYTES]) = {
        [TYPE_COUNT] = value_write_count,
        [TYPE_DURATION] = value_write_milliseconds,
        [TYPE_SECONDS] = value_write_seconds,
        [TYPE_MICROSECONDS] = value_write_microseconds,
        [TYPE_SIZE] = value_write_size,
        [TYPE_PERCENT] = value_write_percent,
        [TYPE_HUNDREDTHS] = value_write_hundredths,
    };
    char least[VALUE_TEXT_BYTES], most[VALUE_TEXT_BYTES];
    if (!writers[row->type] || row->most >= UINT32_MAX)
        return;
    writers[row->type](row->zero && row->least == 0 ? 1 : row->least, least);
    writers[row->type](row->most, most);
    text_format(out, ", %s to %s", least, most);
    if (row->zero)
        text_format(out, ", or %s", row->zero);
}

static void manual_words(const struct row *row, struct text *out)
{
    if (row->type != TYPE_WORD && row->type != TYPE_WORDS) {
        text_add(out, slice_of_text(row_type_noun(row->type)));
        return;
    }
    for (size_t i = 0; row->words[i].word; i++) {
        text_add(out, i ? SLICE(" | ") : SLICE(""));
        add_troff(row->words[i].word, out);
    }
}

static void manual_key(const struct row *row, struct text *out)
{
    text_add(out, SLICE(".TP\n\\fB"));
    add_troff(row->word, out);
    text_add(out, SLICE("\\fR ("));
    manual_words(row, out);
    manual_bounds(row, out);
    if (row->required)
        text_add(out, SLICE(", required"));
    if (row->usual) {
        text_add(out, SLICE("; default: "));
        add_troff(row->usual, out);
    }
    text_add(out, SLICE(")\n"));
    add_troff(row->doc ? row->doc : row->section->doc, out);
    text_add(out, SLICE("\n"));
    if (row->reload == RELOAD_RESTART)
        text_add(out, SLICE("Changing it needs a restart.\n"));
}

/* Keys first, then a heading for each section below. */
static void manual_section(const struct section *section, const char *path, struct text *out)
{
    char inner[160];
    for (uint32_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].type != TYPE_LATER)
            manual_key(&section->rows[i], out);
    }
    for (uint32_t i = 0; i < section->row_count; i++) {
        const struct row *row = &section->rows[i];
        if (!row->section)
            continue;
        snprintf(inner, sizeof inner, "%s%s%s", path, row->word, row->type == TYPE_LIST ? "[]." : row->type == TYPE_NAMED ? ".NAME." : ".");
        text_add(out, SLICE(".SS "));
        add_troff(slice_of_text(inner).at, out);
        text_add(out, SLICE("\n"));
        add_troff(row->section->doc, out);
        text_add(out, SLICE("\n"));
        manual_section(row->section, inner, out);
    }
}

void config_manual(struct text *out)
{
    manual_section(&section_top, "", out);
}

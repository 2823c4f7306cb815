#include "tests/unit/engine/config_fixture.h"

#include <ctype.h>

#include "engine/config_rows.h"

/* The table itself, and what is made from it alone: schema and manual. */

typedef void visit_function(const struct section *section, const struct row *row, void *argument);

static void visit(const struct section *section, visit_function *function, void *argument)
{
    for (uint32_t i = 0; i < section->row_count; i++) {
        function(section, &section->rows[i], argument);
        if (section->rows[i].section)
            visit(section->rows[i].section, function, argument);
    }
}

static void check_row(const struct section *section, const struct row *row, void *argument)
{
    (void)argument;
    cr_assert_leq(section->row_count, 64, "%s: a bit each", section->noun);
    cr_expect(row->doc || (row->section && row->section->doc), "%s: no sentence", row->word);
    cr_expect_eq(section_row(section, slice_of_text(row->word)), row, "%s: stands twice", row->word);
    cr_expect(!row->required || row->example, "%s: no example", row->word);
    cr_expect((row->section != NULL) == (row->type == TYPE_SECTION || row->type == TYPE_LIST || row->type == TYPE_NAMED), "%s", row->word);
    cr_expect(row->least <= row->most, "%s", row->word);
    cr_expect((row->words != NULL) == (row->type == TYPE_WORD || row->type == TYPE_WORDS), "%s", row->word);
    for (const char *c = row->word; *c; c++)
        cr_expect(islower((unsigned char)*c) || *c == '-', "%s: words are lower case with hyphens", row->word);
}

Test(config_rows, each_is_complete)
{
    visit(&section_top, check_row, NULL);
}

static void check_sentence(const struct section *section, const struct row *row, void *argument)
{
    (void)section;
    (void)argument;
    const char *doc = row->doc ? row->doc : row->section->doc;
    size_t length = strlen(doc);
    if (row->type != TYPE_LATER && length)
        cr_expect(doc[length - 1] == '.' || doc[length - 1] == '}', "%s: \"%s\" is no sentence", row->word, doc);
}

Test(config_rows, each_has_a_sentence)
{
    visit(&section_top, check_sentence, NULL);
}

static void check_number(const struct section *section, const struct row *row, void *argument)
{
    (void)section;
    (void)argument;
    bool number = row->type == TYPE_COUNT || row->type == TYPE_DURATION || row->type == TYPE_SECONDS || row->type == TYPE_MICROSECONDS || row->type == TYPE_SIZE ||
                  row->type == TYPE_PERCENT || row->type == TYPE_HUNDREDTHS || row->type == TYPE_MODE;
    if (!number)
        return;
    cr_expect(row->member_bytes == 4 || row->member_bytes == 8, "%s", row->word);
    cr_expect(row->member_bytes == 8 || row->most <= UINT32_MAX, "%s: does not fit its member", row->word);
    cr_expect(row->usual, "%s: no default", row->word);
    cr_expect(row->most > 0, "%s: no bound", row->word);
}

Test(config_rows, numbers_fit_their_members_and_have_bounds)
{
    visit(&section_top, check_number, NULL);
}

static void check_named(const struct section *section, const struct row *row, void *argument)
{
    const char *file = argument;
    char key[64];
    (void)section;
    snprintf(key, sizeof key, "%s:", row->word);
    if (row->type != TYPE_LATER)
        cr_expect(strstr(file, key), "tests/cases/full.yaml has no '%s'", row->word);
}

Test(config_rows, each_stands_in_the_full_file)
{
    struct slice file = read_whole("tests/cases/full.yaml");
    visit(&section_top, check_named, (void *)(uintptr_t)file.at);
    whole_release(file);
}

static void check_in_manual(const struct section *section, const struct row *row, void *argument)
{
    const char *manual = argument;
    char key[128] = "\\fB";
    size_t length = 3;
    (void)section;
    for (const char *c = row->word; *c; c++)
        length += (size_t)snprintf(key + length, sizeof key - length, *c == '-' ? "\\-" : "%c", *c);
    snprintf(key + length, sizeof key - length, "\\fR");
    if (row->type != TYPE_LATER)
        cr_expect(strstr(manual, key), "%s", row->word);
}

Test(config_rows, manual_has_each)
{
    struct text manual = { 0 };
    config_manual(&manual);
    cr_assert_not(manual.failed);
    visit(&section_top, check_in_manual, manual.at);
    text_release(&manual);
}

/* Brackets outside strings close what they opened: enough to see a slip here; tools read the schema in earnest. */
Test(config_rows, schema_is_balanced)
{
    struct text schema = { 0 };
    char open[64];
    size_t depth = 0;
    bool quoted = false;
    config_schema(&schema);
    cr_assert_not(schema.failed);
    for (const char *c = schema.at; *c; c++) {
        if (*c == '\\')
            c++;
        else if (*c == '"')
            quoted = !quoted;
        else if (!quoted && (*c == '{' || *c == '['))
            open[depth++] = *c;
        else if (!quoted && (*c == '}' || *c == ']'))
            cr_assert(depth > 0 && open[--depth] == (*c == '}' ? '{' : '['));
        cr_assert_lt(depth, sizeof open);
    }
    cr_assert_eq(depth, 0);
    cr_assert_not(quoted);
    text_release(&schema);
}

static void check_in_schema(const struct section *section, const struct row *row, void *argument)
{
    const char *schema = argument;
    char key[64];
    (void)section;
    snprintf(key, sizeof key, "\"%s\":{", row->word);
    if (row->type != TYPE_LATER)
        cr_expect(strstr(schema, key), "%s", row->word);
}

Test(config_rows, schema_has_each)
{
    struct text schema = { 0 };
    config_schema(&schema);
    visit(&section_top, check_in_schema, schema.at);
    text_release(&schema);
}

#include "tests/unit/engine/config_fixture.h"

#include "engine/config_problem.h"

static struct config_problems problems;
static struct reporter reporter; /* holds what goes beyond the cap */

static struct config_problem *problem_at(struct slice file, uint32_t line, uint32_t column, uint32_t width)
{
    reporter = (struct reporter){ .text = file, .problems = &problems };
    return problem_error(&reporter, (struct place){ line, column, width }, "something is wrong");
}

static void prints(const char *wanted)
{
    struct text text = problems_text(&problems);
    cr_assert_str_eq(text_slice(&text).at, wanted);
    text_release(&text);
}

/* Source lines ---------------------------------------------------------------------------------------------------- */

Test(config_problem, shows_place_line_and_caret)
{
    problem_at(SLICE("one\ntwo: three\n"), 2, 6, 5);
    prints("weir.yaml:2:6: error: something is wrong\n"
           "    2 | two: three\n"
           "      |      ^^^^^\n");
}

Test(config_problem, caret_stays_within_the_line)
{
    problem_at(SLICE("ab"), 1, 2, 100);
    prints("weir.yaml:1:2: error: something is wrong\n"
           "    1 | ab\n"
           "      |  ^\n");
    problems.count = 0;
    problem_at(SLICE("ab"), 1, 3, 1); /* behind the end: what is missing there */
    prints("weir.yaml:1:3: error: something is wrong\n"
           "    1 | ab\n"
           "      |   ^\n");
}

Test(config_problem, counts_characters_not_bytes)
{
    problem_at(SLICE("h\xc3\xa4\xc3\xa4\xc3\xa4: x"), 1, 7, 1);
    prints("weir.yaml:1:7: error: something is wrong\n"
           "    1 | h\xc3\xa4\xc3\xa4\xc3\xa4: x\n"
           "      |       ^\n");
}

Test(config_problem, tabs_and_unprintable_bytes_take_one_column)
{
    problem_at(SLICE("\ta\x01\xff: x"), 1, 6, 1);
    prints("weir.yaml:1:6: error: something is wrong\n"
           "    1 |  a??: x\n"
           "      |      ^\n");
}

Test(config_problem, of_a_long_line_shows_the_part_around_the_place)
{
    struct text line = { 0 };
    for (unsigned i = 0; i < 40; i++)
        text_format(&line, "%05u", i);
    struct config_problem *problem = problem_at(text_slice(&line), 1, 151, 5);
    cr_assert_eq(strlen(problem->source), 90); /* from column 111 to the end at 200 */
    cr_assert_eq(strncmp(problem->source + problem->caret, "00030", 5), 0);
    cr_assert_eq(problem->column, 151);
    text_release(&line);
}

Test(config_problem, of_a_long_line_of_wide_characters_too)
{
    struct text line = { 0 };
    for (unsigned i = 0; i < 200; i++)
        text_add(&line, SLICE("\xf0\x9f\x8c\x8a"));
    struct config_problem *problem = problem_at(text_slice(&line), 1, 101, 5);
    cr_assert_leq(strlen(problem->source), sizeof problem->source - 1);
    cr_assert_eq(strlen(problem->source) % 4, 0, "a character is not cut");
    struct text text = problems_text(&problems);
    cr_assert(strstr(text.at, "^\n"));
    text_release(&text);
    text_release(&line);
}

Test(config_problem, knows_every_line_break)
{
    static const char *const breaks[] = { "\n", "\r\n", "\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9" };
    for (size_t i = 0; i < ARRAY_LENGTH(breaks); i++) {
        struct text file = { 0 };
        text_format(&file, "one%stwo%s%sfour", breaks[i], breaks[i], breaks[i]);
        cr_expect_str_eq(problem_at(text_slice(&file), 2, 1, 1)->source, "two");
        cr_expect_str_eq(problem_at(text_slice(&file), 4, 1, 1)->source, "four");
        cr_expect_str_eq(problem_at(text_slice(&file), 9, 1, 1)->source, "");
        text_release(&file);
    }
}

/* Lists of problems ----------------------------------------------------------------------------------------------- */

Test(config_problem, help_and_note_follow)
{
    struct config_problem *problem = problem_at(SLICE("a: 1"), 1, 1, 1);
    problem_help(problem, "did you mean '%s'?", "b");
    problem_note(problem, (struct place){ 7, 3, 1 }, "it stands here first");
    prints("weir.yaml:1:1: error: something is wrong\n"
           "    1 | a: 1\n"
           "      | ^\n"
           "      help: did you mean 'b'?\n"
           "      note: weir.yaml:7:3: it stands here first\n");
}

Test(config_problem, beyond_the_cap_they_are_counted)
{
    for (unsigned i = 0; i < CONFIG_PROBLEMS_MAX + 3; i++)
        problem_help(problem_at(SLICE("a"), 0, 0, 0), "write on, no harm is done");
    cr_assert_eq(problems.count, CONFIG_PROBLEMS_MAX);
    cr_assert_eq(problems.more, 3);
    cr_assert_eq(problems.errors, CONFIG_PROBLEMS_MAX + 3);
    struct text text = problems_text(&problems);
    cr_assert(strstr(text.at, "weir.yaml: and 3 more\n"));
    text_release(&text);
}

Test(config_problem, come_in_the_order_of_the_file_and_without_place_last)
{
    static const uint32_t lines[] = { 3, 0, 1, 2 };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        problem_at(SLICE("a\nb\nc\n"), lines[i], 1, 1);
    problems_sort(&problems);
    cr_assert_eq(problems.list[0].line, 1);
    cr_assert_eq(problems.list[2].line, 3);
    cr_assert_eq(problems.list[3].line, 0);
}

Test(config_problem, a_warning_is_no_error)
{
    reporter = (struct reporter){ .text = SLICE("a"), .problems = &problems };
    problem_warning(&reporter, (struct place){ 0 }, "look");
    cr_assert_eq(problems.errors, 0);
    prints("weir.yaml: warning: look\n");
}

Test(config_problem, colours_only_when_asked)
{
    struct text text = { 0 };
    problem_at(SLICE("a"), 1, 1, 1);
    config_problems_print(&problems, "weir.yaml", true, &text);
    cr_assert(strstr(text.at, "\033[1;31m"));
    cr_assert(strstr(text.at, "\033[0m"));
    text_release(&text);
}

Test(config_problem, as_json)
{
    struct text text = { 0 };
    struct config_problem *problem = problem_at(SLICE("a: \"1\""), 1, 4, 3);
    problem_note(problem, (struct place){ 7, 3, 1 }, "here");
    problem_at(SLICE("a"), 0, 0, 0);
    config_problems_json(&problems, "weir.yaml", &text);
    cr_assert_str_eq(text.at, "{\"problems\":[{\"severity\":\"error\",\"file\":\"weir.yaml\",\"line\":1,\"column\":4,\"width\":3,"
                              "\"message\":\"something is wrong\",\"note\":{\"line\":7,\"column\":3,\"message\":\"here\"},"
                              "\"source\":\"a: \\\"1\\\"\"},"
                              "{\"severity\":\"error\",\"file\":\"weir.yaml\",\"message\":\"something is wrong\"}],\"errors\":2,\"more\":0}\n");
    text_release(&text);
}

/* Words ----------------------------------------------------------------------------------------------------------- */

static void is_quoted(struct slice bytes, const char *wanted)
{
    cr_expect_str_eq(quoted(bytes).text, wanted);
}

Test(config_problem, quotes_hostile_bytes)
{
    is_quoted(SLICE("plain"), "plain");
    is_quoted(SLICE_NONE, "");
    is_quoted(SLICE("a\x1b[31m\n\xff"), "a\\x1b[31m\\x0a\\xff");
    is_quoted(SLICE("h\xc3\xa4"), "h\xc3\xa4");
}

Test(config_problem, cuts_long_quotes_between_characters)
{
    char text[256];
    memset(text, 'x', sizeof text);
    struct quoted made = quoted(slice_of(text, sizeof text));
    cr_assert_lt(strlen(made.text), sizeof made.text);
    cr_assert_str_eq(made.text + strlen(made.text) - 4, "x...");
}

static const char *nearest_of(const char *written)
{
    struct nearest nearest = nearest_to(slice_of_text(written));
    nearest_offer(&nearest, SLICE("address"));
    nearest_offer(&nearest, SLICE("max-connections"));
    nearest_offer(&nearest, SLICE("app"));
    return nearest.best.at ? nearest.best.at : "";
}

Test(config_problem, finds_the_nearest_word)
{
    cr_expect_str_eq(nearest_of("adress"), "address");
    cr_expect_str_eq(nearest_of("Address"), "address");
    cr_expect_str_eq(nearest_of("max_connections"), "max-connections");
    cr_expect_str_eq(nearest_of("ap"), "app");
    cr_expect_str_eq(nearest_of("gzip"), "");
    cr_expect_str_eq(nearest_of(""), "");
    cr_expect_str_eq(nearest_of("a"), "");
}

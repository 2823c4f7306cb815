#include "tests/unit/cli/fixture.h"

/* What may stand on a command line, and what is said when it may not. */

static const char *const colours[] = { "red", "green", "blue" };

static const char *colour_at(const void *left_out, int index)
{
    return colours[index] == left_out ? NULL : colours[index];
}

Test(options, values_follow_or_stand_behind_an_equals_sign)
{
    struct options options;
    cr_assert(read_options(&options, "check", "-c", "a.yaml"));
    cr_expect_str_eq(options.file, "a.yaml");
    cr_assert(read_options(&options, "check", "--config", "b.yaml"));
    cr_expect_str_eq(options.file, "b.yaml");
    cr_assert(read_options(&options, "check", "--config=c=d.yaml"));
    cr_expect_str_eq(options.file, "c=d.yaml");
}

Test(options, stand_before_and_behind_words)
{
    struct options options;
    cr_assert(read_options(&options, "drain", "--json", "web/1", "--socket", "/x"));
    cr_expect(options.json);
    cr_expect_str_eq(options.socket, "/x");
    cr_expect_eq(options.word_count, 1);
    cr_expect_str_eq(options.words[0], "web/1");
}

Test(options, behind_two_dashes_everything_is_a_word_and_one_is_one)
{
    struct options options;
    cr_assert(read_options(&options, "drain", "--json", "--", "--now"));
    cr_expect(options.json);
    cr_expect_eq(options.word_count, 1);
    cr_expect_str_eq(options.words[0], "--now");
    cr_assert(read_options(&options, "drain", "-"));
    cr_expect_str_eq(options.words[0], "-");
}

Test(options, the_socket_is_given_by_option_then_environment_then_default)
{
    struct options options;
    unsetenv("WEIR_SOCKET");
    cr_assert(read_options(&options, "status", NULL));
    cr_expect_null(options.socket);
    setenv("WEIR_SOCKET", "/from/environment", 1);
    cr_assert(read_options(&options, "status", NULL));
    cr_expect_str_eq(options.socket, "/from/environment");
    cr_assert(read_options(&options, "status", "--socket", "/from/option"));
    cr_expect_str_eq(options.socket, "/from/option");
    setenv("WEIR_SOCKET", "", 1);
    cr_assert(read_options(&options, "status", NULL));
    cr_expect_null(options.socket);
}

/* Empty ones come from scripts with a variable that is not set. */
Test(options, a_value_that_is_missing_or_empty_is_asked_for)
{
    struct said said = run_weir("check", "-c");
    cr_expect_eq(said.code, EXIT_USAGE);
    expect_says(said.errors, "--config wants a FILE");
    expect_says(said.errors, "usage: weir check");
    expect_says(run_weir("status", "--socket", "").errors, "--socket wants a PATH");
    cr_expect_eq(run_weir("check", "--config=").code, EXIT_USAGE);
}

Test(options, a_flag_takes_no_value_and_a_verb_only_its_own)
{
    expect_says(run_weir("status", "--json=yes").errors, "--json takes no value");
    cr_expect_eq(run_weir("status", "--json=yes").code, EXIT_USAGE);
    expect_says(run_weir("status", "--deadline", "5s").errors, "status takes no --deadline");
    cr_expect_eq(run_weir("status", "--deadline", "5s").code, EXIT_USAGE);
}

Test(options, unknown_ones_get_the_nearest_that_the_verb_takes)
{
    struct said said = run_weir("status", "--jsno");
    cr_expect_eq(said.code, EXIT_USAGE);
    expect_says(said.errors, "no option \"--jsno\"; did you mean \"--json\"?");
    char endless[3000] = "--";
    memset(endless + 2, 'x', sizeof endless - 3);
    cr_expect_eq(run_weir("status", endless).code, EXIT_USAGE);
    said = run_weir("status", "--noww"); /* the verb takes no --now */
    expect_says(said.errors, "no option \"--noww\"");
    expect_says_not(said.errors, "--now\"?");
}

Test(options, servers_are_collected_and_capped)
{
    static char to[] = "--to", server[] = "127.0.0.1:1";
    struct options options;
    char *argv[2 * (CLI_TARGETS_MAX + 1)];
    for (size_t i = 0; i < ARRAY_LENGTH(argv); i++)
        argv[i] = i % 2 ? server : to;
    cr_assert(options_read(&options, verb_named("proxy"), 2 * CLI_TARGETS_MAX, argv));
    cr_expect_eq(options.to_count, CLI_TARGETS_MAX);
    cr_expect_not(options_read(&options, verb_named("proxy"), 2 * CLI_TARGETS_MAX + 2, argv));
}

Test(options, tags_are_collected_and_capped)
{
    static char to[] = "--tag", tag[] = "news";
    struct options options;
    char *argv[2 * (CLI_TAGS_MAX + 1)];
    for (size_t i = 0; i < ARRAY_LENGTH(argv); i++)
        argv[i] = i % 2 ? tag : to;
    cr_assert(options_read(&options, verb_named("purge"), 2 * CLI_TAGS_MAX, argv));
    cr_expect_eq(options.tag_count, CLI_TAGS_MAX);
    cr_expect_not(options_read(&options, verb_named("purge"), 2 * CLI_TAGS_MAX + 2, argv));
}

Test(options, hints_are_for_what_is_near_only)
{
    char hint[64];
    cr_expect_str_eq(nearest_hint("gren", 3, colour_at, NULL, hint, sizeof hint), "; did you mean \"green\"?");
    cr_expect_str_eq(nearest_hint("violet", 3, colour_at, NULL, hint, sizeof hint), "");
    cr_expect_str_eq(nearest_hint("gren", 3, colour_at, colours[1], hint, sizeof hint), "; did you mean \"red\"?");
}

#include "tests/unit/cli/fixture.h"

/* The tables, and everything that is said to follow from them: usage, help, the manual page. */

/* What would print goes to /dev/full: a disk that has no room, a pipe that nobody reads. */
static int code_without_room(const char *verb, const char *word)
{
    char *argv[] = { (char *)(uintptr_t)"weir", (char *)(uintptr_t)verb, (char *)(uintptr_t)word, NULL };
    int kept = dup(STDOUT_FILENO), kept_errors = dup(STDERR_FILENO), full = open("/dev/full", O_WRONLY);
    FILE *errors = divert(stderr, STDERR_FILENO);
    fflush(stdout);
    dup2(full, STDOUT_FILENO);
    int code = cli_run(word ? 3 : 2, argv);
    divert_back(stdout, STDOUT_FILENO, kept);
    divert_back(stderr, STDERR_FILENO, kept_errors);
    expect_says(whole_of(errors), "standard output");
    return code;
}

Test(verbs, none_is_usage_and_an_unknown_one_gets_the_nearest)
{
    struct said said = run_weir("relaod");
    cr_expect_eq(said.code, EXIT_USAGE);
    expect_says(said.errors, "no verb \"relaod\"; did you mean \"reload\"?");
    cr_expect_eq(run_weir("help", "relaod").code, EXIT_USAGE);
    cr_expect_eq(run_weir("").code, EXIT_USAGE);
    said = run_words((const char *const[]){ "weir", NULL });
    cr_expect_eq(said.code, EXIT_USAGE);
    expect_says(said.errors, "usage: weir VERB");
}

Test(verbs, help_lists_all_of_them_however_it_is_asked_for)
{
    char *listed = run_weir("help").out;
    for (int i = 0; i < verb_count; i++) {
        expect_says(listed, verbs[i].word);
        expect_says(listed, verbs[i].summary);
    }
    cr_expect_str_eq(run_weir("--help").out, listed);
    cr_expect_str_eq(run_weir("-h").out, listed);
}

Test(verbs, each_tells_its_options_and_runs_nothing_with_help)
{
    for (int i = 0; i < verb_count; i++) {
        struct said said = run_weir(verbs[i].word, "--help");
        cr_expect_eq(said.code, EXIT_OK, "%s", verbs[i].word);
        cr_expect_str_eq(said.out, run_weir("help", verbs[i].word).out, "%s", verbs[i].word);
        expect_says(said.out, verbs[i].summary);
        for (int j = 0; j < option_count; j++)
            if (verbs[i].options & option_rows[j].bit)
                expect_says(said.out, option_rows[j].summary);
    }
}

Test(verbs, what_is_missing_or_too_much_is_named)
{
    struct said few = run_weir("drain"), many = run_weir("status", "web/1");
    cr_expect_eq(few.code, EXIT_USAGE);
    expect_says(few.errors, "drain wants SERVER");
    expect_says(few.errors, "usage: weir drain SERVER");
    cr_expect_eq(many.code, EXIT_USAGE);
    expect_says(many.errors, "\"web/1\"");
    cr_expect_eq(run_weir("drain", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10").code, EXIT_USAGE);
    expect_says(run_weir("run").errors, "which file?");
    cr_expect_eq(run_weir("run").code, EXIT_USAGE);
    cr_expect_eq(run_weir("check").code, EXIT_USAGE);
    expect_says(run_weir("proxy", ":80").errors, "--to");
    cr_expect_eq(run_weir("proxy", ":80").code, EXIT_USAGE);
}

Test(verbs, usage_marks_what_may_be_left_out)
{
    expect_says(run_weir("help", "check").out, "usage: weir check -c FILE [--json]\n");
    expect_says(run_weir("help", "drain").out, "usage: weir drain SERVER [--socket PATH] [--json]\n");
    expect_says(run_weir("help", "proxy").out, "usage: weir proxy ADDRESS [--socket PATH] --to SERVER [--to SERVER ...]\n");
}

Test(verbs, the_version_is_a_word_and_a_flag)
{
    cr_expect_str_eq(run_weir("version").out, "weir 0.0.0\n");
    cr_expect_str_eq(run_weir("--version").out, "weir 0.0.0\n");
    cr_expect_str_eq(run_weir("version", "--json").out, "{\"version\":\"0.0.0\"}\n");
}

/* Those that answer nothing of their own: the engine in the foreground, a page for people, a shell's script. */
static bool prints_no_answer(const char *word)
{
    static const char *const exempt[] = { "run", "proxy", "demo", "completion", "help" };
    for (size_t i = 0; i < ARRAY_LENGTH(exempt); i++)
        if (strcmp(exempt[i], word) == 0)
            return true;
    return false;
}

Test(verbs, all_that_print_take_json)
{
    for (int i = 0; i < verb_count; i++)
        cr_expect_eq((verbs[i].options & OPTION_JSON) != 0, !prints_no_answer(verbs[i].word), "%s", verbs[i].word);
}

Test(verbs, the_manual_and_the_schema_are_json_too)
{
    char *manual = run_weir("config", "manual", "--json").out, *schema = run_weir("config", "schema", "--json").out;
    cr_expect(strncmp(manual, "{\"manual\":\".TH WEIR.YAML 5", 26) == 0, "%.60s", manual);
    cr_expect_str_eq(manual + strlen(manual) - 3, "\"}\n");
    cr_expect_eq(schema[0], '{');
}

Test(verbs, a_bad_configuration_is_3_and_told_in_json_when_wanted)
{
    char path[] = "/tmp/weir-verbs-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "listeners: 1\n", 13), 13);
    struct said check = run_weir("check", "-c", path, "--json"), show = run_weir("config", "show", "-c", path, "--json");
    cr_expect_eq(check.code, EXIT_CONFIG);
    cr_expect(strncmp(check.out, "{\"problems\":[{", 14) == 0, "%s", check.out);
    cr_expect_eq(show.code, EXIT_CONFIG);
    cr_expect_str_eq(show.out, check.out);
    struct said text = run_weir("config", "show", "-c", path);
    cr_expect_eq(text.code, EXIT_CONFIG);
    cr_expect_str_empty(text.out);
    expect_says(text.errors, ": error: ");
    unlink(path);
}

Test(verbs, output_that_has_no_room_is_a_failure)
{
    cr_expect_eq(code_without_room("help", NULL), EXIT_FAILED);
    cr_expect_eq(code_without_room("config", "schema"), EXIT_FAILED);
    cr_expect_eq(code_without_room("completion", "bash"), EXIT_FAILED);
}

/* The manual page ---------------------------------------------------------------------------------------------- */

/* "\-" is a minus, "\fB" and the like change the font, and what else begins with a backslash is one character. */
static void add_plain(struct text *out, char c, const char **at)
{
    if (c == '\\' && **at == 'f')
        *at += 2;
    else
        text_format(out, "%c", c == '\\' ? *(*at)++ : c);
}

/* The arguments of a macro, joined as .BI joins them; between .B's there are blanks. */
static void add_macro(struct text *out, const char *at, const char *end, bool blanks)
{
    for (bool first = true; at < end; first = false) {
        at += strspn(at, " ");
        bool quoted = *at == '"';
        if (blanks && !first)
            text_add(out, SLICE(" "));
        for (at += quoted; at < end && *at != (quoted ? '"' : ' ');) {
            char c = *at++;
            add_plain(out, c, &at);
        }
        at += quoted;
    }
}

/* The page as it reads, a line for each of its lines; the macros' names are gone. */
static char *plain_page(const char *page)
{
    struct text text = { 0 };
    for (const char *at = page, *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        cr_assert(end);
        if (*at == '.')
            add_macro(&text, at + 1 + strcspn(at + 1, " \n"), end, at[1] == 'B' && at[2] == ' ');
        while (*at != '.' && at < end) {
            char c = *at++;
            add_plain(&text, c, &at);
        }
        text_add(&text, SLICE("\n"));
    }
    cr_assert_not(text.failed);
    return keep(text.at);
}

Test(manual_page, has_each_verbs_line_of_usage)
{
    char *page = plain_page(read_page("cli/man/weir.1"));
    for (int i = 0; i < verb_count; i++) {
        FILE *file = tmpfile();
        verb_usage(&verbs[i], file);
        char *usage = whole_of(file);
        usage += strlen("usage: ") - 1;
        usage[0] = '\n';
        expect_says(page, usage);
    }
}

Test(manual_page, has_each_option_with_its_value)
{
    char *page = plain_page(read_page("cli/man/weir.1"));
    for (int i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        char line[64], letter[8] = "";
        if (row->letter)
            snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(line, sizeof line, "\n%s%s%s%s\n", letter, row->name, row->value ? " " : "", row->value ? row->value : "");
        expect_says(page, line);
    }
}


Test(manual_page, has_exit_codes_environment_signals_and_files)
{
    static const char *const words[] = { "\n0\n", "\n1\n", "\n2\n", "\n3\n", "\n4\n", "\n5\n", "\n75\n", "\nWEIR_SOCKET\n", "\nNO_COLOR\n",
                                         "\nSIGTERM, SIGINT\n", "\nSIGHUP\n", "\n" CLI_SOCKET_DEFAULT "\n", "\n" CLI_SOCKET_SERVICE "\n" };
    char *page = plain_page(read_page("cli/man/weir.1"));
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
        expect_says(page, words[i]);
}

#include <sys/wait.h>

#include "tests/unit/cli/fixture.h"

/* The scripts for shells: whole, and harmless whatever an engine calls its servers. bash is played with, the others are read. */

static const char *const shells[] = { "bash", "zsh", "fish" };

static char *script_for(const char *shell)
{
    struct said said = run_weir("completion", shell);
    cr_assert_eq(said.code, EXIT_OK);
    return said.out;
}

/* Runs the script for bash and then more lines; answers what they print. `weir` is a function that says what listing says. */
static char *play(const char *listing, const char *lines)
{
    char path[] = "/tmp/weir-completion-XXXXXX", command[64];
    struct text text = { 0 };
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    cr_assert(file);
    fprintf(file, "%s\nweir() { cat <<'END'\n%s\nEND\n}\n%s\n", script_for("bash"), listing, lines);
    fclose(file);
    snprintf(command, sizeof command, "bash --norc --noprofile %s 2>&1", path);
    FILE *out = popen(command, "r");
    char run[4096];
    for (size_t got; (got = fread(run, 1, sizeof run, out)) > 0;)
        text_add(&text, slice_of(run, got));
    cr_expect_eq(pclose(out), 0, "%s", text_slice(&text).at);
    unlink(path);
    return keep(text.at);
}

/* A line for what bash would offer behind these words, the last of which is unfinished. */
#define OFFERED(count, words) "COMP_WORDS=(" words "); COMP_CWORD=" count "; _weir; printf '%s\\n' \"${COMPREPLY[@]}\""

static const char listing[] = "app\n"
                              "  server                       state              weight\n"
                              "  127.0.0.1:9001               up                      1\n"
                              "  10.0.0.7:80                  marked: connect         1\n"
                              "\n"
                              "more\n"
                              "  server                       state              weight\n"
                              "  unix:/run/a.sock             up                      1";

Test(completion, offers_verbs_options_words_and_files)
{
    cr_expect_str_eq(play("", OFFERED("1", "weir dr")), "drain\n");
    cr_expect_str_eq(play("", OFFERED("1", "weir co")), "config\ncompletion\n");
    cr_expect_str_eq(play("", OFFERED("2", "weir stop --")), "--socket\n--json\n--now\n--deadline\n--help\n");
    cr_expect_str_eq(play("", OFFERED("3", "weir check --json --c")), "--config\n");
    cr_expect_str_eq(play("", OFFERED("2", "weir config s")), "show\nschema\n");
    cr_expect_str_eq(play("", OFFERED("2", "weir help und")), "undrain\n");
    expect_says(play("", OFFERED("3", "weir check --config Make")), "Makefile\n");
}

Test(completion, offers_the_servers_of_the_engine)
{
    cr_expect_str_eq(play(listing, OFFERED("2", "weir drain ''")), "127.0.0.1:9001\n10.0.0.7:80\nunix:/run/a.sock\n");
    cr_expect_str_eq(play(listing, OFFERED("2", "weir undrain 10")), "10.0.0.7:80\n");
    cr_expect_str_eq(play("", "weir() { return 4; }\n" OFFERED("2", "weir drain ''")), "\n");
}

/* compgen -W would run what stands in it. What is offered is quoted, so that the command line does not run it either. */
Test(completion, runs_nothing_that_an_engine_says)
{
    char *offered = play("app\n  unix:/$(echo${IFS}hi)`id`;* up 1", OFFERED("2", "weir drain ''"));
    cr_expect_str_eq(offered, "unix:/\\$\\(echo\\$\\{IFS\\}hi\\)\\`id\\`\\;\\*\n");
}

Test(completion, every_script_names_all_verbs_and_options)
{
    for (size_t s = 0; s < ARRAY_LENGTH(shells); s++) {
        char *script = script_for(shells[s]);
        for (int i = 0; i < verb_count; i++)
            expect_says(script, verbs[i].word);
        for (int i = 0; i < option_count; i++)
            expect_says(script, option_rows[i].name + 2);
    }
    cr_expect_eq(run_weir("completion", "tcsh").code, EXIT_USAGE);
    expect_says(run_weir("completion", "tcsh").errors, "bash, zsh and fish");
}

/* fish knows \' and \\ inside single quotes; the others end the quotes, say \' outside, and begin again. */
static bool quotes_close(const char *line, size_t length, bool escapes_inside)
{
    char open = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '\\' && (open != '\'' || escapes_inside))
            i++;
        else if (open ? line[i] == open : line[i] == '\'' || (line[i] == '"' && !strstr(line, "$(")))
            open = open ? 0 : line[i];
    }
    return open == 0;
}

Test(completion, what_is_said_of_options_stays_inside_its_quotes)
{
    for (size_t s = 1; s < ARRAY_LENGTH(shells); s++)
        for (const char *line = script_for(shells[s]), *end; (end = strchr(line, '\n')); line = end + 1)
            if (!strstr(line, "awk") || strstr(line, "awk") > end)
                cr_expect(quotes_close(line, (size_t)(end - line), s == 2), "%s: %.*s", shells[s], (int)(end - line), line);
}

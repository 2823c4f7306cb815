#include "tests/unit/cli/fixture.h"

#include "cli/print.h"

/* What an engine's texts look like: as they came in a file, in colours and without commands on a terminal. */

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

static char *pools(const char *text)
{
    FILE *file = tmpfile();
    print_pools(text, file);
    return whole_of(file);
}

static char *text_on(bool terminal, struct slice text)
{
    FILE *file = tmpfile();
    print_text(text, terminal, file);
    return whole_of(file);
}

Test(print, states_have_colours_and_names_of_pools_are_bold)
{
    cr_expect_str_eq(pools("app\n  server state\n  a:1  up  1\n  a:2  down  1\n  a:3  drained  1\n  a:4  trial: bad  1\n  a:5  marked: connect  1\n\nmore\n"),
                     BOLD "app" PLAIN "\n" DIM "  server state" PLAIN "\n  a:1  " GREEN "up" PLAIN "  1\n  a:2  " RED "down" PLAIN "  1\n  a:3  " YELLOW
                          "drained" PLAIN "  1\n  a:4  " YELLOW "trial:" PLAIN " bad  1\n  a:5  " RED "marked:" PLAIN " connect  1\n\n" BOLD "more" PLAIN "\n");
}

Test(print, an_address_is_no_state)
{
    cr_expect_str_eq(pools("  up:1  drained\n"), "  up:1  " YELLOW "drained" PLAIN "\n");
    cr_expect_str_eq(pools("  up  upwards\n"), "  up  upwards\n");
}

Test(print, lines_of_any_shape_lose_nothing)
{
    static const char *const lines[] = { "", "\n", " ", "   \n", "  x\n", "  x ", "  server x", "  a:1  up", "\n\n  \n" };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
        char *text = pools(lines[i]), *to = text;
        for (const char *from = text; *from; from++) {
            if (*from == '\033')
                from += strcspn(from, "m");
            else
                *to++ = *from;
        }
        *to = 0;
        cr_expect_str_eq(text, lines[i]);
    }
}

Test(print, nothing_commands_a_terminal_and_a_file_gets_all_of_it)
{
    cr_expect_str_eq(text_on(true, SLICE("a\033[2J\r\tb\x7f\a\n")), "a?[2J?\tb??\n");
    cr_expect_str_eq(text_on(true, SLICE("\xc2\x9b" "31m \xc3\xbc \xe2\x82\xac \xff \xe2\x82")), "?31m \xc3\xbc \xe2\x82\xac ? ??");
    cr_expect_str_eq(text_on(true, slice_of("a\0b", 3)), "a?b");
    cr_expect_str_eq(pools("p\033c\n  a\033:1  u\033p\n"), BOLD "p?c" PLAIN "\n  a?:1  u?p\n");
    cr_expect_str_eq(text_on(false, SLICE("a\033[2J\r\tb\xff\n")), "a\033[2J\r\tb\xff\n");
}

/* no-color.org: set and not empty. */
Test(print, colour_is_for_terminals_and_can_be_refused)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0)
        cr_skip_test("no terminals here");
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    cr_expect(colour_wanted(terminal));
    setenv("NO_COLOR", "", 1);
    cr_expect(colour_wanted(terminal));
    setenv("NO_COLOR", "1", 1);
    cr_expect_not(colour_wanted(terminal));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    cr_expect_not(colour_wanted(terminal));
    cr_expect_not(colour_wanted(fileno(tmpfile())));
}

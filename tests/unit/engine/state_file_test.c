#include "tests/unit/engine/config_fixture.h"

#include <unistd.h>

#include "engine/state_file.h"

#define HEAD "weir-state 1\nwritten 1732450000\n"

static struct state parsed(const char *text)
{
    struct state state;
    cr_assert_eq(state_parse(slice_of_text(text), &state), ERR_OK);
    return state;
}

/* All that a state holds, in the file's words. */
static struct text written(const struct state *state)
{
    struct text text = { 0 };
    state_write_head(state->written, &text);
    for (uint32_t i = 0; i < state->overlay.count; i++)
        state_write_entry(&state->overlay.entries[i], &text);
    for (uint32_t i = 0; i < state->server_count; i++)
        state_write_server(&state->servers[i], &text);
    return text;
}

Test(state_file, comes_back_as_it_was_written)
{
    static const char file[] = HEAD "add app/10.0.0.9:80 weight=2 max-connections=100 group=1\nadd app/more.test:80\nremove app/10.0.0.1:80\n"
                                    "change app/10.0.0.2:80 weight=5\nchange app/10.0.0.3:80 group=3\ndrained app/unix:/run/a.sock\nforced app/[::1]:80 up\nforced app/10.0.0.4:80 down\n"
                                    "checked app/10.0.0.5:80 down\nmarked app/10.0.0.6:80 ms=2500 marks=2 failures=4\n";
    struct state state = parsed(file);
    struct text text = written(&state);
    cr_expect_str_eq(text_slice(&text).at, file);
    cr_expect_eq(state.skipped, 0);
    cr_expect_eq(state.written, 1732450000);
    text_release(&text);
    state_release(&state);
}

Test(state_file, lines_that_say_nothing_are_skipped_and_told)
{
    static const char *const bad[] = {
        "add", "add ", "add app", "add app/", "add app/10.0.0.1", "add /10.0.0.1:80", "add app/10.0.0.1:80 weight=0x1", "add app/10.0.0.1:80 weight=257",
        "add app/10.0.0.1:80 group=8", "add app/10.0.0.1:80 weight=0", "change app/10.0.0.1:80 weight=0 max-connections=1", "remove app/10.0.0.1:80 group=1", "add app/10.0.0.1:80  weight=1", "add app/Upper.Case:80", "remove app/10.0.0.1:80 weight=2", "change app/10.0.0.1:80",
        "forced app/10.0.0.1:80", "forced app/10.0.0.1:80 sideways", "checked app/10.0.0.1:80 up ", "drained app/10.0.0.1:80 now",
        "marked app/10.0.0.1:80 ms=1", "marked app/10.0.0.1:80 ms=1 marks=65 failures=1", "marked app/10.0.0.1:80 ms=99999999999 marks=1 failures=1",
        "nothing app/10.0.0.1:80", " drained app/10.0.0.1:80", "drained a pp/10.0.0.1:80", "\xff\xfe", "drained app/10.0.0.1:80\r",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        char file[256];
        snprintf(file, sizeof file, HEAD "%s\ndrained app/10.0.0.7:80\n", bad[i]);
        struct state state = parsed(file);
        cr_expect_eq(state.skipped, 1, "\"%s\"", bad[i]);
        cr_expect_eq(state.server_count, 1, "\"%s\"", bad[i]);
        cr_expect_eq(state.overlay.count, 0, "\"%s\"", bad[i]);
        cr_expect(strstr(text_slice(&state.warnings).at, "line 3 "));
        state_release(&state);
    }
}

Test(state_file, what_stands_twice_counts_once)
{
    struct state state = parsed(HEAD "add app/10.0.0.1:80 weight=2\nremove app/10.0.0.1:80\n");
    cr_expect_eq(state.overlay.count, 1);
    cr_expect_eq(state.overlay.entries[0].weight, 2);
    cr_expect_eq(state.skipped, 1);
    state_release(&state);
}

Test(state_file, nothing_is_taken_of_what_is_none)
{
    static const char *const files[] = { "", "weir-state 1", "weir-state 1\n", "weir-state 2\nwritten 1\n", "weir-state 1\nwritten x\n", "\nweir-state 1\nwritten 1\n",
                                         "weir-state 1\nwritten 99999999999999999999\n" };
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        struct state state;
        cr_expect_eq(state_parse(slice_of_text(files[i]), &state), ERR_SYNTAX, "%s", files[i]);
        state_release(&state);
    }
}

Test(state_file, warnings_are_few)
{
    struct text file = { 0 };
    text_add(&file, SLICE(HEAD));
    for (int i = 0; i < 1000; i++)
        text_add(&file, SLICE("nonsense\n"));
    struct state state;
    cr_assert_eq(state_parse(text_slice(&file), &state), ERR_OK);
    cr_expect_eq(state.skipped, 1000);
    uint32_t lines = 0;
    for (const char *c = text_slice(&state.warnings).at; *c; c++)
        lines += *c == '\n';
    cr_expect_eq(lines, STATE_WARNINGS_MAX);
    state_release(&state);
    text_release(&file);
}

Test(state_file, is_put_there_whole)
{
    char folder[] = "/tmp/weir-state-XXXXXX", path[64], why[256];
    char *bytes;
    size_t length;
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/state", folder);
    cr_expect_eq(state_read_file(path, &bytes, &length), ERR_NONE);
    cr_assert(state_write_file(path, SLICE("one"), why), "%s", why);
    cr_assert(state_write_file(path, SLICE("two two"), why), "%s", why);
    cr_assert_eq(state_read_file(path, &bytes, &length), ERR_OK);
    cr_expect(slice_equal(slice_of(bytes, length), SLICE("two two")));
    free(bytes);
    unlink(path);
    cr_expect_eq(rmdir(folder), 0, "nothing is left beside it");
    cr_expect_not(state_write_file(path, SLICE("three"), why));
    cr_expect(strstr(why, "No such file"));
}

#ifdef WEIR_FAULTS
Test(state_file, survives_the_want_of_anything)
{
    char folder[] = "/tmp/weir-state-XXXXXX", path[64], why[256];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/state", folder);
    for (uint64_t nth = 1, points = 1; nth <= points; nth++) {
        char *bytes = NULL;
        size_t length = 0;
        struct state state = { 0 };
        fault_arm(nth);
        bool put = state_write_file(path, SLICE(HEAD "add app/10.0.0.1:80\ndrained app/10.0.0.1:80\n"), why);
        enum err got = put ? state_read_file(path, &bytes, &length) : ERR_NONE;
        enum err read = got == ERR_OK ? state_parse(slice_of(bytes, length), &state) : ERR_NONE;
        points = fault_count();
        fault_arm(0);
        cr_expect(nth > points || !put || got != ERR_OK || read != ERR_OK || state.skipped, "%llu", (unsigned long long)nth);
        state_release(&state);
        if (got == ERR_OK)
            free(bytes);
        unlink(path);
    }
    cr_expect_eq(rmdir(folder), 0);
}
#endif

/*
 * fixture: runs the whole command as main() does, and keeps what it says. Standard output and error are files meanwhile, so nothing
 * is coloured, and what the shell said about sockets does not count.
 */
#ifndef WEIR_TESTS_UNIT_CLI_FIXTURE_H
#define WEIR_TESTS_UNIT_CLI_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/base/text.h"

struct said {
    int code;
    char *out, *errors;
};

/* A text lives until KEPT more have come. */
#define KEPT 256u

static inline char *keep(char *text)
{
    static char *kept[KEPT];
    static unsigned count;
    char **place = &kept[count++ % KEPT];
    free(*place);
    return *place = text ? text : calloc(1, 1);
}

/* Everything in file from its beginning, ended by NUL. */
static inline char *whole_of(FILE *file)
{
    struct text text = { 0 };
    char run[4096];
    rewind(file);
    for (size_t got; (got = fread(run, 1, sizeof run, file)) > 0;)
        text_add(&text, slice_of(run, got));
    cr_assert_not(text.failed);
    fclose(file);
    return keep(text.at);
}

/* From now on what is written to the descriptor goes to a file. */
static inline FILE *divert(FILE *stream, int fd)
{
    FILE *file = tmpfile();
    cr_assert(file);
    fflush(stream);
    cr_assert_geq(dup2(fileno(file), fd), 0);
    return file;
}

static inline void divert_back(FILE *stream, int fd, int kept)
{
    fflush(stream);
    clearerr(stream);
    dup2(kept, fd);
    close(kept);
}

static inline struct said run_words(const char *const *words)
{
    char *argv[80];
    int argc = 0, kept_out = dup(STDOUT_FILENO), kept_errors = dup(STDERR_FILENO);
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    argv[argc] = NULL;
    FILE *out = divert(stdout, STDOUT_FILENO), *errors = divert(stderr, STDERR_FILENO);
    int code = cli_run(argc, argv);
    divert_back(stdout, STDOUT_FILENO, kept_out);
    divert_back(stderr, STDERR_FILENO, kept_errors);
    return (struct said){ code, whole_of(out), whole_of(errors) };
}

/* run_weir("drain", "web/1") */
#define run_weir(...) run_words((const char *const[]){ "weir", __VA_ARGS__, NULL })

#define expect_says(text, part)                                              \
    do {                                                                     \
        const char *all_ = (text), *part_ = (part);                          \
        cr_expect(strstr(all_, part_), "\"%s\" is not in:\n%s", part_, all_); \
    } while (0)
#define expect_says_not(text, part)                                          \
    do {                                                                     \
        const char *all_ = (text), *part_ = (part);                          \
        cr_expect_not(strstr(all_, part_), "\"%s\" is in:\n%s", part_, all_); \
    } while (0)

/* Reads the options of a verb; what is said on standard error is not kept. */
static inline bool read_words(struct options *options, const char *verb, const char *const *words)
{
    char *argv[80];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    return options_read(options, verb_named(verb), argc, argv);
}
#define read_options(options, verb, ...) read_words(options, verb, (const char *const[]){ __VA_ARGS__, NULL })

/* A page of the tree: tests run at its root. */
static inline char *read_page(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert(file, "%s", path);
    return whole_of(file);
}

#endif

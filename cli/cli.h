/*
 * cli: what the files of the command-line tool share: the table of verbs, exit codes, and reading options.
 */
#ifndef WEIR_CLI_H
#define WEIR_CLI_H

#include <stdbool.h>

/* Exit codes, a contract with scripts. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_CONFIG = 3,      /* the configuration is wrong */
    EXIT_UNREACHABLE = 4, /* no engine answers */
    EXIT_PERMISSION = 5,
    EXIT_AGAIN = 75 /* something else is under way: try again */
};

#define CLI_TARGETS_MAX 64

/* What was said on the command line, read once by main.c. */
struct options {
    const char *file;     /* -c, --config */
    const char *socket;   /* --socket, else $WEIR_SOCKET, else /run/weir.sock */
    bool json;
    bool now;             /* stop --now */
    bool once;            /* top --once */
    bool effective;       /* config show --effective: accepted, and what is shown anyway */
    const char *deadline; /* stop --deadline */
    const char *to[CLI_TARGETS_MAX]; /* proxy --to */
    int to_count;
    const char *words[8]; /* what is no option */
    int word_count;
};

struct verb {
    const char *word;
    const char *synopsis;
    const char *summary;
    int words_least, words_most;
    int (*run)(const struct options *options);
};
extern const struct verb verbs[];
extern const int verb_count;

/* Prints to standard error how the verb is used. EXIT_USAGE. */
int usage(const struct verb *verb);

/* local.c: verbs that need no engine. */
int verb_run(const struct options *options);
int verb_check(const struct options *options);
int verb_proxy(const struct options *options);
int config_show_file(const struct options *options);
int config_print_schema(void);
int config_print_manual(void);

/* demo.c */
int verb_demo(const struct options *options);

/* client.c: verbs that ask the engine. */
int verb_status(const struct options *options);
int verb_reload(const struct options *options);
int verb_pools(const struct options *options);
int verb_drain(const struct options *options);
int verb_undrain(const struct options *options);
int verb_config(const struct options *options);
int verb_stop(const struct options *options);
int verb_version(const struct options *options);
int verb_metrics(const struct options *options);

/* top.c */
int verb_top(const struct options *options);

/* completion.c */
int verb_completion(const struct options *options);

extern const char *weir_version;

#endif

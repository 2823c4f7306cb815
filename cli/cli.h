/*
 * cli: what the files of the command-line tool share: the tables of verbs and options, and exit codes.
 *
 * The tables (verbs.c) are the only place that knows which verbs and options there are: reading the command line, usage, help, hints
 * and the shells' completion follow from them, and a test holds the manual page to them.
 */
#ifndef WEIR_CLI_H
#define WEIR_CLI_H

#include <stdbool.h>
#include <stdio.h>

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
#define CLI_HEADERS_MAX 32
#define CLI_TAGS_MAX 32
#define CLI_WORDS_MAX 8
#define CLI_SOCKET_DEFAULT "/run/weir.sock"
#define CLI_SOCKET_SERVICE "/run/weir/weir.sock" /* of the installed unit, weir.service, which may write nowhere else in /run */

/* What was said on the command line, read once. Texts are the command line's own. */
struct options {
    const char *file;        /* -c, --config */
    const char *socket;      /* --socket, else $WEIR_SOCKET; NULL: wherever an engine usually has it (client_sockets) */
    bool json;
    bool now;                /* stop --now */
    bool once;               /* top --once */
    bool effective;          /* config show --effective: what is shown anyway */
    bool help;               /* -h, --help: any verb */
    const char *deadline;    /* stop --deadline */
    const char *expiring;    /* certs --expiring */
    const char *weight, *max_connections, *group; /* server add */
    const char *to[CLI_TARGETS_MAX]; /* proxy --to */
    int to_count;
    const char *headers[CLI_HEADERS_MAX]; /* explain, purge, cache show --header */
    int header_count;
    const char *prefix, *host; /* purge --prefix, --host */
    const char *tags[CLI_TAGS_MAX]; /* purge --tag */
    int tag_count;
    bool all, soft;          /* purge --all, --soft */
    const char *from;        /* explain --from */
    const char *words[CLI_WORDS_MAX]; /* what is no option */
    int word_count;
};

/* Bits of the options that a verb takes. */
enum option_bit {
    OPTION_FILE = 1 << 0,
    OPTION_SOCKET = 1 << 1,
    OPTION_JSON = 1 << 2,
    OPTION_NOW = 1 << 3,
    OPTION_DEADLINE = 1 << 4,
    OPTION_ONCE = 1 << 5,
    OPTION_EFFECTIVE = 1 << 6,
    OPTION_TO = 1 << 7,
    OPTION_HELP = 1 << 8,
    OPTION_EXPIRING = 1 << 9,
    OPTION_HEADER = 1 << 10,
    OPTION_FROM = 1 << 11,
    OPTION_WEIGHT = 1 << 12,
    OPTION_MAX_CONNECTIONS = 1 << 13,
    OPTION_GROUP = 1 << 14,
    OPTION_PREFIX = 1 << 15,
    OPTION_HOST = 1 << 16,
    OPTION_TAG = 1 << 17,
    OPTION_ALL = 1 << 18,
    OPTION_SOFT = 1 << 19
};
#define OPTIONS_REPEATED (OPTION_TO | OPTION_HEADER | OPTION_TAG) /* may be given several times */

struct option_row {
    enum option_bit bit;
    char letter;         /* of the short form; 0: none */
    const char *name;    /* "--config" */
    const char *value;   /* what follows it, "FILE"; NULL: nothing */
    const char *summary;
};
extern const struct option_row option_rows[];
extern const int option_count;

/* What a verb's word may be, when that is not a list of words. */
#define CHOICES_SERVERS "@servers" /* of the running engine */
#define CHOICES_VERBS "@verbs"

struct verb {
    const char *word;
    const char *arguments; /* "SERVER", for the usage line; without options */
    const char *summary;   /* one line */
    const char *choices;   /* for its word: "show schema", CHOICES_...; NULL: anything */
    unsigned options;      /* bits; OPTION_HELP is understood */
    int words_least, words_most;
    int (*run)(const struct options *options);
};
extern const struct verb verbs[];
extern const int verb_count;

const struct verb *verb_named(const char *word); /* NULL: there is none */
const struct option_row *option_named(const char *word, size_t length); /* "--json", "-c"; NULL: there is none */

/* "usage: weir drain SERVER [--socket PATH] [--json]" and a line's end. */
void verb_usage(const struct verb *verb, FILE *out);
void verb_help_print(const struct verb *verb, FILE *out);

/* options.c: reads what follows the verb; behind "--" all are words. False after saying on standard error what is wrong. */
bool options_read(struct options *options, const struct verb *verb, int argc, char **argv);

/* The whole command: reads, runs, answers the exit code, which is no success when standard output took not all. */
int cli_run(int argc, char **argv);

/* "; did you mean ...?" of the nearest of count words, read by word_at (NULL: not this one); empty when none is near. Returns out. */
typedef const char *word_at_function(const void *context, int index);
const char *nearest_hint(const char *word, int count, word_at_function *word_at, const void *context, char *out, size_t cap);

/* local.c: verbs that need no engine. */
int verb_run(const struct options *options);
int verb_check(const struct options *options);
int verb_proxy(const struct options *options);
int config_show_file(const struct options *options);
int config_print_schema(void);
/* The whole page weir.yaml(5): a frame, and the table of keys. */
int config_print_manual(const struct options *options);

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

/* server.c */
int verb_server(const struct options *options);

/* certs.c */
int verb_certs(const struct options *options);

/* cache.c */
int verb_purge(const struct options *options);
int verb_cache(const struct options *options);

/* explain.c */
int verb_explain(const struct options *options);

/* top.c */
int verb_top(const struct options *options);

/* completion.c */
int verb_completion(const struct options *options);

extern const char *weir_version; /* set by main.c */

#endif

/*
 * The command: one table of verbs. `weir VERB ...` reads the options that all verbs share and runs the row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "engine/base/slice.h"
#include "engine/server.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "0.0.0"
#endif
const char *weir_version = WEIR_VERSION;

static int verb_help(const struct options *options);

const struct verb verbs[] = {
    { "run", "run -c FILE", "run the engine in the foreground", 0, 0, verb_run },
    { "check", "check -c FILE [--json]", "say everything that is wrong with a configuration", 0, 0, verb_check },
    { "reload", "reload [--json]", "read the file again; says what changed, or why it was refused", 0, 0, verb_reload },
    { "status", "status [--json]", "one look at the engine", 0, 0, verb_status },
    { "top", "top [--once] [--json]", "a live view per core and per server", 0, 0, verb_top },
    { "pools", "pools [--json]", "pools and the state of their servers", 0, 0, verb_pools },
    { "drain", "drain SERVER", "no new requests to a server (POOL/ADDRESS or ADDRESS)", 1, 1, verb_drain },
    { "undrain", "undrain SERVER", "use a drained server again", 1, 1, verb_undrain },
    { "config", "config show [-c FILE] [--effective] [--json] | config schema", "the configuration with every default, or its JSON Schema", 1, 1, verb_config },
    { "metrics", "metrics", "all counters in Prometheus' text format", 0, 0, verb_metrics },
    { "stop", "stop [--now] [--deadline DURATION]", "stop gracefully: requests in flight end first", 0, 0, verb_stop },
    { "proxy", "proxy ADDRESS --to SERVER [--to SERVER ...]", "forward from one address, without a file", 1, 1, verb_proxy },
    { "demo", "demo", "the engine before three small origins of its own, to try it out", 0, 0, verb_demo },
    { "version", "version [--json]", "this command's version", 0, 0, verb_version },
    { "completion", "completion bash", "words for the shell's completion", 1, 1, verb_completion },
    { "help", "help [VERB]", "this list, or one verb's options", 0, 1, verb_help },
};
const int verb_count = (int)ARRAY_LENGTH(verbs);

int usage(const struct verb *verb)
{
    fprintf(stderr, "usage: weir %s\n", verb->synopsis);
    return EXIT_USAGE;
}

static const struct verb *verb_named(const char *word)
{
    for (int i = 0; i < verb_count; i++)
        if (strcmp(verbs[i].word, word) == 0)
            return &verbs[i];
    return NULL;
}

static void list_verbs(FILE *out)
{
    fprintf(out, "weir %s, an edge reverse proxy\n\nusage: weir VERB [options]\n\n", weir_version);
    for (int i = 0; i < verb_count; i++)
        fprintf(out, "  %-11s %s\n", verbs[i].word, verbs[i].summary);
    fprintf(out, "\noptions of verbs that ask a running engine: --socket PATH (or $WEIR_SOCKET; else /run/weir.sock), --json\n"
                 "exit codes: 0 ok, 1 failed, 2 usage, 3 bad configuration, 4 engine unreachable, 5 permission, 75 try again\n");
}

static int verb_help(const struct options *options)
{
    const struct verb *verb = options->word_count ? verb_named(options->words[0]) : NULL;
    if (options->word_count && !verb) {
        fprintf(stderr, "weir: no verb \"%s\"\n", options->words[0]);
        return EXIT_USAGE;
    }
    if (verb)
        printf("usage: weir %s\n\n%s\n", verb->synopsis, verb->summary);
    else
        list_verbs(stdout);
    return EXIT_OK;
}

static int unknown_verb(const char *word)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (int i = 0; i < verb_count; i++) {
        unsigned distance = slice_distance(slice_of_text(word), slice_of_text(verbs[i].word), best);
        if (distance < best) {
            best = distance;
            nearest = verbs[i].word;
        }
    }
    fprintf(stderr, "weir: no verb \"%s\"%s%s%s\n", word, nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return EXIT_USAGE;
}

/* Options ------------------------------------------------------------------------------------------------------ */

/* The value of an option that has one: "--name VALUE" or "--name=VALUE". NULL: it is not this option. */
static const char *value_of(const char *name, int argc, char **argv, int *i)
{
    size_t length = strlen(name);
    if (strncmp(argv[*i], name, length) != 0)
        return NULL;
    if (argv[*i][length] == '=')
        return argv[*i] + length + 1;
    if (argv[*i][length] != 0 || *i + 1 >= argc)
        return NULL;
    return argv[++*i];
}

static bool read_valued(struct options *options, int argc, char **argv, int *i)
{
    const char *value;
    if ((value = value_of("--config", argc, argv, i)) || (value = value_of("-c", argc, argv, i)))
        options->file = value;
    else if ((value = value_of("--socket", argc, argv, i)))
        options->socket = value;
    else if ((value = value_of("--deadline", argc, argv, i)))
        options->deadline = value;
    else if ((value = value_of("--to", argc, argv, i)) && options->to_count < CLI_TARGETS_MAX)
        options->to[options->to_count++] = value;
    else
        return false;
    return true;
}

static bool read_flag(struct options *options, const char *word)
{
    if (strcmp(word, "--json") == 0)
        options->json = true;
    else if (strcmp(word, "--now") == 0)
        options->now = true;
    else if (strcmp(word, "--once") == 0)
        options->once = true;
    else if (strcmp(word, "--effective") == 0)
        options->effective = true;
    else
        return false;
    return true;
}

static bool read_options(struct options *options, int argc, char **argv)
{
    const char *socket = getenv("WEIR_SOCKET");
    *options = (struct options){ .socket = socket && socket[0] ? socket : "/run/weir.sock" };
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] != '-' && options->word_count < (int)ARRAY_LENGTH(options->words))
            options->words[options->word_count++] = argv[i];
        else if (!read_flag(options, argv[i]) && !read_valued(options, argc, argv, &i)) {
            fprintf(stderr, "weir: unknown option or missing value: \"%s\"\n", argv[i]);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options;
    server_set_version(weir_version);
    if (argc < 2) {
        list_verbs(stderr);
        return EXIT_USAGE;
    }
    const char *word = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    const struct verb *verb = verb_named(word);
    if (!verb)
        return unknown_verb(word);
    if (!read_options(&options, argc, argv) || options.word_count < verb->words_least || options.word_count > verb->words_most)
        return usage(verb);
    return verb->run(&options);
}

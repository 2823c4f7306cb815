/* Verbs that need no running engine: the configuration, and running one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "engine/base/text.h"
#include "engine/server.h"

/* Prints and releases it. */
static int put(FILE *out, struct text *text)
{
    bool whole = !text->failed;
    fputs(whole ? text_slice(text).at : "weir: out of memory\n", whole ? out : stderr);
    text_release(text);
    return whole ? EXIT_OK : EXIT_FAILED;
}

static void print_problems(const struct config_problems *problems, const char *name, bool json, FILE *out)
{
    struct text text = { 0 };
    if (json)
        config_problems_json(problems, name, &text);
    else
        config_problems_print(problems, name, colour_wanted(STDERR_FILENO), &text);
    put(out, &text);
}

static struct config *read_file(const char *file, struct config_problems *problems)
{
    memset(problems, 0, sizeof *problems);
    return config_read(file, problems);
}

static bool file_given(const struct options *options)
{
    if (!options->file)
        fprintf(stderr, "weir: which file? (-c FILE)\n");
    return options->file != NULL;
}

int verb_run(const struct options *options)
{
    static struct config_problems problems;
    if (!file_given(options))
        return EXIT_USAGE;
    struct config *config = read_file(options->file, &problems);
    print_problems(&problems, options->file, false, stderr);
    return config ? server_run(config, options->file) : EXIT_CONFIG;
}

int verb_check(const struct options *options)
{
    static struct config_problems problems;
    if (!file_given(options))
        return EXIT_USAGE;
    struct config *config = read_file(options->file, &problems);
    if (config)
        config_check_files(config, time(NULL), &problems);
    print_problems(&problems, options->file, options->json, options->json ? stdout : stderr);
    bool well = config && problems.errors == 0;
    if (well && !options->json)
        printf("%s: ok\n", options->file);
    if (config)
        config_free(config);
    return well ? EXIT_OK : EXIT_CONFIG;
}

int config_show_file(const struct options *options)
{
    static struct config_problems problems;
    struct text text = { 0 };
    struct config *config = read_file(options->file, &problems);
    bool json = options->json && !config; /* in place of what would be shown */
    print_problems(&problems, options->file, json, json ? stdout : stderr);
    if (!config)
        return EXIT_CONFIG;
    config_show(config, options->json, &text);
    config_free(config);
    return put(stdout, &text);
}

int config_print_schema(void)
{
    struct text text = { 0 };
    config_schema(&text);
    return put(stdout, &text);
}

/* What the command line says becomes a text of YAML, in which JSON's strings are strings whatever they hold. */
static void proxy_yaml(const struct options *options, struct text *yaml)
{
    text_add(yaml, SLICE("listeners: [ { address: "));
    text_json_string(yaml, slice_of_text(options->words[0]));
    text_add(yaml, SLICE(" } ]\nroutes: [ { pool: app } ]\npools: { app: { balance: least-load, servers: ["));
    for (int i = 0; i < options->to_count; i++) {
        text_add(yaml, i ? SLICE(", ") : SLICE(" "));
        text_json_string(yaml, slice_of_text(options->to[i]));
    }
    text_add(yaml, SLICE(" ] } }\ncontrol: { socket: "));
    text_json_string(yaml, options->socket ? slice_of_text(options->socket) : SLICE("off"));
    text_add(yaml, SLICE(" }\n"));
}

int verb_proxy(const struct options *options)
{
    static struct config_problems problems;
    struct text yaml = { 0 };
    if (options->to_count == 0) {
        fprintf(stderr, "weir: to which server? (--to HOST:PORT)\n");
        return EXIT_USAGE;
    }
    proxy_yaml(options, &yaml);
    struct config *config = config_parse(text_slice(&yaml), "command line", &problems);
    text_release(&yaml);
    print_problems(&problems, "command line", false, stderr);
    return config ? server_run(config, NULL) : EXIT_CONFIG;
}

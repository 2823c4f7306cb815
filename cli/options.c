/* Reading the command line by the table of options. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "engine/base/slice.h"

#define HINT_DISTANCE 3 /* further away is no help */

const char *nearest_hint(const char *word, int count, word_at_function *word_at, const void *context, char *out, size_t cap)
{
    unsigned best = HINT_DISTANCE;
    out[0] = 0;
    for (int i = 0; i < count; i++) {
        const char *candidate = word_at(context, i);
        unsigned distance = candidate ? slice_distance(slice_of_text(word), slice_of_text(candidate), best) : best;
        if (distance >= best)
            continue;
        best = distance;
        snprintf(out, cap, "; did you mean \"%s\"?", candidate);
    }
    return out;
}

/* What the verb does not take is no help. */
static const char *option_at(const void *context, int index)
{
    const struct verb *verb = context;
    return (verb->options | OPTION_HELP) & option_rows[index].bit ? option_rows[index].name : NULL;
}

static bool store_target(struct options *options, const char *value)
{
    if (options->to_count == CLI_TARGETS_MAX) {
        fprintf(stderr, "weir: more than %d times --to: write a configuration\n", CLI_TARGETS_MAX);
        return false;
    }
    options->to[options->to_count++] = value;
    return true;
}

static bool store_header(struct options *options, const char *value)
{
    if (options->header_count == CLI_HEADERS_MAX) {
        fprintf(stderr, "weir: more than %d times --header\n", CLI_HEADERS_MAX);
        return false;
    }
    options->headers[options->header_count++] = value;
    return true;
}

static bool store_tag(struct options *options, const char *value)
{
    if (options->tag_count == CLI_TAGS_MAX) {
        fprintf(stderr, "weir: more than %d times --tag\n", CLI_TAGS_MAX);
        return false;
    }
    options->tags[options->tag_count++] = value;
    return true;
}

static bool store(struct options *options, enum option_bit bit, const char *value)
{
    switch (bit) {
    case OPTION_FILE: options->file = value; break;
    case OPTION_SOCKET: options->socket = value; break;
    case OPTION_JSON: options->json = true; break;
    case OPTION_NOW: options->now = true; break;
    case OPTION_DEADLINE: options->deadline = value; break;
    case OPTION_ONCE: options->once = true; break;
    case OPTION_EFFECTIVE: options->effective = true; break;
    case OPTION_TO: return store_target(options, value);
    case OPTION_HELP: options->help = true; break;
    case OPTION_HEADER: return store_header(options, value);
    case OPTION_FROM: options->from = value; break;
    case OPTION_EXPIRING: options->expiring = value; break;
    case OPTION_WEIGHT: options->weight = value; break;
    case OPTION_MAX_CONNECTIONS: options->max_connections = value; break;
    case OPTION_GROUP: options->group = value; break;
    case OPTION_PREFIX: options->prefix = value; break;
    case OPTION_HOST: options->host = value; break;
    case OPTION_TAG: return store_tag(options, value);
    case OPTION_ALL: options->all = true; break;
    case OPTION_SOFT: options->soft = true; break;
    }
    return true;
}

static bool unknown_option(const struct verb *verb, const char *word, size_t length)
{
    char hint[64], name[64];
    snprintf(name, sizeof name, "%.*s", (int)size_min(length, sizeof name - 1), word);
    fprintf(stderr, "weir: no option \"%s\"%s\n", name, nearest_hint(name, option_count, option_at, verb, hint, sizeof hint));
    return false;
}

/* "--name VALUE", "--name=VALUE", "-n VALUE" or a flag; *i moves past a value that stands by itself. */
static bool read_option(struct options *options, const struct verb *verb, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const struct option_row *row = option_named(word, length);
    if (!row)
        return unknown_option(verb, word, length);
    if (!((verb->options | OPTION_HELP) & row->bit)) {
        fprintf(stderr, "weir: %s takes no %s\n", verb->word, row->name);
        return false;
    }
    if (!row->value && equals) {
        fprintf(stderr, "weir: %s takes no value\n", row->name);
        return false;
    }
    const char *value = equals ? equals + 1 : row->value && *i + 1 < argc ? argv[++*i] : NULL;
    if (row->value && (!value || !value[0])) {
        fprintf(stderr, "weir: %s wants a %s\n", row->name, row->value);
        return false;
    }
    return store(options, row->bit, value);
}

static bool read_word(struct options *options, const char *word)
{
    if (options->word_count == CLI_WORDS_MAX) {
        fprintf(stderr, "weir: too many words\n");
        return false;
    }
    options->words[options->word_count++] = word;
    return true;
}

bool options_read(struct options *options, const struct verb *verb, int argc, char **argv)
{
    const char *socket = getenv("WEIR_SOCKET");
    *options = (struct options){ .socket = socket && socket[0] ? socket : NULL };
    bool words_only = false; /* behind "--" */
    for (int i = 0; i < argc; i++) {
        bool option = !words_only && argv[i][0] == '-' && argv[i][1];
        if (option && strcmp(argv[i], "--") == 0) {
            words_only = true;
        } else if (option ? !read_option(options, verb, argc, argv, &i) : !read_word(options, argv[i])) {
            verb_usage(verb, stderr);
            return false;
        }
    }
    return true;
}

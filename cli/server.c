/* weir server ACTION ...: what an operator does to single servers while the engine runs. A table of actions. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/print.h"

struct action {
    const char *word;
    const char *arguments;
    int least, most; /* words behind the action */
    unsigned options; /* bits that only this one takes */
    bool (*fill)(const struct options *options, struct wire_request *request); /* false after saying what is wrong */
};

/* Texts of the command line go into the request whole or not at all. */
static bool put(char *out, size_t cap, const char *text)
{
    if (strlen(text) < cap) {
        memcpy(out, text, strlen(text) + 1);
        return true;
    }
    fprintf(stderr, "weir: no server has so long a name\n");
    return false;
}

static bool put_server(const struct options *options, struct wire_request *request)
{
    return put(request->argument, sizeof request->argument, options->words[1]);
}

static bool read_count(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    if (!text || (slice_to_u64(slice_of_text(text), out) == ERR_OK && *out >= least && *out <= most))
        return true;
    fprintf(stderr, "weir: \"%s\" is no %s: %llu to %llu\n", text, what, (unsigned long long)least, (unsigned long long)most);
    return false;
}

static bool fill_add(const struct options *options, struct wire_request *request)
{
    char name[sizeof request->argument];
    int length = snprintf(name, sizeof name, "%s/%s", options->words[1], options->words[2]);
    return put(request->argument, length < (int)sizeof name ? sizeof request->argument : 0, name) &&
           read_count("weight", options->weight, 1, WIRE_WEIGHT_MAX, &request->weight) &&
           read_count("number of connections", options->max_connections, 1, 1000000, &request->max_connections) &&
           read_count("group", options->group, 0, WIRE_GROUP_MAX, &request->group);
}

static bool fill_weight(const struct options *options, struct wire_request *request)
{
    return put_server(options, request) && read_count("weight", options->words[2], 1, WIRE_WEIGHT_MAX, &request->weight);
}

static bool fill_state(const struct options *options, struct wire_request *request)
{
    const char *word = options->words[2];
    if (strcmp(word, "up") != 0 && strcmp(word, "down") != 0 && strcmp(word, "auto") != 0) {
        fprintf(stderr, "weir: \"%s\" is no state: up, down or auto\n", word);
        return false;
    }
    return put_server(options, request) && put(request->value, sizeof request->value, word);
}

static bool fill_list(const struct options *options, struct wire_request *request)
{
    return options->word_count < 2 || put_server(options, request);
}

#define OPTIONS_OF_ADD (OPTION_WEIGHT | OPTION_MAX_CONNECTIONS | OPTION_GROUP)

static const struct action actions[] = {
    { "add", "POOL ADDRESS", 2, 2, OPTIONS_OF_ADD, fill_add },
    { "remove", "POOL/ADDRESS", 1, 1, 0, put_server },
    { "weight", "POOL/ADDRESS N", 2, 2, 0, fill_weight },
    { "drain", "POOL/ADDRESS", 1, 1, 0, put_server },
    { "undrain", "POOL/ADDRESS", 1, 1, 0, put_server },
    { "state", "POOL/ADDRESS up|down|auto", 2, 2, 0, fill_state },
    { "list", "[POOL]", 0, 1, 0, fill_list },
    { "save", "", 0, 0, 0, NULL },
    { "reset", "", 0, 0, 0, NULL },
};

static const char *action_at(const void *context, int index)
{
    (void)context;
    return actions[index].word;
}

static const struct action *action_named(const char *word)
{
    char hint[64];
    for (size_t i = 0; i < ARRAY_LENGTH(actions); i++)
        if (strcmp(actions[i].word, word) == 0)
            return &actions[i];
    fprintf(stderr, "weir: server: no action \"%s\"%s\n", word,
            nearest_hint(word, (int)ARRAY_LENGTH(actions), action_at, NULL, hint, sizeof hint));
    return NULL;
}

static bool fits(const struct options *options, const struct action *action)
{
    int words = options->word_count - 1;
    bool extra = options->weight || options->max_connections || options->group;
    if (words >= action->least && words <= action->most && (!extra || action->options))
        return true;
    fprintf(stderr, "usage: weir server %s%s%s%s\n", action->word, action->arguments[0] ? " " : "", action->arguments,
            action->options ? " [--weight N] [--max-connections N] [--group N]" : "");
    return false;
}

int verb_server(const struct options *options)
{
    const struct action *action = action_named(options->words[0]);
    if (!action || !fits(options, action))
        return EXIT_USAGE;
    char command[32];
    snprintf(command, sizeof command, "server-%s", action->word);
    struct wire_request request = client_request(command, NULL);
    if (action->fill && !action->fill(options, &request))
        return EXIT_USAGE;
    return client_ask_and_print(options, &request);
}

/* The tables: what the command can do, and with which options. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "engine/base/slice.h"

const char *weir_version = "0.0.0";

const struct option_row option_rows[] = {
    { OPTION_FILE, 'c', "--config", "FILE", "the configuration" },
    { OPTION_SOCKET, 0, "--socket", "PATH", "the engine's control socket (else $WEIR_SOCKET, else the usual places)" },
    { OPTION_JSON, 0, "--json", NULL, "print JSON" },
    { OPTION_NOW, 0, "--now", NULL, "cut requests in flight" },
    { OPTION_DEADLINE, 0, "--deadline", "DURATION", "how long requests in flight may take: 500ms, 30s, 5m (else the configuration's)" },
    { OPTION_ONCE, 0, "--once", NULL, "one sample, taken over a second" },
    { OPTION_EFFECTIVE, 0, "--effective", NULL, "with every default; they are shown anyway" },
    { OPTION_TO, 0, "--to", "SERVER", "HOST:PORT or unix:PATH to forward to; again for more servers" },
    { OPTION_EXPIRING, 0, "--expiring", "DURATION", "only those that end within it: 14d, 36h; exit code 1 if there are any" },
    { OPTION_HEADER, 'H', "--header", "FIELD", "a field of the request, \"Name: value\"; again for more" },
    { OPTION_FROM, 0, "--from", "ADDRESS", "the client's IP address (else 127.0.0.1)" },
    { OPTION_WEIGHT, 0, "--weight", "N", "share of the requests, 1 to 256 (else 1)" },
    { OPTION_MAX_CONNECTIONS, 0, "--max-connections", "N", "requests at once (else no limit)" },
    { OPTION_GROUP, 0, "--group", "N", "0 to 7; lower ones are asked first (else 0)" },
    { OPTION_PREFIX, 0, "--prefix", "URL", "all URLs that begin with this one" },
    { OPTION_HOST, 0, "--host", "HOST", "all of this host, with its port where that is not the scheme's own" },
    { OPTION_TAG, 0, "--tag", "TAG", "all with this tag; again for more tags" },
    { OPTION_ALL, 0, "--all", NULL, "everything" },
    { OPTION_SOFT, 0, "--soft", NULL, "mark as stale, do not remove: origins are asked whether it still holds" },
    { OPTION_HELP, 'h', "--help", NULL, "what the verb does, and its options" },
};
const int option_count = (int)ARRAY_LENGTH(option_rows);

static int verb_help(const struct options *options);

#define ASKS (OPTION_SOCKET | OPTION_JSON)

const struct verb verbs[] = {
    { "run", "", "run the engine in the foreground", NULL, OPTION_FILE, 0, 0, verb_run },
    { "check", "", "say everything that is wrong with a configuration", NULL, OPTION_FILE | OPTION_JSON, 0, 0, verb_check },
    { "reload", "", "read the file again; says what changed, or why it was refused", NULL, ASKS, 0, 0, verb_reload },
    { "status", "", "one look at the engine", NULL, ASKS, 0, 0, verb_status },
    { "top", "", "a live view per core and per server", NULL, ASKS | OPTION_ONCE, 0, 0, verb_top },
    { "pools", "", "pools and the state of their servers", NULL, ASKS, 0, 0, verb_pools },
    { "drain", "SERVER", "no new requests to a server (POOL/ADDRESS or ADDRESS)", CHOICES_SERVERS, ASKS, 1, 1, verb_drain },
    { "undrain", "SERVER", "use a drained server again", CHOICES_SERVERS, ASKS, 1, 1, verb_undrain },
    { "server", "ACTION [POOL|POOL/ADDRESS] [ADDRESS|VALUE]", "add, remove, weight, drain, undrain, state, list, save or reset: servers, without the file",
      "add remove weight drain undrain state list save reset", ASKS | OPTION_WEIGHT | OPTION_MAX_CONNECTIONS | OPTION_GROUP, 1, 3, verb_server },
    { "config", "show|schema|manual", "the configuration with every default, its JSON Schema, or weir.yaml(5)", "show schema manual",
      ASKS | OPTION_FILE | OPTION_EFFECTIVE, 1, 1, verb_config },
    { "certs", "list", "the certificates in use, and when they end", "list", ASKS | OPTION_EXPIRING, 1, 1, verb_certs },
    { "explain", "[METHOD] URL", "what would become of a request, without sending it", NULL, ASKS | OPTION_HEADER | OPTION_FROM, 1, 2,
      verb_explain },
    { "purge", "[URL]", "take stored responses out of the cache, by URL, prefix, host or tag, or all", NULL,
      ASKS | OPTION_PREFIX | OPTION_HOST | OPTION_TAG | OPTION_ALL | OPTION_SOFT | OPTION_HEADER, 0, 1, verb_purge },
    { "cache", "status|show [URL]", "the cache's figures, or what is stored for a URL", "status show", ASKS | OPTION_HEADER | OPTION_FROM, 1, 2, verb_cache },
    { "metrics", "", "all counters in Prometheus' text format", NULL, ASKS, 0, 0, verb_metrics },
    { "stop", "", "stop gracefully: requests in flight end first", NULL, ASKS | OPTION_NOW | OPTION_DEADLINE, 0, 0, verb_stop },
    { "proxy", "ADDRESS", "forward from one address, without a file", NULL, OPTION_TO | OPTION_SOCKET, 1, 1, verb_proxy },
    { "demo", "", "the engine before three small origins of its own, to try it out", NULL, 0, 0, 0, verb_demo },
    { "version", "", "this command's version", NULL, OPTION_JSON, 0, 0, verb_version },
    { "completion", "bash|zsh|fish", "completion for a shell", "bash zsh fish", 0, 1, 1, verb_completion },
    { "help", "[VERB]", "this list, or one verb's options", CHOICES_VERBS, 0, 0, 1, verb_help },
};
const int verb_count = (int)ARRAY_LENGTH(verbs);

const struct verb *verb_named(const char *word)
{
    for (int i = 0; i < verb_count; i++)
        if (strcmp(verbs[i].word, word) == 0)
            return &verbs[i];
    return NULL;
}

const struct option_row *option_named(const char *word, size_t length)
{
    for (int i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (slice_equal(slice_of(word, length), slice_of_text(row->name)))
            return row;
        if (row->letter && length == 2 && word[0] == '-' && word[1] == row->letter)
            return row;
    }
    return NULL;
}

/* Usage and help ----------------------------------------------------------------------------------------------- */

/* run, check and proxy are nothing without theirs. */
static bool required(const struct verb *verb, enum option_bit bit)
{
    return (bit == OPTION_FILE && (verb->run == verb_run || verb->run == verb_check)) || bit == OPTION_TO;
}

static void put_option(const struct verb *verb, const struct option_row *row, FILE *out)
{
    bool optional = !required(verb, row->bit);
    fputs(optional ? " [" : " ", out);
    if (row->letter)
        fprintf(out, "-%c", row->letter);
    else
        fputs(row->name, out);
    if (row->value)
        fprintf(out, " %s", row->value);
    bool repeats = OPTIONS_REPEATED & row->bit;
    fputs(!optional ? "" : repeats ? " ...]" : "]", out);
    if (repeats && !optional)
        fprintf(out, " [%s %s ...]", row->name, row->value);
}

void verb_usage(const struct verb *verb, FILE *out)
{
    fprintf(out, "usage: weir %s%s%s", verb->word, verb->arguments[0] ? " " : "", verb->arguments);
    for (int i = 0; i < option_count; i++)
        if (verb->options & option_rows[i].bit)
            put_option(verb, &option_rows[i], out);
    fputs("\n", out);
}

void verb_help_print(const struct verb *verb, FILE *out)
{
    verb_usage(verb, out);
    fprintf(out, "\n%s\n\noptions:\n", verb->summary);
    for (int i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        char words[48], letter[8] = "    ";
        if (!((verb->options | OPTION_HELP) & row->bit))
            continue;
        if (row->letter)
            snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(words, sizeof words, "%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
        fprintf(out, "  %s%-20s %s\n", letter, words, row->summary);
    }
}

static void list_verbs(FILE *out)
{
    fprintf(out, "weir %s, an edge reverse proxy\n\nusage: weir VERB [options]\n\n", weir_version);
    for (int i = 0; i < verb_count; i++)
        fprintf(out, "  %-11s %s\n", verbs[i].word, verbs[i].summary);
    fprintf(out, "\nweir help VERB lists a verb's options; weir(1) and weir.yaml(5) say it all.\n"
                 "exit codes: 0 ok, 1 failed, 2 usage, 3 bad configuration, 4 engine unreachable, 5 permission, 75 try again\n");
}

static const char *verb_at(const void *context, int index)
{
    (void)context;
    return verbs[index].word;
}

static int unknown_verb(const char *word)
{
    char hint[64];
    fprintf(stderr, "weir: no verb \"%s\"%s\n", word, nearest_hint(word, verb_count, verb_at, NULL, hint, sizeof hint));
    return EXIT_USAGE;
}

static int verb_help(const struct options *options)
{
    const struct verb *verb = options->word_count ? verb_named(options->words[0]) : NULL;
    if (options->word_count && !verb)
        return unknown_verb(options->words[0]);
    if (verb)
        verb_help_print(verb, stdout);
    else
        list_verbs(stdout);
    return EXIT_OK;
}

/* The command -------------------------------------------------------------------------------------------------- */

static bool words_fit(const struct options *options, const struct verb *verb)
{
    if (options->word_count < verb->words_least)
        fprintf(stderr, "weir: %s wants %s\n", verb->word, verb->arguments);
    else if (options->word_count > verb->words_most)
        fprintf(stderr, "weir: \"%s\" is one word too many\n", options->words[verb->words_most]);
    else
        return true;
    verb_usage(verb, stderr);
    return false;
}

/* What was printed and never arrived is no success. */
static int settle(int code)
{
    errno = EIO; /* an earlier write may have failed, and left no reason */
    bool failed = ferror(stdout);
    if (fflush(stdout) == 0 && !failed)
        return code;
    fprintf(stderr, "weir: standard output: %s\n", strerror(errno));
    return code ? code : EXIT_FAILED;
}

static int run(const struct options *options, const struct verb *verb)
{
    if (options->help) {
        verb_help_print(verb, stdout);
        return EXIT_OK;
    }
    return words_fit(options, verb) ? verb->run(options) : EXIT_USAGE;
}

int cli_run(int argc, char **argv)
{
    struct options options;
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
    if (!options_read(&options, verb, argc - 2, argv + 2))
        return EXIT_USAGE;
    return settle(run(&options, verb));
}

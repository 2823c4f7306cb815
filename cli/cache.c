/* weir purge and weir cache. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"

/* Exactly one thing is to be purged: answers its word, or NULL. */
static const char *purge_kind(const struct options *options)
{
    const char *kind = NULL;
    const struct {
        const char *word;
        bool given;
    } kinds[] = { { "url", options->word_count }, { "prefix", options->prefix }, { "host", options->host }, { "tag", options->tag_count }, { "all", options->all } };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].given && kind)
            return NULL;
        kind = kinds[i].given ? kinds[i].word : kind;
    }
    return kind;
}

static bool add_fields(const struct options *options, struct wire_request *request)
{
    bool fits = true;
    for (int i = 0; fits && i < options->header_count; i++)
        fits = client_add_argument(request, options->headers[i]);
    return fits;
}

int verb_purge(const struct options *options)
{
    const char *kind = purge_kind(options);
    if (!kind || (options->header_count && !options->word_count)) {
        fprintf(stderr, "weir: purge %s\n", kind ? "takes fields with a URL only" : "wants one of: a URL, --prefix, --host, --tag, --all");
        verb_usage(verb_named("purge"), stderr);
        return EXIT_USAGE;
    }
    struct wire_request request = client_request("purge", kind);
    bool fits = true;
    if (options->soft)
        memcpy(request.value, "soft", 5);
    if (options->word_count)
        fits = client_add_argument(&request, options->words[0]) && add_fields(options, &request);
    if (options->prefix || options->host)
        fits = client_add_argument(&request, options->prefix ? options->prefix : options->host);
    for (int i = 0; fits && i < options->tag_count; i++)
        fits = client_add_argument(&request, options->tags[i]);
    return fits ? client_ask_and_print(options, &request) : EXIT_USAGE;
}

int verb_cache(const struct options *options)
{
    bool show = strcmp(options->words[0], "show") == 0;
    if ((!show && strcmp(options->words[0], "status") != 0) || options->word_count != (show ? 2 : 1)) {
        fprintf(stderr, "weir: cache status, or cache show URL?\n");
        return EXIT_USAGE;
    }
    if (!show && (options->header_count || options->from)) {
        fprintf(stderr, "weir: cache status is of no request: it takes no field and no address\n");
        return EXIT_USAGE;
    }
    struct wire_request request = client_request(show ? "cache-show" : "cache-status", NULL);
    bool fits = !show || (client_add_argument(&request, "GET") && client_add_argument(&request, options->words[1]) &&
                          client_add_argument(&request, options->from ? options->from : "") && add_fields(options, &request));
    return fits ? client_ask_and_print(options, &request) : EXIT_USAGE;
}

#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "engine/base/slice.h"

static bool add(struct wire_request *request, size_t *bytes, const char *text)
{
    size_t length = strlen(text);
    *bytes += length;
    if (length > WIRE_ARGUMENT_BYTES_MAX || *bytes > WIRE_REQUEST_BYTES_MAX / 2) {
        fprintf(stderr, "weir: \"%.40s...\" is too long: URL and fields have at most %u bytes each, and %u together\n", text,
                WIRE_ARGUMENT_BYTES_MAX, WIRE_REQUEST_BYTES_MAX / 2);
        return false;
    }
    request->arguments[request->argument_count++] = text;
    return true;
}

/* The engine is given method, URL, the client's address or nothing, then fields. */
int verb_explain(const struct options *options)
{
    struct wire_request request = client_request("explain", NULL);
    bool has_method = options->word_count == 2;
    size_t bytes = 0;
    bool fits = add(&request, &bytes, has_method ? options->words[0] : "GET") && add(&request, &bytes, options->words[has_method]) &&
                add(&request, &bytes, options->from ? options->from : "");
    for (int i = 0; fits && i < options->header_count; i++)
        fits = add(&request, &bytes, options->headers[i]);
    return fits ? client_ask_and_print(options, &request) : EXIT_USAGE;
}

#include "cli/client.h"

/* The engine is given method, URL, the client's address or nothing, then fields. */
int verb_explain(const struct options *options)
{
    struct wire_request request = client_request("explain", NULL);
    bool has_method = options->word_count == 2;
    bool fits = client_add_argument(&request, has_method ? options->words[0] : "GET") &&
                client_add_argument(&request, options->words[has_method]) && client_add_argument(&request, options->from ? options->from : "");
    for (int i = 0; fits && i < options->header_count; i++)
        fits = client_add_argument(&request, options->headers[i]);
    return fits ? client_ask_and_print(options, &request) : EXIT_USAGE;
}

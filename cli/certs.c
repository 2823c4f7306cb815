#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/print.h"
#include "engine/base/slice.h"

/* "14d", "36h": a whole number of days or hours, a century at most. */
static bool read_days(const char *text, uint64_t *ms)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t value, hours = strcmp(text + digits, "d") == 0 ? 24 : strcmp(text + digits, "h") == 0 ? 1 : 0;
    if (hours == 0 || slice_to_u64(slice_of(text, digits), &value) != ERR_OK || value > 36500ull * 24 / hours)
        return false;
    *ms = value * hours * 3600000;
    return true;
}

/* The engine lists what ends in time; its text is empty when nothing does. */
int verb_certs(const struct options *options)
{
    struct wire_request request = { .command = "certs", .deadline_ms = UINT64_MAX };
    struct wire_answer answer;
    if (strcmp(options->words[0], "list") != 0) {
        fprintf(stderr, "weir: certs list?\n");
        return EXIT_USAGE;
    }
    char why[256];
    if (options->expiring && !read_days(options->expiring, &request.deadline_ms)) {
        fprintf(stderr, "weir: \"%s\" is no number of days or hours (14d, 36h)\n", options->expiring);
        return EXIT_USAGE;
    }
    int code = client_ask(options, &request, &answer, why);
    if (code != EXIT_OK)
        return print_failure(options, code, why);
    print_text(options->json ? slice_of(answer.json, answer.json_length) : slice_of(answer.text, answer.text_length), isatty(STDOUT_FILENO), stdout);
    if (options->json)
        fputs("\n", stdout);
    code = answer.code ? (int)answer.code : options->expiring && answer.text_length ? EXIT_FAILED : EXIT_OK;
    wire_answer_release(&answer);
    return code;
}

#include "cli/print.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

bool colour_wanted(int fd)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fd) && !(no_colour && no_colour[0]) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static const struct {
    struct slice word;
    const char *colour;
} states[] = {
    { { "up", 2 }, GREEN }, { { "drained", 7 }, YELLOW }, { { "trial", 5 }, YELLOW }, { { "down", 4 }, RED }, { { "marked", 6 }, RED },
};

static const char *colour_of(struct slice word)
{
    if (word.length && word.at[word.length - 1] == ':')
        word.length--; /* "marked: connect failed" */
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++)
        if (slice_equal(word, states[i].word))
            return states[i].colour;
    return NULL;
}

/* C0 and DEL, and C1, which terminals obey in UTF-8 too. */
static bool commands_terminal(uint32_t character)
{
    return (character < ' ' && character != '\n' && character != '\t') || (character >= 0x7f && character < 0xa0);
}

/* An engine is whatever listens on a socket. Its words are printed, not obeyed. */
static void put(struct slice s, FILE *out)
{
    while (s.length) {
        uint32_t character = 0;
        unsigned bytes = text_utf8_next(s, &character);
        if (bytes == 0 || commands_terminal(character))
            fputc('?', out);
        else
            fwrite(s.at, 1, bytes, out);
        bytes = bytes ? bytes : 1;
        s = slice_of(s.at + bytes, s.length - bytes);
    }
}

void print_text(struct slice text, bool terminal, FILE *out)
{
    if (terminal)
        put(text, out);
    else if (text.length)
        fwrite(text.at, 1, text.length, out);
}

/* "  ADDRESS   STATE ...": only the second word is a state, whatever the address is. */
static void put_server(struct slice line, FILE *out)
{
    size_t at = strspn(line.at, " ");
    at += strcspn(line.at + at, " \n");
    at += strspn(line.at + at, " ");
    struct slice word = slice_of(line.at + at, strcspn(line.at + at, " \n"));
    const char *colour = colour_of(word);
    put(slice_of(line.at, at), out);
    fputs(colour ? colour : "", out);
    put(word, out);
    fputs(colour ? PLAIN : "", out);
    put(slice_of(word.at + word.length, line.length - at - word.length), out);
}

static void put_line(struct slice line, FILE *out)
{
    const char *style = line.at[0] != ' ' ? BOLD : slice_starts(line, SLICE("  server ")) ? DIM : NULL;
    if (!style) {
        put_server(line, out);
        return;
    }
    fputs(style, out);
    put(line, out);
    fputs(PLAIN, out);
}

void print_pools(const char *text, FILE *out)
{
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        if (end > text)
            put_line(slice_of(text, (size_t)(end - text)), out);
        fputs("\n", out);
    }
    put(slice_of_text(text), out);
}

int print_failure(const struct options *options, int code, const char *why)
{
    struct text json = { 0 };
    if (options->json) {
        text_add(&json, SLICE("{\"error\":"));
        text_json_string(&json, slice_of_text(why));
        text_add(&json, SLICE("}\n"));
        fputs(text_slice(&json).at, stdout);
    } else {
        fputs("weir: ", stderr);
        print_text(slice_of_text(why), isatty(STDERR_FILENO), stderr);
        fputs("\n", stderr);
    }
    text_release(&json);
    return code;
}

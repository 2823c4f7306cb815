/*
 * What is wrong with a configuration: recording it while the file is at hand, and printing it for people and machines.
 *
 * A problem carries its own copy of the source line, so that it can travel (to the control socket's other end) when file and
 * nodes are gone.
 */
#include "engine/config_problem.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/text.h"

/* Characters of a source line that are kept, and how many of them stand before the place when the line is longer. */
#define SOURCE_CHARACTERS 100u
#define SOURCE_BEFORE 40u

/* Recording ------------------------------------------------------------------------------------------------------- */

unsigned source_line_break(struct slice s)
{
    if (s.length >= 2 && s.at[0] == '\r' && s.at[1] == '\n')
        return 2;
    if (s.length >= 1 && (s.at[0] == '\r' || s.at[0] == '\n'))
        return 1;
    if (slice_starts(s, SLICE("\xc2\x85")))
        return 2;
    return slice_starts(s, SLICE("\xe2\x80\xa8")) || slice_starts(s, SLICE("\xe2\x80\xa9")) ? 3 : 0;
}

static struct slice after(struct slice s, size_t bytes)
{
    return slice_of(s.at + bytes, s.length - bytes);
}

/* From the beginning of a line to the end of the file. */
static struct slice from_line(struct slice text, uint32_t line)
{
    for (uint32_t at = 1; at < line && text.length;) {
        unsigned broken = source_line_break(text);
        at += broken != 0;
        text = after(text, broken ? broken : 1);
    }
    return text;
}

/* Bytes of the character at the front; what is no UTF-8 counts as one. */
static unsigned character_bytes(struct slice s, bool *printable)
{
    uint32_t character = 0;
    unsigned bytes = text_utf8_next(s, &character);
    *printable = bytes != 0 && character >= ' ' && !text_unprintable(character);
    return bytes ? bytes : 1;
}

/* Characters of the line at the front of text, or `most` if it has more. */
static uint32_t line_characters(struct slice text, uint32_t most)
{
    uint32_t count = 0;
    for (bool printable; text.length && !source_line_break(text) && count < most; count++)
        text = after(text, character_bytes(text, &printable));
    return count;
}

/* Copies the line, or the part of a long line around the place, to problem->source; a character stays one column wide. */
static void keep_source(struct config_problem *problem, struct slice text)
{
    struct slice rest = from_line(text, problem->line);
    uint32_t column = problem->column ? problem->column - 1 : 0;
    bool fits = line_characters(rest, SOURCE_CHARACTERS + 1) <= SOURCE_CHARACTERS;
    uint32_t skip = fits || column <= SOURCE_BEFORE ? 0 : column - SOURCE_BEFORE;
    size_t length = 0;
    for (uint32_t at = 0; rest.length && !source_line_break(rest) && at < skip + SOURCE_CHARACTERS; at++) {
        bool printable;
        unsigned bytes = character_bytes(rest, &printable);
        if (length + bytes >= sizeof problem->source)
            break;
        if (at >= skip && printable) {
            memcpy(problem->source + length, rest.at, bytes);
            length += bytes;
        } else if (at >= skip) {
            problem->source[length++] = *rest.at == '\t' ? ' ' : '?';
        }
        rest = after(rest, bytes);
    }
    problem->source[length] = '\0';
    problem->caret = column - skip;
}

static struct config_problem *record(struct reporter *reporter, struct place place, bool warning)
{
    struct config_problems *problems = reporter->problems;
    struct config_problem *problem = &reporter->spare;
    if (problems->count < CONFIG_PROBLEMS_MAX)
        problem = &problems->list[problems->count++];
    else
        problems->more++;
    problems->errors += !warning;
    *problem = (struct config_problem){ .line = place.line, .column = place.column, .width = place.width, .warning = warning };
    if (place.line && problem != &reporter->spare) /* which costs a walk to the line */
        keep_source(problem, reporter->text);
    return problem;
}

struct config_problem *problem_error(struct reporter *reporter, struct place place, const char *format, ...)
{
    struct config_problem *problem = record(reporter, place, false);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->message, sizeof problem->message, format, arguments);
    va_end(arguments);
    return problem;
}

struct config_problem *problem_warning(struct reporter *reporter, struct place place, const char *format, ...)
{
    struct config_problem *problem = record(reporter, place, true);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->message, sizeof problem->message, format, arguments);
    va_end(arguments);
    return problem;
}

void problem_help(struct config_problem *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->help, sizeof problem->help, format, arguments);
    va_end(arguments);
}

void problem_note(struct config_problem *problem, struct place place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->note, sizeof problem->note, format, arguments);
    va_end(arguments);
    problem->note_line = place.line;
    problem->note_column = place.column;
}

static int compare_places(const void *left, const void *right)
{
    const struct config_problem *a = left, *b = right;
    if ((a->line == 0) != (b->line == 0))
        return a->line == 0 ? 1 : -1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->column == b->column ? 0 : a->column < b->column ? -1 : 1;
}

void problems_sort(struct config_problems *problems)
{
    qsort(problems->list, problems->count, sizeof problems->list[0], compare_places);
}

/* Words ----------------------------------------------------------------------------------------------------------- */

struct quoted quoted(struct slice bytes)
{
    struct quoted made = { "" };
    const size_t room = sizeof made.text - sizeof "...";
    size_t length = 0;
    while (bytes.length) {
        bool printable;
        unsigned width = character_bytes(bytes, &printable);
        if (length + (printable ? width : 4) > room)
            break;
        if (printable)
            memcpy(made.text + length, bytes.at, width);
        else
            snprintf(made.text + length, 5, "\\x%02x", (unsigned char)bytes.at[0]);
        length += printable ? width : 4;
        bytes = after(bytes, printable ? width : 1);
    }
    memcpy(made.text + length, bytes.length ? "..." : "", bytes.length ? sizeof "..." : 1);
    return made;
}

struct nearest nearest_to(struct slice written)
{
    /* "ap" may be meant to be "app", "adress" to be "address"; "a" is not meant to be "b". */
    unsigned most = written.length < 2 ? 0 : (unsigned)size_min(1 + written.length / 5, 3);
    return (struct nearest){ .written = written, .distance = most + 1 };
}

static struct slice lower(struct slice s, char out[64])
{
    if (s.length > 64)
        return s;
    for (size_t i = 0; i < s.length; i++)
        out[i] = (char)(s.at[i] == '_' ? '-' : s.at[i] >= 'A' && s.at[i] <= 'Z' ? s.at[i] | 0x20 : s.at[i]);
    return slice_of(out, s.length);
}

void nearest_offer(struct nearest *nearest, struct slice candidate)
{
    char a[64], b[64];
    unsigned distance = slice_distance(lower(nearest->written, a), lower(candidate, b), nearest->distance);
    if (distance < nearest->distance) {
        nearest->distance = distance;
        nearest->best = candidate;
    }
}

/* Printing -------------------------------------------------------------------------------------------------------- */

struct palette {
    const char *error, *warning, *help, *strong, *end;
};
static const struct palette colours = { "\033[1;31m", "\033[1;35m", "\033[1;36m", "\033[1m", "\033[0m" };
static const struct palette no_colours = { "", "", "", "", "" };

static void print_place(const char *file_name, uint32_t line, uint32_t column, struct text *out)
{
    text_format(out, "%s:", file_name);
    if (line)
        text_format(out, "%u:%u:", line, column);
    text_add(out, SLICE(" "));
}

static size_t characters_of(struct slice s)
{
    size_t count = 0;
    for (; s.length; count++) {
        bool printable;
        s = after(s, character_bytes(s, &printable));
    }
    return count;
}

/* The line, and below it the caret run, which never reaches beyond the line. */
static void print_source(const struct config_problem *problem, const char *colour, const char *end, struct text *out)
{
    char number[16];
    int margin = snprintf(number, sizeof number, "%5u", problem->line);
    size_t characters = characters_of(slice_of_text(problem->source));
    size_t room = characters > problem->caret ? characters - problem->caret : 1;
    text_format(out, "%s | %s\n%*s | %*s%s", number, problem->source, margin, "", (int)problem->caret, "", colour);
    for (size_t i = 0; i < size_max(1, size_min(problem->width, room)); i++)
        text_add(out, SLICE("^"));
    text_format(out, "%s\n", end);
}

static void print_problem(const struct config_problem *problem, const char *file_name, const struct palette *palette,
                          struct text *out)
{
    const char *colour = problem->warning ? palette->warning : palette->error;
    text_add(out, slice_of_text(palette->strong));
    print_place(file_name, problem->line, problem->column, out);
    text_format(out, "%s%s%s:%s %s%s%s\n", palette->end, colour, problem->warning ? "warning" : "error", palette->end,
                palette->strong, problem->message, palette->end);
    if (problem->source[0])
        print_source(problem, colour, palette->end, out);
    if (problem->help[0])
        text_format(out, "      %shelp:%s %s\n", palette->help, palette->end, problem->help);
    if (problem->note[0]) {
        text_format(out, "      %snote:%s ", palette->help, palette->end);
        print_place(file_name, problem->note_line, problem->note_column, out);
        text_format(out, "%s\n", problem->note);
    }
}

void config_problems_print(const struct config_problems *problems, const char *file_name, bool colour, struct text *out)
{
    for (uint32_t i = 0; i < problems->count; i++)
        print_problem(&problems->list[i], file_name, colour ? &colours : &no_colours, out);
    if (problems->more)
        text_format(out, "%s: and %u more\n", file_name, problems->more);
}

static void print_json_text(const char *key, const char *value, struct text *out)
{
    text_format(out, ",\"%s\":", key);
    text_json_string(out, slice_of_text(value));
}

static void print_json(const struct config_problem *problem, const char *file_name, struct text *out)
{
    text_format(out, "{\"severity\":\"%s\"", problem->warning ? "warning" : "error");
    print_json_text("file", file_name, out);
    if (problem->line)
        text_format(out, ",\"line\":%u,\"column\":%u,\"width\":%u", problem->line, problem->column, problem->width);
    print_json_text("message", problem->message, out);
    if (problem->help[0])
        print_json_text("help", problem->help, out);
    if (problem->note[0]) {
        text_format(out, ",\"note\":{\"line\":%u,\"column\":%u", problem->note_line, problem->note_column);
        print_json_text("message", problem->note, out);
        text_add(out, SLICE("}"));
    }
    if (problem->source[0])
        print_json_text("source", problem->source, out);
    text_add(out, SLICE("}"));
}

void config_problems_json(const struct config_problems *problems, const char *file_name, struct text *out)
{
    text_add(out, SLICE("{\"problems\":["));
    for (uint32_t i = 0; i < problems->count; i++) {
        if (i)
            text_add(out, SLICE(","));
        print_json(&problems->list[i], file_name, out);
    }
    text_format(out, "],\"errors\":%u,\"more\":%u}\n", problems->errors, problems->more);
}

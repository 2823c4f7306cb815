/*
 * config_problem: telling what is wrong, and where.
 *
 * A problem is recorded with its place and source line; help and a note about another place can be added to the one
 * just made. Beyond CONFIG_PROBLEMS_MAX problems are counted only.
 */
#ifndef WEIR_CONFIG_PROBLEM_H
#define WEIR_CONFIG_PROBLEM_H

#include "engine/config.h"
#include "engine/config_node.h"

struct reporter {
    struct slice text; /* the file */
    struct config_problems *problems;
    struct config_problem spare; /* what goes beyond the cap is written here */
};

/* Never NULL; lives as long as reporter and problems. place.line == 0: not about a place. */
struct config_problem *problem_error(struct reporter *reporter, struct place place, const char *format, ...) printf_like(3, 4);
struct config_problem *problem_warning(struct reporter *reporter, struct place place, const char *format, ...) printf_like(3, 4);
void problem_help(struct config_problem *problem, const char *format, ...) printf_like(2, 3);
void problem_note(struct config_problem *problem, struct place place, const char *format, ...) printf_like(3, 4);

/* Bytes of the line break at the front of s, as libyaml counts them (CR LF, LF, CR, NEL, LS, PS), or 0. */
unsigned source_line_break(struct slice s);

/* In the order of the file; what is not about a place comes last. */
void problems_sort(struct config_problems *problems);

/* Text from a file, made fit for a message: what is not printable is escaped, what is long is cut. Lives until the full expression ends. */
struct quoted {
    char text[72];
};
struct quoted quoted(struct slice bytes);

/* The word nearest to what was written, if it is near enough to be meant. Offer every candidate, then ask `best`. */
struct nearest {
    struct slice written;
    struct slice best; /* at == NULL: none is near */
    unsigned distance;
};
struct nearest nearest_to(struct slice written);
void nearest_offer(struct nearest *nearest, struct slice candidate);

#endif

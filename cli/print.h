/*
 * print: what the engine's texts look like on a terminal, where they may not command it. Everywhere else they are printed as they come.
 */
#ifndef WEIR_CLI_PRINT_H
#define WEIR_CLI_PRINT_H

#include "cli/cli.h"
#include "engine/base/slice.h"

/* True for a terminal, unless NO_COLOR (no-color.org) is set to something or TERM is "dumb". */
bool colour_wanted(int fd);

/* For a terminal, control characters but tabs and line ends, and what is no UTF-8, become "?". */
void print_text(struct slice text, bool terminal, FILE *out);

/* A listing of pools (engine/report.c), for a terminal: pools' names bold, servers' states in colour. */
void print_pools(const char *text, FILE *out);

/* Why a command failed: a sentence on standard error or, if JSON is wanted, {"error": why} on standard output. Returns code. */
int print_failure(const struct options *options, int code, const char *why);

#endif

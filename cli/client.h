/*
 * client: one request to a running engine and its answer, blocking, with a time limit.
 */
#ifndef WEIR_CLI_CLIENT_H
#define WEIR_CLI_CLIENT_H

#include "cli/cli.h"
#include "engine/control_wire.h"

/* Connects, sends, reads the answer. EXIT_OK with *answer to be released, or an exit code and why, a sentence without its full stop. */
int client_ask(const struct options *options, const struct wire_request *request, struct wire_answer *answer, char why[256]);

/* The same, and prints what the engine said, as text or JSON, or why nothing was. An error that is no JSON goes to standard error. */
int client_ask_and_print(const struct options *options, const struct wire_request *request);

struct wire_request client_request(const char *command, const char *argument);

/* One more of the request's arguments, which has to last as long as it. False after saying that it is too long, or too much with the others. */
bool client_add_argument(struct wire_request *request, const char *text);

/* For tests: how long a whole answer may take; where an engine is looked for when no socket was named. */
extern int client_patience_ms;
extern const char *client_sockets[2];

/* "500ms", "30s", "5m", "1h", as durations in the configuration; at most a day. */
bool client_read_duration(const char *text, uint64_t *ms);

#endif

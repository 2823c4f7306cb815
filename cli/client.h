/*
 * client: one request to a running engine and its answer, blocking, with a time limit.
 */
#ifndef WEIR_CLI_CLIENT_H
#define WEIR_CLI_CLIENT_H

#include "cli/cli.h"
#include "engine/control_wire.h"

/* Connects, sends, reads the answer. EXIT_OK with *answer to be released, or an exit code after having said why on standard error. */
int client_ask(const struct options *options, const struct wire_request *request, struct wire_answer *answer);

#endif

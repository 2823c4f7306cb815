/*
 * prober: active health checks, once per server for the whole process, on the control thread.
 *
 * A check connects, sends one GET with Connection: close, and judges the status of the response's head: within the pool's range it is
 * well. rise and fall consecutive results change the server's state (pool/health.h), which is logged. Checks begin at a random point of
 * their interval and survive reloads. Each holds one descriptor and a few hundred bytes while it runs, whatever the origin sends.
 */
#ifndef WEIR_PROBER_H
#define WEIR_PROBER_H

#include "engine/server.h"

struct prober;

enum err must_use prober_new(struct prober **prober, struct server_process *process);
/* The process has a new generation: checks what it says from now on. */
void prober_adopt(struct prober *prober);
/* Once the loop has stopped. */
void prober_free(struct prober *prober);

#endif

/*
 * prober: active health checks, once per server for the whole process, on the control thread.
 *
 * A check connects; by TLS it shakes hands and looks at the certificate (probe_tls.h); by HTTP it sends one request and judges the answer
 * (probe_http.h). rise and fall consecutive results change the server's state (pool/health.h), which is logged; each result is left in the
 * server's record. Checks begin at a random point of their interval and survive reloads. At most PROBES_MAX run at once, the rest
 * stand in line; each holds one descriptor and some 40 KiB while it runs, whatever the origin sends.
 */
#ifndef WEIR_PROBER_H
#define WEIR_PROBER_H

#include "engine/server.h"

#define PROBES_MAX 64u

struct prober;

enum err must_use prober_new(struct prober **prober, struct server_process *process);
/* The process has a new generation: checks what it says from now on. */
void prober_adopt(struct prober *prober);
/* Once the loop has stopped. */
void prober_free(struct prober *prober);

#endif

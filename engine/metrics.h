/*
 * metrics: the admin listener (`serve: admin`): GET /metrics in Prometheus' text format.
 *
 * A worker that gets such a request asks the control thread by letter, which reads all counters and writes the text; the
 * worker sends it. No worker waits for another.
 */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include "engine/exchange.h"

enum step_verdict metrics_serve(struct exchange *x);
void metrics_forget(struct exchange *x); /* the exchange ends before its answer came */

#endif

/*
 * outliers: servers that do worse than the others of their pool are marked (pool/outlier.h judges), on the control thread.
 *
 * Each pool that has `success-rate` or `latency` is looked at once per its `interval`: what its servers' counters have gained
 * on all workers since the last time is judged, and who stands out is marked and logged with the figures, worst first and never
 * more than max-ejected of the pool at once.
 */
#ifndef WEIR_OUTLIERS_H
#define WEIR_OUTLIERS_H

#include "engine/server.h"

/* The process has a generation: judges by what it says from now on. */
void outliers_adopt(struct server_process *process);

#endif

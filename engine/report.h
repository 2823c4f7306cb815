/*
 * report: what the control socket's commands show of the counters, for people and as JSON.
 */
#ifndef WEIR_REPORT_H
#define WEIR_REPORT_H

#include "engine/stats.h"

void report_status(const struct stats_view *view, struct text *text, struct text *json);
void report_pools(const struct stats_view *view, struct text *text, struct text *json);
/* One sample of raw counters: cumulative, so that whoever polls makes rates of two. */
void report_top(const struct stats_view *view, struct text *text, struct text *json);
void report_metrics(const struct stats_view *view, struct text *text, struct text *json);
void report_version(const struct stats_view *view, struct text *text, struct text *json);

/* For other reports: percent of the requests that the cache answered; "12.3 MiB". */
double report_hit_ratio(uint64_t hits, uint64_t misses, uint64_t passed);
void report_bytes(uint64_t bytes, char out[32]);

/* The time below which a share (0..1) of what a histogram holds lies, in microseconds; 0 when it is empty. */
uint64_t latency_quantile(const _Atomic uint64_t buckets[LATENCY_BUCKETS], double share);

#endif

/*
 * trace: the last TRACE_RECORDS things a worker did, always on, overwritten in a circle.
 *
 * A record is 32 bytes: when (nanoseconds, monotonic, read once a turn), what (a row of the owner's table), whose
 * (exchange or connection number) and two numbers. Written by one thread; the panic dump and later `weir explain` read
 * it. Costs a few nanoseconds, no branch on configuration.
 */
#ifndef WEIR_TRACE_H
#define WEIR_TRACE_H

#include "engine/base/base.h"

#define TRACE_RECORDS 4096u

struct trace_record {
    uint64_t at_ns;
    uint64_t subject;
    const char *what; /* string literal */
    uint32_t a, b;
};

struct trace {
    struct trace_record records[TRACE_RECORDS];
    uint64_t next;
};

static inline void trace_add(struct trace *trace, uint64_t at_ns, const char *what, uint64_t subject, uint32_t a, uint32_t b)
{
    trace->records[trace->next++ % TRACE_RECORDS] = (struct trace_record){ at_ns, subject, what, a, b };
}

/* Prints the last `most` records, oldest first, to file descriptor fd, without allocating. */
void trace_dump(const struct trace *trace, int fd, unsigned most);

#endif

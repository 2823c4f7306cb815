#include "engine/base/trace.h"

#include <stdio.h>
#include <unistd.h>

void trace_dump(const struct trace *trace, int fd, unsigned most)
{
    uint64_t count = u64_min(trace->next, u64_min(most, TRACE_RECORDS));
    for (uint64_t i = trace->next - count; i < trace->next; i++) {
        const struct trace_record *record = &trace->records[i % TRACE_RECORDS];
        char line[160];
        int length = snprintf(line, sizeof line, "%12llu.%06llu  %6llu  %-16s %u %u\n", (unsigned long long)(record->at_ns / 1000000000u),
                              (unsigned long long)(record->at_ns % 1000000000u / 1000u), (unsigned long long)record->subject, record->what,
                              record->a, record->b);
        if (length <= 0 || write(fd, line, size_min((size_t)length, sizeof line - 1)) < 0)
            return;
    }
}

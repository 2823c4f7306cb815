/*
 * check: assertions that stay on, magic numbers, and fault points.
 *
 * MUST(condition) is for our own mistakes only: it prints the condition, file and line and the last trace records of
 * this worker (when a dump hook is set) to standard error and aborts, in release builds too. Input of any origin never
 * reaches a MUST.
 *
 * Magic numbers: a struct that travels through completions carries `uint32_t magic`, set when it is made and cleared
 * when it is given back; MUST_BE(pointer, MAGIC) at each border finds a stale pointer where it is used.
 *
 * Fault points: FAULT("name") is false in every build but those made with WEIR_FAULTS, where the torture run makes
 * the Nth call answer true once, so that each fallible call fails once and the code behind it is seen to cope.
 */
#ifndef WEIR_CHECK_H
#define WEIR_CHECK_H

#include "engine/base/base.h"

_Noreturn void check_failed(const char *condition, const char *file, int line);

/* Called once by check_failed before it aborts, to print what the thread was doing. NULL for none. Thread local. */
void check_set_dump(void (*dump)(void *argument), void *argument);

#define MUST(condition) \
    do { \
        if (unlikely(!(condition))) \
            check_failed(#condition, __FILE__, __LINE__); \
    } while (0)
#define MUST_BE(pointer, expected_magic) MUST((pointer)->magic == (expected_magic))

/*
 * Fault points. fault_arm(n): the nth FAULT from now on, in any thread, answers true, once; 0 disarms. fault_count():
 * how many fault points were passed since fault_arm. WEIR_FAULT_AT=n in the environment arms at process start.
 * WEIR_FAULT_NAMES=a,b in the environment: points with these names fail always.
 */
#ifdef WEIR_FAULTS
bool fault_here(const char *name);
void fault_arm(uint64_t nth);
uint64_t fault_count(void);
#define FAULT(name) unlikely(fault_here(name))
#else
#define FAULT(name) false
#endif

#endif

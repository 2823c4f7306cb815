#include "engine/base/check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local void (*dump_hook)(void *argument);
static _Thread_local void *dump_argument;

void check_set_dump(void (*dump)(void *argument), void *argument)
{
    dump_hook = dump;
    dump_argument = argument;
}

void check_failed(const char *condition, const char *file, int line)
{
    char text[512];
    int length = snprintf(text, sizeof text, "weir: internal error: %s does not hold at %s:%d\n", condition, file, line);
    if (length > 0)
        (void)!write(STDERR_FILENO, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
    void (*dump)(void *) = dump_hook;
    dump_hook = NULL; /* a dump that fails itself must not come back here */
    if (dump)
        dump(dump_argument);
    abort();
}

#ifdef WEIR_FAULTS

static _Atomic uint64_t passed;
static _Atomic uint64_t wanted;
static const char *named; /* those that fail always; written before main */

/* The environment arms a whole process, before main. */
__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *nth = getenv("WEIR_FAULT_AT");
    named = getenv("WEIR_FAULT_NAMES");
    if (nth)
        fault_arm(strtoull(nth, NULL, 10));
}

/* One of a list with commas. */
static bool is_named(const char *name)
{
    size_t length = strlen(name);
    for (const char *at = named; (at = strstr(at, name)); at += length)
        if ((at == named || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

bool fault_here(const char *name)
{
    if (unlikely(named != NULL) && is_named(name))
        return true;
    uint64_t here = atomic_fetch_add(&passed, 1) + 1;
    if (likely(here != atomic_load(&wanted)))
        return false;
    fprintf(stderr, "weir: fault %llu: \"%s\" fails on purpose\n", (unsigned long long)here, name);
    return true;
}

void fault_arm(uint64_t nth)
{
    atomic_store(&passed, 0);
    atomic_store(&wanted, nth);
}

uint64_t fault_count(void)
{
    return atomic_load(&passed);
}

#endif

/*
 * runner: runs Criterion's tests under ThreadSanitizer.
 *
 * Criterion gives each test a process of its own through a sandbox that maps memory at addresses ThreadSanitizer keeps
 * for itself, so its runner aborts before the first test. This one takes its place: it is linked before libcriterion and
 * defines main() and the calls by which a test speaks to the runner. Test files need not know. Each test still has a
 * process of its own, by fork().
 *
 * Known of a test: .init, .fini, .signal, .exit_code, .timeout, .disabled, those of its suite, and parameters. Theories
 * are not. Options: --filter PATTERN over "suite/test", as Criterion has it; all others are passed over.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S_DEFAULT 120u

/* The sections that Test and TestSuite fill. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak)), *__stop_cr_sts[] __attribute__((weak));

enum verdict { PASSED = 0, FAILED = 90, SKIPPED = 91 }; /* exit statuses of a test's process */

/* What the process of one test is running. */
static const struct criterion_test *running;
static const struct criterion_test_extra_data *running_suite;
static void *running_parameter;
static bool assert_failed;

/* ---- What a test calls --------------------------------------------------------------------------------------------- */

void criterion_internal_test_setup(void)
{
    if (running_suite && running_suite->init)
        running_suite->init();
    if (running->data->init)
        running->data->init();
}

void criterion_internal_test_main(void (*test)(void))
{
    if (running->data->kind_ == CR_TEST_PARAMETERIZED)
        ((void (*)(void *))(void *)test)(running_parameter);
    else
        test();
}

void criterion_internal_test_teardown(void)
{
    if (running->data->fini)
        running->data->fini();
    if (running_suite && running_suite->fini)
        running_suite->fini();
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (stats->passed)
        return;
    assert_failed = true;
    fprintf(stderr, "[----] %s:%u: Assertion Failed\n[----]   %s\n", stats->file, stats->line, stats->message);
}

void criterion_abort_test(void)
{
    exit(FAILED);
}

void criterion_skip_test(const char *format, ...)
{
    (void)format;
    exit(SKIPPED);
}

void criterion_continue_test(void)
{
}

void criterion_test_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    exit(FAILED);
}

/* ---- The run ------------------------------------------------------------------------------------------------------- */

static const struct criterion_test_extra_data *suite_find(const char *name)
{
    for (struct criterion_suite **suite = __start_cr_sts; suite < __stop_cr_sts; suite++)
        if (*suite && strcmp((*suite)->name, name) == 0)
            return (*suite)->data;
    return NULL;
}

static void run_here(const struct criterion_test *test, double timeout)
{
    running = test;
    running_suite = suite_find(test->category);
    alarm(timeout > 0 ? (unsigned)timeout + 1 : TIMEOUT_S_DEFAULT);
    if (test->data->kind_ == CR_TEST_PARAMETERIZED) {
        struct criterion_test_params params = test->data->param_();
        for (size_t i = 0; i < params.length; i++) {
            running_parameter = (char *)params.params + i * params.size;
            test->test();
        }
    } else {
        test->test();
    }
    exit(assert_failed ? FAILED : PASSED); /* through exit(): ThreadSanitizer answers there for the races it saw */
}

static enum verdict run(const struct criterion_test *test)
{
    const struct criterion_test_extra_data *suite = suite_find(test->category);
    if (test->data->disabled || (suite && suite->disabled))
        return SKIPPED;

    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return FAILED;
    }
    if (child == 0)
        run_here(test, test->data->timeout > 0 || !suite ? test->data->timeout : suite->timeout);

    int status;
    if (waitpid(child, &status, 0) < 0)
        return FAILED;
    if (WIFSIGNALED(status)) {
        if (WTERMSIG(status) == test->data->signal)
            return PASSED;
        fprintf(stderr, "[----] killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return FAILED;
    }
    if (WEXITSTATUS(status) == SKIPPED)
        return SKIPPED;
    if (WEXITSTATUS(status) == test->data->exit_code && test->data->signal == 0)
        return PASSED;
    if (WEXITSTATUS(status) != FAILED)
        fprintf(stderr, "[----] exit status %d\n", WEXITSTATUS(status));
    return FAILED;
}

int main(int count, char **arguments)
{
    const char *pattern = "*";
    for (int i = 1; i < count; i++)
        if (strcmp(arguments[i], "--filter") == 0 && i + 1 < count)
            pattern = arguments[++i];

    unsigned passed = 0, failed = 0, skipped = 0;
    for (struct criterion_test **at = __start_cr_tst; at < __stop_cr_tst; at++) {
        const struct criterion_test *test = *at;
        if (!test || fnmatch(pattern, test->data->identifier_, FNM_EXTMATCH) != 0)
            continue;
        switch (run(test)) {
        case PASSED:
            passed++;
            break;
        case SKIPPED:
            printf("[SKIP] %s\n", test->data->identifier_);
            skipped++;
            break;
        case FAILED:
            printf("[FAIL] %s\n", test->data->identifier_);
            failed++;
            break;
        }
    }
    printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: 0 | Skipped: %u\n", passed + failed,
           passed, failed, skipped);
    return failed > 0;
}

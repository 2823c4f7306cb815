/*
 * cases: reads the pages in tests/cases, so that a parser's cases can be read, and are run, from one place.
 *
 * A case is a heading "### name", a fence whose info word says what the bytes are ("request", "response", "chunked",
 * "path"), the bytes with the escapes \r \n \t \0 \\ \xNN (line ends of the page itself do not count), and behind the
 * fence one line "=> verdict", e.g. "=> refused bad_chunk_size" or "=> accepted length 5 /path".
 */
#ifndef WEIR_TESTS_CASES_H
#define WEIR_TESTS_CASES_H

#include "engine/base/slice.h"

struct test_case {
    const char *name;
    const char *kind;
    struct slice bytes;
    const char *verdict; /* behind "=> " */
};

/* Calls run for each case of that kind on the page; answers how many there were. Fails the test when the page cannot be read. */
unsigned cases_run(const char *page, const char *kind, void (*run)(const struct test_case *one));

#endif

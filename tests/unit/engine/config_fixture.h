/* What the tests of the configuration share: parsing a text that must be well, or must not, and reading pages. */
#ifndef WEIR_CONFIG_FIXTURE_H
#define WEIR_CONFIG_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/text.h"
#include "engine/config.h"

#define LISTENERS "listeners: [ { address: 127.0.0.1:8080 } ]\n"
#define RESPOND "routes: [ { respond: { body: hello } } ]\n"
#define POOL_ROUTE "routes: [ { pool: app } ]\n"
#define POOL "pools: { app: { servers: [ 127.0.0.1:9001 ] } }\n"

static inline struct text problems_text(const struct config_problems *problems)
{
    struct text text = { 0 };
    config_problems_print(problems, "weir.yaml", false, &text);
    return text;
}

/* The caller frees it. */
static inline struct config *must_parse(struct slice file)
{
    struct config_problems problems;
    struct config *config = config_parse(file, "weir.yaml", &problems);
    struct text text = problems_text(&problems);
    cr_assert(config, "%.*s\n%s", (int)file.length, file.at, text_slice(&text).at);
    cr_assert_eq(problems.errors, 0);
    text_release(&text);
    return config;
}

static inline struct text shown(const struct config *config, bool json)
{
    struct text text = { 0 };
    config_show(config, json, &text);
    cr_assert_not(text.failed);
    return text;
}

/* NUL-ended, in memory of its own. */
static inline struct slice read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert(file, "%s (tests run at the root of the tree)", path);
    struct text text = { 0 };
    char run[4096];
    for (size_t got; (got = fread(run, 1, sizeof run, file)) > 0;)
        text_add(&text, slice_of(run, got));
    fclose(file);
    return text_slice(&text);
}
#define whole_release(slice) free((char *)(uintptr_t)(slice).at)

/* The next case of a page: what stands in its ```yaml and ```text blocks below a "## title". False at the end. */
struct page_case {
    struct slice title, file, output;
};

static inline bool next_block(struct slice *rest, const char *fence, struct slice *block)
{
    const char *begin = memmem(rest->at, rest->length, fence, strlen(fence));
    if (!begin)
        return false;
    begin += strlen(fence);
    const char *end = memmem(begin - 1, rest->length - (size_t)(begin - 1 - rest->at), "\n```\n", 5);
    cr_assert(end);
    *block = slice_of(begin, (size_t)(end + 1 - begin));
    *rest = slice_of(end + 5, rest->length - (size_t)(end + 5 - rest->at));
    return true;
}

static inline bool next_case(struct slice *rest, struct page_case *found)
{
    const char *title = memmem(rest->at, rest->length, "\n## ", 4);
    if (!title)
        return false;
    const char *end = strchr(title + 4, '\n');
    found->title = slice_of(title + 4, (size_t)(end - title - 4));
    *rest = slice_of(end, rest->length - (size_t)(end - rest->at));
    return next_block(rest, "```yaml\n", &found->file) && next_block(rest, "```text\n", &found->output);
}

#endif

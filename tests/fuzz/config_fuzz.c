/*
 * Any bytes are a configuration or are refused with a reason; what is taken is shown, as YAML and as JSON, and reads back as
 * the same. Seeds are files that use every key.
 */
#include "engine/base/check.h"
#include "engine/base/text.h"
#include "engine/config.h"

#define FUZZ_BYTES_MAX (64u * 1024u)

/* The configuration as shown, read again: shown the same way it must be the same text. */
static void reads_back(const struct config *config, bool json, const struct text *yaml)
{
    struct config_problems problems;
    struct text shown = { 0 }, again = { 0 }, changes = { 0 };
    config_show(config, json, &shown);
    MUST(!shown.failed);
    struct config *copy = config_parse(text_slice(&shown), "shown", &problems);
    MUST(copy != NULL);
    config_show(copy, false, &again);
    MUST(slice_equal(text_slice(&again), text_slice(yaml)));
    MUST(config_diff(config, copy, &changes) == ERR_OK && changes.length == 0);
    config_free(copy);
    text_release(&shown);
    text_release(&again);
    text_release(&changes);
}

static void print(const struct config_problems *problems)
{
    struct text text = { 0 };
    config_problems_print(problems, "fuzz", true, &text);
    config_problems_json(problems, "fuzz", &text);
    text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problems problems;
    if (size > FUZZ_BYTES_MAX)
        return 0;
    struct config *config = config_parse(slice_of((const char *)data, size), "fuzz", &problems);
    MUST((config == NULL) == (problems.errors != 0));
    MUST(problems.count <= CONFIG_PROBLEMS_MAX);
    print(&problems);
    if (!config)
        return 0;
    struct text yaml = { 0 };
    config_show(config, false, &yaml);
    MUST(!yaml.failed);
    if (yaml.length < CONFIG_BYTES_MAX / 2) { /* aliases may say more than a file may hold */
        reads_back(config, false, &yaml);
        reads_back(config, true, &yaml);
    }
    text_release(&yaml);
    config_free(config);
    return 0;
}

/* The state file: any bytes. What is taken of it is written again and read as the same, with nothing left to skip. */
#include "engine/base/check.h"
#include "engine/state_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_all(const struct state *state, struct text *out)
{
    state_write_head(state->written, out);
    for (uint32_t i = 0; i < state->overlay.count; i++)
        state_write_entry(&state->overlay.entries[i], out);
    for (uint32_t i = 0; i < state->server_count; i++)
        state_write_server(&state->servers[i], out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state state, again;
    struct text first = { 0 }, second = { 0 };
    if (size > 64 * 1024)
        return 0;
    enum err e = state_parse(slice_of((const char *)data, size), &state);
    if (e == ERR_OK) {
        write_all(&state, &first);
        MUST(state_parse(text_slice(&first), &again) == ERR_OK);
        write_all(&again, &second);
        MUST(again.skipped == 0 && slice_equal(text_slice(&first), text_slice(&second)));
        text_release(&first);
        text_release(&second);
        state_release(&again);
    }
    state_release(&state);
    return 0;
}

/* draw: see draw.h. */
#include "pool/draw.h"

#include <stdlib.h>

#include "engine/base/check.h"

/* share[i] is weight[i] * count, and a column holds `total` of it. Two stacks share one array, from its two ends. */
static void fill_columns(struct columns *columns, uint64_t *share, uint16_t *stack, uint32_t count, uint64_t total)
{
    uint32_t small = 0, large = count;
    for (uint32_t i = 0; i < count; i++) {
        columns->column[i] = (struct column){ UINT32_MAX, (uint16_t)i };
        if (share[i] < total)
            stack[small++] = (uint16_t)i;
        else
            stack[--large] = (uint16_t)i;
    }
    while (small > 0 && large < count) {
        uint16_t poor = stack[--small], rich = stack[large];
        columns->column[poor] = (struct column){ (uint32_t)((share[poor] << 32) / total), rich };
        share[rich] -= total - share[poor];
        if (share[rich] < total) {
            large++;
            stack[small++] = rich;
        }
    }
}

enum err draw_build(struct tier *tier)
{
    uint32_t count = tier->count;
    struct columns *columns = FAULT("balance") ? NULL : calloc(1, sizeof *columns + count * sizeof columns->column[0]);
    uint64_t *share = calloc(count + 1, sizeof *share);
    uint16_t *stack = calloc(count + 1, sizeof *stack);
    if (columns && share && stack) {
        uint64_t total = 0;
        columns->equal = true;
        for (uint32_t i = 0; i < count; i++) {
            share[i] = (uint64_t)tier->members[i].weight * count;
            total += tier->members[i].weight;
            columns->equal &= tier->members[i].weight == tier->members[0].weight;
        }
        fill_columns(columns, share, stack, count, total);
        tier->balance_state = columns;
    } else {
        free(columns);
    }
    free(share);
    free(stack);
    return tier->balance_state ? ERR_OK : ERR_MEMORY;
}

void draw_destroy(struct tier *tier)
{
    free(tier->balance_state);
    tier->balance_state = NULL;
}

int draw_look_round(const struct tier *tier, const struct pick_request *request, int except)
{
    uint32_t at = (uint32_t)(mix64(request->random) % tier->count);
    for (uint32_t left = tier->count; left > 0; left--) {
        if ((int)at != except && upstream_usable(tier->upstream, &tier->members[at], request))
            return (int)at;
        at = at + 1 == tier->count ? 0 : at + 1;
    }
    return -1;
}

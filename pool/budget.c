/* budget: see budget.h. Two windows that are moved on by whoever comes first after one has ended. */
#include "pool/budget.h"

static void move_on(struct budget *budget, uint64_t now_ms)
{
    uint64_t window = now_ms / BUDGET_WINDOW_MS;
    if (likely(window == budget->window))
        return;
    bool next = window == budget->window + 1;
    budget->requests[0] = next ? budget->requests[1] : 0;
    budget->attempts[0] = next ? budget->attempts[1] : 0;
    budget->requests[1] = budget->attempts[1] = 0;
    budget->window = window;
}

void budget_request(struct budget *budget, uint64_t now_ms)
{
    move_on(budget, now_ms);
    if (likely(budget->requests[1] != UINT32_MAX))
        budget->requests[1]++;
}

/* The parts of all workers make the whole, also where there are more workers than attempts. */
static uint64_t part_of(uint64_t whole, uint32_t worker, uint32_t workers)
{
    return whole / workers + (worker < whole % workers);
}

bool budget_take(struct budget *budget, const struct budget_limits *limits, uint32_t worker, uint32_t workers, uint64_t now_ms)
{
    if (limits->percent == 0)
        return true;
    move_on(budget, now_ms);
    uint64_t requests = (uint64_t)budget->requests[0] + budget->requests[1];
    uint64_t attempts = (uint64_t)budget->attempts[0] + budget->attempts[1];
    uint64_t few = part_of((uint64_t)limits->per_second * 2 * BUDGET_WINDOW_MS / 1000, worker, workers);
    if (attempts + 1 > requests * limits->percent / 100 + few)
        return false;
    budget->attempts[1]++;
    return true;
}

/*
 * Level l has slots of 64^l ms. A timer goes into the lowest level whose 64 slots reach its deadline; when the clock passes the
 * first millisecond of a slot of a higher level, that slot's timers are sorted in again, lower. `occupied` finds the
 * next slot with anything in it without walking the empty ones, so sleeping long costs nothing.
 */
#include "engine/base/timer.h"

#include "engine/base/check.h"

#define SLOT_BITS 6u
#define SLOT_MASK (TIMER_SLOTS - 1)

static uint64_t slot_span(unsigned level)
{
    return 1ull << (SLOT_BITS * level);
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    wheel->now_ms = now_ms;
    wheel->count = 0;
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            struct timer *head = &wheel->slots[level][slot];
            head->next = head->previous = head;
        }
    }
}

/* Where a deadline after now belongs; the last level takes everything beyond its reach in its farthest slot. */
static void place(struct timer_wheel *wheel, struct timer *timer, uint64_t at_ms)
{
    unsigned level = 0;
    while (level < TIMER_LEVELS - 1 && (at_ms >> (SLOT_BITS * level)) - (wheel->now_ms >> (SLOT_BITS * level)) >= TIMER_SLOTS)
        level++;
    uint64_t position = at_ms >> (SLOT_BITS * level);
    uint64_t farthest = (wheel->now_ms >> (SLOT_BITS * level)) + TIMER_SLOTS - 1;
    position = u64_min(position, farthest);
    unsigned slot = (unsigned)(position & SLOT_MASK);
    struct timer *head = &wheel->slots[level][slot];
    timer->placed_ms = u64_min(at_ms, (position + 1) * slot_span(level) - 1);
    timer->previous = head->previous;
    timer->next = head;
    head->previous->next = timer;
    head->previous = timer;
    wheel->occupied[level] |= 1ull << slot;
}

static void unlink_timer(struct timer *timer)
{
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->next = timer->previous = NULL;
}

void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms)
{
    MUST(timer->fire != NULL);
    timer->deadline_ms = deadline_ms;
    if (timer_armed(timer)) {
        if (deadline_ms >= timer->placed_ms)
            return; /* sorted in again when that comes up */
        unlink_timer(timer);
    } else
        wheel->count++;
    place(wheel, timer, u64_max(deadline_ms, wheel->now_ms + 1));
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer_armed(timer))
        return;
    unlink_timer(timer);
    wheel->count--;
}

/* Takes a slot's timers off onto a list of its own, since firing may put new ones in. */
static void take_slot(struct timer_wheel *wheel, unsigned level, unsigned slot, struct timer *list)
{
    struct timer *head = &wheel->slots[level][slot];
    wheel->occupied[level] &= ~(1ull << slot);
    if (head->next == head) {
        list->next = list->previous = list;
        return;
    }
    *list = (struct timer){ .next = head->next, .previous = head->previous };
    list->next->previous = list;
    list->previous->next = list;
    head->next = head->previous = head;
}

static unsigned run_list(struct timer_wheel *wheel, struct timer *list)
{
    unsigned fired = 0;
    while (list->next != list) {
        struct timer *timer = list->next;
        unlink_timer(timer);
        if (timer->deadline_ms > wheel->now_ms) {
            place(wheel, timer, timer->deadline_ms);
            continue;
        }
        wheel->count--;
        fired++;
        timer->fire(timer, wheel->now_ms);
    }
    return fired;
}

static unsigned run_slot(struct timer_wheel *wheel, unsigned level, uint64_t position)
{
    struct timer list;
    unsigned slot = (unsigned)(position & SLOT_MASK);
    if (!(wheel->occupied[level] >> slot & 1))
        return 0;
    take_slot(wheel, level, slot, &list);
    return run_list(wheel, &list);
}

/* First millisecond after now at which a slot of this level with anything in it begins. */
static uint64_t next_of_level(const struct timer_wheel *wheel, unsigned level)
{
    if (!wheel->occupied[level])
        return TIMER_NEVER;
    uint64_t position = (wheel->now_ms >> (SLOT_BITS * level)) + 1;
    unsigned shift = (unsigned)(position & SLOT_MASK);
    uint64_t turned = shift ? wheel->occupied[level] >> shift | wheel->occupied[level] << (TIMER_SLOTS - shift) : wheel->occupied[level];
    return (position + (unsigned)__builtin_ctzll(turned)) << (SLOT_BITS * level);
}

uint64_t timer_wheel_next(const struct timer_wheel *wheel)
{
    uint64_t first = TIMER_NEVER;
    if (wheel->count == 0)
        return TIMER_NEVER;
    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        first = u64_min(first, next_of_level(wheel, level));
    return first;
}

/* Higher levels first: what they hand down may be due in this very millisecond. */
static unsigned run_moment(struct timer_wheel *wheel)
{
    unsigned fired = 0;
    for (unsigned level = TIMER_LEVELS - 1; level > 0; level--)
        if ((wheel->now_ms & (slot_span(level) - 1)) == 0)
            fired += run_slot(wheel, level, wheel->now_ms >> (SLOT_BITS * level));
    return fired + run_slot(wheel, 0, wheel->now_ms);
}

unsigned timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    unsigned fired = 0;
    while (wheel->now_ms < now_ms) {
        uint64_t next = timer_wheel_next(wheel);
        if (next > now_ms) {
            wheel->now_ms = now_ms;
            break;
        }
        wheel->now_ms = next;
        fired += run_moment(wheel);
    }
    return fired;
}

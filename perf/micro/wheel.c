/*
 * The timer wheel under what a proxy asks of it: most deadlines are set, moved later with every request, and never
 * reached. The timers stand in real connections from a real slab, because with 100,000 of them it is fetching the
 * connection from memory that costs, not the arithmetic.
 *
 * Deadlines of 60 s start in level 2 and are sorted in again twice before they fire: that is in "1 ms, ...". Every
 * 4,096 ms a whole slot of level 2 goes down at once, in one turn of the loop. A mean hides that, so the lines "turn at
 * a boundary" time these turns by themselves.
 */
#include "perf/micro/micro.h"

#include "engine/base/check.h"
#include "engine/base/slab.h"
#include "engine/conn.h"

#define FEW 64u        /* connections: in the first cache */
#define MANY 10000u    /* in the last */
#define MOST 100000u   /* in none */
#define IDLE_MS 60000u /* the usual limit of an idle connection */
#define HOUR_MS 3600000u
#define START_MS 1000u
#define MOVES_PER_MS 32u    /* requests: 32,000 in a second */
#define LEVEL_2_MS 4096u    /* a slot of level 2 */
#define TURNS MICRO_REPEATS /* timed one by one */

/* One at a time, and static: `fire` is given a timer and nothing else. */
static struct scene {
    struct timer_wheel wheel;
    struct slab slab;
    struct conn **conns;
    uint32_t count;
    uint64_t random;
    uint64_t now_ms;
} scene;

static void rearm(struct timer *timer, uint64_t now_ms)
{
    timer_set(&scene.wheel, timer, now_ms + IDLE_MS);
}

static void scene_init(uint32_t count)
{
    scene = (struct scene){ .count = count, .random = 0x9e3779b97f4a7c15ull, .now_ms = START_MS };
    timer_wheel_init(&scene.wheel, START_MS);
    slab_init(&scene.slab, sizeof(struct conn), count);
    scene.conns = calloc(count, sizeof(struct conn *));
    MUST(scene.conns != NULL);
    for (uint32_t i = 0; i < count; i++) {
        scene.conns[i] = slab_take(&scene.slab);
        MUST(scene.conns[i] != NULL);
        scene.conns[i]->timer.fire = rearm;
    }
}

static void scene_release(void)
{
    slab_release(&scene.slab);
    free(scene.conns);
    scene.conns = NULL;
}

/* Any timer; neighbours in time are not neighbours in memory. */
static struct timer *some_timer(void)
{
    uint64_t random = micro_random(&scene.random);

    return &scene.conns[((random >> 32) * scene.count) >> 32]->timer;
}

/* Everything armed, spread evenly over the next `within_ms`. */
static void arm_all(uint64_t within_ms)
{
    for (uint32_t i = 0; i < scene.count; i++)
        timer_set(&scene.wheel, &scene.conns[i]->timer, scene.now_ms + 1 + micro_random(&scene.random) % within_ms);
}

/* Setting and cancelling --------------------------------------------------------------------------------------- */

static void set_and_cancel(void *context, uint64_t count)
{
    (void)context;
    while (count--) {
        struct timer *timer = some_timer();

        timer_set(&scene.wheel, timer, scene.now_ms + 1 + (micro_random(&scene.random) & 0xffff));
        timer_cancel(&scene.wheel, timer);
        micro_keep(timer);
    }
}

/* What each request does to its connection: the clock goes on, so the deadline does. */
static void set_later(void *context, uint64_t count)
{
    uint64_t at_ms = scene.now_ms + HOUR_MS;

    (void)context;
    while (count--) {
        struct timer *timer = some_timer();

        timer_set(&scene.wheel, timer, at_ms++);
        micro_keep(timer);
    }
}

/* An earlier deadline moves the timer at once. One that has come down to now starts again, which is rare. */
static void set_earlier(void *context, uint64_t count)
{
    (void)context;
    while (count--) {
        struct timer *timer = some_timer();
        uint64_t at_ms = timer->placed_ms - 1;

        if (unlikely(at_ms <= scene.now_ms)) {
            timer_cancel(&scene.wheel, timer);
            at_ms = scene.now_ms + HOUR_MS;
        }
        timer_set(&scene.wheel, timer, at_ms);
        micro_keep(timer);
    }
}

/* Advancing ---------------------------------------------------------------------------------------------------- */

/* What is due fires and is armed again for IDLE_MS later: as many are armed as before. */
static void advance_firing(void *context, uint64_t count)
{
    (void)context;
    while (count--)
        micro_keep(timer_wheel_advance(&scene.wheel, ++scene.now_ms));
}

/* Nearly nothing fires: requests move deadlines on before they come up. */
static void advance_moving(void *context, uint64_t count)
{
    (void)context;
    while (count--) {
        micro_keep(timer_wheel_advance(&scene.wheel, ++scene.now_ms));
        for (unsigned i = 0; i < MOVES_PER_MS; i++)
            timer_set(&scene.wheel, some_timer(), scene.now_ms + IDLE_MS);
    }
}

/* One deadline far away, and a loop that wakes up for other reasons. */
static void advance_quiet(void *context, uint64_t count)
{
    struct timer *timer = &scene.conns[0]->timer;

    (void)context;
    while (count--) {
        if (unlikely(!timer_armed(timer) || timer->deadline_ms - scene.now_ms < IDLE_MS))
            timer_set(&scene.wheel, timer, scene.now_ms + HOUR_MS);
        micro_keep(timer_wheel_advance(&scene.wheel, ++scene.now_ms));
    }
}

/*
 * The turns in which a slot of level 2 is sorted in again, each alone, in the form of micro_run's lines. To be run while
 * deadlines are spread evenly: advance_moving draws them together.
 */
static void time_boundaries(const char *name)
{
    double turns[TURNS];

    for (unsigned i = 0; i < TURNS; i++) {
        scene.now_ms = (scene.now_ms / LEVEL_2_MS + 1) * LEVEL_2_MS - 1;
        timer_wheel_advance(&scene.wheel, scene.now_ms);
        turns[i] = (double)micro_time(advance_firing, NULL, 1);
    }
    qsort(turns, TURNS, sizeof turns[0], micro_compare);
    printf("%-44s %12.2f %12.2f\n", name, turns[TURNS / 2], turns[0]);
}

static void run_few(void)
{
    scene_init(FEW);
    micro_run("set and cancel, 64 connections", set_and_cancel, NULL);
    arm_all(HOUR_MS);
    micro_run("set later, 64 armed", set_later, NULL);
    micro_run("set earlier (moves), 64 armed", set_earlier, NULL);
    scene_release();
    scene_init(1);
    micro_run("1 ms, one far deadline", advance_quiet, NULL);
    scene_release();
}

static void run_ten_thousand(void)
{
    scene_init(MANY);
    arm_all(IDLE_MS);
    micro_run("1 ms, 10k armed, 1 fires in 6 ms", advance_firing, NULL);
    time_boundaries("the turn at a boundary, 10k armed");
    micro_run("1 ms, 10k armed, 32 moved later", advance_moving, NULL);
    scene_release();
}

static void run_hundred_thousand(void)
{
    scene_init(MOST);
    micro_run("set and cancel, 100k connections", set_and_cancel, NULL);
    arm_all(HOUR_MS);
    micro_run("set later, 100k armed", set_later, NULL);
    scene_release();
    scene_init(MOST);
    arm_all(IDLE_MS);
    micro_run("1 ms, 100k armed, 1.7 fire", advance_firing, NULL);
    time_boundaries("the turn at a boundary, 100k armed");
    micro_run("1 ms, 100k armed, 32 moved later", advance_moving, NULL);
    scene_release();
}

int main(void)
{
    micro_title();
    run_few();
    run_ten_thousand();
    run_hundred_thousand();
    return 0;
}

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "engine/forward_places.h"

static struct forward_places places;

static void init(void)
{
    forward_places_init(&places, 7);
}

static void release(void)
{
    cr_assert_eq(places.users, 0);
    forward_places_release(&places);
}

TestSuite(forward_places, .init = init, .fini = release);

Test(forward_places, each_user_has_his_own)
{
    struct user_place *first = forward_place_take(&places, SLICE("ujoe"), 2);
    struct user_place *second = forward_place_take(&places, SLICE("ujoe"), 2);
    cr_assert(first && second);
    cr_assert_null(forward_place_take(&places, SLICE("ujoe"), 2));
    struct user_place *other = forward_place_take(&places, SLICE("uJoe"), 2);
    cr_assert(other && other != first);
    forward_place_return(&places, first);
    first = forward_place_take(&places, SLICE("ujoe"), 2);
    cr_assert_not_null(first);
    forward_place_return(&places, first);
    forward_place_return(&places, second);
    forward_place_return(&places, other);
}

Test(forward_places, a_lower_limit_counts_what_is_taken_already)
{
    struct user_place *held[3];
    for (unsigned i = 0; i < 3; i++)
        cr_assert_not_null(held[i] = forward_place_take(&places, SLICE("a10.0.0.1"), 3));
    cr_assert_null(forward_place_take(&places, SLICE("a10.0.0.1"), 1));
    forward_place_return(&places, held[0]);
    forward_place_return(&places, held[1]);
    cr_assert_null(forward_place_take(&places, SLICE("a10.0.0.1"), 1));
    forward_place_return(&places, held[2]);
    cr_assert_not_null(held[0] = forward_place_take(&places, SLICE("a10.0.0.1"), 1));
    forward_place_return(&places, held[0]);
}

/* Ten thousand in four thousand buckets: chains are walked, and nobody is taken for another. */
Test(forward_places, many_users)
{
    enum { USERS = 10000 };
    static struct user_place *held[USERS];
    char name[16];
    for (unsigned i = 0; i < USERS; i++) {
        int length = snprintf(name, sizeof name, "u%u", i);
        cr_assert_not_null(held[i] = forward_place_take(&places, slice_of(name, (size_t)length), 1));
        cr_assert_null(forward_place_take(&places, slice_of(name, (size_t)length), 1));
    }
    cr_assert_eq(places.users, USERS);
    for (unsigned i = 0; i < USERS; i += 2)
        forward_place_return(&places, held[i]);
    for (unsigned i = 1; i < USERS; i += 2) {
        int length = snprintf(name, sizeof name, "u%u", i);
        cr_assert_null(forward_place_take(&places, slice_of(name, (size_t)length), 1));
        forward_place_return(&places, held[i]);
    }
}

static _Atomic unsigned most_seen, now_taken;

static void *take_and_return(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < 20000; i++) {
        struct user_place *place = forward_place_take(&places, SLICE("ueverybody"), 2);
        if (!place)
            continue;
        unsigned taken = ++now_taken;
        if (taken > most_seen)
            most_seen = taken;
        now_taken--;
        forward_place_return(&places, place);
    }
    return NULL;
}

Test(forward_places, never_more_than_the_limit_whoever_asks)
{
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_and_return, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_leq(most_seen, 2);
    cr_assert_geq(most_seen, 1);
}

#include "engine/forward_places.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"

struct user_place {
    struct user_place *next, **previous;
    uint32_t taken;
    uint32_t length;
    char user[PLACES_KEY_BYTES];
};

void forward_places_init(struct forward_places *places, uint64_t seed)
{
    pthread_mutex_init(&places->lock, NULL);
    places->seed = seed;
}

void forward_places_release(struct forward_places *places)
{
    pthread_mutex_destroy(&places->lock);
}

static struct user_place *place_new(struct forward_places *places, struct user_place **bucket, struct slice user)
{
    struct user_place *place = places->users >= PLACES_USERS_MAX || FAULT("places") ? NULL : calloc(1, sizeof *place);
    if (!place)
        return NULL;
    place->length = (uint32_t)user.length;
    memcpy(place->user, user.at, user.length);
    place->next = *bucket;
    place->previous = bucket;
    if (place->next)
        place->next->previous = &place->next;
    *bucket = place;
    places->users++;
    return place;
}

struct user_place *forward_place_take(struct forward_places *places, struct slice user, uint32_t most)
{
    MUST(user.length <= PLACES_KEY_BYTES);
    struct user_place **bucket = &places->buckets[siphash13(user.at, user.length, places->seed, 1) % PLACES_BUCKETS];
    pthread_mutex_lock(&places->lock);
    struct user_place *place = *bucket;
    while (place && !slice_equal(slice_of(place->user, place->length), user))
        place = place->next;
    if (!place)
        place = place_new(places, bucket, user);
    if (place && place->taken >= most)
        place = NULL;
    if (place)
        place->taken++;
    pthread_mutex_unlock(&places->lock);
    return place;
}

void forward_place_return(struct forward_places *places, struct user_place *place)
{
    pthread_mutex_lock(&places->lock);
    MUST(place->taken > 0);
    if (--place->taken == 0) {
        *place->previous = place->next;
        if (place->next)
            place->next->previous = place->previous;
        places->users--;
        free(place);
    }
    pthread_mutex_unlock(&places->lock);
}

/*
 * forward_places: how many requests and tunnels each user of the forward proxy has at once, for the whole process (forward-proxy.limits.per-user).
 *
 * One table under a lock that is held for some dozen instructions; requests of the forward proxy alone take it, and only where there is a limit. A user is
 * there as long as he has something; PLACES_USERS_MAX at once, and whoever comes beyond is refused as if he had too much.
 */
#ifndef WEIR_FORWARD_PLACES_H
#define WEIR_FORWARD_PLACES_H

#include <pthread.h>

#include "engine/base/slice.h"

#define PLACES_USERS_MAX 65536u
#define PLACES_BUCKETS 4096u
#define PLACES_KEY_BYTES 136u

struct user_place;
/* Zeroed, but for the lock and the seed (forward_places_init), it is empty. */
struct forward_places {
    pthread_mutex_t lock;
    uint64_t seed;
    uint32_t users;
    struct user_place *buckets[PLACES_BUCKETS];
};

void forward_places_init(struct forward_places *places, uint64_t seed);
void forward_places_release(struct forward_places *places); /* all were given back */

/* One of `most` (at least 1) for whoever is called so; NULL: he has them all, or there is no room. Any thread. */
struct user_place *must_use forward_place_take(struct forward_places *places, struct slice user, uint32_t most);
void forward_place_return(struct forward_places *places, struct user_place *place);

#endif

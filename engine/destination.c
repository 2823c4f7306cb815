#include "engine/destination.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/back.h"
#include "engine/worker.h"

struct destination {
    struct health health; /* never marked: what becomes of one host is no reason to refuse it to others */
    struct member member;
    struct origin *origin; /* a reference */
    struct destinations *all;
    struct destination *newer, *older; /* while nobody uses it */
    uint32_t references;
    uint32_t length;
    char key[DESTINATION_KEY_BYTES];
};

struct destinations {
    struct worker *worker;
    struct map map;
    struct destination *newest, *oldest; /* unused ones */
    uint32_t unused;
    uint32_t marks; /* counted up with each new set of addresses */
};

static void unlink_unused(struct destination *destination)
{
    struct destinations *all = destination->all;
    *(destination->newer ? &destination->newer->older : &all->newest) = destination->older;
    *(destination->older ? &destination->older->newer : &all->oldest) = destination->newer;
    destination->newer = destination->older = NULL;
    all->unused--;
}

static void link_unused(struct destination *destination)
{
    struct destinations *all = destination->all;
    destination->older = all->newest;
    *(all->newest ? &all->newest->newer : &all->oldest) = destination;
    all->newest = destination;
    all->unused++;
}

static void destination_free(struct destination *destination)
{
    map_remove(&destination->all->map, slice_of(destination->key, destination->length));
    back_forget(destination->origin);
    origin_unref(destination->origin);
    free(destination);
}

/* Its texts are the origin's own: connections may outlive the destination, but their health is never asked then. */
static struct origin *origin_new(struct destination *destination, struct worker *worker, struct server_record *record)
{
    struct origin *origin = FAULT("destination") ? NULL : calloc(1, sizeof *origin);
    char *key = origin ? strndup(destination->key, destination->length) : NULL;
    if (!key) {
        free(origin);
        return NULL;
    }
    origin->key = slice_of(key, destination->length);
    origin->worker = worker;
    origin->record = record;
    origin->set_anew = true;
    origin->server = (struct server){ .name = origin->key,
                                      .health = &destination->health,
                                      .references = 1,
                                      .counters = &record->counters[worker->loop.number],
                                      .owner = origin };
    return origin;
}

static struct destination *destination_new(struct destinations *all, struct slice key, const struct view *view)
{
    size_t bytes = (sizeof(struct destination) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct destination *destination =
        key.length > DESTINATION_KEY_BYTES || FAULT("destination") ? NULL : aligned_alloc(CACHE_LINE, bytes);
    if (!destination)
        return NULL;
    memset(destination, 0, bytes);
    destination->all = all;
    destination->length = (uint32_t)key.length;
    memcpy(destination->key, key.at, key.length);
    destination->origin = origin_new(destination, all->worker, view->generation->forward_servers);
    if (!destination->origin ||
        map_add(&all->map, slice_of(destination->key, destination->length), destination) != ERR_OK) {
        if (destination->origin)
            origin_unref(destination->origin);
        free(destination);
        return NULL;
    }
    destination->member = (struct member){ .server = &destination->origin->server, .weight = 1 };
    return destination;
}

static bool same_peer(const struct peer_address *a, const void *socket, uint32_t bytes)
{
    return a->socket_bytes == bytes && memcmp(&a->socket, socket, bytes) == 0;
}

static bool has_addresses(const struct origin *origin, const struct peer_address *list, uint32_t count)
{
    bool same =
        origin->more_count + 1 == count && same_peer(&list[0], &origin->address.socket, origin->address.socket_bytes);
    for (uint32_t i = 1; same && i < count; i++)
        same = same_peer(&list[i], &origin->more[i - 1].socket, origin->more[i - 1].socket_bytes);
    return same;
}

static void set_addresses(struct destination *destination, const struct peer_address *list, uint32_t count)
{
    struct origin *origin = destination->origin;
    if (has_addresses(origin, list, count))
        return;
    memcpy(&origin->address.socket, &list[0].socket, sizeof list[0].socket);
    origin->address.socket_bytes = list[0].socket_bytes;
    origin->more_count = count - 1;
    memcpy(origin->more, list + 1, (count - 1) * sizeof *list);
    origin->best = 0;
    origin->addresses = ++destination->all->marks | 1u << 31;
    back_forget(origin);
}

struct destination *destination_for(struct destinations *all, struct slice key, const struct peer_address *addresses,
                                    uint32_t count, const struct view *view)
{
    struct destination *destination = map_find(&all->map, key);
    MUST(count >= 1 && count <= SERVER_ADDRESSES_MAX);
    if (!destination)
        destination = destination_new(all, key, view);
    else if (destination->references == 0)
        unlink_unused(destination);
    if (!destination)
        return NULL;
    destination->references++;
    destination->origin->idle_limits = view->forward.config->idle;
    destination->origin->seen = all->worker->view->generation->number;
    set_addresses(destination, addresses, count);
    return destination;
}

void destination_unref(struct destination *destination)
{
    struct destinations *all = destination->all;
    MUST(destination->references > 0);
    if (--destination->references > 0)
        return;
    if (!all->worker->view->forward.config) { /* there is no forward proxy any more, and its record may go */
        destination_free(destination);
        return;
    }
    link_unused(destination);
    if (all->unused <= DESTINATIONS_KEPT)
        return;
    struct destination *oldest = all->oldest;
    unlink_unused(oldest);
    destination_free(oldest);
}

struct member *destination_lease(struct destination *destination)
{
    struct server *server = destination->member.server;
    destination->references++;
    server->in_flight++;
    counter_add(&server->counters->busy, 1);
    return &destination->member;
}

void destination_return(struct member *member)
{
    destination_unref(CONTAINER_OF(member, struct destination, member));
}

/* All ---------------------------------------------------------------------------------------------------------- */

struct destinations *destinations_new(struct worker *worker)
{
    struct destinations *all = FAULT("destination") ? NULL : calloc(1, sizeof *all);
    if (!all)
        return NULL;
    all->worker = worker;
    map_init(&all->map, WORKER_EXCHANGES + DESTINATIONS_KEPT, loop_random(&worker->loop), loop_random(&worker->loop));
    return all;
}

void destinations_adopt(struct destinations *all)
{
    const struct generation *generation = all->worker->view->generation;
    struct map_entry *entry;
    uint32_t cursor = 0;
    if (!generation->derived)
        destinations_close(all);
    if (!generation->forward_servers)
        return; /* what is in use is closed when it is done with */
    while ((entry = map_next(&all->map, &cursor)))
        ((struct destination *)entry->value)->origin->seen = generation->number;
}

void destinations_close(struct destinations *all)
{
    while (all->oldest) {
        struct destination *oldest = all->oldest;
        unlink_unused(oldest);
        destination_free(oldest);
    }
    struct map_entry *entry;
    uint32_t cursor = 0;
    while ((entry = map_next(&all->map, &cursor)))
        back_forget(((struct destination *)entry->value)->origin);
}

void destinations_free(struct destinations *all)
{
    struct map_entry *entry;
    uint32_t cursor = 0;
    if (!all)
        return;
    while ((entry = map_next(&all->map, &cursor))) {
        struct destination *destination = entry->value;
        origin_unref(destination->origin);
        free(destination);
    }
    map_release(&all->map);
    free(all);
}

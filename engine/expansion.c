#include "engine/expansion.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/config_memory.h"
#include "engine/config_value.h"

struct expander {
    struct config_memory *memory;
    const struct overlay *overlay;
    const struct name_lookup *lookup;
    struct config_pool *pool;
    struct config_server *list; /* room for UPSTREAM_SERVERS_MAX */
    uint32_t count, total, left_out;
    struct map seen; /* keys: duplicates are merged */
};

/* Names -------------------------------------------------------------------------------------------------------- */

struct slice address_host(struct slice address)
{
    if (slice_starts(address, SLICE("unix:")))
        return SLICE_NONE;
    if (address_is_service(address))
        return address;
    const char *colon = address.length ? memrchr(address.at, ':', address.length) : NULL;
    size_t length = colon ? (size_t)(colon - address.at) : address.length;
    if (length > 2 && address.at[0] == '[')
        return slice_of(address.at + 1, length - 2);
    return slice_of(address.at, length);
}

bool address_is_name(const struct address *address)
{
    return address->socket_bytes == 0;
}

/* An added server's address was read when the command came; a name is what has no number. */
static bool read_added(struct config_memory *memory, const struct overlay_entry *entry, struct address *address)
{
    return value_read_address(memory, entry->address, ADDRESS_OF_SERVER, address) == NULL && address->text.at;
}

void expansion_names(const struct config *config, const struct overlay *overlay, void (*want)(void *context, struct slice name), void *context)
{
    struct config_memory memory = { 0 };
    for (uint32_t p = 0; p < config->pool_count; p++)
        for (uint32_t s = 0; s < config->pools[p].configured_count; s++)
            if (address_is_name(&config->pools[p].configured[s].address))
                want(context, address_host(config->pools[p].configured[s].address.text));
    for (uint32_t i = 0; i < overlay->count; i++) {
        struct address address;
        if (overlay->entries[i].added && read_added(&memory, &overlay->entries[i], &address) && address_is_name(&address))
            want(context, address_host(address.text));
    }
    config_memory_release(&memory);
}

/* One server --------------------------------------------------------------------------------------------------- */

/* Where a server comes from: what all the servers of one line of the file have in common. */
struct origin_line {
    struct slice text; /* "app.example.com:80" */
    uint16_t port;
    uint32_t weight, max_connections;
    uint8_t group;
    struct slice zone;
    bool added;
};

static struct slice key_of(struct expander *e, struct slice address)
{
    char key[ADDRESS_TEXT_BYTES + 80];
    int length = snprintf(key, sizeof key, "%.*s/%.*s", (int)e->pool->name.length, e->pool->name.at, (int)address.length, address.at);
    return config_memory_copy(e->memory, slice_of(key, size_min((size_t)length, sizeof key - 1)));
}

/* NULL: it is there already, was removed, there is no room, or no memory. */
static struct config_server *place(struct expander *e, const struct origin_line *line, struct slice text)
{
    const struct overlay_entry *entry = overlay_find(e->overlay, e->pool->name, text);
    if (entry && entry->removed)
        return NULL;
    struct slice key = key_of(e, text);
    if (!key.at || map_find(&e->seen, key))
        return NULL;
    if (e->count == UPSTREAM_SERVERS_MAX || e->total >= POOLS_SERVERS_MAX) {
        e->left_out++;
        return NULL;
    }
    struct config_server *server = &e->list[e->count];
    if (map_add(&e->seen, key, server) != ERR_OK) {
        e->memory->failed = true;
        return NULL;
    }
    *server = (struct config_server){ .weight = line->weight, .max_connections = line->max_connections, .group = (uint32_t)u64_min(line->group, SERVER_GROUP_MAX), .zone = line->zone, .added = line->added,
                                      .key = key };
    if (entry && entry->weight != OVERLAY_UNCHANGED)
        server->weight = entry->weight;
    if (entry && entry->max_connections != OVERLAY_UNCHANGED)
        server->max_connections = entry->max_connections;
    if (entry && entry->group)
        server->group = (uint32_t)u64_min(entry->group, SERVER_GROUP_MAX);
    e->count++;
    e->total++;
    return server;
}

/* Addresses of names ------------------------------------------------------------------------------------------- */

static struct peer_address peer_of(const struct name_address *from, uint16_t port)
{
    struct peer_address peer = { 0 };
    if (from->family == 4) {
        peer.socket.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
        memcpy(&peer.socket.v4.sin_addr, from->bytes, 4);
        peer.socket_bytes = sizeof peer.socket.v4;
    } else {
        peer.socket.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
        memcpy(&peer.socket.v6.sin6_addr, from->bytes, 16);
        peer.socket_bytes = sizeof peer.socket.v6;
    }
    return peer;
}

static void take_peer(struct address *address, const struct peer_address *peer, uint16_t port)
{
    memcpy(&address->socket, &peer->socket, sizeof peer->socket);
    address->socket_bytes = peer->socket_bytes;
    address->port = port;
}

static void place_each(struct expander *e, const struct origin_line *line, const struct name_answer *answer)
{
    for (uint32_t i = 0; i < answer->address_count; i++) {
        char host[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];
        const struct name_address *from = &answer->addresses[i];
        inet_ntop(from->family == 4 ? AF_INET : AF_INET6, from->bytes, host, sizeof host);
        snprintf(text, sizeof text, from->family == 4 ? "%s:%u" : "[%s]:%u", host, line->port);
        struct config_server *server = place(e, line, slice_of_text(text));
        if (!server)
            continue;
        struct peer_address peer = peer_of(from, line->port);
        take_peer(&server->address, &peer, line->port);
        server->address.text = config_memory_copy(e->memory, slice_of_text(text));
        server->name = config_memory_copy(e->memory, line->text);
    }
}

static uint32_t count_family(const struct name_answer *answer, uint8_t family)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < answer->address_count; i++)
        count += answer->addresses[i].family == family;
    return count;
}

/* Families in turn, IPv6 first (RFC 8305 4). */
static uint32_t interleave(const struct name_answer *answer, uint16_t port, struct peer_address out[SERVER_ADDRESSES_MAX])
{
    uint32_t next[2] = { 0, 0 }, count = 0;
    bool more = true;
    while (more && count < SERVER_ADDRESSES_MAX) {
        more = false;
        for (unsigned side = 0; side < 2 && count < SERVER_ADDRESSES_MAX; side++) {
            uint8_t family = side == 0 ? 6 : 4;
            uint32_t *i = &next[side];
            while (*i < answer->address_count && answer->addresses[*i].family != family)
                ++*i;
            if (*i == answer->address_count)
                continue;
            out[count++] = peer_of(&answer->addresses[(*i)++], port);
            more = true;
        }
    }
    return count;
}

static void place_any(struct expander *e, const struct origin_line *line, const struct name_answer *answer)
{
    struct peer_address peers[SERVER_ADDRESSES_MAX];
    uint32_t count = interleave(answer, line->port, peers);
    struct config_server *server = place(e, line, line->text);
    if (!server)
        return;
    take_peer(&server->address, &peers[0], line->port);
    server->address.text = config_memory_copy(e->memory, line->text);
    if (count == 1)
        return;
    server->more = config_memory_take(e->memory, (count - 1) * sizeof *server->more);
    if (!server->more)
        return;
    memcpy(server->more, peers + 1, (count - 1) * sizeof *server->more);
    server->more_count = count - 1;
}

static void place_unresolved(struct expander *e, const struct origin_line *line)
{
    struct config_server *server = place(e, line, line->text);
    if (!server)
        return;
    server->address.port = line->port;
    server->address.text = config_memory_copy(e->memory, line->text);
    server->unresolved = true;
}

static void place_host(struct expander *e, const struct origin_line *line)
{
    const struct name_answer *answer = e->lookup->find(e->lookup, address_host(line->text));
    if (!answer || answer->address_count == 0) {
        place_unresolved(e, line);
        return;
    }
    bool few = count_family(answer, 4) <= 1 && count_family(answer, 6) <= 1;
    if (e->pool->addresses == ADDRESSES_ANY || (e->pool->addresses == ADDRESSES_AUTO && few))
        place_any(e, line, answer);
    else
        place_each(e, line, answer);
}

/* Services ----------------------------------------------------------------------------------------------------- */

/* Weights go to 65535 there; the largest of one priority decides the scale. 0 is "hardly ever". */
static uint32_t scaled_weight(const struct name_answer *answer, const struct name_target *target)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < answer->target_count; i++)
        if (answer->targets[i].priority == target->priority && answer->targets[i].weight > most)
            most = answer->targets[i].weight;
    uint32_t weight = most > SERVER_WEIGHT_MAX ? target->weight * SERVER_WEIGHT_MAX / most : target->weight;
    return weight ? weight : 1;
}

/* How many lower priorities there are; targets are sorted by it. */
static uint8_t group_of(const struct name_answer *answer, const struct name_target *target)
{
    uint32_t group = 0;
    for (uint32_t i = 1; i < answer->target_count && answer->targets[i].priority <= target->priority; i++)
        group += answer->targets[i].priority != answer->targets[i - 1].priority;
    return (uint8_t)(group < UINT8_MAX ? group : UINT8_MAX);
}

static void place_service(struct expander *e, const struct origin_line *line)
{
    const struct name_answer *answer = e->lookup->find(e->lookup, line->text);
    if (!answer || answer->target_count == 0) {
        place_unresolved(e, line);
        return;
    }
    for (uint32_t i = 0; i < answer->target_count; i++) {
        const struct name_target *target = &answer->targets[i];
        char text[sizeof target->host + 8];
        snprintf(text, sizeof text, "%s:%u", target->host, target->port);
        struct origin_line one = *line;
        one.text = slice_of_text(text);
        one.port = target->port;
        one.weight = scaled_weight(answer, target);
        one.group = (uint8_t)u64_min((uint64_t)line->group + group_of(answer, target), SERVER_GROUP_MAX);
        place_host(e, &one);
    }
}

/* Pools -------------------------------------------------------------------------------------------------------- */

static void place_line(struct expander *e, const struct origin_line *line, const struct address *address)
{
    if (address_is_service(line->text)) {
        place_service(e, line);
    } else if (address_is_name(address)) {
        place_host(e, line);
    } else {
        struct config_server *server = place(e, line, line->text);
        if (server)
            server->address = *address;
    }
}

static void expand_configured(struct expander *e)
{
    for (uint32_t s = 0; s < e->pool->configured_count; s++) {
        const struct config_server *from = &e->pool->configured[s];
        const struct overlay_entry *entry = overlay_find(e->overlay, e->pool->name, from->address.text);
        struct origin_line line = { .text = from->address.text, .port = from->address.port, .weight = from->weight,
                                    .max_connections = from->max_connections, .group = (uint8_t)from->group, .zone = from->zone };
        if (entry && entry->removed)
            continue;
        if (entry && entry->weight != OVERLAY_UNCHANGED)
            line.weight = entry->weight;
        if (entry && entry->max_connections != OVERLAY_UNCHANGED)
            line.max_connections = entry->max_connections;
        if (entry && entry->group)
            line.group = entry->group;
        place_line(e, &line, &from->address);
    }
}

static void expand_added(struct expander *e)
{
    for (uint32_t i = 0; i < e->overlay->count; i++) {
        const struct overlay_entry *entry = &e->overlay->entries[i];
        struct address address;
        if (!entry->added || !slice_equal(entry->pool, e->pool->name) || !read_added(e->memory, entry, &address))
            continue;
        struct origin_line line = { .text = address.text, .port = address.port, .weight = entry->weight == OVERLAY_UNCHANGED ? 1 : entry->weight,
                                    .max_connections = entry->max_connections == OVERLAY_UNCHANGED ? 0 : entry->max_connections,
                                    .group = entry->group, .added = true };
        place_line(e, &line, &address);
    }
}

static bool needs_expanding(const struct expander *e)
{
    for (uint32_t s = 0; s < e->pool->configured_count; s++)
        if (address_is_name(&e->pool->configured[s].address))
            return true;
    for (uint32_t i = 0; i < e->overlay->count; i++)
        if (slice_equal(e->overlay->entries[i].pool, e->pool->name))
            return true;
    return false;
}

static bool expand_pool(struct expander *e)
{
    e->pool->servers = e->pool->configured;
    e->pool->server_count = e->pool->configured_count;
    if (!needs_expanding(e)) {
        e->total += e->pool->configured_count;
        return true;
    }
    map_init(&e->seen, UPSTREAM_SERVERS_MAX, 1, 2);
    e->count = 0;
    expand_configured(e);
    expand_added(e);
    map_release(&e->seen);
    e->pool->servers = config_memory_take(e->memory, (e->count + 1) * sizeof *e->list);
    if (!e->pool->servers)
        return false;
    memcpy(e->pool->servers, e->list, e->count * sizeof *e->list);
    e->pool->server_count = e->count;
    return !e->memory->failed;
}

bool expand_servers(struct config *config, const struct overlay *overlay, const struct name_lookup *lookup, uint32_t *left_out)
{
    struct config_memory scratch = { 0 };
    struct expander e = { .memory = config_memory_of(config), .overlay = overlay, .lookup = lookup };
    e.list = config_memory_take(&scratch, UPSTREAM_SERVERS_MAX * sizeof *e.list);
    bool well = e.list != NULL;
    for (uint32_t p = 0; well && p < config->pool_count; p++) {
        e.pool = &config->pools[p];
        well = expand_pool(&e);
    }
    config_memory_release(&scratch);
    *left_out = e.left_out;
    return well;
}

/* Comparing ---------------------------------------------------------------------------------------------------- */

static bool same_server(const struct config_server *a, const struct config_server *b)
{
    if (!slice_equal(a->key, b->key) || a->weight != b->weight || a->max_connections != b->max_connections || a->group != b->group ||
        a->address.socket_bytes != b->address.socket_bytes || a->more_count != b->more_count || !slice_equal(a->name, b->name))
        return false;
    if (a->added != b->added || !slice_equal(a->zone, b->zone))
        return false;
    if (memcmp(&a->address.socket, &b->address.socket, a->address.socket_bytes) != 0)
        return false;
    return a->more_count == 0 || memcmp(a->more, b->more, a->more_count * sizeof *a->more) == 0;
}

bool expansion_equal(const struct config *a, const struct config *b)
{
    if (a->pool_count != b->pool_count)
        return false;
    for (uint32_t p = 0; p < a->pool_count; p++) {
        if (a->pools[p].server_count != b->pools[p].server_count)
            return false;
        for (uint32_t s = 0; s < a->pools[p].server_count; s++)
            if (!same_server(&a->pools[p].servers[s], &b->pools[p].servers[s]))
                return false;
    }
    return true;
}

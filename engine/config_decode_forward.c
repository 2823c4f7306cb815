/*
 * The section `forward-proxy`, together: its lists as the policy has them, what holds for all of its destinations, and whether listeners and section go
 * together. A proxy that anybody may use is found within hours and used to attack others, so one is refused rather than warned of.
 */
#include <string.h>

#include "engine/config_decode.h"
#include "engine/config_value.h"

#define KEPT_PER_DESTINATION 4u /* connections, on each worker */
#define KEPT_MS 30000u

static const char *const usual_clients[] = {
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
    "::1/128",     "fc00::/7",   "fe80::/10",     "unix:",
};

static void set_usual_clients(struct decoder *decoder, struct config_forward *forward)
{
    forward->clients = decode_take(decoder, ARRAY_LENGTH(usual_clients), sizeof *forward->clients);
    for (size_t i = 0; forward->clients && i < ARRAY_LENGTH(usual_clients); i++)
        if (!value_read_network(slice_of_text(usual_clients[i]), &forward->clients[forward->client_count]))
            forward->client_count++;
}

/* What is empty was complained of. */
static const struct forward_entry *entries_of(struct decoder *decoder, const struct slice *texts, uint32_t count,
                                              uint32_t *taken)
{
    struct forward_entry *entries = count ? decode_take(decoder, count, sizeof *entries) : NULL;
    for (uint32_t i = 0; entries && i < count; i++)
        if (texts[i].length && !forward_entry_read(texts[i], &entries[*taken]))
            ++*taken;
    return entries;
}

static const struct forward_ports *ports_of(struct decoder *decoder, const struct slice *texts, uint32_t count,
                                            uint32_t *taken)
{
    struct forward_ports *ports = count ? decode_take(decoder, count, sizeof *ports) : NULL;
    for (uint32_t i = 0; ports && i < count; i++)
        if (texts[i].length && !forward_ports_read(texts[i], &ports[*taken]))
            ++*taken;
    return ports;
}

static void make_policy(struct decoder *decoder, struct config_forward *forward)
{
    struct forward_policy *policy = &forward->policy;
    *policy = (struct forward_policy){ .open = forward->open, .open_count = forward->open_count };
    policy->deny = entries_of(decoder, forward->deny, forward->deny_count, &policy->deny_count);
    policy->allow = entries_of(decoder, forward->allow, forward->allow_count, &policy->allow_count);
    policy->connect_ports =
        ports_of(decoder, forward->connect_ports, forward->connect_port_count, &policy->connect_port_count);
}

/* A route and a pool that no file names: what exchanges go by on their way. */
static void make_route(struct decoder *decoder, struct config_forward *forward)
{
    static const struct slice websocket[] = { { "websocket", 9 } };
    struct config_pool *pool = &forward->pool;
    (void)decoder;
    forward->route.name = pool->name = SLICE("forward-proxy");
    forward->route.action = ROUTE_POOL;
    forward->route.upgrade = (struct upgrade_rule){ websocket, 1 };
    pool->balance = BALANCE_ROUND_ROBIN;
    pool->idle = (struct idle_limits){ .count_max = KEPT_PER_DESTINATION, .idle_ms_max = KEPT_MS };
    pool->health.outlier.max_ejected = 100;
}

static void check_unix(struct decoder *decoder, const struct node *node, const struct config_forward *forward)
{
    for (uint32_t i = 0; i < forward->open_count; i++)
        if (value_network_is_unix(&forward->open[i]))
            problem_help(problem_error(decoder->reporter, key_place(node, "private"),
                                       "'unix:' is no address that could be reached"),
                         "leave it out");
}

void finish_forward(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct config_forward *forward = target;
    forward->on = true;
    if (!section_given(&section_forward, given, "clients"))
        set_usual_clients(decoder, forward);
    check_unix(decoder, node, forward);
    make_policy(decoder, forward);
    make_route(decoder, forward);
}

/* Together with listeners ----------------------------------------------------------------------------------------- */

static bool is_loopback(const struct address *address)
{
    if (address->socket.any.sa_family == AF_INET)
        return (ntohl(address->socket.v4.sin_addr.s_addr) >> 24) == 127;
    return address->socket.any.sa_family == AF_UNIX ||
           (address->socket.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->socket.v6.sin6_addr));
}

/* More than any organisation has. IPv4 is v4-mapped: ::/64 has all of it. */
static bool is_the_world(const struct network *network)
{
    static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };
    if (network->bits < 96 && network_has(network, mapped))
        return true;
    if (network->bits >= 96 && memcmp(network->address, mapped, 12) == 0)
        return network->bits < 96 + 8;
    return network->bits < 16 && (network->address[0] & 0xfe) != 0xfc &&
           !(network->address[0] == 0xfe && network->bits >= 10);
}

/* True: it was complained of. */
static bool check_open(struct decoder *decoder, uint32_t index)
{
    const struct config_forward *forward = &decoder->config->forward;
    const struct node *section = node_find(decoder->root, "forward-proxy");
    if (forward->users.length || is_loopback(&decoder->config->listeners[index].address))
        return false;
    for (uint32_t i = 0; i < forward->client_count; i++) {
        if (!is_the_world(&forward->clients[i]))
            continue;
        char text[VALUE_TEXT_BYTES];
        value_write_network(&forward->clients[i], text);
        struct config_problem *problem =
            problem_error(decoder->reporter, key_place(section, "clients"),
                          "an open proxy: anybody in %s may use it without a password", text);
        problem_note(problem, item_place(node_find(decoder->root, "listeners"), index, NULL), "it listens here");
        problem_help(problem, "add 'users', or name your own networks in 'clients'");
        return true;
    }
    return false;
}

void check_forward(struct decoder *decoder)
{
    const struct config *config = decoder->config;
    const struct node *nodes = node_find(decoder->root, "listeners"),
                      *section = node_find(decoder->root, "forward-proxy");
    bool served = false, open = false; /* the latter is complained of once */
    for (uint32_t i = 0; i < config->listener_count; i++) {
        if (config->listeners[i].serve != SERVE_FORWARD)
            continue;
        if (!section) {
            problem_help(
                problem_error(decoder->reporter, item_place(nodes, i, "serve"), "there is no section 'forward-proxy'"),
                "add it: forward-proxy: {}");
            return;
        }
        if (!open && config->forward.on)
            open = check_open(decoder, i);
        served = true;
    }
    if (section && !served)
        problem_help(problem_error(decoder->reporter, key_place(decoder->root, "forward-proxy"),
                                   "no listener serves the forward proxy"),
                     "add one: { address: 127.0.0.1:3128, serve: forward-proxy }");
}

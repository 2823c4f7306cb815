/*
 * What the keys of TCP listeners say together, with each other, with the listener's other keys and with the pools that they lead to: a connection has no
 * request, so what goes by one is refused by name.
 */
#include "engine/config_decode.h"

#define COMPARED_MAX 20000000ull /* pairs of names: a file of long lists is not to hold up a reload */

/* Rows and section ------------------------------------------------------------------------------------------------ */

static bool is_star(struct slice name)
{
    return slice_equal(name, SLICE("*"));
}

void finish_passthrough(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct passthrough_row *row = target;
    (void)given;
    row->patterns = decode_take(decoder, row->name_count + 1u, sizeof *row->patterns);
    for (uint32_t i = 0; i < row->name_count; i++)
        row->any |= is_star(row->names[i]);
    for (uint32_t i = 0; !row->any && row->patterns && i < row->name_count; i++)
        if (row->names[i].length && host_pattern_of(row->names[i], &row->patterns[i]) != ERR_OK)
            problem_error(decoder->reporter, key_place(node, "sni"), "'%s' is no name", quoted(row->names[i]).text);
    if (row->any && row->name_count > 1)
        problem_help(problem_error(decoder->reporter, key_place(node, "sni"), "'*' stands beside other names"),
                     "it takes every client: leave the others out");
}

void finish_tcp(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    struct config_tcp *tcp = target;
    tcp->on = true;
    tcp->has_pool = section_given(&section_tcp, given, "pool");
    if (!tcp->has_pool && !section_given(&section_tcp, given, "passthrough"))
        problem_help(problem_error(decoder->reporter, node->place, "the section 'tcp' leads nowhere"),
                     "add 'pool', or 'passthrough' with rows");
}

/* Beside other keys of the listener ------------------------------------------------------------------------------- */

static void refuse_beside(struct decoder *decoder, const struct node *node, const char *key, const char *why)
{
    problem_help(
        problem_error(decoder->reporter, key_place(node, key), "'%s' is for HTTP, and this listener has 'tcp'", key),
        "%s", why);
}

void finish_listener_tcp(struct decoder *decoder, const struct node *node, const struct config_listener *listener)
{
    const struct node *serve = node_find(node, "serve"), *tls = node_find(node, "tls");
    if (!node_find(node, "tcp"))
        return;
    if (serve && !slice_equal(serve->text, SLICE("proxy")))
        refuse_beside(decoder, node, "serve", "leave one of them out");
    if (node_find(node, "redirect-to-https"))
        refuse_beside(decoder, node, "redirect-to-https", "leave the key out");
    if (tls && listener->tcp.passthrough_count)
        problem_help(problem_error(decoder->reporter, key_place(node, "tls"),
                                   "'tls' ends TLS here, and 'passthrough' leaves it as it is"),
                     "leave one of them out, or use two listeners");
    if (tls && listener->tls.hsts_ms)
        refuse_beside(decoder, tls, "hsts", "leave the key out");
    if (tls && listener->tls.early_data_bytes_max)
        problem_help(problem_error(decoder->reporter, key_place(tls, "early-data"),
                                   "'early-data' is for HTTP, which can tell servers that it may be a replay"),
                     "leave the key out");
}

/* Pools ----------------------------------------------------------------------------------------------------------- */

static const struct node *pool_node(const struct decoder *decoder, uint32_t pool)
{
    const struct node *pools = node_find(decoder->root, "pools");
    const struct node_child *child = pools && pools->kind == NODE_MAP ? pools->first : NULL;
    for (; child && pool; pool--)
        child = child->next;
    return child ? child->value : NULL;
}

static void refuse_pool(struct decoder *decoder, const struct config_listener *listener, uint32_t pool, const char *key,
                        const char *what, const char *help)
{
    const struct node *node = pool_node(decoder, pool);
    problem_help(problem_error(decoder->reporter, node ? key_place(node, key) : (struct place){ 0 },
                               "listener '%s' passes connections to pool '%s', and %s", quoted(listener->name).text,
                               quoted(decoder->config->pools[pool].name).text, what),
                 "%s", help);
}

static void check_pool(struct decoder *decoder, const struct config_listener *listener, uint32_t index,
                       bool passed_through)
{
    const struct config_pool *pool = &decoder->config->pools[index];
    if (pool->balance == BALANCE_CONSISTENT_HASH && pool->hash_key != HASH_CLIENT_ADDRESS)
        refuse_pool(decoder, listener, index, "hash-key", "its 'hash-key' is a part of requests",
                    "write 'hash-key: client-address'");
    if (pool->sticky.cookie.length)
        refuse_pool(decoder, listener, index, "sticky", "'sticky' goes by a cookie",
                    "use 'balance: consistent-hash' with 'hash-key: client-address'");
    if (pool->hedge.percentile)
        refuse_pool(decoder, listener, index, "hedge", "'hedge' sends a request twice",
                    "give routes a pool of their own");
    if (pool->tls.on && passed_through)
        refuse_pool(decoder, listener, index, "tls", "what is passed through is TLS already",
                    "leave 'tls' out: the servers see the client's own");
}

/* One that several listeners or rows lead to is told of once. */
static void check_listener_pools(struct decoder *decoder, const struct config_listener *listener, bool *seen)
{
    const struct config_tcp *tcp = &listener->tcp;
    for (uint32_t i = 0; i < tcp->passthrough_count; i++) {
        uint32_t pool = tcp->passthrough[i].pool;
        if (!seen[pool])
            check_pool(decoder, listener, pool, true);
        seen[pool] = true;
    }
    if (tcp->has_pool && !seen[tcp->pool])
        check_pool(decoder, listener, tcp->pool, false);
    if (tcp->has_pool)
        seen[tcp->pool] = true;
}

void config_check_tcp(struct decoder *decoder)
{
    const struct config *config = decoder->config;
    bool *seen = decode_take(decoder, config->pool_count + 1u, sizeof *seen);
    for (uint32_t i = 0; seen && config->pool_count && i < config->listener_count; i++)
        if (config->listeners[i].tcp.on)
            check_listener_pools(decoder, &config->listeners[i], seen);
}

void config_mark_tcp_pools(const struct config *config, bool *used)
{
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct config_tcp *tcp = &config->listeners[i].tcp;
        for (uint32_t row = 0; row < tcp->passthrough_count; row++)
            used[tcp->passthrough[row].pool] = true;
        if (tcp->on && tcp->has_pool)
            used[tcp->pool] = true;
    }
}

/* Warnings -------------------------------------------------------------------------------------------------------- */

static struct place row_place(const struct decoder *decoder, uint32_t listener, uint32_t row)
{
    const struct node *nodes = node_find(decoder->root, "listeners"), *item = NULL;
    const struct node_child *child = NULL;
    for (uint32_t i = 0; nodes && i <= listener; i++)
        item = node_next(nodes, &child);
    const struct node *tcp = item ? node_find(item, "tcp") : NULL, *rows = tcp ? node_find(tcp, "passthrough") : NULL;
    child = NULL;
    for (uint32_t i = 0; rows && i <= row; i++)
        item = node_next(rows, &child);
    return rows && item ? item->place : (struct place){ 0 };
}

static void warn_of_unreached(struct decoder *decoder, uint32_t listener)
{
    const struct config_tcp *tcp = &decoder->config->listeners[listener].tcp;
    uint64_t compared = 0;
    for (uint32_t later = 1; later < tcp->passthrough_count && compared < COMPARED_MAX; later++) {
        uint32_t earlier = 0;
        while (earlier < later && !passthrough_covers(&tcp->passthrough[earlier], &tcp->passthrough[later]))
            compared += 1u + (uint64_t)tcp->passthrough[earlier++].name_count * tcp->passthrough[later].name_count;
        if (earlier == later)
            continue;
        struct config_problem *problem = problem_warning(decoder->reporter, row_place(decoder, listener, later),
                                                         "this row of 'passthrough' is never reached");
        problem_note(problem, row_place(decoder, listener, earlier), "this one takes every client that it matches");
        problem_help(problem, "put it before the other, or take it out");
    }
}

/* Of a pool that only TCP listeners lead to: keys that are about requests. */
static void warn_of_keys(struct decoder *decoder, uint32_t pool)
{
    static const struct {
        const char *section, *key;
    } keys[] = { { NULL, "host" },          { NULL, "keep-alive" },  { "timeouts", "first-byte" },
                 { "timeouts", "between" }, { "timeouts", "total" }, { "retry", "per-try" } };
    const struct node *node = pool_node(decoder, pool);
    for (size_t i = 0; node && i < ARRAY_LENGTH(keys); i++) {
        const struct node *section = keys[i].section ? node_find(node, keys[i].section) : node;
        if (section && section->kind == NODE_MAP && node_find(section, keys[i].key))
            problem_help(problem_warning(decoder->reporter, key_place(section, keys[i].key),
                                         "'%s' of pool '%s' does nothing: it is about requests", keys[i].key,
                                         quoted(decoder->config->pools[pool].name).text),
                         "only TCP listeners lead to this pool; see their 'idle' and 'total'");
    }
}

void config_warn_of_tcp(struct decoder *decoder, const bool *routed)
{
    const struct config *config = decoder->config;
    bool *used = decode_take(decoder, config->pool_count + 1u, sizeof *used);
    for (uint32_t i = 0; i < config->listener_count; i++)
        warn_of_unreached(decoder, i);
    if (!used)
        return;
    config_mark_tcp_pools(config, used);
    for (uint32_t i = 0; i < config->pool_count; i++)
        if (used[i] && !routed[i])
            warn_of_keys(decoder, i);
}

#include "engine/resolver_channel.h"

#include <poll.h>
#include <stdio.h>

#include "engine/base/check.h"

/* Sockets ------------------------------------------------------------------------------------------------------ */

void dns_channel_wait(struct dns_channel *channel)
{
    struct timeval left;
    if (!channel->open || !ares_timeout(channel->ares, NULL, &left)) {
        timer_cancel(&channel->loop->wheel, &channel->patience);
        return;
    }
    uint64_t ms = (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_usec / 1000 + 1;
    timer_cancel(&channel->loop->wheel, &channel->patience);
    timer_set(&channel->loop->wheel, &channel->patience, channel->loop->now_ms + ms);
}

static void patience_ended(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct dns_channel *channel = CONTAINER_OF(timer, struct dns_channel, patience);
    if (channel->open)
        ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    dns_channel_wait(channel);
    channel->moved(channel);
}

static void arm(struct watch *watch)
{
    if (op_armed(&watch->op)) {
        if (watch->armed != watch->wanted)
            op_cancel(&watch->channel->loop->ring, &watch->op);
        return;
    }
    watch->armed = watch->wanted;
    if (watch->fd >= 0 && watch->wanted)
        op_poll(&watch->channel->loop->ring, &watch->op, watch->fd, (uint32_t)watch->wanted);
}

static void watch_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct watch *watch = CONTAINER_OF(op, struct watch, op);
    struct dns_channel *channel = watch->channel;
    if (result > 0 && watch->fd >= 0 && channel->open) {
        bool readable = result & (POLLIN | POLLERR | POLLHUP), writable = result & (POLLOUT | POLLERR | POLLHUP);
        ares_process_fd(channel->ares, readable && (watch->wanted & POLLIN) ? watch->fd : ARES_SOCKET_BAD,
                        writable && (watch->wanted & POLLOUT) ? watch->fd : ARES_SOCKET_BAD);
    }
    arm(watch);
    dns_channel_wait(channel);
    channel->moved(channel);
}

static struct watch *watch_of(struct dns_channel *channel, int fd)
{
    struct watch *spare = NULL;
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        struct watch *watch = &channel->watches[i];
        if (watch->fd == fd)
            return watch;
        if (watch->fd < 0 && !op_armed(&watch->op))
            spare = watch;
    }
    if (spare)
        spare->fd = fd;
    return spare;
}

/* c-ares tells what it waits for, and with neither that it is about to close the socket. Without a watch left a question times out. */
static void socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *channel = data;
    struct watch *watch = channel->ending ? NULL : watch_of(channel, fd);
    if (!watch)
        return;
    watch->wanted = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
    if (!watch->wanted)
        watch->fd = -1;
    arm(watch);
}

/* The channel -------------------------------------------------------------------------------------------------- */

void dns_channel_close(struct dns_channel *channel)
{
    if (!channel->open)
        return;
    channel->open = false;
    ares_destroy(channel->ares); /* questions that are out end with ARES_EDESTRUCTION */
    timer_cancel(&channel->loop->wheel, &channel->patience);
}

static bool start_library(struct dns_channel *channel)
{
    if (!channel->library)
        channel->library = !FAULT("resolver") && ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
    return channel->library;
}

bool dns_channel_open(struct dns_channel *channel)
{
    char lookups[] = "fb"; /* the file /etc/hosts, then DNS */
    struct ares_options options = { .timeout = (int)channel->timeout_ms,
                                    .tries = (int)channel->tries,
                                    .sock_state_cb = socket_changed,
                                    .sock_state_cb_data = channel,
                                    .lookups = lookups };
    int given = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS;
#ifdef ARES_OPT_QUERY_CACHE
    given |= ARES_OPT_QUERY_CACHE; /* of 0 s: it is we who say when an answer is old */
#endif
    if (!channel->search)
        given |= ARES_OPT_DOMAINS; /* of which there are none */
    if (channel->open)
        return true;
    if (!start_library(channel) || FAULT("resolver") ||
        ares_init_options(&channel->ares, &options, given) != ARES_SUCCESS)
        return false;
    channel->open = true;
    if (!channel->servers[0] || ares_set_servers_ports_csv(channel->ares, channel->servers) == ARES_SUCCESS)
        return true;
    dns_channel_close(channel);
    return false;
}

/* Life --------------------------------------------------------------------------------------------------------- */

void dns_channel_init(struct dns_channel *channel, struct loop *loop, bool search,
                      void (*moved)(struct dns_channel *channel))
{
    channel->loop = loop;
    channel->search = search;
    channel->moved = moved;
    channel->patience.fire = patience_ended;
    for (uint32_t i = 0; i < WATCHES_MAX; i++)
        channel->watches[i] = (struct watch){ .channel = channel, .fd = -1, .op.done = watch_done };
}

static void list_servers(struct dns_channel *channel, const struct config_dns *dns)
{
    size_t length = 0;
    channel->servers[0] = 0;
    for (uint32_t i = 0; i < dns->server_count; i++)
        length += (size_t)snprintf(channel->servers + length, sizeof channel->servers - length, "%s%.*s", i ? "," : "",
                                   (int)dns->servers[i].text.length, dns->servers[i].text.at);
    MUST(length < sizeof channel->servers); /* 8 at most, each a number with a port */
}

bool dns_channel_configure(struct dns_channel *channel, const struct config_dns *dns)
{
    bool was_open = channel->open;
    list_servers(channel, dns);
    channel->timeout_ms = dns->timeout_ms;
    channel->tries = dns->tries;
    dns_channel_close(channel); /* resolv.conf may be another by now, too */
    return was_open;
}

void dns_channel_end(struct dns_channel *channel)
{
    channel->ending = true;
    dns_channel_close(channel);
    if (channel->library)
        ares_library_cleanup();
    channel->library = false;
}

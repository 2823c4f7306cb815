#include "engine/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* for tcpi_bytes_acked, which <netinet/tcp.h> does not know */
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "proto/address_text.h"

#define CONGESTION_BYTES 16u /* TCP_CA_NAME_MAX */

bool address_is_loopback(const struct address *address)
{
    const struct in6_addr *v6 = &address->socket.v6.sin6_addr;
    if (address->socket.any.sa_family == AF_INET)
        return (ntohl(address->socket.v4.sin_addr.s_addr) >> 24) == 127;
    if (address->socket.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    return false;
}

static bool set_congestion(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

static void for_loopback(int fd)
{
    if (!set_congestion(fd, "cubic"))
        (void)set_congestion(fd, "reno");
}

/* The socket's; of a new one the system's default. "": unknown. */
static void read_congestion(int fd, char name[CONGESTION_BYTES + 1])
{
    socklen_t bytes = CONGESTION_BYTES;
    memset(name, 0, CONGESTION_BYTES + 1);
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &bytes) < 0)
        name[0] = 0;
}

void socket_congestion(int fd, struct slice wanted, const struct address *address)
{
    if (wanted.length == 0 || slice_equal(wanted, SLICE("system")))
        return;
    if (!slice_equal(wanted, SLICE("auto")))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, wanted.at, (socklen_t)wanted.length);
    else if (address_is_loopback(address))
        for_loopback(fd);
}

static bool is_every_address(const struct address *address)
{
    if (address->socket.any.sa_family == AF_INET)
        return address->socket.v4.sin_addr.s_addr == INADDR_ANY;
    return address->socket.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->socket.v6.sin6_addr);
}

bool socket_congestion_by_peer(int fd, struct slice wanted, const struct address *address)
{
    char name[CONGESTION_BYTES + 1];
    if (!slice_equal(wanted, SLICE("auto")) || !is_every_address(address))
        return false;
    read_congestion(fd, name);
    return strcmp(name, "cubic") != 0 && strcmp(name, "reno") != 0;
}

void socket_congestion_of_peer(int fd)
{
    struct address peer = { 0 };
    socklen_t bytes = sizeof peer.socket;
    if (getpeername(fd, &peer.socket.any, &bytes) == 0 && address_is_loopback(&peer))
        for_loopback(fd);
}

/* Tries on a socket of its own, which goes. */
void socket_congestion_text(struct slice wanted, char text[96])
{
    char usual[CONGESTION_BYTES + 1] = "", name[CONGESTION_BYTES + 1] = "";
    const struct address loopback = { .socket.v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        read_congestion(fd, usual);
        socket_congestion(fd, wanted, &loopback);
        read_congestion(fd, name);
        close(fd);
    }
    bool automatic = slice_equal(wanted, SLICE("auto")), failed = !automatic && !slice_equal(wanted, SLICE("system")) && !slice_equal(slice_of_text(name), wanted);
    if (automatic)
        snprintf(text, 96, "auto (%s for loopback, %s for others)", name, usual);
    else
        snprintf(text, 96, failed ? "%.*s is not to be had: %s" : "%.*s (%s)", (int)wanted.length, wanted.at, name);
}

int socket_for_origin(const struct address *address, struct slice congestion)
{
    const int on = 1;
    if (FAULT("socket")) {
        errno = EMFILE;
        return -1;
    }
    int family = address->socket.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || family == AF_UNIX)
        return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socket_congestion(fd, congestion, address);
    return fd;
}

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

/* False: it is none of the internet. */
static bool to_address16(const union any_address *from, uint8_t address16[16], uint16_t *port)
{
    *port = 0;
    memset(address16, 0, 16);
    if (from->any.sa_family == AF_INET) {
        address16[10] = address16[11] = 0xff;
        memcpy(address16 + 12, &from->v4.sin_addr, 4);
        *port = ntohs(from->v4.sin_port);
        return true;
    }
    if (from->any.sa_family != AF_INET6)
        return false;
    memcpy(address16, &from->v6.sin6_addr, 16);
    *port = ntohs(from->v6.sin6_port);
    return true;
}

size_t socket_peer(int fd, char out[46], uint16_t *port, uint8_t address16[16])
{
    union any_address peer;
    socklen_t bytes = sizeof peer;
    memset(&peer, 0, sizeof peer);
    if (getpeername(fd, &peer.any, &bytes) < 0)
        peer.any.sa_family = AF_UNSPEC;
    if (!to_address16(&peer, address16, port)) {
        memcpy(out, "unix", 5);
        return 4;
    }
    return address_text_write(address16, false, out);
}

bool socket_own_address(int fd, uint8_t address16[16], uint16_t *port)
{
    union any_address own;
    socklen_t bytes = sizeof own;
    memset(&own, 0, sizeof own);
    if (getsockname(fd, &own.any, &bytes) < 0)
        own.any.sa_family = AF_UNSPEC;
    return to_address16(&own, address16, port);
}

bool socket_was_reset(int fd)
{
    enum { STATE_CLOSE = 7 }; /* TCP_CLOSE of the kernel's tcp_states.h; after a FIN it is CLOSE_WAIT */
    struct tcp_info info = { 0 };
    socklen_t bytes = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 && info.tcpi_state == STATE_CLOSE;
}

/* Of a unix socket it is what lies in the buffer: it shrinks as the peer reads, and grows only when more was sent. */
uint64_t socket_taken(int fd)
{
    struct tcp_info info;
    socklen_t bytes = sizeof info;
    int waiting = 0;
    if (ioctl(fd, SIOCOUTQ, &waiting) < 0 || waiting == 0)
        return 0;
    memset(&info, 0, sizeof info);
    bool tcp = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 && bytes >= (socklen_t)(offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked);
    if (tcp)
        return info.tcpi_bytes_acked + 1;
    return (uint64_t)waiting;
}

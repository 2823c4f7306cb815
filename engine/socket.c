#include "engine/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* for tcpi_bytes_acked, which <netinet/tcp.h> does not know */
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "engine/base/check.h"

bool address_is_loopback(const struct address *address)
{
    if (address->socket.any.sa_family == AF_INET)
        return (ntohl(address->socket.v4.sin_addr.s_addr) >> 24) == 127;
    if (address->socket.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&address->socket.v6.sin6_addr);
    return false;
}

void socket_congestion(int fd, struct slice wanted, const struct address *address)
{
    if (wanted.length == 0 || slice_equal(wanted, SLICE("system")))
        return;
    if (!slice_equal(wanted, SLICE("auto"))) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, wanted.at, (socklen_t)wanted.length);
        return;
    }
    if (address_is_loopback(address) && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
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

size_t socket_peer(int fd, char out[46], uint16_t *port, uint8_t address16[16])
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } peer;
    socklen_t bytes = sizeof peer;
    *port = 0;
    memset(address16, 0, 16);
    memset(&peer, 0, sizeof peer);
    if (getpeername(fd, &peer.any, &bytes) < 0 || (peer.any.sa_family != AF_INET && peer.any.sa_family != AF_INET6)) {
        memcpy(out, "unix", 5);
        return 4;
    }
    const void *at = &peer.v4.sin_addr;
    int family = AF_INET;
    if (peer.any.sa_family == AF_INET) {
        address16[10] = address16[11] = 0xff;
        memcpy(address16 + 12, at, 4);
        *port = ntohs(peer.v4.sin_port);
    } else {
        memcpy(address16, &peer.v6.sin6_addr, 16);
        *port = ntohs(peer.v6.sin6_port);
        bool mapped = IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr);
        at = mapped ? (const void *)(address16 + 12) : (const void *)&peer.v6.sin6_addr;
        family = mapped ? AF_INET : AF_INET6;
    }
    if (!inet_ntop(family, at, out, 46))
        out[0] = 0;
    return strlen(out);
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

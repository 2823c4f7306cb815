/*
 * Addresses of sockets and of networks: the part of config_value.h that knows about IPv4, IPv6, unix sockets and names.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "engine/config_value.h"

#define SOCKET_PATH_BYTES_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

/* Socket addresses ------------------------------------------------------------------------------------------------ */

static const char *read_port(struct slice text, uint16_t *port)
{
    uint64_t number;
    if (slice_to_u64(text, &number) != ERR_OK || number == 0 || number > 65535)
        return "a port is a number from 1 to 65535";
    *port = (uint16_t)number;
    return NULL;
}

static bool is_ipv4_like(struct slice host)
{
    for (size_t i = 0; i < host.length; i++) {
        if (host.at[i] != '.' && (host.at[i] < '0' || host.at[i] > '9'))
            return false;
    }
    return host.length > 0;
}

/* RFC 1123 2.1, and '_' as found in container networks. */
static bool is_name(struct slice host)
{
    if (host.length == 0 || host.length > 253 || host.at[0] == '.' || host.at[0] == '-')
        return false;
    for (size_t i = 0; i < host.length; i++) {
        char c = (char)(host.at[i] | 0x20);
        bool word = (c >= 'a' && c <= 'z') || (host.at[i] >= '0' && host.at[i] <= '9') || host.at[i] == '-' || host.at[i] == '_';
        if (!word && (host.at[i] != '.' || (i > 0 && host.at[i - 1] == '.')))
            return false;
    }
    return true;
}

/* inet_pton wants a NUL at the end. */
static bool read_numeric(int family, struct slice host, void *binary)
{
    char text[INET6_ADDRSTRLEN + 1];
    if (host.length >= sizeof text || memchr(host.at, '\0', host.length))
        return false;
    memcpy(text, host.at, host.length);
    text[host.length] = '\0';
    return inet_pton(family, text, binary) == 1;
}

static const char *keep_text(struct config_memory *memory, const char *text, struct address *address)
{
    address->text = config_memory_copy(memory, slice_of_text(text));
    return NULL; /* config_memory remembers that it failed */
}

static const char *read_unix(struct config_memory *memory, struct slice text, struct address *address)
{
    struct slice path = slice_of(text.at + 5, text.length - 5);
    const char *complaint = value_check_socket_path(path);
    if (complaint)
        return complaint;
    memset(address, 0, sizeof *address);
    address->socket.local.sun_family = AF_UNIX;
    memcpy(address->socket.local.sun_path, path.at, path.length);
    address->socket_bytes = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + path.length + 1);
    address->text = config_memory_copy(memory, text);
    return NULL;
}

static const char *keep_ipv4(struct config_memory *memory, struct in_addr binary, uint16_t port, struct address *address)
{
    char host[INET_ADDRSTRLEN], text[ADDRESS_TEXT_BYTES];
    memset(address, 0, sizeof *address);
    address->socket.v4.sin_family = AF_INET;
    address->socket.v4.sin_port = htons(port);
    address->socket.v4.sin_addr = binary;
    address->socket_bytes = sizeof address->socket.v4;
    address->port = port;
    snprintf(text, sizeof text, "%s:%u", inet_ntop(AF_INET, &binary, host, sizeof host), port);
    return keep_text(memory, text, address);
}

static const char *keep_ipv6(struct config_memory *memory, const struct in6_addr *binary, uint16_t port, struct address *address)
{
    char host[INET6_ADDRSTRLEN], text[ADDRESS_TEXT_BYTES];
    memset(address, 0, sizeof *address);
    address->socket.v6.sin6_family = AF_INET6;
    address->socket.v6.sin6_port = htons(port);
    address->socket.v6.sin6_addr = *binary;
    address->socket_bytes = sizeof address->socket.v6;
    address->port = port;
    snprintf(text, sizeof text, "[%s]:%u", inet_ntop(AF_INET6, binary, host, sizeof host), port);
    return keep_text(memory, text, address);
}

static const char *keep_name(struct config_memory *memory, struct slice host, uint16_t port, struct address *address)
{
    char text[ADDRESS_TEXT_BYTES];
    memset(address, 0, sizeof *address);
    address->port = port;
    snprintf(text, sizeof text, "%.*s:%u", (int)host.length, host.at, port);
    for (char *c = text; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    return keep_text(memory, text, address);
}

/* The name of an SRV record (RFC 2782): "srv:_http._tcp.example.com". */
static const char *read_service(struct config_memory *memory, struct slice text, struct address *address)
{
    struct slice name = slice_of(text.at + 4, text.length - 4);
    char small[ADDRESS_TEXT_BYTES];
    if (!is_name(name) || is_ipv4_like(name))
        return "an SRV record has a name and no port: srv:_http._tcp.example.com";
    memset(address, 0, sizeof *address);
    for (size_t i = 0; i < text.length; i++)
        small[i] = (char)(text.at[i] >= 'A' && text.at[i] <= 'Z' ? text.at[i] | 0x20 : text.at[i]);
    small[text.length] = '\0';
    return keep_text(memory, small, address);
}

static const char *read_bracketed(struct config_memory *memory, struct slice text, struct address *address)
{
    const char *end = memchr(text.at, ']', text.length);
    struct in6_addr binary;
    uint16_t port;
    if (!end || !read_numeric(AF_INET6, slice_of(text.at + 1, (size_t)(end - text.at) - 1), &binary))
        return "this is not an IPv6 address in brackets";
    size_t used = (size_t)(end - text.at) + 1;
    if (used == text.length || text.at[used] != ':')
        return "the port is missing: [::1]:80";
    const char *complaint = read_port(slice_of(text.at + used + 1, text.length - used - 1), &port);
    return complaint ? complaint : keep_ipv6(memory, &binary, port, address);
}

static const char *complain_of_host(struct slice host, enum address_use use)
{
    if (memchr(host.at, ':', host.length))
        return "an IPv6 address stands in brackets: [::1]:80";
    if (is_ipv4_like(host))
        return "this is not an IPv4 address";
    if (use == ADDRESS_OF_LISTENER)
        return "a listener's host is a number (127.0.0.1:80, [::1]:80) or left out (:80, every address)";
    return is_name(host) ? NULL : "this is neither an address nor a host name";
}

static const char *read_host(struct config_memory *memory, struct slice host, uint16_t port, enum address_use use,
                             struct address *address)
{
    struct in_addr binary;
    if (host.length == 0) {
        if (use == ADDRESS_OF_LISTENER)
            return keep_ipv6(memory, &in6addr_any, port, address);
        return "the host is missing before the port";
    }
    if (read_numeric(AF_INET, host, &binary))
        return keep_ipv4(memory, binary, port, address);
    const char *complaint = complain_of_host(host, use);
    return complaint ? complaint : keep_name(memory, host, port, address);
}

const char *value_read_address(struct config_memory *memory, struct slice text, enum address_use use, struct address *address)
{
    if (text.length == 0 || text.length >= ADDRESS_TEXT_BYTES - 8)
        return "an address is host:port, [IPv6]:port or unix:/path";
    if (memmem(text.at, text.length, "://", 3))
        return "an address has no scheme and no path: host:port";
    if (slice_starts(text, SLICE("unix:")))
        return read_unix(memory, text, address);
    if (use == ADDRESS_OF_SERVER && slice_starts(text, SLICE("srv:")))
        return read_service(memory, text, address);
    if (text.at[0] == '[')
        return read_bracketed(memory, text, address);
    const char *colon = memrchr(text.at, ':', text.length);
    if (!colon)
        return "the port is missing: host:port";
    uint16_t port;
    size_t before = (size_t)(colon - text.at);
    const char *complaint = read_port(slice_of(colon + 1, text.length - before - 1), &port);
    return complaint ? complaint : read_host(memory, slice_of(text.at, before), port, use, address);
}

const char *value_read_name_server(struct config_memory *memory, struct slice text, struct address *address)
{
    static const char *const complaint = "a name server is an address, with a port where it is not 53: 10.0.0.53, [fd00::53]:5353";
    struct in_addr v4;
    struct in6_addr v6;
    struct address made;
    if (text.length && read_numeric(AF_INET, text, &v4))
        return keep_ipv4(memory, v4, 53, address);
    if (text.length && read_numeric(AF_INET6, text, &v6))
        return keep_ipv6(memory, &v6, 53, address);
    if (slice_starts(text, SLICE("unix:")) || slice_starts(text, SLICE("srv:")))
        return complaint;
    const char *wrong = value_read_address(memory, text, ADDRESS_OF_SERVER, &made);
    if (wrong || made.socket_bytes == 0)
        return complaint;
    *address = made;
    return NULL;
}

/* Networks -------------------------------------------------------------------------------------------------------- */

const char *value_read_network(struct slice text, struct network *network)
{
    if (!slice_equal(text, SLICE("unix:")))
        return network_read(text, network);
    *network = (struct network){ .bits = 128 };
    return NULL;
}

bool value_network_is_unix(const struct network *network)
{
    static const uint8_t zeros[16];
    return network->bits == 128 && memcmp(network->address, zeros, sizeof zeros) == 0;
}

void value_write_network(const struct network *network, char out[VALUE_TEXT_BYTES])
{
    if (value_network_is_unix(network))
        snprintf(out, VALUE_TEXT_BYTES, "unix:");
    else
        network_write(network, out);
}

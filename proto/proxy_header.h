/*
 * proxy_header: the header by which a proxy in front says whose connection it passes on (HAProxy's "The PROXY protocol", versions 1 and 2).
 *
 * It stands before everything else on a connection, TLS included. Version 1 is a line of text, version 2 binary, with type-length-value
 * fields behind the addresses. Reading is strict: what is malformed, lies about a length, or is longer than its cap is refused with a reason,
 * as early as it can be seen, for a header that is read in two ways names two clients. Nothing is allocated and nothing kept: slices point
 * into the bytes that were read.
 *
 * Who may send one is not for this file to say: whoever is believed names any address.
 */
#ifndef WEIR_PROXY_HEADER_H
#define WEIR_PROXY_HEADER_H

#include "engine/base/slice.h"

#define PROXY_V1_BYTES_MAX 107u     /* the line with its CRLF */
#define PROXY_HEADER_BYTES_MAX 2048u /* of version 2: ours and whom we read; others' addresses and fields take some hundred bytes */
#define PROXY_NOBODY_BYTES_MAX 16u   /* of one that we write and that names nobody and has no fields, of either version */
#define PROXY_UNIQUE_ID_BYTES_MAX 128u
#define PROXY_UNIX_PATH_BYTES 108u

enum proxy_verdict {
    PROXY_MORE, /* well so far */
    PROXY_DONE,
    PROXY_BAD
};

enum proxy_family {
    PROXY_UNNAMED, /* UNKNOWN, UNSPEC or LOCAL: nobody is named, the connection's own addresses count */
    PROXY_V4,
    PROXY_V6,
    PROXY_UNIX
};

/* What the proxy says of the client's TLS; a field PP2_TYPE_SSL. */
#define PROXY_TLS_CLIENT 0x01u              /* it spoke TLS */
#define PROXY_TLS_CERTIFICATE 0x02u         /* and showed a certificate on this connection */
#define PROXY_TLS_CERTIFICATE_SESSION 0x04u /* or earlier in the session that it resumed */
struct proxy_tls {
    uint8_t client;
    uint32_t verify; /* 0: it showed a certificate, and that was verified */
    struct slice version, common_name, cipher, signature, key; /* none: not said */
};

struct proxy_header {
    uint32_t bytes;  /* its length: what follows is the connection's content */
    uint8_t version; /* 1 or 2 */
    bool local;      /* version 2's LOCAL: the proxy's own connection, a health check for one */
    bool checksum;   /* a field PP2_TYPE_CRC32C; one that is wrong is refused */
    bool has_tls;
    enum proxy_family family;
    uint8_t source[16], destination[16]; /* V4 as v4-mapped IPv6 */
    uint16_t source_port, destination_port;
    struct slice source_path, destination_path; /* UNIX */
    struct slice alpn, authority, unique_id, netns; /* fields; none: not said */
    struct proxy_tls tls;
};

/* bytes: the connection's first, in one run. BAD: *why is a reason, in words that live for ever; header holds nothing then. */
enum proxy_verdict must_use proxy_header_read(struct slice bytes, struct proxy_header *header, const char **why);

/*
 * Writes header->version's form of it, fields only in version 2. header->bytes is not looked at. 0: it has no room in PROXY_HEADER_BYTES_MAX;
 * else its length.
 */
size_t must_use proxy_header_write(const struct proxy_header *header, char out[PROXY_HEADER_BYTES_MAX]);

#endif

/*
 * tls_hello: what a ClientHello says, read before a TLS session exists (RFC 8446 4.1.2, RFC 6066 3, RFC 7301).
 *
 * The engine peeks at a connection's first bytes to choose a certificate by name and key type, and to answer what is no TLS at
 * all in words its sender understands. Nothing is taken away from the input: the session that is then made reads the same bytes. It reads
 * bytes only, allocates nothing and never looks beyond what it is given; every length a client states is checked against what is there.
 */
#ifndef WEIR_TLS_HELLO_H
#define WEIR_TLS_HELLO_H

#include "engine/base/slice.h"

#define TLS_HELLO_BYTES_MAX 16384u /* of the handshake message; more is refused. Post-quantum key shares take about 2 KiB */
#define TLS_NAME_BYTES_MAX 255u

enum tls_hello_verdict {
    TLS_HELLO_MORE,     /* well so far; more bytes are needed */
    TLS_HELLO_DONE,
    TLS_HELLO_BAD,      /* TLS, but malformed: alert decode_error */
    TLS_HELLO_LARGE,    /* above TLS_HELLO_BYTES_MAX, or in an absurd number of records */
    TLS_HELLO_OLD,      /* an SSL 2 hello, or none of the client's versions is TLS 1.2 or later: alert protocol_version */
    TLS_HELLO_PLAIN,    /* looks like an HTTP request in plain text */
    TLS_HELLO_FOREIGN   /* anything else */
};

struct tls_hello {
    char name[TLS_NAME_BYTES_MAX + 1]; /* server_name in small letters, ended by NUL; empty: none. No IP literal (RFC 6066 3), no final dot */
    uint8_t name_length;
    bool tls13;        /* supported_versions has 0x0304 */
    bool ecdsa, rsa;   /* signature_algorithms allows a certificate of this kind (ECDSA: P-256 or P-384 with SHA-256 or -384; RSA: PSS or
                          PKCS #1 with SHA-256 or better); both true when the extension is missing. A client without
                          TLS 1.3 must have a suite of that kind too */
    bool alpn;         /* the extension is there */
    bool alpn_http11, alpn_h2;
    struct slice protocols; /* alpn: the names that are offered, each behind its length in a byte; a view into bytes or scratch */
    bool early_data;
    bool ticket;       /* session_ticket (not empty) or pre_shared_key: wants to resume */
};

/*
 * bytes: the connection's first bytes, in one run, as raw records (a hello may be spread over several). scratch: room of
 * TLS_HELLO_BYTES_MAX bytes, where a hello in several records is put together; not kept.
 */
enum tls_hello_verdict must_use tls_hello_read(struct slice bytes, char *scratch, struct tls_hello *hello);

#endif

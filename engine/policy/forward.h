/*
 * forward: where a forward proxy goes and where it does not. Pure: a host's text, an address and lists in, a verdict out.
 *
 * A request is judged twice. forward_decide sees the host as the client wrote it, before anything is looked up, and spares look-ups that cannot end well.
 * forward_admits sees each address that the name stands for, before it is connected to, and is what counts: the connection goes to exactly
 * that address. A host that is an address in any spelling needs no look-up, and forward_decide has said all about it.
 *
 * Hosts are read by forward_host_read alone, so that no spelling gets past a list: "LOCALHOST.", 0x7f.1 and [::ffff:127.0.0.1] are what they are.
 * Addresses are 16 bytes, IPv4 as v4-mapped (address_text.h).
 *
 * The order: a host that is none, a port that CONNECT may not have, `deny`, special-purpose addresses that `private` does not open, `allow`. So deny wins
 * over all, and allow opens nothing inside: a name on it that points there is refused.
 */
#ifndef WEIR_FORWARD_H
#define WEIR_FORWARD_H

#include "proto/network.h"

#define FORWARD_HOST_BYTES_MAX 253u  /* RFC 1035 2.3.4, as text and without the last dot */
#define FORWARD_ENTRY_TEXT_BYTES 300u

/* A host, normalised. */
struct forward_host {
    bool is_address;
    uint8_t address[16]; /* if it is one */
    uint16_t length;     /* else the name: lower case, no dot at its end */
    char name[FORWARD_HOST_BYTES_MAX + 1];
};

/*
 * host as in a target or a Host field, without port, an IPv6 address in brackets (uri_authority_split's). Every spelling of IPv4 that
 * inet_aton(3) takes is an address, and what ends like one and is none is refused, as by the URL standard (a last label of digits, or 0x...).
 * False: no host: percent-encoding, bytes beyond ASCII, empty or long labels, a zone.
 */
bool must_use forward_host_read(struct slice host, struct forward_host *read);

/* One entry of `deny` and `allow`. Texts are not copied. */
enum forward_kind { FORWARD_ANY, FORWARD_HOST, FORWARD_SUFFIX, FORWARD_NETWORK };
struct forward_entry {
    enum forward_kind kind;
    uint16_t port;          /* 0: any */
    struct slice host;      /* lower case; SUFFIX: with its leading dot */
    struct network network; /* an address is a network of 128 bits */
};

/*
 * host, *.suffix (any depth, not the suffix itself), address, network or *, each with an optional :port; IPv6 with a port in brackets
 * ([2001:db8::1]:25, [2001:db8::]/32:25). lower is the text in small letters, and must stay. NULL, or a complaint that fits behind "'x': ", *entry then untouched.
 */
const char *forward_entry_read(struct slice lower, struct forward_entry *entry);
void forward_entry_write(const struct forward_entry *entry, char out[FORWARD_ENTRY_TEXT_BYTES]); /* reads back as the same */

struct forward_ports {
    uint16_t first, last;
};
/* 443, 8000-8999, * for all. */
const char *forward_ports_read(struct slice text, struct forward_ports *ports);
void forward_ports_write(const struct forward_ports *ports, char out[16]);

struct forward_policy {
    const struct forward_entry *deny, *allow;
    const struct forward_ports *connect_ports; /* none: CONNECT is not allowed */
    const struct network *open;                /* `private`: special-purpose space that may be reached */
    uint32_t deny_count, allow_count, connect_port_count, open_count;
};

/* id, word for logs and counters, sentence for a page. */
/* clang-format off */
#define FORWARD_VERDICT_ROWS(X)                                                                                                 \
    X(FORWARD_ALLOWED,     "allowed",     "this may be reached")                                                                \
    X(FORWARD_DENIED_HOST, "denied",      "this host is on the list of those that are denied")                                  \
    X(FORWARD_NOT_ALLOWED, "not-allowed", "this host is not on the list of those that are allowed")                             \
    X(FORWARD_PORT,        "port",        "tunnels to this port are not allowed")                                               \
    X(FORWARD_PRIVATE,     "private",     "this is, or stands for, an address inside: loopback, link-local, private or special") \
    X(FORWARD_BAD_HOST,    "bad-host",    "this is no host")
/* clang-format on */
#define FORWARD_VERDICT_AS_ENUM(id, word, sentence) id,
enum forward_verdict { FORWARD_VERDICT_ROWS(FORWARD_VERDICT_AS_ENUM) FORWARD_VERDICTS };
const char *forward_verdict_word(enum forward_verdict verdict);
const char *forward_verdict_sentence(enum forward_verdict verdict); /* without a full stop */

/*
 * Before the look-up; port: the one that is meant where the target has none (80, 443). ALLOWED for a name means: look it up and ask forward_admits
 * of each address. ALLOWED for an address is the last word.
 */
enum forward_verdict forward_decide(const struct forward_policy *policy, struct slice host, uint16_t port, bool connect);
/* Of an address that host stands for. Never PORT. */
enum forward_verdict forward_admits(const struct forward_policy *policy, struct slice host, const uint8_t address[16], uint16_t port);

/* What space an address is of: "loopback", "link-local", "private" ...; NULL: global unicast. Its rows say by which RFC. */
const char *address_class(const uint8_t address[16]);

#endif

/*
 * passthrough: which pool a TLS connection goes to that is not ended here, by what its ClientHello asks for.
 *
 * Pure. Rows are looked at in the order of the file, the first that matches wins. A row's names are patterns of hosts as routes have them (route.h: exact, or
 * "*." for every name below a domain), its protocols names of ALPN (RFC 7301 3.1), compared byte by byte; both must match where both are there.
 * What a client says in its hello is nobody's word: it is a wish where to go, no proof of anything.
 */
#ifndef WEIR_PASSTHROUGH_H
#define WEIR_PASSTHROUGH_H

#include "engine/policy/route.h"

struct passthrough_row {
    struct slice *names;           /* as written, in small letters; "*": every hello, with a name or without */
    struct host_pattern *patterns; /* of these, where there is no "*" */
    uint32_t name_count;
    bool any;
    struct slice *protocols; /* none: whatever the client offers, if anything */
    uint32_t protocol_count;
    uint32_t pool;
};

/* name: empty: the client has asked for none. offered: the list as the hello has it (tls_hello.h), well-formed. NULL: no row matches. */
const struct passthrough_row *passthrough_find(const struct passthrough_row *rows, uint32_t count, struct slice name,
                                               struct slice offered);

/* Every hello that `later` would take is taken by `earlier`: then later is never reached behind it. */
bool passthrough_covers(const struct passthrough_row *earlier, const struct passthrough_row *later);

#endif

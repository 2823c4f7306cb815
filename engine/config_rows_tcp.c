/* The keys of TCP listeners. What they say together is looked at in config_decode_tcp.c. */
#include "engine/config_decode.h"
#include "engine/config_rows.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

static const char *check_sni(struct slice text)
{
    if (slice_equal(text, SLICE("*")) || !value_check_certificate_name(text))
        return NULL;
    return "a name looks like www.example.com or *.example.com, or '*' for every client; no client asks for an address, or with a port";
}

/* RFC 7301 3.1: one byte of length. */
static const char *check_alpn(struct slice text)
{
    return text.length >= 1 && text.length <= 255 ? NULL
                                                  : "a protocol's name has 1 to 255 bytes: h2, http/1.1, postgresql";
}

static const struct row passthrough_rows[] = {
    { .word = "sni",
      .type = TYPE_SERVER_NAMES,
      MEMBER(passthrough_row, names),
      LENGTH_AT(passthrough_row, name_count),
      .check = check_sni,
      .least = 1,
      .most = 1000,
      .usual = "*",
      .doc =
          "Names that the client asks for: www.example.com, or *.example.com for every name below, at any depth. *: whatever it asks for, and "
          "clients that ask for none." },
    { .word = "alpn",
      .type = TYPE_PROTOCOLS,
      MEMBER(passthrough_row, protocols),
      LENGTH_AT(passthrough_row, protocol_count),
      .check = check_alpn,
      .least = 1,
      .most = 64,
      .usual = "any",
      .zero = "any",
      .doc = "Protocols of which it must offer one (h2, http/1.1), byte by byte. any: none is looked at." },
    { .word = "pool",
      .type = TYPE_POOL,
      MEMBER(passthrough_row, pool),
      .required = true,
      .example = "pool: web",
      .doc = "Where it goes." },
};
static const struct section section_passthrough = {
    .noun = "passthrough row",
    SECTION(passthrough_row, passthrough_rows),
    .finish = finish_passthrough,
    .doc =
        "TLS is left as it is: the ClientHello is read, the first row that matches says where it goes, and the servers hold the certificates. The hello "
        "must be there within timeouts.handshake and counts under limits.handshakes until it is. With Encrypted Client Hello the outer name is seen.",
};

static bool tcp_is_on(const void *target)
{
    return ((const struct config_tcp *)target)->on;
}
static bool tcp_has_pool(const void *target)
{
    return ((const struct config_tcp *)target)->has_pool;
}
static const struct row tcp_rows[] = {
    { .word = "pool",
      .type = TYPE_POOL,
      MEMBER(config_tcp, pool),
      .applies = tcp_has_pool,
      .doc =
          "Where connections go. Beside passthrough: those that no row takes, and those that are no TLS; without it they are closed." },
    { .word = "passthrough",
      .type = TYPE_LIST,
      MEMBER(config_tcp, passthrough),
      LENGTH_AT(config_tcp, passthrough_count),
      .section = &section_passthrough,
      .least = 1,
      .most = 10000,
      .example = "passthrough: [ { sni: www.example.com, pool: web } ]" },
    { .word = "idle",
      .type = TYPE_DURATION,
      MEMBER(config_tcp, idle_ms),
      .least = 10,
      .most = 7 * DAY_MS,
      .usual = "1h",
      .doc = "Silence of both sides, after which the connection is closed." },
    { .word = "total",
      .type = TYPE_DURATION,
      MEMBER(config_tcp, total_ms),
      .most = 7 * DAY_MS,
      .usual = "none",
      .zero = "none",
      .doc = "From the moment that the connection is there to its end, whatever passes." },
};
const struct section section_tcp = {
    .noun = "section 'tcp'",
    SECTION(config_tcp, tcp_rows),
    .scalar_key = "pool",
    .is_present = tcp_is_on,
    .finish = finish_tcp,
    .doc =
        "Passes connections on to servers of a pool and reads nothing of what they carry; a name alone is 'pool'. Pools are the same as for routes: "
        "balance (consistent-hash by client-address), health, limits, queue, tls, proxy-protocol; timeouts.connect, and another server where one takes no "
        "connection (retries). With 'tls' on the listener TLS ends here.",
};

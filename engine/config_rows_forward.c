/* Rows of the forward proxy: `forward-proxy` at the top. */
#include "engine/config_decode.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

static const char *check_destination(struct slice text)
{
    struct forward_entry entry;
    char lower[FORWARD_ENTRY_TEXT_BYTES];
    if (text.length >= sizeof lower)
        return "it is too long for a host";
    for (size_t i = 0; i < text.length; i++)
        lower[i] = (char)(text.at[i] >= 'A' && text.at[i] <= 'Z' ? text.at[i] | 0x20 : text.at[i]);
    return forward_entry_read(slice_of(lower, text.length), &entry);
}

static const char *check_ports(struct slice text)
{
    struct forward_ports ports;
    return forward_ports_read(text, &ports);
}

static const char *check_realm(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] < ' ' || text.at[i] > '~' || text.at[i] == '"' || text.at[i] == '\\')
            return "a realm is printable ASCII without '\"' and '\\'";
    return text.length > 100 ? "a realm has 100 characters at most" : NULL;
}

static const struct row limit_rows[] = {
    { .word = "per-user", .type = TYPE_COUNT, MEMBER(config_forward, per_user), .most = 1000000, .usual = "1000", .zero = "none",
      .doc = "Requests and tunnels that one user may have at once, for the whole process (429); where there are no users, one client address." },
};
static const struct section section_forward_limits = {
    .noun = "section 'limits'", SECTION(config_forward, limit_rows), .always = true, .doc = "What one user may have.",
};

static const struct row timeout_rows[] = {
    { .word = "lookup", .type = TYPE_DURATION, MEMBER(config_forward, lookup_ms), .least = 10, .most = MINUTE_MS, .usual = "5s",
      .doc = "Until the host's name is answered, or is known not to be (504)." },
    { .word = "connect", .type = TYPE_DURATION, MEMBER(config_forward, pool.connect_ms), .least = 1, .most = HOUR_MS, .usual = "10s",
      .doc = "Until a connection stands, to whichever of the host's addresses (502)." },
    { .word = "first-byte", .type = TYPE_DURATION, MEMBER(config_forward, pool.first_byte_ms), .least = 1, .most = DAY_MS, .usual = "60s",
      .doc = "From the end of a request to the first byte of its response (504)." },
    { .word = "between", .type = TYPE_DURATION, MEMBER(config_forward, pool.between_ms), .least = 1, .most = DAY_MS, .usual = "30s",
      .doc = "Silence inside a response, or a site that takes no more of the request." },
};
static const struct section section_forward_timeouts = {
    .noun = "section 'timeouts'", SECTION(config_forward, timeout_rows), .always = true,
    .doc = "How long sites may take. Of tunnels see timeouts.tunnel at the top.",
};

static bool forward_is_on(const void *target)
{
    return ((const struct config_forward *)target)->on;
}
static const struct row forward_rows[] = {
    { .word = "users", .type = TYPE_TEXT, MEMBER(config_forward, users), .check = value_check_file,
      .doc = "A file with a line name:hash for each user, as htpasswd -nB and mkpasswd write them (bcrypt, yescrypt, sha512crypt, sha256crypt). Everybody else is "
             "answered 407 (Basic, RFC 7617). A reload reads it anew. Without it nobody is asked." },
    { .word = "realm", .type = TYPE_TEXT, MEMBER(config_forward, realm), .check = check_realm, .usual = "Weir",
      .doc = "What clients are told that the password is for." },
    { .word = "clients", .type = TYPE_NETWORKS, MEMBER(config_forward, clients), LENGTH_AT(config_forward, client_count), .least = 1, .most = 4096,
      .doc = "Networks that may use it, users or not; others are answered 403. Otherwise loopback, private and link-local ranges, and whoever comes by a "
             "unix socket." },
    { .word = "connect-ports", .type = TYPE_PORTS, MEMBER(config_forward, connect_ports), LENGTH_AT(config_forward, connect_port_count),
      .check = check_ports, .least = 1, .most = 256, .usual = "443",
      .doc = "Ports that CONNECT may go to: 443, ranges (8000-8999), or * for all." },
    { .word = "deny", .type = TYPE_DESTINATIONS, MEMBER(config_forward, deny), LENGTH_AT(config_forward, deny_count), .check = check_destination,
      .least = 1, .most = 65536,
      .doc = "What is not reached: hosts (example.com), all below one (*.example.com), addresses, networks, each with a port where only that one is meant "
             "(example.com:25). Networks count for what a name stands for, too." },
    { .word = "allow", .type = TYPE_DESTINATIONS, MEMBER(config_forward, allow), LENGTH_AT(config_forward, allow_count), .check = check_destination,
      .least = 1, .most = 65536,
      .doc = "If given, nothing else is reached. deny wins over it, and it opens nothing inside: that is 'private'." },
    { .word = "private", .type = TYPE_NETWORKS, MEMBER(config_forward, open), LENGTH_AT(config_forward, open_count), .least = 1, .most = 4096,
      .doc = "Ranges of loopback, link-local, private and other special-purpose addresses that may be reached all the same. None otherwise, whatever names "
             "lead there." },
    { .word = "forwarded", .type = TYPE_FLAG, MEMBER(config_forward, forwarded), .usual = "false",
      .doc = "Sites are told who asked, as 'via' and 'forwarded' at the top say. Otherwise they see nothing of the client, and none of these fields." },
    { .word = "cache", .type = TYPE_SECTION, MEMBER(config_forward, route.cache), .section = &section_route_cache },
    { .word = "limits", .type = TYPE_SECTION, .section = &section_forward_limits },
    { .word = "timeouts", .type = TYPE_SECTION, .section = &section_forward_timeouts },
};
const struct section section_forward = {
    .noun = "section 'forward-proxy'", SECTION(config_forward, forward_rows), .is_present = forward_is_on, .finish = finish_forward,
    .doc = "A proxy for an organisation's way out: CONNECT, and requests with http:// in their first line, on listeners with 'serve: forward-proxy'. Names are "
           "looked up as 'dns' says; whether an address may be reached is decided for the address that is connected to.",
};

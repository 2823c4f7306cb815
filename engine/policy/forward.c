#include "engine/policy/forward.h"

#include "proto/address_text.h"

#define LABEL_BYTES_MAX 63u /* RFC 1035 2.3.4 */
#define NUMBER_CAP 0x100000000ull

/* Verdicts ------------------------------------------------------------------------------------------------------- */

#define VERDICT_AS_WORD(id, word, sentence) [id] = word,
#define VERDICT_AS_SENTENCE(id, word, sentence) [id] = sentence,

const char *forward_verdict_word(enum forward_verdict verdict)
{
    static const char *const words[] = { FORWARD_VERDICT_ROWS(VERDICT_AS_WORD) };
    return words[verdict];
}

const char *forward_verdict_sentence(enum forward_verdict verdict)
{
    static const char *const sentences[] = { FORWARD_VERDICT_ROWS(VERDICT_AS_SENTENCE) };
    return sentences[verdict];
}

/* Hosts ---------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The value of a digit, 16 for what is none. */
static unsigned digit_of(char c)
{
    char low = (char)(c | 0x20);
    return is_digit(c) ? (unsigned)(c - '0') : low >= 'a' && low <= 'f' ? (unsigned)(low - 'a') + 10 : 16;
}

/* As strtoul(3) with base 0 sees it: 0x.., 0.., or decimal. Saturates at NUMBER_CAP. */
static bool read_number(struct slice text, uint64_t *number)
{
    bool hex = text.length > 1 && text.at[0] == '0' && (text.at[1] | 0x20) == 'x';
    unsigned base = hex ? 16 : text.length > 1 && text.at[0] == '0' ? 8 : 10;
    size_t at = hex ? 2 : 0;
    if (at == text.length)
        return false;
    for (*number = 0; at < text.length; at++) {
        if (digit_of(text.at[at]) >= base)
            return false;
        *number = u64_min(*number * base + digit_of(text.at[at]), NUMBER_CAP);
    }
    return true;
}

static struct slice last_label(struct slice name)
{
    const char *dot = name.length ? memrchr(name.at, '.', name.length) : NULL;
    size_t before = dot ? (size_t)(dot - name.at) + 1 : 0;
    return slice_of(name.at + before, name.length - before);
}

/* Somebody's parser may see an address in it: the last label is a number, or begins like one (URL standard, "ends in a number"). */
static bool ends_in_number(struct slice name)
{
    struct slice last = last_label(name);
    uint64_t number;
    bool digits = last.length > 0;
    for (size_t i = 0; i < last.length; i++)
        digits &= is_digit(last.at[i]);
    return digits || read_number(last, &number) || slice_equal(last, SLICE("0x"));
}

/* inet_aton(3): up to four numbers, the last one filling what is left. */
static bool read_loose_v4(struct slice text, uint8_t address[16])
{
    uint64_t parts[4], bits = 0;
    unsigned count = 0;
    for (struct slice rest = text;; rest = slice_of(rest.at + 1, rest.length - 1)) {
        const char *dot = memchr(rest.at, '.', rest.length);
        size_t length = dot ? (size_t)(dot - rest.at) : rest.length;
        if (count == 4 || !read_number(slice_of(rest.at, length), &parts[count++]))
            return false;
        rest = slice_of(rest.at + length, rest.length - length);
        if (rest.length == 0)
            break;
    }
    for (unsigned i = 0; i + 1 < count; i++) {
        if (parts[i] > 255)
            return false;
        bits |= parts[i] << (24 - 8 * i);
    }
    if (parts[count - 1] >= NUMBER_CAP >> (8 * (count - 1)))
        return false;
    bits |= parts[count - 1];
    memset(address, 0, 10);
    address[10] = address[11] = 0xff;
    for (unsigned i = 0; i < 4; i++)
        address[12 + i] = (uint8_t)(bits >> (24 - 8 * i));
    return true;
}

/* Copies in small letters. False: something that no host name has (RFC 1123 2.1, and '_' as found in practice). */
static bool copy_name(struct slice text, char *out)
{
    for (size_t i = 0, label = 0; i < text.length; i++) {
        char c = text.at[i], low = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        bool dot = c == '.';
        if (!dot && !(low >= 'a' && low <= 'z') && !is_digit(c) && c != '-' && c != '_')
            return false;
        if (dot ? label == 0 : label == LABEL_BYTES_MAX)
            return false;
        label = dot ? 0 : label + 1;
        out[i] = low;
    }
    return text.length > 0 && text.at[text.length - 1] != '.';
}

static bool read_name(struct slice host, struct forward_host *read)
{
    if (host.length > 0 && host.at[host.length - 1] == '.')
        host.length--;
    if (host.length > FORWARD_HOST_BYTES_MAX || !copy_name(host, read->name))
        return false;
    read->length = (uint16_t)host.length;
    read->name[host.length] = '\0';
    if (!ends_in_number(slice_of(read->name, host.length)))
        return true;
    read->is_address = true;
    return read_loose_v4(slice_of(read->name, host.length), read->address);
}

bool forward_host_read(struct slice host, struct forward_host *read)
{
    read->is_address = false;
    read->length = 0;
    read->name[0] = '\0';
    if (host.length == 0 || host.at[0] != '[')
        return read_name(host, read);
    read->is_address = true;
    return host.at[host.length - 1] == ']' && address_text_read_v6(slice_of(host.at + 1, host.length - 2), read->address);
}

/* Entries -------------------------------------------------------------------------------------------------------- */

static const char *read_port(struct slice text, uint16_t *port)
{
    uint64_t number;
    if (slice_to_u64(text, &number) != ERR_OK || number == 0 || number > UINT16_MAX)
        return "a port is a number from 1 to 65535";
    *port = (uint16_t)number;
    return NULL;
}

/* Takes the port off the end of *text, if there is one. A colon of an IPv6 address is none, unless that stands in brackets. */
static const char *take_port(struct slice *text, uint16_t *port)
{
    const char *first = text->length ? memchr(text->at, ':', text->length) : NULL, *last = first ? memrchr(text->at, ':', text->length) : NULL;
    const char *bracket = text->length ? memchr(text->at, ']', text->length) : NULL;
    if (!last || (bracket ? last < bracket : first != last))
        return NULL;
    struct slice digits = slice_of(last + 1, text->length - (size_t)(last - text->at) - 1);
    text->length = (size_t)(last - text->at);
    return read_port(digits, port);
}

/* "[fd00::]/8" to "fd00::/8". */
static struct slice without_brackets(struct slice text, char room[FORWARD_ENTRY_TEXT_BYTES])
{
    const char *end = text.length > 1 && text.at[0] == '[' && text.length < FORWARD_ENTRY_TEXT_BYTES ? memchr(text.at, ']', text.length) : NULL;
    if (!end)
        return text;
    size_t inside = (size_t)(end - text.at) - 1;
    memcpy(room, text.at + 1, inside);
    memcpy(room + inside, end + 1, text.length - inside - 2);
    return slice_of(room, text.length - 2);
}

static const char *read_network(struct slice text, struct forward_entry *entry)
{
    char room[FORWARD_ENTRY_TEXT_BYTES];
    const char *complaint = network_read(without_brackets(text, room), &entry->network);
    entry->kind = FORWARD_NETWORK;
    if (!complaint && !network_is_clean(&entry->network))
        return "the network's address has bits beyond its length";
    return complaint;
}

/* A name in the one form in which it is compared; what reads as an address is to be written as one. */
static const char *read_listed_name(struct slice text)
{
    struct forward_host host;
    if (!forward_host_read(text, &host))
        return "this is a host, *.suffix, address or network, each with an optional port: example.com, *.example.com:443, 10.0.0.0/8";
    if (host.is_address)
        return "an IPv4 address is written as four decimal numbers: 192.0.2.1";
    if (host.length != text.length)
        return "a host is written without a dot at its end";
    return NULL;
}

static bool looks_like_network(struct slice text)
{
    uint8_t address[16];
    return memchr(text.at, '/', text.length) || memchr(text.at, ':', text.length) || text.at[0] == '[' || address_text_read_v4(text, address);
}

static const char *read_what(struct slice text, struct forward_entry *entry)
{
    if (text.length == 0)
        return "the host is missing before the port";
    if (slice_equal(text, SLICE("*"))) {
        entry->kind = FORWARD_ANY;
        return NULL;
    }
    if (looks_like_network(text))
        return read_network(text, entry);
    bool suffix = slice_starts(text, SLICE("*."));
    entry->kind = suffix ? FORWARD_SUFFIX : FORWARD_HOST;
    entry->host = suffix ? slice_of(text.at + 1, text.length - 1) : text;
    return read_listed_name(suffix ? slice_of(text.at + 2, text.length - 2) : text);
}

const char *forward_entry_read(struct slice lower, struct forward_entry *entry)
{
    struct forward_entry made = { .port = 0 };
    if (lower.length == 0)
        return "this is a host, *.suffix, address or network, each with an optional port: example.com, *.example.com:443, 10.0.0.0/8";
    if (memmem(lower.at, lower.length, "://", 3))
        return "an entry has no scheme and no path: example.com, example.com:443";
    const char *complaint = take_port(&lower, &made.port);
    if (!complaint)
        complaint = read_what(lower, &made);
    if (!complaint)
        *entry = made;
    return complaint;
}

static size_t put_number(char *out, unsigned number)
{
    size_t length = number >= 10 ? put_number(out, number / 10) : 0;
    out[length] = (char)('0' + number % 10);
    out[length + 1] = '\0';
    return length + 1;
}

/* An address without its bits; IPv6 with a port in brackets. */
static size_t put_network(const struct network *network, bool with_port, char *out)
{
    char text[NETWORK_TEXT_BYTES];
    size_t length = network_write(network, text), written = 0;
    size_t host = (size_t)((const char *)memchr(text, '/', length) - text);
    bool brackets = with_port && memchr(text, ':', host);
    if (brackets)
        out[written++] = '[';
    memcpy(out + written, text, host);
    written += host;
    if (brackets)
        out[written++] = ']';
    if (network->bits < 128) {
        memcpy(out + written, text + host, length - host);
        written += length - host;
    }
    return written;
}

void forward_entry_write(const struct forward_entry *entry, char out[FORWARD_ENTRY_TEXT_BYTES])
{
    size_t length = 0;
    if (entry->kind == FORWARD_NETWORK) {
        length = put_network(&entry->network, entry->port != 0, out);
    } else {
        if (entry->kind != FORWARD_HOST)
            out[length++] = '*';
        if (entry->kind != FORWARD_ANY)
            memcpy(out + length, entry->host.at, entry->host.length);
        length += entry->kind == FORWARD_ANY ? 0 : entry->host.length;
    }
    out[length] = '\0';
    if (entry->port) {
        out[length] = ':';
        put_number(out + length + 1, entry->port);
    }
}

/* Ports ---------------------------------------------------------------------------------------------------------- */

const char *forward_ports_read(struct slice text, struct forward_ports *ports)
{
    struct forward_ports made = { 1, UINT16_MAX };
    const char *hyphen = text.length ? memchr(text.at, '-', text.length) : NULL;
    size_t before = hyphen ? (size_t)(hyphen - text.at) : text.length;
    if (!slice_equal(text, SLICE("*"))) {
        struct slice last = hyphen ? slice_of(hyphen + 1, text.length - before - 1) : text;
        if (read_port(slice_of(text.at, before), &made.first) || read_port(last, &made.last))
            return "this is a port from 1 to 65535, two with a hyphen (8000-8999), or * for all";
    }
    if (made.first > made.last)
        return "the first port is above the last";
    *ports = made;
    return NULL;
}

void forward_ports_write(const struct forward_ports *ports, char out[16])
{
    if (ports->first == 1 && ports->last == UINT16_MAX) {
        memcpy(out, "*", 2);
        return;
    }
    size_t length = put_number(out, ports->first);
    if (ports->first != ports->last) {
        out[length++] = '-';
        put_number(out + length, ports->last);
    }
}

/* Addresses ------------------------------------------------------------------------------------------------------ */

/* clang-format off */
#define V4(a, b, c, d) { [10] = 0xff, [11] = 0xff, [12] = (a), [13] = (b), [14] = (c), [15] = (d) }

/*
 * The IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890, 8190), as of 2025, and what else is no host of the public Internet; the first
 * that has an address counts. Those rows of the registries that are reachable from everywhere (AS112, AMT) are left out, but for what lies in
 * 2001::/23 and 192.0.0.0/24: nobody serves the web there. What lies in no row and outside 2000::/3 is not allocated (RFC 4291 2.4).
 */
static const struct special {
    struct network network;
    const char *word;
} specials[] = {
    { { V4(0, 0, 0, 0),       104 }, "unspecified" },   /* this host on this network, RFC 791 3.2; Linux connects to itself */
    { { V4(10, 0, 0, 0),      104 }, "private" },       /* RFC 1918 */
    { { V4(100, 64, 0, 0),    106 }, "shared" },        /* carriers' translation, RFC 6598 */
    { { V4(127, 0, 0, 0),     104 }, "loopback" },      /* RFC 1122 3.2.1.3 */
    { { V4(168, 63, 129, 16), 128 }, "platform" },      /* no registry has it: the host's services for Azure's machines, as 169.254.169.254 elsewhere */
    { { V4(169, 254, 0, 0),   112 }, "link-local" },    /* RFC 3927; clouds' metadata */
    { { V4(172, 16, 0, 0),    108 }, "private" },       /* RFC 1918 */
    { { V4(192, 0, 0, 0),     120 }, "special" },       /* IETF protocol assignments, RFC 6890 2.1 */
    { { V4(192, 0, 2, 0),     120 }, "documentation" }, /* RFC 5737 */
    { { V4(192, 88, 99, 0),   120 }, "special" },       /* 6to4 relays, RFC 7526 */
    { { V4(192, 168, 0, 0),   112 }, "private" },       /* RFC 1918 */
    { { V4(198, 18, 0, 0),    111 }, "benchmarking" },  /* RFC 2544 */
    { { V4(198, 51, 100, 0),  120 }, "documentation" }, /* RFC 5737 */
    { { V4(203, 0, 113, 0),   120 }, "documentation" }, /* RFC 5737 */
    { { V4(224, 0, 0, 0),     100 }, "multicast" },     /* RFC 1112 4 */
    { { V4(255, 255, 255, 255), 128 }, "broadcast" },   /* RFC 8190, RFC 919 7 */
    { { V4(240, 0, 0, 0),     100 }, "reserved" },      /* RFC 1112 4 */

    { { { [15] = 0 },                      128 }, "unspecified" },   /* RFC 4291 2.5.2 */
    { { { [15] = 1 },                      128 }, "loopback" },      /* RFC 4291 2.5.3 */
    { { { [15] = 0 },                      96 },  "translated" },    /* IPv4-compatible, RFC 4291 2.5.5.1 */
    { { { [8] = 0xff, [9] = 0xff },        96 },  "translated" },    /* IPv4-translated, RFC 2765 2.1 */
    { { { 0x00, 0x64, 0xff, 0x9b, 0, 1 },  48 },  "translated" },    /* RFC 8215 */
    { { { 0x01, 0x00 },                    64 },  "special" },       /* discard-only, RFC 6666 */
    { { { 0x01, 0x00, [7] = 1 },           64 },  "special" },       /* dummy prefix, RFC 9780 */
    { { { 0x20, 0x01 },                    32 },  "translated" },    /* Teredo, RFC 4380 */
    { { { 0x20, 0x01, 0x00, 0x02 },        48 },  "benchmarking" },  /* RFC 5180 */
    { { { 0x20, 0x01 },                    23 },  "special" },       /* IETF protocol assignments, RFC 2928; ORCHID, RFC 4843 and 7343; DRIP, RFC 9374 */
    { { { 0x20, 0x01, 0x0d, 0xb8 },        32 },  "documentation" }, /* RFC 3849 */
    { { { 0x20, 0x02 },                    16 },  "translated" },    /* 6to4, RFC 3056, RFC 7526 */
    { { { 0x3f, 0xff },                    20 },  "documentation" }, /* RFC 9637 */
    { { { 0x5f, 0x00 },                    16 },  "special" },       /* segment routing, RFC 9602 */
    { { { 0xfc },                          7 },   "private" },       /* unique local, RFC 4193; fd00:ec2::254 is metadata */
    { { { 0xfe, 0x80 },                    10 },  "link-local" },    /* RFC 4291 2.5.6 */
    { { { 0xfe, 0xc0 },                    10 },  "private" },       /* site-local, RFC 3879 */
    { { { 0xff },                          8 },   "multicast" },     /* RFC 4291 2.7 */
};

static const struct network global_unicast = { { 0x20 }, 3 };                 /* RFC 4291 2.4 */
static const struct network nat64 = { { 0x00, 0x64, 0xff, 0x9b }, 96 };       /* RFC 6052 2.1: what it embeds is where it goes */
/* clang-format on */

/* The IPv4 address behind a NAT64 prefix; others as they are. */
static const uint8_t *meant_by(const uint8_t address[16], uint8_t room[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (!network_has(&nat64, address))
        return address;
    memcpy(room, mapped, sizeof mapped);
    memcpy(room + 12, address + 12, 4);
    return room;
}

const char *address_class(const uint8_t address[16])
{
    uint8_t room[16];
    const uint8_t *meant = meant_by(address, room);
    for (size_t i = 0; i < ARRAY_LENGTH(specials); i++)
        if (network_has(&specials[i].network, meant))
            return specials[i].word;
    return address_is_v4(meant) || network_has(&global_unicast, meant) ? NULL : "reserved";
}

/* Deciding ------------------------------------------------------------------------------------------------------- */

static bool has_name(const struct forward_entry *entry, const struct forward_host *host)
{
    struct slice name = slice_of(host->name, host->length);
    if (host->is_address)
        return false;
    if (entry->kind == FORWARD_HOST)
        return slice_equal(entry->host, name);
    return entry->kind == FORWARD_SUFFIX && slice_ends_nocase(name, entry->host);
}

/* Either way in which a NAT64 address can be seen. */
static bool has_address(const struct forward_entry *entry, const uint8_t address[16])
{
    uint8_t room[16];
    return entry->kind == FORWARD_NETWORK && (network_has(&entry->network, address) || network_has(&entry->network, meant_by(address, room)));
}

/* address NULL: it is not known yet. */
static bool is_listed(const struct forward_entry *list, uint32_t count, const struct forward_host *host, const uint8_t *address, uint16_t port)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].port && list[i].port != port)
            continue;
        if (list[i].kind == FORWARD_ANY || has_name(&list[i], host) || (address && has_address(&list[i], address)))
            return true;
    }
    return false;
}

static bool is_tunnel_port(const struct forward_policy *policy, uint16_t port)
{
    for (uint32_t i = 0; i < policy->connect_port_count; i++)
        if (port >= policy->connect_ports[i].first && port <= policy->connect_ports[i].last)
            return true;
    return false;
}

/* A name may be allowed by the address that it turns out to have. */
static bool addresses_may_allow(const struct forward_policy *policy, uint16_t port)
{
    for (uint32_t i = 0; i < policy->allow_count; i++)
        if (policy->allow[i].kind == FORWARD_NETWORK && (policy->allow[i].port == 0 || policy->allow[i].port == port))
            return true;
    return false;
}

static enum forward_verdict judge_address(const struct forward_policy *policy, const struct forward_host *host, const uint8_t address[16], uint16_t port)
{
    if (is_listed(policy->deny, policy->deny_count, host, address, port))
        return FORWARD_DENIED_HOST;
    if (address_class(address) && !network_is_among(address, policy->open, policy->open_count))
        return FORWARD_PRIVATE;
    if (policy->allow_count && !is_listed(policy->allow, policy->allow_count, host, address, port))
        return FORWARD_NOT_ALLOWED;
    return FORWARD_ALLOWED;
}

/* RFC 6761 6.3: always loopback, whatever a name server says. */
static bool is_closed_localhost(const struct forward_policy *policy, struct slice name)
{
    static const uint8_t v4[16] = V4(127, 0, 0, 1), v6[16] = { [15] = 1 };
    if (!slice_equal(name, SLICE("localhost")) && !slice_ends_nocase(name, SLICE(".localhost")))
        return false;
    return !network_is_among(v4, policy->open, policy->open_count) && !network_is_among(v6, policy->open, policy->open_count);
}

enum forward_verdict forward_decide(const struct forward_policy *policy, struct slice text, uint16_t port, bool connect)
{
    struct forward_host host;
    if (!forward_host_read(text, &host))
        return FORWARD_BAD_HOST;
    if (connect && !is_tunnel_port(policy, port))
        return FORWARD_PORT;
    if (host.is_address)
        return judge_address(policy, &host, host.address, port);
    if (is_listed(policy->deny, policy->deny_count, &host, NULL, port))
        return FORWARD_DENIED_HOST;
    if (is_closed_localhost(policy, slice_of(host.name, host.length)))
        return FORWARD_PRIVATE;
    if (policy->allow_count && !is_listed(policy->allow, policy->allow_count, &host, NULL, port) && !addresses_may_allow(policy, port))
        return FORWARD_NOT_ALLOWED;
    return FORWARD_ALLOWED;
}

enum forward_verdict forward_admits(const struct forward_policy *policy, struct slice text, const uint8_t address[16], uint16_t port)
{
    struct forward_host host;
    if (!forward_host_read(text, &host))
        return FORWARD_BAD_HOST;
    return judge_address(policy, &host, address, port);
}

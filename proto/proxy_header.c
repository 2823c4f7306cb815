/*
 * Both versions are judged from left to right, so that the verdict on some bytes is either PROXY_MORE or the one that they get whatever follows.
 * Of version 2 the fields are looked at once all of it is there, since its length is known from byte 16 on and capped.
 *
 * A field of a known type that comes twice is refused: which of the two counts would be anybody's guess. Unknown types are passed over, as the
 * specification wants. LOCAL's block is thrown away unread, as it wants too.
 */
#include "proto/proxy_header.h"

#include "proto/address_text.h"

#define HEAD_BYTES 16u
#define SIGNATURE_BYTES 12u
static const char signature[SIGNATURE_BYTES] = "\r\n\r\n\0\r\nQUIT\n";

#define COMMAND_LOCAL 0x20u
#define COMMAND_PROXY 0x21u

enum field_type {
    FIELD_ALPN = 0x01,
    FIELD_AUTHORITY = 0x02,
    FIELD_CRC32C = 0x03,
    FIELD_NOOP = 0x04,
    FIELD_UNIQUE_ID = 0x05,
    FIELD_SSL = 0x20,
    FIELD_NETNS = 0x30
};
enum tls_field_type { TLS_VERSION = 0x21, TLS_CN = 0x22, TLS_CIPHER = 0x23, TLS_SIG_ALG = 0x24, TLS_KEY_ALG = 0x25 };

static enum proxy_verdict bad(const char **why, const char *reason)
{
    *why = reason;
    return PROXY_BAD;
}

/* Version 1 ------------------------------------------------------------------------------------------------------- */

/* The next word, up to one space. False: there is none. */
static bool take_word(struct slice *rest, struct slice *word)
{
    size_t length = 0;
    while (length < rest->length && rest->at[length] != ' ')
        length++;
    *word = slice_of(rest->at, length);
    size_t used = size_min(length + 1, rest->length);
    *rest = slice_of(rest->at + used, rest->length - used);
    return length > 0;
}

static bool read_port(struct slice word, uint16_t *port)
{
    uint32_t number = 0;
    if (word.length == 0 || word.length > 5 || (word.length > 1 && word.at[0] == '0'))
        return false;
    for (size_t i = 0; i < word.length; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return false;
        number = 10 * number + (uint32_t)(word.at[i] - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

static bool read_address(enum proxy_family family, struct slice word, uint8_t out[16])
{
    return family == PROXY_V4 ? address_text_read_v4(word, out) : address_text_read_v6(word, out);
}

/* What stands between "PROXY " and the line's end. */
static const char *read_line(struct slice line, struct proxy_header *header)
{
    struct slice kind, source, destination, source_port, destination_port;
    bool blank_ends = line.length && line.at[line.length - 1] == ' ';
    if (!take_word(&line, &kind))
        return "no protocol is named";
    if (slice_equal(kind, SLICE("UNKNOWN")))
        return NULL; /* the rest is to be ignored, whatever it says */
    header->family = slice_equal(kind, SLICE("TCP4")) ? PROXY_V4 : PROXY_V6;
    if (header->family == PROXY_V6 && !slice_equal(kind, SLICE("TCP6")))
        return "another protocol than TCP4, TCP6 and UNKNOWN";
    if (!take_word(&line, &source) || !take_word(&line, &destination) || !take_word(&line, &source_port) ||
        !take_word(&line, &destination_port) || line.length || blank_ends)
        return "two addresses and two ports are expected, with one space between";
    if (!read_address(header->family, source, header->source) ||
        !read_address(header->family, destination, header->destination))
        return "a malformed address";
    if (!read_port(source_port, &header->source_port) || !read_port(destination_port, &header->destination_port))
        return "a malformed port";
    return NULL;
}

static enum proxy_verdict read_v1(struct slice bytes, struct proxy_header *header, const char **why)
{
    static const struct slice begin = { "PROXY ", 6 };
    size_t most = size_min(bytes.length, PROXY_V1_BYTES_MAX), at = 0;
    if (memcmp(bytes.at, begin.at, size_min(bytes.length, begin.length)) != 0)
        return bad(why, "no PROXY header");
    while (at < most && bytes.at[at] >= ' ' && bytes.at[at] <= '~')
        at++;
    if (at == PROXY_V1_BYTES_MAX)
        return bad(why, "a line that is too long");
    if (at == most)
        return PROXY_MORE;
    if (bytes.at[at] != '\r')
        return bad(why, "a line without CRLF");
    if (at + 1 == PROXY_V1_BYTES_MAX)
        return bad(why, "a line that is too long");
    if (at + 1 == most)
        return PROXY_MORE;
    if (bytes.at[at + 1] != '\n')
        return bad(why, "a line without CRLF");
    const char *complaint = read_line(slice_of(bytes.at + begin.length, at - begin.length), header);
    header->version = 1;
    header->bytes = (uint32_t)at + 2;
    return complaint ? bad(why, complaint) : PROXY_DONE;
}

/* Version 2 ------------------------------------------------------------------------------------------------------- */

struct run {
    const unsigned char *at;
    size_t left;
};

static uint32_t number_at(const unsigned char *at, size_t width)
{
    uint32_t number = 0;
    for (size_t i = 0; i < width; i++)
        number = number << 8 | at[i];
    return number;
}

/* Type, length and value. False: there is less than its length says. */
static bool take_field(struct run *run, unsigned *type, struct slice *value)
{
    if (run->left < 3)
        return false;
    size_t length = number_at(run->at + 1, 2);
    if (length > run->left - 3)
        return false;
    *type = run->at[0];
    *value = slice_of((const char *)run->at + 3, length);
    run->at += 3 + length;
    run->left -= 3 + length;
    return true;
}

/* True the first time. An empty value is kept as one that is there. */
static bool keep_once(struct slice *kept, struct slice value)
{
    if (kept->at)
        return false;
    *kept = value;
    return true;
}

static const char *read_tls(struct slice value, struct proxy_header *header)
{
    static const char twice[] = "a field of the SSL field that comes twice";
    struct proxy_tls *tls = &header->tls;
    if (header->has_tls)
        return "a field that comes twice";
    if (value.length < 5)
        return "an SSL field that is cut short";
    struct run run = { (const unsigned char *)value.at + 5, value.length - 5 };
    header->has_tls = true;
    tls->client = (uint8_t)value.at[0];
    tls->verify = number_at((const unsigned char *)value.at + 1, 4);
    while (run.left) {
        unsigned type;
        struct slice inner;
        if (!take_field(&run, &type, &inner))
            return "a field of the SSL field that is longer than it";
        struct slice *kept = type == TLS_VERSION   ? &tls->version
                             : type == TLS_CN      ? &tls->common_name
                             : type == TLS_CIPHER  ? &tls->cipher
                             : type == TLS_SIG_ALG ? &tls->signature
                             : type == TLS_KEY_ALG ? &tls->key
                                                   : NULL;
        if (kept && !keep_once(kept, inner))
            return twice;
    }
    return NULL;
}

/* CRC-32C (RFC 3720 B.4), four bits at a time; the value's own place counts as zeros. */
static uint32_t crc32c(struct slice bytes, size_t hole, size_t hole_length)
{
    static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.length; i++) {
        crc ^= i - hole < hole_length ? 0 : (unsigned char)bytes.at[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static const char *check_sum(struct slice value, struct slice whole, struct proxy_header *header)
{
    if (header->checksum)
        return "a field that comes twice";
    if (value.length != 4)
        return "a checksum of another length than 4";
    header->checksum = true;
    uint32_t sum = crc32c(whole, (size_t)(value.at - whole.at), 4);
    return sum == number_at((const unsigned char *)value.at, 4) ? NULL : "a wrong checksum";
}

static const char *read_field(unsigned type, struct slice value, struct slice whole, struct proxy_header *header)
{
    struct slice *kept = NULL;
    switch (type) {
    case FIELD_ALPN: kept = &header->alpn; break;
    case FIELD_AUTHORITY: kept = &header->authority; break;
    case FIELD_NETNS: kept = &header->netns; break;
    case FIELD_UNIQUE_ID:
        if (value.length > PROXY_UNIQUE_ID_BYTES_MAX)
            return "a unique id that is too long";
        kept = &header->unique_id;
        break;
    case FIELD_CRC32C: return check_sum(value, whole, header);
    case FIELD_SSL: return read_tls(value, header);
    default: break; /* NOOP is padding; others' types are theirs */
    }
    return !kept || keep_once(kept, value) ? NULL : "a field that comes twice";
}

static const char *read_fields(struct run run, struct slice whole, struct proxy_header *header)
{
    while (run.left) {
        unsigned type;
        struct slice value;
        if (!take_field(&run, &type, &value))
            return "a field that is longer than the header";
        const char *complaint = read_field(type, value, whole, header);
        if (complaint)
            return complaint;
    }
    return NULL;
}

static void read_v4(const unsigned char *at, uint8_t out[16])
{
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, at, 4);
}

/* Up to the first NUL, which need not be there. */
static struct slice read_path(const unsigned char *at)
{
    const unsigned char *end = memchr(at, 0, PROXY_UNIX_PATH_BYTES);
    return slice_of((const char *)at, end ? (size_t)(end - at) : PROXY_UNIX_PATH_BYTES);
}

static void read_addresses(const unsigned char *at, struct proxy_header *header)
{
    size_t width = header->family == PROXY_V4 ? 4 : 16;
    switch (header->family) {
    case PROXY_UNNAMED: return;
    case PROXY_UNIX:
        header->source_path = read_path(at);
        header->destination_path = read_path(at + PROXY_UNIX_PATH_BYTES);
        return;
    case PROXY_V4:
        read_v4(at, header->source);
        read_v4(at + 4, header->destination);
        break;
    case PROXY_V6:
        memcpy(header->source, at, 16);
        memcpy(header->destination, at + 16, 16);
        break;
    }
    header->source_port = (uint16_t)number_at(at + 2 * width, 2);
    header->destination_port = (uint16_t)number_at(at + 2 * width + 2, 2);
}

static size_t address_bytes(enum proxy_family family)
{
    static const uint8_t bytes[] = {
        [PROXY_UNNAMED] = 0, [PROXY_V4] = 12, [PROXY_V6] = 36, [PROXY_UNIX] = 2 * PROXY_UNIX_PATH_BYTES
    };
    return bytes[family];
}

/* Of the family's byte: the high half is the address's, the low half 1 for a stream. A datagram is not what came. */
static bool read_family(unsigned byte, enum proxy_family *family)
{
    switch (byte) {
    case 0x00: *family = PROXY_UNNAMED; return true;
    case 0x11: *family = PROXY_V4; return true;
    case 0x21: *family = PROXY_V6; return true;
    case 0x31: *family = PROXY_UNIX; return true;
    default: return false;
    }
}

/* The first 16 bytes, as far as they are there. NULL: well so far. */
static const char *read_head(struct slice bytes, struct proxy_header *header)
{
    const unsigned char *at = (const unsigned char *)bytes.at;
    if (memcmp(at, signature, size_min(bytes.length, SIGNATURE_BYTES)) != 0)
        return "no PROXY header";
    if (bytes.length > SIGNATURE_BYTES && at[12] != COMMAND_LOCAL && at[12] != COMMAND_PROXY)
        return at[12] >> 4 == 2 ? "an unknown command" : "an unknown version";
    if (bytes.length < SIGNATURE_BYTES + 2)
        return NULL;
    header->local = at[12] == COMMAND_LOCAL;
    if (!read_family(at[13], &header->family) && !header->local)
        return "another family or protocol than streams of IPv4, IPv6 and unix sockets";
    if (header->local)
        header->family = PROXY_UNNAMED;
    if (bytes.length < HEAD_BYTES)
        return NULL;
    header->bytes = HEAD_BYTES + number_at(at + 14, 2);
    if (header->bytes > PROXY_HEADER_BYTES_MAX)
        return "a header that is too long";
    return header->bytes - HEAD_BYTES < address_bytes(header->family) ? "a length without room for the addresses"
                                                                      : NULL;
}

static enum proxy_verdict read_v2(struct slice bytes, struct proxy_header *header, const char **why)
{
    const char *complaint = read_head(bytes, header);
    if (complaint)
        return bad(why, complaint);
    if (bytes.length < HEAD_BYTES || bytes.length < header->bytes)
        return PROXY_MORE;
    header->version = 2;
    if (header->local)
        return PROXY_DONE;
    struct slice whole = slice_of(bytes.at, header->bytes);
    const unsigned char *at = (const unsigned char *)bytes.at + HEAD_BYTES;
    size_t used = address_bytes(header->family);
    read_addresses(at, header);
    complaint = read_fields((struct run){ at + used, header->bytes - HEAD_BYTES - used }, whole, header);
    return complaint ? bad(why, complaint) : PROXY_DONE;
}

enum proxy_verdict proxy_header_read(struct slice bytes, struct proxy_header *header, const char **why)
{
    *header = (struct proxy_header){ 0 };
    *why = NULL;
    if (bytes.length == 0)
        return PROXY_MORE;
    enum proxy_verdict verdict =
        bytes.at[0] == signature[0] ? read_v2(bytes, header, why) : read_v1(bytes, header, why);
    if (verdict != PROXY_DONE)
        *header = (struct proxy_header){ 0 };
    return verdict;
}

/* Writing --------------------------------------------------------------------------------------------------------- */

struct out {
    char *at;
    size_t length;
    bool full;
};

static void put_bytes(struct out *out, const void *bytes, size_t length)
{
    if (length > PROXY_HEADER_BYTES_MAX - out->length) {
        out->full = true;
        return;
    }
    if (length)
        memcpy(out->at + out->length, bytes, length);
    out->length += length;
}

static void put_number(struct out *out, size_t width, uint32_t number)
{
    unsigned char bytes[4];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (unsigned char)(number >> 8 * (width - 1 - i));
    put_bytes(out, bytes, width);
}

static void put_field(struct out *out, unsigned type, struct slice value)
{
    if (!value.at)
        return;
    put_number(out, 1, type);
    put_number(out, 2, (uint32_t)size_min(value.length, UINT16_MAX));
    put_bytes(out, value.at, value.length);
}

static void fill_length(struct out *out, size_t at, size_t length)
{
    if (out->full)
        return;
    out->at[at] = (char)(unsigned char)(length >> 8);
    out->at[at + 1] = (char)(unsigned char)length;
}

static void put_tls(struct out *out, const struct proxy_tls *tls)
{
    put_number(out, 1, FIELD_SSL);
    size_t length_at = out->length;
    put_number(out, 2, 0);
    put_number(out, 1, tls->client);
    put_number(out, 4, tls->verify);
    put_field(out, TLS_VERSION, tls->version);
    put_field(out, TLS_CN, tls->common_name);
    put_field(out, TLS_CIPHER, tls->cipher);
    put_field(out, TLS_SIG_ALG, tls->signature);
    put_field(out, TLS_KEY_ALG, tls->key);
    fill_length(out, length_at, out->length - length_at - 2);
}

static void put_path(struct out *out, struct slice path)
{
    char room[PROXY_UNIX_PATH_BYTES] = { 0 };
    if (path.length)
        memcpy(room, path.at, size_min(path.length, sizeof room));
    put_bytes(out, room, sizeof room);
}

static void put_addresses(struct out *out, const struct proxy_header *header)
{
    size_t skipped = header->family == PROXY_V4 ? 12 : 0;
    switch (header->family) {
    case PROXY_UNNAMED: return;
    case PROXY_UNIX:
        put_path(out, header->source_path);
        put_path(out, header->destination_path);
        return;
    case PROXY_V4:
    case PROXY_V6: break;
    }
    put_bytes(out, header->source + skipped, 16 - skipped);
    put_bytes(out, header->destination + skipped, 16 - skipped);
    put_number(out, 2, header->source_port);
    put_number(out, 2, header->destination_port);
}

static void put_fields(struct out *out, const struct proxy_header *header)
{
    put_field(out, FIELD_ALPN, header->alpn);
    put_field(out, FIELD_AUTHORITY, header->authority);
    put_field(out, FIELD_UNIQUE_ID, header->unique_id);
    if (header->has_tls)
        put_tls(out, &header->tls);
    put_field(out, FIELD_NETNS, header->netns);
}

static size_t write_v2(const struct proxy_header *header, char *room)
{
    static const uint8_t families[] = {
        [PROXY_UNNAMED] = 0x00, [PROXY_V4] = 0x11, [PROXY_V6] = 0x21, [PROXY_UNIX] = 0x31
    };
    struct out out = { .at = room };
    put_bytes(&out, signature, sizeof signature);
    put_number(&out, 1, header->local ? COMMAND_LOCAL : COMMAND_PROXY);
    put_number(&out, 1, header->local ? 0 : families[header->family]);
    put_number(&out, 2, 0);
    if (!header->local) {
        put_addresses(&out, header);
        put_fields(&out, header);
    }
    size_t sum_at = out.length + 3;
    if (header->checksum && !header->local)
        put_field(&out, FIELD_CRC32C, slice_of("\0\0\0\0", 4));
    fill_length(&out, 14, out.length - HEAD_BYTES);
    if (out.full)
        return 0;
    if (header->checksum && !header->local) {
        uint32_t sum = crc32c(slice_of(room, out.length), sum_at, 4);
        out.length = sum_at;
        put_number(&out, 4, sum);
    }
    return out.length;
}

static void put_text(struct out *out, struct slice text)
{
    put_bytes(out, text.at, text.length);
}

static void put_address_text(struct out *out, const uint8_t address[16], bool v6)
{
    char text[ADDRESS_TEXT_BYTES];
    put_text(out, slice_of(text, address_text_write(address, v6, text)));
    put_text(out, SLICE(" "));
}

static void put_port_text(struct out *out, uint16_t port)
{
    char digits[5];
    size_t first = sizeof digits;
    do
        digits[--first] = (char)('0' + port % 10);
    while (port /= 10);
    put_bytes(out, digits + first, sizeof digits - first);
}

static size_t write_v1(const struct proxy_header *header, char *room)
{
    struct out out = { .at = room };
    bool v6 = header->family == PROXY_V6;
    if (header->local || (header->family != PROXY_V4 && !v6)) {
        put_text(&out, SLICE("PROXY UNKNOWN\r\n"));
        return out.length;
    }
    put_text(&out, v6 ? SLICE("PROXY TCP6 ") : SLICE("PROXY TCP4 "));
    put_address_text(&out, header->source, v6);
    put_address_text(&out, header->destination, v6);
    put_port_text(&out, header->source_port);
    put_text(&out, SLICE(" "));
    put_port_text(&out, header->destination_port);
    put_text(&out, SLICE("\r\n"));
    return out.length;
}

size_t proxy_header_write(const struct proxy_header *header, char out[PROXY_HEADER_BYTES_MAX])
{
    return header->version == 1 ? write_v1(header, out) : write_v2(header, out);
}

/*
 * Three layers, one over the other: what protocol the first bytes speak; the records, whose payloads are put together until the
 * handshake message is whole; and the message. A message in one record, which is nearly always, is read where it lies.
 *
 * Everything is judged from left to right, and the message only once it is whole. So the verdict on some bytes is either
 * TLS_HELLO_MORE or the one that they get whatever follows, and how a client cuts its bytes into pieces cannot matter. What
 * stands behind the message in its last record is for the session to judge.
 *
 * Where two readers could understand a hello differently (an extension twice, two names, a name with a NUL inside) it is refused, as
 * the session would then be made with another certificate than its client asked for. Ciphers, groups and key shares are the session's.
 */
#include "proto/tls_hello.h"

#define RECORDS_MAX 64u            /* libraries send one or two; some clients cut more finely to pass middle boxes. 16 KiB need one */
#define RECORD_PAYLOAD_MAX 16384u  /* RFC 8446 5.1 */
#define MESSAGE_HEAD_BYTES 4u
#define METHOD_BYTES_MAX 32u

#define CONTENT_HANDSHAKE 22u
#define VERSION_MAJOR 3u /* of every record from SSL 3 to TLS 1.3 */
#define VERSION_TLS12 0x0303u
#define VERSION_TLS13 0x0304u

/* The longest message is put together in a scratch of that size, and the longest record must fit as well. */
_Static_assert(RECORD_PAYLOAD_MAX <= TLS_HELLO_BYTES_MAX, "a record's payload fits into scratch");
_Static_assert(TLS_NAME_BYTES_MAX <= UINT8_MAX, "a name's length fits into name_length");

/* Bytes that are being read --------------------------------------------------------------------------------------- */

struct run {
    const unsigned char *at;
    size_t left;
};

static bool take_bytes(struct run *run, size_t length, struct run *taken)
{
    if (length > run->left)
        return false;
    *taken = (struct run){ run->at, length };
    run->at += length;
    run->left -= length;
    return true;
}

/* In network order, of up to four bytes. */
static bool take_number(struct run *run, size_t width, uint32_t *number)
{
    struct run digits;
    if (!take_bytes(run, width, &digits))
        return false;
    *number = 0;
    for (size_t i = 0; i < width; i++)
        *number = *number << 8 | digits.at[i];
    return true;
}

/* A vector (RFC 8446 3.4): its length in `width` bytes, then its content, of at least `least` bytes. */
static bool take_vector(struct run *run, size_t width, size_t least, struct run *content)
{
    uint32_t length;
    return take_number(run, width, &length) && length >= least && take_bytes(run, length, content);
}

/* The same when nothing may follow. */
static bool only_vector(struct run run, size_t width, size_t least, struct run *content)
{
    return take_vector(&run, width, least, content) && run.left == 0;
}

static bool is_text(struct run run, const char *text)
{
    return run.left == strlen(text) && memcmp(run.at, text, run.left) == 0;
}

/* What has been read so far --------------------------------------------------------------------------------------- */

struct reading {
    struct tls_hello *hello;
    uint64_t seen; /* extensions below 64, a bit for each: all that are read here, and most of the others */
    bool tls12;    /* is among the client's versions */
    bool ecdsa_suite, rsa_suite; /* of TLS 1.2 */
};

static inline uint64_t bit(unsigned type)
{
    return 1ull << type;
}

/* server_name ----------------------------------------------------------------------------------------------------- */

static bool is_ipv4(const char *at, size_t length)
{
    unsigned dots = 0, digits = 0, value = 0;
    for (size_t i = 0; i < length; i++) {
        if (at[i] == '.') {
            if (digits == 0)
                return false;
            dots++;
            digits = value = 0;
            continue;
        }
        if (at[i] < '0' || at[i] > '9' || ++digits > 3)
            return false;
        value = value * 10 + (unsigned)(at[i] - '0');
        if (value > 255)
            return false;
    }
    return dots == 3 && digits > 0;
}

/* Of small letters. In brackets or not, with a zone or not: no host's name has two colons, so the exact grammar is not needed. */
static bool is_ipv6(const char *at, size_t length)
{
    unsigned colons = 0;
    for (size_t i = 0; i < length && at[i] != '%'; i++) {
        colons += at[i] == ':';
        if (!strchr("0123456789abcdef:.[]", at[i]))
            return false;
    }
    return colons >= 2;
}

/*
 * RFC 6066 3: a list, but of one name of each type, and no second type was ever defined. The name is DNS's, in ASCII: anything else than
 * visible characters is refused, so that it can be looked up and logged as text. An address is as good as no name.
 */
static bool read_server_name(struct run data, struct reading *r)
{
    struct run list, name;
    uint32_t type;
    if (!only_vector(data, 2, 1, &list) || !take_number(&list, 1, &type) || type != 0 || !only_vector(list, 2, 1, &name))
        return false;
    if (name.left > TLS_NAME_BYTES_MAX)
        return false;
    if (name.at[name.left - 1] == '.')
        name.left--;
    if (name.left == 0 || name.at[name.left - 1] == '.')
        return false;
    char small[TLS_NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < name.left; i++) {
        unsigned char c = name.at[i];
        if (c <= ' ' || c >= 0x7f)
            return false;
        small[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    if (is_ipv4(small, name.left) || is_ipv6(small, name.left))
        return true;
    memcpy(r->hello->name, small, name.left);
    r->hello->name[name.left] = 0;
    r->hello->name_length = (uint8_t)name.left;
    return true;
}

/* The other extensions -------------------------------------------------------------------------------------------- */

/* SignatureScheme (RFC 8446 4.2.3; RFC 5246 7.4.1.4.1 has the same numbers as pairs of hash and signature). */
static bool read_signature_algorithms(struct run data, struct reading *r)
{
    struct run list;
    uint32_t scheme;
    if (!only_vector(data, 2, 2, &list) || list.left % 2)
        return false;
    while (take_number(&list, 2, &scheme))
        switch (scheme) {
        case 0x0403: /* ecdsa_secp256r1_sha256 */
        case 0x0503: /* ecdsa_secp384r1_sha384 */
            r->hello->ecdsa = true;
            break;
        case 0x0401: /* rsa_pkcs1_sha256, 384, 512 */
        case 0x0501:
        case 0x0601:
        case 0x0804: /* rsa_pss_rsae_sha256, 384, 512; rsa_pss_pss_* are for a key of a kind that is not spoken here */
        case 0x0805:
        case 0x0806:
            r->hello->rsa = true;
            break;
        }
    return true;
}

static bool read_alpn(struct run data, struct reading *r)
{
    struct run list, name;
    if (!only_vector(data, 2, 2, &list))
        return false;
    r->hello->protocols = slice_of((const char *)list.at, list.left);
    while (list.left) {
        if (!take_vector(&list, 1, 1, &name))
            return false;
        r->hello->alpn_http11 |= is_text(name, "http/1.1");
        r->hello->alpn_h2 |= is_text(name, "h2");
    }
    r->hello->alpn = true;
    return true;
}

/* Opaque, and empty when the client has none but would like one (RFC 5077 3.2). */
static bool read_session_ticket(struct run data, struct reading *r)
{
    r->hello->ticket |= data.left > 0;
    return true;
}

static bool read_pre_shared_key(struct run data, struct reading *r)
{
    struct run identities, binders; /* RFC 8446 4.2.11: at least one of each */
    if (!take_vector(&data, 2, 7, &identities) || !only_vector(data, 2, 33, &binders))
        return false;
    r->hello->ticket = true;
    return true;
}

static bool read_early_data(struct run data, struct reading *r)
{
    r->hello->early_data = true;
    return data.left == 0;
}

/* Replaces the version that stands at the hello's head (RFC 8446 4.2.1). */
static bool read_supported_versions(struct run data, struct reading *r)
{
    struct run list;
    uint32_t version;
    if (!only_vector(data, 1, 2, &list) || list.left % 2)
        return false;
    r->tls12 = false;
    while (take_number(&list, 2, &version)) {
        r->tls12 |= version == VERSION_TLS12;
        r->hello->tls13 |= version == VERSION_TLS13;
    }
    return true;
}

#define SIGNATURE_ALGORITHMS 13u

static const struct extension {
    uint32_t type;
    bool (*read)(struct run data, struct reading *r); /* false: malformed */
} extensions[] = {
    { 0, read_server_name },
    { SIGNATURE_ALGORITHMS, read_signature_algorithms },
    { 16, read_alpn },
    { 35, read_session_ticket },
    { 41, read_pre_shared_key },
    { 42, read_early_data },
    { 43, read_supported_versions },
};

static bool read_extension(uint32_t type, struct run data, struct reading *r)
{
    if (type >= 64)
        return true;
    if (r->seen & bit(type))
        return false; /* RFC 8446 4.2: not twice */
    r->seen |= bit(type);
    for (size_t i = 0; i < ARRAY_LENGTH(extensions); i++)
        if (extensions[i].type == type)
            return extensions[i].read(data, r);
    return true;
}

/* The message (RFC 8446 4.1.2, RFC 5246 7.4.1.2) -------------------------------------------------------------------- */

static bool read_extensions(struct run run, struct reading *r)
{
    struct run list, data;
    uint32_t type;
    if (run.left == 0)
        return true; /* TLS 1.2 without any */
    if (!only_vector(run, 2, 0, &list))
        return false;
    while (list.left)
        if (!take_number(&list, 2, &type) || !take_vector(&list, 2, 0, &data) || !read_extension(type, data, r))
            return false;
    return true;
}

/* The kinds of certificate that suites of TLS 1.2 name (RFC 5289, RFC 7905); those of TLS 1.3 name none. */
static void read_ciphers(struct run run, struct reading *r)
{
    uint32_t suite;
    while (take_number(&run, 2, &suite)) {
        r->ecdsa_suite |= suite == 0xc02b || suite == 0xc02c || suite == 0xcca9;
        r->rsa_suite |= suite == 0xc02f || suite == 0xc030 || suite == 0xcca8;
    }
}

static bool read_body(struct run run, struct reading *r)
{
    struct run random, session, ciphers, compressions;
    uint32_t version;
    if (!take_number(&run, 2, &version) || !take_bytes(&run, 32, &random))
        return false;
    if (!take_vector(&run, 1, 0, &session) || session.left > 32)
        return false;
    if (!take_vector(&run, 2, 2, &ciphers) || ciphers.left % 2 || !take_vector(&run, 1, 1, &compressions))
        return false;
    read_ciphers(ciphers, r);
    r->tls12 = version >= VERSION_TLS12; /* above: RFC 5246 E.1, the server answers with what it has */
    return read_extensions(run, r);
}

static enum tls_hello_verdict read_message(struct run message, struct tls_hello *hello)
{
    struct reading r = { .hello = hello };
    struct run body = { message.at + MESSAGE_HEAD_BYTES, message.left - MESSAGE_HEAD_BYTES };
    if (!read_body(body, &r)) {
        *hello = (struct tls_hello){ 0 }; /* half of what was said would be worse than nothing */
        return TLS_HELLO_BAD;
    }
    if (!(r.seen & bit(SIGNATURE_ALGORITHMS)))
        hello->ecdsa = hello->rsa = true;
    if (!hello->tls13 && (r.ecdsa_suite || r.rsa_suite)) {
        hello->ecdsa &= r.ecdsa_suite;
        hello->rsa &= r.rsa_suite;
    }
    return r.tls12 || hello->tls13 ? TLS_HELLO_DONE : TLS_HELLO_OLD;
}

/* TLS_HELLO_DONE: the message is all there, and cut to its length. */
static enum tls_hello_verdict measure_message(struct run *message)
{
    struct run head = *message;
    uint32_t type, length;
    if (!take_number(&head, 1, &type))
        return TLS_HELLO_MORE;
    if (type != 1)
        return TLS_HELLO_BAD;
    if (!take_number(&head, 3, &length))
        return TLS_HELLO_MORE;
    if (length > TLS_HELLO_BYTES_MAX - MESSAGE_HEAD_BYTES)
        return TLS_HELLO_LARGE;
    if (length > head.left)
        return TLS_HELLO_MORE;
    message->left = MESSAGE_HEAD_BYTES + length;
    return TLS_HELLO_DONE;
}

/* Records (RFC 8446 5.1) ------------------------------------------------------------------------------------------ */

/* TLS_HELLO_DONE: *payload is the next record's, or as much of it as is there; *input is then empty. */
static enum tls_hello_verdict take_record(struct run *input, struct run *payload)
{
    uint32_t type, version, length;
    if (!take_number(input, 1, &type) || !take_number(input, 2, &version) || !take_number(input, 2, &length))
        return TLS_HELLO_MORE;
    if (type != CONTENT_HANDSHAKE || version >> 8 != VERSION_MAJOR)
        return TLS_HELLO_BAD;
    if (length == 0 || length > RECORD_PAYLOAD_MAX)
        return TLS_HELLO_BAD; /* empty ones are forbidden to the handshake */
    return take_bytes(input, size_min(length, input->left), payload) ? TLS_HELLO_DONE : TLS_HELLO_MORE;
}

/* A message that is put together never outgrows scratch: at that length measure_message has found it whole or too large. */
static void join(struct run *message, struct run payload, char *scratch)
{
    if (message->left == 0) {
        *message = payload;
        return;
    }
    if (message->at != (unsigned char *)scratch)
        memcpy(scratch, message->at, message->left);
    size_t length = size_min(payload.left, TLS_HELLO_BYTES_MAX - message->left);
    memcpy(scratch + message->left, payload.at, length);
    *message = (struct run){ (unsigned char *)scratch, message->left + length };
}

static enum tls_hello_verdict read_records(struct run input, char *scratch, struct tls_hello *hello)
{
    struct run message = { 0 }, payload;
    for (unsigned records = 0; input.left; records++) {
        if (records == RECORDS_MAX)
            return TLS_HELLO_LARGE;
        enum tls_hello_verdict verdict = take_record(&input, &payload);
        if (verdict != TLS_HELLO_DONE)
            return verdict;
        join(&message, payload, scratch);
        verdict = measure_message(&message);
        if (verdict == TLS_HELLO_DONE)
            return read_message(message, hello);
        if (verdict != TLS_HELLO_MORE)
            return verdict;
    }
    return TLS_HELLO_MORE;
}

/* Which protocol? ------------------------------------------------------------------------------------------------- */

/* SSL 2's CLIENT-HELLO (RFC 5246 E.2): two bytes of length with the highest bit set, 1, a version. */
static enum tls_hello_verdict read_ssl2(struct run input)
{
    uint32_t length, type, version;
    if (!take_number(&input, 2, &length))
        return TLS_HELLO_MORE;
    if ((length & 0x7fff) < 9)
        return TLS_HELLO_FOREIGN;
    if (!take_number(&input, 1, &type))
        return TLS_HELLO_MORE;
    if (type != 1)
        return TLS_HELLO_FOREIGN;
    if (!take_number(&input, 2, &version))
        return TLS_HELLO_MORE;
    return version == 0x0002 || version >> 8 == VERSION_MAJOR ? TLS_HELLO_OLD : TLS_HELLO_FOREIGN;
}

/* Nobody else says "EHLO /" or "USER *": what a target may begin with (RFC 9112 3.2) tells HTTP from mail and others. */
static enum tls_hello_verdict read_target(struct run target, bool is_connect)
{
    static const char scheme[] = "http";
    if (target.left == 0)
        return TLS_HELLO_MORE;
    if (*target.at == '/' || *target.at == '*' || (is_connect && *target.at > ' '))
        return TLS_HELLO_PLAIN;
    if (memcmp(target.at, scheme, size_min(target.left, 4)) != 0)
        return TLS_HELLO_FOREIGN;
    return target.left < 4 ? TLS_HELLO_MORE : TLS_HELLO_PLAIN;
}

/* A method in capitals, a space, the first bytes of a target. HTTP/2's preface is such a line too. */
static enum tls_hello_verdict read_plain(struct run input)
{
    struct run method;
    size_t length = 0;
    while (length < input.left && ((input.at[length] >= 'A' && input.at[length] <= 'Z') || (length && input.at[length] == '-')))
        length++;
    if (length == 0 || length > METHOD_BYTES_MAX)
        return TLS_HELLO_FOREIGN;
    if (!take_bytes(&input, length, &method) || input.left == 0)
        return TLS_HELLO_MORE;
    if (*input.at != ' ')
        return TLS_HELLO_FOREIGN;
    return read_target((struct run){ input.at + 1, input.left - 1 }, is_text(method, "CONNECT"));
}

enum tls_hello_verdict tls_hello_read(struct slice bytes, char *scratch, struct tls_hello *hello)
{
    struct run input = { (const unsigned char *)bytes.at, bytes.length };
    *hello = (struct tls_hello){ 0 };
    if (input.left == 0)
        return TLS_HELLO_MORE;
    if (input.at[0] & 0x80)
        return read_ssl2(input);
    if (input.at[0] != CONTENT_HANDSHAKE)
        return read_plain(input);
    if (input.left > 1 && input.at[1] != VERSION_MAJOR)
        return TLS_HELLO_FOREIGN;
    return read_records(input, scratch, hello);
}

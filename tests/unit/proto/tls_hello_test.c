#include "proto/tls_hello.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes that are being written, and lengths that are filled in when their content is there. */
struct out {
    unsigned char bytes[65536];
    size_t length;
};

static void put(struct out *out, size_t width, uint32_t number)
{
    while (width--)
        out->bytes[out->length++] = (unsigned char)(number >> 8 * width);
}

static void put_bytes(struct out *out, const void *bytes, size_t length)
{
    if (length)
        memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

static void put_many(struct out *out, size_t count, unsigned char byte)
{
    memset(out->bytes + out->length, byte, count);
    out->length += count;
}

static void put_hex(struct out *out, const char *hex)
{
    for (int used = 0; *hex; hex += used) {
        unsigned byte;
        cr_assert_eq(sscanf(hex, "%2x %n", &byte, &used), 1, "at %s", hex);
        put(out, 1, byte);
    }
}

static size_t vector_begin(struct out *out, size_t width)
{
    put(out, width, 0);
    return out->length;
}

static void vector_end(struct out *out, size_t width, size_t begin)
{
    uint32_t length = (uint32_t)(out->length - begin);
    for (size_t i = 0; i < width; i++)
        out->bytes[begin - 1 - i] = (unsigned char)(length >> 8 * i);
}

static void put_extension(struct out *out, uint32_t type, const char *hex)
{
    put(out, 2, type);
    size_t data = vector_begin(out, 2);
    put_hex(out, hex);
    vector_end(out, 2, data);
}

static void put_name(struct out *out, const void *name, size_t length)
{
    put(out, 2, 0);
    size_t data = vector_begin(out, 2), list = vector_begin(out, 2);
    put(out, 1, 0);
    size_t begin = vector_begin(out, 2);
    put_bytes(out, name, length);
    vector_end(out, 2, begin);
    vector_end(out, 2, list);
    vector_end(out, 2, data);
}

/* A hello up to its extensions, and its end: marks are where the record, the message and the list of extensions begin. */
struct marks {
    size_t record, message, extensions;
};

static struct marks hello_begin(struct out *out, uint32_t version)
{
    struct marks marks;
    out->length = 0;
    put_hex(out, "16 0301");
    marks.record = vector_begin(out, 2);
    put(out, 1, 1);
    marks.message = vector_begin(out, 3);
    put(out, 2, version);
    put_many(out, 32, 0xaa);
    put_hex(out, "20");
    put_many(out, 32, 0xbb);
    put_hex(out, "0006 1301 c02b c02f  01 00");
    marks.extensions = vector_begin(out, 2);
    return marks;
}

static void hello_end(struct out *out, struct marks marks)
{
    vector_end(out, 2, marks.extensions);
    vector_end(out, 3, marks.message);
    vector_end(out, 2, marks.record);
}

/* The same message, in records of `piece` bytes. */
static void cut_into_records(struct out *cut, const struct out *whole, size_t piece)
{
    cut->length = 0;
    for (size_t at = 5; at < whole->length; at += piece) {
        size_t length = size_min(piece, whole->length - at);
        put_hex(cut, "16 0303");
        put(cut, 2, (uint32_t)length);
        put_bytes(cut, whole->bytes + at, length);
    }
}

/* Given in memory of exactly its length, so that AddressSanitizer sees a byte read beyond; scratch is of exactly its size too. */
static enum tls_hello_verdict read_bytes(const unsigned char *bytes, size_t length, struct tls_hello *hello)
{
    static char *scratch;
    if (!scratch)
        scratch = malloc(TLS_HELLO_BYTES_MAX);
    char *copy = malloc(length);
    if (length)
        memcpy(copy, bytes, length);
    enum tls_hello_verdict verdict = tls_hello_read(slice_of(copy, length), scratch, hello);
    free(copy);
    return verdict;
}

static enum tls_hello_verdict read_out(const struct out *out, struct tls_hello *hello)
{
    return read_bytes(out->bytes, out->length, hello);
}

static bool same(const struct tls_hello *a, const struct tls_hello *b)
{
    return strcmp(a->name, b->name) == 0 && a->name_length == b->name_length && a->tls13 == b->tls13 && a->ecdsa == b->ecdsa &&
           a->rsa == b->rsa && a->alpn == b->alpn && a->alpn_http11 == b->alpn_http11 && a->alpn_h2 == b->alpn_h2 &&
           a->early_data == b->early_data && a->ticket == b->ticket;
}

/* What was understood, as words: name (or -), then what is true. */
static const char *facts(const struct tls_hello *hello)
{
    static char text[400];
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s%s", hello->name_length ? hello->name : "-", hello->tls13 ? " 1.3" : "",
             hello->ecdsa ? " ecdsa" : "", hello->rsa ? " rsa" : "", hello->alpn ? " alpn" : "", hello->alpn_http11 ? " http/1.1" : "",
             hello->alpn_h2 ? " h2" : "", hello->early_data ? " early" : "", hello->ticket ? " ticket" : "");
    return text;
}

/* Every piece from the front: MORE up to some length, the whole's verdict from there on. Answers that length. */
static size_t expect_steady(const struct out *out)
{
    struct tls_hello whole, hello;
    enum tls_hello_verdict verdict = read_out(out, &whole);
    size_t decided = out->length + 1;
    for (size_t length = 0; length <= out->length; length++) {
        enum tls_hello_verdict found = read_bytes(out->bytes, length, &hello);
        if (found != TLS_HELLO_MORE && decided > out->length)
            decided = length;
        if (length >= decided)
            cr_assert(found == verdict && same(&hello, &whole), "%d at %zu of %zu, then %d", found, length, out->length, verdict);
    }
    return decided;
}

/* Hellos of real clients ------------------------------------------------------------------------------------------- */

/* openssl s_client -servername www.example.com, OpenSSL 3.0 */
static const char openssl_hello[] =
    "160301013c010001380303990d67c989642892977caf758196764c8a31ee7cfc629429b3282cd033caf8992095677fd2209d8d01a36e9b"
    "795aa929114b904d3361a980ef2922fe7d231c1590003e130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023"
    "c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff010000b100000014001200000f7777772e6578616d706c652e"
    "636f6d000b000403000102000a00160014001d0017001e0019001801000101010201030104002300000016000000170000000d002a0028"
    "040305030603080708080809080a080b080408050806040105010601030303010302040205020602002b0009080304030303020301002d"
    "00020101003300260024001d002063db4baa7c67f4e3ef68bfe09599ade088281020214a44ec2900f0faa730ff7a";

/* openssl s_client -tls1_2 -noservername */
static const char openssl_tls12_hello[] =
    "16030100b7010000b303039e2f22481807b5ce5f00f5384806171777eb222ad9f6ebae76d16afb404784d2000038c02cc030009fcca9cc"
    "a8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff01000052000b0004"
    "03000102000a000c000a001d0017001e00190018002300000016000000170000000d002a0028040305030603080708080809080a080b08"
    "0408050806040105010601030303010302040205020602";

/* openssl s_client -tls1_1 -cipher DEFAULT@SECLEVEL=0 -servername old.example.com */
static const char openssl_tls11_hello[] =
    "160301007b01000077030224042b3742ad7147235c875c05c01cdd43f23e13bd0de8434128b06cb9a46065000012c00ac0140039c009c0"
    "1300330035002f00ff0100003c00000014001200000f6f6c642e6578616d706c652e636f6d000b000403000102000a000c000a001d0017"
    "001e00190018002300000016000000170000";

/* curl 7.88 https://shop.example.com/, up to its padding of 173 zeros */
static const char curl_hello[] =
    "1603010200010001fc0303e5c5399aa51dc3732f47ea3840451be55454a16c2be7472c78292f657171cad720c23d51996983546edb90ef"
    "96da94bd1e0971e8d6520f7d0a0ec757f95b1a5ea1003e130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023"
    "c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff0100017500000015001300001073686f702e6578616d706c65"
    "2e636f6d000b000403000102000a00160014001d0017001e00190018010001010102010301040010000e000c02683208687474702f312e"
    "31001600000017000000310000000d002a0028040305030603080708080809080a080b0804080508060401050106010303030103020402"
    "05020602002b0009080304030303020301002d00020101003300260024001d0020899a26b3d57f7b331bc38a09038812bc4f5e3ec22722"
    "59e28f556b203b9b4529001500ad";

/* What Chromium 131 and later send: GREASE (RFC 8701) everywhere, an X25519MLKEM768 key share, ECH's grease, in one record of 1.8 KB. */
static void put_chromium_hello(struct out *out)
{
    struct marks marks = hello_begin(out, 0x0303);
    put_extension(out, 0x4a4a, "");
    put_name(out, "www.example.org", 15);
    put_extension(out, 23, "");
    put_extension(out, 0xff01, "00");
    put_extension(out, 10, "000a 2a2a 11ec 001d 0017 0018");
    put_extension(out, 11, "01 00");
    put_extension(out, 35, "");
    put_extension(out, 16, "000c 02 6832 08 687474702f312e31");
    put_extension(out, 5, "01 0000 0000");
    put_extension(out, 13, "0010 0403 0804 0401 0503 0805 0501 0806 0601");
    put_extension(out, 18, "");
    put(out, 2, 51);
    size_t data = vector_begin(out, 2), shares = vector_begin(out, 2);
    put_hex(out, "2a2a 0001 00  11ec 04c0");
    put_many(out, 1216, 0xc3);
    put_hex(out, "001d 0020");
    put_many(out, 32, 0xd4);
    vector_end(out, 2, shares);
    vector_end(out, 2, data);
    put_extension(out, 45, "01 01");
    put_extension(out, 43, "06 6a6a 0304 0303");
    put_extension(out, 27, "02 0002");
    put_extension(out, 0x44cd, "0003 02 6832");
    put(out, 2, 0xfe0d);
    data = vector_begin(out, 2);
    put_many(out, 218, 0xe5);
    vector_end(out, 2, data);
    put_extension(out, 0xfafa, "00");
    hello_end(out, marks);
}

#define REAL_HELLOS 5u

static void put_real_hello(struct out *out, unsigned which)
{
    static const char *const captured[] = { openssl_hello, openssl_tls12_hello, openssl_tls11_hello, curl_hello };
    out->length = 0;
    if (which == 4)
        put_chromium_hello(out);
    else
        put_hex(out, captured[which]);
    if (which == 3)
        put_many(out, 173, 0);
}

Test(tls_hello, real_clients_are_understood)
{
    static const struct {
        enum tls_hello_verdict verdict;
        const char *facts;
    } rows[REAL_HELLOS] = {
        { TLS_HELLO_DONE, "www.example.com 1.3 ecdsa rsa" },
        { TLS_HELLO_DONE, "- ecdsa rsa" },
        { TLS_HELLO_OLD, "old.example.com ecdsa rsa" },
        { TLS_HELLO_DONE, "shop.example.com 1.3 ecdsa rsa alpn http/1.1 h2" },
        { TLS_HELLO_DONE, "www.example.org 1.3 ecdsa rsa alpn http/1.1 h2" },
    };
    static struct out out;
    struct tls_hello hello;
    for (unsigned which = 0; which < REAL_HELLOS; which++) {
        put_real_hello(&out, which);
        cr_expect_eq(read_out(&out, &hello), rows[which].verdict, "hello %u", which);
        cr_expect_str_eq(facts(&hello), rows[which].facts, "hello %u: %s", which, facts(&hello));
    }
}

/* Pieces and records ----------------------------------------------------------------------------------------------- */

Test(tls_hello, a_piece_asks_for_more_and_the_whole_is_judged)
{
    static struct out out;
    for (unsigned which = 0; which < REAL_HELLOS; which++) {
        put_real_hello(&out, which);
        cr_expect_eq(expect_steady(&out), out.length, "hello %u", which);
    }
}

Test(tls_hello, what_follows_does_not_matter)
{
    struct out out = { 0 };
    put_hex(&out, openssl_hello);
    size_t length = out.length;
    put_hex(&out, "17 0303 ffff 00 ff ff");
    cr_expect_eq(expect_steady(&out), length);
}

Test(tls_hello, records_of_any_size_make_the_same_hello)
{
    static struct out out, cut;
    for (unsigned which = 0; which < REAL_HELLOS; which++) {
        put_real_hello(&out, which);
        struct tls_hello whole, hello;
        enum tls_hello_verdict verdict = read_out(&out, &whole);
        for (size_t piece = (out.length - 5 + 63) / 64; piece <= out.length - 5; piece++) {
            cut_into_records(&cut, &out, piece);
            cr_assert_eq(read_out(&cut, &hello), verdict, "records of %zu bytes", piece);
            cr_assert(same(&whole, &hello), "records of %zu bytes", piece);
        }
    }
}

Test(tls_hello, several_records_cut_at_every_byte)
{
    static struct out out, cut;
    put_hex(&out, openssl_hello);
    for (size_t piece = 5; piece < out.length; piece += 7) {
        cut_into_records(&cut, &out, piece);
        cr_expect_eq(expect_steady(&cut), cut.length, "records of %zu bytes", piece);
    }
}

Test(tls_hello, a_last_record_may_hold_more_than_scratch_does)
{
    static struct out out, cut;
    struct tls_hello hello;
    put_hex(&out, openssl_hello);
    size_t decided = out.length + 5; /* a second head */
    put_many(&out, 16384, 0xff);
    put_hex(&cut, "16 0303 0064");
    put_bytes(&cut, out.bytes + 5, 100);
    put_hex(&cut, "16 0303 4000");
    put_bytes(&cut, out.bytes + 105, 16384);
    cr_assert_eq(read_out(&cut, &hello), TLS_HELLO_DONE);
    cr_expect_str_eq(hello.name, "www.example.com");
    cr_expect_eq(expect_steady(&cut), decided);
}

Test(tls_hello, an_absurd_number_of_records_is_large)
{
    static struct out out, cut;
    struct tls_hello hello;
    put_hex(&out, openssl_hello);
    cut_into_records(&cut, &out, 1);
    cr_expect_eq(read_out(&cut, &hello), TLS_HELLO_LARGE);
    cr_expect_eq(expect_steady(&cut), 64u * 6u + 1u);
}

/* A hello whose message has exactly that many bytes, with padding (RFC 7685) in several records. */
static void put_hello_of(struct out *cut, size_t bytes)
{
    static struct out out;
    struct marks marks = hello_begin(&out, 0x0303);
    put_name(&out, "big.example", 11);
    put(&out, 2, 21);
    size_t padding = vector_begin(&out, 2);
    put_many(&out, bytes - (out.length - marks.record), 0);
    vector_end(&out, 2, padding);
    hello_end(&out, marks);
    cut_into_records(cut, &out, 5000);
}

Test(tls_hello, the_largest_hello_is_read_and_a_larger_one_is_not)
{
    static struct out out, cut;
    struct tls_hello hello;
    put_hello_of(&cut, TLS_HELLO_BYTES_MAX);
    cr_assert_eq(read_out(&cut, &hello), TLS_HELLO_DONE);
    cr_expect_str_eq(hello.name, "big.example");
    put_hello_of(&cut, TLS_HELLO_BYTES_MAX + 1);
    cr_expect_eq(read_out(&cut, &hello), TLS_HELLO_LARGE);
    put_hex(&out, "16 0301 0004 01 ffffff");
    cr_expect_eq(read_out(&out, &hello), TLS_HELLO_LARGE);
}

/* Rows of bytes in hexadecimal, judged as they stand. */
struct row {
    const char *hex;
    enum tls_hello_verdict verdict;
};

static void judge_rows(const struct row *rows, size_t count)
{
    static struct out out;
    struct tls_hello hello;
    for (size_t i = 0; i < count; i++) {
        out.length = 0;
        put_hex(&out, rows[i].hex);
        enum tls_hello_verdict verdict = read_out(&out, &hello);
        cr_expect_eq(verdict, rows[i].verdict, "%s: %d, not %d", rows[i].hex, verdict, rows[i].verdict);
        expect_steady(&out);
    }
}

Test(tls_hello, records_that_are_none)
{
    static const struct row rows[] = {
        { "", TLS_HELLO_MORE },
        { "16", TLS_HELLO_MORE },
        { "16 03", TLS_HELLO_MORE },
        { "16 03 01 00 05", TLS_HELLO_MORE },
        { "16 03 01 00 00", TLS_HELLO_BAD },             /* empty */
        { "16 03 01 40 01", TLS_HELLO_BAD },             /* longer than a record may be */
        { "16 03 01 40 00", TLS_HELLO_MORE },
        { "16 03 ff 40 00 01", TLS_HELLO_MORE },         /* the minor version is to be ignored */
        { "16 03 01 00 05 02", TLS_HELLO_BAD },          /* a ServerHello */
        { "16 03 01 00 04 01 000000", TLS_HELLO_BAD },   /* nothing in it */
        { "16 03 01 00 01 01  17 03 03 00 01 00", TLS_HELLO_BAD }, /* another type in between */
        { "16 03 01 00 01 01  16 02 03 00 01 00", TLS_HELLO_BAD },
        { "16 03 01 00 01 01  16 03 03 00 00", TLS_HELLO_BAD },
        { "16 02", TLS_HELLO_FOREIGN },
        { "16 fe ff 00 00", TLS_HELLO_FOREIGN },         /* DTLS */
        { "15 03 01 00 02 02 28", TLS_HELLO_FOREIGN },   /* an alert */
        { "17 03 03 00 10", TLS_HELLO_FOREIGN },
    };
    judge_rows(rows, ARRAY_LENGTH(rows));
}

/* Names ------------------------------------------------------------------------------------------------------------ */

static enum tls_hello_verdict read_name(const void *name, size_t length, struct tls_hello *hello)
{
    static struct out out;
    struct marks marks = hello_begin(&out, 0x0303);
    put_name(&out, name, length);
    hello_end(&out, marks);
    cr_expect_eq(expect_steady(&out), out.length);
    return read_out(&out, hello);
}

Test(tls_hello, names_as_they_are_kept)
{
    static const struct {
        const char *sent, *kept;
    } rows[] = {
        { "example.com", "example.com" }, { "WWW.Example.COM", "www.example.com" }, { "example.com.", "example.com" }, { "a", "a" },
        { "xn--bcher-kva.example", "xn--bcher-kva.example" }, { "_dmarc.example", "_dmarc.example" },
        { "*.example.com", "*.example.com" }, { "example.com:443", "example.com:443" },
        { "127.0.0.1", "" }, { "127.0.0.1.", "" }, { "255.255.255.255", "" }, /* addresses */
        { "::1", "" }, { "2001:DB8::7", "" }, { "[2001:db8::7]", "" }, { "::ffff:10.0.0.1", "" }, { "fe80::1%eth0", "" },
        { "127.0.0.1.example", "127.0.0.1.example" },
        { "1.2.3", "1.2.3" }, { "1.2.3.4.5", "1.2.3.4.5" }, { "1.2.3.256", "1.2.3.256" }, /* none, though they look like it */
        { "1..2.3.4", "1..2.3.4" }, { "0001.2.3.4", "0001.2.3.4" },
    };
    struct tls_hello hello;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        cr_expect_eq(read_name(rows[i].sent, strlen(rows[i].sent), &hello), TLS_HELLO_DONE, "%s", rows[i].sent);
        cr_expect_str_eq(hello.name, rows[i].kept, "%s: %s", rows[i].sent, hello.name);
        cr_expect_eq(hello.name_length, strlen(rows[i].kept), "%s", rows[i].sent);
    }
}

Test(tls_hello, names_that_are_refused)
{
    static const struct slice rows[] = {
        SLICE(""), SLICE("."), SLICE("a.."), SLICE(".."), SLICE("good.example\0.evil.example"), SLICE("a.example\0"), SLICE("\0"),
        SLICE("a b"), SLICE(" a"), SLICE("a\r\nb"), SLICE("a\x7f"), SLICE("b\xc3\xbc" "cher.example"),
    };
    struct tls_hello hello;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        cr_expect_eq(read_name(rows[i].at, rows[i].length, &hello), TLS_HELLO_BAD, "row %zu", i);
        cr_expect_str_eq(hello.name, "", "row %zu", i);
    }
}

Test(tls_hello, a_name_may_have_255_bytes)
{
    char name[257];
    struct tls_hello hello;
    memset(name, 'N', sizeof name);
    cr_assert_eq(read_name(name, 255, &hello), TLS_HELLO_DONE);
    cr_expect_eq(hello.name_length, 255);
    cr_expect_eq(strlen(hello.name), 255u);
    cr_expect_eq(read_name(name, 256, &hello), TLS_HELLO_BAD);
    cr_expect_eq(read_name(name, 257, &hello), TLS_HELLO_BAD);
}

/* Extensions ------------------------------------------------------------------------------------------------------- */

/* A TLS 1.2 hello with extensions in hexadecimal: "type: data; type: data". */
static enum tls_hello_verdict read_extensions(const char *text, struct tls_hello *hello)
{
    static struct out out;
    struct marks marks = hello_begin(&out, 0x0303);
    while (*text) {
        char data[512];
        unsigned type;
        int used;
        cr_assert_eq(sscanf(text, " %u:%n", &type, &used), 1, "at %s", text);
        text += used;
        size_t length = strcspn(text, ";");
        snprintf(data, sizeof data, "%.*s", (int)length, text);
        put_extension(&out, type, data);
        text += length + (text[length] == ';');
    }
    hello_end(&out, marks);
    cr_expect_eq(expect_steady(&out), out.length);
    return read_out(&out, hello);
}

/* Rows of extensions; facts NULL: malformed. */
struct extension_row {
    const char *extensions, *facts;
};

static void judge_extensions(const struct extension_row *rows, size_t count)
{
    struct tls_hello hello;
    for (size_t i = 0; i < count; i++) {
        enum tls_hello_verdict verdict = read_extensions(rows[i].extensions, &hello);
        cr_expect_eq(verdict, rows[i].facts ? TLS_HELLO_DONE : TLS_HELLO_BAD, "%s: %d", rows[i].extensions, verdict);
        cr_expect_str_eq(facts(&hello), rows[i].facts ? rows[i].facts : "-", "%s: %s", rows[i].extensions, facts(&hello));
    }
}

Test(tls_hello, server_name_lists)
{
    static const struct extension_row rows[] = {
        { "0:0005 00 0002 6162", "ab ecdsa rsa" },
        { "0:000a 00 0002 6162 00 0002 6364", NULL }, /* two names */
        { "0:0008 00 0002 6162 01 0000", NULL },      /* a type that nobody defined */
        { "0:0005 01 0002 6162", NULL },
        { "0:", NULL },                               /* a server's answer */
        { "0:0000", NULL },
        { "0:0001 00", NULL },
        { "0:0003 00 0000", NULL },
        { "0:0005 00 0003 6162", NULL },              /* lengths that do not agree */
        { "0:0005 00 0001 6162", NULL },
        { "0:0006 00 0002 6162", NULL },
        { "0:0004 00 0002 6162", NULL },
        { "0:0005 00 ffff 6162", NULL },
        { "0:ffff 00 0002 6162", NULL },
        { "0:0005 00 0002 6162; 0:0005 00 0002 6162", NULL }, /* the extension twice */
        { "0:0005 00 0002 6162; 16:0003 02 6832; 0:0005 00 0002 6364", NULL },
    };
    judge_extensions(rows, ARRAY_LENGTH(rows));
}

Test(tls_hello, alpn_lists)
{
    static const struct extension_row rows[] = {
        { "", "- ecdsa rsa" },
        { "16:0003 02 6832", "- ecdsa rsa alpn h2" },
        { "16:0009 08 687474702f312e31", "- ecdsa rsa alpn http/1.1" },
        { "16:000c 08 687474702f312e31 02 6832", "- ecdsa rsa alpn http/1.1 h2" },
        { "16:0009 08 687474702f312e30", "- ecdsa rsa alpn" },      /* http/1.0 */
        { "16:0003 02 4832", "- ecdsa rsa alpn" },                  /* H2: compared byte by byte */
        { "16:0004 03 683263", "- ecdsa rsa alpn" },                /* h2c */
        { "16:0002 01 68", "- ecdsa rsa alpn" },
        { "16:0006 02 eaea 02 6832", "- ecdsa rsa alpn h2" },           /* GREASE */
        { "16:", NULL }, { "16:0000", NULL }, { "16:0001 00", NULL },
        { "16:0004 02 6832 00", NULL },               /* an empty name */
        { "16:0003 03 6832", NULL },
        { "16:0003 01 6832", NULL },
        { "16:0004 02 6832", NULL },
        { "16:0003 02 6832 00", NULL },
    };
    judge_extensions(rows, ARRAY_LENGTH(rows));
}

Test(tls_hello, signature_algorithms_say_what_certificates_will_do)
{
    static const struct extension_row rows[] = {
        { "", "- ecdsa rsa" },
        { "13:0002 0403", "- ecdsa" },
        { "13:0002 0503", "- ecdsa" },
        { "13:0002 0603", "-" },                /* P-521 */
        { "13:0002 0203", "-" },                /* SHA-1 */
        { "13:0002 0401", "- rsa" }, { "13:0002 0501", "- rsa" }, { "13:0002 0601", "- rsa" },
        { "13:0002 0201", "-" },
        { "13:0006 0804 0805 0806", "- rsa" },
        { "13:0006 0809 080a 080b", "-" },      /* for rsassaPss keys */
        { "13:0002 0807", "-" },                /* Ed25519 */
        { "13:0006 0a0a 0804 0403", "- ecdsa rsa" },
        { "50:0002 0403", "- ecdsa rsa" },                  /* signature_algorithms_cert is about chains */
        { "13:", NULL },
        { "13:0000", NULL },
        { "13:0003 0403 08", NULL },
        { "13:0004 0403", NULL },
        { "13:0002 0403 0804", NULL },
        { "13:0002 0403; 13:0002 0804", NULL },
    };
    judge_extensions(rows, ARRAY_LENGTH(rows));
}

Test(tls_hello, supported_versions)
{
    static const struct extension_row rows[] = {
        { "43:02 0304", "- 1.3 ecdsa rsa" },
        { "43:04 0303 0304", "- 1.3 ecdsa rsa" },
        { "43:02 0303", "- ecdsa rsa" },
        { "43:06 6a6a 0302 0303", "- ecdsa rsa" },
        { "43:", NULL }, { "43:00", NULL }, { "43:01 03", NULL },
        { "43:03 0304 03", NULL },
        { "43:04 0304", NULL },
        { "43:02 0304 0303", NULL },
    };
    struct tls_hello hello;
    judge_extensions(rows, ARRAY_LENGTH(rows));
    cr_expect_eq(read_extensions("43:02 0302", &hello), TLS_HELLO_OLD); /* whatever the hello's head says */
    cr_expect_eq(read_extensions("43:04 0302 0301", &hello), TLS_HELLO_OLD);
    cr_expect_eq(read_extensions("43:04 6a6a 7f1c", &hello), TLS_HELLO_OLD); /* GREASE and a draft */
}

Test(tls_hello, the_version_of_the_head_counts_without_supported_versions)
{
    static const struct {
        uint32_t version;
        const char *versions;
        enum tls_hello_verdict verdict;
    } rows[] = {
        { 0x0303, NULL, TLS_HELLO_DONE }, { 0x0304, NULL, TLS_HELLO_DONE }, { 0x0302, NULL, TLS_HELLO_OLD },
        { 0x0300, NULL, TLS_HELLO_OLD },  { 0x0002, NULL, TLS_HELLO_OLD },  { 0x0301, "02 0304", TLS_HELLO_DONE },
        { 0x0301, "02 0303", TLS_HELLO_DONE },
    };
    static struct out out;
    struct tls_hello hello;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct marks marks = hello_begin(&out, rows[i].version);
        if (rows[i].versions)
            put_extension(&out, 43, rows[i].versions);
        hello_end(&out, marks);
        cr_expect_eq(read_out(&out, &hello), rows[i].verdict, "row %zu", i);
        cr_expect_eq(hello.tls13, rows[i].versions && strcmp(rows[i].versions, "02 0304") == 0, "row %zu", i);
    }
}

Test(tls_hello, resumption_and_early_data)
{
#define IDENTITIES "000c 0006 a1a2a3a4a5a6 00000001 "
#define BINDER_LESS_1 "20 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
    static const struct extension_row rows[] = {
        { "35:", "- ecdsa rsa" },
        { "35:00", "- ecdsa rsa ticket" },
        { "42:", "- ecdsa rsa early" },
        { "41:" IDENTITIES "0021" BINDER_LESS_1 "1f", "- ecdsa rsa ticket" },
        { "42:; 41:" IDENTITIES "0021" BINDER_LESS_1 "1f", "- ecdsa rsa early ticket" },
        { "42:00", NULL },
        { "41:", NULL },
        { "41:" IDENTITIES, NULL },
        { "41:" IDENTITIES "0000", NULL },
        { "41:0000 0021" BINDER_LESS_1 "1f", NULL },
        { "41:" IDENTITIES "0021" BINDER_LESS_1, NULL },
        { "41:" IDENTITIES "0021" BINDER_LESS_1 "1f 00", NULL },
    };
    judge_extensions(rows, ARRAY_LENGTH(rows));
}

Test(tls_hello, extensions_that_are_not_read_here)
{
    static const struct extension_row rows[] = {
        { "2570:; 2570:", "- ecdsa rsa" }, /* the session looks at these */
        { "65281:00; 65037:0102030405", "- ecdsa rsa" },
        { "10:0002 001d; 10:0002 001d", NULL },
        { "23:; 35:; 23:", NULL },
    };
    judge_extensions(rows, ARRAY_LENGTH(rows));
}

/* Lies ------------------------------------------------------------------------------------------------------------- */

/* A message that ends too early, with records and message saying so: well-formed only where the extensions would begin. */
Test(tls_hello, messages_cut_short_are_bad)
{
    static struct out out, cut;
    struct tls_hello hello;
    for (unsigned which = 0; which < REAL_HELLOS; which++) {
        unsigned done = 0;
        put_real_hello(&out, which);
        for (size_t length = 9; length < out.length; length++) {
            cut.length = 0;
            put_bytes(&cut, out.bytes, length);
            vector_end(&cut, 2, 5);
            vector_end(&cut, 3, 9);
            enum tls_hello_verdict verdict = read_out(&cut, &hello);
            done += verdict != TLS_HELLO_BAD;
            cr_assert(verdict == TLS_HELLO_BAD || verdict == TLS_HELLO_DONE || verdict == TLS_HELLO_OLD, "%d at %zu", verdict, length);
        }
        cr_expect_eq(done, 1u, "hello %u", which);
    }
}

/* Any byte, lengths among them, with any value: AddressSanitizer watches. */
Test(tls_hello, no_byte_of_a_hello_leads_beyond_its_end)
{
    static struct out out;
    struct tls_hello hello;
    for (unsigned which = 0; which < 3; which++) {
        put_real_hello(&out, which);
        for (size_t at = 0; at < out.length; at++) {
            unsigned char was = out.bytes[at];
            for (unsigned value = 0; value < 256; value++) {
                out.bytes[at] = (unsigned char)value;
                cr_assert(read_out(&out, &hello) <= TLS_HELLO_FOREIGN && hello.name[hello.name_length] == 0);
            }
            out.bytes[at] = was;
        }
    }
}

/* The ciphers, session and compressions of the message's head. */
Test(tls_hello, lists_of_the_head_are_checked)
{
    static const struct {
        const char *hex; /* behind version and random */
        enum tls_hello_verdict verdict;
    } rows[] = {
        { "00 0002 1301 01 00", TLS_HELLO_DONE },
        { "00 0002 1301 01 00 0000", TLS_HELLO_DONE },
        { "01 aa 0002 1301 02 01 00", TLS_HELLO_DONE },
        { "00 0000 01 00", TLS_HELLO_BAD },
        { "00 0003 1301 00 01 00", TLS_HELLO_BAD },
        { "00 0002 1301 00", TLS_HELLO_BAD },
        { "00 0002 1301", TLS_HELLO_BAD },
        { "00 fffe 1301 01 00", TLS_HELLO_BAD },
        { "21 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0002 1301 01 00", TLS_HELLO_BAD },
        { "00 0002 1301 01 00 00", TLS_HELLO_BAD },
        { "00 0002 1301 01 00 0001", TLS_HELLO_BAD },
        { "00 0002 1301 01 00 0003 002a00", TLS_HELLO_BAD },
        { "00 0002 1301 01 00 0004 002a0001", TLS_HELLO_BAD },
        { "00 0002 1301 01 00 0004 00170000 00", TLS_HELLO_BAD },
    };
    static struct out out;
    struct tls_hello hello;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        out.length = 0;
        put_hex(&out, "16 0301 0000 01 000000 0303");
        put_many(&out, 32, 0xaa);
        put_hex(&out, rows[i].hex);
        vector_end(&out, 3, 9);
        vector_end(&out, 2, 5);
        cr_expect_eq(read_out(&out, &hello), rows[i].verdict, "%s", rows[i].hex);
        cr_expect_str_eq(facts(&hello), rows[i].verdict == TLS_HELLO_DONE ? "- ecdsa rsa" : "-", "%s", rows[i].hex);
    }
}

/* What is no TLS --------------------------------------------------------------------------------------------------- */

Test(tls_hello, an_ssl2_hello_is_old)
{
    static const struct row rows[] = {
        { "80 2e 01 0002 0015 0000 0010", TLS_HELLO_OLD },
        { "80 5b 01 0301 0042 0000 0010", TLS_HELLO_OLD }, /* offering TLS in SSL 2's form */
        { "80 5b 01 0303", TLS_HELLO_OLD },
        { "80 2e 01 00", TLS_HELLO_MORE },
        { "80 2e 02 0002 0015", TLS_HELLO_FOREIGN },
        { "80 2e 01 0402 0015", TLS_HELLO_FOREIGN },
        { "80 03 01 0002", TLS_HELLO_FOREIGN },
        { "ff ff ff ff", TLS_HELLO_FOREIGN },
    };
    judge_rows(rows, ARRAY_LENGTH(rows));
}

Test(tls_hello, plain_requests_are_told_from_other_things)
{
    static const struct {
        struct slice bytes;
        enum tls_hello_verdict verdict;
        size_t decided; /* by that many bytes */
    } rows[] = {
        { SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), TLS_HELLO_PLAIN, 5 },
        { SLICE("POST /form HTTP/1.0\r\n\r\n"), TLS_HELLO_PLAIN, 6 },
        { SLICE("OPTIONS * HTTP/1.1\r\n"), TLS_HELLO_PLAIN, 9 },
        { SLICE("GET http://a/ HTTP/1.1\r\n"), TLS_HELLO_PLAIN, 8 },
        { SLICE("CONNECT a:443 HTTP/1.1\r\n"), TLS_HELLO_PLAIN, 9 },
        { SLICE("M-SEARCH * HTTP/1.1\r\n"), TLS_HELLO_PLAIN, 10 },
        { SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), TLS_HELLO_PLAIN, 5 },
        { SLICE("SSH-2.0-OpenSSH_9.2\r\n"), TLS_HELLO_FOREIGN, 5 },
        { SLICE("EHLO mail.example\r\n"), TLS_HELLO_FOREIGN, 6 },
        { SLICE("HELO home\r\n"), TLS_HELLO_FOREIGN, 7 },
        { SLICE("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), TLS_HELLO_FOREIGN, 7 },
        { SLICE("\r\n\r\n\0\r\nQUIT\n"), TLS_HELLO_FOREIGN, 1 },
        { SLICE("get / HTTP/1.1\r\n"), TLS_HELLO_FOREIGN, 1 },
        { SLICE("GET\t/ HTTP/1.1\r\n"), TLS_HELLO_FOREIGN, 4 },
        { SLICE("GET  / HTTP/1.1\r\n"), TLS_HELLO_FOREIGN, 5 },
        { SLICE("QUIT\r\n"), TLS_HELLO_FOREIGN, 5 },
        { SLICE("-GET / HTTP/1.1\r\n"), TLS_HELLO_FOREIGN, 1 },
        { SLICE("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1"), TLS_HELLO_PLAIN, 34 },
        { SLICE("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1"), TLS_HELLO_FOREIGN, 33 },
        { SLICE(" GET / HTTP/1.1"), TLS_HELLO_FOREIGN, 1 },
        { SLICE("\0\0\0\0"), TLS_HELLO_FOREIGN, 1 },
        { SLICE("\x03\0\0\x13\x0e\xe0"), TLS_HELLO_FOREIGN, 1 }, /* RDP */
    };
    static struct out out;
    struct tls_hello hello;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        out.length = 0;
        put_bytes(&out, rows[i].bytes.at, rows[i].bytes.length);
        cr_expect_eq(read_out(&out, &hello), rows[i].verdict, "%s", rows[i].bytes.at);
        cr_expect_eq(expect_steady(&out), rows[i].decided, "%s: decided at %zu", rows[i].bytes.at, expect_steady(&out));
    }
}

Test(tls_hello, nothing_comes_out_of_what_is_no_hello)
{
    struct tls_hello hello, empty = { 0 };
    memset(&hello, 0x55, sizeof hello);
    cr_expect_eq(tls_hello_read(SLICE_NONE, NULL, &hello), TLS_HELLO_MORE);
    cr_expect(same(&hello, &empty));
    memset(&hello, 0x55, sizeof hello);
    cr_expect_eq(tls_hello_read(SLICE("GET /"), NULL, &hello), TLS_HELLO_PLAIN);
    cr_expect(same(&hello, &empty));
}

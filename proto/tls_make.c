/*
 * A certificate for trying things out, signed by itself: `weir demo` has one, and so have tests.
 *
 * It is written as DER (X.690) by hand, from the end to the front, so that every length is known when its head is written: wolfSSL's
 * own maker knows no alternative names in this build, and takes its dates from a clock.
 */
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "proto/tls_context.h"

#define DER_BYTES_MAX 2048u
#define PEM_BYTES_MAX 4096u
#define NAME_BYTES_CAP 253u
#define SERIAL_BYTES 16u

/* Bytes grow towards the front. */
struct der {
    byte bytes[DER_BYTES_MAX];
    size_t at;
    bool full;
};

static void put(struct der *der, const void *bytes, size_t length)
{
    if (length > der->at) {
        der->full = true;
        return;
    }
    der->at -= length;
    memcpy(der->bytes + der->at, bytes, length);
}

static void put_byte(struct der *der, unsigned value)
{
    byte one = (byte)value;
    put(der, &one, 1);
}

/* Makes an element of all that was written since `end`. */
static void wrap(struct der *der, unsigned tag, size_t end)
{
    unsigned length = (unsigned)(end - der->at);
    if (length > 255)
        put_byte(der, length & 255);
    put_byte(der, length > 255 ? length >> 8 : length);
    if (length > 255)
        put_byte(der, 0x82);
    else if (length > 127)
        put_byte(der, 0x81);
    put_byte(der, tag);
}

static void put_element(struct der *der, unsigned tag, const void *bytes, size_t length)
{
    size_t end = der->at;
    put(der, bytes, length);
    wrap(der, tag, end);
}

enum { BOOLEAN = 0x01, INTEGER = 0x02, BIT_STRING = 0x03, OCTET_STRING = 0x04, OID = 0x06, UTF8_STRING = 0x0c, UTC_TIME = 0x17,
       GENERALIZED_TIME = 0x18, SEQUENCE = 0x30, SET = 0x31, DNS_NAME = 0x82, IP_ADDRESS = 0x87, VERSION = 0xa0, EXTENSIONS = 0xa3 };

static const byte oid_common_name[] = { 0x55, 4, 3 };
static const byte oid_alternative_names[] = { 0x55, 29, 17 };
static const byte oid_basic_constraints[] = { 0x55, 29, 19 };
static const byte oid_ecdsa_sha256[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2 };

static void put_algorithm(struct der *der)
{
    size_t end = der->at;
    put_element(der, OID, oid_ecdsa_sha256, sizeof oid_ecdsa_sha256);
    wrap(der, SEQUENCE, end);
}

static void put_name(struct der *der, struct slice name)
{
    size_t end = der->at;
    put_element(der, UTF8_STRING, name.at, size_min(name.length, 64)); /* ub-common-name (RFC 5280 A.1) */
    put_element(der, OID, oid_common_name, sizeof oid_common_name);
    wrap(der, SEQUENCE, end);
    wrap(der, SET, end);
    wrap(der, SEQUENCE, end);
}

static void digits_of(char *out, unsigned count, uint64_t value)
{
    while (count-- > 0) {
        out[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Seconds since 1970 as YYYYMMDDHHMMSSZ, until 2049 without the century (RFC 5280 4.1.2.5). Days: by eras of 400 years from March on. */
static void put_time(struct der *der, int64_t seconds)
{
    char text[15];
    uint64_t now = seconds > 0 ? (uint64_t)seconds : 0;
    uint64_t days = now / 86400 + 719468, era = days / 146097, of_era = days % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    digits_of(text + 6, 2, of_year - (153 * month + 2) / 5 + 1);
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    digits_of(text, 4, year);
    digits_of(text + 4, 2, month);
    digits_of(text + 8, 2, now % 86400 / 3600);
    digits_of(text + 10, 2, now % 3600 / 60);
    digits_of(text + 12, 2, now % 60);
    text[14] = 'Z';
    if (year < 2050)
        put_element(der, UTC_TIME, text + 2, sizeof text - 2);
    else
        put_element(der, GENERALIZED_TIME, text, sizeof text);
}

/* An extension whose value is all that was written since `end`. */
static void wrap_extension(struct der *der, const byte *oid, size_t oid_bytes, bool critical, size_t end)
{
    wrap(der, OCTET_STRING, end);
    if (critical)
        put_element(der, BOOLEAN, "\xff", 1);
    put_element(der, OID, oid, oid_bytes);
    wrap(der, SEQUENCE, end);
}

static void put_extensions(struct der *der, struct slice name)
{
    static const byte loopback[] = { 127, 0, 0, 1 };
    size_t end = der->at;
    put_element(der, IP_ADDRESS, loopback, sizeof loopback);
    put_element(der, DNS_NAME, name.at, name.length);
    wrap(der, SEQUENCE, end);
    wrap_extension(der, oid_alternative_names, sizeof oid_alternative_names, false, end);
    size_t before = der->at;
    put_element(der, BOOLEAN, "\xff", 1); /* its own authority: so a client can be told to trust it */
    wrap(der, SEQUENCE, before);
    wrap_extension(der, oid_basic_constraints, sizeof oid_basic_constraints, true, before);
    wrap(der, SEQUENCE, end);
    wrap(der, EXTENSIONS, end);
}

static bool put_body(struct der *der, struct slice name, int64_t from, int64_t until, ecc_key *key)
{
    byte public[256], serial[SERIAL_BYTES];
    int length = wc_EccPublicKeyToDer(key, public, sizeof public, 1);
    if (length <= 0 || random_block(serial, sizeof serial) != 0)
        return false;
    serial[0] = (byte)((serial[0] & 0x7f) | 0x40); /* positive, and its first byte is not zero */
    size_t end = der->at;
    put_extensions(der, name);
    put(der, public, (size_t)length);
    put_name(der, name);
    size_t times = der->at;
    put_time(der, until);
    put_time(der, from);
    wrap(der, SEQUENCE, times);
    put_name(der, name);
    put_algorithm(der);
    put_element(der, INTEGER, serial, sizeof serial);
    size_t version = der->at;
    put_element(der, INTEGER, "\x02", 1); /* v3 */
    wrap(der, VERSION, version);
    wrap(der, SEQUENCE, end);
    return !der->full;
}

/* Signs the body and puts algorithm and signature behind it. */
static bool sign(struct der *der, ecc_key *key, WC_RNG *rng)
{
    byte hash[WC_SHA256_DIGEST_SIZE], signature[128];
    word32 length = sizeof signature;
    struct der whole = { .at = DER_BYTES_MAX };
    size_t body = DER_BYTES_MAX - der->at;
    if (wc_Sha256Hash(der->bytes + der->at, (word32)body, hash) != 0 ||
        wc_ecc_sign_hash(hash, sizeof hash, signature, &length, rng, key) != 0)
        return false;
    put(&whole, signature, length);
    put_byte(&whole, 0); /* unused bits */
    wrap(&whole, BIT_STRING, DER_BYTES_MAX);
    put_algorithm(&whole);
    put(&whole, der->bytes + der->at, body);
    wrap(&whole, SEQUENCE, DER_BYTES_MAX);
    *der = whole;
    return !der->full;
}

static char *pem_of(const byte *der, size_t length, int type)
{
    char *pem = FAULT("tls") ? NULL : calloc(1, PEM_BYTES_MAX);
    if (pem && wc_DerToPem(der, (word32)length, (byte *)pem, PEM_BYTES_MAX - 1, type) > 0)
        return pem;
    free(pem);
    return NULL;
}

static char *key_pem(ecc_key *key)
{
    byte der[512];
    int length = wc_EccKeyToDer(key, der, sizeof der);
    char *pem = length > 0 ? pem_of(der, (size_t)length, ECC_PRIVATEKEY_TYPE) : NULL;
    explicit_bzero(der, sizeof der);
    return pem;
}

static enum err make(struct slice name, int64_t from, int64_t until, ecc_key *key, WC_RNG *rng, char **chain, char **key_text)
{
    struct der der = { .at = DER_BYTES_MAX };
    if (!put_body(&der, name, from, until, key) || !sign(&der, key, rng))
        return ERR_CAP;
    *chain = pem_of(der.bytes + der.at, DER_BYTES_MAX - der.at, CERT_TYPE);
    *key_text = key_pem(key);
    if (*chain && *key_text)
        return ERR_OK;
    free(*chain);
    free(*key_text);
    *chain = *key_text = NULL;
    return ERR_MEMORY;
}

enum err tls_make_self_signed(const char *name, int64_t from, int64_t until, char **chain, char **key_text)
{
    ecc_key key;
    WC_RNG rng;
    *chain = *key_text = NULL;
    if (strlen(name) == 0 || strlen(name) > NAME_BYTES_CAP)
        return ERR_RANGE;
    if (FAULT("tls") || wc_InitRng(&rng) != 0)
        return ERR_MEMORY;
    if (wc_ecc_init(&key) != 0) {
        wc_FreeRng(&rng);
        return ERR_MEMORY;
    }
    enum err e = wc_ecc_make_key_ex(&rng, 32, &key, ECC_SECP256R1) == 0 &&
                         wc_ecc_set_rng(&key, &rng) == 0
                     ? make(slice_of_text(name), from, until, &key, &rng, chain, key_text)
                     : ERR_MEMORY;
    wc_ecc_free(&key);
    wc_FreeRng(&rng);
    return e;
}

/*
 * An OCSP response is taken apart here and not by wolfSSL: it knows certificates by SHA-1 only, wants the issuer among the authorities, and keeps quiet
 * about much. What is looked at is what a client will look at, as far as we can: that it is about this certificate, and, where the chain has the
 * issuer, that this one or somebody it has appointed has signed it (RFC 6960 4.2.2.2).
 */
#include "proto/tls_ocsp.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/signature.h>

#include "engine/base/check.h"
#include "proto/tls_der.h"
#include "proto/tls_pem.h"

#define SIGNERS_MAX 4u /* certificates that come with a response */
#define DER_STATUS_GOOD 0x80    /* [0] NULL */
#define DER_STATUS_REVOKED 0xa1 /* [1] SEQUENCE */
#define DER_STATUS_UNKNOWN 0x82 /* [2] NULL */

#define OID(bytes) { bytes, sizeof(bytes) - 1 }
static const struct slice basic_response = OID("\x2b\x06\x01\x05\x05\x07\x30\x01\x01"); /* 1.3.6.1.5.5.7.48.1.1 */

struct parts {
    struct slice signed_part, algorithm, signature, signers, answers;
};

static enum err refuse(enum err e, char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return e;
}

/* Taking apart (RFC 6960 4.2.1) ---------------------------------------------------------------------------------- */

/* OCSPResponse ::= SEQUENCE { ENUMERATED, [0] SEQUENCE { OID, OCTET STRING } } */
static enum err open_envelope(struct slice der, struct slice *basic, char why[256])
{
    static const char *const words[] = { [1] = "malformed request", [2] = "internal error", [3] = "try later", [5] = "signature required", [6] = "unauthorized" };
    struct slice whole, status, bytes, form, content;
    if (!tls_der_next(&der, DER_SEQUENCE, &whole) || der.length || !tls_der_next(&whole, DER_ENUMERATED, &status) || status.length != 1)
        return refuse(ERR_SYNTAX, why, "this is no OCSP response in DER form");
    unsigned char number = (unsigned char)status.at[0];
    if (number) {
        const char *word = number < ARRAY_LENGTH(words) && words[number] ? words[number] : "unknown";
        snprintf(why, 256, "the responder has not answered: %s", word);
        return ERR_SYNTAX;
    }
    if (!tls_der_next(&whole, DER_CONTEXT(0), &bytes) || !tls_der_next(&bytes, DER_SEQUENCE, &content) || !tls_der_next(&content, DER_OID, &form) ||
        !slice_equal(form, basic_response) || !tls_der_next(&content, DER_OCTET_STRING, basic))
        return refuse(ERR_SYNTAX, why, "this is no basic OCSP response");
    return ERR_OK;
}

static bool open_basic(struct slice basic, struct parts *parts)
{
    struct slice whole, algorithm, bits, data, skipped, signers;
    unsigned char tag;
    *parts = (struct parts){ 0 };
    if (!tls_der_next(&basic, DER_SEQUENCE, &whole) || !tls_der_whole(&whole, DER_SEQUENCE, &parts->signed_part) ||
        !tls_der_next(&whole, DER_SEQUENCE, &algorithm) || !tls_der_next(&algorithm, DER_OID, &parts->algorithm) ||
        !tls_der_next(&whole, DER_BIT_STRING, &bits) || bits.length < 2)
        return false;
    parts->signature = slice_of(bits.at + 1, bits.length - 1);
    if (tls_der_next(&whole, DER_CONTEXT(0), &signers))
        (void)tls_der_next(&signers, DER_SEQUENCE, &parts->signers);
    struct slice rest = parts->signed_part;
    if (!tls_der_next(&rest, DER_SEQUENCE, &data))
        return false;
    (void)tls_der_next(&data, DER_CONTEXT(0), &skipped); /* version */
    return tls_der_any(&data, &tag, &skipped) /* who has answered */ && tls_der_next(&data, DER_GENERALIZED_TIME, &skipped) /* and when */ &&
           tls_der_next(&data, DER_SEQUENCE, &parts->answers);
}

/* Which certificate ---------------------------------------------------------------------------------------------- */

static enum wc_HashType hash_of(struct slice name)
{
    static const struct {
        struct slice name;
        enum wc_HashType hash;
    } known[] = {
        { OID("\x2b\x0e\x03\x02\x1a"), WC_HASH_TYPE_SHA },
        { OID("\x60\x86\x48\x01\x65\x03\x04\x02\x01"), WC_HASH_TYPE_SHA256 },
        { OID("\x60\x86\x48\x01\x65\x03\x04\x02\x02"), WC_HASH_TYPE_SHA384 },
        { OID("\x60\x86\x48\x01\x65\x03\x04\x02\x03"), WC_HASH_TYPE_SHA512 },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        if (slice_equal(name, known[i].name))
            return known[i].hash;
    return WC_HASH_TYPE_NONE;
}

static bool is_hash(enum wc_HashType type, struct slice bytes, struct slice hash)
{
    byte own[WC_MAX_DIGEST_SIZE];
    int length = wc_HashGetDigestSize(type);
    return length > 0 && hash.length == (size_t)length && wc_Hash(type, (const byte *)bytes.at, (word32)bytes.length, own, sizeof own) == 0 &&
           memcmp(own, hash.at, hash.length) == 0;
}

/* CertID ::= SEQUENCE { hash, hash of the issuer's name, hash of its key, serial number }. issuer: NULL if it is not known. */
static bool is_about(struct slice id, const struct tls_certificate_parts *own, const struct tls_certificate_parts *issuer)
{
    struct slice algorithm, hash, name, key, serial;
    if (!tls_der_next(&id, DER_SEQUENCE, &algorithm) || !tls_der_next(&algorithm, DER_OID, &hash) || !tls_der_next(&id, DER_OCTET_STRING, &name) ||
        !tls_der_next(&id, DER_OCTET_STRING, &key) || !tls_der_next(&id, DER_INTEGER, &serial))
        return false;
    enum wc_HashType type = hash_of(hash);
    return type != WC_HASH_TYPE_NONE && slice_equal(serial, own->serial) && is_hash(type, own->issuer, name) &&
           (!issuer || is_hash(type, issuer->key_bits, key));
}

/* What follows the CertID. */
static enum err read_answer(struct slice answer, struct tls_response *response, char why[256])
{
    unsigned char tag;
    struct slice skipped, next;
    if (!tls_der_any(&answer, &tag, &skipped) || (tag != DER_STATUS_GOOD && tag != DER_STATUS_REVOKED && tag != DER_STATUS_UNKNOWN))
        return refuse(ERR_SYNTAX, why, "it has no status for the certificate");
    response->status = tag == DER_STATUS_GOOD ? TLS_STATUS_GOOD : tag == DER_STATUS_REVOKED ? TLS_STATUS_REVOKED : TLS_STATUS_UNKNOWN;
    if (!tls_der_date(&answer, &response->from))
        return refuse(ERR_SYNTAX, why, "its date cannot be read");
    /* Without it a client cannot tell for how long it may believe (RFC 5019 2.2.4), and we not for how long to send. */
    if (!tls_der_next(&answer, DER_CONTEXT(0), &next) || !tls_der_date(&next, &response->until))
        return refuse(ERR_SYNTAX, why, "it does not say until when it holds (nextUpdate)");
    return ERR_OK;
}

static enum err find_answer(struct slice answers, const struct tls_certificate_parts *own, const struct tls_certificate_parts *issuer,
                            struct tls_response *response, char why[256])
{
    struct slice answer, id;
    while (tls_der_next(&answers, DER_SEQUENCE, &answer))
        if (tls_der_next(&answer, DER_SEQUENCE, &id) && is_about(id, own, issuer))
            return read_answer(answer, response, why);
    return refuse(ERR_REFUSED, why, "it is for another certificate");
}

/* Who has signed it ---------------------------------------------------------------------------------------------- */

struct scheme {
    struct slice name;
    enum wc_HashType hash;
    bool rsa;
};

/* NULL: one that is not spoken here; then the client is the judge. */
static const struct scheme *find_scheme(struct slice name)
{
    static const struct scheme known[] = {
        { OID("\x2a\x86\x48\xce\x3d\x04\x03\x02"), WC_HASH_TYPE_SHA256, false },
        { OID("\x2a\x86\x48\xce\x3d\x04\x03\x03"), WC_HASH_TYPE_SHA384, false },
        { OID("\x2a\x86\x48\xce\x3d\x04\x03\x04"), WC_HASH_TYPE_SHA512, false },
        { OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"), WC_HASH_TYPE_SHA, true },
        { OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), WC_HASH_TYPE_SHA256, true },
        { OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"), WC_HASH_TYPE_SHA384, true },
        { OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"), WC_HASH_TYPE_SHA512, true },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        if (slice_equal(name, known[i].name))
            return &known[i];
    return NULL;
}

static bool confirm(const struct parts *parts, const struct scheme *scheme, const void *key, word32 key_bytes)
{
    enum wc_SignatureType type = scheme->rsa ? WC_SIGNATURE_TYPE_RSA_W_ENC : WC_SIGNATURE_TYPE_ECC;
    return wc_SignatureVerify(scheme->hash, type, (const byte *)parts->signed_part.at, (word32)parts->signed_part.length,
                              (const byte *)parts->signature.at, (word32)parts->signature.length, key, key_bytes) == 0;
}

static bool signed_by_rsa(const struct parts *parts, const struct scheme *scheme, struct slice key_info)
{
    RsaKey key;
    word32 index = 0;
    if (wc_InitRsaKey(&key, NULL) != 0)
        return false;
    bool is = wc_RsaPublicKeyDecode((const byte *)key_info.at, &index, &key, (word32)key_info.length) == 0 && confirm(parts, scheme, &key, sizeof key);
    wc_FreeRsaKey(&key);
    return is;
}

static bool signed_by(const struct parts *parts, const struct scheme *scheme, struct slice key_info)
{
    ecc_key key;
    word32 index = 0;
    if (scheme->rsa)
        return signed_by_rsa(parts, scheme, key_info);
    if (wc_ecc_init(&key) != 0)
        return false;
    bool is = wc_EccPublicKeyDecode((const byte *)key_info.at, &index, &key, (word32)key_info.length) == 0 && confirm(parts, scheme, &key, sizeof key);
    wc_ecc_free(&key);
    return is;
}

/* The issuer has signed its certificate, for this purpose. */
static bool is_appointed(struct slice signer, const DerBuffer *issuer)
{
    DecodedCert own, above;
    bool is = false;
    wc_InitDecodedCert(&own, (const byte *)signer.at, (word32)signer.length, NULL);
    wc_InitDecodedCert(&above, issuer->buffer, issuer->length, NULL);
    if (wc_ParseCert(&own, CERT_TYPE, NO_VERIFY, NULL) == 0 && wc_ParseCert(&above, CERT_TYPE, NO_VERIFY, NULL) == 0)
        is = own.extExtKeyUsage & EXTKEYUSE_OCSP_SIGN && wc_CheckCertSigPubKey((const byte *)signer.at, (word32)signer.length, NULL, above.publicKey,
                                                                              above.pubKeySize, (int)above.keyOID) == 0;
    wc_FreeDecodedCert(&above);
    wc_FreeDecodedCert(&own);
    return is;
}

static enum err check_signature(const struct parts *parts, const DerBuffer *issuer, const struct tls_certificate_parts *issuer_parts, char why[256])
{
    const struct scheme *scheme = find_scheme(parts->algorithm);
    struct slice rest = parts->signers, signer;
    struct tls_certificate_parts by;
    if (!scheme || signed_by(parts, scheme, issuer_parts->key_info))
        return ERR_OK;
    for (unsigned i = 0; i < SIGNERS_MAX && tls_der_whole(&rest, DER_SEQUENCE, &signer); i++)
        if (tls_certificate_take_apart(signer, &by) && signed_by(parts, scheme, by.key_info) && is_appointed(signer, issuer))
            return ERR_OK;
    return refuse(ERR_REFUSED, why, "neither the certificate's issuer nor a responder of its has signed it");
}

/* The whole ------------------------------------------------------------------------------------------------------ */

static bool take_apart(const DerBuffer *der, struct tls_certificate_parts *parts)
{
    return tls_certificate_take_apart(slice_of((const char *)der->buffer, der->length), parts);
}

static enum err judge(const struct parts *parts, const DerBuffer *certificate, const DerBuffer *issuer, struct tls_response *response, char why[256])
{
    struct tls_certificate_parts own, above;
    if (!take_apart(certificate, &own) || (issuer && !take_apart(issuer, &above)))
        return refuse(ERR_SYNTAX, why, "the certificate cannot be read");
    enum err e = find_answer(parts->answers, &own, issuer ? &above : NULL, response, why);
    return e == ERR_OK && issuer ? check_signature(parts, issuer, &above, why) : e;
}

enum err tls_response_read(struct slice der, struct slice chain, struct tls_response *response, char why[256])
{
    struct slice basic;
    struct parts parts;
    DerBuffer *certificate = NULL, *issuer = NULL;
    *response = (struct tls_response){ 0 };
    enum err e = open_envelope(der, &basic, why);
    if (e != ERR_OK)
        return e;
    if (!open_basic(basic, &parts))
        return refuse(ERR_SYNTAX, why, "this OCSP response is malformed");
    e = FAULT("tls") ? ERR_MEMORY : tls_pem_next(&chain, &certificate);
    if (e == ERR_OK)
        e = tls_pem_next(&chain, &issuer);
    if (e == ERR_OK || (e == ERR_NONE && certificate))
        e = judge(&parts, certificate, issuer, response, why);
    else
        e = refuse(e, why, e == ERR_MEMORY ? err_text(e) : "the certificate cannot be read");
    wc_FreeDer(&issuer);
    wc_FreeDer(&certificate);
    return e;
}

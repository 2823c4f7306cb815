/*
 * What a certificate chain says, and whether it hangs together: read once by the control thread, for choosing by name and kind,
 * for `weir check` and for `weir certs`. Whether anybody trusts it is not asked: that is the client's question.
 */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/tls_context.h"
#include "proto/tls_der.h"
#include "proto/tls_pem.h"

#define CHAIN_MAX 9u /* certificates; wolfSSL's MAX_CHAIN_DEPTH */
#define NAMES_MAX 1000u
#define NAME_BYTES_MAX 253u /* RFC 1035 2.3.4, without the root's dot */
#define RSA_BITS_LEAST 2048u

/* Subject and fingerprint --------------------------------------------------------------------------------------- */

/* Where wolfSSL's "/C=DE/O=a/b" has the next attribute: at a slash that letters and '=' follow. */
static bool attribute_begins(const char *at)
{
    if (*at != '/')
        return false;
    at++;
    const char *word = at;
    while ((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z'))
        at++;
    return at > word && *at == '=';
}

static void name_text(const char *from, char out[256])
{
    size_t length = 0;
    for (; *from && length < 255; from++) {
        bool begins = attribute_begins(from);
        if (begins && length == 0)
            continue;
        unsigned char c = (unsigned char)*from;
        out[length++] = begins ? ',' : c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    out[length] = '\0';
}

static bool fingerprint_of(const byte *der, word32 length, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    byte hash[WC_SHA256_DIGEST_SIZE];
    if (wc_Sha256Hash(der, length, hash) != 0)
        return false;
    for (size_t i = 0; i < sizeof hash; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[64] = '\0';
    return true;
}

bool tls_certificate_describe(struct slice der, char subject[256], char fingerprint[65])
{
    DecodedCert cert;
    wc_InitDecodedCert(&cert, (const byte *)der.at, (word32)der.length, NULL);
    bool read = !FAULT("tls") && wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL) == 0 &&
                fingerprint_of((const byte *)der.at, (word32)der.length, fingerprint);
    if (read)
        name_text(cert.subject, subject);
    wc_FreeDecodedCert(&cert);
    return read;
}

/* Names --------------------------------------------------------------------------------------------------------- */

/* Host names only, "*." in front allowed: what a client can ask for. NULL: another sort of name, or out of memory (*failed). */
static char *name_copy(const char *from, int length, bool *failed)
{
    if (length <= 0 || (unsigned)length > NAME_BYTES_MAX)
        return NULL;
    for (int i = 0; i < length; i++) {
        char low = (char)(from[i] | 0x20);
        bool word = (low >= 'a' && low <= 'z') || (from[i] >= '0' && from[i] <= '9') || from[i] == '-' || from[i] == '_';
        bool dot = from[i] == '.' && i > 0 && from[i - 1] != '.';
        bool star = from[i] == '*' && i == 0 && length > 2 && from[1] == '.';
        if (!word && !dot && !star)
            return NULL;
    }
    char *copy = FAULT("tls") ? NULL : strndup(from, (size_t)length);
    *failed |= !copy;
    for (char *c = copy; c && *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    return copy;
}

static bool add_name(struct tls_facts *facts, const char *from, int length)
{
    bool failed = false;
    char *copy = name_copy(from, length, &failed);
    if (copy)
        facts->names[facts->name_count++] = copy;
    return !failed;
}

static bool read_names(const DecodedCert *cert, struct tls_facts *facts)
{
    uint32_t count = 0;
    bool ok = true;
    for (const DNS_entry *entry = cert->altNames; entry; entry = entry->next)
        count += entry->type == ASN_DNS_TYPE;
    count = (uint32_t)size_min(count, NAMES_MAX);
    facts->names = FAULT("tls") ? NULL : calloc(count + 1u, sizeof *facts->names);
    if (!facts->names)
        return false;
    for (const DNS_entry *entry = cert->altNames; entry && ok && facts->name_count < count; entry = entry->next)
        if (entry->type == ASN_DNS_TYPE)
            ok = add_name(facts, entry->name, entry->len);
    if (count == 0 && cert->subjectCN)
        ok = add_name(facts, cert->subjectCN, cert->subjectCNLen);
    return ok;
}

/* One certificate ----------------------------------------------------------------------------------------------- */

static enum err refuse(enum err e, char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return e;
}

static unsigned rsa_bits(const DecodedCert *cert)
{
    RsaKey key;
    word32 index = 0;
    if (wc_InitRsaKey(&key, NULL) != 0)
        return 0;
    int bytes = wc_RsaPublicKeyDecode(cert->publicKey, &index, &key, cert->pubKeySize) == 0 ? wc_RsaEncryptSize(&key) : 0;
    wc_FreeRsaKey(&key);
    return bytes > 0 ? (unsigned)bytes * 8 : 0;
}

static enum err read_kind(const DecodedCert *cert, struct tls_facts *facts, char why[256])
{
    switch (cert->keyOID) {
    case ECDSAk:
        facts->kind = TLS_KEY_ECDSA;
        facts->key_bits = cert->pkCurveOID == ECC_SECP256R1_OID ? 256 : cert->pkCurveOID == ECC_SECP384R1_OID ? 384 : 0;
        return facts->key_bits ? ERR_OK : refuse(ERR_SYNTAX, why, "the certificate's curve is neither P-256 nor P-384");
    case RSAk:
        facts->kind = TLS_KEY_RSA;
        facts->key_bits = rsa_bits(cert);
        return facts->key_bits >= RSA_BITS_LEAST ? ERR_OK : refuse(ERR_SYNTAX, why, "an RSA key has at least 2048 bits");
    default:
        return refuse(ERR_SYNTAX, why, "the certificate's key is neither ECDSA (P-256, P-384) nor RSA");
    }
}

static bool date_of(const byte *bytes, int length, int64_t *seconds)
{
    struct slice element = slice_of((const char *)bytes, (size_t)length);
    return tls_der_date(&element, seconds);
}

static bool must_staple(const DerBuffer *der)
{
    struct tls_certificate_parts parts;
    return tls_certificate_take_apart(slice_of((const char *)der->buffer, der->length), &parts) && tls_certificate_must_staple(&parts);
}

static enum err read_own(const DecodedCert *cert, const DerBuffer *der, struct tls_facts *facts, char why[256])
{
    name_text(cert->subject, facts->subject);
    name_text(cert->issuer, facts->issuer);
    facts->self_signed = cert->selfSigned;
    facts->must_staple = must_staple(der);
    if (!date_of(cert->beforeDate, cert->beforeDateLen, &facts->not_before) || !date_of(cert->afterDate, cert->afterDateLen, &facts->not_after))
        return refuse(ERR_SYNTAX, why, "the certificate's dates cannot be read");
    if (!fingerprint_of(der->buffer, der->length, facts->fingerprint) || !read_names(cert, facts))
        return refuse(ERR_MEMORY, why, err_text(ERR_MEMORY));
    return read_kind(cert, facts, why);
}

/* The chain ----------------------------------------------------------------------------------------------------- */

/* The certificate before, whose issuer the next one has to be. */
struct link {
    DerBuffer *der;
    byte issuer[KEYID_SIZE];
    char subject[256];
};

static enum err check_link(const struct link *link, const DecodedCert *issuer, unsigned number, char why[256])
{
    char subject[256];
    bool named = memcmp(link->issuer, issuer->subjectHash, KEYID_SIZE) == 0;
    /* A signature of a sort that is not spoken here is the client's to judge; one that is wrong is wrong. */
    if (named && wc_CheckCertSigPubKey(link->der->buffer, link->der->length, NULL, issuer->publicKey, issuer->pubKeySize,
                                       (int)issuer->keyOID) != ASN_SIG_CONFIRM_E)
        return ERR_OK;
    name_text(issuer->subject, subject);
    snprintf(why, 256, "certificate %u (%.36s) is not the issuer of the one before it (%.36s)", number, subject, link->subject);
    return ERR_REFUSED;
}

static enum err read_one(struct link *link, const DerBuffer *der, struct tls_facts *facts, char why[256])
{
    DecodedCert cert;
    enum err e;
    wc_InitDecodedCert(&cert, der->buffer, der->length, NULL);
    int parsed = FAULT("tls") ? MEMORY_E : wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL);
    if (parsed != 0) {
        snprintf(why, 256, "certificate %u cannot be read: %s", facts->chain_length, tls_reason(parsed));
        e = parsed == MEMORY_E ? ERR_MEMORY : ERR_SYNTAX;
    } else {
        e = link->der ? check_link(link, &cert, facts->chain_length, why) : read_own(&cert, der, facts, why);
        memcpy(link->issuer, cert.issuerHash, KEYID_SIZE);
        name_text(cert.subject, link->subject);
    }
    wc_FreeDecodedCert(&cert);
    return e;
}

static enum err read_chain(struct slice chain, struct tls_facts *facts, char why[256])
{
    struct link link = { 0 };
    DerBuffer *der;
    enum err e;
    while ((e = tls_pem_next(&chain, &der)) == ERR_OK) {
        facts->chain_length++;
        e = facts->chain_length > CHAIN_MAX ? refuse(ERR_SYNTAX, why, "the chain has more than 9 certificates")
                                            : read_one(&link, der, facts, why);
        wc_FreeDer(&link.der);
        link.der = der;
        if (e != ERR_OK)
            break;
    }
    wc_FreeDer(&link.der);
    if (e == ERR_NONE)
        return facts->chain_length ? ERR_OK : refuse(ERR_SYNTAX, why, "there is no certificate in PEM form in it");
    if (why[0] == '\0')
        snprintf(why, 256, "certificate %u: %s", facts->chain_length + 1, e == ERR_MEMORY ? err_text(e) : "this is no PEM");
    return e;
}

/* The key ------------------------------------------------------------------------------------------------------- */

static enum err match(WOLFSSL_CTX *scratch, struct slice chain, struct slice key, char why[256])
{
    if (wolfSSL_CTX_use_certificate_chain_buffer(scratch, (const unsigned char *)chain.at, (long)chain.length) != WOLFSSL_SUCCESS)
        return refuse(ERR_SYNTAX, why, "the certificate cannot be used");
    int e = wolfSSL_CTX_use_PrivateKey_buffer(scratch, (const unsigned char *)key.at, (long)key.length, WOLFSSL_FILETYPE_PEM);
    if (e != WOLFSSL_SUCCESS) {
        snprintf(why, 256, "the key cannot be read: %s", tls_reason(e));
        return ERR_SYNTAX;
    }
    if (wolfSSL_CTX_check_private_key(scratch) != WOLFSSL_SUCCESS)
        return refuse(ERR_REFUSED, why, "the key belongs to another certificate");
    return ERR_OK;
}

static enum err check_key(struct slice chain, struct slice key, char why[256])
{
    if (tls_pem_has(key, SLICE("ENCRYPTED PRIVATE KEY")) || memmem(key.at, key.length, "Proc-Type: 4,ENCRYPTED", 22))
        return refuse(ERR_SYNTAX, why, "the key is encrypted; nobody is there to give a passphrase");
    if (!tls_pem_has(key, SLICE("PRIVATE KEY")))
        return refuse(ERR_SYNTAX, why, "there is no private key in PEM form in it");
    WOLFSSL_CTX *scratch = FAULT("tls") ? NULL : wolfSSL_CTX_new(wolfSSLv23_server_method());
    if (!scratch)
        return refuse(ERR_MEMORY, why, err_text(ERR_MEMORY));
    enum err e = match(scratch, chain, key, why);
    wolfSSL_CTX_free(scratch);
    return e;
}

enum err tls_facts_read(struct slice chain, struct slice key, struct tls_facts *facts, char why[256])
{
    *facts = (struct tls_facts){ 0 };
    why[0] = '\0';
    enum err e = read_chain(chain, facts, why);
    if (e == ERR_OK && key.length)
        e = check_key(chain, key, why);
    if (e != ERR_OK)
        tls_facts_release(facts);
    return e;
}

void tls_facts_release(struct tls_facts *facts)
{
    for (uint32_t i = 0; i < facts->name_count; i++)
        free(facts->names[i]);
    free(facts->names);
    *facts = (struct tls_facts){ 0 };
}

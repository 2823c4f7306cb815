#include "proto/tls_pem.h"

#include <wolfssl/wolfcrypt/error-crypt.h>

#define BEGIN "-----BEGIN "
#define CERTIFICATE "CERTIFICATE-----"

/* The rest behind the next "-----BEGIN "; false at the end. */
static bool next_block(struct slice *rest)
{
    const char *at = rest->length ? memmem(rest->at, rest->length, BEGIN, sizeof BEGIN - 1) : NULL;
    if (!at)
        return false;
    at += sizeof BEGIN - 1;
    *rest = slice_of(at, rest->length - (size_t)(at - rest->at));
    return true;
}

enum err tls_pem_next(struct slice *rest, DerBuffer **der)
{
    while (next_block(rest)) {
        /* "X509 CERTIFICATE" and "TRUSTED CERTIFICATE" are other forms, of before RFC 7468; nobody hands them out any more. */
        if (!slice_starts(*rest, SLICE(CERTIFICATE)))
            continue;
        const char *block = rest->at - (sizeof BEGIN - 1);
        struct slice text = slice_of(block, rest->length + sizeof BEGIN - 1);
        *der = NULL;
        int e = wc_PemToDer((const unsigned char *)text.at, (long)text.length, CERT_TYPE, der, NULL, NULL, NULL);
        if (e == 0)
            return ERR_OK;
        wc_FreeDer(der);
        return e == MEMORY_E ? ERR_MEMORY : ERR_SYNTAX;
    }
    return ERR_NONE;
}

bool tls_pem_has(struct slice text, struct slice label_end)
{
    while (next_block(&text)) {
        const char *end = memmem(text.at, size_min(text.length, 64), "-----", 5);
        size_t length = end ? (size_t)(end - text.at) : 0;
        if (length >= label_end.length && memcmp(text.at + length - label_end.length, label_end.at, label_end.length) == 0)
            return true;
    }
    return false;
}

const char *tls_reason(int error)
{
    return error == 0 ? "unknown" : wc_GetErrorString(error);
}

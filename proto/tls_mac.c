#include "proto/tls_mac.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/sha.h>

#include "engine/base/check.h"

enum err tls_mac(struct slice key, struct slice message, uint8_t out[TLS_MAC_BYTES])
{
    Hmac hmac;
    if (FAULT("tls_mac") || wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
        return ERR_MEMORY;
    bool done = wc_HmacSetKey(&hmac, WC_SHA256, (const byte *)key.at, (word32)key.length) == 0 &&
                wc_HmacUpdate(&hmac, (const byte *)message.at, (word32)message.length) == 0 && wc_HmacFinal(&hmac, out) == 0;
    wc_HmacFree(&hmac);
    return done ? ERR_OK : ERR_MEMORY;
}

enum err tls_sha1(struct slice message, uint8_t out[TLS_SHA1_BYTES])
{
    bool done = !FAULT("tls_mac") && wc_ShaHash((const byte *)message.at, (word32)message.length, out) == 0;
    return done ? ERR_OK : ERR_MEMORY;
}

/* proto/tls_mac: RFC 4231's vectors. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/tls_mac.h"

static void check(struct slice key, struct slice message, const char *wanted)
{
    uint8_t mac[TLS_MAC_BYTES];
    char hex[2 * TLS_MAC_BYTES + 1];
    cr_assert_eq(tls_mac(key, message, mac), ERR_OK);
    for (unsigned i = 0; i < TLS_MAC_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    cr_assert_str_eq(hex, wanted);
}

Test(tls_mac, agrees_with_rfc_4231)
{
    char twenty[20];
    memset(twenty, 0x0b, sizeof twenty);
    check(slice_of(twenty, sizeof twenty), SLICE("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check(SLICE("Jefe"), SLICE("what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

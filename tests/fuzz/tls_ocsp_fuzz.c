/*
 * An OCSP response from a file: any bytes, or changes of one that is good, since nobody guesses a signature's envelope. The first byte says which; pairs of
 * bytes say where and what. A verdict has words, and what is taken has dates.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/tls_ocsp.h"
#include "tests/unit/tls_responses.h"

#define CHANGES_MAX 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const char *chain, const char *bytes, size_t length)
{
    char why[256] = "";
    struct tls_response response;
    char *copy = memcpy(malloc(length + 1), bytes, length); /* with its end where AddressSanitizer looks */
    enum err e = tls_response_read(slice_of(copy, length), slice_of_text(chain), &response, why);
    MUST(e == ERR_OK ? response.until != 0 : why[0] != '\0' && e != ERR_MEMORY);
    free(copy);
}

static void change(const char *chain, const uint8_t *data, size_t size)
{
    char bytes[sizeof delegated_response - 1];
    memcpy(bytes, delegated_response, sizeof bytes);
    for (size_t i = 0; i + 3 <= size && i < 3 * CHANGES_MAX; i += 3)
        bytes[((size_t)data[i] << 8 | data[i + 1]) % sizeof bytes] = (char)data[i + 2];
    look(chain, bytes, sizeof bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char with_issuer[4096];
    if (!with_issuer[0])
        snprintf(with_issuer, sizeof with_issuer, "%s%s", staple_pem, staple_issuer_pem);
    if (size == 0)
        return 0;
    const char *chain = data[0] & 1 ? with_issuer : staple_pem;
    if (data[0] & 2)
        look(chain, (const char *)data + 1, size - 1);
    else
        change(chain, data + 1, size - 1);
    return 0;
}

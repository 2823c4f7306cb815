/*
 * tls_pem: the certificates of a PEM text (RFC 7468), one after the other. For proto/tls*.c only.
 */
#ifndef WEIR_TLS_PEM_H
#define WEIR_TLS_PEM_H

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn_public.h>

#include "engine/base/slice.h"

/*
 * The next certificate as DER, to be given back with wc_FreeDer; *rest becomes what follows it. Other blocks (keys, parameters)
 * and the text between blocks are skipped. ERR_NONE: no more; ERR_SYNTAX: a block that is none; ERR_MEMORY.
 */
enum err must_use tls_pem_next(struct slice *rest, DerBuffer **der);

/* True if some block's label ends so: "PRIVATE KEY". */
bool tls_pem_has(struct slice text, struct slice label_end);

/* wolfSSL's words for one of its errors. */
const char *tls_reason(int error);

#endif

/*
 * tls_ocsp: what an OCSP response (RFC 6960) says of a certificate: read once by the control thread, before it is sent to clients as it stands.
 */
#ifndef WEIR_TLS_OCSP_H
#define WEIR_TLS_OCSP_H

#include "engine/base/slice.h"

enum tls_status { TLS_STATUS_GOOD, TLS_STATUS_REVOKED, TLS_STATUS_UNKNOWN };

struct tls_response {
    enum tls_status status;
    int64_t from, until; /* thisUpdate and nextUpdate: seconds since 1970, UTC */
};

/*
 * Reads a response in DER about the first certificate of a PEM chain (that tls_facts_read finds well). ERR_SYNTAX: it is none, or gives no
 * nextUpdate; ERR_REFUSED: it is about other certificates, or the signature is wrong (which can be seen only where the chain has the
 * issuer); ERR_MEMORY. `why` says it in words. Of its dates the asker is the judge.
 */
enum err must_use tls_response_read(struct slice der, struct slice chain, struct tls_response *response, char why[256]);

#endif

/*
 * tls_der: reading DER (X.690): elements, dates, and the parts of a certificate that wolfSSL does not hand out as they stand. For proto/tls*.c only.
 *
 * Nothing is copied: slices point into what was given. Whatever is malformed, or has a tag of more than one byte, is no element.
 */
#ifndef WEIR_TLS_DER_H
#define WEIR_TLS_DER_H

#include "engine/base/slice.h"

#define DER_BOOLEAN 0x01
#define DER_INTEGER 0x02
#define DER_BIT_STRING 0x03
#define DER_OCTET_STRING 0x04
#define DER_OID 0x06
#define DER_ENUMERATED 0x0a
#define DER_UTC_TIME 0x17
#define DER_GENERALIZED_TIME 0x18
#define DER_SEQUENCE 0x30
#define DER_CONTEXT(number) (0xa0 + (number)) /* [number], with elements in it */

/* The element at the front of *rest; *rest becomes what follows. False: there is none, and *rest stays. */
bool tls_der_any(struct slice *rest, unsigned char *tag, struct slice *content);
/* Only if it has this tag. */
bool tls_der_next(struct slice *rest, unsigned char tag, struct slice *content);
/* The same, as it stands: with tag and length. */
bool tls_der_whole(struct slice *rest, unsigned char tag, struct slice *element);
/* One of these stands at the front. */
bool tls_der_has(struct slice rest, unsigned char tag);

/* UTCTime (RFC 5280 4.1.2.5: until 2049) or GeneralizedTime, as seconds since 1970. */
bool tls_der_date(struct slice *rest, int64_t *seconds);

/* key_info, issuer and subject are whole elements; key_bits is what is hashed as "the key" (RFC 6960 4.1.1); extensions may be empty. */
struct tls_certificate_parts {
    struct slice serial, issuer, subject, key_info, key_bits, extensions;
};
bool tls_certificate_take_apart(struct slice der, struct tls_certificate_parts *parts);

/* RFC 7633: it may not be shown without an OCSP response. */
bool tls_certificate_must_staple(const struct tls_certificate_parts *parts);

#endif

/*
 * tls_own: a session after its handshake, without wolfSSL: records, alerts, key updates (RFC 8446 4.6.3, 5 and 6). For tls.c only; tls->room is set.
 */
#ifndef WEIR_TLS_OWN_H
#define WEIR_TLS_OWN_H

#include "proto/tls.h"

/* What the handshake leaves. With TLS 1.3 keys come from the session's secrets and the last four are not looked at. */
struct tls_own_start {
    enum tls_suite suite;
    bool tls13;
    uint64_t reads, writes; /* sequence numbers */
    const unsigned char *read_key, *read_iv, *write_key, *write_iv;
};
enum err must_use tls_own_begin(struct tls *tls, const struct tls_own_start *start);

enum tls_verdict must_use tls_own_read(struct tls *tls, struct queue *in, uint64_t stop, char why[160]);
enum tls_verdict must_use tls_own_write(struct tls *tls, struct chain *from);
void tls_own_alert(struct tls *tls, enum tls_alert alert); /* close_notify as a warning, all others fatal; lost when there is no room */

#endif

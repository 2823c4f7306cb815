/*
 * certificates: the files of TLS that a configuration names, read, checked and made into contexts; and which of them a client is shown.
 *
 * The control thread does it when it builds a generation: an error refuses the start or the reload, with file and reason, and leaves what
 * is in force as it is. Each generation reads every file anew, so that renewed certificates are taken by a reload that changes nothing else;
 * what has not changed keeps its context (and with it pools keep their idle connections).
 *
 * An OCSP response must be for its certificate, or it refuses as well. One that has become stale, or does not say that all is well, is told of
 * and not sent.
 *
 * For each name a listener may have an ECDSA and an RSA certificate. Names are looked for exactly, then under "*." (one label, RFC 6125
 * 6.4.3), then the listener's first certificate stands in, unless it is strict.
 */
#ifndef WEIR_CERTIFICATES_H
#define WEIR_CERTIFICATES_H

#include "engine/config.h"
#include "proto/tls_context.h"
#include "proto/tls_hello.h"

struct generation;
struct listener_tls;
struct text;

#define CERTIFICATE_BYTES_MAX (1024u * 1024u)      /* of a chain, a key */
#define OCSP_BYTES_MAX TLS_STAPLE_BYTES_MAX
#define AUTHORITIES_BYTES_MAX (8u * 1024u * 1024u) /* of a file of authorities */
#define EXPIRY_WARNING_DAYS 14

/* Any thread. The context for this client; no reference is taken. NULL: strict-names, and no certificate has the name. */
struct tls_context *listener_tls_choose(const struct listener_tls *tls, const struct tls_hello *hello);

/* The control thread's ------------------------------------------------------------------------------------------- */

/*
 * Fills generation->listener_tls and ->pool_tls. previous: may be NULL. False: why says which file and what is wrong with it; errno is
 * EACCES where that is it. What has expired, or soon will, is logged and used.
 */
bool must_use certificates_load(struct generation *generation, const struct generation *previous, struct tls_tickets *tickets, char why[256]);
/* What `previous`, a generation of the same text, has: no file is read. False: out of memory. */
bool must_use certificates_take_over(struct generation *generation, const struct generation *previous);
void certificates_release(struct generation *generation);

/* Lines "listener X: certificate FILE: new contents" where another certificate stands in the same file, or another OCSP response. */
void certificates_changes(const struct generation *from, const struct generation *to, struct text *out);

/* Every certificate of every listener; with within_ms only those that end within that time from now. Answers how many. */
uint32_t certificates_report(const struct generation *generation, int64_t now, uint64_t within_ms, struct text *text, struct text *json);

/* Ticket keys (tls.ticket-keys): up to TLS_TICKET_KEYS_MAX of 48 bytes, raw or as lines of Base64. False: why says what is wrong. */
struct ticket_keys_file {
    uint8_t list[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_BYTES];
    uint32_t count;
};
bool must_use ticket_keys_read(struct slice path, struct ticket_keys_file *keys, char why[256]);
void certificates_forget_ticket_keys(struct generation *generation); /* wipes what it read; they are in force, or never will be */

#endif

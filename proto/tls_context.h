/*
 * tls_context: what TLS sessions are made from: a certificate with its key and the rules of one side, ready for use. (wolfSSL keeps one
 * certificate chain per context, so there is one for each certificate and listener.)
 *
 * Contexts are made by the control thread from bytes it has read, are never changed afterwards, are shared by all workers and counted:
 * a session holds a reference, so that a reload may drop a context while connections live on. Nothing here reads a file; the one clock is wolfSSL's, for the age of
 * tickets and of OCSP responses and for authorities that have expired. Keys are wiped before their memory is given back.
 *
 * Tickets (RFC 5077; RFC 8446 4.6.1) let a client resume on any worker: they are sealed with AES-256-GCM under keys that all contexts share and
 * that belong to the process. The newest key seals; a few older ones still open. A key is 48 bytes: 16 of name, 32 of key.
 */
#ifndef WEIR_TLS_CONTEXT_H
#define WEIR_TLS_CONTEXT_H

#include "engine/base/slice.h"

/* Facts of a certificate --------------------------------------------------------------------------------------- */

enum tls_key_kind { TLS_KEY_ECDSA, TLS_KEY_RSA };

struct tls_facts {
    enum tls_key_kind kind;
    unsigned key_bits;
    int64_t not_before, not_after; /* seconds since 1970, UTC */
    char subject[256], issuer[256]; /* "CN=a,O=b"; cut short if longer */
    char fingerprint[65];           /* SHA-256 of the DER, hexadecimal, small letters */
    char **names;                   /* DNS names of subjectAltName, else the subject's common name; small letters */
    uint32_t name_count;
    uint32_t chain_length;
    bool self_signed;
    bool must_staple; /* it is not to be shown without an OCSP response (RFC 7633) */
};

/*
 * Reads a PEM chain (the server's own certificate first, then each one's issuer) and its PEM key. ERR_SYNTAX: no PEM, no certificate, a key
 * of a kind that is not spoken here; ERR_REFUSED: the key is another's, or the chain's order is wrong; ERR_MEMORY. `why` says it
 * in words. An expired certificate is read: who asks judges the dates. key may be empty: not looked at then.
 */
enum err must_use tls_facts_read(struct slice chain, struct slice key, struct tls_facts *facts, char why[256]);
void tls_facts_release(struct tls_facts *facts);

/* The same two facts of one certificate in DER, as a peer sends it. False: it cannot be read. */
bool tls_certificate_describe(struct slice der, char subject[256], char fingerprint[65]);

/* True when every certificate of a PEM text can be an authority, as those of tls_server_options.client_ca must. */
bool tls_authorities_are_well(struct slice ca, char why[256]);

/* A self-signed ECDSA P-256 certificate for `name` and 127.0.0.1, PEM with NUL's end, to be freed by the caller; for `weir demo`. */
enum err must_use tls_make_self_signed(const char *name, int64_t from, int64_t until, char **chain, char **key);

/* Tickets' keys ------------------------------------------------------------------------------------------------ */

#define TLS_TICKET_KEY_BYTES 48u
#define TLS_TICKET_KEYS_MAX 4u /* one that seals and three that open */

struct tls_tickets; /* safe to use from all workers while the control thread adds */
struct tls_tickets *tls_tickets_new(uint32_t lifetime_s); /* without a key no ticket is given out */
/* Of tickets that are there already, too. */
void tls_tickets_set_lifetime(struct tls_tickets *tickets, uint32_t lifetime_s);
/* Exactly these, at most TLS_TICKET_KEYS_MAX; the first seals. All others are forgotten. */
void tls_tickets_set(struct tls_tickets *tickets, const uint8_t (*list)[TLS_TICKET_KEY_BYTES], uint32_t count);
/* The new key seals from now on; the oldest is forgotten (wiped) when there are too many. */
void tls_tickets_add(struct tls_tickets *tickets, const uint8_t key[TLS_TICKET_KEY_BYTES]);
void tls_tickets_free(struct tls_tickets *tickets); /* after all contexts */

/* Contexts ----------------------------------------------------------------------------------------------------- */

struct tls_context;

#define TLS_STAPLE_BYTES_MAX (16384u - 4u) /* with TLS 1.2 OpenSSL's clients take no longer message */

enum tls_client_mode { TLS_CLIENT_ANY, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED }; /* of clients' certificates */

struct tls_server_options {
    struct slice chain, key;      /* PEM */
    bool tls12;                   /* else 1.3 only */
    const char *ciphers;          /* wolfSSL's list, "TLS13-AES128-GCM-SHA256:..."; NULL: the defaults below */
    const uint16_t *groups;       /* IANA numbers (RFC 8446 4.2.7), by preference; NULL: X25519, P-256, P-384 */
    uint32_t group_count;
    enum tls_client_mode client_mode;
    struct slice client_ca;       /* PEM; not empty unless TLS_CLIENT_ANY */
    struct tls_tickets *tickets;  /* not owned; NULL: no resumption */
    uint32_t ticket_lifetime_s;   /* what clients are told; 0: what holds for tickets now */
    uint32_t early_data_bytes_max; /* 0: none */
    struct slice staple;          /* an OCSP response in DER, for clients that ask; empty: none. At most TLS_STAPLE_BYTES_MAX */
    int64_t staple_from, staple_until; /* seconds since 1970, UTC: it is sent in between only */
};

struct tls_client_options {
    bool verify;                  /* chain and name */
    struct slice ca;              /* PEM, what is trusted */
    bool tls12;
    struct slice chain, key;      /* own certificate; empty: none */
};

/* Forward-secret AEAD suites, in this order: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305; with 1.2 their ECDHE-ECDSA and ECDHE-RSA kin. */
#define TLS_CIPHERS                                                                                        \
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"                      \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"             \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* One reference, for the caller. NULL: why says what is wrong. */
struct tls_context *tls_context_server(const struct tls_server_options *options, char why[256]);
struct tls_context *tls_context_client(const struct tls_client_options *options, char why[256]);
/* True when the same options would make the same context again: a reload keeps it then, and with it what was begun under it. */
bool tls_context_is_server_of(const struct tls_context *context, const struct tls_server_options *options);
bool tls_context_is_client_of(const struct tls_context *context, const struct tls_client_options *options);

struct tls_context *tls_context_ref(struct tls_context *context); /* any thread */
void tls_context_unref(struct tls_context *context);

bool tls_context_is_server(const struct tls_context *context);
bool tls_context_verifies(const struct tls_context *context);      /* the origin's certificate and name */
enum tls_client_mode tls_context_client_mode(const struct tls_context *context);
uint32_t tls_context_early_data(const struct tls_context *context);

/* For proto/tls*.c only: WOLFSSL_CTX. */
void *tls_context_native(const struct tls_context *context);

/* Once per process, before any other call here. The names of what is used for records: proto/tls_record.h. */
enum err must_use tls_library_start(void);
void tls_library_end(void);

#endif

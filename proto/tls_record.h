/*
 * tls_record: the protection of TLS records once keys are known (RFC 8446 5.2-5.5; RFC 5246 6.2.3.3 with RFC 5288 and RFC 7905).
 *
 * wolfSSL makes the handshake; from then on a client's connection is sealed and opened here: straight from the blocks that hold content into
 * the block that is sent, and without a wolfSSL session's memory. The ciphers themselves are a library's: Intel's ipsec-mb where the
 * processor has VAES or AES-NI and it is built in, else wolfCrypt. Which one is decided once (tls_record_start) after both have given a known
 * answer.
 *
 * A struct tls_keys is one direction of one connection: it holds the expanded key, the IV and the sequence number. It is embedded, is
 * wiped by tls_keys_wipe, and belongs to one thread.
 */
#ifndef WEIR_TLS_RECORD_H
#define WEIR_TLS_RECORD_H

#include "engine/base/slice.h"

#define TLS_RECORD_HEAD_BYTES 5u
#define TLS_TAG_BYTES 16u
#define TLS_EXPLICIT_NONCE_BYTES 8u  /* AES-GCM in TLS 1.2 */
#define TLS_PLAIN_BYTES_MAX 16384u   /* RFC 8446 5.1 */
#define TLS_SEALED_BYTES_MAX (TLS_RECORD_HEAD_BYTES + TLS_PLAIN_BYTES_MAX + 256u) /* RFC 8446 5.2; what TLS 1.2 would allow more no suite of ours needs */

enum tls_content_type { TLS_CHANGE_CIPHER_SPEC = 20, TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_APPLICATION_DATA = 23 };

enum tls_suite { TLS_AES_128_GCM, TLS_AES_256_GCM, TLS_CHACHA20_POLY1305 };

struct tls_keys {
    unsigned char schedule[1280] __attribute__((aligned(64))); /* ipsec-mb 2.0 wants 1264, 1.3 and wolfCrypt about 1000 */
    unsigned char iv[12];
    uint8_t suite; /* enum tls_suite */
    bool tls13;
    bool set;
    uint64_t sequence; /* of the next record */
};

/* Once per process. Chooses; ERR_SYSTEM when a known answer came out wrong. */
enum err must_use tls_record_start(void);
const char *tls_record_backend(void); /* for the start-up line: "ipsec-mb (VAES, AVX-512)" or "wolfCrypt" */

size_t tls_suite_key_bytes(enum tls_suite suite);

/* iv: 12 bytes; AES-GCM of TLS 1.2: 4 that are implicit. ERR_MEMORY. */
enum err must_use tls_keys_set(struct tls_keys *keys, enum tls_suite suite, bool tls13, const unsigned char *key, const unsigned char *iv, uint64_t sequence);
void tls_keys_wipe(struct tls_keys *keys);

#define TLS_RUNS_MAX 16u

/* A run of bytes to be sealed. */
struct tls_run {
    const char *at;
    size_t length;
};

/* What a record adds to its content. */
size_t tls_record_overhead(const struct tls_keys *keys);

/* Writes a whole record of the bytes of up to TLS_RUNS_MAX runs (TLS_PLAIN_BYTES_MAX at most) to out and answers its length. ERR_* do not occur. */
size_t tls_seal(struct tls_keys *keys, enum tls_content_type type, const struct tls_run *runs, unsigned count, char *out);

/*
 * Opens a whole record of `length` bytes with its head; its content goes to out (room for length - TLS_RECORD_HEAD_BYTES). ERR_REFUSED: forged or
 * damaged (alert bad_record_mac); ERR_SYNTAX: no content type inside, or too long (unexpected_message, record_overflow).
 */
enum err must_use tls_open(struct tls_keys *keys, const char *record, size_t length, char *out, size_t *content, enum tls_content_type *type);

#endif

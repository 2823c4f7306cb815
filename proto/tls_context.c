/*
 * Contexts over wolfSSL's WOLFSSL_CTX, and the keys of tickets.
 *
 * wolfSSL's own ideas of resumption are switched off: its session cache (one table and one lock for all threads) and the ticket keys that
 * it makes for each context. Tickets are sealed by this file's callback instead, for all contexts and workers under the same keys.
 * What a ticket may open is bound to it by additional data, the context's realm: a ticket of a listener with early data would bring its
 * allowance along (wolfSSL takes the limit from the ticket). A context that asks for clients' certificates neither gives nor takes tickets:
 * a resumed session knows no certificate, and a ticket from another listener would be a way round the question.
 *
 * A stapled OCSP response is bytes that the context holds and never changes. Each handshake that asks for it gets them by a callback (.ci/wolfssl-staple.patch
 * brings it), which looks at the clock; the session's reference keeps them for as long as wolfSSL may send them.
 *
 * The keys are read by all workers while the control thread changes them, which is rare: a sequence lock over a few atomic words, so that
 * readers write nothing and there is no memory whose end somebody would have to wait for.
 */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "proto/tls_context.h"
#include "proto/tls_record.h"
#include "proto/tls_pem.h"

#define REALM_BYTES WC_SHA256_DIGEST_SIZE
#define GCM_IV_BYTES 12u
#define GCM_TAG_BYTES 16u
/*
 * Where early data is off, a client may come with some all the same: its ticket is from before. That much is passed over unread (RFC 8446
 * 4.2.10), which wolfSSL does up to the limit that it also announces in tickets. So the limit is lifted for the handshake, and taken down when the
 * ticket is sealed, which is right before it is announced. Nobody reads early data from such a session.
 */
#define EARLY_DATA_PASSED_OVER 65536u
#define CLOCKS_APART_S 60 /* of engines that share their keys */
#define KEY_WORDS (TLS_TICKET_KEY_BYTES / sizeof(uint64_t))

struct staple {
    unsigned char *bytes; /* NULL: none */
    uint32_t length;
    int64_t from, until;
};

struct tls_context {
    _Atomic uint32_t references;
    WOLFSSL_CTX *native;
    struct tls_tickets *tickets; /* not owned; NULL: no resumption */
    uint8_t realm[REALM_BYTES];
    uint8_t digest[WC_SHA256_DIGEST_SIZE]; /* of what it was made from */
    bool server, verifies;
    enum tls_client_mode client_mode;
    uint32_t early_data_bytes_max;
    struct staple staple;
};

/* wolfSSL takes all its random bytes from random_block, but one function that nobody calls still wants a seed from here to link. */
int wc_GenerateSeed(OS_Seed *os, byte *output, word32 length)
{
    (void)os;
    return random_block(output, length) == 0 ? 0 : RNG_FAILURE_E;
}

/* wolfSSL looks at the processor when it first hashes so: not in all workers at once. */
static bool settle_hashes(void)
{
    byte hash[WC_MAX_DIGEST_SIZE] = { 0 };
    return wc_Sha256Hash(hash, 0, hash) == 0 && wc_Sha384Hash(hash, 0, hash) == 0;
}

enum err tls_library_start(void)
{
    if (FAULT("tls") || wolfSSL_Init() != WOLFSSL_SUCCESS || !settle_hashes())
        return ERR_MEMORY;
    return tls_record_start();
}

void tls_library_end(void)
{
    wolfSSL_Cleanup();
}

/* Tickets' keys ------------------------------------------------------------------------------------------------ */

struct ticket_key {
    uint8_t name[WOLFSSL_TICKET_NAME_SZ];
    uint8_t secret[32];
};
_Static_assert(sizeof(struct ticket_key) == TLS_TICKET_KEY_BYTES, "a key is its name and its secret");

struct tls_tickets {
    _Atomic uint32_t sequence; /* odd while keys change */
    _Atomic uint32_t count;
    _Atomic uint32_t lifetime_s;
    _Atomic uint64_t words[TLS_TICKET_KEYS_MAX][KEY_WORDS]; /* newest first */
};

struct ticket_keys {
    struct ticket_key list[TLS_TICKET_KEYS_MAX];
    uint32_t count;
};

struct tls_tickets *tls_tickets_new(uint32_t lifetime_s)
{
    struct tls_tickets *tickets = FAULT("tls") ? NULL : calloc(1, sizeof *tickets);
    if (tickets)
        tls_tickets_set_lifetime(tickets, lifetime_s);
    return tickets;
}

/* Any thread. A copy that is whole; to be wiped. */
static void keys_read(struct tls_tickets *tickets, struct ticket_keys *keys)
{
    uint32_t before, after;
    do {
        before = atomic_load_explicit(&tickets->sequence, memory_order_acquire);
        keys->count = atomic_load_explicit(&tickets->count, memory_order_acquire);
        for (uint32_t k = 0; k < TLS_TICKET_KEYS_MAX; k++) {
            uint64_t words[KEY_WORDS];
            for (size_t w = 0; w < KEY_WORDS; w++) /* acquire: not read behind the sequence below */
                words[w] = atomic_load_explicit(&tickets->words[k][w], memory_order_acquire);
            memcpy(&keys->list[k], words, sizeof words);
            explicit_bzero(words, sizeof words);
        }
        after = atomic_load_explicit(&tickets->sequence, memory_order_relaxed);
    } while (before != after || before & 1);
}

/* The control thread. */
static void keys_write(struct tls_tickets *tickets, const struct ticket_keys *keys)
{
    atomic_fetch_add_explicit(&tickets->sequence, 1, memory_order_seq_cst);
    for (uint32_t k = 0; k < TLS_TICKET_KEYS_MAX; k++) {
        uint64_t words[KEY_WORDS];
        memcpy(words, &keys->list[k], sizeof words);
        for (size_t w = 0; w < KEY_WORDS; w++) /* release: not written before the sequence above */
            atomic_store_explicit(&tickets->words[k][w], words[w], memory_order_release);
        explicit_bzero(words, sizeof words);
    }
    atomic_store_explicit(&tickets->count, keys->count, memory_order_release);
    atomic_fetch_add_explicit(&tickets->sequence, 1, memory_order_seq_cst);
}

void tls_tickets_set(struct tls_tickets *tickets, const uint8_t (*list)[TLS_TICKET_KEY_BYTES], uint32_t count)
{
    struct ticket_keys keys = { .count = count };
    MUST(count <= TLS_TICKET_KEYS_MAX);
    memcpy(keys.list, list, count * sizeof keys.list[0]);
    keys_write(tickets, &keys);
    explicit_bzero(&keys, sizeof keys);
}

void tls_tickets_add(struct tls_tickets *tickets, const uint8_t key[TLS_TICKET_KEY_BYTES])
{
    struct ticket_keys keys;
    keys_read(tickets, &keys);
    memmove(&keys.list[1], &keys.list[0], sizeof keys.list - sizeof keys.list[0]);
    memcpy(&keys.list[0], key, sizeof keys.list[0]);
    keys.count += keys.count < TLS_TICKET_KEYS_MAX;
    keys_write(tickets, &keys);
    explicit_bzero(&keys, sizeof keys);
}

void tls_tickets_set_lifetime(struct tls_tickets *tickets, uint32_t lifetime_s)
{
    atomic_store_explicit(&tickets->lifetime_s, lifetime_s, memory_order_relaxed);
}

static uint32_t lifetime_of(struct tls_tickets *tickets)
{
    return atomic_load_explicit(&tickets->lifetime_s, memory_order_relaxed);
}

void tls_tickets_free(struct tls_tickets *tickets)
{
    if (!tickets)
        return;
    explicit_bzero(tickets, sizeof *tickets);
    free(tickets);
}

/* Sealing ------------------------------------------------------------------------------------------------------ */

/*
 * A ticket on the wire: name, IV (12 bytes of it are GCM's), length, the sealed bytes, MAC (16 bytes of it are GCM's tag). Sealed are
 * wolfSSL's own idea of a session and the second in which that was done: wolfSSL looks at the age of a ticket with TLS 1.3 only.
 */
struct sealed {
    uint8_t *name, *iv, *mac, *bytes;
    word32 length;
};

#define STAMP_BYTES 8u

static void stamp(struct sealed *ticket)
{
    int64_t now = wc_Time(NULL);
    memcpy(ticket->bytes + ticket->length, &now, STAMP_BYTES); /* there is room: WOLFSSL_TICKET_EXTRA_PADDING_SZ */
    ticket->length += STAMP_BYTES;
}

/* Takes the stamp off. False: too old, or from the future. */
static bool is_fresh(const struct tls_context *context, struct sealed *ticket)
{
    int64_t then, now = wc_Time(NULL);
    if (ticket->length < STAMP_BYTES)
        return false;
    ticket->length -= STAMP_BYTES;
    memcpy(&then, ticket->bytes + ticket->length, STAMP_BYTES);
    return then <= now + CLOCKS_APART_S && now - then <= lifetime_of(context->tickets);
}

static size_t additional_data(const struct tls_context *context, const struct sealed *ticket, uint8_t out[128])
{
    _Static_assert(REALM_BYTES + WOLFSSL_TICKET_NAME_SZ + WOLFSSL_TICKET_IV_SZ <= 128, "it fits");
    memcpy(out, context->realm, REALM_BYTES);
    memcpy(out + REALM_BYTES, ticket->name, WOLFSSL_TICKET_NAME_SZ);
    memcpy(out + REALM_BYTES + WOLFSSL_TICKET_NAME_SZ, ticket->iv, WOLFSSL_TICKET_IV_SZ);
    return REALM_BYTES + WOLFSSL_TICKET_NAME_SZ + WOLFSSL_TICKET_IV_SZ;
}

static int seal(const struct tls_context *context, const struct ticket_key *key, struct sealed *ticket)
{
    uint8_t data[128];
    Aes aes;
    if (FAULT("tls") || random_block(ticket->iv, WOLFSSL_TICKET_IV_SZ) != 0 || wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return WOLFSSL_TICKET_RET_FATAL;
    memcpy(ticket->name, key->name, WOLFSSL_TICKET_NAME_SZ);
    memset(ticket->mac, 0, WOLFSSL_TICKET_MAC_SZ);
    size_t length = additional_data(context, ticket, data);
    int e = wc_AesGcmSetKey(&aes, key->secret, sizeof key->secret);
    if (e == 0)
        e = wc_AesGcmEncrypt(&aes, ticket->bytes, ticket->bytes, ticket->length, ticket->iv, GCM_IV_BYTES, ticket->mac, GCM_TAG_BYTES,
                             data, (word32)length);
    wc_AesFree(&aes);
    return e == 0 ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_FATAL;
}

static bool open_with(const struct tls_context *context, const struct ticket_key *key, struct sealed *ticket)
{
    uint8_t data[128];
    Aes aes;
    if (memcmp(key->name, ticket->name, WOLFSSL_TICKET_NAME_SZ) != 0 || wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return false;
    size_t length = additional_data(context, ticket, data);
    int e = wc_AesGcmSetKey(&aes, key->secret, sizeof key->secret);
    if (e == 0)
        e = wc_AesGcmDecrypt(&aes, ticket->bytes, ticket->bytes, ticket->length, ticket->iv, GCM_IV_BYTES, ticket->mac, GCM_TAG_BYTES,
                             data, (word32)length);
    wc_AesFree(&aes);
    return e == 0;
}

/*
 * TLS 1.2 renews a ticket only when asked to (CREATE), which is done for what an older key sealed. With TLS 1.3 each
 * session gets a new one anyway, and wolfSSL 5.7 takes CREATE for a refusal there.
 */
static int opened(WOLFSSL *ssl, uint32_t key)
{
    return key == 0 || wolfSSL_version(ssl) >= TLS1_3_VERSION ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_CREATE;
}

static int ticket_callback(WOLFSSL *ssl, unsigned char *name, unsigned char *iv, unsigned char *mac, int encrypt, unsigned char *bytes,
                           int length, int *out_length, void *argument)
{
    const struct tls_context *context = argument;
    struct sealed ticket = { name, iv, mac, bytes, (word32)length };
    struct ticket_keys keys;
    int verdict = encrypt ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_REJECT;
    keys_read(context->tickets, &keys);
    if (encrypt && keys.count) {
        if (context->early_data_bytes_max == 0)
            (void)wolfSSL_set_max_early_data(ssl, 0);
        stamp(&ticket);
        verdict = seal(context, &keys.list[0], &ticket);
    }
    for (uint32_t k = 0; !encrypt && k < keys.count && verdict == WOLFSSL_TICKET_RET_REJECT; k++)
        if (open_with(context, &keys.list[k], &ticket))
            verdict = is_fresh(context, &ticket) ? opened(ssl, k) : WOLFSSL_TICKET_RET_REJECT;
    *out_length = (int)ticket.length;
    explicit_bzero(&keys, sizeof keys);
    return verdict;
}

/* What sessions of this context allow and another's might not. */
static bool make_realm(struct tls_context *context)
{
    struct {
        char label[24];
        uint32_t early_data_bytes_max;
    } facts = { "weir ticket realm 1", context->early_data_bytes_max };
    return wc_Sha256Hash((const byte *)&facts, sizeof facts, context->realm) == 0;
}

static bool set_tickets(struct tls_context *context, struct tls_tickets *tickets, uint32_t lifetime_s)
{
    WOLFSSL_CTX *native = context->native;
    if (tickets && context->client_mode == TLS_CLIENT_ANY && atomic_load_explicit(&tickets->count, memory_order_relaxed)) {
        context->tickets = tickets;
        lifetime_s = lifetime_s ? lifetime_s : lifetime_of(tickets);
        return make_realm(context) && wolfSSL_CTX_set_TicketEncCb(native, ticket_callback) == WOLFSSL_SUCCESS &&
               wolfSSL_CTX_set_TicketEncCtx(native, context) == WOLFSSL_SUCCESS &&
               wolfSSL_CTX_set_TicketHint(native, (int)lifetime_s) == WOLFSSL_SUCCESS &&
               wolfSSL_CTX_set_timeout(native, lifetime_s) == WOLFSSL_SUCCESS;
    }
    /* Without a callback no ticket is opened either. */
    return wolfSSL_CTX_set_TicketEncCb(native, NULL) == WOLFSSL_SUCCESS && wolfSSL_CTX_NoTicketTLSv12(native) == WOLFSSL_SUCCESS &&
           wolfSSL_CTX_no_ticket_TLSv13(native) == 0;
}

/* Contexts ----------------------------------------------------------------------------------------------------- */

static bool say(char why[256], const char *what, int error)
{
    snprintf(why, 256, "%s: %s", what, tls_reason(error));
    return false;
}

/* wolfSSL says 1 where it is well, else 0 or what is wrong. */
static bool well(int result)
{
    return !FAULT("tls") && result == WOLFSSL_SUCCESS;
}

static bool use_certificate(WOLFSSL_CTX *native, struct slice chain, struct slice key, char why[256])
{
    int e = wolfSSL_CTX_use_certificate_chain_buffer(native, (const unsigned char *)chain.at, (long)chain.length);
    if (!well(e))
        return say(why, "the certificate cannot be used", e);
    e = wolfSSL_CTX_use_PrivateKey_buffer(native, (const unsigned char *)key.at, (long)key.length, WOLFSSL_FILETYPE_PEM);
    if (!well(e))
        return say(why, "the key cannot be used", e);
    e = wolfSSL_CTX_check_private_key(native);
    if (!well(e))
        return say(why, "the key is not the certificate's", e);
    return true;
}

/* Certificate by certificate, so that one that is old or odd does not cost the others of a system's hundreds, unless all are wanted. */
static bool trust(WOLFSSL_CTX *native, struct slice ca, bool all, char why[256])
{
    unsigned count = 0;
    DerBuffer *der;
    enum err e;
    int result = 0;
    while ((e = tls_pem_next(&ca, &der)) != ERR_NONE) {
        if (e == ERR_MEMORY)
            return say(why, "the certification authorities cannot be read", MEMORY_E);
        result = e == ERR_OK ? wolfSSL_CTX_load_verify_buffer(native, der->buffer, der->length, WOLFSSL_FILETYPE_ASN1) : ASN_PARSE_E;
        wc_FreeDer(&der);
        if (result != WOLFSSL_SUCCESS && all)
            return say(why, "a certification authority cannot be used", result);
        count += result == WOLFSSL_SUCCESS;
    }
    if (count)
        return true;
    if (result)
        return say(why, "no certification authority can be used", result);
    snprintf(why, 256, "there is no certificate in PEM form in it");
    return false;
}

bool tls_authorities_are_well(struct slice ca, char why[256])
{
    WOLFSSL_CTX *scratch = FAULT("tls") ? NULL : wolfSSL_CTX_new(wolfSSLv23_client_method());
    if (!scratch)
        return say(why, "a TLS context", MEMORY_E);
    bool trusted = trust(scratch, ca, true, why);
    wolfSSL_CTX_free(scratch);
    return trusted;
}

/* By wolfSSL's list of curves and not by its list of groups: a server follows the latter with TLS 1.3 only. */
static bool set_groups(WOLFSSL_CTX *native, const uint16_t *groups, uint32_t count)
{
    static const struct {
        uint16_t number;
        const char *name;
    } known[] = { { WOLFSSL_ECC_X25519, "X25519" }, { WOLFSSL_ECC_SECP256R1, "P-256" }, { WOLFSSL_ECC_SECP384R1, "P-384" } };
    char list[64] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < (count ? count : ARRAY_LENGTH(known)); i++) {
        const char *name = count ? NULL : known[i].name;
        for (size_t k = 0; count && k < ARRAY_LENGTH(known); k++)
            name = known[k].number == groups[i] ? known[k].name : name;
        if (!name || length + 8 >= sizeof list)
            return false;
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", length ? ":" : "", name);
    }
    return wolfSSL_CTX_set1_curves_list(native, list) == WOLFSSL_SUCCESS;
}

/* What both sides have in common. */
static bool set_rules(WOLFSSL_CTX *native, const char *ciphers, const uint16_t *groups, uint32_t group_count, char why[256])
{
    wolfSSL_CTX_set_session_cache_mode(native, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_set_group_messages(native); /* a flight is one write, not one for each message */
    if (!well(wolfSSL_CTX_set_cipher_list(native, ciphers ? ciphers : TLS_CIPHERS)))
        return say(why, "the list of ciphers", BAD_FUNC_ARG);
    if (!well(set_groups(native, groups, group_count)))
        return say(why, "the list of groups", BAD_FUNC_ARG);
    if (wolfSSL_CTX_only_dhe_psk(native) != 0) /* resumption keeps forward secrecy (RFC 8446 4.2.9) */
        return say(why, "key exchange", BAD_FUNC_ARG);
    return true;
}

static bool set_clients(struct tls_context *context, const struct tls_server_options *options, char why[256])
{
    static const int modes[] = {
        [TLS_CLIENT_ANY] = WOLFSSL_VERIFY_NONE,
        [TLS_CLIENT_OPTIONAL] = WOLFSSL_VERIFY_PEER,
        [TLS_CLIENT_REQUIRED] = WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
    };
    wolfSSL_CTX_set_verify(context->native, modes[options->client_mode], NULL);
    return options->client_mode == TLS_CLIENT_ANY || trust(context->native, options->client_ca, true, why);
}

/* Any thread, in the handshake of a client that asks (RFC 6066 8, RFC 8446 4.4.2.1). */
static const unsigned char *staple_callback(void *argument, unsigned *length)
{
    const struct staple *staple = argument;
    int64_t now = wc_Time(NULL);
    if (now + CLOCKS_APART_S < staple->from || now >= staple->until)
        return NULL;
    *length = staple->length;
    return staple->bytes;
}

static bool set_staple(struct tls_context *context, const struct tls_server_options *options)
{
    struct staple *staple = &context->staple;
    if (options->staple.length == 0)
        return true;
    MUST(options->staple.length <= TLS_STAPLE_BYTES_MAX);
    staple->bytes = FAULT("tls") ? NULL : malloc(options->staple.length);
    if (!staple->bytes)
        return false;
    memcpy(staple->bytes, options->staple.at, options->staple.length);
    staple->length = (uint32_t)options->staple.length;
    staple->from = options->staple_from;
    staple->until = options->staple_until;
    wolfSSL_CTX_set_staple_cb(context->native, staple_callback, staple);
    return true;
}

static bool fill_server(struct tls_context *context, const struct tls_server_options *options, char why[256])
{
    WOLFSSL_CTX *native = context->native;
    if (!set_rules(native, options->ciphers, options->groups, options->group_count, why) ||
        !use_certificate(native, options->chain, options->key, why) || !set_clients(context, options, why))
        return false;
    int e = wolfSSL_CTX_set_max_early_data(native, options->early_data_bytes_max ? options->early_data_bytes_max : EARLY_DATA_PASSED_OVER);
    if (e != 0 && e != WOLFSSL_SUCCESS)
        return say(why, "early data", e);
    if (!set_staple(context, options))
        return say(why, "an OCSP response", MEMORY_E);
    return set_tickets(context, options->tickets, options->ticket_lifetime_s) || say(why, "tickets", MEMORY_E);
}

static bool fill_client(struct tls_context *context, const struct tls_client_options *options, char why[256])
{
    WOLFSSL_CTX *native = context->native;
    wolfSSL_CTX_set_verify(native, options->verify ? WOLFSSL_VERIFY_PEER : WOLFSSL_VERIFY_NONE, NULL);
    if (!set_rules(native, NULL, NULL, 0, why))
        return false;
    if (options->chain.length && !use_certificate(native, options->chain, options->key, why))
        return false;
    return !options->verify || trust(native, options->ca, false, why);
}

/* A list without suites of TLS 1.3 rules that version out: wolfSSL would choose it first and then find no suite. */
static bool only_tls12(const char *ciphers)
{
    return ciphers && !strstr(ciphers, "TLS13-");
}

/* What a context is made from, in brief ---------------------------------------------------------------------------- */

static void digest_bytes(wc_Sha256 *hash, const void *at, size_t length)
{
    uint64_t prefix = length; /* so that no two lists of parts are one run of bytes */
    (void)wc_Sha256Update(hash, (const byte *)&prefix, sizeof prefix);
    if (length)
        (void)wc_Sha256Update(hash, at, (word32)length);
}

static void digest_slice(wc_Sha256 *hash, struct slice bytes)
{
    digest_bytes(hash, bytes.at, bytes.length);
}

static void digest_number(wc_Sha256 *hash, uint64_t number)
{
    digest_bytes(hash, &number, sizeof number);
}

static void digest_server(const struct tls_server_options *options, uint8_t digest[WC_SHA256_DIGEST_SIZE])
{
    wc_Sha256 hash;
    (void)wc_InitSha256(&hash);
    digest_slice(&hash, options->chain);
    digest_slice(&hash, options->key);
    digest_number(&hash, options->tls12);
    digest_slice(&hash, slice_of_text(options->ciphers));
    digest_bytes(&hash, options->groups, options->group_count * sizeof *options->groups);
    digest_number(&hash, options->client_mode);
    digest_slice(&hash, options->client_ca);
    digest_number(&hash, (uintptr_t)options->tickets);
    digest_number(&hash, options->ticket_lifetime_s);
    digest_number(&hash, options->early_data_bytes_max);
    digest_slice(&hash, options->staple);
    (void)wc_Sha256Final(&hash, digest);
    wc_Sha256Free(&hash);
}

static void digest_client(const struct tls_client_options *options, uint8_t digest[WC_SHA256_DIGEST_SIZE])
{
    wc_Sha256 hash;
    (void)wc_InitSha256(&hash);
    digest_number(&hash, options->verify);
    digest_slice(&hash, options->ca);
    digest_number(&hash, options->tls12);
    digest_slice(&hash, options->chain);
    digest_slice(&hash, options->key);
    (void)wc_Sha256Final(&hash, digest);
    wc_Sha256Free(&hash);
}

bool tls_context_is_server_of(const struct tls_context *context, const struct tls_server_options *options)
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE];
    digest_server(options, digest);
    return context->server && memcmp(context->digest, digest, sizeof digest) == 0;
}

bool tls_context_is_client_of(const struct tls_context *context, const struct tls_client_options *options)
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE];
    digest_client(options, digest);
    return !context->server && memcmp(context->digest, digest, sizeof digest) == 0;
}

/* Making one ------------------------------------------------------------------------------------------------------- */

static WOLFSSL_CTX *native_new(bool server, bool tls12, const char *ciphers)
{
    WOLFSSL_METHOD *method = tls12 ? server ? wolfSSLv23_server_method() : wolfSSLv23_client_method()
                                   : server ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method();
    WOLFSSL_CTX *native = method ? wolfSSL_CTX_new(method) : NULL; /* takes the method over, also when it fails */
    if (native && tls12 && wolfSSL_CTX_SetMinVersion(native, WOLFSSL_TLSV1_2) != WOLFSSL_SUCCESS) {
        wolfSSL_CTX_free(native);
        return NULL;
    }
    if (native && only_tls12(ciphers))
        wolfSSL_CTX_set_options(native, WOLFSSL_OP_NO_TLSv1_3);
    return native;
}

static struct tls_context *context_new(bool server, bool tls12, const char *ciphers, char why[256])
{
    why[0] = '\0';
    struct tls_context *context = FAULT("tls") ? NULL : calloc(1, sizeof *context);
    if (context)
        context->native = native_new(server, tls12, ciphers);
    if (!context || !context->native) {
        say(why, "a TLS context", MEMORY_E);
        free(context);
        return NULL;
    }
    atomic_init(&context->references, 1);
    context->server = server;
    return context;
}

struct tls_context *tls_context_server(const struct tls_server_options *options, char why[256])
{
    struct tls_context *context = context_new(true, options->tls12, options->ciphers, why);
    if (!context)
        return NULL;
    context->client_mode = options->client_mode;
    context->early_data_bytes_max = options->early_data_bytes_max;
    digest_server(options, context->digest);
    if (fill_server(context, options, why))
        return context;
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_context_client(const struct tls_client_options *options, char why[256])
{
    struct tls_context *context = context_new(false, options->tls12, NULL, why);
    if (!context)
        return NULL;
    context->verifies = options->verify;
    digest_client(options, context->digest);
    if (fill_client(context, options, why))
        return context;
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    wolfSSL_CTX_free(context->native); /* wipes the key */
    free(context->staple.bytes);
    free(context);
}

bool tls_context_is_server(const struct tls_context *context)
{
    return context->server;
}

bool tls_context_verifies(const struct tls_context *context)
{
    return context->verifies;
}

enum tls_client_mode tls_context_client_mode(const struct tls_context *context)
{
    return context->client_mode;
}

uint32_t tls_context_early_data(const struct tls_context *context)
{
    return context->early_data_bytes_max;
}

void *tls_context_native(const struct tls_context *context)
{
    return context->native;
}

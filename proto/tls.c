/*
 * The session's two lives: by wolfSSL (the handshake, and origins' sessions to the end) and by records of our own. The second are in
 * tls_own.c. wolfSSL reads from `raw` and writes to `out` by callbacks; it asks for exactly the bytes of the record it reads, so what
 * follows the handshake is still in `raw` when it is let go.
 */
#include "proto/tls.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "engine/base/check.h"
#include "proto/tls_own.h"

#define LIBRARY_PIECE_BYTES (BLOCK_BYTES - 1024u) /* its record fits what is looked for in `out` */

static WOLFSSL *library_of(const struct tls *tls)
{
    return tls->library;
}

/* wolfSSL's callbacks ------------------------------------------------------------------------------------------ */

static int take_input(WOLFSSL *library, char *at, int wanted, void *context)
{
    (void)library;
    struct tls *tls = context;
    size_t taken = 0;
    while (taken < (size_t)wanted && !queue_empty(&tls->raw)) {
        struct slice run = queue_front(&tls->raw);
        size_t n = size_min(run.length, (size_t)wanted - taken);
        memcpy(at + taken, run.at, n);
        queue_consume(&tls->raw, n);
        taken += n;
    }
    return taken ? (int)taken : WOLFSSL_CBIO_ERR_WANT_READ;
}

static int put_output(WOLFSSL *library, char *at, int length, void *context)
{
    (void)library;
    struct tls *tls = context;
    enum err e = chain_append_copy(&tls->out, tls->room->pool, slice_of(at, (size_t)length));
    return e == ERR_OK ? length : WOLFSSL_CBIO_ERR_WANT_WRITE;
}

/* The secrets that records are protected with, for tls_own.c. */
static int keep_secret(WOLFSSL *library, int id, const unsigned char *secret, int length, void *context)
{
    (void)library;
    struct tls *tls = context;
    if (length <= 0 || length > (int)TLS_SECRET_BYTES_MAX)
        return -1;
    bool by_client = id == CLIENT_TRAFFIC_SECRET;
    if (!by_client && id != SERVER_TRAFFIC_SECRET)
        return 0;
    memcpy(by_client == tls->server ? tls->read_secret : tls->write_secret, secret, (size_t)length);
    tls->secret_bytes = (uint8_t)length;
    return 0;
}

/* Life --------------------------------------------------------------------------------------------------------- */

void tls_init(struct tls *tls)
{
    memset(tls, 0, offsetof(struct tls, read_secret));
    tls->read.set = tls->write.set = false;
    tls->magic = TLS_MAGIC;
}

static enum err start(struct tls *tls, struct tls_context *context, bool server)
{
    MUST_BE(tls, TLS_MAGIC);
    MUST(!tls->context);
    tls->server = server;
    WOLFSSL *library = FAULT("tls") ? NULL : wolfSSL_new(tls_context_native(context));
    if (!library)
        return ERR_MEMORY;
    tls->context = tls_context_ref(context);
    tls->library = library;
    wolfSSL_SSLSetIORecv(library, take_input);
    wolfSSL_SSLSetIOSend(library, put_output);
    wolfSSL_SetIOReadCtx(library, tls);
    wolfSSL_SetIOWriteCtx(library, tls);
    return ERR_OK;
}

static bool want_http11(WOLFSSL *library)
{
    char protocol[] = "http/1.1,http/1.0";
    return wolfSSL_UseALPN(library, protocol, sizeof protocol - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) == WOLFSSL_SUCCESS;
}

enum err tls_start_server(struct tls *tls, struct tls_context *context, bool alpn)
{
    enum err e = start(tls, context, true);
    if (e != ERR_OK)
        return e;
    WOLFSSL *library = library_of(tls);
    if ((!alpn || want_http11(library)) && wolfSSL_set_tls13_secret_cb(library, keep_secret, tls) == WOLFSSL_SUCCESS)
        return ERR_OK;
    return ERR_MEMORY;
}

static bool is_address(const char *name)
{
    size_t digits = strspn(name, "0123456789.");
    return strchr(name, ':') || name[digits] == 0;
}

static bool expect_name(struct tls *tls, const char *name)
{
    WOLFSSL *library = library_of(tls);
    bool address = is_address(name), well = true;
    if (!address)
        well = wolfSSL_UseSNI(library, WOLFSSL_SNI_HOST_NAME, name, (unsigned short)strlen(name)) == WOLFSSL_SUCCESS;
    if (!well || !tls_context_verifies(tls->context))
        return well;
    if (address)
        return wolfSSL_X509_VERIFY_PARAM_set1_ip_asc(wolfSSL_get0_param(library), name) == WOLFSSL_SUCCESS;
    return wolfSSL_check_domain_name(library, name) == WOLFSSL_SUCCESS;
}

enum err tls_start_client(struct tls *tls, struct tls_context *context, const char *server_name, struct tls_session *session)
{
    enum err e = start(tls, context, false);
    if (e != ERR_OK)
        return e;
    if (expect_name(tls, server_name)) {
        if (session)
            (void)wolfSSL_set_session(library_of(tls), (WOLFSSL_SESSION *)session); /* one that does not fit is no harm: a full handshake */
        return ERR_OK;
    }
    return ERR_MEMORY;
}

void tls_release(struct tls *tls)
{
    MUST_BE(tls, TLS_MAGIC);
    if (tls->library)
        wolfSSL_free(library_of(tls));
    if (tls->context)
        tls_context_unref(tls->context);
    queue_clear(&tls->raw);
    chain_clear(&tls->out);
    free(tls->peer);
    free(tls->asked_name);
    tls_keys_wipe(&tls->read);
    tls_keys_wipe(&tls->write);
    explicit_bzero(tls->read_secret, sizeof tls->read_secret);
    explicit_bzero(tls->write_secret, sizeof tls->write_secret);
    tls->magic = 0;
    tls->library = NULL;
    tls->context = NULL;
    tls->peer = NULL;
    tls->asked_name = NULL;
}

/* The handshake ------------------------------------------------------------------------------------------------ */

static enum tls_verdict failed(struct tls *tls, const char *what, char why[160])
{
    tls->failed = true;
    snprintf(why, 160, "%s", what);
    return TLS_REFUSED;
}

static void describe(const struct tls *tls, int error, char why[160])
{
    char text[WOLFSSL_MAX_ERROR_SZ];
    long verdict = wolfSSL_get_verify_result(library_of(tls));
    wolfSSL_ERR_error_string_n((unsigned long)(error < 0 ? -error : error), text, sizeof text);
    if (verdict == WOLFSSL_X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
        snprintf(why, 160, "%.70s: no authority that is trusted here has issued it", text);
    else if (verdict != WOLFSSL_X509_V_OK)
        snprintf(why, 160, "%.70s: %.80s", text, wolfSSL_X509_verify_cert_error_string(verdict));
    else
        snprintf(why, 160, "%.159s", text);
}

/* What wolfSSL says after a call that did not succeed. */
static enum tls_verdict judge(struct tls *tls, int result, char why[160])
{
    int error = wolfSSL_get_error(library_of(tls), result);
    switch (error) {
    case WOLFSSL_ERROR_WANT_READ: return TLS_WANTS_INPUT;
    case WOLFSSL_ERROR_WANT_WRITE: return TLS_WANTS_ROOM;
    case WOLFSSL_ERROR_ZERO_RETURN:
        tls->peer_closed = true;
        return TLS_CLOSED;
    default:
        describe(tls, error, why);
        tls->failed = true;
        return TLS_REFUSED;
    }
}

static void keep_common_name(struct tls_peer *peer, const char *name)
{
    size_t length = name ? strlen(name) : 0;
    if (length < sizeof peer->common_name)
        memcpy(peer->common_name, name ? name : "", length);
}

void tls_keep_name(struct tls *tls, const char *name)
{
    size_t bytes = strlen(name) + 1;
    tls->asked_name = FAULT("tls") ? NULL : malloc(bytes);
    if (tls->asked_name)
        memcpy(tls->asked_name, name, bytes);
}

static enum err keep_peer(struct tls *tls)
{
    WOLFSSL_X509 *certificate = wolfSSL_get_peer_certificate(library_of(tls));
    int length = 0;
    const unsigned char *der = certificate ? wolfSSL_X509_get_der(certificate, &length) : NULL;
    unsigned char digest[WC_SHA256_DIGEST_SIZE];
    if (!der || length <= 0)
        return ERR_OK;
    tls->peer = FAULT("tls") ? NULL : calloc(1, sizeof *tls->peer);
    if (tls->peer && wc_Sha256Hash(der, (word32)length, digest) == 0) {
        for (unsigned i = 0; i < sizeof digest; i++) {
            tls->peer->fingerprint[2 * i] = "0123456789abcdef"[digest[i] >> 4];
            tls->peer->fingerprint[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
        }
        keep_common_name(tls->peer, wolfSSL_X509_get_subjectCN(certificate));
        wolfSSL_X509_NAME_oneline(wolfSSL_X509_get_subject_name(certificate), tls->peer->subject, sizeof tls->peer->subject);
        for (char *at = tls->peer->subject; *at; at++)
            if (*at < ' ' || *at > '~')
                *at = '?'; /* it becomes a field's value */
    }
    wolfSSL_X509_free(certificate);
    return tls->peer ? ERR_OK : ERR_MEMORY;
}

static bool own_suite(WOLFSSL *library, enum tls_suite *suite)
{
    int cipher = wolfSSL_GetBulkCipher(library);
    if (cipher == wolfssl_chacha)
        *suite = TLS_CHACHA20_POLY1305;
    else if (cipher == wolfssl_aes_gcm)
        *suite = wolfSSL_GetKeySize(library) == 16 ? TLS_AES_128_GCM : TLS_AES_256_GCM;
    else
        return false;
    return true;
}

/* From here on without wolfSSL, if it can be: then its memory goes. */
static enum err take_over(struct tls *tls)
{
    WOLFSSL *library = library_of(tls);
    struct tls_own_start from = { .tls13 = tls->tls13 };
    word64 reads = 0, writes = 0;
    if (!tls->server || !own_suite(library, &from.suite) || wolfSSL_pending(library) > 0)
        return ERR_OK;
    wolfSSL_GetPeerSequenceNumber(library, &reads);
    wolfSSL_GetSequenceNumber(library, &writes);
    from.reads = reads;
    from.writes = writes;
    from.read_key = wolfSSL_GetClientWriteKey(library);
    from.read_iv = wolfSSL_GetClientWriteIV(library);
    from.write_key = wolfSSL_GetServerWriteKey(library);
    from.write_iv = wolfSSL_GetServerWriteIV(library);
    enum err e = tls_own_begin(tls, &from);
    if (e != ERR_OK)
        return e;
    wolfSSL_free(library);
    tls->library = NULL;
    tls->own_records = true;
    return ERR_OK;
}

/* As OpenSSL calls it, which everybody compares with: of TLS 1.3 IANA's name. The library's own texts, for ever. */
static const char *cipher_name(WOLFSSL *library, bool tls13)
{
    int suite = wolfSSL_get_current_cipher_suite(library);
    if (!tls13)
        return wolfSSL_get_cipher_name(library);
    return wolfSSL_get_cipher_name_iana_from_suite((unsigned char)(suite >> 8), (unsigned char)suite);
}

static const char *agreed_protocol(WOLFSSL *library)
{
    static const char http11[] = "http/1.1", http10[] = "http/1.0";
    char *name = NULL;
    unsigned short length = 0;
    if (wolfSSL_ALPN_GetProtocol(library, &name, &length) != WOLFSSL_SUCCESS || !name || length != sizeof http11 - 1)
        return NULL;
    return memcmp(name, http11, length) == 0 ? http11 : http10;
}

static enum tls_verdict opened(struct tls *tls, char why[160])
{
    WOLFSSL *library = library_of(tls);
    tls->open = true;
    tls->tls13 = wolfSSL_version(library) == TLS1_3_VERSION;
    tls->resumed = wolfSSL_session_reused(library) != 0;
    tls->cipher = cipher_name(library, tls->tls13);
    tls->alpn = agreed_protocol(library);
    if ((tls->server && tls_context_client_mode(tls->context) != TLS_CLIENT_ANY && keep_peer(tls) != ERR_OK) || take_over(tls) != ERR_OK)
        return failed(tls, "out of memory", why);
    return TLS_DONE;
}

enum tls_verdict tls_handshake(struct tls *tls, struct tls_room *room, char why[160])
{
    MUST_BE(tls, TLS_MAGIC);
    tls->room = room;
    int result = tls->server ? wolfSSL_accept(library_of(tls)) : wolfSSL_connect(library_of(tls));
    /* With early_data in the hello it says so once before the client's Finished (and certificate) has come. */
    if (tls->server && result == WOLFSSL_SUCCESS && !wolfSSL_is_init_finished(library_of(tls)))
        result = wolfSSL_accept(library_of(tls));
    if (result == WOLFSSL_SUCCESS && !wolfSSL_is_init_finished(library_of(tls)))
        return failed(tls, "the handshake did not come to its end", why);
    enum tls_verdict verdict = result == WOLFSSL_SUCCESS ? opened(tls, why) : judge(tls, result, why);
    tls->room = NULL;
    return verdict == TLS_CLOSED ? failed(tls, "the peer closed during the handshake", why) : verdict;
}

static enum tls_verdict read_early(struct tls *tls, struct queue *in, char why[160])
{
    while (wolfSSL_version(library_of(tls)) == TLS1_3_VERSION) {
        int length = 0;
        struct block *block = block_take(tls->room->pool);
        if (!block)
            return TLS_WANTS_ROOM;
        int result = wolfSSL_read_early_data(library_of(tls), block->data, BLOCK_BYTES, &length);
        if (result <= 0 || length <= 0) {
            block_unref(block);
            return result < 0 ? judge(tls, result, why) : TLS_DONE;
        }
        block->used = (uint32_t)length;
        queue_append(in, block);
    }
    return TLS_DONE; /* a context of TLS 1.2 only */
}

enum tls_verdict tls_read_early(struct tls *tls, struct queue *in, struct tls_room *room, char why[160])
{
    MUST_BE(tls, TLS_MAGIC);
    tls->room = room;
    enum tls_verdict verdict = read_early(tls, in, why);
    tls->room = NULL;
    return verdict;
}

/* Content by wolfSSL ------------------------------------------------------------------------------------------- */

static enum tls_verdict read_by_library(struct tls *tls, struct queue *in, uint64_t stop, char why[160])
{
    while (in->bytes < stop) {
        struct block *block = block_take(tls->room->pool);
        if (!block)
            return TLS_WANTS_ROOM;
        int result = wolfSSL_read(library_of(tls), block->data, BLOCK_BYTES);
        if (result <= 0) {
            block_unref(block);
            return judge(tls, result, why);
        }
        block->used = (uint32_t)result;
        queue_append(in, block);
    }
    return TLS_DONE;
}

static enum tls_verdict write_by_library(struct tls *tls, struct chain *from)
{
    char why[160];
    while (!chain_empty(from)) {
        struct span *span = chain_span(from, 0);
        uint32_t piece = (uint32_t)size_min(span->length, LIBRARY_PIECE_BYTES);
        if (chain_room(&tls->out) < 2)
            return TLS_WANTS_ROOM;
        int result = wolfSSL_write(library_of(tls), span_at(span), (int)piece);
        if (result <= 0) {
            enum tls_verdict verdict = judge(tls, result, why);
            return verdict == TLS_WANTS_INPUT ? TLS_WANTS_ROOM : verdict;
        }
        chain_consume(from, (uint32_t)result);
    }
    return TLS_DONE;
}

/* Both lives --------------------------------------------------------------------------------------------------- */

enum tls_verdict tls_read(struct tls *tls, struct queue *in, uint64_t stop, struct tls_room *room, char why[160])
{
    MUST_BE(tls, TLS_MAGIC);
    if (tls->failed)
        return failed(tls, "the session has failed", why);
    if (tls->peer_closed)
        return TLS_CLOSED;
    tls->room = room;
    enum tls_verdict verdict = tls->own_records ? tls_own_read(tls, in, stop, why) : read_by_library(tls, in, stop, why);
    tls->room = NULL;
    return verdict;
}

enum tls_verdict tls_write(struct tls *tls, struct chain *from, struct tls_room *room)
{
    MUST_BE(tls, TLS_MAGIC);
    if (tls->failed)
        return TLS_REFUSED;
    tls->room = room;
    enum tls_verdict verdict = tls->own_records ? tls_own_write(tls, from) : write_by_library(tls, from);
    tls->room = NULL;
    return verdict;
}

bool tls_close(struct tls *tls, struct tls_room *room)
{
    MUST_BE(tls, TLS_MAGIC);
    if (tls->close_sent || tls->failed || !tls->open)
        return true;
    if (chain_room(&tls->out) < 2)
        return false;
    tls->room = room;
    tls->close_sent = true;
    if (tls->own_records)
        tls_own_alert(tls, TLS_CLOSE_NOTIFY);
    else
        (void)wolfSSL_shutdown(library_of(tls));
    tls->room = NULL;
    return true;
}

struct slice tls_plain_alert(enum tls_alert alert, char record[7])
{
    static const char head[5] = { TLS_ALERT, 3, 3, 0, 2 };
    memcpy(record, head, sizeof head);
    record[5] = 2; /* fatal */
    record[6] = (char)alert;
    return slice_of(record, 7);
}

struct tls_session *tls_session_take(struct tls *tls)
{
    WOLFSSL_SESSION *session = tls->library && tls->open ? wolfSSL_get1_session(library_of(tls)) : NULL;
    if (session && wolfSSL_SESSION_is_resumable(session))
        return (struct tls_session *)session;
    wolfSSL_SESSION_free(session);
    return NULL;
}

void tls_session_free(struct tls_session *session)
{
    wolfSSL_SESSION_free((WOLFSSL_SESSION *)session);
}

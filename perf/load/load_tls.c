/*
 * load_tls: see the header.
 *
 * OpenSSL reads and writes through a BIO of our own. Sockets are edge-triggered, so a read that came back short has emptied the
 * socket and the next one would only be told EAGAIN; the BIO remembers that and asks the kernel again after the next event. With
 * read-ahead a small answer then costs one recv, where OpenSSL's own socket BIO takes three: the load's core should not be the
 * one that is full.
 *
 * A connection whose answer is complete is left to the proxy to close. After close_notify the end of the TCP stream is still
 * waited for, as in plain cases: whoever closes first keeps the port in TIME_WAIT, and the client's ports are few.
 */
#include "load_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#define BULK_READ_BYTES (128u * 1024)
#define CIPHER "TLS_AES_128_GCM_SHA256"
#define GROUP "X25519"

struct tls {
    SSL *ssl;             /* NULL between connections */
    SSL_SESSION *session; /* the newest ticket and its secret; NULL: none came yet, or none is wanted */
    int fd;
    bool agreed;  /* the handshake is done */
    bool drained; /* the socket held nothing more when it was last read */
    bool ending;  /* the last event said that the peer has closed */
    bool told;    /* close_notify has come */
};

struct tls_counts tls_counts;

static SSL_CTX *context;
static BIO_METHOD *method;
static const char *server_name;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "load: TLS: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- the BIO --------------------------------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *bytes, int room)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (tls->drained) {
        BIO_set_retry_read(bio);
        return -1;
    }
    n = recv(tls->fd, bytes, (size_t)room, 0);
    tls->drained = n < room && !tls->ending;
    if (n < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int count)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t n = send(tls->fd, bytes, (size_t)count, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (n < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    return (int)n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* ---- the context ----------------------------------------------------------------------------------------------------- */

/* OpenSSL hands us a reference: ours from here on. */
static int session_came(SSL *ssl, SSL_SESSION *session)
{
    struct tls *tls = SSL_get_app_data(ssl);

    SSL_SESSION_free(tls->session);
    tls->session = session;
    return 1;
}

/* SSL_VERIFY_NONE would build and check the chain all the same, and only then not mind. */
static int certificate_accept(X509_STORE_CTX *chain, void *pointer)
{
    (void)chain;
    (void)pointer;
    return 1;
}

void tls_init(const char *host, bool resume, bool bulk)
{
    static const unsigned char alpn[] = "\x08http/1.1";

    server_name = host;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "load");
    context = SSL_CTX_new(TLS_client_method());
    if (!method || !context || !BIO_meth_set_read(method, bio_read) || !BIO_meth_set_write(method, bio_write) ||
        !BIO_meth_set_ctrl(method, bio_control) || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(context, CIPHER) || !SSL_CTX_set1_groups_list(context, GROUP) ||
        SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn - 1) != 0)
        die("no context");
    SSL_CTX_set_cert_verify_callback(context, certificate_accept, NULL);
    SSL_CTX_set_quiet_shutdown(context, 1);
    SSL_CTX_set_read_ahead(context, 1);
    if (bulk)
        SSL_CTX_set_default_read_buffer_len(context, BULK_READ_BYTES);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, session_came);
    }
}

/* ---- connections ----------------------------------------------------------------------------------------------------- */

struct tls *tls_new(void)
{
    struct tls *tls = calloc(1, sizeof *tls);

    if (!tls)
        die("out of memory");
    return tls;
}

void tls_open(struct tls *tls, int fd)
{
    BIO *bio = BIO_new(method);

    tls->ssl = SSL_new(context);
    if (!tls->ssl || !bio || !SSL_set_tlsext_host_name(tls->ssl, server_name) ||
        (tls->session && !SSL_set_session(tls->ssl, tls->session)))
        die("no connection");
    tls->fd = fd;
    tls->agreed = tls->ending = tls->told = false;
    tls->drained = true; /* nothing can have come before our hello */
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_connect_state(tls->ssl);
}

void tls_close(struct tls *tls)
{
    if (!tls->ssl)
        return;
    SSL_shutdown(tls->ssl); /* quiet: sends nothing, but a session freed without it may not be resumed */
    SSL_free(tls->ssl);
    tls->ssl = NULL;
    ERR_clear_error(); /* SSL_get_error looks at the queue, which all connections share */
}

void tls_event(struct tls *tls, bool ending)
{
    tls->drained = false;
    tls->ending = ending;
}

/* What SSL_* returned when it did nothing, as recv and send would say it. */
static ssize_t outcome(struct tls *tls, int returned)
{
    static unsigned complaints;
    int saved = errno, error = SSL_get_error(tls->ssl, returned);
    unsigned long reason = ERR_peek_error();

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (error == SSL_ERROR_SSL && ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        tls_counts.unannounced++;
        return 0;
    }
    if (error == SSL_ERROR_SSL && complaints++ < 3)
        fprintf(stderr, "load: TLS: %s\n", reason ? ERR_reason_error_string(reason) : "failed");
    ERR_clear_error();
    errno = error == SSL_ERROR_SYSCALL && saved && saved != EAGAIN ? saved : EPROTO;
    return -1;
}

ssize_t tls_send(struct tls *tls, const void *bytes, size_t count)
{
    int n;

    if (!tls->agreed) {
        n = SSL_do_handshake(tls->ssl);
        if (n != 1)
            return outcome(tls, n);
        tls->agreed = true;
        tls_counts.handshakes++;
        tls_counts.resumed += SSL_session_reused(tls->ssl) == 1;
    }
    n = SSL_write(tls->ssl, bytes, (int)count);
    return n > 0 ? n : outcome(tls, n);
}

ssize_t tls_receive(struct tls *tls, void *bytes, size_t room)
{
    int n;

    if (!tls->told) {
        n = SSL_read(tls->ssl, bytes, (int)room);
        if (n > 0 || SSL_get_error(tls->ssl, n) != SSL_ERROR_ZERO_RETURN)
            return n > 0 ? n : outcome(tls, n);
        tls->told = true;
    }
    return recv(tls->fd, bytes, room, 0);
}

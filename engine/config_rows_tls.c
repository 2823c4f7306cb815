/* The keys of TLS: a listener's, a pool's, and the process's. */
#include "engine/config_decode.h"
#include "engine/config_rows.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

static const struct row_word version_words[] = { { "1.2", true }, { "1.3", false }, { NULL, 0 } };

/* IANA's names and numbers; in the order in which they are preferred. Others are not spoken. */
static const struct row_word cipher_words[] = {
    { "TLS_AES_128_GCM_SHA256", 0x1301 },
    { "TLS_AES_256_GCM_SHA384", 0x1302 },
    { "TLS_CHACHA20_POLY1305_SHA256", 0x1303 },
    { "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b },
    { "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f },
    { "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c },
    { "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030 },
    { "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9 },
    { "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8 },
    { NULL, 0 },
};
static const struct row_word group_words[] = { { "X25519", 29 }, { "P-256", 23 }, { "P-384", 24 }, { NULL, 0 } };

/* Certificates ---------------------------------------------------------------------------------------------------- */

#define CHAIN_ROW                                                                                                      \
    { .word = "chain", .type = TYPE_TEXT, MEMBER(config_certificate, chain), .check = value_check_file,                \
      .required = true, .example = "chain: /etc/weir/site.crt",                                                        \
      .doc = "A PEM file: the certificate, then its issuer's, and so on." }
#define KEY_ROW                                                                                                        \
    { .word = "key", .type = TYPE_TEXT, MEMBER(config_certificate, key), .check = value_check_file, .required = true,  \
      .example = "key: /etc/weir/site.key", .doc = "A PEM file with the certificate's private key, without passphrase." }

static const struct row certificate_rows[] = {
    CHAIN_ROW,
    KEY_ROW,
    { .word = "names", .type = TYPE_SERVER_NAMES, MEMBER(config_certificate, names), LENGTH_AT(config_certificate, name_count),
      .check = value_check_certificate_name, .least = 1, .most = 1000,
      .doc = "Names that clients get this certificate for: www.example.com, or *.example.com for every name one label below. "
             "Otherwise those that the certificate itself is for." },
    { .word = "ocsp", .type = TYPE_TEXT, MEMBER(config_certificate, ocsp), .check = value_check_file,
      .doc = "A file with an OCSP response for this certificate in DER form, as openssl ocsp -respout writes it: clients that ask get it with the "
             "certificate (stapling), until its nextUpdate." },
};
const struct section section_certificate = {
    .noun = "certificate", SECTION(config_certificate, certificate_rows),
    .doc = "A certificate with its key. For one name there may be an ECDSA and an RSA certificate; clients that can get the first. The "
           "files are read anew by each reload.",
};

/* Listeners ------------------------------------------------------------------------------------------------------- */

static const struct row_word client_words[] = { { "optional", TLS_CLIENT_OPTIONAL }, { "required", TLS_CLIENT_REQUIRED }, { NULL, 0 } };

static bool client_certificate_present(const void *target)
{
    return ((const struct config_client_certificate *)target)->mode != TLS_CLIENT_ANY;
}
static const struct row client_certificate_rows[] = {
    { .word = "mode", .type = TYPE_WORD, MEMBER(config_client_certificate, mode), .words = client_words, .usual = "required",
      .doc = "required: without a good certificate there is no connection. optional: with none there is; a bad one still ends it." },
    { .word = "ca", .type = TYPE_TEXT, MEMBER(config_client_certificate, ca), .check = value_check_file, .required = true,
      .example = "ca: /etc/weir/clients.crt", .doc = "A PEM file: the authorities that clients' certificates must come from." },
};
static const struct section section_client_certificate = {
    .noun = "section 'client-certificate'", SECTION(config_client_certificate, client_certificate_rows), .is_present = client_certificate_present,
    .doc = "Asks clients for certificates. Origins are told in X-Client-Verify (SUCCESS or NONE), X-Client-Subject and "
           "X-Client-Fingerprint. Sessions of such a listener are not resumed.",
};

static bool listener_tls_present(const void *target)
{
    return ((const struct config_listener_tls *)target)->certificate_count != 0;
}
static const struct row listener_tls_rows[] = {
    { .word = "certificates", .type = TYPE_LIST, MEMBER(config_listener_tls, certificates), LENGTH_AT(config_listener_tls, certificate_count),
      .section = &section_certificate, .required = true, .least = 1, .most = 4096,
      .example = "certificates: [ { chain: /etc/weir/site.crt, key: /etc/weir/site.key } ]",
      .doc = "Which certificates there are. A client is shown the one for the name it asks for, else the first." },
    { .word = "min-version", .type = TYPE_WORD, MEMBER(config_listener_tls, tls12), .words = version_words, .usual = "1.2",
      .doc = "The oldest version of TLS that is spoken." },
    { .word = "ciphers", .type = TYPE_WORDS, MEMBER(config_listener_tls, ciphers), .words = cipher_words, .usual = "all",
      .doc = "Which ciphers, the preferred first, by IANA's names. all: those listed here, in this order." },
    { .word = "groups", .type = TYPE_WORDS, MEMBER(config_listener_tls, groups), .words = group_words, .usual = "all",
      .doc = "Which groups for the key exchange, the preferred first. all: those listed here, in this order." },
    { .word = "client-certificate", .type = TYPE_SECTION, MEMBER(config_listener_tls, client), .section = &section_client_certificate },
    { .word = "tickets", .type = TYPE_FLAG, MEMBER(config_listener_tls, tickets), .usual = "true",
      .doc = "Gives clients tickets to resume their session with, on any worker." },
    { .word = "early-data", .type = TYPE_SIZE, MEMBER(config_listener_tls, early_data_bytes_max), .least = 1, .most = 65536, .usual = "off",
      .zero = "off",
      .doc = "How much a client that resumes may send before the handshake ends (TLS 1.3). Such a request may be a replay: origins see "
             "Early-Data: 1 (RFC 8470)." },
    { .word = "strict-names", .type = TYPE_FLAG, MEMBER(config_listener_tls, strict_names), .usual = "false",
      .doc = "Refuses clients that ask for a name no certificate is for, or for none, instead of showing the first certificate." },
    { .word = "hsts", .type = TYPE_DURATION, MEMBER(config_listener_tls, hsts_ms), .least = SECOND_MS, .most = 3650 * DAY_MS, .usual = "off",
      .zero = "off", .doc = "Adds Strict-Transport-Security with this max-age to every response (RFC 6797)." },
};
const struct section section_listener_tls = {
    .noun = "section 'tls'", SECTION(config_listener_tls, listener_tls_rows), .is_present = listener_tls_present, .finish = finish_listener_tls,
    .doc = "Speaks TLS on this listener.",
};

/* Pools ----------------------------------------------------------------------------------------------------------- */

static bool own_certificate_present(const void *target)
{
    return ((const struct config_certificate *)target)->chain.length != 0;
}
static const struct row own_certificate_rows[] = { CHAIN_ROW, KEY_ROW };
static const struct section section_own_certificate = {
    .noun = "certificate", SECTION(config_certificate, own_certificate_rows), .is_present = own_certificate_present,
    .doc = "What is shown to origins that ask for a certificate.",
};

static bool pool_tls_present(const void *target)
{
    return ((const struct config_pool_tls *)target)->on;
}
static const struct row pool_tls_rows[] = {
    { .word = "verify", .type = TYPE_FLAG, MEMBER(config_pool_tls, verify), .usual = "true",
      .doc = "Origins must show a certificate for their name from a known authority. false: whoever answers is believed." },
    { .word = "ca", .type = TYPE_TEXT, MEMBER(config_pool_tls, ca), .check = value_check_file, .usual = "system", .zero = "system",
      .doc = "A PEM file: the authorities that are known. system: those of the operating system." },
    { .word = "server-name", .type = TYPE_TEXT, MEMBER(config_pool_tls, server_name), .check = value_check_server_name,
      .doc = "The name that is asked for and that the certificate must be for. Otherwise the host of the server's address." },
    { .word = "certificate", .type = TYPE_SECTION, MEMBER(config_pool_tls, certificate), .section = &section_own_certificate },
    { .word = "min-version", .type = TYPE_WORD, MEMBER(config_pool_tls, tls12), .words = version_words, .usual = "1.2",
      .doc = "The oldest version of TLS that is spoken." },
};
const struct section section_pool_tls = {
    .noun = "tls", SECTION(config_pool_tls, pool_tls_rows), .is_present = pool_tls_present, .finish = finish_pool_tls,
    .doc = "Speaks TLS with the origins; {} suffices.",
};

/* The process ----------------------------------------------------------------------------------------------------- */

static const struct row tls_rows[] = {
    { .word = "ticket-keys", .type = TYPE_TEXT, MEMBER(config_tls, ticket_keys), .check = value_check_file, .usual = "random", .zero = "random",
      .doc = "A file with up to four keys of 48 bytes, raw or a line of Base64 each, for several engines that share their clients. The first "
             "seals tickets, all open them; a reload reads it anew. random: keys of the engine's own, turned twice in a ticket-lifetime." },
    { .word = "ticket-lifetime", .type = TYPE_DURATION, MEMBER(config_tls, ticket_lifetime_ms), .least = SECOND_MS, .most = 7 * DAY_MS,
      .usual = "24h", .doc = "How long a session may be resumed." },
};
const struct section section_tls = {
    .noun = "tls", SECTION(config_tls, tls_rows), .always = true, .doc = "TLS of all listeners.",
};

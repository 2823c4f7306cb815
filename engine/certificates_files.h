/*
 * certificates_files: reading the files of TLS, with reasons; for certificates*.c only.
 */
#ifndef WEIR_CERTIFICATES_FILES_H
#define WEIR_CERTIFICATES_FILES_H

#include "engine/certificates.h"
#include "engine/file.h"
#include "proto/tls_ocsp.h"

/* One of a listener's; context: NULL while it is only looked at. */
struct certificate {
    const struct config_certificate *from;
    struct tls_facts facts;
    struct tls_response response; /* if there is from->ocsp */
    struct tls_context *context;
};
/* Those of the configuration, else its own. */
static inline uint32_t certificate_name_count(const struct certificate *certificate)
{
    return certificate->from->name_count ? certificate->from->name_count : certificate->facts.name_count;
}
static inline struct slice certificate_name(const struct certificate *certificate, uint32_t i)
{
    return certificate->from->name_count ? certificate->from->names[i] : slice_of_text(certificate->facts.names[i]);
}
const struct certificate *listener_tls_certificates(const struct listener_tls *tls, uint32_t *count);

struct certificate_files {
    struct file chain, key;
    struct file ocsp; /* empty: none is wanted */
    struct tls_response response;
};

/* The files and what they say; they fit each other. False: why, and nothing is left to be released. */
bool must_use certificate_files_read(const struct config_certificate *from, struct certificate_files *files, struct tls_facts *facts, char why[256]);
void certificate_files_release(struct certificate_files *files);

/* path empty: the system's. */
bool must_use authorities_read(struct slice path, struct file *file, char why[256]);
/* Of clients: none of them may be unusable. */
bool must_use client_authorities_read(struct slice path, struct file *file, char why[256]);

/* What cookies are signed with: 16 to 4096 bytes, as they stand in the file. */
bool must_use secret_read(struct slice path, struct file *file, char why[256]);

/* Whether a certificate's dates are well, with the predicate of a sentence: "expires in 9 days", "expired 3 days ago". */
enum dates { DATES_WELL, DATES_SOON, DATES_PAST, DATES_EARLY };
enum dates certificate_dates(const struct tls_facts *facts, int64_t now, char words[128]);

/* The same for an OCSP response, and whether it is sent; EARLY: not yet. PAST, too, where it says nothing good of the certificate. */
enum dates response_dates(const struct tls_response *response, int64_t now, char words[128]);
bool response_is_sent(const struct tls_response *response, int64_t now);

/* Whole days that are left, rounded down: negative once it has expired. */
int64_t certificate_days_left(const struct tls_facts *facts, int64_t now);

#endif

#include "engine/self_signed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/certificates_files.h"
#include "proto/tls_context.h"

#define DAY_S 86400
#define VALID_DAYS 365

static bool is_good(const char *chain_path, const char *key_path)
{
    struct config_certificate from = { .chain = slice_of_text(chain_path), .key = slice_of_text(key_path) };
    struct certificate_files files;
    struct tls_facts facts;
    char why[256];
    if (access(key_path, R_OK) < 0 || !certificate_files_read(&from, &files, &facts, why))
        return false;
    bool lasts = facts.not_after > time(NULL) + DAY_S;
    tls_facts_release(&facts);
    certificate_files_release(&files);
    return lasts;
}

/* Under another name first, so that nobody finds half of it. */
static bool write_file(const char *path, const char *text, mode_t mode)
{
    char fresh[4096];
    size_t length = strlen(text);
    if (snprintf(fresh, sizeof fresh, "%s.%d", path, (int)getpid()) >= (int)sizeof fresh)
        return errno = ENAMETOOLONG, false;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return false;
    bool written = write(fd, text, length) == (ssize_t)length;
    bool closed = close(fd) == 0;
    if (written && closed && rename(fresh, path) == 0)
        return true;
    int error = errno;
    unlink(fresh);
    errno = error;
    return false;
}

enum err self_signed_ensure(const char *chain_path, const char *key_path)
{
    char *chain, *key;
    int64_t now = time(NULL);
    enum err e = tls_library_start();
    if (e != ERR_OK || is_good(chain_path, key_path))
        return e;
    e = tls_make_self_signed("localhost", now - 3600, now + VALID_DAYS * (int64_t)DAY_S, &chain, &key);
    if (e != ERR_OK)
        return e;
    if (!write_file(key_path, key, 0600) || !write_file(chain_path, chain, 0644))
        e = ERR_SYSTEM;
    explicit_bzero(key, strlen(key));
    free(chain);
    free(key);
    return e;
}

#include "engine/certificates_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base64.h"

#define DAY_S 86400
#define SECRET_BYTES_MIN 16u
#define SECRET_BYTES_MAX 4096u
#define KEYS_FILE_BYTES_MAX 4096u

/* Where systems keep the authorities they trust: Debian, Fedora, Alpine. */
static const char *const system_authorities[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem" };

/* Files ---------------------------------------------------------------------------------------------------------- */

bool authorities_read(struct slice path, struct file *file, char why[256])
{
    if (path.length)
        return file_read("authorities", path, AUTHORITIES_BYTES_MAX, file, why);
    for (size_t i = 0; i < ARRAY_LENGTH(system_authorities); i++)
        if (!file_read_path(system_authorities[i], AUTHORITIES_BYTES_MAX, file))
            return true;
    snprintf(why, 256, "the system's authorities are not found (\"%s\" and others): name a file with 'ca'", system_authorities[0]);
    return false;
}

bool client_authorities_read(struct slice path, struct file *file, char why[256])
{
    char reason[256];
    if (!authorities_read(path, file, why))
        return false;
    if (tls_authorities_are_well(file_slice(file), reason))
        return true;
    file_complain(why, "authorities", path, reason);
    file_release(file);
    return false;
}

/* Certificates --------------------------------------------------------------------------------------------------- */

/* First the chain alone, so that a complaint is about the file that it is about. */
static bool look_at(const struct config_certificate *from, const struct certificate_files *files, struct tls_facts *facts, char why[256])
{
    char reason[256];
    struct tls_facts again;
    if (tls_facts_read(file_slice(&files->chain), SLICE_NONE, facts, reason) != ERR_OK) {
        file_complain(why, "certificate", from->chain, reason);
        return false;
    }
    if (tls_facts_read(file_slice(&files->chain), file_slice(&files->key), &again, reason) != ERR_OK) {
        file_complain(why, "key", from->key, reason);
        tls_facts_release(facts);
        return false;
    }
    tls_facts_release(&again);
    return true;
}

static bool read_response(const struct config_certificate *from, struct certificate_files *files, char why[256])
{
    char reason[256];
    if (from->ocsp.length == 0)
        return true;
    if (!file_read("OCSP response", from->ocsp, OCSP_BYTES_MAX, &files->ocsp, why))
        return false;
    if (tls_response_read(file_slice(&files->ocsp), file_slice(&files->chain), &files->response, reason) == ERR_OK)
        return true;
    file_complain(why, "OCSP response", from->ocsp, reason);
    return false;
}

bool certificate_files_read(const struct config_certificate *from, struct certificate_files *files, struct tls_facts *facts, char why[256])
{
    *files = (struct certificate_files){ 0 };
    *facts = (struct tls_facts){ 0 };
    if (file_read("certificate", from->chain, CERTIFICATE_BYTES_MAX, &files->chain, why) &&
        file_read("key", from->key, CERTIFICATE_BYTES_MAX, &files->key, why) && look_at(from, files, facts, why) && read_response(from, files, why))
        return true;
    int error = errno;
    tls_facts_release(facts);
    certificate_files_release(files);
    errno = error;
    return false;
}

void certificate_files_release(struct certificate_files *files)
{
    file_release(&files->chain);
    file_release(&files->key);
    file_release(&files->ocsp);
}

/* Dates ---------------------------------------------------------------------------------------------------------- */

static int64_t whole_days(int64_t seconds)
{
    return seconds >= 0 ? seconds / DAY_S : -((-seconds + DAY_S - 1) / DAY_S);
}

int64_t certificate_days_left(const struct tls_facts *facts, int64_t now)
{
    return whole_days(facts->not_after - now);
}

static const char *days_word(int64_t days)
{
    return days == 1 ? "day" : "days";
}

enum dates certificate_dates(const struct tls_facts *facts, int64_t now, char words[128])
{
    int64_t left = certificate_days_left(facts, now);
    words[0] = '\0';
    if (now < facts->not_before) {
        int64_t days = whole_days(facts->not_before - now + DAY_S - 1);
        snprintf(words, 128, "is not valid yet, but in %lld %s", (long long)days, days_word(days));
        return DATES_EARLY;
    }
    if (now > facts->not_after) {
        int64_t days = whole_days(now - facts->not_after);
        snprintf(words, 128, "has expired, %lld %s ago", (long long)days, days_word(days));
        return DATES_PAST;
    }
    if (left >= EXPIRY_WARNING_DAYS)
        return DATES_WELL;
    snprintf(words, 128, "expires in %lld %s", (long long)left, days_word(left));
    return DATES_SOON;
}

/* Of OCSP responses: they live for days, or for hours. */
#define HOUR_S 3600
#define CLOCKS_APART_S 60

static void span_text(int64_t seconds, char out[32])
{
    bool days = seconds >= 2 * DAY_S;
    long long count = seconds / (days ? DAY_S : HOUR_S);
    if (count)
        snprintf(out, 32, "%lld %s%s", count, days ? "day" : "hour", count == 1 ? "" : "s");
    else
        snprintf(out, 32, "less than an hour");
}

enum dates response_dates(const struct tls_response *response, int64_t now, char words[128])
{
    char span[32];
    int64_t left = response->until - now, life = response->until - response->from;
    words[0] = '\0';
    if (response->status != TLS_STATUS_GOOD) {
        snprintf(words, 128, "says that the certificate is %s, and is not sent", response->status == TLS_STATUS_REVOKED ? "revoked" : "unknown to the responder");
        return DATES_PAST;
    }
    if (left <= 0) {
        span_text(-left, span);
        snprintf(words, 128, "has been stale for %s, and is not sent", span);
        return DATES_PAST;
    }
    if (now + CLOCKS_APART_S < response->from) {
        span_text(response->from - now, span);
        snprintf(words, 128, "is not valid yet, but in %s, and is not sent until then", span);
        return DATES_EARLY;
    }
    if (left > life / 4)
        return DATES_WELL;
    span_text(left, span);
    snprintf(words, 128, "is stale in %s", span);
    return DATES_SOON;
}

bool response_is_sent(const struct tls_response *response, int64_t now)
{
    char words[128];
    enum dates dates = response_dates(response, now, words);
    return dates == DATES_WELL || dates == DATES_SOON;
}

/* Ticket keys ---------------------------------------------------------------------------------------------------- */

/* Of either alphabet. */
static int sextet(char c)
{
    return base64_value(c == '-' ? '+' : c == '_' ? '/' : c);
}

/* 64 characters are 48 bytes exactly, without padding (RFC 4648 4 and 5). */
static bool decode_line(struct slice line, uint8_t key[TLS_TICKET_KEY_BYTES])
{
    if (line.length != TLS_TICKET_KEY_BYTES / 3 * 4)
        return false;
    for (size_t i = 0; i < line.length; i += 4) {
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            int value = sextet(line.at[i + j]);
            if (value < 0)
                return false;
            bits = bits << 6 | (uint32_t)value;
        }
        *key++ = (uint8_t)(bits >> 16);
        *key++ = (uint8_t)(bits >> 8);
        *key++ = (uint8_t)bits;
    }
    return true;
}

static const char *decode_lines(struct slice rest, struct ticket_keys_file *keys)
{
    while (rest.length) {
        const char *end = memchr(rest.at, '\n', rest.length);
        size_t length = end ? (size_t)(end - rest.at) : rest.length, used = end ? length + 1 : length;
        struct slice line = slice_of(rest.at, length);
        if (line.length && line.at[line.length - 1] == '\r')
            line.length--;
        rest = slice_of(rest.at + used, rest.length - used);
        if (line.length == 0)
            continue;
        if (keys->count == TLS_TICKET_KEYS_MAX)
            return "it has more than 4 keys";
        if (!decode_line(line, keys->list[keys->count]))
            return "a key is 48 bytes, raw or as a line of 64 characters of Base64";
        keys->count++;
    }
    return keys->count ? NULL : "it has no key";
}

/* No number of lines has the length of a number of raw keys. */
static const char *decode_keys(struct slice bytes, struct ticket_keys_file *keys)
{
    if (bytes.length % TLS_TICKET_KEY_BYTES != 0 || bytes.length > sizeof keys->list)
        return decode_lines(bytes, keys);
    memcpy(keys->list, bytes.at, bytes.length);
    keys->count = (uint32_t)(bytes.length / TLS_TICKET_KEY_BYTES);
    return NULL;
}

bool secret_read(struct slice path, struct file *file, char why[256])
{
    if (!file_read("secret", path, SECRET_BYTES_MAX, file, why))
        return false;
    if (file->length >= SECRET_BYTES_MIN)
        return true;
    file_release(file);
    file_complain(why, "secret", path, "16 bytes are the least");
    return false;
}

bool ticket_keys_read(struct slice path, struct ticket_keys_file *keys, char why[256])
{
    struct file file;
    *keys = (struct ticket_keys_file){ 0 };
    if (!file_read("ticket keys", path, KEYS_FILE_BYTES_MAX, &file, why))
        return false;
    const char *complaint = decode_keys(file_slice(&file), keys);
    file_release(&file);
    if (complaint)
        file_complain(why, "ticket keys", path, complaint);
    return !complaint;
}

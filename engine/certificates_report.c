/* What people are told of certificates: by `weir check`, which only looks at the files, and by `weir certs`, which asks the engine. */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/text.h"
#include "engine/certificates_files.h"
#include "engine/config_problem.h"
#include "engine/generation.h"
#include "engine/passwords.h"

/* Looking at files ----------------------------------------------------------------------------------------------- */

struct look {
    struct reporter reporter;
    int64_t now;
};

static const struct place nowhere = { 0 };

static void complain(struct look *look, const char *why)
{
    problem_error(&look->reporter, nowhere, "%s", why);
}

static void look_at_mode(struct look *look, struct slice path)
{
    char name[1100];
    struct stat facts;
    snprintf(name, sizeof name, "%.*s", (int)path.length, path.at);
    if (stat(name, &facts) < 0 || !(facts.st_mode & 0066))
        return;
    struct config_problem *problem =
        problem_warning(&look->reporter, nowhere, "key '%.*s' can be read or written by others than its owner (mode %04o)",
                        (int)size_min(path.length, 150), path.at, (unsigned)facts.st_mode & 07777);
    problem_help(problem, "chmod 600");
}

static void look_at_dates(struct look *look, struct slice chain, const struct tls_facts *facts)
{
    char words[128];
    enum dates dates = certificate_dates(facts, look->now, words);
    int length = (int)size_min(chain.length, 150);
    if (dates == DATES_SOON)
        problem_warning(&look->reporter, nowhere, "certificate '%.*s' %s", length, chain.at, words);
    else if (dates != DATES_WELL)
        problem_error(&look->reporter, nowhere, "certificate '%.*s' %s", length, chain.at, words);
}

static void look_at_response(struct look *look, const struct config_certificate *from, const struct certificate_files *files, const struct tls_facts *facts)
{
    char words[128];
    int length = (int)size_min(from->ocsp.length, 150);
    if (from->ocsp.length && response_dates(&files->response, look->now, words) != DATES_WELL)
        problem_help(problem_warning(&look->reporter, nowhere, "OCSP response '%.*s' %s", length, from->ocsp.at, words), "fetch a new one, then weir reload");
    if (from->ocsp.length == 0 && facts->must_staple)
        problem_help(problem_warning(&look->reporter, nowhere, "certificate '%.*s' wants to be shown with an OCSP response (must-staple), and has none",
                                     (int)size_min(from->chain.length, 150), from->chain.at),
                     "name a file with 'ocsp'");
}

/* served: to clients, not to origins. */
static void look_at_certificate(struct look *look, const struct config_certificate *from, bool served)
{
    char why[256];
    struct certificate_files files;
    struct tls_facts facts;
    if (!certificate_files_read(from, &files, &facts, why)) {
        complain(look, why);
        return;
    }
    look_at_dates(look, from->chain, &facts);
    look_at_mode(look, from->key);
    if (served)
        look_at_response(look, from, &files, &facts);
    tls_facts_release(&facts);
    certificate_files_release(&files);
}

static void look_at_authorities(struct look *look, struct slice path)
{
    char why[256], reason[256];
    struct file file;
    if (!authorities_read(path, &file, why)) {
        complain(look, why);
        return;
    }
    struct tls_client_options options = { .verify = true, .ca = file_slice(&file), .tls12 = true };
    struct tls_context *context = tls_context_client(&options, reason);
    if (!context) {
        file_complain(why, "authorities", path.length ? path : SLICE("system"), reason);
        complain(look, why);
    }
    tls_context_unref(context);
    file_release(&file);
}

static void look_at_client_authorities(struct look *look, struct slice path)
{
    char why[256];
    struct file file;
    if (!client_authorities_read(path, &file, why))
        complain(look, why);
    else
        file_release(&file);
}

static void look_at_ticket_keys(struct look *look, struct slice path)
{
    char why[256];
    struct ticket_keys_file keys;
    if (ticket_keys_read(path, &keys, why))
        look_at_mode(look, path);
    else
        complain(look, why);
    explicit_bzero(&keys, sizeof keys);
}

static void look_at_secret(struct look *look, struct slice path)
{
    char why[256];
    struct file file;
    if (!secret_read(path, &file, why)) {
        complain(look, why);
        return;
    }
    look_at_mode(look, path);
    file_release(&file);
}

static void look_at_users(struct look *look, struct slice path)
{
    char why[256];
    struct passwords *users = passwords_read(path, NULL, why);
    if (!users)
        complain(look, why);
    passwords_unref(users);
}

void config_check_files(const struct config *config, int64_t now, struct config_problems *problems)
{
    struct look look = { .reporter.problems = problems, .now = now };
    if (tls_library_start() != ERR_OK) {
        complain(&look, "the TLS library does not start");
        return;
    }
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct config_listener_tls *tls = &config->listeners[i].tls;
        for (uint32_t c = 0; c < tls->certificate_count; c++)
            look_at_certificate(&look, &tls->certificates[c], true);
        if (tls->client.mode != TLS_CLIENT_ANY)
            look_at_client_authorities(&look, tls->client.ca);
    }
    for (uint32_t p = 0; p < config->pool_count; p++) {
        const struct config_pool_tls *tls = &config->pools[p].tls;
        if (tls->on && tls->verify)
            look_at_authorities(&look, tls->ca);
        if (tls->on && tls->certificate.chain.length)
            look_at_certificate(&look, &tls->certificate, false);
        if (config->pools[p].sticky.secret.length)
            look_at_secret(&look, config->pools[p].sticky.secret);
    }
    if (config->forward.users.length)
        look_at_users(&look, config->forward.users);
    if (config->tls.ticket_keys.length)
        look_at_ticket_keys(&look, config->tls.ticket_keys);
    tls_library_end();
}

#define NAMES_WIDTH_MAX 64

/* Listing -------------------------------------------------------------------------------------------------------- */

struct lister {
    int64_t now;
    struct text *text, *json;
    uint32_t count;
};

static void date_text(int64_t seconds, char out[32])
{
    struct tm parts;
    time_t when = (time_t)seconds;
    if (!gmtime_r(&when, &parts) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, 32, "?");
}

/* A few of them, and how many more there are. Answers how long that is. */
static int put_names(const struct certificate *certificate, int width, struct text *text)
{
    uint32_t count = certificate_name_count(certificate), shown = count > 4 ? 3 : count;
    struct text names = { 0 };
    for (uint32_t i = 0; i < shown; i++) {
        struct slice name = certificate_name(certificate, i);
        text_format(&names, "%s%.*s", i ? "," : "", (int)name.length, name.at);
    }
    if (shown < count)
        text_format(&names, ",+%u", count - shown);
    text_format(text, "%-*s", width, names.length ? names.at : "-");
    int length = (int)names.length;
    text->failed |= names.failed;
    text_release(&names);
    return length;
}

static void put_response_line(struct lister *lister, const struct certificate *certificate)
{
    char until[32];
    struct slice ocsp = certificate->from->ocsp;
    if (ocsp.length == 0)
        return;
    date_text(certificate->response.until, until);
    text_format(lister->text, "    OCSP response until %s%s  %.*s\n", until, response_is_sent(&certificate->response, lister->now) ? "" : ", not sent",
                (int)ocsp.length, ocsp.at);
}

static void put_line(struct lister *lister, const struct certificate *certificate, int width)
{
    const struct tls_facts *facts = &certificate->facts;
    struct slice chain = certificate->from->chain;
    char until[32], kind[16];
    date_text(facts->not_after, until);
    snprintf(kind, sizeof kind, "%s-%u", facts->kind == TLS_KEY_ECDSA ? "ECDSA" : "RSA", facts->key_bits);
    text_add(lister->text, SLICE("  "));
    put_names(certificate, width, lister->text);
    text_format(lister->text, " %-9s %.10s %5lld  %.*s  %s\n", kind, until, (long long)certificate_days_left(facts, lister->now),
                (int)chain.length, chain.at, facts->fingerprint);
    put_response_line(lister, certificate);
}

static void put_string(struct text *json, const char *key, struct slice value)
{
    text_format(json, "\"%s\":", key);
    text_json_string(json, value);
    text_add(json, SLICE(","));
}

static void put_response(struct lister *lister, const struct certificate *certificate)
{
    static const char *const words[] = { [TLS_STATUS_GOOD] = "good", [TLS_STATUS_REVOKED] = "revoked", [TLS_STATUS_UNKNOWN] = "unknown" };
    const struct tls_response *response = &certificate->response;
    struct text *json = lister->json;
    char from[32], until[32];
    if (certificate->from->ocsp.length == 0) {
        text_add(json, SLICE("\"ocsp\":null,"));
        return;
    }
    date_text(response->from, from);
    date_text(response->until, until);
    text_add(json, SLICE("\"ocsp\":{"));
    put_string(json, "file", certificate->from->ocsp);
    put_string(json, "status", slice_of_text(words[response->status]));
    put_string(json, "this_update", slice_of_text(from));
    put_string(json, "next_update", slice_of_text(until));
    text_format(json, "\"sent\":%s},", response_is_sent(response, lister->now) ? "true" : "false");
}

static void put_object(struct lister *lister, const struct certificate *certificate, struct slice listener)
{
    const struct tls_facts *facts = &certificate->facts;
    struct text *json = lister->json;
    char from[32], until[32];
    date_text(facts->not_before, from);
    date_text(facts->not_after, until);
    text_add(json, lister->count ? SLICE(",{") : SLICE("{"));
    put_string(json, "listener", listener);
    text_add(json, SLICE("\"names\":["));
    for (uint32_t i = 0; i < certificate_name_count(certificate); i++) {
        text_add(json, i ? SLICE(",") : SLICE(""));
        text_json_string(json, certificate_name(certificate, i));
    }
    text_add(json, SLICE("],"));
    put_string(json, "kind", facts->kind == TLS_KEY_ECDSA ? SLICE("ECDSA") : SLICE("RSA"));
    text_format(json, "\"bits\":%u,", facts->key_bits);
    put_string(json, "not_before", slice_of_text(from));
    put_string(json, "not_after", slice_of_text(until));
    text_format(json, "\"days_left\":%lld,", (long long)certificate_days_left(facts, lister->now));
    put_string(json, "chain", certificate->from->chain);
    put_string(json, "key", certificate->from->key);
    put_response(lister, certificate);
    put_string(json, "subject", slice_of_text(facts->subject));
    put_string(json, "issuer", slice_of_text(facts->issuer));
    text_format(json, "\"chain_length\":%u,\"self_signed\":%s,\"fingerprint\":\"%s\"}", facts->chain_length, facts->self_signed ? "true" : "false",
                facts->fingerprint);
}

/* within_ms: UINT64_MAX lists all. */
static bool ends_within(const struct tls_facts *facts, int64_t now, uint64_t within_ms)
{
    return within_ms == UINT64_MAX || facts->not_after - now <= (int64_t)(within_ms / 1000);
}

static int names_width(const struct certificate *list, uint32_t count)
{
    int width = 5;
    for (uint32_t i = 0; i < count; i++) {
        struct text text = { 0 };
        int length = put_names(&list[i], 0, &text);
        width = length > width && length <= NAMES_WIDTH_MAX ? length : width;
        text_release(&text);
    }
    return width;
}

static void list_listener(struct lister *lister, const struct listener_tls *tls, struct slice name, uint64_t within_ms)
{
    uint32_t count, listed = 0;
    const struct certificate *list = listener_tls_certificates(tls, &count);
    int width = names_width(list, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!ends_within(&list[i].facts, lister->now, within_ms))
            continue;
        if (listed++ == 0)
            text_format(lister->text, "%s%.*s\n  %-*s %-9s %-10s %5s  %s\n", lister->count ? "\n" : "", (int)name.length, name.at, width, "NAMES", "KIND",
                        "UNTIL", "DAYS", "FILE, SHA-256");
        put_line(lister, &list[i], width);
        put_object(lister, &list[i], name);
        lister->count++;
    }
}

uint32_t certificates_report(const struct generation *generation, int64_t now, uint64_t within_ms, struct text *text, struct text *json)
{
    struct lister lister = { .now = now, .text = text, .json = json };
    text_add(json, SLICE("{\"certificates\":["));
    for (uint32_t i = 0; i < generation->config->listener_count; i++)
        list_listener(&lister, generation->listener_tls[i], generation->config->listeners[i].name, within_ms);
    text_add(json, SLICE("]}"));
    return lister.count;
}

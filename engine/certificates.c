/*
 * From files to contexts, and from a ClientHello to one of them.
 *
 * Reading is one path for three askers: a generation that is built, `weir check` (certificates_check.c), and the ticket keys. What is
 * read of a private key is wiped as soon as its context stands.
 */
#include "engine/certificates.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/base/text.h"
#include "engine/certificates_files.h"
#include "engine/generation.h"
#include "engine/log.h"

struct choice {
    struct tls_context *kinds[2]; /* by enum tls_key_kind; owned by the certificates */
};

struct listener_tls {
    uint32_t references;   /* generations; control thread only */
    struct config *config; /* what `from` and names point into, a reference */
    struct certificate *list;
    uint32_t count;
    struct choice *choices; /* one for each name */
    uint32_t choice_count;
    struct map names;           /* name -> struct choice; the keys stand in the configuration or in the facts */
    const struct choice *usual; /* for what none has */
    struct choice first;
    bool strict;
};

/* Choosing ------------------------------------------------------------------------------------------------------- */

static struct tls_context *pick(const struct choice *choice, const struct tls_hello *hello)
{
    struct tls_context *ecdsa = choice->kinds[TLS_KEY_ECDSA], *rsa = choice->kinds[TLS_KEY_RSA];
    if (ecdsa && hello->ecdsa)
        return ecdsa;
    if (rsa && hello->rsa)
        return rsa;
    return ecdsa ? ecdsa : rsa; /* the handshake will say that it does not fit */
}

static const struct choice *find_name(const struct listener_tls *tls, struct slice name)
{
    char wild[TLS_NAME_BYTES_MAX + 2];
    const struct choice *choice = map_find(&tls->names, name);
    const char *dot = choice ? NULL : memchr(name.at, '.', name.length);
    if (!dot || dot == name.at)
        return choice;
    size_t rest = name.length - (size_t)(dot - name.at);
    wild[0] = '*';
    memcpy(wild + 1, dot, rest);
    return map_find(&tls->names, slice_of(wild, rest + 1));
}

struct tls_context *listener_tls_choose(const struct listener_tls *tls, const struct tls_hello *hello)
{
    const struct choice *choice = hello->name_length ? find_name(tls, slice_of(hello->name, hello->name_length)) : NULL;
    if (!choice && tls->strict)
        return NULL;
    return pick(choice ? choice : tls->usual, hello);
}

/* The table of names --------------------------------------------------------------------------------------------- */

/* Of several certificates of one kind and name the first in the file stands. */
static bool add_name(struct listener_tls *tls, const struct certificate *certificate, struct slice name)
{
    struct choice *choice = map_find(&tls->names, name);
    if (!choice) {
        choice = &tls->choices[tls->choice_count++];
        if (map_add(&tls->names, name, choice) != ERR_OK)
            return false;
    }
    struct tls_context **place = &choice->kinds[certificate->facts.kind];
    *place = *place ? *place : certificate->context;
    return true;
}

/* The stand-in is the first certificate, beside which there may be one of the other kind for its first name. */
static void settle_usual(struct listener_tls *tls)
{
    const struct certificate *first = &tls->list[0];
    const struct choice *named = certificate_name_count(first) ? map_find(&tls->names, certificate_name(first, 0)) : NULL;
    tls->first.kinds[first->facts.kind] = first->context;
    tls->usual = named && named->kinds[first->facts.kind] == first->context ? named : &tls->first;
}

static bool make_names(struct listener_tls *tls)
{
    uint64_t seeds[2];
    uint32_t total = 0;
    for (uint32_t c = 0; c < tls->count; c++)
        total += certificate_name_count(&tls->list[c]);
    if (random_block((unsigned char *)seeds, sizeof seeds) != 0)
        return false;
    map_init(&tls->names, total + 1, seeds[0], seeds[1]);
    tls->choices = FAULT("certificates") ? NULL : calloc(total + 1u, sizeof *tls->choices);
    if (!tls->choices)
        return false;
    for (uint32_t c = 0; c < tls->count; c++)
        for (uint32_t i = 0; i < certificate_name_count(&tls->list[c]); i++)
            if (!add_name(tls, &tls->list[c], certificate_name(&tls->list[c], i)))
                return false;
    settle_usual(tls);
    return true;
}

/* Listeners ------------------------------------------------------------------------------------------------------ */

static void listener_tls_unref(struct listener_tls *tls)
{
    if (!tls || --tls->references > 0)
        return;
    for (uint32_t i = 0; tls->list && i < tls->count; i++) {
        tls_context_unref(tls->list[i].context);
        tls_facts_release(&tls->list[i].facts);
    }
    map_release(&tls->names);
    config_free(tls->config);
    free(tls->choices);
    free(tls->list);
    free(tls);
}

/* wolfSSL's names of IANA's numbers (config_rows_tls.c has theirs). */
static const char *cipher_name(uint16_t number)
{
    static const struct {
        uint16_t number;
        const char *name;
    } names[] = {
        { 0x1301, "TLS13-AES128-GCM-SHA256" }, { 0x1302, "TLS13-AES256-GCM-SHA384" }, { 0x1303, "TLS13-CHACHA20-POLY1305-SHA256" },
        { 0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256" }, { 0xc02f, "ECDHE-RSA-AES128-GCM-SHA256" },
        { 0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384" }, { 0xc030, "ECDHE-RSA-AES256-GCM-SHA384" },
        { 0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305" }, { 0xcca8, "ECDHE-RSA-CHACHA20-POLY1305" },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (names[i].number == number)
            return names[i].name;
    return "";
}

static void cipher_list(const struct config_words *ciphers, char out[512])
{
    size_t length = 0;
    for (uint32_t i = 0; i < ciphers->count; i++)
        length += (size_t)snprintf(out + length, 512 - length, "%s%s", i ? ":" : "", cipher_name(ciphers->list[i]));
    MUST(length < 512);
}

/* The same certificate in the generation before, most likely at the same place. */
static const struct certificate *find_same(const struct listener_tls *previous, uint32_t index, struct slice chain)
{
    if (previous && index < previous->count && slice_equal(previous->list[index].from->chain, chain))
        return &previous->list[index];
    for (uint32_t i = 0; previous && i < previous->count; i++)
        if (slice_equal(previous->list[i].from->chain, chain))
            return &previous->list[i];
    return NULL;
}

static bool make_context(struct certificate *certificate, const struct certificate *before, const struct tls_server_options *options, char why[256])
{
    char reason[256];
    if (before && tls_context_is_server_of(before->context, options)) {
        certificate->context = tls_context_ref(before->context);
        return true;
    }
    certificate->context = tls_context_server(options, reason);
    if (!certificate->context)
        file_complain(why, "certificate", certificate->from->chain, reason);
    return certificate->context != NULL;
}

static void warn_of_dates(const struct certificate *certificate, int64_t now)
{
    char words[128];
    struct slice chain = certificate->from->chain;
    struct slice ocsp = certificate->from->ocsp;
    if (certificate_dates(&certificate->facts, now, words) != DATES_WELL)
        log_line(LOG_WARN, "certificate \"%.*s\" %s", (int)chain.length, chain.at, words);
    if (ocsp.length && response_dates(&certificate->response, now, words) != DATES_WELL)
        log_line(LOG_WARN, "OCSP response \"%.*s\" %s", (int)ocsp.length, ocsp.at, words);
}

struct tickets_use {
    struct tls_tickets *tickets;
    uint32_t lifetime_s;
};

/* What all certificates of a listener have in common; ciphers is the room for one of the options. */
static struct tls_server_options rules_of(const struct config_listener_tls *config, const struct tickets_use *use, struct slice client_ca,
                                          char ciphers[512])
{
    cipher_list(&config->ciphers, ciphers);
    return (struct tls_server_options){
        .tls12 = config->tls12, .ciphers = ciphers, .groups = config->groups.list, .group_count = config->groups.count,
        .client_mode = config->client.mode, .client_ca = client_ca, .tickets = config->tickets ? use->tickets : NULL,
        .ticket_lifetime_s = use->lifetime_s, .early_data_bytes_max = config->early_data_bytes_max,
    };
}

/* One that waits for its time is given along. */
static void set_staple(struct tls_server_options *options, const struct certificate_files *files, int64_t now)
{
    const struct tls_response *response = &files->response;
    if (files->ocsp.length == 0 || response->status != TLS_STATUS_GOOD || response->until <= now)
        return;
    options->staple = file_slice(&files->ocsp);
    options->staple_from = response->from;
    options->staple_until = response->until;
}

static bool load_one(struct listener_tls *tls, uint32_t i, const struct listener_tls *previous, const struct tls_server_options *rules, int64_t now,
                     char why[256])
{
    struct certificate *certificate = &tls->list[i];
    struct certificate_files files;
    struct tls_server_options options = *rules;
    if (!certificate_files_read(certificate->from, &files, &certificate->facts, why))
        return false;
    options.chain = file_slice(&files.chain);
    options.key = file_slice(&files.key);
    certificate->response = files.response;
    set_staple(&options, &files, now);
    bool made = make_context(certificate, find_same(previous, i, certificate->from->chain), &options, why);
    certificate_files_release(&files);
    return made;
}

static bool load_all(struct listener_tls *tls, const struct config_listener_tls *config, const struct listener_tls *previous,
                     const struct tickets_use *use, char why[256])
{
    char ciphers[512];
    struct file ca = { 0 };
    if (config->client.mode != TLS_CLIENT_ANY && !client_authorities_read(config->client.ca, &ca, why))
        return false;
    struct tls_server_options rules = rules_of(config, use, file_slice(&ca), ciphers);
    bool loaded = true;
    int64_t now = time(NULL);
    for (uint32_t i = 0; loaded && i < config->certificate_count; i++) {
        tls->list[i].from = &config->certificates[i];
        tls->count = i + 1;
        loaded = load_one(tls, i, previous, &rules, now, why);
        if (loaded)
            warn_of_dates(&tls->list[i], now);
    }
    file_release(&ca);
    return loaded;
}

static struct listener_tls *load_listener(struct config *whole, const struct config_listener_tls *config, const struct listener_tls *previous,
                                          const struct tickets_use *use, char why[256])
{
    struct listener_tls *tls = FAULT("certificates") ? NULL : calloc(1, sizeof *tls);
    if (tls) {
        tls->references = 1;
        tls->config = config_ref(whole);
        tls->list = FAULT("certificates") ? NULL : calloc(config->certificate_count, sizeof *tls->list);
    }
    if (tls && tls->list) {
        tls->strict = config->strict_names;
        if (load_all(tls, config, previous, use, why) && make_names(tls))
            return tls;
    }
    if (!why[0])
        snprintf(why, 256, "certificates: %s", err_text(ERR_MEMORY));
    listener_tls_unref(tls);
    return NULL;
}

/* Pools ---------------------------------------------------------------------------------------------------------- */

/* A pool of the same generation before this one that is asked in the same way shares its context. */
static struct tls_context *shared_context(const struct generation *generation, uint32_t p)
{
    const struct config_pool_tls *a = &generation->config->pools[p].tls;
    for (uint32_t i = 0; i < p; i++) {
        const struct config_pool_tls *b = &generation->config->pools[i].tls;
        if (b->on && a->verify == b->verify && a->tls12 == b->tls12 && slice_equal(a->ca, b->ca) &&
            slice_equal(a->certificate.chain, b->certificate.chain) && slice_equal(a->certificate.key, b->certificate.key))
            return tls_context_ref(generation->pool_tls[i]);
    }
    return NULL;
}

static struct tls_context *context_before(const struct generation *previous, struct slice pool)
{
    for (uint32_t i = 0; previous && i < previous->config->pool_count; i++)
        if (slice_equal(previous->config->pools[i].name, pool))
            return previous->pool_tls[i];
    return NULL;
}

static struct tls_context *make_client(const struct config_pool *pool, struct tls_context *before, const struct tls_client_options *options,
                                       char why[256])
{
    char reason[256];
    if (before && tls_context_is_client_of(before, options))
        return tls_context_ref(before);
    struct tls_context *context = tls_context_client(options, reason);
    if (!context) {
        bool own = pool->tls.certificate.chain.length != 0;
        struct slice ca = pool->tls.ca.length ? pool->tls.ca : SLICE("system");
        /* Its files were read and found well, so what is left are the authorities, or memory. */
        file_complain(why, options->verify || !own ? "authorities" : "certificate", options->verify ? ca : pool->tls.certificate.chain, reason);
    }
    return context;
}

static struct tls_context *load_pool(const struct config_pool *pool, struct tls_context *before, char why[256])
{
    struct file ca = { 0 };
    struct certificate_files files = { 0 };
    struct tls_facts facts = { 0 };
    struct tls_context *context = NULL;
    bool own = pool->tls.certificate.chain.length != 0;
    if ((!pool->tls.verify || authorities_read(pool->tls.ca, &ca, why)) &&
        (!own || certificate_files_read(&pool->tls.certificate, &files, &facts, why))) {
        struct tls_client_options options = {
            .verify = pool->tls.verify, .ca = file_slice(&ca), .tls12 = pool->tls.tls12,
            .chain = file_slice(&files.chain), .key = file_slice(&files.key),
        };
        context = make_client(pool, before, &options, why);
    }
    tls_facts_release(&facts);
    certificate_files_release(&files);
    file_release(&ca);
    return context;
}

static bool load_pools(struct generation *generation, const struct generation *previous, char why[256])
{
    const struct config *config = generation->config;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        if (!config->pools[p].tls.on)
            continue;
        generation->pool_tls[p] = shared_context(generation, p);
        if (!generation->pool_tls[p])
            generation->pool_tls[p] = load_pool(&config->pools[p], context_before(previous, config->pools[p].name), why);
        if (!generation->pool_tls[p])
            return false;
    }
    return true;
}

/* The whole ------------------------------------------------------------------------------------------------------ */

static const struct listener_tls *listener_before(const struct generation *previous, struct slice name)
{
    for (uint32_t i = 0; previous && i < previous->config->listener_count; i++)
        if (slice_equal(previous->config->listeners[i].name, name))
            return previous->listener_tls[i];
    return NULL;
}

static bool load_listeners(struct generation *generation, const struct generation *previous, struct tls_tickets *tickets, char why[256])
{
    const struct config *config = generation->config;
    const struct tickets_use use = { tickets, (config->tls.ticket_lifetime_ms + 999) / 1000 };
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (listener->tls.certificate_count == 0)
            continue;
        generation->listener_tls[i] = load_listener(generation->config, &listener->tls, listener_before(previous, listener->name), &use, why);
        if (!generation->listener_tls[i])
            return false;
    }
    return true;
}

static bool load_ticket_keys(struct generation *generation, char why[256])
{
    struct slice path = generation->config->tls.ticket_keys;
    if (path.length == 0)
        return true;
    generation->ticket_keys = FAULT("certificates") ? NULL : calloc(1, sizeof *generation->ticket_keys);
    if (generation->ticket_keys)
        return ticket_keys_read(path, generation->ticket_keys, why);
    snprintf(why, 256, "ticket keys: %s", err_text(ERR_MEMORY));
    return false;
}

bool certificates_load(struct generation *generation, const struct generation *previous, struct tls_tickets *tickets, char why[256])
{
    const struct config *config = generation->config;
    why[0] = '\0';
    errno = 0;
    generation->listener_tls = FAULT("certificates") ? NULL : calloc(config->listener_count + 1u, sizeof(struct listener_tls *));
    generation->pool_tls = FAULT("certificates") ? NULL : calloc(config->pool_count + 1u, sizeof *generation->pool_tls);
    if (generation->listener_tls && generation->pool_tls)
        return load_ticket_keys(generation, why) && load_listeners(generation, previous, tickets, why) && load_pools(generation, previous, why);
    snprintf(why, 256, "certificates: %s", err_text(ERR_MEMORY));
    return false;
}

bool certificates_take_over(struct generation *generation, const struct generation *previous)
{
    const struct config *config = generation->config;
    generation->listener_tls = FAULT("certificates") ? NULL : calloc(config->listener_count + 1u, sizeof(struct listener_tls *));
    generation->pool_tls = FAULT("certificates") ? NULL : calloc(config->pool_count + 1u, sizeof *generation->pool_tls);
    if (!generation->listener_tls || !generation->pool_tls)
        return false;
    for (uint32_t i = 0; i < config->listener_count; i++) {
        generation->listener_tls[i] = previous->listener_tls[i];
        if (generation->listener_tls[i])
            generation->listener_tls[i]->references++;
    }
    for (uint32_t p = 0; p < config->pool_count; p++)
        if (previous->pool_tls[p])
            generation->pool_tls[p] = tls_context_ref(previous->pool_tls[p]);
    return true;
}

void certificates_release(struct generation *generation)
{
    for (uint32_t i = 0; generation->listener_tls && i < generation->config->listener_count; i++)
        listener_tls_unref(generation->listener_tls[i]);
    for (uint32_t p = 0; generation->pool_tls && p < generation->config->pool_count; p++)
        tls_context_unref(generation->pool_tls[p]);
    free(generation->listener_tls);
    free(generation->pool_tls);
    certificates_forget_ticket_keys(generation);
}

void certificates_forget_ticket_keys(struct generation *generation)
{
    if (generation->ticket_keys)
        explicit_bzero(generation->ticket_keys, sizeof *generation->ticket_keys);
    free(generation->ticket_keys);
    generation->ticket_keys = NULL;
}

/* What others want to know of them ------------------------------------------------------------------------------- */

const struct certificate *listener_tls_certificates(const struct listener_tls *tls, uint32_t *count)
{
    *count = tls ? tls->count : 0;
    return tls ? tls->list : NULL;
}

static bool same_response(const struct tls_response *a, const struct tls_response *b)
{
    return a->status == b->status && a->from == b->from && a->until == b->until;
}

static void tell_listener(const struct listener_tls *from, const struct listener_tls *to, struct slice name, struct text *out)
{
    for (uint32_t i = 0; i < to->count; i++) {
        struct slice chain = to->list[i].from->chain, ocsp = to->list[i].from->ocsp;
        const struct certificate *before = find_same(from, i, chain);
        if (before && strcmp(before->facts.fingerprint, to->list[i].facts.fingerprint) != 0)
            text_format(out, "listener %.*s: certificate %.*s: new contents\n", (int)name.length, name.at, (int)chain.length, chain.at);
        if (before && ocsp.length && slice_equal(before->from->ocsp, ocsp) && !same_response(&before->response, &to->list[i].response))
            text_format(out, "listener %.*s: OCSP response %.*s: new contents\n", (int)name.length, name.at, (int)ocsp.length, ocsp.at);
    }
}

void certificates_changes(const struct generation *from, const struct generation *to, struct text *out)
{
    for (uint32_t i = 0; i < to->config->listener_count; i++) {
        struct slice name = to->config->listeners[i].name;
        const struct listener_tls *before = listener_before(from, name);
        if (before && to->listener_tls[i])
            tell_listener(before, to->listener_tls[i], name, out);
    }
}

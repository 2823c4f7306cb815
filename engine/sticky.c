#include "engine/sticky.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/certificates_files.h"
#include "engine/generation.h"
#include "engine/hash_key.h"
#include "proto/tls_mac.h"

#define DIGITS 16u

/* Ids ---------------------------------------------------------------------------------------------------------- */

/* 0 means none, so no server has it. */
static bool id_of(struct slice secret, struct slice key, uint64_t *id)
{
    uint8_t mac[TLS_MAC_BYTES];
    if (tls_mac(secret, key, mac) != ERR_OK)
        return false;
    memcpy(id, mac, sizeof *id);
    *id = *id ? *id : 1;
    return true;
}

/* A pool of one generation; secret empty: it has no such cookie. */
struct sticky_pool {
    struct file secret;
    uint64_t *ids; /* of its servers, by their place in the configuration */
};

static bool fill(struct sticky_pool *sticky, const struct config_pool *pool)
{
    sticky->ids = FAULT("sticky") ? NULL : calloc(pool->server_count + 1u, sizeof *sticky->ids);
    for (uint32_t s = 0; sticky->ids && s < pool->server_count; s++)
        if (!id_of(file_slice(&sticky->secret), pool->servers[s].key, &sticky->ids[s]))
            return false;
    return sticky->ids != NULL;
}

static bool copy_secret(struct file *to, const void *bytes, size_t length)
{
    to->at = FAULT("sticky") ? NULL : malloc(length);
    to->length = to->at ? length : 0;
    if (to->at)
        memcpy(to->at, bytes, length);
    return to->at != NULL;
}

static bool allocate(struct generation *generation)
{
    generation->sticky = FAULT("sticky") ? NULL : calloc(generation->config->pool_count + 1u, sizeof *generation->sticky);
    return generation->sticky != NULL;
}

bool sticky_prepare(struct generation *generation, const uint8_t own[STICKY_SECRET_BYTES], char why[256])
{
    const struct config *config = generation->config;
    if (!allocate(generation))
        return false;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        const struct config_sticky *from = &config->pools[p].sticky;
        struct sticky_pool *sticky = &generation->sticky[p];
        if (from->cookie.length == 0)
            continue;
        if (from->secret.length ? !secret_read(from->secret, &sticky->secret, why) : !copy_secret(&sticky->secret, own, STICKY_SECRET_BYTES))
            return false;
        if (!fill(sticky, &config->pools[p]))
            return false;
    }
    return true;
}

bool sticky_derive(struct generation *generation, const struct generation *previous)
{
    if (!allocate(generation))
        return false;
    for (uint32_t p = 0; p < generation->config->pool_count; p++) {
        const struct file *secret = &previous->sticky[p].secret;
        if (secret->at && (!copy_secret(&generation->sticky[p].secret, secret->at, secret->length) || !fill(&generation->sticky[p], &generation->config->pools[p])))
            return false;
    }
    return true;
}

void sticky_release(struct generation *generation)
{
    for (uint32_t p = 0; generation->sticky && p < generation->config->pool_count; p++) {
        if (generation->sticky[p].secret.at)
            file_release(&generation->sticky[p].secret);
        free(generation->sticky[p].ids);
    }
    free(generation->sticky);
}

uint64_t sticky_id_of(const struct generation *generation, uint32_t pool, uint32_t server)
{
    return generation->sticky && generation->sticky[pool].ids ? generation->sticky[pool].ids[server] : 0;
}

/* Cookies ------------------------------------------------------------------------------------------------------ */

uint64_t sticky_read(const struct config_pool *pool, const struct request *request)
{
    struct slice value = hash_key_cookie(request, pool->sticky.cookie);
    uint64_t id = 0;
    if (value.length != DIGITS)
        return 0;
    for (size_t i = 0; i < DIGITS; i++) {
        char c = value.at[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
        if (digit == 16)
            return 0;
        id = id << 4 | digit;
    }
    return id;
}

struct slice sticky_write(const struct config_pool *pool, uint64_t id, bool secure, char out[STICKY_COOKIE_BYTES])
{
    static const char *const same_site[] = { [SAME_SITE_LAX] = "Lax", [SAME_SITE_STRICT] = "Strict", [SAME_SITE_NONE] = "None" };
    const struct config_sticky *sticky = &pool->sticky;
    char age[40] = "";
    if (sticky->max_age_ms)
        snprintf(age, sizeof age, "; Max-Age=%llu", (unsigned long long)(sticky->max_age_ms / 1000));
    int length = snprintf(out, STICKY_COOKIE_BYTES, "%.*s=%016llx; Path=/; HttpOnly; SameSite=%s%s%s", (int)sticky->cookie.length, sticky->cookie.at,
                          (unsigned long long)id, same_site[sticky->same_site], secure || sticky->same_site == SAME_SITE_NONE ? "; Secure" : "", age);
    return length > 0 && length < (int)STICKY_COOKIE_BYTES ? slice_of(out, (size_t)length) : SLICE_NONE;
}

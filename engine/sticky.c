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

static bool fill(struct generation *generation, uint32_t p, struct slice secret)
{
    const struct config_pool *pool = &generation->config->pools[p];
    uint64_t *ids = FAULT("sticky") ? NULL : calloc(pool->server_count + 1u, sizeof *ids);
    generation->sticky_ids[p] = ids;
    for (uint32_t s = 0; ids && s < pool->server_count; s++)
        if (!id_of(secret, pool->servers[s].key, &ids[s]))
            return false;
    return ids != NULL;
}

bool sticky_prepare(struct generation *generation, const uint8_t own[STICKY_SECRET_BYTES], char why[256])
{
    const struct config *config = generation->config;
    generation->sticky_ids = FAULT("sticky") ? NULL : calloc(config->pool_count + 1u, sizeof *generation->sticky_ids);
    if (!generation->sticky_ids)
        return false;
    for (uint32_t p = 0; p < config->pool_count; p++) {
        const struct config_sticky *sticky = &config->pools[p].sticky;
        struct file file = { 0 };
        if (sticky->cookie.length == 0)
            continue;
        if (sticky->secret.length && !secret_read(sticky->secret, &file, why))
            return false;
        bool filled = fill(generation, p, file.at ? file_slice(&file) : slice_of((const char *)own, STICKY_SECRET_BYTES));
        if (file.at)
            file_release(&file);
        if (!filled)
            return false;
    }
    return true;
}

void sticky_release(struct generation *generation)
{
    for (uint32_t p = 0; generation->sticky_ids && p < generation->config->pool_count; p++)
        free(generation->sticky_ids[p]);
    free(generation->sticky_ids);
}

uint64_t sticky_id_of(const struct generation *generation, uint32_t pool, uint32_t server)
{
    return generation->sticky_ids && generation->sticky_ids[pool] ? generation->sticky_ids[pool][server] : 0;
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

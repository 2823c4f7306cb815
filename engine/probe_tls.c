#include "engine/probe_tls.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"

#define BLOCKS 256u /* for all checks that run at once; one that finds none waits for its time-out */

static bool make_shared(struct probe_tls_shared *shared)
{
    if (shared->made)
        return true;
    if (block_pool_init(&shared->blocks, BLOCKS) != ERR_OK)
        return false;
    shared->room = (struct tls_room){ &shared->blocks, malloc(TLS_ROOM_BYTES) };
    shared->made = shared->room.scratch != NULL;
    if (!shared->made)
        block_pool_release(&shared->blocks, 0);
    return shared->made;
}

void probe_tls_shared_release(struct probe_tls_shared *shared)
{
    if (!shared->made)
        return;
    free(shared->room.scratch);
    block_pool_release(&shared->blocks, 0);
    shared->made = false;
}

struct probe_tls *probe_tls_new(struct probe_tls_shared *shared, struct tls_context *context, const char *server_name, struct slice request)
{
    struct probe_tls *probe = NULL;
    if (!make_shared(shared) || FAULT("probe") || posix_memalign((void **)&probe, CACHE_LINE, sizeof *probe) != 0)
        return NULL;
    memset(probe, 0, sizeof *probe);
    probe->shared = shared;
    probe->asks = request.length > 0;
    tls_init(&probe->tls);
    if (tls_start_client(&probe->tls, context, server_name, NULL) == ERR_OK &&
        (!probe->asks || chain_append_copy(&probe->plain, &shared->blocks, request) == ERR_OK))
        return probe;
    probe_tls_free(probe);
    return NULL;
}

void probe_tls_free(struct probe_tls *probe)
{
    if (!probe)
        return;
    tls_release(&probe->tls);
    chain_clear(&probe->plain);
    queue_clear(&probe->content);
    if (probe->receiving)
        block_unref(probe->receiving);
    free(probe);
}

static enum probe_tls_next failed(const char *what, char why[160])
{
    snprintf(why, 160, "%s", what);
    return PROBE_TLS_FAILED;
}

static enum probe_tls_next receive(struct probe_tls *probe, struct slice *at, char why[160])
{
    probe->receiving = block_take(&probe->shared->blocks);
    if (!probe->receiving)
        return failed("out of memory", why);
    *at = slice_of(probe->receiving->data, BLOCK_BYTES);
    return PROBE_TLS_RECEIVE;
}

enum probe_tls_next probe_tls_step(struct probe_tls *probe, struct slice *at, char why[160])
{
    struct tls *tls = &probe->tls;
    struct tls_room *room = &probe->shared->room;
    enum tls_verdict verdict = TLS_DONE;
    if (!tls->open)
        verdict = tls_handshake(tls, room, why);
    if (verdict != TLS_REFUSED && tls->open && tls_write(tls, &probe->plain, room) == TLS_REFUSED)
        return failed("the session failed", why);
    if (verdict == TLS_REFUSED)
        return PROBE_TLS_FAILED;
    if (!chain_empty(&tls->out)) {
        struct span *span = chain_span(&tls->out, 0);
        *at = slice_of(span_at(span), span->length);
        return PROBE_TLS_SEND;
    }
    if (!tls->open)
        return receive(probe, at, why);
    if (!probe->asks)
        return PROBE_TLS_OPEN;
    verdict = tls_read(tls, &probe->content, BLOCK_BYTES, room, why);
    if (!queue_empty(&probe->content))
        return PROBE_TLS_CONTENT;
    if (verdict == TLS_CLOSED)
        return PROBE_TLS_CLOSED;
    return verdict == TLS_WANTS_INPUT ? receive(probe, at, why) : PROBE_TLS_FAILED;
}

void probe_tls_sent(struct probe_tls *probe, uint32_t bytes)
{
    chain_consume(&probe->tls.out, bytes);
}

void probe_tls_received(struct probe_tls *probe, uint32_t bytes)
{
    struct block *block = probe->receiving;
    probe->receiving = NULL;
    block->used = bytes;
    if (bytes)
        queue_append(&probe->tls.raw, block);
    else
        block_unref(block);
}

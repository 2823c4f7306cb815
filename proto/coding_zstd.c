/* zstd (RFC 8878) by libzstd, with a window and tables far below its usual ones. */
#include <stdlib.h>
#include <zstd.h>

#include "engine/base/check.h"
#include "proto/coding_way.h"

#define LEVEL 3
#define WINDOW_LOG 15
#define TABLE_LOG 14
#define CODER_BYTES (380u * 1024u)

struct coder_zstd {
    struct coder coder;
    ZSTD_CCtx *context;
};

static bool set_up(ZSTD_CCtx *context)
{
    static const struct { ZSTD_cParameter parameter; int value; } settings[] = {
        { ZSTD_c_compressionLevel, LEVEL }, { ZSTD_c_windowLog, WINDOW_LOG }, { ZSTD_c_hashLog, TABLE_LOG }, { ZSTD_c_chainLog, TABLE_LOG },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        if (ZSTD_isError(ZSTD_CCtx_setParameter(context, settings[i].parameter, settings[i].value)))
            return false;
    }
    return true;
}

static void zstd_free(struct coder *coder)
{
    struct coder_zstd *zstd = (struct coder_zstd *)coder;
    ZSTD_freeCCtx(zstd->context);
    free(zstd);
}

static struct coder *zstd_make(void)
{
    struct coder_zstd *zstd = FAULT("coding") ? NULL : calloc(1, sizeof *zstd);
    if (!zstd)
        return NULL;
    zstd->context = FAULT("coding") ? NULL : ZSTD_createCCtx();
    if (zstd->context && set_up(zstd->context))
        return &zstd->coder;
    zstd_free(&zstd->coder);
    return NULL;
}

/* Its own buffers may hold more than there was room for: `waits` says so. Without a flush it gives what it likes to. */
static enum coder_verdict zstd_step(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room, size_t *made)
{
    struct coder_zstd *zstd = (struct coder_zstd *)coder;
    static const ZSTD_EndDirective words[] = { [CODER_MORE] = ZSTD_e_continue, [CODER_FLUSH] = ZSTD_e_flush, [CODER_END] = ZSTD_e_end };
    ZSTD_inBuffer from = { in->at, in->length, 0 };
    ZSTD_outBuffer to = { out, room, 0 };
    size_t waits;
    do
        waits = ZSTD_compressStream2(zstd->context, &to, &from, words[ask]);
    while (!ZSTD_isError(waits) && to.pos < to.size && (ask == CODER_MORE ? from.pos < from.size : waits > 0));
    if (from.pos)
        *in = slice_of(in->at + from.pos, in->length - from.pos);
    *made = to.pos;
    if (ZSTD_isError(waits))
        return CODER_FAILED;
    bool done = in->length == 0 && (ask == CODER_MORE || waits == 0);
    return done ? CODER_DONE : CODER_FULL;
}

const struct coder_way coder_way_zstd = { "zstd", CODER_BYTES, zstd_make, zstd_step, zstd_free };

/* br (RFC 7932) by libbrotlienc: quality and window for content made on the fly, whose hash tables stay small. */
#include <brotli/encode.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/coding_way.h"

#define QUALITY 4
#define WINDOW_BITS 16

struct coder_brotli {
    struct coder coder;
    BrotliEncoderState *state;
};

static void *take(void *nobody, size_t bytes)
{
    (void)nobody;
    return FAULT("coding") ? NULL : malloc(bytes);
}

static void give(void *nobody, void *memory)
{
    (void)nobody;
    free(memory);
}

static struct coder *brotli_make(void)
{
    struct coder_brotli *brotli = FAULT("coding") ? NULL : calloc(1, sizeof *brotli);
    if (!brotli)
        return NULL;
    brotli->state = BrotliEncoderCreateInstance(take, give, NULL);
    if (!brotli->state) {
        free(brotli);
        return NULL;
    }
    BrotliEncoderSetParameter(brotli->state, BROTLI_PARAM_QUALITY, QUALITY);
    BrotliEncoderSetParameter(brotli->state, BROTLI_PARAM_LGWIN, WINDOW_BITS);
    return &brotli->coder;
}

static void brotli_free(struct coder *coder)
{
    struct coder_brotli *brotli = (struct coder_brotli *)coder;
    BrotliEncoderDestroyInstance(brotli->state);
    free(brotli);
}

static enum coder_verdict brotli_step(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room, size_t *made)
{
    struct coder_brotli *brotli = (struct coder_brotli *)coder;
    static const BrotliEncoderOperation words[] = {
        [CODER_MORE] = BROTLI_OPERATION_PROCESS, [CODER_FLUSH] = BROTLI_OPERATION_FLUSH, [CODER_END] = BROTLI_OPERATION_FINISH
    };
    const uint8_t *next_in = (const uint8_t *)in->at;
    uint8_t *next_out = (uint8_t *)out;
    size_t left = in->length, space = room;
    BROTLI_BOOL good = BrotliEncoderCompressStream(brotli->state, words[ask], &left, &next_in, &space, &next_out, NULL);
    if (in->length != left)
        *in = slice_of(in->at + (in->length - left), left);
    *made = room - space;
    if (!good)
        return CODER_FAILED;
    if (left || BrotliEncoderHasMoreOutput(brotli->state))
        return CODER_FULL;
    return ask == CODER_END && !BrotliEncoderIsFinished(brotli->state) ? CODER_FULL : CODER_DONE;
}

const struct coder_way coder_way_brotli = { "br", brotli_make, brotli_step, brotli_free };

/* gzip (RFC 1952) by zlib: about 260 KiB a stream with the largest window, which is what every reader has. */
#include <stdlib.h>
#include <zlib.h>

#include "engine/base/check.h"
#include "proto/coding_way.h"

#define LEVEL 5
#define WINDOW_BITS 15
#define MEMORY_LEVEL 8
#define CODER_BYTES (264u * 1024u)
#define GZIP_WRAPPER 16 /* added to the window's bits */

struct coder_gzip {
    struct coder coder;
    z_stream stream;
    bool flushed; /* nothing was taken since: another flush would only add an empty block */
};

static void *take(void *nobody, unsigned count, unsigned bytes)
{
    (void)nobody;
    return FAULT("coding") ? NULL : calloc(count, bytes);
}

static void give(void *nobody, void *memory)
{
    (void)nobody;
    free(memory);
}

static struct coder *gzip_make(void)
{
    struct coder_gzip *gzip = FAULT("coding") ? NULL : calloc(1, sizeof *gzip);
    if (!gzip)
        return NULL;
    gzip->stream.zalloc = take;
    gzip->stream.zfree = give;
    gzip->flushed = true;
    if (deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, WINDOW_BITS + GZIP_WRAPPER, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK)
        return &gzip->coder;
    free(gzip);
    return NULL;
}

static void gzip_free(struct coder *coder)
{
    struct coder_gzip *gzip = (struct coder_gzip *)coder;
    deflateEnd(&gzip->stream);
    free(gzip);
}

/* zlib has done what it was asked for when it leaves some of the room; with none left it may or may not have. */
static enum coder_verdict gzip_step(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room, size_t *made)
{
    struct coder_gzip *gzip = (struct coder_gzip *)coder;
    z_stream *stream = &gzip->stream;
    static const int words[] = { [CODER_MORE] = Z_NO_FLUSH, [CODER_FLUSH] = Z_SYNC_FLUSH, [CODER_END] = Z_FINISH };
    if (ask == CODER_FLUSH && gzip->flushed && in->length == 0)
        return CODER_DONE;
    stream->next_in = (Bytef *)(uintptr_t)in->at;
    stream->avail_in = (uInt)size_min(in->length, UINT32_MAX);
    stream->next_out = (Bytef *)out;
    stream->avail_out = (uInt)size_min(room, UINT32_MAX);
    size_t given = stream->avail_in, space = stream->avail_out;
    int result = deflate(stream, words[ask]);
    size_t taken = given - stream->avail_in;
    if (taken)
        *in = slice_of(in->at + taken, in->length - taken);
    *made = space - stream->avail_out;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return CODER_FAILED;
    bool done = ask == CODER_END ? result == Z_STREAM_END : in->length == 0 && stream->avail_out > 0;
    gzip->flushed = done && ask == CODER_FLUSH;
    return done ? CODER_DONE : CODER_FULL;
}

const struct coder_way coder_way_gzip = { "gzip", CODER_BYTES, gzip_make, gzip_step, gzip_free };

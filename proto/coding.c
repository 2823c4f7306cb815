#include "proto/coding_way.h"

#include "engine/base/check.h"

static const struct coder_way *const ways[CODINGS] = {
    [CODING_GZIP] = &coder_way_gzip,
    [CODING_BROTLI] = &coder_way_brotli,
    [CODING_ZSTD] = &coder_way_zstd,
};

struct slice coding_word(enum coding coding)
{
    MUST(coding < CODINGS);
    return coding == CODING_IDENTITY ? SLICE("identity") : slice_of_text(ways[coding]->word);
}

size_t coder_bytes(enum coding coding)
{
    MUST(coding > CODING_IDENTITY && coding < CODINGS);
    return ways[coding]->bytes;
}

struct coder *coder_new(enum coding coding)
{
    MUST(coding > CODING_IDENTITY && coding < CODINGS);
    struct coder *coder = ways[coding]->make();
    if (coder)
        coder->way = ways[coding];
    return coder;
}

void coder_free(struct coder *coder)
{
    if (coder)
        coder->way->free(coder);
}

enum coder_verdict coder_step(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room, size_t *made)
{
    MUST(room >= CODER_ROOM_LEAST);
    *made = 0;
    if (FAULT("coding"))
        return CODER_FAILED;
    return coder->way->step(coder, ask, in, out, room, made);
}

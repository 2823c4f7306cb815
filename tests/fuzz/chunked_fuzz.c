/* Chunked content: any bytes. Whole or in pieces, the same content comes out, the same bytes are used, the same verdict is reached. */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/h1_body.h"
#include "proto/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum h1_verdict verdict;
    size_t used, length;
    uint64_t hash;
};

static const struct h1_limits limits = { 16384, 8192, 100 };

static void take(struct outcome *out, struct slice data)
{
    for (size_t i = 0; i < data.length; i++)
        out->hash = (out->hash ^ (unsigned char)data.at[i]) * 0x100000001b3ull;
    out->length += data.length;
}

static bool read_trailers(struct outcome *out, const char *at, size_t given, struct h1_progress *progress)
{
    static struct fields trailers;
    size_t used = 0;
    enum codec_fault fault;
    out->verdict = h1_parse_trailers(&trailers, at + out->used, given - out->used, progress, &limits, &used, &fault);
    if (out->verdict == H1_DONE)
        out->used += used;
    return out->verdict != H1_MORE;
}

static struct outcome read_all(const char *at, size_t length, size_t step)
{
    struct outcome out = { .verdict = H1_MORE };
    struct h1_body body;
    struct h1_progress progress = { 0 };
    h1_body_init(&body, FRAMING_CHUNKED, 0);
    for (size_t given = step < length ? step : length;; given = given + step < length ? given + step : length) {
        enum h1_body_step taken;
        do {
            struct slice data;
            size_t used;
            enum codec_fault fault;
            taken = h1_body_next(&body, at + out.used, given - out.used, &used, &data, &fault);
            if (taken == H1_BODY_BAD) {
                out.verdict = H1_BAD;
                return out;
            }
            MUST(used <= given - out.used && data.length <= used);
            take(&out, data);
            out.used += used;
        } while (taken == H1_BODY_DATA);
        if (taken == H1_BODY_TRAILERS && read_trailers(&out, at, given, &progress))
            return out;
        if (given == length)
            return out;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536)
        return 0;
    char *copy = malloc(size);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    struct outcome whole = read_all(copy, size, size), pieces = read_all(copy, size, 1 + data[size - 1] % 9);
    MUST(whole.verdict == pieces.verdict || (pieces.verdict == H1_MORE && whole.verdict == H1_BAD)); /* a trailer line not ended yet */
    if (whole.verdict == H1_DONE)
        MUST(whole.used == pieces.used && whole.length == pieces.length && whole.hash == pieces.hash);
    free(copy);
    return 0;
}

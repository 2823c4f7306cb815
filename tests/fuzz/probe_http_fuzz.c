/* Answers to health checks: any bytes, in any pieces. The verdict is the whole's, and what is well holds the text. */
#include "engine/base/check.h"
#include "engine/probe_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct probe_http whole, pieces;

static enum probe_http_verdict feed(struct probe_http *http, const struct config_check *check, struct slice bytes,
                                    size_t step)
{
    char what[PROBE_WHAT_BYTES] = "";
    enum probe_http_verdict verdict = PROBE_HTTP_MORE;
    probe_http_init(http, check);
    for (size_t at = 0; at < bytes.length && verdict == PROBE_HTTP_MORE; at += step)
        verdict = probe_http_input(http, slice_of(bytes.at + at, size_min(step, bytes.length - at)), what);
    MUST(verdict == PROBE_HTTP_MORE || what[0]);
    if (verdict == PROBE_HTTP_MORE)
        probe_http_closed(http, what);
    MUST(memchr(what, 0, sizeof what) && what[0]);
    return verdict;
}

/* The first byte: the size of pieces; the second: how many of the next are the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4 * PROBE_CONTENT_BYTES || size - 2 < data[1] % 16u)
        return 0;
    size_t step = 1 + data[0], text = data[1] % 16u;
    struct config_check check = { .method = data[0] & 1 ? METHOD_OPTIONS : METHOD_GET,
                                  .statuses = { { 200, 399 } },
                                  .status_count = 1,
                                  .body = slice_of((const char *)data + 2, text) };
    struct slice bytes = slice_of((const char *)data + 2 + text, size - 2 - text);
    enum probe_http_verdict verdict = feed(&whole, &check, bytes, bytes.length ? bytes.length : 1),
                            same = feed(&pieces, &check, bytes, step);
    MUST(same == verdict || (same == PROBE_HTTP_MORE && verdict == PROBE_HTTP_ILL));
    if (verdict == PROBE_HTTP_WELL)
        MUST(whole.status >= 200 && whole.status <= 399 && whole.matched == text);
    return 0;
}

/* Response heads: any bytes, in any pieces; what is written of an accepted one reads back with the framing that was planned. */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/h1_parse.h"
#include "proto/h1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { BLOCK_BYTES, BLOCK_BYTES, FIELDS_CAP };
static struct response whole, pieces, again;
static struct request request;

static void reads_back(enum method method)
{
    static char out[4 * BLOCK_BYTES];
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    static const struct h1_limits wide = { 2 * BLOCK_BYTES, 2 * BLOCK_BYTES, FIELDS_CAP };
    struct forwarding forwarding = { .via = SLICE("weir") };
    struct h1_response_plan plan = { .framing = whole.framing, .content_length = whole.content_length, .keep_alive = true, .client_minor = 1,
                                     .send_content_length = whole.framing == FRAMING_NONE && whole.has_content_length };
    if (plan.framing == FRAMING_UNTIL_CLOSE)
        plan.framing = FRAMING_CHUNKED;
    struct h1_writer w = h1_writer_of(out, sizeof out);
    h1_write_response(&w, &whole, &request, &forwarding, &plan);
    MUST(!w.overflow);
    enum h1_verdict verdict = h1_parse_response(&again, method, out, (size_t)(w.at - out), &progress, &wide, &fault);
    if (verdict == H1_BAD && fault == FAULT_FIELDS_MANY)
        return;
    MUST(verdict == H1_DONE && again.head_bytes == (size_t)(w.at - out));
    MUST(again.status == whole.status && again.framing == plan.framing);
    MUST(plan.framing != FRAMING_LENGTH || again.content_length == whole.content_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct h1_progress progress = { 0 }, progress_in_pieces = { 0 };
    enum codec_fault fault;
    if (size < 2 || size > BLOCK_BYTES)
        return 0;
    enum method method = data[0] & 1 ? METHOD_HEAD : METHOD_GET;
    size_t step = 1 + data[0] / 2 % 13;
    char *copy = malloc(size - 1);
    MUST(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    request.method = method;
    enum h1_verdict verdict = h1_parse_response(&whole, method, copy, size - 1, &progress, &limits, &fault), same = H1_MORE;
    if (verdict == H1_DONE)
        reads_back(method);
    for (size_t given = step; same == H1_MORE; given += step) {
        same = h1_parse_response(&pieces, method, copy, given < size - 1 ? given : size - 1, &progress_in_pieces, &limits, &fault);
        if (given >= size - 1)
            break;
    }
    MUST(same == verdict || (same == H1_MORE && verdict == H1_BAD)); /* a fault in a line is seen when the line ends */
    MUST(same != H1_DONE || (whole.head_bytes == pieces.head_bytes && whole.framing == pieces.framing));
    free(copy);
    return 0;
}

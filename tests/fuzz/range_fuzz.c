/*
 * Range and the conditional fields: any bytes. The first line is the stored response ("length etag"), each further one a field: a letter for its name, then its
 * value. Ranges are within the content and apart from each other, a multipart answer has the length that was said before, and a verdict is the same when
 * asked again and when the client has just what is stored. The first field's value is taken for a Content-Range that came, too: one that is read is within the whole.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/condition.h"
#include "proto/range.h"

#define LENGTH_DEFAULT 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request request;
static struct validators stored;
static uint64_t length;

static struct slice next_line(struct slice *rest)
{
    const char *end = rest->length ? memchr(rest->at, '\n', rest->length) : NULL;
    struct slice line = end ? slice_of(rest->at, (size_t)(end - rest->at)) : *rest;
    size_t used = end ? line.length + 1 : line.length;
    *rest = slice_of(rest->at + used, rest->length - used);
    return line;
}

static void take_stored(struct slice line)
{
    const char *space = line.length ? memchr(line.at, ' ', line.length) : NULL;
    size_t digits = space ? (size_t)(space - line.at) : line.length;
    stored = (struct validators){ .modified_s = 784111777, .date_s = 784111777 + (int64_t)(line.length % 2 ? 3600 : 0) };
    if (slice_to_u64(slice_of(line.at, digits), &length) != ERR_OK)
        length = LENGTH_DEFAULT;
    if (space)
        stored.etag = slice_trim(slice_of(space, line.length - digits));
}

static struct slice name_of(char letter)
{
    switch (letter) {
    case 'i': return SLICE("If-Range");
    case 'm': return SLICE("If-Match");
    case 'n': return SLICE("If-None-Match");
    case 's': return SLICE("If-Modified-Since");
    case 'u': return SLICE("If-Unmodified-Since");
    default: return SLICE("Range");
    }
}

static void take_request(struct slice rest)
{
    request.method = rest.length % 8 == 7 ? METHOD_POST : METHOD_GET;
    request.fields.count = 0;
    request.fields.present = 0;
    while (rest.length && request.fields.count < FIELDS_CAP) {
        struct slice line = next_line(&rest);
        if (line.length)
            MUST(fields_add(&request.fields, name_of(line.at[0]), slice_trim(slice_of(line.at + 1, line.length - 1))) == ERR_OK);
    }
}

static void ranges_are_apart(const struct ranges *ranges)
{
    MUST(ranges->count > 0 && ranges->count <= RANGES_MAX);
    for (unsigned i = 0; i < ranges->count; i++) {
        const struct range *a = &ranges->list[i];
        MUST(a->first <= a->last && a->last < length);
        for (unsigned j = 0; j < i; j++) {
            const struct range *b = &ranges->list[j];
            MUST(a->first > b->last ? a->first - b->last - 1 > RANGE_GAP_BYTES_MAX : b->first > a->last && b->first - a->last - 1 > RANGE_GAP_BYTES_MAX);
        }
    }
}

static void length_is_right(const struct ranges *ranges)
{
    static const uint64_t random[2] = { 1, 2 };
    char out[256], range[CONTENT_RANGE_BYTES];
    struct multipart multipart;
    uint64_t sum = 0;
    multipart_init(&multipart, ranges, length, stored.etag.length > 64 ? SLICE_NONE : stored.etag, random);
    for (unsigned i = 0; i <= ranges->count; i++) {
        struct h1_writer w = h1_writer_of(out, sizeof out);
        multipart_put_head(&multipart, i, &w);
        MUST(!w.overflow && (size_t)(w.at - out) == multipart_head_bytes(&multipart, i));
        sum += (uint64_t)(w.at - out);
        if (i < ranges->count) {
            sum += range_bytes(&ranges->list[i]);
            MUST(content_range_write(range, &ranges->list[i], length) < CONTENT_RANGE_BYTES);
        }
    }
    MUST(sum == multipart_bytes(&multipart));
}

static void has_what_is_stored(void)
{
    bool quoted = stored.etag.length >= 2 && stored.etag.at[0] == '"' && memchr(stored.etag.at + 1, '"', stored.etag.length - 1) == stored.etag.at + stored.etag.length - 1;
    if (!quoted)
        return;
    request.method = METHOD_GET;
    request.fields.count = 0;
    request.fields.present = 0;
    MUST(fields_add(&request.fields, SLICE("If-None-Match"), stored.etag) == ERR_OK);
    MUST(condition_of(&request, &stored, 200) == CONDITION_NOT_MODIFIED);
    MUST(fields_add(&request.fields, SLICE("If-Match"), stored.etag) == ERR_OK);
    MUST(condition_of(&request, &stored, 200) == CONDITION_NOT_MODIFIED);
    MUST(fields_add(&request.fields, SLICE("If-Range"), stored.etag) == ERR_OK);
    MUST(condition_if_range(&request, &stored));
}

static void content_range_is_within(struct slice value)
{
    struct range range, again;
    uint64_t whole, length_again;
    char text[CONTENT_RANGE_BYTES];
    if (content_range_read(value, &range, &whole) != ERR_OK)
        return;
    MUST(range.first <= range.last && (whole == RANGE_LENGTH_UNKNOWN || range.last < whole));
    if (whole == RANGE_LENGTH_UNKNOWN)
        return;
    MUST(content_range_read(slice_of(text, content_range_write(text, &range, whole)), &again, &length_again) == ERR_OK);
    MUST(again.first == range.first && again.last == range.last && length_again == whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ranges ranges;
    if (size > 16384)
        return 0;
    char *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    struct slice rest = slice_of(copy, size);
    take_stored(next_line(&rest));
    take_request(rest);
    enum range_verdict verdict = ranges_of(&request, length, &ranges);
    MUST(verdict == RANGE_PARTIAL || ranges.count == 0 || verdict == RANGE_NONE);
    if (verdict == RANGE_PARTIAL) {
        ranges_are_apart(&ranges);
        if (length < UINT64_MAX / 2)
            length_is_right(&ranges);
    }
    enum condition condition = condition_of(&request, &stored, 200);
    MUST(condition_of(&request, &stored, 200) == condition);
    MUST(condition_of(&request, &stored, 404) == CONDITION_NONE);
    MUST(condition != CONDITION_NOT_MODIFIED || request.method == METHOD_GET);
    if (request.fields.count)
        content_range_is_within(field_value(&request.fields.list[0]));
    has_what_is_stored();
    free(copy);
    return 0;
}

/*
 * Accept-Encoding: any bytes, a field's line in each line. Its normal form, written as a field again, has the same form, chooses the same coding and
 * accepts the same ones: what the key says is what the client said.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/accept_encoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t ours[] = { CODING_ZSTD, CODING_BROTLI, CODING_GZIP };

static void take_lines(struct fields *fields, const char *at, size_t size)
{
    while (size && fields->count < FIELDS_CAP) {
        const char *end = memchr(at, '\n', size);
        size_t length = end ? (size_t)(end - at) : size;
        MUST(fields_add(fields, SLICE("Accept-Encoding"), slice_trim(slice_of(at, length))) == ERR_OK);
        at += end ? length + 1 : length;
        size -= end ? length + 1 : length;
    }
}

/* "gzip,zstd>br,!identity" as a value: each '>' is a weight less. */
static size_t write_value(struct slice normal, char *out, size_t cap)
{
    size_t length = 0;
    unsigned weight = 999;
    while (normal.length) {
        size_t word = 0;
        bool refused = normal.at[0] == '!';
        while (word < normal.length && normal.at[word] != ',' && normal.at[word] != '>')
            word++;
        length += (size_t)snprintf(out + length, cap - length, "%.*s;q=0.%03u, ", (int)(word - refused), normal.at + refused, refused ? 0 : weight);
        MUST(length < cap);
        bool last = word == normal.length;
        weight -= !last && normal.at[word] == '>';
        normal = last ? SLICE_NONE : slice_of(normal.at + word + 1, normal.length - word - 1);
    }
    return length;
}

static void reads_back(const struct fields *fields, struct slice normal)
{
    static const struct slice codings[] = { SLICE("br"), SLICE("gzip"), SLICE("zstd"), SLICE("identity"), SLICE("deflate") };
    static struct fields again;
    char value[256], room[ACCEPT_ENCODING_NORMAL_BYTES];
    struct slice same;
    again.count = 0;
    again.present = 0;
    MUST(fields_add(&again, SLICE("accept-encoding"), slice_trim(slice_of(value, write_value(normal, value, sizeof value)))) == ERR_OK);
    MUST(accept_encoding_normalise(&again, room, &same) == ERR_OK && slice_equal(same, normal));
    MUST(accept_encoding_choose(&again, ours, ARRAY_LENGTH(ours)) == accept_encoding_choose(fields, ours, ARRAY_LENGTH(ours)));
    for (unsigned i = 0; i < ARRAY_LENGTH(codings); i++)
        MUST(accept_encoding_explains(&again, codings[i]) == accept_encoding_explains(fields, codings[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fields fields;
    char room[ACCEPT_ENCODING_NORMAL_BYTES];
    struct slice normal;
    if (size > 4096)
        return 0;
    char *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    fields.count = 0;
    fields.present = 0;
    take_lines(&fields, copy, size);
    enum err e = accept_encoding_normalise(&fields, room, &normal);
    MUST(e == (fields.count ? e : ERR_NONE));
    MUST(fields.count == 0 || e == ERR_OK || e == ERR_SYNTAX);
    if (e == ERR_OK)
        reads_back(&fields, normal);
    MUST(accept_encoding_choose(&fields, ours, ARRAY_LENGTH(ours)) < CODINGS);
    free(copy);
    return 0;
}

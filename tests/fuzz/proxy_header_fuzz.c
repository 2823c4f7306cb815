/*
 * A connection's first bytes, of which a PROXY header is expected: any. How many of them there are may only decide between "more" and the verdict of
 * all; what is accepted lies within the bytes and the caps, and is written again and read as the same. The first byte chooses how the rest is
 * dressed: as it is, as fields behind addresses of a header with the right length, or with a checksum put right.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/proxy_header.h"

#define INPUT_BYTES_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum proxy_verdict read_copy(const char *at, size_t length, struct proxy_header *header, char **copy)
{
    const char *why;
    *copy = malloc(length ? length : 1);
    MUST(*copy != NULL);
    if (length)
        memcpy(*copy, at, length);
    enum proxy_verdict verdict = proxy_header_read(slice_of(*copy, length), header, &why);
    MUST((verdict == PROXY_BAD) == (why != NULL));
    return verdict;
}

static void lies_within(struct slice field, const char *at, size_t length)
{
    MUST(!field.at || (field.at >= at && field.at + field.length <= at + length));
}

static void keeps_its_word(const struct proxy_header *header, const char *at, size_t length)
{
    const struct proxy_tls *tls = &header->tls;
    const struct slice fields[] = { header->source_path, header->destination_path, header->alpn, header->authority, header->unique_id, header->netns,
                                    tls->version, tls->common_name, tls->cipher, tls->signature, tls->key };
    MUST(header->bytes > 0 && header->bytes <= length);
    MUST(header->bytes <= (header->version == 1 ? PROXY_V1_BYTES_MAX : PROXY_HEADER_BYTES_MAX));
    MUST(!header->local || (header->version == 2 && header->family == PROXY_UNNAMED));
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
        lies_within(fields[i], at, header->bytes);
}

static bool same_text(struct slice a, struct slice b)
{
    return (a.at != NULL) == (b.at != NULL) && slice_equal(a, b);
}

static bool same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->version == b->version && a->local == b->local && a->checksum == b->checksum && a->has_tls == b->has_tls && a->family == b->family &&
           memcmp(a->source, b->source, 16) == 0 && memcmp(a->destination, b->destination, 16) == 0 && a->source_port == b->source_port &&
           a->destination_port == b->destination_port && same_text(a->source_path, b->source_path) &&
           same_text(a->destination_path, b->destination_path) && same_text(a->alpn, b->alpn) && same_text(a->authority, b->authority) &&
           same_text(a->unique_id, b->unique_id) && same_text(a->netns, b->netns) && a->tls.client == b->tls.client && a->tls.verify == b->tls.verify &&
           same_text(a->tls.version, b->tls.version) && same_text(a->tls.common_name, b->tls.common_name) && same_text(a->tls.cipher, b->tls.cipher) &&
           same_text(a->tls.signature, b->tls.signature) && same_text(a->tls.key, b->tls.key);
}

static void written_again(const struct proxy_header *header)
{
    char out[PROXY_HEADER_BYTES_MAX];
    struct proxy_header again;
    char *copy;
    size_t length = proxy_header_write(header, out);
    MUST(length > 0);
    MUST(read_copy(out, length, &again, &copy) == PROXY_DONE && again.bytes == length && same(header, &again));
    free(copy);
}

/* Fields of random types around pieces of data, whose lengths are right but for some. */
static size_t put_fields(char *out, size_t room, const uint8_t *data, size_t size)
{
    static const uint8_t types[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30, 0xea };
    size_t length = 0;
    while (size >= 2) {
        size_t value = size_min(data[1] & 0x3f, size - 2), told = value + (data[1] >> 6 == 3 ? 1 : 0);
        if (length + 3 + value > room)
            break;
        out[length++] = (char)types[data[0] % ARRAY_LENGTH(types)];
        out[length++] = 0;
        out[length++] = (char)told;
        if (value)
            memcpy(out + length, data + 2, value);
        length += value;
        data += 2 + value;
        size -= 2 + value;
    }
    return length;
}

/* Version 2 for IPv4 with these fields; its length is told as it is. */
static size_t dress(char *out, size_t room, const uint8_t *data, size_t size)
{
    static const char head[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0abcdefghijkl";
    memcpy(out, head, sizeof head - 1);
    size_t length = sizeof head - 1 + put_fields(out + sizeof head - 1, room - sizeof head, data, size);
    out[14] = (char)((length - 16) >> 8);
    out[15] = (char)(length - 16);
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char room[2 * INPUT_BYTES_MAX];
    struct proxy_header whole, header;
    char *kept, *copy;
    if (size < 1 || size > INPUT_BYTES_MAX)
        return 0;
    bool dressed = data[0] == 1;
    size_t length = dressed ? dress(room, sizeof room, data + 1, size - 1) : size;
    if (!dressed)
        memcpy(room, data, size);
    enum proxy_verdict verdict = read_copy(room, length, &whole, &kept), now = PROXY_MORE;
    if (verdict == PROXY_DONE) {
        keeps_its_word(&whole, kept, length);
        written_again(&whole);
    }
    for (size_t given = 0; given < length; given += 1 + length / 64) {
        enum proxy_verdict before = now;
        now = read_copy(room, given, &header, &copy);
        MUST(now == verdict || (now == PROXY_MORE && before == PROXY_MORE));
        MUST(now != PROXY_DONE || (header.bytes == whole.bytes && same(&header, &whole)));
        free(copy);
    }
    free(kept);
    return 0;
}

/*
 * A connection's first bytes: any. How many of them there are may only decide between "more" and the verdict of all, records may be cut
 * anywhere, and what is handed out keeps what its header says. The first byte chooses how the rest is dressed, so that
 * the fuzzer reaches each layer without having to guess the lengths of those outside; that is why there are no seeds.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/tls_hello.h"

#define INPUT_BYTES_MAX 20000u
#define DRESS_BYTES 64u      /* most that dressing puts in front */
#define EXTENSION_GROWTH 5u  /* nine bytes of heads for two */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct out {
    char *at;
    size_t length;
};

static void put(struct out *out, size_t width, size_t number)
{
    while (width--)
        out->at[out->length++] = (char)(unsigned char)(number >> 8 * width);
}

static void put_bytes(struct out *out, const void *bytes, size_t length)
{
    if (length)
        memcpy(out->at + out->length, bytes, length);
    out->length += length;
}

/*
 * Extensions of the types that are read, from pieces of data: what type and with how many lists around it, a length, the content. Nearly
 * well-formed, so that what is in the lists gets its share of attention.
 */
static void put_extensions(struct out *out, const uint8_t *data, size_t size)
{
    static const struct {
        uint16_t type;
        uint8_t outer, inner; /* widths of the lengths in front; a server name's type goes in between */
    } known[] = { { 0, 2, 2 }, { 13, 2, 0 }, { 16, 2, 1 }, { 35, 0, 0 }, { 41, 2, 0 }, { 42, 0, 0 }, { 43, 1, 0 }, { 0x6a6a, 0, 0 } };
    while (size >= 2) {
        size_t i = data[0] % ARRAY_LENGTH(known), length = size_min(data[1], size - 2);
        size_t outer = data[0] & 0x80 ? 0 : known[i].outer, inner = data[0] & 0x40 ? 0 : known[i].inner;
        size_t named = inner == 2, list = inner + named + length;
        put(out, 2, known[i].type);
        put(out, 2, outer + list);
        put(out, outer, list);
        put(out, named, 0);
        put(out, inner, length);
        put_bytes(out, data + 2, length);
        data += 2 + length;
        size -= 2 + length;
    }
}

/* 0: as it is; 1: the payload of a record; 2: the body of a message; 3: the extensions of a hello. */
static void dress(struct out *out, unsigned how, const uint8_t *data, size_t size)
{
    static const char head[] = "\x03\x03" "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr" "\0" "\0\2\x13\1" "\1";
    size_t body = how == 3 ? sizeof head + 2 + size : size;
    if (how >= 1) {
        put(out, 3, 0x160301);
        put(out, 2, how == 1 ? size : 4 + body);
    }
    if (how >= 2) {
        put(out, 1, 1);
        put(out, 3, body);
    }
    if (how == 3) {
        put_bytes(out, head, sizeof head);
        put(out, 2, size);
    }
    put_bytes(out, data, size);
}

static enum tls_hello_verdict read_copy(const char *at, size_t length, struct tls_hello *hello)
{
    char *copy = malloc(length ? length : 1), *scratch = malloc(TLS_HELLO_BYTES_MAX);
    MUST(copy != NULL && scratch != NULL);
    if (length)
        memcpy(copy, at, length);
    enum tls_hello_verdict verdict = tls_hello_read(slice_of(copy, length), scratch, hello);
    free(copy);
    free(scratch);
    return verdict;
}

static bool same(const struct tls_hello *a, const struct tls_hello *b)
{
    return strcmp(a->name, b->name) == 0 && a->tls13 == b->tls13 && a->ecdsa == b->ecdsa && a->rsa == b->rsa && a->alpn == b->alpn &&
           a->alpn_http11 == b->alpn_http11 && a->alpn_h2 == b->alpn_h2 && a->early_data == b->early_data && a->ticket == b->ticket;
}

static void keeps_its_word(enum tls_hello_verdict verdict, const struct tls_hello *hello)
{
    static const struct tls_hello empty;
    MUST(verdict == TLS_HELLO_DONE || verdict == TLS_HELLO_OLD || same(hello, &empty));
    MUST(strlen(hello->name) == hello->name_length);
    MUST(hello->name_length == 0 || hello->name[hello->name_length - 1] != '.');
    for (size_t i = 0; i < hello->name_length; i++)
        MUST(hello->name[i] > ' ' && hello->name[i] < 0x7f && !(hello->name[i] >= 'A' && hello->name[i] <= 'Z'));
    MUST(hello->alpn || (!hello->alpn_http11 && !hello->alpn_h2));
}

/* The one record that starts the input, as two or three: the same hello. */
static void in_pieces(const char *at, size_t length, size_t cut, enum tls_hello_verdict verdict, const struct tls_hello *whole)
{
    size_t payload = (size_t)(unsigned char)at[3] << 8 | (unsigned char)at[4];
    if (payload + 5 > length || payload < 2)
        return;
    struct out out = { malloc(length + 16), 0 };
    struct tls_hello hello;
    MUST(out.at != NULL);
    size_t first = 1 + cut % (payload - 1), second = (payload - first + 1) / 2, third = payload - first - second;
    const size_t pieces[] = { first, second, third };
    for (size_t i = 0, from = 5; i < ARRAY_LENGTH(pieces) && pieces[i]; from += pieces[i++]) {
        put(&out, 3, 0x160303);
        put(&out, 2, pieces[i]);
        put_bytes(&out, at + from, pieces[i]);
    }
    MUST(read_copy(out.at, out.length, &hello) == verdict && same(&hello, whole));
    free(out.at);
}

static void dress_as(struct out *out, unsigned how, const uint8_t *data, size_t size)
{
    struct out list = { malloc(EXTENSION_GROWTH * size + 1), 0 };
    MUST(list.at != NULL);
    if (how >= 4)
        put_extensions(&list, data, size);
    else
        put_bytes(&list, data, size);
    out->at = malloc(list.length + DRESS_BYTES);
    MUST(out->at != NULL);
    dress(out, how < 4 ? how : 3, (const uint8_t *)list.at, list.length);
    free(list.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_hello whole, hello;
    if (size < 3 || size > INPUT_BYTES_MAX)
        return 0;
    struct out out = { 0 };
    size_t step = 1 + data[1] % 61, cut = (size_t)data[1] << 8 | data[2];
    dress_as(&out, data[0] % 8, data + 3, size - 3);
    enum tls_hello_verdict verdict = read_copy(out.at, out.length, &whole);
    keeps_its_word(verdict, &whole);
    bool decided = false;
    for (size_t given = out.length % step; given < out.length; given += size_max(step, out.length / 64)) {
        enum tls_hello_verdict now = read_copy(out.at, given, &hello);
        keeps_its_word(now, &hello);
        MUST(now == verdict || (now == TLS_HELLO_MORE && !decided));
        MUST(now == TLS_HELLO_MORE || same(&hello, &whole));
        decided = now != TLS_HELLO_MORE;
    }
    if (out.length > 5 && out.at[0] == 0x16 && out.at[1] == 3 && (verdict == TLS_HELLO_DONE || verdict == TLS_HELLO_OLD))
        in_pieces(out.at, out.length, cut, verdict, &whole);
    free(out.at);
    return 0;
}

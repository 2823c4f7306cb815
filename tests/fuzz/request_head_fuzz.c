/*
 * Request heads: any bytes. Beyond not crashing: how the bytes are cut into pieces must not matter, and what is forwarded of an
 * accepted head must read back with the same framing, path and host (otherwise an origin could see another request), and its path is canonical.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/policy/forward.h"
#include "proto/h1_parse.h"
#include "proto/h1_write.h"
#include "proto/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { 16384, 8192, 100 };
static struct request whole, pieces, again;
static struct block_pool pool;

static enum h1_verdict parse_in_pieces(const char *at, size_t length, size_t step, struct arena *arena, enum codec_fault *fault)
{
    struct h1_progress progress = { 0 };
    enum h1_verdict verdict = H1_MORE;
    for (size_t given = step; verdict == H1_MORE; given += step) {
        verdict = h1_parse_request(&pieces, at, given < length ? given : length, &progress, &limits, arena, fault);
        if (given >= length)
            break;
    }
    return verdict;
}

/* A target that names a host names one only, without a user, and Host has not changed it (RFC 9112 3.2). */
static void names_one_host(void)
{
    struct slice host;
    uint16_t port;
    struct forward_host read;
    if (whole.form != TARGET_ABSOLUTE && whole.form != TARGET_AUTHORITY)
        return;
    MUST(uri_authority_split(whole.authority, &host, &port) == ERR_OK && slice_equal(host, whole.host));
    MUST(!memchr(whole.authority.at, '@', whole.authority.length) && !memchr(whole.authority.at, '%', whole.authority.length));
    MUST(whole.authority.at >= whole.target.at && whole.authority.at + whole.authority.length <= whole.target.at + whole.target.length);
    if (forward_host_read(host, &read) && !read.is_address)
        MUST(read.length > 0 && read.length <= FORWARD_HOST_BYTES_MAX && read.name[read.length - 1] != '.');
}

static void reads_back(struct arena *arena)
{
    static char out[4 * BLOCK_BYTES];
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    struct forwarding forwarding = { .via = SLICE("weir"), .client_address = SLICE("::1"), .scheme = SLICE("http"), .forwarded_x = true,
                                     .forwarded_rfc7239 = true, .upstream_keep_alive = true, .server = SLICE("p/s:1") };
    static const struct h1_limits wide = { 2 * BLOCK_BYTES, 2 * BLOCK_BYTES, FIELDS_CAP };
    struct h1_writer w = h1_writer_of(out, sizeof out);
    if (whole.method == METHOD_CONNECT)
        return; /* never forwarded */
    MUST(uri_path_is_canonical(whole.path) || slice_equal(whole.path, SLICE("*")));
    MUST(!whole.query.at || uri_query_is_canonical(whole.query));
    h1_write_request(&w, &whole, &forwarding);
    MUST(!w.overflow);
    enum h1_verdict verdict = h1_parse_request(&again, out, (size_t)(w.at - out), &progress, &wide, arena, &fault);
    if (verdict == H1_BAD && fault == FAULT_FIELDS_MANY)
        return; /* ours on top of a hundred */
    MUST(verdict == H1_DONE);
    MUST(again.head_bytes == (size_t)(w.at - out));
    MUST(again.framing == whole.framing && again.content_length == whole.content_length);
    MUST(slice_equal(again.path, whole.path));
    MUST(whole.host.length == 0 || slice_equal(again.host, whole.host));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct h1_progress progress = { 0 };
    enum codec_fault fault = FAULT_NONE, fault_in_pieces = FAULT_NONE;
    if (!pool.memory && block_pool_init(&pool, 64) != ERR_OK)
        return 0;
    if (size == 0 || size > BLOCK_BYTES)
        return 0;
    char *copy = malloc(size);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    arena_init(&arena, &pool);
    enum h1_verdict verdict = h1_parse_request(&whole, copy, size, &progress, &limits, &arena, &fault);
    if (verdict == H1_DONE) {
        MUST(whole.head_bytes <= size);
        names_one_host();
        reads_back(&arena);
    }
    arena_release(&arena);
    arena_init(&arena, &pool);
    enum h1_verdict same = parse_in_pieces(copy, size, 1 + data[size - 1] % 17, &arena, &fault_in_pieces);
    MUST(same == verdict || (same == H1_MORE && verdict == H1_BAD)); /* a fault in a line is seen when the line ends */
    MUST(same != H1_DONE || whole.head_bytes == pieces.head_bytes);
    arena_release(&arena);
    free(copy);
    return 0;
}

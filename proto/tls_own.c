#include "proto/tls_own.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

#include "engine/base/check.h"

#define EMPTY_RECORDS_MAX 32u
#define RECORDS_PER_KEY (1ull << 23)     /* far below what RFC 8446 5.5 allows for AES-GCM */
#define SMALL_RECORD_BYTES 4096u         /* fit the first flight of a connection: what came can be used before a whole 16 KiB is there */
#define SMALL_BURST_BYTES (16u * 1024u)
#define KEY_UPDATE 24

/* Keys (RFC 8446 7.2 and 7.3) ---------------------------------------------------------------------------------- */

static enum err expand(const struct tls *tls, const unsigned char *secret, const char *label, unsigned char *out, size_t length)
{
    static const unsigned char protocol[] = "tls13 ";
    int digest = tls->secret_bytes == WC_SHA384_DIGEST_SIZE ? WC_SHA384 : WC_SHA256;
    int result = wc_Tls13_HKDF_Expand_Label(out, (word32)length, secret, tls->secret_bytes, protocol, sizeof protocol - 1, (const byte *)label,
                                            (word32)strlen(label), NULL, 0, digest);
    return result == 0 ? ERR_OK : ERR_MEMORY;
}

static enum err keys_from_secret(const struct tls *tls, struct tls_keys *keys, enum tls_suite suite, const unsigned char *secret, uint64_t sequence)
{
    unsigned char key[32], iv[12];
    enum err e = expand(tls, secret, "key", key, tls_suite_key_bytes(suite));
    if (e == ERR_OK)
        e = expand(tls, secret, "iv", iv, sizeof iv);
    if (e == ERR_OK)
        e = tls_keys_set(keys, suite, true, key, iv, sequence);
    explicit_bzero(key, sizeof key);
    explicit_bzero(iv, sizeof iv);
    return e;
}

static enum err next_keys(const struct tls *tls, struct tls_keys *keys, unsigned char *secret)
{
    unsigned char next[TLS_SECRET_BYTES_MAX];
    enum tls_suite suite = (enum tls_suite)keys->suite;
    enum err e = expand(tls, secret, "traffic upd", next, tls->secret_bytes);
    if (e == ERR_OK) {
        memcpy(secret, next, tls->secret_bytes);
        tls_keys_wipe(keys);
        e = keys_from_secret(tls, keys, suite, secret, 0);
    }
    explicit_bzero(next, sizeof next);
    return e;
}

enum err tls_own_begin(struct tls *tls, const struct tls_own_start *start)
{
    enum err e;
    if (start->tls13) {
        MUST(tls->secret_bytes);
        e = keys_from_secret(tls, &tls->read, start->suite, tls->read_secret, start->reads);
        return e == ERR_OK ? keys_from_secret(tls, &tls->write, start->suite, tls->write_secret, start->writes) : e;
    }
    e = tls_keys_set(&tls->read, start->suite, false, start->read_key, start->read_iv, start->reads);
    return e == ERR_OK ? tls_keys_set(&tls->write, start->suite, false, start->write_key, start->write_iv, start->writes) : e;
}

/* Sealing ------------------------------------------------------------------------------------------------------ */

/* The last block of `out` when it is ours alone and has room for `need` bytes, else a new one; a reference for the caller. NULL: none. */
static struct block *block_for(struct tls *tls, uint32_t need)
{
    struct chain *out = &tls->out;
    struct span *last = chain_empty(out) ? NULL : chain_span(out, out->count - 1u);
    if (last && last->block->references == 1 && last->offset + last->length == last->block->used && BLOCK_BYTES - last->block->used >= need)
        return block_ref(last->block);
    return chain_full(out) ? NULL : block_take(tls->room->pool);
}

/* Seals into block and queues it; the reference is used up. */
static void seal_into(struct tls *tls, struct block *block, enum tls_content_type type, const struct tls_run *runs, unsigned count)
{
    struct chain *out = &tls->out;
    uint32_t at = block->used;
    uint32_t length = (uint32_t)tls_seal(&tls->write, type, runs, count, block->data + at);
    block->used += length;
    struct span *last = chain_empty(out) ? NULL : chain_span(out, out->count - 1u);
    if (last && last->block == block) {
        last->length += length;
        out->bytes += length;
    } else
        MUST(chain_append(out, block, at, length) == ERR_OK);
    block_unref(block);
}

static bool seal_bytes(struct tls *tls, enum tls_content_type type, const char *at, size_t length)
{
    struct tls_run run = { at, length };
    struct block *block = block_for(tls, (uint32_t)(length + tls_record_overhead(&tls->write)));
    if (block)
        seal_into(tls, block, type, &run, 1);
    return block != NULL;
}

void tls_own_alert(struct tls *tls, enum tls_alert alert)
{
    char bytes[2] = { alert == TLS_CLOSE_NOTIFY ? 1 : 2, (char)alert };
    (void)seal_bytes(tls, TLS_ALERT, bytes, sizeof bytes);
}

static bool update_write_keys(struct tls *tls)
{
    static const char message[5] = { KEY_UPDATE, 0, 0, 1, 0 };
    return seal_bytes(tls, TLS_HANDSHAKE, message, sizeof message) && next_keys(tls, &tls->write, tls->write_secret) == ERR_OK;
}

/* As many runs of from's front as make `most` bytes. */
static uint32_t runs_of(struct chain *from, uint32_t most, struct tls_run *runs, unsigned *count)
{
    uint32_t total = 0;
    for (*count = 0; *count < from->count && total < most; (*count)++) {
        struct span *span = chain_span(from, *count);
        uint32_t n = (uint32_t)size_min(span->length, most - total);
        runs[*count] = (struct tls_run){ span_at(span), n };
        total += n;
    }
    return total;
}

enum tls_verdict tls_own_write(struct tls *tls, struct chain *from)
{
    struct tls_run runs[CHAIN_SPANS];
    uint32_t overhead = (uint32_t)tls_record_overhead(&tls->write);
    if (unlikely(tls->tls13 && tls->write.sequence > RECORDS_PER_KEY) && !update_write_keys(tls))
        return TLS_WANTS_ROOM;
    while (!chain_empty(from)) {
        bool small = tls->burst_bytes < SMALL_BURST_BYTES;
        uint32_t wanted = (uint32_t)size_min(from->bytes, small ? SMALL_RECORD_BYTES : TLS_PLAIN_BYTES_MAX);
        struct block *block = block_for(tls, (uint32_t)size_min(wanted + overhead, BLOCK_BYTES));
        if (!block)
            return TLS_WANTS_ROOM;
        unsigned count;
        uint32_t sealed = runs_of(from, (uint32_t)size_min(wanted, BLOCK_BYTES - block->used - overhead), runs, &count);
        seal_into(tls, block, TLS_APPLICATION_DATA, runs, count);
        chain_consume(from, sealed);
        tls->burst_bytes += small ? sealed : 0;
    }
    return TLS_DONE;
}

/* Opening ------------------------------------------------------------------------------------------------------ */

static enum tls_verdict fail(struct tls *tls, enum tls_alert alert, const char *what, char why[160])
{
    tls_own_alert(tls, alert);
    tls->failed = true;
    snprintf(why, 160, "%s", what);
    return TLS_REFUSED;
}

/* Copies from the queue's front without taking away. */
static void peek(const struct queue *queue, char *out, size_t length)
{
    const struct block *block = queue->first;
    size_t offset = queue->offset;
    while (length) {
        size_t n = size_min(block->used - offset, length);
        memcpy(out, block->data + offset, n);
        out += n;
        length -= n;
        offset = 0;
        block = block->next_free ? block_at(block->pool, block->next_free - 1) : NULL;
    }
}

/* Length of the whole record at the front; 0: not all there, or not even its head. */
static size_t record_length(const struct queue *raw)
{
    char head[TLS_RECORD_HEAD_BYTES];
    if (raw->bytes < sizeof head)
        return 0;
    peek(raw, head, sizeof head);
    size_t length = sizeof head + ((size_t)(unsigned char)head[3] << 8 | (unsigned char)head[4]);
    return length > TLS_SEALED_BYTES_MAX || length <= raw->bytes ? length : 0;
}

/* Only KeyUpdate may come, whole in its record; what comes after it in `raw` is under the new key (RFC 8446 4.6.3, 5.1). */
static enum tls_verdict handshake_message(struct tls *tls, const char *at, size_t length, char why[160])
{
    static const char head[4] = { KEY_UPDATE, 0, 0, 1 };
    if (!tls->tls13)
        return fail(tls, TLS_NO_RENEGOTIATION, "the peer wants to renegotiate", why);
    if (length != 5 || memcmp(at, head, sizeof head) != 0 || (unsigned char)at[4] > 1)
        return fail(tls, TLS_UNEXPECTED_MESSAGE, "an unexpected handshake message", why);
    if (next_keys(tls, &tls->read, tls->read_secret) != ERR_OK)
        return fail(tls, TLS_INTERNAL_ERROR, "out of memory", why);
    if (at[4] == 1 && !update_write_keys(tls))
        return fail(tls, TLS_INTERNAL_ERROR, "no room for a key update", why);
    return TLS_DONE;
}

static enum tls_verdict alert_message(struct tls *tls, const char *at, size_t length, char why[160])
{
    if (length != 2)
        return fail(tls, TLS_DECODE_ERROR, "a malformed alert", why);
    if (at[1] == TLS_CLOSE_NOTIFY) {
        tls->peer_closed = true;
        return TLS_CLOSED;
    }
    if (at[0] == 1 && (unsigned char)at[1] == 90)
        return TLS_DONE; /* user_canceled: close_notify follows */
    tls->failed = true;
    snprintf(why, 160, "alert %u from the peer", (unsigned char)at[1]);
    return TLS_REFUSED;
}

/* The content stands in block's first bytes, or nowhere: block is used up. */
static enum tls_verdict take_content(struct tls *tls, enum tls_content_type type, struct block *block, size_t content, struct queue *in, char why[160])
{
    enum tls_verdict verdict = TLS_DONE;
    if (content == 0 && ++tls->empty_records > EMPTY_RECORDS_MAX)
        verdict = fail(tls, TLS_UNEXPECTED_MESSAGE, "too many empty records", why);
    else if (type == TLS_ALERT)
        verdict = alert_message(tls, block->data, content, why);
    else if (type == TLS_HANDSHAKE && ++tls->empty_records <= EMPTY_RECORDS_MAX)
        verdict = handshake_message(tls, block->data, content, why);
    else if (type != TLS_APPLICATION_DATA)
        verdict = fail(tls, TLS_UNEXPECTED_MESSAGE, "an unexpected record", why);
    else if (content > 0) {
        tls->empty_records = 0;
        tls->burst_bytes = 0;
        block->used = (uint32_t)content;
        queue_append(in, block);
        return TLS_DONE;
    }
    block_unref(block);
    return verdict;
}

/* A record whose content may fill a whole block has no room there for the type behind it; and one that block borders cut is no single run. Both go
 * over the scratch. */
static enum err open_into(struct tls *tls, size_t length, struct block *block, size_t *content, enum tls_content_type *type)
{
    struct slice run = queue_front(&tls->raw);
    char *scratch = tls->room->scratch, *opened = scratch + TLS_SEALED_BYTES_MAX;
    if (run.length >= length && length - TLS_RECORD_HEAD_BYTES <= BLOCK_BYTES)
        return tls_open(&tls->read, run.at, length, block->data, content, type);
    peek(&tls->raw, scratch, length);
    enum err e = tls_open(&tls->read, scratch, length, opened, content, type);
    if (e == ERR_OK)
        memcpy(block->data, opened, *content);
    return e;
}

static enum tls_verdict read_record(struct tls *tls, size_t length, struct queue *in, char why[160])
{
    size_t content = 0;
    enum tls_content_type type = TLS_ALERT;
    if (length > TLS_SEALED_BYTES_MAX)
        return fail(tls, TLS_RECORD_OVERFLOW, "a record that is too long", why);
    struct block *block = block_take(tls->room->pool);
    if (!block)
        return TLS_WANTS_ROOM;
    enum err e = open_into(tls, length, block, &content, &type);
    if (e != ERR_OK) {
        block_unref(block);
        return fail(tls, e == ERR_REFUSED ? TLS_BAD_RECORD_MAC : TLS_UNEXPECTED_MESSAGE, e == ERR_REFUSED ? "a record that does not open" : "a malformed record", why);
    }
    queue_consume(&tls->raw, length);
    return take_content(tls, type, block, content, in, why);
}

enum tls_verdict tls_own_read(struct tls *tls, struct queue *in, uint64_t stop, char why[160])
{
    while (in->bytes < stop) {
        size_t length = record_length(&tls->raw);
        if (length == 0)
            return TLS_WANTS_INPUT;
        enum tls_verdict verdict = read_record(tls, length, in, why);
        if (verdict != TLS_DONE)
            return verdict;
    }
    return TLS_DONE;
}

/*
 * br (RFC 7932) by libbrotlienc, which must never be short of memory: Debian builds it so that a failed allocation ends the process by exit()
 * (BROTLI_ENCODER_EXIT_ON_OOM is in force in every build that does not ask for BROTLI_ENCODER_CLEANUP_ON_OOM).
 *
 * So each coder has one block, taken when it is made, and all that the encoder allocates lies in there: its state too. The encoder gives and takes
 * tables as it goes, some twenty at a time, so the block is divided by first fit. It is large enough, for what the encoder asks for has bounds:
 * with QUALITY and WINDOW_BITS the hash table has 512 KiB and the ring buffer 192 KiB, and the rest (commands, 12 bytes for each byte of
 * content; histograms; what it makes) grows with the content between two flushes. That would be up to 128 KiB and some 2.8 MiB in all; we flush after
 * PIECE_BYTES, which adds 1.5 % to what is made and leaves 1.14 MiB as the most that any content and any order of flushes came to (gaps counted, with
 * libbrotlienc 1.0.9 and 1.1.0). The block has a third more, of pages that are never written and so never there.
 *
 * Should a later library want more, the allocation does not return: it jumps out to our step, which gives this stream up as a lack of memory anywhere
 * does. What the encoder left half done is in the block and goes with it, for it holds nothing else; so the block is simply freed, always.
 */
#include <brotli/encode.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/coding_way.h"

#define QUALITY 5
#define WINDOW_BITS 16
#define PIECE_BYTES (16u * 1024u)
#define BLOCK_BYTES (1536u * 1024u)
#define CODER_BYTES (1200u * 1024u) /* of the block, what is ever written */
#define PART_ALIGNMENT 16u

/* A part of the block, and behind it the next one. */
struct part {
    alignas(PART_ALIGNMENT) uint32_t bytes; /* with this head */
    bool taken;
};

struct coder_brotli {
    struct coder coder;
    BrotliEncoderState *state;
    size_t held; /* content taken since the last flush */
    bool broken; /* an allocation failed: the state is not to be touched any more */
    jmp_buf no_memory;
    alignas(PART_ALIGNMENT) char block[BLOCK_BYTES];
};

/* The block ---------------------------------------------------------------------------------------------------- */

static struct part *part_at(struct coder_brotli *brotli, size_t offset)
{
    return offset < BLOCK_BYTES ? (struct part *)(void *)(brotli->block + offset) : NULL;
}

static struct part *part_behind(struct coder_brotli *brotli, struct part *part)
{
    return part_at(brotli, (size_t)((char *)part - brotli->block) + part->bytes);
}

/* The first free one of so many bytes, free neighbours made one; NULL: there is none. */
static struct part *find_part(struct coder_brotli *brotli, size_t bytes)
{
    for (struct part *part = part_at(brotli, 0); part; part = part_behind(brotli, part)) {
        if (part->taken)
            continue;
        for (struct part *next = part_behind(brotli, part); next && !next->taken; next = part_behind(brotli, part))
            part->bytes += next->bytes;
        if (part->bytes >= bytes)
            return part;
    }
    return NULL;
}

static void *take(void *argument, size_t wanted)
{
    struct coder_brotli *brotli = argument;
    struct part *part = NULL;
    size_t bytes = 0;
    if (wanted < BLOCK_BYTES && !FAULT("coding")) {
        bytes = sizeof *part + (wanted + PART_ALIGNMENT - 1) / PART_ALIGNMENT * PART_ALIGNMENT;
        part = find_part(brotli, bytes);
    }
    if (!part)
        longjmp(brotli->no_memory, 1);
    if (part->bytes > bytes) {
        struct part *rest = (struct part *)(void *)((char *)part + bytes);
        *rest = (struct part){ .bytes = part->bytes - (uint32_t)bytes };
        part->bytes = (uint32_t)bytes;
    }
    part->taken = true;
    return part + 1;
}

static void give(void *argument, void *memory)
{
    (void)argument;
    if (memory)
        ((struct part *)memory - 1)->taken = false;
}

/* The coder ---------------------------------------------------------------------------------------------------- */

/* setjmp's frame is never one that has a variable to lose. */
static bool begin(struct coder_brotli *brotli)
{
    if (setjmp(brotli->no_memory))
        return false;
    brotli->state = BrotliEncoderCreateInstance(take, give, brotli);
    MUST(brotli->state && BrotliEncoderSetParameter(brotli->state, BROTLI_PARAM_QUALITY, QUALITY) &&
         BrotliEncoderSetParameter(brotli->state, BROTLI_PARAM_LGWIN, WINDOW_BITS));
    return true;
}

static struct coder *brotli_make(void)
{
    struct coder_brotli *brotli = FAULT("coding") ? NULL : malloc(sizeof *brotli);
    if (!brotli)
        return NULL;
    brotli->held = 0;
    brotli->broken = false;
    *part_at(brotli, 0) = (struct part){ .bytes = BLOCK_BYTES };
    if (begin(brotli))
        return &brotli->coder;
    free(brotli);
    return NULL;
}

static void brotli_free(struct coder *coder)
{
    free(coder);
}

/* One call of the encoder, which takes all of the content. False: out of memory, and the call did not come to its end. */
static bool encode(struct coder_brotli *brotli, BrotliEncoderOperation operation, struct slice content, uint8_t **out,
                   size_t *room)
{
    const uint8_t *next_in = (const uint8_t *)content.at;
    size_t left = content.length;
    if (setjmp(brotli->no_memory)) {
        brotli->broken = true;
        return false;
    }
    bool good = BrotliEncoderCompressStream(brotli->state, operation, &left, &next_in, room, out, NULL);
    return good &&
           left == 0; /* always: it takes a block, which is larger than a piece, before it makes anything of it */
}

/*
 * A piece at a time, and behind each that is whole a flush of our own. What is asked for is over when the encoder keeps nothing back: a call that was not
 * has to be made again, with no more content, and `held` and what is left of *in say which it was.
 */
static enum coder_verdict brotli_step(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room,
                                      size_t *made)
{
    struct coder_brotli *brotli = (struct coder_brotli *)coder;
    static const BrotliEncoderOperation words[] = { [CODER_MORE] = BROTLI_OPERATION_PROCESS,
                                                    [CODER_FLUSH] = BROTLI_OPERATION_FLUSH,
                                                    [CODER_END] = BROTLI_OPERATION_FINISH };
    if (brotli->broken)
        return CODER_FAILED;
    if (ask == CODER_FLUSH && brotli->held == 0 && in->length == 0)
        return CODER_DONE; /* the encoder would only say that it is there */
    uint8_t *next_out = (uint8_t *)out;
    size_t space = room;
    do {
        struct slice piece = slice_of(in->at, size_min(in->length, PIECE_BYTES - brotli->held));
        BrotliEncoderOperation operation = words[piece.length == in->length ? ask : CODER_MORE];
        if (operation == BROTLI_OPERATION_PROCESS && brotli->held + piece.length == PIECE_BYTES)
            operation = BROTLI_OPERATION_FLUSH;
        bool good = encode(brotli, operation, piece, &next_out, &space);
        *made = room - space;
        if (!good)
            return CODER_FAILED;
        if (piece.length)
            *in = slice_of(in->at + piece.length, in->length - piece.length);
        brotli->held += piece.length;
        if (BrotliEncoderHasMoreOutput(brotli->state))
            return CODER_FULL;
        if (operation != BROTLI_OPERATION_PROCESS)
            brotli->held = 0;
    } while (in->length);
    return CODER_DONE;
}

const struct coder_way coder_way_brotli = { "br", CODER_BYTES, brotli_make, brotli_step, brotli_free };

/*
 * coding: content codings (RFC 9110 8.4.1) that content is written in: bytes in, coded bytes out, a step at a time.
 *
 * A coder holds one stream's state: memory from malloc, taken when it is made or with its first steps, by windows and tables that are
 * chosen for it: some 260 KiB for gzip, 380 KiB for zstd, 1,200 KiB for br. Each library is known to one file: coding_gzip.c, coding_brotli.c,
 * coding_zstd.c.
 */
#ifndef WEIR_CODING_H
#define WEIR_CODING_H

#include "engine/base/slice.h"


#define CODER_ROOM_LEAST 16u          /* with less than 7 zlib would begin a flush again and again */

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_BROTLI, CODING_ZSTD, CODINGS };

/* As Content-Encoding says it. */
struct slice coding_word(enum coding coding);

/* Memory that one coder comes to at most. */
size_t coder_bytes(enum coding coding);

struct coder;

/* coding: not CODING_IDENTITY. NULL: out of memory. */
struct coder *coder_new(enum coding coding);
void coder_free(struct coder *coder); /* NULL is fine */

enum coder_ask {
    CODER_MORE,  /* further content follows */
    CODER_FLUSH, /* what was taken so far shall be readable once all that is made has arrived */
    CODER_END    /* and then the content is complete */
};

enum coder_verdict {
    CODER_DONE, /* all of *in was taken, and what was asked for was done */
    CODER_FULL, /* room was used up: the same again, with what is left of *in */
    CODER_FAILED /* out of memory: the stream cannot be ended properly */
};

/* Takes content off the front of *in and writes up to room bytes (at least CODER_ROOM_LEAST) at out. After a FULL the same is to be asked for. */
enum coder_verdict must_use coder_step(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room, size_t *made);

#endif

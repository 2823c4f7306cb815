/*
 * coding_way: what each coding_*.c gives to coding.c; for these files only.
 */
#ifndef WEIR_CODING_WAY_H
#define WEIR_CODING_WAY_H

#include "proto/coding.h"

struct coder_way {
    const char *word;
    size_t bytes; /* coder_bytes */
    struct coder *(*make)(void);
    enum coder_verdict (*step)(struct coder *coder, enum coder_ask ask, struct slice *in, char *out, size_t room, size_t *made);
    void (*free)(struct coder *coder);
};

/* The first member of each way's own struct. */
struct coder {
    const struct coder_way *way;
};

extern const struct coder_way coder_way_gzip, coder_way_brotli, coder_way_zstd;

#endif

/*
 * segment: how stored responses stand on a disk. Format only: bytes to values and back; nothing here holds state.
 *
 * A volume is a file of segments of one size. A segment is written from its start to its end, in batches that end at a block:
 *
 *     header (one block) | record record ... (zeros to the block) record ... | free | footer, which ends where the segment ends
 *
 * A record is a head (128 bytes of values, the hashes of tags, lengths of fields, then key, vary, reason, names and values) and the content in chunks,
 * each led by its checksum. The footer lists the records, so that a restart reads nothing else; a segment without a true one was not
 * sealed, and its records are found one by one. Numbers are little-endian; records begin at multiples of SEGMENT_UNIT.
 *
 * Whatever is read is taken for hostile. A checksum is SipHash-1-3 with the store's own secret, the segment's sequence number and the place
 * in the file: what was cut short, flipped, left from an earlier turn of the log, or written by anybody else (a response whose content looks like a
 * record) does not pass. 64 bits: one in 1.8e19 of what is wrong does.
 */
#ifndef WEIR_CACHE_SEGMENT_H
#define WEIR_CACHE_SEGMENT_H

#include "cache/object.h"

#define SEGMENT_VERSION 1u
#define SEGMENT_BLOCK 4096u /* of transfers: place, length and memory are multiples of it */
#define SEGMENT_UNIT 64u
#define SEGMENT_BYTES_LEAST (1u << 20)
#define SEGMENT_BYTES_MOST (32u << 20)
#define RECORD_HEAD_MAX (64u * 1024u)
#define RECORD_FIXED_BYTES 128u
#define CHUNK_BYTES 65536u /* with its checksum */
#define CHUNK_CONTENT (CHUNK_BYTES - 8u)

/* Which segment it is: what its checksums are made with. */
struct segment_id {
    uint64_t seed[2]; /* of the volume */
    uint64_t base;    /* place in the file */
    uint64_t sequence; /* grows with each segment that is begun; 0: never written */
};

/* Header: one block. */
void segment_write_header(const struct segment_id *id, char block[SEGMENT_BLOCK]);
/* id->seed and base are given; the sequence is read. False: no header of this volume and version. */
bool segment_read_header(struct segment_id *id, const char block[SEGMENT_BLOCK]);

/* Records ------------------------------------------------------------------------------------------------------ */

/* What the index knows of a record, and the footer lists. */
struct segment_entry {
    uint64_t hash;    /* of the URL part of the key */
    uint64_t stamp;   /* purges up to this one are known not to concern it */
    uint32_t at;      /* in the segment */
    uint32_t bytes;   /* multiple of SEGMENT_UNIT */
    uint32_t tags;    /* record_tags */
    uint16_t edition; /* record_edition */
};
/* 20 bits of the key's hash and 12 of the secondary key's: tells variants apart, never proves anything. */
#define RECORD_KEY_TAG_SHIFT 12u
uint32_t record_tags(const uint64_t seed[2], struct slice key, struct slice vary);
/* 11 bits that differ when the stored response was replaced or freshened. */
uint16_t record_edition(const struct cache_policy *policy, uint64_t content_length);

/* Bytes of its head and of all of it; false: it has no place on a disk (head or content too large, not complete). */
bool record_measure(const struct object *object, uint32_t bytes_max, uint32_t *head_bytes, uint32_t *bytes);
/* at: in the segment. out: head_bytes of record_measure. */
void record_write_head(const struct segment_id *id, uint32_t at, const struct object *object, uint64_t stamp, char *out);

/* Content on its way from an object into chunks. */
struct record_content {
    const struct piece *piece;
    uint32_t offset; /* in it */
    uint64_t left;
};
void record_content_begin(const struct object *object, struct record_content *content);
/* The next chunk, which begins `at` in the segment; out: CHUNK_BYTES. Answers its bytes; 0: no more. */
uint32_t record_write_chunk(const struct segment_id *id, uint32_t at, struct record_content *content, char *out);

/* A head as it was read: slices point into the bytes. */
struct record {
    uint32_t head_bytes, bytes;
    uint64_t stamp, hash;
    uint64_t content_length;
    uint64_t said_length; /* without a body: what its head said; BODY_LENGTH_UNKNOWN: nothing */
    int64_t stored_s;
    struct cache_policy policy;
    bool has_body; /* also an empty one */
    bool stale;    /* was purged softly before it was written */
    uint16_t status, field_count, tag_count;
    uint32_t url_length;
    struct slice key, vary, reason;
    const char *tags, *lengths, *texts;
};
/* ERR_AGAIN: *needed bytes are (a head's length is not to be trusted before it is whole: at most RECORD_HEAD_MAX). ERR_NONE: none is here. */
enum err must_use record_read_head(const struct segment_id *id, uint32_t at, const char *bytes, size_t length, struct record *record, uint32_t *needed);
uint64_t record_tag(const struct record *record, uint32_t number); /* hash */
/* The head as a response whose slices point into the record's bytes; false: more fields than a response may have. */
bool must_use record_response(const struct record *record, struct response *response);
/* Bytes of the chunk that begins when `done` bytes of the content have been read; 0: all has. */
uint32_t record_chunk_bytes(uint64_t content_length, uint64_t done);
/* Is the chunk what was written? Its content is behind the first 8 bytes. */
bool must_use record_chunk_holds(const struct segment_id *id, uint32_t at, const char *chunk, uint32_t bytes);

/* Footer ------------------------------------------------------------------------------------------------------- */

#define FOOTER_ENTRY_BYTES 32u
#define FOOTER_TAIL_BYTES 64u
void segment_write_entry(const struct segment_entry *entry, char out[FOOTER_ENTRY_BYTES]);
/* Room at the segment's end that a footer of so many entries takes: whole blocks. */
uint32_t segment_footer_bytes(uint32_t count);
/* Bytes [from, from + length) of the footer, whose entries stand in `entries` as written; sum: segment_footer_sum. */
uint64_t segment_footer_sum(const struct segment_id *id, const char *entries, uint32_t count);
void segment_write_footer(const struct segment_id *id, const char *entries, uint32_t count, uint64_t sum, uint32_t from, uint32_t length, char *out);
/* From the segment's last block: how many entries there are. False: not sealed. */
bool segment_read_tail(const struct segment_id *id, uint32_t segment_bytes, const char block[SEGMENT_BLOCK], uint32_t *count);
/* bytes: segment_footer_bytes(count) of them. NULL: not what was written. Else the entries, for segment_read_entry. */
const char *segment_read_footer(const struct segment_id *id, const char *bytes, uint32_t count);
/* False: it points out of the segment. */
bool segment_read_entry(const char *entries, uint32_t number, uint32_t segment_bytes, struct segment_entry *entry);

#endif

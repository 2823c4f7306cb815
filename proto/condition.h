/*
 * condition: conditional requests against a stored response (RFC 9110 13, RFC 9111 4.3.2), and which stored fields an answer then carries.
 *
 * Pure: the request's fields and what is known of the stored response come in, a verdict goes out.
 */
#ifndef WEIR_CONDITION_H
#define WEIR_CONDITION_H

#include "proto/message.h"

/* What a stored response says of itself. Times are seconds since 1970. */
struct validators {
    struct slice etag;  /* value of ETag with its W/; empty: none */
    int64_t modified_s; /* Last-Modified; -1: none, or no date */
    int64_t date_s;     /* Date, or when it was received; -1: not known */
};

enum condition {
    CONDITION_NONE,         /* nothing stands against the answer in full */
    CONDITION_NOT_MODIFIED, /* 304 */
    CONDITION_FAILED        /* 412 */
};

/*
 * The request's preconditions in the order of RFC 9110 13.2.2: If-Match or else If-Unmodified-Since, then If-None-Match or else (GET and HEAD)
 * If-Modified-Since. status: of the stored response: for another than 200 the answer is CONDITION_NONE (13.2.1).
 *
 * If-None-Match compares weakly, If-Match strongly (8.8.3.2). A date that is none is as if it were not there (13.1.3, 13.1.4). Without
 * Last-Modified, If-Modified-Since is held against date_s (RFC 9111 4.3.2); If-Unmodified-Since is then ignored.
 *
 * RFC 9110 13.1.1 and 13.1.4 let a cache ignore If-Match and If-Unmodified-Since. They are judged here, since a client that sends them wants no other
 * version than the one it has; an engine that would rather have the origin say 412 looks at condition_is_for_origin.
 */
enum condition condition_of(const struct request *request, const struct validators *stored, unsigned status);
/* If-Match or If-Unmodified-Since is there. */
bool condition_is_for_origin(const struct request *request);

/*
 * May Range be honoured (RFC 9110 13.1.5)? True without If-Range. An entity tag must match strongly. A date must be that of Last-Modified exactly, and
 * Last-Modified strong, which it is when the response's Date is CONDITION_STRONG_S later (8.8.2.2: clocks may differ).
 */
#define CONDITION_STRONG_S 60
bool condition_if_range(const struct request *request, const struct validators *stored);

/* Entity tags (RFC 9110 8.8.3.2), each with its W/ and its quotes. Strong: neither is weak. */
bool etags_match_strong(struct slice a, struct slice b);
/* An origin that forgot the quotes is put up with here: equal bytes are equal. */
bool etags_match_weak(struct slice a, struct slice b);

/* The answers that are made of a stored 200. */
enum stored_answer {
    STORED_FULL,         /* 200: all fields */
    STORED_NOT_MODIFIED, /* 304 (RFC 9110 15.4.5): no metadata of the representation but what tells which one it is */
    STORED_PART,         /* 206 of one range (15.3.7.1): all but digests of the whole content */
    STORED_PARTS         /* 206 of several (15.3.7.2): likewise, and Content-Type is in each part */
};
/*
 * Does this stored field stand in such an answer? has_etag: the stored response has an ETag (then 304 needs no Last-Modified). Content-Length and
 * Content-Range are never carried but by STORED_FULL: whoever frames the answer writes them.
 */
bool condition_carries(enum stored_answer answer, const struct field *field, bool has_etag);

#endif

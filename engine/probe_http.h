/*
 * probe_http: the HTTP of one active check (prober.c): the request, and the judgement of whatever comes back. Bytes in, a verdict out;
 * it knows no socket and no time.
 *
 * An answer is judged by its status, and by a text that must stand in its content where the configuration names one. The
 * content is searched as it streams by, whatever its framing, and the judgement is made as soon as it can be. What an origin can
 * cost: PROBE_HEAD_BYTES for heads (interim ones included) and PROBE_CONTENT_BYTES of content looked at; beyond that the check has failed.
 */
#ifndef WEIR_PROBE_HTTP_H
#define WEIR_PROBE_HTTP_H

#include "engine/config.h"
#include "proto/h1_body.h"
#include "proto/h1_parse.h"

#define PROBE_HEAD_BYTES BLOCK_BYTES
#define PROBE_CONTENT_BYTES (64u * 1024u)
#define PROBE_REQUEST_BYTES 4096u /* CHECK_FIELDS_BYTES_MAX, a path of 1 KiB, a host, and what is always there */
#define PROBE_WHAT_BYTES 96u

enum probe_http_verdict {
    PROBE_HTTP_MORE, /* not known yet */
    PROBE_HTTP_WELL,
    PROBE_HTTP_ILL
};

struct probe_http {
    const struct config_check *check;
    struct h1_progress progress;
    struct h1_body body;
    uint16_t status; /* 0: the final head is not there yet */
    uint16_t shared[CHECK_BODY_BYTES_MAX +
                    1]; /* [n]: how long the longest true prefix of the text is that its first n bytes end in */
    uint32_t matched;   /* bytes of the text that what was read ends in */
    uint32_t looked_at;
    uint32_t held, begun; /* bytes of heads, and where the one that is read begins */
    char head[PROBE_HEAD_BYTES];
};

/* check must stay. Also makes ready for another answer. */
void probe_http_init(struct probe_http *http, const struct config_check *check);

/* Writes the request; its length. address: the server's, "unix:/path" too; port: 0, or another one than the address has. */
size_t probe_http_request(const struct config_check *check, struct slice address, char out[PROBE_REQUEST_BYTES]);

/* The next bytes of the answer. Unless the verdict is MORE, what says why ("it answered 200"), and nothing more may be given. */
enum probe_http_verdict probe_http_input(struct probe_http *http, struct slice bytes, char what[PROBE_WHAT_BYTES]);

/* The origin closed before the verdict: says what that means. It is never well, since what makes well is told at once. */
void probe_http_closed(const struct probe_http *http, char what[PROBE_WHAT_BYTES]);

#endif

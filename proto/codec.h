/*
 * codec: what the HTTP versions share: why a message is refused, and what an intermediary must do to one that it
 * forwards (RFC 9110 section 7.6), independent of how it is written.
 */
#ifndef WEIR_CODEC_H
#define WEIR_CODEC_H

#include "proto/message.h"

/* Why a head or a body is refused: a row each: id, counter word, status for a client, sentence. */
/* clang-format off */
#define FAULT_ROWS(X)                                                                                          \
    X(FAULT_NONE,                  "none",                  200, "no fault")                                   \
    X(FAULT_METHOD,                "bad_method",            400, "the method is not a token")                  \
    X(FAULT_TARGET,                "bad_target",            400, "the request target is malformed")            \
    X(FAULT_SCHEME,                "unsupported_scheme",    400, "only http:// is asked for here, and https:// by CONNECT") \
    X(FAULT_TARGET_LONG,           "target_too_long",       414, "the request target is too long")             \
    X(FAULT_VERSION,               "bad_version",           400, "the HTTP version is malformed")              \
    X(FAULT_VERSION_UNSUPPORTED,   "version_unsupported",   505, "this HTTP version is not spoken here")       \
    X(FAULT_STATUS_LINE,           "bad_status_line",       400, "the status line is malformed")               \
    X(FAULT_BARE_CR,               "bare_cr",               400, "a CR stands without LF")                     \
    X(FAULT_BARE_LF,               "bare_lf",               400, "a line ends in LF without CR")               \
    X(FAULT_NUL,                   "nul",                   400, "a NUL byte in the head")                     \
    X(FAULT_CONTROL,               "control_character",     400, "a control character in the head")            \
    X(FAULT_FIELD_NAME,            "bad_field_name",        400, "a field name is not a token")                \
    X(FAULT_SPACE_BEFORE_COLON,    "space_before_colon",    400, "white space between field name and colon")   \
    X(FAULT_FOLD,                  "obs_fold",              400, "a folded field line")                        \
    X(FAULT_HEAD_LARGE,            "head_too_large",        431, "the head is too large")                      \
    X(FAULT_FIELDS_MANY,           "too_many_fields",       431, "too many fields")                            \
    X(FAULT_HOST_MISSING,          "host_missing",          400, "no Host field")                              \
    X(FAULT_HOST_REPEATED,         "host_repeated",         400, "more than one Host field")                   \
    X(FAULT_HOST,                  "bad_host",              400, "the host is malformed")                      \
    X(FAULT_HOST_MISMATCH,         "host_mismatch",         400, "Host and the request target disagree")       \
    X(FAULT_LENGTH,                "bad_content_length",    400, "Content-Length is malformed")                \
    X(FAULT_LENGTH_REPEATED,       "content_length_repeated", 400, "more than one Content-Length")             \
    X(FAULT_LENGTH_AND_ENCODING,   "length_and_encoding",   400, "Content-Length beside Transfer-Encoding")    \
    X(FAULT_ENCODING,              "bad_transfer_encoding", 400, "Transfer-Encoding is malformed or repeated") \
    X(FAULT_ENCODING_UNSUPPORTED,  "transfer_encoding_unsupported", 501, "a transfer coding other than chunked") \
    X(FAULT_ENCODING_VERSION,      "transfer_encoding_http10", 400, "Transfer-Encoding in HTTP/1.0")           \
    X(FAULT_CONNECTION,            "bad_connection",        400, "Connection is malformed or names a field it may not") \
    X(FAULT_EXPECT,                "bad_expect",            417, "an expectation other than 100-continue")     \
    X(FAULT_CHUNK_SIZE,            "bad_chunk_size",        400, "a chunk size is malformed or too large")     \
    X(FAULT_CHUNK_EXTENSION,       "bad_chunk_extension",   400, "a chunk extension is malformed or too long") \
    X(FAULT_CHUNK_END,             "bad_chunk_end",         400, "a chunk does not end in CR LF")              \
    X(FAULT_TRAILER,               "bad_trailer",           400, "a trailer field is malformed or forbidden")  \
    X(FAULT_TRAILER_LARGE,         "trailer_too_large",     431, "the trailer section is too large")           \
    X(FAULT_NOT_HTTP,              "not_http",              400, "this is not HTTP (TLS on a plain port?)")    \
    X(FAULT_CUT,                   "cut_short",             400, "the message was cut short")
/* clang-format on */
#define FAULT_AS_ENUM(id, word, status, sentence) id,
enum codec_fault { FAULT_ROWS(FAULT_AS_ENUM) CODEC_FAULTS };

const char *codec_fault_word(enum codec_fault fault);     /* for counters and logs */
unsigned codec_fault_status(enum codec_fault fault);      /* to answer a client with; an origin's fault is 502 */
const char *codec_fault_sentence(enum codec_fault fault); /* for people */

/*
 * Marks the fields that must not be forwarded: RFC 9110 7.6.1 and every field named by Connection. FAULT_CONNECTION for what
 * Connection may not name (framing, Host, and fields whose loss would change the message for the next hop), and for more
 * options than a sender can mean. Called by the parser; here so that h2 can share it.
 */
enum codec_fault codec_mark_hop_by_hop(struct fields *fields);

/* True for fields that may not stand in a trailer section that is forwarded (RFC 9110 6.5.1). */
bool codec_forbidden_in_trailer(enum field_id id);

/*
 * OPTIONS with Max-Forwards (RFC 9110 7.6.2; TRACE is refused): false at 0, when the proxy is the one asked; else it goes down by one, in
 * place, so the bytes of the head must be writable.
 */
bool codec_count_forwards(const struct request *request);

/* What an intermediary knows and adds when it forwards. All slices live as long as the exchange. */
struct forwarding {
    struct slice via;            /* pseudonym for Via, e.g. "weir"; empty: no Via */
    struct slice client_address; /* text, IPv6 without brackets */
    struct slice client_port;    /* text */
    struct slice scheme;         /* "http" or "https": how the client came */
    struct slice server;         /* name of the server picked, for placeholders */
    struct slice request_id;     /* for placeholders */
    struct slice client_verify;  /* "SUCCESS", "NONE": what became of the client's certificate; empty: none was asked for */
    struct slice client_subject, client_fingerprint; /* of that certificate */
    struct slice hsts;           /* value of Strict-Transport-Security for responses, in place of the origin's; empty: none */
    struct slice set_cookie;     /* value of a further Set-Cookie for the response; empty: none */
    struct slice upgrade;        /* the protocol to ask the origin for, with Connection: Upgrade; empty: none */
    bool early_data;             /* the request came in TLS's early data (RFC 8470 5.1) */
    bool client_trusted;         /* the peer is a listed proxy: its X-Forwarded-* and Forwarded are kept and appended to */
    bool forwarded_x;            /* send X-Forwarded-For, -Proto, -Host */
    bool forwarded_rfc7239;      /* send Forwarded */
    bool upstream_keep_alive;    /* requests: false adds Connection: close */
    struct slice host;           /* Host to send; empty: the request's own authority */
    struct slice path;           /* rewritten path; empty: request->path */
    const struct field_edits *edits;          /* the route's, NULL for none */
};

/* The value of one placeholder ({host}, {client-address}, ...) for this request; empty for what is not known. */
struct slice codec_placeholder(enum field_placeholder placeholder, const struct request *request,
                               const struct forwarding *forwarding);

#endif

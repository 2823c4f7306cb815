/*
 * control_wire: frames of the control socket, and the only file that speaks to libcbor.
 *
 * A frame is a length (4 bytes, big-endian) and one CBOR map (RFC 8949) of that many bytes, as control.cddl says. A request
 * names a command and may have one argument of text or a list of them, and flags; an answer has an exit code and two texts, one for people and
 * one of JSON for machines: the engine renders both, so that the tool need not know what a status is made of.
 *
 * Decoding takes any bytes: before libcbor sees them a scan of our own has checked nesting, counts, that every length stays inside
 * the frame, so no lying length can make it allocate, and that texts are UTF-8. Lengths are definite, as in RFC 8949 4.2.1.
 * Strings in a decoded frame are its own copies, which wire_request_release and wire_answer_release free. In texts to be encoded, bytes that are no UTF-8 become "?".
 */
#ifndef WEIR_CONTROL_WIRE_H
#define WEIR_CONTROL_WIRE_H

#include "engine/base/slice.h"

#define WIRE_VERSION 1u
#define WIRE_HEAD_BYTES 4u
#define WIRE_REQUEST_BYTES_MAX (64u * 1024u)
#define WIRE_ANSWER_BYTES_MAX (64u * 1024u * 1024u)
#define WIRE_DEPTH_MAX 8u
#define WIRE_ITEMS_MAX 1000u
#define WIRE_CODE_MAX 255u /* an exit code */
#define WIRE_ARGUMENTS_MAX 40u
#define WIRE_ARGUMENT_BYTES_MAX 8192u /* of each in the list */
#define WIRE_WEIGHT_MAX 256u
#define WIRE_GROUP_MAX 7u

struct wire_request {
    char command[32];
    char argument[640];
    char value[16];           /* of server-state */
    uint64_t weight, max_connections, group; /* of server-add and server-weight; 0: not given */
    uint64_t deadline_ms; /* of stop; UINT64_MAX: the configuration's */
    const char *arguments[WIRE_ARGUMENTS_MAX]; /* where one is not enough; each ended by NUL, may be empty */
    unsigned argument_count;
    char *memory; /* private: of a decoded frame's arguments */
};

struct wire_answer {
    uint32_t code; /* the tool's exit code; at most WIRE_CODE_MAX */
    char *text;    /* for people; owned, ended by NUL; may be empty, not NULL */
    char *json;
    size_t text_length, json_length;
};

/* A whole frame, head included; malloc'd, the caller frees. NULL: out of memory, too large, or an argument that decoding would refuse. */
char *wire_encode_request(const struct wire_request *request, size_t *length);
char *wire_encode_answer(uint32_t code, struct slice text, struct slice json, size_t *length);

/* The length that a head announces; ERR_CAP above most, ERR_SYNTAX for an empty frame. */
enum err must_use wire_decode_head(const char head[WIRE_HEAD_BYTES], size_t most, size_t *length);

/* The map behind the head. ERR_SYNTAX, ERR_VERSION, ERR_RANGE (a text too long, too many arguments, no exit code), ERR_MEMORY; then there is nothing
 * to release. Unknown keys are ignored. */
enum err must_use wire_decode_request(struct slice map, struct wire_request *request);
void wire_request_release(struct wire_request *request);
enum err must_use wire_decode_answer(struct slice map, struct wire_answer *answer);
void wire_answer_release(struct wire_answer *answer);

/* The scan alone: ERR_SYNTAX unless map is exactly one well-formed item within the limits. */
enum err must_use wire_scan(struct slice map);

#endif

#include "proto/h1_body.h"

#define CHUNK_DIGITS_MAX 16u
#define CHUNK_BYTES_MAX (1ull << 62)

enum chunk_state {
    CHUNK_SIZE,         /* hex digits */
    CHUNK_EXTENSION,    /* after ';' */
    CHUNK_QUOTED,       /* inside a quoted string of an extension */
    CHUNK_QUOTED_PAIR,  /* after its backslash */
    CHUNK_SIZE_LF,      /* the LF that ends the size line */
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILERS
};

void h1_body_init(struct h1_body *body, enum framing framing, uint64_t content_length)
{
    *body = (struct h1_body){ .framing = (uint8_t)framing, .state = CHUNK_SIZE };
    if (framing == FRAMING_LENGTH)
        body->left = content_length;
    body->ended = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && content_length == 0);
}

static enum h1_body_step plain(struct h1_body *body, const char *at, size_t length, size_t *used, struct slice *data)
{
    size_t run = body->framing == FRAMING_LENGTH ? (size_t)u64_min(length, body->left) : length;
    *used = run;
    if (run == 0)
        return H1_BODY_MORE;
    *data = slice_of(at, run);
    body->content += run;
    if (body->framing == FRAMING_LENGTH) {
        body->left -= run;
        body->ended = body->left == 0;
    }
    return H1_BODY_DATA;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char low = (char)(c | 0x20);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* A byte of the size itself: a digit, the start of an extension, or the line's end. */
static enum codec_fault size_byte(struct h1_body *body, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (body->digits++ == CHUNK_DIGITS_MAX || body->left >= CHUNK_BYTES_MAX / 16)
            return FAULT_CHUNK_SIZE;
        body->left = body->left * 16 + (unsigned)digit;
        return FAULT_NONE;
    }
    if (body->digits == 0)
        return FAULT_CHUNK_SIZE;
    if (c == '\r')
        body->state = CHUNK_SIZE_LF;
    else if (c == ';')
        body->state = CHUNK_EXTENSION;
    else
        return c == '\n' ? FAULT_BARE_LF : FAULT_CHUNK_SIZE;
    return FAULT_NONE;
}

/* RFC 9112 7.1.1: checked for what could end the line in somebody else's eyes, and dropped. */
static enum codec_fault extension_byte(struct h1_body *body, char c)
{
    if (++body->extension > H1_EXTENSION_BYTES || ++body->extension_total > H1_EXTENSION_TOTAL)
        return FAULT_CHUNK_EXTENSION;
    if (c == '\n')
        return FAULT_BARE_LF;
    if (body->state == CHUNK_QUOTED_PAIR) {
        body->state = CHUNK_QUOTED;
        return (unsigned char)c < ' ' && c != '\t' ? FAULT_CHUNK_EXTENSION : FAULT_NONE;
    }
    if (c == '"')
        body->state = body->state == CHUNK_QUOTED ? CHUNK_EXTENSION : CHUNK_QUOTED;
    else if (c == '\\' && body->state == CHUNK_QUOTED)
        body->state = CHUNK_QUOTED_PAIR;
    else if (c == '\r' && body->state == CHUNK_EXTENSION)
        body->state = CHUNK_SIZE_LF;
    else if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
        return FAULT_CHUNK_EXTENSION;
    return FAULT_NONE;
}

static enum codec_fault size_line_end(struct h1_body *body, char c)
{
    if (c != '\n')
        return FAULT_BARE_CR;
    body->state = body->left ? CHUNK_DATA : CHUNK_TRAILERS;
    body->digits = 0;
    body->extension = 0;
    return FAULT_NONE;
}

static enum codec_fault framing_byte(struct h1_body *body, char c)
{
    switch ((enum chunk_state)body->state) {
    case CHUNK_SIZE: return size_byte(body, c);
    case CHUNK_EXTENSION:
    case CHUNK_QUOTED:
    case CHUNK_QUOTED_PAIR: return extension_byte(body, c);
    case CHUNK_SIZE_LF: return size_line_end(body, c);
    case CHUNK_DATA_CR:
        body->state = CHUNK_DATA_LF;
        return c == '\r' ? FAULT_NONE : FAULT_CHUNK_END;
    case CHUNK_DATA_LF:
        body->state = CHUNK_SIZE;
        return c == '\n' ? FAULT_NONE : FAULT_CHUNK_END;
    case CHUNK_DATA:
    case CHUNK_TRAILERS: break;
    }
    return FAULT_CHUNK_END;
}

static enum h1_body_step chunked(struct h1_body *body, const char *at, size_t length, size_t *used, struct slice *data, enum codec_fault *fault)
{
    size_t i = 0;
    while (i < length) {
        if (body->state == CHUNK_DATA) {
            size_t run = (size_t)u64_min(length - i, body->left);
            *data = slice_of(at + i, run);
            body->left -= run;
            body->content += run;
            if (body->left == 0)
                body->state = CHUNK_DATA_CR;
            *used = i + run;
            return H1_BODY_DATA;
        }
        if (body->state == CHUNK_TRAILERS)
            break;
        *fault = framing_byte(body, at[i++]);
        if (*fault != FAULT_NONE)
            return H1_BODY_BAD;
    }
    *used = i;
    return body->state == CHUNK_TRAILERS ? H1_BODY_TRAILERS : H1_BODY_MORE;
}

enum h1_body_step h1_body_next(struct h1_body *body, const char *at, size_t length, size_t *used, struct slice *data, enum codec_fault *fault)
{
    *used = 0;
    *data = SLICE_NONE;
    if (body->ended)
        return H1_BODY_END;
    if (body->framing == FRAMING_CHUNKED)
        return chunked(body, at, length, used, data, fault);
    return plain(body, at, length, used, data);
}

void h1_body_trailers_done(struct h1_body *body)
{
    body->ended = true;
}

bool h1_body_close(struct h1_body *body)
{
    if (body->framing == FRAMING_UNTIL_CLOSE)
        body->ended = true;
    return body->ended;
}

uint64_t h1_body_plain_left(const struct h1_body *body)
{
    if (body->ended)
        return 0;
    if (body->framing == FRAMING_LENGTH)
        return body->left;
    return body->framing == FRAMING_UNTIL_CLOSE ? UINT64_MAX : 0;
}

void h1_body_skip(struct h1_body *body, uint64_t bytes)
{
    body->content += bytes;
    if (body->framing != FRAMING_LENGTH)
        return;
    body->left -= u64_min(bytes, body->left);
    body->ended = body->left == 0;
}

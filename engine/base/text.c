#include "engine/base/text.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"

#define TEXT_BYTES_FIRST 256u

void text_release(struct text *text)
{
    free(text->at);
    *text = (struct text){ 0 };
}

/* Room for `more` bytes and the NUL behind them. What stands already stays as it is when this fails. */
static bool reserve(struct text *text, size_t more)
{
    if (text->failed)
        return false;
    if (more < text->cap - text->length)
        return true;
    size_t wanted = text->cap ? text->cap : TEXT_BYTES_FIRST;
    while (more <= TEXT_BYTES_MAX && wanted <= text->length + more)
        wanted *= 2;
    char *at = more > TEXT_BYTES_MAX || wanted > TEXT_BYTES_MAX || FAULT("text") ? NULL : realloc(text->at, wanted);
    if (!at) {
        text->failed = true;
        return false;
    }
    text->at = at;
    text->cap = wanted;
    return true;
}

void text_add(struct text *text, struct slice bytes)
{
    if (!reserve(text, bytes.length))
        return;
    if (bytes.length)
        memcpy(text->at + text->length, bytes.at, bytes.length);
    text->length += bytes.length;
    text->at[text->length] = '\0';
}

__attribute__((format(printf, 2, 0))) static int format_into(struct text *text, const char *format, va_list arguments)
{
    size_t room = text->cap - text->length;
    return vsnprintf(room ? text->at + text->length : NULL, room, format, arguments);
}

void text_format(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = text->failed ? -1 : format_into(text, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if ((size_t)length < text->cap - text->length) {
        text->length += (size_t)length;
    } else if (reserve(text, (size_t)length)) {
        text->length += (size_t)format_into(text, format, again);
    } else if (text->at) {
        text->at[text->length] = '\0'; /* the first attempt has left a piece of it there */
    }
    va_end(again);
    va_end(arguments);
}

/* JSON (RFC 8259) ------------------------------------------------------------------------------------------------- */

unsigned text_utf8_next(struct slice s, uint32_t *character)
{
    const unsigned char *at = (const unsigned char *)s.at;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned bytes = at[0] < 0x80 ? 1 : (at[0] & 0xe0) == 0xc0 ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : (at[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (bytes == 0 || bytes > s.length)
        return 0;
    uint32_t value = bytes == 1 ? at[0] : at[0] & (0x7fu >> bytes);
    for (unsigned i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < least[bytes] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *character = value;
    return bytes;
}

bool text_unprintable(uint32_t c)
{
    if (c < 0x20)
        return c != '\t' && c != '\n' && c != '\r';
    return c == 0x7f || (c >= 0x80 && c < 0xa0 && c != 0x85) || c == 0xfeff || c == 0xfffe || c == 0xffff;
}

/* What JSON and YAML want escaped, and the line breaks of Unicode. */
static bool wants_escape(uint32_t c)
{
    return c < 0x20 || c == '"' || c == '\\' || c == 0x85 || c == 0x2028 || c == 0x2029 || text_unprintable(c);
}

static void add_escaped(struct text *text, uint32_t c)
{
    switch (c) {
    case '\n': text_add(text, SLICE("\\n")); break;
    case '\r': text_add(text, SLICE("\\r")); break;
    case '\t': text_add(text, SLICE("\\t")); break;
    case '"': text_add(text, SLICE("\\\"")); break;
    case '\\': text_add(text, SLICE("\\\\")); break;
    default: text_format(text, "\\u%04x", (unsigned)c); break;
    }
}

void text_json_string(struct text *text, struct slice bytes)
{
    text_add(text, SLICE("\""));
    size_t from = 0, at = 0; /* [from, at) stands as it is */
    while (at < bytes.length) {
        uint32_t c = 0;
        unsigned width = text_utf8_next(slice_of(bytes.at + at, bytes.length - at), &c);
        if (width && !wants_escape(c)) {
            at += width;
            continue;
        }
        text_add(text, slice_of(bytes.at + from, at - from));
        if (width)
            add_escaped(text, c);
        else
            text_add(text, SLICE("\xef\xbf\xbd")); /* U+FFFD */
        at += width ? width : 1;
        from = at;
    }
    text_add(text, slice_of(bytes.length ? bytes.at + from : "", at - from));
    text_add(text, SLICE("\""));
}

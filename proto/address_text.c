#include "proto/address_text.h"

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

bool address_is_v4(const uint8_t address[16])
{
    return memcmp(address, v4_prefix, sizeof v4_prefix) == 0;
}

/* Up to `most` digits at *at; false: none, or more. */
static bool read_number(struct slice text, size_t *at, unsigned base, size_t most, unsigned *number)
{
    size_t first = *at;
    *number = 0;
    for (; *at < text.length && *at - first <= most; (*at)++) {
        unsigned char c = (unsigned char)text.at[*at], low = c | 0x20;
        unsigned digit = c >= '0' && c <= '9'       ? c - (unsigned)'0'
                         : low >= 'a' && low <= 'f' ? low - (unsigned)'a' + 10
                                                    : 16;
        if (digit >= base)
            break;
        *number = *number * base + digit;
    }
    return *at > first && *at - first <= most;
}

/* The four bytes of an IPv4 address. */
static bool read_dotted(struct slice text, uint8_t out[4])
{
    size_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned number;
        if (i > 0 && (at == text.length || text.at[at++] != '.'))
            return false;
        size_t first = at;
        if (!read_number(text, &at, 10, 3, &number) || number > 255 || (at - first > 1 && text.at[first] == '0'))
            return false;
        out[i] = (uint8_t)number;
    }
    return at == text.length;
}

bool address_text_read_v4(struct slice text, uint8_t out[16])
{
    memcpy(out, v4_prefix, sizeof v4_prefix);
    return read_dotted(text, out + 12);
}

static bool stands_at(struct slice text, size_t at, char c)
{
    return at < text.length && text.at[at] == c;
}

/* Groups from *at on, to `end` of out; the last four bytes may be written as IPv4. Answers how many bytes, or -1. */
static int read_groups(struct slice text, size_t *at, uint8_t *out, int room)
{
    int bytes = 0;
    while (*at < text.length) {
        size_t first = *at;
        unsigned number;
        if (!read_number(text, at, 16, 4, &number) && !stands_at(text, *at, '.'))
            return -1;
        if (stands_at(text, *at, '.')) {
            bool well = room - bytes >= 4 && read_dotted(slice_of(text.at + first, text.length - first), out + bytes);
            *at = text.length;
            return well ? bytes + 4 : -1;
        }
        if (room - bytes < 2)
            return -1;
        out[bytes++] = (uint8_t)(number >> 8);
        out[bytes++] = (uint8_t)number;
        if (*at == text.length || (stands_at(text, *at, ':') && stands_at(text, *at + 1, ':')))
            return bytes;
        if (!stands_at(text, (*at)++, ':') || *at == text.length)
            return -1;
    }
    return bytes;
}

bool address_text_read_v6(struct slice text, uint8_t out[16])
{
    uint8_t tail[16];
    size_t at = 0;
    bool leads = stands_at(text, 0, ':') && stands_at(text, 1, ':');
    int head = leads ? 0 : read_groups(text, &at, out, 16);
    if (head <= 0 && !leads)
        return false;
    if (at == text.length && !leads)
        return head == 16;
    if (head > 14)
        return false; /* "::" stands for one group at least */
    at += 2;
    int rest = read_groups(text, &at, tail, 14 - head);
    if (rest < 0 || at != text.length)
        return false;
    memset(out + head, 0, (size_t)(16 - head - rest));
    memcpy(out + 16 - rest, tail, (size_t)rest);
    return true;
}

static unsigned group_of(const uint8_t address[16], unsigned i)
{
    return (unsigned)address[2 * i] << 8 | address[2 * i + 1];
}

/* The longest run of zero groups, the first of several; one alone is written out (RFC 5952 4.2). */
static void find_zeros(const uint8_t address[16], unsigned *first, unsigned *length)
{
    *first = 8;
    *length = 1;
    for (unsigned i = 0; i < 8; i++) {
        unsigned end = i;
        while (end < 8 && group_of(address, end) == 0)
            end++;
        if (end - i > *length) {
            *first = i;
            *length = end - i;
        }
    }
}

/* Digits without leading zeros. */
static char *put_number(char *at, unsigned number, unsigned base)
{
    if (number >= base)
        at = put_number(at, number / base, base);
    *at = "0123456789abcdef"[number % base];
    return at + 1;
}

static char *put_v6(char *at, const uint8_t address[16])
{
    unsigned zeros, zero_count;
    find_zeros(address, &zeros, &zero_count);
    for (unsigned i = 0; i < 8; i++) {
        if (i == zeros) {
            *at++ = ':';
            *at++ = ':';
            i += zero_count - 1;
            continue;
        }
        if (i > 0 && i != zeros + zero_count)
            *at++ = ':';
        at = put_number(at, group_of(address, i), 16);
    }
    return at;
}

static char *put_v4(char *at, const uint8_t v4[4])
{
    for (unsigned i = 0; i < 4; i++) {
        at = put_number(at, v4[i], 10);
        *at++ = '.';
    }
    return at - 1;
}

size_t address_text_write(const uint8_t address[16], bool as_v6, char out[ADDRESS_TEXT_BYTES])
{
    static const struct slice mapped = { "::ffff:", 7 };
    char *at = out;
    if (!address_is_v4(address)) {
        at = put_v6(at, address);
    } else {
        if (as_v6)
            memcpy(at, mapped.at, mapped.length);
        at = put_v4(at + (as_v6 ? mapped.length : 0), address + 12);
    }
    *at = 0;
    return (size_t)(at - out);
}

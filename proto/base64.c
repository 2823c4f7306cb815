#include "proto/base64.h"

int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Three bytes, fewer where the group is padded; 0: it is malformed. */
static size_t read_group(const char group[4], bool last, uint8_t out[3])
{
    size_t letters = last && group[3] == '=' ? group[2] == '=' ? 2 : 3 : 4;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < letters ? base64_value(group[i]) : 0;
        if (value < 0)
            return 0;
        bits = bits << 6 | (uint32_t)value;
    }
    for (size_t i = 0; i < 3; i++)
        out[i] = (uint8_t)(bits >> (16 - 8 * i));
    bool left_over = (letters < 4 && out[2]) || (letters < 3 && out[1]);
    return left_over ? 0 : letters - 1;
}

enum err base64_read(struct slice text, uint8_t *out, size_t cap, size_t *length)
{
    size_t written = 0;
    if (text.length % 4)
        return ERR_SYNTAX;
    for (size_t at = 0; at < text.length; at += 4) {
        uint8_t bytes[3];
        size_t count = read_group(text.at + at, at + 4 == text.length, bytes);
        if (count == 0)
            return ERR_SYNTAX;
        if (count > cap - written)
            return ERR_CAP;
        memcpy(out + written, bytes, count);
        written += count;
    }
    *length = written;
    return ERR_OK;
}

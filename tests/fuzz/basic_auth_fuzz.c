/*
 * Credentials: any bytes as a field's value. What is taken stays in bounds and has no control characters; written again as RFC 7617 says, it is the
 * value that came, and what is refused leaves nothing behind.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "proto/basic_auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the strict reader's input there is only one way to write it: the text behind the scheme. */
static void writes_back(struct slice value, struct slice bytes)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct slice trimmed = slice_trim(value);
    size_t groups = (bytes.length + 2) / 3;
    MUST(trimmed.length > groups * 4);
    const char *text = trimmed.at + trimmed.length - groups * 4;
    for (size_t i = 0; i < bytes.length; i += 3) {
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (i + j < bytes.length ? (uint8_t)bytes.at[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            MUST(*text++ == (i + j > bytes.length ? '=' : letters[bits >> (18 - 6 * j) & 63]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char room[BASIC_AUTH_BYTES];
    struct slice user = SLICE_NONE, password = SLICE_NONE;
    char *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    memset(room, 'x', sizeof room);
    struct slice value = slice_of(copy, size);
    enum err e = basic_auth_read(value, room, &user, &password);
    MUST(e == ERR_OK || e == ERR_NONE || e == ERR_SYNTAX || e == ERR_CAP);
    if (e == ERR_OK) {
        MUST(user.at == room && user.length <= BASIC_AUTH_USER_MAX && password.length <= BASIC_AUTH_PASSWORD_MAX);
        MUST(password.at == room + user.length + 1 && room[user.length] == ':' && !memchr(user.at, ':', user.length));
        writes_back(value, slice_of(room, user.length + 1 + password.length));
    } else {
        MUST(user.at == NULL && password.at == NULL);
    }
    free(copy);
    return 0;
}

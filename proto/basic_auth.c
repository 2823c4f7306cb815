#include "proto/basic_auth.h"

#include "proto/base64.h"

/* What stands behind "Basic" and its spaces (RFC 9110 11.4: 1*SP), or nothing. */
static bool take_scheme(struct slice *value)
{
    static const struct slice scheme = { "basic", 5 };
    struct slice rest = slice_trim(*value);
    if (rest.length <= scheme.length || !slice_equal_nocase(slice_of(rest.at, scheme.length), scheme) || rest.at[scheme.length] != ' ')
        return false;
    size_t at = scheme.length;
    while (at < rest.length && rest.at[at] == ' ')
        at++;
    *value = slice_of(rest.at + at, rest.length - at);
    return true;
}

static enum err split(struct slice bytes, struct slice *user, struct slice *password)
{
    const char *colon = bytes.length ? memchr(bytes.at, ':', bytes.length) : NULL;
    if (!colon)
        return ERR_SYNTAX;
    for (size_t i = 0; i < bytes.length; i++)
        if ((unsigned char)bytes.at[i] < ' ' || bytes.at[i] == 0x7f)
            return ERR_SYNTAX;
    size_t before = (size_t)(colon - bytes.at), behind = bytes.length - before - 1;
    if (before > BASIC_AUTH_USER_MAX || behind > BASIC_AUTH_PASSWORD_MAX)
        return ERR_CAP;
    *user = slice_of(bytes.at, before);
    *password = slice_of(colon + 1, behind);
    return ERR_OK;
}

enum err basic_auth_read(struct slice value, char room[BASIC_AUTH_BYTES], struct slice *user, struct slice *password)
{
    size_t length = 0;
    if (!take_scheme(&value))
        return ERR_NONE;
    enum err e = base64_read(value, (uint8_t *)room, BASIC_AUTH_BYTES, &length);
    if (e == ERR_OK)
        e = split(slice_of(room, length), user, password);
    if (e != ERR_OK)
        explicit_bzero(room, BASIC_AUTH_BYTES);
    return e;
}

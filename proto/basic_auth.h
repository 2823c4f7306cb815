/*
 * basic_auth: the credentials of `Authorization: Basic` and `Proxy-Authorization: Basic` (RFC 7617), read strictly.
 *
 * One colon splits: the first, so a password may have more. What is refused: base64 that is not the one way to write these bytes (RFC 4648 4, with its
 * padding), no colon, control characters (RFC 7617 2), more than the bounds. Bytes beyond ASCII pass as they are: they are UTF-8 if the
 * challenge said so, and whoever compares them compares bytes.
 */
#ifndef WEIR_BASIC_AUTH_H
#define WEIR_BASIC_AUTH_H

#include "engine/base/slice.h"

#define BASIC_AUTH_USER_MAX 128u
#define BASIC_AUTH_PASSWORD_MAX 255u
#define BASIC_AUTH_BYTES (BASIC_AUTH_USER_MAX + 1 + BASIC_AUTH_PASSWORD_MAX)

/*
 * *user (may be empty) and *password view room, which the caller wipes. ERR_NONE: another scheme; ERR_SYNTAX; ERR_CAP: too long. Then the room
 * holds nothing, and *user and *password are untouched.
 */
enum err must_use basic_auth_read(struct slice value, char room[BASIC_AUTH_BYTES], struct slice *user, struct slice *password);

#endif

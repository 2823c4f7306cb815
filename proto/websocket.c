#include "proto/websocket.h"

#include "proto/base64.h"
#include "proto/tls_mac.h"

#define KEY_BYTES 24u /* 16 bytes in base64 */

static enum websocket_verdict bad(const char **why, const char *reason)
{
    *why = reason;
    return WEBSOCKET_BAD;
}

/* The one field of that name; false: there is none, or several, and then which one counts is anybody's guess. */
static bool find_only(const struct fields *fields, struct slice name, struct slice *value)
{
    unsigned found = 0;
    for (unsigned i = 0; i < fields->count; i++) {
        if (!slice_equal_nocase(field_name(&fields->list[i]), name))
            continue;
        *value = field_value(&fields->list[i]);
        found++;
    }
    return found == 1;
}

/* 16 bytes: 22 letters, the last with four bits that are nothing, and "==". */
static bool is_key(struct slice key)
{
    if (key.length != KEY_BYTES || key.at[22] != '=' || key.at[23] != '=')
        return false;
    for (unsigned i = 0; i < 22; i++)
        if (base64_value(key.at[i]) < 0)
            return false;
    return (base64_value(key.at[21]) & 15) == 0;
}

enum websocket_verdict websocket_check_request(const struct request *request, const char **why)
{
    struct slice key, version;
    *why = NULL;
    if (!fields_list_has(&request->fields, FIELD_UPGRADE, SLICE("websocket")))
        return WEBSOCKET_NONE;
    if (request->method != METHOD_GET)
        return bad(why, "the method of a WebSocket handshake is GET");
    if (request->version_minor < 1)
        return bad(why, "a WebSocket handshake is HTTP/1.1");
    if (request->framing != FRAMING_NONE)
        return bad(why, "a WebSocket handshake has no content");
    if (!fields_list_has(&request->fields, FIELD_CONNECTION, SLICE("upgrade")))
        return bad(why, "Connection does not name Upgrade");
    if (!find_only(&request->fields, SLICE("sec-websocket-version"), &version))
        return bad(why, "there is not one Sec-WebSocket-Version");
    if (!slice_equal(version, SLICE("13"))) {
        *why = "the version of WebSocket is 13";
        return WEBSOCKET_VERSION;
    }
    if (!find_only(&request->fields, SLICE("sec-websocket-key"), &key) || !is_key(key))
        return bad(why, "there is not one Sec-WebSocket-Key of 16 bytes in base64");
    return WEBSOCKET_WELL;
}

struct slice websocket_key(const struct request *request)
{
    const struct field *field = fields_find_name(&request->fields, SLICE("sec-websocket-key"));
    return field ? field_value(field) : SLICE_NONE;
}

/* 20 bytes; the last group has two of three. */
static void write_base64(const uint8_t digest[TLS_SHA1_BYTES], char out[WEBSOCKET_ACCEPT_BYTES])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned i = 0; i < 7; i++) {
        unsigned third = i < 6 ? digest[3 * i + 2] : 0;
        unsigned bits = (unsigned)digest[3 * i] << 16 | (unsigned)digest[3 * i + 1] << 8 | third;
        for (unsigned j = 0; j < 4; j++)
            out[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
    }
    out[WEBSOCKET_ACCEPT_BYTES - 1] = '=';
}

enum err websocket_accept(struct slice key, char out[WEBSOCKET_ACCEPT_BYTES])
{
    static const struct slice guid = { "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36 };
    char joined[KEY_BYTES + 36];
    uint8_t digest[TLS_SHA1_BYTES];
    if (key.length != KEY_BYTES)
        return ERR_SYNTAX;
    memcpy(joined, key.at, KEY_BYTES);
    memcpy(joined + KEY_BYTES, guid.at, guid.length);
    enum err e = tls_sha1(slice_of(joined, sizeof joined), digest);
    if (e == ERR_OK)
        write_base64(digest, out);
    return e;
}

enum websocket_verdict websocket_check_response(const struct response *response, struct slice key, const char **why)
{
    char expected[WEBSOCKET_ACCEPT_BYTES];
    struct slice upgrade, accept;
    *why = NULL;
    if (response->status != 101)
        return WEBSOCKET_NONE;
    if (response->version_minor < 1)
        return bad(why, "101 is HTTP/1.1's");
    if (!find_only(&response->fields, SLICE("upgrade"), &upgrade) || !slice_equal_nocase(upgrade, SLICE("websocket")))
        return bad(why, "Upgrade is not websocket");
    if (!fields_list_has(&response->fields, FIELD_CONNECTION, SLICE("upgrade")))
        return bad(why, "Connection does not name Upgrade");
    if (websocket_accept(key, expected) != ERR_OK)
        return bad(why, "out of memory");
    if (!find_only(&response->fields, SLICE("sec-websocket-accept"), &accept) ||
        !slice_equal(accept, slice_of(expected, sizeof expected)))
        return bad(why, "there is not one Sec-WebSocket-Accept for the key that was sent");
    return WEBSOCKET_WELL;
}

#include "engine/control_wire.h"

#include <cbor.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/text.h"

/* The scan ----------------------------------------------------------------------------------------------------- */

struct scan {
    const unsigned char *at, *end;
    unsigned items;
};

/* The argument of an item's head (RFC 8949 3): false when cut short or reserved. *indefinite for 31. */
static bool read_head(struct scan *s, unsigned *major, uint64_t *argument, bool *indefinite)
{
    if (s->at == s->end || ++s->items > WIRE_ITEMS_MAX)
        return false;
    unsigned first = *s->at++, low = first & 31;
    *major = first >> 5;
    *argument = low;
    *indefinite = low == 31;
    if (low < 24 || low == 31)
        return true;
    if (low > 27)
        return false;
    size_t bytes = (size_t)1 << (low - 24);
    if ((size_t)(s->end - s->at) < bytes)
        return false;
    *argument = 0;
    for (size_t i = 0; i < bytes; i++)
        *argument = *argument << 8 | *s->at++;
    return true;
}

/* Texts are UTF-8 (RFC 8949 3.1). Some versions of libcbor refuse others and some do not, so it is judged here. */
static bool is_utf8(struct slice text)
{
    uint32_t character;
    while (text.length) {
        unsigned bytes = text_utf8_next(text, &character);
        if (bytes == 0)
            return false;
        text = slice_of(text.at + bytes, text.length - bytes);
    }
    return true;
}

/* The bytes of a string; its length is the sender's word. */
static bool scan_string(struct scan *s, unsigned major, uint64_t length)
{
    if (length > (uint64_t)(s->end - s->at))
        return false;
    struct slice bytes = slice_of((const char *)s->at, (size_t)length);
    s->at += length;
    return major == 2 || is_utf8(bytes);
}

/* Only what a frame of ours may hold: no tags, no indefinite lengths, no floats. */
static bool scan_item(struct scan *s, unsigned depth)
{
    unsigned major;
    uint64_t argument;
    bool indefinite;
    if (depth > WIRE_DEPTH_MAX || !read_head(s, &major, &argument, &indefinite) || indefinite)
        return false;
    switch (major) {
    case 0:
    case 1: return true;
    case 2:
    case 3: return scan_string(s, major, argument);
    case 4:
    case 5:
        if (argument > WIRE_ITEMS_MAX)
            return false;
        for (uint64_t i = 0; i < argument * (major - 3); i++)
            if (!scan_item(s, depth + 1))
                return false;
        return true;
    case 7: return argument == 20 || argument == 21 || argument == 22;
    default: return false;
    }
}

enum err wire_scan(struct slice map)
{
    struct scan s = { (const unsigned char *)map.at, (const unsigned char *)map.at + map.length, 0 };
    return scan_item(&s, 0) && s.at == s.end ? ERR_OK : ERR_SYNTAX;
}

/* Encoding ----------------------------------------------------------------------------------------------------- */

static bool add(cbor_item_t *map, const char *key, cbor_item_t *value)
{
    cbor_item_t *name = cbor_build_string(key);
    bool added = name && value && cbor_map_add(map, (struct cbor_pair){ .key = name, .value = value });
    if (name)
        cbor_decref(&name);
    if (value)
        cbor_decref(&value);
    return added;
}

/* A text may quote what is no UTF-8, such as the name of a file: each byte of that becomes a question mark. */
static cbor_item_t *text_item(struct slice text)
{
    cbor_item_t *item = cbor_build_stringn(text.length ? text.at : "", text.length);
    char *at = item ? (char *)cbor_string_handle(item) : NULL;
    for (size_t i = 0; item && i < text.length;) {
        uint32_t character;
        unsigned bytes = text_utf8_next(slice_of(at + i, text.length - i), &character);
        if (bytes == 0)
            at[i] = '?';
        i += bytes ? bytes : 1;
    }
    return item;
}

static char *serialised(cbor_item_t *map, size_t most, size_t *length)
{
    unsigned char *bytes = NULL;
    size_t room = 0;
    size_t used = FAULT("control") ? 0 : cbor_serialize_alloc(map, &bytes, &room);
    char *frame = used && used <= most ? malloc(used + WIRE_HEAD_BYTES) : NULL;
    if (frame) {
        for (unsigned i = 0; i < WIRE_HEAD_BYTES; i++)
            frame[i] = (char)(used >> (8 * (WIRE_HEAD_BYTES - 1 - i)));
        memcpy(frame + WIRE_HEAD_BYTES, bytes, used);
        *length = used + WIRE_HEAD_BYTES;
    }
    free(bytes);
    return frame;
}

static char *finish(cbor_item_t *map, bool well, size_t most, size_t *length)
{
    char *frame = well ? serialised(map, most, length) : NULL;
    cbor_decref(&map);
    return frame;
}

static cbor_item_t *list_item(const struct wire_request *request)
{
    bool well = request->argument_count <= WIRE_ARGUMENTS_MAX;
    cbor_item_t *list = well ? cbor_new_definite_array(request->argument_count) : NULL;
    for (unsigned i = 0; list && i < request->argument_count; i++) {
        struct slice text = slice_of_text(request->arguments[i]);
        cbor_item_t *item = text.length <= WIRE_ARGUMENT_BYTES_MAX ? text_item(text) : NULL;
        well = well && item && cbor_array_push(list, item);
        if (item)
            cbor_decref(&item);
    }
    if (list && !well)
        cbor_decref(&list);
    return list;
}

/* 0 need not be said. */
static bool add_count(cbor_item_t *map, const char *key, uint64_t value)
{
    return value == 0 || add(map, key, cbor_build_uint64(value));
}

char *wire_encode_request(const struct wire_request *request, size_t *length)
{
    cbor_item_t *map = cbor_new_definite_map(9);
    if (!map)
        return NULL;
    bool well = add(map, "version", cbor_build_uint8(WIRE_VERSION)) &&
                add(map, "command", text_item(slice_of_text(request->command)));
    if (request->argument[0])
        well = well && add(map, "argument", text_item(slice_of_text(request->argument)));
    if (request->argument_count)
        well = well && add(map, "arguments", list_item(request));
    if (request->value[0])
        well = well && add(map, "value", text_item(slice_of_text(request->value)));
    well = well && add_count(map, "weight", request->weight) && add_count(map, "max-connections", request->max_connections) &&
           add_count(map, "group", request->group);
    if (request->deadline_ms != UINT64_MAX)
        well = well && add(map, "deadline-ms", cbor_build_uint64(request->deadline_ms));
    return finish(map, well, WIRE_REQUEST_BYTES_MAX, length);
}

char *wire_encode_answer(uint32_t code, struct slice text, struct slice json, size_t *length)
{
    cbor_item_t *map = cbor_new_definite_map(4);
    if (!map)
        return NULL;
    bool well = add(map, "version", cbor_build_uint8(WIRE_VERSION)) && add(map, "code", cbor_build_uint32(code)) &&
                add(map, "text", text_item(text)) && add(map, "json", text_item(json));
    return finish(map, well, WIRE_ANSWER_BYTES_MAX, length);
}

/* Decoding ----------------------------------------------------------------------------------------------------- */

enum err wire_decode_head(const char head[WIRE_HEAD_BYTES], size_t most, size_t *length)
{
    size_t value = 0;
    for (unsigned i = 0; i < WIRE_HEAD_BYTES; i++)
        value = value << 8 | (unsigned char)head[i];
    if (value == 0)
        return ERR_SYNTAX;
    *length = value;
    return value > most ? ERR_CAP : ERR_OK;
}

static enum err load_map(struct slice bytes, cbor_item_t **map)
{
    struct cbor_load_result result;
    enum err e = wire_scan(bytes);
    if (e != ERR_OK)
        return e;
    *map = cbor_load((const unsigned char *)bytes.at, bytes.length, &result);
    if (!*map)
        return result.error.code == CBOR_ERR_MEMERROR ? ERR_MEMORY : ERR_SYNTAX;
    if (cbor_isa_map(*map))
        return ERR_OK;
    cbor_decref(map);
    return ERR_SYNTAX;
}

static cbor_item_t *find(const cbor_item_t *map, const char *key)
{
    struct cbor_pair *pairs = cbor_map_handle(map);
    size_t length = strlen(key);
    for (size_t i = 0; i < cbor_map_size(map); i++)
        if (cbor_isa_string(pairs[i].key) && cbor_string_length(pairs[i].key) == length &&
            memcmp(cbor_string_handle(pairs[i].key), key, length) == 0)
            return pairs[i].value;
    return NULL;
}

static enum err read_uint(const cbor_item_t *map, const char *key, uint64_t *value)
{
    const cbor_item_t *item = find(map, key);
    if (!item)
        return ERR_NONE;
    if (!cbor_isa_uint(item))
        return ERR_SYNTAX;
    *value = cbor_get_int(item);
    return ERR_OK;
}

static enum err read_version(const cbor_item_t *map)
{
    uint64_t version;
    if (read_uint(map, "version", &version) != ERR_OK)
        return ERR_SYNTAX;
    return version == WIRE_VERSION ? ERR_OK : ERR_VERSION;
}

/* Text without NUL that fits. */
static enum err read_text(const cbor_item_t *map, const char *key, char *out, size_t cap)
{
    const cbor_item_t *item = find(map, key);
    if (!item)
        return ERR_NONE;
    if (!cbor_isa_string(item))
        return ERR_SYNTAX;
    size_t length = cbor_string_length(item);
    if (length >= cap)
        return ERR_RANGE;
    if (length && memchr(cbor_string_handle(item), 0, length))
        return ERR_SYNTAX;
    if (length)
        memcpy(out, cbor_string_handle(item), length);
    out[length] = 0;
    return ERR_OK;
}

/* How many bytes the list takes with a NUL behind each; or what is wrong with it. */
static enum err measure_list(const cbor_item_t *list, size_t *bytes)
{
    if (!cbor_isa_array(list))
        return ERR_SYNTAX;
    if (cbor_array_size(list) > WIRE_ARGUMENTS_MAX)
        return ERR_RANGE;
    cbor_item_t **items = cbor_array_handle(list);
    for (size_t i = 0; i < cbor_array_size(list); i++) {
        size_t length = cbor_isa_string(items[i]) ? cbor_string_length(items[i]) : 0;
        if (!cbor_isa_string(items[i]) || (length && memchr(cbor_string_handle(items[i]), 0, length)))
            return ERR_SYNTAX;
        if (length > WIRE_ARGUMENT_BYTES_MAX)
            return ERR_RANGE;
        *bytes += length + 1;
    }
    return ERR_OK;
}

static enum err read_list(const cbor_item_t *map, const char *key, struct wire_request *request)
{
    const cbor_item_t *list = find(map, key);
    size_t bytes = 0;
    if (!list)
        return ERR_NONE;
    enum err e = measure_list(list, &bytes);
    if (e != ERR_OK || bytes == 0)
        return e;
    char *at = FAULT("control") ? NULL : malloc(bytes);
    if (!at)
        return ERR_MEMORY;
    request->memory = at;
    for (size_t i = 0; i < cbor_array_size(list); i++) {
        const cbor_item_t *item = cbor_array_handle(list)[i];
        size_t length = cbor_string_length(item);
        request->arguments[request->argument_count++] = at;
        if (length)
            memcpy(at, cbor_string_handle(item), length);
        at[length] = 0;
        at += length + 1;
    }
    return ERR_OK;
}

static enum err optional(enum err e)
{
    return e == ERR_NONE ? ERR_OK : e;
}

enum err wire_decode_request(struct slice bytes, struct wire_request *request)
{
    cbor_item_t *map;
    enum err e = load_map(bytes, &map);
    if (e != ERR_OK)
        return e;
    *request = (struct wire_request){ .deadline_ms = UINT64_MAX };
    e = read_version(map);
    if (e == ERR_OK)
        e = read_text(map, "command", request->command, sizeof request->command);
    if (e == ERR_OK)
        e = optional(read_text(map, "argument", request->argument, sizeof request->argument));
    if (e == ERR_OK)
        e = optional(read_text(map, "value", request->value, sizeof request->value));
    if (e == ERR_OK)
        e = optional(read_uint(map, "weight", &request->weight));
    if (e == ERR_OK)
        e = optional(read_uint(map, "max-connections", &request->max_connections));
    if (e == ERR_OK)
        e = optional(read_uint(map, "group", &request->group));
    if (e == ERR_OK)
        e = optional(read_uint(map, "deadline-ms", &request->deadline_ms));
    if (e == ERR_OK) /* last, since it takes memory */
        e = optional(read_list(map, "arguments", request));
    cbor_decref(&map);
    return e == ERR_NONE ? ERR_SYNTAX : e;
}

void wire_request_release(struct wire_request *request)
{
    free(request->memory);
    request->memory = NULL;
    request->argument_count = 0;
}

static enum err copy_text(const cbor_item_t *map, const char *key, char **out, size_t *length)
{
    const cbor_item_t *item = find(map, key);
    if (!item || !cbor_isa_string(item))
        return ERR_SYNTAX;
    *length = cbor_string_length(item);
    *out = FAULT("control") ? NULL : malloc(*length + 1);
    if (!*out)
        return ERR_MEMORY;
    if (*length)
        memcpy(*out, cbor_string_handle(item), *length);
    (*out)[*length] = 0;
    return ERR_OK;
}

enum err wire_decode_answer(struct slice bytes, struct wire_answer *answer)
{
    cbor_item_t *map;
    uint64_t code = 0;
    *answer = (struct wire_answer){ 0 };
    enum err e = load_map(bytes, &map);
    if (e != ERR_OK)
        return e;
    e = read_version(map);
    if (e == ERR_OK)
        e = read_uint(map, "code", &code);
    if (e == ERR_OK)
        e = copy_text(map, "text", &answer->text, &answer->text_length);
    if (e == ERR_OK)
        e = copy_text(map, "json", &answer->json, &answer->json_length);
    cbor_decref(&map);
    answer->code = (uint32_t)code;
    if (e == ERR_OK && code > WIRE_CODE_MAX)
        e = ERR_RANGE;
    if (e != ERR_OK)
        wire_answer_release(answer);
    return e == ERR_NONE ? ERR_SYNTAX : e;
}

void wire_answer_release(struct wire_answer *answer)
{
    free(answer->text);
    free(answer->json);
    answer->text = answer->json = NULL;
}

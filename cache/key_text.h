/*
 * key_text: what keys are written with: room with an end, and values of request fields. Private to key*.c.
 */
#ifndef WEIR_CACHE_KEY_TEXT_H
#define WEIR_CACHE_KEY_TEXT_H

#include "proto/fields.h"

/* Room that never passes its end; looked at once when all is done. */
struct key_out {
    char *at, *end;
    bool full;
};

static inline bool key_has_room(struct key_out *out, size_t bytes)
{
    if (likely((size_t)(out->end - out->at) >= bytes))
        return true;
    out->full = true;
    out->end = out->at;
    return false;
}

static inline void key_put(struct key_out *out, struct slice bytes)
{
    if (bytes.length == 0 || !key_has_room(out, bytes.length))
        return;
    memcpy(out->at, bytes.at, bytes.length);
    out->at += bytes.length;
}

static inline void key_put_char(struct key_out *out, char c)
{
    if (key_has_room(out, 1))
        *out->at++ = c;
}

static inline void key_put_part(struct key_out *out, struct slice bytes)
{
    key_put(out, bytes);
    key_put_char(out, '\n');
}

static inline char key_lower(char c)
{
    return (unsigned char)(c - 'A') < 26 ? (char)(c | 0x20) : c;
}

static inline bool key_has_char(struct slice s, char c)
{
    return s.length && memchr(s.at, c, s.length);
}

void key_put_lower(struct key_out *out, struct slice bytes);
/* What stands before the next separator, off the front of *rest; false at the end: `at` of *rest is NULL behind the last. */
bool key_next_piece(struct slice *rest, char separator, struct slice *piece);

/*
 * Is it a line of the request field with that name, or one that passes for it ('_' for '-')? id: of name. Fields that are not forwarded are
 * none: an origin does not see them.
 */
static inline bool key_is_line(const struct field *field, enum field_id id, struct slice name)
{
    if (field->flags & FIELD_HOP_BY_HOP)
        return false;
    if (field->id != FIELD_OTHER)
        return field->id == id;
    return field->name_length == name.length && field_names_alike(field_name(field), name);
}

/* How the request spells the name: '\0' not at all, ':' as it is, ';' (also) with '_' for '-' or the other way round. */
char key_mark_of(const struct fields *fields, enum field_id id, struct slice name);
/* The values of its lines, combined (RFC 9110 5.3): as they are, or with white space normalised (key.h, cache_vary_make). */
void key_put_lines(struct key_out *out, const struct fields *fields, enum field_id id, struct slice name, bool normal);

#endif

#include "cache/key_text.h"

#define EACH_BYTE(value) (0x0101010101010101ull * (value))

/* Eight at a time: the top bit of each byte of `capital` says that it is one of A to Z. */
static inline uint64_t lower8(uint64_t bytes)
{
    uint64_t low7 = bytes & EACH_BYTE(0x7f);
    uint64_t from_a = low7 + EACH_BYTE(0x80 - 'A'), past_z = low7 + EACH_BYTE(0x7f - 'Z');
    uint64_t capital = (from_a ^ past_z) & ~bytes & EACH_BYTE(0x80);
    return bytes | capital >> 2;
}

void key_put_lower(struct key_out *out, struct slice bytes)
{
    size_t i = 0;
    if (!key_has_room(out, bytes.length))
        return;
    for (; i + 8 <= bytes.length; i += 8) {
        uint64_t eight;
        memcpy(&eight, bytes.at + i, 8);
        eight = lower8(eight);
        memcpy(out->at + i, &eight, 8);
    }
    for (; i < bytes.length; i++)
        out->at[i] = key_lower(bytes.at[i]);
    out->at += bytes.length;
}

bool key_next_piece(struct slice *rest, char separator, struct slice *piece)
{
    if (!rest->at)
        return false;
    const char *end = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
    *piece = end ? slice_of(rest->at, (size_t)(end - rest->at)) : *rest;
    *rest = end ? slice_of(end + 1, rest->length - piece->length - 1) : SLICE_NONE;
    return true;
}

/* Runs of white space become one space, none beside commas; what is quoted stays. */
static void put_normal(struct key_out *out, struct slice value)
{
    bool quoted = false, space = false;
    char last = ',';
    for (size_t i = 0; i < value.length; i++) {
        char c = value.at[i];
        if (!quoted && (c == ' ' || c == '\t')) {
            space = true;
            continue;
        }
        if (space && c != ',' && last != ',')
            key_put_char(out, ' ');
        space = false;
        if (quoted && c == '\\' && i + 1 < value.length) {
            key_put_char(out, c);
            c = value.at[++i];
        } else if (c == '"')
            quoted = !quoted;
        key_put_char(out, c);
        last = c;
    }
}

static bool is_spelt_so(const struct field *field, struct slice name)
{
    return field->id != FIELD_OTHER || slice_equal_nocase(field_name(field), name);
}

char key_mark_of(const struct fields *fields, enum field_id id, struct slice name)
{
    char mark = '\0';
    for (unsigned i = 0; i < fields->count; i++) {
        if (!key_is_line(&fields->list[i], id, name))
            continue;
        if (!is_spelt_so(&fields->list[i], name))
            return ';';
        mark = ':';
    }
    return mark;
}

void key_put_lines(struct key_out *out, const struct fields *fields, enum field_id id, struct slice name, bool normal)
{
    bool further = false;
    for (unsigned i = 0; i < fields->count; i++) {
        if (!key_is_line(&fields->list[i], id, name))
            continue;
        if (further)
            key_put(out, normal ? SLICE(",") : SLICE(", ")); /* RFC 9110 5.3 */
        further = true;
        if (normal)
            put_normal(out, field_value(&fields->list[i]));
        else
            key_put(out, field_value(&fields->list[i]));
    }
}

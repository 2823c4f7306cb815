/*
 * Names are recognised through a small hash of length, first and last letter, filled from FIELD_ROWS when the program
 * starts; a hit is confirmed by comparing words, with 0x20 set in each byte: among token characters (all that
 * a parsed name can hold) only letters of either case meet a lower-case letter of the table that way.
 */
#include "proto/fields.h"

#define SLOTS 256u

#define FIELD_AS_NAME(id, name) { name, sizeof(name) - 1 },
static const struct slice names[FIELD_IDS] = { FIELD_ROWS(FIELD_AS_NAME) };
_Static_assert(FIELD_IDS <= 64, "a bit each in `present`");

static uint8_t slots[SLOTS];

static inline unsigned slot_of(const char *name, size_t length)
{
    return ((unsigned)length * 11u + ((unsigned char)name[0] | 0x20u) * 5u + ((unsigned char)name[length - 1] | 0x20u) * 3u) % SLOTS;
}

__attribute__((constructor)) static void fill_slots(void)
{
    for (unsigned id = 1; id < FIELD_IDS; id++) {
        unsigned slot = slot_of(names[id].at, names[id].length);
        while (slots[slot])
            slot = (slot + 1) % SLOTS;
        slots[slot] = (uint8_t)id;
    }
}

static inline uint64_t word8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word | 0x2020202020202020ull;
}

static inline uint32_t word4(const char *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    return word | 0x20202020u;
}

static inline bool same_name(const char *a, const char *table, size_t length)
{
    if (length >= 8) {
        for (size_t i = 0; i + 8 < length; i += 8)
            if (word8(a + i) != word8(table + i))
                return false;
        return word8(a + length - 8) == word8(table + length - 8);
    }
    if (length >= 4)
        return word4(a) == word4(table) && word4(a + length - 4) == word4(table + length - 4);
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)a[i] | 0x20) != (unsigned char)table[i])
            return false;
    return true;
}

static inline unsigned char folded(char c)
{
    unsigned char byte = (unsigned char)c;
    if (byte == '_')
        return '-';
    return (unsigned char)(byte - 'A') < 26 ? byte | 0x20 : byte;
}

bool field_names_alike(struct slice a, struct slice b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++)
        if (folded(a.at[i]) != folded(b.at[i]))
            return false;
    return true;
}

#define BIT(id) (1ull << (id))
static const uint64_t guarded = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_X_FORWARDED_FOR) |
                                BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_FORWARDED_PORT) |
                                BIT(FIELD_X_REAL_IP) | BIT(FIELD_PROXY_AUTHORIZATION) | BIT(FIELD_X_CLIENT_VERIFY) |
                                BIT(FIELD_X_CLIENT_SUBJECT) | BIT(FIELD_X_CLIENT_FINGERPRINT);

/* A name that differs in '_' only has the slot of what it passes for: no name begins or ends in '-'. So who asks for it pays nothing. */
enum field_id field_id_received(struct slice name, uint8_t *flags)
{
    *flags = 0;
    if (name.length == 0)
        return FIELD_OTHER;
    for (unsigned slot = slot_of(name.at, name.length);; slot = (slot + 1) % SLOTS) {
        unsigned id = slots[slot];
        if (id == 0)
            return FIELD_OTHER;
        if (names[id].length != name.length)
            continue;
        if (likely(same_name(name.at, names[id].at, name.length)))
            return (enum field_id)id;
        if (guarded >> id & 1 && field_names_alike(name, names[id]))
            *flags = FIELD_HOP_BY_HOP;
    }
}

enum field_id field_id_of(struct slice name)
{
    uint8_t flags;
    return field_id_received(name, &flags);
}

const char *field_id_name(enum field_id id)
{
    return names[id].at;
}

bool field_is_token(struct slice s)
{
    for (size_t i = 0; i < s.length; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c <= ' ' || c >= 0x7f || memchr("\"(),/:;<=>?@[\\]{}", c, 17))
            return false;
    }
    return s.length > 0;
}

const struct field *fields_find(const struct fields *fields, enum field_id id)
{
    if (!fields_have(fields, id))
        return NULL;
    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == id)
            return &fields->list[i];
    return NULL;
}

const struct field *fields_find_name(const struct fields *fields, struct slice name)
{
    enum field_id id = field_id_of(name);
    if (id != FIELD_OTHER)
        return fields_find(fields, id);
    for (unsigned i = 0; i < fields->count; i++)
        if (slice_equal_nocase(field_name(&fields->list[i]), name))
            return &fields->list[i];
    return NULL;
}

enum err fields_add(struct fields *fields, struct slice name, struct slice value)
{
    if (fields->count == FIELDS_CAP || name.length > UINT16_MAX || value.length > UINT32_MAX)
        return ERR_CAP;
    enum field_id id = field_id_of(name);
    fields->list[fields->count++] = (struct field){ .name = name.at, .value = value.at, .value_length = (uint32_t)value.length,
                                                    .name_length = (uint16_t)name.length, .id = (uint8_t)id };
    fields->present |= 1ull << id;
    fields->end = NULL;
    return ERR_OK;
}

bool fields_list_has(const struct fields *fields, enum field_id id, struct slice word)
{
    for (unsigned i = 0; fields_have(fields, id) && i < fields->count; i++) {
        struct slice rest = field_value(&fields->list[i]), element;
        if (fields->list[i].id != id)
            continue;
        while (slice_next_element(&rest, &element))
            if (slice_equal_nocase(element, word))
                return true;
    }
    return false;
}

/*
 * structured: Dictionaries of structured fields (RFC 8941, RFC 9651 section 3.2), read strictly: a field is well to its last byte or it is nothing.
 *
 * Nothing is stored: a visitor is shown each member. Since a fault may come after it, what a visitor learns counts only when ERR_OK is answered.
 * Dates and Display Strings (RFC 9651 3.3.7, 3.3.8) are faults, as they are to fields that are defined by RFC 8941.
 */
#ifndef WEIR_STRUCTURED_H
#define WEIR_STRUCTURED_H

#include "proto/fields.h"

enum structured_kind {
    STRUCTURED_INTEGER,
    STRUCTURED_DECIMAL,
    STRUCTURED_STRING,
    STRUCTURED_TOKEN,
    STRUCTURED_BYTES,
    STRUCTURED_BOOLEAN,
    STRUCTURED_LIST /* an Inner List; what is in it was checked, and is not told */
};

struct structured_item {
    enum structured_kind kind;
    int64_t integer;   /* INTEGER: at most 15 digits */
    bool boolean;      /* BOOLEAN; a key alone is true */
    struct slice text; /* STRING: between the quotes, with its backslashes. TOKEN. BYTES: base64. DECIMAL: as it stands */
};

/*
 * Shows each member in its order, so that of members with one key the last counts (3.2). Lines are read one after the other: a string that is cut by
 * the end of a line is a fault, which 4.2 allows. Parameters are checked and not told. The item is the visitor's for the call; its text lives as long as the field.
 * ERR_SYNTAX: the field is to be ignored. ERR_NONE: there is none, or no member in it.
 */
enum err must_use structured_dictionary(const struct fields *fields, enum field_id id,
                                        void (*visit)(void *argument, struct slice key, const struct structured_item *item), void *argument);
/* The same of one line's value. */
enum err must_use structured_dictionary_line(struct slice value, void (*visit)(void *argument, struct slice key, const struct structured_item *item),
                                             void *argument);

#endif

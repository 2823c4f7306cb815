/*
 * The parsing algorithms of RFC 8941 section 4.2, by their numbers. Each reader takes what it understands off the front of `in` and answers
 * false at the first byte that does not belong.
 */
#include "proto/structured.h"

#define INTEGER_DIGITS_MAX 15
#define DECIMAL_DIGITS_MAX 12 /* before the point; behind it 1 to 3 */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return is_lower((char)(c | 0x20));
}

/* One of these, which have no NUL among them. */
static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static void skip(struct slice *in, size_t bytes)
{
    *in = slice_of(in->at + bytes, in->length - bytes);
}

static bool starts(const struct slice *in, char c)
{
    return in->length && in->at[0] == c;
}

static bool take(struct slice *in, char c)
{
    if (!starts(in, c))
        return false;
    skip(in, 1);
    return true;
}

static void skip_spaces(struct slice *in, bool tabs)
{
    while (starts(in, ' ') || (tabs && starts(in, '\t')))
        skip(in, 1);
}

/* Bare items (4.2.3.1) ----------------------------------------------------------------------------------------- */

static size_t digits_at(struct slice in)
{
    size_t count = 0;
    while (count < in.length && is_digit(in.at[count]))
        count++;
    return count;
}

/* 4.2.4 */
static bool take_number(struct slice *in, struct structured_item *item)
{
    const char *from = in->at;
    bool negative = take(in, '-');
    size_t whole = digits_at(*in);
    if (whole == 0 || whole > INTEGER_DIGITS_MAX)
        return false;
    item->kind = STRUCTURED_INTEGER;
    item->integer = 0;
    for (size_t i = 0; i < whole; i++)
        item->integer = item->integer * 10 + (in->at[i] - '0');
    if (negative)
        item->integer = -item->integer;
    skip(in, whole);
    if (take(in, '.')) {
        size_t behind = digits_at(*in);
        if (whole > DECIMAL_DIGITS_MAX || behind == 0 || behind > 3)
            return false;
        item->kind = STRUCTURED_DECIMAL;
        skip(in, behind);
    }
    item->text = slice_of(from, (size_t)(in->at - from));
    return true;
}

/* 4.2.5 */
static bool take_string(struct slice *in, struct structured_item *item)
{
    item->kind = STRUCTURED_STRING;
    for (size_t i = 1; i < in->length; i++) {
        char c = in->at[i];
        if (c == '"') {
            item->text = slice_of(in->at + 1, i - 1);
            skip(in, i + 1);
            return true;
        }
        if (c < ' ' || c > '~')
            return false;
        if (c == '\\' && (++i == in->length || !is_one_of(in->at[i], "\"\\")))
            return false;
    }
    return false;
}

/* 4.2.6 */
static bool take_token(struct slice *in, struct structured_item *item)
{
    size_t length = 1;
    while (length < in->length &&
           (is_alpha(in->at[length]) || is_digit(in->at[length]) || is_one_of(in->at[length], "!#$%&'*+-.^_`|~:/")))
        length++;
    item->kind = STRUCTURED_TOKEN;
    item->text = slice_of(in->at, length);
    skip(in, length);
    return true;
}

/* 4.2.7; padding may be missing, but stands at the end. */
static bool take_bytes(struct slice *in, struct structured_item *item)
{
    size_t length = 1, padding = 0;
    for (; length < in->length && in->at[length] != ':'; length++) {
        char c = in->at[length];
        if (c == '=')
            padding++;
        else if (padding || !(is_alpha(c) || is_digit(c) || c == '+' || c == '/'))
            return false;
    }
    if (length == in->length || padding > 2 || (length - 1 - padding) % 4 == 1 || (padding && (length - 1) % 4 != 0))
        return false;
    item->kind = STRUCTURED_BYTES;
    item->text = slice_of(in->at + 1, length - 1);
    skip(in, length + 1);
    return true;
}

/* 4.2.8 */
static bool take_boolean(struct slice *in, struct structured_item *item)
{
    if (in->length < 2 || (in->at[1] != '0' && in->at[1] != '1'))
        return false;
    item->kind = STRUCTURED_BOOLEAN;
    item->boolean = in->at[1] == '1';
    item->text = slice_of(in->at, 2);
    skip(in, 2);
    return true;
}

static bool take_bare(struct slice *in, struct structured_item *item)
{
    if (in->length == 0)
        return false;
    char c = in->at[0];
    if (c == '-' || is_digit(c))
        return take_number(in, item);
    if (is_alpha(c) || c == '*')
        return take_token(in, item);
    switch (c) {
    case '"': return take_string(in, item);
    case ':': return take_bytes(in, item);
    case '?': return take_boolean(in, item);
    default: return false;
    }
}

/* Members ------------------------------------------------------------------------------------------------------ */

/* 4.2.3.3 */
static bool take_key(struct slice *in, struct slice *key)
{
    size_t length = 0;
    while (length < in->length &&
           (is_lower(in->at[length]) || is_digit(in->at[length]) || is_one_of(in->at[length], "_-.*")))
        length++;
    if (length == 0 || !(is_lower(in->at[0]) || in->at[0] == '*'))
        return false;
    *key = slice_of(in->at, length);
    skip(in, length);
    return true;
}

/* 4.2.3.2 */
static bool skip_parameters(struct slice *in)
{
    while (take(in, ';')) {
        struct slice key;
        struct structured_item item;
        skip_spaces(in, false);
        if (!take_key(in, &key) || (take(in, '=') && !take_bare(in, &item)))
            return false;
    }
    return true;
}

/* 4.2.1.2 */
static bool take_inner_list(struct slice *in, struct structured_item *list)
{
    const char *from = in->at;
    skip(in, 1);
    while (in->length) {
        struct structured_item item;
        skip_spaces(in, false);
        if (take(in, ')')) {
            list->kind = STRUCTURED_LIST;
            list->text = slice_of(from, (size_t)(in->at - from));
            return true;
        }
        if (!take_bare(in, &item) || !skip_parameters(in) || !(starts(in, ' ') || starts(in, ')')))
            return false;
    }
    return false;
}

static bool take_member(struct slice *in, struct structured_item *item)
{
    *item = (struct structured_item){ .kind = STRUCTURED_BOOLEAN, .boolean = true };
    if (take(in, '=') && !(starts(in, '(') ? take_inner_list(in, item) : take_bare(in, item)))
        return false;
    return skip_parameters(in);
}

/* 4.2.2 */
enum err structured_dictionary_line(struct slice value,
                                    void (*visit)(void *argument, struct slice key, const struct structured_item *item),
                                    void *argument)
{
    struct slice in = value;
    skip_spaces(&in, false);
    if (in.length == 0)
        return ERR_NONE;
    for (;;) {
        struct slice key;
        struct structured_item item;
        if (!take_key(&in, &key) || !take_member(&in, &item))
            return ERR_SYNTAX;
        visit(argument, key, &item);
        struct slice behind = in;
        skip_spaces(&behind, false);
        if (behind.length == 0)
            return ERR_OK;
        skip_spaces(&in, true);
        if (!take(&in, ','))
            return ERR_SYNTAX;
        skip_spaces(&in, true);
    }
}

/* An empty line between others is an empty member once lines are put together, and so a fault; alone it is an empty Dictionary. */
enum err structured_dictionary(const struct fields *fields, enum field_id id,
                               void (*visit)(void *argument, struct slice key, const struct structured_item *item),
                               void *argument)
{
    unsigned lines = 0, empty = 0;
    if (!fields_have(fields, id))
        return ERR_NONE;
    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != id)
            continue;
        enum err e = structured_dictionary_line(field_value(&fields->list[i]), visit, argument);
        if (e == ERR_SYNTAX)
            return e;
        lines++;
        empty += e == ERR_NONE;
    }
    if (empty)
        return lines == 1 ? ERR_NONE : ERR_SYNTAX;
    return lines ? ERR_OK : ERR_NONE;
}

#include "proto/accept_encoding.h"

#define UNSAID (-1)

/* Weights in thousandths. */
struct weights {
    int of[CODINGS];
    int others; /* "*" */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* qvalue (RFC 9110 12.4.2): 0 to 1 with up to three decimals; UNSAID: malformed. */
static int weight_of(struct slice text)
{
    if (text.length == 0 || text.length > 5 || (text.at[0] != '0' && text.at[0] != '1') || (text.length > 1 && text.at[1] != '.'))
        return UNSAID;
    int weight = text.at[0] == '1' ? 1000 : 0, unit = 100;
    for (size_t i = 2; i < text.length; i++, unit /= 10) {
        if (!is_digit(text.at[i]))
            return UNSAID;
        weight += (text.at[i] - '0') * unit;
    }
    return weight <= 1000 ? weight : UNSAID;
}

static struct slice behind(struct slice text, size_t bytes)
{
    return slice_trim(slice_of(text.at + bytes, text.length - bytes));
}

/* One element: coding [ ; q=weight ]. False: malformed. */
static bool take_element(struct slice element, struct weights *weights)
{
    const char *semicolon = memchr(element.at, ';', element.length);
    struct slice word = semicolon ? slice_trim(slice_of(element.at, (size_t)(semicolon - element.at))) : element;
    int weight = 1000;
    if (semicolon) {
        struct slice parameter = behind(element, (size_t)(semicolon - element.at) + 1);
        if (parameter.length < 3 || (parameter.at[0] | 0x20) != 'q' || parameter.at[1] != '=')
            return false;
        weight = weight_of(slice_of(parameter.at + 2, parameter.length - 2));
    }
    if (word.length == 0 || weight == UNSAID)
        return false;
    if (slice_equal(word, SLICE("*")))
        weights->others = weight;
    if (slice_equal_nocase(word, SLICE("x-gzip")))
        word = SLICE("gzip");
    for (enum coding c = 0; c < CODINGS; c++) {
        if (slice_equal_nocase(word, coding_word(c)))
            weights->of[c] = weight;
    }
    return true;
}

static bool take_fields(const struct fields *fields, struct weights *weights)
{
    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != FIELD_ACCEPT_ENCODING)
            continue;
        struct slice rest = field_value(&fields->list[i]), element;
        while (slice_next_element(&rest, &element)) {
            if (element.length && !take_element(element, weights))
                return false;
        }
    }
    return true;
}

enum coding accept_encoding_choose(const struct fields *fields, const uint16_t *ours, uint32_t count)
{
    struct weights weights = { .others = UNSAID };
    if (!fields_have(fields, FIELD_ACCEPT_ENCODING))
        return CODING_IDENTITY;
    for (enum coding c = 0; c < CODINGS; c++)
        weights.of[c] = UNSAID;
    if (!take_fields(fields, &weights))
        return CODING_IDENTITY;
    enum coding best = CODING_IDENTITY;
    int highest = 0;
    for (uint32_t i = 0; i < count; i++) {
        int weight = weights.of[ours[i]] == UNSAID ? weights.others : weights.of[ours[i]];
        if (weight > highest) {
            best = (enum coding)ours[i];
            highest = weight;
        }
    }
    return weights.of[CODING_IDENTITY] > highest ? CODING_IDENTITY : best;
}

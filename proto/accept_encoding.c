#include "proto/accept_encoding.h"

#define UNSAID (-1)

/* What is looked for in the field, in the order of the alphabet. Not only codings that we write: keys are about what origins choose from. */
enum word { WORD_OTHERS, WORD_BR, WORD_GZIP, WORD_IDENTITY, WORD_ZSTD, WORDS };
static const struct slice words[WORDS] = { SLICE("*"), SLICE("br"), SLICE("gzip"), SLICE("identity"), SLICE("zstd") };

static const enum word word_of_coding[CODINGS] = {
    [CODING_IDENTITY] = WORD_IDENTITY, [CODING_GZIP] = WORD_GZIP, [CODING_BROTLI] = WORD_BR, [CODING_ZSTD] = WORD_ZSTD,
};

/* In thousandths. */
struct weights {
    int of[WORDS];
    bool twice; /* one was given two weights */
};

/* WORDS: none of them. */
static enum word word_of(struct slice text)
{
    if (slice_equal_nocase(text, SLICE("x-gzip"))) /* RFC 9110 8.4.1.3 */
        return WORD_GZIP;
    enum word w = 0;
    while (w < WORDS && !slice_equal_nocase(text, words[w]))
        w++;
    return w;
}

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
    enum word known = word_of(word);
    if (known == WORDS)
        return true;
    weights->twice |= weights->of[known] != UNSAID && weights->of[known] != weight;
    weights->of[known] = weight;
    return true;
}

static bool take_fields(const struct fields *fields, struct weights *weights)
{
    weights->twice = false;
    for (enum word w = 0; w < WORDS; w++)
        weights->of[w] = UNSAID;
    for (unsigned i = 0; i < fields->count; i++) {
        if (fields->list[i].id != FIELD_ACCEPT_ENCODING || fields->list[i].flags & FIELD_HOP_BY_HOP)
            continue;
        struct slice rest = field_value(&fields->list[i]), element;
        while (slice_next_element(&rest, &element)) {
            if (element.length && !take_element(element, weights))
                return false;
        }
    }
    return true;
}

/* Refused codings have 0. */
static int weight_in(const struct weights *weights, enum word word)
{
    return weights->of[word] == UNSAID ? weights->of[WORD_OTHERS] : weights->of[word];
}

enum coding accept_encoding_choose(const struct fields *fields, const uint16_t *ours, uint32_t count)
{
    struct weights weights;
    if (!fields_have(fields, FIELD_ACCEPT_ENCODING) || !take_fields(fields, &weights))
        return CODING_IDENTITY;
    enum coding best = CODING_IDENTITY;
    int highest = 0;
    for (uint32_t i = 0; i < count; i++) {
        int weight = weight_in(&weights, word_of_coding[ours[i]]);
        if (weight > highest) {
            best = (enum coding)ours[i];
            highest = weight;
        }
    }
    return weights.of[WORD_IDENTITY] > highest ? CODING_IDENTITY : best;
}

/* The normal form ---------------------------------------------------------------------------------------------- */

struct normal {
    char *out;
    size_t length;
};

/* ACCEPT_ENCODING_NORMAL_BYTES has room for each word once with two marks. */
_Static_assert(ACCEPT_ENCODING_NORMAL_BYTES >= sizeof "*brgzipidentityzstd" - 1 + 2 * WORDS, "room for all");

static void put_word(struct normal *normal, char mark, bool refused, enum word word)
{
    if (normal->length)
        normal->out[normal->length++] = mark;
    if (refused)
        normal->out[normal->length++] = '!';
    memcpy(normal->out + normal->length, words[word].at, words[word].length);
    normal->length += words[word].length;
}

static int highest_below(const struct weights *weights, int limit)
{
    int highest = 0;
    for (enum word w = 0; w < WORDS; w++)
        if (weights->of[w] < limit && weights->of[w] > highest)
            highest = weights->of[w];
    return highest;
}

/* Identity is accepted unless it is refused (RFC 9110 12.5.3): saying that it is liked less than all others says nothing. */
static void forget_last_identity(struct weights *weights)
{
    int weight = weights->of[WORD_IDENTITY];
    for (enum word w = 0; w < WORDS; w++)
        if (w != WORD_IDENTITY && weights->of[w] > 0 && weights->of[w] <= weight)
            return;
    if (weight > 0 && weights->of[WORD_OTHERS] <= 0) {
        weights->of[WORD_IDENTITY] = UNSAID;
        if (weights->of[WORD_OTHERS] == 0) /* which would refuse it now */
            weights->of[WORD_OTHERS] = UNSAID;
    }
}

static void put_refused(struct normal *normal, const struct weights *weights)
{
    for (enum word w = WORD_BR; w < WORDS; w++) {
        bool by_absence = w != WORD_IDENTITY && weights->of[WORD_OTHERS] <= 0;
        if (!by_absence && weight_in(weights, w) == 0)
            put_word(normal, ',', true, w);
    }
}

enum err accept_encoding_normalise(const struct fields *fields, char out[ACCEPT_ENCODING_NORMAL_BYTES], struct slice *normal)
{
    struct normal n = { out, 0 };
    struct weights weights;
    if (!fields_have(fields, FIELD_ACCEPT_ENCODING))
        return ERR_NONE;
    if (!take_fields(fields, &weights) || weights.twice)
        return ERR_SYNTAX;
    forget_last_identity(&weights);
    for (int weight = highest_below(&weights, INT16_MAX); weight > 0; weight = highest_below(&weights, weight)) {
        char mark = '>';
        for (enum word w = 0; w < WORDS; w++) {
            if (weights.of[w] == weight) {
                put_word(&n, mark, false, w);
                mark = ',';
            }
        }
    }
    put_refused(&n, &weights);
    *normal = slice_of(out, n.length);
    return ERR_OK;
}

bool accept_encoding_explains(const struct fields *fields, struct slice coding)
{
    struct weights weights;
    enum word word = word_of(coding);
    if (coding.length == 0 || word == WORD_IDENTITY)
        return true;
    return word < WORDS && word != WORD_OTHERS && take_fields(fields, &weights) && weight_in(&weights, word) > 0;
}

#include "engine/base/slice.h"

static inline unsigned char lower(char c)
{
    unsigned char byte = (unsigned char)c;
    return (unsigned char)(byte - 'A') < 26 ? byte | 0x20 : byte;
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

bool slice_ends_nocase(struct slice whole, struct slice suffix)
{
    return whole.length >= suffix.length &&
           slice_equal_nocase(slice_of(whole.at + (whole.length - suffix.length), suffix.length), suffix);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.length && is_space(s.at[0])) {
        s.at++;
        s.length--;
    }
    while (s.length && is_space(s.at[s.length - 1]))
        s.length--;
    return s;
}

enum err slice_to_u64(struct slice s, uint64_t *value)
{
    uint64_t sum = 0;
    if (s.length == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.length; i++) {
        unsigned digit = (unsigned)(unsigned char)s.at[i] - '0';
        if (digit > 9)
            return ERR_SYNTAX;
        if (__builtin_mul_overflow(sum, 10u, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return ERR_RANGE;
    }
    *value = sum;
    return ERR_OK;
}

/* Length of the first element: up to a comma that no quoted string (RFC 9110 5.6.4) holds. */
static size_t element_length(struct slice s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.length; i++) {
        if (quoted && s.at[i] == '\\')
            i++;
        else if (s.at[i] == '"')
            quoted = !quoted;
        else if (s.at[i] == ',' && !quoted)
            return i;
    }
    return s.length;
}

bool slice_next_element(struct slice *rest, struct slice *element)
{
    while (rest->length) {
        size_t length = element_length(*rest);
        *element = slice_trim(slice_of(rest->at, length));
        size_t used = length < rest->length ? length + 1 : length;
        *rest = slice_of(rest->at + used, rest->length - used);
        if (element->length)
            return true;
    }
    return false;
}

bool slice_glob(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.length) {
        if (p < pattern.length && pattern.at[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.length && (pattern.at[p] == '?' || pattern.at[p] == text.at[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else
            return false;
    }
    while (p < pattern.length && pattern.at[p] == '*')
        p++;
    return p == pattern.length;
}

#define DISTANCE_MAX 64u

unsigned slice_distance(struct slice a, struct slice b, unsigned cap)
{
    unsigned rows[3][DISTANCE_MAX + 1];
    if (a.length > DISTANCE_MAX || b.length > DISTANCE_MAX)
        return cap;
    for (unsigned j = 0; j <= b.length; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.length; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i - 1) % 3], *before2 = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= b.length; j++) {
            unsigned substitution = before[j - 1] + (lower(a.at[i - 1]) != lower(b.at[j - 1]));
            unsigned best = before[j] + 1 < now[j - 1] + 1 ? before[j] + 1 : now[j - 1] + 1;
            best = substitution < best ? substitution : best;
            if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1] && before2[j - 2] + 1 < best)
                best = before2[j - 2] + 1;
            now[j] = best;
        }
    }
    unsigned distance = rows[a.length % 3][b.length];
    return distance < cap ? distance : cap;
}

#include "proto/range.h"

/* Reading ------------------------------------------------------------------------------------------------------ */

/* One of the forms of RFC 9110 14.1.1. */
struct spec {
    bool has_first, has_last;
    uint64_t first, last; /* without first: last is the suffix's length */
};

/* A number too large for us is larger than any representation: that is well-formed. */
static bool take_number(struct slice digits, bool *has, uint64_t *number)
{
    enum err e = ERR_OK;
    *has = digits.length > 0;
    if (*has) {
        e = slice_to_u64(digits, number);
        if (e == ERR_RANGE)
            *number = UINT64_MAX;
    }
    return e != ERR_SYNTAX;
}

/* slice_to_u64 stops where it runs over, and would not see what is no digit behind. */
static bool are_digits(struct slice s)
{
    for (size_t i = 0; i < s.length; i++)
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
    return true;
}

static bool take_spec(struct slice text, struct spec *spec)
{
    const char *dash = memchr(text.at, '-', text.length);
    if (!dash)
        return false;
    struct slice before = slice_of(text.at, (size_t)(dash - text.at));
    struct slice behind = slice_of(dash + 1, text.length - before.length - 1);
    if (!are_digits(before) || !are_digits(behind))
        return false;
    if (!take_number(before, &spec->has_first, &spec->first) || !take_number(behind, &spec->has_last, &spec->last))
        return false;
    return spec->has_first ? !spec->has_last || spec->first <= spec->last : spec->has_last;
}

/* RFC 9110 14.1.2: false when nothing of it is there. length > 0. */
static bool is_satisfiable(const struct spec *spec, uint64_t length, struct range *range)
{
    if (!spec->has_first) {
        *range = (struct range){ length - u64_min(spec->last, length), length - 1 };
        return spec->last > 0;
    }
    *range = (struct range){ spec->first, spec->has_last ? u64_min(spec->last, length - 1) : length - 1 };
    return spec->first < length;
}

static bool is_near(const struct range *a, const struct range *b)
{
    const struct range *low = a->first <= b->first ? a : b, *high = low == a ? b : a;
    return high->first <= low->last || high->first - low->last - 1 <= RANGE_GAP_BYTES_MAX;
}

static void merge(struct range *into, const struct range *other)
{
    into->first = u64_min(into->first, other->first);
    into->last = u64_max(into->last, other->last);
}

static void remove_at(struct ranges *ranges, unsigned i)
{
    ranges->count--;
    memmove(&ranges->list[i], &ranges->list[i + 1], (ranges->count - i) * sizeof ranges->list[0]);
}

/* One that has grown may reach others, before it and behind: until none is near any more. At most RANGES_MAX of them. */
static void coalesce(struct ranges *ranges)
{
    for (unsigned i = 0; i < ranges->count; i++) {
        unsigned j = i + 1;
        while (j < ranges->count) {
            if (!is_near(&ranges->list[i], &ranges->list[j])) {
                j++;
                continue;
            }
            merge(&ranges->list[i], &ranges->list[j]);
            remove_at(ranges, j);
            j = i + 1;
        }
    }
}

/* `bytes=` is without case (RFC 9110 14.1). NULL in at: not for us. */
static struct slice set_of(const struct request *request)
{
    const struct field *line = request->method == METHOD_GET ? fields_find(&request->fields, FIELD_RANGE) : NULL;
    if (!line)
        return SLICE_NONE;
    for (const struct field *other = line + 1; other < request->fields.list + request->fields.count; other++)
        if (other->id == FIELD_RANGE)
            return SLICE_NONE;
    struct slice value = field_value(line), unit = SLICE("bytes=");
    if (value.length < unit.length || !slice_equal_nocase(slice_of(value.at, unit.length), unit))
        return SLICE_NONE;
    return slice_of(value.at + unit.length, value.length - unit.length);
}

enum range_verdict ranges_of(const struct request *request, uint64_t length, struct ranges *ranges)
{
    struct slice rest = set_of(request), element;
    unsigned specs = 0;
    ranges->count = 0;
    if (likely(!rest.at))
        return RANGE_NONE;
    while (slice_next_element(&rest, &element)) {
        struct spec spec = { 0 };
        struct range range;
        if (++specs > RANGES_MAX || !take_spec(element, &spec))
            return RANGE_NONE;
        if (length > 0 && is_satisfiable(&spec, length, &range))
            ranges->list[ranges->count++] = range;
    }
    if (specs == 0 || length == 0) /* of nothing, nothing can be said to be a part: "bytes 0-0/0" would be wrong */
        return RANGE_NONE;
    coalesce(ranges);
    return ranges->count ? RANGE_PARTIAL : RANGE_UNSATISFIABLE;
}

/* Content-Range ------------------------------------------------------------------------------------------------ */

/* What stands before `separator`, off the front of *rest. */
static bool take_until(struct slice *rest, char separator, struct slice *piece)
{
    const char *end = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
    if (!end)
        return false;
    *piece = slice_of(rest->at, (size_t)(end - rest->at));
    *rest = slice_of(end + 1, rest->length - piece->length - 1);
    return true;
}

static enum err read_part(struct slice text, struct range *range)
{
    struct slice first;
    if (!take_until(&text, '-', &first) || !are_digits(first) || !are_digits(text))
        return ERR_SYNTAX;
    enum err e = slice_to_u64(first, &range->first);
    if (e == ERR_OK)
        e = slice_to_u64(text, &range->last);
    return e == ERR_OK && range->first > range->last ? ERR_SYNTAX : e;
}

enum err content_range_read(struct slice value, struct range *range, uint64_t *length)
{
    struct slice unit, part, rest = value, any = SLICE("*");
    if (!take_until(&rest, ' ', &unit) || !slice_equal_nocase(unit, SLICE("bytes")) || !take_until(&rest, '/', &part))
        return ERR_SYNTAX;
    *length = RANGE_LENGTH_UNKNOWN;
    if (!slice_equal(rest, any)) {
        enum err e = are_digits(rest) ? slice_to_u64(rest, length) : ERR_SYNTAX;
        if (e != ERR_OK)
            return e;
    }
    if (slice_equal(part, any))
        return *length == RANGE_LENGTH_UNKNOWN ? ERR_SYNTAX : ERR_NONE;
    enum err e = read_part(part, range);
    if (e != ERR_OK)
        return e;
    return *length != RANGE_LENGTH_UNKNOWN && range->last >= *length ? ERR_SYNTAX : ERR_OK;
}

/* Writing ------------------------------------------------------------------------------------------------------ */

static void put_content_range(struct h1_writer *w, const struct range *range, uint64_t length)
{
    h1_put_literal(w, "bytes ");
    if (range) {
        h1_put_number(w, range->first);
        h1_put_literal(w, "-");
        h1_put_number(w, range->last);
    } else
        h1_put_literal(w, "*");
    h1_put_literal(w, "/");
    h1_put_number(w, length);
}

size_t content_range_write(char out[CONTENT_RANGE_BYTES], const struct range *range, uint64_t length)
{
    struct h1_writer w = h1_writer_of(out, CONTENT_RANGE_BYTES);
    put_content_range(&w, range, length);
    return (size_t)(w.at - out);
}

size_t content_range_write_unsatisfied(char out[CONTENT_RANGE_BYTES], uint64_t length)
{
    return content_range_write(out, NULL, length);
}

void multipart_init(struct multipart *multipart, const struct ranges *ranges, uint64_t length, struct slice type,
                    const uint64_t random[2])
{
    *multipart = (struct multipart){ .ranges = ranges, .length = length, .type = type };
    for (unsigned i = 0; i < BOUNDARY_BYTES; i++)
        multipart->boundary[i] = "0123456789abcdef"[random[i / 16] >> (i % 16 * 4) & 15];
}

static struct slice boundary_of(const struct multipart *multipart)
{
    return slice_of(multipart->boundary, BOUNDARY_BYTES);
}

size_t multipart_type_write(const struct multipart *multipart, char out[MULTIPART_TYPE_BYTES])
{
    struct h1_writer w = h1_writer_of(out, MULTIPART_TYPE_BYTES);
    h1_put_literal(&w, "multipart/byteranges; boundary=");
    h1_put(&w, boundary_of(multipart));
    return (size_t)(w.at - out);
}

void multipart_put_head(const struct multipart *multipart, unsigned part, struct h1_writer *w)
{
    if (part)
        h1_put_literal(w, "\r\n"); /* belongs to the delimiter (RFC 2046 5.1.1), not to the content before */
    h1_put_literal(w, "--");
    h1_put(w, boundary_of(multipart));
    if (part == multipart->ranges->count) {
        h1_put_literal(w, "--\r\n");
        return;
    }
    h1_put_literal(w, "\r\n");
    if (multipart->type.length)
        h1_put_field(w, SLICE("Content-Type"), multipart->type);
    h1_put_literal(w, "Content-Range: ");
    put_content_range(w, &multipart->ranges->list[part], multipart->length);
    h1_put_literal(w, "\r\n\r\n");
}

static size_t digits_of(uint64_t value)
{
    size_t digits = 1;
    while (value /= 10)
        digits++;
    return digits;
}

size_t multipart_head_bytes(const struct multipart *multipart, unsigned part)
{
    size_t delimiter = (part ? 4u : 2u) + BOUNDARY_BYTES;
    if (part == multipart->ranges->count)
        return delimiter + 4;
    const struct range *range = &multipart->ranges->list[part];
    size_t type = multipart->type.length ? sizeof "Content-Type: \r\n" - 1 + multipart->type.length : 0;
    size_t numbers = digits_of(range->first) + digits_of(range->last) + digits_of(multipart->length);
    return delimiter + 2 + type + sizeof "Content-Range: bytes -/\r\n\r\n" - 1 + numbers;
}

uint64_t multipart_bytes(const struct multipart *multipart)
{
    uint64_t sum = multipart_head_bytes(multipart, multipart->ranges->count);
    for (unsigned i = 0; i < multipart->ranges->count; i++)
        sum += multipart_head_bytes(multipart, i) + range_bytes(&multipart->ranges->list[i]);
    return sum;
}

/*
 * The least that the home needs of rules.c and key.c, for as long as they are not there: weak, so that the real ones take their place.
 */
#include "cache/key.h"
#include "cache/rules.h"

__attribute__((weak)) bool cache_field_is_dropped(const struct cache_rule *rule, const struct response *response,
                                                  const struct field *field)
{
    (void)rule;
    (void)response;
    return field->id == FIELD_SET_COOKIE;
}

__attribute__((weak)) bool cache_vary_matches(struct slice vary, const struct request *request)
{
    while (vary.length) {
        const char *end = memchr(vary.at, '\n', vary.length), *colon = memchr(vary.at, ':', vary.length);
        const struct field *field = fields_find_name(&request->fields, slice_of(vary.at, (size_t)(colon - vary.at)));
        if (!slice_equal(field ? field_value(field) : SLICE_NONE, slice_of(colon + 1, (size_t)(end - colon - 1))))
            return false;
        vary = slice_of(end + 1, vary.length - (size_t)(end + 1 - vary.at));
    }
    return true;
}

__attribute__((weak)) bool cache_tags_each(const struct cache_rule *rule, const struct response *response,
                                           void (*each)(void *argument, struct slice tag), void *argument)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < rule->tag_count; i++)
        each(argument, rule->tags[i]);
    const struct field *field = fields_find_name(&response->fields, SLICE("surrogate-key"));
    struct slice rest = field ? field_value(field) : SLICE_NONE;
    while (rest.length) {
        const char *space = memchr(rest.at, ' ', rest.length);
        size_t length = space ? (size_t)(space - rest.at) : rest.length;
        if (length && ++count > CACHE_TAGS_MAX)
            return false;
        if (length)
            each(argument, slice_of(rest.at, length));
        rest = space ? slice_of(space + 1, rest.length - length - 1) : SLICE_NONE;
    }
    return true;
}

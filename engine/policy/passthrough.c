#include "engine/policy/passthrough.h"

/* The next name of an ALPN list: a length in a byte, then the name. False: there is none. */
static bool next_protocol(struct slice *list, struct slice *name)
{
    if (list->length < 2)
        return false;
    size_t length = size_min((unsigned char)list->at[0], list->length - 1);
    *name = slice_of(list->at + 1, length);
    *list = slice_of(list->at + 1 + length, list->length - 1 - length);
    return true;
}

static bool has_protocol(const struct passthrough_row *row, struct slice protocol)
{
    for (uint32_t i = 0; i < row->protocol_count; i++)
        if (slice_equal(row->protocols[i], protocol))
            return true;
    return false;
}

static bool protocol_holds(const struct passthrough_row *row, struct slice offered)
{
    struct slice protocol;
    bool holds = row->protocol_count == 0;
    while (!holds && next_protocol(&offered, &protocol))
        holds = has_protocol(row, protocol);
    return holds;
}

static bool name_holds(const struct passthrough_row *row, struct slice name)
{
    bool holds = row->any;
    for (uint32_t i = 0; !holds && name.length && i < row->name_count; i++)
        holds = host_pattern_matches(&row->patterns[i], name);
    return holds;
}

const struct passthrough_row *passthrough_find(const struct passthrough_row *rows, uint32_t count, struct slice name,
                                               struct slice offered)
{
    for (uint32_t i = 0; i < count; i++)
        if (name_holds(&rows[i], name) && protocol_holds(&rows[i], offered))
            return &rows[i];
    return NULL;
}

static bool name_is_covered(const struct passthrough_row *earlier, const struct host_pattern *later)
{
    bool covered = false;
    for (uint32_t i = 0; !covered && i < earlier->name_count; i++)
        covered = host_pattern_covers(&earlier->patterns[i], later);
    return covered;
}

bool passthrough_covers(const struct passthrough_row *earlier, const struct passthrough_row *later)
{
    bool covers = earlier->any || !later->any;
    for (uint32_t i = 0; covers && !earlier->any && i < later->name_count; i++)
        covers = name_is_covered(earlier, &later->patterns[i]);
    if (earlier->protocol_count && later->protocol_count == 0)
        return false;
    for (uint32_t i = 0; covers && earlier->protocol_count && i < later->protocol_count; i++)
        covers = has_protocol(earlier, later->protocols[i]);
    return covers;
}

/*
 * What a reload changes, in words, from two trees. Values are compared as they are shown, so that no row and no type
 * needs code of its own here. Pools and listeners are told apart by name, servers by address, routes by name and else
 * by what they say; the order of routes counts, since the first match wins.
 */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/base/text.h"
#include "engine/config_rows.h"

struct differ {
    const struct config *from, *to;
    struct text *out;
    bool refused;
    bool failed;
};

/* The seeds of maps that live for one call over checked text. */
#define SEED0 0x7765697200000001ull
#define SEED1 0x7265766572000002ull

static struct slice keep(struct differ *differ, struct text *text)
{
    differ->failed |= text->failed;
    return text_slice(text);
}

/* "10s" of "timeout: 10s\n"; what has several lines is not quoted in a message. */
static struct slice value_of(struct slice shown)
{
    const char *colon = shown.length ? memchr(shown.at, ':', shown.length) : NULL;
    if (!colon)
        return SLICE("nothing");
    struct slice value = slice_of(colon + 1, shown.length - (size_t)(colon + 1 - shown.at) - 1);
    return slice_trim(value);
}

static bool is_one_line(struct slice shown)
{
    const char *end = shown.length ? memchr(shown.at, '\n', shown.length) : NULL;
    return !end || end == shown.at + shown.length - 1;
}

/* path: what to say before the key, "limits." or "pool app: ". */
static void tell_change(struct differ *differ, const char *path, const struct row *row, struct slice from, struct slice to)
{
    if (row->type == TYPE_SECTION) {
        text_format(differ->out, "%s%s: %s", path, row->word, from.length == 0 ? "added" : "removed");
    } else if (is_one_line(from) && is_one_line(to)) {
        struct slice old = value_of(from), new = value_of(to);
        text_format(differ->out, "%s%s: %.*s -> %.*s", path, row->word, (int)old.length, old.at, (int)new.length, new.at);
    } else {
        text_format(differ->out, "%s%s: changed", path, row->word);
    }
    if (row->reload == RELOAD_RESTART) {
        text_add(differ->out, SLICE(" needs a restart"));
        differ->refused = true;
    }
    text_add(differ->out, SLICE("\n"));
}

static void compare_section(struct differ *differ, const struct section *section, const char *path, const void *from, const void *to);

static void compare_row(struct differ *differ, const struct row *row, const char *path, const void *from, const void *to)
{
    struct text old = { 0 }, new = { 0 };
    config_show_row(differ->from, row, from, &old);
    config_show_row(differ->to, row, to, &new);
    if (!slice_equal(keep(differ, &old), keep(differ, &new))) {
        struct text inner = { 0 };
        text_format(&inner, "%s%s.", path, row->word);
        differ->failed |= inner.failed;
        if (row->type == TYPE_SECTION && old.length && new.length)
            compare_section(differ, row->section, text_slice(&inner).at, row_member_const(row, from), row_member_const(row, to));
        else
            tell_change(differ, path, row, text_slice(&old), text_slice(&new));
        text_release(&inner);
    }
    text_release(&old);
    text_release(&new);
}

static bool is_list(const struct row *row)
{
    return row->type == TYPE_LIST || row->type == TYPE_NAMED;
}

/* All rows but lists, whose items the callers tell apart. */
static void compare_section(struct differ *differ, const struct section *section, const char *path, const void *from, const void *to)
{
    for (uint32_t i = 0; i < section->row_count; i++) {
        const struct row *row = &section->rows[i];
        if (row->type != TYPE_LATER && !row->shorthand && !is_list(row))
            compare_row(differ, row, path, from, to);
    }
}

/* Items by key ---------------------------------------------------------------------------------------------------- */

/* Items of one kind on both sides: how to name them, and what to compare of two with the same key. */
struct kind {
    const char *noun;
    struct slice (*key)(const void *item);
    void (*compare)(struct differ *differ, const char *path, const void *from, const void *to);
    const struct row *row;
};

static void tell_item(struct differ *differ, const char *path, const struct kind *kind, struct slice key, const char *what)
{
    text_format(differ->out, "%s%s %.*s %s\n", path, kind->noun, (int)key.length, key.at, what);
}

static bool fill(struct differ *differ, struct map *map, const struct kind *kind, const void *target)
{
    map_init(map, UINT32_MAX / 2, SEED0, SEED1);
    for (uint32_t i = 0; i < row_items(kind->row, target); i++) {
        const void *item = row_item(kind->row, target, i);
        if (map_add(map, kind->key(item), (void *)(uintptr_t)item) == ERR_MEMORY)
            differ->failed = true;
    }
    return !differ->failed;
}

static void compare_items(struct differ *differ, const char *path, const struct kind *kind, const void *from, const void *to)
{
    struct map old, new;
    bool filled = fill(differ, &old, kind, from);
    filled = fill(differ, &new, kind, to) && filled;
    for (uint32_t i = 0; filled && i < row_items(kind->row, from); i++) {
        struct slice key = kind->key(row_item(kind->row, from, i));
        if (!map_find(&new, key))
            tell_item(differ, path, kind, key, "removed");
    }
    for (uint32_t i = 0; filled && i < row_items(kind->row, to); i++) {
        const void *item = row_item(kind->row, to, i), *before = map_find(&old, kind->key(item));
        struct text inner = { 0 };
        struct slice key = kind->key(item);
        text_format(&inner, "%s%s %.*s: ", path, kind->noun, (int)key.length, key.at);
        if (before)
            kind->compare(differ, text_slice(&inner).at, before, item);
        else
            tell_item(differ, path, kind, key, "added");
        differ->failed |= inner.failed;
        text_release(&inner);
    }
    map_release(&old);
    map_release(&new);
}

static struct slice server_key(const void *item)
{
    return ((const struct config_server *)item)->address.text;
}
static void compare_servers(struct differ *differ, const char *path, const void *from, const void *to)
{
    compare_section(differ, &section_server, path, from, to);
}

static struct slice pool_key(const void *item)
{
    return ((const struct config_pool *)item)->name;
}
static void compare_pools(struct differ *differ, const char *path, const void *from, const void *to)
{
    const struct kind servers = { "server", server_key, compare_servers, section_row(&section_pool, SLICE("servers")) };
    compare_section(differ, &section_pool, path, from, to);
    compare_items(differ, path, &servers, from, to);
}

static struct slice certificate_key(const void *item)
{
    return ((const struct config_certificate *)item)->chain;
}
static void compare_certificates(struct differ *differ, const char *path, const void *from, const void *to)
{
    compare_section(differ, &section_certificate, path, from, to);
}

/* Which certificates a listener has, and which of them comes first. */
static void compare_listener_tls(struct differ *differ, const char *path, const struct config_listener_tls *from,
                                 const struct config_listener_tls *to)
{
    const struct kind certificates = { "certificate", certificate_key, compare_certificates,
                                       section_row(&section_listener_tls, SLICE("certificates")) };
    if (from->certificate_count == 0 || to->certificate_count == 0)
        return; /* told as tls: added or removed */
    compare_items(differ, path, &certificates, from, to);
    struct slice old = from->certificates[0].chain, new = to->certificates[0].chain;
    if (!slice_equal(old, new))
        text_format(differ->out, "%sdefault certificate: %.*s -> %.*s\n", path, (int)old.length, old.at, (int)new.length, new.at);
}

/* Rows have no names: the list is told of as one. */
static void compare_passthrough(struct differ *differ, const char *path, const struct config_tcp *from, const struct config_tcp *to)
{
    if (!from->on || !to->on)
        return; /* told as tcp: added or removed */
    struct text inner = { 0 };
    text_format(&inner, "%stcp.", path);
    compare_row(differ, section_row(&section_tcp, SLICE("passthrough")), text_slice(&inner).at, from, to);
    text_release(&inner);
}

static struct slice listener_key(const void *item)
{
    return ((const struct config_listener *)item)->name;
}
static void compare_listeners(struct differ *differ, const char *path, const void *from, const void *to)
{
    const struct config_listener *old = from, *new = to;
    compare_section(differ, &section_listener, path, from, to);
    compare_listener_tls(differ, path, &old->tls, &new->tls);
    compare_passthrough(differ, path, &old->tcp, &new->tcp);
}

/* Routes ---------------------------------------------------------------------------------------------------------- */

/*
 * A route as it is shown, without its name: two that say the same are the same. Of the routes that both sides do not have
 * in common, those with the same name have changed; a moved route is told as a new order.
 */
struct shown_routes {
    struct text *texts; /* one per route */
    uint32_t *partner;  /* index + 1 in the other side, 0: none */
    uint32_t count;
};

static void shown_release(struct shown_routes *shown)
{
    for (uint32_t i = 0; shown->texts && i < shown->count; i++)
        text_release(&shown->texts[i]);
    free(shown->texts);
    free(shown->partner);
}

static bool show_routes(struct differ *differ, const struct config *config, struct shown_routes *shown)
{
    *shown = (struct shown_routes){ .count = config->route_count };
    shown->texts = FAULT("config") ? NULL : calloc(shown->count + 1, sizeof *shown->texts);
    shown->partner = FAULT("config") ? NULL : calloc(shown->count + 1, sizeof *shown->partner);
    differ->failed |= !shown->texts || !shown->partner;
    for (uint32_t i = 0; !differ->failed && i < shown->count; i++) {
        for (uint32_t r = 0; r < section_route.row_count; r++) {
            if (section_route.rows[r].type != TYPE_NAME)
                config_show_row(config, &section_route.rows[r], &config->routes[i], &shown->texts[i]);
        }
        differ->failed |= shown->texts[i].failed;
    }
    return !differ->failed;
}

static void make_partners(struct shown_routes *old, uint32_t i, struct shown_routes *new, uint32_t j)
{
    old->partner[i] = j + 1;
    new->partner[j] = i + 1;
}

/* Equal routes find each other: the same text, each once, in order. */
static void match_equal(struct differ *differ, struct shown_routes *old, struct shown_routes *new)
{
    struct map places;
    map_init(&places, UINT32_MAX / 2, SEED0, SEED1);
    for (uint32_t i = old->count; i-- > 0;) { /* of several the first is found */
        map_remove(&places, text_slice(&old->texts[i]));
        if (map_add(&places, text_slice(&old->texts[i]), &old->texts[i]) != ERR_OK)
            differ->failed = true;
    }
    for (uint32_t j = 0; j < new->count; j++) {
        struct text *found = map_find(&places, text_slice(&new->texts[j]));
        uint32_t i = found ? (uint32_t)(found - old->texts) : old->count;
        while (i < old->count && (old->partner[i] || !slice_equal(text_slice(&old->texts[i]), text_slice(&new->texts[j]))))
            i++;
        if (i < old->count)
            make_partners(old, i, new, j);
    }
    map_release(&places);
}

static bool same_route_name(const struct differ *differ, uint32_t i, uint32_t j)
{
    return slice_equal(differ->from->routes[i].name, differ->to->routes[j].name);
}

static void tell_route(struct differ *differ, const struct config *config, uint32_t i, const char *what)
{
    struct slice name = config->routes[i].name;
    text_format(differ->out, "route %.*s %s\n", (int)name.length, name.at, what);
}

static void tell_routes(struct differ *differ, struct shown_routes *old, struct shown_routes *new)
{
    uint32_t last = 0;
    bool moved = false;
    for (uint32_t j = 0; j < new->count; j++) {
        for (uint32_t i = 0; !new->partner[j] && i < old->count; i++) {
            if (old->partner[i] || !same_route_name(differ, i, j))
                continue;
            make_partners(old, i, new, j);
            tell_route(differ, differ->to, j, "changed");
        }
        moved |= new->partner[j] && new->partner[j] < last;
        last = new->partner[j] ? new->partner[j] : last;
    }
    for (uint32_t i = 0; i < old->count; i++) {
        if (!old->partner[i])
            tell_route(differ, differ->from, i, "removed");
    }
    for (uint32_t j = 0; j < new->count; j++) {
        if (!new->partner[j])
            tell_route(differ, differ->to, j, "added");
    }
    if (moved)
        text_add(differ->out, SLICE("routes: in a new order\n"));
}

static void compare_routes(struct differ *differ)
{
    struct shown_routes old, new;
    bool shown = show_routes(differ, differ->from, &old);
    shown = show_routes(differ, differ->to, &new) && shown;
    if (shown) {
        match_equal(differ, &old, &new);
        tell_routes(differ, &old, &new);
    }
    shown_release(&old);
    shown_release(&new);
}

enum err config_diff(const struct config *from, const struct config *to, struct text *out)
{
    struct differ differ = { .from = from, .to = to, .out = out };
    const struct kind listeners = { "listener", listener_key, compare_listeners, section_row(&section_top, SLICE("listeners")) };
    const struct kind pools = { "pool", pool_key, compare_pools, section_row(&section_top, SLICE("pools")) };
    compare_section(&differ, &section_top, "", from, to);
    compare_items(&differ, "", &listeners, from, to);
    compare_routes(&differ);
    compare_items(&differ, "", &pools, from, to);
    if (differ.failed || out->failed)
        return ERR_MEMORY;
    return differ.refused ? ERR_REFUSED : ERR_OK;
}

/*
 * overlay: what commands have changed about the servers that the file has.
 *
 * It belongs to the process and survives reloads; the file's own words come first again only where a reload brings a server that a
 * command had added (overlay_absorb), and with `weir server reset`. An entry is about one address of one pool, as texts: either the
 * file's ("app.example.com:80"), or one of those its name stands for ("10.0.0.1:80").
 *
 * An overlay is a value: a change is made on a copy, which takes the old one's place when all workers have taken the new servers.
 * Control thread only. Nothing here reads the world.
 */
#ifndef WEIR_OVERLAY_H
#define WEIR_OVERLAY_H

#include "engine/config.h"

#define OVERLAY_ENTRIES_MAX 4096u
#define OVERLAY_UNCHANGED UINT32_MAX

struct overlay_entry {
    struct slice key;         /* "pool/address", own memory */
    struct slice pool, address; /* its parts */
    bool added;               /* the file has it not */
    bool removed;             /* the file, or a name, has it; it is not used */
    uint32_t weight;          /* OVERLAY_UNCHANGED: the file's, or 1 */
    uint32_t max_connections; /* likewise, or none */
    uint8_t group;            /* 0: the file's, or the first */
};

struct overlay {
    struct overlay_entry *entries;
    uint32_t count, room;
};

void overlay_release(struct overlay *overlay);
bool must_use overlay_copy(const struct overlay *from, struct overlay *to); /* false: out of memory, `to` is empty */

const struct overlay_entry *overlay_find(const struct overlay *overlay, struct slice pool, struct slice address);

/* The entry of this pool and address, made when there is none. NULL: out of memory, or the cap. */
struct overlay_entry *overlay_entry(struct overlay *overlay, struct slice pool, struct slice address);

/* Drops an entry that changes nothing (any more). */
void overlay_tidy(struct overlay *overlay, struct overlay_entry *entry);

/*
 * A new file is read: added servers that it has itself now are its own, and entries of pools that are gone are dropped. A line each
 * to out, and a line for each change that stands.
 */
struct text;
void overlay_absorb(struct overlay *overlay, const struct config *config, struct text *out);

/* "app/127.0.0.1:80: added, weight 3" and a line's end. */
void overlay_describe(const struct overlay_entry *entry, struct text *out);

#endif

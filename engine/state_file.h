/*
 * state_file: what an engine knows about its servers beyond its file, written down.
 *
 * Text, a line each, words separated by one space. The first line says what it is, the second when it was written (seconds since 1970);
 * then come lines in any order, each about one server ("pool/address", which has no space):
 *
 *   weir-state 1
 *   written 1732450000
 *   add app/10.0.0.9:80 weight=2 max-connections=100 group=1     a server that a command added; the words behind it may be missing
 *   remove app/10.0.0.1:80                                       one that a command took away
 *   change app/10.0.0.2:80 weight=5                              one whose weight or limit a command changed
 *   drained app/10.0.0.3:80
 *   forced app/10.0.0.4:80 up                                    or down
 *   checked app/10.0.0.5:80 down                                 or up: what active checks found
 *   marked app/10.0.0.6:80 ms=2500 marks=2 failures=4            passed over for so long still
 *
 * A file is read as if anybody had written it: a line that is none of these is skipped and told (the first STATE_WARNINGS_MAX of them), and
 * what is above a cap is left out. What servers it speaks of, the engine decides. Parsing touches no file.
 */
#ifndef WEIR_STATE_FILE_H
#define WEIR_STATE_FILE_H

#include "engine/base/text.h"
#include "engine/overlay.h"

#define STATE_BYTES_MAX (4u * 1024u * 1024u)
#define STATE_SERVERS_MAX 16384u
#define STATE_WARNINGS_MAX 20u
#define STATE_MARK_MS_MAX (2u * 86400000u) /* back-off-max is a day at most, and spread */
#define STATE_HEALTH_AGE_S 600 /* checks and marks that are older say nothing any more */

/* What one line says of one server; a server may have several. */
struct state_server {
    struct slice key; /* the text's */
    enum state_word { STATE_DRAINED, STATE_FORCED, STATE_CHECKED, STATE_MARKED } word;
    bool up;          /* FORCED, CHECKED; else down */
    uint64_t marked_ms;
    uint32_t marks, failures;
};

struct state {
    struct overlay overlay;
    struct state_server *servers; /* room for STATE_SERVERS_MAX */
    uint32_t server_count;
    int64_t written;
    struct text warnings; /* a line each */
    uint32_t skipped;
};

/* text must stay while state is used. ERR_SYNTAX: no state file at all (nothing is taken); ERR_MEMORY. */
enum err must_use state_parse(struct slice text, struct state *state);
void state_release(struct state *state);

/* Lines, for whoever writes one. */
void state_write_head(int64_t now, struct text *out);
void state_write_entry(const struct overlay_entry *entry, struct text *out);
void state_write_server(const struct state_server *server, struct text *out);

/* Reads a whole file; malloc'd. ERR_NONE: there is none. ERR_CAP, ERR_MEMORY, ERR_SYSTEM with errno. */
enum err must_use state_read_file(const char *path, char **bytes, size_t *length);

/* Puts it there in one step: another file that is written, synced and renamed. False: why says what went wrong, and the old file stands. */
bool must_use state_write_file(const char *path, struct slice bytes, char why[256]);

#endif

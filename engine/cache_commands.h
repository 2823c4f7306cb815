/*
 * cache_commands: what `weir purge` and `weir cache` ask for. Control thread only.
 */
#ifndef WEIR_CACHE_COMMANDS_H
#define WEIR_CACHE_COMMANDS_H

#include "cache/cache.h"
#include "engine/explain.h"
#include "engine/server.h"
#include "engine/stats.h"

/* What is to be purged, as it was asked for. */
struct purge_question {
    enum purge_kind kind;
    bool soft;
    struct slice texts[EXPLAIN_FIELDS_MAX + 1]; /* URL: it, and fields of the request; PREFIX: a URL; HOST: a host; TAG: tags; ALL: none */
    unsigned text_count;
};

/* "url", "prefix", "host", "tag" or "all". False: it is none. */
bool purge_kind_of(const char *word, enum purge_kind *kind);

/*
 * Purges, and ends in answer->done: at once, or, for a prefix, when all that is stored was looked at, so that the count is right; the purge itself is
 * in force before this returns. A failure is an answer too.
 */
void purge_begin(struct server_process *process, const struct purge_question *question, struct server_answer *answer);
/* Before the loop's memory goes: those that still count are answered. */
void purges_end(struct server_process *process);

void cache_status(const struct stats_view *view, struct text *text, struct text *json);

/* What is stored for the URL of the question, whose method is GET. ERR_NONE, ERR_SYNTAX, ERR_MEMORY: why. */
enum err must_use cache_show(struct server_process *process, const struct explain_question *question, struct text *text, struct text *json,
                             char why[256]);

#endif

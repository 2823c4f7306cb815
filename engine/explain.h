/*
 * explain: what would become of a request, without sending anything to anybody (`weir explain`).
 *
 * The request is made into bytes as a client would send it and goes through the very functions that an exchange goes through: the
 * strict parser, the routes, the key, the pool's policy, the writer of heads. What changes when a server is picked (leases, trials,
 * turns) happens to copies of the servers' records, so that asking touches nothing. Control thread only.
 *
 * What a worker knows alone cannot be said: whose turn it is with round-robin, or how loaded it finds the servers. Then the candidates
 * are given. {client-port} and {request-id} stand for nothing here and are shown as 0s.
 */
#ifndef WEIR_EXPLAIN_H
#define WEIR_EXPLAIN_H

#include "engine/base/text.h"
#include "engine/generation.h"

#define EXPLAIN_FIELDS_MAX 32u

struct disk;
struct homes;
struct explanation; /* explain_report.h */

struct explain_question {
    struct slice method; /* as it stands, well-formed or not; so are the URL and the fields */
    struct slice url;    /* http(s)://host[:port]/path?query; a fragment is left out, as clients do */
    struct slice from;   /* the client's IP address; empty: 127.0.0.1 */
    struct slice fields[EXPLAIN_FIELDS_MAX]; /* "Name: value"; a Host among them replaces the URL's */
    unsigned field_count;
    struct homes *homes; /* NULL: no route has a cache */
    struct disk *disk;   /* NULL: none */
    int64_t now_s;       /* since 1970, for what is stored */
};

/*
 * Appends the answer for people and for machines. ERR_SYNTAX: the question itself is wrong, and why says how (a request that is refused is
 * an answer). ERR_MEMORY. random: any bits.
 */
enum err must_use explain(const struct generation *generation, const struct explain_question *question, uint64_t now_ms,
                          uint64_t random, struct text *text, struct text *json, char why[128]);

/*
 * The same without words: what was found out, to be freed with explanation_free. NULL: *e and why say what is wrong. Objects of the cache that it names
 * are held until then. The question, the generation and the homes have to last as long.
 */
struct explanation *explanation_new(const struct generation *generation, const struct explain_question *question, uint64_t now_ms,
                                    uint64_t random, enum err *e, char why[128]);
void explanation_free(struct explanation *explanation);

#endif

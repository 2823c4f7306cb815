/*
 * key: what a stored response is found by.
 *
 * The primary key is text: scheme, authority, path and keyed query (together the URL part: what purge names), then the pool, the path
 * that is forwarded where a rewrite makes another of it, and what the rule adds; each part ends in LF, which cannot stand in any. Nothing that
 * a client may send freely is in it unless the rule says so; and what is not in it must not change the answer: see cache_field_is_poisonous.
 *
 * The secondary key is what Vary makes of the request (RFC 9111 4.1): the values of the fields that it names, normalised.
 *
 * Keys are made for origins that read a request in another way than we do. Where a client could use that to have its answer stored for
 * others, the key holds more than it would have to:
 *
 *   - Parameters of a query are separated by '&' only, and their names compare as received, without decoding. A piece that an origin may take
 *     for something else, with ';' in it or with '%' or '+' in its name, is never ignored, and with one of them CACHE_KEY_PARAM means the whole query.
 *   - A parameter or cookie that comes several times counts with all its values, since some take the first and others the last. So does one whose name
 *     differs in case, or in '.' for '_' (PHP).
 *   - Cookies with '"' or ',' anywhere are keyed whole, where a cookie is a part of the key: some find cookies in quotes and behind commas, others not.
 *   - A field that is spelt with '_' for '-' is taken for the one of the key or of Vary, but kept apart from it.
 *   - A field that is not forwarded, because Connection names it, counts as absent: the origin does not see it.
 *
 * What an origin is sent should be what the key says: forward `authority` of the key as Host and wherever else the host is named, or an answer to
 * "EXAMPLE.com." is found for "example.com".
 */
#ifndef WEIR_CACHE_KEY_H
#define WEIR_CACHE_KEY_H

#include "cache/rule.h"
#include "proto/message.h"

#define CACHE_KEY_BYTES_MAX 4096u /* a request with a longer one is not cached */
#define CACHE_VARY_BYTES_MAX 1024u
#define CACHE_VARY_NAMES_MAX 32u

struct cache_key {
    struct slice text;
    struct slice authority; /* in it: what to send as Host */
    uint32_t url_length;    /* of it, the URL part */
    uint64_t url_hash;      /* of the URL part: picks home and bucket */
};

struct cache_key_context {
    struct slice scheme;       /* "http", "https" */
    struct slice pool;         /* its name, and whatever else tells apart what routes make of a request (their edits) */
    struct slice forward_path; /* as rewritten; empty: as received */
    bool client_trusted;       /* what it says in X-Forwarded-Proto, -Host, -Port and Forwarded (but for= and by=) is forwarded, so it is in the key */
    uint64_t seed[2];          /* of the hash (map.h, siphash13) */
};

/*
 * The key of the request in `room`. The authority is in lower case, without a port that is the scheme's own (leading zeros of another go) and
 * without the host's last dot. A HEAD has the key of its GET. The query begins with '?' where there is one, so that "/a?" is not "/a"; one that is empty
 * once ignored parameters are gone counts as none. Of CACHE_KEY_PARAM, the order in the query does not count. ERR_CAP: it does not fit; ERR_SYNTAX: no
 * authority.
 */
enum err must_use cache_key_make(const struct cache_rule *rule, const struct request *request, const struct cache_key_context *context,
                                 char *room, size_t cap, struct cache_key *key);

/*
 * The key of a slice: one more line behind that of the whole, which is the first whole_length bytes of key->text. `room` is where that text stands, with
 * CACHE_SLICE_LINE_BYTES behind it. The URL part stays what it is, so purges of it concern all slices.
 */
#define CACHE_SLICE_LINE_BYTES 48u
void cache_key_slice(struct cache_key *key, char *room, size_t whole_length, uint64_t slice_bytes, uint64_t number);

/*
 * Request fields that frameworks take for the method, host or path of the request though they are not in the key (X-HTTP-Method-Override,
 * X-Original-URL, X-Rewrite-URL, X-Forwarded-Server and their like, also with '_' for '-'; and conditions spelt with '_', If_None_Match), unless the rule
 * has them in the key: they are not forwarded where the answer may be stored. X-Forwarded-Host and the others of FIELD_ROWS are none: of untrusted clients they are never
 * forwarded, and of others they are in the key.
 */
bool cache_field_is_poisonous(const struct cache_rule *rule, const struct field *field);

/*
 * The secondary key of a response to this request, in `room`: for each name in its Vary (lower case, sorted, each once) "name:value LF", "name LF" where
 * the field is absent. Empty when there is no Vary, or only names that the rule ignores or that the primary key decides (Host, X-Forwarded-Proto, -Host,
 * -Port). Values: lines combined, runs of white space made one, around commas none, but not within quotes. Accept-Encoding has its normal form
 * (accept_encoding.h) where that explains the response's coding; else its value, after '=' in place of ':'. A value of a name
 * with '_' for '-' comes after ';'.
 *
 * ERR_NONE: Vary has "*", no field name, or a field that we write ourselves for each client (X-Forwarded-For, Forwarded, X-Real-IP, X-Client-*,
 * Via): never matches. ERR_CAP: too long or too many names, not to be stored.
 */
enum err must_use cache_vary_make(const struct cache_rule *rule, const struct request *request, const struct response *response, char *room,
                                  size_t cap, struct slice *vary);
/* Does the request select a stored response with that secondary key? */
bool cache_vary_matches(struct slice vary, const struct request *request);

/*
 * Tags of a response: Surrogate-Key (by white space) and Cache-Tag (by commas), and the rule's. Calls `each` once for each tag, at most
 * CACHE_TAGS_MAX of them (further ones: false, and the response is not to be stored, since it could not be purged by them). Tags compare by bytes.
 */
#define CACHE_TAGS_MAX 512u
bool cache_tags_each(const struct cache_rule *rule, const struct response *response, void (*each)(void *argument, struct slice tag), void *argument);

#endif

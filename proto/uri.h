/*
 * uri: request targets and authorities (RFC 3986, RFC 9112 3.2).
 *
 * One canonical path is used for matching and for forwarding, so that a route and an origin never disagree:
 * percent-encoded unreserved characters are decoded, other escapes get upper-case hex, "." and ".." segments (also in
 * escaped form) are removed; an encoded slash stays encoded, empty segments stay. Refused: an escape that is not two
 * hex digits, %00, a climb above the root, dot segments that only some see (behind or before %2F or %5C, or with
 * parameters: "/a/..%2Fb", "/a/..;/b"), control characters, bytes outside RFC 3986's set (bytes >= 0x80 are
 * refused too, but a few characters that browsers send raw, | ^ { } ` " < > [ ], are percent-encoded in path and query).
 */
#ifndef WEIR_URI_H
#define WEIR_URI_H

#include "engine/base/slice.h"

/* True exactly when the path is canonical as it stands: the common case, decided in one pass. */
bool uri_path_is_canonical(struct slice path);

/*
 * Writes the canonical form of path (which must begin with '/') to out, at most cap bytes; *canonical views out.
 * 3 * path.length always suffices. ERR_SYNTAX for what is refused, ERR_CAP when out is too small.
 */
enum err must_use uri_path_canonicalise(struct slice path, char *out, size_t cap, struct slice *canonical);

/* Same for a query, but its escapes are only checked and stay as they came: nothing is matched against it. */
bool uri_query_is_canonical(struct slice query);
enum err must_use uri_query_canonicalise(struct slice query, char *out, size_t cap, struct slice *canonical);

/*
 * host[:port] of Host or an absolute target: reg-name (letters, digits, - . _ ~ and sub-delims without comma; no
 * escapes), IPv4, or [IPv6]. *host comes without port and with brackets; *port is 0 when absent. An empty port
 * ("a:") is accepted as absent. userinfo is refused (RFC 9110 4.2.4). ERR_SYNTAX.
 */
enum err must_use uri_authority_split(struct slice authority, struct slice *host, uint16_t *port);

#endif

#include "engine/config_rows.h"

#include "engine/base/check.h"
#include "engine/config_decode.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

/* Listeners ------------------------------------------------------------------------------------------------------- */

static const struct row_word serve_words[] = { { "proxy", SERVE_PROXY }, { "admin", SERVE_ADMIN }, { "forward-proxy", SERVE_FORWARD }, { NULL, 0 } };

static bool listener_is_named(const void *target)
{
    const struct config_listener *listener = target;
    return !slice_equal(listener->name, listener->address.text);
}
static bool listener_is_local(const void *target)
{
    return ((const struct config_listener *)target)->address.port == 0;
}
static bool listener_is_for_http(const void *target)
{
    return !((const struct config_listener *)target)->tcp.on;
}
static bool is_proxied(const void *target)
{
    return ((const struct config_proxied *)target)->from_count > 0;
}
static const struct row proxied_rows[] = {
    { .word = "from", .type = TYPE_NETWORKS, MEMBER(config_proxied, from), LENGTH_AT(config_proxied, from_count), .required = true, .least = 1,
      .most = 4096, .example = "from: [ 10.0.0.0/8 ]",
      .doc = "Addresses and networks of the proxies in front; unix: on a unix socket." },
};
static const struct section section_proxied = {
    .noun = "proxy-protocol", SECTION(config_proxied, proxied_rows), .scalar_key = "from", .is_present = is_proxied,
    .doc = "The PROXY protocol, versions 1 and 2, in front of TLS too; a list alone is 'from'. A connection from one of these must begin with such "
           "a header, within timeouts.head (timeouts.handshake where there is tls), or it is closed. The address that it names is the client's from then on: in "
           "X-Forwarded-For, logs, hash keys, limits, and for trusted-proxies. From everybody else a header is a malformed request.",
};
static const struct row listener_rows[] = {
    { .word = "address", .type = TYPE_LISTEN_ADDRESS, MEMBER(config_listener, address), .required = true,
      .example = "address: 127.0.0.1:8080",
      .doc = "Where to listen: host:port, [IPv6]:port, :port for every address of both families, or unix:/path." },
    { .word = "name", .type = TYPE_NAME, MEMBER(config_listener, name), .applies = listener_is_named,
      .doc = "What messages call it. Otherwise that is its address." },
    { .word = "serve", .type = TYPE_WORD, MEMBER(config_listener, serve), .words = serve_words, .usual = "proxy",
      .doc = "proxy: the routes. admin: metrics in Prometheus' format at /metrics and nothing else. forward-proxy: what the section forward-proxy says, for "
             "clients that name the site themselves (CONNECT, or http:// in the request line)." },
    { .word = "backlog", .type = TYPE_COUNT, MEMBER(config_listener, backlog), .least = 1, .most = 65535, .usual = "4096",
      .reload = RELOAD_RESTART,
      .doc = "Connections that may wait to be accepted, per worker. The kernel caps it at net.core.somaxconn." },
    { .word = "mode", .type = TYPE_MODE, MEMBER(config_listener, unix_mode), .most = 0777, .usual = "0660",
      .applies = listener_is_local, .reload = RELOAD_RESTART,
      .doc = "File mode of a unix: socket." },
    { .word = "redirect-to-https", .type = TYPE_FLAG, MEMBER(config_listener, redirect_to_https), .usual = "false",
      .applies = listener_is_for_http,
      .doc = "Answers every request with 308 and the same URL with https, but those whose PROXY header says that the client spoke TLS." },
    { .word = "tls", .type = TYPE_SECTION, MEMBER(config_listener, tls), .section = &section_listener_tls },
    { .word = "proxy-protocol", .type = TYPE_SECTION, MEMBER(config_listener, proxied), .section = &section_proxied },
    { .word = "tcp", .type = TYPE_SECTION, MEMBER(config_listener, tcp), .section = &section_tcp },
    { .word = "protocols", .type = TYPE_LATER, .doc = "HTTP/2 and HTTP/3" },
};
const struct section section_listener = {
    .noun = "listener", SECTION(config_listener, listener_rows), .finish = finish_listener,
    .doc = "A socket that clients connect to.",
};

/* Routes ---------------------------------------------------------------------------------------------------------- */

static const char *complain_of_framing(enum field_id id)
{
    switch (id) {
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING: return "the proxy frames messages itself; this field cannot be edited";
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS: return "this field is about one connection (RFC 9110 7.6.1); the proxy writes it itself";
    default: return NULL;
    }
}

static const char *check_request_field(struct slice name)
{
    const char *complaint = value_check_field_name(name);
    if (complaint)
        return complaint;
    switch (field_id_of(name)) {
    case FIELD_HOST: return "the Host that origins see is set with the key 'host' of the pool";
    case FIELD_EXPECT: return "the proxy answers Expect itself; this field cannot be edited";
    case FIELD_VIA: return "Via is set with the key 'via' at the top";
    case FIELD_FORWARDED:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST: return "this field is set with the keys 'forwarded' and 'trusted-proxies' at the top";
    default: return complain_of_framing(field_id_of(name));
    }
}

static const char *check_response_field(struct slice name)
{
    const char *complaint = value_check_field_name(name);
    if (complaint)
        return complaint;
    if (field_id_of(name) == FIELD_VIA)
        return "Via is set with the key 'via' at the top";
    if (field_id_of(name) == FIELD_DATE)
        return "Date says when the origin made the response; the proxy adds it where it is missing";
    return complain_of_framing(field_id_of(name));
}

#define EDIT_ROWS(check_)                                                                                              \
    { .word = "remove", .type = TYPE_EDIT_REMOVE, .check = (check_), .most = FIELDS_CAP,                               \
      .doc = "Drops every field of these names." },                                                                    \
    { .word = "set", .type = TYPE_EDIT_SET, .check = (check_), .most = FIELDS_CAP,                                     \
      .doc = "Replaces every field of that name by one with this value." },                                            \
    { .word = "add", .type = TYPE_EDIT_ADD, .check = (check_), .most = FIELDS_CAP,                                     \
      .doc = "Adds a field, or several with a list of values, beside those of the same name." },

static bool edits_present(const void *target)
{
    return ((const struct field_edits *)target)->count > 0;
}
static const struct row request_edit_rows[] = { EDIT_ROWS(check_request_field) };
static const struct section section_request_edits = {
    .noun = "request-headers", SECTION(field_edits, request_edit_rows), .is_present = edits_present, .finish = finish_edits,
    .doc = "Edits of the fields that go to the origin: first remove, then set, then add. Values may hold placeholders: "
           "{client-address}, {client-port}, {host}, {method}, {path}, {query}, {scheme}, {server}, {request-id}; "
           "a brace itself is written twice.",
};
static const struct row response_edit_rows[] = { EDIT_ROWS(check_response_field) };
static const struct section section_response_edits = {
    .noun = "response-headers", SECTION(field_edits, response_edit_rows), .is_present = edits_present, .finish = finish_edits,
    .doc = "Edits of the fields that go to the client: first remove, then set, then add; placeholders as in request-headers.",
};

static bool match_present(const void *target)
{
    const struct route *route = target;
    return route->host_count || route->path_count || route->method_count || route->field_count;
}
static const struct row match_rows[] = {
    { .word = "host", .type = TYPE_HOSTS, .most = 1024,
      .doc = "Hosts, without port: example.com, or *.example.com for every name below it (not example.com itself)." },
    { .word = "path", .type = TYPE_PATHS, .most = 1024,
      .doc = "Paths: /a exactly; /a/* for /a and everything below; elsewhere * is any run without a slash, ** any run." },
    { .word = "method", .type = TYPE_METHODS, .most = 64, .doc = "Methods, in capitals. GET does not stand for HEAD." },
    { .word = "header", .type = TYPE_FIELDS, .most = FIELDS_CAP,
      .doc = "Request fields, each with a pattern (* any run, ? any one character) or several of which one must match; "
             "{ present: false } for a field that must be missing." },
};
static const struct section section_match = {
    .noun = "match", SECTION(route, match_rows), .is_present = match_present, .finish = finish_match,
    .doc = "What a request must be like: all the given conditions hold; of several values in one condition, any.",
};

static bool respond_present(const void *target)
{
    return ((const struct route *)target)->action == ROUTE_RESPOND;
}
static const struct row respond_rows[] = {
    { .word = "status", .type = TYPE_COUNT, MEMBER(route, status), .least = 200, .most = 599, .usual = "200",
      .doc = "Status of the answer." },
    { .word = "type", .type = TYPE_TEXT, MEMBER(route, type), .check = value_check_media_type, .usual = "text/plain; charset=utf-8",
      .doc = "Content-Type of the body." },
    { .word = "body", .type = TYPE_TEXT, MEMBER(route, body), .check = value_check_body, .doc = "Content of the answer, as it stands." },
    { .word = "headers", .type = TYPE_EDIT_SET, MEMBER(route, response_edits), .check = check_response_field, .most = FIELDS_CAP,
      .shorthand = true, .doc = "Further fields of the answer; the same as response-headers: set." },
};
static const struct section section_respond = {
    .noun = "respond", SECTION(route, respond_rows), .is_present = respond_present, .finish = finish_respond,
    .doc = "An answer of the proxy's own.",
};

static bool redirect_present(const void *target)
{
    return ((const struct route *)target)->action == ROUTE_REDIRECT;
}
static const struct row redirect_rows[] = {
    { .word = "to", .type = TYPE_LOCATION, MEMBER(route, location), .required = true,
      .example = "to: https://{host}{path}?{query}",
      .doc = "A URL, or a path that begins with a slash. Placeholders as in request-headers; a ? right before an empty "
             "{query} is left out: https://{host}{path}?{query}" },
    { .word = "status", .type = TYPE_COUNT, MEMBER(route, status), .least = 301, .most = 308, .usual = "302",
      .doc = "301, 302, 303, 307 or 308." },
};
static const struct section section_redirect = {
    .noun = "redirect", SECTION(route, redirect_rows), .is_present = redirect_present, .finish = finish_redirect,
    .doc = "Sends the client elsewhere.",
};

static bool rewrite_present(const void *target)
{
    const struct route *route = target;
    return route->strip_prefix.length || route->add_prefix.length || route->replace_path.length;
}
static const struct row rewrite_rows[] = {
    { .word = "strip-prefix", .type = TYPE_PREFIX, MEMBER(route, strip_prefix),
      .doc = "Whole segments to take off the front of the path: /assets makes /assets/x into /x." },
    { .word = "add-prefix", .type = TYPE_PREFIX, MEMBER(route, add_prefix),
      .doc = "Segments to put before the path, after strip-prefix." },
    { .word = "path", .type = TYPE_TEXT, MEMBER(route, replace_path), .check = value_check_path,
      .doc = "The whole path to ask for instead. The query stays." },
};
static const struct section section_rewrite = {
    .noun = "rewrite", SECTION(route, rewrite_rows), .is_present = rewrite_present, .finish = finish_rewrite,
    .doc = "Which path the origin is asked for.",
};

static bool compress_present(const void *target)
{
    return ((const struct compress_rule *)target)->codings.count > 0;
}
static const struct row_word coding_words[] = { { "zstd", CODING_ZSTD }, { "br", CODING_BROTLI }, { "gzip", CODING_GZIP }, { NULL, 0 } };
static const struct row compress_rows[] = {
    { .word = "codings", .type = TYPE_WORDS, MEMBER(compress_rule, codings), .words = coding_words, .usual = "zstd, br, gzip",
      .doc = "Content codings to offer. Of those that a client likes equally, the first. zstd costs the least time by far, br makes the fewest bytes, and every "
             "client knows gzip." },
    { .word = "types", .type = TYPE_MEDIA_TYPES, MEMBER(compress_rule, types), LENGTH_AT(compress_rule, type_count),
      .check = value_check_media_pattern, .least = 1, .most = 64,
      .doc = "Media types, * being any run: text/*, application/json. Otherwise text/*, application/json, application/javascript, "
             "application/xml, application/*+json, application/*+xml, image/svg+xml and application/wasm." },
    { .word = "min", .type = TYPE_SIZE, MEMBER(compress_rule, bytes_min), .most = 1ull << 40, .usual = "1KiB",
      .doc = "Content that is known to be smaller stays as it is." },
};
static const struct section section_compress = {
    .noun = "section 'compress'", SECTION(compress_rule, compress_rows), .is_present = compress_present, .finish = finish_compress,
    .doc = "Compresses responses for clients that accept it; {} suffices. Only of status 200, without a coding of their own, and unless they say "
           "no-transform. Not for pages with a secret beside what others can put into them, such as a CSRF token beside a search term: the length of what "
           "is compressed tells of the secret (BREACH). Give these a route without it, or mask the secret anew in each response.",
};

static bool route_is_named(const void *target)
{
    return !slice_starts(((const struct route *)target)->name, SLICE("routes["));
}
static bool route_has_pool(const void *target)
{
    return ((const struct route *)target)->action == ROUTE_POOL;
}
static const struct row route_rows[] = {
    { .word = "name", .type = TYPE_NAME, MEMBER(route, name), .applies = route_is_named,
      .doc = "What logs call it. Otherwise that is its place: routes[0], routes[1]." },
    { .word = "match", .type = TYPE_SECTION, .section = &section_match },
    { .word = "pool", .type = TYPE_POOL, MEMBER(route, pool), .applies = route_has_pool, .doc = "The pool that is asked." },
    { .word = "respond", .type = TYPE_SECTION, .section = &section_respond },
    { .word = "redirect", .type = TYPE_SECTION, .section = &section_redirect },
    { .word = "rewrite", .type = TYPE_SECTION, .section = &section_rewrite },
    { .word = "request-headers", .type = TYPE_SECTION, MEMBER(route, request_edits), .section = &section_request_edits },
    { .word = "response-headers", .type = TYPE_SECTION, MEMBER(route, response_edits), .section = &section_response_edits },
    { .word = "compress", .type = TYPE_SECTION, MEMBER(route, compress), .section = &section_compress },
    { .word = "cache", .type = TYPE_SECTION, MEMBER(route, cache), .section = &section_route_cache },
    { .word = "upgrade", .type = TYPE_PROTOCOLS, MEMBER(route, upgrade.protocols), LENGTH_AT(route, upgrade.count), .check = value_check_protocol,
      .least = 1, .most = 16, .usual = "websocket", .zero = "none", .applies = route_has_pool,
      .doc = "Protocols that clients may go on in once the origin has agreed (Upgrade, 101): websocket, whose handshake is checked on both sides, or the "
             "name of another; or none. A request for a websocket where none may pass is answered 403, other protocols that are not in the list are not "
             "offered to the origin. The bytes that follow pass as they are, see timeouts.tunnel." },
    { .word = "limit", .type = TYPE_LATER, .doc = "rate limiting" },
    { .word = "waf", .type = TYPE_LATER, .doc = "the request filter" },
};
const struct section section_route = {
    .noun = "route", SECTION(route, route_rows), .finish = finish_route,
    .doc = "Which requests go where: the first route whose match holds takes the request. Exactly one of pool, respond and "
           "redirect says what is done.",
};

/* The top --------------------------------------------------------------------------------------------------------- */

static const struct row limit_rows[] = {
    { .word = "head", .type = TYPE_SIZE, MEMBER(config_limits, head_bytes_max), .least = 1024, .most = 16384, .usual = "16KiB",
      .doc = "A request's head: request line and fields (431)." },
    { .word = "target", .type = TYPE_SIZE, MEMBER(config_limits, target_bytes_max), .least = 64, .most = 16384, .usual = "8KiB",
      .doc = "A request's target: path and query (414)." },
    { .word = "fields", .type = TYPE_COUNT, MEMBER(config_limits, fields_max), .least = 1, .most = FIELDS_CAP, .usual = "100",
      .doc = "Fields of a request (431)." },
    { .word = "body", .type = TYPE_SIZE, MEMBER(config_limits, body_bytes_max), .most = INT64_MAX, .usual = "none", .zero = "none",
      .doc = "A request's content (413)." },
    { .word = "connections", .type = TYPE_COUNT, MEMBER(config_limits, connections_max), .most = 100000000, .usual = "auto",
      .zero = "auto", .doc = "Client connections at once, for the whole process. auto: as many as the process may have descriptors for." },
    { .word = "requests-per-connection", .type = TYPE_COUNT, MEMBER(config_limits, requests_per_connection_max), .most = UINT32_MAX,
      .usual = "none", .zero = "none", .doc = "Requests that one client connection may carry." },
    { .word = "handshakes", .type = TYPE_COUNT, MEMBER(config_limits, handshakes_max), .most = 10000000, .usual = "4096",
      .zero = "none", .doc = "TLS handshakes under way, for the whole process. Connections beyond are closed." },
};
static const struct section section_limits = {
    .noun = "limits", SECTION(config_limits, limit_rows), .always = true, .doc = "What a client may ask for.",
};

static const struct row timeout_rows[] = {
    { .word = "head", .type = TYPE_DURATION, MEMBER(config_timeouts, head_ms), .least = 10, .most = HOUR_MS, .usual = "10s",
      .doc = "The whole head of a request, from its first byte (408)." },
    { .word = "idle", .type = TYPE_DURATION, MEMBER(config_timeouts, idle_ms), .least = 10, .most = DAY_MS, .usual = "60s",
      .doc = "A kept connection without a request." },
    { .word = "body", .type = TYPE_DURATION, MEMBER(config_timeouts, body_ms), .least = 10, .most = DAY_MS, .usual = "30s",
      .doc = "Silence while a request's content is awaited (408)." },
    { .word = "send", .type = TYPE_DURATION, MEMBER(config_timeouts, send_ms), .least = 10, .most = DAY_MS, .usual = "30s",
      .doc = "A client that takes nothing of its response." },
    { .word = "drain", .type = TYPE_DURATION, MEMBER(config_timeouts, drain_ms), .most = DAY_MS, .usual = "30s",
      .doc = "What a graceful stop waits for requests in flight." },
    { .word = "handshake", .type = TYPE_DURATION, MEMBER(config_timeouts, handshake_ms), .least = 10, .most = HOUR_MS, .usual = "10s",
      .doc = "A whole TLS handshake, from the moment the connection is there." },
    { .word = "tunnel", .type = TYPE_DURATION, MEMBER(config_timeouts, tunnel_ms), .least = 10, .most = 7 * DAY_MS, .usual = "1h",
      .doc = "After an upgrade, to WebSocket for one: silence of both sides, after which the tunnel is closed. Nothing else ends one: neither the pool's "
             "timeouts nor a reload." },
};
static const struct section section_timeouts = {
    .noun = "timeouts", SECTION(config_timeouts, timeout_rows), .always = true, .doc = "How long clients may take.",
};

static const struct row_word format_words[] = { { "json", LOG_JSON }, { "combined", LOG_COMBINED }, { NULL, 0 } };
static const struct row_word level_words[] = {
    { "error", LOG_ERROR }, { "warn", LOG_WARN }, { "notice", LOG_NOTICE }, { "info", LOG_INFO }, { "debug", LOG_DEBUG }, { NULL, 0 },
};
static const struct row log_rows[] = {
    { .word = "access", .type = TYPE_TEXT, MEMBER(config_log, access), .check = value_check_access_log, .usual = "off",
      .doc = "Where a line per request goes: a file, stdout, stderr, or off." },
    { .word = "format", .type = TYPE_WORD, MEMBER(config_log, format), .words = format_words, .usual = "json",
      .doc = "json: an object per line. On a route with a cache its member cache says where the answer came from: hit (stored), stale (stored, and no "
             "longer fresh), validated (stored, and the origin confirmed it), collapsed (the response to another request that was under way), miss (the "
             "origin, asked for the cache), pass (the origin, past the cache: the request or the response is not for it), purge (a PURGE that was obeyed). "
             "combined: the line that web servers have always written." },
    { .word = "error", .type = TYPE_TEXT, MEMBER(config_log, error), .check = value_check_error_log, .usual = "stderr",
      .reload = RELOAD_RESTART,
      .doc = "Where events go: a file, stderr or stdout." },
    { .word = "level", .type = TYPE_WORD, MEMBER(config_log, level), .words = level_words, .usual = "notice",
      .doc = "The least important events that are told: error, warn, notice, info or debug." },
};
static const struct section section_log = {
    .noun = "log", SECTION(config_log, log_rows), .always = true, .doc = "Access log and error log. A reload opens the access log anew.",
};

static const struct row_word family_words[] = { { "any", DNS_ANY }, { "ipv4", DNS_IPV4 }, { "ipv6", DNS_IPV6 }, { NULL, 0 } };
static const struct row dns_rows[] = {
    { .word = "servers", .type = TYPE_NAME_SERVERS, MEMBER(config_dns, servers), LENGTH_AT(config_dns, server_count), .least = 1, .most = 8,
      .doc = "Name servers: addresses, with a port where it is not 53 (127.0.0.1:5353). Otherwise those of /etc/resolv.conf." },
    { .word = "family", .type = TYPE_WORD, MEMBER(config_dns, family), .words = family_words, .usual = "any",
      .doc = "Which addresses of a name are used: any, ipv4 or ipv6." },
    { .word = "timeout", .type = TYPE_DURATION, MEMBER(config_dns, timeout_ms), .least = 50, .most = MINUTE_MS, .usual = "2s",
      .doc = "For an answer of one name server; longer with each further round." },
    { .word = "tries", .type = TYPE_COUNT, MEMBER(config_dns, tries), .least = 1, .most = 10, .usual = "3",
      .doc = "How often each name server is asked." },
    { .word = "ttl-min", .type = TYPE_DURATION, MEMBER(config_dns, ttl_min_ms), .least = 1000, .most = DAY_MS, .usual = "5s",
      .doc = "An answer is used for at least so long, whatever its TTL." },
    { .word = "ttl-max", .type = TYPE_DURATION, MEMBER(config_dns, ttl_max_ms), .least = 1000, .most = 7 * DAY_MS, .usual = "1h",
      .doc = "And for at most so long; then the name is looked up again." },
    { .word = "keep-stale", .type = TYPE_DURATION, MEMBER(config_dns, keep_stale_ms), .most = 7 * DAY_MS, .usual = "forever", .zero = "forever",
      .doc = "How long the addresses of a name go on being used once DNS says that there is no such name, or that it has no address. "
             "While no name server answers they always are." },
};
static const struct section section_dns = {
    .noun = "dns", SECTION(config_dns, dns_rows), .always = true, .finish = finish_dns,
    .doc = "How names of servers are looked up. /etc/hosts is read first. Names are looked up again before their answers run out.",
};

static const struct row control_rows[] = {
    { .word = "socket", .type = TYPE_TEXT, MEMBER(config, control_socket), .check = value_check_socket_path,
      .usual = "/run/weir.sock", .zero = "off", .reload = RELOAD_RESTART,
      .doc = "Where the weir command finds the engine; off: nowhere." },
    { .word = "mode", .type = TYPE_MODE, MEMBER(config, control_mode), .most = 0777, .usual = "0600", .reload = RELOAD_RESTART,
      .doc = "File mode of that socket: who may command the engine." },
};
static const struct section section_control = {
    .noun = "control", SECTION(config, control_rows), .always = true, .doc = "The control socket.",
};

static const struct row_word zero_copy_words[] = {
    { "auto", ZERO_COPY_AUTO }, { "ring", ZERO_COPY_RING }, { "poll", ZERO_COPY_POLL }, { "off", ZERO_COPY_OFF }, { NULL, 0 },
};
static const struct row top_rows[] = {
    { .word = "workers", .type = TYPE_COUNT, MEMBER(config, workers), .most = 1024, .usual = "auto", .zero = "auto",
      .reload = RELOAD_RESTART, .doc = "Threads, each with a ring of its own. auto: one per core that the process may use." },
    { .word = "pin", .type = TYPE_FLAG, MEMBER(config, pin), .usual = "true", .reload = RELOAD_RESTART,
      .doc = "Binds each worker to a core." },
    { .word = "zone", .type = TYPE_NAME, MEMBER(config, zone),
      .doc = "Where this engine stands: servers of this zone, and those without one, come before servers of other zones." },
    { .word = "listeners", .type = TYPE_LIST, MEMBER(config, listeners), LENGTH_AT(config, listener_count), .required = true,
      .section = &section_listener, .least = 1, .most = 256, .example = "listeners: [ { address: 127.0.0.1:8080 } ]" },
    { .word = "routes", .type = TYPE_LIST, MEMBER(config, routes), LENGTH_AT(config, route_count),
      .section = &section_route, .least = 1, .most = 10000, .example = "routes: [ { pool: app } ]" },
    { .word = "pools", .type = TYPE_NAMED, MEMBER(config, pools), LENGTH_AT(config, pool_count), .section = &section_pool,
      .least = 1, .most = 4096, .example = "pools: { app: { servers: [ 127.0.0.1:9001 ] } }" },
    { .word = "limits", .type = TYPE_SECTION, MEMBER(config, limits), .section = &section_limits },
    { .word = "timeouts", .type = TYPE_SECTION, MEMBER(config, timeouts), .section = &section_timeouts },
    { .word = "log", .type = TYPE_SECTION, MEMBER(config, log), .section = &section_log },
    { .word = "tls", .type = TYPE_SECTION, MEMBER(config, tls), .section = &section_tls },
    { .word = "dns", .type = TYPE_SECTION, MEMBER(config, dns), .section = &section_dns },
    { .word = "cache", .type = TYPE_SECTION, MEMBER(config, cache), .section = &section_cache },
    { .word = "forward-proxy", .type = TYPE_SECTION, MEMBER(config, forward), .section = &section_forward },
    { .word = "state-file", .type = TYPE_TEXT, MEMBER(config, state_file), .check = value_check_file,
      .doc = "Where changes of servers by command (weir server), drained servers and their health are written by a graceful stop and by "
             "weir server save, and read at the start." },
    { .word = "trusted-proxies", .type = TYPE_NETWORKS, MEMBER(config, trusted_proxies), LENGTH_AT(config, trusted_proxy_count),
      .least = 1, .most = 4096,
      .doc = "Addresses and networks (10.0.0.0/8, fd00::/8; unix: for unix sockets) whose X-Forwarded-* and Forwarded are believed. Everyone "
             "else's are replaced. Behind the PROXY protocol the address that it names is looked at." },
    { .word = "forwarded", .type = TYPE_FORWARDED, MEMBER(config, forwarded_x), .usual = "x",
      .doc = "Which fields tell origins who asked: x (X-Forwarded-For, -Proto, -Host), rfc7239 (Forwarded), both or off." },
    { .word = "via", .type = TYPE_TEXT, MEMBER(config, via), .check = value_check_pseudonym, .usual = "weir", .zero = "off",
      .doc = "Name in Via (RFC 9110 7.6.3), or off." },
    { .word = "server-header", .type = TYPE_TEXT, MEMBER(config, server_header), .check = value_check_field_value, .usual = "weir",
      .zero = "off", .doc = "Server field of the proxy's own answers, or off." },
    { .word = "control", .type = TYPE_SECTION, .section = &section_control },
    { .word = "busy-poll", .type = TYPE_MICROSECONDS, MEMBER(config, busy_poll_us), .most = 30, .usual = "off", .zero = "off",
      .reload = RELOAD_RESTART,
      .doc = "How long a worker spins before it sleeps. Buys a little latency with CPU time." },
    { .word = "congestion-control", .type = TYPE_TEXT, MEMBER(config, congestion_control), .check = value_check_congestion,
      .usual = "auto", .reload = RELOAD_RESTART,
      .doc = "Of TCP sockets. system: what the system has chosen. auto: the same, but cubic (else reno) for connections by loopback, of clients and to "
             "servers, where pacing costs up to twice the CPU time. Or the kernel's name of an algorithm. Unix sockets have none." },
    { .word = "zero-copy", .type = TYPE_WORD, MEMBER(config, zero_copy), .words = zero_copy_words, .usual = "auto",
      .doc = "How plain content with 64 KiB or more to go, and tunnels that carry much, move from socket to socket inside the kernel. poll: by splice(2) when "
             "the ring's poll says so. ring: by the ring's own splice, in kernel threads. auto: what was measured to be cheaper, which is poll. off: it is copied." },
    { .word = "limit", .type = TYPE_LATER, .doc = "rate limiting" },
    { .word = "waf", .type = TYPE_LATER, .doc = "the request filter" },
};
const struct section section_top = {
    .noun = "configuration", SECTION(config, top_rows), .always = true, .doc = "A configuration of Weir, the edge reverse proxy.",
};

/* Reading the table ----------------------------------------------------------------------------------------------- */

#define ROW_TYPE_AS_NOUN(id, noun) [id] = noun,
const char *row_type_noun(enum row_type type)
{
    static const char *const nouns[ROW_TYPES] = { ROW_TYPE_ROWS(ROW_TYPE_AS_NOUN) };
    return nouns[type];
}

const struct row *section_row(const struct section *section, struct slice word)
{
    for (uint32_t i = 0; i < section->row_count; i++) {
        if (slice_equal(slice_of_text(section->rows[i].word), word))
            return &section->rows[i];
    }
    return NULL;
}

bool section_given(const struct section *section, uint64_t given, const char *word)
{
    const struct row *row = section_row(section, slice_of_text(word));
    MUST(row != NULL);
    return given & row_bit(section, row);
}

uint64_t row_load(const struct row *row, const void *target)
{
    const void *member = row_member_const(row, target);
    switch (row->member_bytes) {
    case 1: return *(const uint8_t *)member;
    case 2: return *(const uint16_t *)member;
    case 4: return *(const uint32_t *)member;
    default: return *(const uint64_t *)member;
    }
}

void row_store(const struct row *row, void *target, uint64_t value)
{
    void *member = row_member(row, target);
    switch (row->member_bytes) {
    case 1: *(uint8_t *)member = (uint8_t)value; break;
    case 2: *(uint16_t *)member = (uint16_t)value; break;
    case 4: *(uint32_t *)member = (uint32_t)value; break;
    default: *(uint64_t *)member = value; break;
    }
}

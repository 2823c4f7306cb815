/*
 * Fields that pass unchanged are copied as they were received, whole runs of lines at a time: what the parser accepted needs
 * no rewriting. A run ends where a line must not pass (hop-by-hop, replaced by ours, or edited by the route).
 */
#include "proto/h1_write.h"

#define BIT(id) (1ull << (id))

/* Parts -------------------------------------------------------------------------------------------------------- */

void h1_put_number(struct h1_writer *w, uint64_t value)
{
    char digits[20];
    unsigned at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    h1_put(w, slice_of(digits + at, sizeof digits - at));
}

void h1_put_hex(struct h1_writer *w, uint64_t value)
{
    char digits[16];
    unsigned at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[value & 15];
    while (value >>= 4);
    h1_put(w, slice_of(digits + at, sizeof digits - at));
}

void h1_put_field(struct h1_writer *w, struct slice name, struct slice value)
{
    h1_put(w, name);
    h1_put_literal(w, ": ");
    h1_put(w, value);
    h1_put_literal(w, "\r\n");
}

/* Received fields ---------------------------------------------------------------------------------------------- */

static bool edited(const struct field *field, const struct field_edits *edits)
{
    if (likely(!edits || !(edits->touched >> field->id & 1)))
        return false;
    if (field->id != FIELD_OTHER)
        return true;
    for (unsigned i = 0; i < edits->count; i++)
        if (edits->list[i].kind != FIELD_EDIT_ADD && field_names_alike(field_name(field), edits->list[i].name))
            return true;
    return false;
}

static inline bool passes(const struct field *field, uint64_t skip, const struct field_edits *edits)
{
    return !(field->flags & FIELD_HOP_BY_HOP) && !(skip >> field->id & 1) && !edited(field, edits);
}

static void put_one_by_one(struct h1_writer *w, const struct fields *fields, uint64_t skip, const struct field_edits *edits)
{
    for (unsigned i = 0; i < fields->count; i++)
        if (passes(&fields->list[i], skip, edits))
            h1_put_field(w, field_name(&fields->list[i]), field_value(&fields->list[i]));
}

/* Where the line of field i ends: where the next begins. */
static inline const char *line_end(const struct fields *fields, unsigned i)
{
    return i + 1 < fields->count ? fields->list[i + 1].name : fields->end;
}

static void put_received(struct h1_writer *w, const struct fields *fields, uint64_t skip, const struct field_edits *edits)
{
    if (!fields->end) {
        put_one_by_one(w, fields, skip, edits);
        return;
    }
    unsigned i = 0;
    while (i < fields->count) {
        if (!passes(&fields->list[i], skip, edits)) {
            i++;
            continue;
        }
        const char *from = fields->list[i].name;
        while (i + 1 < fields->count && passes(&fields->list[i + 1], skip, edits))
            i++;
        h1_put(w, slice_of(from, (size_t)(line_end(fields, i) - from)));
        i++;
    }
}

static void put_value(struct h1_writer *w, const struct field_edit *edit, const struct request *request, const struct forwarding *forwarding)
{
    if (!edit->parts) {
        h1_put(w, edit->value);
        return;
    }
    for (unsigned i = 0; i < edit->part_count; i++) {
        const struct field_value_part *part = &edit->parts[i];
        h1_put(w, part->placeholder == PLACEHOLDER_NONE ? part->literal : codec_placeholder(part->placeholder, request, forwarding));
    }
}

static void put_edits(struct h1_writer *w, const struct field_edit *list, unsigned count, const struct request *request,
                      const struct forwarding *forwarding)
{
    for (unsigned i = 0; i < count; i++) {
        if (list[i].kind == FIELD_EDIT_REMOVE)
            continue;
        h1_put(w, list[i].name);
        h1_put_literal(w, ": ");
        put_value(w, &list[i], request, forwarding);
        h1_put_literal(w, "\r\n");
    }
}

/* Requests ----------------------------------------------------------------------------------------------------- */

/* False where a quoted string has no end: it would swallow what is put behind it. */
static bool quotes_end(struct slice value)
{
    bool quoted = false;
    for (size_t i = 0; i < value.length; i++) {
        if (quoted && value.at[i] == '\\')
            i++;
        else if (value.at[i] == '"')
            quoted = !quoted;
    }
    return !quoted;
}

static void put_joined(struct h1_writer *w, const struct fields *fields, enum field_id id, bool kept)
{
    for (unsigned i = 0; kept && fields_have(fields, id) && i < fields->count; i++) {
        if (fields->list[i].id != id || (id == FIELD_FORWARDED && !quotes_end(field_value(&fields->list[i]))))
            continue;
        h1_put(w, field_value(&fields->list[i]));
        h1_put_literal(w, ", ");
    }
}

static void put_forwarded_x(struct h1_writer *w, const struct request *request, const struct forwarding *forwarding)
{
    bool trusted = forwarding->client_trusted;
    h1_put_literal(w, "X-Forwarded-For: ");
    put_joined(w, &request->fields, FIELD_X_FORWARDED_FOR, trusted);
    h1_put(w, forwarding->client_address);
    h1_put_literal(w, "\r\n");
    if (!trusted || !fields_have(&request->fields, FIELD_X_FORWARDED_PROTO))
        h1_put_field(w, SLICE("X-Forwarded-Proto"), forwarding->scheme);
    if (request->authority.length && (!trusted || !fields_have(&request->fields, FIELD_X_FORWARDED_HOST)))
        h1_put_field(w, SLICE("X-Forwarded-Host"), request->authority);
}

/* RFC 7239 4 and 6: an IPv6 node and anything with a colon is quoted. */
static void put_forwarded(struct h1_writer *w, const struct request *request, const struct forwarding *forwarding)
{
    bool v6 = forwarding->client_address.length && memchr(forwarding->client_address.at, ':', forwarding->client_address.length);
    h1_put_literal(w, "Forwarded: ");
    put_joined(w, &request->fields, FIELD_FORWARDED, forwarding->client_trusted);
    h1_put(w, v6 ? SLICE("for=\"[") : SLICE("for="));
    h1_put(w, slice_equal(forwarding->client_address, SLICE("unix")) ? SLICE("unknown") : forwarding->client_address);
    if (v6)
        h1_put_literal(w, "]\"");
    if (request->authority.length) {
        h1_put_literal(w, ";host=\"");
        h1_put(w, request->authority);
        h1_put_literal(w, "\"");
    }
    h1_put_literal(w, ";proto=");
    h1_put(w, forwarding->scheme);
    h1_put_literal(w, "\r\n");
}

#define FORWARDING_BITS \
    (BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_FORWARDED_PORT) | \
     BIT(FIELD_X_REAL_IP) | BIT(FIELD_FORWARDED))

#define CERTIFICATE_BITS (BIT(FIELD_X_CLIENT_VERIFY) | BIT(FIELD_X_CLIENT_SUBJECT) | BIT(FIELD_X_CLIENT_FINGERPRINT))

/* What of the received lines is replaced. */
static uint64_t replaced(const struct request *request, const struct forwarding *forwarding)
{
    uint64_t skip = BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH);
    if (!request->expects_continue)
        skip |= BIT(FIELD_EXPECT);
    if (!forwarding->client_trusted)
        return skip | FORWARDING_BITS | CERTIFICATE_BITS;
    if (forwarding->client_verify.length)
        skip |= CERTIFICATE_BITS;
    if (forwarding->forwarded_x)
        skip |= BIT(FIELD_X_FORWARDED_FOR);
    if (forwarding->forwarded_rfc7239)
        skip |= BIT(FIELD_FORWARDED);
    return skip;
}

static void put_request_line(struct h1_writer *w, const struct request *request, const struct forwarding *forwarding)
{
    h1_put(w, request->method_token);
    h1_put_literal(w, " ");
    h1_put(w, forwarding->path.length ? forwarding->path : request->path);
    if (request->query.at) {
        h1_put_literal(w, "?");
        h1_put(w, request->query);
    }
    h1_put_literal(w, " HTTP/1.1\r\nHost: ");
}

/* An HTTP/1.0 request may name no host: the server's own name then. */
static struct slice host_to_send(const struct request *request, const struct forwarding *forwarding)
{
    if (forwarding->host.length)
        return forwarding->host;
    if (likely(request->authority.length))
        return request->authority;
    const char *slash = memchr(forwarding->server.at ? forwarding->server.at : "", '/', forwarding->server.length);
    struct slice address = slash ? slice_of(slash + 1, forwarding->server.length - (size_t)(slash + 1 - forwarding->server.at)) : SLICE_NONE;
    return address.length == 0 || slice_starts(address, SLICE("unix:")) ? SLICE("localhost") : address;
}

/* Never as it came: "Content-Length:\t5" is one thing to us and may be another to an origin. */
static void put_request_framing(struct h1_writer *w, const struct request *request)
{
    if (request->framing == FRAMING_CHUNKED)
        h1_put_literal(w, "Transfer-Encoding: chunked\r\n");
    else if (request->framing == FRAMING_LENGTH) {
        h1_put_literal(w, "Content-Length: ");
        h1_put_number(w, request->content_length);
        h1_put_literal(w, "\r\n");
    }
}

static void put_request_connection(struct h1_writer *w, const struct request *request, const struct forwarding *forwarding)
{
    if (unlikely(forwarding->upgrade.length)) {
        h1_put(w, request->te_trailers ? SLICE("TE: trailers\r\nConnection: TE, Upgrade\r\n") : SLICE("Connection: Upgrade\r\n"));
        h1_put_field(w, SLICE("Upgrade"), forwarding->upgrade);
    } else if (request->te_trailers) {
        h1_put_literal(w, "TE: trailers\r\nConnection: TE");
        h1_put(w, forwarding->upstream_keep_alive ? SLICE("\r\n") : SLICE(", close\r\n"));
    } else if (!forwarding->upstream_keep_alive)
        h1_put_literal(w, "Connection: close\r\n");
}

static void put_certificate(struct h1_writer *w, const struct forwarding *forwarding)
{
    h1_put_field(w, SLICE("X-Client-Verify"), forwarding->client_verify);
    if (forwarding->client_fingerprint.length == 0)
        return;
    h1_put_field(w, SLICE("X-Client-Subject"), forwarding->client_subject);
    h1_put_field(w, SLICE("X-Client-Fingerprint"), forwarding->client_fingerprint);
}

void h1_write_request(struct h1_writer *w, const struct request *request, const struct forwarding *forwarding)
{
    const struct field_edits *edits = forwarding->edits;
    put_request_line(w, request, forwarding);
    h1_put(w, host_to_send(request, forwarding));
    h1_put_literal(w, "\r\n");
    put_received(w, &request->fields, replaced(request, forwarding), edits);
    if (forwarding->via.length) {
        h1_put(w, request->version_minor ? SLICE("Via: 1.1 ") : SLICE("Via: 1.0 "));
        h1_put(w, forwarding->via);
        h1_put_literal(w, "\r\n");
    }
    if (forwarding->forwarded_x)
        put_forwarded_x(w, request, forwarding);
    if (forwarding->forwarded_rfc7239)
        put_forwarded(w, request, forwarding);
    if (unlikely(forwarding->early_data))
        h1_put_literal(w, "Early-Data: 1\r\n");
    if (unlikely(forwarding->client_verify.length))
        put_certificate(w, forwarding);
    put_request_framing(w, request);
    put_request_connection(w, request, forwarding);
    if (edits)
        put_edits(w, edits->list, edits->count, request, forwarding);
    h1_put_literal(w, "\r\n");
}

/* Responses ---------------------------------------------------------------------------------------------------- */

static void put_status_line(struct h1_writer *w, unsigned status, struct slice reason)
{
    if (likely(status == 200 && reason.length == 2)) {
        h1_put_literal(w, "HTTP/1.1 200 OK\r\n");
        return;
    }
    h1_put_literal(w, "HTTP/1.1 ");
    h1_put_number(w, status);
    h1_put_literal(w, " ");
    h1_put(w, reason);
    h1_put_literal(w, "\r\n");
}

static void put_response_connection(struct h1_writer *w, const struct h1_response_plan *plan)
{
    if (unlikely(plan->upgrade.length)) {
        h1_put_literal(w, "Connection: Upgrade\r\n");
        h1_put_field(w, SLICE("Upgrade"), plan->upgrade);
    } else if (!plan->keep_alive)
        h1_put_literal(w, "Connection: close\r\n");
    else if (plan->client_minor == 0)
        h1_put_literal(w, "Connection: keep-alive\r\n");
}

/* The coded content has bytes of its own: what named the origin's exactly may name these only weakly (RFC 9110 8.8.3.3). */
static void put_coding(struct h1_writer *w, const struct response *response, const struct field_edits *edits, enum coding coding)
{
    const struct fields *fields = &response->fields;
    if (response->status != 304) /* which tells of the representation no more than which it is (15.4.5) */
        h1_put_field(w, SLICE("Content-Encoding"), coding_word(coding));
    for (unsigned i = 0; fields_have(fields, FIELD_ETAG) && i < fields->count; i++) {
        const struct field *field = &fields->list[i];
        if (field->id != FIELD_ETAG || !passes(field, 0, edits))
            continue;
        h1_put_literal(w, "ETag: ");
        if (!slice_starts(field_value(field), SLICE("W/")))
            h1_put_literal(w, "W/");
        h1_put(w, field_value(field));
        h1_put_literal(w, "\r\n");
    }
}

/* Does a Vary that passes say it already? */
static bool varies_already(const struct fields *fields, const struct field_edits *edits)
{
    for (unsigned i = 0; fields_have(fields, FIELD_VARY) && i < fields->count; i++) {
        if (fields->list[i].id != FIELD_VARY || !passes(&fields->list[i], 0, edits))
            continue;
        struct slice rest = field_value(&fields->list[i]), element;
        while (slice_next_element(&rest, &element)) {
            if (slice_equal(element, SLICE("*")) || slice_equal_nocase(element, SLICE("accept-encoding")))
                return true;
        }
    }
    return false;
}

static void put_stored(struct h1_writer *w, const struct h1_response_plan *plan)
{
    if (plan->framing == FRAMING_LENGTH || plan->send_content_length) {
        h1_put_literal(w, "Content-Length: ");
        h1_put_number(w, plan->content_length);
        h1_put_literal(w, "\r\n");
    }
    h1_put_literal(w, "Age: ");
    h1_put_number(w, plan->age_s);
    h1_put_literal(w, "\r\n");
}

void h1_write_response(struct h1_writer *w, const struct response *response, const struct request *request,
                       const struct forwarding *forwarding, const struct h1_response_plan *plan)
{
    const struct field_edits *edits = response->interim ? NULL : forwarding->edits; /* a route speaks of the answer itself */
    uint64_t skip = 0;
    if (plan->framing != FRAMING_LENGTH && !plan->send_content_length)
        skip |= BIT(FIELD_CONTENT_LENGTH);
    if (forwarding->hsts.length)
        skip |= BIT(FIELD_STRICT_TRANSPORT_SECURITY); /* the operator's word counts, and the first one only (RFC 6797 8.1) */
    if (unlikely(plan->coding != CODING_IDENTITY))
        skip |= H1_CODED_AWAY;
    if (unlikely(plan->stored))
        skip |= BIT(FIELD_AGE) | BIT(FIELD_CONTENT_LENGTH);
    if (unlikely(plan->cached))
        skip |= BIT(FIELD_SURROGATE_CONTROL); /* it was for this cache */
    put_status_line(w, response->status, response->reason);
    put_received(w, &response->fields, skip, edits);
    if (!response->interim) {
        if (unlikely(plan->stored))
            put_stored(w, plan);
        if (unlikely(plan->cache_status.length))
            h1_put_field(w, SLICE("Cache-Status"), plan->cache_status);
        if (plan->date.length && !fields_have(&response->fields, FIELD_DATE))
            h1_put_field(w, SLICE("Date"), plan->date);
        if (forwarding->hsts.length)
            h1_put_field(w, SLICE("Strict-Transport-Security"), forwarding->hsts);
        if (unlikely(forwarding->set_cookie.length))
            h1_put_field(w, SLICE("Set-Cookie"), forwarding->set_cookie);
        if (unlikely(plan->coding != CODING_IDENTITY))
            put_coding(w, response, edits, plan->coding);
        if (unlikely(plan->varies) && !varies_already(&response->fields, edits))
            h1_put_field(w, SLICE("Vary"), SLICE("Accept-Encoding"));
        if (plan->framing == FRAMING_CHUNKED)
            h1_put_literal(w, "Transfer-Encoding: chunked\r\n");
        put_response_connection(w, plan);
    }
    if (edits)
        put_edits(w, edits->list, edits->count, request, forwarding);
    h1_put_literal(w, "\r\n");
}

void h1_write_last_chunk(struct h1_writer *w, const struct fields *trailers, const struct field_edits *edits)
{
    h1_put_literal(w, "0\r\n");
    if (trailers)
        put_received(w, trailers, 0, edits);
    h1_put_literal(w, "\r\n");
}

void h1_write_answer(struct h1_writer *w, const struct h1_answer *answer, const struct request *request,
                     const struct forwarding *forwarding, const struct h1_response_plan *plan)
{
    bool no_content = answer->status < 200 || answer->status == 204 || answer->status == 304;
    put_status_line(w, answer->status, answer->reason.length ? answer->reason : status_reason(answer->status));
    if (plan->date.length)
        h1_put_field(w, SLICE("Date"), plan->date);
    if (answer->type.length)
        h1_put_field(w, SLICE("Content-Type"), answer->type);
    if (!no_content) {
        h1_put_literal(w, "Content-Length: ");
        h1_put_number(w, plan->content_length);
        h1_put_literal(w, "\r\n");
    }
    put_response_connection(w, plan);
    put_edits(w, answer->fields, answer->field_count, request, forwarding);
    h1_put_literal(w, "\r\n");
    if (!answer->head_only && !no_content)
        h1_put(w, answer->body);
}

#include "engine/probe_http.h"

#include <stdio.h>

#include "engine/base/check.h"
#include "proto/h1_write.h"

/* The request -------------------------------------------------------------------------------------------------- */

/* "host:port" with another port. */
static void put_host(struct h1_writer *w, struct slice address, uint32_t port)
{
    const char *colon = memrchr(address.at, ':', address.length);
    if (slice_starts(address, SLICE("unix:"))) {
        h1_put_literal(w, "localhost");
        return;
    }
    h1_put(w, port && colon ? slice_of(address.at, (size_t)(colon - address.at)) : address);
    if (port) {
        h1_put_literal(w, ":");
        h1_put_number(w, port);
    }
}

/* Where braces were doubled the value is in parts. */
static void put_value(struct h1_writer *w, const struct field_edit *edit)
{
    if (!edit->parts)
        h1_put(w, edit->value);
    for (unsigned i = 0; edit->parts && i < edit->part_count; i++)
        h1_put(w, edit->parts[i].literal);
}

static bool names_itself(const struct config_check *check)
{
    for (unsigned i = 0; i < check->headers.count; i++)
        if (check->headers.list[i].id == FIELD_USER_AGENT)
            return true;
    return false;
}

size_t probe_http_request(const struct config_check *check, struct slice address, char out[PROBE_REQUEST_BYTES])
{
    struct h1_writer w = h1_writer_of(out, PROBE_REQUEST_BYTES);
    h1_put(&w, slice_of_text(method_name(check->method)));
    h1_put_literal(&w, " ");
    h1_put(&w, check->path);
    h1_put_literal(&w, " HTTP/1.1\r\nHost: ");
    if (check->host.length)
        h1_put(&w, check->host);
    else
        put_host(&w, address, check->port);
    h1_put_literal(&w, "\r\n");
    if (!names_itself(check))
        h1_put_literal(&w, "User-Agent: weir-check\r\n");
    for (unsigned i = 0; i < check->headers.count; i++) {
        h1_put(&w, check->headers.list[i].name);
        h1_put_literal(&w, ": ");
        put_value(&w, &check->headers.list[i]);
        h1_put_literal(&w, "\r\n");
    }
    h1_put_literal(&w, "Connection: close\r\n\r\n");
    MUST(!w.overflow);
    return (size_t)(w.at - out);
}

/* The text in the content: Knuth, Morris and Pratt, since it may be cut anywhere --------------------------------- */

/* How much of the text stands at the end once c has come behind `matched` bytes of it. */
static uint32_t match_next(const struct probe_http *http, uint32_t matched, char c)
{
    struct slice text = http->check->body;
    while (matched > 0 && (matched == text.length || text.at[matched] != c))
        matched = http->shared[matched];
    return text.at[matched] == c ? matched + 1 : 0;
}

static void prepare_search(struct probe_http *http)
{
    uint32_t matched = 0;
    MUST(http->check->body.length <= CHECK_BODY_BYTES_MAX);
    for (uint32_t n = 1; n < http->check->body.length; n++) {
        matched = match_next(http, matched, http->check->body.at[n]);
        http->shared[n + 1] = (uint16_t)matched;
    }
}

void probe_http_init(struct probe_http *http, const struct config_check *check)
{
    *http = (struct probe_http){ .check = check };
    prepare_search(http);
}

/* Judging ------------------------------------------------------------------------------------------------------ */

static enum probe_http_verdict ill(char what[PROBE_WHAT_BYTES], const char *why)
{
    snprintf(what, PROBE_WHAT_BYTES, "%s", why);
    return PROBE_HTTP_ILL;
}

/* Of content and not of framing: true when it ends the search. */
static bool search(struct probe_http *http, struct slice data)
{
    size_t length = size_min(data.length, PROBE_CONTENT_BYTES - http->looked_at);
    http->looked_at += (uint32_t)length;
    for (size_t i = 0; i < length; i++) {
        http->matched = match_next(http, http->matched, data.at[i]);
        if (http->matched == http->check->body.length)
            return true;
    }
    return http->looked_at == PROBE_CONTENT_BYTES;
}

static enum probe_http_verdict found_or_not(const struct probe_http *http, char what[PROBE_WHAT_BYTES])
{
    bool found = http->matched == http->check->body.length;
    snprintf(what, PROBE_WHAT_BYTES, "it answered %u %s the text%s", http->status, found ? "with" : "without",
             !found && http->looked_at == PROBE_CONTENT_BYTES ? " in its first 64 KiB" : "");
    return found ? PROBE_HTTP_WELL : PROBE_HTTP_ILL;
}

static enum probe_http_verdict judge_content(struct probe_http *http, struct slice bytes, char what[PROBE_WHAT_BYTES])
{
    for (;;) {
        size_t used = 0;
        struct slice data = SLICE_NONE;
        enum codec_fault fault = FAULT_NONE;
        switch (h1_body_next(&http->body, bytes.at, bytes.length, &used, &data, &fault)) {
        case H1_BODY_MORE: return PROBE_HTTP_MORE;
        case H1_BODY_DATA:
            if (search(http, data))
                return found_or_not(http, what);
            bytes = slice_of(bytes.at + used, bytes.length - used);
            break;
        case H1_BODY_TRAILERS:
        case H1_BODY_END: return found_or_not(http, what);
        case H1_BODY_BAD: return ill(what, "its content is malformed");
        }
    }
}

static bool is_good_status(const struct config_check *check, unsigned status)
{
    for (uint32_t i = 0; i < check->status_count; i++)
        if (status >= check->statuses[i].first && status <= check->statuses[i].last)
            return true;
    return false;
}

/* The final head: rest is what came behind it. */
static enum probe_http_verdict judge_head(struct probe_http *http, const struct response *response, struct slice rest,
                                          char what[PROBE_WHAT_BYTES])
{
    bool good = is_good_status(http->check, response->status);
    http->status = response->status;
    snprintf(what, PROBE_WHAT_BYTES, "it answered %u", response->status);
    if (!good || http->check->body.length == 0)
        return good ? PROBE_HTTP_WELL : PROBE_HTTP_ILL;
    h1_body_init(&http->body, response->framing, response->content_length);
    return judge_content(http, rest, what);
}

/* What is held; interim heads are passed over, but keep their place in the allowance. */
static enum probe_http_verdict look_at_head(struct probe_http *http, char what[PROBE_WHAT_BYTES])
{
    static const struct h1_limits limits = { PROBE_HEAD_BYTES, PROBE_HEAD_BYTES, FIELDS_CAP };
    struct response response;
    enum codec_fault fault = FAULT_NONE;
    for (;;) {
        response.fields.count = 0;
        enum h1_verdict verdict = h1_parse_response(&response, http->check->method, http->head + http->begun,
                                                    http->held - http->begun, &http->progress, &limits, &fault);
        if (verdict == H1_MORE && http->held < PROBE_HEAD_BYTES)
            return PROBE_HTTP_MORE;
        if (verdict == H1_MORE || (verdict == H1_BAD && fault == FAULT_HEAD_LARGE))
            return ill(what, "its response's head is too large");
        if (verdict == H1_BAD)
            return ill(what, "its response is malformed");
        http->begun += response.head_bytes;
        if (!response.interim)
            return judge_head(http, &response, slice_of(http->head + http->begun, http->held - http->begun), what);
        http->progress = (struct h1_progress){ 0 };
    }
}

enum probe_http_verdict probe_http_input(struct probe_http *http, struct slice bytes, char what[PROBE_WHAT_BYTES])
{
    if (http->status != 0)
        return judge_content(http, bytes, what);
    size_t take = size_min(bytes.length, PROBE_HEAD_BYTES - http->held);
    memcpy(http->head + http->held, bytes.at, take);
    http->held += (uint32_t)take;
    enum probe_http_verdict verdict = look_at_head(http, what);
    if (verdict == PROBE_HTTP_MORE && http->status != 0)
        verdict = judge_content(http, slice_of(bytes.at + take, bytes.length - take), what);
    return verdict;
}

void probe_http_closed(const struct probe_http *http, char what[PROBE_WHAT_BYTES])
{
    if (http->status == 0)
        snprintf(what, PROBE_WHAT_BYTES, "it closed %s its response", http->held ? "inside" : "before");
    else if (http->body.framing == FRAMING_UNTIL_CLOSE)
        snprintf(what, PROBE_WHAT_BYTES, "it answered %u without the text", http->status);
    else
        snprintf(what, PROBE_WHAT_BYTES, "it closed inside its content");
}

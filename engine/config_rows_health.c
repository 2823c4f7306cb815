/* The section `health` of a pool, its active check: keys, and what they say together. */
#include "engine/config_decode.h"
#include "engine/config_rows.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

static const struct row_word type_words[] = {
    { "http", CHECK_HTTP }, { "tcp", CHECK_TCP }, { "tls", CHECK_TLS }, { NULL, 0 }
};
static const struct row_word method_words[] = {
    { "GET", METHOD_GET }, { "HEAD", METHOD_HEAD }, { "OPTIONS", METHOD_OPTIONS }, { NULL, 0 }
};

static const char *check_field(struct slice name)
{
    const char *complaint = value_check_field_name(name);
    if (complaint)
        return complaint;
    switch (field_id_of(name)) {
    case FIELD_HOST: return "the Host of a check is set with the key 'host'";
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING: return "a check has no content";
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_EXPECT: return "this field is about one connection; the check writes it itself";
    default: return NULL;
    }
}

static const char *check_text(struct slice text)
{
    return text.length == 0 || text.length > CHECK_BODY_BYTES_MAX ? "this is a text of 1 to 256 bytes" : NULL;
}

static bool is_http(const void *target)
{
    return ((const struct config_check *)target)->kind == CHECK_HTTP;
}
static bool is_present(const void *target)
{
    return ((const struct config_check *)target)->interval_ms != 0;
}
static const struct row check_rows[] = {
    { .word = "type",
      .type = TYPE_WORD,
      MEMBER(config_check, kind),
      .words = type_words,
      .usual = "http",
      .doc =
          "http: a request is answered, by TLS where the pool has tls. tcp: a connection stands. tls: a handshake is complete and the "
          "certificate is the right one." },
    { .word = "method",
      .type = TYPE_WORD,
      MEMBER(config_check, method),
      .words = method_words,
      .usual = "GET",
      .applies = is_http,
      .doc = "Method of the request." },
    { .word = "path",
      .type = TYPE_TEXT,
      MEMBER(config_check, path),
      .check = value_check_target,
      .usual = "/",
      .applies = is_http,
      .doc = "Path to ask for." },
    { .word = "host",
      .type = TYPE_TEXT,
      MEMBER(config_check, host),
      .check = value_check_authority,
      .applies = is_http,
      .doc = "Host to send. Otherwise the server's address." },
    { .word = "headers",
      .type = TYPE_EDIT_SET,
      MEMBER(config_check, headers),
      .check = check_field,
      .most = FIELDS_CAP,
      .applies = is_http,
      .doc = "Further fields of the request. A brace is written twice." },
    { .word = "status",
      .type = TYPE_STATUSES,
      MEMBER(config_check, statuses),
      .least = 1,
      .most = CHECK_STATUSES_MAX,
      .usual = "200-399",
      .applies = is_http,
      .doc = "Statuses that mean well: one, a range, or a list of them." },
    { .word = "body",
      .type = TYPE_TEXT,
      MEMBER(config_check, body),
      .check = check_text,
      .applies = is_http,
      .doc = "What must stand somewhere in the first 64 KiB of the response's content." },
    { .word = "port",
      .type = TYPE_COUNT,
      MEMBER(config_check, port),
      .most = 65535,
      .usual = "same",
      .zero = "same",
      .doc = "Another port of the server that tells how it is." },
    { .word = "interval",
      .type = TYPE_DURATION,
      MEMBER(config_check, interval_ms),
      .least = 100,
      .most = HOUR_MS,
      .usual = "5s",
      .doc = "Time between two checks of a server, a tenth more or less." },
    { .word = "interval-down",
      .type = TYPE_DURATION,
      MEMBER(config_check, interval_down_ms),
      .least = 100,
      .most = HOUR_MS,
      .usual = "same",
      .zero = "same",
      .doc = "The same while the server is down." },
    { .word = "timeout",
      .type = TYPE_DURATION,
      MEMBER(config_check, timeout_ms),
      .least = 10,
      .most = 5 * MINUTE_MS,
      .usual = "2s",
      .doc = "The whole check, from the first packet until the answer is judged." },
    { .word = "rise",
      .type = TYPE_COUNT,
      MEMBER(config_check, rise),
      .least = 1,
      .most = 100,
      .usual = "2",
      .doc = "Good checks in a row until a server that was down is up." },
    { .word = "fall",
      .type = TYPE_COUNT,
      MEMBER(config_check, fall),
      .least = 1,
      .most = 100,
      .usual = "3",
      .doc = "Bad checks in a row until a server is down." },
};
const struct section section_check = {
    .noun = "health",
    SECTION(config_check, check_rows),
    .is_present = is_present,
    .finish = finish_check,
    .doc = "Active checks: each server is asked now and then, once for all workers. Without this key there are none.",
};

/* What they say together ------------------------------------------------------------------------------------------ */

/* A check is nobody's request, so there is nothing that a placeholder could stand for. */
static bool has_placeholder(const struct field_edit *edit)
{
    for (unsigned i = 0; edit->parts && i < edit->part_count; i++) {
        if (edit->parts[i].placeholder != PLACEHOLDER_NONE)
            return true;
    }
    return false;
}

static void check_headers(struct decoder *decoder, const struct node *node, const struct config_check *check)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < check->headers.count; i++) {
        const struct field_edit *edit = &check->headers.list[i];
        bytes += edit->name.length + edit->value.length + 4;
        if (has_placeholder(edit))
            problem_help(problem_error(decoder->reporter, key_place(node, "headers"),
                                       "'%s' has a placeholder, and a check is nobody's request",
                                       quoted(edit->name).text),
                         "write a brace itself twice");
    }
    if (bytes > CHECK_FIELDS_BYTES_MAX)
        problem_error(decoder->reporter, key_place(node, "headers"), "the fields take %zu bytes; %u are allowed", bytes,
                      CHECK_FIELDS_BYTES_MAX);
}

void finish_check(struct decoder *decoder, const struct node *node, void *target, uint64_t given)
{
    const struct config_check *check = target;
    for (uint32_t i = 0; check->kind != CHECK_HTTP && i < section_check.row_count; i++) {
        const struct row *row = &section_check.rows[i];
        if (!(given >> i & 1) || row->applies != is_http)
            continue;
        problem_help(problem_error(decoder->reporter, key_place(node, row->word), "'%s' is for checks of 'type: http'",
                                   row->word),
                     "%s",
                     check->kind == CHECK_TCP ? "a tcp check is over when a connection stands"
                                              : "a tls check is over when the handshake is");
    }
    if (check->kind == CHECK_HTTP && check->method == METHOD_HEAD && check->body.length)
        problem_help(problem_error(decoder->reporter, key_place(node, "body"),
                                   "an answer to HEAD has no content to look for 'body' in"),
                     "use GET");
    check_headers(decoder, node, check);
}

void finish_pool_check(struct decoder *decoder, const struct node *node, const struct config_pool *pool)
{
    const struct node *health = node_find(node, "health");
    if (!health)
        return;
    if (pool->check.kind == CHECK_TLS && !pool->tls.on)
        problem_help(problem_error(decoder->reporter, key_place(health, "type"), "'type: tls' is for pools with 'tls'"),
                     "add 'tls: {}' to the pool, which its requests use too");
    for (uint32_t i = 0; pool->check.port && i < pool->server_count; i++) {
        if (!slice_starts(pool->servers[i].address.text, SLICE("unix:")))
            continue;
        problem_help(problem_error(decoder->reporter, key_place(health, "port"), "'port' cannot be checked of '%s'",
                                   quoted(pool->servers[i].address.text).text),
                     "a unix socket has no ports");
        return;
    }
}

/*
 * What servers and clients say of caching: any bytes. A line said twice says the same; a Dictionary takes a further member exactly where it is well;
 * a date that is read is written as the same second; and no policy comes out that could be used without end.
 */
#include <stdlib.h>

#include "cache/rules.h"
#include "engine/base/check.h"
#include "proto/http_date.h"
#include "proto/structured.h"

#define NOW 1735689600
#define INPUT_BYTES_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
    "Cache-Control", "CDN-Cache-Control", "Surrogate-Control", "Expires", "Date", "Last-Modified", "Age", "Pragma",
    "Vary",          "Set-Cookie"
};
static struct request request;
static struct response response;

static void look_at_date(struct slice text)
{
    char written[HTTP_DATE_BYTES];
    int64_t seconds = 0, again = 0;
    if (http_date_parse(text, NOW, &seconds) != ERR_OK || seconds < 0)
        return;
    http_date(written, seconds);
    MUST(http_date_parse(slice_of(written, sizeof written), NOW, &again) == ERR_OK && again == seconds);
}

static void count(void *argument, struct slice key, const struct structured_item *item)
{
    unsigned *members = argument;
    MUST(key.length > 0 && item->kind <= STRUCTURED_LIST);
    (*members)++;
}

static void look_at_dictionary(struct slice text)
{
    unsigned members = 0, more = 0;
    char *longer = malloc(text.length + 4);
    MUST(longer != NULL);
    memcpy(longer, text.at, text.length);
    memcpy(longer + text.length, " ,*a", 4);
    enum err e = structured_dictionary_line(text, count, &members),
             same = structured_dictionary_line(slice_of(longer, text.length + 4), count, &more);
    MUST((e == ERR_OK) == (members > 0 && e != ERR_SYNTAX));
    MUST((e == ERR_OK) == (same == ERR_OK) && (e != ERR_OK || more == members + 1));
    MUST(e != ERR_OK || structured_dictionary_line(slice_of(longer, text.length + 2), count, &more) == ERR_SYNTAX);
    free(longer);
}

static void look_at_control(struct slice text)
{
    static struct fields fields;
    struct cache_control once, twice;
    fields.count = 0;
    fields.present = 0;
    MUST(fields_add(&fields, SLICE("Cache-Control"), text) == ERR_OK);
    cache_control_read(&once, &fields);
    MUST(fields_add(&fields, SLICE("Cache-Control"), text) == ERR_OK);
    cache_control_read(&twice, &fields);
    MUST(memcmp(&once, &twice, sizeof once) == 0);
    for (unsigned i = 0; i < DIRECTIVE_SECONDS; i++)
        MUST(once.seconds[i] <= CACHE_SECONDS_MAX ||
             (i == DIRECTIVE_MAX_STALE && once.seconds[i] == CACHE_SECONDS_ANY));
    MUST(fields_add(&fields, SLICE("Cache-Control"), SLICE("no-store")) == ERR_OK);
    cache_control_read(&twice, &fields);
    MUST((twice.has & once.has) == once.has && cache_control_has(&twice, DIRECTIVE_NO_STORE));
}

static void look_at_policy(const struct cache_rule *rule)
{
    struct cache_policy policy;
    if (cache_store_reason(rule, &request, &response, NOW - 1, NOW, &policy) != CACHE_REASON_NONE)
        return;
    MUST(policy.lifetime_s <= CACHE_SECONDS_MAX && policy.age_s <= CACHE_SECONDS_MAX);
    MUST(!(policy.must_revalidate || policy.validate_always) ||
         !(policy.stale_while_revalidate_s || policy.stale_if_error_s));
    int64_t end = NOW + (int64_t)policy.lifetime_s;
    enum cache_use use = cache_use_of(rule, &policy, &request, end);
    MUST(use != CACHE_USE_FRESH && (use == CACHE_USE_VALIDATE || !(policy.must_revalidate || policy.validate_always)));
    MUST(!cache_use_on_error(rule, &policy, &request, end) || !(policy.must_revalidate || policy.validate_always));
    for (unsigned i = 0; i < response.fields.count; i++)
        MUST(!cache_field_updates(rule, &response, &response.fields.list[i]) ||
             !cache_field_is_dropped(rule, &response, &response.fields.list[i]));
}

/* The first byte: the rule, and the message. Then lines: a byte that says which field (with the highest bit: of the request), and its value. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_BYTES_MAX)
        return 0;
    struct cache_rule rule = { .on = true,
                               .heuristic = data[0] & 1,
                               .client_no_cache = data[0] & 2,
                               .store_set_cookie = data[0] & 4,
                               .default_ttl_s = data[0] & 8 ? 60 : 0,
                               .stale_if_error_s = data[0] & 16 ? 60 : 0,
                               .object_bytes_max = 1 };
    request = (struct request){ .method = data[0] & 32 ? METHOD_HEAD : METHOD_GET };
    response = (struct response){ .status = data[0] & 64 ? 404 : 200 };
    char *copy = malloc(size);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    for (size_t at = 1; at < size;) {
        const char *end = memchr(copy + at, '\n', size - at);
        size_t length = end ? (size_t)(end - copy) - at : size - at;
        if (length) {
            struct slice value = slice_trim(slice_of(copy + at + 1, length - 1)),
                         name = slice_of_text(names[(data[at] & 127) % ARRAY_LENGTH(names)]);
            look_at_date(value);
            look_at_dictionary(value);
            look_at_control(value);
            if (fields_add(data[at] & 128 ? &request.fields : &response.fields, name, value) != ERR_OK)
                break;
        }
        at += length + 1;
    }
    look_at_policy(&rule);
    free(copy);
    return 0;
}

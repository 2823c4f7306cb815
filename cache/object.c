/*
 * An object's run: struct object, the fields (and a spare one), the tags' hashes, key, secondary key, reason, and the fields' lines as they go out.
 * Since lines stand one after the other and end in CRLF, h1_write copies them in one piece.
 *
 * Content-Length is no stored field: a body that grows gets its length last. Its line has room behind the others and is written before the body's
 * state says that it is complete, so that readers who see that state see the line.
 */
#include "cache/object.h"

#include "cache/cache.h"
#include "cache/pages.h"
#include "engine/base/check.h"
#include "proto/h1_write.h"

#define LENGTH_LINE_MOST (sizeof("Content-Length: 18446744073709551615\r\n") - 1)
#define LENGTH_NAME SLICE("Content-Length")
#define DATE_NAME SLICE("Date")
#define BETWEEN 4u /* ": " and CRLF */

/* Planning ----------------------------------------------------------------------------------------------------- */

static bool keeps(const struct object_plan *plan, const struct field *field)
{
    if (field->flags & FIELD_HOP_BY_HOP)
        return false;
    switch (field->id) {
    case FIELD_CONTENT_LENGTH:
    case FIELD_AGE:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE: return false;
    }
    return plan->freshened || !cache_field_is_dropped(plan->what->rule, plan->what->response, field);
}

enum err object_plan(struct object_plan *plan)
{
    const struct cache_new *what = plan->what;
    const struct fields *fields = &what->response->fields;
    plan->add_date = true;
    plan->kept_count = 0;
    plan->lines_bytes = LENGTH_LINE_MOST;
    for (unsigned i = 0; i < fields->count; i++) {
        plan->kept[i] = keeps(plan, &fields->list[i]);
        if (!plan->kept[i])
            continue;
        plan->kept_count++;
        plan->lines_bytes += fields->list[i].name_length + (size_t)fields->list[i].value_length + BETWEEN;
        plan->add_date &= fields->list[i].id != FIELD_DATE;
    }
    if (plan->add_date) {
        plan->kept_count++;
        plan->lines_bytes += DATE_NAME.length + HTTP_DATE_BYTES + BETWEEN;
    }
    plan->bytes = sizeof(struct object) + (plan->kept_count + 1) * sizeof(struct field) +
                  plan->tag_count * sizeof(uint64_t) + what->key.text.length + what->vary.length +
                  what->response->reason.length + plan->lines_bytes;
    return plan->kept_count + 1 > FIELDS_CAP || what->key.text.length > CACHE_KEY_BYTES_MAX ||
                   plan->bytes > OBJECT_HEAD_MOST
               ? ERR_CAP
               : ERR_OK;
}

/* Laying out --------------------------------------------------------------------------------------------------- */

static char *put(char *at, struct slice bytes)
{
    if (bytes.length)
        memcpy(at, bytes.at, bytes.length);
    return at + bytes.length;
}

static struct slice keep(char **at, struct slice bytes)
{
    struct slice kept = slice_of(*at, bytes.length);
    *at = put(*at, bytes);
    return kept;
}

/* One line; *field points into it. */
static char *put_line(char *at, struct field *field, enum field_id id, struct slice name, struct slice value)
{
    *field = (struct field){
        .name = at, .name_length = (uint16_t)name.length, .value_length = (uint32_t)value.length, .id = (uint8_t)id
    };
    at = put(at, name);
    at = put(at, SLICE(": "));
    field->value = at;
    at = put(at, value);
    return put(at, SLICE("\r\n"));
}

static char *put_lines(struct object *object, const struct object_plan *plan, char *at)
{
    const struct fields *fields = &plan->what->response->fields;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *field = &fields->list[i];
        if (!plan->kept[i])
            continue;
        struct field *own = &object->fields[object->field_count++];
        at = put_line(at, own, (enum field_id)field->id, field_name(field), field_value(field));
        object->fields_present |= 1ull << field->id;
        if (field->id == FIELD_ETAG && !object->etag.length)
            object->etag = field_value(own);
    }
    if (plan->add_date) {
        char date[HTTP_DATE_BYTES];
        http_date(date, plan->what->policy.received_s);
        at = put_line(at, &object->fields[object->field_count++], FIELD_DATE, DATE_NAME, slice_of(date, sizeof date));
        object->fields_present |= 1ull << FIELD_DATE;
    }
    return at;
}

void object_write_length(struct object *object, uint64_t length)
{
    char digits[20];
    unsigned first = sizeof digits;
    if (!object->says_length || object->length_line)
        return;
    do
        digits[--first] = (char)('0' + length % 10);
    while (length /= 10);
    char *at = object->fields_end;
    char *end = put_line(at, &object->fields[object->field_count], FIELD_CONTENT_LENGTH, LENGTH_NAME,
                         slice_of(digits + first, sizeof digits - first));
    object->length_line = (uint8_t)(end - at);
}

struct object *object_lay_out(const struct object_plan *plan, void *run, uint64_t key_hash)
{
    const struct cache_new *what = plan->what;
    struct object *object = run;
    *object = (struct object){ .magic = OBJECT_MAGIC,
                               .status = what->response->status,
                               .tag_count = plan->tag_count,
                               .url_length = what->key.url_length,
                               .key_hash = key_hash,
                               .url_hash = what->key.url_hash,
                               .sequence = what->sequence,
                               .policy = what->policy,
                               .bytes = pages_rounded(plan->bytes),
                               .stored_s = what->now_s,
                               .content_length = BODY_LENGTH_UNKNOWN };
    object->fields = (struct field *)(void *)(object + 1);
    object->tags = (uint64_t *)(void *)(object->fields + plan->kept_count + 1);
    if (plan->tag_count)
        memcpy(object->tags, plan->tags, plan->tag_count * sizeof(uint64_t));
    char *at = (char *)(object->tags + plan->tag_count);
    object->key = keep(&at, what->key.text);
    object->vary = keep(&at, what->vary);
    object->reason = keep(&at, what->response->reason);
    char *lines = at;
    at = put_lines(object, plan, at);
    object->fields_end = at;
    object->head_bytes = (uint32_t)((size_t)(at - lines) + LENGTH_LINE_MOST);
    MUST(object->field_count == plan->kept_count && at + LENGTH_LINE_MOST == (char *)run + plan->bytes);
    return object;
}

/* Reading ------------------------------------------------------------------------------------------------------ */

/* Is the Content-Length line there? It is written at the beginning, or before the state that is seen here. */
static bool length_is_known(const struct object *object)
{
    if (!object->says_length)
        return false;
    return !object->body || object->body->preallocated ||
           atomic_load_explicit(&object->body->state, memory_order_acquire) == BODY_COMPLETE;
}

void object_response(const struct object *object, struct response *response)
{
    bool known = length_is_known(object);
    unsigned count = object->field_count + (known ? 1u : 0u);
    response->reason = object->reason;
    response->status = object->status;
    response->version_minor = 1;
    response->keep_alive = true;
    response->interim = false;
    response->head_bytes = object->head_bytes;
    response->has_content_length = known;
    if (object->body) {
        response->framing = known ? FRAMING_LENGTH : FRAMING_CHUNKED;
        response->content_length = known ? atomic_load_explicit(&object->body->length, memory_order_relaxed) : 0;
    } else {
        response->framing = FRAMING_NONE;
        response->content_length = known ? object->content_length : 0;
    }
    if (object->status == 204 || object->status == 304)
        response->framing = FRAMING_NONE;
    memcpy(response->fields.list, object->fields, count * sizeof(struct field));
    response->fields.count = (uint16_t)count;
    response->fields.present = object->fields_present | (known ? 1ull << FIELD_CONTENT_LENGTH : 0);
    response->fields.end = object->fields_end + (known ? object->length_line : 0);
}

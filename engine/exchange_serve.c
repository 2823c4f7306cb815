/*
 * SERVE: the response comes from the store.
 *
 * Its content is queued by reference, from pieces of the object's body. An object that still grows is followed: when all that is there has been
 * queued the exchange waits until there is more. If it breaks before its end, a client that has seen nothing yet starts anew, and one that has gets the
 * rest from the origin if that still has the same (a strong ETag says so); otherwise it is cut.
 *
 * Of an answer that is made of slices (exchange_slice.c) this sends one after the other; `hot` is the one that it is at, and LOOKUP is where it gets the next.
 */
#include "engine/back.h"
#include "engine/caching.h"
#include "engine/content.h"
#include "engine/exchange.h"
#include "proto/condition.h"

#define ROOM_FOR_HEAD 4u
#define SPANS_PER_RUN 3u /* chunk size, content, line end */
#define CHUNK_HEAD_BYTES 24u

/* Of the whole. */
static uint64_t length_of(const struct caching *c, const struct object *object)
{
    if (unlikely(c->slices != NULL))
        return c->slices->length;
    return object->body ? object->body->length : 0;
}

/* A slice is stored as a 206, and is part of a 200. */
static uint16_t status_of(const struct caching *c, const struct object *object)
{
    return unlikely(c->slices != NULL) ? 200 : object->status;
}

/* The head ----------------------------------------------------------------------------------------------------- */

/* Which of the stored fields go, and which of the content. */
struct answer {
    enum stored_answer kind;
    uint16_t status;
    uint64_t length;    /* of what is sent */
    bool known;         /* it is */
    bool content;       /* any is sent */
    struct slice range; /* Content-Range */
    struct slice type;  /* Content-Type of several parts */
    char range_text[CONTENT_RANGE_BYTES], type_text[MULTIPART_TYPE_BYTES];
};

static void answer_condition(struct answer *answer, enum condition condition)
{
    answer->kind = STORED_NOT_MODIFIED;
    answer->status = condition == CONDITION_FAILED ? 412 : 304;
    answer->content = false;
    answer->known = condition == CONDITION_FAILED;
    answer->length = 0;
}

static void answer_unsatisfiable(struct answer *answer, uint64_t length)
{
    answer->kind = STORED_NOT_MODIFIED;
    answer->status = 416;
    answer->content = false;
    answer->length = 0;
    answer->range = slice_of(answer->range_text, content_range_write_unsatisfied(answer->range_text, length));
}

static struct slice stored_type(const struct object *object)
{
    for (unsigned i = 0; i < object->field_count; i++)
        if (object->fields[i].id == FIELD_CONTENT_TYPE)
            return field_value(&object->fields[i]);
    return SLICE_NONE;
}

/* False: no memory for the parts, so the whole is sent. */
static bool plan_parts(struct exchange *x, const struct object *object, struct answer *answer,
                       const struct ranges *ranges)
{
    struct parts *parts = arena_take(&x->arena, sizeof *parts);
    if (!parts)
        return false;
    *parts = (struct parts){ .ranges = *ranges };
    uint64_t length = length_of(x->caching, object); /* once: who fills it may be about to say it */
    uint64_t random[2] = { loop_random(&x->worker->loop), loop_random(&x->worker->loop) };
    multipart_init(&parts->multipart, &parts->ranges, length, stored_type(object), random);
    x->caching->parts = parts;
    answer->status = 206;
    if (ranges->count == 1) {
        answer->kind = STORED_PART;
        answer->length = range_bytes(&ranges->list[0]);
        answer->range = slice_of(answer->range_text, content_range_write(answer->range_text, &ranges->list[0], length));
        return true;
    }
    answer->kind = STORED_PARTS;
    answer->length = multipart_bytes(&parts->multipart);
    answer->type = slice_of(answer->type_text, multipart_type_write(&parts->multipart, answer->type_text));
    return true;
}

static void plan_answer(struct exchange *x, const struct object *object, struct answer *answer)
{
    const struct validators validators = { object->etag, object->policy.modified_s, object->policy.date_s };
    uint64_t length = length_of(x->caching, object); /* once: who fills it may be about to say it */
    uint16_t status = status_of(x->caching, object);
    struct ranges ranges;
    *answer = (struct answer){ .kind = STORED_FULL,
                               .status = status,
                               .length = length,
                               .known = length != BODY_LENGTH_UNKNOWN,
                               .content = x->request.method != METHOD_HEAD && status != 204 && status != 304 };
    if (status != 200)
        return;
    enum condition condition = condition_of(&x->request, &validators, status);
    if (unlikely(condition != CONDITION_NONE)) {
        answer_condition(answer, condition);
        return;
    }
    if (likely(!fields_have(&x->request.fields, FIELD_RANGE)) || !answer->known || !object->body ||
        !condition_if_range(&x->request, &validators))
        return;
    enum range_verdict verdict = ranges_of(&x->request, length, &ranges);
    if (verdict == RANGE_UNSATISFIABLE)
        answer_unsatisfiable(answer, length);
    else if (verdict == RANGE_PARTIAL)
        plan_parts(x, object, answer, &ranges);
}

static void plan_head(struct exchange *x, const struct object *object, const struct answer *answer,
                      struct h1_response_plan *plan)
{
    bool old_client = x->request.version_minor == 0;
    int64_t now_s = loop_unix_seconds(&x->worker->loop);
    enum framing framing = answer->known || answer->length == 0 ? FRAMING_LENGTH
                           : old_client                         ? FRAMING_UNTIL_CLOSE
                                                                : FRAMING_CHUNKED;
    *plan = (struct h1_response_plan){
        .framing = answer->content || (answer->status >= 400 && answer->kind != STORED_FULL) ? framing : FRAMING_NONE,
        .content_length = answer->length,
        .send_content_length = !answer->content && answer->known && answer->status != 204 && answer->status != 304,
        .client_minor = x->request.version_minor,
        .cached = true,
        .stored = true,
        .age_s = cache_age(&object->policy, now_s),
        .cache_status = caching_status(x),
    };
    if (plan->framing == FRAMING_UNTIL_CLOSE || x->worker->draining)
        x->client_keep = false;
    plan->keep_alive = x->client_keep = x->client_keep && x->request_done;
    x->chunked_out = plan->framing == FRAMING_CHUNKED;
}

static void add_text(struct response *response, enum field_id id, struct slice name, struct slice value)
{
    if (value.length == 0 || response->fields.count == FIELDS_CAP)
        return;
    response->fields.list[response->fields.count++] = (struct field){ .name = name.at,
                                                                      .name_length = (uint16_t)name.length,
                                                                      .value = value.at,
                                                                      .value_length = (uint32_t)value.length,
                                                                      .id = (uint8_t)id };
    response->fields.present |= 1ull << id;
    response->fields.end = NULL;
}

/* Of the stored head, what this answer carries. */
static void carry(const struct caching *c, const struct object *object, const struct answer *answer,
                  struct response *response)
{
    bool of_slice = unlikely(c->slices != NULL);
    enum stored_answer kind = of_slice && answer->kind == STORED_FULL ? STORED_PART : answer->kind;
    response->status = answer->status;
    if (answer->status == object->status && !of_slice)
        return;
    response->reason = status_reason(answer->status);
    for (unsigned i = 0; i < response->fields.count; i++)
        if (!condition_carries(kind, &response->fields.list[i], object->etag.length > 0))
            response->fields.list[i].flags |= FIELD_HOP_BY_HOP;
    add_text(response, FIELD_CONTENT_TYPE, SLICE("Content-Type"), answer->type);
    add_text(response, FIELD_CONTENT_RANGE, SLICE("Content-Range"), answer->range);
}

static bool write_head(struct exchange *x, const struct object *object, const struct answer *answer,
                       const struct h1_response_plan *plan)
{
    struct response *response = x->worker->response;
    struct h1_writer w;
    struct conn_room room;
    object_response(object, response);
    carry(x->caching, object, answer, response);
    uint32_t need = (uint32_t)size_min(BLOCK_BYTES, object->head_bytes + 1536u);
    x->forwarding.edits = x->route->response_edits.count ? &x->route->response_edits : NULL;
    x->forwarding.set_cookie = SLICE_NONE;
    if (!conn_write_begin(x->client, need, &w, &room))
        return false;
    h1_write_response(&w, response, &x->request, &x->forwarding, plan);
    return conn_write_end(x->client, &w, &room);
}

static enum step_verdict begin(struct exchange *x)
{
    struct caching *c = x->caching;
    const struct object *object = c->hot->object;
    struct answer answer;
    struct h1_response_plan plan;
    if (unlikely(c->slices != NULL) && !caching_slice_plan(x))
        return caching_pass(x, CACHE_REASON_FULL);
    plan_answer(x, object, &answer);
    uint64_t first = c->parts ? c->parts->ranges.list[0].first : 0;
    if (unlikely(c->slices != NULL) && answer.content && !caching_slice_has(c, first)) {
        c->parts = NULL;
        return caching_slice_first(x, first);
    }
    plan_head(x, object, &answer, &plan);
    if (unlikely(!write_head(x, object, &answer, &plan))) {
        COUNT(x->worker, no_memory);
        return exchange_abort(x, "no_memory", true);
    }
    x->status = answer.status;
    x->response_begun = true;
    if (x->first_byte_ns == 0)
        x->first_byte_ns = x->worker->loop.now_ns;
    c->position = 0;
    c->end = answer.content && object->body && !c->parts ? length_of(c, object) : 0;
    if (!answer.content)
        c->parts = NULL;
    return STEP_NEXT;
}

/* The next part's head, and where its content is. False: there is none, or no room. */
static bool next_part(struct exchange *x)
{
    struct caching *c = x->caching;
    struct parts *parts = c->parts;
    unsigned part = parts->next++;
    bool several = parts->ranges.count > 1;
    struct h1_writer w;
    struct conn_room room;
    if (several) {
        if (!conn_write_begin(x->client, (uint32_t)multipart_head_bytes(&parts->multipart, part), &w, &room))
            return false;
        multipart_put_head(&parts->multipart, part, &w);
        if (!conn_write_end(x->client, &w, &room))
            return false;
    }
    if (part == parts->ranges.count)
        return true;
    c->position = parts->ranges.list[part].first;
    c->end = parts->ranges.list[part].last + 1;
    c->piece = NULL;
    return true;
}

/* Content ------------------------------------------------------------------------------------------------------ */

static bool put_run(struct exchange *x, struct hot *hot, const char *at, uint32_t bytes)
{
    struct chain *out = &x->client->out;
    uint32_t offset = (uint32_t)(at - hot->memory.block.data);
    char head[CHUNK_HEAD_BYTES];
    if (likely(!x->chunked_out))
        return chain_append(out, &hot->memory.block, offset, bytes) == ERR_OK;
    struct h1_writer w = h1_writer_of(head, sizeof head);
    h1_put_hex(&w, bytes);
    h1_put_literal(&w, "\r\n");
    return chain_append_copy(out, &x->worker->blocks, slice_of(head, (size_t)(w.at - head))) == ERR_OK &&
           chain_append(out, &hot->memory.block, offset, bytes) == ERR_OK &&
           chain_append_copy(out, &x->worker->blocks, SLICE("\r\n")) == ERR_OK;
}

/* The piece that has the content at `position`. */
static void find_piece(struct caching *c)
{
    if (!c->piece) {
        uint64_t skipped = c->from;
        c->piece = atomic_load_explicit(&c->hot->object->body->first, memory_order_acquire);
        while (skipped + c->piece->cap <= c->position) {
            skipped += c->piece->cap;
            c->piece = c->piece->next;
        }
        c->piece_at = (uint32_t)(c->position - skipped);
    } else if (c->piece_at == c->piece->cap) {
        c->piece = c->piece->next;
        c->piece_at = 0;
    }
}

static enum step_verdict complete(struct exchange *x)
{
    if (x->chunked_out && chain_append_copy(&x->client->out, &x->worker->blocks, SLICE("0\r\n\r\n")) != ERR_OK)
        return exchange_abort(x, "no_memory", true);
    x->response_done = true;
    COUNT_BYTES(x->worker, cache_hit_bytes, x->caching->hit ? x->response_content : 0);
    conn_flush(x->client);
    return exchange_go(x, STEP_FINISH);
}

/* The origin is asked, after the head was written: with the edits of a request again, and its first byte is still to come. */
enum step_verdict caching_resume(struct exchange *x)
{
    x->caching->role = CACHE_RESUMING;
    x->forwarding.edits = x->route->request_edits.count ? &x->route->request_edits : NULL;
    x->first_byte_ns = 0;
    x->fresh_only = true; /* a stale connection could not be told from an answer that fails: there is no other attempt */
    conn_flush(x->client); /* what there was goes out, and makes room */
    return exchange_go(x, STEP_SELECT);
}

/* Whatever the client asked for, it is the whole that it has a part of. */
static void ask_for_all(struct exchange *x)
{
    for (unsigned i = 0; i < x->request.fields.count; i++) {
        struct field *field = &x->request.fields.list[i];
        if (field->id == FIELD_RANGE || field->id == FIELD_IF_RANGE || field->id == FIELD_IF_NONE_MATCH ||
            field->id == FIELD_IF_MODIFIED_SINCE)
            field->flags |= FIELD_HOP_BY_HOP;
    }
}

static enum step_verdict cut(struct exchange *x)
{
    COUNT(x->worker, response_cuts);
    return exchange_abort(x, "response_cuts", true);
}

bool caching_is_same(const struct object *object, unsigned status, struct slice etag, uint64_t length)
{
    uint64_t told = object->body->length; /* where it is known the client was told */
    return status == object->status && etags_match_strong(etag, object->etag) &&
           (told == BODY_LENGTH_UNKNOWN || length == told);
}

/*
 * The one who filled it has given up. All who read it look for the rest as they looked for the whole: one fetch of ours leads, and the others go on
 * reading what it brings, each from where it stands. What has no strong ETag cannot be gone on with, so nobody is asked.
 */
static enum step_verdict broken(struct exchange *x)
{
    struct caching *c = x->caching;
    const struct object *object = c->hot->object;
    if (unlikely(c->slices != NULL))
        return caching_slice_again(x);
    if (c->parts || x->attempts + c->breaks > x->pool->config->retries ||
        !etags_match_strong(object->etag, object->etag))
        return cut(x);
    ask_for_all(x);
    conn_flush(x->client);
    c->broke = true;
    c->breaks++;
    c->rounds = 0;
    return exchange_go(x, STEP_LOOKUP);
}

enum step_verdict caching_serve_rest(struct exchange *x, struct hot *hot)
{
    struct caching *c = x->caching;
    const struct object *object = hot->object;
    bool same = object->body && caching_is_same(c->hot->object, object->status, object->etag, object->body->length);
    hot_unref(c->hot);
    c->hot = hot;
    c->role = CACHE_SERVING;
    c->piece = NULL;
    return same ? exchange_go(x, STEP_SERVE) : cut(x);
}

static enum step_verdict await_more(struct exchange *x, bool *again)
{
    struct caching *c = x->caching;
    conn_flush(x->client);
    *again = !hot_await(c->hot, &c->reader, c->position - c->from);
    return STEP_WAIT;
}

static enum step_verdict pump(struct exchange *x)
{
    struct caching *c = x->caching;
    struct body *body = c->hot->object->body;
    for (;;) {
        bool parts_left = c->parts && c->parts->next <= c->parts->ranges.count;
        if (c->position == c->end && !parts_left)
            return complete(x);
        if (conn_room(x->client) < SPANS_PER_RUN) {
            conn_flush(x->client);
            exchange_await_client(x);
            return STEP_WAIT;
        }
        if (unlikely(c->position == c->end)) {
            if (!next_part(x))
                return exchange_abort(x, "no_memory", true);
            continue;
        }
        if (unlikely(c->slices != NULL) && !caching_slice_has(c, c->position))
            return caching_slice_next(x);
        enum body_state state = (enum body_state)atomic_load_explicit(&body->state, memory_order_acquire);
        uint64_t there = u64_min(c->from + atomic_load_explicit(&body->filled, memory_order_acquire), c->end);
        if (there > c->position) {
            find_piece(c);
            uint32_t bytes = (uint32_t)u64_min(there - c->position, c->piece->cap - c->piece_at);
            if (!put_run(x, c->hot, c->piece->data + c->piece_at, bytes))
                return exchange_abort(x, "no_memory", true);
            c->piece_at += bytes;
            c->position += bytes;
            x->response_content += bytes;
            if (unlikely(c->slices != NULL))
                caching_slice_ahead(x);
        } else if (state == BODY_COMPLETE && there < c->position) /* of what was gone on with: it is not the same */
            return cut(x);
        else if (state == BODY_COMPLETE)
            c->end = c->position;
        else if (state == BODY_BROKEN)
            return broken(x);
        else {
            bool again;
            enum step_verdict verdict = await_more(x, &again);
            if (!again)
                return verdict;
        }
    }
}

enum step_verdict exchange_serve(struct exchange *x)
{
    struct caching *c = x->caching;
    hot_forget(&c->reader);
    if (!x->response_begun) {
        if (conn_room(x->client) < ROOM_FOR_HEAD) {
            conn_flush(x->client);
            exchange_await_client(x);
            return STEP_WAIT;
        }
        enum step_verdict verdict = begin(x);
        if (x->step != STEP_SERVE)
            return verdict;
    }
    return pump(x);
}

void caching_go_on(struct exchange *x, struct hot *hot, uint64_t position)
{
    struct caching *c = x->caching;
    MUST(!c->hot);
    c->hot = hot;
    c->role = CACHE_SERVING;
    c->position = position;
    c->end = hot->object->body->length;
    c->piece = NULL;
    exchange_go(x, STEP_SERVE);
}

/*
 * The first four bytes of everything say what it is, so that a search through a torn segment passes over zeros quickly; what counts is
 * the checksum. Lengths are checked against each other before anything is read by them: a head's texts must fill it to the last unit.
 */
#include "cache/segment.h"

#include "cache/bytes.h"
#include "engine/base/map.h"

#define HEADER_MAGIC 0x67655357u /* "WSeg" */
#define RECORD_MAGIC 0x63655257u /* "WRec" */
#define TAIL_MAGIC 0x74655357u   /* "WSet" */

static uint64_t sum_of(const struct segment_id *id, uint64_t at, const char *bytes, size_t length)
{
    return siphash13(bytes, length, id->seed[0] ^ mix64(id->sequence), id->seed[1] ^ (id->base + at));
}

/* Header ------------------------------------------------------------------------------------------------------- */

#define HEADER_SUMMED 16u

void segment_write_header(const struct segment_id *id, char block[SEGMENT_BLOCK])
{
    memset(block, 0, SEGMENT_BLOCK);
    put_u32(block, HEADER_MAGIC);
    put_u32(block + 4, SEGMENT_VERSION);
    put_u64(block + 8, id->sequence);
    put_u64(block + HEADER_SUMMED, sum_of(id, 0, block, HEADER_SUMMED));
}

bool segment_read_header(struct segment_id *id, const char block[SEGMENT_BLOCK])
{
    if (get_u32(block) != HEADER_MAGIC || get_u32(block + 4) != SEGMENT_VERSION)
        return false;
    id->sequence = get_u64(block + 8);
    return id->sequence != 0 && get_u64(block + HEADER_SUMMED) == sum_of(id, 0, block, HEADER_SUMMED);
}

/* Measures ----------------------------------------------------------------------------------------------------- */

uint32_t record_tags(const uint64_t seed[2], struct slice key, struct slice vary)
{
    uint64_t of_key = siphash13(key.at, key.length, seed[0], seed[1]),
             of_vary = siphash13(vary.at, vary.length, seed[1], seed[0]);
    return (uint32_t)(of_key << RECORD_KEY_TAG_SHIFT) | (uint32_t)(of_vary & ((1u << RECORD_KEY_TAG_SHIFT) - 1));
}

uint16_t record_edition(const struct cache_policy *policy, uint64_t content_length)
{
    return (uint16_t)(mix64(mix64((uint64_t)policy->received_s) ^ mix64((uint64_t)policy->date_s + policy->lifetime_s) ^
                            content_length) >>
                      53);
}

static uint64_t chunked_bytes(uint64_t content_length)
{
    return content_length + (content_length + CHUNK_CONTENT - 1) / CHUNK_CONTENT * 8;
}

static uint64_t object_content(const struct object *object)
{
    return object->body ? atomic_load_explicit(&object->body->length, memory_order_relaxed) : 0;
}

static uint64_t head_bytes_of(const struct object *object)
{
    uint64_t bytes = RECORD_FIXED_BYTES + 8ull * object->tag_count + 8ull * object->field_count + object->key.length +
                     object->vary.length + object->reason.length;
    for (uint32_t i = 0; i < object->field_count; i++)
        bytes += (uint64_t)object->fields[i].name_length + object->fields[i].value_length;
    return bytes_align(bytes, SEGMENT_UNIT);
}

bool record_measure(const struct object *object, uint32_t bytes_max, uint32_t *head_bytes, uint32_t *bytes)
{
    if (object->body && atomic_load_explicit(&object->body->state, memory_order_acquire) != BODY_COMPLETE)
        return false;
    uint64_t head = head_bytes_of(object), content = object_content(object);
    if (head > RECORD_HEAD_MAX || content > bytes_max || object->key.length > UINT16_MAX ||
        object->vary.length > UINT16_MAX || object->reason.length > UINT16_MAX || object->field_count > FIELDS_CAP ||
        object->key.length == 0 || object->url_length > object->key.length)
        return false;
    uint64_t all = bytes_align(head + chunked_bytes(content), SEGMENT_UNIT);
    *head_bytes = (uint32_t)head;
    *bytes = (uint32_t)all;
    return all <= bytes_max;
}

/* Writing a record --------------------------------------------------------------------------------------------- */

enum {
    POLICY_HEURISTIC = 1,
    POLICY_MUST_REVALIDATE = 2,
    POLICY_VALIDATE_ALWAYS = 4,
    POLICY_IMMUTABLE = 8,
    POLICY_CODED = 16,
    POLICY_ALL = 31
};
enum { RECORD_HAS_BODY = 1, RECORD_STALE = 2, RECORD_ALL = 3 };

static void write_policy(const struct cache_policy *policy, char *out)
{
    put_u64(out + 40, (uint64_t)policy->date_s);
    put_u64(out + 48, (uint64_t)policy->received_s);
    put_u64(out + 56, (uint64_t)policy->modified_s);
    put_u32(out + 64, policy->age_s);
    put_u32(out + 68, policy->lifetime_s);
    put_u32(out + 72, policy->stale_while_revalidate_s);
    put_u32(out + 76, policy->stale_if_error_s);
    out[80] =
        (char)((policy->heuristic ? POLICY_HEURISTIC : 0) | (policy->must_revalidate ? POLICY_MUST_REVALIDATE : 0) |
               (policy->validate_always ? POLICY_VALIDATE_ALWAYS : 0) | (policy->immutable ? POLICY_IMMUTABLE : 0) |
               (policy->coded ? POLICY_CODED : 0));
}

static bool read_policy(struct cache_policy *policy, const char *bytes)
{
    unsigned flags = (unsigned char)bytes[80];
    *policy = (struct cache_policy){
        .date_s = (int64_t)get_u64(bytes + 40),
        .received_s = (int64_t)get_u64(bytes + 48),
        .modified_s = (int64_t)get_u64(bytes + 56),
        .age_s = get_u32(bytes + 64),
        .lifetime_s = get_u32(bytes + 68),
        .stale_while_revalidate_s = get_u32(bytes + 72),
        .stale_if_error_s = get_u32(bytes + 76),
        .heuristic = flags & POLICY_HEURISTIC,
        .must_revalidate = flags & POLICY_MUST_REVALIDATE,
        .validate_always = flags & POLICY_VALIDATE_ALWAYS,
        .immutable = flags & POLICY_IMMUTABLE,
        .coded = flags & POLICY_CODED,
    };
    return flags <= POLICY_ALL;
}

static char *add(char *at, const char *bytes, size_t length)
{
    if (length)
        memcpy(at, bytes, length);
    return at + length;
}

void record_write_head(const struct segment_id *id, uint32_t at, const struct object *object, uint64_t stamp, char *out)
{
    uint32_t head = (uint32_t)head_bytes_of(object);
    memset(out, 0, RECORD_FIXED_BYTES);
    put_u32(out, RECORD_MAGIC);
    put_u32(out + 4, head);
    put_u64(out + 16, stamp);
    put_u64(out + 24, object_content(object));
    put_u64(out + 32, object->url_hash);
    write_policy(&object->policy, out);
    bool stale = atomic_load_explicit(&object->stale, memory_order_relaxed);
    out[81] = (char)((object->body ? RECORD_HAS_BODY : 0) | (stale ? RECORD_STALE : 0));
    put_u16(out + 82, object->status);
    put_u16(out + 84, object->field_count);
    put_u16(out + 86, object->tag_count);
    put_u16(out + 88, (uint16_t)object->key.length);
    put_u16(out + 90, (uint16_t)object->url_length);
    put_u16(out + 92, (uint16_t)object->vary.length);
    put_u16(out + 94, (uint16_t)object->reason.length);
    put_u64(out + 96, (uint64_t)object->stored_s);
    put_u64(out + 104, object->body ? BODY_LENGTH_UNKNOWN : object->content_length);
    char *end = out + RECORD_FIXED_BYTES;
    for (uint32_t i = 0; i < object->tag_count; i++, end += 8)
        put_u64(end, object->tags[i]);
    for (uint32_t i = 0; i < object->field_count; i++, end += 8) {
        put_u32(end, object->fields[i].name_length);
        put_u32(end + 4, object->fields[i].value_length);
    }
    end = add(end, object->key.at, object->key.length);
    end = add(end, object->vary.at, object->vary.length);
    end = add(end, object->reason.at, object->reason.length);
    for (uint32_t i = 0; i < object->field_count; i++) {
        end = add(end, object->fields[i].name, object->fields[i].name_length);
        end = add(end, object->fields[i].value, object->fields[i].value_length);
    }
    memset(end, 0, (size_t)(out + head - end));
    put_u64(out + 8, sum_of(id, at, out + 16, head - 16));
}

void record_content_begin(const struct object *object, struct record_content *content)
{
    *content = (struct record_content){ .left = object_content(object) };
    if (content->left)
        content->piece = atomic_load_explicit(&object->body->first, memory_order_acquire);
}

uint32_t record_write_chunk(const struct segment_id *id, uint32_t at, struct record_content *content, char *out)
{
    uint32_t length = (uint32_t)u64_min(content->left, CHUNK_CONTENT);
    if (length == 0)
        return 0;
    for (uint32_t done = 0; done < length;) {
        if (content->offset == content->piece->cap) {
            content->piece = content->piece->next;
            content->offset = 0;
        }
        uint32_t part = (uint32_t)u64_min(length - done, content->piece->cap - content->offset);
        memcpy(out + 8 + done, content->piece->data + content->offset, part);
        content->offset += part;
        done += part;
    }
    content->left -= length;
    put_u64(out, sum_of(id, at, out + 8, length));
    return length + 8;
}

/* Reading a record --------------------------------------------------------------------------------------------- */

static struct slice take(const char **at, size_t length)
{
    struct slice taken = slice_of(*at, length);
    *at += length;
    return taken;
}

/* All lengths together must come to the head's: then each text lies inside. */
static bool lengths_fit(const struct record *record)
{
    uint64_t bytes = RECORD_FIXED_BYTES + 8ull * record->tag_count + 8ull * record->field_count;
    if (bytes > record->head_bytes)
        return false;
    bytes += record->key.length + record->vary.length + record->reason.length;
    for (uint32_t i = 0; i < record->field_count; i++) {
        uint32_t name = get_u32(record->lengths + (size_t)i * 8);
        if (name > UINT16_MAX)
            return false;
        bytes += (uint64_t)name + get_u32(record->lengths + (size_t)i * 8 + 4);
    }
    return bytes_align(bytes, SEGMENT_UNIT) == record->head_bytes;
}

static bool read_fixed(struct record *record, const char *bytes)
{
    unsigned flags = (unsigned char)bytes[81];
    record->stamp = get_u64(bytes + 16);
    record->content_length = get_u64(bytes + 24);
    record->hash = get_u64(bytes + 32);
    record->has_body = flags & RECORD_HAS_BODY;
    record->stale = flags & RECORD_STALE;
    record->status = get_u16(bytes + 82);
    record->field_count = get_u16(bytes + 84);
    record->tag_count = get_u16(bytes + 86);
    record->key.length = get_u16(bytes + 88);
    record->url_length = get_u16(bytes + 90);
    record->vary.length = get_u16(bytes + 92);
    record->reason.length = get_u16(bytes + 94);
    record->stored_s = (int64_t)get_u64(bytes + 96);
    record->said_length = get_u64(bytes + 104);
    record->tags = bytes + RECORD_FIXED_BYTES;
    record->lengths = record->tags + (size_t)record->tag_count * 8;
    record->texts = record->lengths + (size_t)record->field_count * 8;
    return read_policy(&record->policy, bytes) && flags <= RECORD_ALL && record->field_count <= FIELDS_CAP &&
           record->content_length <= SEGMENT_BYTES_MOST && (record->has_body || record->content_length == 0) &&
           record->key.length > 0 && record->url_length <= record->key.length && record->status >= 100 &&
           record->status <= 999;
}

enum err record_read_head(const struct segment_id *id, uint32_t at, const char *bytes, size_t length,
                          struct record *record, uint32_t *needed)
{
    *needed = RECORD_FIXED_BYTES;
    if (length < RECORD_FIXED_BYTES)
        return ERR_AGAIN;
    *record = (struct record){ .head_bytes = get_u32(bytes + 4) };
    if (get_u32(bytes) != RECORD_MAGIC || record->head_bytes < RECORD_FIXED_BYTES ||
        record->head_bytes > RECORD_HEAD_MAX || record->head_bytes % SEGMENT_UNIT)
        return ERR_NONE;
    *needed = record->head_bytes;
    if (length < record->head_bytes)
        return ERR_AGAIN;
    if (get_u64(bytes + 8) != sum_of(id, at, bytes + 16, record->head_bytes - 16) || !read_fixed(record, bytes) ||
        !lengths_fit(record))
        return ERR_NONE;
    const char *text = record->texts;
    record->key = take(&text, record->key.length);
    record->vary = take(&text, record->vary.length);
    record->reason = take(&text, record->reason.length);
    record->texts = text;
    record->bytes = (uint32_t)bytes_align(record->head_bytes + chunked_bytes(record->content_length), SEGMENT_UNIT);
    return ERR_OK;
}

uint64_t record_tag(const struct record *record, uint32_t number)
{
    return get_u64(record->tags + (size_t)number * 8);
}

bool record_response(const struct record *record, struct response *response)
{
    response->status = record->status;
    response->reason = record->reason;
    response->version_minor = 1;
    response->framing = record->has_body ? FRAMING_LENGTH : FRAMING_NONE;
    response->content_length = record->has_body ? record->content_length : record->said_length;
    response->has_content_length = response->content_length != BODY_LENGTH_UNKNOWN;
    response->keep_alive = true;
    response->interim = false;
    response->head_bytes = 0;
    response->fields.present = 0;
    response->fields.end = NULL;
    response->fields.count = 0;
    const char *text = record->texts;
    for (uint32_t i = 0; i < record->field_count; i++) {
        struct slice name = take(&text, get_u32(record->lengths + (size_t)i * 8));
        struct slice value = take(&text, get_u32(record->lengths + (size_t)i * 8 + 4));
        if (fields_add(&response->fields, name, value) != ERR_OK)
            return false;
    }
    return true;
}

uint32_t record_chunk_bytes(uint64_t content_length, uint64_t done)
{
    return done >= content_length ? 0 : (uint32_t)u64_min(content_length - done, CHUNK_CONTENT) + 8;
}

bool record_chunk_holds(const struct segment_id *id, uint32_t at, const char *chunk, uint32_t bytes)
{
    return get_u64(chunk) == sum_of(id, at, chunk + 8, bytes - 8);
}

/* Footer: zeros, the entries, and a tail of 64 bytes, so that everything is found from the segment's end. --------- */

#define TAIL_SUMMED 32u

void segment_write_entry(const struct segment_entry *entry, char out[FOOTER_ENTRY_BYTES])
{
    put_u64(out, entry->hash);
    put_u64(out + 8, entry->stamp);
    put_u32(out + 16, entry->at);
    put_u32(out + 20, entry->bytes);
    put_u32(out + 24, entry->tags);
    put_u16(out + 28, entry->edition);
    put_u16(out + 30, 0);
}

bool segment_read_entry(const char *entries, uint32_t number, uint32_t segment_bytes, struct segment_entry *entry)
{
    const char *at = entries + (size_t)number * FOOTER_ENTRY_BYTES;
    *entry = (struct segment_entry){
        .hash = get_u64(at),
        .stamp = get_u64(at + 8),
        .at = get_u32(at + 16),
        .bytes = get_u32(at + 20),
        .tags = get_u32(at + 24),
        .edition = get_u16(at + 28),
    };
    return entry->at % SEGMENT_UNIT == 0 && entry->bytes % SEGMENT_UNIT == 0 && entry->at >= SEGMENT_BLOCK &&
           entry->bytes >= RECORD_FIXED_BYTES && (uint64_t)entry->at + entry->bytes <= segment_bytes &&
           entry->edition < 1u << 11;
}

uint32_t segment_footer_bytes(uint32_t count)
{
    return (uint32_t)bytes_align((uint64_t)count * FOOTER_ENTRY_BYTES + FOOTER_TAIL_BYTES, SEGMENT_BLOCK);
}

uint64_t segment_footer_sum(const struct segment_id *id, const char *entries, uint32_t count)
{
    return sum_of(id, 1, entries, (size_t)count * FOOTER_ENTRY_BYTES); /* no record begins at 1 */
}

static void write_tail(const struct segment_id *id, uint32_t count, uint64_t sum, char tail[FOOTER_TAIL_BYTES])
{
    memset(tail, 0, FOOTER_TAIL_BYTES);
    put_u32(tail, TAIL_MAGIC);
    put_u32(tail + 4, SEGMENT_VERSION);
    put_u64(tail + 8, id->sequence);
    put_u32(tail + 16, count);
    put_u64(tail + 24, sum);
    put_u64(tail + TAIL_SUMMED, sum_of(id, 2, tail, TAIL_SUMMED));
}

/* The part of a run [run_at, run_at + run_length) that lies in the window [from, from + length) of `out`. */
static void copy_window(const char *run, uint64_t run_at, uint64_t run_length, uint64_t from, uint64_t length,
                        char *out)
{
    uint64_t begin = u64_max(run_at, from), end = u64_min(run_at + run_length, from + length);
    if (begin < end)
        memcpy(out + (begin - from), run + (begin - run_at), end - begin);
}

void segment_write_footer(const struct segment_id *id, const char *entries, uint32_t count, uint64_t sum, uint32_t from,
                          uint32_t length, char *out)
{
    char tail[FOOTER_TAIL_BYTES];
    uint32_t all = segment_footer_bytes(count);
    uint64_t entry_bytes = (uint64_t)count * FOOTER_ENTRY_BYTES;
    write_tail(id, count, sum, tail);
    memset(out, 0, length);
    copy_window(entries, all - FOOTER_TAIL_BYTES - entry_bytes, entry_bytes, from, length, out);
    copy_window(tail, all - FOOTER_TAIL_BYTES, FOOTER_TAIL_BYTES, from, length, out);
}

bool segment_read_tail(const struct segment_id *id, uint32_t segment_bytes, const char block[SEGMENT_BLOCK],
                       uint32_t *count)
{
    const char *tail = block + SEGMENT_BLOCK - FOOTER_TAIL_BYTES;
    if (get_u32(tail) != TAIL_MAGIC || get_u32(tail + 4) != SEGMENT_VERSION || get_u64(tail + 8) != id->sequence ||
        get_u64(tail + TAIL_SUMMED) != sum_of(id, 2, tail, TAIL_SUMMED))
        return false;
    *count = get_u32(tail + 16);
    return *count <= (segment_bytes - SEGMENT_BLOCK - FOOTER_TAIL_BYTES) / FOOTER_ENTRY_BYTES;
}

const char *segment_read_footer(const struct segment_id *id, const char *bytes, uint32_t count)
{
    const char *tail = bytes + segment_footer_bytes(count) - FOOTER_TAIL_BYTES,
               *entries = tail - (size_t)count * FOOTER_ENTRY_BYTES;
    return get_u64(tail + 24) == segment_footer_sum(id, entries, count) ? entries : NULL;
}

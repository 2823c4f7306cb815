#include "cache/purge_log.h"

#include "cache/bytes.h"
#include "engine/base/map.h"

#define ENTRY_MAGIC 0x67725057u /* "WPrg" */
#define ENTRY_FIXED 48u

void purge_log_init(struct purge_log *log, uint64_t bytes, const uint64_t seed[2])
{
    *log = (struct purge_log){ .bytes = bytes, .seed = { seed[0] ^ 0x7075726765ull, seed[1] } };
}

static uint64_t sum_of(const struct purge_log *log, uint64_t at, const char *entry, uint32_t bytes)
{
    return siphash13(entry + 8, bytes - 8, log->seed[0], log->seed[1] ^ at);
}

static uint32_t entry_bytes(uint32_t text_length)
{
    return (uint32_t)bytes_align(ENTRY_FIXED + text_length, PURGE_LOG_UNIT);
}

uint32_t purge_log_write(struct purge_log *log, const struct purge *purge, uint64_t hash, uint64_t sequence,
                         char out[PURGE_LOG_ENTRY_MAX], uint64_t *at)
{
    struct slice text =
        purge->kind == PURGE_URL || purge->kind == PURGE_TAG ? SLICE_NONE : purge->text; /* the hash says it */
    if (text.length > PURGE_LOG_TEXT_MAX)
        return 0;
    uint32_t bytes = entry_bytes((uint32_t)text.length);
    if (log->at + bytes > log->bytes) {
        log->at = 0;
        log->lap++;
    }
    memset(out, 0, bytes);
    put_u64(out + 8, sequence);
    put_u64(out + 16, hash);
    put_u32(out + 24, ENTRY_MAGIC);
    put_u32(out + 28, log->lap);
    put_u32(out + 32, (uint32_t)text.length);
    out[36] = (char)purge->kind;
    out[37] = purge->soft;
    if (text.length)
        memcpy(out + ENTRY_FIXED, text.at, text.length);
    put_u64(out, sum_of(log, log->at, out, bytes));
    *at = log->at;
    log->at += bytes;
    return bytes;
}

void purge_log_renumber(const struct purge_log *log, char *entry, uint64_t at, uint64_t sequence)
{
    put_u64(entry + 8, sequence);
    put_u64(entry, sum_of(log, at, entry, entry_bytes(get_u32(entry + 32))));
}

struct found {
    struct purge purge;
    uint64_t hash, sequence;
    uint32_t lap, bytes;
};

static bool read_entry(const struct purge_log *log, const char *bytes, uint64_t at, struct found *found)
{
    const char *entry = bytes + at;
    uint32_t text = get_u32(entry + 32);
    if (get_u32(entry + 24) != ENTRY_MAGIC || text > PURGE_LOG_TEXT_MAX || at + entry_bytes(text) > log->bytes)
        return false;
    *found = (struct found){
        .purge = { .kind = (enum purge_kind)(unsigned char)entry[36],
                   .soft = entry[37] != 0,
                   .text = slice_of(entry + ENTRY_FIXED, text) },
        .hash = get_u64(entry + 16),
        .sequence = get_u64(entry + 8),
        .lap = get_u32(entry + 28),
        .bytes = entry_bytes(text),
    };
    return get_u64(entry) == sum_of(log, at, entry, found->bytes) && found->purge.kind <= PURGE_ALL;
}

/* Where the last entry ends, by lap and place. */
static void find_end(struct purge_log *log, const char *bytes)
{
    struct found found;
    for (uint64_t at = 0; at + PURGE_LOG_UNIT <= log->bytes; at += PURGE_LOG_UNIT) {
        if (!read_entry(log, bytes, at, &found))
            continue;
        if (found.lap > log->lap || (found.lap == log->lap && at + found.bytes > log->at)) {
            log->lap = found.lap;
            log->at = at + found.bytes;
        }
        log->last = u64_max(log->last, found.sequence);
    }
}

/* What this lap wrote, and of the one before what it has not yet come to. Anything else is left from laps before those. */
static bool counts(const struct purge_log *log, const struct found *found, uint64_t at)
{
    return found->lap == log->lap || (found->lap + 1 == log->lap && at >= log->at);
}

bool purge_log_read(struct purge_log *log, const char *bytes,
                    bool (*each)(void *argument, const struct purge *purge, uint64_t hash, uint64_t sequence),
                    void *argument)
{
    struct found found;
    uint64_t least = UINT64_MAX;
    log->at = log->last = 0;
    log->lap = 0;
    find_end(log, bytes);
    for (uint64_t at = 0; at + PURGE_LOG_UNIT <= log->bytes; at += PURGE_LOG_UNIT) {
        if (!read_entry(log, bytes, at, &found) || !counts(log, &found, at))
            continue;
        least = u64_min(least, found.sequence);
        if (!each(argument, &found.purge, found.hash, found.sequence))
            return false;
    }
    log->floor = log->lap > 0 ? least - 1 : 0;
    return true;
}

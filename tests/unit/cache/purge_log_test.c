#include "cache/purge_log.h"

#include "tests/unit/cache/fixture.h"

#define RING PURGE_LOG_BYTES_LEAST

struct ring {
    struct purge_log log;
    char *bytes;
    uint64_t seen[1 << 15]; /* numbers that were found */
    uint32_t count;
    char text[256];
};

static const uint64_t ring_seed[2] = { 5, 6 };

static struct ring *ring_new(void)
{
    struct ring *ring = calloc(1, sizeof *ring);
    ring->bytes = calloc(1, RING);
    purge_log_init(&ring->log, RING, ring_seed);
    return ring;
}

static void ring_free(struct ring *ring)
{
    free(ring->bytes);
    free(ring);
}

static bool see(void *argument, const struct purge *purge, uint64_t hash, uint64_t sequence)
{
    struct ring *ring = argument;
    cr_assert(purge->kind != PURGE_URL || hash == mix64(sequence));
    ring->seen[ring->count++] = sequence;
    snprintf(ring->text, sizeof ring->text, "%.*s", (int)purge->text.length, purge->text.at);
    return true;
}

static void put(struct ring *ring, enum purge_kind kind, const char *text, uint64_t sequence, bool arrives)
{
    char entry[PURGE_LOG_ENTRY_MAX];
    uint64_t at;
    struct purge what = { .kind = kind, .text = slice_of_text(text) };
    uint32_t bytes = purge_log_write(&ring->log, &what, mix64(sequence), sequence, entry, &at);
    cr_assert(bytes > 0 && at + bytes <= RING);
    if (arrives)
        memcpy(ring->bytes + at, entry, bytes);
}

static void read_again(struct ring *ring)
{
    ring->count = 0;
    purge_log_init(&ring->log, RING, ring_seed);
    cr_assert(purge_log_read(&ring->log, ring->bytes, see, ring));
}

static bool was_seen(const struct ring *ring, uint64_t sequence)
{
    for (uint32_t i = 0; i < ring->count; i++)
        if (ring->seen[i] == sequence)
            return true;
    return false;
}

Test(purge_log, an_empty_one_has_nothing)
{
    struct ring *ring = ring_new();
    read_again(ring);
    cr_expect(ring->count == 0 && ring->log.floor == 0 && ring->log.last == 0);
    ring_free(ring);
}

Test(purge_log, texts_come_back)
{
    struct ring *ring = ring_new();
    put(ring, PURGE_PREFIX, "http\na.example\n/images/", 3, true);
    read_again(ring);
    cr_expect_eq(ring->count, 1);
    cr_expect_str_eq(ring->text, "http\na.example\n/images/");
    cr_expect_eq(ring->log.last, 3);
    ring_free(ring);
}

Test(purge_log, a_text_that_is_too_long_is_refused)
{
    struct ring *ring = ring_new();
    char entry[PURGE_LOG_ENTRY_MAX], text[PURGE_LOG_TEXT_MAX + 1] = { 0 };
    uint64_t at;
    struct purge what = { .kind = PURGE_PREFIX, .text = slice_of(text, sizeof text) };
    cr_expect_eq(purge_log_write(&ring->log, &what, 0, 1, entry, &at), 0);
    what.text.length--;
    cr_expect_gt(purge_log_write(&ring->log, &what, 0, 1, entry, &at), 0);
    ring_free(ring);
}

/* Wherever the ring stands, with restarts between and entries that never arrived: what was acknowledged is found, or is below the floor. */
Test(purge_log, no_purge_is_forgotten_however_often_it_goes_round)
{
    struct ring *ring = ring_new();
    static bool arrived[60000];
    uint64_t last = 0;
    seed_take("purge_log");
    while (last < 50000) {
        for (uint64_t n = 1 + random_below(1500); n > 0; n--) {
            static const char long_text[200] = "http\nhost.example\n/";
            bool prefix = random_below(10) == 0;
            arrived[++last] = random_below(40) != 0;
            put(ring, prefix ? PURGE_PREFIX : PURGE_URL, prefix ? long_text : "", last, arrived[last]);
        }
        uint64_t missing = 0;
        read_again(ring);
        for (uint64_t i = ring->log.floor + 1; i <= last; i++)
            missing += arrived[i] && !was_seen(ring, i);
        cr_assert_eq(missing, 0, "of those above the floor %llu are missing", (unsigned long long)missing);
        last = u64_max(last, ring->log.last);
    }
    cr_expect_gt(ring->log.floor, 40000);
    ring_free(ring);
}

#include "engine/base/buf.h"

#include <criterion/criterion.h>

#include "engine/base/arena.h"
#include "engine/base/check.h"
#include "engine/base/queue.h"
#include "tests/unit/seed.h"

static struct block_pool pool;

static void setup(void)
{
    cr_assert_eq(block_pool_init(&pool, 64), ERR_OK);
}

TestSuite(buf, .init = setup);

Test(buf, the_block_given_back_last_comes_first)
{
    struct block *a = block_take(&pool), *b = block_take(&pool);
    block_unref(a);
    block_unref(b);
    cr_assert_eq(block_take(&pool), b);
}

Test(buf, the_cap_holds_and_is_counted)
{
    for (unsigned i = 0; i < 64; i++)
        cr_assert_not_null(block_take(&pool));
    cr_assert_null(block_take(&pool));
    cr_assert_eq(pool.failures, 1);
}

Test(buf, a_fault_is_a_missing_block)
{
    fault_arm(1);
    cr_assert_null(block_take(&pool));
    cr_assert_not_null(block_take(&pool));
}

Test(buf, trimming_keeps_what_is_needed_and_loses_no_block)
{
    struct block *blocks[60];
    for (unsigned i = 0; i < 60; i++)
        blocks[i] = block_take(&pool);
    for (unsigned i = 0; i < 60; i++)
        block_unref(blocks[i]);
    block_pool_trim(&pool, 8, 1000); /* the first call sees a busy time */
    block_pool_trim(&pool, 8, 1000);
    cr_assert_eq(pool.free_count, 8);
    for (unsigned i = 0; i < 64; i++) {
        struct block *block = block_take(&pool);
        cr_assert_not_null(block);
        memset(block->data, 1, BLOCK_BYTES);
    }
}

Test(buf, short_runs_are_copied_behind)
{
    struct chain chain = { 0 };
    struct block *one = block_take(&pool), *two = block_take(&pool);
    memset(one->data, 'a', 10);
    one->used = 10;
    memset(two->data, 'b', 10);
    two->used = 10;
    cr_assert_eq(chain_append(&chain, one, 0, 10), ERR_OK);
    block_unref(one);
    cr_assert_eq(chain_append(&chain, two, 0, 10), ERR_OK);
    cr_assert_eq(chain.count, 1);
    cr_assert_eq(two->references, 1);
    block_unref(two);
    chain_clear(&chain);
    cr_assert_eq(pool.taken, 0);
}

Test(buf, a_block_others_see_is_not_written_behind)
{
    struct chain chain = { 0 };
    struct block *one = block_take(&pool), *two = block_take(&pool);
    one->used = two->used = 10;
    cr_assert_eq(chain_append(&chain, one, 0, 10), ERR_OK); /* and ours */
    cr_assert_eq(chain_append(&chain, two, 0, 10), ERR_OK);
    cr_assert_eq(chain.count, 2);
}

/* A chain against a flat string of bytes. */
Test(buf, a_chain_is_its_bytes)
{
    static char model[CHAIN_BYTES_MAX + 1];
    struct chain chain = { 0 };
    size_t length = 0;
    seed_take("buf.a_chain_is_its_bytes");
    for (unsigned round = 0; round < 30000; round++) {
        char bytes[5000];
        size_t n = 1 + random_below(1ull << random_below(12));
        memset(bytes, (int)('a' + random_below(26)), n);
        if (random_below(2)) {
            if (random_below(2)) {
                enum err e = chain_append_copy(&chain, &pool, slice_of(bytes, n));
                if (e != ERR_OK)
                    n = 0;
            } else {
                struct block *block = block_take(&pool);
                memcpy(block->data, bytes, n);
                block->used = (uint32_t)n;
                if (chain_append(&chain, block, 0, (uint32_t)n) != ERR_OK)
                    n = 0;
                block_unref(block);
            }
            memcpy(model + length, bytes, n);
            length += n;
        } else {
            size_t used = random_below(length + 1);
            chain_consume(&chain, (uint32_t)used);
            memmove(model, model + used, length - used);
            length -= used;
        }
        cr_assert_eq(chain.bytes, length);
        size_t at = 0;
        for (unsigned i = 0; i < chain.count; i++) {
            struct span *span = chain_span(&chain, i);
            cr_assert_arr_eq(span_at(span), model + at, span->length);
            at += span->length;
        }
        cr_assert_eq(at, length);
    }
    chain_clear(&chain);
    cr_assert_eq(pool.taken, 0);
}

/* A queue against a flat string of bytes, gathered now and then. */
Test(buf, a_queue_is_its_bytes)
{
    static char model[1 << 20];
    struct queue queue = { 0 };
    size_t length = 0;
    seed_take("buf.a_queue_is_its_bytes");
    for (unsigned round = 0; round < 30000; round++) {
        uint64_t what = random_below(5);
        struct block *block = what < 2 && pool.taken < 60 ? block_take(&pool) : NULL;
        if (block) {
            block->used = (uint32_t)(1 + random_below(random_below(3) ? 200 : BLOCK_BYTES));
            memset(block->data, (int)('a' + random_below(26)), block->used);
            memcpy(model + length, block->data, block->used);
            length += block->used;
            queue_append(&queue, block);
        } else if (what == 2)
            (void)!queue_gather(&queue, &pool);
        else {
            size_t used = random_below(length + 1);
            queue_consume(&queue, used);
            memmove(model, model + used, length - used);
            length -= used;
        }
        cr_assert_eq(queue.bytes, length);
        struct slice front = queue_front(&queue);
        cr_assert_arr_eq(front.at ? front.at : "", model, front.length);
        cr_assert((length == 0) == (front.length == 0));
    }
    queue_clear(&queue);
    cr_assert_eq(pool.taken, 0);
}

Test(buf, an_arena_gives_all_back)
{
    struct arena arena;
    arena_init(&arena, &pool);
    cr_assert_null(arena_take(&arena, BLOCK_BYTES + 1));
    unsigned taken = 0;
    while (arena_take(&arena, 5000))
        taken++;
    cr_assert_eq(taken, ARENA_BLOCKS * 3);
    arena_release(&arena);
    cr_assert_eq(pool.taken, 0);
}

#include <criterion/criterion.h>

#include "engine/hash_key.h"
#include "proto/h1_parse.h"

static struct request request;
static struct block_pool blocks;
static struct arena arena;

static void set_up(void)
{
    cr_assert_eq(block_pool_init(&blocks, 4), ERR_OK);
    arena_init(&arena, &blocks);
}

static void take_down(void)
{
    arena_release(&arena);
    block_pool_release(&blocks, 0);
}

TestSuite(hash_key, .init = set_up, .fini = take_down);

static void parse(const char *head)
{
    struct h1_progress progress = { 0 };
    struct h1_limits limits = { 16384, 8192, FIELDS_CAP };
    enum codec_fault fault;
    cr_assert_eq(h1_parse_request(&request, head, strlen(head), &progress, &limits, &arena, &fault), H1_DONE);
}

static void expect_key(enum hash_key key, const char *name, const char *value)
{
    struct config_pool pool = { .balance = BALANCE_CONSISTENT_HASH, .hash_key = key, .hash_name = slice_of_text(name) };
    struct slice found = hash_key_of(&pool, &request, SLICE("192.0.2.1"));
    uint64_t hash;
    cr_expect(slice_equal(found, slice_of_text(value)), "%s: %.*s", value, (int)found.length, found.at);
    cr_expect_eq(hash_key_hash(&pool, &request, SLICE("192.0.2.1"), &hash), value[0] != 0);
}

Test(hash_key, is_found_where_it_is_said_to_be)
{
    parse("GET /a/b?id=7&idx=8&e=&q=a%20b&id=9 HTTP/1.1\r\nHost: www.example:80\r\nX-User: ann\r\nCookie: n=1; id=3;x\r\n\r\n");
    expect_key(HASH_URI, "", "/a/b");
    expect_key(HASH_PATH, "", "/a/b");
    expect_key(HASH_HOST, "", "www.example");
    expect_key(HASH_CLIENT_ADDRESS, "", "192.0.2.1");
    expect_key(HASH_HEADER, "x-user", "ann");
    expect_key(HASH_HEADER, "x-none", "");
    expect_key(HASH_COOKIE, "id", "3");
    expect_key(HASH_COOKIE, "x", "");
    expect_key(HASH_QUERY, "id", "7");
    expect_key(HASH_QUERY, "idx", "8");
    expect_key(HASH_QUERY, "q", "a%20b");
    expect_key(HASH_QUERY, "e", "");
    expect_key(HASH_QUERY, "d", "");
}

Test(hash_key, a_request_without_query_has_no_parameters)
{
    parse("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_key(HASH_QUERY, "id", "");
    expect_key(HASH_COOKIE, "id", "");
}

Test(hash_key, uri_is_path_and_query_and_nothing_is_hashed_without_need)
{
    struct config_pool pool = { .balance = BALANCE_CONSISTENT_HASH, .hash_key = HASH_URI };
    uint64_t without, with, other;
    parse("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(hash_key_hash(&pool, &request, SLICE_NONE, &without));
    parse("GET /a?x HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(hash_key_hash(&pool, &request, SLICE_NONE, &with));
    parse("GET /a?y HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(hash_key_hash(&pool, &request, SLICE_NONE, &other));
    cr_expect(without != with && with != other);
    pool.balance = BALANCE_LEAST_LOAD;
    cr_expect_not(hash_key_hash(&pool, &request, SLICE_NONE, &other));
}

/* Two sessions talk to each other through their queues: a server's, by records of our own, and an origin-side one, by wolfSSL. */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/check.h"
#include "proto/tls.h"
#include "tests/unit/seed.h"

static struct block_pool pool;
static char scratch[TLS_ROOM_BYTES];
static struct tls_room room = { &pool, scratch };
static struct tls_context *server_context, *client_context;
static struct tls_tickets *tickets;
static struct tls server, client;
static struct queue at_server, at_client;
static struct tls_server_options stapled; /* .staple and its dates, for make_contexts */

static void make_contexts(const char *ciphers)
{
    char why[256], *chain, *key;
    int64_t now = time(NULL);
    cr_assert_eq(tls_make_self_signed("test.example", now - 3600, now + 86400, &chain, &key), ERR_OK);
    tickets = tls_tickets_new(3600);
    tls_tickets_add(tickets, (const uint8_t *)"0123456789abcdef0123456789abcdef0123456789abcdef");
    struct tls_server_options options = { .chain = slice_of_text(chain), .key = slice_of_text(key), .tls12 = true, .ciphers = ciphers, .tickets = tickets,
                                          .staple = stapled.staple, .staple_from = stapled.staple_from, .staple_until = stapled.staple_until };
    server_context = tls_context_server(&options, why);
    cr_assert_not_null(server_context, "%s", why);
    struct tls_client_options wanted = { .verify = true, .ca = slice_of_text(chain), .tls12 = true };
    client_context = tls_context_client(&wanted, why);
    cr_assert_not_null(client_context, "%s", why);
    free(chain);
    free(key);
}

static void carry(struct tls *from, struct tls *to, uint32_t most)
{
    while (!chain_empty(&from->out)) {
        struct span *span = chain_span(&from->out, 0);
        struct block *block = block_take(&pool);
        uint32_t n = (uint32_t)size_min(span->length, most);
        memcpy(block->data, span_at(span), n);
        block->used = n;
        queue_append(&to->raw, block);
        chain_consume(&from->out, n);
    }
}

static void begin(void)
{
    tls_init(&server);
    cr_assert_eq(tls_start_server(&server, server_context, false), ERR_OK);
    tls_init(&client);
    cr_assert_eq(tls_start_client(&client, client_context, "test.example", NULL), ERR_OK);
}

static void shake(uint32_t most)
{
    char why[160] = "";
    for (int turn = 0; turn < 20 && !(server.open && client.open); turn++) {
        if (!client.open)
            cr_assert_neq(tls_handshake(&client, &room, why), TLS_REFUSED, "client: %s", why);
        carry(&client, &server, most);
        if (!server.open)
            cr_assert_neq(tls_handshake(&server, &room, why), TLS_REFUSED, "server: %s", why);
        carry(&server, &client, most);
    }
    cr_assert(server.open && client.open);
}

static void setup(void)
{
    seed_take("tls");
    cr_assert_eq(tls_library_start(), ERR_OK);
    cr_assert_eq(block_pool_init(&pool, 256), ERR_OK);
    make_contexts(NULL);
    begin();
}

static void teardown(void)
{
    queue_clear(&at_server);
    queue_clear(&at_client);
    if (server.magic)
        tls_release(&server);
    if (client.magic)
        tls_release(&client);
    tls_context_unref(server_context);
    tls_context_unref(client_context);
    tls_tickets_free(tickets);
    block_pool_release(&pool, 0);
    tls_library_end();
}

TestSuite(tls, .init = setup, .fini = teardown);

static char byte_at(size_t i)
{
    return (char)('!' + (i * 7 + i / 251) % 90);
}

/* Sends `length` bytes in runs of `run` and compares what arrives. */
static void send_and_compare(struct tls *from, struct tls *to, struct queue *in, size_t length, size_t run, uint32_t most)
{
    char why[160] = "";
    struct chain plain = { 0 };
    size_t sent = 0, seen = 0;
    while (seen < length) {
        while (sent < length && chain_room(&plain) > 2) {
            char bytes[BLOCK_BYTES];
            size_t n = size_min(size_min(run, sizeof bytes), length - sent);
            for (size_t i = 0; i < n; i++)
                bytes[i] = byte_at(sent + i);
            cr_assert_eq(chain_append_copy(&plain, &pool, slice_of(bytes, n)), ERR_OK);
            sent += n;
        }
        cr_assert_neq(tls_write(from, &plain, &room), TLS_REFUSED);
        carry(from, to, most);
        cr_assert_neq(tls_read(to, in, 1 << 20, &room, why), TLS_REFUSED, "%s", why);
        while (!queue_empty(in)) {
            struct slice front = queue_front(in);
            for (size_t i = 0; i < front.length; i++)
                cr_assert_eq(front.at[i], byte_at(seen + i), "differs at %zu", seen + i);
            seen += front.length;
            queue_consume(in, front.length);
        }
    }
    cr_assert_eq(seen, length);
    chain_clear(&plain);
}

Test(tls, shakes_hands_and_lets_wolfssl_go)
{
    shake(BLOCK_BYTES);
    cr_assert(server.tls13);
    cr_assert(server.own_records);
    cr_assert_null(server.library);
}

Test(tls, content_arrives_both_ways_in_all_sizes)
{
    shake(BLOCK_BYTES);
    for (size_t length = 1; length < 300000; length = length * 3 + 1) {
        send_and_compare(&server, &client, &at_client, length, BLOCK_BYTES, BLOCK_BYTES);
        send_and_compare(&client, &server, &at_server, length, BLOCK_BYTES, BLOCK_BYTES);
    }
}

Test(tls, records_may_be_cut_anywhere)
{
    shake(7);
    send_and_compare(&server, &client, &at_client, 40000, 1000, 1460);
    send_and_compare(&client, &server, &at_server, 40000, 5000, 1460);
    send_and_compare(&client, &server, &at_server, 300, 300, 1);
}

Test(tls, keys_are_updated_when_due)
{
    shake(BLOCK_BYTES);
    server.write.sequence = (1ull << 23) + 1; /* the client must be told the same, or nothing opens */
    char why[160];
    struct chain plain = { 0 };
    cr_assert_eq(chain_append_copy(&plain, &pool, SLICE("x")), ERR_OK);
    unsigned char before[TLS_SECRET_BYTES_MAX];
    memcpy(before, server.write_secret, sizeof before);
    cr_assert_eq(tls_write(&server, &plain, &room), TLS_DONE);
    cr_assert_neq(memcmp(before, server.write_secret, sizeof before), 0);
    cr_assert_eq(server.write.sequence, 1);
    (void)why;
    chain_clear(&server.out);
}

Test(tls, a_changed_byte_is_noticed)
{
    char why[160] = "";
    shake(BLOCK_BYTES);
    struct chain plain = { 0 };
    cr_assert_eq(chain_append_copy(&plain, &pool, SLICE("something that matters")), ERR_OK);
    cr_assert_eq(tls_write(&client, &plain, &room), TLS_DONE);
    span_at(chain_span(&client.out, 0))[9] ^= 1;
    carry(&client, &server, BLOCK_BYTES);
    cr_assert_eq(tls_read(&server, &at_server, 1 << 20, &room, why), TLS_REFUSED);
    cr_assert(queue_empty(&at_server));
    cr_assert_not(chain_empty(&server.out)); /* the alert */
}

Test(tls, both_ends_say_that_they_close)
{
    char why[160] = "";
    shake(BLOCK_BYTES);
    cr_assert(tls_close(&server, &room));
    carry(&server, &client, BLOCK_BYTES);
    cr_assert_eq(tls_read(&client, &at_client, 1 << 20, &room, why), TLS_CLOSED);
    cr_assert(client.peer_closed);
    cr_assert(tls_close(&client, &room));
    carry(&client, &server, BLOCK_BYTES);
    cr_assert_eq(tls_read(&server, &at_server, 1 << 20, &room, why), TLS_CLOSED);
}

Test(tls, a_session_resumes)
{
    char why[160] = "";
    shake(BLOCK_BYTES);
    send_and_compare(&server, &client, &at_client, 10, 10, BLOCK_BYTES); /* the ticket came before it */
    struct tls_session *session = tls_session_take(&client);
    cr_assert_not_null(session);
    tls_release(&client);
    tls_release(&server);
    tls_init(&server);
    cr_assert_eq(tls_start_server(&server, server_context, false), ERR_OK);
    tls_init(&client);
    cr_assert_eq(tls_start_client(&client, client_context, "test.example", session), ERR_OK);
    tls_session_free(session);
    shake(BLOCK_BYTES);
    cr_assert(server.resumed);
    cr_assert(client.resumed);
    send_and_compare(&server, &client, &at_client, 100000, 10000, BLOCK_BYTES);
    (void)why;
}

Test(tls, another_name_is_refused)
{
    char why[160] = "";
    tls_release(&client);
    tls_init(&client);
    cr_assert_eq(tls_start_client(&client, client_context, "other.example", NULL), ERR_OK);
    cr_assert_eq(tls_handshake(&client, &room, why), TLS_WANTS_INPUT);
    carry(&client, &server, BLOCK_BYTES);
    cr_assert_eq(tls_handshake(&server, &room, why), TLS_WANTS_INPUT);
    carry(&server, &client, BLOCK_BYTES);
    cr_assert_eq(tls_handshake(&client, &room, why), TLS_REFUSED);
    cr_assert_neq(why[0], 0);
}

Test(tls, tls_1_2_works_with_each_suite)
{
    static const char *const suites[] = { "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
                                          "TLS13-AES256-GCM-SHA384", "TLS13-CHACHA20-POLY1305-SHA256" };
    for (size_t i = 0; i < ARRAY_LENGTH(suites); i++) {
        tls_release(&server);
        tls_release(&client);
        tls_context_unref(server_context);
        tls_context_unref(client_context);
        tls_tickets_free(tickets);
        make_contexts(suites[i]);
        begin();
        shake(BLOCK_BYTES);
        cr_assert_eq(server.tls13, i > 2, "%s", suites[i]);
        cr_assert(server.own_records);
        for (size_t length = 1; length < 100000; length = length * 7 + 1) {
            send_and_compare(&server, &client, &at_client, length, BLOCK_BYTES, BLOCK_BYTES);
            send_and_compare(&client, &server, &at_server, length, BLOCK_BYTES, BLOCK_BYTES);
        }
    }
}

/* Stapling ------------------------------------------------------------------------------------------------------ */

static void make_stapled(int64_t from, int64_t until, const char *cipher)
{
    stapled = (struct tls_server_options){ .staple = SLICE("bytes of a response"), .staple_from = from, .staple_until = until };
    tls_release(&server);
    tls_release(&client);
    tls_context_unref(server_context);
    tls_context_unref(client_context);
    tls_tickets_free(tickets);
    make_contexts(cipher);
    begin();
}

/* The server's first flight of TLS 1.2, which is plain text, has it. */
static bool is_stapled(bool asks)
{
    char why[160] = "", flight[BLOCK_BYTES];
    size_t length = 0;
    if (asks) {
        cr_assert_eq(wolfSSL_EnableOCSPStapling(client.library), WOLFSSL_SUCCESS);
        cr_assert_eq(wolfSSL_UseOCSPStapling(client.library, WOLFSSL_CSR_OCSP, 0), WOLFSSL_SUCCESS);
    }
    cr_assert_eq(tls_handshake(&client, &room, why), TLS_WANTS_INPUT, "%s", why);
    carry(&client, &server, BLOCK_BYTES);
    cr_assert_eq(tls_handshake(&server, &room, why), TLS_WANTS_INPUT, "%s", why);
    for (struct span *span; !chain_empty(&server.out); chain_consume(&server.out, span->length)) {
        span = chain_span(&server.out, 0);
        cr_assert_leq(length + span->length, sizeof flight);
        memcpy(flight + length, span_at(span), span->length);
        length += span->length;
    }
    /* CertificateStatus (22), 23 bytes: of type OCSP (1), 19 bytes */
    return memmem(flight, length, "\x16\0\0\x17\1\0\0\x13" "bytes of a response", 27);
}

#define TLS12 "ECDHE-ECDSA-AES128-GCM-SHA256"

Test(tls, a_stapled_response_is_sent_to_who_asks)
{
    int64_t now = time(NULL);
    make_stapled(now - 3600, now + 3600, TLS12);
    cr_assert(is_stapled(true));
    make_stapled(now - 3600, now + 3600, TLS12);
    cr_assert_not(is_stapled(false));
}

Test(tls, a_stapled_response_is_not_sent_before_and_after_its_time)
{
    int64_t now = time(NULL);
    make_stapled(now - 3600, now - 1, TLS12);
    cr_assert_not(is_stapled(true));
    make_stapled(now + 3600, now + 7200, TLS12);
    cr_assert_not(is_stapled(true));
    make_stapled(now + 30, now + 7200, TLS12); /* clocks differ a little */
    cr_assert(is_stapled(true));
}

Test(tls, who_does_not_ask_sees_no_difference)
{
    int64_t now = time(NULL);
    static const char *const suites[] = { TLS12, NULL };
    for (size_t i = 0; i < ARRAY_LENGTH(suites); i++) {
        make_stapled(now - 3600, now + 3600, suites[i]);
        shake(BLOCK_BYTES);
        send_and_compare(&server, &client, &at_client, 10000, 1000, BLOCK_BYTES);
    }
}

Test(tls, a_context_is_known_by_its_response_too)
{
    char why[256], *chain, *key;
    int64_t now = time(NULL);
    cr_assert_eq(tls_make_self_signed("test.example", now - 3600, now + 86400, &chain, &key), ERR_OK);
    struct tls_server_options options = { .chain = slice_of_text(chain), .key = slice_of_text(key), .staple = SLICE("one"), .staple_until = now + 60 };
    struct tls_context *context = tls_context_server(&options, why);
    cr_assert_not_null(context, "%s", why);
    cr_assert(tls_context_is_server_of(context, &options));
    options.staple = SLICE("two");
    cr_assert_not(tls_context_is_server_of(context, &options));
    options.staple = SLICE_NONE;
    cr_assert_not(tls_context_is_server_of(context, &options));
    tls_context_unref(context);
    free(chain);
    free(key);
}

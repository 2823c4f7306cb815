#include "engine/verifier.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/seed.h"

/* "open sesame": quick ones, and one that takes long enough for questions to line up behind it. */
#define QUICK "$2b$04$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXLG"
#define SLOW "$y$jCT$G9JXMc1Uje/dm1tcifNgU/$1M6YYooYskLhcFeuX/oPyAxWP013DGjU4vzsOGXJeM8"

struct asker {
    struct verifier_wait wait;
    enum verified verdict;
    unsigned answers;
};

struct stand {
    struct verifier *verifier;
    struct passwords *quick, *slow;
    struct loop loop;
    struct verifier_side *side;
};
static struct stand stand;
static const uint8_t here[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 };

static void on_answer(struct verifier_wait *wait, enum verified verdict)
{
    struct asker *asker = CONTAINER_OF(wait, struct asker, wait);
    asker->verdict = verdict;
    asker->answers++;
}

static struct passwords *users(const char *text)
{
    char path[] = "/tmp/weir-users-XXXXXX", why[256];
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct passwords *passwords = passwords_read(slice_of_text(path), NULL, why);
    cr_assert_not_null(passwords, "%s", why);
    unlink(path);
    return passwords;
}

static void set_up(void)
{
    char why[256];
    stand.verifier = verifier_new(why);
    cr_assert_not_null(stand.verifier, "%s", why);
    cr_assert_eq(loop_init(&stand.loop, 0, 256, why), ERR_OK, "%s", why);
    stand.side = verifier_side_new(stand.verifier, &stand.loop);
    stand.quick = users("a:" QUICK "\nb:" QUICK "\n");
    stand.slow = users("a:" SLOW "\n");
}

/* A turn that does not wait: what comes is seen by the next one. */
static void turn(struct loop *loop)
{
    loop->again = true;
    loop_turn(loop);
    usleep(200);
}

static void turn_until_quiet(struct loop *loop, const struct verifier_side *side)
{
    while (!verifier_side_quiet(side))
        turn(loop);
}

static void take_down(void)
{
    verifier_stop(stand.verifier);
    turn_until_quiet(&stand.loop, stand.side);
    verifier_side_free(stand.side);
    verifier_free(stand.verifier);
    loop_release(&stand.loop);
    passwords_unref(stand.quick);
    passwords_unref(stand.slow);
}

TestSuite(verifier, .init = set_up, .fini = take_down);

static enum verified ask_from(struct asker *asker, struct passwords *passwords, const char *user, const char *password, const uint8_t client[16])
{
    asker->wait.answered = on_answer;
    return verifier_ask(stand.side, passwords, slice_of_text(user), slice_of_text(password), client, &asker->wait);
}

static enum verified ask(struct asker *asker, struct passwords *passwords, const char *user, const char *password)
{
    return ask_from(asker, passwords, user, password, here);
}

static enum verified ask_to_the_end(struct passwords *passwords, const char *user, const char *password)
{
    struct asker asker = { 0 };
    enum verified verdict = ask(&asker, passwords, user, password);
    if (verdict != VERIFIED_WAIT)
        return verdict;
    turn_until_quiet(&stand.loop, stand.side);
    cr_assert_eq(asker.answers, 1);
    cr_assert(!verifier_waits(&asker.wait));
    return asker.verdict;
}

static uint64_t hashed(void)
{
    return verifier_counts(stand.verifier).hashed;
}

Test(verifier, says_whether_a_password_is_right)
{
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open"), VERIFIED_NO);
    cr_expect_eq(ask_to_the_end(stand.quick, "nobody", "open sesame"), VERIFIED_NO);
    cr_expect_eq(ask_to_the_end(stand.quick, "", ""), VERIFIED_NO);
    cr_expect_eq(hashed(), 4, "whoever is not there is hashed too");
}

Test(verifier, what_was_found_out_is_remembered)
{
    struct asker asker = { 0 };
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "wrong"), VERIFIED_NO);
    uint64_t before = hashed();
    cr_expect_eq(ask(&asker, stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(ask(&asker, stand.quick, "a", "wrong"), VERIFIED_NO);
    cr_expect_eq(hashed(), before);
    cr_expect_eq(asker.answers, 0);
}

Test(verifier, but_not_for_ever)
{
    struct asker asker = { 0 };
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "wrong"), VERIFIED_NO);
    stand.loop.now_ms += VERIFIER_WRONG_MS;
    cr_expect_eq(ask(&asker, stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "wrong"), VERIFIED_NO);
    stand.loop.now_ms += VERIFIER_PROVEN_MS;
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(hashed(), 4);
}

Test(verifier, nor_for_another_file_or_by_another_split)
{
    struct passwords *other = users("a:" QUICK "\n");
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(ask_to_the_end(other, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(hashed(), 2);
    cr_expect_eq(ask_to_the_end(stand.quick, "ao", "pen sesame"), VERIFIED_NO);
    cr_expect_eq(ask_to_the_end(stand.quick, "", "aopen sesame"), VERIFIED_NO);
    passwords_unref(other);
}

Test(verifier, who_asks_the_same_shares_the_question)
{
    struct asker askers[100] = { 0 };
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++)
        cr_assert_eq(ask(&askers[i], stand.slow, "a", "open sesame"), VERIFIED_WAIT);
    verifier_leave(&askers[50].wait);
    verifier_leave(&askers[99].wait);
    verifier_leave(&askers[0].wait);
    verifier_leave(&askers[0].wait);
    turn_until_quiet(&stand.loop, stand.side);
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++) {
        bool left = i == 0 || i == 50 || i == 99;
        cr_assert(askers[i].answers == (left ? 0 : 1) && (left || askers[i].verdict == VERIFIED_YES), "%u", i);
    }
    cr_expect_eq(hashed(), 1);
}

static struct asker *companion;

static void leave_companion(struct verifier_wait *wait, enum verified verdict)
{
    on_answer(wait, verdict);
    verifier_leave(&companion->wait);
}

Test(verifier, one_may_leave_while_another_is_told)
{
    struct asker askers[3] = { 0 };
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(ask(&askers[i], stand.slow, "a", "open sesame"), VERIFIED_WAIT);
    companion = &askers[1];
    askers[0].wait.answered = askers[2].wait.answered = leave_companion;
    turn_until_quiet(&stand.loop, stand.side);
    cr_expect(askers[0].answers == 1 && askers[1].answers == 0 && askers[2].answers == 1);
}

Test(verifier, a_question_goes_on_when_everybody_has_left)
{
    struct asker asker = { 0 };
    cr_assert_eq(ask(&asker, stand.quick, "a", "open sesame"), VERIFIED_WAIT);
    verifier_leave(&asker.wait);
    turn_until_quiet(&stand.loop, stand.side);
    cr_expect_eq(ask(&asker, stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(asker.answers, 0);
}

/* The thread is at work on a slow one, and has taken it, before the others come. */
static void occupy(struct asker *asker)
{
    static const uint8_t elsewhere[16] = { 0x20, 1, 2, 3 };
    cr_assert_eq(ask_from(asker, stand.slow, "a", "first", elsewhere), VERIFIED_WAIT);
    turn(&stand.loop);
}

Test(verifier, a_client_has_only_so_many_in_line)
{
    struct asker first = { 0 }, askers[VERIFIER_CLIENT_MAX + 8] = { 0 };
    unsigned busy = 0;
    occupy(&first);
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++) {
        char password[16];
        snprintf(password, sizeof password, "guess %u", i);
        cr_assert_eq(ask(&askers[i], stand.quick, "a", password), VERIFIED_WAIT);
    }
    turn_until_quiet(&stand.loop, stand.side);
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++) {
        cr_assert(askers[i].answers == 1 && askers[i].verdict != VERIFIED_YES);
        busy += askers[i].verdict == VERIFIED_BUSY;
    }
    cr_expect(busy <= 8, "%u", busy);
    cr_expect_eq(verifier_counts(stand.verifier).busy, busy);
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "guess 0"), VERIFIED_NO);
}

Test(verifier, who_asks_much_waits_behind_himself)
{
    static const uint8_t other[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 2 };
    struct asker first = { 0 }, guesses[VERIFIER_CLIENT_MAX] = { 0 }, honest = { 0 };
    unsigned later = 0;
    occupy(&first);
    for (unsigned i = 0; i < ARRAY_LENGTH(guesses); i++) {
        char password[16];
        snprintf(password, sizeof password, "guess %u", i);
        cr_assert_eq(ask(&guesses[i], stand.slow, "a", password), VERIFIED_WAIT);
    }
    cr_assert_eq(ask_from(&honest, stand.quick, "a", "open sesame", other), VERIFIED_WAIT);
    while (!honest.answers)
        turn(&stand.loop);
    for (unsigned i = 0; i < ARRAY_LENGTH(guesses); i++)
        later += guesses[i].answers == 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(guesses); i++)
        verifier_leave(&guesses[i].wait);
    cr_expect_eq(honest.verdict, VERIFIED_YES);
    cr_expect(later >= ARRAY_LENGTH(guesses) - 4, "%u of the guesses were still in line", later); /* one or two may have been taken before it came */
}

/* Another worker's, on the same loop. */
static enum verified ask_there(struct verifier_side *side, struct asker *asker, struct passwords *passwords, const char *password, const uint8_t client[16])
{
    asker->wait.answered = on_answer;
    return verifier_ask(side, passwords, SLICE("a"), slice_of_text(password), client, &asker->wait);
}

/* Two workers' clients guess more than the line holds, each as much as it may. True: somebody lost a place, or found none. */
static bool fill_line(struct verifier_side *sides[2], unsigned round)
{
    struct asker first = { 0 }, guesses[2 * VERIFIER_QUESTIONS_MAX] = { 0 }, honest = { 0 };
    uint8_t client[16] = { 0x20, 1, 4 };
    unsigned busy = 0;
    char password[32];
    snprintf(password, sizeof password, "first %u", round);
    cr_assert_eq(ask_from(&first, stand.slow, "a", password, (const uint8_t[16]){ 0x20, 1, 2, 3 }), VERIFIED_WAIT);
    turn(&stand.loop);
    for (unsigned i = 0; i < ARRAY_LENGTH(guesses); i++) {
        snprintf(password, sizeof password, "guess %u %u", round, i);
        client[3] = (uint8_t)(i / VERIFIER_CLIENT_MAX);
        client[15] = (uint8_t)i; /* of one /64 */
        cr_assert_eq(ask_there(sides[i % 2], &guesses[i], stand.quick, password, client), VERIFIED_WAIT);
    }
    client[3] = 0xff;
    snprintf(password, sizeof password, "honest %u", round);
    cr_assert_eq(ask_from(&honest, stand.quick, "a", password, client), VERIFIED_WAIT);
    turn_until_quiet(&stand.loop, stand.side);
    turn_until_quiet(&stand.loop, sides[0]);
    turn_until_quiet(&stand.loop, sides[1]);
    for (unsigned i = 0; i < ARRAY_LENGTH(guesses); i++)
        busy += guesses[i].verdict == VERIFIED_BUSY;
    cr_assert_eq(honest.verdict, VERIFIED_NO, "who has none in line always finds a place");
    return busy > 0;
}

/* On a machine that was busy elsewhere the line may have been worked off meanwhile: then again. */
Test(verifier, a_full_line_makes_place_for_who_has_none_in_it)
{
    struct verifier_side *sides[2] = { verifier_side_new(stand.verifier, &stand.loop), verifier_side_new(stand.verifier, &stand.loop) };
    bool lost = false;
    for (unsigned round = 0; round < 20 && !lost; round++)
        lost = fill_line(sides, round);
    cr_expect(lost);
    verifier_side_free(sides[0]);
    verifier_side_free(sides[1]);
}

Test(verifier, workers_that_ask_the_same_share_what_comes_of_it)
{
    struct verifier_side *second = verifier_side_new(stand.verifier, &stand.loop);
    bool shared = false;
    for (unsigned round = 0; round < 20 && !shared; round++) {
        struct asker first = { 0 }, one = { 0 }, other = { 0 };
        char password[32], before[32];
        uint64_t hashes = hashed();
        snprintf(before, sizeof before, "first %u", round);
        snprintf(password, sizeof password, "guess %u", round);
        cr_assert_eq(ask(&first, stand.slow, "a", before), VERIFIED_WAIT);
        turn(&stand.loop);
        cr_assert_eq(ask_there(second, &one, stand.quick, password, here), VERIFIED_WAIT);
        cr_assert_eq(ask(&other, stand.quick, "a", password), VERIFIED_WAIT);
        turn_until_quiet(&stand.loop, stand.side);
        turn_until_quiet(&stand.loop, second);
        cr_assert(one.answers == 1 && other.answers == 1 && one.verdict == VERIFIED_NO && other.verdict == VERIFIED_NO);
        shared = hashed() - hashes == 2;
    }
    cr_expect(shared);
    verifier_side_free(second);
}

Test(verifier, a_worker_has_only_so_many_under_way)
{
    struct asker askers[VERIFIER_QUESTIONS_MAX + 3] = { 0 };
    unsigned refused = 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++) {
        char password[16];
        snprintf(password, sizeof password, "guess %u", i);
        refused += ask(&askers[i], stand.quick, "a", password) == VERIFIED_BUSY;
    }
    cr_expect_eq(refused, 3);
    turn_until_quiet(&stand.loop, stand.side);
}

Test(verifier, once_stopped_it_hashes_no_more)
{
    struct asker askers[8] = { 0 };
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++) {
        char password[16];
        snprintf(password, sizeof password, "guess %u", i);
        cr_assert_eq(ask(&askers[i], stand.slow, "a", password), VERIFIED_WAIT);
    }
    verifier_stop(stand.verifier);
    turn_until_quiet(&stand.loop, stand.side);
    cr_expect(hashed() <= 1);
    cr_expect_eq(askers[7].verdict, VERIFIED_BUSY);
    cr_expect_eq(ask(&askers[0], stand.quick, "a", "open sesame"), VERIFIED_BUSY);
}

Test(verifier, what_is_wrong_does_not_push_out_what_is_proven)
{
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    for (unsigned i = 0; i < 2 * VERIFIER_WRONG_MAX; i++) {
        char password[16];
        snprintf(password, sizeof password, "guess %u", i);
        if (i % 64 == 0)
            cr_assert_eq(ask_to_the_end(stand.quick, "a", password), VERIFIED_NO);
    }
    uint64_t before = hashed();
    cr_expect_eq(ask_to_the_end(stand.quick, "a", "open sesame"), VERIFIED_YES);
    cr_expect_eq(hashed(), before);
}

/* Workers ------------------------------------------------------------------------------------------------------- */

#define WORKERS 4u
#define ROUNDS 300u

static void *work(void *argument)
{
    char why[256];
    struct loop loop;
    struct asker askers[4] = { 0 };
    uint64_t state = (uint64_t)(uintptr_t)argument;
    cr_assert_eq(loop_init(&loop, 0, 256, why), ERR_OK, "%s", why);
    struct verifier_side *side = verifier_side_new(stand.verifier, &loop);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct asker *asker = &askers[i % ARRAY_LENGTH(askers)];
        char password[16];
        state = mix64(state + 0x9e3779b97f4a7c15ull);
        snprintf(password, sizeof password, "guess %u", (unsigned)(state % 40));
        bool right = state % 40 == 0;
        verifier_leave(&asker->wait);
        *asker = (struct asker){ .wait.answered = on_answer };
        asker->verdict = verifier_ask(side, stand.quick, SLICE("b"), right ? SLICE("open sesame") : slice_of_text(password), here, &asker->wait);
        cr_assert(asker->verdict == VERIFIED_WAIT || asker->verdict == VERIFIED_BUSY || (asker->verdict == VERIFIED_YES) == right);
        turn(&loop);
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(askers); i++)
        verifier_leave(&askers[i].wait);
    turn_until_quiet(&loop, side);
    verifier_side_free(side);
    loop_release(&loop);
    return NULL;
}

Test(verifier, many_workers_ask_at_once)
{
    pthread_t threads[WORKERS];
    seed_take("verifier workers");
    for (uintptr_t i = 0; i < WORKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(random_state + i)), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    cr_expect(hashed() < WORKERS * ROUNDS);
}

#include "tests/unit/pool/fixture.h"

/* The table ---------------------------------------------------------------------------------------------------- */

#define ROW_AS_CHECK(id, text, policy)       \
    cr_assert_eq(balance_of(id), &(policy)); \
    cr_assert_str_eq(balance_of(id)->word, text);

Test(balance, table_and_policies_say_the_same_words)
{
    BALANCE_ROWS(ROW_AS_CHECK)
    cr_assert_eq(balance_of(BALANCE_RING), &balance_ring);
}

static const enum balance_kind kinds[] = { BALANCE_ROUND_ROBIN, BALANCE_LEAST_LOAD, BALANCE_TWO_CHOICES,
                                           BALANCE_PEAK_EWMA, BALANCE_CONSISTENT_HASH, BALANCE_RING };

/* What every policy owes --------------------------------------------------------------------------------------- */

Test(balance, no_policy_picks_an_unusable_or_tried_server)
{
    uint64_t seed = test_seed("no_policy_picks_an_unusable");
    for (unsigned round = 0; round < 400; round++) {
        uint32_t count = 2 + (uint32_t)(next_random(&seed) % 40);
        uint32_t weights[42];
        for (uint32_t i = 0; i < count; i++)
            weights[i] = 1 + (uint32_t)(next_random(&seed) % 256);
        struct world world;
        world_init(&world, kinds[round % ARRAY_LENGTH(kinds)], 0, count, weights, NULL);
        struct pick_request request = request_at(1000, &seed);
        uint32_t usable = 0;
        for (uint32_t i = 0; i < count; i++) {
            switch (next_random(&seed) % 6) {
            case 0: atomic_store(&world.records[i].drained, (uint8_t)1); break;
            case 1: atomic_store(&world.records[i].checked, (uint8_t)HEALTH_CHECK_DOWN); break;
            case 2: mark(&world.records[i], 1001); break;
            case 3:
                world.members[i].max_connections = 2;
                atomic_store(&world.records[i].leases, 2u);
                break;
            case 4:
                if (request.tried_count < UPSTREAM_TRIES_MAX) {
                    request.tried[request.tried_count++] = &world.servers[i];
                    break;
                } /* fall through */
            default: usable++; break;
            }
        }
        int picked = world.upstream.balance->pick(&world.upstream.tiers[0], &request);
        cr_assert_eq(picked >= 0, usable > 0, "%s of %u servers, %u usable", world.upstream.balance->word, count,
                     usable);
        if (picked >= 0)
            cr_assert(upstream_usable(&world.upstream, &world.members[picked], &request));
        world_release(&world);
    }
}

Test(balance, every_policy_finds_the_one_usable_of_many)
{
    uint64_t seed = test_seed("one_usable_of_many");
    for (size_t k = 0; k < ARRAY_LENGTH(kinds); k++) {
        struct world world;
        world_init(&world, kinds[k], 0, 300, NULL, NULL);
        for (uint32_t i = 0; i < 300; i++)
            atomic_store(&world.records[i].drained, (uint8_t)(i != 217));
        for (int i = 0; i < 20; i++)
            cr_assert_eq(pick_and_return(&world, &seed), 217);
        world_release(&world);
    }
}

/* Shares within 2 % of what the weights say, over many picks. Policies by load get exchanges of random length. */
static void check_shares(enum balance_kind kind, uint64_t seed, bool under_load)
{
    uint32_t weights[12], picks[12] = { 0 };
    uint32_t count = 2 + (uint32_t)(next_random(&seed) % 9), sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += weights[i] = 1 + (uint32_t)(next_random(&seed) % 10);
    struct world world;
    world_init(&world, kind, 0, count, weights, NULL);
    enum { ROUNDS = 200000, HELD = 4096 };
    static int held[HELD];
    for (int i = 0; i < HELD; i++)
        held[i] = -1;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        int index = under_load ? pick_one(&world, &seed) : pick_and_return(&world, &seed);
        picks[index]++;
        if (!under_load)
            continue;
        int *place = &held[next_random(&seed) % HELD];
        if (*place >= 0)
            (void)upstream_done(&world.upstream, &world.members[*place], SERVER_OK, 1, 0);
        *place = index;
    }
    for (uint32_t i = 0; i < count; i++) {
        double share = (double)picks[i] / ROUNDS, wanted = (double)weights[i] / sum;
        cr_assert(share - wanted < 0.02 && wanted - share < 0.02,
                  "%s: server %u of %u, weight %u of %u: %.4f, not %.4f", world.upstream.balance->word, i, count,
                  weights[i], sum, share, wanted);
    }
    world_release(&world);
}

Test(balance, round_robin_shares_by_weight)
{
    uint64_t seed = test_seed("round_robin_shares");
    for (int i = 0; i < 5; i++)
        check_shares(BALANCE_ROUND_ROBIN, next_random(&seed), false);
}

Test(balance, least_load_shares_by_weight_under_load)
{
    uint64_t seed = test_seed("least_load_shares");
    for (int i = 0; i < 5; i++)
        check_shares(BALANCE_LEAST_LOAD, next_random(&seed), true);
}

Test(balance, two_choices_shares_by_weight_under_load)
{
    uint64_t seed = test_seed("two_choices_shares");
    for (int i = 0; i < 5; i++)
        check_shares(BALANCE_TWO_CHOICES, next_random(&seed), true);
}

Test(balance, consistent_hash_shares_by_weight)
{
    uint64_t seed = test_seed("consistent_hash_shares");
    for (int i = 0; i < 5; i++)
        check_shares(BALANCE_CONSISTENT_HASH, next_random(&seed), false);
}

/* round-robin -------------------------------------------------------------------------------------------------- */

Test(balance, round_robin_takes_equal_servers_in_turn)
{
    uint64_t seed = 1;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, NULL, NULL);
    int first = pick_and_return(&world, &seed);
    for (int i = 1; i < 12; i++)
        cr_assert_eq(pick_and_return(&world, &seed), (first + i) % 3);
    world_release(&world);
}

Test(balance, round_robin_is_smooth)
{
    uint64_t seed = test_seed("round_robin_is_smooth");
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 3, (uint32_t[]){ 5, 1, 1 }, NULL);
    int picks[3] = { 0 }, in_a_row = 0, before = -1;
    for (int i = 0; i < 700; i++) {
        int index = pick_and_return(&world, &seed);
        in_a_row = index == before ? in_a_row + 1 : 1;
        cr_assert_leq(in_a_row, 4, "a a b a c a a, and again: four at most");
        before = index;
        picks[index]++;
    }
    cr_assert_eq(picks[0], 500);
    cr_assert_eq(picks[1], 100);
    world_release(&world);
}

Test(balance, round_robin_gives_a_returning_server_no_backlog)
{
    uint64_t seed = 1;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 2, (uint32_t[]){ 2, 1 }, NULL);
    atomic_store(&world.records[1].drained, (uint8_t)1);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(pick_and_return(&world, &seed), 0);
    atomic_store(&world.records[1].drained, (uint8_t)0);
    int picks[2] = { 0 };
    for (int i = 0; i < 6; i++)
        picks[pick_and_return(&world, &seed)]++;
    cr_assert_eq(picks[1], 2);
    world_release(&world);
}

Test(balance, round_robin_keeps_the_others_weights_when_one_is_out)
{
    uint64_t seed = test_seed("round_robin_keeps_the_others_weights");
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 4, (uint32_t[]){ 7, 3, 2, 1 }, NULL);
    atomic_store(&world.records[0].drained, (uint8_t)1);
    int picks[4] = { 0 };
    for (int i = 0; i < 600; i++)
        picks[pick_and_return(&world, &seed)]++;
    cr_assert_eq(picks[1], 300);
    cr_assert_eq(picks[2], 200);
    cr_assert_eq(picks[3], 100);
    world_release(&world);
}

Test(balance, round_robin_shares_by_weight_where_the_round_is_too_long_to_be_kept)
{
    uint64_t seed = test_seed("round_too_long");
    uint32_t weights[200], picks[200] = { 0 }, sum = 0;
    for (uint32_t i = 0; i < 200; i++)
        sum += weights[i] = 57 + i;
    struct world world;
    world_init(&world, BALANCE_ROUND_ROBIN, 0, 200, weights, NULL);
    for (uint32_t i = 0; i < 10 * sum; i++)
        picks[pick_and_return(&world, &seed)]++;
    for (uint32_t i = 0; i < 200; i++)
        cr_assert_eq(picks[i], 10 * weights[i]);
    world_release(&world);
}

Test(balance, workers_begin_at_different_servers)
{
    uint64_t seed = test_seed("workers_begin_at_different_servers");
    static const enum balance_kind rotating[] = { BALANCE_ROUND_ROBIN, BALANCE_LEAST_LOAD };
    for (size_t k = 0; k < ARRAY_LENGTH(rotating); k++) {
        uint32_t seen = 0;
        for (int i = 0; i < 100; i++) {
            struct world world;
            world_init(&world, rotating[k], 0, 4, NULL, NULL);
            seen |= 1u << pick_and_return(&world, &seed);
            world_release(&world);
        }
        cr_assert_eq(seen, 0xf);
    }
}

/* least-load --------------------------------------------------------------------------------------------------- */

Test(balance, least_load_lets_equal_servers_take_turns)
{
    uint64_t seed = 1;
    struct world world;
    world_init(&world, BALANCE_LEAST_LOAD, 0, 3, NULL, NULL);
    int first = pick_and_return(&world, &seed);
    for (int i = 1; i < 12; i++)
        cr_assert_eq(pick_and_return(&world, &seed), (first + i) % 3);
    world_release(&world);
}

Test(balance, least_load_picks_the_least_loaded)
{
    uint64_t seed = 1;
    struct world world;
    world_init(&world, BALANCE_LEAST_LOAD, 0, 3, NULL, NULL);
    world.servers[0].in_flight = 7;
    world.servers[1].in_flight = 5;
    world.servers[2].in_flight = 6;
    cr_assert_eq(pick_and_return(&world, &seed), 1);
    cr_assert_eq(pick_and_return(&world, &seed), 1);
    world_release(&world);
}

Test(balance, least_load_reckons_with_weights)
{
    uint64_t seed = 1;
    struct world world;
    world_init(&world, BALANCE_LEAST_LOAD, 0, 2, (uint32_t[]){ 4, 1 }, NULL);
    world.servers[0].in_flight = 6; /* 7/4 against 2/1 */
    world.servers[1].in_flight = 1;
    cr_assert_eq(pick_and_return(&world, &seed), 0);
    world.servers[0].in_flight = 8; /* 9/4 */
    cr_assert_eq(pick_and_return(&world, &seed), 1);
    world.servers[0].in_flight = world.servers[1].in_flight = 0;
    world_release(&world);
}

/* two-choices -------------------------------------------------------------------------------------------------- */

Test(balance, two_choices_never_picks_the_most_loaded)
{
    uint64_t seed = test_seed("two_choices_never_picks_the_most_loaded");
    struct world world;
    world_init(&world, BALANCE_TWO_CHOICES, 0, 5, NULL, NULL);
    world.servers[3].in_flight = 100;
    for (int i = 0; i < 10000; i++)
        cr_assert_neq(pick_and_return(&world, &seed), 3);
    world_release(&world);
}

Test(balance, two_choices_draws_idle_servers_by_weight)
{
    uint64_t seed = test_seed("two_choices_draws_by_weight");
    struct world world;
    /* One of ten times the others' weight: by even draws it could get no more than 2 of 11. */
    world_init(&world, BALANCE_TWO_CHOICES, 0, 11, (uint32_t[]){ 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, NULL);
    int heavy = 0;
    for (int i = 0; i < 20000; i++)
        heavy += pick_and_return(&world, &seed) == 0;
    cr_assert_gt(heavy, 9500);
    world_release(&world);
}

/* consistent-hash ---------------------------------------------------------------------------------------------- */

enum { KEYS = 50000 };

static void server_of_keys(struct world *world, uint64_t seed, int *owners)
{
    for (int i = 0; i < KEYS; i++) {
        struct pick_request request = { .hash = next_random(&seed), .now_ms = 1 };
        struct member *member = NULL;
        cr_assert_eq(upstream_pick(&world->upstream, &request, &member), PICK_OK);
        (void)upstream_done(&world->upstream, member, SERVER_OK, 1, 0);
        owners[i] = (int)strtoul(member->server->name.at + 4, NULL, 10);
    }
}

static int moved_keys(const int *before, const int *after)
{
    int moved = 0;
    for (int i = 0; i < KEYS; i++)
        moved += before[i] != after[i];
    return moved;
}

Test(balance, keys_keep_their_server_whatever_the_order_in_the_file)
{
    static int before[KEYS], after[KEYS];
    uint64_t seed = test_seed("whatever_the_order");
    struct world world;
    world_init(&world, BALANCE_CONSISTENT_HASH, 0, 9, NULL, NULL);
    server_of_keys(&world, seed, before);
    upstream_release(&world.upstream);
    for (uint32_t i = 0; i < 4; i++) {
        struct slice name = world.servers[i].name;
        world.servers[i].name = world.servers[8 - i].name;
        world.servers[8 - i].name = name;
    }
    cr_assert_eq(upstream_init(&world.upstream, SLICE("web"), world.members, 9, BALANCE_CONSISTENT_HASH), ERR_OK);
    server_of_keys(&world, seed, after);
    cr_assert_eq(moved_keys(before, after), 0);
    world_release(&world);
}

/* Server 0 of n leaves: its keys must move, and hardly any other. Read the other way round a server joins. */
static void check_leaving(uint32_t count, const uint32_t *weights, uint64_t seed)
{
    static int before[KEYS], after[KEYS];
    struct world with, without;
    world_init(&with, BALANCE_CONSISTENT_HASH, 0, count, weights, NULL);
    world_init(&without, BALANCE_CONSISTENT_HASH, 1, count - 1, weights ? weights + 1 : NULL, NULL);
    server_of_keys(&with, seed, before);
    server_of_keys(&without, seed, after);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += weights ? weights[i] : 1;
    double share = (double)(weights ? weights[0] : 1) / sum, moved = (double)moved_keys(before, after) / KEYS;
    fprintf(stderr, "%u servers, share of the leaving one %.4f: moved %.4f\n", count, share, moved);
    cr_assert_leq(moved, share + 0.02, "%u servers, share %.4f: moved %.4f", count, share, moved);
    world_release(&with);
    world_release(&without);
}

Test(balance, leaving_server_moves_its_own_keys_and_at_most_2_percent_more)
{
    uint64_t seed = test_seed("leaving_server");
    static const uint32_t counts[] = { 2, 3, 5, 10, 17, 50, 100, 128, 500 };
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++)
        check_leaving(counts[i], NULL, next_random(&seed));
}

Test(balance, leaving_server_of_any_weight_moves_its_share_and_at_most_2_percent_more)
{
    uint64_t seed = test_seed("leaving_server_of_any_weight");
    for (int round = 0; round < 10; round++) {
        uint32_t weights[40], count = 2 + (uint32_t)(next_random(&seed) % 38);
        for (uint32_t i = 0; i < count; i++)
            weights[i] = 1 + (uint32_t)(next_random(&seed) % 10);
        check_leaving(count, weights, next_random(&seed));
    }
}

Test(balance, unusable_server_moves_only_its_own_keys_and_spreads_them)
{
    static int before[KEYS], after[KEYS];
    uint64_t seed = test_seed("unusable_server");
    struct world world;
    world_init(&world, BALANCE_CONSISTENT_HASH, 0, 5, NULL, NULL);
    server_of_keys(&world, seed, before);
    atomic_store(&world.records[2].drained, (uint8_t)1);
    server_of_keys(&world, seed, after);
    int orphans = 0, taken[5] = { 0 };
    for (int i = 0; i < KEYS; i++) {
        if (before[i] != 2) {
            cr_assert_eq(before[i], after[i]);
            continue;
        }
        orphans++;
        taken[after[i]]++;
    }
    for (int i = 0; i < 5; i++)
        if (i != 2)
            cr_assert(taken[i] > orphans / 4 * 8 / 10 && taken[i] < orphans / 4 * 12 / 10, "server %d: %d of %d", i,
                      taken[i], orphans);
    world_release(&world);
}

Test(balance, lightest_of_many_still_gets_keys)
{
    uint64_t seed = test_seed("lightest_of_many");
    static uint32_t weights[UPSTREAM_SERVERS_MAX];
    for (uint32_t i = 0; i < UPSTREAM_SERVERS_MAX; i++)
        weights[i] = i == 77 ? 1 : SERVER_WEIGHT_MAX;
    struct world world;
    world_init(&world, BALANCE_CONSISTENT_HASH, 0, UPSTREAM_SERVERS_MAX, weights, NULL);
    int found = 0;
    for (int i = 0; i < 2000000 && !found; i++) {
        struct pick_request request = request_at(1, &seed);
        found = world.upstream.balance->pick(&world.upstream.tiers[0], &request) == 77;
    }
    cr_assert(found);
    world_release(&world);
}

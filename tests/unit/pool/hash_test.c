/* What is promised of keys: the ring, and bounded loads on it and on Maglev's table. The table alone: balance_test.c. */
#include "pool/tier.h"
#include "tests/unit/pool/fixture.h"

enum { KEYS = 40000 };

static const enum balance_kind by_key[] = { BALANCE_CONSISTENT_HASH, BALANCE_RING };

static void owners_of_keys(struct world *world, uint64_t seed, uint64_t random, int *owners)
{
    for (int i = 0; i < KEYS; i++) {
        struct pick_request request = { .hash = next_random(&seed), .random = next_random(&random), .now_ms = 1 };
        struct member *member = NULL;
        cr_assert_eq(upstream_pick(&world->upstream, &request, &member), PICK_OK);
        (void)upstream_done(&world->upstream, member, SERVER_OK, 1, 0);
        owners[i] = (int)strtoul(member->server->name.at + 4, NULL, 10);
    }
}

static void random_weights(uint64_t *seed, uint32_t *weights, uint32_t count, uint32_t most)
{
    for (uint32_t i = 0; i < count; i++)
        weights[i] = 1 + (uint32_t)(next_random(seed) % most);
}

/* The ring ----------------------------------------------------------------------------------------------------- */

Test(hash, ring_moves_the_keys_of_a_leaving_server_and_no_others)
{
    static int before[KEYS], after[KEYS];
    uint64_t seed = test_seed("ring_leaving");
    for (int round = 0; round < 20; round++) {
        uint32_t weights[40], count = 2 + (uint32_t)(next_random(&seed) % 38);
        random_weights(&seed, weights, count, 10); /* their sum stays below the step of POINTS_MAX */
        struct world with, without;
        world_init(&with, BALANCE_RING, 0, count, weights, NULL);
        world_init(&without, BALANCE_RING, 1, count - 1, weights + 1, NULL);
        uint64_t keys = next_random(&seed);
        owners_of_keys(&with, keys, 1, before);
        owners_of_keys(&without, keys, 2, after);
        for (int i = 0; i < KEYS; i++)
            cr_assert(before[i] == 0 || before[i] == after[i]);
        world_release(&with);
        world_release(&without);
    }
}

Test(hash, ring_moves_only_keys_of_the_server_whose_weight_changes)
{
    static int before[KEYS], after[KEYS];
    uint64_t seed = test_seed("ring_weight");
    struct world light, heavy;
    world_init(&light, BALANCE_RING, 0, 8, (uint32_t[]){ 1, 2, 3, 4, 5, 6, 7, 8 }, NULL);
    world_init(&heavy, BALANCE_RING, 0, 8, (uint32_t[]){ 1, 2, 3, 8, 5, 6, 7, 8 }, NULL);
    owners_of_keys(&light, seed, 1, before);
    owners_of_keys(&heavy, seed, 1, after);
    int moved = 0;
    for (int i = 0; i < KEYS; i++) {
        cr_assert(before[i] == after[i] || after[i] == 3);
        moved += before[i] != after[i];
    }
    cr_assert_gt(moved, 0);
    world_release(&light);
    world_release(&heavy);
}

Test(hash, ring_shares_by_weight_within_a_third)
{
    static int owners[KEYS];
    uint64_t seed = test_seed("ring_shares");
    for (int round = 0; round < 20; round++) {
        uint32_t weights[20], count = 2 + (uint32_t)(next_random(&seed) % 9), sum = 0;
        int counts[20] = { 0 };
        random_weights(&seed, weights, count, 6);
        struct world world;
        world_init(&world, BALANCE_RING, (uint32_t)(next_random(&seed) % 1000), count, weights, NULL);
        owners_of_keys(&world, next_random(&seed), 1, owners);
        int first = (int)strtoul(world.names[0] + 4, NULL, 10);
        for (int i = 0; i < KEYS; i++)
            counts[owners[i] - first]++;
        for (uint32_t i = 0; i < count; i++)
            sum += weights[i];
        for (uint32_t i = 0; i < count; i++) {
            double wanted = (double)weights[i] / sum * KEYS;
            cr_assert(counts[i] > wanted * 2 / 3 && counts[i] < wanted * 4 / 3,
                      "server %u of %u, weight %u of %u: %d, not %.0f", i, count, weights[i], sum, counts[i], wanted);
        }
        world_release(&world);
    }
}

Test(hash, same_on_every_worker_and_in_any_order_of_the_file)
{
    static int before[KEYS], after[KEYS];
    uint64_t seed = test_seed("any_order");
    for (size_t k = 0; k < ARRAY_LENGTH(by_key); k++) {
        struct world one, other;
        uint32_t weights[9] = { 1, 2, 3, 4, 5, 4, 3, 2, 1 };
        world_init(&one, by_key[k], 0, 9, weights, NULL);
        world_init(&other, by_key[k], 0, 9, weights, NULL);
        upstream_release(&other.upstream);
        for (uint32_t i = 0; i < 9; i++)
            other.members[i].server = &other.servers[(i * 4 + 3) % 9];
        for (uint32_t i = 0; i < 9; i++)
            other.members[i].weight = weights[(i * 4 + 3) % 9];
        cr_assert_eq(upstream_init(&other.upstream, SLICE("web"), other.members, 9, by_key[k]), ERR_OK);
        owners_of_keys(&one, seed, 1, before);
        owners_of_keys(&other, seed, 2, after);
        for (int i = 0; i < KEYS; i++)
            cr_assert_eq(before[i], after[i]);
        world_release(&one);
        world_release(&other);
    }
}

Test(hash, ring_of_heavy_servers_keeps_to_its_size_and_its_shares)
{
    static int owners[KEYS];
    uint32_t weights[30];
    int counts[30] = { 0 };
    struct world world;
    for (int i = 0; i < 30; i++)
        weights[i] = i < 15 ? 256 : 128;
    world_init(&world, BALANCE_RING, 0, 30, weights, NULL);
    owners_of_keys(&world, test_seed("heavy"), 1, owners);
    for (int i = 0; i < KEYS; i++)
        counts[owners[i]]++;
    for (int i = 0; i < 30; i++) {
        int wanted = KEYS * (i < 15 ? 2 : 1) / 45;
        cr_assert(abs(counts[i] - wanted) < wanted / 3, "server %d: %d, not %d", i, counts[i], wanted);
    }
    world_release(&world);
}

/* Bounded loads ------------------------------------------------------------------------------------------------ */

struct held {
    struct member *member;
};

static uint64_t rounded_up(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* After each pick: nobody has more than the cap of the mean, however few keys there are. */
static void check_cap(enum balance_kind kind, uint64_t seed)
{
    enum { PLACES = 300 };
    static struct held held[PLACES];
    memset(held, 0, sizeof held);
    uint32_t weights[30], count = 2 + (uint32_t)(next_random(&seed) % 28), well = 0, total = 0;
    random_weights(&seed, weights, count, 8);
    struct world world;
    world_init(&world, kind, 0, count, weights, NULL);
    world.upstream.load_cap = 101 + (uint32_t)(next_random(&seed) % 100);
    for (uint32_t i = 0; i < count; i++) {
        if (i && next_random(&seed) % 4 == 0)
            atomic_store(&world.records[i].drained, (uint8_t)1);
        else
            well += weights[i];
    }
    uint32_t places = 10 + (uint32_t)(next_random(&seed) % (PLACES - 10));
    uint64_t keys = 1 + next_random(&seed) % 5; /* hot ones: without a cap they would all go to a few */
    for (int i = 0; i < 20000; i++) {
        struct held *place = &held[next_random(&seed) % places];
        if (place->member) {
            (void)upstream_done(&world.upstream, place->member, SERVER_OK, 1, 0);
            place->member = NULL;
            total--;
            continue;
        }
        struct pick_request request = { .hash = mix64(next_random(&seed) % keys),
                                        .random = next_random(&seed),
                                        .now_ms = 1 };
        cr_assert_eq(upstream_pick(&world.upstream, &request, &place->member), PICK_OK);
        total++;
        uint64_t cap = rounded_up((uint64_t)world.upstream.load_cap * total * place->member->weight, 100ull * well);
        cr_assert_leq(place->member->server->in_flight, cap, "%s, cap %u%%, %u in flight", world.upstream.balance->word,
                      world.upstream.load_cap, total);
    }
    for (int i = 0; i < PLACES; i++)
        if (held[i].member)
            (void)upstream_done(&world.upstream, held[i].member, SERVER_OK, 1, 0);
    for (uint32_t i = 0; i < world.upstream.tier_count; i++)
        cr_assert_eq(world.upstream.tiers[i].in_flight, 0);
    world_release(&world);
}

Test(hash, no_server_has_more_than_the_cap_of_the_mean)
{
    uint64_t seed = test_seed("bounded");
    for (int round = 0; round < 40; round++)
        check_cap(by_key[round % 2], next_random(&seed));
}

Test(hash, key_keeps_its_server_while_that_has_room_and_goes_on_to_the_same_next)
{
    uint64_t seed = test_seed("same_next");
    for (size_t k = 0; k < ARRAY_LENGTH(by_key); k++) {
        for (int round = 0; round < 200; round++) {
            struct world world;
            struct member *home = NULL, *second = NULL, *member = NULL;
            world_init(&world, by_key[k], 0, 10, NULL, NULL);
            struct pick_request request = request_at(1, &seed);
            cr_assert_eq(upstream_pick(&world.upstream, &request, &home), PICK_OK);
            (void)upstream_done(&world.upstream, home, SERVER_OK, 1, 0);
            atomic_store(&home->server->health->drained, (uint8_t)1);
            cr_assert_eq(upstream_pick(&world.upstream, &request, &second), PICK_OK);
            (void)upstream_done(&world.upstream, second, SERVER_OK, 1, 0);
            atomic_store(&home->server->health->drained, (uint8_t)0);
            world.upstream.load_cap = 150;
            tiers_look(&world.upstream, 1);
            cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
            cr_assert_eq(member, home);
            cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
            cr_assert_eq(member, second, "the first has one of the mean of a fifth, and the cap of that is one");
            world_release(&world);
        }
    }
}

Test(hash, requests_of_an_older_view_count)
{
    struct world world;
    struct member *member = NULL;
    uint64_t seed = 1;
    world_init(&world, BALANCE_CONSISTENT_HASH, 0, 4, NULL, NULL);
    world.upstream.load_cap = 125;
    for (int i = 0; i < 4; i++)
        world.servers[i].in_flight = 10;
    struct pick_request request = request_at(1, &seed);
    int counts[4] = { 0 };
    for (int i = 0; i < 9; i++) {
        cr_assert_eq(upstream_pick(&world.upstream, &request, &member), PICK_OK);
        counts[index_of(&world, member)]++;
    }
    int most = 0;
    for (int i = 0; i < 4; i++)
        most = counts[i] > most ? counts[i] : most;
    cr_assert(most >= 3 && most <= 6, "one key: its server takes what 125%% of 10 to 12 allow, not %d", most);
    world_release(&world);
}

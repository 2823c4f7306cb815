/* How a stored response may be used, what else comes with it, and what another field orders: suites as in rules_test.c. */
#include "tests/unit/cache/rules_fixture.h"

#include "tests/unit/seed.h"

/* Using -------------------------------------------------------------------------------------------------------------- */

Test(rules_4_2, fresh_as_long_as_the_lifetime_is_longer_than_the_age)
{
    stored_as(200, "max-age=60", true);
    cr_expect_eq(used(-100), CACHE_USE_FRESH);
    cr_expect_eq(used(59), CACHE_USE_FRESH);
    cr_expect_eq(used(60), CACHE_USE_VALIDATE);
    says("Age", "50");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(used(9), CACHE_USE_FRESH);
    cr_expect_eq(used(10), CACHE_USE_VALIDATE);
}

Test(rules_5_2_2_4, no_cache_is_never_used_without_asking)
{
    rule.stale_while_revalidate_s = rule.stale_if_error_s = 1000;
    EXPECT_REASON(stored_as(200, "max-age=60, no-cache, stale-if-error=100", true), CACHE_REASON_NONE);
    cr_expect(policy.validate_always);
    cr_expect_eq(used(0), CACHE_USE_VALIDATE);
    cr_expect_eq(used_as_asked("max-stale", 0), CACHE_USE_VALIDATE);
    cr_expect_not(used_on_error(0));
    cr_expect_not(used_on_error(70));
}

Test(rules_5_2_2_4, no_cache_with_names_may_be_used_without_those_fields)
{
    EXPECT_REASON(stored_as(200, "max-age=60, no-cache=\"x-a\"", true), CACHE_REASON_NONE);
    cr_expect_not(policy.validate_always);
    cr_expect_eq(used(0), CACHE_USE_FRESH);
}

Test(rules_4_2_4, must_revalidate_and_its_like_are_never_used_stale)
{
    static const char *const rows[] = { "max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "s-maxage=60",
                                        "s-maxage=60, stale-while-revalidate=99",
                                        "max-age=60, must-revalidate, stale-if-error=99" };
    rule.stale_while_revalidate_s = rule.stale_if_error_s = 1000;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        EXPECT_REASON(stored_as(200, rows[i], true), CACHE_REASON_NONE);
        cr_expect_eq(used(59), CACHE_USE_FRESH);
        cr_expect_eq(used(60), CACHE_USE_VALIDATE, "%s", rows[i]);
        cr_expect_eq(used_as_asked("max-stale", 60), CACHE_USE_VALIDATE, "%s", rows[i]);
        cr_expect_not(used_on_error(60), "%s", rows[i]);
        asks("Cache-Control", "max-stale, stale-if-error=100");
        cr_expect_not(used_on_error(60), "%s", rows[i]);
        asks_nothing();
        cr_expect(used_on_error(59), "fresh");
    }
}

/* What the page says of s-maxage: the route cannot overrule it, the origin can say it in another way. */
Test(rules_5_2_2_10, s_maxage_is_got_round_by_a_targeted_field_alone)
{
    static const struct cache_ttl all = { 200, 599, 60 };
    const char *cdn[] = { "CDN-Cache-Control", "Surrogate-Control" };
    rule.stale_while_revalidate_s = 1000;
    rule.ttls = &all;
    rule.ttl_count = 1;
    EXPECT_REASON(stored_as(200, "s-maxage=30, stale-while-revalidate=99", true), CACHE_REASON_NONE);
    cr_expect_eq(used(59), CACHE_USE_FRESH);
    cr_expect_eq(used(60), CACHE_USE_VALIDATE);
    rule.ttl_count = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(cdn); i++) {
        stored_as(200, "s-maxage=30", true);
        says(cdn[i], "max-age=60, stale-while-revalidate=10");
        EXPECT_REASON(stored(), CACHE_REASON_NONE);
        cr_expect_eq(used(59), CACHE_USE_FRESH, "%s", cdn[i]);
        cr_expect_eq(used(69), CACHE_USE_REVALIDATE, "%s", cdn[i]);
        cr_expect_eq(used(70), CACHE_USE_VALIDATE, "%s", cdn[i]);
    }
}

Test(rules_5861_3, stale_while_revalidate_is_of_the_response_or_else_of_the_rule)
{
    stored_as(200, "max-age=60, stale-while-revalidate=10", true);
    cr_expect_eq(used(59), CACHE_USE_FRESH);
    cr_expect_eq(used(60), CACHE_USE_REVALIDATE);
    cr_expect_eq(used(69), CACHE_USE_REVALIDATE);
    cr_expect_eq(used(70), CACHE_USE_VALIDATE);
    rule.stale_while_revalidate_s = 20;
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(used(70), CACHE_USE_VALIDATE);
    stored_as(200, "max-age=60", true);
    cr_expect_eq(used(79), CACHE_USE_REVALIDATE);
    cr_expect_eq(used(80), CACHE_USE_VALIDATE);
    stored_as(200, "max-age=60, stale-while-revalidate=0", true);
    cr_expect_eq(used(60), CACHE_USE_VALIDATE);
}

Test(rules_5861_4, stale_if_error_is_of_the_response_or_else_of_the_rule_or_of_the_request)
{
    stored_as(200, "max-age=60, stale-if-error=10", true);
    cr_expect_eq(used(60), CACHE_USE_VALIDATE);
    cr_expect(used_on_error(69));
    cr_expect_not(used_on_error(70));
    rule.stale_if_error_s = 20;
    stored_as(200, "max-age=60", true);
    cr_expect(used_on_error(79));
    cr_expect_not(used_on_error(80));
    asks("Cache-Control", "stale-if-error=30");
    cr_expect(used_on_error(89));
    cr_expect_not(used_on_error(90));
    stored_as(200, "max-age=60, stale-if-error=0", true);
    asks_nothing();
    cr_expect_not(used_on_error(60));
    asks("Cache-Control", "max-stale=5");
    cr_expect(used_on_error(65));
    cr_expect_not(used_on_error(66));
}

Test(rules_5_2_1_2, max_stale_allows_stale_ones)
{
    stored_as(200, "max-age=60", true);
    cr_expect_eq(used_as_asked("max-stale=10", 59), CACHE_USE_FRESH);
    cr_expect_eq(used_as_asked("max-stale=10", 70), CACHE_USE_STALE);
    cr_expect_eq(used_as_asked("max-stale=10", 71), CACHE_USE_VALIDATE);
    cr_expect_eq(used_as_asked("max-stale", 1000000), CACHE_USE_STALE);
    cr_expect_eq(used_as_asked("max-stale=x", 61), CACHE_USE_VALIDATE);
    cr_expect_eq(used_as_asked("max-stale, max-stale=5", 66), CACHE_USE_VALIDATE);
    stored_as(200, "max-age=60, stale-while-revalidate=5", true);
    cr_expect_eq(used_as_asked("max-stale", 64), CACHE_USE_REVALIDATE);
    cr_expect_eq(used_as_asked("max-stale", 65), CACHE_USE_STALE);
}

Test(rules_5_2_1, a_client_asks_for_more_only_if_the_rule_lets_it)
{
    static const char *const rows[] = {
        "no-cache", "max-age=0", "max-age=9", "min-fresh=51", "min-fresh=x", "max-age=x"
    };
    stored_as(200, "max-age=60", true);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        cr_expect_eq(used_as_asked(rows[i], 10), CACHE_USE_FRESH, "%s", rows[i]);
    rule.client_no_cache = true;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        cr_expect_eq(used_as_asked(rows[i], 10), CACHE_USE_VALIDATE, "%s", rows[i]);
    cr_expect_eq(used_as_asked("max-age=10", 10), CACHE_USE_FRESH);
    cr_expect_eq(used_as_asked("min-fresh=50", 10), CACHE_USE_FRESH);
    cr_expect_eq(used_as_asked("no-transform, foo", 10), CACHE_USE_FRESH);
}

Test(rules_5_2_1_1, max_age_without_max_stale_wants_nothing_stale)
{
    rule.client_no_cache = true;
    stored_as(200, "max-age=60, stale-while-revalidate=100", true);
    cr_expect_eq(used(70), CACHE_USE_REVALIDATE);
    cr_expect_eq(used_as_asked("max-age=1000", 70), CACHE_USE_VALIDATE);
    cr_expect_eq(used_as_asked("max-age=1000, max-stale=20", 70), CACHE_USE_REVALIDATE);
    cr_expect_eq(used_as_asked("min-fresh=0", 70), CACHE_USE_VALIDATE);
}

Test(rules_5_4, pragma_is_no_cache_where_there_is_no_cache_control)
{
    stored_as(200, "max-age=60", true);
    asks("Pragma", "no-cache");
    cr_expect_eq(used(10), CACHE_USE_FRESH);
    rule.client_no_cache = true;
    cr_expect_eq(used(10), CACHE_USE_VALIDATE);
    cr_expect_not(used_on_error(10), "what must be asked for is not answered without");
    asks("Cache-Control", "max-age=1000");
    cr_expect_eq(used(10), CACHE_USE_FRESH);
}

Test(rules_8246, immutable_is_not_asked_for_by_max_age_while_it_is_fresh)
{
    rule.client_no_cache = true;
    stored_as(200, "max-age=60, immutable", true);
    cr_expect_eq(used_as_asked("max-age=0", 10), CACHE_USE_FRESH);
    cr_expect_eq(used_as_asked("no-cache", 10), CACHE_USE_VALIDATE);
    stored_as(200, "max-age=60, immutable, stale-while-revalidate=100", true);
    cr_expect_eq(used_as_asked("max-age=0", 60), CACHE_USE_VALIDATE);
}

Test(rules_purged, softly_is_stale_from_now_on)
{
    stored_as(200, "max-age=60, stale-while-revalidate=10", true);
    cr_expect_eq(cache_use_purged(&policy, CACHE_USE_FRESH), CACHE_USE_REVALIDATE);
    cr_expect_eq(cache_use_purged(&policy, CACHE_USE_REVALIDATE), CACHE_USE_REVALIDATE);
    cr_expect_eq(cache_use_purged(&policy, CACHE_USE_VALIDATE), CACHE_USE_VALIDATE);
    stored_as(200, "max-age=60, must-revalidate, stale-while-revalidate=10", true);
    cr_expect_eq(cache_use_purged(&policy, CACHE_USE_FRESH), CACHE_USE_VALIDATE);
}

/* Targeted fields ------------------------------------------------------------------------------------------------------ */

Test(rules_9213_2_2, a_targeted_field_puts_cache_control_and_expires_out_of_force)
{
    stored_as(200, "no-store, private, max-age=5", true);
    says("Expires", DATE_HOUR_AFTER);
    EXPECT_REASON(stored(), CACHE_REASON_NO_STORE);
    says("CDN-Cache-Control", "max-age=600");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 600);
    stored_as(200, "max-age=5", false);
    says("Expires", DATE_HOUR_AFTER);
    says("CDN-Cache-Control", "must-revalidate");
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
    stored_as(200, "max-age=5", false);
    says("CDN-Cache-Control", "no-store");
    EXPECT_REASON(stored(), CACHE_REASON_NO_STORE);
}

Test(rules_9213_2_1, a_targeted_field_with_a_fault_is_as_if_it_was_not_there)
{
    stored_as(200, "max-age=5", false);
    says("CDN-Cache-Control", "max-age=600, no store");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 5);
}

Test(rules_surrogate, control_stands_between_the_two)
{
    stored_as(200, "no-store", false);
    says("Surrogate-Control", "max-age=60+30");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 60);
    cr_expect_eq(policy.stale_while_revalidate_s, 30);
    says("CDN-Cache-Control", "max-age=7");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 7);
    stored_as(200, "max-age=60", false);
    says("Surrogate-Control", "no-store");
    EXPECT_REASON(stored(), CACHE_REASON_NO_STORE);
}

/* Fields --------------------------------------------------------------------------------------------------------------- */

static bool dropped(const char *name)
{
    const struct field *field = fields_find_name(&response.fields, slice_of_text(name));
    cr_assert_not_null(field);
    return cache_field_is_dropped(&rule, &response, field);
}

static bool updates(const char *name)
{
    const struct field *field = fields_find_name(&response.fields, slice_of_text(name));
    cr_assert_not_null(field);
    return cache_field_updates(&rule, &response, field);
}

Test(rules_3_1, fields_of_one_hop_or_one_client_are_not_stored)
{
    static const char *const none[] = { "Set-Cookie", "Age", "Trailer", "Proxy-Authentication-Info", "X-Hop" };
    static const char *const all[] = {
        "Date", "ETag", "X-A", "Cache-Control", "Vary", "Content-Type", "Content-Length", "Surrogate-Control"
    };
    for (size_t i = 0; i < ARRAY_LENGTH(none); i++)
        says(none[i], "1");
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
        says(all[i], "private=");
    for (unsigned i = 0; i < response.fields.count; i++)
        if (slice_equal(field_name(&response.fields.list[i]), SLICE("X-Hop")))
            response.fields.list[i].flags = FIELD_HOP_BY_HOP;
    for (size_t i = 0; i < ARRAY_LENGTH(none); i++)
        cr_expect(dropped(none[i]), "%s", none[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
        cr_expect_not(dropped(all[i]), "%s", all[i]);
}

Test(rules_5_2_2_7, fields_that_private_or_no_cache_name_are_not_stored)
{
    says("Cache-Control", "max-age=60, Private=\"x-a, ETag\"");
    says("Cache-Control", "NO-CACHE=x-b");
    says("X-A", "1");
    says("x-b", "1");
    says("X-C", "1");
    says("etag", "\"1\"");
    cr_expect(dropped("X-A") && dropped("X-B") && dropped("ETag"));
    cr_expect_not(dropped("X-C") || dropped("Cache-Control"));
    says_nothing();
    says("Cache-Control", "max-age=60, no-cache=\"x-a\"");
    says("X-A", "1");
    says("X-B", "1");
    says("X-C", "1");
    cr_expect(dropped("X-A"));
    says("CDN-Cache-Control", "max-age=60, private=\"x-c\"");
    cr_expect(dropped("X-C"));
    cr_expect_not(dropped("X-A") || dropped("X-B"), "only the field that governs counts");
}

Test(rules_3_2, a_304_updates_what_does_not_describe_the_content)
{
    static const char *const no[] = { "Content-Length", "Content-Encoding", "Content-Type",
                                      "Content-Range",  "Content-MD5",      "Digest",
                                      "Content-Digest", "Repr-Digest",      "Age",
                                      "Set-Cookie" };
    static const char *const yes[] = { "Date",          "Expires", "Cache-Control", "ETag",
                                       "Last-Modified", "Vary",    "X-A",           "Content-Location" };
    for (size_t i = 0; i < ARRAY_LENGTH(no); i++)
        says(no[i], "1");
    for (size_t i = 0; i < ARRAY_LENGTH(yes); i++)
        says(yes[i], "1");
    for (size_t i = 0; i < ARRAY_LENGTH(no); i++)
        cr_expect_not(updates(no[i]), "%s", no[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(yes); i++)
        cr_expect(updates(yes[i]), "%s", yes[i]);
}

static bool freshens(const char *stored, const char *etag, const char *modified)
{
    says_nothing();
    if (etag)
        says("ETag", etag);
    if (modified)
        says("Last-Modified", modified);
    return cache_freshens(&policy, slice_of_text(stored), &response);
}

Test(rules_4_3_4, a_304_is_of_the_response_with_its_validator)
{
    policy = (struct cache_policy){ .modified_s = NOW - 60, .received_s = NOW };
    cr_expect(freshens("\"a\"", "\"a\"", NULL));
    cr_expect_not(freshens("\"a\"", "\"b\"", NULL));
    cr_expect_not(freshens("\"a\"", "\"b\"", DATE_MINUTE_BEFORE), "the ETag is the stronger word");
    cr_expect(freshens("\"a\"", "\"a\"", DATE_NOW));
    cr_expect_not(freshens("W/\"a\"", "\"a\"", NULL), "a strong one must be the same strong one");
    cr_expect(freshens("W/\"a\"", "W/\"a\"", NULL) && freshens("\"a\"", "W/\"a\"", NULL));
    cr_expect_not(freshens("", "\"a\"", NULL) || freshens("\"a\"", "W/\"b\"", NULL) || freshens("\"a\"", "W/", NULL));
    cr_expect(freshens("\"a\"", NULL, DATE_MINUTE_BEFORE) && freshens("", NULL, DATE_MINUTE_BEFORE));
    cr_expect_not(freshens("\"a\"", NULL, DATE_NOW));
    cr_expect(freshens("\"a\"", NULL, NULL));
    policy.modified_s = -1;
    cr_expect_not(freshens("", NULL, DATE_NOW));
}

Test(rules_4_3_4, what_was_coded_here_has_the_origins_validator)
{
    policy = (struct cache_policy){ .modified_s = NOW - 60, .received_s = NOW, .coded = true };
    cr_expect(freshens("W/\"a\"", "\"a\"", NULL) && freshens("W/\"a\"", "W/\"a\"", NULL));
    cr_expect_not(freshens("W/\"a\"", "\"b\"", NULL) || freshens("", "\"a\"", NULL));
    cr_expect(cache_head_agrees(&policy, SLICE("W/\"a\""), 10, (says_nothing(), says("ETag", "\"a\""), &response)));
    cr_expect_not(cache_head_agrees(&policy, SLICE("W/\"b\""), 10, &response));
}

Test(rules_4_3_5, a_head_agrees_in_length_and_validators)
{
    policy = (struct cache_policy){ .modified_s = NOW - 60, .received_s = NOW };
    says("ETag", "\"a\"");
    cr_expect(cache_head_agrees(&policy, SLICE("\"a\""), 10, &response));
    cr_expect_not(cache_head_agrees(&policy, SLICE("W/\"a\""), 10, &response));
    cr_expect_not(cache_head_agrees(&policy, SLICE_NONE, 10, &response));
    response.has_content_length = true;
    response.content_length = 10;
    cr_expect(cache_head_agrees(&policy, SLICE("\"a\""), 10, &response));
    cr_expect_not(cache_head_agrees(&policy, SLICE("\"a\""), 11, &response));
    says("Last-Modified", DATE_NOW);
    cr_expect_not(cache_head_agrees(&policy, SLICE("\"a\""), 10, &response));
    says_nothing();
    cr_expect(cache_head_agrees(&policy, SLICE_NONE, 10, &response));
    cr_expect_not(cache_head_agrees(&policy, SLICE("\"a\""), 10, &response));
}

Test(rules_4_4, unsafe_methods_that_succeed_invalidate)
{
    static const enum method unsafe[] = { METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_PATCH, METHOD_OTHER };
    static const enum method safe[] = { METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_TRACE, METHOD_QUERY };
    for (size_t i = 0; i < ARRAY_LENGTH(unsafe); i++) {
        request.method = unsafe[i];
        cr_expect(cache_invalidates(&request, 200) && cache_invalidates(&request, 204) &&
                  cache_invalidates(&request, 303));
        cr_expect_not(cache_invalidates(&request, 100) || cache_invalidates(&request, 400) ||
                      cache_invalidates(&request, 500));
    }
    for (size_t i = 0; i < ARRAY_LENGTH(safe); i++) {
        request.method = safe[i];
        cr_expect_not(cache_invalidates(&request, 200));
    }
}

/* Whatever is said and asked: nothing is used stale against a word of the origin, and ages do not run backwards. */
Test(rules, property_no_stale_use_against_the_origins_word)
{
    static const char *const words[] = {
        "max-age=10",        "max-age=100",      "s-maxage=20", "no-cache",
        "must-revalidate",   "proxy-revalidate", "public",      "stale-while-revalidate=50",
        "stale-if-error=50", "immutable",        "max-age=x",   "no-cache=\"a\""
    };
    static const char *const wishes[] = { "max-stale", "max-stale=30",      "max-age=5",     "min-fresh=5",
                                          "no-cache",  "stale-if-error=40", "only-if-cached" };
    seed_take("rules");
    for (unsigned i = 0; i < 20000; i++) {
        says_nothing();
        asks_nothing();
        for (uint64_t n = random_below(5); n > 0; n--)
            says("Cache-Control", words[random_below(ARRAY_LENGTH(words))]);
        for (uint64_t n = random_below(3); n > 0; n--)
            asks("Cache-Control", wishes[random_below(ARRAY_LENGTH(wishes))]);
        says("ETag", "\"1\"");
        rule.client_no_cache = random_below(2);
        rule.default_ttl_s = (uint32_t)random_below(2) * 30;
        rule.stale_while_revalidate_s = (uint32_t)random_below(2) * 30;
        rule.stale_if_error_s = (uint32_t)random_below(2) * 30;
        response.status = 200;
        if (stored() != CACHE_REASON_NONE)
            continue;
        int64_t after = (int64_t)random_below(200);
        bool fresh = cache_age(&policy, NOW + after) < policy.lifetime_s;
        enum cache_use use = used(after);
        cr_assert(cache_age(&policy, NOW + after + 1) > cache_age(&policy, NOW + after));
        cr_assert(use != CACHE_USE_FRESH || (fresh && !policy.validate_always));
        cr_assert((use != CACHE_USE_STALE && use != CACHE_USE_REVALIDATE) ||
                  !(fresh || policy.must_revalidate || policy.validate_always));
        cr_assert(!used_on_error(after) || !(policy.validate_always || (policy.must_revalidate && !fresh)));
    }
}

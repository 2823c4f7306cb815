/* What is stored and for how long: a test for what RFC 9111 demands in each section; the suite is named for the section. */
#include "tests/unit/cache/rules_fixture.h"

/* Requests ------------------------------------------------------------------------------------------------------- */

Test(rules_3, only_methods_that_are_understood)
{
    static const enum method others[] = { METHOD_OTHER,   METHOD_POST,  METHOD_PUT,   METHOD_DELETE,
                                          METHOD_OPTIONS, METHOD_TRACE, METHOD_PATCH, METHOD_QUERY };
    EXPECT_REASON(stored_as(200, "max-age=60", false), CACHE_REASON_NONE);
    request.method = METHOD_HEAD;
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        request.method = others[i];
        EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_METHOD);
        EXPECT_REASON(stored(), CACHE_REASON_METHOD);
    }
}

Test(rules_request, content_and_other_protocols_are_not_for_the_cache)
{
    request.framing = FRAMING_LENGTH;
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_NONE);
    request.content_length = 1;
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_CONTENT);
    request.framing = FRAMING_CHUNKED;
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_CONTENT);
    request.framing = FRAMING_NONE;
    request.upgrade = true;
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_BYPASS);
    request.upgrade = false;
    rule.on = false;
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_BYPASS);
}

Test(rules_request, the_rule_names_cookies_and_fields_that_bypass)
{
    static const struct slice cookies[] = { SLICE("session*"), SLICE("admin") },
                              fields[] = { SLICE("X-Preview"), SLICE("Range") };
    rule.bypass_cookies = cookies;
    rule.bypass_cookie_count = 2;
    rule.bypass_fields = fields;
    rule.bypass_field_count = 2;
    asks("Cookie", "a=session; b=admin;administrator=1; ;=;Admin=1; session");
    asks("X-Prev", "1");
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_NONE);
    asks("Cookie", "x=1;\tsession_id =2");
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_BYPASS);
    asks_nothing();
    asks("cookie", "admin=");
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_BYPASS);
    asks_nothing();
    asks("x-preview", "");
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_BYPASS);
    asks_nothing();
    asks("range", "bytes=0-");
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_BYPASS);
}

Test(rules_5_2_1_5, no_store_of_a_client_counts_if_the_rule_says_so)
{
    asks("Cache-Control", "no-store");
    EXPECT_REASON(stored_as(200, "max-age=60", false), CACHE_REASON_NONE);
    rule.client_no_cache = true;
    EXPECT_REASON(cache_request_reason(&rule, &request), CACHE_REASON_NO_STORE);
    EXPECT_REASON(stored(), CACHE_REASON_NO_STORE);
}

Test(rules_5_2_1_7, only_if_cached_always_counts)
{
    cr_expect_not(cache_only_if_cached(&rule, &request));
    asks("Cache-Control", "max-stale");
    cr_expect_not(cache_only_if_cached(&rule, &request));
    asks("Cache-Control", "Only-If-Cached");
    cr_expect(cache_only_if_cached(&rule, &request));
}

/* Storing -------------------------------------------------------------------------------------------------------- */

Test(rules_3, a_response_is_final_and_not_of_a_part)
{
    static const uint16_t never[] = { 100, 103, 199, 304, 400, 401, 406, 407, 408, 411, 412, 413,
                                      415, 417, 421, 422, 425, 426, 428, 429, 431, 505, 511 };
    static const struct cache_ttl all = { 100, 599, 60 };
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LENGTH(never); i++)
            EXPECT_REASON(stored_as(never[i], "public, max-age=60", true), CACHE_REASON_STATUS);
        EXPECT_REASON(stored_as(206, "public, max-age=60", true), CACHE_REASON_RANGE);
        EXPECT_REASON(stored_as(416, "public, max-age=60", true), CACHE_REASON_RANGE);
        rule.ttls = &all;
        rule.ttl_count = 1;
    }
    response.status = 200;
    response.interim = true;
    EXPECT_REASON(stored(), CACHE_REASON_STATUS);
}

Test(rules_3, no_store_is_not_stored)
{
    static const struct cache_ttl all = { 100, 599, 60 };
    EXPECT_REASON(stored_as(200, "max-age=60, no-store", true), CACHE_REASON_NO_STORE);
    rule.ttls = &all;
    rule.ttl_count = 1;
    EXPECT_REASON(stored_as(200, "max-age=60, no-store", true), CACHE_REASON_NO_STORE);
}

Test(rules_3, private_is_not_stored_unless_it_names_fields)
{
    EXPECT_REASON(stored_as(200, "private, max-age=60", true), CACHE_REASON_PRIVATE);
    EXPECT_REASON(stored_as(200, "private=\"x-a\", private, max-age=60", true), CACHE_REASON_PRIVATE);
    EXPECT_REASON(stored_as(200, "private=\"x-a\", max-age=60", true), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "private=\"x a\", max-age=60", true), CACHE_REASON_PRIVATE);
}

Test(rules_3, without_a_word_of_freshness_only_what_is_heuristically_cacheable)
{
    static const uint16_t yes[] = { 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501 };
    static const uint16_t no[] = { 201, 202, 205, 207, 226, 302, 303, 305, 307, 402,
                                   403, 409, 418, 500, 502, 503, 504, 507, 599 };
    rule.default_ttl_s = 30;
    for (size_t i = 0; i < ARRAY_LENGTH(yes); i++) {
        EXPECT_REASON(stored_as(yes[i], NULL, false), CACHE_REASON_NONE);
        cr_expect_eq(policy.lifetime_s, 30);
        EXPECT_REASON(stored_as(yes[i], "no-cache", true), CACHE_REASON_NONE);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(no); i++) {
        EXPECT_REASON(stored_as(no[i], NULL, true), CACHE_REASON_LIFETIME);
        EXPECT_REASON(stored_as(no[i], "no-cache", true), CACHE_REASON_LIFETIME);
        EXPECT_REASON(stored_as(no[i], "max-age=60", true), CACHE_REASON_NONE);
        EXPECT_REASON(stored_as(no[i], "public", true), CACHE_REASON_NONE);
    }
}

Test(rules_3, a_shared_response_is_stored_by_s_maxage_max_age_or_expires)
{
    EXPECT_REASON(stored_as(500, "s-maxage=5", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(500, "max-age=5", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(500, NULL, false), CACHE_REASON_LIFETIME);
    says("Expires", DATE_HOUR_AFTER);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
}

Test(rules_3_5, answers_to_authorized_requests_are_stored_only_if_they_say_so)
{
    asks("Authorization", "Basic YQ==");
    EXPECT_REASON(stored_as(200, "max-age=60", true), CACHE_REASON_AUTHORIZATION);
    EXPECT_REASON(stored_as(200, "max-age=60, proxy-revalidate", true), CACHE_REASON_AUTHORIZATION);
    EXPECT_REASON(stored_as(200, "max-age=60, immutable", true), CACHE_REASON_AUTHORIZATION);
    EXPECT_REASON(stored_as(200, "max-age=60, public=1", true), CACHE_REASON_AUTHORIZATION);
    EXPECT_REASON(stored_as(200, "max-age=60, public", true), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "max-age=60, must-revalidate", true), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "s-maxage=60", true), CACHE_REASON_NONE);
}

Test(rules_3_5, the_rules_own_lifetimes_do_not_make_authorized_answers_shared)
{
    static const struct cache_ttl all = { 200, 599, 60 };
    asks("Authorization", "Basic YQ==");
    rule.ttls = &all;
    rule.ttl_count = 1;
    rule.default_ttl_s = 60;
    EXPECT_REASON(stored_as(200, NULL, true), CACHE_REASON_AUTHORIZATION);
}

Test(rules_4_1, vary_by_all_is_not_stored)
{
    EXPECT_REASON(stored_as(200, "max-age=60", true), CACHE_REASON_NONE);
    says("Vary", "Accept-Encoding");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    says("Vary", "accept, * ,x");
    EXPECT_REASON(stored(), CACHE_REASON_VARY);
}

Test(rules_set_cookie, is_for_one_client_unless_rule_or_origin_says_otherwise)
{
    EXPECT_REASON(stored_as(200, "max-age=60", true), CACHE_REASON_NONE);
    says("Set-Cookie", "a=1");
    EXPECT_REASON(stored(), CACHE_REASON_SET_COOKIE);
    says("Cache-Control", "private=\"x, Set-Cookie\"");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "max-age=60, no-cache=set-cookie", true), CACHE_REASON_NONE);
    says("Set-Cookie", "a=1");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "max-age=60, private=x-set-cookie", true), CACHE_REASON_NONE);
    says("Set-Cookie", "a=1");
    EXPECT_REASON(stored(), CACHE_REASON_SET_COOKIE);
    rule.store_set_cookie = true;
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
}

Test(rules_large, a_length_above_the_rules_is_not_stored)
{
    EXPECT_REASON(stored_as(200, "max-age=60", false), CACHE_REASON_NONE);
    response.framing = FRAMING_LENGTH;
    response.content_length = 1000;
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    response.content_length = 1001;
    EXPECT_REASON(stored(), CACHE_REASON_LARGE);
    response.framing = FRAMING_CHUNKED;
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
}

Test(rules_5_2_2_3, must_understand_limits_storing_to_statuses_that_are_understood)
{
    EXPECT_REASON(stored_as(200, "must-understand, no-store, max-age=60", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(503, "must-understand, no-store, max-age=60", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(299, "must-understand, no-store, max-age=60", false), CACHE_REASON_UNDERSTAND);
    EXPECT_REASON(stored_as(299, "must-understand, max-age=60", false), CACHE_REASON_UNDERSTAND);
    EXPECT_REASON(stored_as(299, "max-age=60", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "must-understand, no-store, private, max-age=60", false), CACHE_REASON_PRIVATE);
    EXPECT_REASON(stored_as(200, "must-understand=1, no-store, max-age=60", false), CACHE_REASON_NO_STORE);
}

Test(rules, a_policy_is_filled_in_only_for_what_is_stored)
{
    stored_as(200, "no-store", false);
    cr_expect_eq(policy.lifetime_s, 12345);
    cr_expect_eq(policy.received_s, 0);
}

Test(rules, every_reason_has_a_word)
{
    for (unsigned i = 1; i < CACHE_REASONS; i++)
        cr_expect(field_is_token(slice_of_text(cache_reason_word((enum cache_reason)i))));
}

/* Freshness -------------------------------------------------------------------------------------------------------- */

Test(rules_4_2_1, s_maxage_stands_before_max_age_and_max_age_before_expires)
{
    stored_as(200, "max-age=10", false);
    says("Expires", DATE_HOUR_AFTER);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 10);
    says("Cache-Control", "s-maxage=20");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 20);
}

Test(rules_5_3, expires_counts_from_date)
{
    stored_as(200, NULL, true);
    says("Expires", DATE_HOUR_AFTER);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 3600);
    says("Date", DATE_MINUTE_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 3660);
    cr_expect_eq(policy.date_s, NOW - 60);
    cr_expect_eq(policy.age_s, 60);
}

Test(rules_5_3, expires_that_is_no_date_is_in_the_past)
{
    static const char *const rows[] = { "0",
                                        "",
                                        "-1",
                                        "never",
                                        DATE_NOW,
                                        DATE_MINUTE_BEFORE,
                                        "Wed, 01 Jan 2025 01:00:00 UTC",
                                        "3600",
                                        "Wed, 01 Jan 2025 01:00:00 GMT, Wed, 01 Jan 2025 01:00:00 GMT",
                                        "Mon, 01 Jan 0001 00:00:00 GMT" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        stored_as(200, NULL, true);
        says("Last-Modified", DATE_10_DAYS_BEFORE);
        says("Expires", rows[i]);
        EXPECT_REASON(stored(), CACHE_REASON_NONE);
        cr_expect_eq(policy.lifetime_s, 0, "%s", rows[i]);
        cr_expect_not(policy.heuristic);
        cr_expect_eq(used(0), CACHE_USE_VALIDATE);
    }
}

Test(rules_4_2_1, two_expires_that_differ_are_stale_and_two_alike_are_one)
{
    stored_as(200, NULL, true);
    says("Expires", DATE_HOUR_AFTER);
    says("Expires", DATE_HOUR_AFTER);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 3600);
    says("Expires", DATE_10_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 0);
}

Test(rules_4_2_1, malformed_or_differing_max_age_is_stale_whatever_expires_says)
{
    static const char *const rows[] = { "max-age=x", "max-age=-1", "max-age=1.5", "max-age", "max-age=5, max-age=6" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        stored_as(200, rows[i], true);
        says("Expires", DATE_HOUR_AFTER);
        EXPECT_REASON(stored(), CACHE_REASON_NONE);
        cr_expect_eq(policy.lifetime_s, 0, "%s", rows[i]);
    }
}

Test(rules_1_2_2, seconds_too_many_are_two_to_the_31)
{
    EXPECT_REASON(stored_as(200, "max-age=999999999999", false), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, CACHE_SECONDS_MAX);
    cr_expect_eq(used(CACHE_SECONDS_MAX - 1), CACHE_USE_FRESH);
    cr_expect_eq(used(CACHE_SECONDS_MAX), CACHE_USE_VALIDATE);
    cr_expect_eq(used(INT64_C(1) << 40), CACHE_USE_VALIDATE);
    cr_expect_eq(cache_age(&policy, INT64_MAX), CACHE_SECONDS_MAX);
    stored_as(200, NULL, true);
    says("Expires", "Fri, 31 Dec 9999 23:59:59 GMT");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, CACHE_SECONDS_MAX);
}

Test(rules_4_2_2, a_tenth_of_the_time_since_last_modified_and_a_day_at_most)
{
    stored_as(200, NULL, false);
    says("Last-Modified", DATE_10_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 86400);
    says_nothing();
    says("Last-Modified", DATE_MINUTE_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 6);
    cr_expect(policy.heuristic);
    cr_expect_eq(policy.modified_s, NOW - 60);
    says_nothing();
    says("Last-Modified", DATE_100_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 86400);
}

Test(rules_4_2_2, no_guess_beside_an_explicit_lifetime_or_for_other_statuses)
{
    stored_as(200, "max-age=0", true);
    says("Last-Modified", DATE_10_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 0);
    cr_expect_not(policy.heuristic);
    stored_as(302, NULL, true);
    says("Last-Modified", DATE_10_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
    says("Cache-Control", "public");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect(policy.heuristic);
}

Test(rules_4_2_2, no_guess_from_a_date_to_come_or_when_the_rule_says_no)
{
    stored_as(200, NULL, false);
    says("Last-Modified", DATE_HOUR_AFTER);
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
    says_nothing();
    says("Last-Modified", "yesterday");
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
    says_nothing();
    says("Last-Modified", DATE_10_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    rule.heuristic = false;
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
    rule.default_ttl_s = 7;
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 7);
    cr_expect_not(policy.heuristic);
}

Test(rules_lifetime, without_one_only_what_can_be_of_use_is_stored)
{
    EXPECT_REASON(stored_as(200, NULL, true), CACHE_REASON_LIFETIME);
    EXPECT_REASON(stored_as(200, "no-cache", true), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "no-cache", false), CACHE_REASON_LIFETIME);
    EXPECT_REASON(stored_as(200, "no-cache, max-age=60", false), CACHE_REASON_LIFETIME);
    EXPECT_REASON(stored_as(200, "max-age=0", true), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "max-age=0", false), CACHE_REASON_LIFETIME);
    EXPECT_REASON(stored_as(200, "max-age=0, stale-while-revalidate=5", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "max-age=0, stale-if-error=5", false), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(200, "max-age=0, stale-if-error=5, must-revalidate", false), CACHE_REASON_LIFETIME);
    stored_as(200, "max-age=60", false);
    says("Age", "60");
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
    says("Last-Modified", DATE_10_DAYS_BEFORE);
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    stored_as(200, "max-age=0", false);
    says("ETag", "");
    EXPECT_REASON(stored(), CACHE_REASON_LIFETIME);
}

Test(rules_ttl, the_rules_lifetimes_stand_before_the_responses)
{
    static const struct cache_ttl ttls[] = { { 404, 404, 5 }, { 400, 499, 0 }, { 200, 599, 60 } };
    rule.ttls = ttls;
    rule.ttl_count = 3;
    EXPECT_REASON(stored_as(404, "max-age=1000", false), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 5);
    EXPECT_REASON(stored_as(403, "max-age=1000", false), CACHE_REASON_TTL);
    EXPECT_REASON(stored_as(500, NULL, false), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 60);
    EXPECT_REASON(stored_as(200, "no-cache, max-age=0", false), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 60);
    cr_expect_eq(used(59), CACHE_USE_FRESH);
    cr_expect_eq(used(60), CACHE_USE_VALIDATE);
    says("Age", "1000");
    EXPECT_REASON(stored(), CACHE_REASON_NONE);
    cr_expect_eq(used(59), CACHE_USE_FRESH);
    cr_expect_eq(cache_age(&policy, NOW + 59), 1059);
}

/* Age -------------------------------------------------------------------------------------------------------------- */

Test(rules_4_2_3, age_is_the_larger_of_what_was_said_and_what_can_be_seen)
{
    stored_as(200, "max-age=1000", false);
    EXPECT_REASON(stored_after(7), CACHE_REASON_NONE);
    cr_expect_eq(policy.age_s, 7, "the time it took");
    says("Age", "100");
    EXPECT_REASON(stored_after(7), CACHE_REASON_NONE);
    cr_expect_eq(policy.age_s, 107);
    says("Date", DATE_MINUTE_BEFORE);
    EXPECT_REASON(stored_after(7), CACHE_REASON_NONE);
    cr_expect_eq(policy.age_s, 107);
    says_nothing();
    says("Cache-Control", "max-age=1000");
    says("Age", "10");
    says("Date", DATE_MINUTE_BEFORE);
    EXPECT_REASON(stored_after(7), CACHE_REASON_NONE);
    cr_expect_eq(policy.age_s, 60);
    cr_expect_eq(cache_age(&policy, NOW + 30), 90);
    cr_expect_eq(cache_age(&policy, NOW - 30), 60, "a clock that went back makes nothing younger");
}

Test(rules_4_2_3, a_date_to_come_or_none_at_all_is_no_age)
{
    static const char *const rows[] = { DATE_HOUR_AFTER, "today", "" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        stored_as(200, "max-age=1000", false);
        says("Date", rows[i]);
        EXPECT_REASON(stored(), CACHE_REASON_NONE);
        cr_expect_eq(policy.age_s, 0);
    }
    cr_expect_eq(policy.date_s, NOW, "RFC 9110 6.6.1: when it was received");
    stored_as(200, "max-age=1000", false);
    EXPECT_REASON(stored_after(-5), CACHE_REASON_NONE);
    cr_expect_eq(policy.age_s, 0);
}

Test(rules_5_1, of_a_list_of_ages_the_first_counts_and_what_is_none_is_ignored)
{
    static const struct {
        const char *age;
        uint32_t seconds;
    } rows[] = { { "100", 100 },  { "100, 5", 100 }, { "100 ,x", 100 },
                 { "x, 100", 0 }, { "-5", 0 },       { "", 0 },
                 { ",5", 0 },     { "5.0", 0 },      { "99999999999", CACHE_SECONDS_MAX } };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        stored_as(200, "max-age=1000", true);
        says("Age", rows[i].age);
        says("Age", "7");
        EXPECT_REASON(stored(), CACHE_REASON_NONE);
        cr_expect_eq(policy.age_s, rows[i].seconds, "%s", rows[i].age);
    }
}

/* A 206 that the cache asked for itself ---------------------------------------------------------------------------- */

static enum cache_reason part_stored(void)
{
    policy = (struct cache_policy){ .lifetime_s = 12345 };
    return cache_store_reason_of_part(&rule, &request, &response, NOW, NOW, &policy);
}

Test(rules_part, is_judged_as_the_200_that_it_is_a_part_of)
{
    static const struct cache_ttl ttls[] = { { 200, 200, 77 } };
    EXPECT_REASON(stored_as(206, "max-age=60", true), CACHE_REASON_RANGE);
    EXPECT_REASON(part_stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 60);
    rule.ttls = ttls;
    rule.ttl_count = 1;
    EXPECT_REASON(part_stored(), CACHE_REASON_NONE);
    cr_expect_eq(policy.lifetime_s, 77);
}

Test(rules_part, what_is_said_counts)
{
    EXPECT_REASON(stored_as(206, "no-store", true), CACHE_REASON_RANGE);
    EXPECT_REASON(part_stored(), CACHE_REASON_NO_STORE);
    stored_as(206, "private", true);
    EXPECT_REASON(part_stored(), CACHE_REASON_PRIVATE);
    stored_as(206, "max-age=60", true);
    says("Set-Cookie", "a=b");
    EXPECT_REASON(part_stored(), CACHE_REASON_SET_COOKIE);
}

Test(rules_part, other_statuses_are_what_they_are)
{
    EXPECT_REASON(stored_as(416, "max-age=60", true), CACHE_REASON_RANGE);
    EXPECT_REASON(part_stored(), CACHE_REASON_RANGE);
    EXPECT_REASON(stored_as(404, "max-age=60", false), CACHE_REASON_NONE);
    EXPECT_REASON(part_stored(), CACHE_REASON_NONE);
    EXPECT_REASON(stored_as(401, "max-age=60", false), CACHE_REASON_STATUS);
    EXPECT_REASON(part_stored(), CACHE_REASON_STATUS);
}

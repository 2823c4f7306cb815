/* A rule, a request, a response and what came of them, for tests that say in one line what was said and asked. */
#ifndef WEIR_TESTS_RULES_FIXTURE_H
#define WEIR_TESTS_RULES_FIXTURE_H

#include "cache/rules.h"

#include <criterion/criterion.h>

#define NOW INT64_C(1735689600) /* Wed, 01 Jan 2025 00:00:00 GMT */
#define DATE_NOW "Wed, 01 Jan 2025 00:00:00 GMT"
#define DATE_MINUTE_BEFORE "Tue, 31 Dec 2024 23:59:00 GMT"
#define DATE_HOUR_AFTER "Wed, 01 Jan 2025 01:00:00 GMT"
#define DATE_10_DAYS_BEFORE "Sun, 22 Dec 2024 00:00:00 GMT"
#define DATE_100_DAYS_BEFORE "Mon, 23 Sep 2024 00:00:00 GMT"

static struct cache_rule rule = { .on = true, .heuristic = true, .object_bytes_max = 1000 };
static struct request request = { .method = METHOD_GET };
static struct response response = { .status = 200 };
static struct cache_policy policy;

/* Fields of the response, of the request. */
static inline void says(const char *name, const char *value)
{
    cr_assert_eq(fields_add(&response.fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
}

static inline void asks(const char *name, const char *value)
{
    cr_assert_eq(fields_add(&request.fields, slice_of_text(name), slice_of_text(value)), ERR_OK);
}

static inline void says_nothing(void)
{
    response.fields.count = 0;
    response.fields.present = 0;
}

static inline void asks_nothing(void)
{
    request.fields.count = 0;
    request.fields.present = 0;
}

static inline enum cache_reason stored_after(int64_t delay_s)
{
    policy = (struct cache_policy){ .lifetime_s = 12345 };
    return cache_store_reason(&rule, &request, &response, NOW - delay_s, NOW, &policy);
}

static inline enum cache_reason stored(void)
{
    return stored_after(0);
}

/* A response with that status, Cache-Control (NULL: none) and, if wanted, an ETag. */
static inline enum cache_reason stored_as(uint16_t status, const char *control, bool validator)
{
    says_nothing();
    response.status = status;
    if (control)
        says("Cache-Control", control);
    if (validator)
        says("ETag", "\"1\"");
    return stored();
}

#define EXPECT_REASON(call, reason)                                         \
    do {                                                                    \
        enum cache_reason was = (call);                                     \
        cr_expect_eq(was, reason, "%s: %s", #call, cache_reason_word(was)); \
    } while (0)

static inline enum cache_use used(int64_t after_s)
{
    return cache_use_of(&rule, &policy, &request, NOW + after_s);
}

static inline bool used_on_error(int64_t after_s)
{
    return cache_use_on_error(&rule, &policy, &request, NOW + after_s);
}

static inline enum cache_use used_as_asked(const char *control, int64_t after_s)
{
    asks_nothing();
    asks("Cache-Control", control);
    enum cache_use use = used(after_s);
    asks_nothing();
    return use;
}

#endif

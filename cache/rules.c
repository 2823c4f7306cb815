/*
 * The order of the questions is that of RFC 9111: section 3 (may it be stored), 4.2 (how long is it fresh), 4.2.3 (how old is it), 4 and 5.2.1 (may it
 * be used now), 3.1 and 3.2 (which fields are stored and updated). The header says what was chosen where the RFC leaves a choice.
 */
#include "cache/rules.h"

#include "proto/http_date.h"

#define BIT(id) (1ull << (id))
#define HEURISTIC_SECONDS_MAX 86400

static const char *const reason_words[CACHE_REASONS] = {
#define CACHE_REASON_AS_WORD(id, word) [id] = word,
    CACHE_REASON_ROWS(CACHE_REASON_AS_WORD)
};

const char *cache_reason_word(enum cache_reason reason)
{
    return reason_words[reason];
}

static uint32_t seconds_at_most(int64_t seconds)
{
    if (seconds < 0)
        return 0;
    return seconds > CACHE_SECONDS_MAX ? CACHE_SECONDS_MAX : (uint32_t)seconds;
}

/* Statuses ----------------------------------------------------------------------------------------------------- */

#define HEURISTIC 1u  /* RFC 9110 15.1, RFC 7725 3 */
#define UNDERSTOOD 2u /* RFC 9111 5.2.2.3 */
#define NEVER 4u      /* it speaks of one message, not of the resource */

struct status_row {
    uint16_t status;
    uint16_t kind;
};
/* clang-format off */
static const struct status_row statuses[] = {
    { 200, HEURISTIC | UNDERSTOOD }, { 203, HEURISTIC | UNDERSTOOD }, { 204, HEURISTIC | UNDERSTOOD },
    { 300, HEURISTIC | UNDERSTOOD }, { 301, HEURISTIC | UNDERSTOOD }, { 302, UNDERSTOOD }, { 303, UNDERSTOOD },
    { 307, UNDERSTOOD }, { 308, HEURISTIC | UNDERSTOOD }, { 403, UNDERSTOOD }, { 404, HEURISTIC | UNDERSTOOD },
    { 405, HEURISTIC | UNDERSTOOD }, { 410, HEURISTIC | UNDERSTOOD }, { 414, HEURISTIC | UNDERSTOOD },
    { 451, HEURISTIC | UNDERSTOOD }, { 500, UNDERSTOOD }, { 501, HEURISTIC | UNDERSTOOD }, { 502, UNDERSTOOD },
    { 503, UNDERSTOOD }, { 504, UNDERSTOOD },
    { 304, NEVER }, { 400, NEVER }, { 401, NEVER }, { 406, NEVER }, { 407, NEVER }, { 408, NEVER }, { 411, NEVER }, { 412, NEVER },
    { 413, NEVER }, { 415, NEVER }, { 417, NEVER }, { 421, NEVER }, { 422, NEVER }, { 425, NEVER }, { 426, NEVER },
    { 428, NEVER }, { 429, NEVER }, { 431, NEVER }, { 505, NEVER }, { 511, NEVER },
};
/* clang-format on */

static unsigned status_kind(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LENGTH(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].kind;
    return status < 200 ? NEVER : 0;
}

/* Requests ----------------------------------------------------------------------------------------------------- */

static bool cookie_bypasses(const struct cache_rule *rule, struct slice name)
{
    for (uint32_t i = 0; i < rule->bypass_cookie_count; i++)
        if (slice_glob(rule->bypass_cookies[i], name))
            return true;
    return false;
}

static bool cookies_bypass(const struct cache_rule *rule, struct slice value)
{
    while (value.length) {
        const char *semicolon = memchr(value.at, ';', value.length);
        size_t length = semicolon ? (size_t)(semicolon - value.at) : value.length,
               used = semicolon ? length + 1 : length;
        const char *equals = length ? memchr(value.at, '=', length) : NULL;
        if (equals && cookie_bypasses(rule, slice_trim(slice_of(value.at, (size_t)(equals - value.at)))))
            return true;
        value = slice_of(value.at + used, value.length - used);
    }
    return false;
}

static bool is_bypassed(const struct cache_rule *rule, const struct fields *fields)
{
    for (uint32_t i = 0; i < rule->bypass_field_count; i++)
        if (fields_find_name(fields, rule->bypass_fields[i]))
            return true;
    if (!rule->bypass_cookie_count || !fields_have(fields, FIELD_COOKIE))
        return false;
    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == FIELD_COOKIE && cookies_bypass(rule, field_value(&fields->list[i])))
            return true;
    return false;
}

static bool request_has(const struct request *request, enum cache_directive directive)
{
    struct cache_control control;
    if (likely(!fields_have(&request->fields, FIELD_CACHE_CONTROL)))
        return false;
    cache_control_read(&control, &request->fields);
    return cache_control_has(&control, directive);
}

enum cache_reason cache_request_reason(const struct cache_rule *rule, const struct request *request)
{
    if (request->method != METHOD_GET && request->method != METHOD_HEAD)
        return CACHE_REASON_METHOD;
    if (!rule->on || request->upgrade || is_bypassed(rule, &request->fields))
        return CACHE_REASON_BYPASS;
    if (request->framing != FRAMING_NONE && !(request->framing == FRAMING_LENGTH && request->content_length == 0))
        return CACHE_REASON_CONTENT;
    if (rule->client_no_cache && request_has(request, DIRECTIVE_NO_STORE)) /* RFC 9111 5.2.1.5 */
        return CACHE_REASON_NO_STORE;
    return CACHE_REASON_NONE;
}

bool cache_only_if_cached(const struct cache_rule *rule, const struct request *request)
{
    return rule->on && request_has(request, DIRECTIVE_ONLY_IF_CACHED);
}

/* Freshness (RFC 9111 4.2) --------------------------------------------------------------------------------------- */

/* What a response says of caching, read once. */
struct words {
    const struct response *response;
    struct cache_control control;
    enum field_id governs;       /* which field `control` is of */
    unsigned kind;               /* of the status */
    const struct cache_ttl *ttl; /* of the rule; NULL: none */
    bool explicit;               /* it says itself how long it is fresh */
};

static const struct cache_ttl *ttl_of(const struct cache_rule *rule, unsigned status)
{
    for (uint32_t i = 0; i < rule->ttl_count; i++)
        if (status >= rule->ttls[i].low && status <= rule->ttls[i].high)
            return &rule->ttls[i];
    return NULL;
}

/* The first of that name; -1: none, none that can be read, or one before 1970. */
static int64_t date_of(const struct fields *fields, enum field_id id, int64_t now_s)
{
    const struct field *field = fields_find(fields, id);
    int64_t seconds;
    if (!field || http_date_parse(field_value(field), now_s, &seconds) != ERR_OK || seconds < 0)
        return -1;
    return seconds;
}

/* 5.1: of a list the first member, and what is no number is ignored. */
static uint32_t age_value(const struct fields *fields)
{
    const struct field *field = fields_find(fields, FIELD_AGE);
    uint32_t seconds = 0;
    if (!field)
        return 0;
    struct slice first = field_value(field);
    const char *comma = first.length ? memchr(first.at, ',', first.length) : NULL;
    if (comma)
        first = slice_trim(slice_of(first.at, (size_t)(comma - first.at)));
    return cache_control_seconds(first, &seconds) ? seconds : 0;
}

/* 4.2.3: corrected_initial_age. The larger of the two that can be known: a clock that is behind may not make a response younger. */
static uint32_t initial_age(const struct fields *fields, int64_t date_s, int64_t sent_s, int64_t received_s)
{
    int64_t delay = received_s > sent_s ? received_s - sent_s : 0;
    int64_t corrected = (int64_t)age_value(fields) + delay, apparent = received_s - date_s;
    return seconds_at_most(corrected > apparent ? corrected : apparent);
}

/* 5.3, 4.2.1: what is no date is in the past, and so are two that differ. */
static uint32_t expires_lifetime(const struct fields *fields, const struct cache_policy *policy)
{
    const struct field *first = fields_find(fields, FIELD_EXPIRES);
    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == FIELD_EXPIRES && !slice_equal(field_value(&fields->list[i]), field_value(first)))
            return 0;
    int64_t expires_s = date_of(fields, FIELD_EXPIRES, policy->received_s);
    return expires_s < 0 ? 0 : seconds_at_most(expires_s - policy->date_s);
}

/* 4.2.1. False: the response does not say. */
static bool said_lifetime(const struct words *words, const struct cache_policy *policy, uint32_t *lifetime_s)
{
    const struct cache_control *control = &words->control;
    if (cache_control_has(control, DIRECTIVE_S_MAXAGE))
        *lifetime_s = control->seconds[DIRECTIVE_S_MAXAGE];
    else if (cache_control_has(control, DIRECTIVE_MAX_AGE))
        *lifetime_s = control->seconds[DIRECTIVE_MAX_AGE];
    else if (words->governs == FIELD_CACHE_CONTROL && fields_have(&words->response->fields, FIELD_EXPIRES))
        *lifetime_s = expires_lifetime(&words->response->fields, policy);
    else
        return false;
    return true;
}

/* A lifetime that the rule gives begins when the response came. */
static uint32_t rule_lifetime(uint32_t seconds, const struct cache_policy *policy)
{
    return seconds_at_most((int64_t)seconds + policy->age_s);
}

/* False: there is none. 3: without a word of the response, only those that are heuristically cacheable or public may be stored. */
static bool find_lifetime(const struct cache_rule *rule, struct words *words, struct cache_policy *policy)
{
    bool may_guess = words->kind & HEURISTIC || cache_control_has(&words->control, DIRECTIVE_PUBLIC);
    words->explicit = said_lifetime(words, policy, &policy->lifetime_s);
    if (words->ttl)
        policy->lifetime_s = rule_lifetime(words->ttl->seconds, policy);
    else if (words->explicit)
        return true;
    else if (may_guess && rule->heuristic && policy->modified_s >= 0 && policy->modified_s < policy->date_s) {
        uint32_t tenth = seconds_at_most((policy->date_s - policy->modified_s) / 10);
        policy->heuristic = true;
        policy->lifetime_s = tenth < HEURISTIC_SECONDS_MAX ? tenth : HEURISTIC_SECONDS_MAX;
    } else if (may_guess && rule->default_ttl_s)
        policy->lifetime_s = rule_lifetime(rule->default_ttl_s, policy);
    else
        return may_guess && policy->validate_always;
    return true;
}

static uint32_t window(const struct words *words, enum cache_directive directive, uint32_t of_rule)
{
    return cache_control_has(&words->control, directive) ? words->control.seconds[directive] : seconds_at_most(of_rule);
}

static void find_windows(const struct cache_rule *rule, const struct words *words, struct cache_policy *policy)
{
    const uint32_t never_stale =
        1u << DIRECTIVE_MUST_REVALIDATE | 1u << DIRECTIVE_PROXY_REVALIDATE | 1u << DIRECTIVE_S_MAXAGE;
    policy->must_revalidate = words->control.has & never_stale;
    policy->validate_always = cache_control_has(&words->control, DIRECTIVE_NO_CACHE) && !words->ttl;
    policy->immutable = cache_control_has(&words->control, DIRECTIVE_IMMUTABLE);
    if (policy->must_revalidate || policy->validate_always)
        return;
    policy->stale_while_revalidate_s = window(words, DIRECTIVE_STALE_WHILE_REVALIDATE, rule->stale_while_revalidate_s);
    policy->stale_if_error_s = window(words, DIRECTIVE_STALE_IF_ERROR, rule->stale_if_error_s);
}

/* Is it of use for anything: to answer with, to validate, to stand in? */
static enum cache_reason lifetime_reason(const struct cache_rule *rule, struct words *words, int64_t sent_s,
                                         struct cache_policy *policy)
{
    const struct fields *fields = &words->response->fields;
    int64_t date_s = date_of(fields, FIELD_DATE, policy->received_s);
    policy->date_s = date_s < 0 ? policy->received_s : date_s;
    policy->modified_s = date_of(fields, FIELD_LAST_MODIFIED, policy->received_s);
    policy->age_s = initial_age(fields, policy->date_s, sent_s, policy->received_s);
    find_windows(rule, words, policy);
    if (words->ttl && words->ttl->seconds == 0)
        return CACHE_REASON_TTL;
    if (!find_lifetime(rule, words, policy))
        return CACHE_REASON_LIFETIME;
    const struct field *etag = fields_find(fields, FIELD_ETAG);
    bool validator = (etag && etag->value_length) || policy->modified_s >= 0;
    bool fresh = policy->lifetime_s > policy->age_s && !policy->validate_always;
    return fresh || validator || policy->stale_while_revalidate_s || policy->stale_if_error_s ? CACHE_REASON_NONE
                                                                                              : CACHE_REASON_LIFETIME;
}

/* Storing (RFC 9111 3) --------------------------------------------------------------------------------------------- */

static enum cache_reason status_reason_of(const struct words *words, unsigned status)
{
    if (status == 206 || status == 416)
        return CACHE_REASON_RANGE;
    return words->response->interim || words->kind & NEVER ? CACHE_REASON_STATUS : CACHE_REASON_NONE;
}

/* 5.2.2.3, 5.2.2.5, 5.2.2.7, 3.5 */
static enum cache_reason directive_reason(const struct words *words, const struct request *request)
{
    const uint32_t shares = 1u << DIRECTIVE_MUST_REVALIDATE | 1u << DIRECTIVE_PUBLIC | 1u << DIRECTIVE_S_MAXAGE;
    bool must_understand = cache_control_has(&words->control, DIRECTIVE_MUST_UNDERSTAND);
    if (must_understand && !(words->kind & UNDERSTOOD))
        return CACHE_REASON_UNDERSTAND;
    if (!must_understand && cache_control_has(&words->control, DIRECTIVE_NO_STORE))
        return CACHE_REASON_NO_STORE;
    if (cache_control_has(&words->control, DIRECTIVE_PRIVATE))
        return CACHE_REASON_PRIVATE;
    if (fields_have(&request->fields, FIELD_AUTHORIZATION) && !(words->control.has & shares))
        return CACHE_REASON_AUTHORIZATION;
    return CACHE_REASON_NONE;
}

static bool is_named(const struct cache_control *control, enum field_id governs, const struct fields *fields,
                     struct slice name)
{
    static const enum cache_directive naming[] = { DIRECTIVE_PRIVATE, DIRECTIVE_NO_CACHE };
    for (size_t i = 0; i < ARRAY_LENGTH(naming); i++)
        if (control->named >> naming[i] & 1 && cache_control_names(fields, governs, naming[i], name))
            return true;
    return false;
}

/* 4.1: a member "*" */
static bool varies_by_all(const struct fields *fields)
{
    if (!fields_have(fields, FIELD_VARY))
        return false;
    for (unsigned i = 0; i < fields->count; i++) {
        struct slice rest = field_value(&fields->list[i]), member;
        while (fields->list[i].id == FIELD_VARY && slice_next_element(&rest, &member))
            if (slice_equal(member, SLICE("*")))
                return true;
    }
    return false;
}

static enum cache_reason content_reason(const struct cache_rule *rule, const struct words *words)
{
    const struct response *response = words->response;
    if (fields_have(&response->fields, FIELD_SET_COOKIE) && !rule->store_set_cookie &&
        !is_named(&words->control, words->governs, &response->fields, SLICE("set-cookie")))
        return CACHE_REASON_SET_COOKIE;
    if (varies_by_all(&response->fields))
        return CACHE_REASON_VARY;
    return response->framing == FRAMING_LENGTH && response->content_length > rule->object_bytes_max ? CACHE_REASON_LARGE
                                                                                                    : CACHE_REASON_NONE;
}

/* status: the one that it is judged by. */
static enum cache_reason judge(const struct cache_rule *rule, const struct request *request,
                               const struct response *response, unsigned status, int64_t sent_s, int64_t received_s,
                               struct cache_policy *policy)
{
    enum cache_reason reason = cache_request_reason(rule, request);
    struct words words = { .response = response, .kind = status_kind(status), .ttl = ttl_of(rule, status) };
    struct cache_policy found = { .received_s = received_s };
    if (reason == CACHE_REASON_NONE)
        reason = status_reason_of(&words, status);
    if (reason != CACHE_REASON_NONE)
        return reason;
    words.governs = cache_control_select(&words.control, &response->fields);
    reason = directive_reason(&words, request);
    if (reason == CACHE_REASON_NONE)
        reason = content_reason(rule, &words);
    if (reason == CACHE_REASON_NONE)
        reason = lifetime_reason(rule, &words, sent_s, &found);
    if (reason == CACHE_REASON_NONE)
        *policy = found;
    return reason;
}

enum cache_reason cache_store_reason(const struct cache_rule *rule, const struct request *request,
                                     const struct response *response, int64_t sent_s, int64_t received_s,
                                     struct cache_policy *policy)
{
    return judge(rule, request, response, response->status, sent_s, received_s, policy);
}

enum cache_reason cache_store_reason_of_part(const struct cache_rule *rule, const struct request *request,
                                             const struct response *response, int64_t sent_s, int64_t received_s,
                                             struct cache_policy *policy)
{
    return judge(rule, request, response, response->status == 206 ? 200 : response->status, sent_s, received_s, policy);
}

/* Using (RFC 9111 4) ----------------------------------------------------------------------------------------------- */

uint32_t cache_age(const struct cache_policy *policy, int64_t now_s)
{
    int64_t resident = now_s > policy->received_s ? now_s - policy->received_s : 0;
    return seconds_at_most(resident + policy->age_s);
}

/* For how long it has been stale; negative: it is fresh. */
static inline int64_t staleness_at(const struct cache_policy *policy, int64_t now_s)
{
    return (int64_t)cache_age(policy, now_s) - policy->lifetime_s;
}

static inline enum cache_use use_without_wishes(const struct cache_policy *policy, int64_t staleness)
{
    if (likely(staleness < 0))
        return CACHE_USE_FRESH;
    return staleness < policy->stale_while_revalidate_s ? CACHE_USE_REVALIDATE : CACHE_USE_VALIDATE;
}

/* 5.2.1.2 */
static bool allows_stale(const struct cache_control *control, int64_t staleness)
{
    if (!cache_control_has(control, DIRECTIVE_MAX_STALE))
        return false;
    uint32_t most = control->seconds[DIRECTIVE_MAX_STALE];
    return most == CACHE_SECONDS_ANY || staleness <= most;
}

/* 5.2.1.1, 5.2.1.3, 5.2.1.4. RFC 8246 2: while it is fresh, an immutable one is no better for being asked for anew by max-age. */
static bool wants_validation(const struct cache_control *control, const struct cache_policy *policy, int64_t staleness)
{
    int64_t age = staleness + policy->lifetime_s;
    if (cache_control_has(control, DIRECTIVE_NO_CACHE))
        return true;
    if (cache_control_has(control, DIRECTIVE_MIN_FRESH) && -staleness < control->seconds[DIRECTIVE_MIN_FRESH])
        return true;
    if (!cache_control_has(control, DIRECTIVE_MAX_AGE) || (policy->immutable && staleness < 0))
        return false;
    return age > control->seconds[DIRECTIVE_MAX_AGE] ||
           (staleness >= 0 && !cache_control_has(control, DIRECTIVE_MAX_STALE));
}

static cold_function enum cache_use use_with_wishes(const struct cache_rule *rule, const struct cache_policy *policy,
                                                    const struct request *request, int64_t staleness)
{
    struct cache_control control;
    cache_control_read_request(&control, &request->fields);
    if (rule->client_no_cache && wants_validation(&control, policy, staleness))
        return CACHE_USE_VALIDATE;
    enum cache_use use = use_without_wishes(policy, staleness);
    return use == CACHE_USE_VALIDATE && !policy->must_revalidate && allows_stale(&control, staleness) ? CACHE_USE_STALE
                                                                                                      : use;
}

hot_function enum cache_use cache_use_of(const struct cache_rule *rule, const struct cache_policy *policy,
                                         const struct request *request, int64_t now_s)
{
    int64_t staleness = staleness_at(policy, now_s);
    if (policy->validate_always)
        return CACHE_USE_VALIDATE;
    if (likely(!(request->fields.present & (BIT(FIELD_CACHE_CONTROL) | BIT(FIELD_PRAGMA)))))
        return use_without_wishes(policy, staleness);
    return use_with_wishes(rule, policy, request, staleness);
}

enum cache_use cache_use_purged(const struct cache_policy *policy, enum cache_use use)
{
    return use != CACHE_USE_VALIDATE && policy->stale_while_revalidate_s ? CACHE_USE_REVALIDATE : CACHE_USE_VALIDATE;
}

bool cache_use_on_error(const struct cache_rule *rule, const struct cache_policy *policy, const struct request *request,
                        int64_t now_s)
{
    struct cache_control control;
    int64_t staleness = staleness_at(policy, now_s);
    cache_control_read_request(&control, &request->fields);
    if (policy->validate_always || (rule->client_no_cache && cache_control_has(&control, DIRECTIVE_NO_CACHE)))
        return false;
    if (staleness < 0)
        return true;
    if (policy->must_revalidate)
        return false;
    if (cache_control_has(&control, DIRECTIVE_STALE_IF_ERROR) && staleness < control.seconds[DIRECTIVE_STALE_IF_ERROR])
        return true;
    return staleness < policy->stale_if_error_s || allows_stale(&control, staleness);
}

/* Fields (RFC 9111 3.1, 3.2) --------------------------------------------------------------------------------------- */

static bool ends_in(const char *from, const char *to, struct slice word)
{
    return (size_t)(to - from) >= word.length && slice_equal_nocase(slice_of(to - word.length, word.length), word);
}

/* Cheap, since it is asked for every field: may a directive with names stand there at all? */
static bool may_name(const struct fields *fields)
{
    const uint64_t governing = BIT(FIELD_CACHE_CONTROL) | BIT(FIELD_CDN_CACHE_CONTROL) | BIT(FIELD_SURROGATE_CONTROL);
    for (unsigned i = 0; fields->present & governing && i < fields->count; i++) {
        if (!(governing >> fields->list[i].id & 1))
            continue;
        const char *from = fields->list[i].value, *end = from + fields->list[i].value_length, *at = from;
        while (at < end && (at = memchr(at, '=', (size_t)(end - at)))) {
            if (ends_in(from, at, SLICE("private")) || ends_in(from, at, SLICE("no-cache")))
                return true;
            at++;
        }
    }
    return false;
}

bool cache_field_is_dropped(const struct cache_rule *rule, const struct response *response, const struct field *field)
{
    (void)rule;
    const uint64_t never = BIT(FIELD_SET_COOKIE) | BIT(FIELD_AGE) | BIT(FIELD_TRAILER);
    struct slice name = field_name(field);
    struct cache_control control;
    if (field->flags & FIELD_HOP_BY_HOP || never >> field->id & 1)
        return true;
    if (field->id == FIELD_OTHER && slice_equal_nocase(name, SLICE("proxy-authentication-info")))
        return true;
    if (likely(!may_name(&response->fields)))
        return false;
    enum field_id governs = cache_control_select(&control, &response->fields);
    return is_named(&control, governs, &response->fields, name);
}

bool cache_field_updates(const struct cache_rule *rule, const struct response *response, const struct field *field)
{
    const uint64_t of_content = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_CONTENT_ENCODING) | BIT(FIELD_CONTENT_TYPE) |
                                BIT(FIELD_CONTENT_RANGE) | BIT(FIELD_CONTENT_MD5) | BIT(FIELD_DIGEST) |
                                BIT(FIELD_CONTENT_DIGEST) | BIT(FIELD_REPR_DIGEST);
    return !(of_content >> field->id & 1) && !cache_field_is_dropped(rule, response, field);
}

/* Whether it is the same one (4.3.4, 4.3.5) ---------------------------------------------------------------------- */

static struct slice opaque_tag(struct slice etag, bool *weak)
{
    *weak = slice_starts(etag, SLICE("W/"));
    return *weak ? slice_of(etag.at + 2, etag.length - 2) : etag;
}

static bool same_but_for_weakness(struct slice etag, struct slice other)
{
    bool weak;
    return slice_equal(opaque_tag(etag, &weak), opaque_tag(other, &weak));
}

/* The validator is strong unless it says W/: then a weak one of the same tag is another (RFC 9110 8.8.3.2). */
static bool same_tag(struct slice validator, struct slice etag)
{
    bool weak, other_weak;
    struct slice tag = opaque_tag(validator, &weak), other = opaque_tag(etag, &other_weak);
    return slice_equal(tag, other) && (weak || !other_weak);
}

static bool same_date(const struct cache_policy *policy, const struct fields *fields)
{
    return !fields_have(fields, FIELD_LAST_MODIFIED) ||
           date_of(fields, FIELD_LAST_MODIFIED, policy->received_s) == policy->modified_s;
}

bool cache_freshens(const struct cache_policy *policy, struct slice etag, const struct response *response)
{
    const struct field *validator = fields_find(&response->fields, FIELD_ETAG);
    if (validator && policy->coded)
        return same_but_for_weakness(field_value(validator), etag);
    return validator ? same_tag(field_value(validator), etag) : same_date(policy, &response->fields);
}

bool cache_head_agrees(const struct cache_policy *policy, struct slice etag, uint64_t content_length,
                       const struct response *response)
{
    const struct field *validator = fields_find(&response->fields, FIELD_ETAG);
    struct slice theirs = validator ? field_value(validator) : SLICE_NONE;
    if (policy->coded)
        return same_but_for_weakness(theirs, etag) && same_date(policy, &response->fields);
    if (response->has_content_length && response->content_length != content_length)
        return false;
    return slice_equal(theirs, etag) && same_date(policy, &response->fields);
}

/* 4.4 */
bool cache_invalidates(const struct request *request, unsigned status)
{
    return status >= 200 && status < 400 && !method_is_safe(request->method);
}

/* The keys of a pool that say what becomes of requests when servers fail or are late, and how clients are brought back. */
#include "engine/config_decode.h"
#include "engine/config_rows.h"
#include "engine/config_rows_make.h"
#include "engine/config_value.h"

/* Retrying -------------------------------------------------------------------------------------------------------- */

static const struct row_word cause_words[] = {
    { "connect", SERVER_CONNECT }, { "closed", SERVER_CLOSED }, { "timeout", SERVER_TIMEOUT }, { "malformed", SERVER_BAD },
    { "404", 404 }, { "429", 429 }, { "500", 500 }, { "502", 502 }, { "503", 503 }, { "504", 504 }, { NULL, 0 },
};
static const struct row retry_rows[] = {
    { .word = "causes", .type = TYPE_WORDS, MEMBER(config_retry, causes), .words = cause_words, .usual = "connect, closed",
      .doc = "Why another server is asked. connect: no connection could be made. closed: it closed before a response. timeout: the first byte did "
             "not come in time. malformed: it answered nonsense. A status: it answered so, and there is another server. All but connect only "
             "where the method is idempotent (RFC 9110 9.2.2); none once content of the request has been sent." },
    { .word = "per-try", .type = TYPE_DURATION, MEMBER(config_retry, per_try_ms), .least = 1, .most = DAY_MS, .usual = "none", .zero = "none",
      .doc = "How long an attempt may take to its first byte while another could follow; needs timeout among the causes. The last one has "
             "timeouts.first-byte." },
    { .word = "budget", .type = TYPE_PERCENT, MEMBER(config_retry, budget.percent), .least = 1, .most = 100, .usual = "20%", .zero = "none",
      .doc = "Retries and hedges at most, as a share of the requests of the last seconds, so that trouble is not multiplied. none: no limit." },
    { .word = "budget-least", .type = TYPE_COUNT, MEMBER(config_retry, budget.per_second), .most = 1000000, .usual = "10",
      .doc = "How many a second are allowed beside the budget, for the whole process." },
};
const struct section section_retry = {
    .noun = "section 'retry'", SECTION(config_retry, retry_rows), .always = true, .finish = finish_retry,
    .doc = "When another server is asked.",
};

/* Hedging --------------------------------------------------------------------------------------------------------- */

static bool hedge_present(const void *target)
{
    return ((const struct config_hedge *)target)->percentile != 0;
}
static const struct row hedge_rows[] = {
    { .word = "percentile", .type = TYPE_COUNT, MEMBER(config_hedge, percentile), .least = 50, .most = 99, .usual = "95",
      .doc = "A response is late when so many of a hundred came sooner, by each worker's last few thousand." },
    { .word = "after", .type = TYPE_DURATION, MEMBER(config_hedge, after_ms), .least = 1, .most = HOUR_MS, .usual = "10ms",
      .doc = "And never sooner than this." },
};
const struct section section_hedge = {
    .noun = "section 'hedge'", SECTION(config_hedge, hedge_rows), .is_present = hedge_present,
    .doc = "Asks a second server when the first is late, and takes whichever answers first; {} suffices. Only idempotent requests without content, "
           "within retry's budget.",
};

/* Limits ---------------------------------------------------------------------------------------------------------- */

static bool breakers_present(const void *target)
{
    const struct config_breakers *breakers = target;
    return breakers->requests_max || breakers->connections_max || breakers->retries_max;
}
static const struct row breaker_rows[] = {
    { .word = "requests", .type = TYPE_COUNT, MEMBER(config_breakers, requests_max), .most = 10000000, .usual = "none", .zero = "none",
      .doc = "Requests at its servers at once. Further ones wait in the queue." },
    { .word = "connections", .type = TYPE_COUNT, MEMBER(config_breakers, connections_max), .most = 10000000, .usual = "none", .zero = "none",
      .doc = "Connections to its servers at once, idle ones included. A request that needs another waits in the queue." },
    { .word = "retries", .type = TYPE_COUNT, MEMBER(config_breakers, retries_max), .most = 10000000, .usual = "none", .zero = "none",
      .doc = "Requests at once that are being retried or hedged. Beyond, the first failure counts." },
};
const struct section section_breakers = {
    .noun = "section 'limits'", SECTION(config_breakers, breaker_rows), .is_present = breakers_present,
    .doc = "What the pool may have at once, for the whole process.",
};

/* Sticky clients -------------------------------------------------------------------------------------------------- */

static bool sticky_present(const void *target)
{
    return ((const struct config_sticky *)target)->cookie.length != 0;
}
static const struct row_word same_site_words[] = { { "lax", SAME_SITE_LAX }, { "strict", SAME_SITE_STRICT }, { "none", SAME_SITE_NONE }, { NULL, 0 } };
static const struct row sticky_rows[] = {
    { .word = "cookie", .type = TYPE_TEXT, MEMBER(config_sticky, cookie), .check = value_check_field_name, .required = true,
      .example = "cookie: edge-server", .doc = "The cookie's name." },
    { .word = "secret", .type = TYPE_TEXT, MEMBER(config_sticky, secret), .check = value_check_file, .usual = "random", .zero = "random",
      .doc = "A file of 16 to 4096 bytes that cookies are signed with: one for a fleet, or to keep cookies good over a restart. random: one for each "
             "start." },
    { .word = "max-age", .type = TYPE_DURATION, MEMBER(config_sticky, max_age_ms), .least = SECOND_MS, .most = 3650 * DAY_MS, .usual = "session",
      .zero = "session", .doc = "How long a browser keeps it. session: until it is closed." },
    { .word = "same-site", .type = TYPE_WORD, MEMBER(config_sticky, same_site), .words = same_site_words, .usual = "lax",
      .doc = "The cookie's SameSite. none needs TLS." },
};
const struct section section_sticky = {
    .noun = "section 'sticky'", SECTION(config_sticky, sticky_rows), .is_present = sticky_present,
    .doc = "Gives each client a cookie that names its server, signed and unreadable, and sends it there as long as that server is usable. "
           "HttpOnly; Secure by TLS.",
};

#include "proto/tls_ocsp.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/tls_context.h"
#include "tests/unit/seed.h"
#include "tests/unit/tls_pems.h"
#include "tests/unit/tls_responses.h"

static char why[256], with_issuer[4096];
static struct tls_response response;

static void setup(void)
{
    cr_assert_eq(tls_library_start(), ERR_OK);
    snprintf(with_issuer, sizeof with_issuer, "%s%s", staple_pem, staple_issuer_pem);
}

static void teardown(void)
{
    tls_library_end();
}

TestSuite(tls_ocsp, .init = setup, .fini = teardown);

static enum err read_with(struct slice der, const char *chain)
{
    return tls_response_read(der, slice_of_text(chain), &response, why);
}

static void refused(struct slice der, const char *chain, enum err e, const char *words)
{
    cr_expect_eq(read_with(der, chain), e, "%s", words);
    cr_expect(strstr(why, words), "\"%s\" has no \"%s\"", why, words);
}

Test(tls_ocsp, reads_status_and_dates)
{
    cr_assert_eq(read_with(DER(good_response), staple_pem), ERR_OK, "%s", why);
    cr_assert_eq(response.status, TLS_STATUS_GOOD);
    cr_assert_eq(response.from, 1577836800);  /* 2020-01-01 */
    cr_assert_eq(response.until, 4733510400); /* 2120-01-01 */
    cr_assert_eq(read_with(DER(brief_response), staple_pem), ERR_OK, "%s", why);
    cr_assert_eq(response.from, 1750000000 - 3 * 86400);
    cr_assert_eq(response.until, 1750000000 + 86400);
    cr_assert_eq(read_with(DER(revoked_response), staple_pem), ERR_OK, "%s", why);
    cr_assert_eq(response.status, TLS_STATUS_REVOKED);
    cr_assert_eq(read_with(DER(unknown_response), staple_pem), ERR_OK, "%s", why);
    cr_assert_eq(response.status, TLS_STATUS_UNKNOWN);
}

Test(tls_ocsp, the_issuer_or_whom_it_appointed_has_signed)
{
    cr_expect_eq(read_with(DER(good_response), with_issuer), ERR_OK, "%s", why);
    cr_expect_eq(read_with(DER(sha256_response), with_issuer), ERR_OK, "%s", why);
    cr_expect_eq(read_with(DER(delegated_response), with_issuer), ERR_OK, "%s", why);
    refused(DER(unappointed_response), with_issuer, ERR_REFUSED, "has signed it");
    refused(DER(forged_response), with_issuer, ERR_REFUSED, "has signed it");
}

Test(tls_ocsp, without_the_issuer_clients_judge_who_has_signed)
{
    cr_expect_eq(read_with(DER(sha256_response), staple_pem), ERR_OK, "%s", why);
    cr_expect_eq(read_with(DER(delegated_response), staple_pem), ERR_OK, "%s", why);
    cr_expect_eq(read_with(DER(forged_response), staple_pem), ERR_OK, "%s", why);
}

Test(tls_ocsp, refuses_what_is_for_another_certificate)
{
    char chain[8192];
    refused(DER(other_response), staple_pem, ERR_REFUSED, "another certificate");
    refused(DER(other_response), with_issuer, ERR_REFUSED, "another certificate");
    refused(DER(good_response), ecdsa_pem, ERR_REFUSED, "another certificate");
    snprintf(chain, sizeof chain, "%s%s", staple_pem, intermediate_pem); /* another issuer's key */
    refused(DER(good_response), chain, ERR_REFUSED, "another certificate");
}

Test(tls_ocsp, refuses_what_does_not_say_until_when)
{
    refused(DER(endless_response), staple_pem, ERR_SYNTAX, "nextUpdate");
}

Test(tls_ocsp, says_what_a_responder_said_instead)
{
    refused(SLICE("\x30\x03\x0a\x01\x03"), staple_pem, ERR_SYNTAX, "try later");
    refused(SLICE("\x30\x03\x0a\x01\x06"), staple_pem, ERR_SYNTAX, "unauthorized");
    refused(SLICE("\x30\x03\x0a\x01\x04"), staple_pem, ERR_SYNTAX, "unknown");
    refused(SLICE("\x30\x03\x0a\x01\xff"), staple_pem, ERR_SYNTAX, "unknown");
    refused(SLICE("\x30\x03\x0a\x01\x00"), staple_pem, ERR_SYNTAX, "no basic OCSP response");
}

Test(tls_ocsp, refuses_garbage)
{
    refused(SLICE_NONE, staple_pem, ERR_SYNTAX, "no OCSP response");
    refused(SLICE("hello"), staple_pem, ERR_SYNTAX, "no OCSP response");
    refused(slice_of_text(staple_pem), staple_pem, ERR_SYNTAX, "no OCSP response");
    refused(SLICE("\x30\x80"), staple_pem, ERR_SYNTAX, "no OCSP response");
    refused(SLICE("\x30\x84\xff\xff\xff\xff"), staple_pem, ERR_SYNTAX, "no OCSP response");
}

Test(tls_ocsp, refuses_what_is_cut_or_goes_on)
{
    char longer[sizeof delegated_response] = { 0 };
    struct slice whole = DER(delegated_response);
    for (size_t length = 0; length < whole.length; length++) {
        char *copy = memcpy(malloc(length + 1), whole.at, length); /* with its end where AddressSanitizer looks */
        cr_assert_eq(read_with(slice_of(copy, length), with_issuer), ERR_SYNTAX, "%zu bytes", length);
        free(copy);
    }
    memcpy(longer, whole.at, whole.length);
    refused(slice_of(longer, sizeof longer), with_issuer, ERR_SYNTAX, "no OCSP response");
}

/* Of the answer itself no bit may change; elsewhere a change may make it one whose signature only a client can judge. */
Test(tls_ocsp, a_changed_answer_is_noticed)
{
    char copy[sizeof good_response];
    struct slice whole = DER(good_response);
    size_t from = 32, until = from + 165; /* what is signed */
    for (size_t bit = 0; bit < whole.length * 8; bit++) {
        memcpy(copy, whole.at, whole.length);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        enum err e = read_with(slice_of(copy, whole.length), with_issuer);
        cr_assert(e != ERR_OK || bit / 8 < from || bit / 8 >= until, "bit %zu", bit);
    }
}

Test(tls_ocsp, any_bytes_do_no_harm)
{
    seed_take("tls_ocsp");
    char copy[sizeof delegated_response];
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, delegated_response, sizeof copy);
        for (int i = 0; i < 1 + round % 5; i++)
            copy[random_below(sizeof copy)] = (char)random_below(256);
        (void)!read_with(slice_of(copy, sizeof copy - 1), with_issuer);
    }
}

Test(tls_ocsp, a_certificate_tells_that_it_wants_one)
{
    struct tls_facts facts;
    cr_assert_eq(tls_facts_read(slice_of_text(staple_pem), SLICE_NONE, &facts, why), ERR_OK, "%s", why);
    cr_expect(facts.must_staple);
    tls_facts_release(&facts);
    cr_assert_eq(tls_facts_read(slice_of_text(ecdsa_pem), SLICE_NONE, &facts, why), ERR_OK, "%s", why);
    cr_expect_not(facts.must_staple);
    tls_facts_release(&facts);
}

#include "engine/base/slice.h"

#include <criterion/criterion.h>

Test(slice, letters_compare_without_case_and_nothing_else_does)
{
    cr_assert(slice_equal_nocase(SLICE("Content-LENGTH"), SLICE("content-length")));
    cr_assert_not(slice_equal_nocase(SLICE("a@"), SLICE("a`")));
    cr_assert(slice_ends_nocase(SLICE("www.Example.COM"), SLICE(".example.com")));
}

Test(slice, numbers_are_digits_only)
{
    uint64_t value = 7;
    cr_assert_eq(slice_to_u64(SLICE("18446744073709551615"), &value), ERR_OK);
    cr_assert_eq(value, UINT64_MAX);
    cr_assert_eq(slice_to_u64(SLICE("18446744073709551616"), &value), ERR_RANGE);
    cr_assert_eq(slice_to_u64(SLICE("+1"), &value), ERR_SYNTAX);
    cr_assert_eq(slice_to_u64(SLICE(""), &value), ERR_SYNTAX);
    cr_assert_eq(value, UINT64_MAX);
}

Test(slice, list_elements_are_trimmed_and_quotes_hold_commas)
{
    struct slice rest = SLICE(" a ,, b;x=\"1,2\\\",3\" ,\tc"), element;
    cr_assert(slice_next_element(&rest, &element) && slice_equal(element, SLICE("a")));
    cr_assert(slice_next_element(&rest, &element) && slice_equal(element, SLICE("b;x=\"1,2\\\",3\"")));
    cr_assert(slice_next_element(&rest, &element) && slice_equal(element, SLICE("c")));
    cr_assert_not(slice_next_element(&rest, &element));
}

Test(slice, globs)
{
    cr_assert(slice_glob(SLICE("*.png"), SLICE("a/b.png")));
    cr_assert(slice_glob(SLICE("a?c*"), SLICE("abc")));
    cr_assert_not(slice_glob(SLICE("a?c"), SLICE("ac")));
    cr_assert(slice_glob(SLICE("*a*a*a*b"), SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")));
    cr_assert_not(slice_glob(SLICE("*a*a*a*b"), SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
}

Test(slice, distance_counts_swapped_letters_once)
{
    cr_assert_eq(slice_distance(SLICE("adress"), SLICE("address"), 9), 1);
    cr_assert_eq(slice_distance(SLICE("drian"), SLICE("drain"), 9), 1);
    cr_assert_eq(slice_distance(SLICE("abc"), SLICE("xyz"), 2), 2);
}

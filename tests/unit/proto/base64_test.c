#include "proto/base64.h"

#include <criterion/criterion.h>

Test(base64, reads_rfc_4648_10)
{
    static const char *const rows[][2] = { { "", "" }, { "Zg==", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" }, { "Zm9vYg==", "foob" }, { "Zm9vYmE=", "fooba" }, { "Zm9vYmFy", "foobar" } };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        uint8_t out[8];
        size_t length = 99;
        cr_expect_eq(base64_read(slice_of_text(rows[i][0]), out, sizeof out, &length), ERR_OK, "%s", rows[i][0]);
        cr_expect(length == strlen(rows[i][1]) && memcmp(out, rows[i][1], length) == 0, "%s", rows[i][0]);
    }
}

Test(base64, has_one_way_to_write_each)
{
    static const char *const rows[] = { "Z", "Zg", "Zg=", "Zm8", "Zh==", "Zm9=", "Z===", "====", "=Zg=", "Zg==Zg==", "Zg=v", "Zm 9v", "Zm9v\n", "Zm9-", "Zm9_", "Zm9v====" };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        uint8_t out[16];
        size_t length;
        cr_expect_eq(base64_read(slice_of_text(rows[i]), out, sizeof out, &length), ERR_SYNTAX, "%s", rows[i]);
    }
}

Test(base64, stays_within_its_room)
{
    uint8_t out[4] = { [3] = 0xaa };
    size_t length;
    cr_expect_eq(base64_read(SLICE("Zm9vYg=="), out, 3, &length), ERR_CAP);
    cr_expect_eq(out[3], 0xaa);
    cr_expect_eq(base64_read(SLICE("Zm9v"), out, 3, &length), ERR_OK);
}

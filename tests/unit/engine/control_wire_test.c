#include <criterion/criterion.h>
#include <stdlib.h>

#include "engine/control_wire.h"

static enum err there_and_back(const struct wire_request *request, struct wire_request *same)
{
    size_t length = 0;
    char *frame = wire_encode_request(request, &length);
    if (!frame)
        return ERR_CAP;
    enum err e = wire_decode_request(slice_of(frame + WIRE_HEAD_BYTES, length - WIRE_HEAD_BYTES), same);
    free(frame);
    return e;
}

Test(control_wire, carries_a_list_of_arguments)
{
    struct wire_request request = { .command = "explain",
                                    .deadline_ms = UINT64_MAX,
                                    .arguments = { "GET", "", "http://a/" },
                                    .argument_count = 3 },
                        same;
    cr_assert_eq(there_and_back(&request, &same), ERR_OK);
    cr_expect_eq(same.argument_count, 3u);
    cr_expect_str_eq(same.arguments[0], "GET");
    cr_expect_str_eq(same.arguments[1], "");
    cr_expect_str_eq(same.arguments[2], "http://a/");
    wire_request_release(&same);
}

Test(control_wire, a_request_without_arguments_has_none)
{
    struct wire_request request = { .command = "status", .deadline_ms = 5 }, same;
    cr_assert_eq(there_and_back(&request, &same), ERR_OK);
    cr_expect_eq(same.argument_count, 0u);
    cr_expect_null(same.memory);
    cr_expect_eq(same.deadline_ms, 5u);
    wire_request_release(&same);
}

Test(control_wire, arguments_have_their_limits)
{
    static char longest[WIRE_ARGUMENT_BYTES_MAX + 2];
    struct wire_request request = { .command = "explain",
                                    .deadline_ms = UINT64_MAX,
                                    .arguments = { longest },
                                    .argument_count = 1 },
                        same;
    memset(longest, 'a', WIRE_ARGUMENT_BYTES_MAX);
    cr_assert_eq(there_and_back(&request, &same), ERR_OK);
    cr_expect_str_eq(same.arguments[0], longest);
    wire_request_release(&same);
    longest[WIRE_ARGUMENT_BYTES_MAX] = 'a';
    cr_expect_eq(there_and_back(&request, &same), ERR_CAP);
    request.arguments[0] = "";
    request.argument_count = WIRE_ARGUMENTS_MAX + 1;
    cr_expect_eq(there_and_back(&request, &same), ERR_CAP);
}

/* {"version": 1, "command": "x", "arguments": VALUE} */
static enum err decode_with(const char *value, size_t length)
{
    static const char before[] = "\xa3\x67version\x01\x67"
                                 "command\x61x\x69"
                                 "arguments";
    char map[256];
    struct wire_request request;
    memcpy(map, before, sizeof before - 1);
    memcpy(map + sizeof before - 1, value, length);
    enum err e = wire_decode_request(slice_of(map, sizeof before - 1 + length), &request);
    if (e == ERR_OK)
        wire_request_release(&request);
    return e;
}

Test(control_wire, what_is_no_list_of_texts_is_refused)
{
    char many[3 + WIRE_ARGUMENTS_MAX] = { '\x98', WIRE_ARGUMENTS_MAX + 1 };
    memset(many + 2, '\x60', WIRE_ARGUMENTS_MAX + 1);
    cr_expect_eq(decode_with("\x81\x61y", 3), ERR_OK);
    cr_expect_eq(decode_with("\x80", 1), ERR_OK);
    cr_expect_eq(decode_with("\x61y", 2), ERR_SYNTAX, "a text alone");
    cr_expect_eq(decode_with("\x81\x01", 2), ERR_SYNTAX, "a number in it");
    cr_expect_eq(decode_with("\x81\x62y\0", 4), ERR_SYNTAX, "a NUL");
    cr_expect_eq(decode_with("\x81\x41y", 3), ERR_SYNTAX, "bytes");
    cr_expect_eq(decode_with(many, sizeof many), ERR_RANGE, "too many");
}

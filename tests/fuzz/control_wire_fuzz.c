/* Frames of the control socket: any bytes. What is understood is written again and understood the same. */
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/control_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request_again(const struct wire_request *request)
{
    struct wire_request same;
    size_t length = 0;
    char *frame = wire_encode_request(request, &length);
    if (!frame)
        return;
    MUST(wire_decode_request(slice_of(frame + WIRE_HEAD_BYTES, length - WIRE_HEAD_BYTES), &same) == ERR_OK);
    MUST(strcmp(same.command, request->command) == 0 && strcmp(same.argument, request->argument) == 0);
    MUST(same.deadline_ms == request->deadline_ms && strcmp(same.value, request->value) == 0);
    MUST(same.weight == request->weight && same.max_connections == request->max_connections && same.group == request->group);
    MUST(same.argument_count == request->argument_count);
    for (unsigned i = 0; i < same.argument_count; i++)
        MUST(strcmp(same.arguments[i], request->arguments[i]) == 0);
    wire_request_release(&same);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_request request;
    struct wire_answer answer;
    struct slice map = slice_of((const char *)data, size);
    size_t length;
    if (size >= WIRE_HEAD_BYTES && wire_decode_head((const char *)data, WIRE_REQUEST_BYTES_MAX, &length) == ERR_OK)
        MUST(length > 0 && length <= WIRE_REQUEST_BYTES_MAX);
    if (wire_decode_request(map, &request) == ERR_OK) {
        request_again(&request);
        wire_request_release(&request);
    }
    if (wire_decode_answer(map, &answer) == ERR_OK)
        wire_answer_release(&answer);
    return 0;
}

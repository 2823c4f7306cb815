/* Answers of a name server with SRV records: any bytes. What is taken is well-formed, sorted, capped, and could stand in a configuration. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/config_value.h"
#include "engine/resolver_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct name_target *target)
{
    struct config_memory memory = { 0 };
    struct address address;
    char text[300];
    snprintf(text, sizeof text, "%s:%u", target->host, target->port);
    MUST(value_read_address(&memory, slice_of_text(text), ADDRESS_OF_SERVER, &address) == NULL);
    MUST(address.socket_bytes == 0 && slice_equal(address.text, slice_of_text(text)));
    config_memory_release(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct name_answer answer = { 0 };
    uint32_t ttl_s = 0;
    if (size > 65535)
        return 0;
    unsigned char *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, data, size);
    if (answer_of_service(exact, (int)size, &answer, &ttl_s) == ARES_SUCCESS) {
        MUST(answer.target_count > 0 && answer.target_count <= NAME_TARGETS_MAX);
        for (uint32_t i = 0; i < answer.target_count; i++) {
            judge(&answer.targets[i]);
            MUST(i == 0 || answer.targets[i - 1].priority <= answer.targets[i].priority);
        }
    }
    answer_release(&answer);
    free(exact);
    return 0;
}

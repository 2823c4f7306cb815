#include "engine/refusal.h"

#define REFUSAL_AS_ROW(id, status, why, sentence) [id] = { status, why, sentence, { sentence "\n", sizeof sentence } },
const struct refusal_row refusal_rows[REFUSALS] = { REFUSAL_ROWS(REFUSAL_AS_ROW) };

enum refusal refusal_of(const struct request *request, uint64_t content_bytes_max)
{
    if (unlikely(request->method == METHOD_CONNECT))
        return REFUSAL_CONNECT;
    if (unlikely(request->method == METHOD_TRACE))
        return REFUSAL_TRACE;
    if (unlikely(content_bytes_max != 0 && request->framing == FRAMING_LENGTH && request->content_length > content_bytes_max))
        return REFUSAL_CONTENT;
    return REFUSAL_NONE;
}

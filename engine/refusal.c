#include "engine/refusal.h"

#define REFUSAL_AS_ROW(id, status, why, sentence) [id] = { status, why, sentence, { sentence "\n", sizeof sentence } },
const struct refusal_row refusal_rows[REFUSALS] = { REFUSAL_ROWS(REFUSAL_AS_ROW) };

/* Other upgrades (h2c) are ignored, as RFC 9110 7.8 lets a server do; a websocket would wait for ever. */
static bool websocket_wanted(const struct request *request)
{
    const struct field *upgrade = fields_find(&request->fields, FIELD_UPGRADE);
    return upgrade && slice_equal_nocase(slice_trim(field_value(upgrade)), SLICE("websocket"));
}

enum refusal refusal_of(const struct request *request, uint64_t content_bytes_max)
{
    if (unlikely(request->method == METHOD_CONNECT))
        return REFUSAL_CONNECT;
    if (unlikely(request->method == METHOD_TRACE))
        return REFUSAL_TRACE;
    if (unlikely(request->upgrade) && websocket_wanted(request))
        return REFUSAL_WEBSOCKET;
    if (unlikely(content_bytes_max != 0 && request->framing == FRAMING_LENGTH && request->content_length > content_bytes_max))
        return REFUSAL_CONTENT;
    return REFUSAL_NONE;
}

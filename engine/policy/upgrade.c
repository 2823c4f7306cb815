#include "engine/policy/upgrade.h"

#include "proto/websocket.h"

#define WEBSOCKET SLICE("websocket")

/* An HTTP/1.0 client cannot mean it (RFC 9110 7.8). */
static bool may_upgrade(const struct request *request)
{
    return request->upgrade && request->version_minor > 0;
}

bool upgrade_wants_websocket(const struct request *request)
{
    return may_upgrade(request) && fields_list_has(&request->fields, FIELD_UPGRADE, WEBSOCKET);
}

static bool find_allowed(const struct upgrade_rule *rule, struct slice wanted, struct slice *protocol)
{
    for (uint32_t i = 0; i < rule->count; i++) {
        if (!slice_equal_nocase(rule->protocols[i], wanted))
            continue;
        *protocol = rule->protocols[i];
        return true;
    }
    return false;
}

/* The client's order is its preference. */
static bool choose(const struct upgrade_rule *rule, const struct request *request, struct slice *protocol)
{
    for (unsigned i = 0; i < request->fields.count; i++) {
        struct slice rest = field_value(&request->fields.list[i]), element;
        if (request->fields.list[i].id != FIELD_UPGRADE)
            continue;
        while (slice_next_element(&rest, &element))
            if (find_allowed(rule, element, protocol))
                return true;
    }
    return false;
}

static enum upgrade_verdict judge_websocket(const struct request *request, struct upgrade *upgrade)
{
    switch (websocket_check_request(request, &upgrade->why)) {
    case WEBSOCKET_WELL: return UPGRADE_ASKED;
    case WEBSOCKET_VERSION: return UPGRADE_VERSION;
    default: return UPGRADE_BAD;
    }
}

enum upgrade_verdict upgrade_of(const struct upgrade_rule *rule, const struct request *request, struct upgrade *upgrade)
{
    *upgrade = (struct upgrade){ 0 };
    if (!may_upgrade(request))
        return UPGRADE_NONE;
    if (!choose(rule, request, &upgrade->protocol))
        return upgrade_wants_websocket(request) ? UPGRADE_FORBIDDEN : UPGRADE_NONE;
    upgrade->websocket = slice_equal_nocase(upgrade->protocol, WEBSOCKET);
    return upgrade->websocket ? judge_websocket(request, upgrade) : UPGRADE_ASKED;
}

/* Exactly the protocol that was asked for. */
static const char *complain(const struct upgrade *upgrade, const struct response *response)
{
    unsigned found = 0;
    if (response->version_minor < 1)
        return "101 is HTTP/1.1's";
    for (unsigned i = 0; i < response->fields.count; i++) {
        const struct field *field = &response->fields.list[i];
        if (field->id != FIELD_UPGRADE)
            continue;
        if (found++ || !slice_equal_nocase(field_value(field), upgrade->protocol))
            return "Upgrade is another protocol";
    }
    if (found == 0)
        return "there is no Upgrade";
    return fields_list_has(&response->fields, FIELD_CONNECTION, SLICE("upgrade")) ? NULL : "Connection does not name Upgrade";
}

bool upgrade_is_granted(struct upgrade *upgrade, const struct request *request, const struct response *response)
{
    if (upgrade->websocket)
        return websocket_check_response(response, websocket_key(request), &upgrade->why) == WEBSOCKET_WELL;
    upgrade->why = complain(upgrade, response);
    return !upgrade->why;
}

#include "proto/message.h"

struct method_row {
    struct slice name;
    bool safe, idempotent;
};
#define METHOD_AS_ROW(id, name, safe, idempotent) [id] = { { name, sizeof(name) - 1 }, safe, idempotent },
static const struct method_row methods[METHODS] = { METHOD_ROWS(METHOD_AS_ROW) };

enum method method_of(struct slice token)
{
    if (token.length == 3 && memcmp(token.at, "GET", 3) == 0)
        return METHOD_GET;
    for (unsigned i = 1; i < METHODS; i++)
        if (slice_equal(methods[i].name, token))
            return (enum method)i;
    return METHOD_OTHER;
}

const char *method_name(enum method method)
{
    return methods[method].name.at;
}

bool method_is_safe(enum method method)
{
    return methods[method].safe;
}

bool method_is_idempotent(enum method method)
{
    return methods[method].idempotent;
}

struct reason_row {
    unsigned status;
    const char *text;
};

/* RFC 9110 section 15, RFC 8297, RFC 6585, RFC 7725, RFC 4918, RFC 8470. */
static const struct reason_row reasons[] = {
    { 200, "OK" }, { 404, "Not Found" }, { 304, "Not Modified" }, { 302, "Found" }, { 301, "Moved Permanently" },
    { 100, "Continue" }, { 101, "Switching Protocols" }, { 103, "Early Hints" },
    { 201, "Created" }, { 202, "Accepted" }, { 203, "Non-Authoritative Information" }, { 204, "No Content" },
    { 205, "Reset Content" }, { 206, "Partial Content" }, { 207, "Multi-Status" },
    { 300, "Multiple Choices" }, { 303, "See Other" }, { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
    { 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" }, { 403, "Forbidden" },
    { 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 407, "Proxy Authentication Required" },
    { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" },
    { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" }, { 417, "Expectation Failed" },
    { 418, "I'm a teapot" }, { 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 423, "Locked" },
    { 425, "Too Early" }, { 426, "Upgrade Required" }, { 428, "Precondition Required" }, { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" }, { 451, "Unavailable For Legal Reasons" },
    { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" },
    { 511, "Network Authentication Required" },
};

struct slice status_reason(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LENGTH(reasons); i++)
        if (reasons[i].status == status)
            return slice_of_text(reasons[i].text);
    return SLICE("");
}

/*
 * What the HTTP layer does to one small exchange: two heads are read, two are written, and the framing of a chunked body
 * is walked through. One operation is one whole head or one whole body. Every verdict is looked at: a benchmark of a
 * head that is refused half-way measures nothing.
 *
 * The messages are what is seen in the wild: curl's request, a browser's navigation with a session cookie, an
 * application's answer. Their sizes are printed with the names, since the cost follows fields more than bytes.
 */
#include "perf/micro/micro.h"

#include "engine/base/check.h"
#include "proto/h1_body.h"
#include "proto/h1_parse.h"
#include "proto/h1_write.h"

#define HEAD_BYTES 4096u
#define BODY_BYTES 65536u
#define BLOCKS 16u

static const char curl_text[] = "GET /api/items/42 HTTP/1.1\r\n"
                                "Host: shop.example.com\r\n"
                                "User-Agent: curl/7.88.1\r\n"
                                "Accept: */*\r\n"
                                "\r\n";

static const char browser_text[] =
    "GET /catalogue/garden/chairs?sort=price&page=2 HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"124\", \"Not-A.Brand\";v=\"99\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://shop.example.com/catalogue/garden\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.7\r\n"
    "Cookie: session=3f8a1c9be07d4426b1d1d7e0c5a9f2aa; consent=1; basket=9f21\r\n"
    "\r\n";

static const char response_text[] = "HTTP/1.1 200 OK\r\n"
                                    "Server: nginx/1.22.1\r\n"
                                    "Date: Tue, 14 Jan 2025 09:26:53 GMT\r\n"
                                    "Content-Type: application/json; charset=utf-8\r\n"
                                    "Content-Length: 1024\r\n"
                                    "Connection: keep-alive\r\n"
                                    "Cache-Control: private, max-age=0, must-revalidate\r\n"
                                    "ETag: W/\"400-6b2f1d0c\"\r\n"
                                    "Vary: Accept-Encoding\r\n"
                                    "\r\n";

/* The default limits of a listener (engine/config_rows.c). */
static const struct h1_limits limits = { 16384, 8192, 100 };

/* A message with what it was parsed into. */
struct head {
    struct slice bytes;
    struct request request;
    struct response response;
};

static struct block_pool pool;
static char written[HEAD_BYTES];

/* Parsing ------------------------------------------------------------------------------------------------------ */

static void parse_request(void *context, uint64_t count)
{
    struct head *head = context;

    while (count--) {
        struct h1_progress progress = { 0 };
        enum codec_fault fault;
        struct arena arena;

        arena_init(&arena, &pool);
        MUST(h1_parse_request(&head->request, head->bytes.at, head->bytes.length, &progress, &limits, &arena, &fault) ==
             H1_DONE);
        arena_release(&arena);
        micro_keep(&head->request);
    }
}

/* The head comes in two packets, cut in its middle: one more attempt. */
static void parse_request_in_two(void *context, uint64_t count)
{
    struct head *head = context;
    const char *at = head->bytes.at;

    while (count--) {
        struct h1_progress progress = { 0 };
        enum codec_fault fault;
        struct arena arena;

        arena_init(&arena, &pool);
        MUST(h1_parse_request(&head->request, at, head->bytes.length / 2, &progress, &limits, &arena, &fault) ==
             H1_MORE);
        MUST(h1_parse_request(&head->request, at, head->bytes.length, &progress, &limits, &arena, &fault) == H1_DONE);
        arena_release(&arena);
        micro_keep(&head->request);
    }
}

static void parse_response(void *context, uint64_t count)
{
    struct head *head = context;

    while (count--) {
        struct h1_progress progress = { 0 };
        enum codec_fault fault;

        MUST(h1_parse_response(&head->response, METHOD_GET, head->bytes.at, head->bytes.length, &progress, &limits,
                               &fault) == H1_DONE);
        micro_keep(&head->response);
    }
}

/* Chunked bodies ----------------------------------------------------------------------------------------------- */

struct chunked {
    char *bytes;
    size_t length;
    size_t content;
};

/* `chunks` of `size` bytes each, the last chunk, and no trailers. */
static struct chunked chunked_make(char *room, unsigned chunks, unsigned size)
{
    struct h1_writer w = h1_writer_of(room, BODY_BYTES);

    for (unsigned i = 0; i < chunks; i++) {
        h1_put_hex(&w, size);
        h1_put_literal(&w, "\r\n");
        MUST((size_t)(w.end - w.at) >= size);
        memset(w.at, 'x', size);
        w.at += size;
        h1_put_literal(&w, "\r\n");
    }
    h1_write_last_chunk(&w, NULL, NULL);
    MUST(!w.overflow);
    return (struct chunked){ room, (size_t)(w.at - room), (size_t)chunks * size };
}

static void read_trailers(const struct chunked *body, size_t at)
{
    static struct fields trailers;
    struct h1_progress progress = { 0 };
    enum codec_fault fault;
    size_t used;

    MUST(h1_parse_trailers(&trailers, body->bytes + at, body->length - at, &progress, &limits, &used, &fault) ==
         H1_DONE);
    MUST(at + used == body->length);
}

static void read_chunked(void *context, uint64_t count)
{
    const struct chunked *whole = context;

    while (count--) {
        struct h1_body body;
        enum h1_body_step step;
        enum codec_fault fault;
        struct slice data;
        size_t at = 0, used, content = 0;

        h1_body_init(&body, FRAMING_CHUNKED, 0);
        do {
            step = h1_body_next(&body, whole->bytes + at, whole->length - at, &used, &data, &fault);
            at += used;
            content += data.length;
            micro_keep(data.at);
        } while (step == H1_BODY_DATA);
        MUST(step == H1_BODY_TRAILERS && content == whole->content);
        read_trailers(whole, at);
    }
}

/* Writing ------------------------------------------------------------------------------------------------------ */

/* As the engine forwards by default: Via and X-Forwarded-*, kept-alive connections on both sides, no edits. */
static const struct forwarding forwarding = {
    .via = { "weir", 4 },
    .client_address = { "192.0.2.61", 10 },
    .client_port = { "49152", 5 },
    .scheme = { "http", 4 },
    .server = { "app/10.0.0.7:8080", 17 },
    .forwarded_x = true,
    .upstream_keep_alive = true,
};

static const struct h1_response_plan plan = {
    .framing = FRAMING_LENGTH,
    .content_length = 1024,
    .keep_alive = true,
    .client_minor = 1,
    .date = { "Tue, 14 Jan 2025 09:26:53 GMT", HTTP_DATE_BYTES },
};

static void write_request(void *context, uint64_t count)
{
    const struct head *head = context;

    while (count--) {
        struct h1_writer w = h1_writer_of(written, sizeof written);

        h1_write_request(&w, &head->request, &forwarding);
        MUST(!w.overflow);
        micro_keep(written);
    }
}

static void write_response(void *context, uint64_t count)
{
    const struct head *head = context;

    while (count--) {
        struct h1_writer w = h1_writer_of(written, sizeof written);

        h1_write_response(&w, &head->response, &head->request, &forwarding, &plan);
        MUST(!w.overflow);
        micro_keep(written);
    }
}

/* All of it ---------------------------------------------------------------------------------------------------- */

static void run_head(const char *what, micro_body *body, struct head *head, unsigned fields)
{
    char name[64];

    snprintf(name, sizeof name, "%s, %zu B, %u fields", what, head->bytes.length, fields);
    micro_run(name, body, head);
}

static void run_chunked(unsigned chunks, unsigned size)
{
    static char room[BODY_BYTES];
    char name[64];
    struct chunked body = chunked_make(room, chunks, size);

    snprintf(name, sizeof name, "chunked body, %u chunks of %u B", chunks, size);
    micro_run(name, read_chunked, &body);
}

int main(void)
{
    static struct head curl = { .bytes = SLICE(curl_text) };
    static struct head browser = { .bytes = SLICE(browser_text) };
    static struct head answer = { .bytes = SLICE(response_text) };

    MUST(block_pool_init(&pool, BLOCKS) == ERR_OK);
    parse_request(&curl, 1);
    parse_request(&browser, 1);
    parse_response(&answer, 1);
    answer.request = browser.request;
    micro_title();
    run_head("parse curl", parse_request, &curl, curl.request.fields.count);
    run_head("parse browser", parse_request, &browser, browser.request.fields.count);
    run_head("parse browser in two", parse_request_in_two, &browser, browser.request.fields.count);
    run_head("parse response", parse_response, &answer, answer.response.fields.count);
    run_head("write curl", write_request, &curl, curl.request.fields.count);
    run_head("write browser", write_request, &browser, browser.request.fields.count);
    run_head("write response", write_response, &answer, answer.response.fields.count);
    run_chunked(4, 4096);
    run_chunked(64, 64);
    block_pool_release(&pool, 0);
    return 0;
}

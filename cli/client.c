#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_SECONDS 60 /* a reload may have names to look up */

/* The conversation --------------------------------------------------------------------------------------------- */

static int unreachable(const struct options *options)
{
    int error = errno;
    fprintf(stderr, "weir: no engine answers at \"%s\": %s (another socket: --socket PATH or $WEIR_SOCKET)\n", options->socket, strerror(error));
    return error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_UNREACHABLE;
}

static int connect_to(const struct options *options)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = ANSWER_SECONDS };
    if (strlen(options->socket) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, options->socket, strlen(options->socket));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool send_all(int fd, const char *at, size_t length)
{
    while (length) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, char *at, size_t length)
{
    while (length) {
        ssize_t got = recv(fd, at, length, 0);
        if (got <= 0) {
            if (got == 0)
                errno = ECONNRESET; /* an engine that refuses who asks closes at once */
            return false;
        }
        at += got;
        length -= (size_t)got;
    }
    return true;
}

static bool send_request(int fd, const struct wire_request *request)
{
    size_t length;
    char *frame = wire_encode_request(request, &length);
    bool sent = frame && send_all(fd, frame, length);
    free(frame);
    return sent;
}

static bool receive_answer(int fd, struct wire_answer *answer)
{
    char head[WIRE_HEAD_BYTES];
    size_t length;
    if (!receive_all(fd, head, sizeof head))
        return false;
    errno = EPROTO;
    if (wire_decode_head(head, WIRE_ANSWER_BYTES_MAX, &length) != ERR_OK)
        return false;
    char *map = malloc(length);
    bool well = map && receive_all(fd, map, length);
    if (well && wire_decode_answer(slice_of(map, length), answer) != ERR_OK) {
        errno = EPROTO;
        well = false;
    }
    free(map);
    return well;
}

int client_ask(const struct options *options, const struct wire_request *request, struct wire_answer *answer)
{
    int fd = connect_to(options);
    if (fd < 0)
        return unreachable(options);
    bool well = send_request(fd, request) && receive_answer(fd, answer);
    int code = well ? EXIT_OK : unreachable(options);
    close(fd);
    return code;
}

/* Verbs -------------------------------------------------------------------------------------------------------- */

static int ask_and_print(const struct options *options, const struct wire_request *request)
{
    struct wire_answer answer;
    int code = client_ask(options, request, &answer);
    if (code != EXIT_OK)
        return code;
    FILE *out = answer.code && !options->json ? stderr : stdout;
    if (options->json)
        fprintf(out, "%s\n", answer.json);
    else
        fputs(answer.text, out);
    code = (int)answer.code;
    wire_answer_release(&answer);
    return code;
}

static struct wire_request request_of(const char *command, const char *argument)
{
    struct wire_request request = { .deadline_ms = UINT64_MAX };
    snprintf(request.command, sizeof request.command, "%s", command);
    snprintf(request.argument, sizeof request.argument, "%s", argument ? argument : "");
    return request;
}

static int simple(const struct options *options, const char *command, const char *argument)
{
    struct wire_request request = request_of(command, argument);
    return ask_and_print(options, &request);
}

int verb_status(const struct options *options)
{
    return simple(options, "status", NULL);
}

int verb_reload(const struct options *options)
{
    return simple(options, "reload", NULL);
}

int verb_pools(const struct options *options)
{
    return simple(options, "pools", NULL);
}

int verb_metrics(const struct options *options)
{
    return simple(options, "metrics", NULL);
}

int verb_drain(const struct options *options)
{
    return simple(options, "drain", options->words[0]);
}

int verb_undrain(const struct options *options)
{
    return simple(options, "undrain", options->words[0]);
}

int verb_config(const struct options *options)
{
    if (strcmp(options->words[0], "schema") == 0)
        return config_print_schema();
    if (strcmp(options->words[0], "manual") == 0)
        return config_print_manual();
    if (strcmp(options->words[0], "show") != 0) {
        fprintf(stderr, "usage: weir config show|schema\n");
        return EXIT_USAGE;
    }
    return options->file ? config_show_file(options) : simple(options, "config", NULL);
}

/* "500ms", "30s", "5m": as durations in the configuration. */
static bool read_duration(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || text[0] == '-' || value > 1000000)
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ms = value * units[i].ms;
            return true;
        }
    }
    return false;
}

int verb_stop(const struct options *options)
{
    struct wire_request request = request_of("stop", NULL);
    if (options->now)
        request.deadline_ms = 0;
    else if (options->deadline && !read_duration(options->deadline, &request.deadline_ms)) {
        fprintf(stderr, "weir: \"%s\" is no duration (30s, 500ms)\n", options->deadline);
        return EXIT_USAGE;
    }
    return ask_and_print(options, &request);
}

int verb_version(const struct options *options)
{
    if (options->json)
        printf("{\"version\":\"%s\"}\n", weir_version);
    else
        printf("weir %s\n", weir_version);
    return EXIT_OK;
}

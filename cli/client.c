#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/print.h"

int client_patience_ms = 60000; /* a reload may have names to look up */
const char *client_sockets[2] = { CLI_SOCKET_DEFAULT, CLI_SOCKET_SERVICE };

/* The conversation --------------------------------------------------------------------------------------------- */

struct conversation {
    int fd;
    const char *path;
    int64_t until_ms;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int unreachable(const struct conversation *with, char why[256])
{
    int error = errno;
    if (error == EAGAIN) {
        snprintf(why, 256, "no answer from \"%s\" within %d seconds", with->path, client_patience_ms / 1000);
        return EXIT_AGAIN;
    }
    if (error == EPROTO) {
        snprintf(why, 256, "what answers at \"%s\" does not speak the language of this command's version", with->path);
        return EXIT_UNREACHABLE;
    }
    snprintf(why, 256, "no engine answers at \"%s\": %s (another socket: --socket PATH or $WEIR_SOCKET)", with->path, strerror(error));
    return error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_UNREACHABLE;
}

static int connect_path(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = client_patience_ms / 1000, .tv_usec = client_patience_ms % 1000 * 1000 };
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connecting waits while the engine's queue is full */
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Where nothing stands, the next place is tried. When nothing stands anywhere, the first place is what is told. */
static bool open_conversation(struct conversation *with, const char *socket)
{
    *with = (struct conversation){ .path = socket ? socket : client_sockets[0], .until_ms = now_ms() + client_patience_ms };
    with->fd = connect_path(with->path);
    if (with->fd >= 0 || errno != ENOENT || socket)
        return with->fd >= 0;
    with->fd = connect_path(client_sockets[1]);
    if (with->fd >= 0 || errno != ENOENT)
        with->path = client_sockets[1];
    return with->fd >= 0;
}

/* The limit is for the whole, so that a byte now and then does not hold us for ever. */
static bool wait_for(const struct conversation *with, short events)
{
    struct pollfd one = { .fd = with->fd, .events = events };
    int ready;
    do {
        int64_t left_ms = with->until_ms - now_ms();
        ready = left_ms > 0 ? poll(&one, 1, (int)left_ms) : 0;
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        errno = EAGAIN;
    return ready > 0;
}

static bool send_all(const struct conversation *with, const char *at, size_t length)
{
    while (length) {
        if (!wait_for(with, POLLOUT))
            return false;
        ssize_t sent = send(with->fd, at, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (sent < 0)
            return false;
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool receive_all(const struct conversation *with, char *at, size_t length)
{
    while (length) {
        if (!wait_for(with, POLLIN))
            return false;
        ssize_t got = recv(with->fd, at, length, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got == 0)
            errno = ECONNRESET;
        if (got <= 0)
            return false;
        at += got;
        length -= (size_t)got;
    }
    return true;
}

/* An engine that refuses who asks says so and closes without listening: then sending fails, and the answer is there. */
static bool send_request(const struct conversation *with, const struct wire_request *request)
{
    size_t length;
    char *frame = wire_encode_request(request, &length);
    errno = ENOMEM;
    bool sent = frame && (send_all(with, frame, length) || errno == EPIPE || errno == ECONNRESET);
    free(frame);
    return sent;
}

static bool receive_answer(const struct conversation *with, struct wire_answer *answer)
{
    char head[WIRE_HEAD_BYTES];
    size_t length;
    if (!receive_all(with, head, sizeof head))
        return false;
    errno = EPROTO;
    if (wire_decode_head(head, WIRE_ANSWER_BYTES_MAX, &length) != ERR_OK)
        return false;
    char *map = malloc(length);
    bool well = map && receive_all(with, map, length);
    enum err e = well ? wire_decode_answer(slice_of(map, length), answer) : ERR_OK;
    if (e != ERR_OK) {
        errno = e == ERR_MEMORY ? ENOMEM : EPROTO;
        well = false;
    }
    int error = errno;
    free(map);
    errno = error;
    return well;
}

int client_ask(const struct options *options, const struct wire_request *request, struct wire_answer *answer, char why[256])
{
    struct conversation with;
    bool well = open_conversation(&with, options->socket) && send_request(&with, request) && receive_answer(&with, answer);
    int code = well ? EXIT_OK : unreachable(&with, why);
    if (with.fd >= 0)
        close(with.fd);
    return code;
}

static int print_answer(const struct options *options, const struct wire_request *request, const struct wire_answer *answer)
{
    bool failed = answer->code != 0;
    FILE *out = failed && !options->json ? stderr : stdout;
    int fd = out == stderr ? STDERR_FILENO : STDOUT_FILENO;
    if (!options->json && !failed && strcmp(request->command, "pools") == 0 && colour_wanted(fd)) {
        print_pools(answer->text, out);
    } else if (options->json) {
        print_text(slice_of(answer->json, answer->json_length), isatty(fd), out);
        fputs("\n", out);
    } else {
        print_text(slice_of(answer->text, answer->text_length), isatty(fd), out);
    }
    return (int)answer->code;
}

/* Verbs -------------------------------------------------------------------------------------------------------- */

int client_ask_and_print(const struct options *options, const struct wire_request *request)
{
    struct wire_answer answer;
    char why[256];
    int code = client_ask(options, request, &answer, why);
    if (code != EXIT_OK)
        return print_failure(options, code, why);
    code = print_answer(options, request, &answer);
    wire_answer_release(&answer);
    return code;
}

struct wire_request client_request(const char *command, const char *argument)
{
    struct wire_request request = { .deadline_ms = UINT64_MAX };
    snprintf(request.command, sizeof request.command, "%s", command);
    snprintf(request.argument, sizeof request.argument, "%s", argument ? argument : "");
    return request;
}

bool client_add_argument(struct wire_request *request, const char *text)
{
    size_t length = strlen(text), bytes = length;
    for (unsigned i = 0; i < request->argument_count; i++)
        bytes += strlen(request->arguments[i]);
    if (length > WIRE_ARGUMENT_BYTES_MAX || bytes > WIRE_REQUEST_BYTES_MAX / 2 || request->argument_count == WIRE_ARGUMENTS_MAX) {
        fprintf(stderr, "weir: \"%.40s...\" is too long: URL, fields and tags have at most %u bytes each, and %u together\n", text,
                WIRE_ARGUMENT_BYTES_MAX, WIRE_REQUEST_BYTES_MAX / 2);
        return false;
    }
    request->arguments[request->argument_count++] = text;
    return true;
}

static int simple(const struct options *options, const char *command, const char *argument)
{
    struct wire_request request = client_request(command, argument);
    if (argument && strlen(argument) >= sizeof request.argument)
        return print_failure(options, EXIT_FAILED, "no server has so long a name");
    return client_ask_and_print(options, &request);
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
        return config_print_manual(options);
    if (strcmp(options->words[0], "show") != 0) {
        fprintf(stderr, "weir: config show, config schema or config manual?\n");
        return EXIT_USAGE;
    }
    return options->file ? config_show_file(options) : simple(options, "config", NULL);
}

bool client_read_duration(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    const uint64_t most = 24 * 3600000ull;
    size_t digits = strspn(text, "0123456789");
    uint64_t value;
    if (slice_to_u64(slice_of(text, digits), &value) != ERR_OK || value > most)
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0) {
            *ms = value * units[i].ms;
            return *ms <= most;
        }
    }
    return false;
}

int verb_stop(const struct options *options)
{
    struct wire_request request = client_request("stop", NULL);
    if (options->now)
        request.deadline_ms = 0;
    else if (options->deadline && !client_read_duration(options->deadline, &request.deadline_ms)) {
        fprintf(stderr, "weir: \"%s\" is no duration (500ms, 30s, 5m; at most 24h)\n", options->deadline);
        return EXIT_USAGE;
    }
    return client_ask_and_print(options, &request);
}

int verb_version(const struct options *options)
{
    if (options->json)
        printf("{\"version\":\"%s\"}\n", weir_version);
    else
        printf("weir %s\n", weir_version);
    return EXIT_OK;
}

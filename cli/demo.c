/*
 * weir demo: the engine before three origins of its own. Each origin is a process of the same engine whose one route names
 * it, with a control socket of its own, so that `weir stop` shows what happens when one goes. A keeper, a process
 * without threads that may fork at any time, starts the origins and starts one that ended again a while later. All end with the first.
 */
#include <errno.h> /* program_invocation_name */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/base/text.h"
#include "engine/self_signed.h"
#include "engine/server.h"

#define ORIGINS 3
#define FIRST_PORT 9101
#define AWAY_SECONDS 15 /* until an origin that ended is started again: long enough to look at it */

static const char *const names[ORIGINS] = { "one", "two", "three" };
static char socket_path[108], origin_sockets[ORIGINS][108], chain_path[1100], key_path[1100];
static bool https;

/* Where the user's sockets belong. */
static void name_sockets(void)
{
    const char *directory = getenv("XDG_RUNTIME_DIR");
    bool fits = directory && directory[0] && strlen(directory) + sizeof "/weir-demo-three.sock" <= sizeof socket_path;
    if (!fits)
        directory = "/tmp";
    snprintf(socket_path, sizeof socket_path, "%.80s/weir-demo.sock", directory);
    for (int i = 0; i < ORIGINS; i++)
        snprintf(origin_sockets[i], sizeof origin_sockets[i], "%.80s/weir-demo-%s.sock", directory, names[i]);
}

static struct config *parse(struct text *yaml)
{
    static struct config_problems problems;
    struct text said = { 0 };
    struct config *config = config_parse(text_slice(yaml), "demo", &problems);
    config_problems_print(&problems, "demo", false, &said);
    if (!config && said.at)
        fprintf(stderr, "%s", said.at);
    text_release(&said);
    text_release(yaml);
    return config;
}

/* For the cache before them: X-Made is another one each time that it is made. */
static void add_kept(struct text *yaml, int number, const char *path, const char *control)
{
    text_format(yaml,
                "  - match: { path: %s }\n"
                "    respond:\n"
                "      body: \"Kept from origin %s (127.0.0.1:%d)\\n\"\n"
                "      headers:\n"
                "        Cache-Control: \"%s\"\n"
                "        Surrogate-Key: demo origin-%s\n"
                "        X-Made: \"{request-id}\"\n",
                path, names[number], FIRST_PORT + number, control, names[number]);
}

static struct config *origin_config(int number)
{
    struct text yaml = { 0 };
    text_format(&yaml,
                "workers: 1\npin: false\nlog: { level: error }\n"
                "listeners: [ { address: \"127.0.0.1:%d\" } ]\n"
                "routes:\n"
                "  - match: { path: /healthz }\n"
                "    respond: { status: 200, body: \"well\\n\" }\n",
                FIRST_PORT + number);
    add_kept(&yaml, number, "/cached/brief", "max-age=3, stale-while-revalidate=600");
    add_kept(&yaml, number, "/cached/*", "max-age=600");
    text_format(&yaml,
                "  - respond: { status: 200, body: \"Hello from origin %s (127.0.0.1:%d)\\n\", headers: { X-Origin: %s } }\n",
                names[number], FIRST_PORT + number, names[number]);
    text_add(&yaml, SLICE("control: { socket: "));
    text_json_string(&yaml, slice_of_text(origin_sockets[number]));
    text_add(&yaml, SLICE(" }\n"));
    return parse(&yaml);
}

/* In a child that ends with its parent; 0 there. */
static pid_t fork_bound(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    return 0;
}

/* The keeper --------------------------------------------------------------------------------------------------- */

static pid_t start_origin(int number, const sigset_t *usual)
{
    pid_t pid = fork_bound();
    if (pid != 0)
        return pid;
    sigprocmask(SIG_SETMASK, usual, NULL);
    struct config *config = origin_config(number);
    _exit(config ? server_run(config, NULL) : EXIT_CONFIG);
}

static time_t now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void note_ends(pid_t origins[ORIGINS], time_t due[ORIGINS])
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (int i = 0; i < ORIGINS; i++) {
            if (origins[i] != pid)
                continue;
            origins[i] = 0;
            due[i] = now_seconds() + AWAY_SECONDS;
            fprintf(stderr, "origin %s ended; it comes back in %d s\n", names[i], AWAY_SECONDS);
        }
    }
}

static void end_origins(const pid_t origins[ORIGINS])
{
    for (int i = 0; i < ORIGINS; i++)
        if (origins[i] > 0)
            kill(origins[i], SIGTERM);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
}

static void keep_origins(void)
{
    pid_t origins[ORIGINS] = { 0 };
    time_t due[ORIGINS] = { 0 };
    sigset_t awaited, usual;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGINT);
    sigprocmask(SIG_BLOCK, &awaited, &usual);
    for (;;) {
        for (int i = 0; i < ORIGINS; i++) {
            if (origins[i] > 0 || now_seconds() < due[i])
                continue;
            if (due[i] > 0)
                fprintf(stderr, "origin %s is back\n", names[i]);
            origins[i] = start_origin(i, &usual);
        }
        int number = sigtimedwait(&awaited, NULL, &(struct timespec){ .tv_sec = 1 });
        if (number == SIGTERM || number == SIGINT)
            break;
        note_ends(origins, due);
    }
    end_origins(origins);
}

static pid_t start_keeper(void)
{
    pid_t pid = fork_bound();
    if (pid != 0)
        return pid;
    keep_origins();
    _exit(EXIT_OK);
}

/* The engine before them --------------------------------------------------------------------------------------- */

/* Below the user's cache, made on first use and used again, so that a browser that was told to believe it still does. */
static bool certificate_ready(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[1024];
    if (cache && cache[0])
        snprintf(folder, sizeof folder, "%.900s/weir", cache);
    else
        snprintf(folder, sizeof folder, "%.900s/.cache/weir", home && home[0] ? home : "/tmp");
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(folder, 0755);
        *slash = '/';
    }
    (void)mkdir(folder, 0755);
    snprintf(chain_path, sizeof chain_path, "%s/demo.crt", folder);
    snprintf(key_path, sizeof key_path, "%s/demo.key", folder);
    enum err e = self_signed_ensure(chain_path, key_path);
    if (e != ERR_OK)
        fprintf(stderr, "weir: no https: \"%s\": %s\n", key_path, e == ERR_SYSTEM ? strerror(errno) : err_text(e));
    return e == ERR_OK;
}

static void add_https(struct text *yaml)
{
    text_add(yaml, SLICE("  - address: \"127.0.0.1:8443\"\n    tls: { certificates: [ { chain: "));
    text_json_string(yaml, slice_of_text(chain_path));
    text_add(yaml, SLICE(", key: "));
    text_json_string(yaml, slice_of_text(key_path));
    text_add(yaml, SLICE(" } ] }\n"));
}

static void add_servers(struct text *yaml)
{
    text_add(yaml, SLICE("    health: { path: /healthz, interval: 1s }\n    servers:\n"));
    for (int i = 0; i < ORIGINS; i++)
        text_format(yaml, "      - 127.0.0.1:%d\n", FIRST_PORT + i);
}

static struct config *front_config(void)
{
    struct text yaml = { 0 };
    https = certificate_ready();
    text_format(&yaml,
                "listeners:\n  - { address: \"127.0.0.1:8080\" }\n  - { address: \"127.0.0.1:8081\", serve: admin }\n");
    if (https)
        add_https(&yaml);
    text_format(&yaml,
                "routes:\n"
                "  - { match: { path: /hash/* }, pool: hash }\n"
                "  - { match: { path: /cached/* }, pool: demo, cache: {} }\n"
                "  - pool: demo\n"
                "pools:\n  demo:\n    balance: round-robin\n");
    add_servers(&yaml);
    text_add(&yaml, SLICE("  hash:\n    balance: consistent-hash\n    hash-key: uri\n"));
    add_servers(&yaml);
    text_add(&yaml, SLICE("control: { socket: "));
    text_json_string(&yaml, slice_of_text(socket_path));
    text_add(&yaml, SLICE(" }\n"));
    return parse(&yaml);
}

static void ready(const struct config *config)
{
    const char *weir = program_invocation_name;
    (void)config;
    printf("\nWeir is serving http://127.0.0.1:8080/ from three demo origins. In another terminal try:\n\n"
           "  curl http://127.0.0.1:8080/              # again and again: the origins take turns\n"
           "  curl http://127.0.0.1:8080/hash/1        # again and again: always the same one; another for /hash/2 or /hash/3\n"
           "  curl -i http://127.0.0.1:8080/cached/1   # twice: the second comes from the cache, as Cache-Status says\n"
           "  curl -i http://127.0.0.1:8080/           # and what a response looks like\n"
           "%s%s%s"
           "  export WEIR_SOCKET=%s\n"
           "  %s pools                         # the servers and how they are\n"
           "  %s drain demo/127.0.0.1:%d     # one gets no more requests; undrain brings it back\n"
           "  %s stop --now --socket %s\n"
           "                                           # origin one goes: no request fails; it comes back in %d s\n"
           "  %s purge --tag demo              # the cache forgets it; curl it again, and an origin is asked\n"
           "  %s cache show http://127.0.0.1:8080/cached/1\n"
           "  %s top                           # live, q to leave\n"
           "  curl http://127.0.0.1:8081/metrics       # counters for Prometheus\n\n"
           "Ctrl-C stops all of it.\n\n",
           https ? "  curl --cacert " : "", https ? chain_path : "", https ? " https://localhost:8443/   # by TLS\n" : "",
           socket_path, weir, weir, FIRST_PORT + 1, weir, origin_sockets[0], AWAY_SECONDS, weir, weir, weir);
    fflush(stdout);
}

int verb_demo(const struct options *options)
{
    (void)options;
    name_sockets();
    pid_t keeper = start_keeper();
    struct config *config = front_config();
    server_on_ready(ready);
    int code = config ? server_run(config, NULL) : EXIT_FAILED;
    if (keeper > 0) {
        kill(keeper, SIGTERM);
        waitpid(keeper, NULL, 0);
    }
    return code;
}

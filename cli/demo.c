/*
 * weir demo: the engine before three origins of its own. Each origin is a process of the same engine whose one route names
 * it, so that killing one shows what happens; all end with the first.
 */
#include <errno.h> /* program_invocation_name */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/base/text.h"
#include "engine/self_signed.h"
#include "engine/server.h"

#define ORIGINS 3
#define FIRST_PORT 9101

static const char *const names[ORIGINS] = { "one", "two", "three" };
static pid_t children[ORIGINS];
static char socket_path[108], chain_path[1100], key_path[1100];
static bool https;

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

static struct config *origin_config(int number)
{
    struct text yaml = { 0 };
    text_format(&yaml,
                "workers: 1\npin: false\nlog: { level: error }\ncontrol: { socket: off }\n"
                "listeners: [ { address: \"127.0.0.1:%d\" } ]\n"
                "routes:\n"
                "  - match: { path: /healthz }\n"
                "    respond: { status: 200, body: \"well\\n\" }\n"
                "  - respond: { status: 200, body: \"Hello from origin %s (127.0.0.1:%d)\\n\", headers: { X-Origin: %s } }\n",
                FIRST_PORT + number, names[number], FIRST_PORT + number, names[number]);
    return parse(&yaml);
}

static pid_t start_origin(int number)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    struct config *config = origin_config(number);
    _exit(config ? server_run(config, NULL) : EXIT_CONFIG);
}

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

static struct config *front_config(void)
{
    struct text yaml = { 0 };
    https = certificate_ready();
    const char *directory = getenv("XDG_RUNTIME_DIR");
    bool fits = directory && directory[0] && strlen(directory) + sizeof "/weir-demo.sock" <= sizeof socket_path;
    snprintf(socket_path, sizeof socket_path, "%.92s/weir-demo.sock", fits ? directory : "/tmp");
    text_format(&yaml,
                "listeners:\n  - { address: \"127.0.0.1:8080\" }\n  - { address: \"127.0.0.1:8081\", serve: admin }\n");
    if (https)
        add_https(&yaml);
    text_format(&yaml,
                "routes: [ { pool: demo } ]\n"
                "pools:\n  demo:\n    balance: round-robin\n    health: { path: /healthz, interval: 2s }\n    servers:\n");
    for (int i = 0; i < ORIGINS; i++)
        text_format(&yaml, "      - 127.0.0.1:%d\n", FIRST_PORT + i);
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
           "  curl -i http://127.0.0.1:8080/           # and what a response looks like\n"
           "%s%s%s"
           "  export WEIR_SOCKET=%s\n"
           "  %s pools                         # the servers and how they are\n"
           "  %s drain 127.0.0.1:%d          # one gets no more requests; undrain brings it back\n"
           "  kill %-6d                              # origin one dies: no request fails\n"
           "  %s top                           # live, q to leave\n"
           "  curl http://127.0.0.1:8081/metrics       # counters for Prometheus\n\n"
           "Ctrl-C stops all of it.\n\n",
           https ? "  curl --cacert " : "", https ? chain_path : "", https ? " https://localhost:8443/   # by TLS\n" : "",
           socket_path, weir, weir, FIRST_PORT + 1, (int)children[0], weir);
    fflush(stdout);
}

int verb_demo(const struct options *options)
{
    (void)options;
    for (int i = 0; i < ORIGINS; i++)
        children[i] = start_origin(i);
    struct config *config = front_config();
    server_on_ready(ready);
    int code = config ? server_run(config, NULL) : EXIT_FAILED;
    for (int i = 0; i < ORIGINS; i++) {
        if (children[i] > 0) {
            kill(children[i], SIGTERM);
            waitpid(children[i], NULL, 0);
        }
    }
    return code;
}

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/unit/cli/fixture.h"

#include "cli/client.h"

/* The conversation with an engine, which here is a thread that says what a test wants it to. */

enum manner {
    ANSWERS,
    ANSWERS_WITHOUT_READING, /* and closes: it refuses who asks */
    CLOSES,
    SAYS_NOTHING,
    DRIBBLES /* a byte now and then, for ever */
};

static struct engine {
    char folder[32], path[64];
    int fd;
    enum manner manner;
    char *frame; /* what it answers */
    size_t length;
    struct wire_request asked;
    pthread_t thread;
} engine = { .folder = "/tmp/weir-client-XXXXXX" };

static void read_all(int fd, char *at, size_t length)
{
    for (ssize_t got; length; at += got, length -= (size_t)got) {
        got = read(fd, at, length);
        if (got <= 0)
            return;
    }
}

static void read_request(int fd)
{
    char head[WIRE_HEAD_BYTES] = { 0 }, map[4096];
    size_t length = 0;
    wire_request_release(&engine.asked); /* the last one that was asked */
    read_all(fd, head, sizeof head);
    if (wire_decode_head(head, sizeof map, &length) != ERR_OK)
        return;
    read_all(fd, map, length);
    if (wire_decode_request(slice_of(map, length), &engine.asked) != ERR_OK)
        engine.asked.command[0] = 0;
}

static void *be_an_engine(void *unused)
{
    for (int fd; (fd = accept(engine.fd, NULL, NULL)) >= 0; close(fd)) {
        if (engine.manner == ANSWERS)
            read_request(fd);
        if (engine.manner <= ANSWERS_WITHOUT_READING)
            (void)!write(fd, engine.frame, engine.length);
        if (engine.manner == SAYS_NOTHING)
            sleep(1000);
        for (size_t i = 0; engine.manner == DRIBBLES && send(fd, i == 2 ? "\1" : "\0", 1, MSG_NOSIGNAL) == 1; i++)
            usleep(20000);
    }
    return unused;
}

static void name_a_socket(void)
{
    cr_assert(mkdtemp(engine.folder));
    snprintf(engine.path, sizeof engine.path, "%s/s", engine.folder);
    setenv("WEIR_SOCKET", engine.path, 1);
}

static void start_engine(enum manner manner, char *frame, size_t length)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    name_a_socket();
    snprintf(address.sun_path, sizeof address.sun_path, "%s", engine.path);
    engine.manner = manner;
    engine.frame = frame;
    engine.length = length;
    engine.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(engine.fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(engine.fd, 8), 0);
    cr_assert_eq(pthread_create(&engine.thread, NULL, be_an_engine, NULL), 0);
}

static void start_answering(uint32_t code, const char *text, const char *json)
{
    size_t length;
    char *frame = wire_encode_answer(code, slice_of_text(text), slice_of_text(json), &length);
    start_engine(ANSWERS, frame, length);
}

static void clean(void)
{
    unlink(engine.path);
    rmdir(engine.folder);
}

TestSuite(client, .fini = clean);

Test(client, prints_the_answer_for_people_or_machines)
{
    start_answering(0, "all is well\n", "{\"well\":true}");
    struct said text = run_weir("status"), json = run_weir("status", "--json");
    cr_expect_eq(text.code, EXIT_OK);
    cr_expect_str_eq(text.out, "all is well\n");
    cr_expect_eq(json.code, EXIT_OK);
    cr_expect_str_eq(json.out, "{\"well\":true}\n");
    cr_expect_str_empty(json.errors);
}

Test(client, carries_a_request_to_be_explained_in_pieces)
{
    start_answering(0, "route x\n", "{}");
    cr_expect_str_eq(run_weir("explain", "-H", "X-A: 1", "PUT", "http://a/b", "--header=Cookie: c", "--from", "192.0.2.1").out, "route x\n");
    cr_expect_str_eq(engine.asked.command, "explain");
    cr_expect_eq(engine.asked.argument_count, 5u);
    static const char *const words[] = { "PUT", "http://a/b", "192.0.2.1", "X-A: 1", "Cookie: c" };
    for (unsigned i = 0; i < ARRAY_LENGTH(words); i++)
        cr_expect_str_eq(engine.asked.arguments[i], words[i]);
    run_weir("explain", "http://a/");
    cr_expect_eq(engine.asked.argument_count, 3u);
    cr_expect_str_eq(engine.asked.arguments[0], "GET");
    cr_expect_str_eq(engine.asked.arguments[2], "");
}

Test(client, a_request_to_be_explained_has_its_limits)
{
    static char longer[9000];
    const char *words[3 + 2 * 33 + 1] = { "weir", "explain", "http://a/" };
    memset(longer, 'a', sizeof longer - 1);
    expect_says(run_weir("explain", longer).errors, "is too long");
    cr_expect_eq(run_weir("explain", "http://a/", "-H", longer).code, EXIT_USAGE);
    for (int i = 0; i < 33; i++) {
        words[3 + 2 * i] = "-H";
        words[4 + 2 * i] = "A: b";
    }
    expect_says(run_words(words).errors, "more than 32 times --header");
}

Test(client, ends_with_the_engines_code)
{
    start_answering(EXIT_CONFIG, "weir.yaml:1:1: error\n", "{\"problems\":[]}");
    struct said text = run_weir("reload"), json = run_weir("reload", "--json"), top = run_weir("top"), top_json = run_weir("top", "--json");
    cr_expect_eq(text.code, EXIT_CONFIG);
    cr_expect_str_empty(text.out);
    cr_expect_str_eq(text.errors, "weir.yaml:1:1: error\n");
    cr_expect_eq(json.code, EXIT_CONFIG);
    cr_expect_str_eq(json.out, "{\"problems\":[]}\n");
    cr_expect_eq(top.code, EXIT_CONFIG);
    expect_says(top.errors, "weir.yaml:1:1: error\n");
    cr_expect_eq(top_json.code, EXIT_CONFIG);
    cr_expect_str_eq(top_json.out, "{\"problems\":[]}\n");
}

Test(client, asks_what_was_said)
{
    start_answering(0, "", "{}");
    run_weir("drain", "app/127.0.0.1:1");
    cr_expect_str_eq(engine.asked.command, "drain");
    cr_expect_str_eq(engine.asked.argument, "app/127.0.0.1:1");
    run_weir("stop");
    cr_expect_str_eq(engine.asked.command, "stop");
    cr_expect_eq(engine.asked.deadline_ms, UINT64_MAX);
    run_weir("stop", "--deadline", "1500ms");
    cr_expect_eq(engine.asked.deadline_ms, 1500);
    run_weir("stop", "--now");
    cr_expect_eq(engine.asked.deadline_ms, 0);
    run_weir("config", "show", "--effective");
    cr_expect_str_eq(engine.asked.command, "config");
    run_weir("certs", "list");
    cr_expect_str_eq(engine.asked.command, "certs");
    cr_expect_eq(engine.asked.deadline_ms, UINT64_MAX);
    run_weir("certs", "list", "--expiring", "14d");
    cr_expect_eq(engine.asked.deadline_ms, 14ull * 24 * 3600 * 1000);
    run_weir("certs", "list", "--expiring", "36h");
    cr_expect_eq(engine.asked.deadline_ms, 36ull * 3600 * 1000);
}

Test(client, certificates_that_end_are_1_and_none_is_0)
{
    start_answering(0, "www.example.com\n", "{\"certificates\":[{}]}");
    cr_expect_eq(run_weir("certs", "list").code, EXIT_OK);
    struct said said = run_weir("certs", "list", "--expiring", "14d");
    cr_expect_eq(said.code, EXIT_FAILED);
    cr_expect_str_eq(said.out, "www.example.com\n");
    said = run_weir("certs", "list", "--expiring", "14d", "--json");
    cr_expect_eq(said.code, EXIT_FAILED);
    cr_expect_str_eq(said.out, "{\"certificates\":[{}]}\n");
}

Test(client, no_certificate_that_ends_is_0)
{
    start_answering(0, "", "{\"certificates\":[]}");
    cr_expect_eq(run_weir("certs", "list", "--expiring", "14d").code, EXIT_OK);
    cr_expect_eq(run_weir("certs", "list", "--expiring", "14d", "--json").code, EXIT_OK);
}

Test(client, certs_refuses_what_is_no_time)
{
    static const char *const wrong[] = { "14", "d", "14x", "-1d", "1.5d", "99999999999d", "36501d", "" };
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        cr_expect_eq(run_weir("certs", "list", "--expiring", wrong[i]).code, EXIT_USAGE, "%s", wrong[i]);
    cr_expect_eq(run_weir("certs", "show").code, EXIT_USAGE);
}

Test(client, server_refuses_what_it_does_not_know_without_asking)
{
    cr_expect_eq(run_weir("server", "adde", "app", "a:1").code, EXIT_USAGE);
    expect_says(run_weir("server", "adde", "app", "a:1").errors, "did you mean \"add\"?");
    cr_expect_eq(run_weir("server", "add", "app").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "add", "app", "a:1", "--weight", "257").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "add", "app", "a:1", "--group", "8").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "weight", "app/a:1", "0").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "remove", "app/a:1", "--weight", "2").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "state", "app/a:1", "sideways").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "list", "app", "more").code, EXIT_USAGE);
    cr_expect_eq(run_weir("server", "save", "now").code, EXIT_USAGE);
}

static void expect_arguments(const char *command, const char *argument, unsigned count, const char *last)
{
    cr_expect_str_eq(engine.asked.command, command);
    cr_expect_str_eq(engine.asked.argument, argument);
    cr_assert_eq(engine.asked.argument_count, count);
    if (count)
        cr_expect_str_eq(engine.asked.arguments[count - 1], last);
}

Test(client, purge_says_what_of_what)
{
    start_answering(0, "purged: 3 objects, 1.0 KiB\n", "{}");
    cr_expect_str_eq(run_weir("purge", "http://a.example/x", "-H", "X-A: b").out, "purged: 3 objects, 1.0 KiB\n");
    expect_arguments("purge", "url", 2, "X-A: b");
    cr_expect_str_eq(engine.asked.value, "");
    run_weir("purge", "--prefix", "http://a.example/x/", "--soft");
    expect_arguments("purge", "prefix", 1, "http://a.example/x/");
    cr_expect_str_eq(engine.asked.value, "soft");
    run_weir("purge", "--host", "a.example:8080");
    expect_arguments("purge", "host", 1, "a.example:8080");
    run_weir("purge", "--tag", "one", "--tag=two");
    expect_arguments("purge", "tag", 2, "two");
    run_weir("purge", "--all");
    expect_arguments("purge", "all", 0, NULL);
}

Test(client, purge_is_of_exactly_one_kind)
{
    static const char *const wrong[][4] = { { NULL }, { "--soft" }, { "--all", "http://a/" }, { "--tag", "a", "--all" }, { "--all", "-H", "a: b" } };
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        cr_expect_eq(run_weir("purge", wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]).code, EXIT_USAGE, "%zu", i);
    expect_says(run_weir("purge").errors, "a URL, --prefix, --host, --tag, --all");
    expect_says(run_weir("purge", "--host", "a", "--prefix", "http://b/").errors, "usage: weir purge");
}

Test(client, cache_shows_figures_or_a_url)
{
    start_answering(0, "memory\n", "{}");
    cr_expect_str_eq(run_weir("cache", "status").out, "memory\n");
    expect_arguments("cache-status", "", 0, NULL);
    run_weir("cache", "show", "http://a.example/x", "-H", "Accept-Encoding: gzip");
    expect_arguments("cache-show", "", 4, "Accept-Encoding: gzip");
    cr_expect_str_eq(engine.asked.arguments[0], "GET");
    cr_expect_str_eq(engine.asked.arguments[1], "http://a.example/x");
    cr_expect_eq(run_weir("cache", "show").code, EXIT_USAGE);
    cr_expect_eq(run_weir("cache", "status", "http://a.example/").code, EXIT_USAGE);
    cr_expect_eq(run_weir("cache", "status", "-H", "a: b").code, EXIT_USAGE);
    cr_expect_eq(run_weir("cache", "stats").code, EXIT_USAGE);
}

Test(client, every_verb_that_asks_says_4_when_nobody_is_there)
{
    int asked = 0;
    name_a_socket();
    for (int i = 0; i < verb_count; i++) {
        const struct verb *verb = &verbs[i];
        const char *word = strcmp(verb->word, "config") == 0  ? "show"
                           : strcmp(verb->word, "certs") == 0 ? "list"
                           : strcmp(verb->word, "server") == 0 ? "list"
                           : strcmp(verb->word, "cache") == 0  ? "status"
                           : strcmp(verb->word, "purge") == 0  ? "--all"
                           : verb->words_least                ? "web/1"
                                                              : NULL;
        if (!(verb->options & OPTION_SOCKET) || verb->options & OPTION_TO)
            continue;
        asked++;
        struct said text = run_weir(verb->word, word), json = run_weir(verb->word, "--json", word);
        cr_expect_eq(text.code, EXIT_UNREACHABLE, "%s", verb->word);
        cr_expect_str_empty(text.out);
        expect_says(text.errors, engine.path);
        expect_says(text.errors, "$WEIR_SOCKET");
        cr_expect_eq(json.code, EXIT_UNREACHABLE, "%s", verb->word);
        cr_expect(strncmp(json.out, "{\"error\":\"no engine answers at", 30) == 0, "%s: %s", verb->word, json.out);
    }
    cr_expect_geq(asked, 9);
}

Test(client, a_socket_that_may_not_be_used_is_5)
{
    start_answering(0, "", "{}");
    cr_assert_eq(chmod(engine.path, 0), 0);
    uid_t mine = geteuid();
    if (mine == 0)
        cr_assert_eq(seteuid(65534), 0);
    struct said said = run_weir("status", NULL);
    cr_expect_eq(said.code, EXIT_PERMISSION);
    expect_says(said.errors, "Permission denied");
    cr_assert_eq(seteuid(mine), 0);
}

Test(client, a_refusal_is_heard_though_the_engine_did_not_listen)
{
    size_t length;
    char *frame = wire_encode_answer(EXIT_PERMISSION, SLICE("not you\n"), SLICE("{}"), &length);
    start_engine(ANSWERS_WITHOUT_READING, frame, length);
    for (int i = 0; i < 50; i++) {
        struct said said = run_weir("status", NULL);
        cr_expect_eq(said.code, EXIT_PERMISSION);
        cr_expect_str_eq(said.errors, "not you\n");
    }
}

Test(client, what_is_no_frame_of_ours_is_4)
{
    static char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n", endless[] = "\xff\xff\xff\xff", empty[] = "\0\0\0\0", no_map[] = "\0\0\0\1\0";
    start_engine(ANSWERS, text, sizeof text - 1);
    struct said said = run_weir("status", NULL);
    cr_expect_eq(said.code, EXIT_UNREACHABLE);
    expect_says(said.errors, "does not speak");
    engine.frame = endless;
    engine.length = 4;
    cr_expect_eq(run_weir("status", NULL).code, EXIT_UNREACHABLE);
    engine.frame = empty;
    cr_expect_eq(run_weir("status", NULL).code, EXIT_UNREACHABLE);
    engine.frame = no_map;
    engine.length = 5;
    cr_expect_eq(run_weir("top", NULL).code, EXIT_UNREACHABLE);
    engine.manner = CLOSES;
    cr_expect_eq(run_weir("status", NULL).code, EXIT_UNREACHABLE);
}

Test(client, an_engine_of_another_version_is_named_as_such)
{
    size_t length;
    char *frame = wire_encode_answer(0, SLICE("x"), SLICE("{}"), &length);
    char *version = memmem(frame, length, "version", 7);
    cr_assert(version);
    version[7]++;
    start_engine(ANSWERS, frame, length);
    struct said said = run_weir("status", NULL);
    cr_expect_eq(said.code, EXIT_UNREACHABLE);
    expect_says(said.errors, "does not speak");
}

Test(client, waits_for_the_whole_answer_only_so_long)
{
    client_patience_ms = 300;
    start_engine(DRIBBLES, NULL, 0);
    struct said said = run_weir("status", NULL);
    cr_expect_eq(said.code, EXIT_AGAIN);
    expect_says(said.errors, "no answer from");
    engine.manner = SAYS_NOTHING;
    cr_expect_eq(run_weir("top", NULL).code, EXIT_AGAIN);
}

/* Where no socket was named, the one of the installed unit is tried too (cli/weir.service). */
Test(client, finds_the_installed_service_by_itself)
{
    start_answering(0, "here\n", "{}");
    unsetenv("WEIR_SOCKET");
    client_sockets[0] = "/nonexistent/weir.sock";
    client_sockets[1] = engine.path;
    cr_expect_str_eq(run_weir("status").out, "here\n");
    cr_expect_eq(run_weir("status", "--socket", "/nonexistent/weir.sock").code, EXIT_UNREACHABLE);
    client_sockets[1] = "/nonexistent/either.sock";
    expect_says(run_weir("status").errors, "\"/nonexistent/weir.sock\"");
}

Test(client, what_no_socket_and_no_server_can_be_called_is_told_without_asking)
{
    char path[200] = "/", name[700];
    memset(path + 1, 'x', sizeof path - 2);
    path[sizeof path - 1] = 0;
    struct said said = run_weir("status", "--socket", path);
    cr_expect_eq(said.code, EXIT_UNREACHABLE);
    expect_says(said.errors, "too long");
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    name_a_socket();
    cr_expect_eq(run_weir("drain", name).code, EXIT_FAILED);
    cr_expect_eq(run_weir("drain", "--json", name).out[0], '{');
}

Test(client, durations_have_a_unit_and_an_end)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = { { "0s", 0 }, { "500ms", 500 }, { "30s", 30000 }, { "5m", 300000 }, { "24h", 86400000 }, { "86400000ms", 86400000 } };
    static const char *const bad[] = { "", "5", "s", "-1s", "+1s", " 1s", "1s ", "1.5s", "1 s", "1S", "25h", "86400001ms", "99999999999999999999s",
                                       "1us", "1d" };
    uint64_t ms;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        cr_expect(client_read_duration(good[i].text, &ms), "%s", good[i].text);
        cr_expect_eq(ms, good[i].ms, "%s", good[i].text);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        cr_expect_not(client_read_duration(bad[i], &ms), "%s", bad[i]);
    struct said said = run_weir("stop", "--deadline", "5");
    cr_expect_eq(said.code, EXIT_USAGE);
    expect_says(said.errors, "\"5\" is no duration");
}
